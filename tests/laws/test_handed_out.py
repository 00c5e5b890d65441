"""Results never change: whatever they hand out, at any depth, is worked on in place, and everything else stays as it was."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

# What methods need; those that need nothing are called without.
ARGUMENTS = {
    "t_test": lambda res: (np.eye(len(res.names))[:2],),
    "f_test": lambda res: (np.eye(len(res.names))[:2],),
    "wald_test": lambda res: (np.eye(len(res.names))[:2],),
    "delta": lambda res: (lambda p: p.vector**2,),
    "info_criteria": lambda res: ("aic",),
    "with_cov": lambda res: ("HC0",),
}
# What draws or writes, tells the time, or takes more than the results; `margins` is `get_margeff`.
NO_ANSWERS = {
    "summary",
    "summary2",
    "plot",
    "plot_diagnostics",
    "save",
    "compare_f_test",
    "compare_lr_test",
    "compare_lm_test",
    "margins",
    "from_formula",
}
# The rows themselves, which are the user's own memory where tensors went in, and what the solver keeps for later.
ENGINE = {
    "design",
    "sample",
    "given",
    "problem",
    "sums",
    "facts",
    "path",
    "point",
    "resampler",
    "view",
    "response",
    "function",
    "source",
    "data",
}
METHODS_OF_THE_FIT = {
    "fit",
    "each",
    "each_in",
    "sum_rows",
    "sum_groups",
    "map_rows",
    "once",
    "known",
    "fact",
    "without_rows",
}


def _answers(thing, path="res", within=()):
    """Yield each value, and where it was found: all public attributes and methods, and those of what they return."""
    if isinstance(thing, tuple | list | dict):
        yield path, thing
        for key, part in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield from _answers(part, f"{path}[{key!r}]", within)
    elif not type(thing).__module__.startswith("betahat") or isinstance(thing, type):
        yield path, thing
    elif type(thing) not in within and len(within) < 3:
        for name in sorted(set(dir(thing)) - NO_ANSWERS - ENGINE - METHODS_OF_THE_FIT):
            if not name.startswith("_"):
                with_name = f"{path}.{name}"
                yield from _answers(_value(thing, name), with_name, (*within, type(thing)))


def _value(thing, name):
    try:
        value = getattr(thing, name)
        if not inspect.ismethod(value):
            return None if callable(value) else value
        needed = [
            p
            for p in inspect.signature(value).parameters.values()
            if p.default is p.empty and p.kind < p.VAR_POSITIONAL
        ]
        if name in ARGUMENTS:
            return value(*ARGUMENTS[name](thing))
        return None if needed else value()
    except bh.BetahatError as error:
        return str(error)


def _overwrite(value):
    if isinstance(value, torch.Tensor):
        value.fill_(77)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        value[...] = 77
    elif isinstance(value, pd.Index):
        value.name = "spoilt"
    elif isinstance(value, pd.Series):
        value.index.name = value.name = "spoilt"
        value.iloc[:] = 77
        if value.to_numpy().flags.writeable:
            value.to_numpy()[...] = 77
    elif isinstance(value, pd.DataFrame):
        value.index.name = value.columns.name = "spoilt"
        for place in range(value.shape[1]):
            value.isetitem(place, 77)
    elif isinstance(value, list | dict):
        value.clear()


def _print(value):
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, pd.Series | pd.DataFrame):
        return value.to_csv(), str(value.index.name), str(getattr(value, "name", ""))
    if type(value).__module__.startswith("scipy"):
        return value.mean().tobytes()  # a distribution, whose own words are its place in memory
    return "" if callable(value) else str(value)


def _unchanged(thing):
    """All answers are the same after all of them were overwritten; and there are many."""
    before = {path: _print(value) for path, value in _answers(thing)}
    for _, value in list(_answers(thing)):
        _overwrite(value)
    after = {path: _print(value) for path, value in _answers(thing)}
    assert [path for path in before if before[path] != after[path]] == []
    return len(before)


def _frame(n=40):
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "g": rng.choice(list("uvw"), n)})
    frame.index = pd.Index(range(100, 100 + n), name="row")
    frame["y"] = 1 + frame["a"] - frame["b"] + rng.normal(size=n)
    frame["few"], frame["some"] = rng.integers(0, 2, n), rng.integers(0, 3, n)
    return frame


def _given(container):
    """y, X and counts as a container, and how to convert others."""
    frame = _frame()
    x = frame[["a", "b"]].assign(const=1.0)
    if container == "pandas":
        return frame["y"], x, frame["some"], frame["few"]
    arrays = [part.to_numpy(copy=True) for part in (frame["y"], x, frame["some"], frame["few"])]
    return arrays if container == "numpy" else [torch.as_tensor(part) for part in arrays]


def _linear(covariance):
    return lambda y, x, some, few: bh.OLS(y, x).fit(covariance(some))


def _module(y, x, some, few):
    torch.manual_seed(0)
    inputs, target = (torch.tensor(np.asarray(part).tolist(), dtype=torch.float64) for part in (x, y))
    return bh.TorchModel(torch.nn.Linear(3, 1, bias=False).double(), torch.nn.MSELoss(), inputs, target[:, None]).fit()


def _own_loss(y, x, some, few):
    inputs, target = (torch.tensor(np.asarray(part).tolist(), dtype=torch.float64) for part in (x, y))
    return bh.MEstimator(
        lambda p, d: (d["y"] - d["x"] @ p["b"]) ** 2 / 2, {"b": torch.zeros(3)}, {"x": inputs, "y": target}
    ).fit()


KINDS = {
    "OLS": _linear(lambda some: "nonrobust"),
    "OLS, HC3": _linear(lambda some: "HC3"),
    "OLS, CR2": _linear(lambda some: bh.Cluster(some, kind="CR2")),
    "OLS, bootstrap": _linear(lambda some: bh.Bootstrap(30, seed=1)),
    "OLS, of one's own": _linear(lambda some: torch.eye(3, dtype=torch.float64)),
    "WLS": lambda y, x, some, few: bh.WLS(y, x, some + 1.0).fit("HC1"),
    "Logit": lambda y, x, some, few: bh.Logit(few, x).fit(),
    "Probit": lambda y, x, some, few: bh.Probit(few, x).fit("HC0"),
    "Poisson": lambda y, x, some, few: bh.Poisson(some, x).fit("OPG"),
    "MNLogit": lambda y, x, some, few: bh.MNLogit(some, x).fit(),
    "TorchModel": _module,
    "MEstimator": _own_loss,
}


@pytest.fixture(autouse=True)
def _quiet():
    """Some of the answers warn of few replicates or clusters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("container", ["pandas", "numpy", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_handed_out_may_be_overwritten(kind, container):
    assert _unchanged(KINDS[kind](*_given(container))) > 60


def test_of_a_formula_and_without_its_rows(tmp_path):
    frame = _frame()
    res = bh.ols("y ~ a + C(g)", frame).fit("HC1")
    before = frame.copy()
    assert _unchanged(res) > 100
    assert _unchanged(res.remove_data()) > 50
    assert _unchanged(bh.load(res.save(tmp_path / "line"))) > 100
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("container", ["pandas", "numpy", "torch"])
def test_tables(container):
    res = KINDS["OLS"](*_given(container))
    assert _unchanged(bh.regtable([res, res.with_cov("HC1")])) > 10
    assert _unchanged(bh.compare(res, ["HC1", "HC3"])) > 10


def test_a_covariance_of_ones_own_is_copied_when_it_comes():
    given = torch.eye(3, dtype=torch.float64)
    res = KINDS["OLS"](*_given("torch")).with_cov(given)
    given.mul_(4)
    assert torch.equal(res.bse, torch.ones(3, dtype=torch.float64))


def test_an_estimator_may_work_in_place():
    """It is one of the user's, and what it spoils is what it was handed."""
    res = KINDS["OLS"](*_given("numpy"))

    def spoiling(fit):
        fit.params.zero_()
        meat = fit.sum_rows(_meat)
        found = bh.sandwich(fit, meat, "own", "By hand")
        meat.mul_(9.0)
        fit.bread.zero_()
        return found

    first, second = res.with_cov(spoiling), res.with_cov(spoiling)
    np.testing.assert_array_equal(first.bse, second.bse)
    np.testing.assert_array_equal(first.params, res.params)


def test_a_statistic_of_a_table_may_work_in_place():
    res = KINDS["OLS"](*_given("numpy"))
    before = res.params.copy()
    text = str(bh.regtable(res, stats={"sum": lambda one: float(one.fit.params.mul_(2.0).sum())}))
    assert f"{2 * before.sum():.3f}"[:4] in text
    np.testing.assert_array_equal(res.params, before)


def test_a_function_of_parameters_may_work_in_place():
    res = KINDS["OLS, bootstrap"](*_given("numpy"))
    before = res.params.copy(), res.bse.copy()
    res.delta(lambda p: p.vector.clone().mul_(p.vector.detach().zero_() + 2.0))
    np.testing.assert_array_equal(res.params, before[0])
    np.testing.assert_array_equal(res.bse, before[1])


def test_directions_that_the_data_do_not_identify():
    y, x, *_ = _given("numpy")
    res = bh.OLS(y, np.column_stack([x, x[:, :1]])).fit()
    before = res.fit.unidentified
    assert before.shape[1] == 1
    res.fit.unidentified.zero_()
    assert torch.equal(res.fit.unidentified, before)


def test_an_error_in_an_estimator_closes_the_door():
    res = KINDS["OLS"](*_given("numpy"))
    with pytest.raises(ZeroDivisionError):
        res.with_cov(lambda fit: 1 / 0)
    res.fit.params.zero_()
    assert (res.params != 0).all()


def _meat(rows):
    return rows.meat()


def test_labels_of_rows_are_not_the_users():
    frame = _frame()
    res = bh.ols("y ~ a", frame).fit()
    new = frame.head(3)
    res.predict(new).index.name = "renamed"
    res.resid.index.name = "renamed"
    assert (frame.index.name, new.index.name, res.resid.index.name) == ("row", "row", "row")
    frame.index.name = "renamed"
    assert res.resid.index.name == "row"
