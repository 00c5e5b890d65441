"""A fit and one covariance of it, under statsmodels' names: a class for each kind of model."""
