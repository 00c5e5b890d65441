"""Every covariance with effects absorbed is that of the regression with their dummies."""

import numpy as np
import pytest
from support.absorbed import panel
from support.closeness import close, close_to_largest, close_to_one, same_covariance

import betahat as bh

# Two ways of projecting, each to 1e-10 of what is projected; most are sums, to rounding.
PROJECTED = 1e-9

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _slopes(res, names=("x", "z")):
    """The results' (2,) coefficients and (2, 2) covariance of some regressors."""
    return res.params[list(names)], res.cov_params().loc[list(names), list(names)]


def _dummies(effects):
    """The dummies of effects, as a formula writes them."""
    parts = []
    for effect in effects.split(" + "):
        name, _, variable = effect.partition("[")
        slope = f"C({name}):{variable.strip('[]')}"
        parts += [slope] if variable.startswith("[") else [f"C({name})", slope] if variable else [f"C({name})"]
    return " + ".join(parts)


CLUSTERS = ("firm", "region", "year", "state")
ALL_COVARIANCES = {
    **{kind: kind for kind in ("nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5", "jackknife")},
    "fixed scale": bh.FixedScale(2.0),
    "OPG": bh.OPG(),
    **{
        f"{kind} of {way}s": bh.Cluster(way, kind)
        for way in CLUSTERS
        for kind in ("CR0", "CR1", "CR2", "CR3", "jackknife")
    },
    "CR2, inverse weights": bh.Cluster("region", "CR2", target="inverse_weights"),
    "two ways": bh.Cluster(["firm", "year"], correction="sandwich"),
    "CR2 in two ways": bh.Cluster(["region", "state"], "CR2"),
    "HAC": bh.HAC(3, time="place"),
    "HAC, corrected": bh.HAC(3, kernel="parzen", time="place", correction=True),
    "Driscoll and Kraay": bh.DriscollKraay("year", 2, correction="hac"),
    "Conley": bh.Conley("latitude", "longitude", 100.0),
    **{kind: bh.Bootstrap(20, kind, seed=1) for kind in ("bayesian", "score", "wild", "residual", "parametric")},
    **{f"{kind} of states": bh.Bootstrap(20, kind, clusters="state", seed=1) for kind in ("bayesian", "score")},
    **{
        f"WC{'R' if null else 'U'}{variant}": bh.Bootstrap(
            99, "wild", clusters="state", variant=variant, null=null, seed=1
        )
        for variant in ("11", "13", "31", "33")
        for null in (True, False)
    },
    **{
        f"WCR{variant} of firms": bh.Bootstrap(49, "wild", clusters="firm", variant=variant, seed=1)
        for variant in ("11", "33")
    },
}


@pytest.fixture(scope="module")
def fits():
    rng, found = np.random.default_rng(3), {}
    frame = panel(140, seed=1)
    frame["latitude"], frame["longitude"] = rng.uniform(0, 5, (2, len(frame)))
    frame["place"], frame["v"] = rng.permutation(len(frame)), rng.normal(size=len(frame))

    def fit(effects, weighted):
        if (effects, weighted) not in found:
            pair = (f"y ~ x + z | {effects}", f"y ~ x + z + {_dummies(effects)}")
            models = (bh.wls(f, frame, weights="w") if weighted else bh.ols(f, frame) for f in pair)
            found[effects, weighted] = tuple(model.fit() for model in models)
        return found[effects, weighted]

    return fit


@pytest.mark.slow
@pytest.mark.parametrize("label", ALL_COVARIANCES)
@pytest.mark.parametrize("effects", ["firm", "firm + year + state", "firm[v] + year"])
@pytest.mark.parametrize("weighted", [False, True])
def test_covariances_are_those_of_the_dummies(fits, label, effects, weighted):
    found, true = (res.with_cov(ALL_COVARIANCES[label]) for res in fits(effects, weighted))
    coefficients, covariance = _slopes(true)
    close_to_largest(found.params, coefficients, PROJECTED)
    same_covariance(found.cov_params(), covariance, PROJECTED, label)
    close(found.pvalues, true.pvalues[["x", "z"]], PROJECTED, unit=1.0)
    close_to_one(found.conf_int(), true.conf_int().loc[["x", "z"]], PROJECTED)


@pytest.mark.parametrize("effects", ["firm", "firm + year"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_those_of_the_dummies(fits, effects, weighted):
    found, true = fits(effects, weighted)
    for name in ("resid", "wresid", "fittedvalues", "resid_pearson"):
        close_to_largest(getattr(found, name), getattr(true, name), PROJECTED, name)
    for name in ("ssr", "scale", "rsquared", "rsquared_adj", "llf", "aic", "bic", "df_resid", "centered_tss"):
        close_to_one(getattr(found, name), getattr(true, name), PROJECTED, name)
    one, other = found.get_influence(), true.get_influence()
    for name in ("hat_matrix_diag", "resid_studentized_internal", "resid_studentized_external", "resid_press"):
        close_to_largest(getattr(one, name), getattr(other, name), PROJECTED, name)
    close_to_largest(one.dfbeta, other.dfbeta[["x", "z"]], PROJECTED)


def test_the_jackknife_without_a_firm_leaves_its_dummy_out(fits):
    """Beside dummies it is not defined, and CR3 is."""
    found, _ = fits("firm + year", False)
    whole = found.with_cov(bh.Jackknife("firm", center="estimate", correction=False)).cov_params()
    same_covariance(whole, found.with_cov(bh.Cluster("firm", "CR3")).cov_params(), PROJECTED)
