"""The report as one page: no script, no other file, no network; light and dark; every text from the database is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from app.database import MICROSECONDS
from app.ledger.reading import ReportLedger
from app.ledger.records import Run
from app.report import rates
from app.reporting.charts import bar, rate_panels
from app.reporting.figures import Client, Example, Figures, count_figures
from app.reporting.head import head_of, in_one_line
from app.reporting.lines import Lines
from app.reporting.style import STYLE

_MAIN = ("rows", "copied", "renamed", "deleted")
_OTHERS = ("open", "kept", "in_place", "parked", "superseded", "cancelled", "rolled_back", "unseen")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_MOMENT = "%Y-%m-%d %H:%M:%S UTC"
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def html_lines(ledger: ReportLedger, run: Run, *, now: int) -> Lines:
    """The page about *run*, counted anew; *now* by the database's clock."""
    figures = count_figures(ledger, run, now=now)
    rows = figures.totals["rows"]
    speed = rates(run, now=now, done=rows - figures.totals["open"], rows=rows)
    made_at = datetime.fromtimestamp(now / MICROSECONDS, UTC).strftime(_MOMENT)
    yield page(head_of(run, ledger=ledger) | speed, figures, unseen=run.unseen, made_at=made_at), rows


def page(head: Mapping[str, Any], figures: Figures, *, unseen: int, made_at: str) -> bytes:
    """The whole page: *head* is the run's record, *figures* what was counted."""
    short = str(head["run"])[:8]
    parts = [
        _top(head, short),
        _summary(head, figures, unseen=unseen),
        f"<section><h2>Rate over time by stage</h2>{rate_panels(figures.rates)}</section>",
        _parked(figures),
        _clients(figures),
        _settings(head),
        f"<footer>asset-rekey {_text(head['version'])} · run {_text(head['run'])} · this page was made {_text(made_at)}</footer>",
    ]
    text = _PAGE.format(title=f"Run {escape(short)} - asset-rekey", style=STYLE, body="\n".join(parts))
    return text.encode("utf-8", "backslashreplace")


def _top(head: Mapping[str, Any], short: str) -> str:
    kind = "Rollback" if head["kind"] == "rollback" else "Run"
    back = f" · takes back run {_text(head['rollback_of'])}" if head["rollback_of"] else ""
    return (
        f'<header><h1>{kind} {_text(short)} <span class="state">{_text(head["state"])}</span></h1>'
        f"<p>Table {_text(head['table'])} · bucket {_text(head['bucket'])} · started by {_text(head['started_by'])}{back}</p></header>"
    )


def _summary(head: Mapping[str, Any], figures: Figures, *, unseen: int) -> str:
    totals = {**figures.totals, "unseen": unseen}
    tiles = [_tile(name, f"{totals[name]:,}", main=True) for name in _MAIN]
    tiles += [_tile(name, f"{totals[name]:,}", warn=name in {"parked", "unseen"}) for name in _OTHERS if totals[name]]
    facts = {
        "Started": _moment(head["started_at"]),
        "Ended": _moment(head["ended_at"]) or "not yet",
        "Took": _duration(head["seconds"]),
        "Rate": f"{head['per_second']:,.0f} assets/s",
        "Moved": f"{size_text(figures.size)} in {totals['renamed']:,} objects",
    }
    if figures.held.objects:  # a delete in a versioned bucket leaves a marker
        facts["Still held by old versions"] = f"{size_text(figures.held.bytes)} in {figures.held.objects:,} objects, at least"
    listed = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    return f'<section><h2>Summary</h2><div class="tiles">{"".join(tiles)}</div><dl class="facts">{listed}</dl></section>'


def _tile(name: str, value: str, *, main: bool = False, warn: bool = False) -> str:
    kind = " main" if main else " warn" if warn else ""
    return f'<div class="tile{kind}"><b>{value}</b><span>{name.replace("_", " ")}</span></div>'


def _parked(figures: Figures) -> str:
    reasons: Mapping[str, int] = figures.totals["parked_reasons"]
    if not reasons:
        return f'<section><h2>Parked by reason</h2><p class="quiet">Nothing was parked.</p>{_kept(figures)}</section>'
    most = max(reasons.values())
    rows = [
        f'<tr><th scope="row">{_text(reason.replace("_", " "))}</th><td class="number">{count:,}</td>'
        f'<td class="wide">{bar(count / most)}{_examples(figures.examples.get(reason, ()))}</td></tr>'
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    table = _table(("Reason", "Assets", "For example"), rows, numbers={1}, kind="parked")
    return f"<section><h2>Parked by reason</h2>{table}{_kept(figures)}</section>"


def _kept(figures: Figures) -> str:
    reasons = ", ".join(f"{_text(reason)} {count:,}" for reason, count in figures.totals["kept_reasons"].items())
    kept = f'<p class="note">Moved, and the old object stays: {reasons}.</p>' if reasons else ""
    lost = ", ".join(f"{_text(name)} {count:,}" for name, count in figures.totals["not_kept_attributes"].items())
    return kept + (f'<p class="note">Moved without something that they had: {lost}.</p>' if lost else "")


def _examples(examples: Sequence[Example]) -> str:
    lines = "".join(f"<li>row {_text(one.row_id)} <code>{_text(one.key)}</code> {_text(one.detail)}</li>" for one in examples)
    return f'<ul class="examples">{lines}</ul>' if lines else ""


def _clients(figures: Figures) -> str:
    names = ("Client", "Assets", "Switched", "Mean s", "Longest s", "Size", "Errors", "Parked")
    rows = [_client(client) for client in figures.clients]
    note = (
        f'<p class="quiet">Of {figures.client_count:,} clients, those whose assets took longest on the average, '
        "from a worker's first claim to the switch, by the store's clock.</p>"
    )
    table = _table(names, rows, numbers=set(range(1, len(names)))) if rows else '<p class="quiet">Nothing was switched.</p>'
    return f"<section><h2>Slowest clients</h2>{note if rows else ''}{table}</section>"


def _client(client: Client) -> str:
    cells = (
        f"{client.assets:,}",
        f"{client.switched:,}",
        f"{client.seconds:,.1f}",
        f"{client.most_seconds:,}",
        size_text(client.size),
        f"{client.errors:,}",
        f"{client.parked:,}",
    )
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{_text(client.name or "(none)")}</th>{numbers}</tr>'


def _settings(head: Mapping[str, Any]) -> str:
    groups = (
        ("Settings, secrets left out", "settings"),
        ("Set since", "set_since"),
        ("Rows chosen", "selection"),
        ("The store honours", "store"),
    )
    parts = []
    for title, name in groups:
        values: Mapping[str, Any] = head[name]
        if values:
            rows = [f'<tr><th scope="row">{_text(key)}</th><td class="wide">{_value(value)}</td></tr>' for key, value in values.items()]
            parts.append(f"<h2>{title}</h2>{_table(('Name', 'Value'), rows)}")
    return f"<section>{''.join(parts)}</section>"


def _table(names: Sequence[str], rows: Iterable[str], *, numbers: Iterable[int] = (), kind: str = "plain") -> str:
    right = set(numbers)
    heads = "".join(f'<th scope="col"{" class=number" if number in right else ""}>{escape(name)}</th>' for number, name in enumerate(names))
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _value(value: object) -> str:
    if value in (None, "", []):
        return '<span class="quiet">none</span>'
    return f"<code>{_text(in_one_line(value))}</code>"


def _text(value: object) -> str:
    """Any text, escaped; set apart, so that a right-to-left mark in it turns nothing else round."""
    return f"<bdi>{escape(str(value))}</bdi>"


def _moment(iso: str | None) -> str:
    return "" if iso is None else datetime.fromisoformat(iso).astimezone(UTC).strftime(_MOMENT)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size_text(size: int) -> str:
    """Bytes for people."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - a KiB
        value, unit = value / 1024, unit + 1
    return f"{value:,.1f} {_UNITS[unit]}" if unit else f"{size} bytes"
