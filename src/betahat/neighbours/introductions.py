"""Register betahat's results with other packages when these are imported, before or after betahat, without importing any of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import wrapt

from betahat.errors import BetahatWarning

# The module in which a neighbour looks up the classes of results, and our module that registers results there.
NEIGHBOURS = {
    "maketables.extractors": "betahat.neighbours.maketables",
    "marginaleffects.sanitize.sanitize_model": "betahat.neighbours.marginaleffects",
    "stargazer.stargazer": "betahat.neighbours.stargazer",
}


def introduce() -> None:
    """Register betahat's results with each neighbour, now if it has been imported already, otherwise when it is."""
    for module, ours in NEIGHBOURS.items():
        wrapt.register_post_import_hook(_introduction(ours), module)


def _introduction(ours: str) -> Callable[[ModuleType], None]:
    def meet(neighbour: ModuleType) -> None:
        """Warn, rather than fail, if another version of a neighbour cannot take our results."""
        try:
            import_module(ours).register(neighbour)
        except Exception as error:
            package = neighbour.__name__.partition(".")[0]
            warnings.warn(
                f"This version of {package} cannot take betahat's results ({type(error).__name__}: {error}); install one that can: "
                f"pip install 'betahat[ecosystem]'.",
                BetahatWarning,
                stacklevel=2,
            )

    return meet
