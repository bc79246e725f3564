"""One folder: what is new in it by the server's numbers, and marking what was taken."""

from __future__ import annotations

import imaplib
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

from imap_tools.errors import MailboxFolderSelectError, MailboxFolderStatusError
from imap_tools.mailbox import BaseMailBox
from imap_tools.utils import encode_folder

from rmabridge.errors import Rejected

from .door import features

PAGE: Final = 50
PAGE_BYTES: Final = 4 << 20
# Of a mail that is too large: its head and, nearly always, its words.
BEGINNING: Final = 1 << 16
_FACT = re.compile(rb'\b(UID|RFC822\.SIZE|INTERNALDATE) (?:(\d+)|"([^"]+)")')
PATIENCE: Final = timedelta(hours=1)
NAMED: Final = "FROM TO CC REPLY-TO SUBJECT DATE MESSAGE-ID REFERENCES IN-REPLY-TO"
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last mail that was taken: its number, the numbering it belongs to, and the day of that poll."""

    validity: int
    last: int
    day: date

    @classmethod
    def read(cls, text: str) -> Self:
        """From the stored text."""
        validity, last, day = text.split(":")
        return cls(int(validity), int(last), date.fromisoformat(day))

    def __str__(self) -> str:
        return f"{self.validity}:{self.last}:{self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail's bytes (``meta["size"]`` is there where they are only its beginning) and when it arrived."""

    uid: int
    raw: bytes
    meta: dict[str, str]


class Folder:
    """A folder of an open session."""

    def __init__(self, box: BaseMailBox, name: str) -> None:
        self.box, self.name = box, name

    def status(self) -> dict[str, int]:
        """Its counters; ``Rejected`` where there is no such folder."""
        try:
            return self.box.folder.status(self.name, ("MESSAGES", "UIDNEXT", "UIDVALIDITY"))
        except (MailboxFolderStatusError, MailboxFolderSelectError) as error:
            raise Rejected(f"{self.name}: {error}", hint="is there a folder of this name?") from error

    def news(
        self, cursor: Cursor | None, now: datetime, backlog: timedelta, largest: int
    ) -> tuple[list[Fetched], Cursor, bool]:
        """A page of new mails, the cursor behind them, and whether there are more.

        A mail that the server refuses to give ends the page; where it comes first it is tried again for an hour, and
        then a stand-in takes its place, so that it does not keep all others back.
        """
        today = now.date()
        counters = self.status()
        self.box.folder.set(self.name, readonly=True)
        validity, end = counters["UIDVALIDITY"], counters["UIDNEXT"] - 1
        if cursor is not None and cursor.validity == validity:
            last = cursor.last
        elif cursor is not None:
            # Numbered anew: what is read a second time has the same Message-ID, and counts once.
            last = self._before(cursor.day - timedelta(days=1), end)
        else:
            last = self._before(today - backlog, end) if backlog else end
        waiting = [uid for uid in self._search(f"UID {last + 1}:*") if uid > last]
        page = self._page(waiting)
        taken: list[Fetched] = []
        reached = last
        for uid, told in page.items():
            try:
                one = self._fetch(uid, told, largest)
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                if reached > last:
                    return taken, Cursor(validity, reached, today), True
                one = self._stand_in(uid, told, now, error)
            taken += [one] if one else []
            reached = uid
        return taken, Cursor(validity, reached, today), len(page) < len(waiting)

    def settle(self, validity: int, uids: list[int], move_to: str | None) -> None:
        """Mark mails as read, or move them; a folder numbered anew meanwhile is left alone."""
        if self.status()["UIDVALIDITY"] != validity:
            return
        self.box.folder.set(self.name)
        chosen = ",".join(map(str, uids))
        if move_to is None:
            self._uid("STORE", chosen, "+FLAGS.SILENT", r"(\Seen)")
        elif "MOVE" in (can := features(self.box)):
            self._uid("MOVE", chosen, encode_folder(move_to))
        else:
            self._uid("COPY", chosen, encode_folder(move_to))
            self._uid("STORE", chosen, "+FLAGS.SILENT", r"(\Deleted)")
            # Without UIDPLUS only all deleted mails could be expunged, others' with them.
            if "UIDPLUS" in can:
                self._uid("EXPUNGE", chosen)

    def _before(self, day: date, end: int) -> int:
        found = self._search(f"SINCE {day.day}-{MONTHS[day.month - 1]}-{day.year}")
        return min(found) - 1 if found else end

    def _search(self, criteria: str) -> list[int]:
        return sorted(int(one) for one in self.box.uids(criteria, charset=None))

    def _page(self, waiting: list[int]) -> dict[int, dict[str, Any]]:
        """The next mails with size and time of arrival, as many as one turn may hold."""
        if not waiting:
            return {}
        facts: dict[int, dict[str, Any]] = {uid: {} for uid in waiting[:PAGE]}
        for line in self._uid("FETCH", ",".join(map(str, facts)), "(UID RFC822.SIZE INTERNALDATE)"):
            told = {name.decode(): number or text for name, number, text in _FACT.findall(line or b"")}
            if int(told.get("UID", 0)) in facts:
                facts[int(told["UID"])] = told
        total = 0
        page: dict[int, dict[str, Any]] = {}
        for uid, told in facts.items():
            total += int(told.get("RFC822.SIZE", 0))
            if page and total > PAGE_BYTES:
                break
            page[uid] = told
        return page

    def _fetch(self, uid: int, told: dict[str, Any], largest: int) -> Fetched | None:
        """The mail; None where it was deleted meanwhile."""
        if not told:
            return None
        size = int(told.get("RFC822.SIZE", 0))
        part = "BODY.PEEK[]" if size <= largest else f"BODY.PEEK[]<0.{BEGINNING}>"
        raw = next((one[1] for one in self._uid("FETCH", str(uid), f"(UID {part})") if isinstance(one, tuple)), None)
        if raw is None:
            return None
        arrived = _arrived(told.get("INTERNALDATE", b"").decode())
        meta = {"at": arrived.isoformat()} if arrived else {}
        return Fetched(uid, raw, meta if size <= largest else {**meta, "size": str(size)})

    def _stand_in(self, uid: int, told: dict[str, Any], now: datetime, error: Exception) -> Fetched:
        """What is known of a mail that the server does not give: its head, where it gives that."""
        arrived, place = _arrived(told.get("INTERNALDATE", b"").decode()), f"{self.name}, UID {uid}"
        if arrived is None or now - arrived < PATIENCE:
            raise imaplib.IMAP4.error(f"{place}: {error}") from error
        try:
            told_of = self._uid("FETCH", str(uid), f"(UID BODY.PEEK[HEADER.FIELDS ({NAMED})])")
            head = next((one[1] for one in told_of if isinstance(one, tuple)), b"")
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error:
            head = b""
        words = f"The mail server did not give this mail ({place}): {error}"
        kind = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
        raw = (head.strip() + b"\r\n" if head.strip() else b"") + kind + words.encode(errors="replace")
        return Fetched(uid, raw, {"at": arrived.isoformat()})

    def _uid(self, command: str, *parts: Any) -> list[Any]:
        kind, told = self.box.client.uid(command, *parts)
        if kind != "OK":
            reason = b" ".join(one for one in told if isinstance(one, bytes)).decode(errors="replace")
            raise imaplib.IMAP4.error(f"{command}: {reason}")
        return told


def _arrived(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text.strip().replace("-", " ", 2))
    except ValueError:
        return None
