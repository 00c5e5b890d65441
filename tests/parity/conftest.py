"""What the parity tests share: a frozen clock, a quiet statsmodels, random data and one comparison."""

import time
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.iolib.summary
from support import closeness

# statsmodels solves by the pseudoinverse and betahat by QR: on well-conditioned data they agree to 1e-12 or
# better, so 1e-9 leaves three digits for n, k and cancellation and still finds any wrong formula.
RELATIVE = 1e-9


@pytest.fixture(scope="session", autouse=True)
def _frozen_clock():
    """Both packages print the time through this one module; let it stand still."""
    clock = SimpleNamespace(localtime=lambda: time.gmtime(1_700_000_000), strftime=time.strftime)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statsmodels.iolib.summary, "time", clock)
        yield


@pytest.fixture(scope="session")
def quiet():
    """Call statsmodels without its warnings, which are not under test; betahat's stay errors."""

    def call(function, *args, **options):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return function(*args, **options)

    return call


@pytest.fixture(scope="session")
def close():
    """Assert that numbers are statsmodels' to the tolerance of most of these tests, by `support.closeness.close`."""

    def check(mine, theirs, unit=None, *, tolerance=RELATIVE, label=""):
        closeness.close(mine, theirs, tolerance, unit=unit, label=label)

    return check


@pytest.fixture(scope="session")
def people():
    """80 rows of numbers, categories, booleans and dates, without missing values."""
    rng = np.random.default_rng(7)
    n = 80
    frame = pd.DataFrame(
        {
            "x1": rng.normal(size=n),
            "x2": rng.normal(2.0, 3.0, size=n),
            "pos": rng.uniform(0.5, 9.0, size=n),
            "g": rng.choice(["north", "south", "west"], n),
            "h": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), categories=["lo", "mid", "hi"]),
            "i": rng.integers(0, 4, n),
            "flag": rng.random(n) > 0.4,
            "w": rng.uniform(0.2, 3.0, size=n),
        },
        index=pd.Index([f"p{i}" for i in range(n)], name="person"),
    )
    noise = rng.normal(size=n) * (0.5 + 0.1 * frame["pos"])
    frame["y"] = 1.0 + frame.x1 - 0.5 * frame.x2 + 0.3 * (frame.g == "west") + 0.2 * frame.i + noise
    frame["wage"] = np.exp(0.3 * frame["y"])
    frame["odd name"] = frame["x2"] ** 2
    return frame
