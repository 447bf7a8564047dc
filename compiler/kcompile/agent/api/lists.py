"""One kind listed, page by page.

Every page is asked for without a resourceVersion: the answer is current, and the server keeps to `limit`,
which it may not with resourceVersion=0. So no body is larger than a page, whatever the size of the cluster.
"""

from __future__ import annotations

import asyncio

from .backoff import Timing
from .connection import Connection
from .decode import Decoder, Item
from .failures import CutError
from .resources import Resource

__all__ = ["list_all"]

_LIMIT = 500
_LEAST_LIMIT = 25
_LARGE = 4 << 20
"""Bytes of a page after which the next ones are asked for smaller: its decoding holds up the event loop."""


async def list_all(
    connection: Connection, resource: Resource, decoder: Decoder, timing: Timing
) -> tuple[list[Item], str]:
    """Every object of `resource`, and the resourceVersion to watch from.

    :raises ApiError: ExpiredError where the continue token of a page has expired
    """
    items: list[Item] = []
    more, limit = "", _LIMIT
    while True:
        params = {**resource.selectors, "limit": str(limit), **({"continue": more} if more else {})}
        what = f"list of {resource.plural}"
        try:
            async with asyncio.timeout(timing.page):
                async with connection.get(resource.path, params, what, timing, gzip=True) as answer:
                    body = await answer.aread()
        except TimeoutError:
            raise CutError(f"{what}: no whole page in {timing.page:.0f} s") from None
        page = decoder.page(body)
        items += page.items
        more = page.more
        if not more:
            return items, page.version
        if len(body) > _LARGE:
            limit = max(limit // 2, _LEAST_LIMIT)
        await asyncio.sleep(0)
