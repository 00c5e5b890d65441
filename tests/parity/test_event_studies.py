"""Event studies beside pyfixest's, on the data that it ships, and beside what R's did2s prints of them."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close

import betahat as bh

pf = pytest.importorskip("pyfixest")

SAME = 1e-9
# pyfixest takes the fixed effects of the first stage from an iterative solver that stops at 1e-8.
SOLVED = 2e-6


@pytest.fixture(scope="module")
def whole():
    data = pd.read_csv(Path(pf.__file__).parent / "did" / "data" / "df_het.csv")
    return data.assign(treat=data.treat.astype(bool), weights=1.0 + data.unit % 5)


@pytest.fixture(scope="module")
def data(whole):
    """A twelfth of the units, of both cohorts and of those never treated, over half the years."""
    return whole[(whole.unit % 12 == 0) & (whole.year >= 1996) & (whole.year <= 2013)].reset_index(drop=True)


def theirs(function, *given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*given, **options)


def by_time(result):
    """Their estimates and standard errors by event time, without the never treated."""
    table = result.tidy()
    times = {name: float(name.split("::")[1]) for name in table.index}
    kept = sorted((name for name in table.index if np.isfinite(times[name])), key=times.get)
    return [f"event::{times[name]:.0f}" for name in kept], table.loc[kept, ["Estimate", "Std. Error"]].to_numpy()


def ours(study, names):
    return study.tidy().set_index("term").loc[names, ["estimate", "std.error"]].to_numpy()


@pytest.mark.parametrize(("cluster", "weights"), [("unit", None), ("state", "weights")])
def test_did2s(data, weights, cluster):
    options = {"first_stage": "~ 0 | unit + year", "treatment": "treat", "cluster": cluster, "weights": weights}
    single = theirs(pf.did2s, data.copy(), yname="dep_var", second_stage="~ treat", **options).tidy()
    cov = bh.Cluster(cluster, kind="CR0")
    study = bh.event_study(data, "dep_var", "unit", "year", "g", estimator="did2s", cov_type=cov, weights=weights)
    close(ours(study.att(), ["ATT"]), single[["Estimate", "Std. Error"]].to_numpy(), SOLVED)
    own = bh.did2s(data, "dep_var", "~ 1 | unit + year", "~ treat", "treat", cov_type=cov, weights=weights)
    close([own.params.iloc[0], own.bse.iloc[0]], ours(study.att(), ["ATT"])[0], SAME)
    several = theirs(pf.did2s, data.copy(), yname="dep_var", second_stage="~ i(rel_year, ref=-1.0)", **options)
    names, true = by_time(several)
    assert names == list(study.names)
    close(ours(study, names), true, SOLVED, unit=np.abs(true).max(0) + 0 * true)
    finite = data.assign(since=data.rel_year.replace([np.inf, -np.inf], -1.0))
    formulas = bh.did2s(
        finite, "dep_var", "~ 1 | unit + year", "~ i(since, ref=-1)", "treat", cov_type=cov, weights=weights
    )
    close(formulas.bse, study.bse, SAME)


def test_did2s_with_a_control(data):
    data = data.assign(x=np.sin(np.arange(len(data))))
    options = {"first_stage": "~ x | unit + year", "treatment": "treat", "cluster": "unit"}
    single = theirs(pf.did2s, data.copy(), yname="dep_var", second_stage="~ treat", **options).tidy()
    study = bh.event_study(data, "dep_var", "unit", "year", "g", estimator="did2s", controls="x")
    assert study.cov_type == "CR0"
    close(ours(study.att(), ["ATT"]), single[["Estimate", "Std. Error"]].to_numpy(), SOLVED)


def test_what_r_prints(whole):
    """did2s in R, of its README: treat 2.152 (0.0476) with effects of states and years; to seven digits in pyfixest's own tests."""
    found = bh.did2s(
        whole,
        "dep_var",
        "~ 1 | state + year",
        "~ treat",
        "treat",
        cov_type=bh.Cluster("state", kind="CR0"),
    )
    close(found.params, [2.152215], 5e-7)
    close(found.bse, [0.047607], 2e-5)
    close(found.conf_int(), [[2.058905, 2.245524]], 5e-6)


@pytest.mark.parametrize("cluster", ["unit", "state"])
def test_sun_and_abraham(data, cluster):
    saturated = theirs(
        pf.event_study, data.copy(), "dep_var", "unit", "year", "g", estimator="saturated", cluster=cluster
    )
    table = saturated.aggregate()
    table = table[table.index != 0.0] if table.loc[0.0, "Std. Error"] == 0 else table
    study = bh.event_study(data, "dep_var", "unit", "year", "g", cov_type=bh.Cluster(cluster, correction="fixest"))
    names = [f"event::{time:.0f}" for time in table.index]
    assert set(names) == set(study.names)
    close(ours(study, names), table[["Estimate", "Std. Error"]].to_numpy(dtype=float), SAME)


def test_two_way(data):
    cov = bh.Cluster("unit", correction="fixest")
    study = bh.event_study(data, "dep_var", "unit", "year", "g", estimator="twfe", cov_type=cov)
    single = theirs(pf.event_study, data.copy(), "dep_var", "unit", "year", "g", estimator="twfe", att=True).tidy()
    close(ours(study.att(), ["ATT"]), single[["Estimate", "Std. Error"]].to_numpy(), SAME)
    own = data.assign(since=data.rel_year.replace([np.inf, -np.inf], -1.0))
    several = theirs(pf.feols, "dep_var ~ i(since, ref=-1.0) | unit + year", own, vcov={"CRV1": "unit"})
    names, true = by_time(several)
    close(ours(study, names), true, SAME)
