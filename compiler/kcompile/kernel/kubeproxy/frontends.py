"""An address and port that kube-proxy's rules answer, to be compared with those that ours answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...targets.base import FrontendView

__all__ = ["ANY", "Frontend", "missing", "of_ours"]

ANY = "*"
"""The address of a NodePort."""


class Frontend(NamedTuple):
    """`family`: 4 or 6; `protocol`: ``tcp``, ``udp`` or ``sctp``; `address`: ANY for a NodePort."""

    family: int
    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        where = "NodePort" if self.address == ANY else address
        sign = " " if self.address == ANY else ":"
        return f"{where}{sign}{self.port}/{self.protocol.upper()}"


def of_ours(views: Iterable[FrontendView]) -> set[Frontend]:
    """The frontends of one of our Programs."""
    return {Frontend(view.family, view.protocol.lower(), view.address, view.port) for view in views}


def missing(theirs: Iterable[Frontend], ours: set[Frontend]) -> list[Frontend]:
    """Those of `theirs` that ours don't answer, sorted."""
    return sorted(set(theirs) - ours)
