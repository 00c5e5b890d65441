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
    """What statsmodels' renderer needs of a result: the names of the model."""

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
    """Lay out the table of (p,) regressors and (J,) means: `columns` are effects, errors, statistics and p-values, (p, J), `bounds` is (p, 2, J)."""
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
