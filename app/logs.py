"""Logging: one event per outcome, as text or as JSON, without secrets.

An event is ``log.info("copied %s", key, extra={"action": "object_copied", "run_id": ..., "move_id": ...})``; both forms show the extras.
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

# What the ``action`` of an event can be: the names that searches and alerts rely on.
ACTIONS: Mapping[str, str] = {
    "run_started": "A run was accepted.",
    "run_finished": "A run ended; its counts are in the message.",
    "run_paused": "The operator paused a run.",
    "run_resumed": "The operator resumed a run.",
    "run_cancelled": "The operator cancelled a run.",
    "run_changed": "The operator changed a live knob of a run.",
    "moves_planned": "A page of rows was read and planned.",
    "object_copied": "The copy at the new key was proved.",
    "row_renamed": "A row was switched to its new key.",
    "object_deleted": "An old object was deleted.",
    "move_in_place": "A row names its new key already.",
    "move_kept": "Moved, and the old object stays.",
    "move_parked": "An asset cannot go on; the reason is in the message.",
    "move_superseded": "The row is gone or needs no move.",
    "move_cancelled": "The run was cancelled before this asset was switched.",
    "move_rolled_back": "A row names its old key again.",
    "move_replanned": "The row or the source changed: planned again.",
    "move_waiting": "The new key is the old object of another live move.",
    "late_write": "The application wrote to the old key after the switch: copied again.",
    "batch_released": "A batch gave back what it had not done; the reason is in the message.",
    "batch_refused": "A message of another deployment or run was not acted on.",
    "reconciled": "The reconciler hinted due moves again.",
    "clock_jumped": "The database's clock jumped: deletes are held for one grace.",
    "damage": "An object that a row names by now was deleted and could not be put back.",
    "worker_started": "A worker is ready.",
    "worker_stopping": "A worker was asked to stop and ends what it has in hand.",
    "worker_stopped": "A worker has closed its connections.",
    "store_probed": "What the object store honours was tried out.",
    "broker_warning": "The broker took no message; the ledger sends it again.",
    "broker_evicts": "The broker throws messages away when its memory is full; the ledger sends them again, later.",
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
