"""The servers' own books, read as one sheet: what was done for whom, and under ``?`` what belongs to nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .chats import heard
from .people import BUYERS, DESK, FANG, KETTLE, MEI
from .stories import BOT

Books = Mapping[str, dict[str, Any]]
LONGEST: Final = 400
PAPERS: Final = ["application/json", "application/pdf"]


def read(books: Books) -> dict[str, dict[str, Any]]:
    """Every case of the demo, as the servers know it."""
    found = {key: empty() | facts for key, facts in _cases(books)}
    found["staff"] = {"told": len(books["wecom"]["messages"])}
    found["?"] = _left_over(books, [one for key, one in found.items() if key != "staff"])
    return found


def empty() -> dict[str, Any]:
    """A case for which nothing was done."""
    lists: dict[str, Any] = {"ticket": [], "tracked": [], "refunds": [], "claims": []}
    words = ("comments", "mails", "thread", "texts", "chat", "answers", "approved", "dossiers", "forwarded")
    return lists | {"solved": False} | dict.fromkeys(words, 0)


def _cases(books: Books) -> Iterator[tuple[str, dict[str, Any]]]:
    for order in books["shopify"]["orders"].values():
        yield order["name"].lstrip("#"), _of_shopify(order, books)
    for trade in books["taobao"]["trades"].values():
        yield str(trade["tid"]), _of_taobao(trade, books)
    for talk in books["chatwoot"]["conversations"].values():
        yield f"chat {talk['id']}", _of_chatwoot(talk, books)
    relayed = [one for one in books["sink"]["posts"] if _relayed(one) == "7001"]
    yield "7001", {"forwarded": len({one["id"] for one in relayed}), "mails": _mails(books, MEI["email"])}
    yield KETTLE["number"], _of_parcel(books)


def _of_shopify(order: dict[str, Any], books: Books) -> dict[str, Any]:
    shop, mail = books["shopify"], order["email"]
    returns = [one for one in shop["returns"].values() if one["order"] == order["id"]]
    tickets = [one for one in books["zendesk"]["tickets"].values() if mail in one["comments"][0]["body"]]
    refunds = [one for one in shop["refunds"].values() if one["order"] == order["id"]]
    said = next((one.answer for one in BUYERS if one.email == mail), None)
    return {
        "ticket": [str(one["id"]) for one in tickets],
        "solved": bool(tickets) and all(one["status"] == "solved" for one in tickets),
        "comments": sum(said["author_id"] == BOT for one in tickets for said in one["comments"]),
        "mails": _mails(books, mail),
        "answers": sum(mail in one["to"] and bool(said) and said in one["text"] for one in books["mail"]["mails"]),
        "approved": sum(one["approved_at"] is not None for one in returns),
        "tracked": _tracked(books, {one["tracking"] for one in returns}),
        "refunds": sorted([one["id"], one["amount"], one["currency"]] for one in refunds),
    }


def _of_taobao(trade: dict[str, Any], books: Books) -> dict[str, Any]:
    shop, waybills = books["taobao"], {one["invoice_no"] for one in trade["orders"]["order"]}
    asked = [id_ for id_, one in shop["refunds"].items() if one["tid"] == trade["tid"]]
    said = [one["content"] for id_ in asked for one in shop["messages"][id_] if one["owner_role"] == "2"]
    paid = [
        [id_, f"{shop['paid'][id_] // 100}.{shop['paid'][id_] % 100:02}", "CNY"] for id_ in asked if id_ in shop["paid"]
    ]
    return {
        "thread": len(said),
        "refunds": sorted(paid),
        "tracked": _tracked(books, waybills),
        "dossiers": sum(any(one in mail["subject"] for one in waybills) for mail in dossiers(books)),
    }


def _of_chatwoot(talk: dict[str, Any], books: Books) -> dict[str, Any]:
    shown, number = books["chatwoot"], str(talk["id"])
    notes = [one for one in shown["messages"] if str(one["conversation_id"]) == number and one["private"]]
    return {
        "ticket": [number],
        "solved": talk["status"] == "resolved",
        "comments": len(notes),
        "chat": len(heard(shown, number)),
    }


def _of_parcel(books: Books) -> dict[str, Any]:
    desk, parcel = books["easypost"], KETTLE["waybill"]
    return {
        "tracked": sorted({parcel} & set(desk["trackers"])),
        "claims": sorted(one["id"] for one in desk["claims"].values() if one["tracking_code"] == parcel),
        "texts": sum(FANG["phone"].endswith(one["phone"]) for one in books["aliyun"]["sent"]),
    }


def _left_over(books: Books, known: list[dict[str, Any]]) -> dict[str, Any]:
    """What no case accounts for."""
    there = {
        "tickets": len(books["zendesk"]["tickets"]) + len(books["chatwoot"]["conversations"]),
        "mails": len(books["mail"]["mails"]),
        "refunds": len(books["shopify"]["refunds"]) + len(books["taobao"]["paid"]),
        "tracked": len(books["kdniao"]["subscriptions"]) + len(books["easypost"]["trackers"]),
        "forwarded": len(books["sink"]["posts"]),
        "claims": len(books["easypost"]["claims"]),
        "texts": len(books["aliyun"]["sent"]),
    }
    accounted = {
        "tickets": sum(len(one["ticket"]) for one in known),
        "mails": sum(one["mails"] + one["dossiers"] for one in known),
        "forwarded": sum(one["forwarded"] for one in known),
        "texts": sum(one["texts"] for one in known),
        **{what: sum(len(one[what]) for one in known) for what in ("refunds", "tracked", "claims")},
    }
    return {what: number - accounted[what] for what, number in there.items()}


def too_long(books: Books) -> list[str]:
    """Words in a thread that Taobao should not have been able to take."""
    told = [one for thread in books["taobao"]["messages"].values() for one in thread if one["owner_role"] == "2"]
    return [f"{len(one['content'].encode())} bytes" for one in told if len(one["content"].encode()) > LONGEST]


def dossiers(books: Books) -> list[dict[str, Any]]:
    """Mails to the carrier's claims desk that bring both papers."""
    return [
        one
        for one in books["mail"]["mails"]
        if DESK in one["to"] and sorted(paper["type"] for paper in one["files"]) == PAPERS
    ]


def _tracked(books: Books, waybills: set[str]) -> list[str]:
    return sorted(waybills & set(books["kdniao"]["subscriptions"]))


def _mails(books: Books, address: str) -> int:
    return sum(address in one["to"] for one in books["mail"]["mails"])


def _relayed(post: dict[str, Any]) -> str:
    refs = post["body"]["data"]["refs"]
    return next((str(one["value"]) for one in refs if one["kind"] == "order"), "")
