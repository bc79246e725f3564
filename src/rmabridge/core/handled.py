"""What was found out, offered, agreed and done in a case, folded into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from ..model import (
    ClaimSeen,
    Classified,
    Closed,
    Closing,
    CoverageSeen,
    DeadlineReached,
    Delivered,
    Evidence,
    EvidenceAdded,
    FactMissing,
    Given,
    IdentityChecked,
    IncidentOpened,
    OptedIn,
    OptedOut,
    Play,
    PlayMoved,
    Remedy,
    RemedyAccepted,
    RemedyDeclined,
    RemedyOffered,
    Reopened,
    Route,
    Routed,
    Settled,
)
from ..model.case import Arrival, Enquiry, Sent
from .claims import fold as fold_claim
from .folding import Fold

MOST_LINES = 10
MOST_REASONS = 12
MOST_EVIDENCE = 60
MOST_GIVEN = 60
GIVING = frozenset({"refund.pay", "credit.give", "goods.reship"})
OPTED = "opted."  # of the stamps that say when the buyer last spoke of a way
M = TypeVar("M", bound=BaseModel)


def _classified(fold: Fold, event: Classified) -> None:
    for name in ("kind", "issue", "also", "cause", "level", "liable", "sub", "anger", "language", "agent"):
        if (value := getattr(event, name)) is not None and fold.newer(f"said.{name}"):
            fold.changes[name] = value
    if event.why and fold.newer("said.why"):
        fold.changes["why"] = event.why[:MOST_REASONS]


def _offered(fold: Fold, event: RemedyOffered) -> None:
    if fold.newer("offered"):
        fold.changes["offered"] = Remedy(
            kind=event.remedy,
            amount=event.amount,
            automatic=event.automatic,
            choices=event.choices,
            interim=event.interim,
        )


def _accepted(fold: Fold, event: RemedyAccepted) -> None:
    if fold.newer("agreed"):
        fold.changes["agreed"] = Remedy(
            kind=event.remedy, amount=event.amount, accepted_at=event.at, accepted_by=event.by
        )


def _declined(fold: Fold, event: RemedyDeclined) -> None:
    if fold.case.offered and fold.newer("declined"):
        fold.changes["offered"] = fold.case.offered.model_copy(update={"declined_at": event.at})


def _claim(fold: Fold, event: ClaimSeen) -> None:
    claims, stamps = fold_claim(fold.case.claims, fold.get("stamps"), event, fold.stamp, fold.account)
    fold.changes |= {"claims": claims, "stamps": stamps}


def _evidence(fold: Fold, event: EvidenceAdded) -> None:
    known = {one.id: one for one in fold.case.evidence}
    known[event.evidence] = Evidence(
        id=event.evidence,
        kind=event.kind,
        name=event.name,
        media_type=event.media_type,
        size=event.size,
        sha256=event.sha256,
        url=event.url,
        source=event.source,
        at=event.at,
    )
    ordered = sorted(known.values(), key=lambda one: (one.at or event.at, one.id))
    fold.changes["evidence"] = tuple(ordered[-MOST_EVIDENCE:])


def _identity(fold: Fold, event: IdentityChecked) -> None:
    fold.set("identity", event.identity)


def _coverage(fold: Fold, event: CoverageSeen) -> None:
    if fold.newer(f"coverage.{event.carrier}"):
        fold.changes["coverage"] = {**fold.case.coverage, event.carrier: event.served}


def _routed(fold: Fold, event: Routed) -> None:
    if fold.newer("route"):
        fold.changes["route"] = Route(
            rule=event.rule, group=event.group, priority=event.priority, tags=event.tags, channels=event.channels
        )


def _played(fold: Fold, event: PlayMoved) -> None:
    """The bridge's own events, in the order of their turns; what was held back is closed by the last missing step."""
    old = fold.case.play
    if old and event.turn <= old.turn:
        return
    same = old if old and old.round == event.round else None
    steps = {one.name: one for one in (*event.steps, *(same.steps if same else ()))}
    fold.changes["play"] = play = Play(
        id=event.play,
        state=event.state,
        turn=event.turn,
        round=event.round,
        steps=tuple(sorted(steps.values(), key=lambda one: (one.at, one.name))),
        next=event.next,
        needs=event.needs if event.needs is not None else same.needs if same else (),
        standard=event.standard if event.standard is not None else same.standard if same else (),
        rank=event.rank or (old.rank if old else None),
        rights=event.rights or (old.rights if old else None),
        closing=same.closing if same else None,
    )
    if play.closing and not play.missing:
        _close(fold, event, play.closing.result)
        fold.changes["play"] = play.model_copy(update={"closing": None})


def keep_open(fold: Fold) -> None:
    """The buyer wrote again: nobody closes over that."""
    if (play := fold.case.play) and play.closing:
        fold.changes["play"] = play.model_copy(update={"closing": None})


def _incident(fold: Fold, event: IncidentOpened) -> None:
    old, new = fold.case.incident, event.incident
    if old is None or (new.opened_at, new.id) < (old.opened_at, old.id):
        fold.changes["incident"] = new


def _closed(fold: Fold, event: Closed) -> None:
    """Closed, or held back while its play misses a step that a closing needs."""
    play = fold.case.play
    if play and play.round == fold.case.round and play.missing:
        closing = Closing(result=event.result, by=event.by, at=event.at)
        fold.changes["play"] = play.model_copy(update={"closing": closing})
    else:
        _close(fold, event, event.result)


def _close(fold: Fold, event: Closed | PlayMoved, result: str) -> None:
    fold.changes["closings"] = tuple(sorted({*fold.case.closings, event.at}))
    if fold.newer("closed"):
        fold.changes["result"] = result
        fold.changes["closed_at"] = event.at


def _reopened(fold: Fold, event: Reopened) -> None:
    fold.changes["reopenings"] = tuple(sorted({*fold.case.reopenings, event.at}))
    fold.changes["round"] = 1 + len(fold.changes["reopenings"])


def _checked(fold: Fold, event: Settled) -> None:
    """The carrier answered: what it said stands on the case already, so it is as new as the answer."""
    waybill = event.action.removeprefix("parcel:query:").rpartition(":")[0]
    parcels = {one.waybill: one for one in fold.case.parcels}
    if (old := parcels.get(waybill)) is not None:
        parcels[waybill] = old.model_copy(update={"checked_at": max(filter(None, (old.checked_at, event.at)))})
        fold.changes["parcels"] = tuple(parcels[one] for one in sorted(parcels))


def _settled(fold: Fold, event: Settled) -> None:
    if event.outcome != "done":
        return
    if event.action_type in GIVING:
        given = {one.action: one for one in fold.case.given}
        given[event.action] = Given(
            action=event.action, type=event.action_type, amount=event.amount, at=event.at, ref=event.ref
        )
        fold.changes["given"] = tuple(sorted(given.values(), key=lambda one: (one.at, one.action)))[-MOST_GIVEN:]
    if event.action_type == "parcel.query":
        _checked(fold, event)
    if event.action_type == "carrier.ask":
        asked = {one.action: one for one in fold.case.enquiries}
        asked[event.action] = Enquiry(action=event.action, ref=event.ref, at=event.at)
        fold.changes["enquiries"] = tuple(sorted(asked.values(), key=lambda one: (one.at, one.action)))[-MOST_LINES:]
    if event.action_type == "ticket.open":
        ticket = fold.case.ticket
        opened = {"id": event.ref, "account": event.account, "url": event.url}
        moved = fold.get("stamps").get("ticket.id", "") > fold.stamp  # it goes on in another one since then
        fold.changes["ticket"] = ticket.model_copy(
            update={**({} if moved else opened), "status": ticket.status or "new"}
        )
    elif event.action_type == "message.send" and not event.action.startswith("staff:"):
        talk = fold.case.talk
        first, last = min(filter(None, (talk.first_out, event.at))), max(filter(None, (talk.last_out, event.at)))
        new: dict[str, Any] = {"first_out": first, "last_out": last, "count": talk.count + 1}
        if event.ref or event.delivery:
            named = {"ref": event.ref or "", "delivery": event.delivery}
            one = Sent(action=event.action, account=event.account, at=event.at, form=event.form, **named)
            new["sent"] = tuple(sorted({*talk.sent, one}, key=lambda one: (one.at, one.action)))[-MOST_LINES:]
        fold.changes["talk"] = talk.model_copy(update=new)


def _arrived(fold: Fold, event: Delivered) -> None:
    """The newest word on each message."""
    new = Arrival(message=event.message, ok=event.ok, reason=event.reason, at=event.at, delivery=event.delivery)
    newest: dict[str, Arrival] = {}
    for one in sorted((*fold.case.talk.arrivals, new), key=lambda one: (one.at, one.message, one.ok, one.reason or "")):
        newest.pop(one.message, None)
        newest[one.message] = one
    fold.changes["talk"] = fold.case.talk.model_copy(update={"arrivals": tuple(newest.values())[-MOST_LINES:]})


def _opted(fold: Fold, event: OptedOut | OptedIn) -> None:
    way = f"{fold.account}/{event.form}"
    if fold.newer(f"{OPTED}{way}"):
        closed = {*fold.case.talk.closed, way} - ({way} if isinstance(event, OptedIn) else set())
        fold.changes["talk"] = fold.case.talk.model_copy(update={"closed": tuple(sorted(closed))[:MOST_LINES]})


def _deadline(fold: Fold, event: DeadlineReached) -> None:
    left = tuple(
        one for one in fold.case.deadlines if not (one.name == event.name and one.generation == event.generation)
    )
    if len(left) != len(fold.case.deadlines):
        fold.changes["deadlines"] = left


def _missing(fold: Fold, event: FactMissing) -> None:
    fold.changes["missing"] = tuple(sorted({*fold.case.missing, event.fact}))


STEPS: dict[type[Any], Callable[[Fold, Any], None]] = {
    Delivered: _arrived,
    OptedIn: _opted,
    OptedOut: _opted,
    Classified: _classified,
    RemedyOffered: _offered,
    RemedyAccepted: _accepted,
    RemedyDeclined: _declined,
    ClaimSeen: _claim,
    EvidenceAdded: _evidence,
    IdentityChecked: _identity,
    CoverageSeen: _coverage,
    Routed: _routed,
    PlayMoved: _played,
    IncidentOpened: _incident,
    Closed: _closed,
    Reopened: _reopened,
    Settled: _settled,
    DeadlineReached: _deadline,
    FactMissing: _missing,
}
