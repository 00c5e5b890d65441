"""Time series and panels of rows in partitions: rows in the order of time hand the last ones on, and the numbers are those of memory."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.streams import streamed

import betahat as bh
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.groups import read_numbers
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.errors import DataError, EstimationError, OptionError
from betahat.fits.linear import fit_least_squares

N, K = 6_000, 3
SIZES = (2_000, 0, 1, 1_999, 2_000)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")  # test_time.py has them

rng = np.random.default_rng(12)
X = np.column_stack([np.ones(N), rng.normal(size=(N, K - 1)).cumsum(0) * 0.1])
Y = X.sum(1) + np.convolve(rng.normal(size=N + 5), np.ones(6), "valid")
COLUMNS = {"exog": torch.tensor(X), "endog": torch.tensor(Y)}
GAPS = (
    np.arange(N)
    + np.array([0, 1, 30, 2_000])[(np.arange(N) > 700).astype(int) + (np.arange(N) > 2_000) + (np.arange(N) > 4_100)]
)
TIMES = {
    "numbers": np.arange(N) * 3 + 7,
    "numbers with gaps": GAPS,
    "whole numbers with a point": GAPS * 1.0,
    "dates": pd.Series(pd.date_range("2001-01-01 10:00", periods=N)),
    "hours with gaps": pd.Series(pd.Timestamp("2001-03-01 12:30") + pd.to_timedelta(GAPS, "h")),
    "dates of a zone": pd.Series(pd.date_range("2001-01-01", periods=N, tz="Europe/Berlin")),
}


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)


def _fit(source):
    design = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(source.shapes["exog"][0]))), source)
    return fit_least_squares(design, "pinv")


def _read(**beside):
    return _fit(streamed(COLUMNS, SIZES, beside=beside))


def _same(found, true):
    scale = true.matrix.diagonal().abs().max()
    torch.testing.assert_close(found.matrix, true.matrix, rtol=RTOL, atol=float(scale) * RTOL)
    assert found.note == true.note


@pytest.fixture(scope="module")
def held():
    return _fit(Held(COLUMNS))


@pytest.mark.slow
@pytest.mark.parametrize("labels", [2**20, 100], ids=["listed", "read in turn"])
@pytest.mark.parametrize("kind", TIMES)
def test_series_in_the_order_of_a_column(kind, labels, held, monkeypatch):
    monkeypatch.setattr("betahat.covariance.series._LABELS", labels)
    for given in ({"maxlags": 7}, {"bandwidth": 30.0, "kernel": "parzen"}, {}):
        _same(bh.HAC(**given, time="when")(_read(when=TIMES[kind])), bh.HAC(**given, time=TIMES[kind])(held))
        _same(bh.HAC(**given, time=TIMES[kind])(_read()), bh.HAC(**given, time=TIMES[kind])(held))


def test_many_lags_are_carried(held):
    _same(bh.HAC(700)(_read()), bh.HAC(700)(held))


def test_times_out_of_order_are_named(monkeypatch):
    falls, twice = np.arange(N), np.arange(N)
    falls[2_100:] -= 200
    twice[4_000] -= 1
    for labels in (2**20, 100):
        monkeypatch.setattr("betahat.covariance.series._LABELS", labels)
        falling = np.where(np.arange(N) == 2_100, 5_999.5 * 2, np.arange(N) * 2.0) if labels > N else falls
        with pytest.raises(
            DataError,
            match=r"time 'when' is not in order: row 99|time 'when' is not in order: row 100 of those in use of part 3",
        ):
            bh.HAC(3, time="when")(_read(when=falling))
        with pytest.raises(DataError, match="has several rows in one period"):
            bh.HAC(3, time="when")(_read(when=twice))
    with pytest.raises(DataError, match="neither whole numbers nor dates"):
        bh.HAC(3, time="when")(_read(when=np.arange(N).astype(str)))


@pytest.mark.parametrize("options", [{"maxlags": 3}, {}, {"bandwidth": 4.0, "kernel": "quadratic-spectral"}])
def test_driscoll_and_kraay(options, held):
    """The periods' sums need no order of the rows."""
    for when in (
        rng.integers(0, 80, N),
        np.sort(rng.integers(0, 80, N)),
        pd.date_range("2001-01-01", periods=80)[rng.integers(0, 80, N)],
    ):
        _same(bh.DriscollKraay("when", **options)(_read(when=pd.Series(when))), bh.DriscollKraay(when, **options)(held))


def _panel(order):
    """Return units, periods, and rows of a panel with gaps, sorted by units or by periods."""
    units, periods = np.divmod(rng.permutation(40 * 200)[:N], 200)
    places = np.lexsort((periods, units) if order == "units" else (rng.permutation(N), periods))
    return units[places] * 7, pd.date_range("2001-01-01", periods=200)[periods[places]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"maxlags": 3}, {"maxlags": 0}, {"bandwidth": 4.0, "kernel": "quadratic-spectral"}], ids=len
)
@pytest.mark.parametrize("order", ["units", "periods"])
def test_panels_in_the_order_of_units_or_of_periods(order, options, held, monkeypatch):
    units, when = _panel(order)
    for numbers in (2**22, 40 * K * 3):
        monkeypatch.setattr("betahat.covariance.panel_in_turn._NUMBERS", numbers)
        read = _read(unit=units, when=pd.Series(when))
        _same(bh.PanelNeweyWest("unit", "when", **options)(read), bh.PanelNeweyWest(units, when, **options)(held))
        _same(bh.PanelNeweyWest(units, "when", **options)(read), bh.PanelNeweyWest(units, when, **options)(held))
    if order == "units":
        _same(bh.PanelNeweyWest("unit", **options)(read), bh.PanelNeweyWest(units, **options)(held))


def test_panels_out_of_order_are_refused():
    units, when = _panel("units")
    mixed = rng.permutation(N)
    with pytest.raises(
        DataError, match="rows of panel 'unit' are not together, nor are those of time 'when' in order; sort"
    ):
        bh.PanelNeweyWest("unit", "when")(_read(unit=units[mixed], when=pd.Series(when[mixed])))
    with pytest.raises(DataError, match="are not together, and without time= their order is not known"):
        bh.PanelNeweyWest("unit")(_read(unit=units[mixed]))
    twice = np.where(np.arange(N) == 3_000, units[2_990], units)
    for order, given in (("units", units), ("periods", twice)):
        when_twice = (
            pd.Series(when).where(np.arange(N) != 10, when[9]) if order == "units" else pd.Series(np.arange(N) // 40)
        )
        with pytest.raises(DataError, match=r"have several rows in one cell, \("):
            bh.PanelNeweyWest("unit", "when")(_read(unit=given, when=when_twice))
    with pytest.raises(EstimationError, match="pass panel="):
        bh.PanelNeweyWest(None, "when")(_read(when=pd.Series(when)))


def test_rows_near_each_other_must_be_in_memory():
    with pytest.raises(EstimationError, match="use Cluster with regions"):
        bh.Conley("lat", "lon", 10.0)(_read(lat=X[:, 1], lon=X[:, 2]))
    with pytest.raises(OptionError, match="is a number of each row, which is needed in memory"):
        read_numbers(_read(lat=X[:, 1]).sample, "lat", "latitude")


@pytest.mark.slow
@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"bandwidth": "andrews"},
        {"bandwidth": "andrews", "kernel": "quadratic-spectral"},
        {"bandwidth": "newey-west"},
        {"maxlags": "newey-west", "kernel": "parzen"},
        {"maxlags": 5, "prewhiten": 2},
        {"bandwidth": "andrews", "prewhiten": 1, "correction": True},
        {"bandwidth": "newey-west", "prewhiten": 1},
    ],
    ids=str,
)
def test_rules_and_prewhitening_pass_over_scores(options, time, held):
    read = _read(when=np.arange(N) * 2)
    found, true = bh.HAC(**options, time="when" if time else None)(read), bh.HAC(**options)(held)
    _same(found, true)
    assert found.options == true.options
