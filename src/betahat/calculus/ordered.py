"""Rows of ordered categories: each meets the two cut points beside it, so that derivatives are of two numbers, however many there are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Bread, Point, Rows, no_hat_rows, root_of_counts, rows_of, times
from betahat.data.engine import Block
from betahat.data.products import cross, gram, products, weighted_gram
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.objectives.latent import Interval
from betahat.objectives.ordered import Ordered

# A square that rounding made negative is below this share of what it was taken from.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class OrderedRows(Rows):
    """Rows of k regressors and J classes. A row's loss is one of the points a = c_(y-1) - eta and b = c_y - eta.

    Attributes
    ----------
    objective : Ordered
        The loss.
    start, at
        As in `Rows`; the parameters are k coefficients, the first cut point and J - 2 logarithms of steps.
    x, y : Tensor
        (b, k), and (b,) classes.
    weights, offset, counts : Tensor or None
        (b,).
    """

    objective: Ordered
    start: int
    at: Point
    x: Tensor
    y: Tensor
    weights: Tensor | None
    offset: Tensor | None
    counts: Tensor | None

    def __len__(self) -> int:
        """Return b."""
        return len(self.y)

    @remembered
    def place(self) -> Tensor:
        """(b,) the classes as whole numbers."""
        return self.y.long()

    @remembered
    def eta(self) -> Tensor:
        """(b,) x'b and the offset."""
        eta = self.x @ self.at.params[: self._width]
        return eta if self.offset is None else eta + self.offset

    @property
    def index(self) -> Tensor:
        """(b, J) eta and the constants."""
        return torch.cat([self.eta[:, None], self._constants.expand(len(self), -1)], 1)

    @remembered
    def cuts(self) -> Tensor:
        """(J + 1,) the cut points."""
        return self.objective.cuts(self._constants)

    @property
    def losses(self) -> Tensor:
        """(b,) w l."""
        return times(-self.objective.latent.log_probability(*self._bounds), self.weights)

    def constant(self, phi: Tensor) -> None:
        """Return None."""
        return

    @remembered
    def derivatives(self) -> Interval:
        """(b,) those of the log-likelihood by the two points, times w."""
        found = self.objective.latent.interval(*self._bounds)
        parts = (found.lower, found.upper, found.lower_lower, found.lower_upper, found.upper_upper)
        return found if self.weights is None else Interval(*(part * self.weights for part in parts))

    def gradient(self) -> Tensor:
        """Return (k + J - 1,) minus the sum of the scores."""
        found = self.derivatives
        at_x = cross(self.x, times(found.lower + found.upper, self.counts))
        return torch.cat([at_x, -self._cut_gradient @ self._slopes])

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k + J - 1) minus the sum of both derivatives times x, and each times the derivatives of its cut point."""
        lower, upper = (times(part, factor) for part in (self.derivatives.lower, self.derivatives.upper))
        at_cuts = times(self._slopes[self.place], lower) + times(self._slopes[self.place + 1], upper)
        return torch.cat([times(self.x, -lower - upper), at_cuts], 1)

    @property
    def leverage(self) -> Tensor:
        """Refuse: a row has as many fitted values as cut points."""
        raise EstimationError(
            "HC2 and HC3 divide by one minus the leverage, and HC4, HC4m and HC5 by powers of it, which is a single number only for a model with one "
            "fitted value a row; ordered categories have several: use HC0 or HC1."
        )

    @property
    def hat_rows(self) -> Tensor:
        """(b, m, r) the root of a row's information on the points, times their derivatives and Z; m is 2, or J - 1 of the expected information."""
        lower, failed = (
            torch.linalg.cholesky_ex(self._expected) if self.at.bread is Bread.EXPECTED else (None, self.y.new_zeros(1))
        )
        if self.at.bread is Bread.OPG or bool(failed.any()):
            raise EstimationError(no_hat_rows(self.at.bread))
        if lower is not None:
            return times(lower.mT @ self._turned_points, None if self.weights is None else self.weights.sqrt())
        found, (low, high) = self.derivatives, self._turned_bounds
        first, cross_part, second = -found.upper_upper, -found.lower_upper, -found.lower_lower
        root = first.clamp_min(0.0).sqrt()
        beside = torch.where(root > 0, cross_part / root, 0.0)
        rest = second - beside.square()
        if bool((first < 0).any() | (rest < -_ROUNDING * second.abs()).any()):
            raise EstimationError(no_hat_rows(self.at.bread))
        return torch.stack([times(high, root) + times(low, beside), times(low, rest.clamp_min(0.0).sqrt())], 1)

    def shares(self, upper: Tensor) -> Tensor:
        """Return (b, t) shares of the information, which may curve downward in a row."""
        if self.at.bread is not Bread.OBSERVED:
            hats = self.hat_rows
            return (hats[:, :, upper[0]] * hats[:, :, upper[1]]).sum(1)
        found, (low, high) = self.derivatives, self._turned_bounds
        at_low = -times(low, found.lower_lower) - times(high, found.lower_upper)
        at_high = -times(low, found.lower_upper) - times(high, found.upper_upper)
        return at_low[:, upper[0]] * low[:, upper[1]] + at_high[:, upper[0]] * high[:, upper[1]]

    def curvatures(self) -> Tensor:
        """Return () the sum of w d2l/deta2."""
        return times(self._curvature, self.counts).sum()

    def information(self, bread: Bread) -> Tensor:
        """Return (k + J - 1, k + J - 1): the products of x, of x and the cut points, and of these, turned to the parameters."""
        if bread is Bread.OPG:
            return gram(self.scores(), root_of_counts(self.counts))
        if bread is Bread.EXPECTED:
            found = times(self._expected, self.weights, self.counts)
            scale, mixed = found.sum((1, 2)), -products(self.x, found.sum(2))
            cuts, slopes = found.sum(0), self._slopes[1:-1]
        else:
            scale, slopes = times(self._curvature, self.counts), self._slopes
            mixed, cuts = self._mixed(), self._between_cuts()
        at_x, mixed, cuts = weighted_gram(self.x, scale), mixed @ slopes, slopes.mT @ cuts @ slopes
        if bread is not Bread.EXPECTED:
            # the second derivative of each later cut point by the logarithm of a step is the first one
            bend = -self._cut_gradient @ self._slopes
            cuts = cuts + torch.diag(torch.cat([torch.zeros_like(bend[:1]), bend[1:]]))
        return torch.cat([torch.cat([at_x, mixed], 1), torch.cat([mixed.mT, cuts], 1)])

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return None: a row's information is no single square."""
        return None

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r)."""
        moved = self.at.params + steps @ self.at.root.mT
        eta, constants = moved[:, : self._width] @ self.x.mT, moved[:, self._width :]
        eta = eta if self.offset is None else eta + self.offset
        cuts = self.objective.cuts(constants)
        place = self.place.expand_as(eta) if targets is None else targets.long()
        found = self.objective.latent.interval(
            torch.gather(cuts, 1, place) - eta, torch.gather(cuts, 1, place + 1) - eta
        )
        lower, upper = found.lower, found.upper
        for factor in (self.weights, weights):
            if factor is not None:
                lower, upper = lower * factor, upper * factor
        sums = torch.zeros_like(cuts).scatter_add_(1, place, lower).scatter_add_(1, place + 1, upper)
        at_cuts = (sums[:, None] @ self.objective.cut_slopes(constants))[:, 0]
        return torch.cat([-(lower + upper) @ self.x, at_cuts], 1) @ self.at.root

    @property
    def _width(self) -> int:
        return self.x.shape[1]

    @property
    def _constants(self) -> Tensor:
        """(J - 1,) the first cut point and the logarithms of the steps."""
        return self.at.params[self._width :]

    @remembered
    def _slopes(self) -> Tensor:
        """(J + 1, J - 1) the derivatives of the cut points by the constants."""
        return self.objective.cut_slopes(self._constants)

    @remembered
    def _bounds(self) -> tuple[Tensor, Tensor]:
        """(b,) a and b."""
        return self.cuts[self.place] - self.eta, self.cuts[self.place + 1] - self.eta

    @remembered
    def _curvature(self) -> Tensor:
        """(b,) w d2l/deta2."""
        found = self.derivatives
        return -(found.lower_lower + 2.0 * found.lower_upper + found.upper_upper)

    @remembered
    def _cut_gradient(self) -> Tensor:
        """(J + 1,) the derivatives of the log-likelihood by the cut points."""
        found = self.derivatives
        lower, upper = (self._by_class(times(part, self.counts)) for part in (found.lower, found.upper))
        return _beside(lower, upper)

    def _by_class(self, values: Tensor) -> Tensor:
        """Return (J,) the sums of (b,) values over the rows of each class."""
        return self._classes.mT @ values

    @remembered
    def _classes(self) -> Tensor:
        """(b, J) ones at the classes."""
        return (self.place[:, None] == torch.arange(len(self.cuts) - 1, device=self.x.device)).to(self.x.dtype)

    def _mixed(self) -> Tensor:
        """(k, J + 1) the second derivatives of the loss by the coefficients and the cut points."""
        found = self.derivatives
        parts = (found.lower_lower + found.lower_upper, found.upper_upper + found.lower_upper)
        lower, upper = (products(self.x, times(self._classes, part, self.counts)) for part in parts)
        return _beside(lower, upper)

    def _between_cuts(self) -> Tensor:
        """(J + 1, J + 1) the second derivatives of the loss by the cut points."""
        found = self.derivatives
        parts = (found.lower_lower, found.upper_upper, found.lower_upper)
        lower, upper, beside = (-self._by_class(times(part, self.counts)) for part in parts)
        return torch.diag(_beside(lower, upper)) + torch.diag(beside, 1) + torch.diag(beside, -1)

    @remembered
    def _expected(self) -> Tensor:
        """(b, J - 1, J - 1) the information on the points, of rows of weight one."""
        return self.objective.expected_of_cuts(self.cuts - self.eta[:, None])

    @remembered
    def _turned(self) -> tuple[Tensor, Tensor]:
        """(b, r) x times Z, and (J + 1, r) the derivatives of the cut points times Z."""
        return self.x @ self.at.root[: self._width], self._slopes @ self.at.root[self._width :]

    @property
    def _turned_bounds(self) -> tuple[Tensor, Tensor]:
        """(b, r) the derivatives of a and of b by the parameters, times Z; those of ends are not used."""
        x, cuts = self._turned
        return cuts[self.place] - x, cuts[self.place + 1] - x

    @property
    def _turned_points(self) -> Tensor:
        """(b, J - 1, r) the derivatives of all points by the parameters, times Z."""
        x, cuts = self._turned
        return cuts[1:-1] - x[:, None]


def _beside(lower: Tensor, upper: Tensor) -> Tensor:
    """Return (..., J + 1) sums by cut point of (..., J) sums over classes: the cut point below a class has its number, that above the next."""
    return torch.nn.functional.pad(lower, (0, 1)) + torch.nn.functional.pad(upper, (1, 0))


@rows_of.register
def _(objective: Ordered, block: Block, at: Point) -> Rows:
    weights, offset, counts = block.get("weights"), block.get("offset"), block.get("counts")
    return OrderedRows(objective, block.start, at, block["exog"], block["endog"], weights, offset, counts)
