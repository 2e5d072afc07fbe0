"""Signature Version 4, held to the examples of its documentation and to minio's own signer."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from minio.credentials.providers import StaticProvider
from minio.signer import sign_v4_s3

from app.s3_signing import NO_BODY_SHA256, Credentials, ProvidedCredentials, Signer

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EXAMPLE_DATE = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_header_signature_is_that_of_the_documentation(query: str, expected: str) -> None:
    """The documented requests get the documented signatures."""
    signer = Signer(host="examplebucket.s3.amazonaws.com", region="us-east-1")

    signed = signer.in_headers("GET", "/", query, {}, who=EXAMPLE, date=EXAMPLE_DATE)

    assert signed["authorization"].endswith(f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={expected}")


def test_query_signature_is_that_of_the_documentation() -> None:
    """The documented presigned URL gets the documented signature."""
    signer = Signer(host="examplebucket.s3.amazonaws.com", region="us-east-1")

    target = signer.in_query("GET", "/test.txt", [], {}, who=EXAMPLE, date=EXAMPLE_DATE, expires=86400)

    assert target == (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-0"}, {"x-amz-meta-a": "two  blanks", "cache-control": "no-store"}])
def test_header_signature_is_that_of_minio(headers: dict[str, str]) -> None:
    """The signer of minio gives the same signature for the same request."""
    provider = StaticProvider("key", "secret", "a/token+")
    date = datetime(2026, 11, 25, 3, 4, 5, tzinfo=UTC)
    expected = sign_v4_s3(
        method="GET",
        url=urlsplit("http://store.example:9000/bucket/a%20b?tagging="),
        region="eu-1",
        headers=headers
        | {
            "host": "store.example:9000",
            "x-amz-content-sha256": NO_BODY_SHA256,
            "x-amz-date": "20261125T030405Z",
            "x-amz-security-token": "a/token+",
        },
        credentials=provider.retrieve(),
        content_sha256=NO_BODY_SHA256,
        date=date,
    )

    signed = Signer(host="store.example:9000", region="eu-1").in_headers(
        "GET", "/bucket/a%20b", "tagging=", headers, who=ProvidedCredentials(provider)(), date=int(date.timestamp())
    )

    assert signed["authorization"] == expected["Authorization"]


def test_query_signature_covers_every_header() -> None:
    """Another value of any header, or another header, needs another signature (SeaweedFS refuses unsigned x-amz headers: M2)."""
    signer = Signer(host="store.example", region="us-east-1")
    headers = {"if-none-match": "*", "x-amz-meta-a": "b", "content-type": "text/plain"}
    changed = [headers, headers | {"if-none-match": '"e"'}, headers | {"x-amz-meta-a": "c"}, headers | {"x-amz-acl": "private"}, {}]

    targets = [signer.in_query("PUT", "/b/k", [], sent, who=EXAMPLE, date=EXAMPLE_DATE, expires=5) for sent in changed]

    assert "X-Amz-SignedHeaders=content-type%3Bhost%3Bif-none-match%3Bx-amz-meta-a&" in targets[0]
    assert len({target.rpartition("=")[2] for target in targets}) == len(changed)


def test_key_of_the_day_is_derived_anew_for_another_day_or_other_credentials() -> None:
    """What is kept between requests never leaks into those that need another key."""
    other = Credentials("AKIAIOSFODNN7EXAMPLE", "another secret")
    kept = Signer(host="h", region="r")
    asked = [(EXAMPLE, EXAMPLE_DATE), (other, EXAMPLE_DATE), (EXAMPLE, EXAMPLE_DATE + 86400), (EXAMPLE, EXAMPLE_DATE)]

    found = [kept.in_headers("GET", "/", "", {}, who=who, date=date) for who, date in asked]

    assert found == [Signer(host="h", region="r").in_headers("GET", "/", "", {}, who=who, date=date) for who, date in asked]
    assert len({signed["authorization"] for signed in found}) == 3


def test_credentials_do_not_show_their_secrets() -> None:
    """Neither secret nor token is in the text form that a log might get (S10)."""
    text = repr(Credentials("access", "very-secret", "very-token"))

    assert "access" in text
    assert "very-" not in text
