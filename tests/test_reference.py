"""The reference is complete: each public name is listed, and says what it takes, returns, raises, and whom it follows."""

import ast
import importlib
import inspect
import re
import textwrap
import warnings
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.models import registry

docscrape = pytest.importorskip("numpydoc.docscrape")

API = (Path(__file__).parents[1] / "docs" / "api.rst").read_text(encoding="utf-8")
LISTED = re.findall(r"^   ~?([\w.]+)$", API, re.M)
RECORDS = [name for name in LISTED if "." in name]
MODELS = tuple(entry.model.__name__ for entry in registry.MODELS if entry.model.__name__ in bh.__all__)


def _record(dotted):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(f"betahat.{module}"), name)


NAMES = {name: getattr(bh, name) for name in bh.__all__} | {name: _record(name) for name in RECORDS}
CLASSES = {name: found for name, found in NAMES.items() if inspect.isclass(found)}
ESTIMATORS = [name for name, found in CLASSES.items() if issubclass(found, bh.Estimator) and found is not bh.Estimator]


def _members(classes):
    """Yield the name, the class and the member of each public member that is written here."""
    for name, owner in classes.items():
        for member, value in inspect.getmembers_static(owner):
            if member.startswith("_"):
                continue
            home = next((c for c in owner.__mro__ if member in vars(c)), object)
            if home.__module__.startswith("betahat"):
                yield f"{name}.{member}", home, value


def _functions():
    found = {name: getattr(value, "__func__", value) for name, value in NAMES.items() if inspect.isroutine(value)}
    for name, _, value in _members(CLASSES):
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if inspect.isfunction(inner):
            found[name] = inner
    return found


def _properties():
    return {
        name: value.func if isinstance(value, cached_property) else value.fget
        for name, _, value in _members(CLASSES)
        if isinstance(value, property | cached_property)
    }


FUNCTIONS, PROPERTIES = _functions(), _properties()


@cache
def _read(found):
    return docscrape.NumpyDocString(inspect.cleandoc(found.__doc__ or ""))


def _documented(section):
    return {part.strip().replace("\\", "") for entry in section for part in entry.name.split(",")}


def _parameters(function):
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    taken = inspect.signature(function).parameters.values()
    return {kinds.get(p.kind, "") + p.name for p in taken if p.name not in ("self", "cls")}


@cache
def _raises(function):
    """Tell whether the body itself raises an error of ours."""
    if function.__code__.co_filename == "<string>":  # a dataclass wrote it
        return False
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) for node in ast.walk(tree))


def test_api_lists_every_name():
    assert [name for name in LISTED if "." not in name] == list(bh.__all__)


def _all(check, names):
    """Call a check with each name; one failure says them all."""
    wrong = {}
    for name in names:
        try:
            check(name)
        except AssertionError as error:
            wrong[name] = str(error)
    assert not wrong, "\n".join(f"{name}: {told}" for name, told in wrong.items())


def test_functions():
    """Exactly the parameters of the signature; what comes out, unless nothing does; what is raised."""
    _all(_check_function, FUNCTIONS)


def _check_function(name):
    function = FUNCTIONS[name]
    doc = _read(function)
    assert doc["Summary"], "no docstring"
    assert _documented(doc["Parameters"]) == _parameters(function)
    returned = inspect.signature(function).return_annotation
    assert doc["Returns"] or doc["Yields"] or returned in ("None", "Never"), "nothing is said to be returned"
    assert doc["Raises"] or not _raises(function), "nothing is said to be raised"


def test_arrays_have_shapes():
    """What is annotated as an array, or as anything, has its shape where it is said to be returned."""
    _all(_check_shape, [name for name in FUNCTIONS if "." in name])


def _check_shape(name):
    function = FUNCTIONS[name]
    if inspect.signature(function).return_annotation not in ("Any", "Tensor", "np.ndarray"):
        return
    first = _read(function)["Returns"][0]
    assert re.search(r"\(.*\)|^(statsmodels|matplotlib)", " ".join([first.name, first.type, *first.desc]).strip())


def test_classes():
    _all(_check_class, CLASSES)


def _check_class(name):
    owner = CLASSES[name]
    doc = docscrape.NumpyDocString(inspect.cleandoc(owner.__doc__))
    assert doc["Summary"]
    if is_dataclass(owner):
        own = {field.name for field in fields(owner) if not field.name.startswith("_")}
        inherited = {f.name for base in owner.__mro__[1:] if is_dataclass(base) for f in fields(base)}
        told = _documented(doc["Attributes"]) | _documented(doc["Parameters"])
        assert own - inherited <= told
        assert told <= own
    elif name in MODELS:
        assert _documented(doc["Parameters"]) == _parameters(owner.__init__)


@pytest.mark.parametrize("name", [*ESTIMATORS, *MODELS])
def test_sources_and_examples(name):
    """Each model and each covariance names whom it follows, and has an example, which pytest executes."""
    doc = inspect.cleandoc(NAMES[name].__doc__)
    assert re.search(r"\nReferences\n-+\n.*\w", doc)
    assert re.search(r"\nExamples\n-+\n>>> ", doc)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_say_what_they_refuse(name):
    """One whose file raises has a section on it, beside HC0, HC1 and others that are always defined."""
    owner = NAMES[name]
    if any(_raises(vars(owner)[made]) for made in ("__call__", "__post_init__") if made in vars(owner)):
        assert "\nRaises\n" in inspect.cleandoc(owner.__doc__)


@pytest.fixture(scope="module")
def results():
    """Results of each kind, in NumPy, and the records that they return."""
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(60), rng.normal(size=(60, 2))])
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=60)
    linear = bh.OLS(y, x).fit()
    logit = bh.Logit((rng.random(60) > 0.5) * 1, x).fit()
    classes = bh.MNLogit(np.arange(60) % 3, x).fit()
    module = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    general = bh.TorchModel(module, torch.nn.HuberLoss(), x, y[:, None]).fit()
    records = [linear.t_test(np.eye(3)), linear.get_prediction(), linear.get_influence(), logit.get_prediction()]
    return [linear, logit, classes, general, *records, logit.get_margeff(), linear.delta(lambda p: p[:2])]


def test_properties_with_shapes(results):
    """A property whose value is an array begins with its shape."""
    seen = 0
    for record in results:
        for name, value in inspect.getmembers_static(type(record)):
            if name.startswith("_") or not isinstance(value, property | cached_property):
                continue
            function = value.func if isinstance(value, cached_property) else value.fget
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = getattr(record, name)
            except bh.BetahatError:
                continue
            found = found[0] if isinstance(found, tuple) and len(found) and not isinstance(found[0], str) else found
            if isinstance(found, np.ndarray | torch.Tensor | pd.DataFrame) and found.ndim:
                seen += 1
                assert re.match(r"\(.*\)|The same as `", function.__doc__), f"{type(record).__name__}.{name}"
    assert seen > 60


def test_properties():
    assert not [name for name, function in PROPERTIES.items() if not function.__doc__]


def test_the_test_can_fail():
    assert len(FUNCTIONS) > 80
    assert len(PROPERTIES) > 150
    assert len(ESTIMATORS) == 22


def test_records_are_reachable(results):
    """What results hand out has a page of its own."""
    for record in results:
        assert type(record) in CLASSES.values(), type(record).__name__
