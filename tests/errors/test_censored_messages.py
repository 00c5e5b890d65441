"""What Tobit and AFT refuse, and what it says."""

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

RANDOM = np.random.default_rng(0)
X = bh.add_constant(RANDOM.normal(size=(60, 2)))
Y = np.maximum(RANDOM.normal(size=60), 0.0)


def _named():
    return pd.DataFrame({"const": X[:, 0], "log(scale)": X[:, 1]})


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: bh.Tobit(Y - 0.5, X), bh.DataError, r"endog has \d+ values below the left limit 0"),
        (lambda: bh.Tobit(Y, X, right=0.5), bh.DataError, r"endog has \d+ values above the right limit 0.5.*clip"),
        (lambda: bh.Tobit(Y, X, left=4, right=0), bh.OptionError, "left is 4 and right is 0"),
        (lambda: bh.Tobit(Y, X, left=None), bh.OptionError, "needs a limit, left or right"),
        (lambda: bh.Tobit(Y, X, left="zero"), bh.OptionError, "left is 'zero'; pass a number"),
        (lambda: bh.Tobit(Y, X, right=float("inf")), bh.OptionError, "right is inf; pass a number"),
        (lambda: bh.Tobit((Y > 0) * 1.0, X, right=1), bh.DataError, "Every value of endog is at a limit"),
        (lambda: bh.Tobit(Y, X).fit().predict(which="mean"), bh.OptionError, "which is 'mean'; use one of 'latent'"),
        (lambda: bh.Tobit(Y, X).predict(np.zeros(4), which="mean"), bh.OptionError, "use one of 'latent'"),
        (lambda: bh.Tobit(Y, X).fit("HC3"), bh.EstimationError, "leverage"),
        (lambda: bh.Tobit(Y, X).fit().get_margeff(which="mean"), bh.OptionError, "use one of 'latent'"),
        (
            lambda: bh.Tobit(Y, _named()),
            bh.DataError,
            r"Tobit has a parameter 'log\(scale\)' of its own.*rename the column",
        ),
        (lambda: bh.AFT(Y + 1, _named()), bh.DataError, r"AFT has a parameter 'log\(scale\)' of its own"),
        (lambda: bh.aft("Surv(y, s) ~ 1", {"y": Y}), bh.FormulaError, "write 'y ~ ...' and pass status='s'"),
        (lambda: bh.AFT(Y, X), bh.DataError, r"time has \d+ values of zero or less"),
        (lambda: bh.AFT(-1.0 - Y, X), bh.DataError, "time has 60 values of zero or less"),
        (lambda: bh.AFT(Y + 1, X, status=np.arange(60) % 3), bh.DataError, "status has 20 values other than 0 and 1"),
        (lambda: bh.AFT(Y + 1, X, status=np.zeros(60)), bh.DataError, "No row has an event"),
        (lambda: bh.AFT(Y + 1, X, dist="gamma"), bh.OptionError, "dist is 'gamma'; use one of 'weibull'"),
        (lambda: bh.AFT(Y + 1, X).fit(bread="expected"), bh.OptionError, "when a time would have been censored"),
        (lambda: bh.AFT(Y + 1, X).fit(bh.Bootstrap(9, "parametric")), bh.EstimationError, "when a drawn time would be"),
        (lambda: bh.AFT(Y + 1, X).fit().quantiles(1.5), bh.OptionError, "p is 1.5; pass a share"),
    ],
)
def test_sentences(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_column_that_tells_who_is_censored():
    x = np.column_stack([X, Y == 0])
    with pytest.raises(bh.EstimationError, match=r"falls forever along .*x3"):
        bh.Tobit(Y, x).fit()


@pytest.mark.parametrize("dist", ["weibull", "exponential", "lognormal", "loglogistic"])
def test_a_group_without_an_event(dist):
    group = np.arange(60) % 3 == 0
    with pytest.raises(bh.EstimationError, match=r"falls forever along .*x3"):
        bh.AFT(Y + 1, np.column_stack([X, group]), status=~group, dist=dist).fit()


LINE = pd.DataFrame({"x": np.arange(40.0), "t": np.exp(np.arange(40.0) / 10), "late": np.arange(40) % 2})


@pytest.mark.parametrize(
    "call",
    [
        lambda: bh.tobit("x ~ I(2 * x)", LINE),
        lambda: bh.tobit("np.maximum(x, 5) ~ x", LINE, left=5),
        lambda: bh.tobit("x ~ I(2 * x)", LINE, dtype=torch.float32),
        lambda: bh.tobit("I(0.1 * x) ~ x", LINE, left=None, right=1e9),
        lambda: bh.aft("I(0 * x + 3) ~ 1", LINE),
        lambda: bh.aft("t ~ x", LINE, dist="lognormal"),
        lambda: bh.aft("I(t - late / 2) ~ x", LINE, status=1 - LINE["late"]),
        lambda: bh.aft("I(t + 9 * (x > 30)) ~ x", LINE, weights=(LINE["x"] <= 30) * 1.0),
    ],
)
def test_an_exact_fit_has_no_scale(call):
    with pytest.raises(bh.DataError, match="is fitted exactly in every row that is not censored, so the scale goes to"):
        call()


def test_a_fit_that_is_not_exact_has_a_scale():
    bh.aft("I(0 * x + 3) ~ 1", LINE, dist="exponential").fit()
    beyond = LINE.assign(t=np.where(LINE["late"] == 1, 9 * LINE["t"], LINE["t"]))  # where x'b is not within the bound
    assert bh.aft("t ~ x", beyond, status=1 - LINE["late"]).fit().sigma > 0.1
    tiny = LINE["x"] + 1e-9 * np.sin(7 * LINE["x"])
    assert 1e-10 < bh.tobit("y ~ x", LINE.assign(y=tiny)).fit().sigma < 1e-9
