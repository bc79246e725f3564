"""Calls by configuration: templates filled from an action, and expressions that read the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import httpx
import jmespath
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, model_validator

from rmabridge.abilities import Context, Finding, Result
from rmabridge.errors import Rejected, Unavailable
from rmabridge.model import Action
from rmabridge.wire.bodies import dig, dump_json, text
from rmabridge.wire.expressions import search

PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[a-z0-9_]+)*)\}")
# What a template may name beside the action's own fields.
LENT = frozenset({"key", "case", "account"})


class Query(RootModel[str]):
    """A JMESPath expression, compiled when the configuration is read."""

    _compiled: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _compile(self) -> Self:
        self._compiled = jmespath.compile(self.root)
        return self

    def search(self, data: Any) -> Any:
        """What the expression finds, or None."""
        return search(self._compiled, data)


class Lookup(BaseModel):
    """How to find out whether a call whose answer was lost did its work."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    path: str = Field(description="address below the account's url; may hold {placeholders}")
    found: Query = Field(description="expression that is truthy where the work was done")
    id: Query = Query("id")
    link: Query = Query("url")
    absent: frozenset[int] = Field(frozenset({404}), description="HTTP statuses that mean: not there")

    def finding(self, response: httpx.Response) -> Finding:
        """What the answer tells."""
        if response.status_code in self.absent:
            return Finding(False)
        response.raise_for_status()
        answer = read(response)
        if not self.found.search(answer):
            return Finding(False)
        return Finding(True, Result(id=text(self.id.search(answer)), url=text(self.link.search(answer))))


class Call(BaseModel):
    """One HTTP request, and how to read its answer; everything left out is the default call."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str = Field("", description="below the account's url, or a whole address; may hold {placeholders}")
    format: Literal["json", "form"] = Field("json", description="how the body is written; of a GET, the query")
    body: Any = Field(None, description="table or list whose texts may hold {placeholders}; none: the whole action")
    id: Query = Field(Query("id"), description="where the answer holds the id of what was made")
    link: Query = Field(Query("url"), description="where the answer holds the address that opens it")
    events: Query = Field(
        Query("events"), description="of a carrier: where the answer holds events, in the words of the bridge's own"
    )
    ok: Query | None = Field(None, description="expression that must be truthy, else the action counts as refused")
    error: Query | None = Field(None, description="expression that, where truthy, is the refusal's reason")
    busy: Query | None = Field(None, description="expression that, where truthy, means: try again later")
    repeatable: bool | None = Field(None, description="doing it twice does no harm: the receiver knows our key")
    remembers: timedelta | None = Field(None, description="how long the receiver knows our key")
    deadline: float | None = Field(None, gt=0, description="seconds for one try")
    find: Lookup | None = Field(None, description="how to look an uncertain call up")

    @model_validator(mode="after")
    def _flat(self) -> Self:
        if (self.format == "form" or self.method == "GET") and not isinstance(self.body, dict | None):
            raise ValueError("body: a form or a query is a table")
        return self

    def names(self) -> set[str]:
        """The placeholders used anywhere."""
        texts = [self.path, self.find.path if self.find else "", *_texts(self.body)]
        return {found[1].partition(".")[0] for one in texts for found in PLACEHOLDER.finditer(one)}

    def facts(self) -> dict[str, Any]:
        """What the configuration says of the handler."""
        facts = {"repeatable": self.repeatable, "remembers": self.remembers, "deadline": self.deadline}
        return {name: value for name, value in facts.items() if value is not None}

    def content(self, fields: Mapping[str, Any]) -> bytes:
        """The body to send."""
        filled = dict(fields) if self.body is None else fill(self.body, fields)
        if self.format == "json" and self.method != "GET":
            return dump_json(filled).encode()
        return urlencode({name: _plain(value) for name, value in filled.items()}).encode()

    def result(self, response: httpx.Response) -> Result:
        """What the answer tells; a refusal in it raises.

        An answer that cannot be read raises ``ValueError``: the work may have been done.
        """
        demanded = self.model_fields_set & {"id", "link", "ok", "error", "busy"}
        kind = response.headers.get("Content-Type", "")
        if not demanded and "json" not in kind and "html" not in kind:
            return Result()
        answer = read(response)
        self._judge(answer)
        made = text(self.id.search(answer))
        if made is None and "id" in demanded:
            raise ValueError(f"the answer names no {self.id.root}")
        return Result(id=made, url=text(self.link.search(answer)))

    def _judge(self, answer: Any) -> None:
        if self.busy and (reason := self.busy.search(answer)):
            raise Unavailable(_plain(reason))
        if self.error and (reason := self.error.search(answer)):
            raise Rejected(_plain(reason))
        if self.ok and not self.ok.search(answer):
            raise Rejected(f"the answer does not satisfy {self.ok.root}")


def read(response: httpx.Response) -> Any:
    """The answer's JSON with exact numbers; anything else raises ``ValueError``."""
    try:
        return json.loads(response.content, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("Content-Type", "no content type")
        raise ValueError(f"the answer ({kind}) is not JSON; is the address right?") from error


def fields_of(action: Action, ctx: Context) -> dict[str, Any]:
    """What templates may name: the action's fields, and what identifies the delivery."""
    lent = {"key": ctx.idempotency_key, "case": ctx.case, "account": ctx.account}
    return action.model_dump(mode="json", by_alias=True) | lent


def fill(template: Any, fields: Mapping[str, Any]) -> Any:
    """The template with its placeholders filled; a text that is one placeholder keeps the field's JSON type."""
    if isinstance(template, Mapping):
        return {name: fill(value, fields) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, fields) for value in template]
    if not isinstance(template, str):
        return template
    if whole := PLACEHOLDER.fullmatch(template):
        return dig(fields, *whole[1].split("."))
    return PLACEHOLDER.sub(lambda found: _plain(dig(fields, *found[1].split("."))), template)


def fill_path(path: str, fields: Mapping[str, Any]) -> str:
    """The path with its placeholders filled and quoted, so that no value leaves its place."""

    def one(found: re.Match[str]) -> str:
        value = _plain(dig(fields, *found[1].split(".")))
        if value in {"", ".", ".."}:
            raise Rejected(f"the address needs {found[1]}, and it is not known")
        return quote(value, safe="")

    return PLACEHOLDER.sub(one, path)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dump_json(value)


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping | list | tuple):
        for one in template.values() if isinstance(template, Mapping) else template:
            yield from _texts(one)
