"""The signature families, each chosen and fitted by configuration."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rmabridge.errors import Unverified
from rmabridge.wire.signing import (
    any_matches,
    digest_base64,
    digest_hex,
    fresh,
    hmac_base64,
    hmac_hex,
    sorted_pairs,
    standard_sign,
    standard_verify,
)
from rmabridge.wire.times import maybe_instant

from .bodies import Parts, Place, format_of, texts

_NAME = re.compile(r"\{(body|secret|timestamp|nonce|method|path|(?:header|query)\.[\w.-]+)\}")


@dataclass(frozen=True)
class Seal:
    """What a good signature told beside being good."""

    id: str | None = None
    nonce: str | None = None


class Family(BaseModel):
    """What all families have."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @property
    def samples(self) -> bool:
        """Whether ``seal`` can sign a sample."""
        return True


class Standard(Family):
    """Standard Webhooks: ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``."""

    family: Literal["standard"]
    window: timedelta = timedelta(minutes=5)

    def check(self, parts: Parts, secrets: Sequence[str], now: datetime) -> Seal:
        """Raise ``Unverified`` unless one of the secrets signed this."""
        return Seal(id=standard_verify(secrets, parts.given, parts.body, now, self.window))

    def seal(self, parts: Parts, secret: str, now: datetime) -> None:
        """Sign a sample."""
        parts.headers |= standard_sign(secret, f"sample-{int(now.timestamp())}", now, parts.body)


class Written(Family):
    """A signature that stands somewhere in the request, with or without a signed time."""

    sign: Place = Field(description="where the signature stands: a header, 'query:NAME' or 'field:PATH'")
    prefix: str = Field("", description="text before the signature, e.g. 'sha256='")
    algorithm: Literal["md5", "sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    timestamp: Place | None = Field(None, description="where the signed time stands, Unix or ISO 8601")
    zone: str | None = Field(None, description="time zone of a signed time without offset")
    window: timedelta = Field(timedelta(minutes=5), description="how far the signed time may be from now")
    nonce: Place | None = Field(None, description="where a signed number stands that never comes twice")

    @property
    def samples(self) -> bool:
        """Whether all places are of the kind that can simply be written."""
        return all(one.plain for one in (self.sign, self.timestamp, self.nonce) if one)

    def check(self, parts: Parts, secrets: Sequence[str], now: datetime) -> Seal:
        """Raise ``Unverified`` unless one of the secrets signed this, lately enough."""
        candidates = [self.signature(parts, secret) for secret in secrets]
        if not any_matches(self._given(parts), candidates):
            raise Unverified
        if self.timestamp:
            stamp = maybe_instant(self.timestamp.find(parts), self.zone)
            if stamp is None:
                raise Unverified("the signed time is missing or unreadable")
            fresh(stamp, now, self.window)
        nonce = self.nonce.find(parts) if self.nonce else None
        if self.nonce and not nonce:
            raise Unverified("the signed nonce is missing")
        return Seal(nonce=nonce)

    def seal(self, parts: Parts, secret: str, now: datetime) -> None:
        """Sign a sample."""
        seconds = str(int(now.timestamp()))
        for place in (self.timestamp, self.nonce):
            if place:
                place.put(parts, seconds)
        self.sign.put(parts, self.prefix + self.signature(parts, secret))

    @abstractmethod
    def signature(self, parts: Parts, secret: str) -> str:
        """What the signature must be for this secret."""

    def _given(self, parts: Parts) -> str:
        given = self.sign.find(parts)
        if given is None or not given.startswith(self.prefix):
            raise Unverified("the signature is missing")
        bare = given.removeprefix(self.prefix)
        return bare.lower() if self.encoding == "hex" else bare

    def _keyed(self, secret: str, data: bytes) -> str:
        return (hmac_hex if self.encoding == "hex" else hmac_base64)(secret, data, self.algorithm)

    def _digest(self, data: bytes) -> str:
        return (digest_hex if self.encoding == "hex" else digest_base64)(data, self.algorithm)


class Hmac(Written):
    """A keyed hash over a text made of the request's parts; with ``digest`` a plain hash of a text with the secret."""

    family: Literal["hmac"]
    over: str = Field(
        "{body}", description="what is signed: {body} {timestamp} {nonce} {method} {path} {header.X} {query.x} {secret}"
    )
    digest: bool = Field(False, description="a plain hash, not keyed: then {secret} is part of what is signed")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = set(_NAME.findall(self.over))
        if self.digest != ("secret" in names):
            raise ValueError("over: {secret} belongs into it with digest = true, and only then")
        if _NAME.sub("", self.over).count("{"):
            raise ValueError("over: an unknown {name}")
        if not names - {"secret"}:
            raise ValueError("over: nothing of the request is signed")
        for name, place in (("timestamp", self.timestamp), ("nonce", self.nonce)):
            if (name in names) > (place is not None):
                raise ValueError(f"{name}: say where it stands")
            if place and name not in names and not (place.kind == "field" and "body" in names):
                raise ValueError(f"{name}: it is not signed; put {{{name}}} into over")
        return self

    def signature(self, parts: Parts, secret: str) -> str:
        """What the signature must be for this secret."""
        pieces = _NAME.split(self.over)
        data = b"".join(
            self._piece(one, parts, secret) if number % 2 else one.encode() for number, one in enumerate(pieces)
        )
        return self._digest(data) if self.digest else self._keyed(secret, data)

    def _piece(self, name: str, parts: Parts, secret: str) -> bytes:
        kind, _, rest = name.partition(".")
        match kind:
            case "body":
                return parts.body
            case "timestamp" | "nonce":
                place = self.timestamp if kind == "timestamp" else self.nonce
                value = place.find(parts) if place else None
            case "header":
                value = parts.headers.get(rest.lower())
            case "query":
                value = parts.query.get(rest)
            case _:
                value = {"secret": secret, "method": parts.method, "path": parts.path}[kind]
        # Bytes of a header that were no UTF-8 arrive as lone surrogates.
        return (value or "").encode("utf-8", "surrogatepass")


class Sorted(Written):
    """A hash over all parameters sorted by name, with the secret around them, or keyed by it."""

    family: Literal["sorted"]
    algorithm: Literal["md5", "sha1", "sha256", "sha512"] = "md5"
    over: Literal["body", "query"] = Field("body", description="which parameters: the body's top level, or the query's")
    keyed: bool = Field(False, description="HMAC with the secret as its key")
    wrap: str = Field("{secret}{pairs}{secret}", description="what is hashed, e.g. '{pairs}&key={secret}'")
    pair: str = Field("", description="between name and value, e.g. '='")
    joiner: str = Field("", description="between pairs, e.g. '&'")
    skip_empty: bool = Field(True, description="leave parameters without a value out")
    exclude: frozenset[str] = Field(frozenset(), description="parameters left out beside the signature itself")

    @model_validator(mode="before")
    @classmethod
    def _fitting(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("keyed"):
            return {"wrap": "{pairs}"} | given
        return given

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if "{pairs}" not in self.wrap or self.keyed == ("{secret}" in self.wrap):
            raise ValueError("wrap: it holds {pairs}, and {secret} unless keyed = true")
        for name, place in (("timestamp", self.timestamp), ("nonce", self.nonce)):
            if place and (place.kind != self._signed_kind or place.name in self.exclude):
                raise ValueError(f"{name}: only a signed parameter counts; write '{self._signed_kind}:NAME'")
        return self

    def signature(self, parts: Parts, secret: str) -> str:
        """What the signature must be for this secret."""
        pairs = sorted_pairs(self._params(parts), pair=self.pair, joiner=self.joiner, skip_empty=self.skip_empty)
        data = self.wrap.replace("{secret}", secret).replace("{pairs}", pairs).encode("utf-8", "surrogatepass")
        return self._keyed(secret, data) if self.keyed else self._digest(data)

    @property
    def _signed_kind(self) -> str:
        return "field" if self.over == "body" else "query"

    def _params(self, parts: Parts) -> dict[str, str]:
        if self.over == "query":
            return self._kept(parts.query, self.sign.name)
        top, sign = parts.document, self.sign.name
        if (parts.known or format_of(parts.headers.get("content-type", ""))) == "xml":
            top, sign = next(iter(top.values())), sign.rpartition(".")[2]
        if not isinstance(top, dict):
            raise Unverified("the body has no parameters to sign")
        return self._kept(texts(top), sign)

    def _kept(self, params: dict[str, str], sign: str) -> dict[str, str]:
        out = self.exclude | ({sign} if self.sign.kind == self._signed_kind else set())
        return {name: value for name, value in params.items() if name not in out}


class Token(Family):
    """A shared token that comes with every request."""

    family: Literal["token"]
    sign: Place = Field(description="where the token stands: a header, 'query:NAME' or 'field:PATH'")
    prefix: str = Field("", description="text before the token, e.g. 'Bearer '")

    @property
    def samples(self) -> bool:
        """Whether the token can simply be written."""
        return self.sign.plain

    def check(self, parts: Parts, secrets: Sequence[str], now: datetime) -> Seal:
        """Raise ``Unverified`` unless the token is one of the secrets."""
        given = self.sign.find(parts) or ""
        if not given.startswith(self.prefix) or not any_matches(given.removeprefix(self.prefix), secrets):
            raise Unverified
        return Seal()

    def seal(self, parts: Parts, secret: str, now: datetime) -> None:
        """Sign a sample."""
        self.sign.put(parts, self.prefix + secret)


class Unsigned(Family):
    """No signature: for a door that something in front of the bridge guards."""

    family: Literal["none"]

    def check(self, parts: Parts, secrets: Iterable[str], now: datetime) -> Seal:
        """Let everything in."""
        return Seal()

    def seal(self, parts: Parts, secret: str, now: datetime) -> None:
        """Leave a sample as it is."""


Signature = Annotated[Standard | Hmac | Sorted | Token | Unsigned, Field(discriminator="family")]
