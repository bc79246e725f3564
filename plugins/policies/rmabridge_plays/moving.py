"""Moves the play on: which steps are new, how far the machine gets, which place in the queue that makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import Final, NamedTuple

from rmabridge.abilities import View
from rmabridge.core.plays import PROMISED, Flow, heaviest, named, shown, spoken, walk
from rmabridge.core.ranking import Ranking
from rmabridge.model import Case, CaseKind, Event, Play, PlayMoved, PlayStep, Rank, Rights

from .reading import Grant

MOST_KEPT: Final = 4096


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
        by_id = {one.id: one for one in self.flows}
        self._flow = lru_cache(MOST_KEPT)(partial(heaviest, self.flows))
        self._state = lru_cache(MOST_KEPT)(lambda flow, steps: walk(by_id[flow], steps))

    def flow(self, case: Case) -> Flow | None:
        """The case's workflow."""
        return self._flow(case.kind, named(case))

    def move(self, case: Case, event: Event, view: View) -> PlayMoved | None:
        """One event for all that is new; None where nothing is."""
        flow, old = self.flow(case), case.play
        if flow is None:
            return None
        same = old if old and old.round == case.round else None
        reached = frozenset(one.name for one in same.steps) if same else frozenset()
        found = spoken(event, view, self.phrases) | shown(case, view.now)
        fresh = {name: at for name, at in found.items() if name not in reached}
        new = self._place(case, flow, reached.union(fresh), view)
        if same is not None and not fresh and not _differ(same, new):
            return None
        steps = tuple(PlayStep(name=name, at=at) for name, at in fresh.items())
        return _moved(case, new, steps, old.turn + 1 if old else 1, view)

    def shows_more(self, case: Case, view: View) -> bool:
        """Whether a case whose play just moved shows a further step; nothing else can move it again."""
        reached = {one.name for one in case.play.steps} if case.play else set()
        return not reached.issuperset(shown(case, view.now))

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

    def _place(self, case: Case, flow: Flow, steps: frozenset[str], view: View) -> Place:
        state, tier = self._state(flow.id, steps), self.tier(case)
        offers = self.tiers[tier].offers if tier else ()
        return Place(
            flow.id,
            state,
            flow.states[state].next,
            self.needs(case, flow),
            flow.standard,
            self.ranking.rank(case, tier, view.now),
            (tier, offers) if tier else None,
        )


class Place(NamedTuple):
    """Where a case stands in its play; ``rights`` are the tier and its offers."""

    play: str
    state: str
    next: tuple[str, ...]
    needs: tuple[str, ...]
    standard: tuple[str, ...]
    rank: Rank
    rights: tuple[str, tuple[str, ...]] | None


def _differ(old: Play, new: Place) -> bool:
    here = (old.id, old.state, old.next, old.needs, old.standard, old.rank)
    rights = (old.rights.tier, old.rights.offers) if old.rights else None
    return here != new[:-1] or new.rights not in (None, rights)


def _moved(case: Case, new: Place, steps: tuple[PlayStep, ...], turn: int, view: View) -> PlayMoved:
    return PlayMoved(
        key=f"play:{case.id}:{turn}",
        at=view.now,
        play=new.play,
        state=new.state,
        turn=turn,
        round=case.round,
        steps=steps,
        next=new.next,
        needs=new.needs,
        standard=new.standard,
        rank=new.rank,
        rights=Rights(tier=new.rights[0], offers=new.rights[1]) if new.rights else None,
    )
