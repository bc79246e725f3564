"""What comes in: signed pushes in batches, and the list of requests for what they never told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from rmabridge.abilities import (
    Context,
    Inbound,
    Item,
    Page,
    Receipt,
    ReceivesWebhooks,
    Reconciles,
    Reply,
    WebRequest,
    live,
)
from rmabridge.errors import Malformed, Rejected, Unverified
from rmabridge.model import Event, Issue, RequestStatus
from rmabridge.wire.bodies import dig, dump_json, read_json
from rmabridge.wire.signing import any_matches, digest_hex, hmac_hex, same

from .calls import Calls
from .facts import detailed, listed
from .parsing import Reader
from .terms import number, rows

Said = Literal["requested", "approved", "declined", "cancelled", "closed", ""]
_SAMPLES: Final = {"RefundCreated": ("200", "apply_time", 6), "RefundSuccess": ("206", "success_time", 12)}
_HEARD: Final = b'{"code":0,"msg":"success"}'


class Feeding(Calls, ReceivesWebhooks, Reconciles):
    """Hears Doudian's pushes, and compares what the shop holds with what they told."""

    push_signature: Literal["md5", "hmac-sha256"] = Field("md5", description="how pushes are signed")
    tags: dict[str, Said] = Field(
        default_factory=dict, description="tags of pushes and what they say of a request, before those of terms.toml"
    )
    reconcile_every: timedelta | None = Field(
        timedelta(minutes=30), description="pause between comparisons; only these tell the waybill of goods sent back"
    )
    reconcile_days: int = Field(7, gt=0, description="how far back changed requests are compared")
    page: int = Field(30, gt=0, le=100, description="requests per page; each one that waits for the seller is read")
    locale: str | None = Field("zh-CN", description="language of the buyers")
    reasons: dict[str, Issue] = Field(
        default_factory=dict, description="words in buyers' reasons and what they mean, before those of terms.toml"
    )

    @field_validator("shop_id")
    @classmethod
    def _digits(cls, shop: str) -> str:
        if not number(shop):
            raise ValueError("a shop's id is digits; the console shows it")
        return shop

    @property
    def reader(self) -> Reader:
        """Reads this shop's objects."""
        return Reader(self.shop_id, self.locale, self.reasons, self.tags)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the mark over the raw body, and that the push is of this app."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        given = headers.get("event-sign", "")
        if not request.body or not given:
            raise Unverified("the body or event-sign is missing")
        marks = [self._mark(secret, request.body) for secret in live(self.app_secret, now)]
        if not any_matches(given.lower(), marks):
            raise Unverified("event-sign is not good")
        if not same(headers.get("app-id", "").strip(), self.app_key.get_secret_value()):
            raise Unverified("the push is of another app")
        return Receipt()

    def _mark(self, secret: str, body: bytes) -> str:
        signed = self.app_key.get_secret_value().encode() + body + secret.encode()
        return digest_hex(signed) if self.push_signature == "md5" else hmac_hex(secret, signed)

    def reply(self, request: WebRequest) -> Reply:
        """The answer that Doudian takes for a success."""
        return Reply(body=_HEARD)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a batch of pushes, or of a listed request."""
        body = read_json(inbound.body)
        try:
            if isinstance(body, list):
                return tuple(self.reader.messages(body, inbound.received_at))
            return tuple(self._listed(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the request cannot be read") from error

    def _listed(self, body: Any, at: datetime) -> Iterable[Event]:
        if not isinstance(body, dict):
            raise Malformed("the body is neither a batch of messages nor a listed request")
        if isinstance(told := body.get("detail"), dict):
            facts = detailed(told)
            return self.reader.full(facts, at) if facts.id else ()
        facts = listed(body)
        return self.reader.request(facts, at) if facts.id else ()

    def samples(self) -> tuple[str, ...]:
        """The names that ``sample`` knows."""
        return tuple(_SAMPLES)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A push as Doudian would send it, signed with the first live secret."""
        secrets, seconds = live(self.app_secret, now), int(now.timestamp())
        if name not in _SAMPLES or not secrets:
            return None
        tag, at, state = _SAMPLES[name]
        data = {
            "aftersale_id": seconds * 10**9,
            "aftersale_status": state,
            "aftersale_type": 1,
            "p_id": seconds * 10**9 + 1,
            "s_id": seconds * 10**9 + 1,
            "shop_id": int(self.shop_id),
            "reason_code": 8,
            "refund_amount": 1990,
            at: seconds,
            "update_time": seconds,
        }
        body = dump_json([{"tag": tag, "msg_id": f"sample-{tag}-{seconds}", "data": dump_json(data)}]).encode()
        headers = {
            "Content-Type": "application/json",
            "event-sign": self._mark(secrets[0], body),
            "app-id": self.app_key.get_secret_value(),
        }
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """Requests changed of late, the longest unchanged first; those that wait for the seller are read in full."""
        until = int(ctx.now().timestamp())
        since = until - int(timedelta(days=self.reconcile_days).total_seconds())
        start, end, page = map(int, (cursor or f"{since}|{until}|0").split("|"))
        asked = {"update_start_time": start, "update_end_time": end, "page": page, "size": self.page}
        told = await self._call(ctx, "afterSale/List", asked | {"order_by": ["update_time asc"]})
        items = [await self._item(one, ctx) for one in rows(told, "items") if listed(one).id]
        return Page(tuple(items), f"{start}|{end}|{page + 1}", more=told.get("has_more") is True and bool(items))

    async def _item(self, node: dict[str, Any], ctx: Context) -> Item:
        facts, body = listed(node), node
        if facts.status is RequestStatus.REQUESTED:
            body = node | await self._full(facts.id, ctx)
        changed = number(dig(node, "aftersale_info", "update_time"))
        return Item(dump_json(body).encode(), f"aftersale:{facts.id}:{changed}", facts.order or facts.id)

    async def _full(self, request: str, ctx: Context) -> dict[str, Any]:
        try:
            return {"detail": await self._detail(request, ctx)}
        except Rejected:  # the list alone opens the case where the detail is not shown
            return {}
