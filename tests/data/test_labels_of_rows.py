"""Labels of clusters in every container are numbered as sorting the labels themselves would number them."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh
from betahat.data import labels
from betahat.data.groups import read_groups, read_numbers
from betahat.errors import DataError

N = 400
R = np.random.default_rng(3)
PLACES = R.integers(0, 60, N)
# Sorted, so that a label's number is its place.
WORDS = sorted({f"{'xyÄ'[i % 3]}{'long ' * (i % 4)}{i}" for i in range(60)})
TEXT = [WORDS[i] for i in PLACES]
SPARSE = np.sort(R.choice(10**12, 60, replace=False) - 10**11)[PLACES]
DATES = np.datetime64("1999-12-30") + PLACES
TICKS = DATES.astype("datetime64[us]")
ORDER = sorted(set(PLACES.tolist()))
RANK = np.searchsorted(ORDER, PLACES)

VECTORS = {
    "objects": np.array(TEXT, dtype=object),
    "text": np.array(TEXT),
    "text of other bytes": np.array(TEXT).astype(np.array(TEXT).dtype.newbyteorder()),
    "every other": np.repeat(np.array(TEXT), 2)[::2],
    "bytes": np.char.encode(np.array(TEXT), "utf-32-be"),
    "objects of bytes": np.array([word.encode("utf-32-be") for word in TEXT], dtype=object),
    "integers": PLACES,
    "short integers": PLACES.astype(np.int8),
    "unsigned": (SPARSE + 10**11).astype(np.uint64),
    "sparse": SPARSE,
    "floats": SPARSE / 7,
    "short floats": PLACES.astype(np.float32) / 3,
    "objects of integers": SPARSE.astype(object),
    "objects of both": np.array([int(i) if i % 2 else float(i) for i in PLACES], dtype=object),
    "days": DATES,
    "nanoseconds": DATES.astype("datetime64[ns]"),
    "hours": PLACES * np.timedelta64(1, "h"),
    **{
        f"pandas {kind}": pd.Series(TEXT, dtype=kind) for kind in ("object", "str", "string[python]", "string[pyarrow]")
    },
    "pandas Arrow": pd.Series(TEXT, dtype=pd.ArrowDtype(pa.large_string())),
    "pandas Int64": pd.Series(SPARSE, dtype="Int64"),
    "pandas Float64": pd.Series(SPARSE / 7, dtype="Float64"),
    "pandas int64[pyarrow]": pd.Series(SPARSE, dtype="int64[pyarrow]"),
    "pandas dates": pd.Series(TICKS),
    "pandas zone": pd.Series(TICKS).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    "pandas periods": pd.Series(pd.period_range("1999-11", periods=60, freq="M")[PLACES]),
    "pandas intervals": pd.Series(pd.interval_range(0, 60)[PLACES]),
    "pandas category": pd.Series(pd.Categorical(TEXT, categories=["unused", *WORDS[::-1]])),
    "pandas ordered": pd.Series(pd.Categorical(TEXT, categories=WORDS, ordered=True)),
    "pandas numbers": pd.Series(pd.Categorical(SPARSE, categories=sorted({*SPARSE.tolist(), 5}, reverse=True))),
    "pandas cut": pd.cut(pd.Series(PLACES), np.arange(-1, 61)),
    "pandas cut without order": pd.cut(pd.Series(PLACES), np.arange(-1, 61)).cat.as_unordered(),
    "pandas dictionary": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(TEXT).dictionary_encode())),
    "index": pd.Index(TEXT),
    "index of categories": pd.CategoricalIndex(TEXT, categories=WORDS[::-1]),
    "index of dates": pd.DatetimeIndex(TICKS),
    "index of levels": pd.MultiIndex.from_arrays([PLACES, PLACES]),
    "polars text": pl.Series(TEXT),
    "polars category": pl.Series(TEXT, dtype=pl.Categorical),
    "polars enum": pl.Series(TEXT, dtype=pl.Enum(["unused", *WORDS[::-1]])),
    "polars integers": pl.Series(SPARSE),
    "polars days": pl.Series(DATES),
    "polars dates": pl.Series(TICKS),
    "polars zone": pl.Series(TICKS).dt.replace_time_zone("UTC"),
    "polars hours": pl.Series(PLACES * 10**9).cast(pl.Duration),
    "polars times": pl.Series(PLACES * 10**9).cast(pl.Time),
    "polars bytes": pl.Series([word.encode("utf-32-be") for word in TEXT]),
    "Arrow text": pa.array(TEXT),
    "Arrow large": pa.array(TEXT, pa.large_string()),
    "Arrow views": pa.array(TEXT).cast(pa.string_view()),
    "Arrow pieces": pa.chunked_array([TEXT[:30], TEXT[30:]]),
    "Arrow dictionary": pa.array(TEXT).dictionary_encode(),
    "Arrow dictionaries": pa.chunked_array(
        [pa.array(TEXT[:30]).dictionary_encode(), pa.array(TEXT[30:]).dictionary_encode()]
    ),
    "Arrow integers": pa.array(SPARSE),
    "Arrow dates": pa.array(TICKS),
    "Arrow zone": pa.array(TICKS, pa.timestamp("us", "UTC")),
    "Arrow days": pa.array(DATES),
    "tensor": torch.from_numpy(PLACES),
    "sparse tensor": torch.from_numpy(SPARSE),
    "tensor of floats": torch.from_numpy(SPARSE / 7),
    "half precision": torch.from_numpy(PLACES).half(),
    "list of text": TEXT,
    "list of words of NumPy": list(np.array(TEXT)),
    "tuple of text": tuple(TEXT),
    "list of integers": SPARSE.tolist(),
    "list of large numbers": [int(i) + 2**63 for i in PLACES],
    "list of larger numbers": [int(i) * 2**70 for i in PLACES],
    "list of floats": (SPARSE / 7).tolist(),
    "list of days": DATES.tolist(),
    "list of dates": TICKS.tolist(),
    "list of texts and numbers": [WORDS[i] if i > 3 else int(i) for i in PLACES],
}
SAMPLES = {
    "all rows": bh.OLS(np.arange(N), np.ones((N, 1))).design,
    "some rows": bh.ols("y ~ 1", pd.DataFrame({"y": np.where(np.arange(N) % 5 == 1, np.nan, 1.0)})).design,
}


def in_use(sample):
    kept = SAMPLES[sample].user_data.in_use
    return np.arange(N) if kept is None else kept.numpy()


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("kind", VECTORS)
def test_labels_are_numbered_in_their_order(kind, sample):
    (groups,) = read_groups(SAMPLES[sample], VECTORS[kind], "groups")
    there = RANK[in_use(sample)]
    used = np.unique(there)
    assert groups.codes.tolist() == np.searchsorted(used, there).tolist()
    assert groups.count == len(groups.labels) == len(used)
    assert groups.codes.dtype == torch.int64


@pytest.mark.parametrize(
    "kind", ["list of text", "list of integers", "polars text", "Arrow dictionary", "text", "pandas category"]
)
def test_lists_and_dicts_of_vectors(kind):
    for given in ([VECTORS[kind], PLACES], {"a": VECTORS[kind], "b": PLACES.tolist()}):
        first, second = read_groups(SAMPLES["all rows"], given, "groups")
        assert first.codes.tolist() == second.codes.tolist() == RANK.tolist()


@pytest.mark.parametrize("made", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_columns_by_name_and_frames_of_them(made):
    columns = {"y": np.arange(N) / 7, "firm": TEXT, "day": DATES, "code": SPARSE}
    data = made(columns if made is not pd.DataFrame else {**columns, "day": TICKS})
    sample = bh.ols("y ~ 1", data).design
    named = read_groups(sample, ["firm", "day", "code"], "groups")
    assert [group.column for group in named] == ["firm", "day", "code"]
    for group in named:
        assert group.codes.tolist() == RANK.tolist()
    if made is not dict:
        for one, other in zip(named, read_groups(sample, data, "groups")[1:], strict=True):
            assert one.codes.equal(other.codes)
            assert one.name == other.name


@pytest.mark.parametrize("kind", ["category", "polars category", "Arrow dictionary"])
def test_the_declared_order_of_an_unordered_category(kind):
    appeared = list(dict.fromkeys(TEXT))
    column = {
        "category": pd.Series(pd.Categorical(TEXT, categories=[*appeared[:1], "unused", *appeared[1:]])),
        "polars category": pl.Series(TEXT, dtype=pl.Categorical),
        "Arrow dictionary": pa.array(TEXT).dictionary_encode(),
    }[kind]
    made = {"category": pd.DataFrame, "polars category": pl.DataFrame, "Arrow dictionary": pa.table}[kind]
    sample = bh.ols("y ~ 1", made({"y": np.arange(N) / 7, "g": column})).design
    (groups,) = read_groups(sample, "g", "groups")
    assert list(groups.labels) == [WORDS[i] for i in ORDER]
    assert list(groups.declared) == appeared


MISSING = {
    "objects": np.array([None, np.nan, "b", "a"], dtype=object),
    "text of pandas": pd.Series([None, pd.NA, "b", "a"], dtype="string[python]"),
    "category": pd.Series(pd.Categorical([None, None, "b", "a"])),
    "category of integers": pd.Series(pd.Categorical([None, None, 2, 1])),
    "Int64": pd.Series([None, None, 2, 1], dtype="Int64"),
    "floats": np.array([np.nan, -np.nan, 2, 1]),
    "dates": np.array(["NaT", "NaT", "2001-01-01", "2000-01-01"], dtype="datetime64[D]"),
    "intervals": pd.Series([np.nan, np.nan, pd.Interval(1, 2), pd.Interval(0, 1)]),
    "periods": pd.Series([pd.NaT, pd.NaT, pd.Period("2001"), pd.Period("2000")], dtype="period[Y-DEC]"),
    "list": [None, None, "b", "a"],
    "list of several": [None, np.nan, 2, 1],
    "polars": pl.Series([None, None, "b", "a"]),
    "polars category": pl.Series([None, None, "b", "a"], dtype=pl.Categorical),
    "polars truths": pl.Series([None, None, True, False]),
    "Arrow": pa.array([None, None, "b", "a"]),
    "Arrow dictionary": pa.array([None, None, "b", "a"]).dictionary_encode(),
    "Arrow dictionaries": pa.chunked_array([pa.array([None, None, "b", "a"]).dictionary_encode()]),
    "Arrow dictionary of a missing one": pa.DictionaryArray.from_arrays([0, 0, 1, 2], [None, "b", "a"]),
    "tensor": torch.tensor([torch.nan, torch.nan, 2.0, 1.0]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_labels_are_refused_in_rows_that_are_in_use(kind):
    x = np.array([1.0, 2.0, 3.0, 5.0])
    with pytest.raises(DataError, match=r"is missing in 2 rows \(labelled '0', '1'\)"):
        read_groups(bh.OLS(x, np.ones((4, 1))).design, MISSING[kind], "groups")
    sample = bh.ols("y ~ 1", pd.DataFrame({"y": [np.nan, np.nan, 1.0, 2.0]})).design
    (groups,) = read_groups(sample, MISSING[kind], "groups")
    assert groups.codes.tolist() == [1, 0]


def test_labels_that_are_equal_though_they_differ():
    sample = bh.OLS(np.arange(6.0), np.ones((6, 1))).design
    for given in (
        np.array([0.0, -0.0, 1.0, 1.0, 2.0, 2.0]),
        pa.DictionaryArray.from_arrays([0, 3, 1, 1, 2, 2], ["a", "b", "c", "a"]),
        np.array([1, True, 2, 2.0, 3, np.float64(3)], dtype=object),
        [1, 1.0, 2, 2, 3, 3],
    ):
        (groups,) = read_groups(sample, given, "groups")
        assert groups.codes.tolist() == [0, 0, 1, 1, 2, 2]
    # The text 1 and the number 1 are two labels, and so are bytes and text; True is the number 1 for pandas.
    (groups,) = read_groups(sample, np.array([1, "1", 1, "1", 1, "1"], dtype=object), "groups")
    assert groups.codes.tolist() == [0, 1, 0, 1, 0, 1]


def test_words_that_mix_into_the_same_are_told_apart(monkeypatch):
    monkeypatch.setattr(labels, "_ODD", np.uint64(0))
    (groups,) = read_groups(SAMPLES["all rows"], VECTORS["text"], "groups")
    assert groups.codes.tolist() == RANK.tolist()


def test_without_arrow_text_is_read_by_pandas(monkeypatch):
    monkeypatch.setattr(labels, "sys", type("none", (), {"modules": {}}))
    for kind in ("objects", "list of text", "pandas object"):
        (groups,) = read_groups(SAMPLES["all rows"], VECTORS[kind], "groups")
        assert groups.codes.tolist() == RANK.tolist()


def test_text_and_vectors_of_one_letter():
    sample = bh.ols("y ~ 1", {"y": np.arange(5.0), "a": [1, 1, 2, 2, 3], "b": [0, 1, 0, 1, 0]}).design
    for given, count in ((["a", "b"], 2), (["a", "b", "a", "b", "c"], 1), ([*"abcab"], 1)):
        assert len(read_groups(sample, given, "groups")) == count
    (groups,) = read_groups(sample, [datetime.date(2000, 1, day) for day in (2, 1, 2, 3, 3)], "groups")
    assert groups.codes.tolist() == [1, 0, 1, 2, 2]


@pytest.mark.parametrize("width", [*range(1, 10), 17, 40])
def test_text_of_any_width(width):
    words = np.array(["".join(R.choice(list("abÄ\U0001f600"), width)) for _ in range(30)])
    given = words[R.integers(0, 30, N)]
    (groups,) = read_groups(SAMPLES["all rows"], given, "groups")
    assert [list(groups.labels)[i] for i in groups.codes.tolist()] == given.tolist()
    assert list(groups.labels) == sorted(set(given.tolist()))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        *((made, "groups has complex labels") for made in (
            torch.ones(4, dtype=torch.complex64), np.ones(4, dtype=complex), np.array([1, 2, 3j, 4], dtype=object), pd.Series([1, 2, 3j, 4]),
        )),
        (pd.Series([[1], [2], [1], [2]]), "have no order"),
        (np.array([1, datetime.date(2000, 1, 1), 2, 3], dtype=object), "have no order"),
        (pd.Series([1, "a", (2, 3), 4], dtype=object), "have no order"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_sorted(given, says):
    with pytest.raises(DataError, match=says):
        read_groups(bh.OLS(np.arange(4.0), np.ones((4, 1))).design, given, "groups")


@pytest.mark.parametrize(
    "given", [[1, 2.5, 3, 4], ["1", "2.5", "3", "4"], pl.Series([1.0, 2.5, 3.0, 4.0]), pa.array([1.0, 2.5, 3.0, 4.0])]
)
def test_numbers_of_rows_in_lists_and_columns(given):
    numbers = read_numbers(bh.OLS(np.arange(4.0), np.ones((4, 1))).design, given, "coordinates")
    assert numbers.tolist() == [1.0, 2.5, 3.0, 4.0]
