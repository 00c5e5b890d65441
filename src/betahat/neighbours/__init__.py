"""Packages that take betahat's results as they are: what each of them asks for, a file for each."""
