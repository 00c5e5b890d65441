"""Margins of our fits against marginaleffects' of statsmodels' results of the same data (statsmodels_margins.py wrote what it says)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from margins.statsmodels_margins import TEXT, calls_of

import betahat as bh

KNOWN = json.loads((Path(__file__).parent / "statsmodels_margins.json").read_text())
FRAME = pd.DataFrame(KNOWN["frame"])
# Both optima are found to about 1e-10; marginaleffects' slopes are differences over 1e-4, to about 1e-9, and its Jacobians, extrapolated, to 1e-8.
CLOSE = {"rtol": 1e-6, "atol": 1e-9}

# statsmodels differentiates an ordered model's likelihood twice by differences for its covariance.
ORDERED = {"rtol": 1e-3, "atol": 1e-6}

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


@pytest.mark.slow
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
    theirs = theirs.assign(**{each: answer[each] for each in ("estimate", "std_error", "null")})
    theirs = theirs.rename(columns={"estimate": "their_estimate", "null": "their_null"})
    both = ours.astype(dict.fromkeys(keys, str)).merge(theirs, on=keys) if keys else pd.concat([ours, theirs], axis=1)
    assert len(both) == len(ours) == len(theirs), (ours, theirs)
    np.testing.assert_allclose(both["estimate"], both["their_estimate"], **CLOSE)
    np.testing.assert_allclose(both["std.error"], both["std_error"], **(ORDERED if name == "ordered" else CLOSE))
    np.testing.assert_allclose(both["estimate"] - both["statistic"] * both["std.error"], both["their_null"], atol=1e-8)
