"""Powers of terms: formulaic's own answers, and no more work than there are products."""

import time

import formulaic
import pytest

import betahat as bh
from betahat.data.formulas.grammar import Parser


@pytest.mark.parametrize(
    "formula",
    [
        *("y ~ (a + b)**2", "y ~ (a + b + c + d)**3", "y ~ (a*b + c)**2 - a", "y ~ (a + b + a:b)**3", "y ~ a**3"),
        *(
            "y ~ (a + b)^2",
            "y ~ (a + b - 1)**2",
            "y ~ (a + b)**2**2",
            "y ~ (a + b + c)**1",
            "y ~ 0 + (c + a:b + b)**2*d",
        ),
        *("y ~ (a:b + c + b:d)**4", "y ~ (c:d + a + b + a:c)**5"),
    ],
)
def test_powers_are_formulaics(formula):
    ours, theirs = formulaic.Formula(formula, _parser=Parser()), formulaic.Formula(formula)
    assert [str(term) for term in ours.rhs] == [str(term) for term in theirs.rhs]


@pytest.mark.parametrize(("power", "columns"), [("x**999999999", 2), ("(x + g)**1000000", 4), ("(x + g)**30", 4)])
def test_a_large_power_is_no_work(power, columns):
    data = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 1.0], "x": [2.0, 1.0, 5.0, 3.0, 4.0, 4.0], "g": list("ababab")}
    begun = time.perf_counter()
    assert len(bh.ols(f"y ~ {power}", data).fit().params) == columns
    assert time.perf_counter() - begun < 5  # products of as many terms took a memory, or years


@pytest.mark.parametrize("power", ["x**2.5", "x**g", "x**(x + g)", "x**`2`", "x**'2'"])
def test_a_power_is_a_whole_number(power):
    with pytest.raises(bh.FormulaError, match="is not a positive whole number"):
        bh.ols(f"y ~ {power}", {"y": [1.0, 2, 4], "x": [1.0, 2, 2], "g": [0.0, 1, 1], "2": [1.0, 1, 2]})


@pytest.mark.parametrize("power", ["x**0", "x**-1", "x**"])
def test_a_power_of_nothing_cannot_be_read(power):
    with pytest.raises(bh.FormulaError, match="cannot be read"):
        bh.ols(f"y ~ {power}", {"y": [1.0, 2, 4], "x": [1.0, 2, 2]})


def test_exp10_is_neither_rs_nor_patsys():
    # formulaic's of that name is the tenth power.
    with pytest.raises(bh.FormulaError, match="'exp10'"):
        bh.ols("y ~ exp10(x)", {"y": [1.0, 2, 4], "x": [1.0, 2, 2]})
