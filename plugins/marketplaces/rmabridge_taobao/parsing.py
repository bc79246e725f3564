"""Refunds, their threads and trades as events, under the same keys whichever way they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from mimetypes import guess_type
from typing import Any, Final

from rmabridge.model import (
    Attachment,
    Author,
    Buyer,
    CaseRequested,
    Direction,
    Event,
    Form,
    Issue,
    Line,
    Message,
    MessageReceived,
    Noted,
    OrderSeen,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, read_object, text

from .orders import buyer, named, order, parcel, parcels, plain
from .terms import OPEN, OURS, issue, kind, moment, number, rows, status, table, whole, word, yuan

_STEPS: Final = (RequestStatus.REQUESTED, RequestStatus.DECLINED, RequestStatus.APPROVED)
_CHANGED_MIND: Final = "taobao_refund_RefundBuyerModifyAgreement"
_LONGEST_ENDING: Final = 12


def _further(now: RequestStatus | str | None) -> timedelta:
    """Times are whole seconds, and a refund may take several steps in one: the further one is the later."""
    return timedelta(microseconds=1 + (_STEPS.index(now) if now in _STEPS else len(_STEPS))) if now else timedelta()


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the objects of one shop; ``own`` are the operator's words for reasons."""

    locale: str | None = None
    own: Mapping[str, Issue] = field(default_factory=dict)

    def events(self, body: dict[str, Any], at: datetime) -> Iterator[Event]:
        """What a polled or listed thing tells; ``at`` counts where it carries no time of its own."""
        topic, held = text(dig(body, "message", "topic")) or "", body.get("refund")
        content = content_of(body.get("message"))
        if isinstance(held, dict) and number(held.get("refund_id")):
            yield from self.refund(held, at, topic=topic, bill=dig(content, "bill_type"))
            yield from self.thread(held, rows(body, "messages", "refund_message"))
        elif content:
            yield from self.told(topic, content, at)

    def refund(
        self, node: dict[str, Any], at: datetime, *, topic: str = "", bill: Any = None, opens: bool = True
    ) -> Iterator[Event]:
        """A refund as Taobao shows it now; an ended one opens no case."""
        now, refs = status(node), self.refs(node)
        when = (moment(node, "modified") or at) + _further(now)
        if opens and now in OPEN:
            yield self.requested(node, refs, at, topic, bill)
        if now:
            yield self.changed(node, refs, when, now)
        yield from self.returned(node, refs, when)
        yield from self.arbitrated(node, refs, when)
        if now is RequestStatus.CLOSED:
            yield self.paid(node, refs, when)

    def told(self, topic: str, content: dict[str, Any], at: datetime) -> Iterator[Event]:
        """What a message tells by itself."""
        now = table("topics").get(topic)
        if not number(content.get("refund_id")) or not now:
            return
        when, refs = (moment(content, "modified") or at) + _further(now), self.refs(content)
        if now == RequestStatus.REQUESTED:
            yield self.requested(content, refs, at, topic, content.get("bill_type"))
        yield self.changed(content, refs, when, RequestStatus(now))
        if now == RequestStatus.CLOSED:
            yield self.paid(content, refs, when)

    def refs(self, node: Any) -> tuple[Ref, ...]:
        """The refund's name, which is its thread's too, then the order's."""
        id_, tid = number(dig(node, "refund_id")) or "", number(dig(node, "tid"))
        named = (Ref(kind=RefKind.RETURN, value=id_), Ref(kind=RefKind.THREAD, value=id_))
        return (*named, Ref(kind=RefKind.ORDER, value=tid)) if tid else named

    def requested(
        self, node: dict[str, Any], refs: tuple[Ref, ...], at: datetime, topic: str, bill: Any
    ) -> CaseRequested:
        """A buyer asks; asking for something else on the same refund counts anew."""
        id_, again = number(node.get("refund_id")), moment(node, "modified") if topic == _CHANGED_MIND else None
        reason, note, sold = text(node.get("reason")), text(node.get("desc")), number(node.get("oid"))
        line = Line(
            id=f"{sold or id_}",
            order_line=sold,
            sku=text(node.get("outer_id")),
            quantity=whole(node.get("num")),
            reason=reason,
            note=note,
        )
        return CaseRequested(
            key=f"refund:{id_}:requested" + (f":{again.isoformat()}" if again else ""),
            at=again or moment(node, "created", "modified") or at,
            refs=refs,
            kind=kind(node, bill),
            issue=issue(reason, self.own),
            reason=reason,
            note=note,
            lines=(line,) if line.order_line else (),
            amount=yuan(node.get("refund_fee")),
            buyer=self.who(node),
        )

    def who(self, node: Any) -> Buyer:
        """The buyer, reached in the refund's thread."""
        id_ = number(dig(node, "refund_id"))
        return named(node, self.locale, thread=id_)

    def changed(
        self, node: dict[str, Any], refs: tuple[Ref, ...], when: datetime, now: RequestStatus
    ) -> RequestChanged:
        """Where the refund stands, and until when the seller must act."""
        due = node.get("refund_remind_timeout")
        ours = word(node.get("status")) in OURS and str(dig(due, "exist_timeout")).lower() != "false"
        return RequestChanged(
            key=f"refund:{number(node.get('refund_id'))}:{now}:{when.isoformat() if moment(node, 'modified') else ''}",
            at=when,
            refs=refs,
            status=now,
            amount=yuan(node.get("refund_fee")),
            due_at=moment(due, "timeout") if ours else None,
        )

    def returned(self, node: dict[str, Any], refs: tuple[Ref, ...], when: datetime) -> Iterator[ParcelSeen]:
        """The buyer sent the goods back."""
        sent = moment(node, "good_return_time")
        made = parcel(node.get("sid"), node.get("company_name"), direction=Direction.BACK, shipped_at=sent)
        if made:
            yield ParcelSeen(
                key=f"refund:{number(node.get('refund_id'))}:parcel:{made.waybill}",
                at=sent or when,
                refs=(*refs, Ref(kind=RefKind.WAYBILL, value=made.waybill)),
                parcel=made,
            )

    def arbitrated(self, node: dict[str, Any], refs: tuple[Ref, ...], when: datetime) -> Iterator[Noted]:
        """Taobao's own people look into it."""
        stage = number(node.get("cs_status")) or ""
        if words := table("arbitration").get(stage):
            id_ = number(node.get("refund_id"))
            values: dict[str, Any] = {"cs_status": int(stage)}
            yield Noted(
                key=f"refund:{id_}:arbitration:{stage}", at=when, refs=refs, text=words, by="taobao",
                values=values,
            )  # fmt: skip

    def paid(self, node: dict[str, Any], refs: tuple[Ref, ...], when: datetime) -> RefundSeen:
        """The buyer has the money."""
        id_ = number(node.get("refund_id")) or ""
        return RefundSeen(
            key=f"refund:{id_}:done",
            at=when,
            refs=(*refs, Ref(kind=RefKind.REFUND, value=id_)),
            refund=id_,
            amount=yuan(node.get("refund_fee")),
        )

    def thread(self, node: dict[str, Any], messages: list[dict[str, Any]]) -> Iterator[MessageReceived]:
        """What the buyer and Taobao's people wrote in the refund's thread, with their pictures."""
        seen: set[str] = set()
        if not messages:
            return
        key, roles = f"refund:{number(node.get('refund_id'))}:message", table("roles")
        refs, who = self.refs(node), self.who(node)
        for one in messages:
            id_, author = number(one.get("id")), roles.get(str(one.get("owner_role")))
            at = moment(one, "created") or moment(node, "modified", "created")
            if not id_ or not author or not at or id_ in seen:
                continue
            seen.add(id_)
            message = Message(
                id=id_,
                author=Author(author),
                form=Form.THREAD,
                text=text(one.get("content")) or "",
                at=at,
                who=plain(one.get("owner_nick")),
                attachments=tuple(pictures(id_, one)),
            )
            yield MessageReceived(
                key=f"{key}:{id_}",
                at=at,
                refs=refs,
                message=message,
                buyer=who if author == Author.BUYER else None,
            )

    def trade(self, node: Any, key: str, at: datetime) -> OrderSeen | None:
        """The order as it is now, with buyer and parcels."""
        if not (id_ := number(dig(node, "tid"))):
            return None
        return OrderSeen(
            key=key,
            at=moment(node, "modified", "created") or at,
            refs=(Ref(kind=RefKind.ORDER, value=id_),),
            order=order(id_, node),
            buyer=buyer(node, self.locale),
            parcels=tuple(parcels(node)),
        )


def content_of(message: Any) -> dict[str, Any]:
    """What a message says: an object inside a text."""
    inner = dig(message, "content")
    if isinstance(inner, str):
        return read_object(inner.encode("utf-8", "replace"))
    return inner if isinstance(inner, dict) else {}


def pictures(id_: str, node: dict[str, Any]) -> Iterator[Attachment]:
    """The pictures of a message; addresses may come without their scheme."""
    for place, one in enumerate(rows(node, "pic_urls", "pic_url"), 1):
        if url := text(one.get("url")):
            media = _media_type(url.partition("?")[0].rpartition(".")[2][:_LONGEST_ENDING])
            name = f"{id_}-{place}.{media.partition('/')[2]}"
            yield Attachment(name=name, media_type=media, url=f"https:{url}" if url.startswith("//") else url)


@lru_cache(maxsize=64)
def _media_type(ending: str) -> str:
    return guess_type(f"picture.{ending}")[0] or "image/jpeg"
