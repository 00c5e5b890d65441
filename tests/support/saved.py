"""Results of every kind, what they say, and files of them that somebody has changed."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support.closeness import same
from torch import nn

import betahat as bh
from betahat.results.general import GeneralResults
from betahat.saving import files

N = 60
R = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": R.normal(size=N),
        "z": R.uniform(1.0, 2.0, N),
        "g": np.arange(N) % 12,
        "t": np.arange(N) // 12,
        "w": R.uniform(0.5, 2.0, N),
        "f": R.integers(1, 4, N),
        "c": R.choice(["a", "b", "c"], N),
        "two words": R.normal(size=N),
    }
)
FRAME["y"] = 1.0 + FRAME.x + 0.5 * FRAME.z + R.normal(size=N)
FRAME["b"] = (FRAME.x + R.normal(size=N) > 0).astype(int)
FRAME["k"] = R.poisson(np.exp(0.3 * FRAME.x + 0.5))
FRAME["m"] = R.choice(["low", "middle", "high"], N)
FRAME["twice"] = 2.0 * FRAME.x
NEW = FRAME[["x", "z", "c", "two words", "g", "twice"]].iloc[:5].set_axis(list("pqrst"))
X = bh.add_constant(FRAME[["x", "z"]])

# A summary shows the time at which it was asked for.
CLOCK = re.compile(r"\d\d:\d\d:\d\d|\w{3}, \d\d \w{3} \d{4}")


def with_index(index):
    frame = FRAME.set_axis(index)
    return bh.OLS(frame.y, bh.add_constant(frame[["x", "z"]]))


def tensors(dtype=torch.float64):
    return torch.tensor(FRAME.y.to_numpy(), dtype=dtype), torch.tensor(X.to_numpy(), dtype=dtype)


REGRESSIONS = {
    "arrays": lambda: bh.OLS(FRAME.y.to_numpy(), X.to_numpy()),
    "tensors": lambda: bh.OLS(*tensors()),
    "float32": lambda: bh.OLS(*tensors(torch.float32)),
    "frame": lambda: bh.OLS(FRAME.y, X),
    "strings": lambda: with_index([f"row {i}" for i in range(N)]),
    "dates": lambda: with_index(pd.date_range("2020-01-31", periods=N, freq="ME", tz="Europe/Berlin")),
    "periods": lambda: with_index(pd.period_range("2020-01", periods=N, freq="M")),
    "levels": lambda: with_index(pd.MultiIndex.from_arrays([FRAME.g, FRAME.t], names=["firm", None])),
    "numbers": lambda: with_index(pd.Index(R.permutation(N), name="id")),
    "polars": lambda: bh.OLS(pl.DataFrame(FRAME)["y"], pl.DataFrame(X)),
    "pyarrow": lambda: bh.OLS(pa.table({"y": FRAME.y}), pa.Table.from_pandas(X, preserve_index=False)),
    "formula": lambda: bh.ols("np.log(z) ~ x + C(c) + I(x**2) + `two words`", FRAME),
    "formula of polars": lambda: bh.ols("y ~ bs(x, df=4) + c:z", pl.DataFrame(FRAME)),
    "missing": lambda: bh.ols("y ~ x + z", FRAME.assign(x=FRAME.x.where(FRAME.g != 3))),
    "weights": lambda: bh.wls("y ~ x + scale(z) + poly(x, 2)", FRAME, weights="w"),
    "dict": lambda: bh.ols("y ~ x", {"y": FRAME.y.to_numpy(), "x": FRAME.x.tolist(), "g": FRAME.g.to_numpy()}),
}
DISCRETE = {
    "logit": lambda: bh.logit("b ~ x + center(z)", FRAME, freq_weights="f"),
    "logit arrays": lambda: bh.Logit(FRAME.b.to_numpy(), X.to_numpy(), weights=FRAME.w.to_numpy()),
    "probit": lambda: bh.Probit(torch.tensor(FRAME.b.to_numpy()), torch.tensor(X.to_numpy())),
    "poisson": lambda: bh.poisson("k ~ x", FRAME, exposure="w", offset="z"),
    "mnlogit": lambda: bh.mnlogit("m ~ x + z", FRAME),
    "mnlogit arrays": lambda: bh.MNLogit(FRAME.m.to_numpy(), X.to_numpy()),
}


def module(penalty=None, linear=True):
    torch.manual_seed(0)
    module = nn.Linear(2, 1) if linear else nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    return bh.TorchModel(module.double(), nn.MSELoss(), FRAME[["x", "z"]], FRAME[["y"]], penalty=penalty)


def row_loss(p, d):
    return nn.functional.huber_loss(d["x"] * p["a"] + p["const"], d["y"], reduction="none")


def estimator(**options):
    data = {"x": FRAME.x.to_numpy(), "y": FRAME.y.to_numpy()}
    return bh.MEstimator(row_loss, {"a": np.zeros(()), "const": np.zeros(())}, data, **options)


GENERAL = {
    "linear module": module,
    "penalised module": lambda: module(penalty=0.5),
    "network": lambda: module(penalty=0.1, linear=False),
    "row loss": estimator,
    "penalised row loss": lambda: estimator(penalty=lambda p: p["a"] ** 2),
}
MODELS = {**REGRESSIONS, **DISCRETE, **GENERAL}
CLUSTERS = FRAME.g.to_numpy()
COVARIANCES = {
    "nonrobust": "nonrobust",
    "fixed scale": bh.FixedScale(2.0),
    "HC3": "HC3",
    "opg": "OPG",
    "CR2": bh.Cluster("g", "CR2"),
    "CR1 on t": lambda fit: replace(bh.Cluster(CLUSTERS)(fit), df=11.0),
    "two ways": bh.Cluster(["g", "t"]),
    "jackknife": bh.Jackknife(clusters="g"),
    "HAC": bh.HAC(2),
    "given": lambda fit: bh.Covariance(fit.bread, "my own", "By hand", torch.arange(3.0, 3.0 + len(fit.params))),
    "pairs": bh.Bootstrap(59, seed=1),
    "clusters drawn": bh.Bootstrap(59, seed=1, clusters="g"),
    "wild": bh.Bootstrap(59, "wild", seed=1),
    "wild clusters": bh.Bootstrap(59, "wild", seed=1, clusters="g", variant="31"),
    "score": bh.Bootstrap(59, "score", seed=1),
    "residual": bh.Bootstrap(59, "residual", seed=1),
    "parametric": bh.Bootstrap(59, "parametric", seed=1),
    "bayesian": bh.Bootstrap(59, "bayesian", seed=1),
    "poisson": bh.Bootstrap(59, "poisson", seed=1),
    "blocks": bh.Bootstrap(59, "stationary", seed=1, block_length=3),
    "subsample": bh.Bootstrap(59, "subsample", seed=1, size=40),
}
FREE = ("normal", "percentile", "basic", "sup-t")
BOUND = ("studentized", "bca")


def said(results):
    """Everything that results say without a look at the rows."""
    names, last = results.names, [i for i, name in enumerate(results.names) if name not in results.aliased][-1]
    row = np.eye(len(names))[last]
    yield repr(results)
    yield CLOCK.sub("", results.summary().as_text())
    yield CLOCK.sub("", results.summary(alpha=0.1).as_latex())
    yield from (results.params, results.bse, results.pvalues, results.conf_int(), results.cov_params())
    yield from (results.tidy(), results.glance(), results.coefficient_table(), results.normalized_cov_params)
    yield from (results.df_resid, results.nobs, results.diagnostics, results.goodness, results.use_t, results.cov_kwds)
    yield from (results.t_test(row).conf_int(), str(results.t_test((row, 0.3))), str(results.wald_test(row)))
    yield str(results.delta(lambda p: torch.exp(p[last])))
    yield bh.regtable([results], stats=["cov_type", "clusters", "nobs", "goodness"]).to_text()
    if not isinstance(results, GeneralResults):
        yield CLOCK.sub("", results.summary2().as_text())
    if results.fit.problem.penalty is None and results.fit.objective.dispersion.likelihood:
        yield results.with_cov("fixed scale").bse
    if results.cov.draws is not None:
        yield results.cov.draws
        for method in FREE:
            yield results.conf_int(method=method)
        yield results.bootstrap_pvalues()


def looked_up(results):
    """What needs the rows."""
    yield from (results.fittedvalues, results.resid_response if is_discrete(results) else results.resid)
    yield from (results.model.endog, results.model.exog, results.with_cov("HC1").bse, results.predict())
    if is_discrete(results):
        yield results.get_margeff().summary_frame()
    else:
        yield results.get_influence().hat_matrix_diag
        yield results.get_prediction().summary_frame()


def is_discrete(results):
    return not isinstance(results.model, bh.OLS | bh.WLS)


def agree(results, other, what=said):
    for one, two in zip(what(results), what(other), strict=True):
        same(one, two)


def parts(path):
    """Return the version, the tree and the tensors of a file."""
    with safe_open(path, framework="pt") as file:
        version, _, tree = file.metadata()["betahat"].split(" ", 2)
        return version, json.loads(tree), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def forged(path, edit=None):
    """Write a file anew with another tree."""
    _, tree, tensors = parts(path)
    tree = edit(tree) or tree if edit else tree
    save_file(tensors, path, files.header(tree if isinstance(tree, str) else json.dumps(tree), tensors))
    return path


def edited(*keys, to):
    def edit(tree):
        node = tree
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = to

    return edit


def replaced_factor(old, new):
    return lambda tree: json.loads(json.dumps(tree).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))
