"""Every mistake with proportional hazards is one sentence or two: what came, with its name or number, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

LONGEST = 420  # as in test_messages.py: what can be read in one breath, with a list of names in it


@dataclass(frozen=True)
class Case:
    """A mistake: what it raises, and what its sentence must say."""

    name: str
    mistake: Callable[[SimpleNamespace], object]
    error: type[Exception]
    says: tuple[str, ...]


@pytest.fixture(scope="module")
def d():
    draw = np.random.default_rng(4)
    n = 40
    x = draw.normal(size=(n, 2))
    time = draw.permutation(n) + 1.0
    frame = pd.DataFrame(x, columns=["age", "dose"]).assign(
        time=time, died=(draw.random(n) < 0.7) * 1, ward=np.arange(n) % 4
    )
    none = ((frame.ward == 1) & (frame.died == 0)) | (frame.ward != 1)
    assert not none.all()
    return SimpleNamespace(x=x, y=time, s=frame["died"].to_numpy(), frame=frame, n=n)


def _with(values, where, value):
    changed = np.array(values, dtype=float)
    changed[where] = value
    return changed


def _fit(d, formula="time ~ age + dose", **options):
    return bh.phreg(formula, d.frame, status="died", **options).fit()


def _spared(d):
    """A dummy of rows that have no event."""
    return d.frame.assign(spared=(d.s == 0) * (np.arange(d.n) % 2))


def _early(d):
    """A column that varies only among rows that are gone before the first event."""
    late = d.y > 5
    return d.frame.assign(died=late * 1, before=np.where(late, 2.0, d.x[:, 0]))


DATA = [
    Case(
        "status of 1 and 2",
        lambda d: bh.PHReg(d.y, d.x, d.s + 1),
        bh.DataError,
        ("status has", "other than 0 and 1", "recode"),
    ),
    Case("one status of 2", lambda d: bh.PHReg(d.y, d.x, _with(d.s, 3, 2)), bh.DataError, ("1 value other", "recode")),
    Case(
        "a missing status",
        lambda d: bh.PHReg(d.y, d.x, _with(d.s, 3, np.nan)),
        bh.DataError,
        ("1 of 40", "status (1)", "missing='drop'"),
    ),
    Case("no events", lambda d: bh.PHReg(d.y, d.x, 0 * d.s), bh.DataError, ("No row has an event", "pass 1")),
    Case(
        "events of weight zero",
        lambda d: bh.PHReg(d.y, d.x, d.s, weights=1.0 - d.s),
        bh.DataError,
        ("No row has an event",),
    ),
    Case("status is shorter", lambda d: bh.PHReg(d.y, d.x, d.s[1:]), bh.DataError, ("status has 39 rows", "40")),
    Case(
        "negative times",
        lambda d: bh.PHReg(_with(d.y, [1, 2], -1), d.x, d.s),
        bh.DataError,
        ("endog has 2 negative values", "subtract"),
    ),
    Case(
        "a missing time", lambda d: bh.PHReg(_with(d.y, 1, np.nan), d.x, d.s), bh.DataError, ("y (1)", "missing='drop'")
    ),
    Case(
        "negative entries",
        lambda d: bh.PHReg(d.y, d.x, d.s, entry=0 * d.y - 1),
        bh.DataError,
        ("entry has 40 negative values",),
    ),
    Case(
        "entry at the time",
        lambda d: bh.PHReg(d.y, d.x, d.s, entry=_with(0 * d.y, 3, d.y[3])),
        bh.DataError,
        ("entry is not before endog in 1 row", "leave it out"),
    ),
    Case(
        "entry at the time, but for rounding",
        lambda d: bh.PHReg(d.y, d.x, d.s, entry=_with(0 * d.y, 3, d.y[3] * (1 - 1e-15))),
        bh.DataError,
        ("entry is not before endog in 1 row", "leave it out"),
    ),
    Case(
        "entries after times",
        lambda d: bh.PHReg(d.y, d.x, d.s, entry=d.y + 1),
        bh.DataError,
        ("in 40 rows", "leave them out"),
    ),
    Case(
        "a name of an entry",
        lambda d: bh.PHReg(d.y, d.x, d.s, entry="start"),
        bh.DataError,
        ("entry is 'start'", "bh.phreg("),
    ),
    Case(
        "a constant",
        lambda d: bh.PHReg(d.y, bh.add_constant(d.x), d.s),
        bh.DataError,
        ("'const' does not vary", "baseline hazard", "leave it out"),
    ),
    Case(
        "constant within strata",
        lambda d: bh.phreg("time ~ age + ward", d.frame, status="died", strata="ward"),
        bh.DataError,
        ("'ward' does not vary within strata", "leave it out"),
    ),
    Case(
        "a stratum for each row",
        lambda d: bh.PHReg(d.y, d.x, d.s, strata=np.arange(d.n)),
        bh.DataError,
        ("strata has a stratum for each row", "several rows"),
    ),
    Case(
        "two columns of strata",
        lambda d: bh.PHReg(d.y, d.x, d.s, strata=np.ones((d.n, 2))),
        bh.OptionError,
        ("strata has 2 columns", "pass one"),
    ),
    Case(
        "no such strata",
        lambda d: bh.phreg("time ~ age", d.frame, strata="wart"),
        bh.OptionError,
        ("strata='wart'", "'ward'"),
    ),
    Case(
        "no such status",
        lambda d: bh.phreg("time ~ age", d.frame, status="dead"),
        bh.FormulaError,
        ("status='dead'", "'died'"),
    ),
    Case(
        "unknown ties",
        lambda d: bh.PHReg(d.y, d.x, d.s, ties="exact"),
        bh.OptionError,
        ("'exact'", "'breslow'", "'efron'"),
    ),
    Case(
        "unknown ties of a formula",
        lambda d: bh.phreg("time ~ age", d.frame, ties=3),
        bh.OptionError,
        ("ties is 3", "'efron'"),
    ),
    Case(
        "no regressors",
        lambda d: bh.phreg("time ~ 1", d.frame, status="died"),
        bh.FormulaError,
        ("side '1' has", "no regressors", "add a regressor"),
    ),
    Case(
        "an unknown option",
        lambda d: bh.phreg("time ~ age", d.frame, exposure="dose"),
        bh.OptionError,
        ("'exposure'", "'status'", "'entry'"),
    ),
    Case(
        "counts of halves",
        lambda d: bh.PHReg(d.y, d.x, d.s, freq_weights=0.5 + 0 * d.y),
        bh.DataError,
        ("freq_weights has 40 values", "weights="),
    ),
    Case(
        "more columns than rows",
        lambda d: bh.PHReg(d.y[:3], np.eye(3), d.s[:3] * 0 + 1),
        bh.EstimationError,
        ("3 rows", "3 coefficients"),
    ),
]
FITS = [
    Case(
        "no events in a group",
        lambda d: bh.phreg("time ~ age + spared", _spared(d), status="died").fit(),
        bh.EstimationError,
        ("falls forever along 'spared'", "no finite estimate", "coefficient may be infinite", "merge"),
    ),
    Case(
        "by Efron",
        lambda d: bh.phreg("time ~ age + spared", _spared(d), status="died", ties="efron").fit(),
        bh.EstimationError,
        ("'spared'", "at each event"),
    ),
    Case(
        "events in the order of a column",
        lambda d: bh.PHReg(d.y, np.column_stack([d.x[:, 0], -d.y])).fit(),
        bh.EstimationError,
        ("'x2'", "comes first among those at risk"),
    ),
    Case(
        "constant among rows at risk",
        lambda d: bh.phreg("time ~ age + before", _early(d), status="died").fit(),
        bh.EstimationError,
        ("'before' does not vary", "at risk", "leave such columns out"),
    ),
    Case(
        "two such columns",
        lambda d: bh.phreg(
            "time ~ age + before + after", _early(d).assign(after=lambda f: f.before**2), status="died"
        ).fit(),
        bh.EstimationError,
        ("'before', 'after' do not vary",),
    ),
    Case(
        "statsmodels' groups",
        lambda d: bh.PHReg(d.y, d.x, d.s).fit(groups=d.frame.ward),
        bh.OptionError,
        ("bh.Cluster(groups, kind='CR0')",),
    ),
    Case(
        "statsmodels' method",
        lambda d: bh.PHReg(d.y, d.x, d.s).fit(method="bfgs"),
        bh.OptionError,
        ("'method'", "Newton"),
    ),
    Case(
        "starts of another shape",
        lambda d: bh.PHReg(d.y, d.x, d.s).fit(start_params=[0.0]),
        bh.OptionError,
        ("start_params has shape (1,)", "2 parameters"),
    ),
    *(
        Case(
            f"bread={bread}",
            lambda d, bread=bread: bh.PHReg(d.y, d.x, d.s).fit(bread=bread),
            bh.OptionError,
            (f"bread={bread!r}", "'observed' or 'opg'"),
        )
        for bread in ("expected", "gauss-newton")
    ),
    *(
        Case(
            str(cov),
            lambda d, cov=cov: _fit(d).with_cov(cov),
            bh.EstimationError,
            ("no leverage", "use HC0", "Jackknife(refit=True)"),
        )
        for cov in ("HC2", "HC3", "HC4", "jackknife", bh.Cluster("ward", "CR2"), bh.Cluster("ward", "CR3"))
    ),
    Case(
        "the parametric bootstrap",
        lambda d: _fit(d).with_cov(bh.Bootstrap(19, "parametric")),
        bh.EstimationError,
        ("distribution of y", "kind='pairs'"),
    ),
    Case(
        "the wild bootstrap",
        lambda d: _fit(d).with_cov(bh.Bootstrap(19, "wild")),
        bh.EstimationError,
        ("least squares", "kind='score'"),
    ),
]
ASKED = [
    Case("an unknown prediction", lambda d: _fit(d).predict(pred_type="mean"), bh.OptionError, ("pred_type is 'mean'", "'surv'")),
    Case("new data without times", lambda d: _fit(d).predict(exog=d.frame, pred_type="surv"), bh.OptionError, ("endog is None", "pass endog=")),
    Case("new data without strata", lambda d: _fit(d, strata="ward").predict(endog=1.0, exog=d.frame, pred_type="surv"), bh.OptionError, ("strata is None", "label for each prediction: '0', '1', '2', '3'")),
    Case("another stratum", lambda d: _fit(d, strata="ward").predict(endog=1.0, exog=d.frame, strata=9, pred_type="surv"), bh.DataError, ("no stratum '9'", "'0', '1', '2', '3'")),
    Case("strata of another length", lambda d: _fit(d, strata="ward").predict(endog=1.0, exog=d.frame, strata=[1, 2], pred_type="surv"), bh.DataError, ("strata has 2 labels for 40 predictions",)),
    Case("strata that are no labels", lambda d: _fit(d, strata="ward").predict(endog=1.0, exog=d.frame, strata=[[1], [2]], pred_type="surv"), bh.DataError, ("no stratum '[1]', '[2]'",)),
    Case("strata of a sparse tensor", lambda d: _fit(d, strata="ward").predict(endog=1.0, exog=d.frame, strata=torch.eye(2).to_sparse(), pred_type="surv"), bh.DataError, ("strata is a sparse tensor",)),
    Case("times of another length", lambda d: _fit(d).predict(endog=[1.0, 2.0], exog=d.frame, pred_type="surv"), bh.DataError, ("endog has shape (2,) for 40 predictions",)),
    Case("a frame of times", lambda d: _fit(d).predict(d.frame, d.frame), bh.OptionError, ("endog is a DataFrame", "times", "exog=")),
    Case("times of no use", lambda d: _fit(d).predict(d.y), bh.OptionError, ("endog is a", "pred_type='lhr' has no use for", "exog=", "'surv'")),
    Case("a prediction with intervals", lambda d: _fit(d).get_prediction(), bh.EstimationError, ("baseline hazard", "use predict")),
    Case("marginal effects", lambda d: _fit(d).get_margeff(), bh.EstimationError, ("baseline hazard", "pred_type='surv'")),
    Case("cases", lambda d: _fit(d).plot_diagnostics(), bh.EstimationError, ("martingale_residuals",)),
    Case("an unknown criterion", lambda d: _fit(d).info_criteria("dic"), bh.OptionError, ("'dic'", "'bic'")),
    Case("an unknown function of time", lambda d: _fit(d).test_proportionality("cube"), bh.OptionError, ("transform is 'cube'", "'km', 'rank', 'identity', 'log'")),
    Case("the logarithm of zero", lambda d: bh.PHReg(d.y - 1, d.x).fit().test_proportionality("log"), bh.DataError, ("infinite at 1 time", "'rank'")),
    Case("one time of events", lambda d: bh.PHReg(np.ceil(d.y / 20), d.x, (d.y <= 20) * 1).fit().test_proportionality(), bh.EstimationError, ("too few times",)),
    Case("rows that are gone", lambda d: _fit(d).remove_data().martingale_residuals, bh.DataError, ("without their data",)),
]  # fmt: skip


@pytest.mark.parametrize("case", [*DATA, *FITS, *ASKED], ids=lambda case: case.name)
def test_sentence(d, case):
    with pytest.raises(case.error) as caught:
        case.mistake(d)
    sentence = str(caught.value)
    for words in case.says:
        assert words in sentence, sentence
    assert len(sentence) <= LONGEST
    assert sentence[-1] in ".?"


def test_the_constant_of_a_formula_is_no_coefficient(d):
    few = d.frame[:5].assign(a=[1.0, 5, 2, 4, 3], b=[2.0, 1, 4, 3, 9], one="a")
    with pytest.raises(bh.EstimationError, match="With 4 rows for 4 coefficients no degrees of freedom are left; use"):
        bh.phreg("time ~ age + dose + a + b", few[:4])
    assert bh.phreg("time ~ age + dose + a + b", few).df_model == 4
    with pytest.raises(bh.FormulaError, match=r"side 'C\(one\)' has no regressors beside the constant"):
        bh.phreg("time ~ C(one)", few)
    assert bh.phreg("time ~ C(ward) + age", d.frame, status="died").exog_names == [
        *(f"C(ward)[T.{i}]" for i in (1, 2, 3)),
        "age",
    ]
