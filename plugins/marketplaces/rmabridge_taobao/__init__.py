"""Taobao and Tmall (Taobao Open Platform, TOP): refunds and their threads in; decisions, refunds and words out.

What it does: consumes TMC messages over HTTP and confirms them once they are on disk, reads each refund and its thread
again, lists what the messages never told, fetches trades, agrees to returned goods (``rp.returngoods.agree``), pays
(``rp.refunds.agree``) or refuses (``refund.refuse``) refunds with the version read right before, and writes in a
refund's thread (at most 400 bytes). Exchanges and repairs are received and must be decided by hand. The seller's own
words in a thread are not read back. Wangwang chat has no open API.

Reference: https://open.taobao.com/api.htm (calls and signature: https://open.taobao.com/doc.htm?docId=101617&docType=1)

Not verified, and therefore settings or data: the meaning of the error codes (``error_meanings``), that consuming and
confirming need no session, the words of buyers' reasons (``reasons``) and of reasons for a refusal (``refuse_words``),
the largest pictures (``refuse_proof_bytes``, ``picture_bytes``). Also not verified: the formula of ``hmac-sha256``
(``sign_method``), that reading by GET is taken for every call, which code refuses an overtaken version (so any refusal
is followed by one look at the version), and how Taobao asks for a code sent by SMS.
"""

from __future__ import annotations

from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Context, FetchesOrders, Plugin, Probes, Result
from rmabridge.errors import Rejected
from rmabridge.model import Event, FetchOrder

from .deciding import Deciding
from .orders import TRADE
from .talking import Talking
from .terms import number, stamp


class Taobao(Deciding, Talking, FetchesOrders, Probes):
    """One Taobao or Tmall shop."""

    title: ClassVar[str] = "Taobao / Tmall"
    reference: ClassVar[str] = "https://open.taobao.com/api.htm"

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The trade by the refund or by its number; with a refund, where that stands as well."""
        events: tuple[Event, ...] = ()
        tid = number(action.order)
        if action.request:
            held = await self._refund(action.request, ctx)
            tid, events = number(held.get("tid")) or tid, tuple(self.reader.refund(held, ctx.now(), opens=False))
        if not tid:
            raise Rejected("a trade is found by its number or its refund only")
        told = await self._ask(ctx, "taobao.trade.fullinfo.get", tid=tid, fields=TRADE)
        seen = self.reader.trade(told.get("trade"), f"order:{tid}:read:{ctx.idempotency_key}", ctx.now())
        if seen is None:
            raise Rejected("the shop knows no such trade")
        return Result(id=tid, events=(seen, *events))

    async def probe(self, ctx: Context) -> str:
        """Whether the seller's refunds can be listed."""
        since = stamp(ctx.now(), days=1)
        asked = {"fields": "refund_id", "start_modified": since, "page_size": 1, "use_has_next": "true"}
        await self._ask(ctx, "taobao.refunds.receive.get", **asked)
        return f"TOP answers at {self.url}; the session is good"


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """Taobao and Tmall."""
    return [Taobao]
