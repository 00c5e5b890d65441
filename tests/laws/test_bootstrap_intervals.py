"""Intervals and p-values of the bootstrap by loops over its replicates."""

import numpy as np
import pytest
import torch
from scipy import stats
from support.resampled import FRAME, G, N, X, fit_of, replicate_variances

import betahat as bh
from betahat.resampling.counter import uniforms
from betahat.resampling.weights import (
    Multinomial,
    Multipliers,
)
from betahat.resampling.wild import Statistics

# Statistics of random numbers leave this many standard errors once in 150,000 cases; seeds are fixed.
Z = 4.5

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


@pytest.mark.parametrize("kind", ["subsample", "m-out-of-n"])
def test_studentized_intervals_of_smaller_samples(kind):
    """Half of the rows have the standard error of half of the rows, and differ from all by less."""
    r = np.random.default_rng(1)
    x = np.c_[np.ones(2000), r.normal(size=2000)]
    res = bh.OLS(r.normal(size=2000), x).fit(bh.Bootstrap(400, kind, seed=1, size=1000))
    wide, plain = (np.diff(res.conf_int(method=m))[:, 0] for m in ("studentized", "normal"))
    np.testing.assert_allclose(wide, plain, rtol=0.15)


def test_normal_intervals_are_those_of_the_summary():
    groups = FRAME.g.to_numpy().copy()
    for use_t in (None, True):
        res = fit_of("OLS").with_cov(bh.Bootstrap(99, "score", seed=1, clusters=groups), use_t=use_t)
        np.testing.assert_allclose(res.conf_int(method="normal"), res.conf_int(), rtol=1e-12)
    every = fit_of("OLS").with_cov(bh.Bootstrap(999, "wild", clusters=groups))
    same = every.delta(lambda p: p.vector)
    np.testing.assert_allclose(same.bse, every.bse, rtol=1e-12)
    np.testing.assert_allclose(same.conf_int(method="normal"), every.conf_int(method="normal"), rtol=1e-12)


@pytest.mark.parametrize("kind", ["subsample", "m-out-of-n", "stationary"])
def test_bca_is_refused_where_units_are_not_drawn_alike(kind):
    with pytest.raises(bh.EstimationError, match="'pairs', 'bayesian' and 'poisson'"):
        fit_of("OLS").with_cov(bh.Bootstrap(99, kind, seed=1)).conf_int(method="bca")


def test_intervals_beyond_the_last_replicate_warn():
    res = fit_of("OLS").with_cov(bh.Bootstrap(19, seed=1))
    ratio = res.delta(lambda p: p[1] / p[0])
    for method in ("percentile", "basic", "studentized", "bca"):
        for of in (res, ratio):
            with pytest.warns(bh.BootstrapWarning, match="19 replicates") as caught:
                of.conf_int(method=method)
            assert caught[0].filename == __file__
    res.conf_int(alpha=0.2, method="percentile")


def test_intervals_of_wild_clusters_are_the_hull_of_what_is_not_rejected():
    """With one treated cluster of eight p-values rise again, away from the estimate."""
    r = np.random.default_rng([2, 1732])
    g = np.repeat(np.arange(8), np.linspace(5, 25, 8).round().astype(int))
    a, z, c = r.normal(size=(3, 8))[:, g]
    e, v = r.normal(size=(2, len(g)))
    x = np.c_[np.ones(len(g)), a + e, z]
    res = bh.OLS(1 + a + e + z + c + v, x).fit(bh.Bootstrap(399, "wild", clusters=g, variant="33"))
    low, high = res.conf_int()[2]
    values = np.linspace(low - 40, high + 40, 2001)
    row = np.array([0.0, 0.0, 1.0])
    pvalues = np.array([float(res.t_test((row, value)).pvalue) for value in values])
    held = values[pvalues > 0.05]
    assert (np.diff(held) > 0.05).any()
    assert low - 0.05 <= held.min()
    assert held.max() <= high + 0.05
    assert held.min() - low < 0.05
    assert high - held.max() < 0.05


# intervals and tests


def test_percentile_and_basic_are_reflections():
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, seed=1))
    percentile, basic = res.conf_int(method="percentile"), res.conf_int(method="basic")
    np.testing.assert_allclose(basic, 2 * np.asarray(res.params)[:, None] - percentile[:, ::-1], rtol=1e-12)
    np.testing.assert_allclose(res.conf_int(method="normal"), res.conf_int(), rtol=1e-12)


def test_methods_may_be_spelled_as_in_the_literature():
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, seed=1))
    np.testing.assert_array_equal(res.conf_int(0.1, "BCa"), res.conf_int(0.1, "bca"))
    np.testing.assert_array_equal(res.conf_int(0.1, "studentised"), res.conf_int(0.1, "studentized"))


def test_quantiles_are_order_statistics():
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, seed=1))
    ordered = np.sort(np.asarray(res.cov.draws), axis=0)
    np.testing.assert_allclose(res.conf_int(method="percentile"), np.c_[ordered[24], ordered[974]], rtol=1e-13)


@pytest.mark.parametrize("kind", ["pairs", "wild", "residual", "parametric"])
@pytest.mark.parametrize("name", ["OLS", "WLS"])
def test_studentized_intervals_by_a_loop(name, kind):
    res = fit_of(name).with_cov(bh.Bootstrap(199, kind, seed=1))
    w = FRAME.w.to_numpy() if name == "WLS" else np.ones(N)
    estimate, y = np.asarray(res.params), FRAME.y.to_numpy()

    def error(b, y, counts):
        u = y - X @ b
        bread = np.linalg.inv(X.T @ ((w * counts)[:, None] * X))
        if kind in ("residual", "parametric"):
            return np.sqrt((w * u**2).sum() / (N - 3) * np.diag(bread))
        half = X * (w * u * np.sqrt(counts))[:, None]
        return np.sqrt(np.diag(bread @ half.T @ half @ bread))

    t = []
    ones = np.ones(N)
    for i, draw in enumerate(res.cov.draws.numpy()):
        one = torch.tensor([i])
        counts, drawn = ones, y
        fitted = X @ estimate
        if kind == "pairs":
            counts = Multinomial(N, N)(1, one)[0].to(torch.float64).numpy()
        elif kind == "wild":
            drawn = fitted + (y - fitted) * Multipliers(N, "rademacher")(1, one)[0].numpy()
        elif kind == "residual":
            e = np.sqrt(w) * (y - fitted)
            drawn = fitted + (e - e.mean())[Multinomial(N, N).indices(1, one)[0].numpy()] / np.sqrt(w)
        else:
            drawn = fitted + stats.norm.ppf(uniforms(1, 0, one, N)[0].numpy()) * np.sqrt(res.scale / w)
        t.append((draw - estimate) / error(draw, drawn, counts))
    t = np.sort(t, axis=0)
    own = error(estimate, y, ones)
    true = np.c_[estimate - own * t[194], estimate - own * t[4]]  # ranks 195 and 5 of 199, a twentieth outside
    np.testing.assert_allclose(res.conf_int(method="studentized"), true, rtol=1e-9)


@pytest.mark.parametrize("name", ["OLS", "Logit", "MNLogit", "linear module"])
def test_studentized_errors_of_clusters_are_cr0_of_the_drawn_clusters(name):
    groups = FRAME.g.to_numpy().copy()
    res = fit_of(name)
    own, each = replicate_variances(res.with_cov(bh.Bootstrap(5, seed=2, clusters=groups)))
    np.testing.assert_allclose(own, res.with_cov(bh.Cluster(groups, "CR0")).cov.matrix.diagonal(), rtol=1e-9)
    weights = Multinomial(G, G)(2, torch.arange(5))
    if name != "OLS":
        return
    for row, variance in zip(weights, each, strict=True):
        parts = [(np.flatnonzero(groups == g), copy) for g in range(G) for copy in range(int(row[g]))]
        rows = np.concatenate([part for part, _ in parts])
        labels = np.concatenate([np.full(len(part), i) for i, (part, _) in enumerate(parts)])
        naive = bh.OLS(FRAME.y.to_numpy()[rows], X[rows]).fit(bh.Cluster(labels, "CR0"))
        np.testing.assert_allclose(variance, naive.bse**2, rtol=1e-9)


def test_bca_accelerations_by_the_units():
    groups = FRAME.g.to_numpy().copy()
    for clusters in (None, groups):
        res = fit_of("Poisson").with_cov(bh.Bootstrap(499, seed=1, clusters=clusters))
        lines = res.fit.map_rows(lambda rows: rows.scores()) @ res.fit.bread
        if clusters is not None:
            lines = torch.stack([lines[groups == g].sum(0) for g in range(G)])
        found = res.cov.resampling.acceleration(torch.eye(3, dtype=torch.float64))
        np.testing.assert_allclose(found, (lines**3).sum(0) / (6 * (lines**2).sum(0) ** 1.5), rtol=1e-10)
        assert np.isfinite(res.conf_int(method="bca")).all()


def test_a_band_covers_all_coefficients_at_once():
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, seed=1))
    low, high = res.conf_int(method="sup-t").T
    draws = np.asarray(res.cov.draws)
    inside = ((draws >= low) & (draws <= high)).all(1).mean()
    assert 0.95 <= inside <= 0.953
    assert (res.conf_int(method="normal")[:, 1] < high).all()


def test_functions_of_the_parameters():
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, seed=1))
    ratio = res.delta(lambda p: p[1] / p[0])
    draws = np.asarray(res.cov.draws)
    values = draws[:, 1] / draws[:, 0]
    np.testing.assert_allclose(np.asarray(ratio.draws)[:, 0], values, rtol=1e-13)
    assert ratio.bse == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert ratio.conf_int(method="percentile") == pytest.approx(np.sort(values)[[24, 974]], rel=1e-12)
    same = res.delta(lambda p: p.vector)
    for method in ("percentile", "basic", "studentized", "bca", "sup-t", "normal"):
        np.testing.assert_allclose(same.conf_int(method=method), res.conf_int(method=method), rtol=1e-9)
    np.testing.assert_allclose(same.bootstrap_pvalue(), res.bootstrap_pvalues(), rtol=1e-13)
    doubled = res.delta(lambda p: 2.0 * p[1])
    np.testing.assert_allclose(
        doubled.conf_int(method="studentized"), 2 * res.conf_int(method="studentized")[1], rtol=1e-9
    )


def test_pvalues_count_replicates():
    res = fit_of("OLS").with_cov(bh.Bootstrap(499, seed=1))
    moved, estimate = np.asarray(res.cov.draws) - np.asarray(res.params), np.asarray(res.params)
    true = ((np.abs(moved) >= np.abs(estimate)).sum(0) + 1) / 500
    np.testing.assert_allclose(res.bootstrap_pvalues(), true)
    tails = np.minimum((moved >= estimate).sum(0) + 1, (moved <= estimate).sum(0) + 1) / 250
    np.testing.assert_allclose(res.bootstrap_pvalues(tail="equal"), np.minimum(tails, 1))
    assert 0.001 < res.bootstrap_pvalues()[2] < 1


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("variant", ["11", "13", "31", "33"])
def test_intervals_of_wild_clusters_end_where_the_test_rejects(variant, null):
    groups = FRAME.g.to_numpy().copy()
    res = fit_of("OLS").with_cov(
        bh.Bootstrap(499, "wild", seed=1, clusters=groups, multiplier="webb", variant=variant, null=null)
    )
    for j, (low, high) in enumerate(res.conf_int()):
        row = np.eye(3)[j]
        for inside, outside in ((low + 1e-6, low - 1e-6), (high - 1e-6, high + 1e-6)):
            assert res.t_test((row, inside)).pvalue > 0.05 >= res.t_test((row, outside)).pvalue
    np.testing.assert_allclose(res.t_test(np.eye(3)).pvalue, res.pvalues)
    np.testing.assert_allclose(res.t_test(np.eye(3)).conf_int(), res.conf_int())
    table = res.tidy()
    np.testing.assert_allclose(table["p.value"], res.pvalues)
    np.testing.assert_allclose(table[["conf.low", "conf.high"]], res.conf_int())
    frame = res.t_test(np.eye(3)).summary_frame()
    np.testing.assert_allclose(frame["P>|z|"], res.pvalues)
    np.testing.assert_allclose(frame[["Conf. Int. Low", "Conf. Int. Upp."]], res.conf_int())


def test_wild_clusters_of_weighted_least_squares_are_those_of_whitened_data():
    groups, root = FRAME.g.to_numpy().copy(), np.sqrt(FRAME.w.to_numpy())
    options = {"reps": 2000, "kind": "wild", "clusters": groups, "variant": "33"}
    weighted = fit_of("WLS").with_cov(bh.Bootstrap(**options))
    plain = bh.OLS(FRAME.y.to_numpy() * root, X * root[:, None]).fit(bh.Bootstrap(**options))
    np.testing.assert_allclose(weighted.pvalues, plain.pvalues)
    np.testing.assert_allclose(weighted.conf_int(), plain.conf_int(), rtol=1e-9)


def test_an_interval_may_have_no_end():
    """Where the data that are drawn follow the null value with no error, no null value is rejected."""
    lines = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    statistics = Statistics(lines, torch.zeros(3, 2, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    assert float(statistics.bound(0.05, 1.0)) == np.inf
    assert float(statistics.bound(0.05, -1.0)) == -np.inf


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")  # 199 replicates are few for BCa
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "method"),
    [
        ("pairs", {}, "percentile"),
        ("pairs", {}, "bca"),
        ("bayesian", {}, "normal"),
        ("residual", {}, "basic"),
        ("wild", {"residuals": "HC3"}, "percentile"),
        ("wild", {"clusters": np.arange(100) % 10}, None),
    ],
)
def test_intervals_cover(kind, options, method):
    """A sample of the study in benchmarks/coverage_study.py: 19 of 20 intervals, but for Monte Carlo error and a little."""
    covered = 0
    for sample in range(200):
        r = np.random.default_rng([7, sample])
        x = np.c_[np.ones(100), r.normal(size=100)]
        res = bh.OLS(1 + x[:, 1] + r.normal(size=100), x).fit(bh.Bootstrap(199, kind, seed=sample, **options))
        low, high = res.conf_int(method=method)[1]
        covered += low < 1 < high
    assert 0.93 * 200 - Z * (200 * 0.95 * 0.05) ** 0.5 < covered <= 200
