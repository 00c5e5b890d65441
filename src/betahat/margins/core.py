"""`MarginCore`: margins with a covariance, their names, numbers and intervals."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.covariance.names import CovType
from betahat.data.container import Container
from betahat.data.handed_out import hands_out_copies
from betahat.data.modes import in_ordinary_mode
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.inference.pair import Pair
from betahat.inference.resampled import Method, Tail
from betahat.lazy import lazily
from betahat.margins.functions import Function
from betahat.margins.inferred import Inferred, Kept
from betahat.margins.labels import index_of, named
from betahat.tables.estimates import full_name
from betahat.tables.terms import Rename, renamed

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data.formulas import restrictions as formulas
    from betahat.saving import files
else:
    pd = lazily("pandas")
    formulas = lazily("betahat.data.formulas.restrictions")
    files = lazily("betahat.saving.files")


@in_ordinary_mode
@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class MarginCore(ABC):
    """Functions of the coefficients under one covariance; its attributes are those of `MarginResults`.

    Attributes
    ----------
    of : Results
        The results that they are computed from.
    labels : pandas.DataFrame
        (m, ...) what each number is: "group" (the outcome, where there are several), "term", "contrast", and the columns of `by`, or the
        position of the row.
    estimates : Tensor
        (m,) the numbers.
    jacobian : Tensor
        (m, k) their derivatives in the parameters.
    function : Function or None
        The numbers at other parameters; None if they come from a file.
    title : str
        What they are called.
    rows : pandas.DataFrame or None
        The variables of each row, where the numbers are those of single rows.
    kept : Kept or None
        What is known instead of the function.
    null : float
        What the numbers are in the null hypothesis.
    scale : {"log", "ratio", ""}
        Whether they are logarithms of ratios, ratios, or anything else.
    """

    of: Any
    labels: pd.DataFrame
    estimates: Tensor
    jacobian: Tensor
    function: Function | None = field(default=None, metadata={"stored": False})
    title: str = ""
    rows: pd.DataFrame | None = None
    kept: Kept | None = None
    null: float = 0.0
    scale: str = ""

    # names

    @property
    def names(self) -> tuple[str, ...]:
        """(m,) the names of the numbers."""
        return tuple(map(full_name, self.equation_terms))

    @remembered
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(m,) the title under which a table puts each number, or nothing, and its name there."""
        return named(self.labels, self.title_of_outcome)

    def title_of_outcome(self, outcome: str, rename: Rename | None = None) -> str:
        """Return the title of the numbers of an outcome: "occupation=3", or "q=0.25" where outcomes are equations of their own.

        Parameters
        ----------
        outcome : str
            The outcome, as in the column "group".
        rename : mapping, optional
            As in `regtable`.

        Returns
        -------
        str
        """
        return outcome if outcome in self._equations else f"{renamed(self.endog_name, rename)}={outcome}"

    @remembered
    def _equations(self) -> set[str]:
        return {equation.name for equation in self.of.fit.equations}

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        found: str = self.of.endog_name
        return found

    @property
    def cov(self) -> Covariance:
        """The covariance of the numbers, in tensors."""
        return self._found.pair.cov

    @property
    def cov_type(self) -> str:
        """What the covariance is called."""
        found: str = self.of.cov_type
        return found

    @property
    def nobs(self) -> float:
        """n, the number of rows of the fit."""
        found: float = self.of.nobs
        return found

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self._found.of.use_t

    @property
    def goodness(self) -> tuple[str, float]:
        """What a table says of the fit, and its name there."""
        found: tuple[str, float] = self.of.goodness
        return found

    @property
    def unidentified(self) -> tuple[str, ...]:
        """The numbers that collinear columns leave unidentified."""
        known = self._found.known
        lost = () if bool(known.all()) else (~known).nonzero().flatten().tolist()
        return tuple(self.names[i] for i in lost)

    # covariances

    def with_cov(
        self, cov_type: CovType | None = None, cov_kwds: Mapping[str, Any] | None = None, use_t: bool | None = None
    ) -> Self:
        """Return the same numbers under another covariance of the coefficients; nothing is fitted again.

        Parameters
        ----------
        cov_type, cov_kwds, use_t
            As in `Results.with_cov`.

        Returns
        -------
        MarginResults

        Raises
        ------
        OptionError
            An unknown name or option.
        EstimationError
            A bootstrap, of margins that come from a file or a pickle: take the margins of the loaded results again.
        """
        of = self.of.with_cov(cov_type, cov_kwds, use_t)
        if self.function is None and of.cov.draws is not None:
            raise EstimationError(
                "A file holds margins as numbers, which a bootstrap cannot draw anew; take the margins of the results again, which are margins.of."
            )
        return replace(self, of=of, kept=None)

    def with_use_t(self, use_t: bool | None) -> Self:
        """Return the same numbers with tests by t, or by the normal distribution.

        Parameters
        ----------
        use_t : bool or None
            None takes the covariance's own.

        Returns
        -------
        MarginResults
        """
        return replace(self, of=self.of.with_use_t(use_t))

    # numbers

    @property
    def params(self) -> Any:
        """(m,) the numbers."""
        return self._hand_out(self.estimates)

    @property
    def bse(self) -> Any:
        """(m,) standard errors, sqrt(diag(J V J')); of a bootstrap the deviations of the replicates."""
        return self._hand_out(self._found.errors)

    @property
    def tvalues(self) -> Any:
        """(m,) the numbers over their standard errors."""
        return self._hand_out(self._found.statistics)

    @property
    def pvalues(self) -> Any:
        """(m,) two-sided p-values of numbers of zero, by t or the normal distribution; of the wild cluster bootstrap its own where the numbers are linear."""
        return self._hand_out(self._found.pvalues)

    def cov_params(self) -> Any:
        """Return the covariance of the numbers.

        Returns
        -------
        array
            (m, m) J V J', or the covariance of a bootstrap's replicates.

        Raises
        ------
        EstimationError
            There are more than 5,000 numbers.
        """
        return self._container.present(self._found.covariance(), lambda: self._index)

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (m, 2) intervals, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha, method
            As in `Results.conf_int`.

        Returns
        -------
        array
            (m, 2).

        Raises
        ------
        OptionError, EstimationError
            As in `Results.conf_int`.
        """
        return self._container.present(self._found.bounds(alpha, method), lambda: self._index, [0, 1])

    def bootstrap_pvalues(self, tail: Tail = "symmetric") -> Any:
        """Return (m,) p-values of numbers of zero, from the distances of a bootstrap's replicates to the numbers.

        Parameters
        ----------
        tail : {"symmetric", "equal"}
            As in `Results.bootstrap_pvalues`.

        Returns
        -------
        array
            (m,).

        Raises
        ------
        OptionError
            The covariance has no replicates, or the tail is unknown.
        """
        return self._hand_out(self._found.bootstrap_pvalues(tail))

    # private

    @remembered
    def _found(self) -> Inferred:
        return Inferred(
            Pair(self.of.fit, self.of.cov), self.estimates, self.jacobian, self.function, self.kept, self.null
        )

    @property
    def _container(self) -> Container:
        container: Container = self.of.fit.sample.container
        return container

    @property
    def _index(self) -> Any:
        """The names of the numbers; of single rows an index of labels, for which no name is written."""
        return self.names if self.rows is None else index_of(self.labels, self.rows.index)

    def _hand_out(self, values: Tensor) -> Any:
        return self._container.present(values, lambda: self._index)
