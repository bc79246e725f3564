"""The bridge as a process, and what a new user does first."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import certifi
import pytest

SECRETS = (
    "SHOPIFY_TOKEN SHOPIFY_SECRET OWNSHOP_SECRET ZENDESK_TOKEN ZENDESK_SECRET KDNIAO_KEY SMTP_PASSWORD".split()  # noqa: SIM905
)


async def rmabridge(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command as a process: (exit code, stdout)."""
    process = await started(folder, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return process.returncode, out.decode()


@asynccontextmanager
async def serving(folder: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A bridge as a process, and what it said when it was ready; gone at the end, however the test ends."""
    process = await started(folder, "serve", "--dry-run", "--port", "0", *arguments)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            told = json.loads(await process.stdout.readline())
        yield process, told
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process, which: signal.Signals) -> tuple[int | None, str]:
    """Tell the process to stop: (exit code, stderr)."""
    process.send_signal(which)
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    return process.returncode, err.decode()


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A command as a process in a folder of its own."""
    pipe, env = asyncio.subprocess.PIPE, {**os.environ, **dict.fromkeys(SECRETS, "sample-secret")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rmabridge", *arguments, cwd=folder, env=env, stdout=pipe, stderr=pipe
    )


@pytest.mark.row("P33")
async def test_a_new_user_sees_a_case_within_a_minute_of_the_first_command(tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        assert (await rmabridge(tmp_path, "init"))[0] == 0
        async with serving(tmp_path) as (_, told):
            code, answer = await rmabridge(tmp_path, "trigger", "ownshop", "sample", "--url", told["url"])
            assert (code, answer) == (0, '200 {"ok":true}\n')
            while not (cases := json.loads((await rmabridge(tmp_path, "cases", "list", "--json"))[1])):
                pass
            code, explained = await rmabridge(tmp_path, "explain", cases[0]["id"], "--json")
            assert (code, json.loads(explained)["case"]) == (0, cases[0]["id"])
            _, arrived = await rmabridge(tmp_path, "listen", "--since", "0", "--seconds", "0", "--json")
    first = json.loads(arrived.splitlines()[0])
    assert (first["account"], first["events"][0]["type"]) == ("ownshop", "case.requested")


async def test_serve_announces_itself_logs_json_and_drains_on_sigterm(tmp_path: Path) -> None:
    assert (await rmabridge(tmp_path, "init"))[0] == 0
    async with serving(tmp_path, "--ready-file", "ready") as (process, told):
        assert json.loads((tmp_path / "ready").read_text(encoding="utf-8")) == told
        assert told["pid"] == process.pid
        code, err = await ended(process, signal.SIGTERM)
    assert code == 0
    assert not (tmp_path / "ready").exists()
    assert {"ts", "level", "event"} <= set(json.loads(err.splitlines()[0]))
    assert "sample-secret" not in err


async def test_a_second_bridge_on_the_same_database_is_refused(tmp_path: Path) -> None:
    assert (await rmabridge(tmp_path, "init"))[0] == 0
    async with serving(tmp_path) as (process, _):
        assert (await rmabridge(tmp_path, "serve", "--dry-run", "--port", "0"))[0] == 3
        assert (await ended(process, signal.SIGINT))[0] == 0


async def test_trigger_says_when_nothing_runs(tmp_path: Path) -> None:
    assert (await rmabridge(tmp_path, "init"))[0] == 0
    assert await rmabridge(tmp_path, "trigger", "ownshop", "sample", "--url", "http://127.0.0.1:9") == (4, "")


def test_a_bridge_on_a_file_does_not_import_what_a_server_needs() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, rmabridge.flow.bridge; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not {"sqlalchemy.dialects.postgresql", "asyncpg", "alembic"} & set(told.stdout.split())


TRUSTED = """
import os
from rmabridge.cli.serve import _trust, _without_certificates
with _without_certificates():
    import aiohttp
context = aiohttp.connector._SSL_CONTEXT_VERIFIED
assert context.cert_store_stats()["x509_ca"] == 0, "the certificates are read later, or this is all for nothing"
_trust()
import ssl
assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()
import httpx
assert httpx.create_ssl_context().cert_store_stats()["x509_ca"] > 50
print(os.environ.get("SSL_CERT_FILE", "not set"))
"""


@pytest.mark.parametrize("given", [None, "own.pem"])
def test_our_calls_and_those_of_others_keep_their_certificates(tmp_path: Path, given: str | None) -> None:
    own = tmp_path / (given or "unused.pem")
    own.write_bytes(Path(certifi.where()).read_bytes())
    kept = {name: value for name, value in os.environ.items() if name not in {"SSL_CERT_FILE", "SSL_CERT_DIR"}}
    env = kept | ({"SSL_CERT_FILE": str(own)} if given else {})
    told = subprocess.run([sys.executable, "-c", TRUSTED], env=env, capture_output=True, text=True, check=False)
    assert (told.stdout.strip(), told.stderr) == (str(own) if given else "not set", "")
