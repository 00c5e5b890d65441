"""Margins of variables: marginaleffects' numbers, replicates of bootstraps, and what they refuse."""

import marginaleffects as me
import numpy as np
import pandas as pd
import pytest

import betahat as bh


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    n = 300
    found = pd.DataFrame(
        {
            "x": rng.normal(2.0, 1.0, n),
            "age": rng.uniform(20.0, 60.0, n),
            "treated": rng.integers(0, 2, n),
            "region": rng.choice(["north", "south", "west"], n),
        }
    )
    index = 0.3 * found.x + 0.4 * found.treated - 0.01 * (found.age - 40.0) + 0.2 * (found.region == "west") - 0.5
    return found.assign(
        y=(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-index))).astype(float), value=index + rng.normal(size=n)
    )


@pytest.fixture(scope="module")
def logit(frame):
    return bh.logit("y ~ x * treated + np.log(age) + C(region)", frame).fit("HC1")


# marginaleffects takes forward differences of 1e-8 in the parameters of differences of 1e-4 in the variables: its errors have three digits.
CLOSE = {"rtol": 1e-5, "atol": 1e-7}
ERRORS = {"rtol": 5e-3}


@pytest.mark.parametrize("by", [None, "treated"])
def test_slopes_are_those_of_marginaleffects(logit, by):
    ours = logit.avg_slopes(by=by).tidy()
    theirs = me.avg_slopes(logit, by=True if by is None else by).to_pandas()
    keys = ["term", "contrast", *([by] if by else [])]
    both = ours.merge(
        theirs.assign(contrast=theirs.contrast.str.replace(r"(\w+) - (\w+)", r"\1 - \2", regex=True)), on=keys
    )
    assert len(both) == len(ours)
    np.testing.assert_allclose(both["estimate_x"], both["estimate_y"], **CLOSE)
    np.testing.assert_allclose(both["std.error"], both["std_error"], **ERRORS)


def test_an_average_of_rows_is_their_average(logit):
    rows, mean = logit.slopes("age"), logit.avg_slopes("age")
    np.testing.assert_allclose(np.mean(rows.params), mean.params.iloc[0], rtol=1e-12)
    by = logit.slopes("age", by="region").params
    counts = logit.model.data.frame.groupby("region").size().to_numpy()
    np.testing.assert_allclose(by.to_numpy() @ counts / counts.sum(), mean.params.iloc[0], rtol=1e-12)


def test_replicates_of_a_bootstrap(logit):
    found = logit.with_cov(bh.Bootstrap(40, seed=1)).avg_slopes("x")
    draws = logit.with_cov(bh.Bootstrap(40, seed=1)).cov.draws
    each = [float(found.function.with_jacobian(draw)[0][0]) for draw in draws]
    np.testing.assert_allclose(found.bse.iloc[0], np.std(each, ddof=1), rtol=1e-10)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov_params())), found.bse, rtol=1e-10)


def test_they_are_columns_of_tables(logit):
    slopes = logit.avg_slopes(["x", "age"])
    assert "age" in str(bh.regtable([logit, slopes], below="se"))
    assert list(bh.compare(slopes, ["nonrobust", "HC3"]).to_frame().columns) == ["coef", "nonrobust", "HC3"]
    np.testing.assert_allclose(
        slopes.with_cov("HC3").bse, logit.with_cov("HC3").avg_slopes(["x", "age"]).bse, rtol=1e-12
    )
    assert slopes.with_use_t(True).use_t


def test_new_rows_and_typical_ones(logit, frame):
    at = logit.predictions(frame.head(3))
    np.testing.assert_allclose(at.params, logit.predict(frame.head(3)), rtol=1e-12)
    one = logit.predictions(newdata="mean")
    row = pd.DataFrame(
        {
            "x": [frame.x.mean()],
            "treated": [frame.treated.mode()[0]],
            "age": [frame.age.mean()],
            "region": [frame.region.mode()[0]],
        }
    )
    np.testing.assert_allclose(one.params, logit.predict(row), rtol=1e-12)


def test_collinear_columns_have_no_errors(frame):
    with pytest.warns(bh.CollinearityWarning, match="depends linearly"):
        res = bh.ols("value ~ x + two", frame.assign(two=2.0 * frame.x)).fit()
    with pytest.warns(bh.CollinearityWarning, match="do not identify 'x', 'two'"):
        found = res.avg_slopes()
    assert found.bse.isna().all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda res: res.avg_slopes("nobody"), "has no variable 'nobody'; its variables are 'x', 'treated'"),
        (lambda res: res.avg_slopes(3), "variables is 3; pass a name"),
        (lambda res: res.avg_slopes([3]), "pass names of variables"),
        (lambda res: res.avg_slopes(slope="dy"), "slope is 'dy'; use one of"),
        (lambda res: res.avg_slopes(by="nobody"), "by is 'nobody', which is not a column"),
        (lambda res: res.avg_slopes(by=3), "by is 3; pass the name"),
        (lambda res: res.avg_slopes(newdata="mode"), "pass 'mean', 'median' or 'balanced'"),
        (lambda res: res.avg_slopes(newdata=3), "newdata is 3; pass a dataframe"),
        (lambda res: res.avg_slopes(newdata={"x": [1.0]}), "newdata lacks 'treated'"),
        (lambda res: res.avg_slopes(wts="nobody"), "wts is 'nobody'"),
        (lambda res: res.avg_comparisons(comparison="gap"), "comparison is 'gap'"),
        (lambda res: res.avg_comparisons(comparison=lambda high, low: None), "returned None instead of a number"),
        (lambda res: res.avg_comparisons(comparison=lambda high: high), "cannot be computed"),
        (lambda res: bh.OLS([1.0, 2.0, 4.0], [[1.0]] * 3).fit().avg_slopes(), "nothing to compare"),
        (lambda res: res.avg_slopes().conf_int(method="bca"), "needs bootstrap replicates"),
    ],
)
def test_what_is_refused(logit, call, sentence):
    with pytest.raises(bh.BetahatError, match=sentence):
        call(logit)
