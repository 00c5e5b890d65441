"""Zero-inflated counts against statsmodels at the optimum, from which its own solvers stop short or run away."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.tools.numdiff import approx_hess
from support.summaries import check_summaries

import betahat as bh

# Both are at the same parameters; sums of nine hundred terms.
CLOSE = 1e-10
# statsmodels' null models stop short, by 1e-6 of the log-likelihood.
NULL = 1e-6
# Second differences of a log-likelihood of 1600.
NUMERICAL = 2e-3

DATA = pd.DataFrame(json.loads(Path(__file__).parents[1].joinpath("golden/counts.json").read_text())["data"])
X = sm.add_constant(DATA[["fem", "kid5", "ment"]])
Z = sm.add_constant(DATA[["ment"]])

CASES = {
    "zip, logit": ("ZeroInflatedPoisson", {}),
    "zip, probit": ("ZeroInflatedPoisson", {"inflation": "probit"}),
    "zip, exposure": ("ZeroInflatedPoisson", {"exposure": DATA["years"], "offset": 0.1 * DATA["kid5"]}),
    "zinb, p = 2": ("ZeroInflatedNegativeBinomialP", {}),
    "zinb, p = 1": ("ZeroInflatedNegativeBinomialP", {"p": 1}),
}


def _quiet(function, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(**options)


def _theirs(name, params, options, **covariance):
    """statsmodels' results at our optimum, its Hessian by differences of its log-likelihood: the cross block of its own is zero for ZIP."""
    model = getattr(sm, name)(DATA["art"], X, exog_infl=Z, **options)
    model.hessian = lambda at: approx_hess(at, model.loglike)
    found = _quiet(model.fit, disp=0, method="bfgs", maxiter=0, start_params=params, **covariance)
    found.mle_retvals["converged"] = True  # no step of a numerical slope leads nearer
    return found


@pytest.fixture(scope="module", params=CASES)
def both(request):
    name, options = CASES[request.param]
    mine = getattr(bh, name)(DATA["art"], X, Z, **options).fit()
    return mine, _theirs(name, mine.params, options), name, options


def test_it_is_the_optimum(both):
    mine, theirs, _, _ = both
    assert mine.converged
    assert mine.diagnostics.decrement < 1e-16
    slope = theirs.model.score(np.asarray(mine.params))
    assert np.abs(slope @ mine.cov_params() @ slope) < 1e-8  # statsmodels' score is a numerical one with alpha


def test_likelihood_at_other_parameters(both):
    mine, theirs, _, _ = both
    at = np.asarray(mine.params) * 1.1
    np.testing.assert_allclose(mine.model.loglike(at), theirs.model.loglike(at), rtol=CLOSE)
    np.testing.assert_allclose(mine.model.score_obs(at), theirs.model.score_obs(at), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine.model.hessian(at), approx_hess(at, theirs.model.loglike), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["llf", "aic", "bic", "df_model", "df_resid", "nobs"])
def test_numbers(both, name):
    np.testing.assert_allclose(getattr(both[0], name), getattr(both[1], name), rtol=1e-9)


def test_the_null_model(both):
    """Under NB of constants alone zeros are no more than expected: the null model is the negative binomial without inflation."""
    np.testing.assert_allclose(both[0].llnull, _quiet(lambda: both[1].llnull), rtol=NULL)


def test_covariances(both):
    mine, theirs, name, options = both
    np.testing.assert_allclose(mine.bse, theirs.bse, rtol=NUMERICAL)
    groups = {"groups": DATA["team"].astype(int).to_numpy()}
    for kind, keywords in (("HC0", None), ("cluster", groups)):
        wanted = _theirs(name, mine.params, options, cov_type=kind, cov_kwds=keywords).bse
        np.testing.assert_allclose(mine.with_cov(kind, keywords).bse, wanted, rtol=NUMERICAL)


@pytest.mark.parametrize(
    "which", ["mean", "linear", "var", "mean-main", "mean-nonzero", "prob-zero", "prob-main", "prob"]
)
def test_predictions(both, which):
    mine, theirs, _, options = both
    if which == "prob" and "exposure" in options:
        pytest.skip("statsmodels leaves the exposure out")
    tolerance = {"rtol": CLOSE, "atol": 1e-12}
    np.testing.assert_allclose(mine.predict(which=which), theirs.predict(which=which), **tolerance)
    new = {"exog": X[:7], "exog_infl": Z[:7]}
    found = mine.predict(which=which, **new)
    at = np.asarray(mine.params)
    np.testing.assert_allclose(mine.model.predict(at, X[:7], Z[:7], which=which), found, **tolerance)
    np.testing.assert_allclose(mine.model.predict(at, which=which), mine.predict(which=which), **tolerance)
    np.testing.assert_allclose(found, np.asarray(theirs.predict(which=which, **new)), **tolerance)


def test_predictions_with_errors(both):
    mine, theirs, _, options = both
    if options:
        pytest.skip("statsmodels' differences have fewer digits there")
    wanted = theirs.get_prediction(which="mean").summary_frame()
    np.testing.assert_allclose(mine.get_prediction().summary_frame(), wanted, rtol=NUMERICAL)


def test_pearson_residuals(both):
    if both[3].get("p") != 1:
        np.testing.assert_allclose(both[0].resid_pearson, both[1].resid_pearson, rtol=1e-9)


def test_the_summary_byte_for_byte(both):
    check_summaries(both[0], both[1], _quiet)


def test_names_without_regressors_of_the_inflation():
    found = bh.ZeroInflatedPoisson(DATA["art"], X).fit().params
    assert list(found.index) == list(sm.ZeroInflatedPoisson(DATA["art"], X).exog_names)
    assert bh.zeroinflatedpoisson("art ~ fem", DATA).fit().params.index[0] == "inflate_const"
