"""Plays: what moves a case on, who handles it, what agents are shown, and what keeps it open."""

from datetime import timedelta
from typing import ClassVar

import pytest
from rmabridge_compensation.rules import shipped as compensation
from rmabridge_plays import Plays
from rmabridge_plays.reading import flows

from rmabridge.model import (
    Author,
    Case,
    CaseKind,
    Classified,
    Closed,
    Form,
    Incident,
    IncidentOpened,
    Issue,
    OpenTicket,
    PlayMoved,
    RemedyKind,
    RemedyOffered,
    SendMessage,
    TemplateRef,
    TicketSeen,
    UpdateTicket,
)
from rmabridge.testing.contract import PolicyContract

MINUTE = timedelta(minutes=1)
BOTH = "非常抱歉，我们给您全额退款，并且已加强质检，避免再次出现。"


class TestPlaysContract(PolicyContract):
    """The contract that all policies keep."""

    plugin = Plays
    settings: ClassVar[dict] = {}


@pytest.fixture
def desk(world):
    """A case of a shop with a help desk and one staff channel."""

    class Desk(world.Desk):
        def turn(self, *events):
            """A minute passes, then the events come."""
            return self.advance(minutes=1).feed(*events)

    def make(case=None, shop=None, **settings):
        the_shop = world.shop(**{"staff": ("wecom",)} | (shop or {}))
        return Desk(world.policy(Plays, **settings), the_shop=the_shop, **(case or {}))

    return make


def about(issue, key="c1", at=None, **facts):
    """A word on what the case is about."""
    return Classified(key=key, at=at, issue=issue, kind=CaseKind.COMPLAINT, **facts)


def agent(world, one, text, id="a1"):  # noqa: A002
    """An agent answers in public."""
    return world.says(text, id, one.now, Author.AGENT)


def steps(one):
    """The steps that were reached."""
    return {each.name for each in one.case.play.steps}


@pytest.mark.parametrize(
    ("issue", "play"),
    [
        (Issue.QUALITY_DEFECT, "product"),
        (Issue.LATE_DELIVERY, "logistics"),
        (Issue.SERVICE_ATTITUDE, "service"),
        (Issue.REFUND_STATUS, "payment"),
        (Issue.CANCEL_ORDER, "order"),
        (Issue.MEDIA_MASS_RISK, "crisis"),
    ],
)
def test_each_problem_type_has_its_play(desk, world, issue, play):
    one = desk().feed(about(issue, at=world.MONDAY))
    assert one.case.play.id == play


@pytest.mark.row("S021")
def test_each_sub_cause_has_its_own_evidence_and_remedies_that_exist():
    known = {(sub.issue, sub.sub): sub for flow in flows(None) for sub in flow.subs}
    operations = compensation("operations.toml")["operations"]
    causes = [(Issue.QUALITY_DEFECT, None), (Issue.QUALITY_DEFECT, "expectation"), (Issue.NOT_AS_DESCRIBED, None)]
    lists = [(known[one].evidence, known[one].remedies) for one in causes]
    assert all(evidence and remedies for evidence, remedies in lists)
    assert len(set(lists)) == len(lists)
    assert {one for sub in known.values() for one in sub.remedies} <= set(operations)


def test_a_case_passes_the_standard_steps_in_order_with_their_times(desk, world):
    one = desk().feed(world.says("水壶漏水"), about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    assert (one.case.play.state, one.case.play.next) == ("opened", ("responded",))
    one.turn(agent(world, one, "您好，抱歉给您添麻烦了"))
    assert one.case.play.state == "apologised"
    one.turn(Classified(key="why", at=one.now, cause="production_defect", liable="shop"))
    one.turn(RemedyOffered(key="o", at=one.now, remedy=RemedyKind.REFUND_ONLY, amount=None))
    assert (one.case.play.state, one.case.play.missing) == ("proposed", ("told",))
    times = {each.name: each.at for each in one.case.play.steps}
    order = ["understood", "responded", "investigated", "proposed"]
    assert [times[name] for name in order] == sorted(times[name] for name in order)


def test_triages_family_is_no_cause(desk, world):
    one = desk().feed(about(Issue.QUALITY_DEFECT, at=world.MONDAY, cause="product"))
    assert "investigated" not in steps(one)
    assert "investigated" in steps(one.turn(Classified(key="why", at=one.now, cause="transit_damage")))


def test_a_helpdesk_that_closes_too_early_is_told_what_is_missing_and_the_case_stays_open(desk, world):
    one = desk().feed(world.says("水壶漏水"), about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    one.turn(Closed(key="x", at=world.MONDAY + MINUTE, result="solved", by="agent"))
    assert one.case.open
    (note,) = [one.sent(key) for key in one.proposed("ticket:comment:unclosed")]
    assert "原因" in note.text
    assert "解决方案" in note.text
    assert [one.sent(key).status for key in one.proposed("ticket:update:unclosed")] == ["open"]
    one.turn(Classified(key="why", at=one.now, cause="production_defect"))
    one.turn(RemedyOffered(key="o", at=one.now, remedy=RemedyKind.REFUND_ONLY, amount=None))
    assert one.case.open
    one.turn(agent(world, one, "已为您安排退款"))
    one.advance(minutes=1)
    assert one.case.play.missing == ("told",), "words before a channel carried them are no notice"


def test_a_return_closes_without_the_complaints_steps(desk, world):
    one = desk().feed(world.requested(), Closed(key="x", at=world.MONDAY + MINUTE, result="refunded"))
    assert not one.case.open


@pytest.mark.row("S027")
@pytest.mark.parametrize(
    "text", ["这是假货吧", "你們賣假貨", "收到的是高仿冒牌", "疑似仿冒品", "this is a FAKE", "looks counterfeit to me"]
)
def test_fake_goods_in_any_script_push_the_qc_report_with_compensation(desk, world, text):
    one = desk().feed(world.says(text))
    (key,) = one.proposed("ticket:comment:solution:counterfeit")
    note = one.sent(key)
    assert not note.public
    assert "质检报告" in note.text
    assert "补偿方案" in note.text
    one.turn(world.says("假货！", "m2", one.now))
    assert one.proposed("ticket:comment:solution:counterfeit") == [key]


def test_a_refund_question_pushes_its_own_solution_and_no_other(desk, world):
    one = desk().feed(world.says("我的退款呢"))
    assert one.proposed("ticket:comment:solution:") == ["ticket:comment:solution:refund_status:1"]


def test_a_shops_own_solution_goes_over_the_shipped_one(desk, world):
    own = ({"id": "counterfeit", "words": ["原单"]},)
    assert desk(solutions=own).feed(world.says("假货")).proposed("ticket:comment:solution:") == []
    assert desk(solutions=own).feed(world.says("原单吗")).proposed("ticket:comment:solution:counterfeit")
    assert desk(suggest=False).feed(world.says("假货")).proposed("ticket:comment:solution:") == []


def greeting(**facts):
    """A first answer in the plain tone."""
    said = TemplateRef(id="first_reply.complaint", version=1, locale="zh-CN")
    given = {
        "purpose": "reply:first:1",
        "form": Form.MAIL,
        "to": "buyer@example.com",
        "text": "plain",
        "template": said,
    }
    return SendMessage(**(given | facts))


def test_the_angry_get_the_calming_tone_and_the_senior_queue(desk, world):
    case = {"buyer": world.BUYER, "issue": Issue.QUALITY_DEFECT, "kind": CaseKind.COMPLAINT}
    one = desk(case={**case, "anger": 2})
    policy, view = one.policies[0], one.view()
    made = policy.amend(greeting(), one.case, view)
    assert made.template.id == "calming.quality"
    assert made.text != "plain"
    assert policy.amend(greeting(purpose="progress:approved:1"), one.case, view) is None
    ticket = policy.amend(OpenTicket(external="C1", subject="s", text="t", group="support"), one.case, view)
    assert (ticket.group, ticket.tags, ticket.priority) == ("senior", ("queue-senior",), "urgent")
    calm = desk(case={**case, "anger": 1})
    assert calm.policies[0].amend(greeting(), calm.case, calm.view()) is None


def test_a_case_whose_place_changes_takes_its_ticket_along(desk, world):
    one = desk(case={"ticket": {"id": "7", "assignee": None}}).feed(world.says("水壶漏水"))
    one.turn(about(Issue.QUALITY_DEFECT, at=one.now, anger=2, level=2))
    update = one.sent(one.proposed("ticket:update:rank:")[-1])
    assert (update.priority, update.group, update.add_tags) == ("urgent", "senior", ("queue-senior",))


def test_a_priority_of_the_routing_rules_stays(desk, world):
    route = {"rule": "r", "group": "support", "priority": "low"}
    one = desk(case={"route": route, "anger": 2})
    made = one.policies[0].amend(OpenTicket(external="C1", subject="s", text="t"), one.case, one.view())
    assert made.priority == "low"


@pytest.mark.parametrize("assignee", [None, "ana"])
def test_a_service_complaint_records_the_agent_and_is_taken_from_them(desk, world, assignee):
    one = desk().feed(world.says("客服态度太差"))
    one.turn(TicketSeen(key="t1", at=one.now, refs=(), assignee="ana"))
    one.turn(about(Issue.SERVICE_ATTITUDE, at=one.now))
    assert one.case.agent == "ana"
    first = [one.sent(key) for key in one.proposed("ticket:update:not-theirs")]
    assert [(each.unassign, each.group) for each in first] == [(True, "supervisor")]
    one.turn(TicketSeen(key="t2", at=one.now, assignee="bob"))
    one.turn(TicketSeen(key="t3", at=one.now, assignee="ana"))
    assert len(one.proposed("ticket:update:not-theirs")) == 2, "again when it goes back to them"
    assert "ana" in one.sent("ticket:comment:concerned:1").text


def test_the_agent_of_an_earlier_case_is_the_one_concerned(desk, world):
    one = desk()
    earlier = Case(id="C0", shop="acme", opened_at=one.now, updated_at=one.now, talk={"agent": "ana"})
    one.facts = {"earlier": lambda: [earlier]}
    assert one.feed(about(Issue.SERVICE_ATTITUDE, at=one.now)).case.agent == "ana"


def serious(desk, world, **settings):
    """A level 2 complaint whose cause is found."""
    one = desk(**settings).feed(world.says("用了一次就坏了"), about(Issue.QUALITY_DEFECT, at=world.MONDAY, level=2))
    return one.turn(Classified(key="why", at=one.now, cause="production_defect"))


@pytest.mark.parametrize(
    ("text", "missing"),
    [("抱歉，我们给您全额退款", "整改"), ("抱歉，我们会加强质检，避免再次发生", "补偿"), (BOTH, None)],
)
def test_a_level_two_reply_counts_only_with_compensation_and_rectification(desk, world, text, missing):
    one = serious(desk, world)
    assert one.policies[0].mover.rank(one.case, one.view()).queue == "supervisor"
    one.turn(agent(world, one, text))
    assert ("promised" in steps(one)) == (missing is None)
    notes = [one.sent(key).text for key in one.proposed("ticket:comment:promise:")]
    assert [missing in note for note in notes] == ([True] if missing else [])
    one.turn(Closed(key="x", at=one.now, result="solved", by="agent"))
    assert one.case.open == (missing is not None)


def test_a_traditional_or_english_reply_counts_as_well(desk, world):
    for text in (
        "抱歉，我們會退款補償，並加強品管，不再發生",
        "Sorry. We refund you in full, and have changed our checks to prevent this.",
    ):
        one = serious(desk, world)
        assert "promised" in steps(one.turn(agent(world, one, text)))


def test_level_one_needs_no_promise_and_the_level_is_a_setting(desk, world):
    one = desk().feed(about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    assert "promised" not in one.case.play.needs
    assert "promised" not in serious(desk, world, promise_from=4).case.play.needs


def incident(one):
    """What was opened or joined."""
    return list({each.key: each.incident for each in one.derived if isinstance(each, IncidentOpened)}.values())


@pytest.mark.parametrize(("stored", "opens"), [(1, False), (2, True)])
def test_the_third_similar_case_opens_an_incident(desk, world, stored, opens):
    rules = ({"id": "group_complaint", "similar": 3, "roles": ["legal"]},)
    one = desk(incidents=rules)
    one.facts = {"case_rate": {"quality_defect": stored}, "incidents": lambda topic: []}
    one.feed(about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    assert [each.topic for each in incident(one)] == (["quality_defect"] if opens else [])


def test_media_words_open_an_incident_that_pages_legal_and_pr_with_two_hours(desk, world):
    pages = {"legal": {"account": "law", "to": "legal-group"}, "pr": {"account": "press"}}
    one = desk(pages=pages).feed(world.says("不处理我就找記者，網上曝光"))
    (made,) = incident(one)
    assert made.due_at - made.opened_at == timedelta(hours=2)
    assert one.case.level == 3
    told = {one.sent(key).account: one.sent(key) for key in one.proposed("staff:incident:opened:")}
    assert {name: each.to for name, each in told.items()} == {"law": "legal-group", "press": "staff"}
    assert len({each.once for each in told.values()}) == 2
    assert one.runs(f"incident:{made.id}") == made.due_at
    one.advance(hours=2)
    assert len(one.proposed("staff:incident:late:")) == 2
    one.turn(world.says("记者", "m2", one.now))
    assert len(incident(one)) == 1


@pytest.mark.parametrize(("hours", "joins"), [(23, True), (25, False)])
def test_a_later_case_joins_the_incident_inside_the_window(desk, world, hours, joins):
    one = desk()
    began = one.now - timedelta(hours=hours)
    known = Incident(id="I1", topic="media_mass_risk", rule="media", case="C0", opened_at=began, due_at=began)
    one.facts = {"incidents": lambda topic: [known] if topic == "media_mass_risk" else []}
    one.feed(world.says("我要找记者"))
    assert (incident(one)[0].id == "I1") == joins
    assert bool(one.proposed("staff:incident:opened")) == (not joins)
    assert bool(one.proposed("ticket:comment:incident:I1")) == joins


def test_similar_cases_are_counted_inside_the_window_that_is_set(world):
    (rate, *_) = world.policy(Plays, window="PT6H").facts
    assert (rate.name, rate.hours) == ("case_rate", 6)


def test_without_pages_the_first_staff_channel_is_told(desk, world):
    one = desk().feed(world.says("明天上热搜见"))
    assert {one.sent(key).account for key in one.proposed("staff:incident:opened")} == {"wecom"}


@pytest.mark.parametrize(
    ("buyer", "tier", "offer"),
    [({"tier": "VIP"}, "vip", "优先处理"), ({"orders": 1}, "new", "优惠券"), ({"orders": 5}, None, None)],
)
def test_new_customers_and_vips_have_their_own_rights(desk, world, buyer, tier, offer):
    one = desk(case={"buyer": world.BUYER.model_copy(update=buyer)}).feed(world.says("你好"))
    rights = one.case.play.rights
    assert (rights.tier if rights else None) == tier
    assert [offer in one.sent(key).text for key in one.proposed("ticket:comment:rights:")] == ([True] if tier else [])


def test_a_workflow_of_the_shops_own_goes_over_the_shipped_one(desk, world, tmp_path):
    own = tmp_path / "product.toml"
    own.write_text(
        'id = "product"\nweight = 1\nissues = ["quality_defect"]\n[states.opened]\nnext = ["done"]\n[states.done]\n'
    )
    one = desk(workflows=tmp_path).feed(about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    assert (one.case.play.next, one.case.play.needs) == (("done",), ())
    own.write_text('id = "product"\n[states.opened]\nnext = ["nowhere"]\n')
    with pytest.raises(ValueError, match="leads to 'nowhere'"):
        desk(workflows=tmp_path)


def test_a_play_says_nothing_twice(desk, world):
    one = desk().feed(world.says("水壶漏水"), about(Issue.QUALITY_DEFECT, at=world.MONDAY))
    moves = [each for each in one.derived if isinstance(each, PlayMoved)]
    one.feed(world.order(), TicketSeen(key="t", at=one.now, status="open"))
    assert [each for each in one.derived if isinstance(each, PlayMoved)] == moves
    assert not [one.sent(key) for key in one.proposed("ticket:update") if isinstance(one.sent(key), UpdateTicket)]


def test_imported_cases_have_no_play(desk, world):
    assert desk(case={"source": "import"}).feed(world.says("假货")).case.play is None
