"""Random numbers are functions of a seed and a place, on every device, and their weights have their moments."""

import numpy as np
import pytest
import torch
from scipy import stats
from support.resampled import FRAME, X

import betahat as bh
from betahat.resampling import counter
from betahat.resampling.counter import integers, philox, random_bits, uniforms, words
from betahat.resampling.weights import (
    MULTIPLIERS,
    AllSigns,
    Blocks,
    Exponential,
    Multinomial,
    Multipliers,
    PoissonCounts,
    Subsample,
)

# Statistics of random numbers leave this many standard errors once in 150,000 cases; seeds are fixed.
Z = 4.5

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _hex(tensors):
    return [f"{int(word) % 2**64:016x}" for word in tensors]


def _signed(word):
    return word - 2**64 if word >= 2**63 else word


# Random123's kat_vectors, philox4x64, ten rounds.
VECTORS = [
    ([0] * 4, (0, 0), "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    ([2**64 - 1] * 4, (2**64 - 1,) * 2, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


@pytest.mark.parametrize(("counters", "key", "published"), VECTORS)
def test_published_vectors(counters, key, published):
    assert _hex(philox(*[torch.tensor(_signed(c)) for c in counters], key=key)) == published.split()


def test_numpy_and_tensors_make_the_same_bits(monkeypatch):
    replicates = torch.tensor([0, 1, 77, 2**33])
    monkeypatch.setattr(counter, "_MANY", 1)
    by_numpy = random_bits(2**63 + 5, 3, replicates, 301)
    monkeypatch.setattr(counter, "_MANY", 10**9)
    assert torch.equal(by_numpy, random_bits(2**63 + 5, 3, replicates, 301))


def test_every_device_makes_the_same_weights(device):
    here, there = torch.arange(9), torch.arange(9, device=device)
    for scheme in _schemes(300):
        torch.testing.assert_close(scheme(6, there).cpu(), scheme(6, here), rtol=1e-14, atol=0)


def test_every_device_draws_the_same_estimates(device):
    x, y = torch.tensor(X), torch.tensor(FRAME.y.to_numpy().copy())
    there = bh.OLS(y.to(device), x.to(device)).fit(bh.Bootstrap(30, seed=1)).cov.draws
    assert there.device.type == device.type
    torch.testing.assert_close(
        there.cpu(), bh.OLS(y, x).fit(bh.Bootstrap(30, seed=1)).cov.draws, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("draw", [words, uniforms, lambda *a: integers(*a, 1000), lambda *a: integers(*a, 2**21)])
def test_numbers_are_a_function_of_their_place(draw):
    replicates = torch.arange(20)
    whole = draw(9, 1, replicates, 999)
    assert torch.equal(draw(9, 1, replicates[[3, 17]], 500), whole[[3, 17], :500])
    for other in (draw(10, 1, replicates, 999), draw(9, 2, replicates, 999), draw(9, 1, replicates + 20, 999)):
        assert not torch.equal(other, whole)


def test_numbers_are_uniform():
    drawn = uniforms(1, 0, torch.arange(200), 1000).flatten().numpy()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-5
    for below in (6, 1000, 2**21):
        counts = np.bincount(integers(2, 0, torch.arange(200), 1000, below).flatten().numpy() * 6 // below, minlength=6)
        assert stats.chisquare(counts).pvalue > 1e-5


def _schemes(units):
    return [
        Multinomial(units, units),
        Multinomial(units, units // 2),
        Subsample(units, units // 3),
        Exponential(units),
        PoissonCounts(units),
        *(Multipliers(units, kind) for kind in MULTIPLIERS),
        AllSigns(units),
        Blocks(units, 4, "moving"),
        Blocks(units, 4, "circular"),
        Blocks(units, 4.5, "stationary"),
    ]


@pytest.mark.parametrize("scheme", _schemes(30), ids=str)
def test_weights_do_not_depend_on_the_batch(scheme):
    whole = scheme(4, torch.arange(100))
    assert torch.equal(scheme(4, torch.tensor([70, 5])), whole[[70, 5]])


# mean, variance and third moment of a weight
MOMENTS = {
    Exponential: (1, 1, 2),
    PoissonCounts: (1, 1, 1),
    "rademacher": (0, 1, 0),
    "mammen": (0, 1, 1),
    "webb": (0, 1, 0),
    "normal": (0, 1, 0),
}


@pytest.mark.parametrize("key", MOMENTS, ids=str)
def test_moments_of_weights(key):
    mean, variance, third = MOMENTS[key]
    scheme = Multipliers(100, key) if isinstance(key, str) else key(100)
    drawn = scheme(8, torch.arange(4000)).to(torch.float64).flatten().numpy()
    for values, expected in ((drawn, mean), ((drawn - mean) ** 2, variance), ((drawn - mean) ** 3, third)):
        assert abs(values.mean() - expected) <= Z * values.std() / len(values) ** 0.5


def test_poisson_counts_have_their_probabilities():
    counts = np.bincount(PoissonCounts(500)(1, torch.arange(400)).flatten().numpy(), minlength=9)
    expected = stats.poisson(1).pmf(np.arange(8))
    found = np.r_[counts[:8], counts[8:].sum()]
    assert stats.chisquare(found, np.r_[expected, 1 - expected.sum()] * counts.sum()).pvalue > 1e-5


def test_counts_add_up():
    replicates = torch.arange(50)
    assert (Multinomial(20, 13)(0, replicates).sum(1) == 13).all()
    subsample = Subsample(20, 7)(0, replicates)
    assert (subsample.sum(1) == 7).all()
    assert subsample.max() == 1
    for kind in ("moving", "circular", "stationary"):
        assert (Blocks(20, 3, kind)(0, replicates).sum(1) == 20).all()
    assert len({tuple(row.tolist()) for row in AllSigns(6)(0, torch.arange(64))}) == 64


def test_multinomial_counts_have_their_covariance():
    counts = Multinomial(5, 5)(3, torch.arange(20_000)).to(torch.float64)
    centred = counts - 1
    products = centred[:, :, None] * centred[:, None]
    expected = torch.eye(5) - 0.2
    assert ((products.mean(0) - expected).abs() < Z * products.std(0) / len(counts) ** 0.5).all()


@pytest.mark.parametrize("kind", ["moving", "circular", "stationary"])
def test_blocks_are_consecutive(kind):
    drawn = Blocks(50, 5, kind).indices(7, torch.arange(2000))
    follows = drawn[:, 1:] == (drawn[:, :-1] + 1) % 50
    if kind == "stationary":
        share = follows.to(torch.float64).mean()  # 4 in 5 go on, and a new block follows by chance
        assert abs(float(share) - (0.8 + 0.2 / 50)) < 0.005
        return
    inside = torch.arange(1, 50) % 5 != 0
    assert follows[:, inside].all()
    if kind == "moving":
        assert (drawn[:, 1:] > drawn[:, :-1])[:, inside].all()
