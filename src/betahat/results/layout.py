"""How numbers of parameters are laid out and handed out: as a vector, or as a grid with a column for each equation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.checks import matrix_flaw
from betahat.data.classes import class_name
from betahat.data.container import Container, Frames, to_numpy, to_tensor
from betahat.data.threads import remembered
from betahat.errors import EstimationError, OptionError, is_one_of, listed
from betahat.fits.fit import Fit
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data.formulas import restrictions as restricted
else:
    pd = lazily("pandas")
    restricted = lazily("betahat.data.formulas.restrictions")


@dataclass(frozen=True, eq=False)
class Layout(ABC):
    """The parameters of a fit: their names, which of them are estimated, and the shape in which numbers of them are handed out.

    Tensors inside betahat have an entry for each estimated parameter, (k,) of the K that have a name: the columns that
    ``rank="drop"`` left out have none. What is handed out has K, with NaN in their places.

    Attributes
    ----------
    fit : Fit
        Whose parameters they are.
    """

    fit: Fit

    # names

    @property
    def names(self) -> tuple[str, ...]:
        """(K,) the parameters' names."""
        return self.fit.names

    @property
    def other_names(self) -> tuple[str, ...]:
        """(K,) further names, by which restrictions may call the parameters; none for most models."""
        return ()

    @property
    def tensors(self) -> Mapping[str, tuple[int, torch.Size]]:
        """Where each parameter tensor of a torch model begins, and its shape."""
        return {}

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(K,) the equation of each parameter, or nothing where there is one only, and its name there."""
        if not self.fit.equations:
            return tuple(("", name) for name in self.names)
        names = self.fit.given.names
        pairs = zip(self.fit.equations, self._places, strict=True)
        several = self.fit.objective.indices
        joint = "" if several is None else several.joint
        return tuple(
            ("", equation.name)
            if column is None
            else (
                equation.name,
                names[column].removeprefix(f"{equation.name}{joint}") if equation.name else names[column],
            )
            for equation, place in pairs
            for column in place or (None,)
        )

    @property
    def terms(self) -> dict[str, list[int]]:
        """The formula's terms, or the columns, and the positions of each one's parameters among the estimated ones."""
        given = self.fit.given
        terms = given.schema.terms
        if terms is None:
            terms = {name: [i] for i, name in enumerate(given.names)}
        estimated = {place: i for i, place in enumerate(self.kept)}
        places: dict[
            int, list[int]
        ] = {}  # of each column, its parameters; a term is in every equation that has its columns
        for parameter, found in enumerate(self._columns):
            if found is not None:
                places.setdefault(found, []).append(parameter)
        count = len(self._places)
        return {
            name: [
                estimated[places[column][i]]
                for i in range(count)
                for column in columns
                if i < len(places.get(column, ())) and places[column][i] in estimated
            ]
            for name, columns in terms.items()
        }

    @property
    def _places(self) -> tuple[tuple[int, ...], ...]:
        """(q,) the columns of each equation."""
        return self.fit.objective.places(self.fit.given.width)

    @property
    def _columns(self) -> tuple[int | None, ...]:
        """(K,) the column of each parameter; None for one that has none."""
        return self.fit.objective.columns_of_parameters(self.fit.given.width)

    # which are estimated

    @remembered
    def kept(self) -> tuple[int, ...]:
        """(k,) the positions of the estimated parameters among the names."""
        given = self.fit.given
        columns = set(self.fit.kept if self.fit.sample is not given else range(given.width))
        return tuple(i for i, column in enumerate(self._columns) if column is None or column in columns)

    @property
    def estimated(self) -> list[str]:
        """(k,) the names of the estimated parameters."""
        names = self.names
        return [names[i] for i in self.kept]

    @property
    def aliased(self) -> tuple[str, ...]:
        """(K - k,) the names of those that were left out."""
        kept = set(self.kept)
        return tuple(name for i, name in enumerate(self.names) if i not in kept)

    def expand(self, values: Tensor) -> Tensor:
        """Return (K, ...) of (k, ...) numbers, with NaN for what was left out."""
        width = self.fit.width
        if len(values) == width:
            return values
        full = values.new_full((width, *values.shape[1:]), math.nan)
        if len(values):
            full[list(self.kept)] = values
        return full

    def expand_square(self, values: Tensor) -> Tensor:
        """Return (K, K) of (k, k) numbers, with NaN for what was left out."""
        return self.expand(self.expand(values).mT).mT

    # reading

    def read_positions(self, column: Any) -> Tensor:
        """Read names or positions of parameters as positions: () of one, and (m,) of a sequence."""
        single = (
            isinstance(column, str)
            or not isinstance(column, Iterable)
            or (isinstance(column, Tensor) and column.ndim == 0)
        )
        wanted = [column] if single else list(column)
        found = [self.names.index(name) if is_one_of(name, self.names) else name for name in wanted]
        bad = [name for name in found if not isinstance(name, int | np.integer) or not 0 <= name < len(self.names)]
        if bad:
            raise OptionError(f"There is no column {listed(bad)}; the parameters are {listed(self.names, limit=30)}.")
        return torch.as_tensor(found[0] if single else found, dtype=torch.int64)

    def read_covariance(self, cov_p: Any) -> Tensor:
        """Read a (K, K) covariance of the parameters, and return the (k, k) of those that are estimated."""
        given = to_tensor(cov_p, self.fit.params)
        if given.shape != (len(self.names),) * 2:
            raise OptionError(
                f"cov_p has shape {tuple(given.shape)}; pass one row and one column for each of the {len(self.names)} parameters."
            )
        given = given[list(self.kept)][:, list(self.kept)]
        flaw = matrix_flaw(given)
        if flaw is not None:
            raise OptionError(f"cov_p {flaw}; pass a symmetric matrix of numbers without negative variances.")
        return given

    def read_restrictions(self, restrictions: Any) -> tuple[Tensor, Tensor]:
        """Read R b = q in words or numbers, and return (J, k) R and (J,) q."""
        matrix, values = restricted.read_restrictions(restrictions, self.names, self.fit.params, self.other_names)
        touched = [name for name in self.aliased if bool(matrix[:, self.names.index(name)].any())]
        if touched:
            raise EstimationError(
                f"The restriction is on {listed(touched)}, omitted as collinear; test the columns that are estimated."
            )
        return matrix[:, list(self.kept)], values

    # handing out

    @property
    def container(self) -> Container:
        """What went in, which decides what comes out."""
        return self.fit.sample.container

    @abstractmethod
    def vector(self, values: Tensor) -> Any:
        """Hand out (k,) numbers, one for each estimated parameter."""

    @abstractmethod
    def square(self, values: Tensor) -> Any:
        """Hand out (k, k) numbers."""

    @abstractmethod
    def intervals(self, values: Tensor) -> Any:
        """Hand out (k, 2) bounds."""


@dataclass(frozen=True, eq=False)
class Vector(Layout):
    """Parameters in one vector.

    Attributes
    ----------
    fit
        As in `Layout`.
    parts : mapping
        `tensors`, of a torch model.
    """

    parts: Mapping[str, tuple[int, torch.Size]] = field(default_factory=dict)

    @property
    def tensors(self) -> Mapping[str, tuple[int, torch.Size]]:
        """Where each parameter tensor of a torch model begins, and its shape."""
        return self.parts

    def vector(self, values: Tensor) -> Any:
        """Hand out (K,) numbers."""
        return self.container.present(self.expand(values), self._names)

    def square(self, values: Tensor) -> Any:
        """Hand out (K, K) numbers."""
        return self.container.present(self.expand_square(values), self._names)

    def intervals(self, values: Tensor) -> Any:
        """Hand out (K, 2) bounds."""
        return self.container.present(self.expand(values), self._names, [0, 1])

    def _names(self) -> tuple[str, ...]:
        return self.names


@dataclass(frozen=True, eq=False)
class Grid(Layout):
    """Parameters in a grid, a row for each column of the regressors and a column for each class but the first.

    Attributes
    ----------
    fit
        As in `Layout`.
    levels : tuple
        The classes, or quantiles, one for each equation.
    columns : tuple or None
        What the columns are called; None numbers them.
    variable : str or None
        What the levels are values of; None is the dependent variable.
    """

    levels: tuple[Any, ...]
    columns: tuple[Any, ...] | None = None
    variable: str | None = None

    @property
    def other_names(self) -> tuple[str, ...]:
        """(k (J - 1),) statsmodels' names of the parameters in restrictions, such as "y1_x" of class 1."""
        letter = "y" if self.variable is None else self.variable
        return tuple(f"{letter}{class_name(level)}_{name}" for level in self.levels for name in self._rows())

    def table(self, values: Tensor) -> Tensor:
        """Return (k, J - 1) of (k (J - 1),) numbers, which lie equation after equation."""
        return values.reshape(len(self.levels), -1).mT

    def vector(self, values: Tensor) -> Any:
        """Hand out (k, J - 1) numbers."""
        columns = range(len(self.levels)) if self.columns is None else self.columns
        return self.container.present(self.table(self.expand(values)), self._rows, list(columns))

    def square(self, values: Tensor) -> Any:
        """Hand out (k (J - 1), k (J - 1)) numbers, equation after equation."""
        square = self.expand_square(values)
        if not isinstance(self.container, Frames):
            return self.container.plain(square)
        index = self._index()
        return pd.DataFrame(to_numpy(square).copy(), index=index, columns=index)

    def intervals(self, values: Tensor) -> Any:
        """Hand out (J - 1, k, 2) bounds; of a dataframe (k (J - 1), 2) with the equations in the index."""
        full = self.expand(values)
        if not isinstance(self.container, Frames):
            return self.container.plain(full.reshape(len(self.levels), -1, 2))
        return pd.DataFrame(to_numpy(full).copy(), index=self._index(), columns=["lower", "upper"])

    def _rows(self) -> Sequence[str]:
        return self.fit.given.names

    def _index(self) -> pd.MultiIndex:
        levels = [class_name(level) for level in self.levels]
        return pd.MultiIndex.from_product(
            [levels, self._rows()], names=[self.variable or self.fit.given.endog_name, None]
        )
