"""17TRACK, an aggregator of more than a thousand carriers: registration of numbers, their tracks, signed webhooks.

What it does: a number is registered once (one credit) and pushed from then on (``TRACKING_UPDATED``, signed), or its
track is asked for, which costs nothing. A number that was registered before counts as registered. The case's id goes
along as the number's tag and comes back with each webhook. Set the webhook's address (``/hooks/{account}``) and a
version 2.2 or later in 17TRACK's console. ``TRACKING_STOPPED`` carries no track and is left alone. There are no calls
for claims or returns, and the paid real-time query is not used.

Reference: https://asset.17track.net/api/document/v2.2_en/index.html

Not verified, and therefore settings: which carriers want a phone number beside the number (``phone_tail_for``); all
refusals that name a missing postcode, country or phone wait for a person. How often a failed webhook is sent again is
not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import Field, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Inbound,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Result,
    Secrets,
    TracksParcels,
    WebRequest,
    live,
)
from rmabridge.errors import DeliveryError, Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Event, QueryParcel, TrackParcel
from rmabridge.wire import carriers
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, digest_hex
from rmabridge.wire.waybills import normalise

from .reading import Tracked, parcel_seen

JSON: Final = "application/json"
UPDATED: Final = "TRACKING_UPDATED"
ALREADY: Final = -18019901
NOT_REGISTERED: Final = -18019902
NOTHING_YET: Final = -18019909
BUSY: Final = frozenset({-18010003, -18019815, -18019816})
CREDENTIALS: Final = frozenset({-18010001, -18010002, -18010004, -18010005})
USED_UP: Final = frozenset({-18019907, -18019908})
USED_UP_FOR: Final = 6 * 3600.0
HINTS: Final[dict[int, str]] = {
    -18010018: "the carrier wants country and postcode: register the number in 17TRACK's console",
    -18010019: "the carrier wants the postcode: register the number in 17TRACK's console",
    -18010020: "the carrier wants a phone number: name it in phone_tail_for",
    -18019903: "17TRACK cannot tell the carrier: name the parcel's carrier",
    -18019907: "the day's limit is reached: retry tomorrow",
    -18019908: "the credits are used up: buy more in 17TRACK's console, then retry",
}


def signature(body: bytes, key: str) -> str:
    """The header ``sign``: a plain SHA-256 over the raw body, a slash and the key."""
    return digest_hex(body + b"/" + key.encode(), "sha256")


class SeventeenTrack(Plugin, ReceivesWebhooks, TracksParcels, Probes):
    """An account at 17TRACK."""

    title: ClassVar[str] = "17TRACK"
    reference: ClassVar[str] = "https://asset.17track.net/api/document/v2.2_en/index.html"
    pushes: ClassVar[bool] = True

    api_key: Secrets = Field(description="access key; sent with calls (the first live one), verifies webhooks (any)")
    url: str = Field("https://api.17track.net/track/v2.2", description="address of the API with its version")
    carrier: str | None = Field(None, description="carrier of parcels that name none; left out, 17TRACK recognises it")
    language: str | None = Field(None, description="language that scans are translated into, e.g. 'en'")
    phone_tail_for: tuple[str, ...] = Field(
        (), description="17TRACK's numbers of carriers that are told the last 4 digits of the phone, e.g. '100012'"
    )
    timeout: float = Field(25.0, gt=0, le=28, description="seconds to wait for an answer of 17TRACK's")
    rate: str | None = Field("3/s", description="most calls to 17TRACK, e.g. '3/s', which is its limit")

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Register the number; one that is registered is not charged again."""
        about = self._about(action)
        return Result(id=f"{about['number']}:{await self._register(about, action, ctx)}")

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """The track so far. A number that was never registered is registered, and its scans follow by webhook."""
        about = self._about(action)
        told, code = await self._one("gettrackinfo", about, ctx)
        note = None
        if code == NOT_REGISTERED:
            about |= {"carrier": number} if (number := await self._register(about, action, ctx)).isdecimal() else {}
            note = "registered at 17TRACK just now: its scans follow"
        elif code not in {None, NOTHING_YET}:
            raise self._refusal(code, told)
        shown = told if code is None else {"number": about["number"], "carrier": about.get("carrier"), "tag": ctx.case}
        return Result(events=(parcel_seen(Tracked.model_validate(shown), ctx.now()),), note=note)

    async def probe(self, ctx: Context) -> str:
        """Ask for the credits that are left."""
        told = await self._call("getquota", [], ctx)
        return f"17TRACK answers; {text(dig(told, 'data', 'quota_remain')) or 'an unknown number of'} credits are left"

    async def _register(self, about: dict[str, Any], action: QueryParcel | TrackParcel, ctx: Context) -> str:
        """17TRACK's number of the carrier, as it was registered."""
        wanted: dict[str, Any] = about | {"auto_detection": True} | ({"tag": ctx.case} if ctx.case else {})
        wanted |= {"lang": self.language} if self.language else {}
        if str(about.get("carrier")) in self.phone_tail_for and action.phone_tail:
            wanted["param"] = action.phone_tail[-4:]
        told, code = await self._one("register", wanted, ctx)
        if code not in {None, ALREADY}:
            raise self._refusal(code, told)
        return text(told.get("carrier")) or text(about.get("carrier")) or "auto"

    def _about(self, action: QueryParcel | TrackParcel) -> dict[str, Any]:
        """The number and, where the bridge knows it, 17TRACK's own number of the carrier."""
        about: dict[str, Any] = {"number": normalise(action.waybill)}
        given = action.carrier or self.carrier or ""
        known = carriers.carrier(given)
        number = known.seventeentrack if known else given
        return about | ({"carrier": int(number)} if number and number.isascii() and number.isdecimal() else {})

    async def _one(self, call: str, about: dict[str, Any], ctx: Context) -> tuple[dict[str, Any], int | None]:
        """What became of the one number of a call: what was accepted, or what was rejected and its code."""
        told = await self._call(call, [about], ctx)
        if isinstance(accepted := dig(told, "data", "accepted", 0), dict):
            return accepted, None
        rejected = dig(told, "data", "rejected", 0)
        if not isinstance(rejected, dict):
            raise Unavailable("17TRACK neither accepts nor rejects the number")
        code = dig(rejected, "error", "code")
        return rejected, code if isinstance(code, int) else 0

    async def _call(self, call: str, asked: list[dict[str, Any]], ctx: Context) -> dict[str, Any]:
        headers = {"17token": self._key(ctx.now()), "Content-Type": JSON}
        address = f"{self.url.rstrip('/')}/{call}"
        response = await ctx.http.post(address, content=dump_json(asked), headers=headers, timeout=self.timeout)
        response.raise_for_status()
        told = read_object(response.content)
        error = dig(told, "data", "errors", 0)
        code = told.get("code") or dig(error, "code") or 0
        if code != 0 or "data" not in told:
            raise self._refusal(code if isinstance(code, int) else 0, {"error": error} if error else told)
        return told

    def _key(self, now: datetime) -> str:
        if keys := live(self.api_key, now):
            return keys[0]
        raise Unauthorised("no api_key is live", hint="put a current api_key into the account's settings")

    def _refusal(self, code: int | None, told: dict[str, Any]) -> DeliveryError:
        """The error that a code of 17TRACK's means."""
        words = text(dig(told, "error", "message")) or text(told.get("message")) or "refused without a reason"
        cause = f"17TRACK: {words} ({code})"
        if code in BUSY:
            return Unavailable(cause)
        if code in CREDENTIALS:
            return Unauthorised(cause, hint="compare api_key and the allowed addresses with 17TRACK's console")
        if code in USED_UP:
            return Unavailable(cause, hint=HINTS[code], retry_after=USED_UP_FOR)
        return Rejected(cause, hint=HINTS.get(code or 0, ""))

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature over the raw bytes; the lane is the number."""
        if request.content_type not in {"", JSON}:
            raise WrongType(f"expected {JSON}")
        signed = [signature(request.body, one) for one in live(self.api_key, now)]
        if not any_matches(request.headers.get("sign", "").lower(), signed):
            raise Unverified("sign does not fit the body")
        return Receipt(lane=text(dig(read_object(request.body), "data", "number")))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One snapshot for news of a parcel; none for the end of a registration."""
        body = read_object(inbound.body)
        if body.get("event") != UPDATED:
            return ()
        try:
            return [parcel_seen(Tracked.model_validate(body.get("data")), inbound.received_at)]
        except ValidationError as error:
            raise Malformed("the webhook holds values that are no parcel's") from error

    def samples(self) -> tuple[str, ...]:
        """News of a parcel."""
        return (UPDATED,)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A signed webhook of a parcel that arrived damaged."""
        if name not in self.samples():
            return None
        code, stamp = "Exception_Damage", now.isoformat()
        line = {"time_utc": stamp, "description": "Package damaged", "location": "CHICAGO", "sub_status": code}
        info: dict[str, Any] = {"latest_status": {"status": "Exception", "sub_status": code}}
        info |= {"tracking": {"providers_hash": 1, "providers": [{"events": [line]}]}}
        data = {"number": "RR123456785CN", "carrier": 3011, "tag": None, "track_info": info}
        body = dump_json({"event": UPDATED, "data": data}).encode()
        headers = {"Content-Type": JSON, "sign": signature(body, self._key(now))}
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """17TRACK."""
    return [SeventeenTrack]
