"""Losses of robust regression, in errors measured by their scale: statsmodels' norms, under its names and with its constants.

Each is rho(z) of z = e / s, with psi = rho' and psi(z) = z where z is small. The loss of a row is s^2 rho(e / s), in units of a squared error.
Huber and Ronchetti (2009), Robust Statistics, chapters 4 and 7; Andrews et al. (1972), Robust Estimates of Location; Hampel et al. (1986).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from betahat.objectives.base import row_sums
from betahat.objectives.dispersion import ErrorScale
from betahat.objectives.errors_alone import ErrorLoss


@dataclass(frozen=True)
class RobustLoss(ErrorLoss, ABC):
    """A loss s^2 rho(e / s) of an error e = y - eta.

    Attributes
    ----------
    scale : float
        s, in units of y.
    """

    scale: float = field(default=1.0, kw_only=True)

    @property
    def dispersion(self) -> ErrorScale:
        """s^2."""
        return ErrorScale(self.scale)

    @abstractmethod
    def rho(self, z: Tensor) -> Tensor:
        """Return rho at (...) z."""

    @abstractmethod
    def weight(self, z: Tensor) -> Tensor:
        """Return psi(z) / z at (...) z, by which rows are reweighted."""

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Return psi'(z) at (...) z."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) s^2 rho(e / s)."""
        return row_sums(self.scale**2 * self.rho((target - output) / self.scale))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) s psi(e / s)."""
        error = target - index
        return self.weight(error / self.scale) * error

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) psi'(e / s), which is negative where psi falls."""
        return self.slope((target - index) / self.scale)


@dataclass(frozen=True)
class LeastSquares(RobustLoss):
    """rho = z^2 / 2."""

    def rho(self, z: Tensor) -> Tensor:
        """Return z^2 / 2."""
        return 0.5 * z.square()

    def weight(self, z: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(z)

    def slope(self, z: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(z)


@dataclass(frozen=True)
class HuberT(RobustLoss):
    """psi = z, held to -t and t (Huber 1964)."""

    t: float = 1.345

    def rho(self, z: Tensor) -> Tensor:
        """Return z^2 / 2 up to t, t |z| - t^2 / 2 beyond."""
        size = z.abs()
        return torch.where(size <= self.t, 0.5 * z.square(), self.t * (size - 0.5 * self.t))

    def weight(self, z: Tensor) -> Tensor:
        """Return 1 up to t, t / |z| beyond."""
        return self.t / z.abs().clamp_min(self.t)

    def slope(self, z: Tensor) -> Tensor:
        """Return 1 up to t, 0 beyond."""
        return (z.abs() <= self.t).to(z.dtype)


@dataclass(frozen=True)
class RamsayE(RobustLoss):
    """psi = z exp(-a |z|)."""

    a: float = 0.3

    def rho(self, z: Tensor) -> Tensor:
        """Return (1 - exp(-a |z|) (1 + a |z|)) / a^2."""
        size = self.a * z.abs()
        return -(torch.expm1(-size) + torch.exp(-size) * size) / self.a**2

    def weight(self, z: Tensor) -> Tensor:
        """Return exp(-a |z|)."""
        return torch.exp(-self.a * z.abs())

    def slope(self, z: Tensor) -> Tensor:
        """Return exp(-a |z|) (1 - a |z|)."""
        size = self.a * z.abs()
        return torch.exp(-size) * (1.0 - size)


@dataclass(frozen=True)
class AndrewWave(RobustLoss):
    """psi = a sin(z / a) up to pi a, 0 beyond."""

    a: float = 1.339

    def rho(self, z: Tensor) -> Tensor:
        """Return 2 a^2 sin(z / 2a)^2 up to pi a, 2 a^2 beyond."""
        return 2.0 * self.a**2 * torch.sin(0.5 * self._angle(z)).square()

    def weight(self, z: Tensor) -> Tensor:
        """Return sin(z / a) / (z / a) up to pi a, 0 beyond."""
        return torch.where(self._inside(z), torch.sinc(self._angle(z) / math.pi), 0.0)

    def slope(self, z: Tensor) -> Tensor:
        """Return cos(z / a) up to pi a, 0 beyond."""
        return torch.where(self._inside(z), torch.cos(self._angle(z)), 0.0)

    def _inside(self, z: Tensor) -> Tensor:
        return z.abs() <= self.a * math.pi

    def _angle(self, z: Tensor) -> Tensor:
        return (z / self.a).clamp(-math.pi, math.pi)


@dataclass(frozen=True)
class TrimmedMean(RobustLoss):
    """psi = z up to c, 0 beyond: it jumps there, which psi' is silent about."""

    c: float = 2.0

    def rho(self, z: Tensor) -> Tensor:
        """Return z^2 / 2, at most c^2 / 2."""
        return 0.5 * z.clamp(-self.c, self.c).square()

    def weight(self, z: Tensor) -> Tensor:
        """Return 1 up to c, 0 beyond."""
        return (z.abs() <= self.c).to(z.dtype)

    def slope(self, z: Tensor) -> Tensor:
        """Return the same as `weight`."""
        return self.weight(z)


@dataclass(frozen=True)
class Hampel(RobustLoss):
    """psi = z up to a, constant up to b, and back to zero at c, in straight lines."""

    a: float = 2.0
    b: float = 4.0
    c: float = 8.0

    def rho(self, z: Tensor) -> Tensor:
        """Return the integral of psi."""
        flat = self.a * (z.abs().clamp_max(self.b) - 0.5 * self.a)
        size = z.abs().clamp(self.b, self.c)
        falling = 0.5 * self.a * (self.c - self.b) * (1.0 - ((self.c - size) / (self.c - self.b)).square())
        return torch.where(z.abs() <= self.a, 0.5 * z.square(), flat + falling)

    def weight(self, z: Tensor) -> Tensor:
        """Return psi / z."""
        return self.a / z.abs().clamp_min(self.a) * self._left(z).clamp(0.0, 1.0)

    def slope(self, z: Tensor) -> Tensor:
        """Return 1, 0, -a / (c - b) and 0."""
        size = z.abs()
        falling = (size > self.b) & (size <= self.c)
        return (size <= self.a).to(z.dtype) - falling.to(z.dtype) * (self.a / (self.c - self.b))

    def _left(self, z: Tensor) -> Tensor:
        """Return what is left of the way back to zero, above 1 before it starts and below 0 where it has ended."""
        return (self.c - z.abs()) / (self.c - self.b)


@dataclass(frozen=True)
class TukeyBiweight(RobustLoss):
    """psi = z (1 - (z / c)^2)^2 up to c, 0 beyond: the bisquare (Beaton and Tukey 1974)."""

    c: float = 4.685

    def rho(self, z: Tensor) -> Tensor:
        """Return c^2 / 6 (1 - (1 - (z / c)^2)^3), at most c^2 / 6."""
        square = self._square(z)
        return self.c**2 / 6.0 * square * (3.0 - 3.0 * square + square.square())

    def weight(self, z: Tensor) -> Tensor:
        """Return (1 - (z / c)^2)^2 up to c, 0 beyond."""
        return (1.0 - self._square(z)).square()

    def slope(self, z: Tensor) -> Tensor:
        """Return (1 - (z / c)^2) (1 - 5 (z / c)^2) up to c, 0 beyond."""
        square = self._square(z)
        return (1.0 - square) * (1.0 - 5.0 * square)

    def _square(self, z: Tensor) -> Tensor:
        return (z / self.c).square().clamp_max(1.0)


@dataclass(frozen=True)
class TukeyQuartic(RobustLoss):
    """psi = z (1 - |z / c|^k)^2 up to c, 0 beyond."""

    c: float = 3.61752
    k: int = 4

    def rho(self, z: Tensor) -> Tensor:
        """Return z^2 / 2 (1 - 4 x / (k + 2) + x^2 / (k + 1)) with x = |z / c|^k, and its value at c beyond."""
        power, held = self._power(z), z.clamp(-self.c, self.c)
        return 0.5 * held.square() * (1.0 - 4.0 / (self.k + 2) * power + power.square() / (self.k + 1))

    def weight(self, z: Tensor) -> Tensor:
        """Return (1 - x)^2 up to c, 0 beyond."""
        return (1.0 - self._power(z)).square()

    def slope(self, z: Tensor) -> Tensor:
        """Return (1 - x) (1 - (2 k + 1) x) up to c, 0 beyond."""
        power = self._power(z)
        return (1.0 - power) * (1.0 - (2 * self.k + 1) * power)

    def _power(self, z: Tensor) -> Tensor:
        return (z / self.c).abs().clamp_max(1.0) ** self.k


@dataclass(frozen=True)
class StudentT(RobustLoss):
    """psi = z / (1 + (z / c)^2 / df), that of Student's t."""

    c: float = 2.3849
    df: float = 4

    def rho(self, z: Tensor) -> Tensor:
        """Return c^2 df / 2 log(1 + (z / c)^2 / df)."""
        return 0.5 * self.c**2 * self.df * torch.log1p(self._share(z))

    def weight(self, z: Tensor) -> Tensor:
        """Return 1 / (1 + (z / c)^2 / df)."""
        return (1.0 + self._share(z)).reciprocal()

    def slope(self, z: Tensor) -> Tensor:
        """Return (1 - (z / c)^2 / df) / (1 + (z / c)^2 / df)^2."""
        share = self._share(z)
        return (1.0 - share) / (1.0 + share).square()

    def _share(self, z: Tensor) -> Tensor:
        return (z / self.c).square() / self.df


NORMS: tuple[type[RobustLoss], ...] = (
    *(HuberT, TukeyBiweight, Hampel, AndrewWave, TrimmedMean, RamsayE, LeastSquares, StudentT, TukeyQuartic),
)
