"""The regressions behind a fit by instruments: of its endogenous regressors and its dependent variable on all that is exogenous."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.data.design import Design
from betahat.data.effects import CODES, SLOPES
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Source
from betahat.data.threads import remembered
from betahat.data.turned import computed
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Instruments
from betahat.fits.linear import fit_least_squares
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.triangles import inverse_triangle


@dataclass(frozen=True, eq=False)
class ReducedForm:
    """Least squares of [Y, y] c on [X1, Z], for any (m + 1,) c: what the triangle of the fit says of it, and rows for covariances.

    Attributes
    ----------
    fit : Fit
        By instruments.
    """

    fit: Fit

    @property
    def instruments(self) -> Instruments:
        """What the fit is made of."""
        assert self.fit.instruments is not None
        return self.fit.instruments

    @property
    def names(self) -> tuple[str, ...]:
        """(L,) those of [X1, Z]."""
        return self.plain.names

    @remembered
    def triangle(self) -> Tensor:
        """(L, L) the R of [X1, Z]."""
        return self.instruments.factor.of_instruments

    @remembered
    def root(self) -> Tensor:
        """(L, L) its inverse."""
        return inverse_triangle(self.triangle)

    @remembered
    def plain(self) -> Design:
        """The rows of [X1, Z], which effects were taken off, without a dependent variable of their own."""
        endogenous = self.instruments.factor.endogenous
        sample = self.fit.design
        return _exogenous(sample, tuple(range(sample.width - endogenous)), self.instruments.kept)

    @remembered
    def given(self) -> Design:
        """The same before effects were taken off."""
        if self.fit.absorbed is None:
            return self.plain
        given = self.fit.given
        assert isinstance(given, Design)
        return _exogenous(given, self.fit.kept[: -self.instruments.factor.endogenous], self.instruments.kept)

    @property
    def excluded(self) -> Tensor:
        """(n, q) the instruments Z."""
        return self.plain.exog[:, self.instruments.factor.exogenous :]

    @remembered
    def fitted(self) -> Tensor:
        """(n, m + 1) what [X1, Z] explain of [Y, y]."""
        factor = self.instruments.factor
        return self.plain.exog @ (self.root @ factor.triangle[: factor.known, factor.known :])

    def combination(self, weights: Tensor) -> Tensor:
        """Return (n,) [Y, y] c without what X1 explains of it."""
        factor = self.instruments.factor
        own = self.root[: factor.exogenous, : factor.exogenous] @ factor.triangle[: factor.exogenous, factor.known :]
        return (self.targets - self.plain.exog[:, : factor.exogenous] @ own) @ weights

    @remembered
    def targets(self) -> Tensor:
        """(n, m + 1) [Y, y]."""
        return _targets(self.fit.design, self.instruments.factor.endogenous)

    def regression(self, weights: Tensor, name: str | None = None, *, null: bool = False) -> Fit:
        """Return the regression of [Y, y] c, (m + 1,) c, of which `name` is the name; under the hypothesis `null`, Z has the coefficients zero."""
        factor = self.instruments.factor
        named = replace(self.plain.schema, endog_name=self.fit.given.endog_name if name is None else name)
        explained, left = factor.triangle[: factor.known, factor.known :] @ weights, factor.left @ weights
        loss = 0.5 * left.square().sum()
        if null:
            explained = explained.clone()
            loss = loss + 0.5 * explained[factor.exogenous :].square().sum()
            explained[factor.exogenous :] = 0.0
            exogenous = self.triangle[: factor.exogenous, : factor.exogenous]
            own = inverse_triangle(exogenous) @ explained[: factor.exogenous]
            params = torch.cat([own, explained[factor.exogenous :]])
        else:
            params = self.root @ explained
        design = replace(self._explaining(self.plain, self.fit.design, weights), schema=named)
        given = design
        if self.fit.absorbed is not None:
            assert isinstance(self.fit.given, Design)
            given = self._explaining(self.given, self.fit.given, weights)
            given = replace(given, schema=replace(given.schema, endog_name=named.endog_name))
        return Fit(
            problem=Problem(Gaussian(), design),
            params=params,
            root=self.root,
            triangle=self.triangle,
            loss=loss,
            route=self.fit.route,
            well_conditioned=self.fit.well_conditioned,
            given=given,
            kept=tuple(range(factor.known)),
            absorbed=self.fit.absorbed,
        )

    def _explaining(self, plain: Design, design: Design, weights: Tensor) -> Design:
        """Return the rows of [X1, Z] with [Y, y] c to be explained, of those of a design."""
        if design.source.stream is None:
            return plain.replaced({"endog": _combined(design, weights)})
        factor, kept = self.instruments.factor, self.instruments.kept
        given = (
            range(design.width - factor.endogenous)
            if design is self.fit.design
            else self.fit.kept[: -factor.endogenous]
        )
        combined = computed(design.source, "endog", ("exog", "endog"), _Combined(weights))
        return replace(plain, source=_joined(combined, tuple(given), kept))


def _exogenous(design: Design, exogenous: tuple[int, ...], instruments: tuple[int, ...]) -> Design:
    """Return the design of some exogenous regressors and instruments."""
    names = (*(design.names[i] for i in exogenous), *(design.schema.instruments[i] for i in instruments))
    schema = replace(design.schema, given_names=names, terms=None, instruments=(), endogenous=0)
    return replace(design, schema=schema, source=_joined(design.source, exogenous, instruments))


def _joined(source: Source, exogenous: tuple[int, ...], instruments: tuple[int, ...]) -> Source:
    """Return the rows of some exogenous regressors and instruments."""
    function, width = _Joined(exogenous, instruments), len(exogenous) + len(instruments)
    joint = computed(source, "exog", ("exog", INSTRUMENTS), function, (width,))
    return joint.only("exog", "endog", "weights", "counts", CODES, SLOPES)


@dataclass(frozen=True)
class _Joined:
    """(b, L) some regressors and instruments side by side."""

    exogenous: tuple[int, ...]
    instruments: tuple[int, ...]

    def __call__(self, exog: Tensor, instruments: Tensor) -> Tensor:
        parts = [_some(exog, self.exogenous), _some(instruments, self.instruments)]
        return torch.cat([part.to(torch.float64) for part in parts], 1)


@dataclass(frozen=True, eq=False)
class _Combined:
    """(b,) [Y, y] c of blocks."""

    weights: Tensor

    def __call__(self, exog: Tensor, endog: Tensor) -> Tensor:
        first = exog.shape[1] - len(self.weights) + 1
        explained: Tensor = exog[:, first:].to(torch.float64) @ self.weights[:-1] + endog * self.weights[-1]
        return explained


def _some(columns: Tensor, places: tuple[int, ...]) -> Tensor:
    """Return some columns, without a copy where they are the first ones."""
    return columns[:, : len(places)] if places == tuple(range(len(places))) else columns[:, list(places)]


def _combined(design: Design, weights: Tensor) -> Tensor:
    """Return (n,) [Y, y] c, reading only the columns that have a part in it."""
    first, parts = design.width - len(weights) + 1, []
    for place, weight in enumerate(weights.tolist()):
        if weight:
            column = design.endog if first + place == design.width else design.exog[:, first + place]
            parts.append(column.to(torch.float64) * weight)
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _targets(design: Design, endogenous: int) -> Tensor:
    parts = [design.exog[:, design.width - endogenous :], design.endog[:, None]]
    return torch.cat([part.to(torch.float64) for part in parts], 1)


def beside(form: ReducedForm, columns: Tensor, extra: Tensor, target: Tensor) -> Fit:
    """Return the regression of (n,) numbers on the exogenous regressors, (n, m) columns and (n, j) others, the last of all."""
    plain, factor = form.plain, form.instruments.factor
    joint = torch.cat([plain.exog[:, : factor.exogenous], columns, extra], 1)
    names = tuple(f"x{i}" for i in range(joint.shape[1]))
    schema = replace(plain.schema, given_names=names)
    design = replace(plain.replaced({"exog": joint, "endog": target}), schema=schema)
    fit = fit_least_squares(design, "drop")
    if form.fit.absorbed is None:
        return fit
    given = replace(
        form.given.replaced({"exog": joint, "endog": target}), schema=replace(form.given.schema, given_names=names)
    )
    return replace(fit, given=given, absorbed=form.fit.absorbed)


def at_zero(fit: Fit, count: int) -> Fit:
    """Return a fit of least squares at the estimate where its last `count` coefficients are zero."""
    width = len(fit.params) - count
    along = fit.triangle @ fit.params
    kept = inverse_triangle(fit.triangle[:width, :width]) @ along[:width]
    params = torch.cat([kept, kept.new_zeros(count)])
    return replace(fit, params=params, loss=fit.loss + 0.5 * along[width:].square().sum(), sums={}, facts={})
