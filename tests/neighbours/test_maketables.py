"""maketables' `ETable` shows what it shows of the statsmodels fit, and takes what statsmodels has not."""

import numpy as np
import pytest

import betahat as bh

maketables = pytest.importorskip("maketables")
FORMAT = "b:.6f* \n (se:.6f) \n [t:.6f] \n p:.6f \n [ci95l:.6f, ci95u:.6f] \n [ci90l:.6f, ci90u:.6f]"
STATISTICS = [
    "N",
    "r2",
    "adj_r2",
    "pseudo_r2",
    "ll",
    "llnull",
    "aic",
    "bic",
    "fvalue",
    "f_pvalue",
    "df_resid",
    "se_type",
]


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("kind", ["ols", "logit", "probit", "poisson"])
def test_tables_are_those_of_statsmodels(both, kind, cov_type):
    tables = [maketables.ETable([res, res], coef_fmt=FORMAT, model_stats=STATISTICS) for res in both(kind, cov_type)]
    assert tables[1].df.equals(tables[0].df)
    assert tables[1].make(type="tex") == tables[0].make(type="tex")


def test_defaults_and_a_single_model(both):
    for kind in ("ols", "logit"):
        theirs, ours = (maketables.ETable(res).df for res in both(kind))
        assert ours.equals(theirs)


def test_containers_make_one_table(containers):
    tables = [maketables.ETable(res, coef_fmt=FORMAT).df for res in containers]
    assert all(table.equals(tables[0]) for table in tables[1:])


@pytest.mark.parametrize("kind", ["mnlogit", "module", "loss", "CR2", "wild"])
def test_inference_is_that_of_the_results(unusual, kind):
    res = unusual[kind]
    table = maketables.extractors.get_extractor(res).coef_table(res)
    expected = res.tidy(0.90)
    for column, name in (("b", "estimate"), ("se", "std.error"), ("p", "p.value"), ("ci90l", "conf.low")):
        np.testing.assert_array_equal(table[column], expected[name])
    shown = maketables.ETable(res, model_stats=["N", "se_type"]).df
    assert list(shown.loc["stats"].iloc[:, 0]) == [str(int(res.nobs)), res.cov_type]
    maketables.extractors.inspect_model(res, long=True)


def test_models_of_another_kind_show_what_tables_say_of_them(frame):
    several = bh.quantreg("wage ~ educ", frame).fit([0.3, 0.6])
    for res in (bh.quantreg("wage ~ educ", frame).fit(0.3), several, bh.rlm("wage ~ educ", frame).fit()):
        cells = maketables.ETable(res).df.astype(str).to_numpy().ravel().tolist()
        assert any(f"{res.goodness[1]:.3f}" in cell for cell in cells)


def test_equations_are_no_interactions(unusual):
    names = maketables.ETable(unusual["mnlogit"]).df.loc["coef"].index
    assert set(names) == {"job=1, Intercept", "job=1, educ", "job=2, Intercept", "job=2, educ"}


def test_labels_of_the_dataframe_are_used(both, frame):
    frame.attrs["variable_labels"] = {"educ": "Years of schooling"}
    try:
        theirs, ours = (maketables.ETable(res).df for res in both("ols"))
    finally:
        frame.attrs.clear()
    assert ours.equals(theirs)
    assert ("coef", "Years of schooling") in ours.index


def test_a_model_that_is_no_likelihood_shows_the_fit_of_our_own_tables():
    res = bh.RLM([1.0, 2.1, 2.9, 4.2, 9.0, 6.1], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).fit()
    frame = maketables.ETable([res]).df
    assert f"{res.scale:.3f}" in frame.to_string()
    assert "Scale" in frame.to_string()
