"""The application of a schedule: what it does with rows and objects while they are moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.states import RunState
from tests.model.actors import On
from tests.model.committed import LOCKS
from tests.model.contents import NEVER, ROW_DUE, TRUTH
from tests.model.execution import Execution
from tests.model.ground import Ground
from tests.model.truth import MENDED
from tests.model.views import MOVES, RUNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.choices import Touch
    from tests.model.committed import Held


@dataclass(frozen=True, slots=True)
class Application:
    """The acts of the application in one schedule."""

    ground: Ground
    execution: Execution

    def row(self, number: int) -> str | None:
        """The key that a row names."""
        self._act(f"SELECT row {number}")
        return self.ground.keys().get(number)

    def put(self, key: str, body: str) -> bool:
        """Upload something new to a key that is free; gives whether it was."""
        self._act(f"PUT {key} = {body} if free")
        free = self.ground.object_at(key) is None
        if free:
            self._upload(key, body.encode())
        return free

    def overwrite(self, number: int, version: int, *, in_time: bool = True) -> None:
        """Write a new version to the key that the row names: some time after it was read, within the grace (A1) if *in_time*."""
        key, until = self.row(number), self._grace_end() if in_time else float("inf")
        if key is not None and number in self.ground.truth.rows:
            asset = self.ground.truth.rows[number]
            self._act(f"PUT {key} = {asset}.{version}")
            if self.ground.clock.boot() <= until:
                body = f"{asset}.{version}".encode()
                self._upload(key, body)

    def mend(self, number: int) -> None:
        """Mend the headers of the object that the row names, by a copy onto itself: the same ETag, a later time (H21, M7)."""
        key, until = self.row(number), self._grace_end()
        if key is None or number not in self.ground.truth.rows:
            return
        self._act(f"mend the headers of {key}")
        self.ground.clock.advance(1.0)  # within the same second nobody sees it
        if self.ground.clock.boot() <= until and self.ground.object_at(key) is not None:
            self.ground.store.app_set_headers(key, MENDED)
            self.ground.truth.mended.add(self.ground.truth.rows[number])
            self.ground.touches(key)

    def take_down(self, number: int) -> None:
        """Remove the object that a row names, and leave the row for later (H24)."""
        key = self.row(number)
        self._act(f"DELETE {key}")
        if key is not None and self.ground.keys().get(number) == key:
            self.ground.truth.dropped(self.ground.truth.rows.pop(number))
            self.ground.takes(key)
            self.ground.store.app_delete(key)

    def sweep(self, key: str) -> None:
        """A janitor, or a rule of the bucket, removes an object that no row names (H22)."""
        self._act(f"DELETE {key} unless a row names it")
        if key not in self.ground.keys().values():
            self.ground.truth.swept.add(key)
            self.ground.takes(key)
            self.ground.store.app_delete(key)

    def move_client(self, number: int, client: int) -> None:
        """Give a row to another client, its key as it is (H10)."""
        self._change(f"UPDATE row {number}: client {client}", "UPDATE assets SET client_id = ? WHERE id = ?", client, number)

    def swap(self, one: int, other: int) -> None:
        """Let two rows exchange their keys, in one transaction (H9)."""
        self._act(f"swap the keys of rows {one} and {other}")
        rows, keys = self.ground.truth.rows, self.ground.keys()
        for number, key in ((one, keys[other]), (other, keys[one])):
            self.ground.raw.execute("UPDATE assets SET object_key = ? WHERE id = ?", (key, number))
            self.ground.touches(key)
        rows[one], rows[other] = rows[other], rows[one]

    def re_use(self, key: str, asset: str, number: int, *, when: str = "", in_time: bool = True) -> None:
        """Mint a key again for a new asset, once every move is in the state *when* (A2), or whenever.

        Its object, and then its row, *in_time* (A3).
        """
        final = On((MOVES,), lambda moves: all(when in move for move in moves)) if when else None
        self._act(f"PUT {key} = {asset}.1", (ROW_DUE, True), ready=final)
        self._upload(key, f"{asset}.1".encode())
        if in_time:
            self.ground.row_due = self.ground.clock.boot() + self.ground.context.settings.settle_seconds
        statement = "INSERT INTO assets (id, client_id, object_key) VALUES (?, 9, ?)"
        self._change(f"INSERT row {number}: key {key}", statement, number, key, also=lambda: self.ground.truth.rows.update({number: asset}))
        self.ground.row_due = NEVER

    def twin(self, number: int, key: str, body: str) -> bool:
        """A new asset that equals another one byte for byte: its upload to a key that is free, and then its row, in time (A3, H12)."""
        self._act(f"PUT {key} = {body} if free", (ROW_DUE, True))
        if self.ground.object_at(key) is not None:
            return False
        self._upload(key, body.encode())
        self.ground.row_due = self.ground.clock.boot() + self.ground.context.settings.settle_seconds

        def also() -> None:
            self.ground.truth.rows[number] = body.partition(".")[0]
            self.ground.truth.twins[number] = body.encode()

        self._change(
            f"INSERT row {number}: key {key}", "INSERT INTO assets (id, client_id, object_key) VALUES (?, 7, ?)", number, key, also=also
        )
        self.ground.row_due = NEVER
        return True

    def upload_late(self, number: int, key: str, asset: str) -> None:
        """A new asset under a key that is free: its upload, and long after that its row (against A3)."""
        if self.put(key, f"{asset}.1"):
            self.name_it(number, key, asset)

    def name_it(self, number: int, key: str, asset: str) -> None:
        """A new row names a key; its object means *asset*."""
        statement = "INSERT INTO assets (id, client_id, object_key) VALUES (?, 7, ?)"
        self._change(f"INSERT row {number}: key {key}", statement, number, key, also=lambda: self.ground.truth.rows.update({number: asset}))

    def turn_into(self, number: int, asset: str) -> None:
        """Write another asset over the object that a row names: from now on the row means that (within the grace)."""
        key, until = self.row(number), self._grace_end()
        self._act(f"PUT {key} = {asset}.1")
        if key is not None and self.ground.clock.boot() <= until:
            self.ground.truth.rows[number] = asset
            self.ground.truth.twins.pop(number, None)
            self._upload(key, f"{asset}.1".encode())

    def overwrite_at(self, key: str, body: str, *, instead_of: str = "") -> None:
        """Write to a key, whatever has become of it meanwhile (against A1, A2, A4); *instead_of* an older version."""
        self._act(f"PUT {key} = {body}")
        self.ground.truth.living.pop(instead_of.encode(), None)
        self._upload(key, body.encode())

    def say(self, number: int, title: str) -> None:
        """Give a row another title, which may be what the operator's probe asks for."""
        self._change(f"UPDATE row {number}: title {title!r}", "UPDATE assets SET title = ? WHERE id = ?", title, number)

    def leave(self, number: int) -> None:
        """Remove a row, and leave its object behind."""

        def also() -> None:
            del self.ground.truth.rows[number]

        self._change(f"DELETE row {number}", "DELETE FROM assets WHERE id = ?", number, also=also)

    def point_if_there(self, number: int, key: str) -> None:
        """Switch a row by hand to a key where its object is, while the run is still on."""
        running = On((RUNS,), lambda runs: all(RunState.RUNNING in run for run in runs))
        self._act(f"UPDATE row {number}: key {key} if an object is there", ready=running)
        if self.ground.object_at(key) is not None:
            self.ground.raw.execute("UPDATE assets SET object_key = ? WHERE id = ?", (key, number))

    def point_at(self, number: int, key: str) -> None:
        """Set a row to a key, whatever has become of that meanwhile (against A1, A2)."""
        self._change(f"UPDATE row {number}: key {key}", "UPDATE assets SET object_key = ? WHERE id = ?", key, number)

    def save_back(self, number: int) -> None:
        """Load a row and save it whole a while later, its key too (H14)."""
        key, until = self.row(number), self._grace_end()
        self._change(f"UPDATE row {number}: key {key}", "UPDATE assets SET object_key = ? WHERE id = ?", key, number, until=until)

    def re_point(self, number: int, key: str, asset: str) -> None:
        """Upload another object and let the row name it."""
        self.put(key, f"{asset}.1")

        def also() -> None:
            self.ground.truth.dropped(self.ground.truth.rows[number])
            self.ground.truth.rows[number] = asset

        self._change(f"UPDATE row {number}: key {key}", "UPDATE assets SET object_key = ? WHERE id = ?", key, number, also=also)

    def delete_row(self, number: int) -> None:
        """Take an asset out: its row, and then what that named."""
        asset = self.ground.truth.rows[number]
        key = self.row(number)

        def also() -> None:
            self.ground.truth.rows.pop(number, None)
            self.ground.truth.dropped(asset)

        self._change(f"DELETE row {number}", "DELETE FROM assets WHERE id = ?", number, also=also)
        self._act(f"DELETE {key}")
        self.ground.store.app_delete(str(key))

    def second_row(self, number: int, new: int, *, before: str = "") -> None:
        """Let another row name the object that a row names, within the grace (A1); *before* its key: another spelling of it (H6)."""
        key, until = self.row(number), self._grace_end()
        key = f"{before}{key}"

        def also() -> None:
            self.ground.truth.rows[new] = self.ground.truth.rows[number]

        statement = "INSERT INTO assets (id, client_id, object_key) VALUES (?, 8, ?)"
        self._change(f"INSERT row {new}: key {key}", statement, new, key, until=until, also=also)

    def new_row(self, number: int, key: str, asset: str) -> None:
        """A new asset under a key that no row names: its row, and then its upload (A3)."""
        statement = (
            "INSERT INTO assets (id, client_id, object_key) SELECT ?, 7, ? WHERE NOT EXISTS (SELECT 1 FROM assets WHERE object_key = ?)"
        )
        inserted: list[int] = []
        self._change(f"INSERT row {number}: key {key}", statement, number, key, key, also=lambda: inserted.append(number))
        if inserted:
            self._act(f"PUT {key} = {asset}.1")
            self._upload(key, f"{asset}.1".encode())
            self.ground.truth.rows[number] = asset

    # Inside

    def _act(self, label: str, *touches: Touch, ready: On | None = None) -> None:
        self.execution.point(label, (TRUTH, True), *touches, ready=ready)

    def _grace_end(self) -> float:
        return self.ground.clock.boot() + self.ground.context.settings.grace_seconds

    def _upload(self, key: str, body: bytes) -> None:
        self.ground.truth.written(key, body, over=self.ground.object_at(key))
        self.ground.touches(key)
        self.ground.store.app_put(key, body)

    def _change(
        self, label: str, statement: str, *values: object, until: float = float("inf"), also: Callable[[], None] = lambda: None
    ) -> None:
        free = On((LOCKS,), partial(_is_free, values[-1])) if "WHERE id = ?" in statement else None
        self._act(label, (ROW_DUE, True), ready=free)
        if self.ground.clock.boot() <= until and self.ground.raw.execute(statement, values).rowcount:
            for key in self.ground.keys().values():
                if key in values:
                    self.ground.touches(key)
            also()


def _is_free(number: object, locks: Held | None) -> bool:
    """Whether no transaction holds the row."""
    return ("assets", (number,)) not in dict(locks or ())
