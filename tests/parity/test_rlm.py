"""Robust regression against statsmodels' RLM: every norm, both scales, H1 to H3, the summaries; and against definitions written out."""

import io

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from scipy import optimize, stats
from support.closeness import close_to_largest, close_to_one, same_covariance

import betahat as bh
from betahat.objectives.robust import NORMS
from betahat.solvers.scales import HuberProposal, MedianDeviation

# statsmodels is run until its deviance moves by 1e-14, or for 3,000 steps.
CLOSE = 1e-9

norms = sm.robust.norms
SCALES = {"mad": lambda: "mad", "HuberScale": lambda: sm.robust.scale.HuberScale(tol=1e-14, maxiter=1000)}


def _data(nobs=200, seed=0):
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(nobs), random.normal(size=nobs), random.exponential(size=nobs)])
    return x @ [1.0, 2.0, -1.0] + random.standard_t(2, nobs) * (1.0 + 0.5 * np.abs(x[:, 1])), x


Y, X = _data()


def _fit(theirs, **options):
    return theirs.fit(tol=1e-14, maxiter=3000, **options)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_norms_are_statsmodels(norm):
    z = torch.linspace(-9.0, 9.0, 1001, dtype=torch.float64)
    theirs, ours = getattr(norms, norm.__name__)(), norm()
    close_to_one(ours.rho(z), theirs.rho(z.numpy()), 1e-14)
    close_to_one(ours.weight(z), theirs.weights(z.numpy()), 1e-14)
    close_to_one(ours.slope(z), theirs.psi_deriv(z.numpy()), 1e-14)
    leaf = z.clone().requires_grad_(True)
    (psi,) = torch.autograd.grad(ours.rho(leaf).sum(), leaf)
    close_to_one(ours.weight(z) * z, psi, 1e-13)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_fits_end_where_statsmodels_does(norm, scale):
    theirs = _fit(sm.RLM(Y, X, M=getattr(norms, norm.__name__)()), scale_est=SCALES[scale]())
    ours = bh.RLM(Y, X, M=norm.__name__.lower()).fit(scale_est=SCALES[scale]())
    assert ours.diagnostics.decrement < 1e-16
    assert ours.converged
    for name in ("params", "scale", "fittedvalues", "resid", "sresid", "weights", "bcov_scaled", "bse", "chisq"):
        close_to_largest(getattr(ours, name), getattr(theirs, name), CLOSE, name)
    for name in ("pvalues", "tvalues", "nobs", "df_resid", "df_model"):
        close_to_one(getattr(ours, name), getattr(theirs, name), CLOSE, name)
    close_to_largest(ours.conf_int(), theirs.conf_int(), CLOSE)
    for name in ("H2", "H3"):
        its = sm.robust.robust_linear_model.RLMResults(
            theirs.model, theirs.params, theirs.normalized_cov_params, theirs.scale, cov=name
        )
        same_covariance(ours.with_cov(name).cov_params(), its.bcov_scaled, CLOSE, name)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("M", [None, norms.TukeyBiweight(), norms.Hampel()], ids=repr)
@pytest.mark.parametrize("cov", ["H1", "H2", "H3"])
def test_summaries_say_what_statsmodels_says(M, scale, cov):
    """All cells but the number of steps and, of proposal 2, the address in memory that is printed as the scale's name."""
    data = sm.datasets.stackloss.load_pandas()
    x = sm.add_constant(data.exog)
    theirs, ours = (
        _fit(sm.RLM(data.endog, x, M=M), cov=cov, scale_est=SCALES[scale]()),
        bh.RLM(data.endog, x, M=M).fit(cov, scale_est=SCALES[scale]()),
    )
    theirs.fit_options["scale_est"] = scale
    for name in ("summary", "summary2"):
        mine, its = (str(getattr(res, name)()).splitlines() for res in (ours, theirs))
        for line, other in zip(mine, its, strict=True):
            if not any(word in other for word in ("Date:", "Time:", "No. Iterations:")):
                assert line == other
            elif "Iterations:" in other:
                assert line[39:] == other[39:]


def _sandwich(res, x, firm=None, adjust=lambda h: 1.0):
    z = np.asarray(res.sresid)
    norm = norms.TukeyBiweight()
    slope, score = norm.psi_deriv(z), norm.psi(z) * res.scale
    bread = np.linalg.inv((x.T * slope) @ x)
    rows = x * (score / adjust(slope * np.einsum("ij,jk,ik->i", x, bread, x)))[:, None]
    rows = rows if firm is None else pd.DataFrame(rows).groupby(firm).sum().to_numpy()
    return bread @ rows.T @ rows @ bread, (slope < 0).sum()


def test_the_bread_has_the_sign_of_psi_prime():
    res, firm = bh.RLM(Y, X, M="bisquare").fit("HC0"), np.arange(len(Y)) // 10
    true, falling = _sandwich(res, X)
    assert falling > 5
    same_covariance(res.cov_params(), true, CLOSE)
    same_covariance(res.with_cov("HC3").cov_params(), _sandwich(res, X, adjust=lambda h: 1 - h)[0], CLOSE)
    same_covariance(res.with_cov(bh.Cluster(firm, "CR0")).cov_params(), _sandwich(res, X, firm)[0], CLOSE)


def test_the_covariance_is_what_refits_without_a_row_say():
    """HC3 is the jackknife at the scale of the fit; one step of it, so that the refits differ from it by their curvature."""
    res = bh.RLM(Y, X).fit()
    close_to_largest(res.with_cov(bh.Jackknife(refit=True)).bse, res.with_cov("HC3").bse, 0.05)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm", ["huber", "bisquare"])
def test_frequency_weights_repeat_rows(norm, scale):
    counts = np.random.default_rng(3).integers(0, 4, len(Y))
    weighted = bh.RLM(Y, X, M=norm, freq_weights=counts).fit(scale_est=SCALES[scale]())
    repeated = bh.RLM(np.repeat(Y, counts), np.repeat(X, counts, 0), M=norm).fit(scale_est=SCALES[scale]())
    for name in ("H1", "H2", "H3", "HC0", "HC1", "HC3"):
        same_covariance(weighted.with_cov(name).cov_params(), repeated.with_cov(name).cov_params(), CLOSE, name)
    for name in ("params", "scale", "nobs", "df_resid"):
        close_to_largest(getattr(weighted, name), getattr(repeated, name), CLOSE, name)


@pytest.mark.parametrize("counts", [None, np.array([2, 1, 3, 1, 1, 4, 2])], ids=["rows", "counts"])
@pytest.mark.parametrize("size", [6, 7])
def test_scales_and_their_slopes(counts, size):
    errors = torch.tensor([0.3, -1.2, 2.5, -0.7, 9.0, 1.9, -0.1], dtype=torch.float64)[:size]
    counts = None if counts is None else torch.tensor(counts[:size], dtype=torch.float64)
    every = errors.numpy() if counts is None else np.repeat(errors.numpy(), counts.numpy().astype(int))
    free = len(every) - 2.0
    d, normal = 1.345, stats.norm
    expected = normal.expect(lambda z: min(z * z, d * d))
    root = optimize.brentq(
        lambda s: np.minimum((every / s) ** 2, d * d).sum() - free * expected, 0.01, 100.0, xtol=1e-15
    )
    for estimate, true in (
        (MedianDeviation(), np.median(np.abs(every)) / normal.ppf(0.75)),
        (HuberProposal(d), root),
    ):
        scale = estimate.of(errors, counts, free)
        assert abs(scale - true) < 1e-8 * true
        slopes, step = estimate.slopes(errors, counts, scale), 1e-6
        for i, slope in enumerate(slopes.tolist()):
            ends = [estimate.of(errors + sign * step * torch.eye(size)[i], counts, free) for sign in (1.0, -1.0)]
            assert abs((ends[0] - ends[1]) / (2 * step) - slope) < 1e-7


def test_redescending_fits_follow_reweighting_to_its_own_root():
    """Two groups of rows that disagree: where psi comes back to zero there are several roots, and ours is statsmodels'."""
    random = np.random.default_rng(5)
    x = sm.add_constant(random.normal(size=60))
    y = np.where(np.arange(60) < 40, x @ [0.0, 1.0], x @ [8.0, -1.0]) + 0.3 * random.normal(size=60)
    for norm in (norms.TukeyBiweight(), norms.AndrewWave(), norms.Hampel(), norms.TrimmedMean(3.0)):
        theirs, ours = _fit(sm.RLM(y, x, M=norm)), bh.RLM(y, x, M=norm).fit()
        close_to_largest(ours.params, theirs.params, CLOSE)


def test_units_and_collinear_columns():
    plain = bh.RLM(Y, X, M="bisquare").fit()
    for factor in (1e-8, 1e8):
        scaled = bh.RLM(Y * factor, X * [1.0, 1e5, 1e-5], M="bisquare").fit()
        close_to_one(scaled.params / factor * [1.0, 1e5, 1e-5], plain.params, CLOSE)
        close_to_one(scaled.tvalues, plain.tvalues, CLOSE)
    shifted = bh.RLM(Y + 1e9, X, M="bisquare").fit()  # residuals keep seven digits
    close_to_one(shifted.bse, plain.bse, 1e-5)
    wild = bh.RLM(np.r_[1e20, Y[1:]], X, M="bisquare").fit()  # whose size says nothing of the rounding of the others
    without = bh.RLM(Y[1:], X[1:], M="bisquare").fit()
    close_to_one(wild.params, without.params, 0.02)
    double = np.column_stack([X, X[:, 1] + X[:, 2]])
    with pytest.warns(bh.CollinearityWarning, match="'x3' depends linearly"):
        dropped = bh.RLM(Y, double, M="bisquare").fit(rank="drop")
    close_to_one(dropped.params[:3], plain.params, CLOSE)
    close_to_one(dropped.with_cov("H3").bse[:3], plain.with_cov("H3").bse, CLOSE)
    with pytest.warns(bh.CollinearityWarning, match="minimum norm"):
        least = bh.RLM(Y, double, M="bisquare").fit("H2")
    close_to_one(least.fittedvalues, plain.fittedvalues, CLOSE)
    test = least.t_test([[1.0, 0, 0, 0]])
    close_to_one(np.ravel(test.sd), plain.with_cov("H2").bse[:1], CLOSE)


def test_containers_files_predictions_and_tables():
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2], "n": np.arange(len(Y)) % 3})
    res = bh.rlm("y ~ a + np.log1p(b)", frame, M="hampel").fit("HC1")
    theirs = _fit(sm.RLM.from_formula("y ~ a + np.log1p(b)", frame, M=norms.Hampel()))
    close_to_largest(res.params, theirs.params, CLOSE)
    assert list(res.params.index) == list(theirs.params.index)
    close_to_largest(res.predict(frame[:5]), theirs.predict(frame[:5]), CLOSE)
    prediction = res.get_prediction(frame[:5])
    assert list(prediction.summary_frame().columns) == ["predicted", "se", "ci_lower", "ci_upper"]
    close_to_largest(prediction.se, res.t_test(res.model.new_regressors(frame[:5])[0].numpy()).sd, CLOSE)
    close_to_largest(res.model.predict(res.params), res.fittedvalues, CLOSE)
    close_to_one(res.get_prediction().se[:5], prediction.se, CLOSE)
    assert res.model.df_resid == res.df_resid == len(Y) - 3
    assert res.model.df_model == res.df_model == 2
    for bare in (False, True):
        file = io.BytesIO()
        res.save(file, remove_data=bare)
        file.seek(0)
        again = bh.load(file)
        assert str(again.summary()) == str(res.summary())
        assert again.scale == res.scale
        assert again.converged
    assert "Scale" in bh.regtable(res).to_text()
    assert res.glance()["sigma"][0] == res.scale
    counted = bh.rlm("y ~ a", frame, freq_weights="n").fit()
    assert counted.nobs == frame["n"].sum()
    tensors = bh.RLM(torch.tensor(Y, dtype=torch.float32), torch.tensor(X, dtype=torch.float32)).fit()
    assert isinstance(tensors.weights, torch.Tensor)
    close_to_largest(tensors.params, bh.RLM(Y, X).fit().params, 1e-5)  # the data have seven digits


MESSAGES = {
    "norm": (lambda: bh.RLM(Y, X, M="cauchy"), bh.OptionError, "M is 'cauchy', which RLM does not know; pass one of statsmodels' norms"),
    "class": (lambda: bh.RLM(Y, X, M=norms.HuberT), bh.OptionError, "which RLM does not know"),
    "weird": (lambda: bh.RLM(Y, X, M=norms.MQuantileNorm(0.3, norms.HuberT())), bh.OptionError, "which RLM does not know"),
    "constant": (lambda: bh.RLM(Y, X, M=norms.HuberT(-1.0)), bh.OptionError, "t of M, HuberT, is -1.0; pass a positive number"),
    "order": (lambda: bh.RLM(Y, X, M=norms.Hampel(2.0, 4.0, 4.0)), bh.OptionError, r"a, b, c = \[2.0, 4.0, 4.0\]; pass three numbers that increase"),
    "scale": (lambda: bh.RLM(Y, X).fit(scale_est="sd"), bh.OptionError, "scale_est is 'sd'; use 'mad'"),
    "solver": (lambda: bh.RLM(Y, X).fit(maxiter=3, start_params=[0.0]), bh.OptionError, "fit does not take 'maxiter', 'start_params': betahat solves by rew"),
    "solver of OLS": (lambda: bh.OLS(Y, X).fit(method="qr"), bh.OptionError, "fit does not take 'method': betahat solves least squares in one way"),
    "problem": (lambda: bh.fit_at(bh.RLM(Y, X), [0.0]), bh.OptionError, "problem is an RLM; pass the problem of a model"),
    "proposal": (lambda: bh.RLM(Y, X).fit(scale_est=sm.robust.scale.HuberScale(d=0.0)), bh.OptionError, "with a positive d"),
    "option": (lambda: bh.RLM.from_formula("y ~ a", {"y": Y, "a": Y}, weights="a"), bh.OptionError, "does not know 'weights'; its options are"),
    "counts": (lambda: bh.RLM(Y, X, freq_weights=np.full(len(Y), 0.5)), bh.DataError, "freq_weights has"),
    "nonrobust": (lambda: bh.RLM(Y, X).fit("nonrobust"), bh.EstimationError, "use 'H1', 'H2', 'H3', or a sandwich such as 'HC0'"),
    "likelihood": (lambda: bh.RLM(Y, X).fit().aic, bh.EstimationError, "no information criterion; test coefficients by wald_test"),
    "other models": (lambda: bh.OLS(Y, X).fit("H1"), bh.EstimationError, "H1, H2 and H3 are covariances of robust regression"),
    "parametric": (lambda: bh.RLM(Y, X).fit("bootstrap", {"kind": "parametric", "reps": 9}), bh.EstimationError, "."),
    "labels": (lambda: bh.RLM(Y, X).fit().get_prediction(X[:2], row_labels=["a"]), bh.OptionError, "row_labels has 1 label for 2 predictions"),
    "perfect": (lambda: bh.RLM(X @ [1.0, 2.0, 3.0], X).fit(), bh.EstimationError, "200 of 200 residuals are zero up to rounding, an essentially perfect fit"),
    "perfect, proposal 2": (lambda: bh.RLM(X @ [1.0, 2.0, 3.0], X).fit(scale_est=SCALES["HuberScale"]()), bh.EstimationError, "perfect fit"),
    "score": (lambda: bh.RLM(Y, X).score_obs([0.0, 0.0, 0.0]), bh.EstimationError, "no log-likelihood and no information criterion"),
    "saddle": (lambda: bh.fit_at(bh.RLM(5.0 * Y, X, M="bisquare").problem, [10.0, 20.0, 5.0]), bh.EstimationError, "This is not a minimum: the loss curves downward along"),
    "no y": (lambda: bh.RLM(np.zeros(len(Y)), X).fit(), bh.EstimationError, "perfect fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_bad_input(case):
    call, kind, sentence = MESSAGES[case]
    with pytest.raises(kind, match=sentence):
        call()


def test_more_than_half_of_the_rows_exact():
    y = X @ [1.0, 2.0, 3.0] + np.where(np.arange(len(Y)) % 3 == 0, Y, 0.0)
    with pytest.raises(
        bh.EstimationError, match="residuals are zero up to rounding, so that the scale of the errors is zero"
    ):
        bh.RLM(y, X, M="bisquare").fit()


def test_a_coefficient_without_rows():
    """A column of the outliers alone keeps no weight, where psi comes back to zero."""
    y, x = _data(60)
    x = np.column_stack([x, np.arange(60) >= 56])
    y = y * 0.1
    y[56:] = [80.0, -80.0, 70.0, -70.0]
    with pytest.raises(bh.EstimationError, match="still have a weight do not identify every coefficient"):
        bh.RLM(y, x, M="bisquare").fit()


def test_reweighting_that_does_not_settle(monkeypatch):
    monkeypatch.setattr("betahat.fits.robust._ITERATIONS", 2)
    with pytest.raises(bh.EstimationError, match="did not settle: after 2 steps coefficients and scale still move"):
        bh.RLM(Y, X).fit()


def test_a_mean_of_psi_prime_that_is_not_positive():
    """Rows of zeros where psi falls, and a few others that fix the slope: its bread is positive, and H1 divides by the mean of psi'."""
    few, many = np.linspace(1.0, 2.0, 10), 90
    x = np.r_[few, np.zeros(many)]
    y = np.r_[2.0 * few + 0.01 * np.cos(9.0 * few), np.where(np.arange(many) % 2, 1.0, -1.0)]
    res = bh.RLM(y, x, M=norms.TukeyBiweight(0.87)).fit("HC0")
    assert res.bse[0] > 0
    with pytest.raises(bh.EstimationError, match="The mean of psi' is not positive"):
        res.with_cov("H1")
