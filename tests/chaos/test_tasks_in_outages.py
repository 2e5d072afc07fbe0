"""A task that finds its ledger away ends with one line, and leaves the rest to the reconciler (S6, S8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.processes import PREFIX, WORKER, environment, free_port, redis_server, running, wait_until

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
        environ = environment(broker.url, tmp_path, REKEY_DATABASE_URL=nowhere)
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
