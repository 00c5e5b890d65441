"""The summary of discrete models and of torch models, in statsmodels' layout for maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import text_of, texts_of
from betahat.lazy import lazily
from betahat.tables.summary import Named

if TYPE_CHECKING:
    from betahat.inference import printed
else:
    printed = lazily("betahat.inference.printed")

Cells = Sequence[tuple[str, Sequence[str] | None]]


@dataclass(frozen=True, eq=False)
class LikelihoodContent:
    """What a summary says, in NumPy, under the names that statsmodels' renderer reads; arrays are (k,), or (k, J - 1) with several equations."""

    model: Named
    nobs: float
    df_resid: float
    df_model: float
    llf: float
    params: np.ndarray
    bse: np.ndarray
    tvalues: np.ndarray
    pvalues: np.ndarray
    interval: np.ndarray  # (k, 2), or (J - 1, k, 2)
    use_t: bool

    def conf_int(self, alpha: float = 0.05) -> np.ndarray:
        """Return the intervals, which were computed for the alpha of the summary."""
        return self.interval


def likelihood_summary(
    content: LikelihoodContent,
    left: Cells,
    right: Cells,
    *,
    yname: str | None,
    equations: Sequence[str],
    xname: Sequence[str] | None,
    title: str | None,
    alpha: float,
    notes: Sequence[str],
) -> printed.Summary:
    """Lay out a summary; `left` and `right` are (name, cells) of the first table, where statsmodels' renderer fills in cells that are None."""
    xname = None if xname is None else texts_of("xname", xname, len(content.params), "parameter")
    yname, title = (text_of(option, given) for option, given in (("yname", yname), ("title", title)))
    summary = printed.Summary()
    names: Any = {
        "yname": content.model.endog_names if yname is None else yname,
        "xname": xname,
    }
    heading = f"{type(content.model).__name__} Regression Results" if title is None else title
    summary.add_table_2cols(content, gleft=list(left), gright=list(right), title=heading, **names)
    outcome = list(equations) if content.params.ndim == 2 else names["yname"]
    summary.add_table_params(content, yname=outcome, xname=names["xname"], alpha=alpha, use_t=content.use_t)
    if notes:
        summary.add_extra_txt(list(notes))
    return summary
