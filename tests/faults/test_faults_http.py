"""Any HTTP system under every fault: what is repeatable goes again, all else is asked for or waits for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, staged, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.proxy import FaultProxy
from rmabridge.testing.simulators.sink import Sink

TICKET = {"type": "ticket.open", "subject": "Return", "text": "太小了"}


def configure(config: dict[str, Any], sim: Sink) -> None:
    config["helpdesks"]["desk"] = account(sim)


def with_a_key(config: dict[str, Any], sim: Sink) -> None:
    config["helpdesks"]["desk"] = account(sim, calls={"ticket.open": {"repeatable": True}})


async def opened(stage: Stage) -> None:
    await stage.act(external=stage.case.id, **TICKET)


OPEN = Does(
    Sink, configure, opened, key="ticket:open", settled="person",
    happened=lambda sim: sum(one["body"].get("type") == "ticket.open" for one in sim.books["posts"]),
    shown=lambda case: case.ticket is not None,
)  # fmt: skip
AGAIN = Does(
    Sink, with_a_key, opened, key="ticket:open", settled="again", happened=lambda sim: len(sim.books["ids"]),
    shown=lambda case: case.ref("ticket") == "S1",
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_what_cannot_be_asked_for_waits_for_a_person(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(OPEN, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_what_knows_our_key_counts_once_however_often_it_comes(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(AGAIN, fault, tmp_path, sink)


@pytest.mark.parametrize(("fault", "after", "came"), [("stop", 0, 0), ("reset", 20, 0), ("cut", 40, 1)])
async def test_a_broken_line_leaves_it_uncertain(fault: str, after: int, came: int, tmp_path: Path, sink: Sink) -> None:
    proxies: list[FaultProxy] = []

    def through_a_proxy(config: dict[str, Any], sim: Sink) -> None:
        url, calls = proxies[0].url, {"ticket.open": {"deadline": 0.3}}
        config["helpdesks"]["desk"] = account(sim, calls=calls) | {"url": url}

    async with Sink() as behind, FaultProxy(behind.url) as proxy:
        proxies.append(proxy)
        tale = Does(Sink, through_a_proxy, opened, key="ticket:open", settled="person", happened=OPEN.happened)
        async with staged(tale, tmp_path, sink) as stage:
            proxy.fault, proxy.after = fault, after
            await opened(stage)
            await stage.world.until(lambda: stage.row("ticket:open").get("state") == "uncertain")
            assert (OPEN.happened(behind), proxy.struck) == (came, 1)
            proxy.fault = None
            assert await stage.finish("ticket:open", lambda _: came, by_hand=True) == "done"
            assert OPEN.happened(behind) == 1
