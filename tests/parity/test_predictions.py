"""Predictions of least squares, their errors and intervals, against live statsmodels."""

from functools import cache, partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from support.least_squares import COVARIANCES, FITS, FORMULA, array_pair, fit_both

import betahat as bh


@pytest.fixture(scope="module")
def pair(people):
    """Fit betahat and statsmodels to the same formula, once."""
    return cache(partial(fit_both, people))


def _compare_prediction(got, wanted, close):
    size = np.max(np.abs(wanted.predicted_mean))
    close(got.predicted_mean, wanted.predicted_mean, size, label="predicted_mean")
    close(got.predicted, wanted.predicted, size, label="predicted")
    for name in ("var_pred_mean", "se_mean", "se", "se_obs"):
        close(getattr(got, name), getattr(wanted, name), label=name)
    close(np.broadcast_to(got.var_resid, np.shape(wanted.var_resid)), wanted.var_resid, label="var_resid")
    for alpha in (0.05, 0.2):
        for obs in (False, True):
            reach = np.abs(wanted.conf_int(obs=obs, alpha=alpha)).max()
            close(got.conf_int(obs=obs, alpha=alpha), wanted.conf_int(obs=obs, alpha=alpha), reach)
        mine, theirs = got.summary_frame(alpha=alpha), wanted.summary_frame(alpha=alpha)
        assert list(mine.columns) == list(theirs.columns)
        pd.testing.assert_index_equal(mine.index, theirs.index)
        close(mine, theirs, np.abs(theirs.to_numpy()).max())


NEW = pd.DataFrame(
    {"x1": [0.0, 1.5, -2.0], "x2": [2.0, 0.0, 7.5], "pos": [1.0, 4.0, 0.6], "g": ["west", "north", "west"]},
    index=["a", "b", "c"],
)
FORMULAS = [
    FORMULA,
    "np.log(wage) ~ np.log(pos) + I(x1**2) + C(g)*x2",
    "y ~ 0 + C(g) + x1:x2",
    "y ~ C(g, Sum) + pos",
    "y ~ center(x1) + x2",
    "y ~ bs(pos, df=4, lower_bound=0, upper_bound=20)",
]


@pytest.mark.slow
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
def test_prediction_through_a_formula(cov_type, use_t, formula, pair, close):
    mine, theirs = pair(cov_type, use_t, formula)
    _compare_prediction(mine.get_prediction(), theirs.get_prediction(), close)
    _compare_prediction(mine.get_prediction(NEW), theirs.get_prediction(NEW), close)
    _compare_prediction(mine.get_prediction(NEW[1:2]), theirs.get_prediction(NEW[1:2]), close)
    wanted = theirs.predict(NEW)
    close(mine.predict(NEW), wanted)
    assert type(mine.predict(NEW)) is type(wanted)
    pd.testing.assert_index_equal(mine.predict(NEW).index, wanted.index)
    for other in (NEW.to_dict("list"), pl.from_pandas(NEW), NEW[::-1].iloc[::-1, ::-1]):
        close(mine.predict(other), wanted)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3", "fixed scale"])
def test_prediction_with_options(cov_type, pair, close):
    mine, theirs = pair(cov_type)
    matrix = theirs.model.exog[:3]
    for options in (
        {"row_labels": ["u", "v", "w"]},
        {"weights": [1.0, 2.0, 0.5]},
        {"weights": np.array([1.0, 2.0, 0.5])},
        {"weights": 2.0},
    ):
        _compare_prediction(mine.get_prediction(NEW, **options), theirs.get_prediction(NEW, **options), close)
        got = mine.get_prediction(matrix, transform=False, **options)
        _compare_prediction(got, theirs.get_prediction(matrix, transform=False, **options), close)
    close(mine.predict(matrix, transform=False), theirs.predict(matrix, transform=False))


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3", "fixed scale"])
@pytest.mark.parametrize("weighted", [False, True])
def test_prediction_with_arrays(weighted, cov_type, people, close):
    mine, theirs = array_pair(people, cov_type, people["w"].to_numpy() if weighted else None)
    new = np.array([[1.0, 0, 0, 0], [1, 2, 3, 4], [1, -1, 0.5, 2]])
    _compare_prediction(mine.get_prediction(), theirs.get_prediction(), close)
    for exog in (new, new[:1], new[1], new.tolist()):
        _compare_prediction(mine.get_prediction(exog), theirs.get_prediction(exog), close)
        close(mine.predict(exog), theirs.predict(exog))
        assert type(mine.predict(exog)) is type(theirs.predict(exog))
    frame = pd.DataFrame(new, index=list("abc"), columns=list("wxyz"))
    _compare_prediction(mine.get_prediction(frame), theirs.get_prediction(frame), close)
    close(mine.predict(frame), theirs.predict(frame))
    weights = np.array([2.0, 3.0, 0.1])
    _compare_prediction(mine.get_prediction(new, weights=weights), theirs.get_prediction(new, weights=weights), close)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1", "fixed scale"])
def test_prediction_with_weights(cov_type, people, close):
    options = {"cov_type": cov_type, "cov_kwds": dict(COVARIANCES[cov_type])}
    mine = bh.wls(FORMULA, people, "w").fit(**options)
    theirs = smf.wls(FORMULA, people, weights=people["w"]).fit(**options)
    _compare_prediction(mine.get_prediction(), theirs.get_prediction(), close)
    _compare_prediction(mine.get_prediction(NEW), theirs.get_prediction(NEW), close)


def test_prediction_of_a_single_regressor(people, close):
    x, y = people["x1"].to_numpy(), people["y"].to_numpy()
    mine, theirs = bh.OLS(y, x).fit(), sm.OLS(y, x).fit()
    for exog in ([1.0, 2.0, 3.0], np.array([[1.0], [2.0]]), [5.0]):
        close(mine.predict(exog), theirs.predict(exog))
        _compare_prediction(mine.get_prediction(exog), theirs.get_prediction(exog), close)


def test_prediction_of_missing_values(pair, close):
    holes = NEW.copy()
    holes.loc["b", "x1"] = np.nan
    mine, theirs = pair()
    wanted = theirs.predict(holes)
    close(mine.predict(holes), wanted)
    pd.testing.assert_index_equal(mine.predict(holes).index, wanted.index)


def test_prediction_in_tensors(people, close):
    bare, theirs = array_pair(people)
    mine = bh.OLS(torch.tensor(bare.model.endog), torch.tensor(bare.model.exog)).fit()
    new = torch.tensor([[1.0, 0, 0, 0], [1, 2, 3, 4]], dtype=torch.float64)
    got, wanted = mine.get_prediction(new), theirs.get_prediction(new.numpy())
    for name in ("predicted_mean", "var_pred_mean", "se_mean", "se_obs"):
        assert isinstance(getattr(got, name), torch.Tensor), name
        close(getattr(got, name), getattr(wanted, name))
    assert isinstance(mine.predict(new), torch.Tensor)
    assert isinstance(got.conf_int(), torch.Tensor)


@pytest.mark.parametrize("weighted", [False, True])
def test_shape_of_the_residual_variance(weighted, people):
    mine, theirs = array_pair(people, weights=people["w"].to_numpy() if weighted else None)
    new = np.ones((3, 4))
    for args in ((), (new,)):
        assert np.shape(mine.get_prediction(*args).var_resid) == np.shape(theirs.get_prediction(*args).var_resid)
