"""Database and bucket as they are, but that they say what is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.testing import InMemoryStore
from tests.model.worlds import LISTING, OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.errors import ObjectError
    from app.object_store import ObjectInfo, Packed

JOURNAL = ".rekey/"  # all objects below it are one resource: their names follow from what they say
_TOUCHED: dict[str, list[tuple[str, bool]]] = {}
_TABLE = re.compile(r"(INSERT INTO |UPDATE |DELETE FROM )?\b(assets|rekey_[a-z_]+)\b(?!\.)")


def tables_of(statement: str) -> list[tuple[str, bool]]:
    """The tables that a statement names, and whether it writes them."""
    if statement not in _TOUCHED:
        _TOUCHED[statement] = sorted({(f"table {name}", bool(verb)) for verb, name in _TABLE.findall(statement)})
    return _TOUCHED[statement]


@dataclass(frozen=True, slots=True)
class Raw:
    """The database without SQLAlchemy; says which tables are touched."""

    connection: Any
    touch: Callable[[str, bool], None]

    def execute(self, statement: str, values: Any = ()) -> Any:  # noqa: ANN401 - a cursor
        """As a connection does."""
        for name, write in tables_of(statement):
            self.touch(name, write)
        return self.connection.execute(statement, values)

    def executemany(self, statement: str, rows: Any) -> Any:  # noqa: ANN401 - a cursor
        """As a connection does."""
        return self.connection.executemany(statement, rows)


def resource_of(name: str) -> str:
    """The resource that an object of this name belongs to."""
    return f"{OBJECT}{JOURNAL if name.startswith(JOURNAL) else name}"


class Versions(dict[str, list[Any]]):
    """What a bucket holds, by name; says which names are asked for and which are written."""

    def __init__(self, touch: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._touch = touch

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as dict
        """As dict."""
        self._touch(resource_of(name), False)  # noqa: FBT003 - read
        return super().get(name, default)

    def __getitem__(self, name: str) -> list[Any]:
        self._touch(resource_of(name), True)  # noqa: FBT003 - the list may be changed
        return super().__getitem__(name)

    def __setitem__(self, name: str, versions: list[Any]) -> None:
        self._touch(resource_of(name), True)  # noqa: FBT003 - written
        super().__setitem__(name, versions)

    def setdefault(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as dict
        """As dict."""
        self._touch(resource_of(name), True)  # noqa: FBT003 - written
        return super().setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:  # noqa: ANN401 - as dict
        """As dict."""
        self._touch(resource_of(name), True)  # noqa: FBT003 - written
        return super().pop(name, *default)

    def items(self) -> Any:  # noqa: ANN401 - as dict
        """As dict."""
        self._touch(LISTING, False)  # noqa: FBT003 - read
        return super().items()

    def __iter__(self) -> Iterator[str]:
        self._touch(LISTING, False)  # noqa: FBT003 - read
        return super().__iter__()


class Store(InMemoryStore):
    """Says which call is a request, and which only the next key of one."""

    next_key = False

    def _delete_key(self, info: ObjectInfo, *, first: bool) -> ObjectError | None:
        self.next_key = not first
        return super()._delete_key(info, first=first)

    def _unpacked(self, one: Packed, *, first: bool) -> ObjectInfo:
        self.next_key = not first
        return super()._unpacked(one, first=first)
