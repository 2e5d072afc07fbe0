"""Old path -> new path, for links that were given out before the run: as CSV, or as the lines of an nginx ``map``.

Only switched rows are in it. Left out and counted, with a comment each in the nginx file: an old path that has become another asset's new
one (the link would lead one client to another's asset), a second asset of the same old path, what no browser can ask for, what is too
long for nginx, and what another host than this nginx serves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import Row

from app.errors import UsageError
from app.ledger.reading import ReportLedger
from app.ledger.records import Run
from app.reporting.csv_columns import csv_text
from app.reporting.lines import Lines
from app.reporting.paths import PathBook, Verdict
from app.states import MoveState

SWITCHED = frozenset({MoveState.RENAMED, MoveState.DELETED, MoveState.KEPT})
LEFT_OUT = {
    "reused": "another asset has this path now",
    "twice": "another asset had this path too, and is listed with it",
    "unreachable": "a browser takes dot segments away before it asks",
    "too_long": "longer than a word of nginx's configuration may be",
    "elsewhere": "another host than this nginx serves the old path",
}
_COLUMNS = ("id", "state", "parked_from", "old_key", "new_key")
_PREFIX = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?/(?:[A-Za-z0-9._~-]+/)*").fullmatch
_SLASHES = re.compile(r"/{2,}")
_REGEX_SIGNS = re.compile(r"[\\^$.|?*+()\[\]{}]")
_LONGEST_WORD = 4000  # bytes: nginx reads its configuration by 4096
_WORD = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_NGINX_HEAD = """\
# Redirects of run {run} (asset-rekey): old path -> new path. In nginx's http block:
#     map_hash_max_size {size};
#     map_hash_bucket_size {bucket};
#     map $uri $rekey_new {{ default ""; include FILE; }}
# and in the server, so that an object which is there is never redirected:
#     error_page 404 = @rekey_new;
#     location @rekey_new {{ if ($rekey_new) {{ return 301 $rekey_new; }} return 404; }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """One move's paths, as people see them and as they are sent."""

    move: int
    prefix: str  # of the old path
    old_key: str
    path: str  # the old one, decoded and with single slashes: nginx's $uri
    new_prefix: str
    new_key: str

    @property
    def new_path(self) -> str:
        """The new one, decoded."""
        return self.new_prefix + self.new_key

    @property
    def old_url(self) -> str:
        """The old one as it is sent; made when it is asked for, since the first pass needs none."""
        return self.prefix + quote(self.old_key)

    @property
    def new_url(self) -> str:
        """The new one as it is sent."""
        return self.new_prefix + quote(self.new_key)

    @property
    def problem(self) -> str | None:
        """Why nobody can be led by it."""
        return "unreachable" if any(segment in {".", ".."} for segment in self.path.split("/")) else None


def check_prefix(prefix: str, *, flag: str, local: bool) -> str:
    """*prefix*, if paths may begin so; *local*: they are this nginx's own, which names no host.

    Raises:
        UsageError: They may not.
    """
    if not _PREFIX(prefix) or (local and not prefix.startswith("/")):
        either = "/media/" if local else "/media/ or https://cdn.example/media/"
        raise UsageError(f"{flag}: {prefix!r} cannot begin the paths: give one like {either}, with a slash at its end")
    return prefix


def redirect_lines(ledger: ReportLedger, run: Run, *, form: str, prefix_of: Callable[[str], str], left_out: Counter[str]) -> Lines:
    """All redirects of *run* as lines of *form* (``csv``, ``nginx``). The moves are read twice: first to find the paths that clash.

    *prefix_of* a key: what its path begins with.
    """
    write = _csv_line if form == "csv" else _nginx_line
    with PathBook() as book:
        longest = 0
        for page in _pages(ledger, run, prefix_of):
            book.add((each.move, each.path, each.new_path) for each in page)
            longest = max(longest, *(len(each.path.encode()) for each in page))
        book.index()
        yield csv_text([("old", "new")]) if form == "csv" else _nginx_head(run, count=book.count, longest=longest), 0
        for page in _pages(ledger, run, prefix_of):
            verdicts = book.verdicts(page[0].move, page[-1].move)
            known = [each for each in page if each.move in verdicts]  # what was switched meanwhile was not compared
            lines = [write(each, verdicts[each.move], left_out) for each in known]
            yield b"".join(line for line, _ in lines), sum(count for _, count in lines)


def _pages(ledger: ReportLedger, run: Run, prefix_of: Callable[[str], str]) -> Iterator[Sequence[Redirect]]:
    for rows in ledger.pages(run, _COLUMNS, states=SWITCHED | {MoveState.PARKED}):
        page = [_redirect(row, prefix_of) for row in rows if row.state in SWITCHED or row.parked_from == MoveState.RENAMED]
        if page:
            yield page


def _redirect(row: Row[Any], prefix_of: Callable[[str], str]) -> Redirect:
    prefix, new_prefix = prefix_of(row.old_key), prefix_of(row.new_key)
    path = prefix + _SLASHES.sub("/", row.old_key).lstrip("/")
    return Redirect(move=row.id, prefix=prefix, old_key=row.old_key, path=path, new_prefix=new_prefix, new_key=row.new_key)


def _csv_line(each: Redirect, verdict: Verdict, left_out: Counter[str]) -> tuple[bytes, int]:
    problem = each.problem or (str(verdict) if verdict in LEFT_OUT else None)
    if problem:
        left_out[problem] += 1
        return b"", 0
    return csv_text([(each.old_url, each.new_url)]), 1


def _nginx_line(each: Redirect, verdict: Verdict, left_out: Counter[str]) -> tuple[bytes, int]:
    # A map compares without regard to case, and refuses two strings that differ by nothing else: those are compared as expressions.
    word = (_expression(each.path) if verdict is Verdict.FOLDED else each.path).translate(_WORD)
    new_url = each.new_url
    problem = each.problem or (str(verdict) if verdict in LEFT_OUT else None) or (None if each.prefix.startswith("/") else "elsewhere")
    if problem is None and max(len(word.encode()), len(new_url)) > _LONGEST_WORD:
        problem = "too_long"
    if problem:
        left_out[problem] += 1
        return f"# {each.old_url} -> {new_url} left out: {LEFT_OUT[problem]}\n".encode(), 0
    return f'"{word}" "{new_url}";\n'.encode(), 1


def _expression(path: str) -> str:
    return "~^" + _REGEX_SIGNS.sub(r"\\\g<0>", path) + r"\z"  # $ would match before a line break at the end too


def _nginx_head(run: Run, *, count: int, longest: int) -> bytes:
    bucket = max(64, 1 << (longest + 32 - 1).bit_length())
    size = max(2048, 1 << max(count - 1, 0).bit_length())
    return _NGINX_HEAD.format(run=run.id, size=size, bucket=bucket).encode()
