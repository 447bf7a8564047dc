"""Where records come from: manifests, or an API server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.cluster import complete_input
from ..engine.read import read_cluster_input
from ..engine.request import Request, allocations_path, configuration
from ..errors import KcompileError
from ..spec.cluster import settings_of
from .collect import Collector, Wanted, collected
from .zones import Zones

if TYPE_CHECKING:
    from ..agent.source import Source

__all__ = ["follow", "once", "read", "wanted"]


def wanted(request: Request, ttl: int, servers: tuple[str, ...], listens: tuple[str, ...] = ()) -> Wanted:
    """What records to make of the cluster of `request`: see `Wanted`. Raises ConfigError."""
    return Wanted(settings_of(configuration(request)), ttl, servers, listens)


def read(request: Request, what: Wanted, serial: int) -> Zones:
    """The records of the manifests of `request` as they are now. Raises InputError."""
    config = configuration(request)
    given = read_cluster_input(request, config=config)
    cluster = complete_input(given, request, Path(allocations_path(request)))
    return collected(cluster.inventory, what._replace(settings=cluster.settings), serial)


async def once(source: Source, what: Wanted) -> Zones:
    """The records of `source` as it is now. Raises KcompileError."""
    changed = asyncio.Event()
    errors: list[str] = []
    collector = Collector(source.kinds, what, changed.set, errors.append)
    following = asyncio.ensure_future(source.run(collector))
    following.add_done_callback(lambda _: changed.set())
    try:
        while not collector.ready:
            await changed.wait()
            changed.clear()
            if following.done():
                following.result()
            if errors:
                raise KcompileError(errors[0])
    finally:
        following.cancel()
        await asyncio.wait([following])
    zones = Zones(what.domain, what.ttl)
    for change in collector.changes():
        zones.change(*change)
    return zones


def follow(request: Request, kubeconfig: str | None, context: str | None) -> Source:
    """The manifests of `request`, or without any an API server. Raises InputError."""
    if request.reads:
        from ..agent.directory import DirectorySource

        return DirectorySource(request, configuration(request), pods=True, allocates=False)
    from ..agent.api.connection import connect
    from ..agent.api.resources import name_resources
    from ..agent.api.server import ApiSource

    return ApiSource(connect(kubeconfig, context), wanted=name_resources())
