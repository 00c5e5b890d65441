"""The closed forms of calculus.py against torch's automatic derivatives of the loss as one would write it."""

from dataclasses import replace

import pytest
import torch
from support.closeness import close_to_largest

from betahat.calculus.rows import Bread

# The same sums of products in another order.
ROUNDING = 1e-12

kinds = pytest.mark.parametrize("kind", ["OLS", "WLS"])
points = pytest.mark.parametrize("at_optimum", [True, False], ids=["optimum", "elsewhere"])


def _losses(data, kind):
    weights = data.weights if kind == "WLS" else torch.ones_like(data.y)
    return lambda theta: 0.5 * weights * (data.y - data.x @ theta) ** 2


def _rows(data, kind, at_optimum):
    res = data.model(kind).fit()
    theta = res.params if at_optimum else res.params + torch.linspace(-1, 2, 4, dtype=torch.float64).to(data.x.device)
    seen = []
    replace(res.fit, params=theta).map_rows(lambda rows: seen.append(rows) or rows.y)
    (rows,) = seen
    return res, theta, rows


@kinds
@points
def test_scores(sample, kind, at_optimum):
    data = sample()
    _, theta, rows = _rows(data, kind, at_optimum)
    losses = _losses(data, kind)
    close_to_largest(rows.losses.sum(), losses(theta).sum(), ROUNDING)
    close_to_largest(rows.scores(), -torch.func.jacrev(losses)(theta), ROUNDING)
    leaf = theta.clone().requires_grad_(True)
    losses(leaf).sum().backward()
    # At the optimum the sum is rounding: it is small beside its terms.
    torch.testing.assert_close(
        rows.scores().sum(0), -leaf.grad, rtol=ROUNDING, atol=ROUNDING * float(rows.scores().abs().sum(0).max())
    )


# torch.func.hessian imports a part of torch that says so of another.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@kinds
@points
def test_information(sample, kind, at_optimum):
    data = sample()
    res, theta, rows = _rows(data, kind, at_optimum)
    losses = _losses(data, kind)
    hessian = torch.func.hessian(lambda t: losses(t).sum())(theta)
    close_to_largest(rows.information(Bread.OBSERVED), hessian, ROUNDING)
    close_to_largest(res.fit.sum_rows(lambda rows: rows.information(Bread.OBSERVED)), hessian, ROUNDING)
    close_to_largest(res.fit.triangle.mT @ res.fit.triangle, hessian, ROUNDING)
    close_to_largest(res.fit.bread @ hessian, torch.eye(4, dtype=torch.float64, device=theta.device), ROUNDING)
    assert float(res.fit.loss) == pytest.approx(float(losses(res.params).sum()), rel=ROUNDING)


@kinds
def test_leverage(sample, kind):
    """h is w l'' x' A^-1 x: the derivative of the fitted values, through the whole fit."""
    data = sample()
    res, _, rows = _rows(data, kind, True)
    weights = data.weights if kind == "WLS" else torch.ones_like(data.y)

    def fitted(y):
        return data.x @ torch.linalg.solve(data.x.mT @ (weights[:, None] * data.x), data.x.mT @ (weights * y))

    close_to_largest(rows.leverage, torch.func.jacrev(fitted)(data.y).diagonal(), ROUNDING)
    close_to_largest(res.get_influence().hat_matrix_diag, rows.leverage, ROUNDING)


def test_factor_multiplies_each_row(sample):
    _, _, rows = _rows(sample(), "WLS", False)
    factor = torch.linspace(0, 1, 60, dtype=torch.float64, device=rows.x.device)
    close_to_largest(rows.scores(factor), rows.scores() * factor[:, None], ROUNDING)


def test_rows_know_their_place(sample, cut):
    """Blocks of 1,024 rows start where the last one ended, and OLS has no weights."""
    cut(1, "tsqr")
    starts = []
    fit = sample(n=2500).ols().fit().fit
    fit.map_rows(lambda rows: starts.append((rows.start, len(rows.y), rows.weights)) or rows.y)
    assert starts == [(0, 1024, None), (1024, 1024, None), (2048, 452, None)]
