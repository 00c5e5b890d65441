"""Complex numbers and spans of time are refused wherever numbers come in, infinity as a class, and covariances of one's own that are none."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh
from betahat.covariance import names

N = 60
RNG = np.random.default_rng(0)
BASE = {"x": RNG.normal(size=N), "y": RNG.normal(size=N), "g": np.arange(N) // 6}
BASE |= {"yes": (np.arange(N) % 3 == 0) * 1.0, "count": np.arange(N) % 4 * 1.0}
X = np.column_stack([np.ones(N), BASE["x"]])
C = BASE["x"] + 1j
DAYS = pd.Series(pd.to_timedelta(np.arange(N) % 7, unit="D"))
PYTHON = [datetime.timedelta(days=int(i) % 7) for i in range(N)]
DATA = pd.DataFrame(BASE)
MODELS = ("OLS", "Logit", "Probit", "Poisson", "MNLogit")

SPANS = {
    "pandas": DATA.assign(d=DAYS),
    "microseconds": DATA.assign(d=DAYS.astype("timedelta64[us]")),
    "pandas pyarrow": DATA.assign(d=DAYS.astype("duration[ns][pyarrow]")),
    "pandas dates": DATA.assign(d=pd.Timestamp("2000-01-01") + DAYS),
    "objects": DATA.assign(d=pd.Series(PYTHON, dtype=object)),
    "polars": pl.DataFrame(DATA.assign(d=DAYS)),
    "pyarrow": pa.Table.from_pandas(DATA.assign(d=DAYS)),
    "dict": {**BASE, "d": DAYS.to_numpy()},
    "dict of Python's": {**BASE, "d": PYTHON},
}
COMPLEX = {
    "pandas": DATA.assign(d=C),
    "complex64": DATA.assign(d=C.astype(np.complex64)),
    "objects": DATA.assign(d=pd.Series(list(C), dtype=object)),
    "dict": {**BASE, "d": C},
    "dict of lists": {**BASE, "d": list(C)},
}
NUMERIC = ("d", "x + d", "x:d", "I(d * 1)", "Q('d')", "center(d)", "scale(d)", "poly(d, 2)", "bs(d, df=4)")


@pytest.mark.parametrize("formula", NUMERIC)
@pytest.mark.parametrize(("kind", "container"), [*(("spans", k) for k in SPANS), *(("complex", k) for k in COMPLEX)])
def test_regressors_of_a_formula(kind, container, formula):
    data = (SPANS if kind == "spans" else COMPLEX)[container]
    if container == "objects" and formula in ("d", "x + d", "x:d", "I(d * 1)", "Q('d')"):
        pytest.skip("a column of objects is a category")
    with pytest.raises(bh.BetahatError):
        bh.ols(f"y ~ {formula}", data)


@pytest.mark.parametrize("data", [SPANS["pandas"], SPANS["polars"], COMPLEX["pandas"]])
def test_sides_weights_and_new_data(data):
    with pytest.raises(bh.FormulaError, match=r"are (dates or spans of time|complex)"):
        bh.ols("d ~ x", data)
    with pytest.raises(bh.BetahatError):
        bh.wls("y ~ x", data, weights="d")
    with pytest.raises(bh.BetahatError):
        bh.poisson("count ~ x", data, offset="d")
    new = pd.DataFrame({"x": pd.DataFrame({"d": list(np.asarray(data["d"]))})["d"]})
    res = bh.ols("y ~ x", DATA).fit()
    for ask in (res.predict, res.get_prediction):
        with pytest.raises(bh.FormulaError, match=r"are (dates or spans of time|complex)"):
            ask(new)


def test_what_makes_real_numbers_of_them():
    """Real parts, days and categories are regressors."""
    real = bh.ols("y ~ x", DATA).fit().params.to_numpy()
    np.testing.assert_array_equal(bh.ols("y ~ np.real(d)", COMPLEX["pandas"]).fit().params, real)
    days = SPANS["pandas"].assign(n=np.arange(N) % 7)
    np.testing.assert_allclose(
        bh.ols("y ~ I(d / day)", days.assign(day=pd.Timedelta(days=1))).fit().params, bh.ols("y ~ n", days).fit().params
    )
    assert len(bh.ols("y ~ C(d)", days).exog_names) == 7


@pytest.mark.parametrize(
    "exog",
    [
        DAYS.to_numpy(),
        DAYS,
        DAYS.to_frame("d"),
        SPANS["polars"][["d"]],
        SPANS["pyarrow"].select(["d"]),
        X + 1j,
        torch.tensor(X + 1j),
        COMPLEX["pandas"][["d"]],
        np.array(list(C), dtype=object),
    ],
)
def test_arrays_and_frames(exog):
    with pytest.raises(bh.DataError):
        bh.OLS(BASE["y"], exog)
    with pytest.raises(bh.DataError):
        bh.MEstimator(lambda p, d: (d["y"] - p["b"] * d["x"]) ** 2, {"b": 0.0}, {"x": exog, "y": BASE["y"]})
    with pytest.raises(bh.DataError):
        bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), exog, BASE["y"][:, None])
    res = bh.OLS(BASE["y"], X).fit()
    with pytest.raises(bh.DataError):
        res.predict(exog)


ENDOGS = {
    "array": lambda v: v + 0j,
    "tensor": lambda v: torch.tensor(v + 0j),
    "series": lambda v: pd.Series(v + 0j),
    "list": lambda v: list(v + 0j),
    "objects": lambda v: np.array(list(v + 0j), dtype=object),
}


@pytest.mark.parametrize("kind", ENDOGS)
@pytest.mark.parametrize("model", MODELS)
def test_complex_endog(model, kind):
    with pytest.raises(bh.DataError, match=r"complex|numbers"):
        getattr(bh, model)(ENDOGS[kind](BASE["yes"]), X)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("model", MODELS)
def test_infinite_endog(model, value):
    """Infinity is no class."""
    y = np.where(np.arange(N) == 3, value, BASE["yes"])
    for endog in (y, torch.tensor(y), pd.Series(y), y.tolist(), pl.Series("z", y)):
        with pytest.raises(bh.DataError, match=r"[Ii]nfinite|outside|negative|below"):
            getattr(bh, model)(endog, X)
    if model == "MNLogit":
        with pytest.raises(bh.DataError, match="endog has infinite values, which are not classes"):
            bh.mnlogit("z ~ x", DATA.assign(z=y))


def test_a_missing_class_of_a_tensor_is_missing():
    y = np.where(np.arange(N) == 3, np.nan, BASE["yes"])
    with pytest.raises(bh.DataError, match="Missing values"):
        bh.MNLogit(torch.tensor(y), X)
    dropped = bh.MNLogit(torch.tensor(y), X, missing="drop").fit()
    expected = bh.MNLogit(np.delete(y, 3), np.delete(X, 3, 0)).fit()
    np.testing.assert_allclose(dropped.params, expected.params, rtol=1e-10)


RES = bh.OLS(BASE["y"], X).fit()
V = np.eye(2) * (1 + 1j)


@pytest.mark.parametrize("matrix", [V, torch.tensor(V), pd.DataFrame(V), V.tolist(), V.astype(np.complex64)])
def test_complex_covariances(matrix):
    for ask in (
        lambda: RES.with_cov(matrix),
        lambda: RES.with_cov(bh.Given(matrix)),
        lambda: RES.t_test([1, 0], cov_p=matrix),
        lambda: RES.f_test(np.eye(2), cov_p=matrix),
        lambda: RES.wald_test(np.eye(2), cov_p=matrix),
        lambda: RES.cov_params(cov_p=matrix),
    ):
        with pytest.raises(bh.DataError, match="complex"):
            ask()


FLAWS = {
    "has values that are not finite": [np.full((2, 2), np.nan), np.diag([np.nan, 1.0]), np.diag([np.inf, 1.0])],
    "is not symmetric": [np.array([[1.0, 0.9], [0.0, 1.0]])],
    "has a negative variance": [np.diag([-1.0, 1.0])],
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_covariances_of_ones_own_that_are_none(flaw, monkeypatch):
    """Given, as an option of a test, from an estimator of one's own, and by its registered name."""
    for matrix in FLAWS[flaw]:
        tensor = torch.tensor(matrix)
        for given in (matrix, tensor, bh.Given(matrix)):
            with pytest.raises(bh.OptionError, match=f"The covariance {flaw}"):
                RES.with_cov(given)
        for ask in (RES.t_test, RES.f_test, RES.wald_test):
            with pytest.raises(bh.OptionError, match=f"cov_p {flaw}"):
                ask(np.eye(2), cov_p=matrix)

        def own(fit, tensor=tensor):
            return bh.Covariance(tensor, "mine", "of mine")

        monkeypatch.setattr(names, "_NAMES", dict(names._NAMES))
        bh.register_covariance(f"flawed {len(names._NAMES)}", lambda own=own: own)
        for given in (own, list(names._NAMES)[-1]):
            with pytest.raises(bh.EstimationError, match=f"The estimator's matrix {flaw}"):
                RES.with_cov(given)
            with pytest.raises(bh.EstimationError, match=f"The estimator's matrix {flaw}"):
                bh.OLS(BASE["y"], X).fit(given)
    with pytest.raises(bh.EstimationError, match="The estimator's matrix is complex"):
        RES.with_cov(lambda fit: bh.Covariance(torch.tensor(V), "mine", "of mine"))


@pytest.mark.parametrize(
    "labels",
    [
        BASE["g"] + 0j,
        torch.tensor(BASE["g"] + 0j),
        list(BASE["g"] + 0j),
        pd.Series(BASE["g"] + 0j),
        np.array(list(BASE["g"] + 0j), dtype=object),
    ],
)
def test_complex_labels(labels):
    for cov in (
        bh.Cluster(labels),
        bh.DriscollKraay(labels, 1),
        bh.HAC(1, time=labels),
        bh.Jackknife(labels),
        bh.Bootstrap(9, clusters=labels),
    ):
        with pytest.raises(bh.DataError, match="has complex labels; pass real numbers, text or dates"):
            RES.with_cov(cov)
    with pytest.raises(bh.DataError, match="complex"):
        RES.with_cov(bh.Conley(labels, labels, 1.0, distance="planar"))


def test_coordinates_and_times():
    for given in (DAYS, DAYS.to_numpy(), pd.Timestamp("2000-01-01") + DAYS):
        with pytest.raises(bh.DataError, match="latitude: a vector of dates or time spans was passed"):
            RES.with_cov(bh.Conley(given, given, 1.0, distance="planar"))
    with pytest.raises(bh.DataError, match="time has infinite values"):
        RES.with_cov(bh.DriscollKraay(np.where(BASE["g"] == 0, np.inf, BASE["g"]), 1))


VECTORS = {
    "array": C,
    "tensor": torch.tensor(C),
    "series": pd.Series(C),
    "list": list(C),
    "objects": np.array(list(C), dtype=object),
    "number": 1 + 1j,
}


@pytest.mark.parametrize("kind", VECTORS)
def test_complex_vectors_beside(kind):
    vector = VECTORS[kind]
    fitted = bh.Poisson(BASE["count"], X).fit()
    for ask in (
        lambda: bh.WLS(BASE["y"], X, vector),
        lambda: bh.wls("y ~ x", DATA, weights=vector),
        lambda: bh.Poisson(BASE["count"], X, offset=vector),
        lambda: bh.Poisson(BASE["count"], X, exposure=vector),
        lambda: bh.Logit(BASE["yes"], X, freq_weights=vector),
        lambda: fitted.predict(X, offset=vector),
        lambda: fitted.predict(X, exposure=vector),
        lambda: fitted.get_prediction(X, offset=vector),
        lambda: RES.get_prediction(X, weights=vector),
    ):
        with pytest.raises(bh.BetahatError):
            ask()


def test_restrictions_starts_and_parameters():
    for matrix in (
        np.array([[1j, 0]]),
        torch.tensor([[1j, 0]]),
        (np.eye(2), np.array([1j, 0])),
        np.array([[1, 0]], dtype="m8[ns]"),
    ):
        with pytest.raises(bh.BetahatError):
            RES.f_test(matrix)
    with pytest.raises(bh.DataError, match="complex"):
        bh.Logit(BASE["yes"], X).fit(start_params=np.array([1j, 0]))
    with pytest.raises(bh.BetahatError):
        RES.delta(lambda p: p[0] * 1j)
    for start in (1j, np.array(1j), torch.tensor(1j), [1j]):
        with pytest.raises(bh.DataError, match=r"params\['b'\]"):
            bh.MEstimator(lambda p, d: (d["y"] - p["b"]) ** 2, {"b": start}, {"y": BASE["y"]})
