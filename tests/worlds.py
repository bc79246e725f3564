"""A small configured bridge, and a way to drive it from outside and wait for it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from rmabridge.config import read
from rmabridge.flow.bridge import ROLES, Running
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, database, words

# What the engine's own tests run on: the fewer policies, the plainer what is proposed and why.
SPINE = ("routing", "returns", "first_reply", "helpdesk_sync", "tracking", "progress")
KEY = base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def sign(secret: str, name: str, at: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks headers, in the test's own few lines."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mark = base64.b64encode(hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{mark}",
        "Content-Type": "application/json",
    }


def shop_webhook(**more: Any) -> dict[str, Any]:
    """A generic shop system, mapped by configuration."""
    return {
        "plugin": "webhook",
        "secret": SECRET,
        "signature": {"family": "standard"},
        "events": [
            {
                "when": "type == 'return.requested'",
                "type": "case.requested",
                "key": "id",
                "at": "time",
                "refs": {"return": "data.return", "order": "data.order", "buyer": "data.buyer.id"},
                "set": {
                    "kind": "'return'",
                    "note": "data.note",
                    "order": "data.order_doc",
                    "buyer": "data.buyer",
                },
            },
            {
                "when": "type == 'message'",
                "type": "message.received",
                "key": "id",
                "at": "time",
                "refs": {"order": "data.order", "buyer": "data.buyer.id"},
                "set": {
                    "message.id": "id",
                    "message.author": "data.author || 'buyer'",
                    "message.form": "data.form || 'chat'",
                    "message.text": "data.text",
                    "message.at": "time",
                    "buyer": "data.buyer",
                },
            },
        ],
        **more,
    }


def document(tmp_path: Path, sink: str, **bridge: Any) -> dict[str, Any]:
    """A configuration with one shop: generic webhook in, generic help desk and mail channel out."""
    out = {"plugin": "http", "url": sink, "allow_private": True}
    if POSTGRES:  # there is no file beside which the key and the files would lie
        bridge = {"keys": [KEY], "blobs": str(tmp_path / "bridge.blobs"), **bridge}
    return {
        "bridge": {"database": database(tmp_path), "port": 0, "policies": [*SPINE], **bridge},
        "shops": {
            "one": {
                "marketplace": "shop",
                "helpdesk": "desk",
                "channels": ["mail"],
                "timezone": "Asia/Shanghai",
                "locale": "en",
                "quiet": 0,  # worlds of other tests do not wait for the buyer to stop writing
            }
        },
        "marketplaces": {"shop": shop_webhook()},
        "helpdesks": {"desk": dict(out)},
        "channels": {"mail": {**out, "carries_forms": ["mail"]}},
    }


class World:
    """A running bridge with its sink, and shortcuts to drive both from outside."""

    def __init__(self, bridge: Running, sink: Sink, client: aiohttp.ClientSession) -> None:
        self.bridge, self.sink, self.client = bridge, sink, client
        self.number = 0

    async def post(
        self,
        body: dict[str, Any] | bytes,
        account: str = "shop",
        secret: str = SECRET,
        name: str | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        """Send a signed webhook: (status, JSON answer)."""
        self.number += 1
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        at = int(self.bridge.store.clock.now().timestamp())
        signed = {**sign(secret, name or f"msg_{self.number}", at, raw), **headers}
        async with self.client.post(f"{self.bridge.url}/hooks/{account}", data=raw, headers=signed) as answer:
            return answer.status, await answer.json(content_type=None)

    async def until(self, check: Callable[[], Any], seconds: float = 10) -> Any:
        """Wait until the check holds; its value."""
        pause = 0.01
        async with asyncio.timeout(seconds):
            while not (value := check()):
                await asyncio.sleep(pause)
                pause = min(1.2 * pause, 0.05)  # many that wait must not keep the loop busy with their questions
        return value

    async def settle(self, seconds: float = 15) -> None:
        """Wait until nothing is on its way."""
        quiet = 0

        def still() -> bool:
            nonlocal quiet
            query = (
                "SELECT (SELECT count(*) FROM inbox WHERE state='new') + "
                "(SELECT count(*) FROM outbox WHERE state='sending' OR (state='due' AND due_at <= :now))"
            )
            busy = self.rows(query.replace(":now", str(self.bridge.store.clock.micros())))[0][0]
            quiet = 0 if busy else quiet + 1
            return quiet >= 3

        await self.until(still, seconds)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the bridge's database."""
        return self.bridge.store.read(lambda conn: [tuple(one) for one in conn.exec_driver_sql(words(query))])


@asynccontextmanager
async def running(config: dict[str, Any], sink: Sink, roles: Collection[str] = ROLES) -> AsyncIterator[World]:
    """A bridge that serves this configuration."""
    async with Running(read(config), roles=roles) as bridge, aiohttp.ClientSession() as client:
        yield World(bridge, sink, client)


def ago(**span: float) -> str:
    """A time before now, as a vendor writes it."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="seconds").replace("+00:00", "Z")


def a_return(number: int = 1, **data: Any) -> dict[str, Any]:
    """A return request of the generic shop."""
    return {
        "id": f"evt-{number}",
        "type": "return.requested",
        "time": ago(minutes=1),
        "data": {
            "return": f"R{number}",
            "order": f"O{number}",
            "note": "太小了",
            "buyer": {
                "id": f"B{number}",
                "name": "李雷",
                "email": f"buyer{number}@example.com",
                "locale": "zh-CN",
                "phone": "+8613812345678",
            },
            "order_doc": {
                "id": f"O{number}",
                "number": f"#{number}",
                "placed_at": ago(days=12),
                "delivered_at": ago(days=7),
                "total": {"amount": "120.00", "currency": "CNY"},
                "lines": [
                    {
                        "id": "L1",
                        "sku": "S-1",
                        "title": "鞋",
                        "quantity": 1,
                        "price": {"amount": "120.00", "currency": "CNY"},
                    }
                ],
            },
            **data,
        },
    }
