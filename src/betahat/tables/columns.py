"""The columns of a table, or the markers of a figure: several results, or one under several covariances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from betahat.covariance.names import CovType
from betahat.covariance.option_words import option_in_words
from betahat.errors import OptionError, counted, described
from betahat.tables.cells import Cell, Line
from betahat.tables.estimates import Coefficients, Estimates, about
from betahat.tables.foreign import read_foreign
from betahat.tables.terms import Rename, Terms, matched, renamed
from betahat.tables.tex import text_of_label

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
    models, several = _models(results, where)
    if not models or not all(isinstance(model, Estimates) for model in models):
        wrong = next((model for model in models if not isinstance(model, Estimates)), results)
        passed = "an empty list" if isinstance(wrong, list) and not wrong else described(wrong)
        hint = (
            "; tables of several lists are put below each other by bh.panels"
            if isinstance(wrong, list) and wrong
            else ""
        )
        raise OptionError(f"{where} needs results, as returned by .fit(), such as [res1, res2], not {passed}{hint}.")
    names = [text_of_label(key) for key in several] if isinstance(results, Mapping) else []
    cov_names = [text_of_label(key) for key in cov] if isinstance(cov, Mapping) else []
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
    requested = any(about(other).asked_t is not None for other in alike) and len({other.use_t for other in alike}) > 1
    return distinct + (["t" if result.use_t else "z"] if requested else [])


def _options(result: Estimates) -> dict[str, str]:
    """Return the options in words, except the columns that define the clusters, which are printed elsewhere."""
    known = about(result)
    ways = {option_in_words(name, way.column) for name, _ in known.options for way in known.clusters}
    return {name: words for name, words in known.options if words not in ways}


def _labels(results: Sequence[Estimates], kinds: Sequence[str]) -> list[str]:
    """Tell equal labels apart by their clusters, then by their options, and otherwise by number."""
    fuller = []
    for result, kind in zip(results, kinds, strict=True):
        by = " and ".join(way.column for way in about(result).clusters if way.column)
        label = result.cov_type
        repeated = by and len(_named(result, results)) > 1
        fuller.append(f"{label} by {by}{kind.removeprefix(label)}" if repeated else kind)
    return [f"{label} #{i}" if fuller.count(label) > 1 else label for i, label in enumerate(fuller, 1)]


def _named(result: Estimates, results: Sequence[Estimates]) -> list[Estimates]:
    return [other for other in results if other.cov_type == result.cov_type]


def _models(results: Results, where: str) -> tuple[list[Any], list[Any]]:
    """Return the results, and the key of each in a mapping; one of several models, as pyfixest's estimations of many formulas, is taken apart."""
    if isinstance(results, Mapping):
        pairs = list(results.items())
    elif isinstance(results, Estimates) or not isinstance(results, Iterable) or isinstance(results, str):
        pairs = [("", results)]
    else:
        pairs = [("", result) for result in _each(results, where)]
    read = [(key, found) for key, result in pairs for found in read_foreign(result, where)]
    return [found for _, found in read], [key for key, _ in read]


def _each(results: Iterable[Any], where: str) -> list[Any]:
    """Return the elements of an iterable, or the result of another package that happens to be one."""
    known = read_foreign(results, where)
    return [results] if known[0] is not results else list(results)


def indicated(columns: Sequence[Coefficients], indicate: Mapping[str, Terms]) -> dict[str, set[str]]:
    """Return the coefficients that each row of `indicate` stands for."""
    if not isinstance(indicate, Mapping):
        raise OptionError(f"indicate needs a mapping of labels to coefficients, not {described(indicate)}.")
    names = list(dict.fromkeys(name for column in columns for _, name in column.equation_terms))
    return {text_of_label(label): set(matched("indicate", terms, names)) for label, terms in indicate.items()}


def effect_lines(
    columns: Sequence[Estimates],
    rename: Rename | None,
    numbers: Sequence[Coefficients] = (),
    aside: Mapping[str, set[str]] = MappingProxyType({}),
) -> list[Line]:
    """Return a row for each effect that some model absorbs, or whose coefficients are put aside; equal labels share a row."""
    rows: dict[str, list[bool]] = {}
    for label, names in aside.items():
        rows[label] = [any(name in names for _, name in column.equation_terms) for column in numbers]
    absorbed = [about(column).effects for column in columns]
    for name in dict.fromkeys(name for own in absorbed for name in own):
        label = _effect(name, rename)
        before = rows.get(label, [False] * len(columns))
        rows[label] = [known or name in own for known, own in zip(before, absorbed, strict=True)]
    return [Line(label, tuple(Cell("yes" if has else "") for has in row)) for label, row in rows.items()]


def _effect(name: str, rename: Rename | None) -> str:
    """Return the label of a row of effects: a name of the user's for the whole row, or for the column."""
    row = f"{name} effects"
    given = renamed(row, rename)
    return given if given != row else f"{renamed(name, rename)} effects"
