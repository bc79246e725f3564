"""What a message names: order numbers, waybills, phone numbers and amounts of money."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rmabridge.model import Money
from rmabridge.wire import amounts, waybills

from .words import fold

_SIGNS: Final = {"$": "USD", "us$": "USD", "usd": "USD", "£": "GBP", "gbp": "GBP", "€": "EUR", "eur": "EUR"}
_SIGNS_HERE: Final = {"nt$": "TWD", "ntd": "TWD", "twd": "TWD", "hk$": "HKD", "hkd": "HKD", "¥": "CNY", "rmb": "CNY"}
_NUMBER: Final = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,2})?|[0-9]{1,9}(?:\.[0-9]{1,2})?"
_BEFORE: Final = re.compile(
    rf"(?P<sign>nt\$|hk\$|us\$|[$£€¥]|\b(?:usd|gbp|eur|ntd|twd|hkd|rmb|cny) ?) ?(?P<number>{_NUMBER})(?![0-9])",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(
    rf"(?<![0-9A-Za-z.#-])(?P<number>{_NUMBER}) ?"
    r"(?P<sign>元|块钱|塊錢|块(?!头)|塊|人民币|人民幣|台币|台幣|港币|港幣|港元|usd|gbp|eur|dollars?|bucks|pounds|quid|euros?)",
    re.IGNORECASE,
)
_UNITS: Final = {"dollar": "USD", "dollars": "USD", "bucks": "USD", "pounds": "GBP", "quid": "GBP", "euro": "EUR"}
_UNITS_HERE: Final = {"euros": "EUR", "台币": "TWD", "台幣": "TWD", "港币": "HKD", "港幣": "HKD", "港元": "HKD"}
_CURRENCIES: Final = _SIGNS | _SIGNS_HERE | _UNITS | _UNITS_HERE | {"cny": "CNY", "人民币": "CNY", "人民幣": "CNY"}
_DIGIT: Final = re.compile(r"[0-9]")
_PHONE: Final = re.compile(
    r"(?<![0-9A-Za-z#-])(?:(?:\+86[ -]?)?1[3-9][0-9]{9}|09[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}"
    r"|\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{2,4}\)?){2,4}|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}"
    r"|0[0-9]{2,4}[ -][0-9]{6,8})(?![0-9A-Za-z])"
)
_TOKEN: Final = re.compile(r"(?<![0-9A-Za-z#-])(?<![0-9][.,])#?[A-Za-z]{0,5}[0-9][0-9A-Za-z-]{3,33}(?![0-9A-Za-z])")
_CALLED: Final = re.compile(
    r"(?:(?P<way>运单|運單|物流单|物流單|快递单|快遞單|托运单|追蹤|追踪|tracking|waybill|parcel)|订单|訂單|order|单号|單號)"
    r"[^0-9A-Za-z]{0,3}(?:号|號|編號|编号|number|no\.?|id|is|:|：|#|,| )*$",
    re.IGNORECASE,
)
# What each has in it, wherever it stands: without that, the slower form needs no try.
_HINTS: Final = {
    _BEFORE: re.compile("[$£€¥dDpPrRbByY] {0,2}[0-9]"),
    _AFTER: re.compile("[0-9] ?[元块塊人台港uUgGeEdDbBpPqQ]"),
    _PHONE: re.compile(r"[0-9](?:[ .()-]{0,3}[0-9]){4}"),
    _TOKEN: re.compile("[0-9][0-9A-Za-z-]{3}"),
}
# A number of the international post counts even where the buyer mistyped its check digit.
_POST: Final = re.compile(r"[A-Za-z]{2}[0-9]{9}[A-Za-z]{2}")
_LIKELY: Final = 0.6


@dataclass(frozen=True, slots=True)
class Entities:
    """What a message names. Amounts without a currency of their own are in the language's (yuan, dollars)."""

    order_numbers: tuple[str, ...] = ()
    waybills: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    amounts: tuple[Money, ...] = ()


_NOTHING: Final = Entities()


def entities(short: str, spelled: str, language: str) -> Entities:
    """The numbers in a text, each as what it most likely is; one without digits, as it is spelled, has none."""
    if not _DIGIT.search(spelled):
        return _NOTHING
    plain = fold(short)
    money, plain = _cut(plain, _BEFORE, _AFTER)
    phones, plain = _cut(plain, _PHONE)
    orders, parcels = _numbers(plain)
    return Entities(
        order_numbers=_once(orders),
        waybills=_once(waybills.normalise(one) for one in parcels),
        phones=_once(found[0].strip() for found in phones),
        amounts=tuple(dict.fromkeys(_money(money, language))),
    )


def _once(found: Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))


def _cut(text: str, *forms: re.Pattern[str]) -> tuple[list[re.Match[str]], str]:
    """The matches of the forms, and the text with blanks in their places."""
    found: list[re.Match[str]] = []
    for form in forms:
        if _HINTS[form].search(text) and (more := [*form.finditer(text)]):
            found += more
            text = form.sub(lambda match: " " * len(match[0]), text)
    return sorted(found, key=lambda match: match.start()), text


def _money(found: list[re.Match[str]], language: str) -> Iterator[Money]:
    home = {"zh-Hant": "TWD", "zh-Hans": "CNY"}.get(language, "USD")
    for match in found:
        currency = _CURRENCIES.get(match["sign"].strip().lower(), home)
        if amount := amounts.maybe_major(match["number"], currency):
            yield amount


def _numbers(text: str) -> tuple[list[str], list[str]]:
    """Order numbers and waybills: by what the text calls them, else by their form."""
    orders, parcels = [], []
    for match in _TOKEN.finditer(text) if _HINTS[_TOKEN].search(text) else ():
        number = match[0].rstrip("-")
        called = _CALLED.search(text[max(0, match.start() - 24) : match.start()])
        if _parcel(number, called):
            parcels.append(number)
        elif number.startswith("#") or called or sum(char.isdigit() for char in number) >= 8:
            orders.append(number)
    return orders, parcels


def _parcel(number: str, called: re.Match[str] | None) -> bool:
    if number.startswith("#") or "-" in number:
        return False
    if called and called["way"]:
        return True
    if called and called[0][0] in "订訂oO":
        return False
    if number.isdigit():
        return False
    guesses = waybills.candidates(number)
    return bool(_POST.fullmatch(number)) or (bool(guesses) and guesses[0].confidence >= _LIKELY)
