"""The kinds of bootstrap: their labels, their options, and what draws their replicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from betahat.covariance.bootstrap_plan import Plan
from betahat.data.sample import COUNTS
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.resampling.resamplers import Redrawn, Resampler
from betahat.resampling.targets import parametric_targets, quantile_targets, residual_targets, slack_power
from betahat.resampling.weights import Blocks, Exponential, Multinomial, PoissonCounts, Subsample

KindName = Literal[
    "pairs",
    "bayesian",
    "poisson",
    "residual",
    "parametric",
    "wild",
    "score",
    "moving-block",
    "circular-block",
    "stationary",
    "subsample",
    "m-out-of-n",
]


@dataclass(frozen=True)
class BootstrapKind:
    """A kind: its label, its words, what draws it, and its options."""

    label: str
    words: str
    make: Callable[[Plan], Resampler]
    options: frozenset[str] = frozenset()


def _wild(plan: Plan) -> Resampler:
    fit, options = plan.fit, plan.options
    if fit.objective.checks:
        return _wild_of_quantile(plan)
    _check_least_squares(fit)
    scores = plan.jackknifed if plan.groups is not None and options.variant[0] == "3" else None
    power = slack_power(options.residuals)
    return plan.multiplied(power, scores, residuals=COUNTS not in fit.sample.source.shapes)


def _wild_of_quantile(plan: Plan) -> Resampler:
    fit, options = plan.fit, plan.options
    if plan.groups is not None or len(fit.objective.checks) > 1:
        what = "clusters" if plan.groups is not None else "several quantiles at once"
        raise EstimationError(
            f"The wild bootstrap of a quantile regression has no {what}; use kind='score', whose signs are those of clusters and of all quantiles, or "
            "kind='pairs'."
        )
    plan.check_held()
    if options.multiplier != "rademacher" or options.residuals != "raw":
        raise EstimationError(
            "The wild bootstrap of a quantile regression draws 2 (1 - q) and -2 q, by which it multiplies the sizes of residuals as they are; omit "
            "multiplier and residuals."
        )
    return Redrawn(fit, quantile_targets(fit, plan.seed), plan.reps)


def _score(plan: Plan) -> Resampler:
    return plan.multiplied()


def _blocks(name: Literal["moving", "circular", "stationary"]) -> Callable[[Plan], Resampler]:
    return lambda plan: plan.weighted(Blocks(plan.units, plan.length, name), counts=False)


def _parametric(plan: Plan) -> Resampler:
    plan.check_held()
    return Redrawn(plan.fit, parametric_targets(plan.fit, plan.seed), plan.reps)


def _residual(plan: Plan) -> Resampler:
    plan.check_held()
    targets = residual_targets(plan.fit, plan.seed, slack_power(plan.options.residuals))
    return Redrawn(plan.fit, targets, plan.reps)


_CLUSTERS = frozenset({"clusters"})


_BLOCKS = frozenset({"time", "block_length"})


BOOTSTRAP_KINDS: dict[str, BootstrapKind] = {
    "pairs": BootstrapKind(
        "bootstrap", "the pairs bootstrap", lambda plan: plan.weighted(Multinomial(plan.units, plan.units)), _CLUSTERS
    ),
    "bayesian": BootstrapKind(
        "bayesian bootstrap",
        "the Bayesian bootstrap",
        lambda plan: plan.weighted(Exponential(plan.units), counts=False),
        _CLUSTERS,
    ),
    "poisson": BootstrapKind(
        "poisson bootstrap",
        "the Poisson bootstrap",
        lambda plan: plan.weighted(PoissonCounts(plan.units), counts=False),
        _CLUSTERS,
    ),
    "residual": BootstrapKind("residual bootstrap", "the residual bootstrap", _residual, frozenset({"residuals"})),
    "parametric": BootstrapKind(
        "parametric bootstrap",
        "the parametric bootstrap",
        _parametric,
    ),
    "wild": BootstrapKind("wild bootstrap", "the wild bootstrap", _wild, _CLUSTERS | {"multiplier"}),
    "score": BootstrapKind("score bootstrap", "the score bootstrap", _score, _CLUSTERS | {"multiplier"}),
    "moving-block": BootstrapKind("block bootstrap", "the moving block bootstrap", _blocks("moving"), _BLOCKS),
    "circular-block": BootstrapKind("block bootstrap", "the circular block bootstrap", _blocks("circular"), _BLOCKS),
    "stationary": BootstrapKind("block bootstrap", "the stationary bootstrap", _blocks("stationary"), _BLOCKS),
    "subsample": BootstrapKind(
        "subsampling", "subsampling", lambda plan: plan.weighted(Subsample(plan.units, plan.size)), _CLUSTERS | {"size"}
    ),
    "m-out-of-n": BootstrapKind(
        "m-out-of-n bootstrap",
        "the m out of n bootstrap",
        lambda plan: plan.weighted(Multinomial(plan.units, plan.size)),
        _CLUSTERS | {"size"},
    ),
}


# Options of one kind with clusters, or without.
WHERE = {
    "variant": "kind 'wild' with clusters",
    "null": "kind 'wild' with clusters",
    "residuals": "kind 'residual', and of 'wild' without clusters",
}


def _check_least_squares(fit: Fit) -> None:
    if fit.instruments is not None:
        raise EstimationError(
            "The wild bootstrap multiplies the residuals of one equation, and with instruments those of the first stage belong to them; use kind='pairs', "
            "which estimates both stages again, or 'score', which multiplies scores, or test by anderson_rubin()."
        )
    if not fit.objective.least_squares:
        raise EstimationError(
            "The wild bootstrap multiplies residuals, so it is only defined for least squares, OLS and WLS, and for a quantile, QuantReg; use "
            "kind='score', which multiplies scores, for any model."
        )
