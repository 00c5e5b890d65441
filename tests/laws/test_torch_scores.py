"""Scores, Hessians and sandwiches of modules against naive loops: one backward pass for each row, Hessians entry by entry."""

from dataclasses import replace

import pytest
import torch
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, ZOO, Holds, normal, zoo
from support.naive_torch import naive_hessian, naive_scores
from torch import nn

import betahat as bh
from betahat.calculus.rows import Bread

# The same sums of products in another order.
ROUNDING = 1e-10
# The optimum is where the decrement is below 1e-24: 1e-12 standard errors, before the rounding of sums.
OPTIMUM = 1e-9

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


@pytest.mark.slow
@zoo
def test_scores_sum_to_zero_at_the_optimum(case, fitted):
    scores = fitted(case).fit.map_rows(lambda rows: rows.scores())
    assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < OPTIMUM


@pytest.mark.slow
@zoo
@pytest.mark.parametrize("shift", [0.0, 0.1], ids=["optimum", "elsewhere"])
def test_scores_are_those_of_one_backward_pass_for_each_row(case, fitted, shift):
    res = fitted(case)
    theta = res.fit.params + shift
    found = replace(res.fit, params=theta).map_rows(lambda rows: rows.scores())
    close_to_largest(found, naive_scores(case, theta, case.target()), ROUNDING)


@zoo
def test_hessian_is_that_of_the_summed_loss(case, fitted):
    res, target = fitted(case), case.target()
    true = naive_hessian(case, res.fit.params, target)
    close_to_largest(res.fit.triangle.mT @ res.fit.triangle, true, ROUNDING)
    elsewhere = res.fit.params + 0.1
    (found,) = res.fit.problem.total(
        lambda rows: (rows.information(Bread.OBSERVED),), replace(res.fit, params=elsewhere).point
    )
    close_to_largest(found, naive_hessian(case, elsewhere, target), ROUNDING)


@zoo
def test_hc0_is_the_sandwich_of_the_loops(case, fitted):
    res, target = fitted(case), case.target()
    scores = naive_scores(case, res.fit.params, target)
    bread = torch.linalg.inv(naive_hessian(case, res.fit.params, target))
    same_covariance(res.cov.matrix, bread @ (scores.mT @ scores) @ bread, 1e-6)


@zoo
def test_diagnostics_say_how(case, fitted):
    found = fitted(case).diagnostics
    assert found.converged
    assert found.decrement < 1e-18
    assert found.rank == len(fitted(case).names)
    assert found.dtype == "torch.float64"
    assert found.bread == "observed"
    assert found.blocks == 1
    assert found.condition >= 1
    assert found.certificate is None or found.certificate < 1e-8
    if "closed form" not in found.derivatives:
        assert case.route in found.derivatives


def test_the_last_rung_is_a_backward_pass_for_each_row():
    """An operation without a forward derivative, in a module that holds its data."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, slope):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * slope

    class Own(Holds):
        def forward(self):
            return Cube.apply(self.x @ self.beta) + self.intercept

    plain = Holds(X2, False)
    with torch.no_grad():
        y = (X2 @ torch.tensor([[1.0], [0.7]]).double()) ** 3 + 1 + 0.1 * normal(60, 1, seed=3)
    res = bh.TorchModel(Own(X2, False), nn.MSELoss(), None, y).fit()
    assert "one backward pass" in res.diagnostics.derivatives

    class Twin(Holds):
        def forward(self):
            return (self.x @ self.beta) ** 3 + self.intercept

    other = bh.TorchModel(Twin(X2, False), nn.MSELoss(), None, y).fit()
    close_to_largest(res.params, other.params, ROUNDING)
    same_covariance(res.cov_params(), other.cov_params(), ROUNDING)
    same_covariance(res.with_cov("HC3").cov_params(), other.with_cov("HC3").cov_params(), ROUNDING)
    assert plain.beta.grad is None


def test_shared_parameters_are_counted_once():
    case = next(c for c in ZOO if c.name == "tied")
    res = case.model().fit()
    assert len(res.names) == 4 + 3
    assert not any("second" in name for name in res.names)
    assert res.df_resid == 36 - 7


def test_many_blocks_give_what_one_gives(monkeypatch):
    case = next(c for c in ZOO if c.name == "mlp")
    one = case.model().fit("HC1")
    monkeypatch.setattr("betahat.models.options._BLOCK", 1)
    monkeypatch.setattr("betahat.models.options.FEWEST_ROWS", 7)
    many = case.model().fit("HC1")
    assert many.diagnostics.blocks == 6
    close_to_largest(many.params, one.params, ROUNDING)
    same_covariance(many.cov_params(), one.cov_params(), 1e-8)


def test_rows_sorted_by_their_regime():
    """The first rows are linear in the parameter, and the others are not."""

    class Kink(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return torch.where(x > 0, torch.exp(self.slope * x), self.slope * x)

    x = normal(60, seed=1).sort().values
    y = torch.where(x > 0, torch.exp(0.8 * x), 0.8 * x) + normal(60, seed=2)
    one, other = (bh.TorchModel(Kink(), nn.MSELoss(), a, b).fit() for a, b in ((x, y), (x.flip(0), y.flip(0))))
    close_to_largest(one.bse, other.bse, ROUNDING)
