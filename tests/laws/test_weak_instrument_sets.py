"""Anderson and Rubin's sets and those of the conditional likelihood ratio, against the tests themselves, on grids and by simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from tests.support.closeness import close
from tests.support.instruments import annihilated, classical_variance_of, iv_data, meat_of, part_of, variance_of

from betahat.errors import EstimationError
from betahat.inference.anderson_rubin import ConfidenceSet, Pencil, below_quadratic, pencil_of, set_below
from betahat.inference.conditional_likelihood_ratio import likelihood_ratio, tail
from betahat.inference.partialled import k_class
from betahat.inference.weak_instruments import sanderson_windmeijer

# Both sides are computed from products of the data.
CLOSE = 1e-8
# 200000 draws of a probability of at most one half: four standard errors.
SIMULATED = 0.0045

# From strong instruments to none.
STRENGTHS = [2.0, 0.3, 0.1, 0.03, 0.0]


def _pencil(seed, excluded, strength, kind="robust"):
    y, x, w, z, group, _ = iv_data(seed=seed, excluded=excluded, strength=strength, nobs=80, groups=12)
    part = part_of(y, x, w, z)
    options = {"robust": {}, "cluster": {"group": group}, "lags": {"lags": 2}, "classical": {}}[kind]
    each = classical_variance_of(y, x, w, z) if kind == "classical" else variance_of(y, x, w, z, **options)
    forms = part.reduced_form
    return part, pencil_of(forms[:, 1], forms[:, 0], lambda a, b: each([b, a]), 1.0), (y, x, w, z, group)


def _by_definition(value, data, kind):
    """The Wald statistic of the instruments in the regression of y - w b."""
    y, x, w, z, group = data
    free, dependent = annihilated(z, x), annihilated(y - w[:, 0] * value, x)
    residual, inverse = annihilated(dependent, free), np.linalg.inv(free.T @ free)
    options = {"robust": {}, "cluster": {"group": group}, "lags": {"lags": 2}}[kind]
    d = inverse @ free.T @ dependent
    return d @ np.linalg.solve(inverse @ meat_of(free * residual[:, None], **options) @ inverse, d)


@pytest.mark.parametrize("kind", ["robust", "cluster", "lags"])
def test_the_pencil_is_the_test(kind):
    _, pencil, data = _pencil(1, 3, 0.3, kind)
    for value in (-3.0, 0.0, 0.7, 40.0):
        close(pencil.statistic(value), _by_definition(value, data, kind), CLOSE)


def _grid(found):
    """Values of the coefficient from everywhere, dense about the ends of the set."""
    wide = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 2003)[1:-1])
    ends = [end for interval in found for end in interval if math.isfinite(end)]
    near = [end + (1 + abs(end)) * np.linspace(-0.3, 0.3, 101) for end in ends]
    return np.unique(np.concatenate([wide, *near]))


def _statistics(pencil, values):
    """The statistic at many values at once."""
    outcome, first, own, cross, square = (np.asarray(part) for part in list(vars(pencil).values())[:5])
    gaps = outcome - values[:, None] * first
    variances = own - values[:, None, None] * cross + values[:, None, None] ** 2 * square
    return (gaps * np.linalg.solve(variances, gaps[:, :, None])[:, :, 0]).sum(1)


def _check_set(pencil, critical, found):
    """Compare a set with the test at values everywhere, dense about its ends, and its ends with the critical value."""
    accepted, values = ConfidenceSet("AR", 0.05, found), _grid(found)
    gaps = _statistics(pencil, values) - critical
    sure = np.abs(gaps) > 1e-9 * critical
    wrong = [v for v, gap in zip(values[sure], gaps[sure], strict=True) if (v in accepted) != (gap < 0)]
    assert not wrong, (wrong, found)
    for end in (end for interval in found for end in interval if math.isfinite(end)):
        close(pencil.statistic(end), critical, CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["robust", "cluster", "lags", "classical"])
@pytest.mark.parametrize("excluded", [1, 2, 3, 5])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_sets_by_inversion_on_a_grid(kind, excluded, strength):
    part, pencil, _ = _pencil(excluded, excluded, strength, kind)
    for level in (0.05, 0.6):
        critical = stats.chi2.isf(level, excluded)
        _check_set(pencil, critical, set_below(pencil, critical, (float(k_class(part, 1.0)),)))


def test_all_shapes_occur():
    """On any covariance of the reduced form; several intervals, which one variance of the errors never gives, are some of them."""
    random, shapes = np.random.default_rng(0), []
    for _ in range(50):
        count = random.integers(1, 5)
        half = random.normal(size=(2 * count, 2 * count + 1))
        joint = torch.as_tensor(half @ half.T)
        parts = joint[:count, :count], joint[:count, count:], joint[count:, count:]
        outcome, first = torch.as_tensor(random.normal(size=(2, count)) * random.choice([1.0, 4.0]))
        pencil = Pencil(outcome, first, parts[0], parts[1] + parts[1].mT, parts[2])
        critical = float(np.quantile(_statistics(pencil, np.tan(random.uniform(-1.5, 1.5, size=50))), random.uniform()))
        found = set_below(pencil, 1.0001 * critical + 1e-3)
        _check_set(pencil, 1.0001 * critical + 1e-3, found)
        shapes.append(ConfidenceSet("AR", 0.05, found).shape)
    assert {*shapes} >= {"bounded", "two rays", "line", "several intervals"}
    _, pencil, _ = _pencil(1, 5, 0.3)
    assert set_below(pencil, 0.9 * _statistics(pencil, np.linspace(-5, 5, 10001)).min()) == []


def test_just_identified_sets_hold_the_estimate_and_its_statistic_is_zero():
    for strength in STRENGTHS:
        part, pencil, _ = _pencil(4, 1, strength)
        estimate = float(k_class(part, 1.0))
        assert pencil.statistic(estimate) < 1e-20
        for critical in (1e-6, 0.1, 3.84):
            found = ConfidenceSet("AR", 0.05, set_below(pencil, critical, (estimate,)))
            assert estimate in found


def test_sets_turn_with_units_and_instruments():
    y, x, w, z, *_ = iv_data(seed=7, excluded=3, strength=1.0, nobs=80)
    turn = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [0.5, 0.0, 3.0]])

    def ends(y, x, w, z):
        each, forms = variance_of(y, x, w, z), part_of(y, x, w, z).reduced_form
        unit = np.linalg.norm(y) / np.linalg.norm(w)
        return np.array(set_below(pencil_of(forms[:, 1], forms[:, 0], lambda a, b: each([b, a]), unit), 7.8))

    plain = ends(y, x, w, z)
    close(ends(y, x, w, z @ turn), plain, CLOSE)
    close(ends(y, x, w, z + x @ np.ones((2, 3))), plain, CLOSE)
    close(ends(1e6 * y, x, 1e-3 * w, z), 1e9 * plain, CLOSE)
    close(ends(y + 5.0 * w[:, 0], x, w, z), plain + 5.0, CLOSE)
    assert np.isfinite(plain).all()


def test_strong_instruments_and_nothing_else():
    """Where the set is a millionth of the coefficient wide, its ends are those of Wald's test."""
    y, x, w, z, *_ = iv_data(seed=1, excluded=2, strength=1.0)
    w = w + 1e6 * z[:, :1]
    each, part = classical_variance_of(y, x, w, z), part_of(y, x, w, z)
    forms = part.reduced_form
    ((low, high),) = set_below(pencil_of(forms[:, 1], forms[:, 0], lambda a, b: each([b, a]), 1.0), 5.99)
    assert low < float(k_class(part, 1.0)) < high < low + 1e-5


def test_a_covariance_of_too_few_clusters_is_refused():
    y, x, w, z, *_ = iv_data(excluded=4)
    each, forms = variance_of(y, x, w, z, group=np.arange(len(y)) % 3), part_of(y, x, w, z).reduced_form
    with pytest.raises(EstimationError, match="G clusters allow"):
        set_below(pencil_of(forms[:, 1], forms[:, 0], lambda a, b: each([b, a]), 1.0), 9.5)


@pytest.mark.parametrize("square", [-2.0, -1e-9, 0.0, 1e-9, 3.0])
@pytest.mark.parametrize("linear", [-4.0, 0.0, 1.0])
@pytest.mark.parametrize("constant", [-1.0, 0.0, 2.0])
def test_quadratic_inequalities(square, linear, constant):
    found = ConfidenceSet("q", 0.05, below_quadratic(square, linear, constant))
    for b in np.tan(np.linspace(-1.5, 1.5, 301)):
        value = square * b * b + linear * b + constant
        if abs(value) > 1e-9:
            assert (b in found) == (value < 0)


# the conditional likelihood ratio


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("known", [0.0, 0.5, 10.0, 1e4])
def test_conditional_tails_by_simulation(count, known):
    random = np.random.default_rng(count)
    s = random.normal(size=(200_000, count))
    q, first = (s**2).sum(1), s[:, 0] ** 2
    ratio = 0.5 * (q - known + np.sqrt((q + known) ** 2 - 4.0 * known * (q - first)))
    for m in (0.5, 2.0, 5.0, 9.0):
        assert abs(tail(m, known, count) - (ratio > m).mean()) < SIMULATED


@pytest.mark.parametrize("count", [2, 5])
def test_conditional_tails_between_their_limits(count):
    """Without information on the first stage the ratio is Anderson and Rubin's statistic, with all of it a squared t."""
    for m in (0.3, 3.0, 12.0):
        close(tail(m, 0.0, count), stats.chi2.sf(m, count), 1e-10)
        close(tail(m, 1e12, count), stats.chi2.sf(m, 1), 1e-6)
    assert tail(0.0, 3.0, count) == tail(-1.0, 3.0, count) == 1.0
    # the density of the direction integrates to one
    scale = integrate.quad(lambda u: math.cos(u) ** (count - 2), 0.0, math.pi / 2)[0]
    close(scale, math.sqrt(math.pi) * math.gamma((count - 1) / 2) / (2 * math.gamma(count / 2)), 1e-10)


def _by_moreira(value, data):
    """LR and T of Moreira (2003), by his formulas."""
    y, x, w, z, _ = data
    free, both = annihilated(z, x), annihilated(np.column_stack([y, w]), x)
    residual = annihilated(both, free)
    omega = residual.T @ residual / (len(y) - x.shape[1] - z.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(free.T @ free))
    b0, a0 = np.array([1.0, -value]), np.array([value, 1.0])
    s = root @ free.T @ both @ b0 / math.sqrt(b0 @ omega @ b0)
    inverse = np.linalg.inv(omega)
    t = root @ free.T @ both @ inverse @ a0 / math.sqrt(a0 @ inverse @ a0)
    qs, qt, st = s @ s, t @ t, s @ t
    return 0.5 * (qs - qt + math.sqrt((qs + qt) ** 2 - 4.0 * (qs * qt - st**2))), qt


@pytest.mark.parametrize("excluded", [1, 2, 4])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_clr_and_its_sets(excluded, strength):
    for seed in range(1):
        part, _, data = _pencil(seed, excluded, strength)
        ratio = likelihood_ratio(part)
        for value in (-4.0, 0.3, 9.0):
            statistic, known = _by_moreira(value, data)
            close(ratio.statistic(value), statistic, CLOSE, unit=max(ratio.roots))
            close(ratio.sufficient(value), known, CLOSE)
        for alpha in (0.05, 0.5):
            found = ratio.accepted(alpha)
            accepted = ConfidenceSet("CLR", alpha, found)
            for value in _grid(found)[::40]:
                p = ratio.pvalue(value)
                if abs(p - alpha) > 1e-9:
                    assert (value in accepted) == (p > alpha), (seed, alpha, value, p, found)


def test_clr_is_anderson_rubin_with_one_instrument():
    part, _, _ = _pencil(2, 1, 0.5)
    ratio = likelihood_ratio(part)
    pencil = _pencil(2, 1, 0.5, "classical")[1]
    for value in (-1.0, 0.4, 2.0):
        close(ratio.statistic(value), pencil.statistic(value), CLOSE)
        close(ratio.pvalue(value), stats.chi2.sf(pencil.statistic(value), 1), CLOSE)
    close(np.array(ratio.accepted(0.05)), np.array(set_below(pencil, stats.chi2.isf(0.05, 1))), CLOSE)


def test_how_sets_are_written():
    inf = math.inf
    sets = {
        "empty": [],
        "bounded": [(0.0, 1.0)],
        "ray": [(-inf, 1.0)],
        "two rays": [(-inf, 0.0), (1.0, inf)],
        "line": [(-inf, inf)],
        "several intervals": [(0.0, 1.0), (2.0, inf)],
    }
    for shape, intervals in sets.items():
        found = ConfidenceSet("Anderson-Rubin", 0.05, intervals)
        assert found.shape == shape
        assert shape in repr(found)
        assert "95%" in repr(found)
    assert "no value" in repr(ConfidenceSet("Anderson-Rubin", 0.05, []))


@pytest.mark.slow
def test_the_conditional_f_has_its_size_under_heteroskedasticity():
    """Where one regressor is moved only as the other is, five percent are rejected; by ivreg2's p'V^-1 p, which docs/weak-instruments.rst tells of, twelve."""
    random, reps, count = np.random.default_rng(0), 1000, 4
    ours, theirs = 0, 0
    for _ in range(reps):
        z = random.normal(size=(400, count))
        moved = z @ [1.0, 1.0, 0.5, 0.2]
        first = 0.8 * moved + random.normal(size=400) * (z[:, 0] ** 2 + 0.1)
        w = np.column_stack([first, moved + random.normal(size=400)])
        part = part_of(first, np.ones((400, 1)), w, z)
        each = variance_of(first, np.ones((400, 1)), w, z)
        ours += sanderson_windmeijer(part, 0, each, 1e6).pvalue < 0.05
        explained = part.explained.numpy()
        slope = explained[:, 0] @ explained[:, 1] / (explained[:, 1] @ explained[:, 1])
        weights = torch.tensor([1.0, -slope, 0.0], dtype=torch.float64)
        gap = part.combined(weights)
        theirs += float(gap @ torch.linalg.solve(each(weights), gap)) > stats.chi2.isf(0.05, count - 1)
    # 0.05 with a standard error of 0.007
    assert abs(ours / reps - 0.05) < 0.025
    assert theirs / reps > 0.09
