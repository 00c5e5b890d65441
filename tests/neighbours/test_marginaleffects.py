"""marginaleffects gives of our results what statsmodels says itself, and what it gives of the statsmodels fit.

Its derivatives with respect to the coefficients are forward differences, (f(b + h) - f(b)) / h with h = 1.5e-8 |b|, unless jax
knows them: eight digits of a mean, and of a slope, which is a difference of means over 1e-4 itself, four. `eps_vcov` sets h: at
1e-5 rounding and curvature are both of the order 1e-6 or less in these data.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

me = pytest.importorskip("marginaleffects")
pl = pytest.importorskip("polars")

# Of polars 1, which announces what polars 2 has not.
pytestmark = pytest.mark.filterwarnings("ignore:.*get_categories:DeprecationWarning")

MEANS = {"rtol": 1e-6, "atol": 1e-9}
SLOPES = {"rtol": 2e-5, "atol": 1e-8}
STEP = 1e-5
# marginaleffects 0.6.0 calls what polars 2 has not: `is_in` of floats in its own reading of statsmodels, and `cat.get_categories`.
before_polars_2 = pytest.mark.skipif(int(pl.__version__.split(".")[0]) > 1, reason="marginaleffects 0.6.0 and polars 2")


def test_predictions_are_those_of_statsmodels(both):
    theirs, ours = both("ols")
    expected = theirs.get_prediction().summary_frame()
    found = me.predictions(ours)
    columns = {"estimate": "mean", "std_error": "mean_se", "conf_low": "mean_ci_lower", "conf_high": "mean_ci_upper"}
    for column, name in columns.items():
        np.testing.assert_allclose(found[column], expected[name], **MEANS)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("kind", ["logit", "probit", "poisson"])
def test_slopes_are_the_marginal_effects_of_statsmodels(both, kind, cov_type):
    theirs, ours = both(kind, cov_type)
    for at, newdata in (("overall", None), ("mean", "mean")):
        expected, own = theirs.get_margeff(at=at), ours.get_margeff(at=at)
        found = me.avg_slopes(ours, newdata=newdata, eps_vcov=STEP)
        np.testing.assert_allclose(found["estimate"], expected.margeff, **SLOPES)
        np.testing.assert_allclose(found["std_error"], expected.margeff_se, **SLOPES)
        np.testing.assert_allclose(found["p_value"], own.pvalues, rtol=1e-3)
        np.testing.assert_allclose(found.select("conf_low", "conf_high"), own.conf_int(), atol=1e-5)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("kind", ["ols", "logit"])
def test_hypotheses_are_the_t_tests_of_statsmodels(both, kind, cov_type):
    theirs, ours = both(kind, cov_type)
    single = me.hypotheses(ours)
    np.testing.assert_allclose(single["p_value"], theirs.pvalues, rtol=1e-5)
    np.testing.assert_allclose(single.select("conf_low", "conf_high"), theirs.conf_int(), atol=1e-7)
    found, expected = me.hypotheses(ours, hypothesis="educ = 2 * Intercept"), theirs.t_test("educ = 2 * Intercept")
    np.testing.assert_allclose(found["std_error"], np.ravel(expected.sd), **MEANS)
    np.testing.assert_allclose(found["p_value"], np.ravel(expected.pvalue), rtol=1e-5)
    joint, test = me.hypotheses(ours, joint=True), theirs.f_test(np.eye(len(theirs.params)))
    assert joint["df2"][0] == test.df_denom
    np.testing.assert_allclose(joint["statistic"][0], test.fvalue, **MEANS)


@pytest.mark.parametrize("cov", ["HC3", bh.HC3(), bh.HAC(1)], ids=lambda cov: type(cov).__name__)
def test_another_covariance_brings_its_degrees_of_freedom(both, cov):
    ours = both("ols")[1]
    expected = ours.with_cov(cov)
    found = me.hypotheses(ours, vcov=cov)
    np.testing.assert_allclose(found["std_error"], expected.bse, **MEANS)
    np.testing.assert_allclose(found["p_value"], expected.pvalues, rtol=1e-5)
    t = me.hypotheses(ours.with_cov(cov, use_t=True))
    np.testing.assert_allclose(t["p_value"], ours.with_cov(cov, use_t=True).pvalues, rtol=1e-5)


def test_degrees_of_freedom_of_single_coefficients_are_refused(unusual):
    for call in (me.predictions, me.hypotheses, lambda res: me.hypotheses(res, joint=True)):
        with pytest.raises(bh.EstimationError, match=r"degrees of freedom for single coefficients only.*use_t=False"):
            call(unusual["CR2"])
    assert "std_error" not in me.predictions(unusual["CR2"], vcov=False).columns


@before_polars_2
@pytest.mark.parametrize("kind", ["ols", "logit", "probit", "poisson"])
@pytest.mark.parametrize(
    "call", ["predictions", "comparisons", "slopes", "avg_predictions", "avg_comparisons", "avg_slopes"]
)
def test_calls_are_those_on_the_statsmodels_fit(both, kind, call):
    theirs, ours = (
        getattr(me, call)(res, eps_vcov=STEP) if "avg_p" not in call else getattr(me, call)(res) for res in both(kind)
    )
    assert ours.columns == theirs.columns
    np.testing.assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-8, atol=1e-9)
    # Ours has exact derivatives by jax where theirs has differences, so the step shows.
    np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-4, atol=1e-7)


def test_text_is_compared_level_by_level(frame):
    res = bh.ols("wage ~ educ + C(job) + region", frame).fit()
    found = me.avg_comparisons(res).sort("term", "contrast")
    assert found["contrast"].to_list() == ["+1", "1 - 0", "2 - 0", "south - north", "west - north"]
    names = ["educ", *(name for name in res.names if name.startswith(("C(job)", "region")))]
    np.testing.assert_allclose(found["estimate"], res.params[names], **MEANS)
    np.testing.assert_allclose(found["std_error"], res.bse[names], **MEANS)
    at = me.predictions(res, newdata=me.datagrid(job=[2], region=["west"], educ=[0.5]))
    np.testing.assert_allclose(at["estimate"], res.predict({"job": 2, "region": "west", "educ": 0.5}), **MEANS)


@before_polars_2
def test_categories_keep_their_order(frame):
    frame = frame.assign(town=pd.Categorical(frame.region, ["west", "north", "south"]))
    res = bh.ols("wage ~ educ + C(job) + town", frame).fit()
    found = me.avg_comparisons(res, variables=["job", "town"])
    names = [name for name in res.names if name.startswith(("C(job)", "town"))]
    np.testing.assert_allclose(found["estimate"], res.params[names], **MEANS)
    np.testing.assert_allclose(found["std_error"], res.bse[names], **MEANS)
    assert found["contrast"].to_list() == ["1 - 0", "2 - 0", "north - west", "south - west"]
    by = me.avg_predictions(res, by="town")
    np.testing.assert_allclose(by["estimate"], res.fittedvalues.groupby(frame.town, observed=True).mean(), **MEANS)
    at = me.predictions(res, newdata=me.datagrid(job=[2], town=["west"], educ=[0.5]))
    np.testing.assert_allclose(at["estimate"], res.predict({"job": 2, "town": "west", "educ": 0.5}), **MEANS)


def test_formulas_go_through_their_own_transformations(frame):
    res = bh.ols("np.exp(wage) ~ educ * exper + I(exper**2) + C(job)", frame).fit(cov_type="HC1")
    np.testing.assert_allclose(me.predictions(res)["estimate"], res.fittedvalues, **MEANS)
    found = me.avg_slopes(res, variables="exper", eps_vcov=STEP)
    mean = frame.mean(numeric_only=True)
    expected = res.delta(lambda p: p["exper"] + 2 * mean.exper * p["I(exper ** 2)"] + mean.educ * p["educ:exper"])
    np.testing.assert_allclose(found["estimate"][0], expected.estimate, **SLOPES)
    np.testing.assert_allclose(found["std_error"][0], expected.bse, **SLOPES)
    assert me.slopes(res, variables="educ", newdata=frame.head(5)).shape[0] == 5


def test_only_rows_in_use_and_every_column(frame):
    """A missing value of a variable drops its row; one of a column that only `by` names does not."""
    half = pd.Categorical(np.where(frame.job > 0, "b", "a"))
    gaps = frame.assign(educ=frame.educ.where(frame.index != 3), half=half, group=1)
    res = bh.ols("wage ~ educ", gaps).fit()
    assert me.predictions(res).shape[0] == len(gaps) - 1
    halves = me.avg_predictions(res, by="half")
    np.testing.assert_allclose(halves["estimate"], res.fittedvalues.groupby(gaps.half, observed=True).mean(), **MEANS)


def test_containers_give_the_same(containers):
    tables = [me.avg_slopes(res, eps_vcov=STEP).select("estimate", "std_error", "conf_low") for res in containers]
    np.testing.assert_allclose(tables[0]["estimate"], containers[0].params[["x1", "x2"]], **MEANS)
    np.testing.assert_allclose(tables[0]["std_error"], containers[0].bse[["x1", "x2"]], **SLOPES)
    for other in tables[1:]:
        np.testing.assert_allclose(other, tables[0], rtol=1e-12)
    one = me.predictions(containers[2], newdata=pl.DataFrame({"x2": [2.0], "x1": [0.5]}))
    np.testing.assert_allclose(one["estimate"], containers[1].predict([[1.0, 0.5, 2.0]]), **MEANS)


def test_an_offset_belongs_to_the_data_of_the_fit(frame):
    hours = np.linspace(1.0, 3.0, len(frame))
    res = bh.poisson("kids ~ educ", frame, exposure=hours).fit()
    np.testing.assert_allclose(me.predictions(res)["estimate"], res.predict(), **MEANS)
    np.testing.assert_allclose(me.predictions(res, newdata=frame)["estimate"], res.predict(frame), **MEANS)
    margins = res.get_margeff()
    found = me.avg_slopes(res, eps_vcov=STEP)
    np.testing.assert_allclose(found["estimate"], margins.margeff, **SLOPES)
    np.testing.assert_allclose(found["std_error"], margins.margeff_se, **SLOPES)


def test_several_classes(unusual):
    res = unusual["mnlogit"]
    found = me.avg_slopes(res, eps_vcov=STEP)
    margins = res.get_margeff()
    assert found["group"].to_list() == ["0", "1", "2"]
    np.testing.assert_allclose(found["estimate"], np.ravel(margins.margeff), **SLOPES)
    np.testing.assert_allclose(found["std_error"], np.ravel(margins.margeff_se), **SLOPES)
    assert me.hypotheses(res)["term"].to_list() == list(res.names)


def test_a_module(frame):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh()).double()
    rng = np.random.default_rng(3)
    x = torch.tensor(rng.normal(size=(400, 2)))
    y = torch.tanh(x[:, :1] - 0.5 * x[:, 1:]) + 0.1 * torch.tensor(rng.normal(size=(400, 1)))
    res = bh.TorchModel(layers, torch.nn.MSELoss(), pd.DataFrame(x.numpy(), columns=["a", "b"]), y).fit()
    found, margins = me.avg_slopes(res, eps_vcov=STEP), res.get_margeff()
    assert found["term"].to_list() == ["a", "b"]
    np.testing.assert_allclose(found["estimate"], margins.margeff, **SLOPES)
    np.testing.assert_allclose(found["std_error"], margins.margeff_se, rtol=1e-3)


def test_a_loss_has_hypotheses_and_no_predictions(unusual):
    res = unusual["loss"]
    found = me.hypotheses(res)
    assert math.isclose(found["p_value"][0], float(res.pvalues), rel_tol=1e-5)
    with pytest.raises(bh.EstimationError, match=r"row loss shows no output"):
        me.predictions(res)


def test_plots_have_their_numbers(both):
    ours = both("logit")[1]
    found = me.plot_predictions(ours, condition={"educ": [-1.0, 1.0]}, draw=False)
    np.testing.assert_allclose(found["estimate"], ours.predict({"educ": [-1.0, 1.0]}), **MEANS)


def test_columns_left_out(frame):
    with pytest.warns(bh.CollinearityWarning):
        res = bh.ols("wage ~ educ + I(2 * educ) + exper", frame).fit(rank="drop")
    np.testing.assert_allclose(me.predictions(res)["estimate"], res.fittedvalues, **MEANS)
    assert me.hypotheses(res)["term"].to_list() == ["Intercept", "educ", "exper"]


@pytest.mark.parametrize("text", ["wage ~ educ * np.log(hours)", "wage ~ educ + I(educ**2) + C(job)"])
def test_results_from_a_file_are_those_that_were_saved(text, frame, tmp_path):
    """A slope goes through all columns that the variable makes."""
    frame = frame.assign(hours=np.exp(frame.educ) + 1.0)
    res = bh.ols(text, frame).fit("HC1")
    loaded = bh.load(res.save(tmp_path / "r"))
    for call in (lambda res: me.avg_slopes(res, variables="educ"), me.predictions):
        for column in ("estimate", "std_error"):
            np.testing.assert_array_equal(call(loaded)[column], call(res)[column])
    with pytest.raises(bh.DataError, match="without their data"):
        me.predictions(bh.load(res.save(tmp_path / "r", remove_data=True)))
