"""What the model checker assumes of READ COMMITTED (tests/model/committed.py) is what PostgreSQL does (H20)."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, Update, insert, select, update

from app.database import open_engine, transaction
from app.errors import RowLockedError
from tests.model.committed import Row, Session, WaitsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

WAITS = "waits"
COMMIT = "commit"
THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("value", String(20)))
READ = select(THINGS).order_by(THINGS.c.id)
HOLD = select(THINGS).where(THINGS.c.id == 1).with_for_update()
Step = tuple[str, Any]


def _write(value: str, *, instead_of: str = "") -> Any:  # noqa: ANN401 - an Update
    statement = update(THINGS).where(THINGS.c.id == 1).values(value=value)
    return statement.where(THINGS.c.value == instead_of) if instead_of else statement


INTERLEAVINGS: dict[str, tuple[Sequence[Step], Sequence[Any]]] = {
    "a second statement sees what was committed since the first": (
        (("a", READ), ("b", _write("new")), ("b", COMMIT), ("a", READ)),
        ([(1, "old")], 1, None, [(1, "new")]),
    ),
    "what is written is seen by its own transaction only, until it commits": (
        (("a", _write("new")), ("a", READ), ("b", READ), ("a", COMMIT), ("b", READ)),
        (1, [(1, "new")], [(1, "old")], None, [(1, "new")]),
    ),
    "who wants to write a row that was read for update waits": (
        (("a", HOLD), ("b", _write("new")), ("a", COMMIT), ("b", _write("new"))),
        ([(1, "old")], WAITS, None, 1),
    ),
    "who waited compares with the row as it is by then": (
        (("a", _write("new")), ("b", _write("other", instead_of="old")), ("a", COMMIT), ("b", _write("other", instead_of="old"))),
        (1, WAITS, None, 0),
    ),
    "a row that was read for update may be read, and others may come": (
        (("a", HOLD), ("b", READ), ("b", insert(THINGS).values(id=2, value="second")), ("b", COMMIT), ("a", READ)),
        ([(1, "old")], [(1, "old")], None, None, [(1, "old"), (2, "second")]),
    ),
    "a plain read holds nothing": (
        (("a", READ), ("b", _write("new")), ("b", COMMIT), ("a", _write("other", instead_of="old"))),
        ([(1, "old")], 1, None, 0),
    ),
}


def _count(statement: Any, answer: Any) -> int | None:  # noqa: ANN401 - as SQLAlchemy has them
    """Rows written; of an insert PostgreSQL's driver does not say."""
    return answer.rowcount if isinstance(statement, Update) else None


@contextmanager
def _fake(_engine: Engine | None) -> Iterator[Callable[[Step], Any]]:
    engine = open_engine("sqlite://")
    with transaction(engine) as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS).values(id=1, value="old"))
    locks: dict[Row, str] = {}
    sessions = {name: Session(name, locks, lambda: transaction(engine)) for name in ("a", "b")}

    def take(step: Step) -> Any:  # noqa: ANN401 - rows, a count, or a word
        name, what = step
        if what is COMMIT:
            return sessions[name].commit()
        try:
            answer = sessions[name].execute(what)
        except WaitsError:
            return WAITS
        return list(map(tuple, answer.rows)) or _count(what, answer)

    yield take
    engine.dispose()


@contextmanager
def _real(engine: Engine | None) -> Iterator[Callable[[Step], Any]]:
    assert engine is not None
    with transaction(engine) as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS).values(id=1, value="old"))
    with ExitStack() as stack:
        open_now: dict[str, Any] = {}

        def take(step: Step) -> Any:  # noqa: ANN401 - rows, a count, or a word
            name, what = step
            if name not in open_now:
                open_now[name] = transaction(engine)
                open_now[f"{name}'s connection"] = open_now[name].__enter__()
            if what is COMMIT:
                open_now.pop(name).__exit__(None, None, None)
                return None
            try:
                result = open_now[f"{name}'s connection"].execute(what)
            except Exception as error:  # noqa: BLE001 - as the transaction makes of it
                with pytest.raises(RowLockedError):
                    open_now.pop(name).__exit__(type(error), error, error.__traceback__)
                return WAITS
            return list(map(tuple, result)) if result.returns_rows else _count(what, result)

        @stack.callback
        def end() -> None:
            for name in ("a", "b"):
                if name in open_now:
                    open_now.pop(name).__exit__(None, None, None)

        yield take


@pytest.mark.parametrize("interleaving", INTERLEAVINGS)
@pytest.mark.parametrize("kind", ["fake", "postgres"])
def test_fake_and_postgresql_agree(kind: str, interleaving: str, request: pytest.FixtureRequest) -> None:
    """Step by step, the same answers, and the same waiting."""
    steps, expected = INTERLEAVINGS[interleaving]
    engine = open_engine(request.getfixturevalue("postgres_url")) if kind == "postgres" else None
    with (_real if kind == "postgres" else _fake)(engine) as take:
        answers = [take(step) for step in steps]
    if engine is not None:
        engine.dispose()

    assert answers == list(expected)
