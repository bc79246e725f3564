"""Who may knock: the peer's real address behind proxies, the accounts' allow-lists, and the doors that stay closed.

Hooks, signed links and the way back from a consent page prove themselves; ``/healthz`` tells nothing. Every other door
answers this machine, or whoever has ``[bridge] door_token``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

from ..errors import Refused

if TYPE_CHECKING:
    from aiohttp import web

    from ..abilities import Plugin
    from ..config import Bridge

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Whoever may open these proves it to their handlers; what is not listed here is closed.
OPEN: Final = frozenset({"/hooks/{account}", "/oauth/{account}", "/l/{token}{rest}", "/healthz"})
ASKED: Final = "/readyz"  # answers everybody, its reasons only those who may see them
FORWARDING: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)
_PORT: Final = re.compile(r"^\[?([0-9A-Fa-f:.]+?)\]?(?::\d{1,5})?$")


class NotFrom(Refused):
    """The account takes nothing from this address."""

    status = 403
    title = "Address not allowed"


class Closed(Refused):
    """The door is for this machine, or for whoever has the token."""

    status = 403
    title = "This door is closed"


class Guard:
    """What ``[bridge]`` says about who may knock."""

    def __init__(self, settings: Bridge) -> None:
        self._proxies, self._header = settings.proxies, settings.proxy_header
        self._token = settings.door_token.get_secret_value().encode() if settings.door_token else b""

    def peer(self, request: web.Request) -> Address | None:
        """The sender's address: that of the connection, or what trusted proxies say; None where nobody knows it."""
        here = address(request.remote or "")
        if here is None or not within(here, self._proxies):
            return here
        for told in reversed([*self._forwarded(request)]):
            here = address(told)
            if here is None or not within(here, self._proxies):
                return here
        return here

    def told(self, request: web.Request) -> str:
        """``peer`` as text; empty where nobody knows it."""
        return str(self.peer(request) or "") if self._proxies else written(request.remote or "")

    def _forwarded(self, request: web.Request) -> Iterator[str]:
        for one in ",".join(request.headers.getall(self._header, ())).split(","):
            if self._header == "X-Forwarded-For":
                if one.strip():
                    yield one.strip()
            elif found := _FOR.search(one):
                yield found[1] or found[2]

    def admit(self, request: web.Request, plugin: Plugin) -> None:
        """Raise ``NotFrom`` where the account's ``allow_from`` leaves the sender out."""
        if plugin.allow_from:
            here = self.peer(request)
            if here is None or not within(here, plugin.allow_from):
                raise NotFrom(f"[{plugin.account}] allow_from does not name this address")

    def trusted(self, request: web.Request) -> bool:
        """Whether it comes from this machine, or has the token."""
        return self._has_token(request) or self._from_here(request)

    def _has_token(self, request: web.Request) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        told = given.strip().encode(errors="surrogatepass")
        return bool(self._token) and kind.lower() == "bearer" and hmac.compare_digest(told, self._token)

    def _from_here(self, request: web.Request) -> bool:
        """From this machine itself: not handed on by a proxy, nor by a page in its browser."""
        remote = address(request.remote or "")
        if remote is None or not remote.is_loopback or any(one in request.headers for one in FORWARDING):
            return False
        return _is_local(request.url.host or "")

    def enter(self, request: web.Request) -> None:
        """Raise ``Closed`` at every door that is not listed."""
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else None
        if not (path is None or path in OPEN or path == ASKED or self.trusted(request)):
            raise Closed("this door answers on this machine only, or with [bridge] door_token as a bearer token")


@lru_cache(maxsize=1024)
def address(text: str) -> Address | None:
    """An address, its port and zone left out; an IPv4 one that is dressed as IPv6 is undressed."""
    found = _PORT.match(text)
    for one in (text, found[1] if found else ""):
        try:
            made = ip_address(one)
        except ValueError:
            continue
        return made.ipv4_mapped or made if isinstance(made, IPv6Address) else made
    return None


@lru_cache(maxsize=1024)
def written(text: str) -> str:
    """An address in the one way that it is written; empty where it is none."""
    return str(address(text) or "")


def within(one: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    return any(one in net for net in networks)


def _is_local(host: str) -> bool:
    """A name that a page elsewhere cannot have pointed at this machine."""
    return host in {"localhost", ""} or address(host) is not None
