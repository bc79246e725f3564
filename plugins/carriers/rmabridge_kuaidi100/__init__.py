"""Kuaidi100 (快递100), an aggregator of Chinese and international carriers: query, subscription, pushes, recognition.

What it does: instant queries, subscriptions with detailed states (``resultv2=4``), the pushes that they cause (signed
with the account's salt), and recognition of the carrier by the waybill's number. A push that gives a number up (three
days without a scan, or sixty without a change) makes the parcel expired; one that names another carrier moves it there.
The push address is ``[bridge] public_url`` with ``/hooks/{account}``; it is handed over with each subscription, so
nothing is set up by hand. Kuaidi100 locks a number that is asked for more than 48 times in a day: let it push.

Tickets about damaged and lost parcels (商家寄件工单) are opened and answered as claims, for parcels that were ordered
through Kuaidi100 and only where ``ticket_types`` names the numbers of their kinds, which could not be read. How tickets
are asked for and what their statuses mean could not be read either: their end is to be entered by hand.

Not built: interception, return pick-ups, pictures of delivery.

Reference: https://api.kuaidi100.com/document/

Not verified, and therefore settings: what the codes of refusals mean (``query_codes`` as other clients quote the
vendor, ``subscribe_codes`` from memory of its document). That a recognition names the likeliest carrier first is not
verified either: the result's note names the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlencode
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
from rmabridge.wire import carriers
from rmabridge.wire.bodies import dig, dump_json, read_form, read_json, read_object, text
from rmabridge.wire.signing import any_matches, hmac_hex
from rmabridge.wire.times import CHINA
from rmabridge.wire.waybills import normalise

from .calls import FORM, signature
from .claiming import Tickets
from .reading import Push, Track, parcel_seen

CODE: Final = re.compile(r"[a-z0-9_]{2,40}")
HALF_AN_HOUR: Final = 1800.0

Meaning = Literal["nothing", "done", "busy", "often", "credentials"]
QUERY_CODES: Final[dict[str, Meaning]] = {
    "500": "nothing",
    "501": "busy",
    "502": "busy",
    "503": "credentials",
    "504": "often",
    "601": "credentials",
}
SUBSCRIBE_CODES: Final[dict[str, Meaning]] = {
    "500": "busy",
    "501": "done",
    "600": "credentials",
    "601": "credentials",
}


class Kuaidi100(Tickets, ReceivesWebhooks, TracksParcels, Probes):
    """An account at Kuaidi100."""

    title: ClassVar[str] = "Kuaidi100 (快递100)"
    reference: ClassVar[str] = "https://api.kuaidi100.com/document/"
    pushes: ClassVar[bool] = True

    salt: Secrets = Field(
        description="a word of your own that Kuaidi100 signs pushes with; the first live one is handed over, and an "
        "older one must stay live as long as parcels that were subscribed with it"
    )
    recognise_url: str = Field("https://www.kuaidi100.com/autonumber/auto", description="address of the recognition")
    carrier: str | None = Field(
        None, description="carrier of parcels that name none; left out, Kuaidi100 recognises it"
    )
    phone_tail_for: tuple[str, ...] = Field(
        ("shunfeng", "shunfengkuaiyun", "zhongtong"), description="carriers that show scans only for a phone number"
    )
    probe_waybill: str = Field("YT0000000000001", description="number that is asked for to try the account")
    query_codes: dict[str, Meaning] = Field(
        QUERY_CODES, description="what a refused query's returnCode means; any other is a mistake in the request"
    )
    subscribe_codes: dict[str, Meaning] = Field(
        SUBSCRIBE_CODES,
        description="what a refused subscription's returnCode means; 'done' is a number that is subscribed already",
    )

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """Ask for all scans so far; a number without any is a parcel that is not scanned yet."""
        com, note = await self._company(action, ctx)
        about = self._about(action, com, "com", "num") | {"resultv2": "4", "show": "0", "order": "desc"}
        told = await self._query(about, ctx)
        refusal = self._refusal(told, self.query_codes)
        if isinstance(refusal, DeliveryError):
            raise refusal
        # Where nothing is known yet the answer names neither carrier nor number.
        track = Track.model_validate({"nu": about["num"]} | ({} if refusal else told))
        return Result(events=(parcel_seen(track, track.com or com, ctx.now(), ctx.case),), note=note)

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Subscribe; the case's id comes back with each push. The key travels inside the parameters."""
        com, note = await self._company(action, ctx)
        about = self._about(action, com, "company", "number")
        phone = about.pop("phone", "")
        salt = self._first(self.salt, "salt", ctx.now())
        told = {"callbackurl": self._callback(salt, ctx), "salt": salt, "phone": phone}
        told |= {"resultv2": "4", "autoCom": "0", "interCom": "0"}
        param = about | {"key": self._first(self.api_key, "api_key", ctx.now()), "parameters": told}
        answer = await self._post(ctx, f"{self.url.rstrip('/')}/poll", {"schema": "json", "param": dump_json(param)})
        refusal = self._refusal(answer, self.subscribe_codes)
        if isinstance(refusal, DeliveryError):
            raise refusal
        return Result(id=f"{com}:{about['number']}", note=note)

    async def probe(self, ctx: Context) -> str:
        """Ask for a number; that nothing is known of it shows the credentials as good."""
        told = await self._query({"com": self.carrier or "yuantong", "num": self.probe_waybill}, ctx)
        refusal = self._refusal(told, self.query_codes)
        if isinstance(refusal, Unavailable | Unauthorised):
            raise refusal
        return f"Kuaidi100 answers for {self.customer}: {text(told.get('message')) or 'ready'}"

    async def _query(self, about: dict[str, str], ctx: Context) -> dict[str, Any]:
        param = dump_json(about)
        sign = signature(param, self._first(self.api_key, "api_key", ctx.now()), self.customer)
        form = {"customer": self.customer, "param": param, "sign": sign}
        return await self._post(ctx, f"{self.url.rstrip('/')}/poll/query.do", form)

    async def _company(self, action: QueryParcel | TrackParcel, ctx: Context) -> tuple[str, str | None]:
        """Kuaidi100's code of the carrier, and a note where it had to be recognised among several."""
        given = action.carrier or self.carrier or ""
        known = carriers.carrier(given)
        if known and known.kuaidi100:
            return known.kuaidi100, None
        if not known and CODE.fullmatch(given):
            return given, None
        return await self._recognise(normalise(action.waybill), ctx)

    async def _recognise(self, waybill: str, ctx: Context) -> tuple[str, str | None]:
        params = {"num": waybill, "key": self._first(self.api_key, "api_key", ctx.now())}
        response = await ctx.http.get(self.recognise_url, params=params)
        response.raise_for_status()
        told = read_json(response.content)
        found = [com for one in told if (com := text(dig(one, "comCode")))] if isinstance(told, list) else []
        if not found:
            raise Rejected(f"Kuaidi100 knows no carrier for {waybill}", hint="name the parcel's carrier")
        others = ", ".join(found[1:])
        return found[0], f"carrier taken as {found[0]}; {waybill} may also be of {others}" if others else None

    def _about(self, action: QueryParcel | TrackParcel, com: str, carrier: str, number: str) -> dict[str, str]:
        about = {carrier: com, number: normalise(action.waybill)}
        if com in self.phone_tail_for:
            if not action.phone_tail:
                cause = f"{com} shows scans only with the last 4 digits of the sender's or receiver's phone"
                raise Rejected(cause, hint="add the phone number to the order's address, then retry")
            about["phone"] = action.phone_tail[-4:]
        return about

    def _callback(self, salt: str, ctx: Context) -> str:
        if not ctx.public_url:
            raise Rejected("Kuaidi100 has no address to push to", hint="set [bridge] public_url, then retry")
        query = {"case": ctx.case, "mark": self._mark(ctx.case, salt)} if ctx.case else {}
        return f"{ctx.public_url}/hooks/{self.account}" + (f"?{urlencode(query)}" if query else "")

    def _mark(self, case: str, salt: str) -> str:
        """What ties the case to the push address, which Kuaidi100 does not sign."""
        return hmac_hex(salt, f"case:{case}".encode())[:32]

    def _refusal(self, told: dict[str, Any], codes: dict[str, Meaning]) -> DeliveryError | bool:
        """The error that a refusal's code means, whether nothing is to be done about it; the HTTP status is 200."""
        if text(told.get("status")) == "200" or str(told.get("result")).lower() == "true":
            return False
        code = text(told.get("returnCode")) or text(told.get("status"))
        cause = f"Kuaidi100: {text(told.get('message')) or 'refused without a reason'} ({code or 'no code'})"
        match codes.get(code or ""):
            case "nothing" | "done":
                return True
            case "busy":
                return Unavailable(cause)
            case "often":
                return Unavailable(cause, hint="numbers may be asked for every half hour", retry_after=HALF_AN_HOUR)
            case "credentials":
                return Unauthorised(
                    cause, hint="compare customer and api_key with Kuaidi100's console, and its balance"
                )
        return Rejected(cause)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature over the content; the case counts only where the address was made by this account."""
        if request.content_type not in {"", FORM}:
            raise WrongType(f"expected {FORM}")
        form, salts = read_form(request.body), live(self.salt, now)
        param = form.get("param", "")
        if not any_matches(form.get("sign", "").upper(), [signature(param, one) for one in salts]):
            raise Unverified("sign does not fit the content")
        case, mark = request.query.get("case", ""), request.query.get("mark", "")
        ours = bool(case) and any_matches(mark, [self._mark(case, one) for one in salts])
        lane = text(dig(read_object(param.encode()), "lastResult", "nu"))
        return Receipt(lane=lane, meta={"case": case} if ours else {})

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One snapshot; none where Kuaidi100 has subscribed the number again with the right carrier by itself."""
        content = read_object(read_form(inbound.body).get("param", "").encode())
        try:
            push = Push.model_validate(content)
            track, over = push.lastResult, push.status == "abort"
            if track is None or not track.waybill or (over and push.comNew):
                return ()
            case = inbound.meta.get("case")
            return [parcel_seen(track, push.comNew or track.com, inbound.received_at, case, over=over)]
        except ValidationError as error:
            raise Malformed("the push holds values that are no parcel's") from error

    def reply(self, request: WebRequest) -> Reply:
        """What Kuaidi100 waits for; after anything else it pushes again."""
        return Reply(body=dump_json({"result": True, "returnCode": "200", "message": "成功"}).encode())

    def samples(self) -> tuple[str, ...]:
        """A push about a parcel on its way, and one that gives its number up."""
        return ("polling", "abort")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A signed push of a parcel that arrived damaged, or of a number that was given up."""
        if name not in self.samples():
            return None
        stamp = now.astimezone(ZoneInfo(CHINA)).strftime("%Y-%m-%d %H:%M:%S")
        row = {"time": stamp, "ftime": stamp, "context": "快件外包装破损", "status": "破损", "statusCode": "209"}
        last = {"com": "yuantong", "nu": "YT0000000000001", "state": "209" if name == "polling" else "0"}
        push = {"status": name, "lastResult": last | {"data": [row] if name == "polling" else []}}
        param = dump_json(push)
        form = {"param": param, "sign": signature(param, self._first(self.salt, "salt", now))}
        headers = {"Content-Type": f"{FORM};charset=utf-8"}
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, urlencode(form).encode())


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """Kuaidi100."""
    return [Kuaidi100]
