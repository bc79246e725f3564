"""The closing table: what the bridge says of each case beside the servers' own books; a difference is a failure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import ledgers
from .people import BUYERS, KETTLE
from .world import SERVERS, World

WRONG: Final = frozenset({"dead", "uncertain", "held", "sending", "due", "waiting"})
# Which word counts the messages of an account.
VOICES: Final = {"mail": "mails", "taobao": "thread", "sms": "texts", "chatwoot": "chat"}
STAFF: Final = "staff:"
DOSSIER: Final = "staff:claim:"
Sheet = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Closing:
    """The table's rows, every point that was compared, and what is wrong."""

    rows: list[dict[str, Any]]
    bridge: Sheet
    books: Sheet
    problems: list[str] = field(default_factory=list)

    @property
    def points(self) -> int:
        """How many values were compared."""
        return sum(len(one) for one in self.books.values())


def read(world: World, first_replies: Mapping[str, int | None]) -> Closing:
    """Read both sides, one through the bridge's commands, the other from the servers."""
    listed, ledger, asked = world.together(
        lambda: world.cli("cases", "list", "--all"),
        lambda: world.cli("deliveries", "list", "--limit", "1000"),
        lambda: world.cli("approvals", "list"),
    )
    shown = world.together(*(lambda id_=one["id"]: world.cli("cases", "show", id_) for one in listed))
    cases = sorted(shown, key=lambda one: str(one["opened_at"]))
    rows = [row(one, ledger, first_replies.get(one["id"])) for one in cases]
    bridge = {key_of(one): of_bridge(one, ledger) for one in cases}
    bridge["staff"] = {"told": sum(one["account"] == "group" and one["state"] == "done" for one in ledger)}
    raw = dict(zip(SERVERS, world.together(*(lambda name=name: world.books(name) for name in SERVERS)), strict=True))
    books, pending = ledgers.read(raw), {one["delivery"] for one in asked}
    problems = [*differences(bridge, books), *unexpected(books), *unfinished(ledger, pending)]
    problems += [f"taobao thread: {one}, more than {ledgers.LONGEST}" for one in ledgers.too_long(raw)]
    return Closing(rows, bridge, books, problems)


def row(case: dict[str, Any], ledger: list[dict[str, Any]], first_reply_ms: int | None) -> dict[str, Any]:
    """One line of the table."""
    done = [one for one in ledger if one["case"] == case["id"] and one["state"] == "done"]
    return {
        "id": case["id"],
        "shop": case["shop"],
        "issue": case.get("issue") or case["kind"],
        "level": case["level"],
        "state": case["status"],
        "ticket": _ticket(case),
        "messages": sum(_to_buyer(one) for one in done),
        "deliveries": len(done),
        "first_reply_ms": first_reply_ms,
    }


def key_of(case: dict[str, Any]) -> str:
    """By what both sides know a case: its order's number, or else the conversation that it is."""
    known = (case.get("order") or {}).get("number")
    named = {one["kind"]: one["value"] for one in reversed(case["refs"])}
    return str(known or named.get("order") or f"chat {named.get('thread')}").lstrip("#")


def of_bridge(case: dict[str, Any], ledger: list[dict[str, Any]]) -> dict[str, Any]:
    """What the bridge says it has done for a case."""
    done = [one for one in ledger if one["case"] == case["id"] and one["state"] == "done"]
    kinds = [one["type"] for one in done]
    ticket = _ticket(case)
    said = [VOICES.get(one["account"], "?") for one in done if _to_buyer(one)]
    return ledgers.empty() | {
        "ticket": [ticket] if ticket else [],
        "solved": bool(ticket) and case["status"] == "closed",
        "comments": sum(kind in {"ticket.open", "ticket.comment"} for kind in kinds),
        **{voice: said.count(voice) for voice in VOICES.values()},
        "answers": sum(one["key"].startswith("answer:") for one in done),
        "approved": sum(one["type"] == "return.approve" and one["account"] == "shopify" for one in done),
        "tracked": sorted(one["key"].rpartition(":")[2] for one in done if one["type"] == "parcel.track"),
        "refunds": sorted([one["id"], one["amount"]["amount"], one["amount"]["currency"]] for one in case["refunds"]),
        "claims": sorted(str(one["ref"]) for one in done if one["type"] == "claim.file"),
        "dossiers": sum(one["key"].startswith(DOSSIER) and one["account"] == "mail" for one in done),
        "forwarded": kinds.count("event.forward"),
    }


def _ticket(case: dict[str, Any]) -> str | None:
    """The ticket that the bridge opened, or the conversation that the case began with."""
    began = (str(one["value"]) for one in case["refs"] if one["kind"] == "ticket")
    return case["ticket"].get("id") or next(began, None)


def _to_buyer(one: dict[str, Any]) -> bool:
    return bool(one["type"] == "message.send" and not one["key"].startswith(STAFF))


def differences(bridge: Sheet, books: Sheet) -> list[str]:
    """Every point in which the two sides do not say the same."""
    nothing = dict.fromkeys(books.get("?", {}), 0)
    return [
        f"{order} {what}: the bridge says {mine!r}, the servers say {theirs!r}"
        for order in sorted({*bridge, *books})
        for what in sorted({*bridge.get(order, {}), *books.get(order, {})})
        if (mine := (nothing if order == "?" else bridge.get(order, {})).get(what))
        != (theirs := books.get(order, {}).get(what))
    ]


def unexpected(books: Sheet) -> list[str]:
    """What both sides may agree on, and what would be wrong all the same: a second ticket, answer, refund or claim."""
    found = []
    for one in BUYERS:
        have = books.get(one.number, {})
        refunds = [tuple(paid[1:]) for paid in have.get("refunds", ())]
        if refunds != [(one.price, one.currency)]:
            found.append(f"{one.number} refunds: {refunds!r}, not one of {one.price} {one.currency}")
        for what, number in (("ticket", len(have.get("ticket", ()))), ("answers", have.get("answers"))):
            if number != 1:
                found.append(f"{one.number} {what}: {number}, not 1")
    found += [f"{key} {what}: {have!r}, not {wanted!r}" for key, what, have, wanted in _wanted(books) if have != wanted]
    return found


def _wanted(books: Sheet) -> Iterator[tuple[str, str, Any, Any]]:
    """(case, what, what is there, what should be there) of the stories of single deeds."""
    parcel = books.get(KETTLE["number"], {})
    yield KETTLE["number"], "claims", len(parcel.get("claims", ())), 1
    yield KETTLE["number"], "texts", parcel.get("texts"), 1
    threads = [one for one in books.values() if one.get("thread")]
    yield "taobao", "dossiers", sum(one["dossiers"] for one in threads), 1
    yield "taobao", "refunds", [paid[1:] for one in threads for paid in one["refunds"]], [["500.01", "CNY"]]
    for key, one in books.items():
        if key.startswith("chat "):
            yield key, "chat", one["chat"], 2


def unfinished(ledger: list[dict[str, Any]], asked: Collection[int] = ()) -> list[str]:
    """Deliveries that did not end well, or not at all; what waits for the approval that was asked for is in order."""
    return [
        f"{one['case']} {one['key']} is {one['state']}: {one['cause'] or ''}"
        for one in ledger
        if one["state"] in WRONG and not (one["state"] == "held" and one["id"] in asked)
    ]
