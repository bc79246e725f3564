"""What the vendor's answers mean for the bridge."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import httpx
import tomli
from pydantic import BaseModel, ConfigDict

from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import read_object, text

Means = Literal["retry", "stop", "reject", "unclear"]
LIMITED: Final = "isv.BUSINESS_LIMIT_CONTROL"


class Meaning(BaseModel):
    """What one code means; ``pause`` is in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    means: Means
    pause: float | None = None
    hint: str = ""


@cache
def _data() -> dict[str, Any]:
    return tomli.loads((files(__package__) / "answers.toml").read_text("utf-8"))


def meaning(code: str, own: dict[str, Means]) -> Meaning | None:
    """What the code, or the family before its first dot, means; the operator's own word first."""
    families = (code, code.partition(".")[0])
    if means := next((own[one] for one in families if one in own), None):
        return Meaning(means=means)
    rows = _data()["codes"]
    return next((Meaning.model_validate(rows[one]) for one in families if one in rows), None)


def read(response: httpx.Response, own: dict[str, Means]) -> dict[str, Any]:
    """The answer where it says OK; else the error that it means."""
    answer = _answer(response)
    code, said = text(answer.get("Code")), text(answer.get("Message")) or ""
    if response.is_success and code == "OK":
        return answer
    if code and response.status_code < 500 and (known := meaning(code, own)):
        refuse(code, said, known)
    response.raise_for_status()
    raise ValueError(f"the answer says neither OK nor a known refusal ({code}): it may have been sent")


def refuse(code: str, said: str, known: Meaning) -> None:
    """Raise what the code means; an unclear one raises nothing that would count as a refusal."""
    cause = f"{code}: {said[:200]}"
    match known.means:
        case "retry":
            raise Unavailable(cause, hint=known.hint, retry_after=_pause(code, said, known))
        case "stop":
            raise Unauthorised(cause, hint=known.hint or "see the account in Alibaba Cloud's console")
        case "reject":
            raise Rejected(cause, hint=known.hint)
    raise ValueError(f"{cause}: it may have been sent")


def _pause(code: str, said: str, known: Meaning) -> float | None:
    levels = _data()["levels"] if code == LIMITED else {}
    return next((float(seconds) for word, seconds in levels.items() if word in said), known.pause)


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        return read_object(response.content)
    except Malformed:
        return {}
