"""The one Celery instance: routes, late acknowledgement, JSON only, bounded publishing.

Configured on first use from app.settings, and loudly: plain ``celery -A app worker``, ``beat`` and ``flower`` end with one line and exit
status 2 where a setting cannot be right, instead of falling back to a broker nobody named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
from celery import Celery, Task
from celery.loaders.app import AppLoader
from celery.utils.imports import cwd_in_path
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from app import dashboard, install, resources, settings
from app.errors import BrokerUnavailableError, UsageError
from app.pipeline import QUEUED

if TYPE_CHECKING:
    from app.settings import Settings

PUBLISH_SECONDS = 5.0  # how long one publish may wait for a connection, and for each answer of the broker
SHOWN = 8  # digits of a run id, as everywhere
RECONCILE_TASK = "reconcile_moves"
RECONCILE_QUEUE = "seed"  # both write plans: one worker does them one after the other
INCLUDED = ("tasks", "workers.lifecycle")  # what every process of Celery imports
# Variables that Celery prefers to its configuration: a service's own broker would silently take our messages.
_BROKER_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")


def describe(args: Sequence[Any]) -> str:
    """What Flower shows of a task's arguments: "run 7f3a · 200 moves from 1001"; never keys or settings, only ids."""
    match list(args):
        case [_, str(run_id), [only]]:
            return f"run {run_id[:SHOWN]} · move {only}"
        case [_, str(run_id), [first, *rest]]:
            return f"run {run_id[:SHOWN]} · {len(rest) + 1} moves from {first}"
        case [_, str(run_id), *_]:
            return f"run {run_id[:SHOWN]}"
        case _:
            return "all runs"


class ReadableTask(Task):  # type: ignore[misc] # celery has no types
    """A task whose arguments read well in Flower, where Celery's own text is a cut list of numbers."""

    def apply_async(self, args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None, **options: Any) -> Any:  # noqa: ANN401 - Celery's own signature
        """Publish as Celery does, with ``argsrepr`` set (beat publishes through here as well)."""
        options.setdefault("argsrepr", describe(args or ()))
        options.setdefault("kwargsrepr", "{}")
        return super().apply_async(args, kwargs, **options)


class Loader(AppLoader):  # type: ignore[misc] # celery has no types
    """Reads the configuration from app.settings, whatever CELERY_CONFIG_MODULE says, and refuses what cannot work."""

    settings: Settings | None = None  # what the configuration was made from

    def read_configuration(self, env: str = "") -> dict[str, Any]:  # noqa: ARG002 - Celery's own signature
        """The configuration, or the refusal of a setting in one line."""
        try:
            self.settings = _settings()
            return configuration(self.settings)
        except UsageError as error:
            _refuse(error)
        except (KeyError, AttributeError) as error:
            # Celery takes these two for "no such setting" and would go on with amqp://localhost (celery/utils/collections.py).
            raise RuntimeError(f"the configuration cannot be read: {error!r}") from error

    def import_default_modules(self) -> Any:  # noqa: ANN401 - Celery's own signature
        """Import the tasks, and see that they are ours and all there: else a worker would discard our messages as unknown."""
        try:
            with cwd_in_path():  # where Celery is about to look first
                install.check()
            modules = super().import_default_modules()
            _check_tasks(self.app.tasks)
            if command() == "flower":
                dashboard.check()
        except UsageError as error:
            _refuse(error)
        return modules


def _check_tasks(registered: Collection[str]) -> None:
    missing = sorted({RECONCILE_TASK, *(stage.task for stage in QUEUED)} - set(registered))
    if missing:
        raise UsageError(f"the tasks package registers no {', '.join(missing)}: the installation is incomplete")


def command() -> str | None:
    """The sub-command of ``celery`` that this process runs, None where it runs none (a script, a test, our own command line)."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().command.name != "celery":
        return None
    return context.invoked_subcommand or context.info_name


def _settings() -> Settings:
    """This process's settings; beat, Flower and ``celery inspect`` need the broker only, and get no other secret."""
    if command() in {None, "worker"}:
        return resources.settings()
    environ = {name: value for name, value in os.environ.items() if name != dashboard.OPEN_VARIABLE}
    return settings.load(environ=environ, required=("broker_url",))


def _refuse(error: UsageError) -> NoReturn:
    """End a ``celery`` command with one line and exit status 2; elsewhere pass the error on."""
    if command() is None:
        raise error
    sys.stderr.write(f"rekey: {error}\n")
    raise SystemExit(2) from error  # Celery catches Exception here and there and prints tracebacks, but no SystemExit


def configuration(values: Settings) -> dict[str, Any]:
    """Celery's configuration for these settings.

    Raises:
        UsageError: The environment would make Celery use another broker.
    """
    _refuse_other_brokers(values.broker_url.get_secret_value())
    return {
        **_broker(values),
        # The tasks; and by name, since imports point down, the signal handlers that make a plain ``celery -A app worker`` ours.
        "include": INCLUDED,
        # Each with an exchange of its own: without one all share the first queue's and its routing key.
        "task_queues": [_queue(name) for name in dict.fromkeys((RECONCILE_QUEUE, *(stage.queue for stage in QUEUED)))],
        "task_default_queue": RECONCILE_QUEUE,
        "task_create_missing_queues": False,  # a misspelt -Q is refused instead of waiting for ever on a queue that gets nothing
        "task_routes": {RECONCILE_TASK: {"queue": RECONCILE_QUEUE}} | {stage.task: {"queue": stage.queue} for stage in QUEUED},
        "task_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        # Messages are hints: acknowledged after the work, taken again when a worker is lost; the ledger knows what was done (S6).
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # No result backend, hence no result keys to fill Redis; Flower shows a task's returned text all the same.
        "result_backend": None,
        "task_ignore_result": True,
        "result_expires": None,
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.2, "interval_step": 0, "interval_max": 0.2},
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Running tasks go on through a broken connection: their leases hold and repetition is harmless. Cancelling needs a pool that
        # can kill a task, which threads cannot.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A full prefetch again after a reconnect: a reduced one is given back only as tasks complete, and messages taken early just wait.
        "worker_enable_prefetch_count_reduction": False,
        "enable_utc": True,
        "beat_scheduler": "workers.beat:Scheduler",  # Celery's own writes a schedule file into the current folder
        "beat_max_loop_interval": values.reconcile_seconds,
        "beat_schedule": {RECONCILE_TASK: {"task": RECONCILE_TASK, "schedule": float(values.reconcile_seconds)}},
    }


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call] # kombu's types are not complete


def _broker(values: Settings) -> dict[str, Any]:
    url = values.broker_url.get_secret_value()
    return {
        "broker_url": url,
        # kombu takes rediss:// without these for "do not verify" (kombu/connection.py); ssl_... parameters in the URL go before them.
        "broker_use_ssl": {"ssl_cert_reqs": "required", "ssl_check_hostname": True} if url.startswith("rediss://") else None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker outlives any outage of its broker (Celery's 100 tries end it)
        "broker_channel_error_retry": True,  # so does it a Redis that is full or read-only for a while
        "broker_connection_timeout": PUBLISH_SECONDS,
        "broker_pool_acquire_timeout": PUBLISH_SECONDS,
        "broker_transport_options": {
            "global_keyprefix": values.queue_prefix,
            "priority_steps": [0],
            "visibility_timeout": values.visibility_timeout_seconds,
            # Together they make the visibility timeout what it says: kombu's own sweep comes each 100 s.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,  # seconds for which a sweeper that was killed keeps the others from sweeping
            # Without these a publish to a silent broker never returns.
            "socket_connect_timeout": PUBLISH_SECONDS,
            "socket_timeout": PUBLISH_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,  # task_publish_retry_policy repeats already; a repetition inside it would double the time
            "max_retries": 1,
            "interval_start": 0.2,
            "interval_max": 0.2,
        },
    }


def _refuse_other_brokers(broker_url: str) -> None:
    for name in _BROKER_VARIABLES:
        if os.environ.get(name) not in {None, "", broker_url}:
            raise UsageError(f"{name} (or BROKER_URL, or celery's -b) names another broker than REKEY_BROKER_URL: unset it")


def send(task: Task, *args: Any, headers: Mapping[str, int] | None = None) -> None:  # noqa: ANN401 - ids and cursors of any JSON type
    """Publish *task* with *args* within a bounded time.

    Raises:
        BrokerUnavailableError: The broker took no message, or its answer was lost; the ledger still says what is to be done (S6).
    """
    try:
        task.apply_async(args, headers=dict(headers) if headers else None)
    except (OperationalError, OSError, AttributeError) as error:
        # AttributeError: the worker's own thread has just dropped the channel that this one publishes on, after the broker's restart
        # (kombu sets its connection to None, and looks into it: kombu/transport/redis.py, _connparams).
        raise BrokerUnavailableError(f"the broker took no message for {task.name}: {error}") from error


def _prepare_dashboard() -> None:
    """Set Flower's defaults, which it reads from the environment after it has loaded this module."""
    try:
        dashboard.set_defaults(os.environ)
    except UsageError as error:
        _refuse(error)


celery = Celery("rekey", loader=Loader, task_cls=ReadableTask, set_as_current=True)
if command() == "flower":
    _prepare_dashboard()
