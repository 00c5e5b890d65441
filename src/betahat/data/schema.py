"""`Schema`: what is known of rows beside the rows, which stays when they go."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.container import Container
from betahat.data.datasets.compressed import Compression
from betahat.data.effects import Levels


@dataclass(frozen=True, eq=False)
class Schema:
    """What is known of the rows beside them.

    Attributes
    ----------
    container : Container
        How results are handed back.
    endog_name : str
        The dependent variable's name.
    given_names : tuple of str or None
        The regressors' names where the user gave some, or the parameters' of a torch model.
    hasconst : bool or None
        What the user says of a constant; None looks for one.
    terms : dict of str to list of int, or None
        A formula's terms and their columns.
    names : tuple of str or None
        The names of all columns, where they were found from the rows.
    nobs : float or None
        n, where the rows are gone.
    place : Tensor or None
        (0,) on the device where the rows were.
    effects : tuple of Levels
        The absorbed effects.
    instruments : tuple of str
        The names of the excluded instruments.
    endogenous : int
        How many of the regressors, the last ones, are endogenous.
    dropped : int
        How many rows were dropped because they are alone in a level of an absorbed effect.
    separated : int
        How many rows were left out because their best mean is a bound of its range, whatever the coefficients are.
    compression : Compression or None
        What counting rows that are alike did, where it was asked for.
    """

    container: Container
    endog_name: str = "y"
    given_names: tuple[str, ...] | None = None
    hasconst: bool | None = None
    terms: dict[str, list[int]] | None = None
    names: tuple[str, ...] | None = None
    nobs: float | None = None
    place: Tensor | None = None
    effects: tuple[Levels, ...] = ()
    instruments: tuple[str, ...] = ()
    endogenous: int = 0
    dropped: int = 0
    separated: int = 0
    compression: Compression | None = None

    @property
    def device(self) -> torch.device:
        """Where the rows were."""
        return torch.get_default_device() if self.place is None else self.place.device
