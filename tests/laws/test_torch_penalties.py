"""Penalties and weight decay: the sandwich of the penalised loss."""

import pytest
import torch
from support.closeness import same_covariance
from support.modules import X2, filled
from support.torch_losses import LOSSES, loss_case, loss_model

import betahat as bh

# The optimum is where the decrement is below 1e-24: 1e-12 standard errors, before the rounding of sums.
OPTIMUM = 1e-9

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ["MSELoss", "BCEWithLogitsLoss", "own, curved"])
def test_penalised_sandwich(name, reduction):
    """A^-1 B A^-1 with A = H + P'', in the units of the user's loss."""
    size = 0.1 * (1.0 if reduction == "mean" else 60.0)
    losses = loss_case(name)
    units = 60.0 if reduction == "mean" else 1.0
    penalties = {
        "number": (size, lambda v: 0.5 * size * v.square().sum()),
        "callable": (
            lambda p: size * sum((1 + v.square()).log().sum() for v in (p[k] for k in _names_of(name))),
            lambda v: size * (1 + v.square()).log().sum(),
        ),
    }
    for given_as, function in penalties.values():
        res = loss_model(name, reduction, penalty=given_as).fit()
        assert res.cov_type == "HC0"

        def total(theta, function=function):
            return losses(theta).sum() + units * function(theta)

        gradient = torch.autograd.functional.jacobian(total, res.params)
        scores = torch.autograd.functional.jacobian(losses, res.params)
        assert float((gradient.abs() / scores.abs().sum(0)).max()) < OPTIMUM
        bread = torch.linalg.inv(torch.autograd.functional.hessian(total, res.params))
        same_covariance(res.cov_params(), bread @ scores.mT @ scores @ bread, 1e-9)
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
    module, y, loss = filled(build(), 3, 0.3).double(), target(), make(reduction)
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
