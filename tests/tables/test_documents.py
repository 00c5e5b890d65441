"""Markdown, Typst and Word say what the table says, and Typst compiles."""

import builtins
import importlib
import re

import pytest

import betahat as bh

pandoc = pytest.importorskip("pypandoc")


@pytest.fixture
def table(short, long, logit):
    rename = {"educ": "a_b*c#d$e@f~g`h<i>j|k", "exper": "[x]^2_{3} \\alpha"}
    return bh.regtable([short, long, logit], rename=rename, groups={"G": ["educ"]}, title="Title & co")


def test_markdown_is_a_pipe_table(table):
    text = table.to_markdown()
    lines = text.splitlines()
    assert lines[0] == "**Title & co**"
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert rows[0].split("|")[2].strip() == "wage (1)"
    # Markdown read again says what was said.
    html = pandoc.convert_text(text, "html", format="gfm", extra_args=["--wrap=none"])
    assert "a_b*c#d$e@f~g`h&lt;i&gt;j|k" in html
    assert "Standard errors in parentheses." in text


def test_groups_have_titles_and_members(table):
    typst = table.to_typst()
    assert "[#emph[G]]" in typst
    assert typst.count("table.hline()") == 2  # below the head and above the foot
    assert "| G " in table.to_markdown()
    assert "| \u2003a_b" in table.to_markdown()


def test_no_title_leaves_none(short, tmp_path):
    docx = pytest.importorskip("docx")
    table = bh.regtable(short, title="")
    assert table.to_markdown().lstrip().startswith("|")
    assert "caption" not in table.to_typst()
    table.to_docx(tmp_path / "table.docx")
    assert docx.Document(str(tmp_path / "table.docx")).paragraphs[0].text.startswith("Standard errors")


def test_typst_reads_no_lists_in_names(short, tmp_path):
    typst = pytest.importorskip("typst")
    names = ["+ a", "- b", "1. c", "= d", "== e", "/ f", "a - b", "[+ x]"]
    extra = {name: [name] for name in names}
    path = tmp_path / "table.typ"
    text = bh.regtable(short, extra=extra).to_typst(path)
    assert not re.search(r"\[(?:[-+/=]+|\d+\.) ", text)
    assert typst.compile(path).startswith(b"%PDF")


def test_typst_compiles(table, tmp_path):
    typst = pytest.importorskip("typst")
    path = tmp_path / "table.typ"
    text = table.to_typst(path)
    assert path.read_text(encoding="utf-8") == text
    assert re.search(r"table.cell\(align: center, colspan: 2, .*\)\[wage\]", text)
    assert typst.compile(path).startswith(b"%PDF")


def test_word_has_the_table(table, tmp_path):
    docx = pytest.importorskip("docx")
    table.to_docx(tmp_path / "table.docx")
    document = docx.Document(str(tmp_path / "table.docx"))
    rows = [[cell.text.strip() for cell in row.cells] for row in document.tables[0].rows]
    assert rows[0] == ["", "wage", "wage", "work"]
    for line in table.layout.lines:
        assert [line.name, *(re.sub(r"^-", "\u2212", cell.text) + cell.marks for cell in line.cells)] in rows
    said = [paragraph.text for paragraph in document.paragraphs]
    assert "Title & co" in said
    assert "Standard errors in parentheses." in said


def test_without_pandoc_one_sentence_says_how_to_get_it(table, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for call in (table.to_markdown, table.to_typst, lambda: table.to_docx(tmp_path / "t.docx")):
        with pytest.raises(bh.MissingPackageError, match=re.escape("pip install 'betahat[documents]'")):
            call()
    assert builtins.list(tmp_path.iterdir()) == []


def test_no_such_folder(table):
    with pytest.raises(bh.OptionError, match="in a folder that does not exist"):
        table.to_docx("/no/such/folder/table.docx")


@pytest.mark.parametrize("columns", [2, 9, 40])
def test_a_wide_table_lies_on_its_side_in_small_letters(short, long, tmp_path, columns):
    docx = pytest.importorskip("docx")
    bh.regtable([short, long] * (columns // 2) + [short] * (columns % 2)).to_docx(tmp_path / "wide.docx")
    document = docx.Document(str(tmp_path / "wide.docx"))
    page = document.sections[0]
    assert (page.page_width > page.page_height) is (columns > 2)
    assert 4 <= document.styles["Normal"].font.size.pt <= 10
    width = sum(column.width for column in document.tables[0].columns)
    assert columns == 40 or width <= 1.001 * (page.page_width - page.left_margin - page.right_margin)


def test_pandoc_that_cannot_is_one_sentence(table, monkeypatch):
    def fail(*given, **options):
        raise RuntimeError("Unknown output format typst\nTry another.")

    monkeypatch.setattr(pandoc, "convert_text", fail)
    with pytest.raises(bh.OptionError, match=r"typst is written by pandoc, but the installed one cannot do so"):
        table.to_typst()
