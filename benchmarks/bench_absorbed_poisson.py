"""Poisson with two absorbed effects beside pyfixest's fepois: python benchmarks/bench_absorbed_poisson.py [rows].

Whole calls, from a dataframe and a formula to HC1 errors, six regressors, two threads; CPU seconds and wall seconds, the least of three, the two in
turns. Effects "few": 20,000 and 500 levels; "many": 50,000 and 20,000. fepois looks for levels of zeros, and betahat for every separated row.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("RAYON_NUM_THREADS", "2")

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

import betahat as bh

FORMULA = "y ~ x1 + x2 + x3 + x4 + x5 + x6 | worker + firm"
LEVELS = {"few": (50, 2000), "many": (20, 50)}
TIMES = 3


def counts(rows: int, name: str, seed: int = 0) -> pd.DataFrame:
    """Return rows of counts with two crossed effects, of so many rows per level each."""
    rng = np.random.default_rng(seed)
    first, second = (max(rows // size, 2) for size in LEVELS[name])
    worker, firm = rng.integers(0, first, rows), rng.integers(0, second, rows)
    x = rng.normal(size=(rows, 6))
    index = 0.1 * x.sum(1) + 0.5 * rng.normal(size=first)[worker] + 0.3 * rng.normal(size=second)[firm]
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(1, 7)])
    return frame.assign(worker=worker, firm=firm, y=rng.poisson(np.exp(index)).astype(float))


def least(calls: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """Return the least CPU and wall seconds of each call, taken in turns after one that is not counted."""
    found: dict[str, tuple[float, float]] = {}
    for call in calls.values():
        call()
    for _ in range(TIMES):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            now = time.process_time() - cpu, time.perf_counter() - wall
            before = found.get(name, now)
            found[name] = min(before[0], now[0]), min(before[1], now[1])
    return found


def main() -> None:
    """Print a table."""
    import pyfixest  # noqa: PLC0415  # once the numbers of threads are set

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10**6
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    for name in LEVELS:
        data = counts(rows, name)
        found = least(
            {
                "betahat": lambda data=data: bh.poisson(FORMULA, data).fit("HC1"),
                "fepois": lambda data=data: pyfixest.fepois(FORMULA, data, vcov="hetero"),
            }
        )
        ours, theirs = found["betahat"], found["fepois"]
        print(
            f"{name:>5}: n = {rows:,}: betahat {ours[0]:.2f} CPU s ({ours[1]:.2f} wall), fepois {theirs[0]:.2f} ({theirs[1]:.2f}), ratio {ours[0] / theirs[0]:.2f}"
        )


if __name__ == "__main__":
    main()
