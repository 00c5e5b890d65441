"""`Problem`: an objective summed over a sample, with its penalty; what solvers minimise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from betahat.calculus import general, index, indices, moments, ordered, partial_likelihood  # noqa: F401  # what they register with rows_of
from betahat.calculus.autodiff import hessian_matrix, hessian_product, value_and_gradient
from betahat.calculus.counts import Counts
from betahat.calculus.index import deviance, pearson
from betahat.calculus.rows import Bread, Point, Rows, rows_of, times
from betahat.data.engine import AllAtOnce, Block, Engine, fold, gather, scan
from betahat.data.group_sums import WithGroups, sums_by_group
from betahat.data.row_codes import RowCodes
from betahat.data.sample import Batch, Sample, in_order_of_call
from betahat.objectives.base import Objective
from betahat.objectives.dispersion import Misfit

T = TypeVar("T")

Penalty = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Local:
    """The sum at one point.

    Attributes
    ----------
    params : Tensor
        (k,).
    loss : Tensor
        () the sum of the losses, and the penalty.
    gradient : Tensor
        (k,).
    information : Tensor
        (k, k) the matrix whose inverse is the bread, the penalty's curvature included.
    curvatures : Tensor or None
        () the sum of w l'' over the rows; zero or None where it is not known.
    bread : Bread
        Which information it is.
    """

    params: Tensor
    loss: Tensor
    gradient: Tensor
    information: Tensor
    curvatures: Tensor | None = None
    bread: Bread = Bread.OBSERVED


@dataclass(frozen=True, eq=False)
class OfRows(Generic[T]):
    """A function of rows as one of blocks, which may be pickled where the function may.

    Attributes
    ----------
    function : callable
        Maps `Rows` to anything.
    objective : Objective
        The loss of a row.
    at : Point
        Where rows are evaluated.
    """

    function: Callable[[Rows], T]
    objective: Objective
    at: Point

    def __call__(self, block: Block) -> T:
        """Take the function of a block's rows."""
        return self.function(rows_of(self.objective, block, self.at))


@dataclass(frozen=True, eq=False)
class Problem:
    """An objective on a sample.

    Attributes
    ----------
    objective : Objective
        The loss of a row.
    sample : Sample
        The rows.
    penalty : callable or None
        (k,) parameters -> (), added to the sum.
    back : Tensor or None
        (k, k) what maps these parameters to the user's, where the columns were made orthonormal.
    """

    objective: Objective
    sample: Sample
    penalty: Penalty | None = None
    back: Tensor | None = None

    @property
    def engine(self) -> Engine:
        """What computes passes over the rows: the sample's engine, or one that takes all rows at once if their losses depend on each other."""
        return self.sample.engine if self.objective.separable else AllAtOnce()

    @property
    def blocks(self) -> int:
        """The blocks of a pass."""
        return -(-self.sample.rows // self.engine.block_rows(self.sample.source))

    @property
    def numbers(self) -> float:
        """n, or n m of m outputs or quantiles whose losses add up: how many numbers are explained."""
        objective, sample = self.objective, self.sample
        loss = objective.output_loss
        if objective.closed_form or loss is None or not loss.elementwise:
            return sample.nobs * objective.responses
        assert isinstance(sample, Batch)
        return sample.nobs * sample.outputs

    def total(self, term: Callable[[Rows], tuple[Tensor, ...]], at: Point) -> tuple[Tensor, ...]:
        """Sum a term over the row blocks.

        Parameters
        ----------
        term : callable
            Maps `Rows` to a tuple of tensors.
        at : Point
            Where rows are evaluated.

        Returns
        -------
        tuple of Tensor
            The sums.
        """
        return fold(self.sample.source, OfRows(term, self.objective, at), self.engine)

    def each(self, function: Callable[[Rows], T], at: Point) -> Iterator[T]:
        """Yield a function of one row block after the other.

        Parameters
        ----------
        function : callable
            Maps `Rows` to anything.
        at : Point
            Where rows are evaluated.

        Yields
        ------
        object
            Its value for the next block.
        """
        return scan(self.sample.source, OfRows(function, self.objective, at), self.engine)

    def each_beside(
        self, codes: RowCodes, function: Callable[[Rows], Tensor], at: Point
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a function of one row block after the other, and the numbers of its rows.

        Parameters
        ----------
        codes : RowCodes
            A number for each row.
        function : callable
            Maps `Rows` of b rows to a (b, ...) tensor.
        at : Point
            Where rows are evaluated.

        Yields
        ------
        tuple of Tensor
            (b, ...) and (b,).
        """
        return scan(codes.beside(self.sample.source), WithGroups(OfRows(function, self.objective, at)), self.engine)

    def gather(self, function: Callable[[Rows], Tensor], at: Point) -> Tensor:
        """Concatenate a function of the row blocks.

        Parameters
        ----------
        function : callable
            Maps `Rows` of b rows to a (b, ...) tensor.
        at : Point
            Where rows are evaluated.

        Returns
        -------
        Tensor
            (n, ...).
        """
        return gather(self.sample.source, OfRows(function, self.objective, at), self.engine)

    def sum_groups(self, codes: RowCodes, count: int, function: Callable[[Rows], Tensor], at: Point) -> Tensor:
        """Sum a function of rows over groups.

        Parameters
        ----------
        codes : RowCodes
            Each row's group.
        count : int
            How many groups there are.
        function : callable
            Maps `Rows` of b rows to a (b, ...) tensor.
        at : Point
            Where rows are evaluated.

        Returns
        -------
        Tensor
            (count, ...).
        """
        return sums_by_group(self.sample.source, codes, count, OfRows(function, self.objective, at), self.engine)

    def evaluate(self, params: Tensor, bread: Bread) -> Local:
        """Compute loss, gradient and information in one pass over the rows.

        Parameters
        ----------
        params : Tensor
            (k,).
        bread : Bread
            Which information.

        Returns
        -------
        Local
            The penalty's share included.
        """
        loss, gradient, information, curvatures = self.total(_Evaluation(bread), _bare(params))
        if self.penalty is not None:
            value, slope = value_and_gradient(self.penalty, params)
            loss, gradient = loss + value, gradient + slope
            information = information + hessian_matrix(self.penalty, params)
        return Local(params, loss, gradient, information, curvatures, bread)

    def under(self, local: Local, bread: Bread) -> Local:
        """Take another information at the same point.

        Parameters
        ----------
        local : Local
            The sum at a point.
        bread : Bread
            Which information.

        Returns
        -------
        Local
            With that information, the penalty's share included.
        """
        loss = self.objective.output_loss
        asked = {local.bread, bread}
        # outputs that bend have a curvature, too
        canonical = self.objective.affine and loss is not None and loss.canonical
        if canonical and asked == {Bread.OBSERVED, Bread.EXPECTED}:
            return replace(local, bread=bread)
        return replace(local, information=self.information(local.params, bread), curvatures=None, bread=bread)

    def information(self, params: Tensor, bread: Bread) -> Tensor:
        """Return the matrix whose inverse is the bread, the penalty's share included.

        Parameters
        ----------
        params : Tensor
            (k,).
        bread : Bread
            Which information.

        Returns
        -------
        Tensor
            (k, k).
        """
        (information,) = self.total(lambda rows: (rows.information(bread),), _bare(params))
        return information if self.penalty is None else information + hessian_matrix(self.penalty, params)

    def loss(self, params: Tensor) -> Tensor:
        """Return the sum of the losses, and the penalty.

        Parameters
        ----------
        params : Tensor
            (k,).

        Returns
        -------
        Tensor
            ().
        """
        (loss,) = self.total(_losses, _bare(params))
        return loss if self.penalty is None else loss + self.penalty(params)

    def value_and_gradient(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient.

        Parameters
        ----------
        params : Tensor
            (k,).

        Returns
        -------
        tuple of Tensor
            () and (k,).
        """
        loss, gradient = self.total(_losses_and_gradient, _bare(params))
        if self.penalty is None:
            return loss, gradient
        value, slope = value_and_gradient(self.penalty, params)
        return loss + value, gradient + slope

    def dispersion(self, params: Tensor, loss: Tensor, rank: int) -> Tensor:
        """Return the factor phi of the classical covariance.

        Parameters
        ----------
        params : Tensor
            (k,).
        loss : Tensor
            () the loss there.
        rank : int
            How many of the parameters are independent.

        Returns
        -------
        Tensor
            ().
        """
        return self.objective.dispersion.value(loss, Counts(float(self.numbers), rank).free, self.misfit(params))

    def noise(self, local: Local) -> float:
        """Return the unit of a decrement: the dispersion, or its order of magnitude where there is no likelihood.

        Parameters
        ----------
        local : Local
            Where it is taken.

        Returns
        -------
        float
            In units of the loss.
        """
        width = len(local.params)
        return self.objective.dispersion.noise(local.loss, float(self.numbers), width, self.misfit(local.params))

    def misfit(self, params: Tensor) -> Misfit:
        """Return what passes over the rows say of a model of one linear index.

        Parameters
        ----------
        params : Tensor
            (k,).

        Returns
        -------
        Misfit
            Nothing is computed before it is asked for.
        """

        def total(term: Callable[[Rows], Tensor]) -> Tensor:
            (found,) = self.total(lambda rows: (term(rows),), _bare(params))
            return found

        return Misfit(lambda: total(pearson), lambda: total(deviance))

    def certificate(self, params: Tensor, hessian: Tensor) -> float | None:
        """Compare a Hessian by autodiff with a Hessian-vector product.

        Parameters
        ----------
        params : Tensor
            (k,).
        hessian : Tensor
            (k, k).

        Returns
        -------
        float or None
            The largest relative difference; None for closed forms.
        """
        if self.objective.closed_form:
            return None
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(len(params), generator=generator, dtype=torch.float64).to(params)
        product = self.hessian_product(params, direction)
        gap = (hessian @ direction - product).abs().max()
        return float(gap / product.abs().max().clamp_min(torch.finfo(torch.float64).tiny))

    def hessian_product(self, params: Tensor, direction: Tensor) -> Tensor:
        """Return the Hessian of the sum and the penalty times a direction, of a loss that is differentiated by autodiff.

        Parameters
        ----------
        params, direction : Tensor
            (k,).

        Returns
        -------
        Tensor
            (k,).
        """
        objective, sample = self.objective.autodiff, self.sample
        assert objective is not None

        def product_of(block: Block) -> tuple[Tensor]:
            def losses(theta: Tensor) -> Tensor:
                losses = objective.losses(theta, in_order_of_call(block))
                return times(losses, block.get("weights"), block.get("counts")).sum()

            return (hessian_product(losses, params, direction),)

        (product,) = fold(sample.source, product_of, sample.engine)
        return product if self.penalty is None else product + hessian_product(self.penalty, params, direction)


@dataclass(frozen=True)
class _Evaluation:
    """Loss, gradient, information and curvatures of a block."""

    bread: Bread

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        return _summed(rows), rows.gradient(), rows.information(self.bread), rows.curvatures()


def _losses(rows: Rows) -> tuple[Tensor]:
    return (_summed(rows),)


def _losses_and_gradient(rows: Rows) -> tuple[Tensor, Tensor]:
    return _summed(rows), rows.gradient()


def _summed(rows: Rows) -> Tensor:
    return times(rows.losses, rows.counts).sum()


def _bare(params: Tensor) -> Point:
    """Return a point on the way, where there is no bread yet."""
    return Point(params, params.new_empty(0))
