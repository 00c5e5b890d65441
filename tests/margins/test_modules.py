"""Margins of torch modules: the same as of the model that a module is, and finite differences of its outputs."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 120
    found = pd.DataFrame(
        {"age": rng.normal(size=n), "d": rng.integers(0, 2, n).astype(float), "kind": rng.integers(0, 3, n)}
    )
    found["y"] = 0.5 * found.age + found.d * found.age + 0.2 * (found.kind == 1) + 0.4 * rng.normal(size=n)
    found["firm"] = rng.integers(0, 12, n)
    return found


def _inputs(frame):
    return frame[["age", "d"]]


def _target(values):
    return np.asarray(values, dtype=float)[:, None]


def _net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


@pytest.fixture(scope="module")
def net(frame):
    return bh.TorchModel(_net(), nn.MSELoss(), _inputs(frame), _target(frame.y), penalty=0.1).fit()


# The optimum of a module is found to 1e-12 of a standard error.
def test_modules_that_are_models(frame):
    linear = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), _inputs(frame), _target(frame.y)).fit()
    ols = bh.ols("y ~ age + d", frame).fit()
    np.testing.assert_allclose(linear.avg_slopes().estimates, ols.avg_slopes().estimates, rtol=1e-10)
    np.testing.assert_allclose(linear.avg_slopes().bse, ols.avg_slopes().bse, rtol=1e-9)
    yes = frame.assign(yes=(frame.y > 0.2).astype(float))
    binary = bh.TorchModel(nn.Linear(2, 1), nn.BCEWithLogitsLoss(), _inputs(frame), _target(yes.yes)).fit()
    logit = bh.logit("yes ~ age + d", yes).fit()
    for call in ("avg_slopes", "avg_comparisons", "avg_predictions"):
        for by in (None, "d"):
            one, other = (getattr(res, call)(by=by) for res in (binary, logit))
            np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-7, atol=1e-12)
            np.testing.assert_allclose(one.bse, other.bse, rtol=1e-6)
    np.testing.assert_allclose(binary.avg_slopes("age", which="output").estimates, logit.params[["age"]], rtol=1e-7)


def test_classes(frame):
    softmax = bh.TorchModel(nn.Linear(2, 3), nn.CrossEntropyLoss(), _inputs(frame), np.array(frame.kind)).fit(
        rank="pinv"
    )
    mnlogit = bh.mnlogit("kind ~ age + d", frame).fit()
    one, other = softmax.avg_slopes(), mnlogit.avg_slopes()
    np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-5)
    assert list(one.labels.group) == ["0", "0", "1", "1", "2", "2"]


def test_a_network_by_differences_of_its_outputs(net, frame):
    def means(theta, data):
        return net.view.outputs(theta, (torch.tensor(_inputs(data).to_numpy(float)),)).mean()

    def slopes(theta):
        moved = [means(theta, frame.assign(age=frame.age + side * 1e-4)) for side in (1.0, -1.0)]
        gap = [means(theta, frame.assign(d=value)) for value in (1.0, 0.0)]
        return torch.stack([(moved[0] - moved[1]) / 2e-4, gap[0] - gap[1]])

    found = net.avg_slopes()
    # Central differences of 1e-4: an error of 1e-8.
    np.testing.assert_allclose(found.estimates, slopes(net.fit.params).detach(), rtol=1e-6)
    jacobian = torch.autograd.functional.jacobian(slopes, net.fit.params)
    errors = (jacobian @ net.cov.matrix @ jacobian.mT).diagonal().sqrt()
    np.testing.assert_allclose(found.bse, errors, rtol=1e-5)
    rows = net.slopes("age")
    np.testing.assert_allclose(np.mean(rows.params), found.params.iloc[0], rtol=1e-12)
    single = bh.TorchModel(
        _net().float(), nn.MSELoss(), torch.tensor(_inputs(frame).to_numpy()).float(), _target(frame.y), penalty=0.1
    ).fit()
    np.testing.assert_allclose(single.avg_slopes().estimates, found.estimates, rtol=1e-5)


def test_covariances_of_a_network(net, frame):
    slopes = net.avg_slopes("age")
    drawn = slopes.with_cov(bh.Bootstrap(20, kind="bayesian", seed=2))
    each = [float(net.avg_slopes("age").function.with_jacobian(draw)[0]) for draw in drawn.of.cov.draws]
    np.testing.assert_allclose(drawn.bse, np.std(each, ddof=1), rtol=1e-9)
    clustered = slopes.with_cov(bh.Cluster(frame.firm, kind="CR3"))
    assert float(np.asarray(clustered.bse)[0]) != float(np.asarray(slopes.bse)[0])
    new = net.get_prediction(_inputs(frame).head(3))
    assert (np.diff(np.asarray(new.conf_int(obs=True)), axis=1) > np.diff(np.asarray(new.conf_int()), axis=1)).all()


class Looked(nn.Module):
    """A linear model with a table of categories."""

    def __init__(self):
        super().__init__()
        self.table, self.linear = nn.Embedding(3, 1), nn.Linear(2, 1)

    def forward(self, numbers, kind):
        return self.linear(numbers) + self.table(kind)


def test_inputs_by_name_and_categories(frame):
    inputs = {"numbers": _inputs(frame), "kind": torch.tensor(np.array(frame.kind))}
    res = bh.TorchModel(Looked(), nn.MSELoss(), inputs, _target(frame.y)).fit(rank="pinv")
    ols = bh.ols("y ~ age + d + C(kind)", frame).fit()
    one, other = res.avg_slopes(), ols.avg_slopes()
    assert list(one.labels.term) == ["age", "d", "kind", "kind"]
    assert list(one.labels.contrast)[2:] == ["1 - 0", "2 - 0"]
    np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-8)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-7)
    arrays = {"numbers": _inputs(frame).to_numpy(), "kind": np.array(frame.kind)}
    by_place = bh.TorchModel(Looked(), nn.MSELoss(), arrays, _target(frame.y)).fit(rank="pinv").avg_slopes()
    assert list(dict.fromkeys(by_place.labels.term)) == ["numbers[0]", "numbers[1]", "kind"]
    with pytest.raises(bh.EstimationError, match=r"one \(n, p\) input of floating-point numbers"):
        res.get_margeff()


class Backward(torch.autograd.Function):
    """A square whose derivatives go backward alone."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2.0 * x * slope


class Squared(nn.Module):
    """The square of a linear index, with or without such an operation."""

    def __init__(self, own):
        super().__init__()
        self.linear, self.own = nn.Linear(2, 1), own
        nn.init.constant_(self.linear.weight, 0.3)
        nn.init.constant_(self.linear.bias, 1.0)

    def forward(self, x):
        index = self.linear(x)
        return Backward.apply(index) if self.own else index * index


def test_operations_that_torch_differentiates_backward_alone(frame):
    one, other = (
        bh.TorchModel(Squared(own), nn.MSELoss(), _inputs(frame), _target(1.0 + 0.2 * frame.y)).fit("HC0")
        for own in (True, False)
    )
    for call in ("avg_slopes", "slopes", "avg_comparisons"):
        for by in ({}, {"by": "d"}) if call == "avg_slopes" else ({},):
            found, expected = (getattr(res, call)("age", **by) for res in (one, other))
            np.testing.assert_allclose(found.estimates, expected.estimates, rtol=1e-8)
            np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-7)


class Holding(nn.Module):
    """A module that holds its own data."""

    def __init__(self, x):
        super().__init__()
        self.slopes, self.x = nn.Parameter(torch.zeros(2)), x

    def forward(self):
        return self.x @ self.slopes


def test_what_is_refused(frame):
    y = torch.tensor(frame.y.to_numpy())
    pictures = torch.tensor(np.random.default_rng(0).normal(size=(len(frame), 2, 2)))
    res = bh.TorchModel(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), nn.MSELoss(), pictures, y[:, None]).fit()
    with pytest.raises(bh.EstimationError, match=r"rows of shape \(2, 2\), and margins are of variables"):
        res.avg_slopes()
    own = bh.TorchModel(Holding(torch.tensor(_inputs(frame).to_numpy()).float()), nn.MSELoss(), None, y.float()).fit()
    with pytest.raises(bh.EstimationError, match="holds its own data, so that there is no variable"):
        own.avg_slopes()
    loss = bh.MEstimator(
        lambda p, d: (d["y"] - p["a"]) ** 2 / 2.0, params={"a": 0.0}, data={"y": frame.y.to_numpy()}
    ).fit()
    with pytest.raises(bh.EstimationError, match="A row loss shows no output"):
        loss.avg_slopes()
