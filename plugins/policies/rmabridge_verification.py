"""Verification: the writer is the order's buyer before order data is shown or money moves.

The last writer is compared with the order: buyer id, e-mail address, last digits of the phone. Who is another one, or
cannot be told, is asked one question, on the way on which they wrote; until it is answered automatic messages and
money wait, then a person decides. What an agent writes goes out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.reach import tell
from rmabridge.core.writers import Standing, answers, digest, order_names, standing, stranger, tails
from rmabridge.model import (
    NEWS,
    Action,
    Author,
    Buyer,
    Case,
    Event,
    GiveCredit,
    Identity,
    IdentityChecked,
    MessageReceived,
    PayRefund,
    Ref,
    RefKind,
    Reship,
    SendMessage,
    Verdict,
)
from rmabridge.model.verdict import deny, hold

RULE: Final = "verification.identity"
OWN: Final = "verification."
# The clock by which the bridge judges a held action again.
RELEASE: Final = "release:"
Proof = Literal["id", "email", "phone"]


class Verification(Policy):
    """Asks who writes before anything of the order is told or given."""

    title: ClassVar[str] = "Verification"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS

    proofs: tuple[Proof, ...] = Field(("id", "email", "phone"), description="what verifies a writer where it agrees")
    questions: int = Field(2, ge=0, le=5, description="most times the question is asked; after them a person decides")
    patience: timedelta = Field(timedelta(hours=24), description="how long messages and money wait for the answer")
    unproven: Literal["hold", "deny"] = Field("hold", description="what becomes of money for a writer not verified")
    safe: tuple[str, ...] = Field(
        (), description="templates without order data, by how their id begins, that go to anybody: 'greeting.'"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Note what was found, ask, read the answer."""
        found = standing(case, view.shop.marketplace, self.proofs)
        if found is None:
            return
        if not case.open or self._proven(found, view):
            yield from _noted(case, found, view, Identity.VERIFIED)
            return
        yield from _noted(case, found, view, found.identity)
        asked = _asked(found, view)
        if not asked:
            yield from self._ask(case, found, view, 1)
        elif self._answered(event, found):
            yield from self._take(case, event, found, view, len(asked))

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Money, and automatic words to the buyer, wait until the writer is verified."""
        money = isinstance(action, PayRefund | GiveCredit | Reship)
        if not money and not self._tells(action):
            return None
        found = standing(case, view.shop.marketplace, self.proofs)
        if found is None:
            return None
        if self._proven(found, view):
            return self._misled(action, case, view)
        reason = f"the last writer is not verified: {'; '.join(found.why)}"
        until = found.writer.at + self.patience
        if money and self.unproven == "deny":
            return deny(RULE, reason)
        if self._askable(case) and not _failed(found, view) and view.now < until:
            return hold(RULE, reason, until=until)
        return hold(RULE, reason) if money else deny(RULE, reason)

    def _misled(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold words for the buyer, who is known by now, that would go to somebody who wrote before and is not."""
        if not isinstance(action, SendMessage) or not self._tells(action):
            return None
        marketplace = view.shop.marketplace
        elsewhere = case.order is not None and stranger(
            case, action.to, marketplace, self.proofs, lambda one: view.proposed(f"verify:{digest(one)}:yes")
        )
        return hold(RULE, "the address was given by somebody who is not verified") if elsewhere else None

    def _proven(self, found: Standing, view: View) -> bool:
        return found.identity is Identity.VERIFIED or view.proposed(_key(found, "yes"))

    def _tells(self, action: Action) -> bool:
        if not isinstance(action, SendMessage) or action.audience != "buyer" or action.template is None:
            return False
        return not action.template.id.startswith((OWN, *self.safe))

    def _askable(self, case: Case) -> bool:
        return self.questions > 0 and bool(tails(case) or order_names(case))

    def _ask(self, case: Case, found: Standing, view: View, number: int) -> Iterable[Proposal]:
        what = "phone" if tails(case) else "order" if order_names(case) else None
        if what and number <= self.questions:
            message = tell(_stranger(case, found), view, _key(found, f"ask:{number}"), "verification.ask", what=what)
            if message:
                yield message

    def _answered(self, event: Event, found: Standing) -> bool:
        if not isinstance(event, MessageReceived) or event.message.author is not Author.BUYER:
            return False
        return event.message.at == found.writer.at

    def _take(self, case: Case, event: Event, found: Standing, view: View, asked: int) -> Iterable[Proposal]:
        """A right answer verifies; a wrong one is asked again, and at last left to a person."""
        right = answers(event.message.text, case) if isinstance(event, MessageReceived) else None
        if right is None or _failed(found, view):
            return
        if right:
            yield from self._say(case, found, view, "yes")
            yield IdentityChecked(
                key=f"identity:{_key(found, 'answered')}",
                at=view.now,
                identity=Identity.VERIFIED,
                why=("the question was answered",),
            )
            held = [one for one in case.deadlines if one.name.startswith(RELEASE) and one.due_at > view.now]
            yield from (Timer(one.name, view.now) for one in held)
        elif asked < self.questions:
            yield from self._ask(case, found, view, asked + 1)
        else:
            yield from self._say(case, found, view, "no")

    def _say(self, case: Case, found: Standing, view: View, what: str) -> Iterable[Proposal]:
        if message := tell(_stranger(case, found), view, _key(found, what), f"verification.{what}"):
            yield message


def _key(found: Standing, what: str) -> str:
    return f"verify:{digest(found.writer)}:{what}"


def _asked(found: Standing, view: View) -> list[str]:
    return [one for one in view.ledger if one.startswith(_key(found, "ask:"))]


def _failed(found: Standing, view: View) -> bool:
    return view.proposed(_key(found, "no"))


def _noted(case: Case, found: Standing, view: View, identity: Identity) -> Iterable[Proposal]:
    if case.identity is not identity:
        key = f"identity:{_key(found, identity)}:{found.writer.at.isoformat()}"
        why = found.why if identity is found.identity else ("the question was answered",)
        yield IdentityChecked(key=key, at=view.now, identity=identity, why=why)


def _stranger(case: Case, found: Standing) -> Case:
    """The case as the writer may see it: their own addresses, and nothing of the order."""
    writer, locale = found.writer, (case.buyer.locale if case.buyer else None) or case.language
    buyer = Buyer(email=writer.email, phone=writer.phone, thread=writer.thread, chat=writer.chat, locale=locale)
    refs = (Ref(kind=RefKind.THREAD, value=writer.thread, account=writer.account),) if writer.thread else ()
    return case.model_copy(update={"buyer": buyer, "order": None, "refs": refs})


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Verification]
