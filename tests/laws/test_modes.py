"""What a user may have told torch around betahat: no gradients, another default device or dtype, tensors without numbers."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh

RNG = np.random.default_rng(0)
N = 60
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
INDEX = X @ [0.3, 0.5, -0.4]
REAL = INDEX + RNG.normal(size=N)
YES = (INDEX + RNG.logistic(size=N) > 0).astype(float)
COUNTS = RNG.poisson(np.exp(INDEX)).astype(float)
CLASSES = RNG.integers(0, 3, N)
FRAME = pd.DataFrame({"y": REAL, "yes": YES, "x": X[:, 1], "z": X[:, 2], "g": np.arange(N) % 12})


def _module(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*[make() for make in layers])


LINEAR = _module(lambda: nn.Linear(3, 1, bias=False))
CURVED = _module(lambda: nn.Linear(3, 2), nn.Tanh, lambda: nn.Linear(2, 1))


def _tensor(values):
    return torch.as_tensor(values, device="cpu")


def _cosh(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["b"]))


MODELS = {
    "OLS": lambda: bh.OLS(REAL, X),
    "OLS of tensors": lambda: bh.OLS(_tensor(REAL), _tensor(X)),
    "WLS": lambda: bh.WLS(REAL, X, weights=np.abs(REAL) + 1.0),
    "ols": lambda: bh.ols("y ~ x + z", FRAME),
    "Logit": lambda: bh.Logit(YES, X),
    "logit": lambda: bh.logit("yes ~ x + z", FRAME),
    "Probit": lambda: bh.Probit(YES, X),
    "Poisson": lambda: bh.Poisson(_tensor(COUNTS), _tensor(X)),
    "MNLogit": lambda: bh.MNLogit(CLASSES, X),
    "linear module": lambda: bh.TorchModel(LINEAR, nn.MSELoss(), _tensor(X), _tensor(REAL)[:, None]),
    "module": lambda: bh.TorchModel(CURVED, nn.MSELoss(), X, REAL[:, None], penalty=0.05),
    "MEstimator": lambda: bh.MEstimator(_cosh, params={"b": np.zeros(3)}, data={"x": X, "y": REAL}),
}


def _answers(name):
    """Numbers of everything that differentiates, or that makes tensors."""
    res = MODELS[name]().fit()
    found = {
        "params": res.params,
        "bse": res.bse,
        "HC1": res.with_cov("HC1").bse,
        "HAC": res.with_cov(bh.HAC(2)).bse,
        "bootstrap": res.with_cov(bh.Bootstrap(19, seed=1)).bse,
        "conf_int": res.conf_int(),
        "test": res.t_test(np.eye(np.asarray(res.params).size)).tvalue,
    }
    found["delta"] = res.delta(lambda p: (p["b"][0] if name == "MEstimator" else p[0]) ** 2).summary_frame()
    if name != "MEstimator":
        found["predict"] = res.predict()
        found["prediction"] = 0.0 if name == "MNLogit" else res.get_prediction().summary_frame()
    if name not in ("MEstimator", "OLS", "OLS of tensors", "WLS", "ols"):
        found["margins"] = res.get_margeff().summary_frame()
    found["rows"] = len(str(res.summary()).splitlines())
    return {key: np.asarray(value, dtype=float) for key, value in found.items()}


@contextlib.contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "float16": lambda: _default_dtype(torch.float16),
    "bfloat16": lambda: _default_dtype(torch.bfloat16),
    "float64": lambda: _default_dtype(torch.float64),
}
BASE = {}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_answers_are_those_without_it(setting, name):
    plain = BASE.setdefault(name, None) or BASE.update({name: _answers(name)}) or BASE[name]
    with SETTINGS[setting]():
        found = _answers(name)
    for key, value in plain.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_results_of_inference_mode_serve_outside_of_it_and_the_other_way_round(name):
    with torch.inference_mode():
        inside = MODELS[name]().fit()
    outside = MODELS[name]().fit()

    def first(res):
        return float(
            res.delta(lambda p: (p["b"][0] if name == "MEstimator" else p[0]) ** 2).summary_frame()["std err"].iloc[0]
        )

    plain = first(outside)
    assert first(inside) == plain
    with torch.inference_mode():
        assert first(outside) == plain


META = {"context": lambda: torch.device("meta"), "set_default_device": lambda: _default_device("meta")}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", META)
def test_the_default_device_meta_is_one_sentence(way, name):
    model = MODELS[name]()
    res = model.fit()
    calls = [
        MODELS[name],
        model.fit,
        res.summary,
        lambda: res.with_cov("HC1"),
        lambda: res.bse,
        lambda: res.delta(lambda p: p[0]),
    ]
    for call in calls:
        with (
            META[way](),
            pytest.raises(bh.OptionError, match="default device is 'meta', whose tensors hold no numbers"),
        ):
            call()


EMPTY = torch.empty(N, 3, device="meta")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bh.OLS(REAL, EMPTY), r"endog is on cpu and exog on meta; move .* to one device, with .to\('cpu'\)"),
        (lambda: bh.OLS(EMPTY[:, 0], EMPTY), "exog is on meta, where tensors hold no numbers"),
        (lambda: bh.OLS(EMPTY[:, 0], X), "endog is on meta and exog on cpu"),
        (lambda: bh.Logit(YES, X, weights=EMPTY[:, 0]), "weights is on meta and exog on cpu"),
        (lambda: bh.Poisson(COUNTS, X, exposure=EMPTY[:, 0]), "exposure is on meta and exog on cpu"),
        (lambda: bh.OLS(REAL, X, device="meta"), "device 'meta' cannot be used"),
        (lambda: bh.OLS(REAL, X).fit().predict(EMPTY), "exog is on meta, where"),
        (lambda: bh.TorchModel(LINEAR, nn.MSELoss(), EMPTY, REAL), "inputs is on meta and the module on cpu"),
        (lambda: bh.TorchModel(LINEAR, nn.MSELoss(), X, EMPTY[:, :1]), "target is on meta and the module on cpu"),
        (
            lambda: bh.TorchModel(nn.Linear(3, 1, device="meta"), nn.MSELoss(), X, REAL),
            "The parameters 'weight', 'bias' are on meta",
        ),
        (lambda: bh.MEstimator(_cosh, params={"b": EMPTY[0]}, data={"x": X, "y": REAL}), r"params\['b'\] is on meta"),
        (
            lambda: bh.MEstimator(_cosh, params={"b": np.zeros(3)}, data={"x": EMPTY, "y": REAL}),
            r"data\['x'\] is on meta and the parameters on cpu",
        ),
        (lambda: bh.OLS(REAL, X).fit().t_test(EMPTY[:1]), "pass a string such as"),
    ],
)
def test_tensors_on_meta_are_refused_by_name(call, words):
    with pytest.raises(bh.BetahatError, match=words):
        call()


def test_inference_tensors_are_data_and_parameters():
    with torch.inference_mode():
        x, y, yes = (torch.as_tensor(v).clone() for v in (X, REAL, YES))
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        start = torch.zeros(3, dtype=torch.float64)
    assert x.is_inference()
    found = bh.TorchModel(module, nn.MSELoss(), x, y[:, None], penalty=0.05).fit()
    np.testing.assert_allclose(found.bse, MODELS["module"]().fit().bse, rtol=1e-12)
    found = bh.MEstimator(_cosh, params={"b": start}, data={"x": x, "y": y}).fit()
    np.testing.assert_array_equal(found.bse, MODELS["MEstimator"]().fit().bse)
    margins = bh.Logit(yes, x).fit().get_margeff().margeff_se
    np.testing.assert_array_equal(np.asarray(margins), MODELS["Logit"]().fit().get_margeff().margeff_se)
    frames = [res.delta(lambda p: p[0] ** 2).summary_frame() for res in (bh.OLS(y, x).fit(), MODELS["OLS"]().fit())]
    np.testing.assert_array_equal(*frames)
