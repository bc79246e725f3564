"""A Shopify shop on loopback: buyers order, ask for returns and send parcels back."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web

from .shopify_doors import ShopifyDoors
from .shopify_shapes import Record, order_body


class ShopifySim(ShopifyDoors):
    """One shop and the people around it."""

    name: ClassVar[str] = "shopify"

    def do_place_order(
        self,
        number: str = "1001",
        email: str | None = "mei@example.com",
        name: str = "Mei Lin",
        locale: str = "zh-CN",
        lines: list[Record] | None = None,
        total: str | None = None,
        currency: str = "USD",
        phone: str | None = "+8613800000000",
        address: Record | None = None,
        delivered_days_ago: float | None = 3,
        tracking: str = "1Z999AA10123456784",
        carrier: str = "UPS",
        customer: str | None = None,
    ) -> Record:
        """A buyer bought, and (unless ``delivered_days_ago`` is None) got the parcel; ``off``: a line's discount."""
        id_, now = self._id("order"), self.now()
        given = lines or [{"sku": "TEE-M", "title": "T-shirt", "quantity": 1, "price": "21.00"}]
        held: list[Record] = [
            {"quantity": 1, "price": "0.00", "off": "", "title": "", "sku": None} | one | {"id": self._id("line")}
            for one in given
        ]
        worth = sum(
            (Decimal(str(one["price"])) * one["quantity"] - Decimal(one["off"] or 0) for one in held), Decimal(0)
        )
        delivered = None if delivered_days_ago is None else now - timedelta(days=delivered_days_ago)
        placed = (delivered or now) - timedelta(days=4)
        self.books["orders"][id_] = {
            "id": id_, "name": f"#{number.lstrip('#')}", "email": email, "phone": phone, "buyer": name,
            "locale": locale,
            "customer": customer or self._id("customer"), "currency": currency, "total": str(total or worth),
            "lines": held,
            "address": {"name": name, "phone": phone, "country": "CN", "city": "Shanghai"} | (address or {}),
            "created_at": placed.isoformat(), "updated_at": now.isoformat(), "cancelled_at": None,
            "delivered_at": delivered.isoformat() if delivered else None, "tracking": tracking, "carrier": carrier,
        }  # fmt: skip
        return {"order": id_, "lines": [one["id"] for one in held]}

    async def do_request_return(
        self, order_id: str, reason: str = "SIZE_TOO_SMALL", note: str = "", quantity: int = 1
    ) -> Record:
        """The buyer asks to send the order's lines back."""
        order, id_ = self.books["orders"][str(order_id)], self._id("return")
        lines = [
            {"id": self._id("return_line"), "line": one["id"], "quantity": min(quantity, one["quantity"])}
            for one in order["lines"]
        ]  # fmt: skip
        self.books["returns"][id_] = {
            "id": id_, "order": str(order_id), "name": f"{order['name']}-R1", "status": "REQUESTED", "reason": reason,
            "note": note, "lines": lines, "processed": False, "created_at": self.now().isoformat(), "approved_at": None,
            "closed_at": None, "decline": None, "tracking": None, "carrier": None,
        }  # fmt: skip
        self._touch(order)
        return {"return": id_, "status": await self._return_hook("request", id_)}

    async def do_attach_tracking(self, return_id: str, number: str, carrier: str = "UPS") -> int:
        """The buyer's parcel back has a waybill."""
        held = self.books["returns"][str(return_id)]
        held |= {"tracking": number, "carrier": carrier}
        self._touch(self.books["orders"][held["order"]])
        body = {
            "id": int(return_id) + 7, "return": {"id": int(return_id)}, "order": {"id": int(held["order"])},
            "shipping_deliverable": {"tracking": {"number": number, "carrier_name": carrier, "url": None}},
            "updated_at": self.now().isoformat(),
        }  # fmt: skip
        return await self._emit("reverse_deliveries/attach_deliverable", body)

    async def do_cancel_return(self, return_id: str) -> int:
        """The buyer takes the request back."""
        self.books["returns"][str(return_id)]["status"] = "CANCELED"
        return await self._return_hook("cancel", str(return_id))

    async def do_close_return(self, return_id: str) -> int:
        """The merchant closes the return."""
        return await self._turn(return_id, "close", status="CLOSED", closed_at=self.now().isoformat())

    async def do_reopen_return(self, return_id: str) -> int:
        """The merchant opens a closed return again."""
        return await self._turn(return_id, "reopen", status="OPEN", closed_at=None)

    async def _turn(self, return_id: str, what: str, **changes: Any) -> int:
        held = self.books["returns"][str(return_id)]
        held |= changes
        self._touch(self.books["orders"][held["order"]])
        return await self._return_hook(what, str(return_id))

    async def do_update_order(self, order_id: str, **changes: Any) -> int:
        """The merchant changes the order."""
        order = self.books["orders"][str(order_id)]
        order |= changes
        self._touch(order)
        return await self._emit("orders/updated", order_body(order))

    async def do_redeliver(self) -> int:
        """Send the last webhook once more, as after an answer that was lost."""
        if self._sent is None:
            raise web.HTTPConflict(text="nothing was sent yet")
        return await self._post(*self._sent, self.hook)

    async def do_send_old(self, order_id: str, days: float = 1) -> int:
        """Send a state of the order that a newer webhook has overtaken."""
        order = self.books["orders"][str(order_id)] | {"updated_at": (self.now() - timedelta(days=days)).isoformat()}
        return await self._emit("orders/updated", order_body(order))

    def do_drop_next(self, count: int = 1) -> int:
        """The next webhooks are lost on their way."""
        self._dropping += count
        return self._dropping

    def do_grant(self) -> str:
        """The merchant gives consent: a code for the token door."""
        code = uuid.uuid4().hex
        self.codes.add(code)
        return code

    def do_callback(self, state: str, code: str | None = None) -> dict[str, str]:
        """The signed query with which the browser comes back."""
        query = {
            "code": code or self.do_grant(),
            "shop": self.shop,
            "state": state,
            "timestamp": str(int(self.now().timestamp())),
        }
        text = "&".join(f"{name}={query[name]}" for name in sorted(query))
        return query | {"hmac": hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()}
