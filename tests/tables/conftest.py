import numpy as np
import pandas as pd
import pytest

import betahat as bh


@pytest.fixture(scope="session")
def data():
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(rng.normal(size=(90, 3)), columns=["educ", "exper", "female"])
    frame["female"] = (frame["female"] > 0).astype(float)
    frame["wage"] = 1 + frame["educ"] - 0.3 * frame["exper"] + rng.normal(size=90) * (1 + frame["educ"] ** 2)
    frame["work"] = (frame["wage"] > 1).astype(float)
    frame["region"] = np.arange(90) % 3
    frame["state"] = np.arange(90) % 12
    frame["year"] = np.arange(90) % 15
    frame["choice"] = rng.integers(0, 3, 90)
    return frame


@pytest.fixture(scope="session")
def short(data):
    return bh.ols("wage ~ educ", data).fit()


@pytest.fixture(scope="session")
def long(data):
    return bh.ols("wage ~ educ + exper + C(region)", data).fit(cov_type="HC3")


@pytest.fixture(scope="session")
def logit(data):
    return bh.logit("work ~ educ + female", data).fit()
