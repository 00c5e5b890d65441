"""`Rows`: a block of rows at a parameter vector, and what may be asked of it, whatever the objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import singledispatch
from typing import Literal, get_args

import torch
from torch import Tensor

from betahat.data.engine import Block
from betahat.data.products import gram, product
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.objectives.base import Objective


class Bread(Enum):
    """Which matrix the bread A^-1 is the inverse of.

    OBSERVED is the Hessian of the summed loss, EXPECTED Fisher's information, GAUSS_NEWTON the sum of J' l'' J over
    the outputs' Jacobians J, OPG the sum of the scores' outer products, and KERNEL an estimate of the expected Hessian of a loss with kinks, whose
    own is zero: that of a quantile.
    """

    OBSERVED = "observed"
    EXPECTED = "expected"
    GAUSS_NEWTON = "gauss-newton"
    OPG = "opg"
    KERNEL = "kernel"


BreadName = Literal["observed", "expected", "gauss-newton", "opg"]


def read_bread(bread: str) -> Bread:
    """Turn the name of a bread into the option."""
    if not is_one_of(bread, get_args(BreadName)):
        raise OptionError(f"bread is {shown(bread)}; use one of {listed(get_args(BreadName))}.")
    return Bread(bread)


class LeverageBeside(ABC):
    """The leverage of columns that were projected away: a row's whole leverage is that of the projected columns and of these."""

    @abstractmethod
    def of_block(self, start: int, levels: Tensor | None, weights: Tensor | None, rows: int) -> Tensor:
        """Return (b,) that of rows from `start` on, of which (b, E) levels are known where they are read, and (b,) weights, None for ones."""

    @abstractmethod
    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of the rows at (m,) places."""


@dataclass(frozen=True, eq=False)
class Point:
    """Where the rows are looked at.

    Attributes
    ----------
    params : Tensor
        (k,).
    root : Tensor
        (k, r) Z with Z Z' the bread.
    bread : Bread
        Which bread that is.
    well_conditioned : bool
        Whether sums of products of the columns themselves keep their digits.
    beside : LeverageBeside or None
        The leverage of absorbed effects.
    """

    params: Tensor
    root: Tensor
    bread: Bread = Bread.OBSERVED
    well_conditioned: bool = False
    beside: LeverageBeside | None = None

    @property
    def meat_width(self) -> int:
        """How many rows and columns a sum of `Rows.meat` has: k where the columns are well conditioned, else r."""
        return int(self.root.shape[0 if self.well_conditioned else 1])

    def core(self, meat: Tensor) -> Tensor:
        """Return (r, r) C = Z'BZ, with Z C Z' the sandwich of the meat B, of a sum of `Rows.meat`."""
        return self.root.mT @ meat @ self.root if self.well_conditioned else meat

    def influence(self, sums: Tensor) -> Tensor:
        """Return (m, r) sums of `Rows.influence` from (m, meat_width) sums of `Rows.summands`."""
        return sums @ self.root if self.well_conditioned else sums


class Rows(ABC):
    """A block of rows at a parameter vector.

    Attributes
    ----------
    start : int
        The position of the first row, for what is known of rows beside the sample, such as their clusters.
    at : Point
        The parameters, and the root of the bread.
    counts : Tensor or None
        (b,) frequency weights; None is one for each row.
    """

    start: int
    at: Point
    counts: Tensor | None

    @abstractmethod
    def __len__(self) -> int:
        """Return b, how many rows there are."""

    @property
    @abstractmethod
    def losses(self) -> Tensor:
        """(b,) the loss of each row; frequency weights are not applied."""

    @abstractmethod
    def constant(self, phi: Tensor) -> Tensor | None:
        """Return minus the log-likelihood, less the loss over phi.

        Parameters
        ----------
        phi : Tensor
            () the dispersion.

        Returns
        -------
        Tensor or None
            (b,); None if it is zero.
        """

    @abstractmethod
    def gradient(self) -> Tensor:
        """Return (k,) the sum of dl/dtheta.

        Returns
        -------
        Tensor
            (k,).
        """

    @abstractmethod
    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -dl/dtheta, each row times its `factor`; frequency weights are not applied.

        Parameters
        ----------
        factor : Tensor, optional
            (b,).

        Returns
        -------
        Tensor
            (b, k).
        """

    def influence(self, factor: Tensor | None = None) -> Tensor:
        """Return u = Zᵀs, each row times its `factor`: Z u is a row's influence on the parameters; frequency weights are not applied.

        Parameters
        ----------
        factor : Tensor, optional
            (b,).

        Returns
        -------
        Tensor
            (b, r).
        """
        return product(self.scores(factor), self.at.root)

    def summands(self, factor: Tensor | None = None) -> Tensor:
        """Return what products and sums are taken of before `Point` turns them: scores, or influence where they need its digits.

        Well-conditioned columns lose nothing if their sum is turned once, which saves a product with Z for each row.

        Parameters
        ----------
        factor : Tensor, optional
            (b,).

        Returns
        -------
        Tensor
            (b, meat_width).
        """
        return self.scores(factor) if self.at.well_conditioned else self.influence(factor)

    @property
    @abstractmethod
    def leverage(self) -> Tensor:
        """(b,) the share of a row in its own fitted value, in [0, 1] for a convex loss."""

    @property
    @abstractmethod
    def hat_rows(self) -> Tensor:
        """(b, m, r) H = W Z with W'W a row's share of the information: H H' is its block of the hat matrix, (m, m)."""

    def shares(self, upper: Tensor) -> Tensor:
        """Return the share of each row in Z'AZ, some entries of it.

        Parameters
        ----------
        upper : Tensor
            (2, t) the rows and columns of the entries in the (r, r) matrix.

        Returns
        -------
        Tensor
            (b, t).
        """
        first, *others = self.hat_rows.unbind(1)
        products = first[:, upper[0]] * first[:, upper[1]]
        for hats in others:
            products += hats[:, upper[0]] * hats[:, upper[1]]
        return products

    @property
    def largest_leverage(self) -> Tensor:
        """(b,) the leverage, or of several outputs the largest eigenvalue of a row's block of the hat matrix."""
        return self.leverage

    def adjusted_meat(self, adjust: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the meat of scores whose residuals are multiplied by `adjust(h)`, h the leverage.

        Parameters
        ----------
        adjust : callable
            Maps leverages to factors, elementwise; of several outputs it is taken of the eigenvalues of a row's block of the hat matrix.

        Returns
        -------
        Tensor
            (k, k) or (r, r), as `meat`.
        """
        return self.meat(adjust(self.leverage))

    @abstractmethod
    def curvatures(self) -> Tensor:
        """Return () the sum of w d2l/deta2, which says in what units the loss curves; zero where it is not known.

        Returns
        -------
        Tensor
            ().
        """

    @abstractmethod
    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) the matrix whose inverse is the bread.

        Parameters
        ----------
        bread : Bread
            Which information.

        Returns
        -------
        Tensor
            (k, k).
        """

    @abstractmethod
    def whitened(self, bread: Bread) -> Tensor | None:
        """Return (m, k) W with W'W the information, where it has such rows.

        Parameters
        ----------
        bread : Bread
            Which information.

        Returns
        -------
        Tensor or None
            (m, k).
        """

    @abstractmethod
    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r) the sums of Zᵀs at theta + Z d, for each of (R, r) steps d.

        Parameters
        ----------
        steps : Tensor
            (R, r).
        weights : Tensor or None
            (R, b) how often each row counts in a replicate, instead of `counts`.
        targets : Tensor or None
            (R, b) what was drawn instead of y.

        Returns
        -------
        Tensor
            (R, r).
        """

    def meat(self, factor: Tensor | None = None) -> Tensor:
        """Return the sum of s s' factor^2, or of u u' factor^2 where the columns are not well conditioned; `Point.core` tells the two apart.

        The columns of u = Zᵀs are of similar size and direction, so that what follows loses digits in proportion to the condition of the
        columns, and not to its fourth power.

        Parameters
        ----------
        factor : Tensor, optional
            (b,).

        Returns
        -------
        Tensor
            (k, k) or (r, r).
        """
        return gram(self.summands(factor), root_of_counts(self.counts))


# Where 1 - h is below 1e-10, six digits of it are rounding error, and so would be what is divided by it.
ALONE = 1e-10


def slack(leverage: Tensor) -> Tensor:
    """Return 1 - h; NaN where h is one: a coefficient fits such a row exactly, and its residual says nothing."""
    left = 1.0 - leverage
    return torch.where(left < ALONE, torch.nan, left)


def counted_influence(rows: Rows) -> Tensor:
    """Return (b, r) Zᵀs, each row times its frequency weight."""
    return rows.influence(rows.counts)


def no_hat_rows(bread: Bread) -> str:
    """Return the sentence for rows whose information is no square."""
    if bread is Bread.KERNEL:
        return (
            "Leverage is a row's share of the Hessian, and the loss of a quantile has none: its scores are q and q - 1, whatever a row does to its own "
            "fitted value. Use HC0, HC1, Cluster(kind='CR1'), or a bootstrap."
        )
    if bread is Bread.OPG:
        reason, remedy = "the bread is 'opg'", "fit with another bread"
    else:
        reason, remedy = "a row's is negative", "fit with bread='expected', where the distribution is known"
    return (
        f"Leverage is a row's share of the Hessian or of Fisher's information, and {reason}; {remedy}, or use a covariance without "
        "leverage, such as HC1 or CR1."
    )


def root_of_counts(counts: Tensor | None) -> Tensor | None:
    """Return the roots of frequency weights: the factors of rows that are squared and summed."""
    return None if counts is None else counts.sqrt()


def that_count(values: Tensor, counts: Tensor | None) -> Tensor:
    """Return (b, ...) values with zeros for rows that occur no times: they are not in the data, and have no leverage."""
    return values if counts is None else times(values, (counts > 0).to(values))


def times(values: Tensor, *factors: Tensor | None) -> Tensor:
    """Multiply (b, ...) values by (b,) factors; None is one."""
    for factor in factors:
        if factor is not None:
            values = values * factor.reshape(-1, *[1] * (values.ndim - 1))
    return values


@singledispatch
def rows_of(objective: Objective, block: Block, at: Point) -> Rows:
    """Return the `Rows` of a block: how a kind of objective is differentiated.

    Parameters
    ----------
    objective : Objective
        Decides the kind.
    block : Block
        Some rows.
    at : Point
        The parameters.
    """
    raise NotImplementedError(f"No calculus is registered for {type(objective).__name__}.")
