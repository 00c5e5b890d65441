"""Event studies and randomization inference beside pyfixest's, in CPU seconds of one run.

python benchmarks/bench_event_studies.py
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyfixest as pf
import torch

import betahat as bh

# As many permutations as pyfixest is given time for; its time is linear in them.
_FEW = 40


def seconds(call: Callable[[], Any], times: int) -> float:
    """Return the least CPU seconds of several calls."""
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def studies() -> list[tuple[str, float, float]]:
    """Return our and pyfixest's seconds of estimators on its own 46,500 rows."""
    data = pd.read_csv(Path(pf.__file__).parent / "did" / "data" / "df_het.csv")
    theirs = {"data": data, "yname": "dep_var", "idname": "unit", "tname": "year", "gname": "g"}
    names = {"did2s": "did2s", "sunab": "saturated", "twfe": "twfe"}
    return [
        (
            ours,
            seconds(lambda ours=ours: bh.event_study(data, "dep_var", "unit", "year", "g", estimator=ours).att(), 3),
            seconds(lambda peer=peer: pf.event_study(**theirs, estimator=peer), 2),
        )
        for ours, peer in names.items()
    ]


def permutations() -> tuple[float, float]:
    """Return our and pyfixest's seconds of 999 permutations of 10,000 rows, by t."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"treated": rng.integers(0, 2, 10_000), "x": rng.normal(size=10_000)})
    frame["y"] = 0.1 * frame.treated + frame.x + rng.normal(size=10_000)
    ours = bh.ols("y ~ treated + x", frame).fit("HC1")
    peer = pf.feols("y ~ treated + x", frame, vcov="hetero")
    few = seconds(lambda: peer.ritest("treated", reps=_FEW, type="randomization-t", rng=rng), 2)  # the first compiles
    return seconds(lambda: bh.ritest(ours, "treated", reps=999, seed=1), 2), few * 999 / _FEW


def main() -> None:
    """Print both, and their ratio."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name, ours, theirs in [*studies(), ("ritest, 999 by t", *permutations())]:
        print(f"{name:18} {ours:.3f} s, pyfixest {theirs:.2f} s, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
