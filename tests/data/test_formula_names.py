"""No column of a formula takes another's place, whatever they are called."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh

# Two fits of the same columns by the same solver, under other names.
ROUNDING = 1e-9
N = 120
R = np.random.default_rng(7)
A, B, U, Y = (R.normal(size=N) for _ in range(4))
G = R.choice(["a", "b", "c"], N)

# A formula, the columns of the data, and a formula of plain names on columns that are named plainly.
CASES = {
    "a column called Intercept": ("y ~ Intercept + b", {"Intercept": A, "b": B}, ["Intercept", "`Intercept`", "b"], "y ~ A + B"),
    "a quoted one": ("y ~ b + `Intercept`", {"Intercept": A, "b": B}, ["Intercept", "b", "`Intercept`"], "y ~ B + A"),
    "no constant": ("y ~ 0 + Intercept + b", {"Intercept": A, "b": B}, ["Intercept", "b"], "y ~ 0 + A + B"),
    "numbers": ("`0` ~ `1` + `2`", {"0": Y, "1": A, "2": B}, ["Intercept", "1", "2"], "y ~ A + B"),
    "numbers, no constant": ("`0` ~ 0 + `1` + `2`", {"0": Y, "1": A, "2": B}, ["1", "2"], "y ~ 0 + A + B"),
    "numbers, multiplied": ("`0` ~ `1` * `2`", {"0": Y, "1": A, "2": B}, ["Intercept", "1", "2", "1:2"], "y ~ A * B"),
    "numbers, without one": ("`0` ~ `1` + `2` - `2`", {"0": Y, "1": A, "2": B}, ["Intercept", "1"], "y ~ A"),
    "zero on the right": ("y ~ `0` + `-1`", {"0": A, "-1": B}, ["Intercept", "0", "-1"], "y ~ A + B"),
    "decimals": ("y ~ `1.5` + `1e3`", {"1.5": A, "1e3": B}, ["Intercept", "1.5", "1e3"], "y ~ A + B"),
    "a product": ("y ~ a:b + `a:b`", {"a": A, "b": B, "a:b": U}, ["Intercept", "a:b", "`a:b`"], "y ~ A:B + U"),
    "all of a product": ("y ~ a*b + `a:b`", {"a": A, "b": B, "a:b": U}, ["Intercept", "a", "b", "a:b", "`a:b`"], "y ~ A*B + U"),
    "two products": ("y ~ a:`b:c` + `a:b`:c", {"a": A, "b:c": B, "a:b": U, "c": A + B}, ["Intercept", "a:`b:c`", "`a:b`:c"], "y ~ A:B + U:I(A + B)"),
    "a transformed column": ("y ~ I(a**2) + `I(a ** 2)`", {"a": A, "I(a ** 2)": B}, ["Intercept", "I(a ** 2)", "`I(a ** 2)`"], "y ~ I(A**2) + B"),
    "a spline": ("y ~ bs(b, df=3) + `bs(b, df=3)[1]`", {"b": B, "bs(b, df=3)[1]": A}, ["Intercept", "bs(b, df=3)[1]", "bs(b, df=3)[2]", "bs(b, df=3)[3]", "`bs(b, df=3)[1]`"], "y ~ bs(B, df=3) + A"),
    "a level": ("y ~ g + `g[T.b]`", {"g": G, "g[T.b]": A}, ["Intercept", "g[T.b]", "g[T.c]", "`g[T.b]`"], "y ~ G + A"),
    "a category's own name": ("y ~ C(g) + `C(g)`", {"g": G, "C(g)": A}, ["Intercept", "C(g)[T.b]", "C(g)[T.c]", "C(g)"], "y ~ C(G) + A"),
    "operators": ("y ~ `a+b` + `a-b` + `a|b`", {"a+b": A, "a-b": B, "a|b": U}, ["Intercept", "a+b", "a-b", "a|b"], "y ~ A + B + U"),
    "quotation marks": ("y ~ I(`it's`*2) + `that's`", {"it's": A, "that's": B}, ["Intercept", "I(`it's` * 2)", "that's"], "y ~ I(A*2) + B"),
    "spaces": ("y ~ `a b` + a_b + I(`a b` * a_b)", {"a b": A, "a_b": B}, ["Intercept", "a b", "a_b", "I(`a b` * a_b)"], "y ~ A + B + I(A*B)"),
    "two of one identifier": ("y ~ center(`a b`) + center(`a.b`)", {"a b": A, "a.b": B}, ["Intercept", "center(`a b`)", "center(`a.b`)"], "y ~ center(A) + center(B)"),
    "words of Python": ("y ~ `class` + I(`if`*2)", {"class": A, "if": B}, ["Intercept", "class", "I(`if` * 2)"], "y ~ A + I(B*2)"),
    "the response": ("`y~x` ~ a", {"y~x": Y, "a": A}, ["Intercept", "a"], "y ~ A"),
}  # fmt: skip
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table, "dict": dict}


@pytest.fixture(params=CASES)
def case(request):
    formula, columns, names, plain = CASES[request.param]
    return formula, {"y": Y, **columns}, names, bh.ols(plain, {"y": Y, "A": A, "B": B, "U": U, "G": G})


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_column_is_lost(case, library):
    """The columns are those of the same formula in plain names."""
    formula, columns, names, plain = case
    model = bh.ols(formula, LIBRARIES[library](columns))
    assert model.exog_names == names
    np.testing.assert_allclose(np.asarray(model.exog), np.asarray(plain.exog), rtol=1e-14)
    np.testing.assert_array_equal(model.endog, Y)


def test_the_names_are_usable(case, tmp_path):
    """Tests by name and by term, predictions, summaries, files."""
    formula, columns, names, plain = case
    res, other = bh.ols(formula, pd.DataFrame(columns)).fit("HC1"), plain.fit("HC1")
    for i, name in enumerate(names):
        np.testing.assert_allclose(res.t_test(f"{name} = 0").tvalue, other.tvalues.iloc[i], rtol=ROUNDING)
        assert res.params[name] == res.params.iloc[i]
    table, expected = res.wald_test_terms(), other.wald_test_terms()
    assert len(set(table.table.index)) == len(expected.table)
    np.testing.assert_allclose(table.table["pvalue"], expected.table["pvalue"], rtol=1e-7)
    new = pd.DataFrame({name: values[:6] for name, values in columns.items()})
    np.testing.assert_allclose(res.predict(new), res.fittedvalues[:6], rtol=1e-12)
    again = bh.load(res.save(tmp_path / "names.betahat"))
    np.testing.assert_allclose(again.predict(new), res.fittedvalues[:6], rtol=1e-12)
    assert all(name in str(res.summary()) for name in names)


def test_columns_that_are_numbers():
    """Labels of pandas that are no words are named by what they print."""
    frame = pd.DataFrame({0: Y, 1: A, 2: B, "g": G})
    model = bh.ols("`0` ~ `1` * `2` + g", frame)
    assert model.exog_names == ["Intercept", "g[T.b]", "g[T.c]", "1", "2", "1:2"]
    np.testing.assert_array_equal(model.exog["1:2"], A * B)
    res = model.fit("HC1")
    np.testing.assert_allclose(res.predict(frame.head()), res.fittedvalues.head(), rtol=1e-12)
    assert np.array_equal(bh.ols("`0` ~ Q('1') + I(`2`**2)", frame).exog, np.column_stack([np.ones(N), A, B**2]))
    with pytest.raises(bh.DataError, match="share a name: '1'"):
        bh.ols("`0` ~ `1`", frame.assign(**{"1": U}))


def test_levels_that_print_alike():
    """The number 1 and the word 1 are two levels."""
    mixed = np.array([1, "1", 2], dtype=object)[R.integers(0, 3, N)]
    model = bh.ols("y ~ C(g)", {"y": Y, "g": mixed})
    assert model.exog.shape[1] == 3
    assert len(set(model.exog_names)) == 3
    res = model.fit()
    np.testing.assert_allclose(res.predict({"g": mixed[:9]}), res.fittedvalues[:9], rtol=1e-12)
    assert bh.ols("y ~ g", {"y": Y, "g": mixed}).exog.shape[1] == 3


def test_other_models_keep_their_columns():
    data = {"Intercept": A, "a:b": B, "a": A, "b": B, "k": R.integers(0, 2, N), "y": R.integers(0, 3, N)}
    for fit, formula in (
        (bh.logit, "k ~ Intercept + b"),
        (bh.poisson, "y ~ Intercept + b"),
        (bh.probit, "k ~ a:b + `a:b`"),
    ):
        assert len(fit(formula, data).fit().params) == 3
    assert bh.mnlogit("y ~ Intercept + `a:b`", data).fit().params.shape == (3, 2)
    assert bh.wls("y ~ Intercept + b", data, weights=np.ones(N)).exog_names == ["Intercept", "`Intercept`", "b"]


def test_a_transformation_learns_of_its_own_column():
    """Columns whose names are alike do not share a centre, nor does a formula that centres twice learn anew."""
    data = pd.DataFrame({"y": Y, "a b": A + 5, "a.b": B - 3, "a_b": U})
    res = bh.ols("y ~ center(`a b`) + center(`a.b`) + center(a_b) + I(center(a_b)**2 + center(a_b))", data).fit()
    np.testing.assert_allclose(res.predict(data.iloc[[8]]), res.fittedvalues.iloc[[8]], rtol=1e-12)
    wider = data.iloc[[8, 9]].assign(a_b_=1.0, _a_b=2.0)
    np.testing.assert_allclose(res.predict(wider), res.fittedvalues.iloc[[8, 9]], rtol=1e-12)


@pytest.mark.parametrize(
    "formula", ["y ~ I(`a b`*`a b`) + center(`a b`*`a.b`)", "I(`a b`+`a b`) ~ `a.b` + a_b", "y ~ `a b`:`a.b`"]
)
def test_numpys_generator_is_left_alone(formula, tmp_path):
    """Fit, predict, and predict after loading draw nothing."""
    data = pd.DataFrame({"y": Y, "a b": A, "a.b": B, "a_b": U})
    before = np.random.get_state()[1].copy(), np.random.get_state()[2]  # noqa: NPY002 the global generator is what is tested
    res = bh.ols(formula, data).fit()
    res.predict(data)
    bh.load(res.save(tmp_path / "quoted.betahat")).predict(data)
    after = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(before[0], after[1])
    assert before[1] == after[2]


def test_a_number_in_a_restriction_is_no_column():
    """What stands alone after = is a number, although a column has its name."""
    named = bh.OLS(Y, pd.DataFrame({0: np.ones(N), 1: A, 2: B})).fit()
    plain = bh.OLS(Y, np.column_stack([np.ones(N), A, B])).fit()
    for text, matrix in {
        "1 = 0": [[0, 1, 0]],
        "1 - 2 = 0": [[0, 1, -1]],
        "`1` = `2`": [[0, 1, -1]],
        "1 = 0, 2 = 0": [[0, 1, 0], [0, 0, 1]],
        "1": [[0, 1, 0]],
    }.items():
        np.testing.assert_allclose(
            named.wald_test(text).pvalue, plain.wald_test(np.array(matrix)).pvalue, rtol=ROUNDING
        )
    expected = plain.t_test(([[0, 1, 0]], [2])).tvalue
    for given in ("1 = 2", {"1": 2}, ["1 = 2"]):
        np.testing.assert_allclose(named.t_test(given).tvalue, expected, rtol=ROUNDING)
    spline = bh.ols("y ~ bs(b, df=3) + `1` + `3`", {"y": Y, "b": B, "1": A, "3": U}).fit()
    np.testing.assert_allclose(
        spline.t_test("bs(b, df=3)[1] = 3").effect[0], spline.params["bs(b, df=3)[1]"], rtol=1e-14
    )


def test_a_variable_of_the_caller_called_as_a_function_is(tmp_path):
    """What is called is the function, after loading too."""
    source = "C, center, np_ = 3.0, 2.0, 1.0; res = bh.ols('y ~ C(g) + center(a) + I(a * np_)', data).fit(rank='drop')"
    names = {"bh": bh, "data": pd.DataFrame({"y": Y, "g": G, "a": A**2})}
    with pytest.warns(bh.CollinearityWarning):
        exec(source, names)
    res = names["res"]
    again = bh.load(res.save(tmp_path / "called.betahat"))
    np.testing.assert_allclose(again.predict(names["data"]), res.fittedvalues, rtol=1e-12)
