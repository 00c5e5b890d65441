"""Modules of many parameters, of operations that torch cannot map, and linear ones of many rows."""

import pytest
import torch
from torch import nn

import betahat as bh

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ConvergenceWarning")

WIDTHS = (501, 1501)


def wide_network(parameters, rows):
    """Return a tanh network of so many parameters, which was not trained, and the rows."""
    torch.set_num_threads(1)  # the tensors of a pass are small
    torch.manual_seed(0)
    x = torch.randn(rows, 8, dtype=torch.float64)
    hidden = parameters // 10
    net = nn.Sequential(nn.Linear(8, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
    return net, x, torch.tanh(x[:, :1]) + 0.5 * torch.randn(rows, 1, dtype=torch.float64)


def covariance(net, x, y, bread):
    """Return the standard errors where the network is, which a large penalty makes a place with a Hessian that is positive."""
    return bh.TorchModel(net, nn.MSELoss(), x, y, penalty=10.0).fit("HC0", polish=False, bread=bread).bse


@pytest.mark.parametrize("parameters", WIDTHS)
def test_hessian(benchmark, parameters):
    benchmark.pedantic(lambda: covariance(*wide_network(parameters, 4_000), "observed"), rounds=1)


@pytest.mark.parametrize("parameters", [501, 2001])
def test_gauss_newton(benchmark, parameters):
    benchmark.pedantic(lambda: covariance(*wide_network(parameters, 4_000), "gauss-newton"), rounds=1)


def test_torch_hessian(benchmark):
    """torch's own Hessian, of the same network."""
    net, x, y = wide_network(WIDTHS[0], 4_000)
    shapes = {name: part.shape for name, part in net.named_parameters()}

    def loss(params):
        parts = torch.split(params, [shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return (torch.func.functional_call(net, named, x) - y).square().sum()

    start = nn.utils.parameters_to_vector(net.parameters()).detach()
    benchmark.pedantic(lambda: torch.autograd.functional.hessian(loss, start), rounds=2)


class Softplus(torch.autograd.Function):
    """An operation of one's own, which torch can neither map over rows nor differentiate forward."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return nn.functional.softplus(z)

    @staticmethod
    def backward(ctx, slope):
        (z,) = ctx.saved_tensors
        return slope * torch.sigmoid(z)


@pytest.mark.parametrize("rows", [2_000, 8_000])
def test_own_operation(benchmark, rows):
    """Scores by a backward pass for each row."""
    _, x, y = wide_network(WIDTHS[0], rows)
    beta = torch.zeros(8, dtype=torch.float64)

    def row_loss(beta, x, y):
        return Softplus.apply(x @ beta) - y[:, 0] * (x @ beta) + 0.5 * beta.square().sum()

    benchmark.pedantic(
        lambda: bh.MEstimator(row_loss, {"beta": beta}, {"x": x, "y": y}).fit("HC0", polish=False).bse, rounds=3
    )
