"""OrderedModel against statsmodels at our optimum: its own solvers stop early, and it differentiates numerically."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

# Probabilities are exact on both sides; statsmodels' logarithm has 1e-20 added to each.
EXACT = 1e-11
# Its Hessian and its scores are differences, of steps that leave 1e-7 of them.
DIFFERENCES = 1e-5

DISTRIBUTIONS = {
    "logit": "logit",
    "probit": "probit",
    "cloglog": stats.gumbel_l,
    "loglog": stats.gumbel_r,
    "cauchit": stats.cauchy,
}
GROUPS = np.arange(400) % 25


def _frame(nobs=400):
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"x1": random.normal(size=nobs), "x2": random.binomial(1, 0.4, nobs).astype(float)})
    latent = 0.8 * frame["x1"] - 0.5 * frame["x2"] + random.logistic(size=nobs)
    names = np.array(["bad", "fair", "good", "best"])
    frame["grade"] = pd.Categorical(names[np.digitize(latent, [-1.0, 0.5, 2.0])], names, ordered=True)
    frame["shift"] = 0.3 * random.normal(size=nobs)
    return frame


FRAME = _frame()


def _theirs(model, start, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has nothing to do is a warning
        return model.fit(start_params=np.asarray(start), method="newton", maxiter=1, disp=0, **options)


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def both(request):
    mine = bh.ordered("grade ~ x1 + x2", FRAME, distr=request.param, offset="shift").fit()
    model = OrderedModel(FRAME["grade"], FRAME[["x1", "x2"]], FRAME["shift"], DISTRIBUTIONS[request.param])
    return mine, _theirs(model, mine.params), request.param


def test_the_likelihood_is_theirs_and_ours_the_higher(both):
    mine, theirs, distr = both
    close(mine.model.loglike(mine.params), theirs.model.loglike(np.asarray(mine.params)), EXACT)
    close(theirs.model.loglikeobs(np.asarray(mine.params)).sum(), mine.llf, EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = OrderedModel(FRAME["grade"], FRAME[["x1", "x2"]], FRAME["shift"], DISTRIBUTIONS[distr])
        assert mine.llf >= plain.fit(method="bfgs", disp=0).llf - 1e-9
    assert mine.diagnostics.decrement < 1e-16


def test_attributes(both):
    mine, theirs, _ = both
    assert list(mine.params.index) == list(theirs.params.index) == ["x1", "x2", "bad/fair", "fair/good", "good/best"]
    close_to_largest(mine.params, theirs.params, DIFFERENCES)
    close(mine.bse, theirs.bse, DIFFERENCES)
    for name in ("llf", "aic", "bic", "df_model", "df_resid", "nobs"):
        close(getattr(mine, name), getattr(theirs, name), EXACT, label=name)
    close_to_largest(mine.resid_prob, theirs.resid_prob, DIFFERENCES)
    cuts = theirs.model.transform_threshold_params(np.asarray(mine.params))[1:-1]
    close(mine.thresholds.params, cuts, EXACT)


def test_predictions(both):
    mine, theirs, _ = both
    params, new = np.asarray(mine.params), FRAME.iloc[:7]
    for which in ("prob", "linpred", "cumprob"):
        wanted = theirs.model.predict(params, which=which)
        close_to_largest(mine.predict(which=which), wanted, EXACT)
        close_to_largest(mine.model.predict(mine.params, which=which), wanted, EXACT)
        there = theirs.model.predict(params, new[["x1", "x2"]], offset=new["shift"], which=which)
        close_to_largest(mine.predict(new, which=which, offset="shift"), there, EXACT)
    assert list(mine.predict().columns) == ["bad", "fair", "good", "best"]
    np.testing.assert_array_equal(mine.pred_table().to_numpy(), theirs.pred_table().to_numpy())


@pytest.mark.parametrize("distr", DISTRIBUTIONS)
def test_summary_and_the_null_model(distr):
    mine = bh.ordered("grade ~ x1 + x2", FRAME, distr=distr).fit()
    model = OrderedModel(FRAME["grade"], FRAME[["x1", "x2"]], distr=DISTRIBUTIONS[distr])
    theirs = _theirs(model, mine.params)
    assert str(mine.summary()) == str(theirs.summary())
    for name in ("llnull", "prsquared", "llr", "llr_pvalue"):
        close(getattr(mine, name), getattr(theirs, name), 1e-8, label=name)
    assert "Standard errors are HC1." in str(mine.with_cov("HC1").summary())


def test_the_null_model_under_an_offset():
    mine = bh.ordered("grade ~ x1 + x2", FRAME, offset="shift").fit()
    nothing = bh.ordered("grade ~ x1", FRAME.assign(x1=np.arange(400) % 2), offset="shift").fit()
    close(mine.llnull, nothing.llnull, EXACT)
    assert nothing.llf > mine.llnull > nothing.llf - 10.0


@pytest.mark.parametrize(("cov_type", "options"), [("HC0", {}), ("HC1", {}), ("cluster", {"groups": GROUPS})])
def test_covariances(both, cov_type, options):
    mine, theirs, _ = both
    wanted = _theirs(theirs.model, mine.params, cov_type=cov_type, cov_kwds=options or None).cov_params()
    found = np.asarray(mine.with_cov(cov_type, options).cov_params())
    if cov_type == "HC1":  # statsmodels' is HC0 for likelihoods, by its issue 7798
        found = found * (400 - 5) / 400
    same_covariance(found, wanted, DIFFERENCES)


@pytest.mark.parametrize(("distr", "name"), [(stats.norm, "probit"), (stats.gumbel_l, "cloglog"), ("logit", "logit")])
def test_distributions_of_scipy(distr, name):
    mine = bh.ordered("grade ~ x1 + x2", FRAME, distr=distr)
    assert mine.distr == name
    with pytest.raises(bh.OptionError, match="use one of 'logit'"):
        bh.ordered("grade ~ x1 + x2", FRAME, distr=stats.t)


def test_numbers_text_tensors_and_frames():
    codes = FRAME["grade"].cat.codes.to_numpy()
    x = FRAME[["x1", "x2"]].to_numpy()
    by_numbers = bh.OrderedModel(codes, x, distr="probit").fit()
    wanted = bh.ordered("grade ~ x1 + x2", FRAME, distr="probit").fit()
    close(by_numbers.params, wanted.params, EXACT)
    assert by_numbers.names[-3:] == ("0/1", "1/2", "2/3")
    assert by_numbers.names == tuple(OrderedModel(codes, x).exog_names)
    by_frame = bh.OrderedModel(FRAME["grade"], FRAME[["x1", "x2"]], distr="probit").fit()
    pd.testing.assert_series_equal(by_frame.params, wanted.params, rtol=EXACT)
    single = bh.OrderedModel(sm.add_constant(codes)[:, 1], x.astype(np.float32), distr="probit").fit()
    close_to_largest(single.params, wanted.params, 1e-6)
