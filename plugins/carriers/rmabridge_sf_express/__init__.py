"""SF Express (顺丰速运) through its open platform (丰桥): routes of a waybill on request, and pushed routes.

What it does: asks for all routes of a waybill (``EXP_RECE_SEARCH_ROUTES``), and takes the pushes of new routes
(``RoutePushService``) as JSON or as a form with XML, each answered in its own form. SF pushes by itself what was
ordered through 丰桥, to the address that is set in its console: ``/hooks/{account}?token=…`` with the account's
``push_token``. SF signs no push in the documents that could be read, so without a token the door stays shut. For
parcels that were ordered elsewhere set ``register_routes``, or ``poll`` of the tracking policy.

Not built: claims (there is no public service code for 理赔: they go to the month card's account manager), pictures as
proof (they are pushed encrypted), orders and interception, access tokens (OAuth2) in place of the digest, and the
platform for international parcels.

Reference: https://open.sf-express.com

Not verified, and therefore settings: registering parcels for pushes (``register_routes``, as one public client does
it), the digest without escaping (``signing = "simple"``), what the platform's codes mean (``busy_codes``,
``credential_codes``) and the words of a passing refusal (``busy_words``). What status and operation codes mean comes
from public clients, not from the vendor. That a parcel which goes back is signed for under the code of a delivery is
likely (``turn_round``). That some accounts get pushes with ``msgDigest`` is not verified: where there is one, it must
be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Inbound,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Reply,
    Result,
    Secrets,
    TracksParcels,
    WebRequest,
    live,
)
from rmabridge.errors import DeliveryError, Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Event, QueryParcel, TrackParcel
from rmabridge.wire.bodies import dig, dump_json, read_form, read_object, text
from rmabridge.wire.signing import any_matches, digest_base64
from rmabridge.wire.times import CHINA
from rmabridge.wire.waybills import normalise

from .reading import Routes, news, pushed, snapshot

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
ROUTES: Final = "EXP_RECE_SEARCH_ROUTES"
REGISTER: Final = "EXP_RECE_REGISTER_ROUTE"
BY_WAYBILL: Final = "2"
ACCEPTED: Final = "A1000"
DONE: Final = "S0000"
XML_REPLY: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Response service="RoutePushService"><Head>OK</Head></Response>'
)


def digest(msg_data: str, timestamp: str, check_word: str, *, escaped: bool = True) -> str:
    """SF's ``msgDigest``: the MD5's raw bytes in base64, over text that is escaped as Java's URLEncoder does it."""
    plain = f"{msg_data}{timestamp}{check_word}"
    return digest_base64((quote_plus(plain, safe="*-._").replace("~", "%7E") if escaped else plain).encode())


class SfExpress(Plugin, ReceivesWebhooks, TracksParcels, Probes):
    """An account at SF's open platform."""

    title: ClassVar[str] = "SF Express (顺丰)"
    reference: ClassVar[str] = "https://open.sf-express.com"
    pushes: ClassVar[bool] = True

    partner_id: str = Field(min_length=1, description="partnerID (顾客编码), shown under 开发者对接")
    check_word: Secrets = Field(description="校验码; the first live one signs calls, any live one verifies a digest")
    push_token: Secrets | None = Field(
        None, description="expected as ?token=… in the push address; without it no push is taken"
    )
    url: str = Field(
        "https://bspgw.sf-express.com/std/service",
        description="address of the platform, of its sandbox or of Hong Kong",
    )
    signing: Literal["standard", "simple"] = Field(
        "standard", description="the digest that the account uses: 标准MD5 over escaped text, or 简易MD5 over the text"
    )
    register_routes: bool = Field(
        False, description="register each parcel for pushes; set their address in SF's console first"
    )
    language: str = Field("zh-CN", description="language of the scans' words")
    probe_waybill: str = Field("SF0000000000000", description="number that is asked for to try the account")
    busy_codes: tuple[str, ...] = Field(
        ("A1005", "A1009", "A1099", "S0001", "S0003"),
        description="codes of what passes: too many calls, a service or a system that is down",
    )
    credential_codes: tuple[str, ...] = Field(
        ("A1003", "A1004", "A1006"), description="apiResultCode of what our account lacks: address, right, signature"
    )
    busy_words: tuple[str, ...] = Field(("繁忙", "稍后", "超时"), description="what a passing refusal says")
    turn_round: bool = Field(
        True, description="take a parcel that is delivered on its way back for returned, not for delivered"
    )
    rate: str | None = Field("10/s", description="most calls to SF, e.g. '10/s'")

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """Ask for all routes so far. SF shows none where the phone number does not fit, without saying so."""
        waybill = normalise(action.waybill)
        told = await self._call(ctx, ROUTES, self._about(waybill, action.phone_tail))
        many = dig(told, "msgData", "routeResps")
        found = [Routes.model_validate(one) for one in (many if isinstance(many, list) else ())]
        routes = [route for one in found if normalise(one.mailNo or waybill) == waybill for route in one.routes]
        note = None if routes else f"SF shows no routes of {waybill}: not scanned yet, or the phone number does not fit"
        return Result(events=(snapshot(waybill, routes, ctx.now(), turns=self.turn_round),), note=note)

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Register the parcel for pushes, where the settings say so; else SF pushes what was ordered through 丰桥."""
        if not self.register_routes:
            return Result(note="SF pushes what was ordered through 丰桥; for others set register_routes, or poll")
        waybill = normalise(action.waybill)
        about = {"type": BY_WAYBILL, "attributeNo": waybill, "language": self.language}
        await self._call(ctx, REGISTER, about | _phone(action.phone_tail))
        return Result(id=waybill)

    async def probe(self, ctx: Context) -> str:
        """Ask for a number; that SF knows nothing of it shows the credentials as good."""
        try:
            await self._call(ctx, ROUTES, self._about(self.probe_waybill, None))
        except Rejected as refused:
            return f"SF answers for {self.partner_id}: {refused.cause}"
        return f"SF answers for {self.partner_id}"

    def _about(self, waybill: str, phone_tail: str | None) -> dict[str, Any]:
        about: dict[str, Any] = {"language": self.language, "trackingType": "1", "trackingNumber": [waybill]}
        about["methodType"] = "1"
        return about | _phone(phone_tail)

    async def _call(self, ctx: Context, service: str, about: dict[str, Any]) -> dict[str, Any]:
        """One call; what SF answers is JSON in a text in JSON, and either may refuse."""
        words = live(self.check_word, ctx.now())
        if not words:
            raise Unauthorised("no check_word is live", hint="put a current check_word into the account's settings")
        data, stamp = dump_json(about), str(int(ctx.now().timestamp() * 1000))
        form = {
            "partnerID": self.partner_id,
            "requestID": ctx.idempotency_key,
            "serviceCode": service,
            "timestamp": stamp,
            "msgDigest": self._digest(data, stamp, words[0]),
            "msgData": data,
        }
        response = await ctx.http.post(self.url, data=form, headers={"Content-Type": f"{FORM};charset=UTF-8"})
        response.raise_for_status()
        return self._inner(read_object(response.content))

    def _digest(self, data: str, stamp: str, check_word: str) -> str:
        return digest(data, stamp, check_word, escaped=self.signing == "standard")

    def _inner(self, told: dict[str, Any]) -> dict[str, Any]:
        code = text(told.get("apiResultCode"))
        if code != ACCEPTED:
            raise self._refusal(code, text(told.get("apiErrorMsg")))
        held = told.get("apiResultData")
        inner = held if isinstance(held, dict) else read_object(str(held or "").encode())
        if str(inner.get("success")).lower() != "true" or text(inner.get("errorCode")) not in {None, DONE}:
            raise self._refusal(text(inner.get("errorCode")), text(inner.get("errorMsg")))
        return inner

    def _refusal(self, code: str | None, words: str | None) -> DeliveryError:
        cause = f"SF: {words or 'refused without a reason'} ({code or 'no code'})"
        if code in self.busy_codes or any(one in (words or "") for one in self.busy_words):
            return Unavailable(cause)
        if code in self.credential_codes:
            return Unauthorised(
                cause, hint="compare partner_id, check_word and the allowed addresses with SF's console"
            )
        return Rejected(cause)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the token of the address, and the digest where there is one."""
        if request.content_type not in {"", FORM, JSON}:
            raise WrongType(f"expected {JSON} or {FORM}")
        if not any_matches(request.query.get("token", ""), live(self.push_token or (), now)):
            raise Unverified("the address lacks the account's push token")
        form = read_form(request.body) if request.content_type == FORM else {}
        if given := form.get("msgDigest"):
            data, stamp = form.get("msgData", ""), form.get("timestamp", "")
            if not any_matches(given, [self._digest(data, stamp, one) for one in live(self.check_word, now)]):
                raise Unverified("msgDigest does not fit the content")
        nodes = pushed(request.body)
        return Receipt(lane=text(dig(nodes, 0, "mailno")) if len(nodes) == 1 else None)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One event for each new node."""
        try:
            return news(inbound.body, turns=self.turn_round)
        except ValidationError as error:
            raise Malformed("the push holds values that are no route's") from error

    def reply(self, request: WebRequest) -> Reply:
        """What SF waits for; it sends again what is answered otherwise."""
        if request.content_type == FORM and "content" in read_form(request.body):
            return Reply(body=XML_REPLY.encode(), content_type="text/xml")
        return Reply(body=dump_json({"return_code": "0000", "return_msg": "成功"}).encode())

    def samples(self) -> tuple[str, ...]:
        """A pushed route."""
        return ("RoutePushService",)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A push about a parcel that arrived damaged."""
        if name not in self.samples():
            return None
        stamp = now.astimezone(ZoneInfo(CHINA)).strftime("%Y-%m-%d %H:%M:%S")
        node = {"id": "1", "mailno": "SF1234567890123", "orderid": "RMA-1", "acceptTime": stamp, "opCode": "33"}
        node |= {"acceptAddress": "深圳市", "remark": "快件外包装破损", "reasonCode": "", "reasonName": ""}
        body = dump_json({"Body": {"WaybillRoute": [node]}}).encode()
        query = {"token": token} if (token := next(iter(live(self.push_token or (), now)), "")) else {}
        return WebRequest("POST", f"/hooks/{self.account}", query, {"Content-Type": JSON}, body)


def _phone(tail: str | None) -> dict[str, str]:
    return {"checkPhoneNo": tail[-4:]} if tail else {}


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """SF Express."""
    return [SfExpress]
