"""Pictures of margins along a variable: the numbers are those of margins, and what is asked wrongly is a sentence."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    n = 200
    found = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.normal(size=n),
            "old": rng.integers(0, 2, n),
            "region": rng.choice(["north", "south", "west"], n),
            "year": rng.integers(2001, 2005, n),
        }
    )
    found["y"] = found.x * (1 + found.old) + found.z**2 + rng.normal(size=n)
    return found.assign(grade=np.digitize(found.y, [0.0, 1.5]))


@pytest.fixture(scope="module")
def res(frame):
    return bh.ols("y ~ x * old + z + I(z**2) + C(region)", frame).fit("HC1")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def _band(axes, number=0):
    """Return (m, 3) the line and the ends of a band."""
    x, y = axes.lines[number].get_data()
    corners = axes.collections[number].get_paths()[0].vertices
    ends = [(corners[corners[:, 0] == at, 1].min(), corners[corners[:, 0] == at, 1].max()) for at in x]
    return x, np.column_stack([y, ends])


def test_a_curve_is_predictions_of_a_grid(res, frame):
    x, found = _band(bh.plot_predictions(res, ["z", "old"], alpha=0.1), 1)
    np.testing.assert_allclose(x, np.linspace(frame.z.min(), frame.z.max(), 60))
    expected = res.predictions(newdata=bh.datagrid(z=x, old=1))
    np.testing.assert_allclose(found[:, 0], expected.params, rtol=1e-12)
    np.testing.assert_allclose(found[:, 1:], expected.conf_int(0.1), rtol=1e-12)


def test_bands_of_a_whole_curve(res):
    axes = bh.plot_slopes(res, variables="z", condition={"z": [-1.0, 0.0, 1.0]}, adjust="sup-t")
    wide = _band(axes)[1]
    plain = _band(bh.plot_slopes(res, variables="z", condition={"z": [-1.0, 0.0, 1.0]}))[1]
    np.testing.assert_allclose(wide[:, 0], plain[:, 0])
    assert (wide[:, 1] < plain[:, 1]).all()
    boot = res.with_cov(bh.Bootstrap(199, seed=1))
    band = _band(bh.plot_predictions(boot, {"z": "fivenum"}, method="sup-t"))[1]
    grid = bh.datagrid(z=lambda z: np.percentile(z, [0, 25, 50, 75, 100], method="midpoint"))
    np.testing.assert_allclose(band[:, 1:], boot.predictions(newdata=grid).conf_int(method="sup-t"), rtol=1e-12)


def test_groups_are_markers_with_bars(res):
    axes = bh.plot_predictions(res, by=["region", "old"], rename={"old": "Age", "1": "old", "south": "South"})
    assert [label.get_text() for label in axes.get_xticklabels()] == ["north", "South", "west"]
    assert axes.get_legend().get_title().get_text() == "Age"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0", "old"]
    expected = res.avg_predictions(by=["region", "old"]).params.to_numpy()
    np.testing.assert_allclose(axes.lines[1].get_ydata(), expected[1::2], rtol=1e-12)
    axes = bh.plot_comparisons(res, variables="old", by="year")
    assert axes.get_ylabel() == "old: 1 - 0"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [2001, 2002, 2003, 2004])


def test_panels(res, frame):
    panels = bh.plot_predictions(res, {"x": None, "old": None, "region": ["north", "west"]})
    assert [axes.get_title() for axes in panels] == ["region=north", "region=west"]
    assert (panels[0].get_ylabel(), panels[1].get_ylabel()) == ("y", "")
    own = plt.subplots(1, 2)[1]
    assert list(bh.plot_predictions(res, ["x", "old", "region"], ax=None).shape) == [3]
    with pytest.raises(bh.OptionError, match="has 3 panels; pass as many axes"):
        bh.plot_predictions(res, ["x", "old", "region"], ax=own)
    given = bh.plot_comparisons(res, variables=["old", "x"], condition=["region", "z"], ax=own)
    assert list(given) == list(own)
    four = bh.plot_comparisons(res, variables={"region": "pairwise", "old": None}, condition=["z", "x"])
    assert len(four) == 4
    assert four[0].get_title() == "region: south - north"


def test_outcomes_have_colours(frame):
    axes = bh.plot_predictions(bh.mnlogit("grade ~ x", frame).fit(), "x")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["grade=0", "grade=1", "grade=2"]
    assert axes.get_ylabel() == "Prediction"
    np.testing.assert_allclose(sum(line.get_ydata() for line in axes.lines), 1.0)


def test_ratios_are_drawn_about_one(frame):
    res = bh.poisson("old ~ x", frame).fit()
    axes = bh.plot_comparisons(res, variables="x", condition={"x": "threenum"}, comparison="ratio")
    assert axes.lines[-1].get_ydata()[0] == 1.0
    assert (
        bh.plot_comparisons(
            res, variables="x", condition={"x": "minmax"}, comparison=lambda high, low: high
        ).get_xlabel()
        == "x"
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda res: bh.plot_predictions(3, "x"), "plot_predictions needs one result"),
        (bh.plot_predictions, "needs condition=, the variables along which"),
        (lambda res: bh.plot_slopes(res, condition="x", by="old"), "and not both; pass one of them"),
        (lambda res: bh.plot_predictions(res, 3), "condition is 3; pass one to 3 names"),
        (lambda res: bh.plot_predictions(res, by=["a", "b", "c", "d"]), "pass one to 3 names"),
        (lambda res: bh.plot_predictions(res, "nobody"), "has no variable 'nobody'"),
        (lambda res: bh.plot_predictions(res, "x", wts="z"), "newdata and wts go with by="),
        (lambda res: bh.plot_predictions(res, {"x": "few"}), "condition asks 'x' for 'few'"),
        (lambda res: bh.plot_predictions(res, ["old", "x"], alpha=2), "alpha is 2"),
        (lambda res: bh.plot_predictions(res, {"x": None, "z": np.arange(9.0)}), "would have 9 colours for 'z'"),
        (lambda res: bh.plot_predictions(res, "x", adjust="bh"), "a false discovery rate"),
        (lambda res: bh.plot_predictions(res, "x", ax=3), "ax is"),
    ],
)
def test_what_is_refused(res, call, sentence):
    with pytest.raises(bh.BetahatError, match=sentence):
        call(res)
