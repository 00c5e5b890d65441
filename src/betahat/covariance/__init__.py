"""Covariance estimators, one to a file: each maps a `Fit` to a `Covariance`."""
