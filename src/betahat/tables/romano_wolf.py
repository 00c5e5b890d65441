"""`romano_wolf`: one hypothesis in each of several models, tested together by a bootstrap that draws the same units in all of them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.covariance.bootstrap import Bootstrap
from betahat.covariance.bootstrap_kinds import KindName
from betahat.covariance.partitions import group_of
from betahat.data.container import to_numpy
from betahat.data.design import Design
from betahat.data.sample import Sample
from betahat.errors import OptionError, described
from betahat.fits.fit import Fit
from betahat.inference.joint import rows_of_fit, same_rows
from betahat.inference.multiple import NullDraws
from betahat.lazy import lazily
from betahat.tables.adjusted import Adjust, Family, adjusted, joint_of
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.columns import Results, read_columns
from betahat.tables.estimates import about, full_name
from betahat.tables.foreign import Foreign
from betahat.tables.numbers import number_format
from betahat.tables.table import Table
from betahat.tables.terms import Rename, Terms, choose, renamed

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def romano_wolf(
    results: Results,
    keep: Terms,
    *,
    reps: int = 999,
    kind: KindName | None = None,
    clusters: str | None = None,
    seed: int | None = None,
    rename: Rename | None = None,
    digits: int | None = None,
) -> Table:
    """Test coefficients of several models together: their own p-values beside those of Romano and Wolf, which hold for all at once.

    Parameters
    ----------
    results : sequence or mapping of Results
        The models, such as one for each outcome; the keys of a mapping name them, otherwise their dependent variables do.
    keep : str, re.Pattern, or several of them
        The coefficients that are tested: ``"treated"``.
    reps : int
        Replicates of the bootstrap.
    kind : str, optional
        That of `Bootstrap`. None is "wild" for least squares with clusters, whose draws impose each hypothesis, and "pairs" for other models.
    clusters : str, optional
        The column of clusters that stay together; None takes those of the results' own covariance.
    seed : int, optional
        The draws are a function of it alone; None takes one from the system, which the note reports.
    rename : mapping, optional
        As in `regtable`, of models and coefficients.
    digits : int, optional
        Decimals of all numbers.

    Returns
    -------
    Table
        A row for each hypothesis: coefficient, standard error, the p-value of the results as they are, that of the bootstrap for this hypothesis alone, and
        Romano and Wolf's.

    Raises
    ------
    OptionError, DataError, EstimationError
        No coefficient of this name; clusters that are not known by a name; rows that differ and have no labels to match them by.

    Notes
    -----
    Replicate r draws the same rows, or clusters, in all models, so that their dependence is kept; where outcomes are missing in different rows, it draws
    among all rows, and each model has those that it has. t statistics are centred at the estimates, divided by the standard error of each
    replicate where its kind has one, and step down from the largest. ``regtable(adjust=Adjust("romano-wolf", across=True))`` does the same in a table of models whose
    covariances are bootstraps of the same rows.

    References
    ----------
    Romano and Wolf (2005), Econometrica 73(4); (2016), Statistics and Probability Letters 113. Clarke, Romano and Wolf (2020), Stata Journal
    20(4). Stata: ``rwolf``. R: ``wildrwolf``.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {
    ...     "x": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
    ...     "a": [1.0, 3.0, 2.0, 4.0, 1.5, 3.5, 2.0, 3.0],
    ... }
    >>> data["b"] = [2.0, 2.5, 1.0, 2.0, 3.0, 2.0, 1.0, 2.5]
    >>> models = [bh.ols(f"{outcome} ~ x", data).fit("HC1") for outcome in ("a", "b")]
    >>> bh.romano_wolf(models, "x", reps=199, seed=1).to_frame().round(3)
         coef  std err  P>|z|  bootstrap  Romano-Wolf
    a x  1.75    0.339  0.000      0.030        0.107
    b x  0.50    0.500  0.317      0.421        0.421
    """
    read = read_columns(results, None, None, "romano_wolf")
    columns, names = read.results, read.names or tuple(result.endog_name for result in read.results)
    for result in columns:
        if isinstance(result, Foreign) or not isinstance(getattr(getattr(result, "fit", None), "given", None), Design):
            raise OptionError(
                f"romano_wolf fits each model anew, so it needs results of models of regressors, with their rows, not {described(result)}."
            )
    chosen = set(choose(list(dict.fromkeys(name for result in columns for _, name in result.equation_terms)), keep))
    bootstraps = _bootstraps(columns, reps, kind, clusters, seed)
    drawn = [result.with_cov(own) for result, own in zip(columns, bootstraps, strict=True)]
    found, _ = adjusted(drawn, drawn, Adjust("romano-wolf", keep=keep, across=True))
    first: Any = drawn[0]
    rows, lines = [], []
    shown = number_format(digits, None, None)
    for name, result, one, joint in zip(names, columns, drawn, found, strict=True):
        table, together = result.coefficient_table(), joint.coefficient_table()
        terms = [name for _, name in result.equation_terms]
        tested = ~np.isnan(together[:, 3]) & np.array([name in chosen - about(result).single for name in terms])
        family = Family(one, one, together, np.flatnonzero(tested))
        for place, single in zip(family.places.tolist(), _alone(family), strict=True):
            values = [*table[place, [0, 1, 3]], single, together[place, 3]]
            term = full_name(result.equation_terms[place])
            rows.append(((renamed(str(name), rename), renamed(term, rename)), values))
            cells = [Cell(shown(value), decimal=True) for value in values]
            lines.append(Line(f"{rows[-1][0][0]}: {rows[-1][0][1]}", tuple(cells)))
    letters = sorted({"t" if result.use_t else "z" for result in columns})
    heads = ["coef", "std err", f"P>|{' or '.join(letters)}|", "bootstrap", "Romano-Wolf"]
    index = pd.MultiIndex.from_tuples([key for key, _ in rows])
    frame = pd.DataFrame([values for _, values in rows], index=index, columns=heads)
    layout = Layout(
        "Hypotheses tested together",
        heads=(plain(heads),),
        body=(Block("", tuple(lines)),),
        foot=(),
        notes=(
            "P-values by the results' own covariances, by the bootstrap for each hypothesis alone, and by Romano and Wolf's method for all "
            f"{len(rows)} together.",
            f"Draws are of {first.cov.note.removeprefix('Standard Errors are by ')}.",
        ),
        marks_note="",
    )
    return Table(frame, layout)


def _alone(family: Family) -> np.ndarray:
    """Return (m,) p-values of the hypotheses of a family one by one."""
    if not len(family.places):
        return np.empty(0)
    joint = joint_of(family.result)
    draws = joint.studentised(family.among(joint))
    parts = [
        NullDraws(draws.statistics[i : i + 1], draws.draws[:, i : i + 1], draws.exhaustive)
        for i in range(len(draws.statistics))
    ]
    return np.array([float(part.single_step()) for part in parts])


def _bootstraps(
    columns: Sequence[Any], reps: int, kind: KindName | None, clusters: str | None, seed: int | None
) -> list[Bootstrap]:
    """Return the bootstrap of each model, which draw the same units."""
    seed = secrets.randbits(32) if seed is None else seed
    fits: list[Fit] = [result.fit for result in columns]
    known = {way.column for result in columns for way in result.cov.clusters}
    if clusters is None and known:
        if len(known) > 1 or "" in known:
            raise OptionError(
                "romano_wolf draws the clusters of the results' covariances, and these are several, or have no name; pass clusters, the name of one column."
            )
        (clusters,) = known
    squares = all(fit.objective.least_squares and fit.instruments is None for fit in fits)
    own: KindName = "wild" if clusters is not None and squares else "pairs"
    chosen = own if kind is None else kind
    if clusters is None:
        rows = [rows_of_fit(fit) for fit in fits]
        if all(same_rows(rows[0], other) for other in rows):
            return [Bootstrap(reps, chosen, seed)] * len(fits)
        labels = _labels_of_rows(rows)
        everyone = np.unique(np.concatenate(labels))
        return [Bootstrap(reps, chosen, seed, clusters=each, among=everyone) for each in labels]
    each = [group_of(fit, clusters, "clusters").labels for fit in fits]
    if all(each[0].equals(other) for other in each):
        return [Bootstrap(reps, chosen, seed, clusters)] * len(fits)
    among = np.concatenate([labels.to_numpy() for labels in each])
    return [Bootstrap(reps, chosen, seed, clusters, among=among)] * len(fits)


def _labels_of_rows(rows: Sequence[Sample]) -> list[np.ndarray]:
    """Return what tells the rows of several samples apart: their labels, or their places in data of one length."""
    labels = [sample.container.row_labels for sample in rows]
    if all(own is not None and own.is_unique for own in labels):
        return [np.asarray(own) for own in labels]
    if len({sample.user_data.rows for sample in rows}) > 1:
        raise OptionError(
            "The models have other rows, and no labels tell which rows are the same; pass clusters, a column that does, or leave rows with missing values out of all of them."
        )
    places = [sample.user_data.in_use for sample in rows]
    return [np.arange(sample.rows) if own is None else to_numpy(own) for sample, own in zip(rows, places, strict=True)]
