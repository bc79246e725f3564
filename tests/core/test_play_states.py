"""Handling plays: the machines are sound, any order of steps ends in one state, the matrix ranks every case."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_plays import Plays
from rmabridge_plays.reading import flows, shipped

from rmabridge.core.plays import Flow, flow_of, problems, recorded, refusal, skipped, unclosable, walk
from rmabridge.core.ranking import GRADES, PRIORITIES, Ranking, Sign, place
from rmabridge.core.reduce import reduce
from rmabridge.model import (
    Author,
    Case,
    CaseKind,
    Closed,
    Form,
    Issue,
    Message,
    MessageReceived,
    Play,
    PlayMoved,
    PlayStep,
    Rank,
    Status,
)
from rmabridge.testing.contexts import account

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FLOWS = flows(None)
any_flow = st.sampled_from(FLOWS)


def a_case(**facts):
    return Case(**({"id": "C1", "shop": "acme", "opened_at": NOW, "updated_at": NOW} | facts))


def step(name, minutes=0):
    return PlayStep(name=name, at=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda one: one.id)
def test_every_shipped_workflow_is_a_sound_machine(flow):
    assert problems(flow) == []
    assert any(not state.next for state in flow.states.values()), "it ends somewhere"
    for locale in ("zh-CN", "zh-TW", "en"):
        assert flow.title[locale]
        assert all(state.title[locale] for state in flow.states.values())


def test_every_issue_and_every_kind_has_a_workflow():
    for kind in CaseKind:
        for issue in (None, *Issue):
            assert flow_of(a_case(kind=kind, issue=issue), FLOWS) is not None
    named = [issue for flow in FLOWS for issue in flow.issues]
    assert len(named) == len(set(named)), "no issue belongs to two plays"


def test_a_crisis_that_comes_with_another_issue_is_played_as_a_crisis():
    case = a_case(kind="complaint", issue=Issue.QUALITY_DEFECT, also=(Issue.SAFETY_CRISIS,), level=3)
    assert flow_of(case, FLOWS).id == "crisis"


@given(any_flow, st.data())
def test_any_order_of_steps_ends_in_the_same_state(flow, data):
    names = data.draw(st.lists(st.sampled_from(sorted(flow.states)), unique=True))
    case = a_case()
    for turn, name in enumerate(names, 1):
        case = reduce(case, moved(turn, step(name, turn), needs=()), "bridge")
    reached = {one.name for one in case.play.steps} if case.play else set()
    assert reached == set(names)
    assert walk(flow, reached) == walk(flow, dict.fromkeys(sorted(names)))


@given(any_flow, st.data())
def test_the_machine_only_goes_where_it_may_and_another_step_never_undoes_one(flow, data):
    steps = data.draw(st.sets(st.sampled_from(sorted(flow.states))))
    path = [flow.start]
    while (
        after := next((one for one in flow.states[path[-1]].next if one in steps and one not in path), None)
    ) is not None:
        path.append(after)
    assert walk(flow, steps) == path[-1]
    assert all(later in flow.states[earlier].next for earlier, later in pairwise(path))


@given(any_flow, st.data())
def test_walking_all_states_passes_all_that_a_closing_and_the_audit_want(flow, data):
    end = walk(flow, set(flow.states))
    assert flow.states[end].next == ()
    assert {*flow.needs, *flow.standard} <= set(flow.states)


@given(any_flow, st.data())
def test_a_person_may_record_only_what_may_follow(flow, data):
    state, wanted = (data.draw(st.sampled_from(sorted(flow.states))) for _ in range(2))
    case = a_case(play=Play(id=flow.id, state=state, next=flow.states[state].next))
    said = refusal(case, wanted)
    assert (said is None) == (wanted in flow.states[state].next)
    if said:
        assert wanted in said
        assert state in said
        assert all(one in said for one in flow.states[state].next)


def test_a_case_without_a_play_says_so():
    assert "no handling play" in refusal(a_case(), "told")


@pytest.mark.parametrize(
    ("states", "start", "word"),
    [
        ({"a": {"next": ["b"]}}, "a", "no state"),
        ({"a": {}, "b": {}}, "a", "nothing leads to 'b'"),
        ({"a": {}}, "z", "the start"),
    ],
)
def test_a_broken_machine_is_told(states, start, word):
    assert word in problems(Flow(id="x", states=states, start=start))[0]


def moved(turn, *steps, **facts):
    given = {"play": "product", "state": "proposed", "round": 1, "needs": ("investigated", "told")} | facts
    return PlayMoved(key=f"p{turn}", at=NOW + timedelta(minutes=turn), turn=turn, steps=steps, **given)


def test_a_closing_is_held_until_the_last_missing_step_and_then_carried_out():
    case = reduce(a_case(), moved(1, step("investigated")), "bridge")
    case = reduce(case, Closed(key="c", at=NOW + timedelta(minutes=2), result="refunded"), "bridge")
    assert (case.status, case.play.closing.result) == (Status.NEW, "refunded")
    assert "told" in unclosable(case)
    case = reduce(case, moved(3, step("told", 3)), "bridge")
    assert (case.status, case.result, case.play.closing) == (Status.CLOSED, "refunded", None)


def test_a_buyer_who_writes_again_takes_the_held_closing_back():
    case = reduce(a_case(), moved(1), "bridge")
    case = reduce(case, Closed(key="c", at=NOW + timedelta(minutes=2), result="solved"), "bridge")
    said = Message(id="m", author=Author.BUYER, form=Form.CHAT, text="还没好", at=NOW + timedelta(minutes=3))
    case = reduce(case, MessageReceived(key="m", at=said.at, message=said), "shop")
    case = reduce(case, moved(4, step("investigated"), step("told")), "bridge")
    assert (case.status, case.play.closing) == (Status.NEW, None)


def test_an_older_turn_changes_nothing_and_a_step_keeps_its_first_time():
    case = reduce(a_case(), moved(2, step("told", 1)), "bridge")
    assert reduce(case, moved(1, step("tracked"), state="tracked"), "bridge").play == case.play
    later = reduce(case, moved(3, step("told", 9)), "bridge")
    assert later.play.step("told").at == NOW + timedelta(minutes=1)


def test_a_new_round_begins_with_no_steps():
    case = reduce(a_case(), moved(1, step("told")), "bridge")
    assert reduce(case, moved(2, step("responded"), round=2), "bridge").play.steps == (step("responded"),)


def test_a_recorded_step_keeps_who_and_what():
    case = reduce(a_case(), moved(1), "bridge")
    case = reduce(case, recorded(case, "told", "k", NOW, "mei", "rang them"), "bridge")
    assert (case.play.step("told").by, case.play.step("told").note) == ("mei", "rang them")


def test_the_audit_names_the_standard_steps_that_a_case_skipped():
    play = Play(id="product", state="told", standard=("responded", "tracked"), steps=(step("responded"),))
    assert skipped(a_case(play=play)) == ("tracked",)
    assert skipped(a_case()) == ()


RANKING = Ranking.model_validate(shipped("priorities.toml"))
# One case for each grade of each axis, from the signs themselves.
URGENT = {"high": {"anger": 2}, "medium": {"anger": 1}, "low": {}}
IMPORTANT = {"high": {"issue": "counterfeit"}, "medium": {"kind": "complaint"}, "low": {}}


@pytest.mark.row("S026")
@pytest.mark.parametrize("urgency", GRADES)
@pytest.mark.parametrize("importance", GRADES)
def test_every_cell_of_the_matrix_gives_its_priority_and_the_queue_follows_it(urgency, importance):
    case = a_case(**URGENT[urgency], **IMPORTANT[importance])
    rank = RANKING.rank(case, None, NOW)
    assert (rank.urgency, rank.importance) == (urgency, importance)
    assert rank.priority == shipped("priorities.toml")["matrix"][urgency][importance]
    older = a_case(opened_at=NOW - timedelta(days=9), play=Play(id="x", state="y", rank=rank))
    for other in PRIORITIES:
        fresh = a_case(play=Play(id="x", state="y", rank=Rank(urgency="low", importance="low", priority=other)))
        assert (place(older) < place(fresh)) == (PRIORITIES.index(rank.priority) <= PRIORITIES.index(other))


def test_more_urgent_or_more_important_never_comes_later():
    number = {
        cell: PRIORITIES.index(RANKING.matrix[cell[0]][cell[1]]) for cell in ((u, i) for u in GRADES for i in GRADES)
    }
    for one, (urgency, importance) in ((one, one) for one in number):
        for other, (their_urgency, their_importance) in ((one, one) for one in number):
            if GRADES.index(urgency) <= GRADES.index(their_urgency) and GRADES.index(importance) <= GRADES.index(
                their_importance
            ):
                assert number[one] <= number[other]


def test_a_matrix_with_a_hole_is_refused():
    with pytest.raises(ValueError, match=r"high\.low"):
        account(Plays, matrix={"high": {"low": None}})
    with pytest.raises(ValueError, match=r"medium\.high"):
        Ranking(urgency={}, importance={}, matrix={"high": dict.fromkeys(GRADES, "urgent")})


def test_the_queue_never_is_the_one_of_the_agent_concerned():
    case = a_case(kind="complaint", issue="service_attitude", agent="supervisor")
    assert RANKING.rank(case, None, NOW).queue == "senior"


def test_a_sign_needs_all_that_it_names():
    signs = {"high": (Sign(level=2, over={"CNY": "100"}),)}
    ranking = Ranking(urgency=signs, importance={}, matrix=RANKING.matrix)
    order = {"id": "O1", "total": {"amount": "100.01", "currency": "CNY"}}
    for case, urgency in (({}, "low"), ({"order": order}, "high"), ({"order": order, "level": 1}, "low")):
        assert ranking.rank(a_case(**{"level": 2, **case}), None, NOW).urgency == urgency
