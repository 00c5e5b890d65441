"""The regression summary: statsmodels' tables, rendered by statsmodels' own `iolib`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import text_of, texts_of
from betahat.inference.diagnostics import ResidualDiagnostics
from betahat.lazy import lazily

if TYPE_CHECKING:
    from betahat.inference import printed
else:
    printed = lazily("betahat.inference.printed")

_SLIM = (
    "Dep. Variable:",
    "Model:",
    "No. Observations:",
    "Covariance Type:",
    "R-squared:",
    "Adj. R-squared:",
    "F-statistic:",
    "Prob (F-statistic):",
)


@dataclass(frozen=True)
class Named:
    """The model as statsmodels' renderer sees it: its names, and a class with the name of the model."""

    endog_names: str
    exog_names: Sequence[str]


@dataclass(frozen=True, eq=False)
class Content:
    """What a regression summary says, in NumPy, under the names that statsmodels' renderer reads; arrays are (k,)."""

    model: Named
    nobs: float
    df_resid: float
    df_model: float
    llf: float
    rsquared: float
    rsquared_adj: float
    fvalue: float
    f_pvalue: float
    aic: float
    bic: float
    params: np.ndarray
    bse: np.ndarray
    tvalues: np.ndarray
    pvalues: np.ndarray
    interval: np.ndarray  # (k, 2)
    use_t: bool
    cov_type: str
    note: str
    k_constant: int
    residuals: ResidualDiagnostics
    condition_number: float  # of the design
    smallest_eigenvalue: float  # of X'X

    def conf_int(self, alpha: float) -> np.ndarray:
        """Return the intervals, which were computed for the alpha of the summary."""
        return self.interval


def named_model(kind: str, endog_name: str, exog_names: Sequence[str]) -> Named:
    """Return an object whose class has the name that is printed as the model's."""
    final: type[Named] = type(kind, (Named,), {})
    return final(endog_name, list(exog_names))


def regression_summary(
    content: Content, yname: str | None, xname: Sequence[str] | None, title: str | None, alpha: float, slim: bool
) -> printed.Summary:
    """Lay out a summary as statsmodels 0.15 does; `slim` drops the third table and half of the first."""
    xname = None if xname is None else texts_of("xname", xname, len(content.params), "parameter")
    yname, title = (text_of(option, given) for option, given in (("yname", yname), ("title", title)))
    kind = type(content.model).__name__
    names = {"yname": yname, "xname": xname}
    left, right = _top(content, slim)
    summary = printed.Summary()
    summary.add_table_2cols(
        content, gleft=left, gright=right, title=f"{kind} Regression Results" if title is None else title, **names
    )
    summary.add_table_params(content, alpha=alpha, use_t=content.use_t, **names)
    if not slim:
        left, right = _bottom(content)
        summary.add_table_2cols(content, gleft=left, gright=right, title="", **names)
    notes = [f"[{i}] {note}" for i, note in enumerate(_notes(content), 1)]
    summary.add_extra_txt(["Notes:", *notes])
    return summary


def _top(content: Content, slim: bool) -> tuple[list[Any], list[Any]]:
    kind = "" if content.k_constant else " (uncentered)"
    left = [
        ("Dep. Variable:", None),
        ("Model:", None),
        ("Method:", ["Least Squares"]),
        ("Date:", None),
        ("Time:", None),
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Covariance Type:", [content.cov_type]),
    ]
    right: list[Any] = [
        (f"R-squared{kind}:", [f"{content.rsquared:#8.3f}"]),
        (f"Adj. R-squared{kind}:", [f"{content.rsquared_adj:#8.3f}"]),
        ("F-statistic:", [f"{content.fvalue:#8.4g}"]),
        ("Prob (F-statistic):", [f"{content.f_pvalue:#6.3g}"]),
        ("Log-Likelihood:", None),
        ("AIC:", [f"{content.aic:#8.4g}"]),
        ("BIC:", [f"{content.bic:#8.4g}"]),
    ]
    if slim:
        left = [item for item in left if item[0] in _SLIM]
        right = [item for item in right if item[0] in _SLIM]
        right += [("", [""])] * (len(left) - len(right))
    return left, right


def _bottom(content: Content) -> tuple[list[Any], list[Any]]:
    resid = content.residuals
    left = [
        ("Omnibus:", [f"{resid.omnibus:#6.3f}"]),
        ("Prob(Omnibus):", [f"{resid.omnibus_pvalue:#6.3f}"]),
        ("Skew:", [f"{resid.skew:#6.3f}"]),
        ("Kurtosis:", [f"{resid.kurtosis:#6.3f}"]),
    ]
    right = [
        ("Durbin-Watson:", [f"{resid.durbin_watson:#8.3f}"]),
        ("Jarque-Bera (JB):", [f"{resid.jarque_bera:#8.3f}"]),
        ("Prob(JB):", [f"{resid.jarque_bera_pvalue:#8.3g}"]),
        ("Cond. No.", [f"{content.condition_number:#8.3g}"]),
    ]
    return left, right


def _notes(content: Content) -> list[str]:
    notes = []
    if not content.k_constant:
        notes.append("R² is computed without centering (uncentered) since the model does not contain a constant.")
    notes.append(content.note)
    if content.smallest_eigenvalue < 1e-10:
        notes.append(
            f"The smallest eigenvalue is {content.smallest_eigenvalue:6.3g}. This might indicate that there are\n"
            "strong multicollinearity problems or that the design matrix is singular."
        )
    elif content.condition_number > 1000:
        notes.append(
            f"The condition number is large, {content.condition_number:6.3g}. This might indicate that there are\n"
            "strong multicollinearity or other numerical problems."
        )
    return notes
