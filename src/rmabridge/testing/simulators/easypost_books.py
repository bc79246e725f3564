"""What EasyPost's simulator believes, and the world that acts on it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import unicodedata
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from .server import Simulator

TYPES: Final = ("damage", "loss", "theft")
DATA: Final = ("data:image/png;base64,", "data:image/jpeg;base64,", "data:application/pdf;base64,")
FILES: Final = ("email_evidence_attachments", "invoice_attachments", "supporting_documentation_attachments")
DECISIONS: Final = {"approved": "approved", "partial": "approved_partial", "rejected": "rejected", "paid": "paid"}
SAID: Final = {
    "approved": "Claim was approved.",
    "approved_partial": "Claim was approved in part.",
    "rejected": "The item was packed insufficiently.",
    "paid": "The money was sent.",
}
HOOK_SECRET: Final = "sécret"  # noqa: S105 - of nobody; the accent is what the signature is tried with


class Refusal(Exception):
    """An error in EasyPost's form."""

    def __init__(self, status: int, code: str, message: str, *errors: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "errors": list(errors)}}


def sign(body: bytes, secret: str) -> str:
    """X-Hmac-Signature: the secret is taken apart (NFKD) before it becomes the key."""
    key = unicodedata.normalize("NFKD", secret).encode()
    return "hmac-sha256-hex=" + hmac.new(key, body, hashlib.sha256).hexdigest()


class EasyPostBooks(Simulator):
    """Parcels, trackers, claims and webhooks; ``do_*`` is the world acting."""

    def __init__(self, api_key: str = "EZTK", secret: str = HOOK_SECRET, *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.api_key, self.secret = api_key, secret
        self.books |= {"parcels": {}, "trackers": {}, "claims": {}, "messages": [], "hooks": {}, "refusals": []}
        self.books["requests"] = []
        self._count = 0
        self._refuse: list[tuple[int, str, str, float | None]] = []
        self._lose: list[str | int] = []
        self._over = asyncio.Event()
        self._last: tuple[bytes, str] | None = None

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account of this customer."""
        given = {"api_key": self.api_key, "secret": self.secret, "url": f"{self.url}/v2"}
        return {**super().account_settings(), **given}

    def _hooks(self) -> list[dict[str, Any]]:
        return list(self.books["hooks"].values())

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count:032x}"

    def _time(self, at: str | None = None) -> str:
        moment = datetime.fromisoformat(at) if at else self.now()
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

    def _tracker(self, code: str, carrier: str | None) -> tuple[dict[str, Any], bool]:
        """The parcel's tracker, made where there is none; the carrier that has the parcel beats the one named."""
        if code in self.books["trackers"]:
            return self.books["trackers"][code], False
        parcel = self.books["parcels"].get(code, {})
        tracker = {
            "id": self._id("trk"),
            "object": "Tracker",
            "mode": "test",
            "tracking_code": code,
            "status": "unknown",
            "status_detail": "unknown",
            "carrier": parcel.get("carrier") or carrier,
            "created_at": self._time(),
            "is_return": parcel.get("is_return", False),
            "weight": 17.6,
            "est_delivery_date": None,
            "public_url": f"https://track.easypost.com/{code}",
            "finalized": False,
        }
        self.books["trackers"][code] = self._shown(tracker, parcel.get("details", []))
        return tracker, True

    def _shown(self, tracker: dict[str, Any], details: list[dict[str, Any]]) -> dict[str, Any]:
        tracker |= {"tracking_details": list(details), "updated_at": self._time()}
        if details:
            tracker |= {name: details[-1][name] for name in ("status", "status_detail")}
        return tracker

    def _claim(self, name: str) -> dict[str, Any]:
        claim: dict[str, Any] = self.books["claims"].get(name) or missing()
        return claim

    async def _book(self, body: dict[str, Any]) -> dict[str, Any]:
        insured = self._accepted(body)
        code, stamp = body["tracking_code"], self._time()
        files = [f"https://files.easypost.example/{n}" for name in FILES for n, _ in enumerate(body.get(name) or ())]
        claim = {
            "id": self._id("clm"),
            "object": "Claim",
            "mode": "test",
            "type": body["type"],
            "tracking_code": code,
            "insurance_id": f"ins_{code}",
            "insurance_amount": f"{insured:.2f}",
            "requested_amount": f"{Decimal(body['amount']):.2f}",
            "approved_amount": None,
            "salvage_value": None,
            "attachments": files,
            "contact_email": body.get("contact_email"),
            "description": body.get("description"),
            "reference": body.get("reference"),
            "history": [],
            "created_at": stamp,
        }
        self.books["claims"][claim["id"]] = self._step(claim, "submitted", "Claim was created.")
        await self._tell("claim.submitted", claim)
        return claim

    def _accepted(self, body: dict[str, Any]) -> Decimal:
        """What the parcel is insured for, where the claim can be booked."""
        missing = [name for name in ("type", "tracking_code", "amount") if not body.get(name)]
        if missing:
            problems = [{"field": name, "message": "cannot be blank"} for name in missing]
            raise Refusal(422, "PARAMETER.REQUIRED", "Missing required parameter.", *problems)
        files = [one for name in FILES for one in body.get(name) or ()]
        if body["type"] not in TYPES or not all(str(one).startswith(DATA) for one in files):
            raise Refusal(422, "PARAMETER.INVALID", "A parameter is invalid.")
        insured = (self.books["parcels"].get(body["tracking_code"]) or {}).get("insured")
        if not insured:
            none = "No eligible insurance found with provided tracking code."
            raise Refusal(404, "NOT_FOUND", "The requested resource could not be found.", none)
        try:
            asked = Decimal(body["amount"]) if isinstance(body["amount"], str) else Decimal("NaN")
        except InvalidOperation:
            asked = Decimal("NaN")
        if not asked.is_finite() or not 0 < asked <= Decimal(insured):
            problem = {"field": "amount", "message": f"must be a decimal string of at most {insured}"}
            raise Refusal(422, "PARAMETER.INVALID", "A parameter is invalid.", problem)
        return Decimal(insured)

    def _step(self, claim: dict[str, Any], status: str, detail: str) -> dict[str, Any]:
        stamp = self._time()
        claim |= {"status": status, "status_detail": detail, "status_timestamp": stamp, "updated_at": stamp}
        claim["history"].insert(0, {"status": status, "status_detail": detail, "timestamp": stamp})
        return claim

    # The world

    def do_ship(
        self, tracking_code: str, carrier: str = "USPS", insured: str | None = "100.00", is_return: bool = False
    ) -> None:
        """A parcel goes out, insured at EasyPost for so many dollars, or not at all."""
        parcel: dict[str, Any] = {"carrier": carrier, "insured": insured, "is_return": is_return, "details": []}
        self.books["parcels"][tracking_code] = parcel

    async def do_scan(
        self, tracking_code: str, status: str, message: str = "", city: str | None = None, at: str | None = None
    ) -> int:
        """The carrier scans the parcel; whoever has a tracker is told. Answers the status of the webhook."""
        where = {"object": "TrackingLocation", "city": city, "state": None, "country": "US", "zip": None}
        line = {"object": "TrackingDetail", "message": message, "description": "", "status": status}
        line |= {"status_detail": "status_update", "datetime": self._time(at), "source": "USPS", "carrier_code": ""}
        details = self.books["parcels"][tracking_code]["details"]
        details.append(line | {"tracking_location": where})
        tracker = self.books["trackers"].get(tracking_code)
        return await self._tell("tracker.updated", self._shown(tracker, details)) if tracker else 0

    async def do_claim_review(self, claim: str | None = None) -> int:
        """EasyPost begins to look at a claim; left out, at the newest."""
        return await self._tell("claim.updated", self._step(self._newest(claim), "in_review", "Claim is in review."))

    async def do_claim_decision(
        self, decision: str, claim: str | None = None, amount: str | None = None, reason: str = ""
    ) -> int:
        """A claim ends: approved, partial, rejected, or paid; of the newest where none is named."""
        decided, status = self._newest(claim), DECISIONS[decision]
        if decision != "rejected":
            decided["approved_amount"] = amount or decided["approved_amount"] or decided["requested_amount"]
        self._step(decided, status, reason or SAID[status])
        topic = {"rejected": "claim.rejected", "paid": "claim.updated"}.get(status, "claim.approved")
        return await self._tell(topic, decided)

    async def do_claim_question(self, body: str, claim: str | None = None) -> int:
        """EasyPost asks for more: the claim waits, and the question follows in a message of its own."""
        asked = self._newest(claim)
        await self._tell("claim.updated", self._step(asked, "needs_action", body))
        message = {"id": self._id("cmsg"), "object": "ClaimMessage", "mode": "test", "claim_id": asked["id"]}
        message |= {"direction": "outbound", "body": body, "attachments": [], "created_at": self._time()}
        self.books["messages"].append(message)
        return await self._tell("claim.message", message)

    async def do_claim_by_hand(self, tracking_code: str, type: str = "loss", amount: str = "50.00") -> str:  # noqa: A002
        """Somebody files a claim in EasyPost's own pages; its id."""
        claim = await self._book({"tracking_code": tracking_code, "type": type, "amount": amount})
        return str(claim["id"])

    async def do_batch(self) -> int:
        """An event that has nothing to do with after-sales."""
        return await self._tell("batch.updated", {"id": self._id("batch"), "object": "Batch", "state": "created"})

    async def do_redeliver(self) -> int:
        """The last webhook comes again, byte for byte."""
        return await self._send(*self._last) if self._last else 0

    def do_lose_answer(self, how: str | int = "hang") -> None:
        """The next claim is booked, but its answer never comes ("hang"), breaks off ("break") or is this status."""
        self._lose.append(how)

    def do_fail_next(
        self, status: int = 503, code: str = "SERVICE_UNAVAILABLE", message: str = "", after: float | None = None
    ) -> None:
        """The next call is refused; with ``after`` it is one call too many (429)."""
        self._refuse.append((status, code, message, after))

    def do_disable_hooks(self) -> None:
        """EasyPost switches the registered webhooks off."""
        for one in self._hooks():
            one["disabled_at"] = self._time()

    def _newest(self, claim: str | None) -> dict[str, Any]:
        return self._claim(claim or next(reversed(self.books["claims"]), ""))

    async def _tell(self, topic: str, result: dict[str, Any]) -> int:
        stamp = self._time()
        event: dict[str, Any] = {
            "id": self._id("evt"),
            "object": "Event",
            "description": topic,
            "mode": "test",
            "status": "pending",
        }
        event |= {"previous_attributes": {}, "pending_urls": [], "completed_urls": [], "user_id": "user_1"}
        event |= {"result": result, "created_at": stamp, "updated_at": stamp}
        self._last = json.dumps(event).encode(), topic
        return await self._send(*self._last)

    async def _send(self, body: bytes, topic: str) -> int:
        status = 0
        ways = [(self.hook, self.secret)] if self.hook else []
        ways += [(one["url"], one["secret"]) for one in self._hooks() if not one["disabled_at"]]
        for url, secret in ways:
            headers = {"Content-Type": "application/json"} | (
                {"X-Hmac-Signature": sign(body, secret)} if secret else {}
            )
            with suppress(IndexError):
                status = await self.deliver(body, headers, url=url)
                self.books["webhooks"][-1]["topic"] = topic
        return status


def missing() -> dict[str, Any]:
    """Refuse: there is no such thing."""
    raise Refusal(404, "NOT_FOUND", "The requested resource could not be found.")
