"""What is computed beside the data is small: no copy of them in another precision for a check or a seal."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import betahat as bh

N, K = 60_000, 20


def peak(function):
    """Return the most bytes of tensors that are alive at a time while a function runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    return int(alive.max())


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    exog = torch.randn(N, K, generator=generator)
    exog[:, 0] = 1.0
    return (exog.sum(1) + torch.randn(N, generator=generator) > 0).float(), exog


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("fit", ["OLS", "WLS", "drop", "Logit"])
def test_checks_copy_no_data_whatever_their_precision(data, fit, kind):
    endog, exog = (part.to(getattr(torch, kind)) for part in data)
    calls = {
        "OLS": lambda: bh.OLS(endog, exog).fit("HC1").bse,
        "WLS": lambda: bh.WLS(endog, exog, weights=torch.ones(N)).fit("HC1").bse,
        "drop": lambda: bh.OLS(endog, exog, missing="drop").fit("HC1").bse,
        "Logit": lambda: bh.Logit(endog, exog).fit("HC1").bse,
    }
    # A block is a fifth of these rows; in double precision X takes 8 K N bytes.
    assert peak(calls[fit]) < 0.75 * 8 * K * N


@pytest.mark.parametrize("made", [pd.DataFrame, pl.DataFrame])
def test_a_formulas_matrix_is_the_only_one(made):
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=N) for i in range(K)}
    frame = made({"y": rng.normal(size=N), **columns})
    design = bh.ols(f"y ~ 0 + {' + '.join(columns)}", frame).design
    assert design.exog.stride() == (1, N)
    np.testing.assert_array_equal(design.exog, np.column_stack(list(columns.values())))
    design.exog[0] = 0.0  # a matrix of its own, and not the user's memory
    np.testing.assert_array_equal(frame["x1"], columns["x1"])


def test_rows_that_miss_a_value_are_found_block_by_block(data):
    endog, exog = data[0].double(), data[1].double().clone()
    exog[[5, 40_000], 3] = torch.nan
    exog[59_999, 19] = torch.nan
    endog = endog.clone()
    endog[13_107] = torch.nan
    kept = bh.OLS(endog, exog, missing="drop").design.user_data.in_use
    assert sorted({*range(N)} - {*kept.tolist()}) == [5, 13_107, 40_000, 59_999]
