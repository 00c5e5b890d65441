"""Values of other periods against plm; `lags.R` wrote its numbers to `lags.json`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_one

import betahat as bh

# The same numbers, and differences of numbers with three digits behind the point.
ROUNDED = 1e-14
# The same least squares by another algorithm.
R_DIGITS = 1e-11
GOLDEN = json.loads(Path(__file__).with_name("lags.json").read_text())
DATA = pd.DataFrame(GOLDEN["data"])
MODELS = {"pooled": "y ~ lag(y, 1) + x + lag(x, 1)", "within": "diff(y) ~ diff(x) + lag(x, 2) | firm"}


@pytest.mark.parametrize("call", GOLDEN["columns"])
def test_the_columns_are_plms(call):
    theirs = np.array(GOLDEN["columns"][call], dtype=float)
    there = np.flatnonzero(~np.isnan(theirs))
    shuffled = DATA.sample(frac=1.0, random_state=5)
    model = bh.ols(f"y ~ {call}", shuffled, panel="firm", time="year")
    assert sorted(model.exog.index) == list(there)
    close(model.exog[call].loc[there], theirs[there], ROUNDED, unit=1.0)


@pytest.mark.filterwarnings("ignore:5 rows that are alone in a level of 'firm':betahat.BetahatWarning")
@pytest.mark.parametrize("name", MODELS)
def test_the_fits_are_plms(name):
    theirs = GOLDEN["models"][name]
    res = bh.ols(MODELS[name], DATA, panel="firm", time="year").fit()
    assert res.nobs == theirs["nobs"] or name == "within"  # plm counts units that are alone
    close_to_one(res.params, theirs["params"], R_DIGITS)
    close_to_one(res.bse, theirs["bse"], R_DIGITS)
