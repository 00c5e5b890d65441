"""Designs of least squares: well and badly conditioned, with and without a constant, weighted, singular."""

from dataclasses import dataclass, field

import numpy as np
import statsmodels.api as sm

# As in conftest.py.
RELATIVE = 1e-9
# The pseudoinverse has a relative error of about u * condition, u = 1.1e-16; a factor of 10 for n and k. It is
# statsmodels' error: `test_scales_of_columns_do_not_matter` holds betahat to 1e-9 on the same design.
UNIT_ROUNDOFF = 1.1e-16
PSEUDOINVERSE = 10 * UNIT_ROUNDOFF


@dataclass(frozen=True, eq=False)
class Case:
    """One problem: data for betahat, and the float64 twin that statsmodels gets."""

    endog: object
    exog: object
    weights: object = None
    hasconst: bool | None = None
    collinear: bool = False
    tolerance: float = RELATIVE
    twin: tuple = field(default=())

    def fit(self, package, **options):
        endog, exog = self.twin if self.twin and package is sm else (self.endog, self.exog)
        extra = {} if self.hasconst is None else {"hasconst": self.hasconst}
        if self.weights is None:
            return package.OLS(endog, exog, **extra).fit(**options)
        return package.WLS(endog, exog, weights=self.weights, **extra).fit(**options)


def designs():
    rng = np.random.default_rng(20240611)
    n = 60
    raw = rng.normal(size=(n, 3))
    x = sm.add_constant(raw)
    noise = rng.normal(size=n) * (1 + np.abs(raw[:, 0]))
    y = x @ [1.0, 2.0, -1.0, 0.3] + noise
    dummies = np.eye(4)[rng.integers(0, 4, n)]
    flags = (raw > 0).astype(float)
    whole = rng.integers(-9, 10, size=(n, 3))
    tall = x * 10.0 ** np.array([0, -6, 6, 2])
    w = rng.uniform(0.1, 5.0, n)
    wild = 1e8 ** rng.choice([-1.0, 1.0], n)
    single = np.float32
    many = 60_000
    long = sm.add_constant(rng.normal(size=(many, 4)) @ (np.eye(4) + 0.3 * rng.normal(size=(4, 4))))
    target = long @ [1.0, -1, 0.5, 0, 2] + rng.normal(size=many) * (1 + np.abs(long[:, 1]))
    near = np.column_stack([long, long[:, 1] + 1e-3 * rng.normal(size=many)])
    yield "constant", Case(y, x)
    yield "constant last and not one", Case(y, np.column_stack([raw, np.full(n, 5.0)]))
    yield "no constant", Case(y, raw)
    yield "implicit constant", Case(y, np.column_stack([dummies, raw[:, 0]]))
    yield "all dummies", Case(y, dummies)
    yield "badly scaled", Case(y, tall, tolerance=of_pseudoinverse(tall))
    yield "tiny endog", Case(y * 2.0**-300, x)
    yield "huge endog", Case(y * 2.0**300, x)
    yield "far from zero", Case(y + 1e4, x)
    yield "single regressor", Case(y, raw[:, 1])
    yield "only a constant", Case(y, np.ones(n))
    yield "one row more than columns", Case(y[:5], x[:5])
    yield "two rows more than columns", Case(y[:6], x[:6])
    yield "duplicated column", Case(y, np.column_stack([x, x[:, 2]]), collinear=True)
    yield "dummy trap", Case(y, np.column_stack([np.ones(n), dummies, raw]), collinear=True)
    yield "sum of columns", Case(y, np.column_stack([x, raw.sum(1)]), collinear=True)
    yield "zero column", Case(y, np.column_stack([x, np.zeros(n)]), collinear=True)
    yield "hasconst True with one", Case(y, x, hasconst=True)
    yield "hasconst True without", Case(y, raw, hasconst=True)
    yield "hasconst False with one", Case(y, x, hasconst=False)
    yield "hasconst False implicit", Case(y, dummies, hasconst=False)
    yield "weights", Case(y, x, w)
    yield "weights, no constant", Case(y, raw, rng.exponential(size=n))
    yield "weights, implicit constant", Case(y, dummies, rng.exponential(size=n))
    yield "weights, one number", Case(y, x, 3.0)
    yield "weights of 1e8 and 1e-8", Case(y, x, wild, tolerance=of_pseudoinverse(x * np.sqrt(wild)[:, None]))
    narrow = (y.astype(single), x.astype(single))
    yield "float32", Case(*narrow, twin=(narrow[0].astype(float), narrow[1].astype(float)))
    yield "integers", Case(np.round(5 * y).astype(int), sm.add_constant(whole).astype(int))
    yield "booleans", Case(y, sm.add_constant(flags) > 0, twin=(y, sm.add_constant(flags)))
    yield "large", Case(target, long)
    yield "large, weights", Case(target, long, rng.exponential(size=many))
    yield "large, nearly collinear", Case(target, near, tolerance=of_pseudoinverse(near))
    yield "large, duplicated column", Case(target, np.column_stack([long, long[:, 2]]), collinear=True)
    yield "boolean endog", Case(y > 0, x, twin=((y > 0).astype(float), x))


def of_pseudoinverse(x):
    return max(RELATIVE, PSEUDOINVERSE * np.linalg.cond(x))


DESIGNS = dict(designs())
