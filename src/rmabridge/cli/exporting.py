"""A case's whole record: the problem, the process and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import when

if TYPE_CHECKING:
    from pathlib import Path

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


def kept(app: App, case_id: str, folder: Path | None) -> dict[str, Any]:
    """All that is kept of a case for the person it is about; files go to the folder."""
    from pydantic_core import from_json

    from ..store import blobs, cases, outbox
    from .cases import entries

    row = app.read(lambda conn: cases.rows(conn, [case_id]))[0]
    doc = app.open(row.key_id, row.doc)
    files = [_file(app, one, folder) for one in app.read(lambda conn: blobs.of_case(conn, case_id))]
    return {
        "case": "erased" if doc is None else from_json(doc),
        "timeline": entries(app, case_id),
        "messages": messages(app, case_id),
        "deliveries": [_sent(app, one) for one in app.read(lambda conn: outbox.of_case(conn, case_id))],
        "files": files,
    }


def _sent(app: App, row: Any) -> dict[str, Any]:
    from pydantic_core import from_json

    doc = app.open(row.key_id, row.doc)
    return {**_delivery(row), "action": "erased" if doc is None else from_json(doc)}


def _file(app: App, row: Any, folder: Path | None) -> dict[str, Any]:
    from ..store.blobs import NoFile
    from ..store.vault import Erased

    told = {"sha256": row.sha256, "kind": row.kind, "size": row.size, "at": when(row.at)}
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        app.store.keys_for({row.key_id})
        try:
            (folder / row.sha256).write_bytes(app.store.blobs.get(row.key_id, row.sha256))
        except (NoFile, Erased) as error:
            return {**told, "missing": str(error)}
    return told


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
