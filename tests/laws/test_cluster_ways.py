"""Several ways are sums of one way; what covariances of one fit share; restrictions that repeat each other."""

import numpy as np
import pytest
from support.closeness import same_covariance
from support.clustered import FIRM, KINDS, MODELS, ORDER, OTHER, UNIT, YEAR, N, X, Y, collection, is_defined, matrix_of

import betahat as bh

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def clustered():
    """Every model's fit, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "MNLogit", "MEstimator"])
@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR1S", "CR2", "CR3", "jackknife"])
def test_several_ways_are_sums_of_one_way(kind, name, clustered):
    if not is_defined(name, kind):
        pytest.skip("no leverage")
    third = np.arange(N) % 9
    one = lambda labels: matrix_of(clustered[name], bh.Cluster(labels, kind))  # noqa: E731
    both = lambda a, b: a * 100 + b  # noqa: E731
    plain = one(UNIT) + one(OTHER) - one(both(UNIT, OTHER))
    if (np.linalg.eigvalsh(plain) > 0).all():
        same_covariance(matrix_of(clustered[name], bh.Cluster([UNIT, OTHER], kind)), plain, ROUNDING)
    values, vectors = np.linalg.eigh(plain)
    repaired = (vectors * values.clip(0)) @ vectors.T
    same_covariance(matrix_of(clustered[name], bh.Cluster([UNIT, OTHER], kind, psd="repair")), repaired, ROUNDING)
    same_covariance(matrix_of(clustered[name], bh.Cluster([OTHER, UNIT], kind, psd="repair")), repaired, ROUNDING)
    plain = plain + one(third) - one(both(UNIT, third)) - one(both(OTHER, third)) + one(both(both(UNIT, OTHER), third))
    values, vectors = np.linalg.eigh(plain)
    repaired = (vectors * values.clip(0)) @ vectors.T
    same_covariance(
        matrix_of(clustered[name], bh.Cluster([UNIT, OTHER, third], kind, psd="repair")), repaired, ROUNDING
    )


def test_nested_ways(clustered):
    """Where one way lies within another the coarse one is all there is."""
    coarse = UNIT // 2
    same_covariance(
        matrix_of(clustered["OLS"], bh.Cluster([UNIT, coarse], "CR0")),
        matrix_of(clustered["OLS"], bh.Cluster(coarse, "CR0")),
        ROUNDING,
    )
    same_covariance(
        matrix_of(clustered["OLS"], bh.Cluster([UNIT, UNIT], "CR2")),
        matrix_of(clustered["OLS"], bh.Cluster(UNIT, "CR2")),
        ROUNDING,
    )


def test_the_factors_of_other_packages(clustered):
    g = len(np.unique(OTHER))
    for name, linear in (("OLS", True), ("Logit", False)):
        res = clustered[name]
        plain = matrix_of(res, bh.Cluster([UNIT, OTHER], "CR0", psd="repair"))
        rows, few = (N - 1) / (N - 3), g / (g - 1)
        same_covariance(
            matrix_of(res, bh.Cluster([UNIT, OTHER], "CR1", multiway="min", psd="repair")), few * plain, ROUNDING
        )
        same_covariance(
            matrix_of(res, bh.Cluster([UNIT, OTHER], multiway="min", psd="repair")), few * rows * plain, ROUNDING
        )
        for correction, factor in (("fixest", few * rows), ("stata", few * rows if linear else few)):
            same_covariance(
                matrix_of(res, bh.Cluster([UNIT, OTHER], correction=correction, psd="repair")), factor * plain, ROUNDING
            )
        kind = bh.Cluster([UNIT, OTHER], "CR1S" if linear else "CR1", psd="repair")
        same_covariance(
            matrix_of(res, bh.Cluster([UNIT, OTHER], correction="sandwich", psd="repair")),
            matrix_of(res, kind),
            ROUNDING,
        )


# sharing a fit


def test_switching_does_not_refit(clustered, monkeypatch):
    res = clustered["Poisson"]

    def fail(*_, **__):
        raise AssertionError("a refit")

    monkeypatch.setattr("betahat.solvers.newton.newton", fail)
    monkeypatch.setattr("betahat.fits.refits.newton", fail)
    for name, estimator in collection(ORDER).items():
        other = res.with_cov(estimator)
        assert other.fit is res.fit, name
        np.testing.assert_array_equal(other.params, res.params)
    assert res.cov_type == "HC0"


@pytest.mark.parametrize("name", ["OLS", "Poisson", "MEstimator"])
def test_a_covariance_does_not_depend_on_those_before(name, clustered):
    """What one estimator leaves in the fit does not change what the next one finds."""
    for kind, estimator in [*collection(ORDER).items(), ("HAC", bh.HAC(3)), ("other", bh.Cluster(OTHER, "CR0"))]:
        if not is_defined(name, kind):
            continue
        fresh = MODELS[name](ORDER).fit(estimator)
        np.testing.assert_allclose(fresh.bse, clustered[name].with_cov(estimator).bse, rtol=ROUNDING, err_msg=kind)


def test_fits_by_name(clustered):
    """fit(cov_type=, cov_kwds=) and the estimators are two spellings."""
    pairs = [
        ("cluster", {"groups": UNIT}, bh.Cluster(UNIT)),
        ("cluster", {"groups": UNIT, "use_correction": False}, bh.Cluster(UNIT, "CR0")),
        ("cluster", {"groups": UNIT, "kind": "CR2"}, bh.Cluster(UNIT, "CR2")),
        ("cluster-crv3", {"groups": UNIT}, bh.Cluster(UNIT, "jackknife")),
        ("cluster-jk", {"groups": UNIT}, bh.Jackknife(UNIT)),
        ("HAC", {"maxlags": 3, "kernel": "uniform"}, bh.HAC(3, "truncated")),
        ("HAC", {"maxlags": 3, "use_correction": True}, bh.HAC(3, correction=True)),
        ("HAC", {"bandwidth": "andrews", "prewhiten": 1}, bh.HAC(bandwidth="andrews", prewhiten=1)),
        ("hac-panel", {"groups": FIRM, "time": YEAR, "maxlags": 2}, bh.PanelNeweyWest(FIRM, YEAR, 2)),
        ("hac-groupsum", {"time": YEAR, "maxlags": 2}, bh.DriscollKraay(YEAR, 2)),
    ]
    for cov_type, cov_kwds, estimator in pairs:
        found, true = bh.OLS(Y, X).fit(cov_type, cov_kwds), clustered["OLS"].with_cov(estimator)
        np.testing.assert_allclose(found.bse, true.bse, rtol=1e-12, err_msg=cov_type)
        np.testing.assert_allclose(found.pvalues, true.pvalues, rtol=1e-9, err_msg=cov_type)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "TorchModel"])
def test_compare_the_whole_collection(name, clustered):
    estimators = [
        *("nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"),
        *(bh.Cluster(UNIT, kind) for kind in KINDS),
        bh.HAC(3),
        bh.DriscollKraay(YEAR, 2),
        bh.PanelNeweyWest(FIRM, YEAR, 2),
        bh.Jackknife(),
        bh.Jackknife(UNIT),
        bh.Conley(X[:, 1], X[:, 2], 0.5, distance="planar"),
    ]
    table = bh.compare(clustered[name], estimators)
    frame = table.to_frame()
    assert frame.shape == (3, len(estimators) + 1)
    for estimator, column in zip(estimators, frame.columns[1:], strict=True):
        np.testing.assert_array_equal(frame[column], np.asarray(clustered[name].with_cov(estimator).bse).ravel())
    for text in (table.to_text(), table.to_html(), table.to_latex()):
        assert "HAC" in text
        assert "CR2" in text


@pytest.mark.parametrize("name", ["OLS", "Logit"])
def test_summaries_of_the_whole_collection(name, clustered):
    for kind, estimator in collection(ORDER).items():
        text = str(clustered[name].with_cov(estimator).summary())
        assert "nan" not in text, kind
        assert clustered[name].with_cov(estimator).cov_type in text, kind


# restrictions and columns that repeat each other


@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
def test_repeated_restrictions(kind, clustered):
    """Restrictions that follow from others add nothing to a joint test, nor to its degrees of freedom."""
    res = clustered["OLS"].with_cov(bh.Cluster(UNIT, kind))
    two = np.eye(3)[1:]
    for rows, true in (
        (np.eye(3)[[1, 1]], np.eye(3)[[1]]),
        (np.vstack([two, two.sum(0), two[0] - 3 * two[1]]), two),
    ):
        found, plain = res.f_test(rows), res.f_test(true)
        assert (found.df_num, found.df_denom) == pytest.approx((plain.df_num, plain.df_denom), rel=ROUNDING)
        assert (found.fvalue, found.pvalue) == pytest.approx((plain.fvalue, plain.pvalue), rel=1e-7)


@pytest.mark.parametrize("rank", ["drop", "pinv"])
@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_collinear_columns(kind, rank, clustered):
    """A column twice changes no test of what the data tell apart."""
    plain = clustered["OLS"].with_cov(bh.Cluster(UNIT, kind))
    res = bh.OLS(Y, np.column_stack([X, 2 * X[:, 1]])).fit(bh.Cluster(UNIT, kind), rank=rank)
    np.testing.assert_allclose(res.pvalues[[0, 1, 2]], plain.pvalues, rtol=1e-7)
    found, true = res.t_test([0.0, 0.0, 1.0, 0.0]), plain.t_test([0.0, 0.0, 1.0])
    assert float(found.pvalue) == pytest.approx(float(true.pvalue), rel=1e-7)
    assert res.fvalue == pytest.approx(plain.fvalue, rel=ROUNDING)
    assert res.f_pvalue == pytest.approx(plain.f_pvalue, rel=1e-7)
