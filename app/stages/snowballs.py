"""Small objects that are written several at a time, by one request, where the operator vouches that nobody else writes there.

On a store that takes snowballs (MinIO) and honours no condition on CopyObject: GET and a fiftieth of a PUT take less of it than HEAD
and CopyObject do, and keep `Expires` (docs/benchmarks.md). A snowball goes over whatever is there, as plain CopyObject does, and the
looks before it are the same. What could not be written so, for whatever reason, goes alone at its next claim, which knows again what
has arrived (H12).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from app.copying import SMALL_BYTES, SNOWBALL_OBJECTS, Copied, proved, refuse_folder
from app.errors import ConditionFailedError, TransientError, UnansweredError
from app.fidelity import Way, needs_acl, takes_small_together
from app.fidelity_rules import Policy
from app.key_values import RESERVED_PREFIX
from app.ledger.records import Move
from app.looks import Looks
from app.object_store import METADATA, PACKED_HEADERS, ObjectAttributes, ObjectInfo, ObjectStore, Packed, ReadObject
from app.s3_snowball import is_packable, is_plain
from app.spacing import is_spaced
from app.stages.batch import Batch
from app.stages.context import Context
from app.stages.writing import is_taken
from app.states import RunKind

MOST_BYTES = 256 * 1024  # sent at one go: the later its end comes, the longer after the look before it
NAME = f"{RESERVED_PREFIX}snowball.tar"
# MinIO waits 30 s for the rest of a request that it has begun, whatever the date says: it took one after 25 s and refused one after 45.
RESTS_SECONDS = 45.0


def rolls(batch: Batch) -> bool:
    """Whether small objects of this batch go by snowballs now: not while its requests are to be spread evenly, nor back in a rollback."""
    context = batch.context
    taken = takes_small_together(context.store.capabilities, copy_mode=context.settings.copy_mode)
    return taken and batch.run.kind is not RunKind.ROLLBACK and context.small.is_most and not is_spaced()


def goes_in(move: Move) -> bool:
    """Whether *move* may: at its first claim alone, so that whatever a snowball has met or left behind is met by a request of its own."""
    return bool(move.new_key) and move.copy is None and move.claims <= 1 and not move.same_object and is_packable(move.new_key)


@dataclass(slots=True)
class _Snowball:
    """One request: gathered, then sent."""

    most: int  # objects
    packed: list[Packed] = field(default_factory=list)
    size: int = 0
    written: Mapping[str, ObjectInfo] = field(default_factory=dict)
    failure: TransientError | None = None
    is_sent: bool = False

    @property
    def has_room(self) -> bool:
        """Whether another small object may be added."""
        return not self.is_sent and len(self.packed) < self.most and not self.is_heavy

    @property
    def is_heavy(self) -> bool:
        """Whether another small object could be too many bytes."""
        return self.size + SMALL_BYTES > MOST_BYTES


class Rolling:
    """The snowballs of one task: one is open, and is sent when the first of its objects is asked for."""

    def __init__(self, batch: Batch, moves: Collection[tuple[int, int]], sources: Looks) -> None:
        """*moves*: the numbers of those that may go so; *sources*: what was at their new keys."""
        self._batch = batch
        self._looks = sources
        self._moves = moves
        self._fit = SNOWBALL_OBJECTS  # of those that were too many bytes for one
        self._open = _Snowball(batch.context.small.together)

    def takes(self, move: Move) -> bool:
        """Whether *move* goes by snowball if its object is small."""
        return (move.run_no, move.id) in self._moves

    @property
    def gathered(self) -> int:
        """How many objects wait for more to go with them; 0 once there is no room for another one."""
        return len(self._open.packed) if self._open.has_room else 0

    @property
    def room(self) -> int:
        """How many more may go with those, if they are like the last ones."""
        return max(1, min(self._fit, self._batch.context.small.together) - self.gathered)

    def write(self, move: Move) -> Generator[None, None, Copied | ReadObject]:
        """Read the object and write its copy with others; yields until those are gathered. Gives the object as read if it must go alone."""
        context = self._batch.context
        limit = min(SMALL_BYTES, context.settings.inline_bytes)
        with context.budget.share() as admit:
            read = context.store.read(move.old_key, max_bytes=limit, admit=admit)
            context.small.see(read.info.size)
            if read.body is not None and can_be_packed(context.store, read.attributes, context.settings.fidelity_policy):
                refuse_folder(read.info)
                if is_taken(context, move, self._looks):
                    raise ConditionFailedError(move.new_key, "an object is there already")
                snowball = self._add(Packed(move.new_key, read.body, read.attributes.headers))
                yield
                written = self._written(snowball, move.new_key)
                if written is not None:
                    return Copied(source=read.info, copy=proved(context.store, read.info, written), through=True)
        return ReadObject(info=read.info, attributes=read.attributes, body=None)

    def _add(self, one: Packed) -> _Snowball:
        if not self._open.has_room:
            if self._open.is_heavy:
                self._fit = len(self._open.packed) or self._fit
            self._open = _Snowball(self._batch.context.small.together)
        self._open.packed.append(one)
        self._open.size += len(one.body)
        return self._open

    def _written(self, snowball: _Snowball, key: str) -> ObjectInfo | None:
        """What was written under *key*; None if it was not sent, since the look at the key had grown old.

        Raises:
            TransientError: The request was not carried out, or perhaps.
        """
        if not snowball.is_sent:
            snowball.is_sent = True
            self._send(snowball)
        if snowball.failure is not None:
            raise snowball.failure
        return snowball.written.get(key)

    def _send(self, snowball: _Snowball) -> None:
        fresh = [one for one in snowball.packed if self._looks.fresh(one.key)]
        snowball.packed = []  # the bodies need no more room
        if not fresh:
            return
        snowball.failure = UnansweredError("what became of the request for several objects is not known")  # whatever ends it here
        try:
            written = self._batch.context.store.put_snowball(NAME, fresh, deadline=self._batch.lease)
        except UnansweredError as error:
            self._batch.context.small.refuse()
            self._batch.outlast(RESTS_SECONDS)
            snowball.failure = error
        except TransientError as error:
            snowball.failure = error
        else:
            self._batch.context.small.is_tried = True
            snowball.written, snowball.failure = {info.key: info for info in written}, None


def can_be_packed(store: ObjectStore, attributes: ObjectAttributes, policy: Policy) -> bool:
    """Whether a snowball carries all that an object has."""
    if needs_acl(store.capabilities.fidelity, Way.PUT, policy) or attributes.tag_count or attributes.checksums:
        return False
    headers = attributes.headers
    return "content-type" in headers and is_plain(headers) and _are_carried(headers)


def _are_carried(names: Collection[str]) -> bool:
    return all(name in PACKED_HEADERS or name.startswith(METADATA) for name in names)


def see_sizes(context: Context, sources: Looks, moves: Sequence[Move]) -> None:
    """Learn from the looks at old keys whether objects are small."""
    for move in moves:
        found = sources.found.get(move.old_key)
        if found is not None:
            context.small.see(found.size)
