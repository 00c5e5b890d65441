"""What an event study returns goes where results go: covariances, bootstraps, tables, pictures."""

import pickle

import numpy as np
import pytest
import torch
from support.closeness import close
from support.staggered import panel

import betahat as bh

plt = pytest.importorskip("matplotlib.pyplot")

SAME = 1e-12
UNITS = bh.Cluster("unit")


@pytest.fixture(scope="module")
def data():
    return panel(units=36)


@pytest.fixture(scope="module")
def studies(data):
    return {
        name: bh.event_study(data, "y", "unit", "year", "cohort", estimator=name)
        for name in ("sunab", "did2s", "etwfe", "twfe")
    }


@pytest.mark.parametrize(
    "cov",
    [
        bh.HC3(),
        bh.Cluster("state", kind="CR2"),
        bh.Cluster(["state", "year"]),
        bh.Bootstrap(99, "wild", clusters="unit", seed=1),
        bh.Bootstrap(99, "score", clusters="unit", seed=1),
        bh.Bootstrap(49, clusters="unit", seed=1),
    ],
    ids=lambda cov: f"{type(cov).__name__} {getattr(cov, 'kind', '')}",
)
@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_averages_are_tests_of_the_regression(studies, cov):
    """The numbers of single effects are those of the regression's own coefficient, and of averages those of its t test."""
    study = studies["etwfe"].with_cov(cov)
    res, cells = study.results, study.by_cell()
    close(cells.params, res.params, SAME)
    close(cells.bse, res.bse, 1e-10)
    close(cells.pvalues, res.pvalues, 1e-8)
    close(cells.conf_int(), res.conf_int(), 1e-8)
    att = study.att()
    sizes = np.array([12.0] * len(res.params)) / (12.0 * len(res.params))
    test = res.t_test(sizes[None])
    close(att.params, test.effect, 1e-10)
    close(att.pvalues, np.atleast_1d(test.pvalue), 1e-8)
    close(att.conf_int(), test.conf_int(), 1e-8)


@pytest.mark.parametrize("estimator", ["did2s", "twfe", "sunab"])
def test_bootstraps_find_similar_errors(studies, estimator):
    study = studies[estimator]
    score = study.with_cov(bh.Bootstrap(499, "score", clusters="unit", seed=3))
    assert abs(np.log(score.bse / study.bse)).max() < 0.15
    assert score.att().conf_int(method="percentile").shape == (1, 2)
    assert abs(np.log(score.att().bse / study.att().bse)).max() < 0.15


def test_bootstraps_of_pairs_know_of_both_stages(studies):
    study = studies["did2s"].att()
    pairs = study.with_cov(bh.Bootstrap(99, clusters="unit", seed=3))
    assert abs(np.log(pairs.bse / study.bse)).max() < 0.25


def test_tables_and_pictures(studies):
    table = bh.regtable({name: study.att() for name, study in studies.items()}, stats=["nobs", "clusters"])
    text = str(table)
    assert text.count("ATT") == 1
    assert "unit effects     yes         yes         yes         yes" in text
    assert "unit (36)" in text
    frame = table.to_frame()
    close(frame.loc[("ATT", "coef")], [study.att().params.iloc[0] for study in studies.values()], SAME)
    compared = bh.compare(studies["did2s"], ["HC0", UNITS]).to_frame()
    close(compared["HC0"], studies["did2s"].with_cov("HC0").bse, SAME)
    assert "event::0" in str(studies["sunab"].summary(digits=2))
    ax = bh.coefplot([studies["sunab"].by_cohort(), studies["did2s"].by_cohort()])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cohort::2004", "cohort::2006"]
    plt.close("all")
    assert repr(studies["twfe"].att()).startswith("term  estimate")


def test_nothing_changes_and_t_tests(studies):
    study = studies["sunab"]
    before = study.bse.copy()
    other = study.with_cov(UNITS, use_t=True)
    assert other.use_t
    assert not study.use_t
    assert other.att().use_t
    assert not other.with_use_t(False).use_t
    assert (other.pvalues > study.pvalues).all()
    close(study.bse, before, 0.0)
    mine = study.params
    mine.iloc[0] = 7.0
    assert study.params.iloc[0] != 7.0


def test_choices_of_covariance_are_checked_at_once(data):
    with pytest.raises(bh.OptionError, match="HC9"):
        bh.event_study(data, "y", "unit", "year", "cohort", cov_type="HC9")
    assert bh.event_study(data, "y", "unit", "year", "cohort").cov_type == "cluster"
    nonrobust = bh.event_study(data, "y", "unit", "year", "cohort", cov_type="nonrobust")
    assert nonrobust.use_t


@pytest.mark.parametrize(
    ("estimator", "family"), [("sunab", None), ("did2s", None), ("twfe", None), ("etwfe", "poisson")]
)
def test_modes_of_torch_and_pickles(data, estimator, family):
    counts = data.assign(y=np.random.default_rng(2).poisson(3.0, len(data)))
    options = {"estimator": estimator, "family": family}
    study = bh.event_study(counts, "y", "unit", "year", "cohort", **options)
    with torch.inference_mode():
        close(bh.event_study(counts, "y", "unit", "year", "cohort", **options).att().bse, study.att().bse, SAME)
    again = pickle.loads(pickle.dumps(study))
    close(again.bse, study.bse, SAME)
    close(again.att().with_cov("HC0").bse, study.att().with_cov("HC0").bse, SAME)


def test_hypotheses_of_several_outcomes_have_the_p_values_of_their_own_bootstrap(data):
    """Studies have other coefficients behind their effects, each of which has its place."""
    noise = data.assign(other=np.random.default_rng(5).normal(size=len(data)))
    own = bh.Bootstrap(199, "wild", clusters="unit", seed=1)
    for estimator in ("sunab", "etwfe", "twfe"):
        att = {y: bh.event_study(noise, y, "unit", "year", "cohort", estimator=estimator).att() for y in ("y", "other")}
        frame = bh.romano_wolf(att, "ATT", reps=199, seed=1).to_frame()
        alone = [float(study.with_cov(own).pvalues.iloc[0]) for study in att.values()]
        # of p-values of R draws one counts the sample among them, the other may not
        close(frame["bootstrap"], alone, 1.0 / 200 + 1e-12, unit=1.0, label=estimator)
        assert (frame["Romano-Wolf"] >= frame["bootstrap"] - 1e-12).all()


def test_bands_of_means_lie_about_the_effects(data):
    """Effects of means are no linear functions of the coefficients."""
    counts = data.assign(y=np.random.default_rng(2).poisson(3.0, len(data)))
    study = bh.event_study(counts, "y", "unit", "year", "cohort", estimator="etwfe", family="poisson")
    for one in (study, study.with_cov(bh.Bootstrap(99, "score", clusters="unit", seed=1))):
        band = one.tidy(adjust="sup-t")
        close((band["conf.low"] + band["conf.high"]) / 2, study.params, 1e-9)
        assert (band["conf.high"] - band["conf.low"] > 1.9 * 1.96 * band["std.error"]).all()
