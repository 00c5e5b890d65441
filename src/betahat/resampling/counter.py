"""Philox, a counter-based generator: the same random numbers on any device and in any order.

On a CPU, replicates that need many numbers use NumPy's generator, which is written in C; otherwise integer tensor operations are used.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Salmon, Moraes, Dror and Shaw (2011), the constants of Philox 4x64, read as signed integers.
_MULTIPLIERS = (0xD2E7470EE14C6C93 - 2**64, 0xCA5A826395121157 - 2**64)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW, _WRAP = 0xFFFFFFFF, 2**64
# Up to this number, a 32-bit word times the number, over 2^32, is close enough to uniform.
_FEW = 2**20
# From this many numbers per replicate on, NumPy is faster than tensors.
_MANY = 256


def philox(a: Tensor, b: Tensor, c: Tensor, d: Tensor, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return four (...) int64 tensors of 64 random bits for counters of four words of that shape, by ten rounds of Philox 4x64.

    The key is two numbers below 2^64. Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. SC '11.

    >>> import torch
    >>> words = philox(*torch.zeros(4, dtype=torch.int64), key=(0, 0))
    >>> [f"{int(word) % 2**64:016x}" for word in words]
    ['16554d9eca36314c', 'db20fe9d672d0fdc', 'd7e772cee186176b', '7e68b68aec7ba23b']
    """
    left, right = key
    for _ in range(_ROUNDS):
        # int64 wraps around, so the low halves of the products are those of unsigned numbers
        first, second = _high(a, _MULTIPLIERS[0]), _high(c, _MULTIPLIERS[1])
        a, b, c, d = second ^ b ^ _signed(left), c * _MULTIPLIERS[1], first ^ d ^ _signed(right), a * _MULTIPLIERS[0]
        left, right = (left + _WEYL[0]) % _WRAP, (right + _WEYL[1]) % _WRAP
    return a, b, c, d


def random_bits(seed: int, stream: int, replicates: Tensor, places: int, first: int = 0) -> Tensor:
    """Return (R, places) int64 of 64 random bits, each a function of seed (below 2^64), stream, replicate and place alone.

    Each purpose has a stream of its own. Four places share a counter, (place / 4 + 1, replicate, stream, 0). The places begin with the `first`.
    """
    shared = first % 4
    if shared:
        return random_bits(seed, stream, replicates, places + shared, first - shared)[:, shared:]
    if _has_numpy(replicates, places):
        return torch.from_numpy(_by_numpy(seed, stream, replicates, places, first // 4).view(np.int64))
    counters = torch.arange(1, -(-places // 4) + 1, device=replicates.device) + first // 4
    shape = (len(replicates), len(counters))
    made = philox(
        counters.expand(shape),
        replicates[:, None].expand(shape),
        counters.new_full(shape, stream),
        counters.new_zeros(shape),
        key=(seed, 0),
    )
    return torch.stack(made, 2).flatten(1)[:, :places]


def words(seed: int, stream: int, replicates: Tensor, places: int, first: int = 0) -> Tensor:
    """Return (R, places) int64 of 32 random bits: the low, then the high halves of `random_bits`."""
    shared = first % 8
    if shared:
        return words(seed, stream, replicates, places + shared, first - shared)[:, shared:]
    pairs = -(-places // 2)
    if _has_numpy(replicates, pairs):
        halves = _by_numpy(seed, stream, replicates, pairs, first // 8).astype("<u8", copy=False).view("<u4")
        return torch.from_numpy(halves[:, :places].astype(np.int64))
    bits = random_bits(seed, stream, replicates, pairs, first // 2)
    return torch.stack([bits & _LOW, (bits >> 32) & _LOW], 2).flatten(1)[:, :places]


def uniforms(seed: int, stream: int, replicates: Tensor, places: int, first: int = 0) -> Tensor:
    """Return (R, places) uniform numbers in (0, 1), of 52 random bits."""
    bits = (random_bits(seed, stream, replicates, places, first) >> 12) & (2**52 - 1)
    return bits.to(torch.float64).add_(0.5).mul_(2.0**-52)


def integers(seed: int, stream: int, replicates: Tensor, places: int, below: int, first: int = 0) -> Tensor:
    """Return (R, places) whole numbers from 0 to below - 1, all equally probable.

    A word times `below`, over 2^32, has probabilities with a relative error of below / 2^32. From 2^20 on, uniforms of 52 bits are used, so
    that no probability is off by more than 1 in 4,096, and the mean not at all.
    """
    if below <= _FEW:
        return words(seed, stream, replicates, places, first).mul_(below).bitwise_right_shift_(32)
    return (uniforms(seed, stream, replicates, places, first) * below).to(torch.int64).clamp_max_(below - 1)


def _has_numpy(replicates: Tensor, places: int) -> bool:
    return replicates.device.type == "cpu" and places >= _MANY


def _by_numpy(seed: int, stream: int, replicates: Tensor, places: int, counter: int) -> np.ndarray:
    generator = np.random.Philox(0)
    state = generator.state
    numbers = np.empty((len(replicates), places), dtype=np.uint64)
    for row, replicate in zip(numbers, replicates.tolist(), strict=True):
        # NumPy increments the counter before it draws, so that of the first place is 1
        state["state"] = {
            "counter": np.array([counter, replicate, stream, 0], dtype=np.uint64),
            "key": np.array([seed, 0], dtype=np.uint64),
        }
        generator.state = state
        row[:] = generator.random_raw(places)
    return numbers


def _high(words: Tensor, factor: int) -> Tensor:
    """Return the high 64 bits of the products of unsigned words and a factor, from halves of 32 bits."""
    low, high = words & _LOW, (words >> 32) & _LOW
    factor_low, factor_high = factor & _LOW, (factor >> 32) & _LOW
    carried = high * factor_low + _upper(low * factor_low)
    middle = low * factor_high + (carried & _LOW)
    return high * factor_high + _upper(carried) + _upper(middle)


def _upper(words: Tensor) -> Tensor:
    """Return the upper 32 bits of unsigned words."""
    return (words >> 32) & _LOW


def _signed(word: int) -> int:
    """Read 64 bits as a signed integer."""
    return word - _WRAP if word >= 2**63 else word
