"""Tables and figures take results of other packages as columns: every number is theirs."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.tables.foreign import estimates_of

smf = pytest.importorskip("statsmodels.formula.api")

# A number that two calls compute alike differs by rounding alone.
ROUNDING = 1e-12


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(4)
    n = 240
    data = pd.DataFrame(
        {
            "x": random.normal(size=n),
            "z": random.integers(0, 2, size=n),
            "firm": np.repeat(np.arange(24), 10),
            "year": np.tile(np.arange(10), 24),
        }
    )
    data["y"] = 0.5 * data.x + 0.2 * data.z + random.normal(size=n)
    data["work"] = (data.y > 0).astype(int)
    data["count"] = random.poisson(np.exp(0.3 * data.x))
    data["choice"] = random.integers(0, 3, size=n)
    return data


def column(table, place=0):
    """Return the numbers of one column, without those of other columns."""
    return table.to_frame().iloc[:, place].dropna()


def shown(table):
    return {line.name: [cell.text for cell in line.cells] for line in table.layout.foot}


@pytest.fixture(scope="module")
def of_statsmodels(frame):
    miscmodels = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    api = pytest.importorskip("statsmodels.api")
    quiet = {"disp": False}
    clusters = {"cov_type": "cluster", "cov_kwds": {"groups": frame.firm}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "ols": smf.ols("y ~ x + z", frame).fit(cov_type="HC3"),
            "clusters": smf.ols("y ~ x", frame).fit(**clusters, use_t=True),
            "two ways": smf.ols("y ~ x", frame).fit(
                cov_type="cluster", cov_kwds={"groups": frame[["firm", "year"]].to_numpy()}
            ),
            "arrays": api.OLS(frame.y.to_numpy(), api.add_constant(frame.x.to_numpy())).fit(),
            "logit": smf.logit("work ~ x", frame).fit(**quiet),
            "glm": smf.glm("work ~ x", frame, family=api.families.Binomial()).fit(),
            "nb": smf.negativebinomial("count ~ x", frame).fit(**quiet),
            "ordered": miscmodels.OrderedModel(frame.choice, frame[["x"]], distr="logit").fit(method="bfgs", **quiet),
            "mixed": smf.mixedlm("y ~ x", frame, groups=frame.firm).fit(),
            "hazards": api.PHReg(np.exp(frame.y), frame[["x"]]).fit(),
            "robust": smf.rlm("y ~ x", frame).fit(),
            "quantile": smf.quantreg("y ~ x", frame).fit(),
            "gee": smf.gee("y ~ x", "firm", frame).fit(),
            "margins": smf.logit("work ~ x", frame).fit(**quiet).get_margeff(),
            "mnlogit": smf.mnlogit("choice ~ x", frame).fit(**quiet),
            "mnlogit of arrays": api.MNLogit(frame.choice.to_numpy(), api.add_constant(frame.x.to_numpy())).fit(
                **quiet
            ),
            "margins of classes": smf.mnlogit("choice ~ x", frame).fit(**quiet).get_margeff(),
        }


VECTORS = [
    "ols",
    "clusters",
    "arrays",
    "logit",
    "glm",
    "nb",
    "ordered",
    "mixed",
    "hazards",
    "robust",
    "quantile",
    "gee",
]


@pytest.mark.parametrize("kind", VECTORS)
def test_columns_of_statsmodels_have_its_numbers(of_statsmodels, kind):
    result = of_statsmodels[kind]
    table = bh.regtable(result, below=["se", "t", "p", "ci"], alpha=0.1)
    own = np.column_stack([result.params, result.bse, result.tvalues, result.pvalues, result.conf_int(alpha=0.1)])
    np.testing.assert_array_equal(column(table), np.asarray(own, dtype=float).ravel()[np.isfinite(own.ravel())])
    names = list(dict.fromkeys(name for name, _ in table.to_frame().index))
    if isinstance(result.params, pd.Series):
        assert names == list(result.params.index)


def test_what_stands_below_columns_of_statsmodels(of_statsmodels):
    table = bh.regtable([of_statsmodels[name] for name in ("ols", "clusters", "two ways", "logit", "glm", "hazards")])
    foot = shown(table)
    assert foot["Std. errors"][:4] == ["HC3", "cluster", "cluster", "nonrobust"]
    assert foot["Clusters"] == ["", "firm (24)", "24, 10", "", "", ""]
    assert foot["N"] == ["240"] * 6
    assert foot["R²"][0] == f"{of_statsmodels['ols'].rsquared:.4f}"
    assert foot["Pseudo R²"][3] == f"{of_statsmodels['logit'].prsquared:.4f}"
    assert foot["Pseudo R² (CS)"][4] == f"{of_statsmodels['glm'].pseudo_rsquared():.4f}"
    assert foot["Log-Likelihood"][5] == f"{of_statsmodels['hazards'].llf:.3f}"
    assert [cell.text for cell in table.layout.heads[0]] == ["y", "work", "y"]
    assert "Log-Likelihood" not in shown(bh.regtable(of_statsmodels["robust"]))
    beside = shown(bh.regtable([of_statsmodels["ols"], of_statsmodels["robust"]], stats=["aic", "llf"]))
    assert beside["Log-Likelihood"][1] == ""


def test_equations_and_margins_of_statsmodels(of_statsmodels):
    table = bh.regtable([of_statsmodels["mnlogit"]])
    assert [block.title for block in table.layout.body] == ["choice=1", "choice=2"]
    assert column(table)["choice=2:x", "coef"] == of_statsmodels["mnlogit"].params.loc["x", 1]
    assert column(table)["choice=2:x", "std err"] == of_statsmodels["mnlogit"].bse.loc["x", 1]
    arrays, own = of_statsmodels["mnlogit of arrays"], bh.regtable(of_statsmodels["mnlogit of arrays"], below="ci")
    np.testing.assert_array_equal(column(own)["y=2:x1"], [arrays.params[1, 1], *arrays.conf_int()[1, 1]])
    margins = of_statsmodels["margins"]
    table = bh.regtable([margins, of_statsmodels["margins of classes"]], below=["se", "t", "p", "ci"], alpha=0.2)
    np.testing.assert_array_equal(column(table), margins.summary_frame(alpha=0.2).to_numpy().ravel())
    assert shown(table)["N"] == ["240", "240"]
    assert len(table.layout.body) == 4


def test_ratios_leave_what_is_no_coefficient(of_statsmodels):
    table = bh.regtable([of_statsmodels[name] for name in ("nb", "ordered", "mixed")], exponentiate=True, below=None)
    frame = table.to_frame().droplevel("statistic")
    assert frame.loc["alpha", "(1)"] == of_statsmodels["nb"].params["alpha"]
    assert frame.loc["x", "(1)"] == np.exp(of_statsmodels["nb"].params["x"])
    assert frame.loc["0/1", "(2)"] == of_statsmodels["ordered"].params["0/1"]
    assert frame.loc["Group Var", "(3)"] == of_statsmodels["mixed"].params["Group Var"]
    assert "except for alpha, 0/1, 1/2 and Group Var." in table.layout.notes[0]


def test_the_distribution_may_be_changed_and_the_covariance_not(of_statsmodels, frame):
    robust = of_statsmodels["ols"]
    own = smf.ols("y ~ x + z", frame).fit(cov_type="HC3", use_t=True)
    table = bh.regtable(robust, use_t=True, below=["p", "ci"], alpha=0.1)
    expected = np.column_stack([own.params, own.pvalues, own.conf_int(alpha=0.1)]).ravel()
    np.testing.assert_allclose(column(table), expected, rtol=ROUNDING)
    assert column(bh.regtable(robust, use_t=False)).equals(column(bh.regtable(robust)))
    ours = bh.ols("y ~ x", frame).fit()
    mixed = bh.regtable([ours, robust], cov=["HC1", None])
    assert shown(mixed)["Std. errors"] == ["HC1", "HC3"]
    for call in (lambda: bh.regtable([ours, robust], cov="HC1"), lambda: bh.coefplot(robust, cov="HC1")):
        with pytest.raises(bh.OptionError, match=r"cov is 'HC1' for results of statsmodels, .* use None for them"):
            call()
    with pytest.raises(bh.OptionError, match="compare needs results, as returned by"):
        bh.compare(robust, ["HC1", "HC3"])
    with pytest.raises(bh.OptionError, match="these results of get_margeff have no degrees of freedom; omit use_t"):
        bh.regtable(bh.logit("work ~ x", frame).fit().get_margeff(), use_t=True)


def test_columns_stand_beside_ours_and_in_figures(of_statsmodels, frame):
    pytest.importorskip("matplotlib").use("agg")
    ours = bh.ols("y ~ x + z", frame).fit("HC3")
    table = bh.regtable({"ours": ours, "theirs": of_statsmodels["ols"]})
    np.testing.assert_allclose(table.to_frame()["(1)"], table.to_frame()["(2)"], rtol=1e-10)
    ax = bh.coefplot({"ours": ours, "theirs": of_statsmodels["ols"]})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ours", "theirs"]
    with pytest.raises(
        bh.OptionError, match="method is 'bca', but results of statsmodels have only their own intervals"
    ):
        bh.coefplot(of_statsmodels["ols"], method="bca")
    with pytest.raises(bh.OptionError, match="plot_quantiles draws the results of QuantReg"):
        bh.plot_quantiles(of_statsmodels["quantile"])


def test_our_marginal_effects_are_columns(frame):
    work = bh.logit("work ~ x + z", frame).fit(bh.Cluster("firm"))
    effects = work.get_margeff()
    table = bh.regtable([work, effects], below=["se", "t", "p", "ci"])
    np.testing.assert_array_equal(column(table, 1), effects.summary_frame().to_numpy().ravel())
    assert shown(table)["Std. errors"] == ["cluster", "cluster"]
    assert shown(table)["Clusters"] == ["firm (24)", "firm (24)"]
    assert shown(table)["N"] == ["240", "240"]
    classes = bh.mnlogit("choice ~ x", frame).fit().get_margeff()
    assert [block.title for block in bh.regtable(classes).layout.body] == list(classes.outcomes)
    counted = bh.poisson("count ~ x", frame.assign(w=2), freq_weights="w").fit().get_margeff()
    assert shown(bh.regtable(counted))["N"] == ["480"]


def test_columns_of_linearmodels_have_its_numbers(frame):
    linearmodels = pytest.importorskip("linearmodels")
    from linearmodels.iv import AbsorbingLS
    from linearmodels.system import SUR

    panel = frame.set_index(["firm", "year"])
    entity = linearmodels.PanelOLS(panel.y, panel[["x"]], entity_effects=True, time_effects=True).fit(
        cov_type="clustered", cluster_entity=True
    )
    other = linearmodels.PanelOLS(panel.y, panel[["x"]], other_effects=panel[["z"]]).fit()
    iv = linearmodels.IV2SLS.from_formula("y ~ 1 + [x ~ z]", frame).fit(cov_type="clustered", clusters=frame.firm)
    absorbed = AbsorbingLS(frame.y, frame[["x"]], absorb=frame[["firm"]].astype("category")).fit()
    equations = {name: {"dependent": frame[name], "exog": frame[["x"]]} for name in ("y", "count")}
    system = SUR(equations).fit()
    table = bh.regtable([entity, other, iv, absorbed, system], below=["se", "t", "p", "ci"], alpha=0.1)
    results = [entity, other, iv, absorbed, *system.equations.values()]
    for place, result in enumerate(results):
        own = np.column_stack([result.params, result.std_errors, result.tstats, result.pvalues, result.conf_int(0.9)])
        np.testing.assert_array_equal(np.sort(column(table, place)), np.sort(own.ravel()))
    foot = shown(table)
    assert foot["Std. errors"] == ["clustered", "unadjusted", "clustered", "robust", "robust", "robust"]
    assert foot["Clusters"] == ["", "", "24", "", "", ""]
    assert foot["N"] == ["240"] * 6
    assert [foot[f"{name} effects"][:4] for name in ("firm", "year", "z")] == [
        *(["yes", "", "", "yes"], ["yes", "", "", ""], ["", "yes", "", ""]),
    ]
    assert [cell.text for cell in table.layout.heads[0]] == ["y", "count"]
    assert shown(bh.regtable(entity, stats=["llf"]))["Log-Likelihood"] == [f"{entity.loglik:.3f}"]
    tested = bh.regtable(entity, use_t=False, below="ci").to_frame()["(1)"]
    reach = 1.959963984540054 * entity.std_errors["x"]
    np.testing.assert_allclose(tested[1:], [entity.params["x"] - reach, entity.params["x"] + reach], rtol=ROUNDING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # pyfixest's own
def test_columns_of_pyfixest_have_its_numbers(frame):
    pyfixest = pytest.importorskip("pyfixest")
    clustered = pyfixest.feols("y ~ x | firm + year", frame, vcov={"CRV1": "firm"})
    two = pyfixest.feols("y ~ x", frame, vcov={"CRV1": "firm + year"})
    counts = pyfixest.fepois("count ~ x", frame, vcov="hetero")
    several = pyfixest.feols("y + work ~ x", frame)
    table = bh.regtable({"a": clustered, "b": two, "c": counts, "d": several}, below=["se", "t", "p", "ci"], alpha=0.1)
    for place, model in enumerate([clustered, two, counts, *several.all_fitted_models.values()]):
        np.testing.assert_array_equal(np.sort(column(table, place)), np.sort(model.tidy(alpha=0.1).to_numpy().ravel()))
    foot = shown(table)
    assert foot["Std. errors"] == ["CRV1", "CRV1", "hetero", "iid", "iid"]
    assert foot["Clusters"] == ["firm (24)", "firm (24), year (10)", "", "", ""]
    assert foot["firm effects"] == foot["year effects"] == ["yes", "", "", "", ""]
    assert foot["N"] == ["240"] * 5
    assert foot["R²"][0] == f"{clustered._r2:.4f}"
    assert [(cell.text, cell.span) for cell in table.layout.heads[1]] == [("a", 1), ("b", 1), ("c", 1), ("d", 2)]
    ratio = bh.regtable(counts, exponentiate=True, below="ci", keep="x").to_frame()["(1)"].to_numpy()
    own = counts.tidy().loc["x"]
    np.testing.assert_array_equal(ratio, np.exp([own["Estimate"], own["2.5%"], own["97.5%"]]))
    assert shown(bh.regtable(pyfixest.quantreg("y ~ x", frame)))["Std. errors"] == ["nid"]


def test_columns_of_marginaleffects_have_its_numbers(frame):
    effects = pytest.importorskip("marginaleffects")
    frame = frame.assign(x=(2 * frame.x).round().astype(int))  # with polars 2, marginaleffects takes no fractions
    work = smf.logit("work ~ x", frame).fit(disp=False)
    slopes = effects.avg_slopes(work)
    table = bh.regtable(slopes, below=["se", "t", "p", "ci"])
    names = ["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]
    np.testing.assert_array_equal(column(table), slopes.data.select(names).to_numpy().ravel())
    assert table.to_frame().index[0][0] == "x"
    assert shown(table)["N"] == [""]
    by = bh.regtable(effects.avg_predictions(work, by="work"), below=None)
    assert [name for name, _ in by.to_frame().index] == ["work=0", "work=1"]
    classes = bh.regtable(effects.avg_slopes(smf.mnlogit("choice ~ x", frame).fit(disp=False)), below=None)
    assert [(block.title, block.lines[0].name) for block in classes.layout.body] == [(c, "x") for c in "012"]
    rows = bh.regtable(effects.predictions(work, newdata=frame.head(2)), below=None, keep="Row 1")
    assert [name for name, _ in rows.to_frame().index] == ["Row 1"]
    assert bh.regtable(effects.avg_predictions(work), below=None).to_frame().index[0][0] == "Prediction"


def test_intervals_of_marginaleffects_at_another_level():
    """By the normal distribution they follow from the standard errors; by another they are not known."""
    polars = pytest.importorskip("polars")
    module = pytest.importorskip("marginaleffects.classes.result")

    def made(reach):
        numbers = {"estimate": 1.0, "std_error": 0.5, "statistic": 2.0, "p_value": 0.05}
        numbers |= {"conf_low": 1.0 - reach * 0.5, "conf_high": 1.0 + reach * 0.5}
        rows = [{"term": "x", "contrast": name, **numbers} for name in ("b - a", "c - a")]
        return module.MarginaleffectsResult(polars.DataFrame(rows), conf_level=0.95)

    table = bh.regtable(made(1.959963984540054), below="ci", alpha=0.1)
    low = 1.0 - 0.5 * 1.6448536269514722
    np.testing.assert_allclose(column(table)["x: b - a"].to_numpy(), [1.0, low, 2.0 - low], rtol=ROUNDING)
    assert bh.regtable(made(2.2), below="ci").layout.notes == ("95% confidence intervals in brackets.",)
    with pytest.raises(bh.OptionError, match=r"alpha is 0.1, but .* for 0.05 alone, .* conf_level=0.9\."):
        bh.regtable(made(2.2), below="ci", alpha=0.1)


def test_what_cannot_be_read_is_a_sentence():
    class Strange:
        pass

    @estimates_of.register
    def _(result: Strange):
        return result.params

    with pytest.raises(
        bh.OptionError, match=r"regtable cannot read a Strange of .* \(AttributeError: .*params'\); leave"
    ):
        bh.regtable([Strange()])
    with pytest.raises(bh.OptionError, match="regtable needs results"):
        bh.regtable([SimpleNamespace(params=[1.0])])
