"""Classes of several positions of a row, (n, J, L) logits, some left out by ignore_index: positions as rows of their own, clustered by row."""

import numpy as np
import pytest
import torch
from support.closeness import close_to_largest, close_to_one, same_covariance
from torch import nn

import betahat as bh

# Fits end within 1e-12 standard errors; sums are in another order.
CLOSE = 1e-10

N, LENGTH, CLASSES = 60, 4, 3
torch.manual_seed(4)
X = torch.randn(N, LENGTH, 2, dtype=torch.float64)
Y = torch.distributions.Categorical(logits=torch.stack([0 * X[..., 0], X[..., 0], -X[..., 1]], -1)).sample()
IGNORED = -1
LEFT_OUT = (torch.rand(N, LENGTH) < 0.3) & (torch.arange(LENGTH) > 0)
TARGET = torch.where(LEFT_OUT, IGNORED, Y)
TAKEN, SEQUENCE = (~LEFT_OUT).flatten(), np.repeat(np.arange(N), LENGTH)


class Tagger(nn.Module):
    """(b, ..., 2) inputs to (b, 3, ...) logits, the first of them zero."""

    def __init__(self, logarithm=False):
        super().__init__()
        torch.manual_seed(1)
        self.head, self.logarithm = nn.Linear(2, CLASSES - 1).double(), logarithm

    def forward(self, x):
        logits = nn.functional.pad(self.head(x), (1, 0)).movedim(-1, 1)
        return torch.log_softmax(logits, 1) if self.logarithm else logits


def _by_row(loss=None, logarithm=False, **options):
    loss = nn.CrossEntropyLoss(ignore_index=IGNORED) if loss is None else loss
    return bh.TorchModel(Tagger(logarithm), loss, X, TARGET, **options)


def _by_position(**options):
    x, y = X.flatten(0, 1)[TAKEN], Y.flatten()[TAKEN]
    return bh.TorchModel(Tagger(), nn.CrossEntropyLoss(), x, y, **options)


@pytest.mark.filterwarnings("ignore:groups has 60 clusters")
@pytest.mark.parametrize("bread", ["observed", "expected"])
@pytest.mark.parametrize("logarithm", [False, True], ids=["CrossEntropyLoss", "NLLLoss"])
def test_positions_are_rows_of_a_cluster(bread, logarithm):
    loss = (nn.NLLLoss if logarithm else nn.CrossEntropyLoss)(ignore_index=IGNORED)
    rows = _by_row(loss, logarithm).fit(bread=bread)
    assert rows.cov_type == "HC0"
    rows = rows.with_cov("nonrobust")
    positions = _by_position().fit(bread=bread)
    close_to_largest(rows.params, positions.params, CLOSE)
    assert rows.nobs == N
    same_covariance(rows.cov_params(), positions.cov_params(), CLOSE)
    close_to_one(rows.llf, positions.llf, CLOSE)
    clusters = bh.Cluster(SEQUENCE[TAKEN.numpy()], "CR0")
    same_covariance(rows.with_cov("HC0").cov_params(), positions.with_cov(clusters).cov_params(), CLOSE)
    if not logarithm:  # which is linear in its outputs, so that positions have no leverage
        clusters = bh.Cluster(SEQUENCE[TAKEN.numpy()], "CR2")
        alone = bh.Cluster(np.arange(N), "CR2")
        same_covariance(rows.with_cov(alone).cov_params(), positions.with_cov(clusters).cov_params(), CLOSE)


def test_predictions_have_the_shape_of_the_logits():
    res = _by_row().fit()
    assert res.predict().shape == (N, CLASSES, LENGTH)
    close_to_one(res.predict(which="mean").sum(1), np.ones((N, LENGTH)), CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_penalty_is_beside_the_users_own_reduction(reduction):
    """The mean is over positions that are not left out."""
    loss = nn.CrossEntropyLoss(ignore_index=IGNORED, reduction=reduction)
    penalty = 0.05 if reduction == "mean" else 0.05 * int(TAKEN.sum())
    res, tagger = _by_row(loss, penalty=penalty).fit(), Tagger()
    for name, value in res.state().items():
        tagger.get_parameter(name).data = value
    (loss(tagger(X), TARGET) + 0.5 * penalty * sum(p.square().sum() for p in tagger.parameters())).backward()
    assert max(p.grad.abs().max() for p in tagger.parameters()) < 1e-9 * N


@pytest.mark.filterwarnings("ignore:groups has 60 clusters")
def test_weights_of_classes_are_weights_of_positions():
    """torch divides a mean by their sum; no likelihood, so the sandwich is the default."""
    by_class = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    rows = _by_row(nn.CrossEntropyLoss(by_class, ignore_index=IGNORED)).fit()
    positions = _by_position(weights=by_class[Y.flatten()[TAKEN]]).fit("HC0")
    assert rows.cov_type == "HC0"
    close_to_largest(rows.params, positions.params, CLOSE)
    clusters = bh.Cluster(SEQUENCE[TAKEN.numpy()], "CR0")
    same_covariance(rows.cov_params(), positions.with_cov(clusters).cov_params(), CLOSE)
    with pytest.raises(bh.EstimationError, match="The loss is not known to be a likelihood"):
        rows.with_cov("nonrobust")


def test_weights_of_rows():
    counts = np.random.default_rng(0).integers(0, 3, N)
    repeated = np.repeat(np.arange(N), counts)
    counted = _by_row(freq_weights=counts).fit()
    rows = bh.TorchModel(Tagger(), nn.CrossEntropyLoss(ignore_index=IGNORED), X[repeated], TARGET[repeated]).fit()
    for name in ("nonrobust", "HC0", "OPG"):
        same_covariance(counted.with_cov(name).cov_params(), rows.with_cov(name).cov_params(), CLOSE, name)


MESSAGES = {
    "a row without any": (lambda: torch.where(torch.arange(N)[:, None] == 3, IGNORED, TARGET), "1 row of the target have only the class"),
    "all": (lambda: torch.full_like(TARGET, IGNORED), "60 rows of the target have only the class that ignore_index leaves out"),
    "classes": (lambda: TARGET + 2, "The target has classes from"),
    "shape": (lambda: TARGET[:, :2], "needs \\(n,\\) classes"),
    "length": (lambda: TARGET[:5], "The module returned 60 rows and the target has 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_bad_targets(case):
    make, sentence = MESSAGES[case]
    with pytest.raises(bh.DataError, match=sentence):
        bh.TorchModel(Tagger(), nn.CrossEntropyLoss(ignore_index=IGNORED), X, make())
