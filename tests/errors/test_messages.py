"""Every mistake is one sentence: what came, with its name or number, and what to do; and it harms nothing.

``python tests/errors/test_messages.py`` prints all the sentences, to be read aloud.
"""

import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

import betahat as bh

LONGEST = 420  # a sentence that can be read in one breath, with a list of names in it


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    error: type[Exception]
    says: tuple[str, ...] = field(default=())


def _given():
    """Return fresh data; the cases may break them only by copies."""
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(12), rng.normal(size=(12, 2))])
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=12)
    frame = pd.DataFrame(x[:, 1:], columns=["educ", "exper"]).assign(y=y, town=list("ab") * 6, w=np.arange(1.0, 13.0))
    weights = np.linspace(0.5, 1.5, 12)
    return SimpleNamespace(x=x, y=y, frame=frame, weights=weights, tx=torch.tensor(x), ty=torch.tensor(y))


def _with(values, where, value):
    changed = values.copy()
    changed[where] = value
    return changed


def _fit(d, **options):
    return bh.ols("y ~ educ + exper", d.frame).fit(**options)


def _dummy(d):
    """The last row has a dummy of its own, so its leverage is 1."""
    return np.column_stack([d.x, np.eye(12)[:, -1]])


def _other_estimator(returned):
    class Own(bh.Estimator):
        def __call__(self, fit):
            return returned(fit)

    return Own()


DATA = [
    Case("endog is shorter", lambda d: bh.OLS(d.y[:-1], d.x), bh.DataError, ("endog", "11", "12", "pass")),
    Case("weights are shorter", lambda d: bh.WLS(d.y, d.x, d.weights[:5]), bh.DataError, ("weights", "5", "12", "pass")),
    Case("ragged rows", lambda d: bh.OLS([1, 2], [[1, 2], [3]]), bh.DataError, ("exog", "lengths", "pass")),
    Case("endog of two columns", lambda d: bh.OLS(d.x, d.y), bh.DataError, ("endog", "3 columns", "pass")),
    Case("weights of two columns", lambda d: bh.WLS(d.y, d.x, d.x), bh.DataError, ("weights", "3 columns", "pass")),
    Case("NaN in an array", lambda d: bh.OLS(d.y, _with(d.x, ([1, 4], 2), np.nan)), bh.DataError,
         ("2 of 12", "column 2 (2)", "missing='drop'")),
    Case("NaN in a frame", lambda d: bh.OLS(d.y, pd.DataFrame(_with(d.x, (1, 2), np.nan), columns=list("abc"))), bh.DataError,
         ("1 of 12", "c (1)", "missing='drop'")),
    Case("NaN in endog", lambda d: bh.OLS(pd.Series(_with(d.y, 3, np.nan), name="wage"), d.x), bh.DataError,
         ("1 of 12", "wage (1)", "missing='drop'")),
    Case("infinity", lambda d: bh.OLS(d.y, _with(d.x, ([1, 2, 3], 1), np.inf)), bh.DataError,
         ("3 of 12", "nfinite", "column 1 (3)", "replace")),
    Case("minus infinity in a tensor", lambda d: bh.OLS(torch.tensor(_with(d.y, 3, -np.inf)), d.tx), bh.DataError,
         ("1 of 12", "nfinite", "y (1)", "replace")),
    Case("missing is 'raise'", lambda d: bh.OLS(_with(d.y, 3, np.nan), d.x, missing="raise"), bh.DataError,
         ("1 of 12", "y (1)", "missing='drop'")),
    Case("every row is missing", lambda d: bh.OLS(d.y * np.nan, d.x, missing="drop"), bh.DataError, ("row", "missing", "fill")),
    Case("no rows", lambda d: bh.OLS(d.y[:0], d.x[:0]), bh.DataError, ("empty", "(0, 3)", "pass")),
    Case("no columns", lambda d: bh.OLS(d.y, d.x[:, :0]), bh.DataError, ("empty", "(12, 0)", "pass")),
    Case("empty lists", lambda d: bh.OLS([], []), bh.DataError, ("empty", "pass")),
    Case("empty frame", lambda d: bh.ols("y ~ educ", d.frame.iloc[:0]), bh.DataError, ("empty", "pass")),
    Case("n is k", lambda d: bh.OLS(d.y[:3], d.x[:3]).fit(), bh.EstimationError, ("3 rows", "3 coefficients", "use")),
    Case("n is below k", lambda d: bh.OLS(d.y[:2], d.x[:2]).fit(), bh.EstimationError, ("2 rows", "3 coefficients", "use")),
    Case("a number for endog", lambda d: bh.OLS(1.0, d.x), bh.DataError, ("endog", "pass")),
    Case("endog is None", lambda d: bh.OLS(None, d.x), bh.DataError, ("endog", "None", "pass")),
    Case("exog is None", lambda d: bh.OLS(d.y, None), bh.DataError, ("exog", "None", "pass")),
    Case("exog is a dict", lambda d: bh.OLS(d.y, {"a": d.y}), bh.DataError, ("exog", "dict", "pass")),
    Case("negative weights", lambda d: bh.WLS(d.y, d.x, _with(d.weights, [2, 3], -1)), bh.DataError, ("weights", "2", "negative", "pass")),
    Case("a negative weight for all", lambda d: bh.WLS(d.y, d.x, -1.0), bh.DataError, ("weights", "negative", "pass")),
    Case("weights of zero", lambda d: bh.WLS(d.y, d.x, 0 * d.weights), bh.DataError, ("weights", "zero", "pass")),
    Case("weights are missing", lambda d: bh.WLS(d.y, d.x, _with(d.weights, 2, np.nan)), bh.DataError,
         ("1 of 12", "weights (1)", "missing='drop'")),
    Case("infinite weights", lambda d: bh.WLS(d.y, d.x, _with(d.weights, 2, np.inf)), bh.DataError, ("weights (1)", "nfinite", "replace")),
    Case("a column's name beside arrays", lambda d: bh.WLS(d.y, d.x, weights="w"), bh.DataError, ("weights", "'w'")),
    Case("an object array", lambda d: bh.OLS(d.y, d.x.astype(object)), bh.DataError, ("exog", "object", "astype(float)")),
    Case("an array of strings", lambda d: bh.OLS(d.y, d.x.astype(str)), bh.DataError, ("exog", "string", "astype(float)")),
    Case("a list of strings", lambda d: bh.OLS(["a"] * 12, d.x), bh.DataError, ("endog", "string", "astype(float)")),
    Case("an array of dates", lambda d: bh.OLS(d.y, np.arange(12).astype("datetime64[D]")), bh.DataError, ("exog", "datetime64")),
    Case("a string column", lambda d: bh.OLS(d.frame["y"], d.frame[["educ", "town"]]), bh.DataError, ("exog", "'town'", "C(")),
    Case("a categorical column", lambda d: bh.OLS(d.frame["y"], d.frame[["town"]].astype("category")), bh.DataError, ("'town'", "C(")),
    Case("a date column", lambda d: bh.OLS(d.y, d.frame.assign(day=pd.Timestamp("2020-01-01"))[["educ", "day"]]), bh.DataError, ("'day'",)),
    Case("a string series", lambda d: bh.OLS(d.frame["town"], d.x), bh.DataError, ("endog", "'town'")),
    Case("a polars string column", lambda d: bh.OLS(d.y, pl.DataFrame({"a": d.y, "town": ["u"] * 12})), bh.DataError, ("'town'", "C(")),
    Case("columns of one name", lambda d: bh.OLS(d.y, pd.DataFrame(d.x, columns=["a", "b", "a"])), bh.DataError, ("'a'", "rename")),
    Case("columns of one name in a formula", lambda d: bh.ols("y ~ a", pd.DataFrame(d.x, columns=["a", "y", "a"])), bh.BetahatError, ("'a'", "rename")),
    Case("complex array", lambda d: bh.OLS(d.y + 1j, d.x), bh.DataError, ("endog", "complex", "real")),
    Case("complex tensor", lambda d: bh.OLS(d.ty, d.tx + 1j), bh.DataError, ("exog", "complex", "real")),
    Case("sparse tensor", lambda d: bh.OLS(d.ty, d.tx.to_sparse()), bh.DataError, ("exog", "sparse", "to_dense()")),
    Case("sparse CSR tensor", lambda d: bh.OLS(d.ty, d.tx.to_sparse_csr()), bh.DataError, ("exog", "sparse", "to_dense()")),
    Case("scipy's sparse matrix", lambda d: bh.OLS(d.y, scipy.sparse.csr_array(d.x)), bh.DataError, ("exog", "csr", "pass")),
    Case("three dimensions", lambda d: bh.OLS(d.y, d.x[:, :, None]), bh.DataError, ("exog", "3 dimensions", "pass")),
    Case("three dimensions of endog", lambda d: bh.OLS(d.y[:, None, None], d.x), bh.DataError, ("endog", "3 dimensions", "pass")),
    Case("two devices", lambda d: bh.OLS(d.ty.to("meta"), d.tx), bh.DataError, ("endog", "meta", "cpu", "move")),
    Case("weights on another device", lambda d: bh.WLS(d.ty, d.tx, d.ty.to("meta")), bh.DataError, ("weights", "meta", "cpu", "move")),
    Case("lazy polars", lambda d: bh.OLS(d.y, pl.DataFrame(d.x).lazy()), bh.DataError, ("exog", "LazyFrame", ".collect()")),
    Case("a generator in a formula", lambda d: bh.ols("y ~ educ", (d.frame for _ in range(2))), bh.DataError, ("generator", "only once", "pass")),
    Case("data is a number", lambda d: bh.ols("y ~ educ", 3), bh.DataError, ("data", "int", "pass")),
    Case("indices differ", lambda d: bh.OLS(d.frame["y"].iloc[::-1], d.frame[["educ"]]), bh.DataError, ("indices", "align")),
    Case("unknown missing", lambda d: bh.OLS(d.y, d.x, missing="dorp"), bh.OptionError, ("'dorp'", "'drop'", "use")),
    Case("unknown missing in a formula", lambda d: bh.ols("y ~ educ", d.frame, missing="omit"), bh.OptionError, ("'omit'", "'drop'")),
    Case("dtype of whole numbers", lambda d: bh.OLS(d.y, d.x, dtype=torch.int64), bh.OptionError, ("int64", "float64")),
    Case("dtype of a half", lambda d: bh.OLS(d.y, d.x, dtype=torch.float16), bh.OptionError, ("float16", "float64")),
    Case("dtype of NumPy", lambda d: bh.OLS(d.y, d.x, dtype=np.float64), bh.OptionError, ("float64", "torch.float64")),
    Case("dtype is a string", lambda d: bh.OLS(d.y, d.x, dtype="float64"), bh.OptionError, ("float64", "torch.float64")),
    Case("unknown device", lambda d: bh.OLS(d.y, d.x, device="gpu"), bh.OptionError, ("'gpu'", "'cuda'")),
    Case("add_constant: has_constant", lambda d: bh.add_constant(d.x, has_constant="yes"), bh.OptionError, ("'yes'", "'skip'", "use")),
    Case("add_constant: there is one", lambda d: bh.add_constant(d.x, has_constant="raise"), bh.DataError, ("column '0'", "pass")),
    Case("add_constant: three dimensions", lambda d: bh.add_constant(d.x[None]), bh.DataError, ("3 dimensions", "pass")),
]  # fmt: skip

FORMULAS = [
    Case("an unknown name", lambda d: bh.ols("y ~ edcu", d.frame), bh.FormulaError, ("'edcu'", "did you mean 'educ'")),
    Case("a name like no other", lambda d: bh.ols("y ~ qqq", d.frame), bh.FormulaError, ("'qqq'", "'educ'")),
    Case("an unknown name in a function", lambda d: bh.ols("y ~ np.log(expr)", d.frame), bh.FormulaError, ("'expr'", "'exper'")),
    Case("an unknown left side", lambda d: bh.ols("wage ~ educ", d.frame), bh.FormulaError, ("'wage'",)),
    Case("an unknown function", lambda d: bh.ols("y ~ lgo(educ)", d.frame), bh.FormulaError, ("lgo",)),
    Case("a syntax error", lambda d: bh.ols("y ~ educ +* exper", d.frame), bh.FormulaError, ("y ~ educ +* exper",)),
    Case("an open bracket", lambda d: bh.ols("y ~ (educ", d.frame), bh.FormulaError, ("y ~ (educ",)),
    Case("two tildes", lambda d: bh.ols("y ~ educ ~ exper", d.frame), bh.FormulaError, ("y ~ educ ~ exper",)),
    Case("an empty formula", lambda d: bh.ols("", d.frame), bh.FormulaError, ("y ~",)),
    Case("no columns on the right", lambda d: bh.ols("y ~ 0", d.frame), bh.BetahatError, ("'y ~ 0'",)),
    Case("no left side", lambda d: bh.ols("educ + exper", d.frame), bh.FormulaError, ("left-hand side", "write 'y ~")),
    Case("an empty left side", lambda d: bh.ols("~ educ", d.frame), bh.FormulaError, ("left-hand side", "write 'y ~")),
    Case("two columns on the left", lambda d: bh.ols("np.column_stack([y, educ]) ~ exper", d.frame), bh.FormulaError, ("left-hand side", "2 columns")),
    Case("terms on the left", lambda d: bh.ols("y + educ ~ exper", d.frame), bh.FormulaError, ("left-hand side 'y + educ'", "write I(y + educ)")),
    Case("text on the left", lambda d: bh.ols("town ~ exper", d.frame), bh.FormulaError, ("left-hand side", "town")),
    Case("no string", lambda d: bh.ols(d.y, d.frame), bh.FormulaError, ("string", "ndarray", "bh.OLS")),
    Case("data before formula", lambda d: bh.ols(d.frame, "y ~ educ"), bh.FormulaError, ("string", "DataFrame")),
    Case("a function that fails", lambda d: bh.ols("y ~ np.log(town)", d.frame), bh.FormulaError, ("np.log(town)",)),
    Case("a missing weights column", lambda d: bh.wls("y ~ educ", d.frame, weights="wt"), bh.BetahatError, ("'wt'", "'w'")),
    Case("a weights column of text", lambda d: bh.wls("y ~ educ", d.frame, weights="town"), bh.DataError, ("'town'",)),
    Case("short weights", lambda d: bh.wls("y ~ educ", d.frame, weights=d.weights[:5]), bh.DataError, ("weights", "5", "12", "pass")),
    Case("negative weights", lambda d: bh.wls("y ~ educ", d.frame, weights=-d.weights), bh.DataError, ("weights", "12", "negative")),
    Case("missing, and not to drop", lambda d: bh.ols("y ~ educ", d.frame.assign(educ=d.frame["educ"].where(d.frame.index != 3)), missing="raise"), bh.DataError,
         ("1 of 12", "educ (1)", "missing='drop'")),
    Case("nothing is left", lambda d: bh.ols("y ~ educ", d.frame.assign(educ=np.nan)), bh.DataError, ("row", "fill")),
    Case("a logarithm of zero", lambda d: bh.ols("y ~ np.log(educ * 0)", d.frame), bh.DataError, ("nfinite", "np.log(educ * 0)")),
    Case("an unknown option", lambda d: bh.OLS.from_formula("y ~ educ", d.frame, subset=[1]), bh.OptionError, ("'subset'", "'missing'")),
    Case("weights for OLS", lambda d: bh.OLS.from_formula("y ~ educ", d.frame, weights="w"), bh.OptionError, ("'weights'",)),
]  # fmt: skip

ESTIMATORS = [
    Case("a misspelt name", lambda d: _fit(d, cov_type="HC33"), bh.OptionError, ("'HC33'", "did you mean 'HC3'", "'nonrobust'")),
    Case("an unknown name", lambda d: _fit(d, cov_type="white"), bh.OptionError, ("'white'", "'HC0'", "'nonrobust'")),
    Case("an empty name", lambda d: _fit(d, cov_type=""), bh.OptionError, ("''", "'HC0'")),
    Case("an unknown option", lambda d: _fit(d, cov_type="HC3", cov_kwds={"maxlags": 3}), bh.OptionError, ("'HC3'", "maxlags")),
    Case("a misspelt option", lambda d: _fit(d, cov_type="fixed scale", cov_kwds={"scael": 3}), bh.OptionError, ("scael", "'scale'")),
    Case("a class", lambda d: _fit(d, cov_type=bh.HC3), bh.OptionError, ("HC3", "HC3()")),
    Case("a number", lambda d: _fit(d, cov_type=3), bh.OptionError, ("3", "bh.HC3()")),
    Case("options beside an estimator", lambda d: _fit(d, cov_type=bh.FixedScale(), cov_kwds={"scale": 2}), bh.OptionError, ("'scale'", "estimator")),
    Case("a negative scale", lambda d: bh.FixedScale(-1.0), bh.OptionError, ("-1", "positive")),
    Case("a scale of text", lambda d: bh.FixedScale("two"), bh.OptionError, ("two", "positive")),
    Case("an unknown rank", lambda d: _fit(d, rank="qr"), bh.OptionError, ("'qr'", "'pinv'", "'drop'")),
    Case("a name that is taken", lambda d: bh.register_covariance("hc3", bh.HC0), bh.OptionError, ("'hc3'", "choose")),
    Case("a name that is none", lambda d: bh.register_covariance(3, bh.HC0), bh.OptionError, ("3",)),
    Case("a factory that is none", lambda d: bh.register_covariance("mine", bh.HC0()(_fit(d).fit)), bh.OptionError, ("'mine'", "Covariance", "pass")),
    Case("with_cov of a misspelt name", lambda d: _fit(d).with_cov("HC33"), bh.OptionError, ("'HC33'", "did you mean 'HC3'")),
    Case("get_robustcov_results of a misspelt option", lambda d: _fit(d).get_robustcov_results("fixed scale", scael=3), bh.OptionError, ("scael", "'scale'")),
]  # fmt: skip

RESULTS = [
    Case("HC2 where a leverage is 1", lambda d: bh.OLS(d.y, _dummy(d)).fit("HC2"), bh.EstimationError, ("HC2", "1 row", "'11'", "HC1")),
    Case("HC3 where a leverage is 1", lambda d: bh.OLS(d.y, _dummy(d)).fit("HC3"), bh.EstimationError, ("HC3", "1 row", "'11'", "HC1")),
    Case("HC3 where a labelled row's leverage is 1", lambda d: bh.OLS(pd.Series(d.y, list("abcdefghijkl")), _dummy(d)).fit().with_cov("HC3"),
         bh.EstimationError, ("HC3", "'l'", "HC1")),
    Case("a function that returns an array", lambda d: _fit(d, cov_type=lambda fit: np.eye(3)), bh.EstimationError, ("ndarray", "bh.Covariance")),
    Case("a function that returns None", lambda d: _fit(d, cov_type=lambda fit: None), bh.EstimationError, ("None", "bh.Covariance")),
    Case("a matrix of the wrong shape", lambda d: _fit(d, cov_type=lambda fit: bh.Covariance(torch.eye(2), "own", "")), bh.EstimationError, ("(2, 2)", "(3, 3)")),
    Case("a matrix that is no tensor", lambda d: _fit(d, cov_type=lambda fit: bh.Covariance(np.eye(3), "own", "")), bh.EstimationError, ("ndarray", "tensor")),
    Case("an estimator that returns an array", lambda d: _fit(d, cov_type=_other_estimator(lambda fit: np.eye(3))), bh.EstimationError, ("ndarray", "bh.Covariance")),
    Case("an estimator of the wrong shape", lambda d: _fit(d, cov_type=_other_estimator(lambda fit: bh.Covariance(torch.eye(2), "own", ""))),
         bh.EstimationError, ("(2, 2)", "(3, 3)")),
    Case("restriction: unknown name", lambda d: _fit(d).t_test("edcu = 0"), bh.FormulaError, ("'edcu", "'educ'")),
    Case("restriction: a name that begins like another", lambda d: _fit(d).t_test("education = 0"), bh.FormulaError, ("'education' is neither",)),
    Case("restriction: unknown name, F", lambda d: _fit(d).f_test("educ = edcu"), bh.FormulaError, ("edcu", "'educ'")),
    Case("restriction: not linear", lambda d: _fit(d).wald_test("educ * exper = 0"), bh.FormulaError, ("educ * exper", "linear")),
    Case("restriction: no sense", lambda d: _fit(d).t_test("educ = = 2"), bh.FormulaError, ("educ = = 2",)),
    Case("restriction: too wide", lambda d: _fit(d).f_test(np.eye(4)), bh.FormulaError, ("4 columns", "3 parameters", "pass")),
    Case("restriction: too short a row", lambda d: _fit(d).t_test([1, 0]), bh.FormulaError, ("2 columns", "3 parameters", "pass")),
    Case("restriction: right-hand sides", lambda d: _fit(d).t_test((np.eye(3), [0, 0])), bh.FormulaError, ("3 restrictions", "2 right", "pass")),
    Case("restriction: object", lambda d: _fit(d).t_test(object()), bh.BetahatError, ("object",)),
    Case("new data: too narrow", lambda d: bh.OLS(d.y, d.x).fit().predict(d.x[:, :2]), bh.DataError, ("2 columns", "3", "pass")),
    Case("new data: too wide", lambda d: bh.OLS(d.y, d.x).fit().get_prediction(_dummy(d)), bh.DataError, ("4 columns", "3", "pass")),
    Case("new data: a variable is missing", lambda d: _fit(d).predict(d.frame[["educ"]]), bh.BetahatError, ("'exper'",)),
    Case("new data: other names", lambda d: bh.OLS(d.y, pd.DataFrame(d.x, columns=list("abc"))).fit().predict(pd.DataFrame(d.x, columns=list("abd"))),
         bh.DataError, ("'c'",)),
    Case("new data: an unseen category", lambda d: bh.ols("y ~ town", d.frame).fit().predict(pd.DataFrame({"town": ["z"]})), bh.DataError, ("'z'",)),
    Case("new data: text", lambda d: bh.OLS(d.y, d.x).fit().predict("x"), bh.DataError, ("No file", "'x'", "pass")),
    Case("new data: three dimensions", lambda d: bh.OLS(d.y, d.x).fit().predict(d.x[None]), bh.DataError, ("3 dimensions",)),
    Case("prediction: weights", lambda d: bh.OLS(d.y, d.x).fit().get_prediction(d.x, weights=[1, 2]), bh.OptionError, ("(2,)", "12", "pass")),
    Case("prediction: labels", lambda d: bh.OLS(d.y, d.x).fit().get_prediction(d.x, row_labels=["a"]).summary_frame(), bh.OptionError, ("1", "12")),
    Case("alpha of 5", lambda d: _fit(d).conf_int(alpha=5), bh.OptionError, ("5", "0.05")),
    Case("alpha of 0", lambda d: _fit(d).conf_int(alpha=0), bh.OptionError, ("0", "0.05")),
    Case("alpha of text", lambda d: _fit(d).conf_int(alpha="5%"), bh.OptionError, ("'5%'", "0.05")),
    Case("alpha of a summary", lambda d: _fit(d).summary(alpha=95), bh.OptionError, ("95", "0.05")),
    Case("alpha of a prediction", lambda d: _fit(d).get_prediction().summary_frame(alpha=-1), bh.OptionError, ("-1", "0.05")),
    Case("conf_level of tidy", lambda d: _fit(d).tidy(conf_level=95), bh.OptionError, ("conf_level", "95", "0.95")),
    Case("delta: NumPy", lambda d: _fit(d).delta(lambda p: np.log(p["educ"])), bh.EstimationError, ("torch.log",)),
    Case("delta: float", lambda d: _fit(d).delta(lambda p: float(p["educ"])), bh.EstimationError, ("torch",)),
    Case("delta: detached", lambda d: _fit(d).delta(lambda p: p["educ"].detach()), bh.EstimationError, ("torch",)),
    Case("delta: a constant", lambda d: _fit(d).delta(lambda p: 3.0), bh.EstimationError, ("3.0", "torch")),
    Case("delta: nothing", lambda d: _fit(d).delta(lambda p: None), bh.EstimationError, ("None", "torch")),
    Case("delta: an unknown name", lambda d: _fit(d).delta(lambda p: p["edcu"]), bh.OptionError, ("'edcu'", "'educ'")),
    Case("delta: an unknown position", lambda d: _fit(d).delta(lambda p: p[7]), bh.OptionError, ("7",)),
    Case("every regressor is zero", lambda d: bh.OLS(d.y, np.zeros((12, 2))).fit(), bh.EstimationError, ("zero", "pass")),
    Case("delta: no function", lambda d: _fit(d).delta("educ / exper"), bh.BetahatError, ("'educ / exper'", "lambda p")),
    Case("delta: no gradient", lambda d: _fit(d).delta(lambda p: (p["educ"] * 0).abs().sqrt()), bh.EstimationError, ("gradient",)),
    Case("compare with nothing", lambda d: bh.compare(_fit(d), []), bh.OptionError, ("list", "'HC1'")),
    Case("compare with a string", lambda d: bh.compare(_fit(d), "HC1"), bh.OptionError, ("list", "'HC1'")),
    Case("compare with a misspelt name", lambda d: bh.compare(_fit(d), ["HC1", "HC33"]), bh.OptionError, ("'HC33'", "'HC3'")),
    Case("compare no result", lambda d: bh.compare(bh.OLS(d.y, d.x), ["HC1"]), bh.OptionError, ("OLS", "fit")),
    Case("regtable of nothing", lambda d: bh.regtable([]), bh.OptionError, ("list", "res1")),
    Case("regtable of a model", lambda d: bh.regtable([bh.OLS(d.y, d.x)]), bh.OptionError, ("OLS", "res1")),
    Case("not nested: rows", lambda d: _fit(d).compare_f_test(bh.ols("y ~ educ", d.frame.iloc[1:]).fit()), bh.DataError, ("12", "11", "same rows")),
    Case("not nested: larger", lambda d: bh.ols("y ~ educ", d.frame).fit().compare_lr_test(_fit(d)), bh.DataError, ("3", "2", "nested")),
    Case("not nested: other columns", lambda d: _fit(d).compare_f_test(bh.ols("y ~ w", d.frame).fit()), bh.DataError, ("nested",)),
    Case("not nested: other endog", lambda d: _fit(d).compare_lm_test(bh.ols("w ~ educ", d.frame).fit()), bh.DataError, ("nested", "endog")),
    Case("not nested: other weights", lambda d: _fit(d).compare_f_test(bh.wls("y ~ educ", d.frame, weights="w").fit()), bh.DataError, ("weights",)),
    Case("not nested: no result", lambda d: _fit(d).compare_f_test(bh.OLS(d.y, d.x)), bh.OptionError, ("OLS",)),
    Case("xname", lambda d: _fit(d).summary(xname=["a"]), bh.OptionError, ("1", "3", "pass")),
    Case("info_criteria", lambda d: _fit(d).info_criteria("dic"), bh.OptionError, ("'dic'", "'aic'")),
    Case("cov_p", lambda d: _fit(d).t_test("educ", cov_p=np.eye(2)), bh.OptionError, ("(2, 2)", "3", "pass")),
    Case("cov_params: column and r_matrix", lambda d: _fit(d).cov_params(r_matrix=np.eye(3), column=1), bh.OptionError, ("column", "r_matrix", "pass")),
    Case("cov_params: other alone", lambda d: _fit(d).cov_params(other=np.eye(3)), bh.OptionError, ("other", "r_matrix", "pass")),
    Case("cov_params: too wide", lambda d: _fit(d).cov_params(r_matrix=np.eye(4)), bh.FormulaError, ("4", "3")),
    Case("cov_params: no such column", lambda d: _fit(d).cov_params(column=7), bh.OptionError, ("7", "'exper'")),
    Case("outlier_test: method", lambda d: _fit(d).outlier_test(method="bonn"), bh.OptionError, ("'bonn'",)),
    Case("wald_test_terms: no such part", lambda d: _fit(d).wald_test_terms(combine_terms=["zzz"]), bh.OptionError, ("'zzz'", "'educ'")),
]  # fmt: skip


def _raised(case, given):
    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore"):
            warnings.simplefilter("ignore", bh.BetahatWarning)
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True to a scalar")
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            found = case.mistake(given)
    except Exception as error:
        return error
    return found


def _check(case):
    given, before = _given(), copy.deepcopy(_given())
    error = _raised(case, given)
    assert isinstance(error, Exception), f"nothing was raised; it returned {error!r}"
    assert isinstance(error, case.error), f"{type(error).__name__}: {error}"
    assert isinstance(error, ValueError)
    _check_sentence(str(error))
    for words in case.says:
        assert words in str(error), f"{words!r} is not in: {error}"
    for name, value in vars(before).items():
        now = getattr(given, name)
        assert now.equals(value) if isinstance(value, pd.DataFrame) else np.array_equal(now, value)


def _check_sentence(text):
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert len(text) <= LONGEST, f"{len(text)} letters"
    assert not re.search(r"\x1b|  | \)|\( |\.\.$", text), text
    assert re.search(r"[;,:] ", text), f"it says nothing of what to do: {text}"


def _named(cases):
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def _no_work(*_, **__):
    raise AssertionError("the work had started")


@_named(DATA)
def test_data(case, monkeypatch):
    """Data are refused when the model is made, or at the latest before the first product."""
    monkeypatch.setattr("betahat.fits.linear.least_squares", _no_work)
    _check(case)


@_named(FORMULAS)
def test_formulas(case, monkeypatch):
    monkeypatch.setattr("betahat.fits.linear.least_squares", _no_work)
    _check(case)


@_named(ESTIMATORS)
def test_estimators(case, monkeypatch):
    """Names and options are refused before the fit, where it is the fit that they are given to."""
    if not any(part in case.name for part in ("with_cov", "get_robustcov", "factory")):
        monkeypatch.setattr("betahat.fits.linear.least_squares", _no_work)
    _check(case)


@_named(RESULTS)
def test_results(case):
    _check(case)


def test_every_error_is_a_value_error():
    for error in (bh.DataError, bh.FormulaError, bh.OptionError, bh.EstimationError):
        assert issubclass(error, bh.BetahatError)
    assert issubclass(bh.BetahatError, ValueError)


if __name__ == "__main__":
    for case in (*DATA, *FORMULAS, *ESTIMATORS, *RESULTS):
        found = _raised(case, _given())
        print(
            f"{case.name:45s} {type(found).__name__}: {found if isinstance(found, Exception) else 'NOTHING WAS RAISED'}"
        )
