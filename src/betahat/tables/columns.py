"""The columns of a table, or the markers of a picture: several results, or one under several covariances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from betahat.covariance.names import CovType
from betahat.covariance.told import told_option
from betahat.data.printable import whole
from betahat.errors import OptionError, counted, described
from betahat.tables.estimates import Estimates

Results = Estimates | Iterable[Estimates] | Mapping[str, Estimates]
CovTypes: TypeAlias = "CovType | Sequence[CovType | None] | Mapping[str, CovType | None]"


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
        What the covariances are called: their keys, or their labels, told apart by what they cluster by, their options, or t and z, or
        numbered.
    kinds : tuple of str
        Their labels, told apart by options, and t and z, alone.
    """

    results: tuple[Estimates, ...]
    names: tuple[str, ...]
    covariances: tuple[str, ...]
    kinds: tuple[str, ...]


def read_columns(results: Results, cov: CovTypes | None, use_t: bool | None, where: str) -> Columns:
    """Read results, and put each under its covariance.

    Parameters
    ----------
    results : Results, iterable or mapping of them
    cov : str, estimator, sequence or mapping of them, optional
        None, here or in the sequence, leaves a result its own. The shorter of results and covariances is repeated.
    use_t : bool, optional
        Of all columns; None leaves each its own.
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
    names = [whole(str(key)) for key in results] if isinstance(results, Mapping) else []
    called = [whole(str(key)) for key in cov] if isinstance(cov, Mapping) else []
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
    if use_t is not None:
        switched = [model.with_use_t(use_t) for model in switched]
    kinds = _kinds(switched)
    labels = called * again or _labels(switched, kinds)
    return Columns(tuple(switched), tuple(names * repeats or called * again), tuple(labels), tuple(kinds))


def _kinds(results: Sequence[Estimates]) -> list[str]:
    """Tell equal labels apart by the options in which they differ, and by t and z where they do."""
    return [", ".join((result.cov_type, *_differences(result, _named(result, results)))) for result in results]


def _differences(result: Estimates, alike: Sequence[Estimates]) -> list[str]:
    """Return in words what others of the same label have otherwise; t or z where the user has asked for it, and not by a model's own rule."""
    told = [_options(other) for other in alike]
    own = _options(result)
    found = [words for name, words in own.items() if words and any(other.get(name, "") != words for other in told)]
    asked = any(other.cov.asked_t is not None for other in alike) and len({other.use_t for other in alike}) > 1
    return found + (["t" if result.use_t else "z"] if asked else [])


def _options(result: Estimates) -> dict[str, str]:
    """Return the options in words, but for the columns that are clustered by, which are told elsewhere."""
    ways = {told_option(name, way.column) for name, _ in result.cov.options for way in result.cov.clusters}
    return {name: words for name, words in result.cov.options if words not in ways}


def _labels(results: Sequence[Estimates], kinds: Sequence[str]) -> list[str]:
    """Tell equal labels apart: by what they cluster by, by their options, and otherwise by their places."""
    fuller = []
    for result, kind in zip(results, kinds, strict=True):
        by = " and ".join(way.column for way in result.cov.clusters if way.column)
        label = result.cov_type
        several = by and len(_named(result, results)) > 1
        fuller.append(f"{label} by {by}{kind.removeprefix(label)}" if several else kind)
    return [f"{label} #{i}" if fuller.count(label) > 1 else label for i, label in enumerate(fuller, 1)]


def _named(result: Estimates, results: Sequence[Estimates]) -> list[Estimates]:
    return [other for other in results if other.cov_type == result.cov_type]


def _models(results: Results) -> list[Any]:
    if isinstance(results, Estimates):
        return [results]
    if isinstance(results, Mapping):
        return list(results.values())
    return list(results) if isinstance(results, Iterable) and not isinstance(results, str) else []
