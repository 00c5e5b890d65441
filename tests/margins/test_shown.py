"""How margins are shown: names that say what is compared, ratios, and what is tested."""

import marginaleffects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import betahat as bh
from betahat.errors import DataError, OptionError

# The same numbers in another order of sums.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
RNG = np.random.default_rng(4)
N = 160
FRAME = pd.DataFrame(
    {
        "educ": RNG.integers(6, 18, N).astype(float),
        "treated": RNG.integers(0, 2, N),
        "group": RNG.choice(["a", "b"], N),
        "sure": RNG.choice([True, False], N),
    }
).rename(columns={"group": "grp"})
FRAME["y"] = (RNG.random(N) < 1.0 / (1.0 + np.exp(1.0 - 0.1 * FRAME["educ"] - FRAME["treated"]))).astype(int)
FRAME["count"] = RNG.poisson(np.exp(0.1 * FRAME["treated"] + 0.05 * FRAME["educ"]))


@pytest.fixture(scope="module")
def logit():
    return bh.logit("y ~ educ + treated + grp + sure", FRAME).fit()


@pytest.fixture(scope="module")
def poisson():
    return bh.poisson("count ~ educ + treated", FRAME).fit()


def test_names_say_which_level_is_compared_with_which(logit):
    found = logit.avg_slopes()
    assert found.names == ("educ", "treated", "grp: b - a", "sure")
    assert "grp: b - a" in str(bh.regtable(found))
    labels = [label.get_text() for label in bh.coefplot(found).get_yticklabels()]
    plt.close()
    assert "grp: b - a" in labels
    asked = logit.avg_comparisons({"educ": [8, 12], "treated": None}, comparison="ratio")
    assert asked.names == ("educ: 12 / 8", "treated")


def test_rows_of_a_grid_are_called_by_the_values_asked_for(logit, tmp_path):
    found = logit.predictions(newdata=bh.datagrid(educ=[8, 12]))
    assert found.names == ("educ=8", "educ=12")
    assert list(found.params.index) == ["educ=8", "educ=12"]
    assert "educ=12" in str(found)
    assert "rowid" not in str(found)
    assert "educ=12" in str(bh.regtable(found))
    assert list(found.tidy()["educ"]) == [8, 12]
    np.testing.assert_allclose(found.hypotheses("`educ=12` = `educ=8`").params, found.params.diff().iloc[1:], **CLOSE)
    assert found.hypotheses("pairwise").names == ("(12) - (8)",)
    assert bh.load(found.save(tmp_path / "m", remove_data=True)).names == found.names
    several = logit.comparisons(["treated", "sure"], newdata=bh.datagrid(educ=[8, 12]))
    assert several.names[0] == "treated:educ=8"
    assert next(iter(several.params.index)) == ("treated", "1 - 0", "educ=8")
    # rows that the values do not tell apart keep their positions
    each = logit.predictions(newdata=bh.datagrid(educ=[8, 12], grid_type="counterfactual"))
    assert each.names[0] == "rowid=0"


def test_new_data_without_rows(logit):
    for one in (logit.avg_predictions, logit.avg_slopes):
        with pytest.raises(DataError, match="newdata has no rows; pass a dataframe with at least one"):
            one(newdata=FRAME.head(0))


def test_logarithms_of_ratios_alone_are_exponentiated(logit, poisson):
    for found in (
        logit.avg_slopes(),
        logit.avg_predictions(),
        logit.avg_comparisons(comparison="ratio"),
        logit.avg_slopes("educ", slope="eyex", which="linear"),
        logit.get_margeff(),
        smf.logit("y ~ educ + treated", FRAME).fit(disp=0).get_margeff(),
        bh.ols("y ~ educ", FRAME).fit().avg_slopes(),
    ):
        table = bh.regtable(found, exponentiate=True)
        assert str(table) == str(bh.regtable(found))
        assert "exponentiated" not in str(table)
        with pytest.raises(OptionError, match="exponentiate=True draws ratios, and none of these numbers"):
            bh.coefplot(found, exponentiate=True)
    slopes = logit.avg_slopes()
    pd.testing.assert_frame_equal(slopes.tidy(exponentiate=True), slopes.tidy())


@pytest.mark.parametrize("options", [{"comparison": "lnratio"}, {"comparison": "lnor"}, {"which": "linear"}])
def test_logarithms_of_ratios_become_ratios(logit, options):
    found = logit.avg_comparisons("treated", **options)
    one = found.tidy(exponentiate=True).iloc[0]
    np.testing.assert_allclose(one["estimate"], np.exp(found.params.iloc[0]), **CLOSE)
    np.testing.assert_allclose(one["std.error"], np.exp(found.params.iloc[0]) * found.bse.iloc[0], **CLOSE)
    np.testing.assert_allclose(one["conf.low"], np.exp(found.conf_int().iloc[0, 0]), **CLOSE)
    assert "Coefficients are exponentiated" in str(bh.regtable(found, exponentiate=True))
    beside = bh.regtable([logit, logit.avg_slopes(), found], exponentiate=True)
    assert "Coefficients in columns 1 and 3 are exponentiated" in " ".join(str(beside).split())
    ax = bh.coefplot([logit, logit.avg_slopes()], exponentiate=True)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    plt.close()
    assert "treated" in labels
    assert "grp: b - a" not in labels


def test_ratios_by_their_links(poisson):
    # a contrast of the logarithm of a mean is that of its logarithmic link
    linear = poisson.avg_comparisons("treated", which="linear").tidy(exponentiate=True)
    np.testing.assert_allclose(linear["estimate"], np.exp(poisson.params["treated"]), **CLOSE)
    probit = bh.probit("y ~ treated", FRAME).fit().avg_comparisons("treated", which="linear")
    pd.testing.assert_frame_equal(probit.tidy(exponentiate=True), probit.tidy())


def test_logarithms_of_marginaleffects(logit):
    whole = FRAME.astype({"educ": int})[["y", "educ", "treated"]]  # polars 2 has no 0 among floats for marginaleffects
    fit = smf.logit("y ~ educ + treated", whole).fit(disp=0)
    plain = marginaleffects.avg_comparisons(fit, variables="treated")
    assert str(bh.regtable(plain, exponentiate=True)) == str(bh.regtable(plain))
    logs = marginaleffects.avg_comparisons(fit, variables="treated", comparison="lnratioavg")
    ours = bh.logit("y ~ educ + treated", FRAME).fit().avg_comparisons("treated", comparison="lnratio")
    shown = bh.regtable([logs, ours], exponentiate=True, digits=3)
    assert f"{np.exp(ours.params.iloc[0]):.3f}" in str(shown)
    assert "Coefficients are exponentiated" in str(shown)


@pytest.mark.parametrize("comparison", ["ratio", "or"])
def test_tables_say_that_ratios_are_tested_against_zero(logit, comparison, tmp_path):
    found = logit.avg_comparisons("treated", comparison=comparison)
    sentence = "Ratios are tested against 0; hypothesis=1 tests against 1."
    np.testing.assert_allclose(found.tvalues, found.params / found.bse, **CLOSE)  # as marginaleffects does
    loaded = bh.load(found.save(tmp_path / "m"))
    for table in (found, bh.regtable(found), loaded, found.with_cov("HC1")):
        assert sentence in " ".join(str(table).split())
    both = bh.regtable([logit, found])
    assert "In column 2 ratios are tested against 0; hypothesis=1" in " ".join(str(both).split())
    of_one = logit.avg_comparisons("treated", comparison=comparison, hypothesis=1)
    np.testing.assert_allclose(of_one.tvalues, (found.params - 1.0) / found.bse, **CLOSE)
    for table in (of_one, bh.regtable(of_one)):
        text = " ".join(str(table).split())
        assert sentence not in text
        assert "Numbers are tested against 1." in text
    assert "tested" not in str(logit.avg_comparisons("treated", comparison="lift"))
