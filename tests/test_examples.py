"""What the README and the examples show is what they print."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_readme_prints_what_it_shows(capsys):
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 7
    names = {}
    for code, printed in blocks:
        exec(compile(code, "README.md", "exec"), names)
        shown = capsys.readouterr().out
        assert [line.rstrip() for line in shown.splitlines()] == [line.rstrip() for line in printed.splitlines()]


def test_the_demo_runs_and_writes_its_table(tmp_path):
    script = tmp_path / "wages.py"
    script.write_text((ROOT / "examples" / "wages.py").read_text(encoding="utf-8"), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    # Wooldridge (2020), Example 8.1, prints the robust standard errors with n / (n - k): 0.109, 0.057, 0.058, 0.0074.
    row = next(line for line in done.stdout.splitlines() if line.startswith("Intercept"))
    assert "(0.1095)" in row
    assert (
        (tmp_path / "wages.tex")
        .read_text(encoding="utf-8")
        .startswith("% Needs \\usepackage{booktabs}.\n\\begin{tabular}{lcccccc}")
    )


def test_the_pictures_of_the_gallery_are_of_its_tables():
    folder = ROOT / "docs" / "gallery"
    record = json.loads((folder / "pictures.json").read_text(encoding="utf-8"))
    tables = sorted(folder.glob("*.tex"))
    assert len(tables) >= 4
    # `make gallery` draws them anew.
    assert record == {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables}
    assert all(table.with_suffix(".png").is_file() for table in tables)
