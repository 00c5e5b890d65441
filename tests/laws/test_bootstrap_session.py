"""An interrupt, pickles, names and tables of bootstrapped results."""

import pickle

import numpy as np
import pytest
import torch
from support.resampled import FRAME, fit_of

import betahat as bh
from betahat.resampling import refits

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def test_an_interrupt_leaves_the_session_usable(monkeypatch):
    res = fit_of("Logit")
    calls = []

    def stop(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refits, "_scores_at", stop)
        with pytest.raises(KeyboardInterrupt):
            res.with_cov(bh.Bootstrap(50, seed=1))
    assert calls
    assert np.isfinite(res.with_cov(bh.Bootstrap(50, seed=1)).bse).all()


@pytest.mark.parametrize("kind", ["pairs", "residual", "parametric", "wild", "score"])
def test_results_can_be_pickled(kind):
    res = fit_of("OLS").with_cov(
        bh.Bootstrap(99, kind, seed=1, clusters=FRAME.g.to_numpy().copy() if kind == "wild" else None)
    )
    other = pickle.loads(pickle.dumps(res))
    np.testing.assert_array_equal(other.conf_int(), res.conf_int())
    np.testing.assert_array_equal(other.conf_int(method="basic"), res.conf_int(method="basic"))


def test_names_and_tables():
    res = bh.ols("y ~ x1 + x2", FRAME).fit()
    named = res.with_cov("bootstrap", {"reps": 99, "seed": 4})
    assert torch.equal(named.cov.draws, res.with_cov(bh.Bootstrap(99, seed=4)).cov.draws)
    table = bh.compare(
        res, ["HC3", bh.Bootstrap(99, seed=4), bh.Bootstrap(99, "wild", seed=4, clusters="g")]
    ).to_frame()
    assert list(table.columns) == ["coef", "HC3", "bootstrap", "wild bootstrap"]
    text = str(named.summary())
    assert "Covariance Type:            bootstrap" in text
    assert "the pairs bootstrap (99 replicates, seed 4)" in text
