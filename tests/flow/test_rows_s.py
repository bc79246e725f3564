"""Rows of the after-sales process, proven on a running bridge with simulated systems around it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families
from toybox import START, cases, command, event, ledger, requested, send, shift, timeline, toybox

from rmabridge.core.templates import Catalogue
from rmabridge.model import EVENTS, Case
from rmabridge.testing.simulators.kdniao import KdniaoSim
from rmabridge.testing.simulators.shopify import ShopifySim
from rmabridge.testing.simulators.sink import Sink
from worlds import SPINE, World, a_return, ago, document, running, shop_webhook

GOLDEN = sorted((Path(__file__).parents[1] / "data" / "golden").glob("*.json"))
BUYER = {"id": "B1", "name": "李雷", "email": "li@example.com", "locale": "zh-CN"}


def message(number: int, text: str, order: str | None = "O1", **data: Any) -> dict[str, Any]:
    """A message of the generic shop's buyer."""
    given = {"order": order, "text": text, "buyer": BUYER, **data}
    return {"id": f"m-{number}", "type": "message", "time": ago(seconds=30 - number), "data": given}


def texts(world: World, purpose: str) -> list[str]:
    """Messages with this purpose, as the sink got them."""
    bodies = [one["body"] for one in world.sink.books["posts"]]
    return [one["text"] for one in bodies if one.get("type") == "message.send" and one["purpose"].startswith(purpose)]


def told(world: World, case_id: str, type_: str) -> list[Any]:
    """The events of a type on a case's timeline."""
    store = world.bridge.store
    rows = world.rows(f"SELECT key_id, doc FROM timeline WHERE case_id = '{case_id}' AND type = '{type_}' ORDER BY seq")
    return [EVENTS.validate_json(store.vault.open(*one)) for one in rows]


@pytest.mark.row("S001")
async def test_app_mini_program_sms_and_phone_land_in_one_case(tmp_path: Path, sink: Sink) -> None:
    config = document(tmp_path, sink.url, policies=[])
    entrances = ("app", "mini", "sms", "phone")
    config["marketplaces"] |= {one: shop_webhook() for one in entrances}
    config["shops"]["one"]["sources"] = list(entrances)
    async with running(config, sink) as world:
        for number, one in enumerate(entrances):
            assert (await world.post(message(number, f"从{one}来"), one))[0] == 200
        await world.settle()
        (case,) = cases(world)
        rows = world.rows(f"SELECT type, account FROM timeline WHERE case_id = '{case.id}'")
        assert sorted(rows) == sorted(("message.received", one) for one in entrances)


@pytest.mark.row("S005")
async def test_a_message_with_only_a_buyer_gets_order_shipment_and_earlier_cases_before_routing(
    tmp_path: Path, sink: Sink
) -> None:
    async with ShopifySim() as sim:
        order = sim.do_place_order(email="li@example.com")
        config = document(tmp_path, sink.url, policies=["routing"])
        config["routes"] = [{"name": "all", "when": {}, "then": {"group": "front"}}]
        config["marketplaces"]["chat"] = shop_webhook()
        config["marketplaces"]["shop"] = {
            "plugin": "shopify",
            "shop": sim.shop,
            "secret": sim.secret,
            "access_token": sim.access_token,
            "url": sim.url,
            "allow_private": True,
        }
        config["shops"]["one"]["sources"] = ["chat"]
        async with running(config, sink) as world:
            buyer = {"id": "li@example.com"}
            assert (await world.post(message(1, "早上好", None, buyer=buyer), "chat"))[0] == 200
            await world.until(lambda: cases(world) and cases(world)[0].route.group)
            first = cases(world)[0]
            assert (await command(world, "close", first.id))[0] == "done"
            assert (await world.post(message(2, "又来了", None, buyer=buyer), "chat"))[0] == 200
            await world.until(lambda: len(cases(world)) == 2 and cases(world)[1].route.group)
            case = cases(world)[1]
            assert case.order and case.order.id == order["order"] and case.order.lines[0].sku == "TEE-M"
            assert [one.waybill for one in case.parcels] == ["1Z999AA10123456784"]
            assert case.previous == (first.id,)
            types = timeline(world, case.id)
            assert types.index("order.seen") < types.index("case.routed")


@pytest.mark.row("S008")
async def test_one_greeting_in_the_buyers_language_for_each_session(world: World) -> None:
    await world.post(message(1, "你好"))
    await world.settle()
    await world.post(message(2, "在吗"))
    await world.settle()
    assert len(texts(world, "reply:first")) == 1
    assert "您" in texts(world, "reply:first")[0]
    assert texts(world, "greeting:") == []
    shift(world, minutes=40)
    await world.settle()
    later = message(3, "还在吗") | {"time": (datetime.now(UTC) + timedelta(minutes=40)).isoformat()}
    await world.post(later)
    await world.until(lambda: len(texts(world, "greeting:")) == 1)
    await world.settle()
    assert len(texts(world, "reply:first")) == 1


@pytest.mark.row("S009")
async def test_the_channel_and_the_language_are_the_customers(tmp_path: Path, sink: Sink) -> None:
    config = document(tmp_path, sink.url, policies=["first_reply"])
    out = {"plugin": "http", "url": sink.url, "allow_private": True}
    config["marketplaces"] = {"taobao": shop_webhook(), "amazon": shop_webhook()}
    config["channels"]["wangwang"] = {**out, "carries_forms": ["chat"]}
    config["shops"] = {
        "tmall": {
            "marketplace": "taobao",
            "channels": ["wangwang", "mail"],
            "locale": "zh-CN",
            "timezone": "Asia/Shanghai",
        },
        "us": {"marketplace": "amazon", "channels": ["mail"], "locale": "en-US"},
    }
    async with running(config, sink) as world:
        chinese = {"id": "B1", "name": "李雷", "chat": "tb-1", "email": "li@example.com", "locale": "zh-CN"}
        english = {"id": "B2", "name": "Ann", "email": "ann@example.com", "locale": "en-US"}
        await world.post(a_return(1, buyer=chinese), "taobao")
        await world.post(a_return(2, buyer=english), "amazon")
        await world.settle()
        sent = {one["body"]["account"]: one["body"] for one in sink.books["posts"]}
        assert sent.keys() == {"wangwang", "mail"}
        assert (sent["wangwang"]["form"], sent["wangwang"]["to"]) == ("chat", "tb-1")
        assert sent["wangwang"]["template"]["locale"] == "zh-CN" and "您" in sent["wangwang"]["text"]
        assert (sent["mail"]["form"], sent["mail"]["to"]) == ("mail", "ann@example.com")
        assert sent["mail"]["template"]["locale"] == "en" and "您" not in sent["mail"]["text"]


@pytest.mark.row("S010")
async def test_a_new_case_alerts_every_staff_channel_and_one_that_fails_is_tried_again(
    tmp_path: Path, sink: Sink
) -> None:
    async with Sink() as sick:
        sick.do_answer(503)
        config = document(tmp_path, sink.url, policies=["routing"])
        for name, url in (("lark", sink.url), ("wecom", sick.url)):
            out = {"plugin": "http", "url": url, "allow_private": True, "carries_forms": ["chat"]}
            config["channels"][name] = {**out, "calls": {"message.send": {"repeatable": True}}}
        config["shops"]["one"]["staff"] = ["lark", "wecom"]
        async with running(config, sink) as world:
            await world.post(a_return())
            await world.until(lambda: len(sink.books["posts"]) == 1 and sick.books["refused"])
            await world.settle()
            assert sick.books["posts"] == []
            assert ledger(world) == {"staff:case:lark:1": "done", "staff:case:wecom:1": "due"}
            shift(world, minutes=5)
            await world.until(lambda: set(ledger(world).values()) == {"done"})
            assert (len(sink.books["posts"]), len(sick.books["posts"])) == (1, 1)


@pytest.mark.row("S011")
@pytest.mark.parametrize("path", GOLDEN, ids=lambda one: one.stem)
async def test_a_golden_body_becomes_its_case_field_by_field_and_is_kept_byte_for_byte(
    tmp_path: Path, sink: Sink, path: Path
) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    config = document(tmp_path, sink.url, policies=[])
    async with running(config, sink) as world:
        for raw in golden["raw"]:
            assert (await world.post(raw))[0] == 200
            await world.settle()
        (case,) = cases(world)
        shown = json.loads(case.model_dump_json(by_alias=True, exclude_defaults=True, exclude={"id", "stamps"}))
        assert shown == golden["case"]
        assert Case.model_validate({"id": case.id, **golden["case"]}) == case.model_copy(update={"stamps": {}})
        whole = json.dumps(shown, ensure_ascii=False)
        for raw in golden["raw"]:
            assert [leaf for leaf in leaves(raw["data"]) if leaf not in whole] == []
        store = world.bridge.store
        for raw, (key, body, digest) in zip(
            golden["raw"], world.rows("SELECT key_id, body, digest FROM inbox ORDER BY id"), strict=True
        ):
            sent = json.dumps(raw, ensure_ascii=False).encode()
            assert store.vault.open(key, body).endswith(sent)
            assert digest == blake2b(sent, digest_size=16).digest()


def leaves(value: Any) -> list[str]:
    """Every text in a document; times as the case writes them."""
    if isinstance(value, dict):
        return [leaf for name, one in value.items() if name != "author" for leaf in leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [str(value)]


def test_there_are_golden_fixtures() -> None:
    assert len(GOLDEN) >= 3


@pytest.mark.row("S043")
async def test_the_time_to_the_first_reply_is_measured_as_the_timeline_has_it(world: World) -> None:
    await world.post(a_return())
    await world.until(lambda: texts(world, "reply:first"))
    await world.settle()
    async with world.client.get(f"{world.bridge.url}/metrics") as answer:
        families = {one.name: one for one in text_string_to_metric_families(await answer.text())}
    samples = families["rmabridge_first_response_seconds"].samples
    labels = {"shop": "one", "channel": "mail"}
    found = {one.name.rpartition("_")[2]: one.value for one in samples if one.labels == labels}
    (case,) = cases(world)
    first = next(one for one in told(world, case.id, "action.settled") if one.action == "reply:first:1")
    assert found["count"] == 1.0
    assert found["sum"] == pytest.approx((first.at - case.opened_at).total_seconds())


@pytest.mark.row("S060", "P46")
async def test_a_sent_message_stores_the_version_of_its_template(world: World) -> None:
    await world.post(a_return())
    await world.until(lambda: texts(world, "reply:first"))
    await world.settle()
    query = "SELECT template, template_version, locale FROM messages WHERE id = 'reply:first:1'"
    version = Catalogue(None).text("first_reply.return").version
    assert world.rows(query) == [("first_reply.return", version, "zh-CN")]


@pytest.mark.row("S062")
@pytest.mark.evidence("progress", "end_to_end")
async def test_every_step_is_told_once_however_often_its_event_comes(tmp_path: Path, sink: Sink) -> None:
    mine = {"return": "R1"}
    back = {"waybill": "SF1", "direction": "back", "status": "delivered"}
    paid = {"refund": "F1", "amount": {"amount": "20.00", "currency": "CNY"}}
    steps = [
        requested(buyer=BUYER, order={"id": "O1", "placed_at": START.isoformat()}),
        event("request.changed", "yes", 1, mine, status="approved"),
        event("parcel.seen", "back", 2, mine, parcel=back),
        event("refund.seen", "start", 3, mine, status="pending", **paid),
        event("refund.seen", "paid", 4, mine, status="done", **paid),
    ]
    config = toybox(tmp_path, sink.url, *SPINE, shop={"auto_approve": False})
    async with running(config, sink) as world:
        for one in steps:
            await send(world, one)
            await world.settle()
        for one in [*steps, *reversed(steps)]:
            await send(world, one, **{"X-Id": f"again-{world.number}"})
            world.number += 1
        await world.settle()
        progress = [key for key, state in ledger(world).items() if key.startswith("progress:") and state == "done"]
        assert progress == [f"progress:{one}:1" for one in ("approved", "received", "refund_started", "refunded")]
        bodies = [one["body"] for one in sink.books["posts"]]
        sent = [one["purpose"] for one in bodies if one["type"] == "message.send" and one["audience"] == "buyer"]
        assert sorted(sent) == sorted(["reply:first:1", *progress])


@pytest.mark.row("S091")
async def test_where_is_my_order_is_answered_from_the_tracking(tmp_path: Path, sink: Sink) -> None:
    async with KdniaoSim(app_key="kd-key") as sim:
        config = toybox(tmp_path, sink.url, "tracking", shop={"carrier": "kd"})
        config["carriers"] = {
            "kd": {
                "plugin": "kdniao",
                "business_id": "1234567",
                "app_key": "kd-key",
                "url": sim.url,
                "allow_private": True,
            }
        }
        sim.do_ship("YT0000000000001", "YTO")
        await sim.do_scan("YT0000000000001", "2", "离开【杭州转运中心】", "杭州市")
        eta = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
        parcel = {"waybill": "YT0000000000001", "carrier": "YTO", "eta": eta.isoformat()}
        async with running(config, sink) as world:
            await send(world, requested(buyer=BUYER, order={"id": "O1", "placed_at": START.isoformat()}))
            await send(world, event("parcel.seen", "p", 1, {"return": "R1"}, parcel=parcel))
            await world.settle()
            at = datetime.now(UTC).isoformat()
            words = {"id": "q", "author": "buyer", "form": "chat", "text": "Where is my order?", "at": at}
            await send(
                world,
                {
                    "type": "message.received",
                    "key": "q",
                    "at": at,
                    "refs": [{"kind": "return", "value": "R1"}],
                    "message": words,
                },
            )
            await world.until(lambda: texts(world, "answer:tracking"))
            (answer,) = texts(world, "answer:tracking")
            assert "离开【杭州转运中心】" in answer and "YT0000000000001" in answer
            assert str(eta.astimezone(ZoneInfo("Asia/Shanghai")).day) in answer
            await world.settle()
            settled = [
                one for one in told(world, cases(world)[0].id, "action.settled") if one.action.startswith("answer:")
            ]
            assert (settled[0].at - datetime.fromisoformat(at)).total_seconds() < 60


def refund(number: int = 1, **more: Any) -> dict[str, Any]:
    """A refund that an operator asks for."""
    amount = {"amount": "20.00", "currency": "CNY"}
    return {"action": {"type": "refund.pay", "request": f"R{number}", "order": f"O{number}", "amount": amount, **more}}


@pytest.mark.row("S108")
async def test_no_money_moves_before_both_sides_agree_unless_a_rule_is_automatic(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "returns", shop={"auto_approve": False}), sink) as world:
        order = {"placed_at": START.isoformat()}
        await send(world, *(requested(n, order={"id": f"O{n}", **order}) for n in (1, 2, 3)))
        await world.settle()
        ids = {one.ref("return"): one.id for one in cases(world)}
        assert await command(world, "act", ids["R1"], **refund(1)) == (
            "done",
            "refund:R1:all: held: returns.agreement: the remedy is neither agreed by both sides nor granted by a rule",
        )
        await world.settle()
        assert all(one.refunds == () and one.agreed is None for one in cases(world))
        assert (await command(world, "approve", approval=1))[0] == "done"
        await world.until(lambda: ledger(world)["refund:R1:all"] == "done")
        await command(world, "act", ids["R2"], agreed=True, **refund(2))
        offer = event("remedy.offered", "offer", 2, {"return": "R3"}, remedy="refund_only", automatic="small-amount")
        await send(world, offer)
        await world.settle()
        await command(world, "act", ids["R3"], **refund(3))
        await world.until(lambda: all(one.refunds for one in cases(world)))
        found = {one.ref("return"): one for one in cases(world)}
        for name in ("R1", "R2"):
            agreed, (paid,) = found[name].agreed, found[name].refunds
            assert agreed and agreed.accepted_at and agreed.accepted_at <= paid.at and agreed.accepted_by == "tester"
        assert found["R3"].agreed is None and found["R3"].offered and found["R3"].offered.automatic == "small-amount"


@pytest.mark.row("P40")
async def test_one_file_configures_twenty_shops_of_several_marketplaces_and_two_help_desks(
    tmp_path: Path, sink: Sink
) -> None:
    async with Sink() as other:
        config = document(tmp_path, sink.url)
        out = {"plugin": "http", "allow_private": True}
        config["helpdesks"] = {"asia": {**out, "url": sink.url}, "west": {**out, "url": other.url}}
        config["channels"] = {"mail": {**out, "url": sink.url, "carries_forms": ["mail"]}}
        config["marketplaces"] = {
            f"m{n}": shop_webhook() if n % 2 else {"plugin": "toy", "allow_private": True} for n in range(20)
        }
        config["bridge"]["plugins_dir"] = str(Path(__file__).parent / "toys")
        config["shops"] = {
            f"shop-{n}": {"marketplace": f"m{n}", "helpdesk": "west" if n >= 10 else "asia", "channels": ["mail"]}
            for n in range(20)
        }
        async with running(config, sink) as world:
            for n in range(20):
                order = {"id": f"O{n}", "placed_at": START.isoformat()}
                if n % 2:
                    assert (await world.post(a_return(n), f"m{n}"))[0] == 200
                else:
                    assert await send(world, requested(n, order=order), account=f"m{n}") == 200
            await world.settle(40)
            assert sorted(one.shop for one in cases(world)) == sorted(f"shop-{n}" for n in range(20))
            desks = [
                [one["body"]["external"] for one in each.books["posts"] if one["body"]["type"] == "ticket.open"]
                for each in (sink, other)
            ]
            names = {one.id: int(one.shop.removeprefix("shop-")) for one in cases(world)}
            assert [sorted(names[one] for one in each) for each in desks] == [list(range(10)), list(range(10, 20))]
