"""Laws of absorbed effects: what may not matter, what they are the same as, and in which form their labels may come."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from support.absorbed import panel
from support.closeness import close, close_to_largest, close_to_one, same_covariance

import betahat as bh

# Two ways of projecting, each to 1e-10 of what is projected; most are sums, to rounding.
PROJECTED = 1e-9
SINGLE = 1e-4  # data in float32, of seven digits

COVARIANCES = {
    **{kind: kind for kind in ("nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC5", "jackknife")},
    "firm": bh.Cluster("firm"),
    "CR2": bh.Cluster("region", "CR2"),
    "CR3": bh.Cluster("state", "CR3"),
    "two ways": bh.Cluster(["firm", "state"]),
    "wild": bh.Bootstrap(60, "wild", clusters="state", seed=1),
}
pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


DATA = panel()


def _same(found, true, kinds=COVARIANCES, tolerance=PROJECTED):
    close_to_one(found.params, true.params, tolerance)
    assert (found.nobs, found.df_resid) == (true.nobs, true.df_resid)
    for label in kinds:
        one, other = (res.with_cov(COVARIANCES[label]) for res in (found, true))
        same_covariance(one.cov_params(), other.cov_params(), tolerance, label)
        close(one.pvalues, other.pvalues, 1e3 * tolerance, unit=1.0, label=label)


def _slopes(res, names=("x", "z")):
    """The results' (2,) coefficients and (2, 2) covariance of some regressors."""
    return res.params[list(names)], res.cov_params().loc[list(names), list(names)]


@pytest.mark.parametrize("weighted", [False, True])
def test_frisch_waugh_lovell(weighted):
    """Residuals on residuals of the dummies, which NumPy makes here, give the estimate and the covariances that count no coefficients."""
    weights = DATA.w if weighted else pd.Series(1.0, DATA.index)
    dummies = pd.get_dummies(DATA[["firm", "year"]].astype(str), dtype=float).to_numpy()
    root = np.sqrt(weights.to_numpy())[:, None]
    columns = root * DATA[["y", "x", "z"]].to_numpy()
    left = (columns - root * dummies @ np.linalg.lstsq(root * dummies, columns, rcond=None)[0]) / root
    rows = pd.DataFrame(left, columns=["y", "x", "z"]).assign(firm=DATA.firm, state=DATA.state, w=weights)
    true = bh.wls("y ~ x + z - 1", rows, weights="w").fit()
    found = bh.wls("y ~ x + z | firm + year", DATA.assign(w=weights), weights="w").fit()
    close(found.params, true.params, PROJECTED)
    for cov in ("HC0", bh.Cluster("firm", "CR0"), bh.Cluster("state", "CR1")):
        same_covariance(found.with_cov(cov).cov_params(), true.with_cov(cov).cov_params(), PROJECTED)
    close_to_largest(found.resid, true.resid, PROJECTED)
    close(found.ssr, true.ssr, PROJECTED)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_effects_does_not_matter(weighted):
    def fit(effects):
        formula = f"y ~ x + z | {effects}"
        return (bh.wls(formula, DATA, weights="w") if weighted else bh.ols(formula, DATA)).fit()

    true = fit("firm + year + state")
    for effects in ("state + year + firm", "year + firm + state"):
        _same(fit(effects), true)


def test_the_order_of_rows_does_not_matter():
    _same(
        bh.ols("y ~ x + z | firm + year", DATA.sample(frac=1.0, random_state=1)).fit(),
        bh.ols("y ~ x + z | firm + year", DATA).fit(),
        [label for label in COVARIANCES if label != "wild"],
    )


RELABELLED = {
    "permuted": lambda v: (7 * v + 3) % 31,
    "negative": lambda v: -v,
    "huge": lambda v: v * 10**12,
    "floats": lambda v: v / 3.0,
    "strings": lambda v: "é " + v.astype(str),
    "dates": lambda v: pd.Timestamp("2020-02-28") + pd.to_timedelta(v, "D"),
    "dates with a zone": lambda v: (pd.Timestamp("2020-02-28") + pd.to_timedelta(v, "D")).dt.tz_localize("UTC"),
    "periods": lambda v: pd.Series(pd.period_range("2000-01", periods=40, freq="M")[v], v.index),
    "categories, unused ones": lambda v: pd.Categorical(v, categories=range(-5, 40)[::-1]),
    "strings of Arrow": lambda v: v.astype(str).astype("string"),
    "Int64": lambda v: v.astype("Int64"),
    "objects": lambda v: pd.Series([("firm", int(i)) for i in v], v.index),
}


@pytest.mark.parametrize("label", RELABELLED)
def test_labels_do_not_matter(label):
    frame = DATA.assign(firm=RELABELLED[label](DATA.firm))
    true = bh.ols("y ~ x + z | firm + year", DATA).fit()
    _same(bh.ols("y ~ x + z | firm + year", frame).fit(), true, ("nonrobust", "HC3", "firm", "CR2"))
    found = bh.OLS(DATA.y, DATA[["x", "z"]], absorb=[frame.firm, DATA.year]).fit()
    close(found.params, true.params, PROJECTED)


def test_labels_may_be_true_and_false():
    frame = DATA.assign(old=DATA.year > 2002)
    true = bh.ols("y ~ x + z + old", frame).fit()
    found = bh.ols("y ~ x + z | old", frame).fit()
    for one, other in zip(_slopes(found), _slopes(true), strict=True):
        close_to_largest(one, other, PROJECTED)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_effect_of_one_level_is_the_constant(weighted):
    frame = DATA.assign(one="same")
    found, true = (
        (bh.wls(f"y ~ x + z{rest}", frame, weights="w") if weighted else bh.ols(f"y ~ x + z{rest}", frame)).fit()
        for rest in (" | one", "")
    )
    assert (found.nobs, found.df_resid) == (true.nobs, true.df_resid)
    close(found.scale, true.scale, PROJECTED)
    close(found.llf, true.llf, PROJECTED)
    close(found.aic, true.aic, PROJECTED)
    close_to_largest(found.resid, true.resid, PROJECTED)
    for label, cov in COVARIANCES.items():
        one, other = (_slopes(res.with_cov(cov)) for res in (found, true))
        close(one[0], other[0], PROJECTED)
        same_covariance(one[1], other[1], PROJECTED, label)


@pytest.mark.parametrize("effects", ["firm", "firm + year", "firm[z] + year"])
@pytest.mark.parametrize("weighted", [False, True])
def test_frequency_weights_are_repeated_rows(effects, weighted):
    counts = np.random.default_rng(1).integers(0, 4, len(DATA))
    frame = DATA.assign(often=counts, v=DATA.z)
    repeated = frame.loc[frame.index.repeat(counts)].reset_index(drop=True)
    right = "x | " + effects if "z" in effects else "x + z | " + effects

    def fit(data, **options):
        formula = f"y ~ {right}"
        return (bh.wls(formula, data, weights="w", **options) if weighted else bh.ols(formula, data, **options)).fit()

    _same(fit(frame, freq_weights="often"), fit(repeated))


def test_combined_effects_are_combinations():
    frame = DATA.assign(both=DATA.region.astype(str) + " in " + DATA.year.astype(str))
    _same(bh.ols("y ~ x + z | region^year + firm", frame).fit(), bh.ols("y ~ x + z | both + firm", frame).fit())


def test_what_the_effects_explain_does_not_matter():
    shift = np.random.default_rng(2).normal(size=40) * 100
    frame = DATA.assign(y=DATA.y + shift[DATA.firm], x=DATA.x + shift[DATA.year - 1990])
    _same(bh.ols("y ~ x + z | firm + year", frame).fit(), bh.ols("y ~ x + z | firm + year", DATA).fit(), tolerance=1e-8)


# rows


def test_rows_alone_in_a_level_are_dropped_one_after_the_other():
    """A firm of two rows, one of which is alone in its year, loses the other as well."""
    more = pd.DataFrame({"firm": [90, 91, 91], "year": [2003, 1990, 2004], "region": 9, "state": [1, 2, 3]})
    frame = pd.concat([DATA, more.assign(x=[1.0, 5.0, 2.0], z=1.0, y=[0.0, 9.0, 1.0], w=1.0)], ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        found = bh.ols("y ~ x + z | firm + year", frame).fit()
    _same(found, bh.ols("y ~ x + z | firm + year", DATA).fit())


def test_counts_say_who_is_alone():
    """A row that occurs twice is not alone, and one that occurs no times is no row."""
    more = pd.DataFrame({"firm": [90, 91, 92, 92], "year": 2003, "region": 9, "state": 1, "often": [2, 1, 1, 0]})
    frame = pd.concat([DATA.assign(often=1), more.assign(x=[1.0, 5.0, 2.0, 3.0], z=1.0, y=2.0, w=1.0)])
    frame = frame.reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        found = bh.ols("y ~ x + z | firm + year", frame, freq_weights="often").fit()
        true = bh.ols("y ~ x + z | firm + year", frame.loc[frame.index.repeat(frame.often)]).fit()
    _same(found, true, ("nonrobust", "HC0", "HC1", "firm"))
    assert found.nobs == len(DATA) + 2


MISSING = {
    "None": ("strings", None),
    "NaN": ("floats", np.nan),
    "NaT": ("dates", pd.NaT),
    "NA": ("Int64", pd.NA),
    "no category": ("categories, unused ones", None),
}


@pytest.mark.parametrize("label", MISSING)
def test_missing_labels(label):
    kind, gap = MISSING[label]
    values = pd.Series(RELABELLED[kind](DATA.firm), index=DATA.index)
    values[[3, 50]] = gap
    frame = DATA.assign(firm=values)
    whole = DATA.drop(index=[3, 50])
    true = bh.ols("y ~ x + z | firm + year", whole).fit()
    found = bh.ols("y ~ x + z | firm + year", frame).fit()
    _same(found, true, ("nonrobust", "HC3", "CR2"))
    assert list(found.resid.index) == list(whole.index)
    arrays = bh.OLS(DATA.y, DATA[["x", "z"]], absorb=[frame.firm, DATA.year], missing="drop").fit()
    close(arrays.params, true.params, PROJECTED)
    for missing in ("none", "raise"):
        with pytest.raises(bh.DataError, match="firm"):
            bh.ols("y ~ x + z | firm + year", frame, missing=missing)


def test_unconnected_parts_are_counted():
    """The coefficients are as many as independent dummies."""
    frame = DATA.assign(cell=100 * (DATA.region % 2) + DATA.year)
    res = bh.ols("y ~ x + z | firm + cell", frame).fit()
    dummies = pd.get_dummies(frame[["firm", "cell"]].astype(str), dtype=float).to_numpy()
    assert res.df_resid == len(frame) - 2 - np.linalg.matrix_rank(dummies)


# containers


def test_containers():
    true = bh.ols("y ~ x + z | firm + year", DATA).fit("HC3")
    assert isinstance(true.params, pd.Series)
    y, x, labels = DATA.y.to_numpy(), DATA[["x", "z"]].to_numpy(), [DATA.firm.to_numpy(), DATA.year.to_numpy()]
    for absorb in (labels, np.column_stack(labels), DATA[["firm", "year"]], pl.DataFrame(DATA[["firm", "year"]])):
        arrays = bh.OLS(y, x, absorb=absorb).fit("HC3")
        assert isinstance(arrays.params, np.ndarray)
        same_covariance(arrays.cov_params(), true.cov_params(), PROJECTED)
    tensors = bh.OLS(torch.tensor(y), torch.tensor(x), absorb=[torch.tensor(v) for v in labels]).fit("HC3")
    assert isinstance(tensors.params, torch.Tensor)
    same_covariance(tensors.cov_params(), true.cov_params(), PROJECTED)
    polars = bh.ols("y ~ x + z | firm + year", pl.DataFrame(DATA)).fit("HC3")
    same_covariance(polars.cov_params(), true.cov_params(), PROJECTED)
    mapping = bh.ols("y ~ x + z | firm + year", {name: DATA[name].to_numpy() for name in DATA}).fit("HC3")
    same_covariance(mapping.cov_params(), true.cov_params(), PROJECTED)


def test_single_precision():
    true = bh.ols("y ~ x + z | firm + year", DATA).fit("HC3")
    found = bh.ols("y ~ x + z | firm + year", DATA, dtype=torch.float32).fit("HC3")
    close(found.params, true.params, SINGLE)
    same_covariance(found.cov_params(), true.cov_params(), SINGLE)
    singles = DATA[["x", "z"]].astype(np.float32).to_numpy()
    arrays = bh.OLS(DATA.y.astype(np.float32).to_numpy(), singles, absorb=[DATA.firm, DATA.year]).fit("HC3")
    close(arrays.params, true.params, SINGLE)


def test_an_index_and_its_rows():
    """Labels of rows stand at what has a number for each row."""
    frame = DATA.set_index(pd.Index([f"row {i}" for i in range(len(DATA))]))
    res = bh.ols("y ~ x + z | firm + year", frame).fit()
    assert list(res.resid.index) == list(frame.index)
    close_to_largest(res.fittedvalues + res.resid, frame.y, PROJECTED)


def test_effects_without_regressors():
    res = bh.ols("y ~ 1 | firm + year", DATA).fit()
    dummies = pd.get_dummies(DATA[["firm", "year"]].astype(str), dtype=float).to_numpy()
    left = DATA.y - dummies @ np.linalg.lstsq(dummies, DATA.y, rcond=None)[0]
    assert len(res.params) == 0
    close_to_largest(res.resid, left, PROJECTED)
    assert res.df_resid == len(DATA) - np.linalg.matrix_rank(dummies)
    for cov in (
        "HC1",
        "HC3",
        bh.Cluster("firm"),
        bh.Cluster("firm", "CR2"),
        bh.Cluster(["firm", "state"]),
        bh.Bootstrap(9),
    ):
        other = res.with_cov(cov)
        assert other.cov_params().shape == (0, 0)
        assert "firm effects" in str(other.summary())
    table = bh.regtable([bh.ols("y ~ x | firm + year", DATA).fit("HC1"), res.with_cov("HC1")])
    assert table.to_text().count("yes") == 4


@pytest.mark.parametrize(
    ("effects", "dummies"),
    [
        ("firm + year + region^year", "C(firm) + C(region):C(year)"),
        ("firm[year] + year", "C(firm) * year + C(year)"),
        ("firm[[year]] + year", "C(firm):year + C(year)"),
        ("year[z] + state[z]", "C(year) * z + C(state) * z"),
    ],
)
@pytest.mark.filterwarnings("ignore::betahat.errors.BetahatWarning")
def test_coefficients_are_counted_once_in_any_order(effects, dummies):
    frame = panel(n=320)
    wanted = bh.ols(f"y ~ x + {dummies}", frame).fit(rank="drop")
    for order in (effects, " + ".join(reversed(effects.split(" + ")))):
        res = bh.ols(f"y ~ x | {order}", frame).fit()
        assert (res.nobs, res.df_resid) == (320, wanted.df_resid)
        np.testing.assert_allclose(res.bse["x"], wanted.bse["x"], rtol=1e-10)
    ways = [
        bh.ols(f"y ~ x | {order}", frame).fit(bh.Cluster("firm")).bse["x"]
        for order in ("year + firm^year", "firm^year + year")
    ]
    np.testing.assert_allclose(*ways, rtol=1e-12)
