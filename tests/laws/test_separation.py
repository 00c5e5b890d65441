"""Separated rows are those of the authors' twelve cases, and of linear programming with the dummies written out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog

import betahat as bh
from betahat.data.effects import Effect
from betahat.errors import BetahatWarning, EstimationError
from betahat.solvers import separation
from betahat.solvers.separation import separated_rows, uniform_levels

CASES = sorted((Path(__file__).parents[1] / "golden" / "separation").glob("*.csv"))


def effects_of(*columns):
    """Return effects of (n,) labels."""
    codes = [np.unique(column, return_inverse=True)[1] for column in columns]
    return [Effect(f"e{i}", torch.from_numpy(code), int(code.max()) + 1) for i, code in enumerate(codes)]


def by_linear_programming(zero, exog, effects):
    """Return the rows in which some z = Xb + Da >= 0 that is zero in the other rows is positive: the most that are, at least one of each."""
    dummies = [torch.nn.functional.one_hot(effect.codes, effect.count).numpy() for effect in effects]
    columns = np.concatenate([exog.numpy(), *dummies], 1)
    rows, width = int(zero.sum()), columns.shape[1]
    tied = columns[~zero.numpy()]
    found = linprog(
        np.r_[np.zeros(width), -np.ones(rows)],
        A_ub=np.concatenate([-columns[zero.numpy()], np.eye(rows)], 1),
        b_ub=np.zeros(rows),
        A_eq=np.concatenate([tied, np.zeros((len(tied), rows))], 1),
        b_eq=np.zeros(len(tied)),
        bounds=[(None, None)] * width + [(0, 1)] * rows,
        method="highs",
    )
    assert found.status == 0
    out = np.zeros(len(zero), bool)
    out[zero.numpy().nonzero()[0]] = found.x[width:] > 0.5
    return out


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_twelve_cases(path):
    data = pd.read_csv(path)
    exog = data.filter(regex="^x").to_numpy(float)
    effects = effects_of(*(data[name] for name in data.filter(regex="^id")))
    if not effects:
        exog = np.column_stack([exog, np.ones(len(data))])
    found = separated_rows(-torch.tensor(data["y"].to_numpy() == 0).double(), torch.tensor(exog), effects)
    np.testing.assert_array_equal(found.numpy(), data["separated"] == 1)


def _random(seed):
    rng = np.random.default_rng(seed)
    n, effects, width = rng.integers(5, 50), rng.integers(1, 4), rng.integers(0, 5)
    y = rng.poisson(rng.choice([0.2, 0.5, 1.0, 3.0]), n)
    y[rng.integers(n)] = 1
    exog = rng.integers(-rng.integers(1, 4), rng.integers(2, 5), (n, width)).astype(float)
    if rng.random() < 0.3:
        exog *= rng.random((n, width)) < 0.3
    if rng.random() < 0.3:
        exog *= 10.0 ** rng.integers(-2, 3, width)
    labels = [rng.integers(0, rng.integers(2, max(3, n // 2)), n) for _ in range(effects)]
    return torch.tensor(y == 0), torch.tensor(exog), effects_of(*labels)


def test_random_data_are_separated_as_linear_programming_says():
    separated = 0
    for seed in range(120):
        zero, exog, effects = _random(seed)
        wanted = by_linear_programming(zero, exog, effects)
        separated += wanted.any()
        np.testing.assert_array_equal(separated_rows(-zero.double(), exog, effects).numpy(), wanted, f"seed {seed}")
    assert separated > 40


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1256, 32))
def test_more_random_data_are_separated_as_linear_programming_says(first):
    for seed in range(first, first + 32):
        zero, exog, effects = _random(seed)
        wanted = by_linear_programming(zero, exog, effects)
        np.testing.assert_array_equal(separated_rows(-zero.double(), exog, effects).numpy(), wanted, f"seed {seed}")


@pytest.mark.parametrize(("closed", "count"), [(False, 99), (True, 0)])
def test_a_long_chain_is_separated_unless_it_is_closed(closed, count):
    """Cells (i, i) are positive, so that a_i = -b_i, and cells (i, i + 1) are zero: their z = a_i - a_(i+1), unless the last leads to the first."""
    i = np.arange(100)
    first, second = np.r_[i, i[:-1], i[-1:][:closed]], np.r_[i, i[1:], i[:1][:closed]]
    zero = torch.arange(len(first)) >= 100
    found = separated_rows(-zero.double(), torch.zeros(len(first), 0), effects_of(first, second))
    assert int(found.sum()) == count


def test_neither_the_order_nor_the_units_matter():
    zero, exog, effects = _random(7)
    wanted = separated_rows(-zero.double(), exog, effects)
    order = torch.randperm(len(zero), generator=torch.Generator().manual_seed(0))
    moved = [Effect(e.name, e.count - 1 - e.codes[order], e.count) for e in reversed(effects)]
    scale = 10.0 ** torch.arange(-3.0, exog.shape[1] - 3.0, dtype=torch.float64)
    assert torch.equal(separated_rows(-zero[order].double(), (exog * scale)[order], moved), wanted[order])


def test_levels_of_one_value_go_one_after_the_other():
    zero = torch.tensor([True, True, False, True, False, False])
    first, second = [0, 0, 1, 1, 1, 2], [0, 1, 1, 2, 3, 3]
    found = uniform_levels(effects_of(first, second), -zero.double(), None)
    assert found.tolist() == [True, True, False, True, False, False]
    both = uniform_levels(effects_of(first, second), torch.where(zero, -1.0, 1.0), None)
    assert both.tolist() == [True] * 6
    used = torch.tensor([True, False, True, False, True, True])
    assert uniform_levels(effects_of([0, 0, 1, 1, 2, 2]), zero.double(), used).tolist() == [True] * 2 + [False] * 4


def test_a_yes_or_no_is_separated_towards_both_sides():
    """Both signs: the direction has the sign of each row, as if rows of the other sign were turned round."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = rng.integers(6, 30)
        signs = torch.tensor(rng.choice([-1.0, 0.0, 1.0], n, p=[0.45, 0.1, 0.45]))
        exog = torch.tensor(rng.integers(-2, 3, (n, 2)).astype(float))
        effects = effects_of(rng.integers(0, 3, n))
        dummies = torch.nn.functional.one_hot(effects[0].codes, effects[0].count)
        turned = torch.cat([exog, dummies], 1) * torch.where(signs == 0, 1.0, signs)[:, None]
        wanted = by_linear_programming(signs != 0, turned, [])
        np.testing.assert_array_equal(separated_rows(signs, exog, effects).numpy(), wanted, f"seed {seed}")


def test_slopes_separate_too():
    level, t = np.repeat([0, 1, 2], 3), torch.tensor([1.0, 2.0, 3.0] * 3, dtype=torch.float64)
    zero = torch.tensor([0, 1, 1, 1, 1, 1, 0, 0, 1], dtype=torch.bool)
    own = Effect("level[[t]]", torch.from_numpy(level), 3, t[:, None], constant=False)
    found = separated_rows(-zero.double(), torch.zeros(9, 0, dtype=torch.float64), [own])
    assert found.tolist() == [False] * 3 + [True] * 3 + [False] * 3


def _skewed(seed, power, n=300):
    """Return data whose s is only there where nothing happens."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"firm": rng.integers(15, size=n), "year": rng.integers(6, size=n), "x": rng.normal(size=n)})
    data["count"], data["one"] = rng.poisson(1, n), 1
    data["yes"] = (data["count"] > 0) * 1
    data["s"] = np.where((data["count"] == 0) & (data["x"] > 0), data["x"].abs() ** power, 0.0)
    return data


@pytest.mark.parametrize("effects", ["one", "firm", "firm + year"])
@pytest.mark.parametrize("power", [2, 4, 8])
def test_a_skewed_regressor_leaves_the_fit_of_the_rest(power, effects):
    for seed in (1, 2):
        data = _skewed(seed, power)
        with (
            pytest.warns(BetahatWarning, match="separated by regressors"),
            pytest.warns(BetahatWarning, match="'s' depends"),
        ):
            found = bh.poisson(f"count ~ x + s | {effects}", data).fit()
        rest = bh.poisson(f"count ~ x | {effects}", data[data["s"] == 0]).fit()
        assert found.nobs == rest.nobs
        np.testing.assert_allclose(found.params["x"], rest.params["x"], rtol=1e-10)


@pytest.mark.parametrize(("power", "n"), [(1, 300), (2, 300), (4, 300), (8, 300), (3, 20_000)])
def test_without_effects_a_skewed_regressor_is_refused(power, n):
    for seed in (1, 2) if n == 300 else (1,):
        data = _skewed(seed, power, n)
        for model in (
            bh.poisson("count ~ x + s", data),
            bh.logit("yes ~ x + s", data),
            bh.probit("yes ~ x + s", data),
            bh.glm("count ~ x + s", data, "poisson"),
        ):
            with pytest.raises(EstimationError, match=r"The loss falls forever along 's'.* no finite estimate"):
                model.fit()


def test_what_separates_without_effects_is_counted_among_the_rows_in_use():
    data = _skewed(1, 4)
    used = (data["year"] > 0) * 1.0
    count = int(((data["s"] > 0) & (used > 0)).sum())
    with pytest.raises(EstimationError, match=f"along 's' in {count} rows of 300, so there is no finite estimate"):
        bh.poisson("count ~ x + s", data, weights=used).fit()


def test_rows_far_from_the_others_are_not_separated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2))
    for size in (10.0, 100.0):
        yes = (size * x[:, 0] + rng.logistic(size=5000) > 0) * 1
        assert bh.Logit(yes, np.column_stack([np.ones(5000), x])).fit().params[1] > 0.8 * size
    index = np.where(x[:, 0] > 0, 0.0, -60.0)
    found = bh.Poisson(rng.poisson(np.exp(index)), np.column_stack([np.ones(5000), x]), offset=index).fit()
    assert np.abs(found.params).max() < 0.2


def _blended(seed):
    """Return rows that a regressor separates together with others and the effects, over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    n = 120
    y, firm, year = rng.poisson(0.8, n), rng.integers(0, 6, n), rng.integers(0, 4, n)
    x = rng.normal(size=(n, 2))
    s = np.where((y == 0) & (x[:, 0] > 0), np.abs(x[:, 0]) ** rng.choice([2, 4, 8]), 0.0)
    if rng.random() < 0.3:
        s[(y == 0).nonzero()[0][0]] = -1.0
    mixed = s + x @ rng.normal(size=2) + rng.normal(size=6)[firm] + rng.normal(size=4)[year]
    return y, s, torch.tensor(np.column_stack([x, mixed])), effects_of(firm, year)


def _check_blended(seeds):
    separated = 0
    for seed in seeds:
        y, s, exog, effects = _blended(seed)
        found = separated_rows(-torch.tensor(y == 0).double(), exog, effects).numpy()
        floor = 1e-7  # a billionth of the terms of the mixture, which are up to a hundred, may be rounding
        wanted = (s > floor) if (s >= 0).all() else np.zeros(len(s), bool)
        plain = torch.cat([exog[:, :2], torch.tensor(s)[:, None]], 1)
        by_program = by_linear_programming(torch.tensor(y == 0), plain, effects)
        assert (found[by_program | wanted] | (s[by_program | wanted] < floor)).all(), f"seed {seed}"
        assert not (found & ~by_program & (s <= 0)).any(), f"seed {seed}"
        alone = separated_rows(-torch.tensor(y == 0).double(), plain, effects).numpy()
        np.testing.assert_array_equal(alone, by_program | ((s > 0) & (s >= 0).all()), f"seed {seed}")
        separated += found.any()
    assert separated


def test_a_skewed_direction_of_several_columns_is_found():
    _check_blended(range(15))


@pytest.mark.slow
def test_more_skewed_directions_of_several_columns_are_found():
    _check_blended(range(100, 140))


def test_linear_programming_alone_says_the_same(monkeypatch):
    monkeypatch.setattr(separation, "_PATIENCE", 1)
    for seed in range(200, 240):
        zero, exog, effects = _random(seed)
        wanted = by_linear_programming(zero, exog, effects)
        np.testing.assert_array_equal(separated_rows(-zero.double(), exog, effects).numpy(), wanted, f"seed {seed}")


@pytest.mark.parametrize(
    ("most", "said"), [(0, "which is for 0 rows at most, and these are"), (10**6, "by linear programming; scale")]
)
def test_what_is_not_decided_is_said(monkeypatch, most, said):
    zero, exog, effects = _random(0)
    monkeypatch.setattr(separation, "_STEPS", 1)
    monkeypatch.setattr(separation, "MOST_ROWS", most)
    with pytest.raises(
        EstimationError,
        match=f"could not be decided within 1 steps of the iterative rectifier, nor {'by linear programming, ' if not most else ''}{said}",
    ):
        separated_rows(-zero.double(), exog, effects)
