"""A small file makes nothing large: what a stored formula may make is bounded by what it names, whatever its spelling."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.data.formulas.allowed import allowed_names
from betahat.data.formulas.formula import rebuilt
from betahat.data.formulas.harmless import harm
from betahat.data.formulas.stored import StoredFactor, StoredFormula, StoredPart, StoredTerm, stored_formula

# What refusing one formula may take, on a busy machine, and what its file names is a thousand times less.
SECONDS, BYTES = 5.0, 20e6

N = 60
R = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"x": R.normal(size=N), "z": R.uniform(1.0, 2.0, N), "c": R.choice(["a", "b", "c"], N), "g": np.arange(N) % 12}
)
FRAME["two words"] = R.normal(size=N)
FRAME["y"] = FRAME.x + R.normal(size=N)
NEW = FRAME.drop(columns="y").head(50)
MANY = tuple(f"level {i}" for i in range(10_000))


def factor(levels=None, method="python"):
    kind = "numerical" if levels is None else "categorical"
    return StoredFactor(method, "unknown", kind, {} if levels is None else {"categories": list(levels)})


def formula(factors, terms=None, learnt=None, context=None):
    """Return a formula as a file may hold it; each term is the product of some factors and has one column."""
    terms = [tuple(factors)] if terms is None else terms
    made = tuple(
        StoredTerm(term, (StoredPart(tuple((f, False) for f in term), 1.0),), (":".join(term),)) for term in terms
    )
    return StoredFormula(
        "y ~ x + z + c + g + `two words`", factors, made, learnt or {}, context or {}, {}, (), ("x",), ()
    )


def number(expression, **given):
    return formula({expression: factor()}, **given)


def category(expression, levels=MANY, method="python", columns=1, reduced=True, **given):
    made = formula({expression: factor(levels, method)}, **given)
    part = StoredPart(((expression, reduced),), 1.0)
    return replace(made, terms=(StoredTerm((expression,), (part,), tuple(f"[{i}]" for i in range(columns))),))


HOSTILE = {
    "a computed size": lambda: number("bs(x, df=3000*3000)"),
    "a sum": lambda: number("bs(x, df=1000+1000)"),
    "a negative of a negative": lambda: number("bs(x, df=--10000)"),
    "a power": lambda: number("bs(x, df=10**10)"),
    "a tower": lambda: number("bs(x, df=10**10**10)"),
    "a function": lambda: number("bs(x, df=np.int64(10**9))"),
    "a float": lambda: number("bs(x, df=float(10000))"),
    "an absolute": lambda: number("poly(x, degree=abs(10000))"),
    "a true size": lambda: number("poly(x, degree=I(999))"),
    "a column as a size": lambda: number("poly(x, g)"),
    "by position": lambda: number("bs(x, 9000000)"),
    "a later position": lambda: number("bs(x, 5, None, 9000000)"),
    "a degree": lambda: number("bs(x, degree=999)"),
    "a degree of a polynomial": lambda: number("poly(x, degree=999)"),
    "a degree of thirty-one": lambda: number("bs(x, df=900, degree=31)"),
    "a user's size": lambda: number("bs(x, df=size)", context={"size": 10**7}),
    "more than is named": lambda: number("bs(x, df=50)"),
    "a list of knots": lambda: number(f"bs(x, knots={list(range(2000))})"),
    "a user's list of knots": lambda: number("bs(x, knots=many)", context={"many": list(range(2000))}),
    "knots that were learnt": lambda: number("bs(x, df=4)", learnt={"bs(x, df=4)": {"knots": list(range(10**5))}}),
    "a few knots that were learnt": lambda: number("bs(x, df=4)", learnt={"bs(x, df=4)": {"knots": list(range(50))}}),
    "knots in knots": lambda: number("cr(x, df=4)", learnt={"cr(x, df=4)": {"knots": [[0.0] * 9] * 9}}),
    "knots of words": lambda: number("cr(x, df=4)", learnt={"cr(x, df=4)": {"knots": "a" * 1000}}),
    "a wide constraint": lambda: number("cr(x, df=4)", learnt={"cr(x, df=4)": {"constraints": np.ones((1, 2000))}}),
    "a centre that spreads": lambda: number("center(x)", learnt={"center(x)": {"center": np.ones((9000, 1))}}),
    "a scale that spreads": lambda: number("scale(x)", learnt={"scale(x)": {"scale": [[1.0]] * 9000}}),
    "what is never learnt": lambda: number("center(x)", learnt={"center(x)": {"other": 1.0}}),
    "no record of learning": lambda: number("center(x)", learnt={"center(x)": 3.0}),
    "a product of splines": lambda: formula({f"bs(x, df={i})": factor() for i in range(300, 310)}),
    "a product of polynomials": lambda: formula({"poly(x, 30)": factor(), "poly(z, 30)": factor()}),
    "a spline of a spline": lambda: number("bs(bs(x, df=100), df=100)"),
    "a spline of a polynomial": lambda: number("bs(poly(x, 100), df=100)"),
    "a polynomial of a spline": lambda: number("poly(center(poly(x, 100)), 100)"),
    "splines that are held at once": lambda: number("+".join(f"(poly(x, 900) * {i}" for i in range(40)) + ")" * 40),
    "a sum of splines": lambda: number("+".join(["poly(x, 900)"] * 40)),
    "terms without columns": lambda: replace(number("poly(x, 900)"), terms=(StoredTerm(("poly(x, 900)",), (), ()),)),
    "parts without a term": lambda: replace(
        number("x"), terms=(StoredTerm(("x",), (StoredPart((("poly(x, 900)", False),), 1.0),), ("x",)),)
    ),
    "an unknown factor": lambda: replace(number("x"), terms=(StoredTerm(("z",), (), ()),)),
    "levels": lambda: category("C(c)"),
    "levels of a name": lambda: category("c", method="lookup"),
    "levels of contrasts": lambda: category("C(c, contr.sum)"),
    "levels of contrasts that are named": lambda: category("C(c, Poly)", columns=len(MANY)),
    "levels of contrasts that are called": lambda: category("C(c, Helmert())", columns=len(MANY)),
    "levels of contrasts in brackets": lambda: category("I(C(c, Diff))", columns=len(MANY)),
    "levels by the option": lambda: category("C(c, contrasts=contr.poly)", columns=len(MANY)),
    "levels of the user's": lambda: category("C(c, levels=many)", ("a", "b"), context={"many": list(MANY)}),
    "no levels": lambda: replace(
        category("C(c)"), factors={"C(c)": StoredFactor("python", "unknown", "categorical", {})}
    ),
    "levels that are a word": lambda: replace(
        category("C(c)"),
        factors={"C(c)": StoredFactor("python", "unknown", "categorical", {"categories": "a" * 10_000})},
    ),
    "a product of levels": lambda: formula({"C(c)": factor(MANY[:100]), "C(g)": factor(MANY[:100])}),
    "a wide matrix of contrasts": lambda: category("C(c, m)", ("a", "b"), context={"m": np.ones((2, 5000))}),
    "contrasts that are a list": lambda: category("C(c, [[1], [2]])", ("a", "b")),
    "scores that are computed": lambda: category("C(c, Poly([1] * 10**9))", ("a", "b")),
    "words times a number": lambda: category("C(c, levels=['a' * 10**9])", ("a", "b")),
    "categories of categories": lambda: category("C(C(c))", ("a", "b"), columns=2),
    "a sum of categories": lambda: number("C(c) + 1"),
    "a matrix product": lambda: number("np.matmul(x, x)"),
    "an outer product": lambda: number("np.multiply.outer(x, x)"),
    "an operator for matrices": lambda: number("x @ x"),
    "decimals without end": lambda: number("round(5, -1000000000) + x"),
    "decimals": lambda: number("round(x, 10**9)"),
    "a tower of numbers": lambda: number("x + 10**10**10"),
    "a shift": lambda: number("x + (1 << 1000000000)"),
    "numbers that grow": lambda: number("x + " + "*".join(["999999999"] * 1000)),
    "a power of numbers": lambda: number("(9 + 9)**x**(9**9**9)"),
    "deep brackets": lambda: number("(" * 150 + "x" + ")" * 150 + "+" * 3 + "x" + "**2" * 200),
    "deep signs": lambda: number("-" * 9_000 + "x"),
    "deep calls": lambda: number("np.abs(" * 90 + "x" + ")" * 90),
    "deeper calls": lambda: number("I(" * 3000 + "x" + ")" * 3000),
    "deep arithmetic on the right": lambda: number("x-(" * 90 + "x" + ")" * 90),
    "a long sum": lambda: number("+".join(["x"] * 6_000)),
    "a long comparison": lambda: number("<".join(["np.abs(x)"] * 1_200)),
    "many brackets": lambda: number("[" * 5000 + "]" * 5000),
    "a long call": lambda: number("np.log(" + "x," * 4000 + ")"),
    "a method by a name": lambda: formula({"x.to_csv": factor(method="lookup")}),
    "a call by a name": lambda: formula({"x.to_csv('/tmp/never')": factor(method="lookup")}),
    "a property by a name": lambda: formula({"x.values": factor(method="lookup")}),
    "a word of Python by a name": lambda: formula({"len": factor(method="lookup")}),
    "a matrix of the user's": lambda: formula({"m": factor(method="lookup")}, context={"m": np.ones((50, 900))}),
    "a method": lambda: number("x.repeat(10**9)"),
    "an item": lambda: number("x[[0] * 10**9]"),
    "a builtin": lambda: number("sum([x] * 10**9)"),
    "a range": lambda: number("np.arange(10**9)"),
    "ones": lambda: number("np.ones(10**9)"),
    "another column": lambda: number("Q('y' * 10**9)"),
    "a format": lambda: number("Q('%999999999d' % 1)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_small_file_makes_nothing_large(name):
    hostile = HOSTILE[name]()
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(bh.FormulaError, match="not evaluated"):
            hostile.regressors(NEW)
        took, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < SECONDS
    assert most < BYTES


HARMLESS = [
    *(
        "bs(x, df=5)",
        "bs(x, df=5, degree=2)",
        "bs(x, df=6, include_intercept=True)",
        "bs(x, knots=[-0.5, 0.5])",
        "bs(x)",
    ),
    *(
        "bs(x, 4) + bs(z, knots=knots)",
        "0 + bs(x, df=6, include_intercept=True)",
        "bs(x, df=df)",
        "bs(x, degree=1, df=3)",
    ),
    *("cr(x, df=5)", "cc(x, df=5)", "cs(x, df=4)", "cr(x, df=5, constraints='center')", "cr(z, knots=[1.2, 1.5])"),
    *("poly(x, 4)", "poly(x, degree=4, raw=True)", "poly(x)", "np.exp(poly(x, 2))", "center(poly(x, 3))"),
    *("center(x) + scale(np.log(z)) + standardize(x)", "scale(x, center=False)", "center(`two words`) * bs(x, df=4)"),
    *(
        "C(c) * C(g)",
        "c:C(g, Sum)",
        "0 + C(g, Poly):x",
        "C(c, Treatment('b')):bs(x, df=3)",
        "C(g, contr.helmert) + c:z",
    ),
    *(
        "C(c, Diff) * poly(x, 2)",
        "C(c, matrix)",
        "0 + C(c, matrix)",
        "C(c, levels=['c', 'b', 'a'])",
        "C(c, levels=order)",
    ),
    *(
        "C(c, contrasts=contr.sum)",
        "C(c, contrast=Sum)",
        "c + x:c",
        "0 + c + x:c + g:c",
        "(x > 0):z",
        "(x > 0) * c",
        "C(x > 0)",
    ),
    *(
        "abs(x) + round(z, 1) + I(x * float(2))",
        "Q('two words') + i(c, x, ref='a') + i(g, C(c), keep=[1, 2, 3])",
        "i(g, bin={0: [0, 1, 2]}, ref=0) + i(g, ref=[1, 5])",
        "I(x - x - x - z)",
        "I(2 * (3 + x))",
        "x**3 + {x**9}",
    ),
    *("np.where(c == 'a', x, 0)", "C(np.where(x > 0, 'up', 'down'))", "I(x + " + "+".join(["z"] * 200) + ")"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_bounded_predicts_after_loading(text, tmp_path):
    """The count of the columns is exact: no formula that betahat stores is refused."""
    knots, df, order, matrix = [1.3, 1.6], 4, ["b", "a", "c"], np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])  # noqa: F841
    made = bh.ols(f"y ~ {text}", FRAME)
    source = stored_formula(made.source)
    np.testing.assert_array_equal(source.regressors(FRAME), made.source.regressors(FRAME))
    np.testing.assert_allclose(source.regressors(FRAME).loc[made.exog.index], made.exog, rtol=1e-12, atol=1e-12)


def test_contrasts_of_many_levels_are_refused_and_indicators_are_not():
    name = "C(c, Treatment('level 3'))"
    columns = tuple(f"{name}[T.{level}]" for level in MANY[:2000] if level != "level 3")
    indicators = category(name, MANY[:2000])
    indicators = replace(indicators, terms=(replace(indicators.terms[0], columns=columns),))
    new = pd.DataFrame({"c": ["level 7", "level 3"]})
    assert indicators.regressors(new).shape == (2, 1999)
    with pytest.raises(bh.FormulaError, match="contrasts of 2000 levels"):
        category("C(c, Sum)", MANY[:2000], columns=1999).regressors(new)


def test_a_name_is_no_expression_when_it_is_evaluated():
    """What the check holds back would otherwise be a property at most, and never a call."""
    spec = formula({"x.to_csv('/tmp/never')": factor(method="lookup")})._spec()
    with pytest.raises(bh.FormulaError):
        rebuilt("y ~ x", spec, {}, NEW)


def test_the_check_itself_takes_no_longer_than_the_expression():
    names = allowed_names(NEW, {}, {}, ())
    began = time.process_time()
    assert harm("+".join(["x"] * 900), names) is None
    assert time.process_time() - began < SECONDS
