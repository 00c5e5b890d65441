"""Datasets of ray: their blocks are computed once and stay in its object store, where tasks of ray read them; without ray as engine they are fetched here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Dataset
from betahat.data.datasets.elsewhere import Elsewhere, Lying
from betahat.data.datasets.partitioned import Partitioned


@dataclass(frozen=True, eq=False)
class RayBlock(Lying):
    """A table of pyarrow in ray's object store.

    Attributes
    ----------
    reference : ray.ObjectRef
    """

    reference: Any

    @property
    def library(self) -> str:
        """It is ray's."""
        return "ray"

    @property
    def remote(self) -> Any:
        """Where it lies."""
        return self.reference

    def fetch(self) -> Any:
        """Read it from the object store."""
        return sys.modules["ray"].get(self.reference)


def ray_dataset(data: Any) -> Dataset:
    """Return a dataset of ray as one of ours; it is computed, once, since the same rows come in another order when it is computed again."""
    whole = data.materialize()
    names = tuple(whole.schema().names)
    parts = tuple(
        Elsewhere(f"block {number} of the ray Dataset", RayBlock(reference))
        for number, reference in enumerate(whole.to_arrow_refs())
    )
    return Partitioned("the ray Dataset", names, parts)
