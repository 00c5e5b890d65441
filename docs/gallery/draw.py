"""Draw tables: compile each .tex of the gallery and of the papers with pdflatex, and keep a picture and what it is of.

Run by `make gallery`, after the examples of the pages have written the files. It needs pdflatex and pdftoppm.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

GALLERY = Path(__file__).parent
FOLDERS = (GALLERY, GALLERY.parent / "papers")
DOCUMENT = r"""\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{%s}
\begin{document}
\thispagestyle{empty}
%s
\end{document}
"""
DPI = 200
MARGIN = 20  # pixels of white around a table


def draw(tex: Path) -> None:
    """Compile a table and keep its picture."""
    text = tex.read_text(encoding="utf-8")
    packages = re.match(r"% Needs \\usepackage\{(.*)\}\.", text)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "table.tex")
        source.write_text(DOCUMENT % (packages.group(1) if packages else "array", text), encoding="utf-8")
        for command in (
            ["pdflatex", "-interaction=batchmode", "-halt-on-error", "table.tex"],
            ["pdftoppm", "-r", str(DPI), "-gray", "-png", "-singlefile", "table.pdf", "table"],
        ):
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        page = Image.open(Path(folder, "table.png")).convert("L")
    left, top, right, bottom = ImageChops.invert(page).getbbox()
    page.crop((left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)).save(
        tex.with_suffix(".png"), optimize=True
    )


def fingerprint(tex: Path) -> str:
    """Say which file a picture is of."""
    return hashlib.sha256(tex.read_bytes()).hexdigest()


if __name__ == "__main__":
    for folder in FOLDERS:
        tables = sorted(folder.glob("*.tex"))
        for table in tables:
            draw(table)
        record = {table.name: fingerprint(table) for table in tables}
        (folder / "pictures.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
