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
    """Print the rise of a first call, which loads parts of MKL as well, and of a second."""
    endog, exog = problem(1_000_000, 20)
    bh.OLS(endog[:1000], exog[:1000]).fit(cov_type).bse.sum()
    size = exog.numel() * exog.element_size()
    rises = [peak_beyond(lambda: bh.OLS(endog, exog).fit(cov_type).bse) for _ in range(2)]
    told = ", then ".join(f"{rise / 2**20:4.1f} MiB ({rise / size:.1%} of X)" for rise in rises)
    print(f"{cov_type:10s} {told} beyond the data")


def main():
    """Measure each in a process of its own, so that none lives on memory that another left."""
    for cov_type in ("nonrobust", "HC1", "HC3"):
        subprocess.run([sys.executable, __file__, cov_type], check=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
