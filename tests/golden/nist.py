"""Check nist.json against exact rational arithmetic.

Run from anywhere:  python tests/golden/nist.py

For every NIST StRD linear regression set the normal equations are solved with
fractions.Fraction on the decimals as NIST printed them, and the result is held
against the certified values. The first column is the largest relative
difference found; a certified value of 15 digits can be off by 5e-15 from its
rounding alone, and a certified zero has to be an exact zero. The other two
columns show what double precision leaves of each problem before any fitting is
done: the exact solution of the problem whose data, or whose whole design matrix
(x, x**2, ...), were first rounded to doubles, against the certified values.

Needs only the standard library.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

PATH = Path(__file__).with_name("nist.json")
DIGITS = 60  # of the square roots


def load(path: Path = PATH) -> list[dict]:
    """The sets, with every number a Fraction of its printed decimal."""
    text = path.read_text()
    return json.loads(text, parse_float=Fraction, parse_int=Fraction)["sets"]


def design(s: dict, convert=Fraction) -> list[list]:
    """Rows of the design matrix; `convert` is applied to x before the powers."""
    columns = [[convert(v) for v in s["x"][name]] for name in s["regressors"]]
    if s["degree"] is not None:
        (x,) = columns
        columns = [[v**j for v in x] for j in range(1, int(s["degree"]) + 1)]
    if s["intercept"]:
        columns.insert(0, [convert(1)] * len(columns[0]))
    return [list(row) for row in zip(*columns, strict=True)]


def inverse(a: list[list[Fraction]]) -> list[list[Fraction]]:
    """Gauss-Jordan; exact, so any nonzero pivot will do."""
    k = len(a)
    m = [row[:] + [Fraction(int(i == j)) for j in range(k)] for i, row in enumerate(a)]
    for c in range(k):
        p = next(r for r in range(c, k) if m[r][c] != 0)
        m[c], m[p] = m[p], m[c]
        pivot = m[c][c]
        m[c] = [v / pivot for v in m[c]]
        for r in range(k):
            if r != c and m[r][c] != 0:
                f = m[r][c]
                m[r] = [u - f * v for u, v in zip(m[r], m[c], strict=True)]
    return [row[k:] for row in m]


def root(v: Fraction) -> Fraction:
    with localcontext() as ctx:
        ctx.prec = DIGITS
        return Fraction((Decimal(v.numerator) / Decimal(v.denominator)).sqrt())


def fit(x: list[list[Fraction]], y: list[Fraction], intercept: bool) -> dict:
    """Ordinary least squares, exact but for the square roots."""
    n, k = len(x), len(x[0])
    xtx = [[sum(r[i] * r[j] for r in x) for j in range(k)] for i in range(k)]
    xty = [sum(r[i] * v for r, v in zip(x, y, strict=True)) for i in range(k)]
    inv = inverse(xtx)
    b = [sum(u * v for u, v in zip(row, xty, strict=True)) for row in inv]
    ss_residual = sum((v - sum(p * q for p, q in zip(r, b, strict=True))) ** 2 for r, v in zip(x, y, strict=True))
    center = sum(y) / n if intercept else Fraction(0)
    ss_total = sum((v - center) ** 2 for v in y)
    df = n - k
    s2 = ss_residual / df
    ss_regression = ss_total - ss_residual
    return {
        "coef": b,
        "sd": [root(s2 * inv[j][j]) for j in range(k)],
        "residual_sd": root(s2),
        "r_squared": 1 - ss_residual / ss_total,
        "df_residual": Fraction(df),
        "ss_regression": ss_regression,
        "ss_residual": ss_residual,
        "f_statistic": ss_regression / (k - int(intercept)) / s2 if s2 else None,
    }


def exact(s: dict) -> dict:
    return fit(design(s), s["y"], s["intercept"])


def data_as_doubles(s: dict) -> dict:
    """Exact solution after rounding x and y (not the powers of x) to doubles."""

    def double(v):
        return Fraction(float(v))

    return fit(design(s, double), [double(v) for v in s["y"]], s["intercept"])


def design_as_doubles(s: dict) -> dict:
    """Exact solution after rounding y and the whole design matrix to doubles."""
    x = [[Fraction(v) for v in row] for row in design(s, float)]
    return fit(x, [Fraction(float(v)) for v in s["y"]], s["intercept"])


def pairs(found: dict, certified: dict, keys):
    for key in keys:
        a, b = found[key], certified[key]
        for u, v in zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]:
            yield key, u, v


def worst(found: dict, certified: dict, keys) -> float:
    """Largest relative difference; infinite where only one side is zero or missing."""
    w = 0.0
    for _, u, v in pairs(found, certified, keys):
        if u is None or v is None:
            d = 0.0 if u is v else float("inf")
        elif v == 0:
            d = 0.0 if u == 0 else float("inf")
        else:
            d = float(abs(u - v) / abs(v))
        w = max(w, d)
    return w


ALL = ("coef", "sd", "residual_sd", "r_squared", "df_residual")
ALL += ("ss_regression", "ss_residual", "f_statistic")

DELTA = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
DELTA += DELTA[-2::-1]  # symmetric


def wampler(i: int) -> list[Fraction]:
    """The y of Wampler i by its published formula."""
    step = Fraction(1, 10) if i == 2 else Fraction(1)
    y = [sum((step * x) ** j for j in range(6)) for x in range(21)]
    scale = {3: 1, 4: 100, 5: 10000}.get(i, 0)
    return [v + scale * d for v, d in zip(y, DELTA, strict=True)]


def main() -> int:
    bad = []
    print("set          n   k      coef        sd       all   x y as doubles   X as doubles")
    for s in load():
        c = s["certified"]
        k = len(c["coef"])
        lengths = {len(s["y"]), *(len(s["x"][r]) for r in s["regressors"])}
        if lengths != {int(s["n"])} or len(c["sd"]) != k:
            bad.append(f"{s['name']}: lengths disagree")
            continue
        e = exact(s)
        if len(e["coef"]) != k:
            bad.append(f"{s['name']}: {len(e['coef'])} coefficients, {k} certified")
        if s["name"].startswith("Wampler") and s["y"] != wampler(int(s["name"][-1])):
            bad.append(f"{s['name']}: y is not what its formula gives")
        everything = worst(e, c, ALL)
        if not everything <= 6e-15:
            bad.append(f"{s['name']}: {everything:.1e} from the certified values")
        rounded = [worst(f(s), c, ["coef"]) for f in (data_as_doubles, design_as_doubles)]
        print(
            f"{s['name']:10s} {int(s['n']):3d} {k:3d}",
            f"{worst(e, c, ['coef']):9.1e} {worst(e, c, ['sd']):9.1e} {everything:9.1e}",
            f"{rounded[0]:16.1e} {rounded[1]:14.1e}",
        )
    for line in bad:
        print("WRONG", line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
