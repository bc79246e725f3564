"""What an account can do, as small ABCs, and what the bridge lends to it. Plugins build on these names alone."""

from .claims import AnswersEnquiries, GivesProof, KnowsCoverage, TakesClaims
from .context import Context, Finding, Handler, Result, Tokens
from .effects import (
    Connects,
    DecidesReturns,
    FetchesOrders,
    Forwards,
    KeepsTickets,
    Limit,
    PaysRefunds,
    Probes,
    SendsMessages,
    TracksParcels,
)
from .evidence import AsksForEvidence, Need
from .giving import GrantsCredit, PrintsLabels, ShipsReplacements, TagsBuyers
from .plugin import Plugin, per_second, performs
from .policy import Fact, Policy, Proposal, RuleText, Say, Timer, View
from .polling import Item, Page, Polls, Reconciles
from .reading import ClassifiesText
from .secrets import Secret, Secrets, live
from .shop import Shop, Way
from .tokens import granted, held_token, keep_token, token_mark
from .webhooks import Inbound, Parses, Receipt, ReceivesWebhooks, Reply, WebRequest

__all__ = [
    "AnswersEnquiries",
    "AsksForEvidence",
    "ClassifiesText",
    "Connects",
    "Context",
    "DecidesReturns",
    "Fact",
    "FetchesOrders",
    "Finding",
    "Forwards",
    "GivesProof",
    "GrantsCredit",
    "Handler",
    "Inbound",
    "Item",
    "KeepsTickets",
    "KnowsCoverage",
    "Limit",
    "Need",
    "Page",
    "Parses",
    "PaysRefunds",
    "Plugin",
    "Policy",
    "Polls",
    "PrintsLabels",
    "Probes",
    "Proposal",
    "Receipt",
    "ReceivesWebhooks",
    "Reconciles",
    "Reply",
    "Result",
    "RuleText",
    "Say",
    "Secret",
    "Secrets",
    "SendsMessages",
    "ShipsReplacements",
    "Shop",
    "TagsBuyers",
    "TakesClaims",
    "Timer",
    "Tokens",
    "TracksParcels",
    "View",
    "Way",
    "WebRequest",
    "granted",
    "held_token",
    "keep_token",
    "live",
    "per_second",
    "performs",
    "token_mark",
]
