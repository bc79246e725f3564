"""kill -9 at any instant: nothing that was acknowledged is lost, and no money moves twice."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from load import Forked, Senders, Zygote, configuration

from rmabridge.testing.simulators.sink import Sink
from serving import Child

KILLS = 55
SEED = int(os.environ.get("CRASH_SEED", "20261122"))
BUSY = (
    "SELECT (SELECT count(*) FROM inbox WHERE state = 'new')"
    " + (SELECT count(*) FROM outbox WHERE state IN ('due', 'sending'))"
)


@pytest.fixture
async def bank() -> AsyncIterator[Sink]:
    """An account that pays whatever it is asked to, as often as it is asked to."""
    async with Sink() as one:
        yield one


def told(sink: Sink, kind: str, field: str) -> Counter[str]:
    """How often each thing was asked for."""
    return Counter(one["body"][field] for one in sink.books["posts"] if one["body"]["type"] == kind)


@pytest.mark.slow
@pytest.mark.row("P56", "P11")
async def test_fifty_five_kills_under_load_lose_nothing_and_pay_nothing_twice(
    tmp_path: Path, sink: Sink, bank: Sink
) -> None:
    chance = Random(SEED)
    async with Zygote(tmp_path / "serve.log") as zygote:
        child = Forked(configuration(tmp_path, sink.url, bank.url), tmp_path, zygote)
        senders = Senders(child, at_once=6, pause=0.06)
        await child.start()
        sending = asyncio.create_task(senders.run())
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.02, 0.3))
            await child.kill()
            ((routed,),) = child.rows("SELECT count(*) FROM cases")
            await child.spawn()
            if number % 7:  # every seventh is killed at some instant of its start
                await child.listening()
                # What is never given the time to end counts, after eight times, as what ends the process.
                await child.until(f"SELECT count(*) > {routed} FROM cases", [(True,)], 30)
                await senders.reach(2 * number)  # however slow the machine is, each has something to lose
        await child.listening()
        senders.stopping = True
        await asyncio.wait_for(sending, 30)
        await child.until(BUSY, [(0,)], 60)
        judge(child, senders, sink, bank)
        await settle(child, bank)


def judge(child: Child, senders: Senders, sink: Sink, bank: Sink) -> None:
    """Compare what senders, bridge and receivers believe."""
    wanted = {f"R{number}" for number in senders.acknowledged}
    tickets, mails, paid = (
        told(sink, "ticket.open", "subject"),
        told(sink, "message.send", "text"),
        told(bank, "refund.pay", "request"),
    )
    states = dict(child.rows("SELECT type || ' ' || state, count(*) FROM outbox GROUP BY 1"))
    cases = child.rows("SELECT count(*) FROM cases")[0][0]
    uncertain = states.get("refund.pay uncertain", 0)
    again = sum((tickets + mails).values()) - len(tickets) - len(mails)
    print(
        f"\nkills {KILLS}, posts {senders.posts}, acknowledged {len(wanted)}, routed {cases}, "
        f"delivered {len(tickets)} tickets + {len(mails)} mails + {len(paid)} refunds, "
        f"lost {len(wanted - tickets.keys())}, sent again by a key that is known {again}, "
        f"refunds paid twice {sum(times > 1 for times in paid.values())}, uncertain {uncertain} (seed {SEED})"
    )
    assert child.rows("SELECT id, kind, state, note FROM inbox WHERE state != 'done'") == [], "nothing is parked"
    assert len(wanted) == senders.sent == cases > 100
    assert wanted == set(tickets) == set(mails)
    assert max(paid.values()) == 1, "money moved twice"
    assert states == {
        "ticket.open done": cases,
        "message.send done": cases,
        **({"refund.pay done": cases - uncertain} if cases > uncertain else {}),
        **({"refund.pay uncertain": uncertain} if uncertain else {}),
    }
    assert uncertain >= 1, "no kill hit a refund: the test proves too little"
    keys = {one["id"] for one in sink.books["posts"]}
    assert len(keys) == 2 * cases, "every try of an action carries the same key"


async def settle(child: Child, bank: Sink) -> None:
    """A person who has looked at the bank's books settles what is uncertain: then each refund was paid once."""
    paid = {one["body"]["request"] for one in bank.books["posts"]}
    rows = child.rows("SELECT id, key FROM outbox WHERE state = 'uncertain'")
    for number, key in rows:
        child.command("resolve", delivery=number, happened=key.split(":")[1] in paid)
    await child.until("SELECT count(*) FROM outbox WHERE state != 'done'", [(0,)], 60)
    await child.until("SELECT count(*) FROM cases WHERE flag IS NOT NULL", [(0,)], 30)
    once = told(bank, "refund.pay", "request")
    assert set(once.values()) == {1}
    assert [(len(once),)] == child.rows("SELECT count(*) FROM cases")


@pytest.mark.row("P56")
async def test_the_command_itself_survives_kills_and_ends_well_when_it_is_told_to(
    tmp_path: Path, sink: Sink, bank: Sink
) -> None:
    child, chance = Child(configuration(tmp_path, sink.url, bank.url), tmp_path), Random(SEED)
    await child.start()
    senders = Senders(child, at_once=4, pause=0.02)
    sending = asyncio.create_task(senders.run())
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        await child.kill()
        await child.start()
    for _ in range(2):
        await asyncio.sleep(0.3)
        before = child.rows("SELECT count(*) FROM outbox WHERE state = 'uncertain'")
        assert await child.stop() == 0
        assert child.rows("SELECT count(*) FROM outbox WHERE state = 'sending'") == [(0,)], "nothing is cut off"
        assert child.rows("SELECT count(*) FROM outbox WHERE state = 'uncertain'") == before
        await child.start()
    senders.stopping = True
    await asyncio.wait_for(sending, 30)
    await child.until(BUSY, [(0,)], 60)
    assert set(told(sink, "ticket.open", "subject")) == {f"R{number}" for number in senders.acknowledged}
    assert max(told(bank, "refund.pay", "request").values()) == 1
    assert await child.stop() == 0
