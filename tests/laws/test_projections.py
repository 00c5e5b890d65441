"""Projections on absorbed effects are those on their dummies, written out."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from betahat.data.absorbed import not_alone
from betahat.data.effects import Effect
from betahat.errors import EstimationError
from betahat.solvers import connected, crossed_levels, dummies_leverage, dummy_equations, level_columns, projections
from betahat.solvers.connected import sizes_of
from betahat.solvers.dummies_leverage import effects_leverage
from betahat.solvers.normalised import normalised
from betahat.solvers.projections import projection_on

# Residuals agree with those of dense least squares to the rounding of the latter.
DIGITS = 1e-10
N = 400
ROUTES = ["direct", "within", "conjugate gradients", "incomplete factors", "device", "direct on device"]
NAMES = {
    "direct": "elimination",
    "direct on device": "elimination",
    "incomplete factors": "conjugate gradients",
    "device": "conjugate gradients",
}


def _effect(codes, *variables, count=None, constant=True):
    codes = torch.as_tensor(codes)
    values = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in variables], 1) if variables else None
    return Effect("e", codes, int(codes.max()) + 1 if count is None else count, values, constant)


def dummies(effect):
    """Return (n, count * width) an effect's columns, the dummies before each variable's."""
    own = torch.nn.functional.one_hot(effect.codes, effect.count).to(torch.float64)
    parts = [own] if effect.constant else []
    parts += [] if effect.variables is None else [own * v[:, None] for v in effect.variables.unbind(1)]
    return torch.cat(parts, 1).numpy()


def dense_residuals(effects, columns, weights=None):
    root = np.ones(len(columns)) if weights is None else np.sqrt(weights.numpy())
    d = np.concatenate([dummies(effect) for effect in effects], 1)
    d = d / np.maximum(np.abs(d).max(0), 1e-300)
    left, size, _ = np.linalg.svd(d * root[:, None], full_matrices=False)
    left = left[:, size > 1e-11 * size[0]]
    y = columns.numpy()
    fitted = left @ (left.T @ (y * root[:, None]))
    solved = np.linalg.lstsq(d * root[:, None], fitted, rcond=1e-11)[0]
    return y - d @ solved


def dense_leverage(effects, weights=None):
    root = np.ones(len(effects[0].codes)) if weights is None else np.sqrt(weights.numpy())
    d = np.concatenate([dummies(effect) for effect in effects], 1)
    left, size, _ = np.linalg.svd(d / np.maximum(np.abs(d).max(0), 1e-300) * root[:, None], full_matrices=False)
    return np.square(left[:, size > 1e-11 * size[0]]).sum(1)


def cases():
    rng = np.random.default_rng(0)
    firm, year, sector = rng.integers(0, 40, N), rng.integers(0, 7, N), rng.integers(0, 12, N)
    t, z = 2000.0 + year, rng.normal(size=N)
    worker = np.arange(N) // 4
    island = np.where(worker < 50, rng.integers(0, 8, N), 8 + rng.integers(0, 9, N))
    return {
        "one": [_effect(firm)],
        "empty levels": [_effect(firm * 2, count=90), _effect(year + 1, count=9)],
        "two": [_effect(firm), _effect(year)],
        "two in parts": [_effect(worker), _effect(island)],
        "three": [_effect(firm), _effect(year), _effect(sector)],
        "nested": [_effect(sector // 4), _effect(sector), _effect(year)],
        "labels alone": [_effect(firm), _effect((firm + 1) % 40), _effect((firm + 2) % 40)],
        "one level": [_effect(np.zeros(N, int)), _effect(firm)],
        "slopes": [_effect(firm, z)],
        "slopes of years": [_effect(firm, t), _effect(sector)],
        "slopes alone": [_effect(firm, t, constant=False), _effect(year)],
        "two slopes": [_effect(firm, t, z, constant=False)],
        "apart": [_effect(firm), _effect(firm, t, constant=False), _effect(year)],
        "single rows": [_effect(np.arange(N)), _effect(year)],
    }


CASES = cases()


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    if "device" in request.param:  # what a GPU is asked for, of torch on the CPU
        for module in (crossed_levels, dummy_equations, level_columns, projections):
            monkeypatch.setattr(module, "on_cpu", lambda x: False)
    if "direct" not in request.param:
        monkeypatch.setattr(projections, "_DENSE", -1)
        monkeypatch.setattr(projections, "_DENSE_LATER", -1)
    if request.param == "within":
        monkeypatch.setattr(projections, "_CAP_BEFORE", 0)
    if request.param == "incomplete factors":
        monkeypatch.setattr(dummy_equations, "_PATIENCE", 0)
    if request.param == "conjugate gradients":
        monkeypatch.setattr(projections, "find_spec", lambda name: None)
    return request.param


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_residuals_are_those_of_dense_dummies(name, weighted, route):
    effects = CASES[name]
    rng = np.random.default_rng(1)
    columns = torch.from_numpy(rng.normal(size=(N, 3)) + np.array([0.0, 100.0, 0.0]))
    weights = torch.from_numpy(np.r_[np.zeros(10), rng.random(N - 10) + 0.1]) if weighted else None
    if name == "single rows":
        weights = None
    projection = projection_on(effects, weights)
    before = columns.clone()
    found = projection.residuals(columns)
    assert torch.equal(before, columns)
    assert projection.orthogonality <= 1e-10
    assert projection.route in {"sums", NAMES.get(route, route)}
    if weighted:
        found, columns = found[10:], columns[10:]
        effects = [
            Effect("e", e.codes[10:], e.count, None if e.variables is None else e.variables[10:], e.constant)
            for e in effects
        ]
        weights = None if weights is None else weights[10:]
    np.testing.assert_allclose(found.numpy(), dense_residuals(effects, columns, weights), atol=DIGITS * 100)


@pytest.mark.parametrize("name", CASES)
def test_coefficients_give_the_fitted_values(name, route):
    effects = CASES[name]
    columns = torch.from_numpy(np.random.default_rng(1).normal(size=(N, 2)))
    projection = projection_on(effects, None)
    fitted = columns - projection.residuals(columns)
    again = np.zeros(columns.shape)
    for effect, coefficient in zip(effects, projection.coefficients(columns), strict=True):
        assert coefficient.shape == (effect.count, effect.width, 2)
        again += dummies(effect) @ coefficient.permute(1, 0, 2).reshape(-1, 2).numpy()
    np.testing.assert_allclose(again, fitted.numpy(), atol=1e-8)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", CASES)
def test_coefficients_are_counted_by_the_rank(name, order):
    effects = CASES[name][::order]
    sizes = sizes_of(effects, None)
    d = np.concatenate([dummies(effect) for effect in effects], 1)
    rank = np.linalg.matrix_rank(d / np.abs(d).max(0).clip(1e-300), tol=1e-8)
    assert sum(size.levels - size.redundant for size in sizes) + any(e.constant for e in effects) == rank


def test_few_effects_are_counted_by_connected_parts(monkeypatch):
    monkeypatch.setattr(connected, "_RANKED", 0)
    nested = [_effect([0, 0, 1, 1]), _effect([0, 1, 2, 3]), _effect([0, 0, 0, 1])]
    assert [size.redundant for size in sizes_of(nested, None)] == [2, 1, 2]  # the second has the constant
    weights = torch.tensor([1.0, 1.0, 1.0, 0.0]).double()
    assert [size.levels for size in sizes_of(nested, weights)] == [2, 3, 1]
    assert [size.redundant for size in sizes_of(nested[:2], None, first=[0])] == [1, 2]


def test_singletons_are_dropped_one_after_the_other():
    first = _effect([0, 0, 1, 1, 2, 2, 3])
    second = _effect([0, 0, 0, 1, 1, 2, 2])
    # the last row is alone; then row 5 is, then 4, then 3, then 2
    codes = torch.stack([first.codes, second.codes], 1)
    assert not_alone(codes, None).tolist() == [True, True] + [False] * 5
    assert not_alone(codes, torch.tensor([1, 1, 1, 1, 1, 1, 2])).tolist() == [True] * 7


def _hard(monkeypatch):
    """Effects whose levels form a chain, beside the direct route."""
    monkeypatch.setattr(projections, "_DENSE", -1)
    monkeypatch.setattr(projections, "_DENSE_LATER", -1)
    chain = np.arange(N) // 2
    return [_effect(chain // 2), _effect((chain + 1) // 2)], torch.from_numpy(
        np.random.default_rng(0).normal(size=(N, 2))
    )


def test_conjugate_gradients_have_a_cap(monkeypatch):
    effects, columns = _hard(monkeypatch)
    monkeypatch.setattr(projections, "find_spec", lambda name: None)
    monkeypatch.setattr(projections, "_CAP", 5)
    with pytest.raises(
        EstimationError, match=r"did not converge within 5 iterations .* pip install \"betahat\[effects\]\""
    ):
        projection_on(effects, None).residuals(columns)


def test_within_has_a_cap(monkeypatch):
    effects, columns = _hard(monkeypatch)
    monkeypatch.setattr(dummy_equations, "_WITHIN", 1)
    monkeypatch.setattr(projections, "_CAP_BEFORE", 5)
    with pytest.raises(EstimationError, match="did not converge within 1 iterations"):
        projection_on(effects, None).residuals(columns)


def test_residuals_that_do_not_become_orthogonal_are_refused(monkeypatch):
    monkeypatch.setattr(projections, "ORTHOGONAL", -1.0)
    with pytest.raises(EstimationError, match="not orthogonal to them"):
        projection_on(CASES["one"], None).residuals(torch.ones(N, 1))


def test_a_difficult_problem_is_handed_to_within(monkeypatch):
    effects, columns = _hard(monkeypatch)
    monkeypatch.setattr(projections, "_CAP_BEFORE", 20)
    projection = projection_on(effects, None)
    found = projection.residuals(columns)
    assert projection.route == "within"
    assert projection.iterations > 20
    np.testing.assert_allclose(found.numpy(), dense_residuals(effects, columns), atol=1e-9)
    np.testing.assert_allclose(projection.residuals(columns).numpy(), found.numpy(), atol=1e-9)


def test_levels_that_hardly_mix_have_factors(monkeypatch):
    effects, columns = _hard(monkeypatch)
    slow = projection_on(effects, None)
    expected = slow.residuals(columns).numpy()
    monkeypatch.setattr(dummy_equations, "_PATIENCE", 5)
    projection = projection_on(effects, None)
    np.testing.assert_allclose(projection.residuals(columns).numpy(), expected, atol=1e-9)
    assert projection.route == "conjugate gradients"
    assert projection.iterations < 10 < 20 < slow.iterations
    projection.residuals(columns)  # which starts with the factors
    assert projection.iterations < 10


def test_slow_problems_of_few_levels_are_factored(monkeypatch):
    effects, columns = _hard(monkeypatch)
    monkeypatch.setattr(projections, "_DENSE_LATER", 1000)
    monkeypatch.setattr(projections, "_CAP_BEFORE", 3)
    projection = projection_on(effects, None)
    np.testing.assert_allclose(projection.residuals(columns).numpy(), dense_residuals(effects, columns), atol=1e-9)
    assert projection.route == "elimination"


def test_parts_without_factors_take_their_diagonal(monkeypatch):
    effects, columns = _hard(monkeypatch)
    expected = projection_on(effects, None).residuals(columns).numpy()
    monkeypatch.setattr(dummy_equations, "_PATIENCE", 5)
    monkeypatch.setattr(dummy_equations.linalg, "spilu", Mock(side_effect=RuntimeError), raising=False)
    np.testing.assert_allclose(projection_on(effects, None).residuals(columns).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_leverage_is_the_diagonal_of_the_dense_projection(name, weighted, monkeypatch):
    monkeypatch.setattr(dummies_leverage, "_TABLE", 100)
    effects = CASES[name]
    weights = torch.from_numpy(np.r_[np.zeros(10), np.random.default_rng(3).random(N - 10) + 0.1]) if weighted else None
    np.testing.assert_allclose(
        effects_leverage(effects, weights).numpy(), dense_leverage(effects, weights), atol=DIGITS
    )


def test_leverage_of_many_levels_is_refused(monkeypatch):
    monkeypatch.setattr(dummies_leverage, "_MOST", 5)
    with pytest.raises(EstimationError, match=r"7 by 7 here, and is computed for up to 5; take HC1 or clusters"):
        effects_leverage(CASES["two"], None)


@pytest.mark.parametrize(
    "name", ["empty levels", "two", "two in parts", "three", "nested", "one level", "slopes", "apart"]
)
def test_coefficients_are_unique(name, route):
    effects = CASES[name]
    columns = torch.from_numpy(np.random.default_rng(1).normal(size=(N, 2)))
    found = projection_on(effects, None).coefficients(columns)
    dense = np.linalg.lstsq(np.concatenate([dummies(e) for e in effects], 1), columns.numpy(), rcond=1e-11)[0]
    start, others = 0, []
    for effect in effects:
        size = effect.count * effect.width
        others.append(
            torch.from_numpy(dense[start : start + size]).reshape(effect.width, effect.count, 2).permute(1, 0, 2)
        )
        start += size
    if name != "apart":  # where the slopes of t and the years have a trend in common
        for one, other in zip(found, normalised(effects, others), strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


def test_references_are_zero_in_each_part(route):
    worker, island = CASES["two in parts"]
    columns = torch.from_numpy(np.random.default_rng(1).normal(size=(N, 2)))
    _, second = projection_on([worker, island], None).coefficients(columns)
    assert torch.equal(second[[0, 8]], torch.zeros(2, 1, 2, dtype=torch.float64))


def test_order_and_labels_do_not_matter(route):
    rng = np.random.default_rng(4)
    columns = torch.from_numpy(rng.normal(size=(N, 2)))
    effects = CASES["three"]
    relabelled = [_effect(torch.from_numpy(rng.permutation(e.count))[e.codes]) for e in reversed(effects)]
    one, other = (projection_on(those, None).residuals(columns).numpy() for those in (effects, relabelled))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_weights_are_repeated_rows(route):
    rng = np.random.default_rng(5)
    times = rng.integers(0, 4, N)
    rows = np.repeat(np.arange(N), times)
    columns = torch.from_numpy(rng.normal(size=(N, 2)))
    for name in ("two", "slopes of years"):
        repeated = [
            Effect("e", e.codes[rows], e.count, None if e.variables is None else e.variables[rows]) for e in CASES[name]
        ]
        long = projection_on(repeated, None).residuals(columns[rows])
        short = projection_on(CASES[name], torch.from_numpy(times)).residuals(columns)
        np.testing.assert_allclose(long.numpy(), short[rows].numpy(), atol=1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_do_not_matter(unit, route):
    rng = np.random.default_rng(7)
    columns, weights = torch.from_numpy(rng.normal(size=(N, 2))), torch.from_numpy(rng.random(N))
    plain, other = projection_on(CASES["two"], weights), projection_on(CASES["two"], weights * unit)
    units = torch.tensor([1.0, unit], dtype=torch.float64)
    np.testing.assert_allclose(
        (other.residuals(columns * units) / units).numpy(), plain.residuals(columns).numpy(), atol=1e-9
    )
    for one, found in zip(plain.coefficients(columns), other.coefficients(columns * units), strict=True):
        np.testing.assert_allclose((found / units).numpy(), one.numpy(), atol=1e-9)


def test_no_columns_have_no_residuals():
    projection = projection_on(CASES["two"], None)
    assert projection.residuals(torch.ones(N, 0)).shape == (N, 0)
    assert projection.coefficients(torch.ones(N, 0))[1].shape == (7, 1, 0)


def test_one_row():
    effects = [_effect([2], count=4), _effect([1], [3.0], count=2)]
    assert float(projection_on(effects, None).residuals(torch.ones(1, 1)).abs()) < 1e-12
    assert float(effects_leverage(effects, None)) == pytest.approx(1.0)


def test_single_precision_and_constant_columns():
    rng = np.random.default_rng(6)
    columns = torch.from_numpy(np.c_[rng.normal(size=N), np.ones(N), np.zeros(N), 1e8 + rng.normal(size=N)])
    projection = projection_on(CASES["two"], None)
    np.testing.assert_allclose(
        projection.residuals(columns[:, :3].float()).numpy(),
        projection.residuals(columns[:, :3].float().double()).numpy(),
        atol=1e-14,
    )
    np.testing.assert_allclose(
        projection.residuals(columns)[:, 3], dense_residuals(CASES["two"], columns)[:, 3], atol=1e-6
    )
    assert float(projection.residuals(columns)[:, 1:3].abs().max()) < 1e-12
