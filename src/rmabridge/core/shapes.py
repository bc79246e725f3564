"""What may be shown of a body or an event to anybody: its form, plain codes and times, and marks in place of names.

Nobody can say which text of a vendor holds a person's name. So this is no list of what is hidden but of what is shown:
truth values, small numbers, times, and the codes that stand under the names below. A text under the name of an id
becomes a keyed mark, so that equal ones are seen to be equal; every other text is three stars.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import from_json

from .masking import NAMES

Mark = Callable[[str], str]
HIDDEN: Final = "***"
DEPTH: Final = 24
_CODES: Final = re.compile(
    r"type|event|event_?type|topic|action|action_?type|status|state|outcome|kind|issue|form|author|audience|currency|remedy|"
    r"policy|play|rule|locale|language|media_?type|schema|version|method|format",
    re.IGNORECASE,
)
_IDS: Final = re.compile(
    r"key|value|waybill|order|return|request|refund|ticket|thread|claim|incident|digest|sku|code|.*(?:id|no|sn|number)",
    re.IGNORECASE,
)
_SUMS: Final = re.compile(r"amount|total|price|fee|quantity|refunded|paid|.*(?:amount|price|fee|count)", re.IGNORECASE)
_TIMES: Final = re.compile(r"(?!.*birth)(?:at|time|date|timestamp|.*(?:_at|time|date|At|Time|Date|stamp))")
_PERSONS: Final = re.compile(
    rf"(?:{NAMES})|who|to|by|ship_?to|bill_?to|consignee|customer|address(?:es)?|contact|.*(?:name|mail|phone|mobile|address)",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[._:/-][A-Za-z0-9]+){0,6}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?")
_SUM: Final = re.compile(r"-?\d{1,7}(?:\.\d{1,6})?")
_FIELD: Final = re.compile(r"[A-Za-z_@$][A-Za-z0-9_.@$-]{0,47}")
SMALL: Final = 1000


def shape(value: Any, mark: Mark, name: str = "", depth: int = DEPTH) -> Any:
    """What may be shown of a JSON-like value; ``name`` is the field that it stands in."""
    if depth <= 0:
        return HIDDEN
    if isinstance(value, Mapping):
        return {_field(str(key)): _inside(str(key), one, mark, depth) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shape(one, mark, name, depth - 1) for one in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, name, mark)
    return _text(str(value), name, mark)


def _field(name: str) -> str:
    return name if _FIELD.fullmatch(name) else HIDDEN


def _inside(name: str, value: Any, mark: Mark, depth: int) -> Any:
    if not _PERSONS.fullmatch(name):
        return shape(value, mark, name, depth - 1)
    if isinstance(value, Mapping) and (found := value.get("id")) is not None:
        return {"id": mark(str(found))}
    return None if value is None else HIDDEN


def _number(value: float, name: str, mark: Mark) -> Any:
    if abs(value) < SMALL and not isinstance(value, float):
        return value
    if _TIMES.fullmatch(name) or _SUMS.fullmatch(name):
        return value
    return mark(str(value)) if _IDS.fullmatch(name) else HIDDEN


def _text(text: str, name: str, mark: Mark) -> str:
    if not text or (_TIMES.fullmatch(name) and _TIME.fullmatch(text)):
        return text
    if _SUMS.fullmatch(name) and _SUM.fullmatch(text):
        return text
    if _CODES.fullmatch(name) and len(text) <= 64 and _CODE.fullmatch(text):
        return text
    return mark(text) if _IDS.fullmatch(name) else HIDDEN


def shape_of(body: bytes, mark: Mark) -> Any:
    """What may be shown of a webhook's body: its form where it is JSON, else only its length."""
    try:
        return shape(from_json(body), mark)
    except (ValueError, RecursionError):
        return {"bytes": len(body)}
