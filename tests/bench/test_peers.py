"""The comparison with others counts what it says it counts; no figure is asserted, for it belongs to the machine."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from aiohttp.test_utils import TestClient, TestServer

BENCH = Path(__file__).parents[2] / "bench"
DOCS = BENCH.parent / "docs"
Peers = Callable[[str], ModuleType]


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    before = {name: one for name, one in sys.modules.items() if name in {"load", "run", "chart"}}
    for name in before:
        del sys.modules[name]
    for folder in (BENCH / "peers", BENCH):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in [one for one in sys.modules if one.partition(".")[0] in {"peers", "report", "chart", "load", "run"}]:
        del sys.modules[name]
    sys.modules |= before


def test_a_request_is_two_kilobytes_signed_and_every_second_buyer_has_a_telephone(peers):
    job = peers("peers.job")
    head, _, raw = job.request(8, "/hooks/shop").partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    mark = job.sign(headers["webhook-id"], headers["webhook-timestamp"], raw)
    assert headers["webhook-signature"] == f"v1,{mark}"
    assert int(headers["Content-Length"]) == len(raw)
    assert 1800 < len(raw) < 2300
    assert ["phone" in json.loads(job.document(one))["data"]["buyer"] for one in (1, 2, 3, 4)] == [False, True] * 2


async def test_the_sink_counts_an_order_once_for_each_of_its_two_doors_and_refuses_while_it_is_shut(peers):
    async with TestClient(TestServer(peers("peers.servers").sink())) as client:
        for path, order in (("/desk", 7), ("/desk", 7), ("/sms", 7), ("/desk/more", 8), ("/desk", 900)):
            assert (await client.post(path, json={"subject": f"Return of #{order}"})).status == 200
        await client.post("/_turn/shut")
        assert (await client.post("/desk", json={"subject": "Return of #9"})).status == 503
        told = await (await client.get("/_seen?first=0&count=100")).json()
        assert (told["desk"], told["sms"], told["posts"]) == (2, 1, 5)
        await client.post("/_turn/forget")
        assert (await (await client.get("/_seen?first=0&count=100")).json())["desk"] == 0


def test_a_tree_is_the_process_with_what_it_started_and_ends_as_a_whole(peers):
    tree = peers("peers.tree")
    inner = "import time; print('up', flush=True); sum(range(3_000_000)); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    child = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    members = tree.members(child.pid)
    assert len(members) == 2
    assert tree.cpu(child.pid) > 0
    assert tree.memory(child.pid) > 1
    tree.kill(child.pid)
    child.wait()
    child.stdout.close()
    assert not tree.members(members[0])


def test_what_was_refused_is_not_accepted_and_both_posts_are_deliveries(peers):
    measure = peers("peers.measure")
    sent = {"requests": 10, "per_second": 100.0, "p50_ms": 1, "p99_ms": 2, "statuses": {"202": 8, "503": 2}}
    found = measure.figures(sent, {"desk": 8, "sms": 4, "posts": 13, "last": 106.0}, 100.0, 10)
    assert (found["accepted"], found["accepted_per_second"], found["delivered"]) == (8, 80.0, 12)
    assert found["deliveries_per_second"] == 2.0
    assert measure.expected(1, 3) == 4
    runs = [{"p99_ms": one, "load": 1.0} for one in (9, 1, 3)]
    assert measure.median(runs) == {"p99_ms": 3, "load": 1.0}


@pytest.mark.slow
def test_a_whole_comparison_runs_and_names_who_is_not_installed(peers, tmp_path):
    measure = peers("peers.measure")
    found = measure.compare(tmp_path, {"insert", "node-red"}, rounds=1, scale=1000)
    assert list(found["left_out"].values()) == ["node-red is not installed"]
    (one,) = found["contenders"]
    assert one["kill"]["survived"] == one["kill"]["acknowledged"] > 0
    assert one["runs"][0]["accepted"] == one["runs"][0]["events"]


def test_a_missed_target_is_said_plainly_and_one_that_was_not_measured_too(peers):
    report = peers("report")
    kill = {"acknowledged": 10, "survived": 10}
    names = ("deliveries_per_second", "accepted_per_second")
    rows = [{"name": one, "kill": kill, **dict.fromkeys(names, 5.0)} for one in ("bridge", "node-red")]
    told = report.targets({"peers": {"contenders": rows}, "full_event": {"cpu_ms_per_event": 2.5}}, str)
    lines = [line for line in told.splitlines() if "Node-RED" in line or "SQLite" in line or "two processes" in line]
    assert [line.split(" | ")[-1] for line in lines] == ["**no** |", "**no** |", "yes |", "– |"]
    assert "every acknowledged event survives kill -9 | 1 | yes" in told


@pytest.mark.parametrize("name", ["performance.md", "performance.zh-CN.md"])
def test_the_tables_are_those_of_the_figures_beside_them(peers, name):
    report = peers("report")
    found = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    text = (DOCS / name).read_text(encoding="utf-8")
    assert report.written(text, found, report.LANGUAGES[name]) == text


def test_the_chart_is_that_of_the_figures_beside_it(peers):
    report = peers("report")
    found = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    rows = list(report.rows_of(found).values())
    drawn = report.chart(rows)
    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == drawn
    bars = ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect")
    assert len(list(bars)) == 1 + 2 * len(rows)
