"""From a pandas dataframe to HC1 standard errors, a million rows by twenty, against pyfixest."""

import pyfixest
import statsmodels.formula.api as smf

import betahat as bh

ROUNDS = {"rounds": 5, "warmup_rounds": 1}
FORMULA = "y ~ " + " + ".join(f"x{i}" for i in range(1, 20))


def test_betahat_formula(benchmark, frame):
    benchmark.pedantic(lambda: bh.ols(FORMULA, frame).fit("HC1").bse, **ROUNDS)


def test_betahat_columns(benchmark, frame):
    benchmark.pedantic(lambda: bh.OLS(frame["y"], frame.drop(columns="y")).fit("HC1").bse, **ROUNDS)


def test_pyfixest(benchmark, frame):
    benchmark.pedantic(lambda: pyfixest.feols(FORMULA, frame, vcov="HC1").se(), rounds=3, warmup_rounds=1)


def test_statsmodels_formula(benchmark, frame):
    benchmark.pedantic(lambda: smf.ols(FORMULA, frame).fit(cov_type="HC1").bse, rounds=3, warmup_rounds=1)
