"""The wire tap: a copy of everything that passes, with nothing personal in it, which holds up nobody."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.config import read
from rmabridge.core.shapes import shape, shape_of
from rmabridge.errors import ConfigError
from rmabridge.flow import tap as tap_module
from rmabridge.flow.tap import Rotated, Tap
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from rmabridge.wire.signing import standard_verify
from worlds import SECRET, World, a_return, ago, document, running

NAME, LATIN, PHONE, MAIL, STREET, IDENTITY, NOTE, SAID = (
    "欧阳雪梅",
    "Xuemei Ouyang",
    "13987654321",
    "xuemei.ouyang@example.com",
    "建国路八十八号",
    "110101199003078515",
    "鞋太小，想换大一码",
    "Please call my sister Mei at home",
)
PERSONAL = (NAME, LATIN, PHONE, MAIL, STREET, IDENTITY, NOTE, SAID, "B-77", "北京市", "100026")


def story() -> list[dict[str, Any]]:
    """A request and two messages in which a person stands everywhere, also where nobody would look."""
    buyer = {"id": "B-77", "name": NAME, "email": MAIL, "phone": f"+86{PHONE}", "locale": "zh-CN"}
    asked = a_return(1, buyer=buyer, note=f"{NOTE}。{NAME}，{PHONE}，身份证 {IDENTITY}")
    place = {"name": LATIN, "phone": PHONE, "lines": [STREET], "city": "北京市", "postcode": "100026"}
    asked["data"]["order_doc"] |= {"ship_to": place, "note": SAID}
    asked["extra"] = [{"deep": [{"memo": SAID, "tel2": int(PHONE), "who": [NAME], NAME: 1, "gps": [39.9087, 116.46]}]}]
    said = {"order": "O1", "text": f"{SAID}: {PHONE}, {MAIL}", "buyer": {"id": "B-77", "name": LATIN}}
    told = [
        {"id": f"m{number}", "time": ago(seconds=5), "type": "message", "data": {**said, "author": who}}
        for number, who in enumerate(("buyer", "agent"))
    ]
    return [asked, *told]


async def played(world: World) -> None:
    """The story, until nothing is on its way."""
    for one in story():
        assert (await world.post(one))[0] == 200
    await world.settle()


def personal(raw: str, *more: str) -> list[str]:
    """What of a person stands in a text; a short number by itself, not among the digits of a time or of a mark."""
    found = [one for one in (*PERSONAL, *more) if one in raw or json.dumps(one)[1:-1] in raw]
    return [one for one in found if not (one.isdigit() and len(one) < 10) or re.search(rf"(?<![.\w]){one}(?!\w)", raw)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.row("P15")
async def test_a_file_gets_what_came_what_it_meant_and_what_went_out_and_nothing_personal(
    tmp_path: Path, sink: Sink
) -> None:
    path = tmp_path / "tap" / "tap.jsonl"
    async with running(document(tmp_path, sink.url, tap=f"file:{path}"), sink) as world:
        sink.do_answer(422, json.dumps({"error": f"{MAIL} of {NAME} is not a mail address"}))
        await played(world)
        ((case,),) = world.rows("SELECT id FROM cases")
    raw, found = path.read_text(encoding="utf-8"), lines(path)
    assert personal(raw) == []
    received = [one for one in found if one["what"] == "received"]
    assert [one["body"]["type"] for one in received] == ["return.requested", "message", "message"]
    events = [one["body"]["type"] for one in found if one["what"] == "event"]
    assert {"case.requested", "message.received", "action.settled"} <= set(events)
    assert {one["case"] for one in found if one["what"] == "event"} == {case}
    calls = [one for one in found if one["what"] == "call"]
    assert len(calls) >= len(sink.books["posts"])
    assert {"ticket.open", "message.send"} <= {one["type"] for one in calls}
    assert {"done", "dead"} <= {one["outcome"] for one in calls}
    assert {one["status"] for one in calls} == {200, 422}
    order = {one["body"]["data"]["order"] for one in received[1:]}
    refs = {ref["value"] for one in found if one["what"] == "event" for ref in one["body"].get("refs", ())}
    assert len(order) == 1
    assert order <= refs, "equal names are seen to be equal"
    assert all(one.startswith("#") for one in refs)


class Receiver(Simulator):
    """An address that takes taps, or is away."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[tuple[dict[str, str], bytes]] = []
        self.away = False

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/tap", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        self.bodies.append((dict(request.headers), await request.read()))
        return web.Response()


@pytest.mark.row("P15")
async def test_an_address_gets_signed_lines_and_while_it_is_away_nothing_waits_for_it(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "AWAY", 0.05)
    async with Receiver() as there:
        config = document(tmp_path, sink.url, tap=f"{there.url}/tap", tap_secret=SECRET)
        async with running(config, sink) as world:
            there.away = True
            await played(world)
            await world.until(lambda: "rmabridge_tap_dropped_total 0.0" not in world.bridge.metrics.text().decode())
            assert len(sink.books["posts"]) >= 2
            there.away = False
            assert (await world.post(a_return(2)))[0] == 200
            await world.until(lambda: there.bodies)
    assert personal(b"".join(body for _, body in there.bodies).decode(), "李雷", "buyer2@example.com") == []
    for headers, body in there.bodies:
        low = {name.lower(): value for name, value in headers.items()}
        standard_verify([SECRET], low, body, datetime.now(UTC))


async def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tap_module, "MOST", 3)
    dropped: list[int] = []
    tap = Tap(Rotated(tmp_path / "t", 1000, 1), str, lambda: datetime.now(UTC), dropped.append)
    for _ in range(5):
        tap.came("shop", b"{}")
    assert sum(dropped) == 2
    await tap.close()
    assert len(lines(tmp_path / "t")) == 3


async def test_what_is_being_written_when_the_bridge_stops_is_written_once_and_before_it_has_stopped() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    written: list[bytes] = []

    class Slow:
        async def write(self, lines: Sequence[bytes]) -> None:
            begun.set()
            await go_on.wait()
            written.extend(lines)

        async def close(self) -> None:
            assert written

    dropped: list[int] = []
    tap = Tap(Slow(), str, lambda: datetime.now(UTC), dropped.append)
    tap.came("shop", b"{}")
    running = asyncio.create_task(tap.run())
    await begun.wait()
    tap.came("shop", b"{}")
    running.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    await tap.close()
    assert (len(written), sum(dropped)) == (2, 0)


async def test_a_file_that_has_grown_is_put_aside_and_so_many_are_kept(tmp_path: Path) -> None:
    file = Rotated(tmp_path / "t", 20, 2)
    for number in range(6):
        await file.write([f"line {number} 12345".encode()])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["t", "t.1", "t.2"]
    assert [(tmp_path / name).read_text().split()[1] for name in ("t", "t.1", "t.2")] == ["5", "4", "3"]


def test_an_address_without_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tap_secret"):
        read(document(tmp_path, "http://localhost", tap="https://tap.example"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_any_value_has_a_shape(value: Any) -> None:
    json.dumps(shape(value, lambda text: "#"))


@given(st.binary(max_size=300))
def test_any_body_has_a_shape(body: bytes) -> None:
    shape_of(body, str)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


@given(values)
def test_no_text_of_han_letters_or_many_digits_or_a_mail_passes(value: Any) -> None:
    for one in _texts(shape({"type": value, "x": [value], "status": "王芳", "note": "a@b.example"}, lambda text: "#")):
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in one)
        assert "@b." not in one
