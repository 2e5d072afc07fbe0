"""Which columns of the assets table may be one and the same: what a switch writes makes no new key and names no row. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LOCK = "each switch adds one to it; name the column of your optimistic lock, or leave it out"


def shared_column(
    *, ids: Sequence[str], client: str, key: str, name: str | None, template: Sequence[str], version: str | None
) -> str | None:
    """Why a column cannot have two of these roles at once, as a line for the operator; None where the roles go together."""
    if key in ids:
        return f"REKEY_ID_COLUMN holds {key!r}, which is REKEY_KEY_COLUMN: a row's id must stay when its key changes"
    if key == client:
        return f"REKEY_CLIENT_COLUMN is {key!r}, which is REKEY_KEY_COLUMN: a row's client must stay when its key changes"
    if key == name:
        return f"REKEY_NAME_COLUMN is {key!r}, which is REKEY_KEY_COLUMN: leave it out, the name is then the last segment of the key"
    if key in template:
        return f"REKEY_TEMPLATE has {{col.{key}}}, which is REKEY_KEY_COLUMN: write {{key}} for the old key"
    others = _roles(ids=ids, client=client, key=key, name=name, template=template)
    other = next((role for role, column in others if column is not None and column == version), None)
    return f"REKEY_VERSION_COLUMN is {version!r}, which is {other} too: {_LOCK}" if other else None


def _roles(*, ids: Sequence[str], client: str, key: str, name: str | None, template: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each role but the version's, and its column."""
    yield "REKEY_KEY_COLUMN", key
    yield "REKEY_CLIENT_COLUMN", client
    yield "REKEY_NAME_COLUMN", name
    yield from (("in REKEY_ID_COLUMN", column) for column in ids)
    yield from (("in REKEY_TEMPLATE", column) for column in template)
