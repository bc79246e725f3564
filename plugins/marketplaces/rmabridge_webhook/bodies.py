"""What came in, seen as one document: JSON, a form, XML or a multipart form; and places where a value may stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, Literal

from pydantic import RootModel, field_validator

from rmabridge.abilities import WebRequest
from rmabridge.errors import Malformed
from rmabridge.wire.bodies import dig, dump_json, read_form, read_json, read_multipart, read_xml

Format = Literal["json", "form", "xml", "multipart"]
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_PLACE = re.compile(r"(?:(header|query|field):)?([^\s:#]+)(?:#([^\s#]+))?")
_TYPES: dict[str, Format] = {
    "": "json",
    "application/json": "json",
    "text/json": "json",
    "application/x-www-form-urlencoded": "form",
    "application/xml": "xml",
    "text/xml": "xml",
    "multipart/form-data": "multipart",
}


@lru_cache(maxsize=256)
def format_of(content_type: str) -> Format | None:
    """The format that a content type announces; none announced is JSON, an unknown one is None."""
    media = content_type.partition(";")[0].strip().lower()
    if media.endswith("+json"):
        return "json"
    return "xml" if media.endswith("+xml") else _TYPES.get(media)


def document(known: Format | None, content_type: str, raw: bytes) -> Any:
    """The body as one document; ``Malformed`` where it is not what it claims to be."""
    named = _CHARSET.search(content_type)
    charset = named[1] if named else None
    match known or format_of(content_type):
        case "json":
            return read_json(raw, charset or "utf-8")
        case "form":
            return read_form(raw, charset or "utf-8")
        case "xml":
            return read_xml(raw, charset)
        case "multipart":
            parts = read_multipart(raw, content_type)
            return {name: value for name, value in parts.items() if isinstance(value, str)}
        case _:
            raise Malformed("no format is known for this content type")


@dataclass
class Parts:
    """A request taken apart; headers and body are read only when somebody looks into them."""

    method: str
    path: str
    query: dict[str, str]
    given: Mapping[str, str]
    body: bytes
    known: Format | None = None

    @classmethod
    def of(cls, request: WebRequest, known: Format | None) -> Parts:
        """The parts of a request."""
        return cls(request.method, request.path, dict(request.query), request.headers, request.body, known)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers, their names in lower case."""
        return {name.lower(): value for name, value in self.given.items()}

    @cached_property
    def document(self) -> Any:
        """The body as one document."""
        return document(self.known, self.headers.get("content-type", ""), self.body)


class Place(RootModel[str]):
    """Where a value stands: ``X-Header``, ``query:name`` or ``field:path.in.body``.

    ``X-Header#v1`` means the item ``v1`` of a header written as ``t=1,v1=ab``.
    """

    @field_validator("root")
    @classmethod
    def _readable(cls, given: str) -> str:
        if not _PLACE.fullmatch(given):
            raise ValueError(f"{given!r} is not a place; write a header's name, 'query:NAME' or 'field:PATH'")
        return given

    @property
    def kind(self) -> str:
        """``header``, ``query`` or ``field``."""
        return self._part(1) or "header"

    @property
    def name(self) -> str:
        """The header's, parameter's or field's name."""
        return self._part(2)

    @property
    def plain(self) -> bool:
        """Whether a value can simply be put there."""
        return self.kind != "field" and not self._part(3)

    def find(self, parts: Parts) -> str | None:
        """The text that stands there, or None."""
        value = self._raw(parts)
        if value is None or not (item := self._part(3)):
            return value
        pairs = (one.strip().partition("=") for one in value.split(","))
        return next((given for name, _, given in pairs if name == item), None)

    def put(self, parts: Parts, value: str) -> None:
        """Write the text there."""
        target = parts.query if self.kind == "query" else parts.headers
        target[self.name if self.kind == "query" else self.name.lower()] = value

    def _raw(self, parts: Parts) -> str | None:
        if self.kind == "header":
            return parts.headers.get(self.name.lower())
        if self.kind == "query":
            return parts.query.get(self.name)
        found = dig(parts.document, *self.name.split("."))
        return None if found is None else plain(found)

    def _part(self, number: int) -> str:
        return _parts(self.root)[number - 1]


@lru_cache(maxsize=256)
def _parts(place: str) -> tuple[str, ...]:
    found = _PLACE.fullmatch(place)
    return tuple(one or "" for one in found.groups()) if found else ("", "", "")


def plain(value: Any) -> str:
    """A value as the text that a sender signs: JSON for what is no text."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"  # as it was written: 28.50 is not 28.5 to a signature
    return value if isinstance(value, str) else dump_json(value)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """All values as text."""
    return {str(name): plain(value) for name, value in values.items()}
