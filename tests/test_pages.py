"""Pages for whoever works on betahat name rooms and files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "betahat"


@pytest.mark.parametrize("page", ["docs/glossary.rst", "docs/design.rst", "CONTRIBUTING.md", "docs/conventions.rst"])
def test_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", text))
    assert names or "conventions" in page
    missing = [name for name in names if not any((base / name).exists() for base in (SOURCE, ROOT))]
    assert not missing


def test_rooms_have_the_files_that_contributing_says():
    """A file without a room stands in the row of its own."""
    table = re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert len(table) > 10
    missing = [
        f"{room}/{name}"
        for room, text in table
        for name in re.findall(r"`(\w+\.py)`", text)
        if not (SOURCE / room / name).exists()
    ]
    assert not missing


# Characters that fit a page of 1280 pixels, in the type of docs/static/pages.css: of a page, and of a docstring, which is indented there.
WIDEST = {"docs/**/*.rst": 102, "src/betahat/**/*.py": 95}


@pytest.mark.parametrize("pattern", WIDEST)
def test_examples_are_no_wider_than_their_column(pattern):
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(ROOT.glob(pattern))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (text := line.strip()).startswith((">>> ", "... ")) and len(text) > WIDEST[pattern]
    ]
    assert not wide
