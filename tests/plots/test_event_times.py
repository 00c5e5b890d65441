"""Pictures of event studies: markers where the effects are, the base period at zero, intervals of conf_int and bands that hold all at once."""

import warnings

import numpy as np
import pandas as pd
import pytest
from support.closeness import close
from support.staggered import panel

import betahat as bh

plt = pytest.importorskip("matplotlib.pyplot")

SAME = 1e-12
# The share of 100,000 draws that a band holds has an error of 0.0007; its quantile's is eight times as large.
DRAWN = 0.015


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    return panel()


@pytest.fixture(scope="module")
def study(data):
    return bh.event_study(data, "y", "unit", "year", "cohort")


def markers(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines if not line.get_label().startswith("_")}


def bars(ax):
    """The vertical lines of each collection that has some: (m, 2, 2)."""
    found = [np.array(part.get_segments()) for part in ax.collections]
    return [part for part in found if (part[:, 0, 0] == part[:, 1, 0]).all()]


def test_effects_and_intervals(study):
    ax = bh.eventplot(study)
    ((label, points),) = markers(ax).items()
    assert label == "sunab"
    times = [int(name.removeprefix("event::")) for name in study.names]
    close(points[:-1], np.column_stack([times, study.params]), SAME)
    assert points[-1].tolist() == [-1.0, 0.0]
    (intervals,) = bars(ax)
    close(intervals[:, :, 1], study.conf_int(), SAME)
    assert ax.get_xlabel().startswith("Periods since treatment")
    assert ax.get_ylabel() == "Effect on y"
    assert ax.get_legend() is None


def test_a_regression_draws_what_the_study_draws(data):
    """Of one's own `i()`, whose base it is told; with a covariance for each."""
    own = data.assign(since=data.since.where(data.cohort > 0, -1))
    res = bh.ols("y ~ i(since, ref=-1) | unit + year", own).fit()
    study = bh.event_study(data, "y", "unit", "year", "cohort", estimator="twfe")
    ax = bh.eventplot({"own": res, "ours": study}, cov=bh.Cluster("unit"), alpha=0.1)
    found = markers(ax)
    close(found["own"][:, 1], found["ours"][:, 1], 1e-9)
    close(np.diff(found["ours"][:, 0]), np.diff(found["own"][:, 0]), SAME)
    assert (found["ours"][:, 0] > found["own"][:, 0]).all()
    first, second = bars(ax)
    close(first[:, :, 1], res.with_cov(bh.Cluster("unit")).conf_int(0.1), SAME)
    close(first[:, :, 1], second[:, :, 1], 1e-9)
    shifted = bh.eventplot(res, ref=[-1, -9])
    assert markers(shifted)["(1)"][-1].tolist() == [-9.0, 0.0]


def test_several_estimators_and_labels(data):
    studies = [
        bh.event_study(data, "y", "unit", "year", "cohort", estimator=name)
        for name in ("twfe", "sunab", "did2s", "etwfe")
    ]
    ax = bh.eventplot(studies, band=True)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["twfe", "sunab", "did2s", "etwfe"]
    assert len(bars(ax)) == 8
    assert 0.0 not in markers(ax)["etwfe"][:, 1]  # which has no base period
    assert list(markers(bh.eventplot(studies[:2], labels=["a", "b"]))) == ["a", "b"]
    assert list(markers(bh.eventplot([studies[0], studies[0]]))) == ["(1)", "(2)"]
    assert list(markers(studies[0].plot(ax=plt.subplots()[1]))) == ["twfe"]


def test_bands(study):
    ax = bh.eventplot(study, band=True)
    intervals, band = bars(ax)
    reach = (band[:, 1, 1] - band[:, 0, 1]) / 2 / study.bse.to_numpy()
    close(reach, np.full(len(reach), reach[0]), SAME)
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(np.zeros(len(study.names)), study.cov_params(), 50_000) / study.bse.to_numpy()
    assert abs((np.abs(draws).max(1) <= reach[0]).mean() - 0.95) < DRAWN / 2
    assert (band[:, 0, 1] < intervals[:, 0, 1]).all()


def test_covariances_with_degrees_of_freedom_of_their_own(study):
    few = study.with_cov(bh.Cluster("unit", kind="CR2"))
    band = bars(bh.eventplot(few, band=True))[1]
    assert np.isfinite(band).all()


def test_sentences(study, data):
    bare = bh.ols("y ~ x", data).fit()
    with pytest.raises(bh.OptionError, match="there are none named like those of i"):
        bh.eventplot(bare)
    two = bh.ols("y ~ i(since, ref=-1) + i(state, ref=0)", data).fit()
    with pytest.raises(bh.OptionError, match="there are some of 'since', 'state'"):
        bh.eventplot(two)
    with pytest.raises(bh.OptionError, match="effects by cohort, which have no time since treatment"):
        bh.eventplot(study.by_cohort())
    with pytest.raises(bh.OptionError, match="ref is 'x'"):
        bh.eventplot(study, ref="x")
    with pytest.raises(bh.OptionError, match="labels has 1 name"):
        bh.eventplot([study, study], labels=["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("pyfixest").feols("y ~ i(since, ref=-1) | unit + year", data)
    assert len(markers(bh.eventplot(theirs))["(1)"]) > 5
    with pytest.raises(bh.OptionError, match="band needs the covariance"):
        bh.eventplot(theirs, band=True)


def test_the_decomposition(data):
    found = bh.bacon(data, "y", "unit", "year", "cohort")
    ax = found.plot()
    drawn = markers(ax)
    for kind, own in found.pairs.groupby("kind"):
        close(drawn[kind], own[["weight", "estimate"]], SAME)
    assert isinstance(found.pairs, pd.DataFrame)
    assert found.plot(ax=plt.subplots()[1]).get_xlabel() == "Weight"


def test_windows_leave_out_thin_leads(study):
    """A band holds for the times that are drawn alone."""
    ax = bh.eventplot(study, window=(-3, 2), band=True)
    (points,) = markers(ax).values()
    assert sorted(points[:, 0]) == [-3, -2, -1, 0, 1, 2]
    narrow = [np.diff(part[:, :, 1], axis=1).max() for part in bars(ax)]
    wide = [np.diff(part[:, :, 1], axis=1) for part in bars(bh.eventplot(study, band=True))]
    assert len(narrow) == 2
    assert narrow[1] < wide[1].max()
    assert sorted(markers(bh.eventplot(study, window=(0, 9)))["sunab"][:, 0]) == [0, 1, 2, 3, 4]
    for window, sentence in (
        ((7, 9), r"no effect lies within it; there are those at times -5 to 4"),
        (3, "pass the first"),
    ):
        with pytest.raises(bh.OptionError, match=sentence):
            bh.eventplot(study, window=window)
