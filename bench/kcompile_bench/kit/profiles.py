"""The profiles of ``kcompile bench run``: quick for a look (minutes), standard for a result to publish, full
for the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kcompile.errors import InputError

from .measures import KINDS
from .scenario import MODES, PATHS, POSITIONS, Measure, Plan

__all__ = ["PROFILES", "narrowed", "profile"]

_MAIN = ("pod-direct", "pod-clusterip", "outside-direct", "outside-nodeport", "outside-nodeport-far")
_IN = ("pod-direct", "pod-clusterip")
_MOST_ENDPOINTS = 100_000
_RATES = (1000, 4000, 8000, 12000)


def _quick() -> Plan:
    return Plan(
        profile="quick",
        modes=MODES,
        groups=((1, 2), (1000, 2)),
        measures=(
            Measure(kind="connect", paths=_MAIN, count=60),
            Measure(kind="handshake", paths=_IN, count=40, groups="largest"),
            Measure(
                kind="crr",
                paths=_MAIN,
                seconds=0.03,
                concurrency=8,
                groups="largest",
                direct_with_rules=False,
            ),
            Measure(
                kind="rr", paths=_IN, seconds=0.02, keepalive=True, groups="largest", direct_with_rules=False
            ),
            *(
                Measure(
                    kind="rate",
                    paths=_IN,
                    seconds=0.05,
                    concurrency=512,
                    rate=rate,
                    groups="largest",
                    direct_with_rules=False,
                )
                for rate in (2000, 8000)
            ),
            Measure(kind="stream", paths=_IN, megabytes=24, groups="largest", direct_with_rules=False),
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
            *(
                Measure(kind="rate", paths=_MAIN, seconds=0.1, concurrency=1024, rate=rate, keepalive=keepalive, groups="largest",
                        direct_with_rules=False)
                for keepalive in (False, True) for rate in _RATES
            ),
            Measure(kind="stream", paths=_MAIN, megabytes=64, groups="largest", direct_with_rules=False),
            Measure(kind="stream", paths=_MAIN, megabytes=64, streams=4, groups="largest", direct_with_rules=False),
            Measure(kind="udp", paths=_MAIN, megabytes=16, groups="single", direct_with_rules=False),
            Measure(kind="wrk", paths=_IN, seconds=1, concurrency=8, groups="largest", direct_with_rules=False),
            Measure(kind="sockperf", paths=_IN, seconds=1, groups="largest", direct_with_rules=False),
        ),
        control_rounds=5,
        control_services=(100, 1000, 10_000),
    )  # fmt: skip


def _full() -> Plan:
    paths = tuple(PATHS)
    wide = {"paths": paths, "positions": POSITIONS, "rounds": 40}
    return Plan(
        profile="full",
        modes=MODES,
        groups=tuple((s, e) for e in (1, 2, 10, 100) for s in (1, 100, 1000, 10_000) if s * e <= _MOST_ENDPOINTS),
        measures=(
            Measure(kind="connect", count=200, **wide),
            Measure(kind="handshake", count=100, paths=paths, rounds=24),
            *(Measure(kind="crr", seconds=0.1, concurrency=concurrency, paths=paths, rounds=24) for concurrency in (1, 8, 64)),
            *(
                Measure(kind="rr", seconds=0.05, keepalive=True, concurrency=concurrency, paths=paths, rounds=24, direct_with_rules=False)
                for concurrency in (1, 8)
            ),
            *(
                Measure(kind="rate", paths=_MAIN, seconds=0.1, concurrency=1024, rate=rate, keepalive=keepalive, direct_with_rules=False)
                for keepalive in (False, True) for rate in _RATES
            ),
            *(
                Measure(kind="stream", paths=paths, megabytes=64, streams=streams, groups="largest", direct_with_rules=False)
                for streams in (1, 4)
            ),
            Measure(kind="udp", paths=paths, megabytes=16, groups="single", direct_with_rules=False),
            Measure(kind="wrk", paths=_MAIN, seconds=1, concurrency=8, groups="largest", direct_with_rules=False),
            Measure(kind="sockperf", paths=_MAIN, seconds=1, groups="largest", direct_with_rules=False),
        ),
        control_rounds=20,
        control_services=(1, 100, 1000, 10_000),
    )  # fmt: skip


PROFILES = {"quick": _quick, "standard": _standard, "full": _full}


def profile(name: str) -> Plan:
    """The plan of profile `name`, one of PROFILES."""
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

    Services have no more than so many `endpoints`.

    InputError where nothing is left.
    """
    for name, known in [*((m, MODES) for m in modes), *((k, (*KINDS, "control")) for k in kinds)]:
        if name not in known:
            raise InputError(f"{name!r} is not one of {', '.join(known)}")
    groups = tuple(
        dict.fromkeys((s, min(e, endpoints or e)) for s, e in plan.groups if not services or s in services)
    )
    if not groups:
        raise InputError(
            f"profile {plan.profile} has no group of {services[0]} Services: {', '.join(str(g[0]) for g in plan.groups)}"
        )
    measures = tuple(m for m in plan.measures if not kinds or m.kind in kinds)
    measures = tuple(
        msgspec.structs.replace(m, paths=tuple(p for p in m.paths if p in paths)) for m in measures
    )
    measures = tuple(m for m in measures if m.paths)
    if rounds:
        measures = tuple(msgspec.structs.replace(m, rounds=rounds) for m in measures)
    control = (
        ()
        if kinds and "control" not in kinds
        else tuple(s for s in plan.control_services if not services or s in services)
    )
    chosen = tuple(m for m in plan.modes if not modes or m in modes)
    return msgspec.structs.replace(
        plan, modes=chosen, groups=groups, measures=measures, control_services=control
    )
