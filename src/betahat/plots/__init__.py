"""Figures of results: coefficients, standard errors, rows and replicates."""
