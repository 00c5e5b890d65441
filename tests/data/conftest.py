"""The plain data that every container of these tests holds."""

import numpy as np
import pytest


@pytest.fixture
def x():
    """Return (40, 3) regressors, a constant first, all of them quarters: every float type holds them."""
    rng = np.random.default_rng(5)
    return np.column_stack([np.ones(40), np.round(4 * rng.normal(size=(40, 2))) / 4])


@pytest.fixture
def y(x):
    """Return (40,) responses, quarters too."""
    return np.round(4 * (x @ [1.0, 2.0, -1.0] + np.random.default_rng(6).normal(size=40))) / 4
