"""The page behind an approval link: looking changes nothing, one answer counts, and what is not good is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from approvers import a_case, approving, command, give, given, later, link, state, told
from rmabridge.core.links import Link
from rmabridge.errors import Unverified
from rmabridge.store import questions
from rmabridge.testing.simulators.sink import Sink
from rmabridge.web.approving import words
from stores import words as as_store_writes
from worlds import World, running

TOYS = Path(__file__).parents[1] / "flow" / "toys"
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}


@pytest.fixture
async def asked(tmp_path: Path, sink: Sink) -> AsyncIterator[tuple[World, str, str]]:
    """A bridge where a coupon of 900 CNY waits: (world, case, link)."""
    async with running(approving(tmp_path, sink.url), sink) as world:
        case = await a_case(world)
        await give(world, case, "900")
        await world.settle()
        yield world, case, link(world, "wang")


async def get(world: World, url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Open the page."""
    async with world.client.request(method, url, headers=headers) as page:
        return page.status, await page.text()


async def press(world: World, url: str, answer: str = "approve", **fields: str) -> tuple[int, str]:
    """Press a button."""
    async with world.client.post(url, data={"answer": answer, **fields}, allow_redirects=False) as page:
        return page.status, await page.text()


@pytest.mark.row("S110")
async def test_a_link_shows_what_is_asked_and_no_more_and_looking_changes_nothing(
    asked: tuple[World, str, str],
) -> None:
    world, case, url = asked
    for method in ("GET", "HEAD", "GET"):
        status, page = await get(world, url, method)
        assert status == 200
    assert "900 CNY" in page and case in page and "a coupon or credit" in page and "Wang" in page
    assert all(one not in page for one in ("李雷", "buyer1@example.com", "13812345678", "http"))
    assert state(world, f"credit:coupon:{case}:all") == "held"
    status, page = await get(world, url, **CHINESE)
    assert "请审批" in page and "发放优惠" in page
    async with world.client.get(url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.row("S110", "P45")
@pytest.mark.parametrize(("word", "shown", "ends"), [("approve", "approved", "done"), ("deny", "denied", "denied")])
async def test_a_link_works_once_and_then_says_who_decided(
    asked: tuple[World, str, str], word: str, shown: str, ends: str
) -> None:
    world, case, url = asked
    status, page = await press(world, url, word, note="<b>because</b>")
    assert status == 200 and "Wang" in page and "&lt;b&gt;because&lt;/b&gt;" in page
    await world.settle()
    assert state(world, f"credit:coupon:{case}:all") == ends
    other = "deny" if word == "approve" else "approve"
    status, page = await press(world, url, other)
    assert status == 409 and f"{shown.capitalize()}</h1>" in page and "Wang" in page
    status, page = await get(world, url)
    assert status == 200 and "<form" not in page
    assert len(given(world)) == (word == "approve")


async def test_two_presses_at_once_count_once(asked: tuple[World, str, str]) -> None:
    world, _, url = asked
    answers = await asyncio.gather(*(press(world, url, word) for word in ("approve", "deny", "approve", "deny")))
    await world.settle()
    assert len(world.rows("SELECT 1 FROM inbox WHERE kind = 'command'")) == 2, "the order, and one answer"
    assert {status for status, _ in answers} <= {200, 202, 409}
    assert len(given(world)) <= 1


async def test_what_was_decided_elsewhere_is_shown_and_cannot_be_decided_again(asked: tuple[World, str, str]) -> None:
    world, _, url = asked
    number = world.rows("SELECT id FROM approvals")[0][0]
    await command(world, "deny", by="Zhang", approval=number)
    status, page = await press(world, url)
    assert status == 409 and "Zhang" in page
    await later(world, days=1)
    assert given(world) == []


async def test_what_is_no_longer_held_is_no_longer_asked(asked: tuple[World, str, str]) -> None:
    world, _, url = asked
    number = world.rows("SELECT id FROM outbox WHERE state = 'held'")[0][0]
    await command(world, "cancel", delivery=number)
    assert (await get(world, url))[0] == 410
    assert (await press(world, url))[0] == 409
    assert given(world) == []


async def test_an_expired_a_forged_and_a_foreign_link_are_refused_in_words(asked: tuple[World, str, str]) -> None:
    world, case, url = asked
    head, token = url.rsplit("/", 1)
    for bad in (token[:-2], token[:10] + ("A" if token[10] != "A" else "B") + token[11:], "x"):
        status, page = await press(world, f"{head}/{bad}")
        assert status == 404 and "<h1>" in page
    links, until = world.bridge.router.world.links, world.bridge.store.clock.now() + timedelta(hours=1)
    for purpose, subject in (("approve", "zz:nothing"), ("approve", "00:nothing"), ("other", "00:x"), ("approve", "")):
        status, page = await press(world, links.url(Link(purpose, case, subject, "Wang", until)))
        assert status == 404 and "<h1>" in page
    await later(world, hours=3)
    assert (await press(world, url))[0] == 410
    assert given(world) == []


async def test_a_page_that_fails_leaves_no_link_in_the_log(
    asked: tuple[World, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, url = asked

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    monkeypatch.setattr(questions, "asked", away)
    with capture_logs() as lines:
        assert (await get(world, url))[0] == 503
    [line] = [one for one in lines if one["event"] == "a door failed"]
    assert line["door"].startswith("/l/")
    assert url.rpartition("/")[2] not in str(lines)


@pytest.mark.parametrize("who", ["a", "ab", "abc"])
async def test_a_link_has_one_spelling(asked: tuple[World, str, str], who: str) -> None:
    links, now = asked[0].bridge.router.world.links, asked[0].bridge.store.clock.now()
    token = links.token(Link("approve", asked[1], "00:x", who, now + timedelta(hours=1)))
    assert links.read(token, now).who == who
    for last in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") - {token[-1]}:
        with pytest.raises(Unverified):
            links.read(token[:-1] + last, now)


@pytest.mark.parametrize("fields", [{}, {"answer": "maybe"}, {"answer": ""}])
async def test_a_post_that_says_nothing_decides_nothing(asked: tuple[World, str, str], fields: dict[str, str]) -> None:
    world, case, url = asked
    async with world.client.post(url, data=fields) as page:
        assert page.status == 400
    async with world.client.post(url, data=b"answer=approve&note=" + b"x" * 9000) as page:
        assert page.status == 400
    async with world.client.put(url, data={"answer": "approve"}) as page:
        assert page.status == 405
    assert state(world, f"credit:coupon:{case}:all") == "held"


async def test_no_body_and_no_subject_fails(asked: tuple[World, str, str]) -> None:
    world, case, url = asked
    loop, bodies = asyncio.get_running_loop(), [b"%", b"answer=%ff", b"\xff\xfe", b"&" * 500, b"answer=approve" * 9]

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @drawn(st.binary(max_size=200))
    def draw(body: bytes) -> None:
        bodies.append(body)

    await loop.run_in_executor(None, draw)
    for body in bodies:
        async with world.client.post(url, data=body) as page:
            assert page.status == 400
    assert state(world, f"credit:coupon:{case}:all") == "held"


def test_the_page_has_the_same_words_in_every_language() -> None:
    assert words("zh-CN").keys() == words("zh-TW").keys() == words("en").keys()


async def test_a_reworded_action_needs_another_link(asked: tuple[World, str, str]) -> None:
    world, case, url = asked
    change = as_store_writes("UPDATE outbox SET digest = x'00' WHERE state = 'held'")
    await world.bridge.store.write(lambda conn: conn.exec_driver_sql(change))
    assert (await press(world, url))[0] == 409
    await world.settle()
    assert state(world, f"credit:coupon:{case}:all") == "held"
    assert len(told(world)) == 1 and given(world) == []


async def test_a_link_works_after_its_case_was_merged_into_another(tmp_path: Path, sink: Sink) -> None:
    config = approving(tmp_path, sink.url, plugins_dir=str(TOYS))
    config["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    async with running(config, sink) as world:
        for number in (1, 2):
            await tell(world, "case.requested", number, at=number, kind="question")
        ((case,),) = world.rows("SELECT id FROM cases ORDER BY created_at DESC, id DESC LIMIT 1")
        await give(world, case, "900")
        await world.settle()
        await tell(world, "ticket.seen", 1, 2, at=3, status="open")
        ((holder,),) = world.rows("SELECT case_id FROM outbox WHERE type = 'credit.give'")
        assert holder != case
        assert (await press(world, link(world, "wang")))[0] == 200
        await world.settle()
        assert len(given(world)) == 1


async def tell(world: World, type_: str, *returns: int, at: int, **fields: Any) -> None:
    """An event of these returns through the toy's door."""
    refs = [{"kind": "return", "value": f"R{one}"} for one in returns]
    said = {"type": type_, "key": f"{type_}:{at}", "at": f"2026-01-05T09:0{at}:00Z", "refs": refs, **fields}
    async with world.client.post(f"{world.bridge.url}/hooks/shop", json={"events": [said]}) as answer:
        assert answer.status == 200
    await world.settle()
