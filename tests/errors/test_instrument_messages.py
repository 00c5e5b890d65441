"""Every mistake with instruments is one sentence: what came, with its numbers and names, and what to do."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.fits import moment_weights

LONGEST = 420  # as in test_messages.py: what can be read in one breath


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises or warns, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    kind: type[Exception]
    says: tuple[str, ...]


def given():
    rng = np.random.default_rng(2)
    n = 60
    x, z, u = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=n)
    price = z @ [1.0, 0.5, 0.2] + 0.5 * u + rng.normal(size=n) + x
    y = 1.0 + 2.0 * x - price + u
    firm = np.arange(n) // 6
    frame = pd.DataFrame(z, columns=["z1", "z2", "z3"]).assign(y=y, x=x, price=price, firm=firm, level=firm * 1.0)
    exog = np.column_stack([np.ones(n), x])
    made = SimpleNamespace(y=y, x=exog, p=price, z=z, u=u, firm=firm, frame=frame)
    made.res = bh.IV2SLS(y, exog, price, z).fit()
    return made


def two_stages(d, **changed):
    columns = {"dependent": d.y, "exog": d.x, "endog": d.p, "instruments": d.z} | changed
    return bh.IV2SLS(**columns).fit()


def moments(d, *args, **options):
    return bh.IVGMM(d.y, d.x, d.p, d.z, *args, **options).fit()


def loaded(d, folder):
    of_labels = bh.Cluster(d.firm, kind="CR0")
    return bh.load(bh.IVGMM(d.y, d.x, d.p, d.z, weight_type=of_labels).fit().save(folder / "moments"))


Option, Estimation, Data = bh.OptionError, bh.EstimationError, bh.DataError
CASES = [
    Case("too few instruments", lambda d: two_stages(d, endog=np.column_stack([d.p, d.p**2]), instruments=d.z[:, 0]), Estimation, ("instruments: 1 for 2 endogenous regressors", "at least one")),
    Case("too few in a formula", lambda d: bh.ols("y ~ x | price + I(price**2) ~ z1", d.frame), Estimation, ("instruments: 1 for 2",)),
    Case("too few that are independent", lambda d: two_stages(d, endog=np.column_stack([d.p, d.p**2]), instruments=np.column_stack([d.z[:, 0], 2.0 * d.z[:, 0]])), Estimation, ("1 instrument is left", "2 endogenous regressors")),
    Case("only regressors for instruments", lambda d: two_stages(d, instruments=d.x), Estimation, ("0 instruments are left", "1 endogenous regressor")),
    Case("more instruments than rows", lambda d: bh.IV2SLS(d.y[:6], d.x[:6], d.p[:6], np.eye(6)[:, :4]).fit(), Estimation, ("6 rows for 6 instruments", "fewer")),
    Case("instruments that move nothing", lambda d: two_stages(d, endog=orthogonal(d), instruments=d.z[:, :1]), Estimation, ("do not move 'x2'", "not identified")),
    Case("instruments that move one of two", lambda d: two_stages(d, endog=np.column_stack([d.p, orthogonal(d)])), Estimation, ("do not move 'x3', apart from the other", "correlated")),
    Case("endogenous and exogenous", lambda d: bh.IV2SLS(d.frame["y"], d.frame[["x", "price"]], d.frame["price"], d.frame[["z1"]]), Data, ("'price' is among the exogenous regressors and the endogenous ones",)),
    Case("endogenous and a combination", lambda d: two_stages(d, endog=1.0 + 3.0 * d.x[:, 1]), Estimation, ("'x2' is a combination of the regressors before", "leave out")),
    Case("rows of endog", lambda d: two_stages(d, endog=d.p[1:]), Data, ("endog has 59 rows, but exog has 60",)),
    Case("rows of instruments", lambda d: two_stages(d, exog=None, instruments=d.z[1:]), Data, ("instruments has 59 rows, but endog has 60",)),
    Case("labels of instruments", lambda d: bh.IV2SLS(d.frame["y"], d.frame[["x"]], d.frame["price"], d.frame[["z1"]].iloc[::-1]), Data, ("indices of instruments and exog differ",)),
    Case("missing instruments", lambda d: two_stages(d, instruments=np.where(d.z > 2, np.nan, d.z)), Data, ("Missing values", "'drop'")),
    Case("no instruments in a formula", lambda d: bh.iv2sls("y ~ x", d.frame), Option, ("has no instruments", "bh.ols")),
    Case("instruments of another model", lambda d: bh.OLS.from_formula("y ~ x | price ~ z1", d.frame), bh.FormulaError, ("instruments", "bh.ols")),
    Case("effects explain the endogenous", lambda d: bh.ols("y ~ x | firm | level ~ z1", d.frame).fit(), Estimation, ("effects explain 'level'", "coarser")),
    Case("kappa too large", lambda d: bh.IVLIML(d.y, d.x, d.p, d.z, kappa=9.0).fit(), Estimation, ("kappa is so large", "smaller")),
    Case("kappa and fuller", lambda d: bh.IVLIML(d.y, d.x, d.p, d.z, kappa=1.0, fuller=1.0), Option, ("pass one of them",)),
    Case("kappa in words", lambda d: bh.IVLIML(d.y, d.x, d.p, d.z, kappa="liml"), Option, ("kappa is 'liml'", "number")),
    Case("weights", lambda d: moments(d, "three-step"), Option, ("weights is 'three-step'", "'two-step'", "row_weights")),
    Case("weights of none", lambda d: moments(d, None), Option, ("weights is None", "matrix")),
    Case("a matrix of another size", lambda d: moments(d, np.eye(3)), Option, ("shape (3, 3)", "5 moments")),
    Case("a matrix that is no weight", lambda d: moments(d, -np.eye(5)), Option, ("not positive definite", "'two-step'")),
    Case("an asymmetric matrix", lambda d: moments(d, np.eye(5) + np.eye(5, k=1)), Option, ("weights is not symmetric", "'two-step'")),
    Case("a matrix with NaN", lambda d: moments(d, np.diag([1.0, 1.0, np.nan, 1.0, 1.0])), Option, ("weights has missing or infinite values",)),
    Case("linearmodels' brackets", lambda d: bh.ols("y ~ 1 + x + [price ~ z1]", d.frame), bh.FormulaError, ("(invalid syntax);", "after a bar", "'y ~ x | price ~ z1 + z2'")),
    Case("as many instruments as regressors", lambda d: two_stages(d, instruments=d.z[:, 0]).sargan(), Estimation, ("1 instrument for 1 endogenous regressor", "a test takes more instruments")),
    Case("weight_type", lambda d: moments(d, weight_type="clustered"), Option, ("'clustered'", "bh.Cluster")),
    Case("adjusted clusters as weights", lambda d: moments(d, weight_type=bh.Cluster(d.firm, kind="CR2")), Option, ("CR0",)),
    Case("center", lambda d: moments(d, center=True, weight_type="unadjusted"), Option, ("center=True", "'robust'")),
    Case("fewer clusters than moments", lambda d: moments(d, weight_type=bh.Cluster(d.firm // 3, kind="CR0")), Estimation, ("5 moments is singular", "fewer clusters")),
    Case("classical with other weights", lambda d: bh.IVGMM(d.y, d.x, d.p, d.z, "identity").fit("nonrobust"), Estimation, ("not weighted by the inverse", "'HC0'")),
    Case("clusters' hats of LIML", lambda d: bh.IVLIML(d.y, d.x, d.p, d.z).fit(bh.Cluster(d.firm, kind="CR2")), Estimation, ("projection", "IV2SLS", "CR1S")),
    Case("options of a solver", lambda d: bh.IV2SLS(d.y, d.x, d.p, d.z).fit(method="qr"), Option, ("'method'",)),
    Case("OPG", lambda d: d.res.with_cov("OPG"), Estimation, ("not for moments", "'HC0'")),
    Case("log-likelihood", lambda d: d.res.llf, Estimation, ("sargan", "wald_test")),
    Case("a loss of rows", lambda d: d.res.model.score_obs([0.0, 0.0, 0.0]), Estimation, ("no loss of a row", "res.fit")),
    Case("wild", lambda d: d.res.with_cov(bh.Bootstrap(9, "wild")), Estimation, ("'pairs'", "'score'")),
    Case("parametric", lambda d: d.res.with_cov(bh.Bootstrap(9, "parametric")), Estimation, ("'pairs'",)),
    Case("residual", lambda d: d.res.with_cov(bh.Bootstrap(9, "residual")), Estimation, ("'pairs'",)),
    Case("studentized", lambda d: d.res.with_cov(bh.Bootstrap(19, seed=1)).conf_int(method="studentized"), Estimation, ("first stage", "'bca'")),
    Case("neighbours of drawn rows", lambda d: moments(d, weight_type=bh.HAC(2)).with_cov(bh.Bootstrap(9)), Estimation, ("weighed by HAC", "'robust'")),
    Case("a leverage of one or more", lambda d: alone(d).with_cov("HC3"), Estimation, ("leverage is 1 or more", "HC1")),
    Case("a row that alone moves", lambda d: alone(d).with_cov("jackknife"), Estimation, ("Without one of the rows",)),
    Case("a cluster that alone moves", lambda d: alone(d).with_cov(bh.Jackknife(clusters=d.firm)), Estimation, ("Without one of the clusters", "CR1S")),
]  # fmt: skip


def orthogonal(d):
    """What all instruments leave of the errors, which they do not move at all."""
    z = np.column_stack([d.x, d.z])
    return d.u - z @ np.linalg.lstsq(z, d.u, rcond=None)[0]


def alone(d):
    """An instrument that is zero but for one row."""
    return bh.IV2SLS(d.y, d.x, d.p, np.eye(60)[:, 0]).fit()


def provoked(case, d):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            case.mistake(d)
        except bh.BetahatError as error:
            return error
    return next((warning.message for warning in caught if issubclass(warning.category, case.kind)), None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_with_a_remedy(case):
    found = provoked(case, given())
    assert isinstance(found, case.kind), found
    sentence = str(found)
    assert len(sentence) <= LONGEST
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for words in case.says:
        assert words in sentence


def test_iterations_without_end(monkeypatch):
    monkeypatch.setattr(moment_weights, "_ITERATIONS", 2)
    with pytest.raises(bh.EstimationError, match="after 2 iterations; use weights='two-step'"):
        moments(given(), "iterated")


def test_a_criterion_without_a_minimum(monkeypatch):
    monkeypatch.setattr(moment_weights, "_STEPS", 1)
    with pytest.raises(bh.EstimationError, match="no minimum near the two-step estimates"):
        moments(given(), "continuously-updated")


def test_weights_of_a_file(tmp_path):
    again = loaded(given(), tmp_path)
    with pytest.raises(bh.EstimationError, match="does not hold the estimator of the moments"):
        again.with_cov("jackknife")
    with pytest.raises(bh.EstimationError, match="does not hold the estimator of the moments"):
        again.model.fit()
