"""Every mistake with a generalised linear model is one sentence or two, which says what came and what to do."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import betahat as bh

F, L = sm.families, sm.families.links
N = 40
RNG = np.random.default_rng(4)
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
POSITIVE, YES, SHARE = RNG.gamma(2.0, size=N), np.arange(N) % 2 * 1.0, RNG.uniform(0.1, 0.9, N)
COUNTS = np.column_stack([np.arange(N) % 3, 1 + np.arange(N) % 2]) * 1.0
FRAME = pd.DataFrame(X[:, 1:], columns=["a", "b"]).assign(y=POSITIVE, yes=YES, s=COUNTS[:, 0], f=COUNTS[:, 1])


def _with(values, where, value):
    changed = np.array(values)
    changed[where] = value
    return changed


def _broken(family, **numbers):
    """A family whose number was changed after it was made."""
    for name, value in numbers.items():
        setattr(family, name, value)
    return family


def _link(link, **numbers):
    return F.NegativeBinomial(_broken(link, **numbers), alpha=1.0, check_link=False)


def _off_domain():
    return bh.GLM(POSITIVE, X, F.Poisson(L.Identity())).fit(start_params=[-1.0, 0.0, 0.0])


CASES = {
    "a family that is none": (
        lambda: bh.GLM(POSITIVE, X, "gama"),
        "family is 'gama', .* use one of 'gaussian', 'binomial'.*sm.families.Tweedie",
    ),
    "a number for a family": (lambda: bh.GLM(POSITIVE, X, 3), "family is 3, which GLM does not know"),
    "the class of a family": (
        lambda: bh.GLM(POSITIVE, X, F.Gamma),
        r"the class Gamma; pass an instance, sm.families.Gamma\(\)",
    ),
    "a name that needs a number": (
        lambda: bh.GLM(YES, X, "negative_binomial"),
        r"depends on a number; pass .*NegativeBinomial\(alpha=1.0\)",
    ),
    "another name that needs one": (
        lambda: bh.GLM(YES, X, "tweedie"),
        r"depends on a number; pass .*Tweedie\(var_power=1.5\)",
    ),
    "a link that the family does not take": (
        lambda: bh.GLM(POSITIVE, X, F.Gamma(L.Logit(), check_link=False)),
        "The Gamma family does not take the link Logit; use one of 'InversePower', 'Log'",
    ),
    "a distribution for a link": (
        lambda: bh.GLM(YES, X, F.Binomial(L.CDFLink())),
        "link CDFLink; use one of .*; for CDFLink take Probit or Cauchy",
    ),
    "a power of zero": (
        lambda: bh.GLM(YES, X, F.Tweedie(L.Power(0.0))),
        "the power of the link is 0.0; pass a number other than 0",
    ),
    "a negative alpha": (
        lambda: bh.GLM(YES, X, _broken(F.NegativeBinomial(alpha=1.0), alpha=-1.0)),
        "alpha of the family is -1.0; .* above 0",
    ),
    "an alpha of the link": (
        lambda: bh.GLM(YES, X, _link(L.NegativeBinomial(), alpha="x")),
        "alpha of the link is 'x'; .* above 0",
    ),
    "a small var_power": (
        lambda: bh.GLM(YES, X, F.Tweedie(var_power=0.5)),
        "var_power is 0.5; use a number from 1 upward",
    ),
    "values outside, gamma": (
        lambda: bh.GLM(_with(POSITIVE, [0, 3], 0.0), X, "gamma"),
        "endog has 2 values of zero or less, and the Gamma family needs positive numbers",
    ),
    "values outside, Poisson": (
        lambda: bh.GLM(_with(YES, 3, -1.0), X, "poisson"),
        "endog has 1 negative value, and the Poisson family needs counts",
    ),
    "values outside, binomial": (
        lambda: bh.GLM(_with(YES, 3, 2.0), X, "binomial"),
        r"1 value outside \[0, 1\], .* successes and failures",
    ),
    "values outside, Tweedie": (
        lambda: bh.GLM(_with(POSITIVE, 3, 0.0), X, F.Tweedie(var_power=2.5)),
        "1 value of zero or less, and the Tweedie family",
    ),
    "zeros only": (lambda: bh.GLM(0 * YES, X, F.NegativeBinomial(alpha=1.0)), "endog is 0 in every row"),
    "one answer": (lambda: bh.GLM(0 * COUNTS + [0, 2], X, "binomial"), "endog is 0 in every row"),
    "shares with freq_weights": (
        lambda: bh.GLM(SHARE, X, "binomial", freq_weights=np.ones(N)),
        "endog has 40 shares between 0 and 1 beside freq_weights, .*; pass two columns, successes and failures",
    ),
    "negative counts": (
        lambda: bh.GLM(COUNTS - 1.0, X, "binomial"),
        "endog has 14 negative counts of successes or failures; pass",
    ),
    "counts and weights": (
        lambda: bh.GLM(COUNTS, X, "binomial", var_weights=np.ones(N)),
        "successes and failures, whose numbers of trials are the weights, and var_weights .*; pass one column of shares",
    ),
    "counts of another family": (lambda: bh.GLM(COUNTS, X, "poisson"), "endog has 2 columns; pass one"),
    "counts of another family in a formula": (
        lambda: bh.glm("s + f ~ a", FRAME, family="poisson"),
        "would be read as terms",
    ),
    "three columns": (lambda: bh.GLM(X, X, "binomial"), "endog has 3 columns; pass one"),
    "an exposure without a logarithm": (
        lambda: bh.GLM(YES, X, "binomial", exposure=POSITIVE),
        "exposure is a factor .* this one is Logit; pass an offset",
    ),
    "negative var_weights": (
        lambda: bh.GLM(POSITIVE, X, "gamma", var_weights=-POSITIVE),
        "var_weights has 40 negative values",
    ),
    "an unknown option of a formula": (
        lambda: bh.glm("y ~ a", FRAME, weights="b"),
        "does not know 'weights'; its options are .*'var_weights'",
    ),
    "a link beside the family": (
        lambda: bh.glm("y ~ a", FRAME, link="log"),
        r"link is 'log', and a family has its link; pass it with the family, such as family=sm.families.Poisson\(link=",
    ),
    "an offset of R's": (lambda: bh.glm("y ~ a + offset(b)", FRAME), "an offset stands beside the formula, offset='b'"),
    "trials of R's": (lambda: bh.glm("cbind(s, f) ~ a", FRAME, family="binomial"), r"are written 's \+ f ~ ...'"),
    "strata of R's": (lambda: bh.phreg("y ~ a + strata(b)", FRAME), "strata stand beside the formula, strata='b'"),
    "clusters of R's": (
        lambda: bh.phreg("y ~ a + cluster(b)", FRAME),
        r"clusters belong to the covariance, fit\('cluster', \{'groups': data\['b'\]\}\)",
    ),
    "a scale that is none": (
        lambda: bh.GLM(POSITIVE, X, "gamma").fit(scale="x3"),
        "scale is 'x3'; use None .*, 'X2' .*, 'dev' .* or a positive number",
    ),
    "a scale of zero": (lambda: bh.GLM(POSITIVE, X, "gamma").fit(scale=0.0), "scale is 0.0; .* a positive number"),
    "a solver": (lambda: bh.GLM(POSITIVE, X, "gamma").fit(method="newton"), "fit does not take 'method'"),
    "a start off the domain": (
        _off_domain,
        "gives a mean only to an index above 0, and at the starting parameters 40 rows have another; pass start_params",
    ),
    "draws at a scale": (
        lambda: bh.GLM(YES, X, "poisson").fit(bh.Bootstrap(19, "parametric", seed=1), scale="X2"),
        "no distribution of the family has a scale other than 1; use kind='pairs'",
    ),
    "draws of Tweedie": (
        lambda: bh.GLM(POSITIVE, X, F.Tweedie(var_power=1.5)).fit(bh.Bootstrap(19, "parametric", seed=1)),
        "the Tweedie family does not have here: .*; use the pairs or the score bootstrap",
    ),
    "a distribution of Tweedie": (
        lambda: bh.GLM(POSITIVE, X, F.Tweedie(var_power=1.5)).fit().get_distribution(),
        "get_distribution returns one of scipy's",
    ),
    "a kind of R2": (lambda: bh.GLM(POSITIVE, X, "gamma").fit().pseudo_rsquared("r"), "kind is 'r'; use 'cs'"),
    "separated data": (
        lambda: bh.GLM((X[:, 1] > 0) * 1.0, X, F.Binomial(L.CLogLog())).fit(),
        "no finite estimate: the data are separated",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence(name):
    mistake, says = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(bh.BetahatError) as found:
            mistake()
    assert re.search(says, str(found.value), re.S), str(found.value)
    assert len(str(found.value)) <= 420
    assert str(found.value).endswith(".")
