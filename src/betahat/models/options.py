"""What the models' `fit` and constructors share: the names of breads, penalties, blocks of rows, a guard of user code."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.problem import Penalty
from betahat.calculus.rows import Bread
from betahat.data.modes import check_held
from betahat.errors import (
    BetahatError,
    ConvergenceWarning,
    DataError,
    OptionError,
    counted,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.fits.fit import Fit
from betahat.objectives.dispersion import Dispersion

Tensors = Mapping[str, tuple[int, torch.Size]]

# A decrement of 1e-6 is a thousandth of a standard error.
_NEAR = 1e-6
# How many rows are tried before all are used.
PROBED_ROWS = 16
# Numbers in a block of scores, and its fewest and most rows.
_BLOCK, FEWEST_ROWS, _MOST_ROWS = 2**20, 256, 2**15


def rows_in_block(numbers: int) -> int:
    """Return how many rows of so many numbers, scores and data, make a block."""
    return min(max(_BLOCK // max(numbers, 1), FEWEST_ROWS), _MOST_ROWS)


def few_places(nobs: int, count: int, device: torch.device) -> Tensor:
    """Return (count,) positions of rows from first to last, since data may be sorted; all where there are no more."""
    return torch.linspace(0, nobs - 1, min(nobs, count), dtype=torch.float64, device=device).round().long()


def read_names(names: Iterable[Any]) -> tuple[str, ...]:
    """Return the user's names of the parameters; a single string would give its letters."""
    if isinstance(names, str):
        raise OptionError(
            f"names is {shown(names)}; pass a list with a name for each parameter, such as [{shown(names)}]."
        )
    return tuple(map(str, names))


def check_general_options(bread: Bread, rank: str | None, dispersion: Dispersion, penalty: Penalty | None) -> None:
    """Refuse a rank or a bread that a loss does not have."""
    if not is_one_of(rank, (None, "pinv")):
        raise OptionError(f"rank is {shown(rank)}; use None (a flat direction is an error) or 'pinv'.")
    if bread is Bread.OPG and (not dispersion.likelihood or penalty is not None):
        raise OptionError(
            "bread='opg' takes the scores' outer products for the information, which holds for a likelihood without a penalty; pass "
            "bread='observed', or likelihood=True if the loss is minus a log-density."
        )


def refuse_options(options: Mapping[str, Any], how: str) -> None:
    """Refuse statsmodels' choices of a solver, where a model is solved in one way."""
    if "vcov" in options:
        raise OptionError(
            "fit does not take 'vcov', which is cov_type here; pass a name or an estimator, such as cov_type='HC1'."
        )
    if options:
        raise OptionError(
            f"fit does not take {listed(options)}: betahat solves {how}, or says why not; leave such options out."
        )


def check_values(columns: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse missing, infinite and complex values."""
    for label, part in columns:
        check_held(part, label)
        if part.is_complex():
            raise DataError(
                f"{label} is complex; betahat needs real numbers: pass real and imaginary parts as columns."
            )
        if part.is_floating_point() and bool(torch.isfinite(part.sum())):
            continue  # a tenth of the time
        bad = int((~torch.isfinite(part)).sum())
        if bad:
            raise DataError(
                f"{label} has {counted(bad, 'missing or infinite value')}; leave those rows out, or fill them in."
            )


@contextmanager
def user_code(what: str, remedy: str) -> Iterator[None]:
    """Say in a sentence what a function of the user's raised, whatever it is."""
    try:
        yield
    except BetahatError:
        raise
    except Exception as error:
        raise DataError(f"{what} ({type(error).__name__}: {reason_of(error)}); {remedy}.") from error


@dataclass(frozen=True)
class Manners:
    """What a user's code does beside computing, so that it is done to copies.

    Attributes
    ----------
    writes : bool
        Whether it changes what it is called with.
    draws : bool
        Whether it draws from the global generators.
    """

    writes: bool = False
    draws: bool = False

    @contextmanager
    def kept(self, tensors: Iterable[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        """Yield what to call it with: copies, where it writes; generators are left where they were, where it draws."""
        given = tuple(part.clone() for part in tensors) if self.writes else tuple(tensors)
        with kept_generators() if self.draws else nullcontext():
            yield given


PLAIN = Manners()


@contextmanager
def kept_generators() -> Iterator[Callable[[], bool]]:
    """Leave the global generators of torch, NumPy and Python where they were; yield what tells whether they have moved."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = torch.cuda.get_rng_state_all() if cuda else []
    cpu, numbers, plain = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002

    def moved() -> bool:
        now = np.random.get_state(legacy=False)  # noqa: NPY002
        same = torch.equal(torch.get_rng_state(), cpu) and random.getstate() == plain
        same = same and all(map(torch.equal, torch.cuda.get_rng_state_all() if cuda else [], devices))
        return not (same and _frozen(now) == _frozen(numbers))

    try:
        yield moved
    finally:
        torch.set_rng_state(cpu)
        np.random.set_state(numbers)  # noqa: NPY002
        random.setstate(plain)
        if cuda:
            torch.cuda.set_rng_state_all(devices)


def _frozen(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _frozen(part) for name, part in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state


def has_changed(now: Iterable[Tensor], before: Iterable[Tensor]) -> bool:
    """Tell whether copies that a user's code was called with were written to, if only with the same numbers."""
    return any(
        (not part.is_inference() and bool(part._version)) or not torch.equal(part, old)
        for part, old in zip(now, before, strict=True)
    )


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).splitlines()[0][:150] if str(error) else type(error).__name__


@dataclass(frozen=True)
class Ridge:
    """The penalty weight / 2 times the sum of squares."""

    weight: float

    def __call__(self, params: Tensor) -> Tensor:
        """Return () the penalty of (k,) parameters."""
        return 0.5 * self.weight * params.square().sum()


@dataclass(frozen=True, eq=False)
class OwnPenalty:
    """A user's function of the parameters by name, times `units`."""

    function: Callable[..., Any]
    tensors: Tensors
    units: float
    draws: bool = False

    def __call__(self, params: Tensor) -> Tensor:
        """Return () the penalty of (k,) parameters."""
        remedy = f"it gets the parameters by name, which are {listed(self.tensors)}"
        with user_code("The penalty fails", remedy), Manners(True, self.draws).kept((params,)) as (copy,):
            value = self.function(by_name(copy, self.tensors))
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise OptionError(
                f"penalty returned {shown(value)}; it must return one number, by torch operations on p['name']."
            )
        return self.units * value.reshape(()).to(torch.float64)


def by_name(params: Tensor, tensors: Tensors) -> dict[str, Tensor]:
    """Return the parameter tensors in their shapes."""
    return {name: params[begin : begin + shape.numel()].view(shape) for name, (begin, shape) in tensors.items()}


def read_penalty(penalty: Any, tensors: Tensors, units: float, like: Tensor) -> Penalty | None:
    """Turn a penalty on the user's loss into one on the sum that is minimised, `units` times that loss; `like` are (k,) parameters to try it on."""
    if penalty is None:
        return None
    if callable(penalty):
        own = OwnPenalty(penalty, tensors, units)
        with kept_generators() as moved:
            own(like)
            return replace(own, draws=moved())
    number = penalty.item() if isinstance(penalty, Tensor) and penalty.ndim == 0 else penalty
    if isinstance(number, bool) or not isinstance(number, Real) or not 0.0 <= float(number) < float("inf"):
        raise OptionError(
            f"penalty is {shown(penalty)}; pass torch's weight decay, a number of zero or more, or a function of the parameters."
        )
    return Ridge(units * float(number)) if number else None


def warn_far(fit: Fit, start: Tensor, units: float) -> None:
    """Warn of parameters that are not at the optimum, and say why where it can be seen."""
    if fit.path is None or fit.path.decrement <= _NEAR:
        return
    decay = _weight_decay(fit.path.local.gradient, start)
    reason = (
        f"The gradient is minus {decay / units:.4g} times the parameters, as weight decay leaves it: pass penalty={decay / units:.4g}, "
        "or polish=True for the estimate without it."
        if decay is not None
        else "Train further, or fit with polish=True."
    )
    warnings.warn(
        f"The parameters are {fit.path.decrement**0.5:.2g} standard errors from the optimum, and standard errors belong to it. "
        f"{reason}",
        ConvergenceWarning,
        stacklevel=user_level(),
    )


def _weight_decay(gradient: Tensor, params: Tensor) -> float | None:
    """Return the factor of a gradient that is minus a multiple of the parameters, where it is not zero."""
    moved = gradient.abs() > 1e-3 * gradient.abs().max()
    slope, at = gradient[moved], params[moved]
    if len(slope) < 2 or not bool(at.any()):
        return None
    factor = -float(slope @ at / (at @ at))
    rest = torch.linalg.vector_norm(slope + factor * at) / torch.linalg.vector_norm(slope)
    return factor if factor > 0 and bool(rest < 0.05) else None
