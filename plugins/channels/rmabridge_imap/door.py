"""The way into a mailbox: connect, encrypt, log in; blocking, so run it in a thread."""

from __future__ import annotations

import imaplib
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imap_tools.errors import ImapToolsError
from imap_tools.mailbox import BaseMailBox

from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable

# RFC 5530: the server is busy or broken, and the password may be right.
BUSY: Final = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "[CONTACTADMIN]")
CHECK: Final = "check user and password, and whether IMAP is switched on and the provider wants an app password"


@dataclass(frozen=True, slots=True)
class Door:
    """Where the mailbox is, and what opens it: a password, or a bearer token."""

    host: str
    port: int
    tls: str
    ca_file: Path | None
    timeout: float
    user: str
    password: str
    token: str | None
    private: bool

    @contextmanager
    def open(self) -> Iterator[BaseMailBox]:
        """A session, logged in; every way to fail is a ``DeliveryError``, and the connection is closed."""
        try:
            box = _Box(self)
            try:
                self._login(box)
                yield box
                # What was asked is answered: a server that does not say goodbye takes nothing back.
                with suppress(OSError, imaplib.IMAP4.error):
                    box.client.logout()
            finally:
                with suppress(OSError):
                    box.client.shutdown()
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(str(error), hint="set ca_file, or the name that the certificate is for") from error
        except (OSError, imaplib.IMAP4.error, ImapToolsError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    def connect(self) -> imaplib.IMAP4:
        """A connection, encrypted where the settings say so."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.tls == "tls":
            return imaplib.IMAP4_SSL(self.host, self.port, ssl_context=context, timeout=self.timeout)
        client = imaplib.IMAP4(self.host, self.port, self.timeout)
        try:
            if self.tls == "starttls":
                _encrypt(client, context)
        except BaseException:
            with suppress(OSError):
                client.shutdown()
            raise
        return client

    def _login(self, box: BaseMailBox) -> None:
        if not self.private:
            self._refuse_private(box.client.sock.getpeername()[0])
        try:
            if self.token is not None:
                box.xoauth2(self.user, self.token, initial_folder=None)
            elif (self.user + self.password).isascii():
                box.login(self.user, self.password, initial_folder=None)
            else:
                box.login_utf8(self.user, self.password, initial_folder=None)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, ImapToolsError) as error:
            raise _refusal(error) from error
        # NetEase shows no folder to a client that has not said who it is.
        if "ID" in features(box):
            box.client.xatom("ID", '("name" "rmabridge")')

    def _refuse_private(self, peer: str) -> None:
        if not ipaddress.ip_address(peer.partition("%")[0]).is_global:
            raise Rejected(
                f"{self.host} is a private address", hint="set allow_private = true for this account if that is meant"
            )


class _Box(BaseMailBox):
    """imap-tools on a connection of ours, which is closed when it cannot be encrypted."""

    def __init__(self, door: Door) -> None:
        self._door = door
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        return self._door.connect()


def features(box: BaseMailBox) -> frozenset[str]:
    """What the server can do now; after the login that is more."""
    _, told = box.client.capability()
    return frozenset(told[-1].decode().upper().split())


def _encrypt(client: imaplib.IMAP4, context: ssl.SSLContext) -> None:
    if "STARTTLS" not in client.capabilities:
        raise Unauthorised("the server offers no STARTTLS", hint="set tls to 'tls' (port 993)")
    client.starttls(context)


def _refusal(error: Exception) -> DeliveryError:
    cause = str(error)[:300]
    if any(code in cause.upper() for code in BUSY):
        return Unavailable(cause)
    if "[PRIVACYREQUIRED]" in cause.upper():
        return Unauthorised(cause, hint="the server wants encryption first: set tls to 'starttls' or 'tls'")
    return Unauthorised(cause, hint=CHECK)
