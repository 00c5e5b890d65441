"""What of absorbed effects is collinear: connected parts of two effects, effects within others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.effects import Effect
from betahat.lazy import lazily
from betahat.solvers.level_columns import columns_of, level_mass

if TYPE_CHECKING:
    from scipy import sparse
    from scipy.sparse import csgraph
else:
    sparse = lazily("scipy.sparse")
    csgraph = lazily("scipy.sparse.csgraph")


def redundant(effects: Sequence[Effect]) -> tuple[int, ...]:
    """Return how many of each effect's coefficients are collinear with the constant and the effects before it, of those of levels that have rows.

    Dummies: those of the first effect have one, the constant's; those of another one for each connected part that it forms with an effect before it,
    of which the largest number counts: exact for two effects, a lower bound for more, as reghdfe takes it. Slopes: one for each level in
    which the variable depends on the dummy, if there is one, and the variables before it.
    """
    found: list[int] = []
    with_dummies: list[Effect] = []
    for effect in effects:
        used = level_mass(effect.codes, effect.count, None) > 0
        number = sum(int((used & (column.root == 0)).sum()) for column in columns_of(effect, None))
        if effect.constant:
            number += max((_parts(effect, other) for other in with_dummies), default=1)
            with_dummies.append(effect)
        found.append(number)
    return tuple(found)


def components(one: Effect, other: Effect) -> tuple[int, Tensor, Tensor]:
    """Return how many connected parts two effects form, levels without a row not counted, and (G,) and (H,) each level's part, -1 of such ones."""
    first, second = one.codes.cpu(), other.codes.cpu()
    rows, nodes = len(first), one.count + other.count
    steps = np.arange(rows + 1, dtype=np.int32)
    by_level = sparse.csr_array(
        (np.ones(rows, bool), first.to(torch.int32).numpy(), steps), shape=(rows, one.count)
    ).tocsc()
    ends = np.concatenate([by_level.indptr, np.full(other.count, rows, dtype=by_level.indptr.dtype)])
    to = second.to(torch.int32).numpy()[by_level.indices] + np.int32(one.count)
    edges = sparse.csr_array((np.ones(rows), to, ends), shape=(nodes, nodes))
    _, labels = csgraph.connected_components(edges, directed=False)
    part = torch.from_numpy(labels).to(torch.int64)
    used = torch.zeros(len(part), dtype=torch.bool)
    used[first], used[second + one.count] = True, True
    numbers = torch.full((len(part),), -1, dtype=torch.int64)
    if bool(used.any()):
        numbers[used] = torch.unique(part[used], return_inverse=True)[1]
    numbers = numbers.to(one.codes.device)
    return int(numbers.max()) + 1 if len(numbers) else 0, numbers[: one.count], numbers[one.count :]


def _parts(one: Effect, other: Effect) -> int:
    return components(one, other)[0]
