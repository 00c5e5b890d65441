"""The problem that every benchmark of a size shares: float64, two threads, seeded."""

import numpy as np
import pandas as pd
import pytest
import torch

THREADS = 2


def problem(nobs, width, device="cpu"):
    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    exog = torch.randn(nobs, width, dtype=torch.float64, generator=generator)
    exog[:, 0] = 1.0
    endog = exog.sum(1) + torch.randn(nobs, dtype=torch.float64, generator=generator)
    return endog.to(device), exog.to(device)


@pytest.fixture(scope="session")
def large():
    return problem(1_000_000, 20)


@pytest.fixture(scope="session")
def small():
    return problem(200, 5)


@pytest.fixture(scope="session")
def frame(large):
    endog, exog = large
    data = pd.DataFrame(np.asarray(exog), columns=[f"x{i}" for i in range(exog.shape[1])])
    return data.assign(y=np.asarray(endog))
