"""One webhook is one trace, from the door to the last result; switched off, OpenTelemetry is not even imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from alembic import command
from alembic.config import Config as Alembic
from bank import FIND, Bank, a_case, act, banking, later, reaches, refund

from rmabridge.config import read
from rmabridge.errors import ConfigError
from rmabridge.flow.bridge import Running
from rmabridge.flow.traces import OFF, traces_of
from rmabridge.store import migrations, ops
from rmabridge.store.engine import sqlite_engine
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document

otel = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="no OpenTelemetry here")

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TESTS = Path(__file__).parents[1]


@asynccontextmanager
async def traced(config: dict[str, Any], sink: Sink, exporter: Any, *, told: bool = False) -> AsyncIterator[World]:
    """A bridge whose spans the exporter has when the block is over."""
    from rmabridge.flow.spans import Spans

    async with Running(read(config), Spans(exporter, told=told)) as bridge, aiohttp.ClientSession() as client:
        yield World(bridge, sink, client)


class Tree:
    """Finished spans with their parents."""

    def __init__(self, exporter: Any) -> None:
        self.spans = sorted(exporter.get_finished_spans(), key=lambda one: one.start_time)
        self.by_id = {one.context.span_id: one for one in self.spans}

    def named(self, name: str) -> list[Any]:
        """The spans of this name, oldest first."""
        return [one for one in self.spans if one.name == name]

    def path(self, span: Any) -> list[str]:
        """The names from the first ancestor down to the span."""
        above = self.by_id.get(span.parent.span_id) if span.parent else None
        return [*(self.path(above) if above else []), span.name]

    def told(self) -> Iterator[str]:
        """Every attribute that left the house, on spans and on their events."""
        for span in self.spans:
            yield f"{span.status.description}"
            for holder in (span, *span.events):
                yield from (f"{one}" for one in holder.attributes.values())


@pytest.fixture
def exporter() -> Any:
    """Keeps spans in memory."""
    return otel.InMemorySpanExporter()


def of(spans: list[Any], name: str) -> list[Any]:
    """One attribute of each span."""
    return [one.attributes.get(name) for one in spans]


@pytest.mark.row("P22")
async def test_one_webhook_is_one_trace_across_ingest_policies_and_calls(tmp_path, sink, exporter):
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        case = world.rows("SELECT id FROM cases")[0][0]
        sent = world.rows("SELECT count(*) FROM outbox WHERE state = 'done'")[0][0]
    tree = Tree(exporter)
    assert len({one.context.trace_id for one in tree.spans}) == 1
    (ingest,), (route,) = tree.named("ingest"), tree.named("route")
    assert ingest.parent is None and tree.path(route) == ["ingest", "route"]
    assert set(of([route], "rmabridge.case")) == {case} and of([route], "rmabridge.type") == ["case.requested"]
    deliveries = tree.named("deliver")
    assert len(deliveries) == sent >= 2
    assert {"ticket.open", "message.send"} <= set(of(deliveries, "rmabridge.type"))
    assert set(of(deliveries, "rmabridge.case")) == {case} and set(of(deliveries, "rmabridge.outcome")) == {"done"}
    assert ["ingest", "route", "deliver"] in [tree.path(one) for one in deliveries]
    for one in tree.named("POST"):
        assert tree.path(one)[-2:] == ["deliver", "POST"] and one.attributes["http.response.status_code"] == 200
    assert len(tree.named("POST")) == len(tree.named("result")) == sent
    assert all(tree.path(one)[-2:] == ["deliver", "result"] for one in tree.named("result"))


async def test_each_policy_that_proposed_something_is_an_event_on_the_policies_span(tmp_path, sink, exporter):
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        await world.post(a_return())
        await world.settle()
    tree = Tree(exporter)
    asked = [one for one in tree.named("policies") if tree.path(one) == ["ingest", "route", "policies"]]
    assert asked[0].attributes["rmabridge.type"] == "case.requested"
    heard = {one.attributes["rmabridge.policy"]: one.attributes["rmabridge.types"] for one in asked[0].events}
    assert "message.send" in heard["first_reply"].split() and "ticket.open" in heard["helpdesk_sync"].split()
    assert all(tree.path(one)[-2] in {"route", "result"} for one in tree.named("policies"))


async def test_a_senders_trace_goes_on_and_what_is_no_traceparent_is_not_followed(tmp_path, sink, exporter):
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        await world.post(a_return(1), traceparent=THEIRS)
        await world.post(a_return(2), traceparent="00-00000000000000000000000000000000-b7ad6b7169203331-01")
        await world.settle()
    theirs, ours = Tree(exporter).named("ingest")
    assert f"{theirs.context.trace_id:032x}" in THEIRS and f"{theirs.parent.span_id:016x}" in THEIRS
    assert ours.parent is None and ours.context.trace_id


async def test_a_trace_survives_a_restart_between_commit_and_delivery(tmp_path, sink, exporter):
    config = document(tmp_path, sink.url)
    later = otel.InMemorySpanExporter()
    async with traced(config, sink, exporter) as world:
        for account in ("desk", "mail"):
            await world.bridge.store.write(lambda conn, account=account: hold(conn, account, on=True))
        await world.post(a_return())
        await world.until(lambda: world.rows("SELECT 1 FROM outbox WHERE state = 'due'"))
    async with traced(config, sink, later) as world:
        for account in ("desk", "mail"):
            await world.bridge.store.write(lambda conn, account=account: hold(conn, account, on=False))
        world.bridge.dispatcher.wake.set()
        await world.until(lambda: world.rows("SELECT 1 FROM timeline WHERE type = 'action.settled'"))
        await world.settle()
    before, after = Tree(exporter), Tree(later)
    (route,) = before.named("route")
    assert not before.named("deliver") and len(after.named("deliver")) >= 2 and after.named("result")
    assert {one.context.trace_id for one in after.spans} == {route.context.trace_id}
    assert route.context.span_id in {one.parent.span_id for one in after.named("deliver")}


def hold(conn: Any, account: str, *, on: bool) -> None:
    """Pause an account, or let it go on."""
    ops.set_paused(conn, account, on=on, reason="a test", now=0)


async def test_webhooks_of_one_batch_keep_their_own_traces_and_forwards_belong_to_them(tmp_path, sink, exporter):
    config = document(tmp_path, sink.url)
    config["services"] = {"out": {"plugin": "http", "url": sink.url, "allow_private": True}}
    config["shops"]["one"]["forwards"] = ["out"]
    async with traced(config, sink, exporter) as world:
        await asyncio.gather(*(world.post(a_return(number)) for number in range(1, 4)))
        await world.settle()
    tree = Tree(exporter)
    roots = {one.context.trace_id for one in tree.named("ingest")}
    assert len(roots) == 3 and {one.context.trace_id for one in tree.spans} == roots
    for root in roots:
        sent = [one for one in tree.named("deliver") if one.context.trace_id == root]
        assert len(set(of(sent, "rmabridge.case"))) == 1
        assert {"ticket.open", "message.send", "event.forward"} <= set(of(sent, "rmabridge.type"))


async def test_looking_up_what_is_uncertain_is_in_the_trace_of_what_was_tried(tmp_path, sink, exporter):
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"find": FIND})
        async with traced(config, sink, exporter) as world:
            bank.answers = [502]
            await act(world, await a_case(world), refund())
            await reaches(world, "refund:R1:all", "uncertain")
            await later(world, minutes=2)
            await reaches(world, "refund:R1:all", "done")
    tree = Tree(exporter)
    (tried,), (found,) = tree.named("deliver"), tree.named("look up")
    assert (tried.attributes["rmabridge.outcome"], tried.status.description) == ("uncertain", "uncertain")
    assert tree.path(found) == ["route", "look up"] and found.parent.span_id == tried.parent.span_id
    assert [tree.path(one)[-2:] for one in tree.named("GET")] == [["look up", "GET"]]
    assert {one.context.trace_id for one in tree.named("result")} == {tried.context.trace_id}


async def test_a_refused_webhook_makes_no_span(tmp_path, sink, exporter):
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        status, _ = await world.post(a_return(), **{"webhook-signature": "v1,AAAA"}, traceparent=THEIRS)
        assert status == 401
    assert Tree(exporter).spans == []


async def test_a_delivery_that_fails_says_so_without_the_vendors_words(tmp_path, sink, exporter):
    sink.do_answer(422, '{"error": "no such buyer 13812345678"}', times=9)
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        await world.post(a_return())
        await world.settle()
    tree = Tree(exporter)
    first = tree.named("deliver")[0]
    assert first.attributes["rmabridge.outcome"] == "dead" and not first.status.is_ok
    assert tree.named("POST")[0].status.description == "HTTP 422"
    assert not any("13812345678" in one for one in tree.told())


async def test_no_span_names_a_person(tmp_path, sink, exporter):
    async with traced(document(tmp_path, sink.url), sink, exporter) as world:
        await world.post(a_return())
        await world.settle()
    told = list(Tree(exporter).told())
    assert not {"B1", "O1", "R1"} & set(told)
    assert not [one for one in told for secret in ("李雷", "buyer1@", "13812345678", "太小了") if secret in one]


@pytest.mark.parametrize("told", [False, True])
async def test_vendors_see_the_trace_only_where_a_setting_allows(tmp_path, exporter, told):
    async with Sink() as sink:
        async with traced(document(tmp_path, sink.url), sink, exporter, told=told) as world:
            await world.post(a_return())
            await world.settle()
        seen = {name.lower(): value for name, value in sink.books["posts"][0]["headers"].items()}
    calls = {f"00-{one.context.trace_id:032x}-{one.context.span_id:016x}" for one in Tree(exporter).named("POST")}
    assert seen["traceparent"][:-3] in calls if told else "traceparent" not in seen


QUIET = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from worlds import a_return, document, running
from rmabridge.testing.simulators.sink import Sink

async def main():
    async with Sink() as sink, running(document(Path(sys.argv[2]), sink.url), sink) as world:
        assert (await world.post(a_return(), traceparent=sys.argv[3]))[0] == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM outbox WHERE state = 'done'")[0][0] >= 2
        assert world.rows("SELECT count(trace) FROM outbox")[0][0] == 0

asyncio.run(main())
print([one for one in sys.modules if one.split(".")[0] == "opentelemetry"])
"""


@pytest.mark.row("P22")
def test_switched_off_no_module_of_opentelemetry_is_imported(tmp_path):
    assert traces_of(read({}).bridge) is OFF
    line = [sys.executable, "-c", QUIET, str(TESTS), str(tmp_path), THEIRS]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_asked_for_but_not_installed_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'rmabridge\[otel\]'"):
        traces_of(read({"bridge": {"traces": "http://collector:4318"}}).bridge)


def test_a_collector_is_an_http_address():
    with pytest.raises(ConfigError, match=r"\[bridge\] traces"):
        read({"bridge": {"traces": "collector:4317"}})


async def test_the_collector_has_everything_when_the_bridge_has_drained(tmp_path, sink):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="no OTLP exporter here")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    names: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked = ExportTraceServiceRequest.FromString(await request.read())
        scopes = [scope for one in asked.resource_spans for scope in one.scope_spans]
        names.extend(span.name for scope in scopes for span in scope.spans)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = document(tmp_path, sink.url, traces=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with Running(read(config)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        await world.post(a_return())
        await world.settle()
    await runner.cleanup()
    assert {"ingest", "route", "policies", "deliver", "POST", "result"} <= set(names)


def test_the_schema_goes_down_again_and_keeps_what_is_stored(tmp_path):
    path = tmp_path / "steps.db"
    settings = Alembic()
    settings.set_main_option("script_location", str(Path(migrations.__file__).parent))
    settings.attributes["engine"] = sqlite_engine(path)
    command.upgrade(settings, "0004")
    command.downgrade(settings, "0003")
    command.upgrade(settings, "head")
    with sqlite_engine(path).connect() as conn:
        indices = {one[0] for one in conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'")}
        columns = {one[1] for one in conn.exec_driver_sql("PRAGMA table_info(outbox)")}
    assert "evidence_sha" in indices and "trace" in columns
