"""Problems for Logit, Probit, Poisson and MNLogit, and how to fit them with either package."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import statsmodels.api as sm

import betahat as bh

# statsmodels stops after a step below `tol`, in absolute terms. Without the ridge that it adds to the Hessian, which is no
# small number where columns have small units, its steps converge quadratically: the next would be below rounding.
CONVERGED = {"disp": 0, "method": "newton", "tol": 1e-12, "maxiter": 50, "ridge_factor": 0.0}

BINARY = ("Logit", "Probit")
MODELS = (*BINARY, "Poisson", "MNLogit")


@dataclass(frozen=True, eq=False)
class Case:
    """One problem, and how to fit it with either package."""

    model: str
    endog: object
    exog: object
    options: dict = field(default_factory=dict)

    def fit(self, package, **fit):
        extra = CONVERGED if package is sm else {}
        return getattr(package, self.model)(self.endog, self.exog, **self.options).fit(**fit, **extra)


def draw(model, x, seed):
    """Draw a dependent variable that is not separated."""
    rng = np.random.default_rng(seed)
    n, k = x.shape
    index = 0.4 + (x - x.mean(0)) / np.maximum(x.std(0), 1e-300) @ rng.normal(size=k) * 0.6
    if model == "Poisson":
        return rng.poisson(np.exp(index)) * 1.0
    if model == "MNLogit":
        other = x @ rng.normal(size=k) * 0.3 / np.maximum(np.abs(x).max(), 1.0)
        return np.argmax(np.column_stack([np.zeros(n), index, other]) + rng.gumbel(size=(n, 3)), 1)
    return (index + rng.logistic(size=n) > 0) * 1.0


def _cases():
    rng = np.random.default_rng(20240612)
    n = 150
    raw = rng.normal(size=(n, 3))
    x = sm.add_constant(raw)
    dummies = np.eye(3)[rng.integers(0, 3, n)]
    exposure, offset = rng.uniform(0.5, 4.0, n), 0.4 * rng.normal(size=n)
    designs = {
        "constant": x,
        "no constant": raw,
        "constant last": np.column_stack([raw, np.full(n, 2.0)]),
        "all dummies": dummies,
        "dummies and more": np.column_stack([dummies, raw[:, :1]]),
        "single column": raw[:, :1],
        "badly scaled": x * [1, 1e-4, 1e4, 30],
        "far from zero": x + np.array([0, 20, 0, 0]),
        "whole numbers": sm.add_constant(rng.integers(0, 4, (n, 2)).astype(float)),
    }
    for model in MODELS:
        for seed, (name, design) in enumerate(designs.items()):
            yield f"{model}, {name}", Case(model, draw(model, design, seed), design)
        if model != "MNLogit":
            yield f"{model}, offset", Case(model, draw(model, x, 50), x, {"offset": offset})
            yield f"{model}, offset, no constant", Case(model, draw(model, raw, 51), raw, {"offset": offset})
    counts = draw("Poisson", x, 52)
    yield "Poisson, exposure", Case("Poisson", counts, x, {"exposure": exposure})
    yield "Poisson, exposure and offset", Case("Poisson", counts, x, {"exposure": exposure, "offset": offset})
    yield "Poisson, large counts", Case("Poisson", rng.poisson(np.exp(7 + raw[:, 0])) * 1.0, x)
    yield "Poisson, no whole numbers", Case("Poisson", rng.exponential(np.exp(raw[:, 0])), x)
    many = rng.normal(size=(9000, 3))
    for model in MODELS:
        yield f"{model}, 9000 rows", Case(model, draw(model, many, 53), sm.add_constant(many))
    yield "MNLogit, two classes", Case("MNLogit", draw("Logit", x, 54).astype(int), x)
    five = np.argmax(x @ rng.normal(size=(4, 5)) * 0.6 + rng.gumbel(size=(n, 5)), 1)
    yield "MNLogit, five classes", Case("MNLogit", five, x)


CASES = dict(_cases())
ONE_INDEX = [name for name in CASES if not name.startswith("MNLogit")]


@cache
def fitted_pair(name, cov_type, use_t, quiet):
    case = CASES[name]
    options = {"cov_type": cov_type, "use_t": use_t}
    return case.fit(bh, **options), quiet(case.fit, sm, **options)


def rounding_units(r):
    """Name each attribute with the size that its rounding error is relative to, from statsmodels' results."""
    bse, params, t = map(np.asarray, (r.bse, r.params, r.tvalues))
    steepness = 1 + (np.minimum(t**2, r.df_resid) if r.use_t else t**2)
    units = {
        "params": np.maximum(abs(params), bse),
        "bse": bse,
        "tvalues": np.maximum(abs(t), 1.0),
        "pvalues": np.asarray(r.pvalues) * steepness,
        "llf": None,
        "aic": None,
        "bic": None,
        "df_model": None,
        "df_resid": None,
        "nobs": None,
        "normalized_cov_params": outer(np.asarray(r.normalized_cov_params)),
    }
    for name in ("fittedvalues", "resid_response", "resid_pearson", "resid_dev", "resid_generalized"):
        if isinstance(r.model, sm.MNLogit) and name == "resid_pearson":
            continue  # statsmodels divides by the variance of the class's number
        value = getattr(r, name, None)
        if value is not None:
            # An error in the index is one in every residual, whether that is large or not.
            units[name] = np.maximum(abs(np.asarray(value)), np.max(abs(np.asarray(r.fittedvalues))))
    return units


def outer(matrix):
    size = np.sqrt(np.abs(np.diag(matrix)))
    return np.outer(size, size)
