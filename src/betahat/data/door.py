"""The door: endog, exog and what stands beside them, of any kind, become a `Design`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from betahat.data.absorbed import read_effects, with_levels
from betahat.data.arrays import Columns, Device, read_columns, read_weights, single
from betahat.data.checks import (
    Tally,
    check_counts,
    check_exposure,
    check_finite,
    check_shapes,
    check_size,
    check_weights,
    column_sums,
    refuse_counts,
    refuse_exposure,
    refuse_infinite,
    refuse_not_finite,
    refuse_weights,
)
from betahat.data.container import Arrays, Container, Frames, Tensors
from betahat.data.design import Design
from betahat.data.effects import Levels
from betahat.data.engine import Block, gather, numbered
from betahat.data.frame import check_index
from betahat.data.kept import keep_tensors
from betahat.data.modes import check_held
from betahat.data.products import side_by_side
from betahat.data.sample import by_engine
from betahat.data.schema import Schema
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Held
from betahat.data.streamed import Streamed
from betahat.data.streamed_effects import with_streamed_levels
from betahat.data.trials import read_trials
from betahat.data.user_data import UserData
from betahat.data.workers import read_engine
from betahat.errors import DataError, OptionError, check_flag, counted, is_one_of, listed, shown

Missing = Literal["none", "drop", "raise"]
_NO_ROWS = "No rows are left after missing='drop': each has a missing value; fill some in, or leave a column out."


@dataclass(frozen=True, eq=False)
class RowVectors:
    """What may stand beside endog and exog: None, a number for each row, or one number for all; in a formula a column's name will do.

    Attributes
    ----------
    weights, var_weights : object
        Analytic weights, under either name.
    offset, exposure : object
        What is added to the linear index, as it is or by its logarithm.
    freq_weights : object
        How often a row occurs.
    status : object
        Of a time, 1 if it ended with an event, 0 if it was censored.
    entry : object
        When a row came under observation.
    """

    weights: Any = None
    offset: Any = None
    exposure: Any = None
    freq_weights: Any = None
    var_weights: Any = None
    status: Any = None
    entry: Any = None

    def items(self) -> list[tuple[str, Any]]:
        """Return the names and what was given under them."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


@dataclass(frozen=True, eq=False)
class SecondEquation:
    """The regressors of a second equation.

    Attributes
    ----------
    regressors : object
        (n, q) columns, or beside a formula another one, "~ z".
    option : str
        The argument that they were passed as.
    prefix : str
        What stands before their names.
    default : callable
        Makes them of the (n, k) regressors of the first equation, where none were passed.
    """

    regressors: Any
    option: str
    prefix: str
    default: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class InstrumentedBy:
    """Endogenous regressors, and what moves them.

    Attributes
    ----------
    endog : object
        (n, m) the endogenous regressors.
    instruments : object
        (n, q) variables that are not regressors.
    """

    endog: Any
    instruments: Any


def read_design(
    endog: Any,
    exog: Any,
    beside: RowVectors | None = None,
    *,
    second: SecondEquation | None = None,
    by: InstrumentedBy | None = None,
    hasconst: bool | None = None,
    missing: Missing = "none",
    device: Device = None,
    dtype: torch.dtype | None = None,
    trials: bool = False,
    absorb: Any = None,
    engine: Any = None,
) -> Design:
    """Read endog, (n,), exog, (n, k), and what stands beside them, of any kind; missing rows are dropped or refused, and all is checked.

    The columns of a second equation stand behind those of exog, and so do endogenous regressors, beside which exog may be None. With `trials` endog
    may be (n, 2) successes and failures: shares, whose weights are the numbers of trials.
    """
    check_options(missing, device, dtype, hasconst)
    workers = read_engine(engine)
    x = as_matrix(read_columns(by.endog if by is not None and exog is None else exog, "exog", device, dtype))
    frame = exog if x.names else None
    instruments = None
    if by is not None:
        frame = by.endog if x.names and exog is None else frame
        x, instruments, endogenous = _with_instruments(None if exog is None else x, by, device, dtype)
    if second is not None:
        x = _with_second(x, second, _second_columns(x, second, device, dtype))
    y = read_columns(endog, "endog", device, dtype)
    read = {
        name: read_weights(given, x.values, device, dtype, name) for name, given in (beside or RowVectors()).items()
    }
    vectors = {name: column.values for name, column in read.items() if column is not None}
    if instruments is not None:
        vectors[INSTRUMENTS] = instruments.values
    if trials and y.values.ndim == 2 and y.values.shape[1] == 2:
        counts = read_trials(y.values, y.names, "var_weights" in vectors)
        y = replace(y, values=counts.shares, names=(counts.name,))
        vectors["weights"] = counts.trials
    y = single(y, "endog")
    check_shapes(y.values, x.values, vectors)
    check_index("endog", y.index, x.index)
    for name, column in read.items():
        if column is not None:
            check_index(name, column.index, x.index)
    joined = by is not None and exog is not None  # the regressors are a copy already
    named = [("endog", y.values), *([] if joined else [("exog", x.values)]), *vectors.items()]
    (endog_kept, *others), seals = keep_tensors(named)
    exog_kept, *beside_kept = [x.values, *others] if joined else others
    kept = dict(zip(vectors, beside_kept, strict=True))
    frame_data = UserData.of(frame, len(x.values))
    effects: tuple[Levels, ...] = ()
    if absorb is not None:
        read_absorbed = read_effects(Design(Schema(_container(y, x)), Held({"exog": x.values}, frame_data)), absorb)
        kept, effects = kept | read_absorbed.vectors, read_absorbed.levels
    design = assemble(
        endog_kept,
        exog_kept,
        kept,
        container=_container(y, x),
        endog_name=y.names[0] if y.names else "y",
        names=x.names,
        hasconst=hasconst,
        drop=missing == "drop",
        user_data=replace(frame_data, seals=seals),
        effects=effects,
        instruments=() if instruments is None else instruments.names or (),
        endogenous=0 if instruments is None else endogenous,
    )
    return by_engine(design, workers)


def assemble(
    endog: Tensor,
    exog: Tensor,
    vectors: Mapping[str, Tensor],
    *,
    container: Container,
    endog_name: str,
    names: tuple[str, ...] | None,
    hasconst: bool | None,
    drop: bool,
    user_data: UserData,
    terms: dict[str, list[int]] | None = None,
    effects: tuple[Levels, ...] = (),
    instruments: tuple[str, ...] = (),
    endogenous: int = 0,
) -> Design:
    """Drop missing rows if asked to, check what is left, and return the `Design`."""
    schema = Schema(
        container, endog_name, names, hasconst, terms, effects=effects, instruments=instruments, endogenous=endogenous
    )
    design = Design(schema, Held({"exog": exog, "endog": endog, **vectors}, user_data))
    if drop:
        whole = _complete_rows(endog, exog, *vectors.values())
        if whole is not None:
            if not len(whole):
                raise DataError(_NO_ROWS)
            design = design.in_use(whole)
    name = "var_weights" if "var_weights" in vectors else "weights"
    columns = {label: design.column(label) for label in design.source.shapes}
    offset = _offset(columns.pop("offset", None), columns.pop("exposure", None))
    beside = {"weights": columns.pop(name, None), "offset": offset, "counts": columns.pop("freq_weights", None)}
    there = {label: column for label, column in {**columns, **beside}.items() if column is not None}
    design = replace(design, source=Held(there, design.user_data))
    check_weights(design.weights, name)
    check_counts(design.counts)
    check_finite(design)
    if effects:
        design = with_levels(design)
    check_size(design.nobs, design.width)
    return design


def check_streamed(
    design: Design, source: Streamed, vectors: Mapping[str, Tally], labels: Streamed | None = None, *, finite: bool
) -> Design:
    """Check a design whose rows are read, by what the first pass counted of its vectors, by option, and give numbers to its absorbed effects.

    `finite` is whether its other numbers are known to be, and `labels` a stream of the labels of effects alone.
    """
    if not design.rows:
        raise DataError(_NO_ROWS)
    for name, tally in vectors.items():
        if name in ("exposure", "freq_weights"):
            refuse_not_finite(name, tally.not_finite)
        if name == "exposure":
            refuse_exposure(tally.not_positive)
        elif name in ("weights", "var_weights"):
            refuse_weights(tally.negative, tally.any, name)
        elif name == "freq_weights":
            refuse_counts(tally.negative + tally.not_whole, tally.any)
    if not finite or any(tally.not_finite for tally in vectors.values()):
        refuse_infinite(design)
    if design.schema.effects:
        design = with_streamed_levels(design, source, labels)
    check_size(design.nobs, design.width)
    return design


def check_options(missing: str, device: Device, dtype: torch.dtype | None, hasconst: bool | None) -> None:
    """Refuse a word that `missing` does not know, a device that is not there, a dtype that is no float."""
    check_flag("hasconst", hasconst, none=True)
    if not is_one_of(missing, get_args(Missing)):
        raise OptionError(f"missing is {shown(missing)}; use 'none' (missing values are an error), 'drop' or 'raise'.")
    if not is_one_of(dtype, (None, torch.float32, torch.float64)):
        raise OptionError(f"dtype is {dtype}; the data are kept in torch.float64 or torch.float32.")
    if device is None:
        return
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("its tensors hold no numbers")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device {shown(device)} cannot be used ({reason}); pass 'cpu', or 'cuda' if there is one."
        ) from error


def as_matrix(read: Columns) -> Columns:
    """Return columns of which a single vector is a column."""
    return replace(read, values=read.values[:, None]) if read.values.ndim == 1 else read


def _second_columns(first: Columns, second: SecondEquation, device: Device, dtype: torch.dtype | None) -> Columns:
    """Read the columns of a second equation, or make them of those of the first."""
    if second.regressors is not None:
        return as_matrix(read_columns(second.regressors, second.option, device, dtype))
    made = second.default(first.values)
    return replace(first, values=made, names=first.names if made is first.values else None)


def _with_second(first: Columns, second: SecondEquation, read: Columns) -> Columns:
    """Put the columns of a second equation behind those of the first, and give them all names."""
    if len(read.values) != len(first.values):
        raise DataError(
            f"{second.option} has {counted(len(read.values), 'row')}, but exog has {len(first.values)}; pass one row of both for each."
        )
    check_index(second.option, read.index, first.index)
    for name, columns in (("exog", first), (second.option, read)):
        check_held(columns.values, name)
    names = (*_named(first), *(f"{second.prefix}{name}" for name in _named(read)))
    values = torch.cat([first.values, read.values.to(first.values.device)], 1)
    return replace(first, values=values, names=names, is_tensor=first.is_tensor or read.is_tensor)


def _with_instruments(
    exog: Columns | None, by: InstrumentedBy, device: Device, dtype: torch.dtype | None
) -> tuple[Columns, Columns, int]:
    """Put endogenous regressors behind the others, and return the regressors, the instruments with names, and how many are endogenous."""
    moved = as_matrix(read_columns(by.endog, "endog", device, dtype))
    movers = as_matrix(read_columns(by.instruments, "instruments", device, dtype))
    first, label = (moved, "endog") if exog is None else (exog, "exog")
    for what, read in (("endog", moved), ("instruments", movers)):
        if len(read.values) != len(first.values):
            raise DataError(
                f"{what} has {counted(len(read.values), 'row')}, but {label} has {len(first.values)}; pass one row of both for each."
            )
        check_index(what, read.index, first.index, label)
    known = (exog.names or () if exog is not None else (), moved.names or ())
    both = sorted(set(known[0]) & set(known[1]))
    if both:
        raise DataError(
            f"{listed(both)} {'is' if len(both) == 1 else 'are'} among the exogenous regressors and the endogenous ones; pass each variable as one of the two."
        )
    width = movers.values.shape[1]
    movers = replace(movers, names=movers.names or tuple(f"z{i}" for i in range(1, width + 1)))
    if exog is None:
        return moved, movers, moved.values.shape[1]
    names = None
    if exog.names or moved.names:
        count = exog.values.shape[1]
        numbers = range(count + 1, count + moved.values.shape[1] + 1)
        names = (*_named(exog), *(moved.names or tuple(f"x{i}" for i in numbers)))
    values = side_by_side(exog.values, moved.values.to(exog.values.device))
    joined = replace(exog, values=values, names=names, is_tensor=exog.is_tensor or moved.is_tensor or movers.is_tensor)
    return replace(joined, index=moved.index if exog.index is None else exog.index), movers, moved.values.shape[1]


def _named(read: Columns) -> tuple[str, ...]:
    """(k,) the names of columns, which those without one get by their values in complete rows."""
    if read.names is not None:
        return read.names
    if not read.values.numel():
        return tuple(f"x{i}" for i in range(1, read.values.shape[1] + 1))
    whole = _complete_rows(read.values)
    values = read.values if whole is None else read.values[whole]
    return Design(Schema(Arrays()), Held({"exog": values})).names


def _container(y: Columns, x: Columns) -> Container:
    index = x.index if x.index is not None else y.index
    if index is not None:
        return Frames(index)
    return Tensors() if y.is_tensor or x.is_tensor else Arrays()


def _offset(offset: Tensor | None, exposure: Tensor | None) -> Tensor | None:
    """Return offset + log(exposure)."""
    if exposure is None:
        return offset
    check_exposure(exposure)
    logarithm = exposure.to(torch.float64).log()
    return logarithm if offset is None else offset + logarithm


def _complete_rows(*columns: Tensor) -> Tensor | None:
    if not any(bool(torch.isnan(found)) for found in column_sums(columns)):
        return None
    return gather(numbered(columns), _is_complete).nonzero().flatten()


def _is_complete(block: Block) -> Tensor:
    parts = [~torch.isnan(column.reshape(len(column), -1)).any(1) for column in block.columns.values()]
    return torch.stack(parts).all(0)
