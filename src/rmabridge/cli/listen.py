"""``rmabridge listen``: show what arrives, as it arrives."""

from __future__ import annotations

import time
from typing import Any, Final

import click

from .app import App, command
from .output import dumped, plain, when

LOOKED_EVERY: Final = 0.2
AT_ONCE: Final = 200


@click.command()
@click.option("--seconds", type=click.FloatRange(0), help="Stop after so long; otherwise with Ctrl-C.")
@click.option("--since", type=click.IntRange(0), help="Show rows after this number first; otherwise only new ones.")
@command
def listen(app: App, seconds: float | None, since: int | None) -> None:
    """Show what arrives, one line each, personal data masked."""
    last = _newest(app) if since is None else since
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        rows = _after(app, last)
        for row in rows:
            _show(app, row)
            last = row.id
        if until is not None and time.monotonic() >= until:
            return
        if not rows:
            time.sleep(LOOKED_EVERY)


def _newest(app: App) -> int:
    from sqlalchemy import func, select

    from ..store.tables import inbox

    return int(app.read(lambda conn: conn.execute(select(func.max(inbox.c.id))).scalar()) or 0)


def _after(app: App, last: int) -> Any:
    from sqlalchemy import select

    from ..store.tables import inbox

    query = select(inbox).where(inbox.c.id > last).order_by(inbox.c.id).limit(AT_ONCE)
    return app.read(lambda conn: conn.execute(query).all())


def _show(app: App, row: Any) -> None:
    from ..core.masking import masked

    events = masked(_events(app, row))
    if app.as_json:
        facts = {"id": row.id, "at": when(row.received_at), "account": row.account, "kind": row.kind}
        click.echo(dumped({**facts, "events": events}, indent=None))
        return
    words = "; ".join(_brief(one) for one in events) or "no events"
    click.echo(f"{when(row.received_at)} {row.id} {row.account} {row.kind}: {plain(words).replace(chr(10), ' ')}")


def _brief(event: dict[str, Any]) -> str:
    rest = {name: one for name, one in event.items() if name not in {"type", "key", "schema", "at"}}
    return f"{event['type']} {event.get('key', '')} {dumped(rest, indent=None) if rest else ''}".strip()


def _events(app: App, row: Any) -> list[dict[str, Any]]:
    from ..abilities import Inbound
    from ..flow.batch import MANY
    from ..store.inbox import unpack
    from ..store.tables import moment

    packed = app.open(row.key_id, row.body)
    if packed is None:
        return [{"type": "erased"}]
    meta, body = unpack(packed)
    try:
        if row.kind in {"event", "command"}:
            events = MANY.validate_json(body)
        else:
            inbound = Inbound(row.account, body, meta, moment(row.received_at))
            events = list(app.registry.parser(row.account).parse(inbound))
    except Exception as error:  # noqa: BLE001 - what cannot be read is what a developer wants to see
        return [{"type": "unreadable", "reason": f"{type(error).__name__}: {error}"[:300]}]
    return [
        one.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True) | {"type": one.type}
        for one in events
    ]
