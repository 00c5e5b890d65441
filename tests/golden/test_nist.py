"""NIST's eleven linear regression sets: as many digits as a Householder QR, by the default path.

``python tests/golden/test_nist.py`` prints the table of digits that the tests judge.
"""

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import linalg

import betahat as bh

# Rounding is luck of up to half a digit in one order of the rows, so medians over orders are compared; a
# median of 21 still differs from that of 201 by up to this much (Norris, residual_sd: 13.74 and 13.92 digits).
ORDERS, LUCK = 21, 0.2
# NIST prints 15 digits, and doubles hold the data to 16: what agrees in 14 is right.
ENOUGH = 14.0
# Fixed marks, of the rows in NIST's order. Longley: Householder's method has 10.9 digits of the coefficients
# and 12.5 of the rest; refined by exact products all of them are right, but for their last rounding.
# Filip: rounding its powers of x to doubles leaves 7.6 digits (README), and 0.3 go to luck.
LONGLEY = {"coef": 13.5, "sd": 13.5, "residual_sd": 13.5, "r_squared": 14.0, "f_statistic": 13.5}
FILIP = {"coef": 7.3, "sd": 7.3, "residual_sd": 7.8, "r_squared": 10.0, "f_statistic": 7.5}

nist = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("nist.py"))))
SETS = {record["name"]: record for record in nist.load()}
QUANTITIES = ("coef", "sd", "residual_sd", "r_squared", "f_statistic")


def _data(name):
    record = SETS[name]
    return np.array(nist.design(record, float)), np.array(record["y"], dtype=float)


def by_betahat(x, y, intercept):
    return _read(bh.OLS(y, x).fit())


def by_statsmodels(x, y, intercept):
    return _read(sm.OLS(y, x).fit())


def by_householder(x, y, intercept):
    """LAPACK's QR of columns of unit length, and the residuals y - Xb."""
    n, k = x.shape
    length = np.linalg.norm(x, axis=0)
    q, r = np.linalg.qr(x / length)
    coef = linalg.solve_triangular(r, q.T @ y) / length
    residual = ((y - x @ coef) ** 2).sum()
    total = ((y - y.mean() * intercept) ** 2).sum()
    variance = residual / (n - k)
    inverse = linalg.solve_triangular(r, np.eye(k)) / length[:, None]
    return {
        "coef": coef,
        "sd": np.sqrt(variance * (inverse**2).sum(1)),
        "residual_sd": np.sqrt(variance),
        "r_squared": 1 - residual / total,
        "f_statistic": (total - residual) / (k - intercept) / variance,
    }


def _read(res):
    return {
        "coef": np.asarray(res.params),
        "sd": np.asarray(res.bse),
        "residual_sd": res.scale**0.5,
        "r_squared": res.rsquared,
        "f_statistic": res.fvalue,
    }


def digits(name, found, quantity):
    """Return the correct digits of the worst element: -log10 of its relative error, at most 15.

    A certified zero is compared by the size of the coefficient, or of the response.
    """
    certified = SETS[name]["certified"]
    true = np.array(certified[quantity], dtype=float, ndmin=1)
    sizes = {"sd": certified["coef"], "residual_sd": [max(abs(v) for v in SETS[name]["y"])]}
    size = np.where(true == 0, np.array(sizes.get(quantity, [1.0]), dtype=float), np.abs(true))
    error = np.abs(np.array(found[quantity], dtype=float, ndmin=1) - true) / size
    return float(-np.log10(error.max().clip(1e-15)))


def _median_digits(name, solver, quantity_list):
    x, y = _data(name)
    rng = np.random.default_rng(20)
    orders = [np.arange(len(y)), *(rng.permutation(len(y)) for _ in range(ORDERS - 1))]
    found = [solver(x[order], y[order], bool(SETS[name]["intercept"])) for order in orders]
    return {quantity: float(np.median([digits(name, f, quantity) for f in found])) for quantity in quantity_list}


def _defined(name):
    """Wampler1 and Wampler2 are exact fits, whose F is infinite."""
    return [quantity for quantity in QUANTITIES if SETS[name]["certified"][quantity] is not None]


def _limits(name, quantity_list):
    """What doubles leave of the problem: the digits of its exact solution once the design is rounded."""
    exact = nist.design_as_doubles(SETS[name])
    return {quantity: digits(name, exact, quantity) for quantity in quantity_list}


def test_all_sets_are_there():
    assert list(SETS) == [
        "Norris",
        "Pontius",
        "NoInt1",
        "NoInt2",
        "Filip",
        "Longley",
        "Wampler1",
        "Wampler2",
        "Wampler3",
        "Wampler4",
        "Wampler5",
    ]
    assert [name for name in SETS if "f_statistic" not in _defined(name)] == ["Wampler1", "Wampler2"]


@pytest.mark.filterwarnings("ignore:The residuals are zero")  # Wampler1 and Wampler2
@pytest.mark.parametrize("name", SETS)
def test_as_many_digits_as_householder(name):
    quantities = _defined(name)
    found, wanted = (_median_digits(name, solver, quantities) for solver in (by_betahat, by_householder))
    limits = _limits(name, quantities)
    short = {
        quantity: f"{found[quantity]:.1f} digits, Householder {wanted[quantity]:.1f}"
        for quantity in quantities
        if found[quantity] < min(wanted[quantity], limits[quantity], ENOUGH) - LUCK
    }
    assert not short


@pytest.mark.filterwarnings("ignore:The residuals are zero")  # Wampler1 and Wampler2
@pytest.mark.parametrize("name", SETS)
def test_degrees_of_freedom_and_rank(name):
    x, y = _data(name)
    res = bh.OLS(y, x).fit()
    assert res.df_resid == SETS[name]["certified"]["df_residual"]
    assert res.fit.rank == x.shape[1]
    assert res.k_constant == int(SETS[name]["intercept"])


@pytest.mark.parametrize("quantity", LONGLEY)
def test_longley(quantity):
    assert digits("Longley", by_betahat(*_data("Longley"), True), quantity) >= LONGLEY[quantity]


@pytest.mark.parametrize("quantity", FILIP)
def test_filip(quantity):
    assert digits("Filip", by_betahat(*_data("Filip"), True), quantity) >= FILIP[quantity]


def table():
    """Return the table of digits: betahat, Householder and statsmodels, in NIST's order of rows."""
    solvers = (by_betahat, by_householder, by_statsmodels)
    lines = [f"{'set':10s}" + "".join(f"{quantity:>20s}" for quantity in QUANTITIES)]
    for name in SETS:
        x, y = _data(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [solver(x, y, bool(SETS[name]["intercept"])) for solver in solvers]
        cells = [
            " ".join(f"{digits(name, f, quantity):4.1f}" for f in found) if quantity in _defined(name) else "-"
            for quantity in QUANTITIES
        ]
        lines.append(f"{name:10s}" + "".join(f"{cell:>20s}" for cell in cells))
    return "\n".join([*lines, "three numbers: betahat, Householder QR of scaled columns, statsmodels"])


if __name__ == "__main__":
    print(table())
