"""Reports of returns: tab-separated text, packed or not, one row for each line of a return."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

from rmabridge.abilities import Item
from rmabridge.errors import Malformed
from rmabridge.wire.bodies import dump_json

Row = dict[str, str]
MOST: Final = 64 << 20


def unpacked(content: bytes, algorithm: str | None) -> bytes:
    """The report's text; one that unpacks to more than 64 MB is refused."""
    if algorithm is None:
        return content
    if algorithm != "GZIP":
        raise Malformed(f"a report packed by {algorithm} cannot be read")
    opener = zlib.decompressobj(wbits=31)
    try:
        plain = opener.decompress(content, MOST)
    except zlib.error as error:
        raise Malformed("the report cannot be unpacked") from error
    if not opener.eof:
        raise Malformed("the report is cut off or too large")
    return plain


def table_of(content: bytes, named: str, fallback: str) -> list[Row]:
    """The rows by their headings, in small letters; in the charset that the answer names, UTF-8, or the fallback."""
    plain = _decoded(content, (named, "utf-8-sig", fallback))
    rows = csv.reader(io.StringIO(plain, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        head = [one.strip().lower() for one in next(rows, [])]
        return [dict(zip(head, (one.strip() for one in row), strict=False)) for row in rows if any(row)]
    except csv.Error as error:
        raise Malformed("the report is no table") from error


def _decoded(content: bytes, charsets: tuple[str, ...]) -> str:
    for one in charsets:
        try:
            return content.decode(codecs.lookup(one).name) if one else content.decode("utf-8-sig")
        except (LookupError, ValueError):
            continue
    return content.decode("utf-8", "replace")


def grouped(rows: list[Row], named: Callable[[Row], Row], at: str | None) -> Iterator[Item]:
    """One item for each return; ``named`` gives a row our own names."""
    returns: dict[tuple[str, str], list[Row]] = {}
    for row in map(named, rows):
        if row.get("order"):
            returns.setdefault((row["order"], row.get("rma", "")), []).append(row)
    for (order, rma), lines in returns.items():
        held: Any = dump_json(lines)
        mark = sha256(held.encode()).hexdigest()[:24]
        body = dump_json({"return": lines, "told_at": at})
        yield Item(body.encode(), f"return:{rma or order}:{mark}", order)
