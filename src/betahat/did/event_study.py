"""`event_study`: effects by time since treatment, by four estimators, as one kind of result."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.cluster import Cluster
from betahat.covariance.names import CovType
from betahat.data.design import Design
from betahat.did.arguments import check_arguments, of_arguments
from betahat.did.cells import By, Cells, check_reference, cohort_cells, event_cells, period_cells
from betahat.did.panel import Panel, comparable, outcome_text, quoted, read_panel, read_reference
from betahat.did.regressions import Choice, Means, Regressions, Saturated, TwoStages, TwoWay
from betahat.did.rows import (
    design_of,
    determined,
    dummies_of,
    index_model,
    linear_model,
    places_of,
    stage_of,
    weights_of,
)
from betahat.did.study import EventStudy
from betahat.did.two_stage import Stage
from betahat.errors import (
    BetahatWarning,
    DataError,
    EstimationError,
    FormulaError,
    OptionError,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.lazy import lazily
from betahat.models.binary import Logit
from betahat.models.counts import Poisson
from betahat.models.likelihood import DiscreteModel
from betahat.models.linear import OLS, WLS
from betahat.models.regressors import CONSTANT, caller
from betahat.results.linear import LinearResults

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

EstimatorName = Literal["sunab", "did2s", "etwfe", "twfe"]
FamilyName = Literal["poisson", "logit"]
_FAMILIES: dict[str, type[DiscreteModel]] = {"poisson": Poisson, "logit": Logit}
_TREATED, _USED = "under treatment", "rows in use"


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the user asked for, and the panel."""

    panel: Panel
    y: str
    controls: str | None
    weights: Any
    reference: tuple[float, ...]
    names: Mapping[str, Any]  # the caller's variables

    @property
    def left(self) -> str:
        """The left side of a formula."""
        return outcome_text(self.panel, self.y)

    @property
    def order(self) -> dict[str, str]:
        """The options of lags, which need units."""
        panel = self.panel
        return {} if panel.unit is None else {"panel": quoted(panel.unit), "time": quoted(panel.time)}


def event_study(
    data: Any,
    y: str,
    unit: str | None,
    time: str,
    cohort: str,
    *,
    estimator: EstimatorName = "sunab",
    controls: str | None = None,
    weights: Any = None,
    ref: float | Sequence[float] = -1,
    never: Any = None,
    control_group: Literal["notyet", "never"] = "notyet",
    family: FamilyName | None = None,
    cov_type: CovType | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    use_t: bool | None = None,
) -> EventStudy:
    """Estimate the effects of a treatment that units receive at different times, by time since it began.

    Parameters
    ----------
    data : dataframe or mapping
        A row for each unit and period; any eager dataframe, or a dict of columns.
    y : str
        The outcome: a column, or an expression of columns such as ``np.log(wage)``.
    unit : str or None
        The column of the units, each of which has an effect of its own. None is for repeated cross-sections, where cohorts have effects instead.
    time : str
        The column of the periods: numbers such as years, or periods of pandas.
    cohort : str
        The column of the period in which a unit is first treated. Missing and infinite values, and zeros where all periods are positive, are the never
        treated, and so are cohorts after the last period.
    estimator : {"sunab", "did2s", "etwfe", "twfe"}
        "sunab": Sun and Abraham's regression on cohort and event-time dummies. "did2s": Gardner's two stages, untreated outcomes being fitted on untreated
        rows. "etwfe": Wooldridge's regression on dummies of cohorts and periods under treatment. "twfe": one dummy for each event time beside two-way
        fixed effects, which is biased where effects differ by cohort.
    controls : str, optional
        Further regressors, as on the right of a formula: ``"x1 + C(region)"``. "etwfe" lets their effect differ by cohort and period, and effects of the
        treatment differ with them, about means by cohort.
    weights : str or array_like, optional
        Weights of the rows, as in `wls`.
    ref : float or sequence of float
        The event times from which effects are measured.
    never : object or list, optional
        Further values of the cohort that stand for the never treated, where zero is not clear: ``never=0``; ``never=float("inf")`` makes 0 a period.
    control_group : {"notyet", "never"}
        For "etwfe": whether rows before the treatment are among the comparisons, or have effects of their own, by cohort and period.
    family : {"poisson", "logit"}, optional
        For "etwfe": a mean exp(x'b) of counts, or a probability. Effects are changes of the mean, averaged over rows, and trends are parallel in x'b. Cohorts have
        effects, not units, as maximum likelihood with an effect of each unit is biased for logit.
    cov_type, cov_kwds, use_t
        As in `OLS.fit`. None clusters by unit: CR1 as in Stata, and for "did2s" CR0, as its packages do; without units "HC1" and "HC0".

    Returns
    -------
    EventStudy
        Effects by event time, with `att`, `by_cohort`, `by_time`, `by_cell`, `pretrends`, `plot`, and what results have.

    Raises
    ------
    DataError, OptionError, FormulaError, EstimationError
        The data or an option cannot be used, or effects are not identified.

    Warns
    -----
    BetahatWarning
        Rows that cannot be compared with untreated ones are left out: of units that are always treated, and, without a never-treated unit, of the periods
        in which all are treated. "twfe" keeps them.

    Notes
    -----
    Effects are averages of those of cohorts, weighted by their rows; the weights are taken as fixed, as fixest, etwfe and did2s take them.

    References
    ----------
    Sun and Abraham (2021), J. Econometrics 225(2). Gardner (2022), Two-stage differences in differences, arXiv 2207.05943. Wooldridge (2025), Two-way fixed
    effects, the two-way Mundlak regression, and difference-in-differences estimators, Empirical Economics 69.

    Examples
    --------
    >>> import betahat as bh
    >>> rows = [(i, t, g) for i, g in enumerate([3, 3, 4, 4, 0, 0]) for t in range(1, 6)]
    >>> data = {
    ...     "id": [i for i, _, _ in rows],
    ...     "year": [t for _, t, _ in rows],
    ...     "first": [g for _, _, g in rows],
    ...     "y": [i + 0.1 * t * t + 2.0 * (0 < g <= t) + ((i * t) % 3) / 50 for i, t, g in rows],
    ... }
    >>> study = bh.event_study(data, "y", "id", "year", "first", estimator="did2s", cov_type="HC0")
    >>> study.att().params.round(3)
    ATT    1.999
    dtype: float64
    """
    if not is_one_of(estimator, get_args(EstimatorName)):
        raise OptionError(f"estimator is {shown(estimator)}; use one of {listed(get_args(EstimatorName))}.")
    if not is_one_of(control_group, ("notyet", "never")):
        raise OptionError(f"control_group is {shown(control_group)}; use 'notyet' or 'never'.")
    if control_group != "notyet" and estimator != "etwfe":
        raise OptionError(f"control_group is an option of 'etwfe', and the estimator is {shown(estimator)}; omit it.")
    if not is_one_of(family, (None, *_FAMILIES)):
        raise OptionError(f"family is {shown(family)}; use {listed(_FAMILIES)}, or omit it for least squares.")
    if family is not None and estimator != "etwfe":
        raise OptionError(f"family is an option of 'etwfe', and the estimator is {shown(estimator)}; omit it.")
    check_arguments(y, controls)
    reference = read_reference(ref)
    panel = read_panel(data, unit, time, cohort, never)
    asked = _Asked(panel, y, controls, weights, reference, caller(2))
    choice = Choice(_usual(unit, estimator) if cov_type is None else cov_type, cov_kwds, use_t)
    if estimator != "twfe":
        asked = replace(asked, panel=comparable(panel))
    measured = () if estimator == "etwfe" and control_group == "notyet" else reference
    own = (panel.own_effect if family is None else cohort, time)
    by: By = "event" if estimator != "twfe" or _has_event_times(asked) else "att"
    try:
        found = _regressions(asked, estimator, control_group, family)
    except FormulaError as error:
        raise of_arguments(error, _arguments(asked), lambda text: _model(asked, text, panel.frame)) from None
    study = EventStudy(found, estimator, measured, own, choice, by)
    _ = study.results  # so that what is wrong with the covariance is said here
    return study


def _regressions(asked: _Asked, estimator: EstimatorName, control_group: str, family: FamilyName | None) -> Regressions:
    """Fit what the estimator fits."""
    if estimator == "twfe":
        return _two_way(asked)
    if estimator == "did2s":
        return _two_stage(asked)
    if estimator == "sunab":
        check_reference(asked.panel, asked.reference)
        return _saturated(asked, cohort_cells(asked.panel, asked.reference))
    if control_group == "never":
        check_reference(asked.panel, asked.reference)
    cells = period_cells(asked.panel, asked.reference if control_group == "never" else None)
    if family is not None:
        return _of_means(asked, cells, family)
    return _saturated(asked, cells) if asked.controls is None else _extended(asked, cells)


def _arguments(asked: _Asked) -> dict[str, tuple[str, str]]:
    """Return the user's texts, and a formula of each."""
    found = {"y": (asked.y, f"{asked.left} ~ 1")}
    if asked.controls is not None:
        found["controls"] = (asked.controls, f"{asked.left} ~ {asked.controls} | {_effects(asked)}")
    return found


def _usual(unit: str | None, estimator: str) -> CovType:
    """Return the covariance that the estimator's packages report."""
    if unit is None:
        return "HC0" if estimator == "did2s" else "HC1"
    return Cluster(unit, kind="CR0") if estimator == "did2s" else Cluster(unit)


def _two_way(asked: _Asked) -> Regressions:
    """Regress on one dummy for each event time, and on one for treatment."""
    panel = asked.panel
    if not panel.treated.any():
        raise DataError(
            f"No row is under treatment; check that cohort column {panel.cohort!r} has the period of the first treatment."
        )
    pooled = _fitted(asked, panel.frame.assign(**{_TREATED: panel.treated.astype(float)}), [_TREATED])
    design = design_of(pooled.fit.given)
    kept = [design.names[i] for i in pooled.fit.kept]
    if _TREATED not in kept:
        raise EstimationError(
            "The effect of the treatment cannot be told from the effects of units and periods, or from controls: no unit is treated while another is not, or a control is a "
            "function of the treatment; add untreated rows, or leave the control out."
        )
    dynamic = None
    if _has_event_times(asked):
        dynamic = _saturated(asked, event_cells(panel, asked.reference))
    else:
        warnings.warn(
            "No unit is never treated, so that event time, unit and period are collinear, and there is the ATT alone; leave out two event times, such as ref=[-1, -5], or "
            "use estimator='sunab'.",
            BetahatWarning,
            stacklevel=user_level(),
        )
    return TwoWay(dynamic, pooled, kept.index(_TREATED))


def _has_event_times(asked: _Asked) -> bool:
    """Tell whether event times are more than the difference of units' and periods' effects."""
    return bool(np.isinf(asked.panel.cohorts).any()) or len(asked.reference) > 1


def _saturated(asked: _Asked, cells: Cells) -> Saturated:
    """Regress on a dummy for each cell, beside effects of units and periods."""
    results = _fitted(asked, _with_dummies(asked.panel, cells), list(cells.names))
    return _averaged(asked, results, cells, _loadings(results, cells))


def _extended(asked: _Asked, cells: Cells) -> Saturated:
    """Regress on dummies of cells and their products with controls, beside slopes by cohort and by period."""
    made = _with_moderators(asked, cells)
    if not made.controls:
        return _saturated(replace(asked, controls=None), cells)
    inside = ", ".join(map(quoted, made.controls))
    effects = f"{_effects(asked)} + {quoted(asked.panel.cohort)}[[{inside}]] + {quoted(asked.panel.time)}[[{inside}]]"
    results = _fitted(replace(asked, controls=None), made.frame, [*cells.names, *made.products], effects)
    return _averaged(asked, results, cells, _loadings(results, cells, made.controls))


def _of_means(asked: _Asked, cells: Cells, family: FamilyName) -> Means:
    """Fit a mean that is no linear function, with dummies of cohorts and periods and slopes of controls for each of them."""
    panel, plain = asked.panel, _Moderated(_with_dummies(asked.panel, cells), (), ())
    made = plain if asked.controls is None else _with_moderators(asked, cells)
    fixed = [f"C({quoted(panel.cohort)})", f"C({quoted(panel.time)})"]
    slopes = [f"{quoted(name)} + {quoted(name)}:{fixed[0]} + {quoted(name)}:{fixed[1]}" for name in made.controls]
    treatment = [*cells.names, *made.products]
    text = f"{asked.left} ~ {' + '.join([*map(quoted, treatment), *fixed, *slopes])}"
    results = index_model(_FAMILIES[family], text, made.frame, asked.weights, asked.names, asked.order).fit()
    design = design_of(results.fit.given)
    if results.fit.rank < design.width:
        raise EstimationError(
            "Some effects cannot be told from those of cohorts and periods, as their columns are collinear: nobody is untreated then, or a cohort has too few rows for "
            "the controls; leave those rows or controls out."
        )
    codes = cells.codes[places_of(design)]
    own = torch.from_numpy(codes < len(cells))
    rows, often = design.column("exog").to(torch.float64)[own], weights_of(design)[own]
    columns = [design.names.index(name) for name in treatment]
    without = rows.index_fill(1, torch.tensor(columns), 0.0)
    chosen = replace(cells, codes=codes[own.numpy()])
    sizes = np.bincount(chosen.codes, often.cpu().numpy(), len(cells))
    return Means(results, chosen, sizes, rows, without, often, panel.words)


@dataclass(frozen=True, eq=False)
class _Moderated:
    """A frame with controls, and their products with cells about means by cohort."""

    frame: pd.DataFrame
    controls: tuple[str, ...]
    products: tuple[str, ...]


def _with_moderators(asked: _Asked, cells: Cells) -> _Moderated:
    """Put the columns of the controls beside the dummies of the cells, and their products."""
    panel, frame = asked.panel, _with_dummies(asked.panel, cells)
    text = f"{asked.left} ~ {asked.controls}"
    beside = design_of(_model(asked, text, frame).sample)
    values, rows = beside.column("exog").to(torch.float64).cpu().numpy(), places_of(beside)
    slopes: dict[str, np.ndarray] = {}
    products: dict[str, np.ndarray] = {}
    for i, name in enumerate(beside.names):
        if name == CONSTANT:
            continue
        slopes[name] = np.full(len(frame), np.nan)
        slopes[name][rows] = values[:, i]
        about = _about_cohorts(panel, beside, values[:, i])
        products |= {f"{cell}:{name}": (cells.codes == j) * about for j, cell in enumerate(cells.names)}
    kept = frame.drop(columns=[name for name in slopes if name in frame])
    made = pd.concat([kept, pd.DataFrame(slopes | products, frame.index)], axis=1)
    return _Moderated(made, tuple(slopes), tuple(products))


def _loadings(results: LinearResults, cells: Cells, controls: Sequence[str] = ()) -> Tensor:
    """Return (c, k) the derivatives of the cells' effects in the coefficients: one, and the means of the controls it is multiplied with."""
    design = design_of(results.fit.given)
    often = weights_of(design)
    exog = design.column("exog").to(torch.float64)
    names = design.names
    own = torch.zeros(len(cells), len(names)).to(results.fit.params)
    for j, cell in enumerate(cells.names):
        rows = exog[:, names.index(cell)] * often
        own[j, names.index(cell)] = 1.0
        for control in controls:
            place = names.index(f"{cell}:{control}")
            own[j, place] = (rows @ exog[:, place]) / rows.sum().clamp_min(1.0e-300)
    return own[:, list(results.fit.kept)]


def _two_stage(asked: _Asked) -> Regressions:
    """Fit untreated outcomes on untreated rows; what is left of all outcomes is averaged later."""
    panel = asked.panel
    frame = panel.frame.assign(**{_USED: np.where(panel.used, 1.0, np.nan)})
    text = f"{asked.left} ~ 0 + {_joined(asked, [_USED])}"
    whole = design_of(_model(asked, text, frame).sample)

    def stage(design: Design) -> Stage:
        others = [i for i, name in enumerate(design.names) if name != _USED]
        controls = design.column("exog").to(torch.float64)[:, others]
        columns = torch.cat([dummies_of(panel.times, design), controls], 1)
        return stage_of(design, columns, panel.units, ~panel.treated)

    design, fitted, _ = determined(whole, stage)
    cells = cohort_cells(panel, asked.reference)
    own = replace(cells, codes=cells.codes[places_of(design)])
    sizes = np.bincount(own.codes, weights_of(design).cpu().numpy(), len(cells) + 1)[:-1]
    return TwoStages(fitted, own, sizes, design.schema, design.user_data, panel.words)


def _averaged(asked: _Asked, results: LinearResults, cells: Cells, loadings: Tensor) -> Saturated:
    """Count the rows of the cells, all of which the data must identify."""
    design = design_of(results.fit.given)
    columns = [design.names.index(name) for name in cells.names]
    sizes = (weights_of(design) @ design.column("exog").to(torch.float64)[:, columns]).cpu().numpy()
    lost = (loadings == 0).all(1).cpu().numpy() & (sizes > 0)
    if lost.any():
        raise EstimationError(
            f"The effects of {listed(np.array(cells.names)[lost])} and others of their cohort or period cannot be told from the effects of units and periods: nobody "
            "is untreated then, or nothing is known at the event time of reference; leave those rows out, or pass another ref."
        )
    return Saturated(results, cells, loadings, sizes, asked.panel.words)


def _fitted(asked: _Asked, frame: pd.DataFrame, columns: Sequence[str], effects: str = "") -> LinearResults:
    """Regress on columns of the frame and the controls, beside absorbed effects."""
    text = f"{asked.left} ~ {_joined(asked, columns)} | {effects or _effects(asked)}"
    return _model(asked, text, frame).fit()


def _model(asked: _Asked, text: str, frame: pd.DataFrame) -> OLS | WLS:
    """Return the linear model of a formula."""
    return linear_model(text, frame, asked.weights, asked.names, asked.order)


def _joined(asked: _Asked, columns: Sequence[str]) -> str:
    """Return the right side of a formula."""
    return " + ".join([*map(quoted, columns), *([] if asked.controls is None else [asked.controls])])


def _effects(asked: _Asked) -> str:
    return f"{quoted(asked.panel.own_effect)} + {quoted(asked.panel.time)}"


def _with_dummies(panel: Panel, cells: Cells) -> pd.DataFrame:
    """Return the user's frame with a dummy for each cell, missing in rows that are not used, and a cohort in each row."""
    dummies = {name: (cells.codes == j).astype(np.float32) for j, name in enumerate(cells.names)}
    next(iter(dummies.values()))[~panel.used] = np.nan
    frame = panel.frame
    if frame[panel.cohort].isna().any():
        frame = frame.assign(**{panel.cohort: panel.groups})
    return pd.concat([frame, pd.DataFrame(dummies, frame.index)], axis=1)


def _about_cohorts(panel: Panel, design: Design, values: np.ndarray) -> np.ndarray:
    """Return (n,) a control less its weighted mean by cohort, NaN in rows that are not used."""
    rows = places_of(design)
    groups, often = panel.groups[rows], weights_of(design).cpu().numpy()
    means = np.bincount(groups, often * values) / np.maximum(np.bincount(groups, often), 1e-300)
    found = np.full(len(panel.groups), np.nan)
    found[rows] = values - means[groups]
    return found
