"""Several hypotheses at once: what p-values become, and how far simultaneous intervals reach."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.errors import OptionError, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    from statsmodels.stats import multitest
else:
    multitest = lazily("statsmodels.stats.multitest")

# Statistics that differ only by rounding are equal: a draw that reproduces the sample does not fall short of it.
TIE = 1e-9


def _each_own(alpha: float, count: int) -> float:
    return alpha


def _bonferroni(alpha: float, count: int) -> float:
    return alpha / count


def _sidak(alpha: float, count: int) -> float:
    return -math.expm1(math.log1p(-alpha) / count)


@dataclass(frozen=True)
class Procedure:
    """A way to adjust p-values for the number of hypotheses.

    Attributes
    ----------
    name : str
        What `adjust` calls it.
    words : str
        What a note calls it.
    statsmodels : str or None
        The name that `multipletests` has for it; None where draws of the estimates decide.
    level : callable
        (alpha, m) -> the alpha of each of m intervals, which together cover with probability 1 - alpha at least.
    intervals : str
        What a note calls the intervals; "" if they are those of single coefficients.
    step_down : bool
        Of those by draws: whether hypotheses that are rejected leave the others.
    """

    name: str
    words: str
    statsmodels: str | None
    level: Callable[[float, int], float] = _bonferroni
    intervals: str = "Bonferroni's method"
    step_down: bool = False

    @property
    def by_draws(self) -> bool:
        """Whether the joint distribution of the estimates decides."""
        return self.statsmodels is None


_SUP_T = "the largest t statistic (sup-t)"
_PROCEDURES = (
    Procedure("bonferroni", "Bonferroni's method", "bonferroni"),
    Procedure("sidak", "Šidák's method", "sidak", _sidak, "Šidák's method"),
    Procedure("holm", "Holm's method", "holm"),
    Procedure("holm-sidak", "Holm's method with Šidák's levels", "holm-sidak", _sidak, "Šidák's method"),
    Procedure("hochberg", "Hochberg's method", "simes-hochberg"),
    Procedure("hommel", "Hommel's method", "hommel"),
    Procedure("fdr_bh", "Benjamini and Hochberg's false discovery rate", "fdr_bh", _each_own, ""),
    Procedure("fdr_by", "Benjamini and Yekutieli's false discovery rate", "fdr_by", _each_own, ""),
    Procedure("romano-wolf", "Romano and Wolf's method", None, intervals=_SUP_T, step_down=True),
    Procedure("sup-t", _SUP_T, None, intervals=_SUP_T),
)
_KNOWN = {procedure.name: procedure for procedure in _PROCEDURES}
_ALIASES = {
    **{
        "b": "bonferroni",
        "s": "sidak",
        "h": "holm",
        "hs": "holm-sidak",
        "ho": "hommel",
        "supt": "sup-t",
        "max-t": "sup-t",
    },
    **{"sh": "hochberg", "simes-hochberg": "hochberg", "rwolf": "romano-wolf", "rw": "romano-wolf"},
    **dict.fromkeys(("bh", "benjamini-hochberg", "fdr-i", "fdr", "fdr-bh"), "fdr_bh"),
    **dict.fromkeys(("by", "benjamini-yekutieli", "fdr-n", "fdr-by"), "fdr_by"),
}


def procedure_of(name: object) -> Procedure:
    """Look a procedure up by a name of ours or of statsmodels, in any case, with hyphens or underscores."""
    word = str(name).lower().replace("_", "-")
    word = _ALIASES.get(word, word)
    if word not in _KNOWN:
        close = difflib.get_close_matches(word, [*_KNOWN, *_ALIASES], n=1)
        hint = f", did you mean {close[0]!r}?" if close else "."
        raise OptionError(f"adjust is {shown(name)}{hint} The known ones are {listed(_KNOWN, limit=20)}.")
    return _KNOWN[word]


def adjusted_by_formula(procedure: Procedure, pvalues: np.ndarray) -> np.ndarray:
    """Return (m,) adjusted p-values; those that are NaN stay so, and do not count."""
    found, defined = pvalues.copy(), ~np.isnan(pvalues)
    if defined.any():
        found[defined] = multitest.multipletests(pvalues[defined], method=procedure.statsmodels)[1]
    return found


@dataclass(frozen=True, eq=False)
class NullDraws:
    """Sizes of t statistics, and what they are in draws in which all hypotheses are true.

    Attributes
    ----------
    statistics : Tensor
        (m,) |t|.
    draws : Tensor
        (R, m) |t*|.
    exhaustive : bool
        Whether these are all the draws there are, of which the sample is one; otherwise it counts as one more.
    """

    statistics: Tensor
    draws: Tensor
    exhaustive: bool = False

    def share(self, exceeding: Tensor) -> Tensor:
        """Return (m,) the share of (R, m) draws that exceed the sample."""
        count = exceeding.to(torch.float64).sum(0)
        return count / len(exceeding) if self.exhaustive else (count + 1.0) / (len(exceeding) + 1.0)

    def single_step(self) -> Tensor:
        """Return (m,) p-values by the largest statistic of each draw."""
        return self.share(self.draws.amax(1, keepdim=True) >= self._bar)

    def step_down(self) -> Tensor:
        """Return (m,) p-values by the largest statistic among the hypotheses that are not more significant, which never fall.

        Romano and Wolf (2005), Econometrica 73(4); (2016), Statistics and Probability Letters 113.
        """
        order = self.statistics.argsort(descending=True, stable=True)
        largest = self.draws[:, order].flip(1).cummax(1).values.flip(1)
        shares = self.share(largest >= self._bar[order])
        found = torch.empty_like(shares)
        found[order] = shares.cummax(0).values
        return found

    def critical(self, alpha: float) -> float:
        """Return what the largest statistic exceeds with probability alpha."""
        largest = self.draws.amax(1).sort().values
        rank = min(math.ceil((len(largest) + 1) * (1.0 - alpha)), len(largest))
        return float(largest[rank - 1])

    @property
    def _bar(self) -> Tensor:
        """(m,) what a draw must reach."""
        return self.statistics * (1.0 - TIE)
