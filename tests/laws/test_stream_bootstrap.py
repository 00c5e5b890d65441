"""Bootstraps of rows in partitions: weights are functions of seed, replicate and place, drawn as rows are read, and replicates are those of memory."""

import numpy as np
import pytest
import torch
from support.streams import streamed

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.errors import EstimationError
from betahat.fits.index import fit_index
from betahat.fits.linear import fit_least_squares
from betahat.fits.refits import refit_on
from betahat.objectives.bernoulli import Logistic
from betahat.resampling.counter import integers, random_bits, uniforms, words
from betahat.resampling.in_turn import Drawn, InTurn
from betahat.resampling.weights import Exponential, Multinomial

N, K, REPS = 3_000, 4, 19
SIZES = (1_000, 0, 1, 999, 1_000)
# Sums over partitions are added in another order than those over all rows; optima are found to 1e-12 standard errors.
ROUNDING = 1e-11

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")  # test_cluster_messages.py has them

rng = np.random.default_rng(13)
X = np.column_stack([np.ones(N), rng.normal(size=(N, K - 1))])
UNIT = rng.integers(0, 40, N)
WHEN = np.sort(rng.integers(0, 200, N))
Y = X.sum(1) + rng.normal(size=40)[UNIT] + rng.normal(size=N)
COLUMNS = {"exog": torch.tensor(X), "endog": torch.tensor(Y)}
WEIGHTS = {"weights": torch.tensor(rng.uniform(0.5, 2.0, N))}
EYE = torch.eye(K, dtype=torch.float64)
COUNTS = {"counts": torch.tensor(rng.integers(0, 3, N) * 1.0)}


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)
    monkeypatch.setattr("betahat.resampling.in_turn._PIECE", 2**12)


def _fits(objective, beside=None):
    columns = COLUMNS | (beside or {})
    if objective == "WLS":
        columns = columns | WEIGHTS
    if objective == "Logit":
        columns = columns | {"endog": (columns["endog"] > 1.0).double()}
    for source in (streamed(columns, SIZES, beside={"unit": UNIT, "when": WHEN}), Held(columns)):
        design = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(K))), source)
        logit = objective == "Logit"
        yield fit_index(Logistic(), design, Bread.OBSERVED, "pinv") if logit else fit_least_squares(design, "pinv")


def _same_draws(objective, given, beside=None):
    """Compare replicates, with clusters and times by name and by vector."""
    read, held = _fits(objective, beside)
    vectors = {"clusters": UNIT, "time": WHEN}
    true = bh.Bootstrap(REPS, seed=5, **{name: vectors.get(name, value) for name, value in given.items()})(held)
    found = bh.Bootstrap(REPS, seed=5, **given)(read)
    scale = true.draws.sub(held.params).abs().amax(0)
    assert float(((found.draws - true.draws) / scale).abs().max()) < ROUNDING
    assert found.note == true.note
    return found, true


CLUSTERS = {"clusters": "unit"}
KINDS = {
    "pairs": {"kind": "pairs"},
    "bayesian": {"kind": "bayesian"},
    "poisson": {"kind": "poisson"},
    "score": {"kind": "score", "multiplier": "webb"},
    "score, normal": {"kind": "score", "multiplier": "normal"},
    "pairs of clusters": {"kind": "pairs", **CLUSTERS},
    "bayesian of clusters": {"kind": "bayesian", **CLUSTERS},
    "poisson of clusters": {"kind": "poisson", **CLUSTERS},
    "subsample of clusters": {"kind": "subsample", "size": 30, **CLUSTERS},
    "m-out-of-n of clusters": {"kind": "m-out-of-n", "size": 30, **CLUSTERS},
    "score of clusters": {"kind": "score", "multiplier": "mammen", **CLUSTERS},
    "blocks of times": {"kind": "moving-block", "time": "when"},
    "stationary": {"kind": "stationary", "time": "when", "block_length": 7.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", ["OLS", "WLS", "Logit"])
def test_replicates_are_those_of_memory(objective, kind):
    _same_draws(objective, KINDS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["OLS", "Logit"])
@pytest.mark.parametrize("kind", ["pairs", "bayesian"])
def test_clusters_whose_sums_are_not_held(kind, objective, monkeypatch):
    monkeypatch.setattr("betahat.resampling.in_turn._TABLE", 0)
    monkeypatch.setattr("betahat.resampling.in_turn._WEIGHTS", 2**12)
    _same_draws(objective, {"kind": kind, **CLUSTERS})
    _same_draws(objective, {"kind": kind, **CLUSTERS}, COUNTS)


@pytest.mark.parametrize("kind", ["poisson", "score", "wild"])
def test_clusters_of_frequency_weights(kind):
    found, true = _same_draws("OLS", {"kind": kind, **CLUSTERS}, COUNTS)
    ours, theirs = (
        cov.resampling.acceleration(torch.eye(K, dtype=torch.float64)) if kind == "poisson" else None
        for cov in (found, true)
    )
    if ours is not None:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("variant", ["11", "13", "31", "33"])
def test_wild_clusters_test_as_in_memory(variant):
    found, true = _same_draws("OLS", {"kind": "wild", "variant": variant, **CLUSTERS})
    eye, zero = torch.eye(K, dtype=torch.float64), torch.zeros(K, dtype=torch.float64)
    assert torch.equal(found.resampling.pvalues(eye, zero), true.resampling.pvalues(eye, zero))
    torch.testing.assert_close(
        found.resampling.interval(eye, 0.1), true.resampling.interval(eye, 0.1), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("residuals", ["raw", "HC2", "HC3"])
def test_wild_rows(residuals):
    _same_draws("WLS", {"kind": "wild", "residuals": residuals})


@pytest.mark.parametrize("clusters", [False, True])
def test_a_replicate_that_is_refitted_alone(clusters):
    """Rows count as often as they weigh in one replicate, read in turn and taken here and there."""
    read, held = _fits("Logit")
    scheme = Multinomial(40, 40) if clusters else Exponential(N)
    units = scheme(7, torch.tensor([0, 3]))
    drawn = Drawn(scheme, 7, torch.tensor([0, 3]), units if clusters else None)
    (groups,) = bh.covariance.partitions.groups_of(read, "unit", "clusters")
    of_rows = (units[:, UNIT] if clusters else units).to(torch.float64)
    often = of_rows.sum(1) / N
    sample = InTurn(groups.of_rows if clusters else None, drawn, often).sample(read, 1)
    wanted = held.sample.counted(of_rows[1] / often[1])
    torch.testing.assert_close(sample.counts, wanted.counts)
    places = torch.tensor([2_999, 4, 1_500])
    for name, part in zip(("endog", "counts"), sample.source.take(("endog", "counts"), places), strict=True):
        torch.testing.assert_close(part, wanted.column(name)[places])
    torch.testing.assert_close(refit_on(read, sample), refit_on(held, wanted), rtol=1e-10, atol=1e-10)


def test_what_needs_all_rows_says_so(monkeypatch):
    monkeypatch.setattr("betahat.covariance.bootstrap_plan._HELD", 100)
    read, _ = _fits("OLS")
    for kind in ("pairs", "subsample", "residual", "parametric", "moving-block"):
        with pytest.raises(
            EstimationError, match=r"holds a number for each row in memory, and 3,000 rows .* use kind='score'"
        ):
            bh.Bootstrap(REPS, kind)(read)
    with pytest.raises(EstimationError, match="holds a number for each row"):
        bh.Bootstrap(REPS, "bayesian")(next(_fits("OLS", COUNTS)))
    for kind in ("bayesian", "score"):
        resampling = bh.Bootstrap(REPS, kind)(read).resampling
        with pytest.raises(EstimationError, match=r"'studentized' .* passes of its own"):
            resampling.variances(EYE, EYE[None])
        with pytest.raises(EstimationError, match="'bca' needs the influence"):
            resampling.acceleration(EYE)
    clustered = bh.Bootstrap(REPS, "score", clusters="unit")(read).resampling
    with pytest.raises(EstimationError, match="'studentized'"):
        clustered.variances(EYE, EYE[None])
    with pytest.raises(EstimationError, match="'bca' needs"):
        clustered.acceleration(EYE)
    monkeypatch.setattr("betahat.resampling.moments.WIDE", 2)
    monkeypatch.setattr("betahat.resampling.in_turn.WIDE", 2)
    with pytest.raises(EstimationError, match="at most 2 coefficients, and there are 4"):
        bh.Bootstrap(REPS, "bayesian")(read)


@pytest.mark.parametrize(
    "function", [random_bits, words, uniforms, lambda *given, first: integers(*given, 6, first=first)]
)
def test_numbers_from_a_place_on_are_those_of_all(function):
    replicates = torch.tensor([0, 2, 77])
    whole = function(9, 1, replicates, 2_000, first=0)
    for first, count in ((0, 5), (3, 400), (257, 1), (801, 1_199), (1_024, 600), (13, 30)):
        assert torch.equal(function(9, 1, replicates, count, first=first), whole[:, first : first + count])
