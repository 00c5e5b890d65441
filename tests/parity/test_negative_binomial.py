"""Negative binomial regression against statsmodels at the optimum, which its own solver misses, and laws of its covariances."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

import betahat as bh
from betahat.objectives.equation import Equation
from betahat.objectives.negative_binomial import NegativeBinomial1, NegativeBinomial2
from betahat.objectives.rising import log_rising, rising_curvature, rising_slope

# Both are at the optimum to rounding; llr and its p-value are differences.
CLOSE, DIFFERENCE = 1e-9, 1e-7
# Sums of thousands of terms, of which each has its rounding error.
SUMS = 1e-9

METHODS = ("nb2", "nb1", "geometric")
GROUPS = np.arange(500) % 30


def _data(nobs=500):
    random = np.random.default_rng(0)
    x = sm.add_constant(random.normal(size=(nobs, 2)))
    mean = np.exp(0.5 + 0.3 * x[:, 1])
    return random.negative_binomial(2, 2 / (2 + mean)), x, random


Y, X, RANDOM = _data()
OFFSET, EXPOSURE = 0.1 * RANDOM.uniform(size=500), RANDOM.uniform(0.5, 2.0, 500)


def _theirs(method, start, options, **covariance):
    model = sm.NegativeBinomial(Y, X, loglike_method=method, **options)
    return model.fit(disp=0, start_params=start, method="newton", tol=1e-14, **covariance)


@pytest.fixture(params=METHODS, scope="module")
def both(request):
    options = {"offset": OFFSET, "exposure": EXPOSURE}
    mine = bh.NegativeBinomial(Y, X, request.param, **options).fit()
    return mine, _theirs(request.param, mine.params, options), request.param, options


@pytest.fixture(params=METHODS, scope="module")
def plain(request):
    """Without an offset, with which statsmodels has no margins, and no intervals of means."""
    mine = bh.NegativeBinomial(Y, X, request.param).fit()
    return mine, _theirs(request.param, mine.params, {})


def test_it_ends_at_the_optimum(both):
    assert both[0].diagnostics.decrement < 1e-16
    assert both[0].converged


@pytest.mark.parametrize(
    "name",
    ["params", "bse", "llf", "aic", "bic", "df_model", "df_resid", "fittedvalues", "resid", "resid_pearson", "tvalues"],
)
def test_attributes(both, name):
    np.testing.assert_allclose(getattr(both[0], name), getattr(both[1], name), rtol=CLOSE)


@pytest.mark.parametrize("name", ["llnull", "llr", "llr_pvalue", "prsquared"])
def test_the_null_model(both, name):
    np.testing.assert_allclose(getattr(both[0], name), getattr(both[1], name), rtol=DIFFERENCE)


@pytest.mark.parametrize("which", ["mean", "linear", "var", "prob"])
def test_predictions(both, which):
    np.testing.assert_allclose(both[0].predict(which=which), both[1].predict(which=which), rtol=CLOSE)


@pytest.mark.filterwarnings("ignore:using default log-link")
@pytest.mark.parametrize("which", ["mean", "linear", "var"])
def test_predictions_with_errors(plain, which):
    found, wanted = (results.get_prediction(which=which).summary_frame() for results in plain)
    np.testing.assert_allclose(found, wanted, rtol=CLOSE)


def test_margins(plain):
    mine, theirs = (results.get_margeff() for results in plain)
    np.testing.assert_allclose(mine.margeff, theirs.margeff, rtol=CLOSE)
    np.testing.assert_allclose(mine.margeff_se, theirs.margeff_se, rtol=CLOSE)


def test_summary(both):
    assert str(both[0].summary()) == str(both[1].summary())


@pytest.mark.parametrize(
    ("cov_type", "options"), [("HC0", {}), ("cluster", {"groups": GROUPS}), ("HAC", {"maxlags": 3})]
)
def test_covariances(both, cov_type, options):
    mine, _, method, beside = both
    wanted = _theirs(method, mine.params, beside, cov_type=cov_type, cov_kwds=options or None)
    np.testing.assert_allclose(mine.with_cov(cov_type, options).cov_params(), wanted.cov_params(), rtol=1e-7)


@pytest.mark.parametrize("method", ["nb2", "nb1"])
@pytest.mark.parametrize("alpha", [1e-6, 1e-2, 0.3, 1.0, 8.0])
def test_derivatives(method, alpha):
    """The slope against autodiff of the loss, the curvature against differences of the slope, and Fisher's information against sums over y."""
    loss = {"nb2": NegativeBinomial2, "nb1": NegativeBinomial1}[method](equations=(Equation(""), Equation("alpha", ())))
    generator = torch.Generator().manual_seed(0)
    eta = torch.randn(40, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 12, (40,), generator=generator).double()
    index = torch.stack([eta, torch.full_like(eta, alpha)], -1)
    mean, leaf = loss.mean(index), index.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss.losses(leaf, y).sum(), leaf)
    # alpha is one number, in whose place the losses read the first row's
    torch.testing.assert_close(loss.residual(index, y, mean).sum(0), -slope.sum(0), rtol=1e-8, atol=1e-8)
    if alpha > 1e-3:
        scales = torch.tensor([1e-5, 1e-4 * alpha])
        for j, step in enumerate(torch.diag(scales).double()):
            up, down = (loss.residual(index + s * step, y, loss.mean(index + s * step)) for s in (1.0, -1.0))
            wanted = (down - up) / (2.0 * scales[j])
            torch.testing.assert_close(loss.curvature(index, y, mean)[..., j], wanted, rtol=1e-5, atol=1e-5)
        counts = torch.arange(3000, dtype=torch.float64)
        masses = torch.as_tensor(loss.distribution(index[:, None]).pmf(counts.numpy()[None]))
        every = index[:, None].expand(-1, 3000, -1)
        curved = loss.curvature(every, counts.expand(40, -1), mean[:, None].expand(-1, 3000))
        wanted = (masses[..., None, None] * curved).sum(1)
        torch.testing.assert_close(loss.expected_curvature(index), wanted, rtol=1e-7, atol=1e-9)


def test_tables_and_series_agree():
    """Beyond 16,384 counts there is no table."""
    loss = NegativeBinomial2(equations=(Equation(""), Equation("alpha", ())))
    index = torch.tensor([[2.0, 0.3], [9.0, 0.3]], dtype=torch.float64)
    few, many = torch.tensor([3.0, 12000.0]).double(), torch.tensor([3.0, 12000.0, 20000.0]).double()
    longer = torch.cat([index, index[1:]])
    for function in (
        loss.losses,
        lambda i, y: loss.residual(i, y, loss.mean(i)),
        lambda i, y: loss.curvature(i, y, loss.mean(i)),
    ):
        torch.testing.assert_close(function(longer, many)[:2], function(index, few), rtol=SUMS, atol=0.0)


def test_rising_factorials():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        for base in (1e-3, 0.5, 15.9, 16.1, 1e6):
            for count in (0.0, 1.0, 7.0, 300.0):
                q, y = mpmath.mpf(base), mpmath.mpf(count)
                wanted = [
                    mpmath.loggamma(q + y) - mpmath.loggamma(q),
                    mpmath.digamma(q + y) - mpmath.digamma(q),
                    mpmath.psi(1, q + y) - mpmath.psi(1, q),
                ]
                q, y = (torch.tensor(value, dtype=torch.float64) for value in (base, count))
                found = [float(f(y, q)) for f in (log_rising, rising_slope, rising_curvature)]
                np.testing.assert_allclose(found, [float(value) for value in wanted], rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_frequency_weights_are_repeated_rows(method):
    often = np.arange(500) % 3
    weighted = bh.NegativeBinomial(Y, X, method, freq_weights=often).fit("HC1")
    repeated = bh.NegativeBinomial(np.repeat(Y, often), np.repeat(X, often, 0), method).fit("HC1")
    np.testing.assert_allclose(weighted.params, repeated.params, rtol=CLOSE)
    np.testing.assert_allclose(weighted.bse, repeated.bse, rtol=CLOSE)
    assert (weighted.nobs, weighted.llf) == pytest.approx((repeated.nobs, repeated.llf))


@pytest.mark.parametrize("method", METHODS)
def test_the_parametric_bootstrap_is_near_the_classical_errors(method):
    fit = bh.NegativeBinomial(Y, X, method).fit()
    # 400 draws have a standard error of 3.5 %
    np.testing.assert_allclose(fit.with_cov(bh.Bootstrap(400, "parametric", seed=1)).bse, fit.bse, rtol=0.14)


def test_collinear_columns():
    doubled = np.column_stack([X, 2.0 * X[:, 1]])
    full = bh.NegativeBinomial(Y, X).fit()
    with pytest.warns(bh.CollinearityWarning):
        dropped = bh.NegativeBinomial(Y, doubled).fit(rank="drop")
    np.testing.assert_allclose(np.asarray(dropped.params)[[0, 1, 2, 4]], full.params, rtol=CLOSE)
    np.testing.assert_allclose(np.asarray(dropped.bse)[[0, 1, 2, 4]], full.bse, rtol=CLOSE)
    assert np.isnan(np.asarray(dropped.params)[3])
    with pytest.warns(bh.CollinearityWarning):
        least = bh.NegativeBinomial(Y, doubled).fit()
    np.testing.assert_allclose(least.predict(), full.predict(), rtol=CLOSE)


def test_formula_names_and_files(tmp_path):
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2], "firm": GROUPS})
    found = bh.negativebinomial("y ~ a + b", frame, loglike_method="nb1").fit(bh.Cluster("firm"))
    assert list(found.params.index) == ["Intercept", "a", "b", "alpha"]
    np.testing.assert_allclose(found.params, bh.NegativeBinomial(Y, X, "nb1").fit().params, rtol=CLOSE)
    again = bh.load(found.save(tmp_path / "nb"))
    pd.testing.assert_series_equal(again.bse, found.bse)
    assert str(again.summary()) == str(found.summary())
    again = bh.load(found.save(tmp_path / "nb", remove_data=True))
    assert str(again.summary()) == str(found.summary())
    assert "alpha" in str(bh.regtable(found))
    ratio = found.delta(lambda p: p["a"] / p["alpha"])
    assert ratio.estimate == pytest.approx(found.params["a"] / found.params["alpha"])


@pytest.mark.parametrize("method", METHODS)
def test_the_score_test_is_that_of_the_larger_model(method):
    """Its score and Hessian at the estimates, with zeros for the variables that were left out."""
    extra = np.random.default_rng(1).normal(size=(500, 2))
    small, large = bh.NegativeBinomial(Y, X, method).fit(), bh.NegativeBinomial(Y, np.column_stack([X, extra]), method)
    at = np.insert(small.params, 3, [0.0, 0.0])
    wanted = large.score(at) @ np.linalg.solve(-large.hessian(at), large.score(at))
    assert small.score_test(exog_extra=extra).statistic == pytest.approx(wanted, rel=1e-8)


def test_log_alpha(both):
    mine, theirs, method, _ = both
    if method == "geometric":
        with pytest.raises(bh.EstimationError, match="no alpha"):
            mine.lnalpha  # noqa: B018
    else:
        np.testing.assert_allclose(mine.lnalpha, theirs.lnalpha, rtol=CLOSE)
        np.testing.assert_allclose(mine.lnalpha_std_err, theirs.lnalpha_std_err, rtol=CLOSE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y - 2.0, "negative values?, and NegativeBinomial needs counts"),
        (lambda y: y + 0.5, "500 fractions"),
        (lambda y: 0.0 * y, "0 in every row"),
    ],
)
def test_values_that_are_no_counts(change, said):
    with pytest.raises(bh.DataError, match=said):
        bh.NegativeBinomial(change(Y), X)


def test_no_overdispersion_is_poisson():
    even = np.round(np.exp(0.5 + 0.3 * X[:, 1]))
    for method in ("nb2", "nb1"):
        with pytest.raises(bh.EstimationError, match=r"alpha goes to zero.*use Poisson"):
            bh.NegativeBinomial(even, X, method).fit()


def test_unknown_options():
    with pytest.raises(bh.OptionError, match="loglike_method is 'nb3'; use one of 'nb2', 'nb1', 'geometric'"):
        bh.NegativeBinomial(Y, X, "nb3")
    found = bh.NegativeBinomial(Y, X).fit()
    with pytest.raises(bh.OptionError, match="which is 'odds'; use one of 'mean', 'linear', 'var', 'prob'"):
        found.predict(which="odds")
    with pytest.raises(bh.DataError, match="y_values is"):
        found.predict(which="prob", y_values=[0.5])
    with pytest.raises(bh.EstimationError, match="need more than"):
        bh.NegativeBinomial(Y * 100000.0, X).fit(bread="expected")
    with pytest.raises(bh.OptionError, match="labels"):
        found.get_prediction(row_labels=["a"])
    with pytest.raises(bh.EstimationError, match="several indices"):
        found.cases  # noqa: B018
