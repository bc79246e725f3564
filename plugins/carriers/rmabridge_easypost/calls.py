"""The account's address and key, and its one way to call EasyPost."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import dig, read_object, text

# Refusals of credentials and of haste speak for themselves; what is left names a mistake in the request.
_PLAIN = frozenset({401, 403, 408, 425, 429})


class Calls(Plugin):
    """Settings that every call needs."""

    api_key: SecretStr = Field(min_length=1, description="API key; a test key sees test parcels only")
    url: str = Field("https://api.easypost.com/v2", description="address of the API")
    timeout: float = Field(20.0, gt=0, le=50, description="seconds to wait for an answer of EasyPost's")
    rate: str | None = Field("5/s", description="most calls to EasyPost, e.g. '5/s'; its lists allow five a second")

    async def _call(self, ctx: Context, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """One call and the object that it answers."""
        key = b64encode(f"{self.api_key.get_secret_value()}:".encode()).decode()
        headers = {"Authorization": f"Basic {key}"}
        response = await ctx.http.request(
            method, self.url.rstrip("/") + path, headers=headers, timeout=self.timeout, **parts
        )
        if 400 <= response.status_code < 500 and response.status_code not in _PLAIN:
            raise Rejected(f"EasyPost {response.status_code}: {_reason(response)}")
        response.raise_for_status()
        return read_object(response.content)


def _reason(response: httpx.Response) -> str:
    """The refusal in EasyPost's words, with the fields that it names."""
    try:
        error = dig(read_object(response.content), "error")
    except Malformed:
        return response.reason_phrase
    errors = dig(error, "errors")
    fields = [_field(one) for one in errors] if isinstance(errors, list) else []
    said = [text(dig(error, "code")), text(dig(error, "message")), *fields]
    return "; ".join(one for one in said if one) or response.reason_phrase


def _field(error: Any) -> str:
    named = [text(dig(error, name)) for name in ("field", "message")]
    return ": ".join(one for one in named if one) if isinstance(error, dict) else str(error)
