"""Arrays that lie in files are read where they lie: nothing is copied, nothing written, and the bits are those of memory."""

import hashlib

import numpy as np
import pytest

import betahat as bh
from betahat.data.arrays import read_columns
from betahat.errors import DataError

N, K = 40_000, 8


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(N, K))
    x[:, 0] = 1.0
    return x.sum(1) + rng.normal(size=N) * (1 + x[:, 1] ** 2), x


MAPS = {
    "np.load": lambda path, mode: np.load(path, mmap_mode=mode),
    "np.memmap": lambda path, mode: np.memmap(path, float, mode, np.load(path, mmap_mode="r").offset, (N, K)),
    "part of one": lambda path, mode: np.load(path, mmap_mode=mode)[:, :],
    "as an array": lambda path, mode: np.asarray(np.load(path, mmap_mode=mode)),
}


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("how", MAPS)
def test_mapped_arrays_are_neither_copied_nor_written(tmp_path, arrays, how, mode):
    y, x = arrays
    np.save(tmp_path / "x.npy", x)
    before = hashlib.sha256((tmp_path / "x.npy").read_bytes()).digest()
    mapped = MAPS[how](tmp_path / "x.npy", mode)
    assert read_columns(mapped, "exog", None, None).values.data_ptr() == mapped.__array_interface__["data"][0]
    read, held = bh.OLS(y, mapped).fit("HC3"), bh.OLS(y, x).fit("HC3")
    for name in ("params", "bse", "resid", "fittedvalues"):
        np.testing.assert_array_equal(getattr(read, name), getattr(held, name))
    logit = [bh.Logit((y > 0) * 1.0, given).fit(bh.Cluster(np.arange(N) // 20)).bse for given in (mapped, x)]
    np.testing.assert_array_equal(*logit)
    assert mapped.flags.writeable == (mode != "r")
    assert hashlib.sha256((tmp_path / "x.npy").read_bytes()).digest() == before


@pytest.mark.parametrize("dtype", ["float32", "int16", ">f8"])
def test_mapped_arrays_of_other_types_and_orders(tmp_path, arrays, dtype):
    y, x = arrays
    given = np.asfortranarray((10 * x).astype(dtype))
    np.save(tmp_path / "x.npy", given)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(bh.OLS(y, mapped).fit("HC1").bse, bh.OLS(y, given).fit("HC1").bse)


def test_rows_with_missing_values_of_mapped_arrays(tmp_path, arrays):
    y, x = arrays
    gaps = x.copy()
    gaps[::97, 3] = np.nan
    np.save(tmp_path / "x.npy", gaps)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(DataError, match="missing"):
        bh.OLS(y, mapped)
    read, held = (bh.OLS(y, given, missing="drop").fit("HC1") for given in (mapped, gaps))
    np.testing.assert_array_equal(read.bse, held.bse)


def test_a_file_that_was_written_on_is_noticed(tmp_path, arrays):
    y, x = arrays
    np.save(tmp_path / "x.npy", x)
    model = bh.OLS(y, np.load(tmp_path / "x.npy", mmap_mode="r"))
    results = model.fit("HC1")
    np.load(tmp_path / "x.npy", mmap_mode="r+")[:] += 1
    with pytest.raises(DataError, match="was changed in place after the model was made"):
        results.with_cov("HC3").bse  # noqa: B018
