"""The objects that must be restored from an archive before they can be moved: what `rekey report --thaw` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

from app.ledger.reading import ReportLedger
from app.ledger.records import Run
from app.reporting.csv_columns import csv_text
from app.reporting.lines import Lines
from app.states import MoveState, ParkedReason

FORMS = ("keys", "manifest")
LEFT_OUT = {"line_break": "keys with a line break, which a list of lines cannot carry: --thaw manifest has them"}
_COLUMNS = ("reason", "old_key")


def thaw_lines(ledger: ReportLedger, run: Run, *, form: str, left_out: Counter[str], bucket_of: Callable[[str], str]) -> Lines:
    """The old keys of the assets that were parked as archived, one a line, or as S3 Batch Operations take them: bucket and encoded key."""
    for page in ledger.pages(run, _COLUMNS, states={MoveState.PARKED}):
        keys = [row.old_key for row in page if row.reason == ParkedReason.ARCHIVED]
        if form == "manifest":
            yield csv_text((bucket_of(key), quote(key, safe="/")) for key in keys), len(keys)
            continue
        whole = [key for key in keys if key.splitlines() == [key]]
        left_out["line_break"] += len(keys) - len(whole)
        yield "".join(f"{key}\n" for key in whole).encode(), len(whole)
