"""pdflatex: whether it is there with what tables need, and what it makes of a document."""

import shutil
import subprocess

import pytest

STYLE_FILES = ["siunitx.sty", "threeparttable.sty", "adjustbox.sty", "pdflscape.sty", "booktabs.sty"]


def has_latex():
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    found = subprocess.run(["kpsewhich", *STYLE_FILES], capture_output=True, text=True, check=False).stdout
    return len(found.split()) == len(STYLE_FILES)


needs_pdflatex = pytest.mark.skipif(not has_latex(), reason="pdflatex with siunitx and threeparttable is not installed")


def compiled(document, folder):
    """Compile a document, and return how it ended and what it warned of."""
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
