"""Notifications: written in two spellings, bare in the queue or inside a message of SNS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rmabridge.wire.bodies import dig, read_object, text

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


def id_of(value: Any) -> str | None:
    """An id of Amazon's as text; None for what cannot be one."""
    told = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return told if _NAME.fullmatch(told) else None


def folded(value: Any) -> Any:
    """The value with all names in small letters; Amazon writes them in two spellings."""
    if isinstance(value, dict):
        return {str(name).lower(): folded(one) if isinstance(one, dict | list) else one for name, one in value.items()}
    return [folded(one) for one in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Note:
    """One notification; ``body`` has its names in small letters."""

    body: dict[str, Any]

    @property
    def _told(self) -> Any:
        return dig(self.body, "payload", "orderchangenotification")

    @property
    def _finished(self) -> Any:
        return dig(self.body, "payload", "reportprocessingfinishednotification")

    @property
    def id(self) -> str | None:
        """The notification's own id: the same whenever it comes again."""
        return id_of(dig(self.body, "notificationmetadata", "notificationid"))

    @property
    def at(self) -> str | None:
        """When it happened."""
        return text(self.body.get("eventtime"))

    @property
    def order(self) -> str | None:
        """The order's number."""
        return id_of(dig(self._told, "amazonorderid"))

    @property
    def summary(self) -> Any:
        """What the order looks like now."""
        return dig(self._told, "summary")

    @property
    def status(self) -> str:
        """Where the order stands."""
        return str(dig(self.summary, "orderstatus") or "").lower()

    @property
    def easy_ship(self) -> str:
        """Where a parcel that Amazon collects stands."""
        return str(dig(self.summary, "easyshipshipmentstatus") or "").lower()

    @property
    def to_cancel(self) -> tuple[dict[str, Any], ...]:
        """The lines that the buyer asks to cancel."""
        if str(dig(self._told, "orderchangetype")).lower() != "buyerrequestedchange":
            return ()
        return tuple(one for one in self._lines() if str(one.get("isbuyerrequestedcancel")).lower() == "true")

    def _lines(self) -> Iterator[dict[str, Any]]:
        listed = dig(self.summary, "orderitems")
        yield from (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()

    @property
    def matters(self) -> bool:
        """Whether it is a matter of after-sales."""
        return bool(self.to_cancel) or self.status == "canceled" or bool(self.easy_ship)

    @property
    def report(self) -> str | None:
        """The type of a report that is ready."""
        done = str(dig(self._finished, "processingstatus")).upper() == "DONE"
        return text(dig(self._finished, "reporttype")) if done else None

    @property
    def document(self) -> str | None:
        """Where the report that is ready can be read."""
        return text(dig(self._finished, "reportdocumentid"))

    def ours(self, seller: str, marketplace: str) -> bool:
        """Whether it concerns this seller in this marketplace, as far as it says."""
        whose = dig(self._told, "sellerid") or dig(self._finished, "sellerid")
        where = dig(self.summary, "marketplaceid")
        return whose in (None, seller) and where in (None, marketplace)


def read_note(raw: bytes) -> Note:
    """The notification of a message in the queue, or of one that SNS carried."""
    body = read_object(raw)
    inner = body.get("Message")
    if isinstance(inner, str) and "TopicArn" in body:
        body = read_object(inner.encode("utf-8", "replace"))
    return Note(folded(body))
