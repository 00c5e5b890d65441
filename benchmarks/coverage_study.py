"""How often 95% intervals cover: `python benchmarks/coverage_study.py [samples]`, twelve minutes for 2,000 samples on two cores.

Designs and methods are described in docs/coverage.rst, whose table and picture this writes: docs/data/coverage.csv and coverage.svg. Data are a
function of the design and the sample's number, replicates of the sample's number.
"""

import csv
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt

import betahat as bh

SAMPLES, REPS, PROCESSES = 2000, 399, 2
TRUTH, LEVEL, CRITICAL = 1.0, 0.95, 1.959964
LOWEST = 0.35  # that the picture shows
FOLDER = Path(__file__).parents[1] / "docs" / "data"
COLUMNS = ("design", "coefficient", "method", "coverage", "MC error", "length", "errors", "no end")


@dataclass(frozen=True)
class Method:
    """A covariance, made from a sample's number and its clusters, and the intervals that are taken from it."""

    label: str
    make: Callable[[int, Any], Any]
    intervals: tuple[str | None, ...] = (None,)
    use_t: bool | None = None

    @property
    def labels(self):
        return [self.label if kind is None else f"{self.label}, {kind}" for kind in self.intervals]


@dataclass(frozen=True)
class Design:
    """What draws a sample: a generator of random numbers -> results and clusters; the places of coefficients, which are one."""

    label: str
    draw: Callable[[np.random.Generator], tuple[Any, Any]]
    places: dict[str, int]
    methods: list[Method]

    @property
    def labels(self):
        return [label for method in self.methods for label in method.labels]


def fixed(label, estimator, **options):
    """Return a method without random numbers or clusters."""
    return Method(label, lambda sample, groups: estimator, **options)


def clustered(label, **options):
    """Return a method by `bh.Cluster`."""
    return Method(f"Cluster {label}", lambda sample, groups: bh.Cluster(groups, kind=label.split(",")[0]), **options)


def boot(label, kind, *intervals, by_cluster=False, **options):
    """Return a bootstrap."""

    def make(sample, groups):
        clusters = {"clusters": groups} if by_cluster else {}
        return bh.Bootstrap(REPS, kind, seed=sample, **clusters, **options)

    return Method(label, make, intervals or (None,))


def wild_clusters(name, multiplier="rademacher"):
    """Return a wild cluster bootstrap by its usual name, WCR or WCU and the variant."""
    label = name if multiplier == "rademacher" else f"{name}, {multiplier}"
    null, variant = name.startswith("WCR"), name[3:]
    return boot(label, "wild", by_cluster=True, null=null, variant=variant, multiplier=multiplier)


def heteroskedastic(rng, sigma):
    x = rng.lognormal(sigma=sigma, size=50)
    return bh.OLS(1 + x + x * rng.normal(size=50), bh.add_constant(x)).fit(), None


def in_clusters(rng, count):
    groups = np.repeat(np.arange(count), np.linspace(5, 25, count).round().astype(int))
    a, z, c = rng.normal(size=(3, count))[:, groups]
    e, v = rng.normal(size=(2, len(groups)))
    x = a + e
    return bh.OLS(1 + x + z + c + v, bh.add_constant(np.column_stack([x, z]))).fit(), groups


def series(rng, rho=0.6):
    x, u = rng.normal(size=(2, 100))
    for both in (x, u):
        both[0] /= np.sqrt(1 - rho**2)
        for t in range(1, 100):
            both[t] += rho * both[t - 1]
    return bh.OLS(1 + x + u, bh.add_constant(x)).fit(), None


def binary(rng):
    x = rng.normal(size=100)
    y = rng.random(100) < 1 / (1 + np.exp(0.5 - x))
    return bh.Logit(y.astype(float), bh.add_constant(x)).fit(), None


OF_ROWS = [
    fixed("nonrobust", "nonrobust"),
    fixed("HC1", "HC1"),
    fixed("HC3", "HC3"),
    boot("pairs", "pairs", "normal", "percentile", "basic", "studentized", "bca"),
    boot("bayesian", "bayesian", "percentile"),
    boot("poisson", "poisson", "percentile"),
    boot("m-out-of-n", "m-out-of-n", "percentile"),
    boot("subsample", "subsample", "percentile"),
    boot("score", "score", "percentile"),
    boot("wild HC3", "wild", "normal", "percentile", "studentized", residuals="HC3"),
    boot("residual", "residual", "percentile"),
]
OF_CLUSTERS = [
    clustered("CR1S, t(G - 1)", use_t=True),
    clustered("CR2, Satterthwaite"),
    boot("pairs of clusters", "pairs", "percentile", "studentized", by_cluster=True),
    boot("score of clusters", "score", "percentile", by_cluster=True),
    *map(wild_clusters, ("WCU11", "WCU33", "WCR11", "WCR33")),
    boot("pairs of rows", "pairs", "percentile"),
]
OF_FEW_CLUSTERS = [
    *OF_CLUSTERS[:-1],
    wild_clusters("WCR11", "webb"),
    wild_clusters("WCR33", "webb"),
    OF_CLUSTERS[-1],
]
OF_TIMES = [
    fixed("HC1", "HC1"),
    fixed("HAC", bh.HAC()),
    fixed("HAC, Andrews, prewhitened", bh.HAC(bandwidth="andrews", kernel="quadratic-spectral", prewhiten=1)),
    *(boot(kind, kind, "normal", "percentile") for kind in ("moving-block", "circular-block", "stationary")),
]
OF_LIKELIHOOD = [
    fixed("nonrobust", "nonrobust"),
    fixed("HC0", "HC0"),
    boot("pairs", "pairs", "percentile", "bca"),
    boot("bayesian", "bayesian", "percentile"),
    boot("score", "score", "percentile"),
    boot("parametric", "parametric", "percentile"),
]
DESIGNS = [
    Design("heteroskedastic", partial(heteroskedastic, sigma=0.5), {"x": 1}, OF_ROWS),
    Design("heavy leverage", partial(heteroskedastic, sigma=1.0), {"x": 1}, OF_ROWS),
    Design("8 clusters", partial(in_clusters, count=8), {"x": 1, "z": 2}, OF_FEW_CLUSTERS),
    Design("20 clusters", partial(in_clusters, count=20), {"x": 1, "z": 2}, OF_CLUSTERS),
    Design("time series", series, {"x": 1}, OF_TIMES),
    Design("Logit", binary, {"x": 1}, OF_LIKELIHOOD),
]


def ends(results, kind):
    """Return (k, 2) intervals; NaN where there is an error."""
    try:
        return results.conf_int(1 - LEVEL, kind)
    except bh.EstimationError:
        return np.full((len(results.params), 2), np.nan)


def one_sample(number, sample):
    """Return (c,) estimates and (methods, c, 2) intervals of coefficients of a design, in one sample of it."""
    design = DESIGNS[number]
    places = list(design.places.values())
    nothing = np.full(len(places), np.nan), np.full((len(design.labels), len(places), 2), np.nan)
    try:
        res, groups = design.draw(np.random.default_rng([number, sample]))
    except bh.EstimationError:
        return nothing
    found = []
    for method in design.methods:
        try:
            switched = res.with_cov(method.make(sample, groups), use_t=method.use_t)
        except bh.EstimationError:
            found += [nothing[1][0]] * len(method.intervals)
            continue
        found += [ends(switched, kind)[places] for kind in method.intervals]
    return np.asarray(res.params)[places], np.stack(found)


def table_of(design, estimates, intervals):
    """Return the rows of the table, of (n, c) estimates and (n, methods, c, 2) intervals."""
    rows = []
    for place, coefficient in enumerate(design.places):
        unit = 2 * CRITICAL * np.nanstd(estimates[:, place])
        for method, label in enumerate(design.labels):
            low, high = intervals[:, method, place].T
            valid = ~(np.isnan(low) | np.isnan(high))
            share = np.mean((low <= TRUTH)[valid] & (high >= TRUTH)[valid])
            error = np.sqrt(share * (1 - share) / valid.sum())
            length = np.median((high - low)[valid]) / unit
            endless = int(np.isinf(high - low).sum())
            numbers = [f"{share:.3f}", f"{error:.3f}", f"{length:.2f}", int((~valid).sum()), endless]
            rows.append(dict(zip(COLUMNS, [design.label, coefficient, label, *numbers], strict=True)))
    return rows


def study(samples):
    """Return the rows of all designs."""
    rows = []
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), prepare) as pool:
        for number, design in enumerate(DESIGNS):
            start = time.perf_counter()
            found = list(pool.map(partial(one_sample, number), range(samples), chunksize=10))
            print(f"{design.label}: {time.perf_counter() - start:.0f} s", flush=True)
            rows += table_of(design, *map(np.stack, zip(*found, strict=True)))
    return rows


def prepare():
    """Make a process of the pool one core's, and silent."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def panel(axes, design, rows):
    """Draw coverages as dots with two Monte Carlo errors to both sides, first methods on top."""
    places = np.arange(len(design.labels))[::-1]
    for shift, colour, coefficient in zip((0.15, -0.15), ("C0", "C1"), design.places, strict=False):
        mine = [row for row in rows if row["coefficient"] == coefficient]
        shares, errors = (np.array([float(row[name]) for row in mine]) for name in ("coverage", "MC error"))
        height = places + shift * (len(design.places) - 1)
        axes.errorbar(shares, height, xerr=2 * errors, fmt="o", ms=3, lw=1, color=colour, label=coefficient)
    axes.axvline(LEVEL, color="0.5", lw=0.8)
    axes.set_yticks(places, design.labels)
    axes.set_xlim(LOWEST, 1.01)
    axes.set_title(design.label, fontsize=9)
    if len(design.places) > 1:
        axes.legend(frameon=False, loc="upper left")


def picture(rows, path):
    """Draw a panel for each design, in two columns."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "coverage", "font.size": 7, "font.family": "sans-serif"}
    figure = plt.figure(figsize=(9, 8.5), layout="constrained")
    for column, numbers in zip(figure.subfigures(1, 2), ((0, 1, 4), (2, 3, 5)), strict=True):
        designs = [DESIGNS[number] for number in numbers]
        heights = [len(design.labels) for design in designs]
        for axes, design in zip(column.subplots(len(designs), 1, height_ratios=heights), designs, strict=True):
            panel(axes, design, [row for row in rows if row["design"] == design.label])
    figure.savefig(path, metadata={"Date": None})


def main(samples):
    rows = study(samples)
    with (FOLDER / "coverage.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    picture(rows, FOLDER / "coverage.svg")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)
