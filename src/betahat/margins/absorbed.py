"""What margins have to do with absorbed effects: those that depend on them are refused, since no fit has their covariance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betahat.data.engine import Block
from betahat.inference.effects import refuse_effects
from betahat.margins.quantities import (
    Groups,
    Mean,
    Quantity,
    counts_of,
    of_averages,
    parts_of,
    rows_in_groups,
    sums_over,
)
from betahat.margins.subject import Subject

# Where an index is looked at, of rows whose absorbed effects are not known; nothing is special there.
_ELSEWHERE = 0.7316
# What is left of derivatives that cancel, and of numbers.
_CANCELS, _ROUNDING = 1e-8, 1e-12


def check_effects(subject: Subject, quantities: Sequence[Quantity], groups: Groups | None) -> None:
    """Refuse what depends on absorbed effects; differences of linear means do not, nor do ratios of exponentials."""
    fit, mean = subject.results.fit, subject.response.mean
    if fit.absorbed is None:
        return
    if any(depends_on_offset(quantity, groups, mean, fit.params) for quantity in quantities):
        refuse_effects(
            fit,
            "These numbers depend on the absorbed effects, and their errors need",
            "write the effects as C(group), or take what does not depend on them: differences of a linear mean, comparisons(comparison='lnratio') of a Poisson mean, "
            "comparisons(comparison='lnor') of a logit, or which='linear'",
        )


def depends_on_offset(quantity: Quantity, groups: Groups | None, mean: Mean, params: Tensor) -> bool:
    """Tell whether numbers change with what stands beside x'b in the index of some row, such as absorbed effects."""
    columns = quantity.columns
    first = next(iter(columns.values()))
    offset = columns.get("offset", torch.full((len(first),), _ELSEWHERE, dtype=params.dtype, device=params.device))
    with torch.enable_grad():
        leaf = offset.detach().clone().requires_grad_(True)
        found = parts_of(quantity, mean, params, Block(0, {**columns, "offset": leaf}))  # (n, parts, J)
        with torch.no_grad():
            if groups is None:
                weights = of_averages(quantity, found)[1]
            else:
                rows = Block(0, rows_in_groups(quantity, groups).columns)
                often, codes = counts_of(rows, params), groups.codes
                size = sums_over(often, codes, groups.count)
                means = sums_over(found * often[:, None, None], codes, groups.count) / size[:, None, None]
                weights = of_averages(quantity, means)[1][codes] * (often / size[codes])[:, None, None]
        weighted = found * weights
        slopes = [
            torch.autograd.grad(part.sum(), leaf, retain_graph=True)[0]
            if part.requires_grad
            else torch.zeros_like(leaf)
            for part in weighted.flatten(1).unbind(1)
        ]
    each = torch.stack(slopes, 1).reshape(len(leaf), *found.shape[1:])
    left, scale = each.sum(1).abs(), each.abs().sum(1)
    numbers = weighted.detach().abs().sum(1)
    return bool(((left > _CANCELS * scale) & (left > _ROUNDING * numbers)).any())
