"""Several hypotheses at once against R: `p.adjust`, multcomp's single-step tests and intervals, exact permutations. `multiple.R` wrote R's numbers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close

import betahat as bh

GOLDEN = json.loads(Path(__file__).with_name("multiple.json").read_text())
SLOPES = ["a", "b", "c", "d"]
# p.adjust takes products of p-values that agree to this.
ADJUSTED = 1e-10
# Both sides integrate the joint distribution by points: mvtnorm says "error > abseps" of 1e-3 for critical values, ours has 65,536 points.
INTEGRATED = 2e-3


@pytest.fixture(scope="module")
def res():
    return bh.ols("y ~ a + b + c + d", pd.DataFrame(GOLDEN["data"])).fit()


@pytest.mark.parametrize("method", ["bonferroni", "holm", "hochberg", "hommel", "BH", "BY"])
def test_adjusted_pvalues(res, method):
    table = res.tidy(adjust=bh.Adjust(method, drop="Intercept"))
    close(table["p.value"][1:], GOLDEN["adjusted"][method], ADJUSTED, label=method)
    assert table["p.value"][0] == res.pvalues["Intercept"]


@pytest.mark.parametrize("kind", ["t", "HC3"])
def test_the_largest_t_statistic(res, kind):
    r, res = GOLDEN[kind], res if kind == "t" else res.with_cov("HC3")
    table = res.tidy(adjust=bh.Adjust("sup-t", keep=SLOPES)).iloc[1:]
    assert np.abs(table["p.value"] - r["pvalues"]).max() < INTEGRATED
    reach = (table["conf.high"] - table["conf.low"]) / (2.0 * np.array(r["se"]))
    close(reach, np.full(4, r["critical"]), INTEGRATED, label="critical value")


@pytest.mark.parametrize("strata", ["units", "blocks"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_permutations(strata, alternative):
    """coin exchanges treatments within blocks; with the blocks' effects the coefficient is a linear function of its statistic."""
    experiment = GOLDEN["experiment"]
    data = pd.DataFrame({name: experiment[name] for name in ("outcome", "treated", "block")})
    formula = "outcome ~ treated" if strata == "units" else "outcome ~ treated | block"
    layers = None if strata == "units" else "block"
    test = bh.ritest(
        bh.ols(formula, data).fit(), "treated", reps=50_000, strata=layers, statistic="coef", alternative=alternative
    )
    assert test.exhaustive
    close(test.pvalue, experiment[strata][alternative.replace("-", "_")], ADJUSTED)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_the_lady_tasting_tea(alternative):
    tea = GOLDEN["tea"]
    data = pd.DataFrame({name: tea[name] for name in ("guess", "truth")})
    test = bh.ritest(bh.ols("guess ~ truth", data).fit(), "truth", alternative=alternative)
    close(test.pvalue, tea["fisher"][alternative.replace("-", ".")], ADJUSTED)
