"""Every attribute of a least squares fit, on every design and under every covariance, against live statsmodels."""

from functools import cache

import numpy as np
import pytest
import statsmodels.api as sm
from support.designs import DESIGNS

import betahat as bh

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


def rounding_units(r):
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


def fit_options(cov_type, use_t):
    return {"cov_type": cov_type.removesuffix(" 2.5"), "cov_kwds": dict(COVARIANCES[cov_type]), "use_t": use_t}


@cache
def _pair(design, cov_type, use_t, quiet):
    case = DESIGNS[design]
    theirs = quiet(case.fit, sm, **fit_options(cov_type, use_t))
    if not case.collinear:
        return case.fit(bh, **fit_options(cov_type, use_t)), theirs
    with pytest.warns(bh.CollinearityWarning):
        return case.fit(bh, **fit_options(cov_type, use_t)), theirs


@pytest.mark.slow
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
    for name, unit in quiet(rounding_units, theirs).items():
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
    close(getattr(mine, name), getattr(theirs, name), rounding_units(theirs)[name])


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


@pytest.mark.parametrize("cov_type", COVARIANCES)
def test_scales_of_columns_do_not_matter(cov_type, close):
    """What statsmodels says of a well-scaled design holds, to full accuracy, for the badly scaled one."""
    case = DESIGNS["constant"]
    mine = bh.OLS(case.endog, case.exog * SCALES).fit(**fit_options(cov_type, None))
    theirs = case.fit(sm, **fit_options(cov_type, None))
    units = rounding_units(theirs)
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
    close(mine.pvalues, fitted.pvalues, rounding_units(fitted)["pvalues"])
    assert (np.abs(mine.pvalues - kept.pvalues) > 1e-6 * kept.pvalues).all()
    with_t = case.fit(bh).get_robustcov_results(cov_type, use_t=True)
    close(with_t.pvalues, kept.pvalues, rounding_units(kept)["pvalues"])


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
