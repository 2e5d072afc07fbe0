"""Logging: one event per outcome, as text or as JSON, without secrets.

An event is ``log.info("run %s: %s", run.id[:8], notes, extra={"action": "reconciled", "run_id": run.id})``; both forms show the extras.
What became of each asset is in the ledger (`rekey report`), and not in the logs.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TextIO

from app.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the ``action`` of an event can be: the names that searches and alerts rely on. Each is logged somewhere (a test sees to it).
ACTIONS: Mapping[str, str] = {
    "run_ended": "The last move of a run has ended: it is finished, or cancelled for good.",
    "reconciled": "The reconciler hinted due moves again, or ended what could end.",
    "step_ended": "A step of a run's ladder has ended: the run goes on to the next one, or waits for the operator.",
    "webhook_failed": "The webhook took an event of a run at none of several ticks; it is not told of it.",
    "clock_jumped": "The database's clock jumped: deletes are held for one grace.",
    "moves_left": "Finished moves of a run that is over left the ledger for the bucket.",
    "store_outage": "The object store gives a stage nothing; once for each outage and worker.",
    "store_outage_over": "It serves the stage again.",
    "batch_released": "A batch gave back what it had not done; the reason is in the message.",
    "run_failing": "A run's tick met an error that nobody expected; the other runs have theirs.",
    "batch_refused": "A message of another deployment or run was not acted on.",
    "broker_warning": "The broker did not take or confirm a message; the ledger has it sent again.",
    "broker_evicts": "The broker is set up so that it throws messages away when its memory is full.",
    "not_noted": "Old objects were deleted on a full store, and the journal does not say so.",
    "worker_started": "A worker is ready.",
    "worker_stopping": "A worker was asked to stop and ends what it has in hand.",
    "worker_stopped": "A worker has closed its connections.",
}

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class TextFormatter(logging.Formatter):
    """One line a record: time in UTC, level, message, extras as name=value."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = tuple(secrets)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, extras at its end."""
        line = super().formatMessage(record)
        return " ".join(
            [line.replace("\n", " ").replace("\r", " "), *(f"{name}={_shown(value)}" for name, value in extras(record).items())]
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one, without secrets."""
        return redact(super().format(record), self._secrets)


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, extras, and the traceback as one text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line, without secrets."""
        fields: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(self._clean(fields))

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._clean(item) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        return redact(str(value), self._secrets)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave by ``extra``, in its order."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}


def _shown(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text)


def formatter(log_format: Literal["text", "json"], *, secrets: Iterable[str] = ()) -> logging.Formatter:
    """The formatter of this log format."""
    return JsonFormatter(secrets) if log_format == "json" else TextFormatter(secrets)


def setup(log_format: Literal["text", "json"], *, level: str, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send all log records of this process to *stream* (standard error) in one form; safe to repeat."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(formatter(log_format, secrets=secrets))
    handler.set_name("rekey")
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == "rekey"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for chatty in ("urllib3", "kombu", "amqp", "sqlalchemy"):  # their debug lines hold requests and statements
        logging.getLogger(chatty).setLevel(logging.WARNING)
