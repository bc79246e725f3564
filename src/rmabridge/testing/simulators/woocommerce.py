"""A WooCommerce shop on loopback: orders, refunds, notes and webhooks, and the people around them."""

from __future__ import annotations

from typing import Any, ClassVar

from .woocommerce_doors import WooCommerceDoors


class WooCommerceSim(WooCommerceDoors):
    """One shop. ``books["orders"]`` holds its orders by id, ``books["paid"]`` what the payment gateway gave back."""

    name: ClassVar[str] = "woocommerce"

    async def do_place_order(
        self,
        email: str = "mei@example.com",
        first_name: str = "Mei",
        last_name: str = "Lin",
        customer: int = 0,
        total: str = "29.35",
        currency: str = "EUR",
        pieces: int = 2,
        number: str | None = None,
    ) -> dict[str, Any]:
        """A buyer bought and paid."""
        id_, now = self._id(), self._now()
        who = {"first_name": first_name, "last_name": last_name}
        where = {"address_1": "Nanjing Rd 1", "address_2": "", "city": "Shanghai", "state": "", "postcode": "200000"}
        self.books["orders"][str(id_)] = {
            "id": id_, "parent_id": 0, "number": number or str(id_), "status": "processing", "currency": currency,
            "date_created": now, "date_created_gmt": now, "date_modified": now, "date_modified_gmt": now,
            "total": total, "total_tax": "4.69", "customer_id": customer, "customer_note": "",
            "billing": {**who, **where, "country": "CN", "email": email, "phone": "+8613800000000"},
            "shipping": {**who, **where, "country": "CN"}, "payment_method": "bogus", "transaction_id": "t1",
            "line_items": [{
                "id": self._id(), "name": "Mug &ndash; blue", "product_id": 93, "variation_id": 0, "quantity": pieces,
                "total": "24.66", "total_tax": "4.69", "sku": "MUG-01", "price": 12.33,
            }],
            "refunds": [],
        }  # fmt: skip
        self.books["refunds"][str(id_)], self.books["notes"][str(id_)] = [], []
        await self._emit("order.created", id_)
        return {"order": str(id_)}

    async def do_set_status(self, order: str, status: str) -> int:
        """An extension or a person gives the order another status; answers the last webhook's status."""
        self.books["orders"][str(order)]["status"] = status
        return await self._touched(str(order))

    async def do_refund(self, order: str, amount: str, reason: str = "", by_gateway: bool = True) -> dict[str, Any]:
        """The merchant gives money back in the shop's own pages."""
        made = self._refunded(str(order), amount, reason, by_gateway=by_gateway)
        await self._touched(str(order))
        return {"refund": str(made["id"])}

    async def do_touch(self, order: str) -> int:
        """Something about the order changes that is no matter of ours."""
        return await self._touched(str(order))

    async def do_redeliver(self) -> int:
        """Send the last webhook again, byte for byte, as a proxy may."""
        return await self.deliver(*self._sent[:2], url=self._sent[2]) if self._sent else 0

    def do_drop_next(self, count: int = 1) -> int:
        """The next webhooks get lost on their way: WooCommerce counts them as failures and repeats none."""
        self._dropping += count
        return self._dropping
