"""Arrays as PostgreSQL reads them; that it does is tests/integration/test_postgresql_arrays.py."""

from __future__ import annotations

import uuid

import pytest

from app.arrays import array_text
from app.states import MoveState


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "{}"),
        ([1, -2, None], "{1,-2,NULL}"),
        ([True, False], "{t,f}"),
        (["NULL", 'a"b\\c', "{,}", "ü", ""], '{"NULL","a\\"b\\\\c","{,}","ü",""}'),
        ([b"\x00\xff", b"", None], '{"\\\\x00ff","\\\\x",NULL}'),
        ([uuid.UUID(int=1)], "{00000000-0000-0000-0000-000000000001}"),
        ([MoveState.COPIED, MoveState.COPIED, MoveState.COPIED], '{"copied","copied","copied"}'),
        ([None, None], "{NULL,NULL}"),
        ([0, 0, 1], "{0,0,1}"),
    ],
)
def test_array_text_is_what_postgresql_reads(values: list[object], expected: str) -> None:
    """All kinds of values, alike or not."""
    assert array_text(values) == expected
