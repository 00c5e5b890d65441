"""Expressions in formulas: what statsmodels' patsy takes is taken, under its names; nothing runs before it is checked."""

import numpy as np
import pandas as pd
import patsy
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh

# Centres and contrasts are the same sums in another order of operations.
ROUNDING = 1e-12

N = 80
R = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "y": R.normal(size=N),
        "x": R.uniform(1, 5, N),
        "z": R.normal(size=N),
        "e": R.uniform(1, 3, N),
        "g": R.choice(["a", "b", "c", "d", "e"], N),
        "k": R.poisson(2, N),
        "day": pd.date_range("2020-01-01", periods=N),
        "two words": R.uniform(1, 2, N),
    }
)

EXPRESSIONS = [
    *("abs(z)", "I(round(x))", "round(x, 1)", "I(x*float(2))", "I(x * int(2))", "I(x*max(1, 2))", "I(x/min(2,3))"),
    *("I(x/len(x))", "pow(x, 2)", "I(x * sum([1, 2]))", "x.astype(int)", "x.apply(abs)", "np.asarray(list(x))"),
    *(
        "(x > 2)",
        "(x > 0)",
        "C(x > 0)",
        "(x < 0):z",
        "x>2",
        "x <= z",
        "x != 2",
        "(g=='a')",
        'g == "a"',
        "x % 2",
        "x//2",
        "z > 0 if 1 else x",
        "(x > 2):z",
    ),
    *("day.dt.month", "day.dt.day", "C(day.dt.month)", "g.str.len()", "g.str.upper()", "g.isin(['a','b'])", "x.values"),
    *("np.log(x).diff()", "np.log( x ).diff().shift(1)", "x.rank()", "x.clip(2, 3)", "x.where(x > 2, 0)", "x.shift()"),
    *(
        'Q("x")',
        "Q('two words')",
        'np.where(g=="a", x, 0)',
        "I((x>2) & (z>0))",
        "I(x**2 + 1e-5)",
        "I((x))",
        "I(x*True)",
    ),
    *("standardize(x)", "center(x)", "center(np.log(x))", "np.column_stack([x, z])", "I(-x)", "I(x - -1)"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_are_patsys(expression):
    """Values and names are those that statsmodels gets."""
    formula = f"y ~ e + {expression}"
    _, right = patsy.dmatrices(formula, FRAME, return_type="dataframe")
    model = bh.ols(formula, FRAME)
    assert model.exog_names == list(right.columns)
    np.testing.assert_allclose(model.exog, right, rtol=ROUNDING)


class Simple:
    """A contrast of a user's, as in statsmodels' page on contrasts."""

    def code_without_intercept(self, levels):
        matrix = np.eye(len(levels))[:, 1:] - 1 / len(levels)
        return patsy.ContrastMatrix(matrix, [f"[Simp.{level}]" for level in levels[1:]])

    def code_with_intercept(self, levels):
        return patsy.ContrastMatrix(np.eye(len(levels)), [f"[Simp.{level}]" for level in levels])


MATRIX = np.vander(np.arange(5.0), 5)[:, 3:0:-1]
CONTRASTS = [
    *("Treatment", "Sum", "Helmert", "Diff", "Poly", 'Treatment("b")', "Treatment('b')", "Treatment(reference='b')"),
    *(
        "Treatment(1)",
        'Sum("b")',
        "Sum(omit='b')",
        "Poly([1, 2, 4, 8, 16])",
        "patsy.Diff",
        "Simple",
        "Simple()",
        "MATRIX",
    ),
]


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize(
    "formula", ["y ~ C(g, {})", "y ~ 0 + C(g, {})", "y ~ C(g, {}):z + C(k > 2, Sum)", "y ~ C(g,{})*z - 1"]
)
def test_contrasts_are_patsys(contrast, formula):
    formula = formula.format(contrast)
    _, right = patsy.dmatrices(formula, FRAME, return_type="dataframe")
    model = bh.ols(formula, FRAME)
    assert model.exog_names == list(right.columns)
    np.testing.assert_allclose(model.exog, right, rtol=ROUNDING, atol=ROUNDING)
    rows = FRAME.iloc[[3, 17, 40]]
    res = model.fit()
    np.testing.assert_allclose(res.predict(rows), res.fittedvalues[rows.index], rtol=1e-9)


@pytest.mark.parametrize(
    ("contrast", "reason"),
    [
        ('Treatment("z")', "there is no level 'z'"),
        ("Treatment(5)", "there is no level 5"),
        ("np.eye(3)", "3 rows for 5 levels"),
        ("Poly([1, 2])", "does not match"),
    ],
)
def test_contrasts_that_do_not_fit(contrast, reason):
    with pytest.raises(bh.FormulaError, match=reason):
        bh.ols(f"y ~ C(g, {contrast})", FRAME)


@pytest.mark.parametrize(
    "name", ["C", "I", "Q", "np", "bs", "center", "contr", "abs", "max", "len", "Treatment", "pd", "log"]
)
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
def test_a_column_may_have_the_name_of_a_function(name, library):
    """A name that is called is no column; one that is not called is."""
    frame = FRAME.rename(columns={"z": name}).drop(columns=["day", "two words"])
    make = {
        "pandas": lambda frame: frame,
        "polars": pl.DataFrame,
        "pyarrow": pa.Table.from_pandas,
        "dict": lambda frame: frame.to_dict("list"),
    }
    formula = (
        "y ~ {0} + C(g, Treatment('b')) + I({0}**2) + np.exp({0}) + bs(x, df=4) + center({0}**3) + abs({0}) + log(x)"
    )
    expected = bh.ols(formula.format("z"), FRAME)
    model = bh.ols(formula.format(name), make[library](frame))
    assert np.array_equal(model.exog.to_numpy(), expected.exog.to_numpy())
    assert model.exog_names[5] == name
    res = model.fit()
    np.testing.assert_allclose(res.predict(make[library](frame.head(9))), res.fittedvalues.head(9), rtol=1e-9)


def test_a_name_of_the_callers_that_cannot_be_called_is_no_function():
    C = 3.0  # noqa: F841
    log = "a word"  # noqa: F841
    assert bh.ols("y ~ C(g) + log(x) + I(C * x)", FRAME).exog_names[-1] == "I(C * x)"


@pytest.mark.parametrize("transformation", ["center", "scale", "standardize"])
@pytest.mark.parametrize("gap", [np.nan, None])
def test_one_missing_value_is_one_missing_row(transformation, gap):
    """As in R: the mean and the standard deviation are those of the values that are there."""
    frame = FRAME.assign(x=FRAME["x"].astype(object).where(FRAME.index != 7, gap).astype(float))
    model = bh.ols(f"y ~ {transformation}(x)", frame)
    there = FRAME["x"].drop(7)
    ddof = {"center": None, "scale": 1, "standardize": 0}[transformation]
    expected = (there - there.mean()) / (1.0 if ddof is None else there.std(ddof=ddof))
    assert model.nobs == N - 1
    np.testing.assert_allclose(model.exog.iloc[:, 1], expected, rtol=ROUNDING)
    assert len(bh.ols(f"y ~ {transformation}(np.column_stack([x, z]))", frame).exog_names) == 3


def test_what_transformations_learn_is_told_apart_by_names():
    """Two names in backticks may look alike once they are identifiers."""
    frame = FRAME.assign(**{"a b": FRAME["x"], "a-b": FRAME["z"], "a_b": FRAME["e"]})
    res = bh.ols("y ~ center(`a b`) + center(`a-b`) + center(a_b)", frame).fit()
    assert res.model.exog_names[1:] == ["center(`a b`)", "center(`a-b`)", "center(a_b)"]
    for column, name in zip(res.model.exog_names[1:], ["a b", "a-b", "a_b"], strict=True):
        np.testing.assert_allclose(res.model.exog[column], frame[name] - frame[name].mean(), rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(frame.head(3)), res.fittedvalues.head(3), rtol=ROUNDING)


def test_formulas_draw_no_random_numbers():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bh.ols("y ~ np.log(`two words`) + two_words", FRAME.assign(two_words=FRAME["x"])).fit().predict(
        FRAME.assign(two_words=FRAME["x"])
    )
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


VECTORS = {
    "array": lambda: FRAME["z"].to_numpy() ** 2,
    "list": (FRAME["z"] ** 2).tolist,
    "tensor": lambda: torch.tensor(FRAME["z"].to_numpy()) ** 2,
    "series": lambda: FRAME["z"] ** 2,
    "polars": lambda: pl.Series(FRAME["z"].to_numpy() ** 2),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_vectors_of_the_callers(kind):
    vector = VECTORS[kind]()  # noqa: F841
    found = bh.ols("y ~ vector + x", FRAME)
    np.testing.assert_allclose(found.exog["vector"], FRAME["z"] ** 2, rtol=ROUNDING)


def test_a_series_of_the_callers_has_the_datas_labels():
    """Rows belong together by their labels, or there is an error."""
    frame = FRAME.sample(frac=1.0, random_state=1)
    series = frame["z"] ** 2  # noqa: F841
    other = FRAME["z"] ** 2  # noqa: F841
    np.testing.assert_array_equal(bh.ols("y ~ I(x + series)", frame).exog.iloc[:, 1], frame["x"] + frame["z"] ** 2)
    for formula in ("y ~ other", "y ~ I(x + other)"):
        with pytest.raises(bh.DataError, match=r"indices of other and data differ.*other\.loc\[data\.index\]"):
            bh.ols(formula, frame)
    with pytest.raises(bh.FormulaError, match="labelled differently"):
        bh.ols("y ~ x.sort_values()", FRAME)


def test_vectors_of_another_length():
    vector = np.arange(81.0)  # noqa: F841
    for formula in ("y ~ vector", "y ~ x + np.abs(vector)", "vector ~ x", "y ~ np.arange(3)"):
        with pytest.raises(bh.FormulaError, match=r"(81|3) values, but the data have 80 rows"):
            bh.ols(formula, FRAME)
    inside = np.arange(80.0)  # noqa: F841
    with pytest.raises(bh.FormulaError, match="'inside' has 80 values, but the data have 3 rows"):
        bh.ols("y ~ inside", FRAME).fit().predict(FRAME.head(3))


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("y ~ x z", "no operator between 'x' and 'z'"),
        ("y ~ x 2", "no operator between"),
        ("y ~ np.log(x", r"'\)' is missing"),
        ("y ~ (x + z", "cannot be read"),
        ("y ~ x + z)", "cannot be read"),
        ("y ~ f(x]", "closed by one of another kind"),
        ("y ~ Q('x", "quotation mark"),
        ("y ~ `x", "backtick"),
        ("y ~ x >", "not a Python expression"),
        ("y ~ np.log(x,,z)", "not a Python expression"),
        ("y ~ x + ?", "is not a name"),
        ("y ~ x.", "neither in the data"),
        ("y ~ np", "a module"),
        ("y ~ len", "refers to 'len'"),
        ("y ~ I(len)", "a builtin_function"),
        ("y ~ I(None)", "NoneType"),
        ("y ~ 'x'", "cannot be read"),
        ("y ~ .", "cannot be read"),
        ("y ~ x.nothing()", "cannot be evaluated"),
        ("y ~ I(" + "(" * 1000 + "x" + ")" * 1001, "not a Python expression"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(formula, reason):
    with pytest.raises(bh.FormulaError, match=reason):
        bh.ols(formula, FRAME)


CALLED: list[str] = []


def touched(*_):
    CALLED.append("touched")
    return np.log


@pytest.mark.parametrize(
    "formula",
    [
        *(
            "y ~ touched()(x) + nobody",
            "touched()(y) ~ nobody",
            "y ~ touched().sum() + x +",
            "y ~ touched()(x) | nobody",
        ),
        *(
            "y ~ center(touched()(x)).nothing() + nobody",
            "y ~ touched()(x) z",
            "touched()(y)",
            "y ~ Q(touched()) + nobody",
        ),
    ],
)
def test_nothing_runs_of_a_formula_that_is_refused(formula):
    """Neither the head of a call, nor an argument of Q."""
    CALLED.clear()
    with pytest.raises(bh.FormulaError):
        bh.ols(formula, FRAME)
    assert not CALLED


def test_an_expression_runs_once():
    CALLED.clear()
    bh.ols("y ~ touched()(x)", FRAME)
    assert CALLED == ["touched"]
