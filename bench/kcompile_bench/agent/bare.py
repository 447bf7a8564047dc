"""The mode's own tool, with the text of the same change: what no agent that uses it can go below."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from kcompile.ir.model import ResolvedPort, ServicePort
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.netns import entered
from kcompile.modes import MODES
from kcompile.passes import resolve_port

from ..environment import cpu_seconds
from ..generate import Scale, facts, settings
from ..held.bare import recorded
from ..workload import Workload, family_of
from .place import Place

__all__ = ["Cost", "bare_costs"]

_TOOLS = ("nftables", "iptables-legacy", "iptables-nft")


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def bare_costs(place: Place, mode: str, scale: Scale, rounds: int) -> dict[str, Cost]:
    """What the tool takes for each kind of change (change.py), on a node whose agent has ended: the median of
    wall clock, the mean of CPU. There and back is a round. Nothing without a tool or rounds.
    """
    if mode not in _TOOLS or not rounds:
        return {}
    workload, family = Workload(scale), family_of(mode)
    dataplane, wanted = workload.dataplane(family), settings(family)
    kept = MODES[mode].follow(dataplane)
    port = workload.ports[workload.middle]
    another = msgspec.structs.replace(port, name="default/svc-new:http", cluster_ip=scale.vip(scale.services))

    def resolved(*services: ServicePort) -> list[ResolvedPort]:
        return [resolve_port(service, facts(), wanted) for service in services]

    whole = resolved(port)
    kinds = {
        "endpoint gone or back": (whole, resolved(workload.changed)),
        "Service new or gone": ([], resolved(another)),
    }
    found = {}
    with entered(place.netns), tempfile.TemporaryDirectory(prefix="kcbench-") as folder:
        driver = driver_for(mode)

        def took(old: list[ResolvedPort], new: list[ResolvedPort]) -> Iterator[Cost]:
            for before, after in ((old, new), (new, old)):
                with recorded(driver, Path(folder), kept.replace(before, after)) as run:
                    pass  # a tool's text is all of it
                began, used = time.monotonic(), cpu_seconds()
                run()
                yield Cost(time.monotonic() - began, cpu_seconds() - used)

        for kind, (old, new) in kinds.items():
            costs = [cost for _ in range(rounds) for cost in took(old, new)]
            found[kind] = Cost(median(cost.wall for cost in costs), fmean(cost.cpu for cost in costs))
    return found
