"""EasyPost, an aggregator of carriers that also insures parcels: trackers, claims on insured parcels, webhooks.

What it does: trackers are created once for each parcel and pushed from then on (``tracker.updated``), or asked for;
claims are filed with evidence, looked up by our reference or by parcel, and followed by webhook (``claim.*``); a
question about a claim becomes words of the carrier's in the case. Webhooks are verified by their HMAC and registered by
``rmabridge accounts connect``. Claims are taken only for parcels that were insured at EasyPost before the loss, in USD.
It files no USPS carrier claims (EP Guard): EasyPost does that by itself.

Reference: https://docs.easypost.com/docs/trackers and https://docs.easypost.com/docs/insurance/claims

Not verified, and therefore settings: a status for a claim whose money was sent (``statuses``; none is documented, so
"paid" is a guess), the call that answers a question (``message_path``, off), and whether missing contents may be filed
as theft (``theft``, off). That a claim may not ask for more than the insured value is taken from the insurance's
nature (``insured``). How long creating a tracker again answers the same one is not verified either: a query therefore
looks for the tracker first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final
from unicodedata import normalize

from pydantic import Field, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import (
    Connects,
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
from rmabridge.errors import Malformed, Unauthorised, Unverified, WrongType
from rmabridge.model import Event, QueryParcel, TrackParcel
from rmabridge.wire import carriers
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, hmac_hex
from rmabridge.wire.waybills import normalise

from .claiming import Claiming
from .reading import Claim, Question, Tracker, carrier_names, parcel_seen, question_asked

JSON: Final = "application/json"
TRACKED: Final = frozenset({"tracker.created", "tracker.updated"})
CLAIMED: Final = frozenset(f"claim.{one}" for one in ("submitted", "updated", "approved", "rejected", "cancelled"))
ASKED: Final = "claim.message"


def signature(secret: str, body: bytes) -> str:
    """The value of ``X-Hmac-Signature``; letters with accents are taken apart before they become the key."""
    return f"hmac-sha256-hex={hmac_hex(normalize('NFKD', secret), body)}"


class EasyPost(Claiming, ReceivesWebhooks, TracksParcels, Probes, Connects):
    """An account at EasyPost."""

    title: ClassVar[str] = "EasyPost"
    reference: ClassVar[str] = "https://docs.easypost.com"
    pushes: ClassVar[bool] = True

    secret: Secrets = Field(description="webhook secret; the first live one is registered, any live one verifies")
    carrier_names: dict[str, str] = Field(
        default_factory=dict, description="EasyPost's names of carriers by the bridge's codes, beyond the built-in ones"
    )

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Create the tracker; for a parcel that has one, EasyPost answers that."""
        return await self._create(action.waybill, action.carrier, ctx)

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """The parcel's tracker, which is created where there is none."""
        code = normalise(action.waybill)
        told = await self._call(ctx, "GET", "/trackers", params={"tracking_code": code})
        found = [Tracker.model_validate(one) for one in told.get("trackers") or ()]
        for tracker in found:
            if normalise(tracker.tracking_code) == code:
                return self._shown(tracker, action.carrier, ctx)
        return await self._create(action.waybill, action.carrier, ctx)

    async def _create(self, waybill: str, carrier: str | None, ctx: Context) -> Result:
        asked = {"tracking_code": normalise(waybill)}
        if name := self._name(carrier):
            asked["carrier"] = name
        tracker = Tracker.model_validate(await self._call(ctx, "POST", "/trackers", json={"tracker": asked}))
        return self._shown(tracker, carrier, ctx)

    def _shown(self, tracker: Tracker, stated: str | None, ctx: Context) -> Result:
        seen = parcel_seen(tracker, ctx.now())
        other = stated and seen.parcel.carrier and _code(stated) != _code(seen.parcel.carrier)
        note = f"stated as a parcel of {stated}, EasyPost finds it at {tracker.carrier}" if other else None
        return Result(id=tracker.id, url=tracker.public_url, events=(seen,), note=note)

    def _name(self, carrier: str | None) -> str | None:
        """EasyPost's name of the carrier; None leaves it to EasyPost's recognition."""
        return {**carrier_names(), **self.carrier_names}.get(_code(carrier)) if carrier else None

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature over the raw bytes; the lane is the parcel or the claim."""
        if request.content_type not in {"", JSON}:
            raise WrongType(f"expected {JSON}")
        signed = [signature(one, request.body) for one in live(self.secret, now)]
        if not any_matches(request.headers.get("X-Hmac-Signature", ""), signed):
            raise Unverified("X-Hmac-Signature does not fit the body")
        body = read_object(request.body)
        lane = text(dig(body, "result", "claim_id") or dig(body, "result", "id"))
        return Receipt(id=text(body.get("id")), lane=lane)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One event for news of a parcel or a claim; none for batches, insurances and what is not known."""
        body = read_object(inbound.body)
        topic, result = text(body.get("description")), body.get("result")
        try:
            return self._events(topic, result, inbound.received_at)
        except ValidationError as error:
            raise Malformed(f"{topic} holds values that are none of EasyPost's") from error

    def _events(self, topic: str | None, result: Any, at: datetime) -> list[Event]:
        if topic in TRACKED:
            return [parcel_seen(Tracker.model_validate(result), at)]
        if topic == ASKED:
            question = Question.model_validate(result)
            return [question_asked(question, at)] if question.direction == "outbound" else []
        if topic not in CLAIMED:
            return []
        return list(self._seen(Claim.model_validate(result), at))

    async def probe(self, ctx: Context) -> str:
        """Ask for the newest tracker."""
        told = await self._call(ctx, "GET", "/trackers", params={"page_size": 1})
        mode = text(dig(told, "trackers", 0, "mode"))
        return f"EasyPost answers, in {mode} mode" if mode else "EasyPost answers; there are no trackers yet"

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """Register the address once, for all events; one that EasyPost switched off is switched on again."""
        secrets = live(self.secret, ctx.now())
        if not secrets:
            raise Unauthorised("no webhook secret is live", hint="put a current secret into the account's settings")
        told = await self._call(ctx, "GET", "/webhooks")
        ours = [one for one in told.get("webhooks") or () if dig(one, "url") == url]
        if any(not dig(one, "disabled_at") for one in ours):
            return ()
        if ours:
            wanted = {"webhook": {"webhook_secret": secrets[0]}}
            await self._call(ctx, "PATCH", f"/webhooks/{dig(ours[0], 'id')}", json=wanted)
        else:
            wanted = {"webhook": {"url": url, "webhook_secret": secrets[0]}}
            await self._call(ctx, "POST", "/webhooks", json=wanted)
        return ()

    def samples(self) -> tuple[str, ...]:
        """A parcel that moves, and a claim that is granted."""
        return ("tracker.updated", "claim.approved")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A signed webhook."""
        if name not in self.samples():
            return None
        stamp = now.isoformat().replace("+00:00", "Z")
        tracker = {"id": "trk_1", "tracking_code": "EZ1000000001", "carrier": "USPS", "status": "in_transit"}
        line = {"message": "Arrived at facility", "status": "in_transit", "datetime": stamp}
        claim = {"id": "clm_1", "tracking_code": "EZ1000000001", "type": "loss", "status": "approved"}
        result: dict[str, Any] = (
            tracker | {"updated_at": stamp, "tracking_details": [line]}
            if name == "tracker.updated"
            else claim | {"status_timestamp": stamp, "requested_amount": "80.00", "approved_amount": "80.00"}
        )
        event = {"id": f"evt_{int(now.timestamp())}", "object": "Event", "description": name, "result": result}
        body = dump_json(event).encode()
        keys = live(self.secret, now)
        headers = {"Content-Type": JSON, "X-Hmac-Signature": signature(keys[0], body) if keys else ""}
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)


def _code(carrier: str) -> str:
    known = carriers.carrier(carrier)
    return known.code if known else carrier


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """EasyPost."""
    return [EasyPost]
