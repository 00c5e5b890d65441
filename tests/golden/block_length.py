"""Golden numbers for the automatic block length of dependent bootstraps, computed by arch.

Makes block_length.json. Run from anywhere, in an environment of its own (the tests do not need arch):

    python -m venv venv && venv/bin/pip install arch==8.0.0 && venv/bin/python tests/golden/block_length.py

Last made with Python 3.11, arch 8.0.0, numpy 2.4.6. `steps` of a series is not arch's: they are the intermediate values
of the formulas in `by_hand`, which is checked here to give arch's lengths to 1e-12.
"""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path

import arch
import numpy as np
from arch.bootstrap import optimal_block_length

PATH = Path(__file__).with_suffix(".json")


def autoregression(rho: float, n: int, seed: int) -> np.ndarray:
    """n values of x_t = rho x_(t-1) + e_t, from x_0 = e_0."""
    x = np.random.default_rng(seed).standard_normal(n)
    for t in range(1, n):
        x[t] += rho * x[t - 1]
    return x


def moving_average(weights: list[float], n: int, seed: int) -> np.ndarray:
    e = np.random.default_rng(seed).standard_normal(n + len(weights))
    return np.convolve(e, [1.0, *weights], mode="valid")


SERIES = {
    "white noise": autoregression(0.0, 1000, 3),
    "AR(1) 0.3": autoregression(0.3, 250, 2),
    "AR(1) 0.8": autoregression(0.8, 500, 3),
    "AR(1) -0.5": autoregression(-0.5, 100, 4),
    "MA(2) 0.6 0.4": 5.0 + moving_average([0.6, 0.4], 60, 5),
    "AR(1) 0.97": autoregression(0.97, 400, 6),
}
# Corners of the rule: no run of small correlations and lengths cut to the cap, twice the lag beyond the largest, and
# a lag that turns on the denominators of arch's correlations.
SERIES["sine"] = np.sin(0.9 * np.arange(80)) + 0.1 * autoregression(0.0, 80, 7)
SERIES["AR(1) 0.9"] = autoregression(0.9, 100, 8)
SERIES["AR(1) 0.7"] = autoregression(0.7, 60, 3)


def by_hand(x: np.ndarray) -> dict:
    """The block lengths and what they are made of."""
    n = len(x)
    e = x - x.mean()
    run = max(5, int(math.log10(n)))
    largest_lag = math.ceil(math.sqrt(n)) + run
    gamma = [float(e[k:] @ e[: n - k]) / n for k in range(largest_lag + 1)]
    # The sums of squares leave out one value more than the lag does.
    small = [
        n * abs(g) / math.sqrt(float(e[k + 1 :] @ e[k + 1 :]) * float(e[: n - k - 1] @ e[: n - k - 1]))
        < 2 * math.sqrt(math.log10(n) / n)
        for k, g in enumerate(gamma)
    ]
    first = next((k for k in range(largest_lag - run + 1) if all(small[k : k + run])), None)
    m = largest_lag if first is None else min(2 * first, largest_lag)
    weight = [min(1.0, 2 * (1 - k / m)) for k in range(m + 1)]
    g = 2 * sum(weight[k] * k * gamma[k] for k in range(1, m + 1))
    spectrum = gamma[0] + 2 * sum(weight[k] * gamma[k] for k in range(1, m + 1))
    cap = math.ceil(min(3 * math.sqrt(n), n / 3))
    free = {kind: (2 * g**2 * n / (c * spectrum**2)) ** (1 / 3) for kind, c in (("stationary", 2), ("circular", 4 / 3))}
    steps = {
        "run": run,
        "largest_lag": largest_lag,
        "first_small_lag": first,
        "m": m,
        "G": g,
        "g0": spectrum,
        "cap": cap,
    }
    return {kind: min(b, cap) for kind, b in free.items()} | {"steps": steps | {"uncapped": free}}


def main() -> None:
    records = []
    for name, x in SERIES.items():
        found = optimal_block_length(x)
        lengths = {kind: float(found[kind].iloc[0]) for kind in ("stationary", "circular")}
        mine = by_hand(x)
        for kind, b in lengths.items():
            assert abs(mine[kind] - b) <= 1e-12 * b, (name, kind, mine[kind], b)
        records.append({"name": name, "n": len(x)} | lengths | {"steps": mine["steps"], "x": x.tolist()})
        print(f"{name:15}", len(x), lengths, mine["steps"])
    versions = {"python": platform.python_version(), "arch": arch.__version__, "numpy": np.__version__}
    meta = {"made_by": "tests/golden/block_length.py"} | versions
    lines = ",\n".join(json.dumps(r) for r in records)
    PATH.write_text(f'{{"meta": {json.dumps(meta)},\n"series": [\n{lines}\n]}}\n')
    assert [s["x"] for s in json.loads(PATH.read_text())["series"]] == [x.tolist() for x in SERIES.values()]


if __name__ == "__main__":
    main()
