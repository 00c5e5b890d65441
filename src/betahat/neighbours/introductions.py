"""Tell a neighbour of betahat's results when it is imported, before or after betahat, and import none for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import wrapt

from betahat.errors import BetahatWarning

# The module of a neighbour in which it looks a result's class up, and the room's file that registers ours there.
NEIGHBOURS = {
    "maketables.extractors": "betahat.neighbours.maketables",
    "marginaleffects.sanitize.sanitize_model": "betahat.neighbours.marginaleffects",
    "stargazer.stargazer": "betahat.neighbours.stargazer",
}


def introduce() -> None:
    """Register betahat's results with every neighbour that is there, and with the others as they come."""
    for module, ours in NEIGHBOURS.items():
        wrapt.register_post_import_hook(_introduction(ours), module)


def _introduction(ours: str) -> Callable[[ModuleType], None]:
    def meet(neighbour: ModuleType) -> None:
        """Keep a neighbour of another version importable: our results are unknown to it, and that is all."""
        try:
            import_module(ours).register(neighbour)
        except Exception as error:
            package = neighbour.__name__.partition(".")[0]
            warnings.warn(
                f"This version of {package} cannot be told of betahat's results ({type(error).__name__}: {error}); install "
                f"the one in betahat's extra: pip install 'betahat[ecosystem]'.",
                BetahatWarning,
                stacklevel=2,
            )

    return meet
