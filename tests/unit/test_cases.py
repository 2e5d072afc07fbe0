"""The table of cases leads to tests that are there, and each case has one of its own name."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.cases.table import CASES

ROOT = Path(__file__).parents[2]
ASKED = {*range(1, 5), *range(6, 9), *range(10, 14), *range(15, 19), *range(20, 25), 26, 27, *range(29, 34), *range(35, 43), 44}
OWN = re.compile(r"test_case_(\d+)_")


@cache
def _tests(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def _own() -> set[int]:
    """The numbers of which there is a test of that name."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {int(found[1]) for path in files for name in _tests(path) if (found := OWN.match(name))}


def test_each_case_has_a_line_and_a_test_of_its_own() -> None:
    """No number is left out, and none is made up."""
    assert CASES.keys() == ASKED
    assert _own() == ASKED


@pytest.mark.parametrize("number", sorted(CASES))
def test_tests_that_the_table_names_are_there(number: int) -> None:
    """As long as nobody renames them without the table."""
    _, names = CASES[number]

    assert [name for name in names if name.split("::")[1] not in _tests(ROOT / name.split("::")[0])] == []
