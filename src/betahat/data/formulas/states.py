"""What calls of a formula learn of all rows (center, scale, standardize, poly, bs, cr, cc, cs), from what is added up over chunks.

Of up to 65,536 different values each is counted, which tells everything. Of more, means and deviations are merged (Chan, Golub and LeVeque 1983), the
coefficients of orthogonal polynomials take a pass for each degree, and quantiles one more: brackets around them, from a sample, are filled with all
values in them, so that they are exact.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from formulaic.errors import FactorEvaluationError

from betahat.data.container import real_array
from betahat.data.formulas.expressions import Pending
from betahat.data.formulas.sums import (
    DISTINCT,
    AskBrackets,
    AskMoments,
    AskRecurrence,
    AskSpread,
    Bracketed,
    Moments,
    Question,
    Recurrence,
    Spread,
    Sums,
    polynomial,
)
from betahat.data.formulas.transforms import KNOWN
from betahat.errors import FormulaError

# Brackets reach so many standard errors of the sample's quantiles to both sides.
_REACH = 6.0


@dataclass(frozen=True, eq=False)
class Told:
    """A call, with what it found.

    Attributes
    ----------
    name : str
        The transformation's.
    options : dict of str to object
        How it was called, without the values.
    sums : Sums
    """

    name: str
    options: dict[str, Any]
    sums: Sums

    def plus(self, other: Told) -> Told:
        """Return the same of more rows."""
        return replace(self, sums=self.sums.plus(other.sums))


@dataclass(frozen=True)
class _Learner:
    """How a transformation learns.

    Attributes
    ----------
    first : Question
        What it asks in the first pass.
    finish : callable
        Maps a call, its question and what it found to its state, or to the next question.
    everywhere : bool
        Whether it gives a number wherever it is given one, whatever it learns.
    """

    first: Question
    finish: Callable[[Told, Question], dict[str, Any] | Question]
    everywhere: bool = False


@dataclass(frozen=True, eq=False)
class Recorder:
    """Stands in for transformations, in a chunk: those that have learnt are called, and what others look at is noted.

    Attributes
    ----------
    state : dict of str to dict
        What calls have learnt.
    questions : dict of str to Question
        What others ask, where it is not their first question.
    told : dict of str to Told
        The answers.
    """

    state: Mapping[str, dict[str, Any]]
    questions: Mapping[str, Question]
    told: dict[str, Told] = field(default_factory=dict)

    def __call__(self, key: str, transform: Callable[..., Any], whole: bool) -> Callable[..., Any]:
        """Return what is called in the place of a transformation; `whole` is whether the call is the whole expression."""
        name = _NAMES.get(transform)
        if name == "Q" or key in self.state:
            return transform
        if name is None:
            raise FormulaError(
                f"{key} learns of all rows at once, and these are read in parts; compute it before, and use its column."
            )

        def noted(data: Any, *given: Any, **options: Any) -> Any:
            own = {option: value for option, value in options.items() if not option.startswith("_")}
            bound = inspect.signature(transform).bind(None, *given, **own)
            others = list(bound.arguments)[1:]
            values = real_array(data, "A column")
            question = self.questions.get(key, LEARNERS[name].first)
            self.told[key] = Told(name, {option: bound.arguments[option] for option in others}, question.of(values))
            if whole and LEARNERS[name].everywhere:
                return values
            raise Pending(key)

        return noted


def next_of(key: str, told: Told, question: Question | None) -> dict[str, Any] | Question:
    """Return the state of a call that has found all it needs, or what it asks next."""
    learner = LEARNERS[told.name]
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            return learner.finish(told, learner.first if question is None else question)
    except ValueError as error:  # what formulaic says of the options
        raise FactorEvaluationError(f"Unable to evaluate factor `{key}`. [ValueError: {error}]") from error


def is_certain(told: Told, state: Mapping[str, Any]) -> bool:
    """Tell whether a call gives numbers wherever it is given some, so that it was known in its first pass where it has none."""
    numbers = [np.asarray(value, dtype=float) for value in state.values() if value is not None]
    scaled = np.asarray(1.0 if state.get("scale") is None else state["scale"], dtype=float)
    return LEARNERS[told.name].everywhere and all(np.isfinite(part).all() for part in numbers) and bool(scaled.all())


def _scaled(told: Told, question: Question) -> dict[str, Any]:
    """Return the state of center, scale and standardize, as `transforms.scale` has it."""
    names = {
        "center": (True, False, 1),
        "scale": ("center", "scale", 1),
        "standardize": ("center", "rescale", 0),
    }[told.name]
    center, scale = (told.options.get(name, True) if isinstance(name, str) else name for name in names[:2])
    ddof = told.options.get("ddof", names[2])
    sums = told.sums
    assert isinstance(sums, Moments)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(sums.count > 0, sums.mean, np.nan)[()]
        about = mean if center is True else None if center is False else np.array(center)
        apart = sums.mean - (0.0 if about is None else about)
        deviation = np.sqrt((sums.squares + sums.count * apart * apart) / (sums.count - ddof))
    return {
        "ddof": ddof,
        "center": about,
        "scale": deviation if scale is True else None if scale is False else np.array(scale),
    }


def _splined(told: Told, question: Question) -> dict[str, Any] | Question:
    """Return the state of bs: bounds, and knots at quantiles, each value as often as it is there."""
    options, sums = told.options, told.sums
    if isinstance(sums, Bracketed):
        assert isinstance(question, AskBrackets)
        return _of_brackets(told, question, sums)
    assert isinstance(sums, Spread)
    lower, upper = options.get("lower_bound"), options.get("upper_bound")
    lower, upper = (sums.low if lower is None else lower), (sums.high if upper is None else upper)
    inner = _inner_knots(options)
    if not inner:
        return _state_of(told, np.array([lower, upper]), options)
    clipped = str(getattr(options.get("extrapolation", "raise"), "value", options.get("extrapolation"))) in _CLIPPED
    low, high = (lower, upper) if clipped else (-np.inf, np.inf)
    if sums.values is None:
        sample = np.sort(np.concatenate(sums.sample))
        sample = sample[(sample >= low) & (sample <= high)]
        return _brackets(sample, low, high, inner, _REACH, (lower, upper))
    there = (sums.values >= low) & (sums.values <= high)
    values, reached = sums.values[there], sums.often[there].cumsum()
    if not len(values):
        return _state_of(told, sums.values, options)  # which says so
    total = int(reached[-1])
    ranked = partial(_ranked, values, reached)
    knots = [_between(total, share, ranked) for share in _shares(inner)]
    return _with_knots(told, (lower, upper), knots)


_CLIPPED = ("clip", "na", "zero")


def _placed(values: np.ndarray, below: int, rank: int) -> float:
    """Return the value of a rank, where so many lie below the sorted values."""
    return float(values[rank - below])


def _ranked(values: np.ndarray, reached: np.ndarray, rank: int) -> float:
    """Return the value of a rank, where so many are reached with each."""
    return float(values[np.searchsorted(reached, rank, "right")])


def _inner_knots(options: Mapping[str, Any]) -> int:
    """Return how many knots of bs are quantiles."""
    df, degree = options.get("df"), options.get("degree", 3)
    return max(df - degree - bool(options.get("include_intercept", False)), 0) if df else 0


def _shares(inner: int) -> np.ndarray:
    return np.linspace(0, 1, inner + 2)[1:-1]


def _between(count: int, share: float, at: Callable[[int], float]) -> float:
    """Return a quantile by NumPy's rule, linear between the values `at` two ranks."""
    place = share * (count - 1)
    rank = int(np.floor(place))
    first, second, part = at(rank), at(min(rank + 1, count - 1)), place - rank
    return second - (second - first) * (1 - part) if part >= 0.5 else first + (second - first) * part


def _brackets(
    sample: np.ndarray, low: float, high: float, inner: int, reach: float, bounds: tuple[float, float]
) -> AskBrackets:
    """Return brackets around quantiles, as wide as a sample's errors make them."""
    edges = np.concatenate([[bounds[0]], sample, [bounds[1]]])
    error = reach * 0.5 / np.sqrt(max(len(sample), 1))
    pairs = [
        tuple(
            float(edges[int(np.clip(np.round((share + side * error) * (len(edges) - 1)), 0, len(edges) - 1))])
            for side in (-1, 1)
        )
        for share in _shares(inner)
    ]
    return AskBrackets(low, high, tuple((a, b) for a, b in pairs), sample, reach, bounds)


def _of_brackets(told: Told, question: AskBrackets, sums: Bracketed) -> dict[str, Any] | Question:
    """Return the state of bs once the values around its knots are known, or wider brackets, where some knot lies beside one."""
    inner = len(question.brackets)
    found = [np.sort(np.concatenate(parts)) for parts in sums.inside]
    knots = []
    for share, below, values in zip(_shares(inner), sums.below.tolist(), found, strict=True):
        rank = int(np.floor(share * (sums.count - 1)))
        if rank < below or rank + 1 >= below + len(values):
            return _brackets(question.sample, question.low, question.high, inner, 4 * question.reach, question.bounds)
        knots.append(_between(sums.count, share, partial(_placed, values, below)))
    return _with_knots(told, question.bounds, knots)


def _with_knots(told: Told, bounds: tuple[float, float], knots: Sequence[float]) -> dict[str, Any]:
    """Return the state of bs with knots."""
    options = {name: value for name, value in told.options.items() if name != "df"}
    return _state_of(
        told, np.array(bounds), {**options, "knots": list(knots), "lower_bound": bounds[0], "upper_bound": bounds[1]}
    )


def _state_of(told: Told, values: np.ndarray, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a transformation learns of some values."""
    state: dict[str, Any] = {}
    KNOWN[told.name](values, **options, _state=state)
    return state


def _cubic(told: Told, question: Question) -> dict[str, Any]:
    """Return the state of cr, cc and cs: knots at quantiles of the different values, and a mean of all rows that is taken off."""
    sums, options = told.sums, dict(told.options)
    assert isinstance(sums, Spread)
    if sums.values is None:
        raise FormulaError(
            f"The knots of {told.name} are quantiles of the different values of a variable, and this one has more than {DISTINCT:,} in rows that are read in "
            "parts; use bs, whose knots are quantiles of all, or round the variable."
        )
    state = _state_of(told, sums.values, options)
    if isinstance(options.get("constraints"), str):
        free = {**state, "constraints": None}
        own = str(options.get("extrapolation", "extend"))
        values = np.clip(sums.values, state["lower_bound"], state["upper_bound"]) if own == "clip" else sums.values
        basis = KNOWN[told.name](values, extrapolation="extend", _state=free)
        columns = np.column_stack([basis[name] for name in basis])
        state["constraints"] = (sums.often @ columns / sums.often.sum())[None]
    return state


def _polynomials(told: Told, question: Question) -> dict[str, Any] | Question:
    """Return the state of poly, the coefficients of the three-term recurrence, each a sum over all rows."""
    if told.options.get("raw", False):
        return {}
    degree = told.options.get("degree", 1)
    sums = told.sums
    if isinstance(sums, Spread) and sums.values is not None:
        alpha: tuple[float, ...] = ()
        norms: tuple[float, ...] = ()
        for _ in range(degree + 1):
            squared = sums.often * polynomial(sums.values, alpha, norms) ** 2
            norms = (*norms, float(squared.sum()))
            alpha = (*alpha, float((sums.values * squared).sum() / squared.sum()))
        return _recurrence(alpha, norms, degree)
    if isinstance(sums, Spread):
        return AskRecurrence((), ())
    assert isinstance(question, AskRecurrence)
    assert isinstance(sums, Recurrence)
    norms = (*question.norms, sums.squares)
    alpha = (*question.alpha, float(np.divide(sums.times_x, sums.squares)))
    return _recurrence(alpha, norms, degree) if len(norms) > degree else AskRecurrence(alpha, norms)


def _recurrence(alpha: Sequence[float], norms: Sequence[float], degree: int) -> dict[str, Any]:
    return {"alpha": dict(enumerate(alpha[:degree])), "norms2": dict(enumerate(norms))}


LEARNERS: Mapping[str, _Learner] = {
    **{name: _Learner(AskMoments(), _scaled, everywhere=True) for name in ("center", "scale", "standardize")},
    **{name: _Learner(AskSpread(), _cubic) for name in ("cr", "cs", "cc")},
    "bs": _Learner(AskSpread(), _splined),
    "poly": _Learner(AskSpread(), _polynomials),
}
_NAMES = {KNOWN[name]: name for name in (*LEARNERS, "Q")}
