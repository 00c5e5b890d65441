"""Hypotheses about margins against the delta method, arithmetic and replicates."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import betahat as bh

EXACT = {"rtol": 1e-11, "atol": 1e-13}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 200
    found = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.normal(size=n),
            "treated": rng.integers(0, 2, n),
            "region": rng.choice(["north", "south", "west"], n),
        }
    )
    index = 0.4 * found.x - 0.3 * found.z + 0.5 * found.treated
    return found.assign(y=(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-index))).astype(float))


@pytest.fixture(scope="module")
def logit(frame):
    return bh.logit("y ~ x * treated + z + region", frame).fit("HC1")


@pytest.fixture(scope="module")
def means(logit):
    return logit.avg_predictions(by=["treated", "region"])


def by_delta(margins, function):
    """Return numbers and errors of a function of (m,) numbers by the delta method."""
    found = margins.delta(lambda p: function(p.vector))
    return np.atleast_1d(found.estimate), np.atleast_1d(found.bse)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("b0 = b1", lambda b: b[0] - b[1]),
        ("b1 - b2 = 0", lambda b: b[1] - b[2]),
        ("2*b0 + b1 = 1", lambda b: 2.0 * b[0] + b[1] - 1.0),
        ("b0**2 / -b3 == +b2", lambda b: -(b[0] ** 2) / b[3] - b[2]),
        ("exp(b0) = np.log(b1)", lambda b: torch.exp(b[0]) - torch.log(b[1])),
        ("`treated=0, region=south` - b0", lambda b: b[1] - b[0]),
    ],
)
def test_equations(means, text, function):
    found = means.hypotheses(text)
    estimates, errors = by_delta(means, function)
    np.testing.assert_allclose(found.params, estimates, **EXACT)
    np.testing.assert_allclose(found.bse, errors, **EXACT)
    assert found.labels.term.tolist() == ["".join(text.split())]


def test_names_of_terms(logit):
    slopes = logit.avg_slopes()
    assert float(slopes.hypotheses("x = z").params.iloc[0]) == pytest.approx(slopes.params["x"] - slopes.params["z"])
    both = slopes.hypotheses(["x = z", "b0 = 0.1"])
    np.testing.assert_allclose(
        both.params, [slopes.params["x"] - slopes.params["z"], slopes.params["x"] - 0.1], **EXACT
    )


@pytest.mark.parametrize("side", ["difference", "ratio"])
@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("pairwise", [(1, 0), (2, 0), (2, 1)]),
        ("revpairwise", [(0, 1), (0, 2), (1, 2)]),
        ("reference", [(1, 0), (2, 0)]),
        ("revreference", [(0, 1), (0, 2)]),
        ("sequential", [(1, 0), (2, 1)]),
        ("revsequential", [(0, 1), (1, 2)]),
    ],
)
def test_differences_and_ratios(logit, side, kind, pairs):
    by = logit.avg_predictions(by="region")
    found = by.hypotheses(f"{side} ~ {kind}")

    def function(b):
        return torch.stack([b[i] - b[j] if side == "difference" else b[i] / b[j] for i, j in pairs])

    estimates, errors = by_delta(by, function)
    np.testing.assert_allclose(found.params, estimates, **EXACT)
    np.testing.assert_allclose(found.bse, errors, **EXACT)
    names, sign = ["north", "south", "west"], "-" if side == "difference" else "/"
    assert found.labels.term.tolist() == [f"({names[i]}) {sign} ({names[j]})" for i, j in pairs]
    null = 0.0 if side == "difference" else 1.0
    np.testing.assert_allclose(found.tvalues, (estimates - null) / errors, **EXACT)
    np.testing.assert_allclose(found.pvalues, 2.0 * stats.norm.sf(np.abs((estimates - null) / errors)), rtol=1e-9)
    if side == "difference":
        np.testing.assert_allclose(by.hypotheses(kind).bse, found.bse, **EXACT)


def test_deviations_from_means(logit):
    by = logit.avg_predictions(by="region")
    b = by.params.to_numpy()
    np.testing.assert_allclose(by.hypotheses("meandev").params, b - b.mean(), **EXACT)
    others = (b.sum() - b) / 2.0
    np.testing.assert_allclose(by.hypotheses("ratio ~ meanotherdev").params, b / others, **EXACT)
    assert by.hypotheses("meandev").labels.term.tolist()[0] == "(north) - Mean"


def test_within_the_values_of_a_label(means):
    found = means.hypotheses("difference ~ reference | treated")
    b = means.params.to_numpy()
    np.testing.assert_allclose(found.params, [b[1] - b[0], b[2] - b[0], b[4] - b[3], b[5] - b[3]], **EXACT)
    assert found.labels.treated.tolist() == [0, 0, 1, 1]
    assert found.labels.term.tolist() == ["(south) - (north)", "(west) - (north)"] * 2


def test_another_null(logit):
    slopes, moved = logit.avg_slopes("x"), logit.avg_slopes("x", hypothesis=0.05)
    np.testing.assert_array_equal(moved.params, slopes.params)
    np.testing.assert_allclose(moved.tvalues, (slopes.params - 0.05) / slopes.bse, **EXACT)
    drawn = logit.with_cov(bh.Bootstrap(99, seed=1)).avg_slopes("x")
    value = float(drawn.params.iloc[0])
    assert float(drawn.against(value).bootstrap_pvalues().iloc[0]) == 1.0


def test_matrices_and_functions(logit):
    by = logit.avg_predictions(by="region")
    b = by.params.to_numpy()
    weights = np.array([[1.0, 0.0], [-1.0, 0.5], [0.0, 0.5]])
    np.testing.assert_allclose(by.hypotheses(weights).params, b @ weights, **EXACT)
    np.testing.assert_allclose(by.hypotheses(weights[:, 0]).params, [b[0] - b[1]], **EXACT)
    own = by.hypotheses(lambda b: b[1:] / b[0])
    np.testing.assert_allclose(own.params, b[1:] / b[0], **EXACT)
    np.testing.assert_allclose(own.bse, by.hypotheses("ratio ~ reference").bse, **EXACT)
    assert own.labels.term.tolist() == ["custom 1", "custom 2"]
    assert len(by.hypotheses(lambda b: (b[0], b[1])).params) == 2


def test_replicates_of_a_bootstrap(logit):
    found = logit.with_cov(bh.Bootstrap(30, seed=2)).avg_predictions(by="region", hypothesis="ratio ~ reference")
    draws = logit.with_cov(bh.Bootstrap(30, seed=2)).cov.draws
    by = logit.avg_predictions(by="region")
    each = np.array([(values[1:] / values[0]).numpy() for values in by.function.values(draws)])
    np.testing.assert_allclose(found.bse, each.std(0, ddof=1), rtol=1e-10)


@pytest.mark.parametrize(
    ("hypothesis", "sentence"),
    [
        ({}, "hypothesis is {}; pass a number"),
        ([], r"hypothesis is \[\]; pass a number"),
        ("sum ~ pairwise", "write 'difference' or 'ratio'"),
        ("difference ~ nearest", "write 'difference' or 'ratio'"),
        ("difference ~ pairwise | nobody", "groups by 'nobody', which is not a label"),
        ("b0 = b1 = b2", "has several equals signs"),
        ("b0 +", "cannot be read"),
        ("b0 = nobody", "'nobody' is the name of no number, or of several"),
        ("b9 = 0", "there are 3 numbers, b0 to b2"),
        ("b0.real = 1", "of which 'b0.real' cannot be computed"),
        (np.ones((2, 2)), r"hypothesis has shape \(2, 2\) for 3 numbers"),
        (lambda b: b.nothing, "The hypothesis cannot be computed"),
        (lambda b: "no", "The hypothesis returned 'no' instead of numbers"),
    ],
)
def test_what_is_refused(logit, hypothesis, sentence):
    with pytest.raises(bh.BetahatError, match=sentence):
        logit.avg_predictions(by="region").hypotheses(hypothesis)


def test_one_number_has_no_differences(logit):
    with pytest.raises(bh.OptionError, match="there is one number alone"):
        logit.avg_predictions(hypothesis="pairwise")
