"""From a document to events: expressions for each field, checked when the configuration is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from rmabridge.errors import Malformed
from rmabridge.model import (
    EVENTS,
    CaseRequested,
    ClaimSeen,
    Classified,
    CoverageSeen,
    Delivered,
    Event,
    EvidenceAdded,
    IdentityChecked,
    MessageReceived,
    Noted,
    OrderSeen,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    RemedyAccepted,
    RemedyDeclined,
    RequestChanged,
    TicketSeen,
)
from rmabridge.wire.amounts import major, minor
from rmabridge.wire.times import maybe_instant
from rmabridge.wire.waybills import normalise

from .bodies import plain
from .queries import Query, framed, named

# What a system of the shop's may tell; what the bridge does and was told to do is not for others to tell.
TYPES: dict[str, type[BaseModel]] = {
    "case.classified": Classified,
    "case.requested": CaseRequested,
    "claim.seen": ClaimSeen,
    "coverage.seen": CoverageSeen,
    "evidence.added": EvidenceAdded,
    "identity.checked": IdentityChecked,
    "message.delivered": Delivered,
    "message.received": MessageReceived,
    "noted": Noted,
    "order.seen": OrderSeen,
    "parcel.seen": ParcelSeen,
    "refund.seen": RefundSeen,
    "remedy.accepted": RemedyAccepted,
    "remedy.declined": RemedyDeclined,
    "request.changed": RequestChanged,
    "ticket.seen": TicketSeen,
}
TIMES = frozenset({"at", "cancelled_at", "delivered_at", "due_at", "eta", "placed_at", "shipped_at"})
OWN = frozenset({"at", "key", "refs", "schema", "schema_", "type"})


def _listed(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


class Rule(BaseModel):
    """One kind of event: when it is in a body, where, and what its fields are.

    Expressions look at the body (one that is no object is ``value``). With ``each`` they look at one item of
    the list, and the whole body is ``_.body``. Headers that the account keeps are ``_.headers.x_name``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    type: Literal[
        "case.classified",
        "case.requested",
        "claim.seen",
        "coverage.seen",
        "evidence.added",
        "identity.checked",
        "message.delivered",
        "message.received",
        "noted",
        "order.seen",
        "parcel.seen",
        "refund.seen",
        "remedy.accepted",
        "remedy.declined",
        "request.changed",
        "ticket.seen",
    ]
    when: Query | None = Field(None, description="the event is there where this is truthy")
    each: Query | None = Field(None, description="a list in the body, of which every item is an event")
    key: Annotated[tuple[Query, ...], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description="what stays the same when the same fact comes again; include the state of what changes"
    )
    at: Query | None = Field(None, description="when it happened; left out, when it came in")
    zone: str | None = Field(None, description="time zone of times without offset, e.g. 'Asia/Shanghai'")
    refs: dict[RefKind, Query] = Field(default_factory=dict, description="the names by which the case is found")
    fields: dict[str, Query] = Field(default_factory=dict, alias="set", description="dotted field = expression")
    words: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="dotted field = table from their words to ours; '*' for all others"
    )
    minor: bool = Field(False, description="amounts are in fen or cents")

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for path in self.fields:
            if path.partition(".")[0] in OWN or not _reaches(TYPES[self.type], path):
                raise ValueError(f"set: {path!r} is no field of {self.type}")
        if unused := set(self.words) - set(self.fields):
            raise ValueError(f"words: {min(unused)!r} is not in set")
        return self

    def events(self, body: Any, headers: Mapping[str, str], received: datetime) -> Iterator[Event]:
        """The events of this kind in the body."""
        for root in self._roots(body, headers):
            if self.when is None or self.when.true(root):
                yield self._event(root, received)

    def _roots(self, body: Any, headers: Mapping[str, str]) -> Iterator[Any]:
        if self.each is None:
            yield framed(body, headers)
            return
        found = self.each.search(body)
        for item in found if isinstance(found, list) else [] if found is None else [found]:
            yield framed(item, headers, body)

    def _event(self, root: Any, received: datetime) -> Event:
        at = self._at(root, received)
        made: dict[str, Any] = {"type": self.type, "key": self._key(root), "at": at, "refs": self._refs(root)}
        for path, query in self.fields.items():
            if (value := self._worded(path, query.search(root))) is not None:
                _put(made, path.split("."), self._shaped(path, value))
        self._complete(made)
        try:
            return EVENTS.validate_python(made)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"][1:])
            raise self._wrong(where, first["msg"]) from error

    def _key(self, root: Any) -> str:
        parts = [query.name(root) or "" for query in self.key]
        if not all(parts):
            raise self._wrong("key", "nothing there")
        # Two kinds of event may be in one body under one id.
        return ":".join([self.type, *parts])

    def _at(self, root: Any, received: datetime) -> datetime:
        if self.at is None:
            return received
        at = maybe_instant(self.at.search(root), self.zone)
        if at is None:
            raise self._wrong("at", "not a time, or one without offset and zone")
        return at

    def _refs(self, root: Any) -> list[Ref]:
        found = ((kind, named(value)) for kind, query in self.refs.items() for value in _listed(query.search(root)))
        return [
            Ref(kind=kind, value=normalise(name) if kind is RefKind.WAYBILL else name) for kind, name in found if name
        ]

    def _worded(self, path: str, value: Any) -> Any:
        if value is None or path not in self.words:
            return value
        table = self.words[path]
        return table.get(plain(value), table.get("*", value))

    def _shaped(self, path: str, value: Any) -> Any:
        """Values as events want them: money and times as such, numbers as text (ids are text; counts read it)."""
        name = path.rpartition(".")[2]
        if isinstance(value, dict):
            return {step: self._shaped(f"{path}.{step}", one) for step, one in value.items()}
        if isinstance(value, list):
            return [self._shaped(path, one) for one in value]
        if name in TIMES:
            if value and (at := maybe_instant(value, self.zone)) is None:
                raise self._wrong(path, "not a time, or one without offset and zone")
            return at if value else None
        if isinstance(value, Decimal):
            return f"{value:f}"
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def _complete(self, made: dict[str, Any]) -> None:
        """What follows from the rest."""
        message, parcel = made.get("message"), made.get("parcel")
        if isinstance(message, dict):
            given = {name: value for name, value in message.items() if value is not None}
            made["message"] = {"id": made["key"], "author": "buyer", "form": "thread", "at": made["at"]} | given
        for one in (parcel, made):
            if isinstance(one, dict) and isinstance(one.get("waybill"), str):
                one["waybill"] = normalise(one["waybill"])
        if made["type"] == "evidence.added":
            made.setdefault("evidence", made["key"])
        self._money(made, "")

    def _money(self, value: Any, path: str) -> None:
        """Turn every ``{amount, currency}`` into money; one without an amount is none."""
        steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, one in list(steps):
            if isinstance(one, dict) and one.keys() <= {"amount", "currency"} and "currency" in one:
                value[step] = self._amount(one, f"{path}{step}")
            elif isinstance(one, dict | list):
                self._money(one, f"{path}{step}.")

    def _amount(self, given: dict[str, Any], path: str) -> Any:
        if given.get("amount") in (None, ""):
            return None
        try:
            return (minor if self.minor else major)(given["amount"], str(given["currency"]))
        except (ValueError, ArithmeticError) as error:
            raise self._wrong(path, "not an amount of money") from error

    def _wrong(self, where: str, reason: str) -> Malformed:
        return Malformed(f"{self.type}: {where}: {reason}")


def _put(target: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = target.setdefault(step, {})
        if not isinstance(inner, dict):
            raise Malformed(f"{'.'.join(steps)}: {step} is already a value")
        target = inner
    target[steps[-1]] = value


def _reaches(model: Any, path: str) -> bool:
    """Whether the dotted path names a field of the model; below a free table everything does."""
    step, _, rest = path.partition(".")
    field = model.model_fields.get(step)
    if field is None or not rest:
        return field is not None
    if get_origin(field.annotation) is tuple:
        return False
    for one in (field.annotation, *get_args(field.annotation)):
        if get_origin(one) is dict:
            return True
        if isinstance(one, type) and issubclass(one, BaseModel):
            return _reaches(one, rest)
    return False
