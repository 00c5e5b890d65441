"""Hard cases of clusters, lags and panels, each of which was wrong once."""

import numpy as np
import pytest
import torch
from support.closeness import close
from torch import nn

import betahat as bh

# The same sums in another order.
ROUNDING = 1e-9
IGNORED = "ignore::betahat.ClusterWarning"


def _rng(seed=0):
    return np.random.default_rng(seed)


def _naive_cr2(x, y, w, g):
    """CR2 with the errors' variances 1 / w: A = C B^(-1/2) C, C = w^(-1/2), B = C (1 / w - X M X') C, by n x n matrices."""
    inverse = np.linalg.inv(x.T @ (w[:, None] * x))
    errors, meat = y - x @ (inverse @ x.T @ (w * y)), 0.0
    for label in np.unique(g):
        rows = g == label
        c = np.diag(w[rows] ** -0.5)
        values, vectors = np.linalg.eigh(c @ (np.diag(1 / w[rows]) - x[rows] @ inverse @ x[rows].T) @ c)
        score = x[rows].T @ np.diag(w[rows]) @ c @ vectors @ np.diag(values**-0.5) @ vectors.T @ c @ errors[rows]
        meat = meat + np.outer(score, score)
    return inverse @ meat @ inverse


def test_cr2_of_weights_that_differ_by_five_orders():
    r = _rng(1)
    x, g, w = np.c_[np.ones(150), r.normal(size=(150, 2))], r.integers(0, 15, 150), 10 ** r.uniform(0, 5, 150)
    y = x.sum(1) + r.normal(size=150) / np.sqrt(w)
    res = bh.WLS(y, x, weights=w).fit(bh.Cluster(g, "CR2", target="inverse_weights"))
    # B has eigenvalues from 1e-10 to 1, and its root loses half of its digits
    close(res.cov_params(), _naive_cr2(x, y, w, g), 1e-5)


def test_a_steep_logit_has_no_cluster_that_fixes_a_coefficient():
    r = _rng(2)
    x, g = np.c_[np.ones(2000), r.normal(size=2000)], r.integers(0, 20, 2000)
    y = (r.random(2000) < 1 / (1 + np.exp(-2 * x[:, 1]))).astype(float)
    assert bh.Logit(y, x).fit(bh.Cluster(g, "CR2")).cov.small_sample.fixed == 0


@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
@pytest.mark.parametrize("make", [bh.OLS, bh.Logit])
@pytest.mark.parametrize("estimator", [bh.HAC(3, prewhiten=1), bh.HAC(bandwidth="andrews", prewhiten=1)])
def test_prewhitening_of_collinear_columns(make, estimator):
    """Fitted values have the variances of the design without the dependent column."""
    r = _rng(3)
    x = np.c_[np.ones(200), r.normal(size=(200, 2))]
    y = (x.sum(1) + r.normal(size=200) > 0).astype(float)
    plain = make(y, x).fit(bh.HAC(3, prewhiten=1)).cov_params()
    wide = np.c_[x, x[:, 1] + x[:, 2]]
    found = make(y, wide).fit(bh.HAC(3, prewhiten=1)).cov_params()
    close(np.diag(wide @ found @ wide.T), np.diag(x @ plain @ x.T), 1e-8)
    moved = x @ np.array([[1, 5, 0], [0, 1, 3], [0, 0, 1.0]])
    if estimator.bandwidth is None:
        other = make(y, moved).fit(estimator).cov_params()
        close(np.diag(moved @ other @ moved.T), np.diag(x @ plain @ x.T), 1e-8)


@pytest.mark.filterwarnings(IGNORED)
def test_two_ways_that_are_no_covariance_in_any_unit():
    r = _rng(6)
    a, b = r.normal(size=60), r.normal(size=60)
    y, g, t = a + b + r.normal(size=60), r.integers(0, 6, 60), r.integers(0, 6, 60)
    for scale in (1.0, 1e-7):
        model = bh.OLS(y, np.c_[np.ones(60), a * scale, b])
        with pytest.warns(bh.ClusterWarning, match="psd='repair'"):
            assert np.isnan(model.fit(bh.Cluster([g, t], kind="CR0")).bse).any()
    assert np.isfinite(bh.OLS(y, np.c_[np.ones(60), a, b]).fit(bh.Cluster([g, t], kind="CR0", psd="repair")).bse).all()
    with pytest.raises(bh.EstimationError, match="similar sizes"):
        model.fit(bh.Cluster([g, t], kind="CR0", psd="repair"))


@pytest.mark.filterwarnings(IGNORED)
def test_scores_of_a_penalised_model_are_centred():
    """They sum to the penalty's gradient, which is no noise."""
    r = _rng(4)
    x, g = torch.tensor(r.normal(size=(90, 2))), np.repeat(np.arange(9), 10)
    y = x.sum(1) + torch.tensor(r.normal(size=90))
    model = bh.MEstimator(lambda b, x, y: 0.5 * (y - x @ b) ** 2, {"b": torch.zeros(2)}, {"x": x, "y": y}, penalty=60.0)
    res = model.fit(bh.Cluster(g, "CR0"))
    scores = (x * (y - x @ res.params)[:, None]).reshape(9, 10, 2).sum(1)
    bread = torch.linalg.solve(x.mT @ x + 60.0 * torch.eye(2), torch.eye(2).double())
    centred = scores - scores.mean(0)
    assert float(scores.mean(0).abs().max()) > 1.0
    close(res.cov_params(), bread @ (centred.mT @ centred) @ bread, ROUNDING)
    rows = x * (y - x @ res.params)[:, None]
    rows = rows - rows.mean(0)
    cross = rows[1:].mT @ rows[:-1]
    close(model.fit(bh.HAC(1)).cov_params(), bread @ (rows.mT @ rows + 0.5 * (cross + cross.mT)) @ bread, ROUNDING)


def test_factors_count_rows_of_several_outputs():
    torch.manual_seed(0)
    x = torch.randn(40, 3, dtype=torch.float64)
    module = nn.Linear(3, 2).double()
    res = bh.TorchModel(module, nn.MSELoss(), x, x @ torch.randn(3, 2).double() + torch.randn(40, 2).double()).fit()
    ratio = np.asarray(res.with_cov("HC1").cov_params()) / np.asarray(res.with_cov("HC0").cov_params())
    close(
        ratio, np.full((8, 8), 40 / (40 - 4)), ROUNDING
    )  # each equation has four coefficients, as in R's lm(cbind(y1, y2) ~ x)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("estimator", [bh.Cluster, lambda g: bh.Cluster(g, "CR2"), bh.Jackknife])
def test_clusters_that_never_occur_do_not_count(estimator):
    r = _rng(5)
    x, g = np.c_[np.ones(120), r.normal(size=120)], np.repeat(np.arange(12), 10)
    y, counts = (r.random(120) < 0.5).astype(float), np.where(g == 0, 0, r.integers(1, 4, 120))
    kept = g != 0
    found = bh.Logit(y, x, freq_weights=counts).fit(estimator(g))
    true = bh.Logit(y[kept], x[kept], freq_weights=counts[kept]).fit(estimator(g[kept]))
    close(found.cov_params(), true.cov_params(), ROUNDING)


def test_gaps_are_those_of_the_labels_that_came():
    r = _rng(7)
    x, t = np.c_[np.ones(60), r.normal(size=60)], np.tile(np.arange(12), 5)
    res = bh.OLS(x.sum(1) + r.normal(size=60), x).fit()
    res.with_cov(bh.DriscollKraay(t, 1))
    for labels in (2 * t, 2.0 * t):
        with pytest.warns(bh.ClusterWarning, match="skips periods after"):
            found = res.with_cov(bh.DriscollKraay(labels, 1))
        close(found.bse, res.with_cov(bh.DriscollKraay(t, 1)).bse, ROUNDING)


@pytest.mark.filterwarnings(IGNORED)
def test_a_summary_of_fewer_clusters_than_slopes():
    r = _rng(8)
    x, g = np.c_[np.ones(100), r.normal(size=(100, 6))], np.arange(100) % 5
    res = bh.OLS(x.sum(1) + r.normal(size=100), x).fit(bh.Cluster(g))
    assert np.isnan(res.fvalue)
    assert "F-statistic:                       nan" in str(res.summary())
    with pytest.warns(bh.ClusterWarning, match="only has rank 4"):
        found = res.f_test(np.eye(7)[1:])
    assert np.isnan([found.statistic, found.pvalue]).all()
    assert found.df_num == 6
    assert "rank 4" in found.reason


def test_single_tests_of_a_matrix_that_is_not_semidefinite():
    matrix = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    x = np.c_[np.ones(20), _rng(9).normal(size=(20, 2))]
    res = bh.OLS(x.sum(1) + _rng(10).normal(size=20), x).fit(matrix)
    close(float(np.ravel(res.t_test("x1 = 0").sd)[0]), 1.0, ROUNDING)
    assert "Covariance Type:                given" in str(res.summary())
    with pytest.warns(bh.ClusterWarning, match="no variance"):
        assert np.isnan(res.t_test("const - x1 = 0").pvalue)
    with pytest.warns(bh.ClusterWarning, match="not positive semi-definite"):
        assert np.isnan(res.f_test("const = 0, x1 = 0").pvalue)
    assert res.f_test("x1 = 0, x2 = 0").df_num == 2  # their own block is a covariance


@pytest.mark.filterwarnings(IGNORED)
def test_a_panel_with_one_long_unit():
    """Periods are laid out unit by unit, and not for all units as for the longest."""
    r = _rng(11)
    units = np.r_[np.zeros(5000, int), np.repeat(np.arange(1, 5001), 2)]
    time = np.r_[np.arange(5000), np.tile([0, 1], 5000)]
    x = np.c_[np.ones(15000), r.normal(size=15000)]
    y = x.sum(1) + r.normal(size=15000)
    res = bh.OLS(y, x).fit(bh.PanelNeweyWest(units, time, 1, correction=None))
    scores = x * np.asarray(res.resid)[:, None]
    near = (units[1:] == units[:-1]) & (time[1:] == time[:-1] + 1)
    cross = scores[1:][near].T @ scores[:-1][near]
    bread = np.linalg.inv(x.T @ x)
    close(res.cov_params(), bread @ (scores.T @ scores + 0.5 * (cross + cross.T)) @ bread, ROUNDING)


@pytest.mark.filterwarnings(IGNORED)
def test_refits_of_columns_that_are_nearly_collinear():
    r = _rng(12)
    a, b = r.normal(size=(2, 120))
    x, g = np.c_[np.ones(120), a, a + 1e-7 * (a + b)], np.repeat(np.arange(12), 10)
    y = (r.random(120) < 1 / (1 + np.exp(-a))).astype(float)
    found = bh.Logit(y, x).fit(bh.Jackknife(g, refit=True, center="estimate", correction=False))
    refits = np.stack([np.asarray(bh.Logit(y[g != c], x[g != c]).fit().params) for c in range(12)])
    steps = refits - np.asarray(found.params)
    # coefficients of 1e7 that nearly cancel keep nine digits
    close(found.bse, np.sqrt((steps**2).sum(0)), 1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bh.Jackknife(df_correction="no"),
        lambda: bh.Jackknife(refit="yes"),
        lambda: bh.DriscollKraay("t", df_correction="no"),
        lambda: bh.PanelCorrected("g", "t", pairwise="no"),
        lambda: bh.Conley("a", "b", 1.0, correction="no"),
        lambda: bh.HAC(correction="yes"),
    ],
)
def test_flags_are_true_or_false(make):
    with pytest.raises(bh.OptionError, match="use True or False"):
        make()


def test_names_beside_vectors():
    r = _rng(13)
    frame = {"y": r.normal(size=120), "x": r.normal(size=120), "firm": np.repeat(np.arange(12), 10)}
    years = np.tile(np.arange(10), 12)
    res = bh.ols("y ~ x", frame).fit(bh.Cluster(["firm", years], psd="repair"))
    close(
        res.bse, bh.ols("y ~ x", {**frame, "year": years}).fit(bh.Cluster(["firm", "year"], psd="repair")).bse, ROUNDING
    )
    with pytest.raises(bh.DataError, match="50 labels"):
        res.with_cov(bh.Cluster([frame["firm"], years[:50]]))
    with pytest.raises(bh.OptionError, match="maxlags"):
        bh.HAC(maxlags=np.array([1, 2]))


@pytest.mark.parametrize("kind", ["CR1S", "CR2"])
@pytest.mark.parametrize("make", [bh.OLS, bh.Logit])
def test_a_cluster_that_alone_fixes_a_coefficient_is_named(make, kind):
    r = _rng(9)
    g, x = r.integers(0, 20, 400), r.normal(size=400)
    y = (x + r.normal(size=400) > 0).astype(float)
    make(y, np.c_[np.ones(400), x]).fit(bh.Cluster(g, kind))
    with pytest.warns(bh.ClusterWarning, match="One cluster of groups alone fixes the coefficient of .x2., as it does"):
        make(y, np.c_[np.ones(400), x, g == 3]).fit(bh.Cluster(g, kind))


@pytest.mark.parametrize(
    "estimator",
    [
        bh.HAC(39, kernel="truncated"),
        bh.Conley(np.linspace(40.0, 41.0, 40), np.zeros(40), cutoff=5000.0),
        bh.DriscollKraay(np.arange(40) % 10, 9, kernel="truncated"),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scores_that_sum_to_zero_together_have_no_variance(estimator):
    rng = np.random.default_rng(6)
    x = bh.add_constant(rng.normal(size=(40, 2)))
    res = bh.OLS(x.sum(1) + rng.normal(size=40), x).fit()
    with pytest.raises(bh.EstimationError, match="no coefficient a variance"):
        res.with_cov(estimator)


def test_a_periods_own_dummy_has_no_variance_and_the_others_have_theirs():
    rng = np.random.default_rng(7)
    period = np.arange(60) % 6
    dummies = (period[:, None] == np.arange(6)).astype(float)
    x = rng.normal(size=60)
    x -= dummies @ (dummies.T @ x) / 10
    y = x + rng.normal(size=60)
    res = bh.OLS(y, np.column_stack([x, dummies])).fit()
    with pytest.warns(bh.ClusterWarning, match="gives 'x2', 'x3', 'x4', 'x5', 'x6', 'x7' no variance"):
        bse = res.with_cov(bh.DriscollKraay(period, 0)).bse
    assert np.isnan(bse[1:]).all()
    meat = sum((x[period == t] @ res.resid[period == t]) ** 2 for t in range(6))
    np.testing.assert_allclose(bse[0] ** 2, meat / (x @ x) ** 2 * 6 / 5 * 59 / 53, rtol=1e-10)
