"""marginaleffects has no registry: its `sanitize_model` asks for the packages that it knows by name, so it is wrapped."""

from __future__ import annotations

import sys
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

from betahat.results.statsmodels_names import Results


def register(module: ModuleType) -> None:
    """Let `predictions`, `slopes`, `comparisons`, `hypotheses` and the plots take results.

    The function is replaced in its own module and, where marginaleffects came first, in those that took it from there.
    Our model derives from marginaleffects' own, which is not there yet while this module is being imported.
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
