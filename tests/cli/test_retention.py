"""What is forgotten by age is shown before it goes."""

from __future__ import annotations

from typing import Any

from cli_desk import Desk, desk

from rmabridge.store.uploads import Uploads
from worlds import a_return

__all__ = ["desk"]
ROWS = ("seen_for", "raw_for", "unmatched_for")


async def grown_old(desk: Desk) -> None:
    """Two cases whose raw bodies and keys are old, an old event without a case, and an upload that never ended."""
    for number in (1, 2, 3):
        assert (await desk.world.post(a_return(number)))[0] == 200
    await desk.world.settle()
    case, store = await desk.case(), desk.world.bridge.store
    ((key,),) = desk.world.rows(f"SELECT key_id FROM cases WHERE id = '{case}'")
    store.keys_for({key})
    Uploads(store.blobs).start(case, "photo", 100, key, 0)
    await store.write(_age)


def _age(conn: Any) -> None:
    conn.exec_driver_sql("UPDATE seen SET at = 1")
    conn.exec_driver_sql("UPDATE inbox SET settled_at = 1")
    conn.exec_driver_sql("UPDATE inbox SET state = 'unmatched' WHERE id = 1")


async def counted(desk: Desk, *arguments: str) -> dict[str, int]:
    """Setting → how many are older."""
    return {one["setting"]: one["now"] for one in await desk.answer("retention", *arguments)}


async def test_what_would_go_is_shown_and_nothing_goes(desk: Desk) -> None:
    assert set((await counted(desk, "show")).values()) == {0}
    await grown_old(desk)
    before = desk.world.rows("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM seen)")
    found = await counted(desk, "run", "--dry-run")
    ((rows, seen),) = before
    assert found == {"seen_for": seen, "raw_for": rows - 2, "unmatched_for": 1, "uploads_for": 1}
    assert found == await counted(desk, "show")
    assert desk.world.rows("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM seen)") == before


async def test_what_was_shown_goes_and_cases_stay(desk: Desk) -> None:
    await grown_old(desk)
    shown = await counted(desk, "show")
    gone = await desk.answer("retention", "run")
    assert {name: gone[name] for name in ROWS} == {name: shown[name] for name in ROWS}
    assert "uploads_for" not in gone, "they belong to the running bridge"
    assert await counted(desk, "show") == {**dict.fromkeys(ROWS, 0), "uploads_for": 1}
    assert sorted(desk.world.rows("SELECT state FROM inbox")) == [("done",), ("parked",)], "the last number stays"
    assert desk.world.rows("SELECT count(*) FROM cases") == [(3,)]
    assert "unmatched:shop" in (await desk.run("alerts")).stdout
