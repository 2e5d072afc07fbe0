"""docs/symptoms.md quotes the product: each message there is one that the code still has."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from app.states import ParkedReason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "symptoms.md").read_text(encoding="utf-8")
GAP = "\0"  # where the code puts in what varies


@cache
def texts() -> tuple[str, ...]:
    """Every text in the code that may be said, with gaps for what is put in."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for folder in ("app", "tasks", "workers") for path in (ROOT / folder).rglob("*.py")
    ]
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.JoinedStr):
            found.add("".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(re.sub(r"%[\d.]*[sdrf]", GAP, node.value))
    return tuple(found)


def quoted() -> list[str]:
    """The messages: what is code in the first cell of a row, and has a gap or more words than a name or a command."""
    cells = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    spans = [two or one for cell in cells for two, one in re.findall(r"`` (.+?) ``|`([^`]+)`", cell)]
    return [message for message in spans if "…" in message or message.count(" ") > 3]


@pytest.mark.parametrize("message", quoted())
def test_message_is_said_by_the_code(message: str) -> None:
    """All of it, in this order, by one text."""
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)

    assert [text for text in texts() if pattern.search(text)], message


def test_page_has_every_reason_and_enough_messages() -> None:
    """Nothing was read past."""
    assert [reason for reason in ParkedReason if f"`{reason}`" not in PAGE] == []
    assert len(quoted()) > 25
