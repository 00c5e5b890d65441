"""Models of one index with absorbed effects are those with the dummies written out, under every covariance."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import betahat as bh
from betahat.errors import BetahatWarning, EstimationError, OptionError
from betahat.fits import absorbed_index

# Both are at their optimum to a few units of rounding, which leave 1e-12 of a standard error.
DIGITS = 1e-9
CASES = sorted((Path(__file__).parents[1] / "golden" / "separation").glob("*.csv"))
FAMILIES = {
    "gamma": sm.families.Gamma(sm.families.links.Log()),
    "cloglog": sm.families.Binomial(sm.families.links.CLogLog()),
    "negative binomial": sm.families.NegativeBinomial(alpha=0.7),
    "gaussian": sm.families.Gaussian(),
}


def _data(n=300):
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "firm": rng.permutation(np.arange(n) % 9),
            "year": rng.permutation(np.arange(n) % 5),
            "x1": rng.normal(size=n),
            "x2": rng.normal(size=n),
            "w": rng.uniform(0.5, 2.0, n),
            "k": rng.integers(1, 4, n),
        }
    )
    index = 0.3 * data["x1"] - 0.2 * data["x2"] + 0.1 * data["firm"] - 0.1 * data["year"]
    data["count"] = rng.poisson(np.exp(index))
    data["yes"] = (index - 0.2 + rng.logistic(size=n) > 0) * 1
    data["size"] = rng.gamma(2.0, np.exp(index) / 2.0)
    return data


DATA = _data()
FIRM, YEAR = DATA["firm"], DATA["year"]
COVARIANCES = [
    "nonrobust",
    "HC0",
    "HC1",
    "HC2",
    "HC3",
    bh.Cluster(FIRM, kind="CR1"),
    bh.Cluster(YEAR, kind="CR2"),
    bh.Cluster(YEAR, kind="CR3"),
    bh.HAC(2),
]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "firm has|year has|.*number of clusters|.*clusters", BetahatWarning)
        yield


def _pair(name):
    both = ("x1 + x2 | firm + year", "x1 + x2 + C(firm) + C(year)")
    if name == "poisson":
        return [bh.poisson(f"count ~ {right}", DATA, exposure="w").fit() for right in both]
    if name == "logit":
        return [bh.logit(f"yes ~ {right}", DATA, freq_weights="k").fit() for right in both]
    if name == "probit":
        return [bh.probit(f"yes ~ {right}", DATA, weights="w").fit() for right in both]
    if name == "probit, expected":
        return [bh.probit(f"yes ~ {right}", DATA, weights="w").fit(bread="expected") for right in both]
    if name == "gamma, observed":
        return [bh.glm(f"size ~ {right}", DATA, FAMILIES["gamma"], offset="w").fit(bread="observed") for right in both]
    left = {"cloglog": "yes", "negative binomial": "count"}.get(name, "size")
    return [bh.glm(f"{left} ~ {right}", DATA, FAMILIES[name], var_weights="w").fit() for right in both]


@pytest.mark.parametrize(
    "name", ["poisson", "logit", "probit", "probit, expected", "gamma, observed", *FAMILIES], ids=str
)
def test_the_fit_is_that_of_the_dummies(name):
    absorbed, full = _pair(name)
    own = list(absorbed.params.index)
    np.testing.assert_allclose(absorbed.params, full.params[own], rtol=DIGITS)
    for cov in COVARIANCES:
        if name == "logit" and isinstance(cov, bh.HAC):
            continue
        np.testing.assert_allclose(
            absorbed.with_cov(cov).cov_params(),
            full.with_cov(cov).cov_params().loc[own, own],
            rtol=DIGITS,
            atol=1e-14,
            err_msg=str(cov),
        )
    for what in ("llf", "llnull", "aic", "bic", "deviance", "null_deviance", "prsquared", "llr", "df_resid"):
        np.testing.assert_allclose(getattr(absorbed, what), getattr(full, what), rtol=DIGITS, err_msg=what)
    assert absorbed.df_model == 2.0
    np.testing.assert_allclose(absorbed.llr_pvalue, full.llr_pvalue, rtol=1e-6)
    for which in ("mean", "linear", "var"):
        np.testing.assert_allclose(absorbed.predict(which=which), full.predict(which=which), rtol=DIGITS)
    for what in ("fittedvalues", "resid_response", "resid_pearson"):
        np.testing.assert_allclose(getattr(absorbed, what), getattr(full, what), rtol=DIGITS, atol=1e-12)
    np.testing.assert_allclose(
        absorbed.get_influence().d_params, full.get_influence().d_params[own], rtol=1e-8, atol=1e-12
    )
    assert absorbed.fit.diagnostics.converged
    assert absorbed.fit.absorbed.orthogonality <= 1e-10


def test_new_rows_have_the_effects_of_their_levels():
    absorbed, full = _pair("poisson")
    new = DATA.iloc[[5, 0, 17]]
    for which in ("mean", "linear"):
        ours = absorbed.predict(new, which=which, exposure="w")
        np.testing.assert_allclose(ours, full.predict(new, which=which, exposure="w"), rtol=DIGITS)
    found = absorbed.fixed_effects()
    own = full.params.filter(like="C(firm)").to_numpy()
    np.testing.assert_allclose(found["firm"].iloc[1:] - found["firm"].iloc[0], own, rtol=1e-8)
    assert found["year"].iloc[0] == 0.0


def test_results_are_kept_without_the_rows(tmp_path):
    warnings.filterwarnings("ignore", "34 rows were left out")
    found = bh.logit(
        "yes ~ x1 | firm", DATA[DATA["firm"] > 0].assign(yes=lambda d: d["yes"].where(d["firm"] > 1, 0))
    ).fit("HC1")
    found.save(tmp_path / "a.betahat")
    again = bh.load(tmp_path / "a.betahat")
    assert str(again.summary()) == str(found.summary())
    assert "7 coefficients of firm absorbed" in str(found.summary())
    assert "34 rows left out that separate the data" in str(found.summary())


def test_slopes_of_levels_are_absorbed():
    absorbed = bh.poisson("count ~ x1 | firm[x2] + year", DATA).fit("HC1")
    full = bh.poisson("count ~ x1 + C(firm) + C(firm):x2 + C(year)", DATA).fit("HC1")
    np.testing.assert_allclose(absorbed.params["x1"], full.params["x1"], rtol=DIGITS)
    np.testing.assert_allclose(absorbed.bse["x1"], full.bse["x1"], rtol=DIGITS)


def test_effects_may_be_all_there_is():
    absorbed, full = (
        bh.poisson("count ~ 1 | firm + year", DATA).fit(),
        bh.poisson("count ~ C(firm) + C(year)", DATA).fit(),
    )
    assert len(absorbed.params) == 0
    for model in (bh.poisson("count ~ 1 | firm", DATA), bh.ols("size ~ 1 | firm", DATA)):
        for cov in ("HC1", bh.Cluster("year"), bh.Bootstrap(reps=5, seed=0)):
            assert model.fit(cov).cov_params().shape == (0, 0)
            assert "firm effects:" in str(model.fit(cov).summary())
    np.testing.assert_allclose([absorbed.llf, absorbed.aic], [full.llf, full.aic], rtol=DIGITS)


def test_vectors_and_names_are_the_same_effects():
    formula = bh.poisson("count ~ x1 | firm + year", DATA).fit()
    vectors = bh.Poisson(DATA["count"], DATA[["x1"]], absorb=[FIRM, YEAR]).fit()
    np.testing.assert_allclose(vectors.params, formula.params, rtol=1e-12)
    glm = bh.GLM(DATA["count"], DATA[["x1"]], "poisson", absorb=[FIRM.to_numpy(), YEAR.to_numpy()]).fit()
    np.testing.assert_allclose(glm.params, formula.params, rtol=1e-12)


def test_a_frequency_weight_is_repeated_rows():
    rows = DATA.loc[DATA.index.repeat(DATA["k"])].reset_index(drop=True)
    weighted = bh.logit("yes ~ x1 + x2 | firm", DATA, freq_weights="k").fit("HC2")
    repeated = bh.logit("yes ~ x1 + x2 | firm", rows).fit("HC2")
    np.testing.assert_allclose(weighted.bse, repeated.bse, rtol=DIGITS)
    assert weighted.nobs == repeated.nobs


def test_replicates_are_refitted_with_their_effects():
    absorbed = bh.poisson("count ~ x1 + x2 | firm", DATA).fit()
    full = bh.poisson("count ~ x1 + x2 + C(firm)", DATA).fit()
    own = list(absorbed.params.index)
    for cov in (bh.Jackknife(YEAR, refit=True), bh.Bootstrap(reps=12, seed=1)):
        np.testing.assert_allclose(
            absorbed.with_cov(cov).cov_params(), full.with_cov(cov).cov_params().loc[own, own], rtol=1e-6
        )


@pytest.mark.parametrize("kind", ["residual", "parametric", "bayesian"])
def test_bootstraps_of_logit_refit_their_effects(kind):
    absorbed = bh.logit("yes ~ x1 + x2 | firm", DATA).fit()
    full = bh.logit("yes ~ x1 + x2 + C(firm)", DATA).fit()
    own = list(absorbed.params.index)
    cov = bh.Bootstrap(reps=6, kind=kind, seed=2)
    np.testing.assert_allclose(
        absorbed.with_cov(cov).cov_params(), full.with_cov(cov).cov_params().loc[own, own], rtol=1e-6
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_separated_rows_are_left_out_and_the_rest_is_estimated(path):
    data = pd.read_csv(path)
    effects, columns = (list(data.filter(regex=f"^{letters}")) for letters in ("id", "x"))
    if not effects:
        effects, data = ["one"], data.assign(one=0)
    formula = f"y ~ {' + '.join(columns) or '1'} | {' + '.join(effects)}"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = bh.poisson(formula, data).fit()
    kept = data[data["separated"] == 0]
    while True:  # rows that are alone in a level tell nothing of the others
        often = np.minimum.reduce([kept.groupby(name)[name].transform("size") for name in effects])
        if (often > 1).all():
            break
        kept = kept[often > 1]
    assert list(found.model.endog.index) == list(kept.index)
    left_out = len(data) - len(kept)
    assert sum(int(str(w.message).split()[0]) for w in said if " row" in str(w.message)) == left_out
    dummies = pd.get_dummies(kept[effects].astype(str), dtype=float)
    columns_of_all = pd.concat([kept[columns], dummies], axis=1).to_numpy(float)
    mean = found.predict().to_numpy()
    np.testing.assert_allclose(columns_of_all.T @ (kept["y"] - mean), 0.0, atol=1e-8 * np.abs(columns_of_all).sum())
    index = np.linalg.lstsq(columns_of_all, np.log(mean), rcond=1e-12)[0]
    np.testing.assert_allclose(columns_of_all @ index, np.log(mean), atol=1e-8)


def test_levels_of_one_answer_are_left_out():
    data = DATA.assign(yes=DATA["yes"].where(DATA["firm"] != 3, 1).where(DATA["firm"] != 4, 0))
    with pytest.warns(
        BetahatWarning, match=r"66 rows were left out.* 66 in levels of 'firm', 'year' with 0, or 1, in every row"
    ):
        found = bh.logit("yes ~ x1 | firm + year", data).fit()
    rest = bh.logit("yes ~ x1 | firm + year", data[~data["firm"].isin([3, 4])]).fit()
    np.testing.assert_allclose(found.params, rest.params, rtol=1e-12)
    assert found.nobs == rest.nobs


def test_two_effects_separate_a_yes_from_a_no_together():
    first, second = [0] * 5 + [1] * 5, [0] * 3 + [1] * 2 + [1] * 3 + [0] * 2
    data = pd.DataFrame({"a": first * 3, "b": second * 3, "yes": [0, 1, 0, 0, 0, 1, 0, 0, 1, 1] * 3})
    data["x"] = np.random.default_rng(0).normal(size=30)
    data.loc[(data["a"] == 1) & (data["b"] == 1), "yes"] = [1, 0, 1] * 3
    warnings.filterwarnings("ignore", "a has")
    with pytest.warns(BetahatWarning, match="separated by effects together"):
        found = bh.logit("yes ~ x | a + b", data).fit()
    assert found.nobs < 30


def test_regressors_that_separate_a_yes_from_a_no_are_named():
    data = DATA.assign(bad=DATA["yes"] * (DATA["w"] > 1.0))
    with pytest.raises(
        EstimationError, match=r"falls forever along 'bad' beside the absorbed effects.* predicted perfectly"
    ):
        bh.logit("yes ~ x1 + bad | firm", data).fit()


def test_a_few_rows_per_level_are_warned_of():
    data = DATA.assign(small=np.arange(300) // 3)
    warnings.filterwarnings("ignore", ".*left out")
    with pytest.warns(BetahatWarning, match="small has 3 rows per level, and coefficients are biased"):
        bh.logit("yes ~ x1 | small", data).fit()


def test_what_cannot_be_done_is_said(monkeypatch):
    model = bh.poisson("count ~ x1 | firm", DATA)
    with pytest.raises(OptionError, match="start_params are values of the regressors' coefficients alone"):
        model.fit(start_params=[0.0])
    with pytest.raises(EstimationError, match="at parameters of one's own needs the absorbed effects"):
        model.loglike([0.0])
    with pytest.raises(EstimationError, match="Standard errors of predictions need the variances of absorbed effects"):
        model.fit().get_prediction()
    with pytest.raises(EstimationError, match="Marginal effects on the mean need the variances of absorbed effects"):
        model.fit().get_margeff()
    with pytest.raises(EstimationError, match="at a bound of its range in every row of each level of 'firm'"):
        bh.logit("yes ~ x1 | firm", DATA.assign(yes=DATA["firm"] % 2)).fit()
    monkeypatch.setattr(absorbed_index, "_ITERATIONS", 1)
    with pytest.raises(EstimationError, match="The solver stopped after 1 step at a distance of"):
        model.fit()


def test_rows_that_curve_downward_ask_for_fishers_information():
    family = sm.families.Gaussian(sm.families.links.Log())
    model = bh.glm("size ~ x1 + x2 | firm", DATA, family)
    full = bh.glm("size ~ x1 + x2 + C(firm)", DATA, family).fit("HC1")
    np.testing.assert_allclose(model.fit("HC1").bse, full.bse[["x1", "x2"]], rtol=1e-8)
    with pytest.raises(EstimationError, match=r"a loss that curves downward at the optimum.* pass bread='expected'"):
        model.fit(bread="observed")


def test_units_of_counts_do_not_matter():
    wanted = bh.poisson("count ~ x1 | firm + year", DATA).fit("HC1")
    for unit in (1e-8, 1e8):
        found = bh.poisson("count ~ x1 | firm + year", DATA.assign(count=unit * DATA["count"])).fit("HC1")
        np.testing.assert_allclose([found.params, found.bse], [wanted.params, wanted.bse], rtol=1e-8)


def test_numbers_that_overflow_are_said():
    with pytest.raises(EstimationError, match="The loss is not finite near the mean"):
        bh.poisson("count ~ x1 | firm", DATA.assign(count=DATA["count"] * 1e306)).fit()


def test_a_refit_that_loses_a_coefficient_is_said():
    data = DATA.assign(x3=(DATA["year"] == 2) * DATA["w"])
    found = bh.poisson("count ~ x1 + x3 | firm + year", data).fit()
    with pytest.raises(EstimationError, match="There is no estimate without the rows labelled") as caught:
        found.with_cov(bh.Jackknife("year", refit=True))
    assert "leave a coefficient without an estimate" in str(caught.value.__cause__)
