"""A user's loss as an objective: torch's own are known by name, any other by what it does."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from betahat.data.engine import OneAtATime, fold, gather_spread, numbered
from betahat.data.quiet import quiet
from betahat.errors import DataError, OptionError, described, shown
from betahat.models.options import (
    PLAIN,
    PROBED_ROWS,
    Manners,
    few_places,
    has_changed,
    kept_generators,
    reason_of,
    user_code,
)
from betahat.models.probes import AGREE, same_rows
from betahat.models.target_shape import kind_of
from betahat.objectives.base import OutputLoss, row_sums
from betahat.objectives.bernoulli import Logistic, Probability
from betahat.objectives.dispersion import Undefined, Unity
from betahat.objectives.gaussian import Gaussian, GaussianMeanVariance
from betahat.objectives.huber import Huber
from betahat.objectives.own import OwnLoss
from betahat.objectives.poisson import PoissonLog, PoissonMean
from betahat.objectives.softmax import LogProbabilities, Softmax

_SAMPLE = 512


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


def read_loss(loss: Any, output: Tensor, target: Tensor, likelihood: bool | None, rows: int) -> ReadLoss:
    """Recognise a loss, or find out on (n, ...) outputs and targets how it treats single rows, and check that on all of them.

    `likelihood` is what the user says; None takes only recognised losses for likelihoods. `rows` is the number of rows in a block.
    """
    if not callable(loss):
        raise OptionError(
            f"The loss is {shown(loss)}; pass a torch loss such as nn.MSELoss(), or a function of output and target."
        )
    if isinstance(loss, type):
        raise OptionError(f"The loss is the class {loss.__name__}; pass an instance, {loss.__name__}().")
    known = _recognised(loss, output, target)
    if likelihood and known is not None and not known.dispersion.likelihood:
        known = None  # a density of the user's, whose scale is the loss's own
    name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", type(loss).__name__)
    user = UserLoss(_caller_of(loss), name, output, target)
    places = few_places(len(output), _SAMPLE, output.device)
    trial, of = _shaken(output[places], 0), target[places]
    value = user(trial, of)
    by_row = value.ndim > 0 and len(value) == len(places) > 1
    _check_shape(value, by_row, name)
    if by_row:
        _check_alone(user, trial, of, value)
    elif len(places) > 2:
        user(trial[:2], of[:2])  # what holds a number for each row does not take two
    manners = _manners_of(user, trial, of)
    if known is None:
        _check_moves(user, trial, of)
    if known is not None:
        check_range(known, target)
        objective: OutputLoss = OwnLoss(known.losses, Undefined(), True) if likelihood is False else known
        share = _count(known, target) / _count(known, of) if _reduction(loss) == "mean" else 1.0
        return ReadLoss(objective, name, share * _units(known, user, trial, of))
    if kind_of(loss) is not None:
        user_rows = replace(user, call=_without_reduction(loss))
        _check_alone(user_rows, trial, of, user_rows(trial, of))
        function, rowwise = user_rows.call, True
    else:
        function, rowwise = _by_rows(user.call, trial, of, by_row)
    if manners != PLAIN:
        function = Guarded(function, manners)
    own = OwnLoss(function, Unity() if likelihood else Undefined(), rowwise)
    return ReadLoss(own, name, _checked_units(own, user, by_row, rows))


def units_of_repeated(loss: Any, read: ReadLoss, output: Tensor, target: Tensor, counts: Tensor, rows: int) -> float:
    """Return the units of a loss of rows that occur (n,) `counts` times: a mean is over all copies."""
    often = counts.long()
    outputs, targets = (part.repeat_interleave(often, 0) for part in (output, target))
    return read_loss(loss, outputs, targets, read.objective.dispersion.likelihood, rows).units


def _check_moves(user: UserLoss, output: Tensor, target: Tensor) -> None:
    """Refuse a loss that is cut off from the output."""
    remedy = "write it with torch operations on the output, without detach(), item(), numpy() or comparisons alone"
    with torch.enable_grad(), user_code(f"{user.name} has no gradient", remedy):
        if not user.call(
            output.detach().requires_grad_(True).clone(), target.clone()
        ).requires_grad:  # it may work in place
            raise TypeError("its result does not depend on the output through torch")


def check_range(objective: OutputLoss, target: Tensor) -> None:
    """Refuse targets that the distribution gives no probability."""
    support = objective.support
    if support is None:
        return
    outside = support.outside([int(count) for count in support.tally(target)])
    if outside is not None:
        raise DataError(f"The target has {outside}; pass {support.needed}.")


def _recognised(loss: Any, output: Tensor, target: Tensor) -> OutputLoss | None:
    """Return the objective of a loss that is known; a weighted or smoothed one is not."""
    options = vars(loss) if isinstance(loss, nn.Module) else {}
    buffers = loss._buffers if isinstance(loss, nn.Module) else {}
    if any(buffers.get(name) is not None for name in ("weight", "pos_weight")) or options.get("label_smoothing"):
        return None
    index = options.get("ignore_index", -100)
    classes = target.ndim == output.ndim - 1
    ignored = index if classes and bool((target == index).any()) else None
    makers: dict[str | None, Callable[[], OutputLoss | None]] = {
        "mse_loss": Gaussian,
        "binary_cross_entropy": Probability,
        "binary_cross_entropy_with_logits": Logistic,
        "cross_entropy": lambda: Softmax(ignored),
        "nll_loss": lambda: LogProbabilities(ignored),
        "poisson_nll_loss": lambda: (
            PoissonLog() if options.get("log_input", True) else PoissonMean(options.get("eps", 1e-8))
        ),
        "gaussian_nll_loss": lambda: GaussianMeanVariance(options.get("eps", 1e-6)),
        "huber_loss": lambda: Huber(float(options.get("delta", 1.0))),
        "smooth_l1_loss": lambda: Huber(float(options["beta"])) if options.get("beta", 1.0) > 0 else None,
    }
    if kind_of(loss) == "smooth_l1_loss" and "beta" not in options:
        return Huber(1.0)
    return makers.get(kind_of(loss), lambda: None)()


def _count(objective: OutputLoss, target: Tensor) -> float:
    """Return how many rows, or positions of rows that are not left out, a mean is taken over."""
    taken = objective.taken(target)
    return float(len(target) if taken is None else taken.sum())


def _reduction(loss: Any) -> str:
    """Return the reduction of a recognised loss; torch's functions average."""
    return str(vars(loss)["reduction"]) if isinstance(loss, nn.Module) else "mean"


def _without_reduction(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Return one of torch's losses of each row: what it sums, and divides by what does not depend on the output."""
    if not isinstance(loss, nn.Module):
        return functools.partial(loss, reduction="none")
    twin = copy.deepcopy(loss)
    twin.reduction = "none"  # type: ignore[assignment]
    return _caller_of(twin)


def _caller_of(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
    if kind_of(loss) == "gaussian_nll_loss":
        return lambda output, target: loss(output[..., 0], target, output[..., 1])
    if not isinstance(loss, nn.Module):
        function: Callable[[Tensor, Tensor], Tensor] = loss
        return function
    twin: Callable[[Tensor, Tensor], Tensor] = copy.deepcopy(loss).to(torch.float64).requires_grad_(False)
    return twin


@dataclass(frozen=True, eq=False)
class UserLoss:
    """A user's loss, called with whatever rows, and the sentences for what it may do.

    Attributes
    ----------
    call : callable
        (output, target) -> loss.
    name : str
        What a sentence calls it.
    output, target : Tensor
        (n, ...) all rows.
    """

    call: Callable[[Tensor, Tensor], Tensor]
    name: str
    output: Tensor
    target: Tensor

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of some rows."""
        try:
            with torch.enable_grad():
                value = self.call(output.clone(), target.clone())
        except Exception as error:
            if len(output) < len(self.output) and self._takes_all():
                self.refuse_held()
            raise DataError(
                f"{self.name} cannot be taken of an output of shape {tuple(output.shape)} and a target of shape {tuple(target.shape)} "
                f"({reason_of(error)}); pass a loss of output and target, and a target that it understands."
            ) from error
        if not isinstance(value, Tensor):
            raise DataError(f"{self.name} returned {described(value)}; a loss must return a tensor.")
        if not value.is_floating_point() or value.layout != torch.strided:
            kind = "sparse" if value.layout != torch.strided else str(value.dtype)
            raise DataError(
                f"{self.name} returned a {kind} tensor; a loss must return dense, real floating-point numbers."
            )
        if value.requires_grad:
            raise OptionError(
                f"{self.name} depends on parameters beyond the module's output, as a penalty inside a loss does, and they "
                "would not be moved; pass a penalty as penalty=, and other parameters as those of the module."
            )
        return value

    def refuse_held(self) -> NoReturn:
        """Refuse a loss that holds weights of all rows."""
        raise DataError(
            f"{self.name} holds a tensor with a number for each of the {len(self.output)} rows, such as weight=, and rows are "
            "taken apart; pass it beside the target, as target=torch.column_stack([y, w]), and a loss that takes target[:, :1] "
            "and target[:, 1:]."
        )

    def _takes_all(self) -> bool:
        try:
            self.call(self.output.clone(), self.target.clone())
        except Exception:  # whatever a user's function raises
            return False
        return True


@dataclass(frozen=True, eq=False)
class Guarded:
    """A loss that writes to what it is called with, or draws.

    Attributes
    ----------
    call : callable
        (output, target) -> loss.
    manners : Manners
        What it does beside computing.
    """

    call: Callable[[Tensor, Tensor], Tensor]
    manners: Manners

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss, of copies."""
        with self.manners.kept((output, target)) as given:
            return self.call(*given)


def _manners_of(user: UserLoss, output: Tensor, target: Tensor) -> Manners:
    """Find out what a loss does beside computing."""
    copies = output.clone(), target.clone()
    with kept_generators() as moved:
        value = user.call(*copies)
        found = Manners(has_changed(copies, (output, target)), moved())
        if found.draws and not torch.equal(value, user(output, target)):
            raise DataError(
                f"{user.name} is random: two calls with the same output differ; remove the random numbers from it."
            )
    return found


def _check_shape(value: Tensor, by_row: bool, name: str) -> None:
    if value.numel() != 1 and not by_row:
        raise DataError(
            f"{name} returned a tensor of shape {tuple(value.shape)}; it must return one number, or one for each row."
        )


def _by_rows(
    call: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, by_row: bool
) -> tuple[Callable[[Tensor, Tensor], Tensor], bool]:
    """Return a loss, and whether it gives each row's: where vmap cannot take it row by row, a loop does."""
    if by_row:
        return call, True
    try:
        with quiet():  # torch warns of the standard deviation of a single row
            OwnLoss(call, Undefined(), False).losses(output[:2], target[:2])
    except (RuntimeError, NotImplementedError, ValueError):

        def looped(out: Tensor, of: Tensor) -> Tensor:
            return torch.stack(
                [row_sums(call(o[None], t[None]).reshape(1, -1))[0] for o, t in zip(out, of, strict=True)]
            )

        return looped, True
    return call, False


def _check_alone(user: UserLoss, output: Tensor, target: Tensor, together: Tensor) -> None:
    """Refuse a loss of rows that gives a row alone another loss, as broadcasting (n, 1) against (n,) does."""
    for i in few_places(len(output), PROBED_ROWS, output.device).tolist():
        alone = user(output[i : i + 1], target[i : i + 1])
        if alone.ndim > 0 and len(alone) != 1:
            user.refuse_held()
        if not same_rows(row_sums(together[i : i + 1].reshape(1, -1)), row_sums(alone.reshape(1, -1))):
            raise _rows_mix(user)


def _rows_mix(user: UserLoss) -> DataError:
    """Return the error of a loss of mixed rows."""
    return _crossed(user) or DataError(
        "The loss of a row depends on other rows or on its place; pass a loss that takes single rows, and what else it needs of each "
        "row as further columns of the target."
    )


def _crossed(user: UserLoss) -> DataError | None:
    """Return the error of (n, 1) against (n,), where torch compares each row with every other, if a target of the output's shape is the cure."""
    output, target = user.output[:2], user.target[:2]
    if output.ndim == target.ndim or output.numel() != target.numel() or len(output) < 2:
        return None
    target = target.reshape(output.shape)
    try:
        with quiet():  # torch warns of shapes that broadcast
            whole, *parts = (float(user.call(output[rows], target[rows]).sum()) for rows in ([0, 1], [0], [1]))
    except Exception:  # whatever a user's function raises
        return None
    gap = min(abs(whole - sum(parts)), abs(2.0 * whole - sum(parts)))
    if not (math.isfinite(gap) and gap <= AGREE * sum(map(abs, parts))):
        return None
    return DataError(
        f"The output has shape {tuple(user.output.shape)} and the target {tuple(user.target.shape)}, so that torch compares each row "
        "with every other and the loss is no sum over rows; pass a target of the shape of the output."
    )


def _units(objective: OutputLoss, user: UserLoss, output: Tensor, target: Tensor) -> float:
    """Return what one unit of a recognised loss is in the objective's sum: from two outputs' differences, free of constants."""
    other = 0.8 * output
    ours = float(objective.losses(output, target).sum() - objective.losses(other, target).sum())
    theirs = float(user(output, target).sum() - user(other, target).sum())
    return ours / theirs if theirs else 1.0


def _checked_units(own: OwnLoss, user: UserLoss, by_row: bool, rows: int) -> float:
    """Compare a loss of all rows with that of the rows, and return what one unit of it is in their sum.

    At two outputs, as the user would call it and in blocks: what depends only on the target, such as the sum of the class
    weights that torch divides by, is the same factor at both.
    """
    theirs, ours, sizes = [], [], []
    for seed in (1, 2):
        output = _shaken(user.output, seed)
        whole = user(output, user.target)
        _check_shape(whole, by_row, user.name)
        if by_row:
            apart = gather_spread((output, user.target), lambda *parts: _each(user(*parts)), rows)
            if not same_rows(_each(whole), apart):
                raise _rows_mix(user)
        with quiet():  # as in `_by_rows`
            both = numbered((output, user.target))
            summed, size = fold(both, lambda block: _sums(own.losses(*block.columns.values())), OneAtATime(rows))
        if not bool(torch.isfinite(whole).all()):
            raise DataError(
                f"{user.name} is {float(whole.sum())} at or near the module's parameters; it must be finite: look for overflow, "
                "or train it again."
            )
        theirs.append(float(whole.sum()))
        ours.append(float(summed))
        sizes.append(float(size))
    one, other = (0, 1) if abs(theirs[0]) >= abs(theirs[1]) else (1, 0)
    factor = ours[one] / theirs[one] if theirs[one] else 1.0
    if 0.0 < factor < math.inf and abs(ours[other] - factor * theirs[other]) <= AGREE * (
        sizes[other] + factor * abs(theirs[other])
    ):
        return factor
    raise _crossed(user) or OptionError(
        f"The loss ({user.name}) of all rows is neither the sum nor the mean of that of single rows, so rows have no scores (a root "
        "of a mean, a weighted mean, a statistic of all rows or a penalty inside does that); return the loss of each row, "
        "times its weight where there is one, and pass a penalty as penalty=."
    )


def _each(values: Tensor) -> Tensor:
    return row_sums(values.reshape(len(values), -1))


def _sums(losses: Tensor) -> tuple[Tensor, Tensor]:
    return losses.detach().sum(), losses.detach().abs().sum()


def _shaken(output: Tensor, seed: int) -> Tensor:
    """Return outputs somewhat nearer to zero, each by another share, which stay in the range of whatever they are; zeros move up."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    draws = torch.rand(output.shape, generator=generator, dtype=torch.float64, device="cpu").to(output.device)
    return torch.where(output == 0, 0.1 * draws, output.detach() * (1.0 - (0.1 if seed == 0 else 0.4) * draws))
