"""Predictions, comparisons and slopes of variables: averages and rows, with standard errors by the delta method."""
