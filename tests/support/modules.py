"""Modules of every kind, each small, with inputs, a target and a loss: what the laws of torch models go through."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=draws(seed), dtype=torch.float64)


def filled(module, seed=0, size=1.0):
    """Fill the parameters by a seeded generator."""
    with torch.no_grad():
        for i, value in enumerate(module.parameters()):
            value.copy_(size * torch.randn(value.shape, generator=draws(seed + i)))
    return module


# the modules


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)

    def forward(self, a, b):
        return self.left(a) + torch.tanh(self.right(b))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.size = nn.Embedding(4, 1), nn.Parameter(torch.ones(1))

    def forward(self, ids):
        return self.size * torch.tanh(self.table(ids).sum(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(1, 1, batch_first=True), nn.Linear(1, 1)
        for name, value in self.cell.named_parameters():
            value.requires_grad_("weight_ih" in name)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.filter, self.head = nn.Conv1d(1, 1, 3), nn.Linear(1, 1)

    def forward(self, x):
        return self.head(torch.tanh(self.filter(x)).mean(2))


class Branches(nn.Module):
    """Python decides in each row: `vmap` cannot follow."""

    def __init__(self):
        super().__init__()
        self.low, self.high, self.power = (nn.Parameter(torch.tensor(v)) for v in (0.5, 1.5, 0.3))

    def forward(self, x):
        rows = []
        for row in x:
            slope = self.high if row[0].item() > 0 else self.low
            rows.append(slope * row[0] + torch.exp(self.power * row[1]))
        return torch.stack(rows)


class Holds(nn.Module):
    """A module with its data, called without arguments."""

    def __init__(self, x, curved):
        super().__init__()
        self.x, self.curved = x, curved
        self.beta, self.intercept = nn.Parameter(torch.full((x.shape[1], 1), 0.5)), nn.Parameter(torch.ones(1))

    def forward(self):
        index = self.x @ self.beta
        return (torch.exp(index) if self.curved else index) + self.intercept


class Squeezed(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x).squeeze()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(2, 1)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Moments(nn.Module):
    """A mean and its variance, for nn.GaussianNLLLoss."""

    def __init__(self, spread):
        super().__init__()
        self.mean, self.spread = nn.Linear(2, 1), (nn.Linear(2, 1) if spread else None)
        self.constant = None if spread else nn.Parameter(torch.zeros(1))

    def forward(self, x):
        mean = self.mean(x)
        log_variance = self.constant.expand(mean.shape) if self.spread is None else self.spread(x)
        return mean, torch.exp(log_variance)


class Padded(nn.Module):
    """Logits with a zero for the first class, as multinomial logit has them."""

    def __init__(self, width, classes):
        super().__init__()
        self.index = nn.Linear(width, classes - 1, bias=False)

    def forward(self, x):
        return F.pad(self.index(x), (1, 0))


class Curve(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


def mlp():
    return nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))


@dataclass(frozen=True, eq=False)
class Case:
    """A module with its inputs, the noise of its target, its loss and what is estimated."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Any
    noise: float = 0.3
    loss: str = "mse"
    params: tuple[str, ...] | None = None
    route: str = "vmap"

    def module(self):
        return filled(self.make(), seed=5)

    def call(self, module, inputs=None):
        inputs = self.inputs if inputs is None else inputs
        double = copy.deepcopy(module).double()
        double_attributes(double)
        if inputs is None:
            return double()
        if isinstance(inputs, dict):
            return double(**inputs)
        return double(*inputs) if isinstance(inputs, tuple) else double(inputs)

    def target(self):
        with torch.no_grad():
            output = self.call(self.module())
        if self.loss == "mse":
            return output + self.noise * normal(*output.shape, seed=9)
        if self.loss == "logit":
            return torch.bernoulli(torch.sigmoid(output), generator=draws(9))
        return torch.multinomial(torch.softmax(output, 1), 1, generator=draws(9))[:, 0]

    def torch_loss(self, reduction="mean"):
        kinds = {"mse": nn.MSELoss, "logit": nn.BCEWithLogitsLoss, "classes": nn.CrossEntropyLoss}
        return kinds[self.loss](reduction=reduction)

    def model(self, **options):
        return bh.TorchModel(
            self.module(), self.torch_loss(), self.inputs, self.target(), params=self.params, **options
        )

    def free(self, module):
        chosen = [name for name, value in module.named_parameters() if value.requires_grad]
        if self.params is not None:
            chosen = [name for name in chosen if any(name.startswith(p.rstrip("*")) for p in self.params)]
        return chosen


def double_attributes(module):
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                setattr(part, name, value.double())


X2, X1 = normal(60, 2, seed=1), normal(60, 1, seed=2)
A2, A1 = X2[:36], X1[:36]
IDS = torch.randint(4, (40, 2), generator=draws(3))
SERIES = normal(36, 3, 1, seed=4)

ZOO = [
    Case("linear", lambda: nn.Linear(2, 1), A2),
    Case("linear logit", lambda: nn.Linear(2, 1), A2, loss="logit"),
    Case("classes", lambda: Padded(2, 3), A2, loss="classes"),
    Case("mlp", mlp, A2, noise=0.1),
    Case("mlp of classes", lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh(), Padded(1, 3)), X2, loss="classes"),
    Case("two inputs", Two, (A2, A1), noise=0.1),
    Case("two named inputs", Two, {"b": A1, "a": A2}, noise=0.1),
    Case("embedding", Tokens, IDS, noise=0.1),
    Case("RNN", lambda: Recurrent(nn.RNN), SERIES, noise=0.01, route=""),
    Case("GRU", lambda: Recurrent(nn.GRU), SERIES, noise=0.01, route="forward"),
    Case("convolution", Convolution, SERIES.mT.contiguous(), noise=0.02),
    Case("branches", Branches, A2, route="forward"),
    Case("holds its data", lambda: Holds(A2.float(), False), None, route="forward"),
    Case("holds its data, curved", lambda: Holds(A2.float(), True), None, route="forward"),
    Case("squeezes", lambda: Squeezed(nn.Linear(2, 1)), A2),
    Case("squeezes, curved", lambda: Squeezed(nn.Linear(2, 1), Curve()), A2, noise=0.05),
    Case("tied", Tied, A2, noise=0.02),
    Case("head alone", mlp, A2, params=("2.*",)),
    Case("first layer alone", mlp, A2, noise=0.1, params=("0.weight", "0.bias")),
]  # fmt: skip
zoo = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ZOO])
