"""Conley's sums of near rows by a tree are those over all pairs, whatever the places, the kernel and the size of the parts."""

import math

import numpy as np
import pytest
import torch

import betahat as bh
from betahat.covariance import near_rows
from betahat.covariance.near_rows import Places, near_products

# Sums of a few thousand products in another order, and distances of 1e-16 of a thousand kilometres.
SAME = {"rtol": 1e-11, "atol": 1e-10}
RNG = np.random.default_rng(31)
N = 600


def cities(count):
    """Rows of which many share a place, and others lie a few metres from it."""
    at = RNG.integers(0, 12, count)
    north, east = RNG.uniform(30, 48, 12)[at], RNG.uniform(-120, -70, 12)[at]
    moved = RNG.random(count) < 0.5
    return north + moved * 1e-5 * RNG.normal(size=count), east + moved * 1e-5 * RNG.normal(size=count)


SPHERE = {
    "country": (RNG.uniform(25, 49, N), RNG.uniform(-125, -67, N), 100.0),
    "far": (RNG.uniform(25, 49, N), RNG.uniform(-125, -67, N), 2500.0),
    "a quarter of the way round": (RNG.uniform(-90, 90, N), RNG.uniform(-180, 180, N), 10_000.0),
    "date line": (RNG.uniform(-5, 5, N), 180.0 * np.sign(RNG.normal(size=N)) + RNG.normal(size=N), 60.0),
    "both counts of degrees": (RNG.uniform(40, 50, N), RNG.uniform(0, 5, N) + 360.0 * RNG.integers(-1, 1, N), 80.0),
    "pole": (90.0 - RNG.random(N), RNG.uniform(-180, 180, N), 30.0),
    "cities": (*cities(N), 0.001),
    "one place": (np.full(N, 40.0), np.full(N, -3.0), 1e-6),
    "alone": (np.linspace(-80, 80, N), np.linspace(-170, 170, N), 1.0),
    "one row": (np.array([40.0]), np.array([-3.0]), 5.0),
}
GRID = np.meshgrid(np.arange(25.0), np.arange(24.0))
PLANE = {
    "grid of ties": (GRID[0].ravel(), GRID[1].ravel(), 5.0),  # 3, 4, 5
    "grid of tenths": (0.1 * GRID[0].ravel(), 0.1 * GRID[1].ravel(), 0.3),
    "large coordinates": (5e6 + RNG.normal(size=N), 4e5 + RNG.normal(size=N), 0.2),
    "small": (1e-9 * RNG.normal(size=N), 1e-9 * RNG.normal(size=N), 2e-10),
    "uneven": (RNG.normal(size=N), 1e4 * RNG.normal(size=N), 50.0),
}
CASES = [*((name, True) for name in SPHERE), *((name, False) for name in PLANE)]


def all_pairs(scores, latitude, longitude, cutoff, sphere, falling):
    """One pair after the other."""
    total = scores.T @ scores
    for i in range(len(scores)):
        for j in range(i):
            north, east = latitude[i] - latitude[j], longitude[i] - longitude[j]
            apart = math.hypot(north, east)
            if sphere:
                cosines = math.cos(math.radians(latitude[i])) * math.cos(math.radians(latitude[j]))
                square = math.sin(math.radians(north) / 2) ** 2 + cosines * math.sin(math.radians(east) / 2) ** 2
                apart = 2.0 * 6376.0 * math.asin(min(math.sqrt(square), 1.0))
            if apart <= cutoff:
                both = np.outer(scores[i], scores[j]) * (1.0 - apart / cutoff if falling else 1.0)
                total = total + both + both.T
    return total


def places_of(name, sphere, falling):
    latitude, longitude, cutoff = (SPHERE if sphere else PLANE)[name]
    return Places(torch.from_numpy(latitude), torch.from_numpy(longitude), cutoff, sphere, falling)


def by_tree(scores, places):
    once = near_rows._by_tree(scores, places, math.inf)
    assert once is not None
    return once + once.mT + scores.mT @ scores


@pytest.mark.slow
@pytest.mark.parametrize("falling", [False, True], ids=["uniform", "bartlett"])
@pytest.mark.parametrize(("name", "sphere"), CASES)
def test_a_tree_finds_all_pairs(name, sphere, falling):
    places = places_of(name, sphere, falling)
    scores = torch.from_numpy(np.random.default_rng(5).normal(size=(len(places.latitude), 3)))
    oracle = all_pairs(
        scores.numpy(), places.latitude.numpy(), places.longitude.numpy(), places.cutoff, sphere, falling
    )
    np.testing.assert_allclose(near_products(scores, places), oracle, **SAME)  # so few rows go by bands
    np.testing.assert_allclose(by_tree(scores, places), oracle, **SAME)


@pytest.mark.parametrize(("rows", "pairs"), [(1, 10**9), (50, 10**9), (7, 40), (600, 1)])
@pytest.mark.parametrize(("name", "sphere"), [("cities", True), ("country", True), ("grid of ties", False)])
def test_the_size_of_the_parts_does_not_matter(monkeypatch, name, sphere, rows, pairs):
    places = places_of(name, sphere, True)
    scores = torch.from_numpy(np.random.default_rng(6).normal(size=(len(places.latitude), 2)))
    whole = by_tree(scores, places)
    monkeypatch.setattr(near_rows, "_PLACES", rows)
    monkeypatch.setattr(near_rows, "_PAIRS", pairs)
    np.testing.assert_allclose(by_tree(scores, places), whole, **SAME)


def test_the_way_is_chosen_by_what_it_costs():
    """A short cutoff goes by the tree; a long one, farther than a quarter of the way round, or few rows do not."""
    rng = np.random.default_rng(8)
    latitude, longitude = torch.from_numpy(rng.uniform(25, 49, 9_000)), torch.from_numpy(rng.uniform(-125, -67, 9_000))
    scores = torch.from_numpy(rng.normal(size=(9_000, 2)))
    for cutoff, distances, tree in ((20.0, 1e7, True), (20.0, 1e6, False), (3000.0, 1e7, False), (12e3, 1e20, False)):
        found = near_rows._by_tree(scores, Places(latitude, longitude, cutoff, True, False), distances)
        assert (found is not None) is tree


def test_a_covariance_by_both_ways(monkeypatch):
    rng = np.random.default_rng(9)
    x = np.column_stack([np.ones(3_000), rng.normal(size=(3_000, 2))])
    latitude, longitude = rng.uniform(25, 49, 3_000), rng.uniform(-125, -67, 3_000)
    for fit in (
        bh.OLS(x.sum(1) + rng.normal(size=3_000), x).fit(),
        bh.Logit((x[:, 1] > rng.normal(size=3_000)) * 1.0, x).fit(),
    ):
        for kernel in ("uniform", "bartlett"):
            estimator = bh.Conley(latitude, longitude, 60.0, kernel)
            bands = fit.with_cov(estimator).cov_params()
            with monkeypatch.context() as context:
                context.setattr(near_rows, "_FEW", 0)
                context.setattr(near_rows, "_by_bands", None)
                np.testing.assert_allclose(fit.with_cov(estimator).cov_params(), bands, rtol=1e-12, atol=1e-16)
