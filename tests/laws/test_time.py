"""The order of time: text that is sorted otherwise is refused, gaps are named, and HAC's lags are distances in time."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

PERIODS, UNITS = 12, 6
# The same sums of products in another order.
ROUNDING = 1e-11
MONTHS = pd.date_range("2000-01-31", periods=PERIODS, freq="ME")


def _panel(labels, periods=PERIODS):
    rng = np.random.default_rng(3)
    t, unit = np.tile(np.arange(periods), UNITS), np.repeat(np.arange(UNITS), periods)
    x = rng.normal(size=len(t)) + 0.1 * t
    frame = pd.DataFrame({"x": x, "y": x + rng.normal(size=periods)[t] + rng.normal(size=len(t)), "unit": unit})
    return frame.assign(t=pd.Index(labels).take(t))


def _kinds(time):
    return {
        "DriscollKraay": bh.DriscollKraay(time, maxlags=2),
        "PanelNeweyWest": bh.PanelNeweyWest("unit", time, maxlags=2),
        "PanelCorrected": bh.PanelCorrected("unit", time),
        "moving-block": bh.Bootstrap(20, "moving-block", time=time, block_length=3, seed=1),
        "stationary": bh.Bootstrap(20, "stationary", time=time, block_length=3, seed=1),
    }


NAMES = [month.strftime("%b") for month in MONTHS]
BAD = {
    "numbers": [str(i) for i in range(PERIODS)],
    "negative numbers": [str(i) for i in range(-6, 6)],
    "decimals": [str(i / 2) for i in range(15, 15 + PERIODS)],
    "Stata's months": [f"2000m{i + 1}" for i in range(PERIODS)],
    "weeks": [f"2000w{i + 1}" for i in range(PERIODS)],
    "waves": [f"wave {i + 1}" for i in range(PERIODS)],
    "year.month": [f"2000.{i + 1}" for i in range(PERIODS)],
    "ISO without zeros": [f"2000-{i + 1}-1" for i in range(PERIODS)],
    "names": [f"{name} 2000" for name in NAMES],
    "whole names": [month.strftime("%B %Y") for month in MONTHS],
    "names alone": NAMES,
    "names and short years": [month.strftime("%b-%y") for month in MONTHS],
    "names with days": [month.strftime("%d%b%Y") for month in MONTHS],
    "names before days": [month.strftime("%B %d, %Y") for month in MONTHS],
    "names after years": [f"2000 {name}" for name in NAMES],
    "US": [day.strftime("%m/%d/%Y") for day in pd.date_range("1999-07-31", periods=PERIODS, freq="ME")],
    "US, short years": [day.strftime("%m/%d/%y") for day in pd.date_range("1999-07-31", periods=PERIODS, freq="ME")],
    "days first": [month.strftime("%d.%m.%Y") for month in MONTHS],
    "days first, short years": [month.strftime("%d/%m/%y") for month in MONTHS],
    "month/year": [day.strftime("%m/%Y") for day in pd.date_range("1999-07-31", periods=PERIODS, freq="ME")],
    "quarters first": [f"Q{i % 4 + 1} {1999 + i // 4}" for i in range(PERIODS)],
    "weekdays": [f"week {i // 7} {['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'][i % 7]}" for i in range(PERIODS)],
    "seasons": [f"{('spring', 'fall')[i % 2]} {2000 + i // 2}" for i in range(PERIODS)],
    "doubles": ["1", "01", *(f"{i:02d}" for i in range(2, PERIODS))],
}
GOOD = {
    "ISO": [str(month.date()) for month in MONTHS],
    "ISO months": [month.strftime("%Y-%m") for month in MONTHS],
    "ISO with times": [str(month) for month in MONTHS],
    "slashes": [month.strftime("%Y/%m/%d") for month in MONTHS],
    "compact months": [month.strftime("%Y%m") for month in pd.date_range("1999-07-31", periods=PERIODS, freq="ME")],
    "compact": [month.strftime("%Y%m%d") for month in MONTHS],
    "years": [str(1990 + i) for i in range(PERIODS)],
    "quarters": [f"{1999 + i // 4}q{i % 4 + 1}" for i in range(PERIODS)],
    "zeros in front": [f"t{i:02d}" for i in range(PERIODS)],
    "one year": [month.strftime("%m/%d/2000") for month in MONTHS],
    "letters": list("abcdefghijkl"),
    "words with years": [f"{1999 + i} mean" for i in range(PERIODS)],
}


@pytest.mark.parametrize("labels", BAD)
@pytest.mark.parametrize("kind", _kinds("t"))
def test_text_in_another_order_than_time_is_refused(kind, labels):
    res = bh.ols("y ~ x", _panel(BAD[labels])).fit()
    with pytest.raises(
        bh.DataError, match=r"time 't' is text, which is sorted letter by letter, .*convert (it|them), with pd\.to_"
    ):
        res.with_cov(_kinds("t")[kind])


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        ("numbers", r"; convert it, with pd\.to_numeric\."),
        ("waves", r"; take the numbers out of it, with \.str\.extract in pandas"),
        ("quarters first", "whole numbers or periods"),
    ],
)
def test_the_remedy_is_one_that_works(labels, remedy):
    """pd.to_numeric reads '10' and not 'wave 10'."""
    with pytest.raises(bh.DataError, match=remedy):
        bh.ols("y ~ x", _panel(BAD[labels])).fit(bh.DriscollKraay("t", 2))


@pytest.mark.parametrize("labels", GOOD)
@pytest.mark.parametrize("kind", _kinds("t"))
def test_text_in_the_order_of_time_is_taken(kind, labels):
    """The numbers are those of whole-number periods."""
    expected = bh.ols("y ~ x", _panel(np.arange(PERIODS))).fit(_kinds("t")[kind])
    found = bh.ols("y ~ x", _panel(GOOD[labels])).fit(_kinds("t")[kind])
    np.testing.assert_array_equal(found.bse, expected.bse)


CONTAINERS = {
    "object": lambda frame: frame.astype({"t": object}),
    "string": lambda frame: frame.astype({"t": "string"}),
    "category": lambda frame: frame.astype({"t": "category"}),
    "polars": pl.DataFrame,
    "polars Categorical": lambda frame: pl.DataFrame(frame).with_columns(pl.col("t").cast(pl.Categorical)),
    "pyarrow": pa.Table.from_pandas,
    "dict": lambda frame: {name: frame[name].to_list() for name in frame},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_text_of_every_container(container):
    bad, good = (CONTAINERS[container](_panel(labels)) for labels in (BAD["numbers"], GOOD["ISO"]))
    with pytest.raises(bh.DataError, match="'11' before '2'"):
        bh.ols("y ~ x", bad).fit(bh.DriscollKraay("t"))
    bh.ols("y ~ x", good).fit(bh.DriscollKraay("t"))
    vector = np.array(BAD["numbers"])[_panel(range(PERIODS))["t"]]
    for given in (vector, vector.tolist(), pd.Series(vector), vector.astype("S")):
        with pytest.raises(bh.DataError, match="time is text"):
            bh.ols("y ~ x", good).fit("hac-groupsum", {"time": given, "maxlags": 2})


def test_categories():
    """An order that was given is the order of time; one that was not, and is no order of text, is refused."""
    levels = ["low", "middle", "high", "top"]
    plain = _panel(np.arange(4), 4)
    expected = bh.ols("y ~ x", plain).fit(bh.DriscollKraay("t", maxlags=1)).bse
    labels = np.array(levels)[plain["t"]]
    ordered = plain.assign(t=pd.Categorical(labels, levels, ordered=True))
    np.testing.assert_array_equal(bh.ols("y ~ x", ordered).fit(bh.DriscollKraay("t", maxlags=1)).bse, expected)
    for frame in (
        plain.assign(t=pd.Categorical(labels, levels)),
        pl.DataFrame(plain.assign(t=labels)).with_columns(pl.col("t").cast(pl.Enum(levels))),
    ):
        with pytest.raises(bh.DataError, match="category without an order, of the levels 'low', 'middle'"):
            bh.ols("y ~ x", frame).fit(bh.DriscollKraay("t", maxlags=1))
    numbers = plain.assign(t=pd.Categorical(plain["t"], [3, 1, 2, 0]))  # numbers have an order of their own
    np.testing.assert_array_equal(bh.ols("y ~ x", numbers).fit(bh.DriscollKraay("t", maxlags=1)).bse, expected)
    gone = ordered[ordered["t"] != "middle"]
    with pytest.warns(bh.ClusterWarning, match="skips periods after 'low'"):
        bh.ols("y ~ x", gone).fit(bh.DriscollKraay("t", maxlags=1))


# gaps


def _range(freq, n=24):
    return pd.date_range("2000-01-01", periods=n, freq=freq)


CALENDARS = {
    **{
        freq: _range(freq)
        for freq in ("D", "W", "MS", "ME", "BME", "BMS", "QE", "QS", "YE", "h", "15min", "2YE", "30D")
    },
    "half years": _range("6ME"),
    "fifteenths": _range("MS") + pd.Timedelta(days=14),
    "daylight saving": pd.date_range("2000-03-20", periods=24, freq="D", tz="US/Eastern"),
    "months": pd.period_range("2000-01", periods=24, freq="M"),
    "numbers": pd.Index(range(24)),
    "floats": pd.Index(np.arange(24.0)),
    "spans": pd.to_timedelta(np.arange(24), unit="D"),
    "dates of Python": pd.Index([day.date() for day in _range("ME")], dtype=object),
    "ISO": pd.Index([str(day.date()) for day in _range("ME")]),
    "numbers of months": pd.Index(_range("ME").strftime("%Y%m").astype(int)),
    "numbers of days": pd.Index(_range("D").strftime("%Y%m%d").astype(int)),
    "numbers of quarters": pd.Index([10 * (2000 + i // 4) + i % 4 + 1 for i in range(24)]),
    "text": pd.Index([f"{i:02d}" for i in range(24)]),
}


@pytest.mark.parametrize("name", CALENDARS)
def test_a_missing_period_is_named(name):
    labels = CALENDARS[name]
    bh.ols("y ~ x", _panel(labels, 24)).fit(bh.DriscollKraay("t", maxlags=1))
    holed = _panel(labels.delete(7), 23)
    with pytest.warns(bh.ClusterWarning, match="time 't' skips periods after"):
        bh.ols("y ~ x", holed).fit(bh.DriscollKraay("t", maxlags=1))


def test_dates_that_are_not_regular():
    """Business days have holidays; days of events have no distance that they should have."""
    days = pd.bdate_range("2000-01-03", periods=24)
    events = pd.DatetimeIndex(["2000-01-05", "2000-02-17", "2000-04-03", "2000-04-11"])
    for labels in (days.delete(7), days.delete([7, 8]), events, events.date):
        bh.ols("y ~ x", _panel(labels, len(labels))).fit(bh.DriscollKraay("t", maxlags=1))
    with pytest.warns(bh.ClusterWarning, match="skips periods"):
        bh.ols("y ~ x", _panel(days.delete(range(5, 12)), 17)).fit(bh.DriscollKraay("t", maxlags=1))


# HAC


def _series(n=60, seed=5):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, 2)).cumsum(0) * 0.3 + rng.normal(size=(n, 2))
    return pd.DataFrame({"x": noise[:, 0], "y": 1 + noise.sum(1), "t": np.arange(n)})


TIMES = {
    "numbers": lambda t: t,
    "numbers of months": lambda t: 100 * (2000 + t // 12) + t % 12 + 1,
    "every other year": lambda t: 1900 + 2 * t,
    "months": lambda t: pd.period_range("2000-01", periods=60, freq="M")[t],
    "month ends": lambda t: pd.date_range("2000-01-31", periods=60, freq="ME")[t],
    "days": lambda t: pd.date_range("2000-01-31", periods=60, freq="D")[t],
    "ISO": lambda t: pd.date_range("2000-01-31", periods=60, freq="D")[t].strftime("%Y-%m-%d"),
}


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(
    "options",
    [{"maxlags": 3}, {}, {"bandwidth": 3.5, "kernel": "parzen"}, {"maxlags": 2, "use_correction": True}],
    ids=str,
)
def test_hac_in_the_order_of_time(options, time):
    """Shuffled rows with their time are sorted rows without; statsmodels' for what it has."""
    data = _series()
    sorted_bse = bh.ols("y ~ x", data).fit("HAC", options).bse
    if "bandwidth" not in options:
        theirs = sm.OLS(data["y"], sm.add_constant(data["x"])).fit(
            cov_type="HAC", cov_kwds={"maxlags": None, **options}
        )
        np.testing.assert_allclose(sorted_bse, theirs.bse, rtol=ROUNDING)
    mixed = data.sample(frac=1.0, random_state=1)
    mixed = mixed.assign(t=TIMES[time](mixed["t"].to_numpy()))
    for given in ("t", mixed["t"], mixed["t"].to_numpy(), mixed["t"].to_list()):
        found = bh.ols("y ~ x", mixed).fit("HAC", {**options, "time": given}).bse
        np.testing.assert_allclose(found, sorted_bse, rtol=ROUNDING)


@pytest.mark.parametrize(
    "options", [{"bandwidth": "andrews"}, {"maxlags": "newey-west"}, {"maxlags": 2, "prewhiten": 1}], ids=str
)
def test_rules_and_prewhitening_in_the_order_of_time(options):
    data = _series()
    expected = bh.ols("y ~ x", data).fit("HAC", options).bse
    mixed = data.sample(frac=1.0, random_state=1)
    np.testing.assert_allclose(bh.ols("y ~ x", mixed).fit("HAC", {**options, "time": "t"}).bse, expected, rtol=1e-8)
    with pytest.raises(bh.EstimationError, match="time 't' skips periods, and a bandwidth by a rule"):
        bh.ols("y ~ x", mixed[mixed["t"] != 30]).fit("HAC", {**options, "time": "t"})


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("model", ["ols", "wls", "logit", "poisson", "collinear"])
def test_hac_with_gaps(model, time):
    """A period without a row is one of weight zero: its scores are zero, and those beside it are two lags apart."""
    data = _series().assign(w=np.where(np.isin(np.arange(60), [0, 7, 20, 21, 22, 59]), 0.0, 1.0))
    data["x2"] = 1e4 + data["x"] * (1 + 1e-3 * np.sin(data["t"]))
    data["z"] = (data["y"] > 1) * 1.0
    left = "z" if model in ("logit", "poisson") else "y"
    formula = f"{left} ~ x + x2" if model == "collinear" else f"{left} ~ x"
    full = getattr(bh, model if model in ("logit", "poisson") else "wls")(formula, data, weights="w").fit(bh.HAC(4))
    here = data[data["w"] > 0].sample(frac=1.0, random_state=2)
    here = here.assign(t=TIMES[time](here["t"].to_numpy()))
    holed = getattr(bh, "ols" if model == "collinear" else model)(formula, here).fit(bh.HAC(4, time="t"))
    if model == "ols":
        theirs = sm.WLS(data["y"], sm.add_constant(data["x"]), data["w"]).fit(cov_type="HAC", cov_kwds={"maxlags": 4})
        np.testing.assert_allclose(holed.bse, theirs.bse, rtol=ROUNDING)
    np.testing.assert_allclose(holed.bse, full.bse, rtol=1e-7 if model == "collinear" else 1e-9)
    assert "with 4 periods of time without a row" in holed.cov.note  # the ends are none


def test_gaps_by_a_naive_loop():
    data = _series()[lambda frame: ~frame["t"].isin([3, 9, 10, 30])]
    res = bh.ols("y ~ x", data).fit()
    x, scores = sm.add_constant(data["x"].to_numpy()), None
    scores = x * res.resid.to_numpy()[:, None]
    meat = sum(
        max(0.0, 1 - abs(s - t) / 6) * np.outer(a, b)
        for s, a in zip(data["t"], scores, strict=True)
        for t, b in zip(data["t"], scores, strict=True)
    )
    bread = np.linalg.inv(x.T @ x)
    found = res.with_cov(bh.HAC(5, time="t"))
    np.testing.assert_allclose(found.cov_params(), bread @ meat @ bread, rtol=1e-9)
    assert (np.abs(res.with_cov(bh.HAC(5)).bse / found.bse - 1) > 1e-4).any()


def test_missing_values_make_gaps():
    data = _series()
    holed = data.assign(y=data["y"].where(~data["t"].isin([5, 6, 30])))
    expected = bh.ols("y ~ x", holed.dropna()).fit(bh.HAC(3, time="t")).bse
    np.testing.assert_array_equal(bh.ols("y ~ x", holed).fit(bh.HAC(3, time="t")).bse, expected)


def test_torch_models_have_time():
    data = _series()
    mixed = data.sample(frac=1.0, random_state=1)
    x, y = torch.tensor(mixed[["x"]].to_numpy()), torch.tensor(mixed[["y"]].to_numpy())
    expected = bh.ols("y ~ x", data).fit(bh.HAC(3)).bse["x"]
    net = bh.TorchModel(torch.nn.Linear(1, 1), torch.nn.MSELoss(), x, y).fit(bh.HAC(3, time=mixed["t"].to_numpy()))
    np.testing.assert_allclose(float(net.bse[0]), expected, rtol=1e-9)
    ridge = [
        bh.MEstimator(
            lambda p, d: (d["y"] - p["a"] - p["b"] * d["x"]) ** 2,
            {"a": 0.0, "b": 0.0},
            {"x": part["x"], "y": part["y"], "t": part["t"]},
            penalty=2.0,
        )
        for part in (data, mixed, data[data["t"] != 9].sample(frac=1.0, random_state=1))
    ]
    in_order, by_time, holed = (
        ridge[0].fit(bh.HAC(3)),
        ridge[1].fit(bh.HAC(3, time="t")),
        ridge[2].fit(bh.HAC(3, time="t")),
    )
    np.testing.assert_allclose(by_time.bse, in_order.bse, rtol=1e-9)
    assert np.isfinite(np.asarray(holed.bse)).all()


def test_a_panel_with_several_rows_in_a_cell():
    data = _series()
    with pytest.raises(bh.DataError, match=r"have several rows in 20 cells, such as \("):
        bh.ols("y ~ x", data).fit(bh.PanelNeweyWest(np.arange(60) % 10, np.arange(60) // 30, 1))


def test_times_that_hac_refuses():
    data = _series()
    res = bh.ols("y ~ x", data).fit()
    with pytest.raises(bh.DataError, match="several rows in one period, 1 for one"):
        res.with_cov(bh.HAC(2, time=np.minimum(data["t"], 1)))
    with pytest.raises(bh.DataError, match="hardly any are adjacent"):
        res.with_cov(bh.HAC(2, time=np.cumsum(np.arange(60)) ** 3 + np.arange(60)))
    with pytest.raises(bh.DataError, match="sorted letter by letter"):
        res.with_cov(bh.HAC(2, time=data["t"].astype(str)))
    letters = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(60)]
    np.testing.assert_array_equal(res.with_cov(bh.HAC(2, time=letters)).bse, res.with_cov(bh.HAC(2)).bse)
    with pytest.raises(bh.DataError, match="labels and the data"):
        res.with_cov(bh.HAC(2, time=data["t"][:9].to_numpy()))


INDEXES = {
    "dates": pd.date_range("2000-01-01", periods=60, freq="D"),
    "periods": pd.period_range("2000-01", periods=60, freq="M"),
}


@pytest.mark.parametrize("index", INDEXES)
def test_a_shuffled_index_of_dates_is_told(index):
    data = _series().set_index(INDEXES[index])
    expected = bh.ols("y ~ x", data).fit(bh.HAC(3)).bse
    for frame in (data, data[::-1]):  # lags are the same backwards
        np.testing.assert_allclose(bh.ols("y ~ x", frame).fit(bh.HAC(3)).bse, expected, rtol=ROUNDING)
    mixed = data.sample(frac=1.0, random_state=1)
    res = bh.ols("y ~ x", mixed).fit()
    with pytest.warns(
        bh.ClusterWarning, match="HAC uses the order of the rows, which is not that of the dates in the data's index"
    ):
        res.with_cov(bh.HAC(3))
    with pytest.warns(bh.ClusterWarning, match="bootstrap of blocks uses the order of the rows"):
        res.with_cov(bh.Bootstrap(20, "moving-block", block_length=3, seed=1))
    np.testing.assert_allclose(res.with_cov(bh.HAC(3, time=mixed.index)).bse, expected, rtol=ROUNDING)
    stacked = pd.concat([data, data]).assign(unit=np.repeat([0, 1], 60))
    again = bh.ols("y ~ x", stacked).fit()
    panel = again.with_cov(bh.PanelNeweyWest("unit", maxlags=2)).bse
    mixed = stacked.sample(frac=1.0, random_state=1)
    with pytest.warns(bh.ClusterWarning, match="A panel's HAC uses the order of the rows"):
        bh.ols("y ~ x", mixed).fit(bh.PanelNeweyWest("unit", maxlags=2))
    np.testing.assert_allclose(
        bh.ols("y ~ x", mixed).fit(bh.PanelNeweyWest("unit", mixed.index, maxlags=2)).bse, panel, rtol=ROUNDING
    )


def test_a_panel_by_time_alone():
    """As in statsmodels, a unit begins where time falls; without either the sentence names what cov_kwds takes."""
    data = _panel(np.arange(PERIODS))
    x = sm.add_constant(data["x"])
    for cov_type in ("hac-panel", "nw-panel"):
        for given in ({"time": data["t"].to_numpy()}, {"time": "t"}):
            kwds = {"maxlags": 2, **given}
            theirs = sm.OLS(data["y"], x).fit(cov_type=cov_type, cov_kwds={"maxlags": 2, "time": data["t"].to_numpy()})
            np.testing.assert_allclose(bh.ols("y ~ x", data).fit(cov_type, kwds).bse, theirs.bse, rtol=ROUNDING)
    np.testing.assert_array_equal(
        bh.ols("y ~ x", data).fit(bh.PanelNeweyWest(None, "t", maxlags=2)).bse,
        bh.ols("y ~ x", data).fit(bh.PanelNeweyWest("unit", "t", maxlags=2)).bse,
    )
    with pytest.raises(bh.OptionError, match="groups and time are None") as error:
        bh.ols("y ~ x", data).fit("hac-panel", {"maxlags": 2})
    assert "'groups'" in str(error.value)
    with pytest.raises(bh.EstimationError, match="never decreases"):
        bh.ols("y ~ x", data[:PERIODS]).fit("hac-panel", {"time": "t", "maxlags": 2})
