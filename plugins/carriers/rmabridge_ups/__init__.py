"""UPS: packages on request (Tracking API) and pushed activities (Track Alert).

What it does: asks for a package with its history, and subscribes to a package's activities, which UPS pushes for 14
days. Calls carry an OAuth token (client credentials), which is kept and renewed half an hour before its end. UPS signs
no push: it sends a credential that is set with the webhook's address (``/hooks/{account}``) under "Manage Webhook
Credentials" on developer.ups.com, or, with ``alert_version = "v1"``, handed over with each subscription. Without a
``credential`` the door stays shut.

Not built: claims (there is no public call; they go through UPS's portal), labels of returns and interception, and
webhooks for which UPS asks a token server of the shop's own for a token.

Reference: https://developer.ups.com/api/reference/trackingapi and https://github.com/UPS-API/api-documentation

Not verified, and therefore settings: in which headers version 2 brings the credential (``credential_headers``). That a
package which goes back is delivered to its sender under the code of any delivery is likely (``turn_round``). Which of
the 774 activity codes mean damage or loss comes from a public list, not from UPS.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, ValidationError

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
    held_token,
    keep_token,
    live,
    token_mark,
)
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Event, QueryParcel, TrackParcel
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches
from rmabridge.wire.waybills import normalise

from .reading import Alert, Package, news, snapshot

JSON: Final = "application/json"
REFUSED: Final = 401
GRANT: Final = {"grant_type": "client_credentials"}
EARLY: Final = timedelta(minutes=30)
# Refusals of credentials and of haste speak for themselves; what is left names a mistake in the request.
PLAIN: Final = frozenset({401, 403, 408, 425, 429})

UNSEEN: Final = "TW0001"


class NotSeen(Rejected):
    """UPS knows no such number, or not yet: it answers with a 404 or, in a 200, with a warning."""


class Ups(Plugin, ReceivesWebhooks, TracksParcels, Probes):
    """An application at UPS."""

    title: ClassVar[str] = "UPS"
    reference: ClassVar[str] = "https://developer.ups.com/api/reference"
    pushes: ClassVar[bool] = True

    client_id: str = Field(min_length=1, description="client id of the application on developer.ups.com")
    client_secret: SecretStr = Field(min_length=1, description="secret of the application")
    merchant_id: str | None = Field(None, description="account number, where the application acts for several")
    credential: Secrets | None = Field(
        None, description="what UPS sends with pushes, as set on developer.ups.com; without it no push is taken"
    )
    credential_headers: tuple[str, ...] = Field(
        ("credential", "authorization"), description="headers in which UPS may send it; 'Bearer ' before it is dropped"
    )
    url: str = Field("https://onlinetools.ups.com", description="address of the API, or of its test system")
    alert_version: Literal["v1", "v2"] = Field(
        "v2", description="version of Track Alert; v1 hands address and credential over with each subscription"
    )
    alert_type: Literal["standard", "enhanced"] = Field("standard", description="the kind of Track Alert you pay for")
    event_preferences: tuple[str, ...] = Field(
        ("D", "I", "M"), description="types of activities that an enhanced subscription asks for"
    )
    locale: str = Field("en_US", pattern=r"^[a-z]{2}_[A-Z]{2}$", description="language of the activities' words")
    country: str = Field("US", pattern=r"^[A-Z]{2}$", description="country that subscriptions name")
    turn_round: bool = Field(
        True, description="take a parcel that is delivered on its way back for returned, not for delivered"
    )
    source: str = Field("rmabridge", min_length=1, description="what UPS is told of who calls")
    rate: str | None = Field("10/s", description="most calls to UPS, e.g. '10/s'")

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """The package with all its activities; UPS answers a number that it has not seen with a warning."""
        waybill = normalise(action.waybill)
        params = {"locale": self.locale, "returnSignature": "false", "returnMilestones": "false", "returnPOD": "false"}
        try:
            told = await self._call(ctx, "GET", f"/api/track/v1/details/{quote(waybill, safe='')}", params=params)
        except NotSeen as error:
            return Result(events=(snapshot(waybill, Package(), ctx.now()),), note=error.cause)
        shipments = dig(told, "trackResponse", "shipment")
        if not isinstance(shipments, list):
            raise Unavailable("UPS's answer holds no shipment")
        packages = [Package.model_validate(one) for held in shipments for one in dig(held, "package") or ()]
        mine = [one for one in packages if normalise(one.trackingNumber or "") == waybill]
        warning = text(dig(shipments, 0, "warnings", 0, "message"))
        note = None if mine else f"UPS: {warning or 'no package of this number'}"
        seen = snapshot(waybill, (mine or [Package()])[0], ctx.now(), turns=self.turn_round)
        return Result(events=(seen,), note=note)

    async def track(self, action: TrackParcel, ctx: Context) -> Result:
        """Subscribe for 14 days; to subscribe again does no harm."""
        waybill = normalise(action.waybill)
        wanted: dict[str, Any] = {"locale": self.locale, "countryCode": self.country, "trackingNumberList": [waybill]}
        wanted |= {"eventPreferences": list(self.event_preferences)} if self.alert_type == "enhanced" else {}
        wanted |= {"destination": self._destination(ctx)} if self.alert_version == "v1" else {}
        path = f"/api/track/{self.alert_version}/subscription/{self.alert_type}/package"
        told = await self._call(ctx, "POST", path, content=dump_json(wanted))
        taken = told.get("validTrackingNumbers")
        if not isinstance(taken, list) or waybill not in taken:
            raise Rejected(f"UPS takes no subscription for {waybill}", hint="only numbers that begin with 1Z are taken")
        return Result(id=waybill)

    async def probe(self, ctx: Context) -> str:
        """Ask for a new token."""
        await self._renew(ctx)
        return f"UPS grants a token to {self.client_id}"

    def _destination(self, ctx: Context) -> dict[str, str]:
        credentials = live(self.credential or (), ctx.now())
        if not ctx.public_url or not credentials:
            hint = "set [bridge] public_url and the account's credential, or use alert_version v2"
            raise Rejected("UPS v1 wants an address and a credential with each subscription", hint=hint)
        address = f"{ctx.public_url}/hooks/{self.account}"
        return {"url": address, "credentialType": "Bearer", "credential": credentials[0]}

    async def _call(self, ctx: Context, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """One call with a token; a stored one that UPS has forgotten is replaced, and the call made with the new."""
        held = await held_token(ctx, self._mark(), early=EARLY)
        response = await self._send(ctx, method, path, held or await self._renew(ctx), **parts)
        if response.status_code == REFUSED and held:
            response = await self._send(ctx, method, path, await self._renew(ctx), **parts)
        if 400 <= response.status_code < 500 and response.status_code not in PLAIN:
            refused = NotSeen if response.status_code == 404 and UNSEEN in response.text else Rejected
            raise refused(f"UPS {response.status_code}: {_reason(response)}")
        response.raise_for_status()
        return read_object(response.content)

    async def _send(self, ctx: Context, method: str, path: str, token: str, **parts: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "transactionSrc": self.source, "Content-Type": JSON}
        headers["transId"] = ctx.idempotency_key.replace("-", "")
        return await ctx.http.request(method, self.url.rstrip("/") + path, headers=headers, **parts)

    async def _renew(self, ctx: Context) -> str:
        """A new token, which is stored before it is used."""
        key = b64encode(f"{self.client_id}:{self.client_secret.get_secret_value()}".encode()).decode()
        headers = {"Authorization": f"Basic {key}"} | ({"x-merchant-id": self.merchant_id} if self.merchant_id else {})
        address = f"{self.url.rstrip('/')}/security/v1/oauth/token"
        response = await ctx.http.post(address, data=GRANT, headers=headers, extensions={"reads": True})
        if response.status_code == REFUSED:
            raise Unauthorised(f"UPS 401: {_reason(response)}", hint="compare client_id and client_secret with UPS's")
        response.raise_for_status()
        told = read_object(response.content)
        token, seconds = text(told.get("access_token")), text(told.get("expires_in")) or ""
        if not token or not seconds.isdecimal():
            raise Unavailable("UPS's answer holds no token")
        return await keep_token(ctx, self._mark(), token, int(seconds))

    def _mark(self) -> str:
        return token_mark(self.url, self.client_id, self.merchant_id)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the credential, which is all that UPS sends to show who it is; the lane is the package."""
        if request.content_type not in {"", JSON}:
            raise WrongType(f"expected {JSON}")
        good = live(self.credential or (), now)
        given = [request.headers.get(name, "") for name in self.credential_headers]
        if not any(any_matches(one.strip().removeprefix("Bearer "), good) for one in given):
            raise Unverified("no header holds the account's credential")
        number = normalise(text(read_object(request.body).get("trackingNumber")) or "")
        return Receipt(lane=number or None)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One event for the activity."""
        try:
            return news(Alert.model_validate(read_object(inbound.body)), inbound.received_at, turns=self.turn_round)
        except ValidationError as error:
            raise Malformed("the push holds values that are no activity's") from error

    def samples(self) -> tuple[str, ...]:
        """A pushed activity."""
        return ("TrackingEvent",)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A push about a package that was damaged."""
        if name not in self.samples():
            return None
        status = {"type": "X", "code": "HR", "description": "Package damaged", "descriptionCode": "013"}
        place = {"city": "CHARLOTTE", "stateProvince": "NC", "postalCode": "", "country": "US"}
        alert = {"trackingNumber": "1Z999AA10123456784", "activityStatus": status, "activityLocation": place}
        alert |= {"gmtActivityDate": f"{now:%Y%m%d}", "gmtActivityTime": f"{now:%H%M%S}"}
        credential = next(iter(live(self.credential or (), now)), "")
        headers = {"Content-Type": JSON, next(iter(self.credential_headers), "credential"): credential}
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, dump_json(alert).encode())


def _reason(response: httpx.Response) -> str:
    """The refusal in UPS's words."""
    try:
        error = dig(read_object(response.content), "response", "errors", 0)
    except Malformed:
        return response.reason_phrase
    said = [text(dig(error, name)) for name in ("code", "message")]
    return " ".join(filter(None, said)) or response.reason_phrase


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """UPS."""
    return [Ups]
