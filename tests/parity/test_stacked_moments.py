"""Differences in differences in two stages, stacked, against pyfixest's did2s on the data set of did2s."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyfixest
import pytest
import torch

import betahat as bh

# Both are least squares of both stages, and sums over clusters of closed forms.
EXACT = 1e-8

HETEROGENEOUS = pd.read_csv(Path(pyfixest.__file__).parent / "did" / "data" / "df_het.csv")
# A unit in thirty, of all states and groups: the dummies of the first stage are columns.
FRAME = HETEROGENEOUS[HETEROGENEOUS.unit % 30 == 0].reset_index(drop=True)
FRAME["treat"] = FRAME["treat"].astype(float)
UNITS, YEARS = np.unique(FRAME["unit"]), np.unique(FRAME["year"])[1:]
DUMMIES = np.column_stack([FRAME["unit"].to_numpy()[:, None] == UNITS, FRAME["year"].to_numpy()[:, None] == YEARS])


def two_stages(effects, att, D, treat, X, y):
    left = y - D @ effects
    return torch.cat([D * ((1 - treat) * left)[:, None], X * (left - X @ att)[:, None]], 1)


def stacked(regressors):
    data = {"D": DUMMIES.astype(float), "treat": FRAME["treat"], "X": regressors, "y": FRAME["dep_var"]}
    start = {"effects": np.zeros(DUMMIES.shape[1]), "att": np.zeros(regressors.shape[1])}
    model = bh.GMM(two_stages, start, {name: np.asarray(column, float) for name, column in data.items()})
    return model.fit(bh.Cluster(FRAME["state"].to_numpy(), "CR0"))


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::betahat.ClusterWarning"
)
@pytest.mark.parametrize("second", ["treat", "event study"])
def test_did2s(second):
    formula = "~ treat"
    regressors = FRAME[["treat"]].to_numpy()
    if second == "event study":
        years = sorted(set(FRAME["rel_year"]) - {-1.0, np.inf})
        regressors = FRAME["rel_year"].to_numpy()[:, None] == years
        regressors = regressors[:, regressors.any(0)].astype(float)
        formula = "~ i(rel_year, ref=-1.0)"
    data = FRAME.assign(rel_year=FRAME["rel_year"].replace(np.inf, -1.0))
    theirs = pyfixest.did2s(
        data, yname="dep_var", first_stage="~ 0 | unit + year", second_stage=formula, treatment="treat", cluster="state"
    )
    ours = stacked(regressors)
    count = regressors.shape[1]
    found = pd.DataFrame({"b": ours.params[-count:], "se": ours.bse[-count:]})
    expected = pd.DataFrame({"b": theirs.coef(), "se": theirs.se()}).drop("Intercept", errors="ignore")
    seen = (
        expected["b"].abs() > EXACT
    ).to_numpy()  # the first year of a group that the first stage fits exactly is zero to rounding
    assert seen.sum() >= count - 1
    np.testing.assert_allclose(found.to_numpy()[seen], expected.to_numpy()[seen], rtol=EXACT)
