"""What must never stand in the source: the mistakes that the design measured, and the style it forbids."""

import ast
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "src" / "betahat").rglob("*.py"))

# lstsq is silently wrong on rank-deficient input, inv gives finite garbage on a singular Hessian,
# torch.func.hessian over all rows costs n times the memory.
FORBIDDEN_CALLS = {"lstsq", "inv", "pinv", "hessian", "super", "hasattr"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_forbidden_is_called(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert not calls & FORBIDDEN_CALLS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_stand_at_the_top(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = [
        node.lineno
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not inner


def names_of_imports(statements):
    """Return {name: module} of import statements."""
    return {
        alias.asname or alias.name: alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        for node in statements
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_imported_lazily_is_imported_for_type_checkers(path):
    """Each `name = lazily("module")` stands in the else of an `if TYPE_CHECKING:` that imports the module by this name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazily"]
    known = {}
    for node in tree.body:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            imported = names_of_imports(node.body)
            for line in node.orelse:
                known[line.targets[0].id] = line.value.args[0].value
                assert imported[line.targets[0].id] == line.value.args[0].value
    assert len(calls) == len(known)


def test_the_test_can_fail():
    assert len(FILES) > 20


def _attributes(node):
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in ("covariance", "resampling", "inference")], ids=lambda path: path.name
)
def test_one_coordinate_system(path):
    """Only the sums over rows, in calculus/ and fits/, know in which coordinates a meat is; everything else is in those of Z."""
    assert "well_conditioned" not in _attributes(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in ("covariance", "resampling")], ids=lambda path: path.name
)
def test_n_less_k_is_written_in_one_place(path):
    """What variances are multiplied by is `small_samples.factor`'s to say."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and path.name != "small_samples.py":
            assert "df_resid" not in _attributes(node)
            assert not (isinstance(node.op, ast.Sub) and {"nobs", "rank"} <= _attributes(node))
