"""Ordered categories: derivatives in two points a row against autodiff and the general calculus, tails against 40 digits, margins, weights, refits."""

import io

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.calculus.indices import IndicesRows
from betahat.calculus.ordered import OrderedRows
from betahat.calculus.rows import Bread, Point
from betahat.models.ordered import DISTRIBUTIONS
from betahat.objectives.equation import Equation
from betahat.objectives.latent import END, LatentCauchy, LatentLargest, LatentLogistic, LatentNormal, LatentSmallest
from betahat.objectives.ordered import Ordered

# Sums of two thousand terms in another order.
CLOSE = 1e-11
# Each formula loses at most a few units in the last place; of a narrow interval of the normal distribution the width in digits.
TAILS = 1e-12

CDFS = {
    LatentLogistic: lambda z: 1 / (1 + mpmath.exp(-z)),
    LatentNormal: mpmath.ncdf,
    LatentSmallest: lambda z: -mpmath.expm1(-mpmath.exp(z)),
    LatentLargest: lambda z: mpmath.exp(-mpmath.exp(-z)),
    LatentCauchy: lambda z: mpmath.mpf(1) / 2 + mpmath.atan(z) / mpmath.pi,
}
INTERVALS = [(None, -25.0), (None, 0.3), (-30.0, None), (4.0, None), (-1.0, 1.0), (-8.0, -7.5), (4.0, 9.0), (-3.0, 5.5)]


@pytest.mark.parametrize("latent", CDFS)
@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
@mpmath.workdps(400)
def test_tails(latent, lower, upper):
    """Log P and its derivatives against differences of 400 digits."""
    step = mpmath.mpf(10) ** -60

    def true(i, j):
        below = 0 if lower is None else CDFS[latent](lower + i * step)
        return mpmath.log((1 if upper is None else CDFS[latent](upper + j * step)) - below)

    here = true(0, 0)
    wanted = [
        (true(1, 0) - true(-1, 0)) / (2 * step),
        (true(0, 1) - true(0, -1)) / (2 * step),
        (true(1, 0) - 2 * here + true(-1, 0)) / step**2,
        (true(1, 1) - true(1, -1) - true(-1, 1) + true(-1, -1)) / (4 * step**2),
        (true(0, 1) - 2 * here + true(0, -1)) / step**2,
    ]
    ends = torch.tensor([-END if lower is None else lower, END if upper is None else upper], dtype=torch.float64)
    found = latent().interval(*ends)
    parts = (found.lower, found.upper, found.lower_lower, found.lower_upper, found.upper_upper)
    for value, number in zip(parts, wanted, strict=True):
        assert float(abs(mpmath.mpf(float(value)) - number)) <= TAILS * float(abs(number)) + 1e-60
    assert float(latent().log_probability(*ends)) == pytest.approx(float(here), rel=TAILS, abs=1e-13)


def _rows(latent, bread=Bread.OBSERVED, nobs=500, classes=4):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x, offset, root = draw(nobs, 3), draw(nobs), draw(6, 6)
    y = torch.randint(0, classes, (nobs,), generator=generator).double()
    weights, counts = draw(nobs).exp(), torch.randint(1, 4, (nobs,), generator=generator).double()
    params = torch.tensor([0.3, -0.2, 0.1, -1.0, 0.1, -0.2], dtype=torch.float64)
    loss = Ordered(latent, equations=(Equation(""), *(Equation(str(i), ()) for i in range(classes - 1))))
    given = (loss, 0, Point(params, root, bread), x, y, weights, offset, counts)
    return OrderedRows(*given), IndicesRows(*given)


@pytest.mark.parametrize("distr", DISTRIBUTIONS)
def test_two_points_a_row_are_the_general_calculus_of_all_indices(distr):
    fast, general = _rows(DISTRIBUTIONS[distr])
    check = lambda one, other: torch.testing.assert_close(one, other, rtol=CLOSE, atol=CLOSE)  # noqa: E731
    check(fast.losses, general.losses)
    check(fast.scores(), general.scores())
    check(fast.gradient(), general.gradient())
    check(fast.influence(fast.counts), general.influence(fast.counts))
    for bread in Bread.OBSERVED, Bread.EXPECTED, Bread.OPG:
        check(fast.information(bread), general.information(bread))
    steps = 0.01 * torch.eye(6, dtype=torch.float64)[:3]
    weights, targets = torch.rand(3, 500, dtype=torch.float64), torch.randint(0, 4, (3, 500)).double()
    check(fast.resampled_scores(steps, weights, None), general.resampled_scores(steps, weights, None))
    check(fast.resampled_scores(steps, None, targets), general.resampled_scores(steps, None, targets))


@pytest.mark.parametrize("distr", DISTRIBUTIONS)
def test_shares_of_rows_add_up(distr):
    """To the information, but for the curvature of the cut points in the parameters, which the gradient, zero at the optimum, multiplies."""
    upper = torch.triu_indices(6, 6)
    rows, _ = _rows(DISTRIBUTIONS[distr])
    plain = rows.information(Bread.OBSERVED)
    gradient = rows.gradient()
    plain = plain - torch.diag(torch.cat([torch.zeros(4), gradient[4:]]))
    shares = (rows.shares(upper) * rows.counts[:, None]).sum(0)
    wanted = rows.at.root.mT @ plain @ rows.at.root
    torch.testing.assert_close(shares, wanted[upper[0], upper[1]], rtol=CLOSE, atol=1e-9)
    if distr == "cauchit":
        with pytest.raises(bh.EstimationError, match="a row's is negative"):
            _ = rows.hat_rows
    else:
        hats = rows.hat_rows
        torch.testing.assert_close((hats[:, :, upper[0]] * hats[:, :, upper[1]]).sum(1), rows.shares(upper))
    expected, _ = _rows(DISTRIBUTIONS[distr], Bread.EXPECTED)
    shares = (expected.shares(upper) * expected.counts[:, None]).sum(0)
    wanted = expected.at.root.mT @ expected.information(Bread.EXPECTED) @ expected.at.root
    torch.testing.assert_close(shares, wanted[upper[0], upper[1]], rtol=CLOSE, atol=1e-9)
    with pytest.raises(bh.EstimationError, match="the bread is 'opg'"):
        _ = _rows(DISTRIBUTIONS[distr], Bread.OPG)[0].hat_rows


def _data(nobs=300):
    random = np.random.default_rng(5)
    x = random.normal(size=(nobs, 2))
    latent = x @ [0.8, -0.5] + random.logistic(size=nobs)
    return np.digitize(latent, [-1.0, 0.5, 2.0]), x


Y, X = _data()


@pytest.mark.parametrize("distr", DISTRIBUTIONS)
def test_margins_are_differences_of_probabilities(distr):
    res = bh.OrderedModel(Y, X, distr=distr).fit("HC0")
    found = res.get_margeff()

    def effects(params, step=1e-5):
        ends = [res.model.predict(params, X + sign * step * np.eye(2)[j]) for j in range(2) for sign in (1.0, -1.0)]
        return np.array([(ends[0] - ends[1]).mean(0), (ends[2] - ends[3]).mean(0)]) / (2 * step)

    np.testing.assert_allclose(found.margeff, effects(res.params), atol=1e-9)
    np.testing.assert_allclose(found.margeff.sum(1), 0.0, atol=1e-12)
    moved = [(effects(res.params + h) - effects(res.params - h)) / 2e-4 for h in 1e-4 * np.eye(5)]
    jacobian = np.stack([part.T.ravel() for part in moved], 1)
    errors = np.sqrt(np.diag(jacobian @ res.cov_params() @ jacobian.T)).reshape(4, 2).T
    np.testing.assert_allclose(found.margeff_se, errors, rtol=1e-5)


def test_frequency_weights_are_repeated_rows_and_weights_scale():
    often = np.random.default_rng(1).integers(0, 4, len(Y))
    counted, repeated = (
        bh.OrderedModel(Y, X, freq_weights=often).fit(),
        bh.OrderedModel(Y.repeat(often), X.repeat(often, 0)).fit(),
    )
    for cov in ("nonrobust", "HC1", "OPG"):
        np.testing.assert_allclose(counted.with_cov(cov).cov_params(), repeated.with_cov(cov).cov_params(), rtol=1e-9)
    assert counted.llf == pytest.approx(repeated.llf, rel=1e-12)
    assert counted.llnull == pytest.approx(repeated.llnull, rel=1e-12)
    pd.testing.assert_frame_equal(counted.pred_table(), repeated.pred_table())
    twice = bh.OrderedModel(Y, X, weights=np.full(len(Y), 2.0)).fit()
    np.testing.assert_allclose(twice.params, bh.OrderedModel(Y, X).fit().params, rtol=1e-9)


def test_resampling():
    res = bh.OrderedModel(Y, X, distr="probit").fit()
    refits = [
        bh.OrderedModel(np.delete(Y, i), np.delete(X, i, 0), distr="probit").fit().params for i in range(0, 300, 60)
    ]
    groups = np.where(np.arange(300) % 60 == 0, np.arange(300) // 60, 5)
    jackknife = res.with_cov(bh.Jackknife())
    shares = np.stack(refits) - res.params
    assert np.abs(shares).max() < 5.0 * jackknife.bse.max()
    drawn = res.with_cov(bh.Bootstrap(199, "parametric", seed=1))
    np.testing.assert_allclose(drawn.bse, res.bse, rtol=0.25)
    np.testing.assert_allclose(res.with_cov(bh.Bootstrap(199, seed=1)).bse, res.bse, rtol=0.25)
    np.testing.assert_allclose(jackknife.bse, res.bse, rtol=0.2)
    cuts = drawn.thresholds
    np.testing.assert_allclose(cuts.bse, res.thresholds.bse, rtol=0.25)
    with pytest.warns(bh.ClusterWarning):
        assert np.isfinite(res.with_cov(bh.Cluster(groups, "CR2")).bse).all()


def test_cut_points():
    frame = pd.DataFrame({"y": Y, "x1": X[:, 0], "x2": X[:, 1]})
    res = bh.ordered("y ~ x1 + x2", frame).fit("HC0")
    cuts = res.thresholds
    by_hand = res.delta(lambda p: torch.cat([p["0/1"][None], p["0/1"] + torch.exp(p.vector[3:]).cumsum(0)]))
    np.testing.assert_allclose(cuts.params, by_hand.estimate)
    np.testing.assert_allclose(cuts.bse, by_hand.bse)
    np.testing.assert_allclose(cuts.cov_params(), by_hand.cov())
    np.testing.assert_allclose(cuts.conf_int(0.1), by_hand.conf_int(0.1))
    assert list(cuts.params.index) == ["0/1", "1/2", "2/3"]
    assert repr(cuts).splitlines()[1].startswith("0/1")
    again = bh.load(_file(res))
    pd.testing.assert_series_equal(again.thresholds.params, cuts.params)
    pd.testing.assert_frame_equal(again.predict(frame.iloc[:3]), res.predict(frame.iloc[:3]))
    bare = res.remove_data()
    assert str(bare.summary()) == str(res.summary())
    assert bare.predict(frame.iloc[:3]).shape == (3, 4)
    table = bh.regtable([res, bh.ols("y ~ x1", frame).fit()], below=["se", "ci"], groups={"First": "x1"})
    lines = [line.strip() for line in table.to_text().splitlines()]
    assert lines[lines.index("Cut points") + 1].startswith("0/1")
    numbers = table.to_frame()["(1)"]
    np.testing.assert_allclose(numbers["Cut points:1/2", "coef"], cuts.params["1/2"])
    np.testing.assert_allclose(numbers["Cut points:1/2", "std err"], cuts.bse["1/2"])
    np.testing.assert_allclose(numbers["Cut points:1/2", "[0.025"], cuts.conf_int().loc["1/2", 0])


def _file(res):
    file = io.BytesIO()
    res.save(file)
    file.seek(0)
    return file


def test_units_do_not_matter():
    plain = bh.OrderedModel(Y, X).fit()
    scaled = bh.OrderedModel(Y, X * [1e6, 1e-6] + [3e6, 0.0]).fit()
    np.testing.assert_allclose(scaled.params[:2] * [1e6, 1e-6], plain.params[:2], rtol=1e-9)
    np.testing.assert_allclose(scaled.bse[:2] * [1e6, 1e-6], plain.bse[:2], rtol=1e-9)
    assert scaled.llf == pytest.approx(plain.llf, rel=1e-12)


def test_collinear_columns():
    x = np.column_stack([X, X.sum(1)])
    with pytest.warns(bh.CollinearityWarning):
        least = bh.OrderedModel(Y, x).fit()
    with pytest.warns(bh.CollinearityWarning):
        left_out = bh.OrderedModel(Y, x).fit(rank="drop")
    plain = bh.OrderedModel(Y, X).fit()
    np.testing.assert_allclose(left_out.params[[0, 1, 3, 4, 5]], plain.params, rtol=1e-9)
    np.testing.assert_allclose(least.predict(), plain.predict(), rtol=1e-9)
    np.testing.assert_allclose(least.thresholds.bse, plain.thresholds.bse, rtol=1e-9)


@pytest.mark.parametrize("read", [lambda y: y, pd.Series, torch.tensor])
def test_levels_are_written_as_their_own_precision_prints_them(read):
    y, x = np.array([0.1, 0.2, 0.3] * 20, "f4"), np.random.default_rng(0).normal(size=(60, 1))
    model = bh.OrderedModel(read(y), torch.tensor(x) if read is torch.tensor else x)
    assert model.levels == (0.1, 0.2, 0.3)
    assert model.fit().names == ("x1", "0.1/0.2", "0.2/0.3")


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("which", ["prob", "cumprob"])
def test_errors_of_probabilities_are_those_of_the_delta_method(which, cov_type):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": random.normal(size=90), "y": pd.Categorical(random.choice(list("abc"), 90), ordered=True)}
    )
    res = bh.ordered("y ~ x", frame).fit(cov_type)
    new = pd.DataFrame({"x": [-1.0, 0.5, 30.0]}, index=["u", "v", "w"])
    found, cuts = res.get_prediction(new, which=which), 2

    def below(p):  # by hand: F(c_j - x'b)
        ends = torch.stack([p[1], p[1] + torch.exp(p[2])])
        return torch.sigmoid(ends - torch.tensor([[-1.0], [0.5], [30.0]]).double() * p[0])

    def wanted(p):
        cumulated = below(p)
        if which == "cumprob":
            return cumulated.reshape(-1)
        return torch.diff(cumulated, prepend=cumulated.new_zeros(3, 1), append=cumulated.new_ones(3, 1)).reshape(-1)

    hand, width = res.delta(wanted), cuts + (which == "prob")
    pd.testing.assert_frame_equal(found.predicted, res.predict(new, which=which))
    assert np.allclose(found.predicted.to_numpy()[:, :width].reshape(-1), hand.estimates, rtol=1e-12, atol=1e-15)
    assert np.allclose(found.se.to_numpy()[:, :width].reshape(-1), hand.errors, rtol=1e-9, atol=1e-15)
    frame = found.summary_frame(0.1)
    assert list(frame.columns) == ["predicted", "se", "ci_lower", "ci_upper"]
    assert list(frame.index[:3]) == [("u", "a"), ("u", "b"), ("u", "c")]
    assert ((frame.ci_lower <= frame.predicted) & (frame.predicted <= frame.ci_upper)).all()
    assert ((frame.ci_lower >= 0) & (frame.ci_upper <= 1)).all()
    if which == "cumprob":
        assert np.allclose(frame.loc[(slice(None), "c"), :], [1.0, 0.0, 1.0, 1.0], rtol=1e-14, atol=0)
    assert str(found) == str(found.summary_frame())


def test_predictions_of_the_index_and_in_tensors():
    random = np.random.default_rng(0)
    x, y = torch.tensor(random.normal(size=(90, 2))), torch.tensor(random.integers(0, 3, 90))
    res = bh.OrderedModel(y, x).fit()
    found = res.get_prediction(x[:4])
    assert isinstance(found.se, torch.Tensor)
    assert found.se.shape == (4, 3)
    assert found.conf_int().shape == (4, 3, 2)
    linear = res.get_prediction(x[:4], which="linpred")
    torch.testing.assert_close(linear.predicted, x[:4] @ res.params[:2])
    torch.testing.assert_close(linear.se, (x[:4] @ res.cov_params()[:2, :2] * x[:4]).sum(1).sqrt())
    with pytest.raises(bh.OptionError, match="which is 'mean'; use 'prob', 'linpred' or 'cumprob'"):
        res.get_prediction(which="mean")
    with pytest.raises(bh.OptionError, match="row_labels has 1 label for 4 predictions"):
        res.get_prediction(x[:4], row_labels=["a"])
    with pytest.warns(bh.CollinearityWarning):
        lost = bh.OrderedModel(y, torch.cat([x, x[:, :1]], 1)).fit()
    with pytest.warns(bh.CollinearityWarning, match="2 predictions"):
        here = lost.get_prediction(torch.eye(3, dtype=torch.float64))
    assert torch.isnan(here.se).all(1).tolist() == torch.isnan(here.predicted).all(1).tolist() == [True, False, True]
