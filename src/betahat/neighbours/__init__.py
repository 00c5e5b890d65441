"""Packages that accept betahat's results: what each of them needs, one file for each."""
