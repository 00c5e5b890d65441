"""Notes at which lines of the package errors and warnings are made, in the whole session, and knows all such lines."""

import ast
import sys
import warnings
from pathlib import Path

import pytest

import betahat as bh

SOURCE = Path(bh.__file__).parent
TESTS = Path(__file__).parents[1]
LAST = ("test_every_site_is_provoked", "test_every_sentence_ends")
OURS = ("DataError", "FormulaError", "OptionError", "EstimationError", "MissingPackageError")
_said: dict[tuple[str, int], str] = {}
_kept = {}


def _note(frame, message):
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(SOURCE):
        _said[path.relative_to(SOURCE).as_posix(), frame.f_lineno] = str(message)


def pytest_collection_modifyitems(items):
    """Begin to note; the test that reads the notes goes last."""
    items.sort(key=lambda item: item.name in LAST)
    if _kept:
        return
    warn = _kept["warn"] = warnings.warn

    def noted_warn(message, category=None, stacklevel=1, *given, **options):
        _note(sys._getframe(1), message)
        return warn(message, category, stacklevel + 1, *given, **options)

    def noted_error(self, *given):
        _note(sys._getframe(1), *given)
        ValueError.__init__(self, *given)

    warnings.warn = noted_warn
    bh.BetahatError.__init__ = noted_error


def pytest_sessionfinish():
    """Take the notebook away."""
    if _kept:
        warnings.warn = _kept.pop("warn")
        del bh.BetahatError.__init__


@pytest.fixture
def said():
    """{(file, line): sentence} of what was raised or warned so far."""
    return _said


@pytest.fixture
def whole_session(request):
    """Skip where only some of the tests run, or several processes share them, which says nothing of what the others provoke."""
    shared = getattr(request.config, "workerinput", None) is not None
    here = {item.path for item in request.session.items}
    if shared or request.config.option.keyword or not all(path in here for path in TESTS.rglob("test_*.py")):
        pytest.skip("only some of the tests run")


@pytest.fixture(scope="session")
def sites():
    """[(file, first line, last line, function)] of each raise of an error of ours and each warning."""
    return [site for path in sorted(SOURCE.rglob("*.py")) for site in _sites(path)]


def _sites(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            names.update(dict.fromkeys(ast.walk(function), function.name))
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call):
            continue
        raises = isinstance(node, ast.Raise) and getattr(call.func, "id", None) in OURS
        if raises or (isinstance(call.func, ast.Attribute) and call.func.attr == "warn"):
            yield path.relative_to(SOURCE).as_posix(), node.lineno, node.end_lineno, names.get(node, "")
