"""What the summaries of several kinds of results share: the coefficients between rows above and below them, and the notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from betahat.errors import counted
from betahat.fits.fit import Fit
from betahat.tables.summary import Content, Rows, named_model

if TYPE_CHECKING:
    from betahat.results.least_squares import LeastSquaresResults
    from betahat.results.likelihood import MaximumLikelihoodResults
    from betahat.results.linear import LinearResults
    from betahat.results.statsmodels_names import Results


def content(
    results: Results,
    alpha: float,
    top: tuple[Rows, Rows],
    notes: Sequence[str],
    *,
    kind: str | None = None,
    title: str = "{} Regression Results",
    bottom: tuple[Rows, Rows] | None = None,
    classes: tuple[str, ...] = (),
    variable: str = "",
) -> Content:
    """Return the coefficients between the rows above and below them; those of several classes side by side."""
    columns, interval = list(results.coefficient_table().T), results.interval_table(alpha)
    if classes:
        columns = [column.reshape(len(classes), -1).T for column in columns]
        interval = interval.reshape(len(classes), -1, 2)
    params, bse, tvalues, pvalues = columns
    kind = results._kind if kind is None else kind
    top = with_effects(results, top)
    return Content(
        model=named_model(kind, results.endog_name, results.fit.given.names if classes else results.names),
        nobs=results.nobs,
        df_resid=results.df_resid,
        df_model=results.df_model,
        llf=results.llf if results.fit.objective.dispersion.likelihood else float("nan"),
        params=params,
        bse=bse,
        tvalues=tvalues,
        pvalues=pvalues,
        interval=interval,
        use_t=results.use_t,
        title=title.format(kind),
        top=top,
        bottom=bottom,
        notes=notes,
        classes=classes,
        variable=variable,
    )


def likelihood_rows(results: MaximumLikelihoodResults) -> tuple[Rows, Rows]:
    """Return the first table of a likelihood."""
    left = [
        ("Dep. Variable:", None),
        ("Model:", [results._kind]),
        ("Method:", ["MLE"]),
        ("Date:", None),
        ("Time:", None),
        ("converged:", [str(results.converged)]),
        ("Covariance Type:", [results.cov_type]),
    ]
    right = [
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Pseudo R-squ.:", [f"{results.prsquared:#6.4g}"]),
        ("Log-Likelihood:", None),
        ("LL-Null:", [f"{results.llnull:#8.5g}"]),
        ("LLR p-value:", [f"{results.llr_pvalue:#6.4g}"]),
    ]
    return left, right


def residual_rows(results: LeastSquaresResults) -> tuple[Rows, Rows]:
    """Return the table of what least squares residuals say."""
    found = results._residual_diagnostics
    left = [
        ("Omnibus:", [f"{found.omnibus:#6.3f}"]),
        ("Prob(Omnibus):", [f"{found.omnibus_pvalue:#6.3f}"]),
        ("Skew:", [f"{found.skew:#6.3f}"]),
        ("Kurtosis:", [f"{found.kurtosis:#6.3f}"]),
    ]
    right = [
        ("Durbin-Watson:", [f"{found.durbin_watson:#8.3f}"]),
        ("Jarque-Bera (JB):", [f"{found.jarque_bera:#8.3f}"]),
        ("Prob(JB):", [f"{found.jarque_bera_pvalue:#8.3g}"]),
        ("Cond. No.", [f"{results.condition_number:#8.3g}"]),
    ]
    return left, right


def linear_notes(results: LinearResults) -> list[str]:
    """Return the notes of least squares."""
    notes = [results.cov.note, *notes_on_rows(results.fit)]
    smallest = results.diagn["mineigval"]
    if not results.k_constant:
        notes.insert(0, "R² is computed without centering (uncentered) since the model does not contain a constant.")
    if smallest < 1e-10:
        notes.append(
            f"The smallest eigenvalue is {smallest:6.3g}. This might indicate that there are\n"
            "strong multicollinearity problems or that the design matrix is singular."
        )
    elif results.condition_number > 1000:
        notes.append(
            f"The condition number is large, {results.condition_number:6.3g}. This might indicate that there are\n"
            "strong multicollinearity or other numerical problems."
        )
    return notes


def separation_notes(share: float) -> list[str]:
    """Return the sentence on a share of rows that are predicted perfectly."""
    if share <= 0.1:
        return []
    return [
        f"Possibly complete quasi-separation: A fraction {share:4.2f} of observations can be\n"
        "perfectly predicted. This might indicate that there is complete\n"
        "quasi-separation. In this case some parameters will not be identified."
    ]


def with_effects(results: Results, top: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
    """Put rows for absorbed effects below the others, with how many coefficients each has."""
    absorbed = results.fit.absorbed
    if absorbed is None:
        return top
    left, right = list(top[0]), list(top[1])
    pairs = zip(absorbed.names, absorbed.sizes, strict=True)
    for name, effect in pairs:
        shorter = left if len(left) <= len(right) else right
        shorter.append((f"{name} effects:", [f"yes ({effect.levels})"]))
    while len(left) != len(right):
        (left if len(left) < len(right) else right).append(("", [""]))
    return left, right


def notes_on_rows(fit: Fit) -> list[str]:
    """Return the sentences that say what rows that are alike became, how many effects were absorbed, and how many rows dropped."""
    done = fit.given.schema.compression
    if done is None:
        return _absorbed_notes(fit)
    counted_once = f"{counted(done.rows, 'row')} were counted as {done.distinct} that differ."
    return [counted_once if done.columns else "Too few rows are alike to be counted.", *_absorbed_notes(fit)]


def _absorbed_notes(fit: Fit) -> list[str]:
    if fit.absorbed is None:
        return []
    total, dropped = fit.size - fit.rank, fit.given.schema.dropped
    alone = f"; {counted(dropped, 'row')} alone in a level dropped" if dropped else ""
    separated = fit.given.schema.separated
    alone += f"; {counted(separated, 'row')} left out that separate the data" if separated else ""
    return [f"{total:g} coefficients of {', '.join(fit.absorbed.names)} absorbed{alone}."]


def numbered(notes: Sequence[str]) -> list[str]:
    """Give numbers to notes."""
    return ["Notes:", *(f"[{i}] {note}" for i, note in enumerate(notes, 1))]


def group_rows(count: int, smallest: float, largest: float, rows: float, several: str, one: str) -> dict[str, str]:
    """Return the rows on groups of rows: how many there are, and their sizes."""
    return {
        f"Num {several}:": f"{count}",
        f"Min {one} size:": f"{smallest:.0f}",
        f"Max {one} size:": f"{largest:.0f}",
        f"Avg {one} size:": f"{rows / count:.1f}",
    }
