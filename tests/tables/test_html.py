"""HTML is well formed, escaped, semantic and without script."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import betahat as bh

VOID = {"br", "col", "meta"}


class Reader(HTMLParser):
    """Reads a table: that tags close in order, and what the cells say."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(("", int(dict(attrs).get("colspan", 1))))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            text, span = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data, span)


def read(table):
    reader = Reader()
    reader.feed(table.to_html())
    reader.close()
    assert reader.open == []
    return reader


NAMES = ["a<b", "R&D", "<script>alert(1)</script>", "'quoted' \"twice\"", "a_b", "</table>", "&amp;"]


@pytest.fixture(scope="module")
def hostile():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(60, len(NAMES))), columns=NAMES)
    return bh.OLS(data.sum(axis=1).rename("<y>") + rng.normal(size=60), data).fit()


def test_everything_is_escaped(hostile):
    table = bh.regtable(
        {"<i>": hostile}, groups={"<g>": NAMES[:2]}, extra={"<x>": ["<b>"]}, notes="<note>", title="<title>"
    )
    reader = read(table)
    assert {tag for tag, _ in reader.tags} <= {
        "style",
        "table",
        "caption",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "th",
        "td",
        "span",
    }
    said = [text for row in reader.rows for text, _ in row]
    assert {*NAMES, "<y>", "<i>", "<g>", "<x>", "<b>", "<note>"} <= set(said)
    assert "<script" not in table.to_html()
    assert "<title>" not in table.to_html()


def test_every_row_has_the_same_width(short, long, logit):
    reader = read(bh.regtable([short, long, logit], below=["se", "ci"], groups={"A": ["educ"]}))
    assert {sum(span for _, span in row) for row in reader.rows} == {4}


def test_heads_are_heads(short, long):
    tags = read(bh.regtable([short, long])).tags
    scopes = [attrs.get("scope") for tag, attrs in tags if tag == "th"]
    assert scopes[:3] == ["colgroup", "col", "col"]
    assert set(scopes[3:]) == {"row"}


def test_cells_are_those_of_the_text(short, long):
    table = bh.regtable([short, long])
    said = [[text for text, _ in row] for row in read(table).rows]
    for line in table.layout.lines:
        assert [line.name, *(re.sub(r"^-|(?<=\()-", "\u2212", cell.text) + cell.marks for cell in line.cells)] in said


def test_names_keep_their_hyphens_and_numbers_are_not_bold_without_the_style(short):
    text = bh.regtable(short, rename={"educ": "lag -1"}, extra={"x -2": ["-3"]}, notes="Below -4.").to_html()
    for part in ("lag -1", "x -2", "Below -4.", "<td>\u22123</td>"):
        assert part in text
    assert "<b" not in re.sub("<tbody|<body", "", text)


def test_it_is_written(short, tmp_path):
    path = tmp_path / "table.html"
    assert bh.regtable(short).to_html(path) == path.read_text(encoding="utf-8")
    assert bh.regtable(short)._repr_html_() == bh.regtable(short).to_html()


@pytest.mark.parametrize("model", ["ols", "logit", "mnlogit"])
def test_summaries_escape_names_and_are_statsmodels_own_otherwise(model):
    rng = np.random.default_rng(4)
    name = "<script>alert('&')</script>"
    data = pd.DataFrame(rng.normal(size=(90, 2)), columns=[name, "x"])
    y = pd.Series(np.arange(90) % (3 if model == "mnlogit" else 2), name="<img>")
    fit = {"ols": bh.OLS, "logit": bh.Logit, "mnlogit": bh.MNLogit}[model](y, data).fit()
    printed = [fit.summary(), fit.summary2(), *([fit.get_margeff().summary()] if model != "ols" else [])]
    for summary in printed:
        assert "<script" not in summary._repr_html_()
        assert "<img" not in summary.as_html()
        assert "&lt;script>alert('&amp;')" in summary.as_html()
        assert name in str(summary)
    plain = {"ols": bh.OLS, "logit": bh.Logit, "mnlogit": bh.MNLogit}[model](
        y.rename("y"), data.set_axis(["a", "b"], axis=1)
    ).fit()
    for summary in (plain.summary(), plain.summary2()):
        assert summary.as_html() == type(summary).__mro__[1].as_html(summary)


def test_results_show_their_summary_in_notebooks(short, logit, data, monkeypatch):
    formatters = pytest.importorskip("IPython.core.formatters")
    names = data.rename(columns={"educ": "<script>alert(1)</script>"})
    hostile = bh.OLS(names["wage"], names[["<script>alert(1)</script>"]]).fit()
    for result in (short, logit.with_cov("HC1"), hostile):
        shown, _ = formatters.DisplayFormatter().format(result)
        assert shown["text/html"] == result.summary()._repr_html_()
        assert "<script" not in shown["text/html"]
        assert shown["text/plain"] == repr(result)

    def refuse(result, *given):
        raise bh.EstimationError("There is no summary.")

    monkeypatch.setattr(type(short), "summary", refuse)
    assert set(formatters.DisplayFormatter().format(short)[0]) == {"text/plain"}
