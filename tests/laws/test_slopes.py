"""Gradients that are not the derivatives of the loss are refused, by differences of its values; kinks and noise are no such thing."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh

# The stacked equations' sandwich is written out with the same derivatives in another order.
ROUNDING = 1e-8

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


N = 300
Z, X = _normal(N, 2, seed=1), _normal(N, 2, seed=2)
V = _normal(N, seed=3)
D = 1 + Z @ torch.tensor([0.7, 0.4]).double() + V
Y = 1 + 2 * D + 0.8 * V + _normal(N, seed=4)
T = torch.tanh(X @ torch.tensor([1.0, -0.5]).double()) + 0.3 * _normal(N, seed=5)


# Functions with a forward and a backward that do not belong together


def _function(forward, backward):
    class Own(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return forward(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, slope):
            return slope * backward(ctx.saved_tensors[0])

    return Own.apply


TRIPLED = _function(torch.exp, lambda x: 3 * torch.exp(x))
MISSING = _function(lambda x: x.exp() + x**2, lambda x: x.exp())
SLIGHT = _function(torch.exp, lambda x: 1.01 * torch.exp(x))
RIGHT = _function(torch.exp, torch.exp)


class Straight(torch.autograd.Function):
    """Rounds, and lets the gradient through."""

    @staticmethod
    def forward(ctx, x):
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx, slope):
        return slope


class Kept(torch.autograd.Function):
    """Keeps what its backward takes where a second backward does not see it."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept = x.exp()
        return ctx.kept.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope * ctx.kept


def _numpy(x):
    return torch.as_tensor(np.exp(x.detach().numpy()))


def _no_grad(x):
    with torch.no_grad():
        return x.exp()


WRONG = {
    "detach": lambda x: x.exp() + (x.detach() - x),
    "detached": lambda x: x.detach() * x,
    "no_grad": lambda x: _no_grad(x) * x,
    "data": lambda x: x.data * x,
    "numpy": lambda x: _numpy(x) * x,
    "tripled": TRIPLED,
    "missing term": MISSING,
    "off by a hundredth": SLIGHT,
    "straight through": Straight.apply,
}
FINE = {
    "exp": torch.exp,
    "an own function": RIGHT,
    "a detached maximum": lambda x: (x - x.amax().detach()).exp() * x.amax().detach().exp() if x.ndim else x.exp(),
    "relu": torch.relu,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.3, 0.4),
    "single precision": lambda x: x.float().tanh().double(),
    "a branch": lambda x: torch.where(x > 0, x**2, -(x**3)),
    "steep": lambda x: torch.tanh(200 * x),
}


class Net(nn.Module):
    """A hidden unit through some function, and a linear part."""

    def __init__(self, function):
        super().__init__()
        self.hidden, self.out, self.function = nn.Linear(2, 2), nn.Linear(2, 1), function
        with torch.no_grad():
            for i, value in enumerate(self.parameters()):
                value.copy_(0.5 * _normal(*value.shape, seed=20 + i))

    def forward(self, x):
        return self.out(self.function(self.hidden(x)))[:, 0]


def _says(act):
    """Return what an attempt raises, as text; nothing where it goes well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bh.BetahatWarning)
            act()
    except bh.EstimationError as error:
        return str(error)
    return ""


CUT = "not the derivative of its values"


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("name", WRONG)
def test_a_gradient_that_is_cut_in_a_module_is_refused(name, polish):
    assert CUT in _says(lambda: bh.TorchModel(Net(WRONG[name]), nn.MSELoss(), X, T).fit("HC0", polish=polish))


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("name", WRONG)
def test_a_gradient_that_is_cut_in_a_row_loss_is_refused(name, polish):
    def row_loss(p, d):
        return (d["y"] - p["a"] - WRONG[name](d["x"] @ p["b"])) ** 2

    start = {"a": 0.1, "b": torch.tensor([0.3, 0.2])}
    assert CUT in _says(lambda: bh.MEstimator(row_loss, start, {"x": X, "y": T}).fit("HC0", polish=polish))


@pytest.mark.parametrize("name", ["detached", "tripled", "no_grad"])
def test_a_gradient_that_is_cut_in_a_loss_or_a_penalty_is_refused(name):
    cut = WRONG[name]
    assert CUT in _says(lambda: bh.TorchModel(nn.Linear(2, 1), lambda o, t: cut(o[:, 0] - t) ** 2, X, T).fit("HC0"))
    for loss in (nn.MSELoss(), nn.HuberLoss()):
        model = bh.TorchModel(nn.Linear(2, 1), loss, X, T, penalty=lambda p: cut(p["weight"]).square().sum())
        assert CUT in _says(lambda model=model: model.fit("HC0"))


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss()], ids=["squares", "logit"])
def test_a_linear_module_with_a_wrong_backward_is_refused(loss, zero):
    """It is linear in its values and has one Jacobian everywhere, which is not its own."""
    twice = _function(lambda x: 1.0 * x, lambda x: 2.0 + 0.0 * x)
    module = Net(twice)
    module.out = nn.Identity()
    module.hidden = nn.Linear(2, 1)
    if zero:
        nn.init.zeros_(module.hidden.weight)
        nn.init.zeros_(module.hidden.bias)
    target = (T > 0).double()
    assert CUT in _says(lambda: bh.TorchModel(module, loss, X, target).fit("HC0"))


def test_a_constant_part_that_is_cut_is_named():
    def row_loss(p, d):
        return (d["y"] - d["x"] @ p["b"] - (p["c"] * d["z"]).detach()) ** 2

    text = _says(lambda: bh.MEstimator(row_loss, {"b": torch.zeros(2), "c": 0.0}, {"x": X, "y": T, "z": V}).fit())
    assert CUT in text
    assert "in 'c':" in text


@pytest.mark.parametrize("count", [40, 5_000])
@pytest.mark.parametrize("name", FINE)
def test_kinks_noise_and_what_is_cut_without_loss_are_no_alarm(name, count):
    x = _normal(count, 2, seed=6)
    y = torch.tanh(x @ torch.tensor([1.0, -0.5]).double()) + 0.3 * _normal(count, seed=7)
    said = _says(lambda: bh.TorchModel(Net(FINE[name]), nn.MSELoss(), x, y).fit("HC0", polish=False))
    assert "derivative of" not in said, said


@pytest.mark.slow
@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("offset", [1e4, 1e8, 1e12, 1e15])
def test_large_numbers_are_no_alarm(offset, polish):
    """Of residuals of 1 beside targets of 1e12, four digits are left."""
    y = offset + D
    for loss in (lambda o, t: (o - t).square().mean(), nn.MSELoss()):
        for module in (nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1))):
            with torch.no_grad():
                next(reversed(list(module.parameters()))).fill_(offset)
            said = _says(lambda module=module, loss=loss: bh.TorchModel(module, loss, Z, y[:, None]).fit("HC0", polish=polish))  # fmt: skip
            assert "derivative of" not in said, said
    said = _says(
        lambda: bh.MEstimator(
            lambda p, d: (d["y"] - d["z"] @ p["b"] - p["a"]) ** 2, {"b": torch.zeros(2), "a": 0.0}, {"y": y, "z": Z}
        ).fit("HC0", polish=polish)
    )
    assert "derivative of" not in said, said


def test_a_cut_gradient_shows_far_from_the_optimum():
    start = {"b": torch.tensor([0.3, 0.2]), "a": 0.1}
    data = {"x": X, "y": 1e6 + T}
    assert CUT in _says(lambda: bh.MEstimator(lambda p, d: (d["y"] - p["a"] - TRIPLED(d["x"] @ p["b"])) ** 2, start, data).fit())  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [50, 2_000])
def test_losses_with_kinks_are_no_alarm(seed, count):
    x, y = _normal(count, 2, seed=seed), _normal(count, seed=100 + seed)
    y = y.round(decimals=1) if seed % 2 else y
    for loss in (torch.abs, lambda e: torch.maximum(0.2 * e, -0.8 * e), lambda e: F.relu(1 - e), torch.round):
        said = _says(
            lambda loss=loss: bh.MEstimator(
                lambda p, d: loss(d["y"] - d["x"] @ p["b"] - p["a"]), {"a": 0.0, "b": torch.zeros(2)}, {"x": x, "y": y}
            ).fit()
        )
        assert "derivative of" not in said or loss is torch.round, said


def test_what_does_not_depend_on_free_parameters_may_be_detached():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.fixed = nn.Linear(2, 1), nn.Linear(2, 1).requires_grad_(False)

        def forward(self, x):
            return torch.tanh(self.fc(x - 0.1 * x.detach().abs().float().double() + self.fixed(x).detach()))

    res = bh.TorchModel(Centred(), nn.MSELoss(), X, T).fit("HC0")
    assert res.converged


# two steps


def _control(cut):
    def row_loss(p, d):
        first = d["w"] - p["c"] - d["z"] @ p["pi"]
        rest = d["y"] - p["a"] - p["b"] * d["w"] - p["rho"] * (first.detach() if cut else first)
        return first**2 + rest**2

    return bh.MEstimator(
        row_loss,
        {"c": 0.0, "pi": torch.zeros(2), "a": 0.0, "b": 0.0, "rho": 0.0},
        {"y": Y, "w": D, "z": Z},
    )


@pytest.mark.parametrize("cov_type", ["HC0", "HC1"])
@pytest.mark.parametrize("bread", ["observed", "gauss-newton"])
def test_a_control_function_that_is_cut_off_is_told_of_stacked_moments(cov_type, bread):
    text = _says(lambda: _control(True).fit(cov_type, bread=bread))
    assert CUT in text
    assert "'c', 'pi[0]', 'pi[1]':" in text
    assert "stacked moments" in text
    assert not _says(lambda: _control(False).fit(cov_type))


def test_a_second_backward_that_misses_a_term_is_refused():
    class Exp(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.fc, self.function = nn.Linear(2, 1), function

        def forward(self, x):
            return self.function(0.3 * self.fc(x))[:, 0]

    y = torch.exp(0.3 * X[:, 0]) + 0.1 * T
    text = _says(lambda: bh.TorchModel(Exp(Kept.apply), nn.MSELoss(), X, y).fit("HC0"))
    assert "Hessian of the loss is not the derivative of its gradient" in text
    assert "save_for_backward" in text
    right = bh.TorchModel(Exp(torch.exp), nn.MSELoss(), X, y).fit("HC0", bread="gauss-newton")
    kept = bh.TorchModel(Exp(Kept.apply), nn.MSELoss(), X, y).fit("HC0", bread="gauss-newton")
    torch.testing.assert_close(kept.bse, right.bse, rtol=ROUNDING, atol=0)
