"""Chatwoot under every fault: one conversation for a case, one note, and what buyers write is heard once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.chatwoot import ChatwootSim
from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: ChatwootSim) -> None:
    config["helpdesks"]["desk"] = account(sim)
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
    await stage.sim.do_buyer_says("Is it there?", stage.case.ref("ticket"))


async def wrote_again(stage: Stage) -> None:
    await stage.sim.do_buyer_says("When is it paid?", stage.case.ref("ticket"))


OPEN = Does(
    ChatwootSim, configure, opened, key="ticket:open", settled="find", says="source_id",
    happened=lambda sim: len(sim.books["conversations"]), shown=lambda case: case.ref("ticket") is not None,
)  # fmt: skip
COMMENT = Does(
    ChatwootSim, configure, noted, key="ticket:comment:t1", settled="find", says="The parcel is back",
    opens=with_a_ticket, happened=lambda sim: sum("parcel is back" in one["content"] for one in sim.books["messages"]),
)  # fmt: skip
REPLY = Tells(
    ChatwootSim, configure, wrote, wrote_again, opens=with_a_ticket, entries="message.received", dated=True,
    shown=lambda case: case.talk.last_text, after=("Is it there?", "When is it paid?"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_conversation_is_opened_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(OPEN, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_note_is_written_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(COMMENT, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_buyers_words_count_once_and_a_stale_stamp_is_refused(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(REPLY, fault, tmp_path, sink)
