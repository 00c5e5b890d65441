"""User code that writes to what it is called with, or draws: the user's data, module and generators stay as they were."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh

# The same model without the operation in place, solved on its own.
SOLVED = 1e-9

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


N = 80


def _data(kind):
    """Return fresh inputs, a target, and new inputs, of one kind."""
    x, new = _normal(N, 2, seed=1), _normal(5, 2, seed=2)
    y = torch.tanh(x.clamp_min(0) @ torch.tensor([1.0, 0.5]).double()) + 0.3 * _normal(N, seed=3)
    if kind == "float32":
        return x.float(), y.float(), new.float()
    if kind == "numpy":
        return x.numpy(), y.numpy(), new.numpy()
    if kind == "pandas":
        frames = [pd.DataFrame(part.numpy(), columns=["a", "b"]) for part in (x, new)]
        return frames[0], pd.Series(y.numpy(), name="y"), frames[1]
    return x, y, new


def _copy(value):
    return value.copy() if isinstance(value, np.ndarray | pd.DataFrame | pd.Series) else value.clone()


def _same(one, other):
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


class Net(nn.Module):
    def __init__(self, before):
        super().__init__()
        self.before, self.fc = before, nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("size", torch.ones(2))
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[0.5, 0.2]]))
            self.fc.bias.zero_()

    def forward(self, x):
        return torch.tanh(self.fc(self.before(self, x)))[:, 0]


def _numpy_in_place(_, x):
    x.numpy()[...] *= 2
    return x


def _masked(_, x):
    x[x < 0] = 0.0
    return x


IN_PLACE = {
    "ReLU(inplace=True)": (lambda _, x: nn.ReLU(inplace=True)(x), lambda _, x: F.relu(x)),
    "clamp_": (lambda _, x: x.clamp_(-0.5, 0.5), lambda _, x: x.clamp(-0.5, 0.5)),
    "mul_": (lambda _, x: x.mul_(2), lambda _, x: 2 * x),
    "a view": (lambda _, x: (x[:, :1].mul_(2), x)[1], lambda _, x: torch.cat([2 * x[:, :1], x[:, 1:]], 1)),
    "a mask": (_masked, lambda _, x: F.relu(x)),
    "buffers": (lambda s, x: (s.seen.add_(1), x)[1], lambda _, x: x),
    "a buffer that counts": (lambda s, x: x * s.size.mul_(0.5), lambda s, x: 0.5 * x),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensor", "float32", "numpy", "pandas"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_module_that_works_in_place_changes_nothing_of_the_users(name, kind):
    in_place, out_of_place = IN_PLACE[name]
    x, y, new = _data(kind)
    before = _copy(x), _copy(y), _copy(new)
    module = Net(in_place)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    res = bh.TorchModel(module, nn.MSELoss(), x, y).fit("HC0")
    true = bh.TorchModel(Net(out_of_place), nn.MSELoss(), *_data(kind)[:2]).fit("HC0")
    np.testing.assert_allclose(np.asarray(res.params), np.asarray(true.params), rtol=SOLVED)
    np.testing.assert_allclose(np.asarray(res.bse), np.asarray(true.bse), rtol=SOLVED)
    for given in (new, x, None):
        for _ in range(2):
            np.testing.assert_allclose(np.asarray(res.predict(given)), np.asarray(true.predict(given)), rtol=SOLVED)
    res.get_prediction(new).conf_int()
    res.get_margeff()
    res.with_cov("HC3")
    assert all(_same(now, then) for now, then in zip((x, y, new), before, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert module.training


@pytest.mark.parametrize("count", [N, 70_000])
def test_numpy_in_place_and_large_data_are_not_the_users_either(count):
    """Small data are copied anyway."""
    x, y = _normal(count, 2, seed=1), _normal(count, seed=2)
    before = x.clone()
    for module in (Net(IN_PLACE["mul_"][0]), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 1), nn.Flatten(0))):
        bh.TorchModel(module, nn.MSELoss(), x, y).fit("HC0").predict(x)
        assert torch.equal(x, before)
    if count == N:
        bh.TorchModel(Net(_numpy_in_place), nn.MSELoss(), x, y)
        assert torch.equal(x, before)


def test_a_dataframes_names_are_found_through_a_module_in_place():
    x, y, _ = _data("pandas")
    res = bh.TorchModel(Net(lambda _, x: x.clamp_(-3, 3)), nn.MSELoss(), x, y).fit("HC0")
    plain = bh.TorchModel(Net(lambda _, x: x), nn.MSELoss(), x, y).fit("HC0")
    assert res.names[1:] == plain.names[1:]


def _loss_in_place(o, t):
    return o.sub_(t).square().mean()


def _target_in_place(o, t):
    return (o - t.clamp_(-0.5, 0.5)).square()


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize(
    ("loss", "plain"),
    [(_loss_in_place, lambda o, t: (o - t).square().mean()), (_target_in_place, lambda o, t: (o - t.clamp(-0.5, 0.5)).square())],
    ids=["output", "target"],
)  # fmt: skip
def test_a_loss_that_works_in_place_changes_nothing_of_the_users(loss, plain, linear):
    x, y, _ = _data("tensor")
    before = y.clone()

    def module():
        return nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)) if linear else Net(lambda _, x: x)

    torch.manual_seed(1)
    res = bh.TorchModel(module(), loss, x, y).fit("HC0")
    torch.manual_seed(1)
    true = bh.TorchModel(module(), plain, x, y).fit("HC0")
    torch.testing.assert_close(res.params, true.params, rtol=SOLVED, atol=SOLVED)
    torch.testing.assert_close(res.bse, true.bse, rtol=SOLVED, atol=0)
    assert torch.equal(y, before)


def test_a_row_loss_that_works_in_place_changes_nothing_of_the_users():
    x, y, _ = _data("tensor")
    before = x.clone(), y.clone()
    start = {"b": torch.zeros(2)}
    res = bh.MEstimator(lambda p, d: d["y"].sub_(d["x"].mul_(2) @ p["b"]).square(), start, {"x": x, "y": y}).fit()
    true = bh.MEstimator(lambda p, d: (d["y"] - 2 * d["x"] @ p["b"]).square(), start, {"x": x, "y": y}).fit()
    torch.testing.assert_close(res.bse, true.bse, rtol=SOLVED, atol=0)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def _clamping(module, x):
    with torch.no_grad():
        module.fc.weight.clamp_(0, 0.1)
    return x


def _clamping_data(module, x):
    module.fc.weight.data.clamp_(0, 0.1)
    return x


@pytest.mark.parametrize("before", [_clamping, _clamping_data])
def test_a_module_that_moves_its_parameters_is_refused(before):
    x, y, _ = _data("tensor")
    module = Net(before)
    weight = module.fc.weight.detach().clone()
    with pytest.raises(bh.DataError, match=r"changes its parameters in forward.*parametrize"):
        bh.TorchModel(module, nn.MSELoss(), x, y)
    assert torch.equal(module.fc.weight, weight)


def test_a_row_loss_that_moves_its_parameters_is_refused():
    def row_loss(p, d):
        with torch.no_grad():
            p["b"].clamp_(0.5, 1)
        return (d["y"] - d["x"] @ p["b"]).square()

    x, y, _ = _data("tensor")
    with pytest.raises(bh.DataError, match="changes the parameters"):
        bh.MEstimator(row_loss, {"b": torch.zeros(2)}, {"x": x, "y": y})


def test_a_module_that_changes_its_own_data_is_refused():
    class Held(nn.Module):
        def __init__(self, x):
            super().__init__()
            self.x, self.fc = x, nn.Linear(2, 1)

        def forward(self):
            return self.fc(self.x.mul_(0.5))

    x, y, _ = _data("tensor")
    before = x.clone()
    with pytest.raises(bh.DataError, match=r"changes its tensors 'x' at each call.*clone"):
        bh.TorchModel(Held(x), nn.MSELoss(), None, y)
    assert torch.equal(x, before)


# generators


def _draw():
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.rand(3)


def _states():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def _row_loss(p, d):
    _draw()
    return (d["y"] - d["x"] @ p["b"]).square()


def _drawing(_, x):
    _draw()
    return x


def _penalty(p):
    _draw()
    return p["fc.weight"].square().sum()


def _own(o, t):
    _draw()
    return (o - t).square().mean()


DRAWS = {
    "forward": lambda x, y: bh.TorchModel(Net(_drawing), nn.MSELoss(), x, y),
    "loss": lambda x, y: bh.TorchModel(Net(lambda _, x: x), _own, x, y),
    "penalty": lambda x, y: bh.TorchModel(Net(lambda _, x: x), nn.MSELoss(), x, y, penalty=_penalty),
    "dropout": lambda x, y: bh.TorchModel(nn.Sequential(nn.Linear(2, 1), nn.Dropout(), nn.Flatten(0)), nn.MSELoss(), x, y),
    "row loss": lambda x, y: bh.MEstimator(_row_loss, {"b": torch.zeros(2)}, {"x": x, "y": y}),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_generators_stay_where_they_were(name):
    x, y, new = _data("tensor")
    torch.manual_seed(0)
    model = DRAWS[name](x, y)
    before = _states()
    for cov_type in ("HC0", bh.Bootstrap(19, seed=1)):
        res = model.fit(cov_type)
    if name != "row loss":
        res.predict(new)
        res.get_prediction(new).summary_frame()
        res.get_margeff()
        assert len(res.resid) == N
    assert _states() == before


def test_a_constructor_that_draws_or_fails_leaves_generators_where_they_were():
    x, y, _ = _data("tensor")
    nets = [Net(_drawing), Net(lambda _, x: F.dropout(x)), Net(lambda _, x: x + torch.randn(()))]
    plain = Net(lambda _, x: x)
    before = _states()
    bh.TorchModel(nets[0], nn.MSELoss(), x, y)
    bh.MEstimator(_row_loss, {"b": torch.zeros(2)}, {"x": x, "y": y})
    for net in nets[1:]:
        with pytest.raises(bh.DataError, match="a random layer"):
            bh.TorchModel(net, nn.MSELoss(), x, y)
    for noise in (np.random.rand, random.random, lambda: torch.rand(())):
        with pytest.raises(bh.DataError, match="is random"):
            bh.TorchModel(plain, lambda o, t, noise=noise: (o - t).square().mean() + noise(), x, y)
        with pytest.raises(bh.DataError, match="is random"):
            bh.MEstimator(lambda p, d, noise=noise: (d["y"] - p["a"] - noise()) ** 2, {"a": 0.0}, {"y": y})
    assert _states() == before


# flags

FLAGS = {
    "polish": lambda d, v: d.module.fit("HC0", polish=v),
    "polish of an M-estimator": lambda d, v: d.m.fit(polish=v),
    "update_module": lambda d, v: d.module.fit("HC0", update_module=v),
    "likelihood": lambda d, v: bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), d.x, d.y, likelihood=v),
    "likelihood of an M-estimator": lambda d, v: bh.MEstimator(_row_loss, {"b": torch.zeros(2)}, {"x": d.x, "y": d.y}, v),
    "hasconst": lambda d, v: bh.OLS(d.y, d.x, hasconst=v),
    "hasconst of counts": lambda d, v: bh.Poisson(d.y > 0, d.x, hasconst=v),
    "prepend": lambda d, v: bh.add_constant(d.x, prepend=v),
    "disp": lambda d, v: bh.Logit(d.y > 0, d.x).fit(disp=v),
    "use_t": lambda d, v: d.ols.with_cov("HC1", use_t=v),
    "use_f": lambda d, v: d.ols.wald_test("x1 = 0", use_f=v),
    "skip_single": lambda d, v: d.ols.wald_test_terms(skip_single=v),
    "transform": lambda d, v: d.ols.predict(d.x, transform=v),
    "transform of a logit": lambda d, v: bh.Logit(d.y > 0, d.x).fit().predict(d.x, transform=v),
    "obs": lambda d, v: d.ols.get_prediction().conf_int(obs=v),
    "slim": lambda d, v: d.ols.summary(slim=v),
    "large_sample": lambda d, v: d.ols.compare_lr_test(d.less, large_sample=v),
    "demean": lambda d, v: d.ols.compare_lm_test(d.less, demean=v),
    "use_lr": lambda d, v: d.ols.compare_lm_test(d.less, use_lr=v),
    "dummy": lambda d, v: bh.Logit(d.y > 0, d.x).fit().get_margeff(dummy=v),
    "remove_data": lambda d, v: d.ols.save("nowhere", remove_data=v),
    "siunitx": lambda d, v: bh.regtable(d.ols).to_latex(siunitx=v),
    "standalone": lambda d, v: bh.regtable(d.ols).to_latex(standalone=v),
    "relative": lambda d, v: bh.plot_cov(d.ols, ["HC0", "HC1"], relative=v),
}  # fmt: skip


class Given:
    def __init__(self):
        self.x, self.y, _ = _data("tensor")
        self.net = Net(lambda _, x: x)
        self.module = bh.TorchModel(self.net, nn.MSELoss(), self.x, self.y)
        self.m = bh.MEstimator(lambda p, d: (d["y"] - d["x"] @ p["b"]) ** 2, {"b": torch.zeros(2)}, {"x": self.x, "y": self.y})  # fmt: skip
        self.ols, self.less = bh.OLS(self.y, self.x).fit(), bh.OLS(self.y, self.x[:, :1]).fit()


@pytest.fixture(scope="module")
def given():
    """What is refused changes none of it."""
    return Given()


@pytest.mark.parametrize("value", ["no", "False", 2, 0.5, [True], np.array([True, False]), pd.Series([True])], ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_neither_yes_nor_no_is_refused(name, value, given):
    before = given.net.fc.weight.detach().clone()
    with pytest.raises(bh.OptionError, match=rf"^{name.split()[0]} is .*use True"):
        FLAGS[name](given, value)
    assert torch.equal(given.net.fc.weight, before)


@pytest.mark.parametrize("value", [True, False, 1, 0, np.True_, np.False_], ids=repr)
def test_yes_and_no_by_other_names(value):
    given = Given()
    before = given.net.fc.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        given.module.fit("HC0", update_module=value, polish=value)
    assert torch.equal(given.net.fc.weight, before) is not bool(value)  # as given, it is what it was
