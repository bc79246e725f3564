"""What stands against a refund or goods, where no running bridge is needed to see it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from rmabridge.core.paid import doubts
from rmabridge.model import Case, Money, Order, PayRefund, Ref, RefKind, Request, Reship

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def case(*returns: str, **facts: Any) -> Case:
    refs = tuple(Ref(kind=RefKind.RETURN, value=one) for one in returns)
    return Case(id="C1", shop="s", opened_at=NOW, updated_at=NOW, refs=refs, request=Request(id="R1"), **facts)


@pytest.mark.parametrize(
    ("returns", "proposer", "found"),
    [
        (("R1",), "returns@1", []),
        (("R1", "R 2"), "returns@1", ["bridge.requests:R1+R_2"]),
        (("R1", "R 2"), "operator:ann", []),
    ],
)
def test_a_person_looks_where_a_case_has_the_requests_of_two(
    returns: tuple[str, ...], proposer: str, found: list[str]
) -> None:
    view: Any = SimpleNamespace(proposer=proposer, ledger={}, action=lambda _: None)
    refund = PayRefund(request="R1", amount=Money.of("20 CNY"))
    assert [one.rule for one in doubts(refund, case(*returns), view)] == found


@pytest.mark.parametrize(("refunded", "found"), [("120 CNY", ["bridge.refunded:120CNY"]), ("100 CNY", []), (None, [])])
def test_goods_of_an_order_that_was_refunded_in_full_wait_for_a_person(refunded: str | None, found: list[str]) -> None:
    back = Money.of(refunded) if refunded else None
    view: Any = SimpleNamespace(proposer="compensation@1", ledger={}, action=lambda _: None)
    order = Order(id="O1", total=Money.of("120 CNY"), refunded=back)
    goods = Reship(external="C1", order="O1", lines=(("A", 1),))
    assert [one.rule for one in doubts(goods, case("R1", order=order), view)] == found
