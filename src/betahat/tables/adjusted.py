"""P-values and intervals that are adjusted for the number of hypotheses: of one result, of each column of a table, or of all its columns together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.errors import OptionError, check_flag, shown
from betahat.inference.distribution import check_alpha
from betahat.inference.joint import Joint, aligned, check_same_draws, joint_of_fit
from betahat.inference.multiple import NullDraws, Procedure, adjusted_by_formula, procedure_of
from betahat.inference.resampled import Method
from betahat.tables.estimates import Coefficients, Estimates, about
from betahat.tables.foreign import Foreign
from betahat.tables.terms import Terms, choose

Key = tuple[str, str]


@dataclass(frozen=True)
class Adjust:
    """How p-values and intervals are adjusted for the number of hypotheses, where `adjust` needs more than a name.

    Attributes
    ----------
    method : str
        "bonferroni", "sidak", "holm", "holm-sidak", "hochberg", "hommel", "fdr_bh" ("bh"), "fdr_by" ("by"), as in statsmodels'
        ``multipletests``; "romano-wolf", step-down by the replicates of a bootstrap; or "sup-t", by the largest t statistic, of a bootstrap's
        replicates, or of the joint normal or t distribution.
    keep, drop : str, re.Pattern, or several of them, optional
        Which coefficients are the hypotheses; by default all that are shown, including the constant. The others keep their own p-values.
    across : bool
        Whether the hypotheses of all columns of a table are one family; by default each column is one.

    Raises
    ------
    OptionError
        An unknown method; the message lists the known ones.

    Notes
    -----
    Parameters that are no coefficients, such as cut points and dispersions, are no hypotheses, and neither are coefficients without a
    p-value. Intervals are simultaneous: those of Bonferroni for methods that have none of their own, those of "sup-t" for "romano-wolf". For
    false discovery rates they stay those of single coefficients.

    References
    ----------
    Holm (1979), Scand. J. Statist. 6(2). Benjamini and Hochberg (1995), JRSS B 57(1). Romano and Wolf (2005), Econometrica 73(4). Montiel
    Olea and Plagborg-Møller (2019), J. Appl. Econometrics 34(1). R: ``p.adjust``, ``multcomp``. Stata: ``rwolf2``.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {
    ...     "y": [1.0, 2.0, 4.0, 5.0, 6.0],
    ...     "x": [1.0, 2.0, 3.0, 4.0, 5.0],
    ...     "z": [1.0, 0.0, 1.0, 0.0, 1.0],
    ... }
    >>> res = bh.ols("y ~ x + z", data).fit()
    >>> res.tidy(adjust=bh.Adjust("holm", drop="Intercept"))["p.value"].round(4).tolist()
    [0.4523, 0.0156, 0.6667]
    """

    method: str
    keep: Terms | None = None
    drop: Terms | None = None
    across: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown method."""
        procedure_of(self.method)
        check_flag("across", self.across)


Adjustment: TypeAlias = "str | Adjust | None"


def read_adjust(option: Adjustment) -> Adjust | None:
    """Read the option `adjust`: a name, or a name with further options."""
    if option is None or isinstance(option, Adjust):
        return option
    if not isinstance(option, str):
        raise OptionError(
            f"adjust is {shown(option)}; pass a name, such as 'holm', or bh.Adjust('holm', keep='treated')."
        )
    return Adjust(option)


@singledispatch
def joint_of(result: Any) -> Joint:
    """Return what is known jointly of the numbers of a result of betahat that are not NaN; other kinds are registered."""
    return joint_of_fit(result.fit, result.cov)


@joint_of.register
def _(result: Foreign) -> Joint:
    raise OptionError(
        f"adjust needs the joint distribution of estimates, which results of {result.package} do not hand over; use a method that goes by p-values, such as "
        "'holm'."
    )


@dataclass(frozen=True, eq=False)
class Simultaneous:
    """Numbers of a result whose p-values and intervals are adjusted for the number of hypotheses.

    Attributes
    ----------
    of : Coefficients
        The numbers.
    pvalues : ndarray
        (k,) the adjusted p-values, and the own ones of numbers that are no hypotheses.
    bounds : callable
        alpha -> (k, 2) the intervals.
    """

    of: Coefficients
    pvalues: np.ndarray
    bounds: Callable[[float], np.ndarray]

    @property
    def equation_terms(self) -> tuple[Key, ...]:
        """(k,) the title of a group, or "", and the name of each number."""
        return self.of.equation_terms

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): number, standard error, statistic and adjusted p-value."""
        table = self.of.coefficient_table().copy()
        table[:, 3] = self.pvalues
        return table

    def interval_table(self, alpha: float, method: Method | None = None) -> np.ndarray:
        """Return the (k, 2) simultaneous intervals."""
        if method is not None:
            raise OptionError(f"method is {shown(method)}, and adjust has intervals of its own; omit one of them.")
        check_alpha(alpha)
        return self.bounds(alpha)


@dataclass(frozen=True, eq=False)
class Family:
    """The hypotheses among the numbers of a result.

    Attributes
    ----------
    result : Estimates
        The result.
    numbers : Coefficients
        What is shown of it.
    table : ndarray
        (k, 4) number, standard error, statistic and p-value.
    places : ndarray
        (m,) the rows that are hypotheses.
    """

    result: Estimates
    numbers: Coefficients
    table: np.ndarray
    places: np.ndarray

    @property
    def pvalues(self) -> np.ndarray:
        """(m,) their own p-values."""
        own: np.ndarray = self.table[self.places, 3]
        return own

    def among(self, joint: Joint) -> list[int]:
        """Return (m,) their places among the numbers of `Joint`, which has all, or those that are estimated."""
        estimated = np.cumsum(~np.isnan(self.table[:, 0])) - 1
        chosen = self.places if len(joint.estimates) == len(self.table) else estimated[self.places]
        return [int(place) for place in chosen]

    def adjusted(self, pvalues: np.ndarray, bounds: Callable[[float], np.ndarray]) -> Simultaneous:
        """Put (m,) p-values, and alpha -> (m, 2) intervals, in the place of their own."""
        own = self.table[:, 3].copy()
        own[self.places] = pvalues

        def all_bounds(alpha: float) -> np.ndarray:
            found = self.numbers.interval_table(alpha).copy()
            if len(self.places):
                found[self.places] = bounds(alpha)
            return found

        return Simultaneous(self.numbers, own, all_bounds)


def adjusted(
    results: Sequence[Estimates],
    numbers: Sequence[Coefficients],
    adjust: Adjust,
    among: Sequence[np.ndarray] | None = None,
) -> tuple[list[Simultaneous], list[int]]:
    """Return what is shown of each result with adjusted p-values and intervals, and how many hypotheses each family has.

    `among` are (k,) bool of each, which of its coefficients are shown; None is all of them.
    """
    procedure = procedure_of(adjust.method)
    families = _families(results, numbers, adjust, among)
    sizes = [len(family.places) for family in families]
    if not any(sizes):
        raise OptionError(
            "adjust finds no hypothesis among the coefficients: they have no p-values, or keep and drop leave none; choose others."
        )
    groups = [families] if adjust.across else [[family] for family in families]
    by = _by_draws if procedure.by_draws else _by_formula
    found = [done for group in groups for done in by(procedure, group)]
    return found, [sum(sizes)] if adjust.across else sizes


def adjusted_note(adjust: Adjust, sizes: Sequence[int], below: Collection[str]) -> list[str]:
    """Return the sentence that says what is adjusted, for how many hypotheses, and by what; `below` is what is printed under coefficients."""
    procedure = procedure_of(adjust.method)
    several = sorted({size for size in sizes if size})
    many = f"{several[0]} to {several[-1]} hypotheses" if len(several) > 1 else f"{several[0]} hypotheses"
    many = many.replace("hypotheses", "hypothesis") if several == [1] else many
    where = " of all columns together" if adjust.across else " in each column" if len(sizes) > 1 else ""
    adjusted_are, intervals = "P-values are", ""
    if "ci" in below:
        if procedure.intervals == procedure.words:
            adjusted_are = "P-values and intervals are"
        elif procedure.intervals:
            intervals = f"; intervals are simultaneous by {procedure.intervals}"
        else:
            intervals = "; intervals are those of single coefficients"
    return [f"{adjusted_are} adjusted for {many}{where} by {procedure.words}{intervals}."]


def _families(
    results: Sequence[Estimates], numbers: Sequence[Coefficients], adjust: Adjust, among: Sequence[np.ndarray] | None
) -> list[Family]:
    """Return the hypotheses of each result."""
    terms = [np.array([name for _, name in each.equation_terms], dtype=object) for each in numbers]
    visible = [np.ones(len(own), dtype=bool) for own in terms] if among is None else among
    names = list(dict.fromkeys(name for own, seen in zip(terms, visible, strict=True) for name in own[seen]))
    chosen = set(choose(names, adjust.keep, adjust.drop, None))
    families = []
    for result, each, own, seen in zip(results, numbers, terms, visible, strict=True):
        table, single = each.coefficient_table(), about(result).single
        tested = np.array([name in chosen and name not in single for name in own], dtype=bool)
        families.append(Family(result, each, table, np.flatnonzero(tested & seen & ~np.isnan(table[:, 3]))))
    return families


def _by_formula(procedure: Procedure, families: Sequence[Family]) -> list[Simultaneous]:
    """Adjust the p-values of one family, which may lie in several results."""
    sizes = [len(family.places) for family in families]
    count = sum(sizes)
    joined = adjusted_by_formula(procedure, np.concatenate([family.pvalues for family in families]))
    parts = np.split(joined, np.cumsum(sizes)[:-1])

    def bounds_of(family: Family) -> Callable[[float], np.ndarray]:
        return lambda alpha: family.numbers.interval_table(procedure.level(alpha, count))[family.places]

    return [family.adjusted(part, bounds_of(family)) for family, part in zip(families, parts, strict=True)]


def _by_draws(procedure: Procedure, families: Sequence[Family]) -> list[Simultaneous]:
    """Adjust the p-values of one family by the joint distribution of the estimates."""
    tested = [family for family in families if len(family.places)]
    if not tested:
        return [family.adjusted(family.pvalues, family.numbers.interval_table) for family in families]
    joints = [joint_of(family.result) for family in tested]
    places = [family.among(joint) for family, joint in zip(tested, joints, strict=True)]
    if procedure.step_down or len(tested) > 1 or any(joint.replicated is not None for joint in joints):
        common = check_same_draws(joints)
        band = _beside([joint.plain(own) for joint, own in zip(joints, places, strict=True)], joints, common)
        drawn = band
        if procedure.step_down or any(joint.own is not None for joint in joints):
            drawn = _beside([joint.studentised(own) for joint, own in zip(joints, places, strict=True)], joints, common)
        pvalues = drawn.step_down() if procedure.step_down else drawn.single_step()
    else:
        ((joint,), (own,)) = joints, places
        band = joint.normal(own)
        pvalues = _between(band.single_step(), torch.from_numpy(tested[0].pvalues).to(band.statistics))
    parts = iter(zip(joints, places, torch.split(pvalues, [len(own) for own in places]), strict=True))

    def of_family(family: Family) -> Simultaneous:
        if not len(family.places):
            return family.adjusted(family.pvalues, lambda alpha: np.empty((0, 2)))
        joint, own, part = next(parts)
        return family.adjusted(to_numpy(part), lambda alpha: to_numpy(joint.bounds(own, joint.critical(band, alpha))))

    return [of_family(family) for family in families]


def _beside(drawn: Sequence[NullDraws], joints: Sequence[Joint], common: Tensor | None) -> NullDraws:
    """Put the draws of several results, which are those of the same replicates, side by side."""
    same = [aligned(draws, joint.held, common) for draws, joint in zip(drawn, joints, strict=True)]
    statistics = torch.cat([draws.statistics for draws in same])
    return replace(same[0], statistics=statistics, draws=torch.cat([draws.draws for draws in same], 1))


def _between(pvalues: Tensor, own: Tensor) -> Tensor:
    """Keep p-values by points of a distribution between the bounds that hold whatever the correlation is."""
    return torch.minimum(torch.maximum(pvalues, own), (len(own) * own).clamp_max(1.0))
