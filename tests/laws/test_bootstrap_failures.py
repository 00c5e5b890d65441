"""Replicates that have no estimate: counted, left out and warned of."""

import numpy as np
import pytest
import torch
from torch import nn

import betahat as bh
from betahat.resampling.weights import (
    Multinomial,
)

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _rare(rows):
    r = np.random.default_rng(0)
    x = np.c_[np.ones(60), r.normal(size=60), np.arange(60) < rows]
    return bh.OLS(r.normal(size=60), x).fit()


def test_replicates_that_lose_a_column_are_counted_and_left_out():
    res = _rare(5).with_cov(bh.Bootstrap(2000, seed=1))
    lost = (Multinomial(60, 60)(1, torch.arange(2000))[:, :5].sum(1) == 0).sum()
    assert 0 < int(lost) == res.cov.resampling.failed
    assert len(res.cov.draws) == 2000 - int(lost)
    assert f"{int(lost)} failed and were left out" in str(res.summary())
    with pytest.warns(bh.BootstrapWarning, match="kind='bayesian'"):
        assert _rare(2).with_cov(bh.Bootstrap(500, seed=1)).cov.resampling.failed > 25
    with pytest.raises(bh.EstimationError, match=r"of 500 replicates have no estimate"):
        _rare(3).with_cov(bh.Bootstrap(500, "m-out-of-n", seed=1, size=4))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.HuberLoss()])
def test_a_category_that_is_not_drawn_is_lost_for_any_module(loss, layers):
    """Its parameters do not move then, which would pass for an estimate; a penalty is an estimate of its own."""
    r = np.random.default_rng(0)
    torch.manual_seed(0)
    rare = torch.tensor((np.arange(60) < 3).astype(int))
    y = torch.tensor(r.normal(size=60))[:, None]
    module = nn.Embedding(2, 1).double() if layers == 1 else nn.Sequential(nn.Embedding(2, 1), nn.Softplus()).double()
    y = y.abs() + 0.5
    res = bh.TorchModel(module, loss, rare, y).fit("HC0").with_cov(bh.Bootstrap(400, seed=1))
    lost = (Multinomial(60, 60)(1, torch.arange(400))[:, :3].sum(1) == 0).sum()
    assert res.cov.resampling.failed == int(lost) > 0
    held = bh.TorchModel(module, loss, rare, y, penalty=lambda p: sum((v**2).sum() for v in p.values())).fit("HC0")
    assert held.with_cov(bh.Bootstrap(400, seed=1)).cov.resampling.failed == 0


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_separated_replicates_are_left_out():
    r = np.random.default_rng(4)
    x = r.normal(size=25)
    y = (x + r.normal(size=25) > 0).astype(float)
    res = bh.Logit(y, np.c_[np.ones(25), x]).fit()
    lost = _separated(x, y)
    assert lost > 0
    found = res.with_cov(bh.Bootstrap(300, seed=1))
    assert torch.isfinite(found.cov.draws).all()
    assert found.cov.resampling.failed == lost


def _separated(x, y):
    weights = Multinomial(25, 25)(1, torch.arange(300)).numpy()
    lost = 0
    for row in weights:
        there = row > 0
        one, zero = x[there & (y == 1)], x[there & (y == 0)]
        lost += not len(one) or not len(zero) or one.min() > zero.max() or zero.min() > one.max()
    return lost
