"""What a few rows suggest of a loss is checked on all of them: torch's own minimum and sandwich, or a sentence."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh

# In standard errors: LBFGS of the user's own loss stops where its values no longer fall, half of their digits from the minimum.
TRAINED = 1e-5
# The same sums in another order, through an inverse Hessian.
ROUNDING = 1e-9

# Forward mode imports parts of torch that say so of others.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

ROWS = 1500  # more than the rows that are tried, so that the rare class of sorted data is not among the first


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _classes(x, seed=3):
    """(n,) classes 0, 1, 2, of which the last are rare."""
    logits = torch.stack([torch.zeros(len(x)).double(), x[:, 0] - 1.5, 0.5 * x[:, 1] - 2.5], 1)
    return torch.multinomial(torch.softmax(logits, 1), 1, generator=torch.Generator().manual_seed(seed))[:, 0]


X = _normal(ROWS, 2, seed=1)
CLASSES = _classes(X)
ORDER = CLASSES.argsort(stable=True)
X, CLASSES = X[ORDER], CLASSES[ORDER]
Y = 2.0 + X @ torch.tensor([1.0, -1.0]).double() + _normal(ROWS, seed=4)
WEIGHTS = torch.tensor([1.0, 4.0, 9.0]).double()


class Logits(nn.Module):
    """Logits of three classes, the first zero, for each of some places in a row."""

    def __init__(self, places=0, logs=False):
        super().__init__()
        self.fc, self.places, self.logs = nn.Linear(2, 2), places, logs

    def forward(self, x):
        found = F.pad(self.fc(x), (1, 0))
        found = F.log_softmax(found, 1) if self.logs else found
        if not self.places:
            return found
        return torch.stack([(j + 1) * found for j in range(self.places)], 2)


def _places(ignored):
    """(n, 2) classes, some of them ignored, and none in all places."""
    second = CLASSES.roll(7)
    if ignored is not None:
        second = torch.where(torch.arange(ROWS) % 5 == 0, ignored, second)
    return torch.stack([torch.where(ignored == CLASSES, 0, CLASSES) if ignored is not None else CLASSES, second], 1)


SHARES = torch.softmax(_normal(ROWS, 3, seed=5) + F.one_hot(CLASSES, 3), 1)

WEIGHTED = {
    "class weights": (lambda r: nn.CrossEntropyLoss(weight=WEIGHTS, reduction=r), Logits, CLASSES),
    "class weights in float32": (lambda r: nn.CrossEntropyLoss(weight=WEIGHTS.float(), reduction=r), Logits, CLASSES),
    "class weights of log-probabilities": (lambda r: nn.NLLLoss(weight=WEIGHTS, reduction=r), lambda: Logits(0, True), CLASSES),
    "class weights, smoothed": (lambda r: nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1, reduction=r), Logits, CLASSES),
    "class weights of shares": (lambda r: nn.CrossEntropyLoss(weight=WEIGHTS, reduction=r), Logits, SHARES),
    "places": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Logits(2), _places(None)),
    "class weights in places": (lambda r: nn.CrossEntropyLoss(weight=WEIGHTS, reduction=r), lambda: Logits(2), _places(None)),
    "log-probabilities in places": (lambda r: nn.NLLLoss(weight=WEIGHTS, reduction=r), lambda: Logits(2, True), _places(None)),
    "ignored places": (lambda r: nn.CrossEntropyLoss(reduction=r), lambda: Logits(2), _places(-100)),
    "ignored places and class weights": (lambda r: nn.CrossEntropyLoss(WEIGHTS, ignore_index=-7, reduction=r), lambda: Logits(2), _places(-7)),
    "pos_weight": (lambda r: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([7.0]), reduction=r), lambda: nn.Linear(2, 1), (CLASSES > 0).double()[:, None]),
    "weights of two outputs": (lambda r: nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 7.0]), reduction=r), lambda: nn.Linear(2, 2), torch.stack([CLASSES > 0, CLASSES > 1], 1).double()),
    "weights of two probabilities": (lambda r: nn.BCELoss(weight=torch.tensor([1.0, 7.0]), reduction=r), lambda: nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), torch.stack([CLASSES > 0, CLASSES > 1], 1).double()),
}  # fmt: skip


def _trained(module, loss, target):
    """Return the module at the minimum of the user's own loss, in float64."""
    module = module.double()
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(0.1)
    step = torch.optim.LBFGS(
        module.parameters(), lr=1, max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        step.zero_grad()
        value = loss(module(X), target)
        value.backward()
        return value

    for _ in range(5):
        step.step(closure)
    return module


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weighted_loss_has_torchs_own_minimum_and_the_sandwich_of_its_rows(name, reduction):
    make, module, target = WEIGHTED[name]
    double = make("mean")
    trained = _trained(module(), double.double(), target)
    start = module()
    with torch.no_grad():
        for value in start.parameters():
            value.fill_(0.1)
    res = bh.TorchModel(start, make(reduction), X, target).fit()
    assert res.cov_type == "HC0"
    own = torch.cat([value.detach().flatten() for value in trained.parameters()])
    assert float(((res.params - own) / res.bse).abs().max()) < TRAINED

    shapes = [(n, v.shape, v.numel()) for n, v in trained.named_parameters()]
    each = make("none").double()

    def losses(theta):
        parts = {n: part.view(s) for (n, s, _), part in zip(shapes, theta.split([k for *_, k in shapes]), strict=True)}
        return each(torch.func.functional_call(trained, parts, (X,)), target).reshape(ROWS, -1).sum(1)

    scores = torch.func.jacfwd(losses)(res.params)
    bread = torch.linalg.inv(torch.func.jacfwd(torch.func.jacrev(lambda t: losses(t).sum()))(res.params))
    torch.testing.assert_close(res.cov_params(), bread @ scores.mT @ scores @ bread, rtol=ROUNDING, atol=0)


def test_a_penalty_beside_class_weights_is_in_the_units_of_the_weighted_mean():
    module, loss = Logits(), nn.CrossEntropyLoss(weight=WEIGHTS)
    trained = _trained(
        module, lambda o, t: loss(o, t) + 0.05 * sum(v.square().sum() for v in module.parameters()), CLASSES
    )
    res = bh.TorchModel(Logits(), nn.CrossEntropyLoss(weight=WEIGHTS), X, CLASSES, penalty=0.1).fit()
    own = torch.cat([value.detach().flatten() for value in trained.parameters()])
    assert float(((res.params - own) / res.bse).abs().max()) < TRAINED


# what is no sum over rows

_COUNTS = torch.bincount(CLASSES)
GROUPS = torch.arange(ROWS) // 3


def _weighted_mean(o, t):
    each = F.cross_entropy(o, t, reduction="none")
    return (WEIGHTS[t] * each).sum() / WEIGHTS[t].sum()


def _of_groups(values, group):
    sums = torch.zeros(ROWS).double().index_add(0, group, values)
    return (sums / torch.bincount(GROUPS, minlength=ROWS))[group]


LOSSES = {
    "weighted mean": (Logits, _weighted_mean, CLASSES, "neither the sum nor the mean"),
    "weighted mean of torch's function": (Logits, lambda o, t: F.cross_entropy(o, t, weight=WEIGHTS), CLASSES, "neither the sum nor the mean"),
    "a root": (lambda: nn.Linear(2, 1), lambda o, t: F.mse_loss(o[:, 0], t).sqrt(), Y, "neither the sum nor the mean"),
    "over the standard deviation": (lambda: nn.Linear(2, 1), lambda o, t: ((t / t.std() - o[:, 0]) ** 2).mean(), Y, "neither the sum nor the mean"),
    "over the total": (lambda: nn.Linear(2, 1), lambda o, t: ((t - o[:, 0]) ** 2).sum() / ((t - t.mean()) ** 2).sum(), Y, "neither the sum nor the mean"),
    "less the mean": (lambda: nn.Linear(2, 1), lambda o, t: ((t - t.mean() - o[:, 0]) ** 2).mean(), Y, "neither the sum nor the mean"),
    "by rows, less the mean": (lambda: nn.Linear(2, 1), lambda o, t: (t - t.mean() - o[:, 0]) ** 2, Y, "depends on other rows"),
    "over the largest": (lambda: nn.Linear(2, 1), lambda o, t: (t / t.abs().amax(0) - o[:, 0]) ** 2, Y, "depends on other rows"),
    "times the place": (lambda: nn.Linear(2, 1), lambda o, t: torch.arange(len(o)) * (t - o[:, 0]) ** 2, Y, "depends on other rows"),
    "times one and the place": (lambda: nn.Linear(2, 1), lambda o, t: (1 + torch.arange(len(o))) * (t - o[:, 0]) ** 2, Y, "depends on other rows"),
    "summed so far": (lambda: nn.Linear(2, 1), lambda o, t: ((t - o[:, 0]) ** 2).cumsum(0), Y, "depends on other rows"),
    "summed, times the place": (lambda: nn.Linear(2, 1), lambda o, t: (torch.arange(len(o)) * (t - o[:, 0]) ** 2).sum(), Y, "neither the sum nor the mean"),
    "less the last row": (lambda: nn.Linear(2, 1), lambda o, t: (t - 0.5 * t.roll(1) - o[:, 0]) ** 2, Y, "depends on other rows"),
    "a penalty of one's own module": (lambda: nn.Linear(2, 1), lambda o, t: F.mse_loss(o[:, 0], t) + OWN.weight.square().sum(), Y, "penalty="),
    "every tenth row": (lambda: nn.Linear(2, 1), lambda o, t: (torch.arange(len(o)) % 10 == 0) * (t - o[:, 0]) ** 2, Y, "depends on other rows"),
}  # fmt: skip
OWN = nn.Linear(2, 1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_no_sum_over_rows_is_refused_by_a_module(name):
    module, loss, target, words = LOSSES[name]
    with pytest.raises(bh.BetahatError, match=words):
        bh.TorchModel(module(), loss, X, target)


ROW_LOSSES = {
    "weighted mean": lambda p, d: (d["w"] * (d["y"] - d["x"] @ p["b"]) ** 2).sum() / d["w"].sum(),
    "less the mean": lambda p, d: (d["y"] - d["y"].mean() - d["x"] @ p["b"] - p["a"]) ** 2,
    "less the mean by torch": lambda p, d: (d["y"] - torch.mean(d["y"]) - d["x"] @ p["b"] - p["a"]) ** 2,
    "less the mean, summed": lambda p, d: ((d["y"] - d["y"].mean() - d["x"] @ p["b"] - p["a"]) ** 2).sum(),
    "less the median": lambda p, d: (d["y"] - d["y"].median() - d["x"] @ p["b"]) ** 2,
    "over the largest": lambda p, d: (d["y"] - (d["x"] / d["x"].abs().amax(0)) @ p["b"]) ** 2,
    "over the largest of one column": lambda p, d: (d["y"] - d["w"] / d["w"].max() * p["a"]) ** 2,
    "over the standard deviation": lambda p, d: (d["y"] - (d["x"] / d["x"].std()) @ p["b"]) ** 2,
    "less the fit's mean": lambda p, d: (d["y"] - (d["x"] @ p["b"]).mean()) ** 2,
    "a share of all rows": lambda p, d: -torch.log_softmax(d["x"] @ p["b"], 0) * d["w"],
    "times the place": lambda p, d: torch.arange(d["y"].shape[0]) * (d["y"] - d["x"] @ p["b"]) ** 2,
    "summed so far": lambda p, d: ((d["y"] - d["x"] @ p["b"]) ** 2).cumsum(0),
    "less the row before": lambda p, d: (d["y"] - p["a"] * d["y"].roll(1) - d["x"] @ p["b"]) ** 2,
    "less the group's mean": lambda p, d: (d["y"] - _of_groups(d["y"], d["g"]) - d["x"] @ p["b"]) ** 2,
    "less the mean of a group of many": lambda p, d: (d["y"] - _of_groups(d["y"], d["g"] % 5) - d["x"] @ p["b"] - p["a"]) ** 2,
    "over the size of a group": lambda p, d: (d["y"] - d["x"] @ p["b"]) ** 2 / torch.bincount(d["g"].reshape(-1) % 5)[d["g"] % 5],
    "less the first row": lambda p, d: (d["y"] - (d["x"] - d["x"][0]) @ p["b"] - p["a"]) ** 2,
    "a variance": lambda p, d: (d["y"] - d["x"] @ p["b"]).var(),
    "a root": lambda p, d: ((d["y"] - d["x"] @ p["b"]) ** 2).mean().sqrt(),
}  # fmt: skip


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_a_loss_that_is_no_sum_over_rows_is_refused_by_an_m_estimator(name):
    """The weights are one but for a few rows in the middle, and groups have neighbours for members."""
    weights = torch.ones(ROWS).double()
    weights[700:720] = 50.0
    start = {"b": torch.zeros(2), "a": 0.0}
    with pytest.raises(bh.DataError, match=r"other rows|neither the sum nor the mean"):
        bh.MEstimator(ROW_LOSSES[name], start, {"x": X, "y": Y, "w": weights, "g": GROUPS})


def _logits(p, d):
    return F.pad(d["x"] @ p["b"], (1, 0))


SINGLE = {
    "the class's entry": lambda p, d: -torch.log_softmax(_logits(p, d), 0)[d["y"]],
    "the class's entry of the last dimension": lambda p, d: -_logits(p, d).log_softmax(-1)[d["y"]],
    "a sum over classes": lambda p, d: _logits(p, d).logsumexp(0) - (_logits(p, d) * F.one_hot(d["y"], 3)).sum(),
    "torch's": lambda p, d: F.cross_entropy(_logits(p, d), d["y"]),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_loss_of_the_class_of_a_single_row_is_mapped(name):
    data, start = {"x": X, "y": CLASSES}, {"b": torch.zeros(2, 2)}
    whole = bh.MEstimator(lambda p, d: F.cross_entropy(_logits(p, d), d["y"], reduction="none"), start, data).fit()
    single = bh.MEstimator(SINGLE[name], start, data).fit()
    torch.testing.assert_close(single.params, whole.params, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(single.bse, whole.bse, rtol=ROUNDING, atol=ROUNDING)


def test_a_value_out_of_a_row_is_mapped():
    """x[0] is the first row of a batch and the one column of a single row."""
    data, start = {"x": X[:, :1], "y": Y}, {"b": torch.zeros(1), "a": 0.0}
    whole = bh.MEstimator(lambda p, d: (d["y"] - d["x"][:, 0] * p["b"] - p["a"]) ** 2, start, data).fit()
    single = bh.MEstimator(lambda p, d: (d["y"] - d["x"][0] * p["b"][0] - p["a"]) ** 2, start, data).fit()
    torch.testing.assert_close(single.params, whole.params, rtol=ROUNDING, atol=ROUNDING)


class Groups(nn.Module):
    """Takes a group's mean off: rows of a batch that share no group do not show it."""

    def __init__(self, zero):
        super().__init__()
        self.fc = nn.Linear(2, 1)
        if zero:
            nn.init.zeros_(self.fc.weight)

    def forward(self, x, group):
        sums = torch.zeros(ROWS, 2, dtype=x.dtype).index_add(0, group, x)
        counts = torch.zeros(ROWS, dtype=x.dtype).index_add(0, group, torch.ones_like(x[:, 0]))
        return torch.tanh(self.fc(x - (sums / counts.clamp_min(1)[:, None])[group]))


@pytest.mark.parametrize("zero", [False, True])
def test_a_module_that_mixes_rows_of_a_group_is_refused(zero):
    with pytest.raises(bh.DataError, match="other rows of the batch"):
        bh.TorchModel(Groups(zero), nn.MSELoss(), (X, GROUPS), Y)


# weights of rows inside a loss

W = torch.rand(ROWS, generator=torch.Generator().manual_seed(8), dtype=torch.float64) + 0.5
YES = (CLASSES > 0).double()

HELD = {
    "BCEWithLogitsLoss(weight=(n, 1))": nn.BCEWithLogitsLoss(weight=W[:, None]),
    "BCELoss(weight=(n, 1))": nn.BCELoss(weight=W[:, None]),
    "BCEWithLogitsLoss(weight=(n, 1)), summed": nn.BCEWithLogitsLoss(weight=W[:, None], reduction="sum"),
    "pos_weight": nn.BCEWithLogitsLoss(pos_weight=W[:, None]),
    "a function": lambda o, t: (W[:, None] * F.binary_cross_entropy_with_logits(o, t, reduction="none")).mean(),
    "a function of rows": lambda o, t: W * F.binary_cross_entropy_with_logits(o, t, reduction="none")[:, 0],
}


@pytest.mark.parametrize("rows", [60, ROWS])
@pytest.mark.parametrize("name", HELD)
def test_a_loss_that_holds_weights_of_rows_is_told_where_they_belong(name, rows, monkeypatch):
    loss = HELD[name]
    if rows < ROWS and not isinstance(loss, nn.Module):
        monkeypatch.setattr(f"{__name__}.W", W[:rows])
    elif rows < ROWS:
        loss = type(loss)(**{k: v[:rows] for k, v in loss.named_buffers()}, reduction=loss.reduction)
    layers = [nn.Linear(2, 1), *([nn.Sigmoid()] if isinstance(loss, nn.BCELoss) else [])]
    with pytest.raises(bh.DataError, match=f"each of the {rows} rows.*column_stack"):
        bh.TorchModel(nn.Sequential(*layers), loss, X[:rows], YES[:rows, None])


def test_the_advice_on_weights_of_rows_gives_torchs_minimum():
    def loss(o, t):
        return F.binary_cross_entropy_with_logits(o, t[:, :1], weight=t[:, 1:], reduction="none")

    module = _trained(nn.Linear(2, 1), nn.BCEWithLogitsLoss(weight=W[:, None]), YES[:, None])
    res = bh.TorchModel(nn.Linear(2, 1), loss, X, torch.column_stack([YES, W])).fit()
    own = torch.cat([value.detach().flatten() for value in module.parameters()])
    assert float(((res.params - own) / res.bse).abs().max()) < TRAINED


@pytest.mark.parametrize("ignored", [-100, 2])
def test_rows_without_a_class_are_no_observations(ignored):
    target = torch.where(CLASSES == 1, ignored, CLASSES) if ignored < 0 else CLASSES
    count = int((target == ignored).sum())
    with pytest.raises(bh.DataError, match=f"{count} rows of the target have only the class.*leave them out"):
        bh.TorchModel(Logits(), nn.CrossEntropyLoss(ignore_index=ignored), X, target)


@pytest.mark.parametrize("reduce", [lambda each: each.mean(), lambda each: each], ids=["mean", "rows"])
def test_a_loss_that_is_not_finite_in_a_row_that_was_not_tried_is_told(reduce):
    target = Y.clone()
    target[700] = -1e9
    with pytest.raises(bh.DataError, match=r"nan at or near the module's parameters.*finite"):
        bh.TorchModel(nn.Linear(2, 1), lambda o, t: reduce(torch.log(t + 1e6) * o[:, 0] ** 2), X, target)
