"""What finds the optimum of an objective."""
