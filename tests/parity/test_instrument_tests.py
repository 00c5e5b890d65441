"""Tests and diagnostics of instruments, as functions of tensors, against linearmodels and the formulas of the papers."""

import math

import numpy as np
import pytest
import torch
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from scipy import special, stats
from tests.support.closeness import close
from tests.support.instruments import annihilated, classical_variance_of, iv_data, meat_of, part_of, variance_of

from betahat.errors import EstimationError
from betahat.inference import effective_f as effective
from betahat.inference import overidentification, weak_instruments
from betahat.inference.partialled import k_class, partial_rsquared, shea_rsquared
from betahat.inference.stock_yogo import BIASES, SIZES, stock_yogo

# linearmodels forms products of the data, which keep ten digits of these.
CLOSE = 1e-8
# The published values have two decimals, and Stock and Yogo's come from a simulation.
PRINTED, SIMULATED = 0.006, 0.16

CASES = [(1, 1), (1, 4), (2, 3), (2, 2), (3, 6)]


@pytest.fixture(params=CASES, ids=str)
def data(request):
    endogenous, excluded = request.param
    return iv_data(seed=sum(request.param), endogenous=endogenous, excluded=excluded)


def test_first_stages(data):
    y, x, w, z, *_ = data
    theirs = IV2SLS(y, x, w, z).fit(cov_type="unadjusted").first_stage.diagnostics
    part = part_of(y, x, w, z)
    close(partial_rsquared(part), theirs["partial.rsquared"], CLOSE)
    close(shea_rsquared(part), theirs["shea.rsquared"], CLOSE)


@pytest.mark.parametrize("weighted", [False, True])
def test_cragg_donald(data, weighted):
    y, x, w, z, _, weights = data
    weights = weights if weighted else None
    theirs = IV2SLS(y, x, w, z, weights=weights).fit().first_stage
    ours = weak_instruments.cragg_donald(part_of(y, x, w, z, weights))
    close([ours.statistic, ours.pvalue], [theirs.cragg_donald.stat, theirs.cragg_donald.pval], CLOSE)
    close(ours.f_statistic, theirs.cragg_donald_f, CLOSE)
    assert ours.df == theirs.cragg_donald.df


@pytest.mark.parametrize("kind", ["robust", "clustered", "kernel"])
def test_kleibergen_paap(data, kind):
    y, x, w, z, group, _ = data
    n, free = len(y), len(y) - x.shape[1] - z.shape[1]
    options = {"robust": {}, "clustered": {"clusters": group}, "kernel": {"kernel": "bartlett", "bandwidth": 3}}[kind]
    beside = {"robust": {}, "clustered": {"group": group}, "kernel": {"lags": 3}}[kind]
    count = len(np.unique(group))
    factor = count / (count - 1) * (n - 1) / free if kind == "clustered" else n / free
    theirs = IV2SLS(y, x, w, z).fit(cov_type=kind, **options).first_stage
    scores = variance_of(y, x, w, z, null=True, **beside)
    ours = weak_instruments.kleibergen_paap(
        part_of(y, x, w, z), scores, variance_of(y, x, w, z, factor=factor, **beside)
    )
    close([ours.statistic, ours.pvalue], [theirs.kleibergen_paap.stat, theirs.kleibergen_paap.pval], CLOSE)
    close(ours.f_statistic, theirs.kleibergen_paap_f, CLOSE)


def test_kleibergen_paap_is_cragg_donald_under_one_variance(data):
    y, x, w, z, *_ = data
    part, variance = part_of(y, x, w, z), classical_variance_of(y, x, w, z)
    ours = weak_instruments.kleibergen_paap(part, variance, variance)
    close(ours.f_statistic, weak_instruments.cragg_donald(part).f_statistic, CLOSE)


def test_sanderson_windmeijer_by_its_definition(data):
    """F of the instruments in the residual of 2SLS on the other endogenous regressors, with q - m + 1 degrees of freedom."""
    y, x, w, z, *_ = data
    part = part_of(y, x, w, z)
    free, left = annihilated(z, x), len(y) - x.shape[1] - z.shape[1]
    for j in range(w.shape[1]):
        own, others = annihilated(w[:, j], x), annihilated(np.delete(w, j, 1), x)
        fitted = others - annihilated(others, free)
        residual = own - others @ np.linalg.lstsq(fitted, own, rcond=None)[0] if others.size else own
        unexplained = annihilated(residual, free)
        df = z.shape[1] - w.shape[1] + 1
        f = (residual @ residual - unexplained @ unexplained) / df / (unexplained @ unexplained / left)
        ours = weak_instruments.sanderson_windmeijer(part, j, classical_variance_of(y, x, w, z), left)
        close(ours.statistic, f, CLOSE)
        close(ours.pvalue, stats.f.sf(f, df, left), CLOSE)


def test_one_regressor_has_one_f():
    """With one endogenous regressor, every robust F is the Wald statistic over q; with one instrument the effective F is as well."""
    for excluded in (1, 3):
        y, x, w, z, *_ = iv_data(excluded=excluded)
        part, variance = part_of(y, x, w, z), variance_of(y, x, w, z)
        pi, v = part.reduced_form[:, 0], variance([1.0, 0.0])
        wald = float(pi @ torch.linalg.solve(v, pi)) / excluded
        close(weak_instruments.kleibergen_paap(part, variance, variance).f_statistic, wald, CLOSE)
        close(weak_instruments.sanderson_windmeijer(part, 0, variance, 10.0).statistic, wald, CLOSE)
        f = effective.effective_f(pi, v, part.instruments)
        if excluded == 1:
            close(f, wald, CLOSE)
        free, own = annihilated(z, x), annihilated(w[:, 0], x)
        residual = annihilated(own, free)
        inverse = np.linalg.inv(free.T @ free)
        trace = np.trace(inverse @ meat_of(free * residual[:, None]))
        close(f, (own - residual) @ (own - residual) / trace, CLOSE)


def test_a_singular_covariance_is_refused():
    y, x, w, z, *_ = iv_data(excluded=4)
    few = np.arange(len(y)) % 3
    variance = variance_of(y, x, w, z, group=few)
    with pytest.raises(EstimationError, match="only has rank 2"):
        weak_instruments.kleibergen_paap(part_of(y, x, w, z), variance, variance)


@pytest.mark.parametrize(("bias", "value"), [(0.05, 37.42), (0.10, 23.11), (0.20, 15.06), (0.30, 12.05)])
def test_critical_values_of_one_instrument(bias, value):
    """The values that weakivtest prints, Pflueger and Wang (2015): noncentral chi-squared of one degree of freedom."""
    one = torch.ones(1, 1, dtype=torch.float64)
    found = effective.critical_value(one, 1.0 / bias, 0.05)
    assert abs(found - value) < PRINTED + (0.02 if bias == 0.30 else 0.0)  # weakivtest writes 3.33 for 1 / 0.3
    close(found, stats.ncx2.ppf(0.95, 1, 1.0 / bias), CLOSE)


def test_patnaik_by_its_formula():
    random = np.random.default_rng(3)
    half = random.normal(size=(4, 4))
    w, x = half @ half.T, 7.5
    k = np.trace(w) ** 2 * (1 + 2 * x) / (np.trace(w.T @ w) + 2 * x * np.trace(w) * np.linalg.eigvalsh(w)[-1])
    close(effective.critical_value(torch.as_tensor(w), x, 0.05), stats.ncx2.ppf(0.95, k, x * k) / k, CLOSE)


@pytest.mark.parametrize("excluded", [1, 2, 3, 5])
def test_worst_bias_by_search(excluded):
    """The supremum over beta and directions of the bias over its benchmark, by its definition, on a grid."""
    y, x, w, z, *_ = iv_data(seed=excluded, excluded=excluded)
    turn = part_of(y, x, w, z).instruments
    variance = variance_of(y, x, w, z)
    own, first, both = ((turn @ variance(c) @ turn.T).numpy() for c in ([0.0, 1.0], [1.0, 0.0], [1.0, 1.0]))
    cross = 0.5 * (both - own - first)
    found = effective.worst_bias(*map(torch.as_tensor, (own, cross, first)))
    heights = []
    for beta in np.tan(np.linspace(-np.pi / 2, np.pi / 2, 4001)[1:-1]) * 3.0:
        s12, s1 = cross - beta * first, own - 2 * beta * cross + beta**2 * first
        ends = np.trace(s12) - 2 * np.linalg.eigvalsh(s12)[[0, -1]]
        heights.append(np.abs(ends).max() / math.sqrt(np.trace(first) * np.trace(s1)))
    assert max(heights) <= found * (1 + 1e-12) + 1e-12
    assert max(heights) >= found * (1 - 1e-5)
    assert found <= 1.0 + 1e-12


def test_two_instruments_of_one_variance_have_no_nagar_bias():
    one = torch.eye(2, dtype=torch.float64)
    assert effective.worst_bias(2.0 * one, 0.5 * one, one) < 1e-12


@pytest.mark.parametrize("excluded", range(3, 31))
def test_stock_and_yogo_bias_by_skeels_and_windmeijers_closed_form(excluded):
    """For one endogenous regressor the relative bias is exp(-c / 2) 1F1(q / 2 - 1; q / 2; c / 2), c the concentration.

    Their published values of three instruments, 13.91 to 5.39, are a percent or two off: 13.76, 9.18, 6.60 and 5.49 are exact.
    """
    table = stock_yogo(1, excluded).bias
    for bias in BIASES:
        low, high = 0.0, 1000.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            # Kummer: exp(-x) 1F1(a; b; x) = 1F1(b - a; b; -x)
            large = special.hyp1f1(1.0, excluded / 2, -middle / 2) > bias
            low, high = (middle, high) if large else (low, middle)
        assert abs(stats.ncx2.ppf(0.95, excluded, low) / excluded - table[bias]) < SIMULATED


def test_stock_and_yogo_is_smooth_and_ends_where_it_does():
    """A misprint in one of 550 numbers would stand out of its neighbours."""
    for kind, first, counts in (("bias", 6, (1, 2, 3)), ("size", 5, (1, 2))):
        for endogenous in counts:
            rows = [list(getattr(stock_yogo(endogenous, q), kind).values()) for q in range(first + endogenous, 31)]
            assert np.abs(np.diff(np.array(rows), n=3, axis=0)).max() < 0.06
    assert stock_yogo(1, 1).size == dict(zip(SIZES, (16.38, 8.96, 6.66, 5.53), strict=True))
    assert [stock_yogo(1, q).size[0.10] for q in range(1, 6)] == [16.38, 19.93, 22.30, 24.58, 26.87]
    assert stock_yogo(1, 2).bias == stock_yogo(3, 4).bias == stock_yogo(2, 1).size == stock_yogo(1, 31).size == {}
    assert stock_yogo(4, 10).bias == stock_yogo(3, 10).size == {}
    assert len(stock_yogo(3, 5).bias) == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_overidentification(data, weighted):
    y, x, w, z, _, weights = data
    weights = weights if weighted else None
    part, theirs = part_of(y, x, w, z, weights), IV2SLS(y, x, w, z, weights=weights).fit()
    params = k_class(part, 1.0)
    close(params, theirs.params.to_numpy()[x.shape[1] :], CLOSE)
    if z.shape[1] == w.shape[1]:
        return
    for name in ("sargan", "basmann"):
        ours, other = getattr(overidentification, name)(part, params), getattr(theirs, name)
        close([ours.statistic, ours.pvalue], [other.stat, other.pval], CLOSE)
        assert ours.df == other.df
    liml = IVLIML(y, x, w, z, weights=weights).fit()
    ours, other = overidentification.basmann_f(part, liml.kappa), liml.basmann_f
    close([ours.statistic, ours.pvalue], [other.stat, other.pval], CLOSE)
    close(k_class(part, liml.kappa), liml.params.to_numpy()[x.shape[1] :], 1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_exogeneity_of_regressors(data, weighted):
    y, x, w, z, _, weights = data
    weights = weights if weighted else None
    part, theirs = part_of(y, x, w, z, weights), IV2SLS(y, x, w, z, weights=weights).fit()
    count = w.shape[1]
    for tested in ([*range(count)], [0], [count - 1]):
        names = [f"endog.{i}" for i in tested] if count > 1 else ["endog"]
        for name in ("wu_hausman", "durbin"):
            ours = getattr(overidentification, name)(part, tested, names)
            other = getattr(theirs, name)(None if len(tested) == count else names)
            close([ours.statistic, ours.pvalue], [other.stat, other.pval], CLOSE, label=name)


def test_j_and_c(data):
    y, x, w, z, *_ = data
    if z.shape[1] == w.shape[1]:
        return
    gmm = IVGMM(y, x, w, z, weight_type="robust", center=False).fit(iter_limit=2)
    residual = y - np.column_stack([x, w]) @ IV2SLS(y, x, w, z).fit().params.to_numpy()
    # all moments, those of the exogenous regressors as well, are weighed
    every = np.column_stack([x, z])
    spread = torch.as_tensor(meat_of(every * residual[:, None]))
    moments, jacobian = torch.as_tensor(every.T @ y), torch.as_tensor(every.T @ np.column_stack([x, w]))
    ours = overidentification.moments_test("J", moments, jacobian, spread)
    close([ours.statistic, ours.pvalue], [gmm.j_stat.stat, gmm.j_stat.pval], CLOSE)
    found = overidentification.c_statistic(moments, jacobian, spread, [every.shape[1] - 1], ["z"])
    kept = [*range(every.shape[1] - 1)]
    less = overidentification.moments_test("J", moments[kept], jacobian[kept], spread[kept][:, kept])
    close(found.statistic, ours.statistic - less.statistic, 1e-7)
    assert found.statistic >= 0.0


def test_how_tests_print():
    y, x, w, z, *_ = iv_data()
    part = part_of(y, x, w, z)
    assert repr(overidentification.sargan(part, k_class(part, 1.0))).startswith("Sargan: chi2(2) = ")
    text = repr(overidentification.wu_hausman(part, [0], ["price"]))
    assert "F(1, 296) = " in text
    assert text.endswith("H0: price is exogenous.")
    assert weak_instruments.cragg_donald(part).distribution == "chi2"
