"""What a door keeps whose senders sign with published keys: ``verify`` asks for a key, ``learn`` fetches it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest

from ...abilities import Context, WebRequest
from ...errors import KeyNeeded, Refused
from .. import contexts
from ..contexts import NOON
from .calling import GARBAGE, Calling, Vendor, lent
from .webhooks import WebhookContract

FOREIGN: Final = "elsewhere.example"
# The vendor did not say that there is no such key: the sender must keep the webhook and come again.
NO_ANSWER: Final = (httpx.Response(500), httpx.Response(429), httpx.ReadTimeout("late"), httpx.ConnectError("no way"))


class LearnContract(WebhookContract, Calling):
    """The checks of ``KeyNeeded`` and ``learn``; derive from it beside the class of your kind.

    ``published`` is what the vendor answers to each request of one ``learn``. The account of ``account()`` holds the
    key already; ``stranger()`` is one that holds none.
    """

    def published(self) -> tuple[Any, ...]:
        """The answers by which the vendor gives the key that the webhooks of ``signed`` name."""
        self.unwritten("published(): the answers by which the vendor gives the key that signed() names")

    def stranger(self) -> Any:
        """An account that has learnt nothing."""
        return contexts.account(self.plugin, "acc", **self.settings)

    def foreign(self, request: WebRequest, hosts: set[str]) -> list[WebRequest]:
        """The webhook as a forger sends it, with a key's address elsewhere; add what a name of yours could be bent to.

        ``hosts`` are those that are asked for the vendor's own keys.
        """
        headers, body = dict(request.headers), request.body
        for host in hosts:
            headers = {name: value.replace(host, FOREIGN) for name, value in headers.items()}
            body = body.replace(host.encode(), FOREIGN.encode())
        return [replace(request, headers=headers, body=body)]

    def wanted(self, account: Any, request: WebRequest) -> str | None:
        """The name of the key that the account lacks; None where it lacks none, or refuses."""
        try:
            account.verify(request, NOON)
        except KeyNeeded as needed:
            return needed.name
        except Refused:
            return None
        return None

    def learnt(self, account: Any, name: str, *answers: Any) -> tuple[Exception | None, Vendor]:
        """What ``learn`` raised, and the vendor with what it saw."""
        vendor = Vendor(answers or self.published())

        def learn(ctx: Context) -> Awaitable[None]:
            done: Awaitable[None] = account.learn(name, ctx)
            return done

        try:
            lent(vendor, self.token, learn)
        except Exception as error:  # noqa: BLE001 - each check says what may be raised
            return error, vendor
        return None, vendor

    def unknown(self) -> list[tuple[Any, WebRequest, str]]:
        """For each signed webhook an account that has not learnt its key, and the key's name."""
        found = []
        for one in self.requests(self.account()):
            account = self.stranger()
            if (name := self.wanted(account, one)) is not None:
                found.append((account, one, name))
        return found

    # A key that is not held

    def test_an_unknown_key_is_asked_for_by_its_name(self) -> None:
        for one in self.requests(self.account()):
            name = self.wanted(self.stranger(), one)
            assert (name or "").strip(), "verify must raise KeyNeeded(name) where it does not hold the key"

    def test_what_a_learnt_key_signed_is_accepted(self) -> None:
        for account, one, name in self.unknown():
            raised, _ = self.learnt(account, name)
            assert raised is None, f"learn raises {raised!r} where the vendor published the key"
            assert not self.refused(account, one), "learn does not keep the key under the name that verify asks for"

    def test_a_key_of_another_host_is_never_fetched(self) -> None:
        for account, one, name in self.unknown():
            hosts = {asked.url.host for asked in self.learnt(account, name)[1].seen}
            for forged in self.foreign(one, hosts):
                asked = self._asked_for(forged)
                assert asked <= hosts, f"whoever signs with a key of {', '.join(asked - hosts)} comes in"

    def _asked_for(self, forged: WebRequest) -> set[str]:
        account = self.stranger()
        name = self.wanted(account, forged)
        return {one.url.host for one in self.learnt(account, name)[1].seen} if name else set()

    # A key that does not come

    def test_a_key_that_the_vendor_does_not_have_is_refused(self) -> None:
        for account, _, name in self.unknown():
            raised, _ = self.learnt(account, name, *self.published()[:-1], httpx.Response(404))
            assert isinstance(raised, Refused), f"a forger's key is asked for again and again: {raised!r}"

    @pytest.mark.parametrize("answer", NO_ANSWER, ids=["500", "429", "timeout", "refused"])
    def test_a_vendor_that_gives_no_answer_makes_no_forgery(self, answer: Any) -> None:
        for account, _, name in self.unknown():
            raised, _ = self.learnt(account, name, *self.published()[:-1], answer)
            assert raised is not None, "learn says that all is well where the vendor gave no key"
            assert not isinstance(raised, Refused), "a genuine webhook is refused and lost while the vendor is down"

    @pytest.mark.parametrize("answer", [GARBAGE, httpx.Response(404), *NO_ANSWER])
    def test_a_key_that_was_not_fetched_leaves_nothing_behind(self, answer: Any) -> None:
        for account, one, name in self.unknown():
            self.learnt(account, name, *self.published()[:-1], answer)
            assert self.wanted(account, one) == name, "after a learn that failed the key is not asked for again"
            self.learnt(account, name)
            assert not self.refused(account, one), "after a learn that failed the next one does not help"
