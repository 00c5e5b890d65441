"""The command line: ``python -m betahat "lwage ~ educ + exper" wages.parquet --cov nonrobust HC1 --cluster state --latex table.tex``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from betahat.covariance.cluster import Cluster
from betahat.covariance.names import CovType
from betahat.data.datasets.open import dataset_of
from betahat.data.formulas.plain import check_plain
from betahat.data.frame import rows_of_frame, to_pandas
from betahat.errors import BetahatError, BetahatWarning, DataError, OptionError, listed, optional_module
from betahat.models.registry import MODELS
from betahat.tables.comparison import compare

_MODELS: dict[str, Callable[..., Any]] = {
    entry.command: entry.formula for entry in MODELS if entry.command is not None and entry.formula is not None
}
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".feather": pd.read_feather,
    ".dta": pd.read_stata,
}
_WILD = frozenset("*?[")
# Seconds to wait for a scheduler.
_TIMEOUT = 10
# What models take beside the formula: a name, or columns.
_FAMILY = {"family": (("glm",), "the family, such as gamma, with its default link")}
_COLUMNS = {
    "status": (("aft", "phreg"), "1 for a time that ended, 0 for a censored one"),
    "entry": (("phreg",), "when a row came under observation"),
    "strata": (("phreg",), "strata with a baseline hazard of their own"),
}

# What orders the rows of any model.
_ORDER = {"panel": "units, of lag, lead and diff in the formula", "time": "their periods"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit a formula to a file, print the summary and the standard errors, write a LaTeX table; return 0, or 2 after an error printed in one sentence."""
    options = _parser().parse_args(arguments)
    code = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BetahatWarning)
        try:
            _run(options)
        except BetahatError as error:
            print(f"betahat: {error}", file=sys.stderr)
            code = 2
    for sentence in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"betahat: {sentence}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace) -> None:
    if options.latex and not Path(options.latex).absolute().parent.is_dir():
        raise OptionError(
            f"The folder of {options.latex!r} does not exist; create it first, or write the table elsewhere."
        )
    given = {name: getattr(options, name) for name in (*_FAMILY, *_COLUMNS, *_ORDER)}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - _ORDER.keys():
        models, _ = (_FAMILY | _COLUMNS)[name]
        if options.model not in models:
            raise OptionError(
                f"--{name} belongs to --model {' and '.join(models)}, and the model is {options.model!r}; leave --{name} out, or name another model."
            )
    with _workers(options.engine) as workers:
        _fit_and_print(options, given, workers)


def _fit_and_print(options: argparse.Namespace, given: dict[str, Any], workers: Any) -> None:
    data, head = _data(options.data, streamed=workers is not None)
    check_plain(options.formula, head)
    for name, value in given.items():
        if name not in _FAMILY and value not in head:  # elsewhere it may be an expression, which is code
            raise OptionError(f"--{name} is {value!r}; pass a column of the data, one of {listed(head)}.")
    model = _MODELS[options.model](options.formula, data, engine=workers, **given)
    covariances: list[CovType] = list(options.cov)
    if options.cluster:
        covariances.append(Cluster(options.cluster))
    res = model.fit(cov_type=covariances[0]) if covariances else model.fit()
    table = compare(res, covariances or [res.cov_type])
    print(res.summary())
    if len(covariances) > 1:
        print()
        print(table)
    if options.latex:
        table.to_latex(options.latex)
        print(f"\nThe table was written to {options.latex}.")


def _data(paths: Sequence[str], *, streamed: bool) -> tuple[Any, pd.DataFrame]:
    """Return a file's table, or where there are several, or a folder, or they are to be streamed, a dataset; and a table with the columns, and perhaps rows."""
    files = list(map(Path, paths))
    alone = len(files) == 1 and not files[0].is_dir() and not (_WILD & set(paths[0]) and not files[0].exists())
    if (
        alone
        and (not streamed or files[0].suffix.lower() == ".dta" or not files[0].is_file())
        and "://" not in paths[0]
    ):
        table = read_table(files[0])
        return table, table
    dataset = dataset_of(list(paths))
    assert dataset is not None
    chunks = (chunk for part in dataset.partitions for chunk in part.chunks(dataset.columns))
    heads = (to_pandas(chunk, None) for chunk in chunks if rows_of_frame(chunk))
    return dataset, next(heads, pd.DataFrame(columns=list(dataset.columns)))


@contextmanager
def _workers(engine: str | None) -> Iterator[Any]:
    """Start the workers that an option names, and stop them in the end."""
    kind, _, address = (engine or "").partition(":")
    if engine is None:
        yield None
    elif engine == "threads":
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            yield threads
    elif engine == "processes":
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
            yield processes
    elif engine == "ray":
        ray = optional_module("ray", "--engine ray needs ray", "ray")
        begun = not ray.is_initialized()
        try:
            yield ray
        finally:
            if begun and ray.is_initialized():
                ray.shutdown()
    elif kind == "dask" and address:
        distributed = optional_module("distributed", "--engine dask:ADDRESS needs dask", "dask")
        try:
            client = distributed.Client(address, timeout=_TIMEOUT)
        except (OSError, ValueError) as error:
            raise OptionError(
                f"There is no scheduler of dask at {address!r} ({error or type(error).__name__}); pass the address that it printed, such as "
                "dask:tcp://127.0.0.1:8786."
            ) from error
        with client:
            yield client
    else:
        raise OptionError(
            f"--engine is {engine!r}; use threads, processes, ray, or dask: and a scheduler's address, as in dask:tcp://127.0.0.1:8786."
        )


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, Parquet, Feather or Stata file, as its extension says."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{str(path)!r} ends in {path.suffix!r}; pass a file that ends in one of {listed(_READERS)}.")
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}; the current folder is {str(Path.cwd())!r}.")
    try:
        return reader(path)
    except ImportError as error:
        raise DataError(
            f"Reading {path.suffix} files takes pyarrow, which is not installed: pip install pyarrow."
        ) from error
    except Exception as error:  # whatever a reader raises for a file of another format
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{str(path)!r} cannot be read as {path.suffix} ({reason}); pass a complete file of that format."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m betahat",
        description="Fit a model, print its summary, compare standard errors, write a LaTeX table.",
    )
    parser.add_argument("formula", help='such as "np.log(wage) ~ educ + exper + C(region)"')
    parser.add_argument(
        "data",
        nargs="+",
        help="a .csv, .parquet, .feather or .dta file; or several, a folder of them or a pattern such as 'rows/*.parquet', which may be larger than memory",
    )
    parser.add_argument("--model", choices=list(_MODELS), default="ols", help="what to fit (ols)")
    for options, metavar in ((_FAMILY, "NAME"), (_COLUMNS, "COLUMN")):
        for name, (models, words) in options.items():
            parser.add_argument(f"--{name}", metavar=metavar, help=f"of --model {' and '.join(models)}, {words}")
    for name, words in _ORDER.items():
        parser.add_argument(f"--{name}", metavar="COLUMN", help=words)
    parser.add_argument(
        "--cov",
        nargs="+",
        default=[],
        metavar="NAME",
        help="nonrobust, HC0 to HC5, HAC, ...; the summary uses the first",
    )
    parser.add_argument(
        "--cluster", nargs="+", metavar="COLUMN", help="cluster-robust standard errors by one or several columns"
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="who computes: threads, processes, ray, or dask:ADDRESS, a scheduler; rows are then read by these",
    )
    parser.add_argument("--latex", metavar="FILE", help="write the comparison to this file as a LaTeX table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
