"""A new package, built as a wheel, installed beside rmabridge and used by a real bridge."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from rmabridge.cli.new import new
from rmabridge.testing import live
from rmabridge.wire.signing import standard_sign
from serving import Child

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
OFFLINE = ("--no-deps", "--no-index")
NUMBER = "AC123456789"


def made(folder: Path, kind: str) -> Path:
    """The folder of a new package."""
    told = CliRunner().invoke(new, [kind, "acme", "--package", "--dir", str(folder)])
    assert told.exit_code == 0, told.output
    return folder / "rmabridge-acme"


def installed(package: Path, site: Path) -> Path:
    """The package built as a wheel and installed in a folder of its own; the wheel."""
    wheels = package / "dist"
    build = [*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", wheels, package]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", site, wheel], check=True, capture_output=True)
    return wheel


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """A carrier that is installed for every process that is started from here; and its simulator."""
    package = made(tmp_path, "carrier")
    wheel = installed(package, tmp_path / "site")
    assert wheel.name == "rmabridge_acme-0.1.0-py3-none-any.whl"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    from simulator_acme import AcmeSim

    yield AcmeSim
    sys.modules.pop("simulator_acme", None)


@asynccontextmanager
async def serving(folder: Path, acme: Any) -> AsyncIterator[Child]:
    """``rmabridge serve`` with an account of the carrier."""
    settings = {"api_key": acme.api_key, "secret": acme.secret, "url": acme.url}
    config = live.configured("acme", "carriers", settings)
    config["bridge"] = {"database": f"sqlite:///{folder / 'bridge.db'}", "port": 0, "policies": list(live.SPINE)}
    child = Child(config, folder)
    await child.start()
    try:
        yield child
    finally:
        assert await child.stop() == 0


async def started(child: Child, *arguments: str) -> asyncio.subprocess.Process:
    """A command beside the running bridge."""
    command = (sys.executable, "-m", "rmabridge", *arguments, "--json", "--config", str(child.file))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)


async def said(child: Child, *arguments: str) -> Any:
    """What it says."""
    process = await started(child, *arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def a_return(child: Child) -> None:
    """A buyer asks for a return of what the carrier brings."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    body = json.dumps(live.asked("O1", now, NUMBER, {})).encode()
    headers = {**standard_sign(live.SECRET, "asked-1", now, body), "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{child.url}/hooks/shop", data=body, headers=headers) as answer,
    ):
        assert answer.status == 200
    await child.until("SELECT count(*) FROM timeline WHERE type = 'order.seen'", [(1,)])


async def test_an_installed_carrier_is_listed_checked_and_shows_its_scans_in_the_case(carrier, tmp_path):
    async with carrier() as acme, serving(tmp_path, acme) as child:
        (listed,) = [one for one in await said(child, "plugins", "list") if one["name"] == "acme"]
        where = {"from": "installed (rmabridge-acme)", "used by": ["carriers.acme"]}
        assert listed == {"name": "acme", "level": "none", **where}
        why = await said(child, "plugins", "list", "--why", "acme")
        assert (why["usable"], why["why"]) == (True, "registers carriers")
        checked = await said(child, "check")
        assert checked["ok"]
        assert {"account": "acme", "plugin": "acme", "contacts": "127.0.0.1"}.items() <= checked["contacts"][1].items()

        await a_return(child)
        acme.hook = f"{child.url}/hooks/acme"
        assert await acme.do_scan(NUMBER, "delivered", "Left at the door") == 200
        await child.until("SELECT count(*) FROM timeline WHERE type = 'parcel.seen'", [(1,)])
        (case,) = await said(child, "cases", "list")
        shown = await said(child, "cases", "show", case["id"])
        assert "delivered" in json.dumps(shown)

        acme.secret = "guessed"
        assert await acme.do_scan(NUMBER, "lost") == 401

        named = {"name": "acme", "what": "simulator (rmabridge-acme)"}
        assert named in await said(child, "simulate", "--list")
        simulating = await started(child, "simulate", "acme")
        told = json.loads(await simulating.stdout.readline())
        simulating.terminate()
        await simulating.communicate()
        assert (told["section"], told["account"]["secret"]) == ("carriers.acme", acme.__class__.secret)
