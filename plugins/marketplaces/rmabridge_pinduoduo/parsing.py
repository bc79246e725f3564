"""Requests and orders as events, under the same keys whichever way they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from rmabridge.model import (
    Buyer,
    CaseRequested,
    Event,
    EvidenceAdded,
    EvidenceKind,
    Issue,
    Line,
    Money,
    Noted,
    OrderSeen,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.signing import digest_hex

from .orders import back, buyer, order, outward
from .terms import OPEN, Unit, amount, code, issue, kind, moment, number, pieces, request_of, status, table, yuan

_PLATFORM: Final = "8"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads Pinduoduo's objects; ``unit`` is what amounts of the detail are counted in."""

    locale: str | None = None
    own: Mapping[str, Issue] = field(default_factory=dict)
    unit: Unit = "fen"
    carriers: Mapping[str, str] = field(default_factory=dict)

    def events(self, body: dict[str, Any], at: datetime) -> Iterator[Event]:
        """What a listed request with its detail tells; ``at`` counts where it carries no time of its own."""
        found = body.get("refund"), body.get("detail")
        listed, detail = (one if isinstance(one, dict) else {} for one in found)
        if request_of(listed):
            yield from self.request(listed, detail, at)

    def request(
        self, listed: dict[str, Any], detail: dict[str, Any], at: datetime, *, opens: bool = True
    ) -> Iterator[Event]:
        """A request as Pinduoduo shows it now; an ended one opens no case."""
        # Times are whole seconds, and a fast refund passes several statuses in one: the further one is the later.
        further = timedelta(microseconds=int(_state(listed, detail) or 0))
        seen, refs = _seen(listed, detail), _refs(listed)
        when, now, platform = (seen or at) + further, status(detail) or status(listed), _platform(listed, detail)
        if opens and (now in OPEN or platform):
            asked = moment(listed, "created_time") or seen or at
            yield self._requested(listed, detail, refs, seen or at)
            yield from self._pictures(listed, detail, refs, asked)
        if now:
            yield self._changed(listed, detail, refs, when, now, seen)
        yield from self._returned(listed, detail, refs, when)
        yield from self._money(listed, detail, refs, when)
        if platform:
            yield Noted(key=f"{_key(listed)}:platform", at=when, refs=refs, text="平台介入", by="pinduoduo")

    def asked(self, listed: dict[str, Any], detail: dict[str, Any]) -> Money | None:
        """How much the buyer asks for: the list says yuan, the detail does not say what it counts in."""
        return yuan(listed.get("refund_amount")) or amount(detail.get("refund_amount"), self.unit)

    def _requested(
        self, listed: dict[str, Any], detail: dict[str, Any], refs: tuple[Ref, ...], at: datetime
    ) -> CaseRequested:
        reason = text(detail.get("after_sales_reason")) or text(listed.get("after_sale_reason"))
        note, sku = text(detail.get("remark")), code(listed.get("sku_id")) or code(detail.get("sku_id"))
        line = Line(
            id=f"{sku}",
            order_line=sku,
            sku=text(listed.get("outer_id")),
            quantity=pieces(listed.get("goods_number") or detail.get("goods_number")),
            reason=reason,
            note=note,
        )
        return CaseRequested(
            key=f"{_key(listed)}:requested",
            at=moment(listed, "created_time") or moment(detail, "recreated_at") or at,
            refs=refs,
            kind=kind(listed, detail),
            issue=issue(reason, self.own),
            reason=reason,
            note=note,
            lines=(line,) if sku else (),
            amount=self.asked(listed, detail),
            buyer=Buyer(locale=self.locale),
        )

    def _pictures(
        self, listed: dict[str, Any], detail: dict[str, Any], refs: tuple[Ref, ...], at: datetime
    ) -> Iterator[EvidenceAdded]:
        """The buyer's pictures, each once wherever it stands in the list."""
        shown = detail.get("images")
        urls = [one for one in shown if isinstance(one, str) and one] if isinstance(shown, list) else []
        for url in dict.fromkeys(urls):
            name = digest_hex(url.encode("utf-8", "replace"))[:16]
            yield EvidenceAdded(
                key=f"{_key(listed)}:picture:{name}",
                at=at,
                refs=refs,
                evidence=f"{code(listed.get('id'))}-{name}",
                kind=EvidenceKind.PHOTO,
                url=url,
            )

    def _changed(
        self,
        listed: dict[str, Any],
        detail: dict[str, Any],
        refs: tuple[Ref, ...],
        when: datetime,
        now: RequestStatus,
        seen: datetime | None,
    ) -> RequestChanged:
        """Where the request stands, and until when the seller must act."""
        told = _state(listed, detail)
        return RequestChanged(
            key=f"{_key(listed)}:{told}:{seen.isoformat() if seen else ''}",
            at=when,
            refs=refs,
            status=now,
            reason=table("endings").get(told),
            amount=self.asked(listed, detail),
            due_at=moment(detail, "expire_time") if now in OPEN else None,
        )

    def _returned(
        self, listed: dict[str, Any], detail: dict[str, Any], refs: tuple[Ref, ...], when: datetime
    ) -> Iterator[ParcelSeen]:
        """The buyer sent the goods back."""
        if made := back(detail):
            waybill = Ref(kind=RefKind.WAYBILL, value=made.waybill)
            key = f"{_key(listed)}:parcel:{made.waybill}"
            yield ParcelSeen(key=key, at=when, refs=(*refs, waybill), parcel=made)

    def _money(
        self, listed: dict[str, Any], detail: dict[str, Any], refs: tuple[Ref, ...], when: datetime
    ) -> Iterator[RefundSeen]:
        """Money is on its way, or there."""
        told = _state(listed, detail)
        if found := table("refunds").get(told):
            id_ = code(listed.get("id"))
            yield RefundSeen(
                key=f"{_key(listed)}:money:{told}",
                at=when,
                refs=(*refs, Ref(kind=RefKind.REFUND, value=id_)),
                refund=id_,
                amount=self.asked(listed, detail),
                status=RefundStatus(found),
            )

    def order(self, node: Any, key: str, at: datetime) -> OrderSeen | None:
        """The order as it is now, with its parcel."""
        if not (id_ := number(dig(node, "order_sn"))):
            return None
        made = outward(node, self.carriers)
        return OrderSeen(
            key=key,
            at=moment(node, "updated_at", "created_time") or at,
            refs=(Ref(kind=RefKind.ORDER, value=id_),),
            order=order(id_, node),
            buyer=buyer(node, self.locale),
            parcels=(made,) if made else (),
        )


def _seen(listed: dict[str, Any], detail: dict[str, Any]) -> datetime | None:
    """When the request was changed last: whichever of the two was read later knows better."""
    return max((at for one in (listed, detail) if (at := moment(one, "updated_time"))), default=None)


def _key(listed: dict[str, Any]) -> str:
    return f"refund:{code(listed.get('id'))}"


def _refs(listed: dict[str, Any]) -> tuple[Ref, ...]:
    """The request's name, then the order's."""
    return (
        Ref(kind=RefKind.RETURN, value=request_of(listed) or ""),
        Ref(kind=RefKind.ORDER, value=str(listed["order_sn"])),
    )


def _state(listed: dict[str, Any], detail: dict[str, Any]) -> str:
    """The status, as a short code."""
    return (code(detail.get("after_sales_status")) or code(listed.get("after_sales_status")))[:3]


def _platform(*nodes: dict[str, Any]) -> bool:
    """Whether Pinduoduo's own people look into it."""
    return any(code(one.get("after_sales_status")) == _PLATFORM or code(one.get("join_or_not")) == "1" for one in nodes)
