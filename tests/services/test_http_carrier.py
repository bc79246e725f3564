"""A shop's own system as its carrier: queries, and what a call is configured for."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import json
from datetime import UTC, datetime

import httpx
import pytest
import respx
from pydantic import ValidationError
from rmabridge_http import HttpCarrier

from rmabridge.config import read
from rmabridge.model import (
    Address,
    CheckCoverage,
    ClaimStatus,
    FileClaim,
    Money,
    ParcelStatus,
    QueryClaim,
    QueryParcel,
    RefKind,
    TrackParcel,
)
from rmabridge.registry import build
from rmabridge.testing.contexts import account, context
from rmabridge.testing.contract import Call, CallContract
from rmabridge.testing.contract.kinds import check_parcels
from worlds import document

URL = "https://erp.example/parcels"
QUERY = QueryParcel(waybill="YT00001", carrier="YTO")
SCANS = [
    {"at": "2026-01-02T11:00:00Z", "status": "in_transit", "text": "离开"},
    {"at": "2026-01-02T10:00:00Z", "status": "picked_up"},
]
PARCEL = {"type": "parcel.seen", "parcel": {"waybill": "yt 00001", "status": "in_transit", "scans": SCANS}}


def carrier(**settings):
    return account(HttpCarrier, "own", **{"url": URL, **settings})


async def asked(action, answer, **settings):
    lent = context()
    plugin = carrier(**settings)
    with respx.mock(using="httpx") as router:
        route = router.route(host="erp.example").mock(return_value=httpx.Response(200, json=answer))
        try:
            return await plugin.route(action).method(action, lent), json.loads(route.calls.last.request.content)
        finally:
            await lent.http.aclose()


async def test_a_query_is_posted_and_its_answer_shows_the_parcel():
    result, sent = await asked(QUERY, {"events": [PARCEL]})
    assert (sent["type"], sent["waybill"]) == ("parcel.query", "YT00001")
    (event,) = result.events
    check_parcels([event])
    assert (event.parcel.status, event.parcel.last.text) == (ParcelStatus.IN_TRANSIT, "离开")
    assert event.at == datetime(2026, 1, 2, 11, tzinfo=UTC)
    again, _ = await asked(QUERY, {"events": [PARCEL]})
    assert again.events[0].key == event.key


async def test_an_answer_in_other_words_is_read_by_an_expression():
    shape = "[{type: 'parcel.seen', parcel: {waybill: no, status: state}}]"
    result, sent = await asked(
        QUERY,
        {"no": "YT00001", "state": "delivered"},
        calls={"parcel.query": {"path": "state", "body": {"no": "{waybill}"}, "events": shape}},
    )
    assert sent == {"no": "YT00001"}
    assert result.events[0].parcel.status is ParcelStatus.DELIVERED


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"events": [{"type": "parcel.seen", "parcel": {"waybill": "A1", "status": "flying"}}]},
        {"events": [{"type": "case.closed", "result": "x"}]},
        {"events": [{"type": "parcel.seen"}]},
    ],
)
async def test_an_answer_that_says_nothing_of_a_parcel_is_none(answer):
    with pytest.raises(ValueError, match=r"names no|cannot be read"):
        await asked(QUERY, answer)


async def test_a_claim_is_filed_and_asked_about_where_a_call_is_configured():
    file = FileClaim(waybill="YT00001", carrier="YTO", claim="loss", amount=Money.of("20 CNY"), external="C1")
    result, sent = await asked(file, {"id": "CL-7"}, calls={"claim.file": {}})
    assert (result.id, result.events, sent["claim"]) == ("CL-7", (), "loss")
    told = {"type": "claim.seen", "claim": "CL-7", "waybill": "YT00001", "kind": "loss", "status": "approved"}
    query = QueryClaim(waybill="YT00001", claim="CL-7")
    result, _ = await asked(query, {"events": [told]}, calls={"claim.query": {}})
    (event,) = result.events
    assert (event.status, event.refs[0].kind) == (ClaimStatus.APPROVED, RefKind.WAYBILL)


async def test_coverage_is_told_by_the_answer():
    check = CheckCoverage(carrier="HHTT", address=Address(country="CN", city="杭州"))
    told = {"type": "coverage.seen", "carrier": "HHTT", "served": False}
    result, _ = await asked(check, {"events": [told]}, calls={"coverage.check": {}})
    assert result.events[0].served is False


async def test_what_no_call_is_configured_for_it_does_not_do():
    plugin, lent = carrier(), context()
    file = FileClaim(waybill="YT00001", carrier="YTO", claim="loss", amount=Money.of("20 CNY"), external="C1")
    assert plugin.route(file) is None
    track = TrackParcel(waybill="A1")
    assert await plugin.route(track).method(track, lent) is None
    await lent.http.aclose()


def test_a_shop_may_name_it_as_its_carrier(tmp_path):
    config = document(tmp_path, "https://erp.example", policies=["tracking"])
    config["carriers"] = {"own": {"plugin": "http", "url": URL}}
    config["shops"]["one"]["carrier"] = "own"
    registry = build(read(config))
    assert registry.handler("own", QUERY).repeatable
    assert registry.handler("own", TrackParcel(waybill="A1")) is not None


def test_a_call_for_what_it_cannot_do_is_refused():
    with pytest.raises(ValidationError, match="no action of this plugin"):
        carrier(calls={"order.fetch": {}})


class TestContract(CallContract):
    plugin = HttpCarrier
    settings = {"url": URL, "bearer": "word-9"}
    kinds = ("carriers",)

    def calls(self):
        return [Call("query", QUERY, ({"events": [PARCEL]},))]


async def test_a_state_that_comes_back_is_news_by_each_question():
    one = account(HttpCarrier, "ca", url="https://erp.example/api", calls={"claim.query": {"path": "claims/{claim}"}})
    told = {
        "events": [{"type": "claim.seen", "claim": "K1", "waybill": "YT1", "kind": "damage", "status": "submitted"}]
    }
    keys = []
    with respx.mock(using="httpx") as mock:
        mock.post(url__startswith="https://erp.example/").mock(httpx.Response(200, json=told))
        for number in (1, 2, 2):
            ctx = context("ca", http=httpx.AsyncClient())
            ctx.idempotency_key = f"question {number}"
            result = await one.query_claim(QueryClaim(claim="K1", waybill="YT1"), ctx)
            await ctx.http.aclose()
            keys.append(result.events[0].key)
    assert keys[0] != keys[1] == keys[2]
