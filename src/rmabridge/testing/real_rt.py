"""A real Request Tracker 5 for tests: its own SQLite database, port and users, gone when the tests end.

The Debian packages in ``PACKAGES`` are all it needs; nothing of an RT already installed there is read or changed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

PACKAGES = "request-tracker5 rt5-standalone rt5-db-sqlite"
MISSING = f"Request Tracker is not installed: apt-get install --no-install-recommends {PACKAGES}"
PASSWORD = "secret-word"  # noqa: S105 - of a server that lives for one test run
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/share/request-tracker5/libexec"

# Perl, both: RT's configuration and what its database starts with. They take what differs from the environment.
SITE = """
$RT::MasonDataDir = "$ENV{RT_HOME}/mason";
$RT::MasonSessionDir = "$ENV{RT_HOME}/sessions";
Set($DatabaseType, 'SQLite');
Set($DatabaseName, "$ENV{RT_HOME}/rt5");
Set($WebDomain, '127.0.0.1');
Set($WebPort, $ENV{RT_PORT});
Set($MailCommand, 'testfile');
Set($LogToSyslog, '');
1;
"""
PEOPLE = r"""
@Users = map { { Name => $_, Password => $ENV{RT_WORD}, Privileged => 1, EmailAddress => "$_\@desk.example" } }
    qw(bridge alice);
push @Users, { Name => 'buyer@example.com', Password => $ENV{RT_WORD}, EmailAddress => 'buyer@example.com' };
@Queues = ({ Name => 'Bare' });
@CustomFields = ({
    Name => 'rma_ref', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['General'],
});
@ACL = (
    (map { { GroupDomain => 'SystemInternal', GroupType => 'Privileged', Right => $_ } } qw(
        SeeQueue ShowTicket ShowTicketComments CreateTicket ReplyToTicket CommentOnTicket ModifyTicket
        SeeCustomField ModifyCustomField
    )),
    (map { { GroupDomain => 'SystemInternal', GroupType => 'Unprivileged', Right => $_ } } qw(
        SeeQueue ShowTicket ReplyToTicket
    )),
);
@Final = (sub {
    my $owner = RT::User->new(RT->SystemUser);
    $owner->Load('bridge');
    my $token = RT::AuthToken->new(RT->SystemUser);
    my ($id, $message, $word) = $token->Create(Owner => $owner->id, Description => 'bridge');
    open my $file, '>', "$ENV{RT_HOME}/token" or die $!;
    print $file $word;
    close $file;
});
"""


@dataclass(frozen=True, slots=True)
class RealRT:
    """A running RT with the privileged users ``bridge`` and ``alice`` and the customer ``buyer@example.com``.

    All have the password ``PASSWORD``; ``token`` is a token of ``bridge``. The custom field ``rma_ref`` is applied to
    the queue General, and not to the queue Bare.
    """

    url: str
    token: str

    def call(self, user: str, method: str, path: str, **options: object) -> httpx.Response:
        """One REST call as this user; the caller judges the answer."""
        address = f"{self.url}/REST/2.0{path}"
        return httpx.request(method, address, auth=(user, PASSWORD), timeout=60, **options)  # type: ignore[arg-type]


def _tool(name: str) -> str | None:
    return shutil.which(name, path=SEARCH)


def installed() -> bool:
    """Whether this machine has the packages."""
    return all(_tool(name) for name in ("rt-server", "rt-setup-database-5"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _prepare(home: Path, port: int) -> dict[str, str]:
    for folder in ("conf.d", "mason", "sessions"):
        (home / folder).mkdir(parents=True)
    (home / "rt5").touch()
    (home / "site.pm").write_text(SITE)
    (home / "people").write_text(PEOPLE)
    # Without a folder of our own RT reads the one in /etc after our file, and that one wins.
    own = {"RT_SITE_CONFIG": str(home / "site.pm"), "RT_SITE_CONFIG_DIR": str(home / "conf.d"), "TMPDIR": str(home)}
    return {**os.environ, **own, "RT_HOME": str(home), "RT_PORT": str(port), "RT_WORD": PASSWORD}


def _set_up(home: Path, environment: dict[str, str]) -> None:
    for action in (["init", "--skip-create"], ["insert", "--datafile", str(home / "people")]):
        command = [_tool("rt-setup-database-5") or "", "--action", *action]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode or not (home / "rt5").stat().st_size:
            raise RuntimeError(f"Request Tracker's database was not made: {done.stdout}{done.stderr}")


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/REST/2.0/rt", timeout=30).status_code == 401:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"Request Tracker did not start: {log.read_text()[-2000:]}")


@contextmanager
def running(home: Path) -> Iterator[RealRT]:
    """Set RT up in an empty folder, start it, and stop it at the end."""
    port = _free_port()
    environment = _prepare(home, port)
    _set_up(home, environment)
    command = [_tool("rt-server") or "", "--server", "Standalone", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603
        try:
            _wait(f"http://127.0.0.1:{port}", process, home / "server.log")
            yield RealRT(f"http://127.0.0.1:{port}", (home / "token").read_text())
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def rt_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRT]:
    """Request Tracker 5 for the whole test run; skipped where it is not installed, except in CI."""
    if not installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with running(tmp_path_factory.mktemp("rt") / "home") as server:
        yield server
