"""What marginaleffects 0.6.0 says of statsmodels' results, for statsmodels_margins.json: run by hand, with polars < 2.

Its standard errors come from forward differences in the parameters, which have three or four digits. Here it is given a better difference:
central ones with steps of 1/200 and 1/400 of the standard errors, extrapolated to zero (Richardson), of about nine. statsmodels is made to go to
its optimum.

    python -m venv v && v/bin/pip install 'polars<2' marginaleffects==0.6.0 statsmodels==0.15.0 && v/bin/python tests/margins/statsmodels_margins.py
"""

import importlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
AGE = "I(age**2)"
TEXT = f"x * treated + age + {AGE} + region"

# name -> (dependent variable and model, function of marginaleffects, its arguments)
CALLS = {
    "slopes": ("avg_slopes", {}),
    "slopes by": ("avg_slopes", {"by": "treated"}),
    "slope of age": ("avg_slopes", {"variables": "age", "newdata": "mean"}),
    "elasticity": ("avg_slopes", {"variables": "age", "slope": "eyex"}),
    "eydx": ("avg_slopes", {"variables": "x", "slope": "eydx"}),
    "dyex": ("avg_slopes", {"variables": "age", "slope": "dyex", "by": "treated"}),
    "comparisons": ("avg_comparisons", {}),
    "comparisons by": ("avg_comparisons", {"by": ["treated", "region"], "variables": "x"}),
    "sd": ("avg_comparisons", {"variables": {"age": "sd"}}),
    "2sd": ("avg_comparisons", {"variables": {"age": "2sd"}}),
    "iqr": ("avg_comparisons", {"variables": {"x": "iqr"}}),
    "minmax": ("avg_comparisons", {"variables": {"x": "minmax"}}),
    "ten": ("avg_comparisons", {"variables": {"age": 10}}),
    "pair": ("avg_comparisons", {"variables": {"age": [30, 50]}}),
    "pairwise": ("avg_comparisons", {"variables": {"region": "pairwise"}}),
    "revpairwise": ("avg_comparisons", {"variables": {"region": "revpairwise"}}),
    "sequential": ("avg_comparisons", {"variables": {"region": "sequential"}}),
    "revsequential": ("avg_comparisons", {"variables": {"region": "revsequential"}}),
    "all": ("avg_comparisons", {"variables": {"region": "all"}}),
    "ratio": ("avg_comparisons", {"variables": "treated", "comparison": "ratio"}),
    "lnratio": ("avg_comparisons", {"variables": "x", "comparison": "lnratio", "by": "treated"}),
    "lift": ("avg_comparisons", {"variables": "treated", "comparison": "lift"}),
    "weights": ("avg_comparisons", {"variables": "x", "wts": "w"}),
    "predictions": ("avg_predictions", {}),
    "predictions by": ("avg_predictions", {"by": "region"}),
    "at mean": ("predictions", {"newdata": "mean"}),
    "rows": ("predictions", {"newdata": "head"}),
    "rows of slopes": ("slopes", {"newdata": "head", "variables": "x"}),
    "rows of comparisons": ("comparisons", {"newdata": "head", "variables": "age"}),
    "null": ("avg_slopes", {"variables": "x", "hypothesis": 0.1}),
    "equation": ("avg_slopes", {"variables": ["x", "age"], "hypothesis": "b0 = b1"}),
    "differences": ("avg_predictions", {"by": "region", "hypothesis": "difference ~ pairwise"}),
    "references": ("avg_predictions", {"by": "region", "hypothesis": "difference ~ revreference"}),
    "sequence": ("avg_predictions", {"by": "region", "hypothesis": "ratio ~ sequential"}),
}
OF_SHARES = {
    "lnor": ("avg_comparisons", {"variables": "treated", "comparison": "lnor"}),
    "lnor by": ("avg_comparisons", {"variables": "x", "comparison": "lnor", "by": "treated"}),
}
# Of several outcomes.
FEW = ["slopes", "slopes by", "comparisons", "sd", "pairwise", "ratio", "predictions", "rows of slopes", "elasticity"]


def calls_of(name):
    """Return the calls of a model."""
    if name in ("multinomial", "ordered"):
        return {key: CALLS[key] for key in FEW}
    return CALLS | (OF_SHARES if name == "logit" else {})


def made_frame():
    """Return the data."""
    rng = np.random.default_rng(11)
    n = 300
    frame = pd.DataFrame(
        {
            "x": rng.normal(1.0, 1.0, n).round(3),
            "age": rng.uniform(20.0, 60.0, n).round(2),
            "treated": rng.integers(0, 2, n),
            "region": rng.choice(["north", "south", "west"], n),
            "firm": rng.integers(0, 8, n),
            "w": rng.uniform(0.5, 2.0, n).round(3),
        }
    )
    index = 0.3 * frame.x + 0.4 * frame.treated - 0.02 * (frame.age - 40.0) + 0.4 * (frame.region == "west") - 0.3
    noise = rng.logistic(size=n)
    shares = np.exp(np.column_stack([np.zeros(n), index, 0.5 - 0.5 * index]))
    shares /= shares.sum(1, keepdims=True)
    return frame.assign(
        value=(3.0 + index + 0.1 * frame.firm + rng.normal(size=n)).round(4),
        yes=(index + noise > 0.0).astype(int),
        count=rng.poisson(np.exp(0.5 + 0.5 * index)),
        choice=[int(rng.choice(3, p=row)) for row in shares],
        rating=np.digitize(index + rng.logistic(size=n), [-1.0, 0.7]),
    )


def fitted(frame):
    """Return statsmodels' results."""
    import statsmodels.formula.api as smf
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    frame = frame.assign(region=frame.region.astype("category"))
    tight = {"disp": 0, "method": "newton", "tol": 1e-12, "maxiter": 100}
    ordered = OrderedModel.from_formula(f"rating ~ {TEXT}", frame, distr="logit")
    first = ordered.fit(disp=0, method="bfgs", gtol=1e-8, maxiter=2000).params
    effects = smf.ols(f"value ~ {TEXT} + C(firm)", frame.assign(firm=frame.firm.astype(str).astype("category")))
    return frame, {
        "ols": smf.ols(f"value ~ {TEXT}", frame).fit(cov_type="HC1"),
        "logit": smf.logit(f"yes ~ {TEXT}", frame).fit(**tight),
        "poisson": smf.poisson(f"count ~ {TEXT}", frame).fit(**tight),
        "effects": effects.fit(),
        "multinomial": smf.mnlogit(f"choice ~ {TEXT}", frame).fit(**tight),
        "ordered": ordered.fit(first, disp=0, method="newton", tol=1e-12, maxiter=200),
    }


def answer(me, model, function, options, data):
    """Return a call's estimates with extrapolated standard errors."""
    options = dict(options)
    if isinstance(options.get("newdata"), str) and options["newdata"] == "head":
        options["newdata"] = data.head(5)
    covariance = np.asarray(model.cov_params())
    steps = np.sqrt(np.diag(covariance)) / 200.0

    def jacobian(function, coefs, eps_vcov=None):
        coefs = np.asarray(coefs, dtype=float)

        def at(flat):
            found = function(flat.reshape(coefs.shape, order="F"))
            return np.asarray(found["estimate"] if hasattr(found, "columns") else found, dtype=float).reshape(-1)

        start, columns = coefs.flatten(order="F"), []
        for i, step in enumerate(steps):
            move = np.zeros_like(start)
            move[i] = step
            coarse = (at(start + move) - at(start - move)) / (2.0 * step)
            fine = (at(start + move / 2.0) - at(start - move / 2.0)) / step
            columns.append((4.0 * fine - coarse) / 3.0)
        return np.column_stack(columns)

    for name in ("comparisons", "predictions"):
        module = importlib.import_module(f"marginaleffects.{name}")
        module.get_jacobian, module.autodiff_try = jacobian, lambda **_: None
    result = getattr(me, function)(model, **options)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", result.jacobian, covariance, result.jacobian))
    table = result.to_pandas()
    null = (table["estimate"] - table["statistic"] * table["std_error"]).round(9).tolist()
    keys = [name for name in ("group", "term", "contrast", "rowid", "treated", "region") if name in table]
    by = options.get("by")
    wanted = {"group", "term", "contrast"} | set([by] if isinstance(by, str) else by or [])
    keys = [name for name in keys if name in wanted or (name == "rowid" and "newdata" in options)]
    return {
        "keys": table[keys].astype(str).to_dict("list"),
        "estimate": table["estimate"].tolist(),
        "std_error": errors.tolist(),
        "null": null,
    }


def main():
    """Write the answers."""
    import marginaleffects as me

    warnings.simplefilter("ignore")
    frame = made_frame()
    data, models = fitted(frame)
    found, failed = {}, {}
    for name, model in models.items():
        for key, (function, options) in calls_of(name).items():
            try:
                found[f"{name}: {key}"] = answer(me, model, function, options, data)
            except Exception as error:
                failed[f"{name}: {key}"] = f"{type(error).__name__}: {str(error)[:200]}"
    text = json.dumps({"frame": frame.to_dict("list"), "answers": found})
    (HERE / "statsmodels_margins.json").write_text(text)
    print(len(found), "answers")
    for key, error in failed.items():
        print(key, error, file=sys.stderr)


if __name__ == "__main__":
    main()
