"""Several hypotheses at once: against loops over draws, across the columns of a table, and what cannot be adjusted."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.stats.multitest as multitest
from pyfixest.estimation.post_estimation.multcomp import _get_rwolf_pval
from support.closeness import close
from support.staggered import panel

import betahat as bh

# Shares of draws are counts over R + 1, and products are each rounded once.
ROUNDING = 1e-12
# Intervals by points of a Sobol sequence: see tests/golden/test_multiple.py.
INTEGRATED = 2e-3


@pytest.fixture(scope="module")
def trial():
    random = np.random.default_rng(18)
    data = pd.DataFrame({"treated": np.arange(120) % 2, "x": random.normal(size=120), "firm": np.arange(120) // 6})
    shared = random.normal(size=120)
    for i, effect in enumerate([0.0, 0.3, 0.6, 0.9]):
        data[f"y{i}"] = effect * data.treated + 0.2 * data.x + shared + random.normal(size=120)
    data["hit"] = (data.y2 > 0).astype(int)
    return data


@pytest.fixture(scope="module")
def outcomes(trial):
    pairs = bh.Bootstrap(99, seed=4)
    return [bh.ols(f"y{i} ~ treated + x", trial).fit(pairs) for i in range(4)]


def _loop(statistics, draws):
    """Romano and Wolf's p-values, hypothesis by hypothesis."""
    order, found, before = np.argsort(-statistics, kind="stable"), np.empty(len(statistics)), 0.0
    for step, j in enumerate(order):
        largest = [max(abs(draw[k]) for k in order[step:]) for draw in draws]
        before = max(before, (sum(top >= statistics[j] for top in largest) + 1) / (len(draws) + 1))
        found[j] = before
    return found


@pytest.mark.parametrize(
    "method", ["bonferroni", "sidak", "holm", "holm-sidak", "simes-hochberg", "hommel", "fdr_bh", "fdr_by"]
)
def test_statsmodels_methods(outcomes, method):
    res = outcomes[3].with_cov("HC1")
    close(res.tidy(adjust=method)["p.value"], multitest.multipletests(res.pvalues, method=method)[1], ROUNDING)
    level = {"sidak": 1 - 0.9 ** (1 / 3), "holm-sidak": 1 - 0.9 ** (1 / 3)}.get(
        method, 0.1 if "fdr" in method else 0.1 / 3
    )
    bounds = res.tidy(0.9, adjust=method)[["conf.low", "conf.high"]]
    close(bounds, res.conf_int(level), ROUNDING)


@pytest.mark.parametrize("name", ["BH", "Benjamini-Hochberg", "fdr_bh", "fdr"])
def test_names_of_one_method(outcomes, name):
    pd.testing.assert_frame_equal(outcomes[0].tidy(adjust=name), outcomes[0].tidy(adjust="fdr_bh"))


def test_romano_wolf_by_a_loop(outcomes):
    """Each replicate is divided by its own standard error."""
    res = outcomes[2]
    eye = res._pair.identity
    own, each = res.cov.resampling.variances(eye, eye[None])
    draws = (res.cov.draws - res.fit.params).numpy() / each.sqrt().numpy()
    statistics = np.abs(res.params.to_numpy()) / own.sqrt().numpy()
    found = res.tidy(adjust="romano-wolf")["p.value"]
    close(found, _loop(statistics, draws), ROUNDING)
    close(found, _get_rwolf_pval(statistics, draws), ROUNDING)
    band = res.tidy(adjust="romano-wolf")[["conf.low", "conf.high"]]
    close(band, res.conf_int(method="sup-t"), ROUNDING)


def test_sup_t_of_replicates_is_that_of_intervals(outcomes):
    res = outcomes[1]
    table = res.tidy(0.9, adjust="sup-t")
    close(table[["conf.low", "conf.high"]], res.conf_int(0.1, method="sup-t"), ROUNDING)
    largest = np.abs((res.cov.draws.numpy() - res.params.to_numpy()) / res.bse.to_numpy()).max(1)
    shares = [(np.sum(largest >= t) + 1) / 100 for t in np.abs(res.tvalues)]
    close(table["p.value"], shares, ROUNDING)
    # an interval that leaves out zero goes with a small p-value
    outside = (table["conf.low"] > 0) | (table["conf.high"] < 0)
    assert (outside == (table["p.value"] <= 0.1)).all()


def test_kinds_without_their_own_errors_take_those_of_the_bootstrap(trial):
    res = bh.logit("hit ~ treated + x", trial).fit(bh.Bootstrap(199, "score", seed=1))
    draws = (res.cov.draws.numpy() - res.params.to_numpy()) / res.bse.to_numpy()
    close(res.tidy(adjust="rw")["p.value"], _loop(np.abs(res.tvalues.to_numpy()), draws), ROUNDING)
    own = bh.Covariance(res.cov.matrix, "mine", "Mine", draws=res.cov.draws)
    mine = res.with_cov(lambda fit: own)
    close(mine.tidy(adjust="rw")["p.value"], res.tidy(adjust="rw")["p.value"], ROUNDING)


def test_wild_clusters_impose_the_null(trial):
    """t statistics of the restricted draws, as pyfixest's `rwolf` takes them."""
    wild = bh.Bootstrap(199, "wild", clusters="firm", seed=2)
    res = [bh.ols(f"y{i} ~ treated + x", trial).fit(wild) for i in range(3)]
    table = bh.regtable(res, adjust=bh.Adjust("romano-wolf", keep="treated", across=True), below="p").to_frame()
    tests = [each.cov.resampling.test for each in res]
    row = res[0]._pair.identity[1:2]
    pairs = [test.statistics(row) for test in tests]
    statistics = np.array([abs(float(t)) for t, _ in pairs])
    draws = np.column_stack([drawn.numpy()[:, 0] for _, drawn in pairs])
    close(table.loc[("treated", "P>|t|")], _loop(statistics, draws), ROUNDING)
    for each, (t, drawn) in zip(res, pairs, strict=True):
        assert each.pvalues["treated"] == (drawn.abs() > abs(float(t))).double().mean()


def test_all_columns_are_one_family(outcomes):
    kept = bh.Adjust("holm", keep="treated", across=True)
    table = bh.regtable(outcomes, adjust=kept, below=["p", "ci"])
    own = [res.pvalues["treated"] for res in outcomes]
    close(table.to_frame().loc[("treated", "P>|t|")], multitest.multipletests(own, method="holm")[1], ROUNDING)
    bounds = table.to_frame().loc[[("treated", "[0.025"), ("treated", "0.975]")]].T
    close(bounds, [res.conf_int(0.05 / 4).loc["treated"] for res in outcomes], ROUNDING)
    assert table.to_frame().loc[("x", "P>|t|"), "(2)"] == outcomes[1].pvalues["x"]
    assert table.layout.notes[-1] == (
        "P-values are adjusted for 4 hypotheses of all columns together by Holm's method; intervals are simultaneous by Bonferroni's method."
    )


def test_the_same_seed_draws_the_same_rows_in_all_columns(outcomes):
    table = bh.regtable(outcomes, adjust=bh.Adjust("sup-t", keep="treated", across=True), below=["p", "ci"]).to_frame()
    draws = np.column_stack([(r.cov.draws[:, 1] - r.fit.params[1]).numpy() / r.bse["treated"] for r in outcomes])
    largest = np.abs(draws).max(1)
    close(
        table.loc[("treated", "P>|t|")],
        [(np.sum(largest >= abs(r.tvalues["treated"])) + 1) / 100 for r in outcomes],
        ROUNDING,
    )
    critical = np.sort(largest)[94]
    ends = [[r.params["treated"] + s * critical * r.bse["treated"] for s in (-1, 1)] for r in outcomes]
    close(table.loc[[("treated", "[0.025"), ("treated", "0.975]")]].T, ends, ROUNDING)


def test_a_column_may_have_no_hypothesis(outcomes, trial):
    without = bh.ols("y0 ~ x", trial).fit(bh.Bootstrap(99, seed=4))
    for method in ("holm", "romano-wolf"):
        table = bh.regtable([outcomes[3], without], adjust=bh.Adjust(method, keep="treated"), below="p").to_frame()
        assert table.loc[("x", "P>|t|"), "(2)"] == without.pvalues["x"]
    assert (
        "1 hypothesis in each column"
        in bh.regtable([outcomes[3], without], adjust=bh.Adjust("holm", "treated")).layout.notes[-1]
    )


def test_what_is_shown_is_what_is_tested(outcomes):
    res = outcomes[2]
    table = bh.regtable(res, drop="Intercept", adjust="bonferroni", below="p").to_frame()["(1)"]
    close(table.loc[(slice(None), "P>|t|")], np.minimum(1.0, 2.0 * res.pvalues[1:]), ROUNDING)
    assert "2 hypotheses by Bonferroni" in bh.regtable(res, drop="Intercept", adjust="bonferroni").layout.notes[-1]
    text = bh.regtable([res, outcomes[0]], indicate={"x": "x"}, adjust="fdr_bh", below="ci").layout.notes[-1]
    assert text == (
        "P-values are adjusted for 2 hypotheses in each column by Benjamini and Hochberg's false discovery rate; intervals are those of single "
        "coefficients."
    )
    both = bh.regtable([res, bh.ols("y1 ~ x", res.model.data.frame).fit()], adjust="sidak", below="ci").layout.notes[-1]
    assert both == "P-values and intervals are adjusted for 2 to 3 hypotheses in each column by Šidák's method."


def test_ratios_take_the_transformed_intervals(trial):
    res = bh.logit("hit ~ treated + x", trial).fit()
    plain, ratios = res.tidy(adjust="sup-t"), res.tidy(exponentiate=True, adjust="sup-t")
    close(ratios[["conf.low", "conf.high"]], np.exp(plain[["conf.low", "conf.high"]]), ROUNDING)
    close(ratios["p.value"], plain["p.value"], ROUNDING)


def test_parameters_without_a_test_are_no_hypotheses(trial):
    counts = trial.assign(n=np.random.default_rng(3).negative_binomial(1, 0.3, 120), twice=2 * trial.x)
    negative = bh.negativebinomial("n ~ treated + x", counts).fit()
    assert negative.tidy(adjust="bonferroni")["p.value"].iloc[-1] == negative.pvalues["alpha"]
    with pytest.warns(bh.CollinearityWarning):
        dropped = bh.ols("y0 ~ x + twice + treated", counts).fit(bh.Bootstrap(99, seed=1), rank="drop")
    for method, times in (("bonferroni", 3), ("romano-wolf", None), ("sup-t", None)):
        table = dropped.tidy(adjust=method).set_index("term")
        assert np.isnan(table.loc["twice", "p.value"])
        if times:
            assert table.loc["treated", "p.value"] == min(1, times * dropped.pvalues["treated"])
        else:
            alone = dropped.tidy(adjust=bh.Adjust(method, keep="treated")).set_index("term")
            assert alone.loc["treated", "p.value"] <= table.loc["treated", "p.value"]


def test_sup_t_of_one_coefficient_is_its_own_test(trial):
    for cov in ("nonrobust", "HC1", bh.Cluster("firm", kind="CR2")):
        res = bh.ols("y2 ~ treated + x", trial).fit(cov)
        one = res.tidy(adjust=bh.Adjust("sup-t", keep="x")).set_index("term")
        close(one.loc["x", "p.value"], res.pvalues["x"], ROUNDING)
        reach = (one["conf.high"] - one["conf.low"])["x"]
        close(reach, np.diff(res.conf_int().loc["x"])[0], INTEGRATED)


def test_independent_coefficients_have_sidaks_intervals():
    """Orthogonal columns and the normal distribution: the largest of m independent statistics."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(40, 6)))[0]
    res = bh.OLS(random.normal(size=40), basis).fit(use_t=False)
    sup, sidak = res.tidy(adjust="sup-t"), res.tidy(adjust="sidak")
    close(sup["conf.high"] - sup["conf.low"], sidak["conf.high"] - sidak["conf.low"], INTEGRATED)
    assert np.abs(sup["p.value"] - sidak["p.value"]).max() < INTEGRATED


def test_failed_replicates_are_left_out_of_all_columns(trial):
    """A rare dummy is lost in some replicates of one model only; the others are still the same draws."""
    rare = trial.assign(
        rare=(np.arange(120) == 7) | (np.arange(120) == 50) | (np.arange(120) == 51) | (np.arange(120) == 99)
    )
    pairs = bh.Bootstrap(199, seed=4)
    one = bh.ols("y1 ~ treated + rare", rare).fit(pairs)
    two = bh.ols("y2 ~ treated", rare).fit(pairs)
    failed = one.cov.resampling.failed
    assert 0 < failed < 10
    table = bh.regtable([one, two], adjust=bh.Adjust("sup-t", keep="treated", across=True), below="p").to_frame()
    held = one.cov.resampling.found.found.numpy()
    left = (one.cov.draws[:, 2] - one.fit.params[2]).numpy() / one.bse["treated"]
    right = (two.cov.draws[:, 1] - two.fit.params[1]).numpy()[held] / two.bse["treated"]
    largest = np.maximum(np.abs(left), np.abs(right))
    expected = [(np.sum(largest >= abs(r.tvalues["treated"])) + 1) / (len(left) + 1) for r in (one, two)]
    close(table.loc[("treated", "P>|t|")], expected, ROUNDING)
    bare = one.remove_data()
    with pytest.raises(bh.EstimationError, match="which ones went with the data"):
        bh.regtable([bare, bare.with_use_t(True)], adjust=bh.Adjust("sup-t", across=True))


WRONG = {
    "a name": (lambda a, b: a.tidy(adjust="bonferoni"), "did you mean 'bonferroni'"),
    "a number": (lambda a, b: a.tidy(adjust=3), "adjust is 3; pass a name, such as 'holm'"),
    "a flag": (lambda a, b: bh.Adjust("holm", across="yes"), "across is 'yes'"),
    "no replicates": (lambda a, b: a.with_cov("HC1").tidy(adjust="romano-wolf"), "needs bootstrap replicates"),
    "across without replicates": (
        lambda a, b: bh.regtable([a.with_cov("HC1"), b.with_cov("HC1")], adjust=bh.Adjust("sup-t", across=True)),
        "some are no bootstrap's of betahat",
    ),
    "other seeds": (
        lambda a, b: bh.regtable([a, b.with_cov(bh.Bootstrap(99, seed=5))], adjust=bh.Adjust("rw", across=True)),
        "their bootstraps differ in seed",
    ),
    "other rows": (
        lambda a, b: bh.regtable(
            [a, bh.ols("y0 ~ treated", a.model.data.frame[:-1]).fit(bh.Bootstrap(99, seed=4))],
            adjust=bh.Adjust("rw", across=True),
        ),
        "they do not have the same rows, or clusters",
    ),
    "no rows": (
        lambda a, b: bh.regtable([a.remove_data(), b.remove_data()], adjust=bh.Adjust("sup-t", across=True)),
        "some were kept without their data",
    ),
    "nothing to test": (
        lambda a, b: bh.regtable([a, b], adjust=bh.Adjust("holm", drop=re.compile("."))),
        "finds no hypothesis",
    ),
    "method and adjust": (lambda a, b: bh.coefplot(a, method="basic", adjust="sup-t"), "omit one of them"),
    "a figure of a rate": (lambda a, b: bh.coefplot(a, adjust="bh"), "has no intervals to draw"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_adjusted_is_a_sentence(outcomes, case):
    call, message = WRONG[case]
    with pytest.raises(bh.BetahatError, match=re.escape(message)):
        call(*outcomes[:2])


def test_results_of_others(trial):
    import statsmodels.formula.api as smf

    theirs, ours = smf.ols("y2 ~ treated + x", trial).fit(), bh.ols("y2 ~ treated + x", trial).fit()
    table = bh.regtable([theirs, ours], adjust="holm", below=["p", "ci"]).to_frame()
    close(table["(1)"], table["(2)"], 1e-9)
    with pytest.raises(bh.OptionError, match="do not hand over"):
        bh.regtable(theirs, adjust="sup-t")


def test_clusters_of_two_samples_are_the_same_units(trial):
    """Rows may differ as long as the clusters that are drawn do not; blocks of time are units of their own."""
    pairs = bh.Bootstrap(99, clusters="firm", seed=1)
    a, b = bh.ols("y0 ~ treated", trial).fit(pairs), bh.ols("y1 ~ treated", trial[trial.index != 3]).fit(pairs)
    c = bh.ols("y1 ~ treated", trial[trial.firm != 3]).fit(pairs)
    d = bh.ols("y1 ~ treated", trial).fit(bh.Bootstrap(99, seed=1))
    across = bh.Adjust("rw", keep="treated", across=True)
    assert "2 hypotheses of all columns" in bh.regtable([a, b], adjust=across).layout.notes[-1]
    for other in (c, d):
        with pytest.raises(bh.OptionError, match="do not have the same rows, or clusters"):
            bh.regtable([a, other], adjust=across)


def test_the_figure_has_the_intervals_of_the_table(outcomes):
    pytest.importorskip("matplotlib")
    axes = bh.coefplot(outcomes[3], drop="Intercept", adjust="sup-t")
    assert axes.get_xlabel() == "Estimate with 95% simultaneous interval"
    drawn = axes.collections[0].get_segments()
    table = outcomes[3].tidy(adjust=bh.Adjust("sup-t", drop="Intercept")).iloc[1:]
    close([segment[:, 0] for segment in drawn], table[["conf.low", "conf.high"]], ROUNDING)


def test_margins_and_event_studies_are_families_too(trial):
    res = bh.logit("hit ~ treated + x", trial).fit(bh.Bootstrap(99, "score", seed=1))
    margins = res.avg_slopes()
    draws = np.abs((margins._found.replicated.draws.numpy() - margins.estimates.numpy()) / margins.bse.to_numpy())
    close(margins.tidy(adjust="rw")["p.value"], _loop(np.abs(margins.tvalues.to_numpy()), draws), ROUNDING)
    close(margins.tidy(adjust="sup-t")[["conf.low", "conf.high"]], margins.conf_int(method="sup-t"), ROUNDING)
    both = bh.regtable([margins, margins], adjust=bh.Adjust("holm", across=True), below="p").to_frame()
    close(
        both["(1)"].xs("P>|t|", level=1),
        multitest.multipletests([*margins.pvalues] * 2, method="holm")[1][:2],
        ROUNDING,
    )
    plain = margins.with_cov("HC1")
    close(plain.tidy(adjust="sup-t")["p.value"], plain.tidy(adjust="sidak")["p.value"], 0.05)  # nearly independent
    study = bh.event_study(panel(), "y", "unit", "year", "cohort")
    wild = study.with_cov(bh.Bootstrap(99, "wild", clusters="unit", seed=1))
    table, own = study.tidy(adjust="sup-t"), study.tidy()
    assert (table["conf.high"] - table["conf.low"] > own["conf.high"] - own["conf.low"]).all()
    for one in (study, wild):
        assert (one.tidy(adjust="sup-t")["p.value"] >= one.tidy()["p.value"]).all()
    t, draws = wild.cov.resampling.test.statistics(wild._matrix)
    close(wild.tidy(adjust="rw")["p.value"], _loop(t.abs().numpy(), draws.numpy()), ROUNDING)
