"""What every plugin must keep, as test classes: subclass the one of your kind, say which plugin, and run pytest.

::

    class TestAcme(CarrierContract):
        plugin = Acme
        settings = {"api_key": "k", "secret": "s"}

        def calls(self):
            return [Call("query", QueryParcel(waybill="A1"), ({"status": "delivered"},))]

``CarrierContract``, ``ChannelContract``, ``HelpdeskContract``, ``MarketplaceContract``, ``ServiceContract`` and
``PolicyContract`` are for the kinds; ``CallContract`` holds the checks of every call out and of what each ability
promises. Derive from ``FetchContract`` as well where the account polls or lists, from ``ConnectContract`` where it is
probed or connected, from ``LearnContract`` where it fetches the keys that webhooks are signed with, from
``ReceiptContract`` for a channel that reports what became of messages, from ``EvidenceContract`` for a policy that asks
buyers for evidence.

Each check is a method whose name says what is kept; override one only with a reason that you would tell a reviewer.
"""

from .calling import Call
from .calls import CallContract
from .connecting import ConnectContract
from .fetching import Fetch, FetchContract
from .kinds import (
    CarrierContract,
    ChannelContract,
    HelpdeskContract,
    MarketplaceContract,
    ServiceContract,
)
from .learning import LearnContract
from .parsing import ParseContract
from .policies import EvidenceContract, PolicyContract
from .receipts import ReceiptContract
from .settings import Contract
from .webhooks import WebhookContract

__all__ = [
    "Call",
    "CallContract",
    "CarrierContract",
    "ChannelContract",
    "ConnectContract",
    "Contract",
    "EvidenceContract",
    "Fetch",
    "FetchContract",
    "HelpdeskContract",
    "LearnContract",
    "MarketplaceContract",
    "ParseContract",
    "PolicyContract",
    "ReceiptContract",
    "ServiceContract",
    "WebhookContract",
]
