"""Dependent columns: which are kept, and the solutions, where there are many columns and where there are few."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch

import betahat as bh
from betahat.data.products import gram
from betahat.solvers.least_squares import _tsqr, column_relation, independent_columns, kept_first

pytestmark = pytest.mark.filterwarnings(
    "ignore::betahat.CollinearityWarning", "ignore:The design matrix is rank-deficient"
)
# Two factorisations of the same well-conditioned columns.
SAME = {"rtol": 1e-9, "atol": 1e-11}
MODELS = {
    "OLS": lambda lib, y, x, w: lib.OLS(y, x),
    "WLS": lambda lib, y, x, w: lib.WLS(y, x, weights=w),
    "Logit": lambda lib, y, x, w: lib.Logit((y > 0) * 1.0, x),
    "Poisson": lambda lib, y, x, w: lib.Poisson(np.floor(np.abs(y)), x),
}


def kept_by_a_new_factor_each(triangle):
    """The definition: a QR of the columns kept so far and the next, for each column."""
    norms = torch.linalg.vector_norm(triangle, dim=0)
    kept = []
    for column in range(triangle.shape[1]):
        if len(kept) == len(triangle):
            break
        candidate = torch.linalg.qr(triangle[:, [*kept, column]], mode="r").R
        if bool(candidate[-1, -1].abs() > 1e-12 * norms[column]):
            kept.append(column)
    return tuple(kept)


def awkward(seed):
    """Columns of many sizes of which some are zero, copies, sums, or sums but for 1e-10 to 1e-15 of their length."""
    rng = np.random.default_rng(seed)
    width = int(rng.integers(1, 14))
    x = rng.normal(size=(width + 5 if seed % 5 else max(width - 3, 1), width))
    for column in range(1, width):
        before = x[:, :column]
        match rng.integers(0, 7):
            case 0:
                x[:, column] = 0.0
            case 1:
                x[:, column] = before[:, rng.integers(column)]
            case 2:
                x[:, column] = before @ rng.normal(size=column)
            case 3:
                part = before @ rng.normal(size=column)
                away = rng.normal(size=len(x)) * np.linalg.norm(part) / np.sqrt(len(x))
                x[:, column] = part + away * rng.choice([1e-9, 1e-10, 1e-14, 1e-15])
    return torch.from_numpy(x * 10.0 ** rng.integers(-60, 60, width) if seed % 3 == 0 else x)


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_those_that_a_factor_for_each_column_keeps(first):
    found = dependent = 0
    for seed in range(first, first + 50):
        x = awkward(seed)
        triangle = torch.linalg.qr(x, mode="r").R
        kept = independent_columns(triangle)
        assert kept == kept_by_a_new_factor_each(triangle), seed
        found, dependent = found + 1, dependent + (len(kept) < x.shape[1])
        assert triangle.equal(torch.linalg.qr(x, mode="r").R)  # it is not written on
    assert found == 50
    assert dependent > 25


@pytest.mark.parametrize("seed", range(8))
def test_the_relation_gives_the_dependent_columns(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 12))
    x[:, [4, 7, 11]] = x[:, [0, 1, 2]] @ rng.normal(size=(3, 3))
    triangle = torch.linalg.qr(torch.from_numpy(x), mode="r").R
    kept = independent_columns(triangle)
    assert kept == (0, 1, 2, 3, 5, 6, 8, 9, 10)
    relation = column_relation(kept_first(triangle, kept), kept).numpy()
    np.testing.assert_allclose(x[:, list(kept)] @ relation, x, **SAME)
    assert (relation[3:, [4, 7, 11]] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [420, 2600])
@pytest.mark.parametrize("count", [1, 90])
@pytest.mark.parametrize("model", MODELS)
def test_many_columns(model, count, rows):
    """Three hundred, in one block and in several; the fit of the kept columns alone is the oracle, and statsmodels of least squares."""
    rng = np.random.default_rng(rows + count)
    x = rng.normal(size=(rows, 300))
    x[:, 0] = 1.0
    if rows < 1000 and model in ("Logit", "Poisson"):
        x = x[:, :40]  # rows enough not to be separated
        count = min(count, 12)
    width = x.shape[1]
    dependent = np.sort(rng.choice(np.arange(3, width), count, replace=False))
    for column in dependent:
        x[:, column] = x[:, column - 3 : column] @ [1.0, -1.0, 0.5]
    y = 0.02 * x @ rng.normal(size=width) + 1.5 * rng.normal(size=rows)
    weights = rng.uniform(0.5, 2.0, rows)
    kept = np.setdiff1d(np.arange(width), dependent)
    oracle = MODELS[model](bh, y, x[:, kept], weights).fit(cov_type="HC0")
    drop = MODELS[model](bh, y, x, weights).fit(cov_type="HC0", rank="drop")
    np.testing.assert_allclose(drop.params[kept], oracle.params, **SAME)
    np.testing.assert_allclose(drop.bse[kept], oracle.bse, **SAME)
    assert np.isnan(drop.bse[dependent]).all()
    least = MODELS[model](bh, y, x, weights).fit(cov_type="HC0")
    spread = np.linalg.pinv(np.linalg.lstsq(x[:, kept], x, rcond=None)[0])
    np.testing.assert_allclose(least.params, spread @ oracle.params, **SAME)
    np.testing.assert_allclose(least.cov_params(), spread @ oracle.cov_params() @ spread.T, **SAME)
    if model in ("OLS", "WLS"):
        peer = MODELS[model](sm, y, x, weights).fit()
        np.testing.assert_allclose(least.params, peer.params, **SAME)
        np.testing.assert_allclose(least.with_cov("nonrobust").bse, peer.bse, **SAME)


@pytest.mark.parametrize("width", [40, 300])
def test_one_factor_of_many_blocks(width):
    """R of blocks, of which each has more rows than columns, is R of all rows."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5000, width, dtype=torch.float64, generator=generator) * torch.logspace(-3, 3, width)
    model = bh.OLS(x.sum(1), x)
    found = _tsqr(lambda x, y: x, model.design.source, model.design)
    plain = torch.linalg.qr(x, mode="r").R
    torch.testing.assert_close(
        found.abs() / plain.abs().amax(0), plain.abs() / plain.abs().amax(0), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("rows", [700, 3000])
@pytest.mark.parametrize("width", [255, 256, 300, 513])
def test_products_of_many_columns(rows, width):
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(rows, width, dtype=torch.float64, generator=generator)
    scale, beside = (torch.randn(rows, dtype=torch.float64, generator=generator) for _ in range(2))
    for given, whole in (
        (gram(x), x),
        (gram(x, scale), x * scale[:, None]),
        (gram(x, scale, beside), torch.cat([x * scale[:, None], beside[:, None]], 1)),
    ):
        torch.testing.assert_close(given, whole.mT @ whole, rtol=1e-12, atol=1e-10)
