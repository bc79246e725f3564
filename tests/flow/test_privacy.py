"""Nothing personal in clear: not in the database files, not in the logs; erased buyers stay erased, chains verify."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from toybox import cases, noted, requested, send, timeline, toybox

from rmabridge.log import configure
from rmabridge.model import Noted
from rmabridge.store import cases as case_store
from rmabridge.store import inbox as inbox_store
from rmabridge.store.vault import CACHED, Erased
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, database, dumped
from worlds import World, a_return, ago, document, running

NAME, PHONE, MAIL, STREET, IDENTITY = (
    "欧阳雪梅",
    "13987654321",
    "xuemei.ouyang@example.com",
    "建国路八十八号",
    "110101199003078515",
)
SECRETS = (NAME, PHONE, MAIL, STREET, IDENTITY)


@pytest.fixture
def logs() -> Iterator[None]:
    """The bridge's own logging, and what was there before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    configure("DEBUG")
    yield
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


def personal() -> dict[str, Any]:
    """A request full of what must not be shown."""
    buyer = {"id": "B-7", "name": NAME, "email": MAIL, "phone": f"+86{PHONE}", "locale": "zh-CN"}
    asked = a_return(1, buyer=buyer, note=f"我是{NAME}，电话 {PHONE}，住{STREET}，身份证 {IDENTITY}")
    asked["data"]["order_doc"]["ship_to"] = {"name": NAME, "phone": PHONE, "lines": [STREET]}
    return asked


def scanned(folder: Path) -> dict[str, bytes]:
    files = {one.name: one.read_bytes() for one in folder.glob("**/*") if one.is_file()}
    return {**files, "every row": dumped(database(folder))} if POSTGRES else files


def found_in(raw: bytes) -> list[str]:
    return [one for one in SECRETS if one.encode() in raw or one.encode("utf-16-le") in raw]


@pytest.mark.row("S160", "P35")
async def test_neither_the_files_nor_the_logs_show_who_the_buyer_is(
    tmp_path: Path, sink: Sink, logs: None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    config = toybox(
        folder, sink.url, "routing", "returns", "first_reply", "helpdesk_sync", "tracking", "progress", "scripted"
    )
    whole = document(folder, sink.url)
    config["marketplaces"]["signed"] = whole["marketplaces"]["shop"]
    config["shops"]["one"]["sources"] = ["signed"]
    async with running(config, sink) as world:
        sink.do_answer(422, f'{{"error": "{MAIL} of {NAME} is not a mail address"}}')
        assert (await world.post(personal(), "signed"))[0] == 200
        message = {"id": "m1", "time": ago(seconds=5), "type": "message"}
        said = {"order": "O1", "text": f"{NAME} {PHONE} {MAIL}", "buyer": {"id": "B-7", "name": NAME}}
        assert (await world.post(message | {"data": said}, "signed"))[0] == 200
        await send(world, {"type": "noted", "key": "k", "at": f"{NAME} {PHONE}"})
        async with world.client.post(
            f"{world.bridge.url}/hooks/shop", json={"explode": f"no room for {PHONE}, {MAIL}"}
        ) as answer:
            assert answer.status == 200
        await world.settle()
        for name, raw in scanned(folder).items():
            assert found_in(raw) == [], name
        assert POSTGRES or any(name.endswith("-wal") for name in scanned(folder))
        assert world.rows("SELECT count(*) FROM inbox WHERE state = 'parked'") == [(2,)]
        assert world.rows("SELECT count(*) FROM timeline")[0][0] > 3
        for body in sink.books["posts"]:
            assert body["headers"]
        ((key, doc),) = world.rows("SELECT key_id, doc FROM cases")
        world.bridge.store.keys_for({key})
        assert PHONE.encode() in world.bridge.store.vault.open(key, doc)
    for name, raw in scanned(folder).items():
        assert found_in(raw) == [], name
    written = capsys.readouterr()
    text = written.out + written.err + caplog.text
    assert "parked" in text
    assert found_in(text.encode()) == []


async def erased(world: World) -> tuple[str, str]:
    """Erase the buyer's key by hand, as 'privacy erase' does; (case, key)."""
    ((case, key),) = world.rows("SELECT id, key_id FROM cases")
    await world.bridge.store.write(lambda conn: conn.exec_driver_sql(f"DELETE FROM buyer_keys WHERE id = '{key}'"))
    world.bridge.store.vault.forget(key)
    return case, key


async def test_what_was_sealed_with_an_erased_key_stays_shut_and_the_chain_still_verifies(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(document(tmp_path, sink.url), sink) as world:
        await world.post(personal())
        await world.settle()
        case, _ = await erased(world)
        entries = world.bridge.store.read(lambda conn: case_store.entries(conn, case))
        assert len(entries) > 2
        for one in entries:
            with pytest.raises(Erased):
                world.bridge.store.vault.open(one.key_id, one.doc)
        assert world.bridge.store.read(lambda conn: case_store.broken_links(conn, case)) == []
        assert [one.type for one in entries] == timeline(world, case)


@pytest.mark.row("S078")
@pytest.mark.parametrize(
    "crime",
    [
        "UPDATE timeline SET at = at + 1 WHERE seq = 2",
        "UPDATE timeline SET type = 'case.closed' WHERE seq = 2",
        "UPDATE timeline SET account = 'desk' WHERE seq = 1",
        "UPDATE timeline SET doc = (SELECT doc FROM timeline WHERE seq = 1) WHERE seq = 2",
        "DELETE FROM timeline WHERE seq = 2",
        "DELETE FROM timeline WHERE seq = (SELECT max(seq) FROM timeline)",
    ],
)
async def test_a_changed_row_breaks_the_chain_of_its_case(tmp_path: Path, sink: Sink, crime: str) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(
            world,
            requested(),
            *(
                {
                    "type": "noted",
                    "key": f"n{n}",
                    "at": ago(minutes=n + 1),
                    "refs": [{"kind": "return", "value": "R1"}],
                    "text": "x",
                }
                for n in range(3)
            ),
        )
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        assert world.bridge.store.read(lambda conn: case_store.broken_links(conn, case)) == []
        await world.bridge.store.write(lambda conn: conn.exec_driver_sql(crime))
        assert world.bridge.store.read(lambda conn: case_store.broken_links(conn, case))


async def test_a_buyers_cases_share_one_key_and_another_buyers_do_not(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for number, buyer in enumerate(("B1", "B1", "B2")):
            await send(world, requested(number, buyer={"id": buyer}))
        await world.settle()
        keys = [key for (key,) in world.rows("SELECT key_id FROM cases ORDER BY created_at, opened_at")]
        assert len(keys) == 3 and len(set(keys)) == 2


async def test_a_result_is_not_lost_when_more_keys_were_used_than_are_kept_at_hand(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested(1), requested(2))
        await world.settle()
        store, router = world.bridge.store, world.bridge.router
        (one, first), (two, _) = world.rows("SELECT id, key_id FROM cases ORDER BY opened_at, id")
        day = store.day_key()
        store.vault._open.clear()
        router.loader.cache.clear()
        store.keys_for({first})
        for number in range(CACHED - 2):
            store.vault.make(f"k:other{number}", None, 0)
        store.keys_for({day})
        now = store.clock.now()
        notes = {case: Noted(key=f"n{case}", at=now, text="the refund arrived", by="x") for case in (one, two)}
        rows = [router.event_row([note], "bridge", note.key, case_id=case) for case, note in notes.items()]
        await store.write(lambda conn: inbox_store.add(conn, rows))
        router.wake.set()
        await world.settle()
        assert sorted(world.rows("SELECT case_id FROM timeline WHERE type = 'noted'")) == sorted([(one,), (two,)])


async def test_a_case_at_hand_goes_on_when_its_key_is_not(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        for number in range(CACHED + 2):
            world.bridge.store.vault.make(f"k:other{number}", None, 0)
        await send(world, noted("any news"))
        await world.settle()
        assert "noted" in timeline(world, cases(world)[0].id)
