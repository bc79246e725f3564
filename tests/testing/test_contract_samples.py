"""A contract without the samples that only the plugin's author can write says which, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import httpx
import pytest

from rmabridge.testing import contract as kit

ASKED: dict[str, Callable[[Any], Any]] = {
    "CallContract.calls": lambda kind: kind().calls(),
    "FetchContract.fetches": lambda kind: kind().fetches(),
    "parsing.ParseContract.inbound": lambda kind: kind().inbound(None),
    "LearnContract.published": lambda kind: kind().published(),
    "ReceiptContract.receipt": lambda kind: kind().receipt(None, httpx.Request("POST", "https://x.example"), ok=True),
    "ReceiptContract.opt_outs": lambda kind: kind().opt_outs(None),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_sample_that_is_not_written_is_asked_for_by_name(name: str) -> None:
    base, _, sample = name.rpartition(".")
    mine = type("Mine", (attrgetter(base)(kit),), {})
    with pytest.raises(AssertionError, match=rf"^Mine lacks a sample: write {sample}\(.*: "):
        ASKED[name](mine)
