"""Weights of discrete models: frequency weights are repeated rows; analytic ones enter a meat squared; offset and exposure."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.closeness import close, close_to_largest, close_to_one, plain, same, same_covariance
from torch import nn

import betahat as bh

# Two solutions of one problem, each to a decrement below 1e-24.
SOLVED = 1e-9
ROUNDING = 1e-10

MODELS = ("Logit", "Probit", "Poisson", "MNLogit")
COVARIANCES = ("nonrobust", "HC0", "HC1", "HC2", "HC3", "OPG")
N = 60


def _data(name, seed=0, n=N):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    index = x @ [0.2, 0.6, -0.4]
    y = {
        "Logit": lambda: (index + rng.logistic(size=n) > 0) * 1.0,
        "Probit": lambda: (index + rng.normal(size=n) > 0) * 1.0,
        "Poisson": lambda: rng.poisson(np.exp(index)) * 1.0,
        "MNLogit": lambda: np.argmax(np.column_stack([0 * index, index, -index]) + rng.gumbel(size=(n, 3)), axis=1),
    }[name]()
    return y, x, rng


def _covariances(name):
    return tuple(kind for kind in COVARIANCES if name != "MNLogit" or kind not in ("HC2", "HC3"))


def _relative(found, true):
    true = np.asarray(true)
    errors = np.sqrt(np.diagonal(true))
    return (np.abs(np.asarray(found) - true) / np.outer(errors, errors)).max()


def _same(found, true, kinds):
    np.testing.assert_allclose(found.params, true.params, rtol=SOLVED, atol=SOLVED)
    for kind in kinds:
        assert _relative(found.with_cov(kind).cov_params(), true.with_cov(kind).cov_params()) < SOLVED, kind
    for name in (
        "llf",
        "llnull",
        "llr",
        "llr_pvalue",
        "prsquared",
        "aic",
        "bic",
        "nobs",
        "df_resid",
        "df_model",
        "scale",
    ):
        assert float(getattr(found, name)) == pytest.approx(float(getattr(true, name)), rel=SOLVED), name


# frequency weights


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bread", ["observed", "expected", "opg"])
def test_frequency_weights_repeat_rows(name, bread):
    y, x, rng = _data(name)
    counts = rng.integers(0, 5, N)
    kinds = tuple(k for k in _covariances(name) if bread != "opg" or k not in ("HC2", "HC3"))
    model = getattr(bh, name)
    found = model(y, x, freq_weights=counts).fit(bread=bread)
    _same(found, model(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit(bread=bread), kinds)


@pytest.mark.parametrize("at", ["overall", "mean"])
@pytest.mark.parametrize("name", MODELS)
def test_margins_of_frequency_weights(name, at):
    y, x, rng = _data(name)
    counts = rng.integers(1, 5, N)
    model = getattr(bh, name)
    found = model(y, x, freq_weights=counts).fit("HC0").get_margeff(at=at)
    true = model(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit("HC0").get_margeff(at=at)
    np.testing.assert_allclose(found.margeff, true.margeff, rtol=SOLVED, atol=SOLVED)
    np.testing.assert_allclose(found.margeff_se, true.margeff_se, rtol=SOLVED)


def test_margins_at_the_median_of_frequency_weights():
    """The median of the repeated rows."""
    y, x, rng = _data("Logit")
    counts = rng.integers(1, 9, N)
    found = bh.Logit(y, x, freq_weights=counts).fit().get_margeff(at="median")
    true = bh.Logit(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit().get_margeff(at="median")
    np.testing.assert_allclose(found.margeff, true.margeff, rtol=SOLVED)


@pytest.mark.parametrize("name", ["Logit", "Poisson"])
def test_frequency_weights_with_an_offset(name):
    y, x, rng = _data(name)
    counts, offset = rng.integers(0, 4, N), 0.3 * rng.normal(size=N)
    model = getattr(bh, name)
    found = model(y, x, offset=offset, freq_weights=counts).fit()
    true = model(np.repeat(y, counts), np.repeat(x, counts, axis=0), offset=np.repeat(offset, counts)).fit()
    _same(found, true, COVARIANCES)


@pytest.mark.parametrize("name", MODELS)
def test_frequency_weights_times_analytic_weights(name):
    y, x, rng = _data(name)
    counts, weights = rng.integers(0, 4, N), rng.uniform(0.5, 2, N)
    model = getattr(bh, name)
    found = model(y, x, weights=weights, freq_weights=counts).fit()
    true = model(np.repeat(y, counts), np.repeat(x, counts, axis=0), weights=np.repeat(weights, counts)).fit()
    _same(found, true, _covariances(name))


def test_frequency_weights_of_ones_change_nothing():
    y, x, _ = _data("Poisson")
    _same(bh.Poisson(y, x, freq_weights=np.ones(N)).fit(), bh.Poisson(y, x).fit(), COVARIANCES)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_predictions_and_tables_of_frequency_weights(name):
    y, x, rng = _data(name)
    counts = rng.integers(1, 4, N)
    model = getattr(bh, name)
    found = model(y, x, freq_weights=counts).fit()
    true = model(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit()
    np.testing.assert_allclose(np.repeat(found.predict(), counts), true.predict(), rtol=SOLVED)
    if name != "Poisson":
        np.testing.assert_allclose(found.pred_table(), true.pred_table())
    assert f"{N}" not in str(found.summary()).split("No. Observations:")[1].split("\n")[0] or counts.sum() == N
    assert str(int(counts.sum())) in str(found.summary())
    without = [
        [line for line in str(res.summary()).splitlines() if "Date" not in line and "Time" not in line]
        for res in (found, true)
    ]
    assert without[0] == without[1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(MODELS), st.integers(1, 6))
def test_random_frequency_weights(seed, name, most):
    y, x, rng = _data(name, seed, 25)
    counts = rng.integers(0, most + 1, 25)
    model = getattr(bh, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.CollinearityWarning)
        try:
            true = model(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit("HC0")
        except bh.BetahatError:
            return  # separated, or a class without a row
        if name == "MNLogit" and len(np.unique(np.repeat(y, counts))) < 3:
            return  # the rows of count zero have classes of their own
        found = model(y, x, freq_weights=counts).fit("HC0")
    size = np.abs(np.asarray(true.params)).max()
    if size < 20:  # nearly separated: the digits of both are lost
        np.testing.assert_allclose(found.params, true.params, rtol=1e-7, atol=1e-7 * size)
        assert _relative(found.cov_params(), true.cov_params()) < 1e-6


# frequency weights of least squares

LINEAR = ("OLS", "WLS")
LINEAR_COVARIANCES = {
    **{kind: kind for kind in (*COVARIANCES, "HC4", "HC4m", "HC5", "fixed scale", "jackknife")},
    **{kind: bh.Cluster("firm", kind) for kind in ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "jackknife")},
    "CR2, inverse weights": bh.Cluster("firm", "CR2", target="inverse_weights"),
    "two ways": bh.Cluster(["firm", "region"]),
    "jackknife of clusters": bh.Jackknife("firm"),
    **{
        kind: bh.Bootstrap(60, kind, seed=1)
        for kind in ("pairs", "bayesian", "poisson", "moving-block", "wild", "score")
    },
    "clusters": bh.Bootstrap(60, "pairs", clusters="firm", seed=1),
    "wild clusters": bh.Bootstrap(60, "wild", clusters="firm", seed=1),
    "wild clusters, 33": bh.Bootstrap(60, "wild", clusters="firm", variant="33", seed=1),
}
STATISTICS = (
    *("nobs", "df_resid", "df_model", "k_constant", "scale", "ssr", "centered_tss", "uncentered_tss", "ess"),
    *("rsquared", "rsquared_adj", "mse_model", "mse_resid", "mse_total", "fvalue", "f_pvalue", "condition_number"),
    *("llf", "aic", "bic"),
)


def _linear(name, seed=0, counts=None, n=N, wide=False):
    """The fit by counts, and that of the repeated rows."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["y"] = 1.0 + frame.a - frame.b + rng.standard_t(5, n) * np.exp(0.3 * frame.a)
    frame["b"] += 1e6 * wide  # ill-conditioned, which is refined
    frame["firm"], frame["region"] = np.arange(n) // 5, np.arange(n) % 13
    frame["v"] = rng.uniform(0.3, 3.0, n) if name == "WLS" else 1.0
    frame["often"] = rng.integers(0, 5, n) if counts is None else counts
    repeated = frame.loc[frame.index.repeat(frame.often)].reset_index(drop=True)
    function, beside = (bh.wls, {"weights": "v"}) if name == "WLS" else (bh.ols, {})
    return function("y ~ a + b", frame, freq_weights="often", **beside), function("y ~ a + b", repeated, **beside)


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("kind", LINEAR_COVARIANCES)
def test_covariances_of_counted_least_squares(name, kind):
    found, true = (model.fit() for model in _linear(name))
    close_to_largest(found.params, true.params, ROUNDING)
    cov = LINEAR_COVARIANCES[kind]
    found, true = found.with_cov(cov), true.with_cov(cov)
    same_covariance(found.cov_params(), true.cov_params(), ROUNDING)
    close(found.pvalues, true.pvalues, 1e-8)  # far in the tails a p-value multiplies the error of t by t^2
    close(found.conf_int(), true.conf_int(), ROUNDING, unit=10.0)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("n", [N, 90_000])  # by TSQR, by the Gram matrix
def test_statistics_of_counted_least_squares(name, n):
    found, true = (model.fit("HC1") for model in _linear(name, n=n))
    assert found.fit.route == true.fit.route
    for statistic in STATISTICS:
        close_to_one(getattr(found, statistic), getattr(true, statistic), ROUNDING, statistic)
    close(found.eigenvals, true.eigenvals, ROUNDING)
    for key, value in true.diagn.items():
        close(found.diagn[key], value, 1e-8, unit=max(1.0, abs(value)), label=key)  # scipy subtracts its mean twice
    close_to_one(found.info_criteria("aicc"), true.info_criteria("aicc"), ROUNDING)
    assert _without_clock(found.summary()) == _without_clock(true.summary())
    assert _without_clock(found.summary2()) == _without_clock(true.summary2())
    assert f"{int(true.nobs):,}" in bh.regtable(found).to_text()
    close_to_one(found.glance(), true.glance(), ROUNDING)


def _without_clock(summary):
    return [line for line in str(summary).splitlines() if "Date" not in line and "Time" not in line]


@pytest.mark.parametrize("name", LINEAR)
def test_counted_least_squares_with_nearly_collinear_columns(name):
    found, true = (model.fit("HC3") for model in _linear(name, wide=True))
    assert found.fit.route == true.fit.route == "tsqr, refined"
    close(
        found.params, true.params, 1e-9
    )  # the condition number of the scaled columns is 2e6, of which refining leaves none
    same_covariance(found.cov_params(), true.cov_params(), 1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_rows_of_counted_least_squares(name):
    models = _linear(name)
    (found, true), counts = (model.fit() for model in models), models[0].design.counts.long().numpy()

    def rows(values):
        return np.repeat(plain(values), counts, axis=0)

    for values in ("fittedvalues", "resid", "wresid", "resid_pearson"):
        close_to_largest(rows(getattr(found, values)), getattr(true, values), ROUNDING)
    one, other = found.get_influence(), true.get_influence()
    for values in (
        *("hat_matrix_diag", "resid_press", "influence", "resid_studentized_internal", "resid_studentized_external"),
        *(
            "sigma2_not_obsi",
            "dfbeta",
            "dfbetas",
            "params_not_obsi",
            "cov_ratio",
            "det_cov_params_not_obsi",
            "resid_var",
        ),
    ):
        close_to_largest(rows(getattr(one, values)), getattr(other, values), ROUNDING, values)
    for values in ("cooks_distance", "dffits", "dffits_internal"):
        (numbers, beside), (repeated, its) = getattr(one, values), getattr(other, values)
        close_to_largest(rows(numbers), repeated, ROUNDING, values)
        close_to_one(beside if np.ndim(beside) == 0 else rows(beside), its, 1e-8, values)
    close_to_one(one.ess_press, other.ess_press, ROUNDING)
    for method in ("bonf", "fdr_bh"):
        close_to_one(rows(found.outlier_test(method)), true.outlier_test(method), 1e-8)
    close_to_largest(rows(found.cases.cooks_distance), true.cases.cooks_distance, ROUNDING)
    close_to_largest(rows(found.get_prediction().summary_frame()), true.get_prediction().summary_frame(), ROUNDING)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("cov", ["nonrobust", "HC0"])
def test_tests_of_counted_least_squares(name, cov):
    full = [model.fit(cov) for model in _linear(name)]
    small = [_reduced(model, name).fit(cov) for model in _linear(name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.RobustTestWarning)
        for test, options in (
            ("compare_f_test", {}),
            ("compare_lr_test", {}),
            ("compare_lm_test", {}),
            ("compare_lm_test", {"demean": False}),
            ("compare_lm_test", {"use_lr": True}),
        ):
            found, true = (getattr(a, test)(b, **options) for a, b in zip(full, small, strict=True))
            close_to_one(np.array(found), np.array(true), ROUNDING, f"{test} {options}")
    params = np.array([0.5, 1.1, -0.8])
    found, true = (res.model for res in full)
    close_to_one(found.loglike(params), true.loglike(params), ROUNDING)
    close_to_largest(found.score(params), true.score(params), ROUNDING)
    close_to_largest(found.hessian(params), true.hessian(params), ROUNDING)
    assert (found.nobs, found.df_resid, found.df_model) == (true.nobs, true.df_resid, true.df_model)


def _reduced(model, name):
    function, beside = (bh.wls, {"weights": "v"}) if name == "WLS" else (bh.ols, {})
    counts = {} if model.design.counts is None else {"freq_weights": "often"}
    return function("y ~ a", model.data.frame, **beside, **counts)


@pytest.mark.parametrize("name", LINEAR)
def test_rows_that_occur_no_times_are_not_there(name):
    """A column that varies, or is independent, in such rows alone is a constant, or a dependent one."""
    y, x, _rng = _data("Poisson")
    counts = np.r_[np.zeros(3), np.ones(N - 3)]
    x = np.column_stack([x[:, 1:], np.r_[5.0, 6.0, 7.0, np.ones(N - 3)], np.r_[1.0, np.zeros(N - 1)]])
    found = getattr(bh, name)(y, x[:, :3], freq_weights=counts).fit()
    true = getattr(bh, name)(y[3:], x[3:, :3]).fit()
    assert (found.k_constant, found.fit.constant) == (true.k_constant, true.fit.constant)
    close_to_one(found.rsquared, true.rsquared, ROUNDING)
    with pytest.warns(bh.CollinearityWarning):
        dropped = getattr(bh, name)(y, x, freq_weights=counts).fit(rank="drop")
    close_to_largest(dropped.params[:3], true.params, ROUNDING)
    assert np.isnan(dropped.params[3])
    implied = np.column_stack([x[:, 2] - x[:, 0], x[:, 0]])
    assert getattr(bh, name)(y, implied, freq_weights=counts).fit().k_constant == 1


@pytest.mark.parametrize("make", [np.array, pd.Series, torch.tensor, lambda c: [float(v) for v in c]])
def test_counts_of_any_kind(make):
    y, x, rng = _data("Poisson")
    counts = [int(v) for v in rng.integers(0, 4, N)]
    found = bh.OLS(y, x, freq_weights=make(counts)).fit("HC3")
    true = bh.OLS(np.repeat(y, counts), np.repeat(x, counts, axis=0)).fit("HC3")
    same_covariance(found.cov_params(), true.cov_params(), ROUNDING)
    assert found.nobs == true.nobs


def test_counted_least_squares_in_a_file(tmp_path):
    found = _linear("WLS")[0].fit("HC3")
    found.save(tmp_path / "counted.bh")
    back = bh.load(tmp_path / "counted.bh")
    same(np.asarray(back.cov_params()), np.asarray(found.cov_params()))
    assert _without_clock(back.summary()) == _without_clock(found.summary())


# analytic weights


def _losses(name, y, x, offset=None):
    y, x = torch.as_tensor(y), torch.as_tensor(x)
    offset = 0.0 if offset is None else torch.as_tensor(offset)

    def losses(theta):
        if name == "MNLogit":
            return F.cross_entropy(F.pad(x @ theta.view(2, 3).mT, (1, 0)), y, reduction="none")
        index = x @ theta + offset
        return {
            "Logit": lambda: F.binary_cross_entropy_with_logits(index, y, reduction="none"),
            "Probit": lambda: -torch.special.log_ndtr((2 * y - 1) * index),
            "Poisson": lambda: index.exp() - y * index,
        }[name]()

    return losses


@pytest.mark.parametrize("name", MODELS)
def test_analytic_weights_enter_the_meat_squared(name):
    y, x, rng = _data(name)
    weights = rng.uniform(0.3, 3, N)
    res = getattr(bh, name)(y, x, weights=weights).fit()
    theta, w, losses = res.fit.params, torch.as_tensor(weights), _losses(name, y, x)
    gradients = torch.autograd.functional.jacobian(losses, theta)
    scores = w[:, None] * gradients
    assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < SOLVED
    hessian = torch.autograd.functional.hessian(lambda t: (w * losses(t)).sum(), theta)
    bread = torch.linalg.inv(hessian)
    assert _relative(res.cov.matrix, bread) < SOLVED
    meat = sum(torch.outer(s, s) for s in scores)
    assert _relative(res.with_cov("HC0").cov.matrix, bread @ meat @ bread) < SOLVED
    assert _relative(res.with_cov("OPG").cov.matrix, torch.linalg.inv(meat)) < SOLVED
    k = len(theta)
    assert _relative(res.with_cov("HC1").cov.matrix, bread @ meat @ bread * N / (N - k)) < SOLVED
    assert res.nobs == N
    if name == "MNLogit":
        return
    index = torch.as_tensor(x) @ theta
    curvature = torch.autograd.functional.hessian(
        lambda e: (w * _losses(name, y, np.eye(N))(e)).sum(), index
    ).diagonal()
    leverage = curvature * torch.einsum("nk,kl,nl->n", torch.as_tensor(x), bread, torch.as_tensor(x))
    for kind, power in (("HC2", 1), ("HC3", 2)):
        meat = sum(torch.outer(s, s) / (1 - h) ** power for s, h in zip(scores, leverage, strict=True))
        assert _relative(res.with_cov(kind).cov.matrix, bread @ meat @ bread) < SOLVED


@pytest.mark.parametrize("name", MODELS)
def test_a_factor_of_all_analytic_weights(name):
    """The sandwich does not feel it, and the classical covariance is divided by it."""
    y, x, rng = _data(name)
    weights = rng.uniform(0.3, 3, N)
    one, seven = (getattr(bh, name)(y, x, weights=c * weights).fit() for c in (1.0, 7.0))
    np.testing.assert_allclose(seven.params, one.params, rtol=SOLVED, atol=SOLVED)
    for kind in _covariances(name):
        factor = 7.0 if kind == "nonrobust" else 49.0 if kind == "OPG" else 1.0
        assert (
            _relative(factor * np.asarray(seven.with_cov(kind).cov_params()), one.with_cov(kind).cov_params()) < SOLVED
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_two_kinds_of_weights_differ_in_the_meat_alone(name):
    y, x, rng = _data(name)
    counts = rng.integers(1, 4, N)
    model = getattr(bh, name)
    analytic, frequency = model(y, x, weights=counts).fit(), model(y, x, freq_weights=counts).fit()
    np.testing.assert_allclose(analytic.params, frequency.params, rtol=SOLVED, atol=SOLVED)
    assert _relative(analytic.cov_params(), frequency.cov_params()) < SOLVED
    assert _relative(analytic.with_cov("HC0").cov_params(), frequency.with_cov("HC0").cov_params()) > 0.05


# offset and exposure


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_an_offset_is_added_to_the_index(name):
    y, x, rng = _data(name)
    offset = 0.5 * rng.normal(size=N)
    res = getattr(bh, name)(y, x, offset=offset).fit()
    losses, theta = _losses(name, y, x, offset), res.fit.params
    scores = torch.autograd.functional.jacobian(losses, theta)
    assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < SOLVED
    bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), theta))
    assert _relative(res.cov_params(), bread) < SOLVED
    assert _relative(res.with_cov("HC0").cov_params(), bread @ scores.mT @ scores @ bread) < SOLVED
    np.testing.assert_allclose(res.predict(which="linear"), x @ theta.numpy() + offset, rtol=1e-12)
    np.testing.assert_allclose(res.predict(x[:3], offset=offset[:3]), res.predict()[:3], rtol=1e-12)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_a_shift_by_the_regressors_moves_the_estimates_alone(name):
    y, x, _ = _data(name)
    shift = np.array([0.5, -0.2, 0.3])
    one, other = getattr(bh, name)(y, x).fit(), getattr(bh, name)(y, x, offset=x @ shift).fit()
    np.testing.assert_allclose(other.params, one.params - shift, rtol=1e-8, atol=1e-8)
    for kind in COVARIANCES:
        assert _relative(other.with_cov(kind).cov_params(), one.with_cov(kind).cov_params()) < 1e-8
    assert other.llf == pytest.approx(one.llf, rel=1e-12)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson"])
def test_exposure_is_an_offset_by_its_logarithm(name):
    y, x, rng = _data(name)
    exposure, offset = rng.uniform(0.5, 3, N), 0.2 * rng.normal(size=N)
    model = getattr(bh, name)
    _same(model(y, x, exposure=exposure).fit(), model(y, x, offset=np.log(exposure)).fit(), COVARIANCES)
    both = model(y, x, exposure=exposure, offset=offset).fit()
    _same(both, model(y, x, offset=np.log(exposure) + offset).fit(), COVARIANCES)


def test_an_offset_in_a_module_is_that_of_the_model():
    y, x, rng = _data("Poisson")
    offset = rng.normal(size=N)

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.index = nn.Linear(3, 1, bias=False)

        def forward(self, x, shift):
            return self.index(x)[:, 0] + shift

    inputs = (torch.as_tensor(x), torch.as_tensor(offset))
    res = bh.TorchModel(Shifted(), nn.PoissonNLLLoss(), inputs, torch.as_tensor(y)).fit()
    true = bh.Poisson(y, x, offset=offset).fit()
    for kind in COVARIANCES:
        assert _relative(res.with_cov(kind).cov_params(), true.with_cov(kind).cov_params()) < SOLVED
    assert res.llf == pytest.approx(true.llf, rel=1e-12)
    linear = bh.TorchModel(Shifted(), nn.MSELoss(), inputs, torch.as_tensor(y)).fit()
    ols = bh.OLS(y - offset, x).fit()
    for kind in COVARIANCES:
        assert _relative(linear.with_cov(kind).cov_params(), ols.with_cov(kind).cov_params()) < SOLVED


# collinear columns


@pytest.mark.parametrize("name", MODELS)
def test_collinear_columns(name):
    """rank="drop" is the fit without them; rank="pinv" has its identified functions, and the least norm."""
    y, x, _ = _data(name)
    wide = np.column_stack([x, x[:, 1] - 2 * x[:, 0]])
    model = getattr(bh, name)
    true = model(y, x).fit()
    with pytest.warns(bh.CollinearityWarning):
        dropped = model(y, wide).fit(rank="drop")
    with pytest.warns(bh.CollinearityWarning):
        pinv = model(y, wide).fit(rank="pinv")
    kinds = _covariances(name)
    for res in (dropped, pinv):
        assert res.llf == pytest.approx(true.llf, rel=1e-12)
        assert res.df_resid == true.df_resid
        np.testing.assert_allclose(res.predict(), true.predict(), rtol=1e-8)
    reach = wide if name != "MNLogit" else np.kron(np.eye(2), wide)
    plain = x if name != "MNLogit" else np.kron(np.eye(2), x)
    for kind in kinds:
        index = reach @ np.asarray(pinv.with_cov(kind).cov_params()) @ reach.T
        expected = plain @ np.asarray(true.with_cov(kind).cov_params()) @ plain.T
        np.testing.assert_allclose(np.diagonal(index), np.diagonal(expected), rtol=1e-8)
        kept = np.asarray(dropped.with_cov(kind).cov_params())
        seen = ~np.isnan(np.diagonal(kept))
        assert seen.sum() == plain.shape[1]
        assert _relative(kept[seen][:, seen], true.with_cov(kind).cov_params()) < 1e-8
    assert np.isnan(np.asarray(dropped.params)).sum() == (2 if name == "MNLogit" else 1)
    coefficients = np.asarray(pinv.params)
    smallest = np.linalg.pinv(wide) @ (x @ np.asarray(true.params))
    np.testing.assert_allclose(coefficients, smallest, rtol=1e-7, atol=1e-8)
