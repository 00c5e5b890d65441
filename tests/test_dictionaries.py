"""Every line of betahat in the tables of docs/from-*.rst runs."""

import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from statsmodels.stats.diagnostic import het_breuschpagan, het_white
from statsmodels.stats.outliers_influence import variance_inflation_factor

import betahat as bh

DOCS = Path(__file__).parents[1] / "docs"
# A table whose last head is betahat's; a heading, a paragraph or the next table ends it.
TABLE = re.compile(r"^\.\. list-table::\n(?:   .*\n|\n)+", re.MULTILINE)
LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
# What a line of Python begins with here; a literal that is an option or a name alone begins otherwise.
LINE = re.compile(r"(bh|m|m1|m2|p|c|s|g|e|iv|d|pd|sm|torch|smf)(\.\w|\[| = )|het_|variance_inf")


def lines_of(page):
    """Return the lines of Python in the last column of each table that has betahat there."""
    found = []
    for table in TABLE.findall((DOCS / page).read_text(encoding="utf-8")):
        rows = re.split(r"^   \* - ", table, flags=re.MULTILINE)[1:]
        cells = [re.split(r"^     - ?", row, flags=re.MULTILINE) for row in rows]
        if "betahat" in cells[0][-1] or "bh." in cells[0][-1]:
            texts = [" ".join(text.split()) for row in cells[1:] for text in LITERAL.findall(row[-1])]
            # A table of one function's options has the options alone.
            call = "bh.regtable([m, m2], {})" if "bh.regtable" in cells[0][-1] else "{}"
            found += [call.format(text) if re.match(r"\w+=\S", text) else text for text in texts]
    return [text for text in found if LINE.match(text)]


@pytest.fixture
def names(tmp_path, monkeypatch):
    """A panel of 24 units in ten years, with a dependent variable of each kind, and fits of it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(18)
    n = 240
    x, z, v = rng.normal(size=(3, n))
    u = rng.normal(size=n)
    works = rng.random(n) < 1 / (1 + np.exp(-x))
    visits = rng.poisson(rng.gamma(2.0, 0.5 * np.exp(0.5 + 0.4 * x)))
    weeks = rng.exponential(np.exp(1 - 0.3 * x))
    d = pd.DataFrame({"x": x, "z": z, "v": v, "y": 1 + x + 0.5 * z + u, "a": x, "b": z})
    d["unit"], d["time"] = np.repeat(np.arange(24), 10), np.tile(np.arange(2000, 2010), 24)
    d["firm"], d["year"], d["g"], d["h"] = d["unit"], d["time"], d["unit"] // 2, d["time"] % 5
    d["chosen"] = d.groupby("g")["x"].transform("idxmax") == d.index
    d.loc[d["g"] % 2 == 0, "chosen"] = d.groupby("g")["z"].transform("idxmin") == d.index
    d["chosen"] = d["chosen"].astype(int)
    d["first"] = np.select([d["unit"] < 8, d["unit"] < 16], [2004, 2007], 0)
    d["price"] = 0.8 * z + 0.4 * v + 0.5 * u + rng.normal(size=n)
    d["region"], d["treated"] = rng.choice(["east", "south", "west"], n), (d["unit"] % 2).astype(int)
    d["works"], d["visits"], d["hours"] = works.astype(int), visits, np.maximum(d["y"], 0)
    d["rating"] = pd.cut(x + rng.logistic(size=n), [-np.inf, -1, 1, np.inf], labels=False)
    d["wage"], d["share"] = rng.gamma(2.0, np.exp(0.2 * x)), rng.beta(2, 2, n)
    d["weeks"], d["died"], d["entry"] = weeks + 0.1, (rng.random(n) < 0.8).astype(int), 0.05
    d["w"], d["f"], d["e"], d["o"] = rng.uniform(0.5, 2, n), rng.integers(1, 4, n), rng.uniform(1, 5, n), 0.1
    d["s"], d["size"] = rng.binomial(5, 0.5, n), 5
    d["lat"], d["lon"] = rng.uniform(40, 50, n), rng.uniform(0, 10, n)
    d.to_stata("data.dta")
    (tmp_path / "rows").mkdir()
    d.to_parquet("rows/part.parquet")
    L = np.diag(np.sqrt(d["w"]))
    rows = {name: torch.tensor(d[name].to_numpy(dtype=float)) for name in ("x", "z", "y")}
    fits = {"m": bh.ols("y ~ x", d).fit(), "m0": bh.ols("y ~ 1", d).fit(), "m2": bh.ols("y ~ x + z", d).fit()}
    fits |= {"p": bh.logit("works ~ x", d).fit(), "iv": bh.ols("y ~ x | price ~ z + v", d).fit()}
    arrays = {
        "L": L,
        "y": d["y"].to_numpy(),
        "X": sm.add_constant(d[["x", "z"]].to_numpy()),
        "module": torch.nn.Linear(1, 1).double(),
        "inputs": rows["x"][:, None],
        "targets": rows["y"][:, None],
        "rows": rows,
        "loss": lambda p, r: (r["y"] - p["b"] * r["x"]) ** 2,
        "moments": lambda p, r: (
            (r["y"] - p["b"][0] - p["b"][1] * r["x"])[:, None]
            * torch.stack([torch.ones_like(r["x"]), r["z"], r["x"]], 1)
        ),
    }
    yield {
        **fits,
        **arrays,
        "bh": bh,
        "np": np,
        "pd": pd,
        "sm": sm,
        "re": re,
        "torch": torch,
        "nn": torch.nn,
        "d": d,
        "het_breuschpagan": het_breuschpagan,
        "het_white": het_white,
        "variance_inflation_factor": variance_inflation_factor,
    }
    plt.close("all")


@pytest.mark.parametrize("page", ["from-stata.rst", "from-r.rst", "from-statsmodels.rst"])
def test_each_line_of_a_dictionary_runs(page, names):
    lines = lines_of(page)
    assert len(lines) >= 30
    failed = []
    for line in lines:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                exec(compile(line, page, "single"), names)
            except Exception as error:  # all that fail are shown at once
                failed.append(f"{line}\n    {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
