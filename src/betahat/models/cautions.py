"""What fits of regressors warn of: columns and rows that were left out, and perfect fits."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.errors import BetahatWarning, CollinearityWarning, EstimationError, counted, listed, user_level
from betahat.fits.fit import Fit
from betahat.solvers.least_squares import Rank


def warn_collinear(fit: Fit, rank: Rank, width: int) -> None:
    """Name the columns that depend on those before them."""
    if len(fit.kept) == width:
        return
    names = [name for i, name in enumerate(fit.given.names) if i not in fit.kept]
    done = (
        "it was left out" if rank == "drop" and len(names) == 1
        else "they were left out" if rank == "drop"
        else "the coefficients are those of minimum norm, and single ones mean little: pass rank='drop' to leave columns out"
    )  # fmt: skip
    verb = "depends" if len(names) == 1 else "depend"
    effects = "" if fit.absorbed is None else f"the absorbed effects ({listed(fit.absorbed.names)}) and "
    warnings.warn(
        f"{listed(names)} {verb} linearly on {effects}the columns before; {done}.",
        CollinearityWarning,
        stacklevel=user_level(),
    )


def warn_alone(design: Design) -> None:
    """Say how many rows were left out because they are alone in a level of an absorbed effect."""
    schema = design.schema
    if schema.dropped:
        one = schema.dropped == 1
        warnings.warn(
            f"{counted(schema.dropped, 'row')} that {'is' if one else 'are'} alone in a level of {listed([e.name for e in schema.effects if e.constant])} {'was' if one else 'were'} dropped: "
            "such rows tell nothing of the coefficients.",
            BetahatWarning,
            stacklevel=user_level(),
        )


def warn_perfect(fit: Fit, size: float) -> None:
    """Warn where residuals are rounding errors of numbers of this length: all that follows from their variance is noise."""
    if not fit.objective.dispersion.squares:
        return
    if (2.0 * float(fit.loss)) ** 0.5 <= _ROUNDING * size:
        tell_of_perfect_fit()


def tell_of_perfect_fit() -> None:
    """Warn that residuals are rounding errors."""
    warnings.warn(
        "The residuals are zero up to rounding, an essentially perfect fit, so standard errors, tests and intervals are rounding errors as "
        "well; see whether the dependent variable is constant, or follows from a regressor.",
        BetahatWarning,
        stacklevel=user_level(),
    )


# Residuals of perfect fits of 10 to 100,000 rows were at most five units in the last place, with condition 1e6.
_ROUNDING = 16 * torch.finfo(torch.float64).eps


def fitted_length(fit: Fit) -> float:
    """Return the length of the largest of a linear model's terms x_j b_j, or of their sum; with absorbed effects that of endog."""
    if fit.absorbed is not None:
        if fit.absorbed.explained is not None:
            return float(fit.absorbed.explained.lengths["endog"])
        (squares,) = fold(fit.raw.source.only("endog"), _squares, fit.raw.engine)
        return float(squares.sqrt())
    triangle, params = fit.triangle, fit.params
    if not len(params):
        return 0.0
    terms = torch.linalg.vector_norm(triangle, dim=0) * params.abs()
    return max(float(terms.max()), float(torch.linalg.vector_norm(triangle @ params)))


def _squares(block: Block) -> tuple[Tensor]:
    return (block["endog"].square().sum(),)


def refuse_rows_in_parts(design: Design, why: str, instead: str) -> None:
    """Refuse many rows that are read in parts, where a model takes all of them at once; a few are read whole."""
    stream = design.source.stream
    if stream is not None and not design.small:
        raise EstimationError(
            f"{why}, and {design.rows:,} rows are read in parts from {stream.dataset.name}; read them into memory, or {instead}."
        )
