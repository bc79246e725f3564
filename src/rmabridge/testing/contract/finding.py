"""What ``find`` keeps: it says what it saw, and nothing of what it could not see."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ...abilities import Context, Finding
from .calling import GARBAGE, Call, Calling, Vendor, lent


class LookupContract(Calling):
    """The checks of a lookup; the ``found`` and ``absent`` of a call say how the vendor answers it."""

    def look(self, call: Call, *answers: Any) -> Finding:
        """What the lookup of the call says when the vendor answers this."""
        find = self.handler(call).find
        assert find is not None, f"{call.method} has no lookup: leave found and absent out"

        async def run(ctx: Context) -> Finding:
            return await find(call.action, ctx)

        return lent(Vendor(answers), self.token, run)

    def test_what_was_done_is_found(self, call: Call) -> None:
        if call.found:
            assert self.look(call, *call.found).happened is True, "the lookup does not find what the vendor shows"

    def test_what_is_found_has_the_id_of_what_was_done(self, call: Call) -> None:
        done = self.result(call).id
        if call.found and done:
            assert self.look(call, *call.found).result.id in {done, None}, "the lookup tells another id than the call"

    def test_what_was_not_done_is_not_found(self, call: Call) -> None:
        if call.absent:
            assert self.look(call, *call.absent).happened is not True, "the lookup finds what is not there"

    @pytest.mark.parametrize(
        "answer",
        [httpx.Response(500), httpx.Response(401), httpx.Response(429), GARBAGE, httpx.ReadTimeout("late")],
        ids=["500", "401", "429", "page", "timeout"],
    )
    def test_a_lookup_without_an_answer_decides_nothing(self, call: Call, answer: Any) -> None:
        if self.handler(call).find is None:
            return
        try:
            happened = self.look(call, answer).happened
        except AssertionError:
            raise
        except Exception:  # noqa: BLE001 - whatever is raised, the bridge asks again
            return
        assert happened is None, f"says {happened} where the vendor said nothing: the bridge would believe it"
