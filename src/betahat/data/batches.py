"""Groups of similar size side by side, so that what is done for one group is done for many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.groups import Groups
from betahat.data.progress import progress

# Groups in one batch differ in size by at most a sixteenth, so that few rows are filled in.
_ALIKE = 16


@dataclass(frozen=True, eq=False)
class Batches:
    """The groups that have rows, the smallest first, cut into batches; within a batch all are filled up to its largest.

    Attributes
    ----------
    ranked : Tensor
        (g,) the groups' numbers.
    sizes : Tensor
        (g,) the rows in each, ascending.
    cuts : list of (int, int, int)
        Where in `ranked` a batch begins and ends, and m, the rows of its largest group.
    places : Tensor
        (n',) the positions of all rows, group after group; to fill up, a group's last row is repeated.
    """

    ranked: Tensor
    sizes: Tensor
    cuts: list[tuple[int, int, int]]
    places: Tensor

    def stacked(self, parts: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (b,) groups and (b, m, w) their rows, from blocks of the (b, w) or (b, o, w) rows at `places`; what fills up is zero."""
        stream = iter(parts)
        held: list[Tensor] = []
        for low, high, largest in progress(self.cuts, "clusters"):
            need = (high - low) * largest
            while sum(map(len, held)) < need:
                held.append(next(stream))
            joint = held[0] if len(held) == 1 else torch.cat(held)
            held = [joint[need:].clone()] if need < len(joint) else []  # a view would keep all
            rows, size = joint[:need].view(high - low, largest, *joint.shape[1:]), self.sizes[low:high]
            if int(size[0]) < largest:
                filled = torch.arange(largest, device=size.device) >= size[:, None]
                rows = rows.masked_fill(filled.view(*filled.shape, *[1] * (rows.ndim - 2)), 0.0)
            yield self.ranked[low:high], rows if rows.ndim == 3 else rows.flatten(1, 2)


def batches(groups: Groups, rows: int) -> Batches:
    """Cut the groups into batches of at most so many rows, or of one group."""
    order = torch.argsort(groups.codes, stable=True)
    sizes, ranked = torch.sort(groups.sizes, stable=True)
    empty = int((sizes == 0).sum())
    sizes, ranked = sizes[empty:], ranked[empty:]
    cuts = _cuts(sizes.tolist(), rows)
    many, largest = (
        sizes.new_tensor(part) for part in ([high - low for low, high, _ in cuts], [size for *_, size in cuts])
    )
    filled = largest.repeat_interleave(many)
    start = groups.sizes.cumsum(0)[ranked] - sizes
    which = torch.repeat_interleave(filled)
    rank = torch.arange(len(which), device=which.device) - (filled.cumsum(0) - filled)[which]
    return Batches(ranked, sizes, cuts, order[start[which] + torch.minimum(rank, sizes[which] - 1)])


def _cuts(sizes: list[int], rows: int) -> list[tuple[int, int, int]]:
    """Return where batches of ascending sizes begin and end, and their largest."""
    cuts, low = [], 0
    for place in range(1, len(sizes) + 1):
        ends = place == len(sizes) or (place + 1 - low) * sizes[place] > rows
        if ends or sizes[place] > sizes[low] + sizes[low] // _ALIKE:
            cuts.append((low, place, sizes[place - 1]))
            low = place
    return cuts
