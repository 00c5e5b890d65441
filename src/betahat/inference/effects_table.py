"""The table of marginal effects, in statsmodels' layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betahat.lazy import lazily

if TYPE_CHECKING:
    from statsmodels.iolib import summary as iolib

    from betahat.inference import printed
else:
    iolib = lazily("statsmodels.iolib.summary")
    printed = lazily("betahat.inference.printed")


@dataclass(frozen=True)
class _Headed:
    """What the renderer asks of a result: nothing but the model's names."""

    model: object


@dataclass(frozen=True)
class _Names:
    endog_names: str
    exog_names: Sequence[str]


def effects_summary(
    *,
    model: str,
    endog_name: str,
    options: Mapping[str, str],
    head: str,
    names: Sequence[str],
    outcomes: Sequence[str],
    columns: Sequence[np.ndarray],
    bounds: np.ndarray,
    alpha: float,
) -> printed.Summary:
    """Lay out a table of effects.

    Parameters
    ----------
    model, endog_name : str
        For the heading.
    options : mapping
        "method" and "at".
    head : str
        The effects' column.
    names, outcomes : sequence of str
        (p,) regressors and (J,) means.
    columns : sequence of ndarray
        Effects, standard errors, statistics and p-values, each (p, J).
    bounds : ndarray
        (p, 2, J).
    alpha : float
        The intervals' share outside.
    """
    summary = printed.Summary()
    names = list(names)
    top = [("Dep. Variable:", [endog_name]), ("Method:", [options["method"]]), ("At:", [options["at"]])]
    holder = _Headed(_Names(endog_name, names))
    summary.add_table_2cols(
        holder, gleft=top, gright=[], yname=endog_name, xname=names, title=f"{model} Marginal Effects"
    )
    tables = []
    for j, outcome in enumerate(outcomes):
        parts = (holder, *(column[:, j] for column in columns), bounds[:, :, j])
        table = iolib.summary_params(parts, yname=outcome, xname=names, alpha=alpha, use_t=False, skip_header=True)
        if len(outcomes) > 1:
            table.title = outcome
        table.insert_header_row(0, ["", head, "std err", "z", "P>|z|", f"[{alpha / 2}", f"{1 - alpha / 2}]"])
        tables.append(table)
    summary.tables.append(
        printed.printed(tables[0] if len(tables) == 1 else iolib.table_extend(tables, keep_headers=True))
    )
    return summary
