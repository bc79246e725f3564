"""What senders, bridge and receivers believe, compared; and receivers that notice when things arrive, or that kill."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from time import monotonic
from typing import Any, Final

from aiohttp import web
from herd import BUSY, disorder, told
from load import Forked, Senders

from rmabridge.testing.simulators.faults import cut
from rmabridge.testing.simulators.sink import Sink

COUNTED: Final = ["acknowledged", "routed", "delivered", "lost", "duplicated", "uncertain"]


class Receiver(Sink):
    """Counts, and notes when each thing came first. ``strike`` makes it call ``kill`` once: before it books a call
    (``asked``), after it did (``booked``), or in the middle of the answer (``half``)."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[str, float] = {}
        self.strike: str | None = None
        self.closing = False  # close each connection after its answer
        self.kill: Callable[[], None] = lambda: None

    async def _take(self, request: web.Request) -> web.Response:
        strike, self.strike = self.strike, None
        if strike == "asked":
            await request.read()
            self.kill()
            return self._nothing(request)
        answer = await super()._take(request)
        self._note()
        if self.closing:
            answer.force_close()
        if strike is None:
            return answer
        if strike == "half":
            part = web.StreamResponse(headers={"Content-Length": "1000"})
            await part.prepare(request)
            await part.write(b'{"id": "')
        self.kill()
        return self._nothing(request)

    def _note(self) -> None:
        body = self.books["posts"][-1]["body"]
        if isinstance(body, dict) and (name := body.get("subject") or body.get("text") or body.get("request")):
            self.arrived.setdefault(name, monotonic())

    def _nothing(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            cut(request.transport)
        return web.Response(status=500)


@dataclass
class Count:
    """What became of what was acknowledged."""

    acknowledged: int
    routed: int
    delivered: int
    lost: int
    duplicated: int
    uncertain: int
    again: int
    parked: int
    disordered: int

    def cells(self) -> list[int]:
        """In the order of ``COUNTED``."""
        return [getattr(self, one) for one in COUNTED]


def count(child: Any, senders: Senders, sink: Sink, bank: Sink) -> Count:
    """Acknowledged webhooks against what reached the receivers. ``again``: the same thing by the same key, which its
    receiver knows; ``duplicated``: the same thing by two keys, or money that moved twice."""
    asked = {f"R{number}" for number in senders.acknowledged}
    notes = {f"R{number}/{note}" for number, note in senders.noted}
    tickets, mails = told(sink, "ticket.open", "subject"), told(sink, "message.send", "text")
    paid = told(bank, "refund.pay", "request")
    uncertain = child.rows("SELECT count(*) FROM outbox WHERE state = 'uncertain'")[0][0]
    unpaid = max(0, len(asked - paid.keys()) - uncertain)
    keys = Counter(_once(sink))
    return Count(
        acknowledged=len(asked) + len(notes),
        routed=child.rows("SELECT count(*) FROM inbox WHERE state = 'done' AND kind = 'hook'")[0][0],
        delivered=len(tickets) + len(mails) + len(paid),
        lost=len(asked - tickets.keys()) + len((asked | notes) - mails.keys()) + unpaid,
        duplicated=sum(one > 1 for one in paid.values()) + sum(one > 1 for one in keys.values()),
        uncertain=uncertain,
        again=sum((tickets + mails).values()) - len(tickets) - len(mails),
        parked=child.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')")[0][0],
        disordered=len(disorder(sink)),
    )


def _once(sink: Sink) -> list[str]:
    """What each key asked for."""
    bodies = {one["id"]: one["body"] for one in sink.books["posts"]}.values()
    return [f"{one['type']} {one.get('subject')} {one.get('text')}" for one in bodies]


async def quiet(child: Any, seconds: float = 300) -> None:
    """Wait until nothing is on its way."""
    await child.until(BUSY, [(0,)], seconds)


def middle(times: list[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    if len(times) < 2:
        return "-"
    return f"{median(times) * 1000:.0f} / {quantiles(times, n=20)[-1] * 1000:.0f}"


async def settled(child: Forked, bank: Sink, seconds: float = 300) -> int:
    """A person who has looked at the bank's books settles what is uncertain; how many refunds were not paid once."""
    query = "SELECT id, key FROM outbox WHERE state = 'uncertain' AND type = 'refund.pay'"
    async with asyncio.timeout(seconds):
        while rows := child.rows(query):
            known = told(bank, "refund.pay", "request")
            for number, key in rows:  # beside the loop, on which the bank answers
                happened = key.split(":")[1] in known
                await asyncio.to_thread(child.command, "resolve", delivery=number, happened=happened)
            await child.until("SELECT count(*) FROM inbox WHERE state = 'new'", [(0,)], seconds)
            await quiet(child, seconds)
    return sum(one != 1 for one in told(bank, "refund.pay", "request").values())
