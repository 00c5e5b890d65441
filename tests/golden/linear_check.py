"""How many digits of linear.json are right: R's numbers against 50-digit arithmetic.

Run from anywhere:  python tests/golden/linear_check.py

Every quantity is recomputed with mpmath from the design matrix and response in
linear.json, by its textbook formula, and the largest relative difference from R
is printed (relative to the largest |y| for residuals and fitted values, whose
own size may be near zero). Use it to choose a tolerance: a test cannot ask for
more digits than R got right.
"""

from __future__ import annotations

import json
from pathlib import Path

import mpmath as mp

PATH = Path(__file__).with_name("linear.json")
mp.mp.dps = 50


def rel(found, true, scale=None) -> float:
    w = mp.mpf(0)
    for u, v in zip(found, true, strict=True):
        size = abs(v) if scale is None else scale
        if size:
            w = max(w, abs(mp.mpf(u) - v) / size)
    return float(w)


def flat(m):
    return [m[i, j] for i in range(m.rows) for j in range(m.cols)]


def rows(r):
    return [v for row in r for v in row]


def p_t(t, df):
    """Two-sided p value of Student's t."""
    return mp.betainc(mp.mpf(df) / 2, mp.mpf(1) / 2, 0, df / (df + t**2), regularized=True)


def p_f(f, d1, d2):
    return mp.betainc(mp.mpf(d2) / 2, mp.mpf(d1) / 2, 0, d2 / (d2 + d1 * f), regularized=True)


def q_t(df):
    """The 0.975 quantile."""
    return mp.findroot(lambda t: p_t(t, df) - mp.mpf("0.05"), mp.mpf(2) + mp.mpf(3) / df)


def wald(b, v, r):
    q = r * b
    return (q.T * (r * v * r.T) ** -1 * q)[0] / r.rows


def check(m: dict) -> dict[str, float]:
    names = m["design"]["names"]
    keep = [i for i, v in enumerate(m["coef"]["values"]) if v is not None]
    x = mp.matrix([[mp.mpf(r[i]) for i in keep] for r in m["design"]["rows"]])
    y = mp.matrix(m["data"][m["response"]])
    n, k = x.rows, x.cols
    w = m["data"][m["weights"]] if m["weights"] else [1] * n
    a = (x.T * mp.diag(w) * x) ** -1
    b = a * (x.T * mp.diag(w) * y)
    e = y - x * b
    df = n - k
    sse = sum(w[i] * e[i] ** 2 for i in range(n))
    s2 = sse / df
    v = s2 * a
    se = [mp.sqrt(v[j, j]) for j in range(k)]
    t = [b[j] / se[j] for j in range(k)]
    h = [w[i] * (x[i, :] * a * x[i, :].T)[0] for i in range(n)]
    center = sum(w[i] * y[i] for i in range(n)) / sum(w) if m["intercept"] else 0
    sst = sum(w[i] * (y[i] - center) ** 2 for i in range(n))
    r2 = 1 - sse / sst
    ymax = max(abs(u) for u in y)
    ll = (sum(mp.log(u) for u in w) - n * (mp.log(2 * mp.pi) + 1 - mp.log(n) + mp.log(sse))) / 2
    rs = [mp.sqrt(w[i]) * e[i] / mp.sqrt(s2 * (1 - h[i])) for i in range(n)]
    rt = [u * mp.sqrt((df - 1) / (df - u**2)) for u in rs]
    change = [a * x[i, :].T * (w[i] * e[i] / (1 - h[i])) for i in range(n)]
    s_i = [mp.sqrt((sse - w[i] * e[i] ** 2 / (1 - h[i])) / (df - 1)) for i in range(n)]

    def kept(values):
        return [values[i] for i in keep]

    out = {
        "coef": rel(kept(m["coef"]["values"]), b),
        "se": rel(kept(m["se"]), se),
        "t_values": rel(kept(m["t_values"]), t),
        "p_values": rel(kept(m["p_values"]), [p_t(u, df) for u in t]),
        "vcov": rel([m["vcov"]["rows"][i][j] for i in keep for j in keep], flat(v)),
        "sigma": rel([m["sigma"]], [mp.sqrt(s2)]),
        "r_squared": rel([m["r_squared"]], [r2]),
        "adj_r_squared": rel([m["adj_r_squared"]], [1 - (1 - r2) * (n - bool(m["intercept"])) / mp.mpf(df)]),
        "logLik": rel([m["logLik"]["value"]], [ll]),
        "AIC": rel([m["AIC"]], [-2 * ll + 2 * (k + 1)]),
        "BIC": rel([m["BIC"]], [-2 * ll + mp.log(n) * (k + 1)]),
        "residuals": rel(m["residuals"], e, ymax),
        "fitted": rel(m["fitted"], y - e, ymax),
        "hatvalues": rel(m["hatvalues"], h),
        "rstandard": rel(m["rstandard"], rs),
        "rstudent": rel(m["rstudent"], rt),
        "cooks_distance": rel(m["cooks_distance"], [rs[i] ** 2 * h[i] / (1 - h[i]) / k for i in range(n)]),
        "dffits": rel(m["dffits"], [rt[i] * mp.sqrt(h[i] / (1 - h[i])) for i in range(n)]),
        "dfbeta": rel(rows(m["dfbeta"]["rows"]), [c[j] for c in change for j in range(k)]),
        "dfbetas": rel(
            rows(m["dfbetas"]["rows"]),
            [c[j] / (s * mp.sqrt(a[j, j])) for c, s in zip(change, s_i, strict=True) for j in range(k)],
        ),
    }
    q = q_t(df)
    out["confint"] = rel(rows(kept(m["confint"]["rows"])), [b[j] + g * q * se[j] for j in range(k) for g in (-1, 1)])

    hc = {}
    omega = {
        "HC0": lambda i: 1,
        "HC1": lambda i: mp.mpf(n) / df,
        "HC2": lambda i: 1 / (1 - h[i]),
        "HC3": lambda i: 1 / (1 - h[i]) ** 2,
    }
    for kind, f in omega.items():
        meat = x.T * mp.diag([(w[i] * e[i]) ** 2 * f(i) for i in range(n)]) * x
        hc[kind] = a * meat * a
        out[kind] = rel(rows(m["vcovHC"][kind]), flat(hc[kind]))
    se3 = [mp.sqrt(hc["HC3"][j, j]) for j in range(k)]
    out["coeftest_t"] = rel(m["coeftest_HC3"]["t"], [b[j] / se3[j] for j in range(k)])
    out["coeftest_p"] = rel(m["coeftest_HC3"]["p"], [p_t(b[j] / se3[j], df) for j in range(k)])

    slopes = [i for i in range(k) if names[keep[i]] != "(Intercept)"]
    r = mp.matrix(len(slopes), k)
    for i, j in enumerate(slopes):
        r[i, j] = 1
    tests = [("f", m["f_slopes"], r)]
    if "linear_hypothesis" in m:  # wt = 2*hp, with wt and hp the second and third
        tests.append(("hypothesis", m["linear_hypothesis"], mp.matrix([[0, 1, -2, 0, 0]])))
    for label, record, r in tests:
        for kind, cov in (("classical", v), ("HC1", hc["HC1"])):
            f = wald(b, cov, r)
            out[f"{label}_{kind}"] = rel([record[kind]["F"]], [f])
            out[f"{label}_{kind}_p"] = rel([record[kind]["p_value"]], [p_f(f, r.rows, df)])
    r = tests[0][2]
    out["fstatistic"] = rel([m["fstatistic"]["value"]], [wald(b, v, r)])

    p = m["predict"]
    for kind, extra in (("confidence", 0), ("prediction", s2)):
        for i in range(3):
            fit, var = (x[i, :] * b)[0], (x[i, :] * v * x[i, :].T)[0]
            half = q * mp.sqrt(var + extra)
            found = [p[kind][c][i] for c in ("fit", "lwr", "upr", "se_fit")]
            d = rel(found, [fit, fit - half, fit + half, mp.sqrt(var)])
            out[f"predict_{kind}"] = max(out.get(f"predict_{kind}", 0.0), d)
            if extra and m["weights"]:
                half = q * mp.sqrt(var + s2 / w[i])
                found = [p["prediction_weighted"][c][i] for c in ("fit", "lwr", "upr")]
                d = rel(found, [fit, fit - half, fit + half])
                out["predict_weighted"] = max(out.get("predict_weighted", 0.0), d)

    if "delta_method" in m:
        z = mp.sqrt(2) * mp.erfinv(mp.mpf("0.95"))
        g = mp.matrix([[0, 1 / b[2], -b[1] / b[2] ** 2, 0, 0]])
        for kind, cov in (("classical", v), ("HC3", hc["HC3"])):
            est, s = b[1] / b[2], mp.sqrt((g * cov * g.T)[0])
            found = [m["delta_method"][kind][c] for c in ("estimate", "se", "lwr", "upr")]
            out[f"delta_{kind}"] = rel(found, [est, s, est - z * s, est + z * s])
    return out


def main() -> None:
    for m in json.loads(PATH.read_text())["models"]:
        print(m["name"])
        worst = sorted(check(m).items(), key=lambda item: -item[1])
        print("   ", ", ".join(f"{k} {d:.0e}" for k, d in worst))


if __name__ == "__main__":
    main()
