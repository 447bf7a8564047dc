"""The mode's own tool, with the text of the same change: what no agent that uses it can go below."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec

from kcompile.ir.model import ResolvedPort, ServicePort
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.netns import entered
from kcompile.modes import MODES
from kcompile.passes import resolve_port

from ..generate import Scale, facts, settings
from ..held import MODES_WITH_A_TOOL, tool
from ..workload import Workload, family_of
from .place import Place

__all__ = ["bare_seconds"]


def bare_seconds(place: Place, mode: str, scale: Scale, rounds: int) -> dict[str, float]:
    """Median seconds of the tool for each kind of change (change.py), on a node whose agent has ended; there
    and back is a round. Nothing for a mode without a tool.
    """
    if mode not in MODES_WITH_A_TOOL:
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

        def took(old: list[ResolvedPort], new: list[ResolvedPort]) -> Iterator[float]:
            for before, after in ((old, new), (new, old)):
                run = tool(driver, kept.replace(before, after), Path(folder))
                began = time.monotonic()
                run()
                yield time.monotonic() - began

        for kind, (old, new) in kinds.items():
            found[kind] = median([seconds for _ in range(rounds) for seconds in took(old, new)])
    return found
