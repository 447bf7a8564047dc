"""How much of what a node has a plan takes away: most of it is more often a mistake than meant."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..targets.base import FrontendView

__all__ = ["Removal", "service_names"]

FEWEST = 10
"""Services on a node, below which a removal of most is an ordinary thing."""


class Removal(msgspec.Struct, frozen=True):
    """`services` of the `held` ones go."""

    services: int
    held: int

    @property
    def is_large(self) -> bool:
        """More than half of ten or more."""
        return self.held >= FEWEST and 2 * self.services > self.held

    def __str__(self) -> str:
        return f"this removes {self.services:,} of the {self.held:,} Services on this node"


def service_names(views: Iterable[FrontendView]) -> set[str]:
    """``namespace/name`` of every Service that has one of these frontends."""
    return {view.service.partition(":")[0] for view in views if view.service}
