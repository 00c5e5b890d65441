"""Proportional hazards of a hundred thousand rows by ten, beside statsmodels, and R's coxph where there is one."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from statsmodels.duration.hazard_regression import PHReg

import betahat as bh

TIES = ("breslow", "efron")


def sample():
    """Return (n,) times, (n, k) regressors and (n,) events, about two thirds of them."""
    rng = np.random.default_rng(0)
    exog = rng.normal(size=(100_000, 10))
    until = rng.exponential(np.exp(-exog @ np.linspace(-0.5, 0.5, 10)))
    censored = rng.exponential(2.0, len(exog))
    return np.minimum(until, censored), exog, (until <= censored) * 1


@pytest.fixture(scope="module")
def data():
    """The same for all."""
    return sample()


@pytest.mark.parametrize("ties", TIES)
def test_betahat(benchmark, data, ties):
    benchmark.pedantic(lambda: bh.PHReg(*data, ties=ties).fit().bse, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("ties", TIES)
def test_betahat_robust(benchmark, data, ties):
    benchmark.pedantic(lambda: bh.PHReg(*data, ties=ties).fit("HC0").bse, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("ties", TIES)
def test_statsmodels(benchmark, data, ties):
    benchmark.pedantic(lambda: PHReg(*data, ties=ties).fit().bse, rounds=1)


def r_seconds(data, ties, folder):
    """Return the CPU seconds of the last of three calls of R's `coxph`, as R says."""
    np.column_stack([data[0], data[2], data[1]]).T.tofile(folder / "data")
    script = (
        "library(survival); d <- matrix(readBin('data', 'double', 12e5), 1e5);"
        f"for (i in 1:3) s <- system.time(coxph(Surv(d[, 1], d[, 2]) ~ d[, 3:12], ties = '{ties}'));"
        "cat(s[['user.self']] + s[['sys.self']])"
    )
    return float(subprocess.run(["Rscript", "-e", script], cwd=folder, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("ties", TIES)
def test_r(benchmark, data, ties, tmp_path):
    """The time of the benchmark has R's start and reading in it; that of `coxph` alone is recorded beside it."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    benchmark.pedantic(lambda: benchmark.extra_info.update(cpu=r_seconds(data, ties, tmp_path)), rounds=1)


def main():
    """Print CPU seconds of all of them, in one run."""
    data = sample()
    for ties in TIES:
        for name, rounds, call in [
            ("betahat", 5, lambda ties=ties: bh.PHReg(*data, ties=ties).fit().bse),
            ("betahat, HC0", 5, lambda ties=ties: bh.PHReg(*data, ties=ties).fit("HC0").bse),
            ("statsmodels", 1, lambda ties=ties: PHReg(*data, ties=ties).fit().bse),
        ]:
            took = []
            for _ in range(rounds):
                start = time.process_time()
                call()
                took.append(time.process_time() - start)
            print(f"{ties:8} {name:14} {np.median(took):.3f} CPU s", flush=True)
        if shutil.which("Rscript") is not None:
            with tempfile.TemporaryDirectory() as folder:
                print(f"{ties:8} {'R coxph':14} {r_seconds(data, ties, Path(folder)):.3f} CPU s", flush=True)


if __name__ == "__main__":
    main()
