"""Expressions of a formula that are several columns: frames and matrices of numbers, whatever their types, and sentences for others."""

import formulaic
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from formulaic.model_spec import ModelSpec
from formulaic.transforms.contrasts import TreatmentContrasts, encode_contrasts

import betahat as bh
from betahat.data.formulas.levels import indicators
from betahat.data.formulas.transforms import Indicators

# statsmodels solves the same least squares by the singular value decomposition.
ROUNDING = 1e-9
N = 60
R = np.random.default_rng(5)
DATA = pd.DataFrame(
    {"y": R.normal(size=N), "x": R.normal(size=N), "z": R.normal(size=N), "g": R.choice(list("abcd"), N)}
)

# What formulas of this file name.
frame = DATA[["x", "z"]]
small = pd.DataFrame({"p": R.integers(0, 100, N).astype("int8"), "q": R.integers(0, 100, N).astype("uint8")})
wide = small.astype(float)
matrix, doubles = small.to_numpy(dtype="uint8"), wide.to_numpy()
gaps = pd.DataFrame({"p": pd.array([None, *small["p"][1:]], dtype="Int8"), "q": wide["q"]})
truths, ones = small > 50, (small > 50).astype(float)
thing = object()
words = DATA[["x", "g"]]
dates = pd.DataFrame({"d": pd.date_range("2000", periods=N), "x": DATA["x"]})


@pytest.mark.parametrize(
    "formula",
    [
        *("y ~ frame", "y ~ frame:g", "y ~ wide", "y ~ I(wide ** 2)", "y ~ doubles", "y ~ pd.concat([x, z], axis=1)"),
        *("y ~ pd.get_dummies(g, dtype=float) - 1", "y ~ x.to_frame()", "y ~ doubles[:, :1]", "y ~ np.log(wide + 1)"),
        "y ~ center(doubles)",
    ],
)
def test_several_columns_are_statsmodels(formula):
    ours, theirs = bh.ols(formula, DATA).fit(), smf.ols(formula, DATA).fit()
    assert list(ours.params.index) == list(theirs.params.index)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(ours.predict(DATA), theirs.fittedvalues, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    ("formula", "in_double"),
    [
        *(
            ("y ~ small", "y ~ wide"),
            ("y ~ I(small ** 2)", "y ~ I(wide ** 2)"),
            ("y ~ small.pow(2)", "y ~ wide.pow(2)"),
        ),
        *(("y ~ np.log(small + 1)", "y ~ np.log(wide + 1)"), ("y ~ small.p * small.q", "y ~ wide.p * wide.q")),
        *(("y ~ I(matrix * matrix)", "y ~ I(doubles * doubles)"), ("y ~ truths", "y ~ ones")),
        *(("y ~ truths.to_numpy()", "y ~ ones"), ("y ~ pd.get_dummies(g) - 1", "y ~ C(g) - 1")),
    ],
)
def test_whatever_their_types_they_are_numbers_in_double_precision(formula, in_double):
    # The same numbers from the same routine.
    np.testing.assert_array_equal(bh.ols(formula, DATA).fit().params, bh.ols(in_double, DATA).fit().params)


def test_gaps_in_a_frame_are_missing_rows():
    np.testing.assert_array_equal(
        bh.ols("y ~ gaps", DATA).fit().params, bh.ols("y ~ p + q", DATA.join(wide)[1:]).fit().params
    )


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        *(("y ~ words", "'words' has several columns, not all"), ("y ~ words.to_numpy()", "has several columns")),
        *(("y ~ dates", "'dates' are dates or spans"), ("y ~ I(doubles * 1j)", "are complex")),
        ("y ~ frame[[]]", "has no columns"),
        ("y ~ x + I(np.nan)", "Constant value is null"),
        ("y ~ thing + x", "'thing' is an object instead of a column or a number"),
    ],
)
def test_columns_that_are_no_numbers_are_named(formula, says):
    with pytest.raises(bh.FormulaError, match=says):
        bh.ols(formula, DATA)


@pytest.mark.parametrize("basis", ["bs(z, df=4)", "cr(z, df=4)", "cs(z, df=4)", "cc(z, df=4)", "poly(z, 2)"])
def test_a_basis_is_of_real_numbers(basis):
    with pytest.raises(bh.FormulaError, match="complex numbers was passed; betahat needs real ones"):
        bh.ols(f"y ~ {basis}", DATA.assign(z=DATA["z"] + 1j))


@pytest.mark.parametrize(("formula", "names"), [("y ~ np.emath.sqrt(x)", "'np.emath.sqrt(x)'"), ("y ~ z * x", "'z'")])
def test_a_sentence_names_what_is_at_fault(formula, names):
    # Columns of dates whose names occur in the formula's text alone were blamed.
    data = DATA.assign(t=pd.Timestamp("2000"), q=pd.Timestamp("2000"), z=DATA["z"] + 1j)
    with pytest.raises(bh.FormulaError, match="are complex; use real numbers") as caught:
        bh.ols(formula, data)
    assert f"the values of {names} are" in str(caught.value)


def test_a_category_in_half_precision():
    # pandas has no index of half precision.
    data = DATA.assign(h=R.integers(1, 4, N).astype("float16"))
    half, double = (bh.ols("y ~ C(h)", d).fit() for d in (data, data.astype({"h": float})))
    np.testing.assert_array_equal(half.params, double.params)
    np.testing.assert_array_equal(half.predict(data), double.fittedvalues)


CATEGORIES = {
    "words": pd.Series(list("cabcab"), dtype="category"),
    "unused levels": pd.Series(pd.Categorical(list("cacac"), list("dcba"))),
    "numbers": pd.Series([3, 1, 3, 2], dtype="category"),
    "one level": pd.Series(["a", "a"], dtype="category"),
    "missing": pd.Series(["b", None, "a"], dtype="category"),
    "no rows": pd.Series([], dtype="category"),
}


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("contrast", [TreatmentContrasts(), Indicators(None), Indicators(0), Indicators(-1), "last"])
@pytest.mark.parametrize("kind", CATEGORIES)
def test_indicators_are_formulaics(kind, contrast, reduced):
    values = CATEGORIES[kind]
    if contrast == "last":
        contrast = TreatmentContrasts(values.cat.categories[-1]) if len(values) else TreatmentContrasts()
    state, known = {}, {}
    spec = ModelSpec(formulaic.Formula([]), output="pandas")
    theirs = encode_contrasts(values, contrasts=contrast, reduced_rank=reduced, _state=state, _spec=spec)
    ours = indicators(values, contrast, reduced, known)
    assert list(ours) == list(theirs.columns)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours.__formulaic_metadata__ == theirs.__formulaic_metadata__
    assert known["categories"] == state["categories"]
