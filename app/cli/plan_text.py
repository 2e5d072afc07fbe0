"""A plan for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.plan.estimate import CLASSES
from app.row_ids import shown
from app.visible import visible

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
SHOWN_EXAMPLES = 3


def as_lines(plan: Mapping[str, Any]) -> list[str]:
    """Counts, what it takes, samples, then every problem with examples."""
    return [*_counts(plan), *_costs(plan), *_samples(plan), *_attributes(plan), *_problems(plan), *_next_step(plan)]


def _counts(plan: Mapping[str, Any]) -> Iterator[str]:
    name = f"Plan {plan['plan'][:8]}" if plan["plan"] else "Plan (not saved)"
    yield f"{name} of table {plan['table']} and bucket {plan['bucket']}: {plan['template']}"
    yield f"  {'rows':<18} {plan['rows']:>12}"
    names = ("to_move", "in_place", "would_park", "waiting", "respelled")
    yield from (f"  {name.replace('_', ' '):<18} {plan[name]:>12}" for name in names if plan[name] or name == "to_move")
    yield f"  {'bytes to copy':<18} {size(plan['bytes']):>12}, needed twice until the old objects are deleted"
    if plan["objects_without_row"] is not None:
        yield f"  {'objects':<18} {plan['bucket_objects']:>12}, {plan['objects_without_row']} of them without a row: they stay"


def _costs(plan: Mapping[str, Any]) -> Iterator[str]:
    requests = ", ".join(f"{count} {name}" for name, count in _in_order(plan["requests"]))
    yield f"  requests, about    {requests}"
    traffic = f"{size(plan['bytes_read'])} read and {size(plan['bytes_written'])} written by the workers"
    yield f"  traffic            {traffic}, {size(plan['bytes_copied_by_store'])} copied by the store itself"
    if plan["cost"] is not None:
        each = ", ".join(f"{name} {price:.2f}" for name, price in _in_order(plan["cost"]["by_class"]))
        yield f"  cost of requests   {plan['cost']['total']:.2f} ({each})"
    time = plan["time"]
    switched, ended = duration(time["seconds_to_switch"]), duration(time["seconds_in_all"])
    yield f"  time, about        {switched} until all rows are switched, {ended} in all"
    yield f"                     ({time['basis']})"


def _in_order(by_class: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A saved plan comes back with its names in some other order."""
    return [(name, by_class[name]) for name in CLASSES if name in by_class]


def _samples(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["samples"]:
        yield "Samples"
    yield from (f"  {visible(sample['old_key'])} -> {visible(sample['new_key'])}" for sample in plan["samples"])


def _attributes(plan: Mapping[str, Any]) -> Iterator[str]:
    found = [one for one in plan.get("attributes", []) if one["attribute"] != "content_type" or one["lost"]]  # which every object has
    if not found:  # nor has a plan of an earlier version any
        return
    sampled = f"{plan['looked']['gets']} were looked at; the true figure is between those shown, 95 times in 100"
    how = sampled if any(one["estimated"] for one in found) else "each was looked at"
    yield f"What objects have besides their bytes ({how})"
    for one in found:
        becomes = "move without" if one["rule"] == "warn" else "stay"
        lost = f", {one['lost']}{_between(one, 'lost')} would lose it ({becomes})" if one["lost"] else ""
        where = f": {', '.join(one['examples'])}" if one["examples"] else ""
        yield f"  {one['attribute']:<20}{one['objects']:>10}{_between(one, 'objects')}{lost}{where}"
    if plan["storage_classes"]:
        yield "  storage classes, all counted: " + ", ".join(f"{name} {count}" for name, count in plan["storage_classes"].items())


def _between(one: Mapping[str, Any], name: str) -> str:
    least, most = one[f"{name}_between"]
    return f" ({least} to {most})" if least != most else ""


def _problems(plan: Mapping[str, Any]) -> Iterator[str]:
    for problem in plan["problems"]:
        about = (
            f" (about: {problem['looked_at']} objects were looked at; --sample N looks at more, --thorough at each)"
            if problem["estimated"]
            else ""
        )
        yield f"{problem['rows']:>8} {problem['class']:<15} {problem['text']}{about}"
        if problem["remedy"]:
            yield f"{'':<25}-> {problem['remedy']}"
        if problem["class"] == "in_place":
            continue
        for example in problem["examples"][:SHOWN_EXAMPLES]:
            yield f"{'':<28}{_example(example)}"
            if example.get("statement"):
                yield f"{'':<28}{example['statement']}"


def _example(example: Mapping[str, Any]) -> str:
    where = f"row {visible(shown(example['row']))}: " if example["row"] is not None else ""
    keys = " -> ".join(visible(key) for key in (example["old_key"], example["new_key"]) if key)
    return where + ": ".join(part for part in (keys, visible(example["detail"] or "")) if part)


def _next_step(plan: Mapping[str, Any]) -> Iterator[str]:
    looked = plan["looked"]
    yield f"Looked by {looked['listings']} listings, {looked['heads']} HEADs, {looked['gets']} GETs; nothing was changed"
    if plan["live_run"]:
        yield f"Run {plan['live_run'][:8]} is under way on this bucket and table: the figures change with it"
    if not looked["probed"]:
        by_us = ": copies are taken to go by GET and PUT" if plan["bytes_read"] or not plan["bytes_copied_by_store"] else ""
        yield f"What this store honours, and so what copies lose, is not known yet (`rekey doctor` tries it){by_us}"
    if plan["plan"]:
        yield f"`rekey enqueue --plan {plan['plan'][:8]}` runs this plan"
    else:
        yield "Not saved, as --no-save says: `rekey enqueue --plan` cannot take it"


def size(count: int) -> str:
    """Bytes in the unit that a person would choose."""
    power = 0
    while count >= _STEP ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return f"{count / _STEP**power:.1f} {_UNITS[power]}" if power else f"{count} bytes"


def duration(seconds: int) -> str:
    """Seconds as a person would say them."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds} s"
