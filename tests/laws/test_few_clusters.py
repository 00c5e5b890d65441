"""Wild clusters of which there are few: what their p-values can be, and that a warning says it."""

import itertools
import math
import warnings

import numpy as np
import pytest

import betahat as bh

WEBB = [sign * math.sqrt(square) for sign in (-1, 1) for square in (0.5, 1.0, 1.5)]
MAMMEN = {
    (1 - math.sqrt(5)) / 2: (math.sqrt(5) + 1) / (2 * math.sqrt(5)),
    (1 + math.sqrt(5)) / 2: (math.sqrt(5) - 1) / (2 * math.sqrt(5)),
}
WEIGHTS = {"rademacher": {-1.0: 0.5, 1.0: 0.5}, "webb": dict.fromkeys(WEBB, 1 / 6), "mammen": MAMMEN}


def _fit(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), 8)
    x = rng.normal(size=count)[groups] + rng.normal(size=8 * count)
    y = rng.normal(size=count)[groups] + rng.normal(size=8 * count)
    return bh.OLS(y, bh.add_constant(x)).fit(bh.Bootstrap(kind="wild", clusters=groups, seed=seed, **options))


def _rarest(multiplier, count):
    """Return the probability of the rarest |t*|: weights that are multiples of each other have the same."""
    found = {}
    for draw in itertools.product(WEIGHTS[multiplier], repeat=count):
        share = math.prod(WEIGHTS[multiplier][v] for v in draw)
        key = tuple(round(v / draw[0], 9) for v in draw)
        found[key] = found.get(key, 0.0) + share
    return min(found.values())


@pytest.mark.parametrize("variant", ["11", "13", "31", "33"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pvalues_of_all_signs_are_multiples_of_what_the_warning_says(count, variant):
    least = _rarest("rademacher", count)
    assert least == 2.0 ** (1 - count)
    for seed in range(4):
        with pytest.warns(
            bh.ClusterWarning, match=f"lies between 0 and {least:.3g} .one in {2 ** (count - 1)} draws of rademacher"
        ):
            res = _fit(count, seed, reps=999, variant=variant)
        shares = res.pvalues / least
        np.testing.assert_allclose(shares, shares.round(), atol=1e-12)


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize(("multiplier", "counts"), [("mammen", (2, 3, 4, 5)), ("webb", (2, 3, 4))])
def test_the_rarest_weights(multiplier, counts, null):
    for count in counts:
        least = _rarest(multiplier, count)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _fit(count, reps=19, multiplier=multiplier, null=null)
        said = [str(warning.message) for warning in caught]
        if multiplier == "webb" and null and count > 2:  # p-values that are fine enough for a test at 5%
            assert not said
        else:
            assert len(said) == 1
            assert f"0 and {least:.3g} " in said[0]


@pytest.mark.parametrize("multiplier", ["rademacher", "webb", "mammen", "normal"])
@pytest.mark.parametrize("kind", ["wild", "score", "pairs", "bayesian", "poisson"])
def test_each_kind_warns_of_four_clusters(kind, multiplier):
    options = {"multiplier": multiplier} if kind in ("wild", "score") else {}
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(4), 10)
    estimator = bh.Bootstrap(49, kind, seed=1, clusters=groups, **options)
    model = bh.OLS(rng.normal(size=40), bh.add_constant(rng.normal(size=40)))
    if kind == "wild" and multiplier in ("webb", "normal"):
        model.fit(estimator)  # whose p-values are fine enough
        return
    with pytest.warns(bh.ClusterWarning, match="4 clusters"):
        model.fit(estimator)
