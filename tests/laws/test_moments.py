"""GMM: how moments may be called, the closed models written as moments, naive loops, weights, bootstraps and what is refused."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import same_covariance

import betahat as bh
from betahat.calculus.rows import Point
from betahat.fits import moments as of_fits

# The same sums of products in another order; solutions to 1e-12 standard errors.
ROUNDING = 1e-9
# The solvers stop at the same distances, of the same replicates.
REFITTED = 1e-8


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


N = 60
X = torch.cat([torch.ones(N, 1).double(), _normal(N, 2, seed=1)], 1)
Z = torch.cat([X, _normal(N, 2, seed=2) + X[:, 1:2]], 1)
Y = X @ torch.tensor([0.5, 1.0, -0.7]).double() + _normal(N, seed=3) * (1 + 0.5 * X[:, 1].abs())
YES = (Y > 0).double()
COUNTS = torch.poisson((0.4 * X[:, 1] + 0.5).exp(), generator=torch.Generator().manual_seed(4))
FIRM, YEAR = np.arange(N) // 5, np.arange(N) % 5
START = {"beta": torch.zeros(3)}


def _least_squares(p, d):
    return d["x"] * (d["y"] - d["x"] @ p["beta"])[:, None]


CALLS = {
    "two dicts": _least_squares,
    "by name": lambda beta, x, y: x * (y - x @ beta)[:, None],
    "parameters, then data by name": lambda p, y, x: x * (y - x @ p["beta"])[:, None],
    "an option of its own": lambda beta, x, y, scale=2.0: x * (y - x @ beta)[:, None] / scale,
    "a single row": lambda p, d: d["x"] * (d["y"] - torch.dot(d["x"], p["beta"])),
    "a single row, stacked": lambda beta, x, y: torch.stack([x[j] * (y - torch.dot(x, beta)) for j in range(3)]),
    "a loop over the rows": lambda p, d: torch.stack([x * (y - x @ p["beta"]) for x, y in zip(d["x"], d["y"], strict=True)]),
    "in place": lambda beta, x, y: x * y.sub_(x @ beta)[:, None],
    "drawing": lambda beta, x, y: x * (y - x @ beta)[:, None] + 0.0 * torch.randn(1),
    "a branch in each row": lambda beta, x, y: torch.stack([v * (e if e.item() > 0 else 1.0 * e) for v, e in zip(x, y - x @ beta, strict=True)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calling_conventions(name):
    state = torch.get_rng_state()
    res = bh.GMM(CALLS[name], START, {"x": X, "y": Y}).fit()
    assert torch.equal(state, torch.get_rng_state())
    true = bh.OLS(Y, X).fit("HC0")
    torch.testing.assert_close(res.params, true.params, rtol=ROUNDING, atol=ROUNDING)
    assert res.cov_type == "HC0"
    assert res.names == ("beta[0]", "beta[1]", "beta[2]")
    for cov in ("HC0", "HC1", bh.Bootstrap(19, seed=1)):
        same_covariance(res.with_cov(cov).cov_params(), true.with_cov(cov).cov_params(), REFITTED)


def _mills(index, sign):
    return sign * torch.exp(-0.5 * index**2 - 0.5 * np.log(2 * np.pi) - torch.special.log_ndtr(index))


MODELS = {
    "OLS": (bh.OLS, Y, lambda beta, x, y: x * (y - x @ beta)[:, None]),
    "Logit": (bh.Logit, YES, lambda beta, x, y: x * (y - torch.sigmoid(x @ beta))[:, None]),
    "Poisson": (bh.Poisson, COUNTS, lambda beta, x, y: x * (y - torch.exp(x @ beta))[:, None]),
    "Probit": (
        bh.Probit,
        YES,
        lambda beta, x, y: x * _mills((2 * y - 1) * (x @ beta), 2 * y - 1)[:, None],
    ),
}  # fmt: skip
COVARIANCES = {
    "HC0": "HC0",
    "HC1": "HC1",
    "CR0": bh.Cluster(FIRM, "CR0"),
    "CR1": bh.Cluster(FIRM, "CR1"),
    "CR1S": bh.Cluster(FIRM),
    "two ways": bh.Cluster([FIRM, YEAR], psd="repair"),
    "HAC": bh.HAC(2),
    "Driscoll-Kraay": bh.DriscollKraay(YEAR, 1),
    "panel Newey-West": bh.PanelNeweyWest(FIRM, YEAR, 1),
    "Conley": bh.Conley(X[:, 1], X[:, 2], 0.5, distance="planar"),
    "score": bh.Bootstrap(29, "score", seed=1),
    "score clusters": bh.Bootstrap(29, "score", seed=1, clusters=FIRM),
    "pairs": bh.Bootstrap(29, seed=1),
    "clusters drawn": bh.Bootstrap(29, seed=1, clusters=FIRM),
    "bayesian": bh.Bootstrap(29, "bayesian", seed=1),
    "poisson": bh.Bootstrap(29, "poisson", seed=1),
    "blocks": bh.Bootstrap(29, "stationary", seed=1, block_length=3),
    "subsample": bh.Bootstrap(29, "subsample", seed=1, size=40),
    "m out of n": bh.Bootstrap(29, "m-out-of-n", seed=1, size=50),
    "jackknife": bh.Jackknife(refit=True),
    "jackknife of clusters": bh.Jackknife(FIRM, refit=True),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::betahat.BetahatWarning")
@pytest.mark.parametrize("name", MODELS)
def test_closed_models_as_moments(name):
    kind, y, moments = MODELS[name]
    res, true = bh.GMM(moments, START, {"x": X, "y": y}).fit(), kind(y, X).fit("HC0")
    torch.testing.assert_close(res.params, true.params, rtol=ROUNDING, atol=ROUNDING)
    assert res.diagnostics.decrement < 1e-20
    for label, cov in COVARIANCES.items():
        if label == "jackknife" and name in ("Logit", "Probit"):
            continue  # a refit for each row, of which two models are enough
        expected = true.with_cov(cov)
        tolerance = ROUNDING if expected.cov.draws is None else REFITTED
        same_covariance(res.with_cov(cov).cov_params(), expected.cov_params(), tolerance)


@pytest.mark.filterwarnings("ignore:An interval ends:betahat.BootstrapWarning")
def test_intervals_of_replicates():
    res, true = (
        bh.GMM(MODELS["Poisson"][2], START, {"x": X, "y": COUNTS}).fit(),
        bh.Poisson(COUNTS, X).fit(),
    )
    cov = bh.Bootstrap(49, seed=2)
    for method in ("percentile", "basic", "studentized", "bca", "sup-t"):
        found, expected = (r.with_cov(cov).conf_int(method=method) for r in (res, true))
        torch.testing.assert_close(found, expected, rtol=REFITTED, atol=REFITTED)


def test_frequency_weights_are_repeated_rows():
    often = torch.arange(N) % 3
    rows = torch.arange(N).repeat_interleave(often)
    for instruments in (X, Z):
        weighed = bh.GMM(_instrumented, START, {"x": X, "y": Y, "z": instruments}, freq_weights=often).fit()
        repeated = bh.GMM(_instrumented, START, {"x": X[rows], "y": Y[rows], "z": instruments[rows]}).fit()
        assert weighed.nobs == len(rows)
        torch.testing.assert_close(weighed.params, repeated.params, rtol=ROUNDING, atol=ROUNDING)
        for cov in ("nonrobust", "HC0", "HC1", bh.Bootstrap(19, seed=3)):
            same_covariance(weighed.with_cov(cov).cov_params(), repeated.with_cov(cov).cov_params(), REFITTED)


# more moments than parameters


def _instrumented(beta, x, y, z):
    return z * (y - x @ beta)[:, None]


def _curved(beta, x, y, z):
    return z * (y - torch.exp(x @ beta))[:, None]


def _linear(weight, shift=0.0, often=None):
    """The minimum of (sum z (y - x b) - shift)' W (...), for linear moments."""
    often = torch.ones(N).double() if often is None else often
    zx, zy = Z.mT @ (often[:, None] * X), Z.mT @ (often * Y) - shift
    return torch.linalg.solve(zx.mT @ weight @ zx, zx.mT @ weight @ zy)


def _spread(beta, center=False):
    moments = Z * (Y - X @ beta)[:, None]
    moments = moments - moments.mean(0) if center else moments
    return moments.mT @ moments


@pytest.mark.parametrize("center", [False, True])
def test_naive_weights(center):
    data, eye = {"x": X, "y": Y, "z": Z}, torch.eye(5).double()
    one = _linear(eye)
    two = _linear(torch.linalg.inv(_spread(one, center)))
    again = two
    for _ in range(200):
        again = _linear(torch.linalg.inv(_spread(again, center)))
    own = torch.diag(torch.arange(1.0, 6.0).double())
    for weights, expected in {"identity": one, "two-step": two, "iterated": again}.items():
        res = bh.GMM(_instrumented, START, data, weights=weights, center=center).fit()
        torch.testing.assert_close(res.params, expected, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(
        bh.GMM(_instrumented, START, data, weights=own).fit().params, _linear(own), rtol=ROUNDING, atol=ROUNDING
    )


def test_naive_sandwich_and_tests():
    data = {"x": X, "y": Y, "z": Z}
    jacobian = -Z.mT @ X
    for weights, before in (("identity", None), ("two-step", "identity")):
        res = bh.GMM(_instrumented, START, data, weights=weights).fit()
        first = None if before is None else bh.GMM(_instrumented, START, data, weights=before).fit().params
        weight = torch.eye(5).double() if first is None else torch.linalg.inv(_spread(first))
        bread = torch.linalg.inv(jacobian.mT @ weight @ jacobian)
        half = bread @ jacobian.mT @ weight
        spread, summed = _spread(res.params), Z.mT @ (Y - X @ res.params)
        same_covariance(res.cov_params(), half @ spread @ half.mT, ROUNDING)
        same_covariance(res.normalized_cov_params, bread, ROUNDING)
        sums = torch.zeros(12, 5).double().index_add_(0, torch.as_tensor(FIRM), Z * (Y - X @ res.params)[:, None])
        cov = res.with_cov(bh.Cluster(FIRM, "CR0")).cov_params()
        same_covariance(cov, half @ (sums.mT @ sums) @ half.mT, ROUNDING)
        if first is None:
            left = torch.eye(5).double() - jacobian @ half
            expected = summed @ torch.linalg.pinv(left @ spread @ left.mT, rtol=1e-10) @ summed
        else:
            expected = summed @ weight @ summed
            same_covariance(res.with_cov("nonrobust").cov_params(), bread, ROUNDING)
        assert res.j_test().statistic == pytest.approx(float(expected), rel=1e-8)
        assert res.j_test().df == 2
        assert 0.0 < res.j_test().pvalue < 1.0
        assert res.objective == pytest.approx(float(summed @ weight @ summed), rel=1e-10)


@pytest.mark.parametrize("moments", [_instrumented, _curved])
@pytest.mark.parametrize("center", [False, True])
def test_continuously_updated_is_the_minimum(moments, center):
    y = COUNTS if moments is _curved else Y
    res = bh.GMM(moments, START, {"x": X, "y": y, "z": Z}, weights="continuously-updated", center=center).fit()

    def statistic(beta):
        found = moments(beta, X, y, Z)
        summed, spread = found.sum(0), found.mT @ found
        spread = spread - torch.outer(summed, summed) / N if center else spread
        return summed @ torch.linalg.solve(spread, summed)

    slope = torch.func.grad(statistic)(res.params)
    curvature = torch.autograd.functional.hessian(statistic, res.params)
    assert float(slope @ torch.linalg.solve(curvature, slope)) < 1e-18
    assert bool((torch.linalg.eigvalsh(curvature) > 0).all())
    assert res.j_test().statistic == pytest.approx(float(statistic(res.params)), rel=1e-10)
    # the bread of the last weight is the sandwich
    if not center:
        same_covariance(res.cov_params(), res.with_cov("nonrobust").cov_params(), ROUNDING)


def test_weights_have_no_bearing_on_as_many_moments_as_parameters():
    plain = bh.GMM(MODELS["Poisson"][2], START, {"x": X, "y": COUNTS}).fit()
    for weights in ("identity", "iterated", "continuously-updated", np.diag([1.0, 10.0, 0.1])):
        res = bh.GMM(MODELS["Poisson"][2], START, {"x": X, "y": COUNTS}, weights=weights).fit("nonrobust")
        same_covariance(res.cov_params(), plain.cov_params(), ROUNDING)
        torch.testing.assert_close(res.params, plain.params, rtol=ROUNDING, atol=ROUNDING)


def test_moments_in_other_units_and_order():
    units, order = torch.tensor([1e-2, 1.0, 1e2, 1.0, 10.0]).double(), [3, 1, 0, 4, 2]
    one, other = (
        bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": z}, weights="continuously-updated").fit()
        for z in (Z, Z[:, order] * units)
    )
    torch.testing.assert_close(one.params, other.params, rtol=REFITTED, atol=REFITTED)
    same_covariance(one.cov_params(), other.cov_params(), REFITTED)


def test_a_narrow_way_is_gone_by_way_of_moments_of_size_one():
    """The identity weighs moments of these sizes by 1e12 to 1, which is solved from the solution for moments of a size of one."""
    units = torch.tensor([1e-3, 1.0, 1e3, 1.0, 10.0]).double()
    res = bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": Z[:, [3, 1, 0, 4, 2]] * units}, weights="identity").fit()
    assert res.diagnostics.decrement < 1e-16


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["identity", "two-step", "iterated", "continuously-updated", "matrix"])
@pytest.mark.parametrize("moments", [_curved])
def test_replicates_are_refits_of_centred_moments(weights, moments):
    """Hall and Horowitz: in a replicate the sample's mean is taken off; each is fitted as a data set of its own."""
    y = COUNTS if moments is _curved else Y
    given = torch.diag(torch.arange(1.0, 6.0).double()) if weights == "matrix" else weights
    res = bh.GMM(moments, START, {"x": X, "y": y, "z": Z}, weights=given).fit(bh.Bootstrap(2, seed=5))
    often = res.cov.resampling.resampler.weights(5, torch.arange(2), N)
    mean = moments(res.params, X, y, Z).mean(0)
    for drawn, found in zip(often, res.cov.draws, strict=True):
        rows = torch.arange(N).repeat_interleave(drawn.long())
        data = {"x": X[rows], "y": y[rows], "z": Z[rows]}
        alone = bh.GMM(lambda beta, x, y, z: moments(beta, x, y, z) - mean, {"beta": res.params}, data, weights=given)
        torch.testing.assert_close(alone.fit().params, found, rtol=REFITTED, atol=REFITTED)


def test_jackknife_finds_weights_anew():
    data = {"x": X, "y": Y, "z": Z}
    res = bh.GMM(_instrumented, START, data).fit(bh.Jackknife(FIRM, refit=True))
    others = torch.stack([
        bh.GMM(_instrumented, START, {k: v[torch.as_tensor(g != FIRM)] for k, v in data.items()}).fit().params for g in range(12)
    ])  # fmt: skip
    moved = others - others.mean(0)
    same_covariance(res.cov_params(), moved.mT @ moved * 11 / 12, ROUNDING)


# containers, files, tables


def test_containers_and_state():
    frame = pd.DataFrame({"y": Y.numpy(), "x": X[:, 1].numpy(), "firm": FIRM}, index=[f"row {i}" for i in range(N)])

    def line(a, b, x, y):
        error = y - a - b * x
        return torch.stack([error, x * error], 1)

    res = bh.GMM(line, {"a": 0.0, "b": torch.zeros(1)}, dict(frame)).fit(bh.Cluster("firm"))
    true = bh.ols("y ~ x", frame).fit(bh.Cluster("firm"))
    assert isinstance(res.params, pd.Series)
    assert list(res.bse.index) == ["a", "b"]
    np.testing.assert_allclose(res.bse, true.bse, rtol=ROUNDING)
    assert res.state()["b"].shape == (1,)
    assert res.state()["a"].shape == ()
    arrays = bh.GMM(
        line, {"a": 0.0, "b": 0.0}, {"x": frame.x.to_numpy(), "y": frame.y.to_numpy()}, names=["c", "d"]
    ).fit()
    assert isinstance(arrays.params, np.ndarray)
    assert arrays.model.exog_names == ["c", "d"]
    assert arrays.model.endog_names == "moments"
    assert repr(arrays.model) == "<GMM: 2 moments, 2 parameters, n = 60>"
    slope = res.delta(lambda p: p["b"][0] / p["a"])
    assert slope.bse == pytest.approx(true.delta(lambda p: p["x"] / p["Intercept"]).bse, rel=1e-8)


@pytest.mark.filterwarnings("ignore:An interval ends:betahat.BootstrapWarning")
@pytest.mark.parametrize("instruments", [X, Z], ids=["as many", "more"])
@pytest.mark.parametrize("weights", ["identity", "two-step"])
def test_what_is_saved_says_the_same(instruments, weights):
    data = {"x": X, "y": COUNTS, "z": instruments}
    res = bh.GMM(_curved, START, data, weights=weights).fit(bh.Bootstrap(29, seed=1))
    file = io.BytesIO()
    res.save(file)
    file.seek(0)
    for other in (bh.load(file), res.remove_data()):
        assert torch.equal(other.bse, res.bse)
        assert other.glance().equals(res.glance())
        assert other.goodness == res.goodness
        assert str(other.summary()).split("Time")[0] == str(res.summary()).split("Time")[0]
        assert torch.equal(other.conf_int(method="percentile"), res.conf_int(method="percentile"))
        assert other.converged
        with pytest.raises(bh.DataError, match="without their data"):
            other.with_cov("HC0")
    if instruments is Z:
        assert (
            bh.regtable([res], stats=["nobs", "goodness"])
            .to_text()
            .count("J" if weights == "two-step" else "Objective")
        )


def test_summary():
    text = str(bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": Z}).fit().summary())
    for part in ("two-step", "Hansen J:", "Prob (J):", "No. Moments:                         5", "_curved"):
        assert part in text
    assert "none needed" in str(bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": X}).fit().summary())


def test_as_given():
    res = bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": X}).fit()
    given = bh.GMM(_curved, {"beta": res.params}, {"x": X, "y": COUNTS, "z": X}).fit(polish=False)
    same_covariance(given.cov_params(), res.cov_params(), ROUNDING)
    assert not given.converged
    for weights in ("identity", "two-step", torch.eye(5)):
        far = bh.GMM(_curved, {"beta": res.params + 0.1}, {"x": X, "y": COUNTS, "z": Z}, weights=weights).fit(
            polish=False
        )
        assert torch.equal(far.params, res.params + 0.1)
        assert "standard errors from the solution" in str(far.summary())
    with pytest.raises(bh.EstimationError, match="standard errors from the optimum"):
        bh.GMM(_curved, {"beta": res.params + 1.0}, {"x": X, "y": COUNTS, "z": X}).fit("nonrobust", polish=False)


# starts and solvers


def test_far_starts():
    true = bh.Poisson(COUNTS, X).fit()
    for start in (3.0, -3.0, 6.0):
        res = bh.GMM(MODELS["Poisson"][2], {"beta": torch.full((3,), start)}, {"x": X, "y": COUNTS}).fit()
        torch.testing.assert_close(res.params, true.params, rtol=ROUNDING, atol=ROUNDING)


def test_slow_gauss_newton_steps_give_way_to_newton():
    """A large misfit: the Hessian of F'WF is far from G'WG."""
    t = torch.linspace(0, 1, 40).double()

    def moments(a, t):
        return torch.stack([torch.exp(a * t) - 3.0, torch.sin(2.0 * a + t) - 2.0, a**2 - t], 1)

    res = bh.GMM(moments, {"a": 0.5}, {"t": t}, weights="identity").fit()

    def objective(a):
        return moments(a, t).sum(0).square().sum()

    a = res.params[0]
    assert float(torch.func.grad(objective)(a)) == pytest.approx(0.0, abs=1e-9 * float(objective(a)))
    assert float(torch.autograd.functional.hessian(objective, a)) > 0.0
    assert res.diagnostics.iterations < 30


class Once(torch.autograd.Function):
    """A square that torch differentiates once."""

    @staticmethod
    def forward(ctx, x):
        ctx.value = x.detach()
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2.0 * ctx.value * grad


def test_moments_that_are_differentiated_once():
    t = torch.linspace(0, 1, 40).double()
    res = bh.GMM(
        lambda a, t: torch.stack([Once.apply(a) - 1.0 - t, a - 0.8 + 0 * t], 1),
        {"a": 1.0},
        {"t": t},
        weights="identity",
    ).fit()
    roots = np.roots([2.0, 0.0, -2.0 * 1.5 + 1.0, -0.8])
    assert float(res.params[0]) == pytest.approx(max(roots.real), rel=1e-8)


def test_both_ways_of_differentiation():
    many = torch.cat([Z, Z**2, Z**3], 1)
    res = bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": many}, weights="identity").fit()
    assert "parameter" in res.diagnostics.derivatives
    assert "moment" in bh.GMM(_curved, START, {"x": X, "y": COUNTS, "z": X}).fit().diagnostics.derivatives

    def backward_only(beta, x, y, z):
        return z * (y - Exponential.apply(x @ beta))[:, None]

    other = bh.GMM(backward_only, START, {"x": X, "y": COUNTS, "z": many}, weights="identity").fit()
    assert "moment" in other.diagnostics.derivatives
    torch.testing.assert_close(other.params, res.params, rtol=1e-8, atol=1e-8)
    one, two = (r.with_cov(bh.Bootstrap(9, seed=2)).bse for r in (res, other))
    torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-9)


class Exponential(torch.autograd.Function):
    """exp without a forward derivative, and without a rule for vmap."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.exp())
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad


# what is refused


def _gmm(moments, data=None, params=None, **options):
    return bh.GMM(moments, START if params is None else params, {"x": X, "y": Y} if data is None else data, **options)


REFUSED = {
    "no function": (lambda: _gmm(3), "moments is 3"),
    "too few": (lambda: _gmm(lambda beta, x, y: x[:, :2] * (y - x @ beta)[:, None]), "2 moments cannot determine 3 parameters; add 1 moment, or"),
    "averages": (lambda: _gmm(lambda beta, x, y: (x * (y - x @ beta)[:, None]).mean(0)), "averaged or summed"),
    "sums by a product": (lambda: _gmm(lambda beta, x, y: x.mT @ (y - x @ beta)), "averaged or summed"),
    "averages, of rows too": (
        lambda: _gmm(lambda a, y: (y - a).mean(), {"y": Y}, {"a": 0.0}),
        "averaged or summed",
    ),
    "crossed": (lambda: _gmm(lambda a, y: y[:, None] - y - a, {"y": Y}, {"a": 0.0}), "meets"),
    "divided by n": (lambda: _gmm(lambda beta, x, y: x * (y - x @ beta)[:, None] / len(y)), "depend on other rows"),
    "centred": (lambda: _gmm(lambda beta, x, y: x * (y - y.mean() - x @ beta)[:, None]), "depend on other rows"),
    "of a group": (
        lambda: _gmm(lambda beta, x, y: x * (y - x @ beta - (0.0 if len(y) < 50 else y[33]))[:, None]),
        "depend on other rows",
    ),
    "a fixed number of rows": (
        lambda: _gmm(lambda beta, x, y: x * (y - x @ beta)[:, None] + (0.0 if len(y) < 50 else X[:5])),
        "moments fails for all 60 rows",
    ),
    "three dimensions": (lambda: _gmm(lambda beta, x, y: (x * (y - x @ beta)[:, None])[:, :, None]), "shape"),
    "a list": (lambda: _gmm(lambda beta, x, y: [y - x @ beta]), "returned a list"),
    "whole numbers": (lambda: _gmm(lambda beta, x, y: (x * (y - x @ beta)[:, None]).long()), "torch.int64"),
    "sparse": (lambda: _gmm(lambda beta, x, y: (x * (y - x @ beta)[:, None]).to_sparse()), "sparse"),
    "random": (lambda: _gmm(lambda beta, x, y: x * (y - x @ beta)[:, None] + torch.randn(1)), "moments is random"),
    "changes parameters": (lambda: _gmm(lambda beta, x, y: x * (y - x @ beta.mul_(2.0))[:, None]), "changes the parameters"),
    "raises": (lambda: _gmm(lambda beta, x, y: x @ y), "moments fails"),
    "unknown arguments": (lambda: _gmm(lambda beta, x, w: x), "moments takes 'w'"),
    "an unknown one of two": (lambda: _gmm(lambda beta, q: q), "moments takes 'q', found neither"),
    "an unknown one of two, computed with": (lambda: _gmm(lambda beta, q: q[:, None] - beta), "moments takes 'q', found neither"),
    "a dict of two": (lambda: _gmm(lambda p, d: d), "moments returned a dict"),
    "detached": (lambda: _gmm(lambda beta, x, y: x * (y - x @ beta.detach())[:, None]), "do not depend on 'beta"),
    "one that is not used": (
        lambda: _gmm(lambda a, b, y: torch.stack([y - a, y**2 - a], 1), {"y": Y}, {"a": 0.0, "b": 1.0}),
        "do not depend on 'b'",
    ),
    "numpy": (lambda: _gmm(lambda a, y: y - float(a.detach().numpy()) ** 2, {"y": Y}, {"a": 1.0}), "do not depend on 'a'"),
    "an unknown weight": (lambda: _gmm(_least_squares, weights="optimal"), "weights is 'optimal'"),
    "no weight": (lambda: _gmm(_least_squares, weights=None), "weights is None"),
    "weights of rows": (lambda: _gmm(_least_squares, weights=np.ones(N)), "Weights of rows are factors"),
    "an asymmetric weight": (lambda: _gmm(_least_squares, weights=np.triu(np.ones((3, 3)))), "not symmetric"),
    "an indefinite weight": (lambda: _gmm(_least_squares, weights=np.diag([1.0, -1.0, 1.0])), "not positive definite"),
    "NaN in the weight": (lambda: _gmm(_least_squares, weights=np.diag([1.0, np.nan, 1.0])), "missing or infinite"),
    "names": (lambda: _gmm(_least_squares, names=["a"]), "names has 1 name"),
    "center": (lambda: _gmm(_least_squares, center="yes"), "center is 'yes'"),
    "missing data": (lambda: _gmm(_least_squares, {"x": X, "y": Y.clone().index_fill_(0, torch.tensor([2]), torch.nan)}), "missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_work(name):
    call, words = REFUSED[name]
    with pytest.raises(bh.BetahatError, match=words):
        call()


UNSOLVED = {
    "not finite": (lambda: _gmm(lambda a, y: torch.log(a) - y, {"y": Y}, {"a": -1.0}).fit(), "not finite at the starting parameters"),
    "not finite, as given": (
        lambda: _gmm(lambda a, y: torch.log(a) - y, {"y": Y}, {"a": -1.0}).fit(polish=False),
        "not finite at these parameters",
    ),
    "no derivative": (
        lambda: _gmm(lambda a, y: torch.sqrt(a.abs()) - y, {"y": Y}, {"a": 0.0}).fit(),
        "derivatives of the moments are not finite",
    ),
    "no solution": (lambda: _gmm(lambda a, y: a**2 + 1.0 + 0 * y, {"y": Y}, {"a": 1.0}).fit(), "standard errors from zero"),
    "no minimum": (
        lambda: _gmm(lambda a, y: torch.stack([torch.atan(a) - 2.0 + 0.01 * y, torch.atan(a) - 2.0 + 0 * y], 1), {"y": Y}, {"a": 1.0}, weights="identity").fit(),
        "do not depend on 'a' at the solution|standard errors from a minimum",
    ),
    "collinear": (
        lambda: _gmm(lambda a, b, y: torch.stack([y - a - b, y**2 - a - b], 1), {"y": Y}, {"a": 0.0, "b": 1.0}).fit(),
        "zero, and their Jacobian is singular along 'a', 'b'",
    ),
    "collinear, with a solution": (
        lambda: _gmm(lambda a, b, y: torch.stack([y - a - b, y - a - b], 1), {"y": Y}, {"a": 0.0, "b": 1.0}).fit(),
        "do not identify 'a', 'b' separately",
    ),
    "repeated moments": (
        lambda: _gmm(lambda a, y: torch.stack([y - a, y - a], 1), {"y": Y}, {"a": 0.0}).fit(),
        "covariance of the 2 moments is singular",
    ),
    "a moment without spread": (
        lambda: _gmm(lambda a, y: torch.stack([y - a, 0.0 * a * y], 1), {"y": Y}, {"a": 0.0}).fit(),
        "covariance of the 2 moments is singular",
    ),
    "partly detached": (
        lambda: _gmm(lambda a, b, y: torch.stack([y - a, (y - a.detach()) ** 2 - b], 1) + 0 * a, {"y": Y}, {"a": 1.0, "b": 1.0}).fit(),
        "not the derivative of their values in 'a'",
    ),
    "nonrobust": (lambda: _gmm(_instrumented, {"x": X, "y": Y, "z": Z}, weights="identity").fit("nonrobust"), "Moments are no likelihood"),
    "llf": (lambda: _gmm(_least_squares).fit().llf, "Moments are no likelihood"),
    "J of as many": (lambda: _gmm(_least_squares).fit().j_test(), "as many moments as parameters"),
    "cases": (lambda: _gmm(_least_squares).fit().cases, "no fitted values"),
    "response": (lambda: _gmm(_least_squares).fit().response, "no mean of a dependent variable"),
    "HC3": (lambda: _gmm(_least_squares).fit("HC3"), "estimating equations have none"),
    "CR2": (lambda: _gmm(_least_squares).fit(bh.Cluster(FIRM, "CR2")), "estimating equations have none"),
    "one step": (lambda: _gmm(_least_squares).fit(bh.Jackknife()), "estimating equations have none"),
    "studentized": (
        lambda: _gmm(_instrumented, {"x": X, "y": Y, "z": Z}).fit(bh.Bootstrap(9, seed=1)).conf_int(method="studentized"),
        "weight of their own",
    ),
    "unknown bread": (lambda: _gmm(_least_squares).fit(polish="yes"), "polish is 'yes'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOLVED)
def test_refused_in_a_sentence(name):
    call, words = UNSOLVED[name]
    with pytest.raises(bh.BetahatError, match=words):
        call()


def test_weights_that_do_not_settle(monkeypatch):
    monkeypatch.setattr(of_fits, "_WEIGHTS", 1)
    with pytest.raises(bh.EstimationError, match="The weights do not settle: after 1 of them"):
        _gmm(_curved, {"x": X, "y": COUNTS, "z": Z}, weights="iterated").fit()


def test_data_of_a_loader():
    rows = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    res = bh.GMM(_least_squares, START, torch.utils.data.DataLoader(rows, batch_size=16)).fit()
    torch.testing.assert_close(res.params, bh.OLS(Y, X).fit().params, rtol=ROUNDING, atol=ROUNDING)


def test_data_that_changed_afterwards():
    y = Y.clone()
    res = _gmm(_least_squares, {"x": X, "y": y}).fit()
    before = res.with_cov("HC1").bse
    y += 1.0
    with pytest.raises(bh.DataError) if _is_sealed(res) else contextlib.nullcontext():
        assert torch.equal(res.with_cov("HC1").bse, before)


def _is_sealed(res):
    """Whether the data are the user's own memory, since they are large."""
    return bool(res.fit.sample.user_data.seals)


def test_a_row_has_no_loss():
    fit = _gmm(_least_squares).fit().fit
    with pytest.raises(bh.EstimationError, match="no loss of a row"):
        next(iter(fit.each(lambda rows: rows.losses)))


def test_what_rows_say():
    fit = _gmm(_least_squares).fit().fit
    scores = fit.map_rows(lambda rows: rows.scores())
    torch.testing.assert_close(scores @ fit.root, fit.map_rows(lambda rows: rows.influence()))
    (slope,) = fit.problem.total(lambda rows: (rows.gradient(),), fit.point)
    assert float(slope.abs().max()) < 1e-10
    steps = _normal(2, 3, seed=9)
    (found,) = fit.problem.total(lambda rows: (rows.resampled_scores(steps, None, None),), fit.point)
    for step, sums in zip(steps, found, strict=True):
        at = Point(fit.params + fit.root @ step, fit.root)
        (expected,) = fit.problem.total(lambda rows: (rows.influence().sum(0),), at)
        torch.testing.assert_close(sums, expected)


def test_replicates_without_an_estimate_are_left_out():
    rare = torch.zeros(N, 1).double()
    rare[:2] = 1.0
    x = torch.cat([X, rare], 1)
    start = {"beta": torch.zeros(4)}
    cov = bh.Bootstrap(60, seed=1)
    with pytest.warns(bh.BootstrapWarning):
        res = bh.GMM(MODELS["OLS"][2], start, {"x": x, "y": Y}).fit(cov)
    with pytest.warns(bh.BootstrapWarning):
        true = bh.OLS(Y, x).fit(cov)
    assert len(res.cov.draws) == len(true.cov.draws)
    same_covariance(res.cov_params(), true.cov_params(), REFITTED)
