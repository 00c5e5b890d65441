"""Sums of products of rows that lie near each other, by a tree of places or by bands of latitude.

A band holds the distances of 512 rows from all others that are not too far north: 40 ns each, most of them for nothing where
the cutoff is short. A tree finds the near pairs alone, 250 ns each with their sparse product. A tree's distances are straight
lines through the sphere; what is near the cutoff, or weighted by its distance, is measured again as the bands measure it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.progress import progress
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import sparse, spatial
else:
    sparse = lazily("scipy.sparse")
    spatial = lazily("scipy.spatial")

# The radius of the sphere in kilometres, and what a degree of latitude is at least: R's fixest takes these.
_RADIUS, _DEGREE = 6376.0, 111.0
# Rows of a band whose distances are held at a time, and rows and near pairs of a tree.
_ROWS, _PLACES, _PAIRS = 512, 1024, 2**20
# Fewer distances than this are measured before SciPy is imported; a near pair costs as much as six distances of a band.
_FEW, _COST = 2**22, 6.0
# What a straight line through the sphere may be wrong by, in shares of the cutoff and in kilometres; it is not asked beyond a
# quarter of the way round, where it hardly grows.
_MARGIN, _ROUNDING = 1e-9, 1e-9
_FARTHEST = 0.5 * math.pi * _RADIUS
# Rows that are counted to tell how many pairs are near.
_COUNTED = 256


@dataclass(frozen=True, eq=False)
class Places:
    """Where rows are, and which weight a distance has.

    Attributes
    ----------
    latitude, longitude : Tensor
        (n,) degrees, or coordinates of a plane.
    cutoff : float
        The largest distance, in kilometres or in the coordinates' unit.
    sphere : bool
        Whether they are degrees.
    falling : bool
        Whether the weight falls from one to zero at the cutoff; else it is one.
    """

    latitude: Tensor
    longitude: Tensor
    cutoff: float
    sphere: bool
    falling: bool

    def weights(self, latitude: tuple[Tensor, Tensor], longitude: tuple[Tensor, Tensor]) -> Tensor:
        """Return the weights of pairs, from the latitudes and the longitudes of the first and of the second."""
        apart = self._distances(latitude, longitude)
        near = (apart <= self.cutoff).to(apart)
        return near * (1.0 - apart / self.cutoff) if self.falling else near

    def _distances(self, latitude: tuple[Tensor, Tensor], longitude: tuple[Tensor, Tensor]) -> Tensor:
        north, east = latitude[0] - latitude[1], longitude[0] - longitude[1]
        if not self.sphere:
            return torch.hypot(north, east)
        half = math.pi / 360.0
        first, second = (torch.cos(2.0 * half * part) for part in latitude)
        square = torch.sin(half * north).square() + first * second * torch.sin(half * east).square()
        return 2.0 * _RADIUS * torch.asin(square.sqrt().clamp_max(1.0))

    def points(self) -> np.ndarray:
        """Return (n, 2 or 3) the places as points between which distances are straight."""
        if not self.sphere:
            return torch.stack([self.latitude, self.longitude], 1).numpy()
        north, east = torch.deg2rad(self.latitude), torch.deg2rad(self.longitude)
        parts = [torch.cos(north) * torch.cos(east), torch.cos(north) * torch.sin(east), torch.sin(north)]
        return (_RADIUS * torch.stack(parts, 1)).numpy()

    def straight(self, share: float) -> float:
        """Return the straight line of the cutoff and some of its margin."""
        if not self.sphere:
            return self.cutoff * (1.0 + share * _MARGIN)
        return 2.0 * _RADIUS * math.sin((self.cutoff * (1.0 + share * _MARGIN) + share * _ROUNDING) / (2.0 * _RADIUS))


def near_products(scores: Tensor, places: Places) -> Tensor:
    """Return (r, r) the sum over pairs of weight times s_i s_j', of (n, r) scores; a row is near itself."""
    order = torch.argsort(places.latitude, stable=True)
    latitude = places.latitude[order]
    reach = places.cutoff if not places.sphere else places.cutoff / _DEGREE * 1.01
    last = torch.searchsorted(latitude, latitude + reach, right=True)
    once = _by_tree(scores, places, float((last - torch.arange(len(last), device=last.device)).sum()))
    if once is None:
        once = _by_bands(scores[order], latitude, places.longitude[order], last, places)
    return once + once.mT + scores.mT @ scores


def _by_bands(scores: Tensor, latitude: Tensor, longitude: Tensor, last: Tensor, places: Places) -> Tensor:
    """Return (r, r) the sum over pairs, each once, of rows that are sorted by latitude and near none from their `last` on."""
    total = scores.new_zeros(scores.shape[1], scores.shape[1])
    for start in progress(range(0, len(scores), _ROWS), "pairs"):
        here = slice(start, min(start + _ROWS, len(scores)))
        there = slice(start, int(last[here.stop - 1]))
        pairs = [(part[here, None], part[None, there]) for part in (latitude, longitude)]
        weights = places.weights(*pairs).triu(1)  # each pair once: `there` begins where `here` does
        total += scores[here].mT @ (weights @ scores[there])
    return total


def _by_tree(scores: Tensor, places: Places, distances: float) -> Tensor | None:
    """Return (r, r) the sum over pairs, each once; None where as many distances of bands cost less."""
    if scores.device.type != "cpu" or distances < _FEW or (places.sphere and places.cutoff > _FARTHEST):
        return None
    points, radius = places.points(), places.straight(1.0)
    tree = spatial.cKDTree(points)
    every = max(len(points) // _COUNTED, 1)
    near = every * float(tree.query_ball_point(points[::every], radius, return_length=True).sum())
    if 0.5 * near * _COST > distances:
        return None
    order = torch.from_numpy(tree.indices.astype(np.int64))
    points, places = (
        points[tree.indices],
        Places(places.latitude[order], places.longitude[order], places.cutoff, places.sphere, places.falling),
    )
    tree, ordered = spatial.cKDTree(points), scores[order].numpy()
    total = np.zeros((scores.shape[1], scores.shape[1]))
    for start in progress(range(0, len(points), _PLACES), "places"):
        parts = [(start, min(start + _PLACES, len(points)))]
        while parts:
            first, stop = parts.pop()
            some = spatial.cKDTree(points[first:stop])
            if stop - first > 1 and some.count_neighbors(tree, radius) > _PAIRS:
                middle = (first + stop) // 2
                parts += [(first, middle), (middle, stop)]
                continue
            found = some.sparse_distance_matrix(tree, radius, output_type="ndarray")
            found = found[found["j"] > found["i"] + first]
            pairs = (found["i"], found["j"])
            weights = sparse.coo_matrix((_weights(places, found, first), pairs), (stop - first, len(points)))
            total += ordered[first:stop].T @ (weights.tocsr() @ ordered)
    return torch.from_numpy(total)


def _weights(places: Places, found: np.ndarray, first: int) -> np.ndarray:
    """Return the weights of pairs, measured again where a straight line may not tell."""
    weights = np.ones(len(found))
    again = slice(None) if places.falling else np.flatnonzero(found["v"] >= places.straight(-1.0))
    one, other = (torch.from_numpy(part) for part in (found["i"][again] + first, found["j"][again]))
    pairs = [(part[one], part[other]) for part in (places.latitude, places.longitude)]
    weights[again] = places.weights(*pairs).numpy()
    return weights
