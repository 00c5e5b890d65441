r"""`bh.Tex`: LaTeX reads a label as it is, everything else prints text, and what would break the table is refused."""

import copy
import pickle
import re

import numpy as np
import pytest
from support.latex import compiled, needs_pdflatex

import betahat as bh
from betahat.tables.terms import renamed

BETA = bh.Tex(r"$\hat\beta_1$")


def everywhere(res, label):
    """A table with a label in every place that takes one."""
    return bh.regtable(
        {label: res, "plain": res},
        rename={"educ": label, "wage": label},
        groups={label: ["educ"]},
        heads=[label, "b"],
        extra={label: [label, 1]},
        stats={label: lambda result: label, "N": "nobs"},
        notes=[label, "A sentence with 50%."],
        title=label,
    )


def test_latex_is_printed_as_it_is_and_text_elsewhere(short):
    table = everywhere(short, BETA)
    page = table.to_latex(caption=BETA)
    assert page.count(r"$\hat\beta_1$") == 12
    assert r"50\%" in page
    assert table.to_latex().count(r"$\hat\beta_1$") == 11  # the title is no caption here
    for text in (table.to_text(), table.to_html(), table.to_markdown(), table.to_typst()):
        assert r"\hat" not in text
        assert "β\u0302" in text
    assert ("β\u0302_1", "coef") in table.to_frame().index


def test_the_other_formats_may_be_told(short):
    label = bh.Tex(r"\textbf{Schooling}", "Schooling (years)")
    table = bh.regtable(short, rename={"educ": label})
    assert "Schooling (years)" in table.to_text()
    assert "\n\\textbf{Schooling} & " in table.to_latex()
    assert "Schooling (years)" not in table.to_latex()
    assert bh.Tex(r"\checkmark") == r"\checkmark"  # which is nothing in text
    assert bh.Tex(r"$R^2$ \textit{within}") == "R^2 within"


def test_groups_of_a_pattern_stand_in_it(short):
    """As text: what LaTeX would read otherwise is escaped."""
    label = bh.Tex(r"$\beta_{\text{\1}}$ \g<rest>")
    for given, said in ((label, "βe duc"), (bh.Tex(label.latex, r"b(\1, \g<rest>)"), "b(e, duc)")):
        table = bh.regtable(short, rename={re.compile(r"^(e)(?P<rest>duc)$"): given}, keep="educ")
        assert r"$\beta_{\text{e}}$ duc &" in table.to_latex()
        assert said in table.to_text().replace("_", "")
    assert renamed("Intercept", {re.compile("educ"): bh.Tex(r"$\hat\beta$")}) == "Intercept"
    assert renamed("event_1", {re.compile("(.*)"): bh.Tex(r"\1")}).latex == r"event\_1"
    with pytest.raises(bh.OptionError, match="which has no group 3; refer to groups of the pattern"):
        bh.regtable(short, rename={re.compile("e(d)uc"): bh.Tex(r"$\3$")})


def test_a_pattern_stands_for_the_whole_name(long):
    table = bh.regtable(long, rename={re.compile("region"): bh.Tex(r"$\delta$")}, keep=re.compile("T.1"), below=None)
    assert r"$\delta$ & " in table.to_latex()
    assert [line.name for line in table.layout.body[0].lines] == ["δ"]


def test_rows_of_effects_take_labels(short):
    firms = bh.OLS(
        np.arange(6.0), np.array([[1.0], [3.0], [2.0], [5.0], [4.0], [4.0]]), absorb=[0, 0, 1, 1, 2, 2]
    ).fit()
    name = firms.fit.absorbed.names[0]
    table = bh.regtable(firms, rename={f"{name} effects": bh.Tex(r"Firm effects, $\alpha_i$")})
    assert r"Firm effects, $\alpha_i$ & yes \\" in table.to_latex()


def test_labels_are_copied_and_kept(short):
    for again in (copy.copy(BETA), copy.deepcopy(BETA), pickle.loads(pickle.dumps(BETA))):
        assert (again, again.latex, type(again)) == (BETA, BETA.latex, bh.Tex)
    assert repr(BETA) == r"Tex('$\\hat\\beta_1$')"
    table = bh.regtable(short, rename={"educ": BETA})
    assert copy.deepcopy(table.layout.body).__eq__(table.layout.body)


@pytest.mark.parametrize("latex", ["* a", "[a]", "*"])
def test_what_a_row_would_read_as_an_option_is_kept_apart(short, latex):
    page = bh.regtable(short, rename={"educ": bh.Tex(latex)}).to_latex()
    assert f"\n{{}}{latex} & " in page


@pytest.mark.parametrize(
    ("latex", "problem"),
    [
        (r"\textbf{a", "has a brace without its partner"),
        ("a}{b", "has a brace without its partner"),
        ("$x", "has a dollar sign without its partner"),
        ("50% of", r"has a % or a #; write \% or \#"),
        ("no. #1", "has a % or a #"),
        ("R&D", r"has an & or a \\ outside of braces"),
        (r"a \\ b", r"has an & or a \\ outside of braces"),
        ("a\\", "ends in a backslash"),
    ],
)
def test_latex_that_would_break_the_table_is_refused(latex, problem):
    with pytest.raises(bh.OptionError, match=re.escape(problem)) as caught:
        bh.Tex(latex)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("given", [(3,), (None,), ("a", 3)])
def test_what_is_no_string_is_refused(given):
    with pytest.raises(bh.OptionError, match="Tex takes a string of LaTeX, such as"):
        bh.Tex(*given)


@needs_pdflatex
def test_labels_compile(short, tmp_path):
    labels = [
        r"$\hat\beta_1$",
        r"\$5 \& \%",
        r"\shortstack{a\\b}",
        r"$\Delta \log(y_{it})$",
        "*",
        "[a]",
        r"\emph{a} -- b",
    ]
    pages = [everywhere(short, bh.Tex(label)).to_latex(siunitx=aligned, standalone=True) for label in labels for aligned in (False, True)]  # fmt: skip
    body = "\n\\clearpage\n".join(
        page.partition("\\begin{document}")[2].removesuffix("\\end{document}\n") for page in pages
    )
    head = next(page for page in pages if "siunitx" in page).partition("\\begin{document}")[0]
    compiled(f"{head}\\begin{{document}}\n{body}\\end{{document}}\n", tmp_path)
