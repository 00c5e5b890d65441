"""Names, formulas, missing rows and containers of discrete models against live statsmodels."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from support.discrete import CASES, CONVERGED, Case

import betahat as bh

BINARY = ("Logit", "Probit")
MODELS = (*BINARY, "Poisson", "MNLogit")
COVARIANCES = ("nonrobust", "HC0")


@pytest.fixture(scope="module")
def survey():
    """120 rows with a variable for every model, categories, and room for missing values."""
    rng = np.random.default_rng(31)
    n = 160
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=n),
            "size": rng.uniform(1, 9, n),
            "town": rng.choice(["north", "south", "west"], n),
            "grade": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), categories=["lo", "mid", "hi"]),
            "flag": rng.random(n) > 0.5,
            "years": rng.uniform(0.5, 5, n),
            "shift": 0.3 * rng.normal(size=n),
        },
        index=pd.Index([f"r{i}" for i in range(n)], name="who"),
    )
    index = 0.5 * frame["age"] - 0.1 * frame["size"] + 0.4 * (frame["town"] == "west")
    frame["yes"] = (index + rng.logistic(size=n) > -0.5) * 1.0
    frame["visits"] = rng.poisson(frame["years"] * np.exp(index)) * 1.0
    frame["choice"] = np.argmax(np.column_stack([np.zeros(n), index, -index]) + rng.gumbel(size=(n, 3)), 1) + 1
    frame["mode"] = np.array(["bus", "car", "train"])[frame["choice"] - 1]
    frame["rank"] = pd.Categorical(frame["mode"], categories=["train", "bus", "car"])
    return frame


FORMULAS = [
    "age",
    "age + C(town)",
    "age * grade",
    "np.log(size) + I(age**2) + flag",
    "0 + C(town) + age",
    "C(grade, Sum) + age:size",
]
FACES = {"logit": "yes", "probit": "yes", "poisson": "visits", "mnlogit": "choice"}


def _fit_formula(face, right, data, options=(), cov_type="nonrobust"):
    formula = f"{FACES[face]} ~ {right}"
    mine = getattr(bh, face)(formula, data, **dict(options)).fit(cov_type)
    theirs = getattr(smf, face)(formula, data, **{key: data[name] for key, name in dict(options).items()})
    return mine, theirs.fit(cov_type=cov_type, **CONVERGED)


@pytest.mark.slow
@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("right", FORMULAS)
@pytest.mark.parametrize("face", FACES)
def test_formulas(face, right, cov_type, survey, quiet, close):
    mine, theirs = quiet(_fit_formula, face, right, survey, (), cov_type)
    _same_labels(mine, theirs, close)
    new = survey.iloc[:7]
    close(mine.predict(new), theirs.predict(new), 1.0)
    pd.testing.assert_index_equal(mine.predict(new).index, new.index)


@pytest.mark.parametrize(
    "options", [{"offset": "shift"}, {"exposure": "years"}, {"exposure": "years", "offset": "shift"}], ids=str
)
def test_formulas_with_offsets(options, survey, quiet, close):
    mine, theirs = quiet(_fit_formula, "poisson", "age + C(town)", survey, tuple(options.items()))
    _same_labels(mine, theirs, close)
    again = bh.poisson("visits ~ age + C(town)", survey, **{key: survey[name] for key, name in options.items()}).fit()
    close(again.params, mine.params)
    if "offset" in options:
        for face in ("logit", "probit"):
            _same_labels(*quiet(_fit_formula, face, "age", survey, (("offset", "shift"),)), close)


def _same_labels(mine, theirs, close):
    for attribute in ("params", "bse", "tvalues", "pvalues"):
        found, expected = getattr(mine, attribute), getattr(theirs, attribute)
        check = pd.testing.assert_frame_equal if isinstance(expected, pd.DataFrame) else pd.testing.assert_series_equal
        check(found, expected, rtol=1e-6, atol=1e-12, check_names=False)
        assert found.index.name == expected.index.name
    for method in ("conf_int", "cov_params"):
        found, expected = getattr(mine, method)(), getattr(theirs, method)()
        pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-9)
    close(mine.params, theirs.params, np.maximum(np.abs(theirs.params), theirs.bse))
    close(mine.bse, theirs.bse)
    close(mine.llf, theirs.llf)
    for rows in ("resid_response", "resid_pearson", "fittedvalues", "resid_generalized", "resid_dev"):
        expected = getattr(theirs, rows, None) if isinstance(theirs.params, pd.Series) else None
        if isinstance(expected, np.ndarray):  # some of statsmodels' Poisson have no labels
            close(getattr(mine, rows), expected, 1.0 + np.abs(expected))
        elif expected is not None:
            pd.testing.assert_series_equal(getattr(mine, rows), expected, rtol=1e-6, atol=1e-8, check_names=False)


@pytest.mark.parametrize("classes", ["choice", "mode", "rank"])
def test_labels_of_multinomial_frames(classes, survey, close):
    """Numbers, strings and a category in its own order; the MultiIndex of intervals and covariances."""
    x = sm.add_constant(survey[["age", "size"]])
    mine, theirs = bh.MNLogit(survey[classes], x).fit(), sm.MNLogit(survey[classes], x).fit(**CONVERGED)
    _same_labels(mine, theirs, close)
    levels = ["bus", "car"] if classes == "rank" else [str(v) for v in sorted(survey[classes].unique())[1:]]
    assert mine.conf_int().index.names == [classes, None]
    assert list(mine.conf_int().index) == [(level, name) for level in levels for name in ("const", "age", "size")]
    assert list(mine.conf_int().columns) == ["lower", "upper"]
    assert list(mine.params.columns) == [0, 1]


@pytest.mark.parametrize("classes", ["mode", "rank"])
def test_formulas_of_classes(classes, survey, close):
    """Intended difference: statsmodels takes numbers alone on the left of a formula; arrays are the oracle."""
    x = sm.add_constant(survey[["age", "size"]])
    theirs = sm.MNLogit(survey[classes], x).fit(**CONVERGED)
    mine = bh.mnlogit(f"{classes} ~ age + size", survey).fit()
    close(mine.params, theirs.params, np.maximum(np.abs(theirs.params), theirs.bse))
    close(mine.bse, theirs.bse)
    with pytest.raises(ValueError, match="multiple columns"):
        smf.mnlogit(f"{classes} ~ age + size", survey)


def _holes(survey):
    """Four rows are incomplete, in endog, exog, a category and the exposure."""
    frame = survey.astype({"town": object}).copy()
    for row, column in enumerate(["yes", "age", "town", "years"]):
        frame.loc[frame.index[7 * row + 2], column] = None if column == "town" else np.nan
    frame.loc[frame.index[2], "visits"] = np.nan
    return frame


@pytest.mark.parametrize("face", ["logit", "probit", "poisson"])
def test_missing_rows_of_formulas(face, survey, quiet, close):
    options = (("exposure", "years"),) if face == "poisson" else ()
    mine, theirs = quiet(_fit_formula, face, "age + C(town)", _holes(survey), options)
    assert mine.nobs == theirs.nobs == 160 - 3 - bool(options)
    _same_labels(mine, theirs, close)


def test_missing_rows_of_classes(survey, close):
    holes = _holes(survey)
    complete = holes.dropna(subset=["age"])
    mine = bh.mnlogit("mode ~ age", holes.assign(mode=holes["mode"].where(holes.index != "r20"))).fit()
    complete = complete[complete.index != "r20"]
    theirs = sm.MNLogit(complete["mode"], sm.add_constant(complete[["age"]])).fit(**CONVERGED)
    close(mine.params, theirs.params, np.maximum(np.abs(theirs.params), theirs.bse))
    pd.testing.assert_index_equal(mine.fittedvalues.index, complete.index)


def test_a_class_of_incomplete_rows_alone(survey):
    frame = survey.assign(
        mode=survey["mode"].where(survey.index != "r3", "tram"), age=survey["age"].where(survey.index != "r3")
    )
    assert bh.mnlogit("mode ~ age", frame).fit().model.levels == ("bus", "car", "train")


@pytest.mark.parametrize("model", MODELS)
def test_missing_rows_of_arrays(model, quiet, close):
    case = CASES[f"{model}, constant"]
    y, x = np.array(case.endog, dtype=float), np.array(case.exog)
    x[5, 1], x[9, 3] = np.nan, np.nan
    if model != "MNLogit":
        y[20] = np.nan
    mine = getattr(bh, model)(y, x, missing="drop").fit()
    theirs = quiet(getattr(sm, model), y, x, missing="drop").fit(**CONVERGED)
    assert mine.nobs == theirs.nobs
    close(mine.params, theirs.params, np.maximum(np.abs(theirs.params), theirs.bse))
    close(mine.bse, theirs.bse)


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("model", MODELS)
def test_containers(model, cov_type, close):
    """The same numbers from anything; what goes in decides what comes out."""
    case = CASES[f"{model}, constant"]
    y, x = np.asarray(case.endog), np.asarray(case.exog)
    expected = case.fit(sm, cov_type=cov_type)
    names = ["const", "a", "b", "c"]
    wide = pd.DataFrame(x, columns=names)
    given = {
        "lists": (y.tolist(), x.tolist(), np.ndarray),
        "whole numbers": (y.astype(int), x, np.ndarray),
        "tensors": (torch.tensor(y), torch.tensor(x), torch.Tensor),
        "single precision": (torch.tensor(y).float(), torch.tensor(x.astype(np.float32)), torch.Tensor),
        "pandas": (pd.Series(y, name="out"), wide, (pd.Series, pd.DataFrame)),
        "polars": (pl.Series("out", y), pl.DataFrame(wide.to_dict("list")), (pd.Series, pd.DataFrame)),
    }
    if model != "MNLogit":
        given["booleans"] = (y > 0, x, np.ndarray)
    for name, (endog, exog, kind) in given.items():
        if name == "single precision":
            reference = Case(model, y, x.astype(np.float32).astype(float)).fit(sm, cov_type=cov_type)
        elif name == "booleans":
            reference = Case(model, (y > 0) * 1.0, x).fit(sm, cov_type=cov_type)
            if model == "Poisson":
                continue
        else:
            reference = expected
        mine = getattr(bh, model)(endog, exog).fit(cov_type)
        assert isinstance(mine.params, kind), name
        close(
            np.asarray(mine.params), reference.params, np.maximum(np.abs(reference.params), reference.bse), label=name
        )
        close(np.asarray(mine.bse), reference.bse, label=name)
        close(mine.llf, reference.llf, label=name)
        if isinstance(kind, tuple):
            assert list(mine.params.index) == names
            assert mine.endog_name == "out"
        assert type(mine.bse) is type(mine.params)
        assert type(mine.predict()) in (kind if isinstance(kind, tuple) else (kind,))


@pytest.mark.parametrize("model", MODELS)
def test_categories_of_polars(model, survey, close):
    table = pl.from_pandas(survey.drop(columns=["rank", "grade"]).reset_index(drop=True))
    face = model.lower()
    mine = getattr(bh, face)(f"{FACES[face]} ~ age + C(town)", table).fit("HC0")
    theirs = getattr(smf, face)(f"{FACES[face]} ~ age + C(town)", survey).fit(cov_type="HC0", **CONVERGED)
    close(mine.params, theirs.params, np.maximum(np.abs(theirs.params), theirs.bse))
    close(mine.bse, theirs.bse)
