"""An Amazon seller on loopback: buyers order, ask to cancel, and send goods back; Amazon tells the seller's queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from .amazon_doors import AmazonDoors, Record, Refusal

RETURNS = "GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE"


class AmazonSim(AmazonDoors):
    """One seller and the people around it."""

    name: ClassVar[str] = "amazon"

    def do_place_order(
        self, sku: str = "MUG-01", title: str = "Mug, white", pieces: int = 1, price: str = "19.90",
        currency: str = "USD", days_ago: float = 5, status: str = "Shipped", lines: int = 1,
    ) -> Record:  # fmt: skip
        """A buyer bought; ``price`` is for all pieces of a line."""
        id_ = f"114-{self.number():07d}-{self.number():07d}"
        placed = (self.now() - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.books["orders"][id_] = {
            "AmazonOrderId": id_, "PurchaseDate": placed, "LastUpdateDate": placed, "OrderStatus": status,
            "FulfillmentChannel": "MFN", "MarketplaceId": self.marketplace, "PaymentMethod": "Other",
            "OrderTotal": {"CurrencyCode": currency, "Amount": price},
            "ShippingAddress": {"City": "SEATTLE", "StateOrRegion": "WA", "PostalCode": "98109", "CountryCode": "US"},
            "BuyerInfo": {"BuyerEmail": f"buyer{self.number()}@marketplace.amazon.com"},
        }  # fmt: skip
        self.books["items"][id_] = [
            {
                "OrderItemId": f"{70_000_000_000_000 + self.number()}", "SellerSKU": sku, "ASIN": "B0TEST0001",
                "Title": title, "QuantityOrdered": pieces, "QuantityShipped": pieces if status == "Shipped" else 0,
                "ItemPrice": {"CurrencyCode": currency, "Amount": price},
            }
            for _ in range(lines)
        ]  # fmt: skip
        return {"order": id_}

    async def do_ask_to_cancel(self, order: str, reason: str = "Ordered by mistake") -> int:
        """The buyer asks to cancel an order that has not been sent."""
        for one in self.books["items"][order]:
            one["BuyerRequestedCancel"] = {"IsBuyerRequestedCancel": "true", "BuyerCancelReason": reason}
        return await self._changed(order, "BuyerRequestedChange", "Buyer Requested Change", cancel=True)

    async def do_cancel(self, order: str) -> int:
        """The order is cancelled."""
        self.books["orders"][order]["OrderStatus"] = "Canceled"
        return await self._changed(order, "OrderStatusChange", "Order Status Changed")

    async def do_ship(self, order: str) -> int:
        """The order is sent: no matter of after-sales."""
        self.books["orders"][order]["OrderStatus"] = "Shipped"
        return await self._changed(order, "OrderStatusChange", "Order Status Changed")

    async def do_easy_ship(self, order: str, status: str = "ReturningToSeller") -> int:
        """The parcel that Amazon collected comes back, or is lost."""
        self.books["orders"][order]["EasyShipShipmentStatus"] = status
        return await self._changed(order, "OrderStatusChange", "Order Status Changed")

    async def do_tell_other_seller(self, seller: str = "A1OTHERSELLER0") -> int:
        """A notification of another seller in the same queue."""
        order = self.do_place_order()["order"]
        return await self._changed(order, "OrderStatusChange", "Order Status Changed", seller=seller)

    async def do_tell_nonsense(self, text: str = "not a notification") -> int:
        """Something that nobody can read is in the queue."""
        return await self._enqueue(text)

    def do_open_return(
        self, order: str, reason: str = "AMZ-PG-WJ-DEFECTIVE", resolution: str = "StandardRefund",
        status: str = "Approved", pieces: int = 1,
    ) -> Record:  # fmt: skip
        """A buyer asks to send goods back; Amazon tells it in the next report."""
        rma, item, head = f"D{self.number():07d}RRMA", self.books["items"][order][0], self.books["orders"][order]
        self.books["returns"][rma] = {
            "Order ID": order, "Order date": self.day(5), "Return request date": self.day(),
            "Return request status": status, "Amazon RMA ID": rma, "Label type": "AmazonPrePaidLabel",
            "Currency code": head["OrderTotal"]["CurrencyCode"], "A-to-Z Claim": "N", "Is prime": "N",
            "ASIN": item["ASIN"], "Merchant SKU": item["SellerSKU"], "Item Name": item["Title"],
            "Return quantity": pieces, "Return Reason": reason, "In policy": "Y", "Return type": "C-Returns",
            "Resolution": resolution, "Order Amount": head["OrderTotal"]["Amount"],
        }  # fmt: skip
        return {"return": rma}

    def do_send_back(self, rma: str, waybill: str = "9202090339598363834190", carrier: str = "USPS") -> None:
        """The goods are on their way back."""
        self.books["returns"][rma] |= {"Tracking ID": waybill, "Return carrier": carrier}

    def do_receive(self, rma: str) -> None:
        """The goods are back at the seller."""
        self.books["returns"][rma]["Return delivery date"] = self.day()

    def do_refund(self, rma: str, amount: str = "19.90") -> None:
        """The seller pays in Seller Central."""
        self.books["returns"][rma] |= {"Refunded Amount": amount, "Return request status": "Completed"}

    async def do_finish_report(self, *, tell: bool = True, scheduled: bool = False) -> Record:
        """The reports that were asked for are ready (``scheduled``: one that the seller's schedule asked for)."""
        if scheduled:
            id_ = str(54_517_018_500 + self.number())
            self.books["reports"][id_] = {"reportId": id_, "reportType": RETURNS, "processingStatus": "IN_QUEUE"}
        document = f"amzn1.spdoc.1.4.na.{self.uuid()}"
        self.books["documents"][document] = self.table()
        for one in self.books["reports"].values():
            if one["processingStatus"] == "IN_QUEUE":
                one |= {"processingStatus": "DONE", "processingEndTime": self.now().isoformat()}
                one["reportDocumentId"] = document
                if tell:
                    await self._ready(one)
        return {"document": document}

    def do_allow(self, kinds: list[str]) -> None:
        """Which messages Amazon allows from now on."""
        self.books["allowed"] = kinds

    def do_expire_tokens(self) -> None:
        """Every access token dies."""
        self._live.clear()

    def do_withdraw_consent(self) -> None:
        """The seller takes the application's consent back."""
        self.refresh_token = "withdrawn"  # noqa: S105
        self._live.clear()

    def do_fail_next(self, status: int = 500, code: str = "InternalFailure", rate: str | None = None) -> None:
        """The next good call is refused."""
        headers = {"x-amzn-RateLimit-Limit": rate} if rate else None
        self._fail.append(Refusal(status, code, "We encountered an internal error.", headers))

    async def _ready(self, report: Record) -> int:
        """Amazon spells this one differently from the notifications about orders."""
        told = {
            "sellerId": self.seller, "accountId": f"amzn1.merchant.o.{self.seller}", "reportId": report["reportId"],
            "reportType": report["reportType"], "processingStatus": "DONE",
            "reportDocumentId": report["reportDocumentId"],
        }  # fmt: skip
        return await self.tell(
            {
                "notificationVersion": "2020-09-04", "notificationType": "REPORT_PROCESSING_FINISHED",
                "payloadVersion": "2020-09-04", "eventTime": self._time(),
                "payload": {"reportProcessingFinishedNotification": told},
                "notificationMetadata": {"publishTime": self._time(), "notificationId": self.uuid()},
            }
        )  # fmt: skip

    async def _changed(
        self, order: str, kind: str, why: str, *, cancel: bool = False, seller: str | None = None
    ) -> int:
        held, now = self.books["orders"][order], self._time()
        held["LastUpdateDate"] = now
        items = [
            {
                "OrderItemId": one["OrderItemId"], "SellerSKU": one["SellerSKU"], "SupplySourceId": None,
                "Quantity": one["QuantityOrdered"], "QuantityShipped": one["QuantityShipped"],
                "IsBuyerRequestedCancel": cancel,
            }
            for one in self.books["items"][order]
        ]  # fmt: skip
        summary: dict[str, Any] = {
            "MarketplaceId": self.marketplace, "OrderStatus": held["OrderStatus"], "OrderItems": items,
            "PurchaseDate": held["PurchaseDate"], "DestinationPostalCode": "98109", "FulfillmentType": "MFN",
            "OrderType": "StandardOrder", "EasyShipShipmentStatus": held.get("EasyShipShipmentStatus"),
        }  # fmt: skip
        told = {
            "NotificationLevel": "OrderLevel", "SellerId": seller or self.seller, "AmazonOrderId": order,
            "OrderChangeType": kind, "OrderChangeTrigger": {"TimeOfOrderChange": now, "ChangeReason": why},
            "Summary": summary,
        }  # fmt: skip
        return await self.tell(
            {
                "NotificationVersion": "1.0", "NotificationType": "ORDER_CHANGE", "PayloadVersion": "1.0",
                "EventTime": now, "Payload": {"OrderChangeNotification": told},
                "NotificationMetadata": {
                    "ApplicationId": "amzn1.sellerapps.app.sim", "SubscriptionId": "sub-1", "PublishTime": now,
                    "NotificationId": self.uuid(),
                },
            }
        )  # fmt: skip

    def _time(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
