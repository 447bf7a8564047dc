"""The kinds of the API that controllers of all kinds look at: who owns what, and what is in a namespace."""

from __future__ import annotations

from ...apiserver.resources import RESOURCES

__all__ = ["CLUSTER_SCOPED", "NAMESPACED"]

NAMESPACED = tuple(each.kind for each in RESOURCES if each.namespaced and each.kind != "Event")
"""Without Events, which belong to nobody and go with their namespace."""

CLUSTER_SCOPED = tuple(each.kind for each in RESOURCES if not each.namespaced)
