"""Clusters, lags, panels, places and the jackknife: naive loops, refits, and laws that tie the estimators together."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import betahat as bh
from betahat.data.products import group_sums
from betahat.fits import influence_sums
from betahat.solvers.least_squares import row_residuals

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9
# Two optima, each to a decrement below 1e-24, and the derivatives there.
REFITTED = 1e-8

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]

N, G, T = 72, 12, 6
RNG = np.random.default_rng(5)
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
UNIT = np.sort(RNG.choice(G, size=N, p=np.arange(1, G + 1) / (G * (G + 1) / 2)))
UNIT[:G] = np.arange(G)  # none is empty; sizes differ, and rows are not sorted
OTHER = RNG.integers(0, 7, size=N)
W = RNG.uniform(0.3, 2.5, size=N)
HOLES = np.where((np.arange(N) % 6 == 2) & (np.arange(N) >= G), 0.0, W)  # every unit keeps a row
INDEX = X @ [0.2, 0.6, -0.4] + 0.5 * RNG.normal(size=G)[UNIT]
Y = INDEX + RNG.normal(size=N) * (0.5 + np.abs(X[:, 1]))
YES = (INDEX + RNG.logistic(size=N) > 0) * 1.0
COUNT = RNG.poisson(np.exp(0.7 * INDEX)) * 1.0
CHOICE = np.argmax(np.column_stack([0 * INDEX, INDEX, -INDEX]) + RNG.gumbel(size=(N, 3)), axis=1)
# A balanced panel of the same rows.
FIRM, YEAR = np.repeat(np.arange(G), T), np.tile(np.arange(T), G)


def _t(values):
    return torch.as_tensor(np.array(values))


def _linear_layer():
    return nn.Linear(2, 1, dtype=torch.float64)


def _network(order):
    return bh.TorchModel(_linear_layer(), nn.MSELoss(), _t(X[order, 1:]), _t(Y[order, None]))


def _log_cosh(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["beta"]))


def _m_estimator(order):
    data = {"x": _t(X[order]), "y": _t(Y[order]), "unit": _t(UNIT[order])}
    return bh.MEstimator(_log_cosh, {"beta": torch.zeros(3, dtype=torch.float64)}, data)


MODELS = {
    "OLS": lambda order: bh.OLS(Y[order], X[order]),
    "WLS": lambda order: bh.WLS(Y[order], X[order], weights=W[order]),
    "weights of zero": lambda order: bh.WLS(Y[order], X[order], weights=HOLES[order]),
    "Logit": lambda order: bh.Logit(YES[order], X[order]),
    "weighted Logit": lambda order: bh.Logit(YES[order], X[order], weights=W[order]),
    "Probit": lambda order: bh.Probit(YES[order], X[order]),
    "Poisson": lambda order: bh.Poisson(COUNT[order], X[order]),
    "MNLogit": lambda order: bh.MNLogit(CHOICE[order], X[order]),
    "TorchModel": _network,
    "MEstimator": _m_estimator,
}
ORDER = np.arange(N)
KINDS = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "jackknife")


@pytest.fixture(scope="module")
def fitted():
    """Every model's fit, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


# Each row's loss as a function of all parameters, for automatic differentiation.
def _index(b):
    return _t(X) @ b


def _choice_losses(b):
    index = torch.cat([torch.zeros(N, 1, dtype=torch.float64), _t(X) @ b.reshape(2, 3).T], 1)
    return F.cross_entropy(index, _t(CHOICE), reduction="none")


LOSSES = {
    "OLS": lambda b: 0.5 * (_t(Y) - _index(b)) ** 2,
    "WLS": lambda b: 0.5 * _t(W) * (_t(Y) - _index(b)) ** 2,
    "weights of zero": lambda b: 0.5 * _t(HOLES) * (_t(Y) - _index(b)) ** 2,
    "Logit": lambda b: F.softplus(_index(b)) - _t(YES) * _index(b),
    "weighted Logit": lambda b: _t(W) * (F.softplus(_index(b)) - _t(YES) * _index(b)),
    "Probit": lambda b: -torch.special.log_ndtr((2 * _t(YES) - 1) * _index(b)),
    "Poisson": lambda b: torch.exp(_index(b)) - _t(COUNT) * _index(b),
    "MNLogit": _choice_losses,
    "TorchModel": lambda b: (_t(Y) - _t(X[:, 1:]) @ b[:2] - b[2]) ** 2,
    "MEstimator": lambda b: torch.log(torch.cosh(_t(Y) - _index(b))),
}


def _bread_and_scores(name, res):
    """Return the inverse Hessian and the scores of each row by automatic differentiation."""
    b = _t(np.asarray(res.params).ravel("F"))
    scores = -torch.func.jacrev(LOSSES[name])(b)
    hessian = torch.func.hessian(lambda b: LOSSES[name](b).sum())(b)
    return np.linalg.inv(hessian.numpy()), scores.numpy()


def _sandwich(bread, parts):
    return bread @ sum(np.outer(s, s) for s in parts) @ bread


def _matrix(res, estimator):
    return np.asarray(res.with_cov(estimator).cov_params())


def _same(found, true, tolerance=ROUNDING):
    found, true = np.asarray(found), np.asarray(true)
    errors = np.sqrt(np.abs(np.diagonal(true)))
    lost = (np.abs(found - true) / np.outer(errors, errors)).max()
    assert lost < tolerance, f"off by {lost:.1e}"


# loops


@pytest.mark.parametrize("name", MODELS)
def test_a_loop_over_clusters(name, fitted):
    bread, scores = _bread_and_scores(name, fitted[name])
    plain = _sandwich(bread, [scores[g == UNIT].sum(0) for g in range(G)])
    _same(_matrix(fitted[name], bh.Cluster(UNIT, "CR0")), plain)
    k = len(bread)
    factors = {"CR1": G / (G - 1), "CR1p": G / (G - k), "CR1S": G / (G - 1) * (N - 1) / (N - k)}
    for kind, factor in factors.items():
        _same(_matrix(fitted[name], bh.Cluster(UNIT, kind)), factor * plain)


@pytest.mark.parametrize("kernel", ["bartlett", "parzen", "tukey-hanning", "truncated"])
@pytest.mark.parametrize("name", MODELS)
def test_a_loop_over_lags(name, kernel, fitted):
    bread, scores = _bread_and_scores(name, fitted[name])
    weight = {
        "bartlett": lambda x: 1 - x,
        "parzen": lambda x: 1 - 6 * x**2 + 6 * x**3 if x < 0.5 else 2 * (1 - x) ** 3,
        "tukey-hanning": lambda x: 0.5 * (1 + np.cos(np.pi * x)),
        "truncated": lambda x: 1.0,
    }[kernel]
    for lags in (0, 1, 5):
        meat = sum(
            weight(abs(t - s) / (lags + 1)) * np.outer(scores[t], scores[s])
            for t, s in itertools.product(range(N), repeat=2)
            if abs(t - s) <= lags
        )
        _same(_matrix(fitted[name], bh.HAC(lags, kernel)), bread @ meat @ bread)


@pytest.mark.parametrize("name", ["OLS", "Poisson", "MNLogit", "TorchModel"])
def test_loops_over_a_panel(name, fitted):
    bread, scores = _bread_and_scores(name, fitted[name])

    def squeezed(together):
        pairs = itertools.product(range(N), repeat=2)
        near = ((t, s, max(0.0, 1 - abs(YEAR[t] - YEAR[s]) / 3)) for t, s in pairs if together(t, s))
        return bread @ sum(w * np.outer(scores[t], scores[s]) for t, s, w in near) @ bread

    within = squeezed(lambda t, s: FIRM[t] == FIRM[s])
    _same(_matrix(fitted[name], bh.PanelNeweyWest(FIRM, YEAR, 2, correction=None)), within)
    _same(_matrix(fitted[name], bh.PanelNeweyWest(FIRM, None, 2, correction=None)), within)
    across = squeezed(lambda t, s: True)
    _same(_matrix(fitted[name], bh.DriscollKraay(YEAR, 2, correction=None)), across)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit"])
def test_a_loop_over_places(name, fitted):
    bread, scores = _bread_and_scores(name, fitted[name])
    north, east = 40 + 5 * np.random.default_rng(1).uniform(size=N), 8 * np.random.default_rng(2).uniform(size=N)
    a, b = np.radians(north), np.radians(east)
    square = np.sin((a[:, None] - a) / 2) ** 2 + np.cos(a[:, None]) * np.cos(a) * np.sin((b[:, None] - b) / 2) ** 2
    apart = 2 * 6376.0 * np.arcsin(np.sqrt(square))
    near = (apart <= 150.0).astype(float)
    _same(_matrix(fitted[name], bh.Conley(north, east, 150.0)), bread @ scores.T @ near @ scores @ bread)
    near = near * (1 - apart / 150.0)
    _same(_matrix(fitted[name], bh.Conley(north, east, 150, "bartlett")), bread @ scores.T @ near @ scores @ bread)
    near = (np.hypot(north[:, None] - north, east[:, None] - east) <= 1.5).astype(float)
    _same(
        _matrix(fitted[name], bh.Conley(north, east, 1.5, distance="planar")), bread @ scores.T @ near @ scores @ bread
    )


def test_panel_corrected_is_a_loop_over_periods(fitted):
    res = fitted["OLS"]
    e, bread = Y - X @ res.params, np.linalg.inv(X.T @ X)
    sigma = e.reshape(G, T) @ e.reshape(G, T).T / T
    pairs = ((i, j) for i, j in itertools.product(range(N), repeat=2) if YEAR[i] == YEAR[j])
    meat = sum(sigma[FIRM[i], FIRM[j]] * np.outer(X[i], X[j]) for i, j in pairs)
    for pairwise in (False, True):
        _same(_matrix(res, bh.PanelCorrected(FIRM, YEAR, pairwise)), bread @ meat @ bread)


# CR2 and CR3 by n x n matrices


def _root(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def _adjusted_by_definition(kind, w, target, contrast):
    """Return the variance of c'b, Satterthwaite's df, and the matrix, with Pustejovsky and Tipton's A_g = D' B^(-1/2) D."""
    bread = np.linalg.inv(X.T @ (w[:, None] * X))
    left = np.eye(N) - X @ bread @ (X.T * w)
    phi = np.diag(1 / w if target == "inverse_weights" else np.ones(N))
    e, meat, vectors = left @ Y, 0, []
    for g in range(G):
        i = np.flatnonzero(g == UNIT)
        if kind == "CR2":
            d = np.sqrt(phi[np.ix_(i, i)])
            adjust = d @ _root(d @ (left @ phi @ left.T)[np.ix_(i, i)] @ d, -0.5) @ d
        else:
            adjust = np.linalg.inv(left[np.ix_(i, i)])
        rows = (X[i].T * w[i]) @ adjust
        meat = meat + np.outer(rows @ e[i], rows @ e[i])
        vectors.append(left[i].T @ rows.T @ bread @ contrast)
    p = np.array([[v @ phi @ u for u in vectors] for v in vectors])
    matrix = bread @ meat @ bread
    return contrast @ matrix @ contrast, np.trace(p) ** 2 / (p**2).sum(), matrix


@pytest.mark.parametrize("target", ["identity", "inverse_weights"])
@pytest.mark.parametrize("kind", ["CR2", "CR3"])
@pytest.mark.parametrize("name", ["OLS", "WLS"])
def test_small_samples_by_definition(name, kind, target, fitted):
    res = fitted[name].with_cov(bh.Cluster(UNIT, kind, target=target))
    w = W if name == "WLS" else np.ones(N)
    for contrast in (*np.eye(3), np.array([0.0, 1.0, -1.0]), np.array([1.0, 2.0, 0.5])):
        variance, df, matrix = _adjusted_by_definition(kind, w, target, contrast)
        test = res.t_test(contrast)
        _same(res.cov_params(), matrix)
        assert float(np.ravel(test.sd)[0]) ** 2 == pytest.approx(variance, rel=ROUNDING)
        assert float(np.ravel(test.df_denom)[0]) == pytest.approx(df, rel=ROUNDING)
        z = contrast @ res.params / np.sqrt(variance)
        assert float(test.pvalue) == pytest.approx(2 * stats.t.sf(abs(z), df), rel=1e-7)
    df = [_adjusted_by_definition(kind, w, target, c)[1] for c in np.eye(3)]
    np.testing.assert_allclose(res.cov.df, df, rtol=ROUNDING)
    one = res.f_test(np.array([[0.0, 1.0, -1.0]]))
    assert one.pvalue == pytest.approx(float(res.t_test([0.0, 1.0, -1.0]).pvalue), rel=1e-7)


def test_use_t_of_small_samples(fitted):
    """use_t=False takes the normal distribution, and chi-squared for joint tests."""
    res = fitted["OLS"].with_cov(bh.Cluster(UNIT, "CR2"), use_t=False)
    assert not res.use_t
    np.testing.assert_allclose(res.pvalues, 2 * stats.norm.sf(np.abs(res.tvalues)), rtol=1e-7)
    assert res.wald_test(np.eye(3)[1:]).distribution == "chi2"


# every row its own cluster


# What has one leverage for a row. WLS by the target of HC2 and HC3, the weights.
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("MNLogit", "MEstimator")])
def test_every_row_its_own_cluster(name, fitted):
    res = fitted[name]
    for labels in (np.arange(N), [f"row {i}" for i in range(N)]):
        for kind, hc in (("CR0", "HC0"), ("CR2", "HC2"), ("CR3", "HC3")):
            _same(_matrix(res, bh.Cluster(labels, kind, target="inverse_weights")), _matrix(res, hc))


@pytest.mark.parametrize("name", ["MNLogit", "MEstimator"])
def test_every_row_its_own_cluster_without_leverage(name, fitted):
    _same(_matrix(fitted[name], bh.Cluster(np.arange(N), "CR0")), _matrix(fitted[name], "HC0"))


@pytest.mark.parametrize("name", MODELS)
def test_no_lags(name, fitted):
    res = fitted[name]
    _same(_matrix(res, bh.HAC(0)), _matrix(res, "HC0"))
    _same(_matrix(res, bh.HAC(bandwidth=0.5)), _matrix(res, "HC0"))
    _same(_matrix(res, bh.HAC(0, correction=True)), _matrix(res, "HC1"))
    _same(_matrix(res, bh.PanelNeweyWest(FIRM, YEAR, 0, correction=None)), _matrix(res, "HC0"))
    _same(_matrix(res, bh.DriscollKraay(YEAR, 0)), _matrix(res, bh.Cluster(YEAR, "CR1S")))
    _same(_matrix(res, bh.DriscollKraay(np.arange(N), 4, correction=None)), _matrix(res, bh.HAC(4)))
    _same(_matrix(res, bh.PanelNeweyWest(np.arange(N) // (N // 2), maxlags=0)), _matrix(res, "HC1"))
    whole = bh.PanelNeweyWest(FIRM, YEAR, T - 1, "truncated", correction=None)
    _same(_matrix(res, whole), _matrix(res, bh.Cluster(FIRM, "CR0")))
    _same(_matrix(res, bh.Conley(FIRM, FIRM, 1e-9, distance="planar")), _matrix(res, bh.Cluster(FIRM, "CR0")))


# the order of rows, the names of groups, the container


def _collection(order):
    """Name estimators for rows in an order; all but HAC, which is about the order."""
    unit, other, firm, year = UNIT[order], OTHER[order], FIRM[order], YEAR[order]
    place = {"latitude": X[order, 1], "longitude": X[order, 2], "cutoff": 0.5, "distance": "planar"}
    return {
        **{kind: bh.Cluster(unit, kind) for kind in KINDS},
        **{f"two-way {kind}": bh.Cluster([unit, other], kind, psd="repair") for kind in ("CR0", "CR1S", "CR2", "CR3")},
        "Driscoll-Kraay": bh.DriscollKraay(year, 2),
        "panel": bh.PanelNeweyWest(firm, year, 2),
        "cluster-jk": bh.Jackknife(unit),
        "jackknife over rows": bh.Jackknife(),
        "Conley": bh.Conley(**place),
    }


# A loss of one's own shows no fitted value, so that its rows have no leverage.
NO_LEVERAGE = ("CR2", "CR3", "jackknife", "two-way CR2", "two-way CR3", "cluster-jk", "jackknife over rows")


def _defined(name, kind):
    return name != "MEstimator" or kind not in NO_LEVERAGE


@pytest.mark.parametrize("name", MODELS)
def test_order_and_names(name, fitted):
    order = np.random.default_rng(3).permutation(N)
    relabelled = np.array([f"{(5 * g + 3) % G:02d}" for g in UNIT])
    there, again = _collection(ORDER), _collection(order)
    mixed = MODELS[name](order).fit("HC0")
    for kind, estimator in there.items():
        if _defined(name, kind):
            _same(_matrix(mixed, again[kind]), _matrix(fitted[name], estimator), REFITTED)
    for kind in (kind for kind in KINDS if _defined(name, kind)):
        plain = _matrix(fitted[name], there[kind])
        _same(_matrix(fitted[name], bh.Cluster(relabelled, kind)), plain)
        _same(_matrix(fitted[name], bh.Cluster(pd.Categorical(relabelled), kind)), plain)
        _same(_matrix(fitted[name], bh.Cluster(_t(UNIT), kind)), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_containers(kind):
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2], "unit": UNIT, "other": OTHER}, index=range(100, 100 + N))
    design = frame[["a", "b"]].assign(const=1.0)[["const", "a", "b"]]
    fits = {
        "tensors": (bh.OLS(_t(Y), _t(X)), _t(UNIT)),
        "numpy": (bh.OLS(Y, X), UNIT),
        "frame": (bh.OLS(frame["y"], design), frame["unit"]),
        "frame and array": (bh.OLS(frame["y"], design), UNIT),
        "frame and list": (bh.OLS(frame["y"], design), UNIT.tolist()),
        "formula": (bh.ols("y ~ a + b", frame), "unit"),
        "formula and vector": (bh.ols("y ~ a + b", frame), frame["unit"]),
    }
    true = _matrix(bh.OLS(Y, X).fit(), bh.Cluster(UNIT, kind))
    for name, (model, groups) in fits.items():
        res = model.fit(bh.Cluster(groups, kind))
        kept = {"tensors": torch.Tensor, "numpy": np.ndarray}.get(name, pd.Series)
        assert isinstance(res.bse, kept), name
        _same(res.cov_params(), true)
    ways = [
        ["unit", "other"],
        frame[["unit", "other"]],
        [frame["unit"], frame["other"]],
        np.column_stack([UNIT, OTHER]),
    ]
    two = [bh.ols("y ~ a + b", frame).fit(bh.Cluster(way, kind, psd="repair")).cov_params() for way in ways]
    for found in two[1:]:
        _same(found, two[0])


def test_names_of_an_m_estimator(fitted):
    _same(
        _matrix(fitted["MEstimator"], bh.Cluster("unit", "CR0")), _matrix(fitted["MEstimator"], bh.Cluster(UNIT, "CR0"))
    )


@pytest.mark.parametrize("missing", ["in the data", "in the labels too"])
def test_missing_rows(missing):
    """Groups by name, of the rows in use, and of the original rows are the same groups."""
    gone = np.arange(N) % 7 == 3
    frame = pd.DataFrame({"y": np.where(gone, np.nan, Y), "a": X[:, 1], "b": X[:, 2], "year": YEAR})
    frame["unit"] = UNIT.astype(float)
    if missing == "in the labels too":
        frame.loc[gone, "unit"] = np.nan
    true = _matrix(bh.OLS(Y[~gone], X[~gone]).fit(), bh.Cluster(UNIT[~gone], "CR2"))
    whole, used = frame["unit"], frame["unit"][~gone]
    for given in ("unit", whole, used, whole.to_numpy(), used.to_numpy(), whole.tolist(), _t(whole), _t(used)):
        _same(_matrix(bh.ols("y ~ a + b", frame).fit(), bh.Cluster(given, "CR2")), true)
    arrays = bh.OLS(frame["y"].to_numpy(), X, missing="drop").fit()
    for given in (whole.to_numpy(), used.to_numpy()):
        _same(_matrix(arrays, bh.Cluster(given, "CR2")), true)
    series = bh.OLS(Y[~gone], X[~gone]).fit()
    _same(
        _matrix(bh.ols("y ~ a + b", frame).fit(), bh.DriscollKraay("year", 2)),
        _matrix(series, bh.DriscollKraay(YEAR[~gone], 2)),
    )


# weights


@pytest.mark.parametrize("target", ["identity", "inverse_weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_zero(kind, target, fitted):
    """Rows without weight have no say, whatever is written in them; they count in n as they do in HC1."""
    here = HOLES > 0
    dropped = bh.WLS(Y[here], X[here], weights=HOLES[here]).fit()
    n = here.sum()
    count = (N - 1) / (N - 3) * (n - 3) / (n - 1) if kind == "CR1S" else 1.0  # but for their number, as in HC1
    wild = bh.WLS(np.where(here, Y, 1e6), X, weights=HOLES).fit()
    true = count * _matrix(dropped, bh.Cluster(UNIT[here], kind, target=target))
    for res in (fitted["weights of zero"], wild):
        _same(_matrix(res, bh.Cluster(UNIT, kind, target=target)), true)
    if kind in ("CR2", "CR3"):
        df = dropped.with_cov(bh.Cluster(UNIT[here], kind, target=target)).cov.df
        np.testing.assert_allclose(wild.with_cov(bh.Cluster(UNIT, kind, target=target)).cov.df, df, rtol=ROUNDING)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson", "MNLogit"])
def test_frequency_weights_are_repeated_rows(name):
    y = {"Logit": YES, "Probit": YES, "Poisson": COUNT, "MNLogit": CHOICE}[name]
    often = np.random.default_rng(4).integers(1, 4, size=N)
    again = np.repeat(ORDER, often)
    counted = getattr(bh, name)(y, X, freq_weights=often).fit()
    repeated = getattr(bh, name)(y[again], X[again]).fit()
    for kind in KINDS:
        if kind == "CR1p" and name == "MNLogit":
            continue
        mine = counted.with_cov(bh.Cluster(UNIT, kind))
        theirs = repeated.with_cov(bh.Cluster(UNIT[again], kind))
        _same(mine.cov_params(), theirs.cov_params(), REFITTED)
        if kind in ("CR2", "CR3"):
            np.testing.assert_allclose(mine.cov.df, theirs.cov.df, rtol=REFITTED)
    _same(_matrix(counted, bh.Jackknife(UNIT)), _matrix(repeated, bh.Jackknife(UNIT[again])), REFITTED)
    _same(_matrix(counted, bh.Jackknife()), _matrix(repeated, bh.Jackknife()), REFITTED)


# the jackknife


def _refits(model, labels):
    return np.stack([np.asarray(model(ORDER[labels != g]).fit("HC0").params).ravel("F") for g in np.unique(labels)])


@pytest.mark.parametrize("labels", [UNIT, ORDER], ids=["clusters", "rows"])
@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Poisson", "MNLogit", "MEstimator"])
def test_jackknife_is_refits(name, labels, fitted):
    if labels is ORDER and name in ("MNLogit", "MEstimator"):
        pytest.skip("72 slow refits, twice")
    refits = _refits(MODELS[name], labels)
    count, b = len(refits), np.asarray(fitted[name].params).ravel("F")
    clusters = None if labels is ORDER else labels
    for center, steps in (("mean", refits - refits.mean(0)), ("estimate", refits - b)):
        for correction in (True, False):
            true = ((count - 1) / count if correction else 1.0) * steps.T @ steps
            found = _matrix(fitted[name], bh.Jackknife(clusters, center, refit=True, correction=correction))
            _same(found, true, REFITTED)
    if name in ("OLS", "WLS"):
        kind = bh.Cluster(labels, "CR3", target="inverse_weights")
        _same(_matrix(fitted[name], kind), (refits - b).T @ (refits - b), REFITTED)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson", "MNLogit", "TorchModel"])
def test_one_step_jackknife(name, fitted):
    """Without refits each step is Newton's from the estimate: (A - A_g)^-1 s_g, and CR3 is their sum of squares."""
    b = _t(np.asarray(fitted[name].params).ravel("F"))
    _, scores = _bread_and_scores(name, fitted[name])
    steps = []
    for g in range(G):
        left = _t(g != UNIT).double()
        hessian = torch.func.hessian(lambda b, left=left: (left * LOSSES[name](b)).sum())(b)
        steps.append(np.linalg.solve(hessian.numpy(), scores[g == UNIT].sum(0)))
    steps = np.stack(steps)
    _same(_matrix(fitted[name], bh.Cluster(UNIT, "CR3")), steps.T @ steps, REFITTED)
    _same(_matrix(fitted[name], bh.Jackknife(UNIT, "estimate", correction=False)), steps.T @ steps, REFITTED)
    steps = steps - steps.mean(0)
    _same(_matrix(fitted[name], bh.Jackknife(UNIT)), (G - 1) / G * steps.T @ steps, REFITTED)


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3", "jackknife"])
@pytest.mark.parametrize("weights", [None, "by cluster"])
def test_dummies_of_the_clusters(weights, kind):
    """With a dummy for each cluster the slopes are those of the within-transformed model (I - H_gg is singular)."""
    w = np.ones(N) if weights is None else W[UNIT]
    dummies = (UNIT[:, None] == np.arange(G)).astype(float)
    means = lambda v: dummies @ ((dummies.T @ (w[:, None] * v)) / (dummies.T @ w)[:, None])  # noqa: E731
    full = bh.WLS(Y, np.column_stack([X[:, 1:], dummies]), weights=w).fit(bh.Cluster(UNIT, kind))
    within = np.column_stack([X[:, 1:], Y]) - means(np.column_stack([X[:, 1:], Y]))
    slopes = bh.WLS(within[:, 2], within[:, :2], weights=w).fit(bh.Cluster(UNIT, kind))
    np.testing.assert_allclose(full.params[:2], slopes.params, rtol=1e-9)
    _same(full.cov_params()[:2, :2], slopes.cov_params())
    if kind in ("CR2", "CR3"):
        np.testing.assert_allclose(full.cov.df[:2], slopes.cov.df, rtol=REFITTED)


# several ways


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "MNLogit", "MEstimator"])
@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR1S", "CR2", "CR3", "jackknife"])
def test_several_ways_are_sums_of_one_way(kind, name, fitted):
    if not _defined(name, kind):
        pytest.skip("no leverage")
    third = np.arange(N) % 9
    one = lambda labels: _matrix(fitted[name], bh.Cluster(labels, kind))  # noqa: E731
    both = lambda a, b: a * 100 + b  # noqa: E731
    plain = one(UNIT) + one(OTHER) - one(both(UNIT, OTHER))
    if (np.linalg.eigvalsh(plain) > 0).all():
        _same(_matrix(fitted[name], bh.Cluster([UNIT, OTHER], kind)), plain)
    values, vectors = np.linalg.eigh(plain)
    repaired = (vectors * values.clip(0)) @ vectors.T
    _same(_matrix(fitted[name], bh.Cluster([UNIT, OTHER], kind, psd="repair")), repaired)
    _same(_matrix(fitted[name], bh.Cluster([OTHER, UNIT], kind, psd="repair")), repaired)
    plain = plain + one(third) - one(both(UNIT, third)) - one(both(OTHER, third)) + one(both(both(UNIT, OTHER), third))
    values, vectors = np.linalg.eigh(plain)
    repaired = (vectors * values.clip(0)) @ vectors.T
    _same(_matrix(fitted[name], bh.Cluster([UNIT, OTHER, third], kind, psd="repair")), repaired)


def test_nested_ways(fitted):
    """Where one way lies within another the coarse one is all there is."""
    coarse = UNIT // 2
    _same(_matrix(fitted["OLS"], bh.Cluster([UNIT, coarse], "CR0")), _matrix(fitted["OLS"], bh.Cluster(coarse, "CR0")))
    _same(_matrix(fitted["OLS"], bh.Cluster([UNIT, UNIT], "CR2")), _matrix(fitted["OLS"], bh.Cluster(UNIT, "CR2")))


def test_the_factors_of_other_packages(fitted):
    g = len(np.unique(OTHER))
    for name, linear in (("OLS", True), ("Logit", False)):
        res = fitted[name]
        plain = _matrix(res, bh.Cluster([UNIT, OTHER], "CR0", psd="repair"))
        rows, few = (N - 1) / (N - 3), g / (g - 1)
        _same(_matrix(res, bh.Cluster([UNIT, OTHER], "CR1", multiway="min", psd="repair")), few * plain)
        _same(_matrix(res, bh.Cluster([UNIT, OTHER], multiway="min", psd="repair")), few * rows * plain)
        for correction, factor in (("fixest", few * rows), ("stata", few * rows if linear else few)):
            _same(_matrix(res, bh.Cluster([UNIT, OTHER], correction=correction, psd="repair")), factor * plain)
        kind = bh.Cluster([UNIT, OTHER], "CR1S" if linear else "CR1", psd="repair")
        _same(_matrix(res, bh.Cluster([UNIT, OTHER], correction="sandwich", psd="repair")), _matrix(res, kind))


# sharing a fit


def test_switching_does_not_refit(fitted, monkeypatch):
    res = fitted["Poisson"]

    def fail(*_, **__):
        raise AssertionError("a refit")

    monkeypatch.setattr("betahat.solvers.newton.newton", fail)
    monkeypatch.setattr("betahat.fits.refits.newton", fail)
    for name, estimator in _collection(ORDER).items():
        other = res.with_cov(estimator)
        assert other.fit is res.fit, name
        np.testing.assert_array_equal(other.params, res.params)
    assert res.cov_type == "HC0"


@pytest.mark.parametrize("name", ["OLS", "Poisson", "MEstimator"])
def test_a_covariance_does_not_depend_on_those_before(name, fitted):
    """What one estimator leaves in the fit does not change what the next one finds."""
    for kind, estimator in [*_collection(ORDER).items(), ("HAC", bh.HAC(3)), ("other", bh.Cluster(OTHER, "CR0"))]:
        if not _defined(name, kind):
            continue
        fresh = MODELS[name](ORDER).fit(estimator)
        np.testing.assert_allclose(fresh.bse, fitted[name].with_cov(estimator).bse, rtol=ROUNDING, err_msg=kind)


def test_fits_by_name(fitted):
    """fit(cov_type=, cov_kwds=) and the estimators are two spellings."""
    pairs = [
        ("cluster", {"groups": UNIT}, bh.Cluster(UNIT)),
        ("cluster", {"groups": UNIT, "use_correction": False}, bh.Cluster(UNIT, "CR0")),
        ("cluster", {"groups": UNIT, "kind": "CR2"}, bh.Cluster(UNIT, "CR2")),
        ("cluster-crv3", {"groups": UNIT}, bh.Cluster(UNIT, "jackknife")),
        ("cluster-jk", {"groups": UNIT}, bh.Jackknife(UNIT)),
        ("HAC", {"maxlags": 3, "kernel": "uniform"}, bh.HAC(3, "truncated")),
        ("HAC", {"maxlags": 3, "use_correction": True}, bh.HAC(3, correction=True)),
        ("HAC", {"bandwidth": "andrews", "prewhiten": 1}, bh.HAC(bandwidth="andrews", prewhiten=1)),
        ("hac-panel", {"groups": FIRM, "time": YEAR, "maxlags": 2}, bh.PanelNeweyWest(FIRM, YEAR, 2)),
        ("hac-groupsum", {"time": YEAR, "maxlags": 2}, bh.DriscollKraay(YEAR, 2)),
    ]
    for cov_type, cov_kwds, estimator in pairs:
        found, true = bh.OLS(Y, X).fit(cov_type, cov_kwds), fitted["OLS"].with_cov(estimator)
        np.testing.assert_allclose(found.bse, true.bse, rtol=1e-12, err_msg=cov_type)
        np.testing.assert_allclose(found.pvalues, true.pvalues, rtol=1e-9, err_msg=cov_type)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "TorchModel"])
def test_compare_the_whole_collection(name, fitted):
    estimators = [
        *("nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"),
        *(bh.Cluster(UNIT, kind) for kind in KINDS),
        bh.HAC(3),
        bh.DriscollKraay(YEAR, 2),
        bh.PanelNeweyWest(FIRM, YEAR, 2),
        bh.Jackknife(),
        bh.Jackknife(UNIT),
        bh.Conley(X[:, 1], X[:, 2], 0.5, distance="planar"),
    ]
    table = bh.compare(fitted[name], estimators)
    frame = table.to_frame()
    assert frame.shape == (3, len(estimators) + 1)
    for estimator, column in zip(estimators, frame.columns[1:], strict=True):
        np.testing.assert_array_equal(frame[column], np.asarray(fitted[name].with_cov(estimator).bse).ravel())
    for text in (table.to_text(), table.to_html(), table.to_latex()):
        assert "HAC" in text
        assert "CR2" in text


@pytest.mark.parametrize("name", ["OLS", "Logit"])
def test_summaries_of_the_whole_collection(name, fitted):
    for kind, estimator in _collection(ORDER).items():
        text = str(fitted[name].with_cov(estimator).summary())
        assert "nan" not in text, kind
        assert fitted[name].with_cov(estimator).cov_type in text, kind


# restrictions and columns that repeat each other


@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
def test_repeated_restrictions(kind, fitted):
    """Restrictions that follow from others add nothing to a joint test, nor to its degrees of freedom."""
    res = fitted["OLS"].with_cov(bh.Cluster(UNIT, kind))
    two = np.eye(3)[1:]
    for rows, true in (
        (np.eye(3)[[1, 1]], np.eye(3)[[1]]),
        (np.vstack([two, two.sum(0), two[0] - 3 * two[1]]), two),
    ):
        found, plain = res.f_test(rows), res.f_test(true)
        assert (found.df_num, found.df_denom) == pytest.approx((plain.df_num, plain.df_denom), rel=ROUNDING)
        assert (found.fvalue, found.pvalue) == pytest.approx((plain.fvalue, plain.pvalue), rel=1e-7)


@pytest.mark.parametrize("rank", ["drop", "pinv"])
@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_collinear_columns(kind, rank, fitted):
    """A column twice changes no test of what the data tell apart."""
    plain = fitted["OLS"].with_cov(bh.Cluster(UNIT, kind))
    res = bh.OLS(Y, np.column_stack([X, 2 * X[:, 1]])).fit(bh.Cluster(UNIT, kind), rank=rank)
    np.testing.assert_allclose(res.pvalues[[0, 1, 2]], plain.pvalues, rtol=1e-7)
    found, true = res.t_test([0.0, 0.0, 1.0, 0.0]), plain.t_test([0.0, 0.0, 1.0])
    assert float(found.pvalue) == pytest.approx(float(true.pvalue), rel=1e-7)
    assert res.fvalue == pytest.approx(plain.fvalue, rel=ROUNDING)
    assert res.f_pvalue == pytest.approx(plain.f_pvalue, rel=1e-7)


# sums of large data


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Logit with counts"])
def test_large_data_in_any_memory_and_many_pieces(name, monkeypatch):
    """Sparse products add what index_add_ does, of residuals that the fit has kept or has not, in one piece or some."""
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.products._ADDED", 5 * G)
    rng = np.random.default_rng(6)
    unit, x = rng.integers(0, G, 4000), np.column_stack([np.ones(4000), rng.normal(size=(4000, 3))])
    y, w = x.sum(1) + rng.normal(size=4000), rng.uniform(0.5, 2.0, 4000)
    yes, often = (y > 1) * 1.0, rng.integers(0, 3, 4000)
    make = {
        "OLS": lambda x: bh.OLS(y, x),
        "WLS": lambda x: bh.WLS(y, x, weights=w),
        "Logit": lambda x: bh.Logit(yes, x),
        "Logit with counts": lambda x: bh.Logit(yes, x, freq_weights=often),
    }[name]
    true = make(x).fit(bh.Cluster(unit)).cov_params()
    calls = []
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 4096)
    monkeypatch.setattr(influence_sums, "group_sums", lambda *given: calls.append(0) or group_sums(*given))
    for some in (x, torch.as_tensor(x), np.asfortranarray(x)):
        for found in (make(some).fit(bh.Cluster(unit)), make(some).fit().with_cov(bh.Cluster(unit))):
            _same(found.cov_params(), true)
            assert row_residuals not in found.fit.sums  # n numbers, which no result holds
    assert calls
