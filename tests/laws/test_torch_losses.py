"""Which losses are recognised, what each claims, and those without rows, which are refused."""

import pytest
import torch
import torch.nn.functional as F
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, Padded
from support.torch_losses import LOSSES, classes, loss_case, loss_model, real
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


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_gives_one_covariance_whatever_its_reduction(name):
    """HC0 from autograd of the loss without reduction: a factor of the loss cancels in a sandwich."""
    losses, results = loss_case(name), []
    for reduction in ("mean", "sum", "none"):
        model = loss_model(name, reduction)
        if model is None:
            continue
        res = model.fit("HC0")
        scores = torch.autograd.functional.jacobian(losses, res.params)
        assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < OPTIMUM
        bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
        same_covariance(res.cov_params(), bread @ (scores.mT @ scores) @ bread, 1e-9)
        results.append(res)
    for res in results[1:]:
        close_to_largest(res.params, results[0].params, 1e-9)
        same_covariance(res.cov_params(), results[0].cov_params(), 1e-9)


LIKELIHOODS = [
    n
    for n in LOSSES
    if not any(part in n for part in ("MSE", "mse", "own", "pos_weight", "smooth", "Smooth", "Huber", "huber"))
]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_has_its_inverse_hessian(name):
    losses = loss_case(name)
    for reduction in ("mean", "sum", "none"):
        model = loss_model(name, reduction)
        if model is None:
            continue
        res = model.fit()
        assert res.cov_type == "nonrobust"
        assert not res.use_t
        bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
        same_covariance(res.cov_params(), bread, 1e-9)


@pytest.mark.parametrize("name", ["HuberLoss", "SmoothL1Loss", "own", "pos_weight", "CrossEntropyLoss, smoothed"])
def test_other_losses_claim_nothing(name):
    res = loss_model(name).fit()
    assert res.cov_type == "HC0"
    with pytest.raises(bh.EstimationError, match="likelihood=True"):
        res.with_cov("nonrobust")


@pytest.mark.parametrize(
    "name",
    [
        "own",
        "pos_weight",
        pytest.param("HuberLoss"),
        pytest.param("SmoothL1Loss"),
    ],
)
def test_other_losses_are_likelihoods_where_the_user_says_so(name):
    losses = loss_case(name)
    res = loss_model(name, "sum", likelihood=True).fit()
    assert res.cov_type == "nonrobust"
    bread = torch.linalg.inv(torch.autograd.functional.hessian(lambda t: losses(t).sum(), res.params))
    same_covariance(res.cov_params(), bread, 1e-9)


def test_a_recognised_loss_is_none_where_the_user_says_so():
    for name in ("MSELoss", "BCEWithLogitsLoss", "CrossEntropyLoss"):
        res = loss_model(name, likelihood=False).fit()
        true = loss_model(name).fit("HC0")
        assert res.cov_type == "HC0"
        same_covariance(res.cov_params(), true.cov_params(), ROUNDING)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: F.mse_loss(o, t).sqrt(),
        lambda o, t: F.cross_entropy(o, t, weight=torch.tensor([1.0, 2.0, 5.0]).double()),
        lambda o, t: F.mse_loss(o, t, reduction="sum") + 0.1,
        lambda o, t: torch.quantile((o - t).abs(), 0.5),
    ],
    ids=["root", "class weights", "ridge", "median"],
)
def test_losses_without_rows_are_refused(loss, request):
    several = "class weights" in request.node.name
    with pytest.raises(bh.OptionError, match="neither the sum nor the mean"):
        bh.TorchModel(Padded(2, 3) if several else nn.Linear(2, 1), loss, X2, classes() if several else real())


@pytest.mark.parametrize("kind", ["CrossEntropyLoss", "NLLLoss"])
def test_ignored_classes_are_refused_or_ignored(kind):
    module = Padded(2, 3) if kind == "CrossEntropyLoss" else nn.Sequential(Padded(2, 3), nn.LogSoftmax(1))
    loss = getattr(nn, kind)(ignore_index=2, reduction="sum")
    kept = classes() != 2
    try:
        res = bh.TorchModel(module, loss, X2, classes()).fit("HC0", rank="pinv")
    except (bh.DataError, bh.OptionError):
        return
    close_to_largest(res.fit.loss, loss(res.predict()[kept], classes()[kept]), ROUNDING)


def test_a_loss_that_broadcasts_is_refused():
    """(60, 1) less (60,) is (60, 60)."""
    with pytest.raises(bh.BetahatError):
        bh.TorchModel(nn.Linear(2, 1), lambda o, t: (o - t) ** 2, X2, real()[:, 0]).fit("HC0")
