"""Every family of statsmodels under every link that it takes, successes and failures, shares, and scales, against statsmodels' GLM."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import betahat as bh

# statsmodels starts at our optimum and stops at a change of the deviance of 1e-15: rounding remains.
CLOSE = 1e-8
# Roots of small differences lose half of their digits, here as there.
ROOTS = 1e-6

F, L = sm.families, sm.families.links
N = 200
LINKS = {
    "Log": L.Log(),
    "Identity": L.Identity(),
    "InversePower": L.InversePower(),
    "InverseSquared": L.InverseSquared(),
    "Sqrt": L.Sqrt(),
    "Power(0.3)": L.Power(0.3),
}
BINARY = {
    "Logit": L.Logit(),
    "Probit": L.Probit(),
    "Cauchy": L.Cauchy(),
    "CLogLog": L.CLogLog(),
    "LogLog": L.LogLog(),
    "Log": L.Log(),
    "LogC": L.LogC(),
    "Identity": L.Identity(),
    "Power(0.5)": L.Power(0.5),
}
FAMILIES = {
    "Gaussian": (F.Gaussian, ("Log", "Identity", "InversePower", "Sqrt", "Power(0.3)")),
    "Poisson": (F.Poisson, ("Log", "Identity", "Sqrt", "Power(0.3)")),
    "Gamma": (F.Gamma, tuple(LINKS)),
    "InverseGaussian": (F.InverseGaussian, tuple(LINKS)),
    "NegativeBinomial": (lambda **options: F.NegativeBinomial(alpha=0.7, **options), tuple(LINKS)),
    "Tweedie(1.6)": (lambda **options: F.Tweedie(var_power=1.6, **options), tuple(LINKS)),
    "Tweedie(1.6, eql)": (lambda **options: F.Tweedie(var_power=1.6, eql=True, **options), ("Log",)),
    "Tweedie(2.6)": (lambda **options: F.Tweedie(var_power=2.6, **options), ("Log",)),
    "Tweedie(1)": (lambda **options: F.Tweedie(var_power=1, **options), ("Log", "Identity")),
    "Tweedie(2)": (lambda **options: F.Tweedie(var_power=2, **options), ("Log",)),
}
PAIRS = [
    *((name, link) for name, (_, links) in FAMILIES.items() for link in links),
    *(("Binomial", link) for link in BINARY),
    ("NegativeBinomial", "NegativeBinomial(0.7)"),
    ("NegativeBinomial", "CLogLog"),
]
OTHERS = {"NegativeBinomial(0.7)": L.NegativeBinomial(0.7), "CLogLog": L.CLogLog()}


def _family(family, link):
    if family == "Binomial":
        return F.Binomial(link=BINARY[link], check_link=False)
    return FAMILIES[family][0](link={**OTHERS, **LINKS}[link], check_link=False)


def _data(family, link):
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(N), rng.uniform(-1, 1, N), rng.uniform(size=N)])
    mean = 0.4 + 0.2 * x[:, 1] + 0.1 * x[:, 2] if family == "Binomial" else 1 + 0.3 * x[:, 1] + 0.4 * x[:, 2]
    mean = mean / 5 if link == "CLogLog" and family != "Binomial" else mean
    gamma = rng.gamma(3.0, mean / 3.0)
    y = {
        "Gaussian": lambda: mean + 0.2 * rng.normal(size=N),
        "Poisson": lambda: rng.poisson(mean) * 1.0,
        "InverseGaussian": lambda: rng.wald(mean, 3.0),
        "NegativeBinomial": lambda: rng.poisson(gamma) * 1.0,
        "Tweedie(1.6)": lambda: gamma * (rng.uniform(size=N) < 0.8),
        "Binomial": lambda: (rng.uniform(size=N) < mean) * 1.0,
    }.get(family, lambda: gamma)()
    return y, x, rng


def _pair(y, x, family, scale=None, **options):
    """Our fit and theirs, which starts from ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = bh.GLM(y, x, family, **options).fit(scale=scale)
        theirs = sm.GLM(y, x, family, **options).fit(start_params=np.asarray(ours.params), tol=1e-15, scale=scale)
    return ours, theirs


NUMBERS = [
    "params",
    "bse",
    "pvalues",
    "scale",
    "llf",
    "llnull",
    "deviance",
    "null_deviance",
    "pearson_chi2",
    "aic",
    "bic_llf",
    "mu",
]
RESIDUALS = ["resid_response", "resid_pearson", "resid_deviance", "resid_anscombe", "resid_anscombe_unscaled"]


def _same(ours, theirs, names=NUMBERS, residuals=RESIDUALS, unlike=()):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (*names, *residuals):
            if name not in unlike:
                mine, its = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
                size = ROOTS if name in residuals else CLOSE
                np.testing.assert_allclose(mine, its, rtol=size, atol=1e-2 * size, err_msg=name)


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=map("-".join, PAIRS))
def test_numbers(family, link):
    y, x, rng = _data(family, link)
    made = _family(family, link)
    for options in ({}, {"var_weights": rng.uniform(0.5, 2.0, N), "offset": 0.02 * rng.uniform(size=N)}):
        ours, theirs = _pair(y, x, made, **options)
        _same(ours, theirs)
        np.testing.assert_allclose(ours.resid_working, theirs.resid_working, rtol=1e-8, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        robust = sm.GLM(y, x, made, **options).fit(start_params=theirs.params, tol=1e-15, cov_type="HC0")
        at = theirs.params * 1.01
        assert_close = np.testing.assert_allclose
        assert_close(bh.GLM(y, x, made, **options).fit("HC0", bread="observed").bse, robust.bse, rtol=CLOSE)
        if "2.6" not in family:
            model = sm.GLM(y, x, made, **options)
            assert_close(ours.model.loglike(at), theirs.model.loglike(at), rtol=CLOSE)
            assert_close(ours.model.score(at), model.score(at), rtol=1e-7)
            assert_close(ours.model.hessian(at), model.hessian(at), rtol=1e-7)


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=map("-".join, PAIRS))
def test_summaries(family, link):
    """Every byte but the solver's steps and the time, nonrobust and HC0 under the observed information."""
    y, x, _ = _data(family, link)
    made = _family(family, link)
    ours, theirs = _pair(y, x, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        robust = sm.GLM(y, x, made).fit(start_params=theirs.params, tol=1e-15, cov_type="HC0")
        ours_robust = bh.GLM(y, x, made).fit("HC0", bread="observed")
        texts = [[str(res.summary()) for res in pair] for pair in ((ours, theirs), (ours_robust, robust))]
    for mine, its in texts:
        for line, other in zip(mine.splitlines(), its.splitlines(), strict=True):
            if "Time:" in other:
                continue
            begin = 39 if "No. Iterations:" in other else 0
            assert line[begin:] == other[begin:]


@pytest.mark.parametrize("link", BINARY)
def test_successes_and_failures(link):
    _, x, rng = _data("Binomial", link)
    trials = rng.integers(0, 6, N)
    wins = rng.binomial(trials, 0.4 + 0.2 * x[:, 1] + 0.1 * x[:, 2])
    made = _family("Binomial", link)
    whole = np.column_stack([wins, trials - wins])[trials > 0]
    ours, theirs = _pair(whole, x[trials > 0], made)
    _same(ours, theirs)
    plain = bh.GLM(np.column_stack([wins, trials - wins]), x, made).fit()  # rows without trials say nothing
    np.testing.assert_allclose(plain.bse, ours.bse, rtol=1e-12)
    single = bh.GLM(
        np.repeat([1.0, 0.0], [wins.sum(), (trials - wins).sum()]),
        np.r_[np.repeat(x, wins, 0), np.repeat(x, trials - wins, 0)],
        made,
    ).fit()
    np.testing.assert_allclose(ours.params, single.params, rtol=1e-9)
    np.testing.assert_allclose(ours.bse, single.bse, rtol=1e-9)
    if link == "CLogLog":
        boot = ours.with_cov(bh.Bootstrap(999, kind="parametric", seed=3))
        np.testing.assert_allclose(boot.bse, ours.bse, rtol=0.1)  # 999 replicates have a standard error of 2.2%
    repeated, theirs = _pair(whole, x[trials > 0], made, freq_weights=1.0 + np.arange(len(whole)) % 3)
    _same(repeated, theirs, residuals=(), unlike=("bic_llf",))


def test_successes_and_failures_of_a_frame():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"wins": rng.integers(0, 5, 60), "losses": rng.integers(1, 5, 60), "x": rng.normal(size=60)})
    data.loc[3, "x"] = np.nan
    ours = bh.glm("wins + losses ~ x", data, family="binomial").fit()
    theirs = smf.glm("wins + losses ~ x", data, family=F.Binomial()).fit(tol=1e-15)
    _same(ours, theirs)
    assert ours.model.endog_names == str(theirs.model.endog_names)
    whole = data.dropna()
    framed = bh.GLM(whole[["wins", "losses"]], bh.add_constant(whole[["x"]]), "binomial").fit()
    np.testing.assert_allclose(framed.params, ours.params, rtol=1e-12)
    assert framed.model.endog_names == "['wins', 'losses']"
    file = io.BytesIO()
    framed.save(file)
    file.seek(0)
    again = bh.load(file)
    assert str(again.summary()) == str(framed.summary())
    np.testing.assert_array_equal(again.model.fit("HC3").bse, framed.with_cov("HC3").bse)


@pytest.mark.parametrize("link", ["Logit", "Probit", "CLogLog"])
def test_shares(link):
    """Papke and Wooldridge's fractional responses, with var_weights as numbers of trials."""
    _, x, rng = _data("Binomial", link)
    share, trials = np.clip(0.4 + 0.2 * x[:, 1] + 0.2 * rng.normal(size=N), 0.0, 1.0), rng.integers(1, 9, N) * 1.0
    for options in ({}, {"var_weights": trials}):
        _same(*_pair(share, x, _family("Binomial", link), **options))
    counts = np.column_stack([share * trials, (1 - share) * trials])
    weighted, counted = (
        bh.GLM(share, x, _family("Binomial", link), var_weights=trials),
        bh.GLM(counts, x, _family("Binomial", link)),
    )
    np.testing.assert_allclose(weighted.fit("HC3").bse, counted.fit("HC3").bse, rtol=1e-10)


@pytest.mark.parametrize("scale", ["X2", "dev", 2.5])
@pytest.mark.parametrize(
    "family",
    ["Gaussian", "Poisson", "Gamma", "InverseGaussian", "NegativeBinomial", "Tweedie(1.6)", "Tweedie(1)", "Binomial"],
)
def test_scales(family, scale):
    y, x, rng = _data(family, "Log")
    made = _family(family, "Identity" if family == "Gaussian" else "Logit" if family == "Binomial" else "Log")
    for options in ({}, {"var_weights": rng.uniform(0.5, 2.0, N)}):
        _same(*_pair(y, x, made, scale, **options))


def test_a_scale_of_counts_is_pearsons_statistic():
    """R's quasibinomial; statsmodels forgets the numbers of trials."""
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(60), rng.normal(size=60)])
    res = bh.GLM(rng.integers(1, 9, (60, 2)), x, "binomial").fit(scale="X2")
    np.testing.assert_allclose(res.scale, res.pearson_chi2 / res.df_resid, rtol=1e-12)
    plain = bh.GLM(res.model.endog, x, "binomial", var_weights=res.model.weights).fit()
    np.testing.assert_allclose(res.bse, plain.bse * res.scale**0.5, rtol=1e-10)
    assert bh.GLM([1.0, 0, 2, 3], [[1.0], [1], [1], [1]], "poisson").fit(scale=1.0).fit.objective.dispersion.drawn


def test_shared_objectives_have_the_same_bits():
    """Logit, Probit, Poisson and GLM: one loss each."""
    y, x, rng = _data("Binomial", "Logit")
    counts = rng.poisson(1.0, N) * 1.0
    for plain, family in (
        (bh.Logit(y, x), "binomial"),
        (bh.Probit(y, x), F.Binomial(L.Probit())),
        (bh.Poisson(counts, x), "poisson"),
    ):
        general = bh.GLM(plain.endog, x, family)
        for name in ("nonrobust", "HC0", "HC3"):
            mine, its = general.fit(name, bread="observed"), plain.fit(name)
            assert np.array_equal(mine.params, its.params)
            assert np.array_equal(mine.bse, its.bse)
            assert mine.llf == its.llf


@pytest.mark.parametrize(("family", "link"), [("Gaussian", "Log"), ("NegativeBinomial", "Log")])
def test_draws(family, link):
    """The parametric bootstrap is near the classical errors."""
    y, x, _ = _data(family, link)
    res = bh.GLM(y, x, _family(family, link)).fit()
    boot = res.with_cov(bh.Bootstrap(999, kind="parametric", seed=3))
    np.testing.assert_allclose(boot.bse, res.bse, rtol=0.35 if family == "NegativeBinomial" else 0.1)
