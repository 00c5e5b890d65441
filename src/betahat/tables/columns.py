"""The columns of a table, or the markers of a picture: several results, or one under several covariances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.covariance.names import CovType
from betahat.errors import OptionError, counted, described
from betahat.tables.estimates import Estimates

Results = Estimates | Iterable[Estimates] | Mapping[str, Estimates]
CovTypes = CovType | Sequence[CovType | None] | Mapping[str, CovType | None]


@dataclass(frozen=True, eq=False)
class Columns:
    """Results side by side.

    Attributes
    ----------
    results : tuple of Results
        One for each column, under its covariance.
    names : tuple of str
        The keys of the mapping that the results or the covariances came in, or none.
    covariances : tuple of str
        What the covariances are called: their keys, or their labels, told apart by what they cluster by, or numbered.
    """

    results: tuple[Estimates, ...]
    names: tuple[str, ...]
    covariances: tuple[str, ...]


def read_columns(results: Results, cov: CovTypes | None, where: str) -> Columns:
    """Read results, and put each under its covariance.

    Parameters
    ----------
    results : Results, iterable or mapping of them
    cov : str, estimator, sequence or mapping of them, optional
        None, here or in the sequence, leaves a result its own. The shorter of results and covariances is repeated.
    where : str
        Who asks, for a sentence.

    Raises
    ------
    OptionError
        No results, or numbers of results and covariances of which neither is a multiple of the other.
    """
    models = _models(results)
    if not models or not all(isinstance(model, Estimates) for model in models):
        wrong = next((model for model in models if not isinstance(model, Estimates)), results)
        came = "an empty list" if isinstance(wrong, list) and not wrong else described(wrong)
        raise OptionError(f"{where} needs results, as .fit() returns them, such as [res1, res2], and {came} came.")
    names = list(map(str, results)) if isinstance(results, Mapping) else []
    called = list(map(str, cov)) if isinstance(cov, Mapping) else []
    wanted: list[Any] = (
        list(cov.values()) if isinstance(cov, Mapping) else list(cov) if isinstance(cov, list | tuple) else [cov]
    )
    length = max(len(models), len(wanted))
    if not wanted or length % len(models) or length % len(wanted):
        raise OptionError(
            f"cov has {counted(len(wanted), 'covariance')} for {counted(len(models), 'model')}; pass one, or one for each model, or several "
            "for one model."
        )
    repeats, again = length // len(models), length // len(wanted)
    pairs = zip(models * repeats, wanted * again, strict=True)
    switched = [model if cov_type is None else model.with_cov(cov_type) for model, cov_type in pairs]
    labels = called * again or _labels(switched)
    return Columns(tuple(switched), tuple(names * repeats or called * again), tuple(labels))


def _labels(results: Sequence[Estimates]) -> list[str]:
    """Tell equal labels apart: by what they cluster by, and otherwise by their places."""
    labels = [result.cov_type for result in results]
    ways = [" and ".join(way.column for way in result.cov.clusters if way.column) for result in results]
    fuller = [
        f"{label} by {by}" if by and labels.count(label) > 1 else label for label, by in zip(labels, ways, strict=True)
    ]
    return [f"{label} #{i}" if fuller.count(label) > 1 else label for i, label in enumerate(fuller, 1)]


def _models(results: Results) -> list[Any]:
    if isinstance(results, Estimates):
        return [results]
    if isinstance(results, Mapping):
        return list(results.values())
    return list(results) if isinstance(results, Iterable) and not isinstance(results, str) else []
