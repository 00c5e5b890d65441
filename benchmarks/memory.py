"""The peak of memory beyond the data, for a million rows by twenty: `python benchmarks/memory.py`.

Two measures: what torch allocates, from its profiler, and what the kernel sees of the process (Linux only), of a first
call and of a second. Each estimator is measured in a process of its own.
"""

import re
import subprocess
import sys
from pathlib import Path

import torch
from conftest import THREADS, problem
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


def measure(cov_type):
    endog, exog = problem(1_000_000, 20)
    bh.OLS(endog[:1000], exog[:1000]).fit(cov_type).bse.sum()

    def fit():
        return bh.OLS(endog, exog).fit(cov_type).bse

    figures = [resident_rise(fit), resident_rise(fit), allocated_peak(fit)]
    size = exog.numel() * exog.element_size()
    first, second, tensors = (f"{figure / 2**20:.1f} MiB ({figure / size:.1%} of X)" for figure in figures)
    print(f"{cov_type:10s} tensors {tensors}; process: first call {first}, second {second}")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        for cov_type in ("nonrobust", "HC1", "HC3"):
            subprocess.run([sys.executable, __file__, cov_type], check=True, stderr=subprocess.DEVNULL)
