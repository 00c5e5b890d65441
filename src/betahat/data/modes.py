"""What torch is told around a call: modes without gradients are left while it lasts, and devices and tensors without numbers are refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from betahat.data.handed_out import within
from betahat.data.threads import with_one_thread
from betahat.errors import DataError, OptionError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def ordinary(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function compute with one thread, and as outside of ``torch.inference_mode()`` and ``torch.no_grad()``; refuse the device meta."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.empty(0).device.type == "meta":  # a microsecond; torch.get_default_device() takes ten
            raise OptionError(
                "torch's default device is 'meta', whose tensors hold no numbers; call betahat outside of torch.device('meta'), or after "
                "torch.set_default_device('cpu')."
            )
        if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            return within(with_one_thread, function, *args, **kwargs)
        with torch.inference_mode(False), torch.enable_grad():
            return within(with_one_thread, function, *args, **kwargs)

    return call


def in_ordinary_mode(cls: type[T]) -> type[T]:
    """Make `ordinary` a class's own public methods, its properties and its `__init__`; class methods, which look at their caller, stay."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and (name != "__init__" or "__dataclass_fields__" in vars(cls)):
            continue
        if isinstance(member, functools.cached_property):
            member.func = ordinary(member.func)
        elif isinstance(member, property) and member.fget is not None:
            setattr(cls, name, property(ordinary(member.fget), doc=member.__doc__))
        elif callable(member) and not isinstance(member, type):
            setattr(cls, name, ordinary(member))
    return cls


def check_held(values: Tensor, label: str) -> None:
    """Refuse a tensor that does not hold its numbers one by one: sparse, quantized, or on meta."""
    check_dense(values, label)
    if values.device.type == "meta":
        raise DataError(f"{label} is on meta, where tensors hold no numbers; pass one that does.")


def check_dense(values: Tensor, label: str) -> None:
    """Refuse a tensor that is sparse or quantized."""
    if values.layout != torch.strided:
        raise DataError(f"{label} is a sparse tensor; pass it as .to_dense().")
    if values.is_quantized:
        raise DataError(f"{label} is a quantized tensor; pass it as .dequantize().")


def settled(values: Tensor) -> Tensor:
    """Return a tensor that gradients may pass: a copy of an inference tensor."""
    if not values.is_inference():
        return values
    with torch.inference_mode(False):
        return values.clone()
