"""Pictures of coefficients show what the results say: intervals of conf_int, ratios of bse, names in the order asked for."""

import re
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.tables.foreign import Foreign

plt = pytest.importorskip("matplotlib.pyplot")

# The numbers drawn are those of the results themselves, through one division at most.
SAME = 1e-14


@pytest.fixture(autouse=True)
def _nothing_global_changes():
    before = dict(plt.rcParams)
    yield
    assert dict(plt.rcParams) == before
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    data["g"] = np.arange(60) % 12
    data["y"] = 1.0 + data.a - 0.5 * data.b + rng.normal(size=60) * (1.0 + data.a.abs())
    data["k"] = rng.integers(0, 3, 60)
    return data


def markers(ax):
    """The values and heights of each series, under its label."""
    return {line.get_label(): line.get_xydata() for line in ax.lines if not line.get_label().startswith("_")}


def bars(ax):
    """(m, 2) the ends of each collection of bars."""
    return [np.array([segment[:, 0] for segment in drawn.get_segments()]) for drawn in ax.collections]


def rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_intervals_are_those_of_conf_int_for_every_covariance_and_level(frame):
    res = bh.ols("y ~ a + b + c", frame).fit()
    covariances = ["nonrobust", "HC3", bh.Cluster("g", kind="CR2")]
    ax = bh.coefplot(res, cov=covariances, alpha=[0.1, 0.05])
    drawn = bars(ax)
    for number, cov in enumerate(covariances):
        switched = res.with_cov(cov)
        for level, alpha in enumerate([0.05, 0.1]):
            np.testing.assert_allclose(drawn[2 * number + level], switched.conf_int(alpha), rtol=SAME)
    assert list(markers(ax)) == ["nonrobust", "HC3", "CR2"]
    widths = [drawn.get_linewidth()[0] for drawn in ax.collections[:2]]
    assert widths[1] > widths[0]  # the shorter interval is the thicker
    assert "90% and 95%" in ax.get_xlabel()


def test_a_bootstraps_methods_are_asked_for(frame):
    res = bh.ols("y ~ a + b", frame).fit(bh.Bootstrap(199, seed=1))
    np.testing.assert_array_equal(bars(res.plot(method="bca"))[0], res.conf_int(method="bca"))
    np.testing.assert_array_equal(bars(res.plot())[0], res.conf_int())


def test_models_stand_in_one_row_each_coefficient(frame):
    short, long = bh.ols("y ~ a", frame).fit(), bh.ols("y ~ a + b + c", frame).fit()
    ax = bh.coefplot(
        [short, long],
        labels=["short", "long"],
        drop="Intercept",
        order=["c"],
        rename={"a": "A", re.compile("^b$"): "B"},
    )
    assert rows(ax) == ["c", "A", "B"]
    found = markers(ax)
    np.testing.assert_array_equal(found["short"][:, 0], [np.nan, short.params["a"], np.nan])
    np.testing.assert_array_equal(found["long"][:, 0], long.params[["c", "a", "b"]])
    assert (found["long"][:, 1] > found["short"][:, 1]).all()
    assert np.abs(found["long"][:, 1] - np.arange(3)).max() < 0.5  # each within its row
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["short", "long"]


def test_markers_differ_in_shape_as_well_as_in_colour(frame):
    res = bh.ols("y ~ a", frame).fit()
    ax = bh.coefplot([res] * 7)
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 7


def test_standard_errors_are_multiples_of_the_firsts(frame):
    res = bh.ols("y ~ a + b", frame).fit()
    ax = bh.plot_cov(res, ["nonrobust", "HC1", "HC3"])
    for name, drawn in markers(ax).items():
        np.testing.assert_allclose(drawn[:, 0], res.with_cov(name).bse / res.bse, rtol=SAME)
    assert list(markers(ax)) == ["HC1", "HC3"]
    plain = bh.plot_cov(res, ["HC1", "HC1"], relative=False)
    assert list(markers(plain)) == ["HC1 #1", "HC1 #2"]
    np.testing.assert_array_equal(markers(plain)["HC1 #1"][:, 0], res.with_cov("HC1").bse)
    assert plain.get_xscale() == "log"


@pytest.mark.parametrize("reach", [0.5, 1.5, 3.0])
def test_labels_of_a_logarithmic_axis_do_not_overlap(reach):
    """From within a decade to nearly three of them."""
    table = np.array([[-0.9 * reach, 0.1, 1.0, 0.5], [0.9 * reach, 0.1, 1.0, 0.5]])
    limits = np.array([[-reach, 0.0], [0.0, reach]])
    ax = bh.coefplot(Foreign("a test", (("", "a"), ("", "b")), table, lambda alpha: limits), exponentiate=True)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high and label.get_text()]
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert not any(label.get_text() for label in ax.get_xticklabels(minor=True))


def test_an_interval_without_an_end_has_an_arrow_to_the_frame():
    table = np.array([[1.0, 1.0, 1.0, 0.1], [3.0, 1.0, 3.0, 0.1]])
    endless = Foreign(
        "a test", (("", "a"), ("", "b")), table, lambda alpha: np.array([[0.5, np.inf], [-np.inf, np.inf]])
    )
    ax = bh.coefplot(endless)
    np.testing.assert_array_equal(bars(ax)[0], [[0.5, 1.0], [3.0, 3.0]])
    arrows = [(text.xy, text.xyann) for text in ax.texts]
    assert arrows == [((1.0, 0.0), (1.0, 0.0)), ((0.0, 1.0), (3.0, 1.0)), ((1.0, 1.0), (3.0, 1.0))]


def test_models_and_covariances_are_recycled_as_in_tables(frame):
    short, long = bh.ols("y ~ a", frame).fit(), bh.ols("y ~ a + b", frame).fit()
    ax = bh.coefplot({"short": short, "long": long}, cov="HC3")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["short", "long"]
    low, high = long.with_cov("HC3").conf_int().loc["a"]
    assert [low, high] in bars(ax)[1].tolist()
    ax = bh.coefplot([short, long], cov=["HC1", "HC3"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["(1)", "(2)"]


def test_a_collinear_column_keeps_its_row_and_says_so(frame):
    with pytest.warns(bh.CollinearityWarning):
        res = bh.ols("y ~ a + I(2 * a)", frame).fit(rank="drop")
    ax = res.plot()
    assert rows(ax) == ["Intercept", "a", "I(2 * a)"]
    assert [text.get_text() for text in ax.texts] == ["not estimated"]
    assert len(bars(ax)[0]) == 2


@pytest.mark.parametrize("kind", ["frame", "array", "tensor"])
def test_data_of_every_kind_and_equations_of_every_class(frame, kind):
    convert = {"frame": lambda x: x, "array": np.asarray, "tensor": lambda x: torch.tensor(np.asarray(x))}[kind]
    res = bh.MNLogit(convert(frame.k), convert(frame[["a", "b"]])).fit()
    ax = res.plot()
    assert rows(ax) == list(res.names)
    np.testing.assert_array_equal(bars(ax)[0], np.asarray(res.conf_int()).reshape(-1, 2))


def test_a_module_and_a_row_loss_have_pictures(frame):
    x, y = torch.tensor(frame[["a", "b"]].to_numpy()), torch.tensor(frame.y.to_numpy())
    module = bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.MSELoss(), x, y[:, None]).fit()
    assert rows(module.plot()) == list(module.names) == ["weight[0,0]", "weight[0,1]", "bias"]
    loss = bh.MEstimator(
        lambda p, d: (d["y"] - d["x"] @ p["b"]) ** 2, {"b": torch.zeros(2, dtype=torch.float64)}, {"x": x, "y": y}
    ).fit()
    assert rows(loss.plot()) == list(loss.names)


def test_the_axes_given_are_the_axes_returned_and_no_figure_is_made(frame):
    res = bh.ols("y ~ a", frame).fit(bh.Bootstrap(99, seed=1))
    fig, axes = plt.subplots(1, 3)
    assert res.plot(ax=axes[0]) is axes[0]
    assert bh.plot_cov(res, ["HC1", "HC3"], ax=axes[1]) is axes[1]
    assert bh.plot_draws(res, "a", ax=axes[2]) is axes[2]
    assert plt.get_fignums() == [fig.number]


def test_labels_of_many_coefficients_do_not_overlap():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 30)), columns=[f"variable {i}" for i in range(30)])
    res = bh.OLS(rng.normal(size=80), frame).fit()
    _, small = plt.subplots(figsize=(4, 3))
    for ax in (res.plot(), res.plot(ax=small)):
        ax.figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert all(lower.y1 <= upper.y0 + 0.5 for upper, lower in pairwise(boxes))
    assert res.plot().figure.get_figheight() > 8 > res.plot(keep="variable 1").figure.get_figheight()


def test_draws_are_the_replicates_and_bars_the_intervals(frame):
    res = bh.ols("y ~ a + b", frame).fit(bh.Bootstrap(499, seed=1))
    methods = ["normal", "percentile", "sup-t"]
    ax = bh.plot_draws(res, "a", method=methods, alpha=0.1)
    for method in methods:
        (line,) = [line for line in ax.lines if line.get_label() == method]
        np.testing.assert_array_equal(line.get_xdata(), res.conf_int(0.1, method).loc["a"])
    draws = res.cov.draws[:, 1].numpy()
    edges = np.array([patch.get_x() for patch in ax.patches] + [ax.patches[-1].get_x() + ax.patches[-1].get_width()])
    areas = np.array([patch.get_height() * patch.get_width() for patch in ax.patches])
    np.testing.assert_allclose(edges[[0, -1]], [draws.min(), draws.max()], rtol=1e-12)
    np.testing.assert_allclose(areas.sum(), 1.0, rtol=1e-12)
    inner = (draws >= edges[5]) & (draws < edges[6])
    np.testing.assert_allclose(areas[5], inner.mean(), atol=2 / 499)  # a draw on an edge may fall to either side


def test_draws_of_a_function_have_the_intervals_of_delta(frame):
    res = bh.ols("y ~ a + b", frame).fit(bh.Bootstrap(199, seed=1))

    def ratio(p):
        return p["b"] / p["a"]

    ax = bh.plot_draws(res, ratio)
    expected = {"reported": res.delta(ratio).conf_int(), "percentile": res.delta(ratio).conf_int(method="percentile")}
    found = {line.get_label(): line.get_xdata() for line in ax.lines if not line.get_label().startswith("_")}
    assert found.keys() == expected.keys()
    for name, ends in expected.items():
        np.testing.assert_array_equal(found[name], ends)


def test_the_reported_interval_of_few_clusters_is_the_inverted_test(frame):
    res = bh.ols("y ~ a", frame).fit(bh.Bootstrap(199, "wild", clusters="g", seed=1))
    (line,) = [line for line in bh.plot_draws(res, "a").lines if line.get_label() == "reported"]
    np.testing.assert_array_equal(line.get_xdata(), res.conf_int().loc["a"])
    np.testing.assert_array_equal(bars(res.plot())[0], res.conf_int())


BAD = {
    "no results": (lambda res: bh.coefplot([]), "not an empty list"),
    "something else": (lambda res: bh.coefplot([res, 3]), "not an int"),
    "covariances of several": (
        lambda res: bh.coefplot([res, res], cov=["HC1", "HC2", "HC3"]),
        "cov has 3 covariances for 2 models",
    ),
    "unknown name": (lambda res: res.plot(drop="wage"), "'Intercept', 'a'"),
    "nothing left": (lambda res: res.plot(keep="a", drop="a"), "There are 0 coefficients to draw"),
    "labels": (lambda res: res.plot(labels=["x", "y"]), "a list of 1 label, one for each"),
    "alpha": (lambda res: res.plot(alpha="x"), "alpha is 'x'; pass one minus the coverage"),
    "no alpha": (lambda res: res.plot(alpha=[]), r"alpha is \[\]; pass one minus the coverage"),
    "axes": (lambda res: res.plot(ax=[1]), "ax is a list; pass the axes of a matplotlib figure"),
    "several models": (lambda res: bh.plot_cov([res, res], ["HC1", "HC3"]), "one result.*not a list; coefplot"),
    "one covariance": (lambda res: bh.plot_cov(res, ["HC1"]), "at least two covariances"),
    "no such coefficient": (
        lambda res: bh.plot_draws(res.with_cov(bh.Bootstrap(99, seed=1)), "b"),
        "which is 'b'.*'Intercept', 'a'",
    ),
    "draws of two": (lambda res: bh.plot_draws([res], "a"), "plot_draws needs one result"),
    "draws of neither": (
        lambda res: bh.plot_draws(res.with_cov(bh.Bootstrap(99, seed=1)), 3),
        "neither the name of a coefficient nor",
    ),
    "draws of a vector": (
        lambda res: bh.plot_draws(res.with_cov(bh.Bootstrap(99, seed=1)), lambda p: p[:2]),
        "returns 2 numbers",
    ),
    "no replicates": (lambda res: bh.plot_draws(res, "a"), r"use a bootstrap"),
    "a method without replicates": (lambda res: res.plot(method="bca"), r"use a bootstrap"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_no_figure(frame, case):
    call, sentence = BAD[case]
    res = bh.ols("y ~ a", frame).fit()
    with pytest.raises(bh.OptionError, match=sentence):
        call(res)
    assert not plt.get_fignums()


def test_too_many_coefficients_ask_for_a_choice():
    rng = np.random.default_rng(0)
    res = bh.OLS(rng.normal(size=150), rng.normal(size=(150, 101))).fit()
    with pytest.raises(bh.OptionError, match=r"101 coefficients to draw.*keep"):
        res.plot()


def test_without_matplotlib_there_is_a_sentence(frame, monkeypatch):
    res = bh.ols("y ~ a", frame).fit()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(bh.MissingPackageError, match=r"pip install 'betahat\[plot\]'"):
        res.plot()


def test_long_names_and_labels_stay_within_the_figure(frame):
    names = {"a": "A name of a coefficient that goes on and on, to the end of the line and beyond it", "b": "short"}
    res = bh.ols("y ~ a + b", frame).fit()
    ax = bh.coefplot([res, res], labels=["a long label of a model", "another label of a model"], rename=names)
    ax.figure.canvas.draw()
    figure = ax.figure.bbox
    for text in [*ax.get_yticklabels(), *ax.get_legend().get_texts(), ax.xaxis.label]:
        box = text.get_window_extent()
        assert figure.x0 <= box.x0
        assert box.x1 <= figure.x1
    assert ax.get_window_extent().width > 0.3 * figure.width


def test_dollars_are_mathematics_in_words_of_the_user_only(frame):
    data = frame.rename(columns={"a": "in $, per $", "b": "b"})
    ax = bh.OLS(data["y"], data[["in $, per $", "b"]]).fit().plot(rename={"b": r"$\beta$"})
    assert [label.get_parse_math() for label in ax.get_yticklabels()] == [False, True]


def test_standard_errors_within_a_decade_have_labels_apart(frame):
    res = bh.ols("y ~ a", frame.assign(a=3.0 * frame.a)).fit()  # standard errors of 0.044 to 0.058 or so
    ax = bh.plot_cov(res, [bh.FixedScale(1.0), bh.FixedScale(1.6)], keep="a", relative=False)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    ticks = [*ax.xaxis.get_major_ticks(), *ax.xaxis.get_minor_ticks()]
    labels = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) > 2
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
