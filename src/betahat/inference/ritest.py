"""`ritest`: randomization inference for a coefficient of any model of regressors."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.bootstrap_plan import whole_number
from betahat.data.container import to_numpy
from betahat.data.design import Design
from betahat.data.progress import progress
from betahat.data.quiet import quiet
from betahat.errors import (
    BootstrapWarning,
    EstimationError,
    OptionError,
    counted,
    described,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.inference.experiment import Experiment, Fitted, is_in, read_experiment
from betahat.inference.partial_draws import Partial, partial_out, variance_of
from betahat.inference.randomization import Alternative, RandomizationTest, Statistic
from betahat.lazy import lazily
from betahat.saving.records import made

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Numbers in memory at once.
_HELD = 2**22
# The estimates of a refit of the data as they are differ from the results by this many standard errors at most.
_SAME = 1e-3
# Shares of draws that may fail before it is a warning, and an error.
_SOME_FAIL, _MOST_FAIL = 0.05, 0.5
_LARGEST_SEED = 2**63


def ritest(
    results: Any,
    variable: str,
    *,
    reps: int = 999,
    strata: Any = None,
    clusters: Any = None,
    seed: int | None = None,
    statistic: Statistic = "t",
    alternative: Alternative = "two-sided",
    coefficient: str | None = None,
    **fit_options: Any,
) -> RandomizationTest:
    """Test that a treatment has no effect on any unit, by the statistic of its coefficient under other random assignments of it.

    Parameters
    ----------
    results : Results
        Of a model of regressors, from a formula or from columns.
    variable : str
        What was assigned at random: a column of the formula's data, from which all terms that contain it are computed anew, or the
        name of a regressor.
    reps : int
        Random assignments. Where no more than these exist, each is taken once, and the p-value is exact.
    strata : str or vector, optional
        Within which units were assigned: the treatments of a stratum are exchanged among its own units.
    clusters : str or vector, optional
        Units that were assigned as one, such as schools; by default each row is a unit.
    seed : int, optional
        The assignments are a function of it alone; None takes one from the system.
    statistic : {"t", "coef"}
        The t statistic under the covariance of the results, or the coefficient.
    alternative : {"two-sided", "greater", "less"}
        Which statistics are as extreme: those of the same size, the larger or the smaller ones.
    coefficient : str, optional
        The coefficient whose statistic is taken; by default the variable's only one.
    **fit_options
        What the model's ``fit`` was called with beside the covariance, such as ``q=0.25``.

    Returns
    -------
    RandomizationTest
        With `pvalue`, its Monte Carlo `std_error` and `conf_int()`, and `draws`; `plot_ritest` draws it.

    Raises
    ------
    OptionError, DataError, EstimationError
        The variable is not in the model, or varies within clusters; no assignment differs from the actual one; the covariance cannot be
        computed in each draw.

    Warns
    -----
    BootstrapWarning
        More than a twentieth of the assignments have no estimate; they are left out.

    Notes
    -----
    The hypothesis is sharp: each unit's outcome would be the same under any assignment. With t statistics by a robust covariance the test is also valid
    in large samples for the hypothesis that the effect is zero on average. Least squares, also with absorbed effects, whose variable is one column,
    takes products of matrices for "nonrobust", HC0 to HC3 and clusters in one way; other models are fitted anew for each assignment.

    References
    ----------
    Fisher (1935), The Design of Experiments. Young (2019), Quarterly Journal of Economics 134(2). Wu and Ding (2021), JASA 116. Phipson
    and Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9(1). Stata and R: ``ritest``.

    Examples
    --------
    >>> import betahat as bh
    >>> tea = {"guess": [1, 1, 1, 0, 1, 0, 0, 0], "truth": [1, 1, 1, 1, 0, 0, 0, 0]}
    >>> bh.ritest(bh.ols("guess ~ truth", tea).fit(), "truth", alternative="greater")
    Randomization inference: t of truth = 1.4142, 8 units
    p = 0.2429, greater: 17 of all 70 assignments are as extreme
    The p-value is exact
    H0: truth has no effect on any unit
    """
    _check_options(results, variable, reps, seed, statistic, alternative)
    experiment = read_experiment(results, variable, strata, clusters)
    column = _coefficient_of(results, experiment, coefficient)
    if statistic == "t":
        _check_covariance(results.cov)
    assignments = experiment.assignments
    exhaustive = assignments.number() <= reps
    chosen = (secrets.randbits(32) if seed is None else int(seed)) if not exhaustive else None
    engine = _products(results, experiment, column, statistic) if not fit_options else None
    by_fits = engine is None
    if engine is None:
        engine = partial(_by_fits, results, experiment, column, statistic, fit_options)
    actual = float(engine(assignments.treatments[None])[0])
    observed = float(results.coefficient_table()[column, 0 if statistic == "coef" else 2])
    if by_fits:
        _check_same(results, column, statistic, actual, observed)
    every = assignments.every() if exhaustive else None
    count = int(reps) if every is None else len(every)
    step = max(_HELD // max(experiment.rows, 1), 1)
    parts = torch.split(torch.arange(count, device=assignments.treatments.device), step)
    found = [
        engine(assignments.draw(chosen or 0, some) if every is None else every[some])
        for some in progress(parts, "randomization")
    ]
    draws = to_numpy(torch.cat(found)) * (observed / actual if actual else 1.0)
    _check_failures(draws)
    return RandomizationTest(
        variable,
        results.names[column],
        statistic,
        observed,
        draws,
        exhaustive,
        alternative,
        assignments.units,
        assignments.varying,
        chosen,
    )


def _coefficient_of(results: Fitted, experiment: Experiment, coefficient: str | None) -> int:
    """Return the position of the coefficient whose statistic is looked at."""
    names, variable = results.names, experiment.variable
    if coefficient is not None:
        if not is_one_of(coefficient, names):
            raise OptionError(f"coefficient is {shown(coefficient)}; use one of {listed(names, limit=30)}.")
        column = names.index(coefficient)
    elif variable in names:
        column = names.index(variable)
    else:
        made_of = [i for i, name in enumerate(names) if is_in(variable, name)]
        if len(made_of) != 1:
            raise OptionError(
                f"{variable!r} makes {counted(len(made_of), 'coefficient')}; pass coefficient, one of {listed([names[i] for i in made_of] or names, limit=30)}."
            )
        (column,) = made_of
    if not np.isfinite(results.coefficient_table()[column, 2]):
        raise EstimationError(
            f"{names[column]!r} has no estimate, or no standard error, in these results, so there is nothing to compare with; test another coefficient."
        )
    return column


def _products(
    results: Fitted, experiment: Experiment, column: int, statistic: Statistic
) -> Callable[[Tensor], Tensor] | None:
    """Return what maps (R, units) treatments to (R,) statistics, up to a factor, by products of matrices; None where that takes a fit each."""
    fit = results.fit
    if not fit.objective.least_squares or fit.problem.penalty is not None or bool(fit.unidentified.any()):
        return None
    values = _one_column(results, experiment, column)
    variance = variance_of(results.cov.estimator, fit) if statistic == "t" else None
    if values is None or (statistic == "t" and variance is None):
        return None
    place = fit.coefficients.index(results.names[column])
    return partial(_by_products, partial_out(fit, place, variance), experiment.units, values)


def _by_products(least_squares: Partial, units: Tensor, values: Tensor, treatments: Tensor) -> Tensor:
    """Return (R,) statistics, with the (levels,) values that the column has under each treatment."""
    return least_squares.statistics(values[treatments[:, units]].mT.contiguous())


def _one_column(results: Fitted, experiment: Experiment, column: int) -> Tensor | None:
    """Return (levels,) the value of the regressor under each treatment, where the treatment makes this one column, row by row; None elsewhere."""
    design, variable = results.model.design, experiment.variable
    name = results.names[column]
    if experiment.frame is not None:
        touched = {term: columns for term, columns in (design.schema.terms or {}).items() if is_in(variable, term)}
        if len(touched) != 1:
            return None
        ((term, columns),) = touched.items()
        if term not in (variable, f"C({variable})") or len(columns) != 1 or design.names[columns[0]] != name:
            return None
    if name not in design.names or name not in results.fit.coefficients:
        return None
    values = design.exog[:, design.names.index(name)].to(torch.float64)
    treatments = experiment.assignments.treatments[experiment.units]
    found = values.new_zeros(len(experiment.levels)).index_copy_(0, treatments, values)
    return found if torch.equal(found[treatments], values) else None


def _by_fits(
    results: Fitted,
    experiment: Experiment,
    column: int,
    statistic: Statistic,
    options: dict[str, Any],
    treatments: Tensor,
) -> Tensor:
    """Return (R,) statistics of models that are fitted anew, NaN where there is no estimate."""
    estimator = results.cov.estimator if statistic == "t" else None
    found = []
    for exog in _regressors(results, experiment, treatments):
        model = _with_regressors(results.model, exog)
        try:
            with quiet():  # each assignment would warn of the same
                table = model.fit(cov_type=estimator, **options).coefficient_table()
        except EstimationError:
            found.append(float("nan"))
        else:
            found.append(float(table[column, 0 if statistic == "coef" else 2]))
    return torch.tensor(found, dtype=torch.float64)


def _regressors(results: Fitted, experiment: Experiment, treatments: Tensor) -> Iterator[Tensor]:
    """Yield (n, k) regressors under each of (R, units) treatments."""
    design, frame, levels = results.model.design, experiment.frame, experiment.levels
    for chosen in treatments[:, experiment.units]:
        if frame is None:
            exog = design.exog.clone()
            values = torch.tensor(np.array(levels)).to(exog)
            exog[:, design.names.index(experiment.variable)] = values[chosen]
        else:
            drawn = frame[experiment.variable].copy()
            drawn.iloc[experiment.in_use] = levels.take(to_numpy(chosen))
            whole = results.model.new_regressors(frame.assign(**{experiment.variable: drawn}))[0]
            exog = whole[torch.from_numpy(experiment.in_use).to(whole.device)].to(design.exog)
            if bool(torch.isnan(exog).any()):
                raise EstimationError(
                    f"The formula has missing values under other assignments of {experiment.variable!r}; leave transformations of it that drop rows out of the "
                    "formula."
                )
        yield exog


def _with_regressors(model: Any, exog: Tensor) -> Any:
    """Return the same model with other regressors."""
    parts = {name: getattr(model, name) for name in type(model).stored}
    return made(type(model), {**parts, "sample": model.design.replaced({"exog": exog})})


def _check_options(
    results: Any, variable: object, reps: object, seed: object, statistic: object, alternative: object
) -> None:
    """Refuse what is no result, and unknown options."""
    if not isinstance(results, Fitted) or not isinstance(getattr(results.fit, "given", None), Design):
        raise OptionError(
            f"ritest needs one result of a model of regressors, as returned by .fit(), with its rows, not {described(results)}."
        )
    if not isinstance(variable, str):
        raise OptionError(f"variable is {shown(variable)}; pass the name of what was assigned.")
    if not 1 <= (whole_number(reps) or 0) < _LARGEST_SEED:
        raise OptionError(f"reps is {shown(reps)}; pass a whole number of assignments, such as 999.")
    known = 0 if seed is None else whole_number(seed)
    if known is None or not 0 <= known < _LARGEST_SEED:
        raise OptionError(f"seed is {shown(seed)}; pass a whole number from 0 to 2^63 - 1, or None to have one drawn.")
    for option, value, words in (
        ("statistic", statistic, get_args(Statistic)),
        ("alternative", alternative, get_args(Alternative)),
    ):
        if not is_one_of(value, words):
            raise OptionError(f"{option} is {shown(value)}; use one of {listed(words)}.")


def _check_covariance(cov: Covariance) -> None:
    """Refuse covariances that are not computed anew for each assignment."""
    if cov.draws is not None or not isinstance(cov.estimator, Estimator):
        raise OptionError(
            f"statistic='t' needs the standard error under each assignment, and {cov.label} has none of its own; use statistic='coef', or another covariance, such as "
            "res.with_cov('HC1')."
        )


def _check_same(results: Fitted, column: int, statistic: Statistic, actual: float, observed: float) -> None:
    """Refuse a model that is fitted anew in another way than the results were."""
    unit = results.coefficient_table()[column, 1] if statistic == "coef" else max(1.0, abs(observed))
    if not abs(actual - observed) <= _SAME * unit:
        raise OptionError(
            f"Fitting the model anew gives {actual:.6g} for {results.names[column]!r}, where the results have {observed:.6g}; pass the options that fit was called "
            "with, such as q=0.25."
        )


def _check_failures(draws: np.ndarray) -> None:
    """Warn of assignments without an estimate, and refuse if they are most of them."""
    failed = int(np.isnan(draws).sum())
    sentence = f"{failed} of {len(draws)} assignments have no estimate: the other columns explain the treatment, or the model does not converge"
    remedy = "leave out columns that go with the treatment, or assign within coarser strata"
    if failed > _MOST_FAIL * len(draws):
        raise EstimationError(f"{sentence}; {remedy}.")
    if failed > _SOME_FAIL * len(draws):
        warnings.warn(f"{sentence}; they were left out; {remedy}.", BootstrapWarning, stacklevel=user_level())
