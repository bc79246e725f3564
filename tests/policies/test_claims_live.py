"""Claims on a running bridge: a carrier's push, silence, a mail server, a carrier's interface, and the money."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rmabridge_claims import Claims
from rmabridge_logistics import Logistics

from rmabridge.core.claims import payout
from rmabridge.model import Case, ClaimStatus, Commanded, Direction, Issue, ParcelStatus, RemedyKind, Status
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.contract import PolicyContract
from rmabridge.testing.simulators.kdniao import KdniaoSim
from rmabridge.testing.simulators.mail import MailSim
from rmabridge.testing.simulators.sink import Sink
from stores import database
from worlds import World, document, running

pytestmark = pytest.mark.evidence("claims", "end_to_end")

TOYS = Path(__file__).parents[1] / "flow" / "toys"
NUMBER = "YT0000000000001"
LOSS = {"waybill": NUMBER, "carrier": "YTO", "kind": "loss"}
DAMAGED = "快件外包装破损"


class TestClaimsContract(PolicyContract):
    plugin = Claims


class TestLogisticsContract(PolicyContract):
    plugin = Logistics


@pytest.fixture
async def kd() -> AsyncIterator[KdniaoSim]:
    async with KdniaoSim(app_key="kd-key") as one:
        one.do_ship(NUMBER, "YTO")
        yield one


@pytest.fixture
async def mail() -> AsyncIterator[MailSim]:
    async with MailSim() as one:
        yield one


@pytest.fixture
def config(tmp_path: Path, sink: Sink, kd: KdniaoSim, mail: MailSim) -> dict[str, Any]:
    names = ["tracking", "returns", "claims", "logistics"]
    found = document(tmp_path, sink.url, plugins_dir=str(TOYS), policies=names)
    found["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    kdniao = {"plugin": "kdniao", "business_id": "1234567", "app_key": "kd-key", "url": kd.url}
    toy = {"plugin": "toy_carrier", "url": sink.url, "unserved": ["HHTT"], "allow_private": True}
    found["carriers"] = {"kd": kdniao | {"allow_private": True}, "toy": toy}
    smtp = {"plugin": "smtp", "host": "127.0.0.1", "port": mail.smtp_port, "tls": "none", "allow_private": True}
    found["channels"] = {"post": smtp | {"sender": "claims@shop.example"}}
    address = {"country": "CN", "region": "浙江省", "city": "杭州市"}
    found["shops"]["one"] |= {"carrier": "kd", "channels": ["post"], "return_address": address}
    found["policies"] = {"claims": {"desks": {"圆通": "claims@yto.example"}, "mail": "post"}}
    return found


def event(world: World, type_: str, **fields: Any) -> dict[str, Any]:
    at = world.bridge.store.clock.now().isoformat()
    return {"type": type_, "key": str(uuid4()), "at": at, "refs": [{"kind": "order", "value": "O1"}], **fields}


async def send(world: World, *events: dict[str, Any]) -> None:
    """Let the shop's system tell these events, and wait for what follows."""
    raw = json.dumps({"events": events}, ensure_ascii=False).encode()
    async with world.client.post(f"{world.bridge.url}/hooks/shop", data=raw) as answer:
        assert answer.status == 200
    await world.settle()


def money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "CNY"}


def says(world: World, text: str, author: str = "buyer") -> dict[str, Any]:
    at = world.bridge.store.clock.now().isoformat()
    said = {"id": str(uuid4()), "author": author, "form": "chat", "text": text, "at": at}
    return event(world, "message.received", message=said)


def shown(world: World, carrier: str = "YTO", note: str | None = None, **parcel: Any) -> dict[str, Any]:
    """The order of one pair of shoes, with its parcel."""
    lines = [{"id": "L1", "sku": "S-1", "title": "鞋", "quantity": 1, "price": money("120.00")}]
    order = {"id": "O1", "placed_at": ago(days=1), "total": money("120.00"), "lines": lines, "note": note}
    order["ship_to"] = {"country": "CN", "region": "广东省", "city": "深圳市"}
    given = {"waybill": NUMBER, "carrier": carrier, **parcel}
    buyer = {"id": "B1", "name": "李雷", "email": "li@example.com", "locale": "zh-CN"}
    return event(world, "order.seen", order=order, parcels=[given], buyer=buyer)


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def the_case(world: World) -> Case:
    store = world.bridge.store
    ((key, doc),) = world.rows("SELECT key_id, doc FROM cases")
    store.keys_for({key})
    return Case.model_validate_json(store.vault.open(key, doc))


def ledger(world: World) -> dict[str, str]:
    return dict(world.rows("SELECT key, state FROM outbox ORDER BY id"))


def told(sink: Sink, type_: str) -> list[dict[str, Any]]:
    """What reached the sink of one type of action."""
    return [one["body"] for one in sink.books["posts"] if one["body"].get("type") == type_]


def filed_by(mail: MailSim) -> list[dict[str, Any]]:
    """What the carrier's claims desk got."""
    return [one for one in mail.books["mails"] if one["to"] == ["claims@yto.example"]]


async def later(world: World, **span: float) -> None:
    """Move the bridge's clock, and let what is due happen."""
    clock = world.bridge.store.clock
    clock.offset += timedelta(**span)
    for loop in (world.bridge.timers, world.bridge.router, world.bridge.dispatcher):
        loop.wake.set()
    await world.until(lambda: not world.rows(f"SELECT 1 FROM deadlines WHERE due_at <= {clock.micros()}"))
    await world.settle()


async def command(world: World, name: str, **args: Any) -> tuple[str, str | None]:
    """Give a command as the CLI does, and wait for what follows; (state, what was said)."""
    found = await order(world, name, **args)
    await world.settle()
    return found


async def order(world: World, name: str, **args: Any) -> tuple[str, str | None]:
    """Give a command as the CLI does; (state, what was said)."""
    router, store, key = world.bridge.router, world.bridge.store, f"cmd:{uuid4()}"
    given = Commanded(key=key, at=store.clock.now(), command=name, by="tester", args=args)
    row = router.event_row([given], "bridge", key, case_id=the_case(world).id, kind="command")
    await store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()
    query = f"SELECT state, note FROM inbox WHERE dedupe = x'{row['dedupe'].hex()}' AND state != 'new'"
    found: list[tuple[str, str | None]] = await world.until(lambda: world.rows(query))
    return found[0]


@pytest.mark.row("P49")
async def test_a_push_of_damage_mails_one_dossier_and_makes_the_carrier_liable(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook = f"{world.bridge.url}/hooks/kd"
        assert the_case(world).liable is None
        assert await kd.do_scan(NUMBER, "414", DAMAGED, "杭州市")
        await world.settle()
        assert await kd.do_redeliver(NUMBER)
        await kd.do_scan(NUMBER, "2", "已重新包装，继续发往下一站", "杭州市")
        await world.settle()
        (taken,) = filed_by(mail)
        assert f"[理赔|Claim] YTO {NUMBER}" in taken["subject"]
        pdf, told_ = taken["files"]
        assert base64.b64decode(pdf["base64"]).startswith(b"%PDF-")
        dossier = json.loads(base64.b64decode(told_["base64"]))
        assert dossier["amounts"]["claimed"] == "120.00 CNY"
        assert dossier["incident"]["tracking_excerpt"][0]["text"] == DAMAGED
        case = the_case(world)
        assert (case.liable, case.issue, len(case.claims)) == ("carrier", Issue.DAMAGED_IN_TRANSIT, 1)
        assert case.claims[0].status is ClaimStatus.SUBMITTED


async def test_a_claim_that_waits_for_its_account_is_taken_back_when_a_colleague_has_filed_it(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook, key = f"{world.bridge.url}/hooks/kd", f"staff:claim:YTO:{NUMBER}:damage"
        await command(world, "pause", account="post")
        assert await kd.do_scan(NUMBER, "414", DAMAGED, "杭州市")
        await world.until(lambda: ledger(world).get(key) == "due")
        by_hand = {"waybill": NUMBER, "carrier": "圆通", "kind": "damage", "status": "submitted"}
        await order(world, "claim", **by_hand)
        await world.until(lambda: ledger(world)[key] == "cancelled")
        await command(world, "resume", account="post")
        assert filed_by(mail) == []
        assert [one.status for one in the_case(world).claims] == [ClaimStatus.SUBMITTED]


@pytest.mark.row("P49", "S093")
async def test_silence_becomes_a_loss_one_claim_a_refund_and_money_that_matches(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    config["policies"]["logistics"] = {"silences": [{"days": 7}]}
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook = f"{world.bridge.url}/hooks/kd"
        await kd.do_scan(NUMBER, "2", "离开【杭州转运中心】", "杭州市")
        await world.settle()
        await later(world, days=6)
        assert the_case(world).parcels[0].status is ParcelStatus.IN_TRANSIT
        assert filed_by(mail) == []
        await later(world, days=1, minutes=1)
        case = the_case(world)
        assert (case.parcels[0].status, case.issue) == (ParcelStatus.LOST, Issue.LOST_PARCEL)
        assert case.offered is not None
        assert [one.remedy for one in case.offered.choices] == [RemedyKind.RESHIP, RemedyKind.REFUND_ONLY]
        assert [(one.kind, one.status) for one in case.claims] == [("loss", ClaimStatus.SUBMITTED)]
        await later(world, days=3)
        assert len(filed_by(mail)) == 1
        await send(world, event(world, "remedy.accepted", remedy="refund_only"))
        assert ledger(world)["refund:O1:all"] == "done", "the buyer does not wait for the carrier"
        await later(world, minutes=1)
        await send(world, event(world, "claim.seen", **LOSS, status="approved", amount=money("120.00")))
        state, note = await command(world, "claim", **LOSS, status="paid", paid=money("120.00"))
        assert (state, note) == ("done", f"the claim for loss of {NUMBER} is paid")
        (claim,) = the_case(world).claims
        assert (claim.status, payout(claim)) == (ClaimStatus.PAID, "matched")
        state, note = await command(world, "claim", **LOSS, status="in_review")
        assert state == "refused" and "cannot become in_review" in (note or "")
        assert len(the_case(world).claims) == 1


async def test_a_snapshot_without_news_withdraws_no_claim_and_a_new_scan_finds_the_parcel(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    config["policies"]["claims"] = {}  # nobody to file it with: it stays a draft
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook = f"{world.bridge.url}/hooks/kd"
        await kd.do_scan(NUMBER, "2", "离开【杭州转运中心】", "杭州市")
        await world.settle()
        await later(world, days=8)
        assert [(one.kind, one.status) for one in the_case(world).claims] == [("loss", ClaimStatus.DRAFT)]
        snapshot = {"waybill": NUMBER, "carrier": "YTO", "status": "in_transit"}
        await send(world, event(world, "parcel.seen", parcel=snapshot))
        case = the_case(world)
        assert (case.parcels[0].status, case.claims[0].status) == (ParcelStatus.LOST, ClaimStatus.DRAFT)
        at = world.bridge.store.clock.now().isoformat()
        scanned = snapshot | {"scans": [{"at": at, "status": "in_transit", "text": "到达【深圳】"}]}
        await send(world, event(world, "parcel.seen", parcel=scanned))
        case = the_case(world)
        assert (case.parcels[0].status, case.claims[0].status) == (ParcelStatus.IN_TRANSIT, ClaimStatus.WITHDRAWN)


@pytest.mark.row("P49")
async def test_a_carrier_with_an_interface_gets_one_call_and_no_mail(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    call = {"calls": {"claim.file": {"id": "id"}}}
    config["services"] = {"yto": {"plugin": "http", "url": sink.url, "allow_private": True, **call}}
    config["shops"]["one"]["claims"] = {"YTO": "yto"}
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook = f"{world.bridge.url}/hooks/kd"
        await kd.do_scan(NUMBER, "414", DAMAGED, "杭州市")
        await kd.do_scan(NUMBER, "414", DAMAGED, "深圳市")
        await world.settle()
        (filed,) = told(sink, "claim.file")
        assert (filed["waybill"], filed["claim"], filed["amount"]["amount"]) == (NUMBER, "damage", "120.00")
        assert filed_by(mail) == []
        assert [one.status for one in the_case(world).claims] == [ClaimStatus.SUBMITTED]


async def test_two_cases_of_one_parcel_file_one_claim(
    config: dict[str, Any], sink: Sink, kd: KdniaoSim, mail: MailSim
) -> None:
    config["bridge"]["policies"] = ["claims"]
    async with running(config, sink) as world:
        for number in (1, 2):
            refs = [{"kind": "return", "value": f"R{number}"}]
            asked = event(world, "case.requested", kind="return") | {"refs": refs}
            seen = shown(world, status="exception", exception="damaged") | {"refs": refs}
            await send(world, asked, seen)
        assert len(world.rows("SELECT id FROM cases")) == 2
        assert len(filed_by(mail)) == 1
        states = world.rows("SELECT state, cause FROM outbox WHERE key LIKE 'staff:claim:%' ORDER BY id")
        assert [state for state, _ in states] == ["done", "denied"]


@pytest.mark.row("S076")
async def test_a_written_proof_is_asked_for_and_kept_and_only_it_makes_the_carrier_liable(
    config: dict[str, Any], tmp_path: Path, sink: Sink, mail: MailSim
) -> None:
    config["shops"]["one"]["carrier"] = "toy"
    config["carriers"]["toy"]["dry_run"] = True
    async with running(config, sink) as world:
        said = event(world, "case.classified", issue="damaged_in_transit")
        photo = event(world, "evidence.added", evidence="E1", kind="photo", url="https://shop.example/a.jpg")
        await send(
            world, says(world, "箱子破了"), shown(world, status="delivered", delivered_at=ago(hours=2)), said, photo
        )
        assert (the_case(world).liable, len(the_case(world).claims)) == (None, 1)
    config["carriers"]["toy"]["dry_run"] = False
    config["bridge"]["database"] = database(tmp_path, "second")
    async with running(config, sink) as world:
        said = event(world, "case.classified", issue="damaged_in_transit")
        await send(world, says(world, "箱子破了"), shown(world, status="delivered", delivered_at=ago(hours=2)), said)
        case, paper = the_case(world), f"proof of damage {NUMBER}".encode()
        (proof,) = case.evidence
        assert (case.liable, proof.sha256) == ("carrier", sha256(paper).hexdigest())
        mailed = filed_by(mail)[-1]["files"]
        assert [base64.b64decode(one["base64"]) for one in mailed if one["name"] == "proof.txt"] == [paper]


@pytest.mark.row("S088")
async def test_an_enquiry_goes_to_the_carrier_and_its_answer_into_the_case_and_onto_the_ticket(
    config: dict[str, Any], sink: Sink
) -> None:
    config["shops"]["one"]["carrier"] = "toy"
    config["bridge"]["policies"] = ["helpdesk_sync", "logistics"]
    async with running(config, sink) as world:
        await send(world, says(world, "请帮我联系快递"), shown(world, status="in_transit"))
        assert [(one["waybill"], one["topic"]) for one in told(sink, "carrier.ask")] == [(NUMBER, "other")]
        await send(world, says(world, "快件在杭州，明天派送", author="carrier"))
        assert any("快件在杭州，明天派送" in one["text"] for one in told(sink, "ticket.comment"))
        rows = world.rows("SELECT author FROM messages ORDER BY at")
        assert ("carrier",) in rows


@pytest.mark.row("S030", "S089")
async def test_the_wrong_carrier_is_asked_whether_it_serves_the_address(config: dict[str, Any], sink: Sink) -> None:
    config["shops"]["one"]["carrier"] = "toy"
    config["shops"]["one"]["replacements"] = "toy"
    config["bridge"]["policies"] = ["logistics"]
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world, carrier="HHTT", note="请发圆通", status="in_transit"))
        case = the_case(world)
        assert (case.issue, case.coverage) == (Issue.WRONG_CARRIER, {"HHTT": False})
        assert case.offered is not None and case.offered.kind is RemedyKind.REFUND_ONLY
        replace = {"type": "goods.reship", "external": case.id, "lines": [["S-1", 1]], "carrier": "天天快递"}
        _, note = await command(world, "act", action=replace)
        assert "denied" in (note or "") and "HHTT does not serve the address" in (note or "")


@pytest.mark.row("S092")
async def test_a_refused_parcel_is_paid_when_it_is_home(config: dict[str, Any], sink: Sink, kd: KdniaoSim) -> None:
    async with running(config, sink) as world:
        await send(world, says(world, "在吗"), shown(world))
        kd.hook = f"{world.bridge.url}/hooks/kd"
        await kd.do_scan(NUMBER, "404", "收件人拒收，退回中", "深圳市")
        await world.settle()
        case = the_case(world)
        assert case.request is not None and case.request.reason == "refused_at_door"
        assert (case.status, case.parcels[0].direction) == (Status.RETURNING, Direction.BACK)
        assert "refund:O1:all" not in ledger(world)
        home = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        await kd.do_scan(NUMBER, "406", "退回件已由寄件人签收", "杭州市", at=home)
        await world.settle()
        assert ledger(world)["refund:O1:all"] == "done"
