"""Targets that are read again on each pass: their shape and type, their range, and what a penalty beside their loss is multiplied by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from betahat.data.engine import Block, OneAtATime, scan
from betahat.data.sample import Sample
from betahat.data.source import Source
from betahat.data.turned import computed
from betahat.errors import OptionError
from betahat.models.losses import ReadLoss, check_range, read_loss, units_of_repeated
from betahat.models.target_shape import matching_target
from betahat.objectives.base import OutputLoss
from betahat.solvers.lengths import lengths

# Units of half of the rows and of all of them are those of a sum, or of a mean.
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Tried:
    """A loss that was tried on rows.

    Attributes
    ----------
    loss : object
        The user's.
    read : ReadLoss
        What was made of it.
    output, target : Tensor
        (m, ...) what it was tried on.
    likelihood : bool or None
        What the user says.
    rows : int
        In a block.
    """

    loss: Any
    read: ReadLoss
    output: Tensor
    target: Tensor
    likelihood: bool | None
    rows: int

    def units(self, counts: Tensor | None) -> float:
        """Return its units, for rows that occur (m,) `counts` times."""
        if counts is None:
            return self.read.units
        return units_of_repeated(self.loss, self.read, self.output, self.target, counts, self.rows)

    def first(self, rows: int) -> Tried:
        """Try it on fewer rows."""
        output, target = self.output[:rows], self.target[:rows]
        read = read_loss(self.loss, output, target, self.likelihood, self.rows)
        return replace(self, read=read, output=output, target=target)


def read_as(source: Source, loss: Any, output: Tensor, matched: Tensor) -> Source:
    """Return numbered columns whose last is a target in the shape and the type that the loss needs, as (m, ...) some rows have it; `output` is theirs."""
    last = [name for name in source.shapes if name.isdigit()][-1]
    function = _Matched(tuple(matched.shape[1:]), matched.dtype)
    return computed(source, last, (last,), function, tuple(matched.shape[1:]))


def check_targets(source: Source, loss: Any, objective: OutputLoss, output: Tensor, rows: int) -> None:
    """Refuse targets that a loss does not take, in a pass over all of them."""
    last = [name for name in source.shapes if name.isdigit()][-1]
    for _ in scan(source.only(last), partial(_check, last, loss, objective, output[:1]), OneAtATime(rows)):
        pass


def length_of_target(target: Tensor, sample: Sample) -> float:
    """Return the root of the sum of the squares of (n, ...) targets, or of those that a sample reads again."""
    if sample.source.stream is not None:
        return math.sqrt(sample.squares(sample.explained))
    return float(lengths(target.reshape(1, -1).to(torch.float64)))


def units_of_all(tried: Tried, rows: int, step: int | None, counts: Tensor | None) -> float:
    """Return what a penalty beside the loss of all rows is multiplied by, whose (n,) `counts` may be known; every `step`-th was tried, or all.

    A mean's units grow with the rows, and a sum's do not.
    """
    some = counts if step is None or counts is None else counts[::step]
    units = tried.units(some)
    if step is None:
        return units
    half = len(tried.output) // 2
    fewer, twice = tried.first(half).read.units, tried.first(2 * half).read.units
    if abs(twice - fewer) <= _SAME * abs(fewer):
        return units
    if abs(twice - 2.0 * fewer) <= _SAME * abs(twice):
        often = rows / len(tried.output) if counts is None or some is None else float(counts.sum() / some.sum())
        return units * often
    raise OptionError(
        "A penalty beside the mean of a loss that leaves some classes out needs their number in all rows, which are read batch by batch; pass a loss with "
        "reduction='sum', and the penalty in its units."
    )


@dataclass(frozen=True)
class _Matched:
    """A block's target in the shape and the type that the loss needs."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __call__(self, target: Tensor) -> Tensor:
        return target.reshape(len(target), *self.shape).to(self.dtype)


def _check(name: str, loss: Any, objective: OutputLoss, output: Tensor, block: Block) -> None:
    matching_target(loss, output.expand(len(block), *output.shape[1:]), block[name])
    check_range(objective, block[name])
