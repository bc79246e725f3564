"""Zammad under every fault: one ticket, one note, and what customers write is heard once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.zammad import ZammadSim


def configure(config: dict[str, Any], sim: ZammadSim) -> None:
    config["helpdesks"]["desk"] = account(sim, bot_ids=["3"])
    sim.hook = "{bridge}/hooks/desk"


async def opened(stage: Stage) -> None:
    await stage.act(
        type="ticket.open", external=stage.case.id, subject="Return", text="太小了", requester_email="a@b.example"
    )


async def with_a_ticket(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await opened(stage)
    await stage.world.until(lambda: stage.case.ref("ticket"))


async def noted(stage: Stage) -> None:
    await stage.act(type="ticket.comment", origin="t1", ticket=stage.case.ref("ticket"), text="The parcel is back.")


async def wrote(stage: Stage) -> None:
    await stage.sim.do_customer_writes("Is it there?", stage.case.ref("ticket"))


async def wrote_again(stage: Stage) -> None:
    await stage.sim.do_customer_writes("When is it paid?", stage.case.ref("ticket"))


OPEN = Does(
    ZammadSim, configure, opened, key="ticket:open", settled="find", says="POST /api/v1/tickets",
    happened=lambda sim: len(sim.books["tickets"]), shown=lambda case: case.ref("ticket") is not None,
)  # fmt: skip
COMMENT = Does(
    ZammadSim, configure, noted, key="ticket:comment:t1", settled="find", says="The parcel is back",
    opens=with_a_ticket, happened=lambda sim: sum("parcel is back" in one["body"] for one in sim.books["articles"]),
)  # fmt: skip
REPLY = Tells(
    ZammadSim, configure, wrote, wrote_again, opens=with_a_ticket, entries="message.received",
    shown=lambda case: case.talk.last_text, after=("Is it there?", "When is it paid?"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_ticket_is_opened_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(OPEN, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_note_is_written_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(COMMENT, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_customers_words_count_once(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(REPLY, fault, tmp_path, sink)
