"""The summary of discrete models and of torch models: statsmodels' layout of a maximum likelihood fit."""

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
    """What a summary says, as NumPy numbers under the names that the renderer reads.

    Attributes
    ----------
    model : Named
        Of a class whose name is the model's.
    nobs, df_resid, df_model, llf : float
        As in statsmodels.
    params, bse, tvalues, pvalues : numpy.ndarray
        (k,), or (k, J - 1).
    interval : numpy.ndarray
        (k, 2), or (J - 1, k, 2).
    use_t : bool
        t or z.
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

    def conf_int(self, alpha: float = 0.05) -> np.ndarray:
        """Return the interval, which was computed for the summary's alpha."""
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
    """Lay out a summary.

    Parameters
    ----------
    content : LikelihoodContent
        What it says.
    left, right : sequence of (name, cells)
        The first table; None is filled in by the renderer.
    yname : str, optional
        The dependent variable's name.
    equations : sequence of str
        The names of the equations, where there are several.
    xname : sequence of str, optional
        (k,) the parameters' names.
    title : str, optional
        Its heading.
    alpha : float
        The intervals' share outside.
    notes : sequence of str
        What stands below, as it is.

    Returns
    -------
    statsmodels.iolib.summary.Summary
        With `as_text`, `as_html`, `as_latex` and `as_csv`.
    """
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
