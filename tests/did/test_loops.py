"""Event studies are what dense matrices give: estimates, and standard errors by the sums of influence over clusters."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from support.closeness import close
from support.staggered import clustered, dummies, least_squares, panel

import betahat as bh

# Normal equations of some thirty columns, of conditions up to 1e3: twelve digits are left.
SAME = 1e-9
CR0 = bh.Cluster("state", kind="CR0")


def study(data, estimator, **options):
    return bh.event_study(data, "y", "unit", "year", "cohort", estimator=estimator, cov_type=CR0, **options)


def events(data, cohorts=(2004, 2006)):
    """The cohorts and event times of treated units, but for -1."""
    pairs = sorted(
        {(since, cohort) for since, cohort in zip(data.since, data.cohort, strict=True) if cohort in cohorts}
    )
    return [(since, cohort) for since, cohort in pairs if since != -1]


def check(found, names, estimates, errors):
    frame = found.tidy().set_index("term")
    close(frame.loc[names, "estimate"], estimates, SAME)
    close(frame.loc[names, "std.error"], errors, SAME)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, "w"])
def test_sun_and_abraham(gaps, weights):
    data = panel(gaps=gaps)
    cells = events(data)
    x = np.column_stack(
        [
            *(((data.since == e) & (data.cohort == g)).to_numpy(float) for e, g in cells),
            data.x,
            dummies(data.unit, data.year),
        ]
    )
    w = np.ones(len(data)) if weights is None else data.w.to_numpy()
    b, influence = least_squares(data.y.to_numpy(), x, w)
    sizes = np.array([w[(data.since == e) & (data.cohort == g)].sum() for e, g in cells])
    cov = clustered(influence, data.state)
    found = study(data, "sunab", controls="x", weights=weights)

    def average(chosen):
        r = np.zeros(x.shape[1])
        r[: len(cells)] = np.where(chosen, sizes, 0.0) / sizes[chosen].sum()
        return r @ b, np.sqrt(r @ cov @ r)

    times = np.array([e for e, _ in cells])
    for e in np.unique(times):
        check(found, [f"event::{e}"], *np.array([average(times == e)]).T)
    check(found.att(), ["ATT"], *np.array([average(times >= 0)]).T)
    for g in (2004, 2006):
        chosen = np.array([e >= 0 and own == g for e, own in cells])
        check(found.by_cohort(), [f"cohort::{g}"], *np.array([average(chosen)]).T)
    for t in (2004, 2007):
        chosen = np.array([e >= 0 and own + e == t for e, own in cells])
        check(found.by_time(), [f"time::{t}"], *np.array([average(chosen)]).T)


def stacked(data, second, w):
    """The two stages as one system of moments: estimates and (n, k) influence."""
    first, y = np.column_stack([dummies(data.unit, data.year), data.x]), data.y.to_numpy()
    bare = (data.treated == 0).to_numpy()
    bread = np.linalg.inv(first[bare].T @ (w[bare, None] * first[bare]))
    left = y - first @ (bread @ (first[bare].T @ (w[bare] * y[bare])))
    inner = np.linalg.inv(second.T @ (w[:, None] * second))
    b = inner @ (second.T @ (w * left))
    carried = first @ (bread @ first.T @ (w[:, None] * second))
    moments = second * (w * (left - second @ b))[:, None] - carried * (w * left * bare)[:, None]
    return b, moments @ inner


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, "w"])
def test_two_stages(gaps, weights):
    data = panel(gaps=gaps)
    w = np.ones(len(data)) if weights is None else data.w.to_numpy()
    found = study(data, "did2s", controls="x", weights=weights)
    kinds = {
        "event_study": {f"event::{e}": data.since == e for e in sorted({e for e, _ in events(data)})},
        "att": {"ATT": data.treated == 1},
        "by_cohort": {f"cohort::{g}": (data.treated == 1) & (data.cohort == g) for g in (2004, 2006)},
        "by_time": {f"time::{t}": (data.treated == 1) & (data.year == t) for t in range(2004, 2009)},
    }
    for kind, columns in kinds.items():
        b, influence = stacked(data, np.column_stack([c.to_numpy(float) for c in columns.values()]), w)
        cov = clustered(influence, data.state)
        check(getattr(found, kind)(), list(columns), b, np.sqrt(cov.diagonal()))
        if kind == "event_study":
            close(getattr(found, kind)().cov_params(), cov, SAME, unit=np.abs(cov).max())


def test_two_stages_with_formulas():
    data = panel(gaps=0.1)
    second = np.column_stack([data.treated, data.treated * data.z])
    b, influence = stacked(data, second, data.w.to_numpy())
    data["firm"] = data.unit.map("firm {}".format)
    found = bh.did2s(data, "y", "~ x | firm + year", "~ treated + treated:z", "treated", weights="w", cov_type=CR0)
    close(found.params, b, SAME)
    close(found.bse, np.sqrt(clustered(influence, data.state).diagonal()), SAME)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
def test_extended_two_way(gaps):
    """In a balanced panel without controls the estimates are those of the two stages, as both impute the same untreated outcomes."""
    data = panel(gaps=gaps)
    found, other = study(data, "etwfe"), study(data, "did2s")
    if not gaps:
        for kind in ("att", "by_cohort", "by_time"):
            close(getattr(found, kind)().params, getattr(other, kind)().params, SAME)
        after = [name for name in other.names if not name.startswith("event::-")]
        close(found.params, other.params[after], SAME)
    cells = [(g, t) for g in (2004, 2006) for t in range(g, 2009)]
    x = np.column_stack(
        [*(((data.year == t) & (data.cohort == g)).to_numpy(float) for g, t in cells), dummies(data.unit, data.year)]
    )
    b, influence = least_squares(data.y.to_numpy(), x)
    sizes = x[:, : len(cells)].sum(0)
    r = np.append(sizes / sizes.sum(), np.zeros(x.shape[1] - len(cells)))
    check(found.att(), ["ATT"], [r @ b], [np.sqrt(r @ clustered(influence, data.state) @ r)])


@pytest.mark.parametrize("unit", ["unit", None])
def test_extended_two_way_with_controls(unit):
    data = panel(gaps=0.1)
    about = (data.x - data.groupby("cohort").x.transform("mean")).to_numpy()
    cells = [(g, t) for g in (2004, 2006) for t in range(g, 2009)]
    own = np.column_stack([((data.year == t) & (data.cohort == g)).to_numpy(float) for g, t in cells])
    fixed = dummies(data.unit if unit else data.cohort, data.year)
    slopes = dummies(data.cohort, data.year) * data.x.to_numpy()[:, None]
    x = np.column_stack([own, own * about[:, None], fixed, slopes])
    b, influence = least_squares(data.y.to_numpy(), x)
    cov = clustered(influence, data.state)
    found = bh.event_study(data, "y", unit, "year", "cohort", estimator="etwfe", controls="x", cov_type=CR0)
    chosen = data.treated.to_numpy() == 1
    r = np.zeros(x.shape[1])
    r[: 2 * len(cells)] = x[chosen, : 2 * len(cells)].mean(0)
    check(found.att(), ["ATT"], [r @ b], [np.sqrt(r @ cov @ r)])
    first = (data.since == 0).to_numpy()
    r[: 2 * len(cells)] = x[first, : 2 * len(cells)].mean(0)
    check(found, ["event::0"], [r @ b], [np.sqrt(r @ cov @ r)])


def test_never_treated_controls_are_sun_and_abrahams():
    data = panel()
    found = study(data, "etwfe", control_group="never")
    other = study(data, "sunab")
    close(found.params, other.params, SAME)
    close(found.bse, other.bse, SAME)
    assert found.by_cell().names[0] == "cohort::2006:time::2001"


def test_two_way():
    data = panel(gaps=0.1)
    found = study(data, "twfe", controls="x")
    times = sorted({e for e, _ in events(data)})
    x = np.column_stack([*((data.since == e).to_numpy(float) for e in times), data.x, dummies(data.unit, data.year)])
    b, influence = least_squares(data.y.to_numpy(), x)
    cov = clustered(influence, data.state)
    check(found, [f"event::{e}" for e in times], b[: len(times)], np.sqrt(cov.diagonal()[: len(times)]))
    static = bh.ols("y ~ treated + x | unit + year", data).fit(CR0)
    check(found.att(), ["ATT"], [static.params["treated"]], [static.bse["treated"]])
    before = [i for i, e in enumerate(times) if e < 0]
    test = found.pretrends()
    close(test.statistic, b[before] @ np.linalg.solve(cov[np.ix_(before, before)], b[before]), 1e-8)
    assert test.df_num == len(before)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_the_pretest_of_two_stages(gaps):
    data = panel(gaps=gaps)
    found = study(data, "did2s")
    test = found.pretrends()
    before = [name for name in found.names if name.startswith("event::-")]
    b, cov = found.params[before], found.cov_params().loc[before, before]
    close(test.statistic, b @ np.linalg.solve(cov, b), 1e-8)
    assert isinstance(found.params, pd.Series)


@pytest.mark.parametrize("family", ["poisson", "logit"])
@pytest.mark.parametrize("controls", [None, "x"])
def test_means_that_are_no_linear_function(family, controls):
    """Averages of the mean less that without the treatment: statsmodels' fit, and derivatives by differences."""
    data = panel(units=240, gaps=0.05)
    rng = np.random.default_rng(7)
    index = -0.5 + 0.1 * (data.year - 2004) + 0.4 * data.treated + 0.2 * data.x
    data["y"] = (
        rng.poisson(np.exp(index)) if family == "poisson" else (rng.uniform(size=len(data)) < 1 / (1 + np.exp(-index)))
    )
    data["y"] = data.y.astype(float)
    cells = [(g, t) for g in (2004, 2006) for t in range(g, 2009)]
    own = np.column_stack([((data.year == t) & (data.cohort == g)).to_numpy(float) for g, t in cells])
    about = (data.x - data.groupby("cohort").x.transform("mean")).to_numpy()
    treatment = own if controls is None else np.column_stack([own, own * about[:, None]])
    fixed = dummies(data.cohort, data.year)
    x = np.column_stack([treatment, fixed, *([] if controls is None else [fixed * data.x.to_numpy()[:, None]])])
    kind = sm.families.Poisson() if family == "poisson" else sm.families.Binomial()
    fit = sm.GLM(data.y, x, family=kind).fit(tol=1e-13, maxiter=100)
    mean = kind.link.inverse
    b = fit.params.to_numpy()
    influence = x * (data.y.to_numpy() - mean(x @ b))[:, None]
    weight = mean(x @ b) * (1.0 if family == "poisson" else 1 - mean(x @ b))
    influence = influence @ np.linalg.inv(x.T @ (weight[:, None] * x))
    cov = clustered(influence, data.state)
    without = x.copy()
    without[:, : treatment.shape[1]] = 0.0

    def effect(b, rows):
        return (mean(x[rows] @ b) - mean(without[rows] @ b)).mean()

    found = bh.event_study(
        data, "y", "unit", "year", "cohort", estimator="etwfe", family=family, controls=controls, cov_type=CR0
    )
    for study, name, rows in (
        (found.att(), "ATT", data.treated == 1),
        (found, "event::1", data.since == 1),
        (found.by_cohort(), "cohort::2006", (data.cohort == 2006) & (data.treated == 1)),
    ):
        chosen = rows.to_numpy()
        steps = 1e-6 * np.eye(len(b))
        slope = np.array([(effect(b + step, chosen) - effect(b - step, chosen)) / 2e-6 for step in steps])
        frame = study.tidy().set_index("term").loc[name]
        close(frame["estimate"], effect(b, chosen), 1e-7)
        close(frame["std.error"], np.sqrt(slope @ cov @ slope), 1e-6)
    never = bh.event_study(
        data, "y", "unit", "year", "cohort", estimator="etwfe", family=family, control_group="never", cov_type=CR0
    )
    before = [name for name in never.names if name.startswith("event::-")]
    g, v = never.params[before], never.cov_params().loc[before, before]
    close(never.pretrends().statistic, g @ np.linalg.solve(v, g), 1e-7)
