"""The logs of the whole test run hold no personal data and no secret."""

import json
import logging
import re

import pytest
import structlog

from worlds import SECRET, a_return, document, running

PHONE = re.compile(r"(?<![\d.])(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\d])")
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
# What stands in tests as an address, and what tests sign and log in with.
ADDRESSES = ("文一西路", "Fake Street", "Main Street", "12 High St")
SECRETS = (
    *(SECRET, SECRET.removeprefix("whsec_"), "whsec_", "shpat_", "s3cret", "pass-word-9", "zendesk-token"),
    *("signing-secret", "secret-key", "demo-top-secret", "demo-partner-key", "hush-hush", "Bearer ey"),
)


def found(lines):
    """What must not be in a log, with the line that holds it."""
    for line in lines:
        for hit in (*PHONE.findall(line), *MAIL.findall(line)):
            yield hit, line
        for one in (*ADDRESSES, *SECRETS):
            if one in line:
                yield one, line


@pytest.mark.parametrize(
    "line",
    ["call 13812345678", "+86 138 1234 5678", "li@example.com", "浙江省杭州市文一西路 1 号", f"key {SECRET}"],
)
def test_the_scan_finds_what_it_looks_for(line):
    assert list(found([line]))


@pytest.mark.last
@pytest.mark.row("P23")
async def test_no_line_of_the_whole_run_holds_a_phone_an_address_or_a_secret(tmp_path, sink, logged, tee):
    # One bridge more, with what goes wrong in operation, so that the scan has lines where it runs alone.
    config = document(tmp_path, sink.url)
    config["channels"]["mail"]["url"] = "http://127.0.0.1:9/?token=s3cret-value"
    async with running(config, sink) as world:
        await world.post(a_return())
        bad = {**a_return(2), "time": "li@example.com 13812345678"}
        await world.post(bad)
        assert (await world.post(a_return(3), secret="whsec_" + "A" * 44))[0] == 401
        await world.settle()
    structlog.get_logger("router").error("parked", reason="the buyer li@example.com of 13812345678", token=SECRET)
    logging.getLogger("aiohttp.server").error("failed for %s", "li@example.com")
    tee.file.flush()
    lines = logged.read_text(encoding="utf-8").splitlines()
    assert any(json.loads(one)["event"] == "parked" for one in lines)
    assert list(found(lines)) == []
