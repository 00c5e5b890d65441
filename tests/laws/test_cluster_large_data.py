"""The sums of large data, in any memory and in many pieces."""

import numpy as np
import pytest
import torch
from support.closeness import same_covariance
from support.clustered import G

import betahat as bh
from betahat.data.products import group_sums
from betahat.fits import influence_sums
from betahat.solvers.least_squares import row_residuals

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Logit with counts"])
def test_large_data_in_any_memory_and_many_pieces(name, monkeypatch):
    """Sparse products add what index_add_ does, of residuals that the fit has kept or has not, in one piece or some."""
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.products._ADDED", 5 * G)
    rng = np.random.default_rng(6)
    unit, x = rng.integers(0, G, 4000), np.column_stack([np.ones(4000), rng.normal(size=(4000, 3))])
    y, w = x.sum(1) + rng.normal(size=4000), rng.uniform(0.5, 2.0, 4000)
    yes, often = (y > 1) * 1.0, rng.integers(0, 3, 4000)
    make = {
        "OLS": lambda x: bh.OLS(y, x),
        "WLS": lambda x: bh.WLS(y, x, weights=w),
        "Logit": lambda x: bh.Logit(yes, x),
        "Logit with counts": lambda x: bh.Logit(yes, x, freq_weights=often),
    }[name]
    true = make(x).fit(bh.Cluster(unit)).cov_params()
    calls = []
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 4096)
    monkeypatch.setattr(influence_sums, "group_sums", lambda *given: calls.append(0) or group_sums(*given))
    for some in (x, torch.as_tensor(x), np.asfortranarray(x)):
        for found in (make(some).fit(bh.Cluster(unit)), make(some).fit().with_cov(bh.Cluster(unit))):
            same_covariance(found.cov_params(), true, ROUNDING)
            assert row_residuals not in found.fit.sums  # n numbers, which no result holds
    assert calls
