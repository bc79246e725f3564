"""A bridge that pays refunds over HTTP, and shortcuts to order actions and read the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web
from toybox import command, requested, send, shift, toybox

from rmabridge.testing.simulators.server import Simulator
from worlds import World


class Bank(Simulator):
    """Pays what it is asked to; ``books["paid"]`` counts payments by key. It can hold a request, or lose the answer.

    ``GET /payments/{key}`` shows a payment. ``remembers``: a known key is answered as before, and not paid again.
    """

    name: ClassVar[str] = "bank"

    def __init__(self, *, remembers: bool = False) -> None:
        super().__init__()
        self.remembers = remembers
        self.books |= {"paid": {}, "asked": [], "looked": 0}
        self.answers: list[int] = []
        self.find_answers: list[int] = []
        self.go = asyncio.Event()
        self.go.set()

    def routes(self) -> list[web.RouteDef]:
        """Its doors."""
        return [web.post("/pay", self._pay), web.get("/payments/{key}", self._look)]

    @property
    def times_paid(self) -> int:
        """How many payments were made."""
        return sum(self.books["paid"].values())

    async def _pay(self, request: web.Request) -> web.Response:
        key, body = request.headers["Idempotency-Key"], await request.json()
        self.books["asked"].append({"key": key, **body})
        if self.answers and self.answers[0] in range(400, 500):
            return web.json_response({"error": "refused"}, status=self.answers.pop(0))
        if not (self.remembers and key in self.books["paid"]):
            self.books["paid"][key] = self.books["paid"].get(key, 0) + 1
        await self.go.wait()
        if self.answers and (status := self.answers.pop(0)) != 200:
            return web.json_response({"error": "lost"}, status=status)
        return web.json_response({"id": f"P-{key[:8]}"})

    async def _look(self, request: web.Request) -> web.Response:
        self.books["looked"] += 1
        if self.find_answers:
            return web.json_response({}, status=self.find_answers.pop(0))
        key = request.match_info["key"]
        if key not in self.books["paid"]:
            return web.json_response({}, status=404)
        return web.json_response({"id": f"P-{key[:8]}", "url": f"{self.url}/payments/{key}"})


FIND = {"path": "payments/{key}", "found": "id"}


def banking(
    tmp_path: Path, sink: str, bank: str, *policies: str, call: dict[str, Any] | None = None, **account: Any
) -> dict[str, Any]:
    """The toy box with an account ``bank`` that pays refunds."""
    config = toybox(tmp_path, sink, *policies)
    calls = {"refund.pay": {"path": "pay", **(call or {})}}
    config["services"] = {"bank": {"plugin": "http", "url": bank, "allow_private": True, "calls": calls, **account}}
    return config


async def a_case(world: World, number: int | str = 1) -> str:
    """A new case of a return request; its id."""
    await send(world, requested(number))
    query = f"SELECT case_id FROM inbox WHERE kind = 'hook' AND state = 'done' ORDER BY id DESC LIMIT {1}"
    await world.settle()
    return str(world.rows(query)[0][0])


def refund(number: int | str = 1, amount: str = "20.00", **more: Any) -> dict[str, Any]:
    """A refund at the bank."""
    money = {"amount": amount, "currency": "CNY"}
    return {"type": "refund.pay", "account": "bank", "request": f"R{number}", "amount": money, **more}


def message(purpose: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    """A mail to a buyer."""
    return {
        "type": "message.send",
        "account": "mail",
        "purpose": purpose,
        "form": "mail",
        "to": "b@example.com",
        "text": text,
        **more,
    }


async def act(world: World, case: str, action: dict[str, Any], **args: Any) -> str:
    """Order an action as an operator does; what the bridge said."""
    return str((await command(world, "act", case, action=action, **args))[1])


def row(world: World, key: str) -> dict[str, Any]:
    """The ledger row of a key (the latest one)."""
    names = [
        "id",
        "state",
        "tries",
        "attempt",
        "owner",
        "due_at",
        "sent_at",
        "settled_at",
        "cause",
        "hint",
        "ref",
        "effect",
        "account",
        "lease_until",
    ]
    found = world.rows(f"SELECT {', '.join(names)} FROM outbox WHERE key = '{key}' ORDER BY id DESC LIMIT 1")
    return dict(zip(names, found[0], strict=True)) if found else {}


def states(world: World) -> dict[str, str]:
    """Key → state."""
    return dict(world.rows("SELECT key, state FROM outbox ORDER BY id"))


async def reaches(world: World, key: str, *wanted: str, seconds: float = 10) -> dict[str, Any]:
    """Wait until the row is in one of the states, and its case knows."""
    await world.until(lambda: row(world, key).get("state") in wanted, seconds)
    await world.until(lambda: not world.rows("SELECT 1 FROM inbox WHERE state = 'new'"), seconds)
    return row(world, key)


async def later(world: World, **span: float) -> None:
    """Move the clock, and let what became due happen."""
    shift(world, **span)
    world.bridge.lookup.wake.set()
    await asyncio.sleep(0.05)
    await world.settle()


@asynccontextmanager
async def held(bank: Bank) -> AsyncIterator[None]:
    """The bank pays, but does not answer before the block ends."""
    bank.go.clear()
    try:
        yield
    finally:
        bank.go.set()
