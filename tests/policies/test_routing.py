"""Routing by rules, and alerts to colleagues."""

import pytest
from rmabridge_routing import Routing

from rmabridge.model import CaseKind, Classified, Closed, Form, Issue, Money, Reopened, Routed

RULES = [
    {"name": "crisis", "when": {"level": 3}, "then": {"group": "crisis", "priority": "urgent", "channels": ["legal"]}},
    {"name": "dear", "when": {"kind": ["return", "refund"], "amount_over": "300 CNY"}, "then": {"group": "seniors"}},
    {"name": "chinese", "when": {"locale": "zh"}, "then": {"group": "china", "tags": ["zh"]}},
]


@pytest.fixture
def desk(world):
    def make(rules=RULES, staff=(), **settings):
        the_shop = world.shop(staff=staff)
        return world.Desk(world.policy(Routing, rules=rules, **settings), the_shop=the_shop)

    return make


def test_the_first_rule_that_matches_wins(world, desk):
    one = desk().feed(world.requested(amount=Money.of("500 CNY")), world.order())
    assert (one.case.route.rule, one.case.route.group) == ("dear", "seniors")
    one.feed(Classified(key="cl", at=one.now, level=3))
    assert (one.case.route.rule, one.case.route.priority) == ("crisis", "urgent")


def test_a_route_is_told_once_per_change(world, desk):
    one = desk().feed(world.requested(amount=Money.of("300 CNY")), world.order(), world.says(), world.says(id="m2"))
    assert [event.rule for event in one.derived if isinstance(event, Routed)] == ["chinese"]
    for level in (3, 1):
        one.advance(minutes=1).feed(Classified(key=f"c{level}", at=one.now, level=level))
    assert [event.rule for event in one.derived if isinstance(event, Routed)] == ["chinese", "crisis", "chinese"]
    assert len({event.key for event in one.derived}) == 3


def test_a_case_that_no_rule_fits_stays_where_it_is(world, desk):
    one = desk(rules=RULES[:1]).feed(world.requested(), world.order())
    assert one.case.route.rule is None
    assert one.derived == []


def test_every_staff_channel_is_alerted_once_a_round_by_an_action_of_its_own(world, desk):
    one = desk(staff=("wecom", "pager"), forms={"pager": "sms"}).feed(world.requested(), world.order(), world.says())
    assert one.proposed("staff:") == ["staff:case:wecom:1", "staff:case:pager:1"]
    first, second = (one.sent(key) for key in one.proposed("staff:"))
    assert (first.account, first.form, first.audience, first.to) == ("wecom", Form.CHAT, "staff", "staff")
    assert (second.account, second.form) == ("pager", Form.SMS)
    assert "退货" in first.text
    assert first.stream != second.stream
    one.feed(Classified(key="c3", at=one.now, level=3))
    assert one.proposed("staff:")[-1] == "staff:case:legal:1"
    one.feed(Closed(key="x", at=one.now, result="r"), Reopened(key="y", at=one.now.replace(hour=12)))
    assert one.proposed("staff:case:wecom") == ["staff:case:wecom:1", "staff:case:wecom:2"]


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({}, True),
        ({"kind": "return"}, True),
        ({"kind": ["exchange", "repair"]}, False),
        ({"issue": "quality_defect"}, True),
        ({"issue": "wrong_item"}, True),
        ({"marketplace": "taobao", "source": "chat"}, False),
        ({"tag": "vip"}, True),
        ({"locale": "zh-CN"}, True),
        ({"locale": "z"}, False),
        ({"status": "requested", "shop": ["acme"]}, True),
        ({"amount_over": "699.99 CNY"}, True),
        ({"amount_over": "700 CNY"}, False),
        ({"amount_over": "1 USD"}, False),
    ],
)
def test_a_rule_asks_for_all_it_names(world, desk, when, fits):
    one = desk(rules=[{"when": when, "then": {"group": "g"}}])
    one.feed(
        world.requested(CaseKind.RETURN, issue=Issue.QUALITY_DEFECT),
        Classified(key="c", at=one.now, also=(Issue.WRONG_ITEM,)),
        world.order(tags=("vip",)),
    )
    assert (one.case.route.group == "g") is fits
    assert one.case.route.rule == ("rule 1" if fits else None)


@pytest.mark.parametrize(
    ("earlier", "later", "shadowed"),
    [
        ({}, {"level": 3}, True),
        ({"level": 3}, {}, False),
        ({"level": [2, 3]}, {"level": 3, "kind": "return"}, True),
        ({"level": 3}, {"level": [2, 3]}, False),
        ({"locale": "zh"}, {"locale": "zh-TW"}, True),
        ({"locale": "zh-TW"}, {"locale": "zh"}, False),
        ({"amount_over": "100 CNY"}, {"amount_over": "500 CNY"}, True),
        ({"amount_over": "500 CNY"}, {"amount_over": "100 CNY"}, False),
        ({"amount_over": "100 CNY"}, {"amount_over": "500 USD"}, False),
        ({"amount_over": "100 CNY"}, {"level": 3}, False),
    ],
)
def test_a_rule_behind_a_wider_one_is_reported(world, earlier, later, shadowed):
    made = world.policy(Routing, rules=[{"name": "a", "when": earlier}, {"name": "b", "when": later}])
    assert made.problems() == (["b never matches: a comes first"] if shadowed else [])
