"""The columns of a table, or the markers of a figure: several results, or one under several covariances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from betahat.covariance.names import CovType
from betahat.covariance.option_words import option_in_words
from betahat.data.printable import whole
from betahat.errors import OptionError, counted, described
from betahat.tables.cells import Cell, Line
from betahat.tables.estimates import Estimates
from betahat.tables.terms import Rename, renamed

Results = Estimates | Iterable[Estimates] | Mapping[str, Estimates]
CovTypes: TypeAlias = "CovType | Sequence[CovType | None] | Mapping[str, CovType | None]"


@dataclass(frozen=True, eq=False)
class Columns:
    """Results side by side, one for each column, under its covariance."""

    results: tuple[Estimates, ...]
    names: tuple[str, ...]  # the keys of the mapping of results or of covariances, or ()
    covariances: tuple[str, ...]  # the keys, or else the labels of the covariances, made distinct
    kinds: tuple[str, ...]  # the labels, made distinct only by options and by t and z


def read_columns(results: Results, cov: CovTypes | None, use_t: bool | None, where: str) -> Columns:
    """Pair results with covariances, repeating the shorter of the two; None, for all or for one, keeps a result's own covariance or distribution.

    `where` is the name of the caller, for error messages.
    """
    models = _models(results)
    if not models or not all(isinstance(model, Estimates) for model in models):
        wrong = next((model for model in models if not isinstance(model, Estimates)), results)
        passed = "an empty list" if isinstance(wrong, list) and not wrong else described(wrong)
        raise OptionError(f"{where} needs results, as returned by .fit(), such as [res1, res2], not {passed}.")
    names = [whole(str(key)) for key in results] if isinstance(results, Mapping) else []
    cov_names = [whole(str(key)) for key in cov] if isinstance(cov, Mapping) else []
    wanted: list[Any] = (
        list(cov.values()) if isinstance(cov, Mapping) else list(cov) if isinstance(cov, list | tuple) else [cov]
    )
    length = max(len(models), len(wanted))
    if not wanted or length % len(models) or length % len(wanted):
        raise OptionError(
            f"cov has {counted(len(wanted), 'covariance')} for {counted(len(models), 'model')}; pass one for all models, one for each, or "
            "several for a single model."
        )
    repeats, cov_repeats = length // len(models), length // len(wanted)
    pairs = zip(models * repeats, wanted * cov_repeats, strict=True)
    switched = [model if cov_type is None else model.with_cov(cov_type) for model, cov_type in pairs]
    if use_t is not None:
        switched = [model.with_use_t(use_t) for model in switched]
    kinds = _kinds(switched)
    labels = cov_names * cov_repeats or _labels(switched, kinds)
    return Columns(tuple(switched), tuple(names * repeats or cov_names * cov_repeats), tuple(labels), tuple(kinds))


def _kinds(results: Sequence[Estimates]) -> list[str]:
    """Return the label of each covariance, with the options in which equal labels differ, and "t" or "z" where they differ in that."""
    return [", ".join((result.cov_type, *_differences(result, _named(result, results)))) for result in results]


def _differences(result: Estimates, alike: Sequence[Estimates]) -> list[str]:
    """Return, in words, the options that set a result apart from others of the same label; "t" or "z" only if the user asked for one of them."""
    options = [_options(other) for other in alike]
    distinct = [
        words
        for name, words in _options(result).items()
        if words and any(other.get(name, "") != words for other in options)
    ]
    requested = any(other.cov.asked_t is not None for other in alike) and len({other.use_t for other in alike}) > 1
    return distinct + (["t" if result.use_t else "z"] if requested else [])


def _options(result: Estimates) -> dict[str, str]:
    """Return the options in words, except the columns that define the clusters, which are printed elsewhere."""
    ways = {option_in_words(name, way.column) for name, _ in result.cov.options for way in result.cov.clusters}
    return {name: words for name, words in result.cov.options if words not in ways}


def _labels(results: Sequence[Estimates], kinds: Sequence[str]) -> list[str]:
    """Tell equal labels apart by their clusters, then by their options, and otherwise by number."""
    fuller = []
    for result, kind in zip(results, kinds, strict=True):
        by = " and ".join(way.column for way in result.cov.clusters if way.column)
        label = result.cov_type
        repeated = by and len(_named(result, results)) > 1
        fuller.append(f"{label} by {by}{kind.removeprefix(label)}" if repeated else kind)
    return [f"{label} #{i}" if fuller.count(label) > 1 else label for i, label in enumerate(fuller, 1)]


def _named(result: Estimates, results: Sequence[Estimates]) -> list[Estimates]:
    return [other for other in results if other.cov_type == result.cov_type]


def _models(results: Results) -> list[Any]:
    if isinstance(results, Estimates):
        return [results]
    if isinstance(results, Mapping):
        return list(results.values())
    return list(results) if isinstance(results, Iterable) and not isinstance(results, str) else []


def effect_lines(columns: Sequence[Estimates], rename: Rename | None) -> list[Line]:
    """Return a row for each effect that some model absorbs."""
    absorbed = [() if column.fit.absorbed is None else column.fit.absorbed.names for column in columns]
    names = dict.fromkeys(name for own in absorbed for name in own)
    return [
        Line(f"{renamed(name, rename)} effects", tuple(Cell("yes" if name in own else "") for own in absorbed))
        for name in names
    ]
