"""The bootstrap against R's boot and sandwich, wildboottest and arch.

`bootstrap.R`, `wild_bootstrap.py` and `block_length.py` wrote their numbers to the JSON beside them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.inference.resampled import Replicated
from betahat.resampling.block_length import block_lengths
from betahat.resampling.resamplers import Weighted
from betahat.resampling.weights import RowWeights, Scheme

# boot.ci's formulas on its own draws: rounding.
R_DIGITS = 1e-12
# R refits by QR, betahat steps from the estimate: its draws were right to 4e-12 in NumPy's hands.
REFIT_DIGITS = 1e-10
# wildboottest's t are right to 1.4e-14, and those of its draws to 9e-14.
WILD_DIGITS = 1e-9
# betahat's squared denominators are a polynomial in the null value, which leaves them half of the digits where they nearly vanish.
DRAW_DIGITS = 1e-7
# A difference of more than 4.5 standard errors comes by chance once in 150,000 comparisons, of which there are some 100; seeds are fixed.
Z = 4.5


def _read(name):
    return json.loads(Path(__file__).with_name(name).read_text())


BOOT = _read("bootstrap.json")
WILD = _read("wild_bootstrap.json")
LENGTHS = _read("block_length.json")
INTERVALS = BOOT["intervals"]
METHODS = {"percentile": "perc", "basic": "basic", "studentized": "stud"}
CONFIDENCES = [0.9, 0.95, 0.9375]  # of 999 replicates the last lies between order statistics


def _tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def _frame(name):
    return pd.DataFrame(BOOT["datasets"][name]["columns"])


def _bounds(table, confidence):
    return next(row[1:] for row in table if abs(row[0] - confidence) < 1e-9)


def _replicated(acceleration=None):
    t, t0 = _tensor(INTERVALS["t"]), _tensor(INTERVALS["t0"])
    variances = _tensor(INTERVALS["var_t0"]), _tensor(INTERVALS["var_t"])
    return Replicated(t0, t.std(0), t, lambda: variances, lambda: acceleration)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("method", METHODS)
def test_intervals_are_those_of_boot_ci(method, confidence):
    found = _replicated().interval(method, 1 - confidence)
    true = [_bounds(coefficient[METHODS[method]], confidence) for coefficient in INTERVALS["coefficients"]]
    np.testing.assert_allclose(found, true, rtol=R_DIGITS)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("influence", ["reg", "jack", "inf", "exact"])
def test_bca_is_that_of_boot_ci(influence, confidence):
    tables = [coefficient["bca"][influence] for coefficient in INTERVALS["coefficients"]]
    found = _replicated(_tensor([table["acceleration"] for table in tables])).interval("bca", 1 - confidence)
    np.testing.assert_allclose(found, [_bounds(table["intervals"], confidence) for table in tables], rtol=R_DIGITS)


@dataclass(frozen=True, eq=False)
class Drawn(Scheme):
    """Counts that R drew."""

    counts: torch.Tensor

    @property
    def units(self):
        return self.counts.shape[1]

    def draw(self, seed, replicates):
        return self.counts[replicates]


@cache
def _as_boot():
    """Return the replicates that boot drew, by betahat."""
    data = _frame("mtcars")
    fit = bh.ols("mpg ~ wt + hp", data).fit().fit
    rows = torch.tensor(INTERVALS["indices"])
    counts = torch.zeros(len(rows), len(data), dtype=torch.float64)
    counts.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))
    return fit, Weighted(fit, RowWeights(Drawn(counts)), 0, len(rows), counts=True)


def test_refits_are_boots():
    fit, weighted = _as_boot()
    found = weighted.refits()
    assert bool(found.found.all())
    np.testing.assert_allclose(
        fit.params + found.steps @ fit.root.mT, INTERVALS["t"], rtol=REFIT_DIGITS, atol=REFIT_DIGITS
    )


def test_variances_of_replicates_are_boots():
    fit, weighted = _as_boot()
    cores = weighted.variances(weighted.refits())
    variances = torch.diagonal(fit.root @ cores @ fit.root.mT, dim1=1, dim2=2)
    np.testing.assert_allclose(variances[0], INTERVALS["var_t0"], rtol=REFIT_DIGITS)
    np.testing.assert_allclose(variances[1:], INTERVALS["var_t"], rtol=REFIT_DIGITS)


def test_influence_is_that_of_boot():
    fit, weighted = _as_boot()
    lines = weighted.influence() @ fit.root.mT
    for j, coefficient in enumerate(INTERVALS["coefficients"]):
        exact = np.asarray(coefficient["bca"]["exact"]["influence"]) / len(lines)
        np.testing.assert_allclose(lines[:, j], exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())
        acceleration = (lines[:, j] ** 3).sum() / (6 * (lines[:, j] ** 2).sum() ** 1.5)
        assert float(acceleration) == pytest.approx(coefficient["bca"]["exact"]["acceleration"], rel=1e-9)


KINDS: Mapping[str, tuple[str, dict[str, str]]] = {
    "xy": ("pairs", {}),
    "residual": ("residual", {}),
    "wild-rademacher": ("wild", {"multiplier": "rademacher"}),
    "wild-mammen": ("wild", {"multiplier": "mammen"}),
    "mammen": ("wild", {"multiplier": "mammen"}),
    "wild-webb": ("wild", {"multiplier": "webb"}),
    "webb": ("wild", {"multiplier": "webb"}),
    "wild-norm": ("wild", {"multiplier": "normal"}),
    "norm": ("wild", {"multiplier": "normal"}),
}


def _model(record):
    data = _frame(record["dataset"])
    if record["dataset"] == "warpbreaks":
        data["tension"] = pd.Categorical(data["tension"], ["L", "M", "H"])
    make = {None: bh.ols, "gaussian": bh.ols, "binomial": bh.logit, "poisson": bh.poisson}[record["family"]]
    return make(record["formula"], data)


@pytest.mark.parametrize("record", BOOT["covariances"], ids=lambda r: f"{r['dataset']}-{r['type']}")
def test_covariances_are_those_of_vcov_bs(record):
    kind, options = KINDS[record["type"]]
    clusters = record["cluster"]
    res = _model(record).fit()
    np.testing.assert_allclose(res.params, record["coef"], rtol=1e-7)  # glm stops there
    found = res.with_cov(bh.Bootstrap(20_000, kind, seed=1, clusters=clusters, **options))
    draws = found.cov.draws - found.cov.draws.mean(0)
    products = draws[:, :, None] * draws[:, None, :]
    ours = (products.std(0) / len(draws) ** 0.5).numpy()
    spread = np.hypot(ours, np.asarray(record["mc_error"]))
    assert np.abs((np.asarray(found.cov_params()) - np.asarray(record["rows"])) / spread).max() < Z
    assert np.abs((ours / np.asarray(record["mc_error"])) - 1).max() < 0.2  # it is no test if the errors are large
    if record["expected"] is not None:
        assert np.abs((np.asarray(found.cov_params()) - np.asarray(record["expected"])) / ours).max() < Z


@cache
def _wild_model(name):
    data = WILD["data"][name]
    return bh.OLS(np.array(data["y"]), pd.DataFrame(data["X"], columns=data["names"])).fit()


@cache
def _wild(name, reps, seed, **options):
    return _wild_model(name).with_cov(
        bh.Bootstrap(reps, "wild", seed, clusters=np.array(WILD["data"][name]["cluster"]), **options)
    )


def _described(record):
    return "-".join(str(record[key]) for key in ("data", "type", "impose_null", "coefficient", "null"))


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
@pytest.mark.parametrize("record", WILD["enumerated"], ids=_described)
def test_all_signs_as_wildboottest(record):
    res = _wild(record["data"], 2000, 0, variant=record["type"], null=record["impose_null"])
    assert len(res.cov.draws) == record["draws"]
    name = record["coefficient"]
    test = res.t_test(f"{name} = {record['null']}")
    assert float(test.pvalue) * record["draws"] == pytest.approx(record["beyond"], abs=1e-6)
    row = torch.tensor([float(name == other) for other in res.params.index], dtype=torch.float64)
    statistics, length = res.cov.resampling.test._statistics(row)
    tau = (res.params[name] - record["null"]) / length
    assert float(tau / statistics.error) == pytest.approx(record["t"], rel=WILD_DIGITS)
    if record.get("t_boot"):
        drawn = statistics.draws(tau).sort().values.numpy()
        np.testing.assert_allclose(drawn, np.sort(record["t_boot"]), rtol=DRAW_DIGITS, atol=WILD_DIGITS)


@pytest.mark.parametrize("record", WILD["drawn"], ids=lambda r: f"{r['type']}-{r['impose_null']}-{r['weights']}")
def test_drawn_signs_as_wildboottest(record):
    multiplier = {"norm": "normal"}.get(record["weights"], record["weights"])
    res = _wild(record["data"], 40_000, 5, variant=record["type"], null=record["impose_null"], multiplier=multiplier)
    found = float(res.t_test(f"{record['coefficient']} = {record['null']}").pvalue)
    true = record["package_p_two_tailed"]
    spread = (true * (1 - true) * (1 / record["draws"] + 1 / 40_000)) ** 0.5
    assert abs(found - true) < Z * spread


@pytest.mark.parametrize("series", LENGTHS["series"], ids=lambda s: s["name"])
def test_block_lengths_are_those_of_arch(series):
    found = block_lengths(_tensor(series["x"])[:, None])
    assert float(found.stationary) == pytest.approx(series["stationary"], rel=1e-10)
    assert float(found.circular) == pytest.approx(series["circular"], rel=1e-10)
