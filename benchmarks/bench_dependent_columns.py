"""A thousand columns of which one or three hundred depend on others, beside statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm

import betahat as bh

WIDTH = 1_000
MODELS = {"OLS": 2_000, "Logit": 10_000}


@pytest.fixture(scope="module", params=[1, 300])
def dependent(request):
    """Three regressors before a dependent one give it; y of a linear and of a logistic model."""
    rng = np.random.default_rng(0)
    exog = rng.normal(size=(max(MODELS.values()), WIDTH))
    exog[:, 0] = 1.0
    for column in np.sort(rng.choice(WIDTH - 3, request.param, replace=False)) + 3:
        exog[:, column] = exog[:, column - 3 : column] @ [1.0, -1.0, 0.5]
    index = exog @ (0.02 * rng.normal(size=WIDTH))
    yes = (rng.random(len(exog)) < 1 / (1 + np.exp(-index))).astype(float)
    return exog, {"OLS": index + rng.normal(size=len(exog)), "Logit": yes}


@pytest.mark.parametrize("rank", ["pinv", "drop"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_betahat(benchmark, dependent, model, rank):
    exog, endog = dependent
    x, y = exog[: MODELS[model]], endog[model][: MODELS[model]]
    benchmark.pedantic(lambda: getattr(bh, model)(y, x).fit(rank=rank).bse, rounds=3 if model == "OLS" else 1)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_statsmodels(benchmark, dependent, model):
    exog, endog = dependent
    x, y = exog[: MODELS[model]], endog[model][: MODELS[model]]
    options = {} if model == "OLS" else {"disp": 0}
    benchmark.pedantic(lambda: getattr(sm, model)(y, x).fit(**options).bse, rounds=3 if model == "OLS" else 1)
