"""Estimates by instruments obey their definitions, by plain loops, and the laws that tie them to each other and to least squares."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close, close_to_largest, same, same_covariance
from support.rows_from_file import RowsFromFile

import betahat as bh
from betahat.fits import instrument_refits, instruments

pytestmark = [  # few clusters leave loops short, and some samples without rows have weaker instruments
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),
    pytest.mark.filterwarnings("ignore::betahat.WeakInstrumentWarning"),
]

EXACT = 1e-9  # plain loops with normal equations, and the full dummies


def data(seed=0, n=90):
    rng = np.random.default_rng(seed)
    x, z, u = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=n)
    price = z @ [1.0, 0.5, 0.2] + 0.5 * u + rng.normal(size=n) + x
    y = 1.0 + 2.0 * x - price + u * (1.0 + 0.5 * np.abs(x))
    firm, year = rng.integers(0, 9, n), rng.integers(0, 5, n)
    return y, np.column_stack([np.ones(n), x]), price[:, None], z, rng.uniform(0.5, 2.0, n), firm, year


Y, X, P, Z, W, FIRM, YEAR = data()
N = len(Y)
MODELS = {
    "2sls": lambda rows, **o: bh.IV2SLS(Y[rows], X[rows], P[rows], Z[rows], weights=W[rows], **o),
    "liml": lambda rows, **o: bh.IVLIML(Y[rows], X[rows], P[rows], Z[rows], weights=W[rows], **o),
    "fuller": lambda rows, **o: bh.IVLIML(Y[rows], X[rows], P[rows], Z[rows], weights=W[rows], fuller=1, **o),
    "two-step": lambda rows, **o: bh.IVGMM(Y[rows], X[rows], P[rows], Z[rows], row_weights=W[rows], **o),
    "updated": lambda rows, **o: bh.IVGMM(
        Y[rows], X[rows], P[rows], Z[rows], "continuously-updated", row_weights=W[rows], **o
    ),
}
ALL = np.arange(N)
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))


def columns():
    """The whitened y, X and [X1, Z]."""
    root = np.sqrt(W)
    return root * Y, root[:, None] * np.column_stack([X, P]), root[:, None] * np.column_stack([X, Z])


def naive(kappa):
    """The k-class by its definition, with its scores and its bread."""
    y, x, z = columns()
    off = np.eye(N) - z @ np.linalg.solve(z.T @ z, z.T)
    scored = x - kappa * off @ x
    b = np.linalg.solve(scored.T @ x, scored.T @ y)
    return b, scored, np.linalg.inv(scored.T @ x), y - x @ b


def liml_kappa():
    y, x, z = columns()
    both, first = np.column_stack([x[:, 2], y]), x[:, :2]

    def off(d):
        return both - d @ np.linalg.solve(d.T @ d, d.T @ both)

    left, right = off(first).T @ off(first), off(z).T @ off(z)
    return np.linalg.eigvals(np.linalg.solve(right, left)).real.min()


@pytest.mark.parametrize(
    ("name", "kappa"), [("2sls", 1.0), ("liml", liml_kappa()), ("fuller", liml_kappa() - 1.0 / (N - 5))]
)
def test_k_class_by_its_definition(name, kappa):
    res = MODELS[name](ALL).fit()
    b, scored, bread, e = naive(kappa)
    close_to_largest(res.params, b, EXACT)
    close(res.kappa, kappa, EXACT)
    same_covariance(res.cov_params(), bread * (e @ e) / (N - 3), EXACT)
    scores = scored * e[:, None]
    same_covariance(res.with_cov("HC0").cov_params(), bread @ scores.T @ scores @ bread, EXACT)
    x = columns()[1]
    h = np.einsum("ij,jk,ik->i", x, bread, scored)
    adjusted = scores / (1.0 - h)[:, None]
    same_covariance(res.with_cov("HC3").cov_params(), bread @ adjusted.T @ adjusted @ bread, EXACT)
    sums = pd.DataFrame(scores).groupby(FIRM).sum().to_numpy()
    same_covariance(res.with_cov(bh.Cluster(FIRM, kind="CR0")).cov_params(), bread @ sums.T @ sums @ bread, EXACT)


def test_moments_by_their_definition():
    y, x, z = columns()
    first = naive(1.0)[0]
    weight = np.linalg.inv((z * (y - x @ first)[:, None] ** 2).T @ z)
    gram = x.T @ z @ weight @ z.T @ x
    b = np.linalg.solve(gram, x.T @ z @ weight @ z.T @ y)
    res = MODELS["two-step"](ALL).fit()
    close_to_largest(res.params, b, EXACT)
    same_covariance(res.cov_params(), np.linalg.inv(gram), EXACT)
    assert not res.use_t


@pytest.mark.parametrize(
    "kind",
    ["robust", "unadjusted", bh.Cluster(FIRM, kind="CR0"), bh.HAC(2)],
    ids=["robust", "unadjusted", "clusters", "hac"],
)
def test_continuous_updating_is_at_the_minimum(kind):
    y, x, z = columns()
    res = bh.IVGMM(Y, X, P, Z, "continuously-updated", row_weights=W, weight_type=kind).fit()

    def criterion(b):
        e = y - x @ b
        moments = z * e[:, None]
        if isinstance(kind, bh.Cluster):
            sums = pd.DataFrame(moments).groupby(FIRM).sum().to_numpy()
            spread = sums.T @ sums
        elif isinstance(kind, bh.HAC):
            spread = moments.T @ moments
            for lag in (1, 2):
                part = moments[lag:].T @ moments[:-lag]
                spread = spread + (1.0 - lag / 3.0) * (part + part.T)
        else:
            spread = moments.T @ moments if kind == "robust" else (e @ e) / N * z.T @ z
        return moments.sum(0) @ np.linalg.solve(spread, moments.sum(0))

    b, step = np.asarray(res.params), 1e-5
    slopes = [(criterion(b + step * d) - criterion(b - step * d)) / (2 * step) for d in np.eye(3)]
    close(np.abs(slopes).max(), 0.0, 1e-6, unit=1.0)
    assert criterion(b) <= criterion(np.asarray(MODELS["two-step"](ALL).fit().params)) + 1e-12
    if kind == "unadjusted":
        close_to_largest(b, MODELS["liml"](ALL).fit().params, EXACT)


def test_instruments_that_are_the_regressors_are_least_squares():
    ours, ols = bh.IV2SLS(Y, X, P, P).fit(), bh.OLS(Y, np.column_stack([X, P])).fit()
    close_to_largest(ours.params, ols.params, 1e-13)
    for cov in (
        "nonrobust",
        "HC0",
        "HC1",
        "HC2",
        "HC3",
        bh.Cluster(FIRM),
        bh.Cluster(FIRM, kind="CR2"),
        "jackknife",
        bh.HAC(2),
    ):
        same_covariance(ours.with_cov(cov).cov_params(), ols.with_cov(cov).cov_params(), 1e-12)
    close(ours.rsquared, ols.rsquared, 1e-13)
    close_to_largest(bh.IVLIML(Y, X, P, P, kappa=0).fit().params, ols.params, 1e-13)
    close_to_largest(bh.IVLIML(Y, X, P, Z, kappa=0).fit().params, ols.params, 1e-12)


def test_just_identified_estimates_agree():
    first = bh.IV2SLS(Y, X, P, Z[:, :1]).fit("HC0")
    others = [
        bh.IVLIML(Y, X, P, Z[:, :1]),
        *(bh.IVGMM(Y, X, P, Z[:, :1], s) for s in ("two-step", "iterated", "continuously-updated", "identity")),
    ]
    for model in others:
        res = model.fit("HC0")
        close_to_largest(res.params, first.params, 1e-10)
        same_covariance(res.cov_params(), first.cov_params(), 1e-10)


@each_model
def test_frequency_weights_are_repeated_rows(model):
    often = np.random.default_rng(4).integers(1, 4, N)
    counted, repeated = model(ALL, freq_weights=often).fit(), model(np.repeat(ALL, often)).fit()
    close_to_largest(counted.params, repeated.params, 1e-11)
    for cov in ("nonrobust", "HC1", "HC3", bh.Bootstrap(5, "score", seed=1)):
        same_covariance(counted.with_cov(cov).cov_params(), repeated.with_cov(cov).cov_params(), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2sls", "fuller", "two-step"])
@pytest.mark.parametrize("absorbed", [False, True])
def test_the_jackknife_estimates_both_stages_again(name, absorbed):
    def model(rows):
        if not absorbed:
            return MODELS[name](rows)
        make, options = {
            "2sls": (bh.IV2SLS, {}),
            "fuller": (bh.IVLIML, {"fuller": 1}),
            "two-step": (bh.IVGMM, {}),
        }[name]
        return make(Y[rows], X[rows, 1:], P[rows], Z[rows], absorb=[YEAR[rows]], **options)

    if absorbed:
        parts = {bh.Jackknife(clusters=FIRM): [ALL[g != FIRM] for g in np.unique(FIRM)]}
    else:
        parts = {
            bh.Jackknife(): [ALL[i != ALL] for i in ALL],
            bh.Jackknife(clusters=FIRM): [ALL[g != FIRM] for g in np.unique(FIRM)],
        }
    res = model(ALL).fit()
    for estimator, kept in parts.items():
        found = np.array([np.asarray(model(rows).fit().params) for rows in kept])
        apart = found - found.mean(0)
        true = (len(kept) - 1) / len(kept) * apart.T @ apart
        same_covariance(res.with_cov(estimator).cov_params(), true, EXACT)


def test_the_jackknife_of_counted_rows():
    often = np.random.default_rng(4).integers(1, 3, N)
    for name in ("2sls", "two-step"):
        counted, repeated = MODELS[name](ALL, freq_weights=often), MODELS[name](np.repeat(ALL, often))
        same_covariance(counted.fit("jackknife").cov_params(), repeated.fit("jackknife").cov_params(), EXACT)


@pytest.mark.parametrize("name", ["2sls", "fuller", "two-step"])
@pytest.mark.parametrize(
    "options", [{}, {"clusters": FIRM}, {"kind": "stationary", "block_length": 4}], ids=["rows", "clusters", "blocks"]
)
def test_bootstraps_estimate_both_stages_again(name, options, monkeypatch):
    monkeypatch.setattr(instrument_refits, "_NUMBERS", 200)  # a few rows at a time
    res = MODELS[name](ALL).fit(bh.Bootstrap(12, seed=3, **options))
    weights = res.cov.resampling.resampler.weights(3, torch.arange(12), N)
    true = [MODELS[name](ALL, freq_weights=w.numpy().astype(float)).fit().params for w in weights]
    close_to_largest(res.cov.draws, np.array(true), EXACT)


def test_bootstraps_with_effects():
    res = bh.IV2SLS(Y, X[:, 1:], P, Z, absorb=[YEAR]).fit(bh.Bootstrap(8, seed=3))
    weights = res.cov.resampling.resampler.weights(3, torch.arange(8), N)
    true = [
        bh.IV2SLS(Y, X[:, 1:], P, Z, absorb=[YEAR], freq_weights=w.numpy().astype(float)).fit().params for w in weights
    ]
    close_to_largest(res.cov.draws, np.array(true), EXACT)
    nested = bh.IV2SLS(Y, X[:, 1:], P, Z, absorb=[FIRM]).fit()
    by_products = nested.with_cov(bh.Bootstrap(8, seed=3, clusters=FIRM))
    weights = by_products.cov.resampling.resampler.weights(3, torch.arange(8), N)
    true = [
        bh.IV2SLS(Y, X[:, 1:], P, Z, absorb=[FIRM], freq_weights=w.numpy().astype(float)).fit().params for w in weights
    ]
    close_to_largest(by_products.cov.draws, np.array(true), EXACT)
    assert np.isfinite(nested.with_cov(bh.Bootstrap(40, seed=3)).conf_int(method="bca", alpha=0.3)).all()


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["2sls", "liml", "fuller", "two-step"])
def test_absorbed_effects_are_their_dummies(name, weights):
    dummies = np.column_stack([pd.get_dummies(FIRM), pd.get_dummies(YEAR).iloc[:, 1:]]).astype(float)
    make = {"2sls": bh.IV2SLS, "liml": bh.IVLIML, "fuller": bh.IVLIML, "two-step": bh.IVGMM}[name]
    options = {"row_weights" if name == "two-step" else "weights": weights} | (
        {"fuller": 1} if name == "fuller" else {}
    )
    absorbed = make(Y, X[:, 1:], P, Z, absorb=[FIRM, YEAR], **options).fit()
    full = make(Y, np.column_stack([X[:, 1:], dummies]), P, Z, **options).fit()
    own = [0, -1]
    close_to_largest(absorbed.params, np.asarray(full.params)[own], EXACT)
    assert absorbed.df_resid == full.df_resid
    # moments of dummies are weighed with the others, and their own residuals follow; without them dummies are at least squares
    kinds = (
        ("nonrobust",)
        if name == "two-step"
        else ("nonrobust", "HC0", "HC1", "HC2", "HC3", bh.Cluster(YEAR, kind="CR1"), bh.HAC(2))
    )
    for cov in kinds:
        same_covariance(
            absorbed.with_cov(cov).cov_params(), np.asarray(full.with_cov(cov).cov_params())[np.ix_(own, own)], EXACT
        )


def test_large_data_have_the_same_numbers(monkeypatch):
    small = [model(ALL).fit("HC1") for model in MODELS.values()]
    for module in ("betahat.data.design._SMALL", "betahat.data.scored.SMALL"):
        monkeypatch.setattr(module, 10)
    for before, model in zip(small, MODELS.values(), strict=True):
        after = model(ALL).fit("HC1")
        assert after.fit.route == "gram"
        close_to_largest(after.params, before.params, 1e-10)
        same_covariance(after.cov_params(), before.cov_params(), 1e-10)
        same_covariance(
            after.with_cov(bh.Cluster(FIRM)).cov_params(), before.with_cov(bh.Cluster(FIRM)).cov_params(), 1e-10
        )
    monkeypatch.setattr(instruments, "_STATIONARY", 0.0)
    close_to_largest(MODELS["2sls"](ALL).fit().params, small[0].params, 1e-10)


def test_ill_conditioned_columns_go_by_blocks(monkeypatch):
    far = 1e6 + X[:, 1]
    shifted = bh.IV2SLS(Y, np.column_stack([X[:, 0], far]), P, Z).fit()
    plain = bh.IV2SLS(Y, X, P, Z).fit()
    close_to_largest(np.asarray(shifted.params)[1:], np.asarray(plain.params)[1:], 1e-8)
    monkeypatch.setattr("betahat.data.design._SMALL", 10)
    large = bh.IV2SLS(Y, np.column_stack([X[:, 0], far]), P, Z).fit()
    assert large.fit.route == "tsqr"
    close_to_largest(np.asarray(large.params)[1:], np.asarray(plain.params)[1:], 1e-8)


def test_collinear_columns_are_left_out_by_name():
    frame = pd.DataFrame({"c": 1.0, "x": X[:, 1], "twice": 2.0 * X[:, 1]})
    z = pd.DataFrame(Z, columns=["z1", "z2", "z3"]).assign(x_again=3.0 * X[:, 1])
    with pytest.warns(bh.CollinearityWarning, match="'twice' depends linearly.*left out"):
        res = bh.IV2SLS(Y, frame, P, z[["z1", "z2"]]).fit()
    assert np.isnan(res.params["twice"])
    close_to_largest(np.asarray(res.params)[[0, 1, 3]], bh.IV2SLS(Y, X, P, Z[:, :2]).fit().params, 1e-12)
    with pytest.warns(
        bh.CollinearityWarning,
        match="'x_again' depends linearly on the exogenous regressors and the instruments before",
    ):
        res = bh.IV2SLS(Y, frame[["c", "x"]], P, z[["z1", "x_again", "z2"]]).fit("HC1")
    true = bh.IV2SLS(Y, X, P, Z[:, :2]).fit("HC1")
    close_to_largest(res.params, true.params, 1e-12)
    same_covariance(res.cov_params(), true.cov_params(), 1e-12)
    assert res.instruments == ("z1", "z2")
    same_covariance(res.with_cov("jackknife").cov_params(), true.with_cov("jackknife").cov_params(), 1e-11)
    with pytest.warns(bh.CollinearityWarning, match="the absorbed effects and the instruments before"):
        res = bh.IV2SLS(Y, X[:, 1:], P, np.column_stack([Z, FIRM]), absorb=[FIRM]).fit()
    assert res.instruments == ("z1", "z2", "z3")


def test_results(tmp_path):
    frame = pd.DataFrame(Z, columns=["z1", "z2", "z3"]).assign(y=Y, x=X[:, 1], price=P[:, 0], firm=FIRM, w=W)
    for res in (
        bh.ols("y ~ x | price ~ z1 + z2", frame).fit(bh.Cluster("firm")),
        bh.ivliml("y ~ x | price ~ z1 + z2", frame, fuller=1, weights="w").fit(),
        bh.ivgmm(
            "y ~ x | price ~ z1 + z2",
            frame,
            weights="iterated",
            weight_type=bh.Cluster("firm", kind="CR0"),
            row_weights="w",
        ).fit(),
    ):
        text = res.summary().as_text()
        assert "Instruments: z1, z2; endogenous: price" in text
        assert res.method[:24] in text
        assert res.glance()["nobs"][0] == N
        assert list(res.tidy()["term"]) == list(res.names)
        again = bh.load(res.save(tmp_path / "results"))
        same(again.params, res.params)
        same(again.with_cov("HC1").bse, res.with_cov("HC1").bse)
        bare = res.remove_data()
        same(bare.bse, res.bse)
        assert bare.summary().as_text().splitlines()[6:] == text.splitlines()[6:]
        close(res.resid, frame["y"] - res.fittedvalues, 1e-14, unit=10.0)
        assert "R²" in str(bh.regtable([res]))
    assert bh.ols("y ~ x | price ~ z1 + z2", frame).instrument_names == ["z1", "z2"]
    assert bh.ols("y ~ x | price ~ z1 + z2", frame).endogenous_names == ["price"]
    assert bh.ols("y ~ x | price ~ z1 + z2", frame).instruments.shape == (N, 2)
    res = bh.ols("y ~ x | price ~ z1 + z2", frame).fit()
    close(res.fvalue, res.f_test("x = 0, price = 0").statistic, 1e-12)
    close(res.scale, float((res.resid**2).sum() / (N - 3)), 1e-12)
    prediction = res.get_prediction(frame.head(3))
    design = np.column_stack([np.ones(3), frame[["x", "price"]].head(3)])
    close(prediction.se_mean, np.sqrt(np.einsum("ij,jk,ik->i", design, res.cov_params(), design)), 1e-12)
    assert np.isnan(bh.IVGMM(Y, X, P, Z).fit().kappa)
    assert bh.IVGMM(Y, X, P, Z, "iterated").fit().diagnostics.iterations > 1


def test_tensors_stay_tensors():
    y, x, p, z = (torch.tensor(part) for part in (Y, X, P, Z))
    res = bh.IV2SLS(y, x, p, z).fit("HC1")
    assert isinstance(res.params, torch.Tensor)
    same(res.params.numpy(), np.asarray(bh.IV2SLS(Y, X, P, Z).fit("HC1").params))


def test_what_a_fit_knows_of_its_rows():
    res = bh.IV2SLS(Y, X, P, Z).fit("HC0")
    again = bh.fit_at(res.fit.problem, res.params)
    same_covariance(bh.HC0()(again).matrix, res.cov_params(), 1e-12)
    gmm = bh.IVGMM(Y, X, P, Z).fit()
    assert 0.8 < float(gmm.cases.standardized.square().mean()) < 1.2
    absorbed = bh.IV2SLS(Y, X[:, 1:], P, Z, absorb=[FIRM]).fit().summary().as_text()
    assert "R-squared (within)" in absorbed
    assert "9 coefficients of effect 1 absorbed" in absorbed


def test_rows_from_files_and_large_columns(tmp_path):
    rng = np.random.default_rng(7)
    n = 70_000
    x, z, u = rng.normal(size=(n, 4)), rng.normal(size=(n, 2)), rng.normal(size=n)
    p = z.sum(1) + u + rng.normal(size=n)
    y = x.sum(1) + p + u
    model = bh.IV2SLS(y, x, p, z)
    held = model.fit("HC1")
    same(np.asarray(model.exog), np.column_stack([x, p]))
    columns = {name: model.sample.column(name) for name in ("exog", "endog", "instruments")}
    source = RowsFromFile.written(tmp_path, columns, 60_000)
    model.sample = replace(model.sample, source=source)
    read = model.fit("HC1")
    same(read.params, held.params)
    same(read.cov_params(), held.cov_params())
    same(read.with_cov(bh.Cluster(np.arange(n) % 50)).bse, held.with_cov(bh.Cluster(np.arange(n) % 50)).bse)


def test_files_keep_estimators_of_numbers_and_words(tmp_path):
    frame = pd.DataFrame(Z, columns=["z1", "z2", "z3"]).assign(y=Y, x=X[:, 1], price=P[:, 0], firm=FIRM)
    for cov_type in ("nonrobust", "HC0", "HC1", bh.HC3(), bh.HAC(np.int64(2)), bh.Cluster("firm")):
        res = bh.ols("y ~ x | price ~ z1 + z2", frame).fit(cov_type)
        again = bh.load(res.save(tmp_path / "results"))
        assert str(again.anderson_rubin()) == str(res.anderson_rubin())
        assert str(again.first_stage) == str(res.first_stage)
    moments = bh.ivgmm("y ~ x | price ~ z1 + z2", frame).fit()
    again = bh.load(moments.save(tmp_path / "results"))
    assert str(again.hansen_j()) == str(moments.hansen_j())
    same(again.with_cov("jackknife").bse, moments.with_cov("jackknife").bse)
    odd = bh.load(moments.with_cov(bh.Cluster("firm", df_correction=1)).save(tmp_path / "results"))
    assert odd.cov.estimator is None  # a file says True
    of_labels = bh.load(moments.with_cov(bh.Cluster(FIRM)).save(tmp_path / "results"))
    assert of_labels.cov.estimator is None
    with pytest.raises(bh.EstimationError, match="from a file without its labels"):
        of_labels.anderson_rubin()
