"""Names kept, dropped, ordered and renamed: exactly by a str, by search with a pattern."""

import re

import pytest

from betahat.errors import OptionError
from betahat.tables.terms import choose, renamed

NAMES = ["Intercept", "educ", "educ:exper", "exper", "I(exper ** 2)", "C(region)[T.west]"]


def test_a_str_is_a_name_and_a_pattern_is_searched():
    assert choose(NAMES, keep="educ") == ["educ"]
    assert choose(NAMES, keep=re.compile("educ")) == ["educ", "educ:exper"]
    assert choose(NAMES, drop=["Intercept", re.compile(r"^C\(")]) == NAMES[1:5]


def test_kept_names_stay_in_their_order_and_drop_comes_after_keep():
    assert choose(NAMES, keep=["exper", "educ", "Intercept"], drop="Intercept") == ["educ", "exper"]


def test_order_comes_first_and_the_rest_follows():
    assert choose(NAMES, order=["exper", re.compile("^I")]) == [
        NAMES[3],
        NAMES[0],
        NAMES[4],
        NAMES[1],
        NAMES[2],
        NAMES[5],
    ]
    assert choose(NAMES, drop="exper", order=["exper", "educ"])[0] == "educ"  # known, and left out


def test_nothing_asked_is_everything():
    assert choose(NAMES) == NAMES
    assert choose(["a", "b", "a"]) == ["a", "b"]
    assert choose(NAMES, drop=()) == NAMES


@pytest.mark.parametrize("option", ["keep", "drop", "order"])
@pytest.mark.parametrize("unknown", ["edu", re.compile("wage"), ["educ", "edu"]])
def test_what_no_name_has_is_an_error_that_lists_the_names(option, unknown):
    with pytest.raises(OptionError, match=rf"^{option} has .*'Intercept', 'educ'"):
        choose(NAMES, **{option: unknown})


@pytest.mark.parametrize("wrong", [3, [3], [["educ"]]])
def test_what_is_no_name_is_an_error(wrong):
    with pytest.raises(OptionError, match="keep takes names and compiled patterns"):
        choose(NAMES, keep=wrong)


def test_a_name_is_renamed_exactly_and_patterns_one_after_another():
    rename = {"educ": "Education", re.compile("exper"): "experience", re.compile("ence$"): "ENCE", "unused": "x"}
    assert [renamed(name, rename) for name in NAMES[1:5]] == [
        "Education",
        "educ:experiENCE",
        "experiENCE",
        "I(experience ** 2)",
    ]
    assert renamed("educ", None) == "educ"


@pytest.mark.parametrize("wrong", ["educ", {"educ": 3}, {3: "educ"}])
def test_a_rename_that_is_no_mapping_is_an_error(wrong):
    with pytest.raises(OptionError, match="rename"):
        renamed("age", wrong)
