"""What ``verify`` and ``reply`` keep: only what the vendor signed comes in, and the vendor hears that it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ...abilities import Inbound, Receipt, WebRequest
from ...errors import KeyNeeded, Refused
from ..contexts import NOON
from .parsing import ParseContract, quickly

AN_HOUR = timedelta(hours=1)


class WebhookContract(ParseContract):
    """The checks of a door.

    ``signed`` makes a webhook as the vendor does, best with the test's own few lines; left out, the plugin's samples
    are taken. ``secret_field`` is the setting with the secret that signs, ``other_secret`` another good value for it.
    ``stamped`` says that the vendor signs the time, so that old webhooks are refused.
    """

    secret_field: ClassVar[str] = "secret"  # noqa: S105 - the name of a setting
    other_secret: ClassVar[str] = "another-secret-of-the-vendor"  # noqa: S105 - of no account
    stamped: ClassVar[bool] = False

    def signed(self, account: Any, now: datetime) -> list[WebRequest]:
        """Webhooks as the vendor signs them with the account's settings; each gives at least one event."""
        return [one for name in account.samples() if (one := account.sample(name, now))]

    def unsigned(self, request: WebRequest) -> WebRequest:
        """The same webhook without its signature."""
        kept = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
        return replace(request, headers=kept, query={})

    def challenges(self, account: Any, now: datetime) -> list[WebRequest]:
        """The vendor's challenges under the account's secret, where it knows any."""
        return []

    def signed_part(self, request: WebRequest) -> range:
        """Which bytes of the body the vendor signs: all, as a rule."""
        return range(len(request.body))

    def inbound(self, account: Any) -> list[Inbound]:
        """The bodies of the signed webhooks, as they are stored."""
        found = []
        for one in self.accepted(account):
            receipt = account.verify(one, NOON)
            found.append(Inbound(account.account, one.body, receipt.meta, NOON))
        return found

    def requests(self, account: Any, now: datetime = NOON) -> list[WebRequest]:
        """The signed webhooks; there must be one."""
        found = self.signed(account, now)
        assert found, "there is no webhook to try: write signed(), or give the plugin samples"
        return found

    def accepted(self, account: Any, now: datetime = NOON) -> list[WebRequest]:
        """Those that the door lets in; that it lets in all is a check of its own."""
        return [one for one in self.requests(account, now) if not self.refused(account, one, now)]

    def refused(self, account: Any, request: WebRequest, now: datetime = NOON) -> bool:
        """Whether the door stays shut."""
        try:
            account.verify(request, now)
        except (Refused, KeyNeeded):
            return True
        return False

    # What comes in

    def test_what_the_vendor_signed_is_accepted(self) -> None:
        account = self.account()
        for one in self.requests(account):
            assert not self.refused(account, one), "a webhook of the vendor's is refused"
            assert isinstance(account.verify(one, NOON), Receipt)

    def test_header_names_may_be_written_in_any_case(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            for write in (str.lower, str.upper):
                headers = CIMultiDict({write(name): value for name, value in one.headers.items()})
                assert not self.refused(account, replace(one, headers=headers)), "header names have no case"

    def test_verifying_twice_finds_the_same(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            assert account.verify(one, NOON) == account.verify(one, NOON), "verify is not pure"

    def test_the_receipt_holds_no_secret(self) -> None:
        account, secrets = self.account(), self.secrets()
        for one in self.accepted(account):
            assert not [secret for secret in secrets if secret in repr(account.verify(one, NOON))]

    # What stays out

    def test_a_flipped_byte_is_refused(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            for changed in flipped(one, self.signed_part(one)):
                assert self.refused(account, changed), "a changed body is accepted: is the raw body signed?"

    def test_a_webhook_without_its_signature_is_refused(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            assert self.refused(account, self.unsigned(one)), "unsigned webhooks are accepted"

    def test_a_missing_header_is_refused_where_it_counts(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            for name in one.headers:
                rest = CIMultiDict({other: value for other, value in one.headers.items() if other != name})
                counts = name in self.counting(account, one)
                assert self.refused(account, replace(one, headers=rest)) or not counts, f"accepted without {name}"

    def test_an_empty_body_is_refused(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            assert self.refused(account, replace(one, body=b"")), "the signature does not cover the body"

    def test_another_secret_is_refused(self) -> None:
        stranger = self.account(**{self.secret_field: self.other_secret})
        for one in self.accepted(stranger):
            assert self.refused(self.account(), one), "a webhook signed with another secret is accepted"

    def test_any_other_bytes_and_headers_are_refused(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            self._try_any_signature(account, one)

    def _try_any_signature(self, account: Any, one: WebRequest) -> None:
        @quickly
        @given(st.binary(max_size=100), st.text(max_size=40))
        def check(body: bytes, odd: str) -> None:
            headers = {name: value if name.lower() == "content-type" else odd for name, value in one.headers.items()}
            assert self.refused(account, replace(one, body=b"?" + body, headers=headers, query={}))

        check()

    # Secrets and time

    def test_the_old_secret_counts_until_its_end(self) -> None:
        end = NOON + AN_HOUR
        account = self.rotated(end)
        for one in self.accepted(self.account()):
            assert not self.refused(account, one), "the old secret must count while it is replaced"
        for one in self.accepted(self.account(), end):
            assert self.refused(account, one, end), "the old secret counts after its end"

    def test_the_new_secret_counts_at_once_and_after(self) -> None:
        end = NOON + AN_HOUR
        account, sender = self.rotated(end), self.account(**{self.secret_field: self.other_secret})
        for now in (NOON, end):
            for one in self.accepted(sender, now):
                assert not self.refused(account, one, now), "the new secret must count"

    def test_the_old_secret_gets_no_echo_after_its_end(self) -> None:
        end = NOON + AN_HOUR
        for one in self.challenges(self.account(), NOON):
            assert echoed(self.rotated(end), one, NOON), "a challenge of the vendor's is not answered"
        for one in self.challenges(self.account(), end):
            assert not echoed(self.rotated(end), one, end), "a challenge under the old secret is answered after its end"

    def counting(self, account: Any, request: WebRequest) -> set[str]:
        """The headers without whose right value the door stays shut; a content type only helps to read."""
        altered = {
            name: CIMultiDict({**request.headers, name: f"{value}x"})
            for name, value in request.headers.items()
            if name.lower() != "content-type"
        }
        return {name for name, headers in altered.items() if self.refused(account, replace(request, headers=headers))}

    def test_signatures_are_compared_in_constant_time(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            marks = {name: Watched(one.headers[name]) for name in self.counting(account, one)}
            watched = CIMultiDict({**one.headers, **marks})
            self.refused(account, replace(one, headers=watched))
            plain = [name for name, mark in marks.items() if mark.compared]
            assert not plain, f"{', '.join(plain)} is compared with ==: use wire.signing.any_matches"

    def rotated(self, end: datetime) -> Any:
        """An account whose secret is being replaced until then."""
        old = {"value": self.settings[self.secret_field], "until": end}
        changes: dict[str, Any] = {self.secret_field: [self.other_secret, old]}
        return self.account(**changes)

    @pytest.mark.parametrize("hours", [-2, 2])
    def test_a_webhook_of_another_hour_is_refused_where_the_time_is_signed(self, hours: int) -> None:
        account = self.account()
        for one in self.accepted(account):
            late = self.refused(account, one, NOON + timedelta(hours=hours))
            assert late is self.stamped, (
                "old webhooks are accepted" if self.stamped else "retries after hours are refused"
            )

    # What the vendor hears

    def test_the_reply_is_a_success(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            assert 200 <= account.reply(one).status < 300, "the vendor would send it again"

    def test_an_ordinary_webhook_is_no_handshake(self) -> None:
        account = self.account()
        for one in self.accepted(account):
            assert account.handshake(one, NOON) is None, "the webhook would be answered and not be stored"

    def test_the_samples_are_accepted_and_mean_something(self) -> None:
        account = self.account()
        for name in account.samples():
            one = account.sample(name, NOON)
            assert one is not None, f"there is no sample {name}"
            receipt = account.verify(one, NOON)
            assert list(account.parse(Inbound(account.account, one.body, receipt.meta, NOON))), f"{name}: no event"
        assert account.sample("no such sample", NOON) is None


class Watched(str):  # noqa: SLOT000 - it notes something
    """A header's value that notes when it is compared in the ordinary way with its like."""

    compared: bool

    def __new__(cls, value: str) -> Self:
        made = super().__new__(cls, value)
        made.compared = False
        return made

    def __eq__(self, other: object) -> bool:
        self.compared = self.compared or (isinstance(other, str) and len(other) == len(self) >= 16)
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def echoed(account: Any, challenge: WebRequest, now: datetime) -> bool:
    """Whether the account answers a challenge."""
    try:
        return account.handshake(challenge, now) is not None
    except Refused:
        return False


def flipped(request: WebRequest, part: range) -> Iterator[WebRequest]:
    """The webhook with one byte changed, at about twenty places."""
    for place in part[:: max(1, len(part) // 20)]:
        body = bytearray(request.body)
        body[place] ^= 1
        yield replace(request, body=bytes(body))
