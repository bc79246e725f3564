"""Which clocks run for a case: when each began, when it warns, when it is due, and what stops it.

Two sorts. *Standing* clocks (review, solution, step, marketplace) follow from the case as it is. *Answer* clocks (first
response, chat reply, next response, social, marketplace reply) are started by the buyer's words and stopped by an
agent's; while one runs, the case's own deadline is its memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ..abilities import Shop
from ..model import (
    Author,
    Case,
    CaseRequested,
    Deadline,
    Direction,
    Event,
    Form,
    MessageReceived,
    RemedyKind,
    RequestStatus,
    Settled,
    Status,
)
from .calendars import Calendar, calendar_of
from .lifecycle import BACK_FIRST, CLOCKS, answering, asked_again, came_back, enquiry
from .terms import CHAT, FIRST, MARKETPLACE, NEXT, REVIEW, SOCIAL, SOLUTION, STEP, THEIRS, Terms, tier_of

DUE: Final = "due:"
WARN: Final = "warn:"
ASIDE: Final = timedelta(minutes=1)  # the clocks of a marketplace and a help desk differ by no more
ANSWERS: Final = frozenset({FIRST, NEXT, CHAT, SOCIAL, THEIRS})
WAITING: Final = frozenset({Status.NEW, Status.REQUESTED})
REFUNDS: Final = frozenset({RemedyKind.REFUND_ONLY, RemedyKind.PARTIAL_REFUND})
SENDS: Final = {RemedyKind.EXCHANGE: "reship", RemedyKind.RESHIP: "reship", RemedyKind.REPAIR: "repair"}


@dataclass(frozen=True, slots=True)
class Clock:
    """One running clock; ``tier`` is whose deadline it is, ``given`` its working time where it has one."""

    name: str
    start: datetime
    warn_at: datetime
    due_at: datetime
    given: timedelta | None = None
    tier: str | None = None

    @property
    def rule(self) -> str:
        """Why it is due then, in words."""
        return (
            f"{self.name} within {self.given} for tier {self.tier}" if self.tier else f"{self.name} within {self.given}"
        )


def kind_of(name: str) -> str:
    """The clock without the level or step that its name carries."""
    return name.partition(":")[0]


def nearest(case: Case) -> Deadline | None:
    """The deadline that comes first: it is the one to work to."""
    return min((one for one in case.deadlines if one.name.startswith(DUE)), key=lambda one: one.due_at, default=None)


def running(case: Case, name: str, stage: str = DUE) -> datetime | None:
    """When the running clock of that name is due."""
    return next((one.due_at for one in case.deadlines if one.name == stage + name), None)


def standing(case: Case, shop: Shop, terms: Terms) -> Iterator[Clock]:
    """The clocks that follow from the case as it is; once it is closed the marketplace's alone, which decides by itself
    when it runs out. An enquiry has nothing to solve.
    """
    if not case.open:
        undecided = case.request is not None and case.request.status is RequestStatus.REQUESTED and not answering(case)
        if undecided and case.merged_into is None and (due := _theirs(case)):
            yield _until(MARKETPLACE, written(case, "request.due_at"), due, terms)
        return
    if case.request and case.request.status is RequestStatus.REQUESTED:
        asked = max(_began(case), case.request.asked_at or case.opened_at)
        yield _timed(REVIEW, asked, terms.return_review, case, shop, terms)
    if not solved(case) and not enquiry(case):
        limit = terms.solution[case.level - 1]
        yield _timed(f"{SOLUTION}:{case.level}", _unsolved_since(case), limit, case, shop, terms)
    if (step := _step(case)) and (clock := _of_step(*step, shop, terms)):
        yield clock
    if due := _theirs(case):
        yield _until(MARKETPLACE, written(case, "request.due_at"), due, terms)


def _unsolved_since(case: Case) -> datetime:
    """Since when a solution is wanted on this level: what was declined and asked for again begins anew."""
    levelled, request = written(case, "said.level"), case.request
    return max(levelled, request.asked_at) if request and request.asked_at and request.again else levelled


def turn(case: Case, name: str, due: datetime | None) -> str:
    """What tells a run of a clock from others of its name in the round: its end, its step's beginning, or how often the
    request was asked for again.
    """
    kind = kind_of(name)
    if kind in {*ANSWERS, MARKETPLACE}:
        return str(int(due.timestamp())) if due else ""
    if kind == STEP:
        step = _step(case)
        return str(int(step[1].timestamp())) if step else ""
    return str(asked_again(case) or "") if kind in {REVIEW, SOLUTION} else ""


def solved(case: Case) -> bool:
    """Whether a solution is decided: agreed by both sides, granted by a rule, or answered on the marketplace."""
    granted = case.offered is not None and case.offered.automatic is not None and not case.offered.interim
    agreed = case.agreed is not None and case.agreed.accepted_at is not None
    return granted or agreed or case.status not in WAITING


def starting(case: Case, event: Event, shop: Shop, terms: Terms) -> Iterator[Clock]:
    """The answer clocks that the buyer's words start, but for those that run already."""
    at = asked(event)
    if at is None or not case.open or (case.talk.answered is not None and case.talk.answered - at >= ASIDE):
        return
    for name, limit in _wanted(case, event, at, terms):
        if running(case, name) is None:
            yield _timed(name, at, limit, case, shop, terms)


def again(case: Case, at: datetime, shop: Shop, terms: Terms) -> Iterator[Clock]:
    """The answer clocks of words that an answer came too early for."""
    last = case.talk.last_in
    if last is not None and last > at and case.open:
        yield _timed(NEXT, last, terms.next_response, case, shop, terms)
        if case.talk.form == Form.CHAT:
            yield _timed(CHAT, last, terms.chat_reply, case, shop, terms)
        if limit := terms.marketplace_reply.get(case.marketplace or ""):
            yield _timed(THEIRS, last, limit, case, shop, terms)


def tightened(case: Case, shop: Shop, terms: Terms) -> Clock | None:
    """The first response where a tier learned of since makes it due earlier."""
    due = running(case, FIRST)
    clock = _timed(FIRST, case.opened_at, terms.first_response, case, shop, terms) if due else None
    return clock if clock and due and clock.due_at < due else None


def _wanted(case: Case, event: Event, at: datetime, terms: Terms) -> Iterator[tuple[str, timedelta]]:
    first = at == case.opened_at and case.round == 1
    if first:
        yield FIRST, terms.first_response
    elif running(case, FIRST) is None:
        yield NEXT, terms.next_response
    if first and {case.source, _source(event)} & set(terms.social_sources):
        yield SOCIAL, terms.social
    if isinstance(event, MessageReceived):
        if event.message.form is Form.CHAT:
            yield CHAT, terms.chat_reply
        if limit := terms.marketplace_reply.get(case.marketplace or ""):
            yield THEIRS, limit


def _source(event: Event) -> str | None:
    """Where the words come from, as the event says."""
    if isinstance(event, MessageReceived):
        return event.source
    return (event.model_extra or {}).get("source")


def asked(event: Event) -> datetime | None:
    """When the buyer asked, if that is what happened."""
    if isinstance(event, CaseRequested):
        return event.at
    by_buyer = isinstance(event, MessageReceived) and event.message.author is Author.BUYER
    return event.message.at if by_buyer and isinstance(event, MessageReceived) else None


def answered(event: Event) -> datetime | None:
    """When a person answered the buyer, if that is what happened."""
    if isinstance(event, MessageReceived) and event.message.author is Author.AGENT and event.message.public:
        return event.message.at
    return None


def sent(event: Event) -> bool:
    """Whether a message of the bridge reached the buyer."""
    done = isinstance(event, Settled) and event.outcome == "done" and event.action_type == "message.send"
    return done and isinstance(event, Settled) and not event.action.startswith("staff:")


def _began(case: Case) -> datetime:
    """When the round began."""
    return max((case.opened_at, *case.reopenings))


def written(case: Case, group: str) -> datetime:
    """When a group of fields was last written in this round, else when the round began."""
    began, stamp = _began(case), case.stamps.get(group)
    if stamp is None:
        return began
    seconds, micros = divmod(int(stamp[:14], 16), 1_000_000)
    return max(began, datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros))


def _timed(name: str, start: datetime, limit: timedelta, case: Case, shop: Shop, terms: Terms) -> Clock:
    tier, own = tier_of(case, terms.tiers)
    given: timedelta | None = getattr(own, kind_of(name), None) if own else None
    if given is None or given >= limit:
        tier, given = None, limit
    calendar = calendar_of(shop, around_the_clock=name == THEIRS or name in terms.all_hours)
    warn, due = _ends(calendar, start, given, terms.warn_at)
    return Clock(name, start, warn, due, given, tier)


@lru_cache(maxsize=8192)
def _ends(calendar: Calendar, start: datetime, given: timedelta, part: float) -> tuple[datetime, datetime]:
    """When it warns and when it is due; asked again at each event of a case, so the answers are kept."""
    return calendar.add(start, given * part), calendar.add(start, given)


def _until(name: str, start: datetime, due: datetime, terms: Terms) -> Clock:
    return Clock(name, start, start + max(due - start, timedelta(0)) * terms.warn_at, due)


def _theirs(case: Case) -> datetime | None:
    """The marketplace's deadline, while what it stands for is not done."""
    request = case.request
    if request is None or request.due_at is None:
        return None
    later = case.stamps.get("request.due_at", "") >= case.stamps.get("request.status", "")
    goes_on = request.status is RequestStatus.APPROVED and later
    return request.due_at if request.status is RequestStatus.REQUESTED or goes_on else None


def _of_step(step: str, since: datetime, shop: Shop, terms: Terms) -> Clock | None:
    days = terms.steps.get(step, shop.dispatch_days if step == "reship" else None)
    if days is None:
        return None
    due = calendar_of(shop).workdays(since, days)
    return _until(f"{STEP}:{step}", since, due, terms)


def _step(case: Case) -> tuple[str, datetime] | None:
    """The step of the agreed solution that is the shop's to take, and since when."""
    remedy = case.agreed or (case.offered if case.offered and case.offered.automatic else None)
    if remedy is None or remedy.kind is RemedyKind.NONE:
        return None
    since = remedy.accepted_at or written(case, "offered")
    if any(one.at >= since - CLOCKS for one in case.refunds):
        return None
    if remedy.kind in BACK_FIRST:
        if case.status is Status.REQUESTED:
            return "approve", since
        came = came_back(case)
        if case.status is not Status.RECEIVED or came is None or remedy.kind is RemedyKind.RETURN_ONLY:
            return None
        since = max(since, came)
    step = "refund" if remedy.kind in REFUNDS | {RemedyKind.RETURN_REFUND} else SENDS.get(remedy.kind, "give")
    return None if _taken(case, step, since) else (step, since)


def _taken(case: Case, step: str, since: datetime) -> bool:
    if any(one.at >= since for one in case.given):
        return True
    out = (one for one in case.parcels if one.direction is Direction.OUT)
    left = (one.shipped_at or (one.scans[0].at if one.scans else None) for one in out)
    return step in {"reship", "repair"} and any(at is not None and at > since for at in left)
