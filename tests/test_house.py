"""What must never stand in the source: the mistakes that the design measured, and the style it forbids."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "betahat"
FILES = {path.relative_to(SOURCE): path for path in sorted(SOURCE.rglob("*.py"))}

# lstsq is silently wrong on rank-deficient input, inv gives finite garbage on a singular Hessian,
# torch.func.hessian over all rows costs n times the memory.
FORBIDDEN_CALLS = {"lstsq", "inv", "pinv", "hessian", "super", "hasattr"}


@pytest.fixture(scope="module")
def trees():
    """{path: syntax tree} of every file."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def test_nothing_forbidden_is_called(trees):
    found = {
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        in FORBIDDEN_CALLS
    }
    assert not found


def test_imports_stand_at_the_top(trees):
    inner = {
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not inner


def names_of_imports(statements):
    """Return {name: module} of import statements."""
    return {
        alias.asname or alias.name: alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        for node in statements
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def test_what_is_imported_lazily_is_imported_for_type_checkers(trees):
    """Each `name = lazily("module")` stands in the else of an `if TYPE_CHECKING:` that imports the module by this name."""
    for path, tree in trees.items():
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "lazily"]
        known = {}
        for node in tree.body:
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                imported = names_of_imports(node.body)
                for line in node.orelse:
                    known[line.targets[0].id] = line.value.args[0].value
                    assert imported[line.targets[0].id] == line.value.args[0].value, path
        assert len(calls) == len(known), path


def test_the_test_can_fail():
    assert len(FILES) > 20


def _attributes(node):
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _in(trees, *rooms):
    """Yield the path and the tree of each file of some rooms."""
    return [(path, tree) for path, tree in trees.items() if path.parent.name in rooms]


def test_one_coordinate_system(trees):
    """Only the sums over rows, in calculus/ and fits/, know in which coordinates a meat is; everything else is in those of Z."""
    for path, tree in _in(trees, "covariance", "resampling", "inference"):
        assert "well_conditioned" not in _attributes(tree), path


def test_n_less_k_is_written_in_one_place(trees):
    """What variances are multiplied by is `small_samples.factor`'s to say."""
    for path, tree in _in(trees, "covariance", "resampling"):
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and path.name != "small_samples.py":
                assert "df_resid" not in _attributes(node), path
                assert not (isinstance(node.op, ast.Sub) and {"nobs", "rank"} <= _attributes(node)), path
