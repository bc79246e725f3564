"""The account's settings and its one way to call GraphQL."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Plugin, Secrets
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import dig, text

from . import queries
from .parsing import Reader
from .terms import nodes, word

LINES: Final = 50
MOST_PAGES: Final = 20
# After these the effect may have happened all the same, so a mutation must not be called refused.
_UNSURE: Final = frozenset({"INTERNAL_ERROR", "NOTIFICATION_FAILED", "IDEMPOTENCY_CONCURRENT_REQUEST"})


def _codes(errors: Any) -> list[str]:
    listed = errors if isinstance(errors, list) else [errors]
    return [word(dig(one, "extensions", "code")) for one in listed]


def _told(errors: Any) -> str:
    listed = errors if isinstance(errors, list) else [errors]
    return "; ".join(text(dig(one, "message")) or str(one)[:200] for one in listed)


def _refusal(errors: Any, codes: list[str]) -> DeliveryError:
    if {"THROTTLED", "INTERNAL_ERROR"}.intersection(codes):
        return Unavailable(_told(errors))
    if "ACCESS_DENIED" in codes:
        return Unauthorised(_told(errors), hint="give the app the scope that the text names, and connect again")
    return Rejected(_told(errors))


def _user_errors(name: str, listed: list[Any]) -> Exception:
    told = []
    for one in listed:
        field, code = dig(one, "field"), text(dig(one, "code"))
        where = ".".join(str(part) for part in field) if isinstance(field, list) else str(field or "input")
        told.append(f"{where}: {text(dig(one, 'message'))}" + (f" [{code}]" if code else ""))
    said = f"{name}: {'; '.join(told)}"
    unsure = _UNSURE.intersection(word(dig(one, "code")) for one in listed)
    return ValueError(f"{said}: it may have happened") if unsure else Rejected(said)


def outcome(answer: Any, *, mutation: bool) -> dict[str, Any]:
    """The ``data`` of an answer; what it says went wrong is raised."""
    if not isinstance(answer, dict):
        raise ValueError("the answer is not GraphQL")
    data, errors = answer.get("data"), answer.get("errors")
    roots = data if isinstance(data, dict) else {}
    if errors:
        codes = _codes(errors)
        # A field without its scope (customer data, say) comes as null beside the rest, which is used.
        partial = any(roots.values()) and set(codes) == {"ACCESS_DENIED"}
        if mutation and (_UNSURE.intersection(codes) or (any(roots.values()) and not partial)):
            raise ValueError(f"{_told(errors)}: it may have happened")
        if not partial:
            raise _refusal(errors, codes)
    elif not isinstance(data, dict):
        raise ValueError("the answer carries neither data nor errors")
    for name, node in roots.items():
        if isinstance(listed := dig(node, "userErrors"), list) and listed:
            raise _user_errors(name, listed)
    return roots


class Calls(Plugin):
    """Where the shop is and how it is asked."""

    shop: str = Field(description="the shop's domain, for example demo.myshopify.com", pattern=r"^[A-Za-z0-9.-]+$")
    url: str | None = Field(None, description="base address of the API; https://{shop} where it is left out")
    api_version: str = Field("2026-10", description="version of the Admin API", pattern=r"^(\d{4}-\d\d|unstable)$")
    access_token: SecretStr | None = Field(
        None, description="Admin API token; the one stored by connecting if left out"
    )
    client_id: str | None = Field(None, description="the app's client id, for connecting by consent")
    secret: Secrets = Field(description="the app's client secret, which signs webhooks; two while it is rotated")
    scopes: tuple[str, ...] = Field(
        ("read_orders", "write_orders", "read_returns", "write_returns", "read_customers"),
        description="what the app asks for when it is connected",
    )
    locale_default: str | None = Field(None, description="language of buyers for whom the shop names none")
    tier_tags: tuple[str, ...] = Field((), description="customer tags that are tiers, the best first")

    @property
    def reader(self) -> Reader:
        """Reads this shop's objects."""
        return Reader(self.shop, self.locale_default, self.tier_tags)

    @property
    def base(self) -> str:
        """The shop's address without a slash at its end."""
        return (self.url or f"https://{self.shop}").rstrip("/")

    async def _token(self, ctx: Context) -> str:
        if self.access_token:
            return self.access_token.get_secret_value()
        if token := (await ctx.tokens.get() or {}).get("access_token"):
            return token
        raise Unauthorised("there is no access token", hint="set access_token, or connect the account")

    async def _with_lines(self, ctx: Context, node: dict[str, Any], name: str, query: str) -> dict[str, Any]:
        """The return or order with all its lines: the pages after the first are read one by one."""
        held = node.get(name)
        for _ in range(MOST_PAGES):
            after = text(dig(held, "pageInfo", "endCursor"))
            if dig(held, "pageInfo", "hasNextPage") is not True or not after:
                break
            told = await self._call(ctx, query, {"id": node["id"], "lines": LINES, "after": after})
            more = dig(next(iter(told.values()), None), name)
            if not isinstance(more, dict):
                break
            held = {"nodes": [*nodes(held), *nodes(more)], "pageInfo": dig(more, "pageInfo")}
        return node | {name: held}

    async def _whole_return(self, ctx: Context, node: dict[str, Any]) -> dict[str, Any]:
        return await self._with_lines(ctx, node, "returnLineItems", queries.RETURN_LINES)

    async def _whole_order(self, ctx: Context, node: dict[str, Any]) -> dict[str, Any]:
        return await self._with_lines(ctx, node, "lineItems", queries.ORDER_LINES)

    async def _call(self, ctx: Context, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        mutation = query.startswith("mutation")
        answer = await ctx.http.post(
            f"{self.base}/admin/api/{self.api_version}/graphql.json",
            json={"query": query, "variables": variables or {}},
            headers={"X-Shopify-Access-Token": await self._token(ctx)},
            extensions={"reads": not mutation},
        )
        answer.raise_for_status()
        return outcome(answer.json(), mutation=mutation)
