"""Residuals, quantiles, scale and leverage against statsmodels; what is thinned, marked, left out and refused."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

import betahat as bh
from betahat.plots import rows as module
from betahat.plots.rows import MOST_POINTS

plt = pytest.importorskip("matplotlib.pyplot")

# Both solve to twelve digits on data of a small condition; leverage and scale cost one or two of them.
RELATIVE = 1e-9


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.normal(size=(90, 2)), columns=["a", "b"], index=[f"row {i}" for i in range(90)])
    index = 0.3 + data.a - 0.5 * data.b
    data["y"] = index + rng.standard_t(4, size=90)
    data["w"] = rng.uniform(0.5, 2.0, 90)
    data["d"] = (rng.random(90) < 1 / (1 + np.exp(-index))).astype(float)
    data["n"] = rng.poisson(np.exp(0.5 * index)).astype(float)
    data["f"] = rng.integers(1, 4, 90).astype(float)
    return data


def points(ax):
    return np.asarray(ax.collections[-1].get_offsets())


def labels(ax):
    return {text.get_text() for text in ax.texts if text.get_text().startswith("row")}


def in_order(x, y):
    return np.column_stack([x, y])


def test_least_squares_against_statsmodels(frame):
    x = bh.add_constant(frame[["a", "b"]])
    res, theirs = bh.OLS(frame.y, x).fit("HC3"), sm.OLS(frame.y, x).fit()
    influence = theirs.get_influence()
    student = influence.resid_studentized_internal
    axes = res.plot_diagnostics().ravel()
    expected = [
        in_order(theirs.fittedvalues, theirs.resid),
        in_order(sm.ProbPlot(student, a=0.5).theoretical_quantiles, np.sort(student)),
        in_order(theirs.fittedvalues, np.sqrt(np.abs(student))),
        in_order(influence.hat_matrix_diag, student),
    ]
    for ax, numbers in zip(axes, expected, strict=True):
        np.testing.assert_allclose(points(ax), numbers, rtol=RELATIVE, atol=RELATIVE)
    cooks = influence.cooks_distance[0]
    assert labels(axes[0]) == set(theirs.resid.abs().nlargest(3).index)
    assert labels(axes[3]) == set(frame.index[np.argsort(-cooks)[:3]])
    assert f"{cooks.max():.2g}" in axes[3].get_title("right")


def test_weighted_least_squares_shows_what_is_homoskedastic(frame):
    x = bh.add_constant(frame[["a", "b"]])
    res, theirs = bh.WLS(frame.y, x, weights=frame.w).fit(), sm.WLS(frame.y, x, weights=frame.w).fit()
    np.testing.assert_allclose(
        points(bh.plot_residuals(res)), in_order(theirs.fittedvalues, theirs.wresid), rtol=RELATIVE
    )
    student = sm.OLS(theirs.model.wendog, theirs.model.wexog).fit().get_influence().resid_studentized_internal
    np.testing.assert_allclose(points(bh.plot_leverage(res))[:, 1], student, rtol=RELATIVE)


@pytest.mark.parametrize(
    ("model", "family", "y"), [("Logit", sm.families.Binomial(), "d"), ("Poisson", sm.families.Poisson(), "n")]
)
def test_discrete_models_against_statsmodels_glm(frame, model, family, y):
    x = bh.add_constant(frame[["a", "b"]])
    res = getattr(bh, model)(frame[y], x).fit()
    theirs = sm.GLM(frame[y], x, family=family).fit(tol=1e-14)
    influence = theirs.get_influence()
    hat = influence.hat_matrix_diag
    standardized = {kind: getattr(theirs, f"resid_{kind}") / np.sqrt(1 - hat) for kind in ("pearson", "deviance")}
    np.testing.assert_allclose(
        points(bh.plot_residuals(res)), in_order(x @ theirs.params, theirs.resid_pearson), rtol=RELATIVE
    )
    np.testing.assert_allclose(points(bh.plot_leverage(res)), in_order(hat, standardized["pearson"]), rtol=RELATIVE)
    np.testing.assert_allclose(points(bh.plot_qq(res))[:, 1], np.sort(standardized["deviance"]), rtol=RELATIVE)
    np.testing.assert_allclose(
        points(bh.plot_scale(res))[:, 1], np.sqrt(np.abs(standardized["deviance"])), rtol=RELATIVE
    )
    cooks = influence.cooks_distance[0]
    assert labels(bh.plot_leverage(res)) == set(frame.index[np.argsort(-np.asarray(cooks))[:3]])


def test_a_module_shows_what_the_model_shows(frame):
    x, y = torch.tensor(frame[["a", "b"]].to_numpy()), torch.tensor(frame[["y"]].to_numpy())
    ols = bh.ols("y ~ a + b", frame).fit().plot_diagnostics()
    linear = bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.MSELoss(), x, y).fit().plot_diagnostics()
    logit = bh.logit("d ~ a + b", frame).fit().plot_diagnostics()
    binary = torch.tensor(frame[["d"]].to_numpy())
    logistic = (
        bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.BCEWithLogitsLoss(), x, binary).fit().plot_diagnostics()
    )
    for ours, theirs in ((ols, linear), (logit, logistic)):
        for left, right in zip(ours.flat, theirs.flat, strict=True):
            np.testing.assert_allclose(points(left), points(right), rtol=1e-7, atol=1e-9)  # a solver's tolerance


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))],
)
def test_tensors_on_any_device_are_drawn(frame, device):
    x, y = (torch.tensor(values.to_numpy(), device=device) for values in (bh.add_constant(frame[["a", "b"]]), frame.d))
    theirs = bh.logit("d ~ a + b", frame).fit().plot_diagnostics()
    res = bh.Logit(y, x).fit(bh.Bootstrap(99, seed=1))
    for left, right in zip(res.plot_diagnostics().flat, theirs.flat, strict=True):
        np.testing.assert_allclose(points(left), points(right), rtol=1e-7, atol=1e-9)
    assert len(res.plot().collections[0].get_segments()) == 3
    for which in ("x1", lambda p: p["x1"] / p["x2"]):
        (line, _) = [line for line in bh.plot_draws(res, which).lines if not line.get_label().startswith("_")]
        assert np.isfinite(line.get_xdata()).all()


def test_contours_are_where_cooks_distance_says(frame):
    res = bh.ols("y ~ a + b", frame).fit()
    ax = bh.plot_leverage(res)
    contours = [line.get_xydata() for line in ax.lines if line.get_color() == "#0072B2"]
    assert len(contours) == 4
    for line, distance in zip(contours, [0.5, 0.5, 1.0, 1.0], strict=True):
        h, r = line.T
        np.testing.assert_allclose(r**2 * h / ((1 - h) * 3), distance, rtol=1e-12)


def test_rows_that_count_twice_have_the_quantile_of_two(frame):
    once = bh.logit("d ~ a + b", frame).fit()
    twice = bh.logit("d ~ a + b", frame, freq_weights=np.full(90, 2.0)).fit()
    np.testing.assert_allclose(points(bh.plot_qq(twice))[:, 0], points(bh.plot_qq(once))[:, 0], atol=1e-12)
    some = bh.logit("d ~ a + b", frame, freq_weights=frame.f).fit()
    long = frame.loc[frame.index.repeat(frame.f.astype(int))]
    repeated = bh.logit("d ~ a + b", long).fit()
    count = len(points(bh.plot_qq(some)))
    assert count == 90
    ours, theirs = points(bh.plot_qq(some)), points(bh.plot_qq(repeated))
    for x, y in ours:  # the middle of the quantiles of its copies, as a share
        copies = theirs[np.isclose(theirs[:, 1], y, rtol=1e-9), 0]
        assert copies.min() - 1e-12 <= x <= copies.max() + 1e-12


def test_the_band_holds_each_quantile_of_normal_errors_in_95_of_100_samples():
    rng, inside = np.random.default_rng(1), []
    x, ax = np.ones((40, 1)), plt.figure().add_subplot()
    for _ in range(100):
        ax.clear()
        bh.plot_qq(bh.OLS(rng.normal(size=40), x).fit(), mark=0, ax=ax)
        band = ax.collections[0].get_paths()[0].vertices
        drawn = points(ax)
        low, high = band[1:41], band[42:82][::-1]
        inside.append((low[:, 1] <= drawn[:, 1]) & (drawn[:, 1] <= high[:, 1]))
    # Standardising by the sample's own mean and variance pulls the middle in, and so covers more; the tails keep 95%.
    tails = np.mean(inside, 0)[[0, -1]]
    assert np.abs(tails - 0.95).max() < 4 * np.sqrt(0.95 * 0.05 / 100)


def test_many_rows_become_hexagons_and_quantiles_and_lose_no_extreme():
    rng = np.random.default_rng(2)
    n = 3 * MOST_POINTS
    x = bh.add_constant(rng.normal(size=n))
    res = bh.OLS(x[:, 1] + rng.normal(size=n), x).fit()
    first = res.plot_diagnostics()
    assert first[0, 0].collections[-1].get_array().size < MOST_POINTS
    drawn, every = points(first[0, 1]), np.sort(res.get_influence().resid_studentized_internal)
    assert len(drawn) == 2000
    np.testing.assert_allclose(drawn[[0, 1, -2, -1], 1], every[[0, 1, -2, -1]], rtol=RELATIVE)
    place = np.searchsorted(every, drawn[:, 1] * (1 - 1e-12 * np.sign(drawn[:, 1])))
    np.testing.assert_allclose(drawn[:, 0], module.special.ndtri((place + 0.5) / n), atol=1e-3)
    again = res.plot_diagnostics()
    for left, right in zip(first.flat, again.flat, strict=True):
        np.testing.assert_array_equal(points(left), points(right))


def test_four_axes_are_taken_in_any_shape_and_given_back(frame):
    res = bh.ols("y ~ a", frame).fit()
    figure, axes = plt.subplots(4)
    assert (res.plot_diagnostics(axes) == axes).all()
    assert plt.get_fignums() == [figure.number]
    for draw in (bh.plot_residuals, bh.plot_qq, bh.plot_scale, bh.plot_leverage):
        assert draw(res, axes[0]) is axes[0]
    with pytest.raises(bh.OptionError, match="pass four"):
        res.plot_diagnostics(axes[:2])


def test_a_row_that_is_fitted_exactly_is_left_out_and_counted(frame):
    alone = frame.assign(one=(np.arange(90) == 7).astype(float))
    res = bh.ols("y ~ a + one", alone).fit()
    for draw in (bh.plot_qq, bh.plot_scale, bh.plot_leverage):
        with pytest.warns(bh.BetahatWarning, match="1 row with a leverage of one left out"):
            assert len(points(draw(res))) == 89
    assert len(points(bh.plot_residuals(res))) == 90


def test_labels_of_rows_do_not_overlap(frame):
    for ax in bh.poisson("n ~ a + b", frame).fit().plot_diagnostics(mark=6).flat:
        ax.figure.canvas.draw()
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("row")]
        assert len(boxes) == 6
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def multinomial(frame):
    return bh.mnlogit("f ~ a", frame).fit()


def row_loss(frame):
    y = torch.tensor(frame.y.to_numpy())
    return bh.MEstimator(
        lambda p, d: (d["y"] - p["m"]) ** 2, {"m": torch.zeros(1, dtype=torch.float64)}, {"y": y}
    ).fit()


def several_outputs(frame):
    x, y = torch.tensor(frame[["a"]].to_numpy()), torch.tensor(frame[["y", "b"]].to_numpy())
    return bh.TorchModel(torch.nn.Linear(1, 2).double(), torch.nn.MSELoss(), x, y).fit()


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        (multinomial, "MNLogit has one for each class"),
        (row_loss, "a row loss shows no output"),
        (several_outputs, "several outputs or a class"),
    ],
)
def test_models_without_a_residual_say_so(frame, fit, sentence):
    with pytest.raises(bh.EstimationError, match=sentence):
        bh.plot_residuals(fit(frame))
    with pytest.raises(bh.EstimationError, match=sentence):
        fit(frame).plot_diagnostics()
    assert not plt.get_fignums()


def test_a_loss_without_a_variance_shows_residuals_only(frame):
    x, y = torch.tensor(frame[["a", "b"]].to_numpy()), torch.tensor(frame[["y"]].to_numpy())
    res = bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.HuberLoss(), x, y).fit("HC0")
    np.testing.assert_allclose(points(bh.plot_residuals(res))[:, 1], res.resid.reshape(-1), rtol=1e-12)
    with pytest.raises(bh.EstimationError, match="plot_residuals shows them"):
        bh.plot_leverage(res)


@pytest.mark.filterwarnings("ignore:The residuals are zero")
def test_an_exact_fit_has_nothing_to_standardise():
    res = bh.OLS([0.0, 0.0, 0.0], np.ones((3, 1))).fit()
    with pytest.raises(bh.EstimationError, match="the fit is exact"):
        bh.plot_qq(res)


@pytest.mark.filterwarnings("ignore:The residuals are zero")
def test_rounding_errors_are_not_drawn_as_residuals(frame):
    exact = bh.OLS(2.0 + 3.0 * frame["a"], bh.add_constant(frame[["a"]])).fit()
    for draw in (bh.plot_residuals, bh.plot_diagnostics):
        with pytest.raises(bh.EstimationError, match="rounding error"):
            draw(exact)
    assert not plt.get_fignums()


def test_contours_that_end_in_one_point_have_one_label(frame):
    alone = frame.assign(a=np.where(np.arange(90) == 3, 1e4, frame.a))
    ax = bh.plot_leverage(bh.ols("y ~ a", alone).fit())
    assert [text.get_text() for text in ax.texts if text.get_text() in ("0.5", "1")] == ["0.5"]


@pytest.mark.parametrize("draw", [bh.plot_residuals, bh.plot_qq, bh.plot_scale, bh.plot_leverage, bh.plot_diagnostics])
def test_bad_input_is_refused_before_there_is_a_figure(frame, draw):
    with pytest.raises(bh.OptionError, match="needs one result"):
        draw([1, 2])
    with pytest.raises(bh.OptionError, match="mark is -1"):
        draw(bh.ols("y ~ a", frame).fit(), mark=-1)
    assert not plt.get_fignums()
