"""Downward curvature is found by products of the Hessian, where the bread is another matrix."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import betahat as bh
from betahat.calculus import general
from betahat.calculus.autodiff import hessian_matrix
from betahat.calculus.rows import Bread
from betahat.solvers.curvature import lowest_curvature
from betahat.solvers.newton import unit_scale

# The same matrix by other sums.
ROUNDING = 1e-10

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ConvergenceWarning")


def _rotated(spectrum, seed):
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(len(spectrum), len(spectrum), generator=generator, dtype=torch.float64)).Q
    return (turn * torch.as_tensor(spectrum, dtype=torch.float64)) @ turn.mT


def _lowest(hessian, information, steps=10_000):
    calls = []
    found = lowest_curvature(
        lambda d: calls.append(0) or hessian @ d, information, unit_scale(information), min(steps, len(hessian))
    )
    return found, len(calls)


def _true(hessian, information):
    root = torch.linalg.inv(torch.linalg.cholesky(information))
    return float(torch.linalg.eigvalsh(root @ hessian @ root.mT)[0])


spectra = {
    "near one": torch.linspace(0.8, 1.3, 120),
    "one direction downward": torch.cat([torch.tensor([-1e-3]), torch.linspace(0.8, 1.3, 119)]),
    "one far downward": torch.cat([torch.tensor([-1e3]), torch.linspace(0.8, 1.3, 119)]),
    "half of them": torch.linspace(-1.0, 1.0, 120),
    "large ones above": torch.cat([torch.linspace(0.5, 1.5, 115), torch.tensor([30.0, 1e2, 1e3, 1e4, 1e5])]),
    "nearly flat": torch.cat([torch.tensor([1e-7]), torch.linspace(0.8, 1.3, 119)]),
    "nearly flat and downward": torch.cat([torch.tensor([-1e-7]), torch.linspace(0.8, 1.3, 119)]),
    "down to zero": torch.logspace(-6, 0, 120),
    "single": torch.tensor([0.5]),
    "single, downward": torch.tensor([-0.5]),
}


@pytest.mark.parametrize("name", spectra)
@pytest.mark.parametrize("seed", range(3))
def test_its_sign_is_that_of_the_smallest_eigenvalue(name, seed):
    """In the coordinates of an information whose condition is 1e6, and whose parameters have units from 1e-4 to 1e4."""
    spectrum = spectra[name].double()
    k = len(spectrum)
    units = torch.logspace(-4, 4, k, dtype=torch.float64)
    root = torch.linalg.cholesky(_rotated(torch.logspace(-3, 3, k), seed)).mT * units
    information, hessian = root.mT @ root, root.mT @ _rotated(spectrum, seed + 10) @ root
    hessian = 0.5 * (hessian + hessian.mT)
    found, _ = _lowest(hessian, information)
    assert found.certain == bool(spectrum.min() > 0)
    curvature = float(found.direction @ hessian @ found.direction / (found.direction @ information @ found.direction))
    assert curvature == pytest.approx(found.curvature, rel=1e-5, abs=1e-8)
    assert found.curvature >= float(spectrum.min()) - 1e-8
    if not found.certain:
        assert curvature < 0


def test_where_the_matrices_are_alike_it_takes_few_products():
    spectrum = spectra["near one"].double()
    found, calls = _lowest(_rotated(spectrum, 1), torch.eye(120, dtype=torch.float64))
    assert found.certain
    assert calls <= 30
    found, calls = _lowest(_rotated(spectra["one far downward"].double(), 1), torch.eye(120, dtype=torch.float64))
    assert not found.certain
    assert calls <= 10


def test_what_cannot_be_told_is_not_certain():
    eye = torch.eye(120, dtype=torch.float64)
    found, calls = _lowest(_rotated(spectra["down to zero"].double(), 1), eye, 40)
    assert not found.certain
    assert calls == 40
    assert lowest_curvature(lambda d: d / 0.0, eye, unit_scale(eye), 40) is None
    assert lowest_curvature(lambda d: d, -eye, unit_scale(eye), 40) is None


def test_a_direction_in_which_the_information_is_flat_counts():
    information = torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    found, _ = _lowest(torch.diag(torch.tensor([1.0, 1.0, -1e-3], dtype=torch.float64)), information)
    assert found.curvature < 0
    assert int(found.direction.abs().argmax()) == 2


def _network(seed, penalty, hidden=6):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
    x = torch.randn(200, 3, dtype=torch.float64)
    y = torch.sin(x[:, :1]) + 0.3 * torch.randn(200, 1, dtype=torch.float64)
    return bh.TorchModel(net, nn.MSELoss(), x, y, penalty=penalty)


def _hessian(model):
    """Return the Hessian of the loss and the penalty, all rows at once."""
    problem = model.problem
    sample, penalty = problem.sample, problem.penalty
    columns = tuple(map(sample.column, sample.data))
    return hessian_matrix(
        lambda theta: problem.objective.losses(theta, columns).sum() + (0.0 if penalty is None else penalty(theta)),
        model._free.start,
    )


@pytest.mark.parametrize("bread", ["gauss-newton", "expected"])
@pytest.mark.parametrize("seed", range(12))
def test_a_fit_is_refused_where_the_hessian_curves_downward(seed, bread):
    model = _network(seed, penalty=[0.3, 1.0, 3.0, 10.0][seed % 4])
    hessian = _hessian(model)
    scale = hessian.diagonal().abs().sqrt()
    lowest = float(torch.linalg.eigvalsh(hessian / scale / scale[:, None])[0])
    if lowest > 0:
        model.fit("HC0", polish=False, bread=bread)
    else:
        with pytest.raises(bh.EstimationError, match=r"curves downward along .*eigenvalue (below|of) -"):
            model.fit("HC0", polish=False, bread=bread)


def test_those_networks_are_of_both_kinds():
    lowest = [
        float(torch.linalg.eigvalsh(_hessian(_network(seed, [0.3, 1.0, 3.0, 10.0][seed % 4])))[0]) for seed in range(12)
    ]
    assert 3 <= sum(value > 0 for value in lowest) <= 9


@pytest.mark.parametrize("bread", ["gauss-newton", "expected", "opg", "observed"])
def test_no_hessian_is_taken_for_another_bread(bread, monkeypatch):
    model = _bent_line() if bread == "opg" else _network(3, penalty=10.0)
    taken = []
    monkeypatch.setattr(general, "hessian_matrix", lambda *args: taken.append(0) or hessian_matrix(*args))
    res = model.fit("HC0", polish=False, bread=bread)
    assert bool(taken) == (bread == "observed")
    assert res.diagnostics.bread == bread


def _bent_line():
    """Return a model of three parameters, a tenth of a standard error from its optimum."""
    torch.manual_seed(5)
    x = torch.randn(300, 2, dtype=torch.float64)
    y = torch.exp(0.3 * x[:, :1]) + 0.2 * torch.randn(300, 1, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 1), nn.Softplus()).double()
    near = bh.TorchModel(net, nn.MSELoss(), x, y).fit()
    net[0].weight.data, net[0].bias.data = ((near.params + 0.1 * near.bse)[rows] for rows in (slice(2), slice(2, 3)))
    net[0].weight.data = net[0].weight.data[None]
    return bh.TorchModel(net, nn.MSELoss(), x, y)


@pytest.mark.parametrize("bread", ["gauss-newton", "expected", "opg"])
def test_the_decrement_is_measured_by_the_bread_that_was_asked_for(bread):
    """g'A^-1 g over the dispersion, with the scores' products over the dispersion for 'opg'."""
    model = _bent_line()
    y = model._target
    res = model.fit("HC0", polish=False, bread=bread)
    scores = res.fit.map_rows(lambda rows: rows.scores())
    gradient = scores.sum(0)
    outer = scores.mT @ scores
    jacobian = res.fit.map_rows(lambda rows: rows.jacobian[:, 0])
    errors = y[:, 0] - res.fit.map_rows(lambda rows: rows._output)[:, 0]
    dispersion = float(errors.square().sum()) / (300 - 3)
    information = outer if bread == "opg" else jacobian.mT @ jacobian * dispersion
    true = float(gradient @ torch.linalg.solve(information, gradient))
    assert res.diagnostics.decrement == pytest.approx(true, rel=1e-8)
    assert res.fit.path.local.bread is Bread(bread)


def test_a_row_loss_at_a_saddle_has_no_gauss_newton_bread():
    """1 - ab at a = b = 0, where the Jacobian is zero and the Hessian is not."""
    y = torch.ones(30, dtype=torch.float64)
    model = bh.MEstimator(lambda a, b, y: 0.5 * (y - a * b) ** 2, {"a": 0.0, "b": 0.0}, {"y": y})
    with pytest.raises(bh.EstimationError, match=r"curves downward along 'a', 'b'"):
        model.fit("HC0", polish=False, bread="gauss-newton")


def test_where_products_do_not_tell_the_hessian_does(monkeypatch):
    """Two parameters that are one: flat, so that no product is certain, and 'pinv' gives the least norm."""
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(100, generator=generator, dtype=torch.float64)
    y = torch.exp(0.5 * x) + 0.1 * torch.randn(100, generator=generator, dtype=torch.float64)
    taken = []
    monkeypatch.setattr(general, "hessian_matrix", lambda *args: taken.append(0) or hessian_matrix(*args))
    model = bh.MEstimator(
        lambda a, b, x, y: 0.5 * (y - torch.exp((a + b) * x)) ** 2, {"a": 0.2, "b": 0.3}, {"x": x, "y": y}
    )
    res = model.fit("HC0", polish=False, bread="gauss-newton", rank="pinv")
    assert taken
    one = bh.MEstimator(lambda c, x, y: 0.5 * (y - torch.exp(c * x)) ** 2, {"c": 0.5}, {"x": x, "y": y})
    single = one.fit("HC0", polish=False, bread="gauss-newton")
    sums = res.cov_params().sum()
    assert float(sums) == pytest.approx(float(single.cov_params()), rel=1e-6)


@pytest.mark.parametrize("bread", ["observed", "gauss-newton"])
def test_the_product_with_the_hessian_counts_penalty_and_rows(bread):
    model = _network(1, penalty=1.0)
    hessian, start = _hessian(model), model._free.start
    direction = torch.linspace(-1, 1, len(start), dtype=torch.float64)
    true = hessian @ direction
    found = model.problem.hessian_product(start, direction)
    torch.testing.assert_close(found, true, rtol=ROUNDING, atol=ROUNDING * float(true.abs().max()))
    counts = torch.arange(200, dtype=torch.float64) % 3
    weighted = replace(model.problem, sample=model.problem.sample.counted(counts))
    sample = model.problem.sample
    columns = tuple(map(sample.column, sample.data))
    true = hessian_matrix(
        lambda theta: model.problem.objective.losses(theta, columns) @ counts + model.problem.penalty(theta), start
    )
    torch.testing.assert_close(weighted.hessian_product(start, direction), true @ direction, rtol=ROUNDING, atol=1e-8)
