"""A small UPS: tokens, packages with their activities, and Track Alert with its pushes."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from aiohttp import web

from .server import Simulator

NUMBER = re.compile(r"1Z[0-9A-Z]{16}")
LIFE = timedelta(seconds=14399)
MOST = 100
EASTERN = timedelta(hours=-5)


class Refusal(Exception):
    """An error in UPS's form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class UpsSim(Simulator):
    """UPS on loopback. ``do_ship`` and ``do_scan`` are UPS at work; subscribed packages are pushed to ``hook``."""

    name: ClassVar[str] = "ups"

    def __init__(
        self,
        client_id: str = "client",
        client_key: str = "word-1",
        credential: str = "word-2",
        *,
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.client_id, self.secret, self.credential = client_id, client_key, credential
        self.books |= {"tokens": [], "subscriptions": {}, "queries": [], "refusals": [], "ids": []}
        self.packages: dict[str, list[dict[str, Any]]] = {}
        self._tokens: dict[str, datetime] = {}
        self._refuse: list[Refusal] = []
        self._sent = b""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/security/v1/oauth/token", self._token_door),
            web.get("/api/track/v1/details/{number}", self._details_door),
            web.post("/api/track/{version}/subscription/{type}/package", self._subscribe_door),
        ]

    async def _token_door(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        wanted = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {wanted}":
            return self._refused(Refusal(401, "10401", "ClientId is Invalid"))
        if form != {"grant_type": "client_credentials"}:
            return self._refused(Refusal(400, "10400", "Invalid/Missing Authorization Header"))
        token = f"token-{len(self.books['tokens']) + 1}"
        self._tokens[token] = self.now() + LIFE
        self.books["tokens"].append(token)
        issued = str(int(self.now().timestamp() * 1000))
        told = {"token_type": "Bearer", "issued_at": issued, "client_id": self.client_id, "access_token": token}
        return web.json_response(told | {"expires_in": str(int(LIFE.total_seconds())), "status": "approved"})

    async def _details_door(self, request: web.Request) -> web.Response:
        try:
            self._checked(request)
            number = self._inquired(request.match_info["number"])
        except Refusal as refusal:
            return self._refused(refusal)
        self.books["queries"].append(number)
        if number not in self.packages:
            warning = {"code": "TW0001", "message": "Tracking Information Not Found"}
            return web.json_response({"trackResponse": {"shipment": [{"warnings": [warning]}]}})
        package = {"trackingNumber": number, "activity": self.packages[number][::-1]}
        package["deliveryDate"] = [{"type": "SDD", "date": f"{self.now() + timedelta(days=3):%Y%m%d}"}]
        return web.json_response({"trackResponse": {"shipment": [{"inquiryNumber": number, "package": [package]}]}})

    async def _subscribe_door(self, request: web.Request) -> web.Response:
        try:
            self._checked(request)
            return web.json_response(self._subscribe(request.match_info["version"], json.loads(await request.text())))
        except Refusal as refusal:
            return self._refused(refusal)

    def _checked(self, request: web.Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, self.now()) <= self.now():
            raise Refusal(401, "250002", "Invalid Authentication Information.")
        if not request.headers.get("transId"):
            raise Refusal(400, "VSS002", "Missing transId")
        if not request.headers.get("transactionSrc"):
            raise Refusal(400, "VSS004", "Missing transactionSrc")
        if self._refuse:
            raise self._refuse.pop(0)
        self.books["ids"].append(request.headers["transId"])

    def _inquired(self, number: str) -> str:
        if not 7 <= len(number) <= 34:
            raise Refusal(400, "TV1002", "Invalid inquiry number")
        return number

    def _subscribe(self, version: str, wanted: dict[str, Any]) -> dict[str, Any]:
        if not re.fullmatch(r"[a-z]{2}_[A-Z]{2}", str(wanted.get("locale"))):
            raise Refusal(400, "VSS300", "Locale is required. The Subscription request has been rejected.")
        numbers = wanted.get("trackingNumberList") or []
        if not 0 < len(numbers) <= MOST:
            raise Refusal(
                400, "VSS200", "Tracking Number List is required. The Subscription request has been rejected."
            )
        if version == "v1" and not (wanted.get("destination") or {}).get("credential"):
            raise Refusal(400, "VSS500", "Destination is required. The Subscription request has been rejected")
        good = [one for one in numbers if NUMBER.fullmatch(one)]
        if not good:
            raise Refusal(400, "VSS210", "The Subscription request should have at least one valid tracking number.")
        for one in good:
            self.books["subscriptions"][one] = {"version": version, **wanted}
        bad = [one for one in numbers if one not in good]
        return {"validTrackingNumbers": good} | ({"invalidTrackingNumbers": bad} if bad else {})

    def _refused(self, refusal: Refusal) -> web.Response:
        self.books["refusals"].append(refusal.code)
        error = {"code": refusal.code, "message": refusal.message}
        return web.json_response({"response": {"errors": [error]}}, status=refusal.status)

    def do_ship(self, number: str) -> None:
        """UPS takes a package."""
        self.packages[number] = []

    async def do_scan(
        self, number: str, kind: str, code: str, text: str, detail: str = "005", at: str | None = None
    ) -> int:
        """UPS scans the package; a subscribed one is pushed. The status of the answer, 0 without one."""
        moment = (datetime.fromisoformat(at) if at else self.now()).astimezone(UTC)
        local, place = moment + EASTERN, {"city": "CHARLOTTE", "stateProvince": "NC", "countryCode": "US"}
        activity = {"location": {"address": place}, "date": f"{local:%Y%m%d}", "time": f"{local:%H%M%S}"}
        activity |= {"status": {"type": kind, "description": text, "code": code, "statusCode": detail}}
        # UPS drops the zero of an hour before ten.
        gmt = {"gmtDate": f"{moment:%Y%m%d}", "gmtTime": f"{moment:%H%M%S}".lstrip("0").zfill(5), "gmtOffset": "-05:00"}
        self.packages[number].append({**activity, **gmt})
        return await self._push(number, moment) if number in self.books["subscriptions"] else 0

    async def do_redeliver(self) -> int:
        """The last push comes again, byte for byte."""
        return await self._send(self._sent)

    def do_forget_tokens(self) -> None:
        """All tokens die before their time."""
        self._tokens.clear()

    def do_fail_next(self, status: int = 503, code: str = "TV0014", message: str = "Service unavailable") -> None:
        """The next good call is refused like this."""
        self._refuse.append(Refusal(status, code, message))

    async def _push(self, number: str, moment: datetime) -> int:
        newest, local = self.packages[number][-1], moment + EASTERN
        told, place = newest["status"], newest["location"]["address"]
        status = {name: told[name] for name in ("type", "code", "description")}
        alert = {
            "trackingNumber": f" {number}",  # the blank is in UPS's own examples
            "localActivityDate": f"{local:%Y%m%d}",
            "localActivityTime": f"{local:%H%M%S}",
            "activityLocation": {"city": place["city"], "stateProvince": "NC", "postalCode": "", "country": "US"},
            "activityStatus": status | {"descriptionCode": told["statusCode"]},
            "gmtActivityDate": f"{moment:%Y%m%d}",
            "gmtActivityTime": f"{moment:%H%M%S}",
            "scheduledDeliveryDate": "",
        }
        self._sent = json.dumps(alert).encode()
        return await self._send(self._sent)

    async def _send(self, body: bytes) -> int:
        headers = {"Content-Type": "application/json", "User-Agent": "UPSPubSubTrackingService"}
        return await self.deliver(body, headers | {"credential": self.credential})
