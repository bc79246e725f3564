"""Fuzzes the webhook door as it stands on the net, with accounts of many plugins, and what reads the bodies behind it.

Not collected by pytest. Needs atheris (``pip install atheris``, CPython 3.11 or what it supports):

    python tests/fuzz/webhook_door.py -max_total_time=600 [corpus directory]

Each input is the number of an account, the number of a way, and bytes. The ways: a raw HTTP request on a socket; a body
in a well-formed request; a vendor's signed sample, changed; the body alone to ``verify`` and ``parse``, as it comes out
of the inbox. Whatever comes in, the door answers with a status that it means, never with the bridge's own fault, and
``parse`` gives events or raises ``Malformed``.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["rmabridge"]):
    import structlog

    from rmabridge import abilities, config, registry, wire
    from rmabridge.wire import bodies, mailtext, signing, times, waybills

    assert abilities and registry and wire and bodies and mailtext and signing and times and waybills
    from rmabridge.abilities import Inbound, ReceivesWebhooks, WebRequest
    from rmabridge.errors import KeyNeeded, Malformed, Refused
    from rmabridge.flow.bridge import Running
    from rmabridge.loading import load, sources

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RULE = {
    "type": "case.requested",
    "key": "id",
    "at": "time",
    "refs": {"order": "order", "buyer": "buyer.id"},
    "set": {"kind": "'complaint'", "note": "words", "buyer": "buyer"},
}
ACCOUNTS: dict[str, dict[str, dict[str, Any]]] = {
    "marketplaces": {
        "open": {"plugin": "webhook", "signature": {"family": "none"}, "events": [RULE]},
        "signed": {"plugin": "webhook", "secret": SECRET, "signature": {"family": "standard"}, "events": [RULE]},
        "shopify": {"shop": "demo.myshopify.com", "access_token": "t", "secret": "a-secret"},
        "woocommerce": {"url": "https://h.example", "consumer_key": "k", "consumer_secret": "s", "secret": "a-secret"},
        "douyin": {"app_key": "7000000000000000000", "app_secret": "a-secret", "shop_id": "1"},
    },
    "helpdesks": {
        "zendesk": {"subdomain": "acme", "email": "a@b.example", "token": "t", "secret": "a-secret", "bot_ids": ["1"]},
        "zammad": {"url": "https://h.example", "token": "t", "bot_ids": ["1"], "secret": "a-secret"},
    },
    "carriers": {
        "kdniao": {"business_id": "1234567", "app_key": "k", "push_token": "a-push-token"},
        "easypost": {"api_key": "EZTK", "secret": "a-secret"},
        "kuaidi100": {"customer": "c", "api_key": "k", "salt": "a-salt"},
        "seventeentrack": {"api_key": "a-key"},
        "sf_express": {"partner_id": "P", "check_word": "a-check-word"},
    },
    "channels": {"twilio": {"account_sid": "AC" + "0" * 32, "auth_token": "a-token", "sender": "+15005550006"}},
}
MEANT = {200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 422, 429, 431, 501, 503, 505}
KINDS = ("application/json", "application/x-www-form-urlencoded", "text/xml", "multipart/form-data; boundary=B", "")


def document(folder: str) -> dict[str, Any]:
    """A bridge that receives and reads, and decides nothing."""
    sources_ = [name for kind in ("marketplaces",) for name in ACCOUNTS[kind] if name != "open"]
    shop = {"marketplace": "open", "sources": sources_}
    bridge = {"database": f"sqlite:///{folder}/fuzz.db", "port": 0, "policies": [], "dry_run": True}
    return {"bridge": {**bridge, "most_waiting": 10**9}, "shops": {"one": shop}, **ACCOUNTS}


class Door:
    """The running bridge and its accounts."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        folder = tempfile.TemporaryDirectory(prefix="fuzz")
        atexit.register(folder.cleanup)
        self.bridge = Running(config.read(document(folder.name)))
        self.loop.run_until_complete(self.bridge.__aenter__())
        found = self.bridge.registry.accounts
        self.names = sorted(name for name, one in found.items() if isinstance(one, ReceivesWebhooks))
        self.accounts: list[Any] = [found[one] for one in self.names]

    def one(self, data: bytes) -> None:
        """One input."""
        if len(data) < 2:
            return
        at, body = data[0] % len(self.names), data[2:]
        ways = (self.raw, self.sent, self.signed, self.parsed)
        self.loop.run_until_complete(ways[data[1] % len(ways)](at, body))

    async def raw(self, at: int, body: bytes) -> None:
        """Bytes on a socket, after a good first line."""
        await self.ask(f"POST /hooks/{self.names[at]} HTTP/1.1\r\nHost: h\r\n".encode() + body, 0.01)

    async def sent(self, at: int, body: bytes) -> None:
        """A body in a well-formed request, one of the usual content types."""
        kind = KINDS[body[0] % len(KINDS)] if body else ""
        await self.post(f"/hooks/{self.names[at]}", {"Content-Type": kind}, body[1:])

    async def signed(self, at: int, body: bytes) -> None:
        """A vendor's own sample with its body or its headers changed."""
        account, now = self.accounts[at], self.bridge.store.clock.now()
        names = account.samples()
        made = account.sample(names[body[0] % len(names)], now) if names and body else None
        if made is not None:
            place = body[1] % (len(made.body) + 1) if len(body) > 1 else 0
            changed = made.body[:place] + body[2:] + made.body[place + len(body[2:]) :]
            query = "&".join(f"{name}={value}" for name, value in made.query.items())
            await self.post(f"{made.path}?{query}", dict(made.headers), changed)

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Send a request whose frame is right."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        assert await self.ask(head.encode() + body) is not None, "the door did not answer"

    async def ask(self, raw: bytes, patience: float = 20) -> int | None:
        """Send and read; the status, or None where the door waits for more or hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.bridge.port)
        try:
            writer.write(raw)
            async with asyncio.timeout(patience):
                answer = await reader.read(1 << 16)
        except (ConnectionError, TimeoutError):
            return None
        finally:
            writer.close()
        if not answer:
            return None
        status = int(answer.split(b" ", 2)[1])
        assert status in MEANT, f"status {status}: {answer[:300]!r}"
        assert b"the bridge failed" not in answer, answer[:300]
        return status

    async def parsed(self, at: int, body: bytes) -> None:
        """The body as it comes out of the inbox."""
        account, (head, _, rest) = self.accounts[at], body.partition(b"\n")
        kind = head.decode(errors="replace") if rest else "application/json"
        request = WebRequest("POST", "/", {}, {"Content-Type": kind}, rest or body)
        meta = {"content_type": kind, "topic": kind}
        with suppress(Refused, KeyNeeded):
            account.verify(request, NOON)
        with suppress(Malformed):
            list(account.parse(Inbound(self.names[at], rest or body, meta, NOON)))


def seeds(door: Door) -> Iterator[bytes]:
    """Every account's samples, for every way."""
    for at, account in enumerate(door.accounts):
        for name in account.samples():
            if (made := account.sample(name, NOON)) is None:
                continue
            kind = next((value for key, value in made.headers.items() if key.lower() == "content-type"), "")
            yield bytes([at, 1, 0]) + made.body
            yield bytes([at, 3]) + kind.encode() + b"\n" + made.body
            yield bytes([at, 3]) + made.body
            yield bytes([at, 2, 0, 0])
    yield bytes([0, 0]) + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield bytes([0, 0]) + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"


def main() -> None:
    """Fuzz until told to stop."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    used = [sources()[one.get("plugin", name)] for kind in ACCOUNTS.values() for name, one in kind.items()]
    with atheris.instrument_imports(include=[one.module for one in used]):
        for one in used:
            load(one)
    door = Door()
    corpus = next((Path(one) for one in sys.argv[1:] if not one.startswith("-")), None)
    if corpus is None:
        corpus = Path(tempfile.mkdtemp(prefix="corpus"))
        sys.argv.append(str(corpus))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(door)):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup(sys.argv, door.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
