"""Switching rows to where the journal says their bytes are, by the same compare-and-swap as the rename stage (S5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc

from app.database import brief, transaction
from app.errors import RowLockedError
from app.verification.current import key_of
from app.verification.repair import Case, Sick, examine, refuse_while_running, unless_taken
from app.verification.subject import Subject
from app.verification.workspace import Workspace

PAGE = 200  # rows locked at once, for some hundredths of a second
SHOWN = 5


@dataclass(slots=True, kw_only=True)
class Healed:
    """What became of the healable rows."""

    counts: Counter[str]
    refused: list[Sick]

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "healed": self.counts["healed"],
            "changed_meanwhile": self.counts["changed meanwhile"],
            "not_switched": self.counts["refused"],
            "refused": [sick.as_object() for sick in self.refused],
        }


def heal(subject: Subject, work: Workspace, *, bucket: str, table: str) -> Healed:
    """Switch all healable rows, a page at a time, each looked at again just before; one that the database refuses stays as it is.

    Safe to repeat, and to interrupt: a row that is healed names its new key and is sick no more.
    """
    result = Healed(counts=Counter(), refused=[])
    subject.progress.phase("healing", work.sick_counts().get(Case.HEALABLE, 0))
    after = 0
    while page := work.healable(after=after, limit=PAGE):
        after = page[-1][0]
        row_ids = [row_id for _, row_id in page]
        fresh = subject.patiently(lambda row_ids=row_ids: examine(subject, work, row_ids))  # type: ignore[misc]
        sick = [each for each in fresh if each.case is Case.HEALABLE]
        result.counts["changed meanwhile"] += len(row_ids) - len(sick)
        _heal_page(subject, sick, result, bucket=bucket, table=table)
        subject.progress.advance(len(row_ids))
    return result


def _heal_page(subject: Subject, sick: Sequence[Sick], result: Healed, *, bucket: str, table: str) -> None:
    try:
        subject.patiently(lambda: _switch(subject, sick, bucket=bucket, table=table))
        result.counts["healed"] += len(sick)
    except (_NotAsFoundError, RowLockedError, exc.DBAPIError) as error:
        if len(sick) > 1:  # one row in the way does not hold up the others
            for each in sick:
                _heal_page(subject, [each], result, bucket=bucket, table=table)
            return
        why = brief(error) if isinstance(error, exc.DBAPIError) else str(error)
        one = sick[0]
        result.counts["refused"] += 1
        if len(result.refused) < SHOWN:
            result.refused.append(Sick(case=Case.REFUSED, row_id=one.row_id, old_key=one.old_key, noted=one.noted, detail=why))


class _NotAsFoundError(Exception):
    """A row is not as it was a moment ago: the transaction is rolled back."""


def _switch(subject: Subject, sick: Sequence[Sick], *, bucket: str, table: str) -> None:
    """Lock the rows, compare them byte for byte, see that nobody else names the new keys, write, read back: one transaction (S5)."""
    if not sick:
        return
    with transaction(subject.engine) as connection:
        refuse_while_running(subject, connection, bucket=bucket, table=table)
        rows = subject.assets.rows(connection, [each.row_id for each in sick], lock=True)
        naming = subject.assets.naming(connection, [each.noted.new_key for each in sick])
        for each in sick:
            row = rows.get(each.row_id)
            if row is None or row.key != each.old_key:
                raise _NotAsFoundError("the row changed meanwhile")
            if unless_taken(subject, each, naming).case is Case.TAKEN:
                raise _NotAsFoundError("another row names the new key")
        subject.assets.set_keys(connection, [(rows[each.row_id], each.noted.new_key) for each in sick])
        stored = subject.assets.rows(connection, [each.row_id for each in sick])
        for each in sick:
            if key_of(stored.get(each.row_id)) != each.noted.new_key:
                raise _NotAsFoundError("the database stored another key")
