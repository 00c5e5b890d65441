"""Derivatives through a formula: linear variables exactly, functions by differences, against what calculus says, at bounds, knots and jumps too."""

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import BSpline, CubicSpline

import betahat as bh
from betahat.margins.grid import grid_of

# Differences of fourth order, halved until they agree: 1e-9 of the size of the derivatives is asked for, and reached with room to spare.
CLOSE = 1e-9


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    n = 150
    x = np.concatenate([[0.2, 5.0, 2.5, 1.0], rng.uniform(0.2, 5.0, n - 4)])
    return pd.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=n),
            "whole": rng.integers(1, 9, n),
            "small": x * 1e-7,
            "large": x * 1e9,
            "year": rng.integers(1995, 2021, n),
            "near": np.concatenate([[1e-6, 1e-4], rng.uniform(0.0, 2.0, n - 2)]),
            "y": rng.normal(size=n),
        }
    )


def slopes_of(frame, text, name):
    """Return (n, p) the derivatives of the regressors."""
    res = bh.ols(f"y ~ {text}", frame).fit()
    grid = grid_of(res._subject(None), None, None, None)
    found = np.zeros(grid.exog.shape)
    for place, column in grid.direction(name).items():
        found[:, place] = column.numpy()
    return dict(zip(res.names, found.T, strict=True))


def check(found, expected, close=CLOSE):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=close, atol=close * scale)


@pytest.mark.parametrize(
    ("text", "name", "analytic"),
    [
        ("np.log(x)", "x", lambda d: 1.0 / d.x),
        ("np.sqrt(x)", "x", lambda d: 0.5 / np.sqrt(d.x)),
        ("np.exp(x)", "x", lambda d: np.exp(d.x)),
        ("I(x**2)", "x", lambda d: 2.0 * d.x),
        ("I(x**5)", "x", lambda d: 5.0 * d.x**4),
        ("I(1 / x)", "x", lambda d: -1.0 / d.x**2),
        ("np.sin(6 * x)", "x", lambda d: 6.0 * np.cos(6.0 * d.x)),
        ("np.log(near)", "near", lambda d: 1.0 / d.near),
        ("np.sqrt(near)", "near", lambda d: 0.5 / np.sqrt(d.near)),
        ("np.log(small)", "small", lambda d: 1.0 / d.small),
        ("np.log(large)", "large", lambda d: 1.0 / d.large),
        ("np.exp(large / 1e9)", "large", lambda d: 1e-9 * np.exp(d.large / 1e9)),
        ("I(whole**3)", "whole", lambda d: 3.0 * d.whole**2),
        ("I(year**2)", "year", lambda d: 2.0 * d.year),
        ("np.log(year)", "year", lambda d: 1.0 / d.year),
        ("I((year - 2000)**3)", "year", lambda d: 3.0 * (d.year - 2000.0) ** 2),
        ("center(x)", "x", lambda d: np.ones(len(d))),
        ("scale(x)", "x", lambda d: np.full(len(d), 1.0 / d.x.std())),
        ("np.where(x > 2.5, 2.0 * x, 0.0)", "x", lambda d: np.where(d.x > 2.5, 2.0, 0.0)),
        ("np.where(whole > 4, 1.0, 0.0)", "whole", lambda d: np.zeros(len(d))),
        ("I(np.maximum(x - 1.0, 0.0)**3)", "x", lambda d: 3.0 * np.maximum(d.x - 1.0, 0.0) ** 2),
    ],
)
def test_functions(frame, text, name, analytic):
    found = slopes_of(frame, text, name)
    (column,) = (values for key, values in found.items() if key != "Intercept")
    check(column, np.asarray(analytic(frame), dtype=float))


def test_plain_variables_and_products_are_exact(frame):
    found = slopes_of(frame, "x * z", "x")
    np.testing.assert_array_equal(found["x"], 1.0)
    np.testing.assert_array_equal(found["x:z"], frame.z)
    np.testing.assert_array_equal(found["z"], 0.0)


def test_products_with_functions(frame):
    found = slopes_of(frame, "np.log(x) * z", "x")
    check(found["np.log(x):z"], frame.z / frame.x)


def test_splines_at_bounds_and_knots(frame):
    low, high, knots = frame.x.min(), frame.x.max(), [1.0, 2.5, 4.0]
    found = np.column_stack(list(slopes_of(frame, "0 + bs(x, knots=[1.0, 2.5, 4.0], degree=3)", "x").values()))
    basis = BSpline(np.r_[[low] * 4, knots, [high] * 4], np.eye(7), 3).derivative()(frame.x)[:, 1:]
    check(found, basis)
    found = np.column_stack(list(slopes_of(frame, "0 + cr(x, knots=[1.0, 2.5, 4.0])", "x").values()))
    natural = CubicSpline([low, *knots, high], np.eye(5), bc_type="natural").derivative()(frame.x)
    check(found, natural)


def test_orthogonal_polynomials(frame):
    found = np.column_stack(
        [column for name, column in slopes_of(frame, "poly(x, 3)", "x").items() if name != "Intercept"]
    )
    values = bh.ols("y ~ poly(x, 3)", frame).fit().model.design.exog[:, 1:].numpy()
    for column, slope in zip(values.T, found.T, strict=True):
        check(slope, np.polynomial.Polynomial.fit(frame.x, column, 3).deriv()(frame.x))


def test_rows_of_gaps_have_none(frame):
    res = bh.ols("y ~ np.log(x)", frame).fit()
    rows = frame.head(3).assign(x=[1.0, np.nan, 2.0])
    found = np.asarray(res.slopes("x", newdata=rows).params)
    np.testing.assert_allclose(found[[0, 2]], res.params.iloc[1] / np.array([1.0, 2.0]), rtol=1e-10)
    assert np.isnan(found[1])


def test_dates_are_refused(frame):
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame.whole, unit="D")
    res = bh.ols("y ~ x + day.dt.day", frame.assign(day=day)).fit()
    with pytest.raises(bh.OptionError, match="'day' has dates"):
        res.avg_slopes("day")
    assert len(res.avg_slopes("x").params) == 1


@pytest.mark.parametrize(
    "formula", ["y ~ x + (x > 10)", "y ~ x + C(x > 10)", "y ~ x + pd.cut(x, [-9, 10, 60])", "y ~ C(x > 10)*z + x"]
)
def test_a_number_that_is_cut_into_ranges_stays_a_number(formula):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.integers(0, 30, 300), "z": rng.normal(size=300)})
    frame["y"] = frame.x / 20 + (frame.x > 10) + rng.normal(size=300)
    res = bh.ols(formula, frame).fit()
    with pytest.warns(bh.BetahatWarning, match="leaves out the jumps of"):
        slope = res.avg_slopes("x")
    np.testing.assert_allclose(slope.params, res.params["x"], rtol=1e-9)
    moved = (res.predict(frame.assign(x=frame.x + 2.5)) - res.predict(frame.assign(x=frame.x - 2.5))).mean()
    np.testing.assert_allclose(res.avg_comparisons({"x": 5}).params, moved, rtol=1e-9)


def test_a_number_that_is_a_category_of_its_values_stays_one():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"year": rng.integers(1980, 1984, 200)}).assign(y=rng.normal(size=200))
    assert len(bh.ols("y ~ C(year)", frame).fit().avg_slopes().params) == 3
    assert len(bh.ols("y ~ C(year.astype(str))", frame).fit().avg_slopes().params) == 3
