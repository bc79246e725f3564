"""The evidence door: ``/l/{token}`` shows a buyer what is asked for, takes the files and closes when they are done.

Files come by tus 1.0 (``web.tus``). A finished file and its event are one commit; the event goes the way of all events.
Nothing that was handed in is ever shown here again. A link is closed by an event on the case, so that it stays closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web
from sqlalchemy import select

from ..abilities import AsksForEvidence, Need, Policy, Shop
from ..core.evidence import REUSED, evidence_id
from ..core.links import Link
from ..core.reach import language
from ..errors import Malformed, Refused, TooLarge, TooMany, WrongType
from ..flow.batch import event_row
from ..flow.files import KEPT, Files, used
from ..model import Case, Event, Evidence, EvidenceAdded, EvidenceKind, Form, Noted
from ..model.event import Base as AnyEvent
from ..store import blobs as blob_store
from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store.tables import inbox
from ..store.uploads import Upload, Uploads
from ..store.vault import Erased
from ..wire.filetypes import TYPES, FileType, told
from .links import notice, show, spoken
from .tus import Tus

if TYPE_CHECKING:
    from ..flow.bridge import Running

REMEMBERED: Final = 10_000
UNDER_WAY: Final = 5  # files of one case at the same time
FIRST: Final = "evidence:closed:"


class WrongKind(Refused):
    """The file is of a type that we take, but shows nothing of what is asked for here."""

    status = 422
    title = "Another type of file is needed here"


@dataclass(frozen=True, slots=True)
class Desk:
    """What an open link leads to: a case, the policy that asks, and what it asks for."""

    link: Link
    tag: str
    case: Case
    shop: Shop
    key_id: str
    policy: AsksForEvidence
    needs: tuple[Need, ...]

    @property
    def locale(self) -> str:
        """The buyer's language."""
        return language(self.case, self.shop)


class EvidenceDoor:
    """Pages and uploads of the purpose ``evidence``."""

    def __init__(self, running: Running) -> None:
        self.running, self.store = running, running.store
        self.files, self.uploads = Files(running.store), Uploads(running.store.blobs)
        self.tus = Tus(self)
        self._spent: OrderedDict[str, int] = OrderedDict()

    async def page(self, request: web.Request, _: Running, link: Link, rest: str) -> web.StreamResponse:
        """Whatever is asked of a link that is good."""
        tag = sha256(request.match_info["token"].encode()).hexdigest()[:24]
        desk = self._desk(link, tag)
        if desk is None:
            return notice(spoken(request), "forged")
        if not desk.case.open or self.closed(desk):
            return notice(desk.locale, "closed")
        if rest in {"", "/"} and request.method in {"GET", "HEAD"}:
            return self._show(desk)
        if rest == "/done" and request.method == "POST":
            return await self._close(desk)
        if rest.startswith("/files"):
            return await self.tus.answer(request, desk, rest.removeprefix("/files").strip("/"))
        return notice(desk.locale, "forged")

    def _desk(self, link: Link, tag: str) -> Desk | None:
        policies: Iterator[Policy] = (one.policy for one in self.running.registry.policies)
        policy = next((one for one in policies if isinstance(one, AsksForEvidence)), None)
        living = self.store.read(lambda conn: blob_store.living(conn, link.case))
        key_id = self.files.key_of(living) if living else None
        if policy is None or living is None or key_id is None:
            return None
        (row,) = self.store.read(lambda conn: case_store.rows(conn, [living]))
        case = self._with_files(Case.model_validate_json(self.store.vault.open(key_id, row.doc)))
        needs, shop = policy.needs(case, link.subject), self.running.registry.shops.get(case.shop)
        return Desk(link, tag, case, shop, key_id, policy, needs) if needs and shop else None

    def _with_files(self, case: Case) -> Case:
        """The case with files whose events are still on their way to it."""
        known = {one.id for one in case.evidence}
        rows = self.store.read(lambda conn: blob_store.kept(conn, case.id))
        named = [(one, one.id.partition(":")[2]) for one in rows]
        more = tuple(
            Evidence(id=name, kind=EvidenceKind(one.kind), sha256=one.sha256)
            for one, name in named
            if name not in known and not name.startswith(KEPT)
        )
        return case.model_copy(update={"evidence": (*case.evidence, *more)}) if more else case

    def _show(self, desk: Desk) -> web.Response:
        labels = {one.name: self.label(desk, one) for one in desk.needs}
        until = desk.link.expires.astimezone(desk.shop.zone)
        return show(
            "evidence.html",
            desk.locale,
            item=desk.policy.item(desk.case),
            until=f"{until:%Y-%m-%d %H:%M}",
            needs=[{"label": labels[one.name], **_shown(one)} for one in desk.needs],
            missing=[f"{labels[one.name]} ×{one.left}" for one in desk.needs if one.left],
            any=any(one.have for one in desk.needs),
            most=self.store.blobs.most >> 20,
            accept=",".join(sorted({one.media_type for one in TYPES} | {f".{one.ending}" for one in TYPES})),
        )

    def label(self, desk: Desk, need: Need) -> str:
        """What is asked for, in the buyer's language."""
        said = self.running.router.world.render("evidence.need", desk.locale, Form.CHAT, need=need.name)
        return str(said.text)

    # -- limits ---------------------------------------------------------------------------------------------------

    def begin(self, desk: Desk, need: str, length: int) -> Upload:
        """A new upload, if the link may still have one."""
        if need not in {one.name for one in desk.needs}:
            raise Malformed("'need' names nothing that is asked for")
        if not 0 < length <= self.store.blobs.most:
            raise TooLarge(f"a file has at most {self.store.blobs.most} bytes and at least one")
        number, size = self.store.read(lambda conn: used(conn, desk.case.id))
        coming = self.store.read(lambda conn: list(self.uploads.under_way(conn, desk.case.id)))
        size += sum(one.length for one in coming) + length
        if number + len(coming) >= desk.policy.most_files or size > desk.policy.most_bytes:
            raise TooMany("no more files can be taken for this case")
        if len(coming) >= UNDER_WAY:
            self._give_up_oldest(coming)
        return self.uploads.start(desk.case.id, need, length, desk.key_id, self.store.clock.micros())

    def _give_up_oldest(self, coming: list[Upload]) -> None:
        """Whoever begins anew each time leaves pieces behind: the newest few are kept."""
        for one in sorted(coming, key=lambda one: one.at)[: 1 - UNDER_WAY]:
            self.uploads.drop(one)

    def spend(self, desk: Desk, size: int) -> None:
        """Count what came by a link, kept or not: a link is not a way to fill the line."""
        spent = self._spent.pop(desk.tag, 0) + size
        self._spent[desk.tag] = spent
        if len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)
        if spent > 2 * desk.policy.most_bytes:
            raise TooMany("too much was sent by this link")

    # -- a finished file ------------------------------------------------------------------------------------------

    def type_of(self, desk: Desk, upload: Upload) -> FileType:
        """What has begun to arrive; refused where it is of no use, and then nothing of it is kept."""
        found = told(self.uploads.first(upload))
        kinds = next((one.kinds for one in desk.needs if one.name == upload.need), ())
        if found is None:
            self.uploads.drop(upload)
            raise WrongType("neither a picture, a film nor a PDF")
        if found.kind not in kinds:
            self.uploads.drop(upload)
            raise WrongKind(f"{found.media_type} shows nothing of what is asked for here")
        return found

    async def take(self, desk: Desk, upload: Upload, name: str) -> None:
        """A whole file: kept by its hash, noted, and told to the case in one commit. Done twice, it counts once."""
        if upload.sha256 is None:
            self.type_of(desk, upload)
        upload = self.uploads.finish(upload, name)
        rows = self.store.read(lambda conn: blob_store.kept(conn, desk.case.id))
        if name not in {one.sha256 for one in rows}:
            await self._tell(desk, upload, name, len(rows) + 1)
        self.uploads.drop(upload)

    async def _tell(self, desk: Desk, upload: Upload, name: str, number: int) -> None:
        case, id_ = desk.case.id, evidence_id(upload.need, name)
        found = told(self.store.blobs.first(upload.key_id, name))
        assert found is not None  # noqa: S101 - it was looked at before it was put among the files
        again = self.store.read(lambda conn: blob_store.elsewhere(conn, name, case))
        event = EvidenceAdded(
            key=f"evidence:{case}:{id_}",
            at=self.store.clock.now(),
            evidence=id_,
            kind=found.kind,
            name=f"{upload.need}-{number}.{found.ending}",
            media_type=found.media_type,
            size=upload.length,
            sha256=name,
            source=REUSED if again else "buyer",
        )
        facts = {"name": event.name, "media_type": event.media_type}
        row = self.files.row(case, upload.key_id, id_, found.kind, name, upload.length, **facts)
        await self._write(event, case, row)

    async def _write(self, event: AnyEvent, case: str, file: Any = None) -> None:
        now = self.store.clock.micros()
        told_ = [cast("Event", event)]
        row = event_row(self.store.vault, self.store.day_key(), told_, "bridge", event.key, now, 0, case)

        def job(conn: Any) -> None:
            if file is not None:
                blob_store.note(conn, file)
            inbox_store.add(conn, [row])

        await self.store.write(job)
        self.running.router.wake.set()

    # -- once -----------------------------------------------------------------------------------------------------

    async def _close(self, desk: Desk) -> web.Response:
        if not any(one.have for one in desk.needs):
            raise Malformed("nothing was handed in yet")
        text = "the buyer has handed in the evidence; the link is closed"
        values: dict[str, Any] = {"missing": ", ".join(one.name for one in desk.needs if one.left)}
        event = Noted(key=FIRST + desk.tag, at=self.store.clock.now(), text=text, by="buyer", values=values)
        await self._write(event, desk.case.id)
        return notice(desk.locale, "thanks")

    def closed(self, desk: Desk) -> bool:
        """Whether the buyer has said that this was all: noted on the case, or on its way there."""
        key = FIRST + desk.tag
        query = select(inbox.c.id).where(
            inbox.c.account == "bridge", inbox.c.dedupe == inbox_store.digest(key.encode())
        )
        if self.store.read(lambda conn: conn.execute(query).first()) is not None:
            return True
        rows = self.store.read(
            lambda conn: [row for one in blob_store.family(conn, desk.case.id) for row in case_store.entries(conn, one)]
        )
        return any(key.encode() in self._opened(one) for one in rows if one.type == "noted")

    def _opened(self, row: Any) -> bytes:
        self.store.keys_for({row.key_id})
        try:
            return self.store.vault.open(row.key_id, row.doc)
        except Erased:
            return b""


def _shown(need: Need) -> dict[str, Any]:
    return {"name": need.name, "count": need.count, "have": need.have, "left": need.left}
