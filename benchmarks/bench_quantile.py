"""Median regression, a hundred thousand rows by ten, beside statsmodels; R's `rq` is timed in a process of its own, in CPU seconds.

Run as a script, it prints the CPU seconds of each in one run, and their ratios: ``python benchmarks/bench_quantile.py``.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

R = """
suppressMessages(library(quantreg))
d <- readBin(commandArgs(TRUE)[1], "double", 1100000); y <- d[1:100000]; x <- matrix(d[-(1:100000)], 100000)
for (method in c("pfn", "fn")) cat(method, min(replicate(5, sum(system.time(rq.fit(x, y, 0.5, method = method))[1:2]))), "")
"""


def problem():
    """Return a dependent variable whose spread depends on a regressor, and ten regressors with a constant."""
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(100_000), rng.normal(size=(100_000, 9))])
    return exog.sum(1) + rng.standard_t(3, size=100_000) * (1.0 + 0.5 * np.abs(exog[:, 1])), exog


@pytest.fixture(scope="module")
def median():
    return problem()


def test_betahat(benchmark, median):
    benchmark.pedantic(lambda: bh.QuantReg(*median).fit(0.5).bse, rounds=7, warmup_rounds=1)


def test_betahat_nid(benchmark, median):
    benchmark.pedantic(lambda: bh.QuantReg(*median).fit(0.5, "nid").bse, rounds=5, warmup_rounds=1)


def test_betahat_several(benchmark, median):
    benchmark.pedantic(lambda: bh.QuantReg(*median).fit([0.1, 0.25, 0.5, 0.75, 0.9]).bse, rounds=5, warmup_rounds=1)


def test_statsmodels(benchmark, median):
    benchmark.pedantic(lambda: sm.QuantReg(*median).fit(0.5).bse, rounds=3)


def cpu(call, rounds=5):
    """Return the median of the CPU seconds of some calls, after one more."""
    call()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return statistics.median(found)


def main():
    torch.set_num_threads(2)
    y, x = problem()
    mine = cpu(lambda: bh.QuantReg(y, x).fit(0.5).bse)
    theirs = cpu(lambda: sm.QuantReg(y, x).fit(0.5).bse, 3)
    print(f"betahat {mine:.3f}, statsmodels {theirs:.3f}: {theirs / mine:.1f} times")
    if shutil.which("Rscript"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "data").write_bytes(np.concatenate([y, x.T.ravel()]).tobytes())
            Path(folder, "time.R").write_text(R)
            done = subprocess.run(
                ["Rscript", f"{folder}/time.R", f"{folder}/data"], capture_output=True, text=True, check=True
            )
        print("R (CPU seconds, coefficients alone):", done.stdout)


if __name__ == "__main__":
    main()
