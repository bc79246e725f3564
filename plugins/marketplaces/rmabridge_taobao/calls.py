"""The account's settings, the signature of its calls, and what the answers say went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import dig, read_json, text
from rmabridge.wire.signing import digest_hex, hmac_hex, sorted_pairs

from .terms import number, stamp, table

Meaning = Literal["busy", "unsure", "credentials", "refused"]
Files = dict[str, tuple[str, bytes, str]]
_BAN = re.compile(r"ban will last for ([0-9]{1,6})", re.IGNORECASE)
_DIGESTS: Final = {"hmac": "md5", "hmac-sha256": "sha256"}
REFUND: Final = (
    "refund_id,tid,oid,status,refund_fee,total_fee,payment,reason,desc,good_status,has_good_return,order_status,"
    "refund_phase,refund_version,dispute_type,company_name,sid,good_return_time,cs_status,operation_contraint,"
    "refund_remind_timeout,num,num_iid,sku,outer_id,title,buyer_nick,buyer_open_uid,ouid,created,modified"
)
MESSAGES: Final = "id,refund_id,owner_nick,owner_open_uid,owner_role,content,pic_urls,created,message_type"


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """TOP's signature: all parameters sorted, name and value run together, in upper-case hex."""
    plain = sorted_pairs(params)
    if method == "md5":
        return digest_hex(f"{secret}{plain}{secret}".encode()).upper()
    return hmac_hex(secret, plain.encode(), _DIGESTS[method]).upper()


def meaning(code: str, sub: str, own: Mapping[str, Meaning]) -> Meaning:
    """What an error is to us; a sub-code says more than the code before it, the operator's own table comes first."""
    for known in (own, table("errors")):
        beginnings = [one for one in known if not one.isdigit() and sub.startswith(one)]
        if found := max(beginnings, key=len, default=code if code in known else None):
            told: Meaning = known[found]
            return told
    return "refused"


class Calls(Plugin):
    """One seller's session at one app, and its ways to ask and to act."""

    url: str = Field("https://eco.taobao.com/router/rest", description="the API's address; the sandbox has another")
    app_key: SecretStr = Field(description="the app's key")
    app_secret: SecretStr = Field(description="the app's secret, which signs every call", min_length=1)
    session: SecretStr = Field(
        description="the seller's session token; Taobao lets only sub-accounts agree to refunds", min_length=1
    )
    sign_method: Literal["md5", "hmac", "hmac-sha256"] = Field("hmac", description="how calls are signed")
    error_meanings: dict[str, Meaning] = Field(
        default_factory=dict,
        description="error codes, or beginnings of sub-codes, that mean something else than terms.toml says",
    )

    def _signed(self, ctx: Context, method: str, params: Mapping[str, Any], *, seller: bool) -> dict[str, str]:
        given = {
            "method": method,
            "app_key": self.app_key.get_secret_value(),
            "timestamp": stamp(ctx.now()),
            "format": "json",
            "v": "2.0",
            "sign_method": self.sign_method,
            **({"session": self.session.get_secret_value()} if seller else {}),
            **{name: str(value) for name, value in params.items() if value not in (None, "")},
        }
        return given | {"sign": sign(given, self.app_secret.get_secret_value(), self.sign_method)}

    async def _ask(self, ctx: Context, method: str, **params: Any) -> dict[str, Any]:
        """Read something: by GET, so that a line that breaks is no doubt about an effect."""
        answer = await ctx.http.get(self.url, params=self._signed(ctx, method, params, seller=True))
        answer.raise_for_status()
        return self._outcome(method, read_json(answer.content), acting=False)

    async def _act(
        self, ctx: Context, method: str, *, files: Files | None = None, seller: bool = True, **params: Any
    ) -> dict[str, Any]:
        """Do something; files are sent beside the signed parameters."""
        signed = self._signed(ctx, method, params, seller=seller)
        answer = await ctx.http.post(self.url, data=signed, files=files)
        answer.raise_for_status()
        return self._outcome(method, read_json(answer.content), acting=True)

    def _outcome(self, method: str, answer: Any, *, acting: bool) -> dict[str, Any]:
        if isinstance(told := dig(answer, "error_response"), dict):
            raise self._refusal(told, acting=acting)
        root = dig(answer, f"{method.removeprefix('taobao.').replace('.', '_')}_response")
        if not isinstance(root, dict):
            raise ValueError(f"the answer to {method} is not of TOP's form")
        return root

    def _refusal(self, told: dict[str, Any], *, acting: bool) -> Exception:
        code, sub = str(told.get("code") or ""), str(told.get("sub_code") or "")
        said = f"{code} {sub}: {text(told.get('sub_msg')) or text(told.get('msg')) or 'no reason given'}"
        match meaning(code, sub, self.error_meanings):
            case "busy":
                ban = _BAN.search(f"{told.get('sub_msg')} {told.get('msg')}")
                return Unavailable(said, retry_after=float(ban[1]) + 1 if ban else None)
            case "unsure":
                return ValueError(f"{said}: it may have happened") if acting else Unavailable(said)
            case "credentials":
                return Unauthorised(
                    said, hint="renew the seller's session, and check app_key, app_secret and the clock"
                )
            case _:
                return Rejected(said)

    async def _refund(self, request: str, ctx: Context) -> dict[str, Any]:
        """The refund as it is now, with the version that the next decision must name."""
        told = await self._ask(ctx, "taobao.refund.get", refund_id=request, fields=REFUND)
        held = told.get("refund")
        if not isinstance(held, dict) or number(held.get("refund_id")) != request:
            raise Rejected("Taobao shows no such refund")
        return held
