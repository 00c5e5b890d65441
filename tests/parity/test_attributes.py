"""Every attribute of a least squares fit, on hard and easy designs, against live statsmodels."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

# As in conftest.py.
RELATIVE = 1e-9
# The pseudoinverse has a relative error of about u * condition, u = 1.1e-16; a factor of 10 for n and k. It is
# statsmodels' error: `test_scales_of_columns_do_not_matter` holds betahat to 1e-9 on the same design.
UNIT_ROUNDOFF = 1.1e-16
PSEUDOINVERSE = 10 * UNIT_ROUNDOFF
# A power of two changes exponents only, so the two sides do the same arithmetic up to the solver's own.
SCALES = 2.0 ** np.array([0, -20, 20, 7])

COVARIANCES = {
    "nonrobust": {},
    "HC0": {},
    "HC1": {},
    "HC2": {},
    "HC3": {},
    "fixed scale": {},
    "fixed scale 2.5": {"scale": 2.5},
}
OF_THE_FIXED_SCALE = ("scale", "resid_pearson")
HC = ("HC0", "HC1", "HC2", "HC3")


@dataclass(frozen=True, eq=False)
class Case:
    """One problem: data for betahat, and the float64 twin that statsmodels gets."""

    endog: object
    exog: object
    weights: object = None
    hasconst: bool | None = None
    collinear: bool = False
    tolerance: float = RELATIVE
    twin: tuple = field(default=())

    def fit(self, package, **options):
        endog, exog = self.twin if self.twin and package is sm else (self.endog, self.exog)
        extra = {} if self.hasconst is None else {"hasconst": self.hasconst}
        if self.weights is None:
            return package.OLS(endog, exog, **extra).fit(**options)
        return package.WLS(endog, exog, weights=self.weights, **extra).fit(**options)


def _designs():
    rng = np.random.default_rng(20240611)
    n = 60
    raw = rng.normal(size=(n, 3))
    x = sm.add_constant(raw)
    noise = rng.normal(size=n) * (1 + np.abs(raw[:, 0]))
    y = x @ [1.0, 2.0, -1.0, 0.3] + noise
    dummies = np.eye(4)[rng.integers(0, 4, n)]
    flags = (raw > 0).astype(float)
    whole = rng.integers(-9, 10, size=(n, 3))
    tall = x * 10.0 ** np.array([0, -6, 6, 2])
    w = rng.uniform(0.1, 5.0, n)
    wild = 1e8 ** rng.choice([-1.0, 1.0], n)
    single = np.float32
    many = 60_000
    long = sm.add_constant(rng.normal(size=(many, 4)) @ (np.eye(4) + 0.3 * rng.normal(size=(4, 4))))
    target = long @ [1.0, -1, 0.5, 0, 2] + rng.normal(size=many) * (1 + np.abs(long[:, 1]))
    near = np.column_stack([long, long[:, 1] + 1e-3 * rng.normal(size=many)])
    yield "constant", Case(y, x)
    yield "constant last and not one", Case(y, np.column_stack([raw, np.full(n, 5.0)]))
    yield "no constant", Case(y, raw)
    yield "implicit constant", Case(y, np.column_stack([dummies, raw[:, 0]]))
    yield "all dummies", Case(y, dummies)
    yield "badly scaled", Case(y, tall, tolerance=_of_pseudoinverse(tall))
    yield "tiny endog", Case(y * 2.0**-300, x)
    yield "huge endog", Case(y * 2.0**300, x)
    yield "far from zero", Case(y + 1e4, x)
    yield "single regressor", Case(y, raw[:, 1])
    yield "only a constant", Case(y, np.ones(n))
    yield "one row more than columns", Case(y[:5], x[:5])
    yield "two rows more than columns", Case(y[:6], x[:6])
    yield "duplicated column", Case(y, np.column_stack([x, x[:, 2]]), collinear=True)
    yield "dummy trap", Case(y, np.column_stack([np.ones(n), dummies, raw]), collinear=True)
    yield "sum of columns", Case(y, np.column_stack([x, raw.sum(1)]), collinear=True)
    yield "zero column", Case(y, np.column_stack([x, np.zeros(n)]), collinear=True)
    yield "hasconst True with one", Case(y, x, hasconst=True)
    yield "hasconst True without", Case(y, raw, hasconst=True)
    yield "hasconst False with one", Case(y, x, hasconst=False)
    yield "hasconst False implicit", Case(y, dummies, hasconst=False)
    yield "weights", Case(y, x, w)
    yield "weights, no constant", Case(y, raw, rng.exponential(size=n))
    yield "weights, implicit constant", Case(y, dummies, rng.exponential(size=n))
    yield "weights, one number", Case(y, x, 3.0)
    yield "weights of 1e8 and 1e-8", Case(y, x, wild, tolerance=_of_pseudoinverse(x * np.sqrt(wild)[:, None]))
    narrow = (y.astype(single), x.astype(single))
    yield "float32", Case(*narrow, twin=(narrow[0].astype(float), narrow[1].astype(float)))
    yield "integers", Case(np.round(5 * y).astype(int), sm.add_constant(whole).astype(int))
    yield "booleans", Case(y, sm.add_constant(flags) > 0, twin=(y, sm.add_constant(flags)))
    yield "large", Case(target, long)
    yield "large, weights", Case(target, long, rng.exponential(size=many))
    yield "large, nearly collinear", Case(target, near, tolerance=_of_pseudoinverse(near))
    yield "large, duplicated column", Case(target, np.column_stack([long, long[:, 2]]), collinear=True)
    yield "boolean endog", Case(y > 0, x, twin=((y > 0).astype(float), x))


def _of_pseudoinverse(x):
    return max(RELATIVE, PSEUDOINVERSE * np.linalg.cond(x))


DESIGNS = dict(_designs())


def _units(r):
    """Name each attribute with the size that its rounding error is relative to, from statsmodels' results."""
    bse, params, t = map(np.asarray, (r.bse, r.params, r.tvalues))
    tss = r.centered_tss if r.k_constant else r.uncentered_tss
    values = np.asarray(r.eigenvals)
    df_model = max(r.df_model, 1.0)
    # The relative condition of a tail in its statistic: z^2 for the normal distribution, at most df for t.
    steepness = 1 + (np.minimum(t**2, r.df_resid) if r.use_t else t**2)
    return {
        "params": np.maximum(abs(params), bse),
        "bse": bse,
        "tvalues": np.maximum(abs(t), 1.0),
        "pvalues": np.asarray(r.pvalues) * steepness,
        "normalized_cov_params": _outer(np.asarray(r.normalized_cov_params)),
        # A residual is a difference of numbers as large as the largest of its kind.
        "resid": np.max(abs(r.resid)),
        "wresid": np.max(abs(r.wresid)),
        "resid_pearson": np.max(abs(r.resid_pearson)),
        "fittedvalues": np.max(abs(r.fittedvalues)),
        "scale": r.scale,
        "ssr": r.ssr,
        "mse_resid": r.mse_resid,
        "centered_tss": r.centered_tss,
        "uncentered_tss": r.uncentered_tss,
        "mse_total": r.mse_total,
        # Differences of a total and a residual sum of squares.
        "ess": tss,
        "mse_model": tss / df_model,
        "rsquared": 1.0,
        "rsquared_adj": max(1.0, abs(r.rsquared_adj)),
        "fvalue": max(r.fvalue, 1.0) if r.fvalue == r.fvalue else 1.0,
        "f_pvalue": r.f_pvalue * (1 + min(df_model * abs(r.fvalue), r.df_resid)),
        # A logarithm; its absolute error is that of its argument, times n / 2.
        "llf": max(abs(r.llf), r.nobs),
        "aic": max(abs(r.aic), r.nobs),
        "bic": max(abs(r.bic), r.nobs),
        # Singular values have an absolute error of u times the largest.
        "eigenvals": np.sqrt(abs(values) * values[0]),
    }


def _outer(matrix):
    """A covariance's rounding error is relative to the two standard errors of an entry."""
    size = np.sqrt(np.abs(np.diag(matrix)))
    return np.outer(size, size)


def _options(cov_type, use_t):
    return {"cov_type": cov_type.removesuffix(" 2.5"), "cov_kwds": dict(COVARIANCES[cov_type]), "use_t": use_t}


@cache
def _pair(design, cov_type, use_t, quiet):
    case = DESIGNS[design]
    theirs = quiet(case.fit, sm, **_options(cov_type, use_t))
    if not case.collinear:
        return case.fit(bh, **_options(cov_type, use_t)), theirs
    with pytest.warns(bh.CollinearityWarning):
        return case.fit(bh, **_options(cov_type, use_t)), theirs


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("design", DESIGNS)
def test_attributes(design, cov_type, close, quiet):
    _compare(design, cov_type, None, close, quiet)


@pytest.mark.parametrize("use_t", [True, False])
@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("design", ["constant", "duplicated column", "weights"])
def test_attributes_with_use_t(design, cov_type, use_t, close, quiet):
    _compare(design, cov_type, use_t, close, quiet)


def _compare(design, cov_type, use_t, close, quiet):
    mine, theirs = _pair(design, cov_type, use_t, quiet)
    tolerance = DESIGNS[design].tolerance
    for name, unit in quiet(_units, theirs).items():
        if name in OF_THE_FIXED_SCALE and cov_type.startswith("fixed"):
            continue  # test_fixed_scale
        if name in ("fvalue", "f_pvalue") and cov_type != "nonrobust" and design == "badly scaled":
            continue  # test_wald_f_of_badly_scaled_columns
        close(getattr(mine, name), quiet(getattr, theirs, name), unit, tolerance=tolerance, label=name)
    for name in ("nobs", "df_resid", "df_model", "k_constant", "use_t", "cov_type"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert mine.cov_kwds["description"] == theirs.cov_kwds["description"]
    cov = quiet(theirs.cov_params)
    close(mine.cov_params(), cov, _outer(cov), tolerance=tolerance, label="cov_params")
    for alpha in (0.05, 0.2):
        reach = np.maximum(abs(theirs.params), theirs.bse)[:, None] * 3
        close(mine.conf_int(alpha), theirs.conf_int(alpha), reach, tolerance=tolerance, label=f"conf_int({alpha})")
    for criterion in ("aic", "bic", "aicc", "hqic"):
        for extra in (0, 1):
            value = quiet(theirs.info_criteria, criterion, extra)
            size = max(abs(value), theirs.nobs)
            close(mine.info_criteria(criterion, extra), value, size, tolerance=tolerance, label=criterion)


@pytest.mark.parametrize("name", OF_THE_FIXED_SCALE)
@pytest.mark.parametrize("cov_type", ["fixed scale", "fixed scale 2.5"])
@pytest.mark.parametrize("design", ["constant", "weights"])
def test_fixed_scale(design, cov_type, name, close, quiet):
    mine, theirs = _pair(design, cov_type, None, quiet)
    close(getattr(mine, name), getattr(theirs, name), _units(theirs)[name])


@pytest.mark.parametrize("cov_type", HC)
@pytest.mark.parametrize("design", DESIGNS)
def test_robust_attributes_of_a_classical_fit(design, cov_type, close, quiet):
    mine, theirs = _pair(design, "nonrobust", None, quiet)
    tolerance = DESIGNS[design].tolerance
    cov = quiet(getattr, theirs, f"cov_{cov_type}")
    close(getattr(mine, f"cov_{cov_type}"), cov, _outer(cov), tolerance=tolerance)
    close(getattr(mine, f"{cov_type}_se"), quiet(getattr, theirs, f"{cov_type}_se"), tolerance=tolerance)


@pytest.mark.parametrize("design", [name for name, case in DESIGNS.items() if not case.collinear])
def test_condition_number(design, close, quiet):
    mine, theirs = _pair(design, "nonrobust", None, quiet)
    close(mine.condition_number, theirs.condition_number, tolerance=DESIGNS[design].tolerance)


@pytest.mark.parametrize("design", [name for name, case in DESIGNS.items() if case.collinear])
def test_singular_design(design, quiet):
    """The smallest eigenvalue is rounding error, and a summary prints it: it must be statsmodels' own."""
    mine, theirs = _pair(design, "nonrobust", None, quiet)
    assert mine.condition_number == theirs.condition_number
    np.testing.assert_array_equal(mine.eigenvals, theirs.eigenvals)


@pytest.mark.parametrize(
    ("design", "route"),
    [("large", "gram"), ("large, weights", "gram"), ("large, nearly collinear", "tsqr"), ("constant", "tsqr")],
)
def test_the_matrix_covers_both_routes(design, route, quiet):
    assert _pair(design, "nonrobust", None, quiet)[0].fit.route.startswith(route)


@pytest.mark.parametrize("kind", ["numpy", "pandas"])
@pytest.mark.parametrize("weighted", [False, True])
def test_attributes_of_the_model(weighted, kind, close):
    y, x, w = _containers(kind)
    mine, theirs = (package.WLS(y, x, w) if weighted else package.OLS(y, x) for package in (bh, sm))
    for name in ("endog", "exog", "weights"):
        close(getattr(mine, name), getattr(theirs, name), label=name)
    assert list(mine.exog_names) == list(theirs.exog_names)
    for name in ("endog_names", "nobs"):
        assert getattr(mine, name) == getattr(theirs, name), name


@pytest.mark.parametrize("cov_type", COVARIANCES)
def test_scales_of_columns_do_not_matter(cov_type, close):
    """What statsmodels says of a well-scaled design holds, to full accuracy, for the badly scaled one."""
    case = DESIGNS["constant"]
    mine = bh.OLS(case.endog, case.exog * SCALES).fit(**_options(cov_type, None))
    theirs = case.fit(sm, **_options(cov_type, None))
    units = _units(theirs)
    for name in ("params", "bse"):
        close(getattr(mine, name) * SCALES, getattr(theirs, name), units[name], label=name)
    for name in ("tvalues", "pvalues", "resid", "ssr", "rsquared", "fvalue", "f_pvalue", "llf"):
        close(getattr(mine, name), getattr(theirs, name), units[name], label=name)
    cov = theirs.cov_params()
    close(mine.cov_params() * np.outer(SCALES, SCALES), cov, _outer(cov))


@pytest.mark.parametrize("cov_type", HC)
def test_wald_f_of_badly_scaled_columns(cov_type, close, quiet):
    """Intended difference: statsmodels inverts the covariance with a cutoff that loses its small variances.

    betahat scales it to a correlation matrix first, and so the units of a column do not change F.
    """
    mine, theirs = _pair("badly scaled", cov_type, None, quiet)
    _, rescaled = _pair("constant", cov_type, None, quiet)
    close(mine.fvalue, rescaled.fvalue)
    assert abs(quiet(getattr, theirs, "fvalue") / rescaled.fvalue - 1) > 0.1


@pytest.mark.parametrize("design", [name for name, case in DESIGNS.items() if case.collinear])
def test_both_warn_of_collinear_columns(design):
    case = DESIGNS[design]
    with pytest.warns(UserWarning, match="rank-deficient"):
        case.fit(sm)
    with pytest.warns(bh.CollinearityWarning, match="depend"):
        case.fit(bh)


@pytest.mark.parametrize("cov_type", HC)
def test_switching_takes_normal_inference(cov_type, close):
    """Intended difference: statsmodels' `get_robustcov_results` keeps t, its `fit(cov_type=)` does not.

    betahat gives the same inference by every route.
    """
    case = DESIGNS["constant"]
    start = case.fit(sm)
    kept, fitted = start.get_robustcov_results(cov_type), case.fit(sm, cov_type=cov_type)
    mine = case.fit(bh).get_robustcov_results(cov_type)
    assert kept.use_t
    assert not mine.use_t
    close(mine.pvalues, fitted.pvalues, _units(fitted)["pvalues"])
    assert (np.abs(mine.pvalues - kept.pvalues) > 1e-6 * kept.pvalues).all()
    with_t = case.fit(bh).get_robustcov_results(cov_type, use_t=True)
    close(with_t.pvalues, kept.pvalues, _units(kept)["pvalues"])


def test_cov_params_options(close):
    case = DESIGNS["constant"]
    mine, theirs = case.fit(bh), case.fit(sm)
    matrix = np.array([[1.0, 1, 0, 0], [0, 1, -1, 0]])
    other = np.array([[0.0, 0, 0, 1]])
    given = np.diag([1.0, 2, 3, 4])
    calls = [
        {"r_matrix": matrix},
        {"r_matrix": matrix, "other": other},
        {"r_matrix": matrix[0]},
        {"column": 2},
        {"column": [0, 3]},
        {"scale": 3.0},
        {"cov_p": given},
        {"cov_p": given, "r_matrix": matrix},
    ]
    for call in calls:
        wanted = theirs.cov_params(**call)
        close(mine.cov_params(**call), wanted, np.max(np.abs(wanted)), label=str(call))


PARAMETER_VECTORS = ("params", "bse", "tvalues", "pvalues", *(f"{name}_se" for name in HC))
PARAMETER_MATRICES = ("normalized_cov_params", *(f"cov_{name}" for name in HC))
ROW_VECTORS = ("resid", "wresid", "fittedvalues", "resid_pearson")
# statsmodels hands these out bare; betahat labels whatever a dataframe went into.
BARE_IN_STATSMODELS = (*(f"cov_{name}" for name in HC), "resid_pearson")
ARRAYS = (*PARAMETER_VECTORS, *PARAMETER_MATRICES, *ROW_VECTORS, "eigenvals")
SCALARS = (
    *("llf", "aic", "bic", "rsquared", "rsquared_adj", "fvalue", "f_pvalue", "ess", "ssr", "centered_tss"),
    *("uncentered_tss", "mse_model", "mse_resid", "mse_total", "scale", "nobs", "df_resid", "df_model"),
    "condition_number",
)


def _containers(kind, columns=("one", "two", "three", "four")):
    """The constant design, in a container; with weights."""
    case = DESIGNS["weights"]
    y, x, w = case.endog, case.exog, case.weights
    if kind == "numpy":
        return y, x, w
    if kind == "tensor":
        return tuple(map(torch.tensor, (y, x, w)))
    if kind == "polars":
        return pl.Series("target", y), pl.DataFrame(dict(zip(columns, x.T, strict=True))), pl.Series("w", w)
    if kind == "pyarrow":
        frame = pa.table(dict(zip(columns, x.T, strict=True)))
        return pa.table({"target": y}), frame, pa.chunked_array([w])
    index = pd.Index(range(100, 100 + len(y)), name="row") if kind == "pandas" else None
    return pd.Series(y, index, name="target"), pd.DataFrame(x, index, columns), pd.Series(w, index)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_arrays_in_arrays_out(cov_type):
    y, x, w = _containers("numpy")
    mine, theirs = bh.WLS(y, x, w).fit(cov_type=cov_type), sm.WLS(y, x, w).fit(cov_type=cov_type)
    for name in ARRAYS:
        assert type(getattr(mine, name)) is type(getattr(theirs, name)) is np.ndarray, name
        assert getattr(mine, name).dtype == getattr(theirs, name).dtype, name
    for values in (mine.conf_int(), mine.cov_params(), mine.predict(), mine.predict(x)):
        assert type(values) is np.ndarray
    for name in SCALARS:
        assert isinstance(getattr(mine, name), float), name


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_tensors_in_tensors_out(cov_type):
    y, x, w = _containers("tensor")
    mine, bare = bh.WLS(y, x, w).fit(cov_type=cov_type), bh.WLS(*_containers("numpy")).fit(cov_type)
    for name in ARRAYS:
        assert isinstance(getattr(mine, name), torch.Tensor), name
        assert torch.equal(getattr(mine, name), torch.from_numpy(getattr(bare, name).copy())), name
    for values in (mine.conf_int(), mine.cov_params(), mine.predict(), mine.predict(x)):
        assert isinstance(values, torch.Tensor)
    for name in SCALARS:
        assert isinstance(getattr(mine, name), float), name
        assert getattr(mine, name) == getattr(bare, name), name


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_pandas_labels(cov_type):
    y, x, w = _containers("pandas")
    mine, theirs = bh.WLS(y, x, w).fit(cov_type=cov_type), sm.WLS(y, x, w).fit(cov_type=cov_type)
    bare = bh.WLS(*_containers("numpy")).fit(cov_type)
    for name in ARRAYS:
        got, wanted = getattr(mine, name), getattr(theirs, name)
        np.testing.assert_array_equal(got, getattr(bare, name), err_msg=name)
        if name not in BARE_IN_STATSMODELS:
            _assert_same_labels(got, wanted, name)
    _assert_same_labels(mine.conf_int(), theirs.conf_int(), "conf_int")
    _assert_same_labels(mine.cov_params(), theirs.cov_params(), "cov_params")
    _assert_same_labels(mine.predict(x[:7]), theirs.predict(x[:7]), "predict")
    for name in BARE_IN_STATSMODELS:
        like = mine.params if name.startswith("cov") else mine.resid
        pd.testing.assert_index_equal(getattr(mine, name).index, like.index)
    for package, results in ((bh, mine), (sm, theirs)):
        assert list(results.model.exog_names) == ["one", "two", "three", "four"], package
        assert results.model.endog_names == "target"


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-31", periods=60, freq="ME"),
        pd.MultiIndex.from_product([range(30), ["a", "b"]], names=["firm", "year"]),
        pd.Index([0] * 60),
    ],
    ids=["dates", "two levels", "repeated"],
)
def test_row_labels_of_any_kind(index):
    case = DESIGNS["constant"]
    y, x = pd.Series(case.endog, index, name="y"), pd.DataFrame(case.exog, index, list("abcd"))
    mine, theirs = bh.OLS(y, x).fit(), sm.OLS(y, x).fit()
    for name in ("resid", "fittedvalues", "wresid"):
        _assert_same_labels(getattr(mine, name), getattr(theirs, name), name)


@pytest.mark.parametrize("name", [None, "", "target", 7], ids=repr)
def test_name_of_endog(name):
    case = DESIGNS["constant"]
    y, x = pd.Series(case.endog, name=name), pd.DataFrame(case.exog, columns=list("abcd"))
    assert bh.OLS(y, x).endog_names == str(sm.OLS(y, x).endog_names)


def test_integer_column_labels():
    case = DESIGNS["constant"]
    x = pd.DataFrame(case.exog)
    mine, theirs = bh.OLS(case.endog, x).fit(), sm.OLS(case.endog, x).fit()
    """Intended difference: betahat's names are text, so that restrictions can be written with them."""
    assert list(mine.params.index) == [str(label) for label in theirs.params.index]


@pytest.mark.parametrize("which", ["endog", "exog"])
def test_only_one_of_the_two_is_labelled(which):
    y, x, _ = _containers("pandas")
    y, x = (y, x.to_numpy()) if which == "endog" else (y.to_numpy(), x)
    mine, theirs = bh.OLS(y, x).fit(), sm.OLS(y, x).fit()
    for name in ("params", "resid", "normalized_cov_params"):
        _assert_same_labels(getattr(mine, name), getattr(theirs, name), name)


def test_names_of_unnamed_columns():
    """ "const" is a column that does not vary, wherever it stands, and counts as a place."""
    case = DESIGNS["constant"]
    for order in ([0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 3, 0], [1, 2, 3]):
        x = case.exog[:, order]
        assert list(bh.OLS(case.endog, x).exog_names) == list(sm.OLS(case.endog, x).exog_names)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_other_frames_are_as_pandas(kind, cov_type):
    mine, pandas = (bh.WLS(*_containers(name)).fit(cov_type) for name in (kind, "pandas without index"))
    for name in ARRAYS:
        got, wanted = getattr(mine, name), getattr(pandas, name)
        assert type(got) is type(wanted), name
        check = {pd.Series: pd.testing.assert_series_equal, pd.DataFrame: pd.testing.assert_frame_equal}
        check.get(type(got), np.testing.assert_array_equal)(got, wanted)
    pd.testing.assert_frame_equal(mine.conf_int(), pandas.conf_int())
    assert mine.model.endog_names == "target"
    assert mine.summary().as_text() == pandas.summary().as_text()


def _assert_same_labels(mine, theirs, label):
    assert type(mine) is type(theirs), label
    if isinstance(theirs, np.ndarray):
        return
    pd.testing.assert_index_equal(mine.index, theirs.index, obj=label)
    if isinstance(theirs, pd.DataFrame):
        pd.testing.assert_index_equal(mine.columns, theirs.columns, exact="equiv", obj=label)
    else:
        assert mine.name == theirs.name, label
