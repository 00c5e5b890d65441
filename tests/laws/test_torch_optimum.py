"""Modules that are not at an optimum, or have none: what is warned of, and what is refused."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, filled, mlp, normal
from support.torch_losses import classes, real, yes
from torch import nn

import betahat as bh

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


X3 = bh.add_constant(X2)
COVARIANCES = ("nonrobust", "HC0", "HC1", "OPG")


def _trained(steps, decay=0.0):
    module = filled(nn.Linear(2, 1), 1, 0.1)
    stepper = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=decay)
    for _ in range(steps):
        stepper.zero_grad()
        F.mse_loss(module(X2.float()), real().float()).backward()
        stepper.step()
    return module


def test_parameters_taken_as_they_are():
    module = _trained(5)
    model = bh.TorchModel(module, nn.MSELoss(), X2, real())
    with pytest.warns(bh.ConvergenceWarning, match="standard errors from the optimum"):
        res = model.fit("HC0", polish=False)
    assert torch.equal(res.params, torch.cat([v.detach().flatten() for v in module.parameters()]).double())
    assert res.diagnostics.route == "as given"
    assert res.diagnostics.iterations == 0
    assert not res.converged
    assert "as given" in str(res.summary())
    assert "standard errors from the optimum" in str(res.summary())
    with pytest.raises(bh.EstimationError, match="polish=True"):
        res.with_cov("nonrobust")
    with pytest.raises(bh.EstimationError, match="polish=True"), pytest.warns(bh.ConvergenceWarning):
        model.fit(polish=False)
    # the decrement is the squared distance in standard errors, which for least squares is exact
    best = model.fit()
    gap = best.params - res.params
    information = torch.linalg.inv(best.cov_params()) * best.scale
    rss = 2 * res.loss
    assert res.diagnostics.decrement == pytest.approx(float(gap @ information @ gap) / (rss / 57), rel=1e-6)


def test_the_decrements_at_which_betahat_warns_and_refuses():
    model = bh.TorchModel(nn.Linear(2, 1), nn.BCEWithLogitsLoss(), X2, yes())
    best = model.fit()
    direction = best.bse * torch.tensor([1.0, 0.0, 0.0]).double()
    spread = float((direction @ torch.linalg.inv(best.cov_params()) @ direction) ** 0.5)
    for distance, warns, refuses in (
        (0.9e-3, False, False),
        (1.1e-3, True, False),
        (0.3, True, False),
        (0.33, True, True),
    ):
        module = nn.Linear(2, 1).double()
        moved = best.params + distance * direction / spread
        with torch.no_grad():
            module.weight.copy_(moved[None, :2])
            module.bias.copy_(moved[2:])
        near = bh.TorchModel(module, nn.BCEWithLogitsLoss(), X2, yes())
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            res = near.fit("HC0", polish=False)
        assert bool(seen) == warns, distance
        assert res.diagnostics.decrement == pytest.approx(distance**2, rel=0.15)
        if refuses:
            with pytest.raises(bh.EstimationError, match="optimum"):
                res.with_cov("nonrobust")
        else:
            assert res.with_cov("nonrobust").cov_type == "nonrobust"


def test_weight_decay_is_recognised_and_its_number_said():
    module = _trained(500, decay=0.3)
    with pytest.warns(bh.ConvergenceWarning, match=r"penalty=0\.3(\D|0*\D)"):
        bh.TorchModel(module, nn.MSELoss(), X2, real()).fit("HC0", polish=False)
    bh.TorchModel(module, nn.MSELoss(), X2, real(), penalty=0.3).fit("HC0", polish=False)


def test_a_saddle_is_no_minimum():
    module = mlp()
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
        module[2].bias.copy_(real().mean())
    with pytest.raises(bh.EstimationError, match=r"not a minimum|flat|does not depend"):
        bh.TorchModel(module, nn.MSELoss(), X2, real()).fit("HC0", polish=False)


def test_negative_curvature_is_named():
    class Bump(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(0.0))

        def forward(self, x):
            return torch.cos(self.a) + self.b * x

    x = normal(60, seed=1)
    model = bh.TorchModel(Bump(), nn.MSELoss(), x, 0.5 * x - 2)
    with pytest.raises(bh.EstimationError, match=r"curves downward along 'a' "):
        model.fit("HC0", polish=False)


def test_null_directions_are_named_and_the_pseudoinverse_serves_identified_functions():
    """Three logits for three classes: what is added to all of them changes nothing."""
    y, module = classes(), nn.Linear(3, 3, bias=False)
    model = bh.TorchModel(module, nn.CrossEntropyLoss(), X3, y)
    with pytest.raises(bh.EstimationError, match=r"flat in 3 directions of 'weight\[0,0\]'.*rank='pinv'"):
        model.fit()
    res, true = model.fit(rank="pinv"), bh.MNLogit(y, X3).fit()
    assert res.diagnostics.rank == 9 or res.fit.root.shape[1] == 6
    for kind in COVARIANCES[:3]:
        found = res.with_cov(kind).delta(lambda p: (p["weight"][1:] - p["weight"][:1]).reshape(-1))
        close_to_largest(found.estimate, true.fit.params, 1e-9)
        factor = 1.0 if kind != "HC1" else (60 - 6) / res.df_resid
        same_covariance(found.cov() / factor, true.with_cov(kind).cov.matrix, 1e-8)
    information = _softmax_information(res.params)
    same_covariance(res.cov_params(), torch.linalg.pinv(information, rtol=1e-10), 1e-8)


def _softmax_information(theta):
    def total(vector):
        return F.cross_entropy(X3 @ vector.view(3, 3).mT, classes(), reduction="sum")

    return torch.autograd.functional.hessian(total, theta)


def test_the_rank_and_the_degrees_of_freedom_leave_flat_directions_out():
    res = bh.TorchModel(nn.Linear(3, 3, bias=False), nn.CrossEntropyLoss(), X3, classes()).fit(rank="pinv")
    true = bh.MNLogit(classes(), X3).fit()
    assert res.diagnostics.rank == 6
    assert res.df_resid == true.df_resid
    assert res.aic == pytest.approx(true.aic, rel=1e-12)


def test_collinear_inputs():
    x = torch.cat([X2, X2.sum(1, keepdim=True)], 1)
    model = bh.TorchModel(nn.Linear(3, 1), nn.MSELoss(), x, real())
    with pytest.raises(
        bh.EstimationError, match=r"flat in 1 direction of 'weight\[0,0\]', 'weight\[0,1\]', 'weight\[0,2\]'"
    ):
        model.fit()
    res, true = model.fit(rank="pinv"), bh.OLS(real()[:, 0], torch.cat([x, X3[:, :1]], 1)).fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.CollinearityWarning)
        same_covariance(res.cov_params(), true().cov_params(), 1e-9)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1, track_running_stats=False)),
        nn.Sequential(nn.Linear(2, 1), nn.Softmax(0)),
        nn.Sequential(nn.Linear(2, 1), nn.Softmax(0), nn.Linear(1, 1)),
    ],
    ids=["BatchNorm of the batch", "softmax", "softmax inside"],
)
def test_rows_that_depend_on_each_other_are_refused(module):
    with pytest.raises(bh.DataError, match=r"depends on the other rows|single row"):
        bh.TorchModel(module, nn.MSELoss(), X2, real())


def test_a_random_layer_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 1)

        def forward(self, x):
            return F.dropout(self.fc(x), 0.5)

    with pytest.raises(bh.DataError, match="random layer"):
        bh.TorchModel(Noisy(), nn.MSELoss(), X2, real())


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_separation_is_refused(kind):
    y = (X2[:, :1] > 0).double()
    module = nn.Linear(2, 1) if kind == "linear" else nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1))
    with pytest.raises(bh.EstimationError, match=r"falls forever|flat in|no finite|not a minimum"):
        bh.TorchModel(filled(module, 4), nn.BCEWithLogitsLoss(), X2, y).fit()
    res = bh.TorchModel(filled(module, 4), nn.BCEWithLogitsLoss(), X2, y, penalty=0.1).fit()
    assert res.converged


def test_a_parameter_that_moves_nothing_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.idle = nn.Linear(2, 1), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.fc(x)

    with pytest.raises(bh.EstimationError, match="'idle'"):
        bh.TorchModel(Idle(), nn.MSELoss(), X2, real()).fit("HC0")
    bh.TorchModel(Idle(), nn.MSELoss(), X2, real(), params=["fc.*"]).fit("HC0")
