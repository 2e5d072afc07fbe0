"""Letting the reconciler look at a run as soon as an operator has changed it, and not at its next tick."""

from __future__ import annotations

from contextlib import suppress

from app import resources
from app.errors import RekeyError
from app.ledger.records import Run


def hasten(run: Run) -> None:
    """Send for a reconciler, if this command knows a broker. Never raises: the run is changed, and the next tick sees it anyway."""
    settings = resources.settings()
    if not settings.broker_url.get_secret_value():
        return
    from tasks.messages import send_for_reconciler  # noqa: PLC0415 - Celery is imported after the change is made

    with suppress(RekeyError):
        resources.steering().hasten(run, seconds=settings.reconcile_seconds)
        send_for_reconciler()
