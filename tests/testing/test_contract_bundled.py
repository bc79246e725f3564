"""Bundled plugins: what they fetch, how they are probed and connected, and that each of them has its contract."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import ast
import hashlib
import hmac
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from rmabridge_aliyun_sms import AliyunSms
from rmabridge_approvals import Approvals
from rmabridge_chatwoot import Chatwoot
from rmabridge_compensation import Compensation
from rmabridge_easypost import EasyPost
from rmabridge_evidence import EvidencePolicy
from rmabridge_http import Http
from rmabridge_kdniao import Kdniao
from rmabridge_request_tracker import RequestTracker
from rmabridge_shopify import Shopify
from rmabridge_taobao import Taobao
from rmabridge_zendesk import Zendesk

from rmabridge.registry import classes
from rmabridge.testing.contract import ConnectContract, EvidenceContract, Fetch, FetchContract, PolicyContract
from rmabridge.testing.contract.settings import KINDS

TESTS = Path(__file__).parents[1]


class TestRequestTracker(FetchContract, ConnectContract):
    plugin = RequestTracker
    settings = {"url": "https://rt.example", "user": "bridge", "password": "secret-word"}
    probed = ({"Version": "5.0.3"},)

    def fetches(self):
        row = {"id": "10", "Type": "Status", "Created": "2026-01-02T11:00:00Z", "ObjectId": "4"}
        row |= {"Creator": {"id": "alice"}, "NewValue": "resolved"}
        ticket = {"id": 4, "Subject": "Wrong size", "CustomFields": [{"name": "rma_ref", "values": ["C1"]}]}
        return [Fetch("poll", ({"items": [row]}, ticket), cursor="9")]


class TestChatwoot(FetchContract, ConnectContract):
    plugin = Chatwoot
    settings = {"account_id": 1, "inbox_id": 4, "token": "chatwoot-token", "secret": "hook-secret", "bot_ids": ["5"]}
    probed = (
        {"id": 5, "name": "Bridge", "accounts": [{"id": 1, "role": "administrator"}]},
        {"id": 4, "name": "Cases", "channel_type": "Channel::Api"},
    )

    def fetches(self):
        visitor = {"id": 9, "name": "Jane", "email": "jane@example.com", "identifier": "cust-1", "type": "contact"}
        moved = {"last_activity_at": 1767354000, "waiting_since": 1767353000, "updated_at": 1767354000.5}
        talk = {"id": 33, "inbox_id": 3, "status": "open", "meta": {"sender": visitor}, "messages": [], **moved}
        said = {"id": 71, "content": "Where is it?", "message_type": 0, "created_at": 1767353500, "sender": visitor}
        listed, lines = {"data": {"payload": [talk]}}, {"payload": [said | {"conversation_id": 33, "private": False}]}
        return [Fetch("listing", (listed, lines, {"data": {"payload": []}}))]


class TestShopify(FetchContract, ConnectContract):
    plugin = Shopify
    settings = {"shop": "demo.myshopify.com", "secret": "shpss_demo_secret", "client_id": "demo-client"}
    token = {"access_token": "shpat_demo_token"}
    probed = ({"data": {"shop": {"name": "Demo", "myshopifyDomain": "demo.myshopify.com"}}},)
    exchanged = ({"access_token": "shpat_new", "scope": "read_returns"},)
    signed_callback = True

    def callback(self):
        query = {"code": "c1", "shop": "demo.myshopify.com", "state": "s1", "timestamp": "1767355200"}
        text = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        return query | {"hmac": hmac.new(b"shpss_demo_secret", text.encode(), hashlib.sha256).hexdigest()}

    def fetches(self):
        asked = {"id": "gid://shopify/Return/1", "status": "REQUESTED", "createdAt": "2026-01-02T11:00:00Z"}
        order = {"id": "gid://shopify/Order/9001", "name": "#1001", "createdAt": "2026-01-01T12:00:00Z"}
        order |= {"updatedAt": "2026-01-02T11:00:00Z", "returns": {"nodes": [asked]}, "refunds": []}
        pages = ({"hasNextPage": True, "endCursor": "c1"}, {"hasNextPage": False, "endCursor": None})
        return [
            Fetch("listing", tuple({"data": {"orders": {"nodes": [order], "pageInfo": one}}} for one in pages)),
        ]


class TestTaobao(FetchContract, ConnectContract):
    plugin = Taobao
    settings = {"app_key": "12345678", "app_secret": "demo-top-secret", "session": "demo-session"}
    probed = ({"refunds_receive_get_response": {"refunds": {"refund": []}}},)

    def fetches(self):
        refund = {"refund_id": "987654321", "tid": 2100000000000000001, "status": "SUCCESS", "refund_fee": "19.90"}
        refund |= {"created": "2026-01-02 03:04:05", "modified": "2026-01-02 03:04:05", "dispute_type": "REFUND"}
        listed = {"refunds_receive_get_response": {"refunds": {"refund": [refund]}, "has_next": False}}
        content = '{"refund_id": 987654321, "tid": 2100000000000000001, "modified": "2026-01-02 03:04:05"}'
        message = {"id": 1, "topic": "taobao_refund_RefundSuccess", "content": content, "user_nick": "shop"}
        heard = {"tmc_messages_consume_response": {"messages": {"tmc_message": [message]}}}
        held = {"refund_get_response": {"refund": refund}}
        said = {"refund_messages_get_response": {"refund_messages": {"refund_message": []}}}
        return [Fetch("listing", (listed,)), Fetch("poll", (heard, held, said), cursor="1")]


class TestZendesk(ConnectContract):
    plugin = Zendesk
    settings = {"subdomain": "acme", "email": "b@example.com", "token": "zendesk-token", "secret": "signing-secret"}
    probed = ({"user": {"id": 5, "name": "Bridge"}},)


class TestKdniao(ConnectContract):
    plugin = Kdniao
    settings = {"business_id": "1234567", "app_key": "56da2cf8-key"}
    probed = ({"Success": True, "Shippers": []},)


class TestEasyPost(ConnectContract):
    plugin = EasyPost
    settings = {"api_key": "EZTK-of-a-test", "secret": "hook-secret"}
    probed = ({"trackers": [{"mode": "test"}]},)


class TestAliyunSms(ConnectContract):
    plugin = AliyunSms
    settings = {"access_key_id": "LTAI-demo", "access_key_secret": "demo-secret", "sign": "示例"}
    probed = ({"Code": "OK", "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}},)


class TestHttp(ConnectContract):
    plugin = Http
    settings = {"url": "https://erp.example/api", "bearer": "t0ken-of-erp", "probe_path": "/health"}
    probed = ({"ok": True},)
    probed_by_status = True


class TestApprovals(PolicyContract):
    plugin = Approvals


class TestCompensation(PolicyContract):
    plugin = Compensation


class TestEvidence(EvidenceContract):
    plugin = EvidencePolicy
    subject = "quality:1"


@cache
def under_contract() -> set[tuple[str, str]]:
    """The plugins, by module and class, that a contract class of any test file names."""
    return {found for path in TESTS.rglob("test_*.py") for found in named(ast.parse(path.read_text("utf-8")))}


def named(tree):
    """The plugins that the contract classes of one file name."""
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    homes = {one.asname or one.name: (node.module, one.name) for node in taken for one in node.names}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(one).endswith("Contract") for one in node.bases):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "plugin":
                    yield homes[ast.unparse(line.value)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("point", sorted(entry_points(group="rmabridge")), ids=lambda one: one.name)
def test_every_bundled_plugin_has_a_contract_class(point):
    module = point.load()
    offered = {(module.__name__, one.__name__) for kind in KINDS for one in classes(module, kind)}
    assert offered, f"{point.value} offers nothing"
    assert offered - under_contract() == set(), "write a test class of rmabridge.testing.contract for it"
