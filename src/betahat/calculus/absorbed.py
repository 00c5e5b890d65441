"""What a fit knows of effects that were projected away before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from betahat.calculus.counts import EffectSize
from betahat.data.streamed_effects import Explained


@dataclass(frozen=True, eq=False)
class Absorbed:
    """Effects that were taken off the rows by a weighted projection.

    Attributes
    ----------
    names : tuple of str
        What they are called.
    sizes : tuple of EffectSize
        Their coefficients, and how many of them are redundant.
    route : str
        How the projection was computed: "sums", "elimination", "within" or "conjugate gradients".
    iterations : int
        How many it took.
    orthogonality : float
        The largest cosine between a projected column and a dummy.
    constant : bool
        Whether some effect has a dummy for each level, so that the constant is absorbed with it.
    weights : Tensor or None
        (n,) what the projection was weighted by, frequency weights included; None is one.
    explained : Explained or None
        What was taken off rows that are read.
    """

    names: tuple[str, ...]
    sizes: tuple[EffectSize, ...]
    route: str
    iterations: int
    orthogonality: float
    constant: bool
    weights: Tensor | None = None
    explained: Explained | None = field(default=None, metadata={"stored": False})
