"""What happens to the user's module and its precision: nothing that was not asked for."""

import copy
import warnings

import pytest
import torch
from support.closeness import close_to_largest, same_covariance
from support.modules import X1, X2, ZOO, double_attributes, filled, mlp, normal
from torch import nn

import betahat as bh

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _remembered(module):
    return copy.deepcopy(module.state_dict()), [
        (n, v.requires_grad, v.dtype, v.grad, id(v)) for n, v in module.named_parameters()
    ]


@pytest.mark.parametrize("polish", [True, False])
def test_the_module_is_untouched(polish):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.4), nn.Linear(3, 1))
    module[0].bias.requires_grad_(False)
    module.train()
    module[3].eval()
    module(X2.float())  # moves the running statistics
    flags = [part.training for part in module.modules()]
    state, parameters = _remembered(module)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        res = bh.TorchModel(module, nn.MSELoss(), X2.float(), X1.float(), params=["4.*"]).fit("HC1", polish=polish)
        res.summary(), res.predict(), res.get_prediction(), res.get_margeff(), res.delta(lambda p: p["4.bias"])
    now, parameters_now = _remembered(module)
    assert parameters == parameters_now
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(state[name], now[name]) for name in state)
    assert torch.equal(before, torch.get_rng_state())
    notes = str(res.summary())
    assert "BatchNorm is in eval mode" in notes
    assert "Dropout is off" in notes
    assert "Conditioned on the parameters '0.weight', '0.bias', '1.weight', '1.bias'" in notes


def test_update_module_writes_back():
    for dtype in (torch.float32, torch.float64):
        module = filled(mlp(), 5).to(dtype)
        own = module[0].weight
        target = (0.1 * normal(60, 1, seed=9) + torch.tanh(X2[:, :1] + 0.5)).to(dtype)
        res = bh.TorchModel(module, nn.MSELoss(), X2.to(dtype), target, params=["0.*", "2.bias"]).fit(
            "HC0", update_module=True
        )
        assert module[0].weight is own
        assert own.dtype == dtype
        for name, value in res.state().items():
            assert torch.equal(dict(module.named_parameters())[name], value.to(dtype))
        assert set(res.state()) == {"0.weight", "0.bias", "2.bias"}
        assert value.dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "linear logit", "mlp", "embedding", "holds its data, curved", "branches"])
def test_float32_gives_what_float64_gives(name):
    case = next(c for c in ZOO if c.name == name)

    def down(value):
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    single, double = case.module(), case.module().double()
    double_attributes(double)
    inputs, target = down(case.inputs), down(case.target())
    again = inputs.double() if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    found = bh.TorchModel(single, case.torch_loss(), inputs, target).fit("HC1")
    true = bh.TorchModel(double, case.torch_loss(), again, target.double()).fit("HC1")
    assert next(single.parameters()).dtype == torch.float32
    assert found.params.dtype == torch.float64
    close_to_largest(found.params, true.params, 1e-12)
    same_covariance(found.cov_params(), true.cov_params(), 1e-12)
    same_covariance(found.with_cov("nonrobust").cov_params(), true.with_cov("nonrobust").cov_params(), 1e-12)
