"""Weights, offsets and exposures: values, names and expressions are the same, in fit and in predict, after loading too."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh

# An exposure and the offset that is its logarithm are added in another order.
ROUNDING = 1e-12

R = np.random.default_rng(2)
N = 70
FRAME = pd.DataFrame(
    {
        "x": R.normal(size=N),
        "e": R.uniform(1, 3, N),
        "f": R.integers(1, 4, N),
        "two words": R.uniform(0.5, 2, N),
    }
)
FRAME["k"] = R.poisson(FRAME.e * np.exp(0.3 * FRAME.x))
FRAME["b"] = (FRAME.x + R.normal(size=N) > 0).astype(int)
FRAME["y"] = FRAME.x + R.normal(size=N)
NEW = FRAME.iloc[[3, 11, 40]].set_axis(list("pqr"))
LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.DataFrame,
    "pyarrow": pa.Table.from_pandas,
    "dict": lambda frame: frame.to_dict("list"),
}
SCALE = 2.0
MODELS = {
    "poisson": (bh.poisson, "k ~ x"),
    "logit": (bh.logit, "b ~ x"),
    "wls": (bh.wls, "y ~ x"),
    "ols": (bh.ols, "y ~ x"),
}
GIVEN = [
    *[("poisson", "offset", "np.log(e)"), ("poisson", "exposure", "e"), ("poisson", "exposure", "e * SCALE")],
    *[("poisson", "offset", "`two words` - x"), ("poisson", "exposure", "two words"), ("poisson", "weights", "1 / e")],
    *[("poisson", "freq_weights", "f + 1"), ("logit", "offset", "abs(x)"), ("logit", "weights", "e**2")],
    *[("wls", "weights", "1 / np.square(e)"), ("wls", "weights", "Q('two words')"), ("wls", "weights", "own(e)")],
    *[("wls", "weights", "2"), ("logit", "freq_weights", "f")],
]


def own(values):
    return values + 1.0


def values(text, frame):
    if text in frame:
        return frame[text].to_numpy()
    names = {
        "np": np,
        "SCALE": SCALE,
        "abs": np.abs,
        "own": own,
        "two": frame["two words"],
        "Q": lambda name: frame[name],
    }
    found = eval(text.replace("`two words`", "two"), names | {name: frame[name] for name in ("x", "e", "f")})
    return np.broadcast_to(np.asarray(found, dtype=float), len(frame)).copy()


@pytest.mark.parametrize(("model", "option", "text"), GIVEN)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_name_or_an_expression_is_its_values(model, option, text, library):
    make, formula = MODELS[model]
    data = LIBRARIES[library](FRAME)
    res = make(formula, data, **{option: text}).fit("HC1")
    expected = make(formula, data, **{option: values(text, FRAME)}).fit("HC1")
    assert np.array_equal(res.params, expected.params)
    assert np.array_equal(res.bse, expected.bse)


@pytest.mark.parametrize(
    ("option", "text"), [("offset", "np.log(e)"), ("exposure", "e"), ("exposure", "two words"), ("offset", "x")]
)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("loaded", [False, True])
def test_predictions_take_names_as_fits_do(option, text, library, loaded, tmp_path):
    res = bh.poisson("k ~ x", FRAME, **{option: text}).fit()
    res = bh.load(res.save(tmp_path / "res", remove_data=True)) if loaded else res
    new = LIBRARIES[library](NEW)
    found = res.predict(new, **{option: text})
    np.testing.assert_array_equal(found, res.predict(new, **{option: values(text, NEW)}))
    table = res.get_prediction(new, **{option: text}).summary_frame()
    np.testing.assert_allclose(table.iloc[:, 0], found, rtol=ROUNDING)
    if option == "exposure":
        np.testing.assert_allclose(found, res.predict(new, offset=f"np.log(`{text}`)"), rtol=ROUNDING)


def test_weights_of_predictions():
    res = bh.wls("y ~ x", FRAME, weights="1 / e").fit()
    by_name = res.get_prediction(NEW, weights="1 / e").summary_frame()
    by_value = res.get_prediction(NEW, weights=(1 / NEW.e).to_numpy()).summary_frame()
    assert np.array_equal(by_name, by_value)


@pytest.mark.parametrize("option", ["offset", "exposure", "weights", "freq_weights"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nobody", "refers to 'nobody', found neither in the data nor"),
        ("np.log(ee)", "did you mean 'e'"),
        ("log of e", "neither a column of the data nor an expression"),
        ("np.log(e", "nor an expression"),
        ("", "nor an expression"),
        ("e.nothing()", "cannot be evaluated"),
        ("e[:3]", "3 rows, but the data have 70"),
        ("np.nothing", "cannot be evaluated"),
    ],
)
def test_what_is_neither_is_a_sentence(option, text, reason):
    with pytest.raises(bh.BetahatError, match=reason):
        bh.poisson("k ~ x", FRAME, **{option: text})
    if option in ("offset", "exposure") and "70" not in reason:
        with pytest.raises(bh.BetahatError, match=reason):
            bh.poisson("k ~ x", FRAME).fit().predict(NEW, **{option: text})


def test_a_missing_value_of_an_expression_is_a_missing_row():
    frame = FRAME.assign(e=FRAME.e.where(FRAME.index != 4))
    assert bh.poisson("k ~ x", frame, offset="np.log(e)").nobs == N - 1
    with pytest.raises(bh.DataError, match="issing"):
        bh.poisson("k ~ x", frame, offset="np.log(e)", missing="raise")


def test_models_of_arrays_know_no_names():
    res = bh.Poisson(FRAME.k.to_numpy(), bh.add_constant(FRAME[["x"]].to_numpy())).fit()
    with pytest.raises(bh.DataError, match="exposure is 'e', a name"):
        res.predict(np.ones((1, 2)), exposure="e")
    with pytest.raises(bh.DataError, match="weights is 'e', a name"):
        bh.OLS(FRAME.y, bh.add_constant(FRAME[["x"]])).fit().get_prediction(np.ones((1, 2)), weights="e")


def test_nothing_runs_where_a_name_is_wrong():
    called = []

    def touched(values):
        called.append(1)
        return values

    with pytest.raises(bh.FormulaError):
        bh.poisson("k ~ touched(x)", FRAME, offset="touched(nobody)")
    assert not called
    bh.poisson("k ~ x", FRAME, offset="touched(x)")
    assert called == [1]


@pytest.mark.parametrize("place", ["memory", "file"])
def test_vectors_of_text_are_refused_with_what_makes_numbers_of_them(place, tmp_path):
    frame = FRAME.assign(told=FRAME.f.astype(str), when=pd.date_range("2020", periods=N))
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    data = frame if place == "memory" else str(path)
    for option, make, formula in (
        ("weights", bh.wls, "y ~ x"),
        ("freq_weights", bh.ols, "y ~ x"),
        ("exposure", bh.poisson, "k ~ x"),
    ):
        with pytest.raises(
            bh.DataError, match=rf"{option}='told' has text, not numbers; .*{option}='told.astype\(float\)'\."
        ):
            make(formula, data, **{option: "told"}).fit()
        found = make(formula, data, **{option: "told.astype(float)"}).fit().params
        np.testing.assert_array_equal(found, make(formula, data, **{option: "f"}).fit().params)
    with pytest.raises(bh.DataError, match=r"weights='when' has dates, not numbers"):
        bh.wls("y ~ x", data, weights="when").fit()
