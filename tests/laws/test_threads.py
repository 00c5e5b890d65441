"""Threads: the answers are those of one thread, and the process's warning filters stay as they are."""

import ast
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import betahat as bh
from betahat.calculus.autodiff import forward
from betahat.data.quiet import quiet

SOURCE = Path(bh.__file__).parent
THREADS = 8
N = 60
R = np.random.default_rng(4)
FRAME = pd.DataFrame(
    {
        "y": R.normal(size=N),
        "x": R.normal(size=N),
        "g": R.choice(["a", "b", "c"], N),
        "b": R.integers(0, 2, N),
        "k": R.poisson(2, N),
        "m": R.integers(0, 3, N),
    }
)
NEW = {"x": [1.0, 2.0], "g": ["west", "a"]}


def in_threads(work, times=15):
    """Call it so often in each of eight threads, which begin together."""
    begin = threading.Barrier(THREADS)

    def several(_):
        begin.wait()
        return [work() for _ in range(times)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [found for one in pool.map(several, range(THREADS)) for found in one]


@pytest.mark.parametrize("formula", ["y ~ x + g", "y ~ C(g)*x", "y ~ 0 + g.str.upper():x"])
@pytest.mark.parametrize("data", [pd.DataFrame, pl.DataFrame, dict])
def test_an_unseen_category_always_raises(formula, data, tmp_path):
    res = bh.ols(formula, FRAME).fit()
    new = data(NEW)

    def refused():
        with pytest.raises(bh.DataError, match=r"did not occur in the fit of .*: '(west|WEST)'"):
            res.predict(new)
        return True

    assert all(in_threads(refused))
    if "upper" not in formula:
        res = bh.load(res.save(tmp_path / "threads.betahat"))
        assert all(in_threads(refused, 3))


def module():
    layer = torch.nn.Linear(1, 1).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.1)
    return layer


def huber(p, d):
    return torch.nn.functional.huber_loss(p["a"] + p["b"] * d["x"], d["y"], reduction="none")


X, Y = (torch.tensor(FRAME[[name]].to_numpy()) for name in ("x", "y"))
COLUMNS = {"x": FRAME["x"].to_numpy(), "y": FRAME["y"].to_numpy()}
WORK = {
    "ols": lambda: bh.ols("y ~ x*g + np.exp(x)", FRAME).fit("HC3"),
    "wls": lambda: bh.wls("y ~ x + C(m)", FRAME, weights=np.ones(N)).fit(),
    "logit": lambda: bh.logit("b ~ x + g", FRAME).fit("HC1"),
    "poisson": lambda: bh.poisson("k ~ C(m) + center(x)", FRAME).fit(),
    "mnlogit": lambda: bh.mnlogit("m ~ x", FRAME).fit(),
    "cluster": lambda: bh.ols("y ~ x", FRAME).fit(bh.Cluster(np.arange(N) // 3)),
    "bootstrap": lambda: bh.ols("y ~ x", FRAME).fit(bh.Bootstrap(20, seed=1)),
    "arrays": lambda: bh.OLS(FRAME["y"].to_numpy(), bh.add_constant(FRAME["x"].to_numpy())).fit("HC0"),
    "torch module": lambda: bh.TorchModel(module(), torch.nn.MSELoss(), X, Y).fit("HC1"),
    "own loss": lambda: bh.MEstimator(huber, {"a": 0.0, "b": 0.0}, COLUMNS).fit("HC1"),
    "summary": lambda: _told(bh.ols("y ~ x + g", FRAME).fit("HC1")),
    "prediction": lambda: _predicted(bh.ols("y ~ x + g", FRAME).fit()),
}


def _told(res):
    assert str(res.summary())
    assert res.wald_test_terms() is not None
    return res


def _predicted(res):
    assert len(res.get_prediction(FRAME.head()).summary_frame()) == 5
    return res


def _entered(monkeypatch):
    """Return the list of the places in betahat from which the filters are copied and put back."""
    enter, places = warnings.catch_warnings.__enter__, []

    def noted(self):
        frame = sys._getframe(1)
        if frame.f_code.co_filename.startswith(str(SOURCE)):
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return enter(self)

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", noted)
    return places


@pytest.mark.parametrize("name", WORK)
def test_filters_are_not_touched(name, monkeypatch):
    """pandas copies them for an instant now and then; betahat never."""
    WORK[name]()  # at its first, torch imports sympy, which adds a filter
    places, before = _entered(monkeypatch), list(warnings.filters)
    WORK[name]()
    assert not places
    assert warnings.filters == before


@pytest.mark.parametrize("name", ["ols", "logit", "torch module", "own loss", "summary", "prediction"])
def test_fits_in_threads_are_those_of_one(name):
    """The same parameters to the last bit, and the filters as they were."""
    expected = WORK[name]()
    before = list(warnings.filters)
    for found in in_threads(WORK[name], 4):
        assert np.array_equal(found.params, expected.params)
        assert np.array_equal(found.bse, expected.bse)
    assert warnings.filters == before


def test_only_the_command_line_catches_warnings():
    """It is a process of its own."""
    names = {"catch_warnings", "simplefilter", "filterwarnings", "resetwarnings"}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in names:
                found.add(path.name)
    assert found == {"__main__.py"}


def test_silence_is_of_one_thread():
    """Another thread's warnings come through, and the entry goes although the filters were replaced meanwhile."""
    before, seen = list(warnings.filters), []

    def speak():
        try:
            warnings.warn("loud", UserWarning, stacklevel=1)
        except UserWarning as warning:
            seen.append(str(warning))

    with quiet():
        warnings.warn("unheard", UserWarning, stacklevel=1)
        other = threading.Thread(target=speak)
        other.start()
        other.join()
    assert seen == ["loud"]
    assert warnings.filters == before
    silence, catch = quiet(), warnings.catch_warnings()
    silence.__enter__()
    catch.__enter__()
    silence.__exit__(None, None, None)
    assert warnings.filters == before
    catch.__exit__(None, None, None)
    assert warnings.filters == before
    with pytest.raises(ZeroDivisionError), quiet():
        1 / 0  # noqa: B018
    assert warnings.filters == before


def test_torchs_warnings_of_its_own_speed_are_not_the_users():
    """vmap has no rule for unfold's backward, and says so."""

    def loss(p, d):
        return ((p["b"] * d["x"][:, None].expand(-1, 3)).unfold(1, 2, 1).sum((1, 2)) - d["y"]) ** 2

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bh.MEstimator(loss, {"b": 0.1}, COLUMNS).fit("HC0")
    assert not [str(warning.message) for warning in caught]


def test_threads_that_differentiate_forward_at_once_keep_their_derivatives():
    """torch has one count of levels for all threads: without a turn for each, some derivatives were zero."""
    point, unit = torch.arange(1.0, 4.0), torch.ones(3)

    def wrong(_):
        return sum(
            not torch.equal(forward(lambda x: (x**2).exp().log(), point, unit)[1].round(decimals=4), 2.0 * point)
            for _ in range(150)
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(4))) == 0
