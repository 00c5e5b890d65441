"""What is released: a wheel that holds the package and nothing else, and a citation of its version."""

import importlib.util
import re
import zipfile
from pathlib import Path

import pytest

import betahat as bh

ROOT = Path(__file__).parents[1]


def test_the_citation_names_the_version():
    """Its syntax is checked by `cffconvert --validate`."""
    told = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^cff-version: 1\.2\.0$", told, re.M)
    assert re.search(r"^version: (.*)$", told, re.M)[1] == bh.__version__


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")
def test_the_wheel_holds_the_package(tmp_path, monkeypatch):
    from hatchling.build import build_wheel

    monkeypatch.chdir(ROOT)
    wheel = zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path)))
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    written = {path.relative_to(source).as_posix() for path in source.joinpath("betahat").rglob("*") if path.is_file()}
    assert held == {name for name in written if "__pycache__" not in name}
    assert "betahat/py.typed" in held
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    assert f"\nVersion: {bh.__version__}\n" in wheel.read(metadata).decode()
