"""`summary2`: statsmodels' second layout of a summary, filled with results of any container on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import EstimationError, OptionError, shown, text_of, texts_of
from betahat.inference.distribution import check_alpha
from betahat.lazy import lazily
from betahat.results.statsmodels_names import Results

if TYPE_CHECKING:
    from statsmodels.iolib import summary2

    from betahat.inference import printed
else:
    summary2 = lazily("statsmodels.iolib.summary2")
    printed = lazily("betahat.inference.printed")


def second_summary(
    results: Results,
    statistics: Mapping[str, str],
    notes: Sequence[str],
    *,
    yname: str | None,
    xname: Sequence[str] | None,
    title: str | None,
    alpha: float,
    float_format: str,
) -> printed.SecondSummary:
    """Lay out the model, its coefficients, further statistics and notes.

    Parameters
    ----------
    results : Results
        Of one equation.
    statistics : mapping of str to str
        What stands under the coefficients.
    notes : sequence of str
        What stands under the table.
    yname, xname, title, alpha, float_format
        As in `LinearResults.summary2`.

    Returns
    -------
    statsmodels.iolib.summary2.Summary
        With `as_text`, `as_html` and `as_latex`.
    """
    check_alpha(alpha)
    check_float_format(float_format)
    count = len(results.names)
    names = list(results.names) if xname is None else texts_of("xname", xname, count, "parameter")
    yname, title = (text_of(option, given) for option, given in (("yname", yname), ("title", title)))
    summary = printed.SecondSummary()
    summary.add_dict(model_part(results) | ({} if yname is None else {"Dependent Variable:": yname}), align="l")
    interval = results.tidy(1.0 - alpha)[["conf.low", "conf.high"]].to_numpy()
    columns = results.coefficient_table().T
    table = summary2.summary_params((results, *columns, interval), xname=names, alpha=alpha, use_t=results.use_t)
    summary.add_df(table, float_format=float_format)
    summary.add_title(title=title, results=results)
    if statistics:
        summary.add_dict(dict(statistics))
    for note in notes:
        summary.add_text(note)
    return summary


def equations_summary(
    results: Results,
    names: Sequence[str],
    heads: Sequence[str],
    alpha: float,
    float_format: str,
    model: Mapping[str, Any] | None = None,
) -> printed.SecondSummary:
    """Lay out the model, by default as statsmodels does, and the coefficients of each equation under its head."""
    check_alpha(alpha)
    check_float_format(float_format)
    count = len(heads)
    summary = printed.SecondSummary()
    summary.add_dict(model_part(results) if model is None else dict(model))
    blocks = np.split(results.coefficient_table(), count)
    intervals = np.split(results.tidy(1.0 - alpha)[["conf.low", "conf.high"]].to_numpy(), count)
    for head, block, interval in zip(heads, blocks, intervals, strict=True):
        table = summary2.summary_params((results, *block.T, interval), xname=list(names), alpha=alpha)
        table.insert(0, head, table.index)
        summary.add_df(table, index=False, float_format=float_format)
    summary.add_title(results=results)
    return summary


def check_float_format(given: object) -> None:
    """Refuse a format that prints no number."""
    try:
        prints = isinstance(given, str) and bool(given % 0.5)
    except (TypeError, ValueError):
        prints = False
    if not prints:
        raise OptionError(f"float_format is {shown(given)}; pass a format of one number, such as '%.4f'.")


def model_part(results: Results) -> dict[str, Any]:
    """Return statsmodels' first block, which takes what results have; its discrete ones have no deviance."""
    found: dict[str, Any] = summary2.summary_model(_Known(results))
    found.pop("Deviance:", None)
    return found


class _Known:
    """What results have: what they refuse, as a log-likelihood where there is none, is an attribute that statsmodels does not find."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._results, name)
        except EstimationError as error:
            raise AttributeError(name) from error
