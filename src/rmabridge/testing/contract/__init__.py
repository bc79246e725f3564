"""What every plugin must keep, as test classes: subclass the one of your kind, say which plugin, and run pytest.

::

    class TestAcme(CarrierContract):
        plugin = Acme
        settings = {"api_key": "k", "secret": "s"}

        def calls(self):
            return [Call("query", QueryParcel(waybill="A1"), ({"status": "delivered"},))]

Each check is a method whose name says what is kept; override one only with a reason that you would tell a reviewer.
"""

from .calls import Call, CallContract
from .kinds import (
    CarrierContract,
    ChannelContract,
    HelpdeskContract,
    MarketplaceContract,
    PolicyContract,
    ServiceContract,
)
from .parsing import ParseContract
from .settings import Contract
from .webhooks import WebhookContract

__all__ = [
    "Call",
    "CallContract",
    "CarrierContract",
    "ChannelContract",
    "Contract",
    "HelpdeskContract",
    "MarketplaceContract",
    "ParseContract",
    "PolicyContract",
    "ServiceContract",
    "WebhookContract",
]
