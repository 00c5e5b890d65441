"""Which linear functions of the parameters the data identify: those that are the same for all parameters with the same fitted values."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from betahat.data.engine import gather
from betahat.data.source import Held
from betahat.errors import CollinearityWarning, EstimationError, counted, listed, user_level
from betahat.solvers.lengths import lengths

# Stricter for restrictions than for the rank of their covariance, so that rounding cannot make the two differ.
_DEPENDENT = 1e-11
# The rounding error of a product whose terms cancel, relative to the terms.
_ROUNDING = 1e-12
# The terms of R N cancel to 1e-16 times the condition number, and new data in single precision to 1e-7.
_CANCELS = 1e-6


def identified(idle: Tensor, rows: Tensor) -> Tensor:
    """Return (J,) whether functions R b, R (J, k), are constant along the (k, d) directions N: R N = 0, term by term."""
    if not idle.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    sizes = idle.abs()
    return gather(
        Held({"r": rows}), lambda block: ((block["r"] @ idle).abs() <= _CANCELS * (block["r"].abs() @ sizes)).all(1)
    )


def identified_part(idle: Tensor, rows: Tensor) -> Tensor:
    """Return (q, J) W, the combinations of (J, k) restrictions that the data identify: W R N = 0."""
    whole = torch.eye(len(rows)).to(rows)
    if not idle.shape[1]:
        return whole
    moved, sizes = rows @ idle, rows.abs() @ idle.abs()
    moved = torch.where(moved.abs() > _CANCELS * sizes, moved, torch.zeros_like(moved))
    reach = lengths(moved)
    free = reach == 0
    if bool(free.all()):
        return whole
    scaled = moved[~free] / reach[~free, None]
    sizes = torch.linalg.vector_norm(scaled, dim=0)
    scaled = scaled[:, sizes > 0] / sizes[sizes > 0]
    left, values, _ = torch.linalg.svd(scaled, full_matrices=True)
    rank = int((values > _CANCELS * values[0]).sum())
    return torch.cat([whole[free], (left[:, rank:].mT / reach[~free]) @ whole[~free]])


def tested_part(idle: Tensor, rows: Tensor, values: Tensor, root: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the identified part of R b = q, (J, k) and (J,), if a joint test of R is a test of that part; otherwise None.

    R restricts the minimum-norm coefficients in as many independent ways as R Z, Z the (k, r) root, has. If the data identify fewer of them,
    a joint test of R would be a test of how the coefficients were chosen.
    """
    part = identified_part(idle, rows)
    if len(part) == len(rows):
        return rows, values
    combined, sizes = part @ rows, part.abs() @ rows.abs()
    # restrictions that repeat each other cancel
    combined = torch.where(combined.abs() > _ROUNDING * sizes, combined, torch.zeros_like(combined))
    return (combined, part @ values) if rank_of(combined, root) == rank_of(rows, root) else None


def rank_of(rows: Tensor, root: Tensor) -> int:
    """Return the rank of (J, k) restrictions in Z's coordinates, (k, r), each scaled to unit length."""
    turned, sizes = rows @ root, lengths(rows.abs() @ root.abs())
    reach = lengths(turned)
    nonzero = reach > _ROUNDING * sizes
    if not bool(nonzero.any()):
        return 0
    values = torch.linalg.svdvals(turned[nonzero] / reach[nonzero, None])
    return int((values > _DEPENDENT * values[0]).sum())


def check_identified(idle: Tensor, rows: Tensor, names: Sequence[str]) -> None:
    """Refuse (J, k) functions of the parameters unless the data identify each of them."""
    if not bool(identified(idle, rows).all()):
        refuse_unidentified(idle, rows, names)


def refuse_unidentified(idle: Tensor, rows: Tensor, names: Sequence[str]) -> NoReturn:
    """Refuse (J, k) functions that the data do not identify, naming the parameters of the first."""
    bad = rows[~identified(idle, rows)]
    touched = [name for name, weight in zip(names, bad[0].tolist(), strict=True) if weight]
    which = "this function" if len(bad) == 1 else f"{len(bad)} of these functions, the first"
    raise EstimationError(
        f"The data do not identify {which} of {listed(touched)}: columns are collinear, so other coefficients fit as well and give it "
        "another value. Test functions whose value is the same for all of them (wald_test_terms tests that part of each term), or fit with "
        "fewer columns, for example with rank='drop'."
    )


def warn_unidentified(known: Tensor, labels: Any) -> None:
    """Warn of the predictions that the data do not identify, by (m,) whether they do."""
    bad = (~known).nonzero().flatten().tolist()
    if bad:
        which = [i if labels is None else labels[i] for i in bad]
        warnings.warn(
            f"{counted(len(bad), 'prediction')} ({listed(which)}) {'is' if len(bad) == 1 else 'are'} not identified: columns are collinear in "
            "the data of the fit but not in these rows, so the value depends on how the coefficients were chosen, and there is no "
            "standard error.",
            CollinearityWarning,
            stacklevel=user_level(),
        )
