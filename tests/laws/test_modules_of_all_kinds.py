"""Modules and losses that torch differentiates in ways of its own: attention, sparse gradients, checkpoints, derived tensors, other dtypes."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import betahat as bh

# The same function written in two ways, each solved on its own.
SOLVED = 1e-7

N = 40


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WORDS, X, Y, IDS = _normal(N, 4, 4), _normal(N, 2, seed=1), _normal(N, 1, seed=2), torch.arange(N) % 3


def _fit(module, inputs, penalty=0.05, **options):
    return bh.TorchModel(module, nn.MSELoss(), inputs, Y, penalty=penalty, **options).fit()


def _made(make, *args, **options):
    torch.manual_seed(0)
    return make(*args, **options)


def _same(one, other):
    torch.testing.assert_close(one.params, other.params, rtol=SOLVED, atol=SOLVED)
    torch.testing.assert_close(one.bse, other.bse, rtol=SOLVED, atol=SOLVED, equal_nan=True)


class Attention(nn.Module):
    """One head, by torch's kernel or written out."""

    def __init__(self, kernel, causal):
        super().__init__()
        self.query, self.head, self.kernel, self.causal = nn.Linear(4, 4, bias=False), nn.Linear(4, 1), kernel, causal

    def forward(self, x):
        query = self.query(x)
        if self.kernel:
            mixed = F.scaled_dot_product_attention(query[:, None], x[:, None], x[:, None], is_causal=self.causal)[:, 0]
        else:
            weights = query @ x.mT / 2.0
            if self.causal:
                weights = weights + torch.full_like(weights[0], float("-inf")).triu(1)
            mixed = torch.softmax(weights, -1) @ x
        return self.head(mixed.mean(1))


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_is_attention_written_out(causal):
    by_kernel, written = (_fit(_made(Attention, kernel, causal), WORDS) for kernel in (True, False))
    _same(by_kernel, written)
    torch.testing.assert_close(by_kernel.predict(WORDS[:3]), written.predict(WORDS[:3]), rtol=SOLVED, atol=SOLVED)
    assert torch.backends.cuda.flash_sdp_enabled()  # the user's choice of kernels is as it was


class Heads(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.mix, self.head, self.weights = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 1), weights

    def forward(self, x):
        return self.head(self.mix(x, x, x, need_weights=self.weights)[0].mean(1))


@pytest.mark.filterwarnings("ignore:HC0 gives")
def test_multihead_attention_is_the_same_with_and_without_its_fast_path():
    free = ["mix.in_proj_bias", "head.*"]
    _same(*(_fit(_made(Heads, weights), WORDS, params=free) for weights in (True, False)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


@pytest.mark.parametrize(
    "free", [["head.*"], ["layer.linear2.bias", "head.*"], ["layer.self_attn.out_proj.bias", "head.*"]]
)
def test_a_transformer_has_the_scores_of_a_plain_backward_pass(free):
    res = _fit(_made(Encoder), WORDS, params=free)
    scores = torch.cat(list(res.fit.each(lambda rows: rows.scores())))
    module = _made(Encoder).double().eval()
    module.load_state_dict(res.state(), strict=False)
    wanted = [value for name, value in module.named_parameters() if name in res.state()]
    for i in (0, 7):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            loss = 0.5 * (module(WORDS[i : i + 1].double()) - Y[i : i + 1]).square().sum()
        slopes = torch.autograd.grad(loss, wanted)
        torch.testing.assert_close(scores[i], -torch.cat([slope.flatten() for slope in slopes]), rtol=1e-9, atol=1e-11)


class Table(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.table, self.line = nn.Embedding(3, 1, **options), nn.Linear(2, 1)

    def forward(self, ids, x):
        return torch.tanh(self.table(ids)) + self.line(x)


@pytest.mark.parametrize("options", [{"sparse": True}, {"scale_grad_by_freq": True}])
def test_options_of_an_embeddings_gradient_change_no_answer(options):
    module = _made(Table, **options)
    _same(_fit(module, (IDS, X)), _fit(_made(Table), (IDS, X)))
    assert all(getattr(module.table, name) for name in options)  # the user's own are as they were


class Derived(nn.Module):
    """Keeps tensors that were computed from its parameters, alone and in a list and a dict."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)
        self.last = self.line.weight * 2.0
        self.cache = {"a": [self.line.bias + 1.0]}

    def forward(self, x):
        self.last = self.line(x)
        return self.last


def test_derived_tensors_are_copied():
    module = _made(Derived)
    module(X)
    _same(_fit(module, X, None), _fit(_made(nn.Linear, 2, 1), X, None))
    assert not module.last.is_leaf


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated")
def test_weight_norm_of_either_kind():
    with pytest.warns(FutureWarning):
        old = torch.nn.utils.weight_norm(_made(nn.Linear, 2, 1))
    new = torch.nn.utils.parametrizations.weight_norm(_made(nn.Linear, 2, 1))
    found = bh.TorchModel(old, nn.MSELoss(), X, Y, params=["weight_g", "bias"]).fit()
    other = bh.TorchModel(new, nn.MSELoss(), X, Y, params=["parametrizations.weight.original0", "bias"]).fit()
    torch.testing.assert_close(found.bse.sort().values, other.bse.sort().values, rtol=SOLVED, atol=SOLVED)


def test_lazy_modules_are_fitted_once_they_have_run():
    module = _made(lambda: nn.Sequential(nn.LazyLinear(1)))
    with pytest.raises(bh.DataError, match="not initialised yet"):
        bh.TorchModel(module, nn.MSELoss(), X, Y)
    module(X)
    assert len(bh.TorchModel(module, nn.MSELoss(), X, Y).fit().bse) == 3


class Locked(nn.Linear):
    def __init__(self):
        super().__init__(2, 1)
        self.lock = threading.Lock()


class Refusing(nn.Linear):
    def __deepcopy__(self, memo):
        raise KeyError("no copy")


@pytest.mark.parametrize(("module", "reason"), [(Locked(), "_thread.lock"), (Refusing(2, 1), "no copy")])
def test_what_cannot_be_copied_is_a_sentence(module, reason):
    with pytest.raises(bh.DataError, match=f"The module cannot be copied .*{reason}"):
        bh.TorchModel(module, nn.MSELoss(), X, Y)


class Then(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.line, self.function = nn.Linear(2, 1), function

    def forward(self, x):
        return self.function(self.line(x))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda o: o > 0, "torch.bool"),
        (lambda o: o.long(), "torch.int64"),
        (lambda o: o.to(torch.complex64), "torch.complex64"),
        (lambda o: o.to_sparse(), "sparse"),
        (lambda o: o.to_sparse_csr(), "sparse"),
        (lambda o: torch.nested.nested_tensor(list(o)), "nested"),
    ],
)
def test_an_output_without_derivatives_is_named(function, kind):
    with pytest.raises(
        bh.DataError,
        match=f"The module returned a {kind} tensor; it must return a dense one of real floating-point numbers",
    ):
        bh.TorchModel(Then(function), nn.MSELoss(), X, Y)


class Saved(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner, self.outer, self.reentrant = nn.Linear(2, 1), nn.Linear(1, 1), reentrant

    def forward(self, x):
        return self.outer(checkpoint(lambda part: torch.tanh(self.inner(part)), x, use_reentrant=self.reentrant))


def test_checkpoints_are_a_sentence():
    with pytest.raises(bh.DataError, match=r"cannot be differentiated .*checkpoint"):
        bh.TorchModel(Saved(False), nn.MSELoss(), X, Y)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("seed", [0, 50, 387])  # of the last two, random directions hardly show what is lost
def test_a_checkpoint_that_loses_gradients_is_found_out(seed):
    torch.manual_seed(seed)
    with pytest.raises(
        bh.EstimationError, match=r"gradient of the loss is not the derivative .* in 'inner.weight\[0,0\]"
    ):
        bh.TorchModel(Saved(True), nn.MSELoss(), X, Y, penalty=0.05).fit()


def test_an_output_that_is_cut_off_is_a_sentence():
    with pytest.raises(bh.DataError, match="does not depend on the parameters through torch"):
        bh.TorchModel(Then(lambda o: o.detach()), nn.MSELoss(), X, Y)


def test_a_bag_of_embeddings_is_linear_and_needs_no_second_derivative():
    res = bh.TorchModel(nn.EmbeddingBag(3, 1, mode="sum", sparse=True), nn.MSELoss(), IDS[:, None], Y).fit()
    ols = bh.OLS(Y[:, 0].double(), F.one_hot(IDS).double()).fit()
    torch.testing.assert_close(res.bse, ols.bse, rtol=SOLVED, atol=0)
    with pytest.raises(bh.DataError, match=r"cannot be differentiated twice .*_embedding_bag_backward"):
        bh.TorchModel(nn.Sequential(nn.EmbeddingBag(3, 1, mode="sum"), nn.Tanh()), nn.MSELoss(), IDS[:, None], Y)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda o, t: _raise(KeyError("bad")), "cannot be taken of an output"),
        (lambda o, t: _raise(AssertionError()), "cannot be taken of an output"),
        (lambda o, t: (o.detach() - t).square().mean(), "has no gradient .*does not depend on the output"),
        (lambda o, t: torch.tensor((o - t).square().mean().item()), "has no gradient"),
        (lambda o, t: o.new_ones(len(o)), "has no gradient"),
        (lambda o, t: torch.as_tensor((o.numpy() - t.numpy()) ** 2)[:, 0], "has no gradient .*numpy"),
        (lambda o, t: (o - t).square().mean().to(torch.complex128), "returned a torch.complex128 tensor"),
        (lambda o, t: (o > t)[:, 0], "returned a torch.bool tensor"),
        (lambda o, t: (o > t).sum(), "returned a torch.int64 tensor"),
        (lambda o, t: (o - t).square()[:, 0].to_sparse(), "returned a sparse tensor"),
    ],
)
def test_a_loss_without_derivatives_is_a_sentence(loss, words):
    with pytest.raises(bh.DataError, match=words):
        bh.TorchModel(nn.Linear(2, 1), loss, X, Y)


@pytest.mark.parametrize(
    ("row_loss", "words"),
    [
        (lambda p, d: _raise(ZeroDivisionError("zero")), "row_loss fails for 16 rows"),
        (lambda p, d: d["y"] > p["a"], "row_loss returned a torch.bool tensor"),
        (lambda p, d: (d["y"] > p["a"]).long(), "row_loss returned a torch.int64 tensor"),
        (lambda p, d: (d["y"] - p["a"]).square().to(torch.complex64), "row_loss returned a torch.complex64 tensor"),
        (lambda p, d: (d["y"] - p["a"]).square().to_sparse(), "row_loss returned a sparse tensor"),
        (lambda p, d: (d["y"] - p["a"].detach()).square(), "row_loss has no gradient"),
        (
            lambda p, d: F.embedding_bag(d["g"][:, None], p["t"][:, None], mode="sum")[:, 0].tanh() + p["a"],
            "row_loss cannot be differentiated twice",
        ),
    ],
)
def test_a_row_loss_without_derivatives_is_a_sentence(row_loss, words):
    data = {"y": Y[:, 0], "g": IDS}
    with pytest.raises(bh.DataError, match=words):
        bh.MEstimator(row_loss, params={"a": 0.0, "t": torch.zeros(3)}, data=data)
