"""The communication record of a case: who said and did what, when, why and with which result; CSV, JSON or PDF."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from importlib import resources
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import tomli

from .exporting import messages
from .output import dumped, plain, stamp, when

if TYPE_CHECKING:
    from pathlib import Path

    from ..model import Case
    from .app import App

COLUMNS: Final = ("time", "side", "words", "cause", "action", "result")
FACTS: Final = (
    "case",
    "shop",
    "order",
    "buyer",
    "kind",
    "issue",
    "cause",
    "liable",
    "status",
    "opened_at",
    "closed_at",
)
# What of an event is its result: the first of these fields that it has.
RESULTS: Final = ("status", "result", "outcome", "remedy", "identity", "reason", "case", "name", "command")
# Told by messages and deliveries, or of no interest to a reader of the record.
LEFT_OUT: Final = frozenset(
    {
        "message.received",
        "message.delivered",
        "action.settled",
        "deadline.reached",
        "fact.missing",
        "order.seen",
        "parcel.seen",
        "ticket.seen",
        "case.routed",
        "coverage.seen",
    }
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def record(app: App, case: Case) -> dict[str, Any]:
    """The whole record: facts of the case, its lines, its evidence by hash, and the head of its timeline's chain."""
    return {
        "title": "title",
        **_facts(case),
        "lines": lines(app, case.id),
        "evidence": [piece(one) for one in case.evidence],
        "chain": chain(app, case.id),
    }


def lines(app: App, case_id: str) -> list[dict[str, Any]]:
    """Time, side, words, cause, action and result of everything that was said and done, in order."""
    said = list(_said(app, case_id))
    sent = {one["key"] for one in said}
    found = [*said, *_happened(app, case_id), *(one for one in _done(app, case_id) if one["key"] not in sent)]
    cause = ""
    for one in sorted(found, key=lambda one: (one["time"] or "", one["order"])):
        cause = one["cause"] = one["cause"] or cause
    ordered = sorted(found, key=lambda one: (one["time"] or "", one["order"]))
    return [{name: one[name] for name in COLUMNS} for one in ordered]


def chain(app: App, case_id: str) -> dict[str, Any]:
    """The head of the timeline's hash chain, and whether it fits every entry."""
    from ..store import cases

    (row,) = app.read(lambda conn: cases.rows(conn, [case_id]))
    broken = app.read(lambda conn: cases.broken_links(conn, case_id))
    return {"sha256": row.chain.hex(), "entries": row.seq, "intact": not broken}


def _facts(case: Case) -> dict[str, Any]:
    order, buyer = case.order, case.buyer
    return {
        "case": case.id,
        "shop": case.shop,
        "order": (order.number or order.id) if order else None,
        "buyer": buyer.name if buyer else None,
        "kind": case.kind.value,
        "issue": case.issue.value if case.issue else None,
        "cause": case.cause,
        "liable": case.liable,
        "status": case.status.value,
        "result": case.result,
        "opened_at": stamp(case.opened_at),
        "closed_at": stamp(case.closed_at) if case.closed_at else None,
    }


def piece(one: Any) -> dict[str, Any]:
    """A piece of evidence as it is listed."""
    names = ("id", "kind", "name", "media_type", "size", "sha256", "url", "source")
    return {**{name: getattr(one, name) for name in names}, "at": stamp(one.at) if one.at else None}


def save(app: App, case_id: str, found: list[dict[str, Any]], folder: Path) -> None:
    """Write the stored files of a case out, each under its name and the beginning of its hash."""
    from ..errors import CommandError
    from ..store import blobs
    from ..store.vault import Erased

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = {one.sha256: one.key_id for one in app.read(lambda conn: blobs.kept(conn, case_id))}
    for one in found:
        if (key_id := keys.get(one["sha256"])) is None:
            continue
        app.store.keys_for({key_id})
        try:
            data = app.store.blobs.get(key_id, one["sha256"])
        except (blobs.NoFile, Erased) as error:
            raise CommandError(f"{one['name'] or one['id']}: {error}") from error
        file = folder / f"{one['sha256'][:8]}-{_safe(one['name'] or 'file')}"
        file.write_bytes(data)
        one["file"] = str(file)


def _safe(name: str) -> str:
    """A name that is a name and no path."""
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in name)[-80:]


def _line(time: str | None, side: str, action: str, order: int, **facts: Any) -> dict[str, Any]:
    empty = {"words": "", "cause": "", "result": "", "key": None}
    return {**empty, "time": time, "side": side, "action": action, "order": order, **facts}


def _said(app: App, case_id: str) -> Iterator[dict[str, Any]]:
    from ..store import outbox

    states = {one.key: one.state for one in app.read(lambda conn: outbox.of_case(conn, case_id))}
    for one in messages(app, case_id):
        key, ours = one["id"], one["id"] in states
        action = "message.send" if ours else ""
        side = one["author"] if one["public"] or not ours else "staff"
        yield _line(one["at"], side, action, 1, words=one["message"] or "", result=states.get(key, ""), key=key)


def _happened(app: App, case_id: str) -> Iterator[dict[str, Any]]:
    from .cases import entries

    for one in entries(app, case_id):
        if one["type"] in LEFT_OUT:
            continue
        event = one["event"] if isinstance(one["event"], dict) else {}
        erased = "erased" if one["event"] == "erased" else ""
        result = next((str(event[name]) for name in RESULTS if event.get(name)), "")
        yield _line(
            one["at"],
            str(event.get("by") or one["by"] or one["account"]),
            one["type"],
            0,
            words=str(event.get("text") or event.get("note") or erased),
            cause=_cause(event) if one["type"] == "case.classified" else "",
            result=" ".join(filter(None, (result, _amount(event)))),
        )


def _cause(event: dict[str, Any]) -> str:
    """What a classification says, with its confidence and what it rests on."""
    said = " / ".join(str(event[name]) for name in ("issue", "sub", "cause", "liable") if event.get(name))
    sure = f" ({event['confidence']})" if event.get("confidence") else ""
    return f"{said}{sure}: {'; '.join(event['why'])}" if event.get("why") else f"{said}{sure}"


def _amount(event: dict[str, Any]) -> str:
    amount = event.get("amount")
    return f"{amount['amount']} {amount['currency']}" if isinstance(amount, dict) else ""


def _done(app: App, case_id: str) -> Iterator[dict[str, Any]]:
    from ..store import outbox

    for one in app.read(lambda conn: outbox.of_case(conn, case_id)):
        why = f"{one.state}: {one.cause}" if one.cause else one.state
        ref = f" ({one.ref})" if one.ref else ""
        yield _line(
            when(one.settled_at or one.created_at), one.account or "bridge", one.type, 2, result=why + ref, key=one.key
        )


# -- forms ---------------------------------------------------------------------------------------------------------


def rendered(found: dict[str, Any], form: str, locale: str) -> bytes:
    """The record as ``csv``, ``json`` or ``pdf``."""
    if form == "json":
        return (dumped({name: one for name, one in found.items() if name != "title"}) + "\n").encode()
    return _csv(found, locale) if form == "csv" else _pdf(found, locale)


def _csv(found: dict[str, Any], locale: str) -> bytes:
    """A table that spreadsheets open as it is; no cell of it is taken for a formula."""
    out = StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([_word(name, locale) for name in COLUMNS])
    for one in _told(found, locale):
        writer.writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in one])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _pdf(found: dict[str, Any], locale: str) -> bytes:
    from ..wire.documents import form

    facts = {_word(name, locale): str(found[name]) for name in FACTS if found.get(name)}
    for number, one in enumerate(found["evidence"], start=1):
        facts[f"{_word('evidence', locale)} {number}"] = (
            f"{one['name'] or one['id']} {one['sha256'] or one['url'] or ''}"
        )
    head = found["chain"]
    state = _word("intact" if head["intact"] else "broken", locale)
    facts[_word("chain", locale)] = f"SHA-256 {head['sha256']} · {head['entries']} · {state}"
    columns = [_word(name, locale) for name in COLUMNS]
    return form(_word("title", locale), facts, columns, _told(found, locale), locale=locale)


def _told(found: dict[str, Any], locale: str) -> list[list[str]]:
    return [[_cell(name, one[name], locale) for name in COLUMNS] for one in found["lines"]]


def _cell(name: str, value: Any, locale: str) -> str:
    text = plain(value)
    if name == "side":
        return _word("buyer_" if text == "buyer" else text, locale)
    if name == "action" or text == "erased":
        return _word(text, locale)
    return text


def _word(code: str, locale: str) -> str:
    return _words()[locale].get(code, code)


@cache
def _words() -> dict[str, dict[str, str]]:
    text = (resources.files("rmabridge.wire") / "data" / "record.toml").read_text(encoding="utf-8")
    return tomli.loads(text)
