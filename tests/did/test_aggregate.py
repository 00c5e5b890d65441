"""Regressions of one's own on pairs of event times and cohorts: their averages are those of `event_study`."""

import re

import numpy as np
import pandas as pd
import pytest
from support.closeness import close
from support.staggered import panel

import betahat as bh

SAME = 1e-9
FORMULA = "y ~ i(since, cohort, ref=-1, ref2=0) + x | unit + year"


@pytest.fixture(scope="module")
def data():
    found = panel(gaps=0.1)
    return found.assign(since=found.since.where(found.cohort > 0, -1))


@pytest.mark.parametrize("weights", [None, "w"])
def test_they_are_those_of_an_event_study(data, weights):
    res = (bh.ols(FORMULA, data) if weights is None else bh.wls(FORMULA, data, weights=weights)).fit(bh.Cluster("unit"))
    study = bh.event_study(data, "y", "unit", "year", "cohort", controls="x", weights=weights)
    found = bh.aggregate(res)
    for kind in ("event_study", "att", "by_cohort", "by_time"):
        mine, other = getattr(found, kind)(), getattr(study, kind)()
        assert mine.names == other.names
        close(mine.params, other.params, SAME)
        close(mine.bse, other.bse, SAME)
    assert found.cov_type == "cluster"
    assert found.fixed == ("unit", "year")
    close(found.with_cov("HC1").bse, study.with_cov("HC1").bse, SAME)
    assert not found.with_cov(None).cov_type.startswith("cluster")
    assert found.with_use_t(True).use_t
    assert bh.aggregate(res, by="att").names == ("ATT",)
    assert found.pretrends().df_num == 4


def test_other_models_have_effects_on_the_index(data):
    counts = data.assign(y=np.random.default_rng(1).poisson(2.0, len(data)))
    res = bh.poisson("y ~ i(since, cohort, ref=-1, ref2=0) | unit + year", counts).fit(bh.Cluster("unit"))
    found = bh.aggregate(res, by="att")
    after = [name for name in res.names if "::-" not in name]
    sizes = np.array([((counts.since == e) & (counts.cohort == g)).sum() for e, g in (_pair(name) for name in after)])
    test = res.t_test(np.array([sizes[after.index(n)] if n in after else 0.0 for n in res.names])[None] / sizes.sum())
    close(found.params, test.effect, SAME)
    close(found.conf_int(), test.conf_int(), SAME)


def _pair(name):
    event, cohort = name.split(":cohort::")
    return float(event.removeprefix("since::")), float(cohort)


@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_sentences(data):
    bare = bh.ols("y ~ x", data).fit()
    with pytest.raises(bh.OptionError, match="there are those of none"):
        bh.aggregate(bare)
    with pytest.raises(bh.OptionError, match="needs results"):
        bh.aggregate("res")
    res = bh.ols(FORMULA, data).fit()
    with pytest.raises(bh.OptionError, match="by is 'year'"):
        bh.aggregate(res, by="year")
    loose = bh.ols("y ~ i(since, cohort, ref2=0) | unit + year", data).fit()
    with pytest.raises(bh.EstimationError, match="have no estimate of their own"):
        bh.aggregate(loose)


@pytest.mark.parametrize("code", [0, np.nan, np.inf, pd.NA], ids=str)
def test_sunab_in_a_formula(data, code):
    cohort = data.cohort.astype("Int64" if code is pd.NA else float).mask(data.cohort == 0, code)
    coded = data.assign(law=cohort)
    res = bh.ols("y ~ sunab(law, year) + x | unit + year", coded).fit(bh.Cluster("unit"))
    own = bh.ols(FORMULA, data).fit(bh.Cluster("unit"))
    assert res.names[0] == "year::-5:law::2006"
    close(res.bse, own.bse, SAME)
    close(bh.aggregate(res).bse, bh.aggregate(own).bse, SAME)
    several = bh.ols("y ~ sunab(law, year, ref=[-1, -2]) | unit + year", coded).fit()
    assert not any("::-2:" in name for name in several.names)


def test_sunab_in_files_and_of_rows_that_are_read(data, tmp_path):
    formula = "y ~ sunab(cohort, year) + x | unit + year"
    res = bh.ols(formula, data).fit(bh.Cluster("unit"))
    again = bh.load(res.save(tmp_path / "study.betahat"))
    close(bh.aggregate(again).bse, bh.aggregate(res).bse, SAME)
    data.to_parquet(tmp_path / "rows.parquet")
    read = bh.ols(formula, tmp_path / "rows.parquet").fit(bh.Cluster("unit"))
    close(bh.aggregate(read, by="att").bse, bh.aggregate(res, by="att").bse, SAME)


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        ("y ~ sunab(cohort, year, ref='x')", "ref in sunab(...) is 'x'"),
        ("y ~ sunab(word, year)", "'word' in sunab(...) is no column of numbers"),
    ],
)
def test_sentences_of_sunab(data, formula, sentence):
    with pytest.raises(bh.FormulaError, match=re.escape(sentence)):
        bh.ols(formula, data.assign(word="a"))
