"""One thread a process, the tests of a file in one process; and a note of each line of the package that raised or warned, beside all such lines."""

import ast
import gc
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: threads of small problems only wait for each other
# Processes that tests start read what this one has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import pytest  # noqa: E402

import betahat as bh  # noqa: E402

pytest.register_assert_rewrite("support")

from support.clusters import dask, loky, processes, ray, threads, workers  # noqa: E402, F401  # fixtures of the whole session

SOURCE = Path(bh.__file__).parent
TESTS = Path(__file__).parent
LAST = ("test_every_site_is_provoked", "test_every_sentence_ends")
SHARED = ("processes", "loky", "dask", "ray")  # workers that one process starts, of those that share the tests
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


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect no garbage while tests are, nor afterwards look at the tests for some, which takes as long as they do."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Begin to note; tests that share workers go first, since they take long, and the test that reads the notes last."""
    _without_most_slow_ones(config, items)
    for item in items:
        if not _group(item):
            for name in {*SHARED} & {*getattr(item, "fixturenames", ())}:
                item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: (item.name in LAST, not _group(item)))
    if _kept:
        return
    warn = _kept["warn"] = warnings.warn
    asked = _kept["localtime"] = time.localtime
    _kept["now"] = asked()

    def frozen_localtime(*given):
        return asked(*given) if given else _kept["now"]

    time.localtime = frozen_localtime

    def noted_warn(message, category=None, stacklevel=1, *given, **options):
        _note(sys._getframe(1), message)
        return warn(message, category, stacklevel + 1, *given, **options)

    def noted_error(self, *given):
        _note(sys._getframe(1), *given)
        ValueError.__init__(self, *given)

    warnings.warn = noted_warn
    bh.BetahatError.__init__ = noted_error


def pytest_runtest_setup():
    """Stop the clock for a test: summaries print the time, and two of them may be made before and after the turn of a second."""
    _kept["now"] = _kept["localtime"]()


def _group(item):
    """Return the kinds of workers that a test needs."""
    return [mark.args[0] for mark in item.iter_markers("xdist_group")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a process all tests of a file, so that what they share is made once, or of a group (pytest -n 2 --dist loadgroup)."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            return nodeid.rpartition("@")[2] if nodeid.rfind("@") > nodeid.rfind("]") else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # groups, which take longest, stand first
    return ByFile(config, log)


def pytest_sessionfinish(session):
    """Take the notebook away; a process that shares the tests with others (pytest -n) hands its notes on, and their sum is read here."""
    config = session.config
    if _kept:
        warnings.warn, time.localtime = _kept["warn"], _kept["localtime"]
        _kept.clear()
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
