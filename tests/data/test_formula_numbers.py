"""Numbers enter a formula in double precision, however they are stored; where they are labels, whole numbers stay whole."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh
from betahat.__main__ import main

# The same double-precision products in another order, solved by another routine.
ROUNDING = 1e-9
N = 200
R = np.random.default_rng(12)
EDUC, EXPER = R.integers(6, 20, N), R.integers(0, 50, N)
WAGE = np.round(3 + 0.5 * EDUC + 0.03 * EXPER + 0.01 * EDUC * EXPER + R.normal(size=N))
GROUP = R.integers(1, 4, N)

# What formulas of this file name.
word = {1: "one", 2: "two", 3: "three"}.get
level = np.array([0.0, 1.5, 2.5, 7.0])
other = EXPER.astype("int8")
half = (EXPER + 1).astype("float16")

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
PANDAS = {
    **{kind: lambda values, kind=kind: pd.Series(values).astype(kind) for kind in INTEGERS},
    **{
        kind: lambda values, kind=kind: pd.Series(values).astype(kind) for kind in ("Int8", "Int32", "UInt8", "Float32")
    },
    **{kind: lambda values, kind=kind: pd.Series(values).astype(kind) for kind in ("float16", "float32", "float64")},
    "int8[pyarrow]": lambda values: pd.Series(values).astype(pd.ArrowDtype(pa.int8())),
    "halffloat[pyarrow]": lambda values: pd.Series(values.astype("float16")).astype(pd.ArrowDtype(pa.float16())),
    "decimal[pyarrow]": lambda values: pd.Series(values).astype(pd.ArrowDtype(pa.decimal128(25, 2))),
    "Decimal": lambda values: pd.Series([None, *map(Decimal, values[1:].tolist())], dtype=object).fillna(
        Decimal(int(values[0]))
    ),
    "Sparse": lambda values: pd.Series(values).astype("Sparse[int8]"),
}
COLUMNS = {
    **{
        f"pandas {kind}": lambda data, make=make: pd.DataFrame({k: make(v) for k, v in data.items()})
        for kind, make in PANDAS.items()
    },
    **{
        f"polars {kind}": lambda data, kind=kind: pl.DataFrame(data).cast(kind)
        for kind in (pl.Int8, pl.UInt8, pl.Int64, pl.Float32, pl.Decimal(9, 2))
    },
    **{
        f"pyarrow {kind}": lambda data, kind=kind: pa.table({k: pa.array(v).cast(kind) for k, v in data.items()})
        for kind in (pa.int8(), pa.uint8(), pa.float32(), pa.decimal128(21, 2))
    },
    "dict of arrays": lambda data: {k: v.astype("int8") for k, v in data.items()},
    "dict of lists": lambda data: {k: v.tolist() for k, v in data.items()},
    "dict of float16": lambda data: {k: v.astype("float16") for k, v in data.items()},
    "records": lambda data: pd.DataFrame.from_records(
        np.rec.fromarrays([v.astype("int8") for v in data.values()], names=list(data))
    ),
}
columns = pytest.mark.parametrize("kind", COLUMNS)


def integers():
    return {"wage": WAGE.astype(int), "educ": EDUC, "exper": EXPER, "g": GROUP}


EXPRESSIONS = {
    "educ*exper": lambda e, x: [e, x, e * x],
    "educ:exper": lambda e, x: [e * x],
    "I(educ**2) + I(exper**3)": lambda e, x: [e**2, x**3],
    "I(educ*exper*educ*exper*educ)": lambda e, x: [e**3 * x**2],
    "np.log(educ)": lambda e, x: [np.log(e)],
    "np.sqrt(exper) + np.exp(educ)": lambda e, x: [np.sqrt(x), np.exp(e)],
    "I(exper - educ)": lambda e, x: [x - e],
    "I(-educ)": lambda e, x: [-e],
    "I(educ + 300)": lambda e, x: [e + 300],
    "I(educ * 100)": lambda e, x: [e * 100],
    "I(educ / exper.max())": lambda e, x: [e / x.max()],
    "I(educ**-1)": lambda e, x: [e**-1.0],
    "Q('educ'):Q('exper')": lambda e, x: [e * x],
    "center(educ):exper": lambda e, x: [(e - e.mean()) * x],
    "np.where(exper > 10, educ, exper)": lambda e, x: [np.where(x > 10, e, x)],
    "educ.cumsum()": lambda e, x: [e.cumsum()],
    "I(np.maximum(educ, exper)**4)": lambda e, x: [np.maximum(e, x) ** 4],
    "I((educ > 9) * educ * exper)": lambda e, x: [(e > 9) * e * x],
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
@columns
def test_arithmetic_is_in_double_precision(kind, expression):
    """The regressors are NumPy's of double-precision columns."""
    if "Sparse" in kind and "." in expression.replace("np.", ""):
        pytest.skip("pandas' sparse columns lack the method")
    e, x = EDUC.astype(float), EXPER.astype(float)
    expected = np.column_stack([np.ones(N), *EXPRESSIONS[expression](e, x)])
    model = bh.ols(f"wage ~ {expression}", COLUMNS[kind](integers()))
    np.testing.assert_allclose(model.exog, expected, rtol=1e-14)
    np.testing.assert_allclose(model.endog, WAGE, rtol=0)


@columns
def test_the_coefficients_are_those_of_least_squares(kind):
    e, x = EDUC.astype(float), EXPER.astype(float)
    expected = np.linalg.lstsq(np.column_stack([np.ones(N), e, x, e * x]), WAGE, rcond=None)[0]
    res = bh.ols("wage ~ educ*exper", COLUMNS[kind](integers())).fit("HC1")
    np.testing.assert_allclose(res.params, expected, rtol=ROUNDING)
    new = COLUMNS[kind]({name: values[:9] for name, values in integers().items()})
    np.testing.assert_allclose(res.predict(new), res.fittedvalues[:9], rtol=1e-12)
    np.testing.assert_allclose(res.get_prediction(new).summary_frame()["mean"], res.fittedvalues[:9], rtol=1e-12)


@columns
def test_the_left_hand_side_too(kind):
    model = bh.ols("I(wage**3) ~ educ", COLUMNS[kind](integers()))
    np.testing.assert_allclose(model.endog, WAGE**3, rtol=1e-15)
    model = bh.ols("np.log(wage) ~ educ", COLUMNS[kind](integers()))
    np.testing.assert_allclose(model.endog, np.log(WAGE), rtol=1e-15)


WHOLE = [
    kind for kind in COLUMNS if "nt8" in kind or any(f"pandas {name}" == kind for name in (*INTEGERS, "Int32"))
] + [
    "dict of arrays",
    "dict of lists",
    "records",
]


@pytest.mark.parametrize("kind", WHOLE)
def test_labels_stay_whole(kind):
    data = COLUMNS[kind](integers())
    assert bh.ols("wage ~ C(g)", data).exog_names == ["Intercept", "C(g)[T.2]", "C(g)[T.3]"]
    assert bh.ols("wage ~ C(g*100)", data).exog_names == ["Intercept", "C(g * 100)[T.200]", "C(g * 100)[T.300]"]
    assert bh.ols("wage ~ C(g // 2)", data).exog_names == ["Intercept", "C(g // 2)[T.1]"]
    assert bh.ols("wage ~ C(Q('g')) + educ", data).exog_names[1:3] == ["C(Q('g'))[T.2]", "C(Q('g'))[T.3]"]
    assert bh.ols("wage ~ C(g, Treatment(2))", data).exog_names[1:] == [
        "C(g, Treatment(2))[T.1]",
        "C(g, Treatment(2))[T.3]",
    ]
    res = bh.ols("wage ~ C(g):educ + exper", data).fit()
    new = COLUMNS[kind]({name: values[:9] for name, values in integers().items()})
    np.testing.assert_allclose(res.predict(new), res.fittedvalues[:9], rtol=1e-12)


def test_words_that_are_made_of_labels():
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    assert bh.ols("wage ~ g.astype(str)", data).exog_names[1:] == ["g.astype(str)[T.2]", "g.astype(str)[T.3]"]
    assert bh.ols("wage ~ g.map(word)", data).exog_names[1:] == ["g.map(word)[T.three]", "g.map(word)[T.two]"]
    assert len(bh.ols("wage ~ pd.cut(educ, [0, 9, 15, 20])", data).exog_names) == 3
    names = bh.ols("wage ~ pd.cut(educ, [0, 9, 15, 20])", data.astype("int64")).exog_names
    assert bh.ols("wage ~ pd.cut(educ, [0, 9, 15, 20])", data).exog_names == names


def test_what_needs_whole_numbers_gets_them():
    """Bits, and places in a vector of the caller's."""
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    assert np.array_equal(bh.ols("wage ~ I(level[g])", data).exog.iloc[:, 1], level[GROUP])
    assert np.array_equal(bh.ols("wage ~ I(educ & 4)", data).exog.iloc[:, 1], EDUC & 4)
    assert np.array_equal(bh.ols("wage ~ np.left_shift(educ, 9)", data).exog.iloc[:, 1], EDUC << 9)
    assert np.array_equal(
        bh.ols("wage ~ I((educ % 2 == 1) & (exper > 5)) ", data).exog.iloc[:, 1], (EDUC % 2 == 1) & (EXPER > 5)
    )


def test_numbers_that_arise_on_the_way():
    """A category's codes have eight bits, a date's year has 32."""
    letters = np.array([chr(60 + i) for i in EDUC])
    data = pd.DataFrame(
        {
            "wage": WAGE,
            "l": pd.Categorical(letters),
            "day": pd.Timestamp("2000-01-01") + pd.to_timedelta(EXPER * 90, "D"),
        }
    )
    codes = np.unique(letters, return_inverse=True)[1].astype(float)
    year = pd.DatetimeIndex(data["day"]).year.to_numpy().astype(float)
    assert np.array_equal(bh.ols("wage ~ I(l.cat.codes**3)", data).exog.iloc[:, 1], codes**3)
    assert np.array_equal(bh.ols("wage ~ l.cat.codes:l.cat.codes.shift(0)", data).exog.iloc[:, 1], codes**2)
    assert np.array_equal(bh.ols("wage ~ I(day.dt.year**4)", data).exog.iloc[:, 1], year**4)
    assert bh.ols("wage ~ C(day.dt.year)", data).exog_names[1] == "C(day.dt.year)[T.2001]"
    assert bh.ols("wage ~ C(l.cat.codes)", data).exog_names[1] == "C(l.cat.codes)[T.1]"


def test_vectors_of_the_caller():
    data = pd.DataFrame({"wage": WAGE, "educ": EDUC.astype("int8")})
    assert np.array_equal(bh.ols("wage ~ educ:other", data).exog.iloc[:, 1], EDUC.astype(float) * EXPER)
    assert np.array_equal(bh.ols("wage ~ I(other**3)", data).exog.iloc[:, 1], EXPER.astype(float) ** 3)
    assert np.array_equal(bh.ols("wage ~ np.log(half)", data).exog.iloc[:, 1], np.log(EXPER + 1.0))


@pytest.mark.parametrize("kind", ["Int32", "int8[pyarrow]", "polars", "pyarrow"])
def test_missing_whole_numbers(kind):
    """A missing value is missing in arithmetic, and makes no fraction of a label."""
    lists = {name: values.tolist() for name, values in integers().items()}
    lists["educ"][3] = lists["g"][5] = None
    data = {
        "Int32": lambda: pd.DataFrame(lists).astype("Int32"),
        "int8[pyarrow]": lambda: pd.DataFrame(lists).astype("Int8").astype(pd.ArrowDtype(pa.int8())),
        "polars": lambda: pl.DataFrame(lists),
        "pyarrow": lambda: pa.table(lists),
    }[kind]()
    model = bh.ols("wage ~ C(g) + I(educ**2)", data)
    assert model.exog_names == ["Intercept", "C(g)[T.2]", "C(g)[T.3]", "I(educ ** 2)"]
    kept = np.setdiff1d(np.arange(N), [3, 5])
    assert np.array_equal(model.exog["I(educ ** 2)"], EDUC[kept].astype(float) ** 2)
    assert np.array_equal(model.exog["C(g)[T.2]"], GROUP[kept] == 2)
    res = model.fit()
    found = res.predict(data)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]
    np.testing.assert_allclose(np.asarray(found)[kept], res.fittedvalues, rtol=1e-12)
    with pytest.raises(bh.DataError, match=r"educ \(1\), g \(1\)"):
        bh.ols("wage ~ C(g) + educ", data, missing="raise")


def test_a_column_of_gaps_alone():
    """Of no type, it is as missing as one of numbers."""
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    res = bh.ols("wage ~ educ*exper + C(g)", data).fit()
    for gap in ([None, None], [np.nan, np.nan], [pd.NA, pd.NA], pd.array([None, None], dtype="Int8")):
        for name in ("educ", "g"):
            new = {"educ": [9, 10], "exper": [1, 2], "g": [1, 2]} | {name: gap}
            assert np.isnan(res.predict(new)).all()


def test_whole_numbers_too_large_for_64_bits_with_a_sign():
    ids = np.array([2**64 - 1, 2**64 - 2] * 20, dtype="uint64")
    data = pd.DataFrame({"y": np.arange(40.0), "id": ids})
    assert bh.ols("y ~ C(id)", data).exog_names == ["Intercept", f"C(id)[T.{2**64 - 1}]"]
    assert np.array_equal(bh.ols("y ~ id - 1", data).exog["id"], ids.astype(float))


def test_labels_beyond_double_precision_are_told_apart():
    ids = np.array([2**53, 2**53 + 1] * 20)
    data = pd.DataFrame({"y": np.arange(40.0), "id": ids})
    assert bh.ols("y ~ C(id)", data).exog_names == ["Intercept", f"C(id)[T.{2**53 + 1}]"]
    assert bh.ols(f"y ~ I(id > {2**53})", data).exog.iloc[:, 1].tolist() == [0.0, 1.0] * 20


MODELS = {
    "ols": bh.ols,
    "wls": lambda formula, data: bh.wls(formula, data, weights="exper1"),
    "logit": bh.logit,
    "probit": bh.probit,
    "poisson": lambda formula, data: bh.poisson(formula, data, offset="half", exposure="exper1"),
    "mnlogit": bh.mnlogit,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_formula_function(name):
    """Small integers give what double precision gives."""
    chosen = {"poisson": EXPER % 5, "mnlogit": GROUP}.get(name, R.integers(0, 2, N))
    data = pd.DataFrame({"y": chosen, "educ": EDUC, "exper": EXPER // 10, "exper1": EXPER + 1, "half": EXPER // 40})
    formula = "y ~ educ*exper + I(educ**2)"
    small = MODELS[name](formula, data.astype("int8")).fit("HC0")
    plain = MODELS[name](formula, data.astype(float)).fit("HC0")
    np.testing.assert_array_equal(small.params, plain.params)
    np.testing.assert_array_equal(small.bse, plain.bse)


@pytest.mark.parametrize("kind", ["int8", "Int8", "float16", "int8[pyarrow]"])
def test_weights_offsets_and_exposures(kind):
    """By name or as an expression, they are computed in double precision too."""
    data = pd.DataFrame({name: PANDAS[kind](values) for name, values in integers().items()} | {"y": EXPER % 5})
    plain = data.astype(float)
    for options in (
        {"offset": "educ"},
        {"exposure": "educ"},
        {"offset": "np.log(educ)"},
        {"exposure": "educ*exper*exper + 1"},
        {"offset": "I(educ * 10) / 1000"},
    ):
        new = {name: values.replace("educ", "exper + 1") for name, values in options.items() if "exper" not in values}
        small, same = (bh.poisson("y ~ educ", frame, **options).fit() for frame in (data, plain))
        np.testing.assert_array_equal(small.params, same.params)
        np.testing.assert_array_equal(small.predict(data, **new), same.predict(plain, **new))
    small, same = (bh.wls("wage ~ educ", frame, weights="educ*exper*educ + 1").fit() for frame in (data, plain))
    np.testing.assert_array_equal(small.bse, same.bse)


def test_a_loaded_result_predicts_with_small_integers(tmp_path):
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    res = bh.ols("wage ~ C(g) + educ*exper + I(educ**2) + np.log(educ)", data).fit()
    again = bh.load(res.save(tmp_path / "small.betahat"))
    for new in (
        data.head(8),
        pl.DataFrame(data.head(8)),
        pa.Table.from_pandas(data.head(8)),
        data.head(8).astype("Int8"),
    ):
        np.testing.assert_allclose(again.predict(new), res.fittedvalues[:8], rtol=1e-12)


def test_the_command_line(tmp_path, capsys):
    """Stata's files hold eight-bit integers."""
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    data.to_stata(tmp_path / "wages.dta", write_index=False)
    assert pd.read_stata(tmp_path / "wages.dta")["educ"].dtype == np.int8
    assert main(["wage ~ educ*exper + C(g)", str(tmp_path / "wages.dta")]) == 0
    expected = bh.ols("wage ~ educ*exper + C(g)", data.astype({"wage": float, "educ": float, "exper": float})).fit()
    table = str(expected.summary()).splitlines()
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "educ" in line or "C(g)" in line] == [
        line for line in table if "educ" in line or "C(g)" in line
    ]


def test_booleans_are_categories_and_numbers_as_in_patsy():
    flag = EDUC > 10
    for values in (
        pd.Series(flag),
        pd.Series(flag, dtype="boolean"),
        pd.Series(flag).astype(pd.ArrowDtype(pa.bool_())),
    ):
        data = pd.DataFrame({"wage": WAGE, "flag": values, "exper": EXPER.astype("int8")})
        assert bh.ols("wage ~ flag", data).exog_names == ["Intercept", "flag[T.True]"]
        assert np.array_equal(bh.ols("wage ~ I(flag * 300)", data).exog.iloc[:, 1], flag * 300)
        assert np.array_equal(bh.ols("wage ~ I(flag * exper * exper)", data).exog.iloc[:, 1], flag * EXPER**2)
        res = bh.ols("wage ~ flag + exper", data).fit()
        np.testing.assert_allclose(
            res.predict(data.assign(flag=flag.astype(int)).head()), res.fittedvalues[:5], rtol=1e-12
        )


def test_the_data_stay_as_they_were():
    data = pd.DataFrame({name: values.astype("int8") for name, values in integers().items()})
    before = data.copy(deep=True)
    bh.ols("wage ~ C(g) + educ*exper + I(educ**2)", data).fit().predict(data)
    pd.testing.assert_frame_equal(data, before)
