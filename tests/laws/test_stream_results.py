"""Results of rows in partitions: what they say is what those of memory say, and no table of a number for each row is made on the way."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from support.streams import streamed
from torch.utils._python_dispatch import TorchDispatchMode

import betahat as bh
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.errors import DataError, EstimationError
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
    offset = 0.3 * torch.randn(N, dtype=torch.float64, generator=generator)
    return {"exog": x, "endog": y, "weights": weights, "counts": counts, "offset": offset}


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


MARGINS = {
    "overall": {},
    "differences": {"dummy": True, "count": True},
    "mean": {"at": "mean"},
    "zero": {"at": "zero"},
    "elasticity": {"method": "eyex"},
    "somewhere": {"atexog": {"x1": 0.5}},
}


@pytest.mark.parametrize("name", [*MARGINS, "median", "all"])
@pytest.mark.parametrize("beside", [(), ("counts", "offset")])
def test_margins_are_taken_by_passes(beside, name):
    options = MARGINS.get(name, {"at": name})
    columns = columns_of(bh.Poisson, *beside)
    true = model_on(bh.Poisson, Held(columns)).fit().get_margeff(**options)
    res = model_on(bh.Poisson, streamed(columns, SIZES)).fit()
    with Longest() as longest:
        found = res.get_margeff(**options)
    torch.testing.assert_close(found.margeff, true.margeff, rtol=RTOL, atol=0)
    if name != "all":
        torch.testing.assert_close(found.margeff_se, true.margeff_se, rtol=RTOL, atol=0)
    assert (longest.found == []) == (name in MARGINS)  # medians hold one column, and effects of all rows are that many


def test_medians_are_numpys():
    x = torch.cat([torch.ones(9, 1), torch.randn(9, 2, generator=torch.Generator().manual_seed(1))], 1).double()
    for rows in (8, 9):
        y = (torch.arange(rows) % 3 == 0).double()
        res = bh.Poisson(y, x[:rows]).fit()
        middle = torch.tensor(np.median(x[:rows].numpy(), 0))
        torch.testing.assert_close(
            res.get_margeff("median").margeff, res.params[1:] * (middle @ res.params).exp(), rtol=RTOL, atol=0
        )


def test_variables_of_both_equations_are_found_by_passes():
    """A variable that is in both equations moves in both."""
    frame = {
        "y": COLUMNS["endog"].abs().round().numpy(),
        "a": COLUMNS["exog"][:, 1].numpy(),
        "b": COLUMNS["exog"][:, 2].numpy(),
    }
    res = bh.hurdlepoisson("y ~ a + b", frame, exog_zero="~ a").fit()
    assert res.get_margeff().names == ("a", "b")


def _written(folder):
    """Write the rows as files, with missing values."""
    folder.mkdir()
    x, y = COLUMNS["exog"][:900].numpy(), COLUMNS["endog"][:900].numpy()
    frame = pd.DataFrame({"y": y, "z": (y > 0.5).astype(float), "a": x[:, 1], "b": x[:, 2], "g": np.arange(900) % 60})
    frame.loc[[3, 500], "a"] = np.nan
    for i, start in enumerate(range(0, 900, 300)):
        frame[start : start + 300].to_parquet(folder / f"{i}.parquet", index=False)
    return frame, str(folder / "*.parquet")


@pytest.mark.parametrize("name", ["ols", "logit"])
def test_results_are_saved_without_their_rows(name, tmp_path):
    frame, files = _written(tmp_path / "rows")
    formula = "y ~ a + b" if name == "ols" else "z ~ a + b"
    res = getattr(bh, name)(formula, files).fit(bh.Cluster("g"))
    text = _untimed(res.summary())
    again = bh.load(res.save(tmp_path / "results"))
    assert _untimed(again.summary()) == text
    assert (tmp_path / "results").stat().st_size < 60_000
    pd.testing.assert_series_equal(again.predict(frame), res.predict(frame))
    pd.testing.assert_series_equal(again.predict(files), res.predict(files))
    folder = again.predict(files, path=tmp_path / "out")
    assert len(list(folder.iterdir())) == 3
    for question in (lambda: again.with_cov("HC3"), lambda: again.predict(path=tmp_path / "other")):
        with pytest.raises(DataError, match="a fit of rows that lie elsewhere"):
            question()
    copy = pickle.loads(pickle.dumps(res))
    assert _untimed(copy.summary()) == text
    np.testing.assert_array_equal(copy.with_cov("HC3").bse, res.with_cov("HC3").bse)


def test_tables_take_streams(tmp_path):
    frame, files = _written(tmp_path / "rows")
    res, true = (bh.logit("z ~ a + b", data).fit("HC1") for data in (files, frame))
    assert str(bh.regtable([res, true])).splitlines()[3:] != []
    columns = [
        line.split()[-2:] for line in str(bh.regtable([res, true])).splitlines() if line.startswith(("a ", "b "))
    ]
    assert all(first == second for first, second in columns)
    assert str(bh.compare(res, ["HC0", "HC3"])) == str(bh.compare(true, ["HC0", "HC3"]))
    pd.testing.assert_frame_equal(res.glance(), true.glance(), rtol=RTOL)


def test_numbers_of_rows_have_the_places_of_their_rows(tmp_path):
    """Rows with missing values are left out, so that labels are those of memory: positions in the data."""
    frame, files = _written(tmp_path / "rows")
    res, true = (bh.logit("z ~ a + b", data).fit() for data in (files, frame))
    for name in ("resid_response", "fittedvalues"):
        pd.testing.assert_series_equal(getattr(res, name), getattr(true, name), rtol=RTOL)
    pd.testing.assert_frame_equal(
        res.get_prediction().summary_frame(), true.get_prediction().summary_frame(), rtol=RTOL
    )
    absorbed, known = (bh.ols("y ~ a | g", data).fit() for data in (files, frame))
    pd.testing.assert_series_equal(absorbed.resid, known.resid, rtol=0, atol=1e-12)  # some are nearly nothing


def test_rows_of_absorbed_effects_are_written(tmp_path):
    frame, files = _written(tmp_path / "rows")
    res, true = (bh.ols("y ~ a | g", data).fit() for data in (files, frame))
    folder = res.predict(path=tmp_path / "out")
    found = pd.concat([pd.read_parquet(path) for path in sorted(folder.iterdir())], ignore_index=True)
    np.testing.assert_allclose(found.predicted[frame.a.notna()], true.predict(), rtol=1e-10)  # of effects by sums
    assert found[frame.a.isna()].isna().all(axis=None)


def test_numbers_of_too_many_rows_are_refused(tmp_path, monkeypatch):
    """What is a sum over rows is not."""
    _, files = _written(tmp_path / "rows")
    res = bh.logit("z ~ a + b", files).fit("HC1")
    monkeypatch.setattr("betahat.data.memory.free_memory", lambda device: 8_000)
    questions = {
        "resid": lambda: res.resid_response,
        "fitted values": lambda: res.fittedvalues,
        "predictions": res.predict,
        "standard errors": res.get_prediction,
        "influence": lambda: res.get_influence().hat_matrix_diag,
        "pictures": lambda: res.cases,
        "data": lambda: res.model.exog,
        "margins of each row": lambda: res.get_margeff("all"),
    }
    for question in questions.values():
        with pytest.raises(
            EstimationError, match=r"each of 898 rows, which take .*; fitted values and residuals are written"
        ):
            question()
    res.summary()
    res.get_margeff()
    res.with_cov("HC3")
    res.predict(path=tmp_path / "out")
