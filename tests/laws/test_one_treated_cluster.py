"""Coefficients that one cluster alone fixes are named, by every kind and in every model, and no others."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

KINDS = ["CR0", "CR1", "CR1S", "CR2", "CR3", "jackknife"]
ROWS = 12


def _panel(count, seed=0):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(count), ROWS)
    n = len(g)
    frame = pd.DataFrame({f"x{i}": rng.normal(size=n) for i in range(12)})
    frame = frame.assign(
        g=g, t=np.tile(np.arange(ROWS), count), z=rng.normal(size=count)[g], w=rng.uniform(0.5, 2.0, n)
    )
    frame["d"] = (g == 2).astype(float)
    frame["late"] = frame["d"] * (frame["t"] >= 6)
    frame["dose"] = frame["d"] * rng.uniform(1.0, 2.0, n)
    frame["two"] = np.isin(g, [2, 3]).astype(float)
    frame["y"] = rng.normal(size=count)[g] + rng.normal(size=n)
    frame["yes"] = (frame["y"] + rng.normal(size=n) > 0).astype(float)
    frame["count"] = rng.poisson(1.5, n)
    frame["class"] = rng.integers(0, 3, n)
    return frame


def _said(model, estimator, sentence="tests reject too often"):
    """Return the names that the warnings have, or None if there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(cov_type=estimator)
    found = [str(warning.message) for warning in caught if "alone fixes" in str(warning.message)]
    assert len(found) <= 1
    assert all(sentence in text for text in found)
    return (
        set(re.findall(r"'([^']*)'", re.search(r"the coefficients? of (.*?), as it does", found[0])[1]))
        if found
        else None
    )


def _by_leaving_out(x, names, groups):
    """Return the coefficients without an estimate once some cluster is left out: NumPy's rank of the rest, and with a row more."""
    lost = set()
    for g in np.unique(groups):
        rest = x[groups != g]
        rank = np.linalg.matrix_rank(rest)
        for row, name in zip(np.eye(x.shape[1]), names, strict=True):
            if np.linalg.matrix_rank(np.vstack([rest, row])) > rank:
                lost.add(name)
    return lost or None


FORMULAS = [
    "y ~ d",
    "y ~ d + x0",
    "y ~ d + z",
    "y ~ d * x0",
    "y ~ late + x0",
    "y ~ dose + x0 + z",
    "y ~ late + C(g) + x0",
    "y ~ late + C(g) + C(t)",
    "y ~ d + C(t)",
    "y ~ d + " + " + ".join(f"x{i}" for i in range(5)),
    "y ~ d + " + " + ".join(f"x{i}" for i in range(12)),
    "y ~ 0 + d + x0",
    "y ~ two + x0",
    "y ~ x0 + x1",
    "y ~ x0 + C(t)",
    "y ~ " + " + ".join(f"x{i}" for i in range(12)),
    "y ~ two + C(t) + x0 + x1 + x2",
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
@pytest.mark.parametrize("count", [7, 20])
@pytest.mark.parametrize("formula", FORMULAS)
def test_each_kind_names_what_cannot_be_estimated_without_a_cluster(formula, count, kind):
    frame = _panel(count)
    model = bh.ols(formula, frame)
    true = _by_leaving_out(np.asarray(model.exog), model.exog_names, frame["g"].to_numpy())
    found = _said(model, bh.Cluster("g", kind=kind))
    if true is None or len(true) <= 8:
        assert found == true
    else:  # a sentence lists eight names
        assert len(found) == 8
        assert found < true


@pytest.mark.parametrize("kind", ["CR1S", "CR3"])
@pytest.mark.parametrize("covariates", ["x0", "x0 + x1 + x2 + x3 + x4 + x5 + x6"])
@pytest.mark.parametrize(
    "name", ["wls", "freq_weights", "logit", "probit", "poisson", "mnlogit", "float32", "units", "torch"]
)
def test_each_model_warns(name, covariates, kind):
    frame = _panel(7)
    right = f"d + {covariates}"
    model = {
        "wls": lambda: bh.wls(f"y ~ {right}", frame, weights="w"),
        "freq_weights": lambda: bh.logit(f"yes ~ {right}", frame, freq_weights="count"),
        "logit": lambda: bh.logit(f"yes ~ {right}", frame),
        "probit": lambda: bh.probit(f"yes ~ {right}", frame),
        "poisson": lambda: bh.poisson(f"count ~ {right}", frame),
        "mnlogit": lambda: bh.mnlogit(f"class ~ {right}", frame),
        "float32": lambda: _arrays(frame, right, torch.float32),
        "units": lambda: bh.ols(f"y ~ d + {covariates}", frame.assign(d=1e-9 * frame["d"], x0=1e9 * frame["x0"])),
        "torch": lambda: _linear(frame, right),
    }[name]()
    expected = {"mnlogit": {"class=1:d", "class=2:d"}, "float32": {"x1"}, "torch": {"weight[0,0]"}}
    estimator = bh.Cluster(frame["g"].to_numpy(), kind=kind)
    assert _said(model, estimator) == expected.get(name, {"d"})


def _arrays(frame, right, dtype):
    x = frame[right.split(" + ")].to_numpy()
    return bh.OLS(torch.tensor(frame["y"].to_numpy(), dtype=dtype), torch.tensor(bh.add_constant(x), dtype=dtype))


def _linear(frame, right):
    x = torch.tensor(frame[right.split(" + ")].to_numpy())
    torch.manual_seed(0)
    return bh.TorchModel(
        torch.nn.Linear(x.shape[1], 1).double(), torch.nn.MSELoss(), x, torch.tensor(frame[["y"]].to_numpy())
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("formula", ["y ~ d + x0", FORMULAS[-7]])
def test_every_kind(formula, kind):
    assert _said(bh.ols(formula, _panel(7)), bh.Cluster("g", kind=kind)) == {"d"}


@pytest.mark.parametrize("formula", ["y ~ d + x0", "y ~ two + x0", "y ~ x0 + C(t)"])
@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("wild", {}, "tests hardly ever reject"),  # of 150 true nulls at 5% none with one of 12 clusters treated
        ("wild", {"null": False}, "tests reject too often"),  # 58%
        ("score", {}, "tests reject too often"),  # 67%
        ("bayesian", {}, "tests reject too often"),  # 69%, as by CR1S
    ],
)
def test_every_bootstrap_by_clusters(kind, options, sentence, formula):
    estimator = bh.Bootstrap(20, kind, clusters="g", seed=1, **options)
    expected = {"d"} if "~ d" in formula else None
    assert _said(bh.ols(formula, _panel(12)), estimator, sentence) == expected


@pytest.mark.parametrize("treated", [True, False])
@pytest.mark.parametrize("rare", [True, False])
def test_large_data_are_looked_at_here_and_there(monkeypatch, treated, rare):
    """A dummy of few rows may have none among those that are looked at; then all rows decide."""
    monkeypatch.setattr("betahat.covariance.fixed._LOOKED_AT", 40)
    frame = _panel(7)
    where = frame["t"].isin([4, 5]) & frame["g"].isin([2] if treated else [2, 5])
    frame["late"] = where.astype(float) if rare else frame["d" if treated else "two"]
    model = bh.ols("y ~ late + x0 + x1 + x2 + x3 + x4 + x5", frame)
    assert _said(model, bh.Cluster("g")) == ({"late"} if treated else None)


@pytest.mark.parametrize("numbers", [2**24, 0])
@pytest.mark.parametrize("count", [7, 40])
def test_many_dummies_and_means_taken_off(monkeypatch, numbers, count):
    """The constant of data within clusters has scores in each, which sum to zero there: no cluster alone fixes it."""
    monkeypatch.setattr("betahat.covariance.fixed._NUMBERS", numbers)
    frame = _panel(count)
    assert len(_said(bh.ols("y ~ x0 + C(g)", frame), bh.Cluster("g"))) == min(count, 8)
    assert _said(bh.ols("y ~ late + x0 + x1", frame), bh.Cluster("g")) == {"late"}
    within = frame - frame.groupby("g").transform("mean").assign(g=0) + frame.mean()
    assert _said(bh.ols("y ~ x0 + x1", within.assign(g=frame["g"])), bh.Cluster("g")) is None


@pytest.mark.parametrize("quiet", [1e-4, 1e-3, 1.0])
def test_a_cluster_of_small_residuals(quiet):
    frame = _panel(7)
    frame["y"] = frame["y"] * np.where(frame["g"] == 2, quiet, 1.0)
    model = bh.ols("y ~ d + late + " + " + ".join(f"x{i}" for i in range(6)), frame)
    assert _said(model, bh.Cluster("g")) == {"d", "late"}
