"""What the agents of a lab's nodes follow: the API server's store, in the same process.

Each change is decoded once for all nodes, by the decoder that reads a watch's lines.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..agent.api.decode import Decoder, Item
from ..agent.api.resources import resources
from ..agent.source import Kind, Sink

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Feed", "NodeSource"]


class Feed:
    """For the event loop's thread, in which it is made."""

    def __init__(self, client: Client) -> None:
        self._decoders = {each.kind: Decoder(each) for each in resources("")}
        self.kinds: tuple[Kind, ...] = tuple(self._decoders)
        self._items: dict[Kind, dict[tuple[str, str], Item]] = {kind: {} for kind in self.kinds}
        self._sinks: dict[Sink, str] = {}
        self._begun = asyncio.Event()
        self.stop = client.watch(self.kinds, self._changed)
        # the calls for what is there come first
        asyncio.get_running_loop().call_soon(self._begun.set)

    async def run(self, sink: Sink, node: str) -> None:
        """Feed `sink`, that of `node`'s agent, until cancelled."""
        await self._begun.wait()
        for kind in self.kinds:
            items = [item for item in self._items[kind].values() if _concerns(kind, item, node)]
            found = [item.object for item in items if item.object is not None]
            sink.listed(kind, found, [(item.namespace, item.name) for item in items if item.error])
        self._sinks[sink] = node
        try:
            await asyncio.Event().wait()
        finally:
            del self._sinks[sink]

    def _changed(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        followed = cast("Kind", kind)
        line = msgspec.json.encode({"type": "MODIFIED", "object": new or old})
        item = self._decoders[followed].event(line).item
        key = (item.namespace, item.name)
        if new is None:
            self._items[followed].pop(key, None)
        else:
            self._items[followed][key] = item
        for sink, node in self._sinks.items():
            if _concerns(followed, item, node):
                _tell(sink, followed, item, gone=new is None)


class NodeSource:
    """A Source: the part of `feed` that the agent on `node` follows."""

    follows = "the lab's API server"

    def __init__(self, feed: Feed, node: str) -> None:
        self._feed, self._node = feed, node
        self.kinds = feed.kinds

    async def run(self, sink: Sink) -> None:
        """Feed `sink` until cancelled."""
        await self._feed.run(sink, self._node)


def _concerns(kind: Kind, item: Item, node: str) -> bool:
    """Of Nodes an agent follows its own alone (agent/api/resources.py); its State has the other selectors."""
    return kind != "Node" or item.name == node


def _tell(sink: Sink, kind: Kind, item: Item, *, gone: bool) -> None:
    if gone:
        sink.gone(kind, item.namespace, item.name)
    elif item.error is not None:
        sink.bad(kind, item.namespace, item.name, item.error)
    elif item.object is not None:
        sink.put(kind, item.object)
