"""What a worker's log says of a broker that is away: a line, and no traceback; whatever else goes wrong keeps its traceback."""

from __future__ import annotations

import logging
import sys

import pytest
from billiard.exceptions import RestartFreqExceeded
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as BrokerGoneError
from redis.exceptions import TimeoutError as BrokerSilentError

from workers import lifecycle


def written(logger: str, said: str, error: Exception) -> str:
    """The record that *logger* makes of *error*, as the worker writes it."""
    try:
        raise error
    except type(error):
        record = logging.getLogger(logger).makeRecord(logger, logging.ERROR, "", 0, said, (error,), sys.exc_info())
    made = logging.StreamHandler()
    made.addFilter(lifecycle._shorten_outage)
    assert made.filter(record)
    return made.format(record)


@pytest.mark.parametrize(
    ("logger", "said", "error"),
    [
        ("kombu.asynchronous.hub", "Error in timer: %r", BrokerSilentError("no answer")),
        ("celery.worker.request", "Couldn't ack the message: %r", BrokerGoneError("closed")),
        ("celery.worker.request", "Couldn't ack the message: %r", BrokenPipeError(32, "Broken pipe")),
        ("celery.worker.loops", "Error cleaning up after event loop: %r", OperationalError("closed")),
        ("celery.worker.consumer.consumer", "Frequent restarts detected: %r", RestartFreqExceeded("5 in 1s")),
    ],
)
def test_outage_of_the_broker_is_a_line(logger: str, said: str, error: Exception) -> None:
    """It says what was not done, and why."""
    line = written(logger, said, error)

    assert "\n" not in line
    assert line.startswith(said % (error,))


@pytest.mark.parametrize(
    ("logger", "error"),
    [
        ("celery.worker", OSError("what ended the worker")),
        ("celery.app.trace", OSError("what ended a task")),
        ("celery.worker.request", KeyError("a fault")),
        ("kombu.asynchronous.hub", AttributeError("a fault")),
    ],
)
def test_anything_else_keeps_its_traceback(logger: str, error: Exception) -> None:
    """Somebody has to find out."""
    assert "Traceback (most recent call last)" in written(logger, "%r", error)
