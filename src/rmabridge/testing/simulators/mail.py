"""A mail server (aiosmtpd) that keeps what it is given, and can refuse, hang and hang up."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .faults import DOORS
from .server import Simulator

# What a mail server says where a web server would say 429, 500, or show a page of somebody else's.
FAULTY = {
    "429": "450 4.7.1 Too many messages, try again later",
    "500": "451 4.3.0 Internal error",
    "wrong content": "<!doctype html><title>Welcome</title>",
}


def _file(part: EmailMessage) -> dict[str, Any]:
    data = part.get_payload(decode=True)
    held = data if isinstance(data, bytes) else b""
    told = {"name": part.get_filename(), "type": part.get_content_type(), "sha256": sha256(held).hexdigest()}
    return told | {"base64": b64encode(held).decode()}


class MailSim(Simulator):
    """SMTP on ``smtp_port``; the mails taken are ``books["mails"]``, also over HTTP at ``GET /_books``.

    With ``user`` and ``password`` it takes mails only after a login; with ``tls`` it offers STARTTLS with a
    certificate of its own, kept in ``ca_file``.
    """

    name: ClassVar[str] = "mail"
    plugin: ClassVar[str] = "smtp"

    def __init__(
        self, *, user: str | None = None, password: str = "", tls: bool = False, smtputf8: bool = False
    ) -> None:
        super().__init__()
        self.books |= {"mails": [], "refused": 0}
        self.user, self.password = user, password
        self.smtputf8 = smtputf8
        self.smtp_port = 0
        self.ca_file = ""
        self._files = tempfile.TemporaryDirectory() if tls else None
        self._context = self._make_context(Path(self._files.name)) if self._files else None
        self._refusals: list[dict[str, Any]] = []
        self._silent, self._close = 0, 0
        self._server: asyncio.Server | None = None
        self._open: set[_Door] = set()

    async def start(self, port: int = 0, host: str = "127.0.0.1", *, smtp_port: int = 0) -> Self:
        """Listen for HTTP on ``port`` and for mails on ``smtp_port``."""
        await super().start(port, host)
        self._server = await asyncio.get_running_loop().create_server(self._door, host, smtp_port)
        self.smtp_port = self._server.sockets[0].getsockname()[1]
        return self

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that sends its mails here."""
        login = {"user": self.user, "password": self.password} if self.user is not None else {}
        door = {"tls": "starttls", "ca_file": self.ca_file} if self.ca_file else {"tls": "none"}
        place = {"host": "localhost", "port": self.smtp_port, "sender": "service@shop.example", "allow_private": True}
        return {**place, **door, **login}

    async def stop(self) -> None:
        """Close both servers and every open connection."""
        if self._server:
            self._server.close()
        for door in tuple(self._open):
            door.hang_up()
        if self._files:
            self._files.cleanup()
        await super().stop()

    def do_refuse(self, code: int = 550, text: str = "no", times: int = 1, stage: str = "rcpt") -> None:
        """Answer the next ``times`` commands of the stage (``mail``, ``rcpt``, ``data``) with this code."""
        self._refusals += [{"stage": stage, "answer": f"{code} {text}"} for _ in range(times)]

    def do_hang(self, times: int = 1) -> None:
        """Take the next mails, and answer nothing."""
        self._silent = times

    def do_close(self, times: int = 1) -> None:
        """Take the next mails, and hang up instead of answering."""
        self._close = times

    def do_forget(self) -> None:
        """Empty the books."""
        self.books["mails"].clear()

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: _Door, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """MAIL FROM."""
        if self.user is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if refusal := self._refusal("mail"):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: _Door, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """RCPT TO."""
        if refusal := self._refusal("rcpt"):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: _Door, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The mail itself."""
        if refusal := self._refusal("data"):
            return refusal
        fault = self.faults.take(DOORS, "DATA", envelope.content if isinstance(envelope.content, bytes) else b"")
        if fault is not None and (words := FAULTY.get(fault.name)):
            return words
        if fault is not None and fault.name == "slow":
            await asyncio.sleep(fault.seconds)
        if fault is None or fault.name != "reset":
            self._enter(envelope)
        if self._close:
            self._close -= 1
            server.hang_up()
        elif fault is not None and fault.name in {"reset", "lost answer"}:
            server.hang_up()
        elif self._silent:
            self._silent -= 1
        else:
            return f"250 OK: queued as {len(self.books['mails'])}"
        await asyncio.Event().wait()
        return "250 OK"

    def _refusal(self, stage: str) -> str | None:
        for one in self._refusals:
            if one["stage"] == stage:
                self._refusals.remove(one)
                self.books["refused"] += 1
                return str(one["answer"])
        return None

    def _enter(self, envelope: Envelope) -> None:
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        mail = message_from_bytes(content, _class=EmailMessage, policy=default)
        body = mail.get_body(("plain", "html"))
        self.books["mails"].append(
            {
                "from": envelope.mail_from,
                "to": list(envelope.rcpt_tos),
                "subject": str(mail["Subject"] or ""),
                "message_id": mail["Message-ID"],
                "text": body.get_content() if body else "",
                "headers": {name: str(value) for name, value in mail.items()},
                "files": [_file(one) for one in mail.iter_attachments()],
            }
        )

    def _login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        right = LoginPassword((self.user or "").encode(), self.password.encode())
        return AuthResult(success=given == right, handled=False)

    def _door(self) -> _Door:
        return _Door(
            self,
            hostname="mail.test",
            ident="MailSim",
            enable_SMTPUTF8=self.smtputf8,
            tls_context=self._context,
            auth_require_tls=False,
            authenticator=self._login if self.user is not None else None,
            auth_exclude_mechanism=() if self.user is not None else ("LOGIN", "PLAIN"),
            loop=asyncio.get_running_loop(),
        )

    def _make_context(self, folder: Path) -> ssl.SSLContext:
        chain, key = folder / "chain.pem", folder / "key.pem"
        _certify(chain, key)
        self.ca_file = str(chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context


class _Door(SMTP):
    """One connection, known to the simulator so that it can be cut."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.event_handler._open.add(self)  # noqa: SLF001
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler._open.discard(self)  # noqa: SLF001
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Cut the connection without a word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


def _certify(chain: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
