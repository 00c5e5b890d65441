"""A summary in statsmodels' layout, rendered by statsmodels' own `iolib`; its rows are written in `results/summaries.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betahat.errors import text_of, texts_of
from betahat.lazy import lazily

if TYPE_CHECKING:
    from betahat.inference import printed
else:
    printed = lazily("betahat.inference.printed")

# A name and its cells; statsmodels' renderer fills in cells that are None.
Rows = Sequence[tuple[str, Sequence[str] | None]]


@dataclass(frozen=True)
class Named:
    """The model as statsmodels' renderer sees it: its names, and a class with the name of the model."""

    endog_names: str
    exog_names: Sequence[str]


class Summarised(ABC):
    """What a summary says, in one of statsmodels' two layouts."""

    @abstractmethod
    def summary(
        self, yname: str | None, xname: Sequence[str] | None, title: str | None, alpha: float
    ) -> printed.Summary | printed.SecondSummary:
        """Lay it out as statsmodels 0.15 does, with other names and another title where they are given."""


@dataclass(frozen=True, eq=False)
class Content(Summarised):
    """What a summary says, in NumPy, under the names that statsmodels' renderer reads.

    Arrays are (k,), and (k, J - 1) of J classes; the intervals (k, 2), and (J - 1, k, 2).
    """

    model: Named
    nobs: float
    df_resid: float
    df_model: float
    llf: float
    params: np.ndarray
    bse: np.ndarray
    tvalues: np.ndarray
    pvalues: np.ndarray
    interval: np.ndarray
    use_t: bool
    title: str
    top: tuple[Rows, Rows]  # the left and the right half of the first table
    bottom: tuple[Rows, Rows] | None  # those of the table below the coefficients, if there is one
    notes: Sequence[str]
    classes: tuple[str, ...] = ()  # (J - 1,) of a multinomial model, (J,) quantiles
    variable: str = ""  # what the classes are values of, if it is not the dependent variable

    def conf_int(self, alpha: float = 0.05) -> np.ndarray:
        """Return the intervals, which were computed for the alpha of the summary."""
        return self.interval

    def summary(
        self, yname: str | None, xname: Sequence[str] | None, title: str | None, alpha: float
    ) -> printed.Summary:
        """Lay it out."""
        return summary_of(self, yname, xname, title, alpha)


def named_model(kind: str, endog_name: str, exog_names: Sequence[str]) -> Named:
    """Return an object whose class has the name that is printed as the model's."""
    final: type[Named] = type(kind, (Named,), {})
    return final(endog_name, list(exog_names))


def summary_of(
    content: Content, yname: str | None, xname: Sequence[str] | None, title: str | None, alpha: float
) -> printed.Summary:
    """Lay out a summary as statsmodels 0.15 does, with other names and another title where they are given."""
    xname = None if xname is None else texts_of("xname", xname, len(content.params), "parameter")
    yname, title = (text_of(option, given) for option, given in (("yname", yname), ("title", title)))
    yname = content.model.endog_names if yname is None else yname
    outcome = [f"{content.variable or yname}={name}" for name in content.classes] or yname
    left, right = content.top
    summary = printed.Summary()
    summary.add_table_2cols(
        content,
        gleft=list(left),
        gright=list(right),
        title=content.title if title is None else title,
        yname=yname,
        xname=xname,
    )
    summary.add_table_params(content, yname=outcome, xname=xname, alpha=alpha, use_t=content.use_t)
    if content.bottom is not None:
        left, right = content.bottom
        summary.add_table_2cols(content, gleft=list(left), gright=list(right), title="", yname=yname, xname=xname)
    if content.notes:
        summary.add_extra_txt(list(content.notes))
    return summary
