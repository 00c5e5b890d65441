"""Data and fits that the neighbours' tests share: few rows, so that t and the normal distribution print different numbers."""

import pandas as pd
import pytest
import statsmodels.formula.api as smf
import torch
from support import data_sets

import betahat as bh

FORMULAS = {
    "ols": "wage ~ educ + exper",
    "logit": "union ~ educ",
    "probit": "union ~ educ",
    "poisson": "kids ~ educ + exper",
}


@pytest.fixture(scope="session")
def frame():
    return data_sets.workers()


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
