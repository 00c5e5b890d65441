"""Who is treated when: codes of the never treated, periods, rows that cannot be compared, and the sentences that say so."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from support.closeness import close
from support.staggered import panel

import betahat as bh

SAME = 1e-12


def study(data, **options):
    return bh.event_study(data, "y", "unit", "year", "cohort", **options)


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (np.nan, {}),
        (np.inf, {}),
        (pd.NA, {}),
        (2050, {}),
        (-1, {"never": -1}),
        (0, {"never": [0, -1]}),
        (1990, {"never": 1990}),
    ],
    ids=str,
)
def test_codes_of_the_never_treated(code, options):
    data = panel(gaps=0.1)
    true = study(data, estimator="sunab")
    kind = "Int64" if code is pd.NA else float
    data["cohort"] = data.cohort.astype(kind).mask(data.cohort == 0, code)
    for other in (study(data, **options), study(data, estimator="did2s", **options)):
        assert other.names == true.names
    close(study(data, **options).params, true.params, SAME)
    close(study(data, **options).bse, true.bse, SAME)


def test_frames_of_other_libraries_and_dicts():
    data = panel()
    true = study(data).att()
    for given in (pl.from_pandas(data), data.to_dict("list")):
        close(study(given).att().bse, true.bse, SAME)


def test_monthly_periods():
    data = panel()
    true = study(data)
    months = pd.PeriodIndex.from_ordinals(range(600, 700), freq="M")
    data["year"] = months[data.year - 1960]
    data["cohort"] = pd.Series(months[(data.cohort - 1960).clip(lower=0)]).mask(data.cohort == 0)
    found = study(data)
    close(found.params, true.params, SAME)
    assert found.by_cohort().names == (f"cohort::{months[44]}", f"cohort::{months[46]}")
    assert bh.bacon(data, "y", "unit", "year", "cohort").pairs.treated[0] == str(months[44])


def test_outcomes_and_controls_are_expressions_and_names_may_be_odd():
    data = panel()
    data["my y"] = np.exp(data.y)
    factor = 1.0  # noqa: F841  # the formula's
    odd = data.rename(columns={"unit": "the unit", "year": "a year", "cohort": "first | one"})
    found = bh.event_study(odd, "np.log(`my y` * factor)", "the unit", "a year", "first | one", controls="np.exp(x)")
    true = study(data.assign(e=np.exp(data.x)), controls="e")
    close(found.bse, true.bse, 1e-9)


@pytest.mark.parametrize("estimator", ["sunab", "did2s", "etwfe"])
def test_units_that_are_always_treated_are_left_out(estimator):
    data = panel()
    true = study(data, estimator=estimator)
    more = data[data.unit < 3].assign(unit=lambda d: d.unit + 100, cohort=2001)
    with pytest.warns(bh.BetahatWarning, match="3 units are treated in every period"):
        found = study(pd.concat([data, more], ignore_index=True), estimator=estimator)
    close(found.params, true.params, 1e-10)
    assert found.nobs == true.nobs


@pytest.mark.parametrize("estimator", ["sunab", "did2s", "etwfe"])
def test_without_a_never_treated_unit_the_last_cohort_is_compared_with(estimator):
    data = panel()
    data["cohort"] = data.cohort.replace(0, 2008)
    with pytest.warns(
        bh.BetahatWarning, match="treated last, in 2008, are compared with until then; 24 rows from 2008 on"
    ):
        found = study(data, estimator=estimator)
    true = study(data[data.year < 2008].assign(cohort=lambda d: d.cohort.replace(2008, 0)), estimator=estimator)
    close(found.params, true.params, 1e-10)
    close(found.bse, true.bse, 1e-10)


def test_two_way_without_a_never_treated_unit_has_the_att_and_needs_two_references_for_event_times():
    data = panel()
    data["cohort"] = data.cohort.replace(
        0, 2007
    )  # a step of one year, as event times of even steps alone are collinear
    with pytest.warns(bh.BetahatWarning, match="there is the ATT alone; leave out two event times"):
        static = study(data, estimator="twfe")
    own = data.assign(since=data.year - data.cohort, on=(data.year >= data.cohort) * 1.0)
    res = bh.ols("y ~ on | unit + year", own).fit(bh.Cluster("unit"))
    close(static.bse, res.bse, 1e-9)
    close(static.att().params, res.params, 1e-9)
    with pytest.raises(bh.DataError, match="leave out two event times"):
        static.event_study()
    found = study(data, estimator="twfe", ref=[-1, -6])
    res = bh.ols("y ~ i(since, ref=[-1, -6]) | unit + year", own).fit(bh.Cluster("unit"))
    close(found.bse, res.bse, 1e-9)
    assert found.reference == (-1.0, -6.0)


@pytest.mark.parametrize("unit", ["unit", None])
@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")  # all dummies of "0 + txt" beside effects
@pytest.mark.parametrize("controls", ["txt", "kind", "flag", "C(num)", "i(num)", "x + txt", "0 + txt"])
def test_the_att_of_two_way_effects_is_that_of_the_treatment(controls, unit):
    """Formulas put categories before numbers, wherever they stand."""
    data = panel().assign(txt=lambda d: list("abcab" * 38 + "ab"), flag=lambda d: d.x > 0.2, num=lambda d: d.index % 5)
    data["kind"] = data.txt.astype("category")
    data["txt"] = data.txt.astype(object)
    found = bh.event_study(data, "y", unit, "year", "cohort", estimator="twfe", controls=controls, cov_type="HC1").att()
    res = bh.ols(f"y ~ treated + {controls} | {unit or 'cohort'} + year", data).fit("HC1")
    close(found.params["ATT"], res.params["treated"], 1e-10)
    close(found.bse["ATT"], res.bse["treated"], 1e-9)


@pytest.mark.parametrize("estimator", ["sunab", "did2s", "etwfe", "twfe"])
@pytest.mark.filterwarnings(
    "ignore::betahat.BetahatWarning"
)  # rows without a lag are missing: some cells and units have none left
def test_lags_are_taken_within_units(estimator):
    data = panel(gaps=0.1)
    before = data.assign(year=data.year + 1)[["unit", "year", "x"]].rename(columns={"x": "past"})
    made = data.merge(before, "left", ["unit", "year"]).rename(columns={"unit": "the unit"})
    options = {"estimator": estimator}
    found = bh.event_study(made, "y", "the unit", "year", "cohort", controls="lag(x)", **options)
    true = bh.event_study(made, "y", "the unit", "year", "cohort", controls="past", **options)
    assert found.nobs == true.nobs < len(data)
    close(found.att().params, true.att().params, 1e-9)
    close(found.att().bse, true.att().bse, 1e-9)


def test_a_treatment_that_the_effects_explain_has_no_average_effect():
    data = panel()
    for given, controls in ((data.assign(cohort=1999), None), (data, "C(treated)")):
        with (
            pytest.warns(bh.CollinearityWarning),
            pytest.raises(bh.EstimationError, match="The effect of the treatment cannot be told from"),
        ):
            study(given, estimator="twfe", controls=controls)


def test_two_stages_need_no_row_at_the_reference():
    """Its effects are distances to fitted outcomes, so that the event time left out changes nothing."""
    data = panel()
    true = study(data, estimator="did2s", ref=-2)
    other = study(data, estimator="did2s")
    close(true.att().params, other.att().params, SAME)
    gap = data[(data.since != -1) | (data.cohort != 2004)]
    found = study(gap, estimator="did2s")
    own = gap.assign(year=gap.year * 1.0)
    res = bh.did2s(own, "y", "~ 1 | unit + year", "~ treated", "treated", cov_type=bh.Cluster("unit", kind="CR0"))
    close(found.att().params, res.params, 1e-10)
    close(found.att().bse, res.bse, 1e-10)
    with pytest.raises(bh.DataError, match="Cohort '2004' has no row at event time -1"):
        study(gap)


def test_controls_without_a_column_are_none():
    data = panel()
    for estimator in ("etwfe", "sunab", "did2s", "twfe"):
        found = study(data, estimator=estimator, controls="1")
        close(found.att().params, study(data, estimator=estimator).att().params, 1e-9, label=estimator)


ARGUMENTS = {
    "yy": ({"y": "yy"}, "^y='yy' refers to 'yy', found neither .* did you mean 'y'"),
    "txt": ({"y": "txt"}, "^y='txt' has 2 columns"),
    "y +": ({"y": "y +"}, "^y='y \\+' cannot be read"),
    "a formula": ({"y": "y ~ x"}, "^y is 'y ~ x'; write the outcome alone, without '~'"),
    "nothing": ({"y": " "}, "^y is ' '; pass a string"),
    "nom": ({"controls": "nom"}, "^controls='nom' refers to 'nom'"),
    "x +": ({"controls": "x +"}, "^controls='x \\+' cannot be read.*write it like 'x1 \\+ C"),
    "~ x": ({"controls": "~ x"}, "^controls is '~ x'; write regressors alone"),
    "effects": ({"controls": "x | txt"}, "^controls is 'x . txt'; write regressors alone"),
    "no controls": ({"controls": ""}, "^controls is ''; pass a string, such as .*, or omit it"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_errors_name_the_argument_and_no_formula_that_nobody_wrote(case):
    options, sentence = ARGUMENTS[case]
    data = panel().assign(txt=lambda d: ["a", "b"] * (len(d) // 2))
    given = {"y": "y", "controls": None} | options
    for estimator in ("sunab", "did2s", "etwfe", "twfe"):
        with pytest.raises(bh.BetahatError, match=sentence) as caught:
            bh.event_study(data, given["y"], "unit", "year", "cohort", estimator=estimator, controls=given["controls"])
        assert "event::" not in str(caught.value)
        assert "rows in use" not in str(caught.value)


def test_bars_and_tildes_within_brackets_are_the_user_s():
    data = panel()
    found = study(data, controls="I((x > 0.5) | ~(z > 0))")
    close(found.bse, study(data.assign(c=(data.x > 0.5) | ~(data.z > 0)), controls="c").bse, 1e-9)


def test_repeated_cross_sections():
    data = panel(units=60)
    data["person"] = np.arange(len(data))
    for estimator in ("sunab", "etwfe", "did2s", "twfe"):
        found = bh.event_study(data, "y", None, "year", "cohort", estimator=estimator)
        assert found.cov_type == ("HC0" if estimator == "did2s" else "HC1")
    cells = [(g, t) for g in (2004, 2006) for t in range(g, 2009)]
    more = {f"c{g}_{t}": ((data.cohort == g) & (data.year == t)) * 1.0 for g, t in cells}
    res = bh.ols(f"y ~ {' + '.join(more)} | cohort + year", data.assign(**more)).fit("HC1")
    found = bh.event_study(data, "y", None, "year", "cohort", estimator="etwfe").by_cell()
    close(found.params, res.params, 1e-9)
    close(found.bse, res.bse, 1e-9)


def test_two_stages_leave_out_what_cannot_be_imputed():
    data = panel()
    data = data[~((data.unit == 1) & (data.year < 2006))]  # of cohort 2006, under treatment throughout
    with pytest.warns(bh.BetahatWarning, match="3 rows are left out, as the untreated rows say nothing"):
        found = study(data, estimator="did2s")
    true = study(data[data.unit != 1], estimator="did2s")
    close(found.params, true.params, 1e-10)
    with pytest.warns(bh.BetahatWarning, match="3 rows are left out"):
        other = bh.did2s(
            data, "y", "~ 1 | unit + year", "~ treated", "treated", cov_type=bh.Cluster("unit", kind="CR0")
        )
    close(other.params, true.att().params, 1e-10)
    close(other.bse, true.att().bse, 1e-10)


def test_rows_with_missing_values_are_dropped():
    data = panel()
    holes = data.copy()
    holes.loc[::7, "y"], holes.loc[3::11, "x"] = np.nan, np.nan
    kept = holes.dropna(subset=["y", "x"])
    for estimator in ("sunab", "did2s", "etwfe", "twfe"):
        found = study(holes, estimator=estimator, controls="x", cov_type=bh.Cluster(holes["unit"]))
        true = study(kept, estimator=estimator, controls="x", cov_type=bh.Cluster("unit"))
        close(found.bse, true.bse, 1e-9, label=estimator)
        assert found.nobs == len(kept)


def test_effects_that_cannot_be_told_apart():
    """A cohort whose outcomes before the treatment are missing has no base."""
    data = panel()
    data.loc[(data.since == -1) & (data.cohort == 2004), "y"] = np.nan
    with (
        pytest.warns(bh.CollinearityWarning),
        pytest.raises(bh.EstimationError, match="cannot be told from the effects of"),
    ):
        study(data)
    alone = panel()
    alone = alone[(alone.cohort > 0) | (alone.year != 2008)].assign(y=lambda d: d.y.abs())
    with (
        pytest.warns(bh.CollinearityWarning),
        pytest.raises(bh.EstimationError, match="told from those of cohorts and periods"),
    ):
        study(alone, estimator="etwfe", family="poisson")


SENTENCES = {
    "an estimator": (lambda d: study(d, estimator="sa"), "estimator is 'sa'; use one of"),
    "a control group": (lambda d: study(d, estimator="etwfe", control_group="all"), "control_group is 'all'"),
    "its option": (lambda d: study(d, control_group="never"), "control_group is an option of 'etwfe'"),
    "a family": (lambda d: study(d, estimator="etwfe", family="gamma"), "family is 'gamma'; use 'poisson', 'logit'"),
    "its option, too": (lambda d: study(d, family="logit"), "family is an option of 'etwfe'"),
    "an outcome": (lambda d: bh.event_study(d, 3, "unit", "year", "cohort"), "y is 3; pass a string"),
    "a reference": (lambda d: study(d, ref=0), "ref has 0; pass periods before the treatment"),
    "no reference": (lambda d: study(d, ref=[]), "ref is empty"),
    "a cohort without one": (lambda d: study(d[d.since != -1]), "Cohorts '2004', '2006' have no row at event time -1"),
    "a column": (lambda d: bh.event_study(d, "y", "id", "year", "cohort"), "unit is 'id', which is no column"),
    "no rows": (lambda d: study(d[:0]), "The data are empty"),
    "rows elsewhere": (lambda d: study(lambda: iter([d])), "rows at once, and these lie elsewhere"),
    "text": (lambda d: study(d.assign(year=d.year.astype(str))), "between which no periods can be counted"),
    "missing periods": (
        lambda d: study(d.assign(year=d.year.where(d.unit > 1))),
        "'year' has missing or infinite values",
    ),
    "missing units": (lambda d: study(d.assign(unit=d.unit.where(d.unit > 1))), "'unit' has missing values"),
    "two kinds": (
        lambda d: study(d.assign(cohort=pd.PeriodIndex(d.cohort.clip(lower=1).astype(str).str.zfill(4), freq="Y"))),
        "not of one kind",
    ),
    "two codes": (
        lambda d: study(d.assign(cohort=d.cohort.where(d.unit > 5))),
        "both 0 and missing or infinite values",
    ),
    "zero is a period": (lambda d: study(d.assign(year=d.year - 2004, cohort=0)), "has 0, which may be a period"),
    "a cohort that changes": (lambda d: study(d.assign(cohort=d.year)), "The cohort of unit '0' changes"),
    "all always": (lambda d: study(d.assign(cohort=1999)), "Every unit is treated in every period"),
    "nobody in two-way": (lambda d: study(d.assign(cohort=0), estimator="twfe"), "No row is under treatment; check"),
    "a control that is the effects": (
        lambda d: study(d, controls="unit"),
        "'unit' has fixed effects of its own, and stands in controls='unit'",
    ),
    "lags without units": (
        lambda d: bh.event_study(d, "y", None, "year", "cohort", controls="lag(x)"),
        "lag(x) in controls='lag(x)' is of another period, .*; pass unit, the column of the units",
    ),
    "whole numbers": (
        lambda d: study(d.assign(cohort=d.year, unit=d.unit * 1.0)),
        "The cohort of unit '0' changes",
    ),
    "whole years": (
        lambda d: study(pd.concat([d, d[:1]]).assign(year=lambda d: d.year * 1.0), controls="lag(x)"),
        "several rows for `unit` 0 in `year` 2001, so",
    ),
    "nobody": (lambda d: study(d.assign(cohort=0)), "No row is left that is treated"),
    "cells of two-way": (lambda d: study(d, estimator="twfe").by_cohort(), "the same effect for all cohorts"),
    "no leads": (lambda d: study(d, estimator="etwfe").pretrends(), "no effects before the treatment"),
    "no draws": (lambda d: study(d).conf_int(method="percentile"), "method='percentile'"),
    "first stage": (
        lambda d: bh.did2s(d, "y", "~ x", "~ treated", "treated"),
        "first_stage is '~ x'; write the fixed effects",
    ),
    "second stage": (
        lambda d: bh.did2s(d, "y", "~ 1 | unit", "y ~ treated", "treated"),
        "second_stage is 'y ~ treated'",
    ),
    "no text": (lambda d: bh.did2s(d, "y", "~ 1 | unit", None, "treated"), "second_stage is None; pass a string"),
    "an effect": (lambda d: bh.did2s(d, "y", "~ 1 | firm", "~ treated", "treated"), "'firm', which the data have not"),
    "a treatment": (lambda d: bh.did2s(d, "y", "~ 1 | unit", "~ treated", "since"), "treatment column 'since' has"),
    "no treatment": (
        lambda d: bh.did2s(d, "y", "~ 1 | unit", "~ treated", "on"),
        "treatment is 'on', which is no column",
    ),
    "files": (
        lambda d: bh.did2s(lambda: iter([d]), "y", "~ 1 | unit", "~ treated", "treated"),
        "did2s takes all rows at once",
    ),
    "bacon": (lambda d: bh.bacon(d, "y", None, "year", "cohort"), "pass the names of two columns"),
    "gaps": (
        lambda d: bh.bacon(d[1:], "y", "unit", "year", "cohort"),
        "not balanced: there are 191 rows for 24 units and 8 periods, as of '0'",
    ),
    "missing outcomes": (
        lambda d: bh.bacon(d.assign(y=d.y.where(d.unit > 0)), "y", "unit", "year", "cohort"),
        "8 rows of the outcome are missing",
    ),
    "nothing to compare": (
        lambda d: bh.bacon(d.assign(cohort=0), "y", "unit", "year", "cohort"),
        "there is nothing to compare",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_sentences(case):
    call, sentence = SENTENCES[case]
    with pytest.raises(bh.BetahatError, match=re.sub(r"[()]", r"\\\g<0>", sentence)):
        call(panel())
