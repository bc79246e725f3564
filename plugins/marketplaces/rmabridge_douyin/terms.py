"""Words and shapes of Doudian's: codes from ``terms.toml``, ids of nineteen digits, fen, times of Beijing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import tomli

from rmabridge.model import Issue, Money, RequestStatus
from rmabridge.wire.amounts import minor
from rmabridge.wire.bodies import dig, dump_json, text
from rmabridge.wire.ids import digits
from rmabridge.wire.times import CHINA, maybe_instant

YUAN: Final = "CNY"
OPEN: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED, RequestStatus.DECLINED})


@cache
def table(name: str) -> dict[str, Any]:
    """One table of the data file."""
    found: dict[str, Any] = tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))[name]
    return found


def code(value: Any) -> str:
    """A code as text, else nothing; it comes as a number or as digits."""
    return digits(value)


def number(*values: Any) -> str:
    """The first of these that is an id; zero names nothing."""
    for one in values:
        if (found := digits(one)).strip("0"):
            return found
    return ""


def fen(value: Any) -> Money | None:
    """An amount, which Doudian counts in fen wherever it stands."""
    found = digits(value)
    return minor(found, YUAN) if found else None


def pieces(value: Any) -> int:
    """A count of pieces."""
    found = number(value)
    return int(found) if found and len(found) < 7 else 1


def moment(node: Any, *names: str) -> datetime | None:
    """The latest of these times that the object carries: Unix seconds, or a text of Beijing's without a zone."""
    told = [node[name] for name in names if name in node] if isinstance(node, dict) else []
    return max((at for one in told if (at := maybe_instant(one, CHINA))), default=None)


def rows(node: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The objects of a list."""
    listed = dig(node, *path)
    yield from (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


@cache
def _shipped() -> dict[str, Issue]:
    return {phrase: Issue(name) for name, many in table("issues").items() for phrase in many}


def issue(reason: str | None, own: Mapping[str, Issue]) -> Issue | None:
    """What is wrong, by the words of the reason; the longest that is found counts, the operator's own first."""
    said = reason or ""
    for words in (own, _shipped()):
        if found := max((one for one in words if one and one in said), key=len, default=None):
            return words[found]
    return None


def canonical(value: Any) -> str:
    """JSON with the keys of all objects sorted: this very text is signed and sent."""
    return dump_json(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def plain(shown: Any) -> str | None:
    """A name without a mask; nobody is greeted as ``李**``."""
    name = text(shown)
    return name if name and "*" not in name else None
