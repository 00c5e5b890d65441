"""Tables below each other: heads and statistics that all share stand once, everything else in its panel."""

import re

import pytest
from support.latex import compiled, needs_pdflatex

import betahat as bh


@pytest.fixture(scope="module")
def tables(data):
    halves = {"A. Before": data[data.year < 7], "B. After": data[data.year >= 7]}
    return {
        title: bh.regtable([bh.ols("wage ~ educ", half).fit("HC1"), bh.ols("wage ~ educ + exper", half).fit("HC1")])
        for title, half in halves.items()
    }


def blocks(table):
    return [(block.title, block.ruled, [line.name for line in block.lines if line.name]) for block in table.layout.body]


def test_panels(tables):
    table = bh.panels(tables, title="Wages")
    assert blocks(table) == [
        ("A. Before", False, ["Intercept", "educ", "exper"]),
        ("", False, ["N", "R²"]),
        ("B. After", True, ["Intercept", "educ", "exper"]),
        ("", False, ["N", "R²"]),
    ]
    assert [line.name for line in table.layout.foot] == ["Std. errors"]
    first = next(iter(tables.values()))
    assert table.layout.heads == first.layout.heads
    assert table.layout.sentences == first.layout.sentences
    for title, one in tables.items():
        assert table.to_frame().loc[title].equals(one.to_frame())


def test_every_format_has_them(tables, tmp_path):
    docx = pytest.importorskip("docx")
    table = bh.panels(tables)
    text = table.to_text().splitlines()
    assert "B. After" in text
    assert set(text[text.index("B. After") - 1]) == {"-"}
    assert text[text.index("B. After") + 1].startswith("  Intercept")
    assert sum(line.startswith("  N ") for line in text) == 2
    page = table.to_html()
    assert page.count("apart ruled") == 1
    assert page.count("class='member'>N<") == 2
    latex = table.to_latex()
    assert "\\midrule\n\\multicolumn{3}{l}{\\textit{B. After}} \\\\" in latex
    assert latex.count(r"\quad N ") == 2
    assert "| \u2003N " in table.to_markdown()
    rows = 2 + 2 * (1 + 6 + 2)
    assert f"y in (2, {2 + 9}, {rows})" in table.to_typst()
    table.to_docx(tmp_path / "t.docx")
    cells = docx.Document(str(tmp_path / "t.docx")).tables[0].rows
    assert [row.cells[0].text for row in cells].count("    N") == 2


def test_heads_that_differ_stand_in_their_panel(short, logit):
    table = bh.panels({"Wages": bh.regtable([short, short]), "Work": bh.regtable([logit, logit])})
    assert [[cell.text for cell in row] for row in table.layout.heads] == [["(1)", "(2)"]]
    assert [cell.text for cell in table.layout.body[0].lines[0].cells] == ["wage", "wage"]
    assert [cell.text for cell in table.layout.body[2].lines[0].cells] == ["work", "work"]
    nothing = bh.panels({"A": bh.regtable(short, numbers=False), "B": bh.regtable(logit, numbers=False)})
    assert nothing.layout.heads[0][0].text == ""


def test_groups_other_tables_and_panels_of_panels(short, long, data):
    grouped = bh.regtable(long, groups={"Human capital": ["educ", "exper"]}, stats=[])
    numbers = bh.sumtable(data, ["wage", "educ"], stats=["mean"])
    table = bh.panels({"A": grouped, "B": numbers}, notes="One.")
    assert blocks(table)[0] == ("A", False, ["Human capital", "educ", "exper"])
    assert blocks(table)[-1] == ("", False, ["N"]) or blocks(table)[-1] == ("B", True, ["wage", "educ"])
    assert ("A", "educ coef") in table.to_frame().index
    assert ("B", "educ") in table.to_frame().index
    assert table.layout.notes[-1] == "One."
    assert table.layout.marks_note == grouped.layout.marks_note
    again = bh.panels({"First": bh.panels({"A": bh.regtable(short)}), "Second": bh.regtable(short)})
    assert "R²" in again.to_text()
    single = bh.panels({bh.Tex(r"\textbf{A}"): bh.regtable(short)})
    assert r"\textit{\textbf{A}}" in single.to_latex()
    assert single.to_frame().index[0][0] == "A"


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ([], "panels needs a mapping of titles to tables"),
        ({}, "panels needs a mapping of titles to tables, such as {'A. Men': bh.regtable(...)}, not a dict"),
        ({"A": 3}, "The panel 'A' is an int; pass a table"),
        (lambda res: {"A": bh.regtable(res), "B": bh.regtable([res, res])}, "'A' has 1 column, 'B' has 2 columns"),
        (
            lambda res: {"A": bh.regtable(res), "B": bh.regtable(res, stars=[0.2])},
            "The stars of the tables have different meanings",
        ),
    ],
)
def test_bad_inputs_are_sentences(short, tables, sentence):
    with pytest.raises(bh.OptionError, match=re.escape(sentence)) as caught:
        bh.panels(tables(short) if callable(tables) else tables)
    assert str(caught.value).endswith(".")
    with pytest.raises(bh.OptionError, match="title is None"):
        bh.panels({"A": bh.regtable(short)}, title=None)
    with pytest.raises(bh.OptionError, match="notes is 3"):
        bh.panels({"A": bh.regtable(short)}, notes=3)


@needs_pdflatex
@pytest.mark.parametrize("style", ["booktabs", "hline"])
def test_panels_compile(tables, tmp_path, style):
    table = bh.panels({bh.Tex(r"\textbf{Panel A.} $x_1$"): tables["A. Before"], "Panel B_%": tables["B. After"]})
    for aligned in (False, True):
        compiled(table.to_latex(standalone=True, siunitx=aligned, style=style, caption="Both"), tmp_path)
