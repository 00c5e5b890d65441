"""Make wild_bootstrap.json: wild cluster bootstrap tests by the package wildboottest.

Run from anywhere, in an environment of its own (Python 3.11.7, 80 seconds, the same bytes each time):

    pip install wildboottest==0.3.2 numpy==2.3.5 numba==0.68.1 pandas==3.1.1
    OMP_NUM_THREADS=1 python tests/golden/wild_bootstrap.py

With NumPy 2.4 and later wildboottest 0.3.2 fails where the variance is CRV3.

With 6, 8 and 10 clusters the package goes through all 2^G vectors of Rademacher signs, so
nothing under `enumerated` is random. With 20 it draws: the p-values under `drawn` have a
simulation error. The package tests a coefficient against zero only; another value is
tested here by giving it y - value * x in the place of y.

Where the null is imposed and the scores are plain, the draws with all signs alike repeat
the sample: there |t*| equals |t|, and rounding decides the package's strict comparison. So
`above`, `below`, `beyond` and `ties` count the draws with t* > t, t* < t, |t*| > |t| and
|t*| = |t| to a relative tolerance of 1e-9, and the package's own p-values, which may count
some of the ties, are kept beside them as `package_p_...`.
"""

import itertools
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from wildboottest.wildboottest import WildboottestCL

PATH = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-9
TYPES = ("11", "31", "13", "33")  # scores (1 plain, 3 jackknifed), then variance (1 CRV1, 3 CRV3)


def make(seed, sizes, labels, treated, beta, shuffle):
    """Regressors 1, x, d (constant in a cluster), and z where beta has four entries.

    The errors have a part common to the cluster, and a variance that depends on x and
    on the cluster. All is rounded to four decimals, so that the file holds it exactly.
    """
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    n, common = len(g), rng.normal(size=(2, len(sizes)))
    x = rng.normal(size=n) + common[0][g]
    d = np.isin(g, treated).astype(float)
    z = rng.gamma(2.0, size=n)
    X = np.column_stack([np.ones(n), x, d, z][: len(beta)]).round(4)
    scale = 0.4 + 0.6 * np.abs(x) + 0.1 * g
    y = (X @ np.array(beta) + 0.5 * common[1][g] + scale * rng.normal(size=n)).round(4)
    cluster = np.array(labels)[g]
    order = rng.permutation(n) if shuffle else np.arange(n)
    return y[order], X[order], cluster[order]


# name: data, and the values of the null hypothesis for each coefficient
DATA = {
    "six": (
        make(11, [4, 6, 7, 8, 10, 15], [1, 2, 3, 4, 5, 6], [0, 2, 5], [1.0, 0.5, 0.3], False),
        {"x": (0.0, 0.3), "d": (0.0, 0.7)},
    ),
    "eight": (
        make(12, [3, 5, 8, 9, 10, 12, 14, 19], [7, 3, 12, 5, 20, 9, 2, 15], [1, 4, 6], [1.0, 0.3, 0.1, 0.2], True),
        {"x": (0.0, 0.1), "d": (0.0, 0.5)},
    ),
    "ten": (
        make(13, [4, 5, 6, 8, 9, 11, 14, 17, 21, 25], list(range(10)), [0, 3, 6, 8], [0.5, -0.2, -0.7, 0.1], True),
        {"x": (0.0, -0.5), "d": (0.0, 0.75)},
    ),
}
LARGE = make(14, [3, 3, 4, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15, 17, 20, 26], list(range(20)),
             [1, 5, 8, 12, 15, 19], [1.0, 0.2, 0.4, 0.1], True)  # fmt: skip
COEFFICIENTS = {"x": 1, "d": 2}
KEEP_T = ("six", "eight")


def run(y, X, cluster, j, null, kind, impose_null, weights="rademacher", B=9999, seed=1):
    R = np.zeros(X.shape[1])
    R[j] = 1
    wb = WildboottestCL(X=X, Y=y - null * X[:, j], cluster=cluster, R=R, B=B, seed=seed, parallel=False)
    wb.get_scores(bootstrap_type=kind, impose_null=impose_null)
    wb.get_weights(weights_type=weights)
    wb.get_numer()
    wb.get_denom()
    wb.get_tboot()
    wb.get_vcov()
    wb.get_tstat()
    return wb


def p_value(wb, tail):
    wb.get_pvalue(tail)
    return float(wb.pvalue)


def counts(t, t_boot):
    edge = TOLERANCE * abs(t)
    return {
        "above": int((t_boot > t + edge).sum()),
        "below": int((t_boot < t - edge).sum()),
        "beyond": int((np.abs(t_boot) > abs(t) + edge).sum()),
        "ties": int((np.abs(np.abs(t_boot) - abs(t)) <= edge).sum()),
    }


def enumerated():
    for name, ((y, X, cluster), nulls) in DATA.items():
        G = len(np.unique(cluster))
        signs = np.array(list(itertools.product([-1, 1], repeat=G))).T
        cases = [(coef, null) for coef in COEFFICIENTS for null in nulls[coef]]
        for kind, impose_null, (coef, null) in itertools.product(TYPES, (True, False), cases):
            j = COEFFICIENTS[coef]
            wb = run(y, X, cluster, j, null, kind, impose_null)
            assert np.array_equal(wb.v, signs)
            assert np.isfinite(wb.t_boot).all()
            t = float(wb.t_stat)
            record = {
                "data": name, "type": kind, "impose_null": impose_null, "coefficient": coef, "null": null,
                "estimate": float(wb.beta_hat[j]) + null, "t": t, "draws": int(wb.B), **counts(t, wb.t_boot),
                "package_p_two_tailed": p_value(wb, "two-tailed"),
                "package_p_equal_tailed": p_value(wb, "equal-tailed"),
                "package_p_greater": p_value(wb, ">"),
                "package_p_less": p_value(wb, "<"),
            }  # fmt: skip
            if name in KEEP_T:
                record["t_boot"] = wb.t_boot.tolist()
            yield record


def drawn():
    weights_types = ("rademacher", "webb", "mammen", "norm")
    for kind, impose_null, weights in itertools.product(("11", "33"), (True, False), weights_types):
        wb = run(*LARGE, 1, 0.0, kind, impose_null, weights, B=99999)
        yield {
            "data": "twenty", "type": kind, "impose_null": impose_null, "weights": weights,
            "coefficient": "x", "null": 0.0, "t": float(wb.t_stat), "draws": int(wb.B),
            "package_p_two_tailed": p_value(wb, "two-tailed"),
            "package_p_equal_tailed": p_value(wb, "equal-tailed"),
        }  # fmt: skip


def main():
    every = {name: data for name, (data, _) in DATA.items()} | {"twenty": LARGE}
    names = ["const", "x", "d", "z"]
    packages = ("wildboottest", "numpy", "numba", "pandas")
    out = {
        "meta": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "data": {
            name: {"y": y.tolist(), "names": names[: X.shape[1]], "X": X.tolist(), "cluster": cluster.tolist()}
            for name, (y, X, cluster) in every.items()
        },
        "enumerated": list(enumerated()),
        "drawn": list(drawn()),
    }
    blocks = [f' "{key}": ' + json.dumps(out[key]) for key in ("meta", "data")]
    for key in ("enumerated", "drawn"):
        blocks.append(f' "{key}": [\n' + ",\n".join("  " + json.dumps(r) for r in out[key]) + "\n ]")
    PATH.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


if __name__ == "__main__":
    main()
