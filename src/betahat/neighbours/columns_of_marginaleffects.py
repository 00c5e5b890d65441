"""What marginaleffects returns as columns of our tables and markers of our figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from betahat.errors import OptionError
from betahat.inference.distribution import check_alpha, quantile
from betahat.tables.estimates import About
from betahat.tables.foreign import Foreign, estimates_of

# Numbers of rows are compared after one was computed from the other, so that they agree but for rounding.
_ROUNDING = 1e-9


def register(module: ModuleType) -> None:
    """Let `regtable` and `coefplot` take slopes, comparisons, predictions and hypotheses; they say neither N nor the kind of standard errors."""
    estimates_of.register(module.MarginaleffectsResult, _read)


def _read(result: Any) -> Sequence[Foreign]:
    data = result.data
    columns = [data[name].to_numpy().astype(float) for name in ("estimate", "std_error", "statistic", "p_value")]
    table, level = np.column_stack(columns), 1.0 - float(result.conf_level)
    ends = np.column_stack([data["conf_low"].to_numpy(), data["conf_high"].to_numpy()]).astype(float)

    def normal(alpha: float) -> np.ndarray:
        reach = quantile(alpha, None) * table[:, 1]
        return np.column_stack([table[:, 0] - reach, table[:, 0] + reach])

    terms = _terms(result)
    size = np.abs(ends).max(initial=0.0)
    is_normal = bool(np.allclose(ends, normal(level), rtol=_ROUNDING, atol=_ROUNDING * size, equal_nan=True))

    def bounds(alpha: float) -> np.ndarray:
        check_alpha(alpha)
        if abs(alpha - level) < _ROUNDING:
            return ends
        if not is_normal:
            raise OptionError(
                f"alpha is {alpha:g}, but these results of marginaleffects have intervals for {level:g} alone, by degrees of freedom that they do "
                f"not tell; compute them with conf_level={1.0 - alpha:g}."
            )
        return normal(alpha)

    return (
        Foreign(
            "marginaleffects",
            terms,
            table,
            bounds,
            use_t=not is_normal,
            known=About(source=result, fit=result, no_logarithms=_no_logarithms(result, terms)),
        ),
    )


def _no_logarithms(result: Any, terms: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Return the names of numbers that are not logarithms of ratios, by what their contrasts say."""
    rows = result.data.to_dicts()
    logarithms = [str(row.get("contrast") or "").startswith("ln(") for row in rows]
    return frozenset(name for (_, name), logarithm in zip(terms, logarithms, strict=True) if not logarithm)


def _terms(result: Any) -> tuple[tuple[str, str], ...]:
    """Return the class of each number, if there are several, and its name: the term, what is compared where a term has several numbers, and the values that it is for."""
    rows = result.data.to_dicts()
    by = result.by if isinstance(result.by, list | tuple) else [result.by] if isinstance(result.by, str) else []
    known = set(rows[0]).difference({"group"}) if rows else set()
    where = [name for name in dict.fromkeys([*by, *result.datagrid_explicit]) if name in known]
    classes = [str(row.get("group", "")) for row in rows]
    values = [", ".join(f"{name}={row[name]}" for name in where) for row in rows]
    terms = [str(row.get("term") or "") for row in rows]
    often = Counter(zip(classes, values, terms, strict=True))
    names = []
    for i, row in enumerate(rows):
        repeated = often[classes[i], values[i], terms[i]] > 1
        contrasts = [str(value) for name, value in row.items() if name.startswith("contrast") and value is not None]
        name = f"{terms[i]}: {', '.join(contrasts)}" if repeated and contrasts else terms[i]
        named = ", ".join(filter(None, (name, values[i])))
        names.append(named or ("Prediction" if len(rows) == 1 else f"Row {row.get('rowid', i)}"))
    return tuple(zip(classes, names, strict=True))
