"""Waybill numbers: check digits, ranking, one spelling."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.wire import waybills
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import candidates, normalise

# Published numbers, right and wrong ones, by the form that they show: see "source" in the file.
PUBLISHED = json.loads((Path(__file__).parent / "tracking_numbers.json").read_text("utf-8"))["forms"]

CHECKED = [
    ("1Z999AA10123456784", "UPS"),
    ("1Z5R89390357567127", "UPS"),
    ("K2479825491", "UPS"),
    ("03071790000523483741", "USPS"),
    ("9400111202555842332669", "USPS"),
    ("4201002334249200190132607600833457", "USPS"),
    ("986578788855", "FEDEX_GJ"),
    ("477179081230", "FEDEX_GJ"),
    ("1001921334250001000300779017972697", "FEDEX_GJ"),
    ("041441760228964", "FEDEX_GJ"),
    ("568283610012000", "FEDEX_GJ"),
    ("9611020987654312345672", "FEDEX_GJ"),
    ("000123450000000027", "FEDEX_GJ"),
    ("3318810025", "DHL"),
    ("73891051146", "DHL"),
    ("008182709980000020033350276C", "DPD"),
    ("7035114477138472", "CANADAPOST"),
    ("C11031500001879", "ONTRAC"),
    ("D10011354453707", "ONTRAC"),
    ("RR123456785CN", "YZPY"),
    ("EE123456785CN", "EMS"),
    ("RB123456785GB", "11031"),
    ("RB123456785US", "USPS"),
]


@pytest.mark.parametrize(("number", "code"), CHECKED)
def test_a_right_check_digit_names_the_carrier_first(number: str, code: str) -> None:
    assert candidates(number)[0].carrier == code


@pytest.mark.parametrize(("number", "code"), CHECKED)
def test_a_wrong_check_digit_makes_the_guess_disappear(number: str, code: str) -> None:
    at = len(number) - (3 if number[-2:].isalpha() else 1)
    wrong = "0123456789"[(int(number[at]) + 1) % 10] if number[at].isdigit() else "0"
    changed = number[:at] + wrong + number[at + 1 :]
    assert code not in {guess.carrier for guess in candidates(changed)}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("SF1234567890123", "SF"),
        ("YT0000000000001", "YTO"),
        ("YT0000000000000001", "yuntrack"),
        ("JT0000000000001", "JTSD"),
        ("JD0123456789012", "JD"),
        ("JDVA00123456789", "JD"),
        ("777000000000001", "STO"),
        ("DPK1234567890", "DBL"),
        ("78123456789012", "ZTO"),
        ("1123456789012", "EMS"),
        ("9123456789012", "YZPY"),
        ("4312345678901", "YD"),
        ("TBA123456789012", "AMAZON"),
        ("GM1234567890123", "DHLGM"),
    ],
)
def test_prefixes_and_lengths_name_the_carrier_first(number: str, code: str) -> None:
    assert candidates(number)[0].carrier == code


def test_the_length_tells_yto_from_yunexpress() -> None:
    assert [guess.carrier for guess in candidates("YT" + "1" * 13)] == ["YTO"]
    assert [guess.carrier for guess in candidates("YT" + "1" * 16)] == ["yuntrack"]
    assert candidates("YT" + "1" * 15) == []


def test_twelve_bare_digits_are_never_one_silent_guess() -> None:
    guesses = candidates("986578788855")
    assert {"FEDEX_GJ", "SF", "ZTO", "STO", "YTO"} <= {guess.carrier for guess in guesses}
    assert max(guess.confidence for guess in guesses) < 0.9


@pytest.mark.parametrize(
    "number", ["RR123456785XX", "RR123456785ZZ", "LP00123456789012", "", "HELLO", "1" * 51, "单号"]
)
def test_what_is_no_waybill_has_no_candidates(number: str) -> None:
    assert candidates(number) == []


def test_a_post_office_without_a_row_is_still_international_post() -> None:
    assert [guess.carrier for guess in candidates("RR123456785GA")] == ["GJYZ"]
    assert [guess.carrier for guess in candidates("EE123456785GA")] == ["EMSGJ"]


@pytest.mark.parametrize(
    ("check", "serial", "digit"),
    [
        (waybills._luhn, "7992739871", "3"),
        (waybills._gs1, "400638133393", "1"),
        (waybills._s10, "47312482", "9"),
        (waybills._mod_7, "331881002", "5"),
    ],
)
def test_the_check_rules_agree_with_published_examples(check, serial: str, digit: str) -> None:
    assert check(serial) == digit


def test_every_form_and_post_office_names_a_listed_carrier() -> None:
    for guess in (form.guess for form in waybills._forms()):
        assert (listed := carrier(guess.carrier)) is not None
        assert listed.code == guess.carrier
        assert 0 < guess.confidence < 1
    _, countries, posts = waybills._s10_form()
    assert {code[:2] for code in posts} <= countries
    for key in posts.values():
        assert (post := carrier(key)) is not None
        assert post.seventeentrack == key


@pytest.mark.parametrize("form", PUBLISHED, ids=[form["name"] for form in PUBLISHED])
def test_published_numbers_are_recognised_and_wrong_ones_are_not_proved(form: dict[str, Any]) -> None:
    for number in form["valid"]:
        guesses = candidates(number)
        mine = [one for one in guesses if form["carrier"] in {one.carrier, "s10"}]
        assert mine, number
        assert any(one.proved for one in mine) or not form["proved"], number
    for number in form["invalid"]:
        wrong = [
            one for one in candidates(number) if one.carrier == form["carrier"] and one.confidence >= waybills.SURE
        ]
        assert not wrong, number
        assert not (form["proved"] and any(one.proved and one.carrier == form["carrier"] for one in candidates(number)))


CHECK_FORMS = [
    ("UPS", "1Z", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 15, "ups"),
    ("USPS", "94", "0123456789", 19, "gs1"),
    ("DPD", "", "0123456789", 27, "mod_37_36"),
    ("CANADAPOST", "", "0123456789", 15, "gs1"),
    ("DHL", "", "0123456789", 9, "mod_7"),
    ("FEDEX_GJ", "", "0123456789", 11, "fedex_12"),
]


@settings(deadline=None)
@given(st.sampled_from(CHECK_FORMS), st.data())
def test_any_number_with_its_check_digit_is_proved_and_with_another_is_not(form: Any, data: st.DataObject) -> None:
    carrier_code, prefix, alphabet, length, check = form
    serial = data.draw(st.text(alphabet, min_size=length, max_size=length))
    counted = prefix + serial if check == "gs1" and prefix else serial
    digit = waybills._CHECKS[check](counted)
    other = data.draw(st.sampled_from([one for one in "0123456789" if one != digit]))
    right, wrong = candidates(prefix + serial + digit), candidates(prefix + serial + other)
    assert any(one.carrier == carrier_code and one.proved for one in right)
    pattern = [one.guess.why for one in waybills._forms() if one.check == check and one.guess.carrier == carrier_code]
    assert not any(one.carrier == carrier_code and one.proved and one.why in pattern for one in wrong)


@settings(deadline=None)
@given(st.text() | st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ -", max_size=45))
def test_the_same_number_always_gives_the_same_candidates(number: str) -> None:
    assert candidates(number) == candidates(number) == candidates(normalise(number))


def test_a_number_that_only_looks_like_a_carriers_is_not_proved() -> None:
    assert [one.proved for one in candidates("SF1234567890123")] == [False]
    assert candidates("1Z999AA10123456784")[0].proved
    assert candidates("RR123456785CN")[0].proved


def test_one_number_has_one_spelling() -> None:
    for spelt in (
        "SF1234567890123",
        " sf 1234-5678-90123\n",
        "ＳＦ１２３４５６７８９０１２３",
        "SF\u20111234567890123\u200b",
    ):
        assert normalise(spelt) == "SF1234567890123"
    assert normalise("007") == "007"
    for spelt in ("JDVB01234567890-1-2-", "jdvb01234567890-1-2", " JDVB01234567890-12-12- ", "ＪＤVB01234567890"):
        assert normalise(spelt) == "JDVB01234567890"
    assert normalise("JD01-2345-6789-0123") == "JD01234567890123"


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing(number: str) -> None:
    assert normalise(normalise(number)) == normalise(number)


@settings(deadline=None)
@given(
    st.text() | st.text("0123456789", max_size=36) | st.from_regex(r"[A-Z]{1,3}[0-9]{8,20}[A-Z]{0,2}", fullmatch=True)
)
def test_any_text_gives_a_ranked_list(number: str) -> None:
    guesses = candidates(number)
    assert [guess.confidence for guess in guesses] == sorted((guess.confidence for guess in guesses), reverse=True)
    assert len({guess.carrier for guess in guesses}) == len(guesses)
    assert all(guess.why for guess in guesses)
