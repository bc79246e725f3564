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
    ("CANADAPOST", "CANADAPOST", None, "3041", "Canada Post"),
    ("ONTRAC", "ONTRAC", "ontrac", "100049", "OnTrac"),
    ("purolator", None, "purolator", "100042", "Purolator"),
    ("dpduk", None, "dpduk", "100010", "DPD UK"),
    ("11031", None, None, "11031", "Royal Mail"),
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
    rows = carriers._rows()
    assert len({row["code"] for row in rows}) == len(rows)
    for source in ("kdniao", "kuaidi100", "seventeentrack"):
        codes = [row[source] for row in rows if row[source]]
        assert len(set(codes)) == len(codes)
    assert all(row["name_en"] or row["name_zh"] for row in rows)


def test_every_code_of_every_source_finds_its_own_row() -> None:
    for row in carriers._rows():
        if row["kdniao"]:
            assert (found := carrier(row["kdniao"])) is not None
            assert found.kdniao == row["kdniao"]


def test_a_carrier_shows_its_english_name_where_it_has_one() -> None:
    assert Carrier("A", "An", "安", None, None, None).name == "An"
    assert Carrier("A", "", "安", None, None, None).name == "安"


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_carrier_or_none(text: str) -> None:
    assert carrier(text) is None or isinstance(carrier(text), Carrier)
