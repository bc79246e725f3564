"""The hooks: the one plugin mechanism of the bridge. All are synchronous and return values, never coroutines.

A plugin module answers ``register_<plural>`` with its classes; the bridge makes one object per configured account and
calls the other hooks on those objects. The classes in ``rmabridge.abilities`` answer ``route`` from their methods, so
that most plugins write no hook but the first.

The hooks, the abilities and the model are one versioned API. A plugin says which version it was written for, by
``rmabridge_api = 1`` in its module or ``api: ClassVar[str] = "1"`` in its class; one that says nothing means 1. ``API``
rises when a plugin can use something that older bridges lack, ``OLDEST`` when something that old plugins use is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pluggy

from .abilities import Handler, Plugin, Policy, Proposal, View
from .model import Action, Case, Event, Verdict

hookspec = pluggy.HookspecMarker("rmabridge")
hookimpl = pluggy.HookimplMarker("rmabridge")

API: Final = 1
OLDEST: Final = 1


@hookspec
def register_marketplaces() -> list[type[Plugin]]:
    """The marketplace plugins of this module.

    Example::

        @hookimpl
        def register_marketplaces():
            return [Shopify]
    """
    return []


@hookspec
def register_helpdesks() -> list[type[Plugin]]:
    """The help-desk plugins of this module.

    Example::

        @hookimpl
        def register_helpdesks():
            return [Zendesk]
    """
    return []


@hookspec
def register_carriers() -> list[type[Plugin]]:
    """The carrier plugins of this module.

    Example::

        @hookimpl
        def register_carriers():
            return [Kdniao]
    """
    return []


@hookspec
def register_channels() -> list[type[Plugin]]:
    """The channel plugins of this module.

    Example::

        @hookimpl
        def register_channels():
            return [Smtp]
    """
    return []


@hookspec
def register_services() -> list[type[Plugin]]:
    """Plugins that talk to a system of the shop: ERP, warehouse, insurer, coupons, or any address of its own.

    Example::

        @hookimpl
        def register_services():
            return [Http]
    """
    return []


@hookspec
def register_policies() -> list[type[Policy]]:
    """The policy plugins of this module.

    Example::

        @hookimpl
        def register_policies():
            return [FirstReply]
    """
    return []


@hookspec
def decide(case: Case, event: Event, view: View) -> Iterable[Proposal]:
    """Propose actions, further events and timers for the case as it is. Pure: no I/O, no clock but ``view.now``.

    Example::

        def decide(self, case, event, view):
            if case.status == "new":
                yield OpenTicket(external=case.id, subject=f"[{case.id}]", text="…")
    """
    return ()


@hookspec
def amend(action: Action, case: Case, view: View) -> Action | None:
    """Give back the action with better words or fuller facts, or None to leave it.

    Example::

        def amend(self, action, case, view):
            if isinstance(action, CommentTicket) and action.ticket is None:
                return action.model_copy(update={"ticket": case.ticket.id})
    """
    return None


@hookspec
def review(action: Action, case: Case, view: View) -> Verdict | None:
    """Judge a proposed action: allow, hold or deny, each with a rule id and a reason; None has no opinion.

    Example::

        def review(self, action, case, view):
            if action.moves_money and action.amount > self.limit:
                return hold("returns.limit", f"{action.amount} is above {self.limit}")
    """
    return None


@hookspec
def route(action: Action) -> Handler | None:
    """The handler that carries the action out on this account, or None. Called on the account's object only.

    Example::

        def route(self, action):
            return Handler(self.track, repeatable=True) if isinstance(action, TrackParcel) else None
    """
    return None
