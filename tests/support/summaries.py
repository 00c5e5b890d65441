"""Summaries by either package, compared as text, HTML and LaTeX."""

import re

_LAYOUTS = set()


def check_summaries(mine, theirs, quiet, **options):
    """Assert that two results print the same, in every format."""
    check_printed(mine.summary(**options), quiet(theirs.summary, **options), quiet)


def check_printed(mine, theirs, quiet, read=str):
    """Assert that two summaries print the same text, and of each layout of labels and numbers, once, the same HTML and LaTeX, which have its cells."""
    said = read(mine.as_text())
    assert said == read(quiet(theirs.as_text))
    layout = re.sub(r"[-+]?\d", "0", said)
    if layout in _LAYOUTS:
        return
    _LAYOUTS.add(layout)
    for name in ("as_html", "as_latex"):
        said, expected = read(getattr(mine, name)()), read(quiet(getattr(theirs, name)))
        # Of names with & or < the HTML is what a browser makes of statsmodels', which does not escape them; in LaTeX those with
        # ^, a backslash or < are texts, and statsmodels' are commands.
        as_browsers = name == "as_html" and packed(said) == packed(escaped(expected))
        as_commands = name == "as_latex" and packed(commands(said)) == packed(expected)
        assert said == expected or as_browsers or as_commands, name


def packed(text):
    """Leave out the white space, with which cells are padded."""
    return re.sub(r"\s", "", text)


def commands(text):
    """Turn texts of LaTeX into the commands that statsmodels leaves."""
    text = text.replace("\\textasciicircum{}", "^").replace("\\textless{}", "<")
    return text.replace("\\textbackslash{}", "\\")


def escaped(text):
    """Escape what is no tag and no character reference of statsmodels' own HTML."""
    return re.sub(r"<(?!/?(table|caption|tr|th|td|br)\b)", "&lt;", re.sub(r"&(?!\w+;)", "&amp;", text))
