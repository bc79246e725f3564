"""A claim after it was filed: asked about, answered, objected to, and its money compared with what was granted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.claims import PENDING, payout, since
from rmabridge.core.colleagues import tell_colleagues, told
from rmabridge.core.dossier import evidence_files
from rmabridge.core.reach import note
from rmabridge.model import (
    AnswerClaim,
    AppealClaim,
    Case,
    Claim,
    ClaimSeen,
    ClaimStatus,
    DeadlineReached,
    Event,
    Form,
    QueryClaim,
)

from .filing import name_of, shown


def timer_of(claim: Claim) -> str:
    """The one clock of a claim."""
    return f"claim:{name_of(claim)}"


class Following(Policy):
    """The later half of the claims policy, with its settings."""

    query_every: timedelta = Field(timedelta(days=7), description="how often an open claim is asked about")
    pay_within: timedelta = Field(timedelta(days=14), description="when money that was granted is missed")
    appeal: bool = Field(True, description="propose to object to what was rejected or paid in part; a person approves")

    def follow(self, case: Case, claim: Claim, event: Event, view: View) -> Iterable[Proposal]:
        """What a filed claim needs now."""
        match claim.status:
            case ClaimStatus.INFO_REQUESTED:
                yield from self._answer(case, claim, view)
                yield from self._wait(case, claim, event, view)
            case status if status in PENDING:
                yield from self._wait(case, claim, event, view)
            case ClaimStatus.APPROVED | ClaimStatus.PARTIAL | ClaimStatus.REJECTED:
                yield from self._decided(case, claim, event, view)
            case ClaimStatus.PAID:
                yield from self._paid(case, claim, view)
            case _:
                yield from _stop(case, claim)

    def report(self, case: Case, claim: Claim, status: ClaimStatus, view: View, **facts: Any) -> ClaimSeen:
        """The bridge's own word on a claim."""
        last = int(claim.steps[-1].at.timestamp()) if claim.steps else 0
        return ClaimSeen(
            key=f"claim:{status}:{case.id}:{name_of(claim)}:{last}",
            at=view.now,
            waybill=claim.waybill,
            carrier=claim.carrier,
            kind=claim.kind,
            status=status,
            **facts,
        )

    def _wait(self, case: Case, claim: Claim, event: Event, view: View) -> Iterable[Proposal]:
        """Ask the carrier where there is a call for it, else have a colleague ask."""
        if _fired(claim, event):
            about = f"claim:ask:{name_of(claim)}:"
            rounds = 1 + sum(about in key or key.startswith(f"claim:query:{claim.id}:") for key in view.ledger)
            ask = QueryClaim(account=claim.account, claim=claim.id or "", waybill=claim.waybill, round=rounds)
            if claim.id and view.can(ask):
                yield ask
            else:
                yield from _tell(case, claim, f"ask:{name_of(claim)}:{rounds}", "claims.silent", view)
        yield from _clock(case, claim, event, view.now + self.query_every)

    def _answer(self, case: Case, claim: Claim, view: View) -> Iterable[Proposal]:
        asked = since(claim)
        mark = str(int(asked.timestamp()))
        reason = {"reason": claim.reason}
        yield from _tell(case, claim, f"info:{name_of(claim)}:{mark}", "claims.asked", view, **reason)
        fresh = [one.id for one in case.evidence if one.at and one.at > asked]
        if not fresh or claim.id is None:
            return
        words = note(case, view, "claims.answer", Form.MAIL, **shown(claim))
        answer = AnswerClaim(
            account=claim.account,
            claim=claim.id,
            waybill=claim.waybill,
            origin=mark,
            text=words.text,
            attachments=evidence_files(case),
        )
        if view.ledger.get(answer.key) == "done":
            yield self.report(case, claim, ClaimStatus.IN_REVIEW, view)
        elif not view.proposed(answer.key) and view.can(answer):
            yield answer

    def _decided(self, case: Case, claim: Claim, event: Event, view: View) -> Iterable[Proposal]:
        mark = f"{claim.status}:{name_of(claim)}:{int(since(claim).timestamp())}"
        about = {"status": claim.status, "reason": claim.reason}
        yield from _tell(case, claim, mark, "claims.decided", view, **about)
        if claim.status is not ClaimStatus.APPROVED:
            yield from self._object(case, claim, view)
        if claim.status is ClaimStatus.REJECTED:
            yield from _stop(case, claim)
            return
        if _fired(claim, event):
            yield from _tell(case, claim, f"unpaid:{mark}", "claims.unpaid", view)
        elif not told(view, f"claim:unpaid:{mark}"):
            yield from _clock(case, claim, event, view.now + self.pay_within)

    def _paid(self, case: Case, claim: Claim, view: View) -> Iterable[Proposal]:
        """Compare the money with what was granted; less than that is worth an objection."""
        outcome = payout(claim)
        mark = f"paid:{name_of(claim)}:{int(since(claim).timestamp())}"
        about = {"status": claim.status, "paid": claim.paid, "outcome": f"payout_{outcome}"}
        yield from _tell(case, claim, mark, "claims.paid", view, **about)
        if outcome == "short":
            yield from self._object(case, claim, view)
        yield from _stop(case, claim)

    def _object(self, case: Case, claim: Claim, view: View) -> Iterable[Proposal]:
        if not self.appeal or claim.id is None or any(one.status is ClaimStatus.APPEALED for one in claim.steps):
            return
        words = note(case, view, "claims.appeal", Form.MAIL, **shown(claim))
        objection = AppealClaim(
            account=claim.account,
            claim=claim.id,
            waybill=claim.waybill,
            text=words.text,
            attachments=evidence_files(case),
        )
        if view.ledger.get(objection.key) == "done":
            yield self.report(case, claim, ClaimStatus.APPEALED, view)
        elif not view.proposed(objection.key) and view.can(objection):
            yield objection


def _tell(case: Case, claim: Claim, origin: str, template: str, view: View, **values: Any) -> Iterable[Proposal]:
    about = {**shown(claim), **values}
    yield from tell_colleagues(case, view, f"claim:{origin}", template, **about)


def _fired(claim: Claim, event: Event) -> bool:
    return isinstance(event, DeadlineReached) and event.name == timer_of(claim)


def _clock(case: Case, claim: Claim, event: Event, due: datetime) -> Iterable[Timer]:
    """Start the claim's clock; news of the claim starts it again."""
    news = isinstance(event, ClaimSeen) and event.waybill == claim.waybill
    if news or not any(one.name == timer_of(claim) for one in case.deadlines):
        yield Timer(timer_of(claim), due)


def _stop(case: Case, claim: Claim) -> Iterable[Timer]:
    if any(one.name == timer_of(claim) for one in case.deadlines):
        yield Timer(timer_of(claim), None)
