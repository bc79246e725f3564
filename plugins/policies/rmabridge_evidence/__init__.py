"""Evidence: asks buyers for what a case needs, compares the sources, and says who answers for it.

What is asked for, by issue and sub-cause, and who answers for what are data (``evidence.toml``); a shop's own go first.
Buyers hand files in on a page of the bridge (``[bridge] public_url``), or send pictures on any way that carries them.
Order number, pictures and waybill are compared; while one of them contradicts the claim nothing is approved by itself.
A carrier is called liable only with its own written proof or its own scan. Nothing looks into pictures: one counts as
there, or as handed in before for somebody else, and what it shows is for a person to see. Pictures of less than 10 kB
in a mail are taken for logos of a signature and do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr

from rmabridge import hookimpl
from rmabridge.abilities import AsksForEvidence, Need, Policy, Proposal, Timer, View
from rmabridge.core.colleagues import tell_colleagues, told
from rmabridge.core.dossier import evidence_files
from rmabridge.core.evidence import need_of, proven
from rmabridge.core.plays import FAMILIES
from rmabridge.core.quiet import wait
from rmabridge.core.reach import note, tell
from rmabridge.model import (
    NEWS,
    Action,
    ApproveReturn,
    Author,
    Case,
    ClaimKind,
    Classified,
    DeadlineReached,
    Direction,
    Event,
    EvidenceAdded,
    EvidenceKind,
    Form,
    GiveCredit,
    Issue,
    MessageReceived,
    Noted,
    ParcelException,
    PayRefund,
    RequestProof,
    Reship,
    Status,
    Verdict,
    hold,
)
from rmabridge.wire.filetypes import kind_of

from .explaining import explain, explains, linked
from .liability import Compared, Found, liable
from .matrix import Matrix, counted, matrix
from .rules import Ask, Rule, merged, shipped_asks, shipped_rules

MISMATCH: Final = "evidence.mismatch"
REMIND, DUE, CLOSED = "evidence:remind", "evidence:due", "evidence:closed:"
OPEN: Final = frozenset({Status.NEW, Status.REQUESTED})
GRANTS: Final = (ApproveReturn, PayRefund, GiveCredit, Reship)
OTHER: Final = Need("other", (EvidenceKind.PHOTO, EvidenceKind.VIDEO, EvidenceKind.DOCUMENT), 0)
OURS: Final = "liability."
MESSAGE: Final = "message:"  # how the ids begin of what a message brought
LOCAL: Final = frozenset({"localhost", "::1", "0.0.0.0"})  # noqa: S104 - addresses that lead nowhere
LEAST_PHOTO: Final = 10_000  # bytes; a smaller picture in a mail is the logo of a signature
LONGEST: Final = 48  # bytes of an item's name in a short message


class EvidencePolicy(Policy, AsksForEvidence):
    """Asks, compares, decides who is liable, and tells the next steps."""

    title: ClassVar[str] = "Evidence"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {EvidenceAdded, DeadlineReached, Noted}

    asks: tuple[Ask, ...] = Field((), description="your own lists of evidence; they go first, or replace by id")
    liability: tuple[Rule, ...] = Field((), description="your own rules of liability; they go first, or replace by id")
    remind_after: timedelta = Field(timedelta(days=1), description="when the buyer is reminded once of what is missing")
    patience: timedelta = Field(timedelta(days=7), description="age past which a case is not asked about")
    least: float = Field(0.7, ge=0, le=1, description="confidence below which a person says who is liable")
    ask_proof: bool = Field(True, description="ask the carrier for written proof of damage")
    tell_steps: bool = Field(True, description="tell the buyer the next steps when it is clear who answers for it")
    most_files: int = Field(20, gt=0, description="files that may be handed in for one case")
    most_bytes: int = Field(300 << 20, gt=0, description="bytes that may be handed in for one case")
    skip_sources: tuple[str, ...] = Field(("operator", "import"), description="sources of cases that are not asked")

    _asks: tuple[Ask, ...] = PrivateAttr()
    _rules: tuple[Rule, ...] = PrivateAttr()
    _about: dict[Issue | None, tuple[Ask, ...]] = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        """Put a shop's own data before what is shipped."""
        self._asks = merged(self.asks, shipped_asks())
        self._rules = merged(self.liability, shipped_rules())
        self._about = {issue: tuple(one for one in self._asks if issue in one.issues) for issue in Issue}

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Pictures of messages as evidence; the request and its reminder; the cross-check; liability and next steps."""
        if isinstance(event, MessageReceived):
            yield from _attached(case, event)
        if not case.open:
            return
        yield from _filed(case, view)
        ask = self.ask_for(case)
        if ask is not None:
            yield from self._ask(case, ask, event, view)
        if self.ask_proof:
            yield from _proof(case, view)
        found = cache(partial(matrix, case, ask))
        yield from self._judge(case, found, view)
        yield from explain(case, view)
        if ask is not None and (case.evidence or found().mismatches):
            yield from _compare(case, ask, found(), event, view)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """Words to a buyer whose goods are as they should be carry the link to the page that helps."""
        return linked(action, case, view)

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Nothing is granted by itself while a source contradicts the claim; what a person grants is a person's."""
        if not isinstance(action, GRANTS) or view.proposer.startswith("operator:"):
            return None
        if mismatches := matrix(case, self.ask_for(case)).mismatches:
            return hold(MISMATCH, "; ".join(mismatches))
        return None

    def ask_for(self, case: Case) -> Ask | None:
        """What this case is to be proven with; a list for its sub-cause goes before one for its issue."""
        fits = [one for one in self._about.get(case.issue, ()) if one.fits(case)]
        return next((one for one in fits if one.subs), fits[0] if fits else None)

    def needs(self, case: Case, subject: str) -> tuple[Need, ...]:
        """What the link of this subject (``quality:1``) asks for."""
        ask = next((one for one in self._asks if one.id == subject.partition(":")[0]), None)
        if ask is None:
            return ()
        return (*counted(case, ask), replace(OTHER, have=sum(need_of(one) == OTHER.name for one in case.evidence)))

    def item(self, case: Case) -> str:
        """The goods that it is about, in few bytes."""
        lines = {one.id: one.title for one in case.order.lines} if case.order else {}
        asked = [lines.get(one.order_line or "") for one in case.request.lines] if case.request else []
        name = next(filter(None, (*asked, *lines.values())), None) or (case.order and case.order.number) or case.id
        return name if len(name.encode()) <= LONGEST else name.encode()[: LONGEST - 3].decode(errors="ignore") + "…"

    # -- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, case: Case, ask: Ask, event: Event, view: View) -> Iterator[Proposal]:
        missing = [one for one in counted(case, ask) if one.left]
        prefix = f"evidence:ask:{case.round}:"
        if isinstance(event, Noted) and event.key.startswith(CLOSED):
            yield from (Timer(REMIND, None), Timer(DUE, None))
        elif not missing:
            yield from (Timer(one.name, None) for one in case.deadlines if one.name in {REMIND, DUE})
        elif not any(one.startswith(prefix) for one in view.ledger):
            yield from self._first(case, ask, prefix + ask.id, missing, view)
        elif isinstance(event, DeadlineReached) and event.name == REMIND:
            yield from self._again(case, ask, missing, view)

    def _first(self, case: Case, ask: Ask, key: str, missing: list[Need], view: View) -> Iterator[Proposal]:
        old = view.now - case.opened_at > self.patience
        if old or case.status not in OPEN or case.source in self.skip_sources:
            return
        if writing := wait(case, view):
            yield writing
            return
        due = (view.now + timedelta(days=ask.days)).replace(microsecond=0)
        if message := self._tell(case, ask, key, "evidence.request", missing, due, view):
            yield message
            yield Timer(REMIND, view.now + self.remind_after)
            yield Timer(DUE, due)

    def _again(self, case: Case, ask: Ask, missing: list[Need], view: View) -> Iterator[Proposal]:
        due = next((one.due_at for one in case.deadlines if one.name == DUE), None)
        key = f"evidence:remind:{case.round}:{ask.id}"
        if due and case.status in OPEN and not view.proposed(key):
            message = self._tell(case, ask, key, "evidence.reminder", missing, due, view)
            yield from (message,) if message else ()

    def _tell(
        self, case: Case, ask: Ask, key: str, template: str, missing: list[Need], due: datetime, view: View
    ) -> Action | None:
        said = tell(
            case,
            view,
            key,
            template,
            item=self.item(case),
            needs=[one.name for one in missing],
            count=sum(one.left for one in missing),
            due=due,
            upload=_page(view.link("evidence", f"{ask.id}:{case.round}", due)),
        )
        return said.model_copy(update={"not_after": due}) if said else None

    # -- who answers for it ---------------------------------------------------------------------------------------

    def _judge(self, case: Case, found: Compared, view: View) -> Iterator[Proposal]:
        holds = liable(case, found, self._rules)
        if holds is None or holds.rule.confidence < self.least:
            return
        if self._is_new(case, holds.rule):
            yield from self._decided(case, holds, view)
        elif not self.tell_steps or explains(case, view.shop):
            return
        elif (case.liable, case.cause) == (holds.rule.liable, holds.rule.cause):
            key = f"evidence:steps:{case.round}:{holds.rule.cause}"
            if holds.rule.steps and not view.proposed(key):
                facts = {"cause": holds.rule.cause, "steps": list(holds.rule.steps)}
                message = tell(case, view, key, "evidence.steps", **facts)
                yield from (message,) if message else ()

    def _is_new(self, case: Case, rule: Rule) -> bool:
        """Whether nobody has said so yet; a person's word stays, and ours gives way to a stronger rule only."""
        if case.liable is None or (case.liable == rule.liable and case.cause in {None, *FAMILIES}):
            return True
        said = next((one.removeprefix(OURS) for one in case.why if one.startswith(OURS)), None)
        order = [one.id for one in self._rules]
        return said in order and order.index(rule.id) < order.index(said)

    def _decided(self, case: Case, holds: Found, view: View) -> Iterator[Proposal]:
        rule = holds.rule
        key = f"evidence:liable:{case.id}:{case.round}:{rule.id}"
        yield Classified(
            key=key,
            at=view.now,
            liable=rule.liable,
            cause=rule.cause,
            confidence=rule.confidence,
            why=(OURS + rule.id, *holds.why),
        )
        steps = note(case, view, "evidence.steps", cause=rule.cause, steps=list(rule.steps)).text
        values = {"liable": rule.liable, "cause": rule.cause, "confidence": str(rule.confidence), "rule": rule.id}
        yield Noted(key=f"{key}:why", at=view.now, text=steps, by="bridge", values=values)


def _page(address: str | None) -> str:
    """The page's address; none where the bridge has only one of its own machine, which no buyer can open."""
    host = urlsplit(address or "").hostname or ""
    return address if address and host not in LOCAL and not host.startswith("127.") else ""


def _attached(case: Case, event: MessageReceived) -> Iterator[Proposal]:
    """Pictures, films and papers that a buyer's message carries, by the vendor's address; no logos in mails."""
    if event.message.author is not Author.BUYER:
        return
    known, mailed = {one.id for one in case.evidence}, event.message.form is Form.MAIL
    for number, one in enumerate(event.message.attachments):
        id_, kind = f"{MESSAGE}{event.message.id}:{number}", kind_of(one.media_type)
        if kind is None or id_ in known or not (one.url or one.sha256):
            continue
        if kind is EvidenceKind.PHOTO and mailed and one.size is not None and one.size < LEAST_PHOTO:
            continue
        yield EvidenceAdded(
            key=f"evidence:{case.id}:{id_}",
            at=event.at,
            evidence=id_,
            kind=kind,
            name=one.name,
            media_type=one.media_type,
            size=one.size,
            sha256=one.sha256,
            url=one.url,
        )


def _filed(case: Case, view: View) -> Iterator[Proposal]:
    """Each file that came by another way than a message is on the ticket, too: what a message brings, its note has."""
    for one in case.evidence if view.shop.helpdesk else ():
        if not one.id.startswith(MESSAGE) and (files := evidence_files(case, one.id)):
            origin, name = f"evidence:file:{one.id}", one.name or one.id
            yield from tell_colleagues(case, view, origin, "evidence.file", attachments=files, name=name)


def _proof(case: Case, view: View) -> Iterator[Proposal]:
    """The carrier's own paper on damage: by call where the carrier gives one, else a colleague asks for it."""
    if proven(case):
        return
    for one in case.parcels:
        scanned = ParcelException.DAMAGED in {one.exception, *(scan.exception for scan in one.scans)}
        said = Issue.DAMAGED_IN_TRANSIT in {case.issue, *case.also} and bool(one.scans)
        if one.direction is not Direction.OUT or not (scanned or said):
            continue
        asked = RequestProof(waybill=one.waybill, carrier=one.carrier, claim=ClaimKind.DAMAGE)
        if view.can(asked):
            yield from () if view.proposed(asked.key) else (asked,)
        elif not scanned:
            carrier, origin = one.carrier_name or one.carrier, f"proof:{one.waybill}"
            yield from tell_colleagues(case, view, origin, "evidence.proof", waybill=one.waybill, carrier=carrier)


def _compare(case: Case, ask: Ask, found: Matrix, event: Event, view: View) -> Iterator[Proposal]:
    """The cross-check, whenever its outcome is another one: noted on the case and told to colleagues."""
    origin = f"evidence:{case.round}:{found.code}"
    # Without a desk or colleagues nothing in the ledger remembers it: then each new piece is compared once.
    if told(view, origin) or not (view.shop.helpdesk or view.shop.staff or isinstance(event, EvidenceAdded)):
        return
    sources = found.sources()
    marks = {name: one.mark.value for name, one in sources.items()}
    missing = [one.name for one in counted(case, ask) if one.left]
    about: dict[str, Any] = {"marks": marks, "needs": missing, "liable": case.liable}
    yield from tell_colleagues(case, view, origin, "evidence.matrix", **about)
    text = "; ".join(f"{name}: {one.mark} ({one.why})" for name, one in sources.items())
    yield Noted(key=f"{origin}:{case.id}:{event.key}"[:512], at=view.now, text=text, values=dict(marks))


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this package."""
    return [EvidencePolicy]
