"""Chatwoot's records on loopback: contacts, conversations, messages, and the webhooks that tell of them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable
from typing import Any

from .server import Simulator

KINDS = {"incoming": 0, "outgoing": 1, "activity": 2, "template": 3}
Record = dict[str, Any]


class RefusalError(Exception):
    """Chatwoot refuses a call: the status and the body of its answer."""

    def __init__(self, status: int, body: Record) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


def missing() -> RefusalError:
    """Nothing of that number."""
    return RefusalError(404, {"error": "Resource could not be found"})


def invalid(said: str, *fields: str) -> RefusalError:
    """A record that cannot be kept."""
    return RefusalError(422, {"message": said, "attributes": list(fields)})


class ChatwootBooks(Simulator):
    """One account with a website inbox (chat widget) and an API inbox, and what is told of it."""

    def __init__(
        self,
        account_id: int = 1,
        token: str = "chatwoot-token",  # noqa: S107 - a simulator's token
        secret: str = "chatwoot-webhook-secret",  # noqa: S107
        hook: str | None = None,
        *,
        rate: int = 3000,
        tries: int = 1,
        signs: bool = True,
    ) -> None:
        super().__init__(hook=hook)
        self.account_id, self.token, self.secret = account_id, token, secret
        self.rate, self.tries, self.signs = rate, tries, signs
        self.lost = 0
        self.bot = {"id": 5, "name": "Bridge", "email": "bridge@example.com", "type": "user"}
        self.books |= {
            "contacts": {},
            "conversations": {},
            "messages": [],
            "hooks": {},
            "attributes": [],
            "users": {"5": self.bot},
            "inboxes": {
                "3": {"id": 3, "name": "Website", "channel_type": "Channel::WebWidget"},
                "4": {"id": 4, "name": "RMA", "channel_type": "Channel::Api"},
            },
            "sources": {},
        }
        self._ids, self._numbers = iter(range(71, 1 << 30)), iter(range(33, 1 << 30))
        self._minute: tuple[str, int] = ("", 0)
        self._last: list[tuple[str, str | None, bytes, str]] = []
        self._order = asyncio.Lock()
        self._under_way: set[asyncio.Task[int]] = set()

    def account_settings(self) -> Record:
        """Settings of an account whose own conversations go to the API inbox."""
        return {**super().account_settings(), "inbox_id": 4, "bot_ids": [str(self.bot["id"])]}

    async def stop(self) -> None:
        """Let webhooks under way arrive, then close."""
        await self.settle()
        await super().stop()

    async def settle(self) -> None:
        """Wait until the webhooks that the API user's own calls caused are out."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    def _talk(self, number: int | str) -> Record:
        found: Record | None = self.books["conversations"].get(str(number))
        if found is None:
            raise missing()
        return found

    def _of_talk(self, talk: Record) -> list[Record]:
        return [one for one in self.books["messages"] if one["conversation_id"] == talk["id"]]

    def _begin(self, inbox: int, contact: Record, additional: Record, verified: bool) -> Record:
        talk = {
            "id": next(self._numbers),
            "inbox_id": inbox,
            "contact_id": contact["id"],
            "status": "open",
            "priority": None,
            "labels": [],
            "custom_attributes": {},
            "additional_attributes": additional,
            "assignee": None,
            "team": None,
            "hmac_verified": verified,
            "waiting_since": 0,
            "last_activity_at": int(self.now().timestamp()),
            "created_at": int(self.now().timestamp()),
            "updated_at": self.now().timestamp(),
        }
        self.books["conversations"][str(talk["id"])] = talk
        return talk

    def _contact(self, given: Record) -> Record:
        number = next(self._ids)
        fields = ("name", "email", "phone_number", "identifier")
        contact = {"id": number, **{field: given.get(field) for field in fields}}
        self.books["contacts"][str(number)] = contact
        return contact

    def _visitor(self, name: str, email: str | None, identifier: str | None) -> Record:
        for one in self.books["contacts"].values():
            if (identifier and one["identifier"] == identifier) or (email and one["email"] == email):
                found: Record = one
                return found
        return self._contact({"name": name, "email": email, "identifier": identifier})

    def _source(self, inbox: str, source: str, contact: int) -> None:
        """A source names one contact in an inbox."""
        if self.books["sources"].setdefault(f"{inbox}:{source}", contact) != contact:
            raise RefusalError(422, {"error": "source_id should be unique"})

    def _user(self, name: str) -> Record:
        users = self.books["users"]
        found: Record | None = next((one for one in users.values() if one["name"] == name), None)
        if found is None:
            number = next(self._ids)
            found = {"id": number, "name": name, "email": f"{name.lower()}@example.com", "type": "user"}
            users[str(number)] = found
        return found

    def _add(self, talk: Record, text: str, kind: str, sender: Record, *, private: bool = False) -> Record:
        self._touch(talk)
        talk["last_activity_at"] = int(self.now().timestamp())
        if kind == "incoming":
            talk["waiting_since"] = talk["waiting_since"] or talk["last_activity_at"]
        elif sender["type"] == "user" and not private:
            talk["waiting_since"] = 0
        message = {
            "id": next(self._ids),
            "content": text,
            "conversation_id": talk["id"],
            "inbox_id": talk["inbox_id"],
            "message_type": KINDS[kind],
            "content_type": "text",
            "private": private,
            "status": "sent",
            "source_id": None,
            "created_at": int(self.now().timestamp()),
            "sender": {"type": "contact", **sender},
        }
        self.books["messages"].append(message)
        return message

    def _touch(self, talk: Record) -> None:
        talk["updated_at"] = self.now().timestamp()

    async def _set_status(self, talk: Record, status: str) -> int:
        before, talk["status"] = talk["status"], status
        self._touch(talk)
        return await self._status_told(talk, before)

    def _shown(self, talk: Record) -> Record:
        inbox, contact = self.books["inboxes"][str(talk["inbox_id"])], self.books["contacts"][str(talk["contact_id"])]
        hidden = {"assignee", "team", "hmac_verified", "contact_id"}
        meta = {
            "sender": {**contact, "type": "contact"},
            "channel": inbox["channel_type"],
            "assignee": talk["assignee"],
            "team": talk["team"],
            "hmac_verified": talk["hmac_verified"],
        }
        kept = {name: value for name, value in talk.items() if name not in hidden}
        return {**kept, "account_id": self.account_id, "meta": meta, "messages": self._of_talk(talk)[-1:]}

    def _spawn(self, telling: Awaitable[int]) -> None:
        """Tell after the answer, in the order of the changes, as the vendor does."""

        async def told() -> int:
            async with self._order:
                return await telling

        task = asyncio.ensure_future(told())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _pushed(self, talk: Record) -> Record:
        shown = self._shown(talk)
        shown["channel"] = shown["meta"].pop("channel")
        del shown["account_id"]
        return {**shown, "can_reply": True, "contact_inbox": {"hmac_verified": talk["hmac_verified"]}}

    def _tell_talk(self, event: str, talk: Record, changed: Record | None = None) -> Awaitable[int]:
        body = {**self._pushed(talk), "event": event}
        if changed:
            body["changed_attributes"] = [{name: value} for name, value in changed.items()]
        return self._deliver_all(event, body)

    def _changed(self, talk: Record, changed: Record) -> Awaitable[int]:
        self._touch(talk)
        return self._tell_talk("conversation_updated", talk, changed)

    def _status_told(self, talk: Record, before: str) -> Awaitable[int]:
        """A change of status is told twice: by its own event, and as a change of the conversation."""
        changed = {"status": {"previous_value": before, "current_value": talk["status"]}}
        first = self._tell_talk("conversation_status_changed", talk, changed)
        second = self._tell_talk("conversation_updated", talk, changed)

        async def both() -> int:
            return max(await first, await second)

        return both()

    def _tell_message(self, message: Record) -> Awaitable[int]:
        talk = self._talk(message["conversation_id"])
        inbox = self.books["inboxes"][str(talk["inbox_id"])]
        kind = next(name for name, number in KINDS.items() if number == message["message_type"])
        body = {
            **{name: message[name] for name in ("id", "content", "content_type", "private", "source_id", "sender")},
            "event": "message_created",
            "message_type": kind,
            "content_attributes": {},
            "created_at": self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "account": {"id": self.account_id, "name": "Shop"},
            "inbox": {"id": inbox["id"], "name": inbox["name"]},
            "conversation": self._pushed(talk),
        }
        return self._deliver_all("message_created", body)

    def _deliver_all(self, event: str, body: Record) -> Awaitable[int]:
        """The body is made now, as things are now; sending it may wait."""
        raw = json.dumps(body, ensure_ascii=False).encode()
        targets = [(one["url"], one["secret"]) for one in self.books["hooks"].values() if event in one["subscriptions"]]
        targets += [(self.hook, self.secret)] if self.hook else []
        self._last = [(url, secret, raw, str(uuid.uuid4())) for url, secret in targets]
        sent = list(self._last)

        async def told() -> int:
            return max([await self._post(*one) for one in sent], default=0)

        return told()

    async def _post(self, url: str, secret: str | None, raw: bytes, delivery: str) -> int:
        headers = {"Content-Type": "application/json", "X-Chatwoot-Delivery": delivery}
        if self.signs and secret:
            stamp = str(int(self.now().timestamp()))
            mac = hmac.new(secret.encode(), stamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
            headers |= {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={mac}"}
        return await self.deliver(raw, headers, url=url, tries=self.tries)
