"""Diagnostics of instruments against R's AER, classical and with sandwich."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.closeness import close

import betahat as bh

# R writes 17 digits; AER forms Wald statistics by inverting matrices.
CLOSE = 1e-9

GOLDEN = json.loads((Path(__file__).parent / "instrument_tests.json").read_text(encoding="utf-8"))
MODELS = {"single": "y ~ x | w ~ z1 + z2", "double": "y ~ x | w1 + w2 ~ z1 + z2 + z3 + z4"}


@pytest.fixture(params=MODELS, scope="module")
def case(request):
    golden = GOLDEN[request.param]
    data = {name: np.array(column) for name, column in golden["data"].items()}
    return bh.IV2SLS.from_formula(MODELS[request.param], data), golden["results"]


@pytest.mark.parametrize("cov_type", ["classical", "HC0", "HC1"])
def test_diagnostics(case, cov_type):
    model, golden = case
    res = model.fit("nonrobust" if cov_type == "classical" else cov_type, use_t=True)
    close(res.params.to_numpy(), golden["params"], CLOSE)
    *weak, endogeneity, sargan = golden[cov_type]
    for stage, row in zip(res.first_stage.values(), weak, strict=True):
        _same(stage.instruments_test, row)
        assert stage.f_statistic == stage.instruments_test.statistic
    _same(res.wooldridge_regression(), endogeneity)
    if cov_type == "classical":
        _same(res.wu_hausman(), endogeneity)
    _same(res.sargan(), sargan)


def _same(ours, row):
    close([ours.statistic, ours.pvalue], [row["statistic"], row["pvalue"]], CLOSE, label=row["name"])
    assert (ours.df, ours.df_denom) == (row["df1"], row["df2"])
