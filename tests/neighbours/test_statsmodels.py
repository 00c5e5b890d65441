"""statsmodels' own tables of several results, `summary_col`, byte for byte; and the attributes that scripts read."""

import re

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.iolib.summary2 import summary_col

import betahat as bh

INFO = {"N": lambda res: f"{int(res.nobs)}", "F": lambda res: f"{res.fvalue:.4f}", "AIC": lambda res: f"{res.aic:.4f}"}


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
def test_summary_col(both, cov_type):
    pairs = [both(kind, cov_type) for kind in ("ols", "logit", "probit", "poisson")]
    theirs, ours = zip(*pairs, strict=True)
    options = {"stars": True, "info_dict": INFO, "float_format": "%.6f", "regressor_order": ["educ"]}
    for way in ("as_text", "as_html", "as_latex"):
        tables = [getattr(summary_col(list(results), **options), way)() for results in (theirs, ours)]
        assert tables[1] == tables[0]


def test_fixed_effects_are_found(both):
    tables = [
        summary_col([res], fixed_effects=["job"]).as_text() for res in both("ols", formula="wage ~ educ + C(job)")
    ]
    assert tables[1] == tables[0]
    assert "job FE" in tables[1]


def test_summary_col_of_containers(containers):
    tables = [summary_col([res], stars=True).as_text() for res in containers[:3]]  # np.array takes no tensor of a GPU
    y, x = (np.asarray(values) for values in (containers[1].model.endog, containers[1].model.exog))
    assert set(tables) == {summary_col([sm.OLS(y, x).fit()], stars=True).as_text()}


def test_summary_col_of_any_loss(unusual):
    table = summary_col([unusual["module"], unusual["loss"]], include_r2=False).tables[0]
    assert list(table.columns) == ["y", "loss"]
    assert list(table.index) == ["weight[0,0]", "", "weight[0,1]", "", "bias", "", "m", ""]


def test_attributes_that_scripts_read(both, frame):
    for kind in ("ols", "logit", "poisson"):
        theirs, ours = both(kind)
        data, expected = ours.model.data, theirs.model.data
        assert (data.ynames, data.xnames, data.param_names) == (expected.ynames, expected.xnames, expected.param_names)
        assert (ours.model.endog_names, ours.model.exog_names) == (theirs.model.endog_names, theirs.model.exog_names)
        assert list(data.row_labels) == list(expected.row_labels)
        assert data.frame.equals(frame)
        np.testing.assert_array_equal(data.orig_exog, expected.orig_exog)
        np.testing.assert_array_equal(np.ravel(data.orig_endog), np.ravel(expected.orig_endog))
        assert ours.k_constant == theirs.k_constant


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
@pytest.mark.parametrize("kind", ["ols", "logit", "probit", "poisson", "mnlogit"])
def test_summary2(both, kind, cov_type):
    formula = "job ~ educ + exper" if kind == "mnlogit" else None
    theirs, ours = both(kind, cov_type, formula)
    if kind != "ols":  # solvers that begin elsewhere
        theirs.mle_retvals["iterations"] = ours.mle_retvals["iterations"]
    options = {"alpha": 0.1, "float_format": "%.6f"}
    options |= {} if kind == "mnlogit" else {"yname": "outcome", "title": "A title"}
    for way in ("as_text", "as_html", "as_latex"):
        assert _timeless(getattr(ours.summary2(**options), way)()) == _timeless(
            getattr(theirs.summary2(**options), way)()
        )
    assert _timeless(ours.summary2().as_text()) == _timeless(theirs.summary2().as_text())


def _timeless(table):
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "-" * 16, table)


def test_summary2_of_containers_and_bad_names(containers):
    tables = [_timeless(res.summary2().as_text()) for res in containers]
    assert len(set(tables)) == 1
    with pytest.raises(bh.OptionError, match=r"xname has 1 name for 3 parameters"):
        containers[0].summary2(xname=["a"])


def test_summary_col_takes_no_mnlogit_of_either(both):
    for res in both("mnlogit", formula="job ~ educ"):
        with pytest.raises(ValueError, match="dimension"):
            summary_col([res])
