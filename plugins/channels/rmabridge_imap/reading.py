"""What a mail means to a case."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from rmabridge.model import (
    Attachment,
    Author,
    Buyer,
    Delivered,
    Event,
    Form,
    Message,
    MessageReceived,
    Noted,
    Ref,
    RefKind,
)
from rmabridge.wire import waybills
from rmabridge.wire.mails import Head, Kind, Mail

# An id begins with its time; ids of the first bridges have less chance behind it.
CASE: Final = "C[0-9A-HJKMNP-TV-Z]{11,13}"
_IN_SUBJECT = re.compile(rf"\[({CASE})\]")
_NUMBER = re.compile(r"(?<![A-Z0-9])(?=[A-Z]*\d)[A-Z0-9]{8,24}(?![A-Z0-9])", re.IGNORECASE)
MOST_ORDERS: Final = 3


@dataclass(frozen=True, slots=True)
class Reader:
    """The settings by which mails are read."""

    ours: frozenset[str]
    forms: frozenset[str]
    domain: str
    orders: tuple[re.Pattern[str], ...]
    trusting: bool
    lists: bool
    carriers: dict[str, str]
    staff: frozenset[str]
    heed_staff: bool

    def events(self, mail: Mail, raw: bytes, at: datetime, whole: str) -> Iterator[Event]:
        """The events of one mail; ``whole`` is its size where ``raw`` is only its beginning."""
        sender = (mail.sender or "").casefold()
        name = mail.head.id or f"sha256:{sha256(raw).hexdigest()}"
        filled_in = sender in self.forms
        if mail.kind is Kind.BOUNCE:
            yield from self._returned(mail, name, at)
        elif not sender or (sender in self.ours and not filled_in):
            return
        elif (carrier := _listed(sender, self.carriers)) is not None:
            yield from self._from_carrier(mail, name, at, whole, self.carriers[carrier])
        elif _listed(sender, self.staff) is not None:
            yield from self._from_staff(mail, name, at, whole)
        elif mail.kind is Kind.PERSON or filled_in or (mail.kind is Kind.LIST and self.lists):
            yield from self._message(mail, name, at, whole, filled_in)
        elif mail.kind is Kind.AUTOMATIC:
            yield from self._automatic(mail, name, at)

    def _automatic(self, mail: Mail, name: str, at: datetime) -> Iterator[Event]:
        if case := self._case(mail.head):
            text = f"An automatic answer came ({mail.why}), which nobody is told of: {mail.head.subject[:200]}"
            yield Noted(key=f"automatic:{name}", at=at, refs=(case,), text=text)

    def _message(self, mail: Mail, name: str, at: datetime, whole: str, filled_in: bool) -> Iterator[Event]:
        address = (mail.reply_to if filled_in else None) or mail.sender or ""
        refs, known = self._refs(mail.head)
        buyer = None if known else Buyer(email=address, name=mail.sender_name if not filled_in else None)
        if buyer is not None:
            refs = (*refs, Ref(kind=RefKind.BUYER, value=address.casefold()))
        yield from self._words(mail, name, at, whole, refs, Author.BUYER, address, buyer)

    def _from_carrier(self, mail: Mail, name: str, at: datetime, whole: str, carrier: str) -> Iterator[Event]:
        """A carrier's words, a machine's among them: the number of a claim often comes in an automatic answer."""
        refs, _ = self._refs(mail.head)
        if not any(one.kind is RefKind.CASE for one in refs):
            refs += tuple(Ref(kind=RefKind.WAYBILL, value=one) for one in _waybills(mail.head.subject))
        if refs or mail.kind is Kind.PERSON:
            yield from self._words(mail, name, at, whole, refs, Author.CARRIER, carrier)

    def _from_staff(self, mail: Mail, name: str, at: datetime, whole: str) -> Iterator[Event]:
        """A colleague's words about a case; they are nobody's answer to the buyer."""
        refs, _ = self._refs(mail.head)
        if mail.kind is Kind.AUTOMATIC:
            yield from self._automatic(mail, name, at)
        elif self.heed_staff and refs:
            yield from self._words(mail, name, at, whole, refs, Author.AGENT, mail.sender or "")

    def _words(
        self,
        mail: Mail,
        name: str,
        at: datetime,
        whole: str,
        refs: tuple[Ref, ...],
        author: Author,
        who: str,
        buyer: Buyer | None = None,
    ) -> Iterator[Event]:
        message = Message(
            id=name,
            author=author,
            form=Form.MAIL,
            text=mail.own,
            at=at,
            who=who,
            subject=mail.head.subject or None,
            public=author is Author.BUYER,
            attachments=self._files(mail, whole),
        )
        yield MessageReceived(key=f"mail:{name}", at=at, refs=refs, message=message, buyer=buyer)
        if whole:
            text = f"The mail of {whole} bytes was too large: only its beginning was taken, read it in the mailbox"
            yield Noted(key=f"cut:{name}", at=at, refs=refs, text=text)

    def _refs(self, head: Head) -> tuple[tuple[Ref, ...], bool]:
        """What names the case, and whether that case knows its buyer better than the mail's From does.

        Anybody may write an order's number: were the sender then the case's buyer, the answers about another's order
        would go to a stranger.
        """
        if case := self._case(head):
            return (case,), True
        numbers = dict.fromkeys(found for one in self.orders for found in one.findall(head.subject))
        refs = tuple(Ref(kind=RefKind.ORDER, value=one.upper()) for one in [*numbers][:MOST_ORDERS])
        return refs, bool(refs) and not self.trusting

    def _case(self, head: Head) -> Ref | None:
        """The case of the newest mail of ours that this one answers, else the one in its subject."""
        for one in reversed(head.references):
            local, _, domain = one.rpartition("@")
            if domain.lower() == self.domain and re.fullmatch(CASE, local):
                return Ref(kind=RefKind.CASE, value=local)
        found = _IN_SUBJECT.search(head.subject)
        return Ref(kind=RefKind.CASE, value=found[1]) if found else None

    def _returned(self, mail: Mail, name: str, at: datetime) -> Iterator[Event]:
        """What became of a mail of ours; of others' mails nothing is said."""
        head = mail.returned
        if head is None or head.id is None or head.id.rpartition("@")[2].lower() != self.domain:
            return
        if (case := self._case(head)) is None:
            return
        for number, one in enumerate(mail.reports):
            key = f"report:{name}:{number}"
            if one.action in {"failed", "delivered"}:
                ok = one.action == "delivered"
                told = {"message": f"<{head.id}>", "delivery": head.id.partition("@")[0]}
                yield Delivered(key=key, at=at, refs=(case,), ok=ok, reason=one.reason or None, **told)
            elif one.action == "delayed":
                yield Noted(key=key, at=at, refs=(case,), text=f"The mail <{head.id}> is delayed: {one.reason}")

    def _files(self, mail: Mail, whole: str) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(
                name=one.name,
                media_type=one.media_type,
                size=None if whole else one.size,
                sha256=None if whole else one.sha256,
            )
            for one in mail.files
        )


def _listed(sender: str, known: Collection[str]) -> str | None:
    """The entry for the sender: the address itself, its domain, or a domain above that."""
    domain = sender.rpartition("@")[2]
    above = (domain.split(".", cut)[-1] for cut in range(domain.count(".")))
    return next((one for one in (sender, *above) if one in known), None)


def _waybills(subject: str) -> list[str]:
    found = dict.fromkeys(waybills.normalise(one) for one in _NUMBER.findall(subject))
    return [one for one in found if waybills.candidates(one)][:MOST_ORDERS]
