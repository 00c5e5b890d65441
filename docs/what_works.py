"""What works where: each model under each covariance, asked for everything, on sixty rows.

Whatever comes is either an answer or one of betahat's own sentences; an exception of any other kind is a bug, and ends the build.
`setup` registers the directive ``what-works``, which writes the tables into
docs/what-works.rst; tests/test_what_works.py reads the same cells.
"""

import io
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from docutils import nodes
from docutils.parsers.rst import Directive
from torch import nn

import betahat as bh

FIRMS, YEARS = 10, 6
N = FIRMS * YEARS
FIRM, YEAR = np.repeat(np.arange(FIRMS), YEARS), np.tile(np.arange(YEARS), FIRMS)
NO_METHOD = "There is no such method or attribute."


def _columns() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(12)
    x = np.column_stack([np.ones(N), draw.normal(size=(N, 2))])
    index = x @ [0.3, 0.5, -0.4]
    other = np.random.default_rng(5)
    there = other.uniform(size=N) < 1.0 / (1.0 + np.exp(-0.8 - x[:, 1]))
    return {
        "some_zeros": there * other.poisson(2.0 * np.exp(index)).astype(float),
        "many_zeros": there * other.poisson(20.0 * np.exp(0.5 * index) * other.gamma(2.0, 0.5, N)).astype(float),
        "x": x,
        "y": index + draw.normal(size=N) * (1.0 + 0.5 * np.abs(x[:, 1])),
        "y2": x @ [0.0, -0.3, 0.6] + draw.normal(size=N),
        "yes": (index + draw.logistic(size=N) > 0).astype(float),
        "count": draw.poisson(np.exp(index)).astype(float),
        "overdispersed": draw.poisson(np.exp(index) * draw.gamma(1.0, 1.0, N)).astype(float),
        "positive": np.exp(index) * draw.gamma(3.0, size=N),
        "choice": np.argmax(np.column_stack([0 * index, index, -index]) + draw.gumbel(size=(N, 3)), 1),
        "grade": np.digitize(index + draw.logistic(size=N), [-1.0, 0.5, 1.5]),
        "w": draw.uniform(0.5, 2.0, N),
        "place": draw.uniform(0.0, 1.0, size=(N, 2)),
        "curve": np.tanh(2.0 * index) + 0.2 * draw.normal(size=N),
        "more": draw.normal(size=N),
        "z": 0.8 * x[:, 2:] + np.random.default_rng(7).normal(size=(N, 2)),
    }


DATA = _columns()


def _module(module: nn.Module, *targets: str) -> bh.TorchModel:
    y = np.column_stack([DATA[name] for name in targets])
    return bh.TorchModel(module.double(), nn.MSELoss(), torch.tensor(DATA["x"][:, 1:]), torch.tensor(y))


def _network() -> bh.TorchModel:
    torch.manual_seed(2)
    return _module(nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)), "curve")


def _own_loss() -> bh.MEstimator:
    def loss(p: dict[str, torch.Tensor], d: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.log(torch.cosh(d["y"] - d["x"] @ p["b"]))

    return bh.MEstimator(loss, params={"b": np.zeros(3)}, data={"x": DATA["x"], "y": DATA["y"]})


def _moments(instruments: str) -> bh.GMM:
    def moments(p: dict[str, torch.Tensor], d: dict[str, torch.Tensor]) -> torch.Tensor:
        return d["z"] * (d["y"] - torch.exp(d["x"] @ p["b"]))[:, None]

    columns = {"x": DATA["x"], "more": np.column_stack([DATA["x"], DATA["w"]])}
    return bh.GMM(moments, {"b": np.zeros(3)}, {"x": DATA["x"], "y": DATA["count"], "z": columns[instruments]})


# The name of a class begins its model's, so that the test knows of each model of the registry whether it is here.
MODELS: dict[str, Callable[[], Any]] = {
    "OLS": lambda: bh.OLS(DATA["y"], DATA["x"]),
    "WLS": lambda: bh.WLS(DATA["y"], DATA["x"], weights=DATA["w"]),
    "IV2SLS": lambda: bh.IV2SLS(DATA["y"], DATA["x"][:, :2], DATA["x"][:, 2], DATA["z"]),
    "IVLIML": lambda: bh.IVLIML(DATA["y"], DATA["x"][:, :2], DATA["x"][:, 2], DATA["z"]),
    "IVGMM": lambda: bh.IVGMM(DATA["y"], DATA["x"][:, :2], DATA["x"][:, 2], DATA["z"]),
    "Logit": lambda: bh.Logit(DATA["yes"], DATA["x"]),
    "Probit": lambda: bh.Probit(DATA["yes"], DATA["x"]),
    "Poisson": lambda: bh.Poisson(DATA["count"], DATA["x"]),
    "NegativeBinomial": lambda: bh.NegativeBinomial(DATA["overdispersed"], DATA["x"]),
    "ZeroInflatedPoisson": lambda: bh.ZeroInflatedPoisson(DATA["some_zeros"], DATA["x"], DATA["x"][:, :2]),
    "ZeroInflatedNegativeBinomialP": lambda: bh.ZeroInflatedNegativeBinomialP(DATA["many_zeros"], DATA["x"][:, :2]),
    "HurdlePoisson": lambda: bh.HurdlePoisson(DATA["some_zeros"], DATA["x"]),
    "HurdleNegativeBinomial": lambda: bh.HurdleNegativeBinomial(DATA["many_zeros"], DATA["x"]),
    "MNLogit": lambda: bh.MNLogit(DATA["choice"], DATA["x"]),
    "GLM, gamma": lambda: bh.GLM(DATA["positive"], DATA["x"], family="gamma"),
    "OrderedModel": lambda: bh.OrderedModel(DATA["grade"], DATA["x"][:, 1:]),
    "AFT": lambda: bh.AFT(DATA["positive"], DATA["x"], status=DATA["yes"]),
    "Tobit": lambda: bh.Tobit(np.maximum(DATA["y"], 0.0), DATA["x"]),
    "QuantReg": lambda: bh.QuantReg(DATA["y"], DATA["x"]),
    "RLM": lambda: bh.RLM(DATA["y"], DATA["x"]),
    "RLM, bisquare": lambda: bh.RLM(DATA["y"], DATA["x"], M="bisquare"),
    "PHReg": lambda: bh.PHReg(DATA["positive"], DATA["x"][:, 1:], DATA["yes"]),
    "TorchModel, linear": lambda: _module(nn.Linear(2, 1), "y"),
    "TorchModel, network": _network,
    "TorchModel, two outputs": lambda: _module(nn.Linear(2, 2), "y", "y2"),
    "MEstimator": _own_loss,
    "GMM": lambda: _moments("x"),
    "GMM, more moments": lambda: _moments("more"),
}
_PLACE = {"latitude": DATA["place"][:, 0], "longitude": DATA["place"][:, 1], "cutoff": 0.2, "distance": "planar"}
_BY_NAME: dict[str, dict[str, Any]] = {
    **{
        name: {}
        for name in (
            "nonrobust",
            "HC0",
            "HC1",
            "HC2",
            "HC3",
            "HC4",
            "HC4m",
            "HC5",
            "OPG",
            "H1",
            "H2",
            "H3",
            "jackknife",
        )
    },
    "fixed scale": {"scale": 1.0},
    "cluster": {"groups": FIRM},
    "cluster-crv3": {"groups": FIRM},
    "cluster-jk": {"groups": FIRM},
    "HAC": {"maxlags": 2},
    "hac-panel": {"groups": FIRM, "time": YEAR, "maxlags": 2},
    "hac-groupsum": {"time": YEAR, "maxlags": 2},
    "panel-corrected": {"panel": FIRM, "time": YEAR},
    "Conley": _PLACE,
}
KINDS = get_args(get_type_hints(bh.Bootstrap)["kind"])
COVARIANCES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (name, options) for name, options in _BY_NAME.items()},
    "cluster, CR2": (bh.Cluster(FIRM, "CR2"), {}),
    "cluster, CR3": (bh.Cluster(FIRM, "CR3"), {}),
    "cluster, two ways": (bh.Cluster([FIRM, YEAR], psd="repair"), {}),
    **{f"bootstrap, {kind}": ("bootstrap", {"kind": kind, "reps": 19, "seed": 1}) for kind in KINDS},
    "bootstrap, wild clusters": (bh.Bootstrap(19, "wild", seed=1, clusters=FIRM), {}),
}


def _row(res: Any) -> np.ndarray:
    return np.eye(len(res.names))[1]


def _loaded(res: Any) -> Any:
    file = io.BytesIO()
    res.save(file)
    file.seek(0)
    return bh.load(file).bse


METHODS: dict[str, Callable[[Any], Any]] = {
    "summary": lambda res: str(res.summary()),
    "summary2": lambda res: str(res.summary2()),
    "tidy": lambda res: res.tidy(),
    "glance": lambda res: res.glance(),
    "conf_int": lambda res: res.conf_int(),
    **{
        f'conf_int(method="{method}")': lambda res, method=method: res.conf_int(method=method)
        for method in ("percentile", "basic", "studentized", "bca", "sup-t")
    },
    "bootstrap_pvalues": lambda res: res.bootstrap_pvalues(),
    "t_test": lambda res: str(res.t_test(_row(res))),
    "f_test": lambda res: str(res.f_test(_row(res))),
    "wald_test": lambda res: str(res.wald_test(_row(res))),
    "wald_test_terms": lambda res: str(res.wald_test_terms()),
    "delta": lambda res: str(res.delta(lambda p: torch.exp(p[0]))),
    "score_test": lambda res: res.score_test(exog_extra=DATA["more"][:, None]),
    "predict": lambda res: res.predict(),
    "get_prediction": lambda res: res.get_prediction().summary_frame(),
    "get_distribution": lambda res: res.get_distribution(),
    "get_margeff": lambda res: res.get_margeff().summary_frame(),
    "avg_slopes": lambda res: str(res.avg_slopes()),
    "get_influence": lambda res: res.get_influence().summary_frame(),
    "outlier_test": lambda res: res.outlier_test(),
    "cases": lambda res: res.cases,
    "llf": lambda res: res.llf,
    "aic": lambda res: res.aic,
    "deviance": lambda res: res.deviance,
    "rsquared": lambda res: res.rsquared,
    "prsquared": lambda res: res.prsquared,
    "regtable": lambda res: bh.regtable([res]).to_text(),
    "plot": lambda res: res.plot(),
    "plot_diagnostics": lambda res: res.plot_diagnostics(),
    "save and load": _loaded,
}
# What is not of the covariance, or is slow to draw, is asked once for each model.
OF_THE_MODEL = (
    "predict",
    "outlier_test",
    "get_distribution",
    "cases",
    "llf",
    "aic",
    "deviance",
    "rsquared",
    "prsquared",
)
ONCE = (
    *OF_THE_MODEL,
    "summary2",
    "get_influence",
    "score_test",
    "regtable",
    "plot",
    "plot_diagnostics",
    "save and load",
)

# What a method says depends on these alone: where a covariance has degrees of freedom, replicates or a distribution of its own.
ONE_OF_EACH_KIND = (
    "nonrobust",
    "HC0",
    "HC3",
    "OPG",
    "cluster",
    "cluster, CR2",
    "cluster, two ways",
    "HAC",
    "jackknife",
    "bootstrap, pairs",
    "bootstrap, wild",
    "bootstrap, score",
    "bootstrap, wild clusters",
)


@dataclass(frozen=True)
class Cell:
    """What came of a model, a covariance and a method (None: the covariance itself): None if it works, else the sentence."""

    model: str
    covariance: str
    method: str | None
    sentence: str | None


@cache
def cells() -> tuple[Cell, ...]:
    """Try everything once. An exception that is not betahat's own is not caught."""
    with warnings.catch_warnings(), mpl.rc_context({"backend": "agg"}):
        warnings.simplefilter("ignore")
        return tuple(cell for model in MODELS for cell in of_model(model))


def of_model(model: str, covariances: Collection[str] = tuple(COVARIANCES)) -> Iterator[Cell]:
    """Try a model under some covariances, and all methods under those that stand for others of their kind."""
    base = MODELS[model]().fit(cov_type="HC0")
    for name, (covariance, options) in COVARIANCES.items():
        if name not in covariances:
            continue
        made: list[Any] = []
        sentence = _sentence(lambda: made.append(base.with_cov(covariance, **_kwds(options))))  # noqa: B023
        yield Cell(model, name, None, sentence)
        if made and name in ONE_OF_EACH_KIND:
            for method, call in METHODS.items():
                if name == "HC0" or method not in ONCE:
                    yield Cell(model, name, method, _asked(made[0], method, call))


def _kwds(options: dict[str, Any]) -> dict[str, Any]:
    return {"cov_kwds": options} if options else {}


def _asked(res: Any, method: str, call: Callable[[Any], Any]) -> str | None:
    name = method.split("(", maxsplit=1)[0]
    if not hasattr(type(res), name) and name not in ("regtable", "save and load"):
        return NO_METHOD
    return _sentence(lambda: call(res))


def _sentence(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except bh.BetahatError as error:
        return str(error)
    finally:
        plt.close("all")
    return None


# the page

TICK, NONE = "✓", "–"  # noqa: RUF001


def _base(method: str | None) -> str:
    """The covariance under which a method is asked of each model: intervals of replicates need a bootstrap."""
    replicated = method is not None and (method.startswith("conf_int(") or method == "bootstrap_pvalues")
    return "bootstrap, pairs" if replicated else "HC0"


def exceptions() -> dict[tuple[str, str, tuple[str, ...]], list[str]]:
    """{(method, sentence, models): covariances} of methods that a model has under another covariance, and not under these."""
    found = {(cell.model, cell.covariance, cell.method): cell.sentence for cell in cells()}
    models: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells():
        if cell.method is not None and cell.sentence not in (None, found[cell.model, _base(cell.method), cell.method]):
            models.setdefault((cell.method, cell.sentence, cell.covariance), []).append(cell.model)
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (method, sentence, covariance), names in models.items():
        every = [model for model in MODELS if found[model, covariance, None] is None]
        groups.setdefault((method, sentence, ("every model",) if names == every else tuple(names)), []).append(
            covariance
        )
    return groups


class WhatWorks(Directive):
    """Three tables, and the sentences that their numbers stand for."""

    def run(self) -> list[nodes.Node]:
        if self.state.document.settings.env.app.builder.format != "html":
            return []
        self.sentences: dict[str, int] = {}
        found = {(cell.model, cell.covariance, cell.method): cell.sentence for cell in cells()}

        def rows(names: Any, at: Callable[[str, str], tuple[str, str, str | None]]) -> list[list[nodes.Node]]:
            return [[_code(name), *(self.mark(found.get(at(model, name), "")) for model in MODELS)] for name in names]

        by_covariance = rows(COVARIANCES, lambda model, name: (model, name, None))
        by_method = rows(METHODS, lambda model, name: (model, _base(name), name))
        parts = [
            _section("Covariances", _table(["covariance", *MODELS], by_covariance)),
            _section("Methods", _table(["method", *MODELS], by_method)),
            _section("Methods that a covariance does not have", self.others()),
        ]
        return [*parts, _section("The sentences", self.listed())]

    def mark(self, sentence: str | None) -> nodes.Node:
        """A tick, a dash, or a sentence's number, which leads to it."""
        if sentence is None or sentence in (NO_METHOD, ""):
            return nodes.paragraph("", TICK if sentence is None else NONE)
        number = self.sentences.setdefault(sentence, len(self.sentences) + 1)
        link = nodes.reference("", str(number), refid=f"sentence-{number}", internal=True)
        return nodes.paragraph("", "", link)

    def others(self) -> nodes.Node:
        body = [
            [_code(method), _text(_brief(covariances)), _text("; ".join(models)), self.mark(sentence)]
            for (method, sentence, models), covariances in exceptions().items()
        ]
        return _table(["method", "covariances", "models", "sentence"], body)

    def listed(self) -> nodes.Node:
        items = []
        for sentence, number in self.sentences.items():
            items.append(nodes.list_item("", _code(sentence), ids=[f"sentence-{number}"]))
        return nodes.enumerated_list("", *items, enumtype="arabic", prefix="", suffix=".")


def _brief(covariances: list[str]) -> str:
    """Names of covariances; all those without replicates, or with them, in one word."""
    drawn = [name for name in COVARIANCES if name.startswith("bootstrap")]
    for group, word in (
        (drawn, "every bootstrap"),
        ([n for n in COVARIANCES if n not in drawn], "every covariance without replicates"),
    ):
        if set(group) <= set(covariances):
            covariances = [word, *(name for name in covariances if name not in group)]
    return "; ".join(covariances)


def _text(text: str) -> nodes.Node:
    return nodes.paragraph("", text)


def _code(text: str) -> nodes.Node:
    return nodes.paragraph("", "", nodes.literal("", text))


def _section(title: str, *body: nodes.Node) -> nodes.Node:
    name = nodes.make_id(title)
    return nodes.section("", nodes.title("", title), *body, ids=[name], names=[name])


def _table(heads: list[str], rows: list[list[nodes.Node]]) -> nodes.Node:
    def line(entries: Any) -> nodes.Node:
        return nodes.row("", *(nodes.entry("", entry) for entry in entries))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
    group += [nodes.thead("", line(map(_text, heads))), nodes.tbody("", *map(line, rows))]
    return nodes.table("", group)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("what-works", WhatWorks)
    return {"parallel_read_safe": True}
