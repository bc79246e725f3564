"""One state machine for claims: any order of reports ends in the same claim, and there is never a second one."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.core.claims import NEXT, goods_value, payout, refusal, since, standing
from rmabridge.core.reduce import reduce
from rmabridge.model import (
    Case,
    Claim,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    ClaimStep,
    Line,
    Money,
    Order,
    OrderLine,
    Parcel,
    Request,
)

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
S = ClaimStatus


def steps(*statuses):
    return tuple(ClaimStep(status=one, at=START + timedelta(hours=n)) for n, one in enumerate(statuses))


def seen(status, hours=0, **facts):
    given_ = {"waybill": "YT1", "carrier": "YTO", "kind": ClaimKind.DAMAGE} | facts
    return ClaimSeen(key=f"{status}:{hours}", at=START + timedelta(hours=hours), status=status, **given_)


def case(*events, account="easypost", **facts):
    made = Case(id="C1", shop="one", opened_at=START, updated_at=START, **facts)
    for one in events:
        made = reduce(made, one, account)
    return made


reports = st.lists(
    st.builds(
        seen,
        st.sampled_from(ClaimStatus),
        st.integers(0, 40),
        carrier=st.sampled_from(["YTO", None]),
        amount=st.sampled_from([None, Money.of("10 CNY"), Money.of("25 CNY")]),
        paid=st.sampled_from([None, Money.of("10 CNY")]),
        claim=st.sampled_from([None, "clm_1"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one.key,
)


@given(reports, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_order_of_the_reports_ends_in_the_same_single_claim(events, chance):
    shuffled = list(events)
    chance.shuffle(shuffled)
    first, second = case(*events), case(*shuffled)
    assert first.claims == second.claims
    assert len(first.claims) == 1
    assert {name: one for name, one in first.stamps.items() if name.startswith("claim.")} == {
        name: one for name, one in second.stamps.items() if name.startswith("claim.")
    }


@given(reports)
@settings(max_examples=100, deadline=None)
def test_what_was_told_twice_changes_nothing(events):
    assert case(*events).claims == case(*events, *events).claims


@given(st.lists(st.sampled_from(ClaimStatus), min_size=1, max_size=10))
def test_a_claim_only_ever_takes_allowed_steps(statuses):
    walk = steps(*statuses)
    status, refused = standing(walk)
    counted = [one.status for one in walk if one not in {told.step for told in refused}]
    for now, then in itertools.pairwise(counted):
        assert now is then or then in NEXT[now] or (now is S.DRAFT and then in NEXT[S.SUBMITTED])
    assert counted[-1] is status


@pytest.mark.row("P49")
def test_the_whole_way_of_a_claim():
    way = [S.DRAFT, S.SUBMITTED, S.IN_REVIEW, S.INFO_REQUESTED, S.IN_REVIEW, S.PARTIAL, S.APPEALED, S.APPROVED, S.PAID]
    assert standing(steps(*way)) == (S.PAID, ())


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (S.DRAFT, S.APPROVED),
        (S.REJECTED, S.PAID),
        (S.PAID, S.IN_REVIEW),
        (S.SUBMITTED, S.DRAFT),
        (S.WITHDRAWN, S.SUBMITTED),
        (S.APPROVED, S.APPEALED),
    ],
)
def test_an_impossible_step_is_refused_with_what_could_follow(now, then):
    reason = refusal(now, then)
    assert f"a claim that is {now} cannot become {then}" in reason
    assert "what can follow" in reason


def test_an_impossible_report_does_not_count_and_is_told():
    status, refused = standing(steps(S.SUBMITTED, S.REJECTED, S.PAID))
    assert status is S.REJECTED
    assert [one.step.status for one in refused] == [S.PAID]
    assert "cannot become paid" in refused[0].reason


def test_a_carrier_that_speaks_of_a_draft_has_it():
    assert standing(steps(S.DRAFT, S.APPROVED))[0] is S.APPROVED


def test_our_own_late_word_does_not_take_a_claim_back():
    made = case(seen(S.DRAFT, 0), seen(S.IN_REVIEW, 2), seen(S.SUBMITTED, 3))
    assert made.claims[0].status is S.IN_REVIEW


def test_since_when_a_claim_stands_does_not_move_when_it_is_told_again():
    made = case(seen(S.SUBMITTED, 1), seen(S.IN_REVIEW, 2), seen(S.IN_REVIEW, 9))
    assert since(made.claims[0]) == START + timedelta(hours=2)


def test_the_account_is_the_one_that_took_the_claim_and_not_the_bridge():
    made = reduce(case(seen(S.DRAFT, 0), account="bridge"), seen(S.SUBMITTED, 1, claim="clm_1"), "easypost")
    (claim,) = reduce(made, seen(S.PAID, 9), "bridge").claims
    assert (claim.account, claim.id, claim.status) == ("easypost", "clm_1", S.PAID)


def test_two_carriers_of_one_number_and_two_kinds_are_claims_of_their_own():
    made = case(
        seen(S.SUBMITTED, 0), seen(S.SUBMITTED, 1, carrier="USPS"), seen(S.SUBMITTED, 2, kind=ClaimKind.PARTIAL_LOSS)
    )
    assert len(made.claims) == 3


@pytest.mark.parametrize(
    ("granted", "paid", "status", "found"),
    [
        ("100 CNY", "100.00 CNY", S.PAID, "matched"),
        ("100 CNY", "60 CNY", S.PAID, "short"),
        ("100 CNY", "120 CNY", S.PAID, "over"),
        ("100 CNY", "100 USD", S.PAID, "unclear"),
        ("100 CNY", None, S.PAID, "unclear"),
        ("100 CNY", None, S.APPROVED, "unpaid"),
        (None, "100 CNY", S.PAID, "unclear"),
    ],
)
def test_the_money_is_compared_with_what_was_granted(granted, paid, status, found):
    amounts = {"amount": granted and Money.of(granted), "paid": paid and Money.of(paid)}
    assert payout(Claim(waybill="YT1", kind=ClaimKind.DAMAGE, status=status, **amounts)) == found


def test_goods_are_worth_their_lines_else_the_order_and_nothing_where_parcels_share_it():
    lines = (OrderLine(id="L1", sku="A", quantity=2, price=Money.of("30 CNY")), OrderLine(id="L2", sku="B"))
    order = Order(id="O1", total=Money.of("90 CNY"), lines=lines)
    one = Parcel(waybill="YT1")
    assert goods_value(case(order=order, parcels=(one,))) == Money.of("90 CNY")
    assert goods_value(case(order=order, parcels=(one, Parcel(waybill="YT2")))) is None
    asked = Request(lines=(Line(id="1", order_line="L1", quantity=1),))
    assert goods_value(case(order=order, parcels=(one,), request=asked)) == Money.of("30 CNY")
    for unpriced in ((*asked.lines, Line(id="2", sku="B")), (Line(id="2", sku="B"),), (Line(id="3"),)):
        assert goods_value(case(order=order, parcels=(one,), request=Request(lines=unpriced))) is None
    assert goods_value(case()) is None
