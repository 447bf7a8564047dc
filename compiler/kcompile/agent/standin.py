"""Manifests that are read again twice a second, until DirectorySource is here."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from ..engine.cluster import complete_input
from ..engine.read import read_input
from ..engine.request import Request
from ..errors import KcompileError
from .source import Kind, Sink

__all__ = ["PolledManifests"]


class PolledManifests:
    kinds: tuple[Kind, ...] = ("Node", "ServiceCIDR", "Service", "EndpointSlice")

    def __init__(self, request: Request) -> None:
        self._request = request

    async def run(self, sink: Sink) -> None:
        """See `Source`."""
        memory = Path(tempfile.mkdtemp()) / "allocations.json"
        first = True
        while True:
            try:
                cluster = complete_input(read_input(self._request, on_node=True), self._request, memory)
            except KcompileError as error:
                if first:
                    raise
                sink.failed("Service", error)
            else:
                cluster.memory.after.save(str(memory))
                held = cluster.inventory
                sink.listed("Node", held.nodes)
                sink.listed("ServiceCIDR", held.service_cidrs)
                sink.listed("EndpointSlice", held.endpoint_slices)
                sink.listed("Service", held.services)
                first = False
            await asyncio.sleep(0.5)
