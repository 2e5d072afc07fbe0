"""Takes steps for the explorer: from what is known of them, or else in earnest, by the real code upon the real things."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from greenlet import getcurrent

from tests.model.actors import GONE, Body, Local, On, Record, Standing, Step, Thread
from tests.model.choices import CRASH, CrashedError, DivergedError, Touch
from tests.model.worlds import ALL_OBJECTS, CLOCK, Place, World, Worlds

MOST_STANDING = 300  # greenlets kept for when the search comes back to where they stand
AUDITED = 200  # of so many steps that are known, one is taken in earnest all the same, and must come to the same


class Execution:
    """The actors of one scenario, and what is known of their steps. *audited*: 0 takes every step in earnest."""

    def __init__(self, place: Place, *, audited: int = AUDITED) -> None:
        self.worlds = Worlds(place)
        self.start = self.worlds.now()
        self.names: list[str] = []
        self.locals: list[Local] = [Local(-1)]  # the first: gone
        self.beginnings: list[int] = []
        self.record: Record | None = None
        self.repeating: Step | None = None  # a step that is known is taken once more, to come to where it leads
        self.in_earnest = 0  # steps taken by the real code
        self.at = GONE  # where the actor stood whose call is under way
        self._bodies: list[Callable[[], object]] = []
        self._audited = audited
        self._known = 0
        self._numbers: dict[object, int] = {}
        self._steps: dict[tuple[int, str | None], dict[tuple[int, ...], dict[tuple[int, ...], Step]]] = {}
        self._standing = Standing(MOST_STANDING)
        self._thread: Thread | None = None
        self._hub = getcurrent()

    # For the actors

    def spawn(self, name: str, body: Callable[[], object]) -> None:
        """Add an actor. *body* may be called many times, and makes what is its own anew each time."""
        actor = len(self.names)
        self.names.append(name)
        self._bodies.append(body)
        thread = self._begin(actor)
        self.beginnings.append(self._number(("begins", actor), thread))

    def begin_from_here(self) -> None:
        """Let schedules begin in the state in which the place is now."""
        self.start = self.worlds.now()

    @property
    def current(self) -> str:
        """The name of the actor at work, empty outside of them."""
        thread = self._at_work()
        return self.names[thread.actor] if thread is not None else ""

    def count(self) -> int:
        """How often the actor at work has asked for this, now included."""
        assert self._thread is not None
        self._thread.counted += 1
        return self._thread.counted

    def counted(self, *, begin_anew: bool) -> int:
        """How often it has asked."""
        assert self._thread is not None
        if begin_anew:
            self._thread.counted = 0
        return self._thread.counted

    def point(
        self,
        label: str,
        *touches: Touch,
        faults: Sequence[str] = (),
        ready: On | None = None,
        yields: bool = False,
        carries: Hashable = None,
    ) -> str | None:
        """Stand before a call; gives the fault that it is to meet.

        *touches*: what the call, and what the actor does until its next one, reads or writes, beside the clock and what says so by
        ``touch``. *yields*: to go elsewhere from here is no preemption. *carries*: all that what it does from here on depends on, beside
        what it will read; None: that is everything which it has seen.
        """
        thread = self._at_work()
        if thread is None:
            return None  # the test itself, before and after the actors
        thread.stands = Local(thread.actor, label, touches, faults, ready, yields, carries, thread.counted)
        self._hub.switch()
        return thread.fault

    def touch(self, name: str, *, write: bool) -> None:
        """Say what the call under way touches."""
        if self.record is not None and self.current:
            self.record.touch(name, write=write)

    def note(self, *event: str) -> None:
        """Say what the call under way is, to those who look on."""
        if self.record is not None:
            self.record.events.append(event)

    # For the explorer

    def known(self, local: int, fault: str | None, world: World) -> Step | None:
        """The step, if it was taken before."""
        for indices, steps in self._steps.get((local, fault), {}).items():
            numbers = self.worlds.number if ALL_OBJECTS in indices else tuple.__getitem__
            found = steps.get(tuple([numbers(world, index) for index in indices]))
            if found is not None:
                return found
        return None

    def step(self, local: int, fault: str | None, world: World) -> Step:
        """The call of an actor that stands at *local*.

        Raises:
            DivergedError: It does not come to the same as before: something is touched without a word.
        """
        found = self.known(local, fault, world) if self._audited else None
        if fault == CRASH:  # the call is never made
            return found or self._keep(local, Step(told=f"{self.locals[local].label}  <- {CRASH}", fault=CRASH, to=GONE))
        if found is None:
            return self._in_earnest(local, fault, world)
        self._known += 1
        if self._known % self._audited == 0:
            again = self._in_earnest(local, fault, world)
            if (again.to, again.writes, again.told) != (found.to, found.writes, found.told):
                raise DivergedError(f"{self.names[self.locals[local].actor]}: {found.told} did {found.writes}, and now {again.writes}")
        return found

    def is_ready(self, local: int, world: World) -> bool:
        """Whether who stands at *local* can go on."""
        ready = self.locals[local].ready
        return local != GONE and (ready is None or ready.holds(*(self.worlds.value(world, name) for name in ready.resources)))

    def close(self) -> None:
        """Unwind what is left of the actors."""
        self.record = None
        self._standing.end_all()

    # Inside

    def _at_work(self) -> Thread | None:
        current = getcurrent()
        if isinstance(current, Body) and current.dying:
            raise CrashedError
        return self._thread if self._thread is not None and self._thread.greenlet is current else None

    def _in_earnest(self, local: int, fault: str | None, world: World) -> Step:
        thread = self._thread_at(local)
        self.worlds.load(world)
        self.in_earnest += 1
        self.at, stood = local, self.locals[local]
        record = self._go_on(thread, stood, fault)
        touched = sorted((self.worlds.index(name), write) for name, write in record.touched.items())
        reads = tuple((index, self.worlds.number(world, index)) for index, _ in touched)
        written = ((index, self.worlds.read(index)) for index, write in touched if write and index != ALL_OBJECTS)
        writes = tuple((index, number) for index, number in written if number != world[index])
        beside = reads if record.answers is None else tuple(pair for pair in reads if not self._is_table(pair[0]))
        step = Step(
            told=f"{stood.label}{f'  <- {fault}' if fault else ''}{record.told}",
            fault=fault,
            to=self._number((local, fault, beside, record.seen()), thread),
            reads=reads,
            writes=writes,
            wrote=frozenset(self.worlds.name(index) for index, _ in writes),
            events=tuple(record.events),
            answers=record.answers,
            error=record.error,
        )
        arrived = self.locals[step.to]
        if step.to != GONE and arrived.step is None and step.to not in self.beginnings:
            arrived.step, arrived.before = step, local
        return self._keep(local, step)

    def _is_table(self, index: int) -> bool:
        return index != ALL_OBJECTS and self.worlds.name(index).startswith("table ")

    def _keep(self, local: int, step: Step) -> Step:
        groups = self._steps.setdefault((local, step.fault), {})
        groups.setdefault(tuple(index for index, _ in step.reads), {})[tuple(number for _, number in step.reads)] = step
        return step

    def _number(self, key: object, thread: Thread) -> int:
        """The number of where *thread* stands, which is kept there."""
        if thread.greenlet.dead:
            return GONE
        if thread.stands.carries is not None:
            key = (thread.actor, thread.stands.label, thread.stands.carries)
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self.locals)
            self.locals.append(thread.stands)
        elif self.locals[known].call() != thread.stands.call():
            raise DivergedError(f"{self.names[thread.actor]} stands before {thread.stands.call()}, not {self.locals[known].call()}")
        self._standing.keep(known, thread)
        return known

    def _begin(self, actor: int) -> Thread:
        self.worlds.load(self.start)
        thread = Thread(actor, Body(self._bodies[actor], self._hub), self.locals[GONE])
        self.record, self._thread = Record(), thread
        thread.go_on(None)
        self.worlds.forget(map(self.worlds.index, self.record.touched))
        self._thread = self.record = None
        return thread

    def _thread_at(self, local: int) -> Thread:
        """A greenlet that stands there: one that is kept, or one that is led there from where one is kept, or from the beginning."""
        way: list[int] = []
        at = local
        while at not in self._standing and self.locals[at].step is not None:
            way.append(at)
            at = self.locals[at].before
        thread = self._standing.take(at) or self._begin(self.locals[at].actor)
        for following in reversed(way):
            step = self.locals[following].step
            assert step is not None
            self._again(thread, at, step)
            at = following
        return thread

    def _again(self, thread: Thread, local: int, step: Step) -> None:
        """Take a known step once more for its actor's sake: what it read is put there, what it wrote counts for nothing."""
        self.worlds.load_some(pair for pair in step.reads if step.answers is None or not self._is_table(pair[0]))
        self.repeating = step
        try:
            record = self._go_on(thread, self.locals[local], step.fault)
        finally:
            self.repeating = None
        self.worlds.forget(map(self.worlds.index, record.touched))
        stands = self.locals[step.to]
        if thread.stands.call() != stands.call():
            raise DivergedError(f"{self.names[thread.actor]} stands before {thread.stands.call()}, not {stands.call()}")
        thread.counted = stands.counted

    def _go_on(self, thread: Thread, stood: Local, fault: str | None) -> Record:
        self.record = record = Record(dict(stood.touches) | {CLOCK: True})
        self._thread = thread
        record.error = thread.go_on(fault)
        self._thread = self.record = None
        return record
