"""ApiSource: Services, EndpointSlices and other kinds of an API server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from ..source import Kind, Sink
from .backoff import Timing
from .connection import Connection
from .reflector import Reflector
from .resources import Resource, resources

__all__ = ["ApiSource"]


class ApiSource:
    """A Source that lists and watches by `connection` what an agent on `node` needs, or `wanted`.

    `namespaces`: Namespaces too. `seed` of the jitter, for tests; None for a random one.
    """

    def __init__(
        self,
        connection: Connection,
        node: str = "",
        *,
        namespaces: bool = False,
        wanted: Iterable[Resource] = (),
        timing: Timing = Timing(),  # noqa: B008 -- immutable
        seed: int | None = None,
    ) -> None:
        self._connection, self._timing, self._rng = connection, timing, random.Random(seed)
        self._resources = tuple(wanted) or tuple(resources(node, namespaces=namespaces))
        self.follows = connection.server
        self.kinds: tuple[Kind, ...] = tuple(each.kind for each in self._resources)

    async def run(self, sink: Sink) -> None:
        """Feed `sink` until cancelled, in the event loop's thread; then close the connection."""
        try:
            async with asyncio.TaskGroup() as group:
                for each in self._resources:
                    reflector = Reflector(each, self._connection, sink, self._timing, self._rng)
                    group.create_task(reflector.run(), name=f"watch {each.plural}")
        finally:
            await self._connection.close()
