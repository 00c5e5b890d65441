"""Files of version 1 of the format, and the numbers that the results had when they were saved.

Makes saved_v1/, once: the files are what betahat 0.1 wrote, and later versions must read them. So this is not run again; a new
version of the format gets a script and a folder of its own.

    python tests/golden/saved_v1.py

Last made with Python 3.11, torch 2.13.0, numpy 2.4.6, pandas 3.1.1, formulaic 1.2.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import betahat as bh

FOLDER = Path(__file__).with_suffix("")
N = 24


def data() -> pd.DataFrame:
    """24 rows that no random generator made, so that they are the same everywhere."""
    i = np.arange(N)
    frame = pd.DataFrame({"x": np.sin(3.0 * i), "z": 1.5 + 0.5 * np.cos(5.0 * i), "g": i % 6, "w": 1.0 + i % 3})
    frame = frame.assign(c=np.array(["a", "b", "c"])[i % 3], y=1.0 + frame.x + 0.3 * np.cos(7.0 * i), f=1 + i % 2)
    frame = frame.assign(
        b=(np.sin(11.0 * i) > 0).astype(int), k=i * i % 5, m=np.array(["low", "mid", "high"])[i * i % 7 % 3]
    )
    return frame.set_axis(pd.date_range("2020-01-31", periods=N, freq="ME", tz="Europe/Rome"))


def boot(kind: str, **options: Any) -> bh.Bootstrap:
    """Return a bootstrap of few replicates."""
    return bh.Bootstrap(19, kind, seed=1, **options)


def module(loss: nn.Module, **options: Any) -> bh.TorchModel:
    """Return a linear module from zero."""
    linear = nn.Linear(1, 1).double()
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return bh.TorchModel(linear, loss, data()[["x"]], data()[["y"]], **options)


def robust() -> bh.MEstimator:
    """Return a loss of its own."""
    columns = {name: data()[name].to_numpy() for name in ("x", "y")}
    return bh.MEstimator(
        lambda p, d: nn.functional.huber_loss(d["x"] * p["a"], d["y"], reduction="none"), {"a": np.zeros(())}, columns
    )


def tensors() -> list[torch.Tensor]:
    """Return y and X."""
    return [torch.tensor(data().y.to_numpy()), torch.tensor(bh.add_constant(data()[["x", "z"]]).to_numpy())]


CASES: dict[str, Callable[[], Any]] = {
    "splines_cr2": lambda: bh.ols("y ~ bs(x, df=4) + C(c) + np.log(z) + I(z**2)", data()).fit(bh.Cluster("g", "CR2")),
    "weights_two_ways": lambda: bh.wls("y ~ center(x) + z", data(), weights="w").fit(bh.Cluster(["g", "c"])),
    "logit_freq_weights": lambda: bh.logit("b ~ x", data(), freq_weights="f").fit("HC1"),
    "probit_arrays": lambda: bh.Probit(data().b.to_numpy(), bh.add_constant(data().x.to_numpy())).fit("OPG"),
    "poisson_offset": lambda: bh.poisson("k ~ x", data(), exposure="w", offset="z").fit("HC0"),
    "mnlogit": lambda: bh.mnlogit("m ~ x", data()).fit(),
    "tensors_aliased": lambda: bh.OLS(tensors()[0], torch.cat([tensors()[1], 2.0 * tensors()[1][:, 1:2]], 1)).fit(
        "HC3", rank="drop"
    ),
    "module_penalised": lambda: module(nn.MSELoss(), penalty=0.5).fit("HC0"),
    "own_loss": lambda: robust().fit("HC0"),
    "huber_module": lambda: module(nn.HuberLoss()).fit("HC0"),
    "bare": lambda: bh.ols("y ~ x + C(c)", data()).fit("HC1").remove_data(),
    "bare_bootstrap": lambda: bh.ols("y ~ x", data()).fit(boot("pairs", clusters="g")).remove_data(),
    **{
        kind: (lambda kind=kind, options=options: bh.ols("y ~ x", data()).fit(boot(kind, **options)))
        for kind, options in {
            **{kind: {} for kind in ("pairs", "bayesian", "poisson", "wild", "score", "residual", "parametric")},
            "stationary": {"block_length": 3},
            "subsample": {"size": 16},
        }.items()
    },
    "wild_clusters": lambda: bh.ols("y ~ x", data()).fit(boot("wild", clusters="g", variant="31")),
    "wild_all_signs": lambda: bh.ols("y ~ x", data()).fit(bh.Bootstrap(999, "wild", seed=1, clusters="g")),
    "parametric_logit": lambda: bh.logit("b ~ x", data()).fit(boot("parametric")),
}


def numbers(results: Any, new: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return what results say, as numbers of JSON; predictions are of the first of the `new` rows, or of ours."""
    plain = {name: np.asarray(getattr(results, name), float).tolist() for name in ("params", "bse", "pvalues")}
    plain |= {
        "conf_int": np.asarray(results.conf_int(), float).tolist(),
        "cov_type": results.cov_type,
        "nobs": results.nobs,
    }
    if "~" in getattr(getattr(getattr(results, "model", None), "source", None), "text", ""):
        found = results.predict((data() if new is None else new).head(3))
        plain["predict"] = np.asarray(getattr(found, "predicted_values", found), float).tolist()
    return plain


def main() -> None:
    """Write every case, and their numbers."""
    FOLDER.mkdir()
    told = {}
    for name, make in CASES.items():
        results = make()
        results.save(FOLDER / f"{name}.betahat")
        told[name] = numbers(results)
    (FOLDER / "numbers.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
