"""Summary statistics are pandas', balance is Welch's and Imbens and Rubin's, and every printer has them."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.latex import compiled, needs_pdflatex

import betahat as bh

# Sums of a hundred numbers in another order.
SUMS = 1e-12


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(11)
    n = 120
    data = pd.DataFrame(
        {
            "wage": random.lognormal(size=n) * 1000,
            "educ": random.integers(8, 18, size=n),
            "union": random.random(n) < 0.4,
            "region": random.choice(["south", "west", "east"], size=n),
            "year": random.integers(1990, 1994, size=n),
            "treated": random.integers(0, 2, size=n),
        }
    )
    data["score"] = random.normal(size=n) + 0.3 * data.treated
    data.loc[:4, "score"] = np.nan
    data.loc[7, "region"] = None
    return data


NUMBERS = ["wage", "educ", "score", "year"]


def printed(table):
    return {line.name: [cell.text + cell.marks for cell in line.cells] for line in table.layout.lines}


def test_statistics_are_pandas_own(people):
    wanted = ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]
    frame = bh.sumtable(people, NUMBERS, stats=wanted).to_frame()
    expected = people[NUMBERS].describe().T
    pd.testing.assert_frame_equal(frame, expected, check_names=False, check_dtype=False, rtol=SUMS)
    others = bh.sumtable(people, NUMBERS, stats=["missing", "median", "sum", "var", "p90", "P5", "2.5%"]).to_frame()
    np.testing.assert_array_equal(others["missing"], people[NUMBERS].isna().sum())
    np.testing.assert_allclose(others["median"], people[NUMBERS].median(), rtol=SUMS)
    np.testing.assert_allclose(others["sum"], people[NUMBERS].sum(), rtol=SUMS)
    np.testing.assert_allclose(others["var"], people[NUMBERS].var(), rtol=SUMS)
    for name, share in (("p90", 0.9), ("P5", 0.05), ("2.5%", 0.025)):
        np.testing.assert_allclose(others[name], people[NUMBERS].quantile(share), rtol=SUMS)


def test_what_is_printed(people):
    rows = printed(bh.sumtable(people, digits=2, thousands=","))
    assert list(rows) == ["wage", "educ", "union", "east", "south", "west", "year", "treated", "score"]
    wage = people.wage
    assert rows["wage"] == ["120", *(f"{value:,.2f}" for value in (wage.mean(), wage.std(), wage.min(), wage.max()))]
    assert rows["year"][-2:] == ["1,990", "1,993"]
    assert printed(bh.sumtable(people, "year"))["year"][-2:] == ["1990", "1993"]
    assert rows["union"] == ["120", f"{people.union.mean():.2f}", f"{people.union.std():.2f}", "0", "1"]
    east = (people.region == "east")[people.region.notna()]
    assert rows["east"] == [str(east.sum()), f"{east.mean():.2f}", f"{east.std():.2f}", "", ""]
    assert rows["score"][0] == "115"
    layout = bh.sumtable(people, [re.compile("^s"), "region", "wage"]).layout
    assert [(block.title, len(block.lines)) for block in layout.body] == [("", 1), ("region", 3), ("", 1)]
    assert layout.foot == ()
    assert "tbody class='apart last'" in bh.sumtable(people).to_html()


def test_groups_and_their_differences(people):
    contrasts = ["diff", "se", "t", "p", "norm", "logratio"]
    table = bh.sumtable(people, NUMBERS, by="treated", differences=contrasts, stars=True)
    frame = table.to_frame()
    for name in NUMBERS:
        one, zero = (people.loc[people.treated == value, name].dropna() for value in (1, 0))
        np.testing.assert_allclose(frame.loc[name, "treated=1"], [one.mean(), one.std()], rtol=SUMS)
        found = frame.loc[name, "treated=1 \u2212 treated=0"]
        test = stats.ttest_ind(one, zero, equal_var=False)
        np.testing.assert_allclose(found[["diff", "t", "p"]], [one.mean() - zero.mean(), *test], rtol=1e-10)
        # Imbens and Rubin (2015), equations 14.1 and 14.2
        normalised = (one.mean() - zero.mean()) / np.sqrt((one.var() + zero.var()) / 2)
        np.testing.assert_allclose(found["norm"], normalised, rtol=1e-10)
        np.testing.assert_allclose(found["logratio"], np.log(one.std() / zero.std()), rtol=1e-10)
        # which is the HC2 standard error of a regression on the group
        regression = bh.ols(f"{name} ~ treated", people).fit("HC2")
        np.testing.assert_allclose(found["se"], regression.bse["treated"], rtol=1e-10)
    stars = "*" * sum(frame.loc["score", "treated=1 \u2212 treated=0"]["p"] < level for level in (0.1, 0.05, 0.01))
    assert printed(table)["score"][4].endswith(stars)
    assert printed(table)["N"] == [str((people.treated == 0).sum()), "", str((people.treated == 1).sum())] + [""] * 7
    assert table.layout.marks_note.startswith("* p<0.1")


def test_heads_references_and_totals(people):
    rename = {"region=south": "South", "region": "Place", "educ": "Education", re.compile("^west$"): "West"}
    table = bh.sumtable(people, ["educ", "union"], by="region", reference="south", total=True, differences="norm", rename=rename)  # fmt: skip
    assert [(cell.text, cell.span) for cell in table.layout.heads[0]] == [
        *(("east", 2), ("South", 2), ("West", 2), ("All", 2), ("east \u2212 South", 1), ("West \u2212 South", 1)),
    ]
    assert [line.name for line in table.layout.body[0].lines] == ["Education", "union"]
    counts = people.region.value_counts()
    assert printed(table)["N"] == [str(counts["east"]), "", str(counts["south"]), "", str(counts["west"]), "", "119", "", "", ""]  # fmt: skip
    assert "1 row without region left out." in table.layout.notes
    assert list(bh.sumtable(people, "educ", by="treated", differences=False).to_frame().columns) == [
        *(("treated=0", "mean"), ("treated=0", "std"), ("treated=1", "mean"), ("treated=1", "std")),
    ]
    first = bh.sumtable(people, "educ", by="treated", reference=1).layout.heads[0][-1].text
    assert first == "treated=0 \u2212 treated=1"
    ordered = people.assign(region=pd.Categorical(people.region, ["west", "east", "south", "north"]))
    heads = [cell.text for cell in bh.sumtable(ordered, "educ", by="region", differences=None).layout.heads[0]]
    assert heads == ["west", "east", "south"]
    levels = bh.sumtable(people, "region", by="union", rename=rename).layout
    assert (levels.body[0].title, [line.name for line in levels.body[0].lines]) == ("Place", ["east", "South", "West"])
    assert levels.heads[0][0].text == "union=False"
    days = people.assign(day=pd.to_datetime(["2020-01-01", "2020-07-01"] * 60))
    assert bh.sumtable(days, "educ", by="day").layout.heads[0][0].text == "day=2020-01-01"


def test_own_statistics_and_sentences(people):
    def skew(column):
        assert isinstance(column, pd.Series)
        return column.skew()

    wanted = {"n": "count", "Skewness": skew, "Kind": lambda column: "number"}
    table = bh.sumtable(people, ["wage", "region"], stats=wanted, notes="In dollars.", title="Wages")
    assert [cell.text for cell in table.layout.heads[0]] == ["n", "Skewness", "Kind"]
    assert table.to_frame().loc["wage", "Skewness"] == people.wage.skew()
    assert printed(table)["east"][1:] == ["", ""]
    assert table.layout.notes == ("In dollars.",)
    assert bh.sumtable(people, "wage", stats=[skew]).layout.heads[0][0].text == "skew"


def test_frames_of_every_library(people):
    expected = bh.sumtable(people[NUMBERS], by="year").to_text()
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    assert bh.sumtable(polars.from_pandas(people[NUMBERS]), by="year").to_text() == expected
    assert bh.sumtable(arrow.Table.from_pandas(people[NUMBERS]), by="year").to_text() == expected
    assert bh.sumtable({name: people[name].to_numpy() for name in NUMBERS}, by="year").to_text() == expected
    nullable = people.convert_dtypes()
    nullable.loc[3, "union"] = pd.NA
    assert printed(bh.sumtable(nullable))["union"][0] == "119"


def test_columns_that_say_nothing(people):
    odd = people.assign(
        date=pd.Timestamp("2020-01-01"),
        name=[f"person {i}" for i in range(120)],
        empty=np.nan,
        one=1.0,
        mixed=[3, "a"] * 60,
    )
    table = bh.sumtable(odd)
    assert table.layout.notes == ("Left out, as they hold neither numbers nor a few categories: date, name, mixed.",)
    assert printed(table)["empty"] == ["0", "", "", "", ""]
    assert printed(table)["one"] == ["120", "1.0000", "0.0000", "1", "1"]
    found = bh.sumtable(odd, ["one", "empty"], by="treated", stars=True).to_frame()["treated=1 \u2212 treated=0"]
    assert found.loc["one", "diff"] == found.loc["one", "se"] == 0.0
    assert np.isnan(found.loc["one", "norm"])
    assert found.loc["empty"].isna().all()
    single = pd.DataFrame({"x": [1.0, 2.0, 4.0], "g": [0, 1, 1]})
    assert np.isnan(bh.sumtable(single, by="g").to_frame()["g=1 \u2212 g=0"]["se"]["x"])
    infinite = pd.DataFrame({"x": [1.0, np.inf]})
    assert printed(bh.sumtable(infinite))["x"] == ["2", "inf", "", "1.0000", "inf"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"variables": "wages"}, "variables has 'wages', which matches no column; the names are 'wage'"),
        ({"variables": "name"}, "The column 'name' holds neither numbers nor at most 20 categories"),
        ({"by": "group"}, "by is 'group'; pass one column of the data: 'wage'"),
        ({"by": ["region", "year"]}, "by is ['region', 'year']; pass one column"),
        ({"by": "name"}, "by is 'name', which has 120 values; pass a column with 2 to 20 values"),
        ({"by": "constant"}, "by is 'constant', which has 1 value; pass"),
        ({"by": "mixed"}, "The column 'mixed' holds values of several types, which have no order"),
        ({"stats": "mean"}, "stats is 'mean'; pass a list of names"),
        ({"stats": []}, "stats is []; pass a list"),
        ({"stats": ["average"]}, "stats has 'average'; pass some of 'count', 'mean'"),
        ({"stats": ["120%"]}, "stats has '120%'"),
        ({"stats": [3]}, "stats has 3"),
        ({"differences": ["diff"]}, "differences are between groups; name the column"),
        ({"by": "region", "differences": ["gap"]}, "differences is ['gap']; pass some of 'diff', 'se'"),
        ({"by": "region", "differences": 3}, "differences is 3; pass some of"),
        (
            {"by": "region", "reference": "north"},
            "reference is 'north'; pass one of the values of region: 'east', 'south', 'west'",
        ),
        ({"reference": "north"}, "reference is 'north', but there are no groups"),
        ({"total": "yes"}, "total is 'yes'"),
        ({"title": 3}, "title is 3; pass a string"),
        ({"notes": 3}, "notes is 3; pass a sentence"),
        ({"rename": 3}, "rename needs a mapping"),
    ],
)
def test_bad_options_are_sentences(people, options, sentence):
    odd = people.assign(name=[f"person {i}" for i in range(120)], constant=1, mixed=[3, "a"] * 60)
    with pytest.raises((bh.OptionError, bh.DataError), match=re.escape(sentence)) as caught:
        bh.sumtable(odd, **options)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("data", [3, "people.csv", [1, 2], np.ones((3, 2)), pd.DataFrame(), None])
def test_what_is_no_data(data):
    said = "dataframe with rows" if isinstance(data, pd.DataFrame) else "dataframe in memory, or a dict of columns, not"
    with pytest.raises(bh.DataError, match=f"sumtable needs a {said}") as caught:
        bh.sumtable(data)
    assert str(caught.value).endswith(".")


def test_a_frame_of_dates_alone():
    with pytest.raises(bh.DataError, match="No column holds numbers or categories; the columns are 'when'"):
        bh.sumtable(pd.DataFrame({"when": pd.date_range("2020", periods=30)}))


@needs_pdflatex
def test_tables_compile(people, tmp_path):
    tables = [bh.sumtable(people, thousands=","), bh.sumtable(people, by="treated", stars=True, total=True)]
    names = {"score": bh.Tex(r"$\hat s_i$"), "region": "R&D_%"}
    tables += [bh.sumtable(people, by="region", rename=names, digits=2, differences=["norm"])]
    pages = [table.to_latex(siunitx=aligned, standalone=True) for table in tables for aligned in (False, True)]
    body = "\n\\clearpage\n".join(
        page.partition("\\begin{document}")[2].removesuffix("\\end{document}\n") for page in pages
    )
    compiled(
        f"{pages[1].partition(chr(92) + 'begin{document}')[0]}\\begin{{document}}\n{body}\\end{{document}}\n", tmp_path
    )
