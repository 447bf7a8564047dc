"""What a source of objects does: an API server's lists and watches, or a directory of manifests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from ..errors import KcompileError
from ..spec.objects import Object

__all__ = ["Kind", "Sink", "Source"]

Kind = Literal["Service", "EndpointSlice", "Node", "ServiceCIDR", "Namespace", "Pod"]


class Sink(Protocol):
    """Where a source puts what it reads. No method blocks, and none raises for what an object holds.

    Objects are decoded and given away: neither side changes one afterwards.
    """

    def listed(
        self, kind: Kind, objects: Iterable[Object], unreadable: Iterable[tuple[str, str]] = ()
    ) -> None:
        """These are all objects of `kind`; those held before that aren't among them are gone.

        `unreadable`: namespaces and names of objects that are there but can't be read: what is held of them
        stays.
        """

    def put(self, kind: Kind, item: Object) -> None:
        """`item` is new or has changed."""

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        """The object is deleted, or has left the selector. `namespace` is empty for a cluster-scoped kind."""

    def bad(self, kind: Kind, namespace: str, name: str, error: KcompileError) -> None:
        """The object can't be read: what was put of it before stays in force. A later `put` ends this."""

    def failed(self, kind: Kind, error: KcompileError) -> None:
        """`kind` can't be followed at the moment. What is held stays in force."""

    def recovered(self, kind: Kind) -> None:
        """`kind` is followed again."""

    def restarted(self, kind: Kind, /) -> None:
        """A watch of `kind` has ended, and another one is open."""


class Source(Protocol):
    """`kinds`: those that must be listed before the first sync; a source may give others too. `follows`: what
    it reads, for the log.
    """

    kinds: tuple[Kind, ...]
    follows: str

    async def run(self, sink: Sink) -> None:
        """Feed `sink` until cancelled, in the event loop's thread.

        :raises KcompileError: for what no retry can change: a kubeconfig that can't be read, a directory that
            isn't there at the start
        """
