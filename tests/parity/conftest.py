"""What the parity tests share: a frozen clock, a quiet statsmodels, random data and one comparison."""

import time
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import statsmodels.iolib.summary
from support import closeness, data_sets
from support.summaries import check_summaries

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
def same(quiet):
    """Assert that two results print the same, in every format."""
    return partial(check_summaries, quiet=quiet)


@pytest.fixture(scope="session")
def close():
    """Assert that numbers are statsmodels' to the tolerance of most of these tests, by `support.closeness.close`."""

    def check(mine, theirs, unit=None, *, tolerance=RELATIVE, label=""):
        closeness.close(mine, theirs, tolerance, unit=unit, label=label)

    return check


@pytest.fixture(scope="session")
def people():
    """80 rows of numbers, categories, booleans and dates, without missing values."""
    return data_sets.people()
