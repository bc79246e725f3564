"""The faults of a simulator, switched on and off: whom they strike, how often, and what the request leaves."""

from __future__ import annotations

from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rmabridge.testing.simulators.faults import DOORS, HOOKS, KINDS, Fault, Faults, NoSuchFault
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink


class Shop(Simulator):
    """A vendor that knows nothing of faults: forms with files, refusals, webhooks with a stamp."""

    name = "shop"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/files", self._files), web.get("/refuse", self._refuse), web.get("/time", self._time)]

    async def _files(self, request: web.Request) -> web.Response:
        assert request.can_read_body
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        return web.json_response({"words": form["words"], "size": len(file.file.read())})

    async def _refuse(self, _: web.Request) -> web.Response:
        raise web.HTTPConflict(text="no")

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response(self.now().timestamp())

    async def do_tell(self, text: str) -> int:
        """Something happens."""
        return await self.deliver(text.encode(), {"X-At": str(int(self.now().timestamp()))}, tries=2)


async def call(method: str, url: str, **more: Any) -> tuple[int, str]:
    """Status and text of an answer; status 0 where there is none."""
    async with aiohttp.ClientSession() as client:
        try:
            async with client.request(method, url, **more) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""


def told(sink: Sink) -> list[str]:
    return [str(one["body"]) for one in sink.books["posts"]]


@pytest.mark.parametrize(
    ("fault", "status", "booked"),
    [
        ("slow", 200, 1),
        ("reset", 0, 0),
        ("lost answer", 0, 1),
        ("429", 429, 0),
        ("500", 500, 0),
        ("wrong content", 200, 0),
    ],
)
async def test_a_fault_of_the_doors_strikes_once_and_is_over(fault: str, status: int, booked: int, sink: Sink) -> None:
    sink.faults.add(fault, seconds=0.01)
    answer = await call("POST", sink.url, json={"n": 1})
    assert (answer[0], len(sink.books["posts"])) == (status, booked)
    assert ("<html>" in answer[1]) is (fault == "wrong content")
    assert (await call("POST", sink.url, json={"n": 2}))[0] == 200
    assert sink.faults.struck == [{"fault": fault, "path": "/"}]


async def test_a_refusal_of_the_vendor_is_dripped_like_any_answer() -> None:
    async with Shop() as shop:
        shop.faults.add("slow", seconds=0.01)
        assert await call("GET", f"{shop.url}/refuse") == (409, "no")


async def test_429_says_how_long_to_wait(sink: Sink) -> None:
    sink.faults.add("429", seconds=30)
    async with aiohttp.ClientSession() as client, client.get(sink.url) as answer:
        assert answer.headers["Retry-After"] == "30"


async def test_path_words_times_and_chance_say_whom_it_strikes(sink: Sink) -> None:
    sink.faults.add("500", times=0, path="/orders", says='"n": 2')
    asked = [("/orders", 1), ("/orders", 2), ("/other", 2), ("/orders", 2)]
    assert [(await call("POST", sink.url + path, json={"n": n}))[0] for path, n in asked] == [200, 500, 200, 500]
    sink.faults.clear("429")
    assert [one.name for one in sink.faults.on] == ["500"]
    sink.faults.clear()
    sink.faults.chance = Random(1)
    sink.faults.add("500", times=0, chance=0.5)
    assert {(await call("GET", sink.url))[0] for _ in range(20)} == {200, 500}


async def test_a_form_with_files_can_be_read_after_its_words_were_looked_at() -> None:
    async with Shop() as shop:
        shop.faults.add("500", says="never said")
        form = aiohttp.FormData({"words": "hello"})
        form.add_field("file", b"x" * 200_000, filename="a.bin")
        assert await call("POST", f"{shop.url}/files", data=form) == (200, '{"words": "hello", "size": 200000}')


async def test_what_is_no_fault_is_refused() -> None:
    for wrong in ({"name": "gremlins"}, {"name": "500", "times": -1}, {"name": "500", "chance": 0}):
        with pytest.raises(NoSuchFault):
            Faults().add(**wrong)  # type: ignore[arg-type]
    assert Fault("Lost-Answer".lower()).name == Fault("lost_answer").name == "lost answer"
    assert list(KINDS) == [*DOORS, *HOOKS]


async def test_faults_of_the_way_out(sink: Sink) -> None:
    async with Shop(hook=sink.url) as shop:
        for fault in ("lost", "out of order", "duplicate", "garbled"):
            shop.faults.add(fault)
        sent = [await shop.do_tell(text) for text in ("never", "late", "twice", "spoilt", "plain")]
        assert sent == [0, 0, 200, 200, 200]
        assert told(sink)[:3] == ["twice", "twice", "late"]
        assert told(sink)[3].startswith("<!doctype html>") and told(sink)[4:] == ["plain"]
        assert [one.get("fault") for one in shop.books["webhooks"]] == ["lost", "out of order", *[None] * 5]


async def test_what_is_held_back_is_sent_when_the_faults_are_cleared(sink: Sink) -> None:
    async with Shop(hook=sink.url) as shop:
        assert (await call("POST", f"{shop.url}/_fault", json={"name": "out of order", "times": 2}))[0] == 200
        await shop.do_tell("first")
        await shop.do_tell("second")
        assert told(sink) == []
        assert (await call("DELETE", f"{shop.url}/_fault"))[0] == 200
        assert told(sink) == ["second", "first"]
        assert (await call("POST", f"{shop.url}/_fault", json={"name": "out of order", "often": 2}))[0] == 400
        assert (await call("GET", f"{shop.url}/_fault"))[0] == 200


async def test_a_stale_webhook_is_stamped_hours_ago_and_the_doors_keep_the_right_time(sink: Sink) -> None:
    async with Shop(hook=sink.url) as shop:
        shop.faults.add("stale")
        right = float((await call("GET", f"{shop.url}/time"))[1])
        await shop.do_tell("old")
        await shop.do_tell("new")
        old, new = (int(one["headers"]["x-at"]) for one in sink.books["posts"])
        assert 5.9 * 3600 < right - old < 6.1 * 3600
        assert abs(new - right) < 60


async def test_a_webhook_that_is_refused_is_tried_again(sink: Sink) -> None:
    async with Shop(hook=sink.url) as shop:
        sink.faults.add("500")
        assert await shop.do_tell("again") == 200
        assert [one["status"] for one in shop.books["webhooks"]] == [500, 200]
