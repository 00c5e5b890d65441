"""The four breads of a module by loops over rows."""

import pytest
import torch
import torch.nn.functional as F
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, Padded, filled, mlp
from support.torch_losses import BREADS, RIDGE, Exp, classes, counts, loss_case, loss_model, real, yes
from torch import nn
from torch.func import functional_call

import betahat as bh

# The same sums of products in another order.
ROUNDING = 1e-10

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _pieces(name, theta):
    """Return J (n, m, k), l' (n, m) and l'' (n, m, m), from torch.func of the double module, and E(l'')."""
    case = {
        "mse": (mlp(), lambda o, t: 0.5 * (o - t).square().sum(), lambda o: torch.eye(1).double(), real()),
        "logit": (mlp(), lambda o, t: F.binary_cross_entropy_with_logits(o, t, reduction="sum"),
                  lambda o: torch.diag(torch.sigmoid(o) * torch.sigmoid(-o)), yes()),
        "probability": (nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), lambda o, t: F.binary_cross_entropy(o, t, reduction="sum"),
                        lambda o: torch.diag(1 / (o * (1 - o))), yes()),
        "counts": (nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)), lambda o, t: (o.exp() - t * o).sum(),
                   lambda o: torch.diag(o.exp()), counts()),
        "mean count": (Exp(), lambda o, t: (o - t * (o + 1e-8).log()).sum(), lambda o: torch.diag(o / (o + 1e-8) ** 2), counts()),
        "classes": (nn.Sequential(nn.Linear(2, 1), nn.Tanh(), Padded(1, 3)), lambda o, t: F.cross_entropy(o[None], t[None]),
                    lambda o: torch.diag(torch.softmax(o, 0)) - torch.outer(torch.softmax(o, 0), torch.softmax(o, 0)), classes()),
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


# Outer products are the information of a likelihood alone: without the ridge, where all is identified.
PAIRS = [(n, b) for n in BREADS for b in ("observed", "expected", "gauss-newton", "opg")]
PAIRS = [(n, b) for n, b in PAIRS if b != "opg" or n in ("probability", "mean count")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bread"), [pytest.param(*pair) for pair in PAIRS])
def test_breads(name, bread):
    make, loss, target = BREADS[name]
    penalty = RIDGE if bread != "opg" else 0.0
    model = bh.TorchModel(filled(make(), 3), loss(), X2, target(), penalty=penalty)
    res = model.fit("HC0", bread=bread)
    pieces = _pieces(name, res.params)
    per_row = 0.5 if name == "mse" else 1.0
    ridge = per_row * 60 * penalty * torch.eye(len(res.params), dtype=torch.float64)
    information = _information(bread, pieces) + ridge
    scores = torch.einsum("nm,nmk->nk", pieces[1], pieces[0])
    inverse = torch.linalg.inv(information)
    assert res.diagnostics.bread == bread
    same_covariance(res.fit.bread, inverse, 1e-8)
    same_covariance(res.cov_params(), inverse @ scores.mT @ scores @ inverse, 1e-8)
    plain = inverse @ (information - ridge) @ inverse
    if (bread != "opg" or name != "mse") and bool((plain.diagonal() > 0).all()):
        scale = 2 * res.loss / res.df_resid if name == "mse" else 1.0
        assert name != "mse" or res.scale == pytest.approx(scale, rel=1e-12)
        same_covariance(res.with_cov("nonrobust").cov_params(), scale * plain, 1e-8)
    n, k = scores.shape
    same_covariance(res.with_cov("HC1").cov_params(), n / (n - k) * res.cov_params(), 1e-12)
    if bread == "opg" or name == "classes":
        with pytest.raises(bh.EstimationError, match="Leverage"):
            res.with_cov("HC2")
        return
    curvature = pieces[3 if bread == "expected" else 2][:, 0, 0]
    leverage = curvature * torch.einsum("nk,kj,nj->n", pieces[0][:, 0], inverse, pieces[0][:, 0])
    for kind, power in (("HC2", 1), ("HC3", 2)):
        meat = sum(torch.outer(s, s) / (1 - h) ** power for s, h in zip(scores, leverage, strict=True))
        found = res.with_cov(kind)
        same_covariance(found.cov_params(), inverse @ meat @ inverse, 1e-8)
        assert "one-step leverage" in found.cov.note
        assert ("penalised" in found.cov.note) == bool(penalty)


def test_a_penalised_classical_covariance_is_one_or_an_error():
    model = bh.TorchModel(filled(mlp(), 3), nn.MSELoss(), X2, real(), penalty=RIDGE)
    try:
        res = model.fit("nonrobust")
    except bh.EstimationError:
        return
    assert bool(torch.isfinite(res.bse).all())


def test_opg_is_the_inverse_of_the_outer_products():
    for name in ("BCEWithLogitsLoss", "PoissonNLLLoss", "CrossEntropyLoss", "GaussianNLLLoss"):
        res = loss_model(name).fit("OPG")
        scores = torch.autograd.functional.jacobian(loss_case(name), res.params)
        same_covariance(res.cov_params(), torch.linalg.inv(scores.mT @ scores), 1e-9)
        same_covariance(res.cov_params(), loss_model(name).fit(bread="opg").cov_params(), 1e-9)


def test_the_bread_of_outer_products_does_not_depend_on_the_units_of_y():
    y = real()
    errors = [bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X2, c * y).fit(bread="opg").bse / c for c in (1.0, 100.0)]
    close_to_largest(errors[1], errors[0], 1e-9)


def test_the_bread_of_outer_products_is_opg_for_least_squares():
    res = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X2, real()).fit(bread="opg")
    same_covariance(res.cov_params(), res.with_cov("OPG").cov_params(), ROUNDING)
