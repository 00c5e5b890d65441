"""Formulas: a formula and a dataframe become the columns of a design."""
