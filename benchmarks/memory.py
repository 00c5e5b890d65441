"""The peak of memory beyond the data, of OLS on a million rows by twenty, of clusters and jackknives of it, a network, and a bootstrap.

`python benchmarks/memory.py`, or with the names of some cases.

Two measures: what torch allocates, from its profiler, and what the kernel sees of the process (Linux only), of a first
call and of a second. Each case is measured in a process of its own.
"""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import torch
from conftest import THREADS, network_table, problem, trained_network
from torch.profiler import ProfilerActivity, profile

import betahat as bh


def resident(field):
    """Return VmRSS or VmHWM of this process, in bytes."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def resident_rise(function):
    """Return the bytes by which the process grows while a function runs."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    function()
    return max(resident("VmHWM") - before, 0)


def allocated_peak(function):
    """Return the most bytes of tensors that are alive at a time while a function runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    return int(alive.max())


def ols(cov_type):
    """Return a call of OLS, and the bytes of its regressors."""
    endog, exog = problem(1_000_000, 20)
    bh.OLS(endog[:1000], exog[:1000]).fit(cov_type).bse.sum()
    return lambda: bh.OLS(endog, exog).fit(cov_type).bse, exog.numel() * exog.element_size()


def clustered(make, model=bh.OLS):
    """Return a call of a model with a covariance of ten thousand clusters in any order, and the bytes of its regressors."""
    endog, exog = problem(1_000_000, 20)
    firms = np.random.default_rng(1).integers(0, 10_000, len(endog))
    if model is bh.Logit:
        exog[:, 1:] *= 0.2
        endog = (endog > 0).to(endog)
    model(endog[:4000], exog[:4000]).fit(make(firms[:4000] % 100)).bse.sum()
    return lambda: model(endog, exog).fit(make(firms)).bse, exog.numel() * exog.element_size()


def weighted(endog, exog):
    """Return least squares with weights."""
    return bh.WLS(endog, exog, weights=1.0 + endog.sigmoid())


def narrow(model):
    """Return a call of a model of float32, and the bytes of its regressors."""
    endog, exog = (part.float() for part in problem(1_000_000, 20))
    endog = (endog > 0).to(endog) if model is bh.Logit else endog
    model(endog[:4000], exog[:4000]).fit("HC0").bse.sum()
    return lambda: model(endog, exog).fit("HC0").bse, exog.numel() * exog.element_size()


def framed(kind):
    """Return a call of the columns of a frame, or of a formula, and the bytes of the matrix."""
    endog, exog = (np.asarray(part) for part in problem(1_000_000, 20))
    data = pd.DataFrame(exog, columns=[f"x{i}" for i in range(20)])
    names = "y ~ " + " + ".join(data.columns[1:])
    if "missing" in kind:
        data[np.random.default_rng(0).random(len(data)) < 0.2] = np.nan
    data = data.assign(y=endog)
    bh.ols(names, data[:1000]).fit("HC1").bse.sum()
    if "polars" in kind:
        data = pl.from_pandas(data)
    if "formula" in kind:
        return lambda: bh.ols(names, data).fit("HC1").bse, exog.nbytes
    y, x = data["y"], data[list(data.columns[:-1])]
    return lambda: bh.OLS(y, x).fit("HC1").bse, exog.nbytes


def network():
    """Return a call of a network's table, and the bytes of its inputs."""
    net, x, y, decay = trained_network()
    return lambda: network_table(net, x, y, decay, polish=False), x.numel() * x.element_size()


def bootstrap():
    """Return a call of a thousand pairs of a hundred thousand rows by twenty, and the bytes of the regressors."""
    endog, exog = problem(100_000, 20)
    res = bh.OLS(endog, exog).fit()
    return lambda: res.with_cov(bh.Bootstrap(1000, seed=1)).bse, exog.numel() * exog.element_size()


CASES = {cov_type: partial(ols, cov_type) for cov_type in ("nonrobust", "HC1", "HC3")}
CASES |= {kind: partial(clustered, partial(bh.Cluster, kind=kind)) for kind in ("CR1S", "CR2", "CR3")}
CASES |= {
    "CR2 of WLS": partial(clustered, partial(bh.Cluster, kind="CR2"), weighted),
    "CR2 of Logit": partial(clustered, partial(bh.Cluster, kind="CR2"), bh.Logit),
    "CR3 of Logit": partial(clustered, partial(bh.Cluster, kind="CR3"), bh.Logit),
    "cluster-jk": partial(clustered, bh.Jackknife),
    "jackknife": partial(clustered, lambda firms: bh.Jackknife()),
    "wild": partial(clustered, lambda firms: bh.Bootstrap(99, "wild", clusters=firms, seed=1)),
}
CASES |= {"float32": partial(narrow, bh.OLS), "Logit of float32": partial(narrow, bh.Logit)}
CASES |= {
    kind: partial(framed, kind)
    for kind in ("frame", "polars frame", "formula", "polars formula", "formula with missing rows")
}
CASES |= {"network": network, "bootstrap": bootstrap}


def measure(case):
    call, size = CASES[case]()
    figures = [resident_rise(call), resident_rise(call)]
    if case != "network":  # whose half million operations are too many for the profiler
        figures.append(allocated_peak(call))
    texts = [f"{figure / 2**20:.1f} MiB ({figure / size:.1%} of X)" for figure in figures]
    print(
        f"{case:12s} process: first call {texts[0]}, second {texts[1]}; tensors {', '.join(texts[2:]) or 'not traced'}"
    )


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        for case in CASES:
            subprocess.run([sys.executable, __file__, case], check=True, stderr=subprocess.DEVNULL)
