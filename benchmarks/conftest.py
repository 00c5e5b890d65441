"""The problems that benchmarks share: float64, two threads, seeded."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh

THREADS = 2


def problem(nobs, width, device="cpu"):
    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    exog = torch.randn(nobs, width, dtype=torch.float64, generator=generator)
    exog[:, 0] = 1.0
    endog = exog.sum(1) + torch.randn(nobs, dtype=torch.float64, generator=generator)
    return endog.to(device), exog.to(device)


def trained_network():
    """Return a tanh network of 481 parameters that was trained with weight decay, 20,000 rows, and the decay."""
    torch.set_num_threads(THREADS)
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


def network_table(net, x, y, decay, polish):
    """Return the summary: Hessian, scores and table."""
    return str(bh.TorchModel(net, nn.MSELoss(), x, y, penalty=decay).fit("HC0", polish=polish).summary())


@pytest.fixture(autouse=True)
def threads():
    """Let each benchmark begin with as many threads, whatever the one before has set."""
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def large():
    return problem(1_000_000, 20)


@pytest.fixture(scope="session")
def small():
    return problem(200, 5)


@pytest.fixture(scope="session")
def frame(large):
    endog, exog = large
    data = pd.DataFrame(np.asarray(exog), columns=[f"x{i}" for i in range(exog.shape[1])])
    return data.assign(y=np.asarray(endog))
