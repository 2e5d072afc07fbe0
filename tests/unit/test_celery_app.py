"""The Celery configuration, the tasks' readable arguments, bounded publishing, the dashboard's login, whose packages are found."""

from __future__ import annotations

import importlib.util
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from kombu import Connection

from app import celery_app, dashboard, install, resources
from app.errors import BrokerUnavailableError, UsageError
from app.settings import Settings
from app.stopping import StopFlag

BROKER = "redis://127.0.0.1:1/0"


def make_settings(**given: object) -> Settings:
    """Settings with a broker, and what a test changes."""
    return Settings.model_validate({"broker_url": BROKER} | given)


def make_app(broker_url: str) -> Celery:
    """An instance of its own, configured as the product's, for publishing to *broker_url*."""
    app = Celery("test", task_cls=celery_app.ReadableTask, set_as_current=False)
    app.conf.update(celery_app.configuration(make_settings()) | {"include": (), "broker_url": broker_url})
    return app


def make_task(app: Celery) -> Task:
    """A copy task that does nothing, known to *app* only."""

    def copy_objects(deployment: str, run_id: str, move_ids: list[int]) -> None:
        """Do nothing."""

    return app.task(copy_objects, name="copy_objects", shared=False)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A TCP port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (("prod", "7f3a", [1001, 1002, 1005]), "run 7f3a · 3 moves from 1001"),
        (("prod", "7f3a", [1001]), "run 7f3a · move 1001"),
        (("prod", "7f3a", []), "run 7f3a"),
        (("prod", "7f3a"), "run 7f3a"),
        ((), "all runs"),
    ],
)
def test_describe_tells_the_run_and_the_ids(args: tuple[Any, ...], shown: str) -> None:
    """Flower shows which run and how many moves, not a cut list of numbers."""
    assert celery_app.describe(args) == shown


def test_messages_are_json_with_readable_arguments_and_no_reply() -> None:
    """What is put on the broker is JSON, reads well, and asks for no result."""
    task = make_task(make_app("memory://"))

    celery_app.send(task, "prod", "7f3a", [1001, 1002])

    with Connection("memory://") as connection:
        message = connection.SimpleQueue("copy").get(timeout=5)
    assert message.content_type == "application/json"
    assert json.loads(message.body)[0] == ["prod", "7f3a", [1001, 1002]]
    assert message.headers["argsrepr"] == "run 7f3a · 2 moves from 1001"
    assert message.headers["kwargsrepr"] == "{}"
    assert message.headers["ignore_result"] is True


def test_configuration_takes_json_only_and_acknowledges_late() -> None:
    """Nothing but JSON is read, a message is given up only after its work, and results are kept nowhere."""
    app = make_app(BROKER)

    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.event_serializer == "json"
    assert (app.conf.task_acks_late, app.conf.task_reject_on_worker_lost, app.conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (app.conf.task_ignore_result, app.conf.result_backend) == (True, None)
    assert not app.conf.task_always_eager


def test_configuration_names_transport_options_that_kombu_knows() -> None:
    """Each transport option is one that the Redis transport (or kombu's reconnecting) reads: a misspelt one would be ignored."""
    from kombu.transport.redis import Channel  # noqa: PLC0415 - only here

    values = make_settings(queue_prefix="blue:", visibility_timeout_seconds=90)

    options = celery_app.configuration(values)["broker_transport_options"]

    reconnecting = {"max_retries", "interval_start", "interval_max"}
    assert set(options) - reconnecting <= set(Channel.from_transport_options)
    assert options["global_keyprefix"] == "blue:"
    assert options["visibility_timeout"] == 90
    assert (options["unacked_restore_interval"], options["unacked_restore_throttle"]) == (2, 1)


def test_each_queue_has_an_exchange_of_its_own() -> None:
    """Queues that share an exchange and a key would all get each message."""
    queues = celery_app.configuration(make_settings())["task_queues"]

    assert [(queue.name, queue.exchange.name, queue.routing_key) for queue in queues] == [
        (name, name, name) for name in ("seed", "copy", "rename", "delete", "own")
    ]


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("seed_moves", "seed"),
        ("reconcile_moves", "seed"),
        ("copy_objects", "copy"),
        ("rename_keys", "rename"),
        ("delete_objects", "delete"),
    ],
)
def test_route_of_each_task(task: str, queue: str) -> None:
    """A task goes to its stage's queue, even if it is sent by name only."""
    assert make_app(BROKER).amqp.router.route({}, task)["queue"].name == queue


def test_beat_ticks_each_reconcile_seconds_without_a_schedule_file() -> None:
    """The reconciler is the only entry, and beat keeps its schedule in memory."""
    found = celery_app.configuration(make_settings(reconcile_seconds=3))

    assert found["beat_schedule"] == {"reconcile_moves": {"task": "reconcile_moves", "schedule": 3.0}}
    assert found["beat_scheduler"] == "workers.beat:Scheduler"


def test_tls_is_verified_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """A rediss:// URL alone means a verified certificate and host name; kombu's own default is neither."""
    url = "rediss://broker.test:6379/0"
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_app.configuration(make_settings(broker_url=url)) | {"include": ()})

    with caplog.at_level(logging.WARNING):
        connection = app.connection_for_write()

    assert connection.ssl == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert "insecure" not in caplog.text


def test_plain_redis_gets_no_tls() -> None:
    """A redis:// URL is spoken to in the clear."""
    assert not make_app(BROKER).connection_for_write().ssl


def test_send_refused_raises_at_once() -> None:
    """A broker that is not there is a BrokerUnavailableError within a second or so."""
    task = make_task(make_app(BROKER))
    started = time.monotonic()

    with pytest.raises(BrokerUnavailableError, match="took no message for copy_objects"):
        celery_app.send(task, "prod", "7f3a", [1])

    assert time.monotonic() - started < 4


def test_send_on_a_channel_that_is_dropped_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker drops its channels after the broker's restart, whichever thread publishes on them (seen in the chaos rounds)."""
    task = make_task(make_app("memory://"))

    def put(self: Any, *_: object, **__: object) -> None:  # noqa: ANN401 - kombu's channel
        connection, self.connection = self.connection, None
        try:
            _ = self.connection.client  # as the redis transport does to connect
        finally:
            self.connection = connection

    monkeypatch.setattr("kombu.transport.memory.Channel._put", put)

    with pytest.raises(BrokerUnavailableError, match="took no message for copy_objects"):
        celery_app.send(task, "prod", "7f3a", [1])


def test_send_to_a_silent_broker_is_bounded(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that takes the connection and never answers holds a task up for seconds, not for ever."""
    monkeypatch.setattr(celery_app, "PUBLISH_SECONDS", 0.5)
    task = make_task(make_app(f"redis://127.0.0.1:{listener.getsockname()[1]}/0"))
    started = time.monotonic()

    with pytest.raises(BrokerUnavailableError):
        celery_app.send(task, "prod", "7f3a", [1])

    assert time.monotonic() - started < 4


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_another_broker_in_the_environment_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery would prefer these to our setting, and publish to somebody else's broker."""
    monkeypatch.setenv(name, "redis://service.test:6379/0")

    with pytest.raises(UsageError, match=name):
        celery_app.configuration(make_settings())


def test_the_same_broker_in_the_environment_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """``celery -b`` with our own broker changes nothing."""
    monkeypatch.setenv("CELERY_BROKER_URL", BROKER)

    assert celery_app.configuration(make_settings())["broker_url"] == BROKER


def test_loader_passes_a_refused_setting_on_outside_the_celery_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own command line words the refusal itself."""
    monkeypatch.setattr(resources, "settings", _refuse)
    app = Celery("test", loader=celery_app.Loader, set_as_current=False)

    with pytest.raises(UsageError, match="cannot be right"):
        _ = app.conf.broker_url


def _refuse() -> Settings:
    raise UsageError("it cannot be right")


@pytest.mark.parametrize("error", [KeyError("broker_url"), AttributeError("broker_url")])
def test_loader_fails_loudly_where_celery_would_fall_back_to_amqp(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery takes these two for "not configured" and would go on with amqp://localhost."""
    monkeypatch.setattr(resources, "settings", lambda: _raise(error))
    app = Celery("test", loader=celery_app.Loader, set_as_current=False)

    with pytest.raises(RuntimeError, match="configuration cannot be read"):
        _ = app.conf.broker_url


def _raise(error: Exception) -> Settings:
    raise error


def test_loader_refuses_a_tasks_package_that_lacks_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a task would discard its messages as unknown."""
    monkeypatch.setattr(resources, "settings", make_settings)
    app = Celery("test", loader=celery_app.Loader, set_as_current=False)
    app.conf.include = ()

    with pytest.raises(UsageError, match="registers no copy_objects, delete_objects, own_stage, reconcile_moves, rename_keys, seed_moves"):
        app.loader.import_default_modules()


def test_no_command_of_celery_runs_here() -> None:
    """Only a process that runs ``celery`` is ended with an exit status; a test or our own command line is not."""
    assert celery_app.command() is None


@pytest.mark.parametrize("logins", [[], [""], ["user:"], [":password"], ["user"], ["user:password", "other"]])
def test_dashboard_without_a_login_is_refused(logins: list[str]) -> None:
    """No login, or half of one, is refused with the variable to set."""
    with pytest.raises(UsageError, match="FLOWER_BASIC_AUTH"):
        dashboard.refuse_open(basic_auth=logins, oauth="", is_open=False)


def test_dashboard_opens_with_a_login_or_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password, an OAuth rule or the operator's word will do."""
    dashboard.refuse_open(basic_auth=["user:pass:word"], oauth="", is_open=False)
    dashboard.refuse_open(basic_auth=[], oauth=".*@example[.]com", is_open=False)
    dashboard.refuse_open(basic_auth=[], oauth="", is_open=True)


def test_dashboard_defaults_yield_to_the_operator() -> None:
    """On loopback and bounded, unless set otherwise."""
    environ = {"FLOWER_ADDRESS": "10.0.0.5"}

    dashboard.set_defaults(environ)

    assert environ["FLOWER_ADDRESS"] == "10.0.0.5"
    assert environ["FLOWER_MAX_TASKS"] == "10000"
    assert {"args", "result"} <= set(environ["FLOWER_TASKS_COLUMNS"].split(","))
    assert "FLOWER_BASIC_AUTH" not in environ


@pytest.mark.parametrize("given", [{}, {"FLOWER_BASIC_AUTH": ""}])
def test_dashboard_login_can_come_from_a_file(tmp_path: Path, given: dict[str, str]) -> None:
    """The login has a file twin, like our own secrets; Compose passes on an unset variable as an empty one."""
    secret = tmp_path / "login"
    secret.write_text("user:password\n", encoding="utf-8")
    environ = {"FLOWER_BASIC_AUTH_FILE": str(secret)} | given

    dashboard.set_defaults(environ)

    assert environ["FLOWER_BASIC_AUTH"] == "user:password"


def test_dashboard_login_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """A missing secret is no reason to start without one."""
    with pytest.raises(UsageError, match="FLOWER_BASIC_AUTH_FILE"):
        dashboard.set_defaults({"FLOWER_BASIC_AUTH_FILE": str(tmp_path / "missing")})


def test_install_accepts_its_own_packages() -> None:
    """The three packages of this folder belong together."""
    install.check()


def test_install_refuses_a_package_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's own ``tasks`` folder is named, with the remedy."""
    foreign = tmp_path / "tasks" / "__init__.py"
    foreign.parent.mkdir()
    foreign.touch()
    found = importlib.util.spec_from_file_location("tasks", foreign)
    monkeypatch.setattr(install, "find_spec", lambda name: found if name == "tasks" else importlib.util.find_spec(name))

    with pytest.raises(UsageError, match=r"'tasks' found is not this product's .*: start from a folder"):
        install.check()


def test_importing_a_pure_module_imports_no_celery() -> None:
    """``app`` gives the instance on demand: a check or a script that needs none of it does not pay for Celery."""
    code = "import sys, app.states, app.stopping, workers.health; sys.exit('celery' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_stop_flag_is_set_cleared_and_waited_for() -> None:
    """It behaves as an event does."""
    flag = StopFlag()

    assert not flag.wait(0.01)
    flag.set()
    assert flag.is_set()
    assert flag.wait(10)
    flag.clear()
    assert not flag.is_set()


def test_stop_flag_reaches_a_forked_child() -> None:
    """A prefork worker's children see what its main process was told after the fork."""
    code = (
        "import os, sys\n"
        "from app.stopping import stopping\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if stopping.wait(20) else 1)\n"
        "stopping.set()\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
