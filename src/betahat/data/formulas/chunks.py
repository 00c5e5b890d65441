"""A chunk of a dataset becomes the columns of a design, by a formula that has learnt all it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from formulaic.model_spec import ModelSpec
from torch import Tensor

from betahat.data.arrays import read_weights
from betahat.data.effects import CODES
from betahat.data.formulas.context import with_modules, without_modules
from betahat.data.formulas.evaluation import evaluate
from betahat.data.formulas.numeric import Product, incomplete, matrix
from betahat.data.formulas.vectors import vector_of
from betahat.data.frame import numbers_of, to_pandas
from betahat.data.learnt_labels import LabelCodes
from betahat.data.scored import INSTRUMENTS
from betahat.data.streamed import Builder, Built
from betahat.data.trials import read_trials


@dataclass(frozen=True, eq=False)
class Vectors:
    """What stands beside the regressors.

    Attributes
    ----------
    given : dict of str to object
        Columns' names, expressions, or numbers, by option.
    """

    given: dict[str, Any]

    @property
    def columns(self) -> list[str]:
        """What is given by name, or as an expression."""
        return [value for value in self.given.values() if isinstance(value, str)]

    def read(
        self, frame: pd.DataFrame, context: Mapping[str, Any], state: dict[str, Any], instead: Any = None
    ) -> dict[str, np.ndarray]:
        """Return (n,) float64 each, by what calls have learnt; `instead` stands in for those that learn."""
        like = torch.empty(len(frame), 0, dtype=torch.float64)
        found = {}
        for name, value in self.given.items():
            named = isinstance(value, str)
            values = vector_of(value, frame, context, name, state, instead) if named else value
            read = read_weights(values, like, None, None, f"{name} column {value!r}" if named else name)
            assert read is not None
            found[name] = read.values.to(torch.float64).numpy()
        return found

    def of(self, numbers: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        """Return (n,) float64 each, columns of numbers by their names."""
        return {
            name: numbers[value].copy() if isinstance(value, str) else np.full(rows, float(value))
            for name, value in self.given.items()
        }


@dataclass(frozen=True, eq=False)
class FormulaBuilder(Builder):
    """Builds a design's columns of chunks.

    Attributes
    ----------
    text : str
        The formula.
    specs : tuple of ModelSpec
        Of the left, of the regressors, and of the instruments where there are some; with all that they have learnt.
    vectors : Vectors
        What stands beside them.
    columns : tuple of str
        Those of the dataset that are needed.
    context : mapping of str to object
        The variables of the caller.
    drop : bool
        Whether rows go that have missing values in what stands beside the regressors.
    counts : bool
        Whether the left has successes and failures.
    dtype : torch.dtype
        Of the columns that the formula makes.
    effects : tuple of LabelCodes
        What numbers the labels of absorbed effects, column after column.
    state : dict of str to dict
        What calls have learnt.
    products : tuple of tuple of Product, or None
        The columns of the sides, where they are made of columns of numbers, and what stands beside them is too.
    """

    text: str
    specs: tuple[ModelSpec, ...]
    vectors: Vectors
    columns: tuple[str, ...]
    context: Mapping[str, Any]
    drop: bool
    counts: bool
    dtype: torch.dtype
    effects: tuple[LabelCodes, ...]
    state: dict[str, Any]
    products: tuple[tuple[Product, ...], ...] | None

    def __getstate__(self) -> dict[str, Any]:
        """Store modules by name."""
        return {**self.__dict__, "context": without_modules(self.context)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Import the modules again."""
        self.__dict__.update(state, context=with_modules(state["context"]))

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that are needed."""
        return self.columns

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        given = self.vectors.given
        shapes: dict[str, tuple[int, ...]] = {"exog": (len(self.specs[1].column_names),), "endog": ()}
        if len(self.specs) > 2:
            shapes[INSTRUMENTS] = (len(self.specs[2].column_names),)
        if self.counts or "weights" in given or "var_weights" in given:
            shapes["weights"] = ()
        if "offset" in given or "exposure" in given:
            shapes["offset"] = ()
        if "freq_weights" in given:
            shapes["counts"] = ()
        if self.effects:
            shapes[CODES] = (len(self.effects),)
        return shapes | {name: () for name in ("status", "entry") if name in given}

    def build(self, chunk: Any) -> Built:
        """Return the columns of a chunk."""
        made = self._of_numbers(chunk) or self._of_frame(frame_of(chunk, self.columns))
        used, vectors = made.used, made.vectors
        left, right, *instruments = made.matrices
        if used is not None:
            vectors = {name: vector[used] for name, vector in vectors.items()}
        columns = {"exog": self._tensor(right)}
        if self.counts:
            trials = read_trials(self._tensor(left), None, weighted=False)
            columns |= {"endog": trials.shares, "weights": trials.trials}
        else:
            columns["endog"] = self._tensor(left[:, 0])
        if instruments:
            columns[INSTRUMENTS] = self._tensor(instruments[0])
        columns |= _beside(vectors)
        whole = None if used is None else torch.from_numpy(used)
        missing = [torch.from_numpy(np.isnan(vector)) for vector in vectors.values()] if self.drop else []
        if self.effects:
            codes = torch.stack([effect.values(chunk) for effect in self.effects]).mT
            codes = codes if whole is None else codes[whole]
            if self.drop:
                missing.append((codes < 0).any(1))
                columns[CODES] = codes
            else:  # what is missing is told of as other numbers are
                columns[CODES] = codes.to(torch.float64).masked_fill_(codes < 0, torch.nan)
        kept = ~torch.stack(missing).any(0) if missing else None
        if kept is None or bool(kept.all()):
            return Built(columns, whole)
        columns = {name: column[kept] for name, column in columns.items()}
        if whole is None:
            return Built(columns, kept)
        both = whole.clone()
        both[whole] = kept
        return Built(columns, both)

    def _of_frame(self, frame: pd.DataFrame) -> _Made:
        tables = evaluate(list(self.specs), frame, self.context, self.text)
        vectors = self.vectors.read(frame, self.context, self.state)
        return _Made([table.values for table in tables], tables[0].used, vectors)

    def _of_numbers(self, chunk: Any) -> _Made | None:
        """Make the matrices of numbers alone; None where the formula or the chunk has others."""
        if self.products is None:
            return None
        own = dict.fromkeys(name for side in self.products for product in side for name in product.columns)
        numbers = numbers_of(chunk, [*own, *self.vectors.columns])
        if not numbers:
            return None
        missing, _ = incomplete({name: numbers[name] for name in own})
        used = None if missing is None else ~missing
        rows = len(next(iter(numbers.values())))
        return _Made([matrix(side, numbers, used) for side in self.products], used, self.vectors.of(numbers, rows))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.dtype)


@dataclass(frozen=True, eq=False)
class _Made:
    """The (m, k) matrices of the sides of a chunk's m rows in use, (n,) which these are, and (n,) what stands beside all."""

    matrices: list[np.ndarray]
    used: np.ndarray | None
    vectors: dict[str, np.ndarray]


def effect_name(column: str) -> str:
    """Return what the labels in a column are called in a sentence."""
    return f"absorb column {column!r}"


def frame_of(chunk: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Return a chunk with these columns, a dataframe of any library, as one of pandas whose rows have no labels."""
    return to_pandas(chunk, " ".join(columns)).reset_index(drop=True)


def _beside(vectors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return vectors under the names that a design has for them."""
    given = {name: torch.from_numpy(vector) for name, vector in vectors.items()}
    found: dict[str, Tensor] = {}
    for name, label in (("weights", "weights"), ("var_weights", "weights"), ("freq_weights", "counts")):
        if name in given:
            found[label] = given[name]
    offset, exposure = given.get("offset"), given.get("exposure")
    if exposure is not None:
        found["offset"] = exposure.log() if offset is None else offset + exposure.log()
    elif offset is not None:
        found["offset"] = offset
    return found | {name: given[name] for name in ("status", "entry") if name in given}
