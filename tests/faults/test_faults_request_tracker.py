"""Request Tracker under every fault: one ticket, one comment, and what buyers reply is heard once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty import SLOW, Does, Stage, a_buyer_asks, account, staged, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.request_tracker import RequestTrackerSim
from rmabridge.testing.simulators.sink import Sink

PATHS = ("/transactions", "/ticket/1", "/attachments", "/attachment/")


def configure(config: dict[str, Any], sim: RequestTrackerSim) -> None:
    config["helpdesks"]["desk"] = account(sim, poll_every="P1D")


async def opened(stage: Stage) -> None:
    await stage.act(
        type="ticket.open", external=stage.case.id, subject="Return", text="太小了", requester_email="a@b.example"
    )


async def first_poll(stage: Stage) -> None:
    await stage.world.until(lambda: stage.world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))
    await a_buyer_asks(stage)


async def with_a_ticket(stage: Stage) -> None:
    await first_poll(stage)
    await opened(stage)
    await stage.world.until(lambda: stage.case.ref("ticket"))


async def noted(stage: Stage) -> None:
    await stage.act(type="ticket.comment", origin="t1", ticket=stage.case.ref("ticket"), text="The parcel is back.")


OPEN = Does(
    RequestTrackerSim, configure, opened, key="ticket:open", settled="find", says="POST /REST/2.0/ticket",
    opens=first_poll, happened=lambda sim: len(sim.books["tickets"]), shown=lambda case: case.ref("ticket") == "1",
)  # fmt: skip
COMMENT = Does(
    RequestTrackerSim, configure, noted, key="ticket:comment:t1", settled="find", says="The parcel is back",
    opens=with_a_ticket,
    happened=lambda sim: sum(one["Type"] == "Comment" for one in sim.books["transactions"].values()),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_ticket_is_opened_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(OPEN, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_comment_is_written_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(COMMENT, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_buyers_reply_is_heard_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    async with staged(replace(COMMENT, policies=()), tmp_path, sink) as stage:
        stage.sim.do_reply("1", "Is it there?")
        for path in PATHS:
            stage.sim.faults.add(fault, path=path, seconds=SLOW if fault == "slow" else 0)
        bridge = stage.world.bridge
        for _ in range(len(PATHS) + 1):
            await bridge.pollers._visit("desk", bridge.registry.accounts["desk"], "poll")
            await stage.settle()
        assert [one["fault"] for one in stage.sim.faults.struck] == [fault] * len(PATHS)
        assert stage.case.talk.last_text == "Is it there?"
        assert (stage.entries("message.received"), stage.parked()) == (1, [])
