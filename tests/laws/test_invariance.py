"""What must not change, or must change in a known way, when the data are written differently."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close_to_largest

import betahat as bh

# Well-conditioned data: the same numbers by another order of operations.
ROUNDING = 1e-11
BLOCKS = 1e-12
# Two solvers on one problem, one of them in columns of condition 1e3.
ROUTES = 1e-10

NUMBERS = ("params", "bse", "tvalues", "pvalues")
COVARIANCES = ("nonrobust", "HC0", "HC1", "HC2", "HC3")
kinds = pytest.mark.parametrize("kind", ["OLS", "WLS"])
covariances = pytest.mark.parametrize("covariance", COVARIANCES)


def _scalars(res):
    return torch.tensor([res.scale, res.rsquared, res.rsquared_adj, res.fvalue, res.llf, res.ssr, res.centered_tss])


@kinds
def test_scores_sum_to_zero(sample, kind):
    res = sample().model(kind).fit()
    scores = res.fit.map_rows(lambda rows: rows.scores())
    assert (scores.sum(0).abs() <= ROUNDING * scores.abs().sum(0)).all()


@kinds
@covariances
def test_row_order(sample, kind, covariance):
    data = sample()
    order = torch.as_tensor(np.random.default_rng(1).permutation(60), device=data.x.device)
    shuffled = type(data)(data.x[order], data.y[order], data.weights[order])
    res, again = (part.model(kind).fit(covariance) for part in (data, shuffled))
    for number in NUMBERS:
        close_to_largest(getattr(again, number), getattr(res, number), ROUNDING)
    close_to_largest(_scalars(again), _scalars(res), ROUNDING)
    close_to_largest(again.resid, res.resid[order], ROUNDING)


@kinds
@covariances
def test_column_scale(sample, kind, covariance):
    """Coefficients scale inversely, t values and the fit not at all; over twelve orders of magnitude."""
    data = sample()
    factor = torch.tensor([1.0, 1e6, 3.0, 1e-6], dtype=torch.float64, device=data.x.device)
    res, again = (type(data)(x, data.y, data.weights).model(kind).fit(covariance) for x in (data.x, data.x * factor))
    close_to_largest(again.params * factor, res.params, ROUNDING)
    close_to_largest(again.bse * factor, res.bse, ROUNDING)
    close_to_largest(again.tvalues, res.tvalues, ROUNDING)
    close_to_largest(_scalars(again), _scalars(res), ROUNDING)


@pytest.mark.parametrize("n", [60, 70_000])
@pytest.mark.parametrize("factor", [1e160, 1e-160])
def test_column_whose_square_is_no_double(sample, factor, n):
    """Right, or an error: what overflows is not to spoil the other columns in silence."""
    data = sample(n=n)
    scaled = data.x.clone()
    scaled[:, 2] *= factor
    try:
        found = bh.OLS(data.y, scaled).fit().tvalues
    except bh.BetahatError:
        return
    close_to_largest(found, data.ols().fit().tvalues, ROUNDING)


@kinds
def test_response_scale(sample, kind):
    data = sample()
    res, again = (type(data)(data.x, y, data.weights).model(kind).fit("HC3") for y in (data.y, 1e5 * data.y))
    close_to_largest(again.params, 1e5 * res.params, ROUNDING)
    close_to_largest(again.bse, 1e5 * res.bse, ROUNDING)
    assert again.rsquared == pytest.approx(res.rsquared, rel=ROUNDING)


@kinds
@covariances
def test_a_constant_added_to_the_response(sample, kind, covariance):
    data = sample()
    res, again = (type(data)(data.x, y, data.weights).model(kind).fit(covariance) for y in (data.y, data.y + 100.0))
    assert float(again.params[0] - res.params[0]) == pytest.approx(100.0, rel=ROUNDING)
    close_to_largest(again.params[1:], res.params[1:], ROUNDING)
    close_to_largest(again.bse, res.bse, ROUNDING)
    assert again.rsquared == pytest.approx(res.rsquared, rel=ROUNDING)
    assert again.fvalue == pytest.approx(res.fvalue, rel=ROUNDING)


def test_duplicated_rows_are_weights_of_two(sample):
    data = sample()
    twice = torch.cat([torch.arange(60), torch.arange(0, 60, 3)]).to(data.x.device)
    weights = torch.ones_like(data.y)
    weights[::3] = 2.0
    close_to_largest(
        bh.WLS(data.y, data.x, weights=weights).fit().params,
        bh.OLS(data.y[twice], data.x[twice]).fit().params,
        ROUNDING,
    )


@covariances
def test_weights_are_a_whitening(sample, covariance):
    data = sample()
    root = data.weights.sqrt()
    weighted = data.wls().fit(covariance)
    white = bh.OLS(data.y * root, data.x * root[:, None]).fit(covariance)
    for number in NUMBERS:
        close_to_largest(getattr(weighted, number), getattr(white, number), ROUNDING)
    assert weighted.scale == pytest.approx(white.scale, rel=ROUNDING)
    close_to_largest(weighted.wresid, white.resid, ROUNDING)
    close_to_largest(weighted.resid * root, white.resid, ROUNDING)


@covariances
def test_weights_of_one(sample, covariance):
    data = sample()
    weighted, plain = bh.WLS(data.y, data.x, weights=1.0).fit(covariance), data.ols().fit(covariance)
    for number in NUMBERS:
        close_to_largest(getattr(weighted, number), getattr(plain, number), ROUNDING)
    close_to_largest(_scalars(weighted), _scalars(plain), ROUNDING)


def test_scale_of_the_weights(sample):
    """Weights are relative: a common factor changes s^2 and nothing of the coefficients' inference."""
    data = sample()
    res, again = data.wls().fit(), bh.WLS(data.y, data.x, weights=7.0 * data.weights).fit()
    for number in NUMBERS:
        close_to_largest(getattr(again, number), getattr(res, number), ROUNDING)
    assert again.scale == pytest.approx(7.0 * res.scale, rel=ROUNDING)
    assert again.llf == pytest.approx(res.llf, rel=ROUNDING)


@kinds
def test_frisch_waugh_lovell(sample, kind):
    """The last coefficient is that of the residuals on the residuals; HC0 is the same, s^2 but for its df."""
    data = sample()
    others, last = data.x[:, :-1], data.x[:, -1]
    partial = [type(data)(others, target, data.weights).model(kind).fit().resid for target in (data.y, last)]
    short = type(data)(partial[1][:, None], partial[0], data.weights).model(kind)
    full = data.model(kind).fit()
    close_to_largest(short.fit().params, full.params[-1:], ROUNDING)
    close_to_largest(short.fit().resid, full.resid, ROUNDING)
    close_to_largest(short.fit("HC0").bse, full.with_cov("HC0").bse[-1:], ROUNDING)
    close_to_largest(short.fit().bse * (59 / 56) ** 0.5, full.bse[-1:], ROUNDING)


@pytest.mark.parametrize("route", ["gram", "tsqr"])
@kinds
@covariances
def test_block_size(sample, kind, covariance, route, cut):
    """From one block of 5,000 rows to five, by either route."""
    data = sample(n=5000)
    res = data.model(kind).fit(covariance)
    assert res.fit.route == "tsqr"
    for budget in (1, 2**13, 2**14, 2**20):
        cut(budget, route)
        again = data.model(kind).fit(covariance)
        assert again.fit.route == route
        for number in NUMBERS:
            close_to_largest(getattr(again, number), getattr(res, number), BLOCKS)
        close_to_largest(_scalars(again), _scalars(res), BLOCKS)
        close_to_largest(again.resid, res.resid, BLOCKS)
        close_to_largest(again.get_influence().hat_matrix_diag, res.get_influence().hat_matrix_diag, BLOCKS)
        close_to_largest(again.predict(data.x[:2000]), res.predict(data.x[:2000]), BLOCKS)


@kinds
@covariances
def test_every_run_is_the_same_bit_for_bit(sample, kind, covariance):
    for n in (500, 70_000):
        data = sample(n=n)
        first, second = (data.model(kind).fit(covariance) for _ in range(2))
        for number in NUMBERS:
            assert torch.equal(getattr(first, number), getattr(second, number))
        assert torch.equal(first.cov.matrix, second.cov.matrix)
        assert torch.equal(_scalars(first), _scalars(second))


@kinds
@covariances
def test_gram_and_tsqr_agree(sample, kind, covariance):
    """X and X T are one model: T b', T V' T' and the fit agree. T is bad enough for the other solver."""
    data = sample(n=70_000)
    mix = torch.eye(4, dtype=torch.float64, device=data.x.device)
    mix[2, 3], mix[3, 3] = 1.0, 1e-3
    gram = data.model(kind).fit(covariance)
    tsqr = type(data)(data.x @ mix, data.y, data.weights).model(kind).fit(covariance)
    assert gram.fit.route == "gram"
    assert tsqr.fit.route == "tsqr"
    close_to_largest(mix @ tsqr.params, gram.params, ROUTES)
    close_to_largest(mix @ tsqr.cov.matrix @ mix.mT, gram.cov.matrix, ROUTES)
    close_to_largest(_scalars(tsqr), _scalars(gram), ROUTES)
    close_to_largest(tsqr.resid, gram.resid, ROUTES)


@kinds
@covariances
def test_float32_storage(sample, kind, covariance):
    """Data that float32 holds exactly give the same results from either storage: sums are in float64."""
    for n in (200, 70_000):
        wide = sample(n=n)
        small = type(wide)(wide.x.float(), wide.y.float(), wide.weights.float())
        wide = type(wide)(small.x.double(), small.y.double(), small.weights.double())
        narrow, exact = small.model(kind).fit(covariance), wide.model(kind).fit(covariance)
        assert small.model(kind).design.exog.dtype == torch.float32
        for number in NUMBERS:
            assert getattr(narrow, number).dtype == torch.float64
            assert torch.equal(getattr(narrow, number), getattr(exact, number))
        assert torch.equal(_scalars(narrow), _scalars(exact))


def test_dtype_option_rounds_the_data_once(sample):
    data = sample()
    narrow = bh.OLS(data.y, data.x, dtype=torch.float32).fit()
    exact = bh.OLS(data.y.float().double(), data.x.float().double()).fit()
    assert torch.equal(narrow.params, exact.params)


def test_containers_give_the_same_bits(sample):
    data = sample()
    x, y = data.x.cpu().numpy(), data.y.cpu().numpy()
    results = [
        bh.OLS(data.y.cpu(), data.x.cpu()).fit("HC3"),
        bh.OLS(y, x).fit("HC3"),
        bh.OLS(y.tolist(), x.tolist()).fit("HC3"),
        bh.OLS(pd.Series(y), pd.DataFrame(x)).fit("HC3"),
        bh.OLS(y, np.asfortranarray(x)).fit("HC3"),
    ]
    for number in NUMBERS:
        assert all(np.array_equal(np.asarray(getattr(res, number)), getattr(results[0], number)) for res in results)
