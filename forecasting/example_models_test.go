package forecasting_test

import (
	"fmt"
	"math"
	"time"

	"github.com/shivx/shivx/forecasting"
)

// A load rises to 85 % each day at 9. Half an hour before, that is known.
func ExampleSpike() {
	cpu, err := forecasting.NewSpike(forecasting.Options{Capacity: 80, Horizon: time.Hour, Step: 5 * time.Minute})
	if err != nil {
		panic(err)
	}
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	now := monday.Add(4*24*time.Hour + 8*time.Hour + 30*time.Minute)
	for at := monday; at.Before(now); at = at.Add(5 * time.Minute) {
		load := 20 + 2*math.Sin(float64(at.Unix()))
		if at.Hour() == 9 {
			load += 65
		}
		cpu.Update(at, load)
	}
	f := cpu.Forecast()
	fmt.Printf("%.0f %%, about %s, alert: %v\n", 100*f.Probability, f.BreachAt.Round(10*time.Minute).Format("15:04"), f.Alert)
	quiet, ok := cpu.Quietest(now, now.Add(3*time.Hour), 30*time.Minute)
	fmt.Println(quiet.Hour() != 9, ok)
	// Output:
	// 100 %, about 09:00, alert: true
	// true true
}

// The share of errors of a service grows: 5 % of errors is the limit.
func ExampleDrift() {
	errors, err := forecasting.NewDrift(forecasting.Options{Capacity: 0.05, Horizon: 6 * time.Hour, Step: 5 * time.Minute})
	if err != nil {
		panic(err)
	}
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range 240 {
		share := 0.01 + 0.00015*float64(i)
		errors.Update(start.Add(time.Duration(i)*5*time.Minute), share*(1+0.2*math.Sin(float64(i*i))))
	}
	f := errors.Forecast()
	fmt.Printf("level %.3f, alert: %v, because of its %s\n", f.Level, f.Alert, f.Causes[0].Feature)
	// Output: level 0.048, alert: true, because of its level
}

// A counter of bytes, which begins anew after a restart.
func ExampleCounter() {
	var bytes forecasting.Counter
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i, v := range []float64{1000, 1600, 2200, 300} {
		if rate, ok := bytes.Rate(start.Add(time.Duration(i)*time.Minute), v); ok {
			fmt.Println(rate)
		}
	}
	// Output:
	// 10
	// 10
	// 5
}

// Of what was forecast with 80 %, half came true: it is taken for less from then on.
func ExampleCalibration() {
	c, err := forecasting.NewCalibration(forecasting.CalibrationOptions{HalfLife: 30 * 24 * time.Hour})
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	fmt.Printf("%.2f\n", c.Apply(0.8))
	for i := range 100 {
		c.Observe(0.8, i%2 == 0, at)
	}
	fmt.Printf("%.2f, off by %.2f\n", c.Apply(0.8), c.ECE())
	// Output:
	// 0.80
	// 0.60, off by 0.30
}

func ExampleCosts_Risk() {
	for _, p := range []float64{0.01, 0.1, 0.4, 0.9} {
		risk := forecasting.DefaultCosts.Risk(p)
		fmt.Println(risk, forecasting.ColorOf(risk))
	}
	// Output:
	// 5 green
	// 34 yellow
	// 67 orange
	// 95 red
}
