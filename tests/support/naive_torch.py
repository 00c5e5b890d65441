"""A module's losses, scores and Hessian row by row, as one would write them first."""

import copy

import torch
import torch.nn.functional as F
from support.modules import double_attributes
from torch import nn
from torch.func import functional_call


def naive_losses(case, module, target):
    """Return a list of scalars, the loss of each row: half the squares, or minus the log-probability."""
    rows = len(target)
    kind = {
        "mse": lambda o, t: 0.5 * (o.reshape(-1) - t.reshape(-1)).square().sum(),
        "logit": lambda o, t: F.binary_cross_entropy_with_logits(o.reshape(-1), t.reshape(-1), reduction="sum"),
        "classes": lambda o, t: F.cross_entropy(o.reshape(1, -1), t.reshape(-1), reduction="sum"),
    }[case.loss]
    if case.inputs is None:
        output = module()
        return [kind(output[i], target[i]) for i in range(rows)]
    found = []
    for i in range(rows):
        if isinstance(case.inputs, dict):
            output = module(**{name: value[i : i + 1] for name, value in case.inputs.items()})
        elif isinstance(case.inputs, tuple):
            output = module(*[value[i : i + 1] for value in case.inputs])
        else:
            output = module(case.inputs[i : i + 1])
        found.append(kind(output, target[i]))
    return found


def naive_at(case, theta):
    """Return a double module at a parameter vector, and its free parameters."""
    module = copy.deepcopy(case.module()).double()
    double_attributes(module)
    free, begin = case.free(module), 0
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name in free:
            size = own[name].numel()
            own[name].copy_(theta[begin : begin + size].view(own[name].shape))
            begin += size
    assert begin == len(theta)
    return module, [own[name] for name in free], free


def naive_scores(case, theta, target):
    """One backward pass for each row."""
    module, leaves, _ = naive_at(case, theta)
    scores = []
    for loss in naive_losses(case, module, target):
        slopes = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        scores.append(
            torch.cat(
                [
                    torch.zeros(v.numel()).double() if s is None else -s.flatten()
                    for s, v in zip(slopes, leaves, strict=True)
                ]
            )
        )
    return torch.stack(scores)


def naive_hessian(case, theta, target):
    module, leaves, names = naive_at(case, theta)
    shapes = [leaf.shape for leaf in leaves]

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self):
            return torch.stack(naive_losses(case, self.module, target)).sum()

    called = Called()

    def total(vector):
        parts, begin = {}, 0
        for name, shape in zip(names, shapes, strict=True):
            parts[f"module.{name}"] = vector[begin : begin + shape.numel()].view(shape)
            begin += shape.numel()
        return functional_call(called, parts, ())

    return torch.autograd.functional.hessian(total, theta)
