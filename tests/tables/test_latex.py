"""Tables compile in LaTeX the first time, with the packages that their first line names."""

import itertools
import re
import shutil
import subprocess
import unicodedata

import numpy as np
import pandas as pd
import pytest
from support.latex import compiled, has_latex, needs_pdflatex

import betahat as bh
from betahat.tables.latex import STYLES, escape_latex

PARTS = [
    *("a_b", "50% off", "R&D", "cost $", "no. #1", "x^2", "a~b", "back\\slash", "{braces}", "[brackets]", "a<b", "a>b"),
    *("p|q", 'say "x"', "it's", "`tick`", "a--b", "a---b", "!`", "?`", "@", "-", "--", "*", "\\", "{", "}", "$$", "%", "&"),
    *("a:b", "I(x ** 2)", "np.log(x)", "C(region)[T.south]", "C(x, Treatment(1))[T.2]", "x - 1", "a*b", "a/b", "a=b"),
    *("β", "Δ_Ω", "α²", "λ\u0302", "β\u0302_1", "x\u0304", "é ß ł ž Ø", "naïve", "x₁", "½", "10 €", "5 °C", "a → b", "a ≤ b", "∑", "∞", "\u00d7", "\u22121", "“q”", "…", "a\u2011b", "⅓", "∅", "⩽", "≧"),
    *("\\alpha", "\\input{x}", "\\end{tabular}", "\\\\", "\\hline", "a & b \\\\ c", "$x$", "#1", "^^M", "a\tb", "a\nb", " a "),
    *("{[}", "\\begin", "^", "~", "_", "__init__", "a_{b}", "x^{2}", "%d", "&amp;", "<b>", "é_%", "1e-3", "-0.5", "[0.5]"),
]  # fmt: skip
NAMES = list(dict.fromkeys([*PARTS, *(f"{a} {b}" for a, b in itertools.pairwise(PARTS))]))[:150]


def paper(*tables):
    """Put tables into a document with the packages that they say they need."""
    packages = sorted({name for table in tables for line in re.findall(r"^% Needs \\usepackage\{(.*)\}\.$", table, re.M) for name in line.split(",")})  # fmt: skip
    head = rf"\documentclass{{article}}\usepackage[margin=1cm]{{geometry}}\usepackage{{{','.join(packages)}}}"
    return head + "\n\\begin{document}\n" + "\n\n\\clearpage\n".join(tables) + "\n\\end{document}\n"


@pytest.fixture(scope="module")
def awkward():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(400, len(NAMES))), columns=NAMES)
    endog = (data.sum(axis=1) + rng.normal(size=400)).rename("y_1 & y_2 % β")
    return bh.OLS(endog, bh.add_constant(data)).fit()


@pytest.fixture(scope="module")
def wages():
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.normal(size=(80, 3)), columns=["educ", "exper", "tiny"])
    data["wage"] = data["educ"] - 0.5 * data["exper"] + rng.normal(size=80)
    data["work"] = (data["wage"] > 0).astype(float)
    data["tiny"] *= 1e7
    data["state"] = np.arange(80) % 12
    short = bh.ols("wage ~ educ", data).fit()
    long = bh.ols("wage ~ educ + exper + tiny", data).fit(cov_type=bh.Cluster("state"))
    return [short, long, bh.logit("work ~ educ + exper", data).fit()]


def test_there_are_more_than_a_hundred_names():
    assert len(NAMES) >= 100


@needs_pdflatex
@pytest.mark.parametrize("options", [{}, {"siunitx": True}, {"style": "hline"}], ids=str)
def test_a_hundred_awkward_names_compile(awkward, tmp_path, options):
    names = list(awkward.params.index)
    # As names of rows; and as heads, groups, extra rows, notes, captions and statistics.
    text = "A note of everything: " + " ".join(PARTS)
    table = bh.regtable(
        [awkward, awkward.with_cov("HC3")], notes=text, extra={name: [name, name] for name in NAMES[:60]}
    )
    parts = [names[start : start + 45] for start in range(0, len(names), 45)]
    rows = [bh.regtable([awkward], keep=part, groups={part[1]: part[2:9], part[3]: part[10:12]}) for part in parts]
    tables = [table.to_latex(**options), *(row.to_latex(caption=row_caption, **options) for row, row_caption in zip(rows, NAMES, strict=False))]  # fmt: skip
    heads = bh.regtable(dict.fromkeys(NAMES[:20], awkward), keep="const", heads=NAMES[20:40]).to_latex(**options)
    compiled(paper(*tables, heads), tmp_path)


@pytest.mark.slow
@needs_pdflatex
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("siunitx", [False, True])
@pytest.mark.parametrize("fit", [None, "resize", "landscape"])
def test_every_option_compiles_without_an_overfull_box(wages, tmp_path, style, siunitx, fit):
    wide = bh.regtable(wages * (1 if fit is None else 6), below=["se", "ci"], significant=3)
    options = {"style": style, "siunitx": siunitx, "fit": fit}
    tables = [wide.to_latex(caption="Wages of 100% of #1", label="tab:wages", position="htbp", **options)]
    if fit != "landscape":
        tables.append(wide.to_latex(**options))
    log = compiled(paper(*tables), tmp_path)
    assert "Overfull" not in log.replace("Overfull \\vbox", "") or fit == "landscape"
    compiled(wide.to_latex(standalone=True, **options), tmp_path)


@pytest.mark.parametrize("siunitx", [False, True])
def test_a_table_longer_than_a_page_continues_on_the_next(tmp_path, siunitx):
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(90, 31)), columns=["y", *(f"x{i}" for i in range(30))])
    table = bh.regtable(bh.OLS(data.y, data.iloc[:, 1:]).fit(), title="Long")
    page = table.to_latex(standalone=True, siunitx=siunitx)
    assert r"\usepackage{longtable}" in page
    assert page.count("longtable}") == 3
    assert r"\endhead" in page
    for other in (
        table.to_latex(siunitx=siunitx),
        table.to_latex(standalone=True, caption="A float", siunitx=siunitx),
        table.to_latex(standalone=True, fit="resize", siunitx=siunitx),
        bh.regtable(bh.OLS(data.y, data.iloc[:, 1:9]).fit()).to_latex(standalone=True),
    ):
        assert "longtable" not in other
    if has_latex():
        log = compiled(page, tmp_path)
        assert "Overfull" not in log
        assert "(2 pages" in log


@needs_pdflatex
def test_compare_and_the_summary_compile(wages, tmp_path):
    table = bh.compare(wages[1], ["nonrobust", "HC1"])
    compiled(paper(table.to_latex(), table.to_latex(siunitx=True), wages[0].summary().as_latex()), tmp_path)


@pytest.mark.skipif(shutil.which("pdftotext") is None or not has_latex(), reason="pdftotext is not installed")
def test_the_page_says_what_the_names_say(awkward, tmp_path):
    plain = [
        name
        for name in NAMES
        if re.fullmatch(r"[\x21-\x7e]( ?[\x21-\x7e])*", name) and not set(name) & set("'`\"-^~") and "ff" not in name
    ]
    assert len(plain) > 40
    table = bh.regtable([awkward], keep=plain[:40], below=None)
    compiled(table.to_latex(standalone=True), tmp_path)
    page = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    missing = [
        name
        for name in plain[:40]
        if " ".join(name.split()) not in " ".join(unicodedata.normalize("NFKC", page.stdout).split())
    ]
    assert not missing


@pytest.mark.skipif(shutil.which("pdftotext") is None or not has_latex(), reason="pdftotext is not installed")
def test_a_star_and_a_backtick_are_on_the_page(wages, tmp_path):
    rename = {"educ": "*starred", "exper": "really?`why", "tiny": "*"}
    table = bh.regtable(
        wages[1], rename=rename, below=None, stars=False, drop="Intercept", extra={"a": ["b"], "*c": ["d"]}
    )
    for options in ({}, {"siunitx": True}):
        compiled(table.to_latex(standalone=True, **options), tmp_path)
        page = subprocess.run(
            ["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        names = [line.split()[0] for line in page.stdout.splitlines() if line.split()]
        assert {"*starred", "*", "*c"} <= set(names)
        assert any(name.startswith("really?") for name in names)


@needs_pdflatex
def test_notes_do_not_widen_a_table(wages, tmp_path):
    table = bh.regtable(wages[0], stats=["nobs"], stars=False, digits=2, notes="A long sentence about the table. " * 3)
    rows = [row for row in table.to_latex().splitlines() if r"\footnotesize" in row]
    assert max(len(row.split("footnotesize ")[1]) for row in rows) < 40
    compiled(paper(table.to_latex()), tmp_path)


def test_only_the_tabular_by_default(wages, tmp_path):
    path = tmp_path / "table.tex"
    text = bh.regtable(wages).to_latex(path)
    assert text == path.read_text(encoding="utf-8")
    assert text.startswith("% Needs \\usepackage{booktabs}.\n\\begin{tabular}{lccc}\n\\toprule\n")
    assert text.endswith("\\end{tabular}\n")
    assert "\\documentclass" in bh.regtable(wages).to_latex(standalone=True)


def test_a_caption_makes_a_float(wages):
    text = bh.regtable(wages).to_latex(caption="Wages", label="tab:w", position="t")
    for part in (
        r"\begin{table}[t]",
        r"\caption{Wages}",
        r"\label{tab:w}",
        r"\begin{tablenotes}",
        r"\end{threeparttable}",
    ):
        assert part in text
    assert r"\caption{Regression results}" in bh.regtable(wages).to_latex(label="tab:w")


def test_numbers_have_minus_signs_and_powers(wages):
    text = bh.regtable(wages[1], keep=["exper", "tiny"]).to_latex()
    assert re.search(r"exper & \$-\$0\.\d{4}", text)
    assert re.search(r"\d\.\d\d\$\\times10\^\{-\d+\}\$", text)
    # In intervals as well, which stand in braces in an S column.
    interval = bh.regtable(wages[1], keep="tiny", below="ci").to_latex()
    assert re.search(r"\{\[\}(\$-\$)?\d\.\d\d\$\\times10\^\{-\d+\}\$, ", interval)
    assert not re.search(r"\de-\d", interval)
    # Parentheses follow a number without an exponent at once.
    assert "table-align-exponent=false" in bh.regtable(wages[1]).to_latex(siunitx=True)
    aligned = bh.regtable(wages[1], keep=["exper", "tiny"]).to_latex(siunitx=True)
    assert re.search(r"\{\(\}\d\.\d\de-\d+\{\)\}", aligned)


@pytest.mark.parametrize(
    ("style", "stars"), [("aer", False), ("econometrica", False), ("qje", True), ("booktabs", True)]
)
def test_journals_that_print_no_stars(wages, style, stars):
    text = bh.regtable(wages).to_latex(style=style)
    assert (r"\textsuperscript{*" in text) is stars
    assert ("*** p" in text) is stars


def test_a_style_of_ones_own(wages):
    own = bh.LatexStyle(top=r"\specialrule{1pt}{0pt}{3pt}", lead="Source:", parentheses=False)
    text = bh.regtable(wages).to_latex(style=own)
    assert r"\specialrule{1pt}{0pt}{3pt}" in text
    assert "Source: Standard errors" in text
    assert r"\multicolumn{1}{c}{1}" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"style": "science"}, "use one of 'booktabs'"),
        ({"fit": "shrink"}, "use 'resize', 'landscape' or None"),
        ({"label": "tab{1}"}, "label is 'tab{1}'"),
        ({"caption": 3}, "caption is 3; pass a string"),
        ({"label": 3}, "label is 3; pass a string"),
        ({"position": "x"}, "some of the letters of 'htbp!H'"),
        ({"path": "/no/such/folder/table.tex"}, "in a folder that does not exist"),
    ],
)
def test_bad_options(wages, options, sentence):
    with pytest.raises(bh.OptionError, match=re.escape(sentence)):
        bh.regtable(wages).to_latex(**options)


def test_letters_of_other_scripts_are_left_alone():
    assert escape_latex("зарплата_й 工资") == r"зарплата\_й 工资"


@pytest.mark.parametrize("letter", list("\u0391\u0395\u03bf\u03bb\u03c2\u03a3\u03c9"))
def test_greek_is_mathematics_or_its_letter(letter):
    assert escape_latex(letter).isascii()
