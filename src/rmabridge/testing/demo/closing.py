"""The closing table: what the bridge says of each case beside the servers' own books; a difference is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .people import BUYERS, MEI
from .stories import BOT
from .world import World

WRONG: Final = frozenset({"dead", "uncertain", "held", "sending", "due", "waiting"})
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
    listed, ledger = world.together(
        lambda: world.cli("cases", "list", "--all"), lambda: world.cli("deliveries", "list", "--limit", "1000")
    )
    shown = world.together(*(lambda id_=one["id"]: world.cli("cases", "show", id_) for one in listed))
    cases = sorted(shown, key=lambda one: str(one["opened_at"]))
    rows = [row(one, ledger, first_replies.get(one["id"])) for one in cases]
    bridge = {order_of(one): of_bridge(one, ledger) for one in cases}
    books = of_books({name: world.books(name) for name in ("shopify", "zendesk", "kdniao", "mail", "sink")})
    problems = [*differences(bridge, books), *unexpected(books), *unfinished(ledger)]
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
        "ticket": case["ticket"].get("id"),
        "messages": sum(one["type"] == "message.send" for one in done),
        "deliveries": len(done),
        "first_reply_ms": first_reply_ms,
    }


def order_of(case: dict[str, Any]) -> str:
    """The order's number, by which both sides know a case."""
    known = (case.get("order") or {}).get("number")
    named = next((one["value"] for one in case["refs"] if one["kind"] == "order"), "")
    return str(known or named).lstrip("#")


def of_bridge(case: dict[str, Any], ledger: list[dict[str, Any]]) -> dict[str, Any]:
    """What the bridge says it has done for a case."""
    done = [one for one in ledger if one["case"] == case["id"] and one["state"] == "done"]
    kinds = [one["type"] for one in done]
    ticket = case["ticket"].get("id")
    return {
        "ticket": [ticket] if ticket else [],
        "solved": bool(ticket) and case["status"] == "closed",
        "comments": sum(kind in {"ticket.open", "ticket.comment"} for kind in kinds),
        "mails": kinds.count("message.send"),
        "answers": sum(one["key"].startswith("answer:") for one in done),
        "approved": kinds.count("return.approve"),
        "tracked": sorted(one["key"].rpartition(":")[2] for one in done if one["type"] == "parcel.track"),
        "refunds": sorted([one["id"], one["amount"]["amount"], one["amount"]["currency"]] for one in case["refunds"]),
        "forwarded": kinds.count("event.forward"),
    }


def of_books(books: Mapping[str, dict[str, Any]]) -> Sheet:
    """What the servers say was done, by order; what belongs to no order of the demo stands under ``?``."""
    found = {one["name"].lstrip("#"): _of_order(one, books) for one in books["shopify"]["orders"].values()}
    relayed = [one for one in books["sink"]["posts"] if _relayed(one) == "7001"]
    found["7001"] = _empty() | {"forwarded": len({one["id"] for one in relayed}), "mails": _mails(books, MEI["email"])}
    found["?"] = {
        "tickets": len(books["zendesk"]["tickets"]) - sum(len(one["ticket"]) for one in found.values()),
        "mails": len(books["mail"]["mails"]) - sum(one["mails"] for one in found.values()),
        "refunds": len(books["shopify"]["refunds"]) - sum(len(one["refunds"]) for one in found.values()),
        "tracked": len(books["kdniao"]["subscriptions"]) - sum(len(one["tracked"]) for one in found.values()),
        "forwarded": len(books["sink"]["posts"]) - sum(one["forwarded"] for one in found.values()),
    }
    return found


def _empty() -> dict[str, Any]:
    lists: dict[str, Any] = {"ticket": [], "tracked": [], "refunds": []}
    return lists | {"solved": False, "comments": 0, "mails": 0, "answers": 0, "approved": 0, "forwarded": 0}


def _of_order(order: dict[str, Any], books: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    shop, mail = books["shopify"], order["email"]
    returns = [one for one in shop["returns"].values() if one["order"] == order["id"]]
    tickets = [one for one in books["zendesk"]["tickets"].values() if (one["requester"] or {}).get("email") == mail]
    refunds = [one for one in shop["refunds"].values() if one["order"] == order["id"]]
    said = next((one.answer for one in BUYERS if one.email == mail), None)
    waybills = {one["tracking"] for one in returns} & set(books["kdniao"]["subscriptions"])
    return _empty() | {
        "ticket": [str(one["id"]) for one in tickets],
        "solved": bool(tickets) and all(one["status"] == "solved" for one in tickets),
        "comments": sum(said["author_id"] == BOT for one in tickets for said in one["comments"]),
        "mails": _mails(books, mail),
        "answers": sum(mail in one["to"] and bool(said) and said in one["text"] for one in books["mail"]["mails"]),
        "approved": sum(one["approved_at"] is not None for one in returns),
        "tracked": sorted(waybills),
        "refunds": sorted([one["id"], one["amount"], one["currency"]] for one in refunds),
    }


def _mails(books: Mapping[str, dict[str, Any]], address: str) -> int:
    return sum(address in one["to"] for one in books["mail"]["mails"])


def _relayed(post: dict[str, Any]) -> str:
    refs = post["body"]["data"]["refs"]
    return next((str(one["value"]) for one in refs if one["kind"] == "order"), "")


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
    """What both sides may agree on, and what would be wrong all the same: a second ticket, answer or refund."""
    found = []
    for one in BUYERS:
        have = books.get(one.number, {})
        refunds = [tuple(paid[1:]) for paid in have.get("refunds", ())]
        if refunds != [(one.price, one.currency)]:
            found.append(f"{one.number} refunds: {refunds!r}, not one of {one.price} {one.currency}")
        for what, number in (("ticket", len(have.get("ticket", ()))), ("answers", have.get("answers"))):
            if number != 1:
                found.append(f"{one.number} {what}: {number}, not 1")
    return found


def unfinished(ledger: list[dict[str, Any]]) -> list[str]:
    """Deliveries that did not end well, or not at all."""
    return [
        f"{one['case']} {one['key']} is {one['state']}: {one['cause'] or ''}" for one in ledger if one["state"] in WRONG
    ]
