"""stargazer prints the table of the statsmodels fit, and takes what statsmodels has not."""

import numpy as np
import pytest

stargazer = pytest.importorskip("stargazer.stargazer")


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("kind", ["ols", "logit", "probit"])
def test_tables_are_those_of_statsmodels(both, kind, cov_type):
    theirs, ours = both(kind, cov_type)
    for render in ("render_latex", "render_html"):
        theirs_table, ours_table = (getattr(stargazer.Stargazer([res, res]), render)() for res in (theirs, ours))
        assert ours_table == theirs_table


def test_poisson_has_no_residual_standard_error(both):
    """statsmodels' table has the root mean square of y - E(y), which estimates no parameter of a Poisson."""
    theirs, ours = (stargazer.Stargazer([res]).render_latex().splitlines() for res in both("poisson"))
    assert [line for line in theirs if "Residual Std. Error" not in line] == ours


def test_containers_make_one_table(containers):
    tables = [stargazer.Stargazer([res]).render_latex() for res in containers]
    assert len(set(tables)) == 1


@pytest.mark.parametrize("kind", ["mnlogit", "module", "loss", "CR2", "wild"])
def test_inference_is_that_of_the_results(unusual, kind):
    res = unusual[kind]
    (data,) = stargazer.Stargazer([res]).model_data
    expected = res.tidy()
    assert list(data["cov_names"]) == list(res.names)
    for key, column in (("p_values", "p.value"), ("conf_int_low_values", "conf.low"), ("cov_std_err", "std.error")):
        np.testing.assert_array_equal(data[key], expected[column])
    assert "Observations" in stargazer.Stargazer([res]).render_html()
