"""Scripts that made golden numbers with packages that the tests do without."""

collect_ignore = ["block_length.py", "wild_bootstrap.py"]
