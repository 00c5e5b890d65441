"""Which of torch's losses one is, and the shape and the type of a target that it needs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from betahat.errors import DataError, counted

_SAMPLE = 512

_FUNCTIONS: dict[Any, str] = {
    functional.mse_loss: "mse_loss",
    functional.binary_cross_entropy: "binary_cross_entropy",
    functional.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    functional.cross_entropy: "cross_entropy",
    functional.nll_loss: "nll_loss",
    functional.poisson_nll_loss: "poisson_nll_loss",
    functional.gaussian_nll_loss: "gaussian_nll_loss",
    functional.huber_loss: "huber_loss",
    functional.smooth_l1_loss: "smooth_l1_loss",
}

_MODULES: dict[type, str] = {
    nn.MSELoss: "mse_loss",
    nn.BCELoss: "binary_cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "nll_loss",
    nn.PoissonNLLLoss: "poisson_nll_loss",
    nn.GaussianNLLLoss: "gaussian_nll_loss",
    nn.HuberLoss: "huber_loss",
    nn.SmoothL1Loss: "smooth_l1_loss",
}


def matching_target(loss: Any, output: Tensor, target: Tensor) -> Tensor:
    """Give the target the shape and the type that the loss needs.

    (n,) and (n, 1) are the same rows; otherwise torch would compare each row with every other.
    """
    if len(output) != len(target):
        raise DataError(
            f"The module returned {len(output)} rows and the target has {len(target)}; pass a target for each row."
        )
    kind = kind_of(loss)
    if kind in ("cross_entropy", "nll_loss"):
        return _class_target(loss, output, target)
    if kind is None:
        return target.to(torch.float64) if target.is_floating_point() else target
    target = target.to(torch.float64)
    wanted = output.shape[:-1] if kind == "gaussian_nll_loss" else output.shape
    if target.numel() == wanted.numel():
        return target.reshape(wanted)
    raise DataError(
        f"The module's output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; pass a target with a "
        "number for each number of the output."
    )


def _class_target(loss: Any, output: Tensor, target: Tensor) -> Tensor:
    if output.ndim < 2:
        raise DataError(
            f"The module's output has shape {tuple(output.shape)}; a loss of classes needs (n, J), a column for each class."
        )
    if target.shape == output.shape and target.is_floating_point():
        return target.to(torch.float64)
    shape = (output.shape[0], *output.shape[2:])
    if target.numel() != math.prod(shape) or (target.is_floating_point() and bool((target != target.round()).any())):
        raise DataError(
            f"The target has shape {tuple(target.shape)}; a loss of classes needs (n,) classes 0, 1, ..., or (n, J) probabilities."
        )
    codes = target.reshape(shape).long()
    ignored = codes == (vars(loss)["ignore_index"] if isinstance(loss, nn.Module) else -100)
    used = codes[~ignored]
    idle = int(ignored.reshape(len(codes), -1).all(1).sum())
    if idle:
        raise DataError(
            f"{counted(idle, 'row')} of the target have only the class that ignore_index leaves out, and would count as observations; "
            "leave them out of inputs and target."
        )
    if bool((used < 0).any()) or bool((used >= output.shape[1]).any()):
        raise DataError(
            f"The target has classes from {int(used.min())} to {int(used.max())} and the module {output.shape[1]} outputs; classes "
            "are 0, 1, ..., J - 1."
        )
    return codes


def kind_of(loss: Any) -> str | None:
    """Return the name in `torch.nn.functional` of a loss of torch; None for any other."""
    return _MODULES.get(type(loss)) if isinstance(loss, nn.Module) else _FUNCTIONS.get(loss)
