"""What reads `tidy()` and `glance()`: broom's columns, great_tables; and pyfixest's table, which takes its own alone."""

import pytest

import betahat as bh

COLUMNS = ["term", "estimate", "std.error", "statistic", "p.value", "conf.low", "conf.high"]
# Of broom 1.0: glance.lm, glance.glm, glance.multinom.
GLANCE = {
    "ols": "r.squared adj.r.squared sigma statistic p.value df logLik AIC BIC deviance df.residual nobs",
    "logit": "null.deviance df.null logLik AIC BIC deviance df.residual nobs",
}


@pytest.mark.parametrize("kind", ["mnlogit", "module", "loss", "CR2", "wild"])
def test_tidy_has_the_columns_of_broom(unusual, kind):
    res = unusual[kind]
    tidy = res.tidy()
    assert list(tidy.columns) == COLUMNS
    assert list(tidy["term"]) == list(res.names)
    assert len(res.glance()) == 1


@pytest.mark.parametrize("kind", GLANCE)
def test_glance_has_the_columns_of_broom(both, kind):
    assert list(both(kind)[1].glance().columns) == GLANCE[kind].split()


def test_great_tables_shows_them(both):
    great_tables = pytest.importorskip("great_tables")
    html = great_tables.GT(both("ols")[1].tidy()).fmt_number(["estimate"], decimals=6).as_raw_html()
    assert "exper" in html
    assert f"{both('ols')[0].params['exper']:.6f}".lstrip("-") in html


def test_pyfixest_takes_its_own_alone(both):
    pyfixest = pytest.importorskip("pyfixest")
    with pytest.raises(TypeError, match=r"must be instances of Feols, Feiv, or Fepois"):
        pyfixest.etable([both("ols")[1]])


def test_regtable_is_the_way_without_a_neighbour(both):
    assert "exper" in bh.regtable([both("ols")[1]]).to_latex()
