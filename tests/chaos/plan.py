"""The faults of a round, all drawn from one seed: which, in what order, when, and whom the kills hit. The same seed gives the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass

STAGES = ("copy", "rename", "delete")
MACHINES = 2
SERVERS = ("broker", "database", "store")
BROKER_FAULTS = ("flush", "purge", "restart broker", "pause broker")
OUTAGES = ("restart database", "restart store", "freeze store")
STOPS = tuple(f"stop {stage}" for stage in STAGES)
EVERYTHING = (*BROKER_FAULTS, *OUTAGES, *STOPS)
LONGEST = 1000  # kills that a plan has ready


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: at the first moment at which so much of all rows is copied (0 to 1) and work is in flight for it to hit."""

    kind: str
    when: float


@dataclass(frozen=True, slots=True)
class Victim:
    """Whom a kill hits: a process by its role, on one of the machines."""

    role: str
    machine: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults in their order, and the victims of the kills, one a beat."""

    seed: int
    faults: tuple[Fault, ...]
    victims: tuple[Victim, ...]


def everything(seed: int) -> Plan:
    """Each kind of fault once, in any order, spread over the copying; a kill a beat, now and then of a whole supervisor."""
    chance = random.Random(seed)
    kinds = list(EVERYTHING)
    chance.shuffle(kinds)
    faults = tuple(Fault(kind, 0.75 * (number + chance.random()) / len(kinds)) for number, kind in enumerate(kinds))
    return Plan(seed=seed, faults=faults, victims=_victims(chance, ("seed", "beat", "supervisor", *STAGES, *STAGES, *STAGES)))


def half_way(seed: int) -> Plan:
    """A kill a beat of any worker; one FLUSHALL and one purge about half way."""
    chance = random.Random(seed)
    first, second = chance.sample(["flush", "purge"], 2)
    faults = (Fault(first, chance.uniform(0.4, 0.5)), Fault(second, chance.uniform(0.5, 0.6)))
    return Plan(seed=seed, faults=faults, victims=_victims(chance, ("seed", *STAGES)))


def _victims(chance: random.Random, roles: tuple[str, ...]) -> tuple[Victim, ...]:
    return tuple(Victim(role=chance.choice(roles), machine=chance.randrange(MACHINES)) for _ in range(LONGEST))
