"""Data and fits that the neighbours' tests share: few rows, so that t and the normal distribution print different numbers."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import torch

import betahat as bh

FORMULAS = {
    "ols": "wage ~ educ + exper",
    "logit": "union ~ educ",
    "probit": "union ~ educ",
    "poisson": "kids ~ educ + exper",
}


@pytest.fixture(scope="session")
def frame():
    rng = np.random.default_rng(7)
    rows = 24
    educ, exper = rng.normal(size=rows), rng.normal(size=rows) + 1.0
    return pd.DataFrame(
        {
            "educ": educ,
            "exper": exper,
            "wage": 0.5 + 0.6 * educ - 0.45 * exper + rng.normal(size=rows),
            "union": (0.7 * educ + rng.logistic(size=rows) > 0).astype(int),
            "kids": rng.poisson(np.exp(0.3 * educ)),
            "job": rng.integers(0, 3, size=rows),
            "firm": np.arange(rows) // 4,
            "region": rng.choice(["north", "south", "west"], size=rows),
            "note": np.where(np.arange(rows) % 3 == 0, np.nan, 1.0),
        }
    )


@pytest.fixture(scope="session")
def both(frame):
    """Fit a model by statsmodels and by betahat, under one covariance."""

    def fits(kind, cov_type="nonrobust", formula=None):
        formula = FORMULAS[kind] if formula is None else formula
        quiet = {} if kind == "ols" else {"disp": 0}
        theirs = getattr(smf, kind)(formula, frame).fit(cov_type=cov_type, **quiet)
        return theirs, getattr(bh, kind)(formula, frame).fit(cov_type=cov_type)

    return fits


@pytest.fixture(scope="session")
def containers(frame):
    """OLS of the same numbers from a dataframe, from arrays and from tensors, on a GPU too, all named const, x1, x2."""
    y, x = frame.wage.to_numpy(), bh.add_constant(frame[["educ", "exper"]].to_numpy())
    named = pd.DataFrame(x, columns=["const", "x1", "x2"])
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    tensors = [bh.OLS(torch.tensor(y, device=device), torch.tensor(x, device=device)).fit() for device in devices]
    return [bh.OLS(pd.Series(y, name="y"), named).fit(), bh.OLS(y, x).fit(), *tensors]


@pytest.fixture(scope="session")
def unusual(frame):
    """Results that no neighbour knows the like of: several equations, a module, a loss that is no likelihood, CR2, wild."""
    x, y = torch.tensor(frame[["educ", "exper"]].to_numpy()), torch.tensor(frame[["wage"]].to_numpy())
    ols = bh.ols(FORMULAS["ols"], frame)
    return {
        "mnlogit": bh.mnlogit("job ~ educ", frame).fit(),
        "module": bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.MSELoss(), x, y).fit(),
        "loss": bh.MEstimator(lambda p, d: (d["y"] - p["m"]).abs() ** 1.5, {"m": 0.1}, {"y": y[:, 0]}).fit(),
        "CR2": ols.fit(bh.Cluster("firm", kind="CR2")),
        "wild": ols.fit(bh.Bootstrap(99, "wild", clusters="firm", seed=1)),
    }
