"""`Core`: a fit and one covariance of it, and what betahat asks of the pair under names of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

from betahat.covariance.base import Covariance, with_distribution
from betahat.covariance.names import NO_NAMES, CovType, Names, check_use_t, covariance_of, resolve
from betahat.covariance.replicates import without_rows
from betahat.data.container import Container
from betahat.data.datasets.compressed import Compression
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.data.streamed import stream_below
from betahat.data.threads import remembered
from betahat.errors import BetahatError, check_flag
from betahat.fits.diagnostics import Diagnostics
from betahat.fits.fit import Fit
from betahat.inference.cases import Cases
from betahat.inference.delta import Delta, Parameters, View, delta_method
from betahat.inference.identified import check_identified
from betahat.inference.margins import Response
from betahat.inference.pair import Pair
from betahat.inference.resampled import Tail
from betahat.lazy import lazily
from betahat.results.layout import Layout
from betahat.saving.records import Stored
from betahat.tables.summary import Summarised

if TYPE_CHECKING:
    from betahat.saving import files
else:
    files = lazily("betahat.saving.files")


@dataclass(frozen=True)
class UnstoredModel:
    """What is kept of a model that is code: the name of its class."""

    name: str


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class Core(ABC):
    """A fit under one covariance; its attributes are those of `Results`, which adds statsmodels' names.

    What follows from the two in tensors is its `Pair`'s to say, and how that is handed out its `Layout`'s.
    """

    model: Any
    fit: Fit
    cov: Covariance

    # names

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) the parameters' names."""
        return self._layout.names

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(k,) the equation of each parameter, empty if there is only one, and its name there."""
        return self._layout.equation_terms

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        return self.fit.given.endog_name

    @property
    def aliased(self) -> tuple[str, ...]:
        """The columns that `rank="drop"` left out; their coefficients are NaN."""
        return self._layout.aliased

    # covariances

    @property
    def cov_type(self) -> str:
        """What the covariance is called."""
        return self.cov.label

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self._pair.use_t

    def with_cov(
        self, cov_type: CovType | None = None, cov_kwds: Mapping[str, Any] | None = None, use_t: bool | None = None
    ) -> Self:
        """Return the same fit under another covariance; nothing is refitted or changed.

        Parameters
        ----------
        cov_type : str or estimator
            A name, such as "HC3", or an estimator, such as ``bh.HC3()``.
        cov_kwds : mapping, optional
            The options of a named estimator; "use_t" may stand among them.
        use_t : bool, optional
            t or normal tests. None keeps what was asked for before, in `fit` or `with_cov`; if nothing was, it takes the
            estimator's own: for least squares t for "nonrobust", the normal distribution for the others.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            An unknown name or option; the message lists the known ones.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
        >>> res.with_cov("HC1").cov_type
        'HC1'
        """
        choice = resolve(cov_type, cov_kwds, use_t, self._own_names)
        asked = self.cov.asked_t if choice.use_t is None else choice.use_t
        return replace(self, cov=covariance_of(self.fit, replace(choice, use_t=asked)))

    def with_use_t(self, use_t: bool | None) -> Self:
        """Return the same results with tests by t, or by the normal distribution.

        Parameters
        ----------
        use_t : bool or None
            None takes the covariance's own.

        Returns
        -------
        Results

        Raises
        ------
        OptionError
            An unknown value.

        Examples
        --------
        >>> import betahat as bh
        >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit("HC1")
        >>> res.use_t, res.with_use_t(True).use_t
        (False, True)
        """
        check_use_t(use_t)
        return replace(self, cov=with_distribution(self.cov, self.fit, use_t))

    # what is known of the fit

    @property
    def nobs(self) -> float:
        """n, the number of rows used."""
        return float(self.fit.nobs)

    @property
    def compression(self) -> Compression | None:
        """What compression did (`compress=True` of a formula): rows before and after; None if it was not asked for."""
        return self.fit.given.schema.compression

    @property
    def diagnostics(self) -> Diagnostics:
        """How the fit was found, and how far it may be trusted."""
        return self.fit.diagnostics

    @property
    @abstractmethod
    def goodness(self) -> tuple[str, float]:
        """What a table says about the fit, and its name there: R², a pseudo R², or the loss."""

    @property
    def response(self) -> Response:
        """The mean of the dependent variable as a function of parameters and regressors, and the data it was fitted on.

        Raises
        ------
        EstimationError
            The model does not show a mean of regressors.
        """
        return self._response(None)

    @property
    @abstractmethod
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""

    # functions of the parameters

    def delta(self, function: Callable[[Parameters], Any]) -> Delta:
        """Return a function of the parameters with its standard error, by the delta method.

        Parameters
        ----------
        function : callable
            Takes the parameters, by name or by position, and returns a number or a vector through torch.

        Returns
        -------
        Delta
            With `estimate`, `bse`, `statistic`, `pvalue`, `conf_int()` and `summary_frame()`.

        Raises
        ------
        EstimationError
            The function leaves torch, or it or its gradient is not finite at the estimates.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
        >>> round(res.delta(lambda p: -p["const"] / p["x1"]).estimate, 6)
        0.357143
        """
        pair, layout = self._pair, self._layout
        view = View(layout.names, layout.kept, layout.tensors)
        found = delta_method(function, self.fit.params, pair.variances, pair.df_of, view, layout.container, self.cov)
        check_identified(self.fit.unidentified, found.jacobian, layout.estimated)
        return found

    def bootstrap_pvalues(self, tail: Tail = "symmetric") -> Any:
        """Return (k,) p-values of zero coefficients, from the distances of a bootstrap's replicates to the estimates.

        Parameters
        ----------
        tail : {"symmetric", "equal"}
            Distances of either sign, or twice the smaller tail. The wild cluster bootstrap has its own, those of `pvalues`.

        Returns
        -------
        array
            (k,).

        Raises
        ------
        OptionError
            The covariance has no replicates, or the tail is unknown.
        """
        return self._layout.vector(self._pair.bootstrap_pvalues(tail))

    def __repr__(self) -> str:
        """Name the model, its size and its covariance."""
        return f"<{self._kind} results: {self.endog_name} by {len(self.names)} parameters, n = {self.fit.nobs}, {self.cov_type} standard errors>"

    # keeping

    def save(self, path: str | PathLike[str] | BinaryIO, remove_data: bool = False) -> Path | BinaryIO:
        """Write the results to one file of numbers and words, which `betahat.load` reads without running any code.

        The file is in the safetensors format. An existing file is replaced once the new one is complete, and keeps its
        permissions; a link leads to its file. What the transformations of a formula learnt is kept, as are
        all columns of a dataframe. Modules, losses, penalties and estimators are code,
        and are not stored: the results of `TorchModel`, `MEstimator` and `GMM` are written as `remove_data` returns them, and so are those of rows that lie
        elsewhere, which stay there.

        Parameters
        ----------
        path : str, path, or binary file
            Where to write; any ending will do. An open file, such as ``io.BytesIO()``, is written to from where it stands.
        remove_data : bool
            Leave the rows out, as `remove_data` does.

        Returns
        -------
        pathlib.Path
            The file, or the open one.

        Raises
        ------
        DataError
            There is no such folder, it cannot be written to, it is a device or a pipe, or the results hold an object of the user's own.

        Warns
        -----
        BetahatWarning
            Columns of the dataframe, or labels of rows, hold objects that no file of numbers and words can.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import betahat as bh
        >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit("HC1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = bh.load(res.save(Path(folder) / "line.betahat"))
        >>> again.with_cov("HC3").bse == res.with_cov("HC3").bse
        array([ True,  True])
        """
        return files.write(path, self._stored_form(remove_data))

    # private

    @abstractmethod
    def _response(self, which: Any) -> Response:
        """Return what `predict` calls `which`, by default the mean, as a function of parameters and regressors."""

    _own_names: ClassVar[Names] = NO_NAMES
    """The names of covariances that are the model's own."""

    @remembered
    def _pair(self) -> Pair:
        return Pair(self.fit, self.cov)

    @remembered
    def _layout(self) -> Layout:
        return self._laid_out()

    def _stored_form(self, remove_data: bool) -> Self:
        """Return the results as a file has them: without the rows if that is asked for, or if they, or the model, cannot be stored."""
        check_flag("remove_data", remove_data)
        elsewhere = stream_below(self.fit.given.source) is not None
        return self._without_data() if remove_data or elsewhere or not self._storable else self

    def _without_data(self) -> Self:
        """Return the results without the rows, once what summaries and tables ask of them is known."""
        _ = self.diagnostics
        for name in self._learned:
            with suppress(BetahatError):  # what is not defined with the rows will not be without them
                getattr(self, name)
        fit = self.fit.without_rows()
        assert isinstance(fit.given, WithoutRows)
        return replace(self, fit=fit, cov=without_rows(self.cov, fit), **self._without_rows(fit.given))

    @abstractmethod
    def _content(self, alpha: float) -> Summarised:
        """Return what a summary says."""

    @abstractmethod
    def _laid_out(self) -> Layout:
        """Return how numbers of the parameters are handed out."""

    @property
    def _container(self) -> Container:
        return self._layout.container

    @property
    def _kind(self) -> str:
        """The model's class."""
        return self.model.name if isinstance(self.model, UnstoredModel) else type(self.model).__name__

    @property
    def _storable(self) -> bool:
        """Whether the model is no code."""
        return isinstance(self.model, Stored | UnstoredModel)

    _learned: ClassVar[tuple[str, ...]]
    """The attributes that need the rows, and that summaries and tables ask for."""

    @abstractmethod
    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        """Return the fields other than the fit and its covariance, without the data."""
