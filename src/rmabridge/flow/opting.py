"""What a buyer said of the ways to them holds in all their cases of the shop: kept with their key, and learnt there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.folding import stamped_at
from ..core.handled import OPTED
from ..core.reduce import reduce
from ..model import Case, Event, Form, OptedIn, OptedOut
from ..store import buyers
from ..store.buyers import Words
from ..store.tables import moment
from .work import Work

if TYPE_CHECKING:
    from .batch import Batch


def said(case: Case) -> Words:
    """What the case knows: account/form → when the buyer last spoke of it, and whether it is closed."""
    told = {group.removeprefix(OPTED): stamp for group, stamp in case.stamps.items() if group.startswith(OPTED)}
    return {way: (stamped_at(stamp), way in case.talk.closed) for way, stamp in told.items()}


def learn(batch: Batch, work: Work) -> None:
    """Let the case know what its buyer said in others, before anything is proposed; what waits is looked at again."""
    told = batch.words.get(work.buyer) if work.buyer else None
    if not told:
        return
    known, before = said(work.case), work.case.talk.closed
    for way, (at, closed) in sorted(told.items()):
        if (at, closed) > known.get(way, (0, False)):
            account, _, form = way.rpartition("/")
            kind = OptedOut if closed else OptedIn
            event = kind(key=f"buyer:{way}", at=moment(at), form=Form(form))
            work.case = reduce(work.case, event, account)
    if work.case.talk.closed != before:
        work.dirty = True
        work.review_pending()


def tell(batch: Batch, work: Work, event: Event) -> bool:
    """Keep for the buyer's other cases what is new in this one; False where nothing is."""
    mark = work.buyer
    if mark is None or not (work.case.talk.closed or isinstance(event, OptedIn)):
        return False
    known, words = batch.words.get(mark, {}), said(work.case)
    if (newest := buyers.newest(known, words)) == known:
        return False
    batch.words[mark] = newest
    batch.extra.append(lambda conn: buyers.note_words(conn, mark, words))
    return True


def spread(event: OptedOut, case: str) -> OptedOut:
    """The same word for another case of the buyer's."""
    return OptedOut(key=f"{case}:{event.key}"[:512], at=event.at, form=event.form, words=event.words)
