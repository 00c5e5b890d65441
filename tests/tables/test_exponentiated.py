"""Ratios: exp(b), errors by the delta method, transformed intervals, unchanged tests; in tables, figures and tidy frames."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

# exp and a product are each rounded once.
ROUNDING = 1e-15


@pytest.fixture(scope="module")
def counts():
    random = np.random.default_rng(8)
    data = pd.DataFrame({"x": random.normal(size=150), "z": random.integers(0, 2, size=150)})
    data["y"] = random.negative_binomial(2, 2 / (2 + np.exp(0.3 * data.x)))
    data["grade"] = random.integers(0, 3, size=150)
    data["firm"] = np.arange(150) % 11
    return data


def test_a_table_of_odds(logit):
    table = bh.regtable(logit, exponentiate=True, below=["se", "t", "p", "ci"], alpha=0.1)
    for name in logit.params.index:
        ratio, error, *tests, low, high = table.to_frame()["(1)"][name]
        assert ratio == np.exp(logit.params[name])
        np.testing.assert_allclose(error, logit.delta(lambda p, name=name: p[name].exp()).bse, rtol=1e-12)
        np.testing.assert_array_equal(tests, [logit.tvalues[name], logit.pvalues[name]])
        np.testing.assert_array_equal([low, high], np.exp(logit.conf_int(0.1).loc[name]))
    assert table.layout.notes[1] == "Coefficients are exponentiated; standard errors by the delta method."


def test_each_column_may_say(short, logit):
    table = bh.regtable([short, logit], exponentiate=[False, True], below="ci")
    assert table.to_frame().loc[("educ", "coef"), "(1)"] == short.params["educ"]
    assert table.to_frame().loc[("educ", "coef"), "(2)"] == np.exp(logit.params["educ"])
    assert table.layout.notes[1] == "Coefficients in column 2 are exponentiated."
    three = bh.regtable([short, logit, logit], exponentiate=[False, True, True], below=None)
    assert three.layout.notes[0] == "Coefficients in columns 2 and 3 are exponentiated."
    assert len(bh.regtable([short, logit], exponentiate=[False, False]).layout.notes) == 1


def test_parameters_that_are_no_coefficients_stay(counts):
    negative, ordered = bh.negativebinomial("y ~ x + z", counts).fit(), bh.ordered("grade ~ x", counts).fit()
    for model, single in ((negative, ["alpha"]), (ordered, list(ordered.thresholds.names))):
        table = bh.regtable(model, exponentiate=True, below=["se", "ci"])
        plain = bh.regtable(model, below=["se", "ci"])
        for (name, _), value in table.to_frame()["(1)"].items():
            kept = name in single or name in [f"Cut points:{cut}" for cut in single]
            assert kept == bool((plain.to_frame()["(1)"][name] == table.to_frame()["(1)"][name]).all()), (name, value)
        assert f"except for {single[0]}" in table.layout.notes[1]
        tidy = model.tidy(exponentiate=True).set_index("term")["estimate"]
        assert tidy["x"] == np.exp(model.params["x"])
        assert tidy.iloc[-1] == model.tidy()["estimate"].iloc[-1]


def test_intervals_are_those_of_the_covariance(counts):
    wild = bh.ols("y ~ x", counts).fit(bh.Bootstrap(99, clusters="firm", seed=1))
    table = bh.regtable(wild, exponentiate=True, below="ci")
    np.testing.assert_array_equal(table.to_frame()["(1)"]["x"][1:], np.exp(wild.conf_int().loc["x"]))


def test_tidy(logit):
    plain, ratios = logit.tidy(0.9), logit.tidy(0.9, exponentiate=True)
    for name in ("estimate", "conf.low", "conf.high"):
        np.testing.assert_array_equal(ratios[name], np.exp(plain[name]))
    np.testing.assert_allclose(ratios["std.error"], plain["std.error"] * ratios["estimate"], rtol=ROUNDING)
    pd.testing.assert_frame_equal(ratios[["term", "statistic", "p.value"]], plain[["term", "statistic", "p.value"]])
    with pytest.raises(bh.OptionError, match="exponentiate is 'yes'; use True or False"):
        logit.tidy(exponentiate="yes")


def test_a_figure_of_ratios(logit, counts):
    pytest.importorskip("matplotlib").use("agg")
    ax = bh.coefplot(logit, exponentiate=True, drop="Intercept")
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "Exponentiated estimate with 95% interval"
    points = ax.lines[-1].get_xdata()
    np.testing.assert_array_equal(points, np.exp(logit.params.drop("Intercept")))
    low, high = ax.collections[0].get_segments()[0][:, 0]
    np.testing.assert_array_equal([low, high], np.exp(logit.conf_int().loc["educ"]))
    names = [label.get_text() for label in bh.coefplot(bh.negativebinomial("y ~ x", counts).fit(), exponentiate=True).get_yticklabels()]  # fmt: skip
    assert names == ["Intercept", "x"]
    with pytest.raises(bh.OptionError, match="exponentiate is 3; use True or False"):
        bh.coefplot(logit, exponentiate=3)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("yes", "exponentiate is 'yes'"),
        ([True], "exponentiate has 1 value for 2 columns"),
        ([1, "b"], "exponentiate is 'b'"),
    ],
)
def test_bad_options(short, logit, option, sentence):
    with pytest.raises(bh.OptionError, match=sentence):
        bh.regtable([short, logit], exponentiate=option)


def test_ratios_beyond_all_numbers(counts):
    res = bh.ols("y ~ x", counts.assign(x=counts.x * 1e-4, y=counts.y * 1e3)).fit()
    rows = {line.name: line.cells[0].text for line in bh.regtable(res, exponentiate=True, below=None).layout.lines}
    assert rows["x"] in ("inf", "0.0000")
