"""The summary of proportional hazards, in statsmodels' layout of its own: hazard ratios and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betahat.errors import text_of, texts_of
from betahat.inference.distribution import check_alpha
from betahat.lazy import lazily
from betahat.tables.summary import Named, Summarised

if TYPE_CHECKING:
    from statsmodels.iolib import summary2

    from betahat.inference import printed
else:
    summary2 = lazily("statsmodels.iolib.summary2")
    printed = lazily("betahat.inference.printed")


@dataclass(frozen=True, eq=False)
class HazardContent(Summarised):
    """What the summary of proportional hazards says, in NumPy.

    Attributes
    ----------
    model : Named
        Its names, and a class with the name of the model.
    information : mapping of str to str
        What is said of the model and the data.
    table : ndarray
        (k, 4) coefficients, standard errors, statistics and p-values.
    interval : ndarray
        (k, 2) of the coefficients.
    notes : sequence of str
        What stands under the table.
    """

    model: Named
    information: Mapping[str, str]
    table: np.ndarray
    interval: np.ndarray
    notes: Sequence[str]

    def summary(
        self, yname: str | None, xname: Sequence[str] | None, title: str | None, alpha: float
    ) -> printed.SecondSummary:
        """Lay it out as statsmodels 0.15 does."""
        check_alpha(alpha)
        names = self.model.exog_names if xname is None else xname
        names = texts_of("xname", names, len(self.table), "parameter")
        yname, title = (text_of(option, given) for option, given in (("yname", yname), ("title", title)))
        summary = printed.SecondSummary()
        known = {"Model:": "PH Reg", "Dependent variable:": self.model.endog_names if yname is None else yname}
        summary.add_dict({**known, **self.information}, align="l", float_format="%8.3f")
        # statsmodels says t and P>|t|, and tests by the normal distribution
        table = summary2.summary_params((self, *self.table.T, self.interval), xname=list(names), alpha=alpha)
        table = table.rename(columns={"Coef.": "log HR", "Std.Err.": "log HR SE"})
        table.insert(2, "HR", np.exp(table["log HR"]))
        for bound in table.columns[-2:]:  # which statsmodels looks up by three digits, and so finds at 0.05 only
            table[bound] = np.exp(table[bound])
        summary.add_df(table, float_format="%8.3f")
        summary.add_title(title=title, results=self)
        for note in self.notes:
            summary.add_text(note)
        return summary
