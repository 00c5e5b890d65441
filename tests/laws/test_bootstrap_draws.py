"""The same draws whatever the batches, seeds, units, weights and order of rows."""

import numpy as np
import pytest
import torch
from support.closeness import close_to_one
from support.resampled import FRAME, N, X, fit_of, numpy_ols, refitted, replicate_variances

import betahat as bh
from betahat.resampling import moments, refits, resamplers
from betahat.resampling.weights import (
    Exponential,
    Multinomial,
)

# The issue's own: replicates agree with refits to ten digits.
DIGITS = 1e-10

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _draws(res, kind, **options):
    return res.with_cov(bh.Bootstrap(40, kind, seed=11, **options)).cov.draws


@pytest.mark.parametrize(
    "kind", ["pairs", "bayesian", "poisson", "wild", "score", "residual", "parametric", "stationary", "subsample"]
)
@pytest.mark.parametrize("name", ["OLS", "Logit", "linear module"])
def test_draws_do_not_depend_on_blocks_and_batches(name, kind, monkeypatch):
    res = fit_of(name)
    if (name == "Logit" and kind == "wild") or (name == "linear module" and kind in ("wild", "residual", "parametric")):
        pytest.skip("not defined")
    whole = _draws(res, kind)
    monkeypatch.setattr(refits, "BYTES", 3 * N)
    monkeypatch.setattr(refits, "FEW_BYTES", 3 * N)
    monkeypatch.setattr(refits.in_batches, "__defaults__", (3 * N * 8,))
    monkeypatch.setattr(moments, "_TABLE", 1)
    monkeypatch.setattr(resamplers, "_TABLE", 1)
    monkeypatch.setattr(moments, "_PIECE", 50)
    monkeypatch.setattr(refits, "_PIECE", 50)
    np.testing.assert_allclose(_draws(res, kind), whole, rtol=1e-12, atol=1e-12)


def test_single_precision_data_draw_the_same_rows():
    y, x = FRAME.y.to_numpy(), X
    double = bh.OLS(y.astype(np.float32).astype(float), x.astype(np.float32).astype(float)).fit()
    single = bh.OLS(y.astype(np.float32), x.astype(np.float32)).fit()
    np.testing.assert_allclose(_draws(single, "pairs"), _draws(double, "pairs"), rtol=1e-12)


def test_a_seed_is_reproduced_and_reported():
    res = fit_of("OLS")
    one, other = res.with_cov(bh.Bootstrap(30)), res.with_cov(bh.Bootstrap(30))
    assert not torch.equal(one.cov.draws, other.cov.draws)
    assert f"seed {one.cov.resampling.seed}" in str(one.summary())
    assert torch.equal(res.with_cov(bh.Bootstrap(30, seed=one.cov.resampling.seed)).cov.draws, one.cov.draws)
    state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    res.with_cov(bh.Bootstrap(30))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_first_replicates_are_those_of_a_longer_run():
    res = fit_of("Logit")
    assert torch.allclose(
        res.with_cov(bh.Bootstrap(50, seed=2)).cov.draws[:20],
        res.with_cov(bh.Bootstrap(20, seed=2)).cov.draws,
        rtol=1e-12,
    )


def test_frequency_weights_are_repeated_rows():
    often = np.random.default_rng(1).integers(0, 4, N)
    repeated = np.repeat(np.arange(N), often)
    y = FRAME.b.to_numpy()
    short = bh.Logit(y, X, freq_weights=often).fit()
    long = bh.Logit(y[repeated], X[repeated]).fit()
    for kind in ("pairs", "bayesian", "poisson", "score"):
        np.testing.assert_allclose(_draws(short, kind), _draws(long, kind), rtol=1e-9, atol=1e-10)
    groups = FRAME.g.to_numpy().copy()
    for kind in ("pairs", "score"):
        found, true = _draws(short, kind, clusters=groups), _draws(long, kind, clusters=groups[repeated])
        np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-10)


def test_frequencies_beyond_small_integers():
    often = np.r_[np.full(N - 1, 1), 100_000]
    res = bh.Logit(FRAME.b.to_numpy(), X, freq_weights=often).fit(bh.Bootstrap(5, seed=1))
    units = np.repeat(np.arange(N), often)
    weights = Multinomial(len(units), len(units))(1, torch.arange(5)).to(torch.float64)
    for draw, row in zip(res.cov.draws, weights, strict=True):
        close_to_one(draw, refitted(res, torch.bincount(torch.tensor(units), row, minlength=N)), DIGITS, "Logit")


def test_times_may_stand_in_any_order():
    order = np.random.default_rng(2).permutation(N)
    frame = FRAME.assign(t=np.arange(N))
    sorted_ = bh.ols("y ~ x1 + x2", frame).fit()
    mixed = bh.ols("y ~ x1 + x2", frame.iloc[order]).fit()
    for kind in ("moving-block", "circular-block", "stationary"):
        plain = _draws(sorted_, kind)
        np.testing.assert_allclose(_draws(mixed, kind, time="t"), plain, rtol=1e-9)
        np.testing.assert_allclose(_draws(sorted_, kind, time="t"), plain, rtol=1e-12)
        assert not np.allclose(_draws(mixed, kind), plain)


# what a fresh review found


@pytest.mark.parametrize("clustered", [False, True])
def test_more_columns_than_a_table_has(clustered):
    r = np.random.default_rng(0)
    x = np.c_[np.ones(400), r.normal(size=(400, 69))]
    y = x @ r.normal(size=70) * 0.1 + r.normal(size=400)
    groups = np.repeat(np.arange(200), 2)
    res = bh.OLS(y, x).fit(bh.Bootstrap(8, seed=1, clusters=groups if clustered else None))
    units = 200 if clustered else 400
    weights = Multinomial(units, units)(1, torch.arange(8)).to(torch.float64).numpy()
    for draw, row in zip(res.cov.draws, weights[:, groups] if clustered else weights, strict=True):
        close_to_one(draw, numpy_ols(x, y, row), DIGITS, "OLS")
    probit = bh.Probit((y > 0).astype(float), x).fit(bh.Bootstrap(3, "bayesian", seed=1))
    for draw, row in zip(probit.cov.draws, Exponential(400)(1, torch.arange(3)), strict=True):
        close_to_one(draw, refitted(probit, row), DIGITS, "Probit")


def test_a_dummy_among_many_columns_is_lost():
    r = np.random.default_rng(0)
    level = np.r_[[66] * 3, r.integers(0, 66, 2997)]
    res = bh.OLS(r.normal(size=3000), np.eye(67)[level]).fit(bh.Bootstrap(100, seed=1))
    lost = (Multinomial(3000, 3000)(1, torch.arange(100))[:, :3].sum(1) == 0).sum()
    assert res.cov.resampling.failed == int(lost) > 0


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_a_combination_that_is_lost_is_seen_in_any_loss():
    r = np.random.default_rng(0)
    level = np.r_[np.zeros(2), r.integers(1, 3, 198)].astype(int)
    x = np.c_[np.ones(200), level == 1, level == 2].astype(float)
    y = x @ [1, 0.5, -0.5] + r.normal(size=200)
    ols = bh.OLS(y, x).fit(bh.Bootstrap(199, seed=1))
    loss = bh.MEstimator(lambda p, d: 0.5 * (d["y"] - d["x"] @ p["b"]) ** 2, {"b": np.zeros(3)}, {"x": x, "y": y})
    other = loss.fit("HC0").with_cov(bh.Bootstrap(199, seed=1))
    assert other.cov.resampling.failed == ols.cov.resampling.failed > 0
    np.testing.assert_allclose(other.cov.draws, ols.cov.draws, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["pairs", "bayesian", "subsample", "m-out-of-n"])
def test_a_penalty_weighs_the_same_in_any_sample(kind):
    res = fit_of("penalised").with_cov(bh.Bootstrap(400, kind, seed=1, **({"size": 50} if kind[0] in "sm" else {})))
    if kind != "bayesian":  # m rows have the standard error of m rows, so that scaled to n they are like the sample
        own, each = replicate_variances(res)
        np.testing.assert_allclose(np.median(each, 0), own, rtol=0.25)
    gap = (res.cov.draws.mean(0) - res.fit.params) / res.cov.draws.std(0)
    assert gap.abs().max() < 0.35
    np.testing.assert_allclose(res.bse, res.with_cov("HC0").bse, rtol=0.35)


def test_rows_of_weight_zero_do_not_matter():
    w = FRAME.w.to_numpy().copy()
    w[:3] = 0.0
    wild_y = FRAME.y.to_numpy().copy()
    wild_y[:3] = 1e6
    models = [bh.WLS(y, X, weights=w).fit() for y in (FRAME.y.to_numpy().copy(), wild_y)]
    for kind in ("pairs", "wild", "score", "residual", "parametric"):
        one, other = (model.with_cov(bh.Bootstrap(50, kind, seed=1)) for model in models)
        assert np.isfinite(one.conf_int(method="studentized" if kind != "score" else "basic")).all()
        np.testing.assert_allclose(one.cov.draws, other.cov.draws, rtol=1e-9, atol=1e-10)


def test_one_hypothesis_has_one_pvalue():
    groups = FRAME.g.to_numpy().copy()
    res = fit_of("OLS").with_cov(bh.Bootstrap(999, "wild", clusters=groups, variant="33"))
    value = pytest.approx(float(res.pvalues[1]), abs=1e-12)
    row = np.array([[0.0, 1.0, 0.0]])
    assert float(res.t_test(row).pvalue) == value
    assert res.f_test(row).pvalue == value
    assert res.wald_test(row, use_f=False).pvalue == value
    assert res.bootstrap_pvalues()[1] == value
    assert res.wald_test_terms().table["pvalue"].iloc[1] == value
    t = res.with_cov(bh.Bootstrap(999, "wild", clusters=groups, variant="33"), use_t=True)
    assert t.t_test(row).distribution == "t"
    assert float(t.t_test(row).pvalue) == value


def test_block_lengths_do_not_depend_on_the_order_of_columns():
    notes = {
        bh.OLS(FRAME.y.to_numpy(), X[:, order]).fit(bh.Bootstrap(9, "stationary", seed=1)).cov.note
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])
    }
    assert len(notes) == 1


def test_whole_numbers_of_numpy():
    res = fit_of("OLS")
    plain = res.with_cov(bh.Bootstrap(20, "subsample", seed=3, size=40)).cov.draws
    assert torch.equal(
        res.with_cov(bh.Bootstrap(np.int64(20), "subsample", seed=np.int64(3), size=np.int32(40))).cov.draws, plain
    )
    blocks = [
        res.with_cov(bh.Bootstrap(20, "moving-block", seed=3, block_length=b)).cov.draws for b in (5, np.int64(5), 5.0)
    ]
    assert torch.equal(blocks[0], blocks[1])
    assert torch.equal(blocks[0], blocks[2])


def test_fewer_clusters_than_coefficients_may_be_drawn():
    r = np.random.default_rng(0)
    x = np.c_[np.ones(240), r.normal(size=(240, 14))]
    groups = np.repeat(np.arange(40), 6)
    res = bh.OLS(r.normal(size=240), x).fit(bh.Bootstrap(99, "m-out-of-n", seed=1, clusters=groups))
    assert "12 of 40 drawn" in res.cov.note
