"""Models of rows in partitions: what they check, where they start and what they find is as in memory."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from support.streams import streamed

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.data.datasets.base import Partition
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.design import Design
from betahat.data.source import Held
from betahat.errors import DataError, EstimationError, FormulaError
from betahat.fits.fit import Fit
from betahat.fits.separated import check_separated

N, K = 6_000, 4
SIZES = (2_000, 0, 1, 1_999, 2_000)
# Sums over partitions are added in another order, and Newton's method stops within 1e-12 standard errors of the optimum.
RTOL, ATOL = 1e-10, 1e-12


def _data():
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(N, K, dtype=torch.float64, generator=generator)
    x[:, 0] = 1.0
    index = 0.3 + x[:, 1:] @ torch.tensor([0.5, -0.4, 0.2], dtype=torch.float64)
    noise = torch.randn(N, dtype=torch.float64, generator=generator)
    uniform = torch.rand(N, dtype=torch.float64, generator=generator)
    counts = torch.poisson(torch.exp(index) * (0.5 + uniform), generator=generator)
    return x, index, noise, uniform, counts


X, INDEX, NOISE, UNIFORM, COUNTS = _data()
YES = (INDEX + torch.logit(UNIFORM) > 0).double()
CLASSES = (INDEX + NOISE > 0).double() + (INDEX + NOISE > 1.0).double()
POSITIVE = torch.exp(0.3 * INDEX + 0.5 * NOISE)
INFLATED = torch.where(UNIFORM < 0.3, 0.0, COUNTS)
ENDOG = {"yes": YES, "count": COUNTS, "class": CLASSES, "positive": POSITIVE, "plain": INDEX + NOISE}
ENDOG |= {"inflated": INFLATED, "limited": (INDEX + NOISE).clamp_min(0.0)}
WEIGHTS = torch.rand(N, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.5
OFTEN = torch.randint(0, 3, (N,), generator=torch.Generator().manual_seed(3)).double()
STATUS = (UNIFORM > 0.2).double()
EARLIER = (torch.arange(N) > 30).double()

FAMILIES = {
    "gaussian": ("plain", None),
    "gaussian log": ("positive", sm.families.Gaussian(sm.families.links.Log())),
    "binomial": ("yes", "binomial"),
    "cloglog": ("yes", sm.families.Binomial(sm.families.links.CLogLog())),
    "poisson": ("count", "poisson"),
    "gamma log": ("positive", sm.families.Gamma(sm.families.links.Log())),
    "inverse gaussian": ("positive", sm.families.InverseGaussian(sm.families.links.Log())),
    "negative binomial": ("count", sm.families.NegativeBinomial(alpha=0.5)),
    "tweedie": ("inflated", sm.families.Tweedie(sm.families.links.Log(), 1.5)),
}
# What is made of columns that are read, by the name of y.
MODELS = {
    "OLS": ("plain", bh.OLS),
    "WLS": ("plain", lambda y, x, **o: bh.WLS(y, x, **{"weights": WEIGHTS, **o})),
    "Logit": ("yes", bh.Logit),
    "Probit": ("yes", bh.Probit),
    "Poisson": ("count", bh.Poisson),
    "MNLogit": ("class", bh.MNLogit),
    "NB2": ("count", bh.NegativeBinomial),
    "NB1": ("count", lambda y, x, **o: bh.NegativeBinomial(y, x, "nb1", **o)),
    "ZIP": ("inflated", bh.ZeroInflatedPoisson),
    "ZINB": ("inflated", bh.ZeroInflatedNegativeBinomialP),
    "hurdle": ("inflated", bh.HurdlePoisson),
    "hurdle NB": ("inflated", bh.HurdleNegativeBinomial),
    "ordered": ("class", lambda y, x, **o: bh.OrderedModel(y, x[:, 1:], **o)),
    "Tobit": ("limited", bh.Tobit),
    "AFT": ("positive", lambda y, x, **o: bh.AFT(y, x, STATUS, **o)),
    "exponential": ("positive", lambda y, x, **o: bh.AFT(y, x, STATUS, "exponential", **o)),
    **{f"GLM {name}": (y, lambda y, x, f=family, **o: bh.GLM(y, x, f, **o)) for name, (y, family) in FAMILIES.items()},
}
BESIDE = {
    "plain": {},
    "weights": {"weights": WEIGHTS},
    "counts": {"freq_weights": OFTEN},
}


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


def as_read(monkeypatch, sizes=SIZES):
    """Let the designs of models be read in partitions, once they are made of arrays."""
    made = Design.__init__

    def read_instead(self, schema, source, *args, **kwargs):
        if type(source) is Held and "exog" in source.columns and source.rows == sum(sizes):
            source = streamed({name: column.double() for name, column in source.columns.items()}, sizes)
        made(self, schema, source, *args, **kwargs)

    monkeypatch.setattr(Design, "__init__", read_instead)


def never_whole(monkeypatch):
    """Refuse to read a whole column."""

    def refuse(self, name):
        raise AssertionError(f"The whole column {name} was read.")

    monkeypatch.setattr(Design, "column", refuse)
    monkeypatch.setattr("betahat.calculus.problem.gather", refuse)


def _cases():
    """Yield each model, with one kind of weights or none in turn, and with all of them where the tests are slow."""
    for i, name in enumerate(MODELS):
        for j, beside in enumerate(BESIDE):
            if name != "OLS" or beside != "weights":
                yield pytest.param(name, beside, marks=() if (i + j) % 3 == 0 else pytest.mark.slow)


@pytest.mark.parametrize(("name", "beside"), list(_cases()))
def test_models_find_what_they_find_in_memory(name, beside, monkeypatch):
    label, make = MODELS[name]
    options = dict(BESIDE[beside])
    if name.startswith("GLM") and "weights" in options:
        options = {"var_weights": options["weights"]}
    y = ENDOG[label]
    held = make(y, X, **options).fit(cov_type="HC0")
    with monkeypatch.context() as patch:
        as_read(patch)
        model = make(y, X, **options)
        never_whole(patch)
        read = model.fit(cov_type="HC0")
        assert not isinstance(model.sample.source, Held)
    torch.testing.assert_close(read.fit.params, held.fit.params, rtol=RTOL, atol=ATOL)
    torch.testing.assert_close(read.fit.loss, held.fit.loss, rtol=RTOL, atol=ATOL)
    torch.testing.assert_close(read.cov.matrix, held.cov.matrix, rtol=1e-8, atol=ATOL)


def _skewed(power):
    """Return y of zeros and ones and a regressor that is only there where y is zero, over many orders of magnitude."""
    here = (YES == 0) & (NOISE > 0)
    return torch.cat([X, torch.where(here, NOISE.abs() ** power, 0.0)[:, None]], 1)


@pytest.mark.parametrize("power", [1, 4])
def test_separated_rows_are_refused(power, monkeypatch):
    x = _skewed(power)
    as_read(monkeypatch)
    for model in (bh.Logit(YES, x), bh.Poisson(YES * COUNTS, x)):
        with pytest.raises(EstimationError, match=r"The loss falls forever along 'x4'.* no finite estimate"):
            model.fit()


@pytest.mark.parametrize("collinear", [False, True])
def test_directions_without_curvature_are_looked_at(collinear, monkeypatch):
    """Where Newton's method came to an end on the way to infinity, a pass tells whether a direction separates."""
    first, second = _skewed(1)[:, -1:], (_skewed(2)[:, -1:] > 1.0).double()
    beside = X[:, 1:2] if collinear else X[:, :0]
    as_read(monkeypatch)
    params = bh.Logit(YES, X).fit().fit.params

    def check(columns, far):
        model = bh.Logit(YES, torch.cat([X, columns, beside], 1))
        there = torch.cat([params, params.new_tensor(far), params.new_zeros(beside.shape[1])])
        triangle = torch.linalg.cholesky_ex(model.problem.information(there, Bread.OBSERVED))[0].mT
        every = tuple(range(len(there)))
        check_separated(Fit(model.problem, there, triangle, triangle, there[0], "", False, model.sample, every))

    with pytest.raises(EstimationError, match=r"The loss falls forever along 'x4' in [\d,]+ rows of 6,000"):
        check(torch.cat([second], 1), [-60.0])
    with pytest.raises(
        EstimationError, match="The loss has next to no curvature along 'x4', 'x5': rows are predicted perfectly"
    ):
        check(torch.cat([first > 2.0, first > 1.0], 1).double(), [-60.0, -60.0])
    neither = torch.where(torch.arange(N) < 9, 1.0, 0.0).double()[:, None]
    check(neither, [-60.0])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: bh.Logit(YES * 2, X), "endog has 3390 values outside"),
        (lambda: bh.Logit(YES * 0, X), "endog is 0 in every row"),
        (lambda: bh.Logit(YES * 0 + 1, X), "endog is 1 in every row"),
        (lambda: bh.Poisson(COUNTS * 0, X), "endog is 0 in every row, so that no mean is positive"),
        (lambda: bh.NegativeBinomial(COUNTS - 0.5, X), "negative values and .* fractions"),
        (
            lambda: bh.GLM(UNIFORM, X, "binomial", freq_weights=OFTEN),
            "endog has 3951 shares between 0 and 1 beside freq_weights",
        ),
        (lambda: bh.HurdlePoisson(COUNTS + 1, X), "endog has no zeros"),
        (lambda: bh.Tobit(INDEX, X), "below the left limit 0"),
        (lambda: bh.Tobit(INDEX * 0, X), "Every value of endog is at a limit"),
        (lambda: bh.AFT(INDEX, X), "time has .* values of zero or less"),
        (lambda: bh.AFT(POSITIVE, X, 2 * STATUS), "status has .* values other than 0 and 1"),
        (lambda: bh.AFT(POSITIVE, X, 0 * STATUS), "No row has an event"),
        (
            lambda: bh.AFT(torch.exp(INDEX - EARLIER), X, 1 - EARLIER),
            "is fitted exactly in every row that is not censored",
        ),
        (lambda: bh.MNLogit(YES * 0, X), "endog has one class"),
        (lambda: bh.OrderedModel(CLASSES, X), "exog has a constant"),
        (
            lambda: bh.OrderedModel(CLASSES, X[:, 1:], weights=(CLASSES < 2) * 1.0),
            "Every row of the category '2' has weight 0",
        ),
    ],
)
def test_what_cannot_be_modelled_is_refused(make, sentence, monkeypatch):
    as_read(monkeypatch)
    with pytest.raises(DataError, match=sentence):
        make()


CLASS_MODELS = [bh.mnlogit, bh.ordered]


def _frame(kind):
    """Return a dataframe with classes as text, numbers or a category, some of them missing, the last class in the last rows alone."""
    y = np.where(np.arange(N) < 5_000, CLASSES.numpy().clip(0, 1), CLASSES.numpy())
    words = np.array(["low", "mid", "top"])[y.astype(int)]
    column = {
        "text": pd.Series(words).where(np.arange(N) % 50 > 0),
        "number": pd.Series(y * 2.5).where(np.arange(N) % 50 > 0),
        "category": pd.Series(pd.Categorical(words, ["top", "mid", "low", "none"], ordered=True)),
    }[kind]
    return pd.DataFrame({"y": column, "x": X[:, 1].numpy(), "z": X[:, 2].numpy()})


def _chunks(frame):
    return lambda: iter([frame.iloc[:2_000], frame.iloc[2_000:2_000], frame.iloc[2_000:4_999], frame.iloc[4_999:]])


@pytest.mark.filterwarnings("ignore:endog is text")
@pytest.mark.parametrize("kind", ["text", "number", "category"])
@pytest.mark.parametrize("model", CLASS_MODELS)
def test_classes_of_datasets_are_those_of_memory(model, kind):
    frame = _frame(kind)
    if kind == "category":
        frame["y"] = frame["y"].cat.remove_unused_categories()
    held, read = model("y ~ x + z", frame), model("y ~ x + z", _chunks(frame))
    assert read.levels == held.levels
    assert read.endog_names == held.endog_names == "y"
    pd.testing.assert_frame_equal(
        pd.DataFrame(read.fit().params), pd.DataFrame(held.fit().params), rtol=RTOL, atol=ATOL
    )


@pytest.mark.parametrize("model", CLASS_MODELS)
def test_declared_classes_without_rows_are_refused(model):
    with pytest.raises(DataError, match=r"No row is of the (class|category) 'none'"):
        model("y ~ x", _chunks(_frame("category")))


def test_categories_in_another_order_elsewhere_are_the_same_classes():
    frame = _frame("text").dropna()
    parts = [frame.iloc[:3_000].copy(), frame.iloc[3_000:].copy()]
    for part, order in zip(parts, (["mid", "low", "top"], ["top", "low", "mid"]), strict=True):
        part["y"] = pd.Categorical(part["y"], order)
    read = bh.mnlogit("y ~ x", lambda: iter(parts))
    held = bh.mnlogit("y ~ x", frame.assign(y=pd.Categorical(frame["y"], ["mid", "low", "top"])))
    assert read.levels == held.levels == ("mid", "low", "top")
    pd.testing.assert_frame_equal(read.fit().params, held.fit().params, rtol=RTOL, atol=ATOL)


def test_classes_that_are_no_column_or_of_two_types_are_refused():
    frame = _frame("text")
    with pytest.raises(FormulaError, match="The left-hand side 'v' is not a column of the data"):
        bh.mnlogit("v ~ x", _chunks(frame))
    parts = [frame.iloc[:2_000], frame.iloc[2_000:].assign(y=1)]
    dataset = Partitioned("two files", ("y", "x"), tuple(_Frame(part) for part in parts))
    with pytest.raises(DataError, match="Column 'y' is text in some of the data and numbers in others, such as a file"):
        bh.mnlogit("y ~ x", dataset)


def _plain_frame():
    columns = {f"x{i}": X[:, i].numpy() for i in range(1, K)}
    moved = (X[:, 1] + NOISE).numpy()
    return pd.DataFrame({**columns, "y": ENDOG["plain"].numpy(), "moved": moved, "time": POSITIVE.numpy()})


@pytest.mark.parametrize("model", [bh.iv2sls, bh.ivliml, bh.ivgmm])
def test_instruments_are_read(model, monkeypatch):
    frame = _plain_frame()
    text = "y ~ x3 | moved ~ x1 + x2"
    held = model(text, frame).fit(cov_type="HC1")
    read = model(text, _chunks(frame))
    never_whole(monkeypatch)
    res = read.fit(cov_type="HC1")
    pd.testing.assert_series_equal(res.params, held.params, rtol=RTOL, atol=ATOL)
    pd.testing.assert_series_equal(res.bse, held.bse, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        (
            lambda data: bh.quantreg("y ~ x1", data).fit(),
            "A quantile is fitted to the vertex .* takes all rows at once",
        ),
        (lambda data: bh.rlm("y ~ x1", data).fit(), "The scale of robust regression is a function of all residuals"),
        (
            lambda data: bh.phreg("time ~ x1", data),
            "Cox's partial likelihood compares each event with all rows at risk",
        ),
    ],
)
def test_models_of_all_rows_at_once_say_so(fit, sentence, monkeypatch):
    data = _chunks(_plain_frame())
    with pytest.raises(
        EstimationError, match=f"{sentence}.*, and 6,000 rows are read in parts from .*; read them into memory, or"
    ):
        fit(data)
    monkeypatch.setattr("betahat.data.design._SMALL", 2**18)
    fit(data)  # a few rows are read whole


class _Frame(Partition):
    """A dataframe as a partition."""

    name = "a file"

    def __init__(self, frame):
        self.frame = frame

    def chunks(self, columns):
        yield self.frame[list(columns)]
