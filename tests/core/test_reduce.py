"""Any order of the same events ends in the same case."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.core.lifecycle import TRANSITIONS
from rmabridge.core.reduce import reduce
from rmabridge.model import (
    Author,
    Buyer,
    Case,
    CaseKind,
    CaseRequested,
    Classified,
    Closed,
    Delivered,
    Direction,
    FactMissing,
    Form,
    Line,
    Message,
    MessageReceived,
    Money,
    OptedIn,
    OptedOut,
    Order,
    OrderSeen,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RemedyAccepted,
    RemedyKind,
    RemedyOffered,
    Reopened,
    RequestChanged,
    RequestStatus,
    Routed,
    Scan,
    Settled,
    TicketSeen,
)
from rmabridge.model.parcel import Silence

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RETURN = Ref(kind=RefKind.RETURN, value="R1")
minutes = st.integers(0, 400)
amounts = st.sampled_from([Money.of("10 CNY"), Money.of("20.50 CNY")])
buyers = st.sampled_from([None, Buyer(id="B1", name="Ann"), Buyer(id="B1", email="a@example.com", locale="en")])
parcels = st.builds(
    Parcel,
    waybill=st.sampled_from(["SF1", "YT1"]),
    carrier=st.sampled_from([None, "SF", "YTO"]),
    direction=st.sampled_from(Direction),
    status=st.sampled_from(ParcelStatus),
    silence=st.none()
    | st.builds(
        lambda minute, status: Silence(since=START + timedelta(minutes=minute), status=status),
        minutes,
        st.sampled_from([ParcelStatus.IN_TRANSIT, ParcelStatus.DELAYED]),
    ),
    scans=st.lists(
        st.builds(
            lambda minute, scan: Scan(at=START + timedelta(minutes=minute), status=scan[0], text=scan[1]),
            minutes,
            st.sampled_from([(ParcelStatus.IN_TRANSIT, "a"), (ParcelStatus.DELIVERED, "b")]),
        ),
        max_size=3,
    ).map(tuple),
)
lines = st.sampled_from([(), (Line(id="1"),), (Line(id="1"), Line(id="2"))])
orders = st.builds(Order, id=st.just("O1"), number=st.just("1001"), note=st.sampled_from([None, "x"]))
messages = st.builds(
    lambda author, text, buyer: {"author": author, "text": text, "buyer": buyer},
    st.sampled_from(Author),
    st.sampled_from(["hi", "where?"]),
    buyers | st.just(Buyer(id="B2", email="b@example.com", phone="13800000000", thread="T2", chat="C2")),
)


def _said(key, at, facts):
    said = Message(id=key, form=Form.CHAT, at=at, author=facts["author"], text=facts["text"])
    return MessageReceived(key=key, at=at, message=said, buyer=facts.get("buyer"))


def _event(type_, /, **given_facts):
    return st.fixed_dictionaries(given_facts).map(lambda given: lambda key, at: type_(key=key, at=at, **given))


makers = st.one_of(
    _event(
        CaseRequested,
        kind=st.sampled_from(CaseKind),
        refs=st.just((RETURN,)),
        reason=st.sampled_from([None, "a", "b"]),
        lines=lines,
        amount=st.none() | amounts,
        order=st.none() | orders,
        buyer=buyers,
    ),
    _event(RequestChanged, status=st.sampled_from(RequestStatus), refs=st.just((RETURN,)), lines=lines),
    _event(OrderSeen, order=orders, buyer=buyers, parcels=st.lists(parcels, max_size=2).map(tuple)),
    _event(ParcelSeen, parcel=parcels),
    _event(
        RefundSeen,
        refund=st.sampled_from(["F1", "F2"]),
        amount=amounts,
        status=st.sampled_from(RefundStatus),
    ),
    _event(TicketSeen, status=st.sampled_from([None, "open", "solved"]), assignee=st.sampled_from([None, "Li"])),
    _event(Classified, kind=st.none() | st.sampled_from(CaseKind), level=st.none() | st.integers(1, 3)),
    _event(RemedyOffered, remedy=st.sampled_from(RemedyKind), automatic=st.sampled_from([None, "rule"])),
    _event(RemedyAccepted, remedy=st.sampled_from(RemedyKind)),
    _event(Routed, rule=st.sampled_from(["a", "b"])),
    _event(Closed, result=st.sampled_from(["solved", "refunded"])),
    _event(Reopened),
    _event(FactMissing, fact=st.sampled_from(["order", "buyer"])),
    _event(
        Settled,
        action=st.sampled_from(["reply:first:1", "staff:case:x:1"]),
        action_type=st.just("message.send"),
        account=st.just("mail"),
        outcome=st.sampled_from(["done", "dead"]),
        ref=st.sampled_from([None, "m1", "m2"]),
    ),
    _event(
        Delivered,
        message=st.sampled_from(["m1", "m2"]),
        ok=st.booleans(),
        reason=st.sampled_from([None, "unknown user"]),
    ),
    _event(OptedOut, form=st.sampled_from([Form.SMS, Form.CHAT])),
    _event(OptedIn, form=st.sampled_from([Form.SMS, Form.CHAT])),
    messages.map(lambda facts: lambda key, at: _said(key, at, facts)),
)
histories = st.lists(st.tuples(makers, minutes), min_size=1, max_size=12).map(
    lambda given: [make(f"e{n}", START + timedelta(minutes=at)) for n, (make, at) in enumerate(given)]
)


def new():
    return Case(id="C1", shop="acme", opened_at=START, updated_at=START)


def fold(events):
    """The case after the events; a key that was seen counts once, as in the router."""
    case, seen = new(), set()
    for event in events:
        if event.key not in seen:
            seen.add(event.key)
            case = reduce(case, event, "mkt")
    return case


def facts(case):
    """All of the case but the bookkeeping of which event wrote what."""
    return case.model_dump(exclude={"stamps"})


@settings(max_examples=150)
@given(histories, st.data())
def test_any_shuffle_with_repeats_ends_in_the_same_case(events, data):
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = data.draw(st.permutations([*events, *repeats]))
    assert facts(fold(shuffled)) == facts(fold(events))


def _asked(status):
    return lambda key, at: RequestChanged(key=key, at=at, status=status, refs=(RETURN,))


def _back(status):
    parcel = Parcel(waybill="YT1", direction=Direction.BACK, status=status)
    return lambda key, at: ParcelSeen(key=key, at=at, parcel=parcel)


def _paid(status):
    return lambda key, at: RefundSeen(key=key, at=at, refund="F1", amount=Money.of("10 CNY"), status=status)


@st.composite
def stories(draw):
    """What a vendor really tells, in its order: request, decision, way back, refund; with talk and closings between."""
    steps = [lambda key, at: CaseRequested(key=key, at=at, kind=CaseKind.RETURN, refs=(RETURN,))]
    decision = draw(st.sampled_from(["declined", "cancelled", "approved", "appeal"]))
    steps += [_asked(RequestStatus.DECLINED)] if decision in {"declined", "appeal"} else []
    steps += [_asked(RequestStatus.CANCELLED)] if decision == "cancelled" else []
    if decision in {"approved", "appeal"}:
        way = [ParcelStatus.PICKED_UP, ParcelStatus.IN_TRANSIT, ParcelStatus.DELIVERED]
        steps += [_asked(RequestStatus.APPROVED), *map(_back, way[draw(st.integers(0, 2)) :])]
        tries = [RefundStatus.PENDING, RefundStatus.FAILED] * draw(st.integers(0, 2))
        steps += map(_paid, [*tries, *draw(st.sampled_from([[], [RefundStatus.PENDING], [RefundStatus.DONE]]))])
    between = [
        lambda key, at: _said(key, at, {"author": Author.BUYER, "text": "?"}),
        lambda key, at: OrderSeen(key=key, at=at, order=Order(id="O1")),
        lambda key, at: Closed(key=key, at=at, result="solved"),
        lambda key, at: Reopened(key=key, at=at),
    ]
    for make in draw(st.lists(st.sampled_from(between), max_size=4)):
        steps.insert(draw(st.integers(0, len(steps))), make)
    return [make(f"e{n}", START + timedelta(minutes=n)) for n, make in enumerate(steps)]


@settings(max_examples=150)
@given(stories(), st.data())
def test_every_change_of_status_in_vendor_time_is_a_known_transition(events, data):
    case = new()
    for event in events:
        after = reduce(case, event, "mkt")
        assert after.status is case.status or after.status in TRANSITIONS[case.status], event.type
        case = after
    assert fold(data.draw(st.permutations(events))).status is case.status


@given(histories)
def test_reducing_changes_no_case_that_was_there_before(events):
    before = new()
    kept = before.model_dump()
    for event in events:
        reduce(before, event, "mkt")
    assert before.model_dump() == kept


WAYS = ("id", "email", "phone", "thread", "chat")
KNOWN = Buyer(id="B1", email="a@example.com", phone="13811112222", thread="T1", chat="C1")
STRANGER = Buyer(id="B2", email="x@example.com", phone="13899999999", thread="T9", chat="C9", name="Eve", locale="en")


def _writes(key, minute, buyer):
    return _said(key, START + timedelta(minutes=minute), {"author": Author.BUYER, "text": "hi", "buyer": buyer})


@pytest.mark.parametrize("late", [1, 30])
def test_who_names_an_order_does_not_become_its_buyer(late):
    seen = OrderSeen(key="o", at=START + timedelta(minutes=10), order=Order(id="O1"), buyer=KNOWN)
    stranger = _writes("m", late, STRANGER)
    for case in (fold([seen, stranger]), fold([stranger, seen])):
        assert [getattr(case.buyer, one) for one in WAYS] == [getattr(KNOWN, one) for one in WAYS]
        assert case.buyer.locale == "en"


def test_a_message_fills_the_gaps_and_the_first_one_stays():
    seen = OrderSeen(key="o", at=START, order=Order(id="O1"), buyer=Buyer(id="B1"))
    first, second = _writes("m1", 5, Buyer(id="B1", email="a@example.com")), _writes("m2", 6, STRANGER)
    for case in (fold([seen, first, second]), fold([second, first, seen])):
        assert (case.buyer.id, case.buyer.email, case.buyer.phone) == ("B1", "a@example.com", "13899999999")


def _snapshot(key, at, scanned, status=ParcelStatus.IN_TRANSIT):
    scans = tuple(Scan(at=START + timedelta(days=day), status=ParcelStatus.IN_TRANSIT) for day in scanned)
    return ParcelSeen(key=key, at=START + timedelta(days=at), parcel=Parcel(waybill="YT1", status=status, scans=scans))


def _silence(at, since):
    lost = Silence(since=START + timedelta(days=since), status=ParcelStatus.IN_TRANSIT)
    return ParcelSeen(key=f"lost:{since}", at=START + timedelta(days=at), parcel=Parcel(waybill="YT1", silence=lost))


@pytest.mark.parametrize(
    ("later", "status"),
    [
        ((), ParcelStatus.LOST),
        ((_snapshot("b", 8, [0]),), ParcelStatus.LOST),
        ((_snapshot("b", 8, [0, 8]),), ParcelStatus.IN_TRANSIT),
        ((_snapshot("b", 8, [0], ParcelStatus.DELIVERED),), ParcelStatus.DELIVERED),
        ((_snapshot("b", 8, [0, 8]), _silence(15, 8)), ParcelStatus.LOST),
        ((_snapshot("b", 8, [0, 8]), _silence(15, 8), _snapshot("c", 16, [0, 8, 16])), ParcelStatus.IN_TRANSIT),
    ],
)
def test_a_presumed_loss_holds_until_something_new_is_heard_in_any_order(later, status):
    events = (_snapshot("a", 0, [0]), _silence(7, 0), *later)
    for order in permutations(events):
        case = Case(id="C1", shop="acme", opened_at=START, updated_at=START)
        for event in order:
            case = reduce(case, event, "car")
        (parcel,) = case.parcels
        assert parcel.status is status
        assert (parcel.told is not None) is (status is ParcelStatus.LOST)


def _node(hour, status, *, turns=True):
    at = START + timedelta(hours=hour)
    delivered = at if status is ParcelStatus.DELIVERED else None
    scan = Scan(at=at, status=status)
    parcel = Parcel(waybill="YT1", status=status, scans=(scan,), delivered_at=delivered, turns=turns)
    return ParcelSeen(key=f"node:{hour}", at=at, parcel=parcel)


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ((_node(1, ParcelStatus.RETURNING), _node(2, ParcelStatus.DELIVERED)), ParcelStatus.RETURNED),
        ((_node(1, ParcelStatus.DELIVERED), _node(2, ParcelStatus.RETURNING)), ParcelStatus.RETURNING),
        (
            (_node(1, ParcelStatus.RETURNING), _node(2, ParcelStatus.FORWARDED), _node(3, ParcelStatus.DELIVERED)),
            ParcelStatus.DELIVERED,
        ),
        (
            (_node(1, ParcelStatus.RETURNING, turns=False), _node(2, ParcelStatus.DELIVERED, turns=False)),
            ParcelStatus.DELIVERED,
        ),
    ],
)
def test_a_parcel_that_was_delivered_on_its_way_back_is_returned_in_any_order_of_the_scans(way, status):
    for order in permutations((_node(0, ParcelStatus.IN_TRANSIT), *way)):
        case = Case(id="C1", shop="acme", opened_at=START, updated_at=START)
        for event in order:
            case = reduce(case, event, "car")
        (parcel,) = case.parcels
        assert parcel.status is status
        assert (parcel.delivered_at is None) is (status is ParcelStatus.RETURNED)


def test_a_state_without_a_new_scan_is_newer_than_the_scan_alone_in_either_order():
    at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    scan = Scan(at=at, status=ParcelStatus.IN_TRANSIT, text="on its way")
    shown = [Parcel(waybill="W1", status=one, scans=(scan,)) for one in (scan.status, ParcelStatus.EXCEPTION)]
    events = [ParcelSeen(key=f"p{one.status}", at=one.dated(at), parcel=one) for one in shown]
    for told in (events, events[::-1]):
        case = Case(id="C1", shop="s", opened_at=at, updated_at=at)
        for event in told:
            case = reduce(case, event, "ca")
        assert case.parcels[0].status is ParcelStatus.EXCEPTION


def test_a_parcel_that_was_missing_and_is_seen_again_is_not_lost_in_either_order():
    at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    words = [(ParcelStatus.EXCEPTION, ParcelException.LOST), (ParcelStatus.IN_TRANSIT, None)]
    scans = [Scan(at=at + timedelta(days=day), status=one, exception=why) for day, (one, why) in enumerate(words)]
    events = [
        ParcelSeen(
            key=f"p{number}",
            at=scan.at,
            parcel=Parcel(waybill="W1", status=scan.status, exception=scan.exception, scans=tuple(scans[: number + 1])),
        )
        for number, scan in enumerate(scans)
    ]
    for told in (events, events[::-1]):
        case = Case(id="C1", shop="s", opened_at=at, updated_at=at)
        for event in told:
            case = reduce(case, event, "ca")
        assert (case.parcels[0].status, case.parcels[0].exception) == (ParcelStatus.IN_TRANSIT, None)


def test_a_ticket_that_goes_on_for_another_is_the_cases_in_any_order():
    at, desk = datetime(2026, 1, 5, 10, tzinfo=UTC), {"action": "ticket:open", "action_type": "ticket.open"}
    opened = Settled(key="s", at=at, account="desk", outcome="done", ref="77", **desk)
    seen = [
        TicketSeen(key=new, at=at + timedelta(days=day), refs=(Ref(kind=RefKind.TICKET, value=new),), continues=old)
        for day, old, new in ((1, "77", "78"), (2, "78", "79"))
    ]
    for story in permutations([opened, *seen]):
        case = Case(id="C1", shop="one", opened_at=at, updated_at=at)
        for event in story:
            case = reduce(case, event, "desk")
        assert (case.ticket.id, case.ticket.account) == ("79", "desk")
