"""Whatever a user's texts say, every printer prints it, and does nothing else: names, titles, notes, heads, captions, marks."""

import html
import re
import shutil
import subprocess
import zipfile
from functools import cache

import numpy as np
import pandas as pd
import pytest

import betahat as bh

COMMANDS = [r"\input{secret}", "x^2", "^^5cinput{secret}", "a_{b}", "{", "}", "~", "a~b", r"\\", "50%", "R&D", "$x$", "#1", "a|b", "a<b", "[0.5]", "€«ą»"]  # fmt: skip
CONTROLS = {
    "escape": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "null": ("a\x00b", r"a\x00b"),
    "bell": ("a\x07b", r"a\x07b"),
    "delete": ("a\x7fb", r"a\x7fb"),
    "a C1 control": ("a\x9bb", r"a\x9bb"),
    "override": ("wage \u202e000,1\u202c", r"wage \u202e000,1\u202c"),
    "isolate": ("a\u2066b\u2069", r"a\u2066b\u2069"),
    "no width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "half a letter": ("a\ud800b", r"a\ud800b"),
    "a tag": ("a\U000e0041b", r"a\U000e0041b"),
    "lines": ("a\nb\r\nc\u2028d\x85e", "a b c d e"),
    "a tab": ("a\tb", "a b"),
}
WITHOUT_LOOK = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
SYMBOLS = "✓✔✗✘☑☐★☆●•▲▼◆◇⅕⅜⅞ℝℕ∴≲∎■□⊂→⇒⇝"


needs_pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def _compiled(document, folder):
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def _fitted(names, endog="y"):
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(40, len(names))), columns=names)
    return bh.OLS(pd.Series(rng.normal(size=40), name=endog), data).fit()


@pytest.fixture(scope="module")
def numbers():
    return _fitted(["a", "b"])


def _everywhere(res, text):
    """A table with a text in every place that takes one."""
    return bh.regtable(
        {text: res},
        rename={"a": text},
        groups={text: ["a"], "others": ["b"]},
        heads=[text],
        extra={text: [text]},
        notes=["Note: " + text],
        title=text,
        stars={text.strip() or "*": 0.999},
        stats={text: lambda result: text, "N": "nobs"},
    )


@cache
def _summaries(text):
    """All that statsmodels' printers print of a text."""
    res = _fitted([text, "b"], text)
    logit = bh.Logit(
        pd.Series((np.arange(40) % 3 == 0) * 1.0, name=text), pd.DataFrame({text: np.sin(np.arange(40.0)), "c": 1.0})
    ).fit()
    classes = bh.MNLogit(
        pd.Series(np.arange(40) % 3, name=text), pd.DataFrame({text: np.sin(np.arange(40.0)), "c": 1.0})
    ).fit()
    given = res.with_cov(bh.Given(np.eye(2), label=text))
    return [
        res.summary(),
        res.summary(title=text, yname=text, xname=[text, text]),
        given.summary(),
        res.summary2(title=text),
        logit.summary(),
        logit.summary2(),
        logit.get_margeff().summary(),
        classes.summary(),
        classes.summary2(),
        classes.get_margeff().summary(),
    ]


@cache
def _tables(text):
    tables = [table for summary in _summaries(text) for table in summary.tables if not isinstance(table, pd.DataFrame)]
    test = _fitted(["a", "b"]).t_test(np.eye(2)).summary(xname=[text, "other"], title=text)
    return [*tables, test]


@pytest.mark.slow
@pytest.mark.parametrize("control", CONTROLS)
def test_what_cannot_be_seen_is_shown(control, numbers, tmp_path):
    text, shown = CONTROLS[control]
    table = _everywhere(numbers, text)
    table.to_docx(tmp_path / "table.docx")
    word = zipfile.ZipFile(tmp_path / "table.docx").read("word/document.xml").decode("utf-8")
    printed = [table.to_text(), table.to_html(tmp_path / "t.html"), table.to_latex(tmp_path / "t.tex"), table.to_markdown(), table.to_typst(), word]  # fmt: skip
    printed += [
        table.to_latex(caption=text),
        repr(table),
        bh.compare(numbers, {text: "HC1"}, rename={"a": text}).to_text(),
    ]
    for page in printed:
        assert not WITHOUT_LOOK.search(page)
    for page in printed[0], html.unescape(printed[1]), re.sub("</?w:[^>]*>", "", html.unescape(word)):
        assert page.count(shown) >= 7
    if control == "half a letter":  # which pandas refuses in names
        text, shown = "named", "named"
    for thing in [*_summaries(text), numbers.summary(title=CONTROLS[control][0]), *_tables(text)]:
        pages = [str(thing), thing._repr_html_(), thing._repr_latex_()]
        assert not any(WITHOUT_LOOK.search(page) for page in pages)
    for thing in _summaries(text):
        assert shown in str(thing)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "R&D", "a<b", "&lt;"])
def test_single_tables_escape_tags(text):
    for table in _tables(text):
        for page in (table.as_html(), table._repr_html_()):
            assert "<script" not in page
    assert html.escape(text, quote=False).replace("&gt;", ">") in _tables(text)[-1].as_html()


def test_ordinary_tables_are_statsmodels_own():
    """And what a user changes of a table is printed."""
    table = _fitted(["a", "b"]).summary().tables[1]
    assert table.as_html() == super(type(table), table).as_html()
    assert table.as_latex_tabular() == super(type(table), table).as_latex_tabular()
    table[1][0].data = "<new>"
    assert "&lt;new>" in table.as_html()
    assert "<new>" in table.as_text()


@needs_pdflatex
def test_summaries_with_commands_for_names_compile(tmp_path):
    """\\input of a file that is not there would end in an error, and of one that is, put it on the page."""
    (tmp_path / "secret.tex").write_text("LEAKED")
    pages = []
    for text in COMMANDS:
        for thing in [*_summaries(text), *_tables(text)]:
            page = thing._repr_latex_()
            assert r"\input" not in page
            assert "^^" not in page
            pages.append(page)
    body = "\n\\clearpage\n".join(pages)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}\usepackage[margin=1cm]{geometry}\begin{document}"
    _compiled(f"{head}\n{body}\n\\end{{document}}\n", tmp_path)


@needs_pdflatex
def test_tables_with_commands_and_symbols_compile(numbers, tmp_path):
    texts = [*COMMANDS, *SYMBOLS, *(text for text, _ in CONTROLS.values())]
    tables = [_everywhere(numbers, text) for text in texts]
    pages = [
        table.to_latex(**options) for table in tables for options in ({}, {"siunitx": True}, {"caption": texts[0]})
    ]
    packages = dict.fromkeys(
        name
        for page in pages
        for found in re.findall(r"usepackage(?:\[T1\])?\{(.*)\}\.", page)
        for name in found.split(",")
    )
    head = "".join(rf"\usepackage{'[T1]' if name == 'fontenc' else ''}{{{name}}}" for name in packages)
    body = "\n\\clearpage\n".join(pages)
    _compiled(
        f"\\documentclass{{article}}\\usepackage[margin=1cm]{{geometry}}{head}\n\\begin{{document}}\n{body}\n\\end{{document}}\n",
        tmp_path,
    )
    for text in "✓", "«", "★":
        _compiled(_everywhere(numbers, text).to_latex(standalone=True), tmp_path)


def test_a_symbol_names_the_package_that_it_needs(numbers):
    needs = bh.regtable(numbers, extra={"Controls": ["✓"]}).to_latex().splitlines()[0]
    assert needs == r"% Needs \usepackage{booktabs,amssymb}."
    assert bh.regtable(numbers).to_latex().startswith("% Needs \\usepackage{booktabs}.\n")
    assert (
        bh.regtable(numbers, title="", notes="«ą»").to_latex().startswith("% Needs \\usepackage[T1]{fontenc}.\n% Needs")
    )
    assert r"\usepackage{amssymb}" in bh.regtable(numbers, notes="★").to_latex(standalone=True)


def test_labels_of_the_second_summary(numbers):
    assert r"\label{tab:one}" in numbers.summary2().as_latex(label="tab:one")
    for label in ("a}\\input{x}", "a b"):
        with pytest.raises(bh.OptionError, match="label is"):
            numbers.summary2().as_latex(label=label)
    with pytest.raises(bh.OptionError, match="label is 3; pass a string"):
        numbers.summary2().as_latex(label=3)
