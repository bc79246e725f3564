"""Whether the settings are right, and the webhook registered by call."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from pydantic import Field

from rmabridge.abilities import Connects, Context, Probes, Secrets, live
from rmabridge.errors import Unauthorised
from rmabridge.wire.bodies import dig, read_json

from .answers import Inbox, Me, Webhook
from .calls import Calls
from .terms import API_INBOX, CHANGES, MESSAGE

TOPICS: Final = [MESSAGE, *CHANGES]


class Connecting(Calls, Probes, Connects):
    """Signs in, and sees to it that Chatwoot calls us."""

    secret: Secrets = Field((), description="the webhook's own secret; where Chatwoot signs, it must be set")
    url_key: Secrets = Field(
        (), description="secret in the webhook's address (…?key=SECRET), for a Chatwoot that does not sign"
    )

    async def probe(self, ctx: Context) -> str:
        me = Me.model_validate_json(await self._ask(ctx, "GET", "/profile"))
        roles = {one.id: one.role for one in me.accounts}
        if str(self.account_id) not in roles:
            raise Unauthorised(f"{me.name} is not in account {self.account_id}", hint="check account_id and token")
        inbox = Inbox.model_validate_json(await self._call(ctx, "GET", f"/inboxes/{self.inbox_id}"))
        known = f"signed in to {self.site} as {me.name} (user {me.id}), inbox {inbox.name}"
        return "; ".join([known, *self._advice(me.id, roles[str(self.account_id)], inbox)])

    def _advice(self, user: str, role: str | None, inbox: Inbox) -> list[str]:
        told = []
        if user not in self.bot_ids:
            told.append(f'set bot_ids = ["{user}"], else our own messages come back as news')
        if inbox.channel_type != API_INBOX:
            told.append(f"inbox {inbox.id} is a {inbox.channel_type}: make an API inbox and name it in inbox_id")
        if role == "agent":
            told.append("as a mere agent it is assigned what it reopens, and may register no webhook")
        return told

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        await self._show_attribute(ctx)
        keys = live(self.url_key, ctx.now())
        target = f"{url}?key={quote(keys[0], safe='')}" if keys else url
        body = {"url": target, "name": "rmabridge", "subscriptions": TOPICS}
        known = next((one for one in await self._webhooks(ctx) if one.url == target), None)
        if known is None:
            await self._call(ctx, "POST", "/webhooks", body)
        elif not set(TOPICS) <= set(known.subscriptions):
            await self._call(ctx, "PATCH", f"/webhooks/{known.id}", body)
        if live(self.secret, ctx.now()) or keys:
            return ()
        return (
            "Copy the webhook's secret from Settings → Integrations → Webhooks into the setting secret",
            "A Chatwoot that shows no secret does not sign: set url_key to a long random text and connect again",
        )

    async def _webhooks(self, ctx: Context) -> list[Webhook]:
        answer = read_json(await self._call(ctx, "GET", "/webhooks"))
        # The description says a bare list, the server wraps it.
        found: Any = answer if isinstance(answer, list) else dig(answer, "payload", "webhooks") or []
        return [Webhook.model_validate(one) for one in found]

    async def _show_attribute(self, ctx: Context) -> None:
        """Agents see a custom attribute only where the account defines it."""
        path = "/custom_attribute_definitions"
        known = read_json(await self._call(ctx, "GET", path, params={"attribute_model": "0"}))
        if any(dig(one, "attribute_key") == self.attribute for one in known if isinstance(known, list)):
            return
        body = {
            "attribute_display_name": "Case",
            "attribute_display_type": 0,
            "attribute_description": "After-sales case of the bridge",
            "attribute_key": self.attribute,
            "attribute_model": 0,
        }
        await self._call(ctx, "POST", path, body)
