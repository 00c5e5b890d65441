"""NIST's 27 nonlinear regression sets: their models, the reader of NIST's files, and a check of nist_nonlinear.json.

Check:  python tests/golden/nist_nonlinear.py
Remake: python tests/golden/nist_nonlinear.py FOLDER     (a folder with NIST's Misra1a.dat, Chwirut2.dat, ...)

The numbers are NIST/ITL's Statistical Reference Datasets (StRD), nonlinear least squares regression: public
numbers of the United States government. They were read by `parse` from NIST's own files as the source archive of
lmfit 1.3.4 holds them (`pip download --no-deps --no-binary lmfit lmfit==1.3.4`, folder NIST_STRD).

The check evaluates every model with 50 digits (mpmath) on the decimals as printed: the certified parameters must
give the certified residual sum of squares, which a single wrong digit of the data would spoil; then Gauss-Newton
goes on from the certified parameters until nothing moves, and where it stops must be the certified values.
NIST prints 11 digits, so they can be off by 5e-11 from their rounding alone. Lanczos1 is judged by the second
check only: its sum of squares is 1e-25, and rounding its parameters to 11 digits makes it 28,000 times larger.
The last three columns show what doubles leave of a problem when the fitting itself is perfect: the 50-digit
solution once the data are rounded to doubles, and then its standard deviations once the parameters and the model's
values are rounded as well.

Needs mpmath, which torch brings.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import mpmath as mp
import torch

PATH = Path(__file__).with_name("nist_nonlinear.json")
DIGITS = 50
# In NIST's order: from easy to hard.
NAMES = "Misra1a Chwirut2 Chwirut1 Lanczos3 Gauss1 Gauss2 DanWood Misra1b Kirby2 Hahn1 Nelson MGH17 Lanczos1 Lanczos2"
NAMES += " Gauss3 Misra1c Misra1d Roszman1 ENSO MGH09 Thurber BoxBOD Rat42 MGH10 Eckerle4 Rat43 Bennett5"


def _exponential_peaks(b, x, m):
    peaks = b[2] * m.exp(-((x - b[3]) ** 2) / b[4] ** 2) + b[5] * m.exp(-((x - b[6]) ** 2) / b[7] ** 2)
    return b[0] * m.exp(-b[1] * x) + peaks


def _three_exponentials(b, x, m):
    return b[0] * m.exp(-b[1] * x) + b[2] * m.exp(-b[3] * x) + b[4] * m.exp(-b[5] * x)


def _cubic_by_cubic(b, x, m):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _southern_oscillation(b, x, m):
    def cycle(cosine, sine, period):
        angle = 2 * m.pi * x / period
        return cosine * m.cos(angle) + sine * m.sin(angle)

    return b[0] + cycle(b[1], b[2], 12) + cycle(b[4], b[5], b[3]) + cycle(b[7], b[8], b[6])


# Every model as NIST writes it; b[0] is NIST's b1. The third argument is the module that has exp, cos, sin, atan
# and pi: torch, whose x is a tensor (Nelson's of two rows, time and temperature), or mpmath, whose x is a number.
MODELS = {
    "Misra1a": lambda b, x, m=torch: b[0] * (1 - m.exp(-b[1] * x)),
    "Chwirut2": lambda b, x, m=torch: m.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Chwirut1": lambda b, x, m=torch: m.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Lanczos3": lambda b, x, m=torch: _three_exponentials(b, x, m),
    "Gauss1": lambda b, x, m=torch: _exponential_peaks(b, x, m),
    "Gauss2": lambda b, x, m=torch: _exponential_peaks(b, x, m),
    "DanWood": lambda b, x, m=torch: b[0] * x ** b[1],
    "Misra1b": lambda b, x, m=torch: b[0] * (1 - (1 + b[1] * x / 2) ** (-2)),
    "Kirby2": lambda b, x, m=torch: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Hahn1": lambda b, x, m=torch: _cubic_by_cubic(b, x, m),
    "Nelson": lambda b, x, m=torch: b[0] - b[1] * x[0] * m.exp(-b[2] * x[1]),
    "MGH17": lambda b, x, m=torch: b[0] + b[1] * m.exp(-x * b[3]) + b[2] * m.exp(-x * b[4]),
    "Lanczos1": lambda b, x, m=torch: _three_exponentials(b, x, m),
    "Lanczos2": lambda b, x, m=torch: _three_exponentials(b, x, m),
    "Gauss3": lambda b, x, m=torch: _exponential_peaks(b, x, m),
    "Misra1c": lambda b, x, m=torch: b[0] * (1 - (1 + 2 * b[1] * x) ** (-0.5)),
    "Misra1d": lambda b, x, m=torch: b[0] * b[1] * x * (1 + b[1] * x) ** (-1),
    "Roszman1": lambda b, x, m=torch: b[0] - b[1] * x - m.atan(b[2] / (x - b[3])) / m.pi,
    "ENSO": lambda b, x, m=torch: _southern_oscillation(b, x, m),
    "MGH09": lambda b, x, m=torch: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "Thurber": lambda b, x, m=torch: _cubic_by_cubic(b, x, m),
    "BoxBOD": lambda b, x, m=torch: b[0] * (1 - m.exp(-b[1] * x)),
    "Rat42": lambda b, x, m=torch: b[0] / (1 + m.exp(b[1] - b[2] * x)),
    "MGH10": lambda b, x, m=torch: b[0] * m.exp(b[1] / (x + b[2])),
    "Eckerle4": lambda b, x, m=torch: (b[0] / b[1]) * m.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Rat43": lambda b, x, m=torch: b[0] / (1 + m.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Bennett5": lambda b, x, m=torch: b[0] * (b[1] + x) ** (-1 / b[2]),
}


def load(convert=float) -> dict[str, dict]:
    """The sets by name; `convert` makes a number of its printed decimal."""
    return {s["name"]: s for s in json.loads(PATH.read_text(), parse_float=convert)["sets"]}


def parse(text: str) -> dict:
    """One of NIST's files; every number still a piece of text, as printed."""
    head, data = re.split(r"(?m)^Data: .*\by +x.*$", text)
    model = head[head.index("\nModel:") : re.search(r"(?i)starting values +certified", head).start()]
    model = re.sub(r"(?m)^ +pi = .*$", "", model.partition("Parameters")[2].partition("\n")[2])
    values = [m.groups() for m in re.finditer(r"(?m)^ +(b\d) = +(\S+) +(\S+) +(\S+) +(\S+) *$", head)]
    names, start1, start2, params, sd = (list(column) for column in zip(*values, strict=True))
    columns = [list(c) for c in zip(*(line.split() for line in data.splitlines() if line.strip()), strict=True)]

    def find(pattern):
        return re.search(pattern, head).group(1)

    n, k = int(find(r"Number of Observations: +(\d+)")), len(names)
    s = {
        "name": find(r"Dataset Name: +(\w+)"),
        "level": find(r"(\w+) Level of Difficulty").lower(),
        "model": " ".join(model.split()),
        "n": n,
        "x": columns[1] if len(columns) == 2 else columns[1:],
        "y": columns[0],
        "names": names,
        "start1": start1,
        "start2": start2,
        "certified": {
            "params": params,
            "sd": sd,
            "ss_residual": find(r"Residual Sum of Squares: +(\S+)"),
            "residual_sd": find(r"Residual Standard Deviation: +(\S+)"),
            "df_residual": n - k,
        },
    }
    printed = int(find(r"Degrees of Freedom: +(\d+)"))
    if printed != n - k:
        s["note"] = (
            f"NIST prints {printed} degrees of freedom; they are {n} - {k} = {n - k}, as its residual_sd has them"
        )
    return s


def decimal(text: str) -> str:
    """The same decimal as JSON spells it: .591E0 is 0.591."""
    sign, digits, exponent = re.fullmatch(r"(-?)([\d.]+)(?:E([-+]?\d+))?", text).groups()
    digits = "0" * digits.startswith(".") + digits + "0" * digits.endswith(".")
    return sign + digits + (f"E{exponent}" if int(exponent or 0) else "")


def dump(s: dict) -> str:
    """One set as a few long lines of JSON, its numbers as printed."""

    def write(value, key=""):
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}": {write(v, k)}' for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(write(v, key) for v in value) + "]"
        if isinstance(value, int) or key in ("name", "level", "model", "names", "note"):
            return json.dumps(value)
        return decimal(value)

    return "{" + ",\n ".join(f'"{key}": {write(value, key)}' for key, value in s.items()) + "}"


def remake(folder: Path) -> None:
    sets = [parse((folder / f"{name}.dat").read_text()) for name in NAMES.split()]
    about = (
        "NIST/ITL Statistical Reference Datasets (StRD), nonlinear least squares regression. Data and certified values"
        " are public numbers of the United States government, the decimals as NIST prints them: parse with Decimal to"
        " keep every digit. Nelson has two predictors, and its model is of log(y). Made by nist_nonlinear.py."
    )
    PATH.write_text(f'{{\n"about": {json.dumps(about)},\n"sets": [\n' + ",\n".join(map(dump, sets)) + "\n]}\n")


def response(s: dict, m: ModuleType = math) -> list:
    """What the model is a model of: y, and log(y) for Nelson."""
    return [m.log(v) for v in s["y"]] if s["name"] == "Nelson" else s["y"]


def rows(s: dict) -> list:
    """The rows of x: numbers, and pairs of numbers for Nelson."""
    return list(zip(*s["x"], strict=True)) if s["name"] == "Nelson" else s["x"]


def double(v) -> mp.mpf:
    return mp.mpf(float(v))


def residuals(s: dict, b: list, convert=mp.mpf) -> mp.matrix:
    """Return y - f(x) with 50 digits; `convert` rounds every value of the model."""
    f = MODELS[s["name"]]
    return mp.matrix([y - convert(f(b, x, mp)) for y, x in zip(response(s, mp), rows(s), strict=True)])


def solve(s: dict, start: list | None = None) -> dict:
    """Gauss-Newton with 50 digits; derivatives by central differences, good to 28 digits."""
    b, n = start or s["certified"]["params"], s["n"]
    for _ in range(200):
        jacobian = mp.matrix(n, len(b))
        for j, v in enumerate(b):
            h = abs(v) * mp.mpf("1e-15")
            up, down = (residuals(s, [*b[:j], v + d, *b[j + 1 :]]) for d in (h, -h))
            jacobian[:, j] = (down - up) / (2 * h)
        inverse = (jacobian.T * jacobian) ** -1
        step = inverse * (jacobian.T * residuals(s, b))
        b = [v + d for v, d in zip(b, step, strict=True)]
        if max(abs(d / v) for v, d in zip(b, step, strict=True)) < 1e-14:
            return {"params": b, **spread(s, residuals(s, b), [inverse[j, j] for j in range(len(b))])}
    raise RuntimeError(f"{s['name']}: Gauss-Newton still moves")


def spread(s: dict, r: mp.matrix, diagonal: list) -> dict:
    """What follows from the residuals and the diagonal of inv(J'J)."""
    ss = mp.fsum(v**2 for v in r)
    s2 = ss / (s["n"] - len(diagonal))
    sd = [mp.sqrt(s2 * v) for v in diagonal]
    return {"ss_residual": ss, "residual_sd": mp.sqrt(s2), "sd": sd, "diagonal": diagonal}


def worst(found: dict, certified: dict, keys=("params", "sd", "ss_residual", "residual_sd")) -> float:
    """Largest relative difference."""
    w = mp.mpf(0)
    for key in keys:
        a, c = found[key], certified[key]
        for u, v in zip(a, c, strict=True) if isinstance(a, list) else [(a, c)]:
            w = max(w, abs(u - v) / abs(v))
    return float(w)


def numbers(s: dict, convert) -> dict:
    """A copy whose data and certified values are `convert` of their printed decimals."""

    def each(value):
        return [each(v) for v in value] if isinstance(value, list) else convert(value)

    certified = {key: each(value) for key, value in s["certified"].items()}
    return {**s, "x": each(s["x"]), "y": each(s["y"]), "certified": certified}


def as_doubles(s: dict) -> dict:
    """The set after rounding its data to doubles (the certified values are only where solve starts)."""
    rounded = numbers(s, double)
    return {**rounded, "certified": numbers(s, mp.mpf)["certified"]}


def main() -> int:
    mp.mp.dps = DIGITS
    bad = []
    print("largest relative difference from the certified values")
    print("set          n  k   sum of squares   refitted   x y as doubles: params, sd    b f too: sd")
    sets = load(str)
    if list(sets) != NAMES.split():
        bad.append("not the 27 sets")
    for name, s in sets.items():
        n, k = s["n"], len(s["names"])
        lengths = {len(s["y"]), len(rows(s)), n}
        widths = {k, *(len(v) for v in (s["start1"], s["start2"], s["certified"]["params"], s["certified"]["sd"]))}
        if len(lengths) != 1 or len(widths) != 1 or s["certified"]["df_residual"] != n - k:
            bad.append(f"{name}: lengths disagree")
            continue
        e, d = numbers(s, mp.mpf), as_doubles(s)
        c = e["certified"]
        ss = {"ss_residual": mp.fsum(v**2 for v in residuals(e, c["params"]))}
        exact = solve(e)
        copied, refitted = worst(ss, c, ["ss_residual"]), worst(exact, c)
        nearest = solve(d, exact["params"])
        evaluated = spread(d, residuals(d, [double(v) for v in nearest["params"]], double), nearest["diagonal"])
        print(
            f"{name:10s} {n:3d} {k:2d} {copied:16.1e} {refitted:10.1e}",
            f"{worst(nearest, c, ['params']):17.1e} {worst(nearest, c, ['sd']):9.1e} {worst(evaluated, c, ['sd']):13.1e}",
        )
        if not copied <= 2e-10 and name != "Lanczos1":
            bad.append(f"{name}: the certified parameters do not give the certified sum of squares: {copied:.1e}")
        if not refitted <= 6e-11:
            bad.append(f"{name}: {refitted:.1e} from the certified values")
    for line in bad:
        print("WRONG", line)
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        remake(Path(sys.argv[1]))
    sys.exit(main())
