"""Modules whose regressors are columns of their inputs: found without vmap, certified on all rows, and refused where they only seem so."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import betahat as bh
from betahat.data.room import copied, room_for
from betahat.models.inputs import read_inputs
from betahat.models.module import functional
from betahat.models.options import check_values
from betahat.models.own_inputs import own_regressors

# One problem by two ways to its optimum.
SAME = 1e-9

N = 40_000


class Own(nn.Module):
    """A module by a function of two parameter vectors and the inputs."""

    def __init__(self, function, sizes=(2, 1)):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.linspace(0.1, 0.7, size, dtype=torch.float64)) for size in sizes)
        self.function = function

    def forward(self, *inputs):
        return self.function(self.a, self.b, *inputs)


def _found(module, *inputs):
    free = functional(module, None)
    tensors = read_inputs(inputs, torch.device("cpu")).tensors

    def flat(params, columns):
        output = free(params, columns)
        return output.reshape(len(output), -1)

    with torch.no_grad():
        output = flat(free.start, tensors)[:, 0]
    return own_regressors(flat, free.start, tensors, output)


def _x(rows=N, columns=3):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


X = _x()
ONE = torch.ones(N, 1, dtype=torch.float64)
linear = {
    "nn.Linear": (nn.Linear(3, 1), (X,), [X, ONE], 0.0),
    "without bias": (nn.Linear(3, 1, bias=False), (X,), [X], 0.0),
    "in a row": (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), (X,), [X, ONE], 0.0),
    "some columns": (Own(lambda a, b, x: x[:, 1:] @ a + b * x[:, 0] + 2.0), (X,), [X[:, 1:], X[:, :1]], 2.0),
    "backwards": (Own(lambda a, b, x: x[:, [2, 0]] @ a + b), (X,), [X[:, [2, 0]], ONE], 0.0),
    "two inputs": (Own(lambda a, b, x, z: z @ a + b + 0.0 * x.sum(1)), (X, X[:, :2] * 3.0), [X[:, :2] * 3.0, ONE], 0.0),
    "a vector": (Own(lambda a, b, x: b * x + a[0] + 0.0 * a[1:].sum() * x, (1, 1)), (X[:, 0],), [ONE, X[:, :1]], 0.0),
}


@pytest.mark.parametrize("name", linear)
def test_the_regressors_are_the_inputs_columns(name):
    module, inputs, true, constant = linear[name]
    found = _found(module, *inputs)
    assert torch.equal(found.jacobian, torch.cat(true, 1))
    assert found.constant == constant


def test_without_a_constant_nothing_is_copied():
    x = _x()
    free = functional(nn.Linear(3, 1, bias=False), None)
    found = own_regressors(free, free.start, (x,), x @ free.start)
    assert found.jacobian is x


def _late(change):
    """Return a function that differs in one of the last rows only, whose first number gives it away."""

    def function(a, b, x):
        plain = x[:, :2] @ a + b
        return torch.where(x[:, 0] == X[-2, 0], change(plain, a, b, x), plain)

    return function


hostile = {
    "a product": lambda a, b, x: (x[:, :2] @ a) * b,
    "a square": lambda a, b, x: x[:, :2] @ a + b.square(),
    "one row is squared": _late(lambda plain, a, b, x: plain.square()),
    "one row is doubled": _late(lambda plain, a, b, x: 2.0 * plain),
    "one row has another constant": _late(lambda plain, a, b, x: plain + 1e-3),
    "one row is scaled by a millionth": _late(lambda plain, a, b, x: plain * (1.0 + 1e-6)),
    "one row is cut far away": _late(lambda plain, a, b, x: plain.clamp(-3.0, 3.0)),
    "the mean of the batch": lambda a, b, x: (x[:, :2] - x[:, :2].mean(0)) @ a + b,
    "the mean of the batch beside": lambda a, b, x: x[:, :2] @ a + b + x[:, 2].mean(),
    "the batch's size": lambda a, b, x: x[:, :2] @ a * (1.0 if len(x) < 100 else 0.5) + b,
    "the place": lambda a, b, x: x[:, :2] @ a + b + 1e-6 * torch.arange(len(x)),
    "the row before": lambda a, b, x: x[:, :2].roll(1, 0) @ a + b,
    "a gradient that is cut off": lambda a, b, x: x[:, :2] @ a.detach() + b * x[:, 2],
    "other columns": lambda a, b, x: x[:, :2].square() @ a + b,
    "an offset that differs": lambda a, b, x: x[:, :2] @ a + b + x[:, 2],
}


@pytest.mark.parametrize("name", hostile)
def test_what_only_seems_so_is_not_taken(name):
    assert _found(Own(hostile[name]), X) is None


@pytest.mark.parametrize("name", ["the mean of the batch", "the place", "the row before"])
def test_and_rows_that_mix_are_refused_as_before(name):
    with pytest.raises(bh.DataError, match="depends on the other rows"):
        bh.TorchModel(Own(hostile[name]), nn.MSELoss(), X[:500], X[:500, 0])


def test_a_batch_that_differs_from_its_blocks_is_not_taken():
    """The output of all rows at once is compared with the regressors of each."""
    free = functional(nn.Linear(3, 1), None)
    with torch.no_grad():
        output = free(free.start, (X,))[:, 0]
    output[-1] += 1e-6
    assert own_regressors(free, free.start, (X,), output) is None


def test_whole_numbers_are_no_regressors():
    index = torch.arange(N) % 3
    free = functional(nn.Embedding(3, 1), None)
    function = lambda at, columns: free(at, columns).reshape(-1, 1)  # noqa: E731
    with torch.no_grad():
        assert own_regressors(function, free.start, (index,), function(free.start, (index,))[:, 0]) is None


@pytest.mark.parametrize("cov", ["nonrobust", "HC1", "HC3"])
def test_a_linear_module_is_least_squares(cov):
    x = _x(3_000)
    y = x.sum(1) + torch.randn(3_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.manual_seed(0)
    res = bh.TorchModel(nn.Linear(3, 1), nn.MSELoss(), x, y).fit(cov)
    true = bh.OLS(y, torch.cat([x, torch.ones(3_000, 1, dtype=torch.float64)], 1)).fit(cov)
    torch.testing.assert_close(res.params, true.params, rtol=SAME, atol=SAME)
    torch.testing.assert_close(res.cov_params(), true.cov_params(), rtol=SAME, atol=1e-15)
    found, wanted = (
        res.get_prediction(x[:50]),
        true.get_prediction(torch.cat([x[:50], torch.ones(50, 1, dtype=torch.float64)], 1)),
    )
    torch.testing.assert_close(found.se, wanted.se_mean, rtol=SAME, atol=1e-15)


@pytest.mark.parametrize("size", [0.0, 0.3, 50.0])
@pytest.mark.parametrize("rows", [2_000, 140_000])
def test_a_linear_module_is_a_logit_wherever_it_starts(rows, size):
    """A large sample starts from the optimum of every so many rows, unless the module is about as near."""
    generator = torch.Generator().manual_seed(2)
    x = _x(rows)
    y = (torch.rand(rows, generator=generator, dtype=torch.float64) < torch.sigmoid(x.sum(1))).double()
    true = bh.Logit(y, torch.cat([x, torch.ones(rows, 1, dtype=torch.float64)], 1)).fit("HC0")
    module = nn.Linear(3, 1).double()
    module.weight.data = true.params[None, :3] + size * torch.randn(1, 3, generator=generator, dtype=torch.float64)
    module.bias.data = true.params[3:].clone()
    res = bh.TorchModel(module, nn.BCEWithLogitsLoss(), x, y[:, None]).fit("HC0")
    torch.testing.assert_close(res.params, true.params, rtol=SAME, atol=SAME)
    torch.testing.assert_close(res.cov_params(), true.cov_params(), rtol=1e-8, atol=1e-15)
    assert res.diagnostics.iterations <= (1 if size == 0.0 else 12)


def test_the_first_fit_of_a_linear_module_imports_no_compiler():
    """vmap imports `torch._dynamo`, which takes a second."""
    code = (
        "import sys, torch, betahat as bh\n"
        "x = torch.randn(500, 5); y = x.sum(1, keepdim=True) + torch.randn(500, 1)\n"
        "for loss, target in ((torch.nn.MSELoss(), y), (torch.nn.BCEWithLogitsLoss(), (y > 0.5).float())):\n"
        "    bh.TorchModel(torch.nn.Linear(5, 1), loss, x, target).fit('HC1').summary()\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]


@pytest.mark.parametrize("numbers", [10, 2**19])
def test_memory_of_large_tensors(numbers):
    values = torch.arange(numbers * 2, dtype=torch.float64).view(-1, 2)
    copy = copied(values)
    assert torch.equal(copy, values)
    assert copy._version == 0
    copy[0, 0] = 7.0
    assert values[0, 0] == 0.0
    assert copied(values.mT).stride() == values.mT.stride()
    assert copied(values.int()).dtype == torch.int32
    assert room_for(values, numbers, 2).shape == (numbers, 2)


def test_numbers_whose_sum_overflows_are_finite():
    check_values([("x", torch.full((4,), 1e308, dtype=torch.float64))])
    with pytest.raises(bh.DataError, match="x has 2 missing or infinite values"):
        check_values([("x", torch.tensor([1.0, float("inf"), float("-inf")], dtype=torch.float64))])
