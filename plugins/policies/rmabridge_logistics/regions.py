"""How long parcels take to a region, and what holds them up there now. The data: ``regions.toml``, ``weather.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import tomli
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rmabridge.model import Address


class Region(BaseModel):
    """Days from dispatch to the door: the fewest and the most; ``notice``: buyers there are told at dispatch."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    names: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    days: tuple[int, int]
    notice: bool = False


class Notice(BaseModel):
    """What holds parcels up in a region, from when until when."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    names: tuple[str, ...] = ()
    start: AwareDatetime
    end: AwareDatetime
    kind: str = "other"
    extra_days: int = Field(0, ge=0)


class Journey(NamedTuple):
    """What is known of the way to an address."""

    region: Region | None
    notice: Notice | None

    @property
    def extra(self) -> timedelta:
        """How much longer everything takes just now."""
        return timedelta(days=self.notice.extra_days if self.notice else 0)

    @property
    def days(self) -> tuple[int, int] | None:
        """The fewest and the most days, with what holds parcels up."""
        if self.region is None:
            return None
        low, high = self.region.days
        return low, high + self.extra.days


@cache
def shipped_regions() -> tuple[Region, ...]:
    """The regions that come with the policy."""
    return regions_of((resources.files(__package__) / "regions.toml").read_text(encoding="utf-8"))


def regions_of(text: str) -> tuple[Region, ...]:
    """The regions of a file."""
    return tuple(Region.model_validate(one) for one in tomli.loads(text).get("regions", []))


def notices_of(path: Path | None) -> tuple[Notice, ...]:
    """The notices of a file; none where there is no file."""
    text = path.read_text(encoding="utf-8") if path else ""
    return tuple(Notice.model_validate(one) for one in tomli.loads(text).get("weather", []))


def journey(to: Address | None, now: datetime, regions: Iterable[Region], notices: Iterable[Notice]) -> Journey:
    """The first region that fits the address, and the notice that is in force there."""
    if to is None:
        return Journey(None, None)
    where = " ".join(filter(None, (to.region, to.city, to.district, *to.lines))).casefold()
    region = next((one for one in regions if _at(one.names, where) and _in(one.countries, to.country)), None)
    active = [one for one in notices if one.start <= now < one.end and _at(one.names, where)]
    return Journey(region, max(active, key=lambda one: one.extra_days, default=None))


def _at(names: tuple[str, ...], where: str) -> bool:
    return not names or any(one in where for one in _folded(names))


def _in(countries: tuple[str, ...], country: str | None) -> bool:
    return not countries or (country or "").casefold() in _folded(countries)


@lru_cache(maxsize=1024)
def _folded(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(one.casefold() for one in names)
