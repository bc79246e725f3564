"""The shipped list of carriers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.wire import carriers
from rmabridge.wire.carriers import Carrier, carrier, count

KNOWN = [
    ("SF", "SF", "shunfeng", "100012", "顺丰速运"),
    ("ZTO", "ZTO", "zhongtong", "190455", "中通快递"),
    ("YTO", "YTO", "yuantong", "190157", "圆通速递"),
    ("STO", "STO", "shentong", "190324", "申通快递"),
    ("YD", "YD", "yunda", None, "韵达快递"),
    ("JTSD", "JTSD", "jtexpress", "190442", "极兔速递"),
    ("JD", "JD", "jd", None, "京东物流"),
    ("EMS", "EMS", "ems", "3013", "EMS"),
    ("YZPY", "YZPY", "youzhengguonei", "3011", "邮政快递包裹"),
    ("DBL", "DBL", "debangkuaidi", "190174", "德邦快递"),
    ("HTKY", "HTKY", "huitongkuaidi", None, "百世快递"),
    ("ZJS", "ZJS", "zhaijisong", None, "宅急送"),
    ("UPS", "UPS", "ups", "100002", "UPS"),
    ("DHL", "DHL", "dhl", "100001", "DHL Express"),
    ("FEDEX_GJ", "FEDEX_GJ", "fedex", "100003", "FedEx"),
    ("USPS", "USPS", "usps", "21051", "USPS"),
    ("UC", "UC", "youshuwuliu", "190415", "优速快递"),
    ("CANADAPOST", "CANADAPOST", "canpost", "3041", "Canada Post"),
    ("ONTRAC", "ONTRAC", "ontrac", "100049", "OnTrac"),
    ("purolator", None, "purolator", "100042", "Purolator"),
    ("dpduk", None, "dpduk", "100010", "DPD UK"),
    ("11031", "IYGYZ", "england", "11031", "Royal Mail"),
]


@pytest.mark.row("S084")
@pytest.mark.parametrize(("code", "kdniao", "kuaidi100", "seventeentrack", "name"), KNOWN)
def test_a_known_carrier_is_found_by_each_code_and_by_name(
    code: str, kdniao: str | None, kuaidi100: str | None, seventeentrack: str | None, name: str
) -> None:
    for word in filter(None, (code, kdniao, kuaidi100, seventeentrack, name)):
        found = carrier(word)
        assert found is not None
        assert (found.code, found.kdniao, found.kuaidi100, found.seventeentrack) == (
            code,
            kdniao,
            kuaidi100,
            seventeentrack,
        )


@pytest.mark.row("S084")
def test_the_list_names_at_least_two_thousand_five_hundred_carriers() -> None:
    assert count() >= 2500


@pytest.mark.row("S084")
@pytest.mark.parametrize("code", ["", "NOT-A-CARRIER", "999999999", "顺丰速运公司的车", "\0"])
def test_an_unknown_code_passes_through_as_none(code: str) -> None:
    assert carrier(code) is None


def test_names_are_found_however_they_are_written() -> None:
    for spelt in ("sf express", "SF-EXPRESS", "ｓｆ　express", "顺丰", " 顺丰速运 "):
        found = carrier(spelt)
        assert found is not None
        assert found.code == "SF"


def test_codes_that_differ_in_case_only_stay_apart() -> None:
    domestic, international = carrier("FEDEX"), carrier("fedex")
    assert domestic is not None
    assert international is not None
    assert (domestic.code, international.code) == ("FEDEX", "FEDEX_GJ")


def test_every_row_has_a_code_of_its_own_and_a_name() -> None:
    listed = carriers.everyone()
    for source in ("code", *carriers.VENDORS):
        codes = [getattr(one, source) for one in listed if getattr(one, source)]
        assert len(set(codes)) == len(codes)
    assert all(one.code and one.names for one in listed)


@pytest.mark.parametrize("vendor", carriers.VENDORS[:3])
def test_every_code_of_every_vendor_finds_its_own_row(vendor: str) -> None:
    for one in carriers.everyone():
        if wanted := getattr(one, vendor):
            assert (found := carrier(wanted)) is not None
            # A word may be a code of two vendors; the one named first in VENDORS is believed.
            earlier = carriers.VENDORS[: carriers.VENDORS.index(vendor)]
            assert getattr(found, vendor) == wanted or any(getattr(found, other) == wanted for other in earlier)


def test_every_code_of_the_bridge_finds_its_own_row_or_a_vendors_of_that_name() -> None:
    strange = [one for one in carriers.everyone() if carrier(one.code) is not one]
    assert all(one.code in (found := carrier(one.code) or one)[3:9] for one in strange), found
    assert len(strange) < 20


def test_a_vendors_code_is_told_and_none_where_it_has_none() -> None:
    assert carriers.code("SF", "kuaidi100") == "shunfeng"
    assert carriers.code("顺丰速运", "shopify") == "SF Express"
    assert carriers.code("YD", "seventeentrack") is None
    assert carriers.code("SF", "website") is None
    assert carriers.code("nobody", "kdniao") is None


def test_words_that_are_codes_only_as_written_are_not_found_in_other_letters() -> None:
    assert carrier("UC_EXPRE") is carrier("UC")
    assert carrier("uc_expre") is None or carrier("UC_EXPRE") is carrier("uc_expre")
    assert carrier("LINE") is None
    assert carrier("pickup") is None


def test_searching_gives_the_exact_one_first_and_the_shortest_names_next() -> None:
    found = carriers.find("中通", limit=5)
    assert found[0].code == "ZTO"
    assert len(found) == 5
    assert all("中通" in "".join(one.names) for one in found)
    assert carriers.find("Old Dominion")[0].code == "olddominion"
    assert carriers.find("") == []
    assert carriers.find("no carrier is called this") == []


def test_a_carrier_shows_its_english_name_where_it_has_one() -> None:
    assert Carrier("A", "An", "安", None, None, None).name == "An"
    assert Carrier("A", "", "安", None, None, None).name == "安"


@settings(deadline=None)
@given(st.text())
def test_any_text_finds_the_same_carriers_twice(text: str) -> None:
    assert carriers.find(text) == carriers.find(text)
    assert len(carriers.find(text, limit=3)) <= 3


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_carrier_or_none(text: str) -> None:
    assert carrier(text) is None or isinstance(carrier(text), Carrier)
