"""Kdniao (快递鸟), an aggregator of Chinese and international carriers: query, subscription and pushes of parcel scans.

What it does: instant queries (1002, or 8001 with detailed states), subscriptions (1008, or 8008 with detailed states),
the pushes they cause (101 and 102), and recognition of the carrier by the waybill's number (2002). It files no claims:
Kdniao has no call for that. The push about cash on delivery (107) is accepted and left alone.
Set the push address in Kdniao's console to ``/hooks/{account}?token=…`` with the account's ``push_token``: the
signature carries no time, so the token and the event keys are what stops replays.

Reference: https://www.kdniao.com/api-track (a copy: https://apifox.com/apidoc/docs-site/2538027)

Not verified, and therefore settings: the words of refusals (``quota_words``, ``busy_words``, ``credential_words``) and
the highest rate of calls (``rate``). That a recognition names the likeliest carrier first is not verified either: the
result's note names the others.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote, unquote_plus, urlencode
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

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
from rmabridge.model import (
    Event,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    QueryParcel,
    Ref,
    RefKind,
    Scan,
    TrackParcel,
)
from rmabridge.wire import carriers, vocabulary
from rmabridge.wire.bodies import dig, dump_json, read_form, read_object, text
from rmabridge.wire.signing import any_matches, digest_hex
from rmabridge.wire.times import CHINA, maybe_instant
from rmabridge.wire.waybills import normalise

FORM = "application/x-www-form-urlencoded"
USED_UP_FOR = 6 * 3600.0
CODE = re.compile(r"[A-Z0-9_]{1,20}")
CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# Senders differ in whether the form's value is escaped once more; only the signature tells which reading is meant.
READINGS: dict[str, Callable[[str], str]] = {"plain": str, "unquoted": unquote, "form": unquote_plus}

Word = Annotated[str | None, BeforeValidator(text)]


class Loose(BaseModel):
    """A document whose field names come in any case: ``Callback`` and ``CallBack``, ``Location`` and ``location``."""

    model_config = ConfigDict(frozen=True, alias_generator=lambda name: name.replace("_", ""), defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, given: Any) -> Any:
        return {str(key).lower(): value for key, value in given.items()} if isinstance(given, dict) else given


class Trace(Loose):
    """One row of a tracking history."""

    accept_time: Word = None
    accept_station: Word = None
    location: Word = None
    action: Word = None


class Track(Loose):
    """A waybill with all its rows so far: the answer to a query, or one entry of a push."""

    success: bool = False
    reason: Word = None
    shipper_code: Word = None
    logistic_code: Word = None
    state: Word = None
    state_ex: Word = None
    call_back: Word = None
    estimated_delivery_time: Word = None
    traces: Annotated[tuple[Trace, ...], BeforeValidator(lambda given: given or ())] = ()

    @property
    def waybill(self) -> str:
        """The number as the bridge writes it."""
        return normalise(self.logistic_code or "")


class Shipper(Loose):
    """A carrier that may have issued a waybill."""

    shipper_code: Word = None
    shipper_name: Word = None


class Answer(Track):
    """What any call answers."""

    shippers: Annotated[tuple[Shipper, ...], BeforeValidator(lambda given: given or ())] = ()


class Push(Loose):
    """The content of a push: one entry for each waybill."""

    push_time: Word = None
    data: tuple[Track, ...] = ()


def data_sign(content: str, key: str) -> str:
    """Kdniao's signature: the base64 of the digest's hexadecimal text, not of its bytes."""
    return b64encode(digest_hex((content + key).encode()).encode()).decode()


def _content(value: str, reading: str | None = None) -> dict[str, Any]:
    """The push in a form value: in the reading that was signed, or in the first that is JSON."""
    known = READINGS.get(reading or "")
    for read in [known] if known else READINGS.values():
        with suppress(Malformed):
            return read_object(read(value).encode())
    raise Malformed("RequestData is not JSON")


def _meaning(code: str | None, words: str) -> tuple[ParcelStatus, ParcelException | None]:
    """What a code of Kdniao's means; the bare problem code 4 leaves the exception to the words."""
    if code is None:
        return ParcelStatus.IN_TRANSIT, None
    known = vocabulary.lookup("kdniao", code)
    return known.status, known.exception or (vocabulary.hint(words) if code == "4" else None)


def _scans(track: Track, overall: str | None) -> tuple[Scan, ...]:
    """The rows by time. Without detailed states only the newest row has a known meaning: the waybill's own state."""
    timed = [(at, row) for row in track.traces if (at := maybe_instant(row.accept_time, CHINA))]
    timed.sort(key=lambda one: one[0])
    made = []
    for number, (at, row) in enumerate(timed, 1):
        code, words = row.action or (overall if number == len(timed) else None), row.accept_station or ""
        status, exception = _meaning(code, words)
        made.append(Scan(at=at, status=status, exception=exception, text=words, place=row.location, code=code))
    return tuple(made)


def _parcel(track: Track) -> Parcel:
    overall = next((code for code in (track.state_ex, track.state) if code and code != "0"), None)
    scans = _scans(track, overall)
    status, exception = (scans[-1].status, scans[-1].exception) if scans else (ParcelStatus.PENDING, None)
    if overall:
        status, exception = _meaning(overall, scans[-1].text if scans else "")
    known = carriers.carrier(track.shipper_code or "")
    return Parcel(
        waybill=track.waybill,
        carrier=known.code if known else track.shipper_code,
        carrier_name=known.name if known else None,
        status=status,
        exception=exception,
        eta=maybe_instant(track.estimated_delivery_time, CHINA),
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        scans=scans,
    )


def _seen(track: Track, otherwise: datetime, case: str | None) -> ParcelSeen:
    """The snapshot as an event; it dates from its newest scan, or from ``otherwise`` where there is none."""
    parcel = _parcel(track)
    refs = [Ref(kind=RefKind.WAYBILL, value=parcel.waybill)]
    if case and CASE.fullmatch(case):
        refs.append(Ref(kind=RefKind.CASE, value=case))
    at, stamp = parcel.dated(otherwise), parcel.last.at.isoformat() if parcel.last else ""
    code = track.state_ex or track.state or ""
    key = f"kdniao:{track.shipper_code or ''}:{parcel.waybill}:{stamp}:{code}:{len(parcel.scans)}"
    return ParcelSeen(key=key, at=at, refs=tuple(refs), parcel=parcel)


class Kdniao(Plugin, ReceivesWebhooks, TracksParcels, Probes):
    """An account at Kdniao."""

    title: ClassVar[str] = "Kdniao (快递鸟)"
    reference: ClassVar[str] = "https://www.kdniao.com/api-track"
    pushes: ClassVar[bool] = True

    business_id: str = Field(min_length=1, description="EBusinessID (用户ID), shown in Kdniao's console")
    app_key: Secrets = Field(description="API key; signs calls (the first live one) and verifies pushes (any live one)")
    push_token: Secrets | None = Field(None, description="expected as ?token=… in the push address; recommended")
    url: str = Field("https://api.kdniao.com", description="address of the API, or of the sandbox")
    query_path: str = Field("/Ebusiness/EbusinessOrderHandle.aspx", description="path of queries and recognition")
    dist_path: str = Field("/api/dist", description="path of subscriptions")
    query_type: Literal["1002", "8001"] = Field("8001", description="8001 (value-added) knows detailed states")
    subscribe_type: Literal["1008", "8008"] = Field("8008", description="8008 (value-added) knows detailed states")
    carrier: str | None = Field(None, description="carrier of parcels that name none; left out, Kdniao recognises it")
    phone_tail_for: tuple[str, ...] = Field(("SF",), description="carriers that show scans only for a phone number")
    customer_names: dict[str, str] = Field(
        default_factory=dict, description="a fixed CustomerName by shipper code, such as JD's merchant code"
    )
    probe_waybill: str = Field("YT0000000000001", description="number whose carrier is asked for to try the account")
    quota_words: tuple[str, ...] = Field(
        ("次数", "超限", "上限", "额度", "余额", "套餐"), description="what a used-up plan's refusal says"
    )
    busy_words: tuple[str, ...] = Field(("繁忙", "稍后", "超时"), description="what a passing refusal says")
    credential_words: tuple[str, ...] = Field(
        ("签名", "datasign", "ebusinessid", "商户", "appkey"), description="what a refusal of our credentials says"
    )
    rate: str | None = Field("10/s", description="most calls to Kdniao, e.g. '10/s'")

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """Ask for all scans so far; an answer without any is a parcel that is not scanned yet."""
        shipper, note = await self._shipper(action, ctx)
        about = self._about(action, shipper)
        answer = await self._call(ctx, self.query_path, self.query_type, about)
        named = {"shipper_code": answer.shipper_code or shipper, "logistic_code": about["LogisticCode"]}
        return Result(events=(_seen(answer.model_copy(update=named), ctx.now(), ctx.case),), note=note)

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Subscribe; the case's id comes back with each push."""
        shipper, note = await self._shipper(action, ctx)
        about = self._about(action, shipper)
        if ctx.case:
            about["Callback"] = ctx.case
        await self._call(ctx, self.dist_path, self.subscribe_type, about)
        return Result(id=f"{shipper}:{about['LogisticCode']}", note=note)

    async def probe(self, ctx: Context) -> str:
        """Ask for the carrier of a number; that it is unknown, or the plan used up, shows the credentials as good."""
        answer = await self._ask(ctx, self.query_path, "2002", {"LogisticCode": self.probe_waybill})
        refusal = None if answer.success else self._refusal(answer.reason or "")
        if isinstance(refusal, Unavailable | Unauthorised) and refusal.retry_after != USED_UP_FOR:
            raise refusal
        return f"Kdniao answers for {self.business_id}: {answer.reason or 'ready'}"

    async def _shipper(self, action: QueryParcel | TrackParcel, ctx: Context) -> tuple[str, str | None]:
        """Kdniao's code of the carrier, and a note where it had to be recognised among several."""
        given = action.carrier or self.carrier or ""
        known = carriers.carrier(given)
        if known and known.kdniao:
            return known.kdniao, None
        if not known and CODE.fullmatch(given.upper()):
            return given.upper(), None
        return await self._recognise(normalise(action.waybill), ctx)

    async def _recognise(self, waybill: str, ctx: Context) -> tuple[str, str | None]:
        answer = await self._call(ctx, self.query_path, "2002", {"LogisticCode": waybill})
        found = [one.shipper_code for one in answer.shippers if one.shipper_code]
        if not found:
            raise Rejected(f"Kdniao knows no carrier for {waybill}", hint="name the parcel's carrier")
        others = ", ".join(found[1:])
        return found[0], f"carrier taken as {found[0]}; {waybill} may also be of {others}" if others else None

    def _about(self, action: QueryParcel | TrackParcel, shipper: str) -> dict[str, str]:
        about = {"ShipperCode": shipper, "LogisticCode": normalise(action.waybill)}
        if shipper in self.phone_tail_for:
            if not action.phone_tail:
                cause = f"{shipper} shows scans only with the last 4 digits of the sender's or receiver's phone"
                raise Rejected(cause, hint="add the phone number to the order's address, then retry")
            about["CustomerName"] = action.phone_tail[-4:]
        elif shipper in self.customer_names:
            about["CustomerName"] = self.customer_names[shipper]
        return about

    async def _call(self, ctx: Context, path: str, kind: str, about: dict[str, str]) -> Answer:
        answer = await self._ask(ctx, path, kind, about)
        if not answer.success:
            raise self._refusal(answer.reason or "")
        return answer

    async def _ask(self, ctx: Context, path: str, kind: str, about: dict[str, str]) -> Answer:
        content = dump_json(about)
        form = {
            "RequestData": content,
            "EBusinessID": self.business_id,
            "RequestType": kind,
            "DataSign": data_sign(content, self._key(ctx.now())),
            "DataType": "2",
        }
        headers = {"Content-Type": f"{FORM};charset=utf-8"}
        response = await ctx.http.post(self.url.rstrip("/") + path, data=form, headers=headers)
        response.raise_for_status()
        return Answer.model_validate_json(response.content)

    def _key(self, now: datetime) -> str:
        if keys := live(self.app_key, now):
            return keys[0]
        raise Unauthorised("no app_key is live", hint="put a current app_key into the account's settings")

    def _refusal(self, reason: str) -> DeliveryError:
        """The error that a refusal's words mean; the HTTP status is 200 for all of them."""

        def says(words: Iterable[str]) -> bool:
            return any(word.lower() in reason.lower() for word in words)

        cause = f"Kdniao: {reason or 'refused without a reason'}"
        if says(self.quota_words):
            hint = "the plan's queries are used up: extend it in Kdniao's console"
            return Unavailable(cause, hint=hint, retry_after=USED_UP_FOR)
        if says(self.busy_words):
            return Unavailable(cause)
        if says(self.credential_words):
            return Unauthorised(cause, hint="compare business_id and app_key with Kdniao's console")
        return Rejected(cause)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the token of the address, the signature over the content, and whose content it is."""
        if request.content_type not in {"", FORM}:
            raise WrongType(f"expected {FORM}")
        if self.push_token and not any_matches(request.query.get("token", ""), live(self.push_token, now)):
            raise Unverified("the address lacks the account's push token")
        form = read_form(request.body)
        reading = self._reading(form, now)
        content = _content(form.get("RequestData", ""), reading)
        if text(content.get("EBusinessID")) != self.business_id:
            raise Unverified("the push is for another EBusinessID")
        alone = dig(content, "Data", 1) is None
        return Receipt(lane=text(dig(content, "Data", 0, "LogisticCode")) if alone else None, meta={"reading": reading})

    def _reading(self, form: dict[str, str], now: datetime) -> str:
        given, value = unquote(form.get("DataSign", "")), form.get("RequestData", "")
        for name, read in READINGS.items():
            if any_matches(given, [data_sign(read(value), key) for key in live(self.app_key, now)]):
                return name
        raise Unverified("DataSign does not fit the content")

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One snapshot for each waybill of the push; entries that Kdniao itself marks as failed give none."""
        form = read_form(inbound.body)
        if form.get("RequestType") not in {"101", "102"}:
            return ()
        content = _content(form.get("RequestData", ""), inbound.meta.get("reading"))
        try:
            push = Push.model_validate(content)
            pushed = maybe_instant(push.push_time, CHINA) or inbound.received_at
            return [_seen(one, pushed, one.call_back) for one in push.data if one.success and one.waybill]
        except ValidationError as error:
            raise Malformed("the push holds values that are no parcel's") from error

    def reply(self, request: WebRequest) -> Reply:
        """What Kdniao waits for; without ``Success`` it pushes again. The time is the push's own: no clock is lent."""
        pushed = text(_content(read_form(request.body).get("RequestData", "")).get("PushTime"))
        answer = {"EBusinessID": self.business_id, "UpdateTime": pushed or "", "Success": True, "Reason": ""}
        return Reply(body=dump_json(answer).encode())

    def samples(self) -> tuple[str, ...]:
        """A push of a plain subscription (101) and one with detailed states (102)."""
        return ("101", "102")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A signed push of a parcel that arrived damaged."""
        if name not in self.samples():
            return None
        stamp = now.astimezone(ZoneInfo(CHINA)).strftime("%Y-%m-%d %H:%M:%S")
        detailed = name == "102"
        row = {"AcceptTime": stamp, "AcceptStation": "快件外包装破损", "Location": "杭州市"}
        track: dict[str, Any] = {"ShipperCode": "YTO", "LogisticCode": "YT0000000000001", "Success": True, "State": "4"}
        track |= {"Traces": [row | {"Action": "414"}], "StateEx": "414"} if detailed else {"Traces": [row]}
        push = {"EBusinessID": self.business_id, "PushTime": stamp, "Count": "1", "Data": [track]}
        content = dump_json(push)
        form = {"RequestData": content, "RequestType": name, "DataSign": data_sign(content, self._key(now))}
        tokens = live(self.push_token or (), now)
        query = {"token": tokens[0]} if tokens else {}
        headers = {"Content-Type": f"{FORM};charset=utf-8"}
        return WebRequest("POST", f"/hooks/{self.account}", query, headers, urlencode(form).encode())


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """Kdniao."""
    return [Kdniao]
