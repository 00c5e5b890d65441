"""Register betahat's results with other packages, and theirs with betahat's tables, when they are imported, before or after betahat, without importing any."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import wrapt

from betahat.errors import BetahatWarning

# The module in which a neighbour looks up the classes of results, and our module that registers results there; or a module that defines results,
# and ours that reads them.
NEIGHBOURS = {
    "maketables.extractors": "betahat.neighbours.maketables",
    "marginaleffects.sanitize.sanitize_model": "betahat.neighbours.marginaleffects",
    "stargazer.stargazer": "betahat.neighbours.stargazer",
    "statsmodels.base.model": "betahat.neighbours.columns_of_statsmodels",
    "statsmodels.base.wrapper": "betahat.neighbours.columns_of_statsmodels",
    "statsmodels.discrete.discrete_margins": "betahat.neighbours.columns_of_statsmodels",
    "linearmodels.iv.results": "betahat.neighbours.columns_of_linearmodels",
    "linearmodels.panel.results": "betahat.neighbours.columns_of_linearmodels",
    "linearmodels.system.results": "betahat.neighbours.columns_of_linearmodels",
    "pyfixest.estimation.models.feols_": "betahat.neighbours.columns_of_pyfixest",
    "pyfixest.estimation.FixestMulti_": "betahat.neighbours.columns_of_pyfixest",
    "marginaleffects.classes.result": "betahat.neighbours.columns_of_marginaleffects",
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
                f"This version of {package} cannot take betahat's results, or betahat cannot take its ({type(error).__name__}: {error}); install one that can: "
                f"pip install 'betahat[ecosystem]'.",
                BetahatWarning,
                stacklevel=2,
            )

    return meet
