"""A small Feishu: a group's custom robot, an app's token and messages, and enciphered events."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, ClassVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .feishu_doors import Doors


def encrypted(plain: bytes, key: str, start: bytes) -> str:
    """AES-256-CBC under the hash of the key, the first 16 bytes before it, in base64."""
    padding = 16 - len(plain) % 16
    cipher = Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), modes.CBC(start)).encryptor()
    return base64.b64encode(start + cipher.update(plain + bytes([padding]) * padding) + cipher.finalize()).decode()


def event_signature(stamp: str, nonce: str, key: str, body: bytes) -> str:
    """X-Lark-Signature: a plain SHA-256, in hex."""
    return hashlib.sha256(stamp.encode() + nonce.encode() + key.encode() + body).hexdigest()


class FeishuSim(Doors):
    """One tenant with one group, whose robot posts, and one app that people write to.

    ``as_app`` says which of both ``account_settings`` are for. ``encrypt_key`` None sends events as they are.
    """

    name: ClassVar[str] = "feishu"

    def __init__(
        self,
        *,
        as_app: bool = False,
        robot: str = "7529990a-d399-4430-8507-3de496dfd77a",
        secret: str | None = "q2UnBodys3cret4g",  # noqa: S107 - a robot that is nobody's
        keywords: tuple[str, ...] = (),
        encrypt_key: str | None = "test key",
        hook: str | None = None,
    ) -> None:
        super().__init__(robot, secret, tuple(keywords), hook)
        self.as_app, self.encrypt_key = as_app, encrypt_key
        self.verification_token = "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV"  # noqa: S105 - an app that is nobody's
        self._events = 0

    def account_settings(self) -> dict[str, Any]:
        """Settings of the robot's account, or of the app's."""
        if not self.as_app:
            known = {"robot": self.robot, "secret": self.secret, "keyword": next(iter(self.keywords), None)}
        else:
            known = {"app_id": self.app_id, "app_secret": self.app_secret}
            known |= {"encrypt_key": self.encrypt_key, "verification_token": self.verification_token}
        return {**super().account_settings(), **{name: value for name, value in known.items() if value}}

    async def do_message(
        self,
        text: str = "屏幕碎了",
        *,
        who: str = "ou_84aad35d084aa403a838cf73ee18467",
        chat: str = "oc_5ce6d572455d361153b7",
        chat_type: str = "p2p",
        times: int = 1,
    ) -> int:
        """Somebody writes to the app; ``times`` tells of it again, as the vendor does when it hears no 200."""
        self._events += 1
        content = json.dumps({"text": text}, ensure_ascii=False)
        message = {"message_id": f"om_{self._events}", "chat_id": chat, "chat_type": chat_type}
        message |= {"message_type": "text", "content": content, "create_time": self._millis()}
        sender = {"sender_id": {"open_id": who}, "sender_type": "user", "tenant_key": "2ca1d211f64f6438"}
        body = self._event("im.message.receive_v1", {"sender": sender, "message": message})
        return [await self._tell(body) for _ in range(times)][-1]

    async def do_other_event(self) -> int:
        """Something happens that is no message."""
        self._events += 1
        return await self._tell(self._event("im.chat.disbanded_v1", {"chat_id": "oc_5ce6d572455d361153b7"}))

    async def do_verify_address(self) -> bool:
        """The operator saves the events' address: whether the challenge is answered as it must be."""
        challenge, said = f"ajls384kdjx98XX-{self._events}", b""

        def heard(status: int, answer: bytes) -> bool:
            nonlocal said
            said = answer
            return status == 200

        asked = {"challenge": challenge, "token": self.verification_token, "type": "url_verification"}
        body, _ = self._sealed(asked)
        status = await self.deliver(body, {"Content-Type": "application/json"}, taken=heard)
        return status == 200 and json.loads(said) == {"challenge": challenge}

    def _event(self, kind: str, event: dict[str, Any]) -> dict[str, Any]:
        header = {"event_id": f"5e3702a8{self._events:08d}", "event_type": kind, "create_time": self._millis()}
        header |= {"token": self.verification_token, "app_id": self.app_id, "tenant_key": "2ca1d211f64f6438"}
        return {"schema": "2.0", "header": header, "event": event}

    async def _tell(self, event: dict[str, Any]) -> int:
        body, headers = self._sealed(event)
        return await self.deliver(body, headers)

    def _sealed(self, told: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        body = json.dumps(told, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.encrypt_key is None:
            return body, headers
        start = hashlib.sha256(body).digest()[:16]
        body = json.dumps({"encrypt": encrypted(body, self.encrypt_key, start)}).encode()
        stamp, nonce = str(int(self.now().timestamp())), str(self._events)
        headers |= {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": nonce}
        headers["X-Lark-Signature"] = event_signature(stamp, nonce, self.encrypt_key, body)
        return body, headers

    def _millis(self) -> str:
        return str(int(self.now().timestamp() * 1000))

    def do_remove(self) -> None:
        """Somebody takes the robot out of its group."""
        self.robot = None

    def do_forget_tokens(self) -> None:
        """All tokens are void from now on."""
        self.tokens.clear()

    def do_fail_next(self, code: int = 99991400, msg: str = "request trigger frequency limit", times: int = 1) -> None:
        """The next requests are refused with this code."""
        self.refuse += [(code, msg)] * times

    def do_lose_answers(self, times: int = 1) -> None:
        """The next messages are taken, and their answers are lost."""
        self.faults.add("lost answer", times=times, path="/im/v1/messages")
