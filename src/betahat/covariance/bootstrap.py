"""The bootstrap: standard errors, intervals and tests from resampling, for every model."""

from __future__ import annotations

import difflib
import math
import secrets
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from betahat.covariance.base import Covariance, Estimator, clusterings, keep_given
from betahat.covariance.bootstrap_kinds import BOOTSTRAP_KINDS, WHERE, BootstrapKind, KindName
from betahat.covariance.bootstrap_plan import Plan, whole_number
from betahat.covariance.fixed import warn_of_fixed
from betahat.covariance.replicates import Resampled
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.small_samples import between
from betahat.errors import (
    BootstrapWarning,
    ClusterWarning,
    EstimationError,
    OptionError,
    check_flag,
    counted,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.fits.fit import Fit
from betahat.resampling.refits import Replicates
from betahat.resampling.weights import MULTIPLIERS, Multiplier
from betahat.solvers.memory import check_numbers_fit

# Shares of replicates that may fail before it is a warning, and an error.
_SOME_FAIL, _MOST_FAIL = 0.05, 0.5
# Fewer clusters than this spread less than those they were drawn from; fewer signs leave p-values coarse.
_FEW, _FEW_SIGNS = 10, 6
# The probability of Mammen's rarer value.
_RARE = (math.sqrt(5.0) - 1.0) / (2.0 * math.sqrt(5.0))
# No test at this level can come out of p-values that are coarser.
_LEVEL = 0.05
_LARGEST_SEED = 2**63


@dataclass(frozen=True, eq=False)
class Bootstrap(Estimator):
    """The covariance of estimates from resampled data: the sum of (b*_r - m)(b*_r - m)' / (R - 1), m their mean.

    A replicate solves the sum of w_i s_i(b*) = 0 under weights w, or the equations of other values of y; "score" and "wild" are
    b* = b + A^-1 (sum of v s). Where all signs are enumerated, the divisor is R.

    Attributes
    ----------
    reps : int
        Replicates.
    kind : str
        "pairs": rows, or clusters, drawn with replacement. "bayesian": exponential weights. "poisson": Poisson counts. "residual": residuals of
        other rows. "parametric": y drawn from the model. "wild": residuals times random signs (OLS, WLS, QuantReg); with clusters, the
        wild cluster bootstrap, whose p-values and intervals are those of its tests. "score": scores times random signs, without a refit.
        "moving-block", "circular-block", "stationary": blocks of consecutive times. "subsample": rows drawn without replacement,
        "m-out-of-n": fewer rows drawn with replacement; both scaled to n.
    seed : int, optional
        The draws are a function of it alone; None takes one from the system, which the note reports.
    clusters : str or vector, optional
        Groups of rows that stay together.
    multiplier : {"rademacher", "mammen", "webb", "normal"}
        The random numbers of "wild" and "score".
    residuals : {"raw", "HC2", "HC3"}
        What "wild" of rows and "residual" divide residuals by: 1, the root of 1 - h, or 1 - h.
    variant : {"11", "13", "31", "33"}
        Of "wild" with clusters, as in wildboottest: scores of the fit (1) or of the fit without each cluster (3), and t statistics by CRV1
        or CRV3.
    null : bool
        Of "wild" with clusters: whether tests draw from the model under their null hypothesis (WCR), or from the estimate (WCU).
    time : str or vector, optional
        The order of rows for blocks; rows of one time stay together. None is the order of the data.
    block_length : float, optional
        The (mean) length of blocks; None takes Politis and White's, the largest of those of the influence on the coefficients.
    size : int, optional
        How many rows, or clusters, "subsample" and "m-out-of-n" draw; None is n^(2/3).
    among : vector, optional
        The labels of all clusters that are drawn from, of which these rows may have some only: models of different rows, as where outcomes are missing, have
        the same draws if they are given the same labels and seed.

    Raises
    ------
    DataError, OptionError, EstimationError
        Unknown options, or options that a kind does not have; more than half of the replicates fail.

    Warns
    -----
    BootstrapWarning
        More than a twentieth of the replicates fail: they have lost a direction, or do not converge, and are left out.
    ClusterWarning
        So few clusters that they are too alike when they are drawn again, or that the weights of "wild" leave p-values coarse: the sentence says
        what the smallest above zero is. One cluster alone fixes a coefficient, as with one treated cluster.

    References
    ----------
    Efron (1979); Rubin (1981); Künsch (1989); Politis and Romano (1994); Kline and Santos (2012), J. Econometric Methods 1(1); Cameron, Gelbach and
    Miller (2008), Rev. Econ. Stat. 90(3); MacKinnon, Nielsen and Webb (2023), J. Appl. Econometrics 38(5). R: ``sandwich::vcovBS``,
    ``fwildclusterboot``. Random numbers: Salmon, Moraes, Dror and Shaw (2011).

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.5], x).fit(bh.Bootstrap(99, "wild", seed=1))
    >>> res.cov.draws.shape
    torch.Size([99, 2])
    """

    reps: int = 999
    kind: KindName = "pairs"
    seed: int | None = None
    clusters: Any = None
    multiplier: Multiplier = "rademacher"
    residuals: Literal["raw", "HC2", "HC3"] = "raw"
    variant: Literal["11", "13", "31", "33"] = "11"
    null: bool = True
    time: Any = None
    block_length: float | None = None
    size: int | None = None
    among: Any = None

    def __post_init__(self) -> None:
        """Refuse unknown options, and options that the kind has not."""
        if not is_one_of(self.kind, BOOTSTRAP_KINDS):
            close = difflib.get_close_matches(str(self.kind), BOOTSTRAP_KINDS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else "."
            raise OptionError(f"kind is {shown(self.kind)}{hint} The kinds are {listed(BOOTSTRAP_KINDS, limit=20)}.")
        if not 2 <= (whole_number(self.reps) or 0) < _LARGEST_SEED:
            raise OptionError(
                f"reps is {shown(self.reps)}; pass a whole number of replicates of 2 or more, such as 999."
            )
        seed = 0 if self.seed is None else whole_number(self.seed)
        if seed is None or not 0 <= seed < _LARGEST_SEED:
            raise OptionError(
                f"seed is {shown(self.seed)}; pass a whole number from 0 to 2^63 - 1, or None to have one drawn."
            )
        known = {"multiplier": MULTIPLIERS, "residuals": ("raw", "HC2", "HC3"), "variant": ("11", "13", "31", "33")}
        for option, values in known.items():
            if not is_one_of(getattr(self, option), values):
                raise OptionError(f"{option} is {shown(getattr(self, option))}; use one of {listed(values)}.")
        check_flag("null", self.null)
        keep_given(self, "clusters", "time", "among")
        if self.among is not None and self.clusters is None:
            raise OptionError(
                "among has the labels of clusters, but there are no clusters; pass clusters as well, or omit it."
            )
        self._check_options_of_kind()

    def _check_options_of_kind(self) -> None:
        takes, here = BOOTSTRAP_KINDS[self.kind].options, repr(self.kind)
        if self.kind == "wild":
            takes = takes | ({"residuals"} if self.clusters is None else {"variant", "null"})
            here += " without clusters" if self.clusters is None else " with clusters"
        for option in ("clusters", "multiplier", "residuals", "variant", "null", "time", "block_length", "size"):
            given, default = getattr(self, option), getattr(type(self), option)
            if option not in takes and (given is not None if default is None else given != default):
                kinds = [name for name, kind in BOOTSTRAP_KINDS.items() if option in kind.options]
                where = WHERE.get(option, f"kind {listed(kinds)}")
                raise OptionError(
                    f"{option} is an option of {where}, but kind is {here}; omit it, or choose another kind."
                )

    def __call__(self, fit: Fit) -> Covariance:
        """Draw, refit, and take the covariance of the estimates."""
        fit.check_data()
        kind = BOOTSTRAP_KINDS[self.kind]
        plan = Plan(self, fit, secrets.randbits(32) if self.seed is None else int(self.seed))
        _warn_of_few(plan)
        _warn_of_fixed(plan)
        check_numbers_fit(self.reps * fit.rank, f"{self.reps:,} replicates", fit.params.device, "take fewer reps")
        resampler = kind.make(plan)
        found = resampler.refits()
        failed = _check_failures(found)
        steps = found.steps[found.found] * plan.scale
        moved = steps - steps.mean(0)
        core = moved.mT @ moved / (len(steps) - (0 if plan.enumerated else 1))
        reps = len(found.found)
        drawn = Resampled(
            self.kind, plan.seed, reps, failed, fit, resampler, found, plan.share, plan.enumerated, plan.test
        )
        return of_core(
            fit,
            core,
            kind.label,
            _note(plan, kind, drawn) + penalised(fit),
            draws=fit.params + steps @ fit.root.mT,
            df_tests=None if plan.groups is None else between([plan.units]),
            resampling=drawn,
            clusters=() if plan.groups is None else clusterings((plan.groups,)),
        )


def _warn_of_few(plan: Plan) -> None:
    """Warn of so few clusters that resampling does not know their spread."""
    groups, wild = plan.groups, plan.options.kind == "wild"
    if groups is None or groups.count >= (_FEW_SIGNS if wild else _FEW):
        return
    if not wild:
        sentence = "so few that what is resampled from them is too alike and intervals are too short; use kind='wild', whose tests know it."
        warnings.warn(f"{groups.name} has {groups.count} clusters, {sentence}", ClusterWarning, stacklevel=user_level())
        return
    multiplier, remedy = plan.options.multiplier, "multiplier='webb'"
    if not plan.options.null:
        remedy = "null=True and multiplier='webb', since tests that draw from the estimate know less of few clusters"
    elif multiplier == "webb":
        remedy = "Cluster(kind='CR2'), whose degrees of freedom know it"
    least = _least_pvalue(multiplier, groups.count)
    if plan.options.null and (least == 0.0 or (multiplier == "webb" and least < _LEVEL)):
        return
    coarse = (
        f"no p-value lies between 0 and {least:.3g} (one in {round(1.0 / least)} draws of {multiplier} weights), and one of zero says no more "
        "than that it is below this"
        if least
        else "the tests reject too often"
    )
    warnings.warn(
        f"{groups.name} has {groups.count} clusters, so few that {coarse}; use {remedy}.",
        ClusterWarning,
        stacklevel=user_level(),
    )


def _warn_of_fixed(plan: Plan) -> None:
    """Warn of coefficients that one cluster alone fixes, whatever the weights of the clusters."""
    if plan.groups is None:
        return
    restricted = plan.options.kind == "wild" and plan.options.null
    warn_of_fixed(plan.fit, plan.groups, tests="tests hardly ever reject" if restricted else "tests reject too often")


def _least_pvalue(multiplier: Multiplier, clusters: int) -> float:
    """Return the smallest p-value above zero: the probability of the rarest |t*|, which opposite weights share."""
    if (
        multiplier == "mammen"
    ):  # all clusters but one have the rarer value; all of them would be proportional to the sample
        return (1.0 - _RARE) * math.pow(_RARE, clusters - 1)
    return {"rademacher": math.ldexp(2.0, -clusters), "webb": 2.0 * math.pow(6.0, -clusters), "normal": 0.0}[multiplier]


def _check_failures(found: Replicates) -> int:
    """Count the replicates without an estimate, and refuse if they are most of them."""
    reps, failed = len(found.found), int((~found.found).sum())
    sentence = f"The bootstrap failed in part: {failed} of {reps} replicates have no estimate: they have lost a column, such as a rare dummy, or do not converge"
    remedy = "use kind='bayesian', whose weights are all positive, or 'score', which refits nothing"
    if failed > _MOST_FAIL * reps or reps - failed < 2:
        raise EstimationError(f"{sentence}; {remedy}.")
    if failed > _SOME_FAIL * reps:
        warnings.warn(
            f"{sentence}, and were left out, so the remaining ones are not representative; {remedy}.",
            BootstrapWarning,
            stacklevel=user_level(),
        )
    return failed


def _note(plan: Plan, kind: BootstrapKind, drawn: Resampled) -> str:
    """Return the sentence under a summary."""
    parts = [f"{counted(drawn.reps, 'replicate')}, {'all signs' if plan.enumerated else f'seed {drawn.seed}'}"]
    if plan.groups is not None:
        parts.append(f"{plan.groups.count} clusters")
    if plan.test is not None:
        parts.append(f"t tests and intervals by {'WCR' if plan.options.null else 'WCU'}{plan.options.variant}")
    if "block_length" in kind.options:
        parts.append(f"blocks of {plan.length:.3g}")
    if "size" in kind.options:
        parts.append(f"{plan.size} of {plan.units} drawn")
    if drawn.failed:
        parts.append(f"{drawn.failed} failed and were left out")
    return f"Standard Errors are by {kind.words} ({', '.join(parts)})"
