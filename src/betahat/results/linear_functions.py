"""Linear functions R b of the parameters: their covariance and their tests, as `Results` has them under statsmodels' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import OptionError, check_flag, is_number, listed, shown
from betahat.inference import restrictions
from betahat.inference.pair import Pair
from betahat.inference.variances import Variances
from betahat.inference.wald import TermTests, TTest, WaldTest
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
        matrix = pair.cov.matrix if scale is None else scale * (pair.fit.root @ pair.fit.root.mT)
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
    matrix, values = layout.read_restrictions(r_matrix)
    under = _variances_under(pair, layout, cov_p)
    return restrictions.single_tests(pair, matrix, values, layout.estimated, layout.container, use_t, under)


def joint_test(pair: Pair, layout: Layout, r_matrix: Any, cov_p: Any, use_f: bool | None, *, scalar: bool) -> WaldTest:
    """Test restrictions jointly; see `Results.wald_test`."""
    matrix, values = layout.read_restrictions(r_matrix)
    under = _variances_under(pair, layout, cov_p)
    return restrictions.joint_test(pair, matrix, values, layout.estimated, use_f, scalar, under)


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
        restrictions.warn_untested(
            f"There is no test of {listed(name for name, test in tests if test.reason == why)}: {why}."
        )
    return TermTests(_table(tests, pair.use_t, scalar), "F" if pair.use_t else "chi2")


def listed_in(given: Any) -> list[Any] | None:
    """Return what is in a list of the user's, or None where it is no list; nothing is an empty one."""
    if given is None:
        return []
    try:
        return None if isinstance(given, str | bytes | Mapping) else list(given)
    except TypeError:
        return None


def _variances_under(pair: Pair, layout: Layout, cov_p: Any) -> Variances | None:
    """Return variances under a covariance of the user's; None for those of the pair."""
    return None if cov_p is None else Variances(pair.fit.root, None, layout.read_covariance(cov_p))


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
