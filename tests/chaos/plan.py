"""The faults of a round, all drawn from one seed: which, in what order, when, and whom the kills and stops hit, on which store and assets.

The same seed gives the same plan.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.chaos.world import World

STAGES = ("copy", "rename", "delete")
MACHINES = 2
SERVERS = ("broker", "database", "store")
BROKER_FAULTS = ("flush", "purge", "restart broker", "pause broker")
OUTAGES = ("restart database", "restart store", "freeze store")
STOPS = tuple(f"stop {stage}" for stage in STAGES)
NETWORK = "faulty network"
STEERS = ("rest run", "slow store")  # the operator's probe says no for a while; the store asks to slow down
SLOW = {"slow_down": 0.4}  # share of the requests that a store refuses which asks to slow down
STORES = ("minio", "seaweed")
PLAIN, TWO_BUCKETS, TWINS, PARTS = World(), World(two_buckets=True), World(twins=True), World(parts=True)
WORLDS = (PLAIN, TWO_BUCKETS, TWINS, PARTS, World(two_buckets=True, twins=True, parts=True))
KILL, STOP = "kill", "stop"
EVERYTHING = (*BROKER_FAULTS, *OUTAGES, *STOPS)
LONGEST = 1000  # kills and stops that a plan has ready
STOP_SHARE = 0.3  # of them
LONGEST_STOP_SECONDS = 10.0  # some are over before the lease, some after


@dataclass(frozen=True, slots=True)
class Rates:
    """The share of the requests that each fault of the network befalls; and how long a stall and a delay last."""

    shares: Mapping[str, float]
    stall_seconds: float
    late_seconds: float


# Shares of all requests, but for deletes, of which each carries a whole batch; a stall outlasts a request, a delay its lease.
RATES = Rates(
    shares={
        "slow_down": 0.01,
        "missing": 0.003,
        "reset": 0.005,
        "lost_reply": 0.005,
        "truncate": 0.005,
        "stall": 0.001,
        "cut_upload": 0.002,
        "late": 0.006,
        "late_delete": 0.05,
    },
    stall_seconds=5.0,
    late_seconds=8.0,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: at the first moment at which so much of all rows is copied (0 to 1) and work is in flight for it to hit."""

    kind: str
    when: float


@dataclass(frozen=True, slots=True)
class Victim:
    """Whom a kill (SIGKILL) or a stop (SIGSTOP, and SIGCONT after so long) hits: a process by its role, on one of the machines."""

    role: str
    machine: int
    how: str = KILL
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults in their order, the victims of the kills and stops, one a beat, and the store that the assets lie in.

    *ladder*: the run comes to its rows in steps, and somebody lets it go on after each.
    """

    seed: int
    faults: tuple[Fault, ...]
    victims: tuple[Victim, ...]
    store: str = "minio"
    ladder: bool = False
    world: World = PLAIN


def everything(seed: int) -> Plan:
    """Each kind of fault once, in any order, spread over the copying; a kill or stop a beat, now and then of a whole supervisor."""
    chance = random.Random(seed)
    kinds = list(EVERYTHING)
    chance.shuffle(kinds)
    faults = tuple(Fault(kind, 0.75 * (number + chance.random()) / len(kinds)) for number, kind in enumerate(kinds))
    victims = _victims(chance, ("seed", "beat", "supervisor", *STAGES, *STAGES, *STAGES))
    return Plan(seed=seed, faults=faults, victims=victims, world=TWINS)


def network(seed: int, *, kills: bool = False) -> Plan:
    """A faulty network between workers and store from the first copies to the end; with a kill or stop a beat, or without."""
    chance = random.Random(seed)
    return Plan(seed=seed, faults=(Fault(NETWORK, 0.0),), victims=_victims(chance, ("seed", *STAGES)) if kills else (), world=PARTS)


def any_of(seed: int) -> Plan:
    """A plan of one of these forms, on one of the stores and in one of the worlds, for rounds without end."""
    mixed = everything(seed)
    mixed = Plan(seed=seed, faults=(Fault(NETWORK, 0.0), *mixed.faults), victims=mixed.victims)
    plan = (everything(seed), network(seed), network(seed, kills=True), mixed)[seed % 4]
    chance = random.Random(f"steers {seed}")
    plan = replace(plan, faults=(*plan.faults, *(Fault(kind, chance.uniform(0.1, 0.7)) for kind in STEERS)))
    return replace(plan, store=STORES[seed // 4 % len(STORES)], ladder=bool(seed // 8 % 2), world=WORLDS[seed // 16 % len(WORLDS)])


def half_way(seed: int, *, store: str) -> Plan:
    """A kill or stop a beat of any worker; one FLUSHALL and one purge about half way; from one bucket into another."""
    chance = random.Random(seed)
    first, second = chance.sample(["flush", "purge"], 2)
    faults = (Fault(first, chance.uniform(0.4, 0.5)), Fault(second, chance.uniform(0.5, 0.6)))
    return Plan(seed=seed, faults=faults, victims=_victims(chance, ("seed", *STAGES)), store=store, world=TWO_BUCKETS)


def _victims(chance: random.Random, roles: tuple[str, ...]) -> tuple[Victim, ...]:
    return tuple(
        Victim(
            role=chance.choice(roles),
            machine=chance.randrange(MACHINES),
            how=STOP if chance.random() < STOP_SHARE else KILL,
            seconds=chance.uniform(0.5, LONGEST_STOP_SECONDS),
        )
        for _ in range(LONGEST)
    )
