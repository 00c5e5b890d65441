"""Models of durations: Cox's proportional hazards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.counts import Counts
from betahat.calculus.rows import BreadName
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import Device
from betahat.data.checks import refuse_not_finite
from betahat.data.container import to_numpy
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, read_design
from betahat.data.engine import Block, fold
from betahat.data.frame import is_frame, to_pandas
from betahat.data.groups import Groups, read_groups
from betahat.data.modes import check_dense, check_held, in_ordinary_mode
from betahat.data.risk_sets import times_of
from betahat.errors import DataError, OptionError, counted, is_one_of, listed, shown
from betahat.fits.partial_likelihood import fit_partial_likelihood
from betahat.models.cautions import refuse_rows_in_parts
from betahat.models.likelihood import LikelihoodModel, read_fit_options, tell_of_fit
from betahat.models.regressors import RegressorModel, caller, design_of_formula
from betahat.objectives.partial_likelihood import Breslow, Efron, PartialLikelihood, TiesName
from betahat.results.survival import PHRegResults
from betahat.solvers.least_squares import Rank

TIES: Mapping[str, PartialLikelihood] = {"breslow": Breslow(), "efron": Efron()}

_VECTORS = ("status", "entry", "offset", "weights", "freq_weights")


@in_ordinary_mode
class PHReg(LikelihoodModel):
    """Cox's proportional hazards: the hazard at time t is h(t) exp(x'b + offset), h any function of time, one for each stratum.

    Parameters
    ----------
    endog : array_like, Tensor or series
        (n,) times until an event or until censoring, in any unit. Those that differ by rounding alone, by 1.5e-8 of the mean of the distinct
        times, are taken to be the same, the earliest of them, as by R's ``timefix``; so are `entry` and `endog`.
    exog : array_like, Tensor or dataframe
        (n, k) the regressors, without a constant: h takes its place.
    status : array_like, optional
        (n,) 1 for an event, 0 for a censored time; None means that every time ends with an event.
    entry : array_like, optional
        (n,) when each row enters the risk set, before its own `endog`: left truncation, or one of the several intervals of a
        subject.
    strata : array_like or str, optional
        (n,) labels; each stratum has a baseline hazard of its own.
    offset : array_like, optional
        (n,) added to x'b.
    ties : {"breslow", "efron"}
        How events at the same time are treated. R's default is "efron", statsmodels' "breslow".
    weights : array_like, optional
        (n,) case weights, R's ``coxph(weights=)``: they multiply the terms of the log-likelihood. Only sandwich errors are right then.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs; with "efron", copies are ties.
    missing, device, dtype, engine
        As in `OLS`.

    Attributes
    ----------
    ties : str
        As given.
    strata_levels : tuple or None
        (s,) the labels of the strata, sorted.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: a status other than 0 and 1, no events, an entry that is not before its time, negative times, strata
        of one row each, regressors that do not vary within strata.

    Notes
    -----
    The log-likelihood is the sum over events of w (x'b - log of the sum of w exp(x'b) over the rows at risk), those of the same stratum with
    entry < t <= endog. The score of a row is Lin and Wei's score residual, so that "HC0" is R's ``coxph(robust=TRUE)``, and
    ``Cluster(id, kind="CR0")`` is ``coxph(cluster=id)``. Rows are sorted once; a step of Newton's method takes cumulative sums, O(n k); with entry times it takes sums over intervals, O(n k log n), none of which is a difference.

    References
    ----------
    Cox (1972), J. R. Stat. Soc. B 34(2). Lin and Wei (1989), JASA 84(408). Therneau and Grambsch (2000), Modeling Survival Data.
    ``statsmodels.duration.hazard_regression.PHReg``, whose names these are. R: ``survival::coxph``.

    Examples
    --------
    >>> import betahat as bh
    >>> time, died = [5.0, 8.0, 3.0, 9.0, 2.0, 6.0], [1, 0, 1, 1, 1, 1]
    >>> x = [1.0, 0.0, 2.0, 1.0, 1.0, 0.0]
    >>> bh.PHReg(time, x, status=died, ties="efron").fit().params.round(4)
    array([1.0161])
    """

    stored = (*RegressorModel.stored, "ties", "strata_levels")

    ties: TiesName
    strata_levels: tuple[Any, ...] | None

    def __init__(
        self,
        endog: Any,
        exog: Any,
        status: Any = None,
        entry: Any = None,
        strata: Any = None,
        offset: Any = None,
        ties: TiesName = "breslow",
        weights: Any = None,
        freq_weights: Any = None,
        missing: Missing = "none",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Any = None,
    ) -> None:
        """Read and check the data."""
        beside = RowVectors(weights, offset, freq_weights=freq_weights, status=status, entry=entry)
        self.ties, self.source = read_ties(ties), None
        design = read_design(endog, exog, beside, missing=missing, device=device, dtype=dtype, engine=engine)
        self.sample, self.strata_levels = _at_risk(design, strata)

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Self:
        """Make the model from a formula and a dataframe; `bh.phreg` is the same. The formula's constant is left out, as in statsmodels.

        Parameters
        ----------
        formula, data
            As in `ols`; the left-hand side is the time. The formula is code.
        **options
            status, entry, offset, weights and freq_weights: a column's name, an expression, such as ``"state == 2"``, or as many numbers as `data` has
            rows; strata, a column's name or labels; ties, missing ("drop" by default), device, dtype, engine, compress, panel and time.

        Returns
        -------
        PHReg

        Raises
        ------
        FormulaError, DataError, OptionError
            The data or an option cannot be used; raised before any work starts.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {
        ...     "time": [5.0, 8.0, 3.0, 9.0, 2.0, 6.0],
        ...     "died": [1, 0, 1, 1, 1, 1],
        ...     "x": [1.0, 0.0, 2.0, 1.0, 1.0, 0.0],
        ... }
        >>> bh.phreg("time ~ x", data, status="died", ties="efron").fit().params.round(4)
        x    1.0161
        dtype: float64
        """
        model, names = cls.__new__(cls), caller(2)
        model.ties, strata = read_ties(options.pop("ties", "breslow")), options.pop("strata", None)
        design, model.source = design_of_formula(formula, data, options, _VECTORS, names, cls.__name__, constant=False)
        model.sample, model.strata_levels = _at_risk(design, strata)
        return model

    @property
    def objective(self) -> PartialLikelihood:
        """The partial likelihood, with its treatment of ties."""
        return TIES[self.ties]

    @property
    def status(self) -> Any:
        """(n,) 1 for an event, 0 for a censored time, of the rows in use."""
        design = self.design
        there = "status" in design.source.shapes
        return design.container.present_rows(design.column("status") if there else torch.ones_like(design.endog))

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r: there is no constant."""
        return float(self.rank)

    @property
    def df_resid(self) -> float:
        """The residual degrees of freedom, n - r."""
        return Counts(self.nobs, self.rank).free

    @cached_property
    def n_events(self) -> float:
        """The number of events."""
        return float(events_of(self.design).sum())

    def new_labels(self, strata: Any, exog: Any) -> list[Any]:
        """Read the strata of new regressors: labels, or the name of a column of a dataframe.

        Parameters
        ----------
        strata : array_like or str
            Labels, one for all, or the name of a column of the new data.
        exog : dataframe, mapping or array_like
            The new data.

        Returns
        -------
        list
            (m,) labels, or one.
        """
        if isinstance(strata, str):
            frame = to_pandas(exog, None) if isinstance(exog, Mapping) or is_frame(exog) else None
            return frame[strata].tolist() if frame is not None and strata in frame.columns else [strata]
        if isinstance(strata, Tensor):
            check_dense(strata, "strata")
            check_held(strata, "strata")
        if isinstance(strata, Tensor | np.ndarray):
            return list(strata.reshape(-1).tolist())
        return list(strata) if isinstance(strata, Iterable) else [strata]

    def fit(
        self,
        cov_type: CovType | None = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        bread: BreadName = "observed",
        rank: Rank = "pinv",
        start_params: Any = None,
        disp: bool = False,
        **options: Any,
    ) -> PHRegResults:
        """Maximise the partial likelihood by Newton's method.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, rank, start_params, disp, **options
            As in `Logit.fit`.
        bread : {"observed", "opg"}
            The information A of the covariance A^-1 B A^-1: the Hessian, or the sum of s s'.

        Returns
        -------
        PHRegResults

        Raises
        ------
        EstimationError
            There is no finite estimate, since events come in the order of some regressors (R: "coefficient may be infinite"), or regressors do
            not vary among rows at risk.

        Warns
        -----
        CollinearityWarning
            Columns are collinear within strata.
        """
        if "groups" in options:
            raise OptionError(
                "groups is written as a covariance here: fit(bh.Cluster(groups, kind='CR0')) is statsmodels' fit(groups=groups)."
            )
        choice = resolve(cov_type, cov_kwds, use_t)
        design, objective = self.design, self.objective
        kind, start = read_fit_options(design, objective, bread, rank, start_params, disp, options)
        fit = fit_partial_likelihood(objective, design, kind, rank, start)
        tell_of_fit(fit, rank, disp)
        return PHRegResults(self, fit, covariance_of(fit, choice))


phreg = PHReg.from_formula


def read_ties(ties: Any) -> TiesName:
    """Refuse an unknown treatment of ties."""
    if not is_one_of(ties, get_args(TiesName)):
        raise OptionError(f"ties is {shown(ties)}; use 'breslow' (statsmodels' default) or 'efron' (R's).")
    found: TiesName = ties
    return found


def _at_risk(design: Design, strata: Any) -> tuple[Design, tuple[Any, ...] | None]:
    """Check times, and add to the design what sorts its rows; return it with the labels of the strata."""
    refuse_rows_in_parts(
        design,
        "Cox's partial likelihood compares each event with all rows at risk",
        "fit an accelerated failure time, bh.aft, whose rows stand alone",
    )
    source = design.source
    time = design.endog
    entry = design.column("entry") if "entry" in source.shapes else None
    check_status(design)
    _check_times("endog", time)
    if entry is not None:
        _check_times("entry", entry)
    given = times_of(time, entry)
    times = given.merged()
    if times.entry is not None:
        late = int((times.entry >= times.time).sum())
        if late:
            raise DataError(
                f"entry is not before endog in {counted(late, 'row')}, so that {'it is' if late == 1 else 'they are'} never at risk; leave "
                f"{'it' if late == 1 else 'them'} out, or correct the times."
            )
    if not bool(events_of(design).any()):
        raise DataError(
            "No row has an event: status is 0, or the weight is, in every row, so nothing is known of the hazard; pass 1 for the times that end "
            "with an event."
        )
    groups = None if strata is None else _read_strata(design, strata)
    codes = None if groups is None else groups.codes
    stop, start = times.keys(codes)
    columns: dict[str, Tensor | None] = {"stop": stop, "start": start, "stratum": codes}
    if times is not given:  # what is at risk at a time, and what is known of it later, go by the same times
        columns["endog"] = times.values[times.time].to(time)
        columns["entry"] = None if times.entry is None or entry is None else times.values[times.entry].to(entry)
    found = design.replaced({name: column for name, column in columns.items() if column is not None})
    _check_varies(found, codes)
    return found, None if groups is None else tuple(groups.labels.tolist())


def check_status(design: Design) -> None:
    """Refuse values other than 0 and 1, and none, of an indicator of events."""
    if "status" not in design.source.shapes:
        return
    infinite, bad = (int(count) for count in fold(design.source.only("status"), _strange_status, design.engine))
    refuse_not_finite("status", infinite)
    if bad:
        raise DataError(
            f"status has {counted(bad, 'value')} other than 0 and 1, and it must be 1 for an event and 0 for a censored time; recode it, "
            "(status == 2) * 1 say."
        )


def _strange_status(block: Block) -> tuple[Tensor, Tensor]:
    """Count what is no number, and what is neither 0 nor 1."""
    status = block["status"]
    return (~torch.isfinite(status)).sum(), ((status != 0) & (status != 1)).sum()


def _check_times(label: str, times: Tensor) -> None:
    negative = int((times < 0).sum())
    if negative:
        raise DataError(
            f"{label} has {counted(negative, 'negative value')}, and times start at zero; subtract the earliest from all of them, those of "
            "entry as well."
        )


def events_of(design: Design) -> Tensor:
    """Return (n,) how many events each row counts for."""
    counts = torch.ones(design.rows, dtype=torch.float64, device=design.device)
    for name in ("status", "counts"):
        counts = counts * design.column(name) if name in design.source.shapes else counts
    return counts if design.weights is None else counts * (design.weights > 0)


def _read_strata(design: Design, strata: Any) -> Groups:
    found, *others = read_groups(design, strata, "strata")
    if others:
        raise OptionError(
            f"strata has {len(others) + 1} columns; pass one, with a label for each of their combinations, such as df['a'] + df['b'] of text."
        )
    if found.count == design.rows:
        raise DataError(
            f"{found.name} has a stratum for each row, and a row is compared with the others of its stratum; pass labels that several rows share."
        )
    return found


def _check_varies(design: Design, codes: Tensor | None) -> None:
    """Refuse columns that have one value within each stratum."""
    x = design.exog
    if codes is None:
        still = (x == x[0]).all(0)
    else:
        first = torch.zeros(int(codes.max()) + 1, dtype=torch.int64, device=codes.device)
        first[codes] = torch.arange(len(codes), device=codes.device)
        still = (x == x[first[codes]]).all(0)
    names = [name for name, none in zip(design.names, to_numpy(still).tolist(), strict=True) if none]
    if names:
        where = "" if codes is None else " within strata"
        raise DataError(
            f"{listed(names)} {'does' if len(names) == 1 else 'do'} not vary{where}, so that the baseline hazard takes "
            f"{'its' if len(names) == 1 else 'their'} place; leave {'it' if len(names) == 1 else 'them'} out, constants above all."
        )
