"""What a summary says, kind by kind of results: the rows of its tables, and its notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from betahat.data.classes import class_name
from betahat.inference.response import certain_share
from betahat.results.summary_parts import (
    content,
    group_rows,
    likelihood_rows,
    linear_notes,
    notes_on_rows,
    numbered,
    residual_rows,
    separation_notes,
)
from betahat.tables.hazards import HazardContent
from betahat.tables.summary import Content, Rows, named_model

if TYPE_CHECKING:
    from betahat.results.censored import CensoredResults
    from betahat.results.discrete import DiscreteResults
    from betahat.results.equations import EquationsResults
    from betahat.results.general import GeneralResults
    from betahat.results.glm import GLMResults
    from betahat.results.instruments import InstrumentResults
    from betahat.results.likelihood import MaximumLikelihoodResults
    from betahat.results.linear import LinearResults
    from betahat.results.moments import GMMResults
    from betahat.results.multinomial import MultinomialResults
    from betahat.results.ordered import OrderedResults
    from betahat.results.quantile import QuantRegResults
    from betahat.results.robust import RLMResults
    from betahat.results.survival import PHRegResults

# The rows of the first table that a slim summary keeps.
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


def linear_content(results: LinearResults, alpha: float, slim: bool = False) -> Content:
    """Return what the summary of least squares says; a slim one has half of the first table, and no third."""
    kind = "" if results.k_constant else " (uncentered)"
    left: list[Any] = [
        ("Dep. Variable:", None),
        ("Model:", None),
        ("Method:", ["Least Squares"]),
        ("Date:", None),
        ("Time:", None),
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Covariance Type:", [results.cov_type]),
    ]
    right: list[Any] = [
        (f"R-squared{kind}:", [f"{results.rsquared:#8.3f}"]),
        *([] if results.fit.absorbed is None else [("R-squared (within):", [f"{results.rsquared_within:#8.3f}"])]),
        (f"Adj. R-squared{kind}:", [f"{results.rsquared_adj:#8.3f}"]),
        ("F-statistic:", [f"{results.fvalue:#8.4g}"]),
        ("Prob (F-statistic):", [f"{results.f_pvalue:#6.3g}"]),
        ("Log-Likelihood:", None),
        ("AIC:", [f"{results.aic:#8.4g}"]),
        ("BIC:", [f"{results.bic:#8.4g}"]),
    ]
    if slim:
        left = [row for row in left if row[0] in _SLIM]
        right = [row for row in right if row[0] in _SLIM]
        right += [("", [""])] * (len(left) - len(right))
    bottom = None if slim else residual_rows(results)
    return content(results, alpha, (left, right), numbered(linear_notes(results)), bottom=bottom)


def instrument_content(results: InstrumentResults, alpha: float) -> Content:
    """Return what the summary of a model with instruments says: that of least squares, without a likelihood and with the instruments."""
    kind = "" if results.k_constant else " (uncentered)"
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", [results._kind]),
        ("Method:", [results.method]),
        ("Date:", None),
        ("Time:", None),
        ("Covariance Type:", [results.cov_type]),
    ]
    right: Rows = [
        (f"R-squared{kind}:", [f"{results.rsquared:#8.3f}"]),
        *([] if results.fit.absorbed is None else [("R-squared (within):", [f"{results.rsquared_within:#8.3f}"])]),
        (f"Adj. R-squared{kind}:", [f"{results.rsquared_adj:#8.3f}"]),
        ("F-statistic:", [f"{results.fvalue:#8.4g}"]),
        ("Prob (F-statistic):", [f"{results.f_pvalue:#6.3g}"]),
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
    ]
    notes = [
        results.cov.note,
        f"Instruments: {', '.join(results.instruments)}; endogenous: {', '.join(results.endogenous)}",
        *notes_on_rows(results.fit),
    ]
    if not results.k_constant:
        notes.insert(0, "R² is computed without centering (uncentered) since the model does not contain a constant.")
    return content(results, alpha, (left, right), numbered(notes), bottom=residual_rows(results))


def discrete_content(results: DiscreteResults, alpha: float) -> Content:
    """Return what the summary of Logit, Probit and Poisson says."""
    return content(results, alpha, likelihood_rows(results), discrete_notes(results))


def likelihood_content(results: EquationsResults, alpha: float) -> Content:
    """Return what the summary of a model of several indices says, whose parameters are one table."""
    return content(results, alpha, likelihood_rows(results), bread_notes(results))


def glm_content(results: GLMResults, alpha: float) -> Content:
    """Return what the summary of a generalised linear model says."""
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", ["GLM"]),
        ("Model Family:", [results.model.family]),
        ("Link Function:", [results.model.link]),
        ("Method:", [results.method]),
        ("Date:", None),
        ("Time:", None),
        ("No. Iterations:", [f"{results.fit.diagnostics.iterations:d}"]),
        ("Covariance Type:", [results.cov_type]),
    ]
    right: Rows = [
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Scale:", [f"{results.scale:#8.5g}"]),
        ("Log-Likelihood:", [f"{results.llf:#8.5g}"]),
        ("Deviance:", [f"{results.deviance:#8.5g}"]),
        ("Pearson chi2:", [f"{results.pearson_chi2:#6.3g}"]),
        ("Pseudo R-squ. (CS):", [f"{results.pseudo_rsquared():#6.4g}"]),
    ]
    title = "Generalized Linear Model Regression Results"
    return content(results, alpha, (left, right), bread_notes(results), title=title)


def robust_content(results: RLMResults, alpha: float) -> Content:
    """Return what the summary of a robust regression says."""
    options = results.fit_options
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", [results._kind]),
        ("Method:", ["IRLS"]),
        ("Norm:", [options["norm"]]),
        ("Scale Est.:", [options["scale_est"]]),
        ("Cov Type:", [options["cov"]]),
        ("Date:", None),
        ("Time:", None),
        ("No. Iterations:", [f"{results.fit_history['iteration']:d}"]),
    ]
    right: Rows = [("No. Observations:", None), ("Df Residuals:", None), ("Df Model:", None)]
    note = (
        "If the model instance has been used for another fit with different fit parameters, then the fit options might not be the correct "
        "ones anymore ."
    )
    title = "Robust Linear Model Regression Results"
    return content(results, alpha, (left, right), [note], title=title)


def classes_content(results: MultinomialResults, alpha: float) -> Content:
    """Return what the summary of a multinomial model says."""
    classes = tuple(class_name(level) for level in results.model.levels[1:])
    return content(results, alpha, likelihood_rows(results), bread_notes(results), classes=classes)


def ordered_content(results: OrderedResults, alpha: float) -> Content:
    """Return what the summary of ordered categories says; statsmodels' does not name the covariance, which a note does where it is another."""
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", [results._kind]),
        ("Method:", ["Maximum Likelihood"]),
        ("Date:", None),
        ("Time:", None),
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
    ]
    right: Rows = [
        ("Log-Likelihood:", None),
        ("AIC:", [f"{results.aic:#8.4g}"]),
        ("BIC:", [f"{results.bic:#8.4g}"]),
    ]
    usual = results.cov_type == "nonrobust"
    notes = [*bread_notes(results), *([] if usual else [f"Standard errors are {results.cov_type}."])]
    return content(results, alpha, (left, right), notes, title="{} Results")


def censored_content(results: CensoredResults, alpha: float) -> Content:
    """Return what the summary of Tobit and AFT says, with how many rows are censored."""
    (left, right), (below, above) = likelihood_rows(results), results.n_censored
    right = [
        ("Sigma:", [f"{results.sigma:#6.4g}"]) if name == "Pseudo R-squ.:" else (name, shown) for name, shown in right
    ]
    censored: tuple[Rows, Rows] = [("Left-censored:", [f"{below:.0f}"])], [("Right-censored:", [f"{above:.0f}"])]
    return content(results, alpha, ([*left, *censored[0]], [*right, *censored[1]]), bread_notes(results))


def hazard_content(results: PHRegResults, alpha: float) -> HazardContent:
    """Return what the summary of proportional hazards says."""
    ways, found = results.cov.clusters, results._sizes
    said = {"Ties:": results.model.ties.capitalize(), "Sample size:": f"{found.informative:.0f}"}
    said["Num. events:"] = f"{results.n_events:.0f}"
    if len(ways) == 1:
        said |= group_rows(ways[0].count, ways[0].smallest, ways[0].largest, results.fit.given.nobs, "groups", "group")
    if found.strata:
        said |= group_rows(found.strata, found.smallest, found.largest, results.nobs, "strata", "stratum")
    notes = ["Confidence intervals are for the hazard ratios"]
    if found.without_events:
        strata = "1 stratum" if found.without_events == 1 else f"{found.without_events} strata"
        notes.append(f"{strata} dropped for having no events")
    if found.has_entries:
        one = found.late == 1
        notes.append(
            "1 observation has a positive entry time"
            if one
            else f"{found.late:.0f} observations have positive entry times"
        )
    if ways:
        notes.append("Standard errors account for dependence within groups")
    elif results.cov_type != "nonrobust":
        notes.append(f"Standard errors are {results.cov_type}")
    notes += bread_notes(results)
    named = named_model(results._kind, results.endog_name, results.fit.given.names)
    return HazardContent(named, said, results.coefficient_table(), results.interval_table(alpha), notes)


def general_content(results: GeneralResults, alpha: float) -> Content:
    """Return what the summary of a torch model or a row loss says, and how its numbers came about."""
    found, dispersion, title = results.diagnostics, results.fit.objective.dispersion, results.view.title
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", [title]),
        ("Loss:", [results.view.loss]),
        ("Method:", [dispersion.method.capitalize()]),
        ("Date:", None),
        ("Time:", None),
        ("Bread:", [found.bread]),
        ("Covariance Type:", [results.cov_type]),
    ]
    fitted: Rows = (
        [("Log-Likelihood:", None), ("AIC:", [f"{results.aic:#8.4g}"]), ("BIC:", [f"{results.bic:#8.4g}"])]
        if dispersion.likelihood
        else [("Summed loss:", [f"{results.loss:#8.5g}"]), ("", [""]), ("", [""])]
    )
    right: Rows = [
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
        ("Scale:", [f"{results.scale:#8.5g}" if dispersion.likelihood else ""]),
        *fitted,
        ("converged:", [str(found.converged) if found.converged else "as given"]),
    ]
    notes = [results.cov.note, *results.view.notes]
    if found.decrement > 1e-6:
        notes.append(f"The parameters are {found.decrement**0.5:.2g} standard errors from the optimum.")
    return content(results, alpha, (left, right), numbered(notes), kind=title, title="{} Results")


def moments_content(results: GMMResults, alpha: float) -> Content:
    """Return what the summary of estimating equations says: how they are weighed, and whether they agree."""
    found, view = results.diagnostics, results.view
    tested = results._tested
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", ["GMM"]),
        ("Moments:", [view.title]),
        ("Weights:", [view.weights if tested is not None else "none needed"]),
        ("Date:", None),
        ("Time:", None),
        ("Covariance Type:", [results.cov_type]),
    ]
    numbers: Rows = (
        [("", [""]), ("", [""])]
        if tested is None
        else [("Hansen J:", [f"{tested.statistic:#8.4g}"]), ("Prob (J):", [f"{tested.pvalue:#6.3g}"])]
    )
    right: Rows = [
        ("No. Observations:", None),
        ("No. Moments:", [str(view.count)]),
        ("Df Residuals:", None),
        ("Df Model:", None),
        *numbers,
        ("converged:", [str(found.converged) if found.converged else "as given"]),
    ]
    notes = [results.cov.note]
    if found.decrement > 1e-6:
        notes.append(f"The parameters are {found.decrement**0.5:.2g} standard errors from the solution.")
    return content(results, alpha, (left, right), numbered(notes), kind="GMM", title="{} Results")


def quantile_content(results: QuantRegResults, alpha: float) -> Content:
    """Return what the summary of a quantile regression says; several quantiles stand one below the other."""
    checks = results.fit.objective.checks
    left: Rows = [
        ("Dep. Variable:", None),
        ("Model:", ["QuantReg"]),
        ("Method:", ["Least Squares"]),
        ("Date:", None),
        ("Time:", None),
    ]
    numbers = [
        ("Pseudo R-squared:", results._pseudo),
        ("Bandwidth:", results._bandwidths),
        ("Sparsity:", results._sparsities),
    ]
    form = "#8.4g" if len(checks) == 1 else ".3g"
    right: Rows = [
        # a few have the room; `glance` has a row for each of many
        *((name, [" ".join(format(number, form) for number in found)]) for name, found in numbers if len(checks) <= 3),
        ("No. Observations:", None),
        ("Df Residuals:", None),
        ("Df Model:", None),
    ]
    notes = [] if results.cov_type in ("iid", "kernel") else [results.cov.note]
    smallest, condition = results._sizes
    if smallest < 1e-10:
        notes.append(
            f"The smallest eigenvalue is {smallest:6.3g}. This might indicate that there are\n"
            "strong multicollinearity problems or that the design matrix is singular."
        )
    elif condition > 1000:
        notes.append(
            f"The condition number is large, {condition:6.3g}. This might indicate that there are\n"
            "strong multicollinearity or other numerical problems."
        )
    classes = tuple(f"{check.q:.10g}" for check in checks) if results.fit.equations else ()
    return content(results, alpha, (left, right), notes, classes=classes, variable="q" if classes else "")


def residual_statistics(results: LinearResults) -> dict[str, str]:
    """Return what `summary2` says of the residuals."""
    found = results._residual_diagnostics
    return {
        "Omnibus:": f"{found.omnibus:.3f}",
        "Prob(Omnibus):": f"{found.omnibus_pvalue:.3f}",
        "Skew:": f"{found.skew:.3f}",
        "Kurtosis:": f"{found.kurtosis:.3f}",
        "Durbin-Watson:": f"{found.durbin_watson:.3f}",
        "Jarque-Bera (JB):": f"{found.jarque_bera:.3f}",
        "Prob(JB):": f"{found.jarque_bera_pvalue:.3f}",
        "Condition No.:": f"{results.condition_number:.0f}",
    }


def discrete_notes(results: DiscreteResults) -> list[str]:
    """Return the notes on separation and on the bread."""
    binary = results._loss.support.binary
    return [*(separation_notes(certain_share(results.fit)) if binary else []), *bread_notes(results)]


def bread_notes(results: MaximumLikelihoodResults) -> list[str]:
    """Return the sentences on absorbed effects, and on a bread that is not the usual one."""
    kind = results.fit.bread_kind
    own = [] if kind in results._usual_breads else [f"The bread of the covariance is {kind.value!r}."]
    return [*notes_on_rows(results.fit), *own]
