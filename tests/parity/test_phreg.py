"""PHReg against live statsmodels: estimates, summaries byte for byte, residuals and predictions, and where it differs on purpose."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

# statsmodels' Newton is told to go on to 1e-14; rounding remains, found below 1e-12.
CLOSE = 1e-10
N = 90
pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _frame(seed=0):
    """Times with ties and entries, no entry at the time of an event, for whom statsmodels takes as at risk who enters then."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(N, 2))
    time = np.ceil(5 * draw.exponential(np.exp(-x @ [0.5, -0.3]))) + 1.0
    return pd.DataFrame(
        {
            "time": time,
            "a": x[:, 0],
            "b": x[:, 1],
            "status": (draw.random(N) < 0.7) * 1,
            "entry": (draw.random(N) < 0.5) * 0.99 * draw.random(N) * (time - 0.5),
            "group": np.array(["e", "f", "g"])[draw.integers(0, 3, N)],
            "shift": 0.3 * draw.normal(size=N),
            "id": draw.integers(0, 30, N),
            "kind": np.array(["u", "v", "w"])[draw.integers(0, 3, N)],
        }
    )


DATA = _frame()
OPTIONS = {
    "plain": {},
    "strata": {"strata": "group"},
    "entry": {"entry": "entry"},
    "offset": {"offset": "shift"},
    "all": {"strata": "group", "entry": "entry", "offset": "shift"},
}


@pytest.fixture(
    scope="module", params=[(ties, option) for ties in ("breslow", "efron") for option in OPTIONS], ids=" ".join
)
def both(request):
    ties, option = request.param
    given = {"status": "status", "ties": ties, **OPTIONS[option]}
    mine = bh.phreg("time ~ a + b + C(kind)", DATA, **given)
    theirs = smf.phreg("time ~ a + b + C(kind)", DATA, **given)
    return mine.fit(), theirs.fit(method="newton", tol=1e-14, maxiter=100)


def test_estimates(both):
    mine, theirs = both
    assert list(mine.params.index) == theirs.model.exog_names
    close_to_largest(mine.params, theirs.params, CLOSE)
    same_covariance(mine.cov_params(), theirs.cov_params(), CLOSE)
    for name in ("bse", "tvalues", "pvalues", "standard_errors"):
        close(getattr(mine, name), getattr(theirs, name), 1e-8)
    for name in ("llf", "df_model", "df_resid"):
        close(getattr(mine, name), getattr(theirs, name), CLOSE)
    close(mine.conf_int(), theirs.conf_int(), 1e-8)


def test_functions_of_parameters(both):
    mine, theirs = both
    at = np.array([0.3, -0.2, 0.1, 0.4])
    close(mine.model.loglike(at), theirs.model.loglike(at), CLOSE)
    close_to_largest(mine.model.score(at), theirs.model.score(at), CLOSE)
    close_to_largest(mine.model.hessian(at), theirs.model.hessian(at), CLOSE)
    close_to_largest(np.sum(mine.model.score_obs(at), 0), theirs.model.score(at), CLOSE)


def test_summary(both):
    mine, theirs = both
    assert str(mine.summary()) == str(theirs.summary())
    assert mine.summary().as_html() == theirs.summary().as_html()
    named = {"yname": "weeks", "xname": ["p", "q", "r", "s"], "title": "Weeks"}
    assert str(mine.summary(**named)) == str(theirs.summary(**named))


def test_summary_of_other_intervals():
    """statsmodels ends with a KeyError."""
    res = bh.phreg("time ~ a", DATA, status="status").fit()
    low, high = np.exp(res.conf_int(0.1).loc["a"])
    line = str(res.summary(alpha=0.1)).splitlines()[8].split()
    assert line[-2:] == [f"{low:.4f}", f"{high:.4f}"]


def test_summary_with_clusters(both):
    _, theirs = both
    mine = both[0].with_cov(bh.Cluster("id", kind="CR0"))
    grouped = theirs.model.fit(groups=DATA["id"].to_numpy(), method="newton", tol=1e-14, maxiter=100)
    # its score residuals are Breslow's under either, and its errors NaN where a row is never at risk
    if theirs.model.ties == "breslow" and np.isfinite(grouped.cov_params()).all():
        same_covariance(mine.cov_params(), grouped.cov_params(), CLOSE)
        assert str(mine.summary()) == str(grouped.summary())


def test_rows(both):
    """statsmodels' are of Breslow's ties, and NaN for rows that are never at risk."""
    mine, theirs = both
    there = ~np.isnan(theirs.score_residuals).any(1)
    if theirs.model.ties == "breslow":
        close_to_largest(mine.score_residuals[there], theirs.score_residuals[there], CLOSE)
        assert (mine.score_residuals[~there] == 0).all(axis=None)
        events = ~np.isnan(theirs.schoenfeld_residuals).any(1)
        close_to_largest(mine.schoenfeld_residuals[events], theirs.schoenfeld_residuals[events], CLOSE)
        assert (events == (DATA["status"] == 1)).all()
    for ours, other in zip(mine.weighted_covariate_averages, theirs.weighted_covariate_averages, strict=True):
        close_to_largest(ours, other, CLOSE)


def test_baseline_hazard(both):
    """Ours includes what happens at the time of an event, as R's; that of statsmodels is what was before."""
    mine, theirs = both
    if theirs.model.ties == "efron":
        return
    pairs = zip(mine.baseline_cumulative_hazard, theirs.baseline_cumulative_hazard, strict=True)
    for (time, hazard, survival), (their_time, before, _) in pairs:
        close(time, their_time, CLOSE)
        close_to_largest(np.append(0.0, hazard[:-1]), before, CLOSE)
        close(survival, np.exp(-hazard), CLOSE)
    assert list(mine.baseline_cumulative_hazard_function) == list(theirs.baseline_cumulative_hazard_function)


def test_predictions(both):
    mine, theirs = both
    ours, other = mine.predict(), theirs.predict()
    close_to_largest(ours.predicted_values, other.predicted_values, CLOSE)
    close_to_largest(ours.standard_errors, other.standard_errors, CLOSE)
    ratio = mine.predict(pred_type="hr")
    close_to_largest(ratio.predicted_values, theirs.predict(pred_type="hr").predicted_values, CLOSE)
    close_to_largest(ratio.standard_errors, ratio.predicted_values * ours.standard_errors, CLOSE)


def test_distribution(both):
    mine, theirs = both
    if theirs.model.ties == "breslow":
        there = ~np.isnan(theirs.score_residuals).any(1)
        for name in ("mean", "std"):
            close_to_largest(
                getattr(mine.get_distribution(), name)()[there],
                getattr(theirs.get_distribution(), name)()[there],
                CLOSE,
            )


def test_new_data():
    res = bh.phreg("time ~ a + C(kind)", DATA, status="status", strata="group").fit()
    new = DATA.iloc[[3, 8, 9]]
    at = res.predict(exog=new, endog="time", strata="group", pred_type="surv").predicted_values
    own = res.predict(pred_type="surv").predicted_values
    pd.testing.assert_series_equal(at, own.iloc[[3, 8, 9]])
    alone = res.predict(exog=new, endog=4.0, strata="e", pred_type="cumhaz").predicted_values
    step = res.baseline_cumulative_hazard_function["e"](4.0)
    close(alone, step * res.predict(exog=new, pred_type="hr").predicted_values, CLOSE)
    shifted = res.predict(exog=new, offset="shift").predicted_values
    close(shifted, res.predict(exog=new).predicted_values + new["shift"], CLOSE)
    arrays = res.predict(exog=res.model.exog.iloc[:2], transform=False).predicted_values
    close(arrays, res.predict().predicted_values.iloc[:2], CLOSE)


def test_new_data_come_first_as_for_other_models():
    data = _frame().assign(time=lambda f: f["time"] + 1.0)
    res = bh.phreg("time ~ a + b", data, status="status").fit()
    new = data[:2]
    for given in (new, dict(new), res.model.exog.iloc[:2]):
        close(
            res.predict(given, pred_type="hr").predicted_values,
            res.predict(exog=new, pred_type="hr").predicted_values,
            0,
        )
    arrays = bh.PHReg(data["time"].to_numpy(), data[["a", "b"]].to_numpy(), data["status"].to_numpy()).fit()
    for given in (new[["a", "b"]].to_numpy(), torch.tensor(new[["a", "b"]].to_numpy())):
        close(arrays.predict(given).predicted_values, arrays.predict().predicted_values[:2], CLOSE)
    assert res.predict(5.0, pred_type="surv").predicted_values.shape == (len(data),)


def test_predictions_print_as_frames():
    res = bh.phreg("time ~ a + b", _frame(), status="status").fit()
    both, alone = res.predict(), res.predict(pred_type="surv")
    assert repr(both) == repr(both.summary_frame())
    assert list(both.summary_frame()) == ["predicted_values", "standard_errors"]
    assert list(alone.summary_frame()) == ["predicted_values"]
    arrays = (
        bh.PHReg(res.model.endog.to_numpy(), res.model.exog.to_numpy(), res.model.status.to_numpy()).fit().predict()
    )
    close(arrays.summary_frame(), both.summary_frame(), CLOSE)


def test_arrays_tensors_and_single_precision():
    x, y, d = DATA[["a", "b"]].to_numpy(), DATA["time"].to_numpy(), DATA["status"].to_numpy()
    arrays = bh.PHReg(y, x, d).fit()
    theirs = sm.PHReg(y, x, d).fit(method="newton", tol=1e-14)
    assert str(arrays.summary()) == str(theirs.summary())
    assert isinstance(arrays.martingale_residuals, np.ndarray)
    tensors = bh.PHReg(*map(torch.tensor, (y, x, d))).fit()
    assert torch.equal(tensors.params, torch.tensor(arrays.params))
    assert isinstance(tensors.score_residuals, torch.Tensor)
    single = bh.PHReg(torch.tensor(y).float(), torch.tensor(x).float(), torch.tensor(d)).fit()
    close(single.params, arrays.params, 1e-5)
    every = bh.PHReg(y, x).fit()
    close(every.params, sm.PHReg(y, x).fit(method="newton", tol=1e-14).params, CLOSE)


def test_missing_rows_are_dropped():
    holes = DATA.astype({"status": float, "entry": float}).copy()
    for place, name in enumerate(["time", "a", "status", "entry", "shift"]):
        holes.loc[3 * place, name] = np.nan
    given = {"status": "status", "entry": "entry", "offset": "shift"}
    mine = bh.phreg("time ~ a + b", holes, **given).fit()
    whole = bh.phreg("time ~ a + b", holes.dropna(), **given).fit()
    assert mine.nobs == N - 5
    pd.testing.assert_series_equal(mine.params, whole.params)
    expression = bh.phreg("time ~ a + b", holes.dropna(), **{**given, "status": "status == 1"}).fit()
    pd.testing.assert_series_equal(expression.params, whole.params)
