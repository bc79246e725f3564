"""The demo's world: ten servers, the bridge between them, and ways to act in it and to look at it."""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from . import settings
from .processes import Child, Failed, Nursery, free_ports

T = TypeVar("T")
SERVERS: Final = ("shopify", "zendesk", "kdniao", "mail", "sink", "taobao", "wecom", "easypost", "aliyun", "chatwoot")
PORTS: Final = ("bridge", "smtp", *SERVERS)
PATIENCE: Final = 60.0
LOOKED_EVERY: Final = 0.03
BUSY: Final = re.compile(
    rb'^rmabridge_inbox_waiting ([0-9.]+)|^rmabridge_outbox\{.*state="(?:due|sending)".*\} ([0-9.]+)', re.MULTILINE
)


class World:
    """Everything runs inside ``with World(folder) as world``; at its end nothing is left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(PORTS)
        self.config = folder / "rmabridge.toml"
        self.offset = 0.0
        self.children: dict[str, Child] = {}
        self.threads = ThreadPoolExecutor(8)

    def __enter__(self) -> Self:
        self.config.write_text(settings.document(self.ports), encoding="utf-8")
        # Two of them, so that the bridge's imports and the servers' share the processors.
        self.nursery, self.town = (Nursery(self.folder, self.config, name) for name in ("nursery", "town"))
        try:
            self.serve()
            for name, arguments in settings.servers(self.ports).items():
                self.children[name] = Child(name, self.town, "rmabridge.testing.simulators", arguments)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ready(self) -> None:
        """Wait until everybody answers."""
        self.until("all servers answer", lambda: all(self._answers(name) for name in self.children))

    def url(self, name: str) -> str:
        """The address of a server, or of the bridge."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def stop(self) -> None:
        """Kill everything."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for child in self.children.values():
            child.kill()
        self.nursery.stop()
        self.town.stop()

    # The bridge

    def serve(self) -> None:
        """Start the bridge."""
        self.children["bridge"] = Child("bridge", self.nursery, "rmabridge", ["serve", "--config", str(self.config)])

    def kill(self) -> None:
        """``kill -9``: no goodbye, no clean-up."""
        self.children["bridge"].kill()

    def restart(self) -> None:
        """Start the bridge again on what its files hold."""
        self.serve()
        self.until("the bridge answers", lambda: self._answers("bridge"))

    def cli(self, *arguments: str) -> Any:
        """What a command of the bridge says, asked for with ``--json``."""
        done = self.nursery.command([*arguments, "--config", str(self.config), "--json"])
        if done.code:
            raise Failed(f"rmabridge {' '.join(arguments)}: exit {done.code}: {done.err or done.out}")
        return json.loads(done.out or "null")

    def advance(self, span: str) -> None:
        """Move the clocks of the bridge and of the world forward by ``90s``, ``15m``, ``2h`` or ``3d``."""
        self.cli("clock", "advance", span)
        self.follow()
        self.settle()

    def follow(self) -> None:
        """Set the servers' clocks by the bridge's, which ``rmabridge clock`` may have moved."""
        with closing(sqlite3.connect(f"file:{self.folder / 'bridge.db'}?mode=ro", uri=True)) as conn:
            row = conn.execute("SELECT cursor FROM cursors WHERE account = 'bridge' AND kind = 'clock'").fetchone()
        offset = float(row[0] or 0) if row else 0.0
        if offset != self.offset:
            self.offset = offset
            for name in SERVERS:
                self.post(name, "/_clock", {"offset": offset})

    def now(self) -> datetime:
        """The time in the world."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    def settle(self) -> None:
        """Wait until the bridge has nothing to route and nothing to deliver."""
        self.until("the bridge comes to rest", self._quiet)
        self.until("the bridge comes to rest", self._quiet)

    def _quiet(self) -> bool:
        _, body = self.request("bridge", "GET", "/metrics")
        return not any(float(number) for pair in BUSY.findall(body) for number in pair if number)

    def unsettled(self, account: str, state: str) -> int:
        """How many deliveries of an account stand in this state, as the bridge's metrics say."""
        name = f'rmabridge_outbox{{account="{account}",state="{state}"}} '
        lines = self.request("bridge", "GET", "/metrics")[1].decode().splitlines()
        return sum(int(float(one.removeprefix(name))) for one in lines if one.startswith(name))

    # The servers

    def do(self, server: str, what: str, /, **arguments: Any) -> Any:
        """Let the world act at a server."""
        return self.post(server, f"/_do/{what}", arguments)

    def later(self, server: str, what: str, /, **arguments: Any) -> Future[Any]:
        """The same, without waiting for it."""
        return self.threads.submit(self.do, server, what, **arguments)

    def together(self, *jobs: Callable[[], Any]) -> list[Any]:
        """Run jobs side by side; their values."""
        return [one.result(PATIENCE) for one in [self.threads.submit(job) for job in jobs]]

    def books(self, name: str) -> dict[str, Any]:
        """What a server believes."""
        found: dict[str, Any] = json.loads(self.request(name, "GET", "/_books")[1])
        return found

    def post(self, name: str, path: str, body: dict[str, Any]) -> Any:
        """POST a JSON object to a server of the world."""
        status, answer = self.request(
            name, "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if status != 200:
            raise Failed(f"{name} answered {status} to {path}: {answer.decode('utf-8', 'replace')}")
        return json.loads(answer)

    def hook(self, account: str, body: bytes, headers: dict[str, str]) -> int:
        """Send a webhook to the bridge; the status."""
        return self.request("bridge", "POST", f"/hooks/{account}", body, headers)[0]

    def request(
        self, name: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One HTTP request: (status, body)."""
        client = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=30)
        try:
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{name} does not answer: {type(error).__name__}: {error}") from error
        finally:
            client.close()

    def _answers(self, name: str) -> bool:
        try:
            return self.request(name, "GET", "/readyz" if name == "bridge" else "/_books")[0] == 200
        except Failed:
            return False

    def until(self, what: str, look: Callable[[], T]) -> T:
        """Look until there is something to see; its value."""
        until = time.monotonic() + PATIENCE
        while not (seen := look()):
            for child in self.children.values():
                child.check()
            if time.monotonic() > until:
                raise Failed(f"waited {PATIENCE:.0f} s in vain: {what}\n{self.children['bridge'].tail()}")
            time.sleep(LOOKED_EVERY)
        return seen
