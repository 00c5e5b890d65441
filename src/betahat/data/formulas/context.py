"""The variables of the caller that a formula may use, as they are pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import ismodule
from typing import Any


@dataclass(frozen=True)
class _Module:
    name: str


def without_modules(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables with modules by their names, as pickle cannot hold them."""
    return {name: _Module(value.__name__) if ismodule(value) else value for name, value in context.items()}


def with_modules(context: Mapping[str, Any]) -> dict[str, Any]:
    """Import the modules among pickled variables again."""
    return {name: import_module(value.name) if isinstance(value, _Module) else value for name, value in context.items()}
