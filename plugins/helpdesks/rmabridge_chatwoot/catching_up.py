"""What webhooks may have missed: buyers who still wait for an answer, and the newest words on the bridge's tickets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from rmabridge.abilities import Context, Item, Page, Reconciles
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.times import maybe_instant

from .calls import Calls
from .terms import CHANGES, MESSAGE


class CatchingUp(Calls, Reconciles):
    """Lists what happened of late, in the shapes of the webhooks; of each conversation its newest twenty lines."""

    look_back: timedelta = Field(timedelta(hours=12), description="how far back a comparison with Chatwoot goes")

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        page, since = int(cursor or 1), ctx.now() - self.look_back
        params = {"status": "all", "assignee_type": "all", "page": str(page)}
        told = dig(read_object(await self._call(ctx, "GET", "/conversations", params=params)), "data", "payload")
        talks = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        # The list begins with what moved last.
        recent = [one for one in talks if _since(one.get("last_activity_at") or one.get("timestamp"), since)]
        items = [item for one in recent for item in await self._missed(one, since, ctx)]
        return Page(tuple(items), str(page + 1), more=bool(talks) and len(recent) == len(talks))

    async def _missed(self, talk: dict[str, Any], since: datetime, ctx: Context) -> list[Item]:
        own, known = text(talk.get("inbox_id")) == str(self.inbox_id), text(talk.get("id"))
        # Somebody who has been answered in a chat is not to be greeted hours later.
        begin = since if own else maybe_instant(talk.get("waiting_since"))
        if begin is None or known is None or not known.isdigit():
            return []
        told = dig(read_object(await self._call(ctx, "GET", f"/conversations/{known}/messages")), "payload")
        shown = {name: one for name, one in talk.items() if name != "messages"}
        items = [
            Item(
                dump_json({**one, "event": MESSAGE, "conversation": shown}).encode(), f"message:{one.get('id')}", known
            )
            for one in (told if isinstance(told, list) else [])
            if isinstance(one, dict) and _since(one.get("created_at"), max(begin, since))
        ]
        if own:
            state = f"conversation:{known}:{talk.get('updated_at') or talk.get('timestamp')}:{talk.get('status')}"
            items.append(Item(dump_json({**shown, "event": CHANGES[2]}).encode(), state, known))
        return items


def _since(given: Any, since: datetime) -> bool:
    at = maybe_instant(given)
    # Chatwoot tells whole seconds.
    return at is not None and at + timedelta(seconds=1) > since
