"""``reduce(case, event) -> case``: pure, and the same for any order of the events.

Groups of fields carry the stamp of the event that last wrote them; an event with an older stamp never undoes them.
Lists (parcels, scans, refunds, references) are unions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..model import Case, Event
from . import handled, told
from .folding import Fold
from .identity import names
from .lifecycle import status


class _Newest:
    """The last reduction: what a policy worked out to look ahead, the engine asks for next, of the same objects."""

    done: ClassVar[tuple[Case, Event, str, Case] | None] = None


def reduce(case: Case, event: Event, account: str) -> Case:
    """The case after the event; ``account`` is where the event came from."""
    done = _Newest.done
    if done is not None and done[0] is case and done[1] is event and done[2] == account:
        return done[3]
    reduced = _reduce(case, event, account)
    _Newest.done = case, event, account, reduced
    return reduced


def _reduce(case: Case, event: Event, account: str) -> Case:
    fold = Fold(case, event, account)
    if step := STEPS.get(type(event)):
        step(fold, event)
    fold.add_refs(names(event, account))
    changed = case.model_copy(update=fold.changes) if fold.changes else case
    now = status(changed)
    return changed if now is changed.status else changed.model_copy(update={"status": now})


STEPS: dict[type[Any], Callable[[Fold, Any], None]] = {**told.STEPS, **handled.STEPS}
