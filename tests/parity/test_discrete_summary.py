"""The summaries of Logit, Probit, Poisson and MNLogit: text, HTML and LaTeX byte for byte those of live statsmodels."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from support.discrete import CONVERGED

import betahat as bh

MODELS = ("Logit", "Probit", "Poisson", "MNLogit")
COVARIANCES = ("nonrobust", "HC0")


def _draw(model, x, seed):
    rng = np.random.default_rng(seed)
    n, k = x.shape
    spread = np.maximum(x.std(0), 1e-300)
    index = 0.3 + (x - x.mean(0)) / spread @ (rng.normal(size=(k, 2)) * 0.5)
    if model == "Poisson":
        return rng.poisson(np.exp(index[:, 0])) * 1.0
    if model == "MNLogit":
        return np.argmax(np.column_stack([np.zeros(n), index]) + rng.gumbel(size=(n, 3)), 1)
    return (index[:, 0] + rng.logistic(size=n) > 0) * 1.0


def _design(n=70, k=3, seed=2):
    return sm.add_constant(np.random.default_rng(seed).normal(size=(n, k)))


def _both(quiet, model, y, x, cov_type="nonrobust", use_t=None, **options):
    mine = getattr(bh, model)(y, x, **options).fit(cov_type, use_t=use_t)
    theirs = quiet(quiet(getattr(sm, model), y, x, **options).fit, cov_type=cov_type, use_t=use_t, **CONVERGED)
    return mine, theirs


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("names", ["arrays", "frame", "long names", "signs"])
@pytest.mark.parametrize("model", MODELS)
def test_names(model, names, cov_type, same, quiet):
    x = _design()
    y = _draw(model, x, 1)
    if names != "arrays":
        columns = {
            "frame": ["const", "educ", "exper", "x_3"],
            "long names": ["const", "a_very_long_name_of_a_variable_that_never_ends", "b" * 30, "C(region)[T.south]"],
            "signs": ["_", "%", "&", "$x^2$"],
        }[names]
        x = pd.DataFrame(x, columns=columns)
        y = pd.Series(y, name="how often in the last twelve months of the year" if names == "long names" else "visits")
    same(*_both(quiet, model, y, x, cov_type, use_t=True if names == "frame" else None))


OFFSETS = [
    ("Logit", ("offset",)),
    ("Probit", ("offset",)),
    *(("Poisson", names) for names in (("offset",), ("exposure",), ("offset", "exposure"))),
]


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize(("model", "given"), OFFSETS)
def test_offsets(model, given, cov_type, same, quiet):
    x = _design()
    vectors = {"offset": np.linspace(-0.5, 0.5, 70), "exposure": np.linspace(0.5, 3, 70)}
    same(*_both(quiet, model, _draw(model, x, 1), x, cov_type, **{name: vectors[name] for name in given}))


@pytest.mark.parametrize("model", MODELS)
def test_other_faces(model, quiet):
    x = _design()
    mine, theirs = (result.summary() for result in _both(quiet, model, _draw(model, x, 1), x))
    assert mine.as_csv() == theirs.as_csv()
    assert str(mine) == str(theirs)
    assert mine._repr_html_() == theirs._repr_html_()
    assert mine._repr_latex_() == theirs._repr_latex_()
    assert [str(table) for table in mine.tables] == [str(table) for table in theirs.tables]


OPTIONS = [
    {"alpha": 0.1},
    {"alpha": 0.01},
    {"title": "Table 1"},
    {"title": ""},
    {"xname": ["one", "two", "a third of three words", "f"]},
    {"xname": list("abcd"), "title": "All", "alpha": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_options(model, options, same, quiet):
    x = _design()
    same(*_both(quiet, model, _draw(model, x, 1), x), **options)


@pytest.mark.parametrize("model", MODELS)
def test_yname(model, same, quiet):
    x = _design()
    same(*_both(quiet, model, _draw(model, x, 1), x), yname="wage")


CLASSES = {
    "whole numbers": [0, 1, 2],
    "from one": [1, 2, 3],
    "far apart": [-7, 100, 12345678],
    "floats that are whole": [0.0, 1.0, 2.0],
    "floats": [0.5, 1.0, 2.25],
    "strings": ["bus", "car", "train"],
    "strings out of order": ["zebra", "ant", "mouse"],
    "long strings": ["a class with a rather long name", "b", "another class with a long name"],
    "signs": ["a&b", "c_d", "e$"],
}


@pytest.mark.parametrize("frame", [False, True], ids=["arrays", "frame"])
@pytest.mark.parametrize("classes", CLASSES)
def test_classes(classes, frame, same, quiet):
    x = _design()
    y = np.array(CLASSES[classes])[_draw("MNLogit", x, 1)]
    if frame:
        y, x = pd.Series(y, name="mode"), pd.DataFrame(x, columns=["const", "a", "b", "c"])
    same(*_both(quiet, "MNLogit", y, x))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("categories", [["lo", "mid", "hi"], ["mid", "hi", "lo"], [10, 5, 7]], ids=str)
def test_categories(categories, ordered, same, quiet):
    """A category keeps its own order, and its first is the base."""
    x = _design()
    values = np.array(sorted(categories))[_draw("MNLogit", x, 1)]
    y = pd.Series(pd.Categorical(values, categories=categories, ordered=ordered), name="grade")
    mine, theirs = _both(quiet, "MNLogit", y, pd.DataFrame(x, columns=["const", "a", "b", "c"]), "HC0")
    same(mine, theirs)
    assert mine.model.levels == tuple(categories)


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("size", [2, 4, 6])
def test_numbers_of_classes(size, cov_type, same, quiet):
    rng = np.random.default_rng(size)
    x = _design(200)
    y = np.argmax(x @ rng.normal(size=(4, size)) * 0.5 + rng.gumbel(size=(200, size)), 1)
    same(*_both(quiet, "MNLogit", y, x, cov_type))


def _designs():
    x = _design()
    dummies = np.eye(3)[np.arange(70) % 3]
    yield "no constant", x[:, 1:]
    yield "constant of two in the middle", np.insert(x[:, 1:], 1, 2.0, axis=1)
    yield "dummies", dummies
    yield "columns of all sizes", x * [1, 1e4, 1e-3, 30]
    yield "twelve rows", _design(12, 1, 5)
    yield "whole numbers", np.round(2 * x)


DESIGNS = dict(_designs())


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("model", MODELS)
def test_designs(model, design, cov_type, same, quiet):
    x = DESIGNS[design]
    same(*_both(quiet, model, _draw(model, x, 6), x, cov_type))


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("model", MODELS)
def test_only_a_constant(model, cov_type, quiet):
    """The pseudo R2 is zero up to statsmodels' optimizer, and prints as 0.000 or 1.234e-10: only that is forgiven."""
    x = np.ones((70, 1))
    y = _draw(model, _design(), 1)
    texts = [part.summary().as_text() for part in _both(quiet, model, y, x, cov_type)]
    mine, theirs = (re.sub(r"Pseudo R-squ\.: +\S+", "Pseudo R-squ.:", text) for text in texts)
    assert mine == theirs


@pytest.mark.parametrize("model", MODELS)
def test_single_column_that_is_no_constant(model, same, quiet):
    x = _design()[:, 1:2]
    same(*_both(quiet, model, _draw(model, x, 6), x))


FORMULAS = [
    "a",
    "a + C(town)",
    "a * C(town)",
    "0 + C(town) + b",
    "np.exp(a / 3) + I(b**2) + flag",
    "C(town, Sum) + a:b",
]


@pytest.fixture(scope="module")
def towns():
    """90 rows with a category and every kind of dependent variable."""
    x = _design(90, 2, 8)
    frame = pd.DataFrame(x[:, 1:], columns=["a", "b"])
    frame["town"] = np.random.default_rng(9).choice(["north", "south", "west"], 90)
    frame["flag"] = frame["b"] > 0.3
    frame["odds"] = np.random.default_rng(10).uniform(0.5, 3, 90)
    return frame.assign(**{model: _draw(model, x, 12) for model in MODELS})


@pytest.mark.slow
@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("right", FORMULAS)
@pytest.mark.parametrize("model", MODELS)
def test_formulas(model, right, cov_type, towns, same, quiet):
    formula = f"{model} ~ {right}"
    mine = getattr(bh, model.lower())(formula, towns).fit(cov_type)
    same(mine, quiet(getattr(smf, model.lower())(formula, towns).fit, cov_type=cov_type, **CONVERGED))
    again = getattr(bh, model).from_formula(formula, towns).fit(cov_type)
    assert again.summary().as_text() == mine.summary().as_text()


@pytest.mark.parametrize("model", MODELS)
def test_formulas_with_missing_rows(model, towns, same, quiet):
    holes = towns.assign(a=towns["a"].where(towns.index % 9 != 0))
    mine = getattr(bh, model.lower())(f"{model} ~ a + C(town)", holes).fit()
    same(mine, quiet(getattr(smf, model.lower())(f"{model} ~ a + C(town)", holes).fit, **CONVERGED))


def test_formula_with_exposure(towns, same, quiet):
    mine = bh.poisson("Poisson ~ a + C(town)", towns, exposure="odds").fit("HC0")
    same(
        mine,
        quiet(smf.poisson("Poisson ~ a + C(town)", towns, exposure=towns["odds"]).fit, cov_type="HC0", **CONVERGED),
    )


def _certain(share, n=200):
    """Data of which a share is predicted with a probability of 1, and none is separated."""
    rng = np.random.default_rng(3)
    x = np.sort(rng.normal(size=n))
    y = (x > 0) * 1.0
    far = int(n * (1 - share) / 2)
    middle = slice(n // 2 - far, n // 2 + far)
    y[middle] = rng.integers(0, 2, 2 * far)
    x[: n // 2 - far] -= 40
    x[n // 2 + far :] += 40
    return y, sm.add_constant(x)


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("share", [0.05, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("model", ["Logit", "Probit"])
def test_note_on_quasi_separation(model, share, cov_type, same, quiet):
    mine, theirs = _both(quiet, model, *_certain(share), cov_type)
    same(mine, theirs)
    assert ("quasi-separation" in str(mine.summary())) == (share > 0.1)


def test_note_on_quasi_separation_of_frequencies(same, quiet):
    y, x = _certain(0.05)
    often = np.where(np.abs(x[:, 1]) > 40, 9, 1)
    theirs = quiet(sm.Logit(np.repeat(y, often), np.repeat(x, often, 0)).fit, **CONVERGED)
    same(bh.Logit(y, x, freq_weights=often).fit(), theirs)


@pytest.mark.parametrize("model", ["Logit", "Probit", "Poisson"])
def test_frequencies_are_repeated_rows(model, same, quiet):
    x = _design()
    y, often = _draw(model, x, 1), np.arange(70) % 4
    mine = getattr(bh, model)(y, x, freq_weights=often).fit("HC0")
    same(mine, quiet(getattr(sm, model)(np.repeat(y, often), np.repeat(x, often, 0)).fit, cov_type="HC0", **CONVERGED))


def test_switched_covariance(same, quiet):
    x = _design()
    for model in MODELS:
        y = _draw(model, x, 1)
        start = getattr(bh, model)(y, x).fit()
        for cov_type in ("HC0", "nonrobust"):
            same(start.with_cov(cov_type), quiet(getattr(sm, model)(y, x).fit, cov_type=cov_type, **CONVERGED))


@pytest.mark.parametrize("cov_type", COVARIANCES)
def test_datasets(cov_type, same, quiet):
    spector = sm.datasets.spector.load_pandas()
    x = sm.add_constant(spector.exog)
    for model in ("Logit", "Probit"):
        same(*_both(quiet, model, spector.endog, x, cov_type))
    rand = sm.datasets.randhie.load_pandas()
    x = sm.add_constant(rand.exog).iloc[:3000]
    same(*_both(quiet, "Poisson", rand.endog.iloc[:3000], x, cov_type))
    anes = sm.datasets.anes96.load_pandas()
    same(*_both(quiet, "MNLogit", anes.endog, sm.add_constant(anes.exog), cov_type))


@pytest.mark.parametrize("seed", range(36))
def test_random_problems(seed, same, quiet):
    """Any size, constant or not, columns of any size, either covariance."""
    rng = np.random.default_rng(1000 + seed)
    model = MODELS[seed % 4]
    k = int(rng.integers(2, 6))
    n = int(rng.integers(40 + 20 * k, 160))
    x = rng.normal(size=(n, k)) * 10.0 ** rng.integers(-2, 3, k)
    if rng.random() < 0.7:
        x = np.insert(x, int(rng.integers(0, k + 1)), rng.choice([1.0, 2.5]), axis=1)
    if rng.random() < 0.4 and np.ptp(x[:, -1]) > 0:
        x[:, -1] = np.round(x[:, -1] / x[:, -1].std())
    cov_type, use_t = rng.choice(COVARIANCES), bool(rng.integers(2))
    options = {}
    if model != "MNLogit" and rng.random() < 0.4:
        options["offset"] = rng.normal(size=n) * 0.3
    y = _draw(model, x, 2000 + seed)
    if rng.random() < 0.5:
        x = pd.DataFrame(x, columns=[f"v{i}" * int(rng.integers(1, 9)) for i in range(x.shape[1])])
        y = pd.Series(y, name="z" * int(rng.integers(1, 20)))
    same(*_both(quiet, model, y, x, str(cov_type), use_t, **options), alpha=float(rng.choice([0.05, 0.1])))
