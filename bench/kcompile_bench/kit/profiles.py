"""The profiles of ``kcompile bench run``: quick for a look (minutes), standard for a result to publish, full
for the whole matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kcompile.errors import InputError

from .measures import KINDS
from .scenario import MODES, PATHS, POSITIONS, Measure, Plan

__all__ = ["PROFILES", "narrowed", "profile"]

_MAIN = ("pod-direct", "pod-clusterip", "outside-direct", "outside-nodeport", "outside-nodeport-far")
_IN = ("pod-direct", "pod-clusterip")
_MOST_ENDPOINTS = 100_000
_RATES = (1000, 4000, 8000, 12000)


_LARGEST: dict[str, Any] = {"groups": "largest", "direct_with_rules": False}
_SINGLE: dict[str, Any] = {"groups": "single", "direct_with_rules": False}


def _each(name: str, values: Iterable[Any], **fields: Any) -> list[Measure]:
    """A measure with `fields` for each of `values` of the field `name`."""
    return [Measure(**fields, **{name: value}) for value in values]


def _rates(**fields: Any) -> list[Measure]:
    """Open loops at each rate: a connection for each request, then persistent ones."""
    fields |= {"kind": "rate", "paths": _MAIN, "seconds": 0.1, "concurrency": 1024}
    return [
        *_each("rate", _RATES, keepalive=False, **fields),
        *_each("rate", _RATES, keepalive=True, **fields),
    ]


def _quick() -> Plan:
    return Plan(
        profile="quick",
        modes=MODES,
        groups=((1, 2), (1000, 2)),
        measures=(
            Measure(kind="connect", paths=_MAIN, count=60),
            Measure(kind="handshake", paths=_IN, count=40, groups="largest"),
            Measure(kind="crr", paths=_MAIN, seconds=0.03, concurrency=8, **_LARGEST),
            Measure(kind="rr", paths=_IN, seconds=0.02, keepalive=True, **_LARGEST),
            *_each("rate", (2000, 8000), kind="rate", paths=_IN, seconds=0.05, concurrency=512, **_LARGEST),
            Measure(kind="stream", paths=_IN, megabytes=24, **_LARGEST),
        ),
        control_rounds=1,
        control_services=(1000,),
    )


def _standard() -> Plan:
    some = (*_MAIN, "outside-detour")
    return Plan(
        profile="standard",
        modes=MODES,
        groups=((1, 2), (100, 2), (1000, 2), (10_000, 2), (1000, 1), (1000, 10)),
        measures=(
            Measure(kind="connect", paths=tuple(PATHS), positions=POSITIONS, count=100, rounds=24),
            Measure(kind="handshake", paths=_MAIN, count=100, rounds=20, groups="largest"),
            Measure(kind="crr", paths=some, seconds=0.1, concurrency=8, rounds=24, groups="largest"),
            Measure(kind="rr", paths=some, seconds=0.05, keepalive=True, rounds=24, groups="largest"),
            *_rates(**_LARGEST),
            Measure(kind="stream", paths=_MAIN, megabytes=64, **_LARGEST),
            Measure(kind="stream", paths=_MAIN, megabytes=64, streams=4, **_LARGEST),
            Measure(kind="udp", paths=_MAIN, megabytes=16, **_SINGLE),
            Measure(kind="wrk", paths=_IN, seconds=1, concurrency=8, **_LARGEST),
            Measure(kind="sockperf", paths=_IN, seconds=1, **_LARGEST),
        ),
        control_rounds=5,
        control_services=(100, 1000, 10_000),
    )


def _full() -> Plan:
    paths = tuple(PATHS)
    wide: dict[str, Any] = {"paths": paths, "positions": POSITIONS, "rounds": 40}
    loop: dict[str, Any] = {"paths": paths, "rounds": 24}
    return Plan(
        profile="full",
        modes=MODES,
        groups=_all_groups(),
        measures=(
            Measure(kind="connect", count=200, **wide),
            Measure(kind="handshake", count=100, **loop),
            *_each("concurrency", (1, 8, 64), kind="crr", seconds=0.1, **loop),
            *_each(
                "concurrency",
                (1, 8),
                kind="rr",
                seconds=0.05,
                keepalive=True,
                direct_with_rules=False,
                **loop,
            ),
            *_rates(direct_with_rules=False),
            *_each("streams", (1, 4), kind="stream", paths=paths, megabytes=64, **_LARGEST),
            Measure(kind="udp", paths=paths, megabytes=16, **_SINGLE),
            Measure(kind="wrk", paths=_MAIN, seconds=1, concurrency=8, **_LARGEST),
            Measure(kind="sockperf", paths=_MAIN, seconds=1, **_LARGEST),
        ),
        control_rounds=20,
        control_services=(1, 100, 1000, 10_000),
    )


def _all_groups() -> tuple[tuple[int, int], ...]:
    """(Services, endpoints of each), up to _MOST_ENDPOINTS in all."""
    pairs = [(services, endpoints) for endpoints in (1, 2, 10, 100) for services in (1, 100, 1000, 10_000)]
    return tuple(pair for pair in pairs if math.prod(pair) <= _MOST_ENDPOINTS)


PROFILES = {"quick": _quick, "standard": _standard, "full": _full}


def profile(name: str) -> Plan:
    """The plan of profile `name`, a key of PROFILES."""
    return PROFILES[name]()


def narrowed(
    plan: Plan,
    *,
    modes: Sequence[str] = (),
    services: Sequence[int] = (),
    kinds: Sequence[str] = (),
    rounds: int | None = None,
    paths: Sequence[str] = tuple(PATHS),
    endpoints: int | None = None,
) -> Plan:
    """`plan` with only these modes, numbers of Services, kinds of measures (``control`` is one) and paths.

    Services have no more than so many `endpoints`. Empty means all. Raises InputError where nothing is left.
    """
    _check_known(modes, MODES)
    _check_known(kinds, (*KINDS, "control"))
    measures = _measures(plan, kinds, paths)
    if rounds:
        measures = [msgspec.structs.replace(measure, rounds=rounds) for measure in measures]
    control = [count for count in plan.control_services if not services or count in services]
    if kinds and "control" not in kinds:
        control = []
    return msgspec.structs.replace(
        plan,
        modes=tuple(mode for mode in plan.modes if not modes or mode in modes),
        groups=_groups(plan, services, endpoints),
        measures=tuple(measures),
        control_services=tuple(control),
    )


def _check_known(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{name!r} is not one of {', '.join(known)}")


def _groups(plan: Plan, services: Sequence[int], most: int | None) -> tuple[tuple[int, int], ...]:
    """The groups of these numbers of Services, with at most `most` endpoints each. Raises InputError."""
    chosen = [group for group in plan.groups if not services or group[0] in services]
    if not chosen:
        there = ", ".join(str(group[0]) for group in plan.groups)
        raise InputError(f"profile {plan.profile} has no group of {services[0]} Services: {there}")
    return tuple(dict.fromkeys((count, min(each, most or each)) for count, each in chosen))


def _measures(plan: Plan, kinds: Sequence[str], paths: Sequence[str]) -> list[Measure]:
    """The measures of these kinds, each with those of its paths that are in `paths`; without empty ones."""
    found: list[Measure] = []
    for measure in plan.measures:
        left = tuple(path for path in measure.paths if path in paths)
        if left and (not kinds or measure.kind in kinds):
            found.append(msgspec.structs.replace(measure, paths=left))
    return found
