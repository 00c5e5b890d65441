"""Weights of TorchModel and MEstimator: frequency weights are repeated rows, analytic ones WLS, GLM's, and factors of the loss."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from support.closeness import close_to_largest, close_to_one, same_covariance
from torch import nn

import betahat as bh

# Fits end within 1e-12 standard errors of the optimum, and covariances move with it and with the order of sums.
CLOSE = 1e-9
# statsmodels' GLM takes the bread of the step before its last.
THEIRS = 1e-7

N = 120
RNG = np.random.default_rng(1)
X = RNG.normal(size=(N, 2))
Y = np.tanh(X @ [1.0, 0.5]) + 0.3 * RNG.normal(size=N)
Y2 = np.column_stack([Y, X @ [1.0, 2.0] + RNG.normal(size=N)])
COUNT = RNG.poisson(np.exp(0.5 * X[:, 0])).astype(float)
KIND = RNG.integers(0, 3, N)
WEIGHTS, COUNTS, FIRM = RNG.uniform(0.5, 2.0, N), RNG.integers(0, 4, N), np.arange(N) // 10


def _network(*last):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1), *last).double()


def _linear(outputs=1):
    torch.manual_seed(3)
    return nn.Linear(2, outputs).double()


def _row_loss(p, d):
    return (d["y"] - p["c"] * torch.tanh(d["x"] @ p["b"])).square() / 2


def _gaussian(output, target):
    return torch.log1p((output - target) ** 2).mean()


class _Curve(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor([1.0, 0.5], dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, x):
        return self.c * torch.tanh(x @ self.b)


def _module(make, loss, y):
    def model(rows=slice(None), **options):
        target = np.asarray(y)[rows]
        return bh.TorchModel(make(), loss, torch.tensor(X[rows]), torch.tensor(target), **options)

    return model


def _own(rows=slice(None), **options):
    data = {"x": torch.tensor(X[rows]), "y": torch.tensor(Y[rows])}
    return bh.MEstimator(_row_loss, {"b": np.array([1.0, 0.5]), "c": 1.0}, data, **options)


MODELS = {
    "linear": _module(_linear, nn.MSELoss(), Y[:, None]),
    "network": _module(_network, nn.MSELoss(), Y[:, None]),
    "two outputs": _module(lambda: _linear(2), nn.MSELoss(), Y2),
    "poisson": _module(lambda: nn.Sequential(_linear(), nn.Softplus()), nn.PoissonNLLLoss(), COUNT[:, None]),
    "classes": _module(lambda: nn.Sequential(_linear(2), nn.ConstantPad1d((1, 0), 0.0)), nn.CrossEntropyLoss(), KIND),
    "huber": _module(_network, nn.HuberLoss(), Y[:, None]),
    "own loss": _module(_network, _gaussian, Y[:, None]),
    "curve": _module(_Curve, nn.MSELoss(), Y),
    "row loss": _own,
}
BREADS = [(name, "observed") for name in MODELS] + [
    *(("row loss", "gauss-newton"), ("poisson", "gauss-newton"), ("classes", "expected"), ("poisson", "opg")),
]


def _covariances(rows):
    firm = FIRM[rows]
    named = ["nonrobust", "HC0", "HC1", "HC2", "HC3", "HC5", "OPG"]
    return {name: name for name in named} | {kind: bh.Cluster(firm, kind) for kind in ("CR1S", "CR2")}


def _found(res, covariance):
    try:
        return res.with_cov(covariance).cov_params()
    except bh.BetahatError as error:
        return str(error).split("(labelled", maxsplit=1)[0]


def _repeated():
    return np.repeat(np.arange(N), COUNTS)


@pytest.mark.filterwarnings("ignore:groups has")
@pytest.mark.parametrize(("name", "bread"), BREADS)
def test_frequency_weights_repeat_rows(name, bread):
    rows = _repeated()
    counted = MODELS[name](freq_weights=COUNTS).fit("HC0", bread=bread)
    repeated = MODELS[name](rows).fit("HC0", bread=bread)
    close_to_largest(counted.params, repeated.params, CLOSE)
    assert counted.nobs == counted.model.nobs == repeated.nobs == len(rows)
    assert f"n = {len(rows)}" in repr(counted.model)
    ours, theirs = _covariances(slice(None)), _covariances(rows)
    worked = 0
    for label, covariance in ours.items():
        one, other = _found(counted, covariance), _found(repeated, theirs[label])
        if isinstance(other, str):
            assert isinstance(one, str), label
        else:
            worked += 1
            same_covariance(one, other, CLOSE, label)
    assert worked >= 3
    for attribute in ("loss", "scale", "df_resid"):
        close_to_one(getattr(counted, attribute), getattr(repeated, attribute), CLOSE, attribute)
    if counted.fit.objective.dispersion.likelihood:
        close_to_one(counted.aic, repeated.aic, CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("own", [False, True], ids=["MSELoss", "own loss"])
def test_a_penalty_beside_repeated_rows(reduction, own):
    def quartic(output, target):
        return getattr((output - target).square() + (output - target) ** 4, reduction)()

    loss = quartic if own else nn.MSELoss(reduction=reduction)
    model = _module(_network, loss, Y[:, None])
    counted = model(freq_weights=COUNTS, penalty=0.1).fit()
    repeated = model(_repeated(), penalty=0.1).fit()
    close_to_largest(counted.params, repeated.params, CLOSE)
    same_covariance(counted.cov_params(), repeated.cov_params(), CLOSE)


def test_averages_over_repeated_rows():
    counted = MODELS["poisson"](freq_weights=COUNTS).fit().get_margeff()
    repeated = MODELS["poisson"](_repeated()).fit().get_margeff()
    close_to_one(counted.margeff, repeated.margeff, CLOSE)
    close_to_one(counted.margeff_se, repeated.margeff_se, CLOSE)


def test_a_linear_module_is_wls():
    module = MODELS["linear"](weights=WEIGHTS).fit()
    theirs = sm.WLS(Y, np.column_stack([X, np.ones(N)]), WEIGHTS).fit()
    for name in ("HC0", "HC1", "HC2", "HC3", "nonrobust"):
        its = theirs if name == "nonrobust" else theirs.get_robustcov_results(name)
        same_covariance(module.with_cov(name).cov_params(), its.cov_params(), CLOSE, name)
    close_to_largest(module.params, theirs.params, CLOSE)
    close_to_one(module.llf, theirs.llf, CLOSE)
    close_to_largest(module.cases.residuals, theirs.wresid, CLOSE)


def test_weights_of_a_nonlinear_module_are_those_of_its_columns():
    """WLS is least squares of columns times the root of the weight, whatever the columns are."""

    def scaled(p, d):
        return (d["r"] * (d["y"] - p["c"] * torch.tanh(d["x"] @ p["b"]))).square() / 2

    root = torch.tensor(np.sqrt(WEIGHTS))
    data = {"x": torch.tensor(X), "y": torch.tensor(Y), "r": root}
    true = bh.MEstimator(scaled, {"b": np.array([1.0, 0.5]), "c": 1.0}, data)
    for bread in ("observed", "gauss-newton"):
        for name in ("curve", "row loss"):
            one, other = (model.fit("HC0", bread=bread) for model in (MODELS[name](weights=WEIGHTS), true))
            close_to_largest(one.params, other.params, 1e-9)  # to a decrement of 1e-16
            for covariance in ("HC0", "HC1", bh.Cluster(FIRM, "CR0")):
                same_covariance(one.with_cov(covariance).cov_params(), other.with_cov(covariance).cov_params(), 1e-9)
            if bread == "gauss-newton":
                for covariance in ("HC2", "HC3", "nonrobust", bh.Cluster(FIRM, "CR2")):
                    same_covariance(
                        one.with_cov(covariance).cov_params(), other.with_cov(covariance).cov_params(), 1e-9
                    )


def test_residuals_of_zero_under_weights():
    """The Jacobian of a residual of zero is taken from its Hessian."""
    exact = Y.copy()
    exact[0] = np.tanh(X[0] @ [1.0, 0.5])
    model = bh.MEstimator(
        _row_loss, {"b": np.array([1.0, 0.5]), "c": 1.0}, {"x": X, "y": exact}, weights=4.0 * np.ones(N)
    )
    plain = bh.MEstimator(_row_loss, {"b": np.array([1.0, 0.5]), "c": 1.0}, {"x": X, "y": exact})
    with pytest.warns(bh.ConvergenceWarning):
        one, other = (m.fit(bread="gauss-newton", polish=False, cov_type="HC3") for m in (model, plain))
    same_covariance(one.cov_params(), other.cov_params(), CLOSE)


def test_two_outputs_under_weights_are_those_of_scaled_columns():
    """Outputs of a linear module without a constant of its own, so that the columns can be scaled."""
    root = np.sqrt(WEIGHTS)[:, None]
    x = np.column_stack([np.ones(N), X])

    def model(inputs, target, **options):
        torch.manual_seed(1)
        module = nn.Linear(3, 2, bias=False).double()
        return bh.TorchModel(module, nn.MSELoss(), torch.tensor(inputs), torch.tensor(target), **options).fit()

    one, other = model(x, Y2, weights=WEIGHTS), model(x * root, Y2 * root)
    for covariance in ("nonrobust", "HC0", "HC2", "HC3", bh.Cluster(FIRM, "CR2")):
        same_covariance(one.with_cov(covariance).cov_params(), other.with_cov(covariance).cov_params(), CLOSE)
    close_to_one(one.llf, other.llf + np.log(WEIGHTS).sum(), CLOSE)


def test_poisson_weights_are_statsmodels():
    module = bh.TorchModel(_linear(), nn.PoissonNLLLoss(), torch.tensor(X), torch.tensor(COUNT), weights=WEIGHTS).fit()
    x = np.column_stack([X, np.ones(N)])
    theirs = sm.GLM(COUNT, x, sm.families.Poisson(), var_weights=WEIGHTS).fit(tol=1e-15, maxiter=100)
    close_to_largest(module.params, theirs.params, THEIRS)
    same_covariance(module.cov_params(), theirs.cov_params(), THEIRS)
    network = _module(lambda: nn.Sequential(_linear(), nn.Identity()), nn.PoissonNLLLoss(), COUNT[:, None])
    close_to_one(network(weights=WEIGHTS).fit().llf, theirs.llf, THEIRS)


@pytest.mark.parametrize("name", ["network", "poisson", "classes", "huber", "own loss", "row loss"])
def test_analytic_weights_are_a_factor_of_the_loss(name):
    """The naive loop: a factor of each row's loss, and of its score, whose square is in the meat."""
    res = MODELS[name](weights=WEIGHTS).fit("HC0")
    sample, objective, params = res.fit.problem.sample, res.fit.objective, res.fit.params
    columns = [sample.column(column) for column in sample.data]

    def losses(theta):
        return objective.losses(theta, tuple(columns)) * torch.tensor(WEIGHTS)

    hessian = torch.autograd.functional.hessian(lambda theta: losses(theta).sum(), params)
    scores = torch.autograd.functional.jacobian(losses, params)
    assert scores.sum(0).abs().max() < 1e-9
    bread = torch.linalg.inv(hessian)
    same_covariance(res.cov_params(), bread @ scores.mT @ scores @ bread, 1e-9)
    doubled = MODELS[name](weights=2.0 * WEIGHTS).fit("HC0")
    same_covariance(doubled.cov_params(), res.cov_params(), 1e-9)


def test_both_kinds_of_weights():
    rows = _repeated()
    counted = MODELS["network"](weights=WEIGHTS, freq_weights=COUNTS).fit("HC3")
    repeated = MODELS["network"](rows, weights=WEIGHTS[rows]).fit("HC3")
    same_covariance(counted.cov_params(), repeated.cov_params(), CLOSE)
    close_to_one(counted.llf, repeated.llf, CLOSE)


def test_bootstraps_of_weights():
    for name, kind, reps in (("linear", "bayesian", 400), ("curve", "score", 30), ("curve", "bayesian", 30)):
        res = MODELS[name](weights=WEIGHTS).fit("HC0")
        errors = res.with_cov(bh.Bootstrap(reps, kind, seed=1)).bse
        close_to_one(
            errors / res.bse, np.ones(3), 6.0 / np.sqrt(2.0 * reps)
        )  # six standard errors of that many replicates


def test_frames_and_numbers():
    frame = pd.DataFrame(X, columns=["a", "b"], index=np.arange(N) + 7)
    weights = pd.Series(WEIGHTS, index=frame.index)
    target = pd.Series(Y, index=frame.index)
    one = bh.TorchModel(_linear(), nn.MSELoss(), frame, target, weights=weights).fit()
    two = bh.TorchModel(_linear(), nn.MSELoss(), torch.tensor(X), torch.tensor(Y), weights=WEIGHTS).fit()
    close_to_largest(one.params, two.params, CLOSE)
    assert bh.TorchModel(_linear(), nn.MSELoss(), frame, target, weights=2.0).fit().nobs == N
    with pytest.raises(bh.DataError, match="indices of weights and the data differ"):
        bh.TorchModel(_linear(), nn.MSELoss(), frame, target, weights=weights.iloc[::-1])


MESSAGES = {
    "negative": ({"weights": -WEIGHTS}, "weights has 120 negative values"),
    "zero": ({"weights": 0.0 * WEIGHTS}, "weights are all zero"),
    "short": ({"weights": WEIGHTS[:3]}, "weights has 3 rows and the data have 120; pass one for each row"),
    "missing": ({"weights": np.r_[np.nan, WEIGHTS[1:]]}, "weights has 1 missing or infinite value"),
    "two columns": ({"weights": X}, "weights has 2 columns; pass one"),
    "a name": ({"weights": "w"}, "weights is 'w', a name"),
    "fractions": ({"freq_weights": WEIGHTS}, "freq_weights has 120 values that are not counts"),
    "negative counts": ({"freq_weights": -COUNTS}, "that are not counts"),
    "long": ({"freq_weights": np.r_[COUNTS, 1]}, "freq_weights has 121 rows and the data have 120"),
    "no counts": ({"freq_weights": 0 * COUNTS}, "freq_weights are all zero"),
}


@pytest.mark.parametrize("model", ["linear", "row loss"])
@pytest.mark.parametrize("case", MESSAGES)
def test_bad_weights(model, case):
    options, sentence = MESSAGES[case]
    with pytest.raises(bh.DataError, match=sentence):
        MODELS[model](**options)


def test_too_few_counted_rows():
    counts = np.zeros(N)
    counts[:2] = 1
    for name in ("linear", "row loss"):
        with pytest.raises(bh.EstimationError, match="With 2 rows for 3 coefficients"):
            MODELS[name](freq_weights=counts)
