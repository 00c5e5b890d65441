"""Absorbed effects as results hand them out, and those of new rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import Frames
from betahat.data.frame import is_frame, to_pandas
from betahat.errors import DataError, EstimationError
from betahat.fits.fit import Fit
from betahat.inference.effects import added_effects, recovered, refuse_unlabelled


def presented_effects(fit: Fit) -> dict[str, Any]:
    """Return the numbers of each effect's levels, as the data came."""
    if fit.absorbed is None:
        raise EstimationError("The model absorbs no effects; write them after a bar, 'y ~ x | firm', or pass absorb=.")
    raw, found = fit.raw, {}
    for levels, values in zip(raw.schema.effects, recovered(fit), strict=True):
        plain = values[:, 0] if values.shape[1] == 1 else values
        columns = None if plain.ndim == 1 else [*(["constant"] if levels.constant else []), *levels.variables]
        if isinstance(raw.container, Frames):
            found[levels.name] = raw.container.present(plain, partial(getattr, levels, "index"), columns)
        else:
            found[levels.name] = raw.container.plain(plain)
    return found


def effects_at(fit: Fit, exog: Any, absorb: Any) -> Tensor:
    """Return (m,) what absorbed effects add for new rows: from `absorb`, vectors in the order of the effects' columns and slopes, or columns of `exog`."""
    effects = fit.raw.schema.effects
    columns = [column for effect in effects for column in effect.columns]
    variables = [variable for effect in effects for variable in effect.variables]
    if absorb is not None:
        vectors = (
            [absorb[:, i] for i in range(absorb.shape[1])]
            if isinstance(absorb, np.ndarray | Tensor) and absorb.ndim == 2
            else absorb
        )
        given = [vectors] if len(columns) == 1 and len(vectors) and np.ndim(vectors[0]) == 0 else list(vectors)
        if len(given) != len(columns) + len(variables):
            raise DataError(
                f"absorb has {len(given)} vectors, and the effects have {len(columns) + len(variables)} columns; pass a vector for each."
            )
        read = [value.tolist() if isinstance(value, torch.Tensor) else value for value in given]
        return added_effects(fit, read[: len(columns)], read[len(columns) :])
    if not (isinstance(exog, Mapping) or is_frame(exog)):
        refuse_unlabelled(effects)
    frame = to_pandas(exog, None)
    if not {*columns, *variables} <= set(frame.columns):
        refuse_unlabelled(effects)
    return added_effects(
        fit, [frame[name] for name in columns], [np.array(frame[name], dtype=float) for name in variables]
    )
