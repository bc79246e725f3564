"""Zendesk under every fault: one ticket, one comment, and what buyers write is heard once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.zendesk import ZendeskSim


def configure(config: dict[str, Any], sim: ZendeskSim) -> None:
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


async def with_a_closed_ticket(stage: Stage) -> None:
    await with_a_ticket(stage)
    stage.sim.books["tickets"][stage.case.ref("ticket")]["status"] = "closed"


async def wrote(stage: Stage) -> None:
    await stage.sim.do_customer_reply(stage.case.ref("ticket"), "Is it there?")


async def wrote_again(stage: Stage) -> None:
    await stage.sim.do_customer_reply(stage.case.ref("ticket"), "When is it paid?")


def comments(sim: ZendeskSim) -> int:
    return sum(
        one["body"] == "The parcel is back." for each in sim.books["tickets"].values() for one in each["comments"]
    )


OPEN = Does(
    ZendeskSim, configure, opened, key="ticket:open", settled="again", says="POST /api/v2/tickets",
    happened=lambda sim: len(sim.books["tickets"]), shown=lambda case: case.ref("ticket") is not None,
)  # fmt: skip
COMMENT = Does(
    ZendeskSim, configure, noted, key="ticket:comment:t1", settled="find", says="The parcel is back",
    happened=comments, opens=with_a_ticket,
)  # fmt: skip
FOLLOW_UP = Does(
    ZendeskSim, configure, noted, key="ticket:comment:t1", settled="find", says="via_followup_source_id",
    happened=comments, opens=with_a_closed_ticket,
)  # fmt: skip
REPLY = Tells(
    ZendeskSim, configure, wrote, wrote_again, opens=with_a_ticket, entries="message.received", dated=True,
    shown=lambda case: case.talk.last_text, after=("Is it there?", "When is it paid?"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_ticket_is_opened_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(OPEN, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_comment_is_written_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(COMMENT, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_comment_on_a_closed_ticket_opens_one_follow_up_whatever_goes_wrong(
    fault: str, tmp_path: Path, sink: Sink
) -> None:
    await survives(FOLLOW_UP, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_buyers_words_count_once_and_a_stale_stamp_is_refused(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(REPLY, fault, tmp_path, sink)
