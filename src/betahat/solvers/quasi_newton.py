"""A quasi-Newton start for many parameters, where a Hessian costs as much as hundreds of gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from betahat.calculus.problem import Problem

_ITERATIONS = 500
# Newton's method takes over where a gradient has lost three digits of its first size or steps have become small.
_NEAR = 1e-9


def quasi_newton(problem: Problem, start: Tensor) -> tuple[Tensor, int]:
    """Lower the loss by L-BFGS with a strong Wolfe search, ``torch.optim.LBFGS``.

    Parameters
    ----------
    problem : Problem
        What to minimise.
    start : Tensor
        (k,) float64.

    Returns
    -------
    params : Tensor
        (k,), no worse than the start.
    evaluations : int
    """
    params = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [params],
        max_iter=_ITERATIONS,
        history_size=20,
        tolerance_grad=0.0,
        tolerance_change=_NEAR,
        line_search_fn="strong_wolfe",
    )
    evaluations = 0
    units = float(problem.sample.nobs)

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        bar.update()
        loss, gradient = problem.value_and_gradient(params.detach())
        params.grad = gradient / units
        return loss / units

    with tqdm(desc="L-BFGS", leave=False, disable=None, delay=2.0) as bar:
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = params.detach()
    better = bool(torch.isfinite(found).all()) and bool(problem.loss(found) <= problem.loss(start))
    return (found if better else start), evaluations
