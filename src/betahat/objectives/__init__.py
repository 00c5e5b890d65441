"""One loss per file: the mathematics of one row, without data."""
