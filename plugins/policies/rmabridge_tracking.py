"""Tracking: follows every parcel of an open case, and answers "where is my parcel" from the carrier.

Where the carrier pushes, one subscription is enough; where it does not (``poll``), or the subscription failed, a timer
asks again and again; so it does where a subscription has been silent for long, because some vendors end them. A parcel
that the carrier refuses to tell of three times in a row is told to colleagues, and asked about seldom. What the carrier
said within ``fresh`` is told without asking; a question that waits longer than ``answer_within`` is not asked any more,
and the answer says how old what is known is. Colleagues are told once of a parcel whose number cannot be of the carrier
that the order names, or that is found at another one. The phrases are data: ``templates/phrases.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from importlib import resources
from typing import Any, ClassVar, Final

import tomli
from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.freshness import FRESH, stale
from rmabridge.core.lifecycle import awaited
from rmabridge.core.quiet import asked_at, wait, words
from rmabridge.core.reach import shown, tell
from rmabridge.model import (
    NEWS,
    Case,
    DeadlineReached,
    Direction,
    Event,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    QueryParcel,
    Settled,
    TrackParcel,
)
from rmabridge.wire import carriers
from rmabridge.wire.waybills import contradiction

FAILED: Final = frozenset({"dead", "denied", "expired", "cancelled"})
UNDER_WAY: Final = frozenset({"waiting", "due", "held", "sending", "uncertain"})
REFUSED: Final = frozenset({"dead", "denied"})
HOPELESS: Final = 3
# 13800001234-5678, 010-12345678 转 12: what is dialled after the number.
EXTENSION: Final = re.compile(r"(?:\s*(?:转|轉|ext\.?|x|#|,)\s*|(?<=[0-9]{7})-)[0-9]{1,6}\s*$", re.IGNORECASE)
MOST: Final = 3


def _phrases() -> tuple[str, ...]:
    text = (resources.files("rmabridge") / "templates" / "phrases.toml").read_text(encoding="utf-8")
    return tuple(tomli.loads(text)["phrases"]["tracking"])


class Tracking(Policy):
    """Subscriptions, polls and answers about parcels."""

    title: ClassVar[str] = "Tracking"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {DeadlineReached, Settled}

    poll: bool = Field(False, description="ask the carrier on a timer too; for carriers that do not push")
    every: timedelta = Field(timedelta(hours=6), description="pause between two questions about one parcel")
    silent: timedelta = Field(
        timedelta(days=3), description="how long a subscription may be silent before the carrier is asked all the same"
    )
    answer: bool = Field(True, description="answer buyers who ask where their parcel is")
    fresh: timedelta = Field(FRESH, description="age up to which the carrier's last word is told without asking again")
    answer_within: timedelta = Field(
        timedelta(minutes=5), description="how long a question to the carrier may wait before what is known is told"
    )
    patience: timedelta = Field(timedelta(hours=1), description="age past which such a question is not answered")
    check_carrier: bool = Field(True, description="tell colleagues of parcels that are not with the carrier named")
    phrases: tuple[str, ...] = Field(
        default_factory=_phrases, description="words by which a buyer asks for the parcel; a built-in list if left out"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Subscribe to parcels, ask where the time for it has come, answer the buyer."""
        if view.shop.carrier:
            for parcel in case.parcels:
                yield from self._follow(case, parcel, event, view)
                if case.open and self.check_carrier:
                    yield from _doubt(case, parcel, event, view)
        if case.open and self.answer:
            yield from self._respond(case, view)

    def _follow(self, case: Case, parcel: Parcel, event: Event, view: View) -> Iterable[Proposal]:
        track = TrackParcel(waybill=parcel.waybill, carrier=parcel.carrier, phone_tail=phone_tail(case))
        timer = f"poll:{parcel.waybill}"
        running = any(one.name == timer for one in case.deadlines)
        asked = _asked(parcel, view)
        refused = len(asked) >= HOPELESS and all(view.ledger[one] in REFUSED for one in asked[-HOPELESS:])
        if parcel.final or not (case.open or awaited(case, parcel)):
            if running:
                yield Timer(timer, None)
            return
        if refused:
            origin, by = f"untracked:{parcel.waybill}", _name(parcel.carrier) if parcel.carrier else None
            about: dict[str, Any] = {"waybill": parcel.waybill, "carrier": by}
            yield from tell_colleagues(case, view, origin, "tracking.untracked", **about)
        if not view.proposed(track.key):
            yield track
        if running:
            return
        polled = self.poll or parcel.status is ParcelStatus.EXPIRED or view.ledger.get(track.key) in FAILED
        yield Timer(timer, view.now + (self.every if polled and not refused else self.silent))
        fired = isinstance(event, DeadlineReached) and event.name == timer
        idle = not any(view.ledger[one] in UNDER_WAY for one in asked)
        if (polled and not asked) or (fired and idle and (polled or stale(parcel, view.now, self.silent / 2))):
            yield _query(case, parcel, len(asked) + 1)

    def _respond(self, case: Case, view: View) -> Iterable[Proposal]:
        number = self._question(case, view)
        if number is None or view.proposed(f"answer:tracking:{number}"):
            return
        if writing := wait(case, view):
            yield writing
            return
        parcels = _outbound(case)
        waiting = False
        for parcel in parcels:
            if parcel.final or not view.shop.carrier or not stale(parcel, view.now, self.fresh):
                continue
            query = _query(case, parcel, number).model_copy(update={"not_after": view.now + self.answer_within})
            state = view.ledger.get(query.key)
            waiting = waiting or state is None or state in UNDER_WAY
            if state is None:
                yield query
        if not waiting:
            template = "tracking.answer" if parcels else "tracking.unknown"
            told = [shown(one, old=stale(one, view.now, self.fresh)) for one in parcels]
            values = {"parcels": told} if parcels else {}
            message = tell(case, view, f"answer:tracking:{number}", template, **values)
            if message:
                yield message.model_copy(update={"not_after": view.now + self.patience})

    def _question(self, case: Case, view: View) -> int | None:
        """The number of the buyer's open question: the second it was asked, so that one question has one answer."""
        asked = asked_at(case, view.shop)
        if asked is None or view.now - asked > self.patience:
            return None
        said = words(case, view.shop).casefold()
        return int(asked.timestamp()) if any(one.casefold() in said for one in self.phrases) else None


def _doubt(case: Case, parcel: Parcel, event: Event, view: View) -> Iterable[Proposal]:
    """Tell colleagues once that the carrier named is not the parcel's: by the number, or by where it was found."""
    followed = view.action(TrackParcel(waybill=parcel.waybill).key)
    stated = (followed.carrier if isinstance(followed, TrackParcel) else None) or parcel.carrier
    if not stated:
        return
    guess, found = contradiction(parcel.waybill, stated), _found(parcel, event)
    found = found if found and _code(found) != _code(stated) else None
    if other := found or (guess.carrier if guess else None):
        yield from tell_colleagues(
            case,
            view,
            f"carrier:{parcel.waybill}",
            "tracking.wrong_carrier",
            waybill=parcel.waybill,
            carrier=_name(stated),
            other=_name(other),
            found=bool(found),
        )


def _found(parcel: Parcel, event: Event) -> str | None:
    """Where the parcel was found: what was just answered counts, though the order was seen after the last scan."""
    if isinstance(event, ParcelSeen) and event.parcel.waybill == parcel.waybill and event.parcel.carrier:
        return event.parcel.carrier
    return parcel.carrier


def _code(carrier: str) -> str:
    known = carriers.carrier(carrier)
    return known.code if known else carrier


def _name(carrier: str) -> str:
    known = carriers.carrier(carrier)
    return known.name if known else carrier


def _query(case: Case, parcel: Parcel, number: int) -> QueryParcel:
    return QueryParcel(waybill=parcel.waybill, carrier=parcel.carrier, phone_tail=phone_tail(case), round=number)


def _asked(parcel: Parcel, view: View) -> list[str]:
    return [key for key in view.ledger if key.startswith(f"parcel:query:{parcel.waybill}:")]


def _outbound(case: Case) -> list[Parcel]:
    """The parcels to the buyer, those still moving first."""
    out = [one for one in case.parcels if one.direction is Direction.OUT]
    return sorted(out, key=lambda one: (one.final, one.waybill))[:MOST]


def phone_tail(case: Case) -> str | None:
    """The last four digits of the buyer's phone, where they are shown: some carriers ask for them."""
    phones = (case.order.ship_to.phone if case.order and case.order.ship_to else None, case.buyer and case.buyer.phone)
    for phone in phones:
        tail = EXTENSION.sub("", phone or "").strip()[-4:]
        if len(tail) == 4 and tail.isascii() and tail.isdigit():
            return tail
    return None


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Tracking]
