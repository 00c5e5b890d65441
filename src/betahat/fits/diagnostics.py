"""`Diagnostics`: how a fit was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from betahat.fits.fit import Fit


@dataclass(frozen=True)
class Diagnostics:
    """How a fit was found, and how far it may be trusted.

    Attributes
    ----------
    route : str
        How the optimum was found.
    derivatives : str
        How scores and second derivatives were taken.
    bread : str
        "observed", "expected", "gauss-newton" or "opg".
    decrement : float
        The Newton decrement g'A^-1 g over the dispersion: the squared distance from the optimum in standard errors.
    iterations : int
        The solver's steps.
    converged : bool
        Whether the solver stopped at an optimum; False for parameters that were taken as they are.
    condition : float
        The condition of the information, scaled to a unit diagonal.
    rank : int
        Independent parameters.
    blocks : int
        The row blocks of a pass.
    certificate : float or None
        The largest relative difference of the Hessian from a Hessian-vector product; None for closed forms.
    dtype : str
        What the derivatives were computed in.
    absorbed : str or None
        How absorbed effects were projected away: "sums", "elimination", "within" or "conjugate gradients".
    orthogonality : float or None
        The largest cosine between a column that was projected and a dummy.
    """

    route: str
    derivatives: str
    bread: str
    decrement: float
    iterations: int
    converged: bool
    condition: float
    rank: int
    blocks: int
    certificate: float | None
    dtype: str = "torch.float64"
    absorbed: str | None = None
    orthogonality: float | None = None


def diagnosed(fit: Fit) -> Diagnostics:
    """Say how a fit was found."""
    path, objective, absorbed = fit.path, fit.objective, fit.absorbed
    scaled = fit.triangle / torch.linalg.vector_norm(fit.triangle, dim=0).clamp_min(1e-300)
    return Diagnostics(
        route=fit.route,
        derivatives=objective.derivatives(fit.bread_kind.value),
        bread=fit.bread_kind.value,
        decrement=0.0 if path is None else path.decrement,
        iterations=0 if path is None else path.iterations,
        converged=True if path is None else path.converged,
        condition=condition_of(torch.linalg.svdvals(scaled)),
        rank=fit.rank,
        blocks=fit.problem.blocks,
        certificate=fit.certificate,
        absorbed=None if absorbed is None else absorbed.route,
        orthogonality=None if absorbed is None else absorbed.orthogonality,
    )


def condition_of(values: Tensor) -> float:
    """Return the square of the ratio of (r,) singular values' largest to their smallest; 1 where there is none."""
    if not len(values):
        return 1.0
    return float((values[0] / values[-1]).square()) if float(values[-1]) > 0 else math.inf
