"""The picture of coefficients over quantiles shows the numbers of the results."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    return data.assign(y=1.0 + data.a + rng.normal(size=80) * (1.0 + data.a.abs()))


@pytest.fixture(scope="module")
def res(frame):
    return bh.quantreg("y ~ a + b + c", frame).fit(q=[0.75, 0.2, 0.5], cov_type="HC0")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_lines_and_bands(res, frame):
    least = bh.ols("y ~ a + b + c", frame).fit("HC1")
    panels = bh.plot_quantiles(res, least, drop="Intercept", order=["c"], rename={"c": "C"}, alpha=0.1)
    assert [ax.get_title() for ax in panels] == ["C", "a", "b"]
    low = res.interval_table(0.1).reshape(3, 4, 2)
    for ax, name, place in zip(panels, "cab", (3, 1, 2), strict=True):
        level, line = ax.lines
        np.testing.assert_array_equal(level.get_ydata(), [least.params[name]] * 2)
        np.testing.assert_array_equal(line.get_xdata(), [0.2, 0.5, 0.75])
        np.testing.assert_array_equal(line.get_ydata(), res.params.loc[name, [0.2, 0.5, 0.75]])
        ends = ax.collections[0].get_paths()[0].vertices
        for q, bounds in zip((0.75, 0.2, 0.5), low[:, place], strict=True):
            assert {*bounds} <= {*ends[ends[:, 0] == q, 1]}


def test_axes_of_ones_own(res):
    own = plt.subplots(2, 2)[1]
    assert list(bh.plot_quantiles(res, axes=own)) == list(own.flat)
    assert len(bh.plot_quantiles(res, keep="a", axes=own[0, 0])) == 1


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda res, frame: bh.plot_quantiles(3), "not an integer|pass what"),
        (lambda res, frame: bh.plot_quantiles(bh.ols("y ~ a", frame).fit()), "several quantiles"),
        (lambda res, frame: bh.plot_quantiles(bh.quantreg("y ~ a", frame).fit()), "several quantiles"),
        (lambda res, frame: bh.plot_quantiles(res, "OLS"), "beside is"),
        (lambda res, frame: bh.plot_quantiles(res, bh.ols("y ~ a", frame).fit()), "no coefficient of 'b', 'c'"),
        (lambda res, frame: bh.plot_quantiles(res, axes=plt.subplots(1, 3)[1]), "axes has 3 elements"),
        (lambda res, frame: bh.plot_quantiles(res, alpha=2), "alpha"),
    ],
)
def test_mistakes(res, frame, mistake, says):
    with pytest.raises(bh.OptionError, match=says):
        mistake(res, frame)
