"""Every mistake with TorchModel or MEstimator is one sentence or two: what came, and what to do; and it harms nothing.

``python tests/errors/test_torch_messages.py`` prints all the sentences, to be read aloud.
"""

import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh

LONGEST = 420  # as in test_messages.py: what can be read in one breath, with a list of names in it


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    error: type[Exception]
    says: tuple[str, ...] = field(default=())


def _given():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 2, generator=generator)
    y = x.sum(1, keepdim=True) + torch.randn(30, 1, generator=generator)
    frame = pd.DataFrame(x.numpy(), columns=["educ", "exper"]).assign(y=y[:, 0].numpy(), town=list("ab") * 15)
    fresh = nn.Linear(2, 1)
    with torch.no_grad():
        fresh.weight.fill_(0.1)
        fresh.bias.fill_(0.2)
    return SimpleNamespace(
        x=x, y=y, yes=(y > 0).float(), m=torch.arange(30) % 3, c=torch.arange(30.0)[:, None] % 4, frame=frame, net=fresh
    )


def _with(tensor, where, value):
    changed = tensor.clone()
    changed[where] = value
    return changed


class Own(nn.Module):
    """A linear layer, and what a function makes of it."""

    def __init__(self, function, outputs=1):
        super().__init__()
        self.fc, self.function = nn.Linear(2, outputs), function

    def forward(self, x):
        return self.function(self, x)


class Held(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.x, self.fc = x, nn.Linear(2, 1)

    def forward(self):
        return self.fc(self.x)


def _m(d, loss=None, params=None, data=None, **options):
    loss = (lambda p, r: (r["y"][:, 0] - r["x"] @ p["beta"]) ** 2) if loss is None else loss
    params = {"beta": torch.zeros(2)} if params is None else params
    return bh.MEstimator(loss, params, {"x": d.x, "y": d.y} if data is None else data, **options)


def _t(d, module=None, loss=None, x=None, y=None, **options):
    return bh.TorchModel(
        d.net if module is None else module,
        loss or nn.MSELoss(),
        d.x if x is None else x,
        d.y if y is None else y,
        **options,
    )


def _frozen(module):
    for value in module.parameters():
        value.requires_grad_(False)
    return module


def _nan_net():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight[0, 0] = float("nan")
    return net


MODULES = [
    Case("a function for a module", lambda d: _t(d, lambda x: x), bh.OptionError, ("function", "nn.Module", "MEstimator")),
    Case("a class for a module", lambda d: _t(d, nn.Linear), bh.OptionError, ("class Linear", "instance", "Linear(...)")),
    Case("no parameters", lambda d: _t(d, nn.Identity()), bh.DataError, ("no free parameter", "nn.Parameter")),
    Case("all are frozen", lambda d: _t(d, _frozen(nn.Linear(2, 1))), bh.DataError, ("requires_grad_(True)",)),
    Case("lazy", lambda d: _t(d, nn.LazyLinear(1)), bh.DataError, ("'weight'", "run the module once")),
    Case("complex parameters", lambda d: _t(d, nn.Linear(2, 1, dtype=torch.complex64)), bh.DataError, ("real", "exclude")),
    Case("NaN parameters", lambda d: _t(d, _nan_net()), bh.DataError, ("'weight'", "not finite", "train")),
    Case("a pattern of nothing", lambda d: _t(d, params=["head.*"]), bh.OptionError, ("'head.*'", "'weight'", "'bias'")),
    Case("no pattern", lambda d: _t(d, params=[]), bh.OptionError, ("params=[]", "'weight'")),
    Case("an unknown pattern beside a known", lambda d: _t(d, params=["weight", "wieght"]), bh.OptionError, ("'wieght'", "'weight'")),
    Case("cannot be copied", lambda d: _t(d, Held(threading.Lock()), x=None), bh.DataError, ("copied", "detached")),
    Case("forward fails", lambda d: _t(d, nn.Linear(3, 1)), bh.DataError, ("cannot be called", "inputs")),
    Case("forward has no inputs", lambda d: bh.TorchModel(d.net, nn.MSELoss(), None, d.y), bh.DataError, ("cannot be called", "inputs")),
    Case("forward takes two", lambda d: _t(d, x=(d.x, d.x)), bh.DataError, ("cannot be called", "tuple")),
    Case("forward has other names", lambda d: _t(d, x={"x": d.x}), bh.DataError, ("cannot be called", "dict")),
    Case("forward raises KeyError", lambda d: _t(d, Own(lambda s, x: {}["weights"])), bh.DataError, ("cannot be called",)),
    Case("forward asserts", lambda d: _t(d, Own(lambda s, x: (_ for _ in ()).throw(AssertionError("three columns")))), bh.DataError, ("cannot be called",)),
    Case("forward has a slip", lambda d: _t(d, Own(lambda s, x: s.fd(x))), bh.DataError, ("cannot be called", "fd")),
    Case("no forward", lambda d: _t(d, type("Bare", (nn.Module,), {"__init__": lambda s: (nn.Module.__init__(s), setattr(s, "a", nn.Parameter(torch.ones(1))))[0]})()), bh.DataError, ("cannot be called", "forward")),
    Case("a float32 tensor of its own", lambda d: _t(d, Own(lambda s, x: x @ torch.ones(2, 1) * s.fc.bias)), bh.DataError, ("attributes or buffers", "float64")),
    Case("returns a dict", lambda d: _t(d, Own(lambda s, x: {"y": s.fc(x)})), bh.DataError, ("dict", "one tensor")),
    Case("returns three", lambda d: _t(d, Own(lambda s, x: (s.fc(x),) * 3)), bh.DataError, ("tuple", "one tensor")),
    Case("returns a number", lambda d: _t(d, Own(lambda s, x: s.fc(x).sum())), bh.DataError, ("shape ()", "a row for each row")),
    Case("returns fewer rows", lambda d: _t(d, Own(lambda s, x: s.fc(x)[:-1])), bh.DataError, ("29", "30 rows")),
    Case("returns NaN", lambda d: _t(d, Own(lambda s, x: s.fc(x) / 0 * 0)), bh.DataError, ("not finite", "look for NaN")),
    Case("depends on the batch", lambda d: _t(d, Own(lambda s, x: s.fc(x) - s.fc(x).mean())), bh.DataError, ("other rows", "row by row")),
    Case("is random", lambda d: _t(d, Own(lambda s, x: F.dropout(s.fc(x)))), bh.DataError, ("random layer",)),
    Case("takes no single row", lambda d: _t(d, Own(lambda s, x: s.fc(x) if len(x) > 1 else s.fc(x.squeeze(0)[None, None].view(7)))), bh.DataError, ("single row",)),
    Case("batch norm of one's own", lambda d: _t(d, nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1, track_running_stats=False))), bh.DataError, ("row",)),
]  # fmt: skip

DATA = [
    Case("whole numbers", lambda d: _t(d, x=d.x.long()), bh.DataError, ("whole numbers", "inputs.double()")),
    Case("no target", lambda d: bh.TorchModel(d.net, nn.MSELoss(), d.x), bh.DataError, ("no target", "fourth")),
    Case("target is shorter", lambda d: _t(d, y=d.y[:-1]), bh.DataError, ("30 rows", "29")),
    Case("target is wider", lambda d: _t(d, y=torch.cat([d.y, d.y], 1)), bh.DataError, ("(30, 1)", "(30, 2)")),
    Case("NaN in inputs", lambda d: _t(d, x=_with(d.x, 3, float("nan"))), bh.DataError, ("missing or infinite", "inputs")),
    Case("NaN in a series", lambda d: _t(d, y=d.frame["y"].mask(d.frame["y"] > 1)), bh.DataError, ("missing",)),
    Case("NaN in target", lambda d: _t(d, y=_with(d.y, 3, float("nan"))), bh.DataError, ("target has 1 missing or infinite value", "leave")),
    Case("NaN in one of two", lambda d: bh.TorchModel(nn.Bilinear(2, 2, 1), nn.MSELoss(), (d.x, _with(d.x, (3, 1), float("inf"))), d.y), bh.DataError, ("missing or infinite", "inputs[1]")),
    Case("inputs of two lengths", lambda d: _t(d, x=(d.x, d.x[:-1])), bh.DataError, ("'29'", "'30'", "as many")),
    Case("no rows", lambda d: _t(d, x=d.x[:0], y=d.y[:0]), bh.DataError, ("0", "at least one")),
    Case("an empty tuple", lambda d: _t(d, x=()), bh.DataError, ("inputs",)),
    Case("complex inputs", lambda d: _t(d, x=d.x + 1j), bh.DataError, ("complex", "real")),
    Case("another device", lambda d: _t(d, x=d.x.to("meta")), bh.DataError, ("meta", "cpu", ".to(")),
    Case("a string column", lambda d: _t(d, x=d.frame[["educ", "town"]]), bh.DataError, ("'town'",)),
    Case("text for inputs", lambda d: _t(d, x="educ"), bh.DataError, ("inputs",)),
    Case("a number for target", lambda d: _t(d, y=1.0), bh.DataError, ("target",)),
    Case("integers of NumPy for an embedding", lambda d: bh.TorchModel(nn.Embedding(3, 1), nn.MSELoss(), np.arange(30) % 3, d.y).fit() and 1 / 0, ZeroDivisionError, ()),
    Case("fewer rows than parameters", lambda d: _t(d, x=d.x[:2], y=d.y[:2]), bh.EstimationError, ("2", "3")),
    Case("text classes", lambda d: _t(d, nn.Linear(2, 2), nn.CrossEntropyLoss(), y=d.frame["town"]), bh.DataError, ("town",)),
]  # fmt: skip

LOSSES = [
    Case("no loss", lambda d: bh.TorchModel(d.net, None, d.x, d.y), bh.OptionError, ("None", "nn.MSELoss()")),
    Case("a loss by its name", lambda d: _t(d, loss="mse"), bh.OptionError, ("'mse'", "nn.MSELoss()")),
    Case("a class for a loss", lambda d: _t(d, loss=nn.MSELoss), bh.OptionError, ("class MSELoss", "MSELoss()")),
    Case("root mean square", lambda d: _t(d, loss=lambda o, t: F.mse_loss(o, t).sqrt()), bh.OptionError, ("neither the sum nor the mean", "penalty=")),
    Case("a weighted mean", lambda d: _t(d, nn.Linear(2, 3), lambda o, t: F.cross_entropy(o, t, weight=torch.tensor([1.0, 2, 3]).double()), y=d.m), bh.OptionError, ("weighted mean", "times its weight")),
    Case("a penalty inside", lambda d: _t(d, loss=lambda o, t: F.mse_loss(o, t, reduction="sum") + d.net.weight.square().sum()), bh.OptionError, ("penalty=",)),
    Case("a loss of floats", lambda d: _t(d, loss=lambda o, t: float(F.mse_loss(o, t))), bh.DataError, ("float", "tensor")),
    Case("a loss of two numbers", lambda d: _t(d, loss=lambda o, t: torch.stack([o.sum(), t.sum()])), bh.DataError, ("(2,)", "one number")),
    Case("a loss that fails", lambda d: _t(d, loss=lambda o, t: (o.reshape(3, 10) @ t).sum()), bh.DataError, ("cannot be taken",)),
    Case("a loss that broadcasts", lambda d: _t(d, loss=lambda o, t: ((o - t) ** 2).mean(), y=d.y[:, 0]), bh.BetahatError, ("(30, 1)", "(30,)")),
    Case("probabilities above 1", lambda d: _t(d, loss=nn.BCELoss(), y=d.yes), bh.DataError, ("between 0 and 1", "BCELoss")),
    Case("classes of -1", lambda d: _t(d, nn.Linear(2, 3), nn.CrossEntropyLoss(), y=_with(d.m, 3, -1)), bh.DataError, ("from -1 to 2", "0, 1, ..., J - 1")),
    Case("classes from 1", lambda d: _t(d, nn.Linear(2, 3), nn.CrossEntropyLoss(), y=d.m + 1), bh.DataError, ("from 1 to 3", "3 outputs")),
    Case("classes of one logit", lambda d: _t(d, nn.Flatten(0), nn.CrossEntropyLoss(), y=d.m), bh.DataError, ("no free parameter",)),
    Case("one column for classes", lambda d: _t(d, Own(lambda s, x: s.fc(x)[:, 0]), nn.CrossEntropyLoss(), y=d.m), bh.DataError, ("(30,)", "(n, J)")),
    Case("half classes", lambda d: _t(d, nn.Linear(2, 3), nn.CrossEntropyLoss(), y=d.m + 0.5), bh.DataError, ("classes 0, 1", "probabilities")),
    Case("negative variance", lambda d: _t(d, Own(lambda s, x: (s.fc(x), -torch.ones_like(s.fc(x)))), nn.GaussianNLLLoss()), bh.DataError, ("GaussianNLLLoss", "negative")),
    Case("yes and no as 1 and 2", lambda d: _t(d, loss=nn.BCEWithLogitsLoss(), y=d.yes + 1).fit(), bh.DataError, ("target", "0 and 1")),
    Case("negative counts", lambda d: _t(d, loss=nn.PoissonNLLLoss(), y=d.c - 1).fit(), bh.DataError, ("target", "negative")),
    Case("likelihood", lambda d: _t(d, likelihood="yes"), bh.OptionError, ("'yes'", "True", "None")),
]  # fmt: skip

OPTIONS = [
    Case("penalty by name", lambda d: _t(d, penalty="l2"), bh.OptionError, ("'l2'", "weight decay")),
    Case("negative penalty", lambda d: _t(d, penalty=-1.0), bh.OptionError, ("-1.0", "zero or more")),
    Case("penalty of two numbers", lambda d: _t(d, penalty=lambda p: p["weight"]).fit(), bh.OptionError, ("one number", "p['name']")),
    Case("penalty of an unknown parameter", lambda d: _t(d, penalty=lambda p: p["head"].sum()).fit(), bh.BetahatError, ("'head'", "'weight'")),
    Case("too few names", lambda d: _t(d, names=["a", "b"]), bh.OptionError, ("2", "3 parameters")),
    Case("names twice", lambda d: _t(d, names=["a", "b", "c", "c"]), bh.OptionError, ("4 names",)),
    Case("bread", lambda d: _t(d).fit(bread="hessian"), bh.OptionError, ("'hessian'", "'observed'", "'opg'")),
    Case("rank", lambda d: _t(d).fit(rank="drop"), bh.OptionError, ("'drop'", "'pinv'")),
    Case("covariance", lambda d: _t(d).fit("HC9"), bh.OptionError, ("'HC9'", "'HC3'")),
    Case("expected bread of a loss of one's own", lambda d: _t(d, Own(lambda s, x: s.fc(x).tanh()), loss=lambda o, t: (o - t).cosh().log().mean()).fit(bread="expected"), bh.OptionError, ("expected", "'gauss-newton'")),
    Case("expected bread of Huber", lambda d: _t(d, loss=nn.HuberLoss()).fit(bread="expected"), bh.OptionError, ("expected",)),
    Case("classical of no likelihood", lambda d: _t(d, loss=nn.HuberLoss()).fit("nonrobust"), bh.EstimationError, ("likelihood=True", "'HC0'")),
    Case("outer products of no likelihood", lambda d: _t(d, loss=nn.HuberLoss()).fit(bread="opg"), bh.OptionError, ("opg", "likelihood=True")),
    Case("classical far from the optimum", lambda d: _t(d).fit(polish=False), bh.EstimationError, ("standard errors from the optimum", "polish=True")),
    Case("absolute loss", lambda d: _t(d, loss=nn.L1Loss()).fit(), bh.EstimationError, ("no curvature", "HuberLoss")),
    Case("a flat direction", lambda d: _t(d, x=torch.cat([d.x[:, :1]] * 2, 1)).fit(), bh.EstimationError, ("flat in 1 direction", "'weight[0,0]'", "rank='pinv'")),
    Case("a parameter that is idle", lambda d: _t(d, Own(lambda s, x: s.fc(x)[:, 0], 2)).fit(), bh.EstimationError, ("fc.weight[1,0]", "fc.bias[1]")),
    Case("separation", lambda d: _t(d, loss=nn.BCEWithLogitsLoss(), y=(d.x[:, :1] > 0).float()).fit(), bh.EstimationError, ("separated", "weight[0,0]", "penalty=")),
    Case("leverage of classes", lambda d: _t(d, Own(lambda s, x: F.pad(s.fc(x), (1, 0)), 2), nn.CrossEntropyLoss(), y=d.m).fit("HC3"), bh.EstimationError, ("Leverage", "one output", "HC0")),
    Case("too many parameters for memory", lambda d: _t(d, nn.Sequential(nn.Linear(2, 40000), nn.Linear(40000, 1))), bh.BetahatError, ("params=",)),
]  # fmt: skip

RESULTS = [
    Case("predict: other width", lambda d: _t(d).fit().predict(d.x[:, :1]), bh.DataError, ("2",)),
    Case("predict: too many inputs", lambda d: _t(d).fit().predict((d.x, d.x)), bh.DataError, ("1", "2", "pass as many")),
    Case("predict: a missing column", lambda d: _t(d, x=d.frame[["educ", "exper"]]).fit().predict(d.frame[["educ"]]), bh.DataError, ("'exper'",)),
    Case("predict: which", lambda d: _t(d).fit().predict(which="linear"), bh.BetahatError, ("'linear'", "'mean'")),
    Case("predict: a module with its data", lambda d: bh.TorchModel(Held(d.x), nn.MSELoss(), None, d.y).fit().predict(d.x), bh.DataError, ("holds its own data", "without any")),
    Case("predict: other names", lambda d: _t(d, x={"input": d.x}).fit().predict({"inputs": d.x}), bh.DataError, ("'inputs'", "'input'")),
    Case("predictions of several outputs", lambda d: _t(d, nn.Linear(2, 2), y=torch.cat([d.y, d.y**2], 1)).fit("HC0").get_prediction(), bh.EstimationError, ("several outputs", "delta")),
    Case("margins of held data", lambda d: bh.TorchModel(Held(d.x), nn.MSELoss(), None, d.y).fit().get_margeff(), bh.EstimationError, ("one (n, p) input",)),
    Case("margins: at", lambda d: _t(d).fit().get_margeff(at="middle"), bh.OptionError, ("'middle'", "'overall'")),
    Case("delta: no such parameter", lambda d: _t(d).fit().delta(lambda p: p["wieght"]), bh.OptionError, ("'wieght'", "'weight'")),
    Case("delta: leaves torch", lambda d: _t(d).fit().delta(lambda p: float(p["bias"])), bh.EstimationError, ("torch",)),
    Case("t_test: no such parameter", lambda d: _t(d).fit().t_test("educ = 0"), bh.BetahatError, ("educ", "'weight[0,0]'")),
    Case("llf of no likelihood", lambda d: _t(d, loss=nn.HuberLoss()).fit().llf, bh.EstimationError, ("likelihood",)),
    Case("residuals of classes", lambda d: _t(d, Own(lambda s, x: F.pad(s.fc(x), (1, 0)), 2), nn.CrossEntropyLoss(), y=d.m).fit().resid, bh.EstimationError, ("no residual",)),
]  # fmt: skip

M_ESTIMATORS = [
    Case("M: no function", lambda d: bh.MEstimator(None, {"b": 0.0}, {"y": d.y}), bh.OptionError, ("None", "function")),
    Case("M: no parameters", lambda d: _m(d, params={}), bh.OptionError, ("{}", "starting values", "by name")),
    Case("M: parameters as a tensor", lambda d: _m(d, params=torch.zeros(2)), bh.OptionError, ("starting values", "by name")),
    Case("M: parameters of text", lambda d: _m(d, params={"beta": "zero"}), bh.DataError, ("params['beta']", "'zero'", "numbers")),
    Case("M: starting values of NaN", lambda d: _m(d, params={"beta": torch.tensor([0.0, float("nan")])}), bh.DataError, ("params['beta']", "not finite")),
    Case("M: empty starting values", lambda d: _m(d, params={"beta": torch.zeros(0)}), bh.DataError, ("params['beta']", "empty")),
    Case("M: complex starting values", lambda d: _m(d, params={"beta": torch.zeros(2) + 1j}), bh.DataError, ("params['beta']", "real")),
    Case("M: no data", lambda d: _m(d, data={}), bh.DataError, ("data", "by name")),
    Case("M: data as a tensor", lambda d: _m(d, data=d.x), bh.DataError, ("Tensor", "by name")),
    Case("M: data as a frame", lambda d: _m(d, data=d.frame), bh.DataError, ("DataFrame", "by name")),
    Case("M: lengths", lambda d: _m(d, data={"x": d.x, "y": d.y[:-1]}), bh.DataError, ("'29'", "'30'", "as many")),
    Case("M: indices", lambda d: _m(d, data={"x": d.frame["educ"], "y": d.frame["educ"][::-1]}), bh.DataError, ("data['y'] and data['x'] differ", "align")),
    Case("M: NaN", lambda d: _m(d, data={"x": d.x, "y": _with(d.y, 2, float("nan"))}), bh.DataError, ("data['y'] has 1 missing", "leave")),
    Case("M: a number for data", lambda d: _m(d, data={"x": d.x, "y": torch.tensor(1.0)}), bh.DataError, ("data['y']", "single number")),
    Case("M: complex data", lambda d: _m(d, data={"x": d.x + 0j, "y": d.y}), bh.DataError, ("data['x']", "complex", "real")),
    Case("M: another device", lambda d: _m(d, data={"x": d.x.to("meta"), "y": d.y}), bh.DataError, ("meta", "cpu", ".to(")),
    Case("M: text", lambda d: _m(d, data={"x": d.frame["town"], "y": d.y}), bh.DataError, ("town",)),
    Case("M: a slip in a name", lambda d: _m(d, lambda p, r: (r["z"] - p["beta"].sum()) ** 2), bh.DataError, ("z",)),
    Case("M: unknown arguments", lambda d: _m(d, lambda beta, x, z: x @ beta - z), bh.OptionError, ("row_loss", "z")),
    Case("M: returns a float", lambda d: _m(d, lambda p, r: 1.0), bh.DataError, ("row_loss", "a loss for each row")),
    Case("M: returns None", lambda d: _m(d, lambda p, r: None), bh.DataError, ("row_loss", "a loss for each row")),
    Case("M: NumPy inside", lambda d: _m(d, lambda p, r: torch.tensor(np.square(r["y"].numpy()[:, 0]))).fit(), bh.BetahatError, ("torch",)),
    Case("M: a matrix", lambda d: _m(d, lambda p, r: (r["y"] - r["x"] @ p["beta"]) ** 2), bh.DataError, ("row",)),
    Case("M: depends on rows", lambda d: _m(d, lambda p, r: (r["y"][:, 0] - (r["x"] @ p["beta"]).mean()) ** 2), bh.DataError, ("other rows", "row i")),
    Case("M: names", lambda d: _m(d, names=["a"]), bh.OptionError, ("1", "2 parameters")),
    Case("M: likelihood", lambda d: _m(d, likelihood="no"), bh.OptionError, ("'no'", "True, False or None")),
    Case("M: penalty", lambda d: _m(d, penalty=-1), bh.OptionError, ("-1", "zero or more")),
    Case("M: bread", lambda d: _m(d).fit(bread="nls"), bh.OptionError, ("'nls'", "'gauss-newton'")),
    Case("M: expected bread", lambda d: _m(d).fit(bread="expected"), bh.OptionError, ("expected", "TorchModel")),
    Case("M: rank", lambda d: _m(d).fit(rank="drop"), bh.OptionError, ("'drop'", "'pinv'")),
    Case("M: classical", lambda d: _m(d).fit("nonrobust"), bh.EstimationError, ("likelihood=True",)),
    Case("M: HC3", lambda d: _m(d).fit("HC3"), bh.EstimationError, ("Leverage", "gauss-newton", "TorchModel")),
    Case("M: predict", lambda d: _m(d).fit().predict(), bh.EstimationError, ("row loss", "TorchModel")),
    Case("M: negative loss for Gauss-Newton", lambda d: _m(d, lambda p, r: (r["y"][:, 0] - r["x"] @ p["beta"]) ** 2 - 1).fit(bread="gauss-newton"), bh.OptionError, ("negative", "observed")),
    Case("M: a loss that is not finite", lambda d: _m(d, lambda p, r: (r["y"][:, 0] - r["x"] @ p["beta"]) ** 2 + p["beta"][0].log()).fit(), bh.EstimationError, ("not finite", "start")),
    Case("M: an idle parameter", lambda d: _m(d, params={"beta": torch.zeros(2), "gamma": 0.0}).fit(), bh.EstimationError, ("'gamma'",)),
    Case("M: falls forever", lambda d: _m(d, lambda p, r: torch.exp(-p["beta"][0] - p["beta"][1] ** 2 + 0 * r["y"][:, 0])).fit(), bh.EstimationError, ()),
    Case("M: fewer rows", lambda d: _m(d, data={"x": d.x[:2], "y": d.y[:2]}), bh.EstimationError, ("2",)),
]  # fmt: skip

ALL = (*MODULES, *DATA, *LOSSES, *OPTIONS, *RESULTS, *M_ESTIMATORS)


def _raised(case, given):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = case.mistake(given)
    except Exception as error:
        return error
    return found


@pytest.mark.parametrize(
    "case",
    ALL,
    ids=lambda case: case.name,
)
def test_sentences(case):
    given, before = _given(), _given()
    error = _raised(case, given)
    assert isinstance(error, Exception), f"nothing was raised; it returned {error!r}"
    assert isinstance(error, case.error), f"{type(error).__name__}: {error}"
    if case.error is ZeroDivisionError:  # the fit went well
        return
    text = str(error)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert len(text) <= LONGEST, f"{len(text)} letters"
    assert not re.search(r"\x1b|  | \)|\( |\.\.$| ,| ;", text), text
    assert re.search(r"[;,:.] ", text), f"it says nothing of what to do: {text}"
    for words in case.says:
        assert words in text, f"{words!r} is not in: {text}"
    for name in ("x", "y", "yes", "m", "c"):
        assert torch.equal(getattr(given, name), getattr(before, name))
    for now, then in zip(given.net.parameters(), before.net.parameters(), strict=True):
        assert torch.equal(now, then)
        assert now.grad is None


def test_names_are_different():
    assert len({case.name for case in ALL}) == len(ALL)


if __name__ == "__main__":
    for case in ALL:
        found = _raised(case, _given())
        print(
            f"{case.name:45s} {type(found).__name__}: {found if isinstance(found, Exception) else 'NOTHING WAS RAISED'}"
        )
