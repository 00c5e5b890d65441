"""The order of rows, the names of groups, the container, missing rows and weights do not matter."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import same_covariance
from support.clustered import (
    CHOICE,
    COUNT,
    HOLES,
    KINDS,
    MODELS,
    ORDER,
    OTHER,
    UNIT,
    YEAR,
    YES,
    G,
    N,
    X,
    Y,
    as_tensor,
    collection,
    is_defined,
    matrix_of,
)

import betahat as bh

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9
# Two optima, each to a decrement below 1e-24, and the derivatives there.
REFITTED = 1e-8

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def clustered():
    """Every model's fit, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_order_and_names(name, clustered):
    order = np.random.default_rng(3).permutation(N)
    relabelled = np.array([f"{(5 * g + 3) % G:02d}" for g in UNIT])
    there, again = collection(ORDER), collection(order)
    mixed = MODELS[name](order).fit("HC0")
    for kind, estimator in there.items():
        if is_defined(name, kind):
            same_covariance(matrix_of(mixed, again[kind]), matrix_of(clustered[name], estimator), REFITTED)
    for kind in (kind for kind in KINDS if is_defined(name, kind)):
        plain = matrix_of(clustered[name], there[kind])
        same_covariance(matrix_of(clustered[name], bh.Cluster(relabelled, kind)), plain, ROUNDING)
        same_covariance(matrix_of(clustered[name], bh.Cluster(pd.Categorical(relabelled), kind)), plain, ROUNDING)
        same_covariance(matrix_of(clustered[name], bh.Cluster(as_tensor(UNIT), kind)), plain, ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_containers(kind):
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2], "unit": UNIT, "other": OTHER}, index=range(100, 100 + N))
    design = frame[["a", "b"]].assign(const=1.0)[["const", "a", "b"]]
    fits = {
        "tensors": (bh.OLS(as_tensor(Y), as_tensor(X)), as_tensor(UNIT)),
        "numpy": (bh.OLS(Y, X), UNIT),
        "frame": (bh.OLS(frame["y"], design), frame["unit"]),
        "frame and array": (bh.OLS(frame["y"], design), UNIT),
        "frame and list": (bh.OLS(frame["y"], design), UNIT.tolist()),
        "formula": (bh.ols("y ~ a + b", frame), "unit"),
        "formula and vector": (bh.ols("y ~ a + b", frame), frame["unit"]),
    }
    true = matrix_of(bh.OLS(Y, X).fit(), bh.Cluster(UNIT, kind))
    for name, (model, groups) in fits.items():
        res = model.fit(bh.Cluster(groups, kind))
        kept = {"tensors": torch.Tensor, "numpy": np.ndarray}.get(name, pd.Series)
        assert isinstance(res.bse, kept), name
        same_covariance(res.cov_params(), true, ROUNDING)
    ways = [
        ["unit", "other"],
        frame[["unit", "other"]],
        [frame["unit"], frame["other"]],
        np.column_stack([UNIT, OTHER]),
    ]
    two = [bh.ols("y ~ a + b", frame).fit(bh.Cluster(way, kind, psd="repair")).cov_params() for way in ways]
    for found in two[1:]:
        same_covariance(found, two[0], ROUNDING)


def test_names_of_an_m_estimator(clustered):
    same_covariance(
        matrix_of(clustered["MEstimator"], bh.Cluster("unit", "CR0")),
        matrix_of(clustered["MEstimator"], bh.Cluster(UNIT, "CR0")),
        ROUNDING,
    )


@pytest.mark.parametrize("missing", ["in the data", "in the labels too"])
def test_missing_rows(missing):
    """Groups by name, of the rows in use, and of the original rows are the same groups."""
    gone = np.arange(N) % 7 == 3
    frame = pd.DataFrame({"y": np.where(gone, np.nan, Y), "a": X[:, 1], "b": X[:, 2], "year": YEAR})
    frame["unit"] = UNIT.astype(float)
    if missing == "in the labels too":
        frame.loc[gone, "unit"] = np.nan
    true = matrix_of(bh.OLS(Y[~gone], X[~gone]).fit(), bh.Cluster(UNIT[~gone], "CR2"))
    whole, used = frame["unit"], frame["unit"][~gone]
    for given in (
        "unit",
        whole,
        used,
        whole.to_numpy(),
        used.to_numpy(),
        whole.tolist(),
        as_tensor(whole),
        as_tensor(used),
    ):
        same_covariance(matrix_of(bh.ols("y ~ a + b", frame).fit(), bh.Cluster(given, "CR2")), true, ROUNDING)
    arrays = bh.OLS(frame["y"].to_numpy(), X, missing="drop").fit()
    for given in (whole.to_numpy(), used.to_numpy()):
        same_covariance(matrix_of(arrays, bh.Cluster(given, "CR2")), true, ROUNDING)
    series = bh.OLS(Y[~gone], X[~gone]).fit()
    same_covariance(
        matrix_of(bh.ols("y ~ a + b", frame).fit(), bh.DriscollKraay("year", 2)),
        matrix_of(series, bh.DriscollKraay(YEAR[~gone], 2)),
        ROUNDING,
    )


# weights


@pytest.mark.parametrize("target", ["identity", "inverse_weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_zero(kind, target, clustered):
    """Rows without weight have no say, whatever is written in them; they count in n as they do in HC1."""
    here = HOLES > 0
    dropped = bh.WLS(Y[here], X[here], weights=HOLES[here]).fit()
    n = here.sum()
    count = (N - 1) / (N - 3) * (n - 3) / (n - 1) if kind == "CR1S" else 1.0  # but for their number, as in HC1
    wild = bh.WLS(np.where(here, Y, 1e6), X, weights=HOLES).fit()
    true = count * matrix_of(dropped, bh.Cluster(UNIT[here], kind, target=target))
    for res in (clustered["weights of zero"], wild):
        same_covariance(matrix_of(res, bh.Cluster(UNIT, kind, target=target)), true, ROUNDING)
    if kind in ("CR2", "CR3"):
        df = dropped.with_cov(bh.Cluster(UNIT[here], kind, target=target)).cov.df
        np.testing.assert_allclose(wild.with_cov(bh.Cluster(UNIT, kind, target=target)).cov.df, df, rtol=ROUNDING)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson", "MNLogit"])
def test_frequency_weights_are_repeated_rows(name):
    y = {"Logit": YES, "Probit": YES, "Poisson": COUNT, "MNLogit": CHOICE}[name]
    often = np.random.default_rng(4).integers(1, 4, size=N)
    again = np.repeat(ORDER, often)
    counted = getattr(bh, name)(y, X, freq_weights=often).fit()
    repeated = getattr(bh, name)(y[again], X[again]).fit()
    for kind in KINDS:
        if kind == "CR1p" and name == "MNLogit":
            continue
        mine = counted.with_cov(bh.Cluster(UNIT, kind))
        theirs = repeated.with_cov(bh.Cluster(UNIT[again], kind))
        same_covariance(mine.cov_params(), theirs.cov_params(), REFITTED)
        if kind in ("CR2", "CR3"):
            np.testing.assert_allclose(mine.cov.df, theirs.cov.df, rtol=REFITTED)
    same_covariance(matrix_of(counted, bh.Jackknife(UNIT)), matrix_of(repeated, bh.Jackknife(UNIT[again])), REFITTED)
    same_covariance(matrix_of(counted, bh.Jackknife()), matrix_of(repeated, bh.Jackknife()), REFITTED)
