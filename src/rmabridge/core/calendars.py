"""Working time: business hours with several slots a day, in a time zone, on the days that are worked.

All arithmetic is done in UTC on the opening intervals, so a day on which the clocks change is as long as it is. A
make-up workday has the slots of the nearest weekday; a public holiday has those of ``Hol``, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from ..abilities import Shop
from ..abilities.shop import HOURS
from .days import Day, Days, Own, read

WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY: Final = 7
# So long no shop is closed: past it the hours and holidays leave no opening at all.
LONGEST_CLOSED: Final = 400
Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Slot:
    """Opening hours of some days, as minutes after their midnight; past 1,440 they reach into the next day."""

    days: frozenset[int]
    start: int
    end: int


def slots(texts: Iterable[str]) -> tuple[Slot, ...]:
    """Read 'Mon-Fri 09:00-12:00, 13:30-18:00', 'daily 09:00-21:00' or 'Sat 22:00-02:00'; ``ValueError`` if not so."""
    return tuple(one for text in texts for one in _slots(text.strip()))


def _slots(text: str) -> Iterator[Slot]:
    found = HOURS.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not like 'Mon-Fri 09:00-12:00, 13:30-18:00'")
    days = frozenset(_days(found[1].casefold()))
    for span in found[2].split(","):
        start, end = (int(one[:2]) * 60 + int(one[-2:]) for one in map(str.strip, span.split("-")))
        yield Slot(days, start, end if end > start else end + 1440)


def _days(text: str) -> Iterator[int]:
    if text == "daily":
        yield from range(7)
        return
    for part in text.split(","):
        first, _, last = (one.strip() for one in part.partition("-"))
        if "hol" in (first, last):
            yield HOLIDAY
            continue
        number = WEEK.index(first)
        for step in range((WEEK.index(last or first) - number) % 7 + 1):
            yield (number + step) % 7


class Calendar:
    """When a shop is open, and which of its days are worked."""

    def __init__(
        self, hours: tuple[Slot, ...], zone: ZoneInfo, days: Days | None = None, problems: Iterable[str] = ()
    ) -> None:
        self.hours, self.zone, self.days = hours, zone, days or Days()
        self._found = tuple(problems)
        self._opening: dict[date, tuple[Interval, ...]] = {}
        self._ends: dict[tuple[date, int], datetime] = {}
        self._problems: dict[tuple[int, int], tuple[str, ...]] = {}

    def problems(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """What could not be known about the days between two moments, in sentences."""
        years = start.astimezone(self.zone).year, end.astimezone(self.zone).year + 1
        if years not in self._problems:
            self._problems[years] = (*self._found, *filter(None, map(self.days.unknown, range(*years))))
        return self._problems[years]

    @property
    def always(self) -> bool:
        """Whether it is open day and night."""
        return not self.hours

    def add(self, start: datetime, duration: timedelta) -> datetime:
        """The earliest time by which so much working time has passed since ``start``, in UTC."""
        at = start.astimezone(UTC)
        if self.always or duration <= timedelta(0):
            return at + max(duration, timedelta(0))
        left = duration
        for begin, end in self._from(at):
            if (there := end - begin) >= left:
                return begin + left
            left -= there
        raise AssertionError("the openings have no end")

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The working time from one moment to another; negative where the second is the earlier."""
        begin, until = start.astimezone(UTC), end.astimezone(UTC)
        if until < begin:
            return -self.between(until, begin)
        if self.always:
            return until - begin
        found = timedelta(0)
        for opens, closes in self._from(begin, until):
            found += max(timedelta(0), min(closes, until) - opens)
        return found

    def next_open(self, at: datetime) -> datetime:
        """``at`` itself where it is open then, else the next opening, in UTC."""
        return self.next_opening(at)[0]

    def next_opening(self, at: datetime) -> tuple[datetime, datetime | None]:
        """From when to when it is open, in UTC: now, where it is open at that moment, or next. None: for good."""
        return (at.astimezone(UTC), None) if self.always else next(self._from(at.astimezone(UTC)))

    def open_at(self, at: datetime) -> bool:
        """Whether it is open at that moment; a slot's last moment is outside it."""
        return self.next_open(at) == at

    def workday(self, day: date) -> bool:
        """Whether the date is a working day, whatever the hours."""
        return self.days.worked(day)

    def workdays(self, start: datetime, number: int) -> datetime:
        """The last second of the day that lies so many working days after ``start``, in the calendar's zone."""
        wanted = start.astimezone(self.zone).date(), number
        if wanted not in self._ends:
            self._ends[wanted] = self._end(*wanted)
        return self._ends[wanted]

    def _end(self, day: date, number: int) -> datetime:
        while number > 0:
            day += timedelta(days=1)
            number -= self.workday(day)
        return datetime.combine(day, time(23, 59, 59), tzinfo=self.zone)

    def _from(self, at: datetime, until: datetime | None = None) -> Iterator[Interval]:
        """The openings from ``at`` on, the first cut to begin no earlier; none overlaps another."""
        day, last, closed = at.astimezone(self.zone).date() - timedelta(days=1), at, 0
        while until is None or day <= until.astimezone(self.zone).date():
            for begin, end in self.openings(day):
                if end > last and (until is None or begin < until):
                    yield max(begin, last), end
                    last, closed = end, 0
            day, closed = day + timedelta(days=1), closed + 1
            if closed > LONGEST_CLOSED:
                raise ValueError(f"closed for {LONGEST_CLOSED} days from {last.date()}: the hours leave no opening")

    def openings(self, day: date) -> tuple[Interval, ...]:
        """The openings that begin on a date, in UTC, sorted."""
        if day not in self._opening:
            week = self._weekday(day)
            found = ((self._utc(day, one.start), self._utc(day, one.end)) for one in self.hours if week in one.days)
            self._opening[day] = tuple(sorted(one for one in found if one[0] < one[1]))
        return self._opening[day]

    def _weekday(self, day: date) -> int:
        said, number = self.days.of(day), day.weekday()
        if said is Day.OFF:
            return HOLIDAY
        weekday = min(number, 4) if number < 6 else 0
        made_up = said is Day.MAKEUP and any(weekday in one.days for one in self.hours)
        return weekday if made_up else number

    def _utc(self, day: date, minutes: int) -> datetime:
        over, minute = divmod(minutes, 1440)
        clock = datetime.combine(day + timedelta(days=over), time(minute // 60, minute % 60), tzinfo=self.zone)
        return clock.astimezone(UTC)


def calendar_of(shop: Shop, *, around_the_clock: bool = False) -> Calendar:
    """The shop's working time; day and night where asked for or where the shop says so."""
    hours = () if around_the_clock or shop.around_the_clock else shop.hours
    return _made(hours, shop.timezone, shop.holidays, shop.holiday_file)


def window(hours: tuple[str, ...], timezone: str, shop: Shop) -> Calendar:
    """Hours of somebody else (a buyer's contact window) in their own zone, on the shop's holidays."""
    return _made(hours, timezone, shop.holidays, shop.holiday_file)


@lru_cache(maxsize=256)
def _made(hours: tuple[str, ...], timezone: str, country: str | None, file: Path | None) -> Calendar:
    own, problems = _own(file)
    return Calendar(slots(hours), ZoneInfo(timezone), _public_days(country, own), problems)


@lru_cache(maxsize=64)
def _public_days(country: str | None, own: Own) -> Days:
    return Days(country, own)


@lru_cache(maxsize=64)
def _own(file: Path | None) -> tuple[Own, tuple[str, ...]]:
    """The operator's file, read once; one that cannot be read is said, and nothing of it counts."""
    if file is None:
        return Own(), ()
    try:
        return read(file), ()
    except (OSError, ValueError) as error:
        return Own(), (f"the holiday_file cannot be read, so its days count as ordinary ones: {error}",)
