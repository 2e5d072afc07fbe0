"""Making a plan: scan, match, look, estimate; the plan as one JSON object. Nothing is written but a private temporary file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine

from app.assets import Assets, TableNames
from app.database import transaction
from app.doctor.database import index_findings
from app.fidelity import Fates, Way, needs_acl, needs_head, takes_small_together, ways_of
from app.ledger.saved_plans import PastRate
from app.object_keys import Equivalence
from app.object_store import Capabilities, ObjectStore
from app.plan import estimate
from app.plan.attributes import Copies
from app.plan.bucket import BucketWalk, ListingUnsoundError
from app.plan.drift import RowSample
from app.plan.entries import Entries
from app.plan.estimate import Work
from app.plan.looking import SAMPLE_OBJECTS, Looker
from app.plan.matching import Matching, Sample, single_bytes
from app.plan.problems import Found, Kind
from app.plan.scanning import Scanned, Scanner
from app.plan.suffixes import Suffixes
from app.planning import Rules, rules_of
from app.settings import Settings
from app.two_buckets import seen_folds

SAMPLES = 10  # rows shown with old and new key

Progress = Callable[[str, int, int], None]  # a step's name, how much is done, how much there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What a plan is made from."""

    engine: Engine  # a patient one: its statements may take minutes
    names: TableNames
    store: ObjectStore
    settings: Settings
    capabilities: Capabilities | None  # as probed at some time; None: never
    thorough: bool = False
    sample: int = SAMPLE_OBJECTS  # objects to look at where not each is
    prices: Mapping[str, float] | None = None
    rate: PastRate | None = None

    @property
    def copies_by_store(self) -> bool:
        """Whether objects are copied by CopyObject, as the copy stage decides it; not known before a probe, then no."""
        mode = self.settings.copy_mode
        return mode == "server" if self.capabilities is None else Way.COPY in ways_of(self.capabilities, copy_mode=mode)

    @property
    def by_snowballs(self) -> bool:
        """Whether small objects go several in one request, as the copy stage decides it; not known before a probe, then no."""
        return self.capabilities is not None and takes_small_together(self.capabilities, copy_mode=self.settings.copy_mode)

    @property
    def fates(self) -> Fates:
        """What becomes of objects' attributes, as probed; before a probe nothing is known."""
        return self.capabilities.fidelity if self.capabilities is not None else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A plan: what is shown, and what ``enqueue`` compares the table with."""

    content: dict[str, Any]
    fingerprint: dict[str, Any]
    equivalence: Equivalence


def make_plan(planner: Planner, progress: Progress) -> Made:
    """Plan all rows, changing nothing."""
    equivalence = Equivalence.of(planner.capabilities) if planner.capabilities else seen_folds(planner.store)
    ordered = (
        not equivalence.folds_case
        and not equivalence.folds_unicode
        and (planner.capabilities is None or planner.capabilities.ordered_listing)
    )
    rules = rules_of(planner.settings, equivalence)
    try:
        return _Making(planner, rules, progress, by_listing=ordered).run()
    except ListingUnsoundError:  # seen only now: no probe had told
        return _Making(planner, rules, progress, by_listing=False).run()


class _Making:
    """One attempt."""

    def __init__(self, planner: Planner, rules: Rules, progress: Progress, *, by_listing: bool) -> None:
        self._planner = planner
        assets = Assets(planner.engine, planner.names, rules.equivalence)
        self._rules = replace(rules, longest_key=assets.longest_key)
        self._progress = progress
        self._by_listing = by_listing
        self._found = Found()

    def run(self) -> Made:
        planner, found = self._planner, self._found
        with Entries() as entries:
            batch_rows = planner.settings.batch_size
            scanner = Scanner(planner.engine, planner.names, self._rules, entries, found, batch_rows=batch_rows)
            with transaction(planner.engine, read_only=True) as connection:
                total = scanner.assets.count(connection)
            scanned = scanner.run(lambda done: self._progress("reading rows", done, total))
            sample = Sample(planner.sample)
            single = single_bytes(copies_by_store=planner.copies_by_store, inline_bytes=planner.settings.inline_bytes)
            with BucketWalk(planner.store, by_listing=self._by_listing, keys=entries.count) as walk:
                matching = Matching(entries, walk, found, inline_bytes=single, sample=sample, suffixes=self._rules.suffix_in is not None)
                matching.run(lambda done: self._progress("matching with the bucket", done, entries.count))
                suffixes = Suffixes(planner.engine, scanner.assets, self._rules, entries, found)
                suffixes.run(walk)
                looker = self._look(entries, walk, sample)
            self._indexes()
            _complete_examples(found, planner.engine, scanner.assets, self._rules)
            content = self._content(scanned, matching, walk, looker, parked=entries.parked())
            tally, policy = looker.looked.tally, planner.settings.fidelity_policy
            content["attributes"] = tally.as_objects(of=sample.seen, classes=matching.classes, policy=policy)
            content["storage_classes"] = dict(sorted(matching.classes.items()))
            content["samples"] = _samples(scanned.sample, suffixes)
        fingerprint = scanned.sample.fingerprint(nameless=found.rows(Kind.NAMELESS))
        return Made(content=content, fingerprint=fingerprint, equivalence=self._rules.equivalence)

    def _look(self, entries: Entries, walk: BucketWalk, sample: Sample) -> Looker:
        planner = self._planner
        copies = Copies(
            fates=planner.capabilities.fidelity if planner.capabilities else {},
            by_store=planner.copies_by_store,
            inline_bytes=planner.settings.inline_bytes,
            policy=planner.settings.fidelity_policy,
        )
        looker = Looker(walk, self._found, copies)
        if planner.thorough:
            looker.at_each(entries, lambda done: self._progress("looking at objects", done, sample.seen))
        else:
            looker.at_sample(sample.keys, of=sample.seen)
        return looker

    def _indexes(self) -> None:
        for finding in index_findings(self._planner.engine, self._planner.settings):
            self._found.add(Kind.MISSING_INDEX, None, finding.text, rows=1, statement=finding.remedy)

    def _content(self, scanned: Scanned, matching: Matching, walk: BucketWalk, looker: Looker, *, parked: int) -> dict[str, Any]:
        planner, settings = self._planner, self._planner.settings
        to_move = scanned.rows - matching.in_place - parked
        work = Work(
            rows=to_move,
            sizes=matching.sizes,
            old_keys=scanned.old_keys,
            new_keys=scanned.new_keys,
            tagged_share=looker.looked.tagged_share,
            copies_by_store=planner.copies_by_store,
            by_snowballs=planner.by_snowballs,
            heads_first=needs_head(planner.fates, settings.fidelity_policy),
            reads_acls=needs_acl(planner.fates, Way.COPY if planner.copies_by_store else Way.PUT, settings.fidelity_policy),
        )
        counted = estimate.requests(work, settings)
        return {
            "bucket": settings.s3_bucket,
            "table": settings.table,
            "template": settings.template,
            "found": not self._found.is_clean,
            "rows": scanned.rows,
            "to_move": to_move,
            "in_place": matching.in_place,
            "respelled": scanned.respelled,
            "would_park": parked,
            "waiting": matching.waiting,
            "bytes": matching.sizes.bytes,
            **estimate.traffic(work),
            "requests": counted,
            "cost": estimate.cost(counted, planner.prices),
            "time": estimate.duration(work, rate=planner.rate, settings=settings),
            "bucket_objects": walk.listed if walk.whole else None,
            "objects_without_row": walk.unwanted if walk.whole else None,
            "looked": {
                "listings": walk.pages,
                "heads": walk.heads,
                "gets": looker.looked.objects,
                "thorough": planner.thorough,
                "by_listing": walk.by_listing,
                "probed": planner.capabilities is not None,
            },
            "problems": self._found.as_objects(),
        }


def _samples(sample: RowSample, suffixes: Suffixes) -> list[dict[str, str]]:
    moving = [planned for planned in sample.rows if planned.moves]
    step = max(1, len(moving) // SAMPLES)
    chosen = moving[::step][:SAMPLES]
    own = suffixes.key_of([one.row_id for one in chosen])
    return [{"row": one.row_id, "old_key": one.old_key, "new_key": own.get(one.row_id, one.new_key)} for one in chosen]


def _complete_examples(found: Found, engine: Engine, assets: Assets, rules: Rules) -> None:
    """Give the examples their keys: only their row ids were kept while millions passed by."""
    examples = [example for example in found.examples() if example["row"] is not None]
    with transaction(engine, read_only=True) as connection:
        rows = assets.rows(connection, sorted({example["row"] for example in examples}))
    plans = {row_id: rules.plan(row) for row_id, row in rows.items()}
    for example in examples:
        if example["row"] in plans:
            plan = plans[example["row"]]
            example["old_key"], example["new_key"] = plan.old_key, example["new_key"] or plan.new_key or None
