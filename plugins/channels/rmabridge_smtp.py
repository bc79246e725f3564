"""SMTP: mails to buyers and colleagues through any mail server or relay.

Sends one plain-text mail with its files to one recipient, keeps the mails of a case in one thread, and marks automatic
mails as such (RFC 3834), so that no two machines answer each other. The Message-ID follows from the delivery, so that a
mail that was sent twice by a person's decision is still one mail to its receivers. DKIM, SPF and DMARC are the relay's
task.

Reference: RFC 5321 (SMTP), RFC 5322 (headers), RFC 3834 (automatic mails), https://aiosmtplib.readthedocs.io/

Not verified with a live server: that relays other than aiosmtpd answer greylisting with 450 or 451.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE_POLICY
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final, Literal, Self
from urllib.parse import quote

import aiosmtplib
from pydantic import Field, SecretStr, field_validator, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Plugin, Probes, Result, SendsMessages, performs
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.model import Attachment, Form, SendMessage
from rmabridge.wire import documents

# One address, no display name, no quoted local part: what shop systems hand over.
ADDRESS = re.compile(r"""^[^\s@<>()\[\]\\,;:"]+@[^\s@<>()\[\]\\,;:"]+$""")
GREYLISTED = frozenset({450, 451})
CREDENTIALS = frozenset({530, 534, 535, 538})
# Python encodes an id that does not fit a line of 78 characters, and an encoded id is no id.
LONGEST_DOMAIN, LONGEST_THREAD = 40, 32
Files = tuple[Sequence[tuple[Attachment, bytes]], Sequence[str]]
LONG_NAME: Final = 60
SPECIALS: Final = re.compile(r'[()<>@,;:\\".\[\]]+')


class Smtp(Plugin, SendsMessages, Probes):
    """A mail server that takes our mails."""

    title: ClassVar[str] = "SMTP"
    reference: ClassVar[str] = "https://www.rfc-editor.org/rfc/rfc5321"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.MAIL})

    host: str = Field(description="name of the mail server", min_length=1)
    port: int = Field(587, gt=0, lt=65536, description="587 with STARTTLS, 465 with TLS, 25 inside")
    user: str | None = Field(None, description="log in as; none: the server takes mails without")
    password: SecretStr | None = Field(None, description="password of the user")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="'starttls' (refused where the server has none), 'tls' from the first byte, or 'none'"
    )
    ca_file: Path | None = Field(None, description="certificates to trust instead of the system's")
    sender: str = Field(description="address in From and of the envelope")
    sender_name: str = Field("", description="name beside the sender's address")
    reply_to: str | None = Field(None, description="where answers go, if not to the sender")
    domain: str = Field("", max_length=LONGEST_DOMAIN, description="right side of our Message-IDs; the sender's domain")
    timeout: float = Field(20, gt=0, description="seconds to wait for each answer of the server")
    most_attached: int = Field(10 << 20, ge=0, description="bytes of files in one mail; what is beyond goes as a link")

    @field_validator("sender", "reply_to")
    @classmethod
    def _one_address(cls, given: str | None) -> str | None:
        if given is not None and not ADDRESS.match(given):
            raise ValueError(f"{given!r} is not a mail address such as 'service@example.org'")
        return given

    @field_validator("sender_name", "domain")
    @classmethod
    def _one_line(cls, given: str) -> str:
        if not _clean(given):
            raise ValueError("control characters are not allowed")
        return given

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password: give both or none")
        self.domain = self.domain or _ascii_domain(self.sender.rpartition("@")[2])
        if len(self.domain) > LONGEST_DOMAIN:
            raise ValueError(
                f"domain: the sender's is too long for a Message-ID; name one of {LONGEST_DOMAIN} characters"
            )
        return self

    @performs(deadline=90)
    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the mail; the id is its Message-ID."""
        mail = self._compose(action, ctx, await self._files(action, ctx))
        smtp = self._client()
        try:
            with _answers():
                wide = await self._envelope(smtp, action.to)
                ctx.sent()
                answer = await smtp.data(mail.as_bytes(policy=WIRE_POLICY.clone(cte_type="7bit", utf8=wide)))
                await _leave(smtp)
        finally:
            smtp.close()
        return Result(id=mail["Message-ID"], note=answer.message)

    async def probe(self, ctx: Context) -> str:
        """Connect, log in, and ask for nothing."""
        smtp = self._client()
        try:
            with _answers(), _nothing_left():
                await self._greet(smtp)
                await smtp.noop()
                await _leave(smtp)
        finally:
            smtp.close()
        return f"{self.host}:{self.port} takes mails" + (f" of {self.user}" if self.user else "")

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            timeout=self.timeout,
            local_hostname=self.domain,
            use_tls=self.tls == "tls",
            start_tls=False,
            cert_bundle=str(self.ca_file) if self.ca_file else None,
        )

    async def _greet(self, smtp: aiosmtplib.SMTP) -> None:
        await smtp.connect()
        if not self.allow_private:
            self._refuse_private(smtp.get_transport_info("peername"))
        await smtp.ehlo()
        if self.tls == "starttls":
            if not smtp.supports_extension("starttls"):
                raise Unauthorised(
                    "the server offers no STARTTLS", hint="set tls to 'tls' (port 465), or ask its operator"
                )
            await smtp.starttls()
            await smtp.ehlo()
        if self.user is not None and self.password is not None:
            if not smtp.supports_extension("auth"):
                raise Unauthorised("the server takes no login here", hint="leave user and password out, or change tls")
            await smtp.login(self.user, self.password.get_secret_value())

    def _refuse_private(self, peer: tuple[str, int]) -> None:
        if not ipaddress.ip_address(peer[0].partition("%")[0]).is_global:
            raise Rejected(
                f"{self.host} is a private address", hint="set allow_private = true for this account if that is meant"
            )

    async def _envelope(self, smtp: aiosmtplib.SMTP, to: str) -> bool:
        """Everything before DATA: nothing has left as long as this fails. Whether the mail needs SMTPUTF8."""
        sender, recipient = _mailbox(self.sender), _mailbox(to)
        wide = not (sender + recipient).isascii()
        with _nothing_left():
            await self._greet(smtp)
            if wide and not smtp.supports_extension("smtputf8"):
                raise Rejected("the server does not take addresses beyond ASCII", hint="ask for another address")
            options, encoding = (["SMTPUTF8"], "utf-8") if wide else ([], "ascii")
            await smtp.mail(sender, options=options, encoding=encoding)
            await smtp.rcpt(recipient, encoding=encoding)
        return wide

    def _compose(self, action: SendMessage, ctx: Context, files: Files = ((), ())) -> EmailMessage:
        if not ADDRESS.match(action.to):
            raise Rejected(f"{action.to!r} is not one mail address")
        if not _clean(action.to, action.subject, action.name, *(one.name for one in action.attachments)):
            raise Rejected("line breaks or control characters in a mail header", hint="mend subject, name or address")
        mail = EmailMessage(policy=WIRE_POLICY.clone(cte_type="7bit"))
        mail["From"] = _address(self.sender_name, self.sender)
        mail["To"] = _address(action.name or "", action.to)
        mail["Subject"] = action.subject or ""
        mail["Date"] = format_datetime(ctx.now())
        mail["Message-ID"] = f"<{_token(ctx.idempotency_key, 36)}@{self.domain}>"
        self._mark(mail, action)
        attached, named = files
        mail.set_content("\n\n".join([action.text, *named]))
        for one, data in attached:
            main, _, sub = one.media_type.partition("/")
            mail.add_attachment(data, maintype=main, subtype=sub or "octet-stream", filename=one.name)
        return mail

    async def _files(self, action: SendMessage, ctx: Context) -> Files:
        """What goes along, and lines for what has no bytes here or is too much for a mail."""
        attached, named, left = [], [], self.most_attached
        for one in action.attachments:
            data = await _bytes(one, ctx) if one.text is not None or (one.size or 0) <= left else None
            if data is None or len(data) > left:
                named.append(f"{one.name}: {_elsewhere(one)}")
            else:
                left -= len(data)
                attached.append((one, data))
        return attached, named

    def _mark(self, mail: EmailMessage, action: SendMessage) -> None:
        """Thread, answers and the word that a machine wrote this."""
        if action.thread_key:
            root = f"<{_token(action.thread_key, LONGEST_THREAD)}@{self.domain}>"
            mail["In-Reply-To"] = root
            mail["References"] = root
        if self.reply_to:
            mail["Reply-To"] = _address("", self.reply_to)
        if action.template is not None:
            mail["Auto-Submitted"] = "auto-generated"
            mail["X-Auto-Response-Suppress"] = "All"


def _clean(*texts: str | None) -> bool:
    # Python's own header folding breaks lines at more characters than CR and LF.
    return not any(unicodedata.category(one) in {"Cc", "Zl", "Zp"} for text in texts for one in text or "")


def _token(text: str, longest: int) -> str:
    plain = quote(text, safe="")
    return plain if len(plain) <= longest else sha256(text.encode()).hexdigest()[:longest]


def _ascii_domain(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError(f"{domain!r} is not a domain name") from error


def _mailbox(address: str) -> str:
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{_ascii_domain(domain)}"
    except ValueError as error:
        raise Rejected(str(error)) from error


def _address(name: str, address: str) -> Address:
    local, _, domain = _mailbox(address).rpartition("@")
    if name.isascii() and len(name) > LONG_NAME:  # the standard library folds such a name without its quotes
        name = " ".join(SPECIALS.sub(" ", name).split())[:LONG_NAME].rstrip()
    return Address(name, local, domain)


async def _bytes(file: Attachment, ctx: Context) -> bytes | None:
    """What goes into the mail itself: what was made or stored here."""
    if file.text is not None:
        return documents.content(file)
    return await ctx.blob(file.sha256) if file.sha256 else None


def _elsewhere(file: Attachment) -> str:
    if file.url is None and file.sha256 is None:
        raise Rejected(f"{file.name}: the file has neither an address nor stored bytes")
    return file.url or f"too large for a mail, sent on request (SHA-256 {file.sha256})"


@contextmanager
def _nothing_left() -> Iterator[None]:
    """Before DATA a broken connection has done nothing."""
    try:
        yield
    except OSError as error:
        raise Unavailable(str(error) or type(error).__name__) from error


@contextmanager
def _answers() -> Iterator[None]:
    """Refusals of the server as what the bridge does next; everything else goes through."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        if not 400 <= error.code < 600:
            raise
        raise _refusal(error) from error


def _refusal(error: aiosmtplib.SMTPResponseException) -> DeliveryError:
    cause = f"{error.code} {error.message}"
    if error.code < 500:
        return Unavailable(cause, retry_after=300 if error.code in GREYLISTED else None)
    if error.code in CREDENTIALS or isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Unauthorised(cause, hint="check user and password, and whether the server wants an app password")
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return Rejected(cause, hint="the server does not take mails from the address in 'sender'")
    return Rejected(cause)


async def _leave(smtp: aiosmtplib.SMTP) -> None:
    # The mail is accepted: a server that does not say goodbye takes nothing back.
    with suppress(aiosmtplib.SMTPException):
        await smtp.quit(timeout=1)


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Smtp]
