"""What Tobit refuses, and what it says."""

import numpy as np
import pytest

import betahat as bh

RANDOM = np.random.default_rng(0)
X = bh.add_constant(RANDOM.normal(size=(60, 2)))
Y = np.maximum(RANDOM.normal(size=60), 0.0)


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
    ],
)
def test_sentences(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_column_that_tells_who_is_censored():
    x = np.column_stack([X, Y == 0])
    with pytest.raises(bh.EstimationError, match=r"falls forever along .*x3"):
        bh.Tobit(Y, x).fit()
