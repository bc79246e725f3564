"""Every bundled plugin keeps the contract that third parties are given."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import base64
import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import httpx
from rmabridge_first_reply import FirstReply
from rmabridge_helpdesk_sync import HelpdeskSync
from rmabridge_http import Http
from rmabridge_kdniao import Kdniao
from rmabridge_progress import Progress
from rmabridge_request_tracker import RequestTracker
from rmabridge_returns import Returns
from rmabridge_routing import Routing
from rmabridge_shopify import Shopify
from rmabridge_smtp import Smtp
from rmabridge_tracking import Tracking
from rmabridge_webhook import Webhook
from rmabridge_zendesk import Zendesk

from rmabridge.abilities import WebRequest
from rmabridge.model import (
    ApproveReturn,
    CommentTicket,
    DeclineReturn,
    FetchOrder,
    Form,
    Forward,
    Money,
    OpenTicket,
    PayRefund,
    QueryParcel,
    SendMessage,
    TrackParcel,
    UpdateTicket,
)
from rmabridge.testing.contract import (
    Call,
    CallContract,
    CarrierContract,
    Contract,
    HelpdeskContract,
    MarketplaceContract,
    ParseContract,
    PolicyContract,
    ServiceContract,
    WebhookContract,
)
from rmabridge.testing.contract.parsing import stored

OPEN = OpenTicket(external="C1", subject="Wrong size", text="Größe 42, 你好", requester_email="li@example.com")
NOTE = CommentTicket(origin="e1", ticket="35436", text="scanned")
UPDATE = UpdateTicket(origin="e2", ticket="35436", status="solved")


class TestKdniao(CarrierContract):
    plugin = Kdniao
    settings = {"business_id": "1234567", "app_key": "56da2cf8-key"}
    secret_field = "app_key"

    def signed(self, account, now):
        row = {"AcceptTime": "2026-01-02 18:21:09", "AcceptStation": "快件外包装破损", "Action": "414"}
        track = {
            "ShipperCode": "YTO",
            "LogisticCode": "YT0000000000001",
            "Success": True,
            "State": "4",
            "Traces": [row],
        }
        push = {"EBusinessID": "1234567", "PushTime": "2026-01-02 18:30:00", "Count": "1", "Data": [track]}
        content = json.dumps(push, ensure_ascii=False)
        key = account.app_key[0].value.get_secret_value()
        mark = base64.b64encode(hashlib.md5((content + key).encode()).hexdigest().encode()).decode()
        body = urlencode({"RequestData": content, "DataSign": mark, "RequestType": "102"}).encode()
        return [WebRequest("POST", "/hooks/acc", {}, {"Content-Type": "application/x-www-form-urlencoded"}, body)]

    def unsigned(self, request):
        form = {name: value[0] for name, value in parse_qs(request.body.decode()).items() if name != "DataSign"}
        return replace(request, body=urlencode(form).encode())

    def signed_part(self, request):
        return range(request.body.index(b"&DataSign"))

    def calls(self):
        row = {"AcceptTime": "2026-01-02 18:21:09", "AcceptStation": "已签收", "Action": "301"}
        found = {"Success": True, "ShipperCode": "YTO", "LogisticCode": "YT1", "State": "3", "Traces": [row]}
        return [
            Call("query", QueryParcel(waybill="YT1", carrier="YTO"), (found,)),
            Call("track", TrackParcel(waybill="YT1", carrier="YTO"), ({"Success": True},)),
        ]


class TestZendesk(HelpdeskContract, WebhookContract):
    plugin = Zendesk
    settings = {"subdomain": "acme", "email": "b@example.com", "token": "zendesk-token", "secret": "signing-secret"}
    stamped = True
    # Somebody else was changing the ticket.
    statuses = {409: "retry"}

    def signed(self, account, now):
        stamp = now.isoformat().replace("+00:00", "Z")
        author = {"id": "5", "is_staff": True, "name": "Ana"}
        body = json.dumps(
            {
                "type": "zen:event-type:ticket.comment_added",
                "id": "2b24ef10",
                "time": "2026-01-02T11:59:58.123456789Z",
                "detail": {"id": "35436", "external_id": "C1", "status": "OPEN", "actor_id": "5"},
                "event": {"comment": {"id": "77", "body": "Hello", "is_public": True, "author": author}},
            }
        ).encode()
        secret = account.secret[0].value.get_secret_value().encode()
        mark = base64.b64encode(hmac.digest(secret, stamp.encode() + body, "sha256")).decode()
        headers = {"Content-Type": "application/json", "X-Zendesk-Webhook-Signature": mark}
        headers["X-Zendesk-Webhook-Signature-Timestamp"] = stamp
        return [WebRequest("POST", "/hooks/acc", {}, headers, body)]

    def calls(self):
        ticket = {"id": 35436, "status": "open", "updated_at": "2026-01-02T12:00:00Z"}
        written = {"ticket": ticket, "audit": {"events": [{"id": 77, "type": "Comment"}]}}
        return [
            Call(
                "open_ticket",
                OPEN,
                (httpx.Response(201, json=written),),
                found=({"tickets": [ticket | {"external_id": "C1", "tags": ["rmabridge"]}]},),
                absent=({"tickets": []},),
            ),
            Call(
                "comment_ticket",
                NOTE,
                (written,),
                keyless=True,
                found=(
                    {"ticket": ticket},
                    {"comments": [{"id": 77, "author_id": 5, "public": False, "body": "scanned"}]},
                ),
                absent=(
                    {"ticket": ticket},
                    {"comments": [{"id": 78, "author_id": 5, "public": False, "body": "another"}]},
                ),
            ),
            Call("update_ticket", UPDATE, (written,)),
        ]


class TestRequestTracker(HelpdeskContract, ParseContract):
    plugin = RequestTracker
    settings = {"url": "https://rt.example", "user": "bridge", "password": "secret-word"}
    # RT answers 403 to an unknown queue as well as to a missing right.
    statuses = {403: "dead"}

    def inbound(self, account):
        posted = {"id": 10, "type": "Correspond", "at": "2026-01-02T11:00:00Z", "creator": "alice", "ticket": "4"}
        return [stored(account, json.dumps({**posted, "privileged": True, "text": "hello"}).encode())]

    def calls(self):
        seen = {"id": 35436, "Status": "resolved", "CustomFields": [{"name": "rma_ref", "values": ["C1"]}]}
        listed = {"items": [{"id": "77", "Type": "Comment", "Created": "2026-01-02T11:59:58Z"}]}
        noted = httpx.Response(201, json=["ok"], headers={"Location": "https://rt.example/REST/2.0/transaction/77"})
        return [
            Call(
                "open_ticket",
                OPEN,
                (httpx.Response(201, json={"id": "35436"}), seen),
                keyless=True,
                found=({"items": [{"id": "35436", "Subject": "Wrong size [C1]"}]},),
                absent=({"items": []},),
            ),
            Call(
                "comment_ticket",
                NOTE,
                (noted,),
                keyless=True,
                blind=True,
                found=(listed, {"items": [{"id": "9", "ContentType": "text/plain"}]}, {"Content": "c2Nhbm5lZA=="}),
                absent=(listed, {"items": [{"id": "9", "ContentType": "text/plain"}]}, {"Content": "b3RoZXI="}),
            ),
            Call("update_ticket", UPDATE, (["Status changed"], seen)),
        ]


class TestShopify(MarketplaceContract, CallContract):
    plugin = Shopify
    settings = {"shop": "demo.myshopify.com", "secret": "shpss_demo_secret", "access_token": "shpat_demo"}

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value().encode()
        line = {"id": 1, "quantity": 2, "return_reason": "defective", "customer_note": "坏了"}
        asked = {"id": 930000111, "order": {"id": 9001}, "return_line_items": [line]}
        paid = {"id": 2, "kind": "refund", "status": "success", "amount": "21.00", "currency": "USD"}
        refund = {"id": 5001, "order_id": 9001, "created_at": "2026-01-02T03:04:05-05:00", "transactions": [paid]}
        return [
            self.webhook(secret, topic, body)
            for topic, body in (("returns/request", asked), ("refunds/create", refund))
        ]

    def webhook(self, secret, topic, body):
        raw = json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(hmac.digest(secret, raw, "sha256")).decode(),
            "X-Shopify-Shop-Domain": "demo.myshopify.com",
            "X-Shopify-Webhook-Id": "b54557e4",
            "X-Shopify-Triggered-At": "2026-01-02T12:00:00Z",
        }
        return WebRequest("POST", "/hooks/acc", {}, headers, raw)

    def calls(self):
        bag = {"presentmentMoney": {"amount": "21.00", "currencyCode": "USD"}}
        payment = {"id": "gid://shopify/OrderTransaction/1", "kind": "SALE", "status": "SUCCESS", "gateway": "bogus"}
        order = {"id": "gid://shopify/Order/9001", "name": "#1001", "createdAt": "2026-01-01T12:00:00Z"}
        held = {"order": order | {"transactions": [payment | {"amountSet": bag}], "refunds": {"nodes": []}}}
        paid = {"id": "gid://shopify/Refund/1", "createdAt": "2026-01-02T12:00:00Z", "totalRefundedSet": bag}
        decided = {"id": "gid://shopify/Return/1", "status": "OPEN", "requestApprovedAt": "2026-01-02T12:00:00Z"}
        refund = PayRefund(order="9001", amount=Money.of("21.00 USD"))
        made = {"refundCreate": {"refund": paid, "userErrors": []}}
        return [
            Call("fetch_order", FetchOrder(order="9001"), ({"data": {"order": order}},)),
            Call(
                "approve_return",
                ApproveReturn(request="1"),
                (self.data("returnApproveRequest", decided),),
                keyless=True,
                found=({"data": {"return": decided}},),
                absent=({"data": {"return": decided | {"status": "REQUESTED"}}},),
            ),
            Call(
                "decline_return",
                DeclineReturn(request="1"),
                (self.data("returnDeclineRequest", decided | {"status": "DECLINED"}),),
                keyless=True,
                found=({"data": {"return": decided | {"status": "DECLINED"}}},),
                absent=({"data": {"return": decided}},),
            ),
            Call("pay_refund", refund, ({"data": held}, {"data": made}), absent=({"data": held},)),
        ]

    def data(self, name, node):
        return {"data": {name: {"return": node, "userErrors": []}}}


class TestWebhook(MarketplaceContract):
    plugin = Webhook
    settings = {
        "signature": {"family": "standard"},
        "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "sample_body": '{"id": "e1", "type": "rma", "time": "2026-01-02T12:00:00Z", "rma": "R1", "sum": "9.50"}',
        "events": [
            {
                "type": "case.requested",
                "when": "type == 'rma'",
                "key": "id",
                "at": "time",
                "refs": {"return": "rma"},
                "set": {"kind": "'return'", "reason": "'x'", "amount.amount": "sum", "amount.currency": "'EUR'"},
            }
        ],
    }
    other_secret = "whsec_MzIxMDk4NzY1NGZlZGNiYTMyMTA5ODc2NTRmZWRjYmE="
    stamped = True


class TestHttp(HelpdeskContract, ServiceContract):
    plugin = Http
    settings = {
        "url": "https://erp.example/api",
        "bearer": "t0ken-of-erp",
        "headers": {"X-Key": "header-secret"},
        "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "carries_forms": ["mail"],
    }
    kinds = ("services", "helpdesks", "channels")

    def calls(self):
        mail = SendMessage(purpose="reply:first:1", form=Form.MAIL, to="li@example.com", text="您好")
        made = {"id": "S1", "url": "https://erp.example/S1"}
        return [
            Call("open_ticket", OPEN, (made,), by_status=True),
            Call("comment_ticket", NOTE, (made,), by_status=True),
            Call("update_ticket", UPDATE, (made,), by_status=True),
            Call("send", mail, (made,), by_status=True),
            Call("forward", Forward(origin="e1", event="case.created", body="{}"), ({},), blind=True),
        ]


class TestSmtp(Contract):
    plugin = Smtp
    settings = {"host": "mail.example", "sender": "a@example.com", "user": "u", "password": "pass-word-9"}


class TestFirstReply(PolicyContract):
    plugin = FirstReply


class TestHelpdeskSync(PolicyContract):
    plugin = HelpdeskSync


class TestProgress(PolicyContract):
    plugin = Progress


class TestReturns(PolicyContract):
    plugin = Returns


class TestRouting(PolicyContract):
    plugin = Routing


class TestTracking(PolicyContract):
    plugin = Tracking
