"""Ordered categories: cut points on a latent variable."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch

from betahat.calculus.counts import Counts
from betahat.data.arrays import Device
from betahat.data.classes import class_formula, read_classes, told_of_classes
from betahat.data.container import to_tensor
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.engine import in_force
from betahat.data.modes import in_ordinary_mode
from betahat.data.workers import read_engine
from betahat.errors import BetahatWarning, DataError, OptionError, is_one_of, listed, shown, user_level
from betahat.lazy import lazily
from betahat.models.equations import EquationsModel
from betahat.models.multinomial import classes_in_use, rows_by_class, rows_of_classes
from betahat.models.regressors import RegressorModel, caller, design_of_formula
from betahat.objectives.equation import Equation
from betahat.objectives.latent import Latent, LatentCauchy, LatentLargest, LatentLogistic, LatentNormal, LatentSmallest
from betahat.objectives.ordered import Ordered
from betahat.results.ordered import OrderedResults, check_which
from betahat.solvers.least_squares import has_implicit_constant

if TYPE_CHECKING:
    import pandas as pd
    from scipy import stats
else:
    pd = lazily("pandas")
    stats = lazily("scipy.stats")

DISTRIBUTIONS: dict[str, Latent] = {
    "logit": LatentLogistic(),
    "probit": LatentNormal(),
    "cloglog": LatentSmallest(),
    "loglog": LatentLargest(),
    "cauchit": LatentCauchy(),
}
# statsmodels takes scipy's own distributions.
_OF_SCIPY = {"logistic": "logit", "norm": "probit", "gumbel_l": "cloglog", "gumbel_r": "loglog", "cauchy": "cauchit"}


@in_ordinary_mode
class OrderedModel(EquationsModel):
    """Ordered categories: P(y <= j) = F(c_j - x'b - offset), with cut points c_0 < c_1 < ... < c_(J-2).

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) an ordered category of pandas, or numbers or text, whose sorted order is taken.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors, without a constant: the cut points take its place.
    offset : array_like, optional
        (n,) added to x'b.
    distr : {"logit", "probit", "cloglog", "loglog", "cauchit"}
        F: 1 / (1 + e^-z), the normal distribution, 1 - exp(-e^z), exp(-e^-z), or the Cauchy distribution, as in R's ``polr(method=)``; or the same
        distribution of ``scipy.stats``, as in statsmodels.
    weights, freq_weights, missing, device, dtype, engine
        As in `Logit`.

    Attributes
    ----------
    levels : tuple
        (J,) the categories in their order.
    distr : str
        As given.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: one category, a category without a row, a constant, an unknown distribution.

    Warns
    -----
    BetahatWarning
        `endog` is text, or a category without an order.

    Notes
    -----
    The parameters are statsmodels': the coefficients, c_0, and log(c_j - c_(j-1)), under the names "0/1", "1/2", ... of what they divide, so that
    cut points increase by construction. The cut points themselves, with standard errors, are ``results.thresholds``. Each row depends on
    its two neighbouring cut points alone, and derivatives are closed forms that keep their digits in the tails.

    References
    ----------
    McCullagh (1980), J. R. Stat. Soc. B 42(2). ``statsmodels.miscmodels.ordinal_model.OrderedModel``, whose names these are, except that its
    default is "probit". R: ``MASS::polr``, ``ordinal::clm``.

    Examples
    --------
    >>> import betahat as bh
    >>> y, x = [0, 1, 0, 2, 1, 2, 0, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.0, 3.0]
    >>> res = bh.OrderedModel(y, x).fit()
    >>> res.params.round(3)
    array([0.946, 2.306, 0.429])
    >>> res.thresholds.params.round(3)
    array([2.306, 3.841])
    """

    stored = (*RegressorModel.stored, "levels", "distr")

    vectors = ("offset", "weights", "freq_weights")
    results = OrderedResults

    levels: tuple[Any, ...]
    distr: str

    def __init__(
        self,
        endog: Any,
        exog: Any,
        offset: Any = None,
        distr: str = "logit",
        weights: Any = None,
        freq_weights: Any = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        self._take({"distr": distr})
        codes, self.levels = read_classes(endog)
        beside = RowVectors(weights=weights, offset=offset, freq_weights=freq_weights)
        self.sample = read_design(codes, exog, beside, missing=missing, device=device, dtype=dtype, engine=engine)
        self.source = None
        self._check_categories(getattr(endog, "dtype", None))

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; `bh.ordered` is the same. The formula's constant is left out, as in statsmodels.

        Parameters
        ----------
        formula, data
            As in `ols`; the left-hand side is a column of categories. The formula is code.
        **options
            offset, weights and freq_weights: a column's name, an expression, or as many numbers as `data` has rows; distr, missing ("drop" by
            default), device, dtype, engine, compress, panel and time.

        Returns
        -------
        OrderedModel

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {
        ...     "y": [0, 1, 0, 2, 1, 2, 0, 2],
        ...     "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.0, 3.0],
        ... }
        >>> bh.ordered("y ~ x", data, distr="probit").fit().params.round(3)
        x      0.613
        0/1    1.520
        1/2   -0.061
        dtype: float64
        """
        coded = class_formula(formula, data, in_force(read_engine(options.get("engine"))))
        model, names = cls.__new__(cls), caller(2)
        model._take(options)
        with told_of_classes(coded.name):
            design, source = design_of_formula(
                coded.text, coded.data, options, cls.vectors, names, cls.__name__, constant=False
            )
        model.source = replace(source, text=formula)
        model.sample = replace(design, schema=replace(design.schema, endog_name=coded.name))
        model.levels = coded.levels
        model._check_categories(coded.kind)
        return model

    def _take(self, options: dict[str, Any]) -> None:
        """Take the distribution."""
        distr = options.pop("distr", "logit")
        if not isinstance(distr, str) and isinstance(distr, stats.rv_continuous):
            distr = _OF_SCIPY.get(distr.name, distr)
        if not is_one_of(distr, tuple(DISTRIBUTIONS)):
            raise OptionError(f"distr is {shown(distr)}; use one of {listed(list(DISTRIBUTIONS))}.")
        self.distr = distr

    def _check_categories(self, kind: Any) -> None:
        """Leave categories out that have no row, unless the user declared them, and refuse what cannot be fitted."""
        if not isinstance(kind, pd.CategoricalDtype):
            self.sample, self.levels = classes_in_use(self.design, self.levels)
        if isinstance(kind, pd.CategoricalDtype) and not kind.ordered:
            _warn_of_order(self.levels, "a category without an order", "declare it, with .cat.as_ordered() say")
        elif not isinstance(kind, pd.CategoricalDtype) and all(isinstance(level, str) for level in self.levels):
            _warn_of_order(self.levels, "text", "give the order with pd.Categorical(y, categories=[...], ordered=True)")
        self._check_names()
        _check_counts(self.design, self.levels)
        _check_no_constant(self.design)

    @property
    def objective(self) -> Ordered:
        """The loss of a row, of x'b and the cut points."""
        pairs = zip(self.levels, self.levels[1:], strict=False)
        cuts = (Equation(f"{below}/{above}", ()) for below, above in pairs)
        return Ordered(DISTRIBUTIONS[self.distr], equations=(Equation(""), *cuts))

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r, the rank of the regressors."""
        return float(self.rank)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r - (J - 1)."""
        return Counts(self.nobs, self.rank + len(self.levels) - 1).free

    def predict(  # type: ignore[override]
        self, params: Any, exog: Any = None, which: str = "prob", offset: Any = None
    ) -> Any:
        """Return (m, J) probabilities, or what `which` asks for.

        Parameters
        ----------
        params : array_like
            (k + J - 1,) parameters.
        exog : array_like, optional
            (m, k) regressors; None takes those of the data, with their offset.
        which : {"prob", "linpred", "cumprob"}
            (m, J) probabilities, (m,) x'b + offset, or (m, J) probabilities of a category or one below.
        offset : array_like, optional
            (m,) those of the new regressors.

        Returns
        -------
        array
            (m, J), or (m,).

        Raises
        ------
        OptionError
            `which` is unknown.
        """
        check_which(which)
        read = self._read(params)
        shift = None if offset is None else to_tensor(offset, read)
        found = self._means(params, exog, shift, which == "linpred")
        return found.cumsum(1) if which in ("cum", "cumprob") else found


ordered = OrderedModel.from_formula


def _warn_of_order(levels: tuple[Any, ...], what: str, remedy: str) -> None:
    """Name the order that categories are taken to have, which nobody told."""
    warnings.warn(
        f"endog is {what}, so {listed(levels, limit=12)} are taken to rise in this order; {remedy}.",
        BetahatWarning,
        stacklevel=user_level(),
    )


def _check_counts(design: Design, levels: tuple[Any, ...]) -> None:
    """Refuse one category, categories without a row, and almost as many as there are rows."""
    if len(levels) < 2:
        raise DataError(f"endog has one category, {listed(levels)}; an ordered model needs two or more.")
    if 2 * len(levels) > max(design.rows, 20):
        raise DataError(
            f"endog has {len(levels)} categories in {design.rows} rows; an ordered model needs several rows of each: join categories, with "
            "pd.cut say, or use OLS for numbers."
        )
    counts = design.tally(partial(rows_of_classes, len(levels)))
    empty = [level for level, count in zip(levels, counts, strict=True) if not count]
    there = rows_by_class(design, len(levels)) if empty else counts
    weightless = [level for level, count, rows in zip(levels, counts, there, strict=True) if rows and not count]
    if weightless:
        raise DataError(
            f"Every row of {'the category' if len(weightless) == 1 else 'the categories'} {listed(weightless)} has weight 0, so that there is nothing "
            f"between the cut points beside {'it' if len(weightless) == 1 else 'them'}; leave these rows out, and the category with them, or weight "
            "them."
        )
    if empty:
        raise DataError(
            f"No row is of {'the category' if len(empty) == 1 else 'the categories'} {listed(empty)}, so that there is nothing between the cut "
            f"points beside {'it' if len(empty) == 1 else 'them'}; leave unused categories out, with .cat.remove_unused_categories() say."
        )


def _check_no_constant(design: Design) -> None:
    """Refuse a constant, which would move all cut points."""
    constant = design.constant
    if constant.index is not None:
        raise DataError(
            f"exog has a constant, {design.names[constant.index]}, and OrderedModel has cut points in its place; leave it out, or use "
            "bh.ordered('y ~ x', data), which does."
        )
    if has_implicit_constant(design):
        raise DataError(
            f"A combination of {listed(design.names, limit=12)} is constant, and OrderedModel has cut points in its place; leave out one of the "
            "columns, such as the dummy of one group."
        )
