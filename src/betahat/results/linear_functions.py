"""Linear functions R b of the parameters: their covariance and their tests, as `Results` has them under statsmodels' names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from betahat.covariance.names import check_use_t
from betahat.errors import ClusterWarning, OptionError, check_flag, counted, is_number, listed, shown, user_level
from betahat.inference.distribution import Df
from betahat.inference.identified import check_identified, refuse_unidentified, tested_part
from betahat.inference.pair import Pair
from betahat.inference.variances import Variances
from betahat.inference.wald import TermTests, TTest, WaldTest, t_test
from betahat.lazy import lazily
from betahat.results.layout import Layout

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def covariance(
    pair: Pair, layout: Layout, r_matrix: Any, column: Any, scale: float | None, cov_p: Any, other: Any
) -> Any:
    """Hand out the (K, K) covariance, or (J, L) R V other', or that of some coefficients; see `Results.cov_params`."""
    if scale is not None and not (is_number(scale) and scale >= 0):
        raise OptionError(f"scale is {shown(scale)}; pass the errors' variance, a number.")
    if cov_p is not None:
        matrix = layout.read_covariance(cov_p)
    else:
        matrix = pair.cov.matrix if scale is None else scale * pair.fit.bread
    if column is not None:
        if r_matrix is not None or other is not None:
            raise OptionError("column cannot be combined with r_matrix or other; pass one of them.")
        where = layout.read_positions(column)
        return layout.container.plain(layout.expand_square(matrix)[where][..., where])
    if r_matrix is None:
        if other is not None:
            raise OptionError("other was given without r_matrix; pass both.")
        return layout.square(matrix)
    left = layout.read_restrictions(r_matrix)[0]
    right = left if other is None else layout.read_restrictions(other)[0]
    product = left @ matrix @ right.mT
    flat = [np.ndim(side) == 1 for side in (r_matrix, r_matrix if other is None else other)]
    return layout.container.plain(product[0 if flat[0] else ...][..., 0 if flat[1] else slice(None)])


def single_tests(pair: Pair, layout: Layout, r_matrix: Any, cov_p: Any, use_t: bool | None) -> TTest:
    """Test (J,) restrictions one by one; see `Results.t_test`."""
    check_use_t(use_t)
    matrix, values = layout.read_restrictions(r_matrix)
    check_identified(pair.fit.unidentified, matrix, layout.estimated)
    df: Df = pair.df_of(matrix) if use_t is None or pair.cov.small_sample is not None else pair.df_denom
    errors = _variances_under(pair, layout, cov_p).errors(matrix)
    without = ~(errors > 0)
    if bool(without.any()):
        none = counted(int(without.sum()), "restriction")
        _warn(
            f"{none} of {len(matrix)} have no variance under this covariance, and so no test: their statistics are NaN."
        )
    found = t_test(pair.fit.params, errors, None if use_t is False else df, matrix, values, layout.container)
    own = None if cov_p is not None else pair.own_pvalues(matrix, values)
    return found if own is None else replace(found, pvalues=own, inverted=partial(_inverted, pair, matrix))


def joint_test(pair: Pair, layout: Layout, r_matrix: Any, cov_p: Any, use_f: bool | None, *, scalar: bool) -> WaldTest:
    """Test restrictions jointly; see `Results.wald_test`."""
    if use_f is not None:
        check_flag("use_f", use_f)
    matrix, values = layout.read_restrictions(r_matrix)
    part = tested_part(pair.fit.unidentified, matrix, values, pair.fit.root)
    if part is None:
        refuse_unidentified(pair.fit.unidentified, matrix, layout.estimated)
    check_flag("scalar", scalar)
    under = None if cov_p is None else _variances_under(pair, layout, cov_p)
    found = pair.joint(*part, pair.use_t if use_f is None else use_f, under)
    if found.reason:
        _warn(f"There is no joint test of these restrictions: {found.reason}.")
    return found if scalar else replace(found, statistic=np.full((1, 1), found.statistic))


def term_tests(
    pair: Pair, layout: Layout, skip_single: bool, extra_constraints: Any, combine_terms: Any, scalar: bool
) -> TermTests:
    """Test each term of the formula; see `Results.wald_test_terms`."""
    check_flag("skip_single", skip_single)
    check_flag("scalar", scalar)
    parts = listed_in(combine_terms)
    if parts is None or not all(isinstance(part, str) for part in parts):
        raise OptionError(f"combine_terms is {shown(combine_terms)}; pass a list of parts of names, such as ['educ'].")
    extras = listed_in(extra_constraints)
    if extras is None or not all(isinstance(both, tuple | list) and len(both) == 2 for both in extras):
        raise OptionError(
            f"extra_constraints is {shown(extra_constraints)}; pass pairs, such as [('name', 'x1 = x2')]."
        )
    terms = layout.terms
    tests = [
        (name, pair.all_zero(columns))
        for name, columns in terms.items()
        if columns and (len(columns) > 1 or not skip_single)
    ]
    tests += [(part, pair.all_zero(_columns_of(part, terms))) for part in parts]
    tests += [(name, pair.joint_where_identified(*layout.read_restrictions(extra))) for name, extra in extras]
    reasons = dict.fromkeys(test.reason for _, test in tests if test.reason)
    for why in reasons:
        _warn(f"There is no test of {listed(name for name, test in tests if test.reason == why)}: {why}.")
    return TermTests(_table(tests, pair.use_t, scalar), "F" if pair.use_t else "chi2")


def listed_in(given: Any) -> list[Any] | None:
    """Return what is in a list of the user's, or None where it is no list; nothing is an empty one."""
    if given is None:
        return []
    try:
        return None if isinstance(given, str | bytes | Mapping) else list(given)
    except TypeError:
        return None


def _variances_under(pair: Pair, layout: Layout, cov_p: Any) -> Variances:
    """Return variances under a covariance of the user's, or those of the pair."""
    return pair.variances if cov_p is None else Variances(pair.fit.root, None, layout.read_covariance(cov_p))


def _inverted(pair: Pair, matrix: Tensor, alpha: float) -> Tensor:
    bounds = pair.own_interval(matrix, alpha)
    assert bounds is not None
    return bounds


def _columns_of(part: str, terms: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the columns of all terms that have a part in their names."""
    together = [column for name, columns in terms.items() if part in name for column in columns]
    if not together:
        raise OptionError(f"No term has {shown(part)} in its name; the terms are {listed(terms, limit=30)}.")
    return together


def _table(tests: Sequence[tuple[str, WaldTest]], use_t: bool, scalar: bool) -> pd.DataFrame:
    """Return a row for each test."""
    found = [test for _, test in tests]
    table = pd.DataFrame(
        {
            "statistic": [test.statistic if scalar else np.full((1, 1), test.statistic) for test in found],
            "pvalue": [test.pvalue for test in found],
            "df_constraint": [int(test.df_num) for test in found],
        },
        index=[name for name, _ in tests],
    )
    if use_t:
        table["df_denom"] = [test.df_denom for test in found]
    return table


def _warn(sentence: str) -> None:
    warnings.warn(sentence, ClusterWarning, stacklevel=user_level())
