"""A user's module as a pure function of its free parameters, in float64: the copy, its parameters' names, its inputs."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from betahat.data.kept import SMALL
from betahat.data.modes import settled
from betahat.data.threads import with_all_threads
from betahat.errors import DataError, OptionError, described, listed, shown
from betahat.models.options import PLAIN, Manners, reason_of

Tensors = Mapping[str, tuple[int, torch.Size]]

# Which kernels torch may choose is a switch of the process: one thread at a time.
_KERNELS = threading.RLock()


@dataclass(frozen=True, eq=False)
class Functional:
    """A module as a function of its free parameters.

    Attributes
    ----------
    module : nn.Module
        A copy in float64 and eval mode; the user's own is never touched.
    tensors : mapping
        The free parameters: where each begins in the vector, and its shape.
    start : Tensor
        (k,) float64, their values.
    keywords : tuple of str or None
        The inputs' names, where they are passed by name.
    row_shape : torch.Size or None
        The shape of a row's output; a batch of one row may have lost it to a squeeze.
    notes : tuple of str
        What the results are conditioned on.
    manners : Manners
        What forward() does beside computing.
    written : tuple of str
        The buffers that forward() writes to; each call begins with them as they were.
    attention : bool
        Whether scaled dot products are called for, whose fused kernels have no second derivative: the plain one is chosen.
    """

    module: nn.Module
    tensors: Tensors
    start: Tensor
    keywords: tuple[str, ...] | None
    row_shape: torch.Size | None
    notes: tuple[str, ...]
    manners: Manners = PLAIN
    written: tuple[str, ...] = ()
    attention: bool = False

    def __call__(self, params: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the outputs, (b, ...), at (k,) parameters; of many rows by all threads that torch has."""
        if sum(part.numel() for part in inputs) > SMALL:
            return with_all_threads(partial(self._called, params), inputs)
        return self._called(params, inputs)

    def _called(self, params: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        if not self.attention:
            return self._outputs(params, inputs)
        with _KERNELS, sdpa_kernel(SDPBackend.MATH):
            return self._outputs(params, inputs)

    def _outputs(self, params: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        named = {
            name: params[begin : begin + shape.numel()].view(shape) for name, (begin, shape) in self.tensors.items()
        }
        if self.written:
            named.update({name: self.module.get_buffer(name).clone() for name in self.written})
        with self.manners.kept(inputs) as given:
            if self.keywords is None:
                output = functional_call(self.module, named, given)
            else:
                output = functional_call(self.module, named, (), dict(zip(self.keywords, given, strict=True)))
        output = _joined(output)
        if self.row_shape is None or not inputs:
            return output
        return output.reshape(len(inputs[0]), *self.row_shape)


@dataclass(frozen=True, eq=False)
class Outputs:
    """A module's outputs from row columns, the target last."""

    free: Functional

    def __call__(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b, ...) the outputs at (k,) parameters."""
        return self.free(params, columns[:-1])


def functional(module: nn.Module, chosen: Sequence[str] | None) -> Functional:
    """Copy a module into a function of its free parameters: those that match the `chosen` patterns, or all that require a gradient."""
    if isinstance(module, type):
        raise OptionError(f"The module is the class {module.__name__}; pass an instance, {module.__name__}(...).")
    if not isinstance(module, nn.Module):
        raise OptionError(
            f"The module is {described(module)}; pass a torch.nn.Module, or use bh.MEstimator for a function."
        )
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise OptionError(f"The module is wrapped in {type(module).__name__}; pass what is inside, module.module.")
    if isinstance(module, torch.jit.ScriptModule):
        raise OptionError(
            "The module is a TorchScript one, which cannot be copied; pass the module that it was made from."
        )
    free = _free_parameters(module, chosen)
    twin = _twin(module)
    start = torch.cat([settled(value.detach()).to(torch.float64).flatten() for name, value in free.items()])
    tensors, begin = {}, 0
    for name, value in free.items():
        tensors[name] = (begin, value.shape)
        begin += value.numel()
    return Functional(twin, tensors, start, None, None, _notes(module, free))


def parameter_names(tensors: Tensors) -> tuple[str, ...]:
    """Return (k,) names such as fc.weight[0,3]; a parameter of one number has its own name."""
    return tuple(name for tensor, (_, shape) in tensors.items() for name in _entries(tensor, shape))


def write_back(module: nn.Module, tensors: Tensors, params: Tensor) -> None:
    """Put (k,) parameters into the user's module, in its own dtype and on its own device."""
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, (begin, shape) in tensors.items():
            own[name].copy_(params[begin : begin + shape.numel()].view(shape))


def _free_parameters(module: nn.Module, chosen: Sequence[str] | None) -> dict[str, nn.Parameter]:
    known = dict(module.named_parameters())
    lazy = [name for name, value in known.items() if isinstance(value, nn.parameter.UninitializedParameter)]
    if lazy:
        raise DataError(
            f"The parameters {listed(lazy)} are not initialised yet; run the module once on some rows, so that their shape is known."
        )
    if chosen is None:
        free = {name: value for name, value in known.items() if value.requires_grad}
        if not free:
            raise DataError(
                "The module has no free parameter, so there is nothing to estimate; give it an nn.Parameter, or "
                "requires_grad_(True)."
            )
    else:
        patterns = list(chosen) if isinstance(chosen, list | tuple | set) else [chosen]
        if not all(isinstance(pattern, str) for pattern in patterns):
            raise OptionError(
                f"params is {type(chosen).__name__}, not names; pass some of {listed(known, limit=20)}, or patterns."
            )
        idle = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in known)]
        if idle or not patterns:
            by = f" by {listed(idle)}" if idle else ""
            raise OptionError(
                f"params={shown(patterns)} matches no parameter{by}; the parameters are {listed(known, limit=20)}."
            )
        free = {name: value for name, value in known.items() if any(fnmatch(name, pattern) for pattern in patterns)}
    wrong = [name for name, value in free.items() if not value.is_floating_point()]
    if wrong:
        raise DataError(
            f"The parameters {listed(wrong)} are not real floating-point numbers; exclude them by params=[...]."
        )
    devices = sorted({str(value.device) for value in free.values()})
    if len(devices) > 1:
        raise DataError(f"The parameters are on several devices, {listed(devices)}; move the module to one.")
    if devices == ["meta"]:
        raise DataError(
            f"The parameters {listed(free)} are on meta, where tensors hold no numbers; call module.to_empty(device='cpu') and load its state."
        )
    bad = [name for name, value in free.items() if not bool(torch.isfinite(value.detach()).all())]
    if bad:
        raise DataError(f"The parameters {listed(bad)} have values that are not finite; train the module again.")
    return free


def _twin(module: nn.Module) -> nn.Module:
    derived = {id(value): value.detach().clone() for part in module.modules() for value in _derived(vars(part))}
    try:
        twin = copy.deepcopy(module, derived)
    except Exception as error:  # whatever a __deepcopy__ of the user's raises
        raise DataError(
            f"The module cannot be copied ({reason_of(error)[:120]}), and betahat never works on your own; keep only parameters, "
            "buffers and detached tensors in it."
        ) from error
    twin = twin.to(torch.float64).eval()
    for part in twin.modules():
        if isinstance(
            part, nn.Embedding | nn.EmbeddingBag
        ):  # of training: they change what is called a gradient, and no output
            part.sparse = part.scale_grad_by_freq = False
        for name, value in list(vars(part).items()):
            converted = _float64(value)
            if converted is not value:
                setattr(part, name, converted)
    for value in twin.parameters():
        value.requires_grad_(False)
    return twin


def _derived(value: Any) -> Iterator[Tensor]:
    """Yield the tensors that were computed from others, which torch does not copy: weight_norm keeps its weight so, and a cache is one."""
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif type(value) in (list, tuple, dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _derived(entry)


def _float64(value: Any) -> Any:
    """Convert tensors that a module keeps as plain attributes, also in lists and dicts."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().to(torch.float64) if value.is_floating_point() and value.dtype != torch.float64 else value
    if type(value) in (list, tuple) and any(isinstance(entry, Tensor) for entry in value):
        return type(value)(_float64(entry) for entry in value)
    if type(value) is dict and any(isinstance(entry, Tensor) for entry in value.values()):
        return {key: _float64(entry) for key, entry in value.items()}
    return value


def _notes(module: nn.Module, free: Mapping[str, nn.Parameter]) -> tuple[str, ...]:
    notes = []
    rest = [name for name, _ in module.named_parameters() if name not in free]
    if rest:
        notes.append(f"Conditioned on the parameters {listed(rest, limit=4)}, which were not estimated.")
    norms = any(isinstance(part, nn.modules.batchnorm._BatchNorm | nn.InstanceNorm1d) for part in module.modules())
    drops = any(isinstance(part, nn.modules.dropout._DropoutNd) for part in module.modules())
    if norms:
        notes.append("BatchNorm is in eval mode: its running statistics are conditioned on.")
    if drops:
        notes.append("Dropout is off, as in eval mode.")
    return tuple(notes)


def _entries(tensor: str, shape: torch.Size) -> list[str]:
    if shape.numel() == 1:
        return [tensor]
    places = torch.cartesian_prod(*[torch.arange(size) for size in shape]).reshape(shape.numel(), -1).tolist()
    return [f"{tensor}[{','.join(map(str, place))}]" for place in places]


def _joined(output: Any) -> Tensor:
    """Put a mean and a variance side by side; refuse other structures."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list) and len(output) == 2 and all(isinstance(part, Tensor) for part in output):
        return torch.stack([output[0], output[1]], -1)
    raise DataError(
        f"The module returned {described(output)}; it must return one tensor with a row for each row of the data, or "
        "(mean, variance) for nn.GaussianNLLLoss."
    )
