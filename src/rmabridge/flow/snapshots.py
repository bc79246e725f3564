"""What was said in a case when somebody decided: kept on its timeline beside the decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..model import Commanded, Noted
from ..store import cases as case_store
from ..store.tables import moment
from .work import Work

if TYPE_CHECKING:
    from .batch import Batch
    from .router import Router

MOST: Final = 30
SHOWN: Final = 500


def decided(router: Router, batch: Batch, work: Work, command: Commanded, key: str, asked: Any) -> Noted:
    """Who decided what and why, with the conversation as it was."""
    word = "approved" if command.command == "approve" else "denied"
    why = f"; {note}" if (note := command.args.get("note")) else ""
    lines = _conversation(router, batch, work.case.id)
    text = "\n".join([f"{word} {key} by {command.by}: {asked.reason}{why}", *lines[-MOST:]])
    values = {"decision": word, "action": key, "rules": asked.rules, "messages": len(lines)}
    return Noted(key=f"decided:{command.key}", at=work.now, text=text, by=command.by, values=values)


def _conversation(router: Router, batch: Batch, case_id: str) -> list[str]:
    stored = router.store.read(lambda conn: case_store.spoken(conn, case_id))
    rows = [(one.at, one.id, one.author, one.public, one.key_id, one.doc) for one in stored]
    fresh = [one for one in batch.changes.messages if one["case_id"] == case_id]
    rows += [(one["at"], one["id"], one["author"], one["public"], one["key_id"], one["doc"]) for one in fresh]
    router.store.keys_for({one[4] for one in rows})
    vault, found = router.store.vault, []
    for at, _, author, public, key_id, doc in sorted(rows, key=lambda one: one[:2]):
        if not vault.knows(key_id):
            continue  # erased
        said = str(json.loads(vault.open(key_id, doc)).get("text") or "")[:SHOWN]
        found.append(f"{moment(at):%Y-%m-%d %H:%M} {author}{'' if public else ' (internal)'}: {said}")
    return found
