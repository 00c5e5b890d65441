"""A user's loss as an objective: torch's own are known by name, any other by what it does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from betahat.errors import DataError, OptionError, described
from betahat.objectives.base import Claim, OutputLoss, row_sums
from betahat.objectives.bernoulli import Logistic, Probability
from betahat.objectives.gaussian import Gaussian, GaussianMeanVariance
from betahat.objectives.huber import Huber
from betahat.objectives.own import OwnLoss
from betahat.objectives.poisson import PoissonLog, PoissonMean
from betahat.objectives.softmax import LogProbabilities, Softmax

_SAMPLE = 512
# Sums in another order agree to rounding; what does not add up is off by far more.
_ADDS_UP = 1e-9


@dataclass(frozen=True, eq=False)
class ReadLoss:
    """What was made of a loss.

    Attributes
    ----------
    objective : OutputLoss
        Its sum over rows is what is minimised.
    name : str
        What a summary calls it.
    units : float
        The objective's sum over the user's value: what a penalty beside the user's loss is multiplied by.
    """

    objective: OutputLoss
    name: str
    units: float


def read_loss(loss: Any, output: Tensor, target: Tensor, likelihood: bool | None) -> ReadLoss:
    """Recognise a loss, and find out by trying whether it adds rows or averages them.

    Parameters
    ----------
    loss : nn.Module or callable
        (output, target) -> loss.
    output, target : Tensor
        (n, ...) of the module at its parameters.
    likelihood : bool, optional
        What the user says of it; None believes a recognised loss to be one, and no other.

    Raises
    ------
    OptionError, DataError
        The loss of all rows is neither the sum nor the mean of the losses of its parts.
    """
    if not callable(loss):
        raise OptionError(
            f"The loss is {loss!r}; pass a torch loss such as nn.MSELoss(), or a function of output and target."
        )
    if isinstance(loss, type):
        raise OptionError(f"The loss is the class {loss.__name__}; pass an instance, {loss.__name__}().")
    known = _recognised(loss, output, target)
    if likelihood and known is not None and known.claim is Claim.NONE:
        known = None  # a density of the user's, whose scale is the loss's own
    name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", type(loss).__name__)
    call = _caller_of(loss)
    few = min(len(output), _SAMPLE)
    generator = torch.Generator(device="cpu").manual_seed(0)
    shake = 0.9 + 0.1 * torch.rand(output[:few].shape, generator=generator, dtype=torch.float64).to(output.device)
    trial, of = output[:few].detach() * shake, target[:few]
    value = _try(call, trial, of, name)
    by_row = value.ndim > 0 and len(value) == few and few > 1
    _check_rows(call, trial, of, value, by_row, name)
    reduction = "none" if by_row else _reduction(call, trial, of, value, name)
    if known is None or likelihood is False:
        claim = Claim.LIKELIHOOD if likelihood else Claim.NONE
        function, rowwise = (known.losses, True) if known is not None else _by_rows(call, trial, of, by_row)
        objective: OutputLoss = OwnLoss(function, claim, rowwise)
    else:
        objective = known
        _check_range(known, target)
    return ReadLoss(objective, name, _units(objective, call, trial, of, reduction, len(output)))


def _check_range(objective: OutputLoss, target: Tensor) -> None:
    """Refuse targets that the distribution gives no probability."""
    if isinstance(objective, Logistic | Probability) and bool(((target < 0) | (target > 1)).any()):
        raise DataError("The target has values outside [0, 1]; pass 0 and 1, or shares between them.")
    if isinstance(objective, PoissonLog | PoissonMean) and bool((target < 0).any()):
        raise DataError("The target has negative values; pass counts.")


def matching_target(loss: Any, output: Tensor, target: Tensor) -> Tensor:
    """Give the target the shape and the type that the loss needs.

    (n,) and (n, 1) are the same rows. Without this torch would compare each row with every other.

    Raises
    ------
    DataError
        The shapes do not belong together, or classes are not 0, 1, ..., J - 1.
    """
    if len(output) != len(target):
        raise DataError(
            f"The module returned {len(output)} rows and the target has {len(target)}; pass a target for each row."
        )
    kind = _kind(loss)
    if kind in ("cross_entropy", "nll_loss"):
        return _class_target(output, target)
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


def _class_target(output: Tensor, target: Tensor) -> Tensor:
    if output.ndim != 2:
        raise DataError(
            f"The module's output has shape {tuple(output.shape)}; a loss of classes needs (n, J), a column for each class."
        )
    if target.ndim == 2 and target.shape == output.shape and target.is_floating_point():
        return target.to(torch.float64)
    target = target if target.is_floating_point() else target.long()
    flat = target.reshape(len(target), -1)
    if flat.shape[1] != 1 or bool((flat != flat.round()).any()):
        raise DataError(
            f"The target has shape {tuple(target.shape)}; a loss of classes needs (n,) classes 0, 1, ..., or (n, J) probabilities."
        )
    codes = flat[:, 0].long()
    if bool((codes < 0).any()) or bool((codes >= output.shape[1]).any()):
        raise DataError(
            f"The target has classes from {int(codes.min())} to {int(codes.max())} and the module {output.shape[1]} outputs; classes "
            "are 0, 1, ..., J - 1: leave out rows of an ignored class."
        )
    return codes


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


def _kind(loss: Any) -> str | None:
    return _MODULES.get(type(loss)) if isinstance(loss, nn.Module) else _FUNCTIONS.get(loss)


def _recognised(loss: Any, output: Tensor, target: Tensor) -> OutputLoss | None:
    """Return the objective of a loss that is known; a weighted or smoothed one, or one that leaves out rows, is not."""
    options = vars(loss) if isinstance(loss, nn.Module) else {}
    buffers = loss._buffers if isinstance(loss, nn.Module) else {}
    if any(buffers.get(name) is not None for name in ("weight", "pos_weight")) or options.get("label_smoothing"):
        return None
    if "ignore_index" in options and bool((target == options["ignore_index"]).any()):
        return None
    makers: dict[str | None, Callable[[], OutputLoss | None]] = {
        "mse_loss": Gaussian,
        "binary_cross_entropy": Probability,
        "binary_cross_entropy_with_logits": Logistic,
        "cross_entropy": lambda: Softmax() if output.ndim == 2 else None,
        "nll_loss": lambda: LogProbabilities() if output.ndim == 2 else None,
        "poisson_nll_loss": lambda: (
            PoissonLog() if options.get("log_input", True) else PoissonMean(options.get("eps", 1e-8))
        ),
        "gaussian_nll_loss": lambda: GaussianMeanVariance(options.get("eps", 1e-6)),
        "huber_loss": lambda: Huber(float(options.get("delta", 1.0))),
        "smooth_l1_loss": lambda: Huber(float(options["beta"])) if options.get("beta", 1.0) > 0 else None,
    }
    if _kind(loss) == "smooth_l1_loss" and "beta" not in options:
        return Huber(1.0)
    return makers.get(_kind(loss), lambda: None)()


def _caller_of(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
    if _kind(loss) == "gaussian_nll_loss":
        return lambda output, target: loss(output[..., 0], target, output[..., 1])
    call: Callable[[Tensor, Tensor], Tensor] = (
        copy.deepcopy(loss).to(torch.float64) if isinstance(loss, nn.Module) else loss
    )
    return call


def _try(call: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, name: str) -> Tensor:
    try:
        value = call(output, target)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{name} cannot be taken of an output of shape {tuple(output.shape)} and a target of shape {tuple(target.shape)} "
            f"({str(error).splitlines()[0]}); pass a loss of output and target, and a target that it understands."
        ) from error
    if not isinstance(value, Tensor):
        raise DataError(f"{name} returned {described(value)}; a loss must return a tensor.")
    return value.detach()


def _reduction(
    call: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, whole: Tensor, name: str
) -> str:
    """Split the rows unevenly: the loss adds, or it averages, or it is refused."""
    if whole.numel() != 1:
        raise DataError(
            f"{name} returned a tensor of shape {tuple(whole.shape)}; it must return one number, or one for each row."
        )
    if not bool(torch.isfinite(whole).all()):
        raise DataError(
            f"{name} is {float(whole)} at the module's parameters; it must be finite: look for overflow, or train it again."
        )
    if len(output) < 2:
        return "sum"
    cut = max(1, len(output) // 3)
    first, second = (_try(call, output[part], target[part], name) for part in (slice(0, cut), slice(cut, None)))
    share = cut / len(output)
    scale = float(whole.abs() + first.abs() + second.abs()) + 1e-300
    if abs(float(whole - first - second)) <= _ADDS_UP * scale:
        return "sum"
    if abs(float(whole - share * first - (1.0 - share) * second)) <= _ADDS_UP * scale:
        return "mean"
    if output.ndim != target.ndim and output.numel() == target.numel():
        raise DataError(
            f"The output has shape {tuple(output.shape)} and the target {tuple(target.shape)}, so that {name} compares each row with every "
            "other; pass a target of the shape of the output."
        )
    raise OptionError(
        f"The loss ({name}) of all rows is neither the sum nor the mean of that of its parts, so rows have no scores (a root of a mean, a "
        "mean with class weights, or a loss that holds a penalty does that); pass a loss that adds or averages rows, with reduction='sum' say, and a "
        "penalty as penalty=."
    )


def _by_rows(
    call: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, by_row: bool
) -> tuple[Callable[[Tensor, Tensor], Tensor], bool]:
    """Return a loss, and whether it gives each row's: where vmap cannot take it row by row, a loop does."""
    if by_row:
        return call, True
    try:
        OwnLoss(call, Claim.NONE, False).losses(output[:2], target[:2])
    except (RuntimeError, NotImplementedError, ValueError):

        def looped(out: Tensor, of: Tensor) -> Tensor:
            return torch.stack(
                [row_sums(call(o[None], t[None]).reshape(1, -1))[0] for o, t in zip(out, of, strict=True)]
            )

        return looped, True
    return call, False


def _check_rows(
    call: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, value: Tensor, by_row: bool, name: str
) -> None:
    """Refuse a loss that compares each row with every other, as broadcasting (n, 1) against (n,) does."""
    if len(output) < 2:
        return
    alone = row_sums(_try(call, output[:1], target[:1], name).reshape(1, -1))
    together = row_sums(value.reshape(len(value), -1))[:1] if by_row else alone
    crossed = output.shape != target.shape and output.numel() == target.numel() and output.ndim != target.ndim
    if by_row and not torch.allclose(alone, together, rtol=1e-9, atol=1e-12):
        raise DataError(
            f"The loss of a row depends on other rows: the output has shape {tuple(output.shape)} and the target "
            f"{tuple(target.shape)}"
            f"{', so that torch compares each row with every other: pass a target of the shape of the output.' if crossed else '; pass a loss of single rows.'}"
        )


def _units(
    objective: OutputLoss,
    call: Callable[[Tensor, Tensor], Tensor],
    output: Tensor,
    target: Tensor,
    reduction: str,
    nobs: int,
) -> float:
    """Return what one unit of the user's loss of all rows is in the objective's sum: from two outputs' differences."""
    other = 0.8 * output
    ours = float(objective.losses(output, target).sum() - objective.losses(other, target).sum())
    theirs = float(call(output, target).sum() - call(other, target).sum())
    ratio = ours / theirs if theirs else 1.0
    return ratio * nobs / len(output) if reduction == "mean" else ratio
