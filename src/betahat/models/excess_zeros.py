"""Models of counts with a second equation for zeros: zero-inflated and hurdle regressions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from betahat.data.arrays import read_columns
from betahat.data.container import to_tensor
from betahat.data.door import RowVectors, SecondEquation, as_matrix, read_design
from betahat.data.modes import in_ordinary_mode
from betahat.errors import DataError, OptionError, is_one_of, listed, shown
from betahat.inference.at_params import indices_of
from betahat.lazy import lazily
from betahat.models.equations import EquationsModel
from betahat.models.regressors import RegressorModel, caller, design_of_formula
from betahat.objectives.base import LinearIndex
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.excess_zeros import CountLoss, ExcessZeros
from betahat.objectives.poisson import PoissonIndices
from betahat.results.counts import read_counts
from betahat.results.excess_zeros import predicted
from betahat.solvers.least_squares import column_rank

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

POISSON = PoissonIndices(equations=())
LINKS: dict[str, LinearIndex] = {"logit": Logistic(), "probit": Normit()}


@in_ordinary_mode
class ExcessZerosModel(EquationsModel, ABC):
    """A model of counts whose zeros have an equation of their own, the columns of which stand behind those of the counts'.

    Attributes
    ----------
    second_width : int
        How many regressors the zeros' equation has.
    second_given : bool
        Whether they were given.
    link : str
        The link of the zeros' equation.
    """

    stored = (*RegressorModel.stored, "second_width", "second_given", "link")

    advice = "or use Poisson, which takes fractions as well"

    second: ClassVar[str]
    """The argument that the regressors of the zeros' equation are passed as."""

    prefix: ClassVar[str]
    """What stands before their names."""

    link_option: ClassVar[str]
    """The argument that says which link the zeros' equation has."""

    counts: CountLoss
    """The loss of the counts."""

    second_width: int
    second_given: bool
    link: str

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from two formulas and a dataframe.

        Parameters
        ----------
        formula, data
            As in `ols`; the formula is code.
        **options
            exog_infl or exog_zero, the regressors of the zeros' equation as a formula such as "~ z"; offset, exposure, weights and freq_weights: a
            column's name, an expression, or as many numbers as `data` has rows; the other options of the class; missing is "drop" by default.

        Returns
        -------
        The model.

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.
        """
        model, names = cls.__new__(cls), caller(2)
        model._take(options)
        given = options.pop(cls.second, None)
        second = SecondEquation(
            cls._formula(str(formula)) if given is None else given, cls.second, cls.prefix, cls._default
        )
        design, model.source = design_of_formula(
            formula,
            data,
            options,
            cls.vectors,
            names,
            cls.__name__,
            second=second if isinstance(formula, str) else None,
        )
        columns = design.names
        model.second_given = given is not None
        model.second_width = sum(
            len(places) for name, places in (design.schema.terms or {}).items() if name.startswith(cls.prefix)
        )
        model.sample = replace(design, schema=replace(design.schema, given_names=model._named(columns)))
        model._check()
        return model

    def _read_data(self, endog: Any, exog: Any, given: Any, beside: RowVectors, **options: Any) -> None:
        """Read and check the data; `given` are the regressors of the zeros' equation, None the model's own choice of them."""
        second = SecondEquation(given, self.second, self.prefix, self._default)
        self.sample = read_design(endog, exog, beside, second=second, **options)
        self.source = None
        width = as_matrix(read_columns(exog, "exog", None, None)).values.shape[1]
        self.second_width, self.second_given = self.sample.width - width, given is not None
        self._check()

    @staticmethod
    @abstractmethod
    def _formula(formula: str) -> str:
        """Return the formula of the zeros' equation where none is given."""

    @staticmethod
    @abstractmethod
    def _default(exog: torch.Tensor) -> torch.Tensor:
        """Return (n, q) the regressors of the zeros' equation where none are given, of (n, k) the counts'."""

    @property
    @abstractmethod
    def objective(self) -> ExcessZeros:
        """The loss of a row."""

    def _places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the columns of the counts and of the zeros' equation."""
        every = tuple(range(self.sample.width))
        return every[: -self.second_width], every[-self.second_width :]

    def _check(self) -> None:
        """Refuse what is no count, and counts without a zero."""
        EquationsModel._check(self)
        if not self.design.tally(_zeros)[0]:
            raise DataError(
                f"endog has no zeros, and {type(self).__name__} has an equation for them; use Poisson or NegativeBinomial."
            )

    @property
    def exog(self) -> Any:
        """(n, k) the regressors of the counts, of the rows in use."""
        return self._columns(0)

    @property
    def exog_names(self) -> list[str]:
        """(k,) the parameters' names, as in statsmodels."""
        return list(self.objective.parameter_names(self.sample.names))

    def _columns(self, equation: int) -> Any:
        part = self.design.select(self._places()[equation])
        return self.design.container.present_rows(part.exog, part.names)

    @cached_property
    def rank(self) -> int:
        """The number of independent regressors of the counts."""
        return len(column_rank(self.design.select(self._places()[0]))[0])

    def both(self, exog: Any, second: Any, transform: bool) -> tuple[Any, bool]:
        """Return (m, k + q) new regressors of both equations side by side, unless a formula makes them of new data, and whether it does.

        Parameters
        ----------
        exog, second : array_like or None
            (m, k) and (m, q); None takes the data of the fit, or what the model takes where nothing is said.
        transform : bool
            Whether new data go through the formula.

        Returns
        -------
        object
            As `new_regressors` reads it.
        bool
            Whether the formula is to make regressors of it.

        Raises
        ------
        OptionError, DataError
            One without the other, or other numbers of rows or columns.
        """
        if exog is None:
            if second is not None:
                raise OptionError(f"{self.second} is passed without exog; pass both, or none for the data of the fit.")
            return None, transform
        if self.source is not None and transform:
            if second is not None:
                raise OptionError(
                    f"{self.second} is passed beside new data that the formulas make it of; leave it out, or pass regressors with transform=False."
                )
            return exog, True
        counts, zeros = self._places()
        first = as_matrix(read_columns(exog, "exog", None, None, [self.sample.names[i] for i in counts]))
        if second is None and first.values.shape[1] == self.sample.width:
            return exog, False
        if second is None and self.second_given:
            raise OptionError(f"exog is passed without {self.second}; pass the regressors of both equations.")
        other = self._default(first.values) if second is None else self._second(second)
        if len(other) != len(first.values) or first.values.shape[1] != len(counts) or other.shape[1] != len(zeros):
            raise DataError(
                f"exog is {tuple(first.values.shape)} and {self.second} {tuple(other.shape)}; pass as many rows of both, with {len(counts)} and "
                f"{len(zeros)} columns."
            )
        joined = torch.cat([first.values, other.to(first.values.device)], 1)
        if first.index is not None:
            return pd.DataFrame(joined.numpy(), first.index, list(self.sample.names)), False
        return (joined if first.is_tensor else joined.numpy()), False

    def _second(self, given: Any) -> torch.Tensor:
        """Read (m, q) regressors of the zeros' equation; a dataframe may hold them in any order."""
        names = [self.sample.names[i].removeprefix(self.prefix) for i in self._places()[1]]
        return as_matrix(read_columns(given, self.second, None, None, names)).values

    def _predicted(
        self, params: Any, exog: Any, second: Any, exposure: Any, offset: Any, which: str, y_values: Any
    ) -> Any:
        """Predict at parameters of one's own."""
        read = self._read(params)
        shift = None if offset is None else to_tensor(offset, read)
        if exposure is not None:
            rates = to_tensor(exposure, read).log()
            shift = rates if shift is None else shift + rates
        joined, _ = self.both(exog, second, False)
        regressors = self.design.exog if joined is None else self.new_regressors(joined, transform=False)[0]
        shift = self.design.offset if exog is None and shift is None else shift
        index = indices_of(self.objective, regressors, read, shift)
        return self._plain(predicted(self.objective, index, which, lambda: read_counts(self.design, y_values)))

    def _take(self, options: dict[str, Any]) -> None:
        """Take the link of the zeros' equation."""
        self.link = options.pop(self.link_option, "logit")
        if not is_one_of(self.link, tuple(LINKS)):
            raise OptionError(f"{self.link_option} is {shown(self.link)}; use one of {listed(list(LINKS))}.")

    def _named(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the columns as they are to be shown."""
        return columns


def _zeros(y: torch.Tensor) -> tuple[torch.Tensor]:
    """Count values that are not positive."""
    return ((y <= 0).sum(),)
