"""``rmabridge explain CASE``: every rule that spoke, in order, with its reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .app import App, command
from .output import document, dumped, stamp, table, when

if TYPE_CHECKING:
    from ..abilities import Way
    from ..model import Case, SendMessage

VERDICTS = ("delivery", "action", "state", "proposer", "policy", "rule", "ruling", "reason")


@click.command()
@click.argument("case")
@command
def explain(app: App, case: str) -> None:
    """Why the bridge did what it did in a case: every rule that spoke, in order, with its reason."""
    tell(app, case)


def tell(app: App, text: str) -> None:
    """Print the explanation of a case."""
    from .cases import load

    found = explained(app, load(app, text))
    if app.as_json:
        click.echo(dumped(found))
        return
    document(
        app, {name: found[name] for name in ("case", "status", "flag", "route", "play", "tier", "incident", "agent")}
    )
    for title, name, columns in (
        ("steps of the play", "steps", ("at", "name", "by", "note")),
        ("routed", "routed", ("at", "rule", "group", "priority", "channels")),
        ("actions", "actions", ("delivery", "at", "action", "account", "state", "proposer", "cause")),
        ("ways to the buyer", "ways", ("way", "used", "reason")),
    ):
        click.echo(f"\n{title}")
        table(app, found[name], columns)
        if name == "actions":
            click.echo("\nverdicts")
            table(app, _flat(found["actions"]), VERDICTS)
            if changed := _changed(found["actions"]):
                click.echo("\nput into other words")
                table(app, changed, tuple(changed[0]))


def explained(app: App, case: Case) -> dict[str, Any]:
    """The route, the ledger with all verdicts, and the ways to the buyer."""
    from ..store import cases, outbox

    row = app.read(lambda conn: cases.rows(conn, [case.id]))[0]
    ledger = app.read(lambda conn: outbox.of_case(conn, case.id))
    return {
        "case": case.id,
        "status": case.status.value,
        "flag": row.flag,
        "route": case.route.model_dump(mode="json", exclude_none=True),
        "play": _play(case),
        "steps": _steps(case),
        "tier": _tier(app, case),
        "incident": case.incident.model_dump(mode="json") if case.incident else None,
        "agent": case.agent,
        "routed": _routed(app, case.id),
        "actions": [_action(app, one) for one in ledger],
        "ways": _ways(app, case),
    }


def _play(case: Case) -> dict[str, Any] | None:
    """Where the handling play stands, its place in the queue, and what a closing still waits for."""
    from ..core.plays import lacking

    if (play := case.play) is None:
        return None
    rank = play.rank.model_dump(exclude_none=True) if play.rank else {}
    return {"play": play.id, "state": play.state, "next": list(play.next), "missing": list(lacking(case)), **rank}


def _steps(case: Case) -> list[dict[str, Any]]:
    return [
        {"at": stamp(one.at), "name": one.name, "by": one.by, "note": one.note}
        for one in (case.play.steps if case.play else ())
    ]


def _tier(app: App, case: Case) -> dict[str, Any] | None:
    """What the customer's tier grants: the offers of its play, and the deadlines that are its own."""
    from .cases import entries

    rights = case.play.rights if case.play else None
    noted = [one["event"] for one in entries(app, case.id) if one["type"] == "noted" and isinstance(one["event"], dict)]
    clocks = [one["text"] for one in noted if str(one.get("key", "")).startswith("clock:")]
    if rights is None and not clocks:
        return None
    return {
        "tier": rights.tier if rights else None,
        "offers": list(rights.offers) if rights else [],
        "deadlines": clocks,
    }


def _routed(app: App, case_id: str) -> list[dict[str, Any]]:
    from .cases import entries

    names = ("rule", "group", "priority", "tags", "channels")
    return [
        {"at": one["at"], "by": one["by"], **{name: one["event"][name] for name in names if name in one["event"]}}
        for one in entries(app, case_id)
        if one["type"] == "case.routed" and isinstance(one["event"], dict)
    ]


def _action(app: App, row: Any) -> dict[str, Any]:
    verdicts = json.loads(row.verdicts)
    amended = {"amended_by": row.amended_by, "original": _original(app, row)} if row.amended_by else {}
    return {
        "delivery": row.id,
        "at": when(row.created_at),
        "action": row.key,
        "type": row.type,
        "account": row.account,
        "state": row.state,
        "proposer": row.proposer,
        "cause": row.cause,
        "verdicts": [{name: one for name, one in each.items() if one is not None} for each in verdicts],
        **amended,
    }


def _original(app: App, row: Any) -> Any:
    """The fields that a policy changed, as they were proposed."""
    was, now = app.open(row.key_id, row.original), app.open(row.key_id, row.doc)
    if was is None or now is None:
        return "erased"
    final = json.loads(now)
    return {name: one for name, one in json.loads(was).items() if final.get(name) != one}


def _changed(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("delivery", "action", "amended_by", "original")
    return [{name: one[name] for name in names} for one in actions if "original" in one]


def _flat(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**{name: action[name] for name in ("delivery", "action", "state", "proposer")}, **verdict}
        for action in actions
        for verdict in action["verdicts"]
    ]


def _ways(app: App, case: Case) -> list[dict[str, Any]]:
    from ..core.reach import ways

    shop = app.registry.shops.get(case.shop)
    if shop is None:
        return [{"way": case.shop, "used": False, "reason": "the shop is no longer configured"}]
    said = _last_words(app, case)
    found = ways(case, shop, said.text, said.template) if said else ways(case, shop)
    good = [
        {"way": f"{one.way.account}/{one.way.form}", "used": not n, "reason": _some(one.way)}
        for n, one in enumerate(found.ways)
    ]
    return good + [{"way": name, "used": False, "reason": reason} for name, reason in found.fallen]


def _last_words(app: App, case: Case) -> SendMessage | None:
    """The newest message to the buyer: the ways are shown as they are for its words."""
    from ..model import SendMessage
    from ..store import outbox

    for row in reversed(app.read(lambda conn: outbox.of_case(conn, case.id))):
        doc = app.open(row.key_id, row.doc) if row.type == SendMessage.kind else None
        if doc is not None and (said := SendMessage.model_validate_json(doc)).audience == "buyer":
            return said
    return None


def _some(way: Way) -> str:
    return "" if way.takes(None) else "it carries approved templates only, no free text"
