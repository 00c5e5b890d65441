"""Margins of our fits against marginaleffects' of statsmodels' results of the same data (statsmodels_margins.py wrote what it says)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from statsmodels_margins import TEXT, calls_of

KNOWN = json.loads((Path(__file__).parent / "statsmodels_margins.json").read_text())
FRAME = pd.DataFrame(KNOWN["frame"])
# Both optima are found to about 1e-10; marginaleffects' slopes are differences over 1e-4, to about 1e-9, and its Jacobians, extrapolated, to 1e-8.
CLOSE = {"rtol": 1e-6, "atol": 1e-9}

FITS = {
    "ols": lambda: bh.ols(f"value ~ {TEXT}", FRAME).fit("HC1"),
    "logit": lambda: bh.logit(f"yes ~ {TEXT}", FRAME).fit(),
    "poisson": lambda: bh.poisson(f"count ~ {TEXT}", FRAME).fit(),
    "effects": lambda: bh.ols(f"value ~ {TEXT} + C(firm)", FRAME).fit(),
    "multinomial": lambda: bh.mnlogit(f"choice ~ {TEXT}", FRAME).fit(),
    "ordered": lambda: bh.ordered(f"rating ~ {TEXT}", FRAME).fit(),
}
CASES = [(name, key) for name in FITS for key in calls_of(name) if f"{name}: {key}" in KNOWN["answers"]]


@pytest.fixture(scope="module")
def fit():
    made = {}

    def of(name):
        if name not in made:
            made[name] = FITS[name]()
        return made[name]

    return of


@pytest.mark.parametrize(("name", "key"), CASES)
def test_margins_are_those_of_statsmodels_results(fit, name, key):
    function, options = calls_of(name)[key]
    options = dict(options)
    if options.get("newdata") == "head":
        options["newdata"] = FRAME.head(5)
    ours = getattr(fit(name), function)(**options).tidy()
    answer = KNOWN["answers"][f"{name}: {key}"]
    keys = [each for each in answer["keys"] if each in ours.columns and not (key == "lift" and each == "contrast")]
    theirs = pd.DataFrame({each: answer["keys"][each] for each in keys})
    theirs = theirs.assign(**{each: answer[each] for each in ("estimate", "std_error", "statistic")})
    both = ours.astype(dict.fromkeys(keys, str)).merge(theirs, on=keys) if keys else ours.join(theirs, rsuffix="_y")
    assert len(both) == len(ours) == len(theirs), (ours, theirs)
    first = "estimate_x" if keys else "estimate"
    np.testing.assert_allclose(both[first], both["estimate_y"], **CLOSE)
    np.testing.assert_allclose(both["std.error"], both["std_error"], **CLOSE)
    # Their statistic rests on their own forward differences, of three digits or so.
    np.testing.assert_allclose(both["statistic_x" if keys else "statistic"], both["statistic_y"], rtol=2e-2, atol=1e-2)
