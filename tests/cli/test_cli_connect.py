"""Connecting an account: by the consent page, and with a pasted token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from cli_desk import run, write

from rmabridge.cli.app import App
from rmabridge.cli.lending import PeekTokens
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.flow.tokens import StoredTokens
from stores import dumped
from worlds import document

PLUGIN = '''
from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Connects, Page, Plugin, Reconciles
from rmabridge.errors import Unverified


class Portal(Plugin, Connects, Reconciles):
    """Signs in by code."""

    consent: bool = True
    called: ClassVar[list] = []

    def parse(self, inbound):
        return ()

    async def listing(self, ctx, cursor):
        self.called.append("listing")
        return Page((), "1")

    def authorise_url(self, redirect, state):
        return f"https://portal.example/consent?redirect={redirect}&state={state}" if self.consent else None

    async def exchange(self, query, redirect, ctx):
        if query.get("code") != "good":
            raise Unverified("the code is not good")
        return {"access": "t0ken"}

    async def subscribe(self, url, ctx):
        return (f"register {url} for {(await ctx.tokens.get())['access'][:1]}…",)


@hookimpl
def register_marketplaces():
    return [Portal]
'''


@pytest.fixture
def portal(tmp_path: Path) -> Path:
    """A configuration with an account that is connected by consent, and one that takes a pasted token."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "rmabridge_portal.py").write_text(PLUGIN, encoding="utf-8")
    doc = document(tmp_path, "http://127.0.0.1:9/", plugins_dir=str(tmp_path / "own"))
    doc["marketplaces"] |= {"portal": {}, "pasted": {"plugin": "portal", "consent": False}}
    return write(tmp_path / "rmabridge.toml", doc)


async def test_the_running_bridge_takes_the_way_back_from_the_consent_page_once(portal: Path) -> None:
    async with Running(load(portal)) as bridge, aiohttp.ClientSession() as client:
        result = run(portal, "accounts", "connect", "portal", "--url", bridge.url, json_=True)
        query = parse_qs(urlsplit(json.loads(result.stdout)["authorise_url"]).query)
        assert query["redirect"] == [f"{bridge.url}/oauth/portal"]
        back = {"code": "good", "state": query["state"][0]}
        assert back["state"].encode() not in dumped(load(portal).bridge.database)
        for forged in ("forged", "伪造"):
            async with client.get(f"{bridge.url}/oauth/portal", params={**back, "state": forged}) as answer:
                assert answer.status == 401
        async with client.get(f"{bridge.url}/oauth/portal", params=back) as answer:
            assert (answer.status, "portal is connected" in await answer.text()) == (200, True)
        async with client.get(f"{bridge.url}/oauth/portal", params=back) as answer:
            assert answer.status == 401
        assert await PeekTokens(App(portal, as_json=True), "portal").get() == {"access": "t0ken"}


@pytest.mark.row("P34")
async def test_a_pasted_token_is_sealed_and_what_is_left_by_hand_is_told(portal: Path, tmp_path: Path) -> None:
    async with Running(load(portal)) as bridge:
        connect = ("accounts", "connect", "pasted", "--token", "access=p4sted-token", "--url", "https://rma.example")
        result = await _thread(portal, *connect)
        assert "- register https://rma.example/hooks/pasted for p" in result
        assert "p4sted-token" not in result
        assert await StoredTokens(bridge.store, "pasted").get() == {"access": "p4sted-token"}
    assert b"p4sted-token" not in dumped(load(portal).bridge.database)
    assert all(b"p4sted-token" not in one.read_bytes() for one in tmp_path.glob("bridge.db*"))


async def test_reconcile_makes_the_comparison_due_now(portal: Path) -> None:
    async with Running(load(portal)) as bridge:
        called = type(bridge.registry.accounts["portal"]).called  # type: ignore[attr-defined]
        before = len(called)
        assert "begins now" in await _thread(portal, "reconcile", "portal")
        await _until(lambda: len(called) > before)


async def _thread(path: Path, *arguments: str) -> str:
    result = await asyncio.to_thread(run, path, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)
