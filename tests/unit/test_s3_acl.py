"""ACLs as S3 and its relatives tell them."""

from __future__ import annotations

import pytest

from app.s3_acl import read_acl
from app.s3_xml import XmlError

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
OWN = ("me", "FULL_CONTROL")


def _document(*grants: tuple[str, str], owner: str = "me") -> bytes:
    listed = "".join(
        f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x">'
        f"{f'<URI>{who}</URI>' if who.startswith('http') else f'<ID>{who}</ID>'}</Grantee><Permission>{what}</Permission></Grant>"
        for who, what in grants
    )
    return (
        f'<?xml version="1.0"?><AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>{owner}</ID></Owner>'
        f"<AccessControlList>{listed}</AccessControlList></AccessControlPolicy>"
    ).encode()


@pytest.mark.parametrize(
    ("grants", "headers"),
    [
        ([OWN], {}),
        ([OWN, (ALL, "READ")], {"x-amz-acl": "public-read"}),
        ([OWN, (ALL, "READ"), (ALL, "WRITE")], {"x-amz-acl": "public-read-write"}),
        ([OWN, (AUTHENTICATED, "READ")], {"x-amz-acl": "authenticated-read"}),
        (
            [OWN, (ALL, "READ"), ("you", "READ"), ("you", "READ_ACP")],
            {
                "x-amz-grant-full-control": 'id="me"',
                "x-amz-grant-read": f'id="you", uri="{ALL}"',
                "x-amz-grant-read-acp": 'id="you"',
            },
        ),
        ([(ALL, "READ")], {"x-amz-grant-read": f'uri="{ALL}"'}),
    ],
)
def test_grants_become_headers(grants: list[tuple[str, str]], headers: dict[str, str]) -> None:
    """Nothing for the owner alone, a canned ACL where one says it, else each grant by name."""
    assert read_acl(_document(*grants)) == headers


def test_owner_without_a_name_is_the_owner() -> None:
    """As MinIO tells it."""
    assert read_acl(_document(("", "FULL_CONTROL"), owner="")) == {}


@pytest.mark.parametrize("body", [b"", b"<Error/>", _document(('a"b', "READ")), _document(("a", ""))])
def test_what_cannot_be_said_again_is_no_acl(body: bytes) -> None:
    """Half an ACL would be another one."""
    with pytest.raises(XmlError):
        read_acl(body)
