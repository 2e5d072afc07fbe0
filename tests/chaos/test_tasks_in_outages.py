"""A task that finds its ledger away ends with one line, and leaves the rest to the reconciler (S6, S8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.processes import PREFIX, SHORT, WORKER, environment, free_port, redis_server, run, running, wait_until
from tests.servers import postgres_server

if TYPE_CHECKING:
    from pathlib import Path

SEND = """
import tasks
from app.celery_app import send

for task in (tasks.copy_objects, tasks.rename_keys, tasks.delete_objects):
    send(task, "deployment", "run", [1, 2])
send(tasks.seed_moves, "deployment", "run")
send(tasks.reconcile_moves)
"""


@pytest.mark.timeout(120)
def test_tasks_end_with_one_line_each_while_the_database_is_away(tmp_path: Path) -> None:
    """No traceback, no exception that Celery would count as a fault of the task, and no message left in hand."""
    nowhere = f"postgresql://user@127.0.0.1:{free_port()}/assets"
    with redis_server() as broker:
        environ = environment(broker.url, tmp_path, REKEY_DATABASE_URL=nowhere, **SHORT)
        (tmp_path / "send.py").write_text(SEND, encoding="utf-8")
        with (
            running(*WORKER, environ=environ, folder=tmp_path) as worker,
            running("send", environ=environ, folder=tmp_path, name="send") as sender,
        ):
            assert sender.wait() == 0, sender.output()

            worker.wait_for("succeeded", times=5)
            wait_until(lambda: broker.unacknowledged() == 0)

            assert worker.output().count("the database did not answer") == 10, "a warning and a result each"
            assert "Traceback" not in worker.output()
            assert [broker.client.llen(f"{PREFIX}{queue}") for queue in ("seed", "copy", "rename", "delete")] == [0, 0, 0, 0]


@pytest.mark.timeout(180)
def test_messages_survive_a_short_outage_of_the_database(tmp_path: Path) -> None:
    """A task waits for it, so that an outage does not use up what is queued: each message would be hinted again only after a while."""
    with redis_server() as broker, postgres_server() as database:
        url = database.make_database()
        environ = environment(broker.url, tmp_path, REKEY_DATABASE_URL=url)
        (tmp_path / "send.py").write_text(SEND.replace("send(tasks.reconcile_moves)", ""), encoding="utf-8")
        assert run("app", "init", environ=environ).returncode == 0
        with running(*WORKER, environ=environ, folder=tmp_path) as worker:
            worker.wait_for(" ready.")
            database.stop()
            with running("send", environ=environ, folder=tmp_path, name="send") as sender:
                assert sender.wait() == 0, sender.output()
            worker.wait_for("received", times=4)
            database.start()

            dropped = "dropped a message of another deployment or run"  # after it was put back for that one's workers some times
            worker.wait_for(dropped, times=4)

            assert "stopped: " not in worker.output()
            assert worker.output().count(dropped) == 4
