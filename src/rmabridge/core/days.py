"""Which days are worked: public holidays and make-up workdays, and an operator's own file of dates.

China's come from ``chinesecalendar`` (the yearly notices of its State Council), other countries' from ``holidays``;
both are imported when a shop first needs them. A year that no source knows is named by ``unknown``, never guessed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import tomli

WEEKEND: Final = frozenset({5, 6})


class Day(StrEnum):
    """What a calendar says of a date: as its weekday is, off, or worked though its weekday is not."""

    USUAL = "usual"
    OFF = "off"
    MAKEUP = "makeup"


class Own(NamedTuple):
    """An operator's own dates, and the years for which they are complete."""

    off: frozenset[date] = frozenset()
    work: frozenset[date] = frozenset()
    years: frozenset[int] = frozenset()


class Days:
    """Public days off of one country or region, under an operator's own dates."""

    def __init__(self, country: str | None = None, own: Own | None = None) -> None:
        self.country, self.own = country, own or Own()
        self.weekend = WEEKEND
        self._years: dict[int, dict[date, Day] | None] = {}

    def of(self, day: date) -> Day:
        """What is known of the date; an unknown year's days are as their weekdays are."""
        if day in self.own.work:
            return Day.MAKEUP
        if day in self.own.off:
            return Day.OFF
        return (self._year(day.year) or {}).get(day, Day.USUAL)

    def worked(self, day: date) -> bool:
        """Whether it is a working day."""
        said = self.of(day)
        return said is Day.MAKEUP or (said is Day.USUAL and day.weekday() not in self.weekend)

    def unknown(self, year: int) -> str | None:
        """Why the year's holidays are not known; None where they are, or where none are kept."""
        if self.country is None or year in self.own.years or self._year(year) is not None:
            return None
        return (
            f"the public holidays of {self.country} in {year} are not known, so its days count as ordinary ones; "
            f"list them in the shop's holiday_file or update the calendars"
        )

    def _year(self, year: int) -> dict[date, Day] | None:
        if year not in self._years:
            self._years[year] = self._look(year)
        return self._years[year]

    def _look(self, year: int) -> dict[date, Day] | None:
        if self.country is None:
            return {}
        if self.country == "CN":
            return _china(year)
        found = _public(self.country, year)
        if found is None:
            return None
        self.weekend = frozenset(found.weekend)
        return dict.fromkeys(found, Day.OFF) | dict.fromkeys(found.weekend_workdays, Day.MAKEUP)


def _china(year: int) -> dict[date, Day] | None:
    import chinese_calendar

    found = {}
    for day in _every(date(year, 1, 1), date(year, 12, 31)):
        try:
            off, name = chinese_calendar.get_holiday_detail(day)
        except NotImplementedError:
            return None
        if off and name:
            found[day] = Day.OFF
        elif not off and day.weekday() in WEEKEND:
            found[day] = Day.MAKEUP
    return found


def _public(code: str, year: int) -> Any:
    """The country's dates of a year; None for a year or region that is not known."""
    country, _, region = code.partition("-")
    try:
        made = _country(country)(subdiv=region or None, years=year)
    except NotImplementedError:  # no such region
        return None
    return made if made.start_year <= year <= made.end_year else None


def _country(code: str) -> Any:
    """One country's class. ``holidays.countries`` imports all of its 250 modules (8 MB), so an empty package stands in
    for it while the one that is needed is imported."""
    import holidays

    name = "holidays.countries"
    if name in sys.modules:
        return getattr(holidays, code)
    bare = ModuleType(name)
    bare.__path__ = [str(Path(one) / "countries") for one in holidays.__path__]
    sys.modules[name] = bare
    try:
        return getattr(holidays, code).get_entity()
    finally:
        del sys.modules[name]
        importlib.invalidate_caches()


def read(path: Path) -> Own:
    """An operator's own dates from a TOML or iCalendar file; ``ValueError`` says what cannot be read.

    TOML: ``off = ["2027-01-01", "2027-02-05..2027-02-12"]``, ``work = ["2027-02-14"]``, and ``years = [2027]`` where
    the file does not list all that is known of its years. iCalendar: all-day events; those whose summary says 班 or
    "work" are make-up workdays.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return _calendar(text) if path.suffix.casefold() == ".ics" else _table(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _table(text: str) -> Own:
    data = tomli.loads(text)
    if unknown := data.keys() - {"off", "work", "years"}:
        raise ValueError(f"{', '.join(sorted(unknown))}: not known here; there are off, work and years")
    off, work = (frozenset(_dates(data.get(name, ()))) for name in ("off", "work"))
    years = data.get("years", sorted({one.year for one in off | work}))
    return Own(off, work, frozenset(int(one) for one in years))


def _dates(given: Iterable[Any]) -> Iterator[date]:
    for one in given:
        first, _, last = str(one).partition("..")
        yield from _every(date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip()))


def _calendar(text: str) -> Own:
    off: set[date] = set()
    work: set[date] = set()
    unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "")
    for event in unfolded.split("BEGIN:VEVENT")[1:]:
        pairs = (line.partition(":") for line in event.partition("END:VEVENT")[0].splitlines())
        facts = {name.partition(";")[0].upper(): value.strip() for name, _, value in pairs}
        start = _stamp(facts.get("DTSTART", ""))
        last = _stamp(facts["DTEND"]) - timedelta(days=1) if "DTEND" in facts else start
        summary = facts.get("SUMMARY", "")
        (work if "班" in summary or "work" in summary.casefold() else off).update(_every(start, max(start, last)))
    return Own(frozenset(off - work), frozenset(work), frozenset(one.year for one in off | work))


def _stamp(text: str) -> date:
    return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 (a date has no zone)


def _every(first: date, last: date) -> Iterator[date]:
    if not 0 <= (last - first).days <= 366:
        raise ValueError(f"{first}..{last} is not a span of days within a year")
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
