"""Quantile regression: the vertex against a linear program, covariances against naive loops, bootstraps against refits, and laws."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog
from support.closeness import close, close_to_one, same_covariance

import betahat as bh
from betahat.resampling.counter import uniforms
from betahat.resampling.weights import Multinomial
from betahat.solvers.quantile import solve_quantile

# The same k equations of k rows, whose condition is below 1e3.
VERTEX = 1e-11
# HiGHS stops at a dual gap of 1e-9.
PROGRAM = 1e-8
# The same sums in another order, through one inverse.
SUMS = 1e-10
N = 300


def data(n=N, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=n), rng.uniform(-1, 2, size=n)])
    return x @ [1.0, 2.0, -1.0] + rng.standard_t(3, size=n) * (1.0 + 0.4 * np.abs(x[:, 1])), x


Y, X = data()
GROUPS = np.arange(N) // 8
OFTEN = np.random.default_rng(6).integers(0, 4, N)


def check_loss(error, q):
    return np.maximum(q * error, (q - 1.0) * error)


def program(y, x, weights, q):
    """The least loss, by a linear program in coefficients and both sides of the residuals."""
    n, k = x.shape
    cost = np.concatenate([np.zeros(k), q * weights, (1 - q) * weights])
    equal = np.hstack([x, np.eye(n), -np.eye(n)])
    return linprog(cost, A_eq=equal, b_eq=y, bounds=[(None, None)] * k + [(0, None)] * (2 * n)).fun


# the vertex


@pytest.mark.parametrize("seed", range(30))
def test_least_loss_of_data_with_ties(seed):
    """Whole numbers, so that many rows have a residual of zero."""
    rng = np.random.default_rng(seed)
    n, q = int(rng.integers(12, 60)), float(rng.choice([0.1, 0.25, 0.5, 0.8]))
    x = np.column_stack([np.ones(n), rng.integers(0, 3, size=(n, 2))]).astype(float)
    y, weights = rng.integers(0, 6, size=n).astype(float), rng.integers(0, 3, size=n).astype(float)
    found = solve_quantile(*map(torch.tensor, (x, y, weights)), q)
    error = y - x @ found.params.numpy()
    assert (np.abs(error[found.rows]) < 1e-12).all()
    close_to_one(weights @ check_loss(error, q), program(y, x, weights, q), PROGRAM)


@pytest.mark.parametrize("q", [0.03, 0.5, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_sample_of_many_rows(q, weighted):
    """By way of a sample the same vertex as from all rows, whose dual variables are within their bounds."""
    y, x = data(40_000, 3)
    weights = np.random.default_rng(8).exponential(size=len(y)) if weighted else np.ones(len(y))
    found = solve_quantile(*map(torch.tensor, (x, y, weights)), q)
    error = y - x @ found.params.numpy()
    rows = found.rows.numpy()
    psi = weights * (q - (error < 0))
    psi[rows] = 0.0
    duals = -np.linalg.solve(x[rows].T, x.T @ psi) / weights[rows]
    assert ((duals > q - 1) & (duals < q)).all()
    assert found.unique


def test_a_sample_that_misleads_is_not_believed():
    """A column that few rows have is in no sample."""
    y, x = data(30_000, 4)
    rare = (np.arange(len(y)) % 10_000 == 7).astype(float)
    x = np.column_stack([x, rare])
    res = bh.QuantReg(y, x).fit(0.5)
    assert (res.resid == 0).sum() == 4
    q, error = 0.5, np.asarray(res.resid)
    rows = np.flatnonzero(error == 0)
    psi = np.where(error == 0, 0.0, q - (error < 0))
    duals = -np.linalg.solve(x[rows].T, x.T @ psi)
    assert (np.abs(duals) <= 0.5).all()


@pytest.mark.parametrize("q", [0.25, 0.5])
def test_sample_of_tied_rows(q):
    """Counts of groups: each group's quantile, and thousands of residuals of zero."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, 5, 30_001)
    y = rng.poisson(2.0 + group).astype(float)
    res = bh.QuantReg(y, np.eye(5)[group]).fit(q)
    close_to_one(res.params, [np.quantile(y[group == g], q, method="inverted_cdf") for g in range(5)], VERTEX)


def test_not_unique():
    y = np.array([1.0, 2.0, 4.0, 7.0])
    with pytest.warns(bh.BetahatWarning, match=r"q = 0.5 is not unique"):
        res = bh.QuantReg(y, np.ones(4)).fit(0.5, kernel="gau")
    assert res.params[0] in (2.0, 4.0)
    assert not res.unique
    assert bh.QuantReg(y, np.ones(4)).fit(0.4, kernel="gau").unique


@pytest.mark.parametrize("q", [0.2, 0.5])
def test_equivariance(q):
    """Koenker and Bassett (1978), theorem 3.2: scale, mirrored quantiles, shift, and other columns."""
    first = bh.QuantReg(Y, X).fit(q, "powell")
    turn = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 4.0]])
    close(bh.QuantReg(3.0 * Y, X).fit(q, "powell").bse, 3.0 * first.bse, SUMS)
    close_to_one(bh.QuantReg(-Y, X).fit(1.0 - q).params, -first.params, VERTEX)
    close_to_one(bh.QuantReg(Y + X @ [1.0, -2.0, 3.0], X).fit(q).params, np.add(first.params, [1.0, -2.0, 3.0]), VERTEX)
    turned = bh.QuantReg(Y, X @ turn).fit(q, "powell")
    close_to_one(turned.params, np.linalg.solve(turn, first.params), VERTEX)
    same_covariance(turned.cov_params(), np.linalg.inv(turn) @ first.cov_params() @ np.linalg.inv(turn).T, SUMS)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_columns_of_all_sizes(scale):
    sizes = np.array([1.0, scale, 1.0 / scale])
    close_to_one(bh.QuantReg(Y, X * sizes).fit(0.3).params * sizes, bh.QuantReg(Y, X).fit(0.3).params, VERTEX)


def test_dependent_columns():
    x = np.column_stack([X, X[:, 1] + X[:, 2]])
    plain = bh.QuantReg(Y, X).fit([0.3, 0.6])
    with pytest.warns(bh.CollinearityWarning, match="left out"):
        dropped = bh.QuantReg(Y, x).fit([0.3, 0.6], rank="drop")
    close_to_one(dropped.params[:3], plain.params, VERTEX)
    assert np.isnan(dropped.params[3]).all()
    with pytest.warns(bh.CollinearityWarning, match="minimum norm"):
        least = bh.QuantReg(Y, x).fit([0.3, 0.6])
    close_to_one(least.fittedvalues, plain.fittedvalues, VERTEX)
    for cov_type in ("HC0", "iid", "kernel", "nid", "powell", bh.Bootstrap(29, seed=1)):
        close(dropped.with_cov(cov_type).bse[:3], plain.with_cov(cov_type).bse, SUMS, label=str(cov_type))
        close(least.with_cov(cov_type).t_test([1.0] + 7 * [0.0]).sd.ravel(), plain.with_cov(cov_type).bse[0, :1], SUMS)


# covariances


def pieces(q, kernel="gau", y=Y, x=X):
    """The fit, Powell's bread, and the scores: sums over rows, one by one."""
    res = bh.QuantReg(y, x).fit(q, kernel=kernel)
    error, h = np.asarray(res.resid), res.bandwidth
    bread, scores = np.zeros((x.shape[1],) * 2), []
    for e, row in zip(error, x, strict=True):
        bread += np.exp(-0.5 * (e / h) ** 2) / np.sqrt(2 * np.pi) / h * np.outer(row, row)
        scores.append(row * (q - (e <= 0)))
    return res, np.linalg.inv(bread), np.array(scores)


@pytest.mark.parametrize("q", [0.2, 0.5, 0.7])
def test_sandwiches(q):
    res, bread, scores = pieces(q)
    same_covariance(res.with_cov("HC0").cov_params(), bread @ (scores.T @ scores) @ bread, SUMS)
    same_covariance(res.with_cov("HC1").cov_params(), bread @ (scores.T @ scores) @ bread * N / (N - 3), SUMS)
    same_covariance(res.with_cov("powell").cov_params(), q * (1 - q) * bread @ (X.T @ X) @ bread, SUMS)


def test_clusters():
    """Parente and Santos Silva (2016), J. Econometric Methods 5(1): sums of scores by cluster on Powell's bread."""
    res, bread, scores = pieces(0.3)
    sums = np.array([scores[g == GROUPS].sum(0) for g in np.unique(GROUPS)])
    count = len(sums)
    true = bread @ (sums.T @ sums) @ bread
    same_covariance(res.with_cov(bh.Cluster(GROUPS, "CR0")).cov_params(), true, SUMS)
    same_covariance(res.with_cov(bh.Cluster(GROUPS, "CR1")).cov_params(), true * count / (count - 1), SUMS)


def test_joint_covariance_of_several_quantiles():
    """Coefficients of each quantile as alone, and their covariance across quantiles: A_q^-1 (sum of s_q s_p') A_p^-1."""
    quantiles = [0.2, 0.5, 0.7]
    parts = [pieces(q) for q in quantiles]
    grid = bh.QuantReg(Y, X).fit(quantiles, "HC0", "gau")
    for i, (res, *_) in enumerate(parts):
        close(grid.params[:, i], res.params, 0.0)
        close(
            [grid.bandwidth[i], grid.sparsity[i], grid.prsquared[i]], [res.bandwidth, res.sparsity, res.prsquared], SUMS
        )
    joint = np.block([[b @ s.T @ t @ c for _, c, t in parts] for _, b, s in parts])
    same_covariance(grid.cov_params(), joint, SUMS)
    iid = grid.with_cov("iid")
    known = np.minimum.outer(quantiles, quantiles) - np.outer(quantiles, quantiles)
    same_covariance(
        iid.cov_params(), np.kron(known * np.outer(grid.sparsity, grid.sparsity), np.linalg.inv(X.T @ X)), SUMS
    )
    for cov_type in ("iid", "kernel", "nid", "powell", "HC1"):
        single, several = parts[1][0].with_cov(cov_type), grid.with_cov(cov_type)
        close(several.bse[:, 1], single.bse, SUMS)
        assert several.df_resid == single.df_resid == N - 3


def test_quantiles_against_each_other():
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2]})
    res = bh.quantreg("y ~ a + b", frame).fit([0.25, 0.75])
    assert list(res.params.columns) == [0.25, 0.75]
    assert list(res.bse.index) == ["Intercept", "a", "b"]
    v = res.cov_params().to_numpy()
    error = np.sqrt(v[1, 1] + v[4, 4] - 2 * v[1, 4])
    for words in ("q0.25_a = q0.75_a", "q=0.25:a = q=0.75:a"):
        found = res.t_test(words)
        close(found.sd.ravel(), [error], SUMS)
    assert "q=0.25" in str(res.summary())
    assert "Intercept" in str(res.summary2())
    assert "0.25" in bh.regtable([res]).to_text()


def test_quantiles_beside():
    """Hendricks and Koenker (1992): a density for each row, from two more fits."""
    res = bh.QuantReg(Y, X).fit(0.5, "nid")
    h = 0.5 - _share(0.5)
    apart = bh.QuantReg(Y, X).fit(1.0 - h).params - bh.QuantReg(Y, X).fit(h).params
    density = (1.0 - 2.0 * h) / (X @ apart)
    bread = np.linalg.inv(X.T @ (X * density[:, None]))
    same_covariance(res.cov_params(), 0.25 * bread @ (X.T @ X) @ bread, 1e-7)  # R takes 1.5e-8 off the distance


def _share(q):
    return bh.QuantReg(Y, X).fit(q).fit.objective.density.share


# weights


def test_frequency_weights_are_repeated_rows():
    often = bh.QuantReg(Y, X, freq_weights=OFTEN)
    rows = np.repeat(np.arange(N), OFTEN)
    repeated = bh.QuantReg(Y[rows], X[rows])
    for q in (0.3, [0.2, 0.6]):
        mine, theirs = often.fit(q), repeated.fit(q)
        close_to_one(mine.params, theirs.params, VERTEX)
        for cov_type in ("iid", "kernel", "powell", "HC0", "HC1"):
            same_covariance(mine.with_cov(cov_type).cov_params(), theirs.with_cov(cov_type).cov_params(), SUMS)
        close([*np.atleast_1d(mine.prsquared)], [*np.atleast_1d(theirs.prsquared)], SUMS)
        assert mine.nobs == theirs.nobs
    residuals = {"sparsity": "residuals"}
    mine, theirs = (model.fit(0.3, "iid", cov_kwds=residuals).bse for model in (often, repeated))
    close(mine, theirs, SUMS)


def test_analytic_weights():
    """The loss is weighted, a sandwich's meat by their squares; their scale is nothing."""
    weights = np.random.default_rng(9).uniform(0.5, 2.0, N)
    res = bh.QuantReg(Y, X, weights=weights).fit(0.4, "HC0", "gau")
    close_to_one(weights @ check_loss(np.asarray(res.resid), 0.4), program(Y, X, weights, 0.4), PROGRAM)
    density = np.exp(-0.5 * (res.resid / res.bandwidth) ** 2) / np.sqrt(2 * np.pi) / res.bandwidth
    bread = np.linalg.inv(X.T @ (X * (weights * density)[:, None]))
    scores = X * (weights * (0.4 - (res.resid <= 0)))[:, None]
    same_covariance(res.cov_params(), bread @ scores.T @ scores @ bread, SUMS)
    scaled = bh.QuantReg(Y, X, weights=7.0 * weights).fit(0.4, "HC0", "gau")
    close(scaled.bse, res.bse, SUMS)
    close(scaled.prsquared, res.prsquared, SUMS)


# bootstraps


def test_pairs_are_refits():
    res = bh.QuantReg(Y, X).fit([0.3, 0.5], bh.Bootstrap(12, seed=4))
    often = Multinomial(N, N)(4, torch.arange(12)).numpy()
    for draw, count in zip(res.cov.draws.numpy(), often, strict=True):
        rows = np.repeat(np.arange(N), count)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("betahat.fits.quantile._warn_not_unique", lambda quantiles: None)
            alone = bh.QuantReg(Y[rows], X[rows]).fit([0.3, 0.5])
        close_to_one(draw, alone.params.T.ravel(), VERTEX)


def test_pairs_of_many_rows_are_refits():
    y, x = data(25_000, 2)
    res = bh.QuantReg(y, x).fit(0.5, bh.Bootstrap(2, seed=4))
    often = Multinomial(len(y), len(y))(4, torch.arange(2)).numpy()
    for draw, count in zip(res.cov.draws.numpy(), often, strict=True):
        alone = bh.QuantReg(y, x, freq_weights=count.astype(int)).fit(0.5)
        close_to_one(draw, alone.params, VERTEX)


def test_replicates_that_lose_a_column_have_no_estimate():
    """A dummy of two rows is in 86 of 100 samples."""
    x = np.column_stack([X, np.arange(N) < 2])
    with pytest.warns(bh.BootstrapWarning, match="have no estimate"):
        res = bh.QuantReg(Y, x).fit(0.4, bh.Bootstrap(60, seed=1))
    assert 3 <= res.cov.resampling.failed <= 15
    assert np.isfinite(res.bse).all()


def test_wild():
    """Feng, He and Hu (2011): the size of each residual, times 2 (1 - q) with probability 1 - q, and -2 q otherwise."""
    q = 0.3
    res = bh.QuantReg(Y, X).fit(q, bh.Bootstrap(6, "wild", seed=2))
    below = uniforms(2, 0, torch.arange(6), N).numpy() < q
    fitted = X @ res.params
    for draw, low in zip(res.cov.draws.numpy(), below, strict=True):
        drawn = fitted + np.where(low, -2 * q, 2 * (1 - q)) * np.abs(Y - fitted)
        close_to_one(draw, bh.QuantReg(drawn, X).fit(q).params, VERTEX)


def test_bootstraps_agree():
    """Standard errors by all kinds are HC0's within the noise of 400 replicates, and of the density."""
    y, x = data(800, 1)
    res = bh.QuantReg(y, x).fit(0.5, "HC0")
    for kind in ("pairs", "bayesian", "poisson", "wild", "score", "m-out-of-n"):
        close(res.with_cov(bh.Bootstrap(300, kind, seed=3)).bse, res.bse, 0.25, label=kind)
    clustered = res.with_cov(bh.Cluster(np.arange(800) // 4, "CR0"))
    for kind in ("pairs", "score"):
        found = res.with_cov(bh.Bootstrap(300, kind, seed=3, clusters=np.arange(800) // 4))
        close(found.bse, clustered.bse, 0.25, label=kind)


# in and out


@pytest.mark.parametrize("q", [0.4, [0.25, 0.75]])
def test_containers(q):
    arrays = bh.QuantReg(Y, X).fit(q)
    tensors = bh.QuantReg(torch.tensor(Y), torch.tensor(X)).fit(q)
    assert isinstance(tensors.params, torch.Tensor)
    close(tensors.params, arrays.params, 0.0)
    close(tensors.resid, arrays.resid, 0.0)
    halves = bh.QuantReg(torch.tensor(Y).float(), torch.tensor(X).float()).fit(q)
    close_to_one(halves.params, arrays.params, 1e-3)
    assert halves.params.dtype == torch.float64
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2]})
    frame.loc[3, "a"] = np.nan
    labelled = bh.quantreg("y ~ a + b", frame).fit(q)
    assert labelled.nobs == N - 1
    assert list(labelled.resid.index) == [i for i in range(N) if i != 3]


@pytest.mark.parametrize("q", [0.4, [0.25, 0.75]])
def test_files_and_tables(q, tmp_path):
    frame = pd.DataFrame({"y": Y, "a": X[:, 1], "b": X[:, 2]})
    res = bh.quantreg("y ~ a + b", frame).fit(q, "HC0")
    again = bh.load(res.save(tmp_path / "fit"))
    assert str(again.summary()).split("Df Residuals")[1] == str(res.summary()).split("Df Residuals")[1]
    pd.testing.assert_frame_equal(again.tidy(), res.tidy())
    close(again.with_cov("nid").bse, res.with_cov("nid").bse, 0.0)
    new = frame[["a", "b"]].head(3)
    close(again.predict(new), res.predict(new), 0.0)
    bare = res.remove_data()
    assert len(bare.glance()) == np.size(q)
    close(bare.conf_int(), res.conf_int(), 0.0)
    with pytest.raises(bh.DataError, match="without their data"):
        bare.with_cov("nid")


def test_what_results_say():
    res = bh.QuantReg(Y, X).fit(0.4)
    assert res.iterations >= 0
    assert res.goodness == ("Pseudo R²", res.prsquared)
    assert res.diagnostics.bread == "kernel"
    assert res.diagnostics.converged
    assert res.cov_type == "kernel"
    assert res.with_cov("robust").cov_type == res.with_cov(None).cov_type == "kernel"
    assert res.with_cov("nonrobust").cov_type == "iid"
    assert res.use_t
    assert not res.with_cov("HC0").use_t
    frame = res.get_prediction(X[:2], row_labels=["a", "b"]).summary_frame()
    assert list(frame.index) == ["a", "b"]
    margins = bh.QuantReg(Y, X).fit([0.2, 0.8], "HC0").delta(lambda p: p.vector[4] - p.vector[1])
    assert margins.bse > 0


@pytest.mark.parametrize("q", [0.5, [0.25, 0.75], [0.25, 0.5, 0.75], [0.1, 0.2, 0.5, 0.8]])
def test_summaries_say_how_dense_the_errors_are(q):
    """Of a few quantiles, in a table that is no wider; of many `glance` says it."""
    res = bh.QuantReg(Y, X).fit(q)
    top = str(res.summary()).split("\n")[:9]
    assert {len(line) for line in top} == {78}
    found = {line.split(":")[-2].split("   ")[-1]: line.split(":")[-1].split() for line in top[2:5]}
    if np.size(q) > 3:
        assert "Sparsity" not in found
        return
    for name, values in zip(found, (res.prsquared, res.bandwidth, res.sparsity), strict=True):
        close([float(number) for number in found[name]], np.atleast_1d(values), 5e-3)


def test_residuals_of_one_size_are_no_exact_fit():
    """Most rows at zero, and the quantile above: the spread of endog takes the place of a range of zero, also where it is rounding."""
    y = np.concatenate([np.zeros(60), np.arange(1.0, 41.0)])
    errors = y + 1e-17 * np.arange(100)
    fits = [bh.QuantReg(values, np.ones(100)).fit(0.905) for values in (y, errors)]
    assert fits[0].bandwidth > 1.0
    close_to_one(fits[1].bandwidth, fits[0].bandwidth, SUMS)
