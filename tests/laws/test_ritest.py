"""Randomization inference: all assignments by a loop of statsmodels' fits, random ones by products and by fits, and what cannot be permuted."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from scipy import stats
from support.closeness import close

import betahat as bh
from betahat.inference import ritest as room
from betahat.resampling.assignments import Assignments

# Products and fits of 40 rows agree to rounding in units of a t statistic.
ROUNDING = 1e-11


@pytest.fixture(scope="module")
def small():
    """Ten units in two strata, of which five are treated."""
    random = np.random.default_rng(21)
    data = pd.DataFrame(
        {"x": random.normal(size=10), "block": [0] * 4 + [1] * 6, "treated": [1, 0, 0, 1, 1, 0, 1, 0, 1, 0]}
    )
    data["y"] = 0.8 * data.treated + data.x + data.block + random.normal(size=10)
    return data


@pytest.fixture(scope="module")
def trial():
    """Forty rows in ten schools of two districts; schools are assigned."""
    random = np.random.default_rng(22)
    data = pd.DataFrame(
        {"x": random.normal(size=40), "school": np.repeat(np.arange(10), [2, 6, 4, 4, 4, 3, 5, 4, 4, 4])}
    )
    data["district"] = (data.school >= 4) * 1
    data["treated"] = np.isin(data.school, [1, 2, 5, 6, 9]) * 1
    data["arm"] = np.where(data.treated == 1, "new", "old")
    data["dose"] = random.integers(0, 3, 40)
    data["y"] = 0.6 * data.treated + data.x + random.normal(size=40)
    data["hit"] = (data.y > 0.3) * 1
    data["count"] = random.poisson(np.exp(0.2 * data.x + 0.2 * data.treated))
    return data


def _fits(data, assignments, **fit):
    """The estimate and the t statistic of statsmodels' regression of y on the treatment and x under each assignment."""
    for chosen in assignments:
        res = sm.OLS(data.y.to_numpy(), np.column_stack([np.ones(len(data)), chosen, data.x])).fit(**fit)
        yield res.params[1], res.tvalues[1]


def _within(treated, strata):
    """Every order of a 0/1 treatment within strata."""
    places = [np.flatnonzero(strata == level) for level in np.unique(strata)]
    each = [list(itertools.combinations(own, int(treated[own].sum()))) for own in places]
    for chosen in itertools.product(*each):
        row = np.zeros(len(treated), dtype=int)
        row[list(itertools.chain.from_iterable(chosen))] = 1
        yield row


@pytest.mark.parametrize("statistic", ["coef", "t"])
@pytest.mark.parametrize("strata", [None, "block"])
def test_all_assignments_by_a_loop(small, statistic, strata):
    res = bh.ols("y ~ treated + x", small).fit("HC1")
    test = bh.ritest(res, "treated", strata=strata, statistic=statistic)
    within = np.zeros(10) if strata is None else small.block.to_numpy()
    rows = list(_within(small.treated.to_numpy(), within))
    true = np.array(list(_fits(small, rows, cov_type="HC1")))[:, ["coef", "t"].index(statistic)]
    assert test.exhaustive
    assert test.reps == len(rows) == (252 if strata is None else 120)
    assert test.seed is None
    assert test.strata == (1 if strata is None else 2)
    assert test.units == 10
    close(np.sort(test.draws), np.sort(true), 1e-9)
    actual = res.params["treated"] if statistic == "coef" else res.tvalues["treated"]
    close(test.statistic, actual, ROUNDING)
    for alternative, extreme in (
        ("two-sided", np.abs(true) >= abs(actual) - 1e-9),
        ("greater", true >= actual - 1e-9),
        ("less", true <= actual + 1e-9),
    ):
        one = bh.ritest(res, "treated", strata=strata, statistic=statistic, alternative=alternative)
        assert one.pvalue == extreme.mean() == float(one)
    assert test.std_error == 0
    assert (test.conf_int() == test.pvalue).all()


def test_clusters_are_assigned_as_one(trial):
    res = bh.ols("y ~ treated + x", trial).fit(bh.Cluster("school"))
    test = bh.ritest(res, "treated", clusters="school", strata="district", statistic="coef")
    schools = trial.groupby("school").first()
    rows = [row[trial.school] for row in _within(schools.treated.to_numpy(), schools.district.to_numpy())]
    true = [b for b, _ in _fits(trial, rows)]
    assert test.units == 10
    assert test.reps == len(rows) == 6 * 20
    close(np.sort(test.draws), np.sort(true), 1e-9)


@pytest.mark.filterwarnings("ignore:The residuals are zero")
def test_fisher_and_the_lady_tasting_tea():
    """The coefficient rises with the number of right guesses, which is hypergeometric: Fisher (1935), chapter 2."""
    truth = [1, 1, 1, 1, 0, 0, 0, 0]
    for right in (4, 3):
        guess = [1] * right + [0] * (4 - right) + [1] * (4 - right) + [0] * right
        for alternative in ("greater", "two-sided"):
            test = bh.ritest(
                bh.OLS(guess, bh.add_constant(truth)).fit(), "x1", alternative=alternative, statistic="coef"
            )
            table = [[right, 4 - right], [4 - right, right]]
            close(test.pvalue, stats.fisher_exact(table, alternative=alternative).pvalue, ROUNDING)


FAST = {
    "classical": ("y ~ treated + x", "nonrobust", {}),
    "HC0": ("y ~ treated + x", "HC0", {}),
    "HC1": ("y ~ treated + x", "HC1", {}),
    "HC2": ("y ~ treated + x", "HC2", {}),
    "HC3": ("y ~ treated + x", "HC3", {}),
    "clusters": ("y ~ treated + x", bh.Cluster("school"), {}),
    "CR0": ("y ~ treated + x", bh.Cluster("school", kind="CR0"), {}),
    "weights": ("y ~ treated + x", "HC1", {"weights": "weight"}),
    "effects": ("y ~ treated + x | dose", "HC1", {}),
    "two effects": ("y ~ treated + x | dose + district", bh.Cluster("dose", kind="CR1"), {}),
    "categories": ("y ~ C(treated) + x", "HC1", {}),
    "text": ("y ~ arm + x", "HC1", {}),
}


@pytest.mark.filterwarnings("ignore:groups 'dose' has 3 clusters")
@pytest.mark.parametrize("case", FAST)
@pytest.mark.parametrize("statistic", ["coef", "t"])
def test_products_are_fits(trial, case, statistic, monkeypatch):
    formula, cov, options = FAST[case]
    trial = trial.assign(weight=np.linspace(0.5, 2.0, 40))
    model = (bh.wls if options else bh.ols)(formula, trial, **options)
    variable = "arm" if case == "text" else "treated"
    res = model.fit(cov)
    assert room._products(
        res,
        room.read_experiment(res, variable, None, None),
        room._coefficient_of(res, room.read_experiment(res, variable, None, None), None),
        statistic,
    )
    fast = bh.ritest(res, variable, reps=6, seed=1, statistic=statistic, strata="district")
    monkeypatch.setattr(room, "_products", lambda *given: None)
    slow = bh.ritest(res, variable, reps=6, seed=1, statistic=statistic, strata="district")
    close(fast.draws, slow.draws, ROUNDING, unit=1.0, label=case)


def test_columns_and_tensors(trial):
    """The model of a formula, of a frame, of arrays and of tensors permute the same rows."""
    by_formula = bh.ritest(bh.ols("y ~ treated + x", trial).fit("HC1"), "treated", reps=20, seed=3)
    columns = bh.add_constant(trial[["treated", "x"]])
    for y, X, name in (
        (trial.y, columns, "treated"),
        (trial.y.to_numpy(), columns.to_numpy(), "x1"),
        (torch.tensor(trial.y.to_numpy(copy=True)), torch.tensor(columns.to_numpy(copy=True)), "x1"),
    ):
        other = bh.ritest(bh.OLS(y, X).fit("HC1"), name, reps=20, seed=3)
        close(other.draws, by_formula.draws, ROUNDING, unit=1.0)
    logit = bh.ritest(bh.logit("hit ~ treated + x", trial).fit(), "treated", reps=3, seed=3)
    arrays = bh.ritest(bh.Logit(trial.hit.to_numpy(), columns.to_numpy()).fit(), "x1", reps=3, seed=3)
    close(arrays.draws, logit.draws, 1e-7, unit=1.0)


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_other_models_are_fitted_anew(trial):
    """Interactions follow the treatment; each draw is the fit of the frame with its treatments."""
    models = {
        "logit": bh.logit("hit ~ treated * x", trial).fit("HC1"),
        "poisson": bh.poisson("count ~ treated * x | district", trial).fit("HC0"),
        "quantile": bh.quantreg("y ~ treated * x", trial).fit(q=0.4),
        "CR2": bh.ols("y ~ treated * x", trial).fit(bh.Cluster("school", kind="CR2")),
    }
    for name, res in models.items():
        options = {"q": 0.4} if name == "quantile" else {}
        test = bh.ritest(res, "treated", reps=2, seed=5, coefficient="treated", **options)
        codes = torch.tensor(trial.treated.to_numpy(copy=True))  # the first treatment is that of row 0, which is 0
        chosen = Assignments(codes, torch.zeros(40, dtype=torch.int64)).draw(5, torch.arange(1))[0]
        drawn = trial.assign(treated=chosen.numpy())
        again = type(res.model).from_formula(res.model.formula, drawn).fit(cov_type=res.cov.estimator, **options)
        close(test.draws[0], again.tvalues["treated"], 1e-6, label=name)


def test_rows_with_gaps_stay_where_they_are(trial):
    """Only treatments of rows in use are exchanged."""
    gaps = trial.copy()
    gaps.loc[[3, 17], "x"] = np.nan
    gaps.loc[8, "y"] = np.nan
    left = gaps.dropna()
    for formula in ("y ~ treated + x", "y ~ treated * x"):
        tests = [
            bh.ritest(
                bh.ols(formula, data).fit("HC1"), "treated", reps=9, seed=2, coefficient="treated", strata="district"
            )
            for data in (gaps, left)
        ]
        close(tests[0].draws, tests[1].draws, ROUNDING, unit=1.0)


def test_assignments_are_permutations():
    random = np.random.default_rng(1)
    strata = torch.tensor(random.integers(0, 4, 50))
    plan = Assignments(torch.tensor(random.integers(0, 3, 50)), strata)
    drawn = plan.draw(7, torch.arange(200))
    for stratum in range(4):
        own = strata == stratum
        true = plan.treatments[own].sort().values
        assert (drawn[:, own].sort(1).values == true).all()
    # a function of the seed and the number alone
    assert (plan.draw(7, torch.tensor([150]))[0] == drawn[150]).all()
    assert not (plan.draw(8, torch.arange(200)) == drawn).all()
    # each unit has each treatment as often as its stratum says
    share = (drawn == 1).double().mean(0)
    true = torch.stack([(plan.treatments[strata == s] == 1).double().mean() for s in range(4)])[strata]
    assert float((share - true).abs().max()) < 0.2


def test_all_assignments_of_several_arms():
    plan = Assignments(torch.tensor([2, 0, 1, 1, 5, 5]), torch.tensor([1, 1, 1, 1, 0, 0]))
    every = plan.every()
    assert plan.number() == len(every) == 12
    assert plan.varying == 1
    loop = {(*order, 5, 5) for order in itertools.permutations([2, 0, 1, 1])}
    assert set(map(tuple, every.tolist())) == loop


def test_the_pvalue_and_its_error(trial):
    test = bh.ritest(bh.ols("y ~ treated + x", trial).fit("HC1"), "treated", reps=99, seed=1)
    assert not test.exhaustive
    assert test.seed == 1
    assert test.reps == 99
    count = int((np.abs(test.draws) >= abs(test.statistic)).sum())
    assert test.pvalue == (count + 1) / 100
    assert test.count == count
    close(test.std_error, np.sqrt(test.pvalue * (1 - test.pvalue) / 99), ROUNDING)
    true = stats.binomtest(count, 99).proportion_ci(0.9, "exact")
    close(test.conf_int(0.1), [true.low, true.high], 1e-9)
    assert f"{count} of 99 random assignments are as extreme\nMonte Carlo error" in str(test)
    clear = trial.assign(y=trial.y - 20 * trial.treated)
    for alternative, end in (("less", 0), ("greater", 1)):
        sure = bh.ritest(bh.ols("y ~ treated + x", clear).fit(), "treated", reps=9, seed=1, alternative=alternative)
        assert sure.count == 9 * end
        assert sure.conf_int()[end] == end


def test_a_seed_of_the_system(trial):
    res = bh.ols("y ~ treated + x", trial).fit()
    one = bh.ritest(res, "treated", reps=10)
    assert one.seed is not None
    np.testing.assert_array_equal(bh.ritest(res, "treated", reps=10, seed=one.seed).draws, one.draws)


def test_draws_without_an_estimate_are_left_out():
    """In some assignments the treatment is the dummy beside it."""
    data = pd.DataFrame({"treated": [1, 1, 0, 0, 0], "z": [1, 0, 1, 0, 0], "y": [1.0, 3.0, 2.0, 5.0, 4.0]})
    res = bh.ols("y ~ treated + z", data).fit()
    with pytest.warns(bh.BootstrapWarning, match="1 of 10 assignments have no estimate"):
        test = bh.ritest(res, "treated", statistic="coef")
    assert test.failed == 1
    assert test.reps == 9
    spoilt = bh.ols("y ~ treated + z", data.assign(treated=[1, 0, 0, 0, 0], z=[0, 0, 1, 0, 0])).fit()
    strata = np.array([0, 1, 0, 1, 1])
    with pytest.warns(bh.BootstrapWarning, match="1 of 2"):
        bh.ritest(spoilt, "treated", strata=strata, statistic="coef")
    lone = data.assign(treated=[1, 0, 0, 0, 0], z=[0, 1, 0, 0, 0], w=[0, 0, 1, 0, 0], y=[1.0, 2.0, 3.0, 4.0, 6.0])
    with pytest.raises(bh.EstimationError, match="2 of 3 assignments have no estimate"):
        bh.ritest(
            bh.ols("y ~ treated + z + w", lone).fit(), "treated", strata=np.array([0, 0, 0, 1, 1]), statistic="coef"
        )


def test_fits_without_an_estimate_are_left_out():
    """Some assignments separate ones from zeros, where a logit has no maximum."""
    data = pd.DataFrame({"treated": [1, 1, 1, 0, 0, 0, 0], "hit": [1, 1, 0, 0, 1, 0, 0]})
    res = bh.logit("hit ~ treated", data).fit()
    with pytest.warns(bh.BootstrapWarning, match="of 35 assignments have no estimate"):
        test = bh.ritest(res, "treated", statistic="coef")
    # separated where all of the treated, or none of them or of the others, are ones
    separated = sum(
        hits in (0, 3) for hits in (sum(data.hit[list(chosen)]) for chosen in itertools.combinations(range(7), 3))
    )
    assert test.failed == separated == 5


WRONG = {
    "no result": (lambda res, data: bh.ritest(data, "treated"), "ritest needs one result of a model of regressors"),
    "no rows": (lambda res, data: bh.ritest(res.remove_data(), "treated"), "with its rows, not"),
    "a number": (lambda res, data: bh.ritest(res, 3), "variable is 3; pass the name"),
    "another name": (lambda res, data: bh.ritest(res, "dose"), "not a column of the data on the right-hand side"),
    "not a column": (
        lambda res, data: bh.ritest(bh.OLS(data.y, data[["x"]]).fit(), "treated"),
        "which is not a regressor; the names are 'x'",
    ),
    "reps": (lambda res, data: bh.ritest(res, "treated", reps=0), "reps is 0"),
    "seed": (lambda res, data: bh.ritest(res, "treated", seed=-1), "seed is -1"),
    "statistic": (
        lambda res, data: bh.ritest(res, "treated", statistic="z"),
        "statistic is 'z'; use one of 't', 'coef'",
    ),
    "alternative": (lambda res, data: bh.ritest(res, "treated", alternative="both"), "alternative is 'both'"),
    "coefficient": (lambda res, data: bh.ritest(res, "treated", coefficient="z"), "coefficient is 'z'"),
    "several": (
        lambda res, data: bh.ritest(bh.ols("y ~ C(dose)", data).fit(), "dose"),
        "makes 2 coefficients; pass coefficient, one of 'C(dose)[T.1]'",
    ),
    "a bootstrap": (
        lambda res, data: bh.ritest(res.with_cov(bh.Bootstrap(9, seed=1)), "treated"),
        "use statistic='coef', or another covariance",
    ),
    "within clusters": (
        lambda res, data: bh.ritest(bh.ols("y ~ dose", data).fit(), "dose", clusters="school"),
        "varies within clusters 'school'",
    ),
    "strata": (
        lambda res, data: bh.ritest(res, "treated", clusters="school", strata="dose"),
        "strata varies within clusters 'school'",
    ),
    "two strata": (lambda res, data: bh.ritest(res, "treated", strata=["dose", "district"]), "strata has 2 columns"),
    "no other": (
        lambda res, data: bh.ritest(res, "treated", strata="school"),
        "the same for all units of each stratum",
    ),
    "no variance": (
        lambda res, data: bh.ritest(bh.ols("y ~ one", data.assign(one=1.0)).fit(rank="drop"), "one"),
        "is the same in all rows in use",
    ),
    "counts": (
        lambda res, data: bh.ritest(bh.ols("y ~ treated", data, freq_weights="dose").fit(), "treated"),
        "a row stands for several",
    ),
    "instruments": (
        lambda res, data: bh.ritest(bh.ols("y ~ treated | x ~ dose", data).fit(), "treated"),
        "test the reduced form",
    ),
    "an effect": (
        lambda res, data: bh.ritest(bh.ols("y ~ x + treated:x | treated", data).fit(), "treated"),
        "is absorbed as an effect",
    ),
    "other options": (
        lambda res, data: bh.ritest(bh.quantreg("y ~ treated", data).fit(q=0.2), "treated", statistic="coef"),
        "pass the options that fit was called",
    ),
    "no estimate": (
        lambda res, data: bh.ritest(
            bh.ols("y ~ treated + again", data.assign(again=data.treated)).fit(rank="drop"), "again"
        ),
        "has no estimate, or no standard error",
    ),
    "lags": (
        lambda res, data: bh.ritest(
            bh.ols("y ~ np.log(dose)", data[data.dose > 0].assign(zero=0)).fit(), "dose", reps=2
        ),
        None,
    ),
    "a picture": (lambda res, data: bh.plot_ritest(res), "plot_ritest needs what ritest returned"),
}


@pytest.mark.filterwarnings("ignore::betahat.CollinearityWarning", "ignore::betahat.WeakInstrumentWarning")
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_permuted_is_a_sentence(trial, case):
    call, message = WRONG[case]
    res = bh.ols("y ~ treated + x", trial).fit()
    if message is None:
        assert call(res, trial).reps == 2
        return
    with pytest.raises(bh.BetahatError, match=re.escape(message)):
        call(res, trial)


def test_missing_values_that_an_assignment_makes(trial):
    """A transformation that has no value for treatments that rows in use had elsewhere."""
    data = trial.assign(amount=trial.dose + 1.0)
    res = bh.ols("y ~ np.where((amount > 2) & (x < -9), np.nan, amount)", data).fit()
    data.loc[0, "x"] = -10.0
    spoilt = bh.ols(
        "y ~ np.where((amount > 2) & (x < -9), np.nan, amount)", data.assign(amount=np.r_[1.0, data.amount[1:]])
    ).fit()
    (name,) = [name for name in res.names if "amount" in name]
    assert bh.ritest(res, "amount", reps=3, seed=1, coefficient=name).reps == 3
    with pytest.raises(bh.EstimationError, match="missing values under other assignments"):
        bh.ritest(spoilt, "amount", reps=99, seed=1, coefficient=name)


def test_rows_in_turn_are_refused(trial, tmp_path):
    trial.to_parquet(tmp_path / "rows.parquet")
    res = bh.ols("y ~ treated + x", tmp_path / "rows.parquet").fit()
    with pytest.raises(bh.EstimationError, match="needs all rows in memory"):
        bh.ritest(res, "treated")


def test_missing_treatments_of_rows_in_use(trial):
    data = trial.assign(arm=trial.arm.where(trial.index != 5))
    res = bh.ols("y ~ arm.isna() + x", data).fit()
    with pytest.raises(bh.DataError, match="'arm' is missing in rows in use"):
        bh.ritest(res, "arm")


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_the_picture(trial, alternative):
    pytest.importorskip("matplotlib")
    res = bh.ols("y ~ treated + x", trial).fit("HC1")
    test = bh.ritest(res, "treated", reps=199, seed=1, alternative=alternative)
    axes = bh.plot_ritest(test)
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == test.reps + test.count
    few = bh.ritest(
        bh.ols("hit ~ treated", trial).fit(),
        "treated",
        clusters="school",
        alternative=alternative,
        statistic="coef",
        reps=9,
        seed=1,
    )
    bars = [bar.get_height() for bar in bh.plot_ritest(few).patches]
    assert sum(bars) == few.reps + few.count
