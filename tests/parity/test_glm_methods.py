"""What results of GLM do, against statsmodels: predictions, margins, influence, score tests; weights, exposures, containers, the command line."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

import betahat as bh
from betahat.__main__ import main

# statsmodels starts at our optimum and stops at a change of the deviance of 1e-15; differences of two of its results lose two digits.
CLOSE = 1e-8
INFLUENCE = 1e-6

F, L = sm.families, sm.families.links
N = 120
RNG = np.random.default_rng(0)
DATA = pd.DataFrame(
    {"a": RNG.uniform(size=N), "b": RNG.integers(0, 2, N), "days": RNG.uniform(1, 3, N), "w": RNG.uniform(0.5, 2, N)}
)
DATA["count"] = RNG.poisson(DATA.days * np.exp(0.3 + 0.5 * DATA.a))
DATA["size"] = RNG.gamma(2.0, np.exp(0.3 + 0.5 * DATA.a) / 2.0)
TRIALS = RNG.integers(1, 6, N)
DATA["wins"] = RNG.binomial(TRIALS, 0.3 + 0.3 * DATA.a)
DATA["losses"] = TRIALS - DATA.wins
MODELS = {
    "Poisson, exposure": ("count ~ a + b", F.Poisson(), {"exposure": "days"}),
    "Gamma, Log, weights": ("size ~ a + b", F.Gamma(L.Log()), {"var_weights": "w"}),
    "NegativeBinomial": ("count ~ a + b", F.NegativeBinomial(alpha=0.5), {}),
    "Tweedie": ("size ~ a + b", F.Tweedie(var_power=1.5), {}),
    "Binomial, CLogLog, counts": ("wins + losses ~ a + b", F.Binomial(L.CLogLog()), {}),
    "Gaussian": ("size ~ a + b", F.Gaussian(), {}),
    "InverseGaussian, Log": ("size ~ a + b", F.InverseGaussian(L.Log()), {}),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain"),
    pytest.mark.filterwarnings("ignore:.* has not been verified with var_weights"),
    pytest.mark.filterwarnings("ignore:weights .*:UserWarning"),
]


@pytest.fixture(scope="module", params=MODELS)
def both(request):
    formula, family, beside = MODELS[request.param]
    ours = bh.glm(formula, DATA, family=family, **beside).fit()
    theirs = sm.GLM.from_formula(
        formula, DATA, family=family, **{name: DATA[column] for name, column in beside.items()}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ours, theirs.fit(start_params=np.asarray(ours.params), tol=1e-15), beside


def test_predictions(both):
    ours, theirs, beside = both
    new = DATA[:7].assign(a=np.linspace(0, 1, 7))
    shift = {"exposure": new.days} if "exposure" in beside else {}
    np.testing.assert_allclose(ours.predict(new, **shift), theirs.predict(new, **shift), rtol=CLOSE)
    mine, its = ours.get_prediction(new, **shift), theirs.get_prediction(new, **shift)
    np.testing.assert_allclose(mine.se, its.se_mean, rtol=CLOSE)
    np.testing.assert_allclose(mine.conf_int(), its.conf_int(), rtol=CLOSE)


@pytest.mark.parametrize("at", ["overall", "mean"])
@pytest.mark.parametrize("method", ["dydx", "eyex", "dyex", "eydx"])
def test_margins(both, at, method):
    ours, theirs, beside = both
    if "exposure" in beside and method in ("dydx", "dyex"):
        pytest.skip("statsmodels leaves the exposure out")
    mine, its = ours.get_margeff(at=at, method=method), theirs.get_margeff(at=at, method=method)
    np.testing.assert_allclose(mine.margeff, its.margeff, rtol=CLOSE)
    np.testing.assert_allclose(mine.margeff_se, its.margeff_se, rtol=CLOSE)


def test_influence(both):
    ours, theirs, _ = both
    mine, its = ours.get_influence(), theirs.get_influence(observed=False)
    np.testing.assert_allclose(mine.hat_matrix_diag, its.hat_matrix_diag, rtol=INFLUENCE)
    np.testing.assert_allclose(mine.resid_studentized, its.resid_studentized, rtol=INFLUENCE)
    np.testing.assert_allclose(mine.cooks_distance[0], its.cooks_distance[0], rtol=INFLUENCE)


def test_score_tests(both):
    """At the estimated scale; the robust one does not depend on it."""
    ours, theirs, _ = both
    extra = DATA[["w"]].to_numpy()
    np.testing.assert_allclose(
        ours.score_test(exog_extra=extra)[0], theirs.score_test(exog_extra=extra)[0], rtol=INFLUENCE
    )
    robust = ours.with_cov("HC0").score_test(exog_extra=extra, cov_type="HC0")
    other = ours.model.fit("HC0", scale=7.0).score_test(exog_extra=extra, cov_type="HC0")
    np.testing.assert_allclose(robust.statistic, other.statistic, rtol=1e-9)


def test_frequency_weights_are_repeated_rows(both):
    ours, _, beside = both
    formula, family = (
        ours.model.formula,
        next(f for _, f, _ in MODELS.values() if type(f).__name__ == ours.model.family),
    )
    often = 1.0 + np.arange(N) % 3
    repeated = DATA.loc[np.repeat(DATA.index, often.astype(int))].reset_index(drop=True)
    for name in ("nonrobust", "HC0", "HC3"):
        mine = bh.glm(formula, DATA, family=family, freq_weights=often, **beside).fit(name)
        its = bh.glm(formula, repeated, family=family, **beside).fit(name)
        np.testing.assert_allclose(mine.bse, its.bse, rtol=1e-9)
        np.testing.assert_allclose([mine.llf, mine.nobs, mine.scale], [its.llf, its.nobs, its.scale], rtol=1e-10)


def test_files_and_tables(both):
    ours, _, _ = both
    robust = ours.with_cov("HC3")
    file = io.BytesIO()
    robust.save(file)
    file.seek(0)
    again = bh.load(file)
    assert str(again.summary2()).splitlines()[3:] != []
    np.testing.assert_array_equal(again.bse, robust.bse)
    assert (again.llf, again.scale, again.deviance) == (robust.llf, robust.scale, robust.deviance)
    assert "Std. errors" in str(bh.regtable([ours, robust]))


def test_containers():
    """What goes in decides what comes out; single precision gives the doubles of its numbers."""
    exog, endog = np.column_stack([np.ones(N), DATA.a]), DATA["size"].to_numpy()
    array = bh.GLM(endog, exog, "gamma").fit()
    tensor = bh.GLM(torch.tensor(endog), torch.tensor(exog), "gamma").fit()
    assert isinstance(array.params, np.ndarray)
    assert isinstance(tensor.params, torch.Tensor)
    np.testing.assert_array_equal(array.bse, tensor.bse)
    single = bh.GLM(endog.astype(np.float32), exog.astype(np.float32), "gamma").fit()
    np.testing.assert_allclose(single.params, array.params, rtol=1e-5)
    counts = torch.tensor(DATA[["wins", "losses"]].to_numpy())
    assert isinstance(bh.GLM(counts, torch.tensor(exog), "binomial").fit().resid_deviance, torch.Tensor)
    missing = DATA.assign(wins=DATA.wins.where(DATA.index != 3))
    fit = bh.GLM(missing[["wins", "losses"]], bh.add_constant(DATA[["a"]]), "binomial", missing="drop").fit()
    assert fit.nobs == N - 1
    assert 3 not in fit.fittedvalues.index


def test_the_command_line(tmp_path, capsys):
    path = tmp_path / "data.csv"
    DATA.to_csv(path, index=False)
    assert main(["size ~ a + b", str(path), "--model", "glm", "--family", "gamma", "--cov", "HC1"]) == 0
    assert "InversePower" in capsys.readouterr().out
    assert main(["size ~ a", str(path), "--model", "glm", "--family", "gama"]) == 2
    assert "family is 'gama'" in capsys.readouterr().err
