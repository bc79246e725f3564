"""What comes in by asking: the queue of notifications, and the report of returns that one of them tells of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from httpx import HTTPStatusError
from pydantic import Field

from rmabridge.abilities import Context, Inbound, Item, Page, Polls, Reconciles
from rmabridge.errors import Malformed, Unavailable
from rmabridge.model import Event, Issue, RequestStatus
from rmabridge.wire.bodies import dig, dump_json, read_object, text

from .calls import Calls
from .notes import Note, read_note
from .parsing import Reader
from .reports import grouped, table_of, unpacked

RETURNS: Final = "GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE"
_REPORTS: Final = "/reports/2021-06-30"
_GONE: Final = (400, 404, 410)


class Feeding(Calls, Polls, Reconciles):
    """Reads the queue; a page's cursor is the receipts that are deleted once the page is on disk."""

    poll_every: timedelta = Field(timedelta(seconds=20), description="pause between polls")
    wait: int = Field(10, ge=0, le=15, description="seconds that the queue may wait for news before it answers a poll")
    visibility: int = Field(
        120, ge=60, le=43200, description="seconds until the queue shows a notification again that was not deleted"
    )
    reports: bool = Field(True, description="ask for the report of returns at each comparison (reconcile_every)")
    reconcile_days: int = Field(30, gt=0, le=60, description="how many days of returns the report covers")
    report_charset: str = Field("cp1252", description="charset of a report that names none and is not UTF-8")
    columns: dict[str, str] = Field(
        default_factory=dict, description="headings of the returns report by our names, beyond those of terms.toml"
    )
    return_statuses: dict[str, RequestStatus] = Field(
        default_factory=dict, description="statuses of the returns report and what they mean, before terms.toml"
    )
    reasons: dict[str, Issue] = Field(
        default_factory=dict, description="codes of reasons, or parts of them, and what they mean, before terms.toml"
    )

    @property
    def reader(self) -> Reader:
        """Reads this account's objects."""
        return Reader(
            self.locale, self.columns, self.return_statuses, self.reasons, self.seller_id, self.marketplace_id
        )

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a notification (from the queue or by SNS), or of a return in a report."""
        body = read_object(inbound.body)
        try:
            return tuple(self.reader.events(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the notification cannot be read") from error

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """The notifications that wait; orders and reports that they tell of are read at once."""
        if self.queue_url is None:
            return Page((), "")
        told = await self._queue(
            ctx, "ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=self.wait, VisibilityTimeout=self.visibility
        )
        items: list[Item] = []
        receipts: list[str] = []
        heard = [one for one in told.get("Messages") or () if isinstance(one, dict) and one.get("ReceiptHandle")]
        for one in heard:
            found = await self._items(one, ctx)
            if found is not None:
                items += found
                receipts.append(str(one["ReceiptHandle"]))
        return Page(tuple(items), " ".join(receipts), len(receipts) == 10)

    async def confirm(self, ctx: Context, page: Page) -> None:
        """Delete what is on disk; what is not deleted is shown again, and counts once all the same."""
        receipts = page.cursor.split()
        for start in range(0, len(receipts), 10):
            entries = [{"Id": str(n), "ReceiptHandle": one} for n, one in enumerate(receipts[start : start + 10])]
            told = await self._queue(ctx, "DeleteMessageBatch", Entries=entries)
            if failed := told.get("Failed"):
                raise Unavailable(f"not deleted from the queue: {text(dig(failed, 0, 'Code')) or 'no reason given'}")

    async def _items(self, message: dict[str, Any], ctx: Context) -> list[Item] | None:
        """What to store of a message: nothing for other topics; None leaves one of another seller in the queue."""
        raw, id_ = text(message.get("Body")) or "", text(message.get("MessageId"))
        try:
            note = read_note(raw.encode("utf-8", "replace"))
        except Malformed:
            # Stored as it is: parsing it fails, and a person sees what the queue brought.
            return [Item(raw.encode("utf-8", "replace"), f"sqs:{id_}")]
        if not note.ours(self.seller_id, self.marketplace_id):
            return None
        if note.report == RETURNS and note.document:
            return await self._rows(note.document, note.at, ctx)
        return await self._changed(note, ctx)

    async def _changed(self, note: Note, ctx: Context) -> list[Item]:
        if not note.order or not note.matters:
            return []
        body: dict[str, Any] = {"notification": note.body}
        try:
            body |= await self._order(note.order, ctx)
        except HTTPStatusError as error:
            # An order that Amazon does not show must not keep the rest of the queue waiting.
            if error.response.status_code not in _GONE:
                raise
        return [Item(dump_json(body).encode(), f"note:{note.id}", note.order)]

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """The newest finished report of returns; the next one is asked for, to be read by notification or next time."""
        since = (ctx.now() - timedelta(days=self.reconcile_days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {
            "reportTypes": RETURNS,
            "processingStatuses": "DONE",
            "marketplaceIds": self.marketplace_id,
            "createdSince": since,
            "pageSize": 1,
        }
        told = await self._ask(ctx, f"{_REPORTS}/reports", asked)
        if self.reports:
            wanted = {"reportType": RETURNS, "marketplaceIds": [self.marketplace_id], "dataStartTime": since}
            await self._call(ctx, "POST", f"{_REPORTS}/reports", body=wanted)
        newest = dig(told, "reports", 0)
        document, at = text(dig(newest, "reportDocumentId")), text(dig(newest, "processingEndTime"))
        return Page(tuple(await self._rows(document, at, ctx)) if document else (), "")

    async def _rows(self, document: str, at: str | None, ctx: Context) -> list[Item]:
        """The returns of a report, one item each; the same return in the same state is the same item."""
        try:
            told = await self._ask(ctx, f"{_REPORTS}/documents/{quote(document, safe='')}")
        except HTTPStatusError as error:
            if error.response.status_code not in _GONE:
                raise
            return []
        # The address is Amazon's own storage and signed: no header of ours may go along.
        answer = await ctx.http.get(str(told.get("url")))
        answer.raise_for_status()
        named = answer.headers.get("Content-Type", "").partition("charset=")[2].strip("\"' ;")
        try:
            content = unpacked(answer.content, text(told.get("compressionAlgorithm")))
            return list(grouped(table_of(content, named, self.report_charset), self.reader.named, at))
        except Malformed:
            # Stored as it is: parsing it fails, and a person sees what Amazon gave.
            return [Item(answer.content[: self.max_body], f"report:{document}")]
