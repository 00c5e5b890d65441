"""How close two answers are: each helper takes its tolerance from the file that calls it, where the reason stands."""

import numpy as np
import pandas as pd
import torch


def close(found, true, tolerance, *, unit=None, label=""):
    """Assert equal shapes, NaN and infinities in the same places, and |found - true| <= tolerance * unit.

    `unit` is the size of the rounding error of a perfect algorithm over 1e-16: by default |true|, which makes the
    difference that of each number to itself; `largest(true)` where sums of large numbers may give a small one.
    """
    found, true = plain(found), plain(true)
    assert found.shape == true.shape, f"{label}: shape {found.shape}, expected {true.shape}"
    usual = np.isfinite(true)
    np.testing.assert_array_equal(found[~usual], true[~usual], err_msg=f"{label}: NaN or infinity")
    assert np.isfinite(found[usual]).all(), f"{label}: {found}, expected {true}"
    size = np.abs(true) if unit is None else np.broadcast_to(plain(unit), true.shape)
    gap, bound = np.abs(found[usual] - true[usual]), tolerance * size[usual]
    where = np.argmax(gap - bound) if gap.size else 0
    assert (gap <= bound).all(), (
        f"{label}: {found[usual][where]!r}, expected {true[usual][where]!r}, "
        f"off by {gap[where]:.2e} where {bound[where]:.2e} is allowed"
    )


def largest(true):
    """The largest of all numbers, as the unit of each."""
    return np.abs(plain(true)).max()


def close_to_largest(found, true, tolerance, label=""):
    """Assert that no number differs by more than the tolerance times the largest of them."""
    close(found, true, tolerance, unit=largest(true), label=label)


def close_to_one(found, true, tolerance, label=""):
    """Assert |found - true| <= tolerance * max(1, |true|): for numbers of the size of one, some of which may be zero."""
    close(found, true, tolerance, unit=np.maximum(1.0, np.abs(plain(true))), label=label)


def same_covariance(found, true, tolerance, label=""):
    """Assert that no element differs by more than the tolerance times sqrt(v_ii v_jj)."""
    close(found, true, tolerance, unit=sizes_of(true), label=label)


def sizes_of(covariance):
    """(k, k) sqrt(v_ii v_jj), the size of each element of a covariance."""
    errors = np.sqrt(np.abs(np.diagonal(plain(covariance))))
    return np.outer(errors, errors)


def same(one, other):
    """Assert that two things are equal to the bit, and of one kind, whatever they are."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    else:
        np.testing.assert_equal(one, other)


def plain(values):
    """Numbers of any container as an array of double precision."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, dtype=float)
