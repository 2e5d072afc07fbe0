"""What the application knows to be so, and what must hold of it at every instant (S1-S4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.choices import ViolationError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

MENDED = {"content-type": "image/png"}


@dataclass(slots=True)
class Truth:
    """The asset that each row means, and the versions that nobody has overwritten. A body ``b"a.2"`` is version 2 of asset a."""

    rows: dict[int, str] = field(default_factory=dict)  # the asset by row; rows whose upload is still to come are left out
    living: dict[bytes, str] = field(default_factory=dict)  # the key that a version was written to
    swept: set[str] = field(default_factory=set)  # keys whose object a janitor removed: it is to come back, not at once (H22)
    mended: set[str] = field(default_factory=set)  # assets whose headers were mended
    twins: dict[int, bytes] = field(default_factory=dict)  # rows with an upload of their own that equals another asset's (H12)

    def copy(self) -> Truth:
        """Another one that says the same."""
        return Truth(dict(self.rows), dict(self.living), set(self.swept), set(self.mended), dict(self.twins))

    def key(self) -> Hashable:
        """To tell it from others by."""
        rows, living, twins = (tuple(sorted(each.items())) for each in (self.rows, self.living, self.twins))
        return rows, living, frozenset(self.swept), frozenset(self.mended), twins

    def written(self, key: str, body: bytes, *, over: bytes | None) -> None:
        """The application has written *body*; what it has overwritten of that asset need not be kept."""
        if over is not None and asset_of(over) == asset_of(body):
            self.living.pop(over, None)
        self.living[body] = key
        self.mended.discard(asset_of(body))

    def dropped(self, asset: str) -> None:
        """The application needs this asset no more."""
        for body in [body for body in self.living if asset_of(body) == asset]:
            del self.living[body]

    def lost(self, contents: Mapping[str, bytes]) -> tuple[bytes, str] | None:
        """A version that is nowhere any more, and where it was written to (S2, S3)."""
        there = set(contents.values())
        return next(((body, key) for body, key in self.living.items() if body not in there), None)

    def check_rows(self, keys: Mapping[int, str], contents: Mapping[str, bytes]) -> None:
        """Raise ViolationError if a row names nothing, or somebody else's object (S1, S3, S4)."""
        for number, asset in self.rows.items():
            if number not in keys:
                continue
            found = contents.get(keys[number].lstrip("/"))
            if found is None and keys[number] in self.swept:
                continue
            if found is None:
                raise ViolationError(f"S1: row {number} names {keys[number]}, where no object is")
            if asset_of(found) != asset:
                raise ViolationError(f"S3: row {number} means asset {asset}, and at {keys[number]} is {found.decode()}")
            if found != self.twins.get(number, found):
                raise ViolationError(f"S3: row {number} means an upload of its own, and at {keys[number]} is {found.decode()}")

    def check_reader(self, key: str, asset: str, found: bytes | None) -> None:
        """Raise ViolationError if who read *key* in a row that meant *asset* gets something else there, or nothing."""
        if key in self.swept or not any(asset_of(body) == asset for body in self.living):
            return
        if found is None:
            raise ViolationError(f"S1: who has read {key} in a row finds no object there within the grace")
        if asset_of(found) != asset:
            raise ViolationError(f"S1: who has read {key} in a row gets {found.decode()} there within the grace")

    def check_end(self, keys: Mapping[int, str], contents: Mapping[str, bytes], *, reported: frozenset[str]) -> None:
        """Raise ViolationError if a row does not have its newest bytes, and that is not *reported* (the old keys that it is said of)."""
        for number, asset in self.rows.items():
            key = keys.get(number)
            if key is None:
                continue
            newest = [body for body in self.living if asset_of(body) == asset]
            here = contents.get(key.lstrip("/"), b"nothing")
            for body in newest:
                own = self.living[body]
                if body != here and not (own in reported and contents.get(own.lstrip("/")) == body):
                    raise ViolationError(f"S2: row {number} has {here.decode()} in the end, and {body.decode()} of {own} is not reported")


def asset_of(body: bytes) -> str:
    """The asset that a body is a version of."""
    return body.decode().partition(".")[0]
