"""marginaleffects: it has no registry, so its function `sanitize_model`, which recognises packages by name, is wrapped."""

from __future__ import annotations

import sys
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

from betahat.results.statsmodels_names import Results


def register(module: ModuleType) -> None:
    """Let `predictions`, `slopes`, `comparisons`, `hypotheses` and the plots take results.

    The function is replaced in its own module and, if marginaleffects was imported first, in the modules that had imported it from there.
    Our model derives from marginaleffects' own class, which does not exist yet while this module is being imported.
    """
    original = module.sanitize_model

    @wraps(original)
    def sanitize_model(model: Any) -> Any:
        if isinstance(model, Results):
            return import_module("betahat.neighbours.marginaleffects_model").Model(model)
        return original(model)

    for name, loaded in list(sys.modules.items()):
        if name.startswith("marginaleffects.") and vars(loaded).get("sanitize_model") is original:
            vars(loaded)["sanitize_model"] = sanitize_model
