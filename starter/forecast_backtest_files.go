package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/backtest"
)

// backtestedFile is how forecasters did on a series of the user, of a file or of a query.
type backtestedFile struct {
	File   string              `json:"file,omitempty"`
	Series string              `json:"series,omitempty"`
	Steps  int                 `json:"steps"`
	Scores []backtest.OwnScore `json:"scores"`
}

// backtestFiles judges series of the user.
func (a *app) backtestFiles(ctx context.Context, files []string, t backtest.Task) error {
	if err := checkTask(t); err != nil {
		return err
	}
	var out backtested
	for _, file := range files {
		values, err := backtestFile(ctx, file, t)
		if err != nil {
			return err
		}
		if err := a.backtestOwn(ctx, &out, backtestedFile{File: file}, values, t); err != nil {
			return err
		}
	}
	return a.backtestShown(&out)
}

// checkTask says whether anything can be forecast by what is asked.
func checkTask(t backtest.Task) error {
	o := forecasting.Options{Capacity: t.Capacity, Horizon: t.Step * time.Duration(t.Horizon), Step: t.Step}
	if err := o.Check(); err != nil {
		return badBreach(err)
	}
	return nil
}

// backtestOwn judges one series of the user.
func (a *app) backtestOwn(ctx context.Context, out *backtested, one backtestedFile, values []float64, t backtest.Task) error {
	contenders := backtest.RecurrentContenders()
	err := a.judging(one.name(), len(contenders), func(j backtest.Judge) (err error) {
		one.Steps = len(values)
		one.Scores, err = j.Own(ctx, values, t, contenders)
		return err
	})
	if err != nil {
		return backtestError(one.name(), err)
	}
	out.Files = append(out.Files, one)
	return nil
}

func (f backtestedFile) name() string { return f.File + f.Series }

func (a *app) backtestShown(out *backtested) error {
	if a.json() {
		return a.document(out)
	}
	a.backtestTables(out)
	return nil
}

// backtestFile reads a series, step by step.
func backtestFile(ctx context.Context, file string, t backtest.Task) (_ []float64, err error) {
	if info, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil, hint(usagef("there is no file %s", file), "with --capacity, name the CSV files to judge")
	}
	in, err := openLog(ctx, file, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	var points []backtest.Point
	p := breachPrinter{step: t.Step}
	err = eachMeasurement(in, func(m measurement) error {
		points = append(points, backtest.Point{At: p.time(m), Value: m.value})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return backtest.Steps(points, t.Step), nil
}
