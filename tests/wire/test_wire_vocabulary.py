"""Carrier codes in the bridge's words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.model import ParcelException as E
from rmabridge.model import ParcelStatus as S
from rmabridge.wire import vocabulary
from rmabridge.wire.vocabulary import Known, hint, lookup


def test_every_source_of_the_contract_has_a_table() -> None:
    aggregators = {"kdniao", "kuaidi100", "seventeentrack", "aftership", "easypost", "karrio", "shippo", "shipengine"}
    wanted = aggregators | {"sf_express", "sf_express_op", "ups", "ups_activity", "fedex"}
    assert wanted <= set(vocabulary.sources())
    for source in wanted:
        assert vocabulary._table(source)


@pytest.mark.parametrize(
    ("code", "kdniao", "kuaidi100"),
    [
        ("201", S.ARRIVED_DESTINATION, S.ATTEMPT_FAILED),
        ("202", S.OUT_FOR_DELIVERY, S.DELAYED),
        ("204", S.IN_TRANSIT, S.ATTEMPT_FAILED),
        ("205", S.ARRIVED_DESTINATION, S.ATTEMPT_FAILED),
        ("401", S.EXPIRED, S.CANCELLED),
        ("6", S.CUSTOMS, S.RETURNING),
        ("2", S.IN_TRANSIT, S.ON_HOLD),
        ("4", S.EXCEPTION, S.RETURNED),
        ("10", S.INFO_RECEIVED, S.CUSTOMS),
        ("0", S.PENDING, S.IN_TRANSIT),
    ],
)
def test_kdniao_and_kuaidi100_mean_different_things_by_one_number(code: str, kdniao: S, kuaidi100: S) -> None:
    assert lookup("kdniao", code).status is kdniao
    assert lookup("kuaidi100", code).status is kuaidi100


@pytest.mark.parametrize(
    ("source", "code", "known"),
    [
        ("kdniao", "414", Known(S.EXCEPTION, E.DAMAGED)),
        ("kuaidi100", "209", Known(S.EXCEPTION, E.DAMAGED)),
        ("seventeentrack", "Exception_Damage", Known(S.EXCEPTION, E.DAMAGED)),
        ("seventeentrack", "Exception_Lost", Known(S.LOST, E.LOST)),
        ("kdniao", "404", Known(S.RETURNING, E.REFUSED)),
        ("kdniao", "406", Known(S.RETURNED, E.RETURNING)),
        ("aftership", "AttemptFail", Known(S.ATTEMPT_FAILED)),
        ("easypost", "return_to_sender", Known(S.RETURNING, E.RETURNING)),
        ("karrio", "carrier_parcel_lost", Known(S.LOST, E.LOST)),
        ("shippo", "PRE_TRANSIT", Known(S.INFO_RECEIVED)),
        ("shipengine", "SP", Known(S.AVAILABLE_FOR_PICKUP)),
        ("sf_express", "401", Known(S.DELIVERED)),
        ("sf_express", "派送中", Known(S.OUT_FOR_DELIVERY)),
        ("sf_express_op", "44", Known(S.OUT_FOR_DELIVERY)),
        ("sf_express_op", "8000_6", Known(S.LOST, E.LOST)),
        ("ups", "X", Known(S.EXCEPTION)),
        ("fedex", "HL", Known(S.AVAILABLE_FOR_PICKUP)),
        ("ups_activity", "HR", Known(S.EXCEPTION, E.DAMAGED)),
    ],
)
def test_known_codes_mean_what_their_vendors_say(source: str, code: str, known: Known) -> None:
    assert lookup(source, code) == known
    assert lookup(source, f" {code.lower()}") == known


@pytest.mark.parametrize(
    ("source", "code", "status"),
    [
        ("kdniao", "499", S.EXCEPTION),
        ("kdniao", "399", S.DELIVERED),
        ("kuaidi100", "299", S.ON_HOLD),
        ("seventeentrack", "Exception_Held", S.EXCEPTION),
        ("aftership", "Delivered_003", S.DELIVERED),
        ("kuaidi100", "1999", S.IN_TRANSIT),
        ("easypost", "teleported", S.IN_TRANSIT),
        ("sf_express", "299", S.IN_TRANSIT),
        ("sf_express_op", "80_77", S.DELIVERED),
        ("nobody", "1", S.IN_TRANSIT),
        ("exception_hints", "damaged", S.IN_TRANSIT),
    ],
)
def test_unknown_codes_fall_to_their_family_or_move_on(source: str, code: str, status: S) -> None:
    assert lookup(source, code).status is status


def test_a_code_that_is_not_listed_can_be_told_from_one_that_moves() -> None:
    assert vocabulary.listed("ups_activity", "hr") == Known(S.EXCEPTION, E.DAMAGED)
    assert vocabulary.listed("ups_activity", "ZZ") is None
    assert vocabulary.listed("kdniao", "499") is None
    assert vocabulary.listed("nobody", "1") is None


@settings(deadline=None)
@given(st.sampled_from([*vocabulary.sources(), "x"]), st.text())
def test_no_code_ever_raises(source: str, code: str) -> None:
    assert isinstance(lookup(source, code), Known)


@pytest.mark.parametrize(
    ("text", "exception"),
    [
        ("快件外包装破损", E.DAMAGED),
        ("包裹丢失，正在核实", E.LOST),
        ("客户拒收，退回中", E.REFUSED),
        ("电话无人接听", E.RECIPIENT_UNAVAILABLE),
        ("【杭州】因台风延误", E.WEATHER),
        ("Package DAMAGED, handling per shipper", E.DAMAGED),
        ("包裹damaged", E.DAMAGED),
        ("Held by customs: delay expected", E.CUSTOMS_HOLD),
        ("Returned to sender", E.RETURNING),
        ("没有破损", None),
        ("No damage found", None),
        ("已签收", None),
        ("", None),
        ("Delivered to glossy broker", None),
    ],
)
def test_words_of_a_scan_hint_at_what_went_wrong(text: str, exception: E | None) -> None:
    assert hint(text) is exception


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_hint_or_none(text: str) -> None:
    assert hint(text) is None or isinstance(hint(text), E)
