"""Write ``src/rmabridge/wire/data/carriers.csv`` from the public lists: ``python docs/carriers_build.py FOLDER``.

FOLDER holds ``kdniao_shipper_codes.csv`` and ``kuaidi100_codes.csv`` (columns code, name_zh, name_en, other_names and
sources) and ``checkout_orders_v2.json`` of paypal/paypal-rest-api-specifications. ``carriers_hand.csv`` beside this
file says by hand what belongs together, ``carriers_build.toml`` how PayPal's codes are read. Which list is taken
under which licence says ``src/rmabridge/wire/data/README.md``.
"""

# ruff: noqa: INP001 - a script beside the documents, no package

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Final

from rmabridge.wire.carrierlists import merged
from rmabridge.wire.carriers import COLUMNS, VENDORS, Carrier, parsed

HERE: Final = Path(__file__).resolve().parent
TARGET: Final = HERE.parent / "src" / "rmabridge" / "wire" / "data" / "carriers.csv"

# Only the sources whose licence allows it: both Apache-2.0. A row that names neither stays out.
ALLOWED: Final = frozenset({"misu99/kdniao", "RiverDanceGit/kdniaoGo"})

RULES: Final = tomllib.loads((HERE / "carriers_build.toml").read_text("utf-8"))
WAYS: Final = re.compile(f"(_({'|'.join(RULES['ways'].split())}))+$")
LEFT_OUT: Final = frozenset(RULES["left_out"].split())
WORDS: Final = frozenset(RULES["words"].split())
COUNTRIES: Final[dict[str, str]] = {one: one for one in RULES["countries"].split()} | RULES["spellings"]

Row = dict[str, str]


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _latin(name: str) -> str:
    """The English name within a Chinese one: 加拿大(Canada Post)."""
    inside = re.search(r"[(（]\s*([A-Z][A-Za-z&.'’\- ]{5,})\s*[)）]", name)
    alone = name if name.isascii() else ""
    return (inside[1].strip() if inside else "") or alone


def kdniao(rows: list[Row]) -> list[Carrier]:
    """Kdniao's list, without what only an unlicensed source has."""
    made = []
    for row in rows:
        sources = set(row["sources"].split(";"))
        if sources & ALLOWED and not row["code"].endswith("_Crack"):
            also = row["other_names"] if sources <= ALLOWED else ""
            made.append(_entry(row, "kdniao", also))
    return made


def kuaidi100(rows: list[Row]) -> list[Carrier]:
    """Kuaidi100's list."""
    return [_entry(row, "kuaidi100", row["other_names"]) for row in rows]


def _entry(row: Row, vendor: str, also: str) -> Carrier:
    name, english = row["name_zh"].strip(), row["name_en"].strip() or _latin(row["name_zh"])
    chinese = "" if name.isascii() else name
    return Carrier(row["code"], english, chinese, also=also.strip())._replace(**{vendor: row["code"]})


def paypal(codes: list[str]) -> list[Carrier]:
    """PayPal's codes, which carry no names: a name is made from the code."""
    made: dict[str, Carrier] = {}
    for code in sorted(codes, key=lambda one: (len(one), one)):
        plain = WAYS.sub("", code.strip("_"))
        if plain not in LEFT_OUT and code not in LEFT_OUT and plain not in made:
            name, country = _named(plain)
            made[plain] = Carrier(plain.lower(), name, "", paypal=code, country=country)
    return list(made.values())


def _named(code: str) -> tuple[str, str]:
    words = code.split("_")
    country = ""
    if len(words) > 1 and words[0] in COUNTRIES:
        country = COUNTRIES[words[0]]
        words = [*words[1:], words[0]] if len("".join(words[1:])) < 5 else words[1:]
    elif len(words) > 1 and words[-1] in COUNTRIES:
        country = COUNTRIES[words[-1]]
    return " ".join(word if len(word) < 4 and word not in WORDS else word.capitalize() for word in words), country


def build(folder: Path) -> list[Carrier]:
    """All lists as one, the hand-made rows first."""
    codes = json.loads((folder / "checkout_orders_v2.json").read_text("utf-8"))
    enum = codes["components"]["schemas"]["shipment_carrier"]["enum"]
    rows = list(parsed((HERE / "carriers_hand.csv").read_text("utf-8").splitlines()))
    for more in (
        kdniao(_read(folder / "kdniao_shipper_codes.csv")),
        kuaidi100(_read(folder / "kuaidi100_codes.csv")),
        paypal(enum),
    ):
        rows = merged(rows, more)
    return rows


if __name__ == "__main__":
    lists = build(Path(sys.argv[1]))
    with TARGET.open("w", encoding="utf-8", newline="") as out:
        filled = [name for name in COLUMNS if any(getattr(one, name) for one in lists)]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([filled, *([getattr(one, name) for name in filled] for one in lists)])
    told = {vendor: sum(bool(getattr(one, vendor)) for one in lists) for vendor in VENDORS}
    sys.stdout.write(f"{len(lists)} carriers; {told}\n")
