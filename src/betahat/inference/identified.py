"""Which linear functions of the parameters the data identify: those that no move changes which leaves all fitted values as they are."""

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

# Restrictions are counted more strictly than their covariance's rank, so that rounding does not tell the two apart.
_DEPENDENT = 1e-11
# Rounding of a product that cancels, of the terms in it.
_ROUNDING = 1e-12
# The terms of R N cancel to 1e-16 times the condition, and new data in single precision to 1e-7.
_CANCELS = 1e-6


def identified(idle: Tensor, rows: Tensor) -> Tensor:
    """Tell of (J, k) functions R b, (J,), whether they keep their values along the (k, d) directions N: R N = 0, term by term."""
    if not idle.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    there = idle.abs()
    return gather(
        Held({"r": rows}), lambda block: ((block["r"] @ idle).abs() <= _CANCELS * (block["r"].abs() @ there)).all(1)
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
    """Return the part of R b = q, (J, k) and (J,), that the data identify, if that is all there is in it; else None.

    The minimum-norm coefficients meet R in as many independent ways as R Z, Z the (k, r) root, has; where the data identify fewer,
    a joint test of R would be one of how the coefficients were chosen.
    """
    part = identified_part(idle, rows)
    if len(part) == len(rows):
        return rows, values
    found, sizes = part @ rows, part.abs() @ rows.abs()
    found = torch.where(
        found.abs() > _ROUNDING * sizes, found, torch.zeros_like(found)
    )  # of restrictions that repeat each other
    return (found, part @ values) if rank_of(found, root) == rank_of(rows, root) else None


def rank_of(rows: Tensor, root: Tensor) -> int:
    """Return the rank of (J, k) restrictions in Z's coordinates, (k, r), each at unit length."""
    turned, sizes = rows @ root, lengths(rows.abs() @ root.abs())
    reach = lengths(turned)
    there = reach > _ROUNDING * sizes
    if not bool(there.any()):
        return 0
    values = torch.linalg.svdvals(turned[there] / reach[there, None])
    return int((values > _DEPENDENT * values[0]).sum())


def check_identified(idle: Tensor, rows: Tensor, names: Sequence[str]) -> None:
    """Refuse (J, k) functions of the parameters where the data do not identify each of them."""
    if not bool(identified(idle, rows).all()):
        refuse_unidentified(idle, rows, names)


def refuse_unidentified(idle: Tensor, rows: Tensor, names: Sequence[str]) -> NoReturn:
    """Refuse (J, k) functions that the data do not identify, and name the parameters of the first."""
    bad = rows[~identified(idle, rows)]
    touched = [name for name, weight in zip(names, bad[0].tolist(), strict=True) if weight]
    which = "this function" if len(bad) == 1 else f"{len(bad)} of these functions, the first"
    raise EstimationError(
        f"The data do not identify {which} of {listed(touched)}: columns are collinear, so that other coefficients fit as well and give it "
        "another value. Test functions that have one value in all of them (wald_test_terms takes that part of each term), or fit with "
        "fewer columns, by rank='drop' say."
    )


def warn_unidentified(known: Tensor, labels: Any) -> None:
    """Name the predictions, (m,), that the data do not identify."""
    bad = (~known).nonzero().flatten().tolist()
    if bad:
        which = [i if labels is None else labels[i] for i in bad]
        warnings.warn(
            f"{counted(len(bad), 'prediction')} ({listed(which)}) {'is' if len(bad) == 1 else 'are'} not identified: columns are collinear in "
            "the data of the fit and not in these rows, so that the value depends on how the coefficients were chosen, and it has no "
            "standard error.",
            CollinearityWarning,
            stacklevel=user_level(),
        )
