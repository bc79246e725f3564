"""A case's whole record: the problem, the process and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import when

if TYPE_CHECKING:
    from ..model import Case
    from .app import App


def exported(app: App, case: Case) -> dict[str, Any]:
    """The three sections of an export."""
    doc = case.model_dump(mode="json", by_alias=True, exclude_none=True)
    said = messages(app, case.id)
    return {
        "case": case.id,
        "shop": case.shop,
        "problem": _problem(doc, said),
        "process": _process(app, case.id, said),
        "result": _result(doc),
    }


def _problem(doc: dict[str, Any], said: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("kind", "issue", "also", "cause", "level", "opened_at", "request", "order", "buyer", "parcels", "refs")
    words = [{"at": one["at"], "text": one["message"]} for one in said if one["author"] == "buyer"]
    return {**{name: doc[name] for name in names if doc.get(name)}, "buyers_words": words}


def _process(app: App, case_id: str, said: list[dict[str, Any]]) -> dict[str, Any]:
    from ..store import outbox
    from .cases import entries

    return {
        "timeline": entries(app, case_id),
        "messages": said,
        "deliveries": [_delivery(one) for one in app.read(lambda conn: outbox.of_case(conn, case_id))],
    }


def _delivery(row: Any) -> dict[str, Any]:
    names = ("id", "key", "type", "account", "state", "attempt", "proposer", "ref", "url", "cause")
    facts = {name: getattr(row, name) for name in names}
    return {**facts, "proposed_at": when(row.created_at), "settled_at": when(row.settled_at)}


def _result(doc: dict[str, Any]) -> dict[str, Any]:
    names = ("status", "result", "offered", "agreed", "refunds", "claims", "closed_at", "closings", "reopenings")
    return {name: doc[name] for name in names if doc.get(name)}


def messages(app: App, case_id: str) -> list[dict[str, Any]]:
    """What was said, with the template and version it came from; an erased message says so."""
    from pydantic_core import from_json

    from ..store import cases

    found = []
    for one in app.read(lambda conn: cases.spoken(conn, case_id)):
        doc = app.open(one.key_id, one.doc)
        names = ("id", "author", "form", "template", "template_version", "locale")
        facts = {name: getattr(one, name) for name in names}
        text = "erased" if doc is None else from_json(doc).get("text")
        found.append({**facts, "at": when(one.at), "public": bool(one.public), "message": text})
    return found
