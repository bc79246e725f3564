"""How commands change things: one row in the inbox each, carried out by the running bridge like any other event."""

from __future__ import annotations

import getpass
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import click

from . import PROBLEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .app import App

PATIENCE: Final = 10.0
LOOKED_EVERY: Final = 0.05
RECORDED: Final = "recorded; it is carried out when 'rmabridge serve' runs"
WEIGHED: Final = frozenset({"act", "approve", "reply"})  # their note says how the action stands: "KEY: STATE: why"
STATE: Final = re.compile(r": (waiting|due|held|sending|uncertain|done|denied|dead|expired|cancelled|superseded)\b")
F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Order:
    """A command to the bridge."""

    command: str
    args: dict[str, Any]
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it: ``state`` is the inbox row's, ``new`` where nobody has carried it out yet."""

    order: Order
    state: str
    note: str
    case: str | None = None

    @property
    def well(self) -> bool:
        """Whether it was carried out, or waits to be; an action that was denied or given up is not."""
        found = STATE.search(self.note) if self.order.command in WEIGHED else None
        given_up = found is not None and found[1] in {"denied", "dead", "expired", "cancelled"}
        return self.state in {"new", "done"} and not given_up


def asks(function: F) -> F:
    """Give a command ``--as`` and ``--no-wait``."""
    named = click.option("--as", "by", metavar="NAME", help="Whose command it is; the system's user if left out.")
    return click.option("--no-wait", is_flag=True, help="Do not wait until it is carried out.")(named(function))


def carry_out(app: App, orders: Sequence[Order], by: str | None, *, wait: bool = True) -> list[Answer]:
    """Put commands into the inbox in one transaction, and wait for what becomes of them."""
    keys = [f"cli:{uuid4()}" for _ in orders]
    _insert(app, orders, keys, by or _user())
    if not app.store.serving():
        return [Answer(one, "new", RECORDED, one.case) for one in orders]
    if not wait:
        return [Answer(one, "new", "recorded", one.case) for one in orders]
    return _await(app, orders, keys)


def ask(app: App, order: Order, by: str | None, *, no_wait: bool = False) -> None:
    """Carry one command out and tell what became of it."""
    tell(app, carry_out(app, [order], by, wait=not no_wait))


def tell(app: App, answers: Sequence[Answer]) -> None:
    """Print what became of commands; exit 1 where one was refused."""
    from .output import dumped, plain

    facts = [{"command": one.order.command, "state": one.state, "note": one.note, "case": one.case} for one in answers]
    if app.as_json:
        click.echo(dumped(facts[0] if len(facts) == 1 else facts))
    else:
        for one in answers:
            click.echo(plain(one.note), err=not one.well)
    if not all(one.well for one in answers):
        click.get_current_context().exit(PROBLEM)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def _insert(app: App, orders: Sequence[Order], keys: Sequence[str], by: str) -> None:
    from ..flow.batch import event_row
    from ..model import Commanded
    from ..store import inbox

    store, now = app.store, app.store.clock.now()

    def insert(conn: Any) -> None:
        key_id, rows = store.day_key(conn), []
        for order, key in zip(orders, keys, strict=True):
            event = Commanded(key=key, at=now, command=order.command, by=by, args=order.args)
            at = store.clock.micros()
            rows.append(event_row(store.vault, key_id, [event], "bridge", key, at, case_id=order.case, kind="command"))
        inbox.add(conn, rows)

    store.write(insert)


def _await(app: App, orders: Sequence[Order], keys: Sequence[str]) -> list[Answer]:
    until = time.monotonic() + PATIENCE
    while True:
        found = _states(app, keys)
        if all(state != "new" for state, _, _ in found) or time.monotonic() > until:
            return [
                Answer(order, state, note or ("not carried out yet" if state == "new" else state), case)
                for order, (state, note, case) in zip(orders, found, strict=True)
            ]
        time.sleep(LOOKED_EVERY)


def _states(app: App, keys: Sequence[str]) -> list[tuple[str, str | None, str | None]]:
    from sqlalchemy import select

    from ..store.inbox import digest
    from ..store.tables import inbox

    found: dict[bytes, tuple[str, str | None, str | None]] = {}
    marks = [digest(one.encode()) for one in keys]
    columns = (inbox.c.dedupe, inbox.c.state, inbox.c.note, inbox.c.case_id)
    for start in range(0, len(marks), 400):
        query = select(*columns).where(inbox.c.account == "bridge", inbox.c.dedupe.in_(marks[start : start + 400]))
        for one in app.read(lambda conn, q=query: conn.execute(q).all()):  # type: ignore[misc]
            found[one.dedupe] = (one.state, one.note, one.case_id)
    return [found[one] for one in marks]
