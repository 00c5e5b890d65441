"""What regression tables say: every number is that of the result, and every option does what its name says."""

import math
import re

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.tables.coefficients import _under
from betahat.tables.numbers import number
from betahat.tables.stars import read_stars


def cells(table):
    """Return the printed rows, by name; rows below a coefficient have its name and a number."""
    found, name, below = {}, "", 0
    for line in table.layout.lines:
        below = 0 if line.name else below + 1
        name = line.name or name
        found[(name, below) if below else name] = [cell.text + cell.marks for cell in line.cells]
    return found


def test_each_column_is_its_own_result(short, long, logit):
    rows = cells(bh.regtable([short, long, logit], digits=5))
    for i, result in enumerate([short, long, logit]):
        for name in result.params.index:
            star = read_stars(True)(result.pvalues[name])
            assert rows[name][i] == f"{result.params[name]:.5f}{star}"
            assert rows[name, 1][i] == f"({result.bse[name]:.5f})"
    assert rows["exper"][0] == rows["exper"][2] == ""
    assert rows["Std. errors"] == ["nonrobust", "HC3", "nonrobust"]
    assert rows["N"] == ["90", "90", "90"]
    assert rows["R²"] == [f"{short.rsquared:.5f}", f"{long.rsquared:.5f}", ""]
    assert rows["Pseudo R²"] == ["", "", f"{logit.prsquared:.5f}"]
    assert "Clusters" not in rows


def test_the_frame_has_the_numbers_unrounded(short, long):
    frame = bh.regtable([short, long], below=["se", "t", "p", "ci"]).to_frame()
    assert list(frame.loc["educ"].index) == ["coef", "std err", "t", "P>|t|", "[0.025", "0.975]"]
    for label, result in (("(1)", short), ("(2)", long)):
        for name in result.params.index:
            low, high = result.conf_int().loc[name]
            expected = [result.params[name], result.bse[name], result.tvalues[name], result.pvalues[name], low, high]
            np.testing.assert_array_equal(frame.loc[name][label], expected)
    assert frame.loc["exper"]["(1)"].isna().all()


@pytest.mark.parametrize(
    ("below", "printed", "sentence"),
    [
        ("se", "({bse})", "Standard errors in parentheses."),
        ("t", "({t})", "t statistics in parentheses."),
        ("p", "({p})", "p-values in parentheses."),
        ("ci", "[{low}, {high}]", "90% confidence intervals in brackets."),
    ],
)
def test_what_stands_below(short, below, printed, sentence):
    table = bh.regtable(short, below=below, digits=6, alpha=0.1)
    low, high = short.conf_int(0.1).loc["educ"]
    numbers = {
        "bse": short.bse["educ"],
        "t": short.tvalues["educ"],
        "p": short.pvalues["educ"],
        "low": low,
        "high": high,
    }
    assert cells(table)["educ", 1] == [printed.format(**{key: f"{value:.6f}" for key, value in numbers.items()})]
    assert table.layout.notes == (sentence,)


def test_nothing_below(short):
    table = bh.regtable(short, below=None, stars=False)
    assert [line.name for line in table.layout.body[0].lines] == ["Intercept", "educ"]
    assert table.layout.sentences == ()


def test_z_statistics_are_called_so(logit, short):
    assert bh.regtable(logit, below="t").layout.notes == ("z statistics in parentheses.",)
    assert bh.regtable([logit, short], below="t").layout.notes == ("t and z statistics in parentheses.",)


def test_one_model_under_several_covariances(short):
    estimators = [
        "nonrobust",
        "HC3",
        bh.Cluster("state", kind="CR2"),
        bh.Cluster(["state", "year"]),
        bh.Bootstrap(99, seed=1),
    ]
    table = bh.regtable(short, cov=estimators)
    rows = cells(table)
    assert rows["Std. errors"] == ["nonrobust", "HC3", "CR2", "cluster", "bootstrap"]
    assert rows["Clusters"] == ["", "", "state (12)", "state (12), year (15)", ""]
    for i, estimator in enumerate(estimators):
        result = short.with_cov(estimator)
        np.testing.assert_array_equal(
            table.to_frame().loc["educ"].iloc[:, i], [result.params["educ"], result.bse["educ"]]
        )
        assert rows["educ"][i].count("*") == len(read_stars(True)(result.pvalues["educ"]))


@pytest.mark.parametrize(
    ("models", "cov", "labels"),
    [
        (1, "HC1", ["HC1"]),
        (3, "HC1", ["HC1"] * 3),
        (2, ["HC1", "HC3"], ["HC1", "HC3"]),
        (2, ["HC1", "HC2", "HC3", "HC4"], ["HC1", "HC2", "HC3", "HC4"]),
        (4, ["HC1", None], ["HC1", "nonrobust"] * 2),
    ],
)
def test_models_and_covariances_are_recycled(short, models, cov, labels):
    assert cells(bh.regtable([short] * models, cov=cov))["Std. errors"] == labels


def test_clusters_without_a_name_are_counted(short, data):
    assert cells(bh.regtable(short, cov=bh.Cluster(data["state"].to_numpy())))["Clusters"] == ["12"]
    assert cells(bh.regtable(short, cov=bh.Cluster(data["state"])))["Clusters"] == ["state (12)"]
    assert cells(bh.regtable(short, cov=bh.Jackknife("state")))["Clusters"] == ["state (12)"]
    assert cells(bh.regtable(short, cov=bh.Bootstrap(99, clusters="state", seed=1)))["Clusters"] == ["state (12)"]


def test_heads(short, long, logit):
    layout = bh.regtable({"Men": short, "Women": long, "All": logit}, heads=["OLS", "OLS", "Logit"]).layout
    texts = [[(cell.text, cell.span) for cell in row] for row in layout.heads]
    assert texts == [
        [("wage", 2), ("work", 1)],
        [("Men", 1), ("Women", 1), ("All", 1)],
        [("OLS", 2), ("Logit", 1)],
        [("(1)", 1), ("(2)", 1), ("(3)", 1)],
    ]
    bare = bh.regtable([short, long], dependent=False, numbers=False, heads=[["a", "b"], ["c", "c"]]).layout
    assert [[cell.text for cell in row] for row in bare.heads] == [["a", "b"], ["c"]]
    assert bh.regtable([short], rename={"wage": "Hourly wage"}).layout.heads[0][0].text == "Hourly wage"
    assert bh.regtable([short], dependent=False, numbers=False).layout.columns == 1


def test_coefficients_are_chosen_renamed_and_grouped(long):
    rename = {"educ": "Education", re.compile(r"C\((\w+)\)\[T\.(\w+)\]"): r"\1: \2"}
    groups = {"Human capital": ["exper", "educ"], "Regions": re.compile("region")}
    table = bh.regtable(long, rename=rename, groups=groups, below=None)
    blocks = [(block.title, [line.name for line in block.lines]) for block in table.layout.body]
    assert blocks == [
        ("Human capital", ["Education", "exper"]),
        ("Regions", ["region: 1", "region: 2"]),
        ("", ["Intercept"]),
    ]
    kept = bh.regtable(long, drop=["Intercept", re.compile("region")], order="exper", below=None)
    assert [line.name for line in kept.layout.body[0].lines] == ["exper", "educ"]


def test_coefficients_that_are_renamed_alike_share_a_row(short, data):
    other = bh.ols("wage ~ exper", data).fit()
    both = bh.ols("wage ~ educ + exper", data).fit()
    rename = {"educ": "X", "exper": "X"}
    table = bh.regtable([short, other], rename=rename, stars=False, below=["se", "ci"])
    assert cells(table)["X"] == [number(short.params["educ"]), number(other.params["exper"])]
    assert [line.name for line in table.layout.body[0].lines if line.name] == ["Intercept", "X"]
    assert table.to_frame().loc[("X", "coef")].tolist() == [short.params["educ"], other.params["exper"]]
    with pytest.raises(bh.OptionError, match="rename gives 'educ', 'exper' of the same model the name 'X'"):
        bh.regtable([short, both], rename=rename)
    # Under titles of their own they are told apart.
    apart = bh.regtable(both, rename=rename, groups={"Mother": "educ", "Father": "exper"}, below=None, drop="Intercept")
    assert [(block.title, block.lines[0].name) for block in apart.layout.body] == [("Mother", "X"), ("Father", "X")]


def test_equations_are_renamed(data):
    rename = {"choice=1": "Bus", re.compile("choice=2"): "Train", re.compile("^"): ""}
    table = bh.regtable([bh.mnlogit("choice ~ educ", data).fit(), bh.ols("wage ~ educ", data).fit()], rename=rename)
    assert [block.title for block in table.layout.body] == ["Bus", "Train", ""]
    assert table.to_frame().loc["Bus:educ"].notna().any(axis=None)


def test_statistics(short, logit):
    wanted = {"Observations": "nobs", "AIC": "aic", "F": "fvalue", "Mean": lambda res: float(res.model.endog.mean())}
    rows = cells(bh.regtable([short, logit], stats=wanted, digits=3))
    assert rows["Observations"] == ["90", "90"]
    assert rows["AIC"] == [f"{short.aic:.3f}", f"{logit.aic:.3f}"]
    assert rows["F"] == [f"{short.fvalue:.3f}", ""]
    assert rows["Mean"] == [f"{short.model.endog.mean():.3f}", f"{logit.model.endog.mean():.3f}"]
    assert list(cells(bh.regtable(short, stats=["llf", "rsquared_adj"])))[-2:] == ["Log-Likelihood", "Adjusted R²"]
    assert bh.regtable(short, stats=[]).layout.foot == ()
    assert bh.regtable(short, stats=[], below=None, stars=False).to_text().splitlines()[-1].startswith("====")
    assert cells(bh.regtable(short, stats={1: lambda res: np.True_, 2: lambda res: None}))["1"] == ["True"]


def test_extra_rows_and_notes(short, long):
    table = bh.regtable([short, long], extra={"Regions": ["no", "yes"], "Share": [0.123456, 2]}, notes=["One.", "Two."])
    rows = cells(table)
    assert rows["Regions"] == ["no", "yes"]
    assert rows["Share"] == ["0.1235", "2"]
    assert table.to_text().splitlines()[-4:] == [
        "Standard errors in parentheses.",
        "One.",
        "Two.",
        "* p<0.1, ** p<0.05, *** p<0.01",
    ]


def test_extra_rows_of_every_kind(short, long):
    import torch

    extra = {
        "Years": np.array([1990, 2000]),
        "None": [None, math.nan],
        "Mean": pd.Series([0.25, np.float32(0.5)]),
        "Tensor": [torch.tensor(1.5), np.False_],
        "Texts": (text for text in ("a", "")),
    }
    rows = cells(bh.regtable([short, long], extra=extra))
    assert [rows[name] for name in extra] == [
        *(["1990", "2000"], ["", ""], ["0.2500", "0.5000"], ["1.5000", "False"], ["a", ""]),
    ]


def test_results_of_any_iterable(short, long):
    expected = bh.regtable([short, long]).to_text()
    assert bh.regtable(result for result in (short, long)).to_text() == expected
    assert bh.regtable({"a": short, "b": long}.values()).to_text() == expected


def test_no_title_and_no_empty_notes(short):
    table = bh.regtable(short, title="", notes=["", " ", "One."])
    assert table.to_text().startswith("====")
    assert table.layout.notes == ("Standard errors in parentheses.", "One.")
    assert "<caption" not in table.to_html()
    assert [block.title for block in bh.regtable(short, groups={1: ["educ"]}).layout.body] == ["1", ""]
    assert "\n1\n" in bh.regtable(short, groups={1: ["educ"]}).to_text()


@pytest.mark.parametrize(("part", "text"), [("se", "(2.00)"), ("t", ""), ("p", ""), ("ci", "")])
def test_what_cannot_be_computed_is_empty(part, text):
    values, bounds = np.array([1.0, 2.0, math.nan, math.nan]), np.full(2, math.nan)
    assert _under(part, 0, values, bounds, lambda value: number(value, digits=2)).text == text


def test_stars_of_every_kind(short):
    pvalues = (0.5, 0.1, 0.0999, 0.05, 0.04, 0.01, 0.009, math.nan)
    assert [read_stars(True)(p) for p in pvalues] == ["", "", "*", "*", "**", "**", "***", ""]
    assert [read_stars((0.01, 0.05))(p) for p in pvalues] == ["", "", "", "", "*", "*", "**", ""]
    assert [read_stars({"*": 0.05, "+": 0.1})(p) for p in pvalues] == ["", "", "+", "+", "*", "*", "*", ""]
    assert read_stars({"*": 0.05, "+": 0.1}).note == "+ p<0.1, * p<0.05"
    assert "*" not in bh.regtable(short, stars=False).to_text()


def test_numbers():
    assert [number(value) for value in (0.0, 9.99999, 123.45678, 123456.7, 1e9, -4.2e-5)] == [
        *("0.0000", "10.0000", "123.457", "123457", "1.00e+09", "-4.20e-05"),
    ]
    assert [number(-0.0), number(-0.0, digits=2), number(-0.0, significant=2)] == ["0.0000", "0.00", "0.0"]
    assert [number(value, digits=1) for value in (0.04, -0.04, 12.36)] == ["0.0", "0.0", "12.4"]
    assert [number(value, significant=3) for value in (0.0, 9.996, 0.00012345, 1234.56, 1e-9)] == [
        *("0.00", "10.0", "0.000123", "1235", "1.00e-09"),
    ]
    assert [number(value) for value in (math.inf, -math.inf, math.nan)] == ["inf", "-inf", ""]


def test_thousands(data):
    big = bh.ols("wage ~ educ", data.assign(wage=data.wage * 1e6)).fit()
    rows = cells(bh.regtable(big, thousands=",", digits=2, stars=False, below=["se", "ci"]))
    low, high = big.conf_int().loc["educ"]
    assert rows["educ"] == [f"{big.params['educ']:,.2f}"]
    assert rows["educ", 1] == [f"({big.bse['educ']:,.2f})"]
    assert rows["educ", 2] == [f"[{low:,.2f}, {high:,.2f}]"]
    for separator in (" ", "'", ""):
        rows = cells(bh.regtable(big, thousands=separator, digits=2, stars=False))
        assert rows["educ"] == [f"{big.params['educ']:,.2f}".replace(",", separator)]
    counts = {"One": lambda res: 1234567, "Two": lambda res: -1234.5, "Three": lambda res: 999}
    shown = {thousands: [row[0] for row in cells(bh.regtable(big, stats=counts, thousands=thousands, keep="educ", below=None)).values()][1:] for thousands in (None, ",", "", "'")}  # fmt: skip
    assert shown[None] == ["1,234,567", "-1234.500", "999"]
    assert shown[","] == ["1,234,567", "-1,234.500", "999"]
    assert shown[""] == ["1234567", "-1234.500", "999"]
    assert shown["'"] == ["1'234'567", "-1'234.500", "999"]
    page = bh.regtable(big, thousands=" ", digits=2, stars=False).to_latex()
    assert f"{big.params['educ']:,.2f}".replace(",", r"\,") in page
    page = bh.regtable(big, thousands=",", digits=2, stars=False).to_latex(siunitx=True)
    assert f" & {big.params['educ']:.2f} " in page
    assert "group-separator={,}" in page
    assert cells(bh.compare(big, ["HC1"], thousands="", digits=0))["educ"][0] == f"{big.params['educ']:.0f}"


def test_a_sign_is_kept_beside_stars(data):
    """Rounding to zero loses the number, which stars say is not zero; its sign must not be lost as well."""
    small = bh.ols("wage ~ educ", data.assign(wage=-1e-5 * data.educ + 1e-7 * data.wage)).fit()
    rows = cells(bh.regtable(small, digits=3, below=["se", "t", "ci"], keep="educ"))
    assert rows["educ"] == ["-0.000***"]
    assert rows["educ", 1] == ["(0.000)"]
    assert rows["educ", 2][0].startswith("(-") or rows["educ", 2][0].startswith("[-")
    assert rows["educ", 3] == ["[-0.000, -0.000]"]
    assert cells(bh.regtable(small, digits=3, stars=False, keep="educ"))["educ"] == ["0.000"]
    assert "$-$0.000" in bh.regtable(small, digits=3).to_latex()
    assert cells(bh.regtable(small, significant=2, keep="educ"))["educ"] == [f"{small.params['educ']:.1e}***"]


def test_rows_that_indicate_coefficients(short, long, data):
    absorbed = bh.ols("wage ~ educ | region", data).fit()
    regions = {"Region effects": re.compile("region")}
    table = bh.regtable(
        [short, long, absorbed], indicate=regions, rename={"region effects": "Region effects"}, below=None
    )
    assert [line.name for line in table.layout.body[0].lines] == ["Intercept", "educ", "exper"]
    assert cells(table)["Region effects"] == ["", "yes", "yes"]
    apart = cells(bh.regtable([short, long, absorbed], indicate=regions))
    assert (apart["Region effects"], apart["region effects"]) == (["", "yes", ""], ["", "", "yes"])
    assert cells(bh.regtable(absorbed, rename={"region": "Place"}))["Place effects"] == ["yes"]


def test_equations_are_groups(data):
    result = bh.mnlogit("choice ~ educ", data).fit()
    table = bh.regtable(result)
    assert [block.title for block in table.layout.body] == ["choice=1", "choice=2"]
    printed = [line.cells[0].text for block in table.layout.body for line in block.lines if line.name]
    assert printed == [number(value) for value in result.params.to_numpy().T.ravel()]
    with pytest.raises(bh.OptionError, match="already are groups"):
        bh.regtable(result, groups={"a": "educ"})


def test_coefficients_that_were_left_out_are_empty(data):
    with pytest.warns(bh.CollinearityWarning):
        result = bh.OLS(data["wage"], data[["educ"]].assign(twice=2 * data["educ"])).fit(rank="drop")
    rows = cells(bh.regtable(result, below=["se", "ci"]))
    assert rows["twice"] == rows["twice", 1] == rows["twice", 2] == [""]


def test_arrays_tensors_and_torch_models_have_tables(data):
    import torch

    x, y = data[["educ", "exper"]].to_numpy(), data["wage"].to_numpy()
    net = torch.nn.Linear(2, 1, dtype=torch.float64)
    module = bh.TorchModel(net, torch.nn.MSELoss(), torch.tensor(x), torch.tensor(y)[:, None]).fit()
    rows = cells(bh.regtable([bh.OLS(y, x).fit(), bh.OLS(torch.tensor(y), torch.tensor(x)).fit(), module], below=None))
    assert rows["x1"][0] == rows["x1"][1] != ""
    assert rows["Log-Likelihood"][2] != ""


def test_decimal_points_stand_below_each_other(short, long, logit):
    lines = bh.regtable([short, long, logit], stars=(0.2, 0.01)).to_text().splitlines()
    body = lines[lines.index(next(line for line in lines if line.startswith("Intercept"))) : -6]
    points = [
        {match.start() for match in re.finditer(r"\d(?=\.\d{4})", line)}
        for line in body
        if re.search(r"\d\.\d{4}", line)
    ]
    assert len(set().union(*points)) == 3
    assert len({len(line) for line in lines if line.startswith(("=", "-"))}) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cov": ["HC1", "HC2", "HC3"]}, "cov has 3 covariances for 2 models"),
        ({"cov": []}, "cov has 0 covariances"),
        ({"cov": "HC9"}, "HC9"),
        ({"below": "sd"}, "below is 'sd'; use some of 'se', 't', 'p', 'ci'"),
        ({"below": ["se", "se"]}, "each once"),
        ({"stars": 0.05}, "stars is 0.05; pass False for none"),
        ({"stars": (5, 1)}, "thresholds between 0 and 1"),
        ({"stars": {"*": 0.05, "+": 0.05}}, "marks with their thresholds"),
        ({"keep": "school"}, "'school', which matches no coefficient"),
        ({"drop": re.compile(".")}, "leave no coefficient"),
        ({"groups": {"A": "educ", "B": "educ"}}, "'educ' under several titles"),
        ({"groups": ["educ"]}, "groups needs a mapping"),
        ({"groups": {"A": "school"}}, "groups has 'school', which matches no coefficient"),
        ({"below": 3}, "below is 3; use some of"),
        ({"heads": np.array(["a", "b", "c"])}, "but the table 2 columns"),
        ({"heads": 3}, "heads has 3"),
        ({"notes": None}, "notes is None; pass a sentence"),
        ({"notes": [3]}, "notes is [3]"),
        ({"title": None}, "title is None; pass a string"),
        ({"digits": True}, "digits is True"),
        ({"heads": ["one"]}, "heads has ['one'], but the table 2 columns"),
        ({"heads": "ab"}, "pass a string for each column"),
        ({"stats": ["rsquare"]}, "'rsquare', which none of these results has"),
        ({"stats": "nobs"}, "pass a list of names"),
        ({"stats": {"N": 3}}, "functions of a result"),
        ({"extra": {"FE": ["yes"]}}, "but the table 2 columns; pass a list with a value for each"),
        ({"extra": ["yes", "no"]}, "extra needs a mapping"),
        ({"digits": 3, "significant": 3}, "cannot be combined"),
        ({"thousands": "."}, "thousands is '.'; pass ',', ' ' or"),
        ({"thousands": True}, "thousands is True; pass ','"),
        ({"indicate": ["educ"]}, "indicate needs a mapping of labels to coefficients, not a list"),
        ({"indicate": {"School": "school"}}, "indicate has 'school', which matches no coefficient"),
        ({"indicate": {"All": re.compile(".")}}, "keep, drop and indicate leave no coefficients"),
        ({"digits": -1}, "digits is -1; pass a whole number from 0 to 15"),
        ({"significant": 0}, "a whole number from 1 to 15"),
        ({"alpha": 1.5, "below": "ci"}, "alpha"),
        ({"rename": "educ"}, "rename needs a mapping"),
    ],
)
def test_bad_options_are_sentences(short, long, options, sentence):
    with pytest.raises(bh.OptionError, match=re.escape(sentence)) as caught:
        bh.regtable([short, long], **options)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("bad", [[], None, 3, "results", [1], {"a": pd.DataFrame()}, [pd.Series([1.0])]])
def test_what_is_no_result(bad):
    with pytest.raises(bh.OptionError, match="regtable needs results"):
        bh.regtable(bad)


def test_lists_of_results_are_panels(short):
    with pytest.raises(
        bh.OptionError, match=r"not a list; tables of several lists are put below each other by bh\.panels\."
    ):
        bh.regtable({"A": [short, short], "B": [short, short]})


def test_compare_says_what_it_must(long):
    table = bh.compare(long, ["nonrobust", "HC1", "HC1"])
    assert list(table.to_frame().columns) == ["coef", "nonrobust", "HC1 #2", "HC1 #3"]
    hc1 = long.with_cov("HC1")
    assert cells(table)["educ"][2] == f"({number(hc1.bse['educ'])}){read_stars(True)(hc1.pvalues['educ'])}"
    assert cells(table)["N"] == ["90", "", "", ""]


def test_compare_takes_heads_and_the_options_of_regtable(long):
    table = bh.compare(
        long,
        {"plain": "nonrobust", "by state": bh.Cluster("state")},
        keep=["educ", "exper"],
        order="exper",
        rename={"educ": "Education", "wage": "Wage"},
        stars=False,
        digits=2,
    )
    assert [line.name for line in table.layout.body[0].lines] == ["exper", "Education"]
    assert [cell.text for cell in table.layout.heads[0]] == ["coef", "plain", "by state"]
    assert table.layout.title == "Dependent variable: Wage"
    clustered = long.with_cov(bh.Cluster("state"))
    assert cells(table)["Education"] == [
        *(f"{long.params['educ']:.2f}", f"({long.with_cov('nonrobust').bse['educ']:.2f})"),
        f"({clustered.bse['educ']:.2f})",
    ]
    np.testing.assert_array_equal(table.to_frame().loc["Education", "by state"], clustered.bse["educ"])
    with pytest.raises(bh.OptionError, match="compare needs a list of covariances"):
        bh.compare(long, {})
    with pytest.raises(bh.OptionError, match="matches no coefficient"):
        bh.compare(long, ["HC1"], keep="school")


def test_equal_covariances_are_told_apart(long):
    table = bh.compare(long, [bh.Cluster("state"), bh.Cluster("year"), bh.HAC(1), bh.HAC(2), "HC1"])
    assert list(table.to_frame()) == ["coef", "cluster by state", "cluster by year", "HAC, 1 lag", "HAC, 2 lags", "HC1"]


def test_the_keys_of_covariances_are_heads(short, long):
    layout = bh.regtable(short, cov={"Classical": "nonrobust", "Robust": "HC1"}).layout
    assert [cell.text for cell in layout.heads[1]] == ["Classical", "Robust"]
    layout = bh.regtable({"Short": short, "Long": long}, cov={"Robust": "HC1"}).layout
    assert [cell.text for cell in layout.heads[1]] == ["Short", "Long"]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_pseudo_r2_of_a_glm_is_that_of_its_summary_in_any_unit(unit):
    random = np.random.default_rng(0)
    x = random.uniform(size=90)
    frame = pd.DataFrame({"x": x, "y": np.exp(x) * random.gamma(3, 1 / 3, 90) * unit})
    for family in ("gamma", "inversegaussian", "gaussian"):
        res = bh.glm("y ~ x", frame, family=family).fit()
        shown = f"{res.pseudo_rsquared():.4g}"
        assert re.search(rf"Pseudo R-squ. \(CS\): +{shown}", str(res.summary()))
        rows = [line for line in bh.regtable([res]).to_text().splitlines() if "Pseudo" in line]
        assert [line.split() for line in rows] == [["Pseudo", "R²", "(CS)", f"{res.pseudo_rsquared():.4f}"]]
        plain = bh.glm("y ~ x", frame.assign(y=frame.y / unit), family=family).fit()
        assert abs(res.goodness[1] - plain.goodness[1]) < 1e-9
        assert 0.0 < res.goodness[1] < 1.0
