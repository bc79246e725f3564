"""Lists of carriers as their vendors hand them out: read from an operator's file, and merged into one table.

A list whose licence does not let it travel with the bridge is read from the operator's own copy of it:

- 17TRACK: https://res.17track.net/asset/carrier/info/apicarrier.all.json, or the ``.csv`` beside it
- Kuaidi100, Kdniao: the table of company codes from the vendor's console, saved as CSV

The column titles of the JSON are as public clients quote them; those of the tables are not verified, so several are
accepted for each column.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import tomli

from rmabridge.errors import ConfigError

from .carriers import VENDORS, Carrier, everyone, folded, parsed, replace

# What a column may be called, in any case and with any punctuation.
_TITLES: Final = {
    "code": ("key", "code", "carriercode", "shippercode", "公司编码", "快递公司编码", "快递公司编号", "编码", "编号"),
    "name_en": ("name", "carriername", "nameen", "英文名称"),
    "name_zh": ("namezhcn", "namezh", "公司名称", "快递公司名称", "快递公司", "名称"),
    "also": ("namezhhk",),
    "country": ("countryiso", "country"),
    "website": ("url", "homepage", "website", "网址", "官网"),
    "phone": ("tel", "phone", "电话", "客服电话"),
}
_SUFFIX: Final = re.compile(r"(?:express|logistics|couriers?|快递|速递|速运|物流)+$")
_SHORTEST: Final = 4

# Spreadsheet programs in China save CSV in GB 18030.
_ENCODINGS: Final = ("utf-8-sig", "gb18030")


@cache
def sources() -> tuple[dict[str, Any], ...]:
    """Where the shipped list comes from, as of when and under which licence; and what does not travel with it."""
    return tuple(tomli.loads((files(__package__) / "data" / "sources.toml").read_text("utf-8"))["list"])


def plain_name(name: str) -> str:
    """A folded name without 'Express', 快递 and the like at its end; empty where too little is left to go by."""
    plain = _SUFFIX.sub("", folded(name))
    return plain if len(plain) >= (_SHORTEST if plain.isascii() else 2) else ""


def use(lists: Mapping[str, Path]) -> int:
    """Answer from the shipped list and these files of vendors (or ``own``) from now on; returns how many carriers."""
    replace(None)
    known = list(everyone())
    for vendor, path in lists.items():
        known = merged(known, read(path, vendor))
    replace(known)
    return len(known)


def read(path: Path, vendor: str) -> list[Carrier]:
    """A vendor's list as the vendor hands it out; ``own`` is a table with the columns of the shipped one."""
    if vendor not in (*VENDORS, "own"):
        raise ConfigError(f"{vendor}: no such list of carriers; there are {', '.join(VENDORS)} and own")
    text = _text(path)
    if vendor == "own":
        made = [one for one in parsed(text.splitlines()) if one.code]
    else:
        rows = _json(path, text) if text.lstrip().startswith("[") else csv.DictReader(text.splitlines())
        made = [one for row in rows if (one := _carrier(row, vendor))]
    if not made:
        raise ConfigError(f"{path}: no carriers found; a list of {vendor} needs a column of codes and one of names")
    return made


def _text(path: Path) -> str:
    raw = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{path}: neither UTF-8 nor GB 18030; save it as CSV UTF-8")


def _json(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return (row for row in rows if isinstance(row, dict))


def _carrier(row: Mapping[str, Any], vendor: str) -> Carrier | None:
    cells = {folded(str(title)): str(cell).strip() for title, cell in row.items() if cell is not None}
    found = {name: next((cells[one] for one in titles if cells.get(one)), "") for name, titles in _TITLES.items()}
    if not found["code"] or not (found["name_en"] or found["name_zh"]):
        return None
    if found["name_zh"] == found["name_en"]:
        found["name_zh"] = ""
    found["country"] = found["country"].upper() if len(found["country"]) == 2 else ""
    return Carrier(**found)._replace(**{vendor: found["code"]})


def merged(known: Iterable[Carrier], more: Iterable[Carrier]) -> list[Carrier]:
    """One list of both: equal codes, then equal names, then names equal but for a suffix are one carrier.

    Every code of a vendor stands once. Carriers of two countries stay apart, and so does whatever is not clear.
    """
    table, left = list(known), _distinct(more)
    for matches in (_by_code, _by_name, _by_plain_name):
        left = _joined(table, left, matches(table, left))
    taken = {one.code for one in table}
    for one in left:
        table.append(one if one.code not in taken else one._replace(code=_free(one, taken)))
        taken.add(table[-1].code)
    return table


def _distinct(carriers: Iterable[Carrier]) -> list[Carrier]:
    """Each code of a vendor once; the first counts."""
    seen: set[tuple[str, str | None]] = set()
    kept = []
    for one in carriers:
        codes = {(vendor, getattr(one, vendor)) for vendor in _vendors(one)}
        if not codes & seen:
            kept.append(one)
            seen |= codes
    return kept


def _free(one: Carrier, taken: set[str]) -> str:
    vendor = _vendors(one)[0] if _vendors(one) else "own"
    wanted = f"{vendor}-{one.code}"
    return wanted if wanted not in taken else _free(one._replace(code=wanted), taken)


def _vendors(one: Carrier) -> list[str]:
    return [vendor for vendor in VENDORS if getattr(one, vendor)]


def _joined(table: list[Carrier], left: list[Carrier], places: list[int | None]) -> list[Carrier]:
    """Put each of the left into its place, where it may; what stays over is returned."""
    over = []
    for one, place in zip(left, places, strict=True):
        if place is not None and _may_be(table[place], one):
            table[place] = _both(table[place], one)
        else:
            over.append(one)
    return over


def _may_be(known: Carrier, one: Carrier) -> bool:
    """Whether they can be one carrier: a vendor says so, or none calls them differently and they are of one country."""
    pairs = [(getattr(known, vendor), getattr(one, vendor)) for vendor in _vendors(one)]
    if any(there == here for there, here in pairs):
        return True
    alike = not known.country or not one.country or known.country == one.country
    return alike and all(there is None for there, _ in pairs)


def _both(known: Carrier, one: Carrier) -> Carrier:
    facts = {name: getattr(known, name) or getattr(one, name) for name in known._fields}
    seen = {folded(facts["name_en"]), folded(facts["name_zh"])}
    also = {key: name for name in reversed((*known.names, *one.names)) if (key := folded(name)) not in seen}
    facts["also"] = ";".join(reversed(also.values()))
    return Carrier(**facts)


def _by_code(table: list[Carrier], left: list[Carrier]) -> list[int | None]:
    places = {
        (vendor, code): place
        for place, one in enumerate(table)
        for vendor in VENDORS
        if (code := getattr(one, vendor)) is not None
    }
    return [next((places.get((vendor, getattr(one, vendor))) for vendor in _vendors(one)), None) for one in left]


def _by_name(table: list[Carrier], left: list[Carrier]) -> list[int | None]:
    places: dict[str, int] = {}
    for place, one in enumerate(table):
        for name in one.names:
            places.setdefault(folded(name), place)
    return [next((places[key] for name in one.names if (key := folded(name)) in places), None) for one in left]


def _by_plain_name(table: list[Carrier], left: list[Carrier]) -> list[int | None]:
    """Only where the shortened name is one carrier's on either side."""
    there, here = _plain(table), _plain(left)
    met = Counter(key for keys in there for key in keys), Counter(key for keys in here for key in keys)
    places = {key: place for place, keys in enumerate(there) for key in keys if met[0][key] == 1}
    return [next((places[key] for key in sorted(keys) if key in places and met[1][key] == 1), None) for keys in here]


def _plain(carriers: list[Carrier]) -> list[set[str]]:
    return [{key for name in one.names if (key := plain_name(name))} for one in carriers]
