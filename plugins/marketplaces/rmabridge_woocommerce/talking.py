"""Words to the buyer: a note on the order that is shown and mailed to them."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import ClassVar, Final

from rmabridge.abilities import Context, Finding, Result, SendsMessages, performs
from rmabridge.errors import Rejected
from rmabridge.model import Form, SendMessage
from rmabridge.wire.attached import bundle
from rmabridge.wire.bodies import text

from .calls import Calls, made, rows
from .parsing import number, utc

# An uncertain delivery is looked up for a day; equal words of an earlier day are other words.
RECENT: Final = timedelta(hours=25)


class Talking(Calls, SendsMessages):
    """Writes notes for the customer; ``to`` is the order's id. Files are named, a note carries none."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.THREAD})

    @performs(looks_back=RECENT)
    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Leave a note for the customer."""
        body = {"note": await _words(action, ctx), "customer_note": True}
        return Result(id=f"note:{made(await self._call(ctx, 'POST', _path(action.to), body))}")

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Whether the order shows these words to the customer."""
        words, since = _plain(await _words(action, ctx)), ctx.now() - RECENT
        for one in rows(await self._call(ctx, "GET", _path(action.to), params={"type": "customer"})):
            at = utc(one, "date_created")
            if (at is None or at >= since) and _plain(text(one.get("note")) or "") == words:
                return Finding(True, Result(id=f"note:{made(one)}"))
        return Finding(False)


async def _words(action: SendMessage, ctx: Context) -> str:
    return (await bundle(action.attachments, ctx.blob, 0)).words(action.text)


def _plain(note: str) -> list[str]:
    """The words alone: WordPress rewrites white space and entities."""
    return html.unescape(note).split()


def _path(order: str) -> str:
    if not (id_ := number(order)):
        raise Rejected(f"{order!r} is no order of WooCommerce's")
    return f"/orders/{id_}/notes"
