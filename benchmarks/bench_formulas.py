"""From a dataframe and a formula with a category to standard errors, beside statsmodels: two hundred rows, and a hundred thousand."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.formula.api as smf

import betahat as bh

FORMULAS = {"ols": "y ~ x1 + x2 + C(g)", "logit": "z ~ x1 + x2 + C(g)"}
ROUNDS = {200: {"rounds": 50, "warmup_rounds": 5}, 100_000: {"rounds": 3, "warmup_rounds": 1}}


def table(rows):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"x1": rng.normal(size=rows), "x2": rng.normal(size=rows), "g": rng.choice(list("abcde"), rows)}
    )
    return data.assign(y=data.x1 + rng.normal(size=rows), z=(data.x1 + rng.logistic(size=rows) > 0) * 1.0)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("model", FORMULAS)
@pytest.mark.parametrize("rows", ROUNDS)
def test_betahat(benchmark, rows, model, kind):
    data = table(rows) if kind == "pandas" else pl.from_pandas(table(rows))
    benchmark.pedantic(lambda: getattr(bh, model)(FORMULAS[model], data).fit().bse, **ROUNDS[rows])


@pytest.mark.parametrize("model", FORMULAS)
@pytest.mark.parametrize("rows", ROUNDS)
def test_statsmodels(benchmark, rows, model):
    data = table(rows)
    options = {"disp": 0} if model == "logit" else {}
    benchmark.pedantic(lambda: getattr(smf, model)(FORMULAS[model], data).fit(**options).bse, **ROUNDS[rows])
