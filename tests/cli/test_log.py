"""Logs: JSON lines, masked."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from rmabridge import log


@pytest.fixture
def lines() -> Iterator[Any]:
    """What was logged."""
    root, quiet = logging.getLogger(), {name: logging.getLogger(name).level for name in log.QUIET}
    handlers, level, told = root.handlers, root.level, io.StringIO()
    log.configure("INFO")
    for one in root.handlers:
        assert isinstance(one, logging.StreamHandler)
        one.setStream(told)
    yield lambda: [json.loads(one) for one in told.getvalue().splitlines()]
    root.handlers = handlers
    root.setLevel(level)
    for name, was in quiet.items():
        logging.getLogger(name).setLevel(was)
    structlog.reset_defaults()


def test_a_line_is_json_with_time_level_and_event_first(lines: Any) -> None:
    structlog.get_logger("bridge").info("listening", url="http://127.0.0.1:43345", accounts=3)
    [one] = lines()
    assert list(one)[:3] == ["ts", "level", "event"]
    assert (one["level"], one["event"], one["logger"]) == ("info", "listening", "bridge")
    assert (one["url"], one["accounts"]) == ("http://127.0.0.1:43345", 3)


def test_personal_data_and_secrets_are_masked_wherever_they_stand(lines: Any) -> None:
    structlog.get_logger("x").warning(
        "mail to li@example.com",
        token="t0ken",
        nested={"email": "li@example.com", "note": ["call +8613812345678"]},
        error=ValueError("Bearer abcdef123456"),
    )
    told = json.dumps(lines())
    for secret in ("li@example.com", "t0ken", "13812345678", "abcdef123456"):
        assert secret not in told


def test_the_standard_library_goes_the_same_way(lines: Any) -> None:
    logging.getLogger("aiohttp.server").error("failed for %s", "li@example.com")
    [one] = lines()
    assert (one["event"], one["level"], one["logger"]) == ("failed for ***@***", "error", "aiohttp.server")


def test_an_exception_is_one_masked_line(lines: Any) -> None:
    try:
        raise ValueError("li@example.com")
    except ValueError:
        structlog.get_logger("x").exception("it failed")
    [one] = lines()
    assert "ValueError" in one["exception"]
    assert "li@example.com" not in one["exception"]


def test_what_is_less_severe_is_left_out(lines: Any) -> None:
    structlog.get_logger("x").debug("detail")
    logging.getLogger("alembic.runtime").info("Context impl")
    assert lines() == []


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.binary(), st.floats(), st.none()), max_size=4))
def test_any_value_gives_a_line(values: dict[str, Any]) -> None:
    assert json.loads(log._line(None, "", log.safe(None, "", {"event": "x", **values})))
