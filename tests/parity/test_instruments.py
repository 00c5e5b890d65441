"""IV2SLS, IVLIML and IVGMM beside linearmodels, live.

linearmodels' LIML has other covariances, by the scores P x e where ours are those of the equations that are solved; tests/laws/test_instruments.py has
them by plain loops. Its "unadjusted" weights of moments take whitened residuals about their plain mean, which weights do not make zero.
"""

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS, IVGMM, IVGMMCUE, IVLIML
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

TOLERANCE = 1e-10  # both are products of 400 rows in double precision
STOPPED = 1e-6  # linearmodels' continuous updating stops when BFGS does


def data(seed=0, n=400):
    rng = np.random.default_rng(seed)
    x, z, u = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=n)
    first = z @ [1.0, 0.5, 0.2] + x + 0.5 * u + rng.normal(size=n)
    second = z @ [-0.3, 0.8, 0.1] - 0.4 * u + rng.normal(size=n)
    y = 1.0 + 2.0 * x + first - second + u * (1.0 + 0.5 * np.abs(x))
    return {
        "dependent": y,
        "exog": np.column_stack([np.ones(n), x]),
        "endog": np.column_stack([first, second]),
        "instruments": z,
        "group": rng.integers(0, 25, n),
        "weights": rng.uniform(0.5, 2.0, n),
    }


GIVEN = data()
COLUMNS = tuple(GIVEN[name] for name in ("dependent", "exog", "endog", "instruments"))
GROUP = GIVEN["group"]
CLUSTERED = {"cov_type": "clustered", "clusters": GROUP}
KERNEL = {"cov_type": "kernel", "kernel": "bartlett", "bandwidth": 4}

weighted = pytest.mark.parametrize("weights", [None, GIVEN["weights"]], ids=["plain", "weighted"])


@weighted
@pytest.mark.parametrize(
    ("cov", "theirs"),
    [
        ("nonrobust", {"cov_type": "unadjusted", "debiased": True}),
        ("HC0", {"cov_type": "robust"}),
        ("HC1", {"cov_type": "robust", "debiased": True}),
        (bh.Cluster(GROUP, kind="CR0"), CLUSTERED),
        (bh.Cluster(GROUP), CLUSTERED | {"debiased": True}),
        (bh.HAC(4), KERNEL),
        (bh.HAC(4, kernel="parzen"), KERNEL | {"kernel": "parzen"}),
    ],
    ids=["nonrobust", "HC0", "HC1", "CR0", "CR1S", "bartlett", "parzen"],
)
def test_two_stages(weights, cov, theirs):
    ours = bh.IV2SLS(*COLUMNS, weights=weights).fit(cov)
    true = IV2SLS(*COLUMNS, weights=weights).fit(**theirs)
    close_to_largest(ours.params, true.params, TOLERANCE)
    same_covariance(ours.cov_params(), true.cov, TOLERANCE)
    close(ours.rsquared, true.rsquared, TOLERANCE)


@weighted
@pytest.mark.parametrize("options", [{}, {"fuller": 1.0}, {"fuller": 4.0}, {"kappa": 0.7}, {"kappa": 1.0}], ids=str)
def test_k_class(weights, options):
    ours = bh.IVLIML(*COLUMNS, weights=weights, **options).fit("HC0")
    true = IVLIML(*COLUMNS, weights=weights, **options).fit()
    close_to_largest(ours.params, true.params, TOLERANCE)
    close(ours.kappa, true.kappa, TOLERANCE)
    if ours.kappa == 1.0:
        same_covariance(ours.cov_params(), true.cov, TOLERANCE)


@weighted
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(
    ("scheme", "theirs"),
    [("two-step", {}), ("iterated", {"iter_limit": 1000, "tol": 1e-13})],
    ids=["two-step", "iterated"],
)
def test_moments(weights, center, scheme, theirs):
    ours = bh.IVGMM(*COLUMNS, weights=scheme, row_weights=weights, center=center).fit("HC0")
    true = IVGMM(*COLUMNS, weights=weights, center=center).fit(**theirs)
    close_to_largest(ours.params, true.params, TOLERANCE)
    same_covariance(ours.cov_params(), true.cov, TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "cov", "theirs", "options"),
    [
        ("unadjusted", "nonrobust", {"cov_type": "unadjusted"}, {"weight_type": "unadjusted"}),
        (bh.Cluster(GROUP, kind="CR0"), None, CLUSTERED, {"weight_type": "clustered", "clusters": GROUP}),
        (bh.HAC(4), None, KERNEL, {"weight_type": "kernel", "kernel": "bartlett", "bandwidth": 4}),
    ],
    ids=["unadjusted", "clustered", "kernel"],
)
def test_other_covariances_of_the_moments(kind, cov, theirs, options):
    ours = bh.IVGMM(*COLUMNS, weight_type=kind).fit(kind if cov is None else "HC0")
    true = IVGMM(*COLUMNS, **options).fit(**(theirs if cov is None else {}))
    close_to_largest(ours.params, true.params, TOLERANCE)
    same_covariance(ours.cov_params(), true.cov, TOLERANCE)


@pytest.mark.parametrize("weight", [np.eye(5) + 0.1, "identity"], ids=["matrix", "identity"])
def test_weights_of_ones_own(weight):
    ours = bh.IVGMM(*COLUMNS, weights=weight).fit()
    true = IVGMM(*COLUMNS).fit(iter_limit=1, initial_weight=np.eye(5) if isinstance(weight, str) else weight)
    assert ours.cov_type == "HC0"
    close_to_largest(ours.params, true.params, TOLERANCE)
    same_covariance(ours.cov_params(), true.cov, TOLERANCE)


@weighted
@pytest.mark.parametrize("center", [False, True])
def test_continuous_updating(weights, center):
    ours = bh.IVGMM(*COLUMNS, weights="continuously-updated", row_weights=weights, center=center).fit("HC0")
    true = IVGMMCUE(*COLUMNS, weights=weights, center=center).fit()
    close_to_largest(ours.params, true.params, STOPPED)
    same_covariance(ours.cov_params(), true.cov, STOPPED)


def test_formulas_and_frames():
    frame = pd.DataFrame(GIVEN["instruments"], columns=["z1", "z2", "z3"]).assign(
        y=COLUMNS[0], x=COLUMNS[1][:, 1], p=COLUMNS[2][:, 0], w=GIVEN["weights"], firm=GROUP
    )
    true = IV2SLS.from_formula("y ~ 1 + x + [p ~ z1 + z2]", frame).fit(cov_type="robust", debiased=True)
    by_formula = bh.ols("y ~ x | p ~ z1 + z2", frame).fit("HC1")
    by_frame = bh.IV2SLS(frame["y"], bh.add_constant(frame[["x"]]), frame["p"], frame[["z1", "z2"]]).fit("HC1")
    assert type(by_formula.model) is bh.IV2SLS
    for res in (by_formula, bh.iv2sls("y ~ x | p ~ z1 + z2", frame).fit("HC1"), by_frame):
        close_to_largest(res.params, true.params, TOLERANCE)
        close_to_largest(res.bse, true.std_errors, TOLERANCE)
        assert res.instruments == ("z1", "z2")
        assert res.endogenous == ("p",)
    assert list(by_formula.params.index) == ["Intercept", "x", "p"]
    close_to_largest(by_formula.resid, true.resids, TOLERANCE)
    close_to_largest(by_formula.predict(frame.head(7)), true.predict(data=frame.head(7))["predictions"], TOLERANCE)
    weighted_ours = bh.wls("y ~ x | p ~ z1 + z2", frame, weights="w").fit(bh.Cluster("firm"))
    weighted_true = IV2SLS.from_formula("y ~ 1 + x + [p ~ z1 + z2]", frame, weights=frame["w"]).fit(
        **CLUSTERED, debiased=True
    )
    close_to_largest(weighted_ours.params, weighted_true.params, TOLERANCE)
    close_to_largest(weighted_ours.bse, weighted_true.std_errors, TOLERANCE)


def test_no_exogenous_regressors():
    ours = bh.IV2SLS(COLUMNS[0], None, COLUMNS[2], COLUMNS[3]).fit("HC0")
    true = IV2SLS(COLUMNS[0], None, COLUMNS[2], COLUMNS[3]).fit()
    close_to_largest(ours.params, true.params, TOLERANCE)
    same_covariance(ours.cov_params(), true.cov, TOLERANCE)
    close(ours.rsquared, true.rsquared, TOLERANCE)
