"""Scores, information and leverage of a block of rows, by closed forms where they are known, else by autodiff."""
