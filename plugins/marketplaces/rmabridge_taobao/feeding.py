"""What comes in: messages that are consumed and confirmed, and the list of refunds for what they never told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Inbound, Item, Page, Polls, Reconciles
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import Event, Issue
from rmabridge.wire.bodies import dump_json, read_object, text

from .calls import MESSAGES, Calls
from .parsing import Reader, content_of
from .terms import number, rows, stamp, word

LISTED: Final = (
    "refund_id,tid,oid,title,buyer_nick,buyer_open_uid,total_fee,status,created,refund_fee,good_status,company_name,sid,"
    "payment,reason,desc,has_good_return,modified,order_status,refund_phase,dispute_type"
)


class Feeding(Calls, Polls, Reconciles):
    """Consumes TMC messages over HTTP; a page's cursor is the ids that are confirmed once the page is on disk."""

    poll_every: timedelta = Field(timedelta(seconds=15), description="pause between polls")
    group: str | None = Field(
        None, description="TMC group that this seller is in; needed where one app serves several sellers"
    )
    seller: str | None = Field(
        None, description="the seller's nick; messages of other sellers of the same app stay in the queue"
    )
    permit: bool = Field(True, description="open the seller's messages by taobao.tmc.user.permit at the first poll")
    quantity: int = Field(20, ge=10, le=200, description="messages per poll; each refund among them is read again")
    reconcile_days: int = Field(15, gt=0, description="how far back changed refunds are compared")
    page: int = Field(40, gt=0, le=100, description="refunds per page when comparing")
    locale: str | None = Field("zh-CN", description="language of the buyers")
    reasons: dict[str, Issue] = Field(
        default_factory=dict, description="words in buyers' reasons and what they mean, before those of terms.toml"
    )

    @property
    def reader(self) -> Reader:
        """Reads this shop's objects."""
        return Reader(self.locale, self.reasons)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a message with the refund it tells of, or of a listed refund."""
        body = read_object(inbound.body)
        try:
            return tuple(self.reader.events(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the refund cannot be read") from error

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """The messages that wait; each refund that they tell of is read again, for they carry no reason."""
        if cursor is None and self.permit:
            await self._act(ctx, "taobao.tmc.user.permit")
        told = await self._act(
            ctx, "taobao.tmc.messages.consume", seller=False, group_name=self.group, quantity=self.quantity
        )
        heard = rows(told, "messages", "tmc_message")
        ours = [one for one in heard if self.seller in (None, one.get("user_nick")) and number(one.get("id"))]
        read: dict[str, dict[str, Any]] = {}
        items = [item for one in ours if (item := await self._item(one, read, ctx))]
        more = bool(ours) and len(heard) >= self.quantity
        return Page(tuple(items), ",".join(str(one["id"]) for one in ours), more)

    async def confirm(self, ctx: Context, page: Page) -> None:
        """Tell Taobao that the page is on disk; what is not confirmed comes again."""
        if page.cursor:
            await self._act(
                ctx, "taobao.tmc.messages.confirm", seller=False, s_message_ids=page.cursor, group_name=self.group
            )

    async def _item(self, message: dict[str, Any], read: dict[str, dict[str, Any]], ctx: Context) -> Item | None:
        try:
            content = content_of(message)
        except Malformed:
            content = {}
        refund, topic = number(content.get("refund_id")), text(message.get("topic")) or ""
        if not refund or not topic.startswith("taobao_refund_"):
            return None
        if refund not in read:
            read[refund] = await self._snapshot(refund, content.get("refund_phase"), ctx)
        body = {"message": {"topic": topic, "content": content}, **read[refund]}
        lane = number(content.get("tid")) or refund
        return Item(dump_json(body).encode(), f"tmc:{message['id']}", lane)

    async def _snapshot(self, refund: str, phase: Any, ctx: Context) -> dict[str, Any]:
        """The refund and its thread; nothing where Taobao does not show it (exchanges, say)."""
        found: dict[str, Any] = {}
        with suppress(Rejected):
            found["refund"] = held = await self._refund(refund, ctx)
            found["messages"] = await self._messages(refund, held.get("refund_phase") or phase, ctx)
        return found

    async def _messages(self, refund: str, phase: Any, ctx: Context) -> list[dict[str, Any]]:
        asked = {"refund_id": refund, "refund_phase": phase, "fields": MESSAGES, "page_no": 1, "page_size": 100}
        told = await self._ask(ctx, "taobao.refund.messages.get", **asked)
        return rows(told, "refund_messages", "refund_message")

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """Refunds changed of late; those that wait for the seller are read as fully as a message's are."""
        since, until, page = (cursor or f"{stamp(ctx.now(), days=self.reconcile_days)}|{stamp(ctx.now())}|1").split("|")
        told = await self._ask(
            ctx, "taobao.refunds.receive.get", fields=LISTED, start_modified=since, end_modified=until,
            page_no=page, page_size=self.page, use_has_next="true",
        )  # fmt: skip
        items = [
            await self._listed(one, ctx) for one in rows(told, "refunds", "refund") if number(one.get("refund_id"))
        ]
        more = told.get("has_next") is True
        return Page(tuple(items), f"{since}|{until}|{int(page) + 1}", more)

    async def _listed(self, node: dict[str, Any], ctx: Context) -> Item:
        refund = str(node["refund_id"])
        full: dict[str, Any] = {}
        if word(node.get("status")) == "WAIT_SELLER_AGREE":
            full = await self._snapshot(refund, node.get("refund_phase"), ctx)
        body = dump_json({"refund": node, **full}).encode()
        return Item(body, f"refund:{refund}:{text(node.get('modified')) or ''}", number(node.get("tid")) or refund)
