"""An object's ACL as the headers that give a write the same one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from app.s3_xml import XmlError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUPS = "http://acs.amazonaws.com/groups/global/"
_CANNED = {
    frozenset({("READ", f'uri="{_GROUPS}AllUsers"')}): "public-read",
    frozenset({("READ", f'uri="{_GROUPS}AllUsers"'), ("WRITE", f'uri="{_GROUPS}AllUsers"')}): "public-read-write",
    frozenset({("READ", f'uri="{_GROUPS}AuthenticatedUsers"')}): "authenticated-read",
}


def read_acl(body: bytes | None) -> Mapping[str, str]:
    """From a GetObjectAcl answer: nothing where only the owner is named, a canned ACL where one says it, else every grant.

    Raises:
        XmlError: It is no such answer, or it grants something to somebody whom no header can name.
    """
    root = parse(body)
    if root.tag != "AccessControlPolicy":
        raise XmlError(f"an ACL was asked for, {root.tag} came")
    owner = root.findtext("Owner/ID") or ""
    grants = {_grant(element) for element in root.iter("Grant")}
    own = {("FULL_CONTROL", f'id="{owner}"')}
    if not grants - own:
        return {}
    canned = _CANNED.get(frozenset(grants - own)) if own <= grants else None
    return {"x-amz-acl": canned} if canned else grant_headers(grants)


def grant_headers(grants: set[tuple[str, str]]) -> dict[str, str]:
    """The headers that grant each permission to its grantees (as ``id="..."`` or ``uri="..."``)."""
    by_permission: dict[str, list[str]] = defaultdict(list)
    for permission, grantee in sorted(grants):
        by_permission[f"x-amz-grant-{permission.lower().replace('_', '-')}"].append(grantee)
    return {name: ", ".join(grantees) for name, grantees in by_permission.items()}


def _grant(element: object) -> tuple[str, str]:
    permission, identity, group = (element.findtext(name) or "" for name in ("Permission", "Grantee/ID", "Grantee/URI"))  # type: ignore[attr-defined]
    if not permission or '"' in identity + group:
        raise XmlError("a grant cannot be read")
    if group:
        return permission, f'uri="{group}"'
    return permission, f'id="{identity}"'
