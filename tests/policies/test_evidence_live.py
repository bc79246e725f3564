"""Evidence on a running bridge: carriers' certificates, uploads, mismatches and cases that turn out to be one."""

from __future__ import annotations

import base64
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case
from rmabridge.testing.simulators.sink import Sink
from worlds import World, ago, document, running

pytestmark = pytest.mark.evidence("evidence", "end_to_end")

TOYS = Path(__file__).parents[1] / "flow" / "toys"
PROVER = '''"""Prover: a carrier that gives written proof as a PDF."""

from rmabridge import hookimpl
from rmabridge.abilities import GivesProof, Plugin, Result, TracksParcels
from rmabridge.model import EvidenceAdded, EvidenceKind


class Prover(Plugin, GivesProof, TracksParcels):
    async def track(self, action, ctx):
        return Result()

    async def query(self, action, ctx):
        return Result()

    async def request_proof(self, action, ctx):
        paper = f"%PDF-1.7 {action.waybill} was damaged on our way".encode()
        name = await ctx.keep(paper)
        added = EvidenceAdded(
            key=f"proof:{action.waybill}", at=ctx.now(), evidence=f"proof:{action.waybill}", kind=EvidenceKind.PROOF,
            name="proof.pdf", media_type="application/pdf", size=len(paper), sha256=name, source="prover",
        )
        return Result(id=action.waybill, events=(added,))


@hookimpl
def register_carriers():
    return [Prover]
'''
HERE = "https://service.example.com"
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def config(tmp_path: Path, sink: str, *policies: str, **shop: Any) -> dict[str, Any]:
    """A bridge whose marketplace takes any event and whose carrier may give proof."""
    toys = tmp_path / "toys"
    toys.mkdir(exist_ok=True)
    shutil.copy(TOYS / "rmabridge_toy.py", toys)
    (toys / "rmabridge_prover.py").write_text(PROVER, encoding="utf-8")
    found = document(tmp_path, sink, plugins_dir=str(toys), policies=["evidence", *policies], public_url=HERE)
    found["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    found["carriers"] = {"prover": {"plugin": "prover"}}
    found["shops"]["one"] |= shop
    return found


def event(type_: str, key: str, minutes: float = 5, **fields: Any) -> dict[str, Any]:
    return {"type": type_, "key": key, "at": ago(minutes=minutes), **fields}


def case_of(number: int, issue: str, delivered: bool = True, minutes: float = 5) -> dict[str, Any]:
    """A request with its order."""
    refs = [{"kind": "return", "value": f"R{number}"}, {"kind": "order", "value": f"O{number}"}]
    line = {"id": "L1", "sku": "K", "title": "水壶", "quantity": 1}
    order = {"id": f"O{number}", "number": f"O{number}", "lines": [line], "placed_at": ago(days=6)}
    order |= {"delivered_at": ago(days=2)} if delivered else {}
    buyer = {"id": f"B{number}", "email": f"b{number}@example.com", "locale": "zh-CN"}
    facts = {"kind": "return", "issue": issue, "refs": refs, "order": order, "buyer": buyer}
    return event("case.requested", f"asked-{number}", minutes, **facts)


def parcel(number: int, **facts: Any) -> dict[str, Any]:
    scan = {"at": ago(days=2), "status": "delivered", "text": "已签收"}
    refs = [{"kind": "order", "value": f"O{number}"}]
    seen = {"waybill": f"YT{number}", "carrier": "YTO", "status": "delivered", "scans": [scan]} | facts
    return event("parcel.seen", f"p{number}", 4, refs=refs, parcel=seen)


async def send(world: World, *events: dict[str, Any]) -> None:
    async with world.client.post(f"{world.bridge.url}/hooks/shop", json={"events": list(events)}) as answer:
        assert answer.status == 200
    await world.settle()


def cases(world: World) -> list[Case]:
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    world.bridge.store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(world.bridge.store.vault.open(key, doc)) for key, doc in rows]


def said(world: World, word: str) -> list[str]:
    bodies = [one["body"] for one in world.sink.books["posts"]]
    return [one["text"] for one in bodies if one.get("type") == "message.send" and word in one["text"]]


async def upload(world: World, link: str, need: str, data: bytes) -> int:
    tus = {"Tus-Resumable": "1.0.0"}
    base = world.bridge.url + re.findall(r"/l/[A-Za-z0-9_-]+", link)[0]
    meta = {"Upload-Length": str(len(data)), "Upload-Metadata": f"need {base64.b64encode(need.encode()).decode()}"}
    async with world.client.post(f"{base}/files", headers=tus | meta) as answer:
        place = answer.headers.get("Location", "")
    headers = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    async with world.client.patch(world.bridge.url + place, data=data, headers=headers) as answer:
        return answer.status


@pytest.mark.row("S076")
async def test_a_carrier_s_certificate_is_asked_for_stored_and_makes_it_liable(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink.url, carrier="prover"), sink) as world:
        await send(world, case_of(1, "damaged_in_transit"))
        assert cases(world)[0].liable is None
        await send(world, parcel(1))
        (one,) = cases(world)
        (proof,) = [piece for piece in one.evidence if piece.kind == "proof"]
        assert (proof.source, proof.media_type) == ("prover", "application/pdf")
        paper = await world.bridge.dispatcher.context("mail", "k", one.id).blob(proof.sha256 or "")
        assert b"YT1 was damaged" in paper and sha256(paper).hexdigest() == proof.sha256
        assert (one.liable, one.cause) == ("carrier", "transit_damage")
        assert world.rows("SELECT key, state FROM outbox WHERE type = 'proof.request'") == [
            ("proof:YT1:damage", "done")
        ]
        assert len(said(world, "运输途中受损")) == 1


async def test_without_proof_or_scan_the_carrier_is_not_liable(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink.url), sink) as world:
        await send(world, case_of(1, "damaged_in_transit"), parcel(1))
        (link,) = said(world, "/l/")
        for number, need in enumerate(("packaging", "packaging", "waybill", "detail")):
            assert await upload(world, link, need, JPEG + bytes([number])) == 204
        await world.settle()
        assert cases(world)[0].liable is None and len(cases(world)[0].evidence) == 4
        assert world.rows("SELECT count(*) FROM outbox WHERE key = 'ticket:comment:proof:YT1'") == [(1,)]


async def test_a_quality_case_goes_from_the_request_to_the_next_steps(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink.url), sink) as world:
        await send(world, case_of(1, "quality_defect"), parcel(1))
        (link,) = said(world, "/l/")
        for number, need in enumerate(("overview", "detail", "detail", "label")):
            assert await upload(world, link, need, JPEG + bytes([number])) == 204
        await world.settle()
        (one,) = cases(world)
        assert (one.liable, one.cause, one.why[0]) == ("shop", "production_defect", "liability.shop.defect")
        assert len(said(world, "接下来")) == 1
        assert "evidence:remind" not in {clock.name for clock in one.deadlines}


@pytest.mark.parametrize(("other", "state"), [((), "done"), (("O999",), "held")])
async def test_a_mismatch_holds_the_money_that_would_go_by_itself(
    tmp_path: Path, sink: Sink, other: tuple[str, ...], state: str
) -> None:
    settings = config(tmp_path, sink.url, "returns", refund_limit="500 CNY")
    async with running(settings, sink) as world:
        asked = case_of(1, "quality_defect") | {"kind": "refund", "amount": {"amount": "20.00", "currency": "CNY"}}
        asked["order"] |= {"total": {"amount": "20.00", "currency": "CNY"}}
        asked["refs"] += [{"kind": "order", "value": one} for one in other]
        refs = [{"kind": "return", "value": "R1"}]
        agreed = event("remedy.accepted", "yes", 3, remedy="refund_only", amount=asked["amount"], refs=refs)
        await send(world, asked, agreed, event("request.changed", "ok", 2, status="approved", refs=refs))
        ((got, verdicts),) = world.rows("SELECT state, verdicts FROM outbox WHERE type = 'refund.pay'")
        assert got == state and ("evidence.mismatch" in verdicts) == bool(other), verdicts


async def test_files_go_along_when_two_cases_turn_out_to_be_one(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink.url), sink) as world:
        await send(world, case_of(1, "quality_defect"))
        await send(world, case_of(2, "quality_defect", minutes=4))
        second = said(world, "/l/")[-1]
        assert await upload(world, second, "overview", JPEG) == 204
        await world.settle()
        both = [{"kind": "return", "value": "R1"}, {"kind": "return", "value": "R2"}]
        await send(world, event("ticket.seen", "same", 1, status="open", refs=both))
        winner, loser = cases(world)
        assert loser.merged_into == winner.id and len(winner.evidence) == 1
        name = winner.evidence[0].sha256 or ""
        assert await world.bridge.dispatcher.context("mail", "k", winner.id).blob(name) == JPEG
        assert await upload(world, second, "detail", JPEG + b"2") == 204
        await world.settle()
        assert len(cases(world)[0].evidence) == 2
