"""What results of absorbed effects say is what those of the dummies say: goodness, tests, predictions, influence, files and tables."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from support.absorbed import panel

import betahat as bh

FRAME = panel()
OURS = ["x", "z"]
SAME = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(params=["unweighted", "weighted"], scope="module")
def pair(request):
    """Results with absorbed effects, and with their dummies."""
    make = bh.ols if request.param == "unweighted" else lambda formula, data: bh.wls(formula, data, weights="w")
    absorbed = make("y ~ x + z | firm + year", FRAME).fit()
    return absorbed, make("y ~ x + z + C(firm) + C(year)", FRAME).fit(), make


def test_goodness(pair):
    absorbed, dummies, _ = pair
    for name in (
        "rsquared",
        "rsquared_adj",
        "llf",
        "aic",
        "bic",
        "ssr",
        "scale",
        "df_resid",
        "centered_tss",
        "mse_total",
        "mse_model",
    ):
        np.testing.assert_allclose(getattr(absorbed, name), getattr(dummies, name), **SAME, err_msg=name)
    assert absorbed.df_model == 2
    overall = dummies.wald_test("x = 0, z = 0", use_f=True)
    np.testing.assert_allclose([absorbed.fvalue, absorbed.f_pvalue], [overall.statistic, overall.pvalue], rtol=1e-9)


def test_r_squared_within_is_that_of_the_residuals(pair):
    absorbed, _, make = pair
    of_effects = make("y ~ 1 | firm + year", FRAME).fit()
    np.testing.assert_allclose(absorbed.rsquared_within, 1.0 - absorbed.ssr / of_effects.ssr, **SAME)
    assert abs(of_effects.rsquared_within) < 1e-15


def test_rows(pair):
    absorbed, dummies, _ = pair
    for name in ("fittedvalues", "resid", "wresid", "resid_pearson"):
        np.testing.assert_allclose(getattr(absorbed, name), getattr(dummies, name), **SAME, err_msg=name)


def test_predictions_of_new_rows(pair):
    absorbed, dummies, _ = pair
    new = panel(seed=4).head(9)
    np.testing.assert_allclose(absorbed.predict(new), dummies.predict(new), **SAME)
    named = absorbed.predict(new[OURS].to_numpy(), transform=False, absorb=new[["firm", "year"]].to_numpy())
    np.testing.assert_allclose(named, dummies.predict(new), **SAME)


def test_effects_add_up_to_the_fitted_values(pair):
    absorbed, _, _ = pair
    found = absorbed.fixed_effects()
    total = FRAME.firm.map(found["firm"]) + FRAME.year.map(found["year"]) + FRAME[OURS] @ absorbed.params
    np.testing.assert_allclose(total, absorbed.fittedvalues, **SAME)
    assert found["year"].iloc[0] == 0.0


def test_effects_of_combinations_and_slopes():
    res = bh.ols("y ~ x | firm^region + year[z]", FRAME).fit()
    found = res.fixed_effects()
    assert list(found) == ["firm^region", "year[z]"]
    assert found["firm^region"].index.names == ["firm", "region"]
    assert list(found["year[z]"].columns) == ["constant", "z"]
    keys = pd.MultiIndex.from_frame(FRAME[["firm", "region"]])
    year = found["year[z]"].loc[FRAME.year]
    total = found["firm^region"].loc[keys].to_numpy() + (year["constant"] + year["z"] * FRAME.z.to_numpy()).to_numpy()
    np.testing.assert_allclose(total + FRAME.x * res.params["x"], res.fittedvalues, **SAME)
    np.testing.assert_allclose(res.predict(FRAME.head(5)), res.fittedvalues[:5], **SAME)


def test_arrays_and_tensors_get_their_own():
    labels = [FRAME.firm.to_numpy(), FRAME.year.to_numpy()]
    arrays = bh.OLS(FRAME.y.to_numpy(), FRAME[OURS].to_numpy(), absorb=labels).fit()
    y, x = torch.tensor(FRAME.y.to_numpy()), torch.tensor(FRAME[OURS].to_numpy())
    tensors = bh.OLS(y, x, absorb=[torch.tensor(column) for column in labels]).fit()
    frames = bh.ols("y ~ x + z | firm + year", FRAME).fit()
    for effect, series in zip(("effect 1", "effect 2"), frames.fixed_effects().values(), strict=True):
        assert isinstance(arrays.fixed_effects()[effect], np.ndarray)
        np.testing.assert_allclose(arrays.fixed_effects()[effect], series, **SAME)
        np.testing.assert_allclose(tensors.fixed_effects()[effect].numpy(), series, **SAME)
    np.testing.assert_allclose(
        arrays.predict(FRAME[OURS].to_numpy()[:3], absorb=[c[:3] for c in labels]), frames.fittedvalues[:3], **SAME
    )
    one = bh.OLS(FRAME.y.to_numpy(), FRAME[OURS].to_numpy(), absorb=labels[0]).fit()
    np.testing.assert_allclose(
        one.predict(FRAME[OURS].to_numpy()[:3], absorb=labels[0][:3]), one.fittedvalues[:3], **SAME
    )


def test_influence(pair):
    absorbed, dummies, _ = pair
    one, other = absorbed.get_influence(), dummies.get_influence()
    for name in (
        "hat_matrix_diag",
        "resid_studentized",
        "resid_studentized_external",
        "sigma2_not_obsi",
        "resid_press",
    ):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(one.cooks_distance[0], other.cooks_distance[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.dfbetas, other.dfbetas[OURS], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(absorbed.cases.cooks_distance, dummies.cases.cooks_distance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(absorbed.cases.fitted, dummies.cases.fitted, **SAME)


def test_nested_models(pair):
    absorbed, dummies, make = pair
    smaller = {
        "y ~ x | firm + year": "y ~ x + C(firm) + C(year)",
        "y ~ x + z | firm": "y ~ x + z + C(firm)",
        "y ~ x": "y ~ x",
    }
    for ours, theirs in smaller.items():
        one, other = absorbed.compare_f_test(make(ours, FRAME).fit()), dummies.compare_f_test(make(theirs, FRAME).fit())
        np.testing.assert_allclose(one, other, rtol=1e-8)
    ours, theirs = (make(formula, FRAME).fit() for formula in ("y ~ x | firm + year", "y ~ x + C(firm) + C(year)"))
    np.testing.assert_allclose(absorbed.compare_lm_test(ours), dummies.compare_lm_test(theirs), rtol=1e-8)
    np.testing.assert_allclose(absorbed.compare_lr_test(ours), dummies.compare_lr_test(theirs), rtol=1e-8)


def test_files_keep_effects(pair):
    absorbed, _, _ = pair
    file = io.BytesIO()
    absorbed.save(file)
    file.seek(0)
    again = bh.load(file)
    for cov in ("HC3", bh.Cluster("firm", kind="CR2"), bh.Cluster("year", kind="CR3")):
        np.testing.assert_array_equal(again.with_cov(cov).bse, absorbed.with_cov(cov).bse)
    pd.testing.assert_series_equal(again.fixed_effects()["firm"], absorbed.fixed_effects()["firm"])
    assert again.remove_data().summary().as_text() == absorbed.summary().as_text()


def test_tables_say_which_effects():
    models = [bh.ols(formula, FRAME).fit() for formula in ("y ~ x", "y ~ x | firm", "y ~ x | firm + year")]
    lines = str(bh.regtable(models)).splitlines()
    assert [line.split() for line in lines if line.startswith("firm effects")] == [["firm", "effects", "yes", "yes"]]
    assert [line.split() for line in lines if line.startswith("year effects")] == [["year", "effects", "yes"]]
    assert "firm effects" in str(bh.compare(models[1], ["HC1", "HC3"]))
    text = models[2].summary().as_text()
    assert "firm effects:" in text
    assert "R-squared (within):" in text
    assert "21 coefficients of firm, year absorbed." in text


def test_the_model_counts_the_effects(pair):
    absorbed, dummies, _ = pair
    model = absorbed.model
    assert (model.df_resid, model.df_model, model.k_constant, model.rank) == (absorbed.df_resid, 2.0, 1, 2)
    np.testing.assert_allclose(model.loglike(absorbed.params), dummies.llf, **SAME)
    np.testing.assert_allclose(model.score(absorbed.params), 0.0, atol=1e-8)


def test_a_level_without_weight_has_no_effect():
    weights = np.where(FRAME.firm == 3, 0.0, 1.0 + FRAME.year % 2)
    res = bh.wls("y ~ x | firm[z] + year", FRAME, weights=weights).fit()
    others = bh.wls("y ~ x | firm[z] + year", FRAME[weights > 0], weights=weights[weights > 0]).fit()
    firms = res.fixed_effects()["firm[z]"]
    assert firms.loc[3].isna().all()
    np.testing.assert_allclose(firms.drop(index=3), others.fixed_effects()["firm[z]"], **SAME)
    expected = others.predict(FRAME[weights > 0]).reindex(FRAME.index)
    np.testing.assert_allclose(res.predict(FRAME), expected, **SAME)


def test_a_missing_label_predicts_nan():
    named = FRAME.assign(town=[f"town {i % 3}" for i in FRAME.firm])
    for formula, data in (("y ~ x | firm + year", FRAME), ("y ~ x | town^year", named), ("y ~ x | town[z]", named)):
        res = bh.ols(formula, data).fit()
        expected = res.predict(data.head(4))
        expected.iloc[[1, 2]] = np.nan
        for missing in (None, np.nan):
            column = "firm" if "firm" in formula else "town"
            labels = data[column].astype(object).head(4).to_list()
            new = data.head(4).assign(**{column: [labels[0], missing, labels[2], labels[3]]})
            new["x"] = new["x"].where(np.arange(4) != 2)
            np.testing.assert_array_equal(res.predict(new), expected)


def test_a_table_of_effects_alone_has_its_statistics():
    res = bh.ols("y ~ 1 | firm", FRAME).fit()
    table = bh.regtable(res)
    lines = [line.split() for line in str(table).splitlines()]
    assert ["firm", "effects", "yes"] in lines
    assert ["N", "160"] in lines
    assert sum(set(map(str.strip, line)) == {"-" * len(line[0])} for line in lines if line) <= 1
    assert table.to_frame().empty
    for made in (table.to_latex(), table.to_html(), table.to_markdown(), str(bh.regtable(res, below="ci"))):
        assert "firm effects" in made
        assert "Standard errors in" not in made
