"""Coefficients of absorbed effects, of which a constant for each connected part is free, made unique."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.solvers.connected import components


def normalised(effects: Sequence[Effect], coefficients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return (count, width, m) coefficients of each effect, with the same fitted values: reference levels have none.

    The first effect's dummies take the level. In each connected part that a further effect's dummies form with those of an effect before it, the first level has
    the coefficient zero. So the coefficients of two effects are unique; those of more are, too, where each pair's parts lie within those of another
    pair, as they do where every pair is connected.
    """
    found = [part.clone() for part in coefficients]
    dummies = [i for i, effect in enumerate(effects) if effect.constant]
    for k, position in enumerate(dummies):
        pairs = [(components(effects[position], effects[other]), other) for other in dummies[:k]]
        for (count, own, others), other in sorted(pairs, key=lambda pair: -pair[0][0]):
            levels = (own >= 0).nonzero()[:, 0]
            first = torch.full((count,), len(own), device=own.device).scatter_reduce_(0, own[levels], levels, "amin")
            shift = found[position][first, 0]
            for i, parts, sign in ((position, own, -1.0), (other, others, 1.0)):
                used = (parts >= 0).nonzero()[:, 0]
                found[i][used, 0] += sign * shift[parts[used]]
    return tuple(found)
