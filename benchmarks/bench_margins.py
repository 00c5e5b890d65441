"""Average slopes and comparisons of a logit with five variables, a category and an interaction, beside marginaleffects, in CPU seconds of one run.

python benchmarks/bench_margins.py [rows]
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import marginaleffects
import numpy as np
import pandas as pd
import torch

import betahat as bh


def made_frame(rows: int) -> pd.DataFrame:
    """Return the data."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "age": rng.uniform(20.0, 60.0, rows),
            "treated": rng.integers(0, 2, rows),
            "region": pd.Categorical(rng.choice(list("abcd"), rows)),
            "z": rng.normal(size=rows),
        }
    )
    index = 0.3 * frame.x + 0.4 * frame.treated - 0.01 * (frame.age - 40.0) + 0.2 * (frame.region == "b")
    return frame.assign(y=(rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-index))).astype(int))


def seconds(call: Callable[[], Any], times: int) -> float:
    """Return the least CPU seconds of several calls."""
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print both, and their ratio."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    frame = made_frame(rows)
    res = bh.logit("y ~ x*treated + age + z + region", frame).fit("HC1")
    for name in ("avg_slopes", "avg_comparisons"):
        ours = seconds(getattr(res, name), 7)
        theirs = seconds(lambda name=name: getattr(marginaleffects, name)(res), 2)
        print(f"{name:16} {rows:,} rows: {ours:.4f} s, marginaleffects {theirs:.3f} s, ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
