"""Rows that are no tensors: files, lazy frames, and rows on other machines."""
