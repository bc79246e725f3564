"""IMAP: the mails that buyers write, from any mailbox.

Polls one folder. A mail is a buyer's message: an answer to a mail of ours joins its case, by the ids that the SMTP
channel writes (References) or by the case in the subject; an order number in the subject names the order's open case;
any other mail joins the sender's open case or opens one. A mail that came back is seen on the message that it was. What
a machine answered is noted on its case and never taken for words, and newsletters are left alone, so that no two
machines write to each other. Who is no buyer is named in ``carriers`` and ``staff``: their words join a case and open
none, and their addresses are never the buyer's. As anybody may write any sender, nothing is decided by them. Nothing in
the mailbox is changed unless ``afterwards`` says so, and then only after the mails are on disk.

Reference: RFC 3501 and RFC 9051 (IMAP), RFC 5322, RFC 3464, RFC 3834, https://www.rfc-editor.org/rfc/rfc3501

Verified with Dovecot 2.3. Not verified with a live server: XOAUTH2 (Google, Microsoft), NetEase's demand for the ID
command (sent wherever a server offers it), and how QQ Mail and NetEase word mails that came back without a report.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Inbound, Item, Page, Plugin, Polls, Probes
from rmabridge.model import Event
from rmabridge.wire.mails import read_mail
from rmabridge.wire.times import maybe_instant

from .door import Door
from .folder import Cursor, Folder
from .oauth import OAuth, bearer
from .reading import Reader

# A number needs the word before it, or the sign: a date or a telephone number names no order.
WORD: Final = r"(?:order|订单|訂單|bestellung)\W{0,3}(?:(?:no|number|nr|id|编号|編號|号码|號碼|号|號)\W{0,3})?"
ORDERS: Final = (WORD + r"((?=[A-Z-]{0,8}\d)[A-Z0-9-]{4,32})", r"(?<!\w)(#\d{3,20})(?!\w)")
PLACE: Final = re.compile(r"[^@\s]*@?[^@\s.]+(?:\.[^@\s.]+)+")


class Imap(Plugin, Polls, Probes):
    """One folder of a mailbox that buyers write to. Name the account among the ``sources`` of its shop."""

    title: ClassVar[str] = "IMAP"
    reference: ClassVar[str] = "https://www.rfc-editor.org/rfc/rfc3501"

    host: str = Field(description="name of the mail server", min_length=1)
    port: int = Field(993, gt=0, lt=65536, description="993 with TLS, 143 with STARTTLS")
    tls: Literal["tls", "starttls", "none"] = Field(
        "tls", description="'tls' from the first byte, 'starttls' (refused where the server has none), or 'none'"
    )
    ca_file: Path | None = Field(None, description="certificates to trust instead of the system's")
    user: str = Field(description="log in as", min_length=1)
    password: SecretStr | None = Field(None, description="password of the user; many providers want an app password")
    oauth: OAuth | None = Field(None, description="in place of a password: where to get a token for XOAUTH2")
    folder: str = Field("INBOX", min_length=1, description="which folder is polled")
    addresses: tuple[str, ...] = Field((), description="our own addresses: mails from them are echoes; the user's")
    domain: str = Field("", description="right side of our Message-IDs, as the SMTP channel writes them; the address's")
    order_numbers: tuple[str, ...] = Field(ORDERS, description="patterns of order numbers in subjects, one group each")
    trust_order_numbers: bool = Field(
        False,
        description="take whoever names an order for its buyer, and answer there; else the order's own address counts",
    )
    lists: bool = Field(False, description="take mails of lists too: where the address is a group (Google Groups)")
    contact_forms: tuple[str, ...] = Field(
        (), description="addresses whose automatic mails are a buyer's words, such as a contact form's; see Reply-To"
    )
    carriers: dict[str, str] = Field(
        default_factory=dict,
        description="whose mails are a carrier's words: carrier by address or domain, such as "
        '{ "claims@yto.example" = "YTO" }',
    )
    staff: tuple[str, ...] = Field((), description="addresses or domains of colleagues: their mails are no buyer's")
    staff_mails: Literal["note", "ignore"] = Field(
        "note", description="what becomes of a colleague's mail about a case: an internal word of theirs, or nothing"
    )
    backlog: timedelta = Field(timedelta(), ge=timedelta(), description="how far back the first poll goes, whole days")
    largest: int = Field(8 << 20, ge=1 << 16, description="of a larger mail only the beginning is taken, bytes")
    afterwards: Literal["leave", "seen", "move"] = Field(
        "leave", description="what becomes of a mail that is on disk: left as it is, marked as read, or moved"
    )
    move_to: str | None = Field(None, min_length=1, description="the folder that 'move' moves to; it must exist")
    timeout: float = Field(15, gt=0, le=50, description="seconds to wait for each answer of the server")

    _reader: Reader = PrivateAttr()

    @field_validator("order_numbers")
    @classmethod
    def _patterns(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            try:
                groups = re.compile(one).groups
            except re.error as error:
                raise ValueError(f"{one!r} is not a pattern: {error}") from error
            if groups != 1:
                raise ValueError(f"{one!r} must have one group (…) around the number")
        return given

    @field_validator("carriers", "staff")
    @classmethod
    def _places(cls, given: Any) -> Any:
        for one in given:
            if not PLACE.fullmatch(one):
                raise ValueError(f"{one!r} is neither an address nor a domain")
        return given

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("password and oauth: give one of them")
        if (self.afterwards == "move") != (self.move_to is not None):
            raise ValueError("move_to belongs to afterwards = 'move'")
        self.addresses = self.addresses or ((self.user,) if "@" in self.user else ())
        if not self.addresses:
            raise ValueError("addresses: name the address that buyers write to")
        self.domain = self.domain or self.addresses[0].rpartition("@")[2]
        self._reader = Reader(
            ours=frozenset(one.casefold() for one in self.addresses),
            forms=frozenset(one.casefold() for one in self.contact_forms),
            domain=self.domain.encode("idna").decode().lower(),
            orders=tuple(re.compile(one, re.IGNORECASE) for one in self.order_numbers),
            trusting=self.trust_order_numbers,
            lists=self.lists,
            carriers={_place(one): carrier for one, carrier in self.carriers.items()},
            staff=frozenset(_place(one) for one in self.staff),
            heed_staff=self.staff_mails == "note",
        )
        return self

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """Mails with a higher number than the last one; a mailbox that was numbered anew is read from that day on."""
        now, door = ctx.now(), await self._door(ctx)

        def fetch() -> Page:
            with door.open() as client:
                folder = Folder(client, self.folder)
                place = Cursor.read(cursor) if cursor else None
                found, behind, more = folder.news(place, now, self.backlog, self.largest)
            items = tuple(Item(one.raw, f"{behind.validity}:{one.uid}", None, one.meta) for one in found)
            return Page(items, str(behind), more)

        return await asyncio.to_thread(fetch)

    async def confirm(self, ctx: Context, page: Page) -> None:
        """Mark the page's mails as read, or move them, where the settings want it."""
        if self.afterwards == "leave" or not page.items:
            return
        door, names = await self._door(ctx), [one.id.split(":") for one in page.items]

        def settle() -> None:
            with door.open() as client:
                folder = Folder(client, self.folder)
                folder.settle(int(names[0][0]), [int(uid) for _, uid in names], self.move_to)

        await asyncio.to_thread(settle)

    async def probe(self, ctx: Context) -> str:
        """Log in and count the folder's mails."""
        door = await self._door(ctx)

        def count() -> int:
            with door.open() as client:
                return Folder(client, self.folder).status()["MESSAGES"]

        return f"{self.host}:{self.port} shows {await asyncio.to_thread(count)} mails in {self.folder}"

    async def _door(self, ctx: Context) -> Door:
        token = await bearer(self.oauth, ctx) if self.oauth else None
        word = self.password.get_secret_value() if self.password else ""
        return Door(
            self.host, self.port, self.tls, self.ca_file, self.timeout, self.user, word, token, self.allow_private
        )

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """A message, a mail that came back, or a note; nothing for echoes and newsletters."""
        mail = read_mail(inbound.body)
        at = maybe_instant(inbound.meta.get("at")) or mail.at or inbound.received_at
        return list(self._reader.events(mail, inbound.body, at, inbound.meta.get("size", "")))


def _place(given: str) -> str:
    return given.lstrip("@").casefold()


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Imap]
