"""Clusters of rows in partitions: labels of any type are learnt in one pass and numbered as rows are read, and the numbers are those of memory."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from support.streams import streamed

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.engine import THREADS
from betahat.data.learnt_labels import learn_labels
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.streamed import Built
from betahat.data.turned import selected, turned
from betahat.data.workers import read_engine
from betahat.errors import DataError, OptionError
from betahat.fits.index import fit_index
from betahat.fits.linear import fit_least_squares
from betahat.objectives.bernoulli import Logistic

N, K = 9_000, 4
SIZES = (3_000, 0, 1, 2_999, 3_000)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")  # test_cluster_messages.py has them

rng = np.random.default_rng(11)
X = np.column_stack([np.ones(N), rng.normal(size=(N, K - 1))])
UNIT = rng.integers(0, 70, N)
OTHER = rng.integers(0, 40, N)
THIRD = (np.arange(N) // 1_000) % 7
Y = X.sum(1) + rng.normal(size=70)[UNIT] + rng.normal(size=N) * (0.5 + np.abs(X[:, 1]))
COLUMNS = {"exog": torch.tensor(X), "endog": torch.tensor(Y)}
NAMES = np.array([f"firm {(37 * i) % 70:02d}" for i in range(70)])
DATES = pd.date_range("2020-01-01", periods=70)[UNIT]
PER_PART = np.repeat(np.arange(len(SIZES)), SIZES)


def _categories():
    """Return a category with other levels, in another order, in each partition."""
    parts = [pd.Categorical(NAMES[UNIT[i == PER_PART]]) for i in range(len(SIZES))]
    return Slices([part.reorder_categories(list(part.categories)[:: -1 if i else 1]) for i, part in enumerate(parts)])


class Slices:
    """Vectors one after the other, each of a partition."""

    def __init__(self, parts):
        self.parts = parts

    def __getitem__(self, rows):
        start = rows.start
        for part in self.parts:
            if start < len(part) or (start == rows.stop == len(part) == 0):
                return pd.Series(part[start : rows.stop - rows.start + start])
            start -= len(part)
        return pd.Series(self.parts[-1][:0])


LABELS = {
    "numbers": UNIT,
    "numbers far apart": UNIT * 10**14 - 5,
    "small numbers": UNIT.astype(np.int8),
    "unsigned numbers": UNIT.astype(np.uint64) + np.uint64(2**63),
    "numbers with a point": UNIT / 7.0,
    "float32": torch.tensor(UNIT / 7.0, dtype=torch.float32),
    "whole numbers in one partition only": Slices([(UNIT if i else UNIT * 1.0)[i == PER_PART] for i in range(5)]),
    "text": NAMES[UNIT],
    "objects": NAMES[UNIT].astype(object),
    "pandas": pd.Series(NAMES[UNIT]),
    "categories": pd.Series(pd.Categorical(NAMES[UNIT])),
    "other categories in each partition": _categories(),
    "ordered categories": pd.Series(pd.Categorical(NAMES[UNIT], categories=NAMES[::-1], ordered=True)),
    "dates": pd.Series(DATES),
    "polars": pl.Series(NAMES[UNIT]),
    "polars categories": pl.Series(NAMES[UNIT]).cast(pl.Categorical),
    "arrow": pa.array(NAMES[UNIT].tolist()),
    "arrow dictionary": pa.array(NAMES[UNIT].tolist()).dictionary_encode(),
    "true and false": UNIT % 2 == 0,
}


def _fit(source, objective="OLS", engine=THREADS):
    design = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(source.shapes["exog"][0]))), source, engine)
    if objective == "Logit":
        return fit_index(Logistic(), design, Bread.OBSERVED, "pinv")
    return fit_least_squares(design, "pinv")


def _columns(objective):
    return COLUMNS if objective == "OLS" else COLUMNS | {"endog": (COLUMNS["endog"] > 1.0).double()}


def _read(objective="OLS", engine=THREADS, columns=None, **beside):
    every = {"unit": NAMES[UNIT], "other": OTHER, "third": pd.Series(pd.Categorical(THIRD.astype(str))), **beside}
    return _fit(streamed(_columns(objective) if columns is None else columns, SIZES, beside=every), objective, engine)


def _same(found, true):
    scale = true.matrix.diagonal().abs().max()
    torch.testing.assert_close(found.matrix, true.matrix, rtol=RTOL, atol=float(scale) * RTOL)


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


@pytest.fixture(scope="module")
def held():
    return {objective: _fit(Held(_columns(objective)), objective) for objective in ("OLS", "Logit")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type(kind, held):
    labels = LABELS[kind]
    fit = _read(clusters=labels)
    found = bh.Cluster("clusters")(fit)
    _same(found, bh.Cluster(UNIT % 2 if kind == "true and false" else UNIT)(held["OLS"]))
    (groups,) = bh.covariance.partitions.groups_of(fit, "clusters", "groups")
    assert groups.of_rows.held is None
    whole = labels if not isinstance(labels, Slices) else pd.concat([labels[a:b] for a, b in _bounds()])
    (true,) = bh.covariance.partitions.groups_of(held["OLS"], whole, "groups")
    assert list(groups.labels) == list(true.labels)
    assert torch.equal(groups.sizes, true.sizes)
    assert torch.equal(groups.codes, true.codes)


def _bounds():
    return itertools.pairwise(np.cumsum([0, *SIZES]))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["OLS", "Logit"])
@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR1S", "CR1p"])
@pytest.mark.parametrize("ways", [("unit",), ("unit", "other"), ("unit", "other", "third")], ids=len)
def test_ways_give_the_numbers_of_memory(ways, kind, objective, held):
    labels = [{"unit": UNIT, "other": OTHER, "third": THIRD}[way] for way in ways]
    for multiway in ("each", "min"):
        given = {"kind": kind, "multiway": multiway}
        found = bh.Cluster(list(ways), **given)(_read(objective))
        true = bh.Cluster(labels, **given)(held[objective])
        _same(found, true)
        assert [(way.count, way.smallest, way.largest) for way in found.clusters] == [
            (way.count, way.smallest, way.largest) for way in true.clusters
        ]


@pytest.mark.parametrize("correction", ["stata", "fixest", "sandwich", "none"])
def test_corrections(correction, held):
    found = bh.Cluster(["unit", "other"], correction=correction, psd="repair")(_read())
    _same(found, bh.Cluster([UNIT, OTHER], correction=correction, psd="repair")(held["OLS"]))


def test_names_beside_vectors(held):
    """One way is read, and the other in memory."""
    _same(bh.Cluster(["unit", torch.tensor(OTHER)])(_read()), bh.Cluster([UNIT, OTHER])(held["OLS"]))


def test_more_clusters_than_a_block_has_rows(held):
    single = np.arange(N) // 2
    _same(bh.Cluster("pair")(_read(pair=single)), bh.Cluster(single)(held["OLS"]))


def test_frequency_weights_of_zero(held):
    """A cluster, and an intersection, whose rows do not count are none."""
    counts = torch.tensor(np.where((UNIT == 3) | ((OTHER == 5) & (UNIT < 30)), 0.0, 1.0 + (UNIT % 3)))
    columns = COLUMNS | {"counts": counts}
    true = _fit(Held(columns))
    for ways, labels in ((["unit"], [NAMES[UNIT]]), (["unit", "other"], [NAMES[UNIT], OTHER])):
        found, wanted = bh.Cluster(ways)(_read(columns=columns)), bh.Cluster(labels)(true)
        _same(found, wanted)
        assert [way.count for way in found.clusters] == [way.count for way in wanted.clusters]


def test_sources_of_a_stream(held):
    """Columns that were chosen or turned, and what was put beside them, take the groups along."""
    source = streamed(COLUMNS, SIZES, beside={"unit": NAMES[UNIT]})
    matrix = torch.eye(K, dtype=torch.float64) + 0.1
    chosen = [0, 2]
    made = {
        "selected": (selected(source, chosen), COLUMNS | {"exog": COLUMNS["exog"][:, chosen]}),
        "turned": (turned(source, matrix), COLUMNS | {"exog": COLUMNS["exog"] @ matrix}),
        "replaced": (source.replaced({"endog": COLUMNS["endog"] + 1.0}), COLUMNS | {"endog": COLUMNS["endog"] + 1.0}),
    }
    for read, columns in made.values():
        _same(bh.Cluster("unit")(_fit(read)), bh.Cluster(UNIT)(_fit(Held(columns))))


def test_a_coefficient_that_one_cluster_fixes(held):
    """The warning of memory, by a sample of rows."""
    own = torch.tensor((UNIT == 7) * 1.0)[:, None]
    columns = COLUMNS | {"exog": torch.cat([COLUMNS["exog"], own], 1)}
    with pytest.warns(bh.ClusterWarning, match="alone fixes the coefficient of 'x4'"):
        found = bh.Cluster("unit")(_read(columns=columns))
    _same(found, bh.Cluster(UNIT)(_fit(Held(columns))))


class Some:
    """A builder that leaves rows out."""

    def __init__(self, plain):
        self.plain = plain

    needs = property(lambda self: (*self.plain.needs, "used"))
    shapes = property(lambda self: self.plain.shapes)

    def build(self, chunk):
        used = torch.as_tensor(chunk["used"])
        return Built({name: part[used] for name, part in self.plain.build(chunk).columns.items()}, used)


def _with_some(labels):
    used = rng.random(N) < 0.8
    source = streamed(COLUMNS, SIZES, beside={"clusters": labels, "used": used})
    kept = tuple(int(part.sum()) for part in np.split(used, np.cumsum(SIZES)[:-1]))
    return type(source)(source.dataset, Some(source.builder), kept), torch.tensor(used)


def test_only_rows_in_use_have_labels():
    """A label of rows that are left out is none, and may be missing."""
    labels = np.where(UNIT < 65, NAMES[UNIT], "none").astype(object)
    source, used = _with_some(labels)
    labels[np.flatnonzero(~used)[:100]] = None
    labels[np.flatnonzero(~used)[100:]] = "another"
    fit = _fit(source)
    wanted = _fit(Held({name: part[used] for name, part in COLUMNS.items()}))
    _same(bh.Cluster("clusters")(fit), bh.Cluster(labels[used])(wanted))
    assert learn_labels(source, "clusters", "", THREADS).sizes.sum() == used.sum()


def test_labels_that_are_missing_are_named():
    labels = NAMES[UNIT].astype(object)
    labels[[2, 5, 7_000]] = None
    with pytest.raises(DataError, match=r"groups 'clusters' is missing in 3 rows \(2 of part 0\); fill"):
        bh.Cluster("clusters")(_read(clusters=labels))
    with pytest.raises(DataError, match="has labels of several types"):
        bh.Cluster("clusters")(_read(clusters=Slices([(UNIT if i else DATES)[i == PER_PART] for i in range(5)])))
    levels = [NAMES[::-1], NAMES]
    parts = [pd.Categorical(NAMES[UNIT[i == PER_PART]], levels[i % 2], ordered=True) for i in range(5)]
    with pytest.raises(DataError, match="is an ordered category in which the levels differ"):
        bh.Cluster("clusters")(_read(clusters=Slices(parts)))
    with pytest.raises(OptionError, match="did you mean 'unit'"):
        bh.Cluster("units")(_read())


def test_labels_are_learnt_once_and_the_bits_are_those_of_any_engine():
    fit = _read()
    true = bh.Cluster(["unit", "other"])(fit).matrix
    opened = sum(len(part.opened) for part in fit.sample.source.dataset.parts)
    assert torch.equal(bh.Cluster(["unit", "other"])(fit).matrix, true)
    assert sum(len(part.opened) for part in fit.sample.source.dataset.parts) == opened
    assert torch.equal(torch.set_num_threads(2) or bh.Cluster(["unit", "other"])(_read()).matrix, true)
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as pool:
        assert torch.equal(bh.Cluster(["unit", "other"])(_read(engine=read_engine(pool))).matrix, true)


def test_labels_travel():
    fit = _read()
    (groups,) = bh.covariance.partitions.groups_of(fit, "unit", "groups")
    again = pickle.loads(pickle.dumps(groups.of_rows.made))
    chunk = {"unit": NAMES[UNIT]}
    assert torch.equal(again.values(chunk), groups.of_rows.made.values(chunk))


WEIGHTS = torch.tensor(rng.uniform(0.2, 3.0, N) * 100.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CR2", "CR3", "jackknife"])
@pytest.mark.parametrize(("objective", "weighted"), [("OLS", False), ("OLS", True), ("Logit", False)])
def test_adjusted_clusters(objective, weighted, kind):
    """CR2, CR3 and the jackknife, with Satterthwaite's degrees of freedom, from sums over clusters."""
    columns = _columns(objective) | ({"weights": WEIGHTS} if weighted else {})
    fit, true = _read(objective, columns=columns), _fit(Held(columns), objective)
    found, wanted = bh.Cluster("unit", kind=kind)(fit), bh.Cluster(UNIT, kind=kind)(true)
    _same(found, wanted)
    if wanted.df is not None:
        torch.testing.assert_close(found.df, wanted.df, rtol=1e-9, atol=0.0)
        joint = torch.eye(K, dtype=torch.float64)[1:]
        assert found.small_sample.f_df(joint) == pytest.approx(wanted.small_sample.f_df(joint), rel=1e-9)
    several = bh.Cluster(["unit", "other"], kind=kind)(fit)
    _same(several, bh.Cluster([UNIT, OTHER], kind=kind)(true))


@pytest.mark.parametrize("objective", ["OLS", "Logit"])
def test_the_jackknife_by_clusters(objective, held):
    for center in ("mean", "estimate"):
        found = bh.Jackknife("unit", center=center)(_read(objective))
        _same(found, bh.Jackknife(UNIT, center=center)(held[objective]))


@pytest.mark.slow
@pytest.mark.parametrize("sums", [2**25, 2**16], ids=["all clusters", "some at a time"])
@pytest.mark.parametrize("kind", ["Logit", "inverse weights", "a cluster that fixes a coefficient", "few rows"])
def test_cr2_of_unequal_variances(kind, sums, monkeypatch):
    """Sums over rows of each term of an inverse root are those of clusters brought together."""
    monkeypatch.setattr("betahat.covariance.cr2_in_turn._SUMS", sums)
    columns, given, labels = _columns("Logit"), {"kind": "CR2"}, UNIT
    if kind == "inverse weights":
        columns, given = COLUMNS | {"weights": WEIGHTS}, {"kind": "CR2", "target": "inverse_weights"}
    elif kind == "few rows":
        labels = np.arange(N) // 5
    elif kind != "Logit":
        columns = columns | {"exog": torch.cat([columns["exog"], torch.tensor((UNIT == 7) * 1.0)[:, None]], 1)}
    objective = "OLS" if kind == "inverse weights" else "Logit"
    found = bh.Cluster("clusters", **given)(_read(objective, columns=columns, clusters=labels))
    wanted = bh.Cluster(labels, **given)(_fit(Held(columns), objective))
    _same(found, wanted)
    torch.testing.assert_close(found.df, wanted.df, rtol=1e-9, atol=0.0)
