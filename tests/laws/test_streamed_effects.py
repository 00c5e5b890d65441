"""Absorbed effects of rows in partitions: the fits, degrees of freedom and covariances of memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from support.streams import streamed

import betahat as bh
from betahat.data.absorbed import with_levels
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.effects import Levels
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.streamed_effects import with_streamed_levels
from betahat.data.workers import read_engine
from betahat.errors import DataError, EstimationError
from betahat.fits.absorbed import fit_absorbed
from betahat.fits.absorbed_instruments import fit_absorbed_instruments
from betahat.fits.instrumented import TwoStages
from betahat.inference.effects import recovered

N, K = 4_000, 4
SIZES = (1_500, 0, 1, 1_299, 1_200)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12


def _data():
    generator = torch.Generator().manual_seed(8)
    draw = lambda *size: torch.randn(*size, dtype=torch.float64, generator=generator)  # noqa: E731
    some = lambda count: torch.randint(0, count, (N,), generator=generator)  # noqa: E731
    firm, year = some(150), some(12)
    firm[-3:] = torch.tensor([150, 151, 152])  # alone
    worker = (firm * 4 + some(4)) % 200
    x = draw(N, K) + 0.04 * firm[:, None] + year[:, None]
    y = x.sum(1) + draw(153)[firm] + draw(12)[year] + (0.5 + draw(N).abs()) * draw(N)
    counts = some(4).to(torch.float64)
    weights = torch.rand(N, dtype=torch.float64, generator=generator) + 0.5
    instruments = x[:, -1:] + draw(N, 2)
    return {
        "exog": x,
        "endog": y,
        "firm": firm,
        "year": year,
        "worker": worker,
        "half": firm // 5,
        "weights": weights,
        "counts": counts,
        "instruments": instruments,
    }


DATA = _data()


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 3))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


def _designs(effects, beside=(), **schema):
    """Return the design of memory, and that of a stream."""
    columns = {name: DATA[name] for name in ("exog", "endog", *beside)}
    parts = [DATA[name] for effect in effects for name in effect.split("^")]
    columns["effects"] = torch.stack(parts, 1)
    levels = tuple(
        Levels(
            effect,
            tuple(pd.RangeIndex(int(DATA[name].max()) + 1) for name in effect.split("^")),
            torch.zeros(0, 1, dtype=torch.int64),
            tuple(effect.split("^")),
        )
        for effect in effects
    )
    names = tuple(f"x{i}" for i in range(K))
    made = Schema(Tensors(), "y", names, effects=levels, **schema)
    source = streamed(columns, SIZES, beside={"half": DATA["half"].numpy().astype(str)})
    return with_levels(Design(made, Held(columns))), with_streamed_levels(Design(made, source), source)


EFFECTS = [("firm",), ("firm", "year"), ("worker", "firm"), ("firm", "half"), ("year^half",), ("firm^year", "worker")]
BESIDE = [(), ("weights",), ("counts",), ("weights", "counts")]


@pytest.mark.parametrize("beside", BESIDE, ids="+".join)
@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
def test_a_fit_of_partitions_is_that_of_memory(effects, beside):
    held, read = _designs(effects, beside)
    assert (read.rows, read.nobs, read.schema.dropped) == (held.rows, held.nobs, held.schema.dropped)
    fits = fit_absorbed(held), fit_absorbed(read)
    true, found = fits
    assert found.absorbed.sizes == true.absorbed.sizes
    torch.testing.assert_close(found.params, true.params, rtol=RTOL, atol=1e-13)
    estimators = [bh.Classical, bh.HC1, *([] if len(effects) > 1 and "^" in effects[0] else [bh.HC3])]
    for estimator in estimators:
        torch.testing.assert_close(estimator()(found).matrix, estimator()(true).matrix, rtol=RTOL, atol=1e-16)
    for own, other in zip(recovered(found), recovered(true), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-11, equal_nan=True)


@pytest.mark.parametrize(
    ("effects", "kind"),
    [
        *((effects, kind) for effects in [("firm",), ("firm", "half")] for kind in ("CR1S", "CR2", "jackknife")),
        *((effects, kind) for effects in [("firm", "year"), ("year",)] for kind in ("CR1S", "CR2", "CR3")),
        (("half", "worker"), "CR1S"),
    ],
)
@pytest.mark.parametrize("beside", [(), ("weights", "counts")], ids="+".join)
def test_clusters_hold_effects_or_do_not(effects, kind, beside):
    if beside and kind == "CR2":
        kind = "CR0"  # weighted rows need their own dummies in memory
    held, read = _designs(effects, beside)
    used = held.user_data.in_use
    true = bh.Cluster(DATA["half"] if used is None else DATA["half"][used], kind=kind)(fit_absorbed(held))
    found = bh.Cluster("half", kind=kind)(fit_absorbed(read))
    torch.testing.assert_close(found.matrix, true.matrix, rtol=RTOL, atol=1e-16)


@pytest.mark.parametrize("effects", [("firm",), ("firm", "year")], ids="+".join)
def test_instruments_and_effects(effects):
    held, read = _designs(effects, ["instruments", "weights"], instruments=("z1", "z2"), endogenous=1)
    true, found = (fit_absorbed_instruments(design, TwoStages()) for design in (held, read))
    torch.testing.assert_close(found.params, true.params, rtol=RTOL, atol=1e-13)
    torch.testing.assert_close(bh.HC1()(found).matrix, bh.HC1()(true).matrix, rtol=RTOL, atol=1e-16)


def test_columns_that_effects_explain_are_left_out():
    held, read = _designs(("firm", "year"))
    wide = torch.cat([DATA["exog"], DATA["firm"][:, None].double(), torch.ones(N, 1).double()], 1)
    columns = {"exog": wide, "endog": DATA["endog"], "effects": torch.stack([DATA["firm"], DATA["year"]], 1)}
    source = streamed(columns, SIZES)
    labels = tuple(replace(levels, members=levels.members[:0]) for levels in read.schema.effects)
    names = (*(f"x{i}" for i in range(K)), "firm", "one")
    raw = Design(replace(read.schema, effects=labels, given_names=names, dropped=0), source)
    found, true = fit_absorbed(with_streamed_levels(raw, source)), fit_absorbed(held)
    assert found.kept == (0, 1, 2, 3)
    torch.testing.assert_close(found.params, true.params, rtol=RTOL, atol=1e-13)


def test_effects_alone_have_a_fit():
    held, read = _designs(("firm",))
    alone = [replace(design.select([]), schema=replace(design.schema, given_names=())) for design in (held, read)]
    true, found = map(fit_absorbed, alone)
    torch.testing.assert_close(found.loss, true.loss, rtol=RTOL, atol=0.0)


def test_pairs_are_drawn_as_in_memory():
    true, found = (fit_absorbed(design) for design in _designs(("firm", "year")))
    bootstrap = bh.Bootstrap(6, "pairs", seed=1)
    torch.testing.assert_close(bootstrap(found).matrix, bootstrap(true).matrix, rtol=1e-11, atol=1e-16)


def test_bits_are_those_of_any_worker():
    _, read = _designs(("firm", "year"), ["counts"])
    with ThreadPoolExecutor(2) as pool:
        shared = fit_absorbed(replace(read, engine=read_engine(pool)))
    assert torch.equal(shared.params, fit_absorbed(read).params)


@pytest.fixture(scope="module")
def taxi(tmp_path_factory):
    """Return a frame with missing labels and lone rows, and the files that have it."""
    rng = np.random.default_rng(2)
    n = 1_500
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "often": rng.integers(0, 4, n)})
    frame["driver"] = pd.Categorical([f"d{i}" for i in rng.integers(0, 60, n)])
    frame["zone"] = rng.integers(1, 9, n)
    frame["y"] = frame.x + frame.driver.cat.codes / 30 + frame.zone + rng.normal(size=n)
    frame.loc[3:7, "x"] = np.nan
    frame.loc[20:24, "driver"] = None
    frame["driver"] = frame.driver.cat.add_categories(["alone"])
    frame.loc[1_400, ["driver", "often"]] = ["alone", 1]
    folder = tmp_path_factory.mktemp("taxi")
    for i, (start, stop) in enumerate([(0, 700), (700, 701), (701, n)]):
        frame.iloc[start:stop].to_parquet(folder / f"{i}.parquet")
    return frame, str(folder / "*.parquet")


@pytest.mark.filterwarnings("ignore:.*alone in a level")
@pytest.mark.parametrize("options", [{}, {"freq_weights": "often"}], ids=["once", "often"])
@pytest.mark.parametrize("effects", ["driver", "driver + zone", "driver^zone"])
def test_formulas_absorb_columns_of_files(taxi, effects, options):
    frame, files = taxi
    held, read = (bh.ols(f"y ~ x + z | {effects}", data=data, **options).fit("HC3") for data in (frame, files))
    np.testing.assert_allclose(read.params, held.params, rtol=RTOL)
    np.testing.assert_allclose(read.bse, held.bse, rtol=RTOL)
    assert str(read.summary()) == str(held.summary())
    new = frame.dropna().query("driver == 'd1' and often > 1").head(3)
    np.testing.assert_allclose(read.predict(new), held.predict(new), rtol=1e-10)
    clustered = read.with_cov(bh.Cluster("driver"))
    np.testing.assert_allclose(clustered.bse, held.with_cov(bh.Cluster("driver")).bse, rtol=RTOL)


def test_missing_labels_are_told_of(taxi):
    with pytest.raises(
        DataError, match=r"Missing values in 5 of 1500 rows, by column: driver \(5\); pass missing='drop'"
    ):
        bh.ols("y ~ z | driver", data=taxi[1], missing="raise")


def test_likelihoods_say_what_absorbs_effects(taxi):
    with pytest.raises(EstimationError, match=r"least squares alone absorbs effects \('driver'\); write them as C\(\)"):
        bh.poisson("often ~ z | driver", data=taxi[1]).fit()


def test_what_needs_all_rows_says_so():
    _, read = _designs(("firm",))
    with pytest.raises(EstimationError, match="needs the levels of 'firm' of all rows at once"):
        bh.OPG()(fit_absorbed(read))


def test_residuals_that_are_not_orthogonal_are_refused(monkeypatch):
    monkeypatch.setattr("betahat.fits.absorbed_streams.ORTHOGONAL", -1.0)
    with pytest.raises(EstimationError, match="leave of the columns is not orthogonal to them, by"):
        fit_absorbed(_designs(("firm",))[1])


def _streamed_with(levels, codes):
    source = streamed({"exog": DATA["exog"], "endog": DATA["endog"], "effects": codes}, SIZES)
    return with_streamed_levels(Design(Schema(Tensors(), effects=levels), source), source)


def _levels(name, count, **more):
    return Levels(name, (pd.RangeIndex(count),), torch.zeros(0, 1, dtype=torch.int64), (name,), **more)


def test_what_a_stream_cannot_absorb_is_refused():
    year, place = DATA["year"][:, None], torch.arange(N)[:, None]
    with pytest.raises(EstimationError, match=r"no slopes of their own for each level, as 'year' would"):
        _streamed_with((_levels("year", 12, variables=("t",)),), year)
    with pytest.raises(EstimationError, match="two effects can be absorbed, not 3 effects"):
        _streamed_with((_levels("year", 12),) * 3, year.expand(N, 3))
    with pytest.raises(EstimationError, match=r"have 4.6e\+18 combinations of labels"):
        _streamed_with((replace(_levels("a^b", 0), labels=(pd.RangeIndex(2**31),) * 2),), year.expand(N, 2))
    with pytest.raises(DataError, match="the only one in its level of 'id', once"):
        _streamed_with((replace(_levels("id", N), labels=(pd.RangeIndex(N).astype(str),)),), place)
    with pytest.raises(DataError, match="has a value of its own in each of the 4000 rows"):
        _streamed_with((_levels("id", N),), place)
