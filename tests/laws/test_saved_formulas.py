"""A file runs no code: a formula's expressions are evaluated only where they are harmless."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from support.closeness import same
from support.saved import FRAME, NEW, agree, forged, replaced_factor

import betahat as bh
from betahat.data.formulas.allowed import allowed_names
from betahat.data.formulas.formula import rebuilt
from betahat.data.formulas.harmless import harm
from betahat.data.formulas.stored import StoredFormula
from betahat.resampling.weights import Multinomial

SHIFT = 0.25


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        yield


# broken files and bad places


@pytest.fixture
def saved(tmp_path):
    return bh.ols("y ~ np.log(z) + C(c)", FRAME).fit("HC1").save(tmp_path / "r")


CANARY = "__import__('pathlib').Path({path!r}).touch()"
WATCHED = (
    "exec",
    "compile",
    "pickle.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess",
    "marshal.",
    "code.__new__",
    "ctypes",
)
SEEN: list[str] | None = None


def _watch(event, arguments):
    if SEEN is not None and event.startswith(WATCHED):
        SEEN.append(f"{event} {arguments!r:.200}")


def test_loading_compiles_and_executes_nothing(saved):
    global SEEN  # noqa: PLW0603
    bh.load(saved)  # which reads the annotations of our own records, once
    sys.addaudithook(_watch)
    hostile = saved.with_name("hostile")
    hostile.write_bytes(saved.read_bytes())
    forged(hostile, replaced_factor("np.log(z)", CANARY.format(path=str(saved.with_name("canary")))))
    SEEN = []
    try:
        bh.load(saved)
        bh.load(hostile)
        assert not SEEN
        eval("1 + 1")
        assert SEEN  # the watch is on
    finally:
        SEEN = None


HOSTILE = {
    "import": CANARY,
    "in a call": "np.log(" + CANARY + " or z)",
    "lambda": "(lambda: " + CANARY + ")()",
    "list": "[" + CANARY + " for i in (1,)][0]",
    "attribute": "np.log.__class__.__base__.__subclasses__()",
    "numpy's own": "np.load('x', allow_pickle=True)",
    "numpy's function": "np.vectorize(print)(z)",
    "numpy's file": "np.fromfile({path!r})",
    "builtin": "open({path!r}, 'w')",
    "builtin as a value": "I(open)",
    "quoted builtin": "I(`open`)",
    "quoted import": "I(`__import__`)",
    "method": "z.to_csv({path!r})",
    "format": "f'{{" + CANARY + "}}'",
    "word that breaks out": 'poly(z, raw="] or ' + CANARY + ' #")',
    "quotation mark": 'C(c, levels=["a\'b"])',
    "keyword": "center(z, _state=np)",
    "out": "np.log(z, out=z)",
    "star": "np.log(*[z])",
    "walrus": "(q := z)",
    "item": "z[0]",
    "tower": "9 ** 9 ** 9 ** 9",
    "words times a number": "'a' * 10",
    "list times a number": "[0] * 10",
    "words of a column times a number": "c * 10",
    "words that a function hands on": "I('a') * 10",
    "a list that a function hands on": "I([0]) * 10",
    "words that are numbers to NumPy": "np.multiply(c, 10)",
    "a list among columns": "np.add([[1], [2]], z)",
    "two numbers of a function": "np.modf(z) * 10",
    "a format": "I('%9d') % 5",
    "integers without end": "np.square(99999999999999999999)",
    "integers that grow": "np.square(9999999999 * 9999999999)",
    "integers of objects": "np.power(z, 2, dtype='O')",
    "a truth of columns": "((z is z) + 8) ** 9",
    "not a column": "(not z) ** 9",
    "shift": "1 << 99",
    "written into": "np.log(z, z) + z",
    "written into a logarithm": "log(z, z) + z",
    "memory as it was": "np.log(z, where=False)",
    "many columns": "bs(z, df=10000)",
    "high degree": "poly(z, 10000)",
    "comment": "z # `",
    "newline": "z\n",
    "evaluator": "C(c, contr.custom(print))",
    "syntax": "z +",
    "stranger": "hashed(c, levels=3, hash_func=print)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_formula_is_never_evaluated(name, saved):
    canary = saved.with_name("canary")
    expression = HOSTILE[name].format(path=str(canary))
    forged(saved, replaced_factor("np.log(z)", expression))
    loaded = bh.load(saved)
    assert expression in loaded.model.source.factors
    agree(bh.ols("y ~ np.log(z) + C(c)", FRAME).fit("HC1").remove_data(), loaded, lambda r: iter([r.bse.to_numpy()]))
    with pytest.raises(bh.FormulaError, match="not evaluated"):
        loaded.predict(NEW)
    assert not canary.exists()


@pytest.mark.parametrize("method", ["lookup", "literal", "unknown"])
@pytest.mark.parametrize("expression", [CANARY, "Q(" + CANARY + " or 'z')", "center(" + CANARY + " or z)"])
def test_nor_one_that_claims_to_be_a_name(method, expression, saved):
    canary = saved.with_name("canary")

    def edit(tree):
        hostile = replaced_factor("np.log(z)", expression.format(path=str(canary)))(tree)
        return json.dumps(hostile).replace('"method": "python"', f'"method": "{method}"')

    loaded = bh.load(forged(saved, edit))
    with pytest.raises(bh.FormulaError):
        loaded.predict(NEW)
    assert not canary.exists()


def test_functions_are_numpys_computations_alone(saved):
    def edit(tree):
        forged = json.dumps(replaced_factor("np.log(z)", "f(z)")(tree))
        return forged.replace('"functions": {"dict": []}', '"functions": {"dict": [["f", "load"], ["g", "nowhere"]]}')

    loaded = bh.load(forged(saved, edit))
    assert loaded.model.source.functions == {"f": "load", "g": "nowhere"}
    with pytest.raises(bh.FormulaError, match=r"'f\(z\)', which is not among the computations"):
        loaded.predict(NEW)
    loaded.model.source.factors.pop("f(z)")
    with pytest.raises(bh.FormulaError, match="not evaluated"):
        loaded.predict(NEW)


@pytest.mark.parametrize("name", ["import", "lambda"])
def test_the_check_is_what_holds_it_back(name, saved):
    canary = saved.with_name("canary")
    forged(saved, replaced_factor("np.log(z)", HOSTILE[name].format(path=str(canary))))
    source = bh.load(saved).model.source
    with pytest.raises((bh.BetahatError, TypeError)):
        rebuilt(source.text, source._spec(), {}, NEW)
    assert canary.exists()


def _own(values):
    return values**2


@pytest.mark.parametrize("text", ["y ~ _own(x)", "y ~ I(x > SHIFT) + _own(z)"])
def test_functions_of_the_users_are_not_stored(text, tmp_path):
    loaded = bh.load(bh.ols(text, FRAME).fit().save(tmp_path / "r"))
    with pytest.raises(bh.FormulaError, match=r"'_own\(.\)', which is not among the computations"):
        loaded.predict(NEW)
    np.testing.assert_array_equal(loaded.predict(loaded.model.exog, transform=False), loaded.fittedvalues)


@pytest.mark.parametrize(
    ("expression", "context"),
    [
        ("word * 10", {"word": "a"}),
        ("word % 5", {"word": "%9d"}),
        ("many * 10", {"many": [0]}),
        ("large * 2", {"large": 10**30}),
        ("np.left_shift(large, 10)", {"large": 2**63}),
        ("many + x", {"many": np.ones((3, 3))}),
        ("bs(x, df=size)", {"size": 10_000}),
        ("log(x)", {"log": Multinomial(5, 5)}),
        ("np.log(x)", {"np": 1.0}),
    ],
)
def test_what_a_file_says_of_the_users_names_is_not_trusted(expression, context):
    assert harm(expression, allowed_names(NEW, context, {}, ())) == expression


def test_arithmetic_of_numbers_is_harmless():
    names = allowed_names(
        NEW.assign(day=pd.Timestamp("2020-01-01")), {"SHIFT": SHIFT, "two": 2, "few": np.ones(5)}, {}, ()
    )
    for expression in (
        *("2**x + x**z + x**20 + two**x", "x / (24 * 3600) + x / np.log(2)", "I((c == 'a') * x) - SHIFT * few"),
        *("np.clip(x, a_min=0, a_max=1) + np.round(z, 2)", "C(np.where(x > 1, 'a', 'b'))", "day - day"),
        *("np.where(c == 'a', x, -x) * 2 + Q('two words') * lag(x)", "exp2(x) + log(`two words`, ) * two"),
    ):
        assert harm(expression, names) is None, expression


logarithm = np.log
HARMLESS = (
    "np.log(z) + numpy.sqrt(z)",
    "logarithm(z) + log(z) + I(x * 2 - SHIFT) + np.where(x > SHIFT, 1, 0)",
    "C(c, Treatment('b')) + C(g, contr.sum) + bs(x, df=5, degree=2) + cr(z, df=4)",
    "poly(x, 3) + standardize(x) + center(z):C(c) + (x + z)**2",
    "`two words` + np.exp(`two words`) + Q('two words') + I((x > 0) & (z < 1.5))",
    "C(c, levels=['c', 'b', 'a']) + {x**2} + i(g, x, ref=0)",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_formulas_predict_after_loading(text, tmp_path):
    import numpy  # noqa: F401

    results = bh.ols(f"y ~ {text}", FRAME).fit()
    loaded = bh.load(results.save(tmp_path / "r"))
    assert isinstance(loaded.model.source, StoredFormula)
    same(results.predict(NEW), loaded.predict(NEW))
    same(results.predict(NEW), loaded.predict(NEW))  # nothing was learnt in between
