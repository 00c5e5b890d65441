import pytest
from support import data_sets

import betahat as bh


@pytest.fixture(scope="session")
def data():
    return data_sets.wages()


@pytest.fixture(scope="session")
def short(data):
    return bh.ols("wage ~ educ", data).fit()


@pytest.fixture(scope="session")
def long(data):
    return bh.ols("wage ~ educ + exper + C(region)", data).fit(cov_type="HC3")


@pytest.fixture(scope="session")
def logit(data):
    return bh.logit("work ~ educ + female", data).fit()
