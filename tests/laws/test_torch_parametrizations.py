"""Two parametrizations of one module: a covariance maps by their Jacobian."""

import pytest
import torch
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, normal
from support.torch_losses import yes
from torch import nn

import betahat as bh

# Two parametrizations of one model are solved on their own.
SOLVED = 1e-7

HC = ("HC0", "HC1", "HC2", "HC3")

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


class Direct(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate, self.slopes = nn.Parameter(torch.tensor([1.5])), nn.Parameter(torch.tensor([0.5, -0.3]))

    def forward(self, x):
        return self.rate * torch.tanh(x @ self.slopes)


class Scaled(Direct):
    """Rate = 10 a, slopes = b / 3."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.rate.div_(10)
            self.slopes.mul_(3)

    def forward(self, x):
        return 10 * self.rate * torch.tanh(x @ self.slopes / 3)


class Split(nn.Module):
    """The slopes one by one, and in another order."""

    def __init__(self):
        super().__init__()
        self.second, self.first = nn.Parameter(torch.tensor(-0.3)), nn.Parameter(torch.tensor(0.5))
        self.rate = nn.Parameter(torch.tensor([[1.5]]))

    def forward(self, x):
        return self.rate[0] * torch.tanh(x[:, 0] * self.first + x[:, 1] * self.second)


class Exponential(nn.Module):
    """Rate = exp(phi), slopes = (c, c d)."""

    def __init__(self):
        super().__init__()
        self.phi, self.c, self.d = (nn.Parameter(torch.tensor(v)) for v in (0.4, 0.5, -0.6))

    def forward(self, x):
        return torch.exp(self.phi) * torch.tanh(x @ torch.stack([self.c, self.c * self.d]).to(x))


MAPS = {
    "scaled": (Scaled, lambda t: torch.stack([10 * t[0], t[1] / 3, t[2] / 3])),
    "split and reordered": (Split, lambda t: torch.stack([t[2], t[1], t[0]])),
    "nonlinear": (Exponential, lambda t: torch.stack([t[0].exp(), t[1], t[1] * t[2]])),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nonrobust", *HC])
@pytest.mark.parametrize("loss", ["mse", "logit", "huber"])
@pytest.mark.parametrize("name", MAPS)
def test_a_reparametrization_maps_the_covariance_by_its_jacobian(name, loss, kind):
    """With the observed bread that is so at the optimum alone, where the gradient is zero."""
    if (loss, kind) == ("huber", "nonrobust"):
        kind = "HC0"
    torch_loss = {"mse": nn.MSELoss(), "logit": nn.BCEWithLogitsLoss(), "huber": nn.HuberLoss(delta=1.1)}[loss]
    index = 1.5 * torch.tanh(X2 @ torch.tensor([1.2, -0.7]).double())
    y = yes()[:, 0] if loss == "logit" else index + 0.3 * normal(60, seed=3)
    make, mapping = MAPS[name]
    res = bh.TorchModel(make(), torch_loss, X2, y).fit(kind)
    true = bh.TorchModel(Direct(), torch_loss, X2, y).fit(kind)
    close_to_largest(mapping(res.params), true.params, SOLVED)
    jacobian = torch.autograd.functional.jacobian(mapping, res.params)
    same_covariance(jacobian @ res.cov_params() @ jacobian.mT, true.cov_params(), SOLVED)
    delta = res.delta(lambda p: mapping(p.vector))
    same_covariance(delta.cov(), true.cov_params(), SOLVED)
