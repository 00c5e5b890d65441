"""Any torch model: a linear module against Logit, n = 1e5 by twenty; and a network of 481 parameters, 20,000 rows."""

import warnings

import pytest
import torch
from conftest import network_table, trained_network
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


def test_logit(benchmark, yes):
    x, y = yes
    benchmark.pedantic(lambda: bh.Logit(y, bh.add_constant(x)).fit("HC0").bse, rounds=9, warmup_rounds=2)


def test_linear_module(benchmark, yes):
    x, y = yes
    module = nn.Linear(20, 1)
    benchmark.pedantic(
        lambda: bh.TorchModel(module, nn.BCEWithLogitsLoss(), x, y).fit("HC0").bse, rounds=9, warmup_rounds=2
    )


@pytest.fixture(scope="module")
def network():
    return trained_network()


def test_network(benchmark, network):
    """Hessian, scores and table, at the parameters that training left."""
    benchmark.pedantic(lambda: network_table(*network, polish=False), rounds=2)


def test_network_polished(benchmark, network):
    """The same from the optimum."""
    benchmark.pedantic(lambda: network_table(*network, polish=True), rounds=2)
