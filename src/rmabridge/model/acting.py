"""What all actions have in common."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from .money import Money
from .stored import Stored


class Base(Stored):
    """What all actions have.

    ``account`` carries the action out (left out, the configuration resolves it); past ``not_after`` it is not sent;
    it waits for the action with key ``needs``; a waiting action with the same ``replaces`` is superseded by it.
    """

    kind: ClassVar[str] = ""
    moves_money: ClassVar[bool] = False

    schema_: int = Field(1, alias="schema", serialization_alias="schema")
    account: str | None = None
    not_after: AwareDatetime | None = None
    needs: str | None = None
    replaces: str | None = None

    @property
    def key(self) -> str:
        """What makes this action the same as another one of its case."""
        return self.kind

    @property
    def stream(self) -> str:
        """The object whose effects stay in order."""
        return self.kind

    @property
    def effect(self) -> str | None:
        """Unique per account across cases, for what moves money."""
        return None

    @property
    def worth(self) -> Money | None:
        """What carrying it out costs the shop, where it moves money."""
        return getattr(self, "amount", None) if self.moves_money else None
