"""Solvers: least squares, Newton and others, and the linear algebra that they share."""
