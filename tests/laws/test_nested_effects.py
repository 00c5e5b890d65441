"""CR2 and CR3 of absorbed effects that clusters hold, hold in part, or cut: those of the dummies, whatever weighs the rows of a cluster apart."""

import warnings

import numpy as np
import pandas as pd
import pytest

import betahat as bh

# Effects, and the dummies that span the same.
EFFECTS = {
    "firm": "C(firm)",
    "firm + year": "C(firm) + C(year)",
    "firm + region": "C(firm)",
    "firm[z]": "C(firm) + C(firm):z",
    "year": "C(year)",
}
MODELS = {
    "poisson": lambda rhs: bh.poisson(f"count ~ {rhs}", _panel()),
    "weighted": lambda rhs: bh.wls(f"y ~ {rhs}", _panel(), weights="w"),
    "weighted poisson": lambda rhs: bh.poisson(f"count ~ {rhs}", _panel(), weights="w"),
}
KINDS = [("CR2", "identity"), ("CR2", "inverse_weights"), ("CR3", "identity")]


def _panel(firms=18, rows=6):
    rng = np.random.default_rng(0)
    n = firms * rows
    frame = pd.DataFrame({"firm": np.arange(n) // rows, "year": rng.integers(0, 4, n)})
    frame["region"] = frame.firm // 4
    frame["x"], frame["z"], frame["w"] = rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    frame["count"] = rng.poisson(np.exp(0.5 + 0.3 * frame.x))
    frame["y"] = frame.x + rng.normal(size=n)
    return frame


@pytest.mark.slow
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
def test_clusters_are_those_of_the_dummies(model, effects):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.errors.BetahatWarning)
        absorbed = MODELS[model](f"x | {effects}").fit()
        dummies = MODELS[model](f"x + {EFFECTS[effects]}").fit()
        place = list(dummies.params.index).index("x")
        for cluster in ("firm", "region", "year"):
            for kind, target in KINDS:
                cov = bh.Cluster(cluster, kind=kind, target=target)
                ours, theirs = absorbed.with_cov(cov), dummies.with_cov(cov)
                found = [ours.bse["x"], float(ours.cov.df[0]), ours.f_test("x = 0").pvalue]
                wanted = [theirs.bse["x"], float(theirs.cov.df[place]), theirs.f_test("x = 0").pvalue]
                np.testing.assert_allclose(
                    found, wanted, rtol=1e-7, err_msg=f"{cluster} {kind} {target}"
                )  # the optimum's


def test_many_nested_levels_take_as_many_columns_as_a_cluster_has():
    frame = _panel(firms=1500, rows=5)
    res = bh.wls("y ~ x | firm", frame, weights="w").fit(bh.Cluster("firm", "CR2", target="inverse_weights"))
    assert res.cov.df[0] > 100
