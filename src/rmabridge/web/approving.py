"""The page behind an approval link: what is asked, two buttons, and afterwards who decided.

Looking changes nothing, because mail programs open links before people do. A link gives one answer; the answer goes
through the inbox like a command of the CLI.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import tomli
from aiohttp import web

from ..core.links import Link
from ..core.templates import nearest
from ..model import Commanded
from ..store import inbox as inbox_store
from ..store import questions
from ..store.tables import moment
from .links import show, spoken

if TYPE_CHECKING:
    from ..flow.bridge import Running

ANSWERS: Final = frozenset({"approve", "deny"})
MOST_BODY: Final = 8_192
MOST_NOTE: Final = 500
PATIENCE: Final = 5.0


async def page(request: web.Request, running: Running, link: Link, rest: str) -> web.StreamResponse:
    """Show the question, or take the answer."""
    locale, name = spoken(request), f"link:{sha256(request.match_info['token'].encode()).hexdigest()}"
    if rest:
        return _shown(locale, "unknown", 404)
    found = _question(running, link)
    if found is None:
        return _shown(locale, "unknown", 404)
    if request.method in {"GET", "HEAD"}:
        return _state(locale, running, link, found, name)
    if request.method != "POST":
        return _shown(locale, "unknown", 405)
    if _closed(running, found, name):
        return _state(locale, running, link, found, name, status=409)
    given = await _form(request)
    if given is None:
        return _shown(locale, "unclear", 400)
    await _answer(running, link, found.id, name, *given)
    return _state(locale, running, link, _question(running, link), name)


def _question(running: Running, link: Link) -> Any:
    mark, _, key = link.subject.partition(":")
    with suppress(ValueError):
        digest = bytes.fromhex(mark)
        return running.store.read(lambda conn: questions.asked(conn, link.case, key, digest))
    return None


def _closed(running: Running, found: Any, name: str) -> bool:
    """Whether there is nothing to answer: answered, changed, withdrawn, or this link was used."""
    open_ = found.answer == "waiting" and found.state == "held" and found.digest == found.mark
    return not open_ or running.store.read(lambda conn: questions.answered_by(conn, name)) is not None


async def _form(request: web.Request) -> tuple[str, str] | None:
    if request.content_length is None or request.content_length > MOST_BODY:
        return None
    try:
        fields = parse_qs((await request.read()).decode(), max_num_fields=8)
    except ValueError:
        return None
    answer, note = fields.get("answer", [""])[-1], fields.get("note", [""])[-1]
    return (answer, note.strip()[:MOST_NOTE]) if answer in ANSWERS else None


async def _answer(running: Running, link: Link, number: int, name: str, answer: str, note: str) -> None:
    """Put the answer into the inbox, where the same link counts once, and wait until it is carried out."""
    args = {"approval": number, "note": note or None, "link": True}
    given = Commanded(key=name, at=running.store.clock.now(), command=answer, by=link.who, args=args)
    row = running.router.event_row([given], inbox_store.COMMAND_ACCOUNT, name, case_id=link.case, kind="command")
    await running.store.write(lambda conn: inbox_store.add(conn, [row]))
    running.router.wake.set()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while running.store.read(lambda conn: questions.answered_by(conn, name)) == "new":  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def _state(locale: str, running: Running, link: Link, found: Any, name: str, status: int = 200) -> web.Response:
    """The question as it stands: open, answered by somebody, on its way, or no longer asked."""
    if not _closed(running, found, name):
        return _shown(locale, "open", status, **_facts(locale, running, link, found))
    if found.answer in {"approved", "denied"}:
        facts = {"by": found.by, "at": _local(running, found, found.answered_at), "note": found.note}
        return _shown(locale, found.answer, status, **_facts(locale, running, link, found), **facts)
    waits = running.store.read(lambda conn: questions.answered_by(conn, name)) == "new"
    return _shown(locale, "taken" if waits else "void", 202 if waits else 410 if status == 200 else status)


def _facts(locale: str, running: Running, link: Link, found: Any) -> dict[str, Any]:
    said = words(locale)
    worth = f"{found.amount} {found.currency}" if found.amount else None
    return {
        "action": said.get(found.type, found.type),
        "worth": worth,
        "case": link.case,
        "reason": found.reason,
        "who": link.who,
        "asked": _local(running, found, found.asked_at),
    }


def _local(running: Running, found: Any, at: int | None) -> str:
    shop = running.registry.shops.get(found.shop)
    when = moment(at or 0)
    return f"{when.astimezone(shop.zone) if shop else when:%Y-%m-%d %H:%M}"


def _shown(locale: str, what: str, status: int = 200, **facts: Any) -> web.Response:
    empty = dict.fromkeys(("action", "worth", "case", "reason", "who", "asked", "by", "at", "note"))
    return show("approving.html", locale, status=status, said=words(locale), what=what, **(empty | facts))


@cache
def words(locale: str) -> dict[str, str]:
    """The words of the page in the nearest of our languages."""
    text = (resources.files(__package__) / "pages" / "approving.toml").read_text(encoding="utf-8")
    return dict(tomli.loads(text)[nearest(locale)])
