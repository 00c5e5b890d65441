"""Nonlinear moments with instruments, a hundred thousand rows, ten parameters and twelve moments in two steps, beside statsmodels' GMM, in CPU seconds."""

import time

import numpy as np
import pytest
import torch
from statsmodels.sandbox.regression import gmm

import betahat as bh

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture(scope="module")
def data():
    """(n,) counts, (n, 10) regressors with a constant, (n, 12) instruments."""
    rng = np.random.default_rng(0)
    z = np.column_stack([np.ones(100_000), rng.normal(size=(100_000, 11))])
    x = np.column_stack([z[:, :9], z[:, 9:] @ [0.5, 0.4, 0.3] + rng.normal(size=len(z))])
    return rng.poisson(np.exp(0.2 * x @ rng.normal(size=10))).astype(float), x, z


def _moments(beta, x, y, z):
    return z * (y - torch.exp(x @ beta))[:, None]


def _fit(data, **options):
    y, x, z = data
    return bh.GMM(_moments, {"beta": np.zeros(10)}, {"x": x, "y": y, "z": z}, **options).fit().bse


def test_two_steps(benchmark, data):
    benchmark.pedantic(lambda: _fit(data), rounds=5, warmup_rounds=1)


def test_as_many_moments(benchmark, data):
    y, x, _ = data
    benchmark.pedantic(lambda: _fit((y, x, x)), rounds=5, warmup_rounds=1)


def test_statsmodels(benchmark, data):
    """By its default optimizer, from the same start and the identity."""
    y, x, z = data

    def fit():
        model = gmm.NonlinearIVGMM(y, x, z, lambda beta, x: np.exp(x @ beta))
        options = {"inv_weights": np.eye(12), "optim_args": {"disp": 0}, "wargs": {"centered": False}}
        return model.fit(np.zeros(10), maxiter=2, **options).bse

    benchmark.pedantic(fit, rounds=1)
