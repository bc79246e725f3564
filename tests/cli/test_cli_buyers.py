"""A buyer's rights: found by outside names, exported whole, held, erased so that nobody reads it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_desk import Desk, desk
from cryptography.exceptions import InvalidTag

from rmabridge.store.vault import Erased
from stores import POSTGRES
from worlds import a_return, ago

__all__ = ["desk"]

NAME, PHONE, MAIL, STREET, WORDS = (
    "欧阳雪梅",
    "13987654321",
    "xuemei.ouyang@example.com",
    "建国路八十八号",
    "毛衣起球了",
)
PERSONAL = (NAME, PHONE, MAIL, STREET, WORDS)
PIECE = b"%PDF-1.7 a photograph of the jumper" * 40


def hers(number: int = 1) -> dict[str, Any]:
    """A request of hers."""
    buyer = {"id": "B-7", "name": NAME, "email": MAIL, "phone": f"+86{PHONE}", "locale": "zh-CN"}
    asked = a_return(number, buyer=buyer, note=f"{WORDS}，{NAME}，{PHONE}，{STREET}")
    asked["data"]["order_doc"]["ship_to"] = {"name": NAME, "phone": PHONE, "lines": [STREET]}
    return asked


async def told(desk: Desk) -> tuple[str, str]:
    """Her case with a file, a message and a note, and another buyer's case."""
    await desk.world.post(a_return(9))
    await desk.world.settle()
    other = await desk.case()
    await desk.world.post(hers())
    said = {"order": "O1", "text": f"{WORDS} {PHONE}", "buyer": {"id": "B-7", "name": NAME}}
    await desk.world.post({"id": "m1", "time": ago(seconds=5), "type": "message", "data": said})
    await desk.world.settle()
    [found] = await desk.answer("buyers", "find", MAIL)
    [case] = found["cases"]
    ctx = desk.world.bridge.dispatcher.context("mail", "k", case)
    await ctx.keep(PIECE)
    await desk.answer("cases", "note", case, f"called {NAME}")
    return case, other


async def closed(desk: Desk, case: str) -> None:
    """Close the case and let its consequences pass."""
    await desk.answer("cases", "close", case)
    await desk.world.settle()


def files(folder: Path) -> dict[str, bytes]:
    """All that lies beside the configuration."""
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file() and one.suffix != ".toml"}


def readable(desk: Desk) -> Iterator[bytes]:
    """Every value that is kept, opened with every key that is left."""
    store = desk.world.bridge.store
    keys = {one for (one,) in desk.world.rows("SELECT id FROM buyer_keys WHERE id != 'index'")}
    store.keys_for(keys)
    tables = (
        "inbox",
        "timeline",
        "messages",
        "outbox",
        "attempts",
        "evidence",
        "cases",
        "approvals",
        "alerts",
        "audit",
    )
    for table in tables:
        for row in desk.world.rows(f"SELECT * FROM {table}"):
            for value in row:
                yield value if isinstance(value, bytes) else str(value).encode()
                yield from _opened(store.vault, keys, value) if isinstance(value, bytes) else ()


def _opened(vault: Any, keys: set[str], sealed: bytes) -> Iterator[bytes]:
    for key in keys if len(sealed) > 28 else ():
        try:
            yield vault.open(key, sealed)
        except InvalidTag:
            continue


def left(desk: Desk) -> list[str]:
    """What of her can still be read."""
    whole = b"\n".join(readable(desk))
    return [one for one in PERSONAL if one.encode() in whole]


@pytest.mark.parametrize("term", [MAIL, MAIL.upper(), "B-7", "O1", "#1", "R1", PHONE, f"+86 {PHONE[:3]} {PHONE[3:]}"])
async def test_a_buyer_is_found_by_what_people_know(desk: Desk, term: str) -> None:
    case, _ = await told(desk)
    assert await desk.answer("buyers", "find", term) == [{"buyer": 0, "cases": [case], "held": False}]


async def test_nobody_is_found_by_a_strangers_name(desk: Desk) -> None:
    await told(desk)
    for term in ("nobody@example.com", "13700000000", "O77"):
        assert await desk.answer("buyers", "find", term) == []
    assert (await desk.run("buyers", "erase", "O77")).stderr == "O77: nobody, or erased before\n"


async def test_two_buyers_with_one_telephone_are_not_taken_for_one(desk: Desk) -> None:
    await desk.world.post(a_return(1))
    await desk.world.post(a_return(2))
    await desk.world.settle()
    result = await desk.run("buyers", "erase", "13812345678")
    assert result.exit_code == 4
    assert "2 buyers have it; name one of them by a case" in result.stderr


@pytest.mark.row("P37")
async def test_the_export_holds_everything_that_is_kept_of_a_buyer_and_nothing_of_another(
    desk: Desk, tmp_path: Path
) -> None:
    case, other = await told(desk)
    out = tmp_path / "out"
    await desk.answer("buyers", "export", MAIL, "--out", str(out), "--as", "mei")
    text = (out / "buyer.json").read_text(encoding="utf-8")
    assert all(one in text for one in PERSONAL)
    assert other not in text
    [doc] = json.loads(text)["cases"]
    assert all(doc[name] for name in ("case", "timeline", "messages", "deliveries", "files"))
    assert (out / doc["files"][0]["sha256"]).read_bytes() == PIECE
    assert (await desk.answer("buyers", "export", case))["cases"][0]["case"]["id"] == case
    noted = [(one["who"], one["what"]) for one in await desk.answer("audit", "list")]
    assert ("mei", "export") in noted


@pytest.mark.row("P37")
async def test_nothing_readable_is_left_of_an_erased_buyer_and_all_chains_verify(desk: Desk, tmp_path: Path) -> None:
    case, other = await told(desk)
    await closed(desk, case)
    assert left(desk) == list(PERSONAL)
    theirs = f"SELECT id, wrapped FROM buyer_keys WHERE id = (SELECT key_id FROM cases WHERE id = '{case}')"
    [(key, wrapped)] = desk.world.rows(theirs)
    body = desk.world.rows(f"SELECT body FROM inbox WHERE case_id = '{case}' AND kind = 'hook'")[0][0]
    docs = [one for (one,) in desk.world.rows(f"SELECT doc FROM messages WHERE case_id = '{case}'")]
    before = desk.world.rows(f"SELECT key, type, state, amount, currency FROM outbox WHERE case_id = '{case}'")

    done = await desk.answer("buyers", "erase", MAIL, "--as", "mei")
    assert done["note"] == "1 cases erased; 1 keys destroyed"
    assert left(desk) == []
    desk.world.bridge.store.keys_for({key})
    with pytest.raises(Erased):
        desk.world.bridge.store.vault.open(key, docs[0])
    if not POSTGRES:  # what a server's files hold of old rows is cleaned by its own VACUUM
        lying = b"\n".join(files(tmp_path).values())
        assert not [one for one in (wrapped, body, *docs) if one in lying]
    assert not desk.world.bridge.store.blobs.under(key).exists()

    # The accounting facts, the types of what happened and both chains are still there.
    assert desk.world.rows(f"SELECT key, type, state, amount, currency FROM outbox WHERE case_id = '{case}'") == before
    types = [one["type"] for one in await desk.answer("cases", "timeline", case)]
    assert types[0] == "case.requested" and types[-1] == "case.erased"
    assert (await desk.run("cases", "verify", "--all")).exit_code == 0
    assert (await desk.run("audit", "verify")).exit_code == 0
    assert ("mei", "erase") in [(one["who"], one["what"]) for one in await desk.answer("audit", "list")]
    assert "was erased" in (await desk.run("cases", "show", case)).stderr
    assert (await desk.answer("cases", "show", other))["buyer"]["name"] == "李雷"
    assert await desk.answer("buyers", "find", MAIL) == await desk.answer("buyers", "find", PHONE) == []


async def test_an_erased_buyer_who_comes_back_is_a_new_one(desk: Desk) -> None:
    case, _ = await told(desk)
    await desk.answer("buyers", "erase", MAIL, "--force")
    assert (await desk.world.post(hers(2)))[0] == 200
    status = {"return": "R1", "order": "O1"}
    await desk.world.post({"id": "m2", "time": ago(seconds=1), "type": "message", "data": {**status, "text": "hello?"}})
    await desk.world.settle()
    found = {one for each in await desk.answer("buyers", "find", MAIL) for one in each["cases"]}
    assert found and case not in found
    assert desk.world.rows("SELECT count(*) FROM inbox WHERE state = 'parked'") == [(0,)]


@pytest.mark.row("P37")
async def test_a_legal_hold_blocks_erasing_until_it_is_released(desk: Desk) -> None:
    case, _ = await told(desk)
    await closed(desk, case)
    await desk.answer("buyers", "hold", MAIL, "--reason", "(2026) 沪0105 民初 1 号")
    for more in ((), ("--force",)):
        refused = await desk.run("buyers", "erase", MAIL, *more)
        assert refused.exit_code == 1
        assert refused.stderr == f"{case}: under legal hold; 'rmabridge buyers release' ends it\n"
    assert (await desk.answer("buyers", "find", MAIL))[0]["held"] is True
    assert left(desk) == list(PERSONAL)
    await desk.answer("buyers", "release", MAIL, "--reason", "withdrawn")
    await desk.answer("buyers", "erase", MAIL)
    assert left(desk) == []
    noted = [one["what"] for one in await desk.answer("audit", "list")]
    assert noted[:5] == ["erase", "release", "erase", "erase", "hold"], "what was refused is told too"


async def test_an_open_case_is_erased_only_by_force_and_nothing_of_it_leaves_afterwards(desk: Desk) -> None:
    case, _ = await told(desk)
    refused = await desk.run("buyers", "erase", case)
    assert (refused.exit_code, refused.stderr) == (1, f"{case} is open; '--force' closes and erases it\n")
    sent = len(desk.world.sink.books["posts"])
    await desk.answer("buyers", "erase", case, "--force")
    await desk.world.settle()
    assert len(desk.world.sink.books["posts"]) == sent
    assert desk.world.rows(f"SELECT open FROM cases WHERE id = '{case}'") in ([(0,)], [(False,)])
    assert left(desk) == []


async def test_rows_set_aside_that_tell_of_the_buyer_are_named(desk: Desk) -> None:
    case, _ = await told(desk)
    await closed(desk, case)
    await desk.world.post({"id": "m9", "time": "never", "type": "message", "data": {"text": f"write to {MAIL}"}})
    await desk.world.settle()
    [(row,)] = desk.world.rows("SELECT id FROM inbox WHERE state = 'parked'")
    assert f"inbox rows {row} are set aside" in (await desk.run("buyers", "erase", case)).stderr


async def test_the_body_of_an_event_that_was_told_again_is_erased_too(desk: Desk) -> None:
    case, _ = await told(desk)
    assert (await desk.world.post(hers()))[0] == 200
    await desk.world.settle()
    await closed(desk, case)
    await desk.answer("buyers", "erase", MAIL)
    assert left(desk) == []


async def test_an_order_that_is_looked_up_by_the_buyer_leaves_no_address_in_the_ledger(desk: Desk) -> None:
    said = {"text": "my jumper is torn, I want my money back", "form": "mail", "buyer": {"email": MAIL}}
    await desk.world.post({"id": "m1", "time": ago(seconds=5), "type": "message", "data": said})
    await desk.world.settle()
    keys = [one for (one,) in desk.world.rows("SELECT key FROM outbox")]
    assert "order:fetch:latest" in keys
    assert MAIL not in str(keys)
