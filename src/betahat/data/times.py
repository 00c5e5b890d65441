"""Labels of time: text whose order is not that of time is refused, and each label gets its place on a calendar."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.groups import Groups
from betahat.errors import DataError, listed
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = re.compile(rf"({'|'.join(_MONTHS)})[a-z]*")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = re.compile(r"(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?")
_ISO = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?)?")
_YEAR = re.compile(r"1\d{3}|2\d{3}")
_YEAR_AND_PART = re.compile(r"\d{4}\.\d{1,2}")
_REMEDIES = {
    "dates": "convert it, with pd.to_datetime, or make it whole numbers or periods",
    "numbers": "convert it, with pd.to_numeric",
    "numbered": "take the numbers out of it, with .str.extract in pandas, and convert them, with pd.to_numeric",
}
# As many business days may be holidays in a row.
_HOLIDAYS = 5


@dataclass(frozen=True)
class Calendar:
    """The places of labels in time.

    Attributes
    ----------
    places : ndarray
        (T,) int64, in the order of the labels.
    step : int
        How far one period is from the next: what all differences are multiples of.
    least : int
        What is longer than this is a gap.
    """

    places: np.ndarray
    step: int
    least: int


@dataclass(frozen=True)
class Clock:
    """How labels of time are counted, which was learnt of some of them, so that others are counted alike.

    Attributes
    ----------
    numbers : str
        What whole numbers are: "numbers", or months, quarters or days that are written as one; of periods, their type.
    unit : str
        What is counted: "numbers", "periods", "spans", or of dates "months", "business days" or "ticks".
    step : int
        How many of them one period is from the next.
    """

    numbers: str
    unit: str
    step: int

    def places(self, labels: pd.Index) -> np.ndarray | None:
        """Return (T,) int64 the places of labels, in their order; None where they are no labels of this kind."""
        read = _read(labels, self.numbers)
        unit = _unit_of(read)
        if unit is None or (unit == "dates") != (self.unit in _OF_DATES) or unit not in ("dates", self.unit):
            return None
        if unit == "periods" and str(read.dtype) != self.numbers:
            return None
        return _counted(read, self.unit)


_OF_DATES = ("months", "business days", "ticks")


def clock(labels: pd.Index) -> Clock | None:
    """Return how sorted labels are counted; None where the distances between them are not known."""
    numbers = _way_of_writing(labels)
    read = _read(labels, numbers)
    unit = _unit_of(read)
    if unit is None:
        return None
    unit = _unit_of_dates(read.tz_localize(None)) if unit == "dates" else unit
    if unit == "periods":
        numbers = str(read.dtype)
    return Clock(numbers, unit, _common_step(_counted(read, unit)))


def check_order(times: Groups) -> None:
    """Refuse strings whose alphabetical order is not that of the numbers or dates that they denote, and unordered categories."""
    text = _text(times.labels)
    if text is None:
        if pd.api.types.is_float_dtype(times.labels.dtype) and not bool(
            np.isfinite(times.labels.to_numpy(dtype=float)).all()
        ):
            raise DataError(f"{times.name} has infinite values; pass the periods, or leave those rows out of the data.")
        return
    readings = list(_readings(text))
    if not readings and times.declared is not None and list(times.declared) != text:
        raise DataError(
            f"{times.name} is a category without an order, of the levels {listed(times.declared)}, which as text are sorted otherwise; make it "
            "ordered, with .cat.as_ordered() in pandas, or whole numbers or dates."
        )
    for kind, keys, whole in readings:
        for i, (before, after) in enumerate(itertools.pairwise(keys)):
            if after < before or (whole and after == before):
                first, second = text[i : i + 2]
                remedy = _REMEDIES[kind if kind == "dates" or _numbers(text) else "numbered"]
                raise DataError(
                    f"{times.name} is text, which is sorted letter by letter, {first!r} before {second!r}, and as {kind} these have another "
                    f"order; {remedy}."
                )


def calendar(labels: pd.Index) -> Calendar | None:
    """Return the places of sorted labels in time; None where labels are only an order, and each is one step from the next."""
    read = _read(labels, _way_of_writing(labels))
    if isinstance(read, pd.CategoricalIndex):
        return Calendar(read.codes.astype(np.int64), 1, 1)
    match _unit_of(read):
        case None:
            return None
        case "dates":
            return _of_dates(read.tz_localize(None))
        case "spans":
            return _regular(_counted(read, "spans"))
        case unit:
            places = _counted(read, unit)
            return Calendar(places, _common_step(places), 1)


def _unit_of(labels: pd.Index) -> str | None:
    """Return what labels are that have distances."""
    if isinstance(labels, pd.DatetimeIndex):
        return "dates"
    if isinstance(labels, pd.TimedeltaIndex):
        return "spans"
    if isinstance(labels, pd.PeriodIndex):
        return "periods"
    return "numbers" if pd.api.types.is_integer_dtype(labels.dtype) else None


def _counted(labels: Any, unit: str) -> np.ndarray:
    """Return (T,) int64 labels counted in a unit."""
    if unit == "numbers":
        return np.asarray(labels.to_numpy(dtype=np.int64))
    if unit in ("periods", "spans"):
        return np.asarray((labels if unit == "periods" else labels.as_unit("us")).asi8)
    dates = labels.tz_localize(None)
    if unit == "months":
        return np.asarray((dates.year * 12 + dates.month).to_numpy(dtype=np.int64))
    if unit == "ticks":
        return np.asarray(dates.as_unit("us").asi8)
    return np.asarray(np.busday_count(np.datetime64("1970-01-01"), dates.to_numpy().astype("datetime64[D]"))).astype(
        np.int64
    )


def _way_of_writing(labels: pd.Index) -> str:
    """Return what whole numbers are: months, quarters and days that are written as one number, 200012 or 20004 or 20001231, or what they are."""
    numbers = _whole_numbers(labels)
    if numbers is None or not len(numbers):
        return "numbers"
    for way, (base, parts, length) in _WRITTEN.items():
        years, part = np.divmod(numbers, base)
        long = (numbers >= 10 ** (length - 1)) & (numbers < 3 * 10 ** (length - 1))
        if bool((long & (part >= 1) & (part <= parts)).all()) and years[0] != years[-1]:
            return way
    return "days" if _days_of(numbers) is not None else "numbers"


# By what a number is divided for its year, into how many parts that has, and how many digits it has.
_WRITTEN = {"months": (100, 12, 6), "quarters": (10, 4, 5)}


def _days_of(numbers: np.ndarray) -> pd.DatetimeIndex | None:
    """Return the days that are written as numbers; None where some are no day."""
    years, day = np.divmod(numbers, 10_000)
    month, day = np.divmod(day, 100)
    if bool(((years >= 1000) & (years < 3000) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all()):
        months = ((years - 1970) * 12 + month - 1).astype("datetime64[M]")
        dates = months.astype("datetime64[D]") + (day - 1)
        if bool((dates.astype("datetime64[M]") == months).all()):
            return pd.DatetimeIndex(dates)
    return None


def _whole_numbers(labels: pd.Index) -> np.ndarray | None:
    """Return whole numbers, also those that came as text or as floats."""
    text = _text(labels)
    if text is not None:
        return np.array([int(part) for part in text]) if all(part.isdigit() for part in text) else None
    floats = pd.api.types.is_float_dtype(labels.dtype) and bool((labels == np.floor(labels)).all())
    whole = floats or pd.api.types.is_integer_dtype(labels.dtype)
    return np.asarray(labels.to_numpy(dtype=np.int64)) if whole else None


def _read(labels: pd.Index, numbers: str) -> Any:
    """Return whole numbers, in a way of writing them, and dates, which may have come as text, as floats or as objects of Python."""
    whole = _whole_numbers(labels)
    if whole is not None:
        if numbers in _WRITTEN:
            base, parts, _ = _WRITTEN[numbers]
            years, part = np.divmod(whole, base)
            return pd.Index(years * parts + part)
        days = _days_of(whole) if numbers == "days" else None
        return pd.Index(whole) if days is None else days
    text = _text(labels)
    if text is not None and all(_ISO.fullmatch(part) for part in text):
        try:
            return pd.DatetimeIndex(np.array([part.replace(" ", "T") for part in text], dtype="datetime64[us]"))
        except ValueError:  # month 13, say
            return labels
    if labels.dtype == object and len(labels) and all(isinstance(label, datetime.date) for label in labels):
        return pd.DatetimeIndex(labels)
    return labels


def gaps(times: Groups) -> list[Any]:
    """Return the labels after which time skips a period: whole numbers, periods, dates at regular distances; none for other labels."""
    found = calendar(times.labels)
    if found is None:
        return []
    return [times.labels[int(i)] for i in np.flatnonzero(np.diff(found.places) > found.least)]


def _of_dates(dates: pd.DatetimeIndex) -> Calendar:
    """Count dates in their unit."""
    unit = _unit_of_dates(dates)
    places = _counted(dates, unit)
    if unit == "months":
        step = _common_step(places)
        return Calendar(places, step, step)
    return Calendar(places, 1, _HOLIDAYS) if unit == "business days" else _regular(places)


def _unit_of_dates(dates: pd.DatetimeIndex) -> str:
    """Count months where dates have one place in them, business days where no date is on a weekend, else what all distances are made of."""
    days = dates.normalize()
    one_time = len(set(dates - days)) == 1
    months = _counted(dates, "months")
    if one_time and len(np.unique(months)) == len(months) and _one_place(days):
        return "months"
    whole = _regular(_counted(dates, "ticks"))
    workdays = one_time and whole.least == 86_400_000_000 and bool((days.day_of_week < 5).all())
    return "business days" if workdays else "ticks"


def _one_place(days: pd.DatetimeIndex) -> bool:
    """Tell whether all days are the same of their month, its last or first, of all days or of business days."""
    workday = pd.offsets.BusinessDay()
    alone = len(set(days.day)) == 1 or bool(days.is_month_end.all())
    return alone or any(
        all((day + sign * workday).month != day.month and day.day_of_week < 5 for day in days) for sign in (1, -1)
    )


def _regular(places: np.ndarray) -> Calendar:
    """Return places whose shortest distance is the step of all; where it is not, dates have none, and so no gap."""
    step = _common_step(places)
    shortest = int(np.diff(places).min()) if len(places) > 1 else 1
    return Calendar(places, step, step if shortest == step else int(np.iinfo(np.int64).max))


def _common_step(places: np.ndarray) -> int:
    return int(np.gcd.reduce(np.diff(places))) if len(places) > 1 else 1


# text


def _text(labels: pd.Index) -> list[str] | None:
    """Return labels that are text, those of an unordered category included; None for others."""
    if isinstance(labels, pd.CategoricalIndex) or not (labels.dtype == object or pd.api.types.is_string_dtype(labels)):
        return None
    values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in labels]
    return values if values and all(isinstance(value, str) for value in values) else None


def _readings(text: Sequence[str]) -> Iterator[tuple[str, list[Any], bool]]:
    """Yield what labels may be, (T,) keys that sort as time does, and whether the keys tell all labels apart."""
    numbers = _numbers(text)
    if numbers is not None:
        yield "numbers", numbers, True
        if not all(_YEAR_AND_PART.fullmatch(part.strip()) for part in text):
            return
    parts = [re.findall(r"\d+|[^\W\d_]+", part.lower()) for part in text]
    kinds = [[_kind(token) for token in tokens] for tokens in parts]
    if not parts[0] or any(row != kinds[0] for row in kinds):
        return
    columns = list(zip(*parts, strict=True))
    same = [len(set(column)) == 1 for column in columns]
    words = [i for i, kind in enumerate(kinds[0]) if kind == "word" and not same[i]]
    fields = [i for i, kind in enumerate(kinds[0]) if kind != "word"]
    values = {i: [_value(kinds[0][i], token) for token in columns[i]] for i in fields}
    years = [i for i in fields if kinds[0][i] == "number" and all(_YEAR.fullmatch(token) for token in columns[i])]
    named = [i for i in fields if kinds[0][i] == "month"]
    for order in _orders(fields, years, named, values):
        used = order[:1] if words else order
        yield (
            "dates" if years or named or order != tuple(fields) else "numbers",
            list(zip(*(values[i] for i in used), strict=True)),
            not words,
        )


def _orders(
    fields: list[int], years: list[int], named: list[int], values: dict[int, list[int]]
) -> Iterator[tuple[int, ...]]:
    """Yield the orders in which the numbers of a label may count."""
    others = [i for i in fields if i not in (*years[:1], *named[:1])]
    if named and not years:  # 'Jan 00' or 'Jan 5'
        if len(others) == 1:
            values[others[0]] = [_century(value) for value in values[others[0]]]
        yield (*others, *named)
        if all(max(values[i]) <= 31 for i in others):
            yield (*named, *others)
    elif years:
        if named:
            yield (years[0], named[0], *others)
        elif years[0] == fields[0] or len(others) != 2:
            yield (years[0], *others)
        else:
            yield from ((years[0], *pair) for pair in _month_and_day(others, values))
    elif fields:
        yield tuple(fields)
        if len(fields) == 3:
            values[fields[2]] = [_century(value) for value in values[fields[2]]]
            yield from ((fields[2], *pair) for pair in _month_and_day(fields[:2], values))


def _month_and_day(pair: Sequence[int], values: dict[int, list[int]]) -> Iterator[tuple[int, int]]:
    for month, day in (tuple(pair), tuple(pair)[::-1]):
        if min(values[month]) >= 1 and max(values[month]) <= 12 and min(values[day]) >= 1 and max(values[day]) <= 31:
            yield month, day


def _century(year: int) -> int:
    """Return a year of two digits in full, as POSIX reads it."""
    return year if year > 99 else year + (1900 if year > 68 else 2000)


def _kind(token: str) -> str:
    if token.isdigit():
        return "number"
    if _MONTH.fullmatch(token):
        return "month"
    return "day" if _DAY.fullmatch(token) else "word"


def _value(kind: str, token: str) -> int:
    if kind == "number":
        return int(token)
    return (_MONTHS if kind == "month" else _DAYS).index(token[:3])


def _numbers(text: Iterable[str]) -> list[float] | None:
    try:
        return [float(part) for part in text]
    except ValueError:
        return None
