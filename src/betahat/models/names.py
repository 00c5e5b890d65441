"""What the parameters of a module are called."""

from __future__ import annotations

from collections.abc import Sequence

from betahat.errors import OptionError, counted
from betahat.models.inputs import Inputs
from betahat.models.module import Functional, parameter_names
from betahat.models.options import read_names
from betahat.models.probes import first_linear


def names_of(free: Functional, inputs: Inputs, own: Sequence[str] | None) -> tuple[str, ...]:
    """Return (k,) the user's names of the parameters, or torch's, those of a first linear layer after the columns of its inputs."""
    names = parameter_names(free.tensors)
    if own is not None:
        given = read_names(own)
        if len(given) != len(names) or len(set(given)) < len(given):
            raise OptionError(
                f"names has {counted(len(given), 'name')}, {len(set(given))} of them different, for {len(names)} parameters; pass a different one for each."
            )
        return given
    first = first_linear(free, inputs)
    if first is None or inputs.columns is None:
        return names
    weight = f"{first}.weight" if first else "weight"
    if weight not in free.tensors:
        return names
    begin, shape = free.tensors[weight]
    labels = list(names)
    for place in range(shape.numel()):
        row, column = divmod(place, shape[1])
        labels[begin + place] = inputs.columns[column] if shape[0] == 1 else f"{weight}[{row},{inputs.columns[column]}]"
    return tuple(labels) if len(set(labels)) == len(labels) else names
