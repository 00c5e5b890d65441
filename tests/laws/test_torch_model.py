"""TorchModel against naive loops: one backward pass for each row, Hessians entry by entry, sandwiches written out."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import betahat as bh
from betahat.calculus.rows import Bread

# The same sums of products in another order.
ROUNDING = 1e-10
# The optimum is where the decrement is below 1e-24: 1e-12 standard errors, before the rounding of sums.
OPTIMUM = 1e-9
# Two parametrizations of one model are solved on their own.
SOLVED = 1e-7

HC = ("HC0", "HC1", "HC2", "HC3")

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _close(found, true, tolerance=ROUNDING):
    true = torch.as_tensor(true)
    torch.testing.assert_close(
        torch.as_tensor(found), true, rtol=tolerance, atol=tolerance * (1e-300 + float(true.abs().max()))
    )


def _same_covariance(found, true, tolerance=ROUNDING):
    """The error of each element over sqrt(v_ii v_jj)."""
    errors = torch.as_tensor(true).diagonal().sqrt()
    assert float(((torch.as_tensor(found) - torch.as_tensor(true)).abs() / errors / errors[:, None]).max()) < tolerance


def _draws(seed=0):
    return torch.Generator().manual_seed(seed)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=_draws(seed), dtype=torch.float64)


def _set(module, seed=0, size=1.0):
    """Fill the parameters by a seeded generator."""
    with torch.no_grad():
        for i, value in enumerate(module.parameters()):
            value.copy_(size * torch.randn(value.shape, generator=_draws(seed + i)))
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


def _mlp():
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
        return _set(self.make(), seed=5)

    def call(self, module, inputs=None):
        inputs = self.inputs if inputs is None else inputs
        double = copy.deepcopy(module).double()
        _double_attributes(double)
        if inputs is None:
            return double()
        if isinstance(inputs, dict):
            return double(**inputs)
        return double(*inputs) if isinstance(inputs, tuple) else double(inputs)

    def target(self):
        with torch.no_grad():
            output = self.call(self.module())
        if self.loss == "mse":
            return output + self.noise * _normal(*output.shape, seed=9)
        if self.loss == "logit":
            return torch.bernoulli(torch.sigmoid(output), generator=_draws(9))
        return torch.multinomial(torch.softmax(output, 1), 1, generator=_draws(9))[:, 0]

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


def _double_attributes(module):
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                setattr(part, name, value.double())


X2, X1 = _normal(60, 2, seed=1), _normal(60, 1, seed=2)
A2, A1 = X2[:36], X1[:36]
IDS = torch.randint(4, (40, 2), generator=_draws(3))
SERIES = _normal(36, 3, 1, seed=4)

ZOO = [
    Case("linear", lambda: nn.Linear(2, 1), A2),
    Case("linear logit", lambda: nn.Linear(2, 1), A2, loss="logit"),
    Case("classes", lambda: Padded(2, 3), A2, loss="classes"),
    Case("mlp", _mlp, A2, noise=0.1),
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
    Case("head alone", _mlp, A2, params=("2.*",)),
    Case("first layer alone", _mlp, A2, noise=0.1, params=("0.weight", "0.bias")),
]  # fmt: skip
zoo = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ZOO])


# the naive way


def naive_losses(case, module, target):
    """Return a list of scalars, the loss of each row: half the squares, or minus the log-probability."""
    rows = len(target)
    kind = {
        "mse": lambda o, t: 0.5 * (o.reshape(-1) - t.reshape(-1)).square().sum(),
        "logit": lambda o, t: F.binary_cross_entropy_with_logits(o.reshape(-1), t.reshape(-1), reduction="sum"),
        "classes": lambda o, t: F.cross_entropy(o.reshape(1, -1), t.reshape(-1), reduction="sum"),
    }[case.loss]
    if case.inputs is None:
        output = module()
        return [kind(output[i], target[i]) for i in range(rows)]
    found = []
    for i in range(rows):
        if isinstance(case.inputs, dict):
            output = module(**{name: value[i : i + 1] for name, value in case.inputs.items()})
        elif isinstance(case.inputs, tuple):
            output = module(*[value[i : i + 1] for value in case.inputs])
        else:
            output = module(case.inputs[i : i + 1])
        found.append(kind(output, target[i]))
    return found


def naive_at(case, theta):
    """Return a double module at a parameter vector, and its free parameters."""
    module = copy.deepcopy(case.module()).double()
    _double_attributes(module)
    free, begin = case.free(module), 0
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name in free:
            size = own[name].numel()
            own[name].copy_(theta[begin : begin + size].view(own[name].shape))
            begin += size
    assert begin == len(theta)
    return module, [own[name] for name in free], free


def naive_scores(case, theta, target):
    """One backward pass for each row."""
    module, leaves, _ = naive_at(case, theta)
    scores = []
    for loss in naive_losses(case, module, target):
        slopes = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        scores.append(
            torch.cat(
                [
                    torch.zeros(v.numel()).double() if s is None else -s.flatten()
                    for s, v in zip(slopes, leaves, strict=True)
                ]
            )
        )
    return torch.stack(scores)


def naive_hessian(case, theta, target):
    module, leaves, names = naive_at(case, theta)
    shapes = [leaf.shape for leaf in leaves]

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self):
            return torch.stack(naive_losses(case, self.module, target)).sum()

    called = Called()

    def total(vector):
        parts, begin = {}, 0
        for name, shape in zip(names, shapes, strict=True):
            parts[f"module.{name}"] = vector[begin : begin + shape.numel()].view(shape)
            begin += shape.numel()
        return functional_call(called, parts, ())

    return torch.autograd.functional.hessian(total, theta)


@pytest.fixture(scope="module")
def fitted():
    """Each case at its optimum, once."""
    kept = {}

    def get(case):
        if case.name not in kept:
            kept[case.name] = case.model().fit("HC0")
        return kept[case.name]

    return get


# 1. derivatives


@zoo
def test_scores_sum_to_zero_at_the_optimum(case, fitted):
    scores = fitted(case).fit.map_rows(lambda rows: rows.scores())
    assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < OPTIMUM


@zoo
@pytest.mark.parametrize("shift", [0.0, 0.1], ids=["optimum", "elsewhere"])
def test_scores_are_those_of_one_backward_pass_for_each_row(case, fitted, shift):
    res = fitted(case)
    theta = res.fit.params + shift
    found = replace(res.fit, params=theta).map_rows(lambda rows: rows.scores())
    _close(found, naive_scores(case, theta, case.target()))


@zoo
def test_hessian_is_that_of_the_summed_loss(case, fitted):
    res, target = fitted(case), case.target()
    true = naive_hessian(case, res.fit.params, target)
    _close(res.fit.triangle.mT @ res.fit.triangle, true)
    elsewhere = res.fit.params + 0.1
    (found,) = res.fit.problem.total(
        lambda rows: (rows.information(Bread.OBSERVED),), replace(res.fit, params=elsewhere).point
    )
    _close(found, naive_hessian(case, elsewhere, target))


@zoo
def test_hc0_is_the_sandwich_of_the_loops(case, fitted):
    res, target = fitted(case), case.target()
    scores = naive_scores(case, res.fit.params, target)
    bread = torch.linalg.inv(naive_hessian(case, res.fit.params, target))
    _same_covariance(res.cov.matrix, bread @ (scores.mT @ scores) @ bread, 1e-6)


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
        y = (X2 @ torch.tensor([[1.0], [0.7]]).double()) ** 3 + 1 + 0.1 * _normal(60, 1, seed=3)
    res = bh.TorchModel(Own(X2, False), nn.MSELoss(), None, y).fit()
    assert "one backward pass" in res.diagnostics.derivatives

    class Twin(Holds):
        def forward(self):
            return (self.x @ self.beta) ** 3 + self.intercept

    other = bh.TorchModel(Twin(X2, False), nn.MSELoss(), None, y).fit()
    _close(res.params, other.params)
    _same_covariance(res.cov_params(), other.cov_params())
    _same_covariance(res.with_cov("HC3").cov_params(), other.with_cov("HC3").cov_params())
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
    _close(many.params, one.params)
    _same_covariance(many.cov_params(), one.cov_params(), 1e-8)


def test_rows_sorted_by_their_regime():
    """The first rows are linear in the parameter, and the others are not."""

    class Kink(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return torch.where(x > 0, torch.exp(self.slope * x), self.slope * x)

    x = _normal(60, seed=1).sort().values
    y = torch.where(x > 0, torch.exp(0.8 * x), 0.8 * x) + _normal(60, seed=2)
    one, other = (bh.TorchModel(Kink(), nn.MSELoss(), a, b).fit() for a, b in ((x, y), (x.flip(0), y.flip(0))))
    _close(one.bse, other.bse)


# the user's module


def _remembered(module):
    return copy.deepcopy(module.state_dict()), [
        (n, v.requires_grad, v.dtype, v.grad, id(v)) for n, v in module.named_parameters()
    ]


@pytest.mark.parametrize("polish", [True, False])
def test_the_module_is_untouched(polish):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.4), nn.Linear(3, 1))
    module[0].bias.requires_grad_(False)
    module.train()
    module[3].eval()
    module(X2.float())  # moves the running statistics
    flags = [part.training for part in module.modules()]
    state, parameters = _remembered(module)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        res = bh.TorchModel(module, nn.MSELoss(), X2.float(), X1.float(), params=["4.*"]).fit("HC1", polish=polish)
        res.summary(), res.predict(), res.get_prediction(), res.get_margeff(), res.delta(lambda p: p["4.bias"])
    now, parameters_now = _remembered(module)
    assert parameters == parameters_now
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(state[name], now[name]) for name in state)
    assert torch.equal(before, torch.get_rng_state())
    notes = str(res.summary())
    assert "BatchNorm is in eval mode" in notes
    assert "Dropout is off" in notes
    assert "Conditioned on the parameters '0.weight', '0.bias', '1.weight', '1.bias'" in notes


def test_update_module_writes_back():
    for dtype in (torch.float32, torch.float64):
        module = _set(_mlp(), 5).to(dtype)
        own = module[0].weight
        target = (0.1 * _normal(60, 1, seed=9) + torch.tanh(X2[:, :1] + 0.5)).to(dtype)
        res = bh.TorchModel(module, nn.MSELoss(), X2.to(dtype), target, params=["0.*", "2.bias"]).fit(
            "HC0", update_module=True
        )
        assert module[0].weight is own
        assert own.dtype == dtype
        for name, value in res.state().items():
            assert torch.equal(dict(module.named_parameters())[name], value.to(dtype))
        assert set(res.state()) == {"0.weight", "0.bias", "2.bias"}
        assert value.dtype == torch.float64


@pytest.mark.parametrize("name", ["linear", "linear logit", "mlp", "embedding", "holds its data, curved", "branches"])
def test_float32_gives_what_float64_gives(name):
    case = next(c for c in ZOO if c.name == name)

    def down(value):
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    single, double = case.module(), case.module().double()
    _double_attributes(double)
    inputs, target = down(case.inputs), down(case.target())
    again = inputs.double() if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    found = bh.TorchModel(single, case.torch_loss(), inputs, target).fit("HC1")
    true = bh.TorchModel(double, case.torch_loss(), again, target.double()).fit("HC1")
    assert next(single.parameters()).dtype == torch.float32
    assert found.params.dtype == torch.float64
    _close(found.params, true.params, 1e-12)
    _same_covariance(found.cov_params(), true.cov_params(), 1e-12)
    _same_covariance(found.with_cov("nonrobust").cov_params(), true.with_cov("nonrobust").cov_params(), 1e-12)


# 2. losses


def _counts(seed=7):
    return torch.poisson(torch.exp(0.3 + 0.4 * X2[:, :1]), generator=_draws(seed))


def _yes(seed=7):
    return torch.bernoulli(torch.sigmoid(X2[:, :1] - 0.3), generator=_draws(seed))


def _class(seed=7):
    return torch.multinomial(torch.softmax(F.pad(X2, (1, 0)), 1), 1, generator=_draws(seed))[:, 0]


def _shares(seed=7):
    return torch.softmax(_normal(60, 3, seed=seed), 1)


def _real(seed=7):
    return X2 @ torch.tensor([[1.0], [-0.5]]).double() + 0.3 + _normal(60, 1, seed=seed)


class Exp(nn.Module):
    def __init__(self):
        super().__init__()
        self.index = nn.Linear(2, 1)

    def forward(self, x):
        return torch.exp(self.index(x))


LOSSES = {
    "MSELoss": (lambda r: nn.MSELoss(reduction=r), lambda: nn.Linear(2, 1), _real),
    "F.mse_loss": (lambda r: F.mse_loss if r == "mean" else None, lambda: nn.Linear(2, 1), _real),
    "MSELoss, curved": (lambda r: nn.MSELoss(reduction=r), lambda: Squeezed(nn.Linear(2, 1), Curve()), _yes),
    "MSELoss of two": (lambda r: nn.MSELoss(reduction=r), lambda: nn.Linear(2, 2), lambda: torch.cat([_real(1), _real(2)], 1)),
    "BCEWithLogitsLoss": (lambda r: nn.BCEWithLogitsLoss(reduction=r), lambda: nn.Linear(2, 1), _yes),
    "F.binary_cross_entropy_with_logits": (lambda r: F.binary_cross_entropy_with_logits if r == "mean" else None, lambda: nn.Linear(2, 1), _yes),
    "BCELoss": (lambda r: nn.BCELoss(reduction=r), lambda: Squeezed(nn.Linear(2, 1), nn.Sigmoid()), _yes),
    "F.binary_cross_entropy": (lambda r: F.binary_cross_entropy if r == "mean" else None, lambda: Squeezed(nn.Linear(2, 1), nn.Sigmoid()), _yes),
    "pos_weight": (lambda r: nn.BCEWithLogitsLoss(reduction=r, pos_weight=torch.tensor([3.0])), lambda: nn.Linear(2, 1), _yes),
    "CrossEntropyLoss": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Padded(2, 3), _class),
    "F.cross_entropy": (lambda r: F.cross_entropy if r == "mean" else None, lambda: Padded(2, 3), _class),
    "CrossEntropyLoss of probabilities": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Padded(2, 3), _shares),
    "CrossEntropyLoss, smoothed": (lambda r: nn.CrossEntropyLoss(reduction=r, label_smoothing=0.1), lambda: Padded(2, 3), _class),
    "NLLLoss": (lambda r: nn.NLLLoss(reduction=r), lambda: nn.Sequential(Padded(2, 3), nn.LogSoftmax(1)), _class),
    "F.nll_loss": (lambda r: F.nll_loss if r == "mean" else None, lambda: nn.Sequential(Padded(2, 3), nn.LogSoftmax(1)), _class),
    "PoissonNLLLoss": (lambda r: nn.PoissonNLLLoss(reduction=r), lambda: nn.Linear(2, 1), _counts),
    "PoissonNLLLoss, full": (lambda r: nn.PoissonNLLLoss(reduction=r, full=True), lambda: nn.Linear(2, 1), _counts),
    "F.poisson_nll_loss": (lambda r: F.poisson_nll_loss if r == "mean" else None, lambda: nn.Linear(2, 1), _counts),
    "PoissonNLLLoss of the mean": (lambda r: nn.PoissonNLLLoss(log_input=False, eps=0.0, reduction=r), Exp, _counts),
    "PoissonNLLLoss of the mean, full": (lambda r: nn.PoissonNLLLoss(log_input=False, full=True, reduction=r), Exp, _counts),
    "GaussianNLLLoss": (lambda r: nn.GaussianNLLLoss(reduction=r), lambda: Moments(True), _real),
    "GaussianNLLLoss, full": (lambda r: nn.GaussianNLLLoss(full=True, reduction=r), lambda: Moments(True), _real),
    "F.gaussian_nll_loss": (lambda r: F.gaussian_nll_loss if r == "mean" else None, lambda: Moments(True), _real),
    "HuberLoss": (lambda r: nn.HuberLoss(reduction=r, delta=0.8), lambda: nn.Linear(2, 1), _real),
    "F.huber_loss": (lambda r: F.huber_loss if r == "mean" else None, lambda: nn.Linear(2, 1), _real),
    "SmoothL1Loss": (lambda r: nn.SmoothL1Loss(reduction=r, beta=0.7), lambda: nn.Linear(2, 1), _real),
    "F.smooth_l1_loss": (lambda r: F.smooth_l1_loss if r == "mean" else None, lambda: nn.Linear(2, 1), _real),
    "own": (lambda r: _reduced(lambda o, t: torch.log(torch.cosh(o - t)), r), lambda: nn.Linear(2, 1), _real),
    "own, curved": (lambda r: _reduced(lambda o, t: torch.log(torch.cosh(o - t)), r), lambda: Squeezed(nn.Linear(2, 1), Curve()), _yes),
}  # fmt: skip


def _reduced(rows, reduction):
    def loss(output, target):
        each = rows(output.reshape(len(output), -1), target.reshape(len(target), -1))
        return {"none": each.sum(1), "sum": each.sum(), "mean": each.mean()}[reduction]

    return loss


def _loss_model(name, reduction="mean", **options):
    loss, make, target = LOSSES[name]
    made = loss(reduction)
    return None if made is None else bh.TorchModel(_set(make(), 3, 0.3), made, X2, target(), **options)


def _loss_case(name):
    """Return the double module's row losses as a function of the parameter vector, by the loss's own reduction none."""
    loss, make, target = LOSSES[name]
    module, y = _set(make(), 3, 0.3).double(), target()
    by_row = loss("none") or (lambda o, t: loss("mean")(o, t, reduction="none"))
    if name == "F.gaussian_nll_loss":
        by_row = lambda o, v, t: F.gaussian_nll_loss(o, t, v, reduction="none")  # noqa: E731
    elif "Gaussian" in name:
        own = by_row
        by_row = lambda o, v, t: own(o, t, v)  # noqa: E731
    shapes = [(n, v.shape) for n, v in module.named_parameters()]

    def losses(theta):
        parts, begin = {}, 0
        for n, shape in shapes:
            parts[n] = theta[begin : begin + shape.numel()].view(shape)
            begin += shape.numel()
        output = functional_call(module, parts, (X2,))
        output = output if isinstance(output, tuple) else (output,)
        of = y if y.dtype == torch.long or y.ndim == output[0].ndim else y.reshape(output[0].shape)
        of = of if of.dtype == torch.long else of.reshape(output[0].shape)
        each = by_row(*output, of)
        return each.reshape(len(X2), -1).sum(1)

    return losses


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_gives_one_covariance_whatever_its_reduction(name):
    """HC0 from autograd of the loss without reduction: a factor of the loss cancels in a sandwich."""
    losses, results = _loss_case(name), []
    for reduction in ("mean", "sum", "none"):
        model = _loss_model(name, reduction)
        if model is None:
            continue
        res = model.fit("HC0")
        scores = torch.autograd.functional.jacobian(losses, res.params)
        assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < OPTIMUM
        bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
        _same_covariance(res.cov_params(), bread @ (scores.mT @ scores) @ bread, 1e-9)
        results.append(res)
    for res in results[1:]:
        _close(res.params, results[0].params, 1e-9)
        _same_covariance(res.cov_params(), results[0].cov_params(), 1e-9)


LIKELIHOODS = [
    n
    for n in LOSSES
    if not any(part in n for part in ("MSE", "mse", "own", "pos_weight", "smooth", "Smooth", "Huber", "huber"))
]


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_has_its_inverse_hessian(name):
    losses = _loss_case(name)
    for reduction in ("mean", "sum", "none"):
        model = _loss_model(name, reduction)
        if model is None:
            continue
        res = model.fit()
        assert res.cov_type == "nonrobust"
        assert not res.use_t
        bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
        _same_covariance(res.cov_params(), bread, 1e-9)


@pytest.mark.parametrize("name", ["HuberLoss", "SmoothL1Loss", "own", "pos_weight", "CrossEntropyLoss, smoothed"])
def test_other_losses_claim_nothing(name):
    res = _loss_model(name).fit()
    assert res.cov_type == "HC0"
    with pytest.raises(bh.EstimationError, match="likelihood=True"):
        res.with_cov("nonrobust")


@pytest.mark.parametrize(
    "name",
    [
        "own",
        "pos_weight",
        pytest.param("HuberLoss"),
        pytest.param("SmoothL1Loss"),
    ],
)
def test_other_losses_are_likelihoods_where_the_user_says_so(name):
    losses = _loss_case(name)
    res = _loss_model(name, "sum", likelihood=True).fit()
    assert res.cov_type == "nonrobust"
    bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
    _same_covariance(res.cov_params(), bread, 1e-9)


def test_a_recognised_loss_is_none_where_the_user_says_so():
    for name in ("MSELoss", "BCEWithLogitsLoss", "CrossEntropyLoss"):
        res = _loss_model(name, likelihood=False).fit()
        true = _loss_model(name).fit("HC0")
        assert res.cov_type == "HC0"
        _same_covariance(res.cov_params(), true.cov_params())


X3 = bh.add_constant(X2)
COVARIANCES = ("nonrobust", "HC0", "HC1", "OPG")


def _agrees(res, other, covariances=COVARIANCES, leverage=True):
    for kind in (*covariances, *(("HC2", "HC3") if leverage else ())):
        found, true = res.with_cov(kind), other.with_cov(kind)
        _same_covariance(found.cov_params(), true.cov.matrix)
        _close(found.params, true.fit.params)
        _close(found.tvalues, true.fit.params / true.cov.matrix.diagonal().sqrt(), 1e-8)
    assert res.llf == pytest.approx(other.llf, rel=1e-12)
    assert res.aic == pytest.approx(other.aic, rel=1e-12)
    assert res.bic == pytest.approx(other.bic, rel=1e-12)
    assert res.df_resid == other.df_resid
    assert res.nobs == other.nobs


MODELS = {
    "OLS": (bh.OLS, nn.MSELoss(), _real),
    "OLS by a curve": (bh.OLS, nn.MSELoss(), _real),
    "Logit": (bh.Logit, nn.BCEWithLogitsLoss(), _yes),
    "Logit by a curve": (bh.Logit, nn.BCEWithLogitsLoss(), _yes),
    "Logit of probabilities": (bh.Logit, nn.BCELoss(), _yes),
    "Poisson": (bh.Poisson, nn.PoissonNLLLoss(), _counts),
    "Poisson by a curve": (bh.Poisson, nn.PoissonNLLLoss(), _counts),
    "Poisson of means": (bh.Poisson, nn.PoissonNLLLoss(log_input=False, eps=0.0), _counts),
}


class Flat(nn.Module):
    """A linear index that the solver does not know to be linear."""

    def __init__(self, last):
        super().__init__()
        self.index, self.last = nn.Linear(3, 1, bias=False), last

    def forward(self, x):
        index = self.index(x)
        index = index + 1e-30 * index**3 if self.last is None else index
        return self.last(index) if self.last else index


@pytest.mark.parametrize("name", MODELS)
def test_a_linear_module_is_the_built_in_model(name):
    kind, loss, target = MODELS[name]
    y = target()
    last = {"Logit of probabilities": nn.Sigmoid(), "Poisson of means": torch.exp}.get(name)
    module = nn.Linear(3, 1, bias=False) if last is None and "curve" not in name else Flat(last)
    res = bh.TorchModel(_set(module, 2, 0.2), loss, X3, y).fit()
    plain = last is None
    _agrees(res, kind(y[:, 0], X3).fit(), leverage=plain)
    if last is None:
        other = kind(y[:, 0], X3).fit()
        me, true = (r.get_margeff() for r in (res, other)) if kind is not bh.OLS else (None, None)
        if me is not None:
            _close(me.margeff, true.margeff)
            _close(me.margeff_se, true.margeff_se, 1e-8)


def test_padded_logits_are_mnlogit():
    y = _class()
    other = bh.MNLogit(y, X3).fit()
    for module, loss in (
        (Padded(3, 3), nn.CrossEntropyLoss()),
        (nn.Sequential(Padded(3, 3), nn.LogSoftmax(1)), nn.NLLLoss()),
    ):
        _agrees(bh.TorchModel(module, loss, X3, y).fit(), other, leverage=False)


def test_a_probit_of_ones_own():
    y = _yes()

    def loss(output, target):
        return -torch.special.log_ndtr((2 * target - 1) * output).sum()

    res = bh.TorchModel(nn.Linear(3, 1, bias=False), loss, X3, y, likelihood=True).fit()
    _agrees(res, bh.Probit(y[:, 0], X3).fit(), leverage=True)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "name",
    ["BCEWithLogitsLoss", "PoissonNLLLoss", "CrossEntropyLoss", pytest.param("NLLLoss"), "BCELoss"],
)
def test_a_function_of_ones_own_is_the_recognised_loss(name, reduction):
    recognised, make, target = LOSSES[name]
    inner = recognised(reduction)

    def function(output, target):
        return inner(output, target)

    y = target()[:, 0] if name == "BCELoss" else target()
    own = bh.TorchModel(_set(make(), 3, 0.3), function, X2, y, likelihood=True).fit()
    true = _loss_model(name).fit()
    for kind in COVARIANCES:
        _same_covariance(own.with_cov(kind).cov_params(), true.with_cov(kind).cov_params(), 1e-9)


def test_a_mean_and_its_variance():
    """With a constant variance the mean is least squares', the variance RSS / n, and its logarithm has variance 2 / n."""
    y = _real()
    res = bh.TorchModel(Moments(False), nn.GaussianNLLLoss(full=True), X2, y).fit()
    ols = bh.OLS(y[:, 0], X3).fit()
    order = [1, 2, 0]
    _close(res.state()["mean.weight"][0], ols.params[order[:2]])
    assert float(res.state()["constant"].exp()) == pytest.approx(ols.ssr / 60, rel=1e-9)
    _same_covariance(res.cov_params()[1:, 1:], (ols.cov_params() * 57 / 60)[order][:, order], 1e-9)
    assert float(res.cov_params()[0, 0]) == pytest.approx(2 / 60, rel=1e-9)
    assert res.llf == pytest.approx(ols.llf, rel=1e-12)
    assert res.names == ("constant", "mean.weight[0,0]", "mean.weight[0,1]", "mean.bias")


def test_least_squares_of_several_outputs_has_the_sandwich_of_its_rows():
    y = torch.cat([_real(1), _real(2)], 1)
    res = bh.TorchModel(nn.Linear(3, 2, bias=False), nn.MSELoss(), X3, y).fit("HC0")
    parts = [bh.OLS(y[:, j], X3).fit("HC0") for j in (0, 1)]
    for j in (0, 1):
        _same_covariance(res.cov_params()[3 * j : 3 * j + 3, 3 * j : 3 * j + 3], parts[j].cov_params())
    bread = torch.linalg.inv(X3.mT @ X3)
    meat = X3.mT @ (parts[0].resid * parts[1].resid)[:, None].mul(X3)
    _close(res.cov_params()[:3, 3:], bread @ meat @ bread, 1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: F.mse_loss(o, t).sqrt(),
        lambda o, t: F.cross_entropy(o, t, weight=torch.tensor([1.0, 2.0, 5.0]).double()),
        lambda o, t: F.mse_loss(o, t, reduction="sum") + 0.1,
        lambda o, t: torch.quantile((o - t).abs(), 0.5),
    ],
    ids=["root", "class weights", "ridge", "median"],
)
def test_losses_without_rows_are_refused(loss, request):
    classes = "class weights" in request.node.name
    with pytest.raises(bh.OptionError, match="neither the sum nor the mean"):
        bh.TorchModel(Padded(2, 3) if classes else nn.Linear(2, 1), loss, X2, _class() if classes else _real())


@pytest.mark.parametrize("kind", ["CrossEntropyLoss", "NLLLoss"])
def test_ignored_classes_are_refused_or_ignored(kind):
    module = Padded(2, 3) if kind == "CrossEntropyLoss" else nn.Sequential(Padded(2, 3), nn.LogSoftmax(1))
    loss = getattr(nn, kind)(ignore_index=2, reduction="sum")
    kept = _class() != 2
    try:
        res = bh.TorchModel(module, loss, X2, _class()).fit("HC0", rank="pinv")
    except (bh.DataError, bh.OptionError):
        return
    _close(res.fit.loss, loss(res.predict()[kept], _class()[kept]))


def test_a_loss_that_broadcasts_is_refused():
    """(60, 1) less (60,) is (60, 60)."""
    with pytest.raises(bh.BetahatError):
        bh.TorchModel(nn.Linear(2, 1), lambda o, t: (o - t) ** 2, X2, _real()[:, 0]).fit("HC0")


# 3. breads


def _pieces(name, theta):
    """Return J (n, m, k), l' (n, m) and l'' (n, m, m), from torch.func of the double module, and E(l'')."""
    case = {
        "mse": (_mlp(), lambda o, t: 0.5 * (o - t).square().sum(), lambda o: torch.eye(1).double(), _real()),
        "logit": (_mlp(), lambda o, t: F.binary_cross_entropy_with_logits(o, t, reduction="sum"),
                  lambda o: torch.diag(torch.sigmoid(o) * torch.sigmoid(-o)), _yes()),
        "probability": (nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), lambda o, t: F.binary_cross_entropy(o, t, reduction="sum"),
                        lambda o: torch.diag(1 / (o * (1 - o))), _yes()),
        "counts": (nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)), lambda o, t: (o.exp() - t * o).sum(),
                   lambda o: torch.diag(o.exp()), _counts()),
        "mean count": (Exp(), lambda o, t: (o - t * (o + 1e-8).log()).sum(), lambda o: torch.diag(o / (o + 1e-8) ** 2), _counts()),
        "classes": (nn.Sequential(nn.Linear(2, 1), nn.Tanh(), Padded(1, 3)), lambda o, t: F.cross_entropy(o[None], t[None]),
                    lambda o: torch.diag(torch.softmax(o, 0)) - torch.outer(torch.softmax(o, 0), torch.softmax(o, 0)), _class()),
    }[name]  # fmt: skip
    module, loss, expected, y = case
    module = module.double()
    shapes = [(n, v.shape) for n, v in module.named_parameters()]

    def output(vector, x):
        parts, begin = {}, 0
        for n, shape in shapes:
            parts[n] = vector[begin : begin + shape.numel()].view(shape)
            begin += shape.numel()
        return functional_call(module, parts, (x[None],))[0]

    jacobian = torch.stack([torch.func.jacrev(output)(theta, x) for x in X2])
    at = [output(theta, x) for x in X2]
    slope = torch.stack([torch.func.grad(loss)(o, t) for o, t in zip(at, y, strict=True)])
    curvature = torch.stack([torch.func.jacrev(torch.func.grad(loss))(o, t) for o, t in zip(at, y, strict=True)])
    hessian = torch.autograd.functional.hessian(
        lambda v: torch.stack([loss(output(v, x), t) for x, t in zip(X2, y, strict=True)]).sum(), theta
    )
    return jacobian, slope, curvature, torch.stack([expected(o) for o in at]), hessian


def _information(bread, pieces):
    jacobian, slope, curvature, expected, hessian = pieces
    scores = torch.einsum("nm,nmk->nk", slope, jacobian)
    return {
        "observed": hessian,
        "expected": torch.einsum("nmk,nml,nlj->kj", jacobian, expected, jacobian),
        "gauss-newton": torch.einsum("nmk,nml,nlj->kj", jacobian, curvature, jacobian),
        "opg": scores.mT @ scores,
    }[bread]


BREADS = {
    "mse": (_mlp, nn.MSELoss, _real),
    "logit": (_mlp, nn.BCEWithLogitsLoss, _yes),
    "probability": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), nn.BCELoss, _yes),
    "counts": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)), nn.PoissonNLLLoss, _counts),
    "mean count": (Exp, lambda: nn.PoissonNLLLoss(log_input=False), _counts),
    "classes": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh(), Padded(1, 3)), nn.CrossEntropyLoss, _class),
}
# A penalty that is strictly convex keeps every bread invertible, and a network's optimum near.
RIDGE = 0.05


# Outer products are the information of a likelihood alone: without the ridge, where all is identified.
PAIRS = [(n, b) for n in BREADS for b in ("observed", "expected", "gauss-newton", "opg")]
PAIRS = [(n, b) for n, b in PAIRS if b != "opg" or n in ("probability", "mean count")]


@pytest.mark.parametrize(("name", "bread"), [pytest.param(*pair) for pair in PAIRS])
def test_breads(name, bread):
    make, loss, target = BREADS[name]
    penalty = RIDGE if bread != "opg" else 0.0
    model = bh.TorchModel(_set(make(), 3), loss(), X2, target(), penalty=penalty)
    res = model.fit("HC0", bread=bread)
    pieces = _pieces(name, res.params)
    per_row = 0.5 if name == "mse" else 1.0
    ridge = per_row * 60 * penalty * torch.eye(len(res.params), dtype=torch.float64)
    information = _information(bread, pieces) + ridge
    scores = torch.einsum("nm,nmk->nk", pieces[1], pieces[0])
    inverse = torch.linalg.inv(information)
    assert res.diagnostics.bread == bread
    _same_covariance(res.fit.bread, inverse, 1e-8)
    _same_covariance(res.cov_params(), inverse @ scores.mT @ scores @ inverse, 1e-8)
    plain = inverse @ (information - ridge) @ inverse
    if (bread != "opg" or name != "mse") and bool((plain.diagonal() > 0).all()):
        scale = 2 * res.loss / res.df_resid if name == "mse" else 1.0
        assert name != "mse" or res.scale == pytest.approx(scale, rel=1e-12)
        _same_covariance(res.with_cov("nonrobust").cov_params(), scale * plain, 1e-8)
    n, k = scores.shape
    _same_covariance(res.with_cov("HC1").cov_params(), n / (n - k) * res.cov_params(), 1e-12)
    if bread == "opg" or name == "classes":
        with pytest.raises(bh.EstimationError, match="Leverage"):
            res.with_cov("HC2")
        return
    curvature = pieces[3 if bread == "expected" else 2][:, 0, 0]
    leverage = curvature * torch.einsum("nk,kj,nj->n", pieces[0][:, 0], inverse, pieces[0][:, 0])
    for kind, power in (("HC2", 1), ("HC3", 2)):
        meat = sum(torch.outer(s, s) / (1 - h) ** power for s, h in zip(scores, leverage, strict=True))
        found = res.with_cov(kind)
        _same_covariance(found.cov_params(), inverse @ meat @ inverse, 1e-8)
        assert "one-step leverage" in found.cov.note
        assert ("penalised" in found.cov.note) == bool(penalty)


def test_a_penalised_classical_covariance_is_one_or_an_error():
    model = bh.TorchModel(_set(_mlp(), 3), nn.MSELoss(), X2, _real(), penalty=RIDGE)
    try:
        res = model.fit("nonrobust")
    except bh.EstimationError:
        return
    assert bool(torch.isfinite(res.bse).all())


def test_opg_is_the_inverse_of_the_outer_products():
    for name in ("BCEWithLogitsLoss", "PoissonNLLLoss", "CrossEntropyLoss", "GaussianNLLLoss"):
        res = _loss_model(name).fit("OPG")
        scores = torch.autograd.functional.jacobian(_loss_case(name), res.params)
        _same_covariance(res.cov_params(), torch.linalg.inv(scores.mT @ scores), 1e-9)
        _same_covariance(res.cov_params(), _loss_model(name).fit(bread="opg").cov_params(), 1e-9)


def test_the_bread_of_outer_products_does_not_depend_on_the_units_of_y():
    y = _real()
    errors = [bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X2, c * y).fit(bread="opg").bse / c for c in (1.0, 100.0)]
    _close(errors[1], errors[0], 1e-9)


def test_the_bread_of_outer_products_is_opg_for_least_squares():
    res = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X2, _real()).fit(bread="opg")
    _same_covariance(res.cov_params(), res.with_cov("OPG").cov_params())


# penalties


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ["MSELoss", "BCEWithLogitsLoss", "own, curved"])
def test_penalised_sandwich(name, reduction):
    """A^-1 B A^-1 with A = H + P'', in the units of the user's loss."""
    size = 0.1 * (1.0 if reduction == "mean" else 60.0)
    losses = _loss_case(name)
    units = 60.0 if reduction == "mean" else 1.0
    penalties = {
        "number": (size, lambda v: 0.5 * size * v.square().sum()),
        "callable": (
            lambda p: size * sum((1 + v.square()).log().sum() for v in (p[k] for k in _names_of(name))),
            lambda v: size * (1 + v.square()).log().sum(),
        ),
    }
    for given_as, function in penalties.values():
        res = _loss_model(name, reduction, penalty=given_as).fit()
        assert res.cov_type == "HC0"

        def total(theta, function=function):
            return losses(theta).sum() + units * function(theta)

        gradient = torch.autograd.functional.jacobian(total, res.params)
        scores = torch.autograd.functional.jacobian(losses, res.params)
        assert float((gradient.abs() / scores.abs().sum(0)).max()) < OPTIMUM
        bread = torch.linalg.inv(torch.autograd.functional.hessian(total, res.params))
        _same_covariance(res.cov_params(), bread @ scores.mT @ scores @ bread, 1e-9)
        assert "bias" in res.cov.note
        each = losses(res.params).sum() * (0.5 if name == "MSELoss" else 1.0)
        assert res.loss == pytest.approx(float(each), rel=1e-12)


def _names_of(name):
    return [n for n, _ in LOSSES[name][1]().named_parameters()]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("optimizer", ["SGD", "LBFGS"])
@pytest.mark.parametrize("name", ["MSELoss", "BCEWithLogitsLoss", "PoissonNLLLoss"])
def test_a_module_trained_with_weight_decay_is_at_its_optimum(name, optimizer, reduction):
    make, build, target = LOSSES[name]
    module, y, loss = _set(build(), 3, 0.3).double(), target(), make(reduction)
    decay = 0.2 if reduction == "mean" else 6.0
    rate = 0.2 if reduction == "mean" else 0.002
    if optimizer == "SGD":
        stepper = torch.optim.SGD(module.parameters(), lr=rate, weight_decay=decay)
        for _ in range(400):
            stepper.zero_grad()
            loss(module(X2), y).backward()
            stepper.step()
    else:
        stepper = torch.optim.LBFGS(module.parameters(), max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-14)

        def closure():
            stepper.zero_grad()
            value = loss(module(X2), y) + 0.5 * decay * sum(v.square().sum() for v in module.parameters())
            value.backward()
            return value

        stepper.step(closure)
    res = bh.TorchModel(module, loss, X2, y, penalty=decay).fit(polish=False)
    assert res.diagnostics.decrement < 1e-8
    assert not res.converged
    with pytest.warns(bh.ConvergenceWarning, match=f"weight decay leaves it: pass penalty={decay:.3g}"):
        bh.TorchModel(module, loss, X2, y).fit("HC0", polish=False)


# 4. parametrizations


class Direct(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate, self.slopes = nn.Parameter(torch.tensor([1.5])), nn.Parameter(torch.tensor([0.5, -0.3]))

    def forward(self, x):
        return self.rate * torch.tanh(x @ self.slopes)


class Scaled(Direct):
    """Rate = 10 a, slopes = b / 3."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.rate.div_(10)
            self.slopes.mul_(3)

    def forward(self, x):
        return 10 * self.rate * torch.tanh(x @ self.slopes / 3)


class Split(nn.Module):
    """The slopes one by one, and in another order."""

    def __init__(self):
        super().__init__()
        self.second, self.first = nn.Parameter(torch.tensor(-0.3)), nn.Parameter(torch.tensor(0.5))
        self.rate = nn.Parameter(torch.tensor([[1.5]]))

    def forward(self, x):
        return self.rate[0] * torch.tanh(x[:, 0] * self.first + x[:, 1] * self.second)


class Exponential(nn.Module):
    """Rate = exp(phi), slopes = (c, c d)."""

    def __init__(self):
        super().__init__()
        self.phi, self.c, self.d = (nn.Parameter(torch.tensor(v)) for v in (0.4, 0.5, -0.6))

    def forward(self, x):
        return torch.exp(self.phi) * torch.tanh(x @ torch.stack([self.c, self.c * self.d]).to(x))


MAPS = {
    "scaled": (Scaled, lambda t: torch.stack([10 * t[0], t[1] / 3, t[2] / 3])),
    "split and reordered": (Split, lambda t: torch.stack([t[2], t[1], t[0]])),
    "nonlinear": (Exponential, lambda t: torch.stack([t[0].exp(), t[1], t[1] * t[2]])),
}


@pytest.mark.parametrize("kind", ["nonrobust", *HC])
@pytest.mark.parametrize("loss", ["mse", "logit", "huber"])
@pytest.mark.parametrize("name", MAPS)
def test_a_reparametrization_maps_the_covariance_by_its_jacobian(name, loss, kind):
    """With the observed bread that is so at the optimum alone, where the gradient is zero."""
    if (loss, kind) == ("huber", "nonrobust"):
        kind = "HC0"
    torch_loss = {"mse": nn.MSELoss(), "logit": nn.BCEWithLogitsLoss(), "huber": nn.HuberLoss(delta=1.1)}[loss]
    index = 1.5 * torch.tanh(X2 @ torch.tensor([1.2, -0.7]).double())
    y = _yes()[:, 0] if loss == "logit" else index + 0.3 * _normal(60, seed=3)
    make, mapping = MAPS[name]
    res = bh.TorchModel(make(), torch_loss, X2, y).fit(kind)
    true = bh.TorchModel(Direct(), torch_loss, X2, y).fit(kind)
    _close(mapping(res.params), true.params, SOLVED)
    jacobian = torch.autograd.functional.jacobian(mapping, res.params)
    _same_covariance(jacobian @ res.cov_params() @ jacobian.mT, true.cov_params(), SOLVED)
    delta = res.delta(lambda p: mapping(p.vector))
    _same_covariance(delta.cov(), true.cov_params(), SOLVED)


# 5. not at an optimum, or at none


def _trained(steps, decay=0.0):
    module = _set(nn.Linear(2, 1), 1, 0.1)
    stepper = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=decay)
    for _ in range(steps):
        stepper.zero_grad()
        F.mse_loss(module(X2.float()), _real().float()).backward()
        stepper.step()
    return module


def test_parameters_taken_as_they_are():
    module = _trained(5)
    model = bh.TorchModel(module, nn.MSELoss(), X2, _real())
    with pytest.warns(bh.ConvergenceWarning, match="standard errors from the optimum"):
        res = model.fit("HC0", polish=False)
    assert torch.equal(res.params, torch.cat([v.detach().flatten() for v in module.parameters()]).double())
    assert res.diagnostics.route == "as given"
    assert res.diagnostics.iterations == 0
    assert not res.converged
    assert "as given" in str(res.summary())
    assert "standard errors from the optimum" in str(res.summary())
    with pytest.raises(bh.EstimationError, match="polish=True"):
        res.with_cov("nonrobust")
    with pytest.raises(bh.EstimationError, match="polish=True"), pytest.warns(bh.ConvergenceWarning):
        model.fit(polish=False)
    # the decrement is the squared distance in standard errors, which for least squares is exact
    best = model.fit()
    gap = best.params - res.params
    information = torch.linalg.inv(best.cov_params()) * best.scale
    rss = 2 * res.loss
    assert res.diagnostics.decrement == pytest.approx(float(gap @ information @ gap) / (rss / 57), rel=1e-6)


def test_the_decrements_at_which_betahat_warns_and_refuses():
    model = bh.TorchModel(nn.Linear(2, 1), nn.BCEWithLogitsLoss(), X2, _yes())
    best = model.fit()
    direction = best.bse * torch.tensor([1.0, 0.0, 0.0]).double()
    spread = float((direction @ torch.linalg.inv(best.cov_params()) @ direction) ** 0.5)
    for distance, warns, refuses in (
        (0.9e-3, False, False),
        (1.1e-3, True, False),
        (0.3, True, False),
        (0.33, True, True),
    ):
        module = nn.Linear(2, 1).double()
        moved = best.params + distance * direction / spread
        with torch.no_grad():
            module.weight.copy_(moved[None, :2])
            module.bias.copy_(moved[2:])
        near = bh.TorchModel(module, nn.BCEWithLogitsLoss(), X2, _yes())
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            res = near.fit("HC0", polish=False)
        assert bool(seen) == warns, distance
        assert res.diagnostics.decrement == pytest.approx(distance**2, rel=0.15)
        if refuses:
            with pytest.raises(bh.EstimationError, match="optimum"):
                res.with_cov("nonrobust")
        else:
            assert res.with_cov("nonrobust").cov_type == "nonrobust"


def test_weight_decay_is_recognised_and_its_number_said():
    module = _trained(500, decay=0.3)
    with pytest.warns(bh.ConvergenceWarning, match=r"penalty=0\.3(\D|0*\D)"):
        bh.TorchModel(module, nn.MSELoss(), X2, _real()).fit("HC0", polish=False)
    bh.TorchModel(module, nn.MSELoss(), X2, _real(), penalty=0.3).fit("HC0", polish=False)


def test_a_saddle_is_no_minimum():
    module = _mlp()
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
        module[2].bias.copy_(_real().mean())
    with pytest.raises(bh.EstimationError, match=r"not a minimum|flat|does not depend"):
        bh.TorchModel(module, nn.MSELoss(), X2, _real()).fit("HC0", polish=False)


def test_negative_curvature_is_named():
    class Bump(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(0.0))

        def forward(self, x):
            return torch.cos(self.a) + self.b * x

    x = _normal(60, seed=1)
    model = bh.TorchModel(Bump(), nn.MSELoss(), x, 0.5 * x - 2)
    with pytest.raises(bh.EstimationError, match=r"curves downward along 'a' "):
        model.fit("HC0", polish=False)


def test_null_directions_are_named_and_the_pseudoinverse_serves_identified_functions():
    """Three logits for three classes: what is added to all of them changes nothing."""
    y, module = _class(), nn.Linear(3, 3, bias=False)
    model = bh.TorchModel(module, nn.CrossEntropyLoss(), X3, y)
    with pytest.raises(bh.EstimationError, match=r"flat in 3 directions of 'weight\[0,0\]'.*rank='pinv'"):
        model.fit()
    res, true = model.fit(rank="pinv"), bh.MNLogit(y, X3).fit()
    assert res.diagnostics.rank == 9 or res.fit.root.shape[1] == 6
    for kind in COVARIANCES[:3]:
        found = res.with_cov(kind).delta(lambda p: (p["weight"][1:] - p["weight"][:1]).reshape(-1))
        _close(found.estimate, true.fit.params, 1e-9)
        factor = 1.0 if kind != "HC1" else (60 - 6) / res.df_resid
        _same_covariance(found.cov() / factor, true.with_cov(kind).cov.matrix, 1e-8)
    information = _softmax_information(res.params)
    _same_covariance(res.cov_params(), torch.linalg.pinv(information, rtol=1e-10), 1e-8)


def _softmax_information(theta):
    def total(vector):
        return F.cross_entropy(X3 @ vector.view(3, 3).mT, _class(), reduction="sum")

    return torch.autograd.functional.hessian(total, theta)


def test_the_rank_and_the_degrees_of_freedom_leave_flat_directions_out():
    res = bh.TorchModel(nn.Linear(3, 3, bias=False), nn.CrossEntropyLoss(), X3, _class()).fit(rank="pinv")
    true = bh.MNLogit(_class(), X3).fit()
    assert res.diagnostics.rank == 6
    assert res.df_resid == true.df_resid
    assert res.aic == pytest.approx(true.aic, rel=1e-12)


def test_collinear_inputs():
    x = torch.cat([X2, X2.sum(1, keepdim=True)], 1)
    model = bh.TorchModel(nn.Linear(3, 1), nn.MSELoss(), x, _real())
    with pytest.raises(
        bh.EstimationError, match=r"flat in 1 direction of 'weight\[0,0\]', 'weight\[0,1\]', 'weight\[0,2\]'"
    ):
        model.fit()
    res, true = model.fit(rank="pinv"), bh.OLS(_real()[:, 0], torch.cat([x, X3[:, :1]], 1)).fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.CollinearityWarning)
        _same_covariance(res.cov_params(), true().cov_params(), 1e-9)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1, track_running_stats=False)),
        nn.Sequential(nn.Linear(2, 1), nn.Softmax(0)),
        nn.Sequential(nn.Linear(2, 1), nn.Softmax(0), nn.Linear(1, 1)),
    ],
    ids=["BatchNorm of the batch", "softmax", "softmax inside"],
)
def test_rows_that_depend_on_each_other_are_refused(module):
    with pytest.raises(bh.DataError, match=r"depends on the other rows|single row"):
        bh.TorchModel(module, nn.MSELoss(), X2, _real())


def test_a_random_layer_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 1)

        def forward(self, x):
            return F.dropout(self.fc(x), 0.5)

    with pytest.raises(bh.DataError, match="random layer"):
        bh.TorchModel(Noisy(), nn.MSELoss(), X2, _real())


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_separation_is_refused(kind):
    y = (X2[:, :1] > 0).double()
    module = nn.Linear(2, 1) if kind == "linear" else nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1))
    with pytest.raises(bh.EstimationError, match=r"falls without end|flat in|no finite|not a minimum"):
        bh.TorchModel(_set(module, 4), nn.BCEWithLogitsLoss(), X2, y).fit()
    res = bh.TorchModel(_set(module, 4), nn.BCEWithLogitsLoss(), X2, y, penalty=0.1).fit()
    assert res.converged


def test_a_parameter_that_moves_nothing_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.idle = nn.Linear(2, 1), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.fc(x)

    with pytest.raises(bh.EstimationError, match="'idle'"):
        bh.TorchModel(Idle(), nn.MSELoss(), X2, _real()).fit("HC0")
    bh.TorchModel(Idle(), nn.MSELoss(), X2, _real(), params=["fc.*"]).fit("HC0")


# 8. the question


class Question(nn.Module):
    def __init__(self, x, y):
        super().__init__()
        self.X, self.Y = x, y
        self.beta, self.intercept = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1))

    def forward(self):
        return self.X @ self.beta + self.intercept


# float32 sums differ between machines: the last two of the ten digits that R printed are those of another one.
# torch.randn of seed 42, whose last bits depend on the processor.
QUESTION = Path(__file__).parents[1] / "golden" / "question.csv"
R_VCOV = [0.0079923921, -0.0004940884, 0.0082671053]


@pytest.fixture(scope="module")
def question():
    """Return the module of the question, trained by Adam in float32."""
    data = torch.from_numpy(np.loadtxt(QUESTION, delimiter=",", skiprows=1)).float()
    model = Question(data[:, :1], data[:, 1:])
    criterion, stepper = nn.MSELoss(), torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(1000):
        stepper.zero_grad()
        criterion(model(), model.Y).backward()
        stepper.step()
    return model


@pytest.mark.parametrize("polish", [True, False])
def test_the_question(question, polish):
    """R's lm: 3.035674, 2.011811, vcov 0.0079923921, -0.0004940884, 0.0082671053, t 33.96 and 22.13."""
    res = bh.TorchModel(question, nn.MSELoss(), None, question.Y).fit(polish=polish)
    assert res.names == ("beta", "intercept")
    slope, intercept = res.params.tolist()
    assert (f"{intercept:.5f}", f"{slope:.5f}") == ("3.03567", "2.01181")
    if polish:
        assert (f"{intercept:.6f}", f"{slope:.6f}") == ("3.035674", "2.011811")
    v = res.cov_params()
    found = torch.stack([v[1, 1], v[0, 1], v[0, 0]])
    _close(found, torch.tensor(R_VCOV).double(), 5e-8 if polish else 1e-4)
    assert [f"{e:.5f}" for e in res.bse.tolist()] == ["0.09092", "0.08940"]
    assert [f"{t:.2f}" for t in res.tvalues.tolist()] == ["22.13", "33.96"]
    text = str(res.summary())
    for words in ("22.126", "33.956", "2.0118", "3.0357", "MSELoss", "Least squares", "nonrobust"):
        assert words in text
    ols = bh.OLS(question.Y[:, 0], bh.add_constant(question.X)).fit()
    _close(ols.cov_params()[[0, 0, 1], [0, 1, 1]], found, 1e-10 if polish else 1e-4)
    ratio = res.delta(lambda p: p["beta"][0] / p["intercept"])
    assert float(ratio.estimate) == pytest.approx(slope / intercept, rel=1e-12)


# 9. random problems


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from(["mse", "logit", "counts"]), st.booleans())
def test_random_linear_modules_are_the_built_in_models(seed, width, loss, single):
    x = _normal(40, width, seed=seed)
    index = x @ _normal(width, 1, seed=seed + 1) * 0.5
    kind, torch_loss, y = {
        "mse": (bh.OLS, nn.MSELoss(), index + _normal(40, 1, seed=seed + 2)),
        "logit": (bh.Logit, nn.BCEWithLogitsLoss(), (index + _normal(40, 1, seed=seed + 2) > 0).double()),
        "counts": (bh.Poisson, nn.PoissonNLLLoss(), torch.poisson(index.exp(), generator=_draws(seed))),
    }[loss]
    x, y = (x.float(), y.float()) if single else (x, y)
    try:
        true = kind(y[:, 0], x).fit("HC3")
    except bh.BetahatError as error:
        with pytest.raises(type(error)):
            bh.TorchModel(nn.Linear(width, 1, bias=False), torch_loss, x, y).fit("HC3")
        return
    res = bh.TorchModel(nn.Linear(width, 1, bias=False), torch_loss, x, y).fit("HC3")
    _close(res.params, true.fit.params, 1e-8)
    _same_covariance(res.cov_params(), true.cov.matrix, 1e-8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(-2, 2), st.floats(0.1, 2))
def test_random_curves_scale_with_their_target(seed, slope, noise):
    """y in other units: the amplitude's error follows, the slope's stays, and so do all t values."""

    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.amplitude, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

        def forward(self, x):
            return self.amplitude * torch.tanh(x) + self.shift * x

    x = _normal(30, seed=seed)
    y = torch.tanh(x) + slope * x + noise * _normal(30, seed=seed + 1)
    one, other = (bh.TorchModel(Wave(), nn.MSELoss(), x, c * y).fit("HC3") for c in (1.0, 1000.0))
    _close(other.params, 1000 * one.params, 1e-8)
    _close(other.tvalues, one.tvalues, 1e-8)


# 10. results


def _frame():
    return pd.DataFrame(X2.numpy(), columns=["educ", "exper"], index=[f"r{i}" for i in range(60)])


def test_names_of_a_dataframe():
    frame, y = _frame(), pd.Series(_real()[:, 0].numpy(), index=_frame().index, name="wage")
    for module in (nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 1))):
        res = bh.TorchModel(module, nn.MSELoss(), frame, y).fit()
        bias = "bias" if isinstance(module, nn.Linear) else "0.bias"
        assert res.names == ("educ", "exper", bias)
        assert isinstance(res.params, pd.Series)
        assert list(res.cov_params().columns) == list(res.names)
        assert res.endog_name == "wage"
        assert "wage" in str(res.summary())
        assert list(res.tidy()["term"]) == list(res.names)
        true = bh.OLS(y, bh.add_constant(frame, prepend=False)).fit()
        np.testing.assert_allclose(res.bse, true.bse, rtol=1e-10)
        assert res.t_test("educ = exper").pvalue == pytest.approx(true.t_test("educ = exper").pvalue, rel=1e-9)
        assert float(res.delta(lambda p: p["educ"] / p["exper"]).estimate) == pytest.approx(
            true.params["educ"] / true.params["exper"]
        )
        swapped = frame[["exper", "educ"]].iloc[:5]
        np.testing.assert_allclose(np.asarray(res.predict(swapped)), np.asarray(res.predict())[:5])
    deep = bh.TorchModel(_set(_mlp(), 3), nn.MSELoss(), frame, y, penalty=0.05).fit()
    assert deep.names[:4] == ("0.weight[0,educ]", "0.weight[0,exper]", "0.weight[1,educ]", "0.weight[1,exper]")
    assert deep.names[4:] == ("0.bias[0]", "0.bias[1]", "2.weight[0,0]", "2.weight[0,1]", "2.bias")
    own = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), frame, y, names=["a", "b", "c"]).fit()
    assert own.names == ("a", "b", "c")
    assert list(own.params.index) == ["a", "b", "c"]
    for values in (own.fittedvalues, own.resid, own.predict(frame)):
        assert isinstance(values, pd.Series)
        assert values.index.equals(frame.index)
    np.testing.assert_allclose(own.fittedvalues, own.model.outputs(own.fit.params, (X2,))[:, 0], rtol=1e-12)


def test_state_has_the_tensors_of_the_module():
    res = bh.TorchModel(_set(_mlp(), 3), nn.MSELoss(), X2, _real(), penalty=0.05).fit()
    state = res.state()
    assert {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in _mlp().named_parameters()}
    assert torch.equal(torch.cat([v.flatten() for v in state.values()]), res.params)
    state["0.bias"].zero_()
    assert not torch.equal(res.state()["0.bias"], state["0.bias"])
    module = _mlp().double()
    module.load_state_dict(res.state())
    _close(res.predict(), module(X2).detach())
    new = _normal(7, 2, seed=8)
    _close(res.predict(new), module(new).detach())
    _close(res.predict(new.float()), module(new.float().double()).detach())
    _close(res.fittedvalues, module(X2).detach())
    _close(res.resid, _real() - module(X2).detach())


@pytest.mark.parametrize("name", ["linear", "mlp", "two inputs", "embedding", "branches", "squeezes, curved", "GRU"])
def test_predictions_have_delta_method_errors(name, fitted):
    """Against the product of a finite difference's gradient with the covariance."""
    case, res = next(c for c in ZOO if c.name == name), fitted(next(c for c in ZOO if c.name == name))
    found = res.get_prediction()
    theta, step = res.fit.params, 1e-6
    columns = []
    for i in range(len(theta)):
        shift = torch.zeros_like(theta)
        shift[i] = step
        ends = [case.call(naive_at(case, theta + s * shift)[0]).detach().reshape(-1) for s in (1, -1)]
        columns.append((ends[0] - ends[1]) / (2 * step))
    gradient = torch.stack(columns, 1)
    _close(found.se, torch.einsum("nk,kl,nl->n", gradient, res.cov_params(), gradient).sqrt(), 1e-5)
    _close(found.predicted, case.call(naive_at(case, theta)[0]).detach().reshape(-1))
    assert found.summary_frame().shape == (len(found.predicted), 4)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
@pytest.mark.parametrize("kind", ["logit", "counts", "mse", pytest.param("classes")])
def test_margins_of_a_module_against_differences(kind, at):
    """d E(y) / dx averaged, and its error, by differences of x and of the parameters."""
    make, loss, target = BREADS[kind]
    module = _set(make(), 3)
    res = bh.TorchModel(module, loss(), X2, target(), penalty=RIDGE).fit("HC0")
    found = res.get_margeff(at=at)
    link = {"logit": torch.sigmoid, "counts": torch.exp, "mse": lambda o: o, "classes": lambda o: torch.softmax(o, 1)}[
        kind
    ]
    points = {"overall": X2, "mean": X2.mean(0, keepdim=True), "median": X2.quantile(0.5, dim=0, keepdim=True)}[at]

    def effects(theta):
        double, begin = copy.deepcopy(module).double(), 0
        with torch.no_grad():
            for value in double.parameters():
                value.copy_(theta[begin : begin + value.numel()].view(value.shape))
                begin += value.numel()
            columns = []
            for j in range(2):
                shift = torch.zeros(2, dtype=torch.float64)
                shift[j] = 1e-4
                columns.append(((link(double(points + shift)) - link(double(points - shift))) / 2e-4).mean(0))
        return torch.stack(columns)

    theta = res.params
    true = effects(theta)
    _close(torch.as_tensor(found.margeff).reshape(true.shape), true, 1e-6)
    gradient = torch.stack(
        [
            (effects(theta + 1e-4 * e) - effects(theta - 1e-4 * e)).mT.reshape(-1) / 2e-4
            for e in torch.eye(len(theta)).double()
        ],
        1,
    )
    errors = torch.einsum("ik,kl,il->i", gradient, res.cov_params(), gradient).sqrt().reshape(-1, 2).mT
    _close(torch.as_tensor(found.margeff_se).reshape(errors.shape), errors, 1e-5)
    assert "x1" in str(found.summary())


@zoo
def test_tables_of_every_kind(case, fitted):
    res = fitted(case)
    assert res.names[0] in str(res.summary())
    assert res.summary().as_html().startswith("<")
    assert len(res.tidy()) == len(res.names)
    assert res.glance().shape[0] == 1
    leverage = ["HC3"] if case.name in ("linear", "linear logit", "branches", "two inputs") else []
    table = bh.compare(res, ["nonrobust", "HC0", "HC1", *leverage]).to_text()
    assert "HC1" in table
    assert res.names[0] in table
    many = bh.regtable([res, res.with_cov("HC1")]).to_text()
    assert res.names[-1] in many
    restriction = np.eye(len(res.names))[:1]
    assert float(res.t_test(restriction).pvalue) == pytest.approx(float(res.pvalues[0]), rel=1e-9, abs=1e-300)
    assert res.conf_int().shape == (len(res.names), 2)
    assert float(res.delta(lambda p: p[0]).bse) == pytest.approx(float(res.bse[0]), rel=1e-12)
    assert repr(res.model).startswith("<TorchModel")
    again = copy.deepcopy(res)
    assert torch.equal(again.params, res.params)
    assert torch.equal(again.with_cov("HC1").bse, res.with_cov("HC1").bse)


def test_restrictions_by_the_names_of_a_module():
    res = bh.TorchModel(_set(_mlp(), 3), nn.MSELoss(), X2, _real(), penalty=0.05).fit()
    assert res.names[0] == "0.weight[0,0]"
    found = res.t_test("0.weight[0,0] = 0")
    assert float(found.pvalue) == pytest.approx(float(res.pvalues[0]), rel=1e-9)
    joint = res.wald_test("0.weight[0,0] = 0.weight[1,0], 2.bias = 0")
    matrix = np.zeros((2, 9))
    matrix[0, [0, 2]], matrix[1, 8] = [1, -1], 1
    assert float(joint.statistic) == pytest.approx(float(res.wald_test(matrix).statistic), rel=1e-9)


def test_new_inputs_go_by_their_names():
    case = next(c for c in ZOO if c.name == "two named inputs")
    res = case.model().fit("HC0")
    _close(res.predict({"b": A1, "a": A2}), res.predict())


@pytest.mark.parametrize("new", [{"a": A2, "b": A1}, {"A": A1, "B": A2}], ids=["another order", "other names"])
def test_new_inputs_in_another_order_or_of_other_names(new):
    res = next(c for c in ZOO if c.name == "two named inputs").model().fit("HC0")
    try:
        found = res.predict(new)
    except bh.BetahatError:
        assert "A" in new
        return
    assert "a" in new
    _close(found, res.predict())


def test_a_linear_module_may_start_anywhere():
    """Untrained weights and inputs in years start where every probability is 0 or 1; the loss has one optimum all the same."""
    inputs = torch.stack([torch.ones(200).double(), 40 + 8 * _normal(200)], 1)
    target = (_normal(200, seed=1) + (inputs[:, 1] - 40) / 8 > 0).double()
    module = nn.Linear(2, 1, bias=False).double()
    for slope in (-0.9, 0.9, 30.0):
        with torch.no_grad():
            module.weight.copy_(torch.tensor([[0.3, slope]]))
        found = bh.TorchModel(module, nn.BCEWithLogitsLoss(), inputs, target).fit()
        true = bh.Logit(target, inputs).fit()
        _close(found.params, true.params, OPTIMUM)
        _same_covariance(found.cov_params(), true.cov_params(), OPTIMUM)


def test_flat_directions_name_weights_of_large_inputs_as_well():
    module = _set(nn.Linear(2, 2), 1, 0.01)
    with pytest.raises(
        bh.EstimationError, match=r"flat in 3 directions of 'weight\[0,0\]'.*'weight\[1,1\]', 'bias\[0\]'"
    ):
        bh.TorchModel(module, nn.CrossEntropyLoss(), 40 + 5 * A2, torch.arange(len(A2)) % 2).fit()
