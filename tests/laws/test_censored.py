"""Censored location and scale: derivatives against autodiff, moments against draws, least squares where nothing is censored, weights, units, files."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.models.aft import DISTRIBUTIONS
from betahat.objectives.censored import Duration, Limited
from betahat.objectives.equation import Equation
from betahat.objectives.indices import LinearIndices
from betahat.objectives.latent import LatentNormal

# torch's second derivatives of log_ndtr lose digits in the tails.
AUTODIFF = 1e-9
# Newton's method ends within 1e-12 standard errors.
CLOSE = 1e-9

EQUATIONS = (Equation(""), Equation("log(scale)", ()))
LIMITS = [(-0.5, 1.0), (0.0, None), (None, 0.7)]


def _draws(nobs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(nobs, 2, dtype=torch.float64, generator=generator) for _ in range(2))


def _against_autodiff(loss, y):
    for width in 2, 1:
        index = next(_draws(len(y)))[:, :width]
        slopes, bends = (getattr(LinearIndices, name)(loss, index, y, None) for name in ("residual", "curvature"))
        torch.testing.assert_close(loss.residual(index, y, None), slopes, rtol=AUTODIFF, atol=AUTODIFF)
        torch.testing.assert_close(loss.curvature(index, y, None), bends, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("left", "right"), LIMITS)
def test_limited(left, right):
    """Derivatives, and Fisher's information and means against a million draws."""
    loss = Limited(LatentNormal(), left, right, equations=EQUATIONS)
    _, y = _draws(400)
    _against_autodiff(loss, (2.0 * y[:, 0]).clamp(left, right))
    index, many = torch.tensor([[0.3, 0.2]], dtype=torch.float64), 1_000_000
    uniform = (torch.arange(many, dtype=torch.float64)[:, None] + 0.5) / many
    drawn = loss.draw(index, torch.ones(()), uniform)[:, 0]
    wide = index.expand(many, 2)
    expected = loss.expected_curvature(index)[0]
    torch.testing.assert_close(loss.curvature(wide, drawn, None).mean(0), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loss.residual(wide, drawn, None).mean(0), torch.zeros(2).double(), rtol=0.0, atol=1e-4)
    exact = loss.known(drawn).exact
    torch.testing.assert_close(loss.mean(index)[0], drawn.mean(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loss.conditional(index)[0], drawn[exact].mean(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.inside(index)[0], exact.double().mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dist", DISTRIBUTIONS)
def test_duration(dist):
    """Derivatives, and the mean and the quantiles of times against a million of them."""
    loss = Duration(DISTRIBUTIONS[dist], equations=EQUATIONS)
    _, y = _draws(400)
    _against_autodiff(loss, y[:, 0] * y[:, 1].exp())
    index = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    uniform = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    times = torch.exp(0.3 + np.exp(-0.7) * loss.latent.quantile(uniform))
    torch.testing.assert_close(loss.mean(index)[0], times.mean(), rtol=2e-3, atol=0.0)
    torch.testing.assert_close(loss.quantile(index, 0.25)[0], times.quantile(0.25), rtol=1e-5, atol=0.0)


def _times(nobs=400):
    random = np.random.default_rng(11)
    frame = pd.DataFrame({"x": random.normal(size=nobs), "until": random.exponential(6.0, nobs)})
    life = np.exp(1.0 + 0.5 * frame["x"]) * random.weibull(1.5, nobs)
    return frame.assign(time=np.minimum(life, frame["until"]), died=(life <= frame["until"]) * 1)


TIMES = _times()


@pytest.mark.parametrize("dist", DISTRIBUTIONS)
def test_times(dist):
    res = bh.aft("time ~ x", TIMES, status="died", dist=dist).fit()
    assert res.n_censored == (0.0, float((TIMES["died"] == 0).sum()))
    np.testing.assert_array_equal(res.model.status, TIMES["died"])
    np.testing.assert_array_equal(res.model.endog, TIMES["time"])
    by_arrays = bh.AFT(TIMES["time"].to_numpy(), bh.add_constant(TIMES["x"].to_numpy()), TIMES["died"], dist=dist).fit()
    np.testing.assert_allclose(by_arrays.params, res.params, rtol=CLOSE)
    np.testing.assert_allclose(res.predict(which="median"), res.quantiles(0.5), rtol=1e-12)
    np.testing.assert_allclose(res.predict(which="mean"), res.model.predict(res.params, which="mean"), rtol=1e-12)
    hours = bh.aft("time ~ x", TIMES.assign(time=8766 * TIMES["time"]), status="died", dist=dist).fit()
    np.testing.assert_allclose(hours.params - res.params, np.log(8766) * np.eye(len(res.params))[0], atol=1e-9)
    total = res.fit.sum_rows(lambda rows: rows.hat_rows.flatten(0, 1).mT @ rows.hat_rows.flatten(0, 1))
    torch.testing.assert_close(total, torch.eye(len(res.params)).double(), rtol=0.0, atol=1e-10)
    robust = res.with_cov("HC1").bse  # not the classical errors, since three of the distributions are wrong
    for cov in (bh.Bootstrap(199, seed=1), bh.Jackknife()):
        np.testing.assert_allclose(res.with_cov(cov).bse, robust, rtol=0.25)


def test_an_exponential_time_is_a_poisson_count():
    """The likelihood of an exponential time is that of a count of events with exposure time."""
    aft = bh.aft("time ~ x", TIMES, status="died", dist="exponential").fit()
    count = bh.poisson("died ~ x", TIMES, exposure="time").fit()
    np.testing.assert_allclose(aft.params, -count.params, rtol=CLOSE)
    np.testing.assert_allclose(aft.cov_params(), count.cov_params(), rtol=1e-8)
    assert aft.sigma == 1.0
    np.testing.assert_allclose(aft.get_margeff().margeff, aft.predict().mean() * aft.params["x"], rtol=1e-12)


def test_missing_and_counted_times():
    often = np.random.default_rng(1).integers(0, 3, len(TIMES))
    counted = bh.aft("time ~ x", TIMES, status="died", freq_weights=often).fit()
    repeated = bh.aft("time ~ x", TIMES.loc[TIMES.index.repeat(often)].reset_index(drop=True), status="died").fit()
    np.testing.assert_allclose(counted.cov_params(), repeated.cov_params(), rtol=1e-8)
    holes = TIMES.assign(died=TIMES["died"].where(TIMES.index % 10 > 0))
    fewer = bh.aft("time ~ x", TIMES[TIMES.index % 10 > 0], status="died").fit()
    np.testing.assert_allclose(bh.aft("time ~ x", holes, status="died").fit().params, fewer.params, rtol=CLOSE)
    assert bh.aft("time ~ x", TIMES).fit().n_censored == (0.0, 0.0)
    file = io.BytesIO()
    fewer.save(file)
    file.seek(0)
    again = bh.load(file)
    assert str(again.summary()) == str(fewer.summary())
    pd.testing.assert_series_equal(again.quantiles(0.1, TIMES.iloc[:3]), fewer.quantiles(0.1, TIMES.iloc[:3]))


@pytest.mark.parametrize("cut", [0.0, -100.0])
def test_shares_of_rows_add_up_to_the_information(cut):
    """At the optimum: single rows' shares are those of the convex parameters, in which none is negative."""
    fit = bh.tobit("y ~ x1 + x2", FRAME if cut == 0.0 else FRAME.assign(y=FRAME["latent"]), left=cut).fit().fit
    total = fit.sum_rows(lambda rows: rows.hat_rows.flatten(0, 1).mT @ rows.hat_rows.flatten(0, 1))
    torch.testing.assert_close(total, torch.eye(4).double(), rtol=0.0, atol=1e-10)


def _frame(nobs=400):
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"x1": random.normal(size=nobs), "x2": random.normal(size=nobs)})
    frame["latent"] = 0.5 + frame["x1"] - 0.7 * frame["x2"] + 1.3 * random.normal(size=nobs)
    return frame.assign(y=frame["latent"].clip(lower=0.0), both=frame["latent"].clip(0.0, 2.0))


FRAME = _frame()


def test_without_a_censored_row_it_is_least_squares():
    res, least = bh.tobit("latent ~ x1 + x2", FRAME, left=-100).fit(), bh.ols("latent ~ x1 + x2", FRAME).fit()
    np.testing.assert_allclose(res.params[:3], least.params, rtol=CLOSE)
    assert res.sigma == pytest.approx(np.sqrt((least.resid**2).mean()), rel=CLOSE)
    assert res.llf == pytest.approx(least.llf, rel=CLOSE)
    assert res.n_censored == (0.0, 0.0)


@pytest.mark.parametrize("bread", ["observed", "expected", "opg"])
def test_breads_agree_in_large_samples(bread):
    res = bh.tobit("y ~ x1 + x2", FRAME).fit(bread=bread)
    np.testing.assert_allclose(res.bse, bh.tobit("y ~ x1 + x2", FRAME).fit().bse, rtol=0.15)


@pytest.mark.parametrize("which", ["latent", "conditional", "expected", "probability"])
def test_predictions_and_their_margins(which):
    """Margins are differences of predictions; errors those of the delta method by differences in the parameters."""
    res = bh.tobit("both ~ x1 + x2", FRAME, left=0, right=2).fit("HC0")
    x = res.model.exog.to_numpy()
    np.testing.assert_allclose(res.predict(which=which), res.model.predict(res.params, which=which), rtol=1e-12)
    frame = res.get_prediction(FRAME.iloc[:4], which=which).summary_frame()
    np.testing.assert_allclose(frame["predicted"], res.predict(FRAME.iloc[:4], which=which), rtol=1e-12)

    def at(params, x=x[:4]):
        return np.asarray(res.model.predict(params, x, which))

    steps = 1e-5 * np.eye(4)
    jacobian = np.stack([(at(res.params + h) - at(res.params - h)) / 2e-5 for h in steps], 1)
    errors = np.sqrt(np.diag(jacobian @ res.cov_params() @ jacobian.T))
    np.testing.assert_allclose(frame["se"], errors, rtol=1e-6)
    moved = [(at(res.params, x + h) - at(res.params, x - h)).mean() / 2e-5 for h in 1e-5 * np.eye(3)[1:]]
    np.testing.assert_allclose(res.get_margeff(which=which).margeff, moved, rtol=1e-6)
    if which == "latent":
        np.testing.assert_allclose(res.get_margeff().margeff, res.params[1:3], rtol=1e-12)
        np.testing.assert_allclose(res.get_margeff().margeff_se, res.bse[1:3], rtol=1e-12)


def test_weights_units_files_and_tables():
    often = np.random.default_rng(1).integers(0, 4, len(FRAME))
    counted = bh.tobit("y ~ x1 + x2", FRAME, freq_weights=often).fit()
    repeated = bh.tobit("y ~ x1 + x2", FRAME.loc[FRAME.index.repeat(often)].reset_index(drop=True)).fit()
    for cov in ("nonrobust", "HC1", "OPG"):
        np.testing.assert_allclose(counted.with_cov(cov).cov_params(), repeated.with_cov(cov).cov_params(), rtol=1e-8)
    assert counted.n_censored == repeated.n_censored
    assert counted.llnull == pytest.approx(repeated.llnull, rel=1e-10)
    plain = bh.tobit("y ~ x1 + x2", FRAME).fit()
    scaled = bh.tobit("y ~ x1 + x2", FRAME.assign(y=1e8 * FRAME["y"], x1=1e-6 * FRAME["x1"])).fit()
    np.testing.assert_allclose(scaled.params.iloc[:3] * [1e-8, 1e-14, 1e-8], plain.params.iloc[:3], rtol=CLOSE)
    assert scaled.params.iloc[3] == pytest.approx(plain.params.iloc[3] + np.log(1e8), rel=1e-12)
    # the loss has an error of 1e-9 there, and steps go by the gradient
    far = bh.tobit("y ~ x1 + x2", FRAME.assign(y=2e-3 * FRAME["y"] + 400.0), left=400).fit()
    assert far.diagnostics.decrement < 1e-16
    np.testing.assert_allclose(500.0 * (far.params.iloc[:3] - [400.0, 0.0, 0.0]), plain.params.iloc[:3], rtol=1e-7)
    file = io.BytesIO()
    plain.save(file)
    file.seek(0)
    again = bh.load(file)
    assert str(again.summary()) == str(plain.summary())
    pd.testing.assert_series_equal(again.predict(FRAME.iloc[:3]), plain.predict(FRAME.iloc[:3]))
    assert str(plain.remove_data().summary()) == str(plain.summary())
    assert "log(scale)" in bh.regtable([plain]).to_text()
    tensors = bh.Tobit(torch.tensor(FRAME["y"]), torch.tensor(plain.model.exog.to_numpy())).fit()
    np.testing.assert_allclose(tensors.params, plain.params, rtol=CLOSE)


def test_resampling():
    res = bh.tobit("y ~ x1 + x2", FRAME).fit()
    for cov in (bh.Bootstrap(199, "parametric", seed=1), bh.Bootstrap(199, seed=1), bh.Jackknife()):
        np.testing.assert_allclose(res.with_cov(cov).bse, res.bse, rtol=0.25)


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("read", [np.asarray, torch.as_tensor, lambda values: pd.DataFrame(values.astype("f8")), None])
def test_limits_are_those_of_the_data_in_their_precision(read, dtype):
    random = np.random.default_rng(0)
    x = random.uniform(size=300)
    y = np.clip(1 + x + random.normal(size=300), 1.1, 2.7)
    wanted = bh.Tobit(y, bh.add_constant(x), left=1.1, right=2.7).fit()
    low, regressors = y.astype(dtype), bh.add_constant(x).astype(dtype)
    if read is None:
        frame = pd.DataFrame({"y": low, "x": regressors[:, 1]})
        found = bh.tobit("y ~ x", frame, left=1.1, right=2.7).fit()
    else:
        found = bh.Tobit(read(low), read(regressors), left=1.1, right=2.7).fit()
    assert found.n_censored == wanted.n_censored == ((y == 1.1).sum(), (y == 2.7).sum())
    close = 1e-6 if dtype == "f4" else 1e-2
    assert np.allclose(np.asarray(found.params), wanted.params, rtol=0, atol=close)
    expected = np.asarray(found.predict(which="expected"))
    assert np.allclose(expected, wanted.predict(which="expected"), rtol=0, atol=close)


def test_a_limit_of_low_precision_is_what_it_prints():
    y = [1.1, 2.0, 1.1, 3.0, 2.5]
    assert bh.Tobit(y, np.ones((5, 1)), left=np.float32(1.1)).fit().n_censored == (2, 0)


def test_tables_show_no_pseudo_r2_and_no_variance_of_a_density():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.uniform(size=99), "t": random.exponential(20, 99)})
    models = [bh.tobit("t ~ x", frame).fit(), bh.aft("t ~ x", frame).fit()]
    table = bh.regtable(models).to_text()
    assert "Pseudo" not in table
    assert f"{models[0].llf:.4f}"[:6] in table
    assert all("Pseudo" not in str(res.summary()) and "Sigma:" in str(res.summary()) for res in models)
    (row,) = [
        line
        for line in bh.regtable([bh.ols("t ~ x", frame).fit(), *models], stats=["scale"]).to_text().splitlines()
        if "Residual variance" in line
    ]
    assert len(row.split()) == 3
    with pytest.raises(bh.OptionError, match="'scale', which none of these results has"):
        bh.regtable(models, stats=["scale"])
