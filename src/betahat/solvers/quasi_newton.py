"""A quasi-Newton start for many parameters, where a Hessian costs as much as hundreds of gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from betahat.calculus.problem import Problem

_ITERATIONS = 500
# Newton's method takes over once steps have become this small.
_NEAR = 1e-9


def quasi_newton(problem: Problem, start: Tensor) -> tuple[Tensor, int]:
    """Lower the loss from a (k,) start by L-BFGS with a strong Wolfe search; return parameters no worse, and the number of evaluations."""
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
