"""`did2s`: Gardner's two stages with formulas of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from betahat.covariance.names import CovType
from betahat.data.datasets.open import dataset_of
from betahat.data.design import Design
from betahat.data.effects import EffectTerm, effect_terms
from betahat.data.frame import to_pandas
from betahat.did.panel import quoted
from betahat.did.regressions import second_stage_of
from betahat.did.rows import design_of, determined, dummies_of, linear_model, places_of, stage_of
from betahat.did.two_stage import Stage
from betahat.errors import DataError, FormulaError, OptionError, listed, shown
from betahat.models.regressors import CONSTANT, caller
from betahat.results.moments import GMMResults

if TYPE_CHECKING:
    import pandas as pd

_USED = "rows in use"


def did2s(
    data: Any,
    y: str,
    first_stage: str,
    second_stage: str,
    treatment: str,
    *,
    weights: Any = None,
    cov_type: CovType | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    use_t: bool | None = None,
) -> GMMResults:
    """Estimate in two stages: untreated outcomes on untreated rows, then what is left of all outcomes on regressors of the treatment.

    Parameters
    ----------
    data : dataframe or mapping
        Any eager dataframe, or a dict of columns.
    y : str
        The outcome: a column, or an expression of columns.
    first_stage : str
        Controls and fixed effects, such as ``"~ x | unit + year"``.
    second_stage : str
        Regressors of the treatment: ``"~ treated"``, or ``"~ i(event_time, ref=-1)"``. There is no constant: levels that are left out have no effect.
    treatment : str
        The column that says which rows are under treatment, 0 and 1 or truth values; the others fit the first stage.
    weights : str or array_like, optional
        Weights of the rows, as in `wls`.
    cov_type, cov_kwds, use_t
        As in `OLS.fit`; None is "HC0". Every covariance is of both stages, stacked. ``bh.Cluster("state", kind="CR0")`` is that of did2s in R.

    Returns
    -------
    GMMResults
        Of the second stage.

    Raises
    ------
    DataError, FormulaError, OptionError, EstimationError
        The data or an option cannot be used, or effects are not identified.

    Warns
    -----
    BetahatWarning
        Rows whose untreated outcome the untreated rows do not determine, such as those of units treated throughout, are left out.

    References
    ----------
    Gardner (2022), Two-stage differences in differences, arXiv 2207.05943.

    Examples
    --------
    >>> import betahat as bh
    >>> rows = [(i, t, g) for i, g in enumerate([3, 3, 4, 4, 9, 9]) for t in range(1, 6)]
    >>> data = {
    ...     "id": [i for i, _, _ in rows],
    ...     "year": [t for _, t, _ in rows],
    ...     "treated": [float(g <= t) for _, t, g in rows],
    ...     "y": [i + 0.1 * t * t + 2.0 * (g <= t) + ((i * t) % 3) / 50 for i, t, g in rows],
    ... }
    >>> bh.did2s(data, "y", "~ 1 | id + year", "~ treated", "treated").params.round(3)
    treated    1.999
    dtype: float64
    """
    for option, text in (
        ("y", y),
        ("first_stage", first_stage),
        ("second_stage", second_stage),
        ("treatment", treatment),
    ):
        if not isinstance(text, str):
            raise OptionError(f"{option} is {shown(text)}; pass a string.")
    if dataset_of(data) is not None:
        raise DataError(
            "did2s takes all rows at once, and these lie elsewhere; read the columns that it needs into a dataframe."
        )
    frame, names = to_pandas(data, None), caller(2)
    regressors, effects = _first(first_stage)
    treated = _treated(frame, treatment)
    labels = [_labels(frame, term) for term in effects]
    there = ~np.isnan(treated) & (np.column_stack(labels) >= 0).all(1)
    marked = frame.assign(**{_USED: np.where(there, 1.0, np.nan)})
    left = quoted(y) if y in frame else y
    second = _design(f"{left} ~ {_right(second_stage, 'second_stage')}", marked, weights, names)
    first = _design(f"{left} ~ 0 + {quoted(_USED)} + {regressors}", marked, weights, names)
    both = np.intersect1d(places_of(first), places_of(second))
    first, second = _at(first, both), _at(second, both)
    others = [i for i, name in enumerate(first.names) if name != _USED]
    by_size = sorted(labels, key=lambda codes: int(codes.max()), reverse=True)

    def stage(design: Design) -> Stage:
        dummies = [dummies_of(codes, design) for codes in by_size[1:]]
        columns = torch.cat([*dummies, design.column("exog").to(torch.float64)[:, others]], 1)
        return stage_of(design, columns, by_size[0], treated == 0.0)

    design, fitted, kept = determined(first, stage)
    # The constant is there so that categories leave out a level, whose rows have no effect.
    chosen = [i for i, name in enumerate(second.names) if name != CONSTANT]
    exog = second.column("exog").to(torch.float64)[kept][:, chosen]
    names_of = tuple(second.names[i] for i in chosen)
    found = second_stage_of(fitted, exog, names_of, design.schema, design.user_data)
    return found.with_cov("HC0" if cov_type is None else cov_type, cov_kwds, use_t)


def _first(text: str) -> tuple[str, tuple[EffectTerm, ...]]:
    """Return the regressors of the first stage, and its fixed effects."""
    regressors, bar, effects = _right(text, "first_stage").partition("|")
    terms = effect_terms(effects) if effects.strip() else ()
    if not bar or not terms or any(term.variables for term in terms):
        raise FormulaError(
            f"first_stage is {shown(text)}; write the fixed effects that it takes off after a bar, such as '~ x | unit + year'."
        )
    return regressors.strip() or "0", terms


def _right(text: str, option: str) -> str:
    """Return the right side of a formula without a left one."""
    left, tilde, right = text.partition("~")
    if left.strip() or not tilde or not right.strip():
        raise FormulaError(f"{option} is {shown(text)}; write a formula without a left side, such as '~ x'.")
    return right.strip()


def _treated(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return (n,) 0 or 1, NaN where missing."""
    if name not in frame:
        raise DataError(
            f"treatment is {shown(name)}, which is no column of the data; the columns are {listed(frame.columns)}."
        )
    column = frame[name]
    kind = column.dropna().unique().tolist()
    if not kind or not all(value in (0, 1) for value in kind):
        raise DataError(f"treatment column {name!r} has {listed(kind, limit=4)}; pass 0 and 1, or False and True.")
    return column.astype("float64").to_numpy(dtype=float, na_value=np.nan)


def _labels(frame: pd.DataFrame, term: EffectTerm) -> np.ndarray:
    """Return (n,) the level of an effect that each row has, -1 where a label is missing."""
    unknown = [name for name in term.columns if name not in frame]
    if unknown:
        raise DataError(
            f"first_stage has {listed(unknown)}, which the data have not; the columns are {listed(frame.columns)}."
        )
    codes: np.ndarray = frame.groupby(list(term.columns), dropna=True, observed=True).ngroup().to_numpy()
    return codes


def _design(text: str, frame: pd.DataFrame, weights: Any, names: Mapping[str, Any]) -> Design:
    return design_of(linear_model(text, frame, weights, names, {}).sample)


def _at(design: Design, rows: np.ndarray) -> Design:
    """Return the rows at places in the user's frame, all of which it has."""
    own = np.searchsorted(places_of(design), rows)
    return design if len(own) == design.rows else design.in_use(torch.from_numpy(own).to(design.device))
