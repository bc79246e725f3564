"""How the contract calls out: through ``flow.attempt`` as in production; only the network is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar, cast

import httpx
import pytest
from tenacity import wait_none

from ...abilities import Context, Handler, Plugin, Result
from ...flow import attempt as flow
from ...flow.attempt import Outcome
from ...flow.client import READS, SAFE, Flight
from ...model import Action
from ..contexts import MemoryTokens, client, context
from .settings import Contract

KEY: Final = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"
GARBAGE: Final = httpx.Response(200, html="<html><body>Maintenance, back soon</body></html>")
ELSEWHERE: Final = "https://elsewhere.example"
# Nothing of the request has left when these are raised.
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One action of the account, and what the vendor answers to each request of it when all is well.

    An answer is a JSON value or an ``httpx.Response``. ``method`` is the plugin's method. ``keyless``: the vendor takes
    no idempotency key. ``blind``: any 2xx is success, whatever the body says. ``by_status``: the vendor tells errors by
    the HTTP status alone, so that any JSON of a 2xx is success. ``errors``: by the end that the bridge
    must come to, the bodies of a 200 by which this vendor refuses the first request. ``found`` and ``absent``: what
    the requests of a lookup are answered when it happened, and when it did not.
    """

    method: str
    action: Action
    answers: tuple[Any, ...]
    keyless: bool = False
    blind: bool = False
    by_status: bool = False
    errors: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    found: tuple[Any, ...] = ()
    absent: tuple[Any, ...] = ()


@dataclass
class Vendor:
    """Answers the requests of one attempt, in order, and remembers them; past the last answer it repeats it."""

    answers: tuple[Any, ...]
    flight: Flight = field(default_factory=Flight)
    seen: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers[min(len(self.seen), len(self.answers)) - 1]
        if isinstance(answer, UNSENT):
            raise answer
        if request.method not in SAFE and not request.extensions.get(READS):
            self.flight.sent = True
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return httpx.Response(200, json=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def lent(vendor: Vendor, token: dict[str, str] | None, use: Callable[[Context], Awaitable[T]]) -> T:
    """What comes of using a context whose client talks to the vendor."""

    async def run() -> T:
        async with client(httpx.MockTransport(vendor)) as http:
            return await use(context(http=http, key=KEY, tokens=MemoryTokens(token)))

    return asyncio.run(run())


class Calling(Contract):
    """How checks call the account; ``calls`` lists what it carries out.

    ``statuses`` names the HTTP statuses by which this vendor means something else than the rest of the world, with the
    end that the bridge must come to: done, retry, dead, uncertain or unauthorised. ``token`` is what the account holds
    once it is connected.
    """

    statuses: ClassVar[Mapping[int, str]] = {}
    token: ClassVar[dict[str, str] | None] = None

    def calls(self) -> list[Call]:
        """One entry for each action that the account carries out."""
        self.unwritten("calls(): one Call for each action that the account carries out")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each check that takes a ``call`` for each of them."""
        if "call" in metafunc.fixturenames:
            calls = self.calls()
            metafunc.parametrize("call", calls, ids=[one.method for one in calls])

    def handler(self, call: Call, account: Plugin | None = None) -> Handler:
        """What the account routes the action to."""
        found = (account or self.account()).route(call.action)
        assert found is not None, f"the account does not route {call.action.kind}"
        return cast("Handler", found)

    def attempt(
        self, call: Call, *answers: Any, account: Plugin | None = None, connected: bool = True
    ) -> tuple[Outcome, Vendor]:
        """The end of one attempt at a vendor that answers this, and the vendor with what it saw."""
        handler, vendor = self.handler(call, account), Vendor(answers)

        async def run(ctx: Context) -> Outcome:
            return await flow.attempt(handler, call.action, ctx, vendor.flight, repeatable=handler.repeatable)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow, "wait_random_exponential", lambda **_: wait_none())
            return lent(vendor, self.token if connected else None, run), vendor

    def result(self, call: Call) -> Result:
        """What the call gives when all is well."""
        return self.attempt(call, *call.answers)[0].result

    def ends(self, call: Call, answer: Any) -> Outcome:
        """The end where the first request of the action gets this answer; no secret may be in its words."""
        outcome, _ = self.attempt(call, answer)
        told = f"{outcome.cause} {outcome.hint}"
        assert not [one for one in self.secrets() if one in told], "the reason that an operator reads holds a secret"
        return outcome

    def expect(self, call: Call, answer: Any, end: str) -> None:
        """Fail where the attempt ends otherwise."""
        outcome = self.ends(call, answer)
        assert outcome.kind == end, f"ends as {outcome.kind}, not {end}: {outcome.cause}"

    def unsure(self, call: Call, sent: Vendor | None = None) -> str:
        """The end of what may have happened: looked up where a repeat does harm, else tried again."""
        probe = sent or self.attempt(call, httpx.Response(503))[1]
        return "uncertain" if probe.flight.sent and not self.handler(call).repeatable else "retry"

    def listed(self, *actions: type[Any]) -> list[tuple[Call, Any]]:
        """The calls that carry out one of these actions, and do so when all is well, each with its action."""
        found = [(one, one.action) for one in self.calls() if isinstance(one.action, actions)]
        return [(call, action) for call, action in found if self.attempt(call, *call.answers)[0].kind == "done"]
