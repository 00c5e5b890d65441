"""Influence of rows, outliers and leverage against live statsmodels."""

from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from statsmodels.stats.outliers_influence import OLSInfluence
from support.least_squares import array_pair, fit_both

import betahat as bh

# Leaving a row out of 80 loses a digit or two to cancellation in statsmodels' refits and in 1 / (1 - h).
LEAVE_ONE_OUT = 1e-8


@pytest.fixture(scope="module")
def pair(people):
    """Fit betahat and statsmodels to the same formula, once."""
    return cache(partial(fit_both, people))


VECTORS = (
    *("hat_matrix_diag", "resid_press", "resid_studentized", "resid_studentized_internal"),
    *("resid_studentized_external", "sigma2_not_obsi", "cov_ratio", "resid_var", "resid_std"),
)
MATRICES = ("dfbeta", "dfbetas", "params_not_obsi")
PAIRS = ("cooks_distance", "dffits", "dffits_internal")


@pytest.fixture(scope="module")
def influences(pair):
    mine, theirs = pair()
    return mine.get_influence(), theirs.get_influence()


@pytest.mark.parametrize("name", [*VECTORS, *MATRICES])
def test_influence(name, influences, close):
    got, wanted = (getattr(influence, name) for influence in influences)
    close(got, wanted, np.max(np.abs(np.asarray(wanted)), axis=0), tolerance=LEAVE_ONE_OUT)


@pytest.mark.parametrize("name", PAIRS)
def test_influence_pairs(name, influences, close):
    got, wanted = (getattr(influence, name) for influence in influences)
    assert len(got) == len(wanted) == 2
    close(got[0], wanted[0], np.max(np.abs(wanted[0])), tolerance=LEAVE_ONE_OUT)
    close(got[1], wanted[1], tolerance=LEAVE_ONE_OUT)


def test_influence_as_a_whole(influences, close):
    mine, theirs = influences
    close(mine.ess_press, theirs.ess_press, tolerance=LEAVE_ONE_OUT)
    got, wanted = mine.summary_frame(), theirs.summary_frame()
    assert list(got.columns) == list(wanted.columns)
    pd.testing.assert_index_equal(got.index, wanted.index)
    close(got, wanted, np.abs(wanted.to_numpy()).max(0), tolerance=LEAVE_ONE_OUT)


@pytest.mark.parametrize("name", ["influence", "hat_diag_factor", "det_cov_params_not_obsi"])
def test_lesser_attributes_of_influence(name, influences, close):
    got, wanted = (getattr(influence, name) for influence in influences)
    close(got, wanted, np.max(np.abs(wanted)), tolerance=LEAVE_ONE_OUT)


@pytest.mark.parametrize("name", [*VECTORS, *MATRICES])
def test_weighted_influence_is_that_of_the_whitened_rows(name, people, close):
    """Intended difference: for WLS statsmodels mixes plain residuals with whitened leverage; R whitens both."""
    w = people["w"].to_numpy()
    mine, theirs = array_pair(people, weights=w)
    whitened = sm.OLS(theirs.model.wendog, theirs.model.wexog).fit()
    got, wanted = getattr(mine.get_influence(), name), getattr(OLSInfluence(whitened), name)
    close(got, wanted, np.max(np.abs(np.asarray(wanted)), axis=0), tolerance=LEAVE_ONE_OUT)


def test_influence_in_arrays_and_tensors(people):
    mine, _ = array_pair(people)
    tensors = bh.OLS(torch.tensor(mine.model.endog), torch.tensor(mine.model.exog)).fit().get_influence()
    for name in VECTORS:
        assert type(getattr(mine.get_influence(), name)) is np.ndarray, name
        assert isinstance(getattr(tensors, name), torch.Tensor), name


@pytest.mark.parametrize("method", ["bonf", "sidak", "holm", "fdr_bh"])
def test_outlier_test(method, people, close):
    people = people.assign(y=people["y"].where(people.index != "p7", 9.0))
    mine, theirs = fit_both(people)
    for got, wanted in (
        (mine.outlier_test(method), theirs.outlier_test(method)),
        (mine.outlier_test(method=method, alpha=0.2), theirs.outlier_test(method=method, alpha=0.2)),
    ):
        assert list(got.columns) == list(wanted.columns)
        pd.testing.assert_index_equal(got.index, wanted.index, check_names=False)
        close(got, wanted, np.abs(wanted.to_numpy()).max(0), tolerance=LEAVE_ONE_OUT)
