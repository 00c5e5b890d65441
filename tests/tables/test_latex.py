"""Tables compile in LaTeX the first time, and say what the results say."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.tables.table import escape_latex

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
AWKWARD = [
    "a_b",
    "50% off",
    "R&D",
    "cost $",
    "no. #1",
    "x^2",
    "a~b",
    "back\\slash",
    "{braces}",
    "a<b",
    "a>b",
    "p|q",
    "β",
    "Δ_Ω",
]
needs_pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def compile_latex(body, folder):
    (folder / "paper.tex").write_text(DOCUMENT % body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def results():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(60, len(AWKWARD))), columns=AWKWARD)
    endog = (data.sum(axis=1) + rng.normal(size=60)).rename("y_1 & y_2")
    return bh.OLS(endog, bh.add_constant(data)).fit()


@needs_pdflatex
def test_tables_with_awkward_names_compile(results, tmp_path):
    other = results.with_cov("HC3")
    body = bh.compare(results, ["nonrobust", "HC1"]).to_latex() + "\n\n" + bh.regtable([results, other]).to_latex()
    done = compile_latex(body, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 0


@needs_pdflatex
def test_the_summary_compiles(tmp_path):
    rng = np.random.default_rng(4)
    data = pd.DataFrame(rng.normal(size=(30, 2)), columns=["log_wage", "educ_years"])
    text = bh.OLS(data["log_wage"], data[["educ_years"]]).fit().summary().as_latex()
    done = compile_latex(text, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]


def test_to_latex_writes_what_it_returns(results, tmp_path):
    path = tmp_path / "table.tex"
    assert bh.compare(results, ["HC1"]).to_latex(path) == path.read_text(encoding="utf-8")


def test_a_table_says_what_it_must(results):
    table = bh.regtable([results, results.with_cov("HC1")])
    text = table.to_latex()
    for line in (r"\toprule", r"\midrule", r"\bottomrule", r"Std. errors & nonrobust & HC1 \\", r"N & 60 & 60 \\"):
        assert line in text
    assert f"R$^2$ & {results.rsquared:.4f} & {results.rsquared:.4f}" in text
    assert "* p\\textless{}0.1, ** p\\textless{}0.05, *** p\\textless{}0.01" in text
    assert f"({results.bse.iloc[1]:.4f})" in text


def test_stars_follow_the_p_values():
    from betahat.tables.table import stars

    assert [stars(p) for p in (0.5, 0.1, 0.0999, 0.05, 0.04, 0.01, 0.009, float("nan"))] == [
        "",
        "",
        "*",
        "*",
        "**",
        "**",
        "***",
        "",
    ]


def test_regtable_leaves_gaps_where_a_model_lacks_a_term():
    x = np.random.default_rng(5).normal(size=(40, 2))
    frame = pd.DataFrame(x, columns=["a", "b"])
    y = pd.Series(x.sum(1) + 1, name="y") + np.sin(np.arange(40))
    table = bh.regtable([bh.OLS(y, frame).fit(), bh.OLS(y, frame[["b"]]).fit()])
    assert np.isnan(table.to_frame().loc[("a", "coef"), "(2)"])
    assert table.to_frame().loc[("b", "coef"), "(2)"] == bh.OLS(y, frame[["b"]]).fit().params["b"]


def test_html_is_escaped(results):
    html = bh.regtable([results]).to_html()
    assert "a&lt;b" in html
    assert "R&amp;D" in html
    assert "a<b" not in html
    assert html.count("<tr>") == html.count("</tr>")


def test_text_columns_line_up(results):
    lines = bh.compare(results, ["nonrobust", "HC3"]).to_text().splitlines()
    assert len({len(line) for line in lines if line.startswith(("=", "-"))}) == 1


@pytest.mark.parametrize("letter", list("\u0391\u0395\u03bf\u03bb\u03c2\u03a3\u03c9"))
def test_greek_is_mathematics(letter):
    assert escape_latex(letter).startswith("$")
