"""Data for the laws: tensors from a seeded NumPy generator, on every device that is there."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.clustered import MODELS, ORDER

import betahat as bh


@dataclass(frozen=True, eq=False)
class Sample:
    """Heteroskedastic data: (n, k) x with a constant, (n,) y, (n,) weights."""

    x: torch.Tensor
    y: torch.Tensor
    weights: torch.Tensor

    def ols(self):
        return bh.OLS(self.y, self.x)

    def wls(self):
        return bh.WLS(self.y, self.x, weights=self.weights)

    def model(self, kind):
        return {"OLS": self.ols, "WLS": self.wls}[kind]()


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture
def sample(device):
    """Return a function that makes a `Sample` of n rows and k columns."""

    def make(n=60, k=4, seed=0):
        rng = np.random.default_rng(seed)
        x = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1)) * np.arange(1, k)])
        y = x @ np.linspace(-1, 2, k) + rng.normal(size=n) * (0.5 + np.abs(x[:, -1]))
        weights = rng.uniform(0.3, 3.0, size=n)
        return Sample(*(torch.as_tensor(part, device=device) for part in (x, y, weights)))

    return make


@pytest.fixture
def cut(monkeypatch):
    """Return a function that sets the numbers in a block, and sends the fit down one of the two routes."""

    def set_size(budget, route):
        monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", budget)
        monkeypatch.setattr("betahat.data.engine._GPU_BLOCK", budget)
        monkeypatch.setattr("betahat.data.design._SMALL", 0 if route == "gram" else 2**60)

    return set_size


@pytest.fixture(scope="session")
def clustered():
    """Return {model: its fit of the rows of support/clustered.py}, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


@pytest.fixture(scope="module")
def fitted():
    """Each case at its optimum, once."""
    kept = {}

    def get(case):
        if case.name not in kept:
            kept[case.name] = case.model().fit("HC0")
        return kept[case.name]

    return get
