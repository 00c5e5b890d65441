"""Text of every kind is a category, in fit and predict."""

import numpy as np
import pandas as pd
import patsy
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh

N = 90
R = np.random.default_rng(3)
LETTERS = R.choice(["a", "b", "c"], N)
DIGITS = R.choice(["1", "2", "10"], N)
X = R.normal(size=N)
Y = R.normal(size=N)

KINDS = {
    "object": lambda values: pd.Series(values, dtype=object),
    "str": lambda values: pd.Series(values, dtype="str"),
    "string": lambda values: pd.Series(values, dtype="string"),
    "string[python]": lambda values: pd.Series(values, dtype="string[python]"),
    "string[pyarrow]": lambda values: pd.Series(values, dtype="string[pyarrow]"),
    "arrow string": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "arrow large_string": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.large_string())),
    "arrow dictionary": lambda values: pd.Series(
        sorted_dictionary(values), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    ),
    "category": lambda values: pd.Series(values, dtype="category"),
    "category of string": lambda values: pd.Series(values, dtype="string").astype("category"),
    "convert_dtypes": lambda values: pd.DataFrame({"g": list(values)}).convert_dtypes()["g"],
}


def sorted_dictionary(values):
    levels = sorted({value for value in values if value is not None})
    return pa.DictionaryArray.from_arrays([None if v is None else levels.index(v) for v in values], levels)


FRAMES = {
    **{kind: lambda data, make=make: pd.DataFrame(data | {"g": make(data["g"])}) for kind, make in KINDS.items()},
    "polars String": lambda data: pl.DataFrame(data | {"g": list(data["g"])}),
    "polars Enum": lambda data: pl.DataFrame(
        data | {"g": pl.Series(list(data["g"]), dtype=pl.Enum(sorted(set(data["g"]))))}
    ),
    "pyarrow string": lambda data: pa.table(data | {"g": pa.array(list(data["g"]), pa.string())}),
    "pyarrow large_string": lambda data: pa.table(data | {"g": pa.array(list(data["g"]), pa.large_string())}),
    "pyarrow dictionary": lambda data: pa.table(data | {"g": sorted_dictionary(list(data["g"]))}),
    "dict of arrays": lambda data: data | {"g": np.asarray(data["g"], dtype=str)},
    "dict of lists": lambda data: {name: list(values) for name, values in data.items()},
    "dict of string arrays": lambda data: data | {"g": pd.array(list(data["g"]), dtype="string")},
}
frames = pytest.mark.parametrize("kind", FRAMES)


@pytest.mark.parametrize("values", ["letters", "digits"])
@frames
def test_text_is_a_category(kind, values):
    """The design is patsy's, of the same words as objects; predictions of any kind of text are the same."""
    words = LETTERS if values == "letters" else DIGITS
    data = {"y": Y, "x": X, "g": words}
    for formula in ("y ~ g", "y ~ g*x", "y ~ C(g) + x", "y ~ 0 + g", f"y ~ C(g, Treatment('{words[0]}'))"):
        _, expected = patsy.dmatrices(formula, data, return_type="dataframe")
        model = bh.ols(formula, FRAMES[kind](data))
        assert model.exog_names == list(expected.columns)
        np.testing.assert_allclose(model.exog, expected, rtol=1e-12)
    res = bh.ols("y ~ C(g)*x", FRAMES[kind](data)).fit("HC1")
    for made in FRAMES.values():
        new = made({name: values[:7] for name, values in data.items()})
        np.testing.assert_allclose(res.predict(new), res.fittedvalues[:7], rtol=1e-12)


@frames
def test_unseen_text_is_refused(kind):
    res = bh.ols("y ~ g + x", FRAMES["string"]({"y": Y, "x": X, "g": np.where(LETTERS == "c", "a", LETTERS)})).fit()
    new = FRAMES[kind]({"x": X, "g": LETTERS})
    with pytest.raises(bh.DataError, match=r"did not occur in the fit of .*: 'c'"):
        res.predict(new)
    with pytest.raises(bh.DataError, match=r"did not occur in the fit of .*: 'c'"):
        bh.ols("y ~ C(g) + x", {"y": Y, "x": X, "g": np.where(LETTERS == "c", "a", LETTERS)}).fit().predict(new)


@pytest.mark.parametrize("kind", [*KINDS, "polars String", "pyarrow string", "pyarrow dictionary", "dict of lists"])
def test_missing_text(kind):
    words = LETTERS.astype(object)
    words[4] = None
    model = bh.ols("y ~ g + x", FRAMES[kind]({"y": Y, "x": X, "g": words}))
    assert model.exog_names == ["Intercept", "g[T.b]", "g[T.c]", "x"]
    assert model.nobs == N - 1
    found = model.fit().predict(FRAMES[kind]({"x": X, "g": words}))
    assert np.flatnonzero(np.isnan(found)).tolist() == [4]
    with pytest.raises(bh.DataError, match=r"g \(1\)"):
        bh.ols("y ~ g", FRAMES[kind]({"y": Y, "x": X, "g": words}), missing="raise")


MODELS = {"ols": bh.ols, "logit": bh.logit, "probit": bh.probit, "poisson": bh.poisson, "mnlogit": bh.mnlogit}


@pytest.mark.parametrize("kind", ["string", "string[pyarrow]", "arrow large_string", "arrow dictionary"])
@pytest.mark.parametrize("name", MODELS)
def test_every_formula_function(name, kind, tmp_path):
    outcome = R.integers(0, 3 if name in ("poisson", "mnlogit") else 2, N)
    data = {"y": outcome, "x": X, "g": DIGITS}
    plain, res = (MODELS[name]("y ~ g + x", FRAMES[k](data)).fit() for k in ("object", kind))
    assert np.array_equal(res.params, plain.params)
    again = bh.load(res.save(tmp_path / "text.betahat"))
    np.testing.assert_allclose(again.predict(FRAMES[kind](data)), plain.predict(FRAMES["object"](data)), rtol=1e-12)


@pytest.mark.parametrize("kind", ["string", "string[pyarrow]", "arrow string", "arrow dictionary"])
def test_classes_of_text(kind):
    """MNLogit's left-hand side."""
    frame = FRAMES[kind]({"y": Y, "x": X, "g": LETTERS})
    found = bh.mnlogit("g ~ x", frame).fit()
    expected = bh.mnlogit("g ~ x", FRAMES["object"]({"y": Y, "x": X, "g": LETTERS})).fit()
    assert np.array_equal(found.params, expected.params)
    assert list(found.params.columns) == list(expected.params.columns)


def test_words_that_an_expression_makes():
    frame = FRAMES["string"]({"y": Y, "x": X, "g": LETTERS})
    for formula in ("y ~ g.str.upper()", "y ~ np.where(x > 0, 'up', 'down')", "y ~ C(np.where(x > 0, 'up', 'down'))"):
        _, expected = patsy.dmatrices(formula, frame.astype({"g": object}), return_type="dataframe")
        model = bh.ols(formula, frame)
        assert model.exog_names == list(expected.columns)
        np.testing.assert_array_equal(model.exog, expected)


def test_numbers_are_no_text_and_text_no_numbers():
    """A category of the fit wants its own levels; a number of the fit wants a number."""
    text = bh.ols("y ~ g", {"y": Y, "g": DIGITS}).fit()
    with pytest.raises(bh.DataError, match=r"did not occur in the fit of .*: 1"):
        text.predict({"g": [1, 2]})
    numbers = bh.ols("y ~ g", {"y": Y, "g": DIGITS.astype(int)}).fit()
    for values in (["1", "2"], pd.array(["1", "2"], dtype="string")):
        with pytest.raises(bh.DataError, match="'g' is of another type"):
            numbers.predict({"g": values})
    np.testing.assert_allclose(numbers.predict({"g": [True, False]}), numbers.predict({"g": [1.0, 0.0]}), rtol=1e-14)
    with pytest.raises(bh.FormulaError, match="left-hand side"):
        bh.ols("g ~ x", FRAMES["string"]({"y": Y, "x": X, "g": DIGITS}))


def test_levels_that_are_written_out():
    """A value that is none of them is an error, as in patsy, not the reference's."""
    data = {"y": Y, "g": LETTERS}
    assert bh.ols("y ~ C(g, levels=['c', 'b', 'a'])", data).exog_names[1] == "C(g, levels=['c', 'b', 'a'])[T.b]"
    with pytest.raises(bh.DataError, match=r"are not among the levels in .*: 'c'"):
        bh.ols("y ~ C(g, levels=['a', 'b'])", data)
