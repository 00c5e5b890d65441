"""The peak of memory beyond the data, for a million rows by twenty: `python benchmarks/memory.py`.

Linux only: the kernel's own high-water mark is reset after the data are made.
"""

import re
import subprocess
import sys
from pathlib import Path

import torch
from conftest import problem

import betahat as bh


def resident(field):
    """Return VmRSS or VmHWM of this process, in bytes."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def peak_beyond(function):
    """Return the bytes by which memory rises while a function runs."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    function()
    return max(resident("VmHWM") - before, 0)


def measure(cov_type):
    endog, exog = problem(1_000_000, 20)
    bh.OLS(endog[:1000], exog[:1000]).fit(cov_type).bse.sum()  # load what the first call loads, and no more
    rise = peak_beyond(lambda: bh.OLS(endog, exog).fit(cov_type).bse)
    size = exog.numel() * exog.element_size()
    print(f"{cov_type:10s} {rise / 2**20:5.1f} MiB beyond the data, {rise / size:.1%} of X (limit 10% for HC3)")


def main():
    """Measure each in a process of its own, so that none lives on memory that another left."""
    for cov_type in ("nonrobust", "HC1", "HC3"):
        subprocess.run([sys.executable, __file__, cov_type], check=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
