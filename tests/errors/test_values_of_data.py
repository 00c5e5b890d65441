"""How sentences write values of the data: years that are floats have no decimal point, and the value that is named is one at fault."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

ROWS = pd.DataFrame(
    {"firm": ["a", "a", "b", "b"] * 6, "year": np.repeat(np.arange(1935.0, 1947.0), 2), "z": np.sin(np.arange(24.0))}
).assign(y=lambda data: data.z**2 + np.cos(data.year))
TWICE = pd.concat([ROWS, ROWS.head(2)], ignore_index=True)
LATER = ROWS[ROWS.year > 1936]
QUARTERS = ROWS.assign(quarter=1959.0 + np.arange(24) / 4)
COUNTS = np.arange(24.0) % 3
X = bh.add_constant(ROWS.z.to_numpy())


CASES = {
    "lag": (lambda: bh.ols("y ~ lag(z)", TWICE, panel="firm", time="year"), "several rows for firm a in year 1935, so"),
    "HAC": (lambda: bh.ols("y ~ z", ROWS).fit(bh.HAC(1, time="year")), "several rows in one period, 1935 for one"),
    "panel": (lambda: bh.ols("y ~ z", TWICE).fit(bh.PanelNeweyWest("firm", "year", 1)), r"such as \(a, 1935\)"),
    "category": (lambda: bh.ols("y ~ C(year)", LATER).fit().predict(ROWS), "fit of 'y ~ C.year.': 1935, 1936; leave"),
    "effect": (lambda: bh.ols("y ~ z | year", LATER).fit().predict(ROWS), "not seen: '1935', '1936'; leave"),
    "i": (lambda: bh.ols("y ~ i(year, ref=2000)", ROWS), "not among the levels; choose from 1935, 1936, "),
    "Treatment": (lambda: bh.ols("y ~ C(year, Treatment(2000))", ROWS), r"levels are \[1935, 1936, "),
    "quarters": (
        lambda: bh.ols("y ~ lag(z)", QUARTERS, time="quarter"),
        "distances are not known, such as 1959.25; make",
    ),
    "margins": (lambda: bh.ols("y ~ C(year)", ROWS).fit().avg_comparisons({"year": [1, 2]}), "its values are '1935', "),
    "fractions": (lambda: bh.NegativeBinomial(COUNTS + 0.5, X), "24 fractions, .*; round them, or use Poisson, which"),
    "negative": (
        lambda: bh.NegativeBinomial(COUNTS - 1.0, X),
        "8 negative values, .*needs counts; leave those rows out\\.$",
    ),
    "zeros": (lambda: bh.Poisson(COUNTS * 0.0, X), "no mean is positive; pass counts that are not all zero"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sentence(case):
    make, sentence = CASES[case]
    with pytest.raises(bh.BetahatError, match=sentence):
        make()
