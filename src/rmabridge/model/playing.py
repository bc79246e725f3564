"""How a case is handled: the play with its steps, its place in the queue, and the incident that it is part of."""

from pydantic import AwareDatetime, Field

from .stored import Value


class PlayStep(Value):
    """A step that was reached, and when; ``note`` is what a person recorded with it."""

    name: str
    at: AwareDatetime
    by: str = "bridge"
    note: str | None = None


class Rank(Value):
    """Which place a case has in the queue: ``priority`` is the cell of the matrix urgency × importance."""

    urgency: str
    importance: str
    priority: str
    queue: str | None = None


class Rights(Value):
    """What the customer's tier grants: the offers that may be made, and why the customer belongs to it."""

    tier: str
    offers: tuple[str, ...] = ()


class Closing(Value):
    """A closing that waits for the steps that are still missing."""

    result: str
    by: str
    at: AwareDatetime


class Play(Value):
    """The handling play: a workflow of its problem type, as far as it got in this round.

    ``next`` are the states that may follow, ``needs`` the steps without which the case is not closed.
    """

    id: str
    state: str
    turn: int = 1
    round: int = 1
    steps: tuple[PlayStep, ...] = ()
    next: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    standard: tuple[str, ...] = Field((), description="the steps that the audit of closed cases looks for")
    rank: Rank | None = None
    rights: Rights | None = None
    closing: Closing | None = Field(None, description="a closing that waits for the missing steps")

    def step(self, name: str) -> PlayStep | None:
        """The step of that name, if it was reached."""
        return next((one for one in self.steps if one.name == name), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The steps that are missing before the case may be closed."""
        reached = {one.name for one in self.steps}
        return tuple(one for one in self.needs if one not in reached)


class Incident(Value):
    """A crisis of several cases, or one that may become one; ``case`` opened it."""

    id: str
    topic: str
    rule: str
    case: str
    opened_at: AwareDatetime
    due_at: AwareDatetime
