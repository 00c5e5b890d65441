"""Rows from files: CPU seconds beside memory's, and the peak of the process beyond ``import betahat``; each figure is a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import textwrap
from multiprocessing import Process
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FITS = {
    "OLS + HC1": ("ols", "y", '"HC1"'),
    "OLS + HC3": ("ols", "y", '"HC3"'),
    "OLS + CR1S": ("ols", "y", 'bh.Cluster("g")'),
    "Logit + HC0": ("logit", "d", '"HC0"'),
}
COLUMNS = [f"x{i}" for i in range(1, 10)]
RIGHT = " + ".join(COLUMNS)


def write(folder: Path, rows: int, files: int) -> None:
    """Write rows of ten numbers, a 0/1 variable and one of 10,000 clusters, a file after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        generator = np.random.default_rng(i)
        count = rows // files
        x = {name: generator.standard_normal(count) for name in COLUMNS}
        index = sum(x.values()) / 3
        y = index + generator.standard_normal(count) * (1 + np.abs(x["x1"]))
        d = (generator.random(count) < 1 / (1 + np.exp(-index))).astype(float)
        g = generator.integers(0, 10_000, count)
        table = pa.table({**x, "y": y, "d": d, "g": g})
        pq.write_table(table, folder / f"part-{i:03}.parquet", row_group_size=250_000)


def measured(code: str) -> dict[str, float]:
    """Run code in a process of its own; return its CPU and wall seconds beyond the imports, and its peak in MiB.

    A process begins with the peak of the one that starts it, which therefore stays small.
    """
    wrapped = (
        "import json, resource, time\nimport betahat as bh\n" + textwrap.dedent(code) + "\nprint(json.dumps(told()))"
    )
    done = subprocess.run([sys.executable, "-c", wrapped], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


_TOLD = """
def told():
    return {"cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - cpu, "wall": time.perf_counter() - wall,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
cpu, wall = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), time.perf_counter()
"""
_WARM = """
import torch
torch.set_num_threads({threads})
import numpy as np, pandas as pd
bh.ols("y ~ x", pd.DataFrame({{"y": np.random.randn(50), "x": np.random.randn(50), "g": np.arange(50) % 7}})).fit("HC1").bse
import pyarrow.dataset, pyarrow.parquet
"""


def fit(name: str, data: str, threads: int = 1, engine: str = "None", warm: bool = True) -> dict[str, float]:
    """Measure one fit of a dataset, or, where `data` begins with "pd.", of a frame in memory, reading included."""
    model, left, cov = FITS[name]
    more = "" if data.startswith("pd.") or engine == "None" else f", engine={engine}"
    start = _WARM.format(threads=threads) if warm else f"import torch\ntorch.set_num_threads({threads})\n"
    code = start + _TOLD
    code += f"res = bh.{model}('{left} ~ {RIGHT}', data={data}{more}).fit({cov})\nres.bse\n"
    return measured(code)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[3_000_000])
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--folder", default="/tmp/bench_streams")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="memory,cpu,threads")
    options = parser.parse_args()
    base = measured("def told():\n    return {'peak': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}")[
        "peak"
    ]
    print(f"import betahat: {base:.0f} MiB")
    for rows in options.rows:
        folder = Path(options.folder) / str(rows)
        if not folder.is_dir():
            writer = Process(target=write, args=(folder, rows, options.files))  # whose memory goes with it
            writer.start()
            writer.join()
        glob, wanted = f"'{folder}/*.parquet'", options.only.split(",")
        if "memory" in wanted:
            for name in FITS:
                found = fit(name, glob, warm=False)
                print(
                    f"{rows:>10} {name:12} peak beyond import {found['peak'] - base:6.0f} MiB, wall {found['wall']:6.2f} s, CPU {found['cpu']:6.2f} s"
                )
        if "cpu" in wanted:
            for name in FITS:
                pairs = [(fit(name, f"pd.read_parquet('{folder}')"), fit(name, glob)) for _ in range(options.repeat)]
                memory, files = (min(pair[i]["cpu"] for pair in pairs) for i in (0, 1))
                print(f"{rows:>10} {name:12} CPU s: memory {memory:.2f}, files {files:.2f}, ratio {files / memory:.2f}")
        if "threads" in wanted:
            pool = "__import__('concurrent.futures', fromlist=['x']).ThreadPoolExecutor(2)"
            for name in FITS:
                pairs = [(fit(name, glob), fit(name, glob, engine=pool)) for _ in range(options.repeat)]
                one, two = (min(pair[i]["wall"] for pair in pairs) for i in (0, 1))
                print(f"{rows:>10} {name:12} wall s: serial {one:.2f}, two threads {two:.2f}, ratio {one / two:.2f}")


if __name__ == "__main__":
    main()
