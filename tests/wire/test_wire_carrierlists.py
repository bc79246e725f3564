"""Vendors' own lists of carriers, read from an operator's file and merged with the shipped one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.errors import ConfigError
from rmabridge.wire import carrierlists, carriers
from rmabridge.wire.carrierlists import merged, plain_name, read, use
from rmabridge.wire.carriers import VENDORS, Carrier, carrier


@pytest.fixture
def own() -> Iterator[None]:
    """The shipped list comes back afterwards."""
    yield
    carriers.replace(None)


def test_every_list_has_source_date_and_licence_beside_it() -> None:
    told = carrierlists.sources()
    assert all(one["source"] and one["as_of"] and one["licence"] for one in told)
    for vendor in VENDORS:
        codes = sum(one["codes"] for one in told if one["vendor"] == vendor and one["shipped"])
        assert codes == sum(bool(getattr(one, vendor)) for one in carriers.everyone())
    assert {one["codes"] for one in told if not one["shipped"]} == {0}


# As 17TRACK's own file has them: the titles begin with an underscore.
SEVENTEEN = [
    {
        "key": 100012,
        "_country_iso": "CN",
        "_name": "SF Express",
        "_name_zh-cn": "顺丰速运",
        "_url": "https://sf.example",
    },
    {
        "key": 100999,
        "_country_iso": "FR",
        "_name": "Facteur Express",
        "_name_zh-cn": "Facteur Express",
        "_tel": "+33 1",
    },
    {"key": 190455, "_name": "ZTO", "_name_zh-cn": "中通快递", "_name_zh-hk": "中通快遞"},
    {"key": "", "_name": "nameless"},
    "not a carrier",
]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_seventeentracks_list_adds_facts_to_those_known_and_rows_for_the_rest(tmp_path: Path, own: None) -> None:
    shipped = carriers.count()
    assert use({"seventeentrack": write(tmp_path / "all.json", json.dumps(SEVENTEEN))}) == shipped + 1
    assert (sf := carrier("100012")) is not None
    assert (sf.code, sf.kuaidi100, sf.website) == ("SF", "shunfeng", "https://sf.example")
    assert (new := carrier("facteur express")) is not None
    assert (new.code, new.seventeentrack, new.country, new.phone) == ("100999", "100999", "FR", "+33 1")
    assert carrier("中通快遞") == carrier("ZTO")
    carriers.replace(None)
    assert carriers.count() == shipped
    assert carrier("100999") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("titles", ["公司名称,公司编码,公司类型", "快递公司名称,编码,类型", "name,code,type"])
def test_a_table_saved_from_a_spreadsheet_is_read_in_any_of_its_spellings(
    tmp_path: Path, encoding: str, titles: str
) -> None:
    path = write(tmp_path / "codes.csv", f"{titles}\n顺丰速运,shunfeng,国内\n,,\n某某快递,moumou,国内\n", encoding)
    found = read(path, "kuaidi100")
    assert [(one.kuaidi100, one.name) for one in found] == [("shunfeng", "顺丰速运"), ("moumou", "某某快递")]


def test_an_operators_own_table_has_the_columns_of_the_shipped_one(tmp_path: Path, own: None) -> None:
    use(
        {"own": write(tmp_path / "own.csv", "code,name_en,kdniao,shopify\nVAN,Our van,,Our own van\nSF,,SF,Shunfeng\n")}
    )
    assert (van := carrier("Our own van")) is not None
    assert (van.code, van.name) == ("VAN", "Our van")
    assert carriers.code("SF", "shopify") == "SF Express"


@pytest.mark.row("S084")
def test_a_list_in_the_vendors_format_is_merged_into_two_thousand_five_hundred_carriers(
    tmp_path: Path, own: None
) -> None:
    names = [{"key": 900000 + place, "_name": f"Sample {place:04} Lines"} for place in range(2500)]
    carriers.replace(())
    known = merged([], read(write(tmp_path / "all.json", json.dumps(names)), "seventeentrack"))
    assert len(known) == 2500
    carriers.replace(known)
    assert (found := carrier("902499")) is not None
    assert found.name == "Sample 2499 Lines"


@pytest.mark.parametrize(
    ("text", "vendor", "told"),
    [
        ("[1, 2", "seventeentrack", "Expecting"),
        ("[]", "seventeentrack", "no carriers found"),
        ("colour,size\nred,1\n", "kdniao", "needs a column of codes"),
        ("", "own", "no carriers found"),
        ("code,name\nA,B\n", "pigeons", "there are kdniao"),
    ],
)
def test_a_file_that_is_no_list_is_refused_by_name(tmp_path: Path, text: str, vendor: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(write(tmp_path / "list", text), vendor)


def test_a_file_in_no_known_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"code,name\n\xff\xff\xff\n")
    with pytest.raises(ConfigError, match="CSV UTF-8"):
        read(tmp_path / "list", "kdniao")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("ABC Parcel Express", "abcparcel"),
        ("中通快递", "中通"),
        ("京东物流", "京东"),
        ("跨越速运", "跨越"),
        ("UPS Express", ""),
        ("快递", ""),
        ("中通快运", "中通快运"),
        ("", ""),
    ],
)
def test_only_the_ordinary_suffixes_are_set_aside(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_names_that_differ_in_a_suffix_are_one_carrier_only_where_it_is_clear() -> None:
    table = [Carrier("A", "", "安能快递", kdniao="A"), Carrier("B", "", "丰网速运", kdniao="B")]
    more = [
        Carrier("ane", "", "安能物流", kuaidi100="ane"),
        Carrier("ane2", "", "安能速运", kuaidi100="ane2"),
        Carrier("fw", "", "丰网", kuaidi100="fw"),
    ]
    assert [(one.code, one.kuaidi100) for one in merged(table, more)] == [
        ("A", None),
        ("B", "fw"),
        ("ane", "ane"),
        ("ane2", "ane2"),
    ]


def test_carriers_of_two_countries_and_of_two_codes_stay_apart() -> None:
    table = [Carrier("X", "Parcel One", "", paypal="PARCELONE", country="DE")]
    more = [
        Carrier("1", "Parcel One", "", seventeentrack="1", country="FR"),
        Carrier("PARCEL1", "Parcel One", "", paypal="PARCEL1"),
        Carrier("X", "Another", "", seventeentrack="2"),
    ]
    assert [one.code for one in merged(table, more)] == ["X", "1", "PARCEL1", "seventeentrack-X"]


NAMES = st.sampled_from(
    ["SF", "sf express", "S.F. Express", "顺丰", "顺丰速运", "中通快递", "中通物流", "ZTO", "", "快递"]
)
CODES = st.sampled_from(["", "1", "2", "3", "sf", "SF"])


@st.composite
def lists(draw: st.DrawFn) -> list[Carrier]:
    made = []
    for _ in range(draw(st.integers(0, 8))):
        vendor, code = draw(st.sampled_from(VENDORS)), draw(CODES)
        one = Carrier(code or "own", draw(NAMES), draw(NAMES), country=draw(st.sampled_from(["", "CN", "FR"])))
        made.append(one._replace(**{vendor: code} if code else {}))
    return made


@settings(deadline=None)
@given(lists(), lists())
def test_after_merging_every_code_stands_once_and_none_is_lost(first: list[Carrier], second: list[Carrier]) -> None:
    table = merged(merged([], first), second)
    assert len({one.code for one in table}) == len(table)
    for vendor in VENDORS:
        codes = [getattr(one, vendor) for one in table if getattr(one, vendor)]
        assert len(set(codes)) == len(codes)
        assert set(codes) == {getattr(one, vendor) for one in (*first, *second) if getattr(one, vendor)}


@settings(deadline=None)
@given(lists())
def test_merging_a_list_twice_changes_nothing(some: list[Carrier]) -> None:
    coded = [one for one in some if carrierlists._vendors(one)]
    once = merged([], coded)
    assert merged(once, coded) == once


@settings(deadline=None)
@given(text=st.text())
def test_any_text_in_a_file_is_carriers_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, "utf-8", errors="replace")
    for vendor in ("seventeentrack", "own"):
        try:
            assert read(path, vendor)
        except ConfigError:
            continue
