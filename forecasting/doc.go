// Package forecasting says what a series of measurements will do: whether it reaches its capacity
// within a horizon, when, and how strange its present is. It is pure: numbers in, numbers out, no
// clock and no I/O, so that the same history always gives the same answer.
//
// A Breach follows one series against a capacity, such as memory; a Spike a load with a daily rhythm, such as that of
// the CPU; a Drift a noisy figure of quality, such as a share of errors. All keep a fixed amount of state, take a
// measurement in constant time without allocating, and forecast when asked. An Anomaly scores how strange a point is. A
// Counter makes rates of what only grows. A Calibration corrects probabilities by what became of earlier ones, and
// Costs make a risk of 0 to 100 of them.
//
// # Methods
//
//   - Time is cut into steps; a step's value is the mean of its measurements, a short gap keeps the
//     last value, a long one or a clock that goes back begins anew (grid.go).
//   - Trends are least squares over windows of several lengths with the standard error of the slope
//     widened for residuals that follow each other: Santer et al., Statistical significance of
//     trends, J. Geophys. Res. 105 (2000).
//   - The onset of growth is where a hinge bends, a level that is flat and then a straight line, fitted
//     by least squares over all onsets: Hudson, Fitting segmented curves whose join points have to be
//     estimated, J. Am. Stat. Assoc. 61 (1966).
//   - Growth is compared with the largest growth in windows of the same length before: what a series
//     does all the time is no precursor.
//   - Rises and resets of a sawtooth are found by swings, the zigzag of turning points larger than the
//     noise: Keogh et al., An online algorithm for segmenting time series, ICDM 2001, takes the same view.
//   - First passage: how often a rise of at least the present headroom followed within the horizon,
//     by headroom and by hour of the day, counted with exponential forgetting.
//   - Recurrence: how often the capacity was reached after such a calm (the hazard of a renewal process:
//     Cox, Renewal Theory, 1962), at this time of the last two weeks' days, and of late. The log-odds of such
//     circumstances are added up as if they were independent: Domingos and Pazzani, On the optimality of the
//     simple Bayesian classifier, Mach. Learn. 29 (1997).
//   - These features are fused by gradient-boosted trees: Friedman, Greedy function approximation,
//     Ann. Statist. 29 (2001), second-order as in Chen and Guestrin, XGBoost, KDD 2016. The trees
//     are frozen in model.go, with a word about how they were made.
//   - The contribution of a feature to a forecast is the sum of the changes of the expected value
//     along the paths through the trees: Saabas' attribution, the path case of Lundberg et al., Nat.
//     Mach. Intell. 2 (2020).
//   - Season: a robust mean and spread of each time of the day on weekdays and at weekends, after Gelper, Fried and
//     Croux, J. Forecasting 29 (2010); what is left as a Gaussian copula with the autocorrelation of a slow process and
//     noise, and an exponential tail: Pickands, Ann. Statist. 3 (1975) (template.go, residuals.go).
//   - First passage of the season: that process as a chain of states, Kopecky and Suen, Rev. Econ. Dynam. 13 (2010), of
//     which in each step the part is taken that is above the way to the capacity; clusters of high values count
//     once by their extremal index: Smith and Weissman, J. R. Statist. Soc. B 56 (1994) (spike_passage.go,
//     rises.go).
//   - Level and trend: Kalman filters of a local linear trend, Durbin and Koopman, Time Series Analysis by State Space
//     Methods (2012), with bounded errors, Masreliez and Martin, IEEE Trans. Automat. Control 22 (1977), and several
//     hypotheses of the variances, Magill, IEEE Trans. Automat. Control 10 (1965) (kalman.go, drift.go).
//   - First passage of the trend: the inverse Gaussian distribution, Chhikara and Folks (1989), over what is not known of the
//     slope by Gauss-Hermite quadrature (first_passage.go, drift_mixture.go).
//   - Calibration: isotonic regression, Zadrozny and Elkan, KDD 2002, drawn towards what was forecast and forgetting;
//     Brier's score (1950) and the calibration error of Naeini et al., AAAI 2015 (calibration.go, reliability.go).
//   - Risk: the cost-loss model, Murphy, Mon. Weather Rev. 105 (1977), and Elkan, IJCAI 2001 (risk.go).
//
// The normal distribution is gonum's. The files reference_*_test.go compare each method with published values, or with
// gonum or a closed form where there are none, and state the tolerance.
package forecasting
