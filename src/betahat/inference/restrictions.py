"""Tests of linear restrictions R b = q on what a `Pair` holds: one by one, or jointly."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from betahat.covariance.names import check_use_t
from betahat.data.container import Container
from betahat.errors import ClusterWarning, check_flag, counted, user_level
from betahat.inference.distribution import Df
from betahat.inference.identified import check_identified, refuse_unidentified, tested_part
from betahat.inference.pair import Pair
from betahat.inference.variances import Variances
from betahat.inference.wald import TTest, WaldTest, t_test


def single_tests(
    pair: Pair,
    matrix: Tensor,
    values: Tensor,
    names: Sequence[str],
    container: Container,
    use_t: Any = None,
    under: Variances | None = None,
) -> TTest:
    """Test (J, k) and (J,) restrictions on numbers with (k,) names one by one, under other variances where some are given."""
    check_use_t(use_t)
    check_identified(pair.fit.unidentified, matrix, names)
    df: Df = pair.df_of(matrix) if use_t is None or pair.cov.small_sample is not None else pair.df_denom
    errors = (pair.variances if under is None else under).errors(matrix)
    without = ~(errors > 0)
    if bool(without.any()):
        none = counted(int(without.sum()), "restriction")
        warn_untested(
            f"{none} of {len(matrix)} have no variance under this covariance, and so no test: their statistics are NaN."
        )
    found = t_test(pair.fit.params, errors, None if use_t is False else df, matrix, values, container)
    own = None if under is not None else pair.own_pvalues(matrix, values)
    return found if own is None else replace(found, pvalues=own, inverted=partial(_inverted, pair, matrix))


def joint_test(
    pair: Pair,
    matrix: Tensor,
    values: Tensor,
    names: Sequence[str],
    use_f: Any = None,
    scalar: Any = True,
    under: Variances | None = None,
) -> WaldTest:
    """Test (J, k) and (J,) restrictions on numbers with (k,) names jointly, under other variances where some are given."""
    if use_f is not None:
        check_flag("use_f", use_f)
    check_flag("scalar", scalar)
    part = tested_part(pair.fit.unidentified, matrix, values, pair.fit.root)
    if part is None:
        refuse_unidentified(pair.fit.unidentified, matrix, names)
    found = pair.joint(*part, pair.use_t if use_f is None else use_f, under)
    if found.reason:
        warn_untested(f"There is no joint test of these restrictions: {found.reason}.")
    return found if scalar else replace(found, statistic=np.full((1, 1), found.statistic))


def warn_untested(sentence: str) -> None:
    """Warn of a test that there is not."""
    warnings.warn(sentence, ClusterWarning, stacklevel=user_level())


def _inverted(pair: Pair, matrix: Tensor, alpha: float) -> Tensor:
    bounds = pair.own_interval(matrix, alpha)
    assert bounds is not None
    return bounds
