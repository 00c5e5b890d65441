"""What results of a module say: names, predictions, margins, tables, restrictions."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close_to_largest, same_covariance
from support.modules import A1, A2, X2, ZOO, filled, mlp, normal, zoo
from support.naive_torch import naive_at
from support.torch_losses import BREADS, RIDGE, real
from torch import nn

import betahat as bh

# The same sums of products in another order.
ROUNDING = 1e-10
# The optimum is where the decrement is below 1e-24: 1e-12 standard errors, before the rounding of sums.
OPTIMUM = 1e-9

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _frame():
    return pd.DataFrame(X2.numpy(), columns=["educ", "exper"], index=[f"r{i}" for i in range(60)])


def test_names_of_a_dataframe():
    frame, y = _frame(), pd.Series(real()[:, 0].numpy(), index=_frame().index, name="wage")
    for module in (nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 1))):
        res = bh.TorchModel(module, nn.MSELoss(), frame, y).fit()
        bias = "bias" if isinstance(module, nn.Linear) else "0.bias"
        assert res.names == ("educ", "exper", bias)
        assert isinstance(res.params, pd.Series)
        assert list(res.cov_params().columns) == list(res.names)
        assert res.endog_name == "wage"
        assert "wage" in str(res.summary())
        assert list(res.tidy()["term"]) == list(res.names)
        true = bh.OLS(y, bh.add_constant(frame, prepend=False)).fit()
        np.testing.assert_allclose(res.bse, true.bse, rtol=1e-10)
        assert res.t_test("educ = exper").pvalue == pytest.approx(true.t_test("educ = exper").pvalue, rel=1e-9)
        assert float(res.delta(lambda p: p["educ"] / p["exper"]).estimate) == pytest.approx(
            true.params["educ"] / true.params["exper"]
        )
        swapped = frame[["exper", "educ"]].iloc[:5]
        np.testing.assert_allclose(np.asarray(res.predict(swapped)), np.asarray(res.predict())[:5])
    deep = bh.TorchModel(filled(mlp(), 3), nn.MSELoss(), frame, y, penalty=0.05).fit()
    assert deep.names[:4] == ("0.weight[0,educ]", "0.weight[0,exper]", "0.weight[1,educ]", "0.weight[1,exper]")
    assert deep.names[4:] == ("0.bias[0]", "0.bias[1]", "2.weight[0,0]", "2.weight[0,1]", "2.bias")
    own = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), frame, y, names=["a", "b", "c"]).fit()
    assert own.names == ("a", "b", "c")
    assert list(own.params.index) == ["a", "b", "c"]
    for values in (own.fittedvalues, own.resid, own.predict(frame)):
        assert isinstance(values, pd.Series)
        assert values.index.equals(frame.index)
    np.testing.assert_allclose(own.fittedvalues, own.model.outputs(own.fit.params, (X2,))[:, 0], rtol=1e-12)


def test_state_has_the_tensors_of_the_module():
    res = bh.TorchModel(filled(mlp(), 3), nn.MSELoss(), X2, real(), penalty=0.05).fit()
    state = res.state()
    assert {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in mlp().named_parameters()}
    assert torch.equal(torch.cat([v.flatten() for v in state.values()]), res.params)
    state["0.bias"].zero_()
    assert not torch.equal(res.state()["0.bias"], state["0.bias"])
    module = mlp().double()
    module.load_state_dict(res.state())
    close_to_largest(res.predict(), module(X2).detach(), ROUNDING)
    new = normal(7, 2, seed=8)
    close_to_largest(res.predict(new), module(new).detach(), ROUNDING)
    close_to_largest(res.predict(new.float()), module(new.float().double()).detach(), ROUNDING)
    close_to_largest(res.fittedvalues, module(X2).detach(), ROUNDING)
    close_to_largest(res.resid, real() - module(X2).detach(), ROUNDING)


@pytest.mark.parametrize("name", ["linear", "mlp", "two inputs", "embedding", "branches", "squeezes, curved", "GRU"])
def test_predictions_have_delta_method_errors(name, fitted):
    """Against the product of a finite difference's gradient with the covariance."""
    case, res = next(c for c in ZOO if c.name == name), fitted(next(c for c in ZOO if c.name == name))
    found = res.get_prediction()
    theta, step = res.fit.params, 1e-6
    columns = []
    for i in range(len(theta)):
        shift = torch.zeros_like(theta)
        shift[i] = step
        ends = [case.call(naive_at(case, theta + s * shift)[0]).detach().reshape(-1) for s in (1, -1)]
        columns.append((ends[0] - ends[1]) / (2 * step))
    gradient = torch.stack(columns, 1)
    close_to_largest(found.se, torch.einsum("nk,kl,nl->n", gradient, res.cov_params(), gradient).sqrt(), 1e-5)
    close_to_largest(found.predicted, case.call(naive_at(case, theta)[0]).detach().reshape(-1), ROUNDING)
    assert found.summary_frame().shape == (len(found.predicted), 4)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
@pytest.mark.parametrize("kind", ["logit", "counts", "mse", pytest.param("classes")])
def test_margins_of_a_module_against_differences(kind, at):
    """d E(y) / dx averaged, and its error, by differences of x and of the parameters."""
    make, loss, target = BREADS[kind]
    module = filled(make(), 3)
    res = bh.TorchModel(module, loss(), X2, target(), penalty=RIDGE).fit("HC0")
    found = res.get_margeff(at=at)
    link = {"logit": torch.sigmoid, "counts": torch.exp, "mse": lambda o: o, "classes": lambda o: torch.softmax(o, 1)}[
        kind
    ]
    points = {"overall": X2, "mean": X2.mean(0, keepdim=True), "median": X2.quantile(0.5, dim=0, keepdim=True)}[at]

    def effects(theta):
        double, begin = copy.deepcopy(module).double(), 0
        with torch.no_grad():
            for value in double.parameters():
                value.copy_(theta[begin : begin + value.numel()].view(value.shape))
                begin += value.numel()
            columns = []
            for j in range(2):
                shift = torch.zeros(2, dtype=torch.float64)
                shift[j] = 1e-4
                columns.append(((link(double(points + shift)) - link(double(points - shift))) / 2e-4).mean(0))
        return torch.stack(columns)

    theta = res.params
    true = effects(theta)
    close_to_largest(torch.as_tensor(found.margeff).reshape(true.shape), true, 1e-6)
    gradient = torch.stack(
        [
            (effects(theta + 1e-4 * e) - effects(theta - 1e-4 * e)).mT.reshape(-1) / 2e-4
            for e in torch.eye(len(theta)).double()
        ],
        1,
    )
    errors = torch.einsum("ik,kl,il->i", gradient, res.cov_params(), gradient).sqrt().reshape(-1, 2).mT
    close_to_largest(torch.as_tensor(found.margeff_se).reshape(errors.shape), errors, 1e-5)
    assert "x1" in str(found.summary())


@pytest.mark.slow
@zoo
def test_tables_of_every_kind(case, fitted):
    res = fitted(case)
    assert res.names[0] in str(res.summary())
    assert res.summary().as_html().startswith("<")
    assert len(res.tidy()) == len(res.names)
    assert res.glance().shape[0] == 1
    leverage = ["HC3"] if case.name in ("linear", "linear logit", "branches", "two inputs") else []
    table = bh.compare(res, ["nonrobust", "HC0", "HC1", *leverage]).to_text()
    assert "HC1" in table
    assert res.names[0] in table
    many = bh.regtable([res, res.with_cov("HC1")]).to_text()
    assert res.names[-1] in many
    restriction = np.eye(len(res.names))[:1]
    assert float(res.t_test(restriction).pvalue) == pytest.approx(float(res.pvalues[0]), rel=1e-9, abs=1e-300)
    assert res.conf_int().shape == (len(res.names), 2)
    assert float(res.delta(lambda p: p[0]).bse) == pytest.approx(float(res.bse[0]), rel=1e-12)
    assert repr(res.model).startswith("<TorchModel")
    again = copy.deepcopy(res)
    assert torch.equal(again.params, res.params)
    assert torch.equal(again.with_cov("HC1").bse, res.with_cov("HC1").bse)


def test_restrictions_by_the_names_of_a_module():
    res = bh.TorchModel(filled(mlp(), 3), nn.MSELoss(), X2, real(), penalty=0.05).fit()
    assert res.names[0] == "0.weight[0,0]"
    found = res.t_test("0.weight[0,0] = 0")
    assert float(found.pvalue) == pytest.approx(float(res.pvalues[0]), rel=1e-9)
    joint = res.wald_test("0.weight[0,0] = 0.weight[1,0], 2.bias = 0")
    matrix = np.zeros((2, 9))
    matrix[0, [0, 2]], matrix[1, 8] = [1, -1], 1
    assert float(joint.statistic) == pytest.approx(float(res.wald_test(matrix).statistic), rel=1e-9)


def test_new_inputs_go_by_their_names():
    case = next(c for c in ZOO if c.name == "two named inputs")
    res = case.model().fit("HC0")
    close_to_largest(res.predict({"b": A1, "a": A2}), res.predict(), ROUNDING)


@pytest.mark.parametrize("new", [{"a": A2, "b": A1}, {"A": A1, "B": A2}], ids=["another order", "other names"])
def test_new_inputs_in_another_order_or_of_other_names(new):
    res = next(c for c in ZOO if c.name == "two named inputs").model().fit("HC0")
    try:
        found = res.predict(new)
    except bh.BetahatError:
        assert "A" in new
        return
    assert "a" in new
    close_to_largest(found, res.predict(), ROUNDING)


def test_a_linear_module_may_start_anywhere():
    """Untrained weights and inputs in years start where every probability is 0 or 1; the loss has one optimum all the same."""
    inputs = torch.stack([torch.ones(200).double(), 40 + 8 * normal(200)], 1)
    target = (normal(200, seed=1) + (inputs[:, 1] - 40) / 8 > 0).double()
    module = nn.Linear(2, 1, bias=False).double()
    for slope in (-0.9, 0.9, 30.0):
        with torch.no_grad():
            module.weight.copy_(torch.tensor([[0.3, slope]]))
        found = bh.TorchModel(module, nn.BCEWithLogitsLoss(), inputs, target).fit()
        true = bh.Logit(target, inputs).fit()
        close_to_largest(found.params, true.params, OPTIMUM)
        same_covariance(found.cov_params(), true.cov_params(), OPTIMUM)


def test_flat_directions_name_weights_of_large_inputs_as_well():
    module = filled(nn.Linear(2, 2), 1, 0.01)
    with pytest.raises(
        bh.EstimationError, match=r"flat in 3 directions of 'weight\[0,0\]'.*'weight\[1,1\]', 'bias\[0\]'"
    ):
        bh.TorchModel(module, nn.CrossEntropyLoss(), 40 + 5 * A2, torch.arange(len(A2)) % 2).fit()
