"""A small panel with staggered treatment, whose effects differ by cohort and grow, and dense matrices of its regressions."""

import numpy as np
import pandas as pd


def panel(seed=3, units=24, periods=8, gaps=0.0):
    """Units of cohorts 4, 6 and never (0), in 11 states; `gaps` is the share of rows that are missing."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), periods)
    year = np.tile(np.arange(2001, 2001 + periods), units)
    cohort = np.array([2004, 2006, 0])[unit % 3]
    since = np.where(cohort > 0, year - cohort, -99)
    x = rng.normal(size=len(unit)) + 0.3 * unit % 2
    data = pd.DataFrame(
        {
            "unit": unit,
            "year": year,
            "cohort": cohort,
            "state": unit % 11,
            "x": x,
            "z": rng.normal(size=units)[unit],
            "w": rng.integers(1, 4, len(unit)).astype(float),
            "treated": (since >= 0).astype(float),
            "since": since,
        }
    )
    data["y"] = (
        0.4 * unit
        + 0.1 * (year - 2000) ** 1.5
        + 0.5 * x
        + data.treated * (1.0 + 0.5 * since * (cohort == 2004) + 0.2 * data.z)
        + rng.normal(size=len(unit))
    )
    return data[rng.uniform(size=len(unit)) >= gaps].reset_index(drop=True)


def dummies(*labels):
    """(n, L) a column for each label of each vector, the first label of all but the first vector left out."""
    parts = [pd.get_dummies(pd.Series(label)).to_numpy(float)[:, 1 if i else 0 :] for i, label in enumerate(labels)]
    return np.column_stack(parts)


def least_squares(y, x, w=None):
    """(k,) coefficients and (n, k) influence, by the normal equations of all columns."""
    w = np.ones(len(y)) if w is None else w
    bread = np.linalg.inv(x.T @ (w[:, None] * x))
    b = bread @ (x.T @ (w * y))
    return b, (x * (w * (y - x @ b))[:, None]) @ bread


def clustered(influence, labels):
    """(k, k) the sum of the outer products of the clusters' sums."""
    sums = pd.DataFrame(influence).groupby(np.asarray(labels)).sum().to_numpy()
    return sums.T @ sums
