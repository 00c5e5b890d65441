"""The losses of torch that betahat recognises, each with a module and a target for it."""

import torch
import torch.nn.functional as F
from support.modules import X2, Curve, Moments, Padded, Squeezed, draws, filled, mlp, normal
from torch import nn
from torch.func import functional_call

import betahat as bh


def counts(seed=7):
    return torch.poisson(torch.exp(0.3 + 0.4 * X2[:, :1]), generator=draws(seed))


def yes(seed=7):
    return torch.bernoulli(torch.sigmoid(X2[:, :1] - 0.3), generator=draws(seed))


def classes(seed=7):
    return torch.multinomial(torch.softmax(F.pad(X2, (1, 0)), 1), 1, generator=draws(seed))[:, 0]


def shares(seed=7):
    return torch.softmax(normal(60, 3, seed=seed), 1)


def real(seed=7):
    return X2 @ torch.tensor([[1.0], [-0.5]]).double() + 0.3 + normal(60, 1, seed=seed)


class Exp(nn.Module):
    def __init__(self):
        super().__init__()
        self.index = nn.Linear(2, 1)

    def forward(self, x):
        return torch.exp(self.index(x))


LOSSES = {
    "MSELoss": (lambda r: nn.MSELoss(reduction=r), lambda: nn.Linear(2, 1), real),
    "F.mse_loss": (lambda r: F.mse_loss if r == "mean" else None, lambda: nn.Linear(2, 1), real),
    "MSELoss, curved": (lambda r: nn.MSELoss(reduction=r), lambda: Squeezed(nn.Linear(2, 1), Curve()), yes),
    "MSELoss of two": (lambda r: nn.MSELoss(reduction=r), lambda: nn.Linear(2, 2), lambda: torch.cat([real(1), real(2)], 1)),
    "BCEWithLogitsLoss": (lambda r: nn.BCEWithLogitsLoss(reduction=r), lambda: nn.Linear(2, 1), yes),
    "F.binary_cross_entropy_with_logits": (lambda r: F.binary_cross_entropy_with_logits if r == "mean" else None, lambda: nn.Linear(2, 1), yes),
    "BCELoss": (lambda r: nn.BCELoss(reduction=r), lambda: Squeezed(nn.Linear(2, 1), nn.Sigmoid()), yes),
    "F.binary_cross_entropy": (lambda r: F.binary_cross_entropy if r == "mean" else None, lambda: Squeezed(nn.Linear(2, 1), nn.Sigmoid()), yes),
    "pos_weight": (lambda r: nn.BCEWithLogitsLoss(reduction=r, pos_weight=torch.tensor([3.0])), lambda: nn.Linear(2, 1), yes),
    "CrossEntropyLoss": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Padded(2, 3), classes),
    "F.cross_entropy": (lambda r: F.cross_entropy if r == "mean" else None, lambda: Padded(2, 3), classes),
    "CrossEntropyLoss of probabilities": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Padded(2, 3), shares),
    "CrossEntropyLoss, smoothed": (lambda r: nn.CrossEntropyLoss(reduction=r, label_smoothing=0.1), lambda: Padded(2, 3), classes),
    "NLLLoss": (lambda r: nn.NLLLoss(reduction=r), lambda: nn.Sequential(Padded(2, 3), nn.LogSoftmax(1)), classes),
    "F.nll_loss": (lambda r: F.nll_loss if r == "mean" else None, lambda: nn.Sequential(Padded(2, 3), nn.LogSoftmax(1)), classes),
    "PoissonNLLLoss": (lambda r: nn.PoissonNLLLoss(reduction=r), lambda: nn.Linear(2, 1), counts),
    "PoissonNLLLoss, full": (lambda r: nn.PoissonNLLLoss(reduction=r, full=True), lambda: nn.Linear(2, 1), counts),
    "F.poisson_nll_loss": (lambda r: F.poisson_nll_loss if r == "mean" else None, lambda: nn.Linear(2, 1), counts),
    "PoissonNLLLoss of the mean": (lambda r: nn.PoissonNLLLoss(log_input=False, eps=0.0, reduction=r), Exp, counts),
    "PoissonNLLLoss of the mean, full": (lambda r: nn.PoissonNLLLoss(log_input=False, full=True, reduction=r), Exp, counts),
    "GaussianNLLLoss": (lambda r: nn.GaussianNLLLoss(reduction=r), lambda: Moments(True), real),
    "GaussianNLLLoss, full": (lambda r: nn.GaussianNLLLoss(full=True, reduction=r), lambda: Moments(True), real),
    "F.gaussian_nll_loss": (lambda r: F.gaussian_nll_loss if r == "mean" else None, lambda: Moments(True), real),
    "HuberLoss": (lambda r: nn.HuberLoss(reduction=r, delta=0.8), lambda: nn.Linear(2, 1), real),
    "F.huber_loss": (lambda r: F.huber_loss if r == "mean" else None, lambda: nn.Linear(2, 1), real),
    "SmoothL1Loss": (lambda r: nn.SmoothL1Loss(reduction=r, beta=0.7), lambda: nn.Linear(2, 1), real),
    "F.smooth_l1_loss": (lambda r: F.smooth_l1_loss if r == "mean" else None, lambda: nn.Linear(2, 1), real),
    "own": (lambda r: reduced(lambda o, t: torch.log(torch.cosh(o - t)), r), lambda: nn.Linear(2, 1), real),
    "own, curved": (lambda r: reduced(lambda o, t: torch.log(torch.cosh(o - t)), r), lambda: Squeezed(nn.Linear(2, 1), Curve()), yes),
}  # fmt: skip


def reduced(rows, reduction):
    def loss(output, target):
        each = rows(output.reshape(len(output), -1), target.reshape(len(target), -1))
        return {"none": each.sum(1), "sum": each.sum(), "mean": each.mean()}[reduction]

    return loss


def loss_model(name, reduction="mean", **options):
    loss, make, target = LOSSES[name]
    made = loss(reduction)
    return None if made is None else bh.TorchModel(filled(make(), 3, 0.3), made, X2, target(), **options)


def loss_case(name):
    """Return the double module's row losses as a function of the parameter vector, by the loss's own reduction none."""
    loss, make, target = LOSSES[name]
    module, y = filled(make(), 3, 0.3).double(), target()
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


BREADS = {
    "mse": (mlp, nn.MSELoss, real),
    "logit": (mlp, nn.BCEWithLogitsLoss, yes),
    "probability": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), nn.BCELoss, yes),
    "counts": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)), nn.PoissonNLLLoss, counts),
    "mean count": (Exp, lambda: nn.PoissonNLLLoss(log_input=False), counts),
    "classes": (lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh(), Padded(1, 3)), nn.CrossEntropyLoss, classes),
}
# A penalty that is strictly convex keeps every bread invertible, and a network's optimum near.
RIDGE = 0.05
