"""The checks of a design at the door, each with its sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.effects import CODES, SLOPES
from betahat.data.engine import Block, fold, numbered
from betahat.data.kept import SMALL
from betahat.data.modes import check_held
from betahat.errors import DataError, EstimationError, counted


def check_shapes(endog: Tensor, exog: Tensor, vectors: Mapping[str, Tensor]) -> None:
    """Refuse data whose lengths, types or devices differ, or that are empty."""
    for label, values in (("endog", endog), *vectors.items()):
        if values.device != exog.device:
            target = values.device if exog.device.type == "meta" else exog.device
            raise DataError(
                f"{label} is on {values.device} and exog on {exog.device}; move all of them to one device, with .to({str(target)!r}) say."
            )
        check_held(exog, "exog")
        if values.shape[0] != exog.shape[0]:
            raise DataError(
                f"{label} has {values.shape[0]} rows and exog has {exog.shape[0]}; pass as many rows of one as of the other."
            )
    if exog.numel() == 0:
        raise DataError(
            f"The data are empty: exog has shape {tuple(exog.shape)}; pass at least one row and one column."
        )


def check_size(nobs: float, width: int) -> None:
    """Refuse a design without a degree of freedom left: n must exceed k."""
    if nobs <= width:
        raise EstimationError(
            f"With {counted(int(nobs), 'row')} for {counted(width, 'coefficient')} no degrees of freedom are left; "
            "use more rows or fewer columns."
        )


@dataclass(frozen=True)
class Tally:
    """What may be wrong with numbers beside the regressors.

    Attributes
    ----------
    negative, not_whole, not_finite, not_positive : int
        How many are below zero, are no whole numbers, are missing or infinite, are zero or less.
    any : bool
        Whether some number is not zero.
    """

    negative: int = 0
    not_whole: int = 0
    not_finite: int = 0
    not_positive: int = 0
    any: bool = False

    @classmethod
    def of(cls, values: Tensor) -> Tally:
        """Count (n,) numbers."""
        sums = (values < 0, values != values.round(), ~torch.isfinite(values), values <= 0)
        negative, not_whole, not_finite, not_positive = (int(wrong.sum()) for wrong in sums)
        return cls(negative, not_whole, not_finite, not_positive, bool(values.any()))

    def __add__(self, other: Tally) -> Tally:
        """Return what is wrong with the numbers of both."""
        return Tally(
            self.negative + other.negative,
            self.not_whole + other.not_whole,
            self.not_finite + other.not_finite,
            self.not_positive + other.not_positive,
            self.any or other.any,
        )


def check_weights(weights: Tensor | None, name: str = "weights") -> None:
    """Refuse weights that are negative, or all zero."""
    if weights is not None:
        refuse_weights(int((weights < 0).sum()), bool(weights.any()), name)


def refuse_weights(negative: int, some: bool, name: str) -> None:
    """Refuse weights of which so many are negative, or none is positive."""
    if negative:
        raise DataError(
            f"{name} has {counted(negative, 'negative value')}; weights are inverse variances: pass numbers of zero or more."
        )
    if not some:
        raise DataError(f"{name} are all zero, so no row counts; pass a positive weight for the rows to use.")


def check_numbers(label: str, values: Tensor) -> None:
    """Refuse missing and infinite values of one column."""
    refuse_not_finite(label, int((~torch.isfinite(values)).sum()))


def refuse_not_finite(label: str, bad: int) -> None:
    """Refuse a column of which so many values are missing or infinite."""
    if bad:
        raise DataError(
            f"{label} has {counted(bad, 'missing or infinite value')}; pass missing='drop' to leave out rows with missing ones, or "
            "fill them in."
        )


def check_exposure(exposure: Tensor) -> None:
    """Refuse exposures that have no logarithm."""
    check_numbers("exposure", exposure)
    refuse_exposure(int((exposure <= 0).sum()))


def refuse_exposure(bad: int) -> None:
    """Refuse exposures of which so many have no logarithm."""
    if bad:
        raise DataError(
            f"exposure has {counted(bad, 'value')} of zero or less, but its logarithm is taken; pass positive numbers, or "
            "the logarithms themselves as offset."
        )


def check_counts(counts: Tensor | None) -> None:
    """Refuse frequency weights that do not count."""
    if counts is None:
        return
    check_numbers("freq_weights", counts)
    refuse_counts(int(((counts < 0) | (counts != counts.round())).sum()), bool(counts.any()))


def refuse_counts(bad: int, some: bool) -> None:
    """Refuse frequency weights of which so many do not count, or none is positive."""
    if bad:
        raise DataError(
            f"freq_weights has {counted(bad, 'value')} that are not counts; pass whole numbers of zero or more, or weights= "
            "for analytic weights."
        )
    if not some:
        raise DataError("freq_weights are all zero, so no row counts; pass a positive number for the rows to use.")


def check_finite(design: Design) -> None:
    """Refuse NaN and infinite values; name the columns and count the rows.

    A sum is finite only if all of its terms are. Of large data these are the sums that a fit begins with.
    """
    source = design.source
    beside = [
        design.column(name) for name in source.shapes if design.small or name not in ("exog", "endog", "instruments")
    ]
    sums = [float(found) for found in column_sums(beside)] if beside else []
    sums += [] if design.small else [float(design.products.sum())]
    if not all(map(math.isfinite, sums)):
        refuse_infinite(design)


def refuse_infinite(design: Design) -> None:
    """Look at every number of a design, and say which columns have missing and infinite ones, if any."""
    source = design.source
    found, rows, missing, infinite = fold(source, _not_finite, design.engine)
    if not bool(rows):
        return
    names = list(design.schema.given_names or [f"column {i}" for i in range(design.width)])
    schema = design.schema
    called = {
        "endog": [design.endog_name],
        "exog": names,
        "counts": ["freq_weights"],
        "instruments": list(schema.instruments),
    }
    called[CODES] = [column or effect.name for effect in schema.effects for column in effect.columns]
    called[SLOPES] = [variable for effect in schema.effects for variable in effect.variables]
    labels = [label for name in source.shapes for label in called.get(name, [name])]
    bad = sorted(
        (labels.index(label), label, count) for label, count in zip(labels, found.tolist(), strict=True) if count
    )
    told = ", ".join(f"{label} ({count})" for _, label, count in bad[:8])
    what = " or ".join(["missing"] * bool(missing) + ["infinite"] * bool(infinite))
    remedy = "pass missing='drop' to leave those rows out, or fill them in" if missing else "replace them"
    raise DataError(f"{what.capitalize()} values in {int(rows)} of {design.rows} rows, by column: {told}; {remedy}.")


def column_sums(columns: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return () the sum of each column in double precision; of large ones by blocks, since torch's copies them in it first."""
    small = sum(column.numel() for column in columns) <= SMALL
    return [column.sum(dtype=torch.float64) for column in columns] if small else fold(numbered(columns), _sums)


def _sums(block: Block) -> tuple[Tensor, ...]:
    return tuple(column.sum(dtype=torch.float64) for column in block.columns.values())


def _not_finite(block: Block) -> tuple[Tensor, ...]:
    """Return (w,) how many numbers of each column are none, how many rows have one, and how many are missing and infinite."""
    values = torch.cat([column.reshape(len(column), -1) for column in block.columns.values()], 1)
    bad = ~torch.isfinite(values)
    return bad.sum(0), bad.any(1).sum(), torch.isnan(values).sum(), torch.isinf(values).sum()
