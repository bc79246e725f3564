"""Where a ticket goes on that is closed for good: in the one it was merged into, else in a follow-up of ours."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from rmabridge.abilities import Context
from rmabridge.errors import Rejected

from .answers import Comments, Shown, Ticket
from .calls import Calls
from .terms import CLOSED, MERGED, path_of, word

MOST_LOOKED_AT = 5


class Following(Calls):
    """Finds the ticket in which a closed one goes on, and makes a follow-up where there is none."""

    tag: str = Field("rmabridge", min_length=1, description="tag of the tickets that the bridge opened")
    follow_ups: bool = Field(
        True,
        description="go on in another ticket where one is closed for good: in the one it was merged into, else in a "
        "follow-up; off: what was for it is a dead letter",
    )

    async def _line(self, ticket: str, ctx: Context) -> list[Ticket]:
        """The ticket, and those in which it went on after it was closed for good; the last one is where it is now."""
        line = [await self._shown(ticket, ctx)]
        while self.follow_ups and line[-1].status == CLOSED and (found := await self._next(line[-1], ctx)):
            if found.id in {one.id for one in line}:
                break
            line.append(found)
        return line

    async def _last(self, ticket: str, refusal: Rejected, ctx: Context) -> Ticket:
        """Where a closed ticket is now; of any other one the refusal stands."""
        if not self.follow_ups:
            raise refusal
        line = await self._line(ticket, ctx)
        if line[0].status != CLOSED:
            raise refusal
        return line[-1]

    async def _next(self, closed: Ticket, ctx: Context) -> Ticket | None:
        if MERGED in closed.tags and (target := await self._target(closed, ctx)):
            return target
        # A customer's answer by mail makes follow-ups, too; they take over the tags, but this one is not among them.
        made = [await self._maybe(one, ctx) for one in closed.followup_ids[-MOST_LOOKED_AT:]]
        ours = [one for one in made if one and self._follows(closed) in one.tags]
        return max(ours, key=lambda one: int(one.id), default=None)

    async def _target(self, merged: Ticket, ctx: Context) -> Ticket | None:
        """The other ticket of a merge: Zendesk's comments on the two name each other."""
        for said in await self._newest(merged.id, ctx):
            for number in _named(said.body)[:1]:
                other = await self._maybe(number, ctx)
                if other and any(merged.id in _named(one.body) for one in await self._newest(other.id, ctx)):
                    return other
        return None

    def _follow_up(self, closed: Ticket) -> dict[str, Any]:
        """What a follow-up is made with, beside its first comment. Tags that are given replace those of the closed."""
        tags = [*(one for one in closed.tags if one != MERGED), word(self.tag), self._follows(closed)]
        kept: dict[str, Any] = {"subject": closed.subject, "external_id": closed.external_id}
        kept |= {"requester_id": _number(closed.requester_id), "group_id": _number(closed.group_id)}
        made = {name: value for name, value in kept.items() if value is not None}
        return made | {"via_followup_source_id": int(closed.id), "tags": list(dict.fromkeys(tags))}

    def _follows(self, closed: Ticket) -> str:
        return f"{word(self.tag)}_follow_up_of_{closed.id}"

    async def _shown(self, ticket: str, ctx: Context) -> Ticket:
        return Shown.model_validate_json(await self._call(ctx, "GET", path_of(ticket))).ticket

    async def _maybe(self, ticket: str, ctx: Context) -> Ticket | None:
        try:
            return await self._shown(ticket, ctx)
        except Rejected:  # deleted, or no ticket at all
            return None

    async def _newest(self, ticket: str, ctx: Context) -> list[Any]:
        params = {"sort_order": "desc", "per_page": str(MOST_LOOKED_AT)}
        answer = await self._call(ctx, "GET", f"{path_of(ticket)}/comments", params=params)
        return [*Comments.model_validate_json(answer).comments][:MOST_LOOKED_AT]


def _named(words: str) -> list[str]:
    return re.findall(r"#([0-9]{1,19})\b", words, re.ASCII)


def _number(given: str | None) -> int | None:
    return int(given) if given and given.isascii() and given.isdigit() else None
