"""Laws of the partial likelihood: naive loops, repeated rows, derivatives by weights, refits, and what it does not depend on."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from statsmodels.discrete.conditional_models import ConditionalLogit
from support.closeness import close, close_to_largest, same, same_covariance

import betahat as bh
from betahat.data.risk_sets import Intervals

# Sums of some hundred numbers in another order.
ROUNDING = 1e-11
# The truncation error of a central difference with steps of 1e-4.
DIFFERENCE = 1e-6
TIES = ("breslow", "efron")
pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning", "ignore::betahat.BootstrapWarning")


def _data(n=60, seed=3, levels=3):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 2))
    time = np.ceil(4 * draw.exponential(np.exp(-x @ [0.6, -0.4]))) + 1.0
    return {
        "endog": time,
        "exog": x,
        "status": (draw.random(n) < 0.7) * 1,
        "entry": np.floor((draw.random(n) < 0.6) * draw.random(n) * time * 0.9),
        "strata": draw.integers(0, levels, n),
        "offset": 0.3 * draw.normal(size=n),
        "weights": draw.uniform(0.5, 2.0, n),
    }


def _loglike(d, params, efron, weights=None):
    """The log-likelihood by loops over events."""
    n = len(d["endog"])
    w = d.get("weights", np.ones(n)) if weights is None else weights
    eta = d["exog"] @ params + d.get("offset", 0.0)
    risk, entry, strata = w * np.exp(eta), d.get("entry", np.full(n, -1.0)), d.get("strata", np.zeros(n))
    total = 0.0
    for stratum in np.unique(strata):
        for time in np.unique(d["endog"][(strata == stratum) & (d["status"] == 1)]):
            events = (strata == stratum) & (d["endog"] == time) & (d["status"] == 1)
            at_risk = risk[(strata == stratum) & (entry < time) & (d["endog"] >= time)].sum()
            total += (w * eta)[events].sum()
            count = events.sum()
            for place in range(count):
                out = place / count * risk[events].sum() if efron else 0.0
                total -= w[events].mean() * np.log(at_risk - out)
    return total


def _some(d, *left_out):
    return {name: value for name, value in d.items() if name not in left_out}


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("left_out", [(), ("entry",), ("strata", "weights"), ("entry", "strata", "offset", "weights")])
def test_loops(ties, left_out):
    d = _some(_data(), *left_out)
    model = bh.PHReg(**d, ties=ties)
    at, step = np.array([0.4, -0.2]), 1e-4
    close(model.loglike(at), _loglike(d, at, ties == "efron"), ROUNDING)
    for i, shift in enumerate(step * np.eye(2)):
        slope = (_loglike(d, at + shift, ties == "efron") - _loglike(d, at - shift, ties == "efron")) / (2 * step)
        close(model.score(at)[i], slope, DIFFERENCE)
        curvature = (model.score(at + shift) - model.score(at - shift)) / (2 * step)
        close(model.hessian(at)[i], curvature, DIFFERENCE)


@pytest.mark.parametrize("ties", TIES)
def test_scores_are_derivatives_by_weights(ties):
    """The score of a row is its weight times the derivative of the gradient by the weight: that makes HC0 robust."""
    d, at, step = _data(), np.array([0.4, -0.2]), 1e-4
    scores = bh.PHReg(**d, ties=ties).score_obs(at)
    for row in range(0, 60, 7):
        gradients = []
        for sign in (1, -1):
            weights = d["weights"].copy()
            weights[row] *= 1 + sign * step
            gradients.append(bh.PHReg(**{**d, "weights": weights}, ties=ties).score(at))
        close_to_largest(scores[row], (gradients[0] - gradients[1]) / (2 * step), DIFFERENCE)


@pytest.mark.parametrize("ties", TIES)
def test_frequency_weights_are_repeated_rows(ties):
    d = _data()
    counts = np.random.default_rng(1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), counts)
    weighted = bh.PHReg(**d, freq_weights=counts, ties=ties).fit()
    repeated = bh.PHReg(**{name: value[rows] for name, value in d.items()}, ties=ties).fit()
    for cov_type in ("nonrobust", "HC0", "HC1"):
        same_covariance(weighted.with_cov(cov_type).cov_params(), repeated.with_cov(cov_type).cov_params(), ROUNDING)
    for name in ("params", "llf", "llnull", "nobs", "n_events", "concordance", "bic"):
        close(getattr(weighted, name), getattr(repeated, name), ROUNDING)
    close_to_largest(weighted.martingale_residuals[rows], repeated.martingale_residuals, ROUNDING)
    np.testing.assert_allclose(weighted.schoenfeld_residuals[rows], repeated.schoenfeld_residuals, ROUNDING, ROUNDING)
    assert str(weighted.summary()) == str(repeated.summary())
    for transform in ("km", "rank"):
        close(weighted.test_proportionality(transform), repeated.test_proportionality(transform), ROUNDING)


def test_equal_weights_change_errors_of_the_information_alone():
    d = _some(_data(), "weights")
    plain, double = bh.PHReg(**d, ties="efron").fit(), bh.PHReg(**d, weights=np.full(60, 2.0), ties="efron").fit()
    close(double.params, plain.params, ROUNDING)
    same_covariance(2.0 * double.cov_params(), plain.cov_params(), ROUNDING)
    same_covariance(double.with_cov("HC0").cov_params(), plain.with_cov("HC0").cov_params(), ROUNDING)
    close_to_largest(double.score_residuals, plain.score_residuals, ROUNDING)


def test_rows_of_weight_zero_are_left_out():
    d = _data()
    d["weights"][:10] = 0.0
    for ties in TIES:
        all_of_them = bh.PHReg(**d, ties=ties).fit("HC0")
        others = bh.PHReg(**{name: value[10:] for name, value in d.items()}, ties=ties).fit("HC0")
        close(all_of_them.params, others.params, ROUNDING)
        same_covariance(all_of_them.cov_params(), others.cov_params(), ROUNDING)
        assert np.isnan(all_of_them.martingale_residuals[:10]).all()


@pytest.mark.parametrize("ties", TIES)
def test_the_order_of_rows_does_not_matter(ties):
    d = _data()
    mixed = np.random.default_rng(0).permutation(60)
    one, other = (
        bh.PHReg(**d, ties=ties).fit("HC0"),
        bh.PHReg(**{k: v[mixed] for k, v in d.items()}, ties=ties).fit("HC0"),
    )
    close(other.params, one.params, ROUNDING)
    same_covariance(other.cov_params(), one.cov_params(), ROUNDING)
    close_to_largest(other.score_residuals, one.score_residuals[mixed], ROUNDING)


@pytest.mark.parametrize("ties", TIES)
def test_only_the_order_of_times_matters(ties):
    d = _data()
    moved = {**d, "endog": np.exp(d["endog"] / 5), "entry": np.exp(d["entry"] / 5)}
    close(bh.PHReg(**moved, ties=ties).fit().params, bh.PHReg(**d, ties=ties).fit().params, ROUNDING)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_times_that_differ_by_rounding_are_the_same(ties, unit):
    """In any unit, as R has it with timefix=TRUE in its usual one."""
    draw, n = np.random.default_rng(0), 200
    x, whole = draw.normal(size=n), np.arange(n) // 20
    rounded = bh.PHReg((np.where(np.arange(n) % 2, 0.1 + 0.2, 0.3) + whole) * unit, x, ties=ties).fit()
    exact = bh.PHReg(whole, x, ties=ties).fit()
    close(rounded.params, exact.params, 1e-12)
    assert len(rounded.baseline_cumulative_hazard[0][0]) == 10
    near = bh.PHReg((whole + 1.0 + 1e-6 * (np.arange(n) % 2)) * unit, x, ties=ties).fit()
    assert len(near.baseline_cumulative_hazard[0][0]) == 20


def test_digits_survive_large_means_and_many_strata():
    """Columns far from zero, their level and the scale of the hazard each stratum's own."""
    d = _data(400, levels=100)
    level = 1e5 * d["strata"]
    shifted = {**d, "exog": d["exog"] + level[:, None] / 3 + 1e6, "offset": d["offset"] + 0.2 * (d["strata"] - 50)}
    for ties in TIES:
        one, other = bh.PHReg(**d, ties=ties).fit("HC0"), bh.PHReg(**shifted, ties=ties).fit("HC0")
        close(other.params, one.params, 1e-8)  # seven digits of the regressors are spent on their means
        same_covariance(other.cov_params(), one.cov_params(), 1e-8)


def test_one_event_in_each_stratum_is_conditional_logit():
    draw = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 4)
    x = draw.normal(size=(160, 2))
    case = np.zeros(160)
    case[np.arange(0, 160, 4) + draw.integers(0, 4, 40)] = 1
    theirs = ConditionalLogit(case, x, groups=groups).fit(method="newton", disp=False, tol=1e-14, maxiter=100)
    res = bh.PHReg(2.0 - case, x, case, strata=groups).fit()
    close(res.params, theirs.params, 1e-9)
    close(res.llf, theirs.llf, ROUNDING)
    close(res.bse, theirs.bse, 1e-6)  # statsmodels differentiates numerically


def _refitted(d, rows, ties):
    return bh.PHReg(**{name: value[rows] for name, value in d.items()}, ties=ties).fit().params


@pytest.mark.parametrize("ties", TIES)
def test_the_jackknife_refits_without_rows_and_clusters(ties):
    d = _data(24, levels=2)
    res = bh.PHReg(**d, ties=ties).fit()
    every = np.arange(24)
    ids = every % 6
    for clusters, groups in [(None, every), (ids, ids)]:
        found = np.array([_refitted(d, every[groups != g], ties) for g in np.unique(groups)])
        about, count = found - found.mean(0), len(found)
        jackknife = res.with_cov(bh.Jackknife(clusters, refit=True))
        same_covariance(jackknife.cov_params(), (count - 1) / count * about.T @ about, 1e-9)


@pytest.mark.parametrize(
    ("ties", "kind"), [("breslow", "bayesian"), *((ties, kind) for ties in TIES for kind in ("pairs", "poisson"))]
)
def test_bootstraps_refit_with_the_weights_that_they_draw(ties, kind):
    """Counts are repeated rows, and fractions weights."""
    d = _some(_data(), "strata", "weights")
    res = bh.PHReg(**d, ties=ties).fit(bh.Bootstrap(6, kind, seed=4))
    drawn = res.cov.resampling
    weights = drawn.resampler.weights(4, torch.arange(6), 60).double().numpy()
    estimates = res.params + (drawn.found.steps @ res.fit.root.mT).numpy()
    for often, estimate in zip(weights, estimates, strict=True):
        if kind == "bayesian":
            close(estimate, bh.PHReg(**d, weights=often, ties=ties).fit().params, 1e-9)
        else:
            close(estimate, _refitted(d, np.repeat(np.arange(60), often.astype(int)), ties), 1e-9)


def test_bootstraps_draw_about_the_robust_errors():
    """Three hundred draws have a Monte Carlo error of about 4%."""
    d = _data(300, seed=8)
    res = bh.PHReg(**d).fit("HC0")
    for kind in ("bayesian", "score"):
        ratio = res.with_cov(bh.Bootstrap(300, kind, seed=2)).bse / res.bse
        assert (np.abs(ratio - 1.0) < 0.15).all(), (kind, ratio)


def test_other_covariances_take_the_same_scores():
    d = _data()
    res = bh.PHReg(**d).fit()
    scores, bread = res.model.score_obs(res.params), res.normalized_cov_params
    turned = np.argsort(np.random.default_rng(2).random(60))
    lagged = scores[np.argsort(turned)]
    meat = lagged.T @ lagged + 0.5 * (lagged[1:].T @ lagged[:-1] + lagged[:-1].T @ lagged[1:])
    same_covariance(res.with_cov(bh.HAC(1, time=turned)).cov_params(), bread @ meat @ bread, ROUNDING)
    opg = res.with_cov("OPG").cov_params()
    same_covariance(opg, np.linalg.inv(scores.T @ scores), ROUNDING)
    same_covariance(bh.PHReg(**d).fit(bread="opg").cov_params(), opg, ROUNDING)


@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_collinear_within_strata():
    """A column may be the sum of another and of the strata's own levels."""
    d = _data()
    more = {**d, "exog": np.column_stack([d["exog"], d["exog"][:, 0] * 2 + d["strata"]])}
    plain, dropped, least = (
        bh.PHReg(**d).fit("HC0"),
        bh.PHReg(**more).fit("HC0", rank="drop"),
        bh.PHReg(**more).fit("HC0"),
    )
    close(dropped.params[:2], plain.params, ROUNDING)
    assert np.isnan(dropped.params[2])
    close(dropped.bse[:2], plain.bse, ROUNDING)
    close(least.params[1], plain.params[1], ROUNDING)
    close(least.llf, plain.llf, ROUNDING)


def test_files():
    d = _data()
    frame = pd.DataFrame({**_some(d, "exog"), "a": d["exog"][:, 0], "b": d["exog"][:, 1]})
    given = {name: name for name in ("status", "entry", "strata", "offset", "weights")}
    res = bh.phreg("endog ~ a + b", frame, **given, ties="efron").fit(bh.Cluster(d["strata"], "CR0"))
    for bare in (False, True):
        file = io.BytesIO()
        res.save(file, remove_data=bare)
        file.seek(0)
        again = bh.load(file)
        same(again.params, res.params)
        same(again.bse, res.bse)
        assert str(again.summary()) == str(res.summary())
        close(again.concordance, res.concordance, ROUNDING)
        new = frame.iloc[:3]
        same(again.predict(exog=new).predicted_values, res.predict(exog=new).predicted_values)
        if not bare:
            same(again.with_cov("HC0").bse, res.with_cov("HC0").bse)
            same(again.martingale_residuals, res.martingale_residuals)


def test_rows_in_blocks():
    """More rows than a block holds are still one risk set."""
    draw = np.random.default_rng(0)
    n = 60_000
    x = draw.normal(size=(n, 5))
    time = draw.exponential(np.exp(-x @ [0.1, 0.2, 0.3, -0.2, 0.0]))
    res = bh.PHReg(time, x, (draw.random(n) < 0.5) * 1).fit("HC0")
    assert res.diagnostics.blocks == 1
    close(res.bse, res.with_cov("nonrobust").bse, 0.05)
    assert (np.abs(res.params - [0.1, 0.2, 0.3, -0.2, 0.0]) < 5 * res.bse).all()
    grouped = res.with_cov(bh.Cluster(np.arange(n) // 2, "CR0"))
    close(grouped.bse, res.bse, 0.05)
    assert abs(res.martingale_residuals.sum()) < 1e-7


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_sums_over_intervals(count):
    """The same as loops, and the same numbers whatever is beside them: nothing is taken off again."""
    draw = np.random.default_rng(count)
    first = draw.integers(0, count + 1, 40)
    last = np.minimum(first + draw.integers(0, count + 1, 40), count)
    rows, places = draw.normal(size=(40, 2)), draw.normal(size=(count, 2))
    there = (first[:, None] <= np.arange(count)) & (np.arange(count) < last[:, None])
    intervals = Intervals(torch.tensor(first), torch.tensor(last), count)
    np.testing.assert_allclose(intervals.over_places(torch.tensor(rows)), there.T @ rows, ROUNDING, ROUNDING)
    np.testing.assert_allclose(intervals.over_rows(torch.tensor(places)), there @ places, ROUNDING, ROUNDING)
    huge = torch.tensor(np.where(there[:, :1], 1e30, rows))
    found = intervals.over_places(huge)[-1].numpy()
    apart = there[:, -1] & ~there[:, 0]
    if not (there[:, -1] & there[:, 0]).any():
        np.testing.assert_allclose(found, rows[apart].sum(0), ROUNDING, ROUNDING)


@pytest.mark.parametrize("ties", TIES)
def test_digits_survive_rows_that_come_and_go(ties):
    """Hazards that differ by e^60, of rows few of which are at risk together: a difference of running sums has no digit left."""
    draw = np.random.default_rng(1)
    n = 400
    x, offset = draw.normal(size=(n, 2)), 10.0 * draw.normal(size=n)
    entry = np.sort(draw.uniform(0, 10, n))
    time, status = entry + 0.3 * draw.exponential(size=n), (draw.random(n) < 0.8) * 1
    res = bh.PHReg(time, x, status, entry=entry, offset=offset, ties=ties).fit()
    index = x @ res.params + offset
    slope = np.zeros(2)
    for i in np.flatnonzero(status):
        there = (entry < time[i]) & (time >= time[i])
        risk = np.exp(index[there] - index[there].max())
        slope += x[i] - risk @ x[there] / risk.sum()
    assert slope @ res.cov_params() @ slope < 1e-20
    assert abs(res.martingale_residuals.sum()) < 1e-8
