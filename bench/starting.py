"""``make bench BENCH="--only starting"``: ``serve`` with ten accounts of ten plugins, until its ready line.

Wall time, and the process' own CPU from /proc. One start before the counted ones fills the caches (bytecode in a folder
of its own, files, the database), as they are where the bridge was started before.
The last start runs under ``-X importtime``: what its modules cost by themselves, the dearest packages first. No account
is called: polls and probes go to a closed port, if they come to it before the end.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

TICK: Final = os.sysconf("SC_CLK_TCK")
STARTS: Final = 5
TOP: Final = 15
LINE: Final = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
CONFIG: Final = """
[bridge]
database = "sqlite:///{root}/bench.db"
port = 0

[shops.cn]
marketplace = "taobao"
helpdesk = "zammad"
carrier = "kuaidi100"
channels = ["smtp"]
timezone = "Asia/Shanghai"

[shops.eu]
marketplace = "shopify"
helpdesk = "zendesk"
carrier = "easypost"
channels = ["twilio"]
staff = ["slack"]
timezone = "Europe/Berlin"

[shops.blog]
marketplace = "woocommerce"
helpdesk = "zendesk"
timezone = "Europe/Berlin"

[marketplaces.shopify]
shop = "demo.myshopify.com"
secret = "shpss_demo_secret"
access_token = "shpat_demo"

[marketplaces.taobao]
app_key = "12345678"
app_secret = "demo-top-secret"
session = "demo-session"
url = "http://127.0.0.1:9/router/rest"

[marketplaces.woocommerce]
url = "https://127.0.0.1:9/store"
consumer_key = "ck_demo"
consumer_secret = "cs_demo"
secret = "wc-hook-secret"

[helpdesks.zendesk]
subdomain = "acme"
email = "bridge@example.com"
token = "zendesk-token"
secret = "signing-secret"

[helpdesks.zammad]
url = "https://127.0.0.1:9"
token = "zammad-token"
secret = "zammad-hook-secret"
bot_ids = [3]

[carriers.easypost]
api_key = "EZTK-demo-key"
secret = "hook-secret"

[carriers.kuaidi100]
customer = "CUSTOMER"
api_key = "demo-key"
salt = "demo-salt"

[channels.smtp]
host = "mail.example"
sender = "shop@example.com"

[channels.slack]
token = "xoxb-demo"
channel = "C0ALERTS"
secret = "slack-signing-secret"

[channels.twilio]
account_sid = "AC00000000000000000000000000000000"
auth_token = "twilio-token"
sender = "+12025550123"
"""


def started(root: Path, *flags: str) -> tuple[float, float, str]:
    """Seconds until the ready line, seconds of CPU until then, and what was written to the error output."""
    (root / "rmabridge.toml").write_text(CONFIG.format(root=root), encoding="utf-8")
    command = [sys.executable, *flags, "-m", "rmabridge", "serve", "--config", str(root / "rmabridge.toml")]
    caching = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    caching["PYTHONPYCACHEPREFIX"] = str(root / "bytecode")
    with (root / "errors.txt").open("w+", encoding="utf-8") as errors:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=caching)
        try:
            line = child.stdout.readline()  # type: ignore[union-attr]
            wall, cpu = time.perf_counter() - begun, _cpu(child.pid)
        finally:
            child.kill()
            child.communicate()
        errors.seek(0)
        told = errors.read()
    if not line.startswith("{"):
        raise SystemExit(f"the bridge did not start:\n{line}{told[-3000:]}")
    return wall, cpu, told


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def imports(told: str) -> list[dict[str, Any]]:
    """What the modules of each package cost by themselves, the dearest first."""
    own: Counter[str] = Counter()
    for one in LINE.finditer(told):
        parts = one[4].split(".")
        own[".".join(parts[:2] if parts[0] == "rmabridge" else parts[:1])] += int(one[1])
    return [{"package": name, "ms": round(us / 1000, 1)} for name, us in own.most_common(TOP)]


def measured() -> dict[str, Any]:
    """The figures of the counted starts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        started(root)
        found = [started(root)[:2] for _ in range(STARTS)]
        told = started(root, "-X", "importtime")[2]
    walls, cpus = zip(*found, strict=True)
    return {
        "accounts": 10,
        "starts": STARTS,
        "wall_s": {"best": round(min(walls), 3), "median": round(statistics.median(walls), 3)},
        "cpu_s": {"best": round(min(cpus), 2), "median": round(statistics.median(cpus), 2)},
        "imports": imports(told),
        "import_ms": round(sum(int(one[1]) for one in LINE.finditer(told)) / 1000, 1),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    print(json.dumps({"starting": measured()}, indent=2))
