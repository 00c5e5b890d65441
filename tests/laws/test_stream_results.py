"""Results of rows in partitions: what they say is what those of memory say, and no table of a number for each row is made on the way."""

import pytest
import torch
from support.streams import streamed
from torch.utils._python_dispatch import TorchDispatchMode

import betahat as bh
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.inference.diagnostics import ResidualDiagnostics
from betahat.inference.goodness import SumsOfSquares

N, K = 9_000, 4
SIZES = (3_000, 0, 1, 2_999, 3_000)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12


def _data():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(N, K, dtype=torch.float64, generator=generator)
    x[:, 0] = 1.0
    x[:, 3] = (x[:, 3] > 0).double()
    noise = torch.randn(N, dtype=torch.float64, generator=generator)
    y = x.sum(1) + (0.5 + x[:, 1].abs()) * noise
    counts = torch.randint(0, 3, (N,), generator=generator).double()
    counts[[0, 2_999, 3_000, 3_001, N - 1]] = 0.0  # the rows at the edges are left out
    weights = torch.rand(N, dtype=torch.float64, generator=generator) + 0.5
    return {"exog": x, "endog": y, "weights": weights, "counts": counts}


COLUMNS = _data()


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


def columns_of(kind, *beside):
    y = COLUMNS["endog"]
    binary, counted = (y > 0.5).double(), y.abs().round()
    y = {bh.Logit: binary, bh.Probit: binary, bh.Poisson: counted}.get(kind, y)
    names = ("weights", *beside) if kind is bh.WLS else beside
    return {"exog": COLUMNS["exog"], "endog": y, **{name: COLUMNS[name] for name in names}}


def model_on(kind, source):
    """Return a model of rows of a source, as one of a formula has them."""
    model = kind.__new__(kind)
    model.sample, model.source = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(K))), source), None
    return model


class Longest(TorchDispatchMode):
    """Notes tensors with a number for each row, or more."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, given=(), kwargs=None):
        out = function(*given, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if (
                isinstance(part, torch.Tensor)
                and part.numel() > N - N // 8
                and part.ndim
                and max(part.shape) > N - N // 8
            ):
                self.found.append((str(function), tuple(part.shape)))
        return out


def _untimed(summary):
    return [line for line in str(summary).splitlines() if not line.startswith(("Date:", "Time:"))]


@pytest.mark.parametrize("beside", [(), ("counts",)])
@pytest.mark.parametrize("kind", [bh.OLS, bh.WLS, bh.Logit, bh.Probit, bh.Poisson])
def test_summaries_are_those_of_memory(kind, beside):
    columns = columns_of(kind, *beside)
    true = model_on(kind, Held(columns)).fit("HC1")
    found = model_on(kind, streamed(columns, SIZES)).fit("HC1")
    with Longest() as longest:
        text = _untimed(found.summary())
    assert text == _untimed(true.summary())
    assert longest.found == []
    for name in found._learned:
        mine, theirs = getattr(found, name), getattr(true, name)
        if name == "_notes":
            assert mine == theirs
        elif name == "_spectrum":
            torch.testing.assert_close(mine, theirs, rtol=RTOL, atol=0)
        else:
            numbers = [
                dict(vars(part)) if isinstance(part, SumsOfSquares | ResidualDiagnostics) else {"": part}
                for part in (mine, theirs)
            ]
            for key, value in numbers[1].items():
                assert value is None or numbers[0][key] == pytest.approx(value, rel=RTOL, nan_ok=True), (name, key)
