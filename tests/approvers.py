"""A bridge whose coupons need approvals: a system for credit, a channel to colleagues, and commands as by CLI."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from rmabridge.model import Commanded
from rmabridge.store import inbox as inbox_store
from worlds import World, a_return, document


def approving(tmp_path: Path, sink: str, *more: str, plugins_dir: str | None = None, **settings: Any) -> dict[str, Any]:
    """One shop with ``crm`` for credit and ``wecom`` for colleagues; ``settings`` are those of the approvals."""
    own = {"plugins_dir": plugins_dir} if plugins_dir else {}
    config = document(tmp_path, sink, policies=["compensation", "approvals", *more], **own)
    out = {"plugin": "http", "allow_private": True}
    config["services"] = {"crm": {**out, "url": f"{sink}/crm"}}
    config["channels"]["wecom"] = {**out, "url": f"{sink}/wecom", "carries_forms": ["chat"]}
    config["shops"]["one"] |= {"credits": "crm", "replacements": "crm", "staff": ["wecom"], "staff_to": "everybody"}
    wang = {"name": "Wang", "channel": "wecom", "to": "wang", "limit": "2000 CNY", "delegate": "Li"}
    li = {"name": "Li", "channel": "wecom", "to": "li"}
    config["policies"] = {"approvals": {"approvers": [wang, li], "timeout": "PT1H", **settings}}
    return config


async def a_case(world: World, number: int = 1, **data: Any) -> str:
    """A new case; its id."""
    await world.post(a_return(number, **data))
    await world.settle()
    return str(world.rows("SELECT id FROM cases ORDER BY created_at DESC, id DESC LIMIT 1")[0][0])


async def command(world: World, name: str, case: str | None = None, by: str = "ann", **args: Any) -> tuple[str, str]:
    """Give a command; (state, what was said)."""
    router, key = world.bridge.router, f"cmd:{uuid4()}"
    given = Commanded(key=key, at=world.bridge.store.clock.now(), command=name, by=by, args=args)
    row = router.event_row([given], "bridge", key, case_id=case, kind="command")
    await world.bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()
    query = f"SELECT state, note FROM inbox WHERE dedupe = x'{row['dedupe'].hex()}' AND state != 'new'"
    found: tuple[str, str] = (await world.until(lambda: world.rows(query)))[0]
    return found


async def give(world: World, case: str, amount: str, part: str = "all", by: str = "ann") -> str:
    """Order a coupon as an operator does; the state it is in."""
    action = {"type": "credit.give", "credit": "coupon", "external": case, "amount": f"{amount} CNY", "part": part}
    await command(world, "act", case, by, action=action)
    return state(world, f"credit:coupon:{case}:{part}")


def state(world: World, key: str) -> str:
    """The state of an action."""
    return str(world.rows(f"SELECT state FROM outbox WHERE key = '{key}'")[0][0])


def given(world: World) -> list[dict[str, Any]]:
    """The coupons that were issued."""
    return [one["body"] for one in world.sink.books["posts"] if one["path"] == "/crm"]


def told(world: World) -> list[tuple[str, str]]:
    """(to whom, text) of the messages to colleagues."""
    posts = [one["body"] for one in world.sink.books["posts"] if one["path"] == "/wecom"]
    return [(one["to"], one["text"]) for one in posts]


def link(world: World, who: str) -> str:
    """The newest link that somebody was sent."""
    texts = [text for to, text in told(world) if to == who]
    return re.findall(r"http://\S+/l/[\w-]+", texts[-1])[-1]


async def later(world: World, **span: float) -> None:
    """Move the clock, and let what became due happen."""
    bridge = world.bridge
    bridge.store.clock.offset += timedelta(**span)
    for loop in (bridge.timers, bridge.router, bridge.dispatcher):
        loop.wake.set()
    now = bridge.store.clock.micros()
    await world.until(lambda: not world.rows(f"SELECT 1 FROM deadlines WHERE due_at <= {now}"))
    await world.settle()
