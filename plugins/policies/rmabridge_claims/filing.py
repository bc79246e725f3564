"""How a claim is filed: by call where an account of the shop takes claims, else as a dossier by mail, else by hand.

The dossier is part of the action that carries it, as JSON text; whoever sends it makes the PDF of it.
So policies stay pure, what a person approves is what goes out, and a repeated mail has the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rmabridge.abilities import View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.dossier import as_files, dossier, evidence_files
from rmabridge.core.reach import note
from rmabridge.model import Attachment, Case, Claim, CommentTicket, FileClaim, Form, Parcel, SendMessage
from rmabridge.wire import carriers

from .rules import Rule, expected


class Desk(NamedTuple):
    """Where dossiers go: the carrier's claims address by carrier, the mail account, and who signs."""

    addresses: Mapping[str, str]
    account: str | None
    contact: Mapping[str, str]

    def address(self, carrier: str | None) -> str | None:
        """The claims address of a carrier, by its code or any of its names."""
        known = carriers.carrier(carrier or "")
        for name, address in self.addresses.items():
            same = carriers.carrier(name)
            if name == carrier or (known and same and known.code == same.code):
                return address
        return self.addresses.get("default")


def name_of(claim: Claim) -> str:
    """What tells one claim from another: carrier, waybill and kind."""
    return f"{claim.carrier or ''}:{claim.waybill}:{claim.kind}"


def by_call(case: Case, claim: Claim, parcel: Parcel) -> FileClaim:
    """The claim as a call to the account that takes it."""
    order = case.order
    return FileClaim(
        waybill=claim.waybill,
        carrier=claim.carrier,
        claim=claim.kind,
        amount=claim.amount,
        external=case.id,
        order=(order.number or order.id) if order else None,
        description=parcel.last.text if parcel.last else "",
        attachments=evidence_files(case),
    )


def mail_key(claim: Claim) -> str:
    """The key of the mail that files the claim."""
    return f"staff:claim:{name_of(claim)}"


def by_mail(case: Case, claim: Claim, rule: Rule, desk: Desk, view: View) -> SendMessage | None:
    """The dossier as a mail to the carrier's claims desk; None where its address or a mail account is not known."""
    to, account = desk.address(claim.carrier), desk.account or _mail_account(view)
    if to is None or account is None:
        return None
    words = note(case, view, "claims.dossier", Form.MAIL, **shown(claim, rule))
    return SendMessage(
        purpose=mail_key(claim),
        account=account,
        form=Form.MAIL,
        to=to,
        audience="staff",
        subject=words.subject,
        text=words.text,
        template=words.template,
        attachments=(*papers(case, claim, rule, desk, view), *evidence_files(case)),
        thread_key=f"{case.id}-claim",
        once=f"claim:{name_of(claim)}",
    )


def by_hand(case: Case, claim: Claim, rule: Rule, desk: Desk, view: View) -> list[CommentTicket | SendMessage]:
    """The dossier for a colleague who files it at the carrier's own form or hotline."""
    files = (*papers(case, claim, rule, desk, view), *evidence_files(case))
    told = tell_colleagues(
        case, view, f"claim:file:{name_of(claim)}", "claims.file", attachments=files, **shown(claim, rule)
    )
    return list(told)


def papers(case: Case, claim: Claim, rule: Rule, desk: Desk, view: View) -> tuple[Attachment, ...]:
    """The dossier as PDF and JSON."""
    title = f"[理赔|Claim] {claim.carrier or ''} {claim.waybill} {claim.kind} {case.id}"
    document = dossier(
        case,
        view.shop,
        claim,
        title=title,
        now=view.now,
        expected=expected(claim.amount, rule.most),
        cap=rule.most,
        basis=rule.basis,
        contact=dict(desk.contact),
    )
    return as_files(document, f"claim-{claim.waybill}-{claim.kind}")


def shown(claim: Claim, rule: Rule | None = None) -> dict[str, Any]:
    """A claim as templates speak of it."""
    return {
        "waybill": claim.waybill,
        "carrier": claim.carrier,
        "claim": claim.kind,
        "amount": claim.amount,
        "payout": expected(claim.amount, rule.most if rule else None),
        "last_day": claim.due_at,
    }


def _mail_account(view: View) -> str | None:
    return next((way.account for way in view.shop.ways if way.form is Form.MAIL), None)
