"""Romano and Wolf's tests of several outcomes, whose rows may differ: against tables of bootstraps, and loops over weighted rows."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close
from support.staggered import panel

import betahat as bh
from betahat.resampling.weights import Multinomial

# Shares are counts over R + 1; statistics agree to rounding.
ROUNDING = 1e-9
OUTCOMES = ("y0", "y1", "y2")


@pytest.fixture(scope="module")
def trial():
    random = np.random.default_rng(31)
    data = pd.DataFrame({"t": np.arange(90) % 2, "x": random.normal(size=90), "firm": np.arange(90) // 6})
    shared = random.normal(size=90)
    for i, outcome in enumerate(OUTCOMES):
        data[outcome] = 0.3 * i * data.t + 0.3 * data.x + shared + random.normal(size=90)
    data["hit"] = (data.y1 > 0) * 1
    return data


@pytest.fixture(scope="module")
def gaps(trial):
    data = trial.copy()
    data.loc[[1, 5, 8, 40], "y1"] = np.nan
    data.loc[data.firm == 3, "y2"] = np.nan
    return data


def _models(data, cov="HC1", model=bh.ols):
    return [model(f"{outcome} ~ t + x", data).fit(cov) for outcome in OUTCOMES]


@pytest.mark.parametrize("kind", [None, "score"])
@pytest.mark.parametrize("clusters", [None, "firm"])
def test_it_is_the_table_of_one_bootstrap(trial, kind, clusters):
    models = _models(trial, "HC1" if clusters is None else bh.Cluster(clusters))
    table = bh.romano_wolf(models, "t", reps=99, seed=3, kind=kind).to_frame()
    chosen = kind or ("pairs" if clusters is None else "wild")
    drawn = [model.with_cov(bh.Bootstrap(99, chosen, clusters=clusters, seed=3)) for model in models]
    across = bh.regtable(drawn, adjust=bh.Adjust("romano-wolf", keep="t", across=True), below="p").to_frame()
    close(table["Romano-Wolf"], across.loc[("t", "P>|t|")], ROUNDING)
    assert table.index.tolist() == [(outcome, "t") for outcome in OUTCOMES]
    for outcome, own, model in zip(OUTCOMES, drawn, models, strict=True):
        row = table.loc[(outcome, "t")]
        assert row["coef"] == model.params["t"]
        assert row["std err"] == model.bse["t"]
        assert row["P>|z|"] == model.pvalues["t"]
        alone = own.tidy(adjust=bh.Adjust("romano-wolf", keep="t")).set_index("term")
        close(row["bootstrap"], alone.loc["t", "p.value"], ROUNDING)
        assert row["bootstrap"] <= row["Romano-Wolf"]


def test_outcomes_that_are_missing_in_other_rows(gaps):
    """Rows are drawn among all rows; each model has those of them that it has."""
    models = _models(gaps)
    table = bh.romano_wolf(models, "t", reps=49, seed=2).to_frame()
    counts = Multinomial(90, 90)(2, torch.arange(49)).numpy()
    statistics, draws = [], []
    for model, outcome in zip(models, OUTCOMES, strict=True):
        there = gaps[outcome].notna().to_numpy()
        y, X = gaps[outcome].to_numpy()[there], np.column_stack([np.ones(90), gaps.t, gaps.x])[there]
        b = model.params.to_numpy()

        def fitted(w, y=y, X=X):
            bread = np.linalg.inv(X.T * w @ X)
            found = bread @ (X.T @ (w * y))
            meat = X.T * (w * (y - X @ found) ** 2) @ X
            return found[1], np.sqrt((bread @ meat @ bread)[1, 1])

        own = [fitted(count[there].astype(float)) for count in counts]
        statistics.append(abs(b[1]) / fitted(np.ones(there.sum()))[1])
        draws.append([abs(estimate - b[1]) / error for estimate, error in own])
    draws, order, before = np.array(draws), np.argsort(-np.array(statistics)), 0.0
    for step, j in enumerate(order):
        share = (np.sum(draws[order[step:]].max(0) >= statistics[j]) + 1) / 50
        before = max(before, share)
        close(table["Romano-Wolf"].iloc[j], before, ROUNDING)
        close(table["bootstrap"].iloc[j], (np.sum(draws[j] >= statistics[j]) + 1) / 50, ROUNDING)


@pytest.mark.parametrize("kind", ["wild", "pairs", "score"])
def test_clusters_without_rows_change_nothing_but_the_draws(gaps, kind):
    """A cluster without rows is one whose rows are all zero."""
    there = gaps.firm != 3
    X = np.column_stack([np.ones(90), gaps.t, gaps.x]) * there.to_numpy()[:, None]
    y = np.where(there, gaps.y2.fillna(0.0), 0.0)
    options = {"kind": kind, "seed": 5}
    zeros = bh.OLS(y, X).fit(bh.Bootstrap(49, clusters=gaps.firm.to_numpy(), **options))
    among = bh.OLS(y[there], X[there]).fit(
        bh.Bootstrap(49, clusters=gaps.firm[there].to_numpy(), among=gaps.firm, **options)
    )
    close(among.cov.draws, zeros.cov.draws, ROUNDING, unit=1.0)
    if kind == "wild":
        assert (among.pvalues == zeros.pvalues).all()


def test_clusters_that_one_model_lacks(gaps):
    models = _models(gaps, bh.Cluster("firm"))
    table = bh.romano_wolf(models, "t", reps=99, seed=3).to_frame()
    alone = bh.romano_wolf(models[:1], "t", reps=99, seed=3).to_frame()
    assert table["bootstrap"].iloc[0] == alone["bootstrap"].iloc[0]  # the model with all clusters draws as by itself
    assert (table["Romano-Wolf"] >= table["bootstrap"]).all()


def test_arrays_without_rows_in_common_labels(gaps):
    """Without labels, rows are told apart by their places."""
    X = bh.add_constant(gaps[["t", "x"]].to_numpy())
    arrays = [bh.OLS(gaps[outcome].to_numpy(), X, missing="drop").fit("HC1") for outcome in OUTCOMES]
    found = bh.romano_wolf(arrays, "x1", reps=49, seed=2).to_frame()
    frames = bh.romano_wolf(_models(gaps), "t", reps=49, seed=2).to_frame()
    close(found["Romano-Wolf"], frames["Romano-Wolf"], ROUNDING)
    twice = gaps.set_index(np.zeros(90, dtype=int))
    places = bh.romano_wolf(_models(twice), "t", reps=49, seed=2).to_frame()
    close(places["Romano-Wolf"], frames["Romano-Wolf"], ROUNDING)


def test_several_coefficients_and_kinds_of_models(trial):
    models = {"Wage": bh.ols("y0 ~ t + x", trial).fit(), "Work": bh.logit("hit ~ t", trial).fit()}
    table = bh.romano_wolf(models, re.compile("^[tx]$"), reps=49, seed=1, rename={"t": "Treated"}, digits=3)
    assert table.to_frame().index.tolist() == [("Wage", "Treated"), ("Wage", "x"), ("Work", "Treated")]
    assert "Wage: Treated" in str(table)
    assert "Draws are of the pairs bootstrap (49 replicates, seed 1)." in table.layout.notes
    assert "for all 3 together" in table.layout.notes[0]


def test_results_without_the_coefficient_have_no_row(trial):
    models = [bh.ols("y0 ~ t + x", trial).fit(), bh.ols("y1 ~ x", trial).fit()]
    assert bh.romano_wolf(models, "t", reps=49, seed=1).to_frame().index.tolist() == [("y0", "t")]


def _two_lengths(data):
    X = bh.add_constant(data[["t", "x"]].to_numpy())
    return [bh.OLS(data.y0.to_numpy()[:n], X[:n]).fit() for n in (90, 80)]


WRONG = {
    "no coefficient": (lambda data: bh.romano_wolf(_models(data), "z"), "keep has 'z', which matches no coefficient"),
    "no results": (lambda data: bh.romano_wolf([1], "t"), "romano_wolf needs results"),
    "of others": (
        lambda data: bh.romano_wolf(__import__("statsmodels.formula.api").formula.api.ols("y0 ~ t", data).fit(), "t"),
        "needs results of models of regressors",
    ),
    "no rows": (lambda data: bh.romano_wolf([m.remove_data() for m in _models(data)], "t"), "with their rows, not"),
    "vectors": (
        lambda data: bh.romano_wolf(_models(data, bh.Cluster(data.firm.to_numpy())), "t"),
        "pass clusters, the name of one column",
    ),
    "two ways": (
        lambda data: bh.romano_wolf(_models(data, bh.Cluster(["firm", "t"])), "t"),
        "several, or have no name",
    ),
    "no labels": (lambda data: bh.romano_wolf(_two_lengths(data), "x1"), "no labels tell which rows are the same"),
    "among alone": (lambda data: bh.Bootstrap(among=[1, 2]), "but there are no clusters"),
    "among fewer": (lambda data: _models(data, bh.Bootstrap(9, clusters="firm", among=[1, 2])), "among does not have"),
    "among anything": (
        lambda data: _models(data, bh.Bootstrap(9, clusters="firm", among=np.array([1, "a", None], dtype=object))),
        "which have an order",
    ),
}


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_tested_together_is_a_sentence(trial, case):
    call, message = WRONG[case]
    with pytest.raises(bh.BetahatError, match=re.escape(message)):
        call(trial)


@pytest.mark.parametrize("estimator", ["sunab", "etwfe", "twfe"])
def test_effects_of_event_studies(estimator):
    """The bootstrap's own p-value is that of the effect, not of the coefficient in its place."""
    data = panel(units=24)
    data["noise"] = np.random.default_rng(7).normal(size=len(data))
    studies = {y: bh.event_study(data, y, "unit", "year", "cohort", estimator=estimator) for y in ("y", "noise")}
    overall = {y: study.att() for y, study in studies.items()}
    for effects, name in ((overall, "ATT"), (studies, studies["y"].names[-1])):
        table = bh.romano_wolf(effects, name, reps=99, seed=1).to_frame()
        for outcome, study in effects.items():
            own = study.with_cov(bh.Bootstrap(99, "wild", clusters="unit", seed=1)).tidy(adjust=bh.Adjust("rw", name))
            expected = own.set_index("term").loc[name, "p.value"]
            close(table.loc[(outcome, name), "bootstrap"], expected, ROUNDING)
            assert table.loc[(outcome, name), "Romano-Wolf"] >= expected


def test_the_head_is_that_of_the_test(trial):
    for use_t, head in ((True, "P>|t|"), (False, "P>|z|")):
        models = [model.with_use_t(use_t) for model in _models(trial)]
        assert head in bh.romano_wolf(models, "t", reps=49, seed=1).to_frame()
    assert (
        "P>|t or z|" in bh.romano_wolf([_models(trial)[0], models[1].with_use_t(True)], "t", reps=49, seed=1).to_frame()
    )
