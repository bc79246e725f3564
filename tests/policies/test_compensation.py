"""Offers, operations and limits: what may be offered, what is carried out, and what waits for a person."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_compensation import Compensation
from rmabridge_compensation.course import Course
from rmabridge_compensation.spending import left, worth
from rmabridge_returns import Returns

from rmabridge.abilities import View
from rmabridge.core.claims import at_carrier
from rmabridge.core.rates import read
from rmabridge.model import (
    Case,
    CaseKind,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    Direction,
    EvidenceAdded,
    EvidenceKind,
    GiveCredit,
    Given,
    Identity,
    IdentityChecked,
    Issue,
    Line,
    Money,
    Order,
    OrderLine,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    PayRefund,
    RefundSeen,
    RemedyAccepted,
    RemedyKind,
    Reopened,
    RequestChanged,
    RequestStatus,
    Reship,
    Ruling,
    Status,
)
from rmabridge.model.case import Request

HOUR = timedelta(hours=1)
TABLE = read("date,CNY,USD,JPY\n2025-12-01,8,1.25,160\n")


@pytest.fixture
def desk(world):
    class Reached(world.Desk):
        """Offers have arrived by the time that anything else happens."""

        def feed(self, *events, account="mkt"):
            for event in events:
                for key in [key for key, state in self.ledger.items() if "offer:" in key and state == "due"]:
                    self.ledger[key] = "done"
                super().feed(event, account=account)
            return self

    def made(*more, tuned=None, **facts):
        return Reached(world.policy(Compensation, **(tuned or {})), *more, **facts)

    return made


def trouble(world, issue, kind=CaseKind.COMPLAINT, **facts):
    """A complaint that is no request of the marketplace's."""
    given = {"refs": (), "lines": (Line(id="1", order_line="L1", quantity=1),), "issue": issue} | facts
    return world.requested(kind, **given)


def offered(one):
    return [(choice.remedy, choice.amount) for choice in one.case.offered.choices] if one.case.offered else []


def test_goods_whose_price_is_not_known_are_not_worth_the_whole_order(world):
    lines = tuple(OrderLine(id=f"L{one}", sku=f"S{one}", quantity=1, price=Money.of("10 CNY")) for one in range(20))
    order = Order(id="O1", total=Money.of("900 CNY"), lines=lines)
    far = Line(id="1", order_line="L99", sku="S99")  # an order is not always told with all of its lines
    facts = {"id": "C1", "shop": "s", "opened_at": world.MONDAY, "updated_at": world.MONDAY, "order": order}
    assert worth(Case(**facts, request=Request(lines=(far,)))) is None
    assert worth(Case(**facts, request=Request(lines=(Line(id="2", order_line="L3"),)))) == Money.of("10 CNY")
    assert worth(Case(**facts, request=Request())) == Money.of("900 CNY")


def yes(world, number=None, at=HOUR, text=None):
    return world.says(text or (str(number) if number else "同意"), id=f"yes{number}", at=world.MONDAY + at)


@pytest.mark.parametrize("state", ["due", "held", "waiting", "dead", "denied"])
def test_a_yes_to_something_else_is_no_yes_to_an_offer_that_was_not_sent(world, desk, state):
    one = desk().feed(
        trouble(world, Issue.WRONG_ITEM, lines=(Line(id="1", order_line="L1", sku="SHOVEL"),)), world.order()
    )
    one.ledger["offer:1"] = state
    world.Desk.feed(one, yes(world, 1))
    assert one.case.agreed is None
    one.ledger["again:offer:1"] = "done"
    world.Desk.feed(one, yes(world, 2, text="1"))
    assert one.case.agreed, "the same words went another way"


def goods_back(world):
    parcel = Parcel(waybill="YT1", direction=Direction.BACK, status=ParcelStatus.DELIVERED)
    return ParcelSeen(key="back", at=world.MONDAY + 3 * HOUR, parcel=parcel)


def rulings(one, action, **view):
    """What the policies say of an action that somebody proposes now."""
    said = [policy.review(action, one.case, one.view()) for policy in one.policies]
    return [(verdict.ruling, verdict.rule) for verdict in said if verdict]


@pytest.mark.row("S029")
def test_another_article_than_the_one_ordered_is_the_warehouses_fault_and_reship_or_refund_is_offered(world, desk):
    """A rake was ordered, a shovel came."""
    rake = OrderLine(id="L1", sku="RAKE", title="耙子", price=Money.of("80 CNY"))
    asked = world.requested(
        CaseKind.COMPLAINT, refs=(), lines=(Line(id="1", order_line="L1", sku="SHOVEL"),), note="发成铲子了"
    )
    one = desk().feed(asked, world.order(lines=(rake,), total=Money.of("80 CNY")))
    assert (one.case.issue, one.case.liable) == (Issue.WRONG_ITEM, "warehouse")
    kinds = [kind for kind, _ in offered(one)]
    assert kinds[:2] == [RemedyKind.RESHIP, RemedyKind.REFUND_ONLY]
    assert one.case.offered.choices[1].amount == Money.of("80 CNY")
    assert "耙子" not in one.sent("offer:1").text and "1" in one.sent("offer:1").text
    one.feed(yes(world, 1))
    assert one.sent("reship:C1:all").lines == (("RAKE", 1),)
    assert one.sent("reship:C1:all").amount == Money.of("80 CNY")


COMPLAINTS = [
    Issue.QUALITY_DEFECT,
    Issue.NOT_AS_DESCRIBED,
    Issue.WRONG_ITEM,
    Issue.MISSING_PARTS,
    Issue.LATE_DELIVERY,
    Issue.LOST_PARCEL,
    Issue.WRONG_CARRIER,
    Issue.SERVICE_ATTITUDE,
    Issue.NEGATIVE_REVIEW,
    Issue.TRACKING_QUERY,
    Issue.OTHER,
]


@pytest.mark.row("S053")
@pytest.mark.parametrize("issue", COMPLAINTS)
def test_a_complaint_gets_at_least_two_offers(world, desk, issue):
    one = desk().feed(trouble(world, issue), world.order())
    assert len(offered(one)) >= 2
    text = one.sent("offer:1").text
    assert "（1）" in text and "（2）" in text


@pytest.mark.parametrize("issue", [Issue.SAFETY_CRISIS, Issue.MEDIA_MASS_RISK, Issue.MALICIOUS_EXTORTION])
def test_grave_matters_get_no_offer_from_a_rule(world, desk, issue):
    assert desk().feed(trouble(world, issue), world.order()).case.offered is None
    assert desk(level=3).feed(trouble(world, Issue.LATE_DELIVERY), world.order()).case.offered is None


@pytest.mark.row("S057")
def test_the_proposal_ends_with_a_question_and_the_answer_is_parsed_into_the_case(world, desk):
    one = desk().feed(trouble(world, Issue.LATE_DELIVERY), world.order())
    assert one.sent("offer:1").template.id == "proposal.choice"
    assert "您看哪一种合适？" in one.sent("offer:1").text
    one.feed(world.says("到底什么时候到", id="q", at=world.MONDAY + HOUR))
    assert one.case.agreed is None and one.case.offered.declined_at is None
    one.feed(yes(world, 2, at=2 * HOUR))
    assert (one.case.agreed.kind, one.case.agreed.amount) == (RemedyKind.PARTIAL_REFUND, Money.of("25 CNY"))
    assert one.case.agreed.accepted_by == "buyer"


def test_a_no_goes_to_colleagues_and_gives_nothing(world, desk):
    one = desk().feed(trouble(world, Issue.LATE_DELIVERY), world.order())
    one.feed(world.says("不同意", id="no", at=world.MONDAY + HOUR))
    assert one.case.offered.declined_at is not None
    assert one.proposed("ticket:comment:offer-declined:1")
    one.feed(yes(world, 1, at=2 * HOUR))
    assert one.case.agreed is None and not one.proposed("credit:")


def test_a_bare_yes_to_several_choices_decides_nothing(world, desk):
    one = desk().feed(trouble(world, Issue.LATE_DELIVERY), world.order()).feed(yes(world))
    assert one.case.agreed is None
    one.feed(world.says("9", id="nine", at=world.MONDAY + 2 * HOUR))
    assert one.case.agreed is None


@pytest.mark.row("S058")
def test_an_unreasonable_demand_is_declined_by_a_named_rule_with_something_else_offered(world, desk):
    one = desk().feed(trouble(world, Issue.QUALITY_DEFECT, amount=Money.of("5000 CNY")), world.order())
    message = one.sent("offer:1")
    assert message.template.id == "proposal.denied"
    assert "compensation.more_than_paid" in message.text
    assert "部分退款 100.00 元" in message.text
    one.feed(yes(world))
    assert one.sent("refund:O1:all").amount == Money.of("100 CNY")


@pytest.mark.row("S082")
def test_damage_found_after_signing_with_photos_in_time_gets_return_exchange_or_compensation(world, desk):
    signed = {"delivered_at": world.MONDAY - timedelta(hours=30)}
    photo = EvidenceAdded(key="p", at=world.MONDAY + HOUR, evidence="e1", kind=EvidenceKind.PHOTO)
    one = desk().feed(trouble(world, Issue.DAMAGED_IN_TRANSIT), world.order(**signed))
    assert offered(one) == []
    one.feed(photo)
    assert [kind for kind, _ in offered(one)] == [
        RemedyKind.RETURN_REFUND,
        RemedyKind.EXCHANGE,
        RemedyKind.PARTIAL_REFUND,
    ]
    late = desk().feed(trouble(world, Issue.DAMAGED_IN_TRANSIT), world.order(**signed))
    late.feed(photo.model_copy(update={"at": world.MONDAY + timedelta(hours=19)}))
    assert offered(late) == []


@pytest.mark.row("S083")
def test_damage_that_does_no_harm_is_settled_by_a_part_of_the_price_without_a_return(world, desk):
    one = desk(world.policy(Returns), sub="cosmetic").feed(trouble(world, Issue.QUALITY_DEFECT), world.order())
    assert offered(one)[0] == (RemedyKind.PARTIAL_REFUND, Money.of("37.5 CNY"))
    one.feed(yes(world, 1))
    assert one.ledger["refund:O1:all"] == "due"
    one.settle("refund:O1:all")
    assert (one.case.status, one.case.result) == (Status.CLOSED, "partial_refund")
    assert not one.proposed("return:")


def test_an_operation_that_is_done_closes_the_case_only_when_no_carrier_has_the_next_word(world, desk):
    one = desk(world.policy(Returns), sub="cosmetic").feed(trouble(world, Issue.QUALITY_DEFECT), world.order())
    claim = {"waybill": "YT1", "kind": ClaimKind.DAMAGE}
    one.feed(ClaimSeen(key="k1", at=one.now, status=ClaimStatus.SUBMITTED, **claim), yes(world, 1))
    one.settle("refund:O1:all")
    assert one.case.open and at_carrier(one.case)
    one.feed(ClaimSeen(key="k2", at=one.now + HOUR, status=ClaimStatus.REJECTED, **claim))
    assert one.case.status is Status.CLOSED


@pytest.mark.row("S094", "P45")
def test_500_pass_and_500_01_are_held(world, desk):
    one = desk().feed(trouble(world, Issue.HUMAN_AGENT), world.order(total=Money.of("9000 CNY")))
    coupon = GiveCredit(credit="coupon", external="C1", amount=Money.of("500.00 CNY"))
    assert rulings(one, coupon) == []
    assert rulings(one, coupon.model_copy(update={"amount": Money.of("500.01 CNY")})) == [
        (Ruling.HOLD, "compensation.limit")
    ]
    assert rulings(one, PayRefund(order="O1", amount=Money.of("500.01 CNY"))) == [(Ruling.HOLD, "compensation.limit")]


@pytest.mark.row("S094")
def test_what_was_given_in_the_case_counts_towards_its_limit(world, desk):
    given = Given(action="refund:O1:all", type="refund.pay", amount=Money.of("450 CNY"), at=world.MONDAY)
    one = desk(given=(given,)).feed(trouble(world, Issue.HUMAN_AGENT), world.order())
    coupon = GiveCredit(credit="coupon", external="C1", amount=Money.of("50 CNY"))
    assert rulings(one, coupon) == []
    one.ledger[coupon.key], one.actions[coupon.key] = "due", coupon
    more = GiveCredit(credit="coupon", external="C1", amount=Money.of("0.01 CNY"), part="2")
    assert rulings(one, more) == [(Ruling.HOLD, "compensation.limit")]
    assert rulings(one, coupon) == [], "an action does not count against itself"
    one.ledger[coupon.key] = "denied"
    assert rulings(one, more) == []


@pytest.mark.row("S094")
def test_other_currencies_are_converted_by_the_dated_table_and_what_it_does_not_know_is_held(world, desk, tmp_path):
    file = tmp_path / "rates.csv"
    file.write_text("date,CNY,USD\n2025-12-01,8,1.25\n2026-01-05,8,1\n", encoding="utf-8")
    one = desk(tuned={"rates_file": file}).feed(trouble(world, Issue.HUMAN_AGENT), world.order())
    dollars = GiveCredit(credit="coupon", external="C1", amount=Money.of("62.50 USD"))
    assert rulings(one, dollars) == [], "500.00 CNY on that day"
    assert rulings(one, dollars.model_copy(update={"amount": Money.of("62.51 USD")})) == [
        (Ruling.HOLD, "compensation.limit")
    ]
    one.now -= timedelta(days=1)
    assert rulings(one, dollars.model_copy(update={"amount": Money.of("78.12 USD")})) == [], (
        "the day before it cost less"
    )
    baht = dollars.model_copy(update={"amount": Money.of("1 THB")})
    verdict = one.policies[0].review(baht, one.case, one.view())
    assert verdict.rule == "compensation.limit" and "no THB" in verdict.reason


@pytest.mark.row("S094")
def test_what_one_agent_gives_in_a_day_has_a_limit_of_its_own(world, desk):
    one = desk(tuned={"daily": "1000 CNY"}).feed(trouble(world, Issue.HUMAN_AGENT), world.order())
    one.facts["given"] = lambda who, but: [Money.of("900 CNY")] if who == "operator:ann" else []
    coupon = GiveCredit(credit="coupon", external="C1", amount=Money.of("100.01 CNY"))
    for who, said in (("operator:ann", [(Ruling.HOLD, "compensation.daily")]), ("operator:bob", []), ("x@1", [])):
        one.proposer = who
        assert rulings(one, coupon) == said
    one.proposer = "operator:ann"
    assert rulings(one, coupon.model_copy(update={"amount": Money.of("100 CNY")})) == []


def test_money_for_somebody_who_is_not_the_buyer_waits_and_nothing_is_offered(world, desk):
    check = IdentityChecked(key="id", at=world.MONDAY, identity=Identity.MISMATCH)
    one = desk().feed(check, trouble(world, Issue.LATE_DELIVERY), world.order())
    assert one.case.offered is None
    coupon = GiveCredit(credit="coupon", external="C1", amount=Money.of("1 CNY"))
    assert rulings(one, coupon) == [(Ruling.HOLD, "compensation.identity")]


def test_new_goods_of_unknown_cost_wait_for_a_person(world, desk):
    one = desk().feed(trouble(world, Issue.HUMAN_AGENT), world.order())
    assert rulings(one, Reship(external="C1", lines=(("X", 1),))) == [(Ruling.HOLD, "compensation.limit")]


@pytest.mark.row("S097")
def test_a_bundle_gives_all_parts_and_what_fails_is_made_good_and_told(world, desk):
    one = desk().feed(trouble(world, Issue.WRONG_ITEM), world.order()).feed(yes(world, 1))
    assert one.case.offered.choices[0].parts == (RemedyKind.COUPON, RemedyKind.PRIORITY)
    parts = ["reship:C1:all", "credit:coupon:C1:1-all", "buyer:tag:priority"]
    assert [one.ledger[key] for key in parts] == ["due"] * 3
    one.settle("reship:C1:all").settle("buyer:tag:priority").settle("credit:coupon:C1:1-all", "dead")
    assert one.sent("credit:store_credit:C1:1-all").amount == Money.of("20 CNY")
    (told,) = [one.sent(key) for key in one.proposed("ticket:comment:parts:")]
    assert "credit:coupon:C1:1-all" in told.text and "reship:C1:all" in told.text


def test_a_wrong_item_brings_a_coupon_for_any_order_and_priority_for_the_next(world, desk):
    one = desk().feed(trouble(world, Issue.WRONG_ITEM), world.order()).feed(yes(world, 2))
    coupon = one.sent("credit:coupon:C1:2-all")
    assert (coupon.amount, coupon.floor, coupon.buyer) == (Money.of("20 CNY"), None, "B1")
    assert (one.sent("buyer:tag:priority").buyer, one.sent("buyer:tag:priority").tag) == ("B1", "priority")
    one.settle("credit:coupon:C1:2-all", ref="SORRY-1")
    assert "SORRY-1" in one.sent("code:credit:coupon:C1:2-all").text


def lost(status=ClaimStatus.IN_REVIEW, at=1):
    return lambda world: ClaimSeen(
        key=f"claim:{status}",
        at=world.MONDAY + at * HOUR,
        claim="K1",
        waybill="SF1",
        kind=ClaimKind.LOSS,
        status=status,
    )


@pytest.mark.row("S109")
def test_what_is_given_while_liability_is_open_is_deducted_from_the_settlement(world, desk):
    one = desk().feed(trouble(world, Issue.TRACKING_QUERY, kind=CaseKind.REFUND), world.order())
    one.case = one.case.model_copy(update={"issue": Issue.LOST_PARCEL, "offered": None})
    one.feed(lost()(world))
    assert one.case.offered.interim and one.case.offered.automatic == "compensation.liability_open"
    interim = one.sent("credit:coupon:C1:interim")
    assert interim.amount == Money.of("20 CNY")
    one.settle("credit:coupon:C1:interim", ref="COUPON")
    whole = PayRefund(order="O1", amount=Money.of("230 CNY"))
    assert (Ruling.DENY, "compensation.operation") not in rulings(one, whole), "a coupon meanwhile settles nothing"
    one.advance(hours=5).feed(lost(ClaimStatus.APPROVED, 5)(world))
    assert offered(one)[0] == (RemedyKind.REFUND_ONLY, Money.of("230 CNY")), "250 less 20"
    one.feed(yes(world, 1, at=6 * HOUR))
    assert one.sent("refund:O1:all").amount == Money.of("230 CNY")


@pytest.mark.row("S109")
def test_another_policys_refund_is_reduced_by_what_was_given_before_and_an_operators_is_not_touched(world, desk):
    given = Given(action="credit:coupon:C1:interim", type="credit.give", amount=Money.of("20 CNY"), at=world.MONDAY)
    one = desk(given=(given,)).feed(world.requested(), world.order())
    one.ledger[given.action] = "done"
    refund = PayRefund(request="R1", amount=Money.of("500 CNY"))
    policy = one.policies[0]
    one.proposer = "returns@1"
    less = policy.amend(refund, one.case, one.view())
    assert less.amount == Money.of("230 CNY")
    assert policy.amend(less, one.case, one.view()) is None, "once is enough"
    one.proposer = "operator:ann"
    assert policy.amend(refund, one.case, one.view()) is None


# -- operations as configuration ----------------------------------------------------------------------------------


def agreed_on(desk, world, operation, kind, *more, steps=None, request=True, **facts):
    """A case in which an operation was agreed; ``steps`` make it one of the shop's own."""
    own = {operation: {"remedy": kind.value, "steps": steps}} if steps else {}
    rule = {"id": "test", "issues": ["other"], "kinds": list(CaseKind), "offers": [{"operation": operation, **facts}]}
    one = desk(*more, tuned={"rules": [rule], "operations": own})
    asked = world.requested(CaseKind.REFUND, issue=Issue.OTHER, **({} if request else {"refs": ()}))
    one.feed(asked, world.order())
    accepted = RemedyAccepted(
        key="ok", at=world.MONDAY + HOUR, remedy=kind, amount=one.case.offered.amount if one.case.offered else None
    )
    return one.feed(accepted)


def costs(one):
    return [key for key in one.ledger if key.startswith(("return:", "refund:", "credit:", "reship:", "buyer:"))]


@pytest.mark.row("P51")
def test_refund_without_return(world, desk):
    one = agreed_on(desk, world, "refund_without_return", RemedyKind.REFUND_ONLY, share="1")
    assert costs(one) == ["return:decide:R1", "refund:R1:all"]
    assert one.sent("refund:R1:all").amount == Money.of("250 CNY")
    assert one.sent("refund:R1:all").lines == (("1", 1),)


@pytest.mark.parametrize(("operation", "share"), [("coupon", "0.1"), ("partial_refund", "0.2")])
def test_what_was_agreed_about_something_else_neither_denies_nor_cuts_a_later_return(world, desk, operation, share):
    remedy = RemedyKind.COUPON if operation == "coupon" else RemedyKind.PARTIAL_REFUND
    one = agreed_on(desk, world, operation, remedy, request=False, share=share)
    one.feed(world.requested(CaseKind.RETURN, key="later", at=world.MONDAY + 9 * HOUR))
    whole = PayRefund(request="R1", amount=Money.of("250 CNY"))
    assert (Ruling.HOLD, "compensation.operation") in rulings(one, whole)
    assert all(policy.amend(whole, one.case, one.view()) is None for policy in one.policies)


@pytest.mark.row("P51")
def test_return_without_refund(world, desk):
    one = agreed_on(desk, world, "return_without_refund", RemedyKind.RETURN_ONLY)
    one.feed(goods_back(world))
    assert costs(one) == ["return:decide:R1"]
    assert rulings(one, PayRefund(request="R1", amount=Money.of("1 CNY"))) == [(Ruling.DENY, "compensation.operation")]
    one.proposer = "operator:ann"
    assert rulings(one, PayRefund(request="R1", amount=Money.of("1 CNY"))) == [(Ruling.HOLD, "compensation.operation")]
    one.settle("return:decide:R1")
    assert one.case.status is Status.CLOSED


@pytest.mark.row("P51")
def test_return_and_refund_waits_for_the_goods(world, desk):
    one = agreed_on(desk, world, "return_and_refund", RemedyKind.RETURN_REFUND, request=False)
    assert costs(one) == []
    one.feed(goods_back(world))
    assert one.sent("refund:O1:all").amount == Money.of("250 CNY")


@pytest.mark.row("P51")
def test_wrong_item(world, desk):
    one = agreed_on(desk, world, "wrong_item_reship", RemedyKind.RESHIP, request=False)
    assert costs(one) == ["reship:C1:all", "credit:coupon:C1:1-all", "buyer:tag:priority"]


@pytest.mark.row("P51")
def test_exchange_for_another_item(world, desk):
    rule = {"id": "t", "issues": ["other"], "kinds": ["exchange"], "offers": [{"operation": "exchange_for_another"}]}
    one = desk(tuned={"rules": [rule]})
    line = Line(id="1", order_line="L1", sku="KETTLE-BLUE")
    one.feed(world.requested(CaseKind.EXCHANGE, issue=Issue.OTHER, lines=(line,)), world.order())
    one.feed(RemedyAccepted(key="ok", at=world.MONDAY + HOUR, remedy=RemedyKind.EXCHANGE))
    assert costs(one) == ["return:decide:R1"]
    one.feed(goods_back(world))
    assert one.sent("reship:C1:all").lines == (("KETTLE-BLUE", 1),)
    assert one.ledger["reship:C1:all"] == "held", "nobody has said what the other article costs"


@pytest.mark.row("P51")
def test_partial(world, desk):
    one = agreed_on(desk, world, "partial_refund", RemedyKind.PARTIAL_REFUND, share="0.1", request=False)
    assert costs(one) == ["refund:O1:all"]
    assert (one.sent("refund:O1:all").amount, one.sent("refund:O1:all").lines) == (Money.of("25 CNY"), ())


@pytest.mark.row("P51")
def test_swap_at_the_door(world, desk):
    one = agreed_on(desk, world, "swap_at_the_door", RemedyKind.EXCHANGE)
    assert costs(one) == ["return:decide:R1", "reship:C1:all"]
    assert "door" in one.sent("reship:C1:all").note
    assert one.ledger["reship:C1:all"] == "due", "the old goods come back: it costs nothing"


@pytest.mark.row("P51")
def test_an_operation_of_the_shops_own_is_a_few_lines(world, desk):
    steps = [{"do": "refund"}, {"do": "reship", "sku": "MUG", "amount": "9 CNY", "by": "SF"}, {"do": "close"}]
    one = agreed_on(desk, world, "gift", RemedyKind.PARTIAL_REFUND, steps=steps, share="0.1", request=False)
    assert costs(one) == ["refund:O1:all", "reship:C1:all"]
    assert (one.sent("reship:C1:all").lines, one.sent("reship:C1:all").carrier) == ((("MUG", 1),), "SF")
    with pytest.raises(ValidationError, match="do"):
        world.policy(Compensation, operations={"x": {"remedy": "coupon", "steps": [{"do": "dance"}]}})


def test_missing_parts_are_sent_as_far_as_they_are_named_and_else_a_colleague_is_told(world, desk):
    known = agreed_on(desk, world, "reship_missing", RemedyKind.RESHIP, request=False)
    assert known.sent("reship:C1:all").lines == (("KETTLE", 1),)
    rule = {"id": "test", "issues": ["other"], "offers": [{"operation": "coupon", "amount": "5 CNY"}]}
    stuck = desk(tuned={"rules": [rule]}).feed(trouble(world, Issue.OTHER), world.order())
    stuck.case = stuck.case.model_copy(update={"order": None, "missing": ("order",)})
    stuck.feed(yes(world, 1))
    assert stuck.ledger["credit:coupon:C1:all"] == "due"


def test_an_offer_is_made_once_and_by_nobody_twice(world, desk):
    one = desk(world.policy(Returns)).feed(world.requested(), world.order())
    assert one.case.offered.automatic == "returns.window"
    two = desk().feed(trouble(world, Issue.LATE_DELIVERY), world.order())
    before = list(two.ledger)
    two.feed(world.says("在吗", id="x", at=world.MONDAY + HOUR), world.order(at=world.MONDAY + HOUR))
    assert [key for key in two.ledger if key.startswith("offer:")] == [
        key for key in before if key.startswith("offer:")
    ]


def test_an_approval_that_waited_for_the_agreement_is_looked_at_again(world, desk):
    one = desk(world.policy(Returns), tuned={"tell_buyer": True})
    one.feed(world.requested(CaseKind.REFUND, issue=Issue.LATE_DELIVERY), world.order())
    assert one.ledger["return:decide:R1"] == "held"
    refund = next(n for n, (kind, _) in enumerate(offered(one), 1) if kind is RemedyKind.PARTIAL_REFUND)
    one.feed(yes(world, refund))
    assert one.ledger["refund:R1:all"] == "due"


# -- never more than there is -------------------------------------------------------------------------------------

currencies = st.sampled_from(["CNY", "USD", "JPY", "THB"])
amounts = st.decimals(min_value=0, max_value=20_000, places=2)


@st.composite
def random_cases(draw):
    from datetime import UTC, datetime

    at, currency = datetime(2026, 1, 5, 9, tzinfo=UTC), draw(currencies)
    total = draw(amounts)
    lines = tuple(
        OrderLine(id=f"L{n}", sku=f"S{n}", quantity=2, price=Money(amount=draw(amounts), currency=currency))
        for n in range(draw(st.integers(0, 3)))
    )
    refunded = draw(st.one_of(st.none(), st.decimals(min_value=0, max_value=total, places=2)))
    order = Order(
        id="O1",
        total=Money(amount=total, currency=currency),
        lines=lines,
        refunded=Money(amount=refunded, currency=currency) if refunded is not None else None,
        delivered_at=at - timedelta(hours=draw(st.integers(0, 400))),
    )
    given = tuple(
        Given(
            action=f"credit:coupon:C1:{draw(st.sampled_from(['interim', 'x']))}{n}",
            type="credit.give",
            amount=Money(amount=draw(st.decimals(min_value=0, max_value=600, places=2)), currency=draw(currencies)),
            at=at,
        )
        for n in range(draw(st.integers(0, 2)))
    )
    wanted = tuple(Line(id=str(n), order_line=one.id, quantity=draw(st.integers(1, 3))) for n, one in enumerate(lines))
    return Case(
        id="C1",
        shop="acme",
        opened_at=at,
        updated_at=at,
        kind=draw(st.sampled_from([CaseKind.COMPLAINT, CaseKind.REFUND, CaseKind.QUESTION])),
        issue=draw(st.sampled_from(list(Issue))),
        sub=draw(st.sampled_from([None, "cosmetic"])),
        order=order,
        given=given,
        request={"lines": wanted, "amount": draw(st.one_of(st.none(), st.just(order.total)))} if wanted else None,
    )


@pytest.mark.row("S095")
@settings(max_examples=300, deadline=None)
@drawn(case=random_cases(), limit=st.integers(1, 900), floor=st.sampled_from(["1", "0.5", "0.1"]))
def test_no_offer_goes_beyond_the_limit_the_floor_or_what_is_left(world, case, limit, floor):
    policy = world.policy(Compensation, limit=f"{limit} CNY", floor=floor)
    policy.table = TABLE
    view = View(now=case.opened_at, shop=world.shop(), render=world.CATALOGUE.render)
    for proposal in policy.decide(case, world.says(), view):
        if getattr(proposal, "type", "") != "remedy.offered":
            continue
        for choice in proposal.choices:
            within(policy, choice, case, view, limit, Decimal(floor))


def within(policy, choice, case, view, limit, floor):
    """All that the choice would cost at once, in yuan and in the order's currency; free goods cost nothing."""
    operation = policy.known[choice.rule.partition("/")[2]]
    course = Course("x", operation, choice, case, view, policy.purse(view))
    gates = "await" in [one.do for one in operation.steps]
    cost = [] if gates else [one.worth for one in course.actions() if one.worth and one.worth.amount]
    if not cost:
        return
    total, left = case.order.total, case.order.total.amount - (case.order.refunded or case.order.total).amount
    left = left if case.order.refunded else total.amount
    on = view.now.date()
    spent = [one.amount for one in case.given]
    assert TABLE.total([*spent, *cost], "CNY", on).amount <= limit
    assert TABLE.total([*spent, *cost], total.currency, on).amount <= total.amount * floor
    assert choice.amount is None or choice.amount.amount <= left


def test_a_refund_seen_from_outside_is_not_offered_again(world, desk):
    refund = RefundSeen(key="r", at=world.MONDAY, refund="X1", amount=Money.of("700 CNY"))
    one = desk().feed(refund, trouble(world, Issue.LATE_DELIVERY), world.order())
    assert [kind for kind, _ in offered(one)] == [RemedyKind.PRIORITY]


def test_what_is_on_its_way_is_not_left_to_be_offered(world, desk):
    refunded = {"total": Money.of("100 CNY"), "refunded": Money.of("50 CNY")}
    one = desk().feed(world.order(**refunded))
    refund = PayRefund(order="O1", amount=Money.of("30 CNY"), part="first")
    one.ledger[refund.key], one.actions[refund.key] = "sending", refund
    assert left(one.case, one.view()) == Money.of("20 CNY")
    one.ledger[refund.key] = "done"
    assert left(one.case, one.view()) == Money.of("50 CNY")


def test_where_no_rate_is_known_nothing_is_offered_that_costs_money(world, desk):
    taiwan = {"total": Money.of("900 TWD"), "lines": (OrderLine(id="L1", sku="KETTLE", price=Money.of("900 TWD")),)}
    one = desk().feed(trouble(world, Issue.QUALITY_DEFECT), world.order(**taiwan))
    assert offered(one) == [(RemedyKind.RETURN_REFUND, None), (RemedyKind.EXCHANGE, None)]


OWN = {
    "operations": {"comfort": {"remedy": "partial_refund", "steps": [{"do": "refund"}]}},
    "rules": [
        {
            "id": "quality",
            "issues": ["quality_defect"],
            "kinds": ["refund"],
            "offers": [{"operation": "comfort", "share": "0.3"}],
        }
    ],
}


@pytest.mark.parametrize("news", ["declined", "late"])
def test_what_was_agreed_is_paid_once_though_its_request_goes_or_comes_afterwards(world, desk, news):
    one = desk(tuned=OWN)
    refs = (world.RETURN,) if news == "declined" else ()
    one.feed(world.requested(CaseKind.REFUND, issue=Issue.QUALITY_DEFECT, refs=refs, lines=()), world.order())
    one.feed(yes(world))
    (key,) = one.proposed("refund:")
    one.now += 2 * HOUR
    one.settle(key)
    if news == "declined":
        changed = RequestChanged(key="d", at=world.MONDAY + 2 * HOUR, status=RequestStatus.DECLINED, refs=refs)
    else:
        changed = world.requested(CaseKind.REFUND, key="late", at=world.MONDAY + 2 * HOUR, lines=())
    one.feed(changed, world.says("thanks", id="m9", at=world.MONDAY + 3 * HOUR))
    assert one.proposed("refund:") == [key]


def test_goods_of_an_absorbed_case_are_not_sent_again(world, desk):
    asked = world.requested(
        CaseKind.COMPLAINT, refs=(), lines=(Line(id="1", order_line="L1", sku="SHOVEL"),), note="发错了"
    )
    one = desk().feed(asked, world.order()).feed(yes(world, 1))
    assert "reship:C1:all" in one.ledger
    one.now += 2 * HOUR
    theirs = [key for key in one.ledger if ":C1:" in key]  # what comes along from the younger case
    for name in theirs:
        one.settle(name)
    for name in theirs:
        moved = one.actions.pop(name).model_copy(update={"external": "C0"})
        one.actions[moved.key] = moved
        one.ledger[moved.key] = one.ledger.pop(name)
    given = tuple(each.model_copy(update={"action": each.action.replace(":C1:", ":C0:")}) for each in one.case.given)
    one.case = one.case.model_copy(update={"given": given})
    one.feed(world.says("thanks", id="m9", at=world.MONDAY + 3 * HOUR))
    assert one.proposed("reship:") == ["reship:C0:all"]


def test_a_case_that_an_offer_settled_stays_open_when_the_buyer_comes_back(world, desk):
    own = OWN | {"operations": {"comfort": {"remedy": "partial_refund", "steps": [{"do": "refund"}, {"do": "close"}]}}}
    one = desk(tuned=own)
    one.feed(world.requested(CaseKind.REFUND, issue=Issue.QUALITY_DEFECT, lines=()), world.order(), yes(world))
    (key,) = one.proposed("refund:")
    one.settle(key)
    assert not one.case.open
    one.feed(Reopened(key="again", at=one.now + 2 * HOUR), world.says("broken", id="m9", at=world.MONDAY + 3 * HOUR))
    assert one.case.open
