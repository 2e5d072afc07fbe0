"""One schedule: actors that stop before each of their calls, and the choices of who goes on, and whether that call meets a fault.

Prefixes that are the same but for the order of independent calls lead to the same state: each actor carries a hash of its causal past
(what it did, and what wrote to that before), and a state that was reached at no greater cost before is not gone on from again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from greenlet import getcurrent, greenlet

from tests.model.choices import (
    CRASH,
    ROOT,
    Actor,
    Bounds,
    Branch,
    CrashedError,
    DivergedError,
    Option,
    PrunedError,
    Touch,
    ViolationError,
    Visited,
)

LONGEST = 500  # calls in a schedule; more of them is a livelock


class Execution:
    """One schedule: the choices given, and beyond them the first option each time."""

    def __init__(self, branch: Branch = ROOT, *, bounds: Bounds, visited: Visited) -> None:
        self.actors: list[Actor] = []
        self.path = bytearray()
        self.branches: list[tuple[int, Branch]] = []  # other schedules, by their cost
        self.story: list[tuple[str, str]] = []
        self.after_step: Callable[[Actor, Sequence[Touch]], None] = lambda _actor, _touches: None
        self.content: Callable[[str], int] = lambda _resource: 0  # a hash of what a resource is
        self.seeing = 0  # of the call under way: a hash of all that decides what it does, but for opaque resources
        self.saw = 0  # what it found there
        self._choices = branch.choices
        self._entered = branch.entered
        self._bounds = bounds
        self._visited = visited
        self._spent = (0, 0)
        self._current: Actor | None = None
        self._staying = -1  # the number of the actor that may go on for nothing; -1: any may
        self._calling: set[Touch] | None = None
        self._hub = getcurrent()
        self._resources: dict[str, tuple[int, int]] = {}  # the last write's hash, the sum of the reads' since

    def spawn(self, name: str, body: Callable[[], object]) -> None:
        """Add an actor, which runs up to its first call."""
        actor = Actor(name, len(self.actors), greenlet(body, self._hub))
        actor.past = actor.seen = hash((name, actor.number))
        self.actors.append(actor)
        self._go_on(actor)
        self._current = None

    @property
    def current(self) -> str:
        """The name of the actor at work, empty outside of them."""
        return self._current.name if self._current is not None and getcurrent() is self._current.greenlet else ""

    def point(
        self,
        label: str,
        *touches: Touch,
        faults: Sequence[str] = (),
        ready: Callable[[], bool] | None = None,
        yields: bool = False,
        opaque: str = "",
    ) -> str | None:
        """Stand before a call; gives the fault that it is to meet.

        *yields*: to go elsewhere from here is no preemption. *opaque*: which of the resources whose names begin like this it touches is
        said by ``touch`` while it is made, and depends on nothing but those and the actor's past.
        """
        actor = self._current
        if actor is None or getcurrent() is not actor.greenlet:
            return None  # the test itself, before and after the actors
        if actor.crashed:
            raise CrashedError
        actor.label, actor.touches, actor.faults, actor.ready, actor.yields, actor.opaque = label, touches, faults, ready, yields, opaque
        self._hub.switch()
        return actor.fault

    def touch(self, name: str, *, write: bool) -> None:
        """Say what the call under way touches."""
        if self._calling is not None:
            self._calling.add((name, write))

    def run(self) -> None:
        """Let the actors act until none of them can go on.

        Raises:
            ViolationError: A property does not hold.
            PrunedError: The rest is known.
        """
        for _ in range(LONGEST):
            ready = [actor for actor in self.actors if not actor.greenlet.dead and (actor.ready is None or actor.ready())]
            if not ready:
                return
            self._take(*self._pick(self._options(ready)))
        raise ViolationError(f"no end after {LONGEST} calls")

    def close(self) -> None:
        """Unwind what is left of the actors."""
        for actor in self.actors:
            if not actor.greenlet.dead:
                actor.crashed = True
                self._go_on(actor)
        self._current = None

    def _options(self, ready: list[Actor]) -> list[Option]:
        current = self._current if self._current in ready else None
        self._staying = -1
        if current is not None:
            ready.remove(current)
            ready.insert(len(ready) if current.yields else 0, current)
            self._staying = -1 if current.yields else current.number
        plain = [Option(actor, None, int(self._staying not in {-1, actor.number}), 0) for actor in ready]
        return plain + [Option(option.actor, fault, option.preemptions, 1) for option in plain for fault in option.actor.faults]

    def _pick(self, options: list[Option]) -> tuple[Option, bool]:
        """The option to take, and whether the state that it leads to is on record as this schedule's."""
        if len(options) == 1:
            return options[0], True
        at = len(self.path)
        if at < len(self._choices):
            choice, entered = self._choices[at], self._entered or at < len(self._choices) - 1
            if choice >= len(options):
                raise DivergedError(f"choice {at} of {list(self._choices)}: there are {len(options)} options only")
        else:
            choice, entered = 0, self._branch(options)
        self.path.append(choice)
        return options[choice], entered

    def _branch(self, options: list[Option]) -> bool:
        """Note the other options for later, unless where they lead is known; give up if that is so of the first.

        Returns:
            Whether the state that the first leads to could be told, and is on record now.
        """
        pasts, first = [actor.past for actor in self.actors], None
        for number, option in enumerate(options):
            spent = (self._spent[0] + option.preemptions, self._spent[1] + option.faults)
            if spent[0] > self._bounds.preemptions or spent[1] > self._bounds.faults or sum(spent) > self._bounds.together:
                continue
            past = self._past(option)
            new = None  # it cannot be told yet
            if past is not None:
                after = list(pasts)
                after[option.actor.number] = past
                new = self._visited.enter(hash(tuple(after)), option.actor.number, spent) or not self._bounds.prune
            if not number:
                first = new
            elif new is not False:
                self.branches.append((sum(spent), Branch(bytes((*self.path, number)), entered=bool(new))))
        if first is False:
            raise PrunedError
        return bool(first)

    def _take(self, option: Option, entered: bool) -> None:  # noqa: FBT001 - as picked
        actor = option.actor
        self._spent = (self._spent[0] + option.preemptions, self._spent[1] + option.faults)
        self.story.append((actor.name, f"{actor.label}{f'  <- {option.fault}' if option.fault else ''}"))
        touches: Sequence[Touch] = () if option.fault == CRASH else actor.touches
        label, key = actor.label, self._guess(actor) if actor.opaque and option.fault != CRASH else None
        actor.fault, actor.crashed = option.fault, option.fault == CRASH
        self._calling, self.saw = set(), 0
        self.seeing = seeing = hash((actor.seen, label, option.fault, *(self.content(name) for name, _ in touches)))
        self._go_on(actor)
        actor.seen = hash((seeing, self.saw))
        found_out = frozenset(self._calling)
        self._calling = None
        if key is not None:
            self._visited.found_out[key] = found_out
            self.story[-1] = (actor.name, f"{self.story[-1][1]}{_told(found_out)}")
        touches = (*touches, *sorted(found_out))
        self._remember(actor, label, option.fault, touches)
        self.after_step(actor, touches)
        if not entered and self._bounds.prune:
            state = hash(tuple(each.past for each in self.actors))
            if not self._visited.enter(state, actor.number, self._spent):
                raise PrunedError

    def _go_on(self, actor: Actor) -> None:
        self._current = actor
        try:
            if actor.crashed:
                actor.greenlet.throw(CrashedError)
            else:
                actor.greenlet.switch()
        except CrashedError:
            return

    def _past(self, option: Option) -> int | None:
        """The causal past of the option's actor once it has made its call; None if that cannot be told before."""
        actor = option.actor
        if option.fault == CRASH:
            return self._hash(actor, actor.label, CRASH, ())  # the call is never made
        if not actor.opaque:
            return self._hash(actor, actor.label, option.fault, actor.touches)
        found_out = self._visited.found_out.get(self._guess(actor))
        return None if found_out is None else self._hash(actor, actor.label, option.fault, (*actor.touches, *sorted(found_out)))

    def _guess(self, actor: Actor) -> int:
        """All that decides what an opaque call touches."""
        declared = {name for name, _ in actor.touches}
        known = sorted(item for item in self._resources.items() if item[0] in declared or item[0].startswith(actor.opaque))
        return hash((actor.past, actor.label, *known))

    def _hash(self, actor: Actor, label: str, fault: str | None, touches: Sequence[Touch]) -> int:
        known = [self._resources.get(name, (0, 0)) for name, _ in touches]
        seen = tuple(last if write else last[0] for last, (_, write) in zip(known, touches, strict=True))
        return hash((actor.past, label, fault, seen))

    def _remember(self, actor: Actor, label: str, fault: str | None, touches: Sequence[Touch]) -> None:
        actor.past = self._hash(actor, label, fault, touches)
        for name, write in touches:
            last, reads = self._resources.get(name, (0, 0))
            self._resources[name] = (actor.past, 0) if write else (last, reads + actor.past)


def _told(touches: frozenset[Touch]) -> str:
    """What a call touched, in words."""
    writes = {name for name, write in touches if write}
    reads = {name for name, _ in touches} - writes
    return "".join(f"; {what} {', '.join(sorted(names))}" for what, names in (("reads", reads), ("writes", writes)) if names)
