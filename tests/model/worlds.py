"""States of the world as rows of numbers: one for what each resource is. The world itself is set to a state only where a call is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

World = tuple[int, ...]
CAPACITY = 40  # resources of one scenario
NOTHING = 0  # the number of what is not there
CLOCK = "clock"
LISTING = "listing"  # stands for all resources called "object ..."
ALL_OBJECTS = -1  # its index
OBJECT = "object "


class Place(Protocol):
    """The things that the actors' calls are about."""

    def names(self) -> Sequence[str]:
        """The resources that are there in the beginning."""

    def value(self, name: str) -> tuple[Hashable, Any] | None:
        """What a resource is: something to tell it by, and what ``load`` makes it from; None: nothing."""

    def load(self, name: str, value: Any) -> None:  # noqa: ANN401 - as ``value`` gave it
        """Make a resource what it was then; None: nothing."""


class Worlds:
    """The numbers of one place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._names: list[str] = []
        self._indices: dict[str, int] = {LISTING: ALL_OBJECTS}
        self._objects: list[int] = []
        self._values: list[Any] = [None]
        self._numbers: dict[tuple[int, Hashable], int] = {}
        self._loaded: list[int | None] = [NOTHING] * CAPACITY
        self.index(CLOCK)

    def now(self) -> World:
        """The state in which the place is."""
        self.forget()
        return tuple(self.read(index) if index < len(self._names) else NOTHING for index in range(CAPACITY))

    def index(self, name: str) -> int:
        """Where a resource has its number."""
        found = self._indices.get(name)
        if found is None:
            found = self._indices[name] = len(self._names)
            self._names.append(name)
            if found >= CAPACITY:
                raise AssertionError(f"more than {CAPACITY} resources: {self._names}")
            if name.startswith(OBJECT):
                self._objects.append(found)
        return found

    def name(self, index: int) -> str:
        """The resource that has its number there."""
        return self._names[index]

    def number(self, world: Sequence[int], index: int) -> int:
        """What a resource is in a state."""
        if index != ALL_OBJECTS:
            return world[index]
        return self.intern(ALL_OBJECTS, there := tuple((each, world[each]) for each in self._objects if world[each]), there)

    def value(self, world: Sequence[int], name: str) -> Any:  # noqa: ANN401 - as the place gave it
        """What a resource is in a state."""
        index = self._indices.get(name)
        return None if index is None else self._values[self.number(world, index)]

    def of(self, number: int) -> Any:  # noqa: ANN401 - as the place gave it
        """What a number stands for."""
        return self._values[number]

    def objects(self, world: Sequence[int]) -> Iterable[tuple[str, Any]]:
        """The objects that are there."""
        return [(self._names[index].removeprefix(OBJECT), self._values[world[index]]) for index in self._objects if world[index]]

    def intern(self, index: int, key: Hashable, value: Any) -> int:  # noqa: ANN401 - as the place gives it
        """The number of a value."""
        number = self._numbers.get((index, key))
        if number is None:
            number = self._numbers[index, key] = len(self._values)
            self._values.append(value)
        return number

    def read(self, index: int) -> int:
        """The number of what a resource is in the place now."""
        found = self._place.value(self._names[index])
        number = NOTHING if found is None else self.intern(index, *found)
        self._loaded[index] = number
        return number

    def load(self, world: World) -> None:
        """Set the place to a state."""
        for index, name in enumerate(self._names):
            if self._loaded[index] != world[index]:
                self._place.load(name, self._values[world[index]])
                self._loaded[index] = world[index]

    def load_some(self, numbers: Iterable[tuple[int, int]]) -> None:
        """Set some resources, by index."""
        for index, number in numbers:
            if index == ALL_OBJECTS:
                there = dict(self._values[number])
                self.load_some([(each, there.get(each, NOTHING)) for each in self._objects])
            elif self._loaded[index] != number:
                self._place.load(self._names[index], self._values[number])
                self._loaded[index] = number

    def forget(self, indices: Iterable[int] | None = None) -> None:
        """Nobody knows any more what these resources are in the place; None: all, and those that have come to be there."""
        if indices is None:
            indices = [*range(CAPACITY), *map(self.index, self._place.names())]
        for index in indices:
            if index == ALL_OBJECTS:
                self.forget(self._objects)
            else:
                self._loaded[index] = None
