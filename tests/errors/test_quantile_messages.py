"""Every mistake with a quantile regression is one sentence or two: what came, with its numbers, and what to do."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.objectives.check import Check
from betahat.solvers import vertex

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
    x = np.column_stack([np.ones(40), rng.normal(size=(40, 2))])
    y = x @ [1.0, 2.0, 3.0] + rng.standard_t(3, size=40)
    frame = pd.DataFrame({"y": y, "a": x[:, 1], "firm": np.arange(40) // 4})
    model = bh.QuantReg(y, x)
    return SimpleNamespace(x=x, y=y, frame=frame, model=model, res=model.fit(), grid=model.fit([0.3, 0.6]))


Option, Estimation, Warned = bh.OptionError, bh.EstimationError, bh.BetahatWarning
CASES = [
    Case("q of one", lambda d: d.model.fit(1), Option, ("q is 1;", "between 0 and 1")),
    Case("q outside, of several", lambda d: d.model.fit([0.5, -0.1, 1.2]), Option, ("q is -0.1, 1.2;",)),
    Case("q missing", lambda d: d.model.fit(np.nan), Option, ("q is nan;",)),
    Case("q twice", lambda d: d.model.fit([0.5, 0.2, 0.5]), Option, ("q has 0.5 more than once", "once")),
    Case("q in words", lambda d: d.model.fit("0.5"), Option, ("q is '0.5'", "number")),
    Case("no q", lambda d: d.model.fit([]), Option, ("q has shape (0,)", "list")),
    Case("q in a table", lambda d: d.model.fit([[0.2, 0.5]]), Option, ("q has shape (1, 2)",)),
    Case("q that is no number", lambda d: d.model.fit(["a"]), bh.DataError, ("numbers",)),
    Case("kernel", lambda d: d.model.fit(kernel="normal"), Option, ("kernel is 'normal'", "'gau'")),
    Case("bandwidth", lambda d: d.model.fit(bandwidth="silverman"), Option, ("'silverman'", "'hsheather'")),
    Case("bandwidth outside", lambda d: d.model.fit(0.2, bandwidth=0.3), Option, ("bandwidth is 0.3", "q = 0.2", "between 0 and 0.2")),
    Case("bandwidth below zero", lambda d: d.model.fit([0.2, 0.5], bandwidth=-1), Option, ("bandwidth is -1", "q = 0.2, 0.5")),
    Case("bandwidth of too few rows", lambda d: d.model.fit(bandwidth=1e-9), Estimation, ("3 rows have a residual within", "larger bandwidth=", "'gau'")),
    Case("vcov", lambda d: d.model.fit(vcov="robust"), Option, ("vcov", "cov_type")),
    Case("max_iter", lambda d: d.model.fit(max_iter=1), Option, ("'max_iter'", "vertex")),
    Case("rank", lambda d: d.model.fit(rank="svd"), Option, ("rank is 'svd'",)),
    Case("unknown covariance", lambda d: d.model.fit(cov_type="nidd"), Option, ("'nidd' is unknown", "'nid'", "'powell'", "'HC0'")),
    Case("option of another", lambda d: d.model.fit(cov_type="nid", cov_kwds={"sparsity": "kernel"}), Option, ("no options",)),
    Case("sparsity", lambda d: d.model.fit(cov_type="iid", cov_kwds={"sparsity": "bin"}), Option, ("sparsity is 'bin'", "'residuals'")),
    Case("of another model", lambda d: bh.OLS(d.y, d.x).fit("nid"), Option, ("'nid' is unknown",)),
    Case("as many rows as columns", lambda d: bh.QuantReg(d.y[:3], d.x[:3]).fit(), Estimation, ("3 rows for 3 coefficients",)),
    Case("constant endog", lambda d: bh.QuantReg(np.ones(40), d.x).fit(), Estimation, ("endog is the same in every row",)),
    Case("constant endog without a constant", lambda d: bh.QuantReg(np.ones(40), d.x[:, 1:]).fit(), Estimation, ("endog is the same in every row",)),
    Case("an exact fit", lambda d: bh.quantreg("a ~ b", d.frame.assign(b=0.5 * d.frame["a"] + 0.1)).fit(), Estimation, ("q = 0.5 is exact", "in every row", "make up endog")),
    Case("exact in most rows", lambda d: bh.QuantReg(lined(d, 28, d.y), d.x).fit([0.4, 0.5]), Estimation, ("exact up to rounding in 28 of 40 rows", "no bound")),
    Case("a value of most rows", lambda d: bh.quantreg("z ~ 1", {"z": [0.0] * 7 + [1.0, 2.0, 3.0]}).fit(), Estimation, ("in 7 of 10 rows", "most rows have")),
    Case("a covariance for q", lambda d: d.model.fit("HC1"), Option, ("q is 'HC1'", "cov_type=", "q comes first")),
    Case("an estimator for q", lambda d: d.model.fit(bh.Cluster(d.frame["firm"])), Option, ("q is a Cluster", "cov_type=", "q comes first")),
    Case("marginal effects", lambda d: d.res.get_margeff(), Estimation, ("coefficients are", "on the quantile")),
    Case("no options of the formula", lambda d: bh.quantreg("y ~ a", d.frame, offset="a"), Option, ("'offset'", "'weights'")),
    Case("HC3", lambda d: d.res.with_cov("HC3"), Estimation, ("Leverage", "HC0", "CR1")),
    Case("HC3 of several", lambda d: d.grid.with_cov("HC3"), Estimation, ("Leverage", "HC0")),
    Case("CR2", lambda d: d.res.with_cov(bh.Cluster(d.frame["firm"], "CR2")), Estimation, ("Leverage", "CR1")),
    Case("CR3 of several", lambda d: d.grid.with_cov(bh.Cluster(d.frame["firm"], "CR3")), Estimation, ("Leverage", "CR1")),
    Case("jackknife", lambda d: d.res.with_cov("jackknife"), Estimation, ("not consistent", "bootstrap")),
    Case("a likelihood's", lambda d: d.res.with_cov(bh.Classical()), Estimation, ("no" , "'iid'", "'powell'")),
    Case("OPG", lambda d: d.res.with_cov("OPG"), Estimation, ("'iid'",)),
    Case("log-likelihood", lambda d: d.res.llf, Estimation, ("prsquared",)),
    Case("wild of several", lambda d: d.grid.with_cov(bh.Bootstrap(9, "wild")), Estimation, ("several quantiles at once", "'score'")),
    Case("wild of clusters", lambda d: d.res.with_cov(bh.Bootstrap(9, "wild", clusters=d.frame["firm"])), Estimation, ("no clusters", "'score'")),
    Case("wild with a multiplier", lambda d: d.res.with_cov(bh.Bootstrap(9, "wild", multiplier="webb")), Estimation, ("2 (1 - q)", "omit")),
    Case("parametric", lambda d: d.res.with_cov(bh.Bootstrap(9, "parametric")), Estimation, ("distribution", "'pairs'")),
    Case("studentized of wild", lambda d: d.res.with_cov(bh.Bootstrap(19, "wild", seed=1)).conf_int(method="studentized"), Estimation, ("samples",)),
    Case("no residuals to draw", lambda d: d.res.cases, Estimation, ("no residuals to draw", "resid")),
    Case("prediction of several", lambda d: d.grid.get_prediction(), Option, ("one quantile", "predict")),
    Case("labels", lambda d: d.res.get_prediction(row_labels=["a"]), Option, ("1 label for 40 predictions",)),
    Case("hessian at parameters", lambda d: d.model.score_obs([0.0, 0.0, 0.0]), Estimation, ("no curvature", "fit(q)")),
    Case("distribution", lambda d: Check().distribution(np.zeros(2), 1.0), Estimation, ("one quantile", "OLS")),
    Case("quantiles that cross", lambda d: crossing(d).fit(0.5, "nid"), Warned, ("cross at", "larger bandwidth=")),
    Case("without a bread", lambda d: flat(d).fit(0.5, "nid", bandwidth=0.1), Estimation, ("estimated as zero", "'iid'")),
    Case("not unique", lambda d: bh.QuantReg([1.0, 2.0, 4.0, 7.0], np.ones(4)).fit(kernel="gau"), Warned, ("q = 0.5 is not unique",)),
]  # fmt: skip


def crossing(d):
    """Twenty rows, of which some are far out, where quantiles cross."""
    return bh.QuantReg(d.y[:20], np.column_stack([d.x[:20], d.x[:20, 1] ** 2, d.x[:20, 2] ** 2]))


def flat(d):
    """The quantiles beside are the same in all rows: half of the rows are on one line, the others above and below."""
    return bh.QuantReg(lined(d, 20, np.where(np.arange(40) % 2, 1.0, -1.0) * (1.0 + np.abs(d.y))), d.x)


def lined(d, count, errors):
    """So many rows on one line, and the others beside it."""
    return d.x @ [1.0, 1.0, 1.0] + np.where(np.arange(40) < count, 0.0, errors)


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


def test_pivots_without_end(monkeypatch):
    monkeypatch.setattr(vertex, "_PIVOTS", 0)
    with pytest.raises(bh.EstimationError, match="pivots"):
        given()


def test_bandwidth_of_a_rule_is_halved():
    """As in R: 40 rows are few for the hundredth part of them."""
    d = given()
    assert 0 < d.model.fit(0.02, kernel="gau").fit.objective.density.share < 0.02


if __name__ == "__main__":
    for case in CASES:
        print(f"{case.name:30s} {provoked(case, given())}")
