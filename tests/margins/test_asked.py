"""What margins are asked for: values of variables, rows, weights and groups; each against a loop, a law or marginaleffects."""

import marginaleffects as me
import numpy as np
import pandas as pd
import pytest

import betahat as bh

# Differences of predictions of the same fit: rounding alone.
EXACT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(7)
    n = 240
    found = pd.DataFrame(
        {
            "x": rng.normal(2.0, 1.0, n),
            "age": rng.uniform(20.0, 60.0, n),
            "treated": rng.integers(0, 2, n),
            "old": rng.integers(0, 2, n) == 1,
            "region": rng.choice(["north", "south", "west"], n),
            "year": rng.choice([2019, 2020, 2022], n),
            "w": rng.uniform(0.5, 2.0, n),
            "often": rng.integers(1, 4, n),
        }
    )
    level = pd.Categorical(rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True)
    index = 0.3 * found.x + 0.4 * found.treated - 0.01 * (found.age - 40.0) + 0.2 * (found.region == "west") - 0.5
    return found.assign(level=level, y=(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-index))).astype(float))


@pytest.fixture(scope="module")
def logit(frame):
    return bh.logit("y ~ x * treated + np.log(age) + region + C(year) * x + level + old", frame).fit()


def moved(res, frame, **values):
    return np.asarray(res.predict(frame.assign(**values)))


def one(found):
    (value,) = found.params
    return float(value)


def test_numbers_are_moved_as_is_asked(logit, frame):
    sd = frame.x.std()
    ends = {
        2: (frame.x + 1.0, frame.x - 1.0, "+2"),
        "sd": (frame.x + sd / 2.0, frame.x - sd / 2.0, "(x+sd/2) - (x-sd/2)"),
        "2sd": (frame.x + sd, frame.x - sd, "(x+sd) - (x-sd)"),
        "iqr": (frame.x.quantile(0.75), frame.x.quantile(0.25), "Q3 - Q1"),
        "minmax": (frame.x.max(), frame.x.min(), "Max - Min"),
    }
    for asked, (high, low, label) in ends.items():
        found = logit.avg_comparisons({"x": asked})
        difference = moved(logit, frame, x=high).mean() - moved(logit, frame, x=low).mean()
        np.testing.assert_allclose(one(found), difference, **EXACT)
        assert found.labels.contrast.tolist() == [label]
    pair = logit.avg_comparisons({"x": [1, 3]})
    np.testing.assert_allclose(
        one(pair), moved(logit, frame, x=3.0).mean() - moved(logit, frame, x=1.0).mean(), **EXACT
    )
    assert pair.labels.contrast.tolist() == ["3 - 1"]
    own = logit.avg_comparisons({"x": lambda x: (x, 1.1 * x)})
    np.testing.assert_allclose(
        one(own), moved(logit, frame, x=1.1 * frame.x).mean() - moved(logit, frame).mean(), **EXACT
    )


@pytest.mark.parametrize("name", ["region", "year", "level"])
@pytest.mark.parametrize(
    "asked", ["reference", "revreference", "pairwise", "revpairwise", "sequential", "revsequential", "all"]
)
def test_levels_are_compared_as_is_asked(logit, frame, name, asked):
    levels = ["low", "mid", "high"] if name == "level" else sorted(frame[name].unique())
    found = logit.avg_comparisons({name: asked})
    means = {str(level): moved(logit, frame, **{name: level}).mean() for level in levels}
    for label, value in zip(found.labels.contrast, found.params, strict=True):
        high, low = label.split(" - ")
        np.testing.assert_allclose(value, means[high] - means[low], **EXACT)
    pairs = {"all": 6, "pairwise": 3, "revpairwise": 3}
    assert len(found.params) == pairs.get(asked, 2)
    a, b, c = map(str, levels)
    expected = {
        "reference": [f"{b} - {a}", f"{c} - {a}"],
        "revreference": [f"{a} - {c}", f"{b} - {c}"],
        "sequential": [f"{b} - {a}", f"{c} - {b}"],
        "revsequential": [f"{b} - {c}", f"{a} - {b}"],
        "pairwise": [f"{b} - {a}", f"{c} - {a}", f"{c} - {b}"],
        "revpairwise": [f"{a} - {b}", f"{a} - {c}", f"{b} - {c}"],
        "all": [f"{b} - {a}", f"{c} - {a}", f"{a} - {b}", f"{c} - {b}", f"{a} - {c}", f"{b} - {c}"],
    }
    assert found.labels.contrast.tolist() == expected[asked]


def test_truths_zeros_and_ones_and_pairs(logit, frame):
    old = logit.avg_comparisons("old")
    np.testing.assert_allclose(
        one(old), moved(logit, frame, old=True).mean() - moved(logit, frame, old=False).mean(), **EXACT
    )
    assert old.labels.contrast.tolist() == ["True - False"]
    assert logit.avg_comparisons({"treated": 1}).labels.contrast.tolist() == ["1 - 0"]
    back = logit.avg_comparisons({"treated": [1, 0]})
    np.testing.assert_allclose(one(back), -one(logit.avg_comparisons("treated")), **EXACT)
    np.testing.assert_allclose(
        one(logit.avg_comparisons({"region": ["west", "south"]})),
        moved(logit, frame, region="south").mean() - moved(logit, frame, region="west").mean(),
        **EXACT,
    )


def test_variables_that_change_together(logit, frame):
    found = logit.avg_comparisons({"treated": None, "region": "reference"}, cross=True)
    expected = [
        moved(logit, frame, treated=1, region=region).mean() - moved(logit, frame, treated=0, region="north").mean()
        for region in ("south", "west")
    ]
    np.testing.assert_allclose(found.params, expected, **EXACT)
    assert found.labels.contrast.tolist() == ["1 - 0, south - north", "1 - 0, west - north"]
    assert found.labels.term.tolist() == ["cross", "cross"]


def test_predictions_of_every_row_at_chosen_values(logit, frame):
    found = logit.avg_predictions({"x": [1.0, 3.0], "treated": None})
    expected = [moved(logit, frame, x=x, treated=treated).mean() for x in (1.0, 3.0) for treated in (0, 1)]
    np.testing.assert_allclose(found.params, expected, **EXACT)
    np.testing.assert_allclose(
        one(logit.avg_predictions({"x": [1.0, 3.0]}, by=True)), np.mean(expected_of(logit, frame))
    )
    assert len(logit.predictions({"treated": [0, 1]}).params) == 2 * len(frame)
    assert len(logit.avg_predictions("region").params) == 3
    ends = logit.avg_predictions({"x": "fivenum"}).labels.x
    np.testing.assert_allclose(ends, np.percentile(frame.x, [0, 25, 50, 75, 100], method="midpoint"))
    assert [len(logit.avg_predictions({"x": how}).params) for how in ("sd", "2sd", "iqr", "minmax", "threenum")] == [
        2, 2, 2, 2, 3,
    ]  # fmt: skip


def expected_of(res, frame):
    return [moved(res, frame, x=x).mean() for x in (1.0, 3.0)]


# rows


def test_typical_rows(logit, frame):
    others = {"treated": frame.treated.mode()[0], "old": frame.old.mode()[0]}
    others |= {name: frame[name].mode()[0] for name in ("region", "year", "level")}
    for how in ("mean", "median"):
        row = pd.DataFrame({"x": [getattr(frame.x, how)()], "age": [getattr(frame.age, how)()], **others})
        row["level"] = pd.Categorical(row.level, categories=["low", "mid", "high"])
        np.testing.assert_allclose(one(logit.predictions(newdata=how)), logit.predict(row).iloc[0], **EXACT)
    balanced = logit.predictions(newdata="balanced")
    assert len(balanced.params) == 2 * 2 * 3 * 3 * 3
    by = logit.avg_predictions(newdata="mean", by="region")
    row = pd.DataFrame({"x": [frame.x.mean()] * 3, "age": frame.age.mean(), **others}).assign(
        region=["north", "south", "west"]
    )
    np.testing.assert_allclose(by.params, logit.predict(row), **EXACT)


def test_grids(logit, frame):
    grid = bh.datagrid(x=[1.0, 2.0], region=["south", "west"])
    np.testing.assert_array_equal(logit.predictions(grid).params, logit.predictions(newdata=grid).params)
    found = logit.predictions(newdata=grid)
    typical = {"age": frame.age.mean()} | {name: frame[name].mode()[0] for name in ("treated", "old", "year", "level")}
    rows = pd.DataFrame({"x": [1.0, 1.0, 2.0, 2.0], "region": ["south", "west"] * 2, **typical})
    np.testing.assert_allclose(found.params, logit.predict(rows), **EXACT)
    counter = logit.avg_predictions(newdata=bh.datagrid(treated=[0, 1], grid_type="counterfactual"), by="treated")
    np.testing.assert_allclose(counter.params, logit.avg_predictions("treated").params, **EXACT)
    quantiles = logit.predictions(newdata=bh.datagrid(x=lambda x: x.quantile([0.25, 0.75]), region="west"))
    assert len(quantiles.params) == 2
    several = logit.predictions(newdata=bh.datagrid(x=2.0, by="region"))
    ages = frame.groupby("region").age.mean()
    modes = frame.groupby("region")[["treated", "old", "year", "level"]].agg(lambda column: column.mode()[0])
    rows = modes.assign(x=2.0, age=ages).reset_index()
    np.testing.assert_allclose(several.params, logit.predict(rows), **EXACT)
    assert len(logit.predictions(newdata=bh.datagrid(level=["low", "high"], grid_type="balanced")).params) == 72


def test_new_rows_need_only_the_variables(logit, frame):
    needed = frame.head(4)[["x", "treated", "age", "region", "year", "level", "old"]]
    np.testing.assert_allclose(logit.predictions(needed).params, logit.predict(frame.head(4)), **EXACT)
    columns = {name: needed[name].tolist() for name in needed}
    np.testing.assert_allclose(logit.predictions(newdata=columns).params, logit.predict(frame.head(4)), **EXACT)
    gap = needed.assign(x=[1.0, np.nan, 2.0, 1.0])
    assert np.isnan(logit.predictions(gap).params).tolist() == [False, True, False, False]
    assert np.isnan(logit.slopes("age", newdata=gap).bse).tolist() == [False, True, False, False]


def test_regressors_in_place_of_a_formula(frame):
    X = np.column_stack([np.ones(len(frame)), frame.x, frame.treated])
    res = bh.Logit(frame.y.to_numpy(), X).fit()
    same = bh.logit("y ~ x + treated", frame).fit()
    np.testing.assert_allclose(res.avg_comparisons().params, same.avg_comparisons().params, rtol=1e-8)
    np.testing.assert_allclose(
        res.predictions(newdata={"x1": [1.0, 2.0], "x2": [0, 1]}).params,
        same.predictions(newdata={"x": [1.0, 2.0], "treated": [0, 1]}).params,
        rtol=1e-8,
    )
    assert len(res.predictions(newdata="mean").params) == 1


# weights


def test_weights(logit, frame):
    w = frame.w.to_numpy()
    rows = np.asarray(logit.comparisons("treated").params)
    np.testing.assert_allclose(one(logit.avg_comparisons("treated", wts="w")), np.average(rows, weights=w), **EXACT)
    np.testing.assert_allclose(one(logit.avg_comparisons("treated", wts=w)), np.average(rows, weights=w), **EXACT)
    theirs = me.avg_comparisons(logit, variables="treated", wts="w", by="old").to_pandas().sort_values("old")
    ours = logit.avg_comparisons("treated", wts="w", by="old")
    np.testing.assert_allclose(ours.params, theirs.estimate, rtol=1e-8)


def test_frequency_weights_count_as_repeated_rows(frame):
    repeated = frame.loc[frame.index.repeat(frame.often)].reset_index(drop=True)
    text = "y ~ x * treated + region"
    res = bh.logit(text, frame, freq_weights="often").fit()
    same = bh.logit(text, repeated).fit()
    for call in (
        lambda res: res.avg_slopes(),
        lambda res: res.avg_comparisons({"x": "sd", "region": "pairwise"}, by="treated"),
        lambda res: res.avg_comparisons({"x": "iqr"}, comparison="lnor"),
        lambda res: res.predictions(newdata="median"),
        lambda res: res.predictions(newdata=bh.datagrid(x=[1, 2], by="region")),
    ):
        np.testing.assert_allclose(call(res).params, call(same).params, rtol=1e-8)
        np.testing.assert_allclose(call(res).bse, call(same).bse, rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda res: res.avg_comparisons({"x": "se"}), "variables asks 'x' for 'se'; pass a number"),
        (lambda res: res.avg_comparisons({"region": "nearest"}), "variables asks 'region' for 'nearest'; use one of"),
        (lambda res: res.avg_comparisons({"region": ["west", "east"]}), "asks 'region' for 'east'; its values are"),
        (lambda res: res.avg_comparisons({"x": lambda x: x.nothing}), "function of 'x' in variables fails"),
        (lambda res: res.avg_comparisons({"x": lambda x: x}), "function of 'x' in variables returned"),
        (lambda res: res.avg_comparisons(cross=True), "cross=True needs variables"),
        (lambda res: res.avg_predictions("x"), "The number 'x' has 240 values; choose some"),
        (lambda res: res.avg_predictions({"x": "median"}), "variables asks 'x' for 'median'; pass values"),
        (lambda res: res.avg_comparisons({"x": 0}), "asks 'x' for a step of 0; pass another number"),
        (lambda res: res.avg_comparisons({"x": [1.0, float("nan")]}), "pass a pair"),
        (lambda res: res.avg_comparisons({"treated": 2}), "asks 'treated' for 2; use one of"),
        (lambda res: res.predictions(newdata=bh.datagrid(nobody=1)), "datagrid has values of 'nobody'"),
        (lambda res: res.predictions(newdata=bh.datagrid(x=[])), "datagrid has no value of 'x'"),
        (
            lambda res: res.predictions(newdata=bh.datagrid(x=range(10**5), age=range(10**4))),
            "The grid has 1,000,000,000 rows",
        ),
        (lambda res: bh.datagrid(grid_type="all"), "grid_type is 'all'; use one of"),
        (lambda res: bh.datagrid(grid_type="counterfactual"), "needs values of some variable"),
        (
            lambda res: res.avg_predictions({"x": range(1000), "age": range(1000)}),
            "1,000,000 combinations of values times 240 rows",
        ),
        (lambda res: res.avg_slopes(wts=[1.0, 2.0]), "wts has 2 weights for 240 rows"),
        (lambda res: res.avg_slopes(wts=np.full(240, -1.0)), "wts has negative"),
        (
            lambda res: res.avg_slopes(newdata=res.model.data.frame.head(3).assign(x=[1.0, np.nan, 2.0])),
            "newdata has missing values of 'x'",
        ),
    ],
)
def test_what_is_refused(logit, call, sentence):
    with pytest.raises(bh.BetahatError, match=sentence):
        call(logit)


def test_where_marginaleffects_differs(logit, frame):
    """What docs/neighbours.rst says of it: weights of one average are left out, and values of predictions are averaged."""
    predictions = np.asarray(logit.predictions().params)
    theirs = me.avg_predictions(logit, wts="w")["estimate"].to_list()
    np.testing.assert_allclose(theirs, predictions.mean(), rtol=1e-8)
    np.testing.assert_allclose(one(logit.avg_predictions(wts="w")), np.average(predictions, weights=frame.w), **EXACT)
    both = me.avg_predictions(logit, variables={"treated": [0, 1]})["estimate"].to_list()
    np.testing.assert_allclose(both, logit.avg_predictions({"treated": [0, 1]}).params.mean(), rtol=1e-8)


def test_each_variable_is_taken_once(logit):
    assert list(logit.avg_slopes(["x", "x"]).params.index) == ["x"]
