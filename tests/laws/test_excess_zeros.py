"""Zero-inflated and hurdle counts: laws of their losses, and what users do with the models."""

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.hurdle import Hurdle
from betahat.objectives.indices import LinearIndices
from betahat.objectives.negative_binomial import NegativeBinomial1, NegativeBinomial2
from betahat.objectives.poisson import PoissonIndices
from betahat.objectives.zero_inflated import ZeroInflated

# Sums of four hundred probabilities, and of numbers times their squares.
SUMS = 1e-10
# torch's polygamma, by which autodiff goes where each row has a q of its own, has ten digits.
AUTODIFF = 1e-8
CLOSE = 1e-9

ROWS, COUNTS = 15, torch.arange(0.0, 300.0, dtype=torch.float64)
DENSITIES = {"poisson": PoissonIndices, "nb2": NegativeBinomial2, "nb1": NegativeBinomial1}


@pytest.fixture(params=[ZeroInflated, Hurdle], ids=["inflated", "hurdle"])
def kind(request):
    return request.param


@pytest.fixture(params=[Logistic(), Normit()], ids=["logit", "probit"])
def zeros(request):
    return request.param


@pytest.fixture(params=DENSITIES)
def loss(request, kind, zeros):
    return kind(counts=DENSITIES[request.param](equations=()), zeros=zeros, equations=())


@pytest.fixture
def index(loss):
    """(n, q) indices; alpha is the same in all rows."""
    draw = torch.Generator().manual_seed(1)
    a, eta = (torch.randn(ROWS, generator=draw, dtype=torch.float64) * scale for scale in (1.0, 0.7))
    at = [eta] if isinstance(loss.counts, PoissonIndices) else [eta, torch.full_like(eta, 0.6)]
    return loss.joined(a, torch.stack(at, -1))


def _probabilities(loss, index):
    return loss.probability(*_at_all_counts(index))


def _at_all_counts(index):
    return index.expand(len(COUNTS), *index.shape), COUNTS[:, None].expand(-1, ROWS)


def test_probabilities_sum_to_one_and_have_the_moments(loss, index):
    shares = _probabilities(loss, index)
    mean = (shares * COUNTS[:, None]).sum(0)
    torch.testing.assert_close(shares.sum(0), torch.ones(ROWS, dtype=torch.float64), rtol=SUMS, atol=0)
    torch.testing.assert_close(loss.mean(index), mean, rtol=SUMS, atol=0)
    variance = (shares * COUNTS[:, None].square()).sum(0) - mean.square()
    torch.testing.assert_close(loss.variance(index), variance, rtol=SUMS, atol=0)


def test_derivatives_are_autodiff_s(loss, index):
    y = torch.arange(ROWS, dtype=torch.float64) % 7
    mean = loss.mean(index)
    slope, curvature = LinearIndices.residual(loss, index, y, mean), LinearIndices.curvature(loss, index, y, mean)
    if isinstance(
        loss.counts, NegativeBinomial2
    ):  # whose table has the alpha of the first row, so that sums over rows are compared
        torch.testing.assert_close(loss.residual(index, y, mean).sum(0), slope.sum(0), rtol=AUTODIFF, atol=AUTODIFF)
        torch.testing.assert_close(loss.residual(index, y, mean)[:, :-1], slope[:, :-1], rtol=AUTODIFF, atol=AUTODIFF)
    else:
        torch.testing.assert_close(loss.residual(index, y, mean), slope, rtol=AUTODIFF, atol=AUTODIFF)
        torch.testing.assert_close(loss.curvature(index, y, mean), curvature, rtol=AUTODIFF, atol=AUTODIFF)


def test_expected_curvature_is_the_mean_over_counts(loss, index):
    every, counts = _at_all_counts(index)
    found = loss.curvature(every, counts, loss.mean(every)) * _probabilities(loss, index)[:, :, None, None]
    torch.testing.assert_close(loss.expected_curvature(index), found.sum(0), rtol=SUMS, atol=SUMS)


def test_draws_invert_the_distribution_function(loss, index):
    uniform = torch.rand(5, ROWS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    below = _probabilities(loss, index).cumsum(0)
    wanted = (below[None] < uniform[:, None, :]).sum(1)
    assert torch.equal(loss.draw(index, torch.tensor(1.0), uniform).long(), wanted)


# models

MODELS = (
    ("zeroinflatedpoisson", "exog_infl"),
    ("zeroinflatednegativebinomialp", "exog_infl"),
    ("hurdlepoisson", "exog_zero"),
    ("hurdlenegativebinomial", "exog_zero"),
)
CLASSES = {model.__name__.lower(): model for model in (bh.ZeroInflatedPoisson, bh.ZeroInflatedNegativeBinomialP)}
CLASSES |= {model.__name__.lower(): model for model in (bh.HurdlePoisson, bh.HurdleNegativeBinomial)}


def _data(rows=400):
    draw = np.random.default_rng(7)
    x, z = draw.normal(size=(2, rows))
    counts = draw.poisson(np.exp(0.8 + 0.4 * x) * draw.gamma(2.0, 0.5, rows))
    y = counts * (draw.uniform(size=rows) < 1 / (1 + np.exp(-1.0 + 0.8 * z)))
    return pd.DataFrame(
        {"y": y.astype(float), "x": x, "z": z, "one": 1.0, "group": np.arange(rows) % 3, "often": np.arange(rows) % 4}
    )


DATA = _data()


@pytest.fixture(params=MODELS, ids=lambda entry: entry[0], scope="module")
def fitted(request):
    name, option = request.param
    return getattr(bh, name)("y ~ x", DATA, **{option: "~ x + z"}).fit(), name, option


def test_arrays_frames_tensors_and_formulas_are_the_same(fitted):
    results, name, option = fitted
    x, z = DATA[["one", "x"]], DATA[["one", "x", "z"]]
    for make in (
        lambda frame: frame,
        lambda frame: frame.to_numpy(),
        lambda frame: torch.tensor(frame.to_numpy().copy()),
    ):
        again = CLASSES[name](make(DATA["y"]), make(x), make(z)).fit()
        np.testing.assert_allclose(np.asarray(again.params), results.params, rtol=CLOSE)
        new = again.predict(make(x[:5]), **{option: make(z[:5])})
        np.testing.assert_allclose(np.asarray(new), results.predict(DATA[:5]), rtol=CLOSE)
        assert isinstance(new, torch.Tensor) == isinstance(make(x), torch.Tensor)
    shuffled = CLASSES[name](DATA["y"], x, z).fit().predict(x[:5], **{option: z[:5][["z", "one", "x"]]})
    np.testing.assert_allclose(shuffled, results.predict(DATA[:5]), rtol=CLOSE)
    single = CLASSES[name](DATA["y"].to_numpy(np.float32), x.to_numpy(np.float32), z.to_numpy(np.float32)).fit()
    np.testing.assert_allclose(single.params, results.params, rtol=1e-5)


def test_counts_of_rows_are_repeated_rows(fitted):
    _, name, option = fitted
    function = getattr(bh, name)
    counted = function("y ~ x", DATA, **{option: "~ z"}, freq_weights="often").fit("HC0")
    repeated = function("y ~ x", DATA.loc[DATA.index.repeat(DATA["often"])], **{option: "~ z"}).fit("HC0")
    for number in ("params", "bse", "llf", "llnull", "df_resid"):
        np.testing.assert_allclose(getattr(counted, number), getattr(repeated, number), rtol=1e-8)


def test_margins_are_slopes_of_the_mean(fitted):
    """The variable x moves both equations."""
    results, _, _ = fitted
    table = results.get_margeff().summary_frame()
    for name in ("x", "z"):
        step = 1e-5
        up, down = (results.predict(DATA.assign(**{name: DATA[name] + sign * step})) for sign in (1.0, -1.0))
        np.testing.assert_allclose(table.loc[name, "dy/dx"], (up - down).mean() / (2 * step), rtol=1e-7)
    assert list(table.index) == ["x", "z"]


def test_predictions_with_errors(fitted):
    results, _, _ = fitted
    for which in ("mean", "prob-zero", "mean-nonzero"):
        frame = results.get_prediction(DATA[:4], which=which).summary_frame()
        np.testing.assert_allclose(frame["predicted"], results.predict(DATA[:4], which=which), rtol=CLOSE)
        slopes = np.array([_slope(results, i, which) for i in range(len(results.params))])
        wanted = np.sqrt(np.einsum("im,ij,jm->m", slopes, results.cov_params(), slopes))
        np.testing.assert_allclose(frame["se"], wanted, rtol=1e-5)


def _slope(results, place, which):
    step = np.zeros(len(results.params))
    step[place] = 1e-6
    up, down = (results.model.predict(results.params + sign * step, which=which)[:4] for sign in (1.0, -1.0))
    return (np.asarray(up) - np.asarray(down)) / 2e-6


def test_saved_and_loaded(fitted, tmp_path):
    results, _, _ = fitted
    again = bh.load(results.save(tmp_path / "counts.betahat"))
    pd.testing.assert_series_equal(again.params, results.params)
    pd.testing.assert_series_equal(again.predict(DATA[:5]), results.predict(DATA[:5]))
    assert again.summary().as_text()[-900:] == results.summary().as_text()[-900:]
    bare = bh.load(results.save(tmp_path / "bare.betahat", remove_data=True))
    pd.testing.assert_series_equal(
        bare.predict(DATA[:5], which="prob-zero"), results.predict(DATA[:5], which="prob-zero")
    )
    np.testing.assert_allclose(bare.llf, results.llf)


def test_categories_in_both_equations(fitted):
    _, name, option = fitted
    found = getattr(bh, name)("y ~ x + C(group)", DATA, **{option: "~ C(group) + z"}).fit(
        bh.Cluster("group", kind="CR1") if False else "HC0"
    )
    assert sum("C(group)" in parameter for parameter in found.params.index) == 4
    assert len(found.wald_test_terms().summary_frame()) == 6
    np.testing.assert_allclose(found.predict(DATA[:6]), found.predict()[:6], rtol=CLOSE)


def test_missing_rows_are_dropped_for_both(fitted):
    _, name, option = fitted
    holes = DATA.copy()
    holes.loc[3, "z"] = np.nan
    found = getattr(bh, name)("y ~ x", holes, **{option: "~ z"})
    assert found.nobs == len(DATA) - 1
    x, z = holes[["one", "x"]], holes[["one", "z"]]
    assert CLASSES[name](holes["y"], x, z, missing="drop").nobs == len(DATA) - 1


def test_the_parametric_bootstrap_is_near_the_classical_errors(fitted):
    results, _, _ = fitted
    drawn = results.with_cov(bh.Bootstrap(25, kind="parametric", seed=1)).bse
    assert ((drawn / results.bse > 0.5) & (drawn / results.bse < 2.0)).all()


def test_rows_of_a_table_by_equation(fitted):
    results, name, _ = fitted
    text = str(bh.regtable([results]))
    assert ("inflate\n" if "inflated" in name else "zero\n") in text.replace(" ", "")


def test_hurdles_take_the_counts_regressors_where_nothing_is_said():
    both = bh.hurdlepoisson("y ~ x + z", DATA, exog_zero="~ x + z").fit()
    pd.testing.assert_series_equal(bh.hurdlepoisson("y ~ x + z", DATA).fit().params, both.params)
    assert len(bh.HurdlePoisson(DATA["y"], DATA[["one", "x"]]).fit().params) == 4


def test_the_null_model_without_inflation_or_alpha():
    """Where a constant alone leaves no excess zeros, the null model is that of the counts alone."""
    draw = np.random.default_rng(4)
    z = draw.normal(size=600)
    y = draw.poisson(2.0, 600) * (draw.uniform(size=600) < np.where(z > 0, 0.95, 0.85))
    frame = pd.DataFrame({"y": y, "z": z})
    full = bh.zeroinflatedpoisson("y ~ 1", frame, exog_infl="~ z").fit()
    assert full.llnull <= full.llf


def test_many_rows_start_from_a_few(fitted):
    """Columns that are certified are taken as they are, and a sample of rows is where the solver starts."""
    results, name, _ = fitted
    often = 130
    x, z = (np.tile(DATA[columns].to_numpy(), (often, 1)) for columns in (["one", "x"], ["one", "x", "z"]))
    many = CLASSES[name](np.tile(DATA["y"].to_numpy(), often), x, z).fit()
    np.testing.assert_allclose(many.params, results.params, rtol=1e-7)
    np.testing.assert_allclose(many.bse * often**0.5, results.bse, rtol=1e-7)
    scaled = CLASSES[name](np.tile(DATA["y"].to_numpy(), often), x * [1.0, 1e9], z).fit()
    np.testing.assert_allclose(
        scaled.params * np.where(np.arange(len(many.params)) == many.model.objective.main * 3 + 1, 1e9, 1.0),
        many.params,
        rtol=1e-6,
    )
