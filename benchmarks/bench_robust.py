"""Robust regression, a hundred thousand rows by ten, beside statsmodels; R's `rlm` is timed in a process of its own, in CPU seconds.

Run as a script, it prints the CPU seconds of each in one run, and their ratios: ``python benchmarks/bench_robust.py``. betahat goes to the last digit,
statsmodels to a change of the deviance of 1e-8 or 50 steps, R to one of the coefficients of 1e-4 or 20 steps.
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

NORMS = {"huber": sm.robust.norms.HuberT, "bisquare": sm.robust.norms.TukeyBiweight, "hampel": sm.robust.norms.Hampel}
R = """
suppressMessages(library(MASS))
d <- readBin(commandArgs(TRUE)[1], "double", 1100000); y <- d[1:100000]; x <- matrix(d[-(1:100000)], 100000)
for (psi in c(psi.huber, psi.bisquare, psi.hampel)) cat(median(replicate(5, sum(system.time(rlm(x, y, psi = psi))[1:2]))), "")
"""


def problem():
    """Return a dependent variable with heavy tails, and ten regressors with a constant."""
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(100_000), rng.normal(size=(100_000, 9))])
    return exog.sum(1) + rng.standard_t(3, size=100_000), exog


@pytest.fixture(scope="module")
def data():
    return problem()


@pytest.mark.parametrize("norm", NORMS)
def test_betahat(benchmark, data, norm):
    benchmark.pedantic(lambda: bh.RLM(*data, M=norm).fit().bse, rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("norm", NORMS)
def test_statsmodels(benchmark, data, norm):
    benchmark.pedantic(lambda: sm.RLM(*data, M=NORMS[norm]()).fit().bse, rounds=3)


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
    for norm, theirs in NORMS.items():
        ours = {cov: cpu(lambda cov=cov: bh.RLM(y, x, M=norm).fit(cov).bse) for cov in ("H1", "HC0")}  # noqa: B023
        other = cpu(lambda: sm.RLM(y, x, M=theirs()).fit().bse, 3)  # noqa: B023
        print(
            f"{norm}: betahat H1 {ours['H1']:.3f}, HC0 {ours['HC0']:.3f}, statsmodels H1 {other:.3f}: {other / ours['H1']:.1f} times"
        )
    if shutil.which("Rscript"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "data").write_bytes(np.concatenate([y, x.T.ravel()]).tobytes())
            Path(folder, "time.R").write_text(R)
            done = subprocess.run(
                ["Rscript", f"{folder}/time.R", f"{folder}/data"], capture_output=True, text=True, check=True
            )
        print("R (CPU seconds; huber, bisquare, hampel):", done.stdout)


if __name__ == "__main__":
    main()
