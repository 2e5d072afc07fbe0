"""The application of a schedule: what it does with rows and objects while they are moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import MissingObjectError
from tests.model.choices import ViolationError
from tests.model.execution import Execution
from tests.model.ground import Ground
from tests.model.transactions import CLOCK
from tests.model.truth import asset_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Application:
    """The acts of the application in one schedule."""

    ground: Ground
    execution: Execution

    def party(self, name: str, *acts: Callable[[], object]) -> None:
        """Some acts of the application, one after the other."""
        self.execution.spawn(name, lambda: [act() for act in acts])

    def reader(self, number: int, *, name: str = "reader") -> None:
        """Reads a row, and gets its object within the grace."""

        def body() -> None:
            key, until = self.row(number), self._grace_end()
            asset = self.ground.truth.rows.get(number)
            self.execution.point(f"GET {key}", (f"object {key}", False), CLOCK)
            if key is None or self.ground.clock.boot() > until or number not in self.ground.truth.rows:
                return
            try:
                body = self.ground.store.app_get(key)
            except MissingObjectError:
                raise ViolationError(f"S1: a reader of row {number} finds nothing at {key}") from None
            if asset_of(body) != asset:
                raise ViolationError(f"S1: a reader of row {number} gets {body.decode()} at {key}")

        self.execution.spawn(name, body)

    def row(self, number: int) -> str | None:
        """The key that a row names."""
        self.execution.point(f"SELECT row {number}", ("table assets", False), CLOCK)
        return self.ground.keys().get(number)

    def put(self, key: str, body: str) -> None:
        """Upload something new to a key that is free."""
        self.execution.point(f"PUT {key} = {body} if free", (f"object {key}", True), ("listing", False), CLOCK)
        if self.ground.object_at(key) is None:
            self._upload(key, body.encode())

    def overwrite(self, number: int, version: int) -> None:
        """Write a new version to the key that the row names: some time after it was read, within the grace (A1)."""
        key, until = self.row(number), self._grace_end()
        if key is not None:
            asset = self.ground.truth.rows[number]
            self.execution.point(f"PUT {key} = {asset}.{version}", (f"object {key}", True), ("listing", False), CLOCK)
            if self.ground.clock.boot() <= until:
                body = f"{asset}.{version}".encode()
                self._upload(key, body)

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
        self.execution.point(f"DELETE {key}", (f"object {key}", True), ("listing", False), CLOCK)
        self.ground.store.app_delete(str(key))

    def second_row(self, number: int, new: int) -> None:
        """Let another row name the object that a row names, within the grace (A1)."""
        key, until = self.row(number), self._grace_end()

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
            self.execution.point(f"PUT {key} = {asset}.1", (f"object {key}", True), ("listing", False), CLOCK)
            self._upload(key, f"{asset}.1".encode())
            self.ground.truth.rows[number] = asset

    # Inside

    def _grace_end(self) -> float:
        return self.ground.clock.boot() + self.ground.context.settings.grace_seconds

    def _upload(self, key: str, body: bytes) -> None:
        self.ground.truth.written(key, body, over=self.ground.object_at(key))
        self.ground.written_at[key] = len(self.execution.story)
        self.ground.store.app_put(key, body)

    def _change(
        self, label: str, statement: str, *values: object, until: float = float("inf"), also: Callable[[], None] = lambda: None
    ) -> None:
        self.execution.point(label, ("table assets", True), CLOCK)
        if self.ground.clock.boot() <= until and self.ground.raw.execute(statement, values).rowcount:
            also()
