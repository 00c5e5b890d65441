"""Instruments with absorbed effects: the ordinary fit of what a projection on their dummies leaves of all columns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from betahat.calculus.counts import Counts
from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.data.scored import INSTRUMENTS
from betahat.errors import EstimationError, listed
from betahat.fits.absorbed import EXPLAINED, check_free, projected
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Estimating
from betahat.fits.instruments import fit_instruments
from betahat.solvers.least_squares import RowSum


def fit_absorbed_instruments(design: Design, how: Estimating, also: tuple[RowSum, ...] = ()) -> Fit:
    """Fit by instruments with the effects of a design absorbed; exogenous regressors and instruments that depend on the effects are left out."""
    found = projected(design)
    first = design.width - design.schema.endogenous
    explained = [name for i, name in enumerate(design.names) if i >= first and i not in found.kept]
    if explained:
        raise EstimationError(
            f"The absorbed effects explain {listed(explained)} in every row, so no instrument moves what is left of it; leave it out, or absorb "
            "coarser effects."
        )
    check_free(design, len(found.kept), found.absorbed)
    varies = _lengths(found.design) > EXPLAINED * _lengths(design)
    used = found.design
    if not bool(varies.all()):
        used = used.replaced({INSTRUMENTS: torch.where(varies, found.design.column(INSTRUMENTS), 0.0)})
    free = Counts(float(design.nobs), 0, absorbed=found.absorbed.sizes).free
    fit = fit_instruments(used, how, also, free)
    return replace(fit, given=design, kept=tuple(found.kept[i] for i in fit.kept), absorbed=found.absorbed)


def _lengths(design: Design) -> Tensor:
    """Return (q,) the lengths of the instruments."""
    (squares,) = fold(design.source.only(INSTRUMENTS), _squares, design.engine)
    return squares.sqrt()


def _squares(block: Block) -> tuple[Tensor]:
    return (block[INSTRUMENTS].square().sum(0),)
