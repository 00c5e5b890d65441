"""What margins return behaves as results do: tests, bootstraps, tables, files and containers.

The oracles are the coefficients themselves, which margins of a model that is linear in its variables are, `delta` of the average written
out by hand, and closed forms.
"""

import contextlib
import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.margins import core

METHODS = ["normal", "percentile", "basic", "studentized", "bca", "sup-t"]
# The same sums in another order.
SAME = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(8)
    n = 120
    found = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.normal(size=n),
            "old": rng.integers(0, 2, n),
            "firm": np.arange(n) % 15,
            "region": rng.choice(["north", "south", "west"], n),
        },
        index=[f"row {i}" for i in range(n)],
    )
    index = 0.6 * found.x - 0.4 * found.z + 0.3 * found.old
    return found.assign(
        y=index + rng.normal(size=n) * (1.0 + 0.3 * found.old),
        yes=(index + rng.logistic(size=n) > 0).astype(float),
        grade=np.digitize(index + rng.logistic(size=n), [-0.7, 0.7]),
    )


@pytest.fixture(scope="module")
def line(frame):
    return bh.ols("y ~ x + z + old", frame).fit()


@pytest.fixture(scope="module")
def logit(frame):
    return bh.logit("yes ~ x + z", frame).fit("HC1")


COVARIANCES = {
    "nonrobust": "nonrobust",
    "HC3": "HC3",
    "CR2": bh.Cluster("firm", kind="CR2"),
    "jackknife": bh.Jackknife(),
    "pairs": bh.Bootstrap(49, seed=1),
    "clusters": bh.Bootstrap(49, clusters="firm", seed=1),
    "wild": bh.Bootstrap(49, "wild", seed=1),
    "wild clusters": bh.Bootstrap(49, "wild", clusters="firm", seed=1),
    "bayesian": bh.Bootstrap(49, "bayesian", seed=1),
    "given": bh.Given(np.diag([0.1, 0.04, 0.09, 0.2])),
}
# Those that go the way of another.
OFTEN = ("HC3", "jackknife", "clusters", "wild", "bayesian")


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in OFTEN)) for name in COVARIANCES]
)
def test_slopes_of_a_straight_line_are_its_coefficients(line, name):
    res = line.with_cov(COVARIANCES[name])
    slopes = line.avg_slopes().with_cov(COVARIANCES[name])
    names = ["x", "z", "old"]
    assert list(slopes.names) == names
    for ours, theirs in (
        (slopes.params, res.params),
        (slopes.bse, res.bse),
        (slopes.tvalues, res.tvalues),
        (slopes.pvalues, res.pvalues),
        (slopes.conf_int(0.1), res.conf_int(0.1)),
        (slopes.cov_params()[names], res.cov_params()[names]),
    ):
        np.testing.assert_allclose(ours.loc[names], theirs.loc[names], **SAME)
    for restriction in ("x = 2 * z", "x = z, old = 0.1", "b0 = b1"):
        other = restriction.replace("b0", "x").replace("b1", "z")
        ours, theirs = slopes.t_test(restriction), res.t_test(other)
        np.testing.assert_allclose(ours.pvalue, theirs.pvalue, **SAME)
        np.testing.assert_allclose(ours.conf_int(), theirs.conf_int(), **SAME)
        ours, theirs = slopes.wald_test(restriction), res.wald_test(other)
        np.testing.assert_allclose(
            [ours.statistic, ours.pvalue, ours.df_num, ours.df_denom],
            [theirs.statistic, theirs.pvalue, theirs.df_num, theirs.df_denom],
            **SAME,
        )
    ratio = [both.delta(lambda p: p["x"] / p["z"]) for both in (slopes, res)]
    np.testing.assert_allclose(*[(one.estimate, one.bse, one.pvalue) for one in ratio], **SAME)
    np.testing.assert_allclose(*[one.conf_int() for one in ratio], **SAME)
    for adjust in ("holm", "sup-t") if name in ("CR2", "pairs") else ("holm",):
        ours = slopes.tidy(adjust=adjust)
        theirs = res.tidy(adjust=bh.Adjust(adjust, drop="Intercept")).iloc[1:]
        np.testing.assert_allclose(ours[["p.value", "conf.low"]], theirs[["p.value", "conf.low"]], **SAME)
    if res.cov.draws is None:
        return
    for method in METHODS:
        try:
            expected = res.conf_int(method=method).loc[names]
        except bh.EstimationError:  # a kind without standard errors of replicates
            with pytest.raises(bh.EstimationError):
                slopes.conf_int(method=method)
            continue
        if method != "sup-t":  # a band of other numbers is another one
            np.testing.assert_allclose(slopes.conf_int(method=method), expected, **SAME)
    np.testing.assert_allclose(slopes.bootstrap_pvalues(), res.bootstrap_pvalues().loc[names], **SAME)
    np.testing.assert_allclose(
        slopes.tidy(adjust="romano-wolf")["p.value"],
        res.tidy(adjust=bh.Adjust("romano-wolf", drop="Intercept"))["p.value"].iloc[1:],
        **SAME,
    )


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_averages_of_a_curve_are_delta_of_them_written_out(logit):
    res = logit.with_cov(bh.Bootstrap(49, seed=3))
    exog = torch.tensor(logit.model.exog.to_numpy())

    def written_out(p):
        share = torch.sigmoid(exog @ p.vector)
        slope = (share * (1.0 - share)).mean()
        return torch.stack([slope * p["x"], slope * p["z"]])

    slopes, delta = res.avg_slopes(), res.delta(written_out)
    np.testing.assert_allclose(slopes.params, delta.estimate, **SAME)
    np.testing.assert_allclose(slopes.bse, delta.bse, **SAME)
    np.testing.assert_allclose(slopes.cov_params(), delta.cov(), **SAME)
    np.testing.assert_allclose(slopes.bootstrap_pvalues("equal"), delta.bootstrap_pvalue(tail="equal"), **SAME)
    for method in (None, *METHODS):
        np.testing.assert_allclose(slopes.conf_int(method=method), delta.conf_int(method=method), **SAME)
    ratios = [
        one.conf_int(method="studentized")
        for one in (slopes.delta(lambda p: p["x"] / p["z"]), res.delta(lambda p: p["x"] / p["z"]))
    ]
    np.testing.assert_allclose(*ratios, **SAME)
    rows = res.slopes("x")
    share = torch.sigmoid(exog @ res.cov.draws.mT)
    each = share * (1.0 - share) * res.cov.draws[:, 1]
    np.testing.assert_allclose(rows.bse, each.std(1), **SAME)


def test_a_function_of_margins_has_their_covariance(logit):
    slopes = logit.avg_slopes()
    labels = pd.DataFrame({"term": ["difference", "ratio"], "contrast": ""})
    found = slopes.combined(lambda m: torch.stack([m[0] - m[1], m[0] / m[1]]), labels, "Hypotheses")
    expected = slopes.delta(lambda p: [p["x"] - p["z"], p["x"] / p["z"]])
    np.testing.assert_allclose(found.bse, expected.bse, **SAME)
    assert found.names == ("difference", "ratio")
    assert "Hypotheses" in str(found)
    boot = bh.Bootstrap(49, seed=1)
    again = logit.with_cov(boot).avg_slopes().delta(lambda p: [p["x"] - p["z"], p["x"] / p["z"]])
    np.testing.assert_allclose(found.with_cov(boot).bse, again.bse, **SAME)
    np.testing.assert_allclose(found.with_cov(boot)._found._jacobians().shape, (49, 2, 3))
    kept = pickle.loads(pickle.dumps(logit.with_cov(boot).avg_slopes()))
    np.testing.assert_allclose(kept.combined(lambda m: m[:1] - m[1:], labels[:1]).bse, again.bse[:1], **SAME)


ASKED = {
    "groups": (lambda res: res.avg_slopes(by="old"), "HC1"),
    "bootstrap": (lambda res: res.avg_slopes(), bh.Bootstrap(39, seed=1)),
    "wild clusters": (lambda res: res.avg_slopes("x"), bh.Bootstrap(39, "wild", clusters="firm", seed=1)),
    "predictions": (lambda res: res.predictions(), "HC1"),
    "rows": (lambda res: res.slopes("x"), bh.Bootstrap(39, seed=1)),
}


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
@pytest.mark.parametrize("name", ASKED)
def test_files_and_pickles_say_the_same(line, tmp_path, name):
    ask, covariance = ASKED[name]
    made = ask(line.with_cov(covariance))
    for again in (
        bh.load(made.save(tmp_path / "margins.betahat")),
        pickle.loads(pickle.dumps(made)),
        bh.load(made.save(tmp_path / "few.betahat", remove_data=True)),
    ):
        np.testing.assert_array_equal(again.coefficient_table(), made.coefficient_table())
        np.testing.assert_array_equal(again.conf_int(), made.conf_int())
        assert again.names == made.names
        assert str(again) == str(made)
        assert again.cov_type == made.cov_type
        pd.testing.assert_series_equal(again.params, made.params)
        pd.testing.assert_frame_equal(again.labels, made.labels)
        assert again.with_use_t(True).use_t
        if made.of.cov.draws is not None:
            np.testing.assert_array_equal(again.conf_int(method="basic"), made.conf_int(method="basic"))
            with pytest.raises(bh.EstimationError, match="margins without their derivatives"):
                pickle.loads(pickle.dumps(made)).conf_int(method="studentized")
    whole = bh.load(tmp_path / "margins.betahat")
    np.testing.assert_array_equal(whole.with_cov("HC3").bse, made.with_cov("HC3").bse)
    pd.testing.assert_frame_equal(whole.tidy(), made.tidy())
    with pytest.raises(
        bh.EstimationError,
        match=r"as numbers, which a bootstrap cannot draw anew; take the margins of the results again",
    ):
        whole.with_cov(bh.Bootstrap(9, seed=2))
    assert copy.deepcopy(made) is made
    assert copy.copy(made) is made


def test_a_file_of_other_sizes_is_refused(line, tmp_path):
    made = line.avg_slopes()
    broken = type(made)(made.of, made.labels, made.estimates[:2], made.jacobian, made.function)
    with pytest.raises(bh.DataError, match="does not contain betahat results"):
        bh.load(broken.save(tmp_path / "margins.betahat"))


def test_nothing_of_them_can_be_changed(logit):
    slopes = logit.avg_slopes()
    before = slopes.tidy()
    slopes.estimates.fill_(0.0)
    slopes.jacobian.fill_(0.0)
    labels = slopes.labels
    labels["term"] = "no"
    params = slopes.params
    params[:] = 0.0
    slopes.interval_table()[:] = 0.0
    slopes.cov.matrix.fill_(0.0)
    pd.testing.assert_frame_equal(slopes.tidy(), before)


def test_the_container_is_that_of_the_data(frame):
    y, x = frame["yes"].to_numpy(), np.column_stack([np.ones(len(frame)), frame[["x", "z"]]])
    labelled = bh.logit("yes ~ x + z", frame).fit().avg_slopes()
    for kind, convert in ((np.ndarray, np.asarray), (torch.Tensor, torch.tensor)):
        found = bh.Logit(convert(y), convert(x)).fit().avg_slopes()
        for values, expected in (
            (found.params, labelled.params),
            (found.cov_params(), labelled.cov_params()),
            (found.conf_int(), labelled.conf_int()),
        ):
            assert isinstance(values, kind)
            np.testing.assert_allclose(values, expected, rtol=1e-8)
    assert isinstance(labelled.params, pd.Series)
    assert isinstance(labelled.cov_params(), pd.DataFrame)
    assert list(labelled.cov_params().columns) == ["x", "z"]


def test_names_of_rows_are_written_only_if_asked_for(frame, monkeypatch):
    logit = bh.logit("yes ~ x + z", frame).fit()

    def refuse(*_):
        raise AssertionError("names are not needed")

    monkeypatch.setattr(core, "named", refuse)
    found = logit.slopes("x")
    assert list(found.params.index[:2]) == ["row 0", "row 1"]
    assert found.bse.index.equals(frame.index)
    several = logit.slopes()
    assert several.params.index.names == ["term", None]
    assert len(several.params) == 240
    assert list(several.conf_int().loc["z"].index[:1]) == ["row 0"]
    tidy = several.tidy()
    np.testing.assert_array_equal(tidy["x"], np.tile(frame["x"], 2))
    assert list(tidy.columns[:4]) == ["term", "contrast", "rowid", "estimate"]


def test_what_many_numbers_cannot_have(frame):
    long = pd.concat([frame] * 42, ignore_index=True)
    found = bh.ols("y ~ x", long).fit().predictions()
    for ask in (found.cov_params, lambda: found.t_test([1.0] * 5040), lambda: found.delta(lambda p: p[0])):
        with pytest.raises(
            bh.EstimationError, match=r"of 5,040 numbers needs a matrix with a row and a column for each; take averages"
        ):
            ask()
    assert "..." in str(found)
    assert "10 of 5,040 numbers." in str(found)
    assert len(str(found).splitlines()) < 20
    assert len(found.summary().to_frame()) == 5040


def test_covariances_without_numbers(line):
    slopes = line.avg_slopes()
    flat = slopes.with_cov(bh.Given(np.zeros((4, 4))))
    assert (flat.bse == 0.0).all()
    assert flat.tvalues.isna().all()
    assert flat.pvalues.isna().all()
    with pytest.warns(bh.ClusterWarning, match="has 2 clusters"):
        few = line.with_cov(bh.Cluster(np.arange(120) % 2)).avg_slopes()
    with pytest.warns(bh.ClusterWarning, match="no joint test"):
        assert np.isnan(few.wald_test("x = 0, z = 0").statistic)
    with pytest.warns(bh.ClusterWarning, match="1 restriction of 1 have no variance"):
        flat.t_test("x = 0")


def test_collinear_columns(frame):
    with pytest.warns(bh.CollinearityWarning):
        res = bh.ols("y ~ x + two + z", frame.assign(two=2.0 * frame.x)).fit()
    with pytest.warns(bh.CollinearityWarning):
        slopes = res.avg_slopes()
    assert slopes.unidentified == ("x", "two")
    assert slopes.cov_params().isna().sum().sum() == 8
    np.testing.assert_allclose(slopes.t_test("x + 2 * two = 0").effect, res.t_test("x + 2 * two = 0").effect)
    with pytest.raises(bh.EstimationError, match="do not identify"):
        slopes.t_test("x = 0")
    assert "Not identified, as columns are collinear: x, two" in str(bh.regtable(slopes))


def test_tables_and_pictures(logit, frame):
    by = bh.logit("yes ~ x + z + old", frame).fit().avg_slopes(["x", "z"], by="old")
    assert by.names == ("x:old=0", "x:old=1", "z:old=0", "z:old=1")
    text = str(bh.regtable([logit, logit.avg_slopes(), by], below=["se", "ci"], rename={"x": "Years", "old=1": "Old"}))
    assert "Years" in text
    assert "  Old" in text
    assert text.count("120") == 3
    html = logit.avg_slopes()._repr_html_()
    assert "<table" in html
    assert "Average slopes" in html
    assert r"\begin{tabular}" in logit.avg_slopes().summary(title="Slopes", digits=2).to_latex()
    axes = by.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "z"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["old=0", "old=1"]
    np.testing.assert_allclose(axes.lines[2].get_xdata(), by.params.to_numpy()[1::2])
    ratios = logit.avg_comparisons(comparison="lnratio")
    np.testing.assert_allclose(ratios.tidy(exponentiate=True)["estimate"], np.exp(ratios.params))
    boot = logit.with_cov(bh.Bootstrap(39, seed=1)).avg_slopes()
    assert bh.plot_draws(boot, "x", method="normal").get_xlabel() == "x"
    assert [logit.with_cov(bh.HC3()).avg_slopes().goodness, logit.nobs] == [logit.goodness, boot.nobs]


def test_outcomes_are_titles(frame):
    found = bh.mnlogit("grade ~ x", frame).fit().avg_slopes("x")
    assert found.names == ("grade=0:x", "grade=1:x", "grade=2:x")
    assert abs(found.params.sum()) < 1e-12
    assert found.delta(lambda p: p["grade=0:x"] + p["grade=1:x"] + p["grade=2:x"]).estimate == pytest.approx(
        0.0, abs=1e-12
    )
    everyone = bh.mnlogit("grade ~ x", frame).fit().avg_predictions()
    assert everyone.names == ("grade=0:Prediction", "grade=1:Prediction", "grade=2:Prediction")


def test_another_null(logit):
    found = logit.avg_slopes(hypothesis=0.1)
    np.testing.assert_allclose(found.tvalues, (found.params - 0.1) / found.bse)
    assert "tested against 0.1." in str(found)
    np.testing.assert_allclose(found.tidy(adjust="bonferroni")["p.value"], np.minimum(2.0 * found.pvalues, 1.0))
    with pytest.raises(bh.OptionError, match=r"the null of these is 0\.1; use a method that goes by p-values"):
        found.tidy(adjust="sup-t")


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_numbers_that_are_not_linear_have_errors_of_wild_replicates(line):
    res = line.with_cov(bh.Bootstrap(39, "wild", clusters="firm", seed=1))
    found = res.avg_comparisons("x", comparison="lift", newdata="mean")
    mean = line.model.exog.to_numpy().mean(0)
    mean[3] = line.model.exog["old"].mode().iloc[0]

    def lift(p):
        low = sum(p[i] * float(value) for i, value in enumerate(mean)) - 0.5 * p["x"]
        return p["x"] / low

    expected = res.delta(lift)
    np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-8)
    np.testing.assert_allclose(found.pvalues, expected.pvalue, rtol=1e-8)


def test_an_indefinite_covariance(line):
    matrix = np.array(line.cov_params())
    matrix[1, 2] = matrix[2, 1] = 3.0 * np.sqrt(matrix[1, 1] * matrix[2, 2])
    res = line.with_cov(bh.Given(matrix))
    slopes = res.avg_slopes()
    np.testing.assert_allclose(slopes.bse, res.bse.iloc[1:])
    for restriction in ("x = z", "x + z = 0"):
        with pytest.warns(bh.ClusterWarning) if restriction == "x = z" else contextlib.nullcontext():
            ours = slopes.t_test(restriction)
        with pytest.warns(bh.ClusterWarning) if restriction == "x = z" else contextlib.nullcontext():
            theirs = res.t_test(restriction)
        np.testing.assert_allclose(ours.sd, theirs.sd)
    with pytest.warns(bh.ClusterWarning, match="not positive semi-definite"):
        assert np.isnan(slopes.wald_test("x = 0, z = 0").statistic)


def test_covariances_beside_each_other(line):
    slopes = line.avg_slopes()
    both = [bh.compare(slopes, ["HC1", "HC3"]), bh.compare(slopes, cov=["HC1", "HC3"])]
    assert str(both[0]) == str(both[1])
    with pytest.raises(bh.OptionError, match="two names of the same"):
        bh.compare(slopes, ["HC1"], cov=["HC3"])


def test_a_column_called_group(frame):
    res = bh.ols("y ~ x + z", frame.assign(group=frame.old)).fit()
    slopes = res.avg_slopes(["x", "z"], by="group")
    assert slopes.names == ("x:group=0", "x:group=1", "z:group=0", "z:group=1")
    assert res.avg_predictions(by="group").names == ("group=0", "group=1")
    assert len(slopes.plot().get_legend().get_texts()) == 2
    axes = bh.plot_predictions(res, by="group")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]
    assert axes.get_ylabel() == "y"
    several = bh.mnlogit("grade ~ x", frame.assign(group=frame.old)).fit()
    with pytest.raises(
        bh.OptionError, match="by has 'group', which is also what a column of the table of margins is called"
    ):
        several.avg_slopes(by="group")
    assert list(res.slopes("x", newdata=frame.assign(estimate=1.0)).tidy().columns).count("estimate") == 1


def test_quantiles_are_outcomes_of_their_own(frame):
    """Their title is not the dependent variable's value, as that of a class is."""
    slopes = bh.quantreg("y ~ x", frame).fit(q=[0.25, 0.5]).avg_slopes()
    assert slopes.equation_terms == (("q=0.25", "x"), ("q=0.5", "x"))
    assert "y=q" not in slopes.summary().to_text() + bh.regtable(slopes).to_text()
