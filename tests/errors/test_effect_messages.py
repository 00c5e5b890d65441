"""Every mistake with absorbed effects is one sentence: what came, with its numbers and names, and what to do."""

import numpy as np
import pandas as pd
import pytest
from support.absorbed import panel

import betahat as bh
from betahat.errors import BetahatWarning, CollinearityWarning, DataError, EstimationError, FormulaError, OptionError

LONGEST = 420  # as in test_messages.py: what can be read in one breath

FRAME = panel()
FRAME["number"] = np.arange(len(FRAME)) * 1.5
FRAME["own"] = [f"row {i}" for i in range(len(FRAME))]
FRAME["pair"] = np.arange(len(FRAME)) // 2


def fitted(formula="y ~ x + z | firm + year", **options):
    return bh.ols(formula, FRAME, **options).fit()


MISTAKES = {
    "no such effect": (
        lambda: fitted("y ~ x | frm"),
        FormulaError,
        ("The absorbed effect 'frm' is not a column of the data; did you mean 'firm'?",),
    ),
    "no such slope": (lambda: fitted("y ~ x | firm[q]"), FormulaError, ("'firm[q]'", "'q'")),
    "no such names": (
        lambda: bh.OLS(FRAME.y, FRAME[["x", "firm"]], absorb="frm"),
        OptionError,
        ("absorb='frm'", "'firm'"),
    ),
    "an expression": (lambda: fitted("y ~ x | log(firm)"), FormulaError, ("log(firm)", "firm + year")),
    "a category": (lambda: fitted("y ~ x | year + C(firm)"), FormulaError, ("'C(firm)'", "write firm, without C()")),
    "fixest's category": (lambda: fitted("y ~ x | i(firm)"), FormulaError, ("'i(firm)'", "write firm, without i()")),
    "fixest's and pyfixest's option": (
        lambda: bh.ols("y ~ x | firm", FRAME).fit(vcov="hetero"),
        OptionError,
        ("does not take 'vcov'", "cov_type='HC1'"),
    ),
    "no coefficient to draw": (
        lambda: bh.coefplot(bh.ols("y ~ 1 | firm", FRAME).fit()),
        OptionError,
        ("no coefficient to draw", "fixed_effects()"),
    ),
    "groups of no coefficients": (
        lambda: bh.regtable(bh.ols("y ~ 1 | firm", FRAME).fit(), groups={"A": "x"}),
        OptionError,
        ("groups has 'x', which matches no coefficient",),
    ),
    "text for numbers": (
        lambda: fitted().predict(FRAME.head(2).assign(firm=["3", None])),
        DataError,
        ("firm has numbers in the fit and text in the new data",),
    ),
    "numbers for text, in a combination": (
        lambda: (
            bh.ols("y ~ x | year^town", FRAME.assign(town=[f"town {i % 3}" for i in FRAME.firm]))
            .fit()
            .predict(FRAME.head(2).assign(town=pd.Categorical([1, 2])))
        ),
        DataError,
        ("town has text in the fit and numbers in the new data",),
    ),
    "brackets that do not match": (lambda: fitted("y ~ x | firm[[z]"), FormulaError, ("firm[[z]",)),
    "nothing after a bar": (lambda: fitted("y ~ x | "), FormulaError, ("nothing between bars",)),
    "three parts of effects": (lambda: fitted("y ~ x | firm | year"), FormulaError, ("cannot be told apart",)),
    "no instruments": (lambda: fitted("y ~ x | firm | z ~ "), FormulaError, ("no instruments", "price ~ z1 + z2")),
    "no endogenous variable": (lambda: fitted("y ~ x | firm | ~ z"), FormulaError, ("no endogenous variable",)),
    "a regressor that is an effect": (lambda: fitted("y ~ x + year | year"), FormulaError, ("'year'", "both sides")),
    "an outcome that is an effect": (lambda: fitted("y ~ x | y"), FormulaError, ("'y'", "both sides")),
    "an outcome that is endogenous": (lambda: fitted("y ~ x | y ~ z"), FormulaError, ("'y'", "two sides")),
    "a number as an effect": (lambda: fitted("y ~ x | number"), DataError, ("'number'", "160 rows", "before the |")),
    "a level for each row": (lambda: fitted("y ~ x | own"), DataError, ("'own'", "coarser")),
    "no degrees of freedom": (lambda: fitted("y ~ x | pair[z]"), EstimationError, ("160 rows", "coarser")),
    "a model without effects": (lambda: bh.ordered("year ~ x | firm", FRAME), FormulaError, ("C(group)", "bh.ols")),
    "two equations": (
        lambda: bh.zeroinflatedpoisson("year ~ x | firm", FRAME, exog_infl="~ z"),
        FormulaError,
        ("exog_infl='~ ...'",),
    ),
    "missing labels": (
        lambda: bh.OLS(FRAME.y, FRAME[["x"]], absorb=FRAME.firm.where(FRAME.firm > 2)),
        DataError,
        ("firm (30)", "missing='drop'"),
    ),
    "missing labels in a formula": (
        lambda: bh.ols("y ~ x | gap", FRAME.assign(gap=FRAME.firm.where(FRAME.firm > 2)), missing="raise"),
        DataError,
        ("gap (30)",),
    ),
    "a slope of text": (lambda: fitted("y ~ x | firm[own]"), DataError, ("'own'", "not numeric")),
    "an unseen level": (lambda: fitted().predict(FRAME.head(2).assign(firm=99)), DataError, ("firm", "'99'")),
    "new rows without labels": (lambda: fitted().predict(FRAME[["x", "z"]].head(2)), DataError, ("absorb=[...]",)),
    "new rows of numbers": (
        lambda: (
            bh.OLS(FRAME.y.to_numpy(), FRAME[["x", "z"]].to_numpy(), absorb=FRAME.firm.to_numpy())
            .fit()
            .predict([[1.0, 2.0]])
        ),
        DataError,
        ("absorb=[...]",),
    ),
    "too few labels for new rows": (
        lambda: fitted().predict(FRAME.head(2), absorb=[FRAME.firm.head(2)]),
        DataError,
        ("1 vectors", "2 columns"),
    ),
    "errors of predictions": (lambda: fitted().get_prediction(), EstimationError, ("C(group)",)),
    "predictions at other parameters": (
        lambda: bh.ols("y ~ x | firm", FRAME).predict([1.0]),
        EstimationError,
        ("predict of the results",),
    ),
    "no effects to recover": (lambda: bh.ols("y ~ x", FRAME).fit().fixed_effects(), EstimationError, ("absorb=",)),
    "scores of other effects": (
        lambda: fitted().compare_lm_test(fitted("y ~ x | firm")),
        DataError,
        ("compare_f_test",),
    ),
    "effects that are not nested": (
        lambda: fitted("y ~ x + z | firm").compare_f_test(fitted("y ~ x | year")),
        DataError,
        ("not nested",),
    ),
    "the jackknife of an only cluster with a treatment": (
        lambda: bh.ols("y ~ d | year", FRAME.assign(d=FRAME.region == 0)).fit(bh.Jackknife("region")),
        EstimationError,
        ("jackknife",),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("ignore::betahat.errors.BetahatWarning")
def test_one_sentence_with_a_remedy(name):
    mistake, kind, says = MISTAKES[name]
    with pytest.raises(kind) as caught:
        mistake()
    sentence = str(caught.value)
    assert len(sentence) <= LONGEST
    assert sentence.endswith((".", "?"))
    for word in says:
        assert word in sentence


def test_rows_alone_are_told_of():
    frame = pd.concat([FRAME, FRAME.head(2).assign(firm=[98, 99])], ignore_index=True)
    with pytest.warns(BetahatWarning, match="2 rows that are alone in a level of 'firm' were dropped"):
        res = bh.ols("y ~ x | firm", frame).fit()
    assert res.nobs == len(FRAME)
    assert "2 rows alone in a level dropped" in res.summary().as_text()


def test_regressors_that_effects_explain_are_named():
    with pytest.warns(CollinearityWarning, match=r"'region' depends linearly on the absorbed effects \('firm'\)"):
        res = bh.ols("y ~ x + region | firm", FRAME).fit()
    assert res.aliased == ("region",)
    assert np.isnan(res.params["region"])


def test_a_replicate_without_a_coefficient_is_left_out():
    frame = FRAME.assign(rare=((FRAME.firm == 3) & (FRAME.year == 2001)) | (FRAME.index == 5))
    res = bh.ols("y ~ rare + x | firm", frame).fit()
    with pytest.warns(bh.errors.BootstrapWarning):
        draws = res.with_cov(bh.Bootstrap(reps=60, seed=1)).cov.draws
    assert len(draws) < 60
