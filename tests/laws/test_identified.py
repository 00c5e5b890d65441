"""What collinear columns leave unidentified is refused, or named; what is identified has the numbers of the fit without them."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh

COLLINEAR = "ignore::betahat.CollinearityWarning"
pytestmark = pytest.mark.filterwarnings(COLLINEAR, "ignore:.*few that these tests:betahat.ClusterWarning")
# Two fits of well-conditioned columns, one of minimum norm; Newton's method stops at 1e-12 standard errors.
SAME = {"rtol": 1e-8, "atol": 1e-12}
COVARIANCES = {
    "nonrobust": "nonrobust",
    "HC0": "HC0",
    "HC3": "HC3",
    "cluster": bh.Cluster("unit"),
    "CR2": bh.Cluster("unit", kind="CR2"),
    "HAC": bh.HAC(2),
    "jackknife": bh.Jackknife(),
    "bootstrap": bh.Bootstrap(99, seed=1),
}


@pytest.fixture(scope="module")
def cells():
    """76 rows of two factors, one of whose cells is empty."""
    rng = np.random.default_rng(12)
    n = 90
    frame = pd.DataFrame({"g": rng.choice(list("abc"), n), "b": rng.choice(list("uv"), n), "x": rng.normal(size=n)})
    frame = frame[~((frame.g == "c") & (frame.b == "v"))].reset_index(drop=True)
    frame["unit"] = np.arange(len(frame)) % 14
    frame["y"] = rng.normal(size=len(frame)) + (frame.g == "b") + 0.3 * frame.x
    frame["yes"] = (frame.y + rng.normal(size=len(frame)) > 0.3).astype(float)
    frame["count"] = rng.poisson(np.exp(0.3 * frame.y - 0.2))
    frame["w"] = rng.uniform(0.5, 2.0, size=len(frame))
    frame["kind"] = rng.choice(list("pqr"), len(frame))
    return frame


MODELS = {
    "OLS": lambda rhs, d: bh.ols("y ~ " + rhs, d),
    "WLS": lambda rhs, d: bh.wls("y ~ " + rhs, d, weights="w"),
    "Logit": lambda rhs, d: bh.logit("yes ~ " + rhs, d),
    "Probit": lambda rhs, d: bh.probit("yes ~ " + rhs, d),
    "Poisson": lambda rhs, d: bh.poisson("count ~ " + rhs, d),
}
TERM = ["Intercept", "g", "b", "g:b", "x"]


def test_an_empty_cell_as_in_the_fit_without_it(cells):
    """R's anova drops the column, and compares the residual sums of squares: F(1, n - r)."""
    full, small = (bh.ols(f"y ~ {rhs}", cells).fit() for rhs in ("g*b", "g + b"))
    row, drop = (fit.wald_test_terms().table.loc["g:b"] for fit in (full, bh.ols("y ~ g*b", cells).fit(rank="drop")))
    nested = full.compare_f_test(small)
    np.testing.assert_allclose([row.statistic, row.pvalue, row.df_constraint], nested, **SAME)
    np.testing.assert_allclose(row.to_numpy(float), drop.to_numpy(float), **SAME)
    assert row.df_constraint == 1
    assert row.df_denom == len(cells) - 5


@pytest.mark.filterwarnings("ignore:There is no test of:betahat.ClusterWarning")
@pytest.mark.parametrize("empty", ["au", "av", "bu", "bv", "cu", "cv"])
def test_any_empty_cell(empty):
    """Minimum norm moves in two directions of the interaction where the data know one, unless the empty cell is that of a column."""
    frame = pd.DataFrame({"g": list("abcabc") * 13, "b": list("uuuvvv") * 13})
    frame = frame[frame.g + frame.b != empty].reset_index(drop=True)
    frame["y"] = np.sin(np.arange(len(frame)) ** 2.0)
    full = bh.ols("y ~ g*b", frame).fit()
    nested = full.compare_f_test(bh.ols("y ~ g + b", frame).fit())
    for res in (full, bh.ols("y ~ g*b", frame).fit(rank="drop")):
        row = res.wald_test_terms().table.loc["g:b"]
        np.testing.assert_allclose([row.statistic, row.pvalue, row.df_constraint], nested, **SAME)


@pytest.mark.slow
@pytest.mark.parametrize("cov", COVARIANCES)
@pytest.mark.parametrize("name", MODELS)
def test_terms_are_those_of_the_fit_that_leaves_columns_out(name, cov, cells):
    """Columns that come last and are left out leave the part that is identified, whatever the covariance."""
    if cov in ("jackknife", "bootstrap") and name != "OLS":
        pytest.skip("of many refits: OLS shows it")
    terms = MODELS[name]("g*b + x", cells).fit(COVARIANCES[cov]).wald_test_terms().table
    for last in TERM:
        model = MODELS[name]("g*b + x", cells)
        columns = [c for term, c in _columns(model).items() if term != last for c in c] + _columns(model)[last]
        exog = pd.DataFrame(np.asarray(model.exog), columns=model.exog_names)[columns]
        other = _refit(name, exog, cells).fit(_by_vector(COVARIANCES[cov], cells), rank="drop")
        kept = [c for c in _columns(model)[last] if c not in other.aliased]
        if not kept:
            assert np.isnan(terms.loc[last].statistic)
            continue
        wanted = other.wald_test(np.eye(len(columns))[[columns.index(c) for c in kept]])
        np.testing.assert_allclose(terms.loc[last].statistic, wanted.statistic, **SAME)
        np.testing.assert_allclose(terms.loc[last].pvalue, wanted.pvalue, rtol=1e-7)
        assert terms.loc[last].df_constraint == wanted.df_num


def _columns(model):
    """The columns of each term."""
    groups = {}
    for column in model.exog_names:
        groups.setdefault(":".join(re.sub(r"\[.*", "", part) for part in column.split(":")), []).append(column)
    return groups


def _by_vector(cov, frame):
    return bh.Cluster(frame["unit"], kind=cov.kind) if isinstance(cov, bh.Cluster) else cov


def _refit(name, exog, frame):
    options = {"weights": frame["w"]} if name == "WLS" else {}
    endog = frame[{"OLS": "y", "WLS": "y", "Poisson": "count"}.get(name, "yes")]
    return getattr(bh, name)(endog, exog, **options)


@pytest.fixture(scope="module", params=[*MODELS, "MNLogit"])
def deficient(request, cells):
    """A fit of const, a, b, a + b, c: neither a nor b nor their sum's coefficient is identified, a - b is not either, a + s is."""
    rng = np.random.default_rng(3)
    x = pd.DataFrame({"const": 1.0, "a": rng.normal(size=len(cells)), "b": rng.normal(size=len(cells))})
    x["s"], x["c"] = x.a + x.b, rng.normal(size=len(cells))
    if request.param == "MNLogit":
        return bh.MNLogit(cells["kind"], x).fit("HC0")
    return _refit(request.param, x, cells).fit("HC0")


def _padded(res, row):
    """Write a restriction on the columns for the first equation."""
    return np.array([*row, *[0.0] * (len(res.names) - len(row))], dtype=float)


@pytest.mark.parametrize("row", [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, -1, 1, 0], [1, 1e-3, 0, 0, 1]])
def test_functions_that_are_not_identified_are_refused(deficient, row):
    restriction = _padded(deficient, row)
    for test in (deficient.t_test, deficient.f_test, deficient.wald_test):
        with pytest.raises(bh.EstimationError, match=r"do not identify this function of '.*rank='drop'"):
            test(restriction)
    weights = torch.tensor(restriction)
    with pytest.raises(bh.EstimationError, match="do not identify"):
        deficient.delta(lambda p: weights @ p.vector)
    with pytest.raises(bh.EstimationError, match="2 of these functions"):
        deficient.t_test(np.stack([restriction, _padded(deficient, [0, 0, 0, 0, 1]), 2 * restriction]))


@pytest.mark.parametrize("row", [[0, 0, 0, 0, 1], [0, 1, 0, 1, 0], [3, 1, -1, 0, 0], [1, 0.2, 0.3, 0.5, 0]])
def test_functions_that_are_identified_are_those_of_the_fit_without_the_column(deficient, row):
    """Those in the row space are (.., a, b, a + b, ..); t, F and delta agree, and with the fit without the sum."""
    small = _without(deficient, "s")
    here = _padded(deficient, row)
    there = _padded(small, [row[0], row[1], row[2], row[4]])
    found, wanted = deficient.t_test(here), small.t_test(there)
    for name in ("effect", "sd", "pvalue"):
        np.testing.assert_allclose(np.ravel(getattr(found, name)), np.ravel(getattr(wanted, name)), **SAME)
    np.testing.assert_allclose(deficient.f_test(here).statistic, small.f_test(there).statistic, **SAME)
    weights = torch.tensor(here)
    np.testing.assert_allclose(deficient.delta(lambda p: weights @ p.vector).bse, np.ravel(wanted.sd), **SAME)


def _without(res, column):
    model = res.model
    x = (
        model.exog
        if isinstance(model.exog, pd.DataFrame)
        else pd.DataFrame(np.asarray(model.exog), columns=model.exog_names)
    )
    options = {"weights": model.weights} if isinstance(model, bh.WLS) else {}
    return type(model)(model.endog, x.drop(columns=column), **options).fit("HC0")


def test_a_joint_test_of_all_that_is_collinear(deficient):
    """a = b = s = 0 has an identified part that is all the data know of it: that of a = b = 0 without s."""
    small = _without(deficient, "s")
    width = len(deficient.names)
    found = deficient.wald_test(np.eye(width)[[1, 2, 3]])
    wanted = small.wald_test(np.eye(len(small.names))[[1, 2]])
    np.testing.assert_allclose(
        [found.statistic, found.pvalue, found.df_num], [wanted.statistic, wanted.pvalue, 2], **SAME
    )
    moved = deficient.wald_test((np.eye(width)[[1, 2, 3]], [1.0, 2.0, 5.0]))  # a + s = 6, b + s = 7 without s
    other = small.wald_test((np.eye(len(small.names))[[1, 2]], [6.0, 7.0]))
    np.testing.assert_allclose(moved.statistic, other.statistic, **SAME)
    with pytest.raises(bh.EstimationError, match=r"do not identify 2 of these functions, the first of '.*a'"):
        deficient.wald_test(np.eye(width)[[1, 2]])


@pytest.mark.parametrize("rank", ["pinv", "drop"])
@pytest.mark.parametrize("name", MODELS)
def test_predictions_outside_the_row_space(name, rank, cells):
    """The empty cell has no prediction that the data know; R's predict calls it doubtful as well."""
    res = MODELS[name]("g*b + x", cells).fit("HC1", rank=rank)
    new = pd.DataFrame({"g": ["a", "c", "b"], "b": ["u", "v", "v"], "x": [0.1, 0.2, 0.3]}, index=["r", "s", "t"])
    with pytest.warns(bh.CollinearityWarning, match=r"1 prediction \('s'\) is not identified"):
        found = res.get_prediction(new)
    errors = np.asarray(found.se)
    assert np.isnan(errors).tolist() == [False, True, False]
    assert np.isnan(np.asarray(found.conf_int())).any(1).tolist() == [False, True, False]
    assert np.isnan(found.summary_frame().to_numpy()).any(1).tolist() == [False, True, False]
    with pytest.warns(bh.CollinearityWarning, match="not identified"):
        mean = res.predict(new)
    assert np.isfinite(mean).all()
    other = MODELS[name]("g + b + x + I((g == 'b') & (b == 'v'))", cells).fit("HC1")
    assert np.isfinite(res.get_prediction(new.loc[["r", "t"]]).summary_frame().to_numpy()).all()
    inside = other.get_prediction(new.loc[["r", "t"]])
    np.testing.assert_allclose(errors[[0, 2]], np.asarray(inside.se), **SAME)


def test_predictions_of_data_in_single_precision(cells):
    """A column that is the sum of two others stays it to seven digits."""
    x = np.column_stack([np.ones(40), np.random.default_rng(0).normal(size=(40, 2))])
    wide = np.column_stack([x, x[:, 1] + x[:, 2]])
    res = bh.OLS(cells["y"].to_numpy()[:40], wide).fit()
    assert np.isfinite(res.get_prediction(wide.astype("float32")).se).all()


def test_marginal_effects(deficient):
    """That of c is the one without the sum; a, b and s have none."""
    if isinstance(deficient.model, bh.OLS | bh.WLS):
        pytest.skip("no get_margeff")
    with pytest.warns(bh.CollinearityWarning, match="effect of 'a', 'b', 's'"):
        found = deficient.get_margeff()
    wanted = _without(deficient, "s").get_margeff()
    errors, true = np.asarray(found.margeff_se), np.asarray(wanted.margeff_se)
    np.testing.assert_allclose(errors[-1], true[-1], **SAME)
    assert np.isnan(errors[:-1]).all()
    assert np.isnan(np.asarray(found.pvalues)[:-1]).all()
    assert str(found.summary())


def test_modules_and_losses():
    """A module of collinear inputs, and a loss of one's own."""
    rng = np.random.default_rng(5)
    x = torch.tensor(rng.normal(size=(60, 2)))
    wide, y = torch.cat([x, x[:, :1] + x[:, 1:]], 1), torch.tensor(rng.normal(size=60)) + x[:, 0]
    net = nn.Sequential(nn.Linear(3, 1).double(), nn.Softplus())
    module = bh.TorchModel(net, nn.MSELoss(), wide, y[:, None].exp()).fit("HC0", rank="pinv")
    losses = bh.MEstimator(lambda b, x, y: (y - x @ b) ** 2, {"b": torch.zeros(3)}, {"x": wide, "y": y}).fit(
        "HC0", rank="pinv"
    )
    linear = bh.TorchModel(nn.Linear(3, 1).double(), nn.MSELoss(), wide, y[:, None]).fit("HC0", rank="pinv")
    for res, width in ((module, 4), (losses, 3), (linear, 4)):
        row, told = np.zeros(width), np.zeros(width)
        row[0], told[[0, 2]] = 1.0, 1.0
        with pytest.raises(bh.EstimationError, match="do not identify"):
            res.t_test(row)
        with pytest.raises(bh.EstimationError, match="do not identify"):
            res.delta(lambda p: p[1])
        assert float(res.t_test(told).sd) > 0
    new = torch.cat([wide[:2], torch.eye(3)[:1].double()])
    for res in (module, linear):
        with pytest.warns(bh.CollinearityWarning, match=r"1 prediction \('2'\)"):
            found = res.get_prediction(new)
        assert np.isnan(np.asarray(found.se)).tolist() == [False, False, True]
    with pytest.warns(bh.CollinearityWarning, match="effect of 'x1', 'x2', 'x3'"):
        assert np.isnan(np.asarray(linear.get_margeff().margeff_se)).all()


def test_what_is_left_of_a_file(tmp_path, cells):
    """The directions go along."""
    res = bh.ols("y ~ g*b", cells).fit("HC1")
    for kept in (res.remove_data(), bh.load(res.save(tmp_path / "r"))):
        pd.testing.assert_frame_equal(kept.wald_test_terms().table, res.wald_test_terms().table)
        with pytest.raises(bh.EstimationError, match=r"'g\[T.c\]:b\[T.v\]'"):
            kept.t_test("g[T.c]:b[T.v] = 0")


def test_terms_that_are_not_identified_at_all(cells):
    """Their rows are NaN, with the reason, and the others stand."""
    res = bh.ols("y ~ x + I(2 * x) + b", cells).fit()
    with pytest.warns(bh.ClusterWarning, match=r"no test of 'x', 'I\(2 \* x\)', 'more': columns are collinear"):
        table = res.wald_test_terms(combine_terms=["x"], extra_constraints=[("more", "x = 1")]).table
    small = bh.ols("y ~ x + b", cells).fit().wald_test_terms().table
    assert table.statistic.isna().tolist() == [False, False, True, True, False, True]
    np.testing.assert_allclose(table.loc["b"].to_numpy(float), small.loc["b"].to_numpy(float), **SAME)
    combined = table[table.index == "x"].iloc[-1]
    np.testing.assert_allclose(combined.to_numpy(float), small.loc["x"].to_numpy(float), **SAME)


def test_nested_tests_of_collinear_models(cells):
    """The full model's scores have the rank of its columns; statsmodels inverts their singular products."""
    full, small = bh.ols("y ~ g*b + x", cells).fit(), bh.ols("y ~ g + b + x", cells).fit()
    thin = bh.ols("y ~ g*b + x", cells).fit(rank="drop")
    for options in ({}, {"demean": False}, {"use_lr": True}):
        for kind in ("nonrobust", "HC0"):
            found, wanted = (fit.with_cov(kind).compare_lm_test(small, **options) for fit in (full, thin))
            np.testing.assert_allclose(found, wanted, **SAME)


def test_tables_name_them(cells):
    """A summary is statsmodels' to the byte; regtable and compare say what they show."""
    res = bh.ols("y ~ x + I(2 * x) + b", cells).fit()
    for table in (bh.regtable(res), bh.compare(res, ["HC1"])):
        assert "Not identified, as columns are collinear: x, I(2 * x) (minimum norm)." in str(table)
    assert "Not identified" not in str(bh.regtable(bh.ols("y ~ x + b", cells).fit()))
    assert "Not identified" not in str(bh.regtable(bh.ols("y ~ x + I(2 * x) + b", cells).fit(rank="drop")))
