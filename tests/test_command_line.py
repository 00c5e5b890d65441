"""The command line says what the same lines of Python say, and every mistake is one sentence and the exit code 2."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.__main__ import _COLUMNS, _FAMILY, _MODELS, main

TIME = re.compile(r"(Date|Time): +[^ ].*?(?=  )")


@pytest.fixture
def frame():
    r = np.random.default_rng(0)
    data = pd.DataFrame({"x": r.normal(size=90), "state": np.arange(90) % 15, "year": np.arange(90) % 12})
    data["wage"] = np.exp(0.3 * data.x + r.normal(size=90))
    data["union"] = (data.wage > 1).astype(int)
    return data


WRITERS = {
    ".csv": lambda d, p: d.to_csv(p, index=False),
    ".parquet": lambda d, p: d.to_parquet(p),
    ".feather": lambda d, p: d.to_feather(p),
    ".dta": lambda d, p: d.to_stata(p, write_index=False),
}


def _same(printed, expected):
    assert TIME.sub("", printed) == TIME.sub("", expected)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_summary_of_any_file(frame, ending, tmp_path, capsys):
    path = tmp_path / f"wages{ending}"
    WRITERS[ending](frame, path)
    assert main(["np.log(wage) ~ x", str(path)]) == 0
    _same(capsys.readouterr().out, f"{bh.ols('np.log(wage) ~ x', frame).fit().summary()}\n")


def test_a_comparison_and_its_latex(frame, tmp_path, capsys):
    data, table = tmp_path / "wages.csv", tmp_path / "table.tex"
    frame.to_csv(data, index=False)
    options = ["--cov", "HC3", "nonrobust", "--cluster", "state", "--latex", str(table)]
    assert main(["wage ~ x", str(data), *options]) == 0
    res = bh.ols("wage ~ x", frame).fit("HC3")
    comparison = bh.compare(res, ["HC3", "nonrobust", bh.Cluster("state")])
    _same(capsys.readouterr().out, f"{res.summary()}\n\n{comparison}\n\nThe table was written to {table}.\n")
    assert table.read_text() == comparison.to_latex()


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_clusters_in_several_ways_and_other_models(frame, tmp_path, capsys):
    path = tmp_path / "wages.csv"
    frame.to_csv(path, index=False)
    assert main(["union ~ x", str(path), "--model", "logit", "--cluster", "state", "year"]) == 0
    res = bh.logit("union ~ x", frame).fit(bh.Cluster(["state", "year"]))
    _same(capsys.readouterr().out, f"{res.summary()}\n")


def test_warnings_are_sentences(frame, tmp_path, capsys):
    path = tmp_path / "wages.csv"
    frame.assign(few=frame.state % 4).to_csv(path, index=False)
    assert main(["wage ~ x", str(path), "--cluster", "few"]) == 0
    assert re.fullmatch(r"betahat: groups 'few' has 4 clusters, [^\n]*\.\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wage ~ z", "wages.csv"], "'z'"),
        (["wage ~ x", "wages.xls"], "'.csv', '.parquet', '.feather', '.dta'"),
        (["wage ~ x", "wage.csv"], "There is no file 'wage.csv'"),
        (["wage ~ x", "empty.csv"], "cannot be read as .csv"),
        (["wage ~ x", "wages.csv", "--cov", "HC9"], "did you mean"),
        (["wage ~ x", "wages.csv", "--cluster", "stat"], "'stat' is not a column"),
        (["wage ~ x", "wages.csv", "--latex", "nowhere/table.tex"], "does not exist; create"),
        (["wage ~ x", "bad.parquet"], "cannot be read as .parquet"),
        (["wage ~ x", "bad.dta"], "cannot be read as .dta"),
        (["wage ~ x", "wages.csv", "--family", "poisson"], "--family belongs to --model glm, and the model is 'ols'"),
        (["wage ~ x", "wages.csv", "--model", "ols", "--status", "union"], "--status belongs to --model aft and phreg"),
        (
            ["wage ~ x", "wages.csv", "--model", "glm", "--status", "union"],
            "and the model is 'glm'; leave --status out",
        ),
        (["wage ~ x", "wages.csv", "--model", "aft", "--entry", "x"], "--entry belongs to --model phreg"),
        (["wage ~ x", "wages.csv", "--model", "quantreg", "--strata", "state"], "--strata belongs to --model phreg"),
        (["wage ~ x", "wages.csv", "--model", "glm", "--family", "gama"], "'gama'"),
    ],
)
def test_mistakes_are_one_sentence(frame, arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame.to_csv("wages.csv", index=False)
    for name in ("wages.xls", "empty.csv"):
        (tmp_path / name).write_text("")
    for name in ("bad.parquet", "bad.dta"):
        (tmp_path / name).write_text("no such thing at all")
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"betahat: [^\n]*\.\n", printed.err), printed.err
    assert says in printed.err


CODE = [
    *(
        "pd.read_pickle('x.pkl')",
        "sys.exit(3)",
        "sys.exit(3)(x)",
        "Path('made').touch()",
        "Path('made').touch().nothing()",
    ),
    *(
        "open('made', 'w')",
        "__import__('os').mkdir('made')",
        "main(['wage ~ x', 'wages.csv'])",
        "x.to_csv('made')",
        "listed",
        "np",
    ),
    *(
        "Q(open('made', 'w'))",
        "I(Path)",
        "read_table",
        "np.save('made', x)",
        "(lambda: x)()",
        "[open('made', 'w') for i in x]",
    ),
    *("bs(x, df=10**9)", "np.ones(10**10)", "x + `sys`", "options", "warnings", "x.values", "pd", "C(x, Path)"),
]


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("formula", ["wage ~ {}", "{} ~ x", "wage ~ x + {} + z", "wage ~ {} x"])
@pytest.mark.parametrize("model", ["ols", "mnlogit"])
def test_formulas_run_no_code(frame, code, formula, model, tmp_path, capsys, monkeypatch):
    """Neither Python's nor betahat's own, whether the formula is good otherwise or not."""
    monkeypatch.chdir(tmp_path)
    frame.to_csv("wages.csv", index=False)
    assert main([formula.format(code), "wages.csv", "--model", model]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"betahat: [^\n]*\.\n", printed.err), printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["wages.csv"]


def test_formulas_compute(frame, tmp_path, capsys):
    path = tmp_path / "wages.csv"
    frame.to_csv(path, index=False)
    formula = (
        "np.log(wage + 99) ~ bs(x, df=4) + C(state % 3, Sum) + (x > 0) + abs(x):center(wage) + np.where(x > 1, x, 0)"
    )
    assert main([formula, str(path)]) == 0
    res = bh.ols(formula, pd.read_csv(path)).fit()
    _same(capsys.readouterr().out, f"{res.summary()}\n")


def test_it_runs_as_a_module(frame, tmp_path):
    path = tmp_path / "wages.csv"
    frame.to_csv(path, index=False)
    done = subprocess.run(
        [sys.executable, "-m", "betahat", "wage ~ x", str(path)], capture_output=True, text=True, check=True
    )
    assert "OLS Regression Results" in done.stdout
    assert done.stderr == ""


def test_robust_regression_has_a_default_of_its_own(frame, tmp_path, capsys):
    path = tmp_path / "wages.csv"
    frame.to_csv(path, index=False)
    assert main(["wage ~ x", str(path), "--model", "rlm"]) == 0
    res = bh.rlm("wage ~ x", pd.read_csv(path)).fit()
    assert res.cov_type == "H1"
    _same(capsys.readouterr().out, f"{res.summary()}\n")
    assert main(["wage ~ x", str(path), "--model", "rlm", "--cov", "nonrobust"]) == 2
    assert "use 'H1', 'H2', 'H3', or a sandwich such as 'HC0'" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["aft", "phreg"])
def test_times_that_had_not_ended(frame, model, tmp_path, capsys):
    path = tmp_path / "wages.csv"
    frame.to_csv(path, index=False)
    assert main(["wage ~ x", str(path), "--model", model, "--status", "union"]) == 0
    res = getattr(bh, model)("wage ~ x", pd.read_csv(path), status="union").fit()
    _same(capsys.readouterr().out, f"{res.summary()}\n")
    assert main(["wage ~ x", str(path), "--model", model, "--status", "print(union)"]) == 2
    assert "--status is 'print(union)'; pass a column of the data" in capsys.readouterr().err


def test_durations(capsys):
    lung = str(Path(__file__).parents[1] / "docs" / "data" / "lung.csv")
    options = ["--model", "phreg", "--status", "status", "--strata", "sex", "--cov", "HC0"]
    assert main(["time ~ age + Q('ph.ecog')", lung, *options]) == 0
    model = bh.phreg("time ~ age + Q('ph.ecog')", pd.read_csv(lung), status="status", strata="sex")
    _same(capsys.readouterr().out, f"{model.fit('HC0').summary()}\n")
    for option in ("--entry", "--strata"):
        assert main(["time ~ age", lung, "--model", "phreg", option, "print(1)"]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"{option} is 'print(1)'; pass a column of the data" in printed.err


@pytest.mark.parametrize("option", [*_FAMILY, *_COLUMNS])
@pytest.mark.parametrize("model", _MODELS)
def test_options_go_with_models(frame, model, option, tmp_path, capsys):
    """Every pair is fitted, or refused in a sentence: none is unknown to the model that it is said to belong to."""
    path = tmp_path / "wages.csv"
    frame.assign(state=frame.state % 3, zero=0).to_csv(path, index=False)
    value = {"family": "gaussian", "status": "union", "entry": "zero", "strata": "state"}[option]
    belongs = model in (_FAMILY | _COLUMNS)[option][0]
    code = main(["wage ~ x", str(path), "--model", model, f"--{option}", value])
    printed = capsys.readouterr().err
    assert (f"--{option} belongs to" in printed) != belongs
    assert code == (0 if belongs else 2), printed
    if not belongs:
        assert re.fullmatch(r"betahat: [^\n]*\.\n", printed), printed


def test_the_page_names_every_model():
    page = Path(__file__).parents[1].joinpath("docs", "command-line.rst").read_text()
    (listed,) = re.findall(r"- ``--model``: (.*?)\.\n", page, re.DOTALL)
    assert re.findall(r"``(\w+)``", listed) == list(_MODELS)
    for option, (models, _) in (_FAMILY | _COLUMNS).items():
        assert all(re.search(rf"``--{option}``[^:]*: of [^,]*``{model}``", page) for model in models)


@pytest.fixture
def parts(frame, tmp_path):
    """Return a pattern of three files, of which the last has a level of its own."""
    folder = tmp_path / "parts"
    folder.mkdir()
    frame["g"] = np.where(np.arange(90) < 70, "a", np.where(np.arange(90) < 80, "b", "c"))
    for i in range(3):
        frame[30 * i : 30 * i + 30].to_parquet(folder / f"{i}.parquet")
    return folder


@pytest.mark.parametrize(
    ("model", "options"), [("ols", ["--cov", "HC3", "--cluster", "state"]), ("logit", ["--cov", "HC1"])]
)
def test_many_files_print_what_one_does(frame, parts, model, options, tmp_path, capsys):
    formula = {"ols": "np.log(wage) ~ x + g", "logit": "union ~ x + g"}[model]
    frame.to_parquet(tmp_path / "all.parquet")
    assert main([formula, str(tmp_path / "all.parquet"), "--model", model, *options]) == 0
    true = capsys.readouterr().out
    each = [str(path) for path in sorted(parts.iterdir())]
    ways = [[str(parts / "*.parquet")], each, [str(parts)], [str(parts), "--engine", "threads"]]
    for way in [*ways, [str(tmp_path / "all.parquet"), "--engine", "threads"]]:
        assert main([formula, *way, "--model", model, *options]) == 0
        _same(capsys.readouterr().out, true)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ray_prints_the_same(ray, parts, capsys):
    assert main(["wage ~ x", str(parts)]) == 0
    alone = capsys.readouterr().out
    assert main(["wage ~ x", str(parts), "--engine", "ray"]) == 0
    assert capsys.readouterr().out == alone
    assert ray.is_initialized()


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_processes_and_dask_print_the_same(engine, parts, capsys, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    arguments = ["np.log(wage) ~ x + g", str(parts / "*.parquet"), "--cov", "HC1"]
    assert main(arguments) == 0
    true = capsys.readouterr().out
    if engine == "processes":
        assert main([*arguments, "--engine", engine]) == 0
    else:
        distributed = pytest.importorskip("distributed")
        with distributed.LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
            assert main([*arguments, "--engine", f"dask:{cluster.scheduler_address}"]) == 0
    _same(capsys.readouterr().out, true)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wage ~ z", "{}/*.parquet"], "'z'"),
        (["wage ~ open('x')", "{}"], "on the command line formulas may only contain"),
        (["wage ~ x", "{}/*.feather"], "No file matches"),
        (["wage ~ x", "{}/0.parquet", "{}/9.parquet"], "9.parquet"),
        (
            ["wage ~ x", "{}", "--model", "phreg", "--status", "nothing"],
            "--status is 'nothing'; pass a column of the data",
        ),
        (["wage ~ x", "{}", "--engine", "thread"], "--engine is 'thread'; use threads, processes, ray, or dask:"),
        (["wage ~ x", "{}", "--engine", "dask:"], "--engine is 'dask:'; use threads"),
    ],
)
def test_mistakes_of_many_files_are_one_sentence(parts, arguments, says, capsys):
    assert main([argument.replace("{}", str(parts)) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"betahat: [^\n]*\.\n", printed.err), printed.err
    assert says in printed.err


def test_a_scheduler_that_is_not_there(parts, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("betahat.__main__._TIMEOUT", 0.2)
    assert main(["wage ~ x", str(parts), "--engine", "dask:tcp://127.0.0.1:9"]) == 2
    assert "There is no scheduler of dask at 'tcp://127.0.0.1:9'" in capsys.readouterr().err


def test_lags_within_a_panel(tmp_path, capsys):
    path = tmp_path / "panel.csv"
    panel = pd.DataFrame({"firm": [1, 1, 1, 2, 2, 2, 3, 3, 3], "year": [1, 2, 3] * 3, "y": [2, 1, 5, 3, 4, 8, 6, 9, 7]})
    panel.to_csv(path, index=False)
    assert main(["y ~ lag(y)", str(path), "--panel", "firm", "--time", "year"]) == 0
    assert "No. Observations:                   6" in capsys.readouterr().out
    assert main(["y ~ lag(y)", str(path), "--panel", "firm", "--time", "print(year)"]) == 2
    assert "--time is 'print(year)'; pass a column of the data" in capsys.readouterr().err
