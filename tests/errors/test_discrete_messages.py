"""Every mistake with a discrete model is one sentence or two: what came, with its name or number, and what to do.

``python tests/errors/test_discrete_messages.py`` prints all the sentences, to be read aloud.
"""

import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog

import betahat as bh

LONGEST = 420  # as in test_messages.py: what can be read in one breath, with a list of names in it
# A refit of the independent columns is the same problem, solved to a decrement of 1e-20: 1e-10 standard errors.
REFIT = 1e-9


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    error: type[Exception]
    says: tuple[str, ...]


def _given():
    """Return fresh data; the cases may break them only by copies."""
    rng = np.random.default_rng(4)
    n = 40
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    frame = pd.DataFrame(x, columns=["const", "educ", "exper"])
    y = np.arange(n) % 2 * 1.0
    counts = rng.poisson(1.0, n) * 1.0
    classes = np.arange(n) % 3
    frame = frame.assign(y=y, counts=counts, town=np.array(["a", "b", "c"])[classes], years=rng.uniform(1, 5, n))
    return SimpleNamespace(x=x, y=y, c=counts, m=classes, frame=frame, n=n)


def _with(values, where, value):
    changed = np.array(values)
    changed[where] = value
    return changed


def _logit(d, **options):
    return bh.logit("y ~ educ + exper", d.frame).fit(**options)


def _poisson(d, **options):
    return bh.poisson("counts ~ educ + exper", d.frame).fit(**options)


def _mnlogit(d, **options):
    return bh.mnlogit("town ~ educ + exper", d.frame).fit(**options)


def _dividing(d):
    """A column that tells the ones from the zeros, all of them."""
    return d.frame[["const", "exper"]].assign(age=np.where(d.y > 0, 1.0, -1.0) + 0.1 * d.x[:, 1])


def _touching(d):
    """The same, but where it is zero both occur: quasi-complete."""
    age = np.where(d.y > 0, 1.0, -1.0) * (np.arange(d.n) >= 10)
    return d.frame[["const", "exper"]].assign(age=age)


def _dummy_of_ones(d):
    """A dummy that is 1 in three rows, and there y is 1."""
    return d.frame[["const", "exper"]].assign(rare=np.isin(np.arange(d.n), [1, 3, 5]) * 1.0)


def _dummy_of_zero_counts(d):
    """A dummy that is 1 where counts are zero, in a part of them."""
    return d.frame[["const", "exper"]].assign(rare=(d.c == 0) * (np.arange(d.n) < 20) * 1.0)


def _alone(d):
    """One row has a dummy of its own, and its count is no zero: its leverage is 1."""
    return d.frame[["const", "exper"]].assign(own=(np.arange(d.n) == int(d.c.argmax())) * 1.0)


DATA = [
    Case("Logit: endog outside", lambda d: bh.Logit(_with(d.y, [1, 2], 2), d.x), bh.DataError, ("2 values", "[0, 1]", "Logit", "recode")),
    Case("Logit: endog of 1 and 2", lambda d: bh.Logit(d.y + 1, d.x), bh.DataError, ("20 values", "[0, 1]", "recode")),
    Case("Logit: endog of -1 and 1", lambda d: bh.Logit(2 * d.y - 1, d.x), bh.DataError, ("20 values", "[0, 1]", "recode")),
    Case("Logit: endog of strings", lambda d: bh.Logit(d.frame["town"], d.x), bh.DataError, ("'town'",)),
    Case("Logit: an array of strings", lambda d: bh.Logit(np.array(list("ab") * 20), d.x), bh.DataError, ("endog", "string")),
    Case("Logit: NaN in endog", lambda d: bh.Logit(_with(d.y, 3, np.nan), d.x), bh.DataError, ("1 of 40", "y (1)", "missing='drop'")),
    Case("Logit: endog is shorter", lambda d: bh.Logit(d.y[:-1], d.x), bh.DataError, ("endog", "39", "40", "pass")),
    Case("Logit: formula of values outside", lambda d: bh.logit("years ~ educ", d.frame), bh.DataError, ("[0, 1]", "Logit")),
    Case("Logit: formula of a text", lambda d: bh.logit("town ~ educ", d.frame), bh.BetahatError, ("town",)),
    Case("Probit: shares", lambda d: bh.Probit(0.5 * d.y, d.x), bh.DataError, ("20 values", "Probit", "Logit")),
    Case("Probit: endog outside", lambda d: bh.Probit(d.y + 1, d.x), bh.DataError, ("20 values", "Probit", "recode")),
    Case("Probit: formula", lambda d: bh.probit("years ~ educ", d.frame), bh.DataError, ("40 values", "Probit")),
    Case("Poisson: negative counts", lambda d: bh.Poisson(_with(d.c, [3, 4, 5], -1), d.x), bh.DataError, ("3 negative values", "counts", "zero or more")),
    Case("Poisson: a negative count", lambda d: bh.Poisson(_with(d.c, 3, -1), d.x), bh.DataError, ("1 negative value,", "counts", "zero or more")),
    Case("Poisson: formula of negative values", lambda d: bh.poisson("educ ~ exper", d.frame), bh.DataError, ("negative values", "Poisson")),
    Case("Poisson: infinite counts", lambda d: bh.Poisson(_with(d.c, 3, np.inf), d.x), bh.DataError, ("1 of 40", "nfinite", "replace")),
    Case("MNLogit: one class", lambda d: bh.MNLogit(np.ones(d.n), d.x), bh.DataError, ("one class", "'1'", "two")),
    Case("MNLogit: one class of a formula", lambda d: bh.mnlogit("town ~ educ", d.frame.assign(town="a")), bh.DataError, ("one class", "'a'", "two")),
    Case("MNLogit: an empty category", lambda d: bh.MNLogit(pd.Series(pd.Categorical(d.frame["town"], categories=list("abcd"))), d.frame[["const", "educ"]]),
         bh.DataError, ("'d'", "remove_unused_categories")),
    Case("MNLogit: an empty category of a formula", lambda d: bh.mnlogit("town ~ educ", d.frame.assign(town=pd.Categorical(d.frame["town"], list("abcd")))),
         bh.DataError, ("'d'", "remove_unused_categories")),
    Case("MNLogit: missing classes", lambda d: bh.MNLogit(_with(d.frame["town"].astype(object), 3, None), d.x), bh.DataError, ("1 of 40", "y (1)", "missing='drop'")),
    Case("MNLogit: two columns of classes", lambda d: bh.MNLogit(d.x[:, 1:], d.x), bh.DataError, ("endog", "(40, 2)", "one column")),
    Case("MNLogit: two columns of a frame", lambda d: bh.MNLogit(d.frame[["y", "town"]], d.x), bh.DataError, ("endog", "2 columns", "one column")),
    Case("MNLogit: two columns of a tensor", lambda d: bh.MNLogit(torch.tensor(d.x), torch.tensor(d.x)), bh.DataError, ("endog", "3 columns", "one column")),
    Case("MNLogit: no such column", lambda d: bh.mnlogit("twon ~ educ", d.frame), bh.FormulaError, ("'twon'", "'town'")),
    Case("MNLogit: no left side", lambda d: bh.mnlogit("educ + exper", d.frame), bh.FormulaError, ("left-hand side", "write 'y ~ x'")),
    Case("MNLogit: an expression on the left", lambda d: bh.mnlogit("np.log(years) ~ educ", d.frame), bh.FormulaError, ("np.log(years)", "column of classes")),
    Case("MNLogit: classes are shorter", lambda d: bh.MNLogit(d.m[:-1], d.x), bh.DataError, ("endog", "39", "40")),
    Case("MNLogit: offset", lambda d: bh.MNLogit.from_formula("town ~ educ", d.frame, offset="years"), bh.OptionError, ("'offset'",)),
    Case("Logit: endog of zeros", lambda d: bh.Logit(0 * d.y, d.x), bh.DataError, ("endog is 0 in every row", "pass rows of both kinds")),
    Case("Logit: endog of ones", lambda d: bh.Logit(0 * d.y + 1, d.x), bh.DataError, ("endog is 1 in every row", "pass rows of both kinds")),
    Case("Logit: endog of zeros and a constant", lambda d: bh.Logit(0 * d.y, np.ones(d.n)), bh.DataError, ("endog is 0 in every row", "pass rows of both kinds")),
    Case("Logit: formula of ones", lambda d: bh.logit("const ~ educ", d.frame), bh.DataError, ("endog is 1 in every row", "pass rows of both kinds")),
    Case("Probit: endog of zeros", lambda d: bh.Probit(0 * d.y, d.x), bh.DataError, ("endog is 0 in every row", "pass rows of both kinds")),
    Case("Probit: endog of ones", lambda d: bh.Probit(0 * d.y + 1, d.x), bh.DataError, ("endog is 1 in every row", "pass rows of both kinds")),
    Case("Poisson: counts of zeros", lambda d: bh.Poisson(0 * d.y, d.x), bh.DataError, ("endog is 0 in every row", "pass counts")),
    Case("Poisson: counts of zeros and a constant", lambda d: bh.Poisson(0 * d.y, np.ones(d.n)), bh.DataError, ("endog is 0 in every row", "pass counts")),
    Case("exog with NaN", lambda d: bh.Logit(d.y, _with(d.x, (3, 1), np.nan)), bh.DataError, ("1 of 40", "column 1 (1)", "missing='drop'")),
    Case("exog of text", lambda d: bh.Poisson(d.c, d.frame[["educ", "town"]]), bh.DataError, ("'town'", "C(")),
    Case("exog is None", lambda d: bh.MNLogit(d.m, None), bh.DataError, ("exog", "None", "pass")),
    Case("endog is None", lambda d: bh.Logit(None, d.x), bh.DataError, ("endog", "None", "pass")),
    Case("classes are None", lambda d: bh.MNLogit(None, d.x), bh.DataError, ("endog is None", "pass a column of classes")),
    Case("missing is unknown", lambda d: bh.Poisson(d.c, d.x, missing="dorp"), bh.OptionError, ("'dorp'", "'drop'")),
    Case("every row is missing", lambda d: bh.Logit(d.y * np.nan, d.x, missing="drop"), bh.DataError, ("row", "missing", "fill")),
    Case("no rows", lambda d: bh.Poisson(d.c[:0], d.x[:0]), bh.DataError, ("empty", "(0, 3)", "pass")),
]  # fmt: skip

BESIDE = [
    Case("exposure of zero", lambda d: bh.Poisson(d.c, d.x, exposure=_with(np.ones(d.n), [1, 2], 0)), bh.DataError, ("exposure", "2", "positive")),
    Case("negative exposure", lambda d: bh.Poisson(d.c, d.x, exposure=_with(np.ones(d.n), 1, -1)), bh.DataError, ("exposure", "1", "positive")),
    Case("exposure is shorter", lambda d: bh.Poisson(d.c, d.x, exposure=np.ones(5)), bh.DataError, ("exposure", "5", "40", "pass")),
    Case("exposure is a name beside arrays", lambda d: bh.Poisson(d.c, d.x, exposure="years"), bh.DataError, ("exposure", "'years'")),
    Case("exposure of text", lambda d: bh.poisson("counts ~ educ", d.frame, exposure="town"), bh.DataError, ("'town'",)),
    Case("NaN in exposure", lambda d: bh.Poisson(d.c, d.x, exposure=_with(np.ones(d.n), 2, np.nan)), bh.DataError, ("exposure has 1 missing", "missing='drop'")),
    Case("infinite exposure", lambda d: bh.Poisson(d.c, d.x, exposure=_with(np.ones(d.n), 2, np.inf)), bh.DataError, ("exposure has 1", "infinite", "pass")),
    Case("offset is shorter", lambda d: bh.Logit(d.y, d.x, offset=d.y[:7]), bh.DataError, ("offset", "7", "40", "pass")),
    Case("offset of two columns", lambda d: bh.Logit(d.y, d.x, offset=d.x), bh.DataError, ("offset", "3 columns", "pass")),
    Case("NaN in offset", lambda d: bh.Probit(d.y, d.x, offset=_with(d.y, 2, np.nan)), bh.DataError, ("1 of 40", "offset (1)", "missing='drop'")),
    Case("infinite offset", lambda d: bh.Probit(d.y, d.x, offset=_with(d.y, 2, np.inf)), bh.DataError, ("offset (1)", "nfinite", "replace")),
    Case("an offset that is not there", lambda d: bh.poisson("counts ~ educ", d.frame, offset="yeers"), bh.BetahatError, ("'yeers'", "'years'")),
    Case("offset of strings", lambda d: bh.Logit(d.y, d.x, offset=list("ab") * 20), bh.DataError, ("offset", "string")),
    Case("fractional freq_weights", lambda d: bh.Logit(d.y, d.x, freq_weights=d.y + 0.5), bh.DataError, ("freq_weights", "40", "whole", "weights=")),
    Case("negative freq_weights", lambda d: bh.Logit(d.y, d.x, freq_weights=_with(d.y, 3, -1)), bh.DataError, ("freq_weights", "1 value", "zero or more")),
    Case("exog on meta beside a second equation", lambda d: bh.ZeroInflatedPoisson(d.c, torch.empty(40, 2, device="meta")), bh.DataError, ("exog is on meta",)),
    Case("freq_weights of zero", lambda d: bh.Logit(d.y, d.x, freq_weights=0 * d.y), bh.DataError, ("freq_weights", "zero")),
    Case("freq_weights are shorter", lambda d: bh.MNLogit(d.m, d.x, freq_weights=[1, 2]), bh.DataError, ("freq_weights", "2", "40")),
    Case("NaN in freq_weights", lambda d: bh.Logit(d.y, d.x, freq_weights=_with(d.y, 2, np.nan)), bh.DataError, ("freq_weights has 1 missing", "missing='drop'")),
    Case("negative weights", lambda d: bh.Poisson(d.c, d.x, weights=_with(d.y, 3, -1)), bh.DataError, ("weights", "1", "negative")),
    Case("weights of zero", lambda d: bh.MNLogit(d.m, d.x, weights=0 * d.y), bh.DataError, ("weights", "zero")),
    Case("weights of text", lambda d: bh.mnlogit("town ~ educ", d.frame, weights="town"), bh.DataError, ("'town'",)),
    Case("an unknown option", lambda d: bh.Logit.from_formula("y ~ educ", d.frame, subset=[1]), bh.OptionError, ("'subset'", "'missing'")),
]  # fmt: skip

OPTIONS = [
    Case("unknown bread", lambda d: _logit(d, bread="hessian"), bh.OptionError, ("'hessian'", "'observed'", "'opg'")),
    Case("unknown rank", lambda d: _logit(d, rank="qr"), bh.OptionError, ("'qr'", "'pinv'", "'drop'")),
    Case("unknown cov_type", lambda d: _poisson(d, cov_type="robust"), bh.OptionError, ("'robust'", "'HC0'")),
    Case("misspelt cov_type", lambda d: _mnlogit(d, cov_type="HC00"), bh.OptionError, ("'HC00'", "'HC0'")),
    Case("start_params too short", lambda d: _logit(d, start_params=[0.0, 1.0]), bh.OptionError, ("start_params", "(2,)", "3 parameters")),
    Case("start_params of a matrix", lambda d: _logit(d, start_params=np.zeros((3, 1))), bh.OptionError, ("start_params", "(3, 1)", "3 parameters")),
    Case("start_params of MNLogit too short", lambda d: _mnlogit(d, start_params=np.zeros((3, 1))), bh.OptionError, ("start_params", "6 parameters")),
    Case("start_params of NaN", lambda d: _logit(d, start_params=[0.0, np.nan, 1.0]), bh.BetahatError, ("finite", "start")),
    Case("start_params of text", lambda d: _logit(d, start_params="zero"), bh.DataError, ("'zero'", "numbers are expected", "pass")),
    Case("statsmodels' start_params in front", lambda d: bh.Logit(d.y, d.x).fit(np.zeros(3)), bh.OptionError, ("cov_type", "pass")),
    Case("a solver", lambda d: _logit(d, method="bfgs"), bh.OptionError, ("fit does not take 'method'", "Newton", "leave")),
    Case("a solver and its steps, MNLogit", lambda d: _mnlogit(d, method="newton", maxiter=100), bh.OptionError, ("fit does not take 'method', 'maxiter'", "leave")),
]  # fmt: skip

FITS = [
    Case("separated, Logit", lambda d: bh.Logit(d.frame["y"], _dividing(d)).fit(), bh.EstimationError, ("separated", "'age'", "penalty=")),
    Case("separated, Probit", lambda d: bh.Probit(d.frame["y"], _dividing(d)).fit(), bh.EstimationError, ("separated", "'age'", "penalty=")),
    Case("nearly separated, Logit", lambda d: bh.Logit(d.frame["y"], _touching(d)).fit(), bh.EstimationError, ("separated", "'age'", "penalty=")),
    Case("nearly separated, Probit", lambda d: bh.Probit(d.frame["y"], _touching(d)).fit(), bh.EstimationError, ("separated", "'age'", "penalty=")),
    Case("a dummy of ones, Logit", lambda d: bh.Logit(d.frame["y"], _dummy_of_ones(d)).fit(), bh.EstimationError, ("separated", "'rare'", "Leave")),
    Case("a dummy of ones, Probit", lambda d: bh.Probit(d.frame["y"], _dummy_of_ones(d)).fit(), bh.EstimationError, ("separated", "'rare'", "Leave")),
    Case("a dummy of zero counts", lambda d: bh.Poisson(d.frame["counts"], _dummy_of_zero_counts(d)).fit(), bh.EstimationError, ("separated", "'rare'", "Leave")),
    Case("a dummy of one class", lambda d: bh.MNLogit(d.m, _dummy_of_ones(d).assign(rare=(d.m == 1) * (np.arange(d.n) < 20) * 1.0)).fit(),
         bh.EstimationError, ("separated", "'rare'", "Leave")),
    Case("separated classes", lambda d: bh.MNLogit(d.m, d.frame[["const"]].assign(age=d.m + 0.1 * d.y)).fit(), bh.EstimationError, ("separated", "'age'")),
    Case("separated in a formula", lambda d: bh.logit("y ~ exper + age", _dividing(d).assign(y=d.y)).fit(), bh.EstimationError, ("separated", "'age'")),
    Case("separated by a category", lambda d: bh.logit("y ~ exper + C(g)", d.frame.assign(g=np.where(_dummy_of_ones(d)["rare"] > 0, "z", d.frame["town"]))).fit(),
         bh.EstimationError, ("separated", "C(g)[T.z]")),
    Case("n is k", lambda d: bh.Logit([0, 1, 1], [[1, 0.3, 1], [1, 2, 0.1], [1, 1.5, 3]]).fit(), bh.EstimationError, ("3 rows", "3 coefficients")),
    Case("n is below k", lambda d: bh.Poisson(d.c[:2], d.x[:2]).fit(), bh.EstimationError, ("2 rows", "3 coefficients")),
    Case("n is below the coefficients, MNLogit", lambda d: bh.MNLogit(d.m[:5], d.x[:5]).fit(), bh.EstimationError, ("separated", "'x2'")),
    Case("n is k, MNLogit", lambda d: bh.MNLogit(d.m[:3], d.x[:3]).fit(), bh.EstimationError, ("3 rows", "coefficients")),
    Case("every regressor is zero", lambda d: bh.Logit(d.y, 0 * d.x).fit(), bh.EstimationError, ("zero", "pass")),
]  # fmt: skip

RESULTS = [
    Case("HC2 with the OPG", lambda d: _logit(d, cov_type="HC2", bread="opg"), bh.EstimationError, ("'opg'", "HC2", "HC0")),
    Case("HC3 with the OPG", lambda d: _poisson(d, bread="opg").with_cov("HC3"), bh.EstimationError, ("'opg'", "HC3", "HC0")),
    Case("HC2 for MNLogit", lambda d: _mnlogit(d, cov_type="HC2"), bh.EstimationError, ("HC2 and HC3 divide by one minus the leverage", "several indices", "HC0")),
    Case("HC3 for MNLogit", lambda d: _mnlogit(d).with_cov("HC3"), bh.EstimationError, ("HC2 and HC3 divide by one minus the leverage", "several indices", "HC0")),
    Case("HC3 where a leverage is 1", lambda d: bh.Poisson(d.frame["counts"], _alone(d)).fit("HC3"), bh.EstimationError, ("HC3", "1 row", "HC1")),
    Case("pred_table of Poisson", lambda d: _poisson(d).pred_table(), bh.OptionError, ("pred_table", "binary", "predict()")),
    Case("predict: which", lambda d: _logit(d).predict(which="prob"), bh.OptionError, ("'prob'", "'mean'", "'linear'", "'var'")),
    Case("predict: which of MNLogit", lambda d: _mnlogit(d).predict(which="var"), bh.OptionError, ("'var'", "'mean'", "'linear'")),
    Case("get_prediction: which", lambda d: _logit(d).get_prediction(which="var"), bh.OptionError, ("'var'", "'mean'", "'linear'")),
    Case("get_prediction: labels", lambda d: _logit(d).get_prediction(row_labels=["a"]), bh.OptionError, ("1 label", "40")),
    Case("predict: offset too short", lambda d: _poisson(d).predict(d.frame[:5], offset=[1.0, 2.0]), bh.DataError, ("offset", "(2,)", "5")),
    Case("predict: offset of strings", lambda d: _poisson(d).predict(d.frame[:2], offset=["a", "b"]), bh.DataError, ("['a', 'b']", "numbers are expected", "pass")),
    Case("predict: offset with NaN", lambda d: _poisson(d).predict(d.frame[:2], offset=[1.0, np.nan]), bh.DataError, ("offset", "missing", "pass")),
    Case("predict: exposure too short", lambda d: _poisson(d).predict(d.frame, exposure=np.ones(3)), bh.DataError, ("exposure", "(3,)", "40")),
    Case("predict: exposure of zero", lambda d: _poisson(d).predict(d.frame, exposure=np.zeros(d.n)), bh.DataError, ("exposure", "positive")),
    Case("predict: negative exposure", lambda d: _poisson(d).predict(d.frame, exposure=-1.0), bh.DataError, ("exposure", "positive")),
    Case("predict: offset without exog", lambda d: _poisson(d).predict(offset=np.ones(d.n)), bh.OptionError, ("offset", "those of the fit", "pass exog")),
    Case("predict: exposure without exog", lambda d: _poisson(d).predict(exposure=np.ones(d.n)), bh.OptionError, ("exposure", "those of the fit", "pass exog")),
    Case("predict: too wide", lambda d: bh.Logit(d.y, d.x).fit().predict(np.ones((2, 4))), bh.DataError, ("4 columns", "3", "pass")),
    Case("predict: a variable is missing", lambda d: _logit(d).predict(d.frame[["educ"]]), bh.BetahatError, ("y ~ educ", "'exper'")),
    Case("predict: a variable is missing, MNLogit", lambda d: _mnlogit(d).predict(d.frame[["educ"]]), bh.BetahatError, ("town ~ educ", "'exper'")),
    Case("margins: at", lambda d: _logit(d).get_margeff(at="average"), bh.OptionError, ("'average'", "'overall'")),
    Case("margins: method", lambda d: _logit(d).get_margeff(method="dx"), bh.OptionError, ("'dx'", "'dydx'", "'eyex'")),
    Case("margins: elasticity of a dummy", lambda d: _logit(d).get_margeff(method="eyex", dummy=True), bh.OptionError, ("'eyex'", "'dydx'")),
    Case("margins: median of counts", lambda d: _logit(d).get_margeff(at="median", count=True), bh.OptionError, ("'median'", "'overall'")),
    Case("margins: errors at all", lambda d: _logit(d).get_margeff(at="all").summary_frame(), bh.OptionError, ("'all'", "'overall'")),
    Case("margins: atexog names no column", lambda d: _logit(d).get_margeff(atexog={"edcu": 1.0}), bh.OptionError, ("'edcu'", "'educ'")),
    Case("margins: atexog names no position", lambda d: _mnlogit(d).get_margeff(atexog={7: 1.0}), bh.OptionError, ("7", "'educ'")),
    Case("margins: atexog too narrow", lambda d: _logit(d).get_margeff(atexog=[1.0, 2.0]), bh.DataError, ("2 columns", "3", "pass")),
    Case("margins: atexog of text", lambda d: _logit(d).get_margeff(atexog={"educ": "high"}), bh.DataError, ("'high'", "numbers are expected", "pass")),
    Case("margins: atexog of a wrong length", lambda d: _logit(d).get_margeff(atexog={"educ": [1.0, 2.0]}), bh.DataError, ("'educ'", "(2,)", "40 rows", "pass")),
    Case("margins: atexog with NaN", lambda d: _logit(d).get_margeff(atexog=[1.0, np.nan, 2.0]), bh.DataError, ("atexog", "missing", "pass")),
    Case("margins: atexog of fewer rows and an offset", lambda d: bh.Poisson(d.c, d.x, offset=d.y).fit().get_margeff(at="mean", atexog=d.x[:7]), bh.DataError, ("atexog has 7 rows", "40 rows of the data", "offset", "pass as many rows")),
    Case("margins: atexog of fewer rows and freq_weights", lambda d: bh.Poisson(d.c, d.x, freq_weights=d.y + 1).fit().get_margeff(at="mean", atexog=d.x[:7]),
         bh.DataError, ("atexog has 7 rows", "40 rows of the data", "freq_weights", "pass as many rows")),
    Case("margins of a constant", lambda d: bh.Logit(d.y, np.ones(d.n)).fit().get_margeff(), bh.EstimationError, ("No regressor", "constant")),
    Case("margins: alpha", lambda d: _logit(d).get_margeff().summary(alpha=95), bh.OptionError, ("95", "0.05")),
    Case("summary: xname", lambda d: _mnlogit(d).summary(xname=["a"]), bh.OptionError, ("1", "3", "pass")),
    Case("summary: alpha", lambda d: _poisson(d).summary(alpha=95), bh.OptionError, ("95", "0.05")),
    Case("info_criteria", lambda d: _logit(d).info_criteria("tic"), bh.OptionError, ("'tic'", "'aic'")),
    Case("restriction: an unknown name", lambda d: _logit(d).t_test("edcu = 0"), bh.FormulaError, ("edcu", "'educ'")),
    Case("restriction: an equation is missing", lambda d: _mnlogit(d).t_test("educ = 0"), bh.FormulaError, ("educ", "town=b:educ")),
    Case("restriction: too narrow", lambda d: _mnlogit(d).f_test(np.eye(3)), bh.FormulaError, ("3 columns", "6 parameters", "pass")),
]  # fmt: skip


def _raised(case, given):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bh.BetahatWarning)
            found = case.mistake(given)
    except Exception as error:
        return error
    return found


def _check(case):
    given, before = _given(), copy.deepcopy(_given())
    error = _raised(case, given)
    assert isinstance(error, Exception), f"nothing was raised; it returned {error!r}"
    assert isinstance(error, case.error), f"{type(error).__name__}: {error}"
    text = str(error)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert len(text) <= LONGEST, f"{len(text)} letters"
    assert not re.search(r"  | \)|\( |\.\.$", text), text
    assert re.search(r"[;,:] ", text), f"it says nothing of what to do: {text}"
    for words in case.says:
        assert words in text, f"{words!r} is not in: {text}"
    for name, value in vars(before).items():
        now = getattr(given, name)
        assert now.equals(value) if isinstance(value, pd.DataFrame) else np.array_equal(now, value)


def _named(*groups):
    cases = [case for group in groups for case in group]
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def _no_work(*_, **__):
    raise AssertionError("the work had started")


@_named(DATA, BESIDE)
def test_data(case, monkeypatch):
    """Data are refused when the model is made."""
    monkeypatch.setattr("betahat.models.likelihood.fit_index", _no_work)
    _check(case)


@_named(OPTIONS, FITS, RESULTS)
def test_fits_and_results(case):
    _check(case)


def _collinear(d):
    """The model's data, with a column that is the sum of others in fourth place, and the column left out."""
    full = d.frame[["const", "educ", "exper"]].assign(
        both=d.frame["educ"] + 2 * d.frame["exper"], years=d.frame["years"]
    )
    return full, full.drop(columns="both")


_MODELS = {
    "Logit": lambda d, x: bh.Logit(d.frame["y"], x),
    "Probit": lambda d, x: bh.Probit(d.frame["y"], x),
    "Poisson": lambda d, x: bh.Poisson(d.frame["counts"], x),
    "MNLogit": lambda d, x: bh.MNLogit(d.frame["town"], x),
}


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("name", _MODELS)
def test_collinear_columns_left_out_are_those_of_the_reduced_model(name, cov_type):
    """As R does: the later of collinear columns has no coefficient, and the others are a refit without it."""
    d = _given()
    full, reduced = _collinear(d)
    with pytest.warns(bh.CollinearityWarning, match="'both'"):
        mine = _MODELS[name](d, full).fit(cov_type, rank="drop")
    theirs = _MODELS[name](d, reduced).fit(cov_type)
    for attribute in ("params", "bse", "tvalues", "pvalues"):
        long, short = np.asarray(getattr(mine, attribute)), np.asarray(getattr(theirs, attribute))
        assert np.isnan(long[3]).all()
        np.testing.assert_allclose(np.delete(long, 3, 0), short, rtol=REFIT)
    _same_fit(mine, theirs)
    np.testing.assert_allclose(mine.predict(full[:5]), theirs.predict(reduced[:5]), rtol=REFIT)
    np.testing.assert_allclose(mine.predict(), theirs.predict(), rtol=REFIT)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("name", _MODELS)
def test_collinear_columns_kept_have_the_least_norm(name, cov_type):
    """By the pseudoinverse: fit and predictions are the reduced model's, and no null direction is in b or V.

    The oracle maps the reduced model's b and V by the pseudoinverse of the full columns.
    """
    d = _given()
    full, reduced = _collinear(d)
    with pytest.warns(bh.CollinearityWarning):
        mine = _MODELS[name](d, full).fit(cov_type)
    theirs = _MODELS[name](d, reduced).fit(cov_type)
    _same_fit(mine, theirs)
    to_full = np.linalg.pinv(full.to_numpy()) @ reduced.to_numpy()
    b = to_full @ np.asarray(theirs.params)
    np.testing.assert_allclose(np.asarray(mine.params), b, rtol=REFIT, atol=REFIT * np.abs(b).max())
    blocks = np.kron(np.eye(b.shape[1] if b.ndim == 2 else 1), to_full)
    v = blocks @ np.asarray(theirs.cov_params()) @ blocks.T
    np.testing.assert_allclose(np.asarray(mine.cov_params()), v, atol=REFIT * np.abs(v).max())
    np.testing.assert_allclose(mine.predict(full[:5]), theirs.predict(reduced[:5]), rtol=REFIT)


def _same_fit(mine, theirs):
    for attribute in ("llf", "llnull", "aic", "bic", "prsquared", "df_model", "df_resid", "llr_pvalue"):
        np.testing.assert_allclose(getattr(mine, attribute), getattr(theirs, attribute), rtol=REFIT, err_msg=attribute)
    np.testing.assert_allclose(mine.fittedvalues, theirs.fittedvalues, rtol=0, atol=REFIT)


def _has_a_direction(gaps, level):
    """Tell by linear programming whether some b has gaps b >= 0, not all zero, and level b = 0."""
    equal = {"A_eq": level, "b_eq": np.zeros(len(level))} if len(level) else {}
    found = linprog(-gaps.sum(0), A_ub=-gaps, b_ub=np.zeros(len(gaps)), bounds=[(-1, 1)] * gaps.shape[1], **equal)
    assert found.status == 0
    return -found.fun > 1e-7


def _is_separated(name, y, x):
    """Albert and Anderson (1984) for classes; Santos Silva and Tenreyro (2010) for counts."""
    if name == "Poisson":
        return bool((y == 0).any()) and _has_a_direction(-x[y == 0], x[y > 0])
    if name != "MNLogit":
        return _has_a_direction((2 * y - 1)[:, None] * x, [])
    unit = np.eye(int(y.max()) + 1)
    gaps = [
        np.outer(unit[c] - unit[j], row)[1:].ravel()
        for c, row in zip(y.astype(int), x, strict=True)
        for j in range(len(unit))
        if j != c
    ]
    return _has_a_direction(np.array(gaps), [])


def _small_problem(rng, name):
    n, k = int(rng.integers(8, 30)), int(rng.integers(1, 4))
    x = rng.integers(-2, 3, (n, k)) if rng.random() < 0.6 else rng.normal(size=(n, k))
    x = np.column_stack([np.ones(n), x])
    index = x @ rng.normal(size=(k + 1, 2)) * rng.choice([0.5, 2, 5])
    if name == "Poisson":
        return rng.poisson(np.exp(index[:, 0].clip(-5, 2))) * 1.0, x
    if name == "MNLogit":
        chosen = np.argmax(np.column_stack([np.zeros(n), index]) + rng.gumbel(size=(n, 3)), 1)
        return np.unique(chosen, return_inverse=True)[1] * 1.0, x
    return (index[:, 0] + rng.logistic(size=n) > 0) * 1.0, x


@pytest.mark.parametrize("name", _MODELS)
def test_separation_is_found_where_there_is_one_and_nowhere_else(name):
    """The oracle is a linear program: data are separated if and only if it has a direction."""
    rng = np.random.default_rng(11)
    verdicts = []
    while len(verdicts) < 60:
        y, x = _small_problem(rng, name)
        if np.linalg.matrix_rank(x) < x.shape[1] or len(np.unique(y)) < 2:
            continue
        verdicts.append(_is_separated(name, y, x))
        if verdicts[-1]:
            with pytest.raises(bh.EstimationError, match="separated"):
                getattr(bh, name)(y, x).fit()
        else:
            assert getattr(bh, name)(y, x).fit().converged
    assert 0 < sum(verdicts) < len(verdicts)


def test_separation_is_refused_under_every_covariance_and_bread():
    d = _given()
    for options in ({"cov_type": "HC0"}, {"bread": "opg"}, {"bread": "expected"}, {"rank": "drop"}):
        with pytest.raises(bh.EstimationError, match="separated"):
            bh.Logit(d.y, _touching(d)).fit(**options)


def test_separation_far_from_the_units_of_a_column():
    """The direction is found whatever the scale of the columns."""
    d = _given()
    for scale in (1e-6, 1e6):
        with pytest.raises(bh.EstimationError, match=r"'rare'.*separated"):
            bh.Logit(d.frame["y"], _dummy_of_ones(d) * [1, scale, 1 / scale]).fit()


def test_separation_far_from_zero():
    """A trend counted from a million: the constant of the index is as large, and nothing else has changed."""
    t = np.arange(40)
    for model in (bh.Logit, bh.Probit):
        with pytest.raises(bh.EstimationError, match="separated"):
            model((t > 19) * 1.0, np.column_stack([np.ones(40), 1e6 + t])).fit()


def test_nearly_separated_data_that_overlap_have_an_estimate():
    """One row on the wrong side is enough: the optimum is far out, and it is one."""
    x = np.column_stack([np.ones(40), np.arange(40.0)])
    y = (np.arange(40) > 19) * 1.0
    y[19], y[20] = 1.0, 0.0
    for model in (bh.Logit, bh.Probit):
        res = model(y, x).fit()
        scores = x.T @ np.asarray(res.resid_generalized)
        np.testing.assert_allclose(scores, 0, atol=1e-9)


if __name__ == "__main__":
    for case in (*DATA, *BESIDE, *OPTIONS, *FITS, *RESULTS):
        found = _raised(case, _given())
        print(
            f"{case.name:45s} {type(found).__name__}: {found if isinstance(found, Exception) else 'NOTHING WAS RAISED'}"
        )
