"""Hessians and Jacobians by loops of backward passes, against the plainest loops that give them."""

import pytest
import torch
from torch import nn

import betahat as bh
from betahat.calculus.autodiff import hessian_matrix, row_jacobian
from betahat.models.module import functional
from betahat.objectives.own import Route

# Sums of the same products in another order.
ROUNDING = 1e-12


class _Nowhere(torch.autograd.Function):
    """Says that its input has no gradient."""

    @staticmethod
    def forward(ctx, z):
        return z.clone()

    @staticmethod
    def backward(ctx, slope):
        return None


def _plain_hessian(total, params):
    """Return the second derivatives by torch's `unbind`: P passes, each of which fills P zeros."""
    leaf = params.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
    rows = [torch.autograd.grad(entry, leaf, retain_graph=True)[0] for entry in slope.unbind()]
    matrix = torch.stack(rows)
    return 0.5 * (matrix + matrix.mT)


def _network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 4), nn.SiLU(), nn.Linear(4, 2))
    free = functional(net, None)
    x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64)
    return free.start, lambda theta: (free(theta, (x,)) - y).square().sum()


def _recurrent():
    torch.manual_seed(1)
    free = functional(nn.RNN(2, 3), None)
    free.module.register_forward_hook(lambda _, __, output: output[0])
    x = torch.randn(20, 4, 2, dtype=torch.float64)
    return free.start, lambda theta: free(theta, (x,)).square().sum()


def _function(function):
    generator = torch.Generator().manual_seed(2)
    return lambda: (torch.randn(6, generator=generator, dtype=torch.float64), function)


problems = {
    "network": _network,
    "recurrent": _recurrent,
    "all at once": _function(lambda t: t.square().sum() * t.exp().sum()),
    "slices and all at once": _function(lambda t: t[:3].exp().sum() * t.sum() + t[3:].sin().prod()),
    "a slice used twice": _function(lambda t: t[:3].exp().sum() * t[3:].sin().sum() + t[:3].prod()),
    "slices that overlap": _function(lambda t: (t[:4] * t[2:]).sin().sum() * t[1:5].sum()),
    "steps": _function(lambda t: (t[::2].exp() * t[1::2]).sum()),
    "from the end": _function(lambda t: (t[-2:].exp() * t[:2]).sum() + t[2:4].prod()),
    "single entries": _function(lambda t: t[0] * t[1].exp() * t[5] + t[2:5].square().sum()),
    "a slice whose gradient is cut off": _function(lambda t: _Nowhere.apply(t[:3]).sum() + t[3:].exp().prod()),
    "one slice without curvature": _function(lambda t: t[:3].sum() * t[3:5].exp().sum() + 2.0 * t[5:].sum()),
}


@pytest.mark.parametrize("name", problems)
def test_the_hessian_is_that_of_a_plain_loop(name):
    start, total = problems[name]()
    found, true = hessian_matrix(total, start), _plain_hessian(total, start)
    torch.testing.assert_close(found, true, rtol=ROUNDING, atol=ROUNDING * float(true.abs().max()))
    assert torch.equal(found, found.mT)


def test_of_a_network_the_bits_are_those_of_a_plain_loop():
    start, total = _network()
    assert torch.equal(hessian_matrix(total, start), _plain_hessian(total, start))


@pytest.mark.parametrize(
    "total",
    [lambda t: t.sum() * 2.0, lambda t: t.new_zeros(()), lambda t: t[:2].sum() + t[2:].sum()],
    ids=["linear", "constant", "linear in slices"],
)
def test_the_hessian_of_what_does_not_bend_is_zero(total):
    assert torch.equal(
        hessian_matrix(total, torch.ones(4, dtype=torch.float64)), torch.zeros(4, 4, dtype=torch.float64)
    )


class _Softplus(torch.autograd.Function):
    """Works with neither vmap nor forward mode."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.exp().log1p()

    @staticmethod
    def backward(ctx, slope):
        (z,) = ctx.saved_tensors
        return slope * torch.sigmoid(z)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_backward_pass_for_each_row_goes_through_a_graph_of_few_rows(rows, outputs):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    params = torch.randn(4 * outputs, generator=generator, dtype=torch.float64)
    sizes = []

    def function(theta, columns):
        sizes.append(len(columns[0]))
        return _Softplus.apply(columns[0] @ theta.view(outputs, 4).mT)

    found = row_jacobian(function, params, (x,), Route.BACKWARD)
    slope = torch.sigmoid(x @ params.view(outputs, 4).mT)
    true = torch.zeros(rows, outputs, outputs, 4, dtype=torch.float64)
    true.diagonal(dim1=1, dim2=2).copy_((slope[:, :, None] * x[:, None]).transpose(1, 2))
    torch.testing.assert_close(found, true.flatten(2), rtol=ROUNDING, atol=ROUNDING)
    assert max(sizes) <= 64
    assert sum(sizes) == rows


def test_the_route_of_last_resort_gives_what_the_fastest_does():
    """Several graphs of rows in a block, and several blocks in a fit."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(500, generator=generator, dtype=torch.float64).abs()
    start = {"beta": torch.zeros(2, dtype=torch.float64)}

    def fit(softplus):
        def row_loss(beta, x, y):
            return (y - softplus(x @ beta)).square() + 0.1 * beta.square().sum()

        return bh.MEstimator(row_loss, start, {"x": x, "y": y}).fit("HC0")

    slow, fast = fit(_Softplus.apply), fit(nn.functional.softplus)
    assert "one backward pass for each row" in slow.diagnostics.derivatives
    torch.testing.assert_close(slow.params, fast.params, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(slow.cov_params(), fast.cov_params(), rtol=1e-8, atol=1e-12)
