"""Counts of successes and failures, two columns, as shares of successes in numbers of trials."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.errors import DataError, counted


@dataclass(frozen=True, eq=False)
class Trials:
    """Shares of successes.

    Attributes
    ----------
    shares : Tensor
        (n,) float64; zero where there are no trials.
    trials : Tensor
        (n,) float64, how many trials a row has.
    name : str
        The dependent variable's, as statsmodels prints it: "['y1', 'y2']".
    """

    shares: Tensor
    trials: Tensor
    name: str


def read_trials(values: Tensor, names: tuple[str, ...] | None, weighted: bool) -> Trials:
    """Read (n, 2) successes and failures; `weighted` is whether there are analytic weights beside them, which are refused."""
    check_trials(int((values < 0).sum()), weighted)
    successes, failures = values.to(torch.float64).unbind(1)
    trials = successes + failures
    shares = torch.where(trials == 0, 0.0, successes / trials)
    return Trials(shares, trials, str(["y1", "y2"] if names is None else list(names)))


def check_trials(negative: int, weighted: bool) -> None:
    """Refuse negative counts of successes and failures, and analytic weights beside them."""
    if weighted:
        raise DataError(
            "endog has two columns, successes and failures, whose numbers of trials are the weights, and var_weights come beside them; pass one "
            "column of shares, and var_weights times the numbers of trials."
        )
    if negative:
        raise DataError(
            f"endog has {counted(negative, 'negative count')} of successes or failures; pass how many there were, zero or more."
        )
