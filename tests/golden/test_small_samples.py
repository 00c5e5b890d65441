"""Small-sample factors: ratios of R's own covariances, what fixest, reghdfe and plm are documented to count, and naive formulas."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import betahat as bh
from betahat.calculus.counts import Counts, EffectSize, Levels
from betahat.covariance.small_samples import (
    FULL,
    KINDS,
    PACKAGES,
    Convention,
    between,
    factor,
    free_by_output,
    mean_leverage,
)

# Ratios of numbers that R has printed with 15 digits, of sums that cancel to a tenth.
RATIO = 1e-10
# Products and quotients of a few numbers.
ROUNDING = 1e-13

GOLDEN = json.loads((Path(__file__).parent / "covariances.json").read_text())
RECORDS = {r["name"]: r for r in GOLDEN["records"]}

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),
    pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


# ratios of R's covariances


def _groups(r, e):
    columns = GOLDEN["datasets"][r["dataset"]]["columns"]
    return [len(set(columns[name])) for name in e.get("cluster") or ()]


def _ratios():
    """Return (record, R's corrected covariance, R's uncorrected one, the convention, G) of each pair that differs in the factor alone."""
    same = (
        "estimator",
        "cluster",
        "lag",
        "bw",
        "kernel",
        "prewhite",
        "aggregate",
        "order_by",
        "maxlag",
        "pairwise",
        "lag_used",
    )
    found = []
    for r in RECORDS.values():
        for plain in r["covariances"]:
            for e in r["covariances"]:
                if any(e.get(key) != plain.get(key) for key in same) or e.get("inverse_var") != plain.get(
                    "inverse_var"
                ):
                    continue
                which = (
                    plain["type"] if "type" in plain else plain.get("adjust"),
                    e["type"] if "type" in e else e.get("adjust"),
                )
                groups = _groups(r, e)
                match e["estimator"]:
                    case "vcovHC" if which == ("HC0", "HC1"):
                        found.append((r, e, plain, FULL, None))
                    case "vcovCL" if (
                        len(groups) == 1 and plain["type"] == "HC0" and not plain["cadjust"] and e["cadjust"]
                    ):
                        kind = {"HC0": "CR1", "HC1": "CR1S"}.get(e["type"])
                        if kind:
                            found.append((r, e, plain, KINDS[kind], groups[0]))
                    case "vcovCR" if which[0] == "CR0" and which[1] in ("CR1", "CR1p", "CR1S"):
                        found.append((r, e, plain, KINDS[which[1]], groups[0]))
                    case "NeweyWest" | "kernHAC" | "vcovHAC" | "vcovPL" if plain.get("adjust") is False and e.get(
                        "adjust"
                    ):
                        found.append((r, e, plain, FULL, None))
    return found


def test_ratios_of_covariances_of_r():
    """R's corrected covariance is the factor times its uncorrected one."""
    pairs = _ratios()
    for r, e, plain, convention, groups in pairs:
        counts = Counts(r["nobs"], len(r["coef"]["values"]))
        ratio = np.array(e["rows"]) / np.array(plain["rows"])
        assert np.median(ratio) == pytest.approx(factor(counts, convention, groups), rel=RATIO), (r["name"], e["call"])
    kinds = {(e["estimator"], e.get("type")) for _, e, *_ in pairs}
    assert {
        ("vcovHC", "HC1"),
        ("vcovCL", "HC0"),
        ("vcovCL", "HC1"),
        ("vcovCR", "CR1"),
        ("vcovCR", "CR1p"),
        ("vcovCR", "CR1S"),
    } <= kinds
    assert {name for name, _ in kinds} >= {"vcovPL", "NeweyWest"}
    assert len(pairs) > 100


# what packages are documented to count


def _k(counts, levels, nested=()):
    return counts.coefficients(levels, nested)


def test_fixest_counts():
    """The example of help(ssc): y ~ x | fe1 + fe2 of 3 and 5 levels, clustered by fe1; fe2 has 5 levels, two of which are redundant."""
    counts = Counts(10, 1, absorbed=(EffectSize(3), EffectSize(5)))
    assert _k(counts, Levels.NOT_NESTED, {0}) == 1 + 5
    assert _k(counts, Levels.NONE, {0}) == 1
    assert _k(counts, Levels.ALL, {0}) == 1 + 3 + 5 - 1
    exact = Counts(10, 1, absorbed=(EffectSize(3), EffectSize(5, redundant=2)))
    assert _k(exact, Levels.ALL, {0}) == 1 + 3 + 5 - 2
    # all effects nested: one for the intercept; rows that stand alone nest none
    assert _k(counts, Levels.NOT_NESTED, {0, 1}) == 1 + 1
    assert factor(counts, PACKAGES_CONVENTION["fixest"]) == pytest.approx(10 / (10 - 8), rel=ROUNDING)
    assert factor(counts, PACKAGES_CONVENTION["fixest"], nested={0}) == factor(counts, PACKAGES_CONVENTION["fixest"])


def _convention(name, *, linear=True):
    package = PACKAGES[name]
    kind = KINDS[package.linear if linear else package.other]
    return Convention(kind.coefficients, kind.clusters, package.levels, package.smallest)


PACKAGES_CONVENTION = {name: _convention(name) for name in PACKAGES}


def test_stata_counts():
    """`reghdfe y x1 x2, absorb(firm) vce(cluster firm)` and `xtreg, fe` have (N - 1) / (N - k - 1) G / (G - 1); a second effect its levels."""
    n, firms, years = 1000.0, 50, 8
    one = Counts(n, 2, absorbed=(EffectSize(firms),))
    expected = (n - 1) / (n - 2 - 1) * firms / (firms - 1)
    assert factor(one, PACKAGES_CONVENTION["stata"], firms, {0}) == pytest.approx(expected, rel=ROUNDING)
    two = Counts(n, 2, absorbed=(EffectSize(firms), EffectSize(years)))
    expected = (n - 1) / (n - 2 - years) * firms / (firms - 1)
    assert factor(two, PACKAGES_CONVENTION["stata"], firms, {0}) == pytest.approx(expected, rel=ROUNDING)
    # areg, and any model with dummies, counts them all
    expected = (n - 1) / (n - 2 - firms) * firms / (firms - 1)
    assert factor(one, PACKAGES_CONVENTION["sandwich"], firms, {0}) == pytest.approx(expected, rel=ROUNDING)
    # other models than least squares: G / (G - 1), in fixest the full factor
    assert factor(one, _convention("stata", linear=False), firms) == pytest.approx(firms / (firms - 1), rel=ROUNDING)
    assert factor(one, _convention("sandwich", linear=False), firms) == pytest.approx(firms / (firms - 1), rel=ROUNDING)
    assert _convention("fixest", linear=False) == PACKAGES_CONVENTION["fixest"]


def test_plm_and_xtscc_count():
    """plm's within model has n - N - k degrees of freedom; its "sss" leaves the effects out, and `xtscc, fe` T/(T-1) (n-1)/(n-N-k) has them."""
    n, units, k, periods = 816.0, 48, 4, 17
    counts = Counts(n, k, absorbed=(EffectSize(units),))
    assert counts.free == n - units - k
    none = Convention(levels=Levels.NONE)
    assert factor(counts, none, units) == pytest.approx(units / (units - 1) * (n - 1) / (n - k), rel=ROUNDING)
    full = Convention(levels=Levels.ALL)
    expected = periods / (periods - 1) * (n - 1) / (n - units - k)
    assert factor(counts, full, periods) == pytest.approx(expected, rel=ROUNDING)


def test_dummies_cost_what_absorbed_effects_do():
    """The model with dummies for firms has the rank, and the degrees of freedom, of the model that absorbs them."""
    rng = np.random.default_rng(0)
    firm, year = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    dummies = np.column_stack([*(firm == g for g in range(6)), *(year == t for t in range(1, 5))]).astype(float)
    x = rng.normal(size=(30, 2))
    res = bh.OLS(rng.normal(size=30), np.column_stack([x, dummies])).fit()
    absorbing = Counts(30, 2, absorbed=(EffectSize(6), EffectSize(5)))
    assert res.fit.counts.free == absorbing.free == res.df_resid
    assert mean_leverage(res.fit.counts) == mean_leverage(absorbing)


# naive formulas

RNG = np.random.default_rng(1)
N, G = 60, 12
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
Y = X @ [1.0, 0.5, -0.5] + RNG.normal(size=N)
UNIT, TIME = np.arange(N) % G, np.arange(N) // G


def _several_outputs():
    y = torch.as_tensor(np.column_stack([Y, RNG.normal(size=N)]))
    return bh.TorchModel(nn.Linear(2, 2).double(), nn.MSELoss(), torch.as_tensor(X[:, 1:]), y).fit("HC0")


MODELS = {
    "OLS": lambda: bh.OLS(Y, X).fit(),
    "collinear": lambda: bh.OLS(Y, np.column_stack([X, X[:, 1] - X[:, 2]])).fit(),
    "frequencies": lambda: bh.WLS(Y, X, weights=RNG.uniform(1, 2, N)).fit(),
    "Logit": lambda: bh.Logit((Y > 0) * 1.0, X, freq_weights=1 + np.arange(N) % 3).fit(),
    "several outputs": _several_outputs,
}


@pytest.mark.parametrize("name", MODELS)
def test_counts_of_a_fit(name):
    """n - k is the fit's, and each covariance is its naive factor times what has none."""
    res = MODELS[name]()
    counts = res.fit.counts
    n, k = float(res.nobs), res.fit.rank / res.fit.outputs
    assert counts.free == res.fit.df_resid == n - k
    of = {
        kind: np.asarray(res.with_cov(bh.Cluster(UNIT, kind)).cov_params()) for kind in ("CR0", "CR1", "CR1p", "CR1S")
    }
    naive = {"CR1": G / (G - 1), "CR1p": G / (G - k), "CR1S": G / (G - 1) * (n - 1) / (n - k)}
    for kind, expected in naive.items():
        np.testing.assert_allclose(of[kind], of["CR0"] * expected, rtol=ROUNDING)
    one, zero = (np.asarray(res.with_cov(c).cov_params()) for c in ("HC1", "HC0"))
    np.testing.assert_allclose(one, zero * n / (n - k), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("correction", "expected"), [("hac", N / (N - 3)), ("cluster", 5 / 4 * (N - 1) / (N - 3)), (None, 1.0)]
)
def test_periods(correction, expected):
    res = bh.OLS(Y, X).fit()
    plain, found = (res.with_cov(bh.DriscollKraay(TIME, 1, correction=c)).cov_params() for c in (None, correction))
    np.testing.assert_allclose(found, plain * expected, rtol=ROUNDING)


def test_smallest_of_several_ways():
    """With the smallest G all parts have one factor; each its own otherwise."""
    res = bh.OLS(Y, X).fit()
    parts = [np.asarray(res.with_cov(bh.Cluster(c, "CR0")).cov_params()) for c in (UNIT, TIME, np.arange(N))]
    whole = {
        multiway: res.with_cov(bh.Cluster([UNIT, TIME], "CR1", multiway)).cov_params() for multiway in ("each", "min")
    }
    own = [count / (count - 1) for count in (G, 5, N)]
    np.testing.assert_allclose(
        whole["each"], sum(s * f * v for s, f, v in zip((1, 1, -1), own, parts, strict=True)), rtol=1e-9
    )
    np.testing.assert_allclose(whole["min"], 5 / 4 * (parts[0] + parts[1] - parts[2]), rtol=1e-9)
    assert between([G, 5]) == 4.0


def test_outputs_share_the_coefficients():
    """Each output of a linear model has its own n - k."""
    counts = Counts(50, 6, outputs=2.0)
    found = free_by_output(counts, torch.tensor([3.0, 3.0], dtype=torch.float64))
    np.testing.assert_allclose(found, [47.0, 47.0], rtol=ROUNDING)
    assert counts.free == 47.0
