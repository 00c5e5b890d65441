"""A covariance carries its inference: its degrees of freedom, its dtype; and nothing that is handed out is the state."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import betahat as bh

# The same double in, the same function of scipy: nothing but the last bits may differ.
SAME = {"rtol": 1e-13, "atol": 0}


@pytest.fixture
def res():
    rng = np.random.default_rng(9)
    x = bh.add_constant(pd.DataFrame(rng.normal(size=(40, 2)), columns=["x", "z"]))
    return bh.OLS(pd.Series(1 + x.x + rng.normal(size=40), name="y"), x).fit()


def _with_df(df):
    return lambda fit: bh.Covariance(fit.bread.to(torch.float64), "own", "A note", df)


def test_one_number(res):
    own = res.with_cov(_with_df(7.0))
    tail = 2 * stats.t.sf(abs(own.tvalues["x"]), 7)
    for found in (own.pvalues["x"], own.t_test("x").pvalue, own.t_test("x", use_t=True).pvalue, own.f_test("x").pvalue):
        np.testing.assert_allclose(found, tail, **SAME)
    np.testing.assert_allclose(own.delta(lambda p: p["x"]).pvalue, tail, **SAME)


def test_one_for_each_coefficient(res):
    df = torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)
    own = res.with_cov(_with_df(df))
    tails = 2 * stats.t.sf(abs(own.tvalues), df.numpy())
    np.testing.assert_allclose(own.pvalues, tails, **SAME)
    np.testing.assert_allclose(own.t_test(np.eye(3)).pvalue, tails, **SAME)
    np.testing.assert_allclose(own.t_test("x").pvalue, tails[1], **SAME)
    np.testing.assert_allclose(own.t_test(np.eye(3)).conf_int(), own.conf_int(), **SAME)
    with pytest.raises(bh.EstimationError, match="single coefficients"):
        own.t_test("x = z")
    assert "own" in str(own.summary())


def test_float32_matrix(res):
    own = res.with_cov(lambda fit: bh.Covariance(fit.bread.to(torch.float32), "own", "A note"))
    assert own.cov.matrix.dtype == torch.float64
    assert np.isfinite(own.f_test("x = z").statistic)


def test_delta_under_drop_goes_by_the_users_positions(res):
    frame = res.model.exog.assign(twice=2 * res.model.exog.x)[["const", "x", "twice", "z"]]
    with pytest.warns(bh.CollinearityWarning):
        dropped = bh.OLS(res.model.endog, frame).fit(rank="drop")
    np.testing.assert_allclose(dropped.delta(lambda p: p[3]).estimate, dropped.params["z"], **SAME)
    np.testing.assert_allclose(dropped.delta(lambda p: p["z"]).bse, dropped.bse["z"], **SAME)
    for key in (2, "twice"):
        with pytest.raises(bh.EstimationError, match="'twice' was omitted"):
            dropped.delta(lambda p, key=key: p[key])
    assert "()" not in str(bh.compare(dropped, ["HC1"]))


def test_what_is_handed_out_is_a_copy(res):
    influence, prediction, test = res.get_influence(), res.get_prediction(), res.t_test("x = z")
    before = influence.summary_frame(), prediction.conf_int(), float(test.pvalue), res.cov_params()
    for found in (influence.hat_matrix_diag, prediction.predicted_mean, test.effect, res.params):
        found[:] = 0
    covariance = res.cov_params()
    covariance.iloc[:] = 0
    pd.testing.assert_frame_equal(influence.summary_frame(), before[0])
    np.testing.assert_array_equal(prediction.conf_int(), before[1])
    assert float(test.pvalue) == before[2]
    pd.testing.assert_frame_equal(res.cov_params(), before[3])
    assert (res.params != 0).all()


def test_a_statistic_that_rounding_made_negative_has_the_pvalue_one():
    from betahat.inference.distribution import chi2_tail, f_tail

    assert f_tail(-1e-17, 1, 37) == 1.0
    assert chi2_tail(-1e-17, 1) == 1.0
    assert np.isnan(f_tail(float("nan"), 1, 37))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda res: res.with_cov("HC1", use_t="z"), "use_t"),
        (lambda res: res.with_cov("fixed scale", ["scale"]), "dict"),
        (lambda res: bh.OLS([1.0, 2, 4, 3], np.ones((4, 1)), hasconst="no"), "hasconst"),
        (lambda res: res.t_test(""), "cannot be read"),
    ],
)
def test_options_of_the_wrong_kind(res, call, says):
    with pytest.raises(bh.BetahatError, match=says):
        call(res)
