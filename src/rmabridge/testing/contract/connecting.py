"""What probes and the OAuth code flow keep: they say what they saw, and tell nobody a secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from ...abilities import Connects, Context, Probes
from .calling import GARBAGE, Calling, Vendor, lent

REDIRECT: Final = "https://bridge.example/connect/acc?from=shop&to=us"
STATE: Final = "st4te-of-the-session"


class ConnectContract(Calling):
    """The checks of ``Probes`` and ``Connects``.

    ``probed`` are the vendor's answers to the probe; ``callback`` is the query with which the vendor sends the operator
    back, ``exchanged`` its answers to the exchange. ``signed_callback`` says that the vendor signs that query,
    ``probed_by_status`` that nothing is known of the probe's answer but its HTTP status.
    """

    probed: ClassVar[tuple[Any, ...]] = ()
    exchanged: ClassVar[tuple[Any, ...]] = ()
    signed_callback: ClassVar[bool] = False
    probed_by_status: ClassVar[bool] = False

    def callback(self) -> Mapping[str, str]:
        """The query of the vendor's callback; empty where it has no code flow."""
        return {}

    def probe(self, *answers: Any) -> str:
        """What the probe says of a vendor that answers this."""
        account = self.account()

        async def run(ctx: Context) -> str:
            told: str = await account.probe(ctx)
            return told

        return lent(Vendor(answers), self.token, run)

    def exchange(self, query: Mapping[str, str]) -> Any:
        """The token that the exchange makes of a query."""
        account = self.account()

        async def run(ctx: Context) -> Any:
            return await account.exchange(dict(query), REDIRECT, ctx)

        return lent(Vendor(self.exchanged), None, run)

    # The probe

    def test_the_probe_says_what_answered(self) -> None:
        if issubclass(self.plugin, Probes):
            told = self.probe(*self.probed)
            assert str(told or "").strip(), "the operator reads nothing: say what answered"

    def test_the_probe_tells_no_secret(self) -> None:
        if issubclass(self.plugin, Probes):
            told = str(self.probe(*self.probed))
            assert not [one for one in self.secrets() if one in told], "the probe's words hold a secret"

    @pytest.mark.parametrize(
        "answer",
        [httpx.Response(401), httpx.Response(500), GARBAGE, httpx.ConnectError("refused")],
        ids=["401", "500", "page", "refused"],
    )
    def test_a_probe_that_failed_is_no_good_news(self, answer: Any) -> None:
        if issubclass(self.plugin, Probes) and not (self.probed_by_status and answer is GARBAGE):
            with pytest.raises(Exception):  # noqa: B017, PT011 - 'accounts test' shows whatever is raised
                self.probe(answer)

    # The code flow

    def consent(self) -> str | None:
        """Where the operator gives consent."""
        account = self.account()
        found: str | None = account.authorise_url(REDIRECT, STATE) if isinstance(account, Connects) else None
        return found

    def test_the_way_to_consent_brings_the_session_back(self) -> None:
        if where := self.consent():
            sent = [one for many in parse_qs(urlsplit(where).query).values() for one in many]
            assert STATE in sent, "the state must be in the query as it was given"

    def test_the_way_to_consent_is_written_as_an_address(self) -> None:
        if where := self.consent():
            assert where.startswith("https://"), f"{where}: the operator's browser goes there"
            assert "from=shop&to=us" not in where, "the redirect must be quoted, or its end is lost"

    def test_the_way_to_consent_holds_no_secret(self) -> None:
        where = self.consent() or ""
        assert not [one for one in self.secrets() if one in where], "the browser's history would keep a secret"

    def test_a_callback_makes_a_token_of_texts(self) -> None:
        if query := self.callback():
            token = self.exchange(query)
            parts = [one for pair in token.items() for one in pair] if isinstance(token, dict) else []
            assert parts, "the exchange makes no token"
            assert all(isinstance(one, str) for one in parts), "a token is a table of texts"

    def test_a_callback_without_a_code_makes_no_token(self) -> None:
        if self.callback():
            with pytest.raises(Exception):  # noqa: B017, PT011 - the page shows whatever is raised
                self.exchange({})

    def test_a_forged_callback_makes_no_token(self) -> None:
        if not self.signed_callback:
            return
        for name, value in self.callback().items():
            with pytest.raises(Exception):  # noqa: B017, PT011 - the page shows whatever is raised
                self.exchange({**self.callback(), name: f"{value}0"})

    def test_the_tokens_end_is_a_time_of_some_zone(self) -> None:
        account = self.account()
        if isinstance(account, Connects):
            end: datetime | None = lent(Vendor(self.exchanged or ({},)), self.token, account.token_expires)
            assert end is None or end.tzinfo is not None, "the token's end has no time zone"
