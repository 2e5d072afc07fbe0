"""``rekey demo``: what it prints, and its exit status; and how the workers' trouble reaches the user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from app.cli import demo as command
from app.demo import run
from app.demo.recount import Recount
from app.demo.workers import Workers
from app.errors import DemonstrationError

if TYPE_CHECKING:
    from pathlib import Path

REPORT = {
    "run": "0123456789abcdef",
    "state": "finished",
    "stall": None,
    "rows": 3,
    "copied": 3,
    "renamed": 3,
    "deleted": 3,
    "open": 0,
    "in_place": 0,
    "kept": 0,
    "parked": 0,
    "superseded": 0,
    "cancelled": 0,
    "rolled_back": 0,
    "unseen": 0,
    "parked_reasons": {},
    "not_kept": 0,
    "not_kept_attributes": {},
    "kept_reasons": {},
    "deletes_due_at": None,
    "seconds": 1.5,
    "per_second": 2.0,
    "eta_seconds": None,
}


def ending(**changes: Any) -> run.Ending:  # noqa: ANN401 - fields of Ending
    """How it went: well, but for the *changes*."""
    values: dict[str, Any] = {
        "report": REPORT,
        "recount": Recount(rows=3, objects=3, switched=3, deleted=3),
        "reads": 10,
        "failed_reads": [],
        "late_reads": 0,
        "latest_seconds": 0.0,
        "writes": {"replaced": 2, "added": 1},
        "failed_writes": [],
        "examples": {},
    }
    return run.Ending(**(values | changes))


PARKED = REPORT | {"parked": 1, "deleted": 2, "renamed": 2, "copied": 2, "parked_reasons": {"collision": 1}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"late_reads": 2, "latest_seconds": 1.0}, 0),
        ({"report": PARKED, "recount": Recount(switched=2, deleted=2)}, 3),
        ({"failed_reads": ["x"]}, 1),
        ({"failed_writes": ["x"]}, 1),
        ({"recount": Recount(switched=3, deleted=3, lost_writes=["x"])}, 1),
        ({"recount": Recount(switched=3, deleted=3, wrong=["x"])}, 1),
        ({"recount": Recount(switched=3, deleted=2)}, 1),
        ({"report": PARKED, "recount": Recount(switched=2, deleted=2), "failed_reads": ["x"]}, 1),
    ],
)
def test_exit_status_tells_the_truth(changes: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 where anything was lost or failed or is wrong, 3 where rows were parked, else 0."""
    monkeypatch.setattr(run, "demonstrate", lambda *_: ending(**changes))
    result = CliRunner().invoke(command.demo, [], standalone_mode=False)

    assert result.return_value == expected


def test_json_is_the_report_with_what_reader_and_writer_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object on one line, with the names of the contract."""
    found = ending(failed_reads=["a", "b"], recount=Recount(rows=3, objects=4, switched=3, deleted=3, left=1, lost_writes=["c"]))
    monkeypatch.setattr(run, "demonstrate", lambda *_: found)
    printed = json.loads(CliRunner().invoke(command.demo, ["--json"], standalone_mode=False).stdout)

    assert {name: printed[name] for name in REPORT} == REPORT
    assert {name: printed[name] for name in ("reads", "failed_reads", "writes", "lost_writes")} == {
        "reads": 10,
        "failed_reads": 2,
        "writes": 3,
        "lost_writes": 1,
    }
    assert printed["recount"] == {"rows": 3, "objects": 4, "renamed": 3, "deleted": 3, "left": 1, "wrong": 0}


def test_summary_names_each_trouble_and_says_how_many_more() -> None:
    """A few lines of each kind; the rest as a number."""
    lines = command.as_lines(ending(failed_reads=[f"read {number}" for number in range(7)]))

    assert [line for line in lines if "failed read: " in line] == [f"  failed read: read {number}" for number in range(5)] + [
        "  failed read: 2 more"
    ]


def test_summary_shows_a_parked_row_of_each_reason() -> None:
    """The ledger's words for it, beside the count."""
    lines = command.as_lines(ending(report=PARKED, examples={"collision": "row 3: another asset gets the same new key"}))

    assert "      for example (collision) row 3: another asset gets the same new key" in lines


def test_wish_is_what_the_flags_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flag reaches the demonstration."""
    wishes = []
    monkeypatch.setattr(run, "demonstrate", lambda wish, _screen: wishes.append(wish) or ending())
    CliRunner().invoke(command.demo, ["--assets", "5", "--from", str(tmp_path), "--with-problems", "--keep"], standalone_mode=False)

    assert [(wish.assets, wish.folder, wish.with_problems, wish.keep) for wish in wishes] == [(5, tmp_path, True, True)]


def test_workers_that_end_show_the_end_of_their_log_without_secrets(tmp_path: Path) -> None:
    """The user sees the cause in one line."""
    workers = Workers({"REKEY_DATABASE_URL": "no-url"}, tmp_path, secrets=["geheimnis"])
    workers.log.write_text("first\n\nthe password geheimnis\n", encoding="utf-8")
    workers.start()
    assert workers._process is not None
    workers._process.wait(30)

    with pytest.raises(DemonstrationError) as caught:
        workers.check()

    assert str(caught.value).startswith("the workers ended with status 2; the workers' log ends: ")
    assert "REKEY_" in str(caught.value)
    assert "geheimnis" not in workers.tail()
    assert len(str(caught.value).splitlines()) == 1


def test_workers_that_were_not_started_are_stopped_without_harm(tmp_path: Path) -> None:
    """The way out is the same however far one came."""
    workers = Workers({}, tmp_path, secrets=[])
    workers.check()
    workers.stop()

    assert workers.tail() == "the workers' log is empty"
