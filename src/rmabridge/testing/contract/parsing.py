"""What ``parse`` keeps: the same bytes give the same events, and any bytes give events or ``Malformed``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote_plus

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ...abilities import Inbound, Parses, ReceivesWebhooks
from ...errors import Malformed
from ...model import Event
from ..contexts import NOON
from .documents import check_events, keys
from .personal import personal
from .settings import Contract

ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    10**30,
    "",
    "x",
    "😀",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    "9999-99-99",
    "\x00",
)
MANY: Final = 25
ANY_BYTES: Final = st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
quickly = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class ParseContract(Contract):
    """The checks of ``parse``; ``inbound`` gives bodies as they are stored, ``quiet`` ones that mean nothing to us."""

    def inbound(self, account: Any) -> list[Inbound]:
        """Stored bodies, each of which gives at least one event."""
        self.unwritten("inbound(account): stored bodies, each of which gives at least one event")

    def parse(self, account: Parses, inbound: Inbound) -> list[Event] | None:
        """The events, or None where the body is malformed; any other failure is a fault of the plugin."""
        try:
            return list(account.parse(inbound))
        except Malformed:
            return None
        except Exception as error:
            told = f"parse raises {type(error).__name__} ({error}) where it should raise Malformed"
            raise AssertionError(told) from error

    def test_every_sample_gives_events_that_can_be_kept(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            events = list(account.parse(one))
            assert events, "a sample gives no event"
            check_events(events)

    def test_the_samples_hold_no_personal_data(self) -> None:
        account = self.account()
        bodies = [one.body for one in self.inbound(account)]
        for name in account.samples() if isinstance(account, ReceivesWebhooks) else ():
            bodies += [one.body for one in [account.sample(name, NOON)] if one]
        found = {one for body in bodies for one in personal(unquote_plus(body.decode("utf-8", "replace")))}
        assert not found, f"scrub what may be somebody's: {', '.join(sorted(found))}"

    def test_parsing_twice_gives_the_same(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            assert list(account.parse(one)) == list(account.parse(one)), "parse is not pure"

    def test_another_account_with_the_same_settings_reads_the_same(self) -> None:
        for one in self.inbound(self.account()):
            assert list(self.account().parse(one)) == list(self.account().parse(one)), "parse keeps something"

    def test_a_redelivery_has_the_same_event_keys(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            late = replace(one, received_at=one.received_at + timedelta(hours=7, seconds=1))
            assert keys(account.parse(late)) == keys(account.parse(one)), "a key must not hold the delivery's time"

    def test_events_of_one_body_have_different_keys(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            found = keys(account.parse(one))
            assert len(set(found)) == len(found), f"the same key twice: {found}"

    def test_any_bytes_give_events_or_are_malformed(self) -> None:
        account = self.account()
        for one in {tuple(sorted(one.meta)): one for one in self.inbound(account)}.values():
            self._try_any(account, one)

    def _try_any(self, account: Parses, one: Inbound) -> None:
        @quickly
        @given(ANY_BYTES)
        def check(body: bytes) -> None:
            self.parse(account, replace(one, body=body))

        check()

    def test_any_meta_gives_events_or_is_malformed(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            for meta in ({}, *({**one.meta, name: odd} for name in one.meta for odd in ("", "x", "\x00", "9" * 40))):
                self.parse(account, replace(one, meta=meta))

    def test_a_body_with_a_missing_or_odd_field_is_borne(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            sound = self._sound(account, one)
            for body in bent(one.body):
                events = self.parse(account, replace(one, body=body)) or ()
                if sound is not None:
                    check_events(event for event in events if event not in sound)

    def _sound(self, account: Parses, one: Inbound) -> list[Event] | None:
        # What is wrong with the events of every body is another check's finding.
        events = list(account.parse(one))
        try:
            check_events(events)
        except AssertionError:
            return None
        return events

    def test_a_body_cut_short_is_borne(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            for end in range(0, len(one.body), max(1, len(one.body) // 40)):
                self.parse(account, replace(one, body=one.body[:end]))

    def test_a_body_that_nests_without_end_is_malformed_or_means_nothing(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            for body in (b"[" * 100_000, b'{"a":' * 100_000, b"<a>" * 20_000):
                assert not self.parse(account, replace(one, body=body))


def bent(body: bytes) -> Iterator[bytes]:
    """The body, if it is JSON, with each value in turn left out or replaced by something odd."""
    try:
        document = json.loads(body)
    except ValueError:
        return
    paths, whole = list(_paths(document)), json.dumps(document)
    # Of a long document each place gets a few of the odd values, and its neighbours the others.
    step = 1 + len(paths) // MANY
    for number, path in enumerate(paths):
        for odd in (_GONE, *ODD[number % step :: step]):
            yield _put(json.loads(whole), path, odd)


_GONE: Final = object()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from _paths(one, (*path, name))


def _put(copy: Any, path: tuple[Any, ...], odd: Any) -> bytes:
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    if odd is _GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return json.dumps(copy).encode()


def stored(account: Any, body: bytes, meta: dict[str, str] | None = None) -> Inbound:
    """A body as the inbox keeps it."""
    return Inbound(account.account, body, meta or {}, NOON)
