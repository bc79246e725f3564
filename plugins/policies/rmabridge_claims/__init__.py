"""Claims: drafts, files, follows and reconciles what a carrier owes for a damaged or lost parcel.

One claim for each carrier, waybill and kind, in the one state machine of ``core.claims``. It is filed by call where an
account of the shop takes claims for the carrier (``[shops.NAME] claims``), else the dossier goes by mail to the
carrier's claims desk (``desks``), else onto the ticket for a colleague. Times, caps and documents are defaults with
their sources in ``claims.toml``; most are third parties' summaries and not verified with a carrier: check yours, and
put your contract's into ``rules``.

The case stays the shop's: what a carrier answers changes the claim, never what the buyer gets. A carrier is called
liable only with its own written proof or its own scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.claims import goods_value, refusal, standing
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.evidence import proven
from rmabridge.model import (
    NEWS,
    Action,
    AppealClaim,
    Case,
    Claim,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    Classified,
    DeadlineReached,
    Event,
    EvidenceAdded,
    FileClaim,
    Parcel,
    RequestProof,
    Settled,
    Verdict,
    deny,
    hold,
)

from .filing import Desk, by_call, by_hand, by_mail, mail_key, name_of, shown
from .following import Following, timer_of
from .rules import Rule, rule_for
from .wanted import caused_by_carrier, lost, missing, wanted

FOUND: Final = frozenset({ClaimStatus.DRAFT, ClaimStatus.WITHDRAWN})  # nobody filed it, as the parcel was found
UNFILED: Final = frozenset({"dead", "expired", "cancelled", "denied"})
ONCE: Final = "claims.once"
APPEAL: Final = "claims.appeal"


class Claims(Following):
    """Claims against carriers, from the draft to the money."""

    title: ClassVar[str] = "Claims"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {ClaimSeen, DeadlineReached, EvidenceAdded, Settled}

    kinds: tuple[ClaimKind, ...] = Field(
        (ClaimKind.DAMAGE, ClaimKind.LOSS, ClaimKind.PARTIAL_LOSS),
        description="what is claimed; delay is left out, as most carriers pay nothing for it",
    )
    rules: tuple[Rule, ...] = Field((), description="your contracts' times, caps and documents; they go first")
    desks: dict[str, str] = Field(
        default_factory=dict, description="mail addresses of claims desks by carrier; 'default' for all others"
    )
    mail: str | None = Field(None, description="account that mails dossiers; the shop's mail channel where left out")
    contact: dict[str, str] = Field(
        default_factory=dict, description="name, email and phone of whoever answers for a claim; part of the dossier"
    )
    patience: timedelta = Field(timedelta(days=3), description="how long a draft waits for missing documents")
    alarm_before: timedelta = Field(timedelta(days=3), description="when colleagues are warned of the last day to file")

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """New drafts, the next step of each claim, and who is liable."""
        if case.merged_into:
            return
        for parcel in case.parcels:
            yield from self._open(case, parcel, view)
        for claim in case.claims:
            parcel = next((one for one in case.parcels if one.waybill == claim.waybill), Parcel(waybill=claim.waybill))
            if claim.status is ClaimStatus.DRAFT:
                yield from self._file(case, claim, parcel, view)
            else:
                yield from self.follow(case, claim, event, view)
            yield from _contradictions(case, claim, view)
        yield from _liable(case, view)

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """A claim is filed once; whether to appeal is a person's decision."""
        if isinstance(action, AppealClaim):
            return hold(APPEAL, "whether to object to the carrier's decision is for a person to say")
        for claim in case.claims:
            same = isinstance(action, FileClaim) and action.key == f"claim:{name_of(claim)}"
            if (same or action.key == mail_key(claim)) and claim.status is not ClaimStatus.DRAFT:
                told = refusal(claim.status, ClaimStatus.SUBMITTED) or "it is submitted already"
                return deny(ONCE, f"one claim for each carrier, waybill and kind: {told}")
        return None

    def _open(self, case: Case, parcel: Parcel, view: View) -> Iterable[Proposal]:
        kind = wanted(case, parcel)
        if kind is None or kind not in self.kinds:
            return
        if kind is ClaimKind.DAMAGE:
            yield from _ask_for_proof(case, parcel, view)
        known = next((one for one in case.claims if one.waybill == parcel.waybill and one.kind is kind), None)
        if known and (known.status is not ClaimStatus.WITHDRAWN or {one.status for one in known.steps} - FOUND):
            return
        _, last = rule_for(self.rules, case, view.shop, parcel, kind).window(case, parcel)
        draft = ClaimSeen(
            key=f"claim:draft:{case.id}:{parcel.waybill}:{kind}"
            + (f":{int(known.steps[-1].at.timestamp())}" if known else ""),
            at=view.now,
            waybill=parcel.waybill,
            carrier=parcel.carrier,
            kind=kind,
            status=ClaimStatus.DRAFT,
            amount=goods_value(case),
            due_at=last,
        )
        if view.now < last:
            yield draft
        else:
            claim = Claim(waybill=parcel.waybill, carrier=parcel.carrier, kind=kind, status=draft.status, due_at=last)
            yield from self._warn(case, claim, "late", view)

    def _file(self, case: Case, claim: Claim, parcel: Parcel, view: View) -> Iterable[Proposal]:
        if claim.kind is ClaimKind.LOSS and parcel.scans and not lost(parcel):
            yield self.report(case, claim, ClaimStatus.WITHDRAWN, view, reason="the parcel was found")
            return
        rule = rule_for(self.rules, case, view.shop, parcel, claim.kind)
        call, mailed = by_call(case, claim, parcel), mail_key(claim)
        state = view.ledger.get(call.key) or view.ledger.get(mailed)
        if state == "done":
            yield self.report(case, claim, ClaimStatus.SUBMITTED, view)
        first, last = rule.window(case, parcel)
        if state in UNFILED:  # nobody has filed it, and the last day comes all the same
            yield from self._alarm(case, claim, last, view)
        if state is not None:
            return
        lacking = missing(case, parcel, rule)
        ready = max(first, min(_drafted(claim, view) + self.patience, last - self.alarm_before)) if lacking else first
        if lacking:
            yield from self._warn(case, claim, "documents", view, documents=[str(one) for one in lacking])
        if view.now < ready:
            yield Timer(timer_of(claim), ready)
            return
        desk = Desk(self.desks, self.mail, self.contact)
        if view.can(call):
            yield call
        elif mail := by_mail(case, claim, rule, desk, view):
            yield mail
        else:
            yield from by_hand(case, claim, rule, desk, view)
            yield from self._alarm(case, claim, last, view)

    def _alarm(self, case: Case, claim: Claim, last: datetime, view: View) -> Iterable[Proposal]:
        """Warn at half the time and shortly before its end, while nobody has filed the claim."""
        drafted = _drafted(claim, view)
        times = {"half": drafted + (last - drafted) / 2, "last": last - self.alarm_before, "late": last}
        for name, at in times.items():
            if view.now >= at:
                yield from self._warn(case, claim, name, view)
        if ahead := [at for at in times.values() if at > view.now]:
            yield Timer(timer_of(claim), min(ahead))

    def _warn(self, case: Case, claim: Claim, what: str, view: View, **values: Any) -> Iterable[Proposal]:
        about = {**shown(claim), "documents": [], **values}
        template = {"documents": "claims.documents", "late": "claims.late"}.get(what, "claims.deadline")
        yield from tell_colleagues(case, view, f"claim:{what}:{name_of(claim)}", template, **about)


def _drafted(claim: Claim, view: View) -> datetime:
    return min((one.at for one in claim.steps), default=view.now)


def _ask_for_proof(case: Case, parcel: Parcel, view: View) -> Iterable[Proposal]:
    asked = RequestProof(waybill=parcel.waybill, carrier=parcel.carrier, claim=ClaimKind.DAMAGE)
    if not proven(case) and not view.proposed(asked.key) and view.can(asked):
        yield asked


def _liable(case: Case, view: View) -> Iterable[Proposal]:
    """The carrier answers for it only where it said so itself: in writing, or by a scan."""
    if case.liable is None and (reason := caused_by_carrier(case)):
        yield Classified(key=f"claims:liable:{case.id}", at=view.now, liable="carrier", why=(*case.why, reason))


def _contradictions(case: Case, claim: Claim, view: View) -> Iterable[Proposal]:
    """Tell what was reported and cannot be; our own words that came late are none."""
    for one in standing(claim.steps)[1] if claim.steps else ():
        if one.step.status not in {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED}:
            origin = f"claim:refused:{name_of(claim)}:{one.step.status}:{int(one.step.at.timestamp())}"
            about = shown(claim)
            yield from tell_colleagues(case, view, origin, "claims.contradiction", **about, text=one.reason)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this package."""
    return [Claims]
