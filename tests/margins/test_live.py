"""Forty calls of marginaleffects on our own results, and closed forms."""

import itertools

import marginaleffects as me
import numpy as np
import pandas as pd
import pytest

import betahat as bh

# marginaleffects differentiates by one-sided steps of 1e-8 in the parameters: its errors have five digits. Those of its slopes, which are differences over 1e-4
# already, have two at worst (of OLS they differ between rows); test_statsmodels_margins.py has them by a better derivative.
ESTIMATES, ERRORS = {"rtol": 1e-6, "atol": 1e-8}, {"rtol": 1e-5}
FORMULA = "{} ~ x * treated + np.log(age) + C(firm)"
CALLS = {
    "slopes": ("avg_slopes", {}),
    "slopes by": ("avg_slopes", {"variables": "x", "by": "treated"}),
    "elasticities": ("avg_slopes", {"variables": "age", "slope": "eyex"}),
    "semi-elasticities": ("avg_slopes", {"variables": "age", "slope": "eydx"}),
    "comparisons": ("avg_comparisons", {}),
    "deviations": ("avg_comparisons", {"variables": {"x": "sd"}}),
    "quartiles": ("avg_comparisons", {"variables": {"age": "iqr"}}),
    "pairs": ("avg_comparisons", {"variables": {"age": [30.0, 50.0]}, "by": "treated"}),
    "ratios": ("avg_comparisons", {"variables": "treated", "comparison": "ratio"}),
    "lifts": ("avg_comparisons", {"variables": "treated", "comparison": "lift", "by": "firm"}),
    "predictions": ("avg_predictions", {}),
    "predictions by": ("avg_predictions", {"by": "firm"}),
    "rows": ("predictions", {}),
    "rows' slopes": ("slopes", {"variables": "x"}),
}


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(8)
    n = 240
    frame = pd.DataFrame(
        {
            "x": rng.normal(1.0, 1.0, n),
            "age": rng.uniform(20, 60, n),
            "treated": rng.integers(0, 2, n),
            "firm": np.arange(n) % 3,
        }
    )
    index = 0.4 * frame.x + 0.3 * frame.treated - 0.1
    frame["line"], frame["share"] = (
        index + 3.0 + rng.normal(size=n),
        (rng.uniform(size=n) < 1 / (1 + np.exp(-index))) * 1,
    )
    frame["count"] = rng.poisson(np.exp(index))
    return {
        "OLS": bh.ols(FORMULA.format("line"), frame).fit("HC3"),
        "Logit": bh.logit(FORMULA.format("share"), frame).fit("HC1"),
        "Poisson": bh.poisson(FORMULA.format("count"), frame).fit("HC0"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("model", "call"), list(itertools.product(("OLS", "Logit", "Poisson"), CALLS)))
def test_marginaleffects_of_our_results(models, model, call):
    res, (name, options) = models[model], CALLS[call]
    by = {} if name in ("predictions", "slopes") else {"by": options.get("by", True)}
    theirs = getattr(me, name)(res, **{**options, **by}).to_pandas()
    ours = getattr(res, name)(**options).tidy()
    keys = [key for key in ("term", "contrast", "treated", "firm", "rowid") if key in ours and key in theirs]
    keys = [key for key in keys if key in ("term", "contrast") or key == options.get("by") or key == "rowid"]
    if name in ("predictions", "slopes"):
        keys = [key for key in keys if key != "contrast"]
    if not keys:
        ours, theirs, keys = ours.assign(one=1), theirs.assign(one=1), ["one"]
    if "contrast" in keys:
        keys.remove("contrast")
        ours, theirs = (part.assign(place=part.groupby(keys).cumcount()) for part in (ours, theirs))
        keys.append("place")
    both = ours.merge(theirs, on=keys, suffixes=("", "_theirs"))
    assert len(both) == len(ours) == len(theirs)
    np.testing.assert_allclose(both["estimate"], both["estimate_theirs"], **ESTIMATES)
    if "slopes" not in name:
        np.testing.assert_allclose(both["std.error"], both["std_error"], **ERRORS)


def test_slopes_in_closed_form(models):
    """Of exp(x'b) the average slope is that of x'b times the mean, with derivatives by hand; of a logit p (1 - p) times it."""
    for name, first, second in (
        ("Poisson", lambda mean: mean, lambda mean: mean),
        ("Logit", lambda mean: mean * (1 - mean), lambda mean: mean * (1 - mean) * (1 - 2 * mean)),
    ):
        res = models[name]
        exog, mean = np.asarray(res.model.exog), np.asarray(res.predict())
        along, place = np.zeros(exog.shape), list(res.params.index)
        along[:, place.index("x")] = 1.0
        along[:, place.index("x:treated")] = exog[:, place.index("treated")]
        slope = along @ res.params.to_numpy()
        jacobian = (second(mean) * slope) @ exog / len(exog) + first(mean) @ along / len(exog)
        found = res.avg_slopes("x")
        np.testing.assert_allclose(found.params, np.mean(first(mean) * slope), rtol=1e-12)
        np.testing.assert_allclose(found.bse, np.sqrt(jacobian @ res.cov_params().to_numpy() @ jacobian), rtol=1e-10)
