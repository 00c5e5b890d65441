"""Every mistake with clusters, lags, panels, the jackknife and the bootstrap is one sentence: what came, and what to do; so are the warnings.

``python tests/errors/test_cluster_messages.py`` prints all the sentences, to be read aloud.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

LONGEST = 420  # as in test_messages.py


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises, or warns of, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    kind: type
    says: tuple[str, ...] = field(default=())


def _given():
    rng = np.random.default_rng(0)
    firm, year = np.repeat(np.arange(12), 5), np.tile(np.arange(2000, 2005), 12)
    frame = pd.DataFrame({"x": rng.normal(size=60), "firm": firm, "year": year, "town": firm % 4}, index=range(10, 70))
    frame["y"] = frame["x"] + rng.normal(size=12)[firm] + rng.normal(size=60)
    frame["name"] = [f"firm {i}" for i in firm]
    frame["holes"] = np.where(np.arange(60) % 20 == 3, np.nan, firm)
    frame["one"] = 1
    frame["north"], frame["east"] = rng.uniform(40, 50, 60), rng.uniform(0, 10, 60)
    x = np.column_stack([np.ones(60), frame["x"]])
    return SimpleNamespace(frame=frame, x=x, y=frame["y"].to_numpy(), firm=firm, year=year)


def _f(d, estimator, formula="y ~ x"):
    """Fit a formula."""
    return bh.ols(formula, d.frame).fit(estimator)


def _a(d, estimator):
    """Fit arrays."""
    return bh.OLS(d.y, d.x).fit(estimator)


def _n(d, cov_type, **cov_kwds):
    """Fit by name."""
    return bh.ols("y ~ x", d.frame).fit(cov_type, cov_kwds)


def _counted(d, estimator):
    return bh.Logit((d.y > 0) * 1.0, d.x, freq_weights=np.full(60, 2)).fit(estimator)


def _loss(d, estimator):
    data = {"x": torch.tensor(d.x), "y": torch.tensor(d.y)}
    start = {"beta": torch.zeros(2, dtype=torch.float64)}
    return bh.MEstimator(lambda p, r: (r["y"] - r["x"] @ p["beta"]).cosh().log(), start, data).fit(estimator)


def _twice(d):
    frame = d.frame.assign(year=d.frame["year"].where(d.frame["year"] > 2000, 2001))
    return bh.ols("y ~ x", frame).fit(bh.PanelNeweyWest("firm", "year", 1))


def _own_dummy(d, estimator):
    return bh.OLS(d.y, np.column_stack([d.x, d.firm == 3])).fit(estimator)


def _no_whole_period(d):
    frame = d.frame[(d.frame["firm"] + d.frame["year"]) % 5 != 0]
    return bh.ols("y ~ x", frame).fit(bh.PanelCorrected("firm", "year"))


def _two_ways(seed, psd=None):
    rng = np.random.default_rng(seed)
    x, y = np.column_stack([np.ones(60), rng.normal(size=(60, 3))]), rng.normal(size=60)
    groups = np.column_stack([np.repeat(np.arange(12), 5), np.tile(np.arange(12), 5)])
    return bh.OLS(y, x).fit(bh.Cluster(groups, "CR0", psd=psd))


GROUPS = [
    Case("no such column", lambda d: _f(d, bh.Cluster("frim")), bh.OptionError, ("groups='frim'", "'firm'")),
    Case("a formula for a column", lambda d: _f(d, bh.Cluster("~firm")), bh.OptionError, ("groups='~firm'", "mean 'firm'", "vector")),
    Case("a formula for a covariance", lambda d: _n(d, "~firm"), bh.OptionError, ("'~firm'", "bh.Cluster('firm')")),
    Case("Stata's word", lambda d: _n(d, "robust"), bh.OptionError, ("'robust'", "mean 'HC1'")),
    Case("fixest's word", lambda d: _n(d, "iid"), bh.OptionError, ("'iid'", "mean 'nonrobust'")),
    Case("fixest's other word", lambda d: _n(d, "hetero"), bh.OptionError, ("'hetero'", "mean 'HC1'")),
    Case("linearmodels' word", lambda d: _n(d, "clustered"), bh.OptionError, ("'clustered'", "mean bh.Cluster('firm')")),
    Case("linearmodels' other word", lambda d: _n(d, "unadjusted"), bh.OptionError, ("'unadjusted'", "mean 'nonrobust'")),
    Case("fixest's two ways", lambda d: _n(d, "twoway"), bh.OptionError, ("'twoway'", "mean bh.Cluster(['firm', 'year'])")),
    Case("one of several is no column", lambda d: _f(d, bh.Cluster(["firm", "yaer"])), bh.OptionError, ("'yaer'", "'year'")),
    Case("a name without data", lambda d: _a(d, bh.Cluster("firm")), bh.OptionError, ("'firm'", "vector")),
    Case("a name that the loss's data lack", lambda d: _loss(d, bh.Cluster("firm", "CR0")), bh.OptionError, ("'firm'",)),
    Case("no groups", lambda d: _f(d, bh.Cluster(None)), bh.OptionError, ("groups is None", "column's name")),
    Case("no groups by name", lambda d: _n(d, "cluster"), bh.OptionError, ("groups is None", "column's name", "cov_kwds={'groups': ...}")),
    Case("no groups of crv3", lambda d: _n(d, "cluster-crv3"), bh.OptionError, ("groups is None",)),
    Case("no groups of jk", lambda d: _n(d, "cluster-jk"), bh.OptionError, ("groups is None",)),
    Case("no groups of a panel", lambda d: _n(d, "hac-panel", maxlags=2), bh.OptionError, ("None",)),
    Case("no time of a panel", lambda d: _n(d, "hac-groupsum", maxlags=2), bh.OptionError, ("time is None",)),
    Case("an empty list", lambda d: _f(d, bh.Cluster([])), bh.BetahatError, ("groups",)),
    Case("a number for groups", lambda d: _f(d, bh.Cluster(3)), bh.BetahatError, ("groups",)),
    Case("missing labels", lambda d: _f(d, bh.Cluster("holes")), bh.DataError, ("'holes'", "3 rows", "13", "fill")),
    Case("missing labels in an array", lambda d: _a(d, bh.Cluster(d.frame["holes"].to_numpy())), bh.DataError, ("3 rows",)),
    Case("missing labels in a tensor", lambda d: _a(d, bh.Cluster(torch.tensor(d.frame["holes"].to_numpy()))), bh.DataError, ("3 rows",)),
    Case("None in a list", lambda d: _a(d, bh.Cluster([None, *d.frame["name"][1:]])), bh.DataError, ("1 row",)),
    Case("too few labels", lambda d: _a(d, bh.Cluster(d.firm[:50])), bh.DataError, ("50 labels", "60 rows")),
    Case("too many labels", lambda d: _a(d, bh.Cluster(np.append(d.firm, 1))), bh.DataError, ("61 labels", "60 rows")),
    Case("three dimensions", lambda d: _a(d, bh.Cluster(d.firm.reshape(5, 4, 3))), bh.BetahatError, ("groups",)),
    Case("another index", lambda d: _f(d, bh.Cluster(d.frame["firm"].reset_index(drop=True))), bh.DataError, ("indices", "align")),
    Case("another order", lambda d: _f(d, bh.Cluster(d.frame["firm"][::-1])), bh.DataError, ("indices", "align")),
    Case("another index of time", lambda d: _f(d, bh.DriscollKraay(d.frame["year"].reset_index(drop=True), 1)), bh.DataError, ("indices", "time")),
    Case("one cluster", lambda d: _f(d, bh.Cluster("one")), bh.EstimationError, ("one cluster", "two or more")),
    Case("one of two ways is one cluster", lambda d: _f(d, bh.Cluster(["firm", "one"])), bh.EstimationError, ("'one'", "one cluster")),
    Case("one period", lambda d: _f(d, bh.DriscollKraay("one", 0)), bh.EstimationError, ("'one'",)),
    Case("two panels", lambda d: _f(d, bh.PanelNeweyWest(["firm", "town"], "year", 1)), bh.OptionError, ("panel", "2")),
    Case("two times", lambda d: _f(d, bh.DriscollKraay(["year", "town"], 1)), bh.OptionError, ("time", "2")),
    Case("two ways of a jackknife", lambda d: _f(d, bh.Jackknife(["firm", "town"])), bh.OptionError, ("clusters", "2")),
]  # fmt: skip

OPTIONS = [
    Case("kind", lambda d: bh.Cluster("firm", "CR4"), bh.OptionError, ("'CR4'", "CR2")),
    Case("kind in small letters", lambda d: bh.Cluster("firm", "cr2"), bh.OptionError, ("'cr2'", "CR2")),
    Case("target", lambda d: bh.Cluster("firm", "CR2", target="weights"), bh.OptionError, ("'weights'", "inverse_weights")),
    Case("multiway", lambda d: bh.Cluster("firm", multiway="max"), bh.OptionError, ("'max'", "each", "min")),
    Case("correction", lambda d: bh.Cluster("firm", correction="R"), bh.OptionError, ("'R'", "fixest")),
    Case("correction beside a kind", lambda d: bh.Cluster("firm", "CR2", correction="stata"), bh.OptionError, ("'stata'", "'CR2'")),
    Case("psd", lambda d: bh.Cluster("firm", psd=True), bh.OptionError, ("True", "repair")),
    Case("df_correction", lambda d: bh.Cluster("firm", df_correction="no"), bh.OptionError, ("'no'", "True")),
    Case("a misspelled option", lambda d: _n(d, "cluster", groups="firm", use_corection=False), bh.OptionError, ("use_corection", "use_correction")),
    Case("a kind by name", lambda d: _n(d, "cluster", groups="firm", kind="HC3"), bh.OptionError, ("'HC3'", "CR3")),
    Case("CR1p of few clusters", lambda d: _f(d, bh.Cluster("town", "CR1p"), "y ~ x + I(x**2) + I(x**3)"), bh.EstimationError, ("G - k", "4 clusters", "4 coefficients")),
    Case("kernel", lambda d: bh.HAC(2, "gauss"), bh.OptionError, ("'gauss'", "bartlett", "parzen")),
    Case("kernel that is no string", lambda d: bh.HAC(2, len), bh.OptionError, ("kernel", "bartlett")),
    Case("kernel of a panel", lambda d: bh.DriscollKraay("year", 2, "gauss"), bh.OptionError, ("'gauss'",)),
    Case("kernel by name", lambda d: _n(d, "HAC", maxlags=2, kernel="gauss"), bh.OptionError, ("'gauss'",)),
    Case("negative lags", lambda d: bh.HAC(-1), bh.OptionError, ("-1", "0 or more")),
    Case("half a lag", lambda d: bh.HAC(1.5), bh.OptionError, ("1.5", "whole number")),
    Case("True lags", lambda d: bh.HAC(True), bh.OptionError, ("True", "whole number")),
    Case("lags by another rule", lambda d: bh.HAC("andrews"), bh.OptionError, ("'andrews'", "newey-west")),
    Case("negative lags of a panel", lambda d: bh.PanelNeweyWest("firm", "year", -2), bh.OptionError, ("-2", "0 or more")),
    Case("a rule for a panel", lambda d: bh.DriscollKraay("year", "newey-west"), bh.OptionError, ("'newey-west'", "number")),
    Case("lags and a bandwidth", lambda d: bh.HAC(2, bandwidth=3.0), bh.OptionError, ("maxlags", "bandwidth", "one")),
    Case("bandwidth by an unknown rule", lambda d: bh.HAC(bandwidth="auto"), bh.OptionError, ("'auto'", "andrews", "newey-west")),
    Case("negative bandwidth", lambda d: bh.HAC(bandwidth=-2.0), bh.OptionError, ("-2.0", "zero or more")),
    Case("infinite bandwidth", lambda d: bh.HAC(bandwidth=float("inf")), bh.OptionError, ("inf",)),
    Case("bandwidth that is not a number", lambda d: bh.HAC(bandwidth=float("nan")), bh.OptionError, ("nan",)),
    Case("no bandwidth by Newey and West", lambda d: _f(d, bh.HAC(kernel="tukey-hanning", bandwidth="newey-west")), bh.OptionError, ("tukey-hanning", "andrews")),
    Case("lags of quadratic-spectral", lambda d: _f(d, bh.HAC(3, "quadratic-spectral")), bh.OptionError, ("quadratic-spectral", "bandwidth")),
    Case("prewhitening", lambda d: bh.HAC(2, prewhiten=-1), bh.OptionError, ("prewhiten", "-1")),
    Case("prewhitening by a word", lambda d: bh.HAC(2, prewhiten="ar"), bh.OptionError, ("'ar'", "order")),
    Case("prewhitening beyond the rows", lambda d: _f(d, bh.HAC(2, prewhiten=40)), bh.EstimationError, ("order 40", "prewhiten=0")),
    Case("correction of HAC", lambda d: bh.HAC(2, correction="hac"), bh.OptionError, ("'hac'", "True or False")),
    Case("use_correction of HAC", lambda d: _n(d, "HAC", maxlags=2, use_correction="cluster"), bh.OptionError, ("'cluster'",)),
    Case("correction of a panel", lambda d: bh.DriscollKraay("year", 2, correction=True), bh.OptionError, ("True", "'cluster'", "'hac'")),
    Case("use_correction of a panel", lambda d: _n(d, "hac-panel", groups="firm", maxlags=2, use_correction=True), bh.OptionError, ("True", "'hac'")),
    Case("lags beyond the rows", lambda d: _f(d, bh.HAC(60)), bh.OptionError, ("60", "fewer")),
    Case("lags beyond the periods", lambda d: _f(d, bh.DriscollKraay("year", 5)), bh.OptionError, ("maxlags is 5", "5 periods")),
    Case("lags beyond a panel's periods", lambda d: _f(d, bh.PanelNeweyWest("firm", "year", 7)), bh.OptionError, ("maxlags is 7", "5 periods")),
    Case("center", lambda d: bh.Jackknife("firm", "median"), bh.OptionError, ("'median'", "'mean'", "'estimate'")),
    Case("cutoff", lambda d: bh.Conley("north", "east", -3), bh.OptionError, ("-3", "positive")),
    Case("cutoff in words", lambda d: bh.Conley("north", "east", "100 km"), bh.OptionError, ("'100 km'", "kilometres")),
    Case("kernel of places", lambda d: bh.Conley("north", "east", 10, "parzen"), bh.OptionError, ("'parzen'", "'bartlett'")),
    Case("distance", lambda d: bh.Conley("north", "east", 10, distance="road"), bh.OptionError, ("'road'", "planar")),
    Case("a misspelled name", lambda d: _n(d, "clusters", groups="firm"), bh.OptionError, ("'clusters'", "'cluster'")),
    Case("an estimator and options", lambda d: bh.ols("y ~ x", d.frame).fit(bh.Cluster("firm"), {"use_correction": False}), bh.OptionError, ("cov_kwds",)),
]  # fmt: skip

FITS = [
    Case("two rows in a cell", _twice, bh.DataError, ("12 cells", "(0, 2001)", "cluster")),
    Case("two rows in a cell, panel-corrected", lambda d: _f(d, bh.PanelCorrected("town", "year")), bh.DataError, ("20 cells", "(0, 2000)")),
    Case("no period is whole", _no_whole_period, bh.EstimationError, ("every unit", "pairwise=True")),
    Case("freq_weights with HAC", lambda d: _counted(d, bh.HAC(2)), bh.EstimationError, ("freq_weights", "rows themselves")),
    Case("freq_weights with a panel", lambda d: _counted(d, bh.PanelNeweyWest(d.firm, d.year, 2)), bh.EstimationError, ("freq_weights",)),
    Case("freq_weights with Driscoll-Kraay", lambda d: _counted(d, bh.DriscollKraay(d.year, 2)), bh.EstimationError, ("freq_weights",)),
    Case("freq_weights with Conley", lambda d: _counted(d, bh.Conley(d.x[:, 1], d.x[:, 1], 1.0)), bh.EstimationError, ("freq_weights",)),
    Case("CR2 of a loss", lambda d: _loss(d, bh.Cluster(d.firm, "CR2")), bh.EstimationError, ("Leverage", "CR1")),
    Case("jackknife of a loss", lambda d: _loss(d, bh.Jackknife(d.firm)), bh.EstimationError, ("everage",)),
    Case("panel-corrected of a loss", lambda d: _loss(d, bh.PanelCorrected(d.firm, d.year)), bh.EstimationError, ("linear index",)),
    Case("jackknife of a dummy's cluster", lambda d: _own_dummy(d, bh.Jackknife(d.firm)), bh.EstimationError, ("cannot be estimated", "dummy", "CR3")),
    Case("jackknife of a row's dummy", lambda d: bh.OLS(d.y, np.column_stack([d.x, np.arange(60) == 4])).fit(bh.Jackknife()), bh.EstimationError, ("Without one of the rows", "HC1")),
    Case("places beyond the globe", lambda d: _f(d, bh.Conley("year", "east", 10)), bh.DataError, ("latitude", "90 degrees", "planar")),
    Case("places that are missing", lambda d: _f(d, bh.Conley("north", "holes", 10)), bh.DataError, ("'holes'", "3 missing")),
    Case("places that are names", lambda d: _f(d, bh.Conley("north", "name", 10)), bh.DataError, ("'name'", "numbers")),
    Case("no such place", lambda d: _f(d, bh.Conley("nort", "east", 10)), bh.OptionError, ("'nort'", "'north'")),
    Case("too few places", lambda d: _f(d, bh.Conley(np.zeros(9), np.zeros(9), 10)), bh.DataError, ("latitude", "9")),
]  # fmt: skip

BOOTSTRAP = [
    Case("kind of bootstrap", lambda d: bh.Bootstrap(99, "pair"), bh.OptionError, ("'pair'", "did you mean 'pairs'", "'wild'")),
    Case("reps", lambda d: bh.Bootstrap(1), bh.OptionError, ("reps is 1", "999")),
    Case("reps that are no whole number", lambda d: bh.Bootstrap(99.5), bh.OptionError, ("99.5",)),
    Case("seed", lambda d: bh.Bootstrap(99, seed=-1), bh.OptionError, ("seed is -1", "None")),
    Case("seed that is no number", lambda d: bh.Bootstrap(99, seed="a"), bh.OptionError, ("'a'",)),
    Case("multiplier", lambda d: bh.Bootstrap(99, "wild", multiplier="web"), bh.OptionError, ("'web'", "'webb'")),
    Case("variant", lambda d: bh.Bootstrap(99, "wild", clusters="firm", variant=33), bh.OptionError, ("33", "'33'")),
    Case("residuals", lambda d: bh.Bootstrap(99, "wild", residuals="HC4"), bh.OptionError, ("'HC4'", "'HC3'")),
    Case("null", lambda d: bh.Bootstrap(99, "wild", clusters="firm", null=None), bh.OptionError, ("null is None", "True")),
    Case("variant without clusters", lambda d: bh.Bootstrap(99, "wild", variant="33"), bh.OptionError, ("variant", "with clusters")),
    Case("residuals with clusters", lambda d: bh.Bootstrap(99, "wild", clusters="firm", residuals="HC3"), bh.OptionError, ("residuals", "with clusters")),
    Case("length of no blocks", lambda d: bh.Bootstrap(99, block_length=3), bh.OptionError, ("block_length", "'moving-block'", "'pairs'")),
    Case("clusters of residuals", lambda d: bh.Bootstrap(99, "residual", clusters="firm"), bh.OptionError, ("clusters", "'pairs'", "'residual'")),
    Case("a vector of clusters of residuals", lambda d: bh.Bootstrap(99, "residual", clusters=d.firm), bh.OptionError, ("clusters", "residual")),
    Case("size of pairs", lambda d: bh.Bootstrap(99, size=30), bh.OptionError, ("size", "'subsample'")),
    Case("size", lambda d: _f(d, bh.Bootstrap(99, "subsample", size=60)), bh.OptionError, ("size is 60", "fewer than all")),
    Case("size that is no whole number", lambda d: _f(d, bh.Bootstrap(99, "m-out-of-n", size=30.0)), bh.OptionError, ("30.0",)),
    Case("length of blocks", lambda d: _f(d, bh.Bootstrap(99, "moving-block", block_length=60)), bh.OptionError, ("60", "whole number")),
    Case("length that is no whole number", lambda d: _f(d, bh.Bootstrap(99, "circular-block", block_length=2.5)), bh.OptionError, ("2.5", "whole number")),
    Case("length that is zero", lambda d: _f(d, bh.Bootstrap(99, "stationary", block_length=0)), bh.OptionError, ("block_length is 0",)),
    Case("few times", lambda d: _f(d, bh.Bootstrap(99, "stationary", time="year")), bh.EstimationError, ("5 times", "block_length")),
    Case("no such clusters to draw", lambda d: _f(d, bh.Bootstrap(99, clusters="fim")), bh.OptionError, ("'fim'", "'firm'")),
    Case("one cluster of pairs", lambda d: _f(d, bh.Bootstrap(99, clusters="one")), bh.EstimationError, ("only one cluster",)),
    Case("clusters in two ways", lambda d: _f(d, bh.Bootstrap(99, clusters=["firm", "year"])), bh.OptionError, ("2 columns",)),
    Case("wild of Logit", lambda d: bh.Logit((d.y > 0) * 1.0, d.x).fit(bh.Bootstrap(99, "wild")), bh.EstimationError, ("OLS and WLS", "QuantReg", "'score'")),
    Case("residual of a loss", lambda d: _loss(d, bh.Bootstrap(99, "residual")), bh.EstimationError, ("one linear index", "'score'")),
    Case("parametric of a loss", lambda d: _loss(d, bh.Bootstrap(99, "parametric")), bh.EstimationError, ("does not state", "'pairs'")),
    Case("parametric of weights", lambda d: bh.Logit((d.y > 0) * 1.0, d.x, weights=np.full(60, 2.0)).fit(bh.Bootstrap(99, "parametric")), bh.EstimationError, ("weights", "'pairs'")),
    Case("residual of freq_weights", lambda d: _counted(d, bh.Bootstrap(99, "residual")), bh.EstimationError, ("freq_weights", "rows themselves")),
    Case("method without draws", lambda d: _f(d, bh.HC3()).conf_int(method="bca"), bh.OptionError, ("'bca'", "bh.Bootstrap")),
    Case("pvalues without draws", lambda d: _f(d, bh.HC3()).bootstrap_pvalues(), bh.OptionError, ("bootstrap_pvalues", "bh.Bootstrap")),
    Case("draws of a function without draws", lambda d: _f(d, bh.HC3()).delta(lambda p: p[0]).draws, bh.OptionError, ("draws", "bh.Bootstrap")),
    Case("method", lambda d: _f(d, bh.Bootstrap(99)).conf_int(method="bc"), bh.OptionError, ("'bc'", "'bca'")),
    Case("alpha", lambda d: _f(d, bh.Bootstrap(99)).conf_int(95, method="basic"), bh.OptionError, ("95", "0.05")),
    Case("tail", lambda d: _f(d, bh.Bootstrap(99)).bootstrap_pvalues(tail="left"), bh.OptionError, ("'left'", "'equal'")),
    Case("studentized of the Bayesian bootstrap", lambda d: _f(d, bh.Bootstrap(99, "bayesian")).conf_int(method="studentized"), bh.EstimationError, ("'pairs'", "'percentile'")),
    Case("bca of blocks", lambda d: _f(d, bh.Bootstrap(99, "moving-block")).conf_int(method="bca"), bh.EstimationError, ("'pairs'", "'percentile'")),
    Case("a function that is not finite", lambda d: _f(d, bh.Bootstrap(99, seed=1)).delta(lambda p: p[0].log() + 9.0), bh.EstimationError, ("not finite",)),
    Case("most replicates fail", lambda d: bh.OLS(d.y, np.column_stack([d.x, np.arange(60) == 4])).fit(bh.Bootstrap(99, "m-out-of-n", size=10)), bh.EstimationError, ("of 99 replicates", "'bayesian'")),
]  # fmt: skip

WARNINGS = [
    Case("few clusters of pairs", lambda d: _f(d, bh.Bootstrap(99, clusters="town")), bh.ClusterWarning, ("'town'", "4 clusters", "kind='wild'")),
    Case("few signs", lambda d: _f(d, bh.Bootstrap(99, "wild", clusters="town")), bh.ClusterWarning, ("4 clusters", "0.125", "one in 8 draws", "multiplier='webb'")),
    Case("few signs, no null", lambda d: _f(d, bh.Bootstrap(99, "wild", clusters="town", null=False)), bh.ClusterWarning, ("0.125", "null=True")),
    Case("few weights", lambda d: _f(d, bh.Bootstrap(99, "wild", clusters="town", multiplier="mammen")), bh.ClusterWarning, ("0.0153", "multiplier='webb'")),
    Case("few weights, no null", lambda d: _f(d, bh.Bootstrap(99, "wild", clusters="town", multiplier="normal", null=False)), bh.ClusterWarning, ("too often", "null=True")),
    Case("two clusters", lambda d: bh.OLS(d.y, d.x).fit(bh.Bootstrap(99, "wild", clusters=np.arange(60) % 2, multiplier="webb")), bh.ClusterWarning, ("0.0556", "one in 18 draws", "kind='CR2'")),
    Case("some replicates fail", lambda d: bh.OLS(d.y, np.column_stack([d.x, np.arange(60) < 2])).fit(bh.Bootstrap(99, seed=1)), bh.BootstrapWarning, ("99 replicates", "left out", "'bayesian'")),
    Case("few clusters", lambda d: _f(d, bh.Cluster("town")), bh.ClusterWarning, ("'town'", "4 clusters", "CR2")),
    Case("few clusters, two ways", lambda d: _f(d, bh.Cluster(["firm", "year"])), bh.ClusterWarning, ("'year'", "5 clusters")),
    Case("single rows", lambda d: _a(d, bh.Cluster(np.minimum(np.arange(60), 30))), bh.ClusterWarning, ("31 clusters", "single row in 30")),
    Case("nothing but single rows", lambda d: _a(d, bh.Cluster(np.arange(60))), bh.ClusterWarning, ("each of them", "HC0")),
    Case("few clusters in a table", lambda d: bh.regtable(_f(d, "nonrobust"), cov=["HC1", bh.Cluster("town")]), bh.ClusterWarning, ("'town'",)),
    Case("few clusters in a comparison", lambda d: bh.compare(_f(d, "nonrobust"), ["HC1", bh.Cluster("town")]), bh.ClusterWarning, ("'town'",)),
    Case("few clusters in a picture", lambda d: _f(d, "nonrobust").plot(cov=bh.Cluster("town")), bh.ClusterWarning, ("'town'",)),
    Case("a dummy of a cluster", lambda d: _own_dummy(d, bh.Cluster(d.firm)), bh.ClusterWarning, ("One cluster of groups", "fixes the coefficient of 'x2'", "fixed effects")),
    Case("a dummy of a cluster, CR2", lambda d: _own_dummy(d, bh.Cluster(d.firm, "CR2")), bh.ClusterWarning, ("One cluster of groups", "fixes the coefficient of 'x2'", "dummy")),
    Case("a dummy of a cluster, CR3", lambda d: _own_dummy(d, bh.Cluster(d.firm, "CR3")), bh.ClusterWarning, ("One cluster of groups", "fixes the coefficient of 'x2'", "dummy")),
    Case("periods are skipped", lambda d: _f(d, bh.DriscollKraay(np.where(d.year == 2004, 2009, d.year), 1)), bh.ClusterWarning, ("skips", "2003", "one step")),
    Case("periods of a panel are skipped", lambda d: _f(d, bh.PanelNeweyWest("firm", np.where(d.year == 2004, 2009, d.year), 1)), bh.ClusterWarning, ("skips", "2003")),
    Case("few clusters of a jackknife", lambda d: _f(d, bh.Jackknife("town")), bh.ClusterWarning, ()),
]  # fmt: skip


def _raised(case, given):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = case.mistake(given)
    except Exception as error:
        return error
    return found


def _warned(case, given):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        case.mistake(given)
    return found


def _check_sentence(text, says):
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert len(text) <= LONGEST, f"{len(text)} letters"
    assert not re.search(r"\x1b|  | \)|\( |\.\.$| ,| ;", text), text
    assert re.search(r"[;,:] ", text), f"it says nothing of what to do: {text}"
    for words in says:
        assert words in text, f"{words!r} is not in: {text}"


def _named(cases):
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@_named((*GROUPS, *OPTIONS, *FITS, *BOOTSTRAP))
def test_errors(case):
    given, before = _given(), _given()
    error = _raised(case, given)
    assert isinstance(error, Exception), f"nothing was raised; it returned {error!r}"
    assert isinstance(error, case.kind), f"{type(error).__name__}: {error}"
    _check_sentence(str(error), case.says)
    assert given.frame.equals(before.frame)


@_named(WARNINGS)
def test_warnings(case):
    found = _warned(case, _given())
    texts = [str(warning.message) for warning in found if issubclass(warning.category, case.kind)]
    assert len(texts) == len(found) >= 1, found
    assert len(set(texts)) == len(texts), "the same warning twice"
    for text in texts:
        _check_sentence(text, ())
    for words in case.says:
        assert any(words in text for text in texts), f"{words!r} is not in: {texts}"


@_named(WARNINGS)
def test_warnings_point_at_the_caller(case):
    """A warning names the user's line, and not one of betahat's."""
    for warning in _warned(case, _given()):
        assert warning.filename == __file__, f"{warning.filename}:{warning.lineno}"


@pytest.mark.parametrize(
    "estimator", [bh.Cluster("firm"), bh.Cluster(["firm", "firm"]), bh.HAC(2), bh.DriscollKraay("year", 1)]
)
@pytest.mark.filterwarnings("error")
def test_no_warning_without_a_reason(estimator):
    _f(_given(), estimator)


def test_small_samples_do_not_warn_of_few_clusters():
    """CR2 and CR3 have degrees of freedom that know how few clusters there are."""
    for kind in ("CR2", "CR3"):
        assert _f(_given(), bh.Cluster("town", kind)).cov.df.max() < 4


def _first_not_psd():
    for seed in range(200):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                _two_ways(seed)
            except bh.ClusterWarning as warning:
                if "no variance" in str(warning):
                    return seed
    raise AssertionError("none in 200")


def test_two_ways_that_are_no_covariance():
    """NaN where a variance is negative, a warning where only the matrix is not; repair is the remedy of both."""
    seed = _first_not_psd()
    with pytest.warns(bh.ClusterWarning) as found:
        assert np.isnan(_two_ways(seed).bse).any()
    _check_sentence(str(found[0].message), ("not positive semi-definite", "no variance", "psd='repair'"))
    res = _two_ways(seed, "repair")
    assert "set to zero" in res.cov.note
    assert "set to zero" in str(res.summary())
    assert np.linalg.eigvalsh(res.cov_params())[0] > -1e-15
    warned = [seed for seed in range(60) if _warned_of_matrix(seed)]
    assert warned
    res = _two_ways(warned[0], "repair")
    assert "set to zero" in res.cov.note


def _warned_of_matrix(seed):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        if np.isnan(_two_ways(seed).bse).any():
            return False
    for warning in found:
        _check_sentence(str(warning.message), ("not positive semi-definite", "psd='repair'"))
    return bool(found)


def test_repair_leaves_a_covariance_alone():
    d = _given()
    plain, repaired = (_f(d, bh.Cluster(["firm", "name"], psd=psd)) for psd in (None, "repair"))
    np.testing.assert_array_equal(plain.cov_params(), repaired.cov_params())
    assert plain.cov.note == repaired.cov.note


if __name__ == "__main__":
    for case in (*GROUPS, *OPTIONS, *FITS, *BOOTSTRAP):
        found = _raised(case, _given())
        print(
            f"{case.name:40s} {type(found).__name__}: {found if isinstance(found, Exception) else 'NOTHING WAS RAISED'}"
        )
    for case in WARNINGS:
        for warning in _warned(case, _given()):
            print(f"{case.name:40s} {warning.category.__name__}: {warning.message}")
