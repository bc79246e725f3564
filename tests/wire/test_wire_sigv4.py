"""AWS Signature Version 4, against the published test suite and against AWS's own library."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.wire.sigv4 import Signer

# https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html
SUITE = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
WHEN = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
URL = "https://example.amazonaws.com/"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "url", "body", "more", "mark"),
    [
        ("GET", URL, b"", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", URL, b"", {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            f"{URL}?Param2=value2&Param1=value1",
            b"",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("POST", URL, b"Param1=value1", FORM, "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case", "post-x-www-form-urlencoded"],
)
@pytest.mark.evidence("amazon", "vendor_sample")
def test_the_published_vectors_come_out(method: str, url: str, body: bytes, more: dict[str, str], mark: str) -> None:
    signed = SUITE.headers(method, url, WHEN, body, more)
    assert signed["Authorization"].endswith(f"Signature={mark}")
    assert "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request," in signed["Authorization"]
    assert signed["X-Amz-Date"] == "20150830T123600Z"


@settings(max_examples=60, deadline=None, database=None)
@given(
    path=st.text("abz09-_~ %:+äß中", max_size=12),
    pairs=st.lists(st.tuples(st.text("aZ ~%+ä", min_size=1, max_size=4), st.text("b/=&中", max_size=4)), max_size=3),
    body=st.binary(max_size=50),
    session=st.sampled_from([None, "temporary+token/="]),
)
def test_the_library_of_aws_signs_the_same(
    path: str, pairs: list[tuple[str, str]], body: bytes, session: str | None
) -> None:
    auth, awsrequest = pytest.importorskip("botocore.auth"), pytest.importorskip("botocore.awsrequest")
    from urllib.parse import quote, urlencode

    from botocore.credentials import Credentials

    query = f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""
    url, more = f"https://sqs.eu-west-1.amazonaws.com/{quote(path)}{query}", {"X-Amz-Target": "A.B"}
    mine = Signer("AKID", "secret", "eu-west-1", "sqs", session).headers("POST", url, WHEN, body, more)
    request = awsrequest.AWSRequest("POST", url, data=body, headers=more)
    signer = auth.SigV4Auth(Credentials("AKID", "secret", session), "sqs", "eu-west-1")
    request.context["timestamp"] = "20150830T123600Z"
    request.headers["X-Amz-Date"] = "20150830T123600Z"
    if session:
        request.headers["X-Amz-Security-Token"] = session
    theirs = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert mine["Authorization"].endswith(f"Signature={theirs}")
