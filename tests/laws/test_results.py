"""One covariance by every route, tables that repeat the results, estimators of one's own, and copies."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh
from betahat.covariance import names

# A linear function by two routes, J V J' and R V R', the same products in another order.
ROUNDING = 1e-12

COVARIANCES = ("nonrobust", "fixed scale", "HC0", "HC1", "HC2", "HC3")
OBJECTS = {
    "nonrobust": bh.Classical(),
    "fixed scale": bh.FixedScale(),
    "HC0": bh.HC0(),
    "HC1": bh.HC1(),
    "HC2": bh.HC2(),
    "HC3": bh.HC3(),
}
covariances = pytest.mark.parametrize("covariance", COVARIANCES)
# 60 rows take TSQR; 70,000 rows of 4 columns are no longer small, and take the Gram matrix.
sizes = pytest.mark.parametrize("n", [60, 70_000])


def _frame(n=60, seed=3):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "g": rng.choice(list("uvw"), n)})
    return data.assign(y=1 + data["a"] - data["b"] + rng.normal(size=n) * (1 + data["a"].abs()))


@pytest.fixture
def res():
    return bh.ols("y ~ a + b + C(g)", _frame()).fit()


def _equal(left, right):
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else np.array_equal(left, right)


def _same(one, other):
    """Everything that a covariance decides is the same, bit for bit."""
    assert torch.equal(one.cov.matrix, other.cov.matrix)
    assert (one.cov.label, one.cov.note, one.cov.df) == (other.cov.label, other.cov.note, other.cov.df)
    assert (one.cov.robust, one.cov.noise) == (other.cov.robust, other.cov.noise)
    assert (one.cov_type, one.use_t, one.cov_kwds) == (other.cov_type, other.use_t, other.cov_kwds)
    for number in ("params", "bse", "tvalues", "pvalues"):
        assert _equal(getattr(one, number), getattr(other, number))
    assert _equal(one.conf_int(), other.conf_int())
    np.testing.assert_array_equal([one.fvalue, one.f_pvalue], [other.fvalue, other.f_pvalue])


@sizes
@pytest.mark.parametrize("kind", ["OLS", "WLS"])
@covariances
def test_every_route_to_a_covariance(sample, covariance, kind, n):
    model = sample(n=n).model(kind)
    plain, direct = model.fit(), model.fit(covariance)
    before = (plain.cov, plain.cov.matrix.clone(), plain.params.clone(), plain.bse.clone(), plain.cov_type)
    for route in (
        plain.with_cov(covariance),
        plain.with_cov(covariance.upper()),
        plain.with_cov(OBJECTS[covariance]),
        plain.with_cov(cov_type=covariance, cov_kwds={}),
        plain.get_robustcov_results(covariance),
        model.fit("HC1").with_cov(covariance),
        model.fit(OBJECTS[covariance]),
        direct.with_cov("HC2").with_cov(covariance),
    ):
        _same(route, direct)
    for left, right in zip(before, (plain.cov, plain.cov.matrix, plain.params, plain.bse, plain.cov_type), strict=True):
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left is right or left == right


@sizes
@pytest.mark.parametrize("use_t", [True, False])
@covariances
def test_every_route_with_a_distribution(sample, covariance, use_t, n):
    model = sample(n=n).ols()
    direct = model.fit(covariance, use_t=use_t)
    _same(model.fit().with_cov(covariance, use_t=use_t), direct)
    _same(model.fit().get_robustcov_results(covariance, use_t=use_t), direct)
    assert direct.use_t is use_t
    assert direct.cov.df == (direct.df_resid if use_t else None)


def test_options_by_every_route(sample):
    model = sample().ols()
    direct = model.fit("fixed scale", {"scale": 2.5})
    _same(model.fit(bh.FixedScale(2.5)), direct)
    _same(model.fit().with_cov("fixed scale", {"scale": 2.5}), direct)
    _same(model.fit().get_robustcov_results("fixed scale", scale=2.5), direct)


def test_results_are_frozen(res):
    with pytest.raises(AttributeError):
        res.cov = None
    assert res.with_cov("HC3").fit is res.fit


@covariances
@pytest.mark.parametrize("use_t", [True, False])
def test_delta_of_the_parameters_is_themselves(res, covariance, use_t):
    found = res.with_cov(covariance, use_t=use_t)
    delta = found.delta(lambda p: p.vector)
    np.testing.assert_allclose(delta.estimate, found.params, rtol=ROUNDING)
    np.testing.assert_allclose(delta.bse, found.bse, rtol=ROUNDING)
    np.testing.assert_allclose(delta.pvalue, found.pvalues, rtol=ROUNDING)
    np.testing.assert_allclose(delta.conf_int(), found.conf_int(), rtol=ROUNDING)


@covariances
def test_linear_delta_is_a_t_test(res, covariance):
    found = res.with_cov(covariance)
    delta, test = found.delta(lambda p: p["a"] + 2 * p["b"] - 3), found.t_test("a + 2*b = 3")
    assert delta.estimate + 3 == pytest.approx(test.effect.item(), rel=ROUNDING)
    assert delta.bse == pytest.approx(test.sd.item(), rel=ROUNDING)
    assert delta.statistic == pytest.approx(test.tvalue.item(), rel=ROUNDING)
    assert delta.pvalue == pytest.approx(test.pvalue.item(), rel=ROUNDING)
    np.testing.assert_allclose(np.asarray(delta.conf_int()) + 3, test.conf_int()[0], rtol=ROUNDING)


def test_delta_takes_the_gradient_at_the_estimate(res):
    """A product of two coefficients: g = a b, dg = (b, a)."""
    delta, p, v = res.delta(lambda p: p["a"] * p["b"]), res.params, res.cov_params()
    gradient = np.array([p["b"], p["a"]])
    inner = v.loc[["a", "b"], ["a", "b"]].to_numpy()
    assert delta.estimate == pytest.approx(p["a"] * p["b"], rel=ROUNDING)
    assert delta.bse == pytest.approx(np.sqrt(gradient @ inner @ gradient), rel=ROUNDING)


@covariances
@pytest.mark.parametrize("name", ["Intercept", "a", "C(g)[T.v]"])
def test_one_restriction_is_t_squared(res, covariance, name):
    found = res.with_cov(covariance)
    row = np.eye(5)[list(found.params.index).index(name)]
    square = found.tvalues[name] ** 2
    assert found.wald_test(row, use_f=False).statistic == pytest.approx(square, rel=ROUNDING)
    assert found.f_test(row).fvalue == pytest.approx(square, rel=ROUNDING)
    tests = found.with_cov(covariance, use_t=True), found.with_cov(covariance, use_t=False)
    assert tests[0].f_test(row).pvalue == pytest.approx(tests[0].pvalues[name], rel=ROUNDING)
    assert tests[1].wald_test(row).pvalue == pytest.approx(tests[1].pvalues[name], rel=ROUNDING)


@covariances
def test_joint_test_does_not_depend_on_how_it_is_written(res, covariance):
    found = res.with_cov(covariance)
    first = found.wald_test("a = 0, b = 1")
    for text in ("a + b = 1, a - b = -1", "b = 1, 1000*a = 0", ["a = 0", "b = 1"]):
        again = found.wald_test(text)
        assert again.statistic == pytest.approx(first.statistic, rel=ROUNDING)
        assert again.df_num == first.df_num == 2
    repeated = found.wald_test("a = 0, b = 1, a + b = 1")
    assert repeated.df_num == 2
    assert repeated.statistic == pytest.approx(first.statistic, rel=ROUNDING)


def test_f_test_of_a_nested_model_is_its_wald_test(res):
    restricted = bh.ols("y ~ a + b", _frame()).fit()
    compared, wald = res.compare_f_test(restricted), res.f_test("C(g)[T.v] = 0, C(g)[T.w] = 0")
    assert compared.statistic == pytest.approx(wald.fvalue, rel=1e-10)  # differences of sums of squares
    assert compared.pvalue == pytest.approx(wald.pvalue, rel=1e-10)
    assert compared.df_diff == wald.df_num == 2


def test_compare_repeats_the_results(res):
    columns = ["nonrobust", "HC1", bh.HC3()]
    frame = bh.compare(res, columns).to_frame()
    assert list(frame.columns) == ["coef", "nonrobust", "HC1", "HC3"]
    assert list(frame.index) == list(res.params.index)
    assert np.array_equal(frame["coef"], res.params)
    for column in ("nonrobust", "HC1", "HC3"):
        assert np.array_equal(frame[column], res.with_cov(column).bse)


def test_compare_of_one_covariance_twice(res):
    frame = bh.compare(res, ["HC1", "HC1", "HC3"]).to_frame()
    assert frame.shape == (5, 4)
    assert frame.columns.is_unique


def test_regtable_repeats_the_results(res):
    other = bh.ols("y ~ b", _frame()).fit("HC1")
    frame = bh.regtable([res, other]).to_frame()
    for column, result in (("(1)", res), ("(2)", other)):
        for name in res.params.index:
            cell = frame.loc[name, column]
            if name in result.params.index:
                assert (cell["coef"], cell["std err"]) == (result.params[name], result.bse[name])
            else:
                assert cell.isna().all()


@pytest.mark.parametrize("covariance", ["nonrobust", "HC2"])
def test_tidy_and_glance_repeat_the_results(res, covariance):
    found = res.with_cov(covariance)
    table, row = found.tidy().set_index("term"), found.glance().iloc[0]
    columns = {"estimate": "params", "std.error": "bse", "statistic": "tvalues", "p.value": "pvalues"}
    for column, attribute in columns.items():
        assert np.array_equal(table[column], getattr(found, attribute))
    np.testing.assert_allclose(table[["conf.low", "conf.high"]], found.conf_int(), rtol=ROUNDING)
    attributes = {"r.squared": "rsquared", "statistic": "fvalue", "p.value": "f_pvalue", "logLik": "llf", "AIC": "aic"}
    assert all(row[column] == getattr(found, attribute) for column, attribute in attributes.items())


@dataclass(frozen=True)
class Shrunk(bh.Estimator):
    """The bread times a factor."""

    factor: float = 0.5

    def __call__(self, fit):
        return bh.Covariance(fit.bread * self.factor, "shrunk", "The bread, shrunk", fit.df_resid)


def shrunk(factor=0.5):
    """Return an estimator that is a plain function."""
    return lambda fit: bh.Covariance(fit.bread * factor, "shrunk", "The bread, shrunk", fit.df_resid)


@pytest.fixture(params=[Shrunk, shrunk], ids=["class", "function"])
def registered(request, monkeypatch):
    monkeypatch.setattr(names, "_NAMES", dict(names._NAMES))
    bh.register_covariance("Shrunk", request.param)
    return request.param


@sizes
def test_an_estimator_of_ones_own(sample, registered, n):
    model = sample(n=n).ols()
    plain, direct = model.fit(), model.fit("shrunk")
    assert direct.cov_type == "shrunk"
    assert torch.equal(direct.cov_params(), plain.normalized_cov_params * 0.5)
    for route in (
        plain.with_cov("Shrunk"),
        plain.with_cov(registered()),
        plain.get_robustcov_results("shrunk"),
        model.fit(registered()),
    ):
        _same(route, direct)
    _same(plain.with_cov("shrunk", {"factor": 2.0}), model.fit(registered(2.0)))
    assert torch.equal(plain.with_cov("shrunk", {"factor": 2.0}).cov_params(), plain.normalized_cov_params * 2.0)
    assert plain.with_cov("shrunk", use_t=False).cov.df is None
    with pytest.raises(bh.OptionError, match=r"factr.*'factor'"):
        plain.with_cov("shrunk", {"factr": 2.0})


def test_an_estimator_of_ones_own_in_tables(res, registered):
    frame = bh.compare(res, ["HC1", "shrunk", registered(3.0)]).to_frame()
    assert np.array_equal(frame.iloc[:, 2], res.with_cov("shrunk").bse)
    assert np.array_equal(frame.iloc[:, 3], res.with_cov("shrunk", {"factor": 3.0}).bse)
    assert "shrunk" in res.with_cov("shrunk").summary().as_text()
    assert "shrunk" in bh.regtable([res.with_cov("shrunk")]).to_text()


def test_registered_name_is_known_and_listed(res, registered):
    with pytest.raises(bh.OptionError, match="did you mean 'Shrunk'"):
        res.with_cov("Shrnk")


def _logarithm(frame):
    """Take the caller's NumPy into the formula."""
    return bh.ols("y ~ np.log(a**2) + b + C(g)", frame).fit("HC3")


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda res: pickle.loads(pickle.dumps(res)),
}
MAKERS = {
    "arrays": lambda frame: bh.OLS(frame["y"].to_numpy(), frame[["a", "b"]].to_numpy()).fit("HC3"),
    "tensors": lambda frame: bh.WLS(torch.tensor(frame["y"]), torch.tensor(frame[["a"]].to_numpy()), 2.0).fit("HC3"),
    "frame": lambda frame: bh.OLS(frame["y"], frame[["a", "b"]]).fit(),
    "formula": lambda frame: bh.ols("y ~ a + C(g)", frame).fit("HC1"),
    "formula with a function": _logarithm,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("maker", MAKERS)
def test_copies(how, maker):
    frame = _frame()
    res = MAKERS[maker](frame)
    again = COPIES[how](res)
    _same(again, res)
    _same(again.with_cov("HC2"), res.with_cov("HC2"))
    new = {"arrays": frame[["a", "b"]].to_numpy(), "tensors": torch.tensor(frame[["a"]].to_numpy())}.get(
        maker, frame.drop(columns="g") if maker == "frame" else frame
    )
    assert _equal(again.predict(new), res.predict(new))
    assert again.summary().as_text().splitlines()[12:] == res.summary().as_text().splitlines()[12:]
    if how != "copy":
        assert again.fit.params.data_ptr() != res.fit.params.data_ptr()


def test_delta_in_inference_mode(sample):
    """A user who predicts in `torch.inference_mode` gets a gradient all the same."""
    data = sample()
    with torch.inference_mode():
        found = bh.OLS(data.y, data.x).fit().delta(lambda p: p[0] / p[1])
    assert float(found.bse) == float(bh.OLS(data.y, data.x).fit().delta(lambda p: p[0] / p[1]).bse)
