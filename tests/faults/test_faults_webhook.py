"""A shop system's own webhooks under every fault: each counts once, and a stale stamp is refused."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from faulty import Stage, Tells, a_buyer_asks, hears

from rmabridge.testing.simulators.faults import HOOKS
from rmabridge.testing.simulators.sink import Sink
from worlds import SECRET, sign


class Shop(Sink):
    """A shop system that signs its webhooks as Standard Webhooks say."""

    name = "shop_system"

    async def do_say(self, text: str) -> int:
        """A buyer writes."""
        now = self.now()
        at = now.astimezone(UTC).isoformat()
        data = {"order": "O1", "text": text, "buyer": {"id": "B1", "name": "李雷"}}
        body = json.dumps({"id": f"m-{text}", "type": "message", "time": at, "data": data}, ensure_ascii=False).encode()
        return await self.deliver(body, sign(SECRET, f"m-{text}", int(now.timestamp()), body))


def configure(config: dict[str, Any], sim: Shop) -> None:
    sim.hook = "{bridge}/hooks/shop"


async def wrote(stage: Stage) -> None:
    await stage.sim.do_say("Is it there?")


async def wrote_again(stage: Stage) -> None:
    await stage.sim.do_say("When is it paid?")


WORDS = Tells(
    Shop, configure, wrote, wrote_again, opens=a_buyer_asks, entries="message.received", dated=True,
    shown=lambda case: case.talk.last_text, after=("Is it there?", "When is it paid?"),
)  # fmt: skip


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_buyers_words_count_once_and_a_stale_stamp_is_refused(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(WORDS, fault, tmp_path, sink)
