"""Files of version 2 of the format, and the numbers that the results had when they were saved.

Makes saved_v2/, once: the files are what betahat 0.2 wrote, and later versions must read them. So this is not run again; a new
version of the format gets a script and a folder of its own.

    cd tests && python -m golden.saved_v2

Last made with Python 3.11, torch 2.13.0, numpy 2.4.6, pandas 3.1.1, formulaic 1.2.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from golden.saved_v1 import boot, module, numbers, robust, tensors
from golden.saved_v1 import data as rows_of_1
from torch import nn

import betahat as bh

FOLDER = Path(__file__).with_suffix("")
GROUPED = "y ~ x + z | g"


def data() -> pd.DataFrame:
    """The 24 rows of version 1, and a period of each unit, a place and a positive number."""
    frame = rows_of_1()
    i = np.arange(len(frame))
    return frame.assign(
        t=2000 + i // 6,
        p=np.exp(0.3 * frame.y),
        cut=np.maximum(frame.y, 0.5),
        late=0.2 * (i % 2),
        end=1.5 + np.exp(0.3 * frame.y) + 0.1 * np.sin(13.0 * i),
        d=(np.cos(9.0 * i) > -0.6).astype(int),
        lat=45.0 + np.sin(i),
        lon=9.0 + np.cos(2.0 * i),
    )


CASES: dict[str, Callable[[], Any]] = {
    "formula_cr2": lambda: bh.ols("y ~ bs(x, df=4) + C(c) + np.log(z) + I(z**2)", data()).fit(bh.Cluster("g", "CR2")),
    "levels_and_references": lambda: bh.ols("y ~ i(t, ref=2001) + i(c, x)", data()).fit("HC1"),
    "lags": lambda: bh.ols("y ~ lag(x, 1) + diff(z, 1)", data(), panel="g", time="t").fit("HC0"),
    "frequencies": lambda: bh.ols("y ~ x", data(), freq_weights="f").fit("HC3"),
    "counted_rows": lambda: bh.ols("y ~ C(c) + f", data(), compress=True).fit("HC1"),
    "wls_two_ways": lambda: bh.wls("y ~ center(x) + z", data(), weights="w").fit(bh.Cluster(["g", "c"])),
    "driscoll_kraay": lambda: bh.ols("y ~ x + z", data()).fit(bh.DriscollKraay("t", 1)),
    "hac_by_time": lambda: bh.ols("y ~ x + z", data().reset_index(names="day")).fit(bh.HAC(2, time="day")),
    "panel_newey_west": lambda: bh.ols("y ~ x + z", data()).fit(bh.PanelNeweyWest("g", "t")),
    "conley": lambda: bh.ols("y ~ x", data()).fit(bh.Conley("lat", "lon", 100)),
    "jackknife": lambda: bh.ols("y ~ x", data()).fit(bh.Jackknife("g")),
    "a_matrix": lambda: bh.ols("y ~ x", data()).fit().with_cov(np.eye(2) / 10),
    "absorbed": lambda: bh.ols(GROUPED, data()).fit(bh.Cluster("g")),
    "absorbed_slopes": lambda: bh.ols("y ~ x | g[z]", data()).fit("HC1"),
    "absorbed_counts": lambda: bh.poisson("k ~ x | c", data()).fit("HC0"),
    "instruments": lambda: bh.ols("y ~ z | x ~ w + f", data()).fit("HC1"),
    "liml": lambda: bh.IVLIML(data().y, data()[["z"]], data()[["x"]], data()[["w", "f"]]).fit("HC0"),
    "two_steps": lambda: bh.IVGMM(data().y, data()[["z"]], data()[["x"]], data()[["w", "f"]]).fit(),
    "logit_offset": lambda: bh.logit("b ~ x", data(), offset="late").fit("HC1"),
    "probit_arrays": lambda: bh.Probit(data().b.to_numpy(), bh.add_constant(data().x.to_numpy())).fit("OPG"),
    "mnlogit": lambda: bh.mnlogit("m ~ x", data()).fit(),
    "gamma": lambda: bh.glm("p ~ x + z", data(), family="gamma").fit("HC0"),
    "binomial_weights": lambda: bh.glm("b ~ x", data(), family="binomial", var_weights="w").fit(),
    "negative_binomial": lambda: bh.negativebinomial("k ~ x", data(), exposure="w").fit(),
    "inflated": lambda: bh.zeroinflatedpoisson("k ~ x", data()).fit(),
    "hurdle": lambda: bh.hurdlepoisson("k ~ x", data()).fit("HC0"),
    "ordered": lambda: bh.ordered("k ~ x", data()).fit("HC0"),
    "tobit": lambda: bh.tobit("cut ~ x", data(), left=0.5).fit(),
    "durations": lambda: bh.aft("end ~ x", data(), status="d").fit(bh.Cluster("g")),
    "hazards": lambda: bh.phreg("end ~ x", data(), status="d", strata="f").fit("HC0"),
    "quantiles": lambda: bh.quantreg("y ~ x", data()).fit(q=[0.25, 0.5]),
    "bounded_influence": lambda: bh.rlm("y ~ x", data()).fit(),
    "module_penalised": lambda: module(nn.MSELoss(), penalty=0.5).fit("HC0"),
    "own_loss": lambda: robust().fit("HC0"),
    "tensors_aliased": lambda: bh.OLS(*tensors()).fit("HC3", rank="drop"),
    "bare": lambda: bh.glm("p ~ x + C(c)", data(), family="gamma").fit("HC1").remove_data(),
    "slopes": lambda: bh.logit("b ~ x * z", data()).fit("HC1").avg_slopes(by="c"),
    "comparisons": lambda: bh.poisson("k ~ x + C(c)", data()).fit("HC0").avg_comparisons("c", comparison="ratio"),
    "wild_clusters": lambda: bh.ols("y ~ x", data()).fit(boot("wild", clusters="g", variant="31")),
    "pairs_of_instruments": lambda: bh.ols("y ~ z | x ~ w + f", data()).fit(boot("pairs")),
    "scores_of_counts": lambda: bh.poisson("k ~ x", data()).fit(boot("score")),
}


def main() -> None:
    """Write every case, and their numbers."""
    FOLDER.mkdir()
    told = {}
    for name, make in CASES.items():
        results = make()
        results.save(FOLDER / f"{name}.betahat")
        told[name] = numbers(results, data())
    (FOLDER / "numbers.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
