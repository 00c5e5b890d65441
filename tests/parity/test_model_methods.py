"""What statsmodels' models and results have beside the estimates: likelihoods at parameters of one's own, scores, influence, distributions."""

import io
import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from statsmodels.tools.numdiff import approx_fprime_cs, approx_hess_cs
from support.closeness import close_to_largest

import betahat as bh

# The same sums in another order; derivatives of sums of ninety rows.
ROUNDING = 1e-10
# Newton's method of statsmodels stops within 1e-8 of the optimum unless it is told to go on.
OPTIMUM = 1e-7

N = 90


def _frame():
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {"x": rng.normal(size=N), "z": rng.normal(size=N), "w": rng.uniform(0.5, 2.0, N), "e": rng.uniform(1.0, 3.0, N)}
    )
    frame["g"] = rng.choice(list("abc"), N)
    frame["y"] = 1.0 + frame["x"] + rng.normal(size=N)
    frame["yes"] = (frame["y"] + rng.normal(size=N) > 1).astype(float)
    frame["count"] = rng.poisson(np.exp(0.3 * frame["x"]))
    frame["kind"] = rng.integers(0, 3, N)
    return frame.set_index(pd.Index(np.arange(N) + 100))


FRAME = _frame()
X = sm.add_constant(FRAME[["x", "z"]])
MODELS = {
    "OLS": ("y", {}),
    "WLS": ("y", {"weights": FRAME["w"]}),
    "Logit": ("yes", {}),
    "Probit": ("yes", {}),
    "Poisson": ("count", {}),
    "MNLogit": ("kind", {}),
}
LIKELIHOODS = ("Logit", "Probit", "Poisson", "MNLogit")
CONTAINERS = {
    "pandas": lambda values: values,
    "numpy": np.asarray,
    "polars": lambda values: (
        pl.from_pandas(values) if isinstance(values, pd.DataFrame) else pl.Series(values.to_numpy())
    ),
    "tensors": lambda values: torch.tensor(np.asarray(values, dtype=float)),
}


def _pair(name, container="pandas"):
    column, options = MODELS[name]
    wrap = CONTAINERS[container]
    ours = getattr(bh, name)(wrap(FRAME[column]), wrap(X), **{key: wrap(value) for key, value in options.items()})
    return getattr(sm, name)(FRAME[column], X, **options), ours


def _params(name, seed=0):
    rng = np.random.default_rng(seed)
    return 0.3 * rng.normal(size=(3, 2) if name == "MNLogit" else 3)


def _fits(name, **options):
    theirs, ours = _pair(name)
    given = {"disp": 0, "method": "newton", "tol": 1e-13, "maxiter": 100} if name in LIKELIHOODS else {}
    return theirs.fit(**given, **options), ours.fit(**options)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", MODELS)
def test_models_have_their_degrees_of_freedom(name, container):
    theirs, ours = _pair(name, container)
    for attribute in ("df_model", "df_resid", "k_constant"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    fit = ours.fit()
    assert (fit.df_model, fit.df_resid, fit.k_constant) == (ours.df_model, ours.df_resid, ours.k_constant)


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ 0 + x", "y ~ 0 + g + x", "y ~ g * x", "y ~ x + I(2 * x)"])
@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning")
def test_degrees_of_freedom_of_formulas(formula):
    theirs, ours = smf.ols(formula, FRAME), bh.ols(formula, FRAME)
    for attribute in ("df_model", "df_resid", "k_constant"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", MODELS)
def test_likelihood_and_derivatives_at_any_parameters(name, container):
    theirs, ours = _pair(name, container)
    params = _params(name)
    flat = params.ravel(order="F")
    close_to_largest(ours.loglike(params), theirs.loglike(flat if name == "MNLogit" else params), ROUNDING)
    if name != "WLS":
        close_to_largest(ours.score(params), theirs.score(flat), ROUNDING)
    if name in LIKELIHOODS:
        close_to_largest(ours.score_obs(params), theirs.score_obs(flat), ROUNDING)
        close_to_largest(ours.hessian(params), theirs.hessian(flat), ROUNDING)
    close_to_largest(np.asarray(ours.score_obs(params)).sum(0), ours.score(params), ROUNDING)
    close_to_largest(ours.predict(params), theirs.predict(params), ROUNDING)
    close_to_largest(ours.predict(params, np.asarray(X)[:7]), theirs.predict(params, np.asarray(X)[:7]), ROUNDING)


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("name", ["OLS", "WLS"])
def test_derivatives_of_least_squares_are_those_of_its_likelihood(name, scale):
    """Complex steps of the formula in NumPy; statsmodels' Hessian without a scale is not the derivative of its score."""
    model = _pair(name)[1]
    y, x, w = FRAME["y"].to_numpy(), X.to_numpy(), FRAME["w"].to_numpy() if name == "WLS" else np.ones(N)

    def likelihood(params):
        squares = (w * (y - x @ params) ** 2).sum()
        variance = squares / N if scale is None else scale
        return -0.5 * N * np.log(2 * np.pi * variance) - 0.5 * squares / variance + 0.5 * np.log(w).sum()

    params = _params(name)
    close_to_largest(model.loglike(params, scale), likelihood(params), ROUNDING)
    close_to_largest(model.score(params, scale), approx_fprime_cs(params, likelihood), ROUNDING)
    close_to_largest(model.hessian(params, scale), approx_hess_cs(params, likelihood), 1e-6)
    if scale is not None and name == "OLS":
        close_to_largest(model.hessian(params, scale), _pair(name)[0].hessian(params, scale), ROUNDING)


@pytest.mark.parametrize("name", MODELS)
def test_at_the_estimates_they_are_those_of_the_fit(name):
    model = _pair(name)[1]
    fit = model.fit()
    close_to_largest(model.loglike(fit.params), fit.llf, ROUNDING)
    assert np.abs(np.asarray(model.score(fit.params))).max() < 1e-6
    close_to_largest(model.predict(fit.params), fit.predict(), ROUNDING)


def test_weights_counts_offset_and_exposure_take_part():
    counts = np.arange(N) % 3
    repeated = FRAME.loc[FRAME.index.repeat(counts)]
    params = _params("Poisson")
    short = bh.Poisson(FRAME["count"], X, exposure=FRAME["e"], freq_weights=counts)
    long = sm.Poisson(repeated["count"], X.loc[X.index.repeat(counts)], exposure=repeated["e"])
    close_to_largest(short.loglike(params), long.loglike(params), ROUNDING)
    close_to_largest(short.score(params), long.score(params), ROUNDING)
    close_to_largest(short.hessian(params), long.hessian(params), ROUNDING)
    theirs = sm.Poisson(FRAME["count"], X, exposure=FRAME["e"])
    close_to_largest(short.predict(params), theirs.predict(params), ROUNDING)
    new = {"exposure": FRAME["e"].to_numpy()[:5], "offset": FRAME["z"].to_numpy()[:5]}
    close_to_largest(
        short.predict(params, X.to_numpy()[:5], **new), theirs.predict(params, X.to_numpy()[:5], **new), ROUNDING
    )
    close_to_largest(short.predict(params, which="linear"), theirs.predict(params, which="linear"), ROUNDING)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_distributions(name):
    theirs, ours = _fits(name)
    for found, true in (
        (ours.get_distribution(), theirs.get_distribution()),
        (ours.get_distribution(X.iloc[:4]), theirs.get_distribution(X.iloc[:4])),
        (ours.model.get_distribution(ours.params), theirs.model.get_distribution(theirs.params)),
    ):
        assert type(found.dist) is type(true.dist)
        close_to_largest(found.mean(), true.mean(), OPTIMUM)
        close_to_largest(found.var(), true.var(), OPTIMUM)
        close_to_largest(found.pmf(1), true.pmf(1), OPTIMUM)


def test_the_normal_distribution():
    theirs, ours = _pair("OLS")
    found, true = (model.get_distribution(_params("OLS"), 2.0) for model in (ours, theirs))
    close_to_largest(found.mean(), true.mean(), ROUNDING)
    close_to_largest(found.std(), true.std(), ROUNDING)
    close_to_largest(
        ours.get_distribution(_params("OLS"), 2.0, X.iloc[:3]).mean(),
        theirs.get_distribution(_params("OLS"), 2.0, X.iloc[:3]).mean(),
        ROUNDING,
    )


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("extra", [["e"], ["e", "w"]])
@pytest.mark.parametrize("options", [{}, {"cov_type": "HC0"}, {"hypothesis": "separate"}])
def test_score_test_of_omitted_variables(name, extra, options):
    theirs, ours = _fits(name)
    found = ours.score_test(FRAME[extra], **options)
    if not (name == "MNLogit" and options.get("cov_type") == "HC0"):  # of which statsmodels takes other coefficients
        true = theirs.score_test(FRAME[extra].to_numpy(), **options)
        close_to_largest(np.ravel(found.statistic), np.ravel(true.statistic), OPTIMUM)
        close_to_largest(np.ravel(found.pvalue), np.ravel(true.pvalue), OPTIMUM)
        assert (found.k_constraint, found.distribution) == (true.k_constraint, true.distribution)
    statistic, pvalue = found
    assert np.all(statistic == found[0])
    assert np.all(pvalue == found[1])
    assert len(found) == 2


def test_robust_score_test_of_several_equations():
    """The formula, by NumPy, on the parameters of all equations."""
    res = bh.MNLogit(FRAME["kind"], X).fit()
    larger = bh.MNLogit(FRAME["kind"], X.assign(e=FRAME["e"], w=FRAME["w"]))
    params = np.vstack([np.asarray(res.params), np.zeros((2, 2))])
    score, hessian, rows = larger.score(params), larger.hessian(params), larger.score_obs(params)
    pick = np.eye(10)[[3, 4, 8, 9]]
    inverse = -np.linalg.inv(hessian)
    step = pick @ inverse @ score
    true = step @ np.linalg.solve(pick @ inverse @ (N * np.cov(rows.T)) @ inverse @ pick.T, step)
    found = res.score_test(FRAME[["e", "w"]], cov_type="HC0")
    close_to_largest(found.statistic, true, ROUNDING)
    assert found.k_constraint == 4


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson", "MNLogit"])
def test_score_test_of_restricted_estimates(name, cov_type):
    """That of a variable left out is that of its coefficient held at zero."""
    small, large = bh.add_constant(FRAME[["x"]]), X
    column = MODELS[name][0]
    without, with_it = (getattr(bh, name)(FRAME[column], x).fit() for x in (small, large))
    params = np.vstack([np.reshape(np.asarray(without.params), (2, -1)), np.zeros((1, 2 if name == "MNLogit" else 1))])
    params = params if name == "MNLogit" else params[:, 0]
    count = 2 if name == "MNLogit" else 1
    pick = np.eye(3 * count)[2::3]
    found = with_it.score_test(params_constrained=params, k_constraints=count, cov_type=cov_type, r_matrix=pick)
    close_to_largest(found.statistic, without.score_test(FRAME["z"], cov_type=cov_type).statistic, ROUNDING)


INFLUENCE = (
    "hat_matrix_diag",
    "d_params",
    "dfbetas",
    "params_one",
    "resid_studentized",
    "d_fittedvalues",
    "d_fittedvalues_scaled",
)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_influence_of_discrete_models(name, cov_type):
    theirs, ours = _fits(name, cov_type=cov_type)
    true, found = theirs.get_influence(), ours.get_influence()
    for attribute in INFLUENCE:
        close_to_largest(getattr(found, attribute), getattr(true, attribute), OPTIMUM)
    for mine, other in zip(found.cooks_distance, true.cooks_distance, strict=True):
        close_to_largest(mine, other, OPTIMUM)
    close_to_largest(found.resid_score_factor(), true.resid_score_factor(), OPTIMUM)
    pd.testing.assert_frame_equal(found.summary_frame(), true.summary_frame(), rtol=OPTIMUM, atol=OPTIMUM)
    assert "Influence of 90 rows" in repr(found)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_influence_under_a_covariance_of_ones_own(name):
    """Cook's distance by the matrix itself."""
    res = _fits(name)[1]
    matrix = np.diag([1.0, 2.0, 3.0])
    found = res.with_cov(matrix).get_influence()
    changes = np.asarray(found.d_params)
    close_to_largest(found.cooks_distance[0], (changes @ np.linalg.inv(matrix) * changes).sum(1) / 3, ROUNDING)


@pytest.mark.parametrize("use_f", [True, False])
def test_terms_of_several_equations(use_f):
    res = bh.mnlogit("kind ~ g + x", FRAME).fit(use_t=use_f)
    found = res.wald_test_terms()
    names = res.model.exog_names
    for term, columns in {"Intercept": ["Intercept"], "g": ["g[T.b]", "g[T.c]"], "x": ["x"]}.items():
        rows = [equation * len(names) + names.index(column) for equation, column in itertools.product((0, 1), columns)]
        true = res.wald_test(np.eye(2 * len(names))[rows])
        assert found.table.loc[term, "statistic"] == pytest.approx(true.statistic, rel=1e-12)
        assert found.table.loc[term, "pvalue"] == pytest.approx(true.pvalue, rel=1e-9)
    assert found.table.index.tolist() == ["Intercept", "g", "x"]


def test_restrictions_by_statsmodels_names_of_equations():
    theirs, ours = smf.mnlogit("kind ~ x + z", FRAME).fit(disp=0), bh.mnlogit("kind ~ x + z", FRAME).fit()
    for text in ("y1_x", "y2_x", "y1_x, y2_x", "y1_x = y2_z", ["y1_x = 0", "y2_z = 1"]):
        close_to_largest(ours.wald_test(text).statistic, theirs.wald_test(text, scalar=True).statistic, OPTIMUM)
        close_to_largest(np.ravel(ours.t_test(text).tvalue), np.ravel(theirs.t_test(text).tvalue), OPTIMUM)
    assert ours.wald_test("y1_x").statistic == ours.wald_test("kind=1:x").statistic


@pytest.mark.parametrize("formula", ["y ~ g + x", "y ~ x * z"])
@pytest.mark.parametrize("scalar", [True, False])
def test_tests_have_statsmodels_shapes(formula, scalar):
    theirs, ours = smf.ols(formula, FRAME).fit(), bh.ols(formula, FRAME).fit()
    found, true = ours.wald_test_terms(scalar=scalar), theirs.wald_test_terms(scalar=scalar)
    for attribute in ("pvalues", "df_constraints", "df_denom"):
        close_to_largest(np.ravel(getattr(found, attribute)), np.ravel(getattr(true, attribute)), ROUNDING)
    assert list(found.col_names) == list(true.col_names)
    assert [np.shape(value) for value in found.statistic] == [np.shape(value) for value in true.statistic]
    close_to_largest(
        np.ravel([np.ravel(value) for value in found.statistic]),
        np.ravel([np.ravel(value) for value in true.statistic]),
        ROUNDING,
    )
    test, other = ours.wald_test("x = 0", scalar=scalar), theirs.wald_test("x = 0", scalar=scalar)
    assert np.shape(test.statistic) == np.shape(other.statistic)
    close_to_largest(test.statistic, other.statistic, ROUNDING)
    assert np.shape(ours.f_test("x = 0", scalar=scalar).fvalue) == np.shape(test.statistic)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("criterion", ["aic", "AIC", "Bic", "HQIC", "AICc"])
def test_criteria_in_any_letter_case(name, criterion):
    theirs, ours = _fits(name)
    assert ours.info_criteria(criterion) == ours.info_criteria(criterion.lower())
    if name in ("OLS", "WLS"):  # statsmodels' discrete models have other criteria
        close_to_largest(ours.info_criteria(criterion), theirs.info_criteria(criterion), OPTIMUM)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_how_the_solver_ended(name):
    ended = _fits(name)[1].mle_retvals
    assert ended["converged"]
    assert 0 < ended["iterations"] < ended["fcalls"] < 100


@pytest.mark.parametrize("formula", ["y ~ 0 + g + x", "y ~ 0 + g", "y ~ 0 + x + z", "y ~ g + x", "y ~ 0 + g:x"])
@pytest.mark.parametrize("cov_type", ["HC0", "HC3", "fixed scale"])
@pytest.mark.parametrize("model", ["ols", "wls"])
def test_robust_f(formula, cov_type, model):
    """NaN where the constant is a combination of dummies, as statsmodels' own tests have it."""
    options = {"weights": FRAME["w"]} if model == "wls" else {}
    found = getattr(bh, model)(formula, FRAME, **options).fit(cov_type)
    true = getattr(smf, model)(formula, FRAME, **options).fit(cov_type=cov_type)
    close_to_largest(found.fvalue, true.fvalue, 1e-9)
    close_to_largest(found.f_pvalue, true.f_pvalue, 1e-8)


@pytest.mark.parametrize("name", ["OLS", "Logit", "Poisson"])
@pytest.mark.parametrize("wrap", [lambda x: x, np.asarray, lambda x: torch.tensor(np.asarray(x))])
@pytest.mark.parametrize("value", [1.5, 2, np.float64(1.5), np.array(1.5), torch.tensor(1.5, dtype=torch.float64)])
def test_a_number_for_the_only_regressor(name, wrap, value):
    column = MODELS[name][0]
    options = {} if name == "OLS" else {"disp": 0}
    true = getattr(sm, name)(FRAME[column], FRAME["x"]).fit(**options).predict(float(value))
    res = getattr(bh, name)(wrap(FRAME[column]), wrap(FRAME["x"])).fit()
    close_to_largest(res.predict(value), true, OPTIMUM)
    close_to_largest(res.get_prediction(value).summary_frame().iloc[:, 0], true, OPTIMUM)
    close_to_largest(res.model.predict(res.params, value), true, OPTIMUM)


def test_a_number_for_several_regressors():
    with pytest.raises(bh.DataError, match="1 columns, but the model has 3"):
        bh.OLS(FRAME["y"], X).fit().predict(2.0)


@pytest.mark.parametrize("name", MODELS)
def test_open_files(name, tmp_path):
    res = _fits(name)[1]
    memory = io.BytesIO()
    assert res.save(memory) is memory
    memory.seek(0)
    with (tmp_path / "open").open("wb") as file:
        res.save(file)
    with (tmp_path / "open").open("rb") as file:
        again = [bh.load(memory), bh.load(file), bh.load(res.save(tmp_path / "named"))]
    for other in again:
        np.testing.assert_array_equal(np.asarray(other.bse), np.asarray(res.bse))
        assert other.summary().as_text().splitlines()[6:] == res.summary().as_text().splitlines()[6:]
    assert memory.getvalue() == (tmp_path / "named").read_bytes() == (tmp_path / "open").read_bytes()


def _logit():
    return bh.Logit(FRAME["yes"], X).fit()


MISTAKES = {
    "another covariance": (lambda: _logit().score_test(FRAME["e"], cov_type="HC3"), bh.OptionError, "'HC3'"),
    "that of the results": (lambda: _logit().with_cov("HC1").score_test(FRAME["e"]), bh.OptionError, "'HC1'"),
    "another hypothesis": (lambda: _logit().score_test(FRAME["e"], hypothesis="both"), bh.OptionError, "'both'"),
    "no restrictions": (
        lambda: _logit().score_test(params_constrained=[0.0, 0.0, 0.0]),
        bh.OptionError,
        "k_constraints",
    ),
    "no matrix": (lambda: _logit().score_test(k_constraints=1, cov_type="HC0"), bh.OptionError, "r_matrix"),
    "collinear variables": (lambda: _logit().score_test(np.ones(N)), bh.EstimationError, "collinear"),
    "too few rows": (lambda: _logit().score_test(np.ones(5)), bh.OptionError, "90 rows"),
    "missing values": (lambda: _logit().score_test(np.full(N, np.nan)), bh.OptionError, "missing"),
    "constrained parameters": (
        lambda: _logit().score_test(params_constrained=[0.0], k_constraints=1),
        bh.OptionError,
        "3 parameters",
    ),
    "parameters of a model": (lambda: _logit().model.loglike([0.0]), bh.OptionError, "3 parameters"),
    "parameters of several equations": (
        lambda: bh.MNLogit(FRAME["kind"], X).score(np.zeros(4)),
        bh.OptionError,
        "6 parameters",
    ),
    "which": (lambda: _logit().model.predict([0.0, 0.0, 0.0], which="var"), bh.OptionError, "'var'"),
    "regressors of a model": (
        lambda: _logit().model.predict([0.0, 0.0, 0.0], np.ones((4, 2))),
        bh.DataError,
        "2 columns",
    ),
    "a criterion": (lambda: _logit().info_criteria("AIV"), bh.OptionError, "'aiv'"),
    "a file for text": (lambda: _logit().save(io.StringIO()), bh.DataError, "'wb'"),
    "a file of text": (lambda: bh.load(io.StringIO("results")), bh.DataError, "'rb'"),
    "no results in a file": (lambda: bh.load(io.BytesIO(b"results")), bh.DataError, "not a complete file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, error, words = MISTAKES[mistake]
    with pytest.raises(error, match=words):
        call()
