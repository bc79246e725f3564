"""Moves the play on: which steps are new, how far the machine gets, which place in the queue that makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rmabridge.abilities import View
from rmabridge.core.plays import PROMISED, Flow, flow_of, shown, spoken, walk
from rmabridge.core.ranking import Ranking
from rmabridge.model import Case, CaseKind, Event, Play, PlayMoved, PlayStep, Rank, Rights

from .reading import Grant


class Mover:
    """The tables by which plays move."""

    def __init__(
        self,
        flows: Iterable[Flow],
        ranking: Ranking,
        tiers: Mapping[str, Grant],
        phrases: Mapping[str, tuple[str, ...]],
        promise_from: int,
    ) -> None:
        self.flows, self.ranking, self.tiers, self.phrases = tuple(flows), ranking, tiers, phrases
        self.promise_from = promise_from

    def move(self, case: Case, event: Event, view: View) -> Iterator[PlayMoved]:
        """One event for all that is new; none where nothing is."""
        flow, old = flow_of(case, self.flows), case.play
        if flow is None:
            return
        same = old if old and old.round == case.round else None
        reached = {one.name: one for one in same.steps} if same else {}
        found = (*shown(case, view.now), *spoken(event, view, self.phrases))
        fresh = {one.name: one for one in reversed(found) if one.name not in reached}
        new = self._play(case, flow, reached | fresh, view)
        if same is None or fresh or _differ(same, new):
            turn = old.turn + 1 if old else 1
            yield _moved(case, new, tuple(fresh.values()), turn, view)

    def rank(self, case: Case, view: View) -> Rank:
        """The case's place, as it is now."""
        return self.ranking.rank(case, self.tier(case), view.now)

    def tier(self, case: Case) -> str | None:
        """The first tier that the buyer belongs to."""
        return next((name for name, one in self.tiers.items() if one.holds(case)), None)

    def needs(self, case: Case, flow: Flow) -> tuple[str, ...]:
        """The steps that a closing waits for: of complaints only, and more of serious ones."""
        if case.kind is not CaseKind.COMPLAINT:
            return ()
        return (*flow.needs, PROMISED) if case.level >= self.promise_from and flow.needs else flow.needs

    def _play(self, case: Case, flow: Flow, steps: Mapping[str, PlayStep], view: View) -> Play:
        state, tier = walk(flow, steps), self.tier(case)
        return Play(
            id=flow.id,
            state=state,
            next=flow.states[state].next,
            needs=self.needs(case, flow),
            standard=flow.standard,
            rank=self.rank(case, view),
            rights=Rights(tier=tier, offers=self.tiers[tier].offers) if tier else None,
        )


def _differ(old: Play, new: Play) -> bool:
    names = ("id", "state", "next", "needs", "standard", "rank")
    known = new.rights is None or new.rights == old.rights
    return not known or any(getattr(old, name) != getattr(new, name) for name in names)


def _moved(case: Case, play: Play, steps: tuple[PlayStep, ...], turn: int, view: View) -> PlayMoved:
    return PlayMoved(
        key=f"play:{case.id}:{turn}",
        at=view.now,
        play=play.id,
        state=play.state,
        turn=turn,
        round=case.round,
        steps=steps,
        next=play.next,
        needs=play.needs,
        standard=play.standard,
        rank=play.rank,
        rights=play.rights,
    )
