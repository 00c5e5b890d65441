"""Separated rows are those of the authors' twelve cases, and of linear programming with the dummies written out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog

from betahat.data.effects import Effect
from betahat.errors import EstimationError
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
def test_more_random_data_are_separated_as_linear_programming_says():
    for seed in range(1000, 1250):
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


def test_what_is_not_decided_is_said(monkeypatch):
    zero, exog, effects = _random(0)
    monkeypatch.setattr(separation, "_STEPS", 1)
    with pytest.raises(EstimationError, match="could not be decided within 1 steps of the iterative rectifier"):
        separated_rows(-zero.double(), exog, effects)
