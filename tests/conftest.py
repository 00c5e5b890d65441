"""One thread a process; and a note of each line of the package that raised or warned, in the whole session, beside all such lines."""

import ast
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: threads of small problems only wait for each other

import pytest

import betahat as bh

pytest.register_assert_rewrite("support")

from support.clusters import dask, loky, processes, ray, threads, workers  # noqa: E402, F401  # fixtures of the whole session

SOURCE = Path(bh.__file__).parent
TESTS = Path(__file__).parent
LAST = ("test_every_site_is_provoked", "test_every_sentence_ends")
OURS = ("DataError", "FormulaError", "OptionError", "EstimationError", "MissingPackageError", "WorkerError")
_said: dict[tuple[str, int], str] = {}
_kept = {}


def _note(frame, message):
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(SOURCE):
        _said[path.relative_to(SOURCE).as_posix(), frame.f_lineno] = str(message)


def pytest_addoption(parser):
    """Let `make slow` ask for all."""
    parser.addoption("--slow", action="store_true", help="run all slow tests, and not an eighth of each")


def _without_most_slow_ones(config, items):
    """Leave out seven in eight cases of each slow test, unless they were asked for by file, name or --slow."""
    if config.option.slow or not _is_whole(config):
        return
    seen = Counter()
    left_out = []
    for item in items:
        if item.get_closest_marker("slow"):
            name = item.nodeid.partition("[")[0]
            if seen[name] % 8:
                left_out.append(item)
            seen[name] += 1
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def pytest_collection_modifyitems(config, items):
    """Begin to note; the test that reads the notes goes last."""
    _without_most_slow_ones(config, items)
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


def pytest_sessionfinish(session):
    """Take the notebook away; a process that shares the tests with others (pytest -n) hands its notes on, and their sum is read here."""
    config = session.config
    if _kept:
        warnings.warn = _kept.pop("warn")
        del bh.BetahatError.__init__
    if _is_worker(config):
        config.workeroutput["said"] = [(*place, text) for place, text in _said.items()]
    elif _shares(config) and _is_whole(config):
        silent = _silent()
        if silent:
            config.get_terminal_writer().line("\nno test provokes these:\n" + "\n".join(silent), red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add what a process noted to the notes of all."""
    for path, line, text in getattr(node, "workeroutput", {}).get("said", ()):
        _said[path, line] = text


def pytest_terminal_summary(terminalreporter):
    """Say in one line what was skipped, which on one machine is always the same."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    )
    if reasons:
        terminalreporter.line("skipped: " + "; ".join(f"{n} {reason}" for reason, n in reasons.most_common()))


@pytest.fixture(autouse=True)
def one_second(monkeypatch):
    """Summaries print the time, and two of them may be made before and after the turn of a second."""
    asked, now = time.localtime, time.localtime()
    monkeypatch.setattr(time, "localtime", lambda *given: asked(*given) if given else now)


@pytest.fixture
def said():
    """{(file, line): sentence} of what was raised or warned so far, by this process."""
    return _said


@pytest.fixture
def silent(request):
    """The places that raise or warn and that nothing in this session has provoked.

    Skips where only some of the tests run. Of processes that share them none knows what the others provoke, so that
    `pytest_sessionfinish` reads the notes of all.
    """
    if _is_worker(request.config) or not _is_whole(request.config):
        pytest.skip("only some of the tests run in this process")
    return _silent()


@pytest.fixture(scope="session")
def sites():
    """[(file, first line, last line, function)] of each raise of an error of ours and each warning."""
    return _sites()


def _is_worker(config):
    return getattr(config, "workerinput", None) is not None


def _shares(config):
    return bool(getattr(config.option, "numprocesses", None))


def _is_whole(config):
    chosen = [TESTS / ".." / path for path in config.args]
    return not (config.option.keyword or config.option.markexpr or config.option.deselect) and any(
        path.resolve() in (TESTS, TESTS.parent) for path in chosen
    )


def _silent():
    return [
        f"{path}:{first} {name}"
        for path, first, last, name in _sites()
        if not any((path, line) in _said for line in range(first, last + 1))
    ]


def _sites():
    return [site for path in sorted(SOURCE.rglob("*.py")) for site in _sites_of(path)]


def _sites_of(path):
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


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for examples in the package alone: the tests have none."""
    return [found for found in (yield) if type(found).__name__ != "DoctestModule"]
