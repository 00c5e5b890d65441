"""The transformations that every formula knows: formulaic's, with patsy's contrasts, and with means that skip missing values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
import patsy
from formulaic.materializers.types import FactorValues
from formulaic.transforms import TRANSFORMS
from formulaic.transforms.contrasts import Contrasts, TreatmentContrasts
from formulaic.utils.stateful_transforms import stateful_transform
from interface_meta import override
from pandas.api.types import is_bool_dtype
from patsy.contrasts import code_contrast_matrix

from betahat.data.container import real_array
from betahat.data.formulas.expressions import ReasonError
from betahat.data.formulas.interactions import interacted, sun_and_abraham
from betahat.data.formulas.levels import coded, indicators
from betahat.data.formulas.periods import diff, lag, lead
from betahat.errors import of_data, shown


@dataclass
class PatsyContrasts(Contrasts):  # type: ignore[misc]
    """patsy's coding of a category, whose numbers and names statsmodels prints."""

    FACTOR_FORMAT = FACTOR_FORMAT_REDUCED = "{name}{field}"

    contrast: Any

    def coded(self, levels: Sequence[Hashable], reduced_rank: bool) -> patsy.ContrastMatrix:
        """Return the coding matrix with the names of its columns."""
        try:
            coding = code_contrast_matrix(not reduced_rank, list(levels), self.contrast)
        except patsy.PatsyError as error:
            raise ReasonError(
                f"{str(error).splitlines()[0]}; the levels are {list(map(of_data, levels))!r:.200}"
            ) from error
        if len(coding.matrix) != len(levels):
            raise ReasonError(
                f"the contrasts have {len(coding.matrix)} rows for {len(levels)} levels; pass one row for each"
            )
        return coding

    @override
    def _apply(self, dummies: Any, levels: Sequence[Hashable], reduced_rank: bool = True, sparse: bool = False) -> Any:
        """Look up the row of each level; multiplying by the indicators would take one pass for each level."""
        return self.coded(levels, reduced_rank).matrix[np.asarray(dummies).argmax(1)]

    @override
    def _get_coding_matrix(self, levels: Sequence[Hashable], reduced_rank: bool = True, sparse: bool = False) -> Any:
        return self.coded(levels, reduced_rank).matrix

    @override
    def get_coding_column_names(self, levels: Sequence[Hashable], reduced_rank: bool = True) -> Sequence[Hashable]:
        """Return patsy's suffixes."""
        return list(self.coded(levels, reduced_rank).column_suffixes)

    @override
    def get_coefficient_row_names(self, levels: Sequence[Hashable], reduced_rank: bool = True) -> Sequence[Hashable]:
        """Return the suffixes, for want of other names."""
        return list(self.coded(levels, reduced_rank).column_suffixes)

    @override
    def get_drop_field(self, levels: Sequence[Hashable], reduced_rank: bool = True) -> Hashable:
        """Drop nothing: each rank has a coding of its own."""
        return None


@dataclass
class Indicators(TreatmentContrasts):  # type: ignore[misc]
    """Indicators of all levels except `base`, a level or its position as in patsy (None is the first); columns, never a coding matrix."""

    @override
    def _find_base_index(self, levels: Sequence[Hashable]) -> int:
        if self.base is None:
            return 0
        if self.base in levels:
            return list(levels).index(self.base)
        if isinstance(self.base, int) and -len(levels) <= self.base < len(levels):
            return int(self.base % len(levels))
        raise ReasonError(f"there is no level {shown(self.base)}; the levels are {list(map(of_data, levels))!r:.200}")

    @override
    def get_drop_field(self, levels: Sequence[Hashable], reduced_rank: bool = True) -> Hashable:
        """Drop nothing: each rank has columns of its own."""
        return None


def categories(
    data: Any, contrast: Any = None, levels: Any = None, spans_intercept: bool = True, contrasts: Any = None
) -> FactorValues:
    """Treat a column as a category, ``C(g, contrast, levels)``, coded by patsy's contrasts, a matrix, or formulaic's own `contrasts`."""
    contrast = contrasts if contrast is None else contrast
    if contrast is patsy.Treatment or isinstance(contrast, patsy.Treatment):
        contrast = Indicators(None if contrast is patsy.Treatment else contrast.reference)
    elif not (contrast is None or isinstance(contrast, Contrasts | Mapping) or _is_formulaics(contrast)):
        contrast = PatsyContrasts(contrast)
    if levels is None and not isinstance(data, FactorValues) and is_bool_dtype(data):
        levels = [False, True]
    values = pd.Series(data) if isinstance(data, np.ndarray | pd.Categorical | pd.Index | list) else data
    made = TRANSFORMS["C"](values, contrast, levels=levels, spans_intercept=spans_intercept)
    encode = made.__formulaic_metadata__.encoder
    plain = TreatmentContrasts() if contrast is None or contrast is TreatmentContrasts else contrast
    plain = plain if type(plain) in (TreatmentContrasts, Indicators) else None

    def encoder(
        values: Any, reduced_rank: bool, drop_rows: Sequence[int], encoder_state: dict[str, Any], model_spec: Any
    ) -> Any:
        used = coded(values, levels, drop_rows, encoder_state)
        if plain is not None:
            return indicators(used, plain, reduced_rank, encoder_state)
        return encode(used, reduced_rank, [], encoder_state, model_spec)

    return FactorValues(made, encoder=encoder)


def _is_formulaics(contrast: Any) -> bool:
    return isinstance(contrast, type) and issubclass(contrast, Contrasts)


def scale(
    data: Any, center: Any = True, scale: Any = True, ddof: float = 1, _state: dict[str, Any] | None = None
) -> np.ndarray:
    """Subtract the mean and divide by the standard deviation, both of the values that are not missing, as R's ``scale``."""
    state: dict[str, Any] = {} if _state is None else _state
    values = real_array(data, "A column")
    state.setdefault("ddof", ddof)
    if "center" not in state:
        state["center"] = _learnt(center, lambda: _mean(values, 0))
    if state["center"] is not None:
        values = values - state["center"]
    if "scale" not in state:
        state["scale"] = _learnt(scale, lambda: np.sqrt(_mean(values**2, state["ddof"])))
    return values if state["scale"] is None else values / state["scale"]


def _mean(values: np.ndarray, ddof: float) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=0) / ((~np.isnan(values)).sum(0) - ddof)


def _learnt(option: Any, learn: Callable[[], Any]) -> Any:
    if isinstance(option, bool):
        return learn() if option else None
    return np.array(option)


def center(data: Any, _state: dict[str, Any] | None = None) -> Any:
    """Subtract the mean of the values that are not missing."""
    return scale(data, scale=False, _state=_state)


def standardize(
    x: Any, center: Any = True, rescale: Any = True, ddof: float = 0, _state: dict[str, Any] | None = None
) -> Any:
    """Subtract the mean and divide by the standard deviation with divisor n: patsy's name and default."""
    return scale(x, center=center, scale=rescale, ddof=ddof, _state=_state)


def quoted(variable: str, _context: Any = None) -> Any:
    """Return a column by its name, ``Q("two words")``."""
    return _context.columns[variable]


def _of_real_numbers(transform: Callable[..., Any]) -> Callable[..., Any]:
    """Return one of formulaic's transformations, restricted to real numbers."""

    @wraps(transform)
    def real(x: Any, *args: Any, **options: Any) -> Any:
        return transform(real_array(x, "A column"), *args, **options)

    return real


KNOWN: Mapping[str, Any] = {
    **{name: transform for name, transform in TRANSFORMS.items() if name != "exp10"},  # formulaic's is the tenth power
    "C": categories,
    "Q": stateful_transform(quoted),
    "i": interacted,
    "sunab": sun_and_abraham,
    "lag": lag,
    "lead": lead,
    "diff": diff,
    "scale": stateful_transform(scale),
    "center": stateful_transform(center),
    **{name: _of_real_numbers(TRANSFORMS[name]) for name in ("poly", "bs", "cr", "cs", "cc")},
    "standardize": stateful_transform(standardize),
    "Treatment": patsy.Treatment,
    "Poly": patsy.Poly,
    "Sum": patsy.Sum,
    "Helmert": patsy.Helmert,
    "Diff": patsy.Diff,
}
