"""Logistics: what goes wrong on each leg of a parcel's way, and what the buyer hears of it.

Tells colleagues of exceptions by leg (pick-up, transit, delivery), presumes a silent parcel lost, apologises once for a
late dispatch, tells far regions their days and the weather, reminds to look before signing, turns a refusal into a
return that is paid on receipt, honours the carrier that an order's note asks for, and asks carriers on buyers' behalf.

Not verified: every time in ``legs.toml`` and ``regions.toml`` is the project's own working value, no carrier's promise;
an operator's own go first. The promise of 48 hours until dispatch is the setting ``dispatch_within``.

Where "compensation" is configured too, name it before "logistics": the cause of a case is told first, and what is done
about it waits until all have heard the cause. So the one that can offer does, and where it has, this policy is silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Self

from pydantic import Field, FilePath, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.model import (
    NEWS,
    Author,
    Case,
    Classified,
    CoverageSeen,
    DeadlineReached,
    Direction,
    Event,
    Issue,
    MessageReceived,
    ParcelException,
    RemedyAccepted,
    RemedyOffered,
    Settled,
)

from .choosing import Choosing, is_wrong
from .dispatching import Dispatching
from .legs import Leg, stalls_at
from .regions import Journey, Notice, Region, journey, notices_of, regions_of, shipped_regions
from .watching import Watching, arrives_by, enquiry, was_refused
from .wishes import asks_for_help

# What a case may be about for a delay to be its cause: a case about the goods stays about the goods.
OPEN: Final = frozenset({None, Issue.TRACKING_QUERY, Issue.OTHER, Issue.LATE_DELIVERY})
SLOW, LATE_DISPATCH, DAMAGED = "slow", "late_dispatch", "damaged"
Cause = tuple[Issue, str, str]


class Logistics(Watching, Dispatching, Choosing):
    """Parcels, from the promise to the door."""

    title: ClassVar[str] = "Logistics"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {
        CoverageSeen,
        DeadlineReached,
        RemedyAccepted,
        RemedyOffered,
        Settled,
    }
    minds: ClassVar[frozenset[type[Any]]] = frozenset({Classified})

    regions: tuple[Region, ...] = Field((), description="your own days by region; they go first")
    regions_file: FilePath | None = Field(None, description="the same as a file, like regions.toml")
    weather: tuple[Notice, ...] = Field((), description="notices of weather that holds parcels up")
    weather_file: FilePath | None = Field(None, description="the same as a file, like weather.toml")
    help_buyers: bool = Field(True, description="ask the carrier where a buyer asks us to")

    @model_validator(mode="after")
    def _with_files(self) -> Self:
        """Files are read once, when the bridge starts."""
        own = regions_of(self.regions_file.read_text(encoding="utf-8")) if self.regions_file else ()
        self.regions = (*self.regions, *own, *shipped_regions())
        self.weather = (*self.weather, *notices_of(self.weather_file))
        return self

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Look at each parcel of an open case, and at the order that has none yet."""
        if not case.open:
            return
        if not case.parcels and self.promised(case) is None:
            yield from _answered(case, event, view)
            return
        way = self.way(case, view)
        causes = list(self._classify(case, way, view))
        heard = not causes or (isinstance(event, Classified) and event.key == causes[0].key)
        yield from self.dispatch(case, event, view, heard=heard)
        for parcel in case.parcels:
            if parcel.direction is Direction.OUT:
                yield from self.watch(case, parcel, way, view)
                yield from self.days(case, parcel, way, view)
                yield from self.remember(case, parcel, view)
                yield from self.choose(case, parcel, view)
                yield from self.lost(case, parcel, view, heard=heard)
            yield from self.refused(case, parcel, view)
        yield from _answered(case, event, view)
        if self.help_buyers and asks_for_help(case.talk.last_text):
            yield from _help(case, view)
        yield from causes

    def way(self, case: Case, view: View) -> Journey:
        """What is known of the way to the buyer."""
        under_way = any(one.direction is Direction.OUT and not one.final for one in case.parcels)
        to = case.order.ship_to if case.order and under_way else None
        return journey(to, view.now, self.regions, self.weather)

    def _classify(self, case: Case, way: Journey, view: View) -> Iterable[Classified]:
        found = self._cause(case, way, view)
        if found is None:
            return
        issue, sub, why = found
        key = f"logistics:{case.id}:{issue}:{sub}:{len(case.also)}"
        if case.issue in OPEN and (case.issue, case.sub) != (issue, sub):
            yield Classified(key=key, at=view.now, issue=issue, sub=sub, why=(*case.why, why))
        elif case.issue not in {*OPEN, issue} and issue not in {*case.also, Issue.LATE_DELIVERY}:
            yield Classified(key=key, at=view.now, also=(*case.also, issue))

    def _cause(self, case: Case, way: Journey, view: View) -> Cause | None:
        """The worst that the parcels show: lost, damaged, the wrong carrier, late dispatch, slow."""
        out = [one for one in case.parcels if one.direction is Direction.OUT]
        if any(self.is_gone(case, one, way, view) for one in out):
            return Issue.LOST_PARCEL, "lost", "no scan for too long, or the carrier says so"
        ours = [one for one in case.parcels if one.direction is Direction.OUT or was_refused(one)]
        if any(ParcelException.DAMAGED in {one.exception, *(scan.exception for scan in one.scans)} for one in ours):
            return Issue.DAMAGED_IN_TRANSIT, DAMAGED, "a scan says that the parcel is damaged"
        if any(is_wrong(case, one) for one in out if not one.final):
            return Issue.WRONG_CARRIER, "wrong_carrier", "the order's note asks for another carrier"
        if self.is_late(case, view):
            return Issue.LATE_DELIVERY, LATE_DISPATCH, "the order has not left in the promised time"
        for one in out:
            due, stall = arrives_by(case, one, way), stalls_at(case, one, self.limits, way.extra)
            if any(at and view.now >= at for at in (due, stall)):
                return Issue.LATE_DELIVERY, SLOW, "the parcel is slower than its way takes"
        return None


def _answered(case: Case, event: Event, view: View) -> Iterable[Proposal]:
    """Colleagues hear of what a carrier writes."""
    if isinstance(event, MessageReceived) and event.message.author is Author.CARRIER:
        origin, words = f"carrier:{event.message.id}", event.message.text
        yield from tell_colleagues(case, view, origin, "logistics.answer", text=words)


def _help(case: Case, view: View) -> Iterable[Proposal]:
    """The buyer wants us to talk to the carrier: by an enquiry, or by a colleague's call."""
    for parcel in [one for one in case.parcels if one.direction is Direction.OUT and not one.final][:1]:
        asked = list(enquiry(case, parcel, "other", view))
        yield from asked
        if not asked and not view.proposed(f"carrier:ask:{parcel.waybill}:other"):
            about: dict[str, Any] = {"waybill": parcel.waybill, "carrier": parcel.carrier_name or parcel.carrier}
            yield from tell_colleagues(case, view, f"help:{parcel.waybill}", "logistics.help", **about)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this package."""
    return [Logistics]


__all__ = ["Leg", "Logistics"]
