"""Every place that raises or warns is provoked from the public face, and its sentence read.

The other files of this folder hold the common mistakes; here is the rest, so that `test_every_site_is_provoked` can say that
nothing that the package says has never been read. ``python tests/errors/test_every_message.py`` prints the sentences.
"""

import itertools
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh
from betahat.__main__ import main, read_table

LONGEST = 420  # a sentence that can be read in one breath, with a list of names in it


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises or warns, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    kind: type[Exception]
    says: tuple[str, ...] = field(default=())


def _given():
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(24), rng.normal(size=(24, 2))])
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=24)
    frame = pd.DataFrame(x[:, 1:], columns=["educ", "exper"]).assign(
        y=y,
        yes=(rng.random(24) > 0.5) * 1,
        town=list("abcdef") * 4,
        when=pd.date_range("2020-01-01", periods=24),
        lat=np.linspace(-60, 60, 24),
        lon=np.linspace(-170, 170, 24),
    )
    groups = np.arange(24) // 2
    counts = np.arange(24) % 2 + 1
    yes = torch.tensor(frame["yes"].to_numpy(dtype=float))[:, None]
    return SimpleNamespace(
        x=x, y=y, frame=frame, groups=groups, counts=counts, tx=torch.tensor(x), ty=torch.tensor(y), yes=yes
    )


def _fit(d, *given, **options):
    return bh.ols("y ~ educ + exper", d.frame).fit(*given, **options)


def _logit(d, **options):
    return bh.Logit(d.frame["yes"].to_numpy(), d.x).fit(**options)


def _net(d, loss=None, module=None, y=None, **options):
    torch.manual_seed(0)
    module = nn.Linear(3, 1, bias=False) if module is None else module
    return bh.TorchModel(module, loss or nn.MSELoss(), d.tx, d.ty[:, None] if y is None else y, **options)


def _m(d, loss, params=None, **options):
    return bh.MEstimator(loss, {"b": 0.5} if params is None else params, {"x": d.tx, "y": d.ty}, **options)


def _dummy(d):
    """The last row has a dummy of its own, so its leverage is 1."""
    return np.column_stack([d.x, np.eye(24)[:, -1]])


def _periods(d):
    """A regressor about its means by period, and the periods' dummies, so that these hold nothing of its slope."""
    dummies = np.eye(6)[np.arange(24) % 6]
    return np.column_stack([d.x[:, 1] - dummies @ (dummies.T @ d.x[:, 1]) / 4, dummies])


def _cauchy(output, target):
    return torch.log1p((output - target) ** 2)


class Curve(nn.Module):
    """exp(x b), whose one-step leverage may pass 1."""

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor([0.1, 0.1, 0.1]))

    def forward(self, x):
        return (x @ self.b)[:, None].exp()


class Root(nn.Module):
    """Zero at its parameters, with a derivative that is infinite there."""

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.b.abs().sqrt() * x[:, :1]


CALLS = itertools.count()  # chance would have two calls agree now and then


class Restless(nn.Module):
    """The same output and slope at each call, and another curvature."""

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor([0.1, 0.1, 0.1]))

    def forward(self, x):
        change = self.b - self.b.detach()
        return (x @ self.b)[:, None].exp() + 0.01 * (0.618 * next(CALLS) % 1.0) * change.square().sum()


class Held(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.x, self.fc = x, nn.Linear(3, 1, bias=False, dtype=torch.float64)

    def forward(self):
        return self.fc(self.x).exp()


class Scattered(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3, device="meta"))


class Own(bh.Estimator):
    """A covariance of one's own, with draws or degrees of freedom that say no more."""

    def __init__(self, **known):
        self.known = known

    def __call__(self, fit):
        return bh.Covariance(fit.bread, "own", "Own.", **self.known)


class Meat(bh.Estimator):
    def __call__(self, fit):
        return bh.sandwich(fit, torch.eye(2), "own", "Own.")


def _two_ways(seed, scale=1.0):
    """Data of which the sum over the ways of clustering is not positive semi-definite."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(24), rng.normal(size=(24, 2))])
    return bh.OLS(rng.normal(size=24), x * [1.0, 1.0, scale])


_WAYS = bh.Cluster(pd.DataFrame({"a": np.arange(24) // 4, "b": np.arange(24) % 6}))


def _poor(work):
    """Work where a kilobyte is free."""
    with mock.patch("betahat.solvers.memory.free_memory", return_value=1024):
        return work()


def _garbage():
    path = Path(tempfile.mkdtemp()) / "table.parquet"
    path.write_bytes(b"no table")
    return path


def _at_a_maximum(res):
    top = float(res.params["educ"])
    return res.delta(lambda p: -((p["educ"] - top) ** 2))


def _without_pyarrow(_):
    with mock.patch.dict("betahat.__main__._READERS", {".parquet": mock.Mock(side_effect=ImportError)}):
        return read_table(_garbage())


def _script():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Linear(3, 1))


def _bootstrap(d, kind="pairs", reps=19, **options):
    return _fit(d, bh.Bootstrap(reps, kind, seed=1, **options))


DATA = [
    Case("a table of another kind", lambda d: read_table(Path("data.xls")), bh.DataError, ("'.xls'", "'.csv'")),
    Case("no such table", lambda d: read_table(Path("no.csv")), bh.DataError, ("'no.csv'", "folder")),
    Case("a table that is none", lambda d: read_table(_garbage()), bh.DataError, ("cannot be read", ".parquet")),
    Case("a reader that is not installed", _without_pyarrow, bh.DataError, ("pip install pyarrow",)),
    Case("columns 1 and '1'", lambda d: bh.OLS(d.y, pd.DataFrame(d.x, columns=[1, "1", 2])), bh.DataError, ("'1'", "rename")),
    Case("a formula and an array", lambda d: bh.ols("y ~ x", d.x), bh.DataError, ("ndarray", "pass a dataframe")),
    Case("add_constant: 'const'", lambda d: bh.add_constant(pd.DataFrame({"const": d.y})), bh.DataError, ("'const'", "rename")),
    Case("add_constant: nothing", lambda d: bh.add_constant([]), bh.DataError, ("empty", "pass")),
    Case("hasconst", lambda d: bh.OLS(d.y, d.x, hasconst="yes"), bh.OptionError, ("'yes'", "True, False")),
    Case("a name for an offset", lambda d: bh.Logit(d.y, d.x, offset="w"), bh.DataError, ("offset", "'w'", "offset='w'")),
    Case("endog too large", lambda d: bh.OLS(d.y * 1e200, d.x).fit(), bh.EstimationError, ("'y'", "unit")),
    Case("endog too small", lambda d: bh.OLS(d.y * 1e-200, d.x).fit(), bh.EstimationError, ("'y'", "unit")),
    Case("exog too large", lambda d: bh.OLS(d.y, d.x * [1, 1e200, 1]).fit(), bh.EstimationError, ("'x1'", "unit")),
    Case("endog too large, many rows", lambda d: bh.OLS(np.tile(d.y, 4000) * 1e200, np.tile(d.x, (4000, 1))).fit(), bh.EstimationError, ("'y'", "unit")),
    Case("endog too small, many rows", lambda d: bh.OLS(np.tile(d.y, 4000) * 1e-200, np.tile(d.x, (4000, 1))).fit(), bh.EstimationError, ("'y'", "unit")),
    Case("dates for numbers", lambda d: bh.ols("y ~ when", d.frame), bh.FormulaError, ("'when'", "dates", "days")),
    Case("dates on the left", lambda d: bh.ols("when ~ educ", d.frame), bh.FormulaError, ("'when'", "dates")),
    Case("all other columns", lambda d: bh.ols("y ~ .", d.frame), bh.FormulaError, ("`.`", "'y ~ x1 + C(group)'")),
    Case("numbers for classes", lambda d: bh.MNLogit(d.y, d.x), bh.DataError, ("24 classes in 24 rows", "OLS")),
]  # fmt: skip

COVARIANCES = [
    Case("CR2 of classes by outer products", lambda d: bh.MNLogit(d.counts, d.x).fit(bread="opg").with_cov(bh.Cluster(d.groups, "CR2")), bh.EstimationError, ("opg",)),
    Case("CR2 of an index by outer products", lambda d: _logit(d, bread="opg").with_cov(bh.Cluster(d.groups, "CR2")), bh.EstimationError, ("opg",)),
    Case("CR2 of a module by outer products", lambda d: _net(d, module=Curve(), y=d.ty[:, None].abs()).fit(bread="opg").with_cov(bh.Cluster(d.groups, "CR2")), bh.EstimationError, ("opg",)),
    Case("CR2 of a loss that is not convex", lambda d: _net(d, _cauchy).fit("HC0").with_cov(bh.Cluster(d.groups, "CR2")), bh.EstimationError, ("CR1",)),
    Case("no variance at all", lambda d: _fit(d, bh.HAC(23, kernel="truncated")), bh.EstimationError, ("no coefficient a variance", "Bartlett")),
    Case("OPG of a penalty", lambda d: _net(d, nn.BCEWithLogitsLoss(), y=d.yes, penalty=0.1).fit("OPG"), bh.EstimationError, ("penalty", "'HC0'")),
    Case("OPG of a row's dummy", lambda d: bh.OLS(d.y, _dummy(d)).fit("OPG"), bh.EstimationError, ("singular", "'HC0'")),
    Case("classical of a loss that the penalty turns", lambda d: _m(d, lambda b, y: -0.1 * (y - b) ** 2, likelihood=True, penalty=lambda p: 10 * p["b"] ** 2).fit("nonrobust"), bh.EstimationError, ("penalty", "'HC0'")),
    Case("a repair that units decide", lambda d: _two_ways(2, 1e-9).fit(replace(_WAYS, psd="repair")), bh.EstimationError, ("units", "similar sizes")),
    Case("a matrix: shape", lambda d: _fit(d).with_cov(np.eye(2)), bh.OptionError, ("(2, 2)", "(3, 3)")),
    Case("a matrix: not finite", lambda d: _fit(d).with_cov(np.full((3, 3), np.nan)), bh.OptionError, ("not finite", "pass")),
    Case("a matrix: negative", lambda d: _fit(d).with_cov(-np.eye(3)), bh.OptionError, ("negative variance", "pass")),
    Case("a matrix: another order", lambda d: _fit(d).with_cov(pd.DataFrame(np.eye(3), *[["educ", "exper", "Intercept"]] * 2)), bh.OptionError, ("'Intercept', 'educ', 'exper'", ".loc")),
    Case("HC3 of a curve", lambda d: bh.TorchModel(Curve(), nn.MSELoss(), d.tx * 2, d.ty[:, None].abs()).fit("HC0").with_cov("HC3"), bh.EstimationError, ("one-step leverage", "HC0")),
    Case("refits of freq_weights", lambda d: bh.Logit(d.frame["yes"], d.x, freq_weights=d.counts).fit(bh.Jackknife(refit=True)), bh.EstimationError, ("freq_weights", "refit=False")),
    Case("refits of a module with its data", lambda d: bh.TorchModel(Held(d.tx), nn.PoissonNLLLoss(log_input=False), None, d.yes).fit("HC0").with_cov(bh.Jackknife(refit=True)), bh.EstimationError, ("holds its own data", "one-step")),
    Case("refits without an estimate", lambda d: bh.Logit(np.eye(24)[3], np.ones((24, 1))).fit(bh.Jackknife(refit=True)), bh.EstimationError, ("labelled '3'", "refit=False")),
    Case("cov_kwds", lambda d: _fit(d, cov_type="cluster", cov_kwds="town"), bh.OptionError, ("'town'", "dict")),
    Case("use_t", lambda d: _fit(d, use_t="yes"), bh.OptionError, ("'yes'", "True for t")),
    Case("a meat of another shape", lambda d: _fit(d, Meat()), bh.EstimationError, ("(2, 2)", "(3, 3)", "rows.meat")),
    Case("two columns for a latitude", lambda d: _fit(d, bh.Conley(["lat", "lon"], "lon", 100)), bh.OptionError, ("latitude", "2 columns", "pass one")),
    Case("labels of several types", lambda d: _fit(d, bh.Cluster(pd.Series([pd.Timestamp("2020"), 1] * 12))), bh.DataError, ("several types", "strings or numbers")),
    Case("tables beyond the memory", lambda d: _poor(lambda: _fit(d, bh.Cluster("town", "CR2"))), bh.EstimationError, ("GB", "fewer groups")),
    Case("residuals of a row's dummy", lambda d: bh.OLS(d.y, _dummy(d)).fit(bh.Bootstrap(9, "wild", residuals="HC3", seed=1)), bh.EstimationError, ("leverage 1", "'raw'")),
]  # fmt: skip

MODELS = [
    Case("an idle design", lambda d: _net(d, module=Curve()).fit("HC0").fit.design, bh.EstimationError, ("torch model", "predict")),
    Case("a loss that curves downward", lambda d: _m(d, lambda b, y: -((y - b) ** 2)).fit(polish=False), bh.EstimationError, ("curves downward", "'b'", "polish=True")),
    Case("no second derivative where the parameters are", lambda d: _m(d, lambda b, y: (y - b) ** 2 + b.abs() ** 1.5, {"b": 0.0}).fit("HC0", polish=False), bh.EstimationError, ("second derivatives", "finite")),
    Case("no second derivative at the start", lambda d: _m(d, lambda b, y: (y - b) ** 2 + b.abs() ** 1.5, {"b": 0.0}).fit("HC0"), bh.EstimationError, ("second derivatives", "starting parameters")),
    Case("a solver that does not arrive", lambda d: _m(d, lambda b, y: (y - b).abs() + 1e-9 * (y - b) ** 2).fit("HC0"), bh.EstimationError, ("stopped after", "kink", "smooth")),
    Case("no derivative of the output", lambda d: _net(d, module=Root()).fit(), bh.EstimationError, ("not finite", "pass parameters")),
    Case("another Hessian at each call", lambda d: _net(d, module=Restless(), y=d.ty[:, None].abs()).fit("HC0"), bh.EstimationError, ("Two computations", "every call")),
    Case("one number for inputs", lambda d: bh.TorchModel(nn.Linear(1, 1), nn.MSELoss(), torch.tensor(1.0), d.ty), bh.DataError, ("single number", "pass a row")),
    Case("a loss by rows that is not", lambda d: _net(d, lambda o, t: (o - t - o.mean()) ** 2), bh.DataError, ("depends on other rows", "pass")),
    Case("a loss that is not finite", lambda d: _net(d, lambda o, t: (o - t).sum().log() * float("nan")), bh.DataError, ("nan", "finite")),
    Case("one number, neither sum nor mean", lambda d: _m(d, lambda b, y: ((y - b) ** 2).sum().sqrt()), bh.DataError, ("neither the sum nor the mean", "penalty=")),
    Case("several devices", lambda d: _net(d, module=Scattered()), bh.DataError, ("several devices", "move")),
    Case("parameters themselves for names", lambda d: _net(d, params=list(nn.Linear(3, 1).parameters())), bh.OptionError, ("list", "'weight'")),
    Case("a module for several devices", lambda d: _net(d, module=nn.DataParallel(nn.Linear(3, 1))), bh.OptionError, ("DataParallel", "module.module")),
    Case("TorchScript", lambda d: _net(d, module=_script()), bh.OptionError, ("TorchScript", "made from")),
    Case("a string for names", lambda d: _net(d, names="abc"), bh.OptionError, ("'abc'", "list")),
    Case("polish", lambda d: _net(d).fit(polish="yes"), bh.OptionError, ("'yes'", "True")),
    Case("polish of an M-estimator", lambda d: _m(d, lambda b, y: (y - b) ** 2).fit(polish="yes"), bh.OptionError, ("'yes'", "True")),
    Case("a log-likelihood for a loss", lambda d: _m(d, lambda b, y: -((y - b) ** 2)).fit(), bh.EstimationError, ("wrong sign",)),
]  # fmt: skip

RESULTS = [
    Case("t_test: a number", lambda d: _fit(d).t_test(1), bh.FormulaError, ("1", "'x1 = x2'")),
    Case("t_test: None", lambda d: _fit(d).t_test(None), bh.FormulaError, ("None", "'x1 = x2'")),
    Case("t_test: nothing", lambda d: _fit(d).t_test(""), bh.FormulaError, ("empty", "'educ'")),
    Case("t_test: two equal signs", lambda d: _fit(d).t_test("educ == 0"), bh.FormulaError, ("a name or a number", "'educ'")),
    Case("t_test: not finite", lambda d: _fit(d).t_test([0, np.nan, 1]), bh.FormulaError, ("infinite", "pass")),
    Case("t_test: use_t", lambda d: _fit(d).t_test("educ", use_t="no"), bh.OptionError, ("'no'", "True")),
    Case("t_test: a column left out", lambda d: _collinear(d).t_test("twice = 0"), bh.EstimationError, ("'twice'", "collinear")),
    Case("f_test: a contradiction", lambda d: _fit(d).f_test("educ = 0, educ = 1"), bh.EstimationError, ("contradict", "test fewer")),
    Case("t_test: a function that is not identified", lambda d: _collinear(d, "pinv").t_test("twice = 0"), bh.EstimationError, ("'twice'", "collinear", "rank='drop'")),
    Case("f_test: functions that are not identified", lambda d: _collinear(d, "pinv").f_test("Intercept = 0, twice = 0"), bh.EstimationError, ("'twice'", "collinear", "rank='drop'")),
    Case("delta: a function that is not identified", lambda d: _collinear(d, "pinv").delta(lambda p: p["educ"] + p["twice"]), bh.EstimationError, ("'educ', 'twice'", "collinear", "rank='drop'")),
    Case("compare_lm_test: a row's dummy", lambda d: bh.OLS(d.y, _dummy(d)).fit("HC0").compare_lm_test(bh.OLS(d.y, d.x).fit(), use_lr=True), bh.EstimationError, ("singular", "use wald_test")),
    Case("t_test: degrees of freedom of single coefficients", lambda d: _fit(d, Own(df=torch.tensor([3.0, 4.0, 5.0]))).t_test("educ = exper"), bh.EstimationError, ("single coefficients", "use_t=False")),
    Case("t_test: nothing by the wild bootstrap", lambda d: _bootstrap(d, "wild", clusters="town").t_test(np.zeros((1, 3))), bh.EstimationError, ("no coefficient", "test one")),
    Case("wald_test_terms: a name for a list", lambda d: _fit(d).wald_test_terms(combine_terms="educ"), bh.OptionError, ("'educ'", "list")),
    Case("wald_test_terms: no pairs", lambda d: _fit(d).wald_test_terms(extra_constraints=["educ = 0"]), bh.OptionError, ("pairs",)),
    Case("cov_params: scale", lambda d: _fit(d).cov_params(scale="1"), bh.OptionError, ("'1'", "variance")),
    Case("tidy: a string", lambda d: _fit(d).tidy("0.95"), bh.OptionError, ("'0.95'", "share")),
    Case("outlier_test: alpha", lambda d: _fit(d).outlier_test(alpha=5), bh.OptionError, ("alpha is 5", "0.05")),
    Case("pred_table: threshold", lambda d: _logit(d).pred_table("a"), bh.OptionError, ("'a'", "0.5")),
    Case("predict: text for numbers", lambda d: _fit(d).predict(d.frame.assign(educ="a")), bh.DataError, ("'educ'", "strings", "convert")),
    Case("prediction: negative weights", lambda d: bh.OLS(d.y, d.x).fit().get_prediction(d.x, weights=-d.y), bh.OptionError, ("weights", "positive")),
    Case("margins: dummy", lambda d: _logit(d).get_margeff(dummy="yes"), bh.OptionError, ("dummy", "'yes'", "True")),
    Case("margins: count", lambda d: _logit(d).get_margeff(count=2), bh.OptionError, ("count", "2", "True")),
    Case("margins: three dimensions", lambda d: _logit(d).get_margeff(atexog=np.ones((2, 2, 3))), bh.DataError, ("(2, 2, 3)", "pass")),
    Case("delta: a column left out", lambda d: _collinear(d).delta(lambda p: p["twice"]), bh.EstimationError, ("'twice'", "collinear")),
    Case("delta: an attribute", lambda d: _fit(d).delta(lambda p: p.educ), bh.EstimationError, ("'educ'", "p['name']")),
    Case("delta: not a number", lambda d: _fit(d).delta(lambda p: (-p["educ"].abs()).log()), bh.EstimationError, ("nan", "real numbers")),
    Case("delta: a complex number", lambda d: _fit(d).delta(lambda p: 1j * p["educ"]), bh.EstimationError, ("real numbers",)),
    Case("studentized of draws of one's own", lambda d: _fit(d, Own(draws=torch.tensor(np.random.default_rng(1).normal(size=(50, 3))))).conf_int(method="studentized"), bh.OptionError, ("of your own", "'percentile'")),
    Case("bca of a maximum", lambda d: _at_a_maximum(_bootstrap(d)).conf_int(method="bca"), bh.EstimationError, ("the same side", "'basic'")),
    Case("bca of residuals", lambda d: _bootstrap(d, "residual", 99).conf_int(method="bca"), bh.EstimationError, ("'bca'", "'percentile'")),
    Case("bca of scores", lambda d: _bootstrap(d, "score", 99).conf_int(method="bca"), bh.EstimationError, ("'bca'", "'percentile'")),
    Case("studentized of scores", lambda d: _bootstrap(d, "score", 99).conf_int(method="studentized"), bh.EstimationError, ("'studentized'", "'percentile'")),
    Case("tails of the wild bootstrap", lambda d: _bootstrap(d, "wild", 99, clusters="town").bootstrap_pvalues("equal"), bh.OptionError, ("symmetric", "omit tail")),
]  # fmt: skip

WARNINGS = [
    Case("f_test: no covariance", lambda d: _fit(d).with_cov(np.ones((3, 3)) * 2 - np.eye(3)).f_test(np.eye(3)), bh.ClusterWarning, ("positive semi-definite", "no joint test")),
    Case("t_test: no variance", lambda d: _fit(d).with_cov(np.ones((3, 3)) * 2 - np.eye(3)).t_test("educ = exper"), bh.ClusterWarning, ("1 restriction", "NaN")),
    Case("wald_test_terms: not identified", lambda d: _collinear(d, "pinv").wald_test_terms(), bh.ClusterWarning, ("'educ', 'twice'", "collinear")),
    Case("predict: not identified", lambda d: _collinear(d, "pinv").predict({"educ": [1.0, 2.0], "twice": [2.0, 5.0]}), bh.CollinearityWarning, ("1 prediction", "no standard error")),
    Case("HAC with a negative variance", lambda d: _fit(d, bh.HAC(12, kernel="truncated")), bh.ClusterWarning, ("not positive semi-definite", "no variance", "Bartlett")),
    Case("periods' own dummies", lambda d: bh.OLS(d.y, _periods(d)).fit(bh.DriscollKraay(np.arange(24) % 6, 0)), bh.ClusterWarning, ("'x2', 'x3'", "no variance", "report only these")),
    Case("HAC that is no covariance", lambda d: _fit(d, bh.HAC(5, kernel="truncated")), bh.ClusterWarning, ("Bartlett",)),
    Case("two ways that are no covariance", lambda d: _two_ways(2).fit(_WAYS), bh.ClusterWarning, ("psd='repair'",)),
    Case("a nested test under HC1", lambda d: _fit(d, "HC1").compare_f_test(bh.ols("y ~ educ", d.frame).fit()), bh.RobustTestWarning, ("homoskedastic", "wald_test")),
    Case("a likelihood ratio under HC1", lambda d: _fit(d, "HC1").compare_lr_test(bh.ols("y ~ educ", d.frame).fit()), bh.RobustTestWarning, ("wald_test",)),
    Case("few replicates", lambda d: _bootstrap(d).conf_int(0.01, method="percentile"), bh.BootstrapWarning, ("19 replicates", "more reps")),
    Case("an exact fit", lambda d: bh.OLS(d.x @ [1.0, 2.0, 3.0], d.x).fit().resid_pearson, bh.BetahatWarning, ("unscaled",)),
    Case("a perfect fit", lambda d: bh.OLS(d.x @ [1.0, 2.0, 3.0], d.x).fit("HC3"), bh.BetahatWarning, ("perfect fit", "follows from a regressor")),
    Case("collinear columns", lambda d: bh.OLS(d.y, d.x[:, [0, 1, 1]]).fit(), bh.CollinearityWarning, ("depend",)),
    Case("collinear columns of Logit", lambda d: bh.Logit(d.frame["yes"], d.x[:, [0, 1, 1]]).fit(), bh.CollinearityWarning, ("depend",)),
    Case("far from the optimum", lambda d: _net(d).fit("HC0", polish=False), bh.ConvergenceWarning, ("standard errors from the optimum",)),
]  # fmt: skip

ALL = (*DATA, *COVARIANCES, *MODELS, *RESULTS, *WARNINGS)


def _collinear(d, rank="drop"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.CollinearityWarning)
        return bh.ols("y ~ educ + twice", d.frame.assign(twice=2 * d.frame["educ"])).fit(rank=rank)


def _provoked(case):
    """Return what was raised, and the warnings, each of which must point at this file: the user's line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", bh.BetahatWarning)
        try:
            case.mistake(_given())
        except Exception as error:
            return error, caught
    return None, caught


def _check_sentence(text, says):
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert len(text) <= LONGEST, f"{len(text)} letters"
    assert not re.search(r"\x1b|  | \)|\( |\.\.$| ,| ;", text), text
    assert re.search(r"[;,:.] ", text), f"it says nothing of what to do: {text}"
    for words in says:
        assert words in text, f"{words!r} is not in: {text}"


@pytest.mark.parametrize("case", ALL[: -len(WARNINGS)], ids=lambda case: case.name)
def test_errors(case):
    error, _ = _provoked(case)
    assert isinstance(error, Exception), "nothing was raised"
    assert type(error) is case.kind, f"{type(error).__name__}: {error}"
    _check_sentence(str(error), case.says)


@pytest.mark.parametrize("case", WARNINGS, ids=lambda case: case.name)
def test_warnings(case):
    error, caught = _provoked(case)
    assert error is None
    said = [warning for warning in caught if warning.category is case.kind]
    assert any(all(words in str(warning.message) for words in case.says) for warning in said)
    for warning in said:
        assert warning.filename == __file__, "it points elsewhere than at the user's line"
        _check_sentence(str(warning.message), ())


def test_no_folder_for_a_table(capsys):
    assert main(["y ~ x", "no.csv", "--latex", "nowhere/x.tex"]) == 2
    assert capsys.readouterr().err == (
        "betahat: The folder of 'nowhere/x.tex' does not exist; create it first, or write the table elsewhere.\n"
    )


def test_an_exact_fit_is_summarised_in_silence():
    """The residuals are zero, which the fit has said; scipy has more to say, and a user nothing to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The residuals are zero")
        res = bh.OLS(np.ones(24), _given().x).fit()
        warnings.simplefilter("error")
        res.summary()


def test_names_are_different():
    assert len({case.name for case in ALL}) == len(ALL)


def test_every_site_is_provoked(silent):
    """Each `raise` of an error of ours, and each warning, is executed by some test of the session; this one runs last."""
    assert not silent, "no test provokes these:\n" + "\n".join(silent)


def test_every_sentence_ends(said):
    """Whatever was said so far is a sentence, on one line."""
    odd = {place: text for place, text in said.items() if "\n" in text or not re.search(r"[^. ][.?]$", text)}
    assert not odd


def test_sites_are_found(sites):
    assert len(sites) > 300
    assert len({path for path, *_ in sites}) > 40


if __name__ == "__main__":
    for case in ALL:
        error, caught = _provoked(case)
        for found in [error, *(warning.message for warning in caught)]:
            if found is not None:
                print(f"{case.name:45s} {type(found).__name__}: {found}")
