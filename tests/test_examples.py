"""What the README and the examples show is what they print."""

import hashlib
import json
import re
import runpy
from pathlib import Path

import pytest
from support.latex import compiled, needs_pdflatex

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_readme_prints_what_it_shows(capsys):
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 4
    names = {}
    for code, printed in blocks:
        exec(compile(code, "README.md", "exec"), names)
        shown = capsys.readouterr().out
        assert [line.rstrip() for line in shown.splitlines()] == [line.rstrip() for line in printed.splitlines()]


def test_the_demo_runs_and_writes_its_table(tmp_path, capsys):
    script = tmp_path / "wages.py"
    script.write_text((ROOT / "examples" / "wages.py").read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    # Wooldridge (2020), Example 8.1, prints the robust standard errors with n / (n - k): 0.109, 0.057, 0.058, 0.0074.
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Intercept"))
    assert "(0.1095)" in row
    assert (
        (tmp_path / "wages.tex")
        .read_text(encoding="utf-8")
        .startswith("% Needs \\usepackage{booktabs}.\n\\begin{tabular}{lcccccc}")
    )


@pytest.mark.parametrize("name", ["gallery", "papers"])
def test_the_pictures_of_pages_are_of_their_tables(name):
    folder = ROOT / "docs" / name
    record = json.loads((folder / "pictures.json").read_text(encoding="utf-8"))
    tables = sorted(folder.glob("*.tex"))
    assert len(tables) >= 4
    # `make gallery` draws them anew.
    assert record == {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables}
    assert all(table.with_suffix(".png").is_file() for table in tables)


@needs_pdflatex
def test_the_tables_of_the_papers_compile_and_fit_their_pages(tmp_path):
    """All of them in one document, as an author would have them: without an error, a warning, or a line that sticks out."""
    tables = sorted((ROOT / "docs" / "papers").glob("*.tex"))
    texts = [table.read_text(encoding="utf-8") for table in tables]
    packages = sorted(
        {name for text in texts for name in re.match(r"% Needs \\usepackage\{(.*)\}\.", text)[1].split(",")}
    )
    document = [
        r"\documentclass{article}",
        r"\usepackage[margin=2cm]{geometry}",
        rf"\usepackage{{{','.join(packages)}}}",
    ]
    document += [r"\begin{document}", *[rf"\input{{{table}}}" for table in tables], r"\end{document}"]
    log = compiled("\n".join(document), tmp_path)
    assert len(tables) >= 5
    assert not [line for line in log.splitlines() if line.startswith(("Overfull", "LaTeX Warning", "Package"))], log
