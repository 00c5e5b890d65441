"""Every public callable takes values of wrong types: it returns a result, or says in a sentence what it wants.

What Python itself says of arguments that are missing or unknown is a TypeError, and what a function of the user's raises is the user's own.
"""

import inspect
import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


class Odd:
    """What nobody expects."""

    def __repr__(self):
        return "<odd>"


def _quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)


# Each finds faults of its own: comparisons, hashes, lengths, conversions.
CORE = {
    "an array": lambda: np.array([True, False]),
    "a nested list": lambda: [[1, 2], [3]],
    "an object": Odd,
    "a number that is too large": lambda: 10**400,
    "a tensor with a gradient": lambda: torch.ones(3, requires_grad=True) * 1,
    "None": lambda: None,
}
OTHERS = {
    "True": lambda: True,
    "zero": lambda: 0,
    "a negative number": lambda: -1,
    "NaN": lambda: float("nan"),
    "many": lambda: 10**12,
    "a complex number": lambda: 1j,
    "a word": lambda: "nonsense",
    "no word": lambda: "",
    "NUL": lambda: "a\0b",
    "a long word": lambda: "x" * 300,
    "bytes": lambda: b"x",
    "a list of words": lambda: ["a", "b"],
    "no list": lambda: [],
    "a dict": lambda: {"a": 1},
    "unequal columns": lambda: {"a": [1, 2], "b": [1]},
    "columns of two dimensions": lambda: {"a": np.ones((3, 2)), "b": np.ones(3)},
    "a dict of objects": lambda: {3: Odd()},
    "a set": lambda: {1, 2},
    "a class": lambda: int,
    "a function": lambda: lambda *given, **options: None,
    "three dimensions": lambda: np.zeros((2, 2, 2)),
    "texts": lambda: np.array(["a", "b"]),
    "objects": lambda: np.array([Odd(), None], dtype=object),
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a quantized tensor": _quantized,
    "a tensor on meta": lambda: torch.ones(3, device="meta"),
    "a complex tensor": lambda: torch.ones(3, dtype=torch.complex64),
    "a series": lambda: pd.Series([1.0, 2.0]),
    "an empty frame": pd.DataFrame,
    "dates": lambda: pd.date_range("2020", periods=3),
    "a generator": lambda: (i for i in range(3)),
    "no time": lambda: pd.NaT,
    "a path": lambda: Path("/no/such/folder/x"),
}
ROTATING = 5


N = 40
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"a": RNG.normal(size=N), "b": RNG.normal(size=N), "firm": np.arange(N) % 8, "year": np.arange(N) // 8}
)
FRAME["y"] = FRAME["a"] + RNG.normal(size=N)
FRAME["first"], FRAME["on"] = np.where(FRAME["firm"] % 2, 2, np.nan), (FRAME["firm"] % 2) * (FRAME["year"] > 1) * 1.0
FRAME["few"], FRAME["some"], FRAME["kind"] = (FRAME["y"] > 0) * 1, RNG.poisson(1.0, N), RNG.integers(0, 3, N)
Y, X = FRAME["y"].to_numpy(copy=True), np.column_stack([np.ones(N), FRAME["a"], FRAME["b"]])
INPUTS, TARGET = torch.tensor(X[:, 1:].tolist()).double(), torch.tensor(Y.tolist()).double()[:, None]


def _row_loss(p, d):
    return (d["y"] - p["a"]) ** 2 / 2


def _moments(p, d):
    return torch.stack([d["y"] - p["a"], (d["y"] - p["a"]) ** 3], 1)


def _models():
    torch.manual_seed(0)
    module = torch.nn.Linear(2, 1).double()
    return {
        "OLS": bh.ols("y ~ a + b", FRAME),
        "IV2SLS": bh.IV2SLS(FRAME["y"], X[:, :2], FRAME["b"], FRAME[["some", "few"]]),
        "Logit": bh.logit("few ~ a", FRAME),
        "Poisson": bh.Poisson(FRAME["some"], X),
        "MNLogit": bh.mnlogit("kind ~ a", FRAME),
        "PHReg": bh.phreg("np.exp(y) ~ a", FRAME, status="few", strata="year"),
        "QuantReg": bh.quantreg("y ~ a", FRAME),
        "TorchModel": bh.TorchModel(module, torch.nn.MSELoss(), INPUTS, TARGET),
        "RLM": bh.rlm("y ~ a + b", FRAME),
        "MEstimator": bh.MEstimator(_row_loss, {"a": 0.0}, {"y": TARGET[:, 0]}),
        "GMM": bh.GMM(_moments, {"a": 0.0}, {"y": TARGET[:, 0]}),
    }


def _good(folder, res):
    """What the callables need, by the names of their parameters."""
    return {
        **{
            "formula": "y ~ a",
            "data": FRAME,
            "endog": Y,
            "exog": X,
            "dependent": Y,
            "instruments": FRAME["some"],
            "weights": np.ones(N),
            "groups": "firm",
            "time": "year",
            "y": "y",
            "unit": "firm",
            "cohort": "first",
            "first_stage": "~ 1 | firm + year",
            "second_stage": "~ on",
            "treatment": "on",
        },
        **{
            "panel": "firm",
            "latitude": "a",
            "longitude": "b",
            "cutoff": 100.0,
            "matrix": np.eye(3),
            "results": res,
            "result": res,
        },
        **{
            "covariances": ["HC1", "HC3"],
            "function": lambda p: p.vector,
            "restricted": bh.ols("y ~ a", FRAME).fit(),
            "crit": "aic",
        },
        **{
            "path": folder / "out",
            "name": "mine",
            "factory": bh.HC0,
            "module": torch.nn.Linear(2, 1).double(),
            "loss": torch.nn.MSELoss(),
        },
        **{
            "inputs": INPUTS,
            "target": TARGET,
            "row_loss": _row_loss,
            "moments": _moments,
            "params": {"a": 0.0},
            "fit": res.fit,
            "problem": res.model.problem,
            "which": "a",
        },
        **{
            "meat": torch.eye(3).double(),
            "label": "own",
            "note": "own",
            "use_t": None,
            "workers": None,
            "latex": "x",
            "method": "holm",
            "variable": "a",
            "keep": "a",
            "test": bh.ritest(res, "a", reps=9, seed=1),
            "tables": {"A": bh.regtable(res), "B": bh.regtable(res)},
        },
    }


def _public():
    for name in bh.__all__:
        found = getattr(bh, name)
        apart = BaseException | bh.Fit | bh.Results | bh.Covariance | bh.Table | bh.EventStudy | bh.Bacon
        if found is not bh.Estimator and not (inspect.isclass(found) and issubclass(found, apart)):
            yield name, found


def _methods(label, thing):
    for name, _ in inspect.getmembers(type(thing), inspect.isfunction):
        if not name.startswith("_"):
            yield f"{label}.{name}", getattr(thing, name)


def _families(folder):
    models = _models()
    results = {name: model.fit() for name, model in models.items()}
    ols, boot = results["OLS"], results["OLS"].with_cov(bh.Bootstrap(30, seed=1))
    handed_out = {
        "table": bh.regtable(ols),
        "t_test": ols.t_test(np.eye(3)),
        "terms": ols.wald_test_terms(),
        "delta": boot.delta(lambda p: p.vector),
        "prediction": ols.get_prediction(),
        "response": results["Logit"].get_prediction(),
        "margins": results["Logit"].get_margeff(),
        "study": bh.event_study(FRAME, "y", "firm", "year", "first", estimator="etwfe"),
        "bacon": bh.bacon(FRAME, "y", "firm", "year", "first"),
    }
    return {
        "functions": list(_public()),
        "models": [
            (f"{name}.{method}", getattr(model, method)) for name, model in models.items() for method in ("fit",)
        ],
        **{name: list(_methods(name, found)) for name, found in results.items() if name not in ("Poisson",)},
        "handed out": [pair for name, thing in handed_out.items() for pair in _methods(name, thing)],
    }, ols


def _calls(callables, good):
    """Yield the label of a call, the callable and its arguments, of which one is wrong."""
    turn = itertools.cycle(OTHERS.items())
    for label, function in callables:
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        given = {p.name: good[p.name] for p in parameters if p.default is p.empty and p.name != "r_matrix"}
        if any(p.name == "r_matrix" and p.default is p.empty for p in parameters):
            given["r_matrix"] = np.eye(len(function.__self__.names))[:1]
        for parameter in parameters:
            for name, make in [*CORE.items(), *itertools.islice(turn, ROTATING)]:
                yield f"{label}({parameter.name}={name})", function, {**given, parameter.name: make()}


FAMILIES = (
    "functions",
    "models",
    "OLS",
    "IV2SLS",
    "Logit",
    "MNLogit",
    "PHReg",
    "QuantReg",
    "RLM",
    "TorchModel",
    "MEstimator",
    "handed out",
)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _families(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_result_or_a_sentence(families, family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # words are names of files
    found, ols = families
    bad, count = [], 0
    for label, function, given in _calls(found[family], _good(tmp_path, ols)):
        count += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = function(**given)
                if isinstance(made, bh.Estimator):
                    ols.with_cov(made)
        except bh.BetahatError:
            pass
        except Exception as error:
            bad.append(f"{label}: {type(error).__name__}: {error}"[:200])
        finally:
            plt.close("all")
    assert not bad
    assert count > 20


CASES = {
    "unequal columns": (lambda res: bh.ols("y ~ a", {"y": [1.0, 2.0, 3.0], "a": [1.0, 2.0]}), "different lengths: 'y' (3), 'a' (2)"),
    "columns of two dimensions": (lambda res: bh.ols("y ~ a", {"y": [1.0, 2.0], "a": np.ones((2, 2))}), "'a' of the data has 2 dimensions"),
    "a ragged column": (lambda res: bh.ols("y ~ a", {"y": [1.0, 2.0], "a": [[1], [2, 3]]}), "'a' of the data has rows of different lengths"),
    "a sparse column": (lambda res: bh.ols("y ~ a", {"y": [1.0], "a": torch.ones(1).to_sparse()}), "'a' of the data is a sparse tensor"),
    "new columns of unequal lengths": (lambda res: res.predict({"a": [1.0, 2.0], "b": [1.0]}), "different lengths"),
    "a quantized tensor": (lambda res: bh.OLS(Y[:3], _quantized()), "exog is a quantized tensor; pass it as .dequantize()"),
    "sparse regressors": (lambda res: bh.OLS(Y, torch.tensor(X.tolist()).to_sparse()), "exog is a sparse tensor; pass it as .to_dense()"),
    "sparse classes": (lambda res: bh.MNLogit(torch.ones(3).to_sparse(), X[:3]), "endog is a sparse tensor"),
    "one class": (lambda res: bh.MNLogit(torch.tensor(1.0), X[:3]), "endog is a single number"),
    "ragged classes": (lambda res: bh.MNLogit([[1, 2], [3]], X[:2]), "endog has rows of different lengths"),
    "dates for data": (lambda res: bh.ols("y ~ a", pd.date_range("2020", periods=3)), "A formula needs its variables by name"),
    "weights without end": (lambda res: bh.WLS(Y, X, weights=float("inf")), "weights is inf; pass a number, or one for each row"),
    "an array for use_t": (lambda res: res.with_cov("HC1", use_t=np.array([True, False])), "use_t is"),
    "an array for hasconst": (lambda res: bh.OLS(Y, X, hasconst=np.array([True, False])), "hasconst is"),
    "a list for a kind": (lambda res: bh.Bootstrap(9, ["pairs"]), "kind is ['pairs']"),
    "replicates beyond memory": (lambda res: res.with_cov(bh.Bootstrap(10**12)), "1,000,000,000,000 replicates need"),
    "replicates beyond numbers": (lambda res: bh.Bootstrap(10**30), "reps is 1000"),
    "nothing": (lambda res: res.delta(lambda p: []), "The function returned nothing"),
    "an empty vector": (lambda res: res.delta(lambda p: p.vector[:0]), "The function returned nothing"),
    "a sparse value": (lambda res: res.delta(lambda p: torch.diag(p.vector).to_sparse()), "The function returned a sparse tensor"),
    "NUL in a path": (lambda res: res.save("a\0b"), "is not a valid file name"),
    "a long path": (lambda res: res.save("x" * 300), "is not a valid file name"),
    "a path to load": (lambda res: bh.load("x" * 300), "is not a valid file name"),
    "a table under NUL": (lambda res: bh.regtable(res).to_html("a\0b"), "is not a valid file name"),
    "a table under a long name": (lambda res: bh.regtable(res).to_docx("x" * 300), "is not a valid file name"),
    "a table under a number": (lambda res: bh.regtable(res).to_latex(3), "path is an int; pass the name of a file"),
    "a bad group": (lambda res: bh.regtable(res, rename={re.compile("a"): r"\2"}), "which cannot be substituted"),
    "a group without a name": (lambda res: bh.coefplot(res, rename={re.compile("a"): r"\g<x>"}), "which cannot be substituted"),
    "a pattern of bytes": (lambda res: bh.regtable(res, keep=re.compile(b"a")), "keep takes names and compiled patterns"),
    "names that are none": (lambda res: res.summary(xname=3), "xname is 3; pass a list of 3 names, one for each parameter"),
    "too few names": (lambda res: res.summary2(xname=["a"]), "xname has 1 name for 3 parameters; pass one for each"),
    "names of restrictions": (lambda res: res.t_test("a = 0").summary(xname=["a", "b"]), "xname has 2 names for 1 restriction"),
    "a title": (lambda res: res.summary(title=Odd()), "title is <odd>; pass a string"),
    "a format": (lambda res: res.summary2(float_format="%d %d"), "float_format is '%d %d'"),
    "labels of rows": (lambda res: res.get_prediction(row_labels=3), "row_labels is 3"),
    "a flag": (lambda res: res.wald_test("a = 0", use_f="yes"), "use_f is 'yes'; use True or False"),
    "a number": (lambda res: res.info_criteria("aic", dk_params="two"), "dk_params is 'two'; pass a number"),
    "parts of terms": (lambda res: res.wald_test_terms(combine_terms=3), "combine_terms is 3"),
    "further tests": (lambda res: res.wald_test_terms(extra_constraints=3), "extra_constraints is 3"),
    "a method of tests": (lambda res: res.outlier_test(method=3), "method is 3; use one of"),
    "a meat": (lambda res: bh.sandwich(None, torch.eye(3), "own", "own"), "sandwich needs the fit"),
    "a factory": (lambda res: (bh.register_covariance("of three", lambda: 3), res.with_cov("of three")), "The factory made an int"),
    "an estimator's matrix": (lambda res: res.with_cov(lambda fit: bh.Covariance(fit.bread.to_sparse(), "own", "own")), "is sparse"),
    "an estimator's df": (lambda res: res.with_cov(lambda fit: bh.Covariance(fit.bread, "own", "own", "x")), "df is 'x'"),
    "a label of a matrix": (lambda res: bh.Given(np.eye(3), label=3), "label is 3; pass a string"),
    "a null value": (lambda res: res.with_cov(bh.Bootstrap(30, seed=1)).delta(lambda p: p["a"]).bootstrap_pvalue([1, 2]), "value is [1, 2]"),
    "rules of a style": (lambda res: bh.LatexStyle(top=3), "top is 3; pass a string of LaTeX"),
    "packages of a style": (lambda res: bh.LatexStyle(packages=3), "packages is 3"),
    "restrictions of a score test": (lambda res: bh.logit("few ~ a", FRAME).fit().score_test(k_constraints="two"), "k_constraints is 'two'"),
    "a group's label": (lambda res: bh.Conley({"a": 1.0}, "b", 1.0)(res.fit), "is a single value; pass one for each row"),
    "axes": (lambda res: bh.plot_diagnostics(res, axes=[1, 2, 3, 4]), "ax is an int"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_sentences(families, case):
    call, sentence = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BootstrapWarning)
        with pytest.raises(bh.BetahatError, match=re.escape(sentence)):
            call(families[1])


def test_gradients_in_columns_are_left_behind():
    columns = {"y": [1.0, 2.0, 4.0, 5.0], "x": torch.tensor([1.0, 2.0, 3.0, 5.0], requires_grad=True)}
    wanted = bh.ols("y ~ x", {"y": columns["y"], "x": [1.0, 2.0, 3.0, 5.0]}).fit()
    pd.testing.assert_series_equal(bh.ols("y ~ x", columns).fit().params, wanted.params)
    half = {**columns, "x": columns["x"].detach().bfloat16()}
    pd.testing.assert_series_equal(bh.ols("y ~ x", half).fit().params, wanted.params)


def test_what_a_users_function_raises_is_the_users_own(families):
    with pytest.raises(ZeroDivisionError):
        families[1].delta(lambda p: 1 / 0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        bh.regtable(families[1], colour="red")


def test_a_file_that_cannot_be_written(families, tmp_path, monkeypatch):
    def refused(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(bh.OptionError, match=r"cannot be written to .* .No space left on device"):
        bh.regtable(families[1]).to_html(tmp_path / "table.html")
    docx = pytest.importorskip("docx")
    monkeypatch.setattr(docx.document.Document, "save", refused)
    with pytest.raises(bh.OptionError, match=r"cannot be written to .* .No space left on device"):
        bh.regtable(families[1]).to_docx(tmp_path / "table.docx")
