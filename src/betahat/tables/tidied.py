"""`tidied`: estimates as a dataframe under broom's column names."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from betahat.errors import OptionError, check_flag, shown
from betahat.lazy import lazily
from betahat.tables.adjusted import Adjustment, adjusted, read_adjust
from betahat.tables.estimates import Estimates, about
from betahat.tables.exponentiated import exponentiated

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def tidied(result: Estimates, conf_level: float, exponentiate: bool, adjust: Adjustment = None) -> pd.DataFrame:
    """Return a row for each of k estimates, (k, 7), named in the column "term"."""
    found = statistics(result, conf_level, exponentiate, adjust)
    found.insert(0, "term", list(result.names))
    return found


def statistics(result: Estimates, conf_level: float, exponentiate: bool, adjust: Adjustment = None) -> pd.DataFrame:
    """Return (k, 6) statistics of k estimates; `exponentiate` takes exp of those that are coefficients, and `adjust` is how p-values and intervals are adjusted."""
    if not isinstance(conf_level, Real) or not 0.0 < conf_level < 1.0:
        raise OptionError(f"conf_level is {shown(conf_level)}; pass the share that the intervals cover, such as 0.95.")
    check_flag("exponentiate", exponentiate)
    family = read_adjust(adjust)
    shown_numbers = result if family is None else adjusted([result], [result], family)[0][0]
    numbers = exponentiated(shown_numbers, about(result).no_ratios) if exponentiate else shown_numbers
    table = numbers.coefficient_table()
    low, high = numbers.interval_table(1.0 - conf_level).T
    return pd.DataFrame(
        {
            "estimate": table[:, 0],
            "std.error": table[:, 1],
            "statistic": table[:, 2],
            "p.value": table[:, 3],
            "conf.low": low,
            "conf.high": high,
        }
    )
