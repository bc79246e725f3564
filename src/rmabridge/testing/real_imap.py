"""A real Dovecot for tests: its own ports, users and mailboxes, gone when the tests end.

The Debian package in ``PACKAGES`` is all it needs; nothing of a Dovecot already set up there is read or changed.
"""

from __future__ import annotations

import base64
import grp
import imaplib
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hmac import digest
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imap_tools.utils import encode_folder

PACKAGES = "dovecot-imapd"
MISSING = f"Dovecot is not installed: apt-get install --no-install-recommends {PACKAGES}"
USER, PASSWORD = "service@shop.example", "secret-wörd"
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
KEY = b"the key that signs the tokens of this test server"
START = 20

CONFIG = """
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:~/mail
first_valid_uid = 1
first_valid_gid = 1
auth_failure_delay = 0
auth_mechanisms = plain login xoauth2
ssl = yes
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = username_format=%u {home}/users
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {home}/oauth
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={home}/mailboxes/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
"""
OAUTH = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={home}/keys/
username_attribute = email
"""


@dataclass(frozen=True, slots=True)
class RealImap:
    """A running Dovecot with the mailbox of ``USER``: STARTTLS on ``port``, TLS on ``tls_port``."""

    port: int
    tls_port: int
    ca_file: str

    @contextmanager
    def session(self) -> Iterator[imaplib.IMAP4]:
        """What the mailbox's owner sees and does, in a session of their own."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=10) as client:
            client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
            yield client

    def do_deliver(self, *mails: bytes, folder: str = "INBOX") -> None:
        """Mails arrive."""
        with self.session() as client:
            for one in mails:
                done, told = client.append(encode_folder(folder).decode(), "", "", one)
                assert done == "OK", told

    def do_begin(self, *folders: str) -> None:
        """These folders are there, empty and numbered anew."""
        with self.session() as client:
            for name in folders:
                client.delete(encode_folder(name).decode())
                assert client.create(encode_folder(name).decode())[0] == "OK"

    def flags(self, folder: str = "INBOX") -> list[str]:
        """The flags of the folder's mails, in order, but for the one that says that nobody looked."""
        with self.session() as client:
            client.select(encode_folder(folder).decode(), readonly=True)
            found = client.uid("FETCH", "1:*", "(FLAGS)")[1]
        told = [one.decode() for one in found if isinstance(one, bytes)]
        return [one.partition("FLAGS (")[2].rstrip(")").replace("\\Recent", "").strip() for one in told]


def token(user: str = USER, *, hours: float = 1) -> str:
    """A bearer token that the server takes for the user's (a JSON Web Token by HS256)."""
    dies = int((datetime.now(UTC) + timedelta(hours=hours)).timestamp())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"email": user, "sub": user, "exp": dies, "iat": 1_700_000_000}]
    body = b".".join(_letters(json.dumps(one).encode()) for one in parts)
    return (body + b"." + _letters(digest(KEY, body, "sha256"))).decode()


def _letters(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def installed() -> bool:
    """Whether this machine has the package."""
    return _tool() is not None and Path("/usr/lib/dovecot/imap").exists()


def _tool() -> str | None:
    return shutil.which("dovecot", path=SEARCH)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _account() -> pwd.struct_passwd:
    """Dovecot opens no mailbox as root: a root's tests run it as nobody."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def _prepare(home: Path, ports: tuple[int, int], owner: pwd.struct_passwd) -> None:
    group = grp.getgrgid(owner.pw_gid).gr_name
    for name in ("run", "mailboxes", "keys/default/HS256"):
        (home / name).mkdir(parents=True)
    (home / "keys/default/HS256/default").write_bytes(base64.b64encode(KEY))
    (home / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
    (home / "oauth").write_text(OAUTH.format(home=home))
    config = CONFIG.format(home=home, user=owner.pw_name, group=group, port=ports[0], tls_port=ports[1])
    (home / "dovecot.conf").write_text(config)
    _certify(home)
    if os.geteuid() == 0:
        for one in (home, *home.rglob("*")):
            os.chown(one, owner.pw_uid, owner.pw_gid)


def _certify(home: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.shop.example")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (home / "key.pem").write_bytes(pem)


def _wait(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        try:
            with imaplib.IMAP4("127.0.0.1", port, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    log = home / "dovecot.log"
    raise RuntimeError(f"Dovecot did not start: {log.read_text()[-2000:] if log.exists() else 'no log'}")


@contextmanager
def running() -> Iterator[RealImap]:
    """Set Dovecot up in a folder of its own, start it, and stop it at the end."""
    owner, ports = _account(), _free_ports()
    with tempfile.TemporaryDirectory(prefix="imap-") as folder:
        home = Path(folder)
        _prepare(home, ports, owner)
        command = [_tool() or "", "-F", "-c", str(home / "dovecot.conf")]
        as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen(command, cwd=home, **as_owner)  # type: ignore[call-overload] # noqa: S603
        try:
            _wait(ports[0], process, home)
            yield RealImap(*ports, str(home / "cert.pem"))
        finally:
            process.terminate()
            process.wait(START)


@pytest.fixture(scope="session")
def imap_server() -> Iterator[RealImap]:
    """Dovecot for the whole test run; skipped where it is not installed, except in CI."""
    if not installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with running() as server:
        yield server
