"""Any torch model: a linear module against Logit, n = 1e5 by twenty; and a network of 481 parameters, 20,000 rows."""

import warnings

import pytest
import torch
from torch import nn

import betahat as bh

warnings.simplefilter("ignore", bh.ConvergenceWarning)


@pytest.fixture(scope="module")
def yes():
    """(n, 20) x and (n, 1) y of 0 and 1."""
    torch.manual_seed(0)
    x = torch.randn(100_000, 20, dtype=torch.float64)
    share = torch.sigmoid(x @ (0.2 * torch.randn(20, 1, dtype=torch.float64)))
    return x, (torch.rand_like(share) < share).double()


@pytest.fixture(scope="module")
def network():
    """A tanh network that was trained with weight decay, its data, and the decay."""
    torch.manual_seed(0)
    x = torch.randn(20_000, 20, dtype=torch.float64)
    truth = nn.Sequential(nn.Linear(20, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    y = (truth(x) + 0.5 * torch.randn(20_000, 1, dtype=torch.float64)).detach()
    net = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    decay = 1e-2
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=800, history_size=30, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        weights = sum(part.square().sum() for part in net.parameters())
        loss = nn.functional.mse_loss(net(x), y) + 0.5 * decay * weights
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y, decay


def test_logit(benchmark, yes):
    x, y = yes
    benchmark.pedantic(lambda: bh.Logit(y, bh.add_constant(x)).fit("HC0").bse, rounds=9, warmup_rounds=2)


def test_linear_module(benchmark, yes):
    x, y = yes
    module = nn.Linear(20, 1)
    benchmark.pedantic(
        lambda: bh.TorchModel(module, nn.BCEWithLogitsLoss(), x, y).fit("HC0").bse, rounds=9, warmup_rounds=2
    )


def test_network(benchmark, network):
    """Hessian, scores and table, at the parameters that training left."""
    net, x, y, decay = network

    def table():
        return str(bh.TorchModel(net, nn.MSELoss(), x, y, penalty=decay).fit("HC0", polish=False).summary())

    benchmark.pedantic(table, rounds=2)
