"""Faults by script: which call goes wrong, when, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import MissingObjectError, ObjectError, RekeyError, StoreUnavailableError, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with a request. Made by the class methods."""

    carried_out: bool  # the store does what it was asked
    delayed: bool = False  # it will, when it is told to (until the request's signature ends)
    error: Callable[[str], RekeyError]  # what the caller gets, from the object key

    @classmethod
    def refuse(cls, error: RekeyError | type[ObjectError]) -> Fault:
        """The store does nothing and the caller gets *error*."""
        return cls(carried_out=False, error=_maker(error))

    @classmethod
    def lose_reply(cls) -> Fault:
        """The store does it, and nobody hears of it."""
        return cls(carried_out=True, error=lambda key: UnansweredError(f"no answer for {key!r}"))

    @classmethod
    def answer(cls, error: RekeyError | type[ObjectError]) -> Fault:
        """The store does it and says *error* (a ProofError for an answer without an ETag, say)."""
        return cls(carried_out=True, error=_maker(error))

    @classmethod
    def delay(cls) -> Fault:
        """The request is under way somewhere: unanswered, and carried out when the test delivers it."""
        return cls(carried_out=False, delayed=True, error=lambda key: UnansweredError(f"no answer for {key!r}"))

    @classmethod
    def slow_down(cls) -> Fault:
        """503."""
        return cls.refuse(StoreUnavailableError("SlowDown: please reduce your request rate"))

    @classmethod
    def not_found(cls) -> Fault:
        """404 for a present object (CASES 16)."""
        return cls.refuse(MissingObjectError)


@dataclass(slots=True)
class DelayedRequest:
    """A request that has not arrived yet."""

    name: str
    key: str
    _arrive: Callable[[], object]

    def deliver(self) -> RekeyError | None:
        """Let it arrive; gives what the store says, which nobody hears."""
        try:
            self._arrive()
        except RekeyError as error:
            return error
        return None


@dataclass(slots=True)
class _Planned:
    fault: Fault
    on: str
    key: str | None
    skip: int
    times: int | None


@dataclass(slots=True)
class Faults:
    """The script of one store."""

    _planned: list[_Planned] = field(default_factory=list)

    def add(self, fault: Fault, *, on: str, key: str | None = None, skip: int = 0, times: int | None = 1) -> None:
        """Let calls of the port's method *on* (about *key*, or any) go wrong: after *skip* good ones, *times* times (None: for ever).

        ``delete_key`` stands for one key's part of a ``delete``.
        """
        self._planned.append(_Planned(fault, on, key, skip, times))

    def clear(self) -> None:
        """Forget the script."""
        self._planned.clear()

    def take(self, name: str, key: str) -> Fault | None:
        """The fault of this call, used up by it."""
        for planned in self._planned:
            if planned.on != name or planned.key not in {None, key}:
                continue
            if planned.skip > 0:
                planned.skip -= 1
                continue
            if planned.times is not None:
                planned.times -= 1
                if planned.times == 0:
                    self._planned.remove(planned)
            return planned.fault
        return None


def _maker(error: RekeyError | type[ObjectError]) -> Callable[[str], RekeyError]:
    if isinstance(error, type):
        return error
    return lambda _key: error
