"""The shapes in which Shopify shows its objects: GraphQL nodes, and the REST-like bodies of webhooks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Record = dict[str, Any]


def gid(kind: str, value: object) -> str:
    """The id of GraphQL."""
    return f"gid://shopify/{kind}/{value}"


def bag(amount: object, currency: str) -> Record:
    """An amount in the buyer's and the shop's currency, here the same."""
    side = {"amount": str(amount), "currencyCode": currency}
    return {"presentmentMoney": side, "shopMoney": side}


def return_body(what: str, held: Record) -> Record:
    """The body of ``returns/<what>``."""
    body: Record = {
        "id": int(held["id"]), "admin_graphql_api_id": gid("Return", held["id"]),
        "status": held["status"].lower(), "name": held["name"],
        "order": {"id": int(held["order"]), "admin_graphql_api_id": gid("Order", held["order"])},
    }  # fmt: skip
    if what != "request":
        return body
    lines = [
        {
            "id": int(one["id"]), "admin_graphql_api_id": gid("ReturnLineItem", one["id"]),
            "quantity": one["quantity"], "return_reason": held["reason"].lower(), "return_reason_note": "",
            "customer_note": held["note"],
        }
        for one in held["lines"]
    ]  # fmt: skip
    return body | {"created_at": held["created_at"], "total_return_line_items": len(lines), "return_line_items": lines}


def refund_body(held: Record) -> Record:
    """The body of ``refunds/create``."""
    body: Record = {
        "id": int(held["id"]), "admin_graphql_api_id": gid("Refund", held["id"]), "order_id": int(held["order"]),
        "created_at": held["created_at"], "processed_at": held["created_at"], "note": held["note"],
        "restock": False, "refund_line_items": [], "order_adjustments": [],
        "transactions": [
            {"id": int(held["id"]) + 1, "order_id": int(held["order"]), "kind": "refund",
             "gateway": "shopify_payments", "status": "success", "amount": held["amount"], "currency": held["currency"],
             "parent_id": int(held["order"])}
        ],
    }  # fmt: skip
    return body | ({"return": {"id": int(held["return"])}} if held["return"] else {})


def order_body(order: Record) -> Record:
    """The body of ``orders/updated``."""
    address = order["address"]
    done = [
        {"id": int(order["id"]) + 3, "created_at": order["created_at"], "updated_at": order["delivered_at"],
         "shipment_status": "delivered", "tracking_company": order["carrier"], "tracking_number": order["tracking"],
         "tracking_numbers": [order["tracking"]], "tracking_url": None}
    ]  # fmt: skip
    return {
        "id": int(order["id"]), "admin_graphql_api_id": gid("Order", order["id"]), "name": order["name"],
        "email": order["email"], "phone": order["phone"], "created_at": order["created_at"],
        "updated_at": order["updated_at"], "cancelled_at": order["cancelled_at"], "currency": order["currency"],
        "total_price": order["total"], "customer_locale": order["locale"], "tags": "", "note": None,
        "payment_gateway_names": ["shopify_payments"],
        "customer": {"id": int(order["customer"]), "first_name": order["buyer"], "last_name": ""},
        "shipping_address": {"name": address["name"], "country_code": address["country"], "city": address["city"]},
        "line_items": [
            {"id": int(one["id"]), "sku": one["sku"], "title": one["title"], "quantity": one["quantity"],
                 "price": one["price"],
                 "discount_allocations": [{"amount": one["off"]}] if one["off"] else []}
            for one in order["lines"]
        ],
        "fulfillments": done if order["delivered_at"] else [],
    }  # fmt: skip


def page_of(listed: list[Record], first: int | None = None, after: str | None = None) -> Record:
    """A page of a connection; all of it where no length is asked for."""
    start = int(after or 0)
    end = start + (first or len(listed))
    told = {"hasNextPage": end < len(listed), "endCursor": str(end)}
    return {"nodes": listed[start:end], "pageInfo": told}


def return_node(held: Record, first: int | None = None, after: str | None = None) -> Record:
    """A return, with a page of its lines."""
    lines = [
        {"id": gid("ReturnLineItem", one["id"]), "quantity": one["quantity"], "customerNote": held["note"],
         "refundableQuantity": 0 if held["processed"] else one["quantity"],
         "processableQuantity": 0 if held["processed"] else one["quantity"],
         "returnReason": held["reason"], "returnReasonNote": "", "returnReasonDefinition": None,
         "fulfillmentLineItem": {"lineItem": {"id": gid("LineItem", one["line"]), "sku": None}}}
        for one in held["lines"]
    ]  # fmt: skip
    label = {"tracking": {"number": held["tracking"], "carrierName": held["carrier"], "url": None}}
    back = [{"id": gid("ReverseDelivery", int(held["id"]) + 7), "deliverable": label}] if held["tracking"] else []
    return {
        "id": gid("Return", held["id"]), "name": held["name"], "status": held["status"],
        "createdAt": held["created_at"], "requestApprovedAt": held["approved_at"], "closedAt": held["closed_at"],
        "decline": held["decline"], "returnLineItems": page_of(lines, first, after), "exchangeLineItems": {"nodes": []},
        "reverseFulfillmentOrders": {"nodes": [{"reverseDeliveries": {"nodes": back}}]},
    }  # fmt: skip


def payment_node(id_: str, kind: str, amount: str, held: Record, parent: str | None = None) -> Record:
    """A payment, or (with its parent) a refund of one."""
    return {
        "id": gid("OrderTransaction", id_), "kind": kind, "status": "SUCCESS", "gateway": "shopify_payments",
        "amountSet": bag(amount, held["currency"]),
        "parentTransaction": {"id": gid("OrderTransaction", parent)} if parent else None,
    }  # fmt: skip


def refund_node(held: Record) -> Record:
    """A refund."""
    paid = payment_node(f"{held['id']}1", "REFUND", held["amount"], held, held["order"])
    return {
        "id": gid("Refund", held["id"]), "createdAt": held["created_at"], "processedAt": held["created_at"],
        "note": held["note"], "return": {"id": gid("Return", held["return"])} if held["return"] else None,
        "totalRefundedSet": bag(held["amount"], held["currency"]),
        "transactions": {"nodes": [paid]}, "refundLineItems": {"nodes": []},
    }  # fmt: skip


def order_node(
    held: Record, returned: list[Record], paid: list[Record], lines: int | None = None, after: str | None = None
) -> Record:
    """An order with its returns and refunds, and with a page of the lines of each."""
    currency, address = held["currency"], held["address"]
    refunds = [refund_node(one) for one in paid]
    returns = [return_node(one, lines) for one in returned]
    payments = [payment_node(held["id"], "SALE", held["total"], held)]
    payments += [node for one in refunds for node in one["transactions"]["nodes"]]
    done = {
        "createdAt": held["created_at"], "deliveredAt": held["delivered_at"], "displayStatus": "DELIVERED",
        "estimatedDeliveryAt": None,
        "trackingInfo": [{"number": held["tracking"], "company": held["carrier"], "url": None}],
    }  # fmt: skip
    total = sum((Decimal(one["totalRefundedSet"]["shopMoney"]["amount"]) for one in refunds), Decimal(0))
    return {
        "id": gid("Order", held["id"]), "name": held["name"], "email": held["email"], "phone": held["phone"],
        "note": None, "tags": [], "createdAt": held["created_at"], "updatedAt": held["updated_at"],
        "cancelledAt": held["cancelled_at"], "customerLocale": held["locale"],
        "paymentGatewayNames": ["shopify_payments"], "totalPriceSet": bag(held["total"], currency),
        "totalRefundedSet": bag(total, currency),
        "customer": {"id": gid("Customer", held["customer"]), "displayName": held["buyer"],
                     "locale": held["locale"], "numberOfOrders": "1", "tags": []},
        "shippingAddress": {"name": address["name"], "phone": address["phone"], "countryCodeV2": address["country"],
                            "province": None, "city": address["city"],
                                "address1": None, "address2": None, "zip": None},
        "lineItems": page_of([
            {"id": gid("LineItem", one["id"]), "sku": one["sku"], "title": one["title"], "variantTitle": None,
             "quantity": one["quantity"], "originalUnitPriceSet": bag(one["price"], currency),
             "discountAllocations": [{"allocatedAmountSet": bag(one["off"], currency)}] if one["off"] else []}
            for one in held["lines"]
        ], (lines if after else None) or 20, after),
        "fulfillments": [done] if held["delivered_at"] else [],
        "returns": {"nodes": returns}, "refunds": refunds, "transactions": payments,
    }  # fmt: skip
