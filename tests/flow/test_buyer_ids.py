"""By which name a marketplace is asked for the orders of a buyer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from rmabridge.core.reduce import reduce
from rmabridge.flow.work import Work
from rmabridge.model import Author, Buyer, Case, Message, MessageReceived, OrderSeen

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def wrote(buyer: Buyer) -> MessageReceived:
    words = Message(id="M1", at=NOON, author=Author.BUYER, form="chat", text="Where is it?")
    return MessageReceived(key="m1", at=NOON, message=words, buyer=buyer)


def told(buyer: Buyer) -> OrderSeen:
    return OrderSeen(key="o1", at=NOON, order={"id": "1001"}, buyer=buyer)


@pytest.mark.parametrize(
    ("account", "event", "name"),
    [
        ("chat", wrote(Buyer(id="42", email="ann@example.com")), "ann@example.com"),
        ("chat", wrote(Buyer(id="42")), "42"),
        ("store", wrote(Buyer(id="42", email="ann@example.com")), "42"),
        ("store", told(Buyer(id="42", email="ann@example.com")), "42"),
        ("store", told(Buyer(email="ann@example.com")), "ann@example.com"),
    ],
)
def test_a_number_of_another_system_is_not_taken_for_the_marketplaces_own(account: str, event: Any, name: str) -> None:
    case = reduce(Case(id="C1", shop="main", opened_at=NOON, updated_at=NOON), event, account)
    work: Any = SimpleNamespace(case=case, shop=SimpleNamespace(marketplace="store"))
    assert Work._buyer_id(work) == name
