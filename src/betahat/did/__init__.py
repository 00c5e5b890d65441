"""Difference in differences with staggered adoption: event studies by several estimators, and what two-way fixed effects compare."""
