"""Tells the operator's webhook of a run (app.events). Nothing that becomes of that stops a run, or is waited for longer than a moment."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

from app import resources
from app.database import MICROSECONDS
from app.errors import RekeyError
from app.events import SIGNATURE, TRIES, Event, Told, body, moving, next_event, signature
from app.ledger.records import Run
from app.report import snapshot
from app.web import OK, ask
from tasks.messages import stopped

SECONDS = 3.0  # for an answer
LATE_SECONDS = 600  # after its end a run is looked at for so long, should its end not have been told

log = logging.getLogger(__name__)


def tell() -> None:
    """Send what is to be told of any run; never raises. An event may come twice, and has the same ``id`` then."""
    if not resources.settings().webhook_url.get_secret_value():
        return
    try:
        runs = resources.runs().live_or_ended_since(resources.runs().now() - LATE_SECONDS * MICROSECONDS)
    except RekeyError:  # the next tick tries again
        return
    for run in runs:
        try:
            _tell(run)
        except RekeyError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs are told of
            stopped("telling the webhook", run.id, error)


def _tell(run: Run) -> None:
    ledger, settings = resources.runs(), resources.settings()
    name = f"webhook:{run.id}"
    before = told = Told.from_record(ledger.remembered(name))
    report = snapshot(run, runs=ledger, queues=resources.queues())
    told = moving(told, report)
    while (event := next_event(told, report, every_percent=settings.webhook_percent, estimate=run.rows_estimate)) is not None:
        status = _send(event, body(event, report, at=datetime.now(UTC).isoformat(timespec="seconds")))
        if status not in OK and told.tried + 1 < TRIES:
            told = replace(told, tried=told.tried + 1)
            break
        if status not in OK:
            answer = f"answers {status}" if status else f"gives no answer within {SECONDS:g} s"
            log.warning("the webhook %s: %r of run %s is given up", answer, event.mark, run.id[:8], extra={"action": "webhook_failed"})
        told = event.told
    if told != before:
        ledger.remember(name, told.to_record())


def _send(event: Event, content: bytes) -> int:
    settings = resources.settings()
    headers = {"content-type": "application/json", "x-rekey-event": event.name}
    secret = settings.webhook_secret.get_secret_value()
    if secret:
        headers[SIGNATURE] = signature(content, secret=secret)
    return ask("POST", settings.webhook_url.get_secret_value(), body=content, headers=headers, seconds=SECONDS)
