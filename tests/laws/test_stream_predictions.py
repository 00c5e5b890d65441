"""Predictions of rows that lie elsewhere: those of memory, written beside the partitions that they belong to, whole or not at all."""

import errno
import multiprocessing
import os
import resource
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from support.deadly import DeadlyDataset
from support.streams import streamed

import betahat as bh
from betahat.data.container import Tensors
from betahat.data.datasets import parquet
from betahat.data.design import Design
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.errors import DataError, EstimationError, FormulaError, OptionError

N = 2_000
SIZES = (700, 0, 1, 1_299)


def _frame():
    generator = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"x": generator.normal(size=N), "g": generator.choice(["a", "b", "c"], N), "t": 1.0 + generator.random(N)}
    )
    frame["y"] = frame.x + (frame.g == "b") + generator.normal(size=N)
    frame["z"] = (frame.y > 0).astype(float)
    frame["c"] = generator.poisson(frame.t * np.exp(0.3 * frame.x))
    frame["k"] = np.digitize(frame.y, [-0.5, 0.5])
    frame["p"] = frame.y.clip(lower=0.0)
    frame["unused"] = "text"
    return frame


FRAME = _frame()
HOLES = FRAME.copy()
HOLES.loc[[0, 5, 900, N - 1], "x"] = np.nan
HOLES.loc[[7], "g"] = None


@pytest.fixture
def files(tmp_path):
    """New data in files with missing values, one of them without rows."""
    folder = tmp_path / "rows"
    folder.mkdir()
    start = 0
    for i, size in enumerate(SIZES):
        HOLES.iloc[start : start + size].to_parquet(folder / f"{i}.parquet", index=False)
        start += size
    return folder


def _written(folder):
    """Return what was written, and the rows of each file."""
    parts = [pd.read_parquet(path) for path in sorted(folder.iterdir())]
    return pd.concat(parts, ignore_index=True), [len(part) for part in parts]


MODELS = {
    "ols": (lambda: bh.ols("y ~ x + C(g)", FRAME), {}, ["predicted"]),
    "logit": (lambda: bh.logit("z ~ x + g", FRAME), {"which": "linear"}, ["predicted"]),
    "poisson": (lambda: bh.poisson("c ~ x", FRAME, exposure="t"), {"exposure": "t"}, ["predicted"]),
    "glm": (lambda: bh.glm("c ~ x", FRAME, family="poisson"), {"which": "var"}, ["predicted"]),
    "mnlogit": (lambda: bh.mnlogit("k ~ x", FRAME), {}, ["predicted_0", "predicted_1", "predicted_2"]),
    "ordered": (lambda: bh.ordered("k ~ x", FRAME), {}, ["predicted_0", "predicted_1", "predicted_2"]),
    "negativebinomial": (lambda: bh.negativebinomial("c ~ x", FRAME), {"offset": "np.log(t)"}, ["predicted"]),
    "hurdlepoisson": (lambda: bh.hurdlepoisson("c ~ x", FRAME, exog_zero="~ t"), {"which": "prob-zero"}, ["predicted"]),
    "quantreg": (lambda: bh.quantreg("y ~ x", FRAME), {}, ["predicted"]),
    "rlm": (lambda: bh.rlm("y ~ x", FRAME), {}, ["predicted"]),
    "absorbed": (lambda: bh.ols("y ~ x | g", FRAME), {}, ["predicted"]),
    "tobit": (lambda: bh.tobit("p ~ x", FRAME, left=0), {}, ["predicted"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_new_data_in_files_are_predicted_as_in_memory(name, files, tmp_path):
    make, options, names = MODELS[name]
    res = make().fit()
    true = np.asarray(res.predict(HOLES, **options))
    assert np.isnan(true.reshape(N, -1)[[0, 900]]).all()
    path = res.predict(files / "*.parquet", path=tmp_path / "out", **options)
    found, rows = _written(path)
    assert list(found) == names
    assert rows == list(SIZES)
    # a product of a part of the rows may differ from that of all in the last place
    np.testing.assert_allclose(found.to_numpy(), true.reshape(N, -1), rtol=1e-14)
    held = res.predict(str(files), **options)
    assert isinstance(held, pd.Series | pd.DataFrame)
    np.testing.assert_array_equal(held.to_numpy().reshape(N, -1), found.to_numpy())


def test_only_the_columns_of_the_formula_are_read(files, tmp_path, monkeypatch):
    asked = []
    read = parquet.RowGroups.chunks
    monkeypatch.setattr(
        parquet.RowGroups, "chunks", lambda self, columns: asked.append(set(columns)) or read(self, columns)
    )
    bh.poisson("c ~ x", FRAME, exposure="t").fit().predict(str(files), path=tmp_path / "out", exposure="np.exp(t)")
    assert asked == [{"x", "t"}] * len(SIZES)


def test_rows_in_memory_are_written_too(tmp_path):
    res = bh.ols("y ~ x", HOLES).fit()
    new, rows = _written(res.predict(FRAME, path=tmp_path / "new"))
    np.testing.assert_array_equal(new.predicted, res.predict(FRAME))
    assert rows == [N]
    own, _ = _written(res.predict(path=tmp_path / "own"))
    used = HOLES.x.notna().to_numpy()
    np.testing.assert_array_equal(own.predicted[used], res.fittedvalues)
    np.testing.assert_allclose(
        own.resid[used], res.resid, rtol=0, atol=1e-14
    )  # y less the fitted values, in another order
    assert own[~used].isna().all(axis=None)


def _model_on(kind, source):
    model = kind.__new__(kind)
    model.sample, model.source = Design(Schema(Tensors(), "y", ("const", "x")), source), None
    return model


@pytest.mark.parametrize("kind", [bh.OLS, bh.Poisson])
def test_the_rows_of_the_fit_are_written_beside_their_partitions(kind, tmp_path):
    columns = {
        "exog": torch.tensor(np.column_stack([np.ones(N), FRAME.x])),
        "endog": torch.tensor(FRAME.c.to_numpy(float)),
    }
    if kind is bh.Poisson:
        columns["offset"] = torch.tensor(np.log(FRAME.t.to_numpy()))
    true = _model_on(kind, Held(columns)).fit()
    res = _model_on(kind, streamed(columns, SIZES)).fit()
    found, rows = _written(res.predict(path=tmp_path / "out"))
    assert rows == list(SIZES)
    assert list(found) == ["predicted", "resid"]
    np.testing.assert_allclose(found.predicted, true.predict(), rtol=1e-12)  # of coefficients by sums in another order
    np.testing.assert_allclose(found.resid, true.resid, rtol=0, atol=1e-12)
    if kind is bh.OLS:
        return
    with pytest.raises(OptionError, match="offset of the data of the fit are those of the fit"):
        res.predict(path=tmp_path / "other", offset=1.0)


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_write_the_same_files(executor, files, tmp_path):
    res = bh.ols("y ~ x + C(g)", FRAME).fit()
    res.predict(files / "*.parquet", path=tmp_path / "serial")
    with executor(2) as workers, bh.engine(workers):
        res.predict(files / "*.parquet", path=tmp_path / "shared")
    for path in sorted((tmp_path / "serial").iterdir()):
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes()


def test_files_say_which_partition_they_belong_to(files, tmp_path):
    bh.ols("y ~ x", FRAME).fit().predict(files, path=tmp_path / "out")
    said = [pq.read_schema(path).metadata[b"partition"].decode() for path in sorted((tmp_path / "out").iterdir())]
    assert said == [str(files / f"{i}.parquet") for i in range(len(SIZES))]


# faults


def _limited():
    """Let no file grow beyond 4,096 bytes, as on a disk that is full in the middle of one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    return before


def test_a_file_that_cannot_grow_leaves_nothing(files, tmp_path):
    res = bh.ols("y ~ x", FRAME).fit()
    before = _limited()
    try:
        with pytest.raises(
            DataError, match=r"cannot be written to '.*out' \(File too large\), and none of them were kept"
        ):
            res.predict(files, path=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


@pytest.mark.parametrize(("owner", "name"), [(pq.ParquetWriter, "write_table"), (os, "fsync")])
def test_a_full_disk_leaves_nothing(owner, name, files, tmp_path, monkeypatch):
    """Full in the middle of the last file, or when that is finished."""
    res, calls, own = bh.ols("y ~ x", FRAME).fit(), [], getattr(owner, name)

    def fails(*given):
        calls.append(name)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "no room")
        return own(*given)

    monkeypatch.setattr(owner, name, fails)
    with pytest.raises(DataError, match=r"\(No space left on device\), and none of them were kept; make room there"):
        res.predict(files, path=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


def test_a_file_that_goes_or_changes_leaves_nothing(files, tmp_path):
    res = bh.ols("y ~ x", FRAME).fit()
    dataset = bh.data.datasets.open.dataset_of(str(files))
    (files / "3.parquet").unlink()
    with pytest.raises(DataError, match=r"3\.parquet is not there"):
        res.predict(dataset, path=tmp_path / "out")
    FRAME.to_parquet(files / "3.parquet")
    with pytest.raises(DataError, match=r"3\.parquet has changed"):
        res.predict(dataset, path=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


def test_an_interrupt_leaves_nothing(files, tmp_path, monkeypatch):
    def interrupted(self, partition):
        raise KeyboardInterrupt

    monkeypatch.setattr("betahat.saving.parquet_folder._Writing.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bh.ols("y ~ x", FRAME).fit().predict(files, path=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


def test_folders_that_will_not_do(files, tmp_path):
    res = bh.ols("y ~ x", FRAME).fit()
    (tmp_path / "empty").mkdir()
    assert res.predict(files, path=tmp_path / "empty") == tmp_path / "empty"
    for path, match in [
        (files, "is a folder with files in it"),
        (files / "0.parquet", "is a file"),
        (tmp_path / "no" / "out", "does not exist; create it first"),
        ("s3://bucket/out", "a folder of this machine's file system"),
        ("out\0", "is not a valid name of a folder"),
    ]:
        with pytest.raises(DataError, match=match):
            res.predict(files, path=path)
    with pytest.raises(OptionError, match="path is 3; pass the name of a folder"):
        res.predict(files, path=3)
    assert os.stat(tmp_path / "empty").st_mode & 0o777 == os.stat(files).st_mode & 0o777


def test_vectors_beside_files_are_refused(files):
    res = bh.poisson("c ~ x", FRAME).fit()
    with pytest.raises(
        OptionError, match="offset is a list, and new data that are not in memory are read in parts; pass the name"
    ):
        res.predict(files, offset=list(range(N)))


def test_predictions_that_do_not_fit_into_memory_say_so(files, monkeypatch):
    monkeypatch.setattr("betahat.solvers.memory.free_memory", lambda device: 8 * N)
    with pytest.raises(
        EstimationError, match=r"predictions need .* GB, but only .* GB are free; pass path= to write them to files"
    ):
        bh.ols("y ~ x", FRAME).fit().predict(files)


def test_compressed_rows_are_predicted_from_the_data(files, tmp_path):
    """One of the files has no rows."""
    res = bh.poisson("c ~ g", files, compress=True).fit()
    true = bh.poisson("c ~ g", HOLES).fit()
    np.testing.assert_allclose(res.params, true.params, rtol=1e-10)  # of sums in another order
    with pytest.raises(OptionError, match="does not know the data's own rows; pass the data as exog"):
        res.predict(path=tmp_path / "none")
    found, rows = _written(res.predict(files, path=tmp_path / "out"))
    assert rows == list(SIZES)
    np.testing.assert_allclose(found.predicted, res.predict(HOLES), rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pool", "dask"])
def test_a_worker_is_killed_while_it_writes(kind, tmp_path):
    """A pool says so, and nothing is left; dask gives the task to another worker, and the files are those that nobody died for."""
    res, data = bh.ols("y ~ x", FRAME).fit(), DeadlyDataset(str(tmp_path / "killed"))
    if kind == "pool":
        with (
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers,
            bh.engine(workers),
            pytest.raises(bh.errors.WorkerError, match="A worker process of the engine died"),
        ):
            res.predict(data, path=tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["killed"]
        return
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        bh.engine(client),
    ):
        res.predict(data, path=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "out"]
    res.predict(data, path=tmp_path / "serial")
    for path in sorted((tmp_path / "serial").iterdir()):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("formula", ["y ~ x", "y ~ np.exp(x) + t"])
def test_a_variable_of_the_caller_is_no_column_that_new_data_lack(held, formula, tmp_path):
    x = 5.0
    FRAME.to_parquet(tmp_path / "whole.parquet")
    results = bh.ols(formula, FRAME if held else tmp_path / "whole.parquet").fit()
    assert len(results.predict(FRAME.assign(x=x))) == N
    FRAME.drop(columns="x").to_parquet(tmp_path / "without.parquet")
    with pytest.raises(FormulaError, match="refers to 'x', found neither in the data"):
        results.predict(FRAME.drop(columns="x"))
    for path in (None, tmp_path / "out"):
        with pytest.raises(DataError, match="The new data lack the columns 'x'"):
            results.predict(tmp_path / "without.parquet", path=path)
    assert not (tmp_path / "out").exists()


def test_a_constant_alone_is_predicted_for_each_row(files):
    results = bh.ols("y ~ 1", FRAME).fit()
    np.testing.assert_array_equal(results.predict(files / "*.parquet"), np.full(N, results.params["Intercept"]))
