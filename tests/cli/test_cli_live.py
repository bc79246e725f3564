"""The commands beside a running bridge."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cli_desk import Desk, desk, run, write

import stores
from rmabridge.cli.asking import Answer, Order
from rmabridge.cli.imports import bodies
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.model import Parcel, ParcelSeen, ParcelStatus, Scan
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document

__all__ = ["desk"]


async def opened(desk: Desk, number: int = 1) -> str:
    """The id of a case that a signed webhook opened."""
    status, _ = await desk.world.post(a_return(number))
    assert status == 200
    await desk.world.settle()
    return await desk.case()


def tamper(desk: Desk, statement: str) -> None:
    """Change the database behind the bridge's back."""
    stores.tamper(load(desk.path).bridge.database, statement)


async def test_cases_are_listed_and_shown(desk: Desk) -> None:
    case = await opened(desk)
    [row] = await desk.answer("cases", "list", "--shop", "one")
    assert (row["id"], row["shop"], row["kind"]) == (case, "one", "return")
    assert await desk.answer("cases", "list", "--status", "closed") == []
    shown = await desk.answer("cases", "show", case[:9].lower())
    assert shown["request"]["note"] == "太小了"
    assert "李雷" in (await desk.run("cases", "show", case)).stdout


@pytest.mark.row("S047")
async def test_a_parcel_is_shown_with_its_age_and_marked_where_it_may_have_moved(desk: Desk) -> None:
    case, bridge = await opened(desk), desk.world.bridge
    now = bridge.store.clock.now().replace(microsecond=0)
    for waybill, hours in (("YT1", 9), ("YT2", 0)):
        scan = Scan(at=now - timedelta(hours=hours), status=ParcelStatus.IN_TRANSIT)
        seen = ParcelSeen(key=waybill, at=now, parcel=Parcel(waybill=waybill, status=scan.status, scans=(scan,)))
        row = bridge.router.event_row([seen], "shop", waybill, case_id=case)
        await bridge.store.write(lambda conn, row=row: inbox_store.add(conn, [row]))
    bridge.router.wake.set()
    await desk.world.settle()
    old, new = (await desk.answer("cases", "show", case))["parcels"]
    assert (old["known_at"], old["stale"]) == ((now - timedelta(hours=9)).isoformat(), True)
    assert (new["known_at"], new["stale"]) == (now.isoformat(), False)


async def test_no_such_case_is_told(desk: Desk) -> None:
    result = await desk.run("cases", "show", "CNOPE")
    assert (result.exit_code, result.stderr) == (4, "CNOPE: no such case\n")


async def test_a_note_is_on_the_timeline_with_its_author(desk: Desk) -> None:
    case = await opened(desk)
    assert (await desk.answer("cases", "note", case, "called the buyer", "--as", "mei"))["note"] == "noted"
    entries = await desk.answer("cases", "timeline", case)
    assert [(one["by"], one["event"]["text"]) for one in entries if one["type"] == "noted"] == [
        ("mei", "called the buyer")
    ]


async def test_a_reply_reaches_the_buyer(desk: Desk) -> None:
    case = await opened(desk)
    await desk.answer("cases", "reply", case, "您好，已收到")
    await desk.world.settle()
    texts = [one["body"].get("text") for one in desk.world.sink.books["posts"] if one["body"]["type"] == "message.send"]
    assert "您好，已收到" in texts


@pytest.mark.row("P13")
async def test_explain_names_every_rule_in_order_with_its_reason(desk: Desk) -> None:
    case = await opened(desk)
    told = await desk.answer("explain", case)
    assert told["route"] == {"rule": "others", "group": "support", "tags": [], "channels": []}
    assert [one["rule"] for one in told["routed"]] == ["others"]
    assert [one["delivery"] for one in told["actions"]] == sorted(one["delivery"] for one in told["actions"])
    stored = desk.world.rows("SELECT key, proposer, verdicts FROM outbox ORDER BY id")
    assert [(one["action"], one["proposer"]) for one in told["actions"]] == [(key, by) for key, by, _ in stored]
    for one, (_, _, verdicts) in zip(told["actions"], stored, strict=True):
        assert [each["rule"] for each in one["verdicts"]] == [each["rule"] for each in json.loads(verdicts)]
        assert all(each["reason"] for each in one["verdicts"])
    assert any(one["verdicts"] for one in told["actions"])
    assert {"way": "mail/mail", "used": True, "reason": ""} in told["ways"]
    text = (await desk.run("cases", "explain", case)).stdout
    assert all(each["rule"] in text for one in told["actions"] for each in one["verdicts"])


@pytest.mark.row("S052")
async def test_words_that_a_policy_changed_are_kept_as_they_were_and_explained(desk: Desk) -> None:
    case = await opened(desk)
    draft = "您好，这是正常现象，您理解错了。"
    await desk.answer("cases", "reply", case, draft)
    await desk.world.settle()
    texts = [one["body"].get("text") for one in desk.world.sink.books["posts"] if one["body"]["type"] == "message.send"]
    assert "您好，我们马上为您查明原因，可能是我们没有说清楚。" in texts
    told = await desk.answer("explain", case)
    [changed] = [one for one in told["actions"] if one["action"].startswith("answer:")]
    assert changed["original"] == {"text": draft}
    assert changed["amended_by"].startswith("wording@")
    assert draft in (await desk.run("explain", case)).stdout.replace("\n", "")


@pytest.mark.row("S078")
async def test_a_changed_timeline_entry_breaks_verify(desk: Desk) -> None:
    case = await opened(desk)
    assert (await desk.run("cases", "verify", "--all")).exit_code == 0
    tamper(desk, f"UPDATE timeline SET at = at + 1 WHERE case_id = '{case}' AND seq = 2")
    for arguments in (("cases", "verify", case), ("cases", "verify", "--all")):
        result = await desk.run(*arguments)
        assert (result.exit_code, result.stderr) == (1, f"{case}: broken at 2\n")


@pytest.mark.row("S078")
async def test_a_timeline_without_its_last_entry_breaks_verify(desk: Desk) -> None:
    case = await opened(desk)
    last = f"(SELECT max(seq) FROM timeline WHERE case_id = '{case}')"
    tamper(desk, f"DELETE FROM timeline WHERE case_id = '{case}' AND seq = {last}")
    assert (await desk.run("cases", "verify", case)).exit_code == 1


async def test_a_changed_audit_entry_breaks_verify(desk: Desk) -> None:
    case = await opened(desk)
    for text in ("one", "two", "three"):
        await desk.answer("cases", "note", case, text)
    assert (await desk.answer("audit", "verify"))["checked"] == 3
    tamper(desk, "UPDATE audit SET who = 'somebody' WHERE id = 2")
    result = await desk.run("audit", "verify")
    assert result.exit_code == 1
    assert "entries 2" in result.stderr


@pytest.mark.row("S081")
async def test_the_export_of_a_closed_case_has_problem_process_and_result(desk: Desk) -> None:
    case = await opened(desk)
    await desk.answer("cases", "close", case, "--result", "refunded by hand")
    await desk.world.settle()
    told = await desk.answer("cases", "export", case)
    assert told["problem"]["request"]["note"] == "太小了"
    assert all(told["process"][name] for name in ("timeline", "messages", "deliveries"))
    assert {one["template"] for one in told["process"]["messages"]} >= {"first_reply.return"}
    assert told["result"]["result"] == "refunded by hand"
    assert told["result"]["closed_at"]


async def test_a_refused_command_exits_with_1_and_says_why(desk: Desk) -> None:
    case = await opened(desk)
    result = await desk.run("cases", "reopen", case)
    assert result.exit_code == 1
    assert f"{case} is " in result.stderr
    assert "not closed" in result.stderr
    await desk.answer("cases", "close", case)
    assert (await desk.answer("cases", "reopen", case))["note"] == "reopened, round 2"


async def test_a_denied_action_exits_with_1_and_says_why(desk: Desk) -> None:
    case = await opened(desk)
    result = await desk.run("cases", "act", case, "refund.pay", "amount=5 CNY")
    assert (result.exit_code, "denied: bridge." in result.stderr) == (1, True), result.output


@pytest.mark.parametrize(
    ("name", "note", "well"),
    [
        ("act", "refund:R1:all: denied: bridge.ability: no", False),
        ("reply", "answer:1: denied: wording: no", False),
        ("approve", "refund:R1:all: denied: bridge.effect: no", False),
        ("act", "refund:R1:all: held: evidence: the carrier's answer: denied", True),
        ("deny", "refund:R1:all: denied", True),
        ("cancel", "answer:1: cancelled", True),
    ],
)
def test_what_was_done_well_follows_from_how_the_action_stands(name: str, note: str, well: bool) -> None:
    assert Answer(Order(name, {}), "done", note).well is well


async def test_a_row_that_is_not_set_aside_cannot_be_replayed(desk: Desk) -> None:
    await opened(desk)
    for name, said in (("deadletters", "delivery 999: no such dead letter"), ("inbox", "999: no such event is parked")):
        result = await desk.run(name, "replay", "999", "--json")
        assert (result.exit_code, result.stdout, said in result.stderr) == (4, "", True)


async def test_no_name_is_no_case(desk: Desk) -> None:
    await opened(desk)
    result = await desk.run("cases", "show", "")
    assert (result.exit_code, "name a case" in result.stderr) == (4, True)


async def test_a_refund_above_the_limit_waits_for_an_approval(desk: Desk) -> None:
    case = await opened(desk)
    act = ("cases", "act", case, "refund.pay", "amount=500.01 CNY", "account=payer", "--agreed")
    assert "held" in (await desk.answer(*act))["note"]
    [asked] = await desk.answer("approvals", "list")
    assert (asked["case"], asked["type"], asked["account"]) == (case, "refund.pay", "payer")
    assert "refund.pay" not in [one["body"]["type"] for one in desk.world.sink.books["posts"]]
    await desk.answer("approvals", "approve", str(asked["id"]), "--note", "good customer")
    await desk.world.settle()
    paid = [one["body"] for one in desk.world.sink.books["posts"] if one["body"]["type"] == "refund.pay"]
    assert [one["amount"] for one in paid] == [{"amount": "500.01", "currency": "CNY"}]
    again = await desk.run("approvals", "deny", str(asked["id"]))
    assert (again.exit_code, "was approved" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (["refund.give"], "is no action"),
        (["refund.pay"], "amount: missing"),
        (["refund.pay", "ammount=1 CNY"], "has no 'ammount'"),
        (["refund.pay", "amount=1.5"], "amount"),
        (["ticket.comment", "text=hi", 'attachments=[{"x"'], "is not JSON"),
    ],
)
async def test_an_action_that_is_none_is_told_before_it_is_sent(desk: Desk, fields: list[str], words: str) -> None:
    case = await opened(desk)
    result = await desk.run("cases", "act", case, *fields)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output


@pytest.mark.row("P20")
async def test_nothing_is_lost_while_an_account_is_paused(desk: Desk) -> None:
    assert (await desk.answer("accounts", "pause", "desk", "--reason", "moving"))["note"] == "desk: paused"
    listed = {one["account"]: one["paused"] for one in await desk.answer("accounts", "list")}
    assert "moving" in listed["desk"]
    for number in (1, 2, 3):
        assert (await desk.world.post(a_return(number)))[0] == 200
    await desk.world.until(
        lambda: desk.world.rows("SELECT count(*) FROM outbox WHERE account='desk' AND state='due'")[0][0] >= 3
    )
    assert "ticket.open" not in [one["body"]["type"] for one in desk.world.sink.books["posts"]]
    await desk.answer("accounts", "resume", "desk")
    await desk.world.settle()
    tickets = [one["body"] for one in desk.world.sink.books["posts"] if one["body"]["type"] == "ticket.open"]
    cases = {one["id"] for one in await desk.answer("cases", "list")}
    assert len(cases) == 3
    assert sorted(one["external"] for one in tickets) == sorted(cases)


async def test_a_dead_letter_is_read_edited_and_replayed(desk: Desk) -> None:
    desk.world.sink.do_answer(422, '{"error": "subject is too long", "email": "buyer1@example.com"}', times=2)
    await opened(desk)
    dead = await desk.answer("deadletters", "list")
    assert dead
    number = next(str(one["id"]) for one in dead if one["type"] == "ticket.open")
    shown = await desk.answer("deadletters", "show", number)
    assert "422" in shown["cause"]
    assert "subject is too long" in shown["attempts"][0]["exchange"]["answer"]
    assert "buyer1@example.com" not in json.dumps(shown)
    assert "buyer1@example.com" in json.dumps(await desk.answer("deadletters", "show", number, "--clear"))
    assert (await desk.answer("deadletters", "edit", number, "subject=short"))["note"] == "ticket:open: due"
    await desk.world.settle()
    subjects = [
        one["body"]["subject"] for one in desk.world.sink.books["posts"] if one["body"]["type"] == "ticket.open"
    ]
    assert subjects == ["short"]


async def test_dead_letters_are_replayed_in_bulk_and_shown_first(desk: Desk) -> None:
    desk.world.sink.do_answer(422, "{}", times=100)
    for number in (1, 2):
        await opened(desk, number)
    dead = await desk.answer("deadletters", "list", "--account", "desk", "--type", "ticket.open")
    assert len(dead) == 2
    desk.world.sink._answers.clear()
    shown = await desk.answer("deadletters", "replay", "--account", "desk", "--cause", "422", "--dry-run")
    assert {one["id"] for one in shown} == {one["id"] for one in dead}
    assert await desk.answer("deadletters", "replay", "--account", "nobody") == []
    assert len(await desk.answer("deadletters", "replay", "--account", "desk", "--type", "ticket.open")) == 2
    await desk.world.settle()
    assert [one["body"]["type"] for one in desk.world.sink.books["posts"]].count("ticket.open") == 2


async def test_a_parked_event_is_shown_masked_and_replayed(desk: Desk) -> None:
    broken = a_return(1)
    broken["data"]["order_doc"]["total"] = {"amount": "much", "currency": "CNY"}
    await desk.world.post(broken)
    await desk.world.until(lambda: desk.world.rows("SELECT 1 FROM inbox WHERE state = 'parked'"))
    [row] = await desk.answer("inbox", "parked")
    assert (row["account"], row["stage"]) == ("shop", "parse")
    shown = await desk.answer("inbox", "show", str(row["id"]))
    assert "buyer1@example.com" not in shown["body"]
    assert "Traceback" in shown["trace"]
    assert (await desk.answer("inbox", "replay", str(row["id"])))["state"] == "done"
    assert await desk.answer("inbox", "unmatched") == []
    assert await desk.answer("alerts")


async def test_the_virtual_clock_is_put_forward(desk: Desk) -> None:
    assert (await desk.answer("clock", "advance", "2h"))["offset"] == 7200
    assert (await desk.answer("clock", "advance", "30m"))["offset"] == 9000
    await desk.world.until(lambda: desk.world.bridge.store.clock.offset.total_seconds() == 9000)
    assert (await desk.answer("clock", "show"))["offset"] == 9000
    assert (await desk.run("clock", "advance", "soon")).exit_code == 2


async def test_listen_shows_what_arrived_masked(desk: Desk) -> None:
    await opened(desk)
    result = await desk.run("listen", "--seconds", "0", "--since", "0")
    assert result.exit_code == 0
    first = result.stdout.splitlines()[0]
    assert "shop hook: case.requested" in first
    assert "buyer1@example.com" not in result.stdout
    assert "13812345678" not in result.stdout


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_an_import_goes_on_where_it_was_and_counts_nothing_twice(desk: Desk, tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, Any]] = [{**a_return(n), "type": "nothing"} for n in range(700)]
    file = tmp_path / f"export.{kind}"
    lines = [json.dumps(one, ensure_ascii=False) for one in rows]
    if kind == "csv":
        lines = ["id,type,note", *(f"e{n},nothing,太小{n}" for n in range(700))]
    file.write_text("\n".join(lines[:601]), encoding="utf-8")
    first = await desk.answer("import", str(file), "--account", "shop")
    assert (first["new"], first["bad"]) == (first["read"], 0)
    file.write_text("\n".join(lines), encoding="utf-8")
    second = await desk.answer("import", str(file), "--account", "shop")
    assert (second["read"], second["new"]) == (700, 700 - first["read"])
    again = await desk.answer("import", str(file), "--account", "shop", "--restart")
    assert (again["new"], again["known"]) == (0, 700)
    assert desk.world.rows("SELECT count(*) FROM inbox WHERE kind = 'import'") == [(700,)]


async def test_an_imported_row_opens_a_case_and_a_bad_line_is_counted(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(f"{json.dumps(a_return(5))}\nnot json\n[1]\n", encoding="utf-8")
    result = await desk.run("import", str(file), "--account", "shop")
    assert result.exit_code == 1
    assert "3 lines: 1 new, 0 known already, 2 not readable" in result.stdout
    await desk.world.settle()
    assert len(await desk.answer("cases", "list")) == 1


@pytest.mark.parametrize("between", [",", ";", "\t"])
async def test_columns_may_be_parted_as_spreadsheets_do(desk: Desk, tmp_path: Path, between: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"id{between}type{between}note\n1{between}return.requested{between}a, b\n", encoding="utf-8")
    if between == ",":
        file.write_text('id,type,note\n1,return.requested,"a, b"\n', encoding="utf-8")
    assert [json.loads(one or b"") for one in bodies(file, "utf-8-sig")] == [
        {"id": "1", "type": "return.requested", "note": "a, b"}
    ]


async def test_commands_wait_in_the_inbox_while_nothing_serves(tmp_path: Path) -> None:
    path = write(tmp_path / "rmabridge.toml", document(tmp_path, "http://127.0.0.1:9/"))
    async with Running(load(path)):
        pass
    told = json.loads(run(path, "accounts", "pause", "desk", json_=True).stdout)
    assert told["note"] == "recorded; it is carried out when 'rmabridge serve' runs"
    async with Running(load(path)) as bridge:
        desk_ = World(bridge, Sink(), None)  # type: ignore[arg-type]
        await desk_.until(lambda: desk_.rows("SELECT paused FROM accounts WHERE name = 'desk'") == [(1,)])


async def test_an_uncertain_delivery_is_settled_by_hand(desk: Desk) -> None:
    await opened(desk)
    [(number,)] = desk.world.rows("SELECT id FROM outbox WHERE type = 'ticket.open'")
    result = await desk.run("deliveries", "resolve", str(number), "--happened", "T-1")
    assert (result.exit_code, "not uncertain" in result.stderr) == (1, True)
    tamper(desk, f"UPDATE outbox SET state = 'uncertain', due_at = 4611686018427387904 WHERE id = {number}")
    assert (await desk.answer("deliveries", "resolve", str(number), "--happened", "T-1"))["note"] == "ticket:open: done"
    assert (await desk.answer("deliveries", "show", str(number)))["ref"] == "T-1"
    listed = await desk.answer("deliveries", "list", "--state", "done", "--account", "desk")
    assert number in {one["id"] for one in listed}


class Refuses(Simulator):
    """A vendor that knows nobody."""

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.route("*", "/{path:.*}", self._no)]

    async def _no(self, _: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_client"}, status=401)


async def test_the_exchange_of_a_failed_delivery_shows_no_secret_of_its_account(tmp_path: Path, sink: Sink) -> None:
    async with Refuses() as vendor:
        found = document(tmp_path, sink.url)
        slack = {"plugin": "slack", "webhook": "T0001/B0001/SLACKSECRET", "hooks_url": f"{vendor.url}/services"}
        found["channels"]["alerts"] = {**slack, "allow_private": True}
        found["marketplaces"]["amazon"] = {
            "plugin": "amazon",
            "client_id": "amzn1.app",
            "client_secret": "amzn1.oa2-cs.v1.AMAZONSECRET",
            "refresh_token": "Atzr|AMAZONTOKEN",
            "token_url": f"{vendor.url}/token",
            "url": vendor.url,
            "allow_private": True,
            "seller_id": "A1SELLER",
            "marketplace_id": "A1PA6795UKMFR9",
        }
        path = write(tmp_path / "rmabridge.toml", found)
        async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
            desk = Desk(path, World(bridge, sink, client))
            await desk.world.post(a_return())
            await desk.world.settle()
            case, words = await desk.case(), ("to=C0001", "text=hello", "form=chat", "purpose=alert")
            await desk.run("cases", "act", case, "message.send", "account=alerts", "audience=staff", *words)
            await desk.run("cases", "act", case, "order.fetch", "account=amazon", "order=123-1234567-1234567")
            rows = "SELECT id FROM outbox WHERE account IN ('alerts', 'amazon') AND attempt > 0"
            await desk.world.until(lambda: len(desk.world.rows(rows)) == 2)
            await desk.world.until(lambda: len(desk.world.rows("SELECT 1 FROM attempts WHERE doc IS NOT NULL")) >= 2)
            shown = [(await desk.run("deliveries", "show", str(one))).output for (one,) in desk.world.rows(rows)]
    assert all("/services/***" in one or "client_secret=***" in one for one in shown)
    assert not any("SECRET" in one or "AMAZONTOKEN" in one for one in shown)
