"""Quantile regression against R's quantreg: `rq`, and `summary.rq` under se = "iid", "nid" and "ker"; `quantile.R` wrote `quantile.json`."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from support.closeness import close, same_covariance

import betahat as bh
from betahat.objectives.density import bandwidth_share

# Both solve the same k equations, whose matrix has a condition of 1e3 (Engel) to 1e4: found 2e-13 apart.
VERTEX = 2e-12
# R's are sums over residuals that are right to these digits, through a density; found 4e-11 apart at most. The issue allows 1e-8.
COVARIANCE = 1e-9

GOLDEN = json.loads(Path(__file__).with_name("quantile.json").read_text())
FITS = {record["name"]: record for record in GOLDEN["fits"]}


def fit_of(record, **options):
    if record["data"] == "stackloss":
        columns = GOLDEN["stackloss"]
        y = columns["stack.loss"]
        x = np.column_stack([columns[name] for name in ("Air.Flow", "Water.Temp", "Acid.Conc.")])
    else:
        y, x = GOLDEN["engel"]["foodexp"], np.array(GOLDEN["engel"]["income"])
    model = bh.QuantReg(np.array(y), bh.add_constant(x), weights=record["weights"])
    return model.fit(record["tau"], **options)


@pytest.fixture(params=FITS.values(), ids=FITS)
def record(request):
    return request.param


def square(values):
    size = round(len(values) ** 0.5)
    return np.array(values).reshape(size, size)


def test_coefficients(record):
    close(fit_of(record, kernel="gau").params, np.array(record["coef"]), VERTEX)


def test_quantiles_beside(record):
    """se="nid", of weighted rows too; R warns of a row where the quantiles cross as well."""
    fit = fit_of(record, kernel="gau")
    crossed = (
        pytest.warns(bh.BetahatWarning, match="cross at 1 row") if record["name"] == "stackloss 0.3" else nullcontext()
    )
    with crossed:
        found = fit.with_cov("nid").cov_params()
    same_covariance(found, square(record["nid"]), COVARIANCE)


def test_kernel(record):
    """se="ker", whose Gaussian kernel has the same bandwidth where the interquartile range decides on it; R weighs residuals, and betahat does not."""
    if record["weights"] is not None:
        return
    assert record["scale_is_range"]
    same_covariance(fit_of(record, cov_type="powell", kernel="gau").cov_params(), square(record["ker"]), COVARIANCE)


def test_sparsity_by_residuals(record):
    """se="iid", whose slope of the residuals' quantiles is a median regression: of the nine residuals of stackloss it is not unique, as R says."""
    if record["data"] != "engel":
        return
    found = fit_of(record, cov_type="iid", kernel="gau", cov_kwds={"sparsity": "residuals"}).cov_params()
    same_covariance(found, square(record["iid"]), COVARIANCE)


def test_bofinger():
    """statsmodels has the density at twice the normal quantile in its formula."""
    close([bandwidth_share("bofinger", 235, q) for q in (0.1, 0.25, 0.5)], GOLDEN["bofinger"], 1e-14)
