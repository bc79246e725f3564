"""A small 17TRACK: registration, tracks, the quota, and webhooks signed over their raw bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator

MOST = 40
Answers = Callable[[dict[str, Any]], dict[str, Any]]


class Refusal(Exception):
    """An error of the whole call, or of one number in it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


def sign(body: bytes, key: str) -> str:
    """A plain SHA-256 of body, slash and key."""
    return hashlib.sha256(body + b"/" + key.encode()).hexdigest()


class SeventeenTrackSim(Simulator):
    """17TRACK on loopback. ``do_ship`` and ``do_scan`` are the carriers at work; webhooks go to ``hook``."""

    name: ClassVar[str] = "seventeentrack"
    tries: ClassVar[int] = 3

    def __init__(self, api_key: str = "0123456789ABCDEF", quota: int = 100, *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.api_key, self.quota = api_key, quota
        self.books |= {"registered": {}, "calls": [], "refusals": []}
        self.shipments: dict[str, dict[str, Any]] = {}
        self.pause = 0.05
        self._refuse: list[tuple[int, str]] = []
        self._sent = b""

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that calls here."""
        return {**super().account_settings(), "url": f"{self.url}/track/v2.2"}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/track/v2.2/{call}", self._door)]

    async def _door(self, request: web.Request) -> web.Response:
        call, one = request.match_info["call"], self._calls().get(request.match_info["call"])
        if request.headers.get("17token") != self.api_key:
            refused = Refusal(-18010002, "Invalid security key.")
            return web.json_response({"code": -18010002, "data": {"errors": [refused.error]}}, status=401)
        if one is None:
            return web.Response(status=404)
        asked = _list(await request.text())
        self.books["calls"].append({"call": call, "asked": asked})
        if call == "getquota":
            used = len(self.books["registered"])
            return web.json_response(
                {"code": 0, "data": {"quota_total": self.quota, "quota_used": used, "quota_remain": self.quota - used}}
            )
        if asked is None or not 0 < len(asked) <= MOST:
            code = -18010010 if not asked else -18010014
            return web.json_response({"code": code, "data": {"errors": [{"code": code, "message": "Wrong data."}]}})
        return web.json_response({"code": 0, "data": self._sorted(asked, one)})

    def _calls(self) -> dict[str, Answers]:
        return {"register": self._register, "gettrackinfo": self._info, "getquota": self._info}

    def _sorted(self, asked: list[dict[str, Any]], one: Answers) -> dict[str, list[Any]]:
        """Each number accepted or rejected for itself: partial success is normal."""
        told: dict[str, list[Any]] = {"accepted": [], "rejected": []}
        for about in asked:
            try:
                told["accepted"].append(self._unrefused(one)(about))
            except Refusal as refusal:
                self.books["refusals"].append(refusal.error["code"])
                told["rejected"].append({"number": about.get("number"), "error": refusal.error})
        return told

    def _unrefused(self, one: Answers) -> Answers:
        if self._refuse:
            raise Refusal(*self._refuse.pop(0))
        return one

    def _register(self, about: dict[str, Any]) -> dict[str, Any]:
        number = str(about.get("number") or "")
        if not (number.isalnum() and 5 <= len(number) <= 50):
            raise Refusal(-18010012, f"The format of '{number}' is invalid.")
        if number in self.books["registered"]:
            raise Refusal(-18019901, f"The tracking number '{number}' has been registered.")
        if len(self.books["registered"]) >= self.quota:
            raise Refusal(-18019908, "Insufficient quota.")
        carrier = about.get("carrier") or self.shipments.get(number, {}).get("carrier")
        if not isinstance(carrier, int):
            raise Refusal(-18019903, "Carrier cannot be detected.")
        held = {"carrier": carrier, "tag": about.get("tag"), "param": about.get("param"), "lang": about.get("lang")}
        self.books["registered"][number] = held
        return {"origin": 1 if about.get("carrier") else 2, "number": number, **held}

    def _info(self, about: dict[str, Any]) -> dict[str, Any]:
        number = str(about.get("number") or "")
        held = self.books["registered"].get(number)
        if held is None or about.get("carrier", held["carrier"]) != held["carrier"]:
            raise Refusal(-18019902, f"The tracking number '{number}' is not registered.")
        if not self._events(number):
            raise Refusal(-18019909, "No tracking information at this time.")
        return self._data(number)

    def _events(self, number: str) -> list[dict[str, Any]]:
        """The scans as the registered carrier shows them, the newest first."""
        shipment = self.shipments.get(number, {})
        known = shipment.get("carrier") == self.books["registered"][number]["carrier"]
        return shipment["events"][::-1] if known else []

    def _data(self, number: str) -> dict[str, Any]:
        events, held = self._events(number), self.books["registered"][number]
        code = events[0]["sub_status"] if events else "NotFound_Other"
        latest = {"status": code.partition("_")[0], "sub_status": code, "sub_status_descr": None}
        provider = {"key": held["carrier"], "name": "Carrier"}
        history = {"provider": provider, "latest_sync_status": "Success", "events_hash": len(events), "events": events}
        estimate = {"source": None, "from": None, "to": None}
        info = {
            "latest_status": latest,
            "latest_event": events[0] if events else None,
            "time_metrics": {"days_of_transit": 1, "estimated_delivery_date": estimate},
            "tracking": {"providers_hash": 1000 + len(events), "providers": [history]},
        }
        return {"number": number, "carrier": held["carrier"], "param": None, "tag": held["tag"], "track_info": info}

    def do_ship(self, number: str, carrier: int) -> None:
        """A carrier takes a parcel; 17TRACK recognises it by its number."""
        self.shipments[number] = {"carrier": carrier, "events": []}

    async def do_scan(self, number: str, code: str, text: str, place: str = "", at: str | None = None) -> int:
        """The carrier scans the parcel; a registered number is pushed. The status of the answer, 0 without one."""
        moment = datetime.fromisoformat(at) if at else self.now()
        stamp = moment.astimezone(UTC).replace(microsecond=0)
        raw = {"date": f"{stamp:%Y-%m-%d}", "time": f"{stamp:%H:%M:%S}", "timezone": "+00:00"}
        event = {"time_iso": stamp.isoformat(), "time_utc": f"{stamp:%Y-%m-%dT%H:%M:%S}Z", "time_raw": raw}
        told = {"description": text, "location": place or None, "stage": None, "sub_status": code}
        self.shipments[number]["events"].append({**event, **told})
        if number not in self.books["registered"]:
            return 0
        return await self._push("TRACKING_UPDATED", self._data(number))

    async def do_stop(self, number: str) -> int:
        """17TRACK ends the registration: it has been silent for too long."""
        data = {name: value for name, value in self._data(number).items() if name != "track_info"}
        return await self._push("TRACKING_STOPPED", data)

    async def do_redeliver(self) -> int:
        """The last webhook comes again, byte for byte."""
        return await self._send(self._sent)

    def do_fail_next(self, code: int = -18010003, message: str = "Internal service error.") -> None:
        """The next number is rejected like this."""
        self._refuse.append((code, message))

    async def _push(self, event: str, data: dict[str, Any]) -> int:
        self._sent = json.dumps({"event": event, "data": data}, ensure_ascii=False).encode()
        return await self._send(self._sent)

    async def _send(self, body: bytes) -> int:
        headers = {"Content-Type": "application/json", "sign": sign(body, self.api_key)}
        return await self.deliver(body, headers, tries=self.tries, pause=self.pause)


def _list(text: str) -> list[dict[str, Any]] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else None
