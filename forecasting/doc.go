// Package forecasting says what a series of measurements will do: whether it reaches its capacity
// within a horizon, when, and how strange its present is. It is pure: numbers in, numbers out, no
// clock and no I/O, so that the same history always gives the same answer.
//
// A Breach follows one series against a capacity. It keeps a fixed amount of state, takes a
// measurement in constant time without allocating, and forecasts when asked.
//
// # Methods
//
//   - Time is cut into steps; a step's value is the mean of its measurements, a short gap keeps the
//     last value, a long one or a clock that goes back begins anew (grid.go).
//   - Trends are least squares over windows of several lengths with the standard error of the slope
//     widened for residuals that follow each other: Santer et al., Statistical significance of
//     trends, J. Geophys. Res. 105 (2000).
//   - Growth is compared with the largest growth in windows of the same length before: what a series
//     does all the time is no precursor.
//   - Rises and resets of a sawtooth are found by swings, the zigzag of turning points larger than the
//     noise: Keogh et al., An online algorithm for segmenting time series, ICDM 2001, takes the same view.
//   - First passage: how often a rise of at least the present headroom followed within the horizon,
//     by headroom and by hour of the day, counted with exponential forgetting.
//   - These features are fused by gradient-boosted trees: Friedman, Greedy function approximation,
//     Ann. Statist. 29 (2001), second-order as in Chen and Guestrin, XGBoost, KDD 2016. The trees
//     are frozen in model.go, with a word about how they were made.
//   - The contribution of a feature to a forecast is the sum of the changes of the expected value
//     along the paths through the trees: Saabas' attribution, the path case of Lundberg et al., Nat.
//     Mach. Intell. 2 (2020).
package forecasting
