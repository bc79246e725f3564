"""A bridge with a toy marketplace: any event can be sent through its door."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from rmabridge.model import Case, Commanded, Event
from rmabridge.store import inbox as inbox_store
from rmabridge.store.replicas import LIVING
from stores import POSTGRES
from worlds import World, document

TOYS = Path(__file__).parent / "toys"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def toybox(
    tmp_path: Path, sink: str, *policies: str, shop: dict[str, Any] | None = None, **bridge: Any
) -> dict[str, Any]:
    """The configuration: the shop ``one`` on the toy marketplace ``shop``, and only these policies."""
    found = document(tmp_path, sink, **{"plugins_dir": str(TOYS), "policies": list(policies), **bridge})
    found["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    found["shops"]["one"] |= shop or {}
    return found


def event(
    type_: str, key: str, minutes: float = 0, refs: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """An event as the toy takes it; ``minutes`` after the start."""
    at = (START + timedelta(minutes=minutes)).isoformat()
    return {
        "type": type_,
        "key": key,
        "at": at,
        "refs": [{"kind": kind, "value": value} for kind, value in (refs or {}).items()],
        **fields,
    }


def requested(number: int | str = 1, minutes: float = 0, **fields: Any) -> dict[str, Any]:
    """A return request."""
    refs = {"return": f"R{number}", "order": f"O{number}"}
    return event("case.requested", f"asked-{number}", minutes, refs, kind="return", **fields)


def noted(text: str, number: int | str = 1, key: str | None = None) -> dict[str, Any]:
    """An order to the scripted policy."""
    return event("noted", key or f"note:{text}", 1, {"return": f"R{number}"}, text=text)


async def send(world: World, *events: Any, account: str = "shop", **headers: str) -> int:
    """Send events through the toy's door in one body; the HTTP status."""
    return await push(world, {"events": list(events)}, account, **headers)


async def push(world: World, body: Any, account: str = "shop", **headers: str) -> int:
    """Send any body through a door; the HTTP status."""
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    async with world.client.post(f"{world.bridge.url}/hooks/{account}", data=raw, headers=headers) as answer:
        return answer.status


async def command(world: World, name: str, case: str | None = None, **args: Any) -> tuple[str, str | None]:
    """Give a command as the CLI does, through the inbox; (state, what was said)."""
    router, store = world.bridge.router, world.bridge.store
    key = f"cmd:{uuid4()}"
    given = Commanded(key=key, at=store.clock.now(), command=name, by="tester", args=args)
    row = router.event_row([given], "bridge", key, case_id=case, kind="command")
    await store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()
    query = f"SELECT state, note FROM inbox WHERE dedupe = x'{row['dedupe'].hex()}' AND state != 'new'"
    found: list[tuple[str, str | None]] = await world.until(lambda: world.rows(query), 30)
    return found[0]


def cases(world: World) -> list[Case]:
    """All cases that are not merged into another one, the oldest first."""
    return [one for one in all_cases(world) if one.merged_into is None]


def all_cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    found = [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]
    return sorted(found, key=lambda one: one.opened_at)


def timeline(world: World, case_id: str) -> list[str]:
    """The types of a case's timeline."""
    return [one for (one,) in world.rows(f"SELECT type FROM timeline WHERE case_id = '{case_id}' ORDER BY seq")]


def inbox(world: World) -> list[tuple[Any, ...]]:
    """(kind, state, stage, note) of all inbox rows."""
    return world.rows("SELECT kind, state, stage, note FROM inbox ORDER BY id")


def ledger(world: World) -> dict[str, str]:
    """Key → state of all actions."""
    return dict(world.rows("SELECT key, state FROM outbox ORDER BY id"))


def alerts(world: World) -> dict[str, str]:
    """Key → text of open alerts."""
    return dict(world.rows("SELECT key, text FROM alerts WHERE resolved_at IS NULL"))


def said(world: World) -> list[str]:
    """The texts of messages that reached the sink."""
    bodies = [one["body"] for one in world.sink.books["posts"]]
    return [one["text"] for one in bodies if one.get("type") == "message.send"]


def shift(world: World, **span: float) -> None:
    """Move the bridge's clock forward."""
    world.bridge.store.clock.offset += timedelta(**span)
    for loop in (world.bridge.timers, world.bridge.router, world.bridge.dispatcher, world.bridge.pollers):
        loop.wake.set()


async def taken_over(world: World) -> None:
    """As if this process had ended during its calls and another one had started."""
    store = world.bridge.store
    before, store.me = store.me, "the next process"
    if POSTGRES:  # by its connection a process shows that it lives
        own = f"classid = {LIVING} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        store.now(lambda conn: conn.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {own}"))
    await world.until(lambda: store.orphaned([before]))
    await world.bridge.dispatcher.recover()


async def stop_loop(world: World, name: str) -> None:
    """End one of the bridge's loops, so that a test can take its turns by hand."""
    task = next(one for one in world.bridge._tasks if one.get_name() == name)
    task.cancel()
    with suppress(BaseException):
        await task


def as_event(one: dict[str, Any]) -> Event:
    """The dict as an event."""
    from rmabridge.model import EVENTS

    return EVENTS.validate_python(one)
