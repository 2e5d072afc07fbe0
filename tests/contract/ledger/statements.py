"""Which statements the ledger's code sends, from where, and how PostgreSQL would find their rows."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine

LEDGER = Path(__file__).parents[3] / "app" / "ledger"
GROWING = ("rekey_moves", "rekey_losses", "rekey_uploads", "rekey_visits")  # tables with a row an asset
Site = tuple[str, str, int]  # module, function, and which of its statements, from 0


@cache
def sites() -> dict[Site, tuple[str, int, int]]:
    """Every place of app.ledger that executes a statement: file, first and last line."""
    found: dict[Site, tuple[str, int, int]] = {}
    for path in sorted(LEDGER.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
                executing = sorted((call.lineno, call.end_lineno or call.lineno) for call in calls if call.func.attr == "execute")  # type: ignore[attr-defined]
                for number, (first, last) in enumerate(executing):
                    found[path.stem, function.name, number] = (str(path), first, last)
    return found


@contextmanager
def explained(engine: Engine) -> Iterator[dict[Site, set[str]]]:
    """Explain each statement just before it is sent; the plans, by the place that sends it."""
    plans: dict[Site, set[str]] = defaultdict(set)

    def explain(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401 - SQLAlchemy's own signature
        site = _site()
        if site is None or statement.startswith("EXPLAIN"):
            return
        single = parameters[0] if isinstance(parameters, list) else parameters
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            lines = connection.exec_driver_sql(f"EXPLAIN {statement}", single).scalars().all()
            plans[site].add("\n".join([statement, *lines]))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def reading_all(plans: Sequence[str]) -> list[str]:
    """Those plans that go through a whole table which has a row an asset."""
    return [plan for plan in plans if any(f"Seq Scan on {table}" in plan for table in GROWING)]


def _site() -> Site | None:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(str(LEDGER)):
            for site, (path, first, last) in sites().items():
                if path == frame.f_code.co_filename and first <= frame.f_lineno <= last:
                    return site
        frame = frame.f_back  # type: ignore[assignment]
    return None
