"""Who did what: every order is in the log, and nobody changes the log unseen."""

from __future__ import annotations

import pytest
from cli_desk import Desk, desk

from stores import tamper
from worlds import a_return

__all__ = ["desk"]


async def four(desk: Desk) -> None:
    """A log of four entries."""
    await desk.world.post(a_return())
    await desk.world.settle()
    case = await desk.case()
    for text in ("one", "two", "three", "four"):
        await desk.answer("cases", "note", case, text, "--as", "mei")
    assert (await desk.answer("audit", "verify"))["checked"] == 4


NEWEST = "(SELECT max(id) FROM audit)"
PUT_IN = (
    "INSERT INTO audit (id, day, at, who, what, detail, chain) SELECT {id}, day, at, 'eve', what, detail, chain "
    "FROM audit WHERE id = (SELECT min(id) FROM audit)"
)


@pytest.mark.row("P39", "S161")
@pytest.mark.parametrize(
    "crime",
    [
        "UPDATE audit SET who = 'eve' WHERE id = 2",
        "UPDATE audit SET what = 'approve' WHERE id = 2",
        "UPDATE audit SET at = at + 1 WHERE id = 3",
        "UPDATE audit SET detail = '{}' WHERE id = 1",
        "UPDATE audit SET chain = (SELECT chain FROM audit WHERE id = 1) WHERE id = 4",
        "DELETE FROM audit WHERE id = 1",
        "DELETE FROM audit WHERE id = 2",
        f"DELETE FROM audit WHERE id = {NEWEST}",
        PUT_IN.format(id=0),
        PUT_IN.format(id=99),
    ],
)
async def test_a_changed_removed_or_inserted_entry_is_found(desk: Desk, crime: str) -> None:
    await four(desk)
    tamper(desk.world.bridge.config.bridge.database, crime)
    result = await desk.run("audit", "verify")
    assert result.exit_code == 1
    assert "entries checked: " in result.stderr


async def test_a_head_noted_elsewhere_finds_a_log_that_was_written_anew(desk: Desk) -> None:
    await four(desk)
    head = (await desk.answer("audit", "verify"))["head"]
    await desk.answer("cases", "note", await desk.case(), "five")
    assert (await desk.run("audit", "verify", "--head", head)).exit_code == 0
    refused = await desk.run("audit", "verify", "--head", "00" * 32)
    assert (refused.exit_code, "the head that was noted is not in it" in refused.stderr) == (1, True)


@pytest.mark.row("P39")
async def test_orders_that_were_refused_are_in_the_log_too_and_words_are_not(desk: Desk) -> None:
    await four(desk)
    case = await desk.case()
    assert (await desk.run("cases", "reopen", case, "--as", "mei")).exit_code == 1
    [newest, before, *_] = await desk.answer("audit", "list")
    assert (newest["who"], newest["what"]) == ("mei", "reopen") and '"refused": true' in str(newest["detail"])
    assert before["what"] == "note" and "four" not in str(before["detail"])


async def test_what_people_write_about_a_case_is_not_in_the_log_which_nothing_is_erased_from(desk: Desk) -> None:
    await desk.world.post(a_return())
    await desk.world.settle()
    case = await desk.case()
    await desk.answer("cases", "close", case, "--result", "refunded Anna Huber by hand")
    await desk.answer("accounts", "pause", "mail", "--reason", "the vendor is down")
    log = str(await desk.answer("audit", "list"))
    assert ("Huber" in log, "close" in log, "the vendor is down" in log) == (False, True, True)
