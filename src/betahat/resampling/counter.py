"""Philox, a counter-based generator, in integer tensor operations: the same numbers on any device, in any order."""

from __future__ import annotations

import torch
from torch import Tensor

# Salmon, Moraes, Dror and Shaw (2011), the constants of Philox 4x32.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFFFFFF
# Up to here a word times a number, over 2^32, is near enough to uniform.
_FEW = 2**20


def philox(a: Tensor, b: Tensor, c: Tensor, d: Tensor, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return four (...) int64 tensors of 32 random bits for each counter of four words, by Philox 4x32 of ten rounds.

    Parameters
    ----------
    a, b, c, d : Tensor
        The counters' words, int64 tensors of one shape, below 2^32; they are overwritten.
    key : tuple of int
        Two numbers below 2^32: the seed.

    References
    ----------
    Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. SC '11.

    Examples
    --------
    >>> import torch
    >>> [f"{int(word):08x}" for word in philox(*torch.zeros(4, dtype=torch.int64), key=(0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    left, right = key
    one, two = torch.empty_like(a), torch.empty_like(a)
    for _ in range(_ROUNDS):
        # int64 wraps, and its 64 bits are those of the product; the low words are masked where they are used
        low_a, low_c = a.mul_(_MULTIPLIERS[0]), c.mul_(_MULTIPLIERS[1])
        torch.bitwise_right_shift(low_c, 32, out=one).bitwise_xor_(b).bitwise_xor_(left).bitwise_and_(_LOW)
        torch.bitwise_right_shift(low_a, 32, out=two).bitwise_xor_(d).bitwise_xor_(right).bitwise_and_(_LOW)
        a, b, c, d, one, two = one, low_c, two, low_a, b, d
        left, right = (left + _WEYL[0]) & _LOW, (right + _WEYL[1]) & _LOW
    return a, b.bitwise_and_(_LOW), c, d.bitwise_and_(_LOW)


def words(seed: int, stream: int, replicates: Tensor, places: int) -> Tensor:
    """Return (R, places) int64 of 32 random bits, each a function of seed, stream, replicate and place alone.

    Parameters
    ----------
    seed : int
        Below 2^64.
    stream : int
        Below 2^32: numbers for another purpose are of another stream.
    replicates : Tensor
        (R,) int64, below 2^32.
    places : int
        The places are 0, 1, ..., places - 1.
    """
    counters = torch.arange(-(-places // 4), device=replicates.device)
    shape = (len(replicates), len(counters))
    made = philox(
        (counters & _LOW).expand(shape).clone(),
        (counters >> 32).expand(shape).clone(),
        replicates[:, None].expand(shape).clone(),
        counters.new_full(shape, stream),
        key=(seed & _LOW, (seed >> 32) & _LOW),
    )
    return torch.stack(made, 2).flatten(1)[:, :places]


def uniforms(seed: int, stream: int, replicates: Tensor, places: int) -> Tensor:
    """Return (R, places) uniform numbers in (0, 1) of 52 random bits: `words` of two for each place."""
    pairs = words(seed, stream, replicates, 2 * places).view(len(replicates), places, 2)
    bits = (pairs[:, :, 0] << 20) | (pairs[:, :, 1] >> 12)
    return bits.to(torch.float64).add_(0.5).mul_(2.0**-52)


def integers(seed: int, stream: int, replicates: Tensor, places: int, below: int) -> Tensor:
    """Return (R, places) whole numbers from 0 to below - 1, with equal probability.

    Notes
    -----
    A word times `below`, over 2^32, has probabilities that differ by below / 2^32 of themselves; from 2^20 on uniforms of 52 bits are
    taken, so that no probability is off by more than 1 in 4,096, and their mean not at all.
    """
    if below <= _FEW:
        return words(seed, stream, replicates, places).mul_(below).bitwise_right_shift_(32)
    return (uniforms(seed, stream, replicates, places) * below).to(torch.int64).clamp_max_(below - 1)
