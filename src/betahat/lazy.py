"""`lazily`: a module that is imported when it is first used, since few calls need it and it takes a tenth of a second or more."""

from importlib import import_module
from types import ModuleType
from typing import Any


def lazily(name: str) -> Any:
    """Return what stands for a module and imports it when something of it is asked for, by whichever thread asks first.

    An import for type checkers stands beside each call, so that they, editors and import-linter read of it what they read of
    any other.
    """
    return _Later(name)


class _Later(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.__name__), attribute)

    def __dir__(self) -> list[str]:
        return dir(import_module(self.__name__))
