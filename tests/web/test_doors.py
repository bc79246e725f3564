"""The doors: what is taken, what is refused and how, health, metrics."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rmabridge.errors import ConfigError, Overloaded
from rmabridge.flow.bridge import Running
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, fill_disk, free_disk, writing_elsewhere
from worlds import SECRET, World, a_return, document, running, shop_webhook, sign

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
PROBLEM = "application/problem+json"


def quiet(tmp_path: Path, sink: str, **bridge: Any) -> dict[str, Any]:
    """A bridge that decides nothing, with a shop whose webhooks are unsigned beside the signed one."""
    found = document(tmp_path, sink, **{"policies": [], **bridge})
    found["marketplaces"]["open"] = shop_webhook(signature={"family": "none"}) | {"id_header": "X-Id"}
    del found["marketplaces"]["open"]["secret"]
    found["shops"]["one"]["sources"] = ["open"]
    return found


async def problem(world: World, path: str, body: Any = b"{}", **headers: str) -> tuple[int, dict[str, str]]:
    """POST; (status, headers) after looking at the problem body."""
    headers = {"Content-Type": "application/json"} | headers
    async with world.client.post(world.bridge.url + path, data=body, headers=headers) as answer:
        assert answer.content_type == PROBLEM, await answer.text()
        told = await answer.json(content_type=None)
        assert told["status"] == answer.status and told["title"] and told["detail"]
        return answer.status, dict(answer.headers)


def signed(world: World, body: bytes, name: str = "msg_x", secret: str = SECRET, late: int = 0) -> dict[str, str]:
    return sign(secret, name, int(world.bridge.store.clock.now().timestamp()) + late, body)


def count(world: World) -> int:
    return int(world.rows("SELECT count(*) FROM inbox")[0][0])


async def recounted(world: World) -> None:
    """Let the doors count what waits; where the database is a server's, nobody waits for that."""
    intake = world.bridge.intake
    intake._count_at = 0.0
    with suppress(Overloaded):
        intake.admit()
    if intake._counting is not None:
        await intake._counting


@pytest.mark.row("P01", "S161")
async def test_every_refusal_is_a_problem_body_and_stores_nothing(tmp_path: Path, sink: Sink) -> None:
    async with running(quiet(tmp_path, sink.url), sink) as world:
        assert (await problem(world, "/hooks/shop"))[0] == 401
        assert (await problem(world, "/hooks/nobody"))[0] == 404
        assert (await problem(world, "/hooks/desk"))[0] == 404
        assert (await problem(world, "/nothing"))[0] == 404
        assert (await problem(world, "/healthz"))[0] == 405
        assert (await problem(world, "/hooks/shop", io.BytesIO(b"x" * ((1 << 20) + 1))))[0] == 413
        assert (await problem(world, "/hooks/open", b"x", **{"Content-Type": "text/csv"}))[0] == 415
        good = signed(world, b"{}") | {"Content-Type": "application/pdf"}
        assert (await problem(world, "/hooks/shop", b"{}", **good))[0] == 415
        assert (await problem(world, "/hooks/open", b"no gzip", **{"Content-Encoding": "gzip"}))[0] == 400
        bomb = gzip.compress(b" " * (8 << 20))
        with suppress(aiohttp.ServerDisconnectedError):  # the HTTP library itself may already refuse it
            assert (await problem(world, "/hooks/open", bomb, **{"Content-Encoding": "gzip"}))[0] == 413
        assert count(world) == 0


@pytest.mark.row("P01")
async def test_the_largest_body_is_a_setting_of_the_account_whether_it_comes_whole_or_in_pieces(
    tmp_path: Path, sink: Sink
) -> None:
    config = quiet(tmp_path, sink.url)
    config["marketplaces"]["open"]["max_body"] = 2_000

    async def pieces(size: int) -> Any:
        for _ in range(size // 500):
            yield b" " * 500

    async with running(config, sink) as world:
        json_type = {"Content-Type": "application/json"}
        assert (await problem(world, "/hooks/open", b" " * 2_001, **json_type))[0] == 413
        assert (await problem(world, "/hooks/open", pieces(50_000), **json_type))[0] == 413
        async with world.client.post(f"{world.bridge.url}/hooks/open", data=pieces(2_000), headers=json_type) as answer:
            assert answer.status == 200
        just = b'"' + b"x" * ((1 << 20) - 2) + b'"'
        assert (await world.post(just))[0] == 200


@pytest.mark.row("P01")
async def test_json_form_xml_and_multipart_bodies_become_cases_and_the_raw_body_is_kept(
    tmp_path: Path, sink: Sink
) -> None:
    config = quiet(tmp_path, sink.url)
    rule = {"type": "case.requested", "key": "R || x.R", "refs": {"return": "R || x.R"}, "set": {"kind": "'return'"}}
    config["marketplaces"]["open"]["events"] = [rule]
    border = "multipart/form-data; boundary=BB"
    bodies = {
        "application/json": b'{"R": "R1"}',
        "application/x-www-form-urlencoded": b"R=R2",
        "text/xml; charset=utf-8": b"<x><R>R3</R></x>",
        border: b'--BB\r\nContent-Disposition: form-data; name="R"\r\n\r\nR4\r\n--BB--\r\n',
    }
    async with running(config, sink) as world:
        for kind, body in bodies.items():
            url, headers = f"{world.bridge.url}/hooks/open", {"Content-Type": kind}
            async with world.client.post(url, data=body, headers=headers) as answer:
                assert answer.status == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases WHERE open") == [(4,)]
        store = world.bridge.store
        kept = [store.vault.open(*one) for one in world.rows("SELECT key_id, body FROM inbox ORDER BY id")]
        assert all(raw.endswith(body) for raw, body in zip(kept, bodies.values(), strict=True))


@pytest.mark.row("P01")
async def test_nothing_is_acknowledged_that_is_not_on_disk_and_nothing_is_lost_afterwards(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(quiet(tmp_path, sink.url), sink) as world:
        await world.bridge.store.write(fill_disk)
        body = json.dumps(a_return()).encode()
        answers = await asyncio.gather(
            *(problem(world, "/hooks/shop", body, **signed(world, body, f"m{n}")) for n in range(5))
        )
        assert {status for status, _ in answers} == {503}
        assert all(0 < int(headers["Retry-After"]) <= 60 for _, headers in answers)
        await world.bridge.store.write(free_disk)
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]


@pytest.mark.row("P01")
async def test_above_the_intake_rate_the_answer_is_429_and_noise_does_not_use_it_up(tmp_path: Path, sink: Sink) -> None:
    config = quiet(tmp_path, sink.url)
    config["marketplaces"]["shop"]["intake_rate"] = "2/h"
    async with running(config, sink) as world:
        for _ in range(5):
            assert (await problem(world, "/hooks/shop"))[0] == 401
        assert (await world.post(a_return(1)))[0] == 200
        body = json.dumps(a_return(2)).encode()
        status, headers = await problem(world, "/hooks/shop", body, **signed(world, body))
        assert status == 429 and int(headers["Retry-After"]) <= 60
        assert count(world) == 1


@pytest.mark.row("P01")
async def test_a_full_queue_is_refused_with_503_and_drains_later(tmp_path: Path, sink: Sink) -> None:
    async with running(quiet(tmp_path, sink.url, most_waiting=3), sink) as world:
        router = next(one for one in world.bridge._tasks if one.get_name() == "Router.run")
        router.cancel()
        await asyncio.gather(router, return_exceptions=True)
        for number in range(3):
            assert (await world.post(a_return(number)))[0] == 200
        await recounted(world)
        body = json.dumps(a_return(9)).encode()
        status, headers = await problem(world, "/hooks/shop", body, **signed(world, body))
        assert status == 503 and 0 < int(headers["Retry-After"]) <= 60
        assert count(world) == 3
        while await world.bridge.router.turn():
            pass
        await recounted(world)
        assert (await world.post(a_return(9)))[0] == 200


@pytest.mark.row("P08", "P10")
async def test_an_old_timestamp_and_a_repeated_nonce_are_refused_and_a_redelivery_counts_once(
    tmp_path: Path, sink: Sink
) -> None:
    import hashlib
    import hmac

    config = quiet(tmp_path, sink.url)
    config["marketplaces"]["once"] = shop_webhook(
        secret="s3cret",
        signature={"family": "hmac", "sign": "X-Sign", "nonce": "X-Nonce", "over": "{nonce}.{body}"},
    )
    config["shops"]["one"]["sources"] = ["open", "once"]

    async with running(config, sink) as world:

        async def once(body: dict[str, Any], nonce: str) -> int:
            raw = json.dumps(body).encode()
            mark = hmac.new(b"s3cret", nonce.encode() + b"." + raw, hashlib.sha256).hexdigest()
            headers = {"X-Sign": mark, "X-Nonce": nonce, "Content-Type": "application/json"}
            async with world.client.post(f"{world.bridge.url}/hooks/once", data=raw, headers=headers) as answer:
                return answer.status

        body = json.dumps(a_return()).encode()
        for late in (-301, 301):
            assert (await problem(world, "/hooks/shop", body, **signed(world, body, late=late)))[0] == 401
        asked = a_return(1)
        assert [await once(asked, "n1"), await once(asked, "n1")] == [200, 200]
        assert await once(a_return(2), "n1") == 401
        assert await once(a_return(2), "n2") == 200
        assert count(world) == 2
        plain = json.dumps(a_return(3)).encode()
        for _ in range(3):  # no time stamp, no nonce, no id: the body's hash counts
            async with world.client.post(
                f"{world.bridge.url}/hooks/open", data=plain, headers={"Content-Type": "application/json"}
            ) as answer:
                assert answer.status == 200
        assert count(world) == 3
        again = json.dumps({"same": True} | a_return(3)).encode()
        async with world.client.post(
            f"{world.bridge.url}/hooks/open", data=again, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 200
        await world.settle()
        assert count(world) == 4
        assert world.rows("SELECT count(*) FROM timeline") == [(3,)]


@pytest.mark.row("P07", "S161")
async def test_both_secrets_verify_during_a_rotation_and_only_the_new_one_after(tmp_path: Path, sink: Sink) -> None:
    from datetime import UTC, datetime, timedelta

    new = "whsec_" + "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3"
    config = quiet(tmp_path, sink.url)
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    config["marketplaces"]["shop"]["secret"] = [{"value": new}, {"value": SECRET, "until": until}]
    async with running(config, sink) as world:
        assert (await world.post(a_return(1), secret=SECRET))[0] == 200
        assert (await world.post(a_return(2), secret=new))[0] == 200
        world.bridge.store.clock.offset += timedelta(hours=2)
        assert (await world.post(a_return(3), secret=SECRET))[0] == 401
        assert (await world.post(a_return(4), secret=new))[0] == 200


HALF = b'{"type":"return.requested","id":"\\ud800","time":"2026-01-01T00:00:00Z","data":{"return":"\\udfff"}}'
RAW = (
    b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nX-Id: \xff\xfe\xd8\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
)
BOMB = b'<!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><z>&b;&b;</z>'
DEEP = b"[" * 100_000
HOSTILE = (
    ("application/json", b'{"type": "return.requested", "id":'),
    ("application/json", DEEP),
    ("application/json", HALF),
    ("application/json", b'{"type":"return.requested","id":"x","time":"9999-99-99T00:00:00Z"}'),
    ("application/json", b'{"type":"return.requested","id":"y","time":-1e308,"data":{"return":1e308}}'),
    ("application/json; charset=latin-1", '{"id": "é"}'.encode("latin-1")),
    ("application/x-www-form-urlencoded; charset=utf-99", b"a=%ff%fe"),
    ("application/x-www-form-urlencoded", b"&" * 50_000),
    ("application/xml", BOMB),
    ("application/xml", b"<a>" * 50_000),
    ("application/xml", b'<?xml version="1.0" encoding="utf-7"?><a>+AD0-</a>'),
    ("multipart/form-data", b"--x"),
    ("multipart/form-data; boundary=" + "b" * 300, b"--b\r\n\r\n" * 5_000),
    ("", b"\x00\xff\x00"),
)  # fmt: skip


async def test_no_bytes_make_a_door_fail_or_stop_the_loops(tmp_path: Path, sink: Sink) -> None:
    async with running(quiet(tmp_path, sink.url), sink) as world:
        url = f"{world.bridge.url}/hooks/open"
        kinds = sorted({kind for kind, _ in HOSTILE})

        async def throw(kind: str, body: bytes, id_: str) -> int:
            headers = {"Content-Type": kind, "X-Id": id_} if id_ else {"Content-Type": kind}
            async with world.client.post(url, data=body, headers=headers) as answer:
                return answer.status

        seen = [await throw(kind, body, "") for kind, body in HOSTILE]
        seen += [await throw(kind, body[: len(body) // 2], "") for kind, body in HOSTILE]
        loop = asyncio.get_running_loop()
        drawn: list[tuple[str, bytes, str]] = []

        @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(kinds), st.binary(max_size=300), st.text("aé€", max_size=5))
        @example("application/json", b'{"a":' * 70 + b"1" + b"}" * 70, "")
        def draw(kind: str, body: bytes, id_: str) -> None:
            drawn.append((kind, body, id_))

        await loop.run_in_executor(None, draw)
        seen += [await throw(*one) for one in drawn]
        assert set(seen) <= {200, 400, 415}
        reader, writer = await asyncio.open_connection("127.0.0.1", world.bridge.port)
        writer.write(RAW)
        assert b" 200 " in (await reader.readline())
        writer.close()
        await world.settle()
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases WHERE open") != [(0,)]
        assert await world.bridge.problems() == []
        stages = {one for (one,) in world.rows("SELECT DISTINCT stage FROM inbox WHERE state = 'parked'")}
        assert stages <= {"parse", "match"}


def exported(text: str) -> set[str]:
    """The names of all samples."""
    return {one.name for family in text_string_to_metric_families(text) for one in family.samples}


@pytest.mark.row("P21")
async def test_metrics_parse_and_are_named_by_convention(world: World) -> None:
    await world.post(a_return())
    await world.settle()
    async with world.client.get(f"{world.bridge.url}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 10
    for family in families:
        assert re.fullmatch(r"rmabridge_[a-z][a-z0-9_]*", family.name) and family.documentation
        if family.type == "counter":
            assert all(one.name.endswith(("_total", "_created")) for one in family.samples)
        else:
            assert not family.name.endswith("_total")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    assert 'rmabridge_accepted_total{account="shop"} 1.0' in text


@pytest.mark.row("P21")
async def test_the_dashboard_asks_only_for_metrics_that_are_exported(world: World) -> None:
    await world.post(a_return())
    await world.settle()
    async with world.client.get(f"{world.bridge.url}/metrics") as answer:
        text = await answer.text()
    known = exported(text) | {
        one.name + ("_total" if one.type == "counter" else "") for one in text_string_to_metric_families(text)
    }
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    named = {name for expression in asked for name in re.findall(r"rmabridge_\w+", expression)}
    assert len(asked) >= 10 and all("rmabridge_" in one for one in asked)
    allowed = known | {
        f"{family.name}_bucket" for family in text_string_to_metric_families(text) if family.type == "histogram"
    }
    assert named <= allowed


async def test_a_bridge_says_when_it_is_not_ready_and_finishes_what_it_began(tmp_path: Path, sink: Sink) -> None:
    async with running(quiet(tmp_path, sink.url), sink) as world:
        async with world.client.get(f"{world.bridge.url}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        async with world.client.get(f"{world.bridge.url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ready": True, "problems": []})
        task = next(one for one in world.bridge._tasks if one.get_name() == "Timers.run")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with world.client.get(f"{world.bridge.url}/readyz") as answer:
            assert answer.status == 503
            assert "Timers.run has ended" in (await answer.json())["problems"]


async def test_a_webhook_that_waits_for_its_commit_while_the_bridge_drains_is_answered_and_kept(
    tmp_path: Path, sink: Sink
) -> None:
    config = quiet(tmp_path, sink.url)
    async with running(config, sink) as world:
        assert (await world.post(a_return(1)))[0] == 200
        await world.settle()
        with writing_elsewhere(config["bridge"]["database"]):
            under_way = asyncio.create_task(world.post(a_return(2)))
            await world.until(lambda: world.bridge.intake._flushing is not None)
            drain = asyncio.create_task(world.bridge.drain())
            await world.until(lambda: world.bridge.draining)
            assert (await world.bridge.problems())[0] == "draining"
        assert (await under_way)[0] == 200
        await drain
    async with running(config, sink) as world:
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(2,)]


@pytest.mark.skipif(POSTGRES, reason="any number of processes serve a server's database")
async def test_a_second_bridge_on_the_same_file_is_refused(tmp_path: Path, sink: Sink) -> None:
    from rmabridge.config import read

    async with running(quiet(tmp_path, sink.url), sink):
        with pytest.raises(ConfigError, match="in use"):
            async with Running(read(quiet(tmp_path, sink.url))):
                pass
