"""An eBay seller on loopback: buyers order, send goods back, miss parcels and escalate; eBay signs notifications."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import urlencode

from aiohttp import ClientSession

from .ebay_doors import EbayDoors, Record, Refusal


class EbaySim(EbayDoors):
    """One seller and the people around it."""

    name: ClassVar[str] = "ebay"

    def do_place_order(
        self, buyer: str = "test_buyer", sku: str = "MUG-01", title: str = "Mug, white", price: str = "19.90",
        shipping: str = "4.10", waybill: str = "9400100208303109500669", carrier: str = "USPS", days_ago: float = 6,
    ) -> Record:  # fmt: skip
        """A buyer bought, and the parcel is on its way."""
        id_, item = f"12-{self.number() % 100000:05d}-{self.number() % 100000:05d}", str(self.number())
        placed, total = self.date(days_ago)["value"], f"{float(price) + float(shipping):.2f}"
        to = {
            "fullName": "Pat Example", "primaryPhone": {"phoneNumber": "555-0100"}, "email": "pat@members.example",
            "contactAddress": {
                "addressLine1": "1 Main St", "city": "San Jose", "stateOrProvince": "CA", "postalCode": "95125",
                "countryCode": "US",
            },
        }  # fmt: skip
        line = {
            "lineItemId": str(self.number()), "legacyItemId": item, "sku": sku, "title": title, "quantity": 1,
            "lineItemCost": {"value": price, "currency": "USD"},
        }  # fmt: skip
        self.books["orders"][id_] = {
            "orderId": id_, "creationDate": placed, "lastModifiedDate": placed, "buyer": {"username": buyer},
            "pricingSummary": {"total": {"value": total, "currency": "USD"}}, "lineItems": [line],
            "paymentSummary": {"payments": [{"paymentMethod": "EBAY"}], "refunds": []},
            "fulfillmentStartInstructions": [{"shippingStep": {"shipTo": to}}],
            "cancelStatus": {"cancelState": "NONE_REQUESTED"},
            "shipped": [
                {"shipmentTrackingNumber": waybill, "shippingCarrierCode": carrier, "shippedDate": placed}
            ] if waybill else [],
        }  # fmt: skip
        return {"order": id_, "item": item, "sale": str(self.number())}

    def do_open_return(
        self, order: str, reason: str = "ARRIVED_DAMAGED", comments: str = "It arrived broken",
        kind: str = "MONEY_BACK", days_ago: float = 0.02,
    ) -> Record:  # fmt: skip
        """A buyer asks to send goods back."""
        id_, held = str(self.number()), self.books["orders"][order]
        line, made = held["lineItems"][0], self.date(days_ago)
        total = float(held["pricingSummary"]["total"]["value"])
        cost = float(line["lineItemCost"]["value"])
        parts = [("PURCHASE_PRICE", cost), ("ORIGINAL_SHIPPING", round(total - cost, 2))]
        sold = {"itemId": line["legacyItemId"], "transactionId": line["lineItemId"], "returnQuantity": 1}
        self.books["returns"][id_] = {
            "returnId": id_, "orderId": order, "state": "RETURN_REQUESTED", "status": "RETURN_REQUESTED",
            "currentType": kind, "buyerLoginName": held["buyer"]["username"], "sellerLoginName": "sim_seller",
            "creationInfo": {
                "item": sold, "type": kind, "reason": reason, "reasonType": "SNAD",
                "comments": {"content": comments}, "creationDate": made,
            },
            "sellerTotalRefund": {"estimatedRefundAmount": {"value": total, "currency": "USD"}},
            "sellerResponseDue": {"activityDue": "SELLER_APPROVE_REQUEST", "respondByDate": self.date(-3)},
            "responseHistory": [
                {"activity": "BUYER_CREATE_RETURN", "author": "BUYER", "notes": comments, "creationDate": made}
            ],
            "returnShipmentInfo": {"allShipmentTrackings": []},
            "itemDetail": {**sold, "sku": line["sku"], "itemTitle": line["title"]},
            "refundInfo": {
                "estimatedRefundDetail": {
                    "itemizedRefundDetails": [
                        {"refundFeeType": name, "estimatedAmount": {"value": value, "currency": "USD"}}
                        for name, value in parts
                        if value
                    ]
                }
            },
        }  # fmt: skip
        return {"return": id_}

    def do_say(self, return_id: str, text: str) -> None:
        """The buyer writes in the return, which no search shows."""
        past = {"activity": "BUYER_SEND_MESSAGE", "author": "BUYER", "notes": text, "creationDate": self.date()}
        self.books["returns"][return_id]["responseHistory"].append(past)

    def do_send_back(self, return_id: str, waybill: str = "1Z999AA10123456784", carrier: str = "UPS") -> None:
        """The goods are on their way back."""
        held = self.books["returns"][return_id]
        held["returnShipmentInfo"]["allShipmentTrackings"].append(
            {"trackingNumber": waybill, "carrierUsed": carrier, "actualShipDate": self.date()}
        )
        self.turn(held, "ITEM_SHIPPED", author="BUYER")

    def do_receive(self, return_id: str) -> None:
        """The goods are back."""
        held = self.books["returns"][return_id]
        held["returnShipmentInfo"]["allShipmentTrackings"][-1] |= {
            "actualDeliveryDate": self.date(), "deliveryStatus": "DELIVERED",
        }  # fmt: skip
        self.turn(held, "ITEM_DELIVERED", author="SYSTEM")

    def do_open_inquiry(self, order: str, days_ago: float = 0.02) -> Record:
        """The buyer says that nothing came."""
        id_, held = str(self.number()), self.books["orders"][order]
        self.books["inquiries"][id_] = {
            "inquiryId": id_, "orderId": order, "itemId": held["lineItems"][0]["legacyItemId"],
            "transactionId": held["lineItems"][0]["lineItemId"], "buyer": held["buyer"]["username"],
            "claimAmount": {"value": float(held["pricingSummary"]["total"]["value"]), "currency": "USD"},
            "inquiryStatusEnum": "WAITING_SELLER_RESPONSE", "creationDate": self.date(days_ago),
            "lastModifiedDate": self.date(), "respondByDate": self.date(-3),
        }  # fmt: skip
        return {"inquiry": id_}

    def do_escalate(self, return_id: str) -> Record:
        """The buyer asks eBay to step in."""
        id_, held = str(self.number()), self.books["returns"][return_id]
        held["escalationInfo"] = {"caseId": id_}
        self.turn(held, "ESCALATED", author="BUYER")
        item = held["creationInfo"]["item"]
        self.books["cases"][id_] = {
            "caseId": id_, "itemId": item["itemId"], "transactionId": item["transactionId"], "caseType": "SNAD",
            "buyer": held["buyerLoginName"], "claimAmount": held["sellerTotalRefund"]["estimatedRefundAmount"],
            "caseStatusEnum": "WAITING_SELLER_RESPONSE", "creationDate": self.date(0.01),
            "lastModifiedDate": self.date(), "respondByDate": self.date(-5),
        }  # fmt: skip
        return {"case": id_}

    async def do_close_account(self, username: str = "test_buyer") -> int:
        """A buyer closes the account: every application must delete what it holds."""
        data = {"username": username, "userId": f"ma8vp1jySJC{self.number()}", "eiasToken": "nY+sHZ2PrBmdj6wVnY"}
        return await self.tell("MARKETPLACE_ACCOUNT_DELETION", data)

    async def do_tell(self, topic: str = "ITEM_MARKED_SHIPPED") -> int:
        """A notification of some other topic."""
        return await self.tell(topic, {"listingId": "1"})

    async def tell(self, topic: str, data: Record, *, spaced: bool = False) -> int:
        """Send a signed notification; ``spaced`` writes it with spaces, under the signature of the compact text."""
        at = self.date()["value"]
        told = {
            "metadata": {"topic": topic, "schemaVersion": "1.0", "deprecated": False},
            "notification": {
                "notificationId": self.notification_id(), "eventDate": at, "publishDate": at,
                "publishAttemptCount": 1, "data": data,
            },
        }  # fmt: skip
        compact = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        body = json.dumps(told, ensure_ascii=False).encode() if spaced else compact
        headers = {"Content-Type": "application/json", "X-EBAY-SIGNATURE": self.signature(compact)}
        return await self.deliver(body, headers)

    def notification_id(self) -> str:
        """An id in eBay's form: two UUIDs."""
        return f"49feeaeb-4982-42d9-a377-{self.number():012d}_33f7e043-fed8-442b-9d44-{self.number():012d}"

    async def do_challenge(self, code: str = "demo-challenge") -> Any:
        """eBay asks whether the endpoint is the application's own."""
        address = f"{self.hook}?{urlencode({'challenge_code': code})}"
        async with ClientSession() as client, client.get(address) as answer:
            told = {"status": answer.status, "answer": await answer.json(content_type=None)}
        self.books["challenges"].append(told)
        return told

    def do_expire_tokens(self) -> None:
        """Every access token dies."""
        self._live.clear()

    def do_withdraw_consent(self) -> None:
        """The seller takes the application's consent back."""
        self.refresh_token = "withdrawn"  # noqa: S105
        self._live.clear()

    def do_fail_next(self, status: int = 500, message: str = "System error", error: int = 195000) -> None:
        """The next good call is refused."""
        self._fail.append(Refusal(status, message, error))
